"""Which processor a program is built for, and whether a device can run it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from edgeops.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAGIC = b"\x7fELF"
_LITTLE = 1
# e_machine of the ELF header, as `uname -m` and Android's ABIs call it.
_MACHINES = {
    0x03: ("x86", ("i386", "i486", "i586", "i686", "x86")),
    0x28: ("arm", ("arm", "armv6l", "armv7l", "armv8l", "armeabi-v7a", "armeabi")),
    0x3E: ("x86_64", ("x86_64", "amd64")),
    0xB7: ("aarch64", ("aarch64", "arm64", "arm64-v8a")),
    0xF3: ("riscv64", ("riscv64",)),
}
# What a 64-bit system may run besides, where it does not list its ABIs.
_ALSO = {"aarch64": ("arm",), "x86_64": ("x86",)}


def built_for(binary: Path) -> str:
    """Return the processor that a program is built for, "" when it is no ELF file (a script)."""
    with binary.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or not head.startswith(_MAGIC):  # noqa: PLR2004 - as far as e_machine
        return ""
    order = "<" if head[5] == _LITTLE else ">"
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    return _MACHINES.get(machine, (f"machine {machine:#x}", ()))[0]


def misfit(binary: Path, about: Mapping[str, Any]) -> MissingError | None:
    """Return the error for a program that the device's processor does not run, None when it does.

    ``about`` is what the device is: ``machine`` as uname says, ``abis`` as Android says.
    """
    needed = built_for(binary)
    names = about.get("abis") or [about.get("machine") or ""]
    runs = {kind for kind, called in _MACHINES.values() if set(names) & set(called)}
    if not about.get("abis"):
        runs |= {also for kind in tuple(runs) for also in _ALSO.get(kind, ())}
    if not needed or not runs or needed in runs:
        return None
    return MissingError(
        "binary-architecture",
        f"{binary.name} is built for {needed}, the device is {', '.join(names)}",
        where=str(binary),
        why="a processor runs only programs that are built for it",
        fix=f"build the tool for {names[0]} and name that file as `binary`",
    )
