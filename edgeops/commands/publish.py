"""``edgeops publish``."""

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


def publish(
    ctx: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="The .edgeops file.")],
    to: Annotated[
        str, typer.Option(metavar="REPO", help="The repository: a folder, or KIND://...")
    ],
    channel: Annotated[str, typer.Option(help="The channel that is moved to the release.")],
    key: Annotated[
        str, typer.Option(metavar="DIR", help="The keys folder that signs the repository.")
    ] = ".edgeops/keys",
    accept: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Publish although gates did not pass; it is signed."),
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Let the channel go back to an older version.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Let other files take the place of this version's.")
    ] = False,
    reinstate: Annotated[
        bool, typer.Option("--reinstate", help="Offer a release again that was withdrawn.")
    ] = False,
    share: ShareOption = None,
    cohort: CohortOption = None,
    minimum_runtime: RuntimeOption = "",
    expires: ExpiresOption = "",
    deltas: Annotated[
        int, typer.Option(metavar="N", help="From how many earlier releases deltas are made.")
    ] = 3,
    as_json: JsonFlag = False,
) -> None:
    """Add a release to a repository and move its channel."""
    from edgeops.stages.publish import PublishRequest, publish_bundle
    from edgeops.views.publish import view

    request = PublishRequest(
        console.root(ctx),
        bundle,
        to,
        channel,
        key,
        accept,
        rollback=rollback,
        rebuild=rebuild,
        reinstate=reinstate,
        share=share,
        cohort=tuple(cohort or ()),
        minimum_runtime=minimum_runtime,
        expires=expires,
        deltas=deltas,
    )
    console.present(lambda events: publish_bundle(request, events=events), view, as_json=as_json)
