"""Rewriting a LiteRT graph changes none of its answers, and moves no more elements than before."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

pytest.importorskip("ai_edge_litert", reason="the extra [litert] is not installed")

from edgeops.convert.litert.lowering import lower
from edgeops.convert.litert.passes import run_passes
from edgeops.convert.litert.passes.transposes import cost
from edgeops.convert.litert.write import pack
from edgeops.errors import RefusedError
from tests.random_graphs import models
from tests.unit._litert import run_litert, run_onnx

EXAMPLES = 100


def inputs_of(model):
    """Return seeded inputs of ordinary size."""
    random = np.random.default_rng(len(model.graph.node))
    return {
        value.name: random.normal(
            0, 1, [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ).astype("float32")
        for value in model.graph.input
    }


def agree(found, wanted, name):
    """Assert that two answers are equal up to the rounding of a chain of operators."""
    assert found.shape == wanted.shape, name
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-2)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * scale, err_msg=name)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(models(most_nodes=10))
def test_graph_answers_alike_before_and_after_passes_and_as_onnx_runtime(model):
    names, inputs = [value.name for value in model.graph.output], inputs_of(model)
    try:
        graph = lower(model)
    except RefusedError as refused:
        event(f"refused: {refused.code}")
        return
    before, moved = bytes(pack(deepcopy(graph))), cost(graph)
    run_passes(graph)
    assert cost(graph) <= moved
    wanted = run_onnx(model, inputs)
    plain = run_litert(before, inputs, names, delegate=False)
    fast = run_litert(bytes(pack(graph)), inputs, names)
    for name, want, have, rewritten in zip(names, wanted, plain, fast, strict=True):
        agree(have, want, f"{name} before")
        agree(rewritten, want, f"{name} after")
