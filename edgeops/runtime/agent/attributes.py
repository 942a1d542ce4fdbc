"""What a device is, in words that the cohorts of a channel compare; found without loading engines."""

from __future__ import annotations

import json
import math
import os
import platform
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, Union

import edgeops
from edgeops.core.targets import architecture
from edgeops.errors import InputError
from edgeops.runtime.engines.packages import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "attributes.json"
Value = Union[str, float]
_MB = 1_000_000


def attributes(home: Path, engine: str = "") -> dict[str, Value]:
    """Return the attributes of this device by name; HOME/attributes.json adds and overrides.

    An attribute that cannot be known is not there. Raises InputError ``attributes-malformed``.
    """
    installed = engines()
    found: dict[str, Value] = {
        "arch": architecture(platform.machine()),
        "os": platform.system().lower(),
        "cores": float(os.cpu_count() or 1),
        "python": platform.python_version(),
        "agent": edgeops.__version__,
        **installed,
    }
    with suppress(OSError, ValueError):
        found["memory_mb"] = float(memory_mb())
    if engine:
        found["engine"] = engine
        if engine in installed:
            found["engine_version"] = installed[engine]
    return {**found, **stated(home / FILE)}


def engines() -> dict[str, str]:
    """Return the version of each engine that is installed, from its package's own description."""
    found = {}
    for engine, packages in PACKAGES.items():
        for package in packages:
            with suppress(metadata.PackageNotFoundError, StopIteration):
                found[engine] = _version(metadata.distribution(package))
                break
    return found


def _version(package: metadata.Distribution) -> str:
    # The library parses the whole description, which takes longer than all else in a poll.
    text = package.read_text("METADATA") or package.read_text("PKG-INFO") or ""
    name = "Version:"
    return next(line[len(name) :].strip() for line in text.splitlines() if line.startswith(name))


def memory_mb() -> int:
    """Return the memory of this machine in megabytes; raises OSError or ValueError."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MB


def stated(path: Path) -> dict[str, Value]:
    """Return what whoever set up the device says of it; raises InputError ``attributes-malformed``."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
        return {name: _value(name, value) for name, value in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(
            "attributes-malformed",
            f"{path.name} does not say what this device is",
            where=str(path),
            why=str(error),
            fix='write one JSON object of texts and numbers: {"region": "eu", "line": 4}',
        ) from error


def _value(name: str, value: Any) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number):
            return number
    message = f"{name!r} is neither a text nor a number"
    raise TypeError(message)
