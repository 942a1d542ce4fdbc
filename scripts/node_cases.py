# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""The operator cases of the onnx package's own backend tests, as models with inputs and answers.

The package generates them when they are collected (about 6 s, 100 MB); nothing is downloaded. Each
case comes in up to two forms: ``given``, all tensors as inputs of the graph as the package has
them, and ``constants``, all but the first as initializers, as shapes, axes and weights are in real
models. Cases with sequences, maps, optionals or element types that numpy lacks are left out.
"""

from __future__ import annotations

import fnmatch
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMS = ("given", "constants")


@dataclass(frozen=True)
class Case:
    """A model, arrays by input name, and what the onnx package says it answers, by output name."""

    name: str
    form: str
    model: Any
    inputs: dict[str, Any]
    expected: dict[str, Any]


def node_cases(pattern: str = "*", forms: tuple[str, ...] = FORMS) -> Iterator[Case]:
    """Yield the cases whose name fits a shell pattern, each in its forms."""
    for case in collected():
        if not fnmatch.fnmatch(case.name.removeprefix("test_"), pattern):
            continue
        made = given(case)
        if made is None:
            continue
        if "given" in forms:
            yield made
        fixed = constants(made) if "constants" in forms else None
        if fixed is not None:
            yield fixed


def collected() -> list[Any]:
    """Return all cases of the package, by name."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return sorted(collect_testcases(None), key=lambda case: str(case.name))


def given(case: Any) -> Case | None:
    """Return a collected case as it is, None when something in it is no tensor of numpy's."""
    graph = case.model.graph
    if any(not _is_tensor(value) for value in (*graph.input, *graph.output)):
        return None
    inputs, outputs = (list(map(_array, arrays)) for arrays in case.data_sets[0])
    if any(array is None for array in (*inputs, *outputs)):
        return None
    return Case(
        case.name.removeprefix("test_"),
        "given",
        case.model,
        {value.name: array for value, array in zip(graph.input, inputs, strict=True)},
        {value.name: array for value, array in zip(graph.output, outputs, strict=True)},
    )


def constants(case: Case) -> Case | None:
    """Return the case with all inputs but the first as initializers, None when it has only one."""
    if len(case.inputs) < 2:  # noqa: PLR2004 - the first stays
        return None
    first, *others = case.inputs
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, 4)  # below it initializers must be inputs too
    kept = [value for value in model.graph.input if value.name == first]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(case.inputs[name]), name) for name in others
    )
    return Case(case.name, "constants", model, {first: case.inputs[first]}, case.expected)


def _is_tensor(value: Any) -> bool:
    return value.type.WhichOneof("value") == "tensor_type"


def _array(value: Any) -> Any:
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "biufOUS" else None
