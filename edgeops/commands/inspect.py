"""``edgeops inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def inspect(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A model, a variant's folder or a bundle.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Show what is inside a model, variant or bundle."""
    from edgeops.model.inspect import inspect_file
    from edgeops.package.inspect import inspect_bundle
    from edgeops.views.inspect import view

    path = console.root(ctx) / file
    console.present(lambda _: inspect_file(path, inspect_bundle), view, as_json=as_json)
