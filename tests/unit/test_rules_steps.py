"""Postprocessing against results worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.errors import EdgeopsError
from edgeops.runtime.rules import FORMAT, boxes, parse


def _step(outputs, named=(), meta=None, **about):
    rules = parse({"format": FORMAT, "steps": [{"name": "s", **about}]}, "rules.yaml")
    return rules({}, outputs, named, meta=meta)["s"]


def _why(outputs, **about):
    with pytest.raises(EdgeopsError) as caught:
        _step(outputs, **about)
    assert caught.value.code == "rules-failed"
    return caught.value.why


def _classes(scores, **about):
    found = _step({"p": np.asarray(scores, np.float32)}, kind="classification", **about)
    return [(one["index"], round(one["score"], 6)) for one in found]


def test_classification_by_hand():
    assert _classes([[0.2, 0.5, 0.3]]) == [(1, 0.5)]
    assert _classes([[0.2, 0.5, 0.3]], top=5) == [(1, 0.5), (2, 0.3), (0, 0.2)]
    assert _classes([[0.4, 0.4, 0.2]], top=2) == [(0, 0.4), (1, 0.4)]
    assert _classes([[0.2, 0.5, 0.3]], top=3, least=0.25) == [(1, 0.5), (2, 0.3)]
    assert _classes([[0.0, np.log(3.0)]], apply="softmax", top=2) == [(1, 0.75), (0, 0.25)]
    assert _classes([[0.0, -np.log(3.0)]], apply="sigmoid", top=2) == [(0, 0.5), (1, 0.25)]
    assert _classes([[1000.0, -1000.0]], apply="softmax", top=2) == [(0, 1.0), (1, 0.0)]
    assert _classes([[-1000.0, 1000.0]], apply="sigmoid") == [(1, 1.0)]
    assert _classes([[[[0.1]], [[0.9]]]]) == [(1, 0.9)]


def test_one_score_is_that_of_class_1():
    assert _classes([[0.2]], top=2) == [(0, 0.8), (1, 0.2)]
    assert _classes([[np.log(3.0)]], apply="sigmoid") == [(1, 0.75)]
    why = _why({"p": np.array([[-3.0]])}, kind="classification", apply="softmax")
    assert "always 1" in why


def test_labels_are_the_bundles_or_the_steps_own():
    outputs = {"p": np.array([[0.1, 0.9]])}
    assert _step(outputs, ("a", "b"), kind="classification")[0]["label"] == "b"
    assert _step(outputs, ("a",), kind="classification")[0]["label"] == "1"
    assert _step(outputs, ("a", "b"), kind="classification", labels=["c", "d"])[0]["label"] == "d"


def test_scores_that_are_none_are_refused():
    assert "not finite" in _why({"p": np.array([[np.nan, 1.0]])}, kind="classification")
    assert "a list" in _why({"p": np.zeros((1, 2, 3))}, kind="classification")
    assert "no numbers" in _why({"p": np.array([["a", "b"]], object)}, kind="classification")
    assert "was not said" in _why({"p": np.zeros((1, 2)), "q": np.zeros(1)}, kind="classification")


def test_regression_scales():
    outputs = {"y": np.array([[1.0, 2.0]], np.float32)}
    assert _step(outputs, kind="regression", scale=10.0, offset=-1.0) == [9.0, 19.0]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7),
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([0, 0, 2, 2], [2, 0, 4, 2], 0.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 4, 4], [1, 1, 2, 2], 1 / 16),
    ],
)
def test_overlap_by_hand(one, other, expected):
    found = boxes.overlaps(np.array(one, float), np.array([other], float))
    assert found[0] == pytest.approx(expected)


def test_overlap_is_that_of_the_metrics():
    from edgeops.validate.matching import _overlap

    random = np.random.default_rng(0)
    low = random.uniform(0, 10, (20, 2))
    corners = np.concatenate([low, low + random.uniform(0, 5, (20, 2))], axis=1)
    expected = _overlap(corners, np.repeat(corners[None], 20, axis=0))
    found = np.stack([boxes.overlaps(box, corners) for box in corners])
    np.testing.assert_allclose(found, expected)


BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 10]], float)
SCORES = np.array([0.8, 0.9, 0.7, 0.6])


@pytest.mark.parametrize(
    ("classes", "overlap", "most", "kept"),
    [
        ([0, 0, 0, 0], 0.5, 10, [1, 2]),  # 90 / 110 overlap
        ([0, 0, 0, 0], 0.9, 10, [1, 0, 2]),  # the last is the first over again
        ([0, 1, 0, 1], 0.5, 10, [1, 0, 2]),
        ([0, 1, 0, 2], 0.5, 10, [1, 0, 2, 3]),
        ([0, 0, 0, 0], 0.5, 1, [1]),
        ([0, 0, 0, 0], 9 / 11, 10, [1, 0, 2]),  # not more than the threshold
    ],
)
def test_suppression_by_hand(classes, overlap, most, kept):
    found = boxes.suppressed(BOXES, SCORES, np.array(classes), overlap=overlap, most=most)
    assert found.tolist() == kept


def _slow_suppression(corners, scores, classes, overlap):
    """Return what stays by the definition: each box against all that stay before it."""
    kept = []
    for place in sorted(range(len(scores)), key=lambda index: (-scores[index], index)):
        rivals = [other for other in kept if classes[other] == classes[place]]
        if all(boxes.overlaps(corners[place], corners[[other]])[0] <= overlap for other in rivals):
            kept.append(place)
    return kept


@pytest.mark.parametrize("seed", range(10))
def test_suppression_is_its_definition(seed):
    random = np.random.default_rng(seed)
    low = random.integers(0, 20, (60, 2)).astype(float)
    corners = np.concatenate([low, low + random.integers(1, 12, (60, 2))], axis=1)
    scores, classes = random.integers(0, 9, 60) / 9, random.integers(0, 3, 60)
    found = boxes.suppressed(corners, scores, classes, overlap=0.3, most=1000)
    assert found.tolist() == _slow_suppression(corners, scores, classes, 0.3)


def test_orders_of_corners():
    expected = [[1.0, 2.0, 5.0, 8.0]]
    for order, written in (
        ("xyxy", [1, 2, 5, 8]),
        ("yxyx", [2, 1, 8, 5]),
        ("cxcywh", [3, 5, 4, 6]),
    ):
        assert boxes.corners(np.array([written], float), order).tolist() == expected


def test_ssd_by_hand():
    outputs = {
        "boxes": np.array([[[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.31, 0.4], [0.5, 0.5, 0.9, 1.0]]]),
        "scores": np.array([[[0.1, 0.9], [0.2, 0.8], [0.45, 0.55]]]),
    }
    about = {"kind": "detection", "form": "ssd", "boxes": "boxes", "scores": "scores"}
    found = _step(outputs, ("face",), **about, background=0, size=[100, 50])
    assert [(one["index"], one["label"], one["score"]) for one in found] == [
        (0, "face", 0.9),
        (0, "face", 0.55),
    ]
    assert found[0]["box"] == pytest.approx([10, 10, 30, 20])
    assert found[1]["box"] == pytest.approx([50, 25, 90, 50])
    relative = _step(outputs, **about, background=0, least=0.6)
    assert [one["box"] for one in relative] == [pytest.approx([0.1, 0.2, 0.3, 0.4])]


def test_yolo_by_hand():
    rows = [
        [50, 50, 20, 10, 0.9, 0.1, 0.8],
        [51, 50, 20, 10, 0.8, 0.2, 0.9],
        [10, 10, 4, 4, 0.4, 0.9, 0.1],
    ]
    about = {"kind": "detection", "form": "yolo", "least": 0.3}
    found = _step({"o": np.array([rows])}, ("a", "b"), **about)
    assert [(one["label"], round(one["score"], 6)) for one in found] == [("b", 0.72), ("a", 0.36)]
    assert found[0]["box"] == [40.0, 45.0, 60.0, 55.0]
    # Without a number for how sure it is of an object, and boxes as columns: YOLOv8 and later.
    later = np.array([[row[:4] + row[5:] for row in rows]]).transpose(0, 2, 1)
    found = _step({"o": later}, ("a", "b"), **about, columns=True, objectness=False)
    assert [(one["label"], one["score"]) for one in found] == [("b", 0.9), ("a", 0.9)]


@pytest.mark.parametrize(
    ("order", "row"),
    [("cxcywh", [50, 40, -20, -10]), ("xyxy", [60, 45, 40, 35]), ("yxyx", [45, 60, 35, 40])],
)
def test_a_negative_width_or_height_is_none(order, row):
    rows = np.array([[[*row, 1.0, 0.9], [*row[:3], abs(row[3]) + 20, 1.0, 0.8]]])
    found = _step({"o": rows}, kind="detection", form="yolo", order=order)
    assert found[0]["box"] == [50.0, 40.0, 50.0, 40.0]
    assert len(found) == 2
    for one in found:
        x1, y1, x2, y2 = one["box"]
        assert x1 <= x2
        assert y1 <= y2


def test_suppression_across_classes_and_most():
    rows = [[5, 5, 10, 10, 1, 0.9, 0.0], [5, 5, 10, 10, 1, 0.0, 0.8]]
    about = {"kind": "detection", "form": "yolo"}
    assert len(_step({"o": np.array([rows])}, **about)) == 2
    assert len(_step({"o": np.array([rows])}, **about, by_class=False)) == 1
    assert len(_step({"o": np.array([rows])}, **about, most=1)) == 1


def test_boxes_go_back_through_the_letterbox():
    from edgeops.runtime.features.form import Placement

    # A photo of 200 x 100 in an input of 100 x 100: half as large, 25 rows of bars above.
    placement = Placement(200, 100, 100, 100, 0.5, 0.5, 0.0, 25.0)
    rows = np.array([[[50, 50, 20, 10, 1.0, 0.9], [50, 10, 20, 30, 1.0, 0.8]]])
    about = {"kind": "detection", "form": "yolo"}
    found = _step({"o": rows}, meta={"photo": placement}, **about)
    assert [one["box"] for one in found] == [[80, 40, 120, 60], [80, 0, 120, 0]]
    named = _step({"o": rows}, meta={"photo": placement, "other": None}, image="photo", **about)
    assert named == found
    several = {"photo": placement, "other": placement}
    assert "several images (photo, other)" in _why({"o": rows}, meta=several, **about)
    assert _step({"o": rows}, meta=several, image="photo", **about) == found
    relative = rows / np.array([100, 100, 100, 100, 1, 1])
    again = _step({"o": relative}, meta={"photo": placement}, units="relative", **about)
    assert again[0]["box"] == pytest.approx([80, 40, 120, 60])


def test_detections_that_do_not_fit_are_refused():
    about = {"kind": "detection", "form": "ssd", "boxes": "b", "scores": "s"}
    assert "do not fit" in _why({"b": np.zeros((1, 3, 4)), "s": np.zeros((1, 2, 2))}, **about)
    assert "no output 'b'" in _why({"x": np.zeros((1, 3, 4))}, **about)
    assert "not finite" in _why({"b": np.full((1, 1, 4), np.inf), "s": np.ones((1, 1, 2))}, **about)
    assert _step({"b": np.zeros((1, 0, 4)), "s": np.zeros((1, 0, 2))}, **about) == []
