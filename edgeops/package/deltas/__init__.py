"""Deltas on the workbench: what turns the old version of a file into the new one, where it pays.

The format is docs/formats/delta.md; edgeops.runtime.delta applies what is made here.
"""

from __future__ import annotations

from edgeops.package.deltas.make import Delta, make

__all__ = ["Delta", "make"]
