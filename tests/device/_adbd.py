"""A small adbd on a loopback port, for the real adb client to talk to.

It speaks what a device's daemon speaks: CNXN, AUTH, OPEN, OKAY, WRTE, CLSE, and in its streams the
shell protocol (version 2: output apart from errors, standard input and its end, exit codes).
Commands run on this machine, in a folder that stands for the device's storage.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading

_SYNC, _CNXN, _AUTH, _OPEN, _OKAY, _CLSE, _WRTE = (
    int.from_bytes(word, "little")
    for word in (b"SYNC", b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
_NO_CHECKSUM = 0x01000001
_MOST = 256 * 1024
_PIECE = 32 * 1024
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_TOKEN, _PUBLIC_KEY = 1, 3


class Adbd:
    """The daemon of one device; ``serial`` is how ``adb connect`` and ``adb -s`` name it.

    ``trusts`` False never accepts the computer's key, ``answers`` False accepts a connection and
    says nothing. ``drop_after`` is a number of bytes from the computer after which the connection
    is cut, once. ``refuses`` is a text: services that hold it are not opened.
    """

    def __init__(
        self,
        root,
        *,
        environment=None,
        features="shell_v2,cmd",
        trusts=True,
        answers=True,
        shell=("sh",),
    ):
        self.root = root
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(root), "TMPDIR": str(root)}
        self.environment |= environment or {}
        self.features = features
        self.trusts = trusts
        self.answers = answers
        self.shell = shell
        self.drop_after = None
        self.refuses = None
        self.received = 0
        self.opened = []
        self.processes = []
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def running(self):
        """Return the command lines of what still runs on the device."""
        return [each.args for each in self.processes if each.poll() is None]

    def drop(self):
        """Cut all connections, as a cable that is pulled."""
        while self._connections:
            self._connections.pop().cut()

    def close(self):
        """Switch the device off."""
        # Closing alone does not wake up who waits for a connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made = _Connection(self, connection)
            self._connections.append(made)
            threading.Thread(target=made.serve, daemon=True).start()


class _Connection:
    """One connection of an adb server: its messages and the streams in it."""

    def __init__(self, adbd, connection):
        self.adbd = adbd
        self._socket = connection
        self._lock = threading.Lock()
        self._streams = {}
        self._count = 0
        self._version = 0
        self.most = 4096

    def serve(self):
        try:
            while True:
                self._handle(*self._message())
        except (EOFError, OSError):
            self.cut()

    def cut(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for stream in list(self._streams.values()):
            stream.end()

    def send(self, command, first, second, data=b""):
        check = sum(data) & 0xFFFFFFFF if self._version < _NO_CHECKSUM else 0
        head = struct.pack("<6I", command, first, second, len(data), check, command ^ 0xFFFFFFFF)
        with self._lock:
            self._socket.sendall(head + data)

    def closed(self, stream):
        if self._streams.pop(stream.here, None) is not None:
            with contextlib.suppress(OSError):
                self.send(_CLSE, stream.here, stream.there)

    def _message(self):
        command, first, second, length, _, _ = struct.unpack("<6I", self._read(24))
        return command, first, second, self._read(length)

    def _read(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        self.adbd.received += count
        if self.adbd.drop_after is not None and self.adbd.received >= self.adbd.drop_after:
            self.adbd.drop_after = None
            raise EOFError
        return bytes(data)

    def _handle(self, command, first, second, data):
        if command == _CNXN:
            self._connect(first, second)
        elif command == _AUTH:
            # To a public key the person at the device would answer, and nobody is there.
            if first != _PUBLIC_KEY:
                self.send(_AUTH, _TOKEN, 0, bytes(20))
        elif command == _OPEN:
            self._open(first, data.rstrip(b"\0").decode())
        elif stream := self._streams.get(second):  # the stream's own thread may take it out
            if command == _OKAY:
                stream.acknowledged.release()
            elif command == _WRTE:
                stream.feed(data)
                self.send(_OKAY, second, first)
            elif command == _CLSE:
                self._streams.pop(second, None)
                stream.end()

    def _connect(self, version, most):
        if not self.adbd.answers:
            return
        if not self.adbd.trusts:
            self.send(_AUTH, _TOKEN, 0, bytes(20))
            return
        self._version, self.most = min(version, _NO_CHECKSUM), min(most, _MOST)
        about = "ro.product.name=edge;ro.product.model=EdgeSim;ro.product.device=sim"
        banner = f"device::{about};features={self.adbd.features}"
        self.send(_CNXN, self._version, _MOST, banner.encode())

    def _open(self, there, service):
        self.adbd.opened.append(service)
        self._count += 1
        stream = _Stream(self, self._count, there)
        kind, _, command = service.partition(":")
        refused = self.adbd.refuses is not None and self.adbd.refuses in service
        if refused or kind.split(",")[0] != "shell" or "v2" not in kind.split(","):
            self.send(_CLSE, 0, there)
            return
        self._streams[self._count] = stream
        self.send(_OKAY, stream.here, there)
        threading.Thread(target=stream.run, args=(command,), daemon=True).start()


class _Stream:
    """One service in a connection: bytes both ways, each piece acknowledged before the next."""

    def __init__(self, connection, here, there):
        self.here, self.there = here, there
        self.acknowledged = threading.Semaphore(0)
        self._connection = connection
        self._data = bytearray()
        self._change = threading.Condition()
        self._ended = False
        self._sending = threading.Lock()

    def feed(self, data):
        with self._change:
            self._data += data
            self._change.notify_all()

    def end(self):
        with self._change:
            self._ended = True
            self._change.notify_all()
        self.acknowledged.release()

    def run(self, command):
        """Run a command of the shell protocol to its end, or until the stream is closed."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self._connection.adbd.shell, "-c", command],
            cwd=self._connection.adbd.root,
            env=self._connection.adbd.environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            start_new_session=True,
        )
        self._connection.adbd.processes.append(process)
        pumps = [
            threading.Thread(target=self._pump, args=(stream, number), daemon=True)
            for stream, number in ((process.stdout, _STDOUT), (process.stderr, _STDERR))
        ]
        for thread in (*pumps, threading.Thread(target=self._input, args=(process,), daemon=True)):
            thread.start()
        for thread in pumps:
            thread.join()
        code = process.wait()
        with contextlib.suppress(EOFError, OSError):
            self._write(_EXIT, bytes([code if code >= 0 else 128 - code]))
        self._connection.closed(self)
        self.end()

    def _pump(self, stream, number):
        # When the stream is closed, what writes into the pipe is told so, as by a real adbd.
        with stream, contextlib.suppress(EOFError, OSError):
            while data := stream.read(_PIECE):
                self._write(number, data)

    def _input(self, process):
        with process.stdin, contextlib.suppress(EOFError, OSError):
            while True:
                number, length = struct.unpack("<BI", self._take(5))
                if number == _CLOSE_STDIN:
                    return
                # A packet may be large: what came of it goes on, as with a real adbd.
                while length:
                    data = self._take(1, length)
                    length -= len(data)
                    while number == _STDIN and data:
                        data = data[process.stdin.write(data) :]

    def _take(self, count, most=None):
        """Return ``count`` bytes, or what is there up to ``most``."""
        with self._change:
            while len(self._data) < count:
                if self._ended:
                    raise EOFError
                self._change.wait()
            taken = bytes(self._data[: most or count])
            del self._data[: len(taken)]
            return taken

    def _write(self, number, data):
        whole = struct.pack("<BI", number, len(data)) + data
        with self._sending:
            for start in range(0, len(whole), self._connection.most):
                if self._ended:
                    raise EOFError
                piece = whole[start : start + self._connection.most]
                self._connection.send(_WRTE, self.here, self.there, piece)
                self.acknowledged.acquire()
