"""A shell over ssh through asyncssh: one connection on a loop of its own."""

from __future__ import annotations

import asyncio
import errno
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from edgeops.validate.devices.remote.process import GRACE_S, Lines, timed_out
from edgeops.validate.devices.remote.shell import (
    BEAT_S,
    Deadline,
    Done,
    arriving,
    deadline,
    leaving,
)
from edgeops.validate.devices.remote.trouble import failed, lost
from edgeops.validate.devices.ssh.connect import close, connect
from edgeops.validate.devices.ssh.loop import Loop
from edgeops.validate.devices.ssh.words import (
    After,
    commanded,
    get_command,
    patience,
    put_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgeops.validate.devices.ssh.address import Address

_PIECE = 1 << 18
_LOOK_S = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def connected(address: Address) -> Iterator[AsyncsshShell]:
    """Yield a shell over a new connection, which is closed at the end."""
    with Loop() as loop:
        hops = loop.call(connect(address))
        try:
            yield AsyncsshShell(address, loop, hops[-1])
        finally:
            loop.call(close(hops))


class AsyncsshShell:
    """A shell on a host; each command is a channel of the one connection."""

    def __init__(self, address: Address, loop: Loop, connection: Any) -> None:
        self.where = f"ssh:{address.text}"
        self.login = address.login
        self._loop = loop
        self._connection = connection

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | Deadline,
        on_line: Callable[[str], None] | None = None,
        leash: bool = False,
    ) -> Done:
        """Run a command line of ``sh`` there; as ``Shell.run``."""
        talk = _Talk(self._connection, command, stdin=stdin, leash=leash)
        lines = Lines(on_line) if on_line else None
        done = self._wait(talk, timeout_s, lines)
        if lines:
            lines.end()
        return done

    def put(self, source: Path, path: str, *, offset: int = 0) -> None:
        """Write a file, or what of it follows ``offset``, to the end of one there.

        Raises MissingError ``device-disk-full`` or ``device-not-writable``, TransportError
        ``device-lost``.
        """
        with leaving(source, offset) as (file, size):
            talk = _Talk(self._connection, put_command(path, offset), source=file)
            done = self._wait(talk, patience(size))
        if done.code:
            raise failed(self.where, path, done)

    def get(self, path: str, destination: Path) -> None:
        """Copy a file from there; ``destination`` is left out when that fails.

        Raises TransportError ``device-lost``, MissingError ``disk-full`` or ``device-shell``.
        """
        with arriving(destination) as file:
            talk = _Talk(self._connection, get_command(path), take=file.write)
            # No limit of its own: while bytes come the device is there, and when none come the
            # connection counts as lost.
            done = self._wait(talk, float("inf"))
            if done.code:
                raise failed(self.where, path, done)

    def _wait(self, talk: _Talk, timeout_s: float | Deadline, lines: Lines | None = None) -> Done:
        """Wait for a command; what it writes is handed on from this thread, line by line."""
        until = deadline(timeout_s)
        queue: SimpleQueue[bytes | None] = SimpleQueue()
        if lines:
            talk.take = queue.put
        future = self._loop.start(talk.to_end(self.where))
        future.add_done_callback(lambda _: queue.put(None))
        try:
            while True:
                if until.left() <= 0:
                    raise timed_out(self.where, until.seconds)
                try:
                    piece = queue.get(timeout=min(_LOOK_S, max(until.left(), 0)))
                except Empty:
                    continue
                if piece is None:
                    return future.result()
                if lines:
                    lines.feed(piece)
        except BaseException:
            self._loop.soon(talk.stop)
            with suppress(Exception):
                future.result(2 * GRACE_S)
            future.cancel()
            raise


class _Talk:
    """One command on the connection, from its start to its end; lives on the loop."""

    def __init__(
        self,
        connection: Any,
        command: str,
        *,
        stdin: bytes = b"",
        source: IO[bytes] | None = None,
        take: Callable[[bytes], object] | None = None,
        leash: bool = False,
    ) -> None:
        self._connection = connection
        self._command = commanded(command)
        self._stdin = stdin
        self._source = source
        self._leash = leash
        self._stopped = asyncio.Event()
        self.take = take

    def stop(self) -> None:
        """Have the command end: its standard input is closed; then it is given a little time."""
        self._stopped.set()

    async def to_end(self, where: str) -> Done:
        """Return how the command ended; raises TransportError ``device-lost``."""
        import asyncssh

        try:
            return await self._run(where)
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
                raise  # a file here
            raise lost(where, str(error) or type(error).__name__) from error

    async def _run(self, where: str) -> Done:
        process = await self._connection.create_process(
            self._command, encoding=None, request_pty=False, env={}, send_env=None
        )
        out, err = bytearray(), bytearray()
        take = After(self.take or out.extend)
        feeding = asyncio.create_task(self._feed(process.stdin))
        stopping = asyncio.create_task(self._stopped.wait())
        whole = asyncio.create_task(_whole(process, take, err.extend))
        try:
            await asyncio.wait({whole, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not whole.done():
                feeding.cancel()
                process.stdin.write_eof()
                await asyncio.wait({whole}, timeout=GRACE_S)
            if whole.done():
                whole.result()
        finally:
            for task in (feeding, stopping, whole):
                task.cancel()
            await asyncio.gather(feeding, stopping, whole, return_exceptions=True)
            process.close()
        if process.exit_status is None and process.exit_signal is None:
            raise lost(where, "the connection was closed before the command was over")
        return Done(int(process.returncode), bytes(out), bytes(err))

    async def _feed(self, stdin: Any) -> None:
        import asyncssh

        # What does not read its standard input any more has ended, or will say why.
        with suppress(asyncssh.Error, ConnectionError):
            if self._source is None:
                stdin.write(self._stdin)
            else:
                while piece := self._source.read(_PIECE):
                    stdin.write(piece)
                    await stdin.drain()
            await stdin.drain()
            while self._leash:
                await asyncio.sleep(BEAT_S)
                stdin.write(b"\n")
            stdin.write_eof()


async def _whole(
    process: Any, take: Callable[[bytes], object], take_errors: Callable[[bytes], object]
) -> None:
    await asyncio.gather(_read(process.stdout, take), _read(process.stderr, take_errors))
    await process.wait_closed()


async def _read(stream: Any, take: Callable[[bytes], object]) -> None:
    while piece := await stream.read(_PIECE):
        take(piece)
