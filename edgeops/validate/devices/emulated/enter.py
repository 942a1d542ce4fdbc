"""Run a command line in the arm64 userland, without being root: in namespaces, else with proot."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import MissingError
from edgeops.validate.devices.emulated.tools import complaint, ended
from edgeops.validate.devices.local import LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.validate.devices.emulated.userland import Userland

HOME = "/home/edgeops"
QEMU = ("qemu-aarch64-static", "qemu-aarch64")
INSTALL = "apt install qemu-user-static"
NAMESPACES, PROOT = "namespaces", "proot"
_SCRIPT = Path(__file__).with_name("enter.sh")
_CHECK_S = 60.0
_VARIABLES = (
    "PATH=/usr/bin:/bin",
    f"HOME={HOME}",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
)


@dataclass(frozen=True)
class Entrance:
    """A way into a userland that was tried and works; ``way`` names it."""

    userland: Userland
    qemu: str
    way: str

    def argv(self, command: str, *, writable: bool = False) -> list[str]:
        """Return the program and arguments that run a command line of ``sh`` in the userland.

        Only the home, ``/tmp`` and ``/dev/shm`` can be written, all when ``writable``. All that
        it starts ends with it; it sees no network and no other processes. With proot none of
        this holds.
        """
        arguments = _proot if self.way == PROOT else _namespaces
        return arguments(self.userland, self.qemu, command, writable=writable)


def enter(userland: Userland) -> Entrance:
    """Return the first way into the userland that works.

    Raises MissingError ``emulated-qemu`` or ``emulated-refused``.
    """
    qemu = find_qemu()
    refusals = []
    for way in (NAMESPACES, PROOT):
        program = "unshare" if way == NAMESPACES else "proot"
        if not shutil.which(program):
            refusals.append(f"{program}: it is not installed")
            continue
        entrance = Entrance(userland, qemu, way)
        words = _refusal(entrance.argv("uname -m"))
        if not words:
            return entrance
        refusals.append(f"{program}: {words}")
    raise MissingError(
        "emulated-refused",
        "this machine lets nobody enter an arm64 userland without being root",
        where="emulated:arm64",
        why="; ".join(refusals),
        fix="allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, in a container its "
        "security profile), on Linux before 6.7 apt install binfmt-support too; or apt install proot",
    )


def find_qemu() -> str:
    """Return the path of the emulator; raises MissingError ``emulated-qemu``."""
    for name in QEMU:
        found = shutil.which(name)
        if found:
            return str(Path(found).resolve())
    raise MissingError(
        "emulated-qemu",
        "emulated:arm64 needs the emulator qemu-aarch64-static, which is not on this machine",
        where="PATH",
        why="programs for arm64 are run by it",
        fix=INSTALL,
    )


def _refusal(argv: Sequence[str]) -> str:
    """Return "" when ``uname -m`` there says what it must, else the last words."""
    done = ended(argv, _CHECK_S)
    if done.stdout.strip() == "aarch64":
        return complaint(done)
    return complaint(done) or f"it says it is {done.stdout.strip() or 'nothing'}"


def _variables(userland: Userland) -> list[str]:
    return [*_VARIABLES, f"QEMU_CPU={userland.recipe['processor']['qemu']}"]


def _namespaces(userland: Userland, qemu: str, command: str, *, writable: bool) -> list[str]:
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork"]
    variables = f"EDGEOPS_VARIABLES={' '.join(_variables(userland))}"
    lock = Path(tempfile.gettempdir()) / LOCK
    mode = "rw" if writable else "ro"
    where = [str(userland.root), str(userland.home), qemu, str(lock), mode]
    script = ["sh", str(_SCRIPT), *where, command]
    return ["env", variables, *unshare, "--kill-child", *script]


def _proot(userland: Userland, qemu: str, command: str, *, writable: bool) -> list[str]:
    """Return proot's command line; it cannot make the userland unwritable."""
    del writable
    root = userland.root
    bound = [f"{userland.home}:{HOME}", "/proc", f"{root}/etc/edgeops-cpuinfo:/proc/cpuinfo"]
    devices = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "shm")]
    binds = [part for each in (*bound, *devices, "/tmp") for part in ("-b", each)]  # noqa: S108 - proot has no tmpfs
    enter = ["proot", "-q", qemu, "-r", str(root), *binds, "-w", HOME]
    inside = ["/usr/bin/env", "-i", *_variables(userland), "sh", "-c"]
    return [*enter, *inside, command]
