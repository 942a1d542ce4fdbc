"""From the document to programs: all that is wrong is found before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.core.variant import TensorInfo
from edgeops.runtime.features import array, columns
from edgeops.runtime.features.checks import (
    Misfit,
    Option,
    Path,
    Problems,
    choice,
    either,
    flag,
    is_mapping,
    listed,
    name,
    nearest,
    options,
    shown,
    unknown_keys,
)
from edgeops.runtime.features.features import Features, Output, RawInput
from edgeops.runtime.features.form import Form, Run
from edgeops.runtime.features.kinds import KINDS
from edgeops.runtime.features.program import Columns, Steps
from edgeops.runtime.features.steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = "edgeops.features/1"
_MOST_INPUTS = 256
_MOST_COLUMNS = 4096
_KEYS = ("format", "inputs", "outputs")
_COLUMNS = {
    "dtype": Option(choice(*array.DTYPES), "float32"),
    "extra": Option(flag, default=False),
}
_COLUMN = {"name": Option(name), "type": Option(choice("number", "text"), "number")}


def parse(document: Mapping[str, Any], where: str = "features") -> Features:
    """Return the features that a document describes.

    ``where`` names the document in errors. Raises InputError ``features-malformed`` with a finding
    for everything that is wrong; the path inside of the document stands in ``where`` and, as a
    list, in ``details["path"]``.
    """
    problems = Problems(where)
    if not is_mapping(document):
        problems.add(
            (), "features must be a mapping (key: value)", f"it is {shown(document)}", _BEGIN
        )
        raise problems.error()
    unknown_keys(problems, (), document, _KEYS, "features")
    if document.get("format") != FORMAT:
        problems.add(
            ("format",),
            f"format must be {FORMAT}",
            f"it is {shown(document.get('format'))}: this edgeops reads no other",
            _BEGIN,
        )
    # A figure that does not fit into float32 is refused in words; numpy need not say it as well.
    with np.errstate(all="ignore"):
        found = _inputs(problems, document.get("inputs"))
    outputs = _outputs(problems, document.get("outputs"), found)
    if problems.findings:
        raise problems.error()
    return Features(found, outputs)


_BEGIN = f"begin with format: {FORMAT}"


def _inputs(problems: Problems, value: Any) -> dict[str, RawInput | None]:
    """Return the inputs by name, None where one is wrong."""
    if not is_mapping(value) or not 0 < len(value) <= _MOST_INPUTS:
        problems.add(
            ("inputs",),
            f"inputs must be a mapping of 1 to {_MOST_INPUTS} inputs by name",
            f"it is {shown(value)}",
            "add inputs: {image: {kind: image, steps: [...]}}",
        )
        return {}
    found: dict[str, RawInput | None] = {}
    for key in value:
        path: Path = ("inputs", str(key))
        try:
            name(key)
        except Misfit as misfit:
            problems.add(path, f"an input's name must be {misfit}", f"it is {shown(key)}", "")
            continue
        before = len(problems.findings)
        made = _input(problems, path, key, value[key])
        found[key] = made if len(problems.findings) == before else None
    return {key: found[key] for key in sorted(found)}


def _input(problems: Problems, path: Path, own: str, value: Any) -> RawInput | None:
    if not is_mapping(value):
        problems.add(path, "an input must be a mapping", f"it is {shown(value)}", "add kind: ...")
        return None
    kind = value.get("kind")
    known = [*KINDS, "columns"]
    if not isinstance(kind, str) or kind not in known:
        fix = nearest(kind, known) if isinstance(kind, str) else "add kind: ..."
        problems.add((*path, "kind"), f"kind must be one of {', '.join(known)}", shown(kind), fix)
        return None
    rest = {key: value[key] for key in value if key not in {"kind", "steps"}}
    if kind == "columns":
        return _table(problems, path, own, rest, value.get("steps"))
    about = KINDS[kind]
    read_options = options(problems, path, rest, about.options, f"{kind} input")
    form = None
    read: Run | None = None
    if read_options is not None:
        try:
            read, form = about.start(read_options)
        except Misfit as misfit:
            problems.add(path, f"the input must be {misfit}", "it does not fit", "change it")
    steps, form = steps_of(problems, (*path, "steps"), value.get("steps"), about.steps, form)
    if read is None or form is None or read_options is None:
        return None
    if form.state in about.open_states:
        problems.add(
            (*path, "steps"),
            f"the steps end with {form.state}, which a model cannot take",
            about.open_states[form.state],
            "add the step",
        )
    shape, dtype = about.raw(read_options)
    return RawInput(own, kind, shape, dtype, Steps(own, read, steps, form))


def _table(
    problems: Problems, path: Path, own: str, rest: Mapping[str, Any], steps: Any
) -> RawInput | None:
    """Return an input of columns."""
    given = rest.get("columns")
    others = {key: rest[key] for key in rest if key != "columns"}
    found = options(problems, path, others, _COLUMNS, "columns input")
    if not isinstance(given, (list, tuple)) or not 0 < len(given) <= _MOST_COLUMNS:
        problems.add(
            (*path, "columns"),
            f"columns must be a list of 1 to {_MOST_COLUMNS}",
            f"it is {shown(given)}",
            "add columns: [{name: age, steps: [{fill: 0}]}]",
        )
        return None
    made = [_one(problems, (*path, "columns", at), item) for at, item in enumerate(given)]
    good = [each for each in made if each is not None]
    if len({each.name for each in good}) != len(good):
        problems.add((*path, "columns"), "two columns have one name", "names tell them apart", "")
    if found is not None:
        _check_codes(problems, (*path, "columns"), made, np.dtype(found["dtype"]))
    form: Form | None = None
    if found is not None and len(good) == len(made):
        width = sum(each.form.shape[0] or 1 if each.form.shape else 1 for each in good)
        form = Form("array", (width,), found["dtype"])
    runs, form = steps_of(problems, (*path, "steps"), steps, {"array": array.STEPS}, form)
    if form is None or found is None:
        return None
    program = Columns(own, tuple(good), np.dtype(found["dtype"]), found["extra"], runs, form)
    text = any(each.type == "text" for each in good)
    return RawInput(own, "columns", (len(good),), "str" if text else "float64", program)


def _check_codes(
    problems: Problems, path: Path, made: Sequence[columns.Column | None], dtype: np.dtype[Any]
) -> None:
    """Find codes that the row's dtype would round or clip to others."""
    if dtype.kind == "f":
        holds = 1 << (np.finfo(dtype).nmant + 1)
    else:
        holds = int(np.iinfo(dtype).max) if dtype.kind in "iu" else 1
    for at, each in enumerate(made):
        if each is not None and each.form.state == "codes" and each.form.channel - 1 > holds:
            problems.add(
                (*path, at),
                f"a code of the column may be {each.form.channel - 1}, which {dtype} cannot hold",
                f"it holds whole numbers up to {holds}, and others would become one of them",
                "set dtype: int32 for the input, make fewer codes, or end with one_hot",
            )


def _one(problems: Problems, path: Path, item: Any) -> columns.Column | None:
    if not is_mapping(item):
        problems.add(path, "a column must be a mapping", f"it is {shown(item)}", "add name: ...")
        return None
    rest = {key: item[key] for key in item if key != "steps"}
    found = options(problems, path, rest, _COLUMN, "column")
    form = None if found is None else columns.start(found["type"])
    runs, form = steps_of(problems, (*path, "steps"), item.get("steps"), columns.STEPS, form)
    if form is None or found is None:
        return None
    if form.state == "texts":
        problems.add(
            path,
            "a column of text must become numbers",
            "a model takes no text here",
            "end its steps with one_hot, index or hash",
        )
        return None
    return columns.Column(found["name"], found["type"], runs, form)


def _beside(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    """Return whether two arrays can stand side by side on the last axis."""
    sizes = zip(one[:-1], other[:-1])
    return len(one) == len(other) > 0 and all(a is None or b is None or a == b for a, b in sizes)


_FROM = either(name, listed(name, most=_MOST_INPUTS))
_OUTPUT = {"from": Option(_FROM), "batch": Option(flag, default=True)}


def _outputs(
    problems: Problems, value: Any, inputs: Mapping[str, RawInput | None]
) -> tuple[Output, ...]:
    """Return what the model is given; without outputs, each input under its own name."""
    if value is None:
        value = {key: key for key in inputs}
    elif not is_mapping(value) or not 0 < len(value) <= _MOST_INPUTS:
        why = f"it is {shown(value)}"
        problems.add(("outputs",), "outputs must be a mapping by model input", why, "x: image")
        return ()
    made = [_output(problems, ("outputs", str(key)), key, value[key], inputs) for key in value]
    return tuple(sorted((each for each in made if each), key=lambda each: each.tensor.name))


def _output(
    problems: Problems, path: Path, key: Any, value: Any, inputs: Mapping[str, RawInput | None]
) -> Output | None:
    if not isinstance(key, str):
        problems.add(path, "a model input's name must be text", f"it is {shown(key)}", "")
        return None
    value = value if is_mapping(value) else {"from": value}
    found = options(problems, path, value, _OUTPUT, "output")
    if found is None:
        return None
    names = (found["from"],) if isinstance(found["from"], str) else found["from"]
    for each in names:
        if each not in inputs:
            why = f"inputs: {', '.join(inputs)}"[:400]
            problems.add(path, f"there is no input {each!r}", why, nearest(each, [*inputs]))
            return None
    forms = [made.form for made in (inputs[each] for each in names) if made is not None]
    if len(forms) != len(names):
        return None  # what is wrong with the input was said there
    return _joined(problems, path, key, names, forms, found["batch"])


def _joined(
    problems: Problems,
    path: Path,
    key: str,
    names: tuple[str, ...],
    forms: list[Form],
    batch: bool,
) -> Output | None:
    """Return an output whose inputs stand side by side on the last axis."""
    first = forms[0]
    alike = all(form.dtype == first.dtype and _beside(form.shape, first.shape) for form in forms)
    if len(forms) > 1 and not alike:
        shapes = ", ".join(f"{form.dtype}{list(form.shape)}" for form in forms)
        problems.add(path, "the inputs of one output must fit each other", shapes, "same dtype")
        return None
    if not batch and not first.shape:
        problems.add(path, "batch: false needs an axis of samples", "it is one number", "")
        return None
    shape: tuple[int | str, ...] = tuple("any" if size is None else size for size in first.shape)
    if len(forms) > 1:
        last = [form.shape[-1] for form in forms]
        known = [size for size in last if size is not None]
        shape = (*shape[:-1], sum(known) if len(known) == len(last) else "any")
    shape = ("batch", *shape) if batch else shape
    return Output(TensorInfo(key, shape, first.dtype), names, batch)
