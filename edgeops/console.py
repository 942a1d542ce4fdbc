"""The only module that prints.

Results go to standard output, everything else to standard error. On a terminal, long work shows a
live display of what is being done, for which target, how far, and the figures as they come;
without one it prints plain lines. Imports little, for ``--help`` goes through here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.errors import GateFailed, GateInconclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeops.core.events import Events
    from edgeops.errors import EdgeopsError, Finding

_SHOWN_FINDINGS = 50
_SHOWN_PLACES = 5


def root(ctx: Any) -> Path:
    """Return the folder that ``-C`` names, or the working directory, as an absolute path."""
    return Path((ctx.obj or {}).get("directory") or ".").absolute()


def present(
    work: Callable[[Events], Mapping[str, Any]],
    view: Callable[[Mapping[str, Any]], Iterable[Any]],
    *,
    as_json: bool,
    shown: tuple[type[EdgeopsError], ...] = (GateFailed, GateInconclusive),
) -> None:
    """Run ``work`` under a progress display and print its result as text or JSON.

    A verdict that is not to pass comes as an error with the whole result: as text, the result is
    shown before the error is. ``shown`` are the errors that are verdicts of the verb.
    """
    try:
        with progress() as events:
            result = work(events)
    except shown as verdict:
        if verdict.result and not as_json:
            show(view(verdict.result))
        raise
    if as_json:
        document(result)
    else:
        show(view(result))


def document(value: Mapping[str, Any]) -> None:
    """Print one JSON document on standard output."""
    import json

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """Print one line on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(parts: Iterable[Any]) -> None:
    """Print strings and rich renderables on standard output."""
    out = None
    for part in parts:
        if isinstance(part, str):
            line(part)
            continue
        out = out or _rich(sys.stdout)
        out.print(part)


def refusal(error: EdgeopsError, *, as_json: bool) -> None:
    """Print a refusal: JSON on standard output, or text on standard error."""
    if as_json:
        document(error.to_json())
        return
    lines = _finding_lines(error.findings) if len(error.findings) > 1 else _error_lines(error)
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def note(text: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def progress() -> Any:
    """Return a context manager that yields the Events that suit where this process runs."""
    from edgeops.core.events import EventFile, event_file

    listener = event_file(os.environ)
    if listener:
        stage, _, target = os.environ.get("EDGEOPS_STAGE", "").partition("@")
        return _Plain(EventFile(Path(listener), stage, target or None))
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from edgeops.views.progress import LiveProgress

        return LiveProgress(_rich(sys.stderr))
    return _Plain(Lines())


class Lines:
    """Events as plain lines on standard error, each step and figure once."""

    def step(self, what: str, *, total: int | None = None) -> None:
        """Print a step."""
        note(f"{what} ({total})" if total else what)

    def advance(self, parts: int = 1) -> None:
        """Print nothing: a log needs no counter."""

    def figure(self, name: str, value: float | str) -> None:
        """Print a figure."""
        note(f"  {name} {value:.4g}" if isinstance(value, float) else f"  {name} {value}")

    def done(self, name: str, status: str, seconds: float) -> None:
        """Print how a stage ended, unless it had nothing to do."""
        if status != "cached":
            note(f"{name}: {status} in {seconds:.1f} s")


class _Plain:
    """Events that need no display to be opened or closed."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def __enter__(self) -> Events:
        return self._events

    def __exit__(self, *_: object) -> None:
        return None


def _error_lines(error: EdgeopsError) -> list[str]:
    head = f"error: {error.what} [{error.code}]"
    rows = [("where", error.where), ("why", error.why), ("fix", error.fix)]
    return [head, *(_row(name, text) for name, text in rows if text)]


def _finding_lines(findings: Iterable[Finding]) -> list[str]:
    rows = list(findings)
    lines = [f"error: {len(rows)} problems"]
    groups = _alike(rows)
    shared = rows[0].fix if len(groups) > 1 and len({row.fix for row in rows}) == 1 else ""
    for first, *others in groups[:_SHOWN_FINDINGS]:
        lines.append(f"\n  {first.where + ': ' if first.where else ''}{first.what} [{first.code}]")
        more = _places(others)
        lines.extend(
            "  " + _row(name, text)
            for name, text in (("also", more), ("why", first.why), ("fix", first.fix))
            if text and text != shared
        )
    left = sum(map(len, groups[_SHOWN_FINDINGS:]))
    if left:
        lines.append(f"\n  and {left} more: see them all with --json")
    return [*lines, "\n" + _row("fix", shared)] if shared else lines


def _alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return findings that differ in the node alone together, in the order of the first of each."""
    groups: dict[Any, list[Finding]] = {}
    for number, finding in enumerate(findings):
        operator = finding.details.get("op")
        key = (operator, finding.code, finding.why, finding.fix) if operator else number
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def _places(findings: list[Finding]) -> str:
    if not findings:
        return ""
    named = ", ".join(finding.where for finding in findings[:_SHOWN_PLACES])
    left = len(findings) - _SHOWN_PLACES
    return f"{named} and {left} more" if left > 0 else named


def _row(name: str, text: str) -> str:
    first, *rest = text.rstrip().split("\n")
    return "\n".join([f"{name + ':':<7}{first}", *(" " * 7 + more for more in rest)])


def _rich(stream: Any) -> Any:
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())
