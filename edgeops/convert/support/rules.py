"""Whether conditions hold for a node: yes, no, or not known.

What is not known refuses nothing, except where a rule asks for known sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeops.convert.support.facts import Node, Tensor
    from edgeops.convert.support.tables import Condition, Rule


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether one condition ``holds``; ``has`` and ``takes`` say it to people when it does not."""

    holds: bool | None
    code: str
    has: str = ""
    takes: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a node is not taken; ``why`` and ``fix`` are the table's own words, or empty."""

    code: str
    has: str = ""
    takes: str = ""
    why: str = ""
    fix: str = ""


def problems(rule: Rule, node: Node) -> list[Problem]:
    """Return what of a rule a node breaks."""
    must = rule.must
    found = [
        Problem(must.code or answer.code, answer.has, answer.takes, must.why, must.fix)
        for answer in answers(must, node)
        if answer.holds is False
    ]
    if rule.data_dependent:
        has = "whose output size depends on the values that it reads"
        found.append(Problem("data-dependent-shape", has, "", must.why, must.fix))
    for part in rule.forbid:
        told = list(answers(part, node))
        if told and all(answer.holds is True for answer in told):
            code = part.code or told[-1].code
            has = " and ".join(filter(None, (answer.has for answer in told)))
            found.append(Problem(code, has, "", part.why or must.why, part.fix or must.fix))
    if rule.allow and not found:
        found.extend(_none_allowed(rule, node))
    return found


def _none_allowed(rule: Rule, node: Node) -> list[Problem]:
    """Return what the alternative that fits best lacks, or nothing when one of them fits."""
    best: list[Answer] | None = None
    for part in rule.allow:
        wrong = [_opset(part, node)] if part.opsets else []
        if not wrong or wrong[0].holds:
            wrong = [answer for answer in answers(part, node) if answer.holds is False]
        if not wrong:
            return []
        if best is None or _distance(wrong) < _distance(best):
            best = wrong
    must = rule.must
    return [
        Problem(must.code or answer.code, answer.has, answer.takes, must.why, must.fix)
        for answer in (best or [])[:1]
    ]


def _distance(wrong: list[Answer]) -> tuple[bool, int]:
    return (any(answer.code == "operator-unsupported" for answer in wrong), len(wrong))


def answers(condition: Condition, node: Node) -> Iterator[Answer]:
    """Yield an answer for each thing that a condition asks."""
    if condition.opsets:
        yield _opset(condition, node)
    for name, allowed in condition.attributes.items():
        yield _attribute(node, name, allowed)
    yield from _bounds(condition, node)
    yield from _given(condition, node)
    for key, ranks in condition.rank.items():
        yield from (_rank(what, tensor, ranks) for what, tensor in _selected(node, key))
    for key, dtypes in condition.dtypes.items():
        yield from (_dtype(what, tensor, dtypes) for what, tensor in _selected(node, key))
    for key, least in condition.elements_min.items():
        yield from (_count(what, t, f"at least {least}", least) for what, t in _selected(node, key))
    for key, most in condition.elements_max.items():
        takes = f"at most {most}"
        yield from (_count(what, t, takes, high=most) for what, t in _selected(node, key))
    if condition.static or condition.dynamic:
        yield _sizes(node, static=condition.static)


def _opset(condition: Condition, node: Node) -> Answer:
    holds = any(low <= node.opset <= high for low, high in condition.opsets)
    spans = ", ".join(f"{low} to {high}" for low, high in condition.opsets)
    return Answer(holds, "operator-unsupported", f"at opset {node.opset}", f"opsets {spans}")


def _attribute(node: Node, name: str, allowed: list[Any]) -> Answer:
    value = node.attribute(name)
    holds = None if value is None else _is_among(value, allowed)
    takes = f"{name} = {_either(map(_shown, allowed))}"
    return Answer(holds, "attribute-unsupported", f"with {name} = {_shown(value)}", takes)


def _is_among(value: Any, allowed: list[Any]) -> bool:
    if value in allowed:
        return True
    return isinstance(value, list) and all(part in allowed for part in value)


def _bounds(condition: Condition, node: Node) -> Iterator[Answer]:
    for name, limit in condition.attributes_min.items():
        yield _bound(node, name, f"of at least {limit}", low=limit)
    for name, limit in condition.attributes_max.items():
        yield _bound(node, name, f"of at most {limit}", high=limit)


def _bound(
    node: Node, name: str, takes: str, *, low: float = -math.inf, high: float = math.inf
) -> Answer:
    value = node.attribute(name)
    parts = value if isinstance(value, list) else [value]
    holds = None if value is None else all(low <= part <= high for part in parts)
    has = f"with {name} = {_shown(value)}"
    return Answer(holds, "attribute-unsupported", has, f"{name} {takes}")


def _given(condition: Condition, node: Node) -> Iterator[Answer]:
    form = "attribute-unsupported"
    for wanted, indices in ((False, condition.absent), (True, condition.present)):
        for index in indices:
            given = _input(node, index) is not None
            name = node.input_name(index)
            has = f"with the input {name} given" if given else f"without the input {name}"
            takes = f"it with {name}" if wanted else f"it without {name}"
            yield Answer(given == wanted, form, has, takes)
    for wanted, indices in ((True, condition.constant), (False, condition.variable)):
        for index in indices:
            tensor = _input(node, index)
            constant = tensor.constant if tensor else None
            holds = None if constant is None else constant == wanted
            name = node.input_name(index)
            has = f"whose {name} is {'a constant' if constant else 'computed'}"
            takes = f"a constant {name}" if wanted else f"a computed {name}"
            yield Answer(holds, "constant-needed" if wanted else form, has, takes)
    has = f"of which {_count_of(node.read, 'output')} read"
    if condition.outputs is not None:
        yield Answer(node.read <= condition.outputs, form, has, f"at most {condition.outputs}")
    if condition.outputs_min is not None:
        yield Answer(node.read >= condition.outputs_min, form, has, f"{condition.outputs_min}")


def _input(node: Node, index: int) -> Tensor | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _selected(node: Node, key: str) -> list[tuple[str, Tensor | None]]:
    """Return what a key of ``rank`` or ``dtypes`` names, each with words for it."""
    if key == "*":
        return [
            (node.input_name(index), tensor)
            for index, tensor in enumerate(node.inputs)
            if tensor is not None
        ]
    if key.isdigit():
        return [(node.input_name(int(key)), _input(node, int(key)))]
    if key.startswith("out") and key[3:].isdigit():
        index = int(key[3:])
        return [(f"output {index}", node.outputs[index] if index < len(node.outputs) else None)]
    return [(repr(tensor.name), tensor) for tensor in node.typed(key)]


def _rank(what: str, tensor: Tensor | None, allowed: list[int]) -> Answer:
    shape = tensor.shape if tensor else None
    holds = None if shape is None else len(shape) in allowed
    count = 0 if shape is None else len(shape)
    has = f"whose {what} has {_axes(count)}"
    return Answer(holds, "rank-unsupported", has, f"{_either(map(str, allowed))} axes there")


def _dtype(what: str, tensor: Tensor | None, allowed: list[str]) -> Answer:
    dtype = tensor.dtype if tensor else None
    holds = None if dtype is None else dtype in allowed
    return Answer(
        holds, "dtype-unsupported", f"whose {what} is {dtype}", f"{_either(allowed)} there"
    )


def _count(
    what: str, tensor: Tensor | None, takes: str, low: int = 0, high: float = math.inf
) -> Answer:
    shape = tensor.shape if tensor else None
    count = None if shape is None or None in shape else math.prod(size or 0 for size in shape)
    holds = None if count is None else low <= count <= high
    has = f"whose {what} holds {count} values"
    return Answer(holds, "attribute-unsupported", has, f"{takes} there")


def _sizes(node: Node, *, static: bool) -> Answer:
    open_one = next((t for t in node.inputs if t is not None and not t.is_static), None)
    holds = (open_one is None) == static
    sizes = "sizes that are not known"
    if open_one is not None and open_one.shape is not None:
        known = ", ".join("?" if size is None else str(size) for size in open_one.shape)
        sizes = f"the sizes [{known}]"
    has = f"whose input {open_one.name!r} has {sizes}" if open_one else "whose sizes are fixed"
    return Answer(holds, "dynamic-shape", has, "fixed sizes there")


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"


def _count_of(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _either(parts: Iterable[str]) -> str:
    *rest, last = list(parts) or ["nothing"]
    return f"{', '.join(rest)} or {last}" if rest else last
