"""A model in a process of its own: one that hangs is killed, one that dies is started again.

One call at a time goes over a socket, in frames of ``wire``. The child ends when this process does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops import errors
from edgeops.errors import EdgeopsError, RefusedError
from edgeops.runtime.children import end_group, spawner
from edgeops.runtime.serving import child_main, wire
from edgeops.runtime.serving.http import malformed
from edgeops.runtime.serving.local import SITE, Input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.serving.options import Options

_PROGRAM = (
    "import sys; sys.path[:0] = sys.argv[1].split('|'); "
    f"from {child_main.__name__} import main; sys.exit(main())"
)
_AGAIN_S, _MOST_AGAIN_S = 1.0, 60.0


class Hung(Exception):
    """A call did not end in time; the child was killed and is being started again."""


class Crashed(Exception):
    """The child ended during a call."""


class Away(Exception):
    """The child is being started again and takes no calls yet."""


class Child:
    """A model loaded by a child process; calls from several threads wait for each other.

    Raises what loading raises there, RefusedError ``model-load-hung`` or ``model-load-crashed``.
    ``trouble`` is what kept it from being started again the last time, None when it runs.
    """

    isolated = True

    def __init__(self, slot: Path, options: Options) -> None:
        self.slot, self._options = slot, options
        self._lock = threading.Lock()
        self._began = threading.local()
        self._closed = False
        self.trouble: Exception | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        about = self._start()
        self.digest: str = about["digest"]
        self.version: str | None = about["version"]
        self.target: str | None = about["target"]
        self.inputs = tuple(
            Input(name, tuple(shape), dtype, kind) for name, shape, dtype, kind in about["inputs"]
        )
        self.tensors = _tensors(about["tensors"])
        self.arrays = _tensors(about["arrays"])
        self.outputs = _tensors(about["outputs"])
        self._fallback = about["fallback"]
        self.starts = 1

    @property
    def ready(self) -> bool:
        """Return whether there is a process that takes calls."""
        return self._socket is not None

    @property
    def pid(self) -> int | None:
        """The number of the child's process, None when there is none."""
        process = self._process
        return process.pid if process is not None else None

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; raises what the predictor raises there, Hung or Crashed."""
        return self._call("predict", inputs, self._options.call_timeout_s)

    def began(self, asked: float) -> float:
        """Return when this thread's last call really began, after it had waited for others."""
        return max(asked, getattr(self._began, "at", asked))

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Answer arrays of the model itself, without features and rules."""
        return self._call("run", arrays, self._options.call_timeout_s)

    def fallback(self) -> Any:
        """Return the answer that the rules declare for when no model can answer, else None."""
        return self._fallback

    def missed(self) -> bool:
        """Return whether the child ended while nobody asked it; it is started again then."""
        process = self._process
        if process is None or process.poll() is None or not self._lock.acquire(blocking=False):
            return False  # or the call that runs finds out
        try:
            if self._process is not process or self._socket is None:
                return False
            self._lost()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """End the child."""
        self._closed = True
        self._end()

    def _call(self, do: str, values: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        if self._socket is None:
            raise Away("its process is being started again")
        pieces = _encoded({"do": do}, values)
        with self._lock:
            self._began.at = time.monotonic()
            link = self._socket
            if link is None:
                raise Away("its process is being started again")
            try:
                send(link, pieces, seconds)
                head, answer = receive(link, seconds)
            except socket.timeout as error:  # another than TimeoutError before 3.10
                self._lost()
                raise Hung(f"the call did not end within {seconds:g} s") from error
            except Exception as error:  # it ended, or what it answers is no frame
                how = self._lost()
                raise Crashed(f"its process {how}: {error}") from error
        if "error" in head:
            raise _error(head["error"])
        return answer

    def _lost(self) -> str:
        """Kill what is left of the child, have it started again, and return how it ended."""
        process = self._process
        self._end()
        threading.Thread(target=self._again, name="edgeops-again", daemon=True).start()
        code = process.returncode if process is not None else None
        return f"ended with {code}" if code is not None else "ended"

    def _again(self) -> None:
        """Start the child again, until it loads or is not wanted any more."""
        wait = _AGAIN_S
        while not self._closed:
            try:
                self._start()
            except (EdgeopsError, OSError) as error:
                self.trouble = error
                time.sleep(wait)
                wait = min(2 * wait, _MOST_AGAIN_S)
                continue
            self.starts += 1
            self.trouble = None
            break
        if self._closed:
            self._end()

    def _start(self) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        try:
            self._process = spawner().submit(_spawn, self.slot, self._options, theirs).result()
        finally:
            theirs.close()
        seconds = self._options.load_timeout_s
        try:
            head, _ = receive(ours, seconds)
        except socket.timeout as error:
            self._end(ours)
            raise _not_loaded("model-load-hung", self.slot, f"not within {seconds:g} s") from error
        except Exception as error:
            code = self._end(ours)
            raise _not_loaded(
                "model-load-crashed", self.slot, f"its process ended with {code}"
            ) from error
        if "error" in head:
            self._end(ours)
            raise _error(head["error"])
        self._socket = ours
        return head

    def _end(self, link: socket.socket | None = None) -> int | None:
        process, self._process = self._process, None
        link, self._socket = link or self._socket, None
        if process is not None:
            end_group(process)
        if link is not None:
            link.close()
        return process.returncode if process is not None else None


def _spawn(slot: Path, options: Options, link: socket.socket) -> subprocess.Popen[bytes]:
    isolated = ["-I"] if sys.flags.isolated else []
    chosen = (options.target or "", options.threads, options.key or "")
    given = (link.fileno(), os.getpid(), slot, *chosen)
    return subprocess.Popen(
        [sys.executable, *isolated, "-c", _PROGRAM, "|".join(_paths(slot)), *map(str, given)],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what engines print is no answer
        pass_fds=(link.fileno(),),
        # Of its own, so that what an engine starts is ended with it. A session of its own would have
        # Linux give it as much of the processors as all else here (sched_autogroup), however nice it is.
        process_group=0,
    )


def _paths(slot: Path) -> list[str]:
    """Return where the child imports from first: what the slot brings, then this very edgeops."""
    import edgeops

    own = str(Path(edgeops.__file__).parents[1])
    site = slot / SITE
    return [str(site), own] if site.is_dir() else [own]


def _encoded(head: Mapping[str, Any], values: Mapping[str, Any]) -> list[Any]:
    """Return the pieces of a request; one that has no frame is no reason to end the child."""
    try:
        return wire.encode(head, values)
    except Exception as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> EdgeopsError:
    """Return the error for a request that cannot be handed to the model's process."""
    return malformed(f"its inputs cannot be handed on: {type(error).__name__}: {error}")


def send(link: socket.socket, pieces: list[Any], seconds: float | None) -> None:
    """Send a frame; raises OSError, socket.timeout when nobody takes it."""
    link.settimeout(seconds)
    sent = link.sendmsg(pieces) if len(pieces) < 64 else 0  # noqa: PLR2004 - far below IOV_MAX
    for piece in pieces:
        if sent >= len(piece):
            sent -= len(piece)
            continue
        link.sendall(memoryview(piece)[sent:] if sent else piece)
        sent = 0


def receive(link: socket.socket, seconds: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the next frame; raises EOFError at the end, MemoryError, and as ``wire.decode`` does."""
    link.settimeout(seconds)
    text_size, body_size = wire.SIZES.unpack(_exactly(link, wire.SIZES.size))
    text = bytes(_exactly(link, text_size))
    return wire.decode(text, memoryview(_exactly(link, body_size)))


def _exactly(link: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, place = memoryview(data), 0
    while place < size:
        count = link.recv_into(view[place:])
        if not count:
            raise EOFError("it ended in the middle")
        place += count
    return data


def _tensors(items: list[Any]) -> tuple[TensorInfo, ...]:
    from edgeops.core.variant import TensorInfo

    return tuple(TensorInfo(name, tuple(shape), dtype) for name, shape, dtype in items)


def _error(told: Mapping[str, Any]) -> EdgeopsError:
    """Return the error that was raised in the child, of the same class."""
    kind = getattr(errors, str(told.get("class")), None)
    if not (isinstance(kind, type) and issubclass(kind, EdgeopsError)):
        kind = RefusedError
    where, why, fix = (str(told.get(name, "")) for name in ("where", "why", "fix"))
    return kind(str(told.get("code")), str(told.get("what")), where=where, why=why, fix=fix)


def _not_loaded(code: str, slot: Path, why: str) -> RefusedError:
    if code == "model-load-hung":
        return RefusedError(
            "model-load-hung",
            "the model was not loaded in time",
            where=str(slot),
            why=why,
            fix="give it more time with load_timeout_s, or publish a model that this device can load",
        )
    return RefusedError(
        "model-load-crashed",
        "the engine's process ended while it loaded the model",
        where=str(slot),
        why=why,
        fix="publish a model that this engine can load; the server's own log has its last words",
    )
