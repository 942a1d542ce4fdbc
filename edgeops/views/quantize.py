"""What ``edgeops quantize`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TEXT_COLUMNS = 2


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict, the sizes, what was tried and what stays in float."""
    yield f"{result['precision']} variant in {result['variant']}"
    metric = result["metric"]
    if metric:
        interval = metric["interval"]
        within = f" (95 % {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
        yield (
            f"{metric['name']}  {metric['before']:.4f} -> {metric['after']:.4f}, "
            f"drop {metric['drop']:.4f}{within}, allowed {result['budget']:g}, "
            f"{metric['samples']} samples"
        )
    elif result["agreement"] is not None:
        yield f"same class as the float model on {result['agreement']:.1%} of calibration samples"
    else:
        yield f"outputs differ from the float model's by {result['loss']:.1%} of their norm"
    before, after = result["bytes_before"], result["bytes_after"]
    yield f"size  {before} -> {after} bytes ({after / before:.2f}x)"
    if result["kept_float"]:
        yield f"kept in float  {len(result['kept_float'])} nodes: {_names(result['kept_float'])}"
    yield from (f"note: {note}" for note in result["notes"])
    yield ""
    yield from table(result["tried"])


def table(tried: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the tries as aligned lines, under a heading."""
    heading = ("tried", "calibration", "excluded", "drop", "agreement", "bytes", "s", "")
    rows = [heading] + [
        (
            f"{row['scheme']}, {row['operators']}",
            row["calibration"] or "-",
            str(len(row["excluded"])),
            _share(row["drop"]),
            _share(row["agreement"]),
            str(row["bytes"] or "-"),
            f"{row['seconds']:.1f}",
            _mark(row),
        )
        for row in tried
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    for row in rows:
        cells = [
            text.ljust(width) if column < _TEXT_COLUMNS else text.rjust(width)
            for column, (text, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _mark(row: Mapping[str, Any]) -> str:
    if row["accepted"]:
        return "accepted"
    if row["same_as"] is not None:
        return f"same model as try {row['same_as'] + 1}"
    return "failed" if row["why"] else "pareto" if row["pareto"] else ""


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _names(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more (see --json)"
