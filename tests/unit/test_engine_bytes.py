"""The table of what engines add to an application, and the figure made from it."""

from __future__ import annotations

import pytest

from edgeops.validate.engine_bytes import engine_figure, table

ENGINES = {"onnxruntime", "litert", "mnn", "ncnn", "openvino"}


def test_table_has_every_engine_for_both_architectures():
    pairs = [(row["engine"], row["machine"]) for row in table()]
    assert sorted(pairs) == sorted((e, m) for e in ENGINES for m in ("aarch64", "x86_64"))


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row['engine']}-{row['machine']}")
def test_sums_of_the_table_are_right(row):
    assert row["bytes"] == row["libraries"] + row["python"]
    assert 0 < row["packed"] < row["bytes"]
    assert row["packed"] < row["wheel"] * 1.1
    assert 0 < row["python"] < row["libraries"]


def test_figure_states_what_was_measured():
    row = next(r for r in table() if (r["engine"], r["machine"]) == ("onnxruntime", "aarch64"))
    figure = engine_figure("onnxruntime", row["version"], "aarch64")
    assert figure.value == row["bytes"] / 1e6
    assert figure.unit == "MB"
    assert f"onnxruntime {row['version']} for aarch64" in figure.method
    assert "the device has" not in figure.method


def test_another_version_on_the_device_is_told():
    assert "(the device has 0.1)" in engine_figure("ncnn", "0.1", "x86_64").method


@pytest.mark.parametrize("machine", ["arm64", "ARM64", "aarch64"])
def test_names_of_one_architecture_are_one(machine):
    assert engine_figure("mnn", "1", machine) == engine_figure("mnn", "1", "aarch64")


@pytest.mark.parametrize(
    ("engine", "machine", "system", "why"),
    [
        ("onnxruntime", "armv7l", "Linux 6.1", "measured for aarch64, x86_64, not for armv7l"),
        ("onnxruntime", "", "Linux 6.1", "an unknown processor"),
        ("paddle", "x86_64", "Linux 6.1", "nobody measured what paddle adds"),
        ("onnxruntime", "arm64", "Darwin 24", "not Darwin 24"),
        ("mnn", "aarch64", "Android 14", "libraries for Android are in no package index"),
        ("mnn", "aarch64", "Linux 6.1-android14", "libraries for Android are in no package index"),
    ],
)
def test_what_nobody_measured_is_absent_with_the_reason(engine, machine, system, why):
    figure = engine_figure(engine, "1", machine, system)
    assert figure.value is None
    assert why in figure.absent
