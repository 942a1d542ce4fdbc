"""What ``edgeops keys`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the public parts lie and what to keep safe."""
    yield f"root      {result['root']}   version {result['version']}: devices ship with it"
    yield f"public    {result['public']}   for edgeops verify --key"
    yield f"expires   {result['expires'][:10]}"
    if result.get("encrypted") is False:
        yield "the private keys are not encrypted: keep the folder out of version control"
    if "role" in result:
        yield f"replaced  {result['role']}"
        if result["repository"]:
            yield f"renewed   {result['repository']}, {result['bytes_uploaded']:,} bytes"
        else:
            yield "the next publish brings the new root into the repository"
