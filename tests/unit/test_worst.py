"""The worst samples: which are listed, in which order, what is said of them, and the sheet."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgeops.core.contracts import Samples
from edgeops.validate import sheet
from edgeops.validate.detection import Map50
from edgeops.validate.metrics import Accuracy
from edgeops.validate.metrics_values import Rmse
from edgeops.validate.worst import lines, worst_samples, write

LABELS = np.array([0, 1, 2, 0, 1])
SOURCE = np.array(
    [[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.6, 0.1], [0.1, 0.9, 0.0]]
)
DEVICE = np.array(
    [[0.4, 0.6, 0.0], [0.1, 0.8, 0.1], [0.9, 0.0, 0.1], [0.3, 0.1, 0.6], [0.1, 0.8, 0.1]]
)


def samples(labels=LABELS, *, slices=None, **arrays):
    arrays = arrays or {"x": np.zeros((len(labels), 4), np.float32)}
    return Samples(arrays, labels, len(labels), "e.npz", "sha256:0", slices or {})


def test_lost_samples_come_first_then_other_classes_then_values():
    found = worst_samples({"p": SOURCE}, {"p": DEVICE}, samples(), metric=Accuracy())
    assert [(one.index, one.kind) for one in found] == [
        (2, "lost"),
        (0, "lost"),
        (3, "other"),
        (4, "apart"),
    ]
    first = found[0]
    assert (first.label, first.source, first.device) == ("2", "2 (0.6)", "0 (0.9)")
    assert first.margin == pytest.approx(0.8)
    assert first.difference == pytest.approx(
        np.linalg.norm([0.7, -0.2, -0.5]) / SOURCE[2].dot(SOURCE[2]) ** 0.5
    )


def test_no_more_than_asked_for_and_none_where_nothing_differs():
    given = {"p": SOURCE}, {"p": DEVICE}
    assert len(worst_samples(*given, samples(), metric=Accuracy(), count=2)) == 2
    assert worst_samples({"p": SOURCE}, {"p": SOURCE}, samples(), metric=Accuracy()) == ()


def test_without_a_source_what_is_wrong_is_listed_the_surest_first():
    found = worst_samples(None, {"p": DEVICE}, samples(), metric=Accuracy())
    assert [(one.index, one.kind, one.source) for one in found] == [
        (2, "wrong", ""),
        (3, "wrong", ""),
        (0, "wrong", ""),
    ]


def test_class_ids_and_texts_are_compared_without_margins():
    source, device = np.array(["cat", "dog"]), np.array(["cat", "cat"])
    (one,) = worst_samples({"c": source}, {"c": device}, samples(np.array(["cat", "dog"])))
    assert (one.index, one.kind, one.source, one.device) == (1, "lost", "dog", "cat")
    assert (one.margin, one.difference) == (None, None)
    assert lines([one]) == [
        "sample 1: right in the source, wrong here; label dog; source dog -> cat"
    ]


def test_scores_that_are_no_numbers_are_named_as_that():
    device = DEVICE.copy()
    device[1] = np.nan
    found = worst_samples({"p": SOURCE}, {"p": device}, samples(), metric=Accuracy())
    broken = next(one for one in found if one.index == 1)
    assert (broken.kind, broken.device, broken.difference) == ("lost", "-1 (no number)", None)


def test_values_are_ordered_by_relative_difference():
    labels = np.zeros((3, 2))
    source = {"y": np.array([[1.0, 0.0], [100.0, 0.0], [3.0, 4.0]])}
    device = {"y": np.array([[1.5, 0.0], [101.0, 0.0], [3.0, 4.0]])}
    found = worst_samples(source, device, samples(labels), metric=Rmse())
    assert [(one.index, one.difference) for one in found] == [(0, 0.5), (1, 0.01)]
    assert (found[0].source, found[0].device, found[0].label) == ("[1, 0]", "[1.5, 0]", "[0, 0]")


def test_long_values_are_shown_where_they_differ_most():
    source = np.ones((2, 3, 5))
    device = source.copy()
    device[1, 2, 3] = 9
    (one,) = worst_samples(
        {"y": source}, {"y": device}, samples(np.zeros((2, 3, 5))), metric=Rmse()
    )
    assert (one.index, one.source, one.device) == (1, "[2, 3] 1", "[2, 3] 9")


def test_detections_of_other_numbers_are_apart():
    source, device = np.empty(2, object), np.empty(2, object)
    source[:] = [np.ones((2, 6)), np.ones((1, 6))]
    device[:] = [np.ones((2, 6)), np.ones((3, 6))]
    (one,) = worst_samples(
        {"d": source}, {"d": device}, samples(np.zeros((2, 1, 5))), metric=Map50()
    )
    assert (one.index, one.difference) == (1, None)
    assert (one.source, one.device) == ("[1, 6] values", "[3, 6] values")


def test_slices_of_a_sample_are_told():
    found = worst_samples(
        {"p": SOURCE},
        {"p": DEVICE},
        samples(slices={"light": np.array(["day", "day", "night", "day", "day"])}),
        metric=Accuracy(),
    )
    assert found[0].slices == {"light": "night"}
    assert lines(found)[0].endswith("by 0.8; light=night")


def test_both_files_are_written_whatever_was_found(tmp_path):
    write(tmp_path, (), samples())
    assert json.loads((tmp_path / "worst.json").read_text())["worst"] == []
    assert "no sample differs" in (tmp_path / "worst.svg").read_text()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((5, 1, 28, 28), (28, 28)),
        ((5, 3, 16, 20), (20, 16)),
        ((5, 400, 500, 3), (167, 134)),
        ((5, 49, 10, 1), (10, 49)),
    ],
)
def test_pictures_are_in_the_sheet(shape, size, tmp_path):
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    found = worst_samples({"p": SOURCE}, {"p": DEVICE}, samples(x=images), metric=Accuracy())
    write(tmp_path, found, samples(x=images))
    text = (tmp_path / "worst.svg").read_text()
    ET.fromstring(text)  # noqa: S314 - our own
    pictures = re.findall(r"base64,([^\"]+)", text)
    assert len(pictures) == len(found)
    assert struct.unpack(">II", base64.b64decode(pictures[0])[16:24]) == size


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 4, 3), (5, 8, 8, 2), (5, 16, 16)])
def test_other_inputs_have_no_picture(shape):
    assert sheet.picture({"x": np.zeros(shape, np.float32)}, 0) is None


def test_png_holds_the_pixels():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    data = sheet.png(pixels)
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    rows = np.frombuffer(zlib.decompress(data[start : start + size]), np.uint8).reshape(2, 10)
    assert (rows[:, 1:].reshape(2, 3, 3) == pixels).all()
    assert not rows[:, 0].any()


def test_captions_cannot_break_out_of_the_sheet():
    text = sheet.svg([sheet.Card(None, ("<script>alert(1)</script> & \x00" + "x" * 200,))])
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert not root.findall(".//{*}script")
    caption = root.find(".//{*}text").text
    assert caption.startswith("<script>")
    assert len(caption) == 90
