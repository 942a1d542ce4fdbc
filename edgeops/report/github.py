"""What GitHub Actions reads: the job's summary file and workflow commands.

Formats: docs.github.com, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.core.verdicts import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A step's summary that is larger is dropped whole, with an error.
LIMIT = 1024 * 1024
_CUT = "\n\nThe report is cut here, for a summary may hold 1 MiB. The job's log has all of it.\n"


def workflow_commands(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a workflow command for each gate that did not pass."""
    return [
        command(
            "error" if gate["verdict"] == "fail" else "warning",
            f"{gate['name']} on {gate['target']}",
            f"{gate['name']} is {named(gate['value'])} and must be {gate['bound']}: {gate['why']}",
        )
        for gate in gates
        if gate["verdict"] != "pass"
    ]


def command(kind: str, title: str, message: str) -> str:
    """Return ``::KIND title=TITLE::MESSAGE`` on one line."""
    title = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def append_summary(path: Path, markdown: str, limit: int = LIMIT) -> int:
    """Append a report to the step's summary within what is left of the limit; return the bytes.

    Cut at the end of a line, saying so.
    """
    have = path.stat().st_size if path.exists() else 0
    text = fitted(markdown, limit - have)
    with path.open("ab") as file:
        return file.write(text)


def fitted(markdown: str, room: int) -> bytes:
    """Return as much of a report as fits into ``room`` bytes."""
    data = markdown.encode()
    if len(data) <= room:
        return data
    keep = room - len(_CUT.encode())
    if keep <= 0:
        return b""
    whole = data[:keep].rfind(b"\n")
    return data[: max(whole, 0)] + _CUT.encode()
