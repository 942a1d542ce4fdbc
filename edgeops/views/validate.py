"""What ``edgeops validate`` shows: the verdict of each target, its gates, the other figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

_COLOURS = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def view(result: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield a verdict, a table and notes for each target of a ``validate`` result.

    Of a baseline that was recorded or replayed, what is in it and what left it.
    """
    if "recorded" in result:
        yield from _recorded(result)
        return
    if "baseline" in result:
        yield from _replayed(result)
        return
    targets = result.get("targets") or {result["target"]: result}
    for index, target in enumerate(targets.values()):
        if index:
            yield ""
        yield from _target(target)
    if "replayed" in result:
        yield from _again(result["replayed"])


def _recorded(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{result['recorded']}: {result['samples']} samples and {len(result['cases'])} bad inputs, "
        f"{result['bytes']:,} bytes"
    )
    yield f"  {result['digest']}"
    yield f"  an element may differ by {result['tolerance']:g} of its output's largest value"
    for case in result["cases"]:
        yield f"  must fail: {case['name']} ({case['error']})"
    for index, code in result["refused"].items():
        yield f"  note: sample {index} was refused ({code}), and must be again"


def _replayed(result: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    from rich.table import Table
    from rich.text import Text

    kept = result["baseline"]
    how = f"{result['engine']} {result['engine_version']} {result['precision']}"
    yield Text.assemble(
        (result["verdict"], _COLOURS[result["verdict"]]),
        f"  {kept['samples']} samples and {kept['cases']} bad inputs of {kept['file']}: {how}, "
        f"on {result['device']['name']}",
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("  output", "left tolerance", "allowed", "worst", "of sample"):
        table.add_column(name, justify="left" if name == "  output" else "right", no_wrap=True)
    for output in result["outputs"]:
        worst = output["worst"] or {}
        far = worst.get("difference")
        table.add_row(
            Text(f"  {output['name']}"),
            f"{output['left']}",
            "" if output["allowed"] is None else f"{output['allowed']:.3g}",
            "" if far is None else f"{far:.3g}",
            str(worst.get("sample", "")),
        )
    yield table
    for line in result["departures"]:
        yield f"  {line}"


def _again(replayed: Mapping[str, Any]) -> Iterator[str]:
    yield f"  judged again from {replayed['file']} ({replayed['digest'][:19]})"
    yield f"  computed again, and the same: {', '.join(replayed['recomputed']) or 'nothing'}"
    reasons: dict[str, list[str]] = {}
    for name, why in replayed["as_recorded"].items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        yield f"  taken as recorded: {', '.join(names)}: {why}"


def _target(target: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    from rich.text import Text

    threads = f"{target['threads']} thread" + ("" if target["threads"] == 1 else "s")
    how = f"{target['engine']} {target['engine_version']} {target['precision']}, {threads}"
    where = f"{target['device'].get('name', '?')} ({target['device'].get('machine', '?')})"
    verdict = target["verdict"] if target["gates"] else "no gates"
    yield Text.assemble(
        (verdict, _COLOURS.get(verdict, "bold")), f"  {target['target']}: {how}, on {where}"
    )
    yield _table(target)
    for name, figure in target["figures"].items():
        if figure["value"] is None:
            yield f"  {name} is absent: {figure['absent']}"
    unjudged: dict[str, list[str]] = {}
    for name, figure in target["figures"].items():
        if figure.get("unjudged"):
            unjudged.setdefault(figure["unjudged"], []).append(name)
    for why, names in unjudged.items():
        yield f"  judged by no gate: {', '.join(names)}: {why}"
    for note in target["notes"]:
        yield f"  note: {note}"
    for line in target.get("worst_lines") or ():
        yield f"  {line}"
    if target.get("worst_files"):
        yield f"  samples to look at: {', '.join(target['worst_files'])}"


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
            Text(f"  {name}"),
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
