"""Hold one operator against ONNX Runtime on LiteRT's own kernels as well as on XNNPACK's."""

from __future__ import annotations

import numpy as np

from tests.unit._litert import one_node, run_litert, run_onnx, same, to_tflite

RTOL = 1e-4
ATOL = 1e-5


def noise(*shape, seed=0):
    """Return normal numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype("float32")


def check_both(model, inputs, *, rtol=RTOL, atol=ATOL):
    """Assert that both sets of kernels answer as ONNX Runtime does; return the .tflite."""
    names = [value.name for value in model.graph.output]
    content, wanted = to_tflite(model), run_onnx(model, inputs)
    for delegate in (True, False):
        got = run_litert(content, inputs, names, delegate=delegate)
        for name, want, have in zip(names, wanted, got, strict=True):
            same(have, np.asarray(want), f"{name}, delegate: {delegate}", rtol=rtol, atol=atol)
    return content


def check_node(op, inputs, *, constants=(), **attributes):
    """``check_both`` a model of one node."""
    return check_both(one_node(op, inputs, constants=constants, **attributes), inputs)


def operators(content):
    """Return the names of a .tflite file's operators in their order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    model = schema.ModelT.InitFromPackedBuf(content)
    return [
        names[model.operatorCodes[op.opcodeIndex].builtinCode]
        for op in model.subgraphs[0].operators
    ]
