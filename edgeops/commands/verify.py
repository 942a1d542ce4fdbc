"""``edgeops verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def verify(
    ctx: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The .edgeops file.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUB", help="The publisher's release.pub, or the folder it lies in."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a bundle's digests, signature and evidence."""
    from edgeops.package.verify import verify_bundle
    from edgeops.views.verify import view

    root = console.root(ctx)
    public = root / key if key else None
    console.present(lambda _: verify_bundle(root / bundle, public), view, as_json=as_json)
