"""The models of a device that answer: the current one, the previous one, and a candidate.

Example::

    serving = Serving(home, options)
    serving.install(home / "current")
    outputs = serving.predict({"image": image})
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeops.errors import MissingError, RefusedError
from edgeops.runtime.serving import gate as gates
from edgeops.runtime.serving.breaker import BY_REQUEST, CLOSED, OPEN
from edgeops.runtime.serving.candidate import Candidate
from edgeops.runtime.serving.model import Model, Unanswered, load
from edgeops.runtime.serving.place import aimed, led_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeops.errors import EdgeopsError
    from edgeops.runtime.serving.model import Overdue
    from edgeops.runtime.serving.options import Options
    from edgeops.runtime.serving.warm import Verdict


# When what was not loaded is tried again: memory or a disk may be short for a while only.
_AGAIN_S, _MOST_AGAIN_S = 10.0, 3600.0


class Line(NamedTuple):
    """Who answers, in the order of asking; replaced whole, never changed.

    ``since`` is when ``current`` began to serve, ``served`` how many it had answered before.
    """

    current: Model | None = None
    previous: Model | None = None
    since: float = 0.0
    served: int = 0


class Answer(NamedTuple):
    """The outputs of a request, and which model they are of; none for a declared fallback."""

    outputs: dict[str, Any]
    digest: str | None
    version: str | None


class Serving:
    """Answers requests from many threads while models are exchanged.

    It follows ``HOME/current``: when the link leads elsewhere, so do requests, but never to a model
    that was given up here. ``given_up`` is called with the slot and the reason after a model was given
    up and the previous one has taken over, ``kept`` after a probation was served; both in a thread
    of their own. ``clock`` counts seconds.
    """

    def __init__(
        self,
        home: Path,
        options: Options,
        given_up: Callable[[Path, str], object] = lambda *_: None,
        kept: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home, self.options = home, options
        self.refused: dict[str, str] = {}
        self.trouble = ""
        self.held: EdgeopsError | None = None
        self._given_up, self._kept, self._clock = given_up, kept, clock
        self._shunned: set[Path] = set()
        # What was not loaded, until when it is left alone, and how long that is.
        self._failed: tuple[Path | None, float, float] = (None, 0.0, 0.0)
        self._installing = threading.Lock()
        self._line = Line()
        self._leaving: list[Model] = []
        self._control = threading.RLock()
        self._candidate: Candidate | None = None

    @property
    def line(self) -> Line:
        """Who answers now."""
        return self._line

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs for a request; raises as :meth:`answer` does."""
        return self.answer(inputs).outputs

    def answer(self, inputs: Mapping[str, Any], overdue: Overdue | None = None) -> Answer:
        """Answer a request with the first model that can.

        A call that hangs in this process cannot be ended: ``overdue`` is called when it was given
        up, so that somebody else answers the request. Raises InputError for a bad request,
        MissingError ``model-unavailable`` when no model can answer and no fallback is declared,
        and what ``held`` is set to while nothing is to be answered.
        """
        why = ""
        if self.held is not None:
            raise self.held
        while True:
            line, met = self._line, []
            for model in (line.current, line.previous):
                if model is None or not model.admits() or not model.acquire():
                    continue
                try:
                    outputs = model.call(inputs, overdue)
                    if model.breaker.opened:  # an answer may come too slowly
                        self._review(model)
                    return Answer(outputs, model.digest, model.version)
                except Unanswered as unanswered:
                    why = str(unanswered)
                    met.append((model, unanswered.kind))
                    self._review(model)
                finally:
                    model.release()
            _forgive(met)
            if line is self._line:
                return self._fall_back(line, why)

    def install(self, slot: Path) -> None:
        """Load a slot and serve it without a gate: at the start, and when going back to it."""
        slot = slot.resolve()
        options = aimed(self.options, self.home, slot)
        model = Model(load(slot, options), options, options.warm_bound_ms, self._clock)
        with self._control:
            old = self._line
            self._put(Line(model, None, self._clock(), 0))
        self._retire(old.current, old.previous)

    def prepare(
        self, slot: Path, options: Options | None = None, *, again: bool = False
    ) -> Verdict:
        """Load and warm a candidate beside the model that serves, and keep it when it is good.

        Raises RefusedError ``model-refused`` for what was given up before, unless it is to be tried
        ``again``; MissingError ``serve-preparing`` while another candidate is being prepared.
        """
        with self._control:
            if self._candidate is not None and not self._candidate.decided:
                raise MissingError(
                    "serve-preparing",
                    "another candidate is being prepared",
                    where=str(self._candidate.slot),
                    why="one candidate is loaded at a time",
                    fix="wait for its verdict, or abort it",
                )
            self._drop()
            slot = slot.resolve()
            chosen = aimed(options or self.options, self.home, slot)
            candidate = Candidate(self.home, slot, chosen)
            self._candidate = candidate
        current = self._line.current
        hour = None if current is None else current.times.hour(self._clock())
        verdict = candidate.prepare(hour, {} if again else self.refused)
        with self._control:
            if not verdict.accepted:
                if self._candidate is candidate:
                    self._drop()
            elif again:
                # From here on its link may be followed, also when the commit gets lost.
                self.refused.pop(str(verdict.figures.get("digest")), None)
                self._shunned.discard(slot)
        return verdict

    def commit(self, digest: str | None = None) -> Line:
        """Have the prepared candidate answer from now on; the old one stays for its probation.

        Nothing happens when it answers already. Raises RefusedError ``serve-not-prepared`` when
        it is not there.
        """
        with self._control:
            current = self._line.current
            if digest is not None and current is not None and current.digest == digest:
                return self._line
            candidate = self._candidate
            model = None if candidate is None else candidate.take(digest, self.options, self._clock)
            if model is None:
                raise RefusedError(
                    "serve-not-prepared",
                    "there is no such candidate to switch to",
                    where=digest or "",
                    why="none was prepared, its verdict was no, or it was dropped after prepared_s",
                    fix="prepare it again",
                )
            self._candidate = None
            old = self._line
            self._put(Line(model, old.current, self._clock(), 0))
        self._retire(old.previous)
        return self._line

    def abort(self) -> bool:
        """Drop the candidate; returns whether there was one."""
        with self._control:
            there = self._candidate is not None
            self._drop()
        return there

    def rollback(self, reason: str) -> bool:
        """Go back to the previous model at once; returns False when none is loaded."""
        with self._control:
            line = self._line
            if line.previous is None or line.current is None:
                return False
            self._shun(line.current, reason)
            served = line.previous.times.count
            self._put(Line(line.previous, None, self._clock(), served))
        self._retire(line.current)
        return True

    def tick(self) -> None:
        """Do what time asks for: give up calls that hang, end a probation, follow the link."""
        line = self._line
        with self._control:
            self._leaving = [model for model in self._leaving if not model.closed]
        for model in (line.current, line.previous, *self._leaving):
            if model is not None and model.expire():
                self._review(model)
        if line.current is not None and (damage := line.current.damage()):
            self._tell(line.current, damage)
        self._end_probation()
        self.follow()
        with self._control:
            if self._candidate is not None and self._candidate.stale():
                self._drop()

    def follow(self) -> None:
        """Serve what ``HOME/current`` leads to, when that is another than what is served."""
        line = self._line
        there = led_to(self.home)
        if there is None or there in self._shunned:
            return
        if self._failed[0] == there and self._clock() < self._failed[1]:
            return
        if line.current is not None and line.current.slot == there:
            return
        with self._control:
            if self._line is not line:
                return
            if line.previous is not None and line.previous.slot == there:
                self.rollback("HOME/current leads to the previous one again")
                return
            candidate = self._candidate
            if candidate is not None and candidate.slot == there:
                if candidate.accepted:
                    self.commit()
                if candidate.accepted or not candidate.decided:
                    return
        threading.Thread(
            target=self._install, args=(there,), name="edgeops-follow", daemon=True
        ).start()

    def close(self) -> None:
        """Take the models out; those that are being called go when their calls have ended."""
        with self._control:
            self._drop()
            line, self._line = self._line, Line()
        self._retire(line.current, line.previous)

    def about(self) -> dict[str, Any]:
        """Return what the status tells."""
        line, candidate = self._line, self._candidate
        return {
            "current": None if line.current is None else line.current.about(),
            "previous": None if line.previous is None else line.previous.about(),
            "candidate": None if candidate is None else candidate.about(),
            "probation": line.previous is not None,
            "refused": dict(self.refused),
            "trouble": self.trouble,
        }

    def _put(self, line: Line) -> None:
        for model in (line.current, line.previous):
            if model is not None:
                other = model is line.current and line.previous is not None
                model.alternative = other or model.runner.fallback() is not None
        self._line = line

    def _end_probation(self) -> None:
        with self._control:
            line = self._line
            if line.current is None or line.previous is None:
                return
            if line.current.breaker.state != CLOSED:
                return
            options, served = self.options, line.current.times.count - line.served
            since = self._clock() - line.since
            over = gates.over(served, since, options.probation_requests, options.probation_s)
            if not over:
                return
            self._put(Line(line.current, None, line.since, line.served))
        self._retire(line.previous)
        threading.Thread(target=self._kept, name="edgeops-kept", daemon=True).start()

    def _install(self, slot: Path) -> None:
        if not self._installing.acquire(blocking=False):
            return
        failed, _, wait = self._failed
        try:
            self.install(slot)
        except Exception as error:  # noqa: BLE001 - what serves goes on serving
            wait = min(2 * wait, _MOST_AGAIN_S) if failed == slot else _AGAIN_S
            self._failed = slot, self._clock() + wait, wait
            self.trouble = f"{slot.name} was not loaded: {type(error).__name__}: {error}"
        else:
            if failed == slot:
                self.trouble = ""
        finally:
            self._installing.release()

    def _shun(self, model: Model, reason: str) -> None:
        self.refused[model.digest] = reason
        self._shunned.add(model.slot)

    def _review(self, model: Model) -> None:
        """Give a model up that is beyond mending; the previous one takes over first."""
        if model.breaker.state == CLOSED:
            return  # it has mended itself, however often it opened before
        if not model.exhausted():
            previous = self._line.previous
            if previous is not None and model.merely_slow and model.breaker.state == OPEN:
                previous.begin_anew()  # what it answers from now on is what tells
            return
        if self._is_the_machines(model):
            return
        with self._control:
            if self._line.current is not model or model.digest in self.refused:
                return
            reason = f"its breaker opened too often; the last time for {model.why}"
            self._shun(model, reason)
            self.rollback(reason)
        self._tell(model, reason)

    def _tell(self, model: Model, reason: str) -> None:
        """Have the agent go back, in a thread of its own: it may be at work on an update."""
        told = model.slot, reason
        threading.Thread(target=self._given_up, args=told, name="edgeops-back", daemon=True).start()

    def _is_the_machines(self, model: Model) -> bool:
        """Return whether a model is slow and nothing shows that it is to blame.

        That shows in the previous one, which answered meanwhile and was quicker.
        """
        if not model.merely_slow:
            return False
        previous, limit = self._line.previous, model.slow_ms
        if previous is None or limit is None:
            return True
        last = previous.times.last()
        if last is not None and last <= limit:
            return False
        model.pardon()
        return True

    def _fall_back(self, line: Line, why: str) -> Answer:
        for model in (line.current, line.previous):
            declared = None if model is None else model.runner.fallback()
            if declared is not None:
                return Answer(dict(declared), None, None)
        state = "no model is loaded" if line.current is None else line.current.why
        raise MissingError(
            "model-unavailable",
            "no model can answer now",
            where="" if line.current is None else str(line.current.version or ""),
            why=why or state or "it is being started again",
            fix="ask again later; the status says what is wrong with which model",
        )

    def _drop(self) -> None:
        if self._candidate is not None:
            self._candidate.drop()
        self._candidate = None

    def _retire(self, *models: Model | None) -> None:
        for model in models:
            if model is not None:
                # Its calls may still hang, and somebody has to give them up.
                with self._control:
                    self._leaving.append(model)
                model.retire()


def _forgive(met: list[tuple[Model, str]]) -> None:
    """Blame the request, not the models, when two of them met the same fault with it."""
    kinds = {kind for _, kind in met}
    if len(met) > 1 and len(kinds) == 1 and kinds <= set(BY_REQUEST):
        for model, kind in met:
            model.forgive(kind)
