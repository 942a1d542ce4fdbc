"""Baselines: recorded, replayed, compared; and files that are none."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeops.core.contracts import Samples
from edgeops.core.events import Silence
from edgeops.core.variant import read_variant
from edgeops.errors import EdgeopsError, InputError, TrustError
from edgeops.runtime.baseline import ABOUT, Baseline, Case, ragged, read_baseline, write_baseline
from edgeops.validate.devices.local import LocalDevice
from edgeops.validate.replayed import Answers, Player, compare, record, replay
from tests.unit._bundles import make_variant

ABOUT_IT = {
    "variant": "sha256:1",
    "model": "sha256:2",
    "engine": "onnxruntime",
    "engine_version": "1.20.0",
    "precision": "fp32",
    "data": {"source": "data.npz", "digest": "sha256:3"},
}


def baseline(outputs, *, errors=(), cases=(), rows=None):
    count = len(next(iter(outputs.values())))
    rows = tuple(range(count)) if rows is None else rows
    return Baseline(
        ABOUT_IT, count, {"x": np.zeros((count, 2))}, outputs, rows, dict(errors), 0.01, cases
    )


def answers(outputs, **changes):
    count = len(next(iter(outputs.values())))
    return replace(Answers(outputs, tuple(range(count)), {}), **changes)


SCORES = np.array([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]], np.float32)


def test_same_answers_pass():
    outcome = compare(baseline({"scores": SCORES}), answers({"scores": SCORES.copy()}), {}, 0.01)
    assert outcome["passed"]
    assert outcome["first"] is None
    assert outcome["outputs"][0]["left"] == 0


def test_first_sample_and_its_worst_element_are_named():
    found = SCORES.copy()
    found[1] = [0.52, 0.45]
    found[2] = [0.0, 0.0]
    outcome = compare(baseline({"scores": SCORES}), answers({"scores": found}), {}, 0.01)
    assert not outcome["passed"]
    first = outcome["first"]
    assert (first["output"], first["sample"], first["element"]) == ("scores", 1, [1])
    assert first["expected"] == pytest.approx(0.5)
    assert first["found"] == pytest.approx(0.45)
    (output,) = outcome["outputs"]
    assert output["left"] == 2
    assert output["allowed"] == pytest.approx(0.01)
    assert output["worst"]["sample"] == 2


def test_tolerance_is_a_share_of_the_largest_value_of_the_output():
    expected = {"boxes": np.array([[100.0, 1.0]]), "scores": np.array([[0.5, 0.1]])}
    near = {"boxes": np.array([[100.0, 1.9]]), "scores": np.array([[0.5, 0.104]])}
    assert compare(baseline(expected), answers(near), {}, 0.01)["passed"]
    far = {"boxes": np.array([[100.0, 2.1]]), "scores": np.array([[0.5, 0.106]])}
    outcome = compare(baseline(expected), answers(far), {}, 0.01)
    assert [output["left"] for output in outcome["outputs"]] == [1, 1]


@pytest.mark.parametrize(
    ("expected", "found", "passes"),
    [
        (np.array([[np.nan]]), np.array([[np.nan]]), True),
        (np.array([[np.nan]]), np.array([[1.0]]), False),
        (np.array([[1.0]]), np.array([[np.nan]]), False),
        (np.array([[np.inf]]), np.array([[np.inf]]), True),
        (np.array([[np.inf]]), np.array([[-np.inf]]), False),
        (np.array([3]), np.array([3]), True),
        (np.array([3]), np.array([4]), False),
        (np.array(["cat"]), np.array(["cat"]), True),
        (np.array(["cat"]), np.array(["dog"]), False),
        (np.zeros((1, 2)), np.zeros((1, 3)), False),
        (np.zeros((1, 0)), np.zeros((1, 0)), True),
    ],
)
def test_what_is_no_near_number_must_be_the_same(expected, found, passes):
    outcome = compare(baseline({"o": expected}), answers({"o": found}), {}, 0.5)
    assert outcome["passed"] is passes
    json.dumps(outcome, allow_nan=False)


def test_outputs_of_different_shapes_are_compared_sample_by_sample():
    expected = ragged([np.zeros((2, 4)), np.ones((1, 4))])
    found = ragged([np.zeros((2, 4)), np.zeros((3, 4))])
    outcome = compare(baseline({"boxes": expected}), answers({"boxes": found}), {}, 0.1)
    assert outcome["first"]["why"] == "its shape is [3, 4], not [1, 4]"


def test_errors_that_did_not_come_or_that_nobody_expected_are_named():
    case = Case("x: another dtype", {"x": np.zeros(2, np.int32)}, "input-misfit")
    expected = baseline(
        {"o": SCORES[:1]}, errors={1: "input-misfit"}, rows=(0,), cases=(case, case)
    )
    found = answers({"o": SCORES[:1]}, rows=(1,), errors={0: "engine-failed"})
    outcome = compare(replace(expected, count=2), found, {0: "engine-failed"}, 0.01)
    assert outcome["errors"] == [
        {"sample": 1, "expected": "input-misfit", "found": None},
        {"sample": 0, "expected": None, "found": "engine-failed"},
    ]
    assert [case["found"] for case in outcome["cases"]] == ["engine-failed", None]
    assert not outcome["passed"]


def test_output_that_is_gone_is_named():
    outcome = compare(baseline({"o": SCORES}), answers({"other": SCORES}), {}, 0.01)
    assert outcome["first"]["why"] == "there is no such output"


floats = arrays.arrays(
    np.float32, st.tuples(st.just(3), st.integers(1, 4)), elements=st.floats(-100, 100, width=32)
)


@given(floats, st.floats(0, 1))
def test_answers_within_tolerance_pass_and_others_do_not(expected, share):
    tolerance = 0.01
    scale = float(np.abs(expected).max())
    inside = expected.astype(float) + share * tolerance * scale * 0.99
    assert compare(baseline({"o": expected}), answers({"o": inside}), {}, tolerance)["passed"]
    outside = expected.astype(float)
    outside[1, 0] += tolerance * scale * 1.01 + 1e-6
    outcome = compare(baseline({"o": expected}), answers({"o": outside}), {}, tolerance)
    assert (outcome["first"]["sample"], outcome["first"]["element"]) == (1, [0])


@settings(deadline=None)
@given(st.lists(floats | st.just(np.array(["a", "bc", ""], object)), min_size=1, max_size=3))
def test_baseline_survives_being_written_and_read(tmp_path_factory, outputs):
    path = tmp_path_factory.mktemp("baseline") / "b.zip"
    case = Case("x: bad", {"x": np.zeros((1, 3))}, "input-misfit")
    written = baseline({f"o{i}": array for i, array in enumerate(outputs)}, cases=(case,))
    digest = write_baseline(path, written)
    first = path.read_bytes()
    found = read_baseline(path)
    assert found.digest == digest
    assert (found.about, found.rows, found.errors) == (ABOUT_IT, (0, 1, 2), {})
    for name, array in written.outputs.items():
        assert found.outputs[name].tolist() == array.tolist()
    assert found.cases[0].error == "input-misfit"
    write_baseline(path, found)
    assert path.read_bytes() == first


@pytest.fixture
def file(tmp_path):
    write_baseline(tmp_path / "b.zip", baseline({"o": SCORES}))
    return tmp_path / "b.zip"


def repacked(path, change):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_truncated_file_is_malformed_wherever_it_ends(file):
    data = file.read_bytes()
    for length in range(0, len(data), 37):
        file.write_bytes(data[:length])
        with pytest.raises(InputError) as refused:
            read_baseline(file)
        assert refused.value.code == "baseline-malformed"


def test_no_changed_byte_gives_another_baseline(file):
    data = bytearray(file.read_bytes())
    wanted = read_baseline(file)
    for place in range(0, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 0x41
        file.write_bytes(changed)
        try:
            found = read_baseline(file)
        except (InputError, TrustError):
            continue
        # A byte that zip readers do not look at, such as the version a member was made with.
        assert found.digest == wanted.digest
        assert (found.outputs["o"] == wanted.outputs["o"]).all()


def _edit_about(files):
    document = json.loads(files[ABOUT])
    document["tolerance"] = 1e9
    files[ABOUT] = json.dumps(document).encode()


def _swap(files):
    files["outputs/0.npy"] = files["inputs/0.npy"]


def _add(files):
    files["inputs/9.npy"] = b""


def _remove(files):
    del files["outputs/0.npy"]


@pytest.mark.parametrize("change", [_edit_about, _swap, _add, _remove])
def test_edited_file_is_refused(file, change):
    repacked(file, change)
    with pytest.raises(TrustError) as refused:
        read_baseline(file)
    assert refused.value.code == "baseline-tampered"


def test_sample_that_is_held_against_nothing_makes_a_baseline_malformed(tmp_path):
    path = tmp_path / "b.zip"
    write_baseline(path, baseline({"o": SCORES[:2]}, rows=(0, 7)))
    with pytest.raises(InputError, match="cannot be read") as refused:
        read_baseline(path)
    assert "rows and errors" in refused.value.why


def test_what_is_no_baseline_is_malformed(tmp_path):
    (tmp_path / "text").write_text("hello")
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    for name in ("text", "data.npz", "nowhere", "."):
        with pytest.raises(InputError) as refused:
            read_baseline(tmp_path / name)
        assert refused.value.code == "baseline-malformed"


@contextmanager
def player(**options):
    with LocalDevice().reach("") as reached:
        yield Player(reached, options=options)


@pytest.fixture
def recorded(tmp_path):
    """Return a variant's folder, its samples and the baseline that was recorded of it."""
    make_variant(tmp_path / "v")
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    samples = Samples({"x": values}, None, 5, "data.npz", "sha256:4")
    variant = read_variant(tmp_path / "v")
    with player() as playing:
        made = record(variant, tmp_path / "v", samples, playing, tolerance=None, events=Silence())
    return variant, tmp_path / "v", made


def test_recording_keeps_answers_and_what_was_refused(recorded):
    variant, _, made = recorded
    assert made.about["variant"] == variant.digest
    assert (made.count, made.rows, made.errors) == (5, (0, 1, 2, 3, 4), {})
    assert made.outputs["probabilities"].shape == (5, 3)
    assert {case.name: case.error for case in made.cases} == {
        "x: one value too many": "input-misfit",
        "x: one axis too many": "input-misfit",
        "x: another dtype": "input-misfit",
    }


def test_replay_of_the_same_variant_passes_and_of_another_does_not(recorded, tmp_path):
    variant, folder, made = recorded
    write_baseline(tmp_path / "b.zip", made)
    kept = read_baseline(tmp_path / "b.zip")
    with player() as playing:
        outcome = replay(kept, variant, folder, playing, tolerance=None, events=Silence())
    assert outcome["passed"], outcome
    assert outcome["tolerance"] == 1e-3
    other = make_variant(tmp_path / "other", seed=3)
    with player() as playing:
        outcome = replay(kept, other, tmp_path / "other", playing, tolerance=None, events=Silence())
    assert not outcome["passed"]
    assert (outcome["first"]["output"], outcome["first"]["sample"]) == ("probabilities", 0)
    assert outcome["cases"] == []


def test_expected_error_that_does_not_come_fails_the_replay(recorded):
    variant, folder, made = recorded
    answered = Case("x: nothing wrong", {"x": np.zeros(4, np.float32)}, "input-misfit")
    with player() as playing:
        outcome = replay(
            replace(made, cases=(answered, *made.cases)),
            variant,
            folder,
            playing,
            tolerance=None,
            events=Silence(),
        )
    assert outcome["cases"] == [
        {"case": "x: nothing wrong", "expected": "input-misfit", "found": None}
    ]


def test_recording_twice_gives_the_same_bytes(recorded, tmp_path):
    variant, folder, made = recorded
    values = made.inputs["x"]
    samples = Samples({"x": values}, None, 5, "data.npz", "sha256:4")
    with player() as playing:
        again = record(variant, folder, samples, playing, tolerance=None, events=Silence())
    write_baseline(tmp_path / "one", made)
    write_baseline(tmp_path / "two", again)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_variant_that_cannot_be_loaded_is_told_as_its_own_error(recorded, tmp_path):
    variant, folder, made = recorded
    (folder / "model.onnx").write_bytes(b"no model")
    with player() as playing, pytest.raises(EdgeopsError) as refused:
        replay(made, variant, folder, playing, tolerance=None, events=Silence())
    assert refused.value.code == "digest-mismatch"
