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
# What turns one state into the next, for who has a step too early.
_LEADS = {
    "pixels": "layout",
    "samples": "frames",
    "frames": "spectrum",
    "spectrum": "mel",
    "text": "split or encode",
    "tokens": "vocabulary or hash",
    "bytes": "ends or codes",
}


@dataclass(frozen=True)
class _Step:
    """A step that fits: what makes it, what runs, and the form that comes out."""

    name: str
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
    start = form
    found: list[_Step] = []
    for index, item in enumerate(value):
        step = _step(problems, (*path, index), item, states, start, found, form)
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
    problems: Problems,
    path: Path,
    item: Any,
    states: Any,
    start: Form | None,
    before: Sequence[_Step],
    form: Form | None,
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
        states_of = [state for state in states if name in states[state]]
        state = form.state if form else ""
        why = f"it is a step on {' and '.join(states_of)}, and what comes to it is {state}; "
        why += f"steps on {state}: {', '.join(there) or 'none'}"
        fix = _place(name, states_of, start, before)
        problems.add(path, f"{name} cannot follow here", why, fix)
        return None
    found = _options(problems, path, given, there[name])
    return (
        None if found is None or form is None else _made(problems, path, there[name], found, form)
    )


def _place(name: str, on: Sequence[str], start: Form | None, before: Sequence[_Step]) -> str:
    """Return where a step belongs that cannot stand where it does; ``on`` are its states."""
    form = start
    place = ""
    for step in before:
        if form is not None and form.state in on and step.form.state not in on:
            place = f"put {name} before {step.name}"
        form = step.form
    lead = _LEADS.get(form.state, "") if form else ""
    return place or (f"put {name} after {lead}" if lead else f"take {name} out")


def _options(problems: Problems, path: Path, given: Any, about: StepType) -> Any:
    """Return the options of a step, a lone value under the name that it stands for."""
    name = path[-1]
    if not is_mapping(given):
        if given is not None and not about.short:
            why = f"its options: {', '.join(about.options) or 'none'}"
            problems.add(path, f"{name} takes options by name", why, f"{name}: {{option: value}}")
            return None
        given = {} if given is None else {about.short: given}
    return options(problems, path, given, about.options, str(name))


def _made(
    problems: Problems, path: Path, about: StepType, given: Mapping[str, Any], form: Form
) -> _Step | None:
    name = str(path[-1])
    try:
        run, after = about.make(form, given)
        if elements(after.shape) > MOST_ELEMENTS:
            raise Misfit(f"of at most {MOST_ELEMENTS} elements")
    except Misfit as misfit:
        problems.add(path, f"{name} must be {misfit}", _told(form), "change the step or its place")
        return None
    return _Step(name, about, given, run, after)


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
