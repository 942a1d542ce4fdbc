"""``edgeops run``: edgeops.yaml to plan to dvc.yaml to ``dvc repro``, and the verdict in the end."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from edgeops.core.events import ENVIRONMENT, Silence
from edgeops.core.files import write_atomic
from edgeops.errors import Finding, InputError
from edgeops.pipeline import dvc, dvcfile, verdict
from edgeops.pipeline.lock import FILE as LOCK
from edgeops.pipeline.lock import kept, no_longer_stated, outdated, read_lock
from edgeops.pipeline.outcome import failure, interrupted
from edgeops.pipeline.plan import Step, dependencies, plan, upstream
from edgeops.pipeline.preflight import lasting, preflight, refusal
from edgeops.pipeline.remember import forget, remember
from edgeops.pipeline.select import choose
from edgeops.pipeline.watch import Watch
from edgeops.project.load import Loaded, load
from edgeops.project.once import reading_once
from edgeops.project.positions import reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeops.core.events import Events

_POLL_S = 0.1
_BUSY_TRIES = 5
_BUSY_WAIT_S = 1.0


@dataclass(frozen=True)
class How:
    """How to run: only say what would be done, do it in any case, on how many targets at once."""

    dry_run: bool = False
    force: bool = False
    jobs: int = 1


@dataclass
class _Run:
    """One call of ``edgeops run``: what was asked, and what is known of the project."""

    root: Path
    loaded: Loaded
    every: tuple[Step, ...]
    chosen: tuple[Step, ...]
    by_hand: tuple[str, ...]
    whole: bool
    text: str
    how: How
    notes: list[str] = field(default_factory=list)

    def arguments(self) -> list[str]:
        """Return what ``dvc repro`` is told in the one call that brings all up to date."""
        if self.whole:
            return []
        # The last of each line of steps: DVC finds what they need by itself.
        needed = {one for others in dependencies(self.chosen).values() for one in others}
        return [*(step.address for step in self.chosen if step not in needed), *self.by_hand]

    def stale(self) -> dict[str, list[str]]:
        """Return why each chosen step would run, by address."""
        values = reader().load((self.root / "edgeops.yaml").read_text(encoding="utf-8"))
        reasons = outdated(self.root, self.chosen, read_lock(self.root), values)
        if self.how.force:
            return {address: why or ["it was forced"] for address, why in reasons.items()}
        return reasons


def run_pipeline(
    root: Path,
    stages: Sequence[str] = (),
    target: str | None = None,
    how: How | None = None,
    *,
    events: Events | None = None,
) -> dict[str, Any]:
    """Bring the pipeline of the project in ``root`` up to date, or the named stages of it.

    Returns ``stages`` (name, target, status, seconds), ``up_to_date``, ``verdict``, ``gates`` and
    ``notes``. Raises InputError with every preflight finding before anything is written,
    UsageProblem for stages and targets that are not there, what a stage itself raised,
    StageFailed for a failed command, TransportError ``dvc-busy``, and GateFailed or
    GateInconclusive when all went well and the figures did not.
    """
    how = how or How()
    with reading_once():
        run = _prepared(root, stages, target, how)
    if how.dry_run:
        return _dry(run)
    note = dvc.ensure_repository(root)
    run.notes += [note] if note else []
    forget(root)
    _write(run)
    began = time.time_ns()
    with kept(root):
        result = _repro(run, events or Silence())
    result |= verdict.of(root, run.loaded.project, run.chosen)
    if run.whole:
        remember(root, run.every, result, began)
    verdict.enforce(result)
    return result


def _prepared(root: Path, stages: Sequence[str], target: str | None, how: How) -> _Run:
    loaded = load(root)
    every = plan(loaded.project, where=lambda name: loaded.where("stages", name))
    existing = _existing(root)
    findings: list[Finding] = []
    text = existing
    try:
        text = dvcfile.render(every, existing)
    except InputError as error:
        findings += error.findings or [
            Finding(error.code, error.what, error.where, error.why, error.fix)
        ]
    by_hand = {} if findings else dvcfile.by_hand(text)
    wanted, others = choose(every, stages, target, loaded.project, by_hand)
    whole = not stages and target is None
    chosen = every if whole else upstream(every, wanted)
    run = _Run(root, loaded, every, chosen, others, whole, text, how)
    if not findings and preflight(root, loaded, chosen, every, by_hand):
        # What keeps a step from running does not matter where it has nothing to do: a clone with
        # all results pulled needs no signing keys.
        reasons = run.stale()
        at_work = [step for step in chosen if reasons[step.address]]
        findings += lasting(root, loaded, at_work, every, by_hand)
    if findings:
        raise refusal(findings)
    return run


def _existing(root: Path) -> str:
    try:
        return (root / dvcfile.FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise dvcfile.unusable(dvcfile.FILE, str(error)) from error


def _write(run: _Run) -> None:
    """Write dvc.yaml when it says something new, and take out of dvc.lock what DVC would miss."""
    path, lock = run.root / dvcfile.FILE, run.root / LOCK
    if not path.is_file() or path.read_text(encoding="utf-8") != run.text:
        write_atomic(path, run.text.encode())
    known = read_lock(run.root)
    shrunk = [
        step.address for step in run.every if no_longer_stated(step, known.get(step.address) or {})
    ]
    if shrunk:
        write_atomic(lock, dvcfile.without(lock.read_text(encoding="utf-8"), shrunk).encode())


def _dry(run: _Run) -> dict[str, Any]:
    reasons = run.stale()
    rows = [
        {
            "name": step.stage,
            "target": step.target,
            "status": "skipped" if reasons[step.address] else "cached",
            "seconds": 0.0,
            "would_run": bool(reasons[step.address]),
            "because": reasons[step.address],
        }
        for step in run.chosen
    ]
    idle = not any(row["would_run"] for row in rows)
    return {"stages": rows, "up_to_date": idle, "dry_run": True, "notes": run.notes}


def _repro(run: _Run, events: Events) -> dict[str, Any]:
    """Run DVC to the end and return the result; raises what went wrong."""
    with tempfile.TemporaryDirectory(prefix="edgeops-run-") as folder:
        file = Path(folder) / "events.jsonl"
        quiet = [step.address for step in run.every if step.plan.command is None]
        watch = Watch([step.address for step in run.chosen], quiet, file, events)
        env = dvc.environment({ENVIRONMENT: str(file)})
        try:
            for calls in _rounds(run):
                failed = _together(run.root, calls, env, watch)
                if failed is not None:
                    raise failure(run.every, watch, failed, _result(run, watch))
        except KeyboardInterrupt as error:
            watch.interrupted()
            raise interrupted(_result(run, watch)) from error
    return _result(run, watch)


def _result(run: _Run, watch: Watch) -> dict[str, Any]:
    rows = watch.stages()
    idle = not watch.restored and all(row["status"] == "cached" for row in rows)
    return {"stages": rows, "up_to_date": idle, "notes": run.notes}


def _rounds(run: _Run) -> Iterator[list[list[str]]]:
    """Yield calls of ``dvc repro`` that may run at the same time, by their arguments.

    One call for everything, unless several targets have work to do and jobs are allowed: then
    shared steps first, each target's own beside the others', and the one call for everything
    as the last, which checks what was done and makes what joins the targets.
    """
    options = ["--force"] if run.how.force else []
    done: set[Step] = set()
    if run.how.jobs > 1 and _targets_at_work(run) > 1:
        needs = dependencies(run.chosen)
        while ready := _ready(run.chosen, needs, done):
            shared = [step for step in ready if step.target is None]
            if shared and all(step.target is None for step in run.chosen if step not in done):
                break
            groups = [shared] if shared else _chains(ready)
            done |= {step for group in groups for step in group}
            reasons = run.stale()
            calls = [
                ["--single-item", *options, *(step.address for step in group)]
                for group in groups
                if any(reasons[step.address] for step in group)
            ]
            for start in range(0, len(calls), run.how.jobs):
                yield calls[start : start + run.how.jobs]
    yield [[*run.arguments(), *(options if not done else [])]]


def _targets_at_work(run: _Run) -> int:
    reasons = run.stale()
    return len({step.target for step in run.chosen if step.target and reasons[step.address]})


def _ready(
    steps: Sequence[Step], needs: dict[Step, tuple[Step, ...]], done: set[Step]
) -> list[Step]:
    """Return the steps that need nothing but what is done and, of their own target, each other."""
    ready: list[Step] = []
    for step in steps:
        if step in done:
            continue
        within = {one for one in ready if one.target == step.target}
        if set(needs[step]) <= done | within:
            ready.append(step)
    return ready


def _chains(ready: Sequence[Step]) -> list[list[Step]]:
    chains: dict[str | None, list[Step]] = {}
    for step in ready:
        chains.setdefault(step.target, []).append(step)
    return list(chains.values())


def _together(
    root: Path, calls: Sequence[list[str]], env: dict[str, str], watch: Watch
) -> dvc.Repro | None:
    """Run calls of DVC side by side and return the first that failed; ends them when interrupted."""
    failed: dvc.Repro | None = None
    lines: dvc.Lines = SimpleQueue()
    waiting = {dvc.Repro(root, call, env, lines): (call, 1) for call in calls}
    try:
        while waiting:
            watch.poll()
            try:
                repro, text = lines.get(timeout=_POLL_S)
            except Empty:
                continue
            if text is not None:
                watch.line(repro, text)
                continue
            call, tries = waiting.pop(repro, (None, 0))
            if call is None:
                continue
            status = repro.close()
            watch.ended(repro, status)
            if status == 0:
                continue
            if len(calls) > 1 and dvc.is_busy(repro.tail) and tries < _BUSY_TRIES:
                # Two DVC processes of ours met at the lock that each holds for a moment.
                time.sleep(_BUSY_WAIT_S)
                waiting[dvc.Repro(root, call, env, lines)] = (call, tries + 1)
                continue
            failed = failed or repro
        watch.poll()
    finally:
        for repro in waiting:
            repro.end()
    return failed
