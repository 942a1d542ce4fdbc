"""``edgeops keys init``, ``edgeops keys rotate`` and ``edgeops keys sign``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag

if TYPE_CHECKING:
    from edgeops.core.events import Events

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The keys folder.")]

KeysElsewhere = Annotated[
    list[Path] | None,
    typer.Option("--with", metavar="KEY", help="A root key, or a folder of them, kept elsewhere."),
]


@app.command("init")
def init(
    ctx: typer.Context,
    folder: Folder,
    root_keys: Annotated[int, typer.Option(metavar="N", help="How many root keys.")] = 1,
    threshold: Annotated[
        int, typer.Option(metavar="K", help="How many of them must sign a new root.")
    ] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Make the signing keys and the root of trust."""
    from edgeops.publish.keys import init_keys
    from edgeops.views.keys import view

    root = console.root(ctx)
    console.present(
        lambda _: init_keys(root / folder, root_keys=root_keys, threshold=threshold),
        view,
        as_json=as_json,
    )


@app.command("rotate")
def rotate(
    ctx: typer.Context,
    folder: Folder,
    role: Annotated[str, typer.Option(help="root, targets, snapshot or timestamp.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Bring the new root into this repository at once."),
    ] = None,
    replace: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which of several root keys: root-2.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(metavar="K", help="How many root keys must sign from now on.")
    ] = None,
    others: KeysElsewhere = None,
    as_json: JsonFlag = False,
) -> None:
    """Replace the key of a role; devices follow by themselves."""
    from edgeops.publish.stores import open_repository
    from edgeops.stages.publish import RotateRequest, rotate_and_renew
    from edgeops.views.keys import view

    request = RotateRequest(
        console.root(ctx), folder, role, to, replace, threshold, tuple(others or ())
    )

    def work(_: Events) -> dict[str, Any]:
        if to is not None:  # a misspelt address is found before a key is replaced
            open_repository(to, request.root)
        return rotate_and_renew(request)

    console.present(work, view, as_json=as_json)


@app.command("sign")
def sign(
    ctx: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The keys folder, or a pending.root.json.")
    ],
    others: KeysElsewhere = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign a new root that waits for other root keys."""
    from edgeops.publish.keys import sign_root
    from edgeops.views.keys import view

    root = console.root(ctx)
    paths = [root / other for other in others or ()]
    console.present(lambda _: sign_root(root / path, paths), view, as_json=as_json)


@app.command("recipient")
def recipient(ctx: typer.Context, folder: Folder, as_json: JsonFlag = False) -> None:
    """Make the key pair that opens sealed files."""
    from edgeops.package.sealing import make_recipient
    from edgeops.views.recipient import view

    root = console.root(ctx)
    console.present(lambda _: make_recipient(root / folder), view, as_json=as_json)
