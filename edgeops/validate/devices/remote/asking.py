"""Ask the measuring program on a device: one line there, lines of progress and the answer back."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, TransportError
from edgeops.runtime.probe import FORMAT
from edgeops.validate.devices.remote.lacking import fix_of, unanswered
from edgeops.validate.devices.remote.shell import BEAT_S, Deadline
from edgeops.validate.devices.remote.trouble import full, is_full

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.core.contracts import Tell
    from edgeops.validate.devices.remote.shell import Done, Shell

# The program ends everything when it hears nothing for so long: the network was cut.
HEARTBEAT_S = 6 * BEAT_S
# The program keeps the time itself, and says in what phase it ran out; this is when it does not.
_SLACK_S = 60.0
_WAITING = "waiting"


class Heard:
    """Takes the program's lines: progress is handed on, the last one is kept.

    While it waits for another measurement on the device to end, the clock stands still.
    """

    def __init__(self, until: Deadline, tell: Tell | None) -> None:
        self._until = until
        self._tell = tell
        self.answer: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.partial: dict[str, Any] = {}

    def line(self, text: str) -> None:
        """Take one line of standard output; what is no message of the program is no matter."""
        said = _message(text)
        if said is None:
            return
        if "say" in said:
            self._progress(said)
        elif "answer" in said:
            self.answer = said["answer"]
        elif "error" in said:
            self.error = said

    def _progress(self, said: dict[str, Any]) -> None:
        if said["say"] == "step" and str(said.get("what", "")).startswith(_WAITING):
            self._until.pause()
        else:
            self._until.go()
        if said["say"] == "phase":
            self.partial["phase"] = said.get("phase")
        elif said["say"] == "trial":
            self.partial.setdefault("trials", []).append(said)
        if self._tell:
            self._tell(said)


def ask(
    shell: Shell,
    command: str,
    request: Mapping[str, Any],
    *,
    timeout_s: float,
    tell: Tell | None,
    python: str,
) -> dict[str, Any]:
    """Return what the program answers to a request; raises what it reports or was kept by.

    What a lost connection leaves of the measurement is in the ``partial`` of the error's result.
    """
    # Never less than two signs of life take to come.
    beat = max(float(request.get("heartbeat_s") or HEARTBEAT_S), 2 * BEAT_S)
    return converse(
        partial(shell.run, command),
        {**request, "heartbeat_s": beat},
        where=shell.where,
        timeout_s=timeout_s,
        tell=tell,
        report=lambda said: reported(said, shell, python),
        died=lambda done: unanswered(shell, python, done),
    )


def converse(
    run: Callable[..., Done],
    request: Mapping[str, Any],
    *,
    where: str,
    timeout_s: float,
    tell: Tell | None,
    report: Callable[[Mapping[str, Any]], EdgeopsError],
    died: Callable[[Done], EdgeopsError],
) -> dict[str, Any]:
    """Give the program its request, hear it out, and return its answer.

    ``run`` starts it, as ``Shell.run`` does a command. What it said counts, however it or the
    connection ended then: its answer, or the error that it reports, which ``report`` makes. Where
    it said neither, ``died`` tells why it ended. Each error has what is known of the measurement
    in the ``partial`` of its result.
    """
    until = Deadline(timeout_s + _SLACK_S)
    heard = Heard(until, tell)
    asked = {"format": FORMAT, "timeout_s": timeout_s, **request}
    done: Done | None = None
    failure: EdgeopsError | None = None
    try:
        done = run(
            stdin=json.dumps(asked).encode() + b"\n",
            timeout_s=until,
            on_line=heard.line,
            leash=True,
        )
    except TransportError as error:
        failure = _late(where, timeout_s) if error.code == "device-timeout" else error
    if heard.answer is not None:
        return heard.answer
    if heard.error is not None:
        raise report(heard.error) from failure
    if done is not None:
        failure = died(done)
    assert failure is not None  # noqa: S101 - for mypy: it ended, or could not be heard
    failure.result.setdefault("partial", heard.partial)
    raise failure


def _late(where: str, timeout_s: float) -> TransportError:
    """Return the error for a measuring program that does not keep its own time."""
    return TransportError(
        "probe-timeout",
        f"measuring took longer than {timeout_s:g} s and was ended",
        where=where,
        why="the measuring program itself does not answer",
        fix="give it more time with `timeout`, or evaluate fewer samples",
    )


def kind_of(said: Mapping[str, Any]) -> type[EdgeopsError]:
    """Return the class of error that a reported exit code stands for; a bug for one unknown."""
    kinds = {int(kind.exit_code): kind for kind in EdgeopsError.__subclasses__()}
    return kinds.get(said["exit"], EdgeopsError)


def reported(said: Mapping[str, Any], shell: Shell, python: str) -> EdgeopsError:
    """Return the error that the program reports, as the class its exit code stands for.

    What is missing on the device is said with the line that installs it there.
    """
    about = dict(said["error"])
    partial = said.get("partial")
    result = {"partial": partial} if partial else {}
    where = " ".join(filter(None, (shell.where, str(about.get("where") or ""))))
    why = str(about.get("why") or "")
    if about["code"] == "disk-full" or (about["code"] == "probe-failed" and is_full(why)):
        return full(shell.where, "its work folder", why, result=result)
    return kind_of(said)(
        str(about["code"]),
        str(about["what"]),
        where=where,
        why=why,
        fix=fix_of(about, shell, python),
        result=result,
    )


def _message(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
