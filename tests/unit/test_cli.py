"""The funnel: exit codes, JSON on failure, the verb table, what is not imported."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from edgeops import __version__, cli, console
from edgeops.commands import VERBS
from edgeops.errors import (
    EdgeopsError,
    Finding,
    GateFailed,
    GateInconclusive,
    InputError,
    Interrupted,
    MissingError,
    RefusedError,
    StageFailed,
    TransportError,
    TrustError,
    UsageProblem,
)

COMMANDS = Path(cli.__file__).parent / "commands"


def _function(verb):
    module, _, attribute = VERBS[verb][0].partition(":")
    return getattr(importlib.import_module(f"edgeops.commands.{module}"), attribute)


def _functions():
    for verb in VERBS:
        part = _function(verb)
        if isinstance(part, typer.Typer):
            for command in part.registered_commands:
                yield f"{verb} {command.name or command.callback.__name__}", command.callback
        else:
            yield verb, part


@pytest.fixture
def raising(monkeypatch):
    """Return a function that makes the verb ``explain`` raise an error."""

    def install(error):
        def broken(*_args, **_kwargs):
            raise error

        monkeypatch.setattr(console, "present", broken)
        return ["explain", "bug"]

    return install


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageProblem, 2),
        (InputError, 3),
        (MissingError, 4),
        (RefusedError, 5),
        (StageFailed, 10),
        (GateFailed, 11),
        (GateInconclusive, 12),
        (TrustError, 20),
        (TransportError, 30),
        (Interrupted, 130),
    ],
)
def test_main_returns_the_exit_code_of_the_error(raising, capsys, kind, code):
    argv = raising(kind("some-code", "it broke", where="a:1", why="because", fix="mend it"))
    assert cli.main(argv) == code
    assert capsys.readouterr().err == (
        "error: it broke [some-code]\nwhere: a:1\nwhy:   because\nfix:   mend it\n"
    )


def test_main_prints_one_json_document_when_an_error_is_asked_as_json(raising, capsys):
    finding = Finding("a-code", "what", where="w", why="y", fix="f", details={"node": "n"})
    error = RefusedError("c", "w", findings=[finding], result={"supported": False})
    assert cli.main([*raising(error), "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == {
        "error": {"code": "c", "what": "w", "where": "", "why": "", "fix": ""},
        "findings": [
            {"code": "a-code", "what": "what", "where": "w", "why": "y", "fix": "f", "node": "n"}
        ],
        "supported": False,
    }


def test_main_lists_every_finding_when_there_are_several(raising, capsys):
    findings = [Finding("one", "first", where="f:1:2", fix="a"), Finding("two", "second")]
    assert cli.main(raising(InputError("one", "first", findings=findings))) == 3
    assert capsys.readouterr().err == (
        "error: 2 problems\n\n  f:1:2: first [one]\n  fix:   a\n\n  second [two]\n"
    )


def test_main_calls_an_unknown_error_a_bug_and_shows_no_traceback(raising, capsys):
    assert cli.main(raising(ZeroDivisionError("by zero"))) == 70
    text = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in text
    assert "Traceback" not in text


def test_main_shows_the_traceback_with_debug(raising, capsys):
    assert cli.main(["--debug", *raising(ZeroDivisionError("by zero"))]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_main_returns_130_when_interrupted(raising, capsys):
    assert cli.main(raising(KeyboardInterrupt())) == 130
    assert "[interrupted]" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["frob"], ["explain", "--frob"], ["convert"]])
def test_main_returns_2_on_wrong_usage(capsys, argv):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert "Error:" in captured.err
    assert captured.out == ""


def test_main_answers_wrong_usage_as_json(capsys):
    assert cli.main(["frob", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "usage"
    assert error["what"] == "No such command 'frob'."
    assert error["fix"] == "see: edgeops -h"


_NOWHERE = ["publish", "init new", "run", "keys init k", "doctor", "agent status --home h"]


@pytest.mark.parametrize("verb", _NOWHERE)
def test_folder_to_work_in_must_be_there_whatever_the_verb(tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shops").mkdir()
    assert cli.main(["-C", "shop", *verb.split(), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["what"]) == ("folder-missing", "there is no folder shop")
    assert error["where"] == str(tmp_path / "shop")
    assert error["fix"] == "did you mean shops?"
    assert [path.name for path in tmp_path.iterdir()] == ["shops"]


def test_folder_to_work_in_is_no_file(tmp_path, capsys):
    (tmp_path / "edgeops.yaml").touch()
    assert cli.main(["-C", str(tmp_path / "edgeops.yaml"), "run"]) == 3
    assert "edgeops.yaml is a file, no folder [folder-missing]" in capsys.readouterr().err


def test_main_prints_the_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgeops {__version__}\n"


def test_sigterm_ends_a_verb_with_130():
    script = (
        "import sys, time\n"
        "from edgeops import cli, console\n"
        "def work(*a, **k):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "console.present = work\n"
        "sys.exit(cli.main(['explain', 'bug']))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGTERM)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "[interrupted]" in err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_and_says_what_the_table_says(verb, capsys):
    part = _function(verb)
    if not isinstance(part, typer.Typer):  # a group takes its help from the table itself
        assert inspect.getdoc(part).splitlines()[0] == VERBS[verb][1]
    assert cli.main([verb, "--help"]) == 0
    assert VERBS[verb][1] in " ".join(capsys.readouterr().out.split())


def test_every_verb_answers_help(capsys):
    for name, _ in _functions():
        assert cli.main([*name.split(), "--help"]) == 0, name
        assert "--json" in capsys.readouterr().out, name


def test_the_whole_app_builds_as_completion_needs_it():
    assert {command.name for command in cli.build(None).registered_commands} >= {"run", "convert"}


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_commands_hold_no_logic(path):
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            assert not isinstance(node, ast.Try | ast.For | ast.While | ast.With), function.name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "open"), function.name
        assert len(function.body) <= 15, function.name


def test_every_option_has_help():
    import typing

    for name, function in _functions():
        hints = typing.get_type_hints(function, include_extras=True)
        for parameter, hint in hints.items():
            if parameter in ("ctx", "return"):
                continue
            about = hint.__metadata__[0]
            assert about.help, f"{name} {parameter}"


@pytest.mark.parametrize(
    ("argv", "forbidden"),
    [
        (
            ["--version"],
            "typer rich pydantic numpy onnx onnxruntime dvc requests sklearn tuf ruamel",
        ),
        (["--help"], "rich pydantic numpy onnx onnxruntime dvc requests sklearn tuf ruamel"),
    ],
)
def test_start_up_imports_nothing_heavy(argv, forbidden):
    script = (
        "import sys\nfrom edgeops.cli import main\ncode = main(sys.argv[1:])\n"
        "sys.stderr.write(' '.join(sys.modules))\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & set(forbidden.split())
    assert not {name for name in loaded if name.startswith("edgeops.stages")}


def test_errors_know_their_exit_codes_once():
    classes = EdgeopsError.__subclasses__()
    assert len({kind.exit_code for kind in classes}) == len(classes) == 10
