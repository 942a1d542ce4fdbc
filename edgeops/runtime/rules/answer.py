"""What a rule answers: constants, expressions and arrays by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules.document import Reader, malformed, plain, shown
from edgeops.runtime.rules.expressions import Expression, compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.runtime.rules.call import Call


@dataclass(frozen=True)
class Constant:
    """A value that stands in the document."""

    value: Any


@dataclass(frozen=True)
class Whole:
    """An output of the model as an array, as large as it is."""

    output: str
    model: str


@dataclass(frozen=True)
class Answer:
    """The parts of an answer by name."""

    parts: Mapping[str, Constant | Whole | Expression]

    @property
    def expressions(self) -> list[Expression]:
        """The expressions among the parts."""
        return [part for part in self.parts.values() if isinstance(part, Expression)]

    def make(self, call: Call) -> dict[str, Any]:
        """Return the answer; raises what evaluating an expression raises."""
        at = call.at
        made = {}
        for name, part in self.parts.items():
            call.at = f"{at}, answer {name!r},"
            if isinstance(part, Expression):
                made[name] = call.evaluate(part)
            elif isinstance(part, Whole):
                made[name] = call.array(part.output, part.model)
            else:
                made[name] = part.value
        return made


def read_answer(given: Mapping[str, Any], where: str, path: str) -> Answer:
    """Return an answer from the document: a text is an expression, other values are themselves."""
    if not given:
        raise malformed(where, path, "the rule answers nothing", "answer: {NAME: EXPRESSION}")
    parts = {name: _part(value, where, f"{path}.{name}") for name, value in given.items()}
    return Answer(parts)


def _part(value: Any, where: str, path: str) -> Constant | Whole | Expression:
    if isinstance(value, str):
        return compiled(value, where, path)
    if not isinstance(value, dict):
        return Constant(plain(value, where, path))
    about = Reader(value, where, path)
    if about.has("constant"):
        part: Constant | Whole = Constant(plain(about.take("constant"), where, path))
    elif about.has("array"):
        part = Whole(about.text("array"), about.text("model", ""))
    else:
        why = f"it is {shown(value)}"
        raise malformed(where, path, why, "write {constant: VALUE} or {array: OUTPUT}")
    about.end(("constant", "array", "model"))
    return part
