"""What ``edgeops targets`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line a target, and what is missing for it."""
    rows = result["targets"]
    widths = {
        key: max(len(str(row[key])) for row in rows) if rows else 0
        for key in ("name", "engine", "device", "precision")
    }
    for row in rows:
        threads = f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}"
        columns = [f"{row[key]:<{width}}" for key, width in widths.items()]
        yield "  ".join([*columns, threads])
        for missing in row["missing"]:
            yield f"  missing: {missing}"
        if "probe" in row:
            yield f"  {_device(row['probe'])}"


def _device(about: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in about.items() if isinstance(value, str | int | float)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())
