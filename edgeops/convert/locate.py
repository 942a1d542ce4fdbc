"""Find the first node whose result differs, for any engine, by converting the model in other cuts.

``taps``    the whole model with every float tensor as an output: one conversion.
``prefix``  the model cut off behind one node after another, by bisection: for engines that fuse
            nodes only while nobody looks between them, and for cuts that cannot be tapped.

Both are guesses about a model that is refused already, so whatever fails here is left aside.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.convert import proof, work
from edgeops.errors import InputError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.convert.work import Job
    from edgeops.core.contracts import Samples, Session

WAYS = ("taps", "prefix")
_NEIGHBOURS = 3  # cuts that are tried when one cannot be converted


@dataclass(frozen=True)
class _Place:
    """A node whose output differs, and by how much."""

    node: Any
    found: proof.OutputParity

    def to_json(self) -> dict[str, Any]:
        name = self.node.name or self.node.output[0]
        return {
            "node": name,
            "op": self.node.op_type,
            "max_abs": self.found.max_abs,
            "max_rel": self.found.max_rel,
            "norm_ratio": self.found.norm_ratio,
        }


def locate(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``first`` (node, op and figures, or None) and ``takers``, engines that take the model.

    ``request`` is that of a conversion whose proof failed, with ``way``, ``differs`` (as ``prove``
    told it) and ``seconds`` to spend; it is no kind other than ONNX.
    """
    from edgeops.convert import support
    from edgeops.convert.reference import reference

    until = time.monotonic() + float(request["seconds"])
    job = work.opened(request)
    original = job.source.proto
    source = reference(job.source, job.converter)
    prepared = job.prepare()
    takers = [name for name in support.takers(prepared) if name != request["engine"]]
    search = _Search(job, prepared, Path(request["out"]), until)
    first = None
    for feed in _feeds(source, job.samples, request["differs"]):
        first = first or _prepared_wrongly(original, prepared, feed, job.tolerance)
        first = first or (search.taps(feed) if request["way"] == "taps" else search.prefix(feed))
        if first:
            break
    return {"first": first.to_json() if first else None, "takers": takers}


def _feeds(
    source: Session, samples: Samples | None, differs: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the sample that differed, and the batch that it came in when that is a larger one."""
    from edgeops.convert import samples as sample_files
    from edgeops.runtime.batch import batch_size, feeds

    given = sample_files.given(samples, source)
    if differs.get("rows"):
        given = sample_files.chosen(given, differs["rows"])
    part = sample_files.pick(given, differs["count"])
    size = batch_size(part, source.inputs, differs["batch"])
    whole = [feed for feed, _ in feeds(part, source.inputs, size)]
    batch = whole[min(differs["sample"] // size, len(whole) - 1)]
    fixed = any(t.shape and isinstance(t.shape[0], int) for t in source.inputs)
    if fixed or size == 1:
        return [batch]
    row = differs["sample"] % size
    return [{n: a[row : row + 1] if a.ndim else a for n, a in batch.items()}, batch]


def _prepared_wrongly(
    original: Any, prepared: Any, feed: Mapping[str, Any], tolerance: str
) -> _Place | None:
    """Return the first node that differs between the source and its prepared form, on ORT."""
    theirs = {name for node in prepared.graph.node for name in node.output}
    shared = [
        (node, name) for node in original.graph.node for name in node.output if name in theirs
    ]
    names = [name for _, name in shared]
    try:
        before, after = _run_on_ort(original, names, feed), _run_on_ort(prepared, names, feed)
    except (InputError, RefusedError):
        return None
    return _first(shared, before, after, tolerance)


class _Search:
    """Conversions of other cuts of one prepared model, until one shows where it goes wrong."""

    def __init__(self, job: Job, model: Any, out: Path, until: float) -> None:
        self._job = job
        self._model = model
        self._out = out
        self._until = until
        self._made = 0
        self._kinds = _kinds(model)

    def taps(self, feed: Mapping[str, Any]) -> _Place | None:
        """Convert once, with every float tensor as an output."""
        nodes = self._floats(self._model.graph.node)
        names = [name for _, name in nodes]
        before = _run_on_ort(self._model, names, feed)
        after = self._convert(_tapped(self._model, names, self._kinds), feed)
        return None if after is None else _first(nodes, before, after, self._job.tolerance)

    def prefix(self, feed: Mapping[str, Any]) -> _Place | None:
        """Convert the model cut off behind a node, halving the range where it begins to differ."""
        nodes = list(self._model.graph.node)
        names = [name for _, name in self._floats(nodes)]
        before = _run_on_ort(self._model, names, feed)
        last = self._cut(len(nodes), before, feed)
        if last is None or last[1] is None:
            return None
        low, high, worst = 0, len(nodes), last[1]
        while high - low > 1 and time.monotonic() < self._until:
            tried = self._near((low + high) // 2, high, before, feed)
            if tried is None:
                break
            at, differs = tried
            if differs is None:
                low = at
            else:
                high, worst = at, differs
        return replace(worst, node=nodes[high - 1]) if high - low <= 1 else None

    def _near(
        self, middle: int, high: int, before: Mapping[str, Any], feed: Mapping[str, Any]
    ) -> tuple[int, _Place | None] | None:
        """Cut at the first place from ``middle`` on where the engine takes what is cut."""
        for at in range(middle, min(middle + _NEIGHBOURS, high)):
            tried = self._cut(at, before, feed)
            if tried:
                return tried
        return None

    def _cut(
        self, count: int, before: Mapping[str, Any], feed: Mapping[str, Any]
    ) -> tuple[int, _Place | None] | None:
        """Return where it was cut and what differs there; None when it cannot be converted."""
        nodes = list(self._model.graph.node)
        ends = self._ends(nodes, count)
        if not ends:
            return count, None
        after = self._convert(_prefix(self._model, count, ends, self._kinds), feed)
        if after is None:
            return None
        made = [(node, name) for node in nodes[:count] for name in node.output if name in after]
        return count, _first(made, before, after, self._job.tolerance)

    def _ends(self, nodes: Sequence[Any], count: int) -> list[str]:
        later = {name for node in nodes[count:] for name in _read(node)}
        later |= {value.name for value in self._model.graph.output}
        return [name for _, name in self._floats(nodes[:count]) if name in later]

    def _floats(self, nodes: Sequence[Any]) -> list[tuple[Any, str]]:
        return [
            (node, name)
            for node in nodes
            for name in node.output
            if name and _is_float(self._kinds.get(name))
        ]

    def _convert(self, model: Any, feed: Mapping[str, Any]) -> dict[str, Any] | None:
        from edgeops.core.variant import entries, write_variant
        from edgeops.runtime.session import load_session

        if time.monotonic() > self._until:
            return None
        self._made += 1
        out = self._out / str(self._made)
        out.mkdir()
        try:
            made = self._job.converter.convert(model, out, self._job.options)
            write_variant(out, replace(made, source="", files=entries(out)))
            session = load_session(out)
            return session.run({tensor.name: feed[tensor.name] for tensor in session.inputs})
        except (InputError, RefusedError):
            return None


def _first(
    nodes: Sequence[tuple[Any, str]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    tolerance: str,
) -> _Place | None:
    for node, name in nodes:
        if name not in before or name not in after:
            continue
        one, other = before[name], after[name]
        if one.dtype.kind != "f" or not one.size:
            continue
        try:
            (found,) = proof.each_output({name: one[None]}, {name: other[None]}, tolerance)
        except RefusedError as error:
            return _Place(node, proof.OutputParity(name, problem=error.why))
        if found.problem:
            return _Place(node, found)
    return None


def _run_on_ort(model: Any, names: Sequence[str], feed: Mapping[str, Any]) -> dict[str, Any]:
    from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession

    tapped = _tapped(model, names, {})
    session = OnnxRuntimeSession(tapped.SerializeToString(), optimize=False)
    return session.run(feed)


def _tapped(model: Any, names: Sequence[str], kinds: Mapping[str, Any]) -> Any:
    import onnx

    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    have = {value.name for value in tapped.graph.output}
    tapped.graph.output.extend(
        kinds.get(name) or onnx.ValueInfoProto(name=name)
        for name in dict.fromkeys(names)
        if name not in have
    )
    return tapped


def _prefix(model: Any, count: int, ends: Sequence[str], kinds: Mapping[str, Any]) -> Any:
    """Return the model with its first ``count`` nodes only, ending in the tensors ``ends``."""
    import onnx

    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph = cut.graph
    del graph.node[count:]
    needed = {name for node in graph.node for name in _read(node)}
    for field in (graph.input, graph.initializer):
        kept = [item for item in field if item.name in needed]
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]
        del field[:]
        field.extend(copies)
    del graph.output[:]
    graph.output.extend(kinds[name] for name in dict.fromkeys(ends))
    return cut


def _read(node: Any) -> list[str]:
    """Return every tensor that a node reads, those of its branches and loops included."""
    names = list(node.input)
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for graph in graphs:
            names += [name for inner in graph.node for name in _read(inner)]
            names += [value.name for value in graph.output]
    return names


def _kinds(model: Any) -> dict[str, Any]:
    """Return what is known of each tensor's dtype and shape, by name."""
    from edgeops.model.prepare import infer

    inferred, _ = infer(model)
    graph = inferred.graph
    return {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}


def _is_float(value: Any) -> bool:
    import onnx

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return value is not None and value.type.tensor_type.elem_type in floats
