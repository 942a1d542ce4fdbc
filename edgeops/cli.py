"""The command line: the Typer app, the one error funnel, the one exit-code table (errors.ExitCode).

Some calls are answered without Typer, whose import takes 0.1 s: ``--version``, ``run`` when nothing
has changed, and ``stage`` as dvc.yaml writes it, which every run calls once a stage. ``--help`` lists the verbs
from data and imports none of them; any other call imports the one verb it names.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops import __version__, console
from edgeops.commands import VERBS
from edgeops.errors import EdgeopsError, ExitCode, Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAKES_VALUE = ("-C", "--directory")
_COMPLETION = "_EDGEOPS_COMPLETE"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; prints the verb's result or its refusal."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        console.line(f"edgeops {__version__}")
        return ExitCode.OK
    _end_on_sigterm()
    as_json = "--json" in arguments
    try:
        code = _stage(arguments)
        if code is None:
            code = _nothing_to_run(arguments)
        return _typer(arguments, as_json=as_json) if code is None else code
    except EdgeopsError as error:
        if "--debug" in arguments:
            _traceback()
        console.refusal(error, as_json=as_json)
        return error.exit_code
    except KeyboardInterrupt:
        console.refusal(_interrupted(), as_json=as_json)
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the funnel: whatever else comes up is our bug
        return _bug(error, arguments, as_json=as_json)


def _typer(arguments: list[str], *, as_json: bool) -> int:
    """Hand the arguments to Typer, which ends with SystemExit; usage errors become exit 2."""
    app = build(_verb(arguments))
    errors = _Remembering(sys.stderr) if as_json else sys.stderr
    sys.stderr, before = errors, sys.stderr
    try:
        app(args=arguments, prog_name="edgeops")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else ExitCode.OK
        if code == ExitCode.INTERRUPTED:  # Typer ends on Ctrl-C without a word
            raise KeyboardInterrupt from None
        if code == ExitCode.USAGE and isinstance(errors, _Remembering):
            console.document(_usage_document(errors.text))
        return code
    finally:
        sys.stderr = before
    return ExitCode.OK


def build(verb: str | None) -> Any:
    """Return the Typer app with ``verb`` whole and the others by name and help only.

    With None all verbs are whole, which shell completion and the tests need.
    """
    import typer

    from edgeops.commands import options

    app = typer.Typer(
        name="edgeops",
        help="Take a trained model to edge devices and keep it healthy there.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options.globals_)
    for name, (location, text) in VERBS.items():
        if verb not in (None, name):
            app.command(name, help=text)(_placeholder)
            continue
        module, _, attribute = location.partition(":")
        part = getattr(importlib.import_module(f"edgeops.commands.{module}"), attribute)
        if isinstance(part, typer.Typer):
            app.add_typer(part, name=name, help=text)
        else:
            app.command(name)(part)
    return app


def _placeholder() -> None:
    """Stand for a verb that this call does not run."""


def _verb(arguments: Sequence[str]) -> str | None:
    """Return the verb that the arguments name, "" for none, None when all must be whole."""
    if _COMPLETION in os.environ:
        return None
    rest = iter(arguments)
    for argument in rest:
        if argument in _TAKES_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return ""


def _nothing_to_run(arguments: list[str]) -> int | None:
    """Answer ``run`` with nothing to do, or return None for all else."""
    folder = Path.cwd()
    rest = [argument for argument in arguments if argument != "--json"]
    if len(rest) == 3 and rest[0] in _TAKES_VALUE:  # noqa: PLR2004 - -C, its folder, the verb
        folder, rest = folder / rest[1], rest[2:]
    if rest != ["run"]:
        return None
    from edgeops.pipeline import fresh

    result = fresh.check(folder)
    if result is None:
        return None
    if "--json" in arguments:
        console.document(result)
    else:
        console.show(fresh.view(result))
    return ExitCode.OK


def _stage(arguments: list[str]) -> int | None:
    """Run a stage the way dvc.yaml calls it, or return None for all else."""
    match arguments:
        case ["stage", name] if not name.startswith("-"):
            target = None
        case ["stage", name, "--target", target]:
            pass
        case _:
            return None
    from edgeops.pipeline.process import run_stage
    from edgeops.views.stage import view

    root = Path.cwd()
    console.present(
        lambda events: run_stage(root, name, target, events=events), view, as_json=False
    )
    return ExitCode.OK


def _end_on_sigterm() -> None:
    """Let SIGTERM end a verb the way Ctrl-C does, so that nothing half done is left."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    if hasattr(signal, "SIGTERM") and _in_main_thread():
        signal.signal(signal.SIGTERM, end)


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _interrupted() -> Interrupted:
    return Interrupted(
        "interrupted",
        "interrupted: nothing half done was left",
        fix="run the same command again: it goes on where it was",
    )


def _bug(error: Exception, arguments: Sequence[str], *, as_json: bool) -> int:
    if "--debug" in arguments:
        _traceback()
    bug = EdgeopsError(
        "bug",
        f"edgeops {__version__} met an error it does not know: {type(error).__name__}: {error}",
        why="this is a fault in edgeops or in a plugin, not in what you typed",
        fix="run it again with edgeops --debug ... and report what it prints",
    )
    console.refusal(bug, as_json=as_json)
    return ExitCode.BUG


def _traceback() -> None:
    import traceback

    console.note(traceback.format_exc().rstrip())


def _usage_document(text: str) -> dict[str, Any]:
    lines = [row for row in text.strip().splitlines() if row.strip()]
    what = lines[-1].removeprefix("Error: ") if lines else "wrong usage"
    tries = [row.split("'")[1] for row in lines if row.startswith("Try '")]
    fix = f"see: {tries[0] if tries else 'edgeops --help'}"
    return {"error": {"code": "usage", "what": what, "where": "", "why": "", "fix": fix}}


class _Remembering:
    """A text stream that hands on what is written and remembers it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[-4000:]
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
