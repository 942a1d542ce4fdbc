"""Deltas on the device: a new version of a file out of the old one and what changed.

The format is docs/formats/delta.md. ``apply`` proves the old file before and the new one after,
works in pieces of at most a few megabytes whatever the size of the model, and moves the new file
into place only when it is the one that was asked for.
"""

from __future__ import annotations

from edgeops.runtime.delta.apply import apply
from edgeops.runtime.delta.header import Header, methods, read_header

__all__ = ["Header", "apply", "methods", "read_header"]
