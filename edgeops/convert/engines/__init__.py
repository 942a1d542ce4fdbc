"""One converter an engine."""
