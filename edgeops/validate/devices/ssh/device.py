"""Devices over ssh: ``ssh:[USER@]HOST[:PORT]``, by asyncssh or the ssh program.

Both take the user's ssh config, keys, agent and known_hosts files; neither accepts a host key that
is unknown or changed, whatever the config says.
"""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, UsageProblem
from edgeops.validate.devices.remote.device import HOME, Unreached, reached
from edgeops.validate.devices.remote.lacking import require
from edgeops.validate.devices.ssh.address import parse
from edgeops.validate.devices.ssh.config import Beyond, beyond_asyncssh
from edgeops.validate.devices.ssh.trouble import not_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.validate.devices.remote.shell import Shell
    from edgeops.validate.devices.ssh.address import Address

# Which of the two is used; without it, asyncssh where it is installed and does for the config.
VARIABLE = "EDGEOPS_SSH"
ASYNCSSH, PROGRAM = "asyncssh", "program"


class SshDevice(Unreached):
    """Machines reached over ssh with the user's own keys and config."""

    name = "ssh"

    @contextmanager
    def reach(self, address: str) -> Iterator[Any]:
        """Yield the device with a work folder of its own, which is removed afterwards.

        One connection serves all. Raises InputError ``ssh-address`` or ``ssh-config``,
        TransportError ``device-unreachable`` or ``device-key-changed``, MissingError
        ``device-key-unknown``, ``device-login-refused`` or ``ssh-missing``.
        """
        where = parse(address)
        with (
            connected(where) as shell,
            reached(shell, where.home or HOME, name=self.name, python=_python(where)) as device,
        ):
            yield device

    def answers(self, address: str, engine: str) -> None:
        """Raise why nothing can be measured there with an engine; leaves nothing on the device.

        Raises as ``reach`` does, and MissingError ``device-no-python``, ``device-old-python``,
        ``numpy-missing`` or ``engine-missing``.
        """
        where = parse(address)
        with connected(where) as shell:
            require(shell, _python(where), engine)


@contextmanager
def connected(address: Address) -> Iterator[Shell]:
    """Yield the shell on a host: one connection, closed at the end."""
    with ExitStack() as stack:
        yield _opened(address, chosen(), stack)


def chosen() -> str:
    """Return which of the two is to be used.

    Raises MissingError ``ssh-missing``, UsageProblem ``ssh-choice``.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in {"", ASYNCSSH, PROGRAM}:
        raise UsageProblem(
            "ssh-choice",
            f"{VARIABLE} is {asked!r}",
            where=VARIABLE,
            why=f"it says which way to ssh is taken: {ASYNCSSH} or {PROGRAM}",
            fix=f"unset {VARIABLE}, or set it to one of these",
        )
    there = {ASYNCSSH: find_spec("asyncssh") is not None, PROGRAM: _program()}
    order = [ASYNCSSH, PROGRAM]
    if there[PROGRAM] and beyond_asyncssh():
        order.reverse()
    usable = [name for name in order if there[name] and asked in {"", name}]
    if not usable:
        raise not_installed()
    return usable[0]


def _opened(address: Address, way: str, stack: ExitStack) -> Shell:
    if way == ASYNCSSH:
        from edgeops.validate.devices.ssh.by_asyncssh import connected as by_asyncssh

        try:
            return stack.enter_context(by_asyncssh(address))
        except Beyond as error:
            if os.environ.get(VARIABLE) or not _program():
                raise InputError(
                    "ssh-config",
                    "asyncssh does not understand the ssh config",
                    where="~/.ssh/config",
                    why=str(error),
                    fix="install the ssh program, which is used then, or mend the config",
                ) from error
    from edgeops.validate.devices.ssh.by_program import connected as by_program

    return stack.enter_context(by_program(address))


def _program() -> bool:
    return shutil.which("ssh") is not None


def _python(address: Address) -> str:
    return _word(address.python) if address.python else "python3"


def _word(path: str) -> str:
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)
