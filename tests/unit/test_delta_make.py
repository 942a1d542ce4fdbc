"""Deltas are as small as they are said to be, made only where they pay, and lossless."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeops.package.deltas import make
from edgeops.package.deltas.match import matches
from edgeops.runtime.delta import Header, apply
from tests.unit import _delta_reference, _deltas

TENSOR = ("tensor",)


def made(folder, old, new, name="model.onnx", **options):
    """Return the delta between two contents, after it was applied and compared."""
    before, after = _deltas.files(folder, old, new, name)
    delta = make(before, after, name=name, most=1.0, **options)
    if delta is not None:
        expect = _deltas.digest(after.read_bytes())
        apply(before, delta.data, folder / "out", expect=expect, size=after.stat().st_size)
        assert (folder / "out").read_bytes() == after.read_bytes()
    return delta


@pytest.mark.parametrize(
    ("kind", "head_only", "noise", "most"),
    [
        ("int8", False, 0.01, 0.155),
        ("int8", True, 0.2, 0.12),
        ("fp32", False, 0.01, 0.66),
        ("fp32", True, 0.2, 0.147),
        ("fp16", False, 0.01, 0.44),
    ],
)
def test_delta_of_fine_tuned_network_is_small(tmp_path, kind, head_only, noise, most):
    old = _deltas.weights()
    new = _deltas.tuned(old, noise, head_only=head_only)
    delta = made(tmp_path, _deltas.network(old, kind), _deltas.network(new, kind), methods=TENSOR)
    assert delta.share <= most
    assert delta.header.method == "tensor"


def test_networks_of_these_tests_run(tmp_path):
    import onnxruntime

    for kind in ("fp32", "int8", "fp16"):
        model = _deltas.network(_deltas.weights(_deltas.SMALL), kind)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (answer,) = session.run(None, {"image": np.ones((1, 3, 8, 8), np.float32)})
        assert answer.shape == (1, 10)


@pytest.mark.parametrize("kind", ["int8", "fp32"])
def test_weights_in_no_known_format_are_found_by_their_differences(tmp_path, kind):
    old = _deltas.weights(_deltas.SHAPES[3:6])
    pairs = [b"".join(a.tobytes() for a in part) for part in (old, _deltas.tuned(old, 0.01))]
    if kind == "int8":
        pairs = [
            np.rint(np.frombuffer(p, np.float32) * 800).clip(-127, 127).astype(np.int8).tobytes()
            for p in pairs
        ]
    # Behind a header of odd length numbers begin where nobody would look first.
    delta = made(tmp_path, *(b"\1" * 13 + p for p in pairs), "weights.xyz", methods=TENSOR)
    assert delta.share <= {"int8": 0.16, "fp32": 0.66}[kind]


def test_bfloat16_and_integers_become_differences(tmp_path):
    old = _deltas.weights(_deltas.SHAPES[3:5])
    new = _deltas.tuned(old, 0.01)

    def model(arrays):
        tensors = [
            onnx.helper.make_tensor(
                f"w{i}", 16, a.shape, (a.view(np.uint32) >> 16).astype("<u2").tobytes(), raw=True
            )
            for i, a in enumerate(arrays)
        ]
        large = np.rint(arrays[0] * 1e6).astype(np.int32)
        tensors.append(onnx.numpy_helper.from_array(large, "i"))
        return onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))

    assert made(tmp_path, model(old), model(new), methods=TENSOR).share <= 0.32


def test_weights_in_external_data_are_found_in_the_model_beside(tmp_path):
    old = _deltas.weights(_deltas.SHAPES[2:5])
    paths = []
    for which, arrays in (("old", old), ("new", _deltas.tuned(old, 0.01))):
        folder = tmp_path / which
        folder.mkdir()
        onnx.save(
            _deltas.network([*arrays, np.ones((10, 256), np.float32)]),
            folder / "model.onnx",
            save_as_external_data=True,
            location="model.onnx.data",
        )
        paths.append(folder / "model.onnx.data")
    delta = make(*paths, name="model.onnx.data", most=1.0, methods=TENSOR)
    assert delta.share <= 0.64
    blobs = [path.rename(tmp_path / path.parent.name / "blob") for path in paths]
    beside = tuple({"model.onnx": path.parent / "model.onnx"} for path in paths)
    again = make(*blobs, name="model.onnx.data", beside=beside, most=1.0, methods=TENSOR)
    assert len(again.data) == len(delta.data)


def test_renamed_added_and_dropped_tensors_are_survived(tmp_path):
    old = _deltas.weights(_deltas.SMALL)
    model = _deltas.network(old)
    new = _deltas.network(_deltas.tuned(old, 0.01))
    for tensor in new.graph.initializer[:2]:
        tensor.name += "_renamed"
    new.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.arange(999), "added"))
    del new.graph.initializer[2]
    assert made(tmp_path, model, new, methods=TENSOR) is not None


def test_what_zstd_does_better_is_left_to_zstd(tmp_path):
    random = np.random.default_rng(0)
    words = [random.bytes(40) for _ in range(500)]
    old = b"".join(words[i] for i in random.integers(0, 500, 4000))
    new = b"".join(words[i] for i in random.integers(0, 500, 4000))
    delta = made(tmp_path, old, new, "table.xyz")
    assert delta.header.method == "zstd"


def test_nothing_is_made_where_the_whole_file_is_as_good(tmp_path):
    random = np.random.default_rng(0)
    noise, other = random.bytes(100_000), random.bytes(100_000)
    small, smaller = b"a" * 4000, b"a" * 3999
    for old, new in ((noise, other), (noise, noise), (small, smaller), (b"", noise), (noise, b"")):
        before, after = _deltas.files(tmp_path, old, new, "x.bin")
        assert make(before, after, name="x.bin") is None
    before, after = _deltas.files(tmp_path, *map(_deltas.network, _small_versions()))
    assert make(before, after, name="model.onnx", methods=TENSOR, most=0.5) is None
    assert make(before, after, name="model.onnx", methods=TENSOR) is not None


def _small_versions():
    old = _deltas.weights(_deltas.SMALL)
    return old, _deltas.tuned(old, 0.01)


@pytest.mark.parametrize("suffix", ["onnx", "tflite", "mnn", "bin", "xyz"])
def test_files_that_are_not_what_their_name_says_are_compared_as_bytes(tmp_path, suffix):
    random = np.random.default_rng(0)
    old = random.bytes(50_000)
    new = old[:20_000] + random.bytes(3000) + old[21_000:]
    delta = made(tmp_path, old, new, f"model.{suffix}", methods=TENSOR)
    assert delta.share < 0.07


def test_equal_parts_are_found_wherever_they_lie():
    random = np.random.default_rng(0)
    a, b, c = (random.bytes(n) for n in (3000, 200, 5000))
    assert matches(a + c, c + b + a) == [(0, 3000, 5000), (5200, 0, 3000)]
    assert matches(a, b) == []
    assert matches(b"", a) == []


def test_the_same_files_give_the_same_delta(tmp_path):
    before, after = _deltas.files(tmp_path, *map(_deltas.network, _small_versions()))
    deltas = [make(before, after, name="model.onnx", most=1.0) for _ in range(2)]
    assert deltas[0].data == deltas[1].data
    assert deltas[0].digest == _deltas.digest(deltas[0].data)


@pytest.mark.parametrize("kind", ["fp32", "int8", "fp16"])
@pytest.mark.parametrize("noise", [0.01, 0.5])
def test_reader_written_from_the_description_makes_the_same_file(tmp_path, kind, noise):
    old = _deltas.weights(_deltas.SMALL)
    new = _deltas.tuned(old, noise)
    new[1][::3] = old[1][::3]
    before, after = _deltas.files(tmp_path, *(_deltas.network(w, kind) for w in (old, new)))
    delta = make(before, after, name="model.onnx", most=1.0, methods=TENSOR)
    assert _delta_reference.read(delta.data, before.read_bytes()) == after.read_bytes()


def test_example_of_the_description_holds(tmp_path):
    old, new = bytes.fromhex("10203040"), bytes.fromhex("11202f40ff")
    about = Header("tensor", _deltas.digest(old), _deltas.digest(new), len(old), len(new))
    delta = about.encode() + bytes.fromhex("03 01 00 04 00 00  00 12  02 01 00 ff  00")
    (tmp_path / "old").write_bytes(old)
    apply(tmp_path / "old", delta, tmp_path / "new", expect=_deltas.digest(new))
    assert (tmp_path / "new").read_bytes() == new
    assert _delta_reference.read(delta, old) == new
