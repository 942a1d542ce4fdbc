"""Mean average precision against a slow reading of its definition, and the forms that are taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.validate.boxes import detections, objects
from edgeops.validate.detection import Map, Map50
from tests.metric_data import boxes

THRESHOLDS = {"map": np.linspace(0.5, 0.95, 10), "map50": np.array([0.5])}


def overlap(one, other):
    """Return intersection over union of two boxes."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    union -= width * height
    return width * height / union if union > 0 else 0.0


def hits_of(found, wanted, threshold):
    """Return (score, hit) of one sample's detections of a class, greedy by score."""
    free, hits = set(range(len(wanted))), []
    for box in sorted(found, key=lambda box: -box[4])[:100]:
        best, place = min(threshold, 1 - 1e-10), None
        for index in sorted(free):
            if overlap(box, wanted[index]) >= best:
                best, place = overlap(box, wanted[index]), index
        free.discard(place)
        hits.append((box[4], place is not None))
    return hits


def average(hits, there):
    """Return the mean of 101 precisions; detections of equal score count together."""
    points, right, total = [], 0, 0
    for score in sorted({score for score, _ in hits}, reverse=True):
        same = [hit for one, hit in hits if one == score]
        right, total = right + sum(same), total + len(same)
        points.append((right / there, right / total))
    recalls = np.linspace(0, 1, 101)
    return np.mean([max([p for r, p in points if r >= recall], default=0) for recall in recalls])


def brute(found, labels, thresholds):
    """Return the figure by its definition, box by box."""
    classes = sorted({int(box[4]) for rows in labels for box in rows if box[4] >= 0})
    each = []
    for class_ in classes:
        wanted = [[box for box in rows if box[4] == class_] for rows in labels]
        ours = [[box for box in rows if box[5] == class_ and box[4] > 0] for rows in found]
        there = sum(map(len, wanted))
        for threshold in thresholds:
            pairs = zip(ours, wanted, strict=True)
            each.append(
                average([hit for pair in pairs for hit in hits_of(*pair, threshold)], there)
            )
    return float(np.mean(each))


@pytest.mark.parametrize("metric", [Map(), Map50()], ids=lambda metric: metric.name)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 8),
    classes=st.integers(1, 4),
    most=st.integers(1, 4),
    extra=st.integers(0, 4),
    steps=st.sampled_from([None, 3, 10]),
)
def test_figure_is_that_of_its_definition(metric, seed, samples, classes, most, extra, steps):
    outputs, labels = boxes(
        np.random.default_rng(seed), samples, classes=classes, most=most, extra=extra, steps=steps
    )
    found = outputs["detections"].astype(float)
    assert metric.score({"d": found}, labels) == pytest.approx(
        brute(found, labels, THRESHOLDS[metric.name]), abs=1e-12
    )


def test_more_than_a_hundred_detections_of_a_class_do_not_count():
    outputs, labels = boxes(np.random.default_rng(4), 2, classes=1, most=3, extra=150)
    found = outputs["detections"].astype(float)
    expected = brute(found, labels, THRESHOLDS["map50"])
    assert Map50().score({"d": found}, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [Map(), Map50()], ids=lambda metric: metric.name)
def test_figure_is_that_of_pycocotools(metric, capsys):
    coco = pytest.importorskip("pycocotools.coco", reason="compares with the package pycocotools")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    outputs, labels = boxes(np.random.default_rng(6), 25, classes=4)
    rows = outputs["detections"].astype(float)
    found = [(s, box) for s, each in enumerate(rows) for box in each if box[4] > 0]
    wanted = [(s, box) for s, each in enumerate(labels) for box in each if box[4] >= 0]

    def entry(sample, box, class_):
        size = [box[2] - box[0], box[3] - box[1]]
        return {"image_id": sample, "category_id": int(class_), "bbox": [*box[:2], *size]}

    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": sample} for sample in range(25)],
        "categories": [{"id": class_} for class_ in range(4)],
        "annotations": [
            entry(s, box, box[4]) | {"id": n, "iscrowd": 0, "area": 100.0}
            for n, (s, box) in enumerate(wanted, 1)
        ],
    }
    truth.createIndex()
    ours = truth.loadRes([entry(s, box, box[5]) | {"score": box[4]} for s, box in found])
    judge = evaluation.COCOeval(truth, ours, "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    capsys.readouterr()
    stated = judge.stats[["map", "map50"].index(metric.name)]
    assert metric.score({"d": rows}, labels) == pytest.approx(stated, abs=1e-12)


BOX = [10.0, 10.0, 30.0, 30.0]
FAR = [60.0, 60.0, 90.0, 90.0]


def one(*rows):
    return {"d": np.array([rows], float)}


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ([[*BOX, 0.9, 0]], 1.0),
        ([[*BOX, 0.9, 1]], 0.0),
        ([[*FAR, 0.9, 0]], 0.0),
        ([[*BOX, 0.9, 0], [*FAR, 0.8, 0]], 1.0),
        ([[*BOX, 0.8, 0], [*FAR, 0.9, 0]], 0.5),
        ([[*BOX, 0.9, 0], [*BOX, 0.8, 0]], 1.0),
        ([[*BOX, 0.9, 0], [*FAR, 0.9, 0]], 0.5),
        ([[*BOX, 0.9, 0], [0, 0, 0, 0, 0, 0]], 1.0),
        ([[*BOX, 0.9, 0], [*FAR, 0.95, -1]], 1.0),
        ([[0, 0, 0, 0, 0, 0]], 0.0),
    ],
)
def test_one_box_by_hand(found, value):
    labels = np.array([[[*BOX, 0], [-1, -1, -1, -1, -1]]])
    assert Map50().score(one(*found), labels) == pytest.approx(value)


def test_overlap_decides_which_thresholds_are_met():
    # Two thirds of the box: found at 0.5, 0.55, 0.6, 0.65.
    assert Map().score(one([10, 10, 30, 23.34, 0.9, 0]), np.array([[[*BOX, 0]]])) == pytest.approx(
        0.4
    )


def ragged(*parts):
    array = np.empty(len(parts), object)
    array[:] = parts
    return array


FORMS = {
    "one table": {"d": np.array([[[*BOX, 0.9, 1], [*FAR, 0.8, 2]], [[*BOX, 0.7, 1], [0] * 6]])},
    "ragged table": {
        "d": ragged(np.array([[*BOX, 0.9, 1], [*FAR, 0.8, 2]]), np.array([[*BOX, 0.7, 1]]))
    },
    "ragged with a batch axis": {
        "d": ragged(np.array([[[*BOX, 0.9, 1], [*FAR, 0.8, 2]]]), np.array([[[*BOX, 0.7, 1]]]))
    },
    "separate": {
        "detection_boxes": np.array([[BOX, FAR], [BOX, [0] * 4]]),
        "detection_scores": np.array([[0.9, 0.8], [0.7, 0]]),
        "detection_classes": np.array([[1.0, 2.0], [1.0, 0]]),
        "num_detections": np.array([2.0, 1.0]),
    },
    "separate and ragged": {
        "boxes": ragged(np.array([BOX, FAR]), np.array([BOX])),
        "labels": ragged(np.array([1, 2]), np.array([1])),
        "scores": ragged(np.array([0.9, 0.8]), np.array([0.7])),
    },
    "unnamed": {
        "a": np.array([[BOX, FAR], [BOX, [0] * 4]]),
        "b": np.array([[[0.9], [0.8]], [[0.7], [0]]]),
        "c": np.array([[1, 2], [1, 0]]),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_outputs_say_the_same(form):
    found = detections(FORMS[form])
    assert found.sample.tolist() == [0, 0, 1]
    assert found.corners.tolist() == [BOX, FAR, BOX]
    assert found.scores.tolist() == [0.9, 0.8, 0.7]
    assert found.classes.tolist() == [1, 2, 1]


def test_one_detection_a_sample_is_a_table_too():
    found = detections({"boxes": np.array([BOX, FAR]), "scores": np.array([0.5, 0.25])})
    assert (found.sample.tolist(), found.classed) == ([0, 1], False)
    assert detections({"d": np.array([[*BOX, 0.5], [*FAR, 0.25]])}).scores.tolist() == [0.5, 0.25]


def test_sample_without_any_detection_may_be_empty():
    found = detections({"d": ragged(np.zeros((0, 6)), np.array([[*BOX, 0.5, 3]]))})
    assert (found.sample.tolist(), found.classes.tolist()) == ([1], [3])


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[[*BOX, 1], [*FAR, 2]], [[*BOX, 1], [-1] * 5]]),
        ragged(np.array([[*BOX, 1], [*FAR, 2]]), np.array([[*BOX, 1]])),
        ragged(np.array([[*BOX, 1], [*FAR, 2], [0, 0, 0, 0, -1]]), np.array([[*BOX, 1]])),
    ],
)
def test_forms_of_labels_say_the_same(labels):
    wanted = objects(labels, 2)
    assert wanted.sample.tolist() == [0, 0, 1]
    assert wanted.classes.tolist() == [1, 2, 1]


def test_labels_without_classes_ask_for_boxes_alone():
    labels = np.array([[BOX, [-1] * 4]])
    assert Map50().score(one([*BOX, 0.9, 7]), labels) == 1.0
    assert Map50().score(one([*BOX, 0.9]), labels) == 1.0


def test_numbers_that_are_none_leave_the_figure_out():
    labels = np.array([[[*BOX, 0]]])
    assert np.isnan(Map50().score(one([*BOX, np.nan, 0]), labels))
    assert np.isnan(Map50().score(one([*BOX[:3], np.inf, 0.5, 0]), labels))


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ({"d": np.zeros((2, 84, 8400))}, "which output holds detections"),
        (
            {"boxes": np.zeros((2, 9, 4)), "scores": np.zeros((2, 9, 2))},
            "scores (one number a box)",
        ),
        ({"a": np.zeros((2, 9, 4)), "b": np.zeros((2, 9, 4))}, "corners (4 columns)"),
        ({"d": np.array(["x", "y"])}, "which output holds detections"),
        ({"d": np.array([[[5.0, 5, 3, 3, 0.9, 0]]] * 2)}, "second corner before the first"),
        ({"d": np.array([[[*BOX, 0.9, 0.5]]] * 2)}, "no whole number"),
        ({"d": ragged(np.zeros((1, 6)), np.zeros((1, 7)))}, "which output holds detections"),
    ],
)
def test_outputs_without_detections_are_refused(outputs, why):
    with pytest.raises(InputError) as refused:
        detections(outputs)
    assert refused.value.code == "output-no-detections"
    assert why in refused.value.why


@pytest.mark.parametrize(
    ("labels", "code", "why"),
    [
        (None, "labels-missing", ""),
        (np.array([1, 2]), "labels-misfit", "int64[2]"),
        (np.zeros((2, 3, 6)), "labels-misfit", "float64[2, 3, 6]"),
        (np.zeros((3, 3, 5)), "labels-misfit", "answered 2 samples and labels have 3"),
        (np.array([[[*BOX, 0]], [[30, 30, 5, 5, 0]]]), "labels-misfit", "sample 1 has its second"),
        (np.array([[[*BOX, 0.5]]] * 2), "labels-misfit", "class of sample 0 is 0.5"),
        (np.array([[[*BOX[:3], np.nan, 0]]] * 2), "labels-misfit", "sample 0 holds what is no"),
    ],
)
def test_labels_that_are_no_boxes_are_refused(labels, code, why):
    with pytest.raises(InputError) as refused:
        objects(labels, 2)
    assert refused.value.code == code
    assert why in refused.value.why


def test_nothing_labelled_means_nothing():
    with pytest.raises(InputError) as refused:
        Map50().score(one([*BOX, 0.9, 0]), np.full((1, 2, 5), -1.0))
    assert refused.value.code == "metric-undefined"


def test_classes_that_only_the_labels_tell_are_refused():
    with pytest.raises(InputError) as refused:
        Map50().score(one([*BOX, 0.9]), np.array([[[*BOX, 0], [*FAR, 1]]]))
    assert refused.value.code == "labels-misfit"
    assert "a score alone" in refused.value.why
