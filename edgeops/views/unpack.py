"""What ``edgeops unpack`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the folder, what is in it, and a line a file."""
    total = sum(item["bytes"] for item in result["files"])
    yield f"{result['folder']}   {result['name']} {result['version']}, {total:,} bytes"
    yield f"  {result['digest']}"
    for item in result["files"]:
        yield f"  {item['kind']:<9} {item['path']}"
    if "channel" in result:
        yield (
            f"from the channel {result['channel']}, verified: "
            f"{result['requests']} requests, {result['bytes_downloaded']:,} bytes"
        )
