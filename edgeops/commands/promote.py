"""``edgeops promote``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import (
    CohortOption,
    ExpiresOption,
    JsonFlag,
    RuntimeOption,
    ShareOption,
)


def promote(
    ctx: typer.Context,
    to: Annotated[
        str, typer.Option(metavar="REPO", help="The repository: a folder, or KIND://...")
    ],
    channel: Annotated[
        str | None, typer.Option(help="The channel whose offer gets new terms.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="CHANNEL", help="The channel it is on.")
    ] = None,
    into: Annotated[
        str | None, typer.Option(metavar="CHANNEL", help="The channel it goes into as well.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Which release, if not the newest.")
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="DIR", help="The keys folder that signs the repository.")
    ] = ".edgeops/keys",
    share: ShareOption = None,
    cohort: CohortOption = None,
    minimum_runtime: RuntimeOption = "",
    expires: ExpiresOption = "",
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Let the channel go back to an older version.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Offer a release to more devices, or on another channel."""
    from edgeops.stages.publish_moves import PromoteRequest, promote_verb
    from edgeops.views.promote import view

    request = PromoteRequest(
        console.root(ctx),
        to,
        channel,
        source,
        into,
        release,
        key,
        share,
        tuple(cohort or ()),
        minimum_runtime,
        expires,
        rollback=rollback,
    )
    console.present(lambda _: promote_verb(request), view, as_json=as_json)
