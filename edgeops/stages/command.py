"""The command stage: whatever the project itself runs, such as training."""

from __future__ import annotations

import subprocess
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.stage import Out, Plot, StageContext, StageInfo, StagePlan, StageResult
from edgeops.errors import Finding, StageFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.project import Project, Target

TAIL = 20


@dataclass(frozen=True)
class CommandOptions:
    """A command with what it reads and writes, as paths in the project."""

    run: str = field(metadata={"help": "The shell command, run in the project's folder."})
    deps: tuple[str, ...] = field(
        default=(), metadata={"help": "Files and folders that it reads; it runs again on change."}
    )
    outs: tuple[str, ...] = field(default=(), metadata={"help": "Files and folders it writes."})
    persist: tuple[str, ...] = field(
        default=(), metadata={"help": "Outputs that are kept before it runs again, to add to."}
    )
    params: tuple[str, ...] = field(
        default=(), metadata={"help": "Keys of edgeops.yaml, dotted; it runs again on change."}
    )
    metrics: tuple[str, ...] = field(
        default=(), metadata={"help": "JSON or YAML files of figures, for dvc metrics."}
    )
    plots: tuple[str, ...] = field(
        default=(), metadata={"help": "CSV or JSON tables and images, for dvc plots."}
    )
    desc: str = field(default="", metadata={"help": "What it does, in a line."})


class Command:
    """Runs a shell command of the project's own."""

    info = StageInfo("command", "Run a command of the project's own.", scope="project")
    Options = CommandOptions

    def plan(
        self,
        project: Project,  # noqa: ARG002 - a command says itself what it reads and writes
        target: Target | None,  # noqa: ARG002
        options: CommandOptions,
    ) -> StagePlan:
        """Return what the options state; the command stands in dvc.yaml as it is."""
        kept = tuple(Out(path, persist=True) for path in options.persist)
        return StagePlan(
            deps=options.deps,
            outs=(*(Out(path) for path in options.outs), *kept),
            metrics=options.metrics,
            plots=tuple(Plot(path, "", "") for path in options.plots),
            params=options.params,
            command=options.run,
        )

    def preflight(
        self,
        root: Path,  # noqa: ARG002 - missing deps are found for all stages alike
        project: Project,
        target: Target | None,  # noqa: ARG002
        options: CommandOptions,
    ) -> Sequence[Finding]:
        """Return a finding for each stated key that edgeops.yaml does not have."""
        return [
            Finding(
                "param-unknown",
                f"the command depends on {key!r}, which edgeops.yaml does not state",
                why="a key that is not there cannot be tracked",
                fix="state the key, or take it out of params",
            )
            for key in options.params
            if key not in project.given
        ]

    def run(self, context: StageContext, options: CommandOptions) -> StageResult:
        """Run the command in the project's folder, showing its lines as they come.

        Raises StageFailed ``stage-failed`` with the end of its output.
        """
        tail: deque[str] = deque(maxlen=TAIL)
        with subprocess.Popen(  # noqa: S602 - the project's own command line, as its author typed it
            options.run,
            shell=True,
            cwd=context.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                tail.append(line.rstrip())
                context.events.step(f"{context.stage}: {line.rstrip()}")
        if process.returncode:
            raise failed(context.stage, options.run, process.returncode, tail)
        return StageResult()


def failed(stage: str, command: str, status: int, tail: Any) -> StageFailed:
    """Return the error of a command that ended badly, with the end of its output."""
    lines = "\n".join(tail)
    how = f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}"
    return StageFailed(
        "stage-failed",
        f"the command of stage {stage!r} failed",
        where=command,
        why=f"{how}; its last lines were:\n{lines}" if lines else f"{how} and printed nothing",
        fix="mend the command or what it reads, then run again: finished stages are kept",
    )
