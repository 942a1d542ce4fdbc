"""Pure values and rules shared by all rooms; the standard library only."""
