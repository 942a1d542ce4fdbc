"""``edgeops explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag


def explain(
    code: Annotated[
        str | None, typer.Argument(help="An error code or an exit code; all when left out.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Explain an error code and how to mend it."""
    from edgeops.pipeline.explain import explain as look_up
    from edgeops.views.explain import view

    console.present(lambda _: look_up(code), view, as_json=as_json)
