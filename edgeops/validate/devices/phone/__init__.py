"""Devices without Python: an engine's own benchmark tool, told what to do, and what it tells."""
