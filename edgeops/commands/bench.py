"""``edgeops bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def bench(
    ctx: typer.Context,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL_OR_VARIANT", help="A model file, or a variant folder.")
    ],
    *,
    against: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="Compare with this variant or model, in pairs."),
    ] = None,
    device: Annotated[str, typer.Option(help="local, ssh:HOST, adb:SERIAL.")] = "local",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 1,
    affinity: Annotated[
        str, typer.Option(metavar="CPUS", help="Processors to run on, as 0 or 0,2-3.")
    ] = "",
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Samples (.npz, .csv, m:f); seeded noise.")
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="ENGINE", help="Engine for a model file; its format's own.")
    ] = "",
    max_seconds: Annotated[
        float | None,
        typer.Option(min=1, help="Time for all measuring; 20, and 60 with --against."),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="mlperf", help="MLPerf single stream: 1,024 queries and 60 s.")
    ] = "",
    sustained: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Go on so long, and show the drift.")
    ] = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Measure latency with intervals; compare two variants in pairs.

    With --against it stops as soon as the answer is clear. Exit 0: not slower by 3 %, or faster;
    11: slower; 12: inconclusive, with the time that an answer would take.
    """
    from edgeops.stages.bench import Request, bench_verb
    from edgeops.views.bench import view

    request = Request(
        console.root(ctx),
        model,
        against,
        device=device,
        threads=threads,
        affinity=affinity,
        data=data,
        engine=to,
        max_seconds=max_seconds,
        preset=preset,
        sustained=sustained,
    )
    console.present(lambda events: bench_verb(request, events=events), view, as_json=as_json)
