"""Ask the measuring program on a device: one line there, lines of progress and the answer back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, ExitCode, MissingError, TransportError
from edgeops.runtime.probe import FORMAT
from edgeops.validate.devices.remote.lacking import fix_of, unanswered
from edgeops.validate.devices.remote.shell import BEAT_S, Deadline
from edgeops.validate.devices.remote.trouble import full, is_full

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.contracts import Tell
    from edgeops.validate.devices.remote.shell import Shell

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
    until = Deadline(timeout_s + _SLACK_S)
    heard = Heard(until, tell)
    asked = {"format": FORMAT, "timeout_s": timeout_s, **request}
    # Never less than two signs of life take to come.
    asked["heartbeat_s"] = max(float(request.get("heartbeat_s") or HEARTBEAT_S), 2 * BEAT_S)
    try:
        done = shell.run(
            command,
            stdin=json.dumps(asked).encode() + b"\n",
            timeout_s=until,
            on_line=heard.line,
            leash=True,
        )
    except TransportError as error:
        if heard.answer is not None:
            return heard.answer
        if heard.error is not None:
            raise reported(heard.error, shell, python) from error
        if error.code == "device-timeout":
            raise late(shell.where, timeout_s, heard.partial) from error
        error.result.setdefault("partial", heard.partial)
        raise
    if heard.answer is not None:
        return heard.answer
    if heard.error is not None:
        raise reported(heard.error, shell, python)
    failure = unanswered(shell, python, done)
    failure.result.setdefault("partial", heard.partial)
    raise failure


def late(where: str, timeout_s: float, partial: Mapping[str, Any]) -> TransportError:
    """Return the error for a measuring program that does not keep its own time."""
    return TransportError(
        "probe-timeout",
        f"measuring took longer than {timeout_s:g} s and was ended",
        where=where,
        why="the measuring program itself does not answer",
        fix="give it more time with `timeout`, or evaluate fewer samples",
        result={"partial": dict(partial)},
    )


def reported(said: Mapping[str, Any], shell: Shell, python: str) -> EdgeopsError:
    """Return the error that the program reports, as the class its exit code stands for.

    What is missing on the device is said with the line that installs it there.
    """
    about = dict(said["error"])
    partial = said.get("partial")
    result = {"partial": partial} if partial else {}
    try:
        code = ExitCode(said["exit"])
    except ValueError:
        code = ExitCode.BUG
    kinds = [kind for kind in EdgeopsError.__subclasses__() if kind.exit_code == code]
    where = " ".join(filter(None, (shell.where, str(about.get("where") or ""))))
    why = str(about.get("why") or "")
    if about["code"] == "disk-full" or (about["code"] == "probe-failed" and is_full(why)):
        return full(shell.where, "its work folder", why, result=result)
    return (kinds[0] if kinds else MissingError)(
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
