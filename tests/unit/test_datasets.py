"""Data sets: what is read, what is refused, and how it meets a model's inputs."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.core.variant import TensorInfo
from edgeops.errors import InputError
from edgeops.project import once
from edgeops.project.datasets import check_fit, load_samples, samples_for
from edgeops.runtime.batch import bind

X = TensorInfo("x", ("N", 4), "float32")


def samples(labels=None, **arrays):
    count = max((len(array) for array in arrays.values() if array.ndim), default=1)
    return Samples(arrays, labels, count, "data.npz", "")


def codes(findings):
    return [finding.code for finding in findings]


def test_npz_gives_arrays_and_labels_apart_and_names_its_bytes(tmp_path):
    x = np.arange(8, dtype="float32").reshape(2, 4)
    np.savez(tmp_path / "d.npz", x=x, labels=np.array([1, 0]), scale=np.float32(2))
    read = load_samples("d.npz", tmp_path)
    assert (read.count, list(read.arrays), read.source) == (2, ["x", "scale"], "d.npz")
    assert read.labels.tolist() == [1, 0]
    assert read.digest.startswith("sha256:")


def test_absolute_path_is_quoted_by_its_name_alone(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), "float32"))
    assert load_samples(str(tmp_path / "d.npz"), tmp_path).source == "d.npz"


def test_csv_with_header_takes_labels_by_name(tmp_path):
    (tmp_path / "d.csv").write_text("a,labels,b\n1,7,2\n3,8,4\n")
    read = load_samples("d.csv", tmp_path)
    assert read.labels.tolist() == [7, 8]
    table = bind(read, [TensorInfo("in", ("N", 2), "float32")]).arrays["in"]
    assert (table.dtype, table.tolist()) == ("float32", [[1, 2], [3, 4]])


def test_csv_without_header_takes_its_first_column_as_labels(tmp_path):
    (tmp_path / "d.csv").write_text("0,1.5,2\n1,3,4\n")
    read = load_samples("d.csv", tmp_path)
    assert read.labels.tolist() == [0, 1]
    fitted = samples_for("d.csv", tmp_path, [TensorInfo("in", ("N", 2), "float32")], labels=True)
    assert fitted.arrays["in"].tolist() == [[1.5, 2], [3, 4]]


def test_csv_columns_feed_the_inputs_of_their_names(tmp_path):
    (tmp_path / "d.csv").write_text("labels,age,height\ncat,1,2.5\ndog,3,4\n")
    inputs = [TensorInfo("height", ("N", 1), "float32"), TensorInfo("age", ("N", 1), "int64")]
    read = samples_for("d.csv", tmp_path, inputs, labels=True)
    assert read.labels.tolist() == ["cat", "dog"]
    assert read.arrays["age"].tolist() == [[1], [3]]
    assert read.arrays["age"].dtype == "int64"
    assert read.arrays["height"].tolist() == [[2.5], [4.0]]


def test_csv_with_fractions_for_an_integer_input_is_refused(tmp_path):
    (tmp_path / "d.csv").write_text("0,1.5,2\n1,3,4\n")
    inputs = [TensorInfo("in", ("N", 2), "int32")]
    assert codes(check_fit(load_samples("d.csv", tmp_path), inputs, labels=False)) == ["data-dtype"]


def test_csv_of_a_wrong_width_is_a_shape_finding(tmp_path):
    (tmp_path / "d.csv").write_text("0,1,2,3\n")
    (finding,) = check_fit(load_samples("d.csv", tmp_path), [X], labels=False)
    assert finding.code == "data-shape"
    assert "[1, 3]" in finding.why


def test_function_yields_batches_and_its_digest_names_their_values(tmp_path, monkeypatch):
    (tmp_path / "make_data_a.py").write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    for start in (0, 2):\n"
        "        yield {'x': np.full((2, 4), start, 'float32'), 'labels': np.array([0, 1])}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    read = load_samples("make_data_a:batches", tmp_path)
    assert (read.count, read.source) == (4, "make_data_a:batches")
    assert read.labels.tolist() == [0, 1, 0, 1]
    assert read.digest == load_samples("make_data_a:batches", tmp_path).digest
    assert codes(check_fit(read, [X], labels=True)) == []


@pytest.mark.parametrize("spec", ["no_such_module_b:f", "math:no_function", "math:sqrt"])
def test_function_that_fails_is_refused_with_its_own_error(spec, tmp_path):
    with pytest.raises(InputError) as caught:
        load_samples(spec, tmp_path)
    assert caught.value.code == "data-function-failed"
    assert "Error" in caught.value.why


def test_data_that_fits_has_no_findings():
    assert check_fit(samples(x=np.zeros((3, 4), "float32")), [X], labels=False) == []


def test_all_misfits_are_found_at_once():
    inputs = [X, TensorInfo("y", ("N", 2), "int32"), TensorInfo("z", (1, 3), "float32")]
    given = samples(x=np.zeros((3, 5), "float64"), z=np.zeros((3, 3), "float32"))
    assert codes(check_fit(given, inputs, labels=True)) == [
        "data-shape",
        "data-dtype",
        "data-input-missing",
        "labels-missing",
    ]


def test_integer_that_could_be_cast_is_a_finding_not_a_silent_cast():
    features = samples(bytes=np.zeros((3, 8), "int16"))
    (finding,) = check_fit(features, [TensorInfo("bytes", ("N", 8), "int32")], labels=False)
    assert finding.code == "data-dtype"
    assert finding.fix == "save it as bytes.astype('int32')"


def test_cast_that_changes_values_is_said_so():
    given = samples(x=np.array([[300, 1, 2, 3]]))
    (finding,) = check_fit(given, [TensorInfo("x", ("N", 4), "uint8")], labels=False)
    assert "some values change" in finding.fix


def test_fixed_batch_of_one_takes_any_number_of_samples():
    one = TensorInfo("x", (1, 4), "float32")
    assert check_fit(samples(x=np.zeros((9, 4), "float32")), [one], labels=False) == []


def test_value_of_rank_0_stands_for_all_samples():
    inputs = [X, TensorInfo("threshold", (1,), "float32"), TensorInfo("k", (), "int64")]
    given = samples(
        x=np.zeros((3, 4), "float32"), threshold=np.array(0.5, "float32"), k=np.array(3)
    )
    assert check_fit(given, inputs, labels=False) == []


def test_samples_for_raises_all_findings(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 5), "float64"))
    with pytest.raises(InputError) as caught:
        samples_for("d.npz", tmp_path, [X], labels=True)
    assert codes(caught.value.findings) == ["data-shape", "data-dtype", "labels-missing"]


def test_other_arrays_of_the_same_length_are_left_aside(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), "float32"), names=np.array(["a", "b"]))
    assert list(samples_for("d.npz", tmp_path, [X]).arrays) == ["x"]


def test_damaged_archives_are_malformed_and_not_a_fault_of_ours(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((40, 4)), labels=np.arange(40))
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        try:
            load_samples("d.npz", tmp_path)
        except InputError:
            refused += 1
    assert refused


@pytest.mark.parametrize("shape", [(10**15,), (10**30,)])
def test_array_larger_than_any_memory_is_malformed(shape, tmp_path):
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    with pytest.raises(InputError) as refused:
        load_samples("d.npz", tmp_path)
    assert refused.value.code == "data-malformed"


def test_archive_with_a_member_that_is_no_array_is_malformed(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4)))
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.writestr("readme.txt", "what this is")
    with pytest.raises(InputError, match="cannot be read") as refused:
        load_samples("d.npz", tmp_path)
    assert "'readme.txt' is no array" in refused.value.why


def test_one_label_for_all_samples_is_refused():
    found = check_fit(samples(np.array(3), x=np.zeros((2, 4), "f4")), [X], labels=True)
    assert codes(found) == ["labels-misfit"]


def test_data_are_read_once_while_somebody_wants_that(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 4), "float32"))
    with once.reading_once():
        with once.reading_once():
            first = load_samples("d.npz", tmp_path)
        assert load_samples("d.npz", tmp_path).arrays["x"] is first.arrays["x"]
        np.savez(tmp_path / "d.npz", x=np.ones((3, 4), "float32"))
        assert load_samples("d.npz", tmp_path).count == 3
    assert load_samples("d.npz", tmp_path).arrays["x"] is not first.arrays["x"]


def test_data_that_are_too_large_are_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(once, "MOST", 100)
    np.savez(tmp_path / "small.npz", x=np.zeros((2, 4), "float32"))
    np.savez(tmp_path / "large.npz", x=np.zeros((6, 4), "float32"))
    with once.reading_once():
        small, large = (load_samples(name, tmp_path) for name in ("small.npz", "large.npz"))
        assert load_samples("small.npz", tmp_path).arrays["x"] is small.arrays["x"]
        assert load_samples("large.npz", tmp_path).arrays["x"] is not large.arrays["x"]
