"""Verdicts as JUnit XML, held against the rules that readers of it have in common."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.gates import Figure
from edgeops.core.verdicts import summary
from edgeops.report.junit import junit
from tests.measuring import evidence

MEASURED = evidence(
    {
        "accuracy": Figure(0.96, (0.94, 0.98), "", "accuracy", 450),
        "latency_p50_ms": Figure(5.0, (4.0, 6.0), "ms", "900 calls", 900, noisy=True),
        "latency_vs_fp32": Figure(None, absent="no fp32 form"),
    },
    notes=("faster < its fp32 form & smaller",),
)
GATES = {
    "accuracy": ">= 0.95",
    "latency_p50_ms": "<= 3",
    "latency_vs_fp32": "<= 1",
}


def cases(data):
    return {case.get("name"): case for case in ET.fromstring(data).iter("testcase")}  # noqa: S314 - we wrote it


def check_schema(data):
    """Check the rules of junit-10.xsd (Jenkins) and of what else reads these files."""
    root = ET.fromstring(data)  # noqa: S314 - we wrote it
    assert root.tag == "testsuites"
    assert {child.tag for child in root} <= {"testsuite"}
    names = ("tests", "failures", "errors", "skipped")
    for name in names:
        assert int(root.get(name)) == sum(int(suite.get(name)) for suite in root)
    for suite in root:
        tags = [child.tag for child in suite]
        inner = ["testcase"] * tags.count("testcase")
        assert tags == ["properties", *inner, "system-out", "system-err"]
        assert {"name", "tests", "failures", "errors", "time", "timestamp", "hostname"} <= set(
            suite.keys()
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        assert int(suite.get("tests")) == len(inner)
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
        assert len({case.get("name") for case in suite.iter("testcase")}) == len(inner)
        for case in suite.iter("testcase"):
            assert case.get("classname")
            assert float(case.get("time")) >= 0
            told = [child.tag for child in case]
            assert told in (["system-out"], ["failure", "system-out"], ["skipped", "system-out"])
        for found in suite.iter("property"):
            assert found.get("name")
            assert found.get("value")


def test_every_gate_is_a_testcase_with_what_it_rests_on():
    result = summary(MEASURED, GATES)
    data = junit(result, "digits")
    check_schema(data)
    found = cases(data)
    assert list(found) == ["accuracy >= 0.95", "latency_p50_ms <= 3", "latency_vs_fp32 <= 1"]
    passed, failed, open_ = found.values()
    assert passed.get("classname") == "digits.gateway"
    assert passed.find("system-out").text.splitlines() == [
        "value: 0.95999999999999996",
        "interval: 0.93999999999999995 to 0.97999999999999998",
        "bound: >= 0.95",
        "verdict: pass: its value keeps the bound",
        "method: accuracy",
        f"evidence: {MEASURED.digest}",
    ]
    assert failed.find("failure").get("message") == "5: the whole interval breaks the bound"
    assert failed.find("failure").get("type") == "gate-failed"
    assert "bound: <= 3" in failed.find("failure").text
    assert open_.find("skipped").get("message") == "inconclusive, not measured: no fp32 form"


def test_each_target_is_a_suite():
    other = replace(MEASURED, target="camera")
    targets = {"gateway": summary(MEASURED, GATES), "camera": summary(other, {})}
    data = junit({"targets": targets}, "digits")
    check_schema(data)
    root = ET.fromstring(data)  # noqa: S314 - we wrote it
    assert [suite.get("name") for suite in root] == ["digits.gateway", "digits.camera"]
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("3", "1", "1")


@pytest.mark.parametrize("text", ["\x00\x0b\ufffe", "]]>", "<&\"'"])
def test_what_xml_cannot_hold_is_replaced(text):
    odd = replace(MEASURED, notes=(text,), target=text, device={"name": text})
    check_schema(junit(summary(odd, GATES), "p"))


@given(st.text(), st.text(min_size=1))
def test_no_text_makes_xml_that_cannot_be_read(note, name):
    figures = {"accuracy": Figure(0.9, method=note)}
    odd = replace(MEASURED, notes=(note,), engine_version=name, figures=figures)
    check_schema(junit(summary(odd, {"accuracy": ">= 0.95"}), name))
