"""Measured over ssh as a person would: the verbs, a project, and the corpus's reference figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeops.cli import main
from tests.corpus_figures import FIGURES
from tests.device._proxy import Proxy
from tests.device._sshd import needs_sshd
from tests.helpers import build_tree, write_tiny_data, write_tiny_model

pytestmark = [needs_sshd, pytest.mark.slow]


def answered(capsys, folder, *argv):
    """Return exit code and JSON result of a verb."""
    capsys.readouterr()
    code = main(["-C", str(folder), *argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Convert a tiny classifier, and write the data that it gets all right."""
    folder = tmp_path / "work"
    folder.mkdir()
    # The lock that keeps measurements apart lies here, apart from those of other tests.
    monkeypatch.setenv("TMPDIR", str(folder))
    model = write_tiny_model(folder / "model.onnx")
    write_tiny_data(folder / "e.npz", model)
    assert main(["-C", str(folder), "convert", "model.onnx", "--to", "onnxruntime", "-o", "v"]) == 0
    return folder


VALIDATE = ("validate", "v", "--evaluation", "e.npz", "--source", "model.onnx", "--seconds", "0.3")


def test_validate_measures_on_the_device(way, sshd, tiny, capsys):
    device = f"ssh:{sshd.address}"
    gate = ("--gate", "accuracy>=1", "--gate", "agreement>=1")
    code, result = answered(capsys, tiny, *VALIDATE, "--device", device, *gate)
    assert code == 0
    assert result["metrics"]["accuracy"] == 1.0
    assert result["metrics"]["latency_p50_ms"] > 0
    assert result["device"]["where"] == device


def test_second_validate_of_an_unchanged_variant_sends_under_10_kB(way, sshd, tiny, capsys):  # noqa: N802 - the unit
    proxy = Proxy(sshd.port)
    known = Path.home() / ".ssh" / "known_hosts"
    key = sshd.host_line.split(" ", 1)[1]
    known.write_text(f"{known.read_text()}[127.0.0.1]:{proxy.port} {key}")
    sent = []
    try:
        for _ in range(2):
            before = proxy.sent
            device = f"ssh:127.0.0.1:{proxy.port}"
            code, _ = answered(capsys, tiny, *VALIDATE, "--device", device)
            assert code == 0
            sent.append(proxy.sent - before)
    finally:
        proxy.close()
    assert sent[1] < 10_000, sent


PROJECT = """
project: tiny
version: 1.0.0
model: model.onnx
data: {{evaluation: e.npz}}
targets:
  here: {{engine: onnxruntime, device: local}}
  there: {{engine: onnxruntime, device: "ssh:{address}"}}
stages:
  convert: {{}}
  validate: {{metric: accuracy, gates: {{accuracy: ">= 1"}}, seconds: 0.3}}
"""


def test_a_project_has_targets_here_and_there(way, sshd, tiny, capsys, monkeypatch):
    build_tree(tiny, {"edgeops.yaml": PROJECT.format(address=sshd.address)})
    code, result = answered(capsys, tiny, "run")
    assert code == 0, result
    found = json.loads((tiny / "reports" / "there" / "evidence.json").read_text())
    assert found["device"]["where"] == f"ssh:{sshd.address}"


def test_targets_probe_asks_all_and_ends_with_none(way, sshd, tiny, capsys):
    text = PROJECT.format(address=sshd.address).replace(
        "stages:", "  gone: {engine: onnxruntime, device: 'ssh:no-such-device.invalid'}\nstages:"
    )
    build_tree(tiny, {"edgeops.yaml": text})
    code, result = answered(capsys, tiny, "targets", "--probe")
    assert code == 0
    rows = {row["name"]: row for row in result["targets"]}
    assert rows["here"]["probe"]["cores"] == rows["there"]["probe"]["cores"]
    assert rows["there"]["probe"]["engines"]["onnxruntime"]["version"]
    assert rows["there"]["missing"] == []
    assert rows["gone"]["unreachable"]["code"] == "device-unreachable"
    assert "probe" not in rows["gone"]
    assert main(["-C", str(tiny), "targets", "--probe"]) == 0
    out = capsys.readouterr().out
    assert "unreachable: the device no-such-device.invalid cannot be reached" in out


def test_what_the_device_lacks_is_in_its_row(way, sshd, tiny, capsys):
    sshd.bare_python()
    build_tree(tiny, {"edgeops.yaml": PROJECT.format(address=sshd.address)})
    _, result = answered(capsys, tiny, "targets", "--probe")
    missing = result["targets"][1]["missing"]
    line = f"ssh -p {sshd.port} {sshd.address.split(':')[0]} python3 -m pip install onnxruntime"
    assert any(line in text for text in missing)
    assert any("numpy" in text for text in missing)


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_corpus_keeps_its_figures_on_the_device(entry, corpus, sshd, tmp_path, capsys):
    folder = tmp_path / "work"
    folder.mkdir()
    entry.lay(corpus, folder)
    assert main(["-C", str(folder), *entry.convert]) == 0
    device = ("--device", f"ssh:{sshd.address}")
    code, result = answered(capsys, folder, *entry.validate, *device)
    assert code == 0
    entry.holds(corpus, result)
    assert result["device"]["name"] == "ssh"


def test_devices_that_do_not_answer_are_found_before_time_is_spent(way, sshd, tiny, capsys):
    gone = PROJECT.format(address="no-such-device.invalid")
    build_tree(tiny, {"edgeops.yaml": gone})
    code, result = answered(capsys, tiny, "run", "--dry-run")
    assert code == 30
    assert [finding["code"] for finding in result["findings"]] == ["device-unreachable"]
    assert result["findings"][0]["where"].startswith("edgeops.yaml:7:")
    sshd.bare_python()
    build_tree(tiny, {"edgeops.yaml": PROJECT.format(address=sshd.address)})
    code, result = answered(capsys, tiny, "run")
    assert code == 4
    assert [finding["code"] for finding in result["findings"]] == ["numpy-missing"]
    assert not (tiny / "build").exists()
