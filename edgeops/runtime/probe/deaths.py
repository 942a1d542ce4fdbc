"""What to say of a child that hung, was killed or failed: pure, but for a look at the memory."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path

from edgeops.errors import EdgeopsError, MissingError, TransportError

_LAST_LINES = 5
_MB = 1_000_000
_FAULTS = {
    "SIGKILL": "free some memory or measure a smaller data set, then run it again",
    "SIGILL": "the engine uses instructions that this processor lacks: "
    "install a build of the engine that is made for it",
    "SIGBUS": "see whether the disk or the memory is full, then run it again",
}
_FAULT = "the engine crashed: try another version of it, or another engine, on this device"


@dataclass(frozen=True)
class Memory:
    """Memory that is free for the asking, in bytes, and how often the kernel killed for lack of it.

    None where the system does not say.
    """

    available: int | None
    kills: int | None


def memory(proc: Path = Path("/proc")) -> Memory:
    """Return what is free now (Linux; elsewhere nothing is known)."""
    available = _field(proc / "meminfo", "MemAvailable:")
    return Memory(
        None if available is None else available * 1024, _field(proc / "vmstat", "oom_kill")
    )


def last(words: str) -> str:
    """Return the last lines of what a process wrote as one, of a traceback only the reason."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return " | ".join(lines[-1:] if "Traceback" in words else lines[-_LAST_LINES:])


def hung(limit_s: float, phase: str, words: str) -> EdgeopsError:
    """Return the error for a call that took longer than its time."""
    return TransportError(
        "inference-hung",
        f"one call of the model took longer than {limit_s:g} s and was ended",
        where=phase,
        why=words or "the model or the engine hangs, or the device is far slower than expected",
        fix="give a call more time with `call_timeout`, or try another engine or fewer threads",
    )


def late(limit_s: float, phase: str, words: str) -> EdgeopsError:
    """Return the error for a measurement that took longer than its time."""
    return TransportError(
        "probe-timeout",
        f"measuring took longer than {limit_s:g} s and was ended",
        where=phase,
        why=words or "the model, the engine or the device hangs",
        fix="give it more time with `timeout`, or evaluate fewer samples",
    )


def died(code: int, phase: str, words: str, before: Memory, peak: int) -> EdgeopsError:
    """Return the error for a child that ended without an answer.

    ``code`` is its exit code, or minus the signal that ended it; ``peak`` its most memory in bytes;
    ``before`` what was free when it began.
    """
    if code >= 0:
        return MissingError(
            "probe-failed",
            "the measuring process failed before it could answer",
            where=phase,
            why=words or f"it ended with exit code {code}",
            fix="see what this machine lacks with: edgeops doctor",
        )
    name = _signal(-code)
    why = f"it was ended by {name}"
    if name == "SIGKILL":
        why = f"{why}, as the system does when memory runs out; {_lack(before, memory(), peak)}"
    return TransportError(
        "probe-killed",
        "the measuring process was killed before it could answer",
        where=phase,
        why="; ".join(filter(None, (why, words))),
        fix=_FAULTS.get(name, _FAULT),
    )


def _lack(before: Memory, after: Memory, peak: int) -> str:
    parts = [f"it held up to {peak // _MB} MB"]
    if before.available is not None:
        parts.append(f"{before.available // _MB} MB were available when it began")
    if before.kills is not None and after.kills is not None and after.kills > before.kills:
        parts.append("the kernel counts a kill for lack of memory meanwhile")
    return ", ".join(parts)


def _signal(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _field(path: Path, name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            parts = line.split()
            if parts and parts[0] == name:
                return int(parts[1])
    return None
