"""``edgeops check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def check(
    ctx: typer.Context,
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="The model; with --all also folders.")
    ],
    *,
    to: Annotated[
        str | None, typer.Option(metavar="ENGINE", help="The engine; edgeops plugins lists.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All engines: the support matrix.")] = False,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,224,224", help="Fix an input's open axes; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say whether a model can be converted; write nothing."""
    from edgeops.convert.check import CheckRequest, check_verb
    from edgeops.errors import InputError, RefusedError
    from edgeops.views.check import view

    shapes = tuple(input_shape or ())
    request = CheckRequest(
        console.root(ctx), tuple(models), to, every=every, precision=precision, input_shape=shapes
    )
    console.present(
        lambda events: check_verb(request, events=events),
        view,
        as_json=as_json,
        shown=(InputError, RefusedError),
    )
