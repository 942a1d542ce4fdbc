"""Findings over whole models: bodies and functions, the line to type, who else would take it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.convert import support
from edgeops.convert.support import tables
from edgeops.core.contracts import ConvertOptions

FLOAT = TensorProto.FLOAT
ALL = ("Conv", "Relu", "If", "Add", "Resize")


@pytest.fixture
def engines(tmp_path, monkeypatch):
    """Return a function that makes the tables of some engines the only ones there are."""

    def make(**stated):
        for engine, operators in stated.items():
            limits = 'dynamic = "none"' if engine == "rigid" else ""
            lines = [f'engine = "{engine}"', 'version = "1"', 'verified = "here"']
            lines += [
                "[limits]",
                limits,
                "[operators]",
                *(f"[operators.{name}]" for name in operators),
            ]
            (tmp_path / f"{engine}.toml").write_text("\n".join(lines))

    monkeypatch.setattr(tables, "HERE", tmp_path)
    tables.table.cache_clear()
    yield make
    tables.table.cache_clear()


def info(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def with_branches():
    """Return If(c, Relu(x), Det-like custom(x)): operators in bodies, names from outside."""
    graphs = {
        "then_branch": helper.make_graph(
            [helper.make_node("Relu", ["x"], ["a"], name="inner")], "t", [], [info("a", [4])]
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("Softsign", ["x"], ["b"], name="odd")], "e", [], [info("b", [4])]
        ),
    }
    node = helper.make_node("If", ["c"], ["y"], name="choice", **graphs)
    inputs = [info("x", [4]), info("c", [], TensorProto.BOOL)]
    graph = helper.make_graph([node], "g", inputs, [info("y", [4])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def dynamic():
    """Return Conv over an image whose sizes are open."""
    weight = numpy_helper.from_array(np.zeros((4, 3, 3, 3), "float32"), "w")
    node = helper.make_node("Conv", ["the image", "w"], ["y"], name="conv")
    inputs = [info("the image", ["N", 3, "height", None]), info("size", [2])]
    more = helper.make_node("Relu", ["size"], ["z"], name="relu")
    outputs = [info("y", ["N", 4, "h", None]), info("z", [2])]
    graph = helper.make_graph([node, more], "g", inputs, outputs, [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def found(engine, model):
    return support.findings(engine, model, ConvertOptions())


def test_operators_in_bodies_are_judged_where_they_are(engines):
    engines(toy=("If", "Relu"))
    (finding,) = found("toy", with_branches())
    assert (finding.code, finding.where) == ("operator-unsupported", "odd")
    assert finding.what == "toy has no operator Softsign (node 'odd')"
    assert finding.details == {"node": "odd", "op": "Softsign", "alternatives": []}


def test_what_is_inside_of_a_refused_node_adds_nothing(engines):
    engines(toy=("Relu",))
    assert [finding.details["op"] for finding in found("toy", with_branches())] == ["If"]


def test_the_models_own_functions_are_judged_by_their_bodies(engines):
    body = [
        helper.make_node("Relu", ["p"], ["q"], name="in"),
        helper.make_node("Erf", ["q"], ["r"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Block", ["p"], ["r"], body, opsets)
    node = helper.make_node("Block", ["x"], ["y"], name="block", domain="mine")
    graph = helper.make_graph([node], "g", [info("x", [4])], [info("y", [4])])
    opsets = [*opsets, helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function])
    engines(toy=("Relu",))
    assert [finding.details["op"] for finding in found("toy", model)] == ["Erf"]
    engines(toy=("Relu", "Erf"))
    tables.table.cache_clear()
    assert found("toy", model) == []


def test_dynamic_shape_gives_the_line_with_the_models_own_names_and_sizes(engines):
    engines(rigid=ALL)
    (finding,) = found("rigid", dynamic())
    assert finding.code == "dynamic-shape"
    assert finding.what == (
        "rigid does not take the open sizes of the input 'the image' [N, 3, height, ?]"
    )
    line = "edgeops convert MODEL --to rigid --input-shape 'the image=1,3,HEIGHT,SIZE3'"
    assert finding.fix == line
    assert finding.details["input_shapes"] == {"the image": "1,3,HEIGHT,SIZE3"}


def test_alternatives_are_the_engines_that_take_the_whole_model(engines):
    engines(toy=("Conv",), small=("Conv",), rigid=ALL, able=ALL, wide=ALL)
    (finding,) = found("toy", dynamic())
    assert finding.details["alternatives"] == ["able", "wide"]
    assert finding.fix == "edgeops convert MODEL --to able, which takes the whole model"
    assert support.takers(dynamic()) == ("able", "wide")


def test_an_alternatives_own_converter_may_know_better_than_its_table(engines):
    engines(toy=(), onnxruntime=("Attention", "Relu"))
    inputs = [info(name, [1, 2, 6, 8]) for name in ("q", "k", "v")] + [info("m", [6, 4])]
    node = helper.make_node("Attention", ["q", "k", "v", "m"], ["y"], name="look")
    graph = helper.make_graph([node], "g", inputs, [info("y", [1, 2, 6, 8])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    (finding,) = found("toy", model)
    assert finding.details["alternatives"] == []  # its mask is shorter than the keys
    assert support.takers(model) == ("onnxruntime",)


def test_near_name_is_offered_where_nobody_takes_the_model(engines):
    engines(toy=("LeakyRelu",))
    node = helper.make_node("LeakyReLU", ["x"], ["y"], name="n", domain="com.acme")
    graph = helper.make_graph([node], "g", [info("x", [4])], [info("y", [4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("com.acme", 1)])
    (finding,) = found("toy", model)
    assert finding.fix == "export it as LeakyRelu, or write it with other operators"
    assert finding.why == "the domain 'com.acme' is not of ONNX: it needs a library of its own"


def test_sequences_are_no_tensors_for_any_engine(engines):
    engines(toy=("SequenceConstruct",))
    node = helper.make_node("SequenceConstruct", ["x"], ["s"], name="seq")
    made = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    graph = helper.make_graph([node], "g", [info("x", [4])], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert [finding.code for finding in found("toy", model)] == ["not-a-tensor"]


def test_an_engine_without_table_has_no_findings(engines):
    engines(toy=())
    assert found("gameboy", dynamic()) == []


def test_findings_leave_the_model_as_it_was(engines):
    engines(toy=(), able=ALL)
    model = with_branches()
    before = model.SerializeToString()
    found("toy", model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
