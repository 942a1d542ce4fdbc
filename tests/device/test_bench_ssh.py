"""``edgeops bench`` on a device over ssh, with a real sshd."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from tests.device._sshd import needs_sshd
from tests.helpers import write_tiny_model

pytestmark = [needs_sshd, pytest.mark.slow]


def test_two_variants_are_compared_on_the_device(way, sshd, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, hidden in (("old", 8), ("new", 40_000)):
        write_tiny_model(tmp_path / f"{name}.onnx", hidden=hidden)
        assert main(["convert", f"{name}.onnx", "--to", "onnxruntime", "-o", name]) == 0
    capsys.readouterr()
    address = f"ssh:{sshd.address}"
    code = main(
        ["bench", "new", "--against", "old", "--device", address, "--max-seconds", "20", "--json"]
    )
    result = json.loads(capsys.readouterr().out)
    assert (result["verdict"], code) in {("slower", 11), ("inconclusive", 12)}
    assert result["device"]["name"] == address
    assert result["latency_ms"]["p50"] > 0
    assert result["against"]["trials"]
    assert result["ratio"] is None or result["ratio"] > 2
    assert sshd.left() == []
