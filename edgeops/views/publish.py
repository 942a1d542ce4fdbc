"""What ``edgeops publish`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.views.offers import terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is published where, until when it is good; of a refusal, what the gates said."""
    if "release" not in result:
        for gate in result["gates"]:
            yield f"{gate['verdict']:<12} {gate['target']}: {gate['name']} {gate['bound']}"
        return
    yield (
        f"{result['project']} {result['version']} is on the channel {result['channel']} "
        f"of {result['repository']}"
    )
    yield f"  {result['digest']}"
    if "offer" not in result:
        yield f"  {result['bytes_uploaded']:,} bytes sent to a registry: {result['release']}"
        return
    yield f"  offered to {terms(result['offer'])}"
    yield f"  {result['bytes_uploaded']:,} bytes written; renew before {result['expires'][:10]}"
    for delta in result["deltas"]:
        yield (
            f"  delta from {delta['from_version']}: {delta['path']} {delta['bytes']:,} of "
            f"{delta['whole_bytes']:,} bytes ({delta['percent']:g} %, {delta['method']})"
        )
    if result["accepted"]:
        yield f"  gates did not pass; accepted because: {result['accepted']}"
    for note in result["notes"]:
        yield f"  {note}"
