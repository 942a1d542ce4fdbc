"""A candidate: a slot that is loaded and warmed beside the model that serves."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.manifest import FILE as BUNDLE
from edgeops.core.manifest import parse_manifest
from edgeops.errors import EdgeopsError, MissingError, RefusedError
from edgeops.runtime.serving.gate import Gate, bound
from edgeops.runtime.serving.local import SITE
from edgeops.runtime.serving.model import Model, load
from edgeops.runtime.serving.requests import to_warm_with
from edgeops.runtime.serving.warm import Verdict, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.runtime.baseline import Baseline
    from edgeops.runtime.serving.child import Child
    from edgeops.runtime.serving.local import Local
    from edgeops.runtime.serving.options import Options


# What a system says that has no more memory, processes, open files or space, for now.
_SHORT = frozenset(
    {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
)
# What a release that brings its engine has to blame itself for.
_ENGINE = frozenset({"engine-missing", "engine-import-failed", "engine-wrong-machine"})


class Candidate:
    """One attempt to bring a slot into service; ``decided`` once there is a verdict."""

    def __init__(self, home: Path, slot: Path, options: Options) -> None:
        self.slot, self.decided = slot, False
        self.verdict: Verdict | None = None
        self._home, self._options = home, options
        self._runner: Local | Child | None = None
        self._lock = threading.Lock()
        self._dropped = False
        self._until = time.monotonic() + options.load_timeout_s + options.prepared_s

    def prepare(self, old_hour_ms: float | None, refused: Mapping[str, str]) -> Verdict:
        """Load, warm and judge it, and return the verdict; raises RefusedError ``model-refused``.

        All of it runs in a thread of its own, so that a candidate that hangs is given up in time.
        """
        found: list[Verdict] = []
        raised: list[EdgeopsError] = []

        def work() -> None:
            try:
                found.append(self._judge(old_hour_ms, refused))
            except EdgeopsError as error:
                raised.append(error)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises refuses it
                short = isinstance(error, MemoryError) or getattr(error, "errno", None) in _SHORT
                why = f"{type(error).__name__}: {error}"
                found.append(Verdict(False, why, {}, "warmup-short" if short else "warmup-failed"))

        thread = threading.Thread(target=work, name="edgeops-warm", daemon=True)
        thread.start()
        thread.join(self._options.load_timeout_s + 2 * self._options.warm_deadline_s)
        if raised and raised[0].code == "model-refused":
            self.decided = True
            raise raised[0]
        self.verdict = _verdict(found, raised, brings_engine=(self.slot / SITE).is_dir())
        self._until = time.monotonic() + self._options.prepared_s
        self.decided = True
        return self.verdict

    @property
    def accepted(self) -> bool:
        """Return whether its verdict is yes."""
        return self.verdict is not None and self.verdict.accepted

    def take(
        self, digest: str | None, options: Options, clock: Callable[[], float]
    ) -> Model | None:
        """Return the model to serve, None when it is not ready or is another."""
        with self._lock:
            runner = self._runner
            if runner is None or not self.accepted or digest not in (None, runner.digest):
                return None
            self._runner = None
        figures = self.verdict.figures if self.verdict is not None else {}
        base = figures.get("bound_ms") or figures.get("mean_last_ms")
        return Model(runner, options, base, clock)

    def stale(self) -> bool:
        """Return whether nobody decided about it for too long."""
        return time.monotonic() >= self._until

    def drop(self) -> None:
        """Unload it, also when it is loaded only later."""
        with self._lock:
            self._dropped = True
            runner, self._runner = self._runner, None
        if runner is not None:
            threading.Thread(target=runner.close, name="edgeops-unload", daemon=True).start()

    def about(self) -> dict[str, Any]:
        """Return what the status tells of it."""
        return {
            "slot": str(self.slot),
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }

    def _judge(self, old_hour_ms: float | None, refused: Mapping[str, str]) -> Verdict:
        options = self._options
        begun = time.monotonic()
        runner = load(self.slot, options)
        load_ms = round((time.monotonic() - begun) * 1000, 3)
        if not self._keep(runner):
            return Verdict(False, "it was dropped while it was loaded", {}, "warmup-failed")
        if runner.digest in refused:
            raise RefusedError(
                "model-refused",
                "the model was given up before and is not taken again",
                where=runner.digest,
                why=refused[runner.digest],
                fix="publish another version",
            )
        gate = Gate(
            bound(old_hour_ms, options.warm_bound_ms),
            options.warm_tolerance,
            options.warm_calls,
            options.warm_deadline_s,
        )
        kind, requests = to_warm_with(self._home, runner.inputs)
        key = Path(options.key) if options.key else None
        baseline = baseline_of(self.slot, runner.target, key)
        verdict = warm_up(runner, requests, gate, finite=options.finite, baseline=baseline)
        verdict.figures.update(load_ms=load_ms, requests=kind, digest=runner.digest)
        return verdict

    def _keep(self, runner: Local | Child) -> bool:
        with self._lock:
            if not self._dropped:
                self._runner = runner
                return True
        runner.close()
        return False


def baseline_of(slot: Path, target: str | None, key: Path | None) -> Baseline | None:
    """Return the baseline that a bundle brings for a target, None when it brings none.

    Raises what reading it does, TrustError ``digest-mismatch`` for one that was changed or is gone.
    """
    if target is None or not (slot / BUNDLE).is_file():
        return None
    from edgeops.runtime.baseline import read_baseline
    from edgeops.runtime.predictor_files import verify
    from edgeops.runtime.sealed import unsealed_file

    manifest = parse_manifest((slot / BUNDLE).read_bytes(), str(slot / BUNDLE))
    for layer in manifest.of(kind="baseline", target=target):
        verify(slot, (layer,))
        with unsealed_file(slot, layer, key) as path:
            return read_baseline(path)
    return None


def _verdict(found: list[Verdict], raised: list[EdgeopsError], *, brings_engine: bool) -> Verdict:
    if found:
        return found[0]
    if raised:
        error = raised[0]
        why = f"{error.code}: {error.what}" + (f" ({error.why})" if error.why else "")
        own = brings_engine and error.code in _ENGINE
        if isinstance(error, MissingError) and not own:
            return Verdict(False, why, {}, error.code, error.fix or error.what)
        return Verdict(False, why, {}, "warmup-failed")
    return Verdict(False, "it hung while it was loaded or warmed up", {}, "warmup-too-slow")
