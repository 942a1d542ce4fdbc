"""``edgeops run``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def run(
    ctx: typer.Context,
    stages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STAGE]...", help="Only these, such as convert or convert@gateway."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only the stages of this target.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run and why; change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Run stages even if nothing has changed.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="How many targets to work on side by side.")
    ] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Bring the pipeline up to date through DVC."""
    from edgeops.pipeline.run import How, run_pipeline
    from edgeops.views.run import view

    root, how = console.root(ctx), How(dry_run=dry_run, force=force, jobs=jobs)
    console.present(
        lambda events: run_pipeline(root, stages or (), target, how, events=events),
        view,
        as_json=as_json,
    )
