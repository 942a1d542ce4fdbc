"""README.md: its walk is executed and shows what really comes out; its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.cli import main
from edgeops.commands import VERBS
from edgeops.pipeline.explain import EXITS

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOME = "/home/you"


def walk(text, folder):
    """Return the README with the output of every command replaced by what it prints now."""
    where = {"folder": folder}

    def execute(block):
        out = []
        for line in block[1].splitlines():
            if line.startswith("$ "):
                out += [line, *_output(line[2:], where)]
        return "```console\n" + "\n".join(out) + "\n```"

    return BLOCK.sub(execute, text).replace(str(folder), HOME)


def _output(command, where):
    if command.startswith("cd "):
        where["folder"] = where["folder"] / command[3:]
        return []
    done = subprocess.run(
        ["bash", "-c", command],  # noqa: S607 - a reader's shell
        cwd=where["folder"],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    return [line.rstrip() for line in done.stdout.splitlines()]


def shape(text):
    """Return the text without what differs between runs: figures, digests, the width of columns."""
    text = re.sub(r"sha256:[0-9a-f]+", "sha256:H", text)
    text = re.sub(r"\d[\d.,]*", "0", text)
    return re.sub(r"[ -]+", " ", text)


@pytest.mark.slow
def test_readme_walk_shows_what_comes_out(tmp_path, request):
    text = README.read_text()
    now = walk(text, tmp_path)
    if request.config.getoption("--update-golden"):
        README.write_text(now)
    assert shape(now) == shape(README.read_text())


def test_readme_lists_every_verb_and_exit_code():
    text = README.read_text()
    rows = [
        re.findall(r"`([a-z]+)`", row)
        for row in re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", text, re.MULTILINE)
    ]
    assert {verb for row in rows for verb in row} == set(VERBS)
    listed = dict(re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE))
    assert {int(code): meaning for code, meaning in listed.items()} == {
        int(code): meaning for code, meaning in EXITS.items()
    }


def test_readme_options_exist(capsys):
    """Every option that the README names for a verb stands in the verb's help."""
    lines = re.findall(r"^(?:    |\$ )edgeops ([a-z]+)(.*)$", README.read_text(), re.MULTILINE)
    assert len(lines) >= 8
    for verb, rest in lines:
        assert main([verb, "--help"]) == 0
        text = capsys.readouterr().out
        for option in re.findall(r"(?<= )--?[a-z-]+", rest.partition("#")[0].partition("|")[0]):
            if not rest.startswith(" > "):
                assert option in text, f"{verb} has no {option}"


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        if "://" not in target:
            assert (README.parent / target).exists(), target
