"""Rules: a checked document, ready to answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeops.errors import RefusedError
from edgeops.runtime.rules import expressions
from edgeops.runtime.rules.answer import Answer, read_answer
from edgeops.runtime.rules.call import Call, Fault
from edgeops.runtime.rules.document import (
    FORMAT,
    MOST_ENTRIES,
    OWN,
    Model,
    Reader,
    checked_name,
    plain,
    read_models,
    shown,
)
from edgeops.runtime.rules.steps import Step, read_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeops.runtime.rules.expressions import Expression

_KEYS = ("format", "models", "steps", "values", "rules", "fallback")


@dataclass(frozen=True)
class Rule:
    """The answer when ``when`` is true; None is always."""

    name: str
    when: Expression | None
    answer: Answer


@dataclass(frozen=True)
class Rules:
    """What a rules document says; called with what one sample gave.

    ``models`` are the other targets that it combines, by the name that expressions see;
    ``fallback`` is the answer when no model can give one, None where none is declared.
    """

    where: str
    models: Mapping[str, Model]
    steps: Mapping[str, Step]
    values: Mapping[str, Expression]
    rules: tuple[Rule, ...]
    fallback: Mapping[str, Any] | None = None
    needed: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def __call__(
        self,
        features: Mapping[str, Any],
        outputs: Mapping[str, Any],
        labels: Sequence[str] = (),
        *,
        inputs: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        models: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Return the answer to one sample: plain values, and arrays where the rules ask for them.

        ``features`` are the arrays that the model took, ``outputs`` those that it gave, ``inputs``
        what the caller gave; ``meta`` is what features say of images. ``models`` runs another model
        and is called at most once for each that an expression looks at. Raises RefusedError
        ``rules-failed``, which names the rule.
        """
        call = Call(self, features, outputs, labels, inputs or {}, meta or {}, models)
        try:
            for rule in self.rules:
                call.at = f"rule {rule.name!r}"
                if rule.when is None or call.true(rule.when):
                    return rule.answer.make(call)
            call.at = "steps"
            return {name: call.value_of(name) for name in self.steps}
        except Fault as fault:
            raise RefusedError(
                "rules-failed",
                f"the rules give no answer: {call.at} failed",
                where=self.where,
                why=str(fault),
                fix="mend the rule, or guard it: has(x), size(x) > 0, double(x); "
                "see docs/formats/rules.md",
            ) from fault

    @property
    def expressions(self) -> list[Expression]:
        """All expressions, in the order of the document."""
        found = list(self.values.values())
        for rule in self.rules:
            found += [rule.when] if rule.when else []
            found += rule.answer.expressions
        return found


def parse(document: Any, where: str = "rules") -> Rules:
    """Check a document and compile its expressions.

    Raises InputError ``rules-malformed`` with the path inside the document, MissingError
    ``cel-missing`` when it holds expressions and their library is not installed.
    """
    from edgeops.runtime.rules.trial import check_names, check_steps

    reader = Reader(document, where, "")
    if reader.take("format") != FORMAT:
        raise reader.wrong("format", "this is not what it says", f"write: format: {FORMAT}")
    models = read_models(reader)
    steps = {step.name: step for step in read_steps(reader, models)}
    values = {}
    for name, source in reader.mapping("values", MOST_ENTRIES).items():
        path = f"values.{name}"
        checked_name(name, where, path)
        if name in steps:
            raise reader.wrong(path, f"there is a step called {name!r}", "take another name")
        values[name] = expressions.compiled(source, where, path)
    rules = _read_rules(reader)
    fallback = reader.take("fallback")
    if fallback is not None and not isinstance(fallback, dict):
        raise reader.wrong(
            "fallback", f"it is {shown(fallback)}", "give a mapping, as an answer is"
        )
    fallback = plain(fallback, where, "fallback")
    reader.end(_KEYS)
    if not steps and not rules:
        raise reader.wrong("rules", "there are neither rules nor steps", "say what is answered")
    made = Rules(where, models, steps, values, rules, fallback)
    check_names(made)
    made = replace(made, needed=_needed(made))
    check_steps(made)
    return made


def _read_rules(reader: Reader) -> tuple[Rule, ...]:
    found: list[Rule] = []
    given = reader.items("rules", MOST_ENTRIES)
    for index, value in enumerate(given):
        path = f"rules[{index}]"
        about = Reader(value, reader.where, path)
        name = about.text("name", str(index), 64)
        when = about.take("when")
        compiled = expressions.compiled(when, reader.where, f"{path}.when") if when else None
        if when is not None and compiled is None:
            raise about.wrong("when", f"it is {shown(when)}, no expression")
        answer = read_answer(about.mapping("answer"), reader.where, f"{path}.answer")
        about.end(("name", "when", "answer"))
        if compiled is None and index < len(given) - 1:
            raise about.wrong("when", "it is not there, so no later rule is ever asked")
        if name in {rule.name for rule in found}:
            raise about.wrong("name", f"there are two rules called {name!r}")
        found.append(Rule(name, compiled, answer))
    if found and found[-1].when is not None:
        path = f"rules[{len(found) - 1}].when"
        raise reader.wrong(
            path,
            "the last rule has a condition, so some samples get no answer",
            "add a last rule without when",
        )
    return tuple(found)


def _needed(rules: Rules) -> dict[str, frozenset[str] | None]:
    """Return which entries of outputs, features and inputs any expression looks at."""
    found: dict[str, frozenset[str] | None] = {}
    for expression in rules.expressions:
        for name in OWN:
            if name not in expression.parts:
                continue
            part, before = expression.parts[name], found.get(name, frozenset())
            found[name] = None if part is None or before is None else before | part
    return found
