"""A loaded model with what is known of it: calls in flight, response times, its breaker."""

from __future__ import annotations

import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, InputError, TrustError
from edgeops.runtime.serving import breaker as rules_of
from edgeops.runtime.serving.breaker import Breaker, Rules
from edgeops.runtime.serving.child import Away, Child, Crashed, Hung
from edgeops.runtime.serving.local import SITE, Local
from edgeops.runtime.serving.sanity import Checks, is_finite
from edgeops.runtime.serving.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeops.runtime.serving.options import Options

    Overdue = Callable[[], None]


# Threads that calls may hang in at once: no more requests are tried then, for each would add one.
_MOST_HUNG = 16


class Unanswered(Exception):
    """The model gave no answer that may be handed on; another is to be asked.

    ``kind`` is the fault, "" where it is none.
    """

    def __init__(self, why: str, kind: str = "") -> None:
        super().__init__(why)
        self.kind = kind


class Abandoned(Exception):
    """The call ended after it was given up: somebody else has answered the request."""


def load(slot: Path, options: Options) -> Local | Child:
    """Load the model of a slot, in a child process when asked or when it brings its own engine."""
    isolated = options.isolate or (slot / SITE).is_dir()
    return Child(slot, options) if isolated else Local(slot, options)


class Model:
    """A model that may be called from many threads and closed once nobody calls it.

    ``bound_ms`` is what its response times are held against, None for nothing, and only while there is
    an ``alternative``: a slow answer is better than none. ``clock`` counts seconds.
    """

    def __init__(
        self,
        runner: Local | Child,
        options: Options,
        bound_ms: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner, self.slot = runner, runner.slot
        self.digest, self.version = runner.digest, runner.version
        self.times = Times()
        self.breaker = Breaker()
        self.bound_ms = bound_ms
        self.faults: dict[str, int] = {}
        self.why = ""
        self.alternative = False
        self._options, self._clock = options, clock
        self._rules = _rules(options)
        self._lock = threading.Lock()
        self._numbers = count()
        self._flying: dict[int, tuple[float, Overdue | None]] = {}
        self._calls = 0
        self._hung = 0
        self._told = False
        self._closing = False
        self._checks = Checks(runner.tensors, finite=options.finite)
        self.slow_ms = self._limit(bound_ms)

    def acquire(self) -> bool:
        """Count a call, so that the model stays; False when it is gone already."""
        with self._lock:
            if self._closing:
                return False
            self._calls += 1
        return True

    def release(self) -> None:
        """End a call that was acquired; the last one of a retired model closes it."""
        with self._lock:
            self._calls -= 1
            last = self._closing and not self._calls
        if last:
            self._close()

    def retire(self) -> None:
        """Take no more calls, and unload once those that run have ended."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            idle = not self._calls
        if idle:
            self._close()

    @property
    def closed(self) -> bool:
        """Return whether it is retired and its last call has ended."""
        return self._closing and not self._calls

    def admits(self) -> bool:
        """Return whether a request may go to it now, as its breaker says."""
        if self._hung >= _MOST_HUNG:
            return False
        if self.breaker.state == rules_of.CLOSED:
            return self.runner.ready
        with self._lock:
            admitted, self.breaker = rules_of.admit(self.breaker, self._clock(), self._rules)
        if admitted and not self.runner.ready:
            self._void()
            return False
        return admitted

    def call(self, inputs: Mapping[str, Any], overdue: Overdue | None = None) -> dict[str, Any]:
        """Answer a request and remember how it went.

        Raises InputError for what is wrong with the request, Unanswered for what is wrong with the
        model. A call that :meth:`expire` gave up raises Abandoned when it ends at last.
        """
        number, clock = next(self._numbers), self._clock
        begun = clock()
        self._flying[number] = (begun, overdue)
        try:
            answer = self.runner.predict(inputs)
        except InputError:
            self._landed(number)
            self._void()
            raise
        except Away as error:
            self._landed(number)
            self._void()
            raise Unanswered(str(error)) from error
        except Exception as error:
            self._landed(number)
            raise self._fault(_kind(error), _words(error)) from error
        self._landed(number)
        found = self._checks.problem(answer)
        if found is not None:
            if found[0] == rules_of.NOT_FINITE and not is_finite(inputs):
                self._void()
                raise _not_finite(found[1])
            raise self._fault(*found)
        now = clock()
        self._good((now - self.runner.began(begun)) * 1000, now)
        return answer

    def expire(self) -> int:
        """Give up calls that have run for too long; return how many faults of the model that is.

        Whoever made the call is told by its ``overdue``. A process that ended between calls is one too.
        """
        seconds, expired = self._options.call_timeout_s, 0
        limit = self._clock() - seconds
        # A child is killed by the call itself, which then ends.
        if self.runner.isolated:
            if self._closing or not self.runner.missed():
                return 0
            self._fault(rules_of.CRASHED, "its process ended between two calls")
            return 1
        for number, (begun, overdue) in list(self._flying.items()):
            if begun <= limit and self._flying.pop(number, None) is not None:
                expired += 1
                with self._lock:
                    self._hung += 1
                self._fault(rules_of.HUNG, f"a call takes longer than {seconds:g} s")
                if overdue is not None:
                    overdue()
        return expired

    def damage(self) -> str:
        """Return what is wrong with its files when it cannot be loaded again, once; "" else."""
        error = self.runner.trouble
        if self._told or not isinstance(error, TrustError):
            return ""
        self._told = True
        return f"{self.slot.name}: {error.what} [{error.code}]: {error.why}"

    @property
    def merely_slow(self) -> bool:
        """Return whether nothing but slow answers is held against it."""
        return {kind for _, kind in self.breaker.faults} == {rules_of.SLOW}

    def pardon(self) -> None:
        """Forget its faults: they were those of the machine."""
        with self._lock:
            self.breaker = Breaker()

    def begin_anew(self) -> None:
        """Count the last 20 response times from now on."""
        with self._lock:
            self.times.forget_last()

    def forgive(self, kind: str) -> None:
        """Take back a fault that turned out to be the request's."""
        with self._lock:
            self.breaker = rules_of.forgive(self.breaker, kind)

    def exhausted(self) -> bool:
        """Return whether its breaker opened so often that it is to be given up."""
        opened = self.breaker.opened
        return bool(opened) and rules_of.exhausted(self.breaker, self._clock(), self._rules)

    def about(self) -> dict[str, Any]:
        """Return what the status tells of it."""
        hour, last = self.times.hour(self._clock()), self.times.last()
        return {
            "version": self.version,
            "digest": self.digest,
            "slot": str(self.slot),
            "isolated": self.runner.isolated,
            "breaker": self.breaker.state,
            "openings": len(self.breaker.opened),
            "faults": dict(self.faults),
            "why": self.why,
            "requests": self.times.count,
            "in_flight": len(self._flying),
            "mean_hour_ms": None if hour is None else round(hour, 4),
            "mean_last_ms": None if last is None else round(last, 4),
            "bound_ms": None if self.bound_ms is None else round(self.bound_ms, 4),
        }

    def _good(self, took_ms: float, now: float) -> None:
        limit, slow_ms = self.slow_ms if self.alternative else None, None
        with self._lock:
            self.times.add(took_ms, now)
            last = self.times.last()
            if self.breaker.state != rules_of.CLOSED:
                if limit is not None and took_ms > limit:
                    slow_ms = took_ms
                else:
                    self.breaker = rules_of.good(self.breaker, self._rules)
            elif limit is not None and last is not None and last > limit:
                slow_ms = last
                self.times.forget_last()
        if slow_ms is not None:
            self._fault(rules_of.SLOW, f"{slow_ms:.3g} ms, and {limit:.3g} ms are allowed")

    def _fault(self, kind: str, why: str) -> Unanswered:
        with self._lock:
            self.breaker = rules_of.fault(self.breaker, kind, self._clock(), self._rules)
            self.faults[kind] = self.faults.get(kind, 0) + 1
            self.why = f"{kind}: {why}"
        return Unanswered(self.why, kind)

    def _void(self) -> None:
        if self.breaker.trying is not None:
            with self._lock:
                self.breaker = rules_of.void(self.breaker)

    def _landed(self, number: int) -> None:
        if self._flying.pop(number, None) is None:
            with self._lock:
                self._hung -= 1
            raise Abandoned

    def _limit(self, bound_ms: float | None) -> float | None:
        options = self._options
        if bound_ms is None or not options.slow_factor:
            return None
        return max(bound_ms * options.slow_factor, options.slow_floor_ms)

    def _close(self) -> None:
        # Tearing an engine down may take long or hang; no request waits for it.
        threading.Thread(target=self.runner.close, name="edgeops-unload", daemon=True).start()


def _rules(options: Options) -> Rules:
    return Rules(
        allowed=rules_of.ALLOWED,
        window_s=options.faults_window_s,
        cooldown_s=options.cooldown_s,
        trials=options.trials,
        openings=options.openings,
        openings_window_s=options.openings_window_s,
    )


def _not_finite(why: str) -> InputError:
    return InputError(
        "input-not-finite",
        "the request holds NaN or infinity, and so does the answer",
        why=why,
        fix="send numbers for what was not measured, or set finite to false in serve.json",
    )


def _kind(error: Exception) -> str:
    if isinstance(error, Hung):
        return rules_of.HUNG
    return rules_of.CRASHED if isinstance(error, Crashed) else rules_of.FAILED


def _words(error: Exception) -> str:
    if isinstance(error, EdgeopsError):
        return f"{error.code}: {error.what}" + (f" ({error.why})" if error.why else "")
    return f"{type(error).__name__}: {error}"
