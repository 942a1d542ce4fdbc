"""Requests to warm a candidate up with: those recorded before, or some made from its inputs."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeops.runtime.serving import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.serving.local import Input

    Shaped = TensorInfo | Input

FOLDER = "recorded"
PREDICT, RUN = "predict", "run"
RECORDED, SYNTHETIC = "recorded", "synthetic"
_SUFFIX = ".request"
_MADE = 4


class Request(NamedTuple):
    """What a candidate is asked: ``predict`` with inputs, or ``run`` with arrays of the model."""

    do: str
    values: dict[str, Any]


class Recorder:
    """Keeps some of the requests that are answered, in ``HOME/recorded``; the oldest go first.

    They are what users sent: nothing is kept unless ``most`` says so, one in ``every_s`` seconds
    at most, in files that only the agent's user can read, and never sent anywhere.
    """

    def __init__(self, home: Path, most: int, every_s: float, most_bytes: int) -> None:
        self.folder = home / FOLDER
        self._most, self._every_s, self._most_bytes = most, every_s, most_bytes
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def offer(self, inputs: Mapping[str, Any]) -> None:
        """Keep a request when it is time to; one that cannot be kept is no reason to fail."""
        if not self._most or time.monotonic() < self._next:
            return
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + self._every_s
        with suppress(OSError, ValueError, TypeError, RecursionError):
            self._keep(b"".join(wire.encode({}, inputs)))

    def _keep(self, data: bytes) -> None:
        if len(data) > self._most_bytes:
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        there = recorded(self.folder)
        number = int(there[-1].stem) + 1 if there else 0
        for old in there[: max(0, len(there) - self._most + 1)]:
            old.unlink(missing_ok=True)
        new = self.folder / f"{number:010}.new"
        new.touch(mode=0o600)
        new.write_bytes(data)
        new.replace(new.with_suffix(_SUFFIX))


def recorded(folder: Path) -> list[Path]:
    """Return the files of recorded requests, oldest first."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def read_recorded(home: Path, most_bytes: int = 64 << 20) -> list[dict[str, Any]]:
    """Return the recorded requests, newest first; files that are none are left out."""
    found = []
    for path in reversed(recorded(home / FOLDER)):
        try:
            data = path.read_bytes()
            most_bytes -= len(data)
            text, body = wire.SIZES.unpack_from(data)
            place = wire.SIZES.size + text
            if most_bytes < 0:
                break
            if len(data) != place + body:
                continue
            values = wire.decode(data[wire.SIZES.size : place], memoryview(data)[place:])[1]
        except (OSError, ValueError, TypeError, KeyError, RecursionError, struct.error):
            continue
        found.append(values)
    return found


def to_warm_with(home: Path, inputs: Sequence[Shaped]) -> tuple[str, list[Request]]:
    """Return where requests come from, and the requests: recorded ones, else made-up ones."""
    kept = read_recorded(home)
    if kept:
        return RECORDED, [Request(PREDICT, values) for values in kept]
    return SYNTHETIC, [Request(PREDICT, values) for values in synthetic(inputs)]


def reserve(arrays: Sequence[Shaped]) -> list[Request]:
    """Return requests for the model alone, for when all others are refused as bad input.

    So it is with a picture or a row of a table: nobody can make up what their features take.
    """
    return [Request(RUN, values) for values in synthetic(arrays)]


def synthetic(inputs: Sequence[Shaped], count: int = _MADE) -> list[dict[str, Any]]:
    """Return requests made from the inputs: small numbers, the same each time; open axes are 1."""
    random = np.random.default_rng(0)
    try:
        return [{each.name: _array(each, random) for each in inputs} for _ in range(count)]
    except (AttributeError, TypeError, ValueError):
        return []


def _array(tensor: Shaped, random: np.random.Generator) -> Any:
    shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
    if tensor.dtype == "str":
        return np.full(shape, "a", dtype=object)
    dtype = np.dtype(tensor.dtype)
    if dtype.kind in "iub":
        return random.integers(0, 2, shape).astype(dtype)
    return random.random(shape).astype(dtype)
