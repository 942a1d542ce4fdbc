"""Workers: each file runs in another environment's Python and is never imported here."""
