"""The bytes of a value: what was given, or a file that is not too large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgeops.runtime.features.form import BadValue

MOST_BYTES = 256 << 20


def read_bytes(value: Any) -> bytes:
    """Return the bytes that were given, or those of the file at a path; 256 MiB at most."""
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if isinstance(value, bytes):
        if len(value) > MOST_BYTES:
            raise _too_large(len(value))
        return value
    path = Path(os.fsdecode(value))
    try:
        if not path.is_file():
            raise BadValue(f"{path} is no file", "it is not there, or is something else")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadValue(f"{path} cannot be read", str(error)) from error
    if len(data) > MOST_BYTES:
        raise _too_large(len(data))
    return data


def _too_large(size: int) -> BadValue:
    return BadValue(f"the value has {size} bytes or more", f"more than {MOST_BYTES} are refused")
