"""``edgeops validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def validate(
    ctx: typer.Context,
    variant: Annotated[
        Path | None,
        typer.Argument(metavar="[VARIANT]", help="A variant folder; without it, the project."),
    ] = None,
    *,
    target: Annotated[str | None, typer.Option(help="Only this target of the project.")] = None,
    evaluation: Annotated[
        str | None, typer.Option(metavar="DATA", help="Labelled samples (.npz, .csv, m:f).")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="accuracy, top5, f1, auc, rmse or module:function; accuracy.")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="'accuracy>=0.95'", help="A bound on a figure; repeatable."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Compare with this ONNX model, or fp32 variant."),
    ] = None,
    output: Annotated[str | None, typer.Option(help="The output the metric looks at.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine; 1.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to measure; local.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.01, help="Time spent on latency; 2.")
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Go on with a variant that nothing could prove."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure a variant on its device and judge the gates."""
    from edgeops.pipeline.validated import Request, validate_verb
    from edgeops.views.validate import view

    only: dict[str, Any] = {
        "evaluation": evaluation,
        "metric": metric,
        "gates": gate,
        "source": source,
    }
    only |= {"output": output, "threads": threads, "device": device, "seconds": seconds}
    only["accept"] = accept
    request = Request(console.root(ctx), variant, target, only)
    console.present(lambda events: validate_verb(request, events=events), view, as_json=as_json)
