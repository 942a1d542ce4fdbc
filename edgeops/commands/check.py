"""``edgeops check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def check(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file.")],
    to: Annotated[str, typer.Option(metavar="ENGINE", help="The engine; edgeops plugins lists.")],
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,224,224", help="Fix an input's open axes; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say whether a model can be converted; write nothing."""
    from edgeops.convert.make import check_model, parse_shapes
    from edgeops.views.check import view

    path = console.root(ctx) / model
    shapes = parse_shapes(input_shape or [])
    console.present(
        lambda _: check_model(path, to, precision=precision, input_shapes=shapes),
        view,
        as_json=as_json,
    )
