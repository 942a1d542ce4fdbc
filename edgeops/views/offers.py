"""An offer of a channel in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def terms(offer: Mapping[str, Any]) -> str:
    """Return for whom an offer is: all devices, or which of them."""
    share = float(offer["share"])
    parts = ["all devices" if share >= 1 else f"{share:.4g} of the devices"]
    cohort = [
        f"{name} {wanted if isinstance(wanted, str) else '= ' + ' or '.join(wanted)}"
        for name, wanted in sorted(offer["cohort"].items())
    ]
    if cohort:
        parts[0] += f" with {' and '.join(cohort)}"
    if offer["minimum_runtime"]:
        parts.append(f"with edgeops {offer['minimum_runtime']} or newer")
    if offer["expires"]:
        parts.append(f"until {offer['expires']}")
    return ", ".join(parts)
