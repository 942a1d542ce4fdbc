"""A table over a whole model: every misfit, and the finding that a person reads."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from edgeops.convert.support.rules import Problem, problems
from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeops.convert.support.facts import Graph, Node, Tensor
    from edgeops.convert.support.tables import Table

NO_TENSORS = ("sequence", "map", "optional", "sparse_tensor", "opaque")
_LONG = 60  # exporters write whole paths of scopes as names; ``where`` has them in full
_STANDARD = ("", "ai.onnx.ml", "com.microsoft")


@dataclass(frozen=True, slots=True)
class Misfit:
    """A problem and where it is: a node, or an input or output of the model."""

    problem: Problem
    node: Node | None
    place: str

    def finding(self, table: Table, graph: Graph, alternatives: Sequence[str]) -> Finding:
        """Return it with words for people."""
        problem, node = self.problem, self.node
        code = problem.code
        if code == "dynamic-shape" and not graph.is_open:
            code = "data-dependent-shape"  # no input shape would mend it
        details: dict[str, Any] = {
            "node": self.place,
            "op": node.operator if node else "",
            "alternatives": list(alternatives),
        }
        if code == "dynamic-shape":
            details["input_shapes"] = _shapes(graph)
        return Finding(
            code,
            _what(table, self),
            where=self.place,
            why=problem.why or _why(table, self),
            fix=problem.fix or _fix(table, self, code, graph, alternatives),
            details=details,
        )


def judge(table: Table, graph: Graph, *, first: bool = False) -> list[Misfit]:
    """Return all misfits in the order of the graph, or at most one when ``first``."""
    found = []
    for misfit in _misfits(table, graph):
        found.append(misfit)
        if first:
            break
    return found


def _misfits(table: Table, graph: Graph) -> Iterator[Misfit]:
    yield from _borders(table, graph)
    refused: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.owner in refused:
            refused.add(index)  # what is inside of a refused node adds nothing
            continue
        found = _of_node(table, node)
        if found:
            refused.add(index)
        yield from (Misfit(problem, node, node.name) for problem in found)


def _of_node(table: Table, node: Node) -> list[Problem]:
    rule = table.operators.get(node.operator)
    if rule is None:
        if node.operator == "Constant":
            return []  # a weight in other clothes: preparation makes it an initializer
        return [Problem("operator-unsupported")]
    found = problems(rule, node)
    for tensor in (*node.inputs, *node.outputs):
        if tensor and tensor.shape is not None:
            limit = _over_limits(table, f"whose tensor {tensor.name!r} has", tensor.shape)
            if limit:
                return [*found, limit]
    return found


def _over_limits(table: Table, head: str, shape: tuple[int | None, ...]) -> Problem | None:
    if table.rank is not None and len(shape) > table.rank:
        takes = f"at most {table.rank} axes"
        return Problem("rank-unsupported", f"{head} {len(shape)} axes", takes)
    if not table.empty and 0 in shape:
        return Problem("attribute-unsupported", f"{head} no elements", "at least one element")
    return None


def _borders(table: Table, graph: Graph) -> Iterator[Misfit]:
    """Yield what the engine does not take of the model's inputs and outputs."""
    for side, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            if tensor.dtype in NO_TENSORS:
                yield Misfit(_no_tensor(side, tensor), None, tensor.name)
                continue
            if table.dtypes is not None and tensor.dtype and tensor.dtype not in table.dtypes:
                has = f"the {side} {tensor.name!r} of {tensor.dtype}"
                takes = f"{', '.join(sorted(table.dtypes))} for inputs and outputs"
                yield Misfit(Problem("dtype-unsupported", has, takes), None, tensor.name)
            limit = _over_limits(table, f"the {side} {tensor.name!r} of", tensor.shape or ())
            if limit:
                yield Misfit(limit, None, tensor.name)
    for tensor in graph.inputs:
        if not _is_kept(table.dynamic, tensor):
            axes = ", ".join(str(axis or "?") for axis in graph.axes[tensor.name])
            has = f"the open sizes of the input {tensor.name!r} [{axes}]"
            takes = "a free batch size and all other sizes fixed"
            takes = takes if table.dynamic == "batch" else "fixed sizes only"
            yield Misfit(Problem("dynamic-shape", has, takes), None, tensor.name)


def _no_tensor(side: str, tensor: Tensor) -> Problem:
    return Problem(
        "not-a-tensor",
        f"the {side} {tensor.name!r}, a {tensor.dtype}",
        why="devices exchange arrays by name; there is no array in this one",
        fix="export with tensors only (skl2onnx: options={'zipmap': False})",
    )


def _is_kept(dynamic: str, tensor: Tensor) -> bool:
    if dynamic == "any" or tensor.is_static:
        return True
    if dynamic == "none" or tensor.shape is None:
        return False
    return None not in tensor.shape[1:]


def _what(table: Table, misfit: Misfit) -> str:
    node, has = misfit.node, misfit.problem.has
    if node is None:
        return f"{table.engine} does not take {has}"
    name = node.name if len(node.name) <= _LONG else f"{node.name[:_LONG]}..."
    at = f"{node.operator} (node {name!r})"
    if misfit.problem.code == "operator-unsupported" and not has:
        return f"{table.engine} has no operator {at}"
    return f"{table.engine} does not take {at} {has}".rstrip()


def _why(table: Table, misfit: Misfit) -> str:
    problem, node = misfit.problem, misfit.node
    if problem.takes:
        return f"it takes {problem.takes}"
    if node and problem.code == "operator-unsupported" and not problem.has:
        if node.domain not in _STANDARD:
            return f"the domain {node.domain!r} is not of ONNX: it needs a library of its own"
        return f"it is none of the {len(table.operators)} operators of {table.engine}"
    if problem.code == "data-dependent-shape":
        return f"{table.engine} plans its memory before it knows the values"
    return f"{table.engine} {table.version} has nothing for this form of the operator"


_FIXES = {
    "operator-unsupported": "export without it: write it with other operators, or cut the model "
    "before it",
    "attribute-unsupported": "export it in a form that the engine takes, or write it with other "
    "operators",
    "rank-unsupported": "reshape around it in the model, or write it with other operators",
    "dtype-unsupported": "export with another dtype there: cast before and after",
    "constant-needed": "export with this value fixed; fixed input shapes make most values constant",
    "data-dependent-shape": "cut the model before it and do the rest in code",
}


def _fix(table: Table, misfit: Misfit, code: str, graph: Graph, alternatives: Sequence[str]) -> str:
    if code == "dynamic-shape":
        stated = (quote(f"{name}={sizes}") for name, sizes in _shapes(graph).items())
        options = " ".join(f"--input-shape {one}" for one in stated)
        return f"edgeops convert MODEL --to {table.engine} {options}"
    if alternatives:
        return f"edgeops convert MODEL --to {alternatives[0]}, which takes the whole model"
    if misfit.node is None:
        return "cast or reshape it inside the model, so that it is what the engine takes"
    near = _near(table, misfit)
    return f"export it as {near}, or write it with other operators" if near else _FIXES[code]


def _shapes(graph: Graph) -> dict[str, str]:
    """Return sizes for every open input; those that nobody knows stand as capitals."""
    return {
        name: ",".join(_size(index, axis) for index, axis in enumerate(axes))
        for name, axes in graph.axes.items()
        if not all(isinstance(axis, int) for axis in axes)
    }


def _size(index: int, axis: int | str) -> str:
    if isinstance(axis, int):
        return str(axis)
    if index == 0:
        return "1"  # one sample at a time is what devices are asked for
    letters = "".join(letter for letter in axis if letter.isalnum() or letter == "_")
    return letters.upper() or f"SIZE{index}"


def _near(table: Table, misfit: Misfit) -> str:
    node = misfit.node
    if node is None or misfit.problem.has:
        return ""
    close = difflib.get_close_matches(node.op, table.operators, n=1, cutoff=0.75)
    return close[0] if close else ""
