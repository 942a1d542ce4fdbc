"""A reached device whose measuring program is given limits with every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeops.core.contracts import Device, Tell


class Limited:
    """The device itself, but for what it is asked to run: ``limits`` are fields of the request.

    Such as ``call_timeout_s`` and ``heartbeat_s``; what a request says itself goes before them.
    """

    api = 1

    def __init__(self, device: Device, limits: Mapping[str, Any]) -> None:
        self._device = device
        self._limits = limits
        self.name = device.name
        self.emulated = bool(getattr(device, "emulated", False))

    def reach(self, address: str) -> AbstractContextManager[Device]:
        """Reach another one of its kind, without limits."""
        return self._device.reach(address)

    def probe(self) -> dict[str, Any]:
        """Return what the device is."""
        return self._device.probe()

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or folder onto the device."""
        self._device.push(source, destination)

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or folder from the device."""
        self._device.pull(source, destination)

    def run(
        self, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None = None
    ) -> dict[str, Any]:
        """Run the measuring program on a request, within the limits."""
        return self._device.run({**self._limits, **request}, timeout_s=timeout_s, tell=tell)
