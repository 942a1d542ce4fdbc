"""``edgeops quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def quantize(
    ctx: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The ONNX file or a variant's folder.")
    ],
    *,
    to: Annotated[str, typer.Option(metavar="ENGINE", help="The engine; edgeops plugins lists.")],
    calibration: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Samples to measure ranges on (.npz, .csv, m:f)."),
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(metavar="DATA", help="Labelled samples to measure the metric on.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="M", help="accuracy, f1, ... or module:function.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option(metavar="D", help="The most the metric may lose (0.01 is a point).")
    ] = 0.01,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Becomes the variant; MODEL-ENGINE-PRECISION."
        ),
    ] = None,
    precision: Annotated[Literal["int8", "fp16"], typer.Option(help="What to make.")] = "int8",
    scheme: Annotated[
        Literal["auto", "static", "dynamic", "fp16"],
        typer.Option(help="How: auto is static for int8."),
    ] = "auto",
    method: Annotated[
        Literal["auto", "minmax", "entropy", "percentile"],
        typer.Option(help="How ranges follow from the calibration data."),
    ] = "auto",
    per_channel: Annotated[bool, typer.Option(help="One scale per channel of weights.")] = True,
    keep_float: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Keep a node in float; repeatable.")
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Calibration samples at most; 0 takes all.")
    ] = 512,
    output: Annotated[
        str, typer.Option(metavar="NAME", help="The output that the metric looks at.")
    ] = "",
    features: Annotated[
        str, typer.Option(metavar="FILE", help="features.yaml, when the samples are raw.")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make an int8 variant within an accuracy budget."""
    from edgeops.stages.quantize_variant import QuantizeOptions
    from edgeops.stages.quantize_verb import Request, quantize_verb
    from edgeops.views.quantize import view

    root, kept = console.root(ctx), tuple(keep_float or ())
    options = QuantizeOptions(max_drop, scheme, method, per_channel, kept, samples)
    data = (calibration, evaluation, metric, output)
    request = Request(root, model, to, *data, precision, out, options, features)
    console.present(lambda events: quantize_verb(request, events=events), view, as_json=as_json)
