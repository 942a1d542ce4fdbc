"""Find what is wrong with expressions before there is a sample: names, and types on made-up values."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules.answer import Whole
from edgeops.runtime.rules.call import Call, Fault
from edgeops.runtime.rules.document import OWN, malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.features import Features
    from edgeops.runtime.rules.rules import Rules

_SIZE = 4
# What a made-up value can be guilty of; a wrong type or a missing name is the document's own.
_OWN_FAULTS = ("Unsupported operation", "No such overload", "there is no", "Undefined variable")


def check_names(rules: Rules) -> None:
    """Refuse names that nothing has; a value may use steps and the values before it."""
    known = {*rules.steps, *OWN}
    for name, expression in rules.values.items():
        _check(rules, expression, known)
        known.add(name)
    for at, rule in enumerate(rules.rules):
        for expression in ([rule.when] if rule.when else []) + rule.answer.expressions:
            _check(rules, expression, known)
        for entry, part in rule.answer.parts.items():
            model = part.model if isinstance(part, Whole) else ""
            if model and model not in rules.models:
                path = f"rules[{at}].answer.{entry}"
                raise malformed(rules.where, path, f"models has no {model!r}", _known(rules.models))


def _check(rules: Rules, expression: Any, known: set[str]) -> None:
    unknown = sorted(expression.names - known)
    if unknown:
        why = f"there is no {unknown[0]!r}"
        raise malformed(rules.where, expression.path, why, _known(sorted(known)))
    shadowed = sorted(expression.bound & known)
    if shadowed:
        why = f"a macro binds {shadowed[0]!r}, which has a meaning already"
        raise malformed(rules.where, expression.path, why, "take another name, such as x")
    models = expression.parts.get("models") or ()
    wrong = sorted(set(models) - set(rules.models))
    if wrong:
        why = f"models has no {wrong[0]!r}"
        raise malformed(rules.where, expression.path, why, _known(rules.models))


def _known(names: Any) -> str:
    return f"known: {', '.join(names) or 'none'}"


def check_models(
    rules: Rules,
    outputs: Sequence[TensorInfo],
    models: Mapping[str, Sequence[TensorInfo]],
    labels: Sequence[str],
) -> None:
    """Try the rules on what the models are going to answer, as far as that is known beforehand.

    ``outputs`` are those of the target's model, ``models`` those of the others by name. Raises
    InputError ``rules-malformed`` for an output that no model has, and for types that do not fit.
    """
    known = {"": outputs, **models}
    for at, step in enumerate(rules.steps.values()):
        _check_outputs(rules, f"steps[{at}]", known[step.model], step.outputs)
    for at, rule in enumerate(rules.rules):
        for name, part in rule.answer.parts.items():
            if isinstance(part, Whole):
                path = f"rules[{at}].answer.{name}"
                _check_outputs(rules, path, known[part.model], (part.output,))
    for expression in rules.expressions:
        names = expression.parts.get("outputs") or ()
        _check_outputs(rules, expression.path, outputs, tuple(names))
    made = {name: {each.name: _made(each) for each in outputs} for name, outputs in known.items()}
    _try(rules, made, labels, {"features", "inputs"})


def check_taken(rules: Rules, features: Features) -> None:
    """Refuse names of features, inputs and images that the features before the model do not have.

    They would be missing in every call alike. Raises InputError ``rules-malformed``.
    """
    inputs = [each.name for each in features.inputs]
    # An input that no model input is made of goes by its own name, so these count as made as well.
    made = list(dict.fromkeys([*(tensor.name for tensor in features.outputs), *inputs]))
    for expression in rules.expressions:
        for kind, known in (("features", made), ("inputs", inputs)):
            _check_known(rules, expression.path, kind, expression.parts.get(kind) or (), known)
    images = [each.name for each in features.inputs if each.kind == "image"]
    for at, step in enumerate(rules.steps.values()):
        image = getattr(step, "image", "")
        _check_known(rules, f"steps[{at}].image", "images", (image,) if image else (), images)
    for name, model in rules.models.items():
        for key, feature in model.inputs.items():
            _check_known(rules, f"models.{name}.inputs.{key}", "features", (feature,), made)


def _check_known(
    rules: Rules, path: str, kind: str, names: Iterable[str], known: Sequence[str]
) -> None:
    for name in sorted(names):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]!r}? {_known(known)}" if near else _known(known)
            raise malformed(rules.where, path, f"{kind} has no {name!r}", fix)


def check_steps(rules: Rules) -> None:
    """Try the expressions that look at nothing but steps and values, before any model is known."""
    _try(rules, {"": {}}, (), set(OWN))


def _check_outputs(
    rules: Rules, path: str, outputs: Sequence[TensorInfo], names: Sequence[str]
) -> None:
    known = [tensor.name for tensor in outputs]
    for name in names:
        if not name and len(known) == 1:
            continue
        if name not in known:
            why = f"the model has no output {name!r}" if name else "which output is not said"
            raise malformed(rules.where, path, why, _known(known))


def _try(rules: Rules, made: Mapping[str, Any], labels: Sequence[str], unknown: set[str]) -> None:
    """Evaluate each expression on made-up outputs, but those that look at what is unknown."""
    call = Call(rules, {}, made[""], labels, {}, {}, made.__getitem__)
    call.pretend({name: step.example() for name, step in rules.steps.items()})
    unsure = set(unknown)
    for expression in rules.expressions:
        if expression.names & unsure:
            unsure.add(expression.path.removeprefix("values."))
            continue
        try:
            call.evaluate(expression)
        except Fault as fault:
            unsure.add(expression.path.removeprefix("values."))
            cause = str(fault).removeprefix(f"{expression.source}: ")
            if cause.startswith(_OWN_FAULTS):
                raise malformed(rules.where, expression.path, cause, _advice(cause)) from fault


def _advice(cause: str) -> str:
    if "Unsupported" in cause or "overload" in cause:
        return "CEL mixes no types: write 2.0 for 2 beside what a model answers, or double(x)"
    return ""


def _made(tensor: TensorInfo) -> Any:
    """Return an array as a model gives it: halves, with open axes of 4 but the first."""
    import numpy as np

    shape = [
        axis if isinstance(axis, int) else 1 if place == 0 else _SIZE
        for place, axis in enumerate(tensor.shape)
    ]
    if tensor.dtype == "str":
        return np.full(shape, "", dtype=object)
    return np.full(shape, 0.5).astype(tensor.dtype)
