"""``edgeops withdraw``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def withdraw(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version of the release.")],
    to: Annotated[
        str, typer.Option(metavar="REPO", help="The repository: a folder, or KIND://...")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is signed with the release.")],
    project: Annotated[
        str | None, typer.Option(help="The project, where the repository has several.")
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="DIR", help="The keys folder that signs the repository.")
    ] = ".edgeops/keys",
    as_json: JsonFlag = False,
) -> None:
    """Take a release out of all channels; devices fall back."""
    from edgeops.stages.publish_moves import withdraw_verb
    from edgeops.views.withdraw import view

    root = console.root(ctx)
    console.present(
        lambda _: withdraw_verb(root, version, to, reason, project=project, key=key),
        view,
        as_json=as_json,
    )
