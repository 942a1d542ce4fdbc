"""Verdicts as JUnit XML, which every CI system shows: one testcase a gate; pure.

The form is that of the schema that Jenkins publishes (junit-10.xsd) and GitLab reads: in a
``testsuite`` ``properties`` come first and ``system-out`` and ``system-err`` last, a ``testcase``
holds at most one of ``failure`` and ``skipped``, and counts are those of what is in it. A gate that
could not be decided is skipped: a JUnit reader knows no third verdict, and the exit code tells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What XML 1.0 cannot hold even as a reference (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STAMP = "1970-01-01T00:00:00"


def junit(result: Mapping[str, Any], project: str = "edgeops") -> bytes:
    """Return the XML of a judged result: a suite a target, a testcase a gate.

    ``result`` is what ``summary`` or ``judge_project`` of ``edgeops.core.verdicts`` return.
    """
    targets = result.get("targets")
    every = list(targets.values()) if isinstance(targets, dict) else targets or [result]
    suites = [_suite(target, project) for target in every]
    root = ET.Element("testsuites", {"name": _text(project), **_sums(suites)})
    root.extend(suites)
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _suite(target: Mapping[str, Any], project: str) -> ET.Element:
    gates: Sequence[Mapping[str, Any]] = target["gates"]
    name = str(target.get("target") or target.get("name") or "")
    words = [gate["verdict"] for gate in gates]
    device = target.get("device") or {}
    suite = ET.Element(
        "testsuite",
        {
            "name": _text(f"{project}.{name}"),
            "tests": str(len(words)),
            "failures": str(words.count("fail")),
            "errors": "0",
            "skipped": str(words.count("inconclusive")),
            "time": "0",
            "timestamp": _text(str(target.get("date") or _STAMP)[: len(_STAMP)]),
            "hostname": _text(device.get("name") or "unknown"),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for key in ("engine", "engine_version", "precision", "threads", "variant", "evidence"):
        if target.get(key):
            about = {"name": key, "value": _text(target[key])}
            ET.SubElement(properties, "property", about)
    suite.extend(_case(gate, f"{project}.{name}") for gate in gates)
    ET.SubElement(suite, "system-out").text = _text("\n".join(target.get("notes") or ()))
    ET.SubElement(suite, "system-err")
    return suite


def _case(gate: Mapping[str, Any], suite: str) -> ET.Element:
    name = _text(f"{gate['name']} {gate['bound']}")
    case = ET.Element("testcase", {"classname": _text(suite), "name": name, "time": "0"})
    details = _details(gate)
    if gate["verdict"] == "fail":
        about = {"message": _text(f"{_value(gate)}: {gate['why']}"), "type": "gate-failed"}
        ET.SubElement(case, "failure", about).text = details
    elif gate["verdict"] == "inconclusive":
        ET.SubElement(case, "skipped", {"message": _text(f"inconclusive, {gate['why']}")})
    ET.SubElement(case, "system-out").text = details
    return case


def _details(gate: Mapping[str, Any]) -> str:
    interval = gate["interval"]
    lines = {
        "value": _value(gate),
        "interval": f"{interval[0]:.17g} to {interval[1]:.17g}" if interval else "none",
        "bound": gate["bound"],
        "verdict": f"{gate['verdict']}: {gate['why']}",
        "method": gate.get("method") or gate.get("evidence") or "",
        "evidence": gate.get("digest") or "",
    }
    return _text("\n".join(f"{name}: {value}" for name, value in lines.items()))


def _value(gate: Mapping[str, Any]) -> str:
    return "not measured" if gate["value"] is None else f"{gate['value']:.17g}"


def _sums(suites: Sequence[ET.Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors", "skipped")
    sums = {name: sum(int(suite.get(name, "0")) for suite in suites) for name in names}
    return {**{name: str(value) for name, value in sums.items()}, "time": "0"}


def _text(value: Any) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))
