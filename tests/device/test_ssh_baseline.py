"""A baseline recorded here is replayed over ssh, and one recorded there is the same file."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from tests.device._sshd import needs_sshd
from tests.helpers import write_tiny_data
from tests.unit._bundles import make_variant

pytestmark = [needs_sshd, pytest.mark.slow]


def test_baseline_is_replayed_and_recorded_over_ssh(sshd, tmp_path, monkeypatch, capsys):
    # The lock that keeps measurements apart lies here, apart from those of other tests.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    make_variant(tmp_path / "v")
    make_variant(tmp_path / "other", seed=4)
    write_tiny_data(tmp_path / "e.npz", tmp_path / "v" / "model.onnx")
    device = ("--device", f"ssh:{sshd.address}")
    record = ("validate", "v", "--evaluation", "e.npz", "--samples", "8", "--record")
    assert main(["-C", str(tmp_path), *record, "here.zip"]) == 0
    assert main(["-C", str(tmp_path), *record, "there.zip", *device]) == 0
    assert (tmp_path / "here.zip").read_bytes() == (tmp_path / "there.zip").read_bytes()

    def replayed(variant):
        capsys.readouterr()
        argv = ["validate", variant, "--baseline", "here.zip", *device, "--json"]
        code = main(["-C", str(tmp_path), *argv])
        return code, json.loads(capsys.readouterr().out)

    code, result = replayed("v")
    assert (code, result["verdict"], result["cases"]) == (0, "pass", [])
    code, result = replayed("other")
    assert (code, result["error"]["code"]) == (11, "baseline-differs")
    assert (result["first"]["output"], result["first"]["sample"]) == ("probabilities", 0)
