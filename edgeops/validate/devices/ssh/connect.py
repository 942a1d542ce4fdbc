"""Connect to a host by asyncssh, through jump hosts, trusting known host keys only.

asyncssh by itself trusts any key where the config says ``UserKnownHostsFile none``, for a jump host
too. So every hop is made here, with the known keys read here.
"""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.validate.devices.ssh import config as ssh_config
from edgeops.validate.devices.ssh import trouble

if TYPE_CHECKING:
    from edgeops.errors import EdgeopsError
    from edgeops.validate.devices.ssh.address import Address

_MOST_HOPS = 8
_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?/?"
)
_SYSTEM_KNOWN = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_OWN_KNOWN = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_CLOSE_S = 5.0


async def connect(address: Address) -> list[Any]:
    """Return the connections to the jump hosts and, last, to the host itself.

    Raises TransportError ``device-unreachable`` or ``device-key-changed``, MissingError
    ``device-key-unknown`` or ``device-login-refused``, and Beyond for a config that asyncssh does
    not understand.
    """
    made: list[Any] = []
    try:
        await _reach(address, (address.user, address.host, address.port), made, 0)
    except BaseException:
        await close(made)
        raise
    return made


async def close(connections: list[Any]) -> None:
    """Close connections, the last one first; what does not end soon is cut off."""
    for connection in reversed(connections):
        connection.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await connection.wait_closed()
        except TimeoutError:
            connection.abort()


async def _reach(
    address: Address, place: tuple[str, str, int], made: list[Any], depth: int
) -> None:
    """Connect to a place, and before to those that the config names as the way to it."""
    options, asked = _options(place)
    jumps = str(options.tunnel).split(",") if options.tunnel and not made else []
    for jump in jumps:
        match = _JUMP.fullmatch(jump.strip())
        if match is None or depth == _MOST_HOPS:
            why = f"{jump!r} is no jump host" if match is None else "jump hosts lead on and on"
            raise trouble.unreachable(address, why, "mend ProxyJump in ~/.ssh/config")
        hop = (match["user"] or "", match["host"].strip("[]"), int(match["port"] or 0))
        await _reach(address, hop, made, depth + 1)
    made.append(await _hop(address, options, asked, made[-1] if made else None))


def _options(place: tuple[str, str, int]) -> tuple[Any, dict[str, Any]]:
    """Return what the config says of a place, and what of it is to be asked for once more."""
    import asyncssh

    user, host, port = place
    asked: dict[str, Any] = {
        "config": [str(path) for path in ssh_config.files()],
        "host": host,
        # What is in the agent too need not be opened; ssh passes over the others as well.
        "ignore_encrypted": True,
        "agent_forwarding": False,
        # Commands and requests are much alike: the second costs a tenth of the first.
        "compression_algs": ["zlib@openssh.com", "none"],
        "connect_timeout": trouble.CONNECT_S,
        "login_timeout": trouble.LOGIN_S,
        "keepalive_interval": trouble.ALIVE_S,
        "keepalive_count_max": trouble.ALIVE_TIMES,
    }
    asked |= {"username": user} if user else {}
    asked |= {"port": port} if port else {}
    try:
        return asyncssh.SSHClientConnectionOptions(**asked), asked
    except (ValueError, OSError, ImportError, asyncssh.Error) as error:
        raise ssh_config.Beyond(str(error)) from error


async def _hop(address: Address, options: Any, asked: dict[str, Any], tunnel: Any) -> Any:
    import asyncssh

    class Client(asyncssh.SSHClient):
        """Keeps the host key that nothing vouches for, and refuses it."""

        key: Any = None

        def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: Any) -> bool:
            self.key = key
            return False

    client = Client()
    known, files = _known(options)
    try:
        return await asyncssh.connect(
            **asked, tunnel=tunnel, known_hosts=known, client_factory=lambda: client
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise _distrusted(address, options, (known, files), client.key) from error
    except (asyncssh.Error, OSError) as error:
        raise _why(address, options, error) from error


def _known(options: Any) -> tuple[bytes, list[str]]:
    """Return the known host keys for what the config says, and the files that they are looked in."""
    named = options.config.get("UserKnownHostsFile", list(_OWN_KNOWN))
    names = [*named, *options.config.get("GlobalKnownHostsFile", list(_SYSTEM_KNOWN))]
    # Never empty, for asyncssh would look elsewhere then.
    text = b"\n"
    for name in names:
        try:
            text += Path(name).expanduser().read_bytes() + b"\n"
        except OSError:
            continue
    return text, [str(name) for name in named]


def _distrusted(
    address: Address, options: Any, trusted: tuple[bytes, list[str]], key: Any
) -> EdgeopsError:
    """Return the error for a host key that is unknown, or another than the one that is known."""
    import asyncssh

    known, files = trusted
    name, port = options.host_key_alias or options.host, int(options.port)
    where = trouble.place(name, port)
    file = files[0] if files else "~/.ssh/known_hosts"
    fingerprint = key.get_fingerprint() if key is not None else ""
    expected = asyncssh.match_known_hosts(known, name, "", port if port != trouble.PORT else None)
    if expected[0] or expected[2]:
        return trouble.changed_key(address, where, fingerprint, file)
    line = f"{where} {key.export_public_key().decode().strip()}" if key is not None else ""
    return trouble.unknown_key(address, where, (fingerprint, line), file)


def _why(address: Address, options: Any, error: Exception) -> EdgeopsError:
    import asyncssh

    place = f"{options.host}:{options.port}"
    words = str(error) or type(error).__name__
    if isinstance(error, asyncssh.PermissionDenied):
        return trouble.login_refused(address, options.username, words)
    if isinstance(error, socket.gaierror):
        return trouble.nameless(address, options.host, error.strerror or words)
    if isinstance(error, ConnectionRefusedError) or "Connection refused" in words:
        return trouble.refused(address, place)
    # A host with several addresses fails with all of their errors in one text.
    if isinstance(error, TimeoutError) or "Connect call failed" in words:
        return trouble.silent(address, place)
    return trouble.closed(address, f"{place}: {words}")
