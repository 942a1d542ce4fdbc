"""What ``edgeops bench`` shows: figures with intervals, the noise, and the verdict on two variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

_COLOURS = {
    "not slower": "bold green",
    "faster": "bold green",
    "slower": "bold red",
    "inconclusive": "bold yellow",
    "quiet": "green",
    "busy": "yellow",
    "throttled": "red",
}


def view(result: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield the parts of a ``bench`` result."""
    from rich.text import Text

    threads = f"{result['threads']} thread" + ("" if result["threads"] == 1 else "s")
    how = f"{result['engine']} {result['engine_version']} {result['precision']}, {threads}"
    device = result["device"]
    yield Text.assemble(
        (result["variant"], "bold"), f": {how}, on {device['name']} ({device.get('machine', '?')})"
    )
    yield _table(result["figures"])
    samples = result["latency_ms"]["samples"]
    yield f"  {samples:,} calls, one at a time, on {result['data']['source']}"
    level = result["noise"]["level"]
    yield Text.assemble("  the machine was ", (level, _COLOURS[level]))
    for name, figure in result["figures"].items():
        if figure["value"] is None:
            yield f"  {name} is absent: {figure['absent']}"
    for note in result["notes"]:
        yield f"  note: {note}"
    if result["against"]:
        yield from _against(result["against"])


def _against(against: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    from rich.text import Text

    verdict = against["verdict"]
    yield Text.assemble(
        (verdict, _COLOURS[verdict]), f"  against {against['variant']} ({against['engine']})"
    )
    if against["ratio"] is not None:
        between = _interval(against["ratio_ci"])
        yield f"  ratio of times {against['ratio']:.3f}" + (
            f" ({between}, 99 %)" if between else ""
        )
    dropped = against["disturbed"]
    disturbed = f", {dropped} more that something disturbed" if dropped else ""
    yield f"  {against['counted']} trials{disturbed}, in {against['seconds']:.1f} s"
    yield f"  {against['why']}"


def _table(figures: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True)
    for name in ("  figure", "value", "interval"):
        table.add_column(name, justify="right" if name == "value" else "left", no_wrap=True)
    for name, figure in figures.items():
        if figure["value"] is not None:
            value = f"{_number(figure['value'])} {figure['unit']}".rstrip()
            table.add_row(f"  {name}", value, _interval(figure["interval"]))
    return table


def _interval(pair: Sequence[float] | None) -> str:
    return f"{_number(pair[0])} to {_number(pair[1])}" if pair else ""


def _number(value: float) -> str:
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")
