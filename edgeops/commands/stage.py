"""``edgeops stage``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def stage(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The stage, such as convert or convert@gateway.")],
    target: Annotated[str | None, typer.Option(help="The target it runs for.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run one stage now, as DVC does."""
    from edgeops.pipeline.process import run_stage
    from edgeops.views.stage import view

    root = console.root(ctx)
    console.present(
        lambda events: run_stage(root, name, target, events=events), view, as_json=as_json
    )
