"""Wheels, the agent's program and demos in a bundle, and how two bundles differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgeops.core.events import Silence
from edgeops.core.manifest import Descriptor, Layer, Manifest, parse_manifest
from edgeops.core.variant import TensorInfo, Variant
from edgeops.errors import EdgeopsError, TrustError, UsageProblem
from edgeops.package.bundle import open_bundle
from edgeops.package.diff import compare_layers, diff
from edgeops.package.pack import pack_files
from edgeops.package.sdk import sdk_parts
from edgeops.package.unpack import choose, uses_of
from edgeops.package.verify import verify_bundle
from edgeops.package.wheel import architectures, check_wheels, read_wheel
from edgeops.stages.pack import wheels_of
from tests.unit._bundles import full_contents, make_variant, make_wheel, pack_full

CHECKOUT = Path(__file__).resolve().parents[2]


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Return a bundle with all there is in it, the agent's program too."""
    return pack_full(tmp_path_factory.mktemp("full"), agent=True)


def test_a_full_bundle_has_every_kind_in_its_place(full):
    assert verify_bundle(full)["verified"] is True
    with open_bundle(full) as bundle:
        found = {(item.kind, item.target, item.path) for item in bundle.manifest.layers}
    assert {
        ("index", None, "targets.json"),
        ("features", None, "features.yaml"),
        ("features", None, "features.json"),
        ("rules", None, "rules.json"),
        ("runtime", None, "runtime/edgeops-agent.pyz"),
        ("code", "gateway", "code/gateway/python/demo.py"),
        ("code", "camera", "code/camera/cpp/CMakeLists.txt"),
        ("code", "camera", "code/camera/kotlin/build.gradle.kts"),
        (
            "runtime",
            "gateway",
            "runtime/gateway/onnxruntime-1.20.0-cp311-cp311-manylinux_2_28_aarch64.whl",
        ),
    } <= found


def test_the_bill_of_materials_lists_what_is_shipped(full):
    with open_bundle(full) as bundle:
        document = json.loads(bundle.read(bundle.manifest.find("sbom.cdx.json").blob, 1 << 20))
    libraries = {item["name"]: item for item in document["components"] if item["type"] == "library"}
    assert {"onnxruntime", "tuf", "securesystemslib", "urllib3", "edgeops"} <= set(libraries)
    assert libraries["onnxruntime"]["version"] == "1.20.0"
    (root,) = [item for item in document["dependencies"] if item["ref"] == "bundle"]
    assert {"library:onnxruntime@1.20.0", "model:gateway", "model:camera"} <= {*root["dependsOn"]}


_AGAIN = """
import hashlib, locale, os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
locale.setlocale(locale.LC_ALL, "")
sys.path.insert(0, sys.argv[3])
from tests.unit._bundles import pack_full
print(hashlib.sha256(pack_full(Path(sys.argv[1]), agent=True).read_bytes()).hexdigest())
"""


def test_a_full_bundle_is_the_same_from_another_folder_umask_zone_locale_and_seed(full, tmp_path):
    import hashlib

    answer = subprocess.run(
        [sys.executable, "-c", _AGAIN, str(tmp_path / "else where"), "077", str(CHECKOUT)],
        cwd=tmp_path,
        env={**os.environ, "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "11"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert answer.stdout.strip() == hashlib.sha256(full.read_bytes()).hexdigest()


# Wheels


def test_a_wheel_says_what_it_is(tmp_path):
    path = make_wheel(tmp_path, requires=("numpy>=1.26", "coloredlogs; extra == 'x'"))
    wheel = read_wheel(path)
    assert (wheel.name, wheel.version) == ("onnxruntime", "1.20.0")
    assert wheel.architectures == {"aarch64"}
    assert wheel.requires == {"numpy"}


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        (["manylinux_2_28_aarch64"], ("aarch64",)),
        (["manylinux_2_17_x86_64.manylinux2014_x86_64"], ("x86_64",)),
        (["any"], None),
        (["any", "linux_armv7l"], ("armv7l",)),
        (["win_amd64"], ("x86_64",)),
        (["macosx_11_0_arm64", "manylinux_2_28_aarch64"], ("aarch64",)),
        (["linux_x86_64", "linux_aarch64"], ()),
        ([], None),
    ],
)
def test_the_processors_of_wheels_are_those_all_run_on(platforms, expected):
    names = [f"p{i}-1.0-py3-none-{platform}.whl" for i, platform in enumerate(platforms)]
    assert architectures(names) == expected


def _damaged(path):
    data = bytearray(path.read_bytes())
    data[data.index(b"Wheel-Version") + 3] ^= 1
    path.write_bytes(data)
    return path


def _linked(folder):
    path = make_wheel(folder)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("onnxruntime/evil.so")
        entry.external_attr, entry.create_system = 0o120777 << 16, 3
        archive.writestr(entry, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    "bad",
    [
        lambda at: (at / "onnxruntime.whl", b"")[0],
        lambda at: make_wheel(at).rename(at / "onnxruntime-1.21.0-cp311-cp311-linux_aarch64.whl"),
        lambda at: make_wheel(at).rename(at / "mnn-1.20.0-cp311-cp311-linux_aarch64.whl"),
        lambda at: make_wheel(at, said="manylinux_2_28_x86_64"),
        lambda at: make_wheel(at, files={"../evil.py": b""}),
        lambda at: make_wheel(at, files={"/etc/evil.py": b""}),
        lambda at: make_wheel(at, files={"other-1.0.dist-info/METADATA": b""}),
        lambda at: _damaged(make_wheel(at)),
        _linked,
    ],
)
def test_what_is_no_sound_wheel_is_refused(tmp_path, bad):
    assert _code(read_wheel, bad(tmp_path)) == ("wheel-malformed", 3)


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"<html>" * 100])
def test_what_is_no_archive_is_refused(tmp_path, data):
    path = make_wheel(tmp_path)
    path.write_bytes(data)
    assert _code(read_wheel, path) == ("wheel-malformed", 3)


def test_a_wheel_that_no_device_would_unpack_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeops.package.wheel._MAX_UNPACKED", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("it was unpacked"))
    path = make_wheel(tmp_path, files={"onnxruntime/zeros": bytes(5000)})
    assert _code(read_wheel, path) == ("wheel-malformed", 3)


def test_a_wheel_that_is_not_there_is_said(tmp_path):
    path = tmp_path / "onnxruntime-1.20.0-cp311-cp311-linux_aarch64.whl"
    assert _code(read_wheel, path) == ("wheel-missing", 3)


def test_wheels_must_be_for_the_target(tmp_path):
    variants = {"gateway": make_variant(tmp_path / "v")}
    engine = make_wheel(tmp_path / "a", requires=("flatbuffers",))
    library = make_wheel(tmp_path / "b", "flatbuffers", "25.1", "any")
    assert len(check_wheels("gateway", variants, [engine, library])) == 2
    wrong = {
        "of no target": ("camera", [engine]),
        "another engine": ("gateway", [make_wheel(tmp_path / "c", "ncnn")]),
        "nothing needs it": ("gateway", [make_wheel(tmp_path / "d"), library]),
        "too old": ("gateway", [make_wheel(tmp_path / "e", version="1.19.2")]),
        "another major version": ("gateway", [make_wheel(tmp_path / "f", version="2.0.0")]),
        "two processors": (
            "gateway",
            [engine, make_wheel(tmp_path / "g", "flatbuffers", "25.1", "linux_x86_64")],
        ),
    }
    for name, (target, wheels) in wrong.items():
        found = _code(check_wheels, target, variants, wheels)
        assert found == ("wheel-misfit", 5), name


def test_a_bundle_with_a_wrong_wheel_is_not_written(tmp_path):
    contents = full_contents(tmp_path, wheels={"gateway": [make_wheel(tmp_path / "n", "ncnn")]})
    out = tmp_path / "x.edgeops"
    assert _code(pack_files, contents, out, sign=None, events=Silence()) == ("wheel-misfit", 5)
    assert not out.exists()


@pytest.mark.parametrize("text", ["engine", "gateway", "=x.whl", "gateway="])
def test_runtime_is_the_agent_or_a_wheel_of_a_target(text):
    assert _code(wheels_of, [text]) == ("pack-runtime", 2)
    assert wheels_of(["agent", "gateway=a.whl"]) == [("gateway", "a.whl")]


# Manifests that put files where they do not belong


def _manifest(*layers):
    config = Descriptor("application/vnd.cncf.model.config.v1+json", "sha256:" + "1" * 64, 2)
    blob = Descriptor("application/octet-stream", "sha256:" + "2" * 64, 2)
    made = tuple(Layer(blob, path, kind, target) for path, kind, target in layers)
    return Manifest("x", "1", config, made).encode()


@pytest.mark.parametrize(
    "layer",
    [
        ("targets.json", "doc", None),
        ("sealed.json", "code", None),
        ("other.json", "index", None),
        ("targets.json", "index", "gateway"),
        ("runtime/camera/x.whl", "runtime", "gateway"),
        ("runtime/gateway", "runtime", "gateway"),
        ("code/camera/demo.py", "code", "gateway"),
        ("evidence/camera.json", "evidence", "gateway"),
        ("labels.txt", "labels", "gateway"),
        ("variants/gateway/x", "variant", None),
        ("variants/gatewayx/x", "variant", "gateway"),
        ("x", "weights", None),
    ],
)
def test_a_file_cannot_pose_as_another(layer):
    with pytest.raises(TrustError) as caught:
        parse_manifest(_manifest(layer), "m")
    assert caught.value.code == "bundle-malformed"


@pytest.mark.parametrize(
    "path",
    [
        "runtime/gateway/../../evil",
        "code/gateway//x",
        "runtime/gateway/./x",
        "code/gateway/a\\b",
        "code/gateway/C:x",
        "runtime/gateway/x\n",
    ],
)
def test_a_file_cannot_lead_outside(path):
    layer = (path, path.split("/")[0], "gateway")
    with pytest.raises(TrustError) as caught:
        parse_manifest(_manifest(layer), "m")
    assert caught.value.code == "bundle-path-outside"


# Demos


def _variant(engine, **extra):
    tensors = (TensorInfo("image $x", ("N", 1, 8, 8), "int64"),), (TensorInfo("p", (1,), "int64"),)
    return Variant(engine, "1.0", "fp32", "model.bin", *tensors, "sha256:0", extra=extra)


def _demo(variant, path):
    parts = {part.path: part for part in sdk_parts({"t": variant}, ("python", "cpp", "kotlin"))}
    return parts[f"code/t/{path}"].source.decode()


@pytest.mark.parametrize("engine", ["onnxruntime", "litert", "mnn", "ncnn", "openvino"])
def test_a_demo_is_filled_and_complete(engine):
    parts = sdk_parts({"t": _variant(engine)}, ("python", "cpp", "kotlin"))
    names = {part.path.removeprefix("code/t/") for part in parts}
    assert {"python/README.md", "python/demo.py", "python/requirements.txt"} <= names
    assert {"cpp/README.md", "cpp/main.cpp", "cpp/model.hpp", "cpp/CMakeLists.txt"} <= names
    kotlin = {"kotlin/README.md", "kotlin/Demo.kt", "kotlin/Tensors.kt", "kotlin/build.gradle.kts"}
    assert (kotlin <= names) is (engine != "openvino")
    for part in parts:
        assert part.target == "t"
        for word in ("TARGET", "ENGINE", "ENGINE_VERSION", "MODEL_FILE", "INPUTS", "OUTPUTS"):
            assert f"@{word}@".encode() not in part.source, part.path
    compile(_demo(_variant(engine), "python/model.py"), "model.py", "exec")


def test_a_demo_has_the_names_shapes_and_types_of_the_engine():
    line = '{"image $x", "image $x", {1, 1, 8, 8}, "int64"}'
    assert line in _demo(_variant("onnxruntime"), "cpp/model.hpp")
    assert '"int32"}' in _demo(_variant("mnn"), "cpp/model.hpp")
    assert 'Tensor("image \\$x", "image \\$x",' in _demo(_variant("litert"), "kotlin/Tensors.kt")
    about = {"image $x": {"blob": "in0", "batch": 0, "dtype": "float32", "shape": [1, 1, 8, 8]}}
    assert '"in0", {1, 8, 8}, "float32"}' in _demo(_variant("ncnn", inputs=about), "cpp/model.hpp")
    moved = {"image $x": {"tensor": "serving:0", "permutation": [0, 2, 3, 1]}}
    assert '"serving:0", (1, 8, 8, 1), "int64")' in _demo(
        _variant("litert", inputs=moved), "python/model.py"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: demo.py FOLDER [image $x.bin]"),
        (("variant", "a.bin", "b.bin"), "usage: demo.py FOLDER [image $x.bin]"),
        (("nowhere",), "nowhere is not the folder of this model: it has no model.bin"),
        (("variant", "short.bin"), "image $x takes 512 bytes, got 4"),
        (("variant", "absent.bin"), "image $x cannot be read: "),
    ],
)
def test_a_python_demo_says_what_is_wrong_with_its_arguments(tmp_path, words, said):
    (tmp_path / "model.py").write_text(_demo(_variant("onnxruntime"), "python/model.py"))
    (tmp_path / "variant").mkdir()
    (tmp_path / "variant" / "model.bin").touch()
    (tmp_path / "short.bin").write_bytes(b"1234")
    program = "import model; model.read_inputs(model.arguments()[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_an_engine_without_demos_and_a_language_nobody_wrote(tmp_path):
    assert sdk_parts({"t": _variant("executorch")}, ("python",)) == []
    assert _code(sdk_parts, {}, ("rust",)) == ("sdk-unknown", 2)
    with pytest.raises(UsageProblem):
        pack_full(tmp_path, sdk=("rust",))


def test_an_included_file_cannot_take_the_place_of_a_demo(tmp_path):
    contents = full_contents(tmp_path)
    include = {**contents.include, "code/gateway/python/demo.py": tmp_path / "labels.txt"}
    contents = full_contents(tmp_path, include=include)
    code = _code(pack_files, contents, tmp_path / "x", sign=None, events=Silence())
    assert code == ("include-reserved", 3)


# Two bundles side by side


def test_diff_says_of_each_file_whether_it_changed(tmp_path):
    (tmp_path / "a").mkdir()
    before = pack_full(tmp_path / "a", sdk=(), wheels={})
    after = pack_full(tmp_path / "b", version="1.1.0", include={}, wheels={}, sdk=("cpp",))
    found = diff(tmp_path, str(before), str(after))
    changes = {item["path"]: item["change"] for item in found["layers"]}
    assert changes["variants/gateway/model.onnx"] == "unchanged"
    assert changes["card.md"] == "changed"
    assert changes["rules.json"] == "removed"
    assert changes["code/camera/cpp/main.cpp"] == "added"
    card = next(item for item in found["layers"] if item["path"] == "card.md")
    assert set(card) == {"path", "kind", "target", "change", "before", "after"}
    assert card["before"]["digest"] != card["after"]["digest"]
    gone = next(item for item in found["layers"] if item["path"] == "rules.json")
    assert (gone["after"], gone["kind"]) == (None, "rules")


def test_a_bundle_does_not_differ_from_itself(full, tmp_path):
    found = diff(tmp_path, str(full), str(full))
    assert found["changes"] == []
    assert {item["change"] for item in found["layers"]} == {"unchanged"}
    assert compare_layers((), ()) == []


def test_diff_does_not_call_a_misspelt_path_a_revision_alone(full, tmp_path):
    with pytest.raises(EdgeopsError) as caught:
        diff(tmp_path, str(full), "nowhere.edgeops")
    assert caught.value.code == "diff-mixed"
    assert caught.value.what == (
        f"{full} is a bundle, nowhere.edgeops is no file or folder, so a git revision"
    )


def test_diff_names_the_variants_in_an_unpacked_bundle(tmp_path):
    variant = tmp_path / "device" / "variants" / "gateway"
    variant.mkdir(parents=True)
    (variant / "variant.json").touch()
    with pytest.raises(EdgeopsError) as caught:
        diff(tmp_path, "device", "device")
    assert caught.value.code == "variant-missing"
    assert str(variant) in caught.value.fix


def test_a_target_comes_with_the_variants_that_its_rules_ask(full):
    with open_bundle(full) as bundle:
        manifest = bundle.manifest
        uses = uses_of(manifest, "gateway", bundle.pieces)
        assert (uses, uses_of(manifest, "camera", bundle.pieces)) == (("camera",), ())
        assert uses_of(manifest, None, bundle.pieces) == ()
    taken = {item.path for item in choose(manifest, "gateway", None, uses)}
    assert "variants/camera/model.onnx" in taken
    assert "code/gateway/python/demo.py" in taken
    assert "code/camera/python/demo.py" not in taken
    assert "variants/gateway/model.onnx" not in {
        item.path for item in choose(manifest, "camera", None, ())
    }
