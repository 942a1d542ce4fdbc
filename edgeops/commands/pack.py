"""``edgeops pack``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def pack(
    ctx: typer.Context,
    variants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VARIANT]...", help="Variant folders, or NAME=FOLDER; none: the project."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The project's name.")] = None,
    version: Annotated[str | None, typer.Option(help="The release's version.")] = None,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", help="NAME-VERSION.edgeops.")
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="An evidence.json of a variant; repeatable."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="A file that goes along, such as labels.txt; repeatable."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="DIR", help="The keys folder that signs the bundle.")
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Pack variants that nothing could prove."),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="agent, or TARGET=WHEEL for an engine; repeatable."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=FILE", help="What devices hold the release against; repeatable."
        ),
    ] = None,
    sdk: Annotated[
        list[str] | None,
        typer.Option(metavar="LANGUAGE", help="Demos in python, cpp or kotlin; repeatable."),
    ] = None,
    encrypt: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND[:TARGET]", help="Seal files of a kind; repeatable."),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(metavar="PUB", help="Who can open what is sealed; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Pack variants and their evidence into one bundle."""
    from edgeops.stages.pack_verb import PackRequest, pack_verb
    from edgeops.views.pack import view

    given = (variants or [], name, version, out, evidence or [], include or [], key, accept)
    added = (runtime or [], sdk or [], encrypt or [], recipient or [], baseline or [])
    request = PackRequest(console.root(ctx), *given, *added)
    console.present(lambda events: pack_verb(request, events=events), view, as_json=as_json)
