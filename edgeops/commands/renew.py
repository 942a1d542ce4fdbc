"""``edgeops renew``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def renew(
    ctx: typer.Context,
    to: Annotated[
        str, typer.Option(metavar="REPO", help="The repository: a folder, or KIND://...")
    ],
    key: Annotated[
        str, typer.Option(metavar="DIR", help="A keys folder; the timestamp's key is enough.")
    ] = ".edgeops/keys",
    as_json: JsonFlag = False,
) -> None:
    """Sign a repository's timestamp again before devices refuse it."""
    from edgeops.stages.publish_moves import renew_verb
    from edgeops.views.renew import view

    root = console.root(ctx)
    console.present(lambda _: renew_verb(root, to, key=key), view, as_json=as_json)
