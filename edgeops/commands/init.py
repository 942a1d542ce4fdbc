"""``edgeops init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def init(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder to make; empty or new.")
    ] = Path(),
    template: Annotated[
        str, typer.Option(help="What to lay down: digits or existing-model.")
    ] = "digits",
    model: Annotated[
        Path | None, typer.Option(help="Your ONNX file, for the template existing-model.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Its calibration data (.npz), when you have it already.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Its labelled evaluation data (.npz).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Lay down a project that runs."""
    from edgeops.pipeline.init import Request, init_project
    from edgeops.views.init import view

    root = console.root(ctx)
    sources = [root / path if path else None for path in (model, calibration, evaluation)]
    request = Request(root / directory, str(directory), template, *sources)
    console.present(lambda events: init_project(request, events=events), view, as_json=as_json)
