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

    Max, Min and Sum of one tensor answer what was in memory; Dropout renames the model's input.
    """


def settle(model: Any) -> None:
    """Let TopK of an ``openvino.Model`` name the first of equal values, as ONNX asks for.

    The front end leaves that open, and the CPU plug-in answers any of them. A TopK in no order at
    all, as Hardmax becomes one, is sorted for it: OpenVINO has no stable one without.
    """
    from openvino import opset11

    for node in model.get_ordered_ops():
        if node.get_type_name() != "TopK":
            continue
        about = node.get_attributes()
        sort = about["sort"] if about["sort"] != "none" else "value"
        kinds = (about["axis"], about["mode"], sort, about["index_element_type"])
        stable = opset11.topk(node.input_value(0), node.input_value(1), *kinds, stable=True)
        for before, after in zip(node.outputs(), stable.outputs(), strict=True):
            named = before.get_names()
            for reader in list(before.get_target_inputs()):
                reader.replace_source_output(after)
            after.set_names(named)


def _overlap(graph: Rewriter, node: Any) -> list[Any]:
    """Raise the threshold of NonMaxSuppression by the least step: OpenVINO drops what equals it."""
    import numpy as np

    array = graph.array(node.input[3]) if len(node.input) > 3 else None  # noqa: PLR2004 - boxes, scores, most, iou
    if array is not None and array.size == 1:
        above = np.nextafter(array.astype("float32"), np.float32(np.inf))
        node.input[3] = graph.constant(f"{node.input[3]}__above", above)
    return [node]


_CHANGES: dict[str, Change] = {
    **dict.fromkeys(("Max", "Min", "Sum", "Mean", "Dropout"), alone),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), ceiled),
    "NonMaxSuppression": _overlap,
}
OpenVinoRewriter.changes = _CHANGES
