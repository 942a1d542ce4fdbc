"""``edgeops explain``: what an error code or exit code means, from the texts beside the code."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from typing import Any

from edgeops.errors import ExitCode, UsageProblem

EXITS = {
    ExitCode.OK: "done; all gates passed",
    ExitCode.USAGE: "wrong usage of the command line",
    ExitCode.INPUT: "configuration, input file or data set is bad",
    ExitCode.MISSING: "something that is needed is not installed or not reachable by choice",
    ExitCode.REFUSED: "refused: the model cannot be converted or quantized as asked",
    ExitCode.STAGE: "a stage's own command failed",
    ExitCode.GATE_FAILED: "a gate failed",
    ExitCode.GATE_INCONCLUSIVE: "a gate is inconclusive",
    ExitCode.TRUST: "trust: signature, digest, rollback, expiry",
    ExitCode.TRANSPORT: "transport: device or server could not be reached, may be retried",
    ExitCode.BUG: "a bug in edgeops",
    ExitCode.INTERRUPTED: "interrupted",
}


def explain(code: str | None = None) -> dict[str, Any]:
    """Return what ``code`` means: an error code, an exit code, or None for all there are.

    Raises UsageProblem ``code-unknown`` with the nearest ones.
    """
    entries = texts()
    if code is None:
        return {"exits": [_exit(number, entries) for number in EXITS]}
    code = code.strip("[] ").lower().replace("_", "-")
    if code.isdigit() and int(code) in tuple(EXITS):
        return {"exits": [_exit(ExitCode(int(code)), entries)]}
    if code in entries:
        return {"code": code, **entries[code], "meaning": EXITS[ExitCode(entries[code]["exit"])]}
    numbers = ", ".join(str(int(number)) for number in EXITS)
    near = difflib.get_close_matches(code, entries, n=3, cutoff=0.4)
    raise UsageProblem(
        "code-unknown",
        f"there is no error code {code!r}",
        why=f"nearest: {', '.join(near)}" if near else f"the exit codes are {numbers}",
        fix=f"edgeops explain {near[0]}" if near else "edgeops explain lists all codes",
    )


def texts() -> dict[str, dict[str, Any]]:
    """Return ``{code: {exit, title, text, fix}}`` of every file in edgeops/explain."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((resources.files("edgeops") / "explain").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            found |= tomllib.loads(file.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))


def _exit(number: ExitCode, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "exit": int(number),
        "meaning": EXITS[number],
        "codes": [
            {"code": code, "title": entry["title"]}
            for code, entry in entries.items()
            if entry["exit"] == number
        ],
    }
