"""Which version of an operator a use of it needs.

A file tells its reader the oldest runtime that knows all its operators: tflite's
``versioning/op_version.cc`` is the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Op

_FIRST = {"BROADCAST_TO": 2}  # the versions before were never released


def version_of(op: Op) -> int:
    """Return the version to write for an operator."""
    return _FIRST.get(op.code, 1)
