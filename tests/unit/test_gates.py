"""Bounds, verdicts and what follows from them, as literals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgeops.core.evidence import parse_evidence
from edgeops.core.files import canonical_json
from edgeops.core.gates import (
    Bound,
    Figure,
    FigureName,
    is_measured,
    judge,
    overall,
    parse_bound,
    parse_gate,
    parse_name,
    unknown_gates,
)
from edgeops.core.project import Data, Project, StageSpec, Target
from edgeops.core.verdicts import enforce, gates_of, summary, verdicts
from edgeops.errors import GateFailed, GateInconclusive, InputError, UsageProblem
from edgeops.stages.validate import ValidateOptions
from edgeops.stages.validate_verb import parsed
from tests import measuring

NOISY = Figure(5.0, (4.0, 6.0), "ms", "how it was measured", 100, noisy=True)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (">= 0.95", Bound(">=", 0.95)),
        ("<=5", Bound("<=", 5.0)),
        (" < 1e-3 ", Bound("<", 0.001)),
        ("> -.5", Bound(">", -0.5)),
        ("== 1", Bound("==", 1.0)),
    ],
)
def test_bound_is_read(text, bound):
    assert parse_bound(text) == bound


@pytest.mark.parametrize(
    "text", ["", "0.95", "<= 1e999", ">= ", "=> 1", ">= 1 ms", ">= nan", ">>1", ">= 1,5"]
)
def test_bound_is_refused_when_it_is_none(text):
    with pytest.raises(ValueError, match="write an operator and a number"):
        parse_bound(text)


def test_gate_on_the_command_line_is_read():
    assert parse_gate("accuracy>=0.95") == ("accuracy", ">=0.95")
    assert parse_gate(" latency_p50_ms <= 5 ") == ("latency_p50_ms", "<= 5")


def test_gate_on_a_part_of_the_data_or_against_a_revision_is_read():
    assert parse_gate("accuracy[light=night] >= 0.9") == ("accuracy[light=night]", ">= 0.9")
    assert parse_gate("f1[ hour = 22:00 - 6:00 ]>0.5") == ("f1[hour=22:00 - 6:00]", ">0.5")
    assert parse_gate("accuracy_drop[rev=v1.2~1]<=0.01") == ("accuracy_drop[rev=v1.2~1]", "<=0.01")
    assert parse_gate("rmse[age=>60]<=2") == ("rmse[age=>60]", "<=2")


def test_name_of_a_figure_is_read_in_its_parts():
    assert parse_name("accuracy") == FigureName("accuracy")
    assert parse_name(" accuracy[light=night] ") == FigureName("accuracy", "light", "night")
    assert str(parse_name("latency_p50_ms_vs[ rev = feature/x ]")) == (
        "latency_p50_ms_vs[rev=feature/x]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accuracy[night]",
        "accuracy[=night]",
        "accuracy[light=]",
        "accuracy[light==night]",
        "accuracy[a=b][c=d]",
        "accuracy[a=b]x",
        "accuracy[a=[b]]",
        "[a=b]",
        "my-metric",
        "accuracy[a=b\n]",
    ],
)
def test_name_of_a_figure_is_refused_when_it_is_none(text):
    with pytest.raises(ValueError, match=r"NAME\[KEY=VALUE\] for a part of the data"):
        parse_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "accuracy",
        ">=0.95",
        "accuracy=0.9",
        "my-metric>=1",
        "a>=x",
        "accuracy[night]>=0.9",
        "a[b=c>=1",
    ],
)
def test_gate_on_the_command_line_is_refused_when_it_is_none(text):
    with pytest.raises(ValueError, match="write"):
        parse_gate(text)


@pytest.mark.parametrize(
    ("bound", "word"),
    [
        ("<= 7", "pass"),
        ("<= 6", "pass"),
        ("<= 5", "inconclusive"),
        ("<= 4.5", "inconclusive"),
        ("< 4", "fail"),
        ("<= 3", "fail"),
        (">= 4", "pass"),
        ("> 4", "inconclusive"),
        ("== 5", "inconclusive"),
    ],
)
def test_noisy_figure_is_judged_by_its_whole_interval(bound, word):
    assert judge("latency_p50_ms", bound, NOISY).verdict == word


def test_exact_figure_is_judged_by_its_value_and_not_by_its_interval():
    accuracy = Figure(0.96, (0.94, 0.98), "", "accuracy", 450)
    assert judge("accuracy", ">= 0.95", accuracy).verdict == "pass"
    assert judge("accuracy", ">= 0.961", accuracy).verdict == "fail"


def test_absent_figure_is_inconclusive_and_says_why():
    verdict = judge("latency_p99_ms", "<= 5", Figure(None, absent="3 calls are too few"))
    assert (verdict.verdict, verdict.why) == ("inconclusive", "not measured: 3 calls are too few")


def test_verdict_carries_what_it_looked_at():
    verdict = judge("latency_p50_ms", "<=7", NOISY)
    assert verdict.to_json() == {
        "name": "latency_p50_ms",
        "bound": "<= 7",
        "value": 5.0,
        "interval": (4.0, 6.0),
        "verdict": "pass",
        "why": "the whole interval keeps the bound",
        "evidence": "how it was measured",
        "method": "how it was measured",
        "digest": "",
    }


def test_one_failure_outweighs_what_is_inconclusive():
    passes, open_, fails = (judge("f", bound, NOISY) for bound in ("<= 7", "<= 5", "<= 1"))
    assert overall([passes, open_, fails]) == "fail"
    assert overall([passes, open_]) == "inconclusive"
    assert overall([passes]) == overall([]) == "pass"


def test_unknown_gate_lists_what_is_measured_and_the_nearest_name():
    (finding,) = unknown_gates({"accurracy": ">= 1"}, ["accuracy", "model_mb"], "edgeops.yaml:9:7")
    assert finding.code == "gate-unknown"
    assert finding.where == "edgeops.yaml:9:7"
    assert finding.why == "measured here: accuracy, model_mb"
    assert finding.fix.startswith("did you mean 'accuracy'?")
    assert unknown_gates({"accuracy": ">= 1"}, ["accuracy"], "") == []


def test_gate_on_a_slice_is_known_by_its_form_or_by_itself():
    forms = ["accuracy", "accuracy[KEY=VALUE]", "accuracy_drop[rev=REV]"]
    assert is_measured("accuracy[light=night]", forms)
    assert is_measured("accuracy_drop[rev=main]", forms)
    assert not is_measured("accuracy_drop[light=night]", forms)
    assert not is_measured("accuracy[rev=main]", forms)
    assert is_measured("accuracy[light=night]", ["accuracy[light=night]"])
    (finding,) = unknown_gates(
        {"accuracy[light=nigth]": ">= 1"}, ["accuracy", "accuracy[light=night]"], ""
    )
    assert finding.fix.startswith("did you mean 'accuracy[light=night]'?")
    (finding,) = unknown_gates({"agreement[light=night]": ">= 1"}, ["accuracy", "agreement"], "")
    assert finding.fix.startswith("did you mean 'agreement'?")


def test_figure_with_nothing_to_compare_with_passes_and_says_so():
    figure = Figure(None, absent="nothing was published yet", moot="nothing was published yet")
    verdict = judge("latency_vs_previous", "<= 1.03", figure)
    assert (verdict.verdict, verdict.value) == ("pass", None)
    assert verdict.why == "there is nothing to compare with: nothing was published yet"


def test_figure_that_no_gate_may_judge_is_inconclusive_whatever_its_value():
    emulated = Figure(5.0, (4.9, 5.1), "ms", noisy=True, unjudged="the device is emulated")
    for bound in ("<= 100", "<= 1"):
        verdict = judge("latency_p50_ms", bound, emulated)
        assert (verdict.verdict, verdict.why) == (
            "inconclusive",
            "not judged: the device is emulated",
        )


def test_verdicts_name_the_evidence_they_rest_on_whatever_the_gates():
    measured = evidence(accuracy=Figure(0.9))
    (gate,) = summary(measured, {"accuracy": ">= 0.95"})["gates"]
    assert gate["digest"] == measured.digest
    assert replace(measured, gates=verdicts(measured.figures, {"accuracy": "> 0"})).digest == (
        measured.digest
    )
    assert replace(measured, threads=2).digest != measured.digest
    assert parse_evidence(canonical_json(measured.to_json()), "x").digest == measured.digest


@pytest.mark.parametrize(
    "change",
    [
        {"value": "0.9"},
        {"value": True},
        {"interval": [0.1]},
        {"interval": ["a", "b"]},
        {"interval": 3},
        {"strange": 1},
    ],
)
def test_evidence_with_what_is_no_figure_is_malformed(change):
    document = evidence(accuracy=Figure(0.9)).to_json()
    document["figures"]["accuracy"] |= change
    with pytest.raises(InputError) as refused:
        parse_evidence(json.dumps(document).encode(), "evidence.json")
    assert refused.value.code == "evidence-malformed"


def project(**gates):
    options = ValidateOptions(gates={"accuracy": ">= 0.9", "model_mb": "<= 1"})
    target = Target("gateway", gates=gates)
    stages = {"check": StageSpec("check", "validate", options)}
    return Project("p", "1.0.0", "m.onnx", Data(), {"gateway": target}, stages), target


def test_gates_of_a_target_add_to_and_replace_those_of_the_stage():
    assert gates_of(*project(accuracy=">= 0.8", peak_rss_mb="<= 99")) == {
        "accuracy": ">= 0.8",
        "model_mb": "<= 1",
        "peak_rss_mb": "<= 99",
    }


def evidence(**figures):
    return measuring.evidence(figures)


def test_gate_on_a_figure_that_evidence_lacks_is_inconclusive():
    (verdict,) = verdicts({}, {"accuracy": ">= 0.9"})
    assert verdict.verdict == "inconclusive"
    assert "validate again" in verdict.why


def test_summary_judges_old_evidence_by_new_gates_and_leaves_absent_figures_out():
    measured = evidence(accuracy=Figure(0.9), agreement=Figure(None, absent="no classes"))
    found = summary(measured, {"accuracy": ">= 0.95"})
    assert found["verdict"] == "fail"
    assert found["metrics"] == {"accuracy": 0.9}
    assert found["gates"][0]["target"] == "gateway"


def test_enforce_raises_by_verdict_with_the_result_attached():
    failing = summary(evidence(accuracy=Figure(0.9)), {"accuracy": ">= 0.95"})
    with pytest.raises(GateFailed, match=r"accuracy >= 0.95 \(0.9 on gateway\)") as failed:
        enforce(failing)
    assert failed.value.code == "gate-failed"
    assert failed.value.result["verdict"] == "fail"
    open_ = summary(evidence(latency_p50_ms=NOISY), {"latency_p50_ms": "<= 5"})
    with pytest.raises(GateInconclusive) as undecided:
        enforce(open_)
    assert undecided.value.code == "gate-inconclusive"
    passing = summary(evidence(accuracy=Figure(0.99)), {"accuracy": ">= 0.95"})
    assert enforce(passing) == passing


def test_bound_is_written_so_that_the_same_verdict_follows_from_it():
    figure = Figure(1.234564)
    verdict = judge("model_mb", "<= 1.2345649", figure)
    assert (verdict.bound, verdict.verdict) == ("<= 1.2345649", "pass")
    assert judge("model_mb", verdict.bound, figure) == verdict
    assert [str(parse_bound(text)) for text in ("<=5", "<= 0.950", ">1e6")] == [
        "<= 5",
        "<= 0.95",
        "> 1e+06",
    ]


def test_second_gate_on_a_figure_is_refused_for_one_of_both_would_not_be_judged():
    with pytest.raises(UsageProblem, match=r"two gates on accuracy\[light=night\]") as refused:
        parsed(["accuracy[light=night]>=0.9", "model_mb<=1", "accuracy[ light = night ]<=0.99"])
    assert refused.value.code == "gate-option"


def test_what_keeps_a_figure_from_being_measured_is_not_cured_by_time():
    judged = summary(evidence(energy_mj=Figure(None, absent="no sensor")), {"energy_mj": "<= 5"})
    with pytest.raises(GateInconclusive) as undecided:
        enforce(judged)
    assert undecided.value.fix.startswith("mend what keeps these figures from being measured")
    mixed = summary(
        evidence(energy_mj=Figure(None, absent="no sensor"), latency_p50_ms=NOISY),
        {"energy_mj": "<= 5", "latency_p50_ms": "<= 5"},
    )
    with pytest.raises(GateInconclusive) as undecided:
        enforce(mixed)
    assert undecided.value.fix.startswith("measure longer")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": {"evaluation": 5}}, "data does not say"),
        ({"device": []}, "device is list"),
        ({"target": []}, "target is list"),
        ({"kept": None}, "kept is NoneType"),
        ({"gates": [{"bound": 5}]}, "bound is int"),
        ({"gates": [{"name": []}]}, "name is list"),
        ({"gates": [{"verdict": "fine"}]}, "is no verdict"),
        ({"threads": 10**400}, "is no number that was measured"),
        ({"extra": {"noise": "HUGE"}}, "is no number that was measured"),
    ],
)
def test_evidence_whose_fields_are_of_another_kind_is_malformed(change, why):
    measured = evidence(accuracy=Figure(0.9))
    document = replace(measured, gates=verdicts(measured.figures, {"accuracy": "> 0"})).to_json()
    gates = [document["gates"][0] | gate for gate in change.get("gates", [{}])]
    text = json.dumps(document | change | {"gates": gates}).replace('"HUGE"', "1e999")
    with pytest.raises(InputError) as refused:
        parse_evidence(text.encode(), "evidence.json")
    assert refused.value.code == "evidence-malformed"
    assert why in refused.value.why
