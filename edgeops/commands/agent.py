"""``edgeops agent VERB``: what ``edgeops-agent VERB`` does, from the workbench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeops import console
from edgeops.commands.options import JsonFlag

app = typer.Typer(help="Update, serve and roll back a device.", no_args_is_help=True)

Home = Annotated[str, typer.Option(metavar="DIR", help="The agent's folder.")]
Repo = Annotated[str, typer.Option(metavar="URL", help="http(s)://... or a folder.")]
Root = Annotated[
    str | None, typer.Option(metavar="ROOT.JSON", help="Whom to trust; once is enough.")
]
Channel = Annotated[str | None, typer.Option(help="The only one, or stable, when left out.")]
Target = Annotated[str | None, typer.Option(help="Chosen by what the device is when left out.")]
DeviceId = Annotated[
    str | None, typer.Option("--device-id", metavar="ID", help="A random one when left out.")
]
MaxBytes = Annotated[
    int | None, typer.Option("--max-bytes", metavar="N", help="Bound of the storage.")
]
Evict = Annotated[
    bool,
    typer.Option("--evict-previous", help="Give up the previous release where one has no room."),
]
# Verbs that look at the home alone take these too, so that a program may call all of them alike.
AnyRepo = Annotated[str | None, typer.Option("--repo", metavar="URL", help="Not read here.")]
Retry = Annotated[bool, typer.Option("--retry", help="Take also what was refused before.")]

Verify = Annotated[
    bool, typer.Option("--verify", help="Look at every byte of what is installed, too.")
]


@app.command()
def update(
    ctx: typer.Context,
    home: Home,
    repo: Repo,
    root: Root = None,
    channel: Channel = None,
    target: Target = None,
    device_id: DeviceId = None,
    max_bytes: MaxBytes = None,
    evict_previous: Evict = False,
    retry: Retry = False,
    verify: Verify = False,
    as_json: JsonFlag = False,
) -> None:
    """Look for a release once, and switch to it when it is well."""
    _do(ctx, "update", as_json, locals())


@app.command()
def run(
    ctx: typer.Context,
    home: Home,
    repo: Repo,
    root: Root = None,
    channel: Channel = None,
    target: Target = None,
    device_id: DeviceId = None,
    max_bytes: MaxBytes = None,
    evict_previous: Evict = False,
    retry: Retry = False,
    verify: Verify = False,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="End after the first update, or at once when now is no time for one."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Look for releases again and again, as HOME/agent.json says."""
    _do(ctx, "run", as_json, locals())


@app.command()
def status(
    ctx: typer.Context,
    home: Home,
    repo: AnyRepo = None,
    root: Root = None,
    channel: Channel = None,
    target: Target = None,
    device_id: DeviceId = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what is installed, from files alone."""
    _do(ctx, "status", as_json, locals())


@app.command()
def rollback(
    ctx: typer.Context,
    home: Home,
    repo: AnyRepo = None,
    root: Root = None,
    channel: Channel = None,
    target: Target = None,
    device_id: DeviceId = None,
    reason: Annotated[str | None, typer.Option(help="What to remember of it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Serve the previous release again and take this one no more."""
    _do(ctx, "rollback", as_json, locals())


@app.command(short_help="Answer applications over a Unix socket and loopback HTTP.")
def serve(
    ctx: typer.Context,
    home: Home,
    repo: AnyRepo = None,
    root: Root = None,
    channel: Channel = None,
    target: Target = None,
    device_id: DeviceId = None,
    port: Annotated[int | None, typer.Option(help="Answer on this port of 127.0.0.1 too.")] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Answer on this address too.")
    ] = None,
    expose: Annotated[
        bool,
        typer.Option(
            "--expose",
            help="Allow --http an address that other machines reach; nobody is asked who they are.",
        ),
    ] = False,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Keep each model in a process of its own.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Answer requests of applications over a Unix socket and loopback HTTP."""
    _do(ctx, "serve", as_json, locals())


@app.command()
def pyz(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="Where the program goes.")
    ] = Path("edgeops-agent.pyz"),
    as_json: JsonFlag = False,
) -> None:
    """Write edgeops-agent as one file, for devices without edgeops."""
    from edgeops.package.agent_pyz import make
    from edgeops.views.agent_pyz import view

    path = console.root(ctx) / out
    console.present(lambda _: make(path), view, as_json=as_json)


def _do(ctx: typer.Context, verb: str, as_json: bool, given: dict[str, Any]) -> None:
    from edgeops.runtime.agent.cli import lines, placed, work

    options = placed(given, console.root(ctx))
    console.present(lambda _: work(verb, options) or {}, lines, as_json=as_json)
