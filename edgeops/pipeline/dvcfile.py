"""Steps to the text of dvc.yaml, keeping every byte that a person wrote.

Stages that edgeops generates carry ``meta: {generated: edgeops}``; only their lines are replaced.
Format: https://dvc.org/doc/user-guide/project-structure/dvcyaml-files. A metric or plot stays
cached, for ``cache: false`` on any output switches DVC's run-cache off for its stage.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.project import FILE as PROJECT
from edgeops.errors import Finding, InputError, from_findings
from edgeops.pipeline.plan import PLACEHOLDER, Step
from edgeops.project.positions import Document, parse, reader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

FILE = "dvc.yaml"
MARK = {"generated": "edgeops"}
HEADER = (
    f"# edgeops writes the stages marked 'generated: edgeops' from {PROJECT}.\n"
    "# All else here is yours and stays as it is.\n"
)
_INDENT = 2
_PLAIN = re.compile(r"[A-Za-z_$./][A-Za-z0-9_./@+=,${}-]*( [A-Za-z0-9_./@+=,${}-]+)*")
_RESERVED = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"))


def render(steps: Sequence[Step], existing: str | None = None) -> str:
    """Return the text of dvc.yaml for ``steps``, or ``existing`` itself when it says the same.

    Raises InputError ``dvc-yaml-bad`` for a dvc.yaml that cannot be read or edited, and
    ``dvc-stage-taken`` for a stage of a person's that has the name of one in edgeops.yaml.
    """
    existing = existing or ""
    document = parse(existing, FILE)
    if document.findings:
        raise unusable(document.findings[0].where, document.findings[0].why)
    stages = _stages(document)
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(step.stage, []).append(step)
    taken = [_taken(document, name) for name in groups if name in stages and not mine(stages[name])]
    if taken:
        raise from_findings(taken)
    return _edited(existing, document, groups)


def by_hand(text: str) -> dict[str, Any]:
    """Return the stages of a dvc.yaml that edgeops did not generate, as plain data."""
    stages = _stages(parse(text, FILE))
    return {name: value for name, value in stages.items() if not mine(value)}


def without(lock: str, addresses: Collection[str]) -> str:
    """Return the text of a dvc.lock without some stages, which DVC then runs again."""
    if not addresses:
        return lock
    lines = lock.splitlines(keepends=True)
    spans, _, _ = _spans(lock, lines)
    drop = {
        number for span in spans if span.name in addresses for number in range(span.start, span.end)
    }
    return _assembled(lines, {}, drop)


def mine(stage: Any) -> bool:
    """Return whether edgeops generated a stage of dvc.yaml."""
    return isinstance(stage, dict) and stage.get("meta") == MARK


def stage_text(group: Sequence[Step], indent: int = _INDENT) -> str:
    """Return the lines of one stage of dvc.yaml, for all its targets together."""
    step, plan = group[0], group[0].template
    special = {*plan.metrics, *(plot.path for plot in plan.plots)}
    lines = [f"{step.stage}:"]
    if step.target is not None:
        targets = ", ".join(_scalar(str(one.target)) for one in group)
        lines += ["  matrix:", f"    target: [{targets}]"]
    lines += _command(step)
    lines += [f"  desc: {_scalar(_escaped(step.summary))}"] if step.summary else []
    lines += _block("deps", [_text(dep) for dep in plan.deps])
    if plan.params:
        lines += ["  params:", f"  - {PROJECT}:", *(f"    - {_text(key)}" for key in plan.params)]
    outs = [out for out in plan.outs if out.path not in special]
    lines += _block(
        "outs",
        [_text(out.path) + (":\n      persist: true" if out.persist else "") for out in outs],
    )
    lines += _block("metrics", [_text(path) for path in dict.fromkeys(plan.metrics)])
    lines += _block("plots", [_plot(plot) for plot in plan.plots])
    lines += ["  meta:", "    generated: edgeops"]
    pad = " " * indent
    return "".join(f"{pad}{line}\n" for line in "\n".join(lines).split("\n"))


def _command(step: Step) -> list[str]:
    command = step.template.command
    if command is None:
        target = f" --target {PLACEHOLDER}" if step.target is not None else ""
        return [f"  cmd: {_text(f'edgeops stage {step.stage}{target}')}"]
    command = command.strip("\n")
    if "\n" not in command:
        return [f"  cmd: {_text(command)}"]
    # A list of one: DVC would run each line of a text in a shell of its own.
    return ["  cmd:", f"  - {_text(command)}"]


def _block(key: str, items: Iterable[str]) -> list[str]:
    lines = [f"  - {item}" for item in items]
    return [f"  {key}:", *lines] if lines else []


def _plot(plot: Any) -> str:
    about = {"x": plot.x, "y": plot.y, "template": plot.template, "title": plot.title}
    if not plot.x:
        return _text(plot.path)
    rows = [f"      {key}: {_scalar(_escaped(value))}" for key, value in about.items() if value]
    return "\n".join([f"{_text(plot.path)}:", *rows])


def _text(text: str) -> str:
    """Return a scalar in which the target's name is DVC's to fill in, and nothing else is."""
    return _scalar(_escaped(text).replace(PLACEHOLDER, "${item.target}"))


def _escaped(text: str) -> str:
    return text.replace("${", "\\${")


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _RESERVED
    return text if plain else json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True)
class _Lines:
    """The lines of one stage: from its key to its last word, without what follows it."""

    name: str
    start: int
    end: int


def _edited(existing: str, document: Document, groups: dict[str, list[Step]]) -> str:
    stages = _stages(document)
    lines = existing.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    spans, indent, head = _spans(existing, lines)
    texts = {name: stage_text(group, indent) for name, group in groups.items()}
    inserts: dict[int, list[str]] = {}
    drop: set[int] = set()
    at = head
    known = {span.name: span for span in spans}
    for name, text in texts.items():
        span = known.get(name)
        if span is None:
            inserts.setdefault(at, []).append(text)
            continue
        if not _same(stages[name], text):
            drop |= set(range(span.start, span.end))
            inserts.setdefault(span.end, []).insert(0, text)
        at = span.end
    for span in spans:
        if span.name not in texts and mine(stages[span.name]):
            drop |= set(range(span.start, span.end))
    if not inserts and not drop:
        return existing
    return ("" if existing.strip() else HEADER) + _assembled(lines, inserts, drop)


def _assembled(lines: list[str], inserts: dict[int, list[str]], drop: set[int]) -> str:
    parts = []
    for number in range(len(lines) + 1):
        parts += inserts.get(number, [])
        if number < len(lines) and number not in drop:
            parts.append(lines[number])
    return "".join(parts)


def _spans(existing: str, lines: list[str]) -> tuple[list[_Lines], int, int]:
    """Return the lines of each stage, how far stages are indented, and where the first may go.

    Adds the key ``stages`` to ``lines`` when it is not there.
    """
    root = reader().compose(existing)
    pairs = root.value if root is not None else []
    found = next(((key, value) for key, value in pairs if key.value == "stages"), None)
    if found is None:
        lines.append("stages:\n")
        return [], _INDENT, len(lines)
    key, node = found
    line = key.start_mark.line
    if not node.value:
        lines[line] = lines[line].replace("{}", "").rstrip() + "\n"
        return [], _INDENT, line + 1
    starts = [name.start_mark for name, _ in node.value]
    if node.flow_style or len({mark.line for mark in starts} | {line}) <= len(starts):
        raise unusable(f"{FILE}:{line + 1}:1", "its stages stand in one line, in braces")
    spans = [
        _Lines(name.value, name.start_mark.line, max(_last(value), name.start_mark.line) + 1)
        for name, value in node.value
    ]
    return spans, starts[0].column, line + 1


def _last(node: Any) -> int:
    """Return the number of the last line that a node has words on."""
    mark = node.end_mark
    if node.id == "scalar" and node.style in ("|", ">"):
        return int(mark.line) - 1
    if node.id == "scalar" or node.flow_style:
        return int(mark.line)
    children = (
        node.value if node.id == "sequence" else [part for pair in node.value for part in pair]
    )
    return max((_last(child) for child in children), default=int(node.start_mark.line))


def _same(stage: Any, text: str) -> bool:
    generated = parse(f"stages:\n{text}", FILE)
    return bool(next(iter(_stages(generated).values())) == stage)


def _stages(document: Document) -> dict[str, Any]:
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise unusable(f"{FILE}:1:1", "it is no mapping")
    stages = value.get("stages")
    if stages is not None and not isinstance(stages, dict):
        raise unusable(document.where(("stages",)), "stages is no mapping")
    return stages or {}


def _taken(document: Document, name: str) -> Finding:
    return Finding(
        "dvc-stage-taken",
        f"{FILE} has a stage {name!r} of your own, and {PROJECT} has one of that name too",
        where=document.where(("stages", name), key=True),
        why="edgeops keeps stages that a person wrote, so it does not replace this one",
        fix=f"rename one of the two, or delete it from {FILE} if edgeops is to make it",
    )


def unusable(where: str, why: str) -> InputError:
    """Return the error of a dvc.yaml that cannot be read, or not edited line by line."""
    return InputError(
        "dvc-yaml-bad",
        f"{FILE} cannot be read or edited",
        where=where,
        why=why,
        fix="mend it, with one stage a block below stages:, or delete it to have it made again",
    )
