"""Make the arm64 userland: packages, wheels, what a processor says of itself, then a trial.

It is made in its last place, ``Userland.folder``, and counts once its marker is in it, which
``edgeops env create`` writes last; what fails is removed there. No code of a package is run as
somebody else than the one who makes it, and none outside the userland.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.core.environment import Made
from edgeops.errors import MissingError
from edgeops.validate.devices.emulated import debs as emulated_debs
from edgeops.validate.devices.emulated import wheels as emulated_wheels
from edgeops.validate.devices.emulated.enter import HOME, Entrance, enter, find_qemu
from edgeops.validate.devices.emulated.tools import complaint, ended
from edgeops.validate.devices.emulated.userland import NUMPY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.validate.devices.emulated.userland import Userland

_TRIAL_S = 300.0
_FOLDERS = ("proc", "dev/shm", "tmp", "run", "root", HOME.strip("/"))
_DEVICES = ("null", "zero", "full", "random", "urandom")
_CPUS = "sys/devices/system/cpu"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}


def make(userland: Userland, tell: Callable[[str], None]) -> Made:
    """Make the userland; raises what ``fetch``, ``unpack``, ``install`` and ``enter`` do.

    An engine that has no wheel for aarch64, or whose wheel cannot be imported, is left out and
    noted with the reason; ``emulated-failed`` when Python or numpy do not work.
    """
    find_qemu()
    recipe, root = userland.recipe, userland.root
    userland.home.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="edgeops-arm64-") as scratch:
        tell("fetching Debian packages for arm64 with apt")
        debs = emulated_debs.fetch(recipe["packages"], Path(scratch))
        tell(f"unpacking {len(debs)} packages")
        emulated_debs.unpack(debs, root, recipe["leave_out"])
        glibc = emulated_debs.version_in(debs, "libc6").partition("-")[0]
    _furnish(root, recipe["processor"])
    python = userland.executable.readlink().name.removeprefix("python")
    entrance = enter(userland)
    tell(f"installing {len(userland.versions)} packages for aarch64 and Python {python}")
    packages = root / "usr" / "local" / "lib" / f"python{python}" / "dist-packages"
    wheels = emulated_wheels.install(
        userland.versions, packages, python=python, glibc=glibc, needed=NUMPY
    )
    absent = _try_out(entrance, wheels, tell)
    there = {name: version for name, version in userland.versions.items() if name not in wheels}
    about = {"absent": absent, "debian": [deb.name for deb in debs]}
    return Made(there, python, f"apt, pip and qemu ({entrance.way})", about)


def _furnish(root: Path, processor: Mapping[str, str]) -> None:
    """Lay down what scripts of packages would, places to mount on, and what the processor is.

    The engines' own look at the processor ends in a crash on what the machine's own ``/proc`` and
    ``/sys`` say of another architecture (ONNX Runtime), and where nothing says it (OpenVINO).
    """
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in _DEVICES:
        (root / "dev" / name).touch()
    (root / "dev" / "fd").symlink_to("/proc/self/fd")
    cores = os.cpu_count() or 1
    every = f"0-{cores - 1}" if cores > 1 else "0"
    one = [f"processor\t: {number}\n{processor['cpuinfo'].strip()}\n" for number in range(cores)]
    texts = {**_FILES, "etc/edgeops-cpuinfo": "\n".join(one)}
    texts |= {f"{_CPUS}/{name}": f"{every}\n" for name in ("possible", "present", "online")}
    for number in range(cores):
        about = {
            "regs/identification/midr_el1": processor["midr"],
            "topology/core_id": str(number),
            "topology/physical_package_id": "0",
            "topology/thread_siblings": f"{1 << number:x}",
            "topology/core_siblings": f"{(1 << cores) - 1:x}",
        }
        texts |= {f"{_CPUS}/cpu{number}/{name}": f"{text}\n" for name, text in about.items()}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _try_out(
    entrance: Entrance, wheels: dict[str, str], tell: Callable[[str], None]
) -> dict[str, str]:
    """Import all there is, which compiles it too, and return why engines are absent, by name."""
    tell("trying out numpy")
    words = _import(entrance, "numpy, json, hashlib, subprocess, zipfile")
    if words:
        raise MissingError(
            "emulated-failed",
            "the arm64 userland was made, and Python does not work in it; nothing is left of it",
            where=str(entrance.userland.folder),
            why=words,
            fix="a newer qemu may help: apt install qemu-user-static; then try again",
        )
    absent = {}
    for engine, about in entrance.userland.recipe["engines"].items():
        distribution = about["distribution"]
        if distribution not in entrance.userland.versions:
            absent[engine] = f"{distribution} is not installed here"
        elif distribution in wheels:
            absent[engine] = f"no wheel for aarch64: {wheels[distribution]}"
        else:
            tell(f"trying out {engine}")
            words = _import(entrance, about["module"])
            if words:
                absent[engine] = f"it cannot be imported there: {words}"
    return absent


def _import(entrance: Entrance, modules: str) -> str:
    """Return "" when modules can be imported in the userland, else the last words."""
    command = f"PYTHONDONTWRITEBYTECODE= python3 -c 'import {modules}'"
    return complaint(ended(entrance.argv(command, writable=True), _TRIAL_S))
