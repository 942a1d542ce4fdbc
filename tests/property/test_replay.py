"""What evidence keeps gives the same figures and verdicts again, whatever was measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeops.core.evidence import parse_evidence
from edgeops.core.files import canonical_json
from edgeops.core.gates import Figure, judge
from edgeops.core.verdicts import verdicts
from edgeops.errors import InputError, TrustError
from edgeops.validate import again, relative
from edgeops.validate.accuracy import scored
from edgeops.validate.figures import cost_figures
from edgeops.validate.measured import Measured
from edgeops.validate.metrics import Accuracy
from edgeops.validate.relative import Earlier
from tests.measuring import evidence

sided = st.sampled_from(["<=", ">=", "<", ">"])


@st.composite
def measurements(draw, *, trials=12):
    """Draw what a device answers, scores of two models, and trials in pairs."""
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    samples, processes = draw(st.integers(2, 40)), draw(st.integers(1, 3))
    answers = tuple(
        {
            "latency_ns": generator.lognormal(14, 0.3, draw(st.integers(1, 60)))
            .astype(int)
            .tolist(),
            "load_ms": float(generator.uniform(1, 9)),
            "first_call_ms": float(generator.uniform(1, 9)),
            "cpu_ms_per_call": float(generator.uniform(1, 9)),
            "energy": draw(
                st.sampled_from([{"absent": "no sensor"}, {"per_call_mj": 2.5, "source": "rapl"}])
            ),
            "peak_rss_bytes": int(generator.integers(10**6, 10**8)),
            "peak_rss_source": "VmHWM",
        }
        for _ in range(processes)
    )
    unjudged = draw(st.sampled_from(["", "the device is emulated"]))
    labels = generator.integers(0, 3, samples)
    outputs, source = ({"p": generator.normal(size=(samples, 3))} for _ in range(2))
    night = generator.integers(0, 2, samples)
    pairs = [
        {"ratio": float(generator.lognormal(0, 0.02)), "pairs": 20, "lost": 0.0}
        for _ in range(trials)
    ]
    return Measured(answers, {}, unjudged), labels, outputs, source, night, pairs


def evidence_of(drawn, gates=None):
    """Return evidence as the stage makes it, of what was drawn."""
    measured, labels, outputs, source, night, pairs = drawn
    score = scored(outputs, labels, Accuracy(), source=source, slices={"light": night})
    kept = {"accuracy": score.kept, **again.kept(measured, 4321)}
    kept["pairs"] = {"latency_vs_fp32": {"label": "", "trials": pairs}}
    figures = {**score.figures, **cost_figures(measured, 4321)}
    figures["latency_vs_fp32"] = again.paired(kept["pairs"]["latency_vs_fp32"])
    before = scored(source, labels, Accuracy())
    data = {"digest": "sha256:d", "samples": len(labels)}
    then = replace(_made(before.figures, {"accuracy": before.kept}, data), target="before")
    stated = Earlier("the published 1.0.0", evidence=then).kept("accuracy", 1234)
    kept["earlier"] = {"previous": stated}
    names = relative.names_of("previous", "accuracy")
    figures[names.size] = relative.size_ratio(stated, figures["model_mb"].value)
    figures[names.drop] = relative.loss(stated, Accuracy(), figures["accuracy"], score.kept, data)
    made = _made(figures, kept, data)
    return replace(made, gates=verdicts(figures, gates or {}, made.digest))


def _made(figures, kept, data):
    return evidence(figures, kept=kept, data={"evaluation": {"source": "data.npz", **data}})


def reread(evidence):
    """Return evidence as it comes out of its file."""
    return parse_evidence(canonical_json(evidence.to_json()), "evidence.json")


@settings(deadline=None, max_examples=30)
@given(measurements(), st.data())
def test_figures_and_verdicts_come_out_the_same_from_the_file_alone(drawn, data):
    figures = evidence_of(drawn).figures
    gates = {name: f"{data.draw(sided)} {data.draw(st.floats(0, 10)):.6g}" for name in figures}
    kept = reread(evidence_of(drawn, gates))
    recomputed, as_recorded = again.check(kept, "evidence.json")
    assert set(recomputed) == set(figures)
    assert as_recorded == {}
    found, _ = again.figures_again(kept)
    for gate in kept.gates:
        assert judge(gate.name, gate.bound, found[gate.name]).verdict == gate.verdict
        assert found[gate.name].value == gate.value
        assert found[gate.name].interval == gate.interval


@pytest.fixture(scope="module")
def document():
    generator = np.random.default_rng(3)
    times = generator.lognormal(14, 0.3, 200).astype(int).tolist()
    answer = {"latency_ns": times, "load_ms": 2.0, "first_call_ms": 3.0, "cpu_ms_per_call": 1.0}
    answer |= {"energy": {"absent": "none"}, "peak_rss_bytes": 5, "peak_rss_source": "VmHWM"}
    outputs, source = ({"p": generator.normal(size=(30, 3))} for _ in range(2))
    labels, night = generator.integers(0, 3, 30), generator.integers(0, 2, 30)
    pairs = [{"ratio": 1.1, "pairs": 20, "lost": 0.0}, {"ratio": 1.2, "pairs": 20, "lost": 0.0}] * 6
    drawn = (Measured((answer, answer), {}), labels, outputs, source, night, pairs)
    gates = {"accuracy": ">= 0.9", "latency_p50_ms": "<= 100", "latency_vs_fp32": "<= 1.03"}
    return json.loads(canonical_json(evidence_of(drawn, gates).to_json()))


def edited(document, *path, to):
    """Return the document with the value at ``path`` replaced, as JSON."""
    copy = json.loads(json.dumps(document))
    place = copy
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return json.dumps(copy).encode()


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("figures", "accuracy", "value"), 0.99),
        (("figures", "accuracy", "interval"), [0.98, 1.0]),
        (("figures", "accuracy[light=0]", "value"), 0.99),
        (("figures", "latency_p50_ms", "value"), 0.001),
        (("figures", "latency_p50_ms", "noisy"), False),
        (("figures", "latency_p50_ms", "unjudged"), "whatever"),
        (("figures", "latency_vs_fp32", "interval"), [0.9, 1.0]),
        (("figures", "peak_rss_mb", "value"), 1.0),
        (("figures", "model_mb", "value"), 0.001),
        (("figures", "model_mb_vs_previous", "value"), 0.5),
        (("figures", "accuracy_drop_vs_previous", "value"), -1.0),
        (("gates", 0, "verdict"), "pass"),
        (("gates", 0, "value"), 1.0),
        (("gates", 2, "bound"), "<= 2"),
        (("threads",), 4),
        (("device",), {"name": "a faster one"}),
        (("kept", "bytes"), 1),
        (("kept", "processes", 0, "load_ms"), 0.1),
        (("kept", "pairs", "latency_vs_fp32", "trials", 0, "ratio"), 0.5),
    ],
)
def test_whatever_is_edited_is_refused(document, path, to):
    evidence = parse_evidence(edited(document, *path, to=to), "evidence.json")
    with pytest.raises(TrustError) as refused:
        again.check(evidence, "evidence.json")
    assert refused.value.code == "evidence-edited"


@pytest.mark.parametrize(
    ("path", "to", "code"),
    [
        (("kept", "latency", "counts"), 3, "evidence-malformed"),
        (("kept", "processes"), [], "evidence-malformed"),
        (("kept", "processes"), "none", "evidence-malformed"),
        (("kept", "pairs", "latency_vs_fp32"), {}, "evidence-malformed"),
        (("kept", "accuracy", "sides"), [], "kept-malformed"),
    ],
)
def test_what_is_kept_and_cannot_be_read_is_malformed(document, path, to, code):
    evidence = parse_evidence(edited(document, *path, to=to), "evidence.json")
    with pytest.raises(InputError) as refused:
        again.check(evidence, "evidence.json")
    assert refused.value.code == code


def test_evidence_that_keeps_nothing_is_taken_as_it_stands(document):
    evidence = parse_evidence(json.dumps(document).encode(), "evidence.json")
    bare = replace(evidence, kept={}, gates=())
    recomputed, as_recorded = again.check(bare, "evidence.json")
    assert recomputed == []
    assert set(as_recorded) == set(bare.figures)


def test_what_could_not_be_kept_is_named_with_its_reason(document):
    evidence = parse_evidence(json.dumps(document).encode(), "evidence.json")
    accuracy = {"format": "edgeops.kept/1", "metric": "accuracy", "absent": "too many samples"}
    kept = {**evidence.kept, "accuracy": accuracy, "earlier": {}}
    bare = replace(evidence, kept=kept, gates=())
    _, as_recorded = again.check(bare, "evidence.json")
    assert as_recorded["accuracy"] == "too many samples"
    assert as_recorded["accuracy_drop[light=1]"] == "too many samples"


@given(
    st.floats(-10, 10) | st.none(),
    st.tuples(st.floats(-10, 10), st.floats(-10, 10)) | st.none(),
    st.booleans(),
)
def test_a_figure_is_the_same_as_itself_and_not_as_another(value, interval, noisy):
    figure = Figure(value, interval if value is not None else None, noisy=noisy)
    assert again.same(figure, replace(figure, method="said otherwise"))
    assert not again.same(figure, replace(figure, noisy=not noisy))
    assert not again.same(figure, replace(figure, value=12.0))
    assert not again.same(figure, replace(figure, unjudged="why"))


metrics = st.sampled_from(["accuracy", "f1", "map50"])
revisions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9/._~^-]{0,12}", fullmatch=True)


@given(metrics, revisions)
def test_gates_say_what_is_compared_with_and_nothing_else_does(metric, revision):
    against = f"rev={revision}"
    names = relative.names_of(against, metric)
    for name in names.every():
        assert relative.wanted([name], metric) == {against: names}
    previous = relative.names_of("previous", metric)
    assert relative.wanted(previous.every(), metric) == {"previous": previous}
    others = [metric, f"{metric}_drop", f"{metric}[rev={revision}]", "latency_p50_ms", "no name["]
    assert relative.wanted(others, metric) == {}
