"""``edgeops convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def convert(
    ctx: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An ONNX file, a .tflite or a .pt2.")
    ],
    *,
    to: Annotated[str, typer.Option(metavar="ENGINE", help="The engine; edgeops plugins lists.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Becomes the variant; MODEL-ENGINE-PRECISION."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Samples for the proof (.npz, .csv, m:f).")
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,224,224", help="Fix an input's open axes; repeatable."),
    ] = None,
    simplify: Annotated[bool, typer.Option(help="Simplify the graph before.")] = True,
    form: Annotated[
        str, typer.Option(help="File format, where the engine has several (onnx, ort).")
    ] = "",
    via: Annotated[
        str, typer.Option(metavar="ROUTE", help="Another converter of the engine, as onnx2tf.")
    ] = "",
    features: Annotated[
        str, typer.Option(metavar="FILE", help="features.yaml, when the samples are raw.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Convert a model for an engine and prove it equal."""
    from edgeops.convert.make import Request, convert_verb
    from edgeops.views.convert import view

    request = Request(
        console.root(ctx),
        model,
        to,
        out,
        precision,
        data,
        input_shape or [],
        simplify,
        form,
        via,
        features,
    )
    console.present(lambda events: convert_verb(request, events=events), view, as_json=as_json)
