"""The user's ssh config: where it is, and what in it asyncssh does not know."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = Path("/etc/ssh/ssh_config")
_DEEPEST = 8
# What asyncssh passes over in silence though it decides whom to trust or how to get there.
_BEYOND = frozenset(
    {
        "knownhostscommand",
        "revokedhostkeys",
        "pkcs11provider",
        "securitykeyprovider",
        "proxyusefdpass",
    }
)


class Beyond(Exception):
    """The config says something that asyncssh does not understand."""


def files() -> list[Path]:
    """Return the config files that are there, the user's own first, as ssh reads them."""
    return [path for path in (user_file(), SYSTEM) if os.access(path, os.R_OK)]


def user_file() -> Path:
    """Return where the user's own config is, whether it is there or not."""
    return Path.home() / ".ssh" / "config"


def beyond_asyncssh() -> bool:
    """Return whether the user's config says what asyncssh does not know and ssh does."""
    return any(word in _BEYOND and value.lower() != "none" for word, value in _words(user_file()))


def _words(path: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield keyword and value of each line, those of included files too."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        word, _, value = line.strip().replace("=", " ", 1).partition(" ")
        value = value.strip()
        if word.lower() == "include" and depth < _DEEPEST:
            for included in _included(value):
                yield from _words(included, depth + 1)
        elif word and not word.startswith("#"):
            yield word.lower(), value


def _included(value: str) -> Iterator[Path]:
    try:
        patterns = shlex.split(value)
    except ValueError:
        return
    for pattern in patterns:
        path = Path(pattern).expanduser()
        folder = Path("/") if path.is_absolute() else Path.home() / ".ssh"
        yield from sorted(folder.glob(str(path).lstrip("/")))
