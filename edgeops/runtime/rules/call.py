"""One call of the rules: what expressions see is made when the first of them looks at it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgeops.runtime.rules.arrays import chosen, sample
from edgeops.runtime.rules.expressions import (
    MOST_RESULT,
    MOST_RESULT_TEXT,
    MOST_TEXT,
    MOST_VALUES,
    first_line,
    library,
)
from edgeops.runtime.rules.functions import Functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeops.runtime.rules.expressions import Expression
    from edgeops.runtime.rules.rules import Rules

_WRONG = (
    *(TypeError, ValueError, RuntimeError, ArithmeticError, LookupError),
    *(RecursionError, AttributeError),
)


class Fault(Exception):
    """Why an expression or a step gave no value."""


class Call:
    """What one sample gave, for steps and expressions; ``at`` says which rule is asked."""

    def __init__(
        self,
        rules: Rules,
        features: Mapping[str, Any],
        outputs: Mapping[str, Any],
        labels: Sequence[str],
        inputs: Mapping[str, Any],
        meta: Mapping[str, Any],
        models: Callable[[str], Mapping[str, Any]] | None,
    ) -> None:
        self.at = ""
        self._rules = rules
        self._given = {"outputs": outputs, "features": features, "inputs": inputs}
        self._labels, self._meta, self._run = labels, meta, models
        self._answered: dict[str, Mapping[str, Any]] = {"": outputs}
        self._values: dict[str, Any] = {}
        self._models: dict[str, Any] = {}
        self._functions = Functions(labels)
        self._context: Any = None
        self._callable: set[str] = set()
        self._pretended: dict[str, Any] = {}
        self._visible: set[str] = set()

    def true(self, expression: Expression) -> bool:
        """Return what a condition says; a value that is neither true nor false is a fault."""
        found = self.evaluate(expression)
        if not isinstance(found, bool):
            message = f"{expression.path} is {found!r}, neither true nor false"
            raise Fault(message)
        return found

    def evaluate(self, expression: Expression) -> Any:
        """Return the plain value of an expression; raises Fault."""
        context = self._prepared(expression)
        self._functions.fault = ""  # what another expression was guilty of is not this one's
        try:
            found = expression.program.execute(context)
        except _WRONG as error:
            message = f"{expression.source}: {self._told(error)}"
            raise Fault(message) from error
        if self._functions.fault:
            message = f"{expression.source}: {self._functions.fault}"
            raise Fault(message)
        return _plain(found, expression)

    def value_of(self, name: str) -> Any:
        """Return what a step or a value of the document came to."""
        if name not in self._values:
            step = self._rules.steps.get(name)
            if name in self._pretended:
                self._values[name] = self._pretended[name]
            elif step is None:
                self._values[name] = self.evaluate(self._rules.values[name])
            else:
                self._values[name] = self._stepped(step)
        return self._values[name]

    def pretend(self, values: Mapping[str, Any]) -> None:
        """Take these for what steps came to."""
        self._pretended = dict(values)

    def array(self, output: str, model: str) -> Any:
        """Return an output as an array, without the axis of samples; raises Fault."""
        try:
            return chosen(self._outputs_of(model), output)
        except ValueError as error:
            raise Fault(str(error)) from error

    def _stepped(self, step: Any) -> Any:
        import numpy as np

        outputs = self._outputs_of(step.model)
        try:
            # What is not finite is refused in words; numpy need not say it as well.
            with np.errstate(all="ignore"):
                return step.run(outputs, self._labels, self._meta)
        except ValueError as error:
            message = f"step {step.name!r}: {error}"
            raise Fault(message) from error

    def _outputs_of(self, model: str) -> Mapping[str, Any]:
        if model not in self._answered:
            if self._run is None:
                message = f"there is no model {model!r} to ask"
                raise Fault(message)
            self._answered[model] = self._run(model)
        return self._answered[model]

    def _prepared(self, expression: Expression) -> Any:
        if self._context is None:
            self._context = library().Context()
        for name in expression.functions - self._callable:
            self._context.add_function(name, self._functions.named(frozenset([name]))[name])
            self._callable.add(name)
        for name in expression.names - self._visible:
            if name in self._given:
                self._add(name, self._seen(self._given[name], self._rules.needed.get(name)))
            elif name in self._rules.steps or name in self._rules.values:
                self._add(name, self.value_of(name))
        if "models" in expression.names:
            self._see_models(expression.parts["models"])
        return self._context

    def _see_models(self, names: frozenset[str] | None) -> None:
        """Run the models that an expression looks at and that have not run."""
        wanted = self._rules.models.keys() if names is None else names
        missing = [name for name in wanted if name not in self._models]
        for name in missing:
            self._models[name] = self._seen(self._outputs_of(name), None)
        if missing:
            self._context.add_variable("models", self._models)

    def _add(self, name: str, value: Any) -> None:
        self._visible.add(name)
        self._context.add_variable(name, value)

    def _seen(self, given: Mapping[str, Any], names: frozenset[str] | None) -> dict[str, Any]:
        """Return values for expressions: what is too large for them is left out."""
        found = {}
        for name in given if names is None else names & given.keys():
            value = given[name]
            if not hasattr(value, "tolist"):
                if isinstance(value, (bool, int, float)) or _is_short(value):
                    found[name] = value
            elif value.size <= MOST_VALUES:
                found[name] = sample(value).tolist()
        return found

    def _told(self, error: BaseException) -> str:
        """Say what went wrong, and of a name that is missing why it is."""
        name = str(error).strip("'\"")
        if isinstance(error, KeyError):
            sources = [*self._given.values(), *self._answered.values()]
            large = [one[name] for one in sources if name in one and hasattr(one[name], "size")]
            if large:
                return (
                    f"{name!r} has {large[0].size} values, and expressions see arrays of at most "
                    f"{MOST_VALUES}: use a step, or answer it as an array"
                )
        return first_line(error)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _plain(value: Any, expression: Expression) -> Any:
    """Return a value that JSON can hold and that is not too large; raises Fault for any other."""
    left = [MOST_RESULT, MOST_RESULT_TEXT]
    try:
        return _checked(value, left)
    except Fault as fault:
        message = f"{expression.source}: {fault}"
        raise Fault(message) from fault


def _checked(value: Any, left: list[int]) -> Any:
    left[0] -= 1
    left[1] -= len(value) if isinstance(value, str) else 0
    if min(left) < 0:
        message = (
            f"it comes to more than {MOST_RESULT} values or {MOST_RESULT_TEXT} characters, "
            "which no expression may make"
        )
        raise Fault(message)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_checked(each, left) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _checked(each, left) for key, each in value.items()}
    shown = value if isinstance(value, float) else type(value).__name__
    message = f"it comes to {shown}, which no answer can hold"
    raise Fault(message)
