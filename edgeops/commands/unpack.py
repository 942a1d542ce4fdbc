"""``edgeops unpack``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def unpack(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="The .edgeops file, or a repository's folder.")
    ],
    out: Annotated[
        str, typer.Option("-o", "--out", metavar="DIR", help="Folder that gets the files.")
    ],
    target: Annotated[
        str | None, typer.Option(help="Only this target's files, and those that all share.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only files of a kind, such as labels.")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="The channel, of a repository.")] = None,
    trusted: Annotated[
        str | None,
        typer.Option("--root", metavar="ROOT.JSON", help="Whom to trust, of a repository."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take files out of a bundle or a published repository."""
    from edgeops.stages.unpack import UnpackRequest, unpack_verb
    from edgeops.views.unpack import view

    request = UnpackRequest(console.root(ctx), source, out, target, only, channel, trusted)
    console.present(lambda events: unpack_verb(request, events=events), view, as_json=as_json)
