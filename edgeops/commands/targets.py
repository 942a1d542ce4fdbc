"""``edgeops targets``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def targets(
    ctx: typer.Context,
    probe: Annotated[bool, typer.Option("--probe", help="Ask each device what it is.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the targets of the project."""
    from edgeops.pipeline import machine
    from edgeops.views.targets import view

    root = console.root(ctx)
    console.present(lambda _: machine.targets(root, probe=probe), view, as_json=as_json)
