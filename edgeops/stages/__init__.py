"""The built-in stages, one file each: they compose the rooms below."""
