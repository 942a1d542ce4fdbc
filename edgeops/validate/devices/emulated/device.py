"""The device ``emulated:arm64``: a small Debian for arm64 on this machine, run by qemu.

What its engines answer is what they answer on arm64; how long that takes says nothing about any
device, so its times are marked and no gate judges them. ``edgeops env create emulated-arm64``
makes it, ``emulated_enter`` runs commands in it without being root.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import FILE as VARIANT
from edgeops.errors import MissingError
from edgeops.validate.devices.emulated.enter import HOME, enter
from edgeops.validate.devices.emulated.shell import WHERE, UserlandShell
from edgeops.validate.devices.emulated.userland import ARM64, require
from edgeops.validate.devices.remote.device import RemoteDevice, Unreached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeops.validate.devices.emulated.userland import Userland

ARM = "arm64"


class EmulatedDevice(Unreached):
    """Machines that are emulated here: ``arm64`` and no other yet."""

    name = "emulated"
    emulated = True
    environment = ARM64

    def answers(self, address: str, engine: str) -> None:
        """Raise what keeps a target of an engine from being measured here, as ``reach`` does.

        MissingError ``emulated-engine`` too. Takes less than a second; nothing is left there.
        """
        userland = self._there(address)
        _refuse_without(engine, userland)
        enter(userland)

    @contextmanager
    def reach(self, address: str) -> Iterator[RemoteDevice]:
        """Yield the emulated machine with a work folder of its own, which is removed afterwards.

        Raises MissingError ``emulated-unknown``, ``emulated-missing``, ``environment-stale``,
        ``environment-broken``, ``emulated-qemu`` or ``emulated-refused``.
        """
        device = _Emulated(self._there(address))
        device.enter()
        try:
            yield device
        finally:
            device.leave()

    def _there(self, address: str) -> Userland:
        if address != ARM:
            raise _unknown(address)
        require(self.environment)
        return self.environment


class _Emulated(RemoteDevice):
    """The userland as a device; it says what it lacks in terms of how it is made."""

    def __init__(self, userland: Userland) -> None:
        shell = UserlandShell(enter(userland))
        super().__init__(shell, f"{HOME}/edgeops", name=EmulatedDevice.name, emulated=True)
        self._userland = userland

    def probe(self) -> dict[str, Any]:
        """Return what the device is; an engine it lacks is got by making the userland anew."""
        about = super().probe()
        for name, engine in about.get("engines", {}).items():
            why = self._userland.lacks(name)
            if "missing" in engine and why:
                engine |= {"missing": why, "fix": _fix(self._userland, why)}
        return {**about, "emulated": True}

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or folder; a variant whose engine is not there is refused before.

        Raises MissingError ``emulated-engine``.
        """
        if engine := _engine(source):
            _refuse_without(engine, self._userland)
        super().push(source, destination)


def _unknown(address: str) -> MissingError:
    return MissingError(
        "emulated-unknown",
        f"{address!r} is no machine that edgeops emulates" if address else "emulated needs a name",
        where="device",
        why=f"there is one: {ARM}",
        fix=f"write `device: emulated:{ARM}`",
    )


def _refuse_without(engine: str, userland: Userland) -> None:
    why = userland.lacks(engine)
    if why:
        raise MissingError(
            "emulated-engine",
            f"the engine {engine} is not in the arm64 userland",
            where=WHERE,
            why=why,
            fix=_fix(userland, why),
        )


def _engine(source: Path) -> str:
    """Return the engine of a variant folder, "" for anything else."""
    try:
        return str(json.loads((source / VARIANT).read_bytes()).get("engine", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _fix(userland: Userland, why: str) -> str:
    if "is not installed here" in why:
        return (
            f"install it here (edgeops doctor says how), then: edgeops env create {userland.name}"
        )
    return "measure this target on a real arm64 device: `device: ssh:HOST`"
