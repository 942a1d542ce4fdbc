"""What a contained conversion came to: its answer, or the refusal that its end amounts to.

Pure: works on the report that the guard gives.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

from edgeops import errors
from edgeops.errors import EdgeopsError, Finding, MissingError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAST_LINES = 6
_TRACEBACK = "Traceback (most recent call last):"
_BETWEEN = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)
_LAST_CHARACTERS = 600
_MEMORY = re.compile(r"bad_alloc|MemoryError|bad allocation|[Cc]annot allocate memory")
# How tools say that a host could not be reached.
_OFFLINE = re.compile(
    r"network is (?:down|unreachable)|name resolution|could ?n[o']t resolve|getaddrinfo"
    r"|nameresolution|gaierror|failed to establish a new connection|max retries exceeded"
    r"|urlopen error|failed to connect to|unable to connect",
    re.IGNORECASE,
)
# Refusals that speak of the converter's own doing: what it said last belongs to them.
_ITS_DOING = ("conversion-failed", "engine-load-failed", "convert-empty", "convert-garbage")


def judge(
    report: Mapping[str, Any], *, engine: str, memory: int, timeout_s: float
) -> dict[str, Any]:
    """Return the answer in a guard's report.

    Raises what the work raised; RefusedError ``convert-timeout``, ``convert-memory``,
    ``convert-crashed`` or ``convert-strayed``; MissingError ``convert-network``.
    """
    words = str(report.get("words", ""))
    answer = report.get("answer")
    if report["timed_out"]:
        raise _timeout(report, engine, timeout_s)
    if answer is None:
        raise _end(report, engine, memory)
    if "error" in answer:
        error = raised(answer["error"])
        if error.code in _ITS_DOING:
            if _blames_network(report, error.why):
                raise _offline(report, engine)
            if words.strip() and "last words" not in error.why:
                error.why = f"{error.why}\n{last_words(words)}".strip()
        raise error
    if report["writes"]:
        raise strayed(engine, report["writes"], words)
    return dict(answer)


def raised(told: Mapping[str, Any]) -> EdgeopsError:
    """Return the error that a contained process told of."""
    kind = getattr(errors, told["kind"], RefusedError)
    error: EdgeopsError = kind(
        told["code"],
        told["what"],
        where=told["where"],
        why=told["why"],
        fix=told["fix"],
        findings=[Finding(**finding) for finding in told["findings"]],
        result=told["result"],
    )
    return error


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a person should know of a conversion that went well."""
    found = []
    if asked := _asked(report):
        found.append(f"the converter asked for the network ({asked}) and was refused")
    if report.get("left_behind"):
        found.append(
            f"{report['left_behind']} processes of the converter outlived it and were ended"
        )
    fence = report.get("fence", {})
    if not fence.get("network", True):
        found.append("this system cannot take the network from the converter")
    return found


def last_words(text: str) -> str:
    """Return the end of what was printed, as it stands in a refusal."""
    said, raised_last = _parted(text)
    lines = [*said, *raised_last]
    words = "\n".join(lines[-_LAST_LINES:])[-_LAST_CHARACTERS:]
    return f"its last words:\n{words}" if words else "it said nothing"


def _parted(text: str) -> tuple[list[str], list[str]]:
    """Return the lines that were printed, and the exceptions of tracebacks without their frames."""
    said: list[str] = []
    exceptions: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith(_TRACEBACK):
            inside = True
        elif not line.strip() or line.startswith(_BETWEEN):
            continue
        elif not inside:
            said.append(line.rstrip())
        elif not line.startswith(" "):
            inside = False
            exceptions.append(line.rstrip())
    return said, exceptions


def strayed(engine: str, paths: list[str], words: str = "") -> RefusedError:
    """Return the refusal of a converter that wrote, or tried to, where it must not."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return RefusedError(
        "convert-strayed",
        f"the converter for {engine} wanted to write {paths[0]}{more}",
        where=paths[0],
        why="it may write into its own folder and its scratch folder only; " + last_words(words),
        fix="use another route to this engine, if there is one, and report it to its makers",
    )


def _end(report: Mapping[str, Any], engine: str, memory: int) -> EdgeopsError:
    words = str(report.get("words", ""))
    if _MEMORY.search(words):
        return RefusedError(
            "convert-memory",
            f"converting for {engine} needed more than {memory // 1024**2} MiB and was ended",
            where=engine,
            why=last_words(words),
            fix="convert without simplifying (--no-simplify), or a smaller model",
        )
    if _blames_network(report):
        return _offline(report, engine)
    if report["writes"] and "PermissionError" in words:
        return strayed(engine, report["writes"], words)
    how = f"ended with status {report['code']}"
    if report["code"] < 0:
        how = f"died of {_signal(-report['code'])}"
    asked = _asked(report)
    also = f"it asked for the network ({asked}), which it does not get; " if asked else ""
    return RefusedError(
        "convert-crashed",
        f"converting for {engine} {how} without a result",
        where=engine,
        why=also + last_words(words),
        fix="convert without simplifying (--no-simplify); if that dies too, report the model",
    )


def _timeout(report: Mapping[str, Any], engine: str, timeout_s: float) -> RefusedError:
    asked = _asked(report)
    also = f"it asked for the network ({asked}), which it does not get; " if asked else ""
    return RefusedError(
        "convert-timeout",
        f"converting for {engine} took longer than {timeout_s:g} s and was ended",
        where=engine,
        why=also + last_words(str(report.get("words", ""))),
        fix="convert without simplifying (--no-simplify), or a smaller model",
    )


def _offline(report: Mapping[str, Any], engine: str) -> MissingError:
    return MissingError(
        "convert-network",
        f"the converter for {engine} wants the network",
        where=_asked(report),
        why="conversions run without it, so that they give the same result everywhere; "
        + last_words(str(report.get("words", ""))),
        fix="give it the file that it looks for beforehand, or use another route to this engine",
    )


def _blames_network(report: Mapping[str, Any], why: str = "") -> bool:
    """Return whether the end came of the network: by what was raised, else by the last words."""
    said, exceptions = _parted(str(report.get("words", "")))
    text = "\n".join([why, *(exceptions or said[-_LAST_LINES:])])
    return bool(report.get("hosts") or report.get("programs")) and bool(_OFFLINE.search(text))


def _asked(report: Mapping[str, Any]) -> str:
    """Return the hosts that were asked for, and programs other than Python that asked."""
    programs = [name for name in report.get("programs", ()) if not name.startswith("python")]
    return ", ".join([*report.get("hosts", ()), *programs])


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
