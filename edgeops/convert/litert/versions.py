"""Which version of an operator a use of it needs.

A file tells its reader the oldest runtime that knows all its operators: tflite's
``versioning/op_version.cc`` is the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeops.convert.litert.ir import Op


def version_of(op: Op) -> int:  # noqa: ARG001 - one version serves all float operators
    """Return the version to write for an operator."""
    return 1
