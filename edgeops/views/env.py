"""What ``edgeops env`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MB = 1e6


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each environment: state, size, Python, what it is for."""
    rows = result["environments"]
    width = max((len(row["name"]) for row in rows), default=0)
    states = max((len(row["state"]) for row in rows), default=0)
    for row in rows:
        size = (
            f"{row['bytes'] / _MB:,.0f} MB" if row["bytes"] else f"~{row['megabytes_needed']:,} MB"
        )
        python = f"python {row['python'] or '?'}"
        yield (
            f"{row['name']:<{width}}  {row['state']:<{states}}  {size:>9}  "
            f"{python:<11}  {row['about']}"
        )
        if row["why"]:
            yield f"{'':<{width}}  {row['why']}: edgeops env create {row['name']}"
    if not rows:
        yield "no plugin declares an environment of its own"
    yield f"they lie in {result['place']}"


def view_created(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the environment lies and what it took."""
    yield f"{result['name']} is ready: {result['path']}"
    made = f"made with {result['tool']} in {result['seconds']:.0f} s" if result["created"] else ""
    there = made or "it was there already"
    yield f"  {result['packages']} packages, {result['bytes'] / _MB:,.0f} MB, {there}"


def view_removed(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was removed and what that freed."""
    if not result["removed"]:
        yield f"{result['name']} was not there"
        return
    for path in result["removed"]:
        yield f"removed {path}"
    shared = result["bytes"] - result["freed_bytes"]
    kept = f"; {shared / _MB:,.0f} MB stay in uv's cache (uv cache clean)" if shared else ""
    yield f"freed {result['freed_bytes'] / _MB:,.0f} MB{kept}"
