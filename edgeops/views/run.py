"""What ``edgeops run`` shows: the verdict, then what became of every stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}


def view(result: Mapping[str, Any]) -> Iterator[Any]:
    """Yield notes, the stages as a table, the gates and the verdict."""
    yield from result.get("notes", ())
    if result["up_to_date"]:
        from edgeops.pipeline.fresh import view as nothing_to_do

        yield from nothing_to_do(result)
        return
    yield _stages(result)
    if result.get("dry_run"):
        yield "nothing was changed: this was a dry run"
        return
    if result.get("gates"):
        yield _gates(result)
    if result.get("verdict"):
        from rich.text import Text

        yield Text.assemble("verdict: ", (result["verdict"], _COLOURS[result["verdict"]]))


def _stages(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("stage", "target", "status"):
        table.add_column(name)
    table.add_column("because" if result.get("dry_run") else "seconds", overflow="fold")
    for row in result["stages"]:
        status, last = row["status"], f"{row['seconds']:.1f}" if row["seconds"] else ""
        if result.get("dry_run"):
            status = "would run" if row["would_run"] else "up to date"
            last = ", ".join(row["because"])
        table.add_row(row["name"], row["target"] or "", status, last)
    return table


def _gates(result: Mapping[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("gate", "target", "bound", "measured", "verdict"):
        table.add_column(name)
    for gate in result["gates"]:
        value = "-" if gate["value"] is None else f"{gate['value']:.4g}"
        verdict = Text(gate["verdict"], _COLOURS[gate["verdict"]])
        # As Text, for a name may have a bracket, which is markup to rich.
        table.add_row(Text(gate["name"]), gate["target"], gate["bound"], value, verdict)
    return table
