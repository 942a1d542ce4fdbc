"""A report as Markdown, pure: verdict first, then the table, the gates, what was rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Beside what gates look at, these columns are always shown when they were measured.
_ALWAYS = ("latency_p50_ms", "model_mb")
_DROP = "_drop"
_TITLES = {
    "pass": "may ship: every gate passed",
    "fail": "must not ship: {failed} failed",
    "inconclusive": "is not decided: {open} could not be decided",
}
_ABSENT = "–"  # noqa: RUF001 - an en dash stands for nothing in a table


def render(report: Mapping[str, Any]) -> str:
    """Return the report (see ``edgeops.report.make``) as GitHub's Markdown."""
    parts = [_head(report), _figures(report), _gates(report), _rebuilt(report), _notes(report)]
    parts.append(_all_figures(report))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Mapping[str, Any]) -> str:
    gates = report["gates"]
    failed = _count([gate for gate in gates if gate["verdict"] == "fail"])
    unknown = [gate for gate in gates if gate["verdict"] == "inconclusive"]
    unmeasured = [target["name"] for target in report["targets"] if target["missing"]]
    title = _TITLES[report["verdict"]].format(failed=failed, open=_count(unknown))
    if report["verdict"] == "pass" and not gates:
        title = "has no gates: nothing says that it may not ship"
    if report["verdict"] == "inconclusive" and not unknown:
        title = f"is not decided: {', '.join(unmeasured)} was not measured"
    lines = [f"## {report['project']} {report['version']} {title}"]
    bad = [f"- {_gate_line(gate)}" for gate in gates if gate["verdict"] != "pass"]
    lines += ["\n".join(bad)] if bad else []
    against = report["against"]
    if against:
        lines.append(f"Compared with `{against['name']}` ({against['commit'][:8]}).")
    return "\n\n".join(lines)


def _gate_line(gate: Mapping[str, Any]) -> str:
    word = "failed" if gate["verdict"] == "fail" else "inconclusive"
    return (
        f"**{gate['target']}**: {gate['name']} {gate['bound']} {word}, "
        f"measured {number(gate['value'])}{interval(gate['interval'])} ({_cell(gate['why'])})"
    )


def _figures(report: Mapping[str, Any]) -> str:
    targets = [target for target in report["targets"] if not target["missing"]]
    columns = _columns(targets, report["gates"])
    if not targets:
        return ""
    rows = [
        [
            target["name"],
            f"{target['engine']} {target['precision']}",
            target["verdict"],
            *(_change(target["figures"].get(name), target["incomparable"]) for name in columns),
        ]
        for target in targets
    ]
    return _table(["target", "engine", "verdict", *columns], rows)


def _columns(targets: Sequence[Mapping[str, Any]], gates: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the figures of the main table: the metric, the gated ones, and ``_ALWAYS``."""
    measured = list(dict.fromkeys(name for target in targets for name in target["figures"]))
    metrics = {name.removesuffix(_DROP) for name in measured if name.endswith(_DROP)}
    gated = {gate["name"] for gate in gates}
    wanted = {*metrics, *gated, *_ALWAYS}
    return [name for name in measured if name in wanted]


def _gates(report: Mapping[str, Any]) -> str:
    if not report["gates"]:
        return ""
    rows = [
        [
            gate["target"],
            gate["name"],
            gate["bound"],
            number(gate["value"]),
            interval(gate["interval"]).strip(" ()") or _ABSENT,
            gate["verdict"],
        ]
        for gate in report["gates"]
    ]
    head = ["target", "gate", "bound", "measured", "interval", "verdict"]
    return "### Gates\n\n" + _table(head, rows)


def _rebuilt(report: Mapping[str, Any]) -> str:
    if not report["against"]:
        return ""
    stages = report["rebuilt"]
    if not stages:
        return "### Rebuilt\n\nNothing: every stage is as it was."
    rows = [
        [
            entry["stage"] + (f" ({entry['target']})" if entry["target"] else ""),
            entry["status"],
            _because(entry),
            "changed" if entry["outs_changed"] else "the same",
        ]
        for entry in stages
    ]
    return "### Rebuilt\n\n" + _table(["stage", "status", "because of", "result"], rows)


def _because(entry: Mapping[str, Any]) -> str:
    if entry["reasons"] or entry["status"] != "rebuilt":
        return ", ".join(f"`{reason}`" for reason in entry["reasons"]) or _ABSENT
    return "nothing that it tracks: it does not give the same result twice"


def _notes(report: Mapping[str, Any]) -> str:
    lines = []
    for target in report["targets"]:
        apart = target["incomparable"]
        other = f"the times of then are not compared: {apart}" if apart else ""
        said = [target["missing"], target["no_before"], other, *target["notes"]]
        lines += [f"- **{target['name']}**: {note}" for note in said if note]
    return "### Notes\n\n" + "\n".join(lines) if lines else ""


def _all_figures(report: Mapping[str, Any]) -> str:
    rows = [
        [
            target["name"],
            name,
            _change(figure, target["incomparable"]),
            interval(figure["interval"]).strip(" ()") or _ABSENT,
            figure["method"] or f"not measured: {figure['absent']}",
        ]
        for target in report["targets"]
        for name, figure in target["figures"].items()
    ]
    if not rows:
        return ""
    table = _table(["target", "figure", "value", "interval", "how"], rows)
    return f"<details><summary>All figures and how they were measured</summary>\n\n{table}\n\n</details>"


def _change(figure: Mapping[str, Any] | None, incomparable: str) -> str:
    """Return a value with its change: relative where it has a unit, else the difference."""
    if figure is None or figure["value"] is None:
        return _ABSENT
    text = number(figure["value"]) + (f" {figure['unit']}" if figure["unit"] else "")
    if figure["change"] is None or (figure["noisy"] and incomparable):
        return text
    if not figure["shown"]:
        return f"{text} ({'no change shown' if figure['noisy'] else 'unchanged'})"
    if figure["unit"] and figure["before"]:
        return f"{text} ({figure['change'] / figure['before']:+.1%})"
    return f"{text} ({figure['change']:+.3g})"


def number(value: float | None) -> str:
    """Return a value with four significant digits, never in powers of ten; a dash when absent."""
    if value is None:
        return _ABSENT
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")


def interval(pair: Sequence[float] | None) -> str:
    """Return ``" (low to high)"``, or nothing."""
    return f" ({number(pair[0])} to {number(pair[1])})" if pair else ""


def _count(gates: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(gates)} gate{'' if len(gates) == 1 else 's'}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
