"""The adb client: where it is, which devices it sees, and what it means by its words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import MissingError, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeops.errors import EdgeopsError

# The first call may have to start adb's server, which looks for devices then.
_CLIENT_S = 60.0
# The states of a device that may come right by themselves, and what they mean.
_PASSING = {
    "offline": "it does not answer the adb server",
    "connecting": "the connection is being made",
    "authorizing": "it has not answered yet whether this computer may use it",
}
_ADDRESS = re.compile(r"^[\w.\-\[\]:]+:\d+$")


@dataclass(frozen=True)
class Attached:
    """A device that the adb server sees, and the state it says the device is in."""

    serial: str
    state: str


@dataclass(frozen=True)
class Client:
    """The adb program that reaches devices through its server.

    Which server that is (``ANDROID_ADB_SERVER_PORT``) and whose key it shows (``HOME``,
    ``ADB_VENDOR_KEYS``) are adb's own settings, handed on as they are.
    """

    program: str

    def command(self, *words: str, serial: str = "") -> list[str]:
        """Return the command line of the client."""
        return [self.program, *(("-s", serial) if serial else ()), *words]

    def ask(self, *words: str, serial: str = "") -> str:
        """Return what the client answers.

        Raises TransportError ``adb-failed`` with its own last words when it fails.
        """
        command = self.command(*words, serial=serial)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CLIENT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(f"adb {words[0]} did not answer within {_CLIENT_S:g} s") from error
        except OSError as error:
            raise _not_found(f"{self.program} cannot be started: {error.strerror}") from error
        if done.returncode:
            raise _failed(last_line((done.stdout + done.stderr).decode(errors="replace")), serial)
        return done.stdout.decode(errors="replace")

    def attached(self) -> tuple[Attached, ...]:
        """Return the devices that the adb server sees, starting it where none runs."""
        return parse_devices(self.ask("devices"))


def find_client() -> Client:
    """Return the adb client: ``EDGEOPS_ADB``, on PATH, or below ``ANDROID_HOME``.

    Raises MissingError ``adb-not-found``.
    """
    named = os.environ.get("EDGEOPS_ADB", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise _not_found(f"EDGEOPS_ADB names {named}, which is no program")
        return Client(found)
    roots = [os.environ.get(name, "") for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    below = [shutil.which(str(Path(root) / "platform-tools" / "adb")) for root in roots if root]
    for place in filter(None, [shutil.which("adb"), *below]):
        return Client(place)
    raise _not_found("it is neither on PATH nor below ANDROID_HOME/platform-tools")


def parse_devices(text: str) -> tuple[Attached, ...]:
    """Return the devices of what ``adb devices`` prints; lines that name none are passed over."""
    found = []
    for line in text.splitlines():
        serial, tab, state = line.partition("\t")
        if tab and serial.strip() and state.strip():
            found.append(Attached(serial.strip(), state.strip()))
    return tuple(found)


def choose(attached: Sequence[Attached], address: str, preferred: str = "") -> Attached:
    """Return the device an address names: a serial, or "" for the only one.

    ``preferred`` is the serial to take when several are there and none is named
    (``ANDROID_SERIAL``). Raises TransportError ``adb-no-device``, ``adb-unknown-device``,
    ``adb-offline`` or ``adb-not-booted``, MissingError ``adb-several-devices``,
    ``adb-unauthorized`` or ``adb-no-permissions``.
    """
    serial = address or preferred
    if serial:
        found = next((one for one in attached if one.serial == serial), None)
        if found is None:
            raise _unknown(serial, attached)
    elif not attached:
        raise TransportError(
            "adb-no-device",
            "no device is attached",
            where="adb",
            why="the adb server sees none",
            fix="plug one in with USB debugging on, or connect one: adb connect HOST:5555",
        )
    else:
        if len(attached) > 1:
            # The only one of them that can be used may still be the wrong one.
            raise _several(attached)
        found = attached[0]
    error = state_error(found)
    if error is not None:
        raise error
    return found


def state_error(attached: Attached) -> EdgeopsError | None:
    """Return why a device in this state cannot be used, None when it can."""
    where, state = f"adb:{attached.serial}", attached.state
    if state == "device":
        return None
    if state == "unauthorized":
        return MissingError(
            "adb-unauthorized",
            f"the device {attached.serial} does not trust this computer",
            where=where,
            why="nobody has accepted this computer's key on its screen",
            fix="unlock it and accept `Allow USB debugging`; if nothing is asked: adb reconnect",
        )
    if state.startswith("no permissions"):
        return MissingError(
            "adb-no-permissions",
            f"this user may not open the device {attached.serial}",
            where=where,
            why=state,
            fix="install the udev rules: apt-get install android-sdk-platform-tools-common, "
            "then plug it in again",
        )
    if state in _PASSING:
        again = f"adb connect {attached.serial}" if _ADDRESS.match(attached.serial) else ""
        return TransportError(
            "adb-offline",
            f"the device {attached.serial} is {state}",
            where=where,
            why=_PASSING[state],
            fix=f"wake it, then: {again or 'adb reconnect offline'}",
        )
    return TransportError(
        "adb-not-booted",
        f"the device {attached.serial} is in the state {state!r}",
        where=where,
        why="only a device that has booted its system can measure",
        fix=f"start its system, for example: adb -s {attached.serial} reboot",
    )


def last_line(words: str) -> str:
    """Return the last line of a client's words that says something, without its prefix."""
    lines = [line.strip() for line in words.splitlines()]
    said = [line for line in lines if line and not line.startswith("* daemon")]
    return re.sub(r"^(adb: )?(error: )?", "", said[-1]) if said else ""


def _unknown(serial: str, attached: Sequence[Attached]) -> EdgeopsError:
    there = ", ".join(one.serial for one in attached)
    line = f"adb connect {serial}" if _ADDRESS.match(serial) else "adb devices"
    return TransportError(
        "adb-unknown-device",
        f"no device with the serial {serial!r} is attached",
        where=f"adb:{serial}",
        why=f"there are: {there}" if there else "the adb server sees none",
        fix=f"attach it, then look: {line}",
    )


def _several(attached: Sequence[Attached]) -> EdgeopsError:
    serials = [one.serial for one in attached]
    return MissingError(
        "adb-several-devices",
        f"{len(serials)} devices are attached, and none is named",
        where="adb",
        why=f"there are: {', '.join(f'{one.serial} ({one.state})' for one in attached)}",
        fix=f"name one: `device: adb:{serials[0]}`, or set ANDROID_SERIAL",
    )


def _not_found(why: str) -> EdgeopsError:
    return MissingError(
        "adb-not-found",
        "the adb program is not here",
        where="adb",
        why=why,
        fix="apt-get install adb, or name it: EDGEOPS_ADB=/path/to/adb",
    )


def _failed(why: str, serial: str = "") -> EdgeopsError:
    return TransportError(
        "adb-failed",
        "adb could not do what it was asked",
        where=f"adb:{serial}" if serial else "adb",
        why=why or "it ended without a word",
        fix="look at it with: adb devices; where the server hangs: adb kill-server",
    )
