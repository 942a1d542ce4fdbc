"""``edgeops validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Targets to measure side by side; one a device."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML, too.")
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Labelled samples (.npz, .csv, m:f)."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="features.yaml, when the samples are raw."),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="rules.yaml, when the metric is of what it answers."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="A metric of `edgeops plugins`, or module:function; accuracy."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'accuracy>=0.95'",
            help="A bound on a figure, such as accuracy[light=night]; repeatable.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Compare with this ONNX model, or fp32 variant."),
    ] = None,
    previous: Annotated[
        str | None,
        typer.Option(
            metavar="VARIANT",
            help="Compare with this earlier variant (latency_vs_previous and others).",
        ),
    ] = None,
    output: Annotated[str | None, typer.Option(help="The output the metric looks at.")] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many samples, from the first; all (--record: 64)."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Go on with a variant that nothing could prove."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to measure; local.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads of the engine; 1.")
    ] = None,
    affinity: Annotated[
        str | None, typer.Option(metavar="CPUS", help="Processors to run on, as 0 or 0,2-3.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.01, help="Time spent on latency; 2."),
    ] = None,
    preset: Annotated[
        Literal["mlperf"] | None,
        typer.Option(help="1,024 queries and 60 seconds at least."),
    ] = None,
    sustained: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Go on and see the times drift."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="For each measuring process; 600."),
    ] = None,
    call_timeout: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="For one call of the model."),
    ] = None,
    heartbeat: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Silence after which a device ends what was begun."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep what it answers as a baseline."),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hold what it answers against this."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Share of an output's largest value; by precision."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="EVIDENCE", help="Judge again from evidence alone, with other gates if given."
        ),
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
        "previous": previous,
        "output": output,
        "samples": samples,
        "accept": accept,
        "features": features,
        "rules": rules,
    }
    only |= {"device": device, "threads": threads, "affinity": affinity, "seconds": seconds}
    only |= {"preset": preset, "sustained": sustained, "timeout": timeout}
    only |= {"call_timeout": call_timeout, "heartbeat": heartbeat}
    request = Request(
        console.root(ctx), variant, target, jobs, only, replay, record, baseline, tolerance, junit
    )
    console.present(lambda events: validate_verb(request, events=events), view, as_json=as_json)
