"""``edgeops plugins``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def plugins(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind: stages, engines, metrics and so on.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the plugins and what is wrong with broken ones."""
    from edgeops.pipeline import machine
    from edgeops.views.plugins import view

    console.present(lambda _: machine.plugins(kind), view, as_json=as_json)
