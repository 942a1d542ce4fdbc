"""What must not be imported before a verb has work to do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import io, json, sys
from contextlib import redirect_stdout
from edgeops.__main__ import main
with redirect_stdout(io.StringIO()):
    try:
        code = main()
    except SystemExit as end:
        code = end.code
print(json.dumps([code, sorted(sys.modules)]))
"""
HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "pydantic",
    "requests",
    "dvc",
    "git",
    "rich",
    "ruamel",
    "sklearn",
    "skl2onnx",
    "tuf",
    "cryptography",
    "securesystemslib",
    "cyclonedx",
    "edgeops.stages",
    "edgeops.pipeline",
    "edgeops.project",
    "edgeops.model",
    "edgeops.runtime",
}


def modules_after(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout)
    assert code == 0
    return set(modules)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_nothing_heavy_is_imported_by(argument):
    assert modules_after(argument) & HEAVY == set()


def test_version_imports_nothing_of_ours():
    modules = modules_after("--version")
    assert {name for name in modules if name.startswith(("edgeops", "typer"))} == {
        "edgeops",
        "edgeops.__main__",
    }


def test_help_imports_no_verb():
    modules = modules_after("--help")
    assert {name for name in modules if name.startswith("edgeops.commands.")} == {
        "edgeops.commands.options"
    }


@pytest.mark.parametrize("verb", ["convert", "run", "init", "publish"])
def test_help_of_a_verb_imports_no_engine_and_no_stage(verb):
    # Typer looks for pydantic as soon as a command is built.
    assert modules_after(verb, "--help") & (HEAVY - {"pydantic"}) == set()
