"""What ``edgeops verify`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was verified, who signed it, and what the gates said."""
    yield f"verified: {result['name']} {result['version']} for {', '.join(result['targets'])}"
    yield f"  {result['digest']}"
    yield f"  {_signer(result)}"
    if result["sealed"]:
        yield f"  sealed, and not looked into: {', '.join(result['sealed'])}"
    for gate in result["gates"]:
        value = "not measured" if gate["value"] is None else f"{gate['value']:.6g}"
        yield f"  {gate['verdict']:<12} {gate['target']}: {gate['name']} {gate['bound']} ({value})"
    if not result["gates"]:
        yield "  no gates: nothing was judged"


def _signer(result: Mapping[str, Any]) -> str:
    if result["signed_by"]:
        return f"signed by the key {result['signed_by']}"
    if result["signature"]:
        return f"says it is signed by {result['signature']}: check it with --key release.pub"
    return "not signed"
