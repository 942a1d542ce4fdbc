"""What an engine takes of a model, decided by a table before any time is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.support.facts import read_graph
from edgeops.convert.support.judge import judge
from edgeops.convert.support.tables import names, table
from edgeops.core import registry

if TYPE_CHECKING:
    from edgeops.convert.support.facts import Graph
    from edgeops.core.contracts import Converter, ConvertOptions
    from edgeops.errors import Finding

__all__ = ["asked", "findings", "takers"]


def findings(engine: str, model: Any, options: ConvertOptions) -> list[Finding]:
    """Return what of a prepared ``onnx.ModelProto`` an engine's table does not take.

    Each finding has node, op and the alternatives: engines, installed or not, that take the whole
    model. An engine without a table has no findings: its converter's ``check`` decides. Raises
    MissingError ``support-table-bad`` for a table that cannot be read.
    """
    own = table(engine)
    if own is None:
        return []
    graph = read_graph(model)
    if graph.takers.get(engine):
        return []
    problems = judge(own, graph)
    graph.takers[engine] = not problems
    if not problems:
        return []
    others = [
        name
        for name in names()
        if name != engine and _takes(name, graph) and _confirms(name, model, options)
    ]
    return [problem.finding(own, graph, others) for problem in problems]


def asked(converter: Converter, model: Any, options: ConvertOptions) -> list[Finding]:
    """Return what a converter's ``check`` says, and before it the table that a plugin brings."""
    brought = []
    if getattr(converter, "support", None) is not None:
        brought = findings(getattr(converter, "engine", "") or converter.name, model, options)
    return [*brought, *converter.check(model, options)]


def takers(model: Any) -> tuple[str, ...]:
    """Return the engines, installed or not, whose tables take the whole model."""
    graph = read_graph(model)
    return tuple(name for name in names() if _takes(name, graph))


def _takes(engine: str, graph: Graph) -> bool:
    if engine not in graph.takers:
        own = table(engine)
        graph.takers[engine] = own is not None and not judge(own, graph, first=True)
    return graph.takers[engine]


def _confirms(engine: str, model: Any, options: ConvertOptions) -> bool:
    """Return whether the engine's converter, where it is there, knows nothing beyond its table."""
    if engine not in registry.names("converters"):
        return True
    converter = registry.get("converters", engine)
    return converter.available() is not None or not asked(converter, model, options)
