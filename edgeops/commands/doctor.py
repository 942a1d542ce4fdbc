"""``edgeops doctor``."""

from __future__ import annotations

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Say what this machine has and what is missing."""
    from edgeops.pipeline import machine
    from edgeops.views.doctor import view

    console.present(lambda _: machine.doctor(console.root(ctx)), view, as_json=as_json)
