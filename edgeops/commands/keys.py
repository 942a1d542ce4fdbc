"""``edgeops keys init`` and ``edgeops keys rotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The keys folder.")]


@app.command("init")
def init(ctx: typer.Context, folder: Folder, as_json: JsonFlag = False) -> None:
    """Make four signing keys and the root of trust that devices ship with."""
    from edgeops.publish.keys import init_keys
    from edgeops.views.keys import view

    root = console.root(ctx)
    console.present(lambda _: init_keys(root / folder), view, as_json=as_json)


@app.command("rotate")
def rotate(
    ctx: typer.Context,
    folder: Folder,
    role: Annotated[str, typer.Option(help="root, targets, snapshot or timestamp.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Bring the new root into this repository at once."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Replace the key of a role; devices follow without being touched."""
    from edgeops.stages.publish import rotate_and_renew
    from edgeops.views.keys import view

    root = console.root(ctx)
    console.present(lambda _: rotate_and_renew(root, folder, role, to), view, as_json=as_json)
