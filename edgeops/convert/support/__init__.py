"""What an engine takes of a model, decided by a table before any time is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.support.judge import judge
from edgeops.convert.support.table import names, table

if TYPE_CHECKING:
    from edgeops.core.contracts import ConvertOptions
    from edgeops.errors import Finding

__all__ = ["findings", "takers"]


def findings(
    engine: str,
    model: Any,
    options: ConvertOptions,  # noqa: ARG001 - a table may come to depend on precision
) -> list[Finding]:
    """Return what of a prepared ``onnx.ModelProto`` an engine's table does not take.

    Each finding has node, op and the alternatives: engines whose tables take the whole model. An
    engine without a table has no findings: its converter's ``check`` decides. Raises MissingError
    ``support-table-bad`` for a table that cannot be read.
    """
    from edgeops.convert.support.facts import read_graph

    own = table(engine)
    if own is None:
        return []
    graph = read_graph(model)
    problems = judge(own, graph)
    if not problems:
        return []
    others = [name for name in names() if name != engine and _takes(name, graph)]
    return [problem.finding(own, graph, others) for problem in problems]


def takers(model: Any) -> tuple[str, ...]:
    """Return the engines, installed or not, whose tables take the whole model."""
    from edgeops.convert.support.facts import read_graph

    graph = read_graph(model)
    return tuple(name for name in names() if _takes(name, graph))


def _takes(engine: str, graph: Any) -> bool:
    own = table(engine)
    return own is not None and not judge(own, graph, first=True)
