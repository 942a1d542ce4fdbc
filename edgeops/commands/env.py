"""``edgeops env create``, ``env list`` and ``env remove``."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment; env list shows them.")]


@app.command("create")
def create(
    name: Name,
    pip: Annotated[bool, typer.Option("--pip", help="Use venv and pip even where uv is.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Install what a plugin needs into an environment of its own."""
    from edgeops.convert.environments.environment import create_environment
    from edgeops.views.env import view_created

    console.present(
        lambda events: create_environment(name, pip=pip, events=events),
        view_created,
        as_json=as_json,
    )


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Show which environments plugins want, and which of them are there."""
    from edgeops.convert.environments.environment import list_environments
    from edgeops.views.env import view

    console.present(lambda _: list_environments(), view, as_json=as_json)


@app.command("remove")
def remove(name: Name, as_json: JsonFlag = False) -> None:
    """Remove an environment and say what that freed."""
    from edgeops.convert.environments.environment import remove_environment
    from edgeops.views.env import view_removed

    console.present(lambda _: remove_environment(name), view_removed, as_json=as_json)
