"""Passes that merge what is there twice: equal constants, and nodes that compute the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeops.model.simplify.graph import Graph, Node

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_NEVER = {*_RANDOM, "Multinomial", "Bernoulli", "Dropout", "Loop", "Scan", "If"}
_EDGE = 256  # bytes compared before a whole tensor is


def merge_constants(graph: Graph) -> bool:
    """Let all readers of equal constants read the first of them."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in graph.tensors.items():
        if name not in graph.pinned and graph.readers.get(name):
            groups.setdefault((tensor.data_type, tuple(tensor.dims)), []).append(name)
    changed = False
    for (_, dims), names in groups.items():
        if len(names) < 2 or not math.prod(dims):  # noqa: PLR2004 # one cannot be there twice
            continue
        for same in _equal(graph, names):
            for name in same[1:]:
                graph.replace(name, same[0])
                changed = True
    return changed


def _equal(graph: Graph, names: list[str]) -> list[list[str]]:
    """Return the groups of names whose tensors hold the same bytes."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name in names:
        if name not in graph.edges:
            content = _content(graph, name)
            ends = None if content is None else (content[:_EDGE], content[-_EDGE:])
            graph.edges[name] = ends
        if graph.edges[name] is not None:
            groups.setdefault((graph.edges[name],), []).append(name)
    found = []
    for alike in groups.values():
        whole: dict[bytes, list[str]] = {}
        if len(alike) > 1:
            for name in alike:
                whole.setdefault(_content(graph, name) or b"", []).append(name)
        found += [same for same in whole.values() if len(same) > 1]
    return found


def _content(graph: Graph, name: str) -> bytes | None:
    tensor = graph.tensors[name]
    if tensor.data_location or tensor.data_type == 8:  # noqa: PLR2004 # TensorProto.STRING
        return None
    if tensor.raw_data:
        return bytes(tensor.raw_data)
    array = graph.array(name)
    return None if array is None else array.tobytes()


def merge_nodes(graph: Graph) -> bool:
    """Remove nodes that compute what an earlier node has computed."""
    seen: dict[tuple[Any, ...], list[Node]] = {}
    changed = False
    for node in list(graph.nodes):
        if node.op in _NEVER or "::" in node.op or node.captured or not node.inputs:
            continue
        alike = seen.setdefault((node.op, *node.inputs, "->", *map(bool, node.outputs)), [])
        first = next((n for n in alike if _attributes(n) == _attributes(node)), None)
        if first is None:
            alike.append(node)
        if first is None or any(name in graph.pinned for name in node.outputs):
            continue
        for old, new in zip(node.outputs, first.outputs, strict=True):
            if old:
                graph.replace(old, new)
        graph.remove(node)
        changed = True
    return changed


def _attributes(node: Node) -> list[bytes]:
    return sorted(attribute.SerializeToString() for attribute in node.proto.attribute)
