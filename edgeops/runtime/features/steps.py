"""The steps of an input: each is checked against the form that comes to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.runtime.features.checks import Misfit, is_mapping, nearest, options, shown
from edgeops.runtime.features.form import MOST_ELEMENTS, Form, Run, StepType, elements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.runtime.features.checks import Path, Problems

_MOST_STEPS = 64
_SHOWN = 60
_EXAMPLE = "write - resize: {width: 320, height: 240}"


@dataclass(frozen=True)
class _Step:
    """A step that fits: what makes it, what runs, and the form that comes out."""

    about: StepType
    options: Mapping[str, Any]
    run: Run
    form: Form


def steps_of(
    problems: Problems, path: Path, value: Any, states: Any, form: Form | None
) -> tuple[tuple[Run, ...], Form | None]:
    """Return the steps and what comes out, None where it is not known because one is wrong.

    ``states`` holds the steps that may follow on each state of a form.
    """
    if value is None:
        return (), form
    if not isinstance(value, (list, tuple)) or len(value) > _MOST_STEPS:
        what = f"steps must be a list of at most {_MOST_STEPS}"
        problems.add(path, what, f"it is {shown(value)}", _EXAMPLE)
        return (), None
    start, found = form, []
    for index, item in enumerate(value):
        step = _step(problems, (*path, index), item, states, form)
        form = step.form if step else None
        if step:
            found.append(step)
    if start is None or form is None:
        return (), None
    return _sooner(start, found), form


def _sooner(form: Form, steps: Sequence[_Step]) -> tuple[Run, ...]:
    """Return what runs, with a layout before the steps that change each pixel by itself.

    The result is the same; bytes are moved in place of floats four times their size.
    """
    order: list[_Step] = []
    for step in steps:
        at = len(order)
        while step.about.moves and at and order[at - 1].about.alone:
            at -= 1
        order.insert(at, step)
    runs = []
    for step in order:
        run, form = step.about.make(form, step.options)
        runs.append(run)
    return tuple(runs)


def _step(
    problems: Problems, path: Path, item: Any, states: Any, form: Form | None
) -> _Step | None:
    name, given = _named(item)
    every = {each: steps[each] for steps in states.values() for each in steps}
    there = every if form is None else states.get(form.state, {})
    if name is None or name not in every:
        what, fix = "a step must be a name, or a mapping of one name to its options", _EXAMPLE
        if name is not None:
            what, fix = f"there is no step {name[:_SHOWN]!r}", nearest(name, [*there])
        problems.add(path, what, f"steps here: {', '.join(there)}", fix)
        return None
    path = (*path, name)
    if name not in there:
        state = form.state if form else ""
        why = f"steps on {state}: {', '.join(there) or 'none'}"
        problems.add(path, f"{name} cannot follow here", why, "change the order of the steps")
        return None
    about = there[name]
    if not is_mapping(given):
        if given is not None and not about.short:
            why = f"its options: {', '.join(about.options) or 'none'}"
            problems.add(path, f"{name} takes options by name", why, f"{name}: {{option: value}}")
            return None
        given = {} if given is None else {about.short: given}
    found = options(problems, path, given, about.options, name)
    if found is None or form is None:
        return None
    try:
        run, after = about.make(form, found)
        if elements(after.shape) > MOST_ELEMENTS:
            raise Misfit(f"of at most {MOST_ELEMENTS} elements")
    except Misfit as misfit:
        problems.add(path, f"{name} must be {misfit}", _told(form), "change the step or its place")
        return None
    return _Step(about, found, run, after)


def _told(form: Form) -> str:
    shape = ", ".join("any" if size is None else str(size) for size in form.shape)
    return f"what comes to it is {form.state} {form.dtype}[{shape}]"


def _named(item: Any) -> tuple[str | None, Any]:
    """Return a step's name and options: ``lower``, ``{lower: }`` or ``{resize: {...}}``."""
    if isinstance(item, str):
        return item, None
    if is_mapping(item) and len(item) == 1:
        (key,) = item
        return (key, item[key]) if isinstance(key, str) else (None, None)
    return None, None
