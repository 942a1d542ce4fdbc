"""edgeops.yaml and the data sets it names: schema, loading with line and column, JSON Schema."""
