"""What ``edgeops validate`` shows: the verdict of each target, its gates, the other figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

_COLOURS = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def view(result: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield a verdict, a table and notes for each target of a ``validate`` result."""
    targets = result.get("targets") or {result["target"]: result}
    for index, target in enumerate(targets.values()):
        if index:
            yield ""
        yield from _target(target)


def _target(target: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    from rich.text import Text

    threads = f"{target['threads']} thread" + ("" if target["threads"] == 1 else "s")
    how = f"{target['engine']} {target['engine_version']} {target['precision']}, {threads}"
    where = f"{target['device']['name']} ({target['device'].get('machine', '?')})"
    verdict = target["verdict"] if target["gates"] else "no gates"
    yield Text.assemble(
        (verdict, _COLOURS.get(verdict, "bold")), f"  {target['target']}: {how}, on {where}"
    )
    yield _table(target)
    for name, figure in target["figures"].items():
        if figure["value"] is None:
            yield f"  {name} is absent: {figure['absent']}"
    for note in target["notes"]:
        yield f"  note: {note}"


def _table(target: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True)
    for name in ("  figure", "value", "interval", "gate", "verdict"):
        table.add_column(name, justify="right" if name == "value" else "left", no_wrap=True)
    gates = {gate["name"]: gate for gate in target["gates"]}
    figures = target["figures"]
    for name in sorted(figures, key=lambda figure: figure not in gates):
        gate = gates.get(name)
        if figures[name]["value"] is None and gate is None:
            continue
        word = gate["verdict"] if gate else ""
        table.add_row(
            f"  {name}",
            _value(figures[name]),
            _interval(figures[name]["interval"]),
            gate["bound"] if gate else "",
            Text(word, _COLOURS.get(word, "")),
        )
    return table


def _value(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{_number(figure['value'])} {figure['unit']}".rstrip()


def _interval(pair: Sequence[float] | None) -> str:
    return f"{_number(pair[0])} to {_number(pair[1])}" if pair else ""


def _number(value: float) -> str:
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")
