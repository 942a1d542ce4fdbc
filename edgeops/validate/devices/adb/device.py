"""Devices over adb: ``adb``, the only one, or ``adb:SERIAL``; the adb client does the talking.

A device with Python, numpy and the engine's wheel is measured by the same program as any other.
On one without Python, an ordinary phone, the engine's own benchmark tool is run, which the target
names as ``binary``.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, MissingError
from edgeops.validate.devices.adb.client import choose, find_client
from edgeops.validate.devices.adb.shell import AdbShell
from edgeops.validate.devices.remote.device import Unreached, reached
from edgeops.validate.devices.remote.trouble import failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeops.validate.devices.adb.client import Client

_TIMEOUT_S = 60.0
# Android gives its shell one folder to write and run programs in; a board with adbd has a home.
_LOOK = """
if [ -d /data/local/tmp ] && [ -w /data/local/tmp ]; then echo "=home /data/local/tmp/edgeops"
elif [ -n "${HOME:-}" ] && [ -w "$HOME" ]; then echo "=home ${XDG_CACHE_HOME:-$HOME/.cache}/edgeops"
else echo "=home ${TMPDIR:-/tmp}/edgeops"; fi
command -v python3 >/dev/null 2>&1 && echo "=python"
:"""


@dataclass(frozen=True)
class AdbDevice(Unreached):
    """Devices that the adb server sees; ``binary`` is the benchmark tool for one without Python."""

    binary: Path | None = None
    name = "adb"

    def with_binary(self, binary: Path) -> AdbDevice:
        """Return the device that measures with an engine's own benchmark tool, a file here.

        Raises InputError ``binary-missing`` when there is no such file.
        """
        if not binary.is_file():
            raise InputError(
                "binary-missing",
                f"{binary} is not there",
                where="binary",
                why="`binary` of a target names the engine's benchmark tool built for the device",
                fix="name the file, relative to the project: `binary: tools/benchmark_model`",
            )
        return replace(self, binary=binary)

    @contextmanager
    def reach(self, address: str) -> Iterator[Any]:
        """Yield the device with a work folder of its own, which is removed afterwards.

        ``address`` is a serial, as ``adb devices`` lists it, or "" for the only device. Raises
        MissingError ``adb-not-found``, ``adb-several-devices``, ``adb-unauthorized``,
        ``adb-no-permissions`` or ``adb-too-old``, TransportError ``adb-no-device``,
        ``adb-unknown-device``, ``adb-offline``, ``adb-not-booted`` or ``adb-failed``.
        """
        client = find_client()
        found = choose(client.attached(), address, os.environ.get("ANDROID_SERIAL", ""))
        _refuse_old(client, found.serial)
        shell = AdbShell(client, found.serial)
        home, python = _look(shell)
        with reached(shell, home, name=self.name) as device:
            if python and self.binary is None:
                yield device
            else:
                from edgeops.validate.devices.phone.device import phone

                with phone(device, self.binary) as found_phone:
                    yield found_phone


def _look(shell: AdbShell) -> tuple[str, bool]:
    """Return the folder that files go to on the device, and whether it has Python."""
    done = shell.run(_LOOK, timeout_s=_TIMEOUT_S)
    lines = done.out.decode(errors="replace").splitlines()
    homes = [line.removeprefix("=home ") for line in lines if line.startswith("=home ")]
    if done.code or not homes:
        raise failed(shell.where, "the device", done)
    return homes[0], "=python" in lines


def _refuse_old(client: Client, serial: str) -> None:
    """Refuse a device whose adbd cannot say how a command ended."""
    if "shell_v2" in client.ask("features", serial=serial).split():
        return
    raise MissingError(
        "adb-too-old",
        f"the adbd of {serial} is too old",
        where=f"adb:{serial}",
        why="it does not tell how a command ended, nor errors from output (shell_v2)",
        fix="use a device with Android 7 or later, or reach it over ssh: `device: ssh:HOST`",
    )
