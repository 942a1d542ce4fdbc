"""One stage in this process: what DVC starts as ``edgeops stage NAME --target T``."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.core.events import EventFile, Silence, event_file
from edgeops.core.stage import StageContext
from edgeops.errors import EdgeopsError
from edgeops.pipeline.plan import plan
from edgeops.pipeline.select import choose
from edgeops.project.load import load

if TYPE_CHECKING:
    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target
    from edgeops.core.stage import StageResult
    from edgeops.pipeline.plan import Step
    from edgeops.project.load import Loaded


def run_stage(
    root: Path, name: str, target: str | None = None, *, events: Events | None = None
) -> dict[str, Any]:
    """Run one stage of the project in ``root`` and return its figures, notes and seconds of work.

    ``name`` may be ``convert@gateway``. Events go to the file that the run above reads, if there
    is one, else to ``events``. Raises what the stage raises, after telling the run above.
    """
    stage, _, part = name.partition("@")
    target = target or part or None
    listener = event_file(os.environ)
    teller = EventFile(Path(listener), stage, target) if listener else None
    try:
        loaded = load(root)
        step = _step(loaded, stage, target)
        for path in step.writes:
            clear_leftovers(root / path)
        began = time.monotonic()
        result = _run(root, loaded.project, step, teller or events or Silence())
    except EdgeopsError as error:
        if teller:
            teller.send("error", exit=int(error.exit_code), **error.to_json())
        raise
    seconds = round(time.monotonic() - began, 3)
    if teller:
        teller.send("done", seconds=seconds, notes=list(result.notes))
    return {
        "stage": step.stage,
        "target": step.target,
        "seconds": seconds,
        "figures": dict(result.figures),
        "notes": list(result.notes),
    }


def clear_leftovers(path: Path) -> None:
    """Remove what a killed stage left beside ``path``, or put back what it had moved aside.

    Only names that ``core.files`` makes up are touched: ``.NAME.`` and eight characters, with
    ``.new`` or ``.old`` for folders. Where ``path`` is gone, it was moved aside: it goes back.
    """
    pattern = re.compile(re.escape(f".{path.name}.") + r"[a-z0-9_]{8}(\.new|\.old)?")
    if not path.parent.is_dir():
        return
    for found in sorted(path.parent.iterdir()):
        if not pattern.fullmatch(found.name):
            continue
        if found.suffix == ".old" and found.is_dir() and not path.exists():
            found.rename(path)
        elif found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()


def _step(loaded: Loaded, stage: str, target: str | None) -> Step:
    steps = plan(loaded.project, where=lambda name: loaded.where("stages", name))
    found, _ = choose(steps, [stage], target, loaded.project)
    if len(found) > 1:
        from edgeops.errors import UsageProblem

        raise UsageProblem(
            "stage-target-missing",
            f"the stage {stage!r} runs once a target",
            why=f"its targets: {', '.join(str(step.target) for step in found)}",
            fix=f"say for which: edgeops stage {stage} --target {found[0].target}",
        )
    return found[0]


def _run(root: Path, project: Project, step: Step, events: Events) -> StageResult:
    spec = project.stages[step.stage]
    target: Target | None = project.targets[step.target] if step.target else None
    context = StageContext(root, project, step.stage, target, events)
    result: StageResult = registry.get("stages", spec.uses).run(context, spec.options)
    return result
