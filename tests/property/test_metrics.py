"""What holds of metrics, slices and kept evidence whatever the data."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeops.core import registry
from edgeops.errors import InputError
from edgeops.validate.accuracy import drop_from_kept, figures_from_kept, scored
from edgeops.validate.bootstrap import Terms
from edgeops.validate.metrics import F1, Accuracy, Auc, TopK
from edgeops.validate.metrics_values import Mae, Rmse
from edgeops.validate.packed import decode, encode
from edgeops.validate.scores import relative_difference
from edgeops.validate.slices import figure_names, parts
from tests.metric_data import data

KEPT = ("accuracy", "top3", "f1", "auc", "rmse", "mae", "si_sdr", "map50", "map")
# Importing scikit-learn takes longer than an example may.
unhurried = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 10**6)


@st.composite
def scored_classes(draw):
    """Draw whole-number scores [samples, classes], ties and all, and labels of every class."""
    classes, samples = draw(st.integers(2, 5)), draw(st.integers(5, 30))
    whole = arrays.arrays(np.int64, (samples, classes), elements=st.integers(-4, 4))
    labels = arrays.arrays(np.int64, samples, elements=st.integers(0, classes - 1))
    found = draw(labels)
    found[:classes] = np.arange(classes)
    return draw(whole).astype(np.float64), found


@unhurried
@given(scored_classes())
def test_only_the_order_of_scores_counts(given):
    scores, labels = given
    risen = {"p": np.exp(scores / 2) * 3 - 7}
    # Of two classes the area looks at the difference of the scores, not at each alone.
    area = (Auc(),) if scores.shape[1] > 2 else ()
    for metric in (Accuracy(), TopK(1), TopK(2), F1(), *area):
        assert metric.score(risen, labels) == metric.score({"p": scores}, labels)


@unhurried
@given(scored_classes())
def test_more_guesses_are_never_worse(given):
    scores, labels = given
    shares = [TopK(k).score({"p": scores}, labels) for k in range(1, 6)]
    assert shares == sorted(shares)
    assert shares[0] >= Accuracy().score({"p": scores}, labels)
    assert TopK(scores.shape[1]).score({"p": scores}, labels) == 1.0


@unhurried
@given(scored_classes(), seeds)
def test_names_of_classes_do_not_count(given, seed):
    scores, labels = given
    new = np.random.default_rng(seed).permutation(scores.shape[1])
    distinct = scores + np.arange(scores.shape[1]) / 100
    renamed = np.empty_like(distinct)
    renamed[:, new] = distinct
    for metric in (Accuracy(), F1(), Auc()):
        value = metric.score({"p": distinct}, labels)
        assert metric.score({"p": renamed}, new[labels]) == pytest.approx(value)


@unhurried
@given(scored_classes())
def test_area_of_opposite_scores_is_the_rest(given):
    scores, labels = given
    right = (labels == 0).astype(int)
    area = Auc().score({"p": scores[:, 0]}, right)
    assert Auc().score({"p": -scores[:, 0]}, right) == pytest.approx(1 - area)


@unhurried
@given(seeds, st.floats(0.01, 100))
def test_errors_scale_with_their_unit(seed, scale):
    outputs, labels = data(Rmse(), seed, samples=10)
    for metric in (Rmse(), Mae()):
        value = metric.score(outputs, labels)
        assert metric.score({"y": outputs["y"] * scale}, labels * scale) == pytest.approx(
            value * scale
        )
    assert Mae().score(outputs, labels) <= Rmse().score(outputs, labels) + 1e-12


keys = st.one_of(
    arrays.arrays(np.int64, 40, elements=st.integers(-3, 12)),
    arrays.arrays("U3", 40, elements=st.text("abc", min_size=1, max_size=3)),
    arrays.arrays(np.bool_, 40),
    arrays.arrays(np.float32, 40, elements=st.integers(0, 3).map(float)),
)


@unhurried
@given(keys)
def test_slices_share_the_samples_out(key):
    found = parts({"key": key})
    assert (np.sum(list(found.values()), axis=0) == 1).all()
    assert all(rows.any() for rows in found.values())
    outputs, labels = data(Accuracy(), samples=40)
    figures = scored(outputs, labels, Accuracy(), slices={"key": key}, rounds=0).figures
    names = figure_names("accuracy", {"key": key}, source=False)
    total = sum(figures[name].value * figures[name].samples for name in names)
    assert total / 40 == pytest.approx(figures["accuracy"].value)
    assert sum(figures[name].samples for name in names) == 40


@unhurried
@given(
    arrays.arrays(
        st.sampled_from([np.bool_, np.int8, np.uint16, np.int64, np.float32, np.float64]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0),
    )
)
def test_packed_arrays_come_back_to_the_bit(array):
    back = decode(json.loads(json.dumps(encode(array))))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


def case(name, seed=0, samples=40):
    """Return what is scored of a metric's data and of a device that answers a bit otherwise."""
    metric = registry.get("metrics", name)
    source, labels = data(metric, seed, samples)
    order = np.random.default_rng(seed).permutation(samples)
    order = np.where(np.arange(samples) % 3 == 0, order, np.arange(samples))
    device = {output: array[order] for output, array in source.items()}
    slices = {"half": np.arange(samples) % 2, "part": np.array(["a b", "ü"])[labels_of(samples)]}
    return scored(device, labels, metric, source=source, slices=slices, seed=seed, rounds=200)


def labels_of(samples):
    return (np.arange(samples) < samples // 3).astype(int)


@pytest.mark.parametrize("name", KEPT)
@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_kept_evidence_gives_the_same_figures(name, seed):
    found = case(name, seed)
    assert figures_from_kept(json.loads(json.dumps(found.kept))) == found.figures


@pytest.mark.parametrize("name", KEPT)
def test_loss_between_two_evidences_is_paired(name):
    metric = registry.get("metrics", name)
    source, labels = data(metric, samples=40)
    before = scored(source, labels, metric).kept
    found = case(name)
    figure = drop_from_kept(before, found.kept)
    assert figure.value == found.figures[f"{name}_drop"].value
    assert drop_from_kept(before, before).interval == (0.0, 0.0)


def mutations(kept):
    """Yield copies of kept evidence with one thing in it replaced or gone."""
    junk = [None, -1, 10**12, "x", "AAAA", [], {}, [[]], 1.5, True]

    def paths(value, path=()):
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, one in items:
                yield (*path, key)
                yield from paths(one, (*path, key))

    for path in paths(kept):
        for other in (*junk, KeyError):
            changed = copy.deepcopy(kept)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if other is KeyError:
                del inner[path[-1]]
            else:
                inner[path[-1]] = other
            yield path, other, changed


@pytest.mark.parametrize("name", ["accuracy", "auc", "map50"])
def test_damaged_evidence_is_refused_and_nothing_else(name):
    kept = json.loads(json.dumps(case(name, samples=12).kept)) | {"rounds": 2}
    codes = [code_of(changed) for path, _, changed in mutations(kept) if path != ("metric",)]
    assert set(codes) == {"", "kept-malformed", "kept-rule"}
    assert sum(map(bool, codes)) > 50


def code_of(kept):
    """Return the code that kept evidence is refused with, "" where it is taken."""
    try:
        figures_from_kept(kept)
    except InputError as error:
        return error.code
    return ""


@unhurried
@given(seeds)
def test_nothing_differs_from_itself(seed):
    random = np.random.default_rng(seed)
    ragged = np.empty(5, object)
    ragged[:] = [random.random((n, 6)) for n in (0, 1, 3, 2, 2)]
    outputs = {"a": random.random((5, 3)), "b": random.integers(0, 9, 5), "c": ragged}
    outputs["a"][0, 0] = np.nan
    outputs["t"] = np.array(["x", "y", "z", "x", "y"])
    assert relative_difference(outputs, copy.deepcopy(outputs)).tolist() == [0] * 5


def test_terms_drawn_by_cells_and_by_samples_spread_alike():
    random = np.random.default_rng(0)
    right = (random.random((400, 1)) < 0.7).astype(float)
    near = right + random.normal(0, 1e-9, right.shape)
    quick, slow = (
        Terms((terms,), lambda means: means[..., 0]).resampled(None, 4000, random)[0]
        for terms in (right, near)
    )
    assert quick.std() == pytest.approx(slow.std(), rel=0.08)
    assert quick.mean() == pytest.approx(slow.mean(), abs=0.002)
