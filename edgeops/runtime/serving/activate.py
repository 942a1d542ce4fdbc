"""What the agent calls: bring a slot into service, in two steps when a server runs.

``activate`` loads, warms and judges the slot. When it is accepted the agent switches its links and
calls ``commit``; when the switch fails, ``abort``. A server follows ``HOME/current`` by itself too, so a
commit that is lost with its caller changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, RefusedError, TransportError
from edgeops.runtime.serving.client import ask
from edgeops.runtime.serving.options import Options, parse_options, read_options
from edgeops.runtime.serving.place import aimed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MARGIN_S = 30.0


@dataclass(frozen=True)
class Activation:
    """A verdict on a slot, and the second step; as ``warm.Verdict``, without needing numpy.

    ``served`` says whether a server prepared it. ``probation_s`` is how long the agent should take
    the release for new, 0 when nothing serves.
    """

    accepted: bool
    why: str
    figures: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    home: Path | None = None
    served: bool = False
    probation_s: float = 0.0
    fix: str = ""

    def commit(self) -> None:
        """Have the server serve it, after the links were switched."""
        if self.served and self.home is not None:
            commit(self.home, self.figures.get("digest"))

    def abort(self) -> None:
        """Have the server forget it."""
        if self.served and self.home is not None:
            abort(self.home)


def activate(
    home: Path, slot: Path, options: Mapping[str, Any] | None = None, *, again: bool = False
) -> Activation:
    """Return whether a slot may be switched to: by the server of the home, else by a child.

    ``options`` go beside those of ``HOME/serve.json``; ``again`` tries what the server gave up before.
    Raises InputError ``serve-options``, TransportError ``serve-unreachable`` when the server dies
    meanwhile or ``serve-preparing`` when it prepares another. What a slot is refused for is in the
    verdict: ``warmup-too-slow``, ``-short``, ``-insane``, ``-failed``, ``model-refused``, or the code
    of what the device lacks, with its ``fix``.
    """
    chosen = parse_options(options or {}, "options", read_options(home))
    seconds = chosen.load_timeout_s + 2 * chosen.warm_deadline_s + _MARGIN_S
    request = {"slot": str(slot.resolve()), "options": dict(options or {}), "again": again}
    answered = ask(home, "/v1/prepare", request, seconds)
    if answered is None:
        return _alone(home, slot.resolve(), chosen)
    status, answer = answered
    if status == 200:  # noqa: PLR2004
        return Activation(
            accepted=bool(answer.get("accepted")),
            why=str(answer.get("why")),
            figures=dict(answer.get("figures") or {}),
            code=str(answer.get("code")),
            home=home,
            served=True,
            probation_s=chosen.probation_s,
            fix=str(answer.get("fix") or ""),
        )
    error = _error(status, answer)
    if error.code != "model-refused":
        raise error
    return Activation(False, f"{error.what}: {error.why}", {}, error.code, home)


def commit(home: Path, digest: str | None = None) -> bool:
    """Have the server serve what it prepared; returns False when no server runs.

    Raises RefusedError ``serve-not-prepared``, TransportError.
    """
    return _tell(home, "/v1/commit", {"digest": digest})


def abort(home: Path) -> bool:
    """Have the server drop what it prepared; returns False when no server runs."""
    return _tell(home, "/v1/abort", {})


def gone_back(home: Path, reason: str) -> bool:
    """Have the server go back at once, as after a rollback; returns False when no server runs."""
    return _tell(home, "/v1/rollback", {"reason": reason})


def _tell(home: Path, path: str, document: Mapping[str, Any]) -> bool:
    answered = ask(home, path, document)
    if answered is None:
        return False
    if answered[0] != 200:  # noqa: PLR2004
        raise _error(*answered)
    return True


def _error(status: int, answer: Mapping[str, Any]) -> EdgeopsError:
    """Return the error that the server answered with; one that may be retried is a TransportError."""
    told = answer.get("error") or {}
    kind = TransportError if status == 503 else RefusedError  # noqa: PLR2004
    where, why, fix = (str(told.get(name, "")) for name in ("where", "why", "fix"))
    what = str(told.get("what", "the server refused"))
    return kind(str(told.get("code", "serve-failed")), what, where=where, why=why, fix=fix)


def _alone(home: Path, slot: Path, options: Options) -> Activation:
    """Warm a slot up in a child process, for nothing serves: what crashes there harms nothing."""
    from dataclasses import replace

    try:
        from edgeops.runtime.serving.candidate import Candidate
    except ImportError as error:  # all that it needs beside what comes with it is numpy
        why, fix = f"{type(error).__name__}: {error}", "python3 -m pip install numpy"
        return Activation(False, why, {}, "numpy-missing", home, fix=fix)
    chosen = replace(aimed(options, home, slot), isolate=True)
    candidate = Candidate(home, slot, chosen)
    try:
        verdict = candidate.prepare(None, {})
    except EdgeopsError as error:
        return Activation(False, error.what, {}, error.code, home)
    finally:
        candidate.drop()
    told = verdict.why, verdict.figures, verdict.code
    return Activation(verdict.accepted, *told, home, fix=verdict.fix)
