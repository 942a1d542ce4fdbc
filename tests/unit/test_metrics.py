"""Metrics against scikit-learn, the rule that finds the output, and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.errors import InputError, MissingError, StageFailed
from edgeops.validate.accuracy import agreement, drop, evaluate
from edgeops.validate.audio import SiSdr
from edgeops.validate.bootstrap import HasTerms, HasWeights
from edgeops.validate.detection import Map
from edgeops.validate.metrics import F1, Accuracy, Auc, TopK, figure_name, resolve
from edgeops.validate.metrics_values import Mae, Rmse
from edgeops.validate.scores import class_ids, class_labels, class_output, regression_output


@pytest.fixture
def scored():
    """Return scores [300, 7] that are right more often than not, and labels [300]."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 7, 300)
    scores = random.random((300, 7)).astype(np.float32)
    scores[np.arange(300), labels] += 0.4
    return {"scores": scores}, labels


def test_accuracy_is_scikit_learns(scored):
    from sklearn.metrics import accuracy_score

    outputs, labels = scored
    assert Accuracy().score(outputs, labels) == accuracy_score(
        labels, outputs["scores"].argmax(axis=1)
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_is_scikit_learns(k, scored):
    from sklearn.metrics import top_k_accuracy_score

    outputs, labels = scored
    assert TopK(k).score(outputs, labels) == top_k_accuracy_score(labels, outputs["scores"], k=k)


def test_scores_of_a_quantized_model_are_scores(scored):
    outputs, labels = scored
    whole = {"scores": (outputs["scores"] * 100 - 128).astype(np.int8)}
    real = {"scores": whole["scores"].astype(np.float32)}
    for metric in (Accuracy(), TopK(3), F1(), Auc()):
        assert metric.score(whole, labels) == metric.score(real, labels)


def test_f1_is_scikit_learns_and_so_are_its_terms(scored):
    from sklearn.metrics import f1_score

    outputs, labels = scored
    expected = f1_score(labels, outputs["scores"].argmax(axis=1), average="macro")
    terms = F1().terms(outputs, labels)
    assert F1().score(outputs, labels) == expected
    assert F1().combine(terms.mean(axis=0)) == pytest.approx(expected, abs=1e-12)


def test_auc_is_scikit_learns_one_against_the_rest(scored):
    from sklearn.metrics import roc_auc_score

    outputs, labels = scored
    scores = outputs["scores"] / outputs["scores"].sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, scores.astype(float), multi_class="ovr", average="macro")
    assert Auc().score({"scores": scores}, labels) == pytest.approx(expected, abs=1e-3)
    once = np.ones((1, len(labels)), dtype=int)
    essence = Auc().essence({"scores": scores}, labels)
    assert Auc().weigh(essence, once)[0] == pytest.approx(
        Auc().score({"scores": scores}, labels), abs=1e-12
    )


def test_auc_of_two_classes_takes_the_score_of_the_second():
    labels = np.array([0, 0, 1, 1])
    two = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], np.float32)
    assert Auc().score({"p": two}, labels) == 0.75
    assert Auc().score({"p": two[:, 1]}, labels) == 0.75


def test_auc_of_two_logits_is_that_of_the_probabilities_they_stand_for():
    random = np.random.default_rng(8)
    logits, labels = random.normal(size=(60, 2)), random.integers(0, 2, 60)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert Auc().score({"p": logits}, labels) == pytest.approx(
        Auc().score({"p": chances}, labels), abs=1e-12
    )


@pytest.mark.parametrize("weights", [[[3, 1, 2, 2]], [[1, 0, 1, 0]]])
def test_auc_by_weights_is_the_auc_of_repeated_samples(weights):
    labels = np.array([0, 0, 1, 1])
    scores = np.array([0.1, 0.4, 0.4, 0.8], np.float32)
    often = np.repeat(np.arange(4), weights[0])
    expected = Auc().score({"p": scores[often]}, labels[often])
    essence = Auc().essence({"p": scores}, labels)
    assert Auc().weigh(essence, np.array(weights))[0] == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 4)])
def test_rmse_is_scikit_learns(shape):
    from sklearn.metrics import root_mean_squared_error

    random = np.random.default_rng(4)
    labels, predicted = random.random(shape), random.random(shape)
    assert Rmse().score({"y": predicted}, labels) == pytest.approx(
        root_mean_squared_error(labels, predicted), abs=1e-15
    )


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 4)])
def test_mae_is_scikit_learns(shape):
    from sklearn.metrics import mean_absolute_error

    random = np.random.default_rng(4)
    labels, predicted = random.random(shape), random.random(shape)
    assert Mae().score({"y": predicted}, labels) == pytest.approx(
        mean_absolute_error(labels, predicted), abs=1e-15
    )


def test_scores_that_are_not_finite_count_as_wrong():
    scores = np.array([[0.9, 0.1], [np.nan, 0.1], [np.inf, 0.2]], np.float32)
    assert Accuracy().score({"p": scores}, np.array([0, 0, 0])) == pytest.approx(1 / 3)
    assert TopK(5).score({"p": scores}, np.array([0, 0, 0])) == pytest.approx(1 / 3)


def test_figure_that_is_not_finite_is_absent_with_its_reason():
    figure = evaluate({"y": np.array([1.0, np.nan])}, np.array([1.0, 2.0]), Rmse())
    assert figure.value is None
    assert figure.absent == "rmse came out as no finite number"


@pytest.mark.parametrize(
    ("array", "ids"),
    [
        (np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 0]),
        (np.array([2, 0], np.int64), [2, 0]),
        (np.array([[2], [0]], np.int64), [2, 0]),
        (np.array([0.2, 0.7]), [0, 1]),
        (np.array([[-3.0], [4.0]]), [0, 1]),
        (np.array([0.2, 4.0]), [1, 1]),
        (np.array([[[0.1, 0.9]], [[0.8, 0.2]]]), [1, 0]),
    ],
)
def test_class_ids_come_from_scores_logits_and_ids(array, ids):
    assert class_ids(array).tolist() == ids


def test_class_ids_of_text_stay_text():
    assert class_ids(np.array(["cat", "dog"], dtype=object)).tolist() == ["cat", "dog"]


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4)), np.zeros((2, 3), np.int64)])
def test_class_ids_are_refused_where_there_are_none(array):
    with pytest.raises(InputError) as refused:
        class_ids(array)
    assert refused.value.code == "output-no-classes"


def test_class_ids_are_refused_for_detections_of_different_numbers():
    detections = np.empty(2, dtype=object)
    detections[0], detections[1] = np.zeros((3, 4)), np.zeros((1, 4))
    with pytest.raises(InputError) as refused:
        class_ids(detections)
    assert refused.value.code == "output-no-classes"


SCORES, BOXES, IDS = np.zeros((5, 3)), np.zeros((5, 4)), np.zeros(5, np.int64)


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        ({"anything": BOXES}, "anything"),
        ({"label": IDS, "probabilities": SCORES}, "probabilities"),
        ({"boxes": BOXES, "softmax_1": SCORES}, "softmax_1"),
        ({"label": IDS, "hidden": np.zeros((5, 2, 2))}, "label"),
    ],
)
def test_class_output_is_found_by_shape_then_name(outputs, name):
    assert class_output(outputs)[0] == name


def test_class_output_is_refused_when_it_is_unclear():
    with pytest.raises(InputError) as refused:
        class_output({"a": SCORES, "b": BOXES})
    assert refused.value.code == "output-unclear"
    assert "a float64[5, 3], b float64[5, 4]" in refused.value.why


def test_regression_output_is_the_one_that_fits_the_labels():
    labels = np.zeros((5, 4))
    assert regression_output({"probabilities": SCORES, "boxes": BOXES}, labels)[0] == "boxes"
    with pytest.raises(InputError) as refused:
        regression_output({"a": BOXES, "b": BOXES}, labels)
    assert refused.value.code == "output-unclear"


def test_output_option_names_the_output(scored):
    outputs, labels = scored
    both = {**outputs, "other": outputs["scores"][:, ::-1]}
    assert evaluate(both, labels, Accuracy(), output="scores", rounds=0).value > 0.5
    with pytest.raises(InputError) as refused:
        evaluate(both, labels, Accuracy(), output="nothing")
    assert refused.value.code == "output-unknown"


@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        (np.array([2, 0]), [2, 0]),
        (np.array([[2], [0]]), [2, 0]),
        (np.array([[0, 0, 1], [1, 0, 0]]), [2, 0]),
        (np.array([2.0, 0.0]), [2, 0]),
    ],
)
def test_labels_are_ids_columns_or_one_hot(labels, ids):
    assert class_labels(labels, 2).tolist() == ids


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (None, "labels-missing"),
        (np.array([1, 2, 3]), "labels-misfit"),
        (np.array(1), "labels-misfit"),
        (np.array([0.5, 1.0]), "labels-misfit"),
        (np.array([[1, 1], [0, 1]]), "labels-misfit"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, code):
    with pytest.raises(InputError) as refused:
        class_labels(labels, 2)
    assert refused.value.code == code


def test_text_labels_are_refused_for_numbered_classes(scored):
    outputs, labels = scored
    with pytest.raises(InputError) as refused:
        evaluate(outputs, labels.astype(str), Accuracy())
    assert refused.value.code == "labels-misfit"


def test_auc_is_refused_with_one_class(scored):
    outputs, labels = scored
    with pytest.raises(InputError) as refused:
        evaluate(outputs, np.zeros_like(labels), Auc())
    assert refused.value.code == "metric-undefined"


def test_drop_is_positive_when_the_second_is_worse_whichever_way_the_metric_points():
    labels = np.array([0.0, 1.0, 2.0])
    near, far = {"y": labels + 0.1}, {"y": labels + 0.5}
    assert drop(near, far, labels, Rmse()).value == pytest.approx(0.4)
    right, wrong = {"p": np.eye(3)}, {"p": np.eye(3)[::-1].copy()}
    assert drop(right, wrong, np.array([0, 1, 2]), Accuracy()).value == pytest.approx(2 / 3)


def test_drop_of_nothing_is_exactly_nothing(scored):
    outputs, labels = scored
    figure = drop(outputs, outputs, labels, Accuracy())
    assert (figure.value, figure.interval) == (0.0, (0.0, 0.0))


def test_agreement_is_the_share_of_equal_classes():
    before = {"p": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]])}
    after = {"p": np.array([[0.7, 0.3], [0.9, 0.1], [0.6, 0.4], [0.9, 0.1]])}
    assert agreement(before, after).value == 0.75


def test_interval_is_the_same_for_the_same_seed_only(scored):
    outputs, labels = scored
    first = evaluate(outputs, labels, Accuracy())
    assert evaluate(outputs, labels, Accuracy()) == first
    assert evaluate(outputs, labels, Accuracy(), rounds=0).interval is None


def test_interval_of_accuracy_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(5)
    truth, hits, trials = 0.8, 0, 300
    for trial in range(trials):
        right = random.random(200) < truth
        outputs = {"p": np.where(right[:, None], [1.0, 0.0], [0.0, 1.0])}
        low, high = evaluate(outputs, np.zeros(200, int), Accuracy(), seed=trial).interval
        hits += low <= truth <= high
    assert 0.91 <= hits / trials <= 0.98


def test_paired_interval_of_a_drop_is_narrower_than_that_of_unpaired_samples(scored):
    outputs, labels = scored
    random = np.random.default_rng(6)
    noise = random.normal(0, 0.05, outputs["scores"].shape).astype(np.float32)
    nearly = {"scores": outputs["scores"] + noise}
    low, high = drop(outputs, nearly, labels, Accuracy()).interval
    one = evaluate(outputs, labels, Accuracy()).interval
    assert high - low < one[1] - one[0]


@pytest.mark.parametrize("kind", [Accuracy, F1, Auc])
def test_fast_bootstraps_agree_with_scoring_each_resample(kind, scored):
    class Slow:
        name, api, higher_is_better = "slow", 1, True

        def score(self, outputs, labels):
            return kind().score(outputs, labels)

    assert isinstance(kind(), HasTerms | HasWeights)
    assert not isinstance(Slow(), HasTerms | HasWeights)
    outputs, labels = scored
    fast = evaluate(outputs, labels, kind()).interval
    slow = evaluate(outputs, labels, Slow()).interval
    width = fast[1] - fast[0]
    assert fast == pytest.approx(slow, abs=width / 4)


def test_resolve_finds_registered_metrics_and_refuses_others(tmp_path):
    assert isinstance(resolve("accuracy", tmp_path), Accuracy)
    with pytest.raises(MissingError) as refused:
        resolve("acuracy", tmp_path)
    assert refused.value.code == "plugin-unknown"
    assert "did you mean 'accuracy'" in refused.value.what


def test_resolve_loads_a_function_of_the_project(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def worst(outputs, labels):\n    return abs(outputs['y'] - labels).max()\n"
        "worst.higher_is_better = False\n"
    )
    metric = resolve("mine:worst", tmp_path)
    labels = np.array([1.0, 2.0, 3.0])
    assert (metric.name, metric.higher_is_better) == ("worst", False)
    assert figure_name("mine:worst") == "worst"
    assert evaluate({"y": labels + 0.5}, labels, metric).value == 0.5
    assert drop({"y": labels}, {"y": labels + 0.5}, labels, metric).value == 0.5


@pytest.mark.parametrize("spec", ["nowhere_at_all:score", "mine:nothing", "mine:"])
def test_resolve_refuses_a_function_that_is_not_there(spec, tmp_path):
    (tmp_path / "mine.py").write_text("def score(outputs, labels):\n    return 1.0\n")
    with pytest.raises(InputError) as refused:
        resolve(spec, tmp_path)
    assert refused.value.code == "metric-broken"


def test_failing_function_of_the_project_is_its_own_fault(tmp_path):
    (tmp_path / "mine.py").write_text("def score(outputs, labels):\n    return outputs['z']\n")
    with pytest.raises(StageFailed) as failed:
        resolve("mine:score", tmp_path).score({"y": np.zeros(2)}, np.zeros(2))
    assert failed.value.code == "metric-failed"
    assert failed.value.why == "KeyError: 'z'"


@pytest.mark.parametrize(
    "labels",
    [
        np.full(4, np.inf),
        np.full(4, 1e300),
        np.full(4, np.nan),
        np.full(4, 1j),
        np.array(["2020"] * 4, "M8[D]"),
        np.zeros(4, "i4,i4"),
        np.zeros((4, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("metric", [Accuracy(), TopK(3), F1(), Auc(), Map(), SiSdr(), Rmse()])
def test_labels_of_a_kind_that_says_nothing_are_refused_or_give_no_figure(metric, labels):
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            figure = evaluate({"y": np.eye(4)}, labels, metric)
        except InputError:
            return
    assert figure.value is None


def test_labels_may_be_truth_values_or_bytes():
    ids = {"y": np.array([0, 1, 1, 0])}
    assert evaluate(ids, np.array([False, True, True, False]), Accuracy()).value == 1
    scores = {"y": np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]])}
    assert evaluate(scores, np.array([False, True, True, False]), Auc()).value == 1
    three = {"y": np.eye(3)[[0, 1, 1, 0]]}
    assert evaluate(three, np.array([False, True, True, False]), Auc()).value == 1
    names = {"y": np.array(["käse", "brot"])}
    assert evaluate(names, np.char.encode(names["y"], "utf-8"), Accuracy()).value == 1
    assert evaluate(names, np.array([b"\xff", b"brot"]), Accuracy()).value == 0.5
