"""Options that every verb takes, before the verb and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import __version__, console

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")
]


def globals_(
    ctx: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option("-C", "--directory", help="Work as if started in this folder."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Take a trained model to edge devices and keep it healthy there."""
    if version:
        console.line(f"edgeops {__version__}")
        raise typer.Exit
    ctx.obj = {"directory": directory, "debug": debug}
