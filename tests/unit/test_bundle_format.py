"""The bundle as a file: one form, the same bytes everywhere, nothing in it taken on trust."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from edgeops.core.events import Silence
from edgeops.core.manifest import parse_manifest
from edgeops.errors import InputError, TrustError
from edgeops.package import layout, tar
from edgeops.package.bundle import is_bundle, open_bundle
from edgeops.package.inspect import inspect_bundle
from edgeops.package.layout import Part, kind_of
from edgeops.package.pack import Contents, pack_files
from edgeops.package.write import write_bundle
from tests.unit._bundles import make_bundle, make_evidence, make_variant

CHECKOUT = Path(__file__).resolve().parents[2]


def test_bundle_is_an_oci_layout_that_tar_can_read(tmp_path):
    bundle = make_bundle(tmp_path)
    with tarfile.open(bundle) as file:
        names = file.getnames()
        assert all((item.mode, item.mtime, item.uid) == (0o644, 0, 0) for item in file)
        index = json.load(file.extractfile("index.json"))
        [entry] = index["manifests"]
        blob = file.extractfile("blobs/sha256/" + entry["digest"][7:]).read()
    manifest = json.loads(blob)
    assert names[0] == "oci-layout"
    assert names[-1] == "index.json"
    assert hashlib.sha256(blob).hexdigest() == entry["digest"][7:]
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    layers = {item["annotations"]["org.cncf.model.filepath"]: item for item in manifest["layers"]}
    weights = layers["variants/gateway/model.onnx"]
    assert weights["mediaType"] == "application/vnd.cncf.model.weight.v1.raw"
    assert weights["annotations"]["dev.edgeops.kind"] == "variant"
    assert weights["annotations"]["dev.edgeops.target"] == "gateway"
    assert list(layers) == [
        "card.md",
        "evidence/gateway.json",
        "labels.txt",
        "sbom.cdx.json",
        "targets.json",
        "variants/gateway/model.onnx",
        "variants/gateway/variant.json",
    ]


def test_a_folder_does_not_make_way_for_a_bundle(tmp_path):
    (tmp_path / "there").mkdir()
    contents = Contents("x", "1", {"t": tmp_path / "t"}, {}, {})
    make_variant(tmp_path / "t")
    with pytest.raises(InputError) as caught:
        pack_files(contents, tmp_path / "there", sign=None, events=Silence())
    assert caught.value.code == "bundle-is-folder"
    assert [path.name for path in tmp_path.iterdir() if path.name != "t"] == ["there"]


def test_bundle_keeps_weights_raw(tmp_path):
    bundle = make_bundle(tmp_path)
    assert (tmp_path / "gateway" / "model.onnx").read_bytes() in bundle.read_bytes()


def test_bundle_holds_equal_files_once(tmp_path):
    parts = [Part(name, "code", b"the same") for name in ("a.py", "b.py")]
    written = write_bundle(tmp_path / "x.edgeops", "x", "1", parts, variants={})
    with open_bundle(written.path) as bundle:
        assert [item.path for item in bundle.manifest.layers] == ["a.py", "b.py"]
    assert written.path.read_bytes().count(b"the same") == 1


_PACK_AGAIN = """
import locale, os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
locale.setlocale(locale.LC_ALL, "")
sys.path.insert(0, sys.argv[3])
from tests.unit._bundles import make_bundle
print(make_bundle(Path(sys.argv[1])).read_bytes().hex())
"""


def test_bundle_is_the_same_from_another_folder_umask_zone_and_locale(tmp_path):
    first = make_bundle(tmp_path / "one").read_bytes()
    place = tmp_path / "a longer folder name, elsewhere"
    answer = subprocess.run(
        [sys.executable, "-c", _PACK_AGAIN, str(place), "077", str(CHECKOUT)],
        cwd=tmp_path,
        env={**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert bytes.fromhex(answer.stdout.strip()) == first


def test_bundle_is_the_same_when_files_are_touched_and_packed_twice(tmp_path):
    first = make_bundle(tmp_path).read_bytes()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            os.utime(path, (1, 1))
    (tmp_path / "tiny-1.0.0.edgeops").unlink()
    assert make_bundle(tmp_path).read_bytes() == first


def test_bundle_does_not_depend_on_the_order_of_its_contents(tmp_path):
    variants = {name: make_variant(tmp_path / name, seed=i) for i, name in enumerate("ba")}
    for name, variant in variants.items():
        make_evidence(tmp_path / f"{name}.json", variant, target=name)
    files = [
        pack_files(
            Contents(
                "two",
                "1.0.0",
                {name: tmp_path / name for name in order},
                {name: tmp_path / f"{name}.json" for name in order},
                {},
            ),
            tmp_path / f"{order}.edgeops",
            sign=None,
            events=Silence(),
        ).path.read_bytes()
        for order in ("ab", "ba")
    ]
    assert files[0] == files[1]


def test_bundle_that_cannot_be_packed_leaves_the_old_one(tmp_path):
    bundle = make_bundle(tmp_path)
    before = bundle.read_bytes()
    (tmp_path / "gateway" / "model.onnx").write_bytes(b"another")
    contents = Contents("tiny", "1.0.0", {"gateway": tmp_path / "gateway"}, {}, {})
    with pytest.raises(TrustError) as caught:
        pack_files(contents, bundle, sign=None, events=Silence())
    assert caught.value.code == "digest-mismatch"
    assert bundle.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_writer_refuses_a_source_of_another_size():
    with pytest.raises(ValueError, match="had 5 bytes and then 3"):
        tar.Writer(io.BytesIO()).blob(io.BytesIO(b"abc"), 5)
    with pytest.raises(ValueError, match="something is writing"):
        tar.Writer(io.BytesIO()).blob(io.BytesIO(b"abcdef"), 5)


def test_header_of_a_large_member_is_read_back():
    size = 9 << 30
    whole = tar.header("blobs/sha256/" + "a" * 64, size)
    assert len(whole) == 3 * tar.BLOCK

    class Sparse(io.BytesIO):
        """The header of nine gigabytes and its end, with nothing in between."""

        def read(self, count=-1):
            if self.tell() < len(whole):
                return super().read(count)
            return bytes(count)

    total = len(whole) + size + len(tar.END)
    found = list(tar.members(Sparse(whole), total, "large"))
    assert found == [("blobs/sha256/" + "a" * 64, len(whole), size)]


def _refusal(path):
    with pytest.raises((InputError, TrustError)) as caught, open_bundle(path):
        pass
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "not-a-bundle"), (b"PK\3\4" * 600, "not-a-bundle"), (b"\0" * 4096, "not-a-bundle")],
)
def test_open_refuses_what_is_no_bundle(tmp_path, data, code):
    path = tmp_path / "x.edgeops"
    path.write_bytes(data)
    assert _refusal(path) == code
    assert not is_bundle(path)


def test_open_refuses_a_missing_file_and_a_folder(tmp_path):
    assert _refusal(tmp_path / "nowhere.edgeops") == "bundle-missing"
    assert _refusal(tmp_path) == "bundle-missing"
    (tmp_path / "t.edgeops").touch()
    with pytest.raises(InputError) as caught, open_bundle(tmp_path):
        pass
    assert caught.value.fix == f"name a file in it, such as {tmp_path / 't.edgeops'}"


@pytest.mark.parametrize("keep", [600, 1024, 5000, -1, -512, -1024])
def test_open_refuses_a_truncated_bundle(tmp_path, keep):
    bundle = make_bundle(tmp_path)
    bundle.write_bytes(bundle.read_bytes()[:keep])
    assert _refusal(bundle) == "bundle-truncated"


def test_open_refuses_bytes_behind_the_end(tmp_path):
    bundle = make_bundle(tmp_path)
    bundle.write_bytes(bundle.read_bytes() + bytes(512))
    assert _refusal(bundle) == "bundle-malformed"


def _rewrite(bundle, change):
    """Pack the members of a bundle again with tarfile, as somebody else could."""
    with tarfile.open(bundle) as file:
        members = [(item.name, file.extractfile(item).read()) for item in file]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for info, data in change(members):
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    packed = out.getvalue().rstrip(b"\0")
    bundle.write_bytes(packed + bytes(-len(packed) % 512) + bytes(1024))


def _plain(members):
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        yield info, data


def test_rewriting_a_bundle_unchanged_gives_the_same_bytes(tmp_path):
    bundle = make_bundle(tmp_path)
    before = bundle.read_bytes()
    _rewrite(bundle, _plain)
    assert bundle.read_bytes() == before


def test_open_refuses_a_link(tmp_path):
    def add_link(members):
        yield from _plain(members)
        link = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, "/etc/passwd", 0o644
        yield link, b""

    bundle = make_bundle(tmp_path)
    _rewrite(bundle, add_link)
    assert _refusal(bundle) == "bundle-malformed"


@pytest.mark.parametrize("name", ["blobs/sha256/../../evil", "/etc/evil", "evil", "index.json"])
def test_open_refuses_a_member_of_another_name(tmp_path, name):
    bundle = make_bundle(tmp_path)
    _rewrite(bundle, lambda members: _plain([*members, (name, b"evil")]))
    assert _refusal(bundle) == "bundle-malformed"


def test_open_refuses_a_blob_that_nothing_names(tmp_path):
    bundle = make_bundle(tmp_path)
    name = "blobs/sha256/" + hashlib.sha256(b"smuggled").hexdigest()
    _rewrite(bundle, lambda members: _plain([*members, (name, b"smuggled")]))
    assert _refusal(bundle) == "bundle-malformed"


def test_open_refuses_weights_of_the_same_length(tmp_path):
    bundle = make_bundle(tmp_path)
    weights = (tmp_path / "gateway" / "model.onnx").read_bytes()
    bundle.write_bytes(bundle.read_bytes().replace(weights, bytes(len(weights))))
    assert _refusal(bundle) == "digest-mismatch"


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "a\\b", "C:evil", ""]
)
def test_manifest_refuses_a_path_that_leads_outside(tmp_path, path):
    with pytest.raises(TrustError) as caught:
        write_bundle(tmp_path / "x.edgeops", "x", "1", [Part(path, "code", b"")], variants={})
    assert caught.value.code == "bundle-path-outside"
    assert caught.value.exit_code == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a/b"),
        ("a", "A"),
        ("a", "a"),
        ("bundle.json", "c"),
        ("variants/other/x", "c"),
    ],
)
def test_manifest_refuses_files_that_collide(tmp_path, paths):
    parts = [Part(path, "code", path.encode()) for path in paths]
    with pytest.raises(TrustError) as caught:
        write_bundle(tmp_path / "x.edgeops", "x", "1", parts, variants={})
    assert caught.value.code == "bundle-malformed"


def test_manifest_has_one_form(tmp_path):
    with open_bundle(make_bundle(tmp_path)) as bundle:
        data = bundle.manifest_bytes
    assert parse_manifest(data, "m").encode() == data
    for other in (data[:-1], data.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')):
        with pytest.raises(TrustError) as caught:
            parse_manifest(other, "m")
        assert caught.value.code == "bundle-malformed"


def test_config_names_format_precision_and_layers(tmp_path):
    with open_bundle(make_bundle(tmp_path)) as bundle:
        config = json.loads(bundle.read(bundle.manifest.config, 1 << 20))
        digests = [item.blob.digest for item in bundle.manifest.layers]
    assert config == {
        "descriptor": {"name": "tiny", "version": "1.0.0"},
        "modelfs": {"type": "layers", "diffIds": digests},
        "config": {"format": "onnx", "precision": "fp32"},
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("features.yaml", "features"),
        ("spec/rules.yaml", "rules"),
        ("labels.txt", "labels"),
        ("README.md", "doc"),
        ("demo/main.c", "code"),
    ],
)
def test_kind_follows_the_name(name, kind):
    assert kind_of(name) == kind


def test_inspect_says_what_is_inside(tmp_path):
    bundle = make_bundle(tmp_path)
    about = inspect_bundle(bundle)
    assert about["format"] == "edgeops bundle"
    assert about["bytes"] == bundle.stat().st_size
    assert about["signed"] is False
    assert about["inputs"] == [{"name": "x", "shape": ["N", 4], "dtype": "float32"}]
    assert about["targets"]["gateway"]["engine"] == "onnxruntime"
    assert {item["path"] for item in about["layers"]} >= {"card.md", "labels.txt"}


def test_index_has_one_form(tmp_path):
    with open_bundle(make_bundle(tmp_path)) as bundle:
        data = layout.index(bundle.manifest_descriptor, None)
    assert layout.parse_index(data, "i")[1] is None
    with pytest.raises(TrustError):
        layout.parse_index(data.replace(b"}", b" }", 1), "i")


def test_flipping_any_byte_of_the_index_is_refused(tmp_path):
    bundle = make_bundle(tmp_path)
    whole = bundle.read_bytes()
    start = whole.rindex(b"index.json") + 512
    for position in range(start, whole.index(b"\0", start)):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        bundle.write_bytes(flipped)
        assert _refusal(bundle) in ("bundle-malformed", "digest-mismatch")


def test_packing_and_opening_hold_no_weights_in_memory(tmp_path):
    size = 48 << 20
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        part = Part("weights.bin", "code", tmp_path / "weights")
        written = write_bundle(tmp_path / "x.edgeops", "x", "1", [part], variants={})
        with open_bundle(written.path) as bundle:
            assert bundle.manifest.layers[0].blob.size == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 8
