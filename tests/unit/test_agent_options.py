"""Every verb of the agent takes the options that all of them have, here and in edgeops-agent."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from edgeops.runtime.agent import cli

COMMON = {
    "--repo": "repo",
    "--root": "root.json",
    "--home": "home",
    "--channel": "stable",
    "--target": "gateway",
    "--device-id": "device-1",
}
WORDS = [word for pair in COMMON.items() for word in pair]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_agent_takes_them(verb):
    given = vars(cli.parser().parse_args([verb, *WORDS, "--json"]))
    assert {f"--{name.replace('_', '-')}": given[name] for name in ("home", "device_id")} == {
        "--home": "home",
        "--device-id": "device-1",
    }


@pytest.mark.parametrize("verb", ["update", "status", "rollback"])
def test_edgeops_takes_them(tmp_path, capsys, verb):
    code = main(["-C", str(tmp_path), "agent", verb, *WORDS, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code in {3, 30}
    assert document["error"]["code"] in {"home-missing", "root-missing", "repository-unreachable"}
