"""Why a device cannot be reached over ssh, as the errors that a person can act on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from edgeops.errors import InputError, MissingError, TransportError

if TYPE_CHECKING:
    from edgeops.errors import EdgeopsError
    from edgeops.validate.devices.ssh.address import Address

CONNECT_S = 10
LOGIN_S = 30
# Five seconds without a word are asked after, three times: then the connection counts as lost.
ALIVE_S = 5
ALIVE_TIMES = 3
PORT = 22


def unreachable(address: Address, why: str, fix: str = "") -> TransportError:
    """Return the error for a device that nothing answers at."""
    return TransportError(
        "device-unreachable",
        f"the device {address.text} cannot be reached",
        where=f"ssh:{address.text}",
        why=why,
        fix=fix or f"see that it is on and that this works: {address.login} true",
    )


def refused(address: Address, place: str) -> TransportError:
    """Return the error for a host on which no ssh server listens."""
    return unreachable(
        address,
        f"{place} refuses the connection: no ssh server listens there",
        "start the ssh server there (Debian: sudo systemctl start ssh), or mend the port",
    )


def silent(address: Address, place: str) -> TransportError:
    """Return the error for a host that does not answer in time."""
    return unreachable(
        address,
        f"nothing answered at {place} within {CONNECT_S} s",
        "see that the device is on and in this network, and that no firewall is between",
    )


def nameless(address: Address, name: str, words: str) -> TransportError:
    """Return the error for a host whose name no resolver knows."""
    return unreachable(
        address,
        f"no address is known for the name {name}: {words}",
        "mend the name, or give it one with HostName in ~/.ssh/config",
    )


def closed(address: Address, words: str) -> TransportError:
    """Return the error for a server that ended the conversation before the login was over."""
    return unreachable(
        address,
        words,
        f"look what its ssh server logs; try: {address.login} true",
    )


def login_refused(address: Address, user: str, words: str) -> MissingError:
    """Return the error for a server that lets the user not in."""
    return MissingError(
        "device-login-refused",
        f"the device {address.text} does not let {user or 'this user'} in",
        where=f"ssh:{address.text}",
        why=words or "it takes none of the keys that are offered",
        fix=f"put your key there: {address.login.replace('ssh', 'ssh-copy-id', 1)}; "
        "a key with a passphrase must be in the agent: ssh-add",
    )


def unknown_key(address: Address, place: str, key: tuple[str, str], known: str) -> MissingError:
    """Return the error for a host key that stands in no known_hosts file.

    ``key`` is its fingerprint and its line in such a file, both empty when they were not seen.
    """
    fingerprint, line = key
    fix = (
        f"compare it with what the device says of itself (ssh-keygen -lf "
        f"/etc/ssh/ssh_host_*_key.pub there); when it is the same: "
        f"echo {shlex.quote(line)} >> {known}"
        if line
        else f"log in once from a terminal and compare the fingerprint: {address.login}"
    )
    return MissingError(
        "device-key-unknown",
        f"the host key of {place} is not known here",
        where=f"ssh:{address.text}",
        why=f"its fingerprint is {fingerprint}" if fingerprint else "no known_hosts file has it",
        fix=fix,
    )


def changed_key(address: Address, place: str, fingerprint: str, known: str) -> TransportError:
    """Return the error for a host key that differs from the one that is known."""
    seen = f" {fingerprint}" if fingerprint else ""
    return TransportError(
        "device-key-changed",
        f"the host key of {place} is not the one that is known here",
        where=f"ssh:{address.text}",
        why=f"it answers with another key{seen}: the device was installed anew, or somebody "
        "stands between",
        fix="find out which; when it was installed anew, remove the old key: "
        f"ssh-keygen -f {known} -R {shlex.quote(place)}, and add the new one",
    )


def place(host: str, port: int) -> str:
    """Return host and port as a known_hosts file writes them."""
    return host if port in {0, PORT} else f"[{host}]:{port}"


def not_installed() -> MissingError:
    """Return the error for a machine that has neither asyncssh nor the ssh program."""
    return MissingError(
        "ssh-missing",
        "devices over ssh need asyncssh or the ssh program, and neither is here",
        where="ssh",
        why="the Python package asyncssh is not installed and no ssh is on the PATH",
        fix="pip install 'edgeops[ssh]', or install the ssh client of your system",
    )


def bad_config(words: str) -> InputError:
    """Return the error for an ssh config that ssh itself does not understand."""
    return InputError(
        "ssh-config",
        "ssh does not understand its config",
        where="~/.ssh/config",
        why=words,
        fix="mend the line that it names",
    )


def told(address: Address, words: str, last: str) -> EdgeopsError | None:
    """Return the error that what the ssh program said stands for; None for others."""
    at = place(address.host, address.port)
    if "Could not resolve hostname" in words:
        return nameless(address, address.host, last)
    if "Connection refused" in words:
        return refused(address, at)
    if "timed out" in words:
        return silent(address, at)
    if "Permission denied" in words or "Too many authentication failures" in words:
        return login_refused(address, address.user, last)
    return None
