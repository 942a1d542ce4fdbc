"""What follows ``ssh:`` in edgeops.yaml: ``[USER@]HOST[:PORT][?python=PATH&home=FOLDER]``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import unquote

from edgeops.errors import InputError

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.%-]*|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?")
_USER = re.compile(r"[A-Za-z0-9_.@\\+$-]+")
_OPTIONS = ("python", "home")
_PORTS = 65536


@dataclass(frozen=True)
class Address:
    """Where a device is; what is empty or 0 is left to the user's ssh config.

    ``python`` is the Python to use there, ``home`` the folder for edgeops's files.
    """

    host: str
    user: str = ""
    port: int = 0
    python: str = ""
    home: str = ""

    @property
    def text(self) -> str:
        """The address without options, as it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}{f':{self.port}' if self.port else ''}"

    @property
    def login(self) -> str:
        """The words that a person puts before a command to run it there."""
        port = ["-p", str(self.port)] if self.port else []
        return shlex.join(["ssh", *port, f"{self.user}@{self.host}" if self.user else self.host])


def parse(text: str) -> Address:
    """Return the address that ``text`` writes.

    Raises InputError ``ssh-address`` for what is none.
    """
    place, question, query = text.partition("?")
    user, at, place = place.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise _refused(text, f"{user!r} is no user's name")
    if user.startswith("-"):
        raise _refused(text, "a user's name cannot begin with -")
    host, port = _host_and_port(text, place)
    options = _options(text, query) if question else {}
    return Address(host, user, port, **options)


def _host_and_port(text: str, place: str) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", place, re.DOTALL)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif place.count(":") > 1:
        host, port = place, None
    else:
        host, colon, number = place.partition(":")
        port = number if colon else None
    if not host:
        raise _refused(text, "it names no host")
    if not _HOST.fullmatch(host):
        raise _refused(text, f"{host!r} is no host's name")
    if port is None:
        return host, 0
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < _PORTS):
        raise _refused(text, f"{port!r} is no port")
    return host, int(port)


def _options(text: str, query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        value = unquote(value)
        if name not in _OPTIONS or not equals:
            raise _refused(text, f"{part!r} is none of {', '.join(f'{o}=' for o in _OPTIONS)}")
        if name in found:
            raise _refused(text, f"{name} is named twice")
        if not value.startswith(("/", "~/")) or not value.isprintable():
            raise _refused(text, f"{name} must be a path on the device, absolute or below ~/")
        found[name] = value
    return found


def _refused(text: str, why: str) -> InputError:
    return InputError(
        "ssh-address",
        f"{text!r} is no address of a device over ssh",
        where="device",
        why=why,
        fix="write ssh:HOST, ssh:USER@HOST:PORT or ssh:HOST?python=/opt/venv/bin/python3",
    )
