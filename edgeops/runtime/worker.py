"""Talk to a worker in an environment of its own: one request a line, one answer a line, in JSON.

Arrays pass through ``.npz`` files in a scratch folder that is the worker's working directory, home
and TMPDIR. The worker dies with this process. An answer that does not come, is none, or is another
protocol's ends the worker and is refused by name.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.environment import require
from edgeops.errors import MissingError, RefusedError
from edgeops.runtime.children import spawner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from edgeops.core.environment import Environment

API = 1
START_S = 120.0
_LONGEST_LINE = 8 * 1024**2
_KEPT = 16_384  # bytes of standard error that are remembered
_SHOWN_LINES = 6
_SHOWN_CHARACTERS = 600
_SHOWN_REASON = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Lines of a log that tell nothing of why: glog's, TensorFlow's, X2Paddle's, pieces of frames.
_CHATTER = re.compile(
    r"[IW]\d{4} \d\d:|WARNING: All log|.*\[ +INFO\]|[=*-]+$|.*Unable to register cu"
    r"|Failed to load _ML|Running MIL |Converting PyTorch |Converting node "
)
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")


class Refusal(Exception):
    """The worker answered that it cannot: ``why`` in the words of the library it runs.

    ``words`` are the last lines that it printed. Whoever asked turns it into an error of its own.
    """

    def __init__(self, kind: str, why: str, words: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.words = words

    def text(self) -> str:
        """Return the reason, and the last words where they say more than it does."""
        reason = f"{self.kind}: {self.why}" if self.kind else self.why
        lines = [line.strip() for line in reason.splitlines() if line.strip()]
        first = " ".join(lines[:3])[:_SHOWN_REASON]
        return f"{first}\n{self.words}" if self.words else first


class Worker:
    """A running worker; safe to ask from several threads, one answer at a time.

    Raises MissingError ``environment-missing``, ``-stale`` or ``-broken`` when it cannot be started.
    ``loud`` hands on to standard error what the worker prints, for processes whose own last words
    are kept; ``unfinished`` starts it in an environment that is only being made.
    """

    def __init__(
        self, environment: Environment, *, loud: bool = False, unfinished: bool = False
    ) -> None:
        self.name = environment.name
        executable = environment.executable if unfinished else require(environment)
        self.scratch = Path(tempfile.mkdtemp(prefix=f"edgeops-{self.name}-"))
        command = [
            str(executable),
            *("-I", "-B", "-X", "utf8", "-W", "ignore"),
            str(Path(__file__).with_name("serve.py")),
            str(environment.worker.absolute()),
            str(os.getpid()),
        ]
        try:
            self._process = spawner().submit(_spawn, command, self.scratch).result()
        except OSError as error:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise MissingError(
                "environment-broken",
                f"the environment {self.name} cannot be used",
                where=str(executable),
                why=f"its Python does not start: {error.strerror or error}",
                fix=f"edgeops env create {self.name}",
            ) from error
        os.set_blocking(self._process.stderr.fileno(), False)  # type: ignore[union-attr] # a pipe
        self.close = weakref.finalize(self, _end, self._process, self.scratch)
        self._lock = threading.Lock()
        self._count = 0
        self._said = b""
        self._loud = loud

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, /, *, timeout_s: float, **arguments: Any) -> Any:
        """Return what the worker's function ``do`` returns for the keyword arguments.

        Raises Refusal with what the function raised; RefusedError ``worker-died``,
        ``worker-timeout`` or ``worker-garbage``, MissingError ``worker-version``: then the worker
        is ended and asking again raises ``worker-died``.
        """
        with self._lock:
            self._count += 1
            request = {"api": API, "id": self._count, "do": do, "with": arguments}
            try:
                line = self._exchange(json.dumps(request).encode() + b"\n", do, timeout_s)
                answer = self._read(line, self._count)
            except (
                BaseException
            ):  # Ctrl-C too: the answer that is still to come would be the next's
                self.close()
                raise
        if "error" in answer:
            told = answer["error"]
            words = "" if self._loud else self._words()  # they are on standard error then
            raise Refusal(str(told.get("kind", "")), str(told.get("why", "")), words)
        return answer["ok"]

    def _exchange(self, request: bytes, do: str, timeout_s: float) -> bytes:
        """Send a request and return the line that answers it, reading both of its streams."""
        assert self._process.stdin is not None  # noqa: S101 - opened as pipes, for mypy
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        deadline = time.monotonic() + timeout_s
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._died(do) from error
        line = b""
        with selectors.DefaultSelector() as streams:
            streams.register(self._process.stdout, selectors.EVENT_READ)
            streams.register(self._process.stderr, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._late(do, timeout_s)
                for key, _ in streams.select(left):
                    if key.fileobj is self._process.stderr:
                        if not self._hear():
                            streams.unregister(key.fileobj)
                        continue
                    data = os.read(key.fd, 65_536)
                    if not data:
                        raise self._died(do)
                    line += data
                if len(line) > _LONGEST_LINE:
                    raise self._garbage("a line without end")
        return line

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._garbage(repr(line[:80])) from error
        if not isinstance(answer, dict) or "api" not in answer:
            raise self._garbage(repr(line[:80]))
        if answer["api"] != API:
            raise MissingError(
                "worker-version",
                f"the worker of {self.name} speaks another protocol",
                where=self.name,
                why=f"it speaks {answer['api']!r}, this edgeops speaks {API}",
                fix="upgrade edgeops and the package that brings the worker to the same release",
            )
        told = answer.get("error")
        if answer.get("id") != number or not ("ok" in answer or isinstance(told, dict)):
            raise self._garbage(repr(line[:80]))
        return answer

    def _died(self, do: str) -> RefusedError:
        how = _how_it_ended(self._process)
        while self._hear():
            pass
        return RefusedError(
            "worker-died",
            f"the worker of {self.name} {how} while asked to {do}",
            where=self.name,
            why=self._words() or "it said nothing",
            fix=f"if it dies again, make it anew: edgeops env remove {self.name}, then create",
        )

    def _late(self, do: str, timeout_s: float) -> RefusedError:
        return RefusedError(
            "worker-timeout",
            f"the worker of {self.name} did not {do} within {timeout_s:g} s and was ended",
            where=self.name,
            why=self._words() or "it said nothing",
            fix="use a smaller model, or another engine",
        )

    def _garbage(self, what: str) -> RefusedError:
        return RefusedError(
            "worker-garbage",
            f"the worker of {self.name} answered what is no answer",
            where=self.name,
            why=f"it wrote {what}",
            fix=f"make it anew: edgeops env remove {self.name}, then edgeops env create {self.name}",
        )

    def _hear(self) -> bool:
        """Read what is on standard error; return whether more may come."""
        try:
            data = os.read(self._process.stderr.fileno(), 65_536)  # type: ignore[union-attr] # a pipe
        except (BlockingIOError, ValueError):
            return False
        self._said = (self._said + data)[-_KEPT:]
        if self._loud:
            os.write(2, telling(data.decode(errors="replace")).encode())
        return bool(data)

    def _words(self) -> str:
        return last_words(self._said.decode(errors="replace"))


def last_words(text: str) -> str:
    """Return the last lines of what a tool printed, without colours, counters and chatter."""
    lines = [line for line in telling(text).splitlines() if line.strip()]
    return "\n".join(lines[-_SHOWN_LINES:])[-_SHOWN_CHARACTERS:]


def telling(text: str) -> str:
    """Return what a tool printed without colours, chatter, and counters that overwrite each other."""
    said = [line.rstrip().rpartition("\r")[2] for line in _COLOURS.sub("", text).split("\n")]
    return "\n".join(line for line in said if not _CHATTER.match(line))


def surroundings(scratch: Path, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables of a worker: nothing of this Python, a home of its own."""
    inherited = os.environ if given is None else given
    kept = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    return kept | {"HOME": str(scratch), "TMPDIR": str(scratch), "CI": "true"}


def _spawn(command: list[str], scratch: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=scratch,
        env=surroundings(scratch),
    )


def _end(process: subprocess.Popen[bytes], scratch: Path) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            _close(stream)
    shutil.rmtree(scratch, ignore_errors=True)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return  # what was still to be written has no reader


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "closed its output"
    if status < 0:
        import signal

        return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status}"
