"""Each rule of a support table on one node: what breaks it, and how that is told."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeops.convert.support.facts import read_graph
from edgeops.convert.support.judge import judge
from edgeops.convert.support.tables import parse

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs, outputs, *, weights=(), values=(), opset=17, functions=()):
    """Return a model from ``(name, dtype, shape)`` of inputs, outputs and values in between."""

    def infos(rows):
        return [helper.make_tensor_value_info(*row) for row in rows]

    graph = helper.make_graph(
        nodes, "g", infos(inputs), infos(outputs), list(weights), value_info=infos(values)
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def broken(proto, operators, **limits):
    """Return ``(code, what)`` of all that a table with these operators does not take."""
    table = parse(
        {"engine": "toy", "version": "1", "verified": "", "operators": operators, "limits": limits}
    )
    graph = read_graph(proto)
    found = [misfit.finding(table, graph, []) for misfit in judge(table, graph)]
    return [(finding.code, finding.what) for finding in found]


def conv(*, weight_is_constant=True, shape=("N", 3, 8, 8), dtype=FLOAT, **attributes):
    """Return a model of one Conv."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", **attributes)
    inputs = [("x", dtype, shape)]
    weights = []
    if weight_is_constant:
        weights.append(numpy_helper.from_array(np.zeros((4, 3, 3, 3), "float32"), "w"))
    else:
        inputs.append(("w", dtype, [4, 3, 3, 3]))
    return model([node], inputs, [("y", dtype, ["N", 4, 6, 6])], weights=weights)


SAYS = "toy does not take Conv (node 'conv') "


@pytest.mark.parametrize(
    ("rule", "kept", "code", "words"),
    [
        ({"rank": {"0": [4]}}, {"rank": {"0": [3]}}, "rank-unsupported", "whose 'X' has 4 axes"),
        (
            {"dtypes": {"0": ["float32"]}},
            {"dtypes": {"0": ["float16"]}},
            "dtype-unsupported",
            "whose 'X' is float32",
        ),
        (
            {"dtypes": {"out0": ["float32"]}},
            {"dtypes": {"out0": ["int8"]}},
            "dtype-unsupported",
            "whose output 0 is float32",
        ),
        ({"constant": [1]}, {"constant": [0]}, "constant-needed", "whose 'X' is computed"),
        (
            {"variable": [0]},
            {"variable": [1]},
            "attribute-unsupported",
            "whose 'W' is a constant",
        ),
        ({"absent": [2]}, {"absent": [1]}, "attribute-unsupported", "with the input 'W' given"),
        ({"present": [1]}, {"present": [2]}, "attribute-unsupported", "without the input 'B'"),
        (
            {"attributes": {"group": [1]}},
            {"attributes": {"group": [2, 4]}},
            "attribute-unsupported",
            "with group = 1",
        ),
        (
            {"attributes_min": {"group": 1}},
            {"attributes_min": {"group": 2}},
            "attribute-unsupported",
            "with group = 1",
        ),
        (
            {"attributes_max": {"group": 1}},
            {"attributes_max": {"group": 0}},
            "attribute-unsupported",
            "with group = 1",
        ),
        ({"outputs": 1}, {"outputs": 0}, "attribute-unsupported", "of which 1 output is read"),
        (
            {"elements_max": {"1": 108}},
            {"elements_max": {"1": 107}},
            "attribute-unsupported",
            "whose 'W' holds 108 values",
        ),
        (
            {"opsets": [[11, 20]]},
            {"opsets": [[11, 16]]},
            "operator-unsupported",
            "at opset 17",
        ),
        (
            {"dynamic": True},
            {"static": True},
            "dynamic-shape",
            "whose input 'x' has the sizes [?, 3, 8, 8]",
        ),
    ],
)
def test_rule_takes_what_keeps_it_and_names_what_breaks_it(rule, kept, code, words):
    assert broken(conv(), {"Conv": rule}) == []
    assert broken(conv(), {"Conv": kept}) == [(code, SAYS + words)]


def test_attribute_that_is_not_stated_counts_with_its_default():
    only_notset = {"Conv": {"attributes": {"auto_pad": ["NOTSET"]}}}
    assert broken(conv(), only_notset) == []
    ((code, what),) = broken(conv(auto_pad="SAME_UPPER"), only_notset)
    assert (code, what) == ("attribute-unsupported", SAYS + "with auto_pad = 'SAME_UPPER'")


def test_attribute_without_default_that_is_not_stated_breaks_nothing():
    assert broken(conv(), {"Conv": {"attributes": {"dilations": [1]}}}) == []


def test_list_attribute_is_allowed_whole_or_number_by_number():
    by_number, whole = ({"Conv": {"attributes": {"dilations": a}}} for a in ([1, 2], [[2, 1]]))
    assert broken(conv(dilations=[2, 1]), by_number) == []
    assert broken(conv(dilations=[2, 1]), whole) == []
    assert broken(conv(dilations=[1, 2]), whole)[0][1] == SAYS + "with dilations = [1, 2]"
    assert broken(conv(dilations=[1, 3]), by_number)[0][1] == SAYS + "with dilations = [1, 3]"


def test_type_parameter_covers_every_input_and_output_that_has_it():
    rule = {"Where": {"dtypes": {"T": ["float32"]}}}
    node = helper.make_node("Where", ["c", "a", "b"], ["y"], name="pick")
    inputs = [("c", TensorProto.BOOL, [2]), ("a", INT64, [2]), ("b", INT64, [2])]
    found = broken(model([node], inputs, [("y", INT64, [2])]), rule)
    assert [what.rpartition(" whose ")[2] for _, what in found] == [
        "'a' is int64",
        "'b' is int64",
        "'y' is int64",
    ]


def test_what_is_not_known_breaks_nothing_except_static():
    nodes = [
        helper.make_node("Magic", ["x"], ["h"], domain="com.acme"),
        helper.make_node("Relu", ["h"], ["y"], name="relu"),
    ]
    proto = model(nodes, [("x", FLOAT, [4])], [("y", FLOAT, [4])])
    rules = {"com.acme:Magic": {}, "Relu": {"rank": {"0": [9]}, "dtypes": {"0": ["int8"]}}}
    assert broken(proto, rules) == []
    ((code, what),) = broken(proto, rules | {"Relu": {"static": True}})
    assert code == "data-dependent-shape"  # the model's own sizes are fixed
    assert (
        what == "toy does not take Relu (node 'relu') whose input 'h' has sizes that are not known"
    )


def test_forbid_needs_all_of_its_conditions():
    forbid = {"attributes": {"group": [1]}, "rank": {"0": [4]}, "why": "a bug of toy"}
    assert broken(conv(), {"Conv": {"forbid": [forbid]}}) == [
        ("rank-unsupported", SAYS + "with group = 1 and whose 'X' has 4 axes")
    ]
    assert broken(conv(), {"Conv": {"forbid": [forbid | {"rank": {"0": [5]}}]}}) == []
    unknown = {"Conv": {"forbid": [forbid | {"dtypes": {"2": ["float32"]}}]}}
    assert broken(conv(), unknown) == []  # the input 2 is not given: nothing is known of it


def test_allow_needs_one_and_tells_of_the_nearest():
    old = {"opsets": [[1, 12]], "dtypes": {"0": ["float64"]}}
    new = {"opsets": [[13, 20]], "dtypes": {"0": ["float32"]}}
    assert broken(conv(), {"Conv": {"allow": [old, new]}}) == []
    new = new | {"dtypes": {"0": ["int8"]}}
    assert broken(conv(), {"Conv": {"allow": [old, new]}}) == [
        ("dtype-unsupported", SAYS + "whose 'X' is float32")
    ]
    assert broken(conv(), {"Conv": {"allow": [old]}})[0][0] == "operator-unsupported"


def test_outputs_that_nobody_reads_do_not_count():
    node = helper.make_node("TopK", ["x", "k"], ["best", "at"], name="top")
    k = numpy_helper.from_array(np.array([1]), "k")
    inputs = [("x", FLOAT, [4])]
    one = model([node], inputs, [("best", FLOAT, [1])], weights=[k])
    both = model([node], inputs, [("best", FLOAT, [1]), ("at", INT64, [1])], weights=[k])
    assert broken(one, {"TopK": {"outputs": 1}}) == []
    assert broken(both, {"TopK": {"outputs": 1}})[0][0] == "attribute-unsupported"


def test_data_dependent_operator_is_refused_as_such():
    node = helper.make_node("NonZero", ["x"], ["y"], name="nz")
    proto = model([node], [("x", FLOAT, [4])], [("y", INT64, [1, "K"])])
    assert broken(proto, {"NonZero": {"data_dependent": True}})[0][0] == "data-dependent-shape"


def test_own_words_of_a_table_replace_the_standard_ones():
    rule = {"rank": {"0": [3]}, "why": "its convolution is flat", "fix": "squeeze it"}
    table = parse({"engine": "t", "version": "", "verified": "", "operators": {"Conv": rule}})
    graph = read_graph(conv())
    (misfit,) = judge(table, graph)
    finding = misfit.finding(table, graph, ["mnn"])
    assert (finding.why, finding.fix) == ("its convolution is flat", "squeeze it")


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        ({"dtypes": ["int8"]}, "dtype-unsupported", "the input 'x' of float32"),
        ({"rank": 3}, "rank-unsupported", "the input 'x' of 4 axes"),
        ({"dynamic": "none"}, "dynamic-shape", "the open sizes of the input 'x' [N, 3, 8, 8]"),
    ],
)
def test_limits_hold_for_the_whole_model(limits, code, words):
    found = broken(conv(), {"Conv": {}}, **limits)
    assert found[0] == (code, f"toy does not take {words}")


def test_batch_alone_may_stay_open_where_the_engine_keeps_it():
    assert broken(conv(), {"Conv": {}}, dynamic="batch") == []
    found = broken(conv(shape=["N", 3, "H", "W"]), {"Conv": {}}, dynamic="batch")
    assert [code for code, _ in found] == ["dynamic-shape"]


def test_empty_tensors_are_refused_where_the_engine_has_none():
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [0])], [("y", FLOAT, [0])]
    )
    assert broken(proto, {"Relu": {}}) == []
    found = broken(proto, {"Relu": {}}, empty=False)
    assert found[0] == ("attribute-unsupported", "toy does not take the input 'x' of no elements")
