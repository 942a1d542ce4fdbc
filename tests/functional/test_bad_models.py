"""Every bad model gets its own error: code, place, cause and cure, through main(argv)."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import onnx
import pytest

from edgeops.cli import main
from tests.functional import _bad_models as bad
from tests.helpers import write_tiny_model


def _empty(path):
    path.write_bytes(b"")


def _truncated(path):
    write_tiny_model(path)
    path.write_bytes(path.read_bytes()[:-120])


def _text(path):
    path.write_text("a model, honestly\n")


def _folder(path):
    path.mkdir()


def _missing(path):
    pass


def _lfs(path):
    path.write_bytes(bad.LFS)


def _tflite(path):
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 64)


def _pickle(path):
    path.write_bytes(b"\x80\x04\x95\x10\x00\x00\x00")


def _zip(path):
    path.write_bytes(b"PK\x03\x04" + b"\x00" * 64)


def _future_opset(path):
    bad.changed(path, lambda proto: setattr(proto.opset_import[0], "version", 999))


def _future_ir(path):
    bad.changed(path, lambda proto: setattr(proto, "ir_version", 999))


def _nan(path):
    bad.changed(path, lambda proto: bad.weight(proto, 0, np.nan))


def _inf(path):
    bad.changed(path, lambda proto: bad.weight(proto, 2, np.inf))


def _duplicate(path):
    bad.changed(path, lambda proto: proto.graph.node.append(proto.graph.node[0]))


def _unknown_operator(path):
    bad.changed(path, lambda proto: setattr(proto.graph.node[1], "op_type", "Rely"))


def _external_missing(path):
    bad.external(path, "weights.bin")


def _external_absolute(path):
    bad.external(path, "/etc/hostname")


def _external_parent(path):
    (path.parent.parent / "outside.bin").write_bytes(b"\x00" * 4096)
    bad.external(path, "../outside.bin")


def _external_link(path):
    outside = path.parent.parent / "outside.bin"
    outside.write_bytes(b"\x00" * 4096)
    (path.parent / "link.bin").symlink_to(outside)
    bad.external(path, "link.bin")


def _external_short(path):
    (path.parent / "weights.bin").write_bytes(b"\x00" * 16)
    bad.external(path, "weights.bin")


def _external_range(path):
    (path.parent / "weights.bin").write_bytes(b"\x00" * 4096)
    bad.external(path, "weights.bin", length=999)


INPUT = {
    "model-missing": (_missing, "model-missing"),
    "model-folder": (_folder, "model-not-a-file"),
    "model-empty": (_empty, "model-empty"),
    "model-truncated": (_truncated, "model-truncated"),
    "model-text": (_text, "model-malformed"),
    "model-lfs-pointer": (_lfs, "model-lfs-pointer"),
    "model-pickle": (_pickle, "model-format"),
    "model-zip": (_zip, "model-format"),
    "model-opset-future": (_future_opset, "model-opset-future"),
    "model-ir-future": (_future_ir, "model-ir-future"),
    "model-weights-nan": (_nan, "model-weights-nan"),
    "model-weights-inf": (_inf, "model-weights-inf"),
    "model-duplicate": (_duplicate, "model-invalid"),
    "model-unknown-operator": (_unknown_operator, "model-invalid"),
    "model-external-missing": (_external_missing, "external-missing"),
    "model-external-absolute": (_external_absolute, "external-outside"),
    "model-external-parent": (_external_parent, "external-outside"),
    "model-external-link": (_external_link, "external-outside"),
    "model-external-short": (_external_short, "external-truncated"),
    "model-external-range": (_external_range, "external-malformed"),
}


def _versionless(text):
    text = re.sub(r"onnx \d[\w.]*", "onnx <version>", text)
    return re.sub(r"(up to(?: IR version)?) \d+", r"\1 <newest>", text)


@pytest.mark.parametrize("case", INPUT)
def test_bad_model_is_refused_with_its_own_code(case, tmp_path, capsys, golden):
    make, code = INPUT[case]
    folder = tmp_path / "models"
    folder.mkdir()
    make(folder / "model.onnx")

    exit_code = main(["-C", str(folder), "convert", "model.onnx", "--to", "onnxruntime", "-o", "v"])

    text = capsys.readouterr().err
    assert exit_code == 3
    assert f"[{code}]" in text
    assert not (folder / "v").exists()
    golden(f"errors/{case}.txt", _versionless(text))


def test_file_of_another_kind_is_refused_by_the_engine_with_those_that_take_it(
    tmp_path, capsys, golden
):
    _tflite(tmp_path / "model.onnx")
    assert main(["-C", str(tmp_path), "convert", "model.onnx", "--to", "onnxruntime"]) == 5
    text = capsys.readouterr().err
    assert "[source-unsupported]" in text
    golden("errors/model-tflite.txt", re.sub(r"--to .*", "--to <engines>", text))


@pytest.mark.parametrize("verb", [["inspect"], ["check", "--to", "onnxruntime"]])
def test_other_verbs_refuse_a_truncated_model_as_convert_does(verb, tmp_path, capsys):
    _truncated(tmp_path / "model.onnx")
    assert main(["-C", str(tmp_path), verb[0], "model.onnx", *verb[1:], "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "model-truncated"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_model_is_refused(tmp_path, capsys):
    path = write_tiny_model(tmp_path / "model.onnx")
    path.chmod(0)
    assert main(["inspect", str(path)]) == 3
    assert "[model-unreadable]" in capsys.readouterr().err


def test_every_cut_of_a_model_is_refused_as_input(tmp_path, capsys):
    whole = write_tiny_model(tmp_path / "whole.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(1, len(whole), 7):
        cut.write_bytes(whole[:length])
        assert main(["inspect", str(cut)]) == 3, length
        assert "[bug]" not in capsys.readouterr().err


def test_custom_operator_is_refused_by_the_engine_not_by_loading(tmp_path, capsys, golden):
    bad.custom_operator(tmp_path / "model.onnx")
    assert main(["inspect", str(tmp_path / "model.onnx")]) == 0
    capsys.readouterr()

    argv = ["-C", str(tmp_path), "check", "model.onnx", "--to", "onnxruntime"]
    assert main(argv) == 5
    golden("errors/model-custom-operator.txt", capsys.readouterr().err)

    assert main([*argv, "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["supported"] is False
    assert document["findings"][0]["node"] == "magic"
    assert document["findings"][0]["op"] == "com.acme:MagicScale"


def test_external_data_outside_is_refused_before_a_byte_of_it_is_read(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\x00" * 4096)
    bad.external(folder / "model.onnx", "../secret.bin")
    opened = []
    real = type(secret).open

    def spy(self, *args, **kwargs):
        opened.append(self.name)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(secret), "open", spy)
    assert main(["inspect", str(folder / "model.onnx")]) == 3
    assert "model.onnx" in opened
    assert "secret.bin" not in opened


def test_external_data_inside_converts_and_counts_into_the_digest(tmp_path, capsys):
    path = write_tiny_model(tmp_path / "model.onnx")
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert main(["inspect", str(path), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)["digest"]
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x3e")
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] != before
    assert main(["convert", str(path), "--to", "onnxruntime", "-o", str(tmp_path / "v")]) == 0
    assert [p.name for p in sorted((tmp_path / "v").iterdir())] == ["model.onnx", "variant.json"]
