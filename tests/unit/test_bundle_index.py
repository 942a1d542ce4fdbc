"""targets.json: what each target needs of a device, and that it follows from what is packed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgeops.core.gates import Figure
from edgeops.core.manifest import INDEX
from edgeops.core.targets import (
    TargetNeeds,
    architecture,
    encode_targets,
    fits,
    new_enough,
    parse_targets,
)
from edgeops.errors import InputError, TrustError
from edgeops.package.bundle import open_bundle
from edgeops.package.index import needs_of
from edgeops.package.inspect import inspect_bundle
from edgeops.package.opset import onnx_opset
from edgeops.package.verify import verify_bundle
from edgeops.views.inspect import view
from tests.unit._bundles import FEATURES, make_bundle, make_evidence, make_variant, pack_full

NEEDS = TargetNeeds(
    engine="onnxruntime",
    engine_version="1.20.1",
    precision="int8",
    bytes=1000,
    digest="sha256:" + "0" * 64,
    architectures=("aarch64",),
    opset=17,
    memory_mb=120.5,
)
DEVICE = {
    "arch": "arm64",
    "memory_mb": 512.0,
    "engine": "onnxruntime",
    "engine_version": "1.20.1",
    "opset": 21,
}


def test_index_says_what_is_packed(tmp_path):
    about = inspect_bundle(pack_full(tmp_path))
    assert about["targets"]["gateway"]["needs"] == {
        "engine": "onnxruntime",
        "engine_version": "1.20.0",
        "precision": "fp32",
        "bytes": about["targets"]["gateway"]["bytes"],
        "digest": about["targets"]["gateway"]["digest"],
        "architectures": ["aarch64"],
        "opset": 17,
        "memory_mb": 40.97,
        "uses": ["camera"],
    }
    camera = about["targets"]["camera"]["needs"]
    assert (camera["architectures"], camera["uses"]) == (None, [])


def test_memory_is_the_measured_peak(tmp_path):
    variant = make_variant(tmp_path / "v")
    figures = {"accuracy": Figure(0.97), "peak_rss_mb": Figure(101.23456, None, "MB")}
    measured = make_evidence(tmp_path / "e.json", variant, figures=figures)
    given = {"opsets": {}, "wheels": {}, "asked": ()}
    made = needs_of({"a": variant, "b": variant}, {"a": measured}, **given)
    assert (made["a"].memory_mb, made["b"].memory_mb) == (101.235, None)


def test_index_goes_round():
    targets = {"camera": replace(NEEDS, uses=("gateway",)), "gateway": NEEDS}
    assert parse_targets(encode_targets(targets), "t") == targets


@pytest.mark.parametrize(
    "change",
    [
        {"format": "edgeops.targets/2"},
        {"more": 1},
        {"targets": {"../evil": NEEDS.to_json()}},
        {"targets": {"a": {**NEEDS.to_json(), "digest": "sha256:0"}}},
        {"targets": {"a": {**NEEDS.to_json(), "bytes": -1}}},
        {"targets": {"a": {**NEEDS.to_json(), "bytes": True}}},
        {"targets": {"a": {**NEEDS.to_json(), "opset": "17"}}},
        {"targets": {"a": {**NEEDS.to_json(), "memory_mb": -0.5}}},
        {"targets": {"a": {**NEEDS.to_json(), "architectures": "arm64"}}},
        {"targets": {"a": {**NEEDS.to_json(), "uses": ["b"]}}},
        {"targets": {"a": {**NEEDS.to_json(), "more": 1}}},
        {"targets": {"a": {"engine": "mnn"}}},
        {"targets": []},
    ],
)
def test_index_that_is_not_of_the_format_is_refused(change):
    document = {"format": "edgeops.targets/1", "targets": {"a": NEEDS.to_json()}, **change}
    data = json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
    with pytest.raises(TrustError) as caught:
        parse_targets(data, "t")
    assert caught.value.code == "bundle-malformed"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 5000, b"\xff"])
def test_index_that_is_no_document_is_refused(data):
    with pytest.raises(TrustError):
        parse_targets(data, "t")


def test_a_device_that_has_all_fits():
    assert fits(NEEDS, DEVICE) is None
    assert fits(NEEDS, {"engine": "onnxruntime", "engine_version": "1.21"}) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"arch": "x86_64"}, "device-architecture"),
        ({"arch": "armv7l"}, "device-architecture"),
        ({"memory_mb": 100}, "device-memory"),
        ({"engine": "mnn"}, "device-engine"),
        ({"engine": None}, "device-engine"),
        ({"engine_version": ""}, "device-engine"),
        ({"engine_version": "1.20.0"}, "device-engine-version"),
        ({"engine_version": "2.0"}, "device-engine-version"),
        ({"opset": 13}, "device-opset"),
    ],
)
def test_a_device_that_lacks_something_is_told_what(change, code):
    found = fits(NEEDS, {**DEVICE, **change})
    assert found.code == code
    assert found.what
    assert found.why
    assert found.fix


def test_any_architecture_and_unmeasured_memory_are_no_reason_to_refuse():
    free = replace(NEEDS, architectures=None, memory_mb=None, opset=None)
    assert fits(free, {**DEVICE, "arch": "sparc", "memory_mb": 1, "opset": 1}) is None


@pytest.mark.parametrize(
    ("has", "wanted", "expected"),
    [
        ("1.20.1", "1.20.1", True),
        ("1.32.0", "1.20.1", True),
        ("1.9", "1.20", False),
        ("2.0", "1.20", False),
        ("0.9", "1.0", False),
        ("3.6.1", "3.6", True),
        ("1.0.20261020", "1.0.20250503", True),
        ("1.20.1rc1", "1.20.1", True),
        ("nightly", "nightly", True),
        ("nightly", "1.0", False),
    ],
)
def test_an_engine_runs_what_an_older_one_of_its_major_version_made(has, wanted, expected):
    assert new_enough(has, wanted) is expected


@pytest.mark.parametrize(
    ("machine", "name"),
    [("aarch64", "aarch64"), ("arm64", "aarch64"), ("AMD64", "x86_64"), ("i586", "i686")],
)
def test_an_architecture_has_one_name(machine, name):
    assert architecture(machine) == name


def _packed_with(tmp_path, name, data):
    """Pack the full bundle with another file in the place of one that pack makes."""
    from edgeops.package import pack as room
    from edgeops.package.layout import Part

    real = room.write_bundle

    def write(out, title, version, parts, **given):
        changed = [replace(part, source=data) if part.path == name else part for part in parts]
        assert any(isinstance(part, Part) and part.path == name for part in parts)
        return real(out, title, version, changed, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "write_bundle", write)
        return pack_full(tmp_path)


def test_verify_refuses_an_index_that_does_not_follow(tmp_path):
    with open_bundle(pack_full(tmp_path)) as bundle:
        layer = bundle.manifest.find(INDEX)
        targets = parse_targets(bundle.read(layer.blob, 1 << 20), "t")
    for change in ({"memory_mb": 1.0}, {"opset": 9}, {"architectures": None}, {"uses": ()}):
        targets["gateway"] = replace(targets["gateway"], **change)
        wrong = _packed_with(tmp_path, INDEX, encode_targets(targets))
        with pytest.raises(TrustError) as caught:
            verify_bundle(wrong)
        assert caught.value.code == "bundle-malformed"
        assert "gateway" in caught.value.why


@pytest.mark.parametrize("name", ["features.json", "rules.json"])
def test_verify_refuses_compiled_documents_that_people_do_not_see(tmp_path, name):
    with open_bundle(pack_full(tmp_path)) as bundle:
        document = json.loads(bundle.read(bundle.manifest.find(name).blob, 1 << 20))
    document["rules" if name == "rules.json" else "inputs"] = {}
    wrong = _packed_with(tmp_path, name, json.dumps(document).encode())
    with pytest.raises(TrustError) as caught:
        verify_bundle(wrong)
    assert caught.value.code == "bundle-malformed"
    assert name in caught.value.why


def test_a_bundle_from_before_the_index_is_verified_as_it_was(tmp_path):
    from edgeops.package import pack as room

    real = room.write_bundle

    def write(out, title, version, parts, **given):
        return real(out, title, version, [p for p in parts if p.path != INDEX], **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "write_bundle", write)
        bundle = make_bundle(tmp_path)
    assert verify_bundle(bundle)["verified"] is True


def test_rules_that_combine_a_target_which_is_not_there_are_refused(tmp_path):
    from edgeops.core.events import Silence
    from edgeops.package.pack import pack_files
    from tests.unit._bundles import full_contents

    contents = full_contents(tmp_path)
    lone = replace(contents, folders={"gateway": tmp_path / "gateway"}, evidence={}, wheels={})
    with pytest.raises(InputError) as caught:
        pack_files(lone, tmp_path / "x", sign=None, events=Silence())
    assert caught.value.code == "rules-target-missing"
    assert "camera" in caught.value.what


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (FEATURES.replace("features/1", "features/9"), "features-malformed"),
        ("inputs: [", "yaml-syntax"),
        ("- a list", "document-unreadable"),
        (b"\xff\xfe", "document-unreadable"),
    ],
)
def test_a_document_that_a_device_could_not_read_is_not_packed(tmp_path, text, code):
    from edgeops.package.include import compiled

    path = tmp_path / "features.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        compiled({"features.yaml": path})
    assert caught.value.code == code
    assert caught.value.where.startswith("features.yaml")


def test_a_document_is_compiled_to_one_form(tmp_path):
    from edgeops.package.include import compiled

    (tmp_path / "a").write_text(FEATURES)
    (tmp_path / "b").write_text("# a comment\n" + FEATURES.replace("[4]", "[ 4, ]"))
    (one,), _ = compiled({"spec/features.yaml": tmp_path / "a"})
    (two,), _ = compiled({"spec/features.yaml": tmp_path / "b"})
    assert one.path == "spec/features.json"
    assert one.source == two.source


def test_opset_is_read_without_the_graph(tmp_path):
    import onnx
    from onnx import helper

    for opsets, expected in (
        ([("", 17)], 17),
        ([("com.example", 1), ("", 21)], 21),
        ([("com.example", 1)], None),
        ([("ai.onnx", 13)], 13),
    ):
        graph = helper.make_graph([], "g", [], [])
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=imports), path)
        padded = b"before" + path.read_bytes() + b"behind"
        path.write_bytes(padded)
        with path.open("rb") as file:
            assert onnx_opset(file, 6, len(padded) - 12) == expected


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\x42\x7f", b"\x42\x02\x08", b"no model"])
def test_opset_of_what_is_no_model_is_unknown(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert onnx_opset(file, 0, len(data)) is None


def test_inspect_shows_a_line_for_each_target_and_file(tmp_path):
    about = inspect_bundle(pack_full(tmp_path))
    lines = list(view(about))
    first = next(iter(about["targets"]))
    assert any(line.startswith(f"targets     {first}: ") and " bytes" in line for line in lines)
    assert any(line.endswith("needs aarch64, opset 17, 40.97 MB") for line in lines)
    for item in about["layers"]:
        assert [
            line for line in lines if f" {item['path']} " in line and item["digest"][:19] in line
        ]
    assert not any("{" in line for line in lines)
