"""Whatever the graph: prepared, it answers the same, through the same inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.model.prepare import prepare
from tests.property._simplify_graphs import BATCH, models


def run(model, arrays):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)


def interface(model):
    values = (*model.graph.input, *model.graph.output)
    return [value.SerializeToString() for value in values]


def hold(model):
    """Check that a model and what preparing makes of it agree on two batches."""
    before = model.SerializeToString()
    prepared = prepare(model)
    assert model.SerializeToString() == before
    assert prepared.notes == ()
    made = prepared.proto
    onnx.checker.check_model(made, full_check=True)
    assert interface(made) == interface(model)
    names = [node.name for node in made.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    sizes = [dim.dim_value or BATCH for dim in model.graph.input[0].type.tensor_type.shape.dim]
    open_batch = not model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    for batch in (BATCH, 3) if open_batch else (BATCH,):
        x = np.random.default_rng(batch).normal(size=[batch, *sizes[1:]]).astype("float32")
        for one, other in zip(run(model, {"x": x}), run(made, {"x": x}), strict=True):
            assert one.shape == other.shape
            scale = max(float(np.abs(one).max(initial=0)), 1e-3)
            assert float(np.abs(one - other).max(initial=0)) <= 2e-5 * scale


@given(models())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_prepared_model_answers_as_the_source_does(model):
    hold(model)


@pytest.mark.slow
@given(models())
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_prepared_model_answers_as_the_source_does_over_many_graphs(model):
    hold(model)


@st.composite
def damaged(draw):
    """Draw a model whose parts do not go together: what a checker lets through all the same."""
    model = draw(models())
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(model.graph.node)))
        kind = draw(st.sampled_from(["inputs", "attribute", "values", "shape"]))
        if kind == "inputs" and len(node.input) > 1:
            first, *rest = node.input
            node.input[:] = [*rest, first]
        elif kind == "attribute" and node.attribute:
            attribute = draw(st.sampled_from(list(node.attribute)))
            attribute.i += draw(st.sampled_from((-9, 7)))
            attribute.ints.extend(draw(st.lists(st.integers(-3, 9), max_size=2)))
        elif kind == "values" and model.graph.initializer:
            tensor = draw(st.sampled_from(list(model.graph.initializer)))
            array = onnx.numpy_helper.to_array(tensor)
            wrong = array.reshape(-1)[: draw(st.integers(0, 2))] - draw(st.sampled_from((0, 5)))
            if array.dtype.kind in "if":
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(wrong.astype(array.dtype), tensor.name)
                )
        elif kind == "shape":
            dim = draw(st.sampled_from(list(model.graph.input[0].type.tensor_type.shape.dim)))
            dim.dim_value = draw(st.sampled_from((0, 1, 3)))
    return model


@given(damaged())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_models_that_cannot_run_are_prepared_all_the_same(model):
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return  # refused when it is loaded
    made = prepare(model)
    assert interface(made.proto) == interface(model)
