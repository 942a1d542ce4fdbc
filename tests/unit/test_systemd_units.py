"""The units for devices: systemd takes them, and they may do little."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from edgeops.pipeline.init import template_root, templates
from edgeops.runtime.agent import cli

FOLDER = template_root() / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not here"
)


def _settings(name):
    lines = (FOLDER / name).read_text().splitlines()
    return {line for line in lines if "=" in line and not line.startswith("#")}


def test_there_is_one_that_updates_and_one_that_serves():
    assert UNITS == ["edgeops-agent.service", "edgeops-serve.service"]


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_it(name):
    done = subprocess.run(
        ["systemd-analyze", "verify", str(FOLDER / name)],  # noqa: S607 - the one on the path
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_it_may_do_little(name):
    settings = _settings(name)
    assert {
        "User=edgeops",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "SystemCallFilter=@system-service",
        "StateDirectory=edgeops",
    } <= settings


def test_the_one_that_serves_reaches_no_network():
    assert {"IPAddressDeny=any", "IPAddressAllow=localhost"} <= _settings("edgeops-serve.service")


def test_all_that_they_are_told_is_in_their_environment():
    texts = "".join((FOLDER / name).read_text() for name in UNITS)
    used = set(re.findall(r"\$\{(EDGEOPS_\w+)\}", texts))
    said = set(re.findall(r"^(EDGEOPS_\w+)=", (FOLDER / "agent.env").read_text(), re.MULTILINE))
    assert used == said


@pytest.mark.parametrize("name", UNITS)
def test_the_agent_takes_the_command(name):
    (line,) = re.findall(
        r"^ExecStart=/usr/bin/env edgeops-agent (.*)$", (FOLDER / name).read_text(), re.MULTILINE
    )
    assert cli.parser().parse_args(shlex.split(line)).home == "/var/lib/edgeops"


def test_no_folder_of_units_is_a_template_for_projects():
    assert "systemd" not in templates()
