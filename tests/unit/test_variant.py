"""variant.json: what is written is read back; what is not a variant is refused."""

from __future__ import annotations

import json

import pytest

from edgeops.core.variant import (
    Parity,
    TensorInfo,
    Variant,
    entries,
    read_variant,
    write_variant,
)
from edgeops.errors import InputError, TrustError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"weights")
    write_variant(tmp_path, _variant(tmp_path))
    return tmp_path


def _variant(folder):
    return Variant(
        engine="onnxruntime",
        engine_version="1.0",
        precision="int8",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", 4), "float32"),),
        outputs=(TensorInfo("y", (1, 3), "int64"),),
        source="sha256:" + "0" * 64,
        files=entries(folder),
        parity=Parity(8, 0.1, 0.1, 1.0, 0.99, 1.0, passed=True, data="calibration"),
        quantization={"scheme": "static"},
    )


def test_a_variant_is_read_back_as_written(folder):
    assert read_variant(folder) == _variant(folder)


def test_entries_leave_out_variant_json(folder):
    assert [entry.path for entry in entries(folder)] == ["model.onnx"]


def test_the_digest_is_that_of_sha256sum_lines(folder):
    import hashlib

    inner = hashlib.sha256(b"weights").hexdigest()
    line = f"{inner}  model.onnx\n".encode()
    assert read_variant(folder).digest == "sha256:" + hashlib.sha256(line).hexdigest()


def test_unknown_fields_are_passed_over_so_that_older_readers_go_on(folder):
    path = folder / "variant.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "new_in_future": 1}))
    assert read_variant(folder) == _variant(folder)


def test_a_changed_file_is_refused(folder):
    (folder / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(TrustError) as caught:
        read_variant(folder)
    assert caught.value.code == "digest-mismatch"


def test_a_missing_file_is_refused(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(TrustError):
        read_variant(folder)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "variant-missing"),
        ("", "variant-malformed"),
        ("{}", "variant-malformed"),
        ("[]", "variant-malformed"),
        ('{"format": "edgeops.variant/9"}', "variant-malformed"),
    ],
)
def test_what_is_no_variant_is_refused(tmp_path, content, code):
    if content is not None:
        (tmp_path / "variant.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_variant(tmp_path)
    assert caught.value.code == code


def test_a_path_that_leads_out_is_refused(folder):
    path = folder / "variant.json"
    document = json.loads(path.read_text())
    document["files"][0]["path"] = "../secret"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        read_variant(folder)
    assert caught.value.code == "path-outside"
