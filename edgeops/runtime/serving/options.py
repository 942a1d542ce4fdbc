"""What can be set about serving: one flat value, read from ``HOME/serve.json`` and flags."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "serve.json"
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Options:
    """How models are loaded, judged and served; ``docs/formats/serve.md`` says what each means.

    Times end in ``_s`` (seconds) or ``_ms`` (milliseconds), sizes are bytes.
    """

    target: str | None = None
    key: str | None = None
    threads: int = 1
    isolate: bool = False
    # The warm-up gate.
    warm_calls: int = 20
    warm_tolerance: float = 0.1
    warm_bound_ms: float | None = None
    warm_deadline_s: float = 30.0
    prepared_s: float = 120.0
    # Probation: the old model stays loaded until both are over.
    probation_requests: int = 100
    probation_s: float = 60.0
    # The breaker.
    call_timeout_s: float = 10.0
    load_timeout_s: float = 300.0
    slow_factor: float = 5.0
    slow_floor_ms: float = 10.0
    finite: bool = True
    faults_window_s: float = 60.0
    cooldown_s: float = 5.0
    trials: int = 3
    openings: int = 3
    openings_window_s: float = 600.0
    # The server.
    most_body: int = 32 << 20
    most_bodies: int = 128 << 20
    connections: int = 64
    concurrency: int = 4
    wait_s: float = 1.0
    idle_s: float = 60.0
    read_s: float = 30.0
    drain_s: float = 10.0
    # Recorded requests for warming up; none unless a person says so.
    record: int = 0
    record_every_s: float = 10.0
    record_most_bytes: int = 4 << 20


def parse_options(document: Mapping[str, Any], where: str, base: Options | None = None) -> Options:
    """Return ``base`` with what a document says; raises InputError ``serve-options``."""
    base = base or Options()
    kinds = {field.name: str(field.type) for field in fields(Options)}
    for name, value in document.items():
        why = _misfit(kinds.get(name), value)
        if why:
            raise InputError(
                "serve-options",
                f"{name!r} cannot be set so",
                where=where,
                why=why,
                fix=f"the options are {', '.join(kinds)} (docs/formats/serve.md)",
            )
    return replace(base, **document)


def read_options(home: Path, base: Options | None = None) -> Options:
    """Return what ``HOME/serve.json`` says, ``base`` where there is none."""
    path = home / FILE
    try:
        document = json.loads(path.read_bytes()[:_MOST_BYTES])
        if not isinstance(document, dict):
            raise TypeError("it is no JSON object")
    except FileNotFoundError:
        return base or Options()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            "serve-options",
            f"{path} cannot be read",
            where=str(path),
            why=str(error),
            fix="write a JSON object of options, or remove the file",
        ) from error
    return parse_options(document, str(path), base)


def _misfit(kind: str | None, value: Any) -> str:
    if kind is None:
        return "there is no such option"
    if value is None:
        return "" if "None" in kind else "it needs a value"
    if kind.startswith("bool"):
        return "" if isinstance(value, bool) else "it is true or false"
    if kind.startswith("str"):
        return "" if isinstance(value, str) else "it is a text"
    wanted = int if kind.startswith("int") else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        return "it is a whole number" if wanted is int else "it is a number"
    # A NaN is not >= 0 either.
    return "" if 0 <= value < float("inf") else "it is zero or more"
