"""Options that every verb takes, before the verb and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import __version__, console
from edgeops.core.files import check_folder

JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")
]
ShareOption = Annotated[
    float | None,
    typer.Option(metavar="FRACTION", help="Which part of the devices: 0.1 is a tenth."),
]
CohortOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CONDITION", help="Which devices: region=eu, memory_mb>=512; or any."),
]
RuntimeOption = Annotated[
    str, typer.Option(metavar="VERSION", help="The oldest edgeops on a device that it is for.")
]
ExpiresOption = Annotated[
    str, typer.Option(metavar="TIME", help="How long it is offered: 30d, or a time in UTC.")
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
    if directory is not None:
        check_folder(directory)
    ctx.obj = {"directory": directory, "debug": debug}
