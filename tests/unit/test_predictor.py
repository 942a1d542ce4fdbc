"""The predictor: what a device calls, from a variant or an unpacked bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.events import Silence
from edgeops.core.variant import TensorInfo
from edgeops.errors import EdgeopsError, InputError
from edgeops.package.bundle import open_bundle
from edgeops.package.pack import Contents, pack_files
from edgeops.package.unpack import choose, write_files
from edgeops.runtime import Predictor
from edgeops.runtime.predictor_arrays import fitted
from tests.predicting import DOUBLED, add_documents
from tests.unit._bundles import make_bundle, make_variant

ONE = np.array([[0.1, -0.2, 0.3, 0.4]], dtype=np.float32)


def _unpacked(folder, bundle, target=None):
    with open_bundle(bundle) as opened:
        layers = choose(opened.manifest, target, None)
        write_files(folder, opened.manifest_bytes, layers, opened.pieces)
    return folder


@pytest.fixture
def device(tmp_path):
    return _unpacked(tmp_path / "device", make_bundle(tmp_path))


@pytest.fixture
def two_targets(tmp_path):
    for seed, name in enumerate(("camera", "gateway")):
        make_variant(tmp_path / name, seed=seed)
    folders = {name: tmp_path / name for name in ("camera", "gateway")}
    contents = Contents("two", "1.0.0", folders, {}, {})
    bundle = pack_files(contents, tmp_path / "two.edgeops", sign=None, events=Silence()).path
    return bundle, folders


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def test_predictor_answers_from_a_variant(tmp_path):
    variant = make_variant(tmp_path / "v")
    predictor = Predictor(tmp_path / "v")
    answer = predictor.predict({"x": ONE})
    assert list(answer) == ["probabilities"]
    assert answer["probabilities"].shape == (1, 3)
    assert answer["probabilities"].sum() == pytest.approx(1)
    assert predictor.labels == ()
    assert predictor.digest == variant.digest
    assert predictor.inputs[0].name == "x"


def test_predictor_answers_the_same_from_an_unpacked_bundle(tmp_path, device):
    predictor = Predictor(device)
    expected = Predictor(tmp_path / "gateway").predict({"x": ONE})["probabilities"]
    np.testing.assert_array_equal(predictor.predict({"x": ONE})["probabilities"], expected)
    assert predictor.labels == ("cat", "dog", "bird")
    assert predictor.target == "gateway"
    assert predictor.version == "1.0.0"
    assert predictor.digest.startswith("sha256:")


def test_predictor_takes_a_link_as_the_agent_leaves_it(tmp_path, device):
    (tmp_path / "current").symlink_to(device, target_is_directory=True)
    assert Predictor(str(tmp_path / "current")).version == "1.0.0"


def test_predictor_needs_a_target_where_there_are_several(tmp_path, two_targets):
    bundle, folders = two_targets
    both = _unpacked(tmp_path / "both", bundle)
    assert _code(Predictor, both) == ("target-needed", 3)
    assert _code(Predictor, both, target="phone") == ("target-unknown", 3)
    for name, folder in folders.items():
        expected = Predictor(folder).predict({"x": ONE})["probabilities"]
        found = Predictor(both, target=name).predict({"x": ONE})["probabilities"]
        np.testing.assert_array_equal(found, expected)


def test_predictor_finds_the_one_target_that_was_unpacked(tmp_path, two_targets):
    bundle, _ = two_targets
    only = _unpacked(tmp_path / "only", bundle, target="camera")
    assert Predictor(only).target == "camera"
    assert _code(Predictor, only, target="gateway") == ("target-unknown", 3)


@pytest.mark.parametrize(
    "name", ["variants/gateway/model.onnx", "variants/gateway/variant.json", "labels.txt"]
)
def test_predictor_refuses_a_file_that_was_changed(device, name):
    (device / name).write_bytes((device / name).read_bytes() + b" ")
    assert _code(Predictor, device) == ("digest-mismatch", 20)


def test_predictor_refuses_a_variant_that_was_changed(tmp_path):
    make_variant(tmp_path / "v")
    (tmp_path / "v" / "model.onnx").write_bytes(b"something else")
    assert _code(Predictor, tmp_path / "v") == ("digest-mismatch", 20)


def test_predictor_refuses_a_link_in_place_of_a_file(tmp_path, device):
    weights = device / "variants" / "gateway" / "model.onnx"
    weights.rename(tmp_path / "elsewhere.onnx")
    weights.symlink_to(tmp_path / "elsewhere.onnx")
    assert _code(Predictor, device) == ("digest-mismatch", 20)


def test_predictor_refuses_a_manifest_that_was_changed(device):
    (device / "bundle.json").write_text("{}")
    assert _code(Predictor, device) == ("bundle-malformed", 20)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_predictor_refuses_a_folder_without_a_model(tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert _code(Predictor, tmp_path / name) == ("nothing-to-load", 3)


@pytest.fixture
def predictor(tmp_path):
    make_variant(tmp_path / "v")
    return Predictor(tmp_path / "v")


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({}, "input-missing"),
        ({"X": ONE}, "input-name-unknown"),
        ({"x": ONE, "y": ONE}, "input-name-unknown"),
        ({"x": ONE[0]}, "input-shape"),
        ({"x": ONE[:, :3]}, "input-shape"),
        ({"x": ONE[np.newaxis]}, "input-shape"),
        ({"x": 1.0}, "input-shape"),
        ({"x": ONE.astype(np.float64)}, "input-dtype"),
        ({"x": ONE.astype(np.int32)}, "input-dtype"),
        ({"x": ONE.astype(np.complex64)}, "input-dtype"),
        ({"x": np.array([["a", "b", "c", "d"]])}, "input-dtype"),
        ({"x": [["a", "b", "c", "d"]]}, "input-dtype"),
        ({"x": [[1, 2], [3]]}, "input-dtype"),
        ({"x": None}, "input-dtype"),
        ({"x": [[1j, 0, 0, 0]]}, "input-dtype"),
        ({"x": [[1e39, 0, 0, 0]]}, "input-dtype"),
    ],
)
def test_predict_refuses_what_does_not_fit(predictor, inputs, code):
    assert _code(predictor.predict, inputs) == (code, 3)


def test_texts_of_different_lengths_are_refused():
    texts = TensorInfo("t", ("N", 2), "str")
    with pytest.raises(InputError) as caught:
        fitted((texts,), {"t": [["a", "b"], ["c"]]})
    assert caught.value.code == "input-dtype"


def test_predictor_may_be_closed_again(device):
    with Predictor(device) as predictor:
        predictor.close()
    with pytest.raises(RuntimeError, match="closed"):
        predictor.predict({"x": ONE})


def test_predict_says_how_to_mend_it(predictor):
    with pytest.raises(EdgeopsError) as caught:
        predictor.predict({"x": ONE[0]})
    assert caught.value.fix == "add the axis: array[numpy.newaxis]"
    with pytest.raises(EdgeopsError) as caught:
        predictor.predict({"x": ONE.astype(np.float64)})
    assert caught.value.fix == "give array.astype('float32')"


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float16, np.bool_])
def test_predict_casts_what_cannot_lose_anything(predictor, dtype):
    whole = np.array([[1, 0, 1, 1]])
    expected = predictor.predict({"x": whole.astype(np.float32)})["probabilities"]
    found = predictor.predict({"x": whole.astype(dtype)})["probabilities"]
    np.testing.assert_array_equal(found, expected)


def test_predict_takes_plain_numbers(predictor):
    expected = predictor.predict({"x": np.array([[1, 2, 0.5, 0]], np.float32)})["probabilities"]
    found = predictor.predict({"x": [[1, 2, 0.5, 0]]})["probabilities"]
    np.testing.assert_array_equal(found, expected)


def test_predict_takes_any_number_of_samples(predictor):
    many = np.repeat(ONE, 5, axis=0)
    assert predictor.predict({"x": many})["probabilities"].shape == (5, 3)


def test_predict_leaves_the_callers_array(predictor):
    given = ONE.copy()
    predictor.predict({"x": given})
    np.testing.assert_array_equal(given, ONE)


_ALONE = """
import json, sys
import numpy as np
from edgeops.runtime import Predictor
from edgeops.runtime.predictor_arrays import fitted
Predictor(sys.argv[1]).predict({"x": np.zeros((1, 4), np.float32)})
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
_NEVER = {
    "typer",
    "rich",
    "pydantic",
    "onnx",
    "onnxsim",
    "dvc",
    "tuf",
    "securesystemslib",
    "cryptography",
    "sklearn",
    "ruamel",
    "git",
    "cyclonedx",
}


def test_predictor_needs_numpy_and_its_engine_only(device, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", _ALONE, str(device)],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = set(json.loads(answer.stdout))
    assert {"numpy", "onnxruntime", "edgeops"} <= loaded
    assert loaded & _NEVER == set()


def test_importing_the_runtime_imports_no_numpy():
    code = "import sys, edgeops.runtime; print('numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert answer.stdout == "False\n"


def test_runtime_has_no_other_names():
    import edgeops.runtime

    with pytest.raises(AttributeError, match="Predicter"):
        _ = edgeops.runtime.Predicter
    assert Path(edgeops.runtime.__file__).name == "__init__.py"


# The program that the template lays down


def _shown(folder):
    """Run the template's predict.py beside what a device has; return its exit code and words."""
    (folder / "data").mkdir()
    np.savez(folder / "data/evaluation.npz", image=np.zeros((4, 1)), labels=np.zeros(4, int))
    program = Path(__file__).parents[2] / "templates" / "digits" / "predict.py"
    command = [sys.executable, "-B", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("documents", [{}, {"features": DOUBLED}])
def test_the_demo_says_why_its_input_is_not_taken(tmp_path, device, documents):
    add_documents(device, **documents)
    with pytest.raises(EdgeopsError) as caught:
        Predictor(device).predict({"image": np.zeros((1, 1))})
    error = caught.value
    assert _shown(tmp_path) == (1, f"{error.what}\n{error.why}\n{error.fix}\n")


def test_the_demo_says_what_to_do_where_nothing_was_unpacked(tmp_path):
    code, words = _shown(tmp_path)
    assert (code, words.splitlines()[0]) == (
        1,
        "device holds neither a variant nor an unpacked bundle",
    )
