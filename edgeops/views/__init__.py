"""Results as text for a terminal: pure functions, one file a verb."""
