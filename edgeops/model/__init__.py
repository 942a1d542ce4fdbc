"""What a model file is: read, check, inspect, simplify."""
