"""``edgeops diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def diff(
    ctx: typer.Context,
    before: Annotated[
        str, typer.Argument(metavar="A", help="A variant folder, a bundle or a git revision.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.")],
    as_json: JsonFlag = False,
) -> None:
    """Compare two variants, bundles or revisions."""
    from edgeops.package.diff import diff as compare
    from edgeops.views.diff import view

    root = console.root(ctx)
    console.present(lambda _: compare(root, before, after), view, as_json=as_json)
