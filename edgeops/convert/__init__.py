"""Model file to engine files, proven against the source."""
