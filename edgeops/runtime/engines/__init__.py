"""One module an engine: load a variant, answer runs."""
