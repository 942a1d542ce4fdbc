"""``edgeops report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def report(
    ctx: typer.Context,
    form: Annotated[
        Literal["md", "json", "junit"],
        typer.Option(
            "--format", help="Markdown, JSON as --json prints, or JUnit XML of the gates."
        ),
    ] = "md",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it to this file.")
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="REV", help="Show what changed since this git revision.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Exit 11 or 12 when a gate failed or is not decided.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what changed and whether it may ship."""
    from edgeops.report.make import Request, report_verb
    from edgeops.views.report import view

    request = Request(console.root(ctx), form, out, against, check)
    console.present(
        lambda events: report_verb(request, events=events),
        view,
        as_json=as_json or (form == "json" and out is None),
    )
