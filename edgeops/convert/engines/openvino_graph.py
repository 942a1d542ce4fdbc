"""Change an ONNX graph into the form that OpenVINO's front end reads right.

Every change keeps what the graph computes; each function says what OpenVINO 2026.4 does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.convert.engines.rewrite import Rewriter, alone, ceiled

if TYPE_CHECKING:
    from edgeops.convert.engines.rewrite import Change


def adapt(model: Any) -> None:
    """Change the main graph of a prepared ``onnx.ModelProto`` in place."""
    OpenVinoRewriter(model).run()


class OpenVinoRewriter(Rewriter):
    """All of the changes; those of ``rewrite`` among them.

    Max and Min of one tensor answer what was in memory; Dropout renames the model's input.
    """


def _overlap(graph: Rewriter, node: Any) -> list[Any]:
    """Raise the threshold of NonMaxSuppression by the least step: OpenVINO drops what equals it."""
    import numpy as np

    array = graph.array(node.input[3]) if len(node.input) > 3 else None  # noqa: PLR2004 - boxes, scores, most, iou
    if array is not None and array.size == 1:
        above = np.nextafter(array.astype("float32"), np.float32(np.inf))
        node.input[3] = graph.constant(f"{node.input[3]}__above", above)
    return [node]


_CHANGES: dict[str, Change] = {
    **dict.fromkeys(("Max", "Min", "Dropout"), alone),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), ceiled),
    "NonMaxSuppression": _overlap,
}
OpenVinoRewriter.changes = _CHANGES
