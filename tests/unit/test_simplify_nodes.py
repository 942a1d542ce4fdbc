"""Nodes that do nothing go, nodes that are there twice become one, layouts cancel."""

from __future__ import annotations

import onnx
import pytest

from edgeops.model.prepare import prepare
from tests.unit._graphs import attributes, constant, inputs_of, kinds, model, prepared, run

NOTHING = {
    "identity": "r = Relu(x) \n i = Identity(r) \n y = Neg(i)",
    "dropout": "r = Relu(x) \n i = Dropout(r) \n y = Neg(i)",
    "dropout that is told not to train": """
        half = Constant<value = float {0.5}>()
        no = Constant<value = bool {0}>()
        r = Relu(x) \n i, mask = Dropout(r, half, no) \n y = Neg(i)""",
    "cast": "r = Relu(x) \n i = Cast<to = 1>(r) \n y = Neg(i)",
    "transpose": "r = Relu(x) \n i = Transpose<perm = [0, 1, 2, 3]>(r) \n y = Neg(i)",
    "pad": """
        none = Constant<value = int64[8] {0, 0, 0, 0, 0, 0, 0, 0}>()
        r = Relu(x) \n i = Pad(r, none) \n y = Neg(i)""",
    "slice": """
        a = Constant<value = int64[2] {0, 0}>()
        b = Constant<value = int64[2] {9223372036854775807, 8}>()
        c = Constant<value = int64[2] {0, 2}>()
        r = Relu(x) \n i = Slice(r, a, b, c) \n y = Neg(i)""",
    "slice to the batch": """
        a = Constant<value = int64[1] {0}>()
        b = Constant<value = int64[1] {1}>()
        s = Shape(x) \n n = Slice(s, a, b)
        r = Relu(x) \n i = Slice(r, a, n, a) \n y = Neg(i)""",
    "reshape": "s = Shape(x) \n r = Relu(x) \n i = Reshape(r, s) \n y = Neg(i)",
    "squeeze and unsqueeze": """
        a = Constant<value = int64[1] {2}>()
        r = Relu(x) \n u = Unsqueeze(r, a) \n i = Squeeze(u, a) \n y = Neg(i)""",
    "concat of one": "r = Relu(x) \n i = Concat<axis = 1>(r) \n y = Neg(i)",
    "sum of one": "r = Relu(x) \n i = Sum(r) \n y = Neg(i)",
    "split in one": "r = Relu(x) \n i = Split<axis = 1>(r) \n y = Neg(i)",
    "expand": "s = Shape(x) \n r = Relu(x) \n i = Expand(r, s) \n y = Neg(i)",
    "tile": """
        ones = Constant<value = int64[4] {1, 1, 1, 1}>()
        r = Relu(x) \n i = Tile(r, ones) \n y = Neg(i)""",
    "times one": """
        one = Constant<value = float[1] {1}>()
        r = Relu(x) \n i = Mul(one, r) \n j = Div(i, one) \n y = Neg(j)""",
    "plus zero": """
        zero = Constant<value = float {0}>()
        r = Relu(x) \n i = Add(r, zero) \n j = Sub(i, zero) \n y = Neg(j)""",
    "clip without bounds": "r = Relu(x) \n i = Clip(r) \n y = Neg(i)",
    "dead nodes": "r = Relu(x) \n a = Exp(r) \n b = Exp(a) \n y = Neg(r)",
    "transposes that cancel": """
        r = Relu(x) \n a = Transpose<perm = [0, 2, 3, 1]>(r)
        i = Transpose<perm = [0, 3, 1, 2]>(a) \n y = Neg(i)""",
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_does_nothing_goes(case):
    assert kinds(prepared(model(NOTHING[case]), exact=True)) == ["Relu", "Neg"]


SOMETHING = {
    "mul that broadcasts": (
        """one = Constant<value = float[2,1,1,1,1] {1, 1}>() \n y = Mul(x, one)""",
        "float[a,b,c,d,e] y",
        ["Mul"],
    ),
    "cast of another dtype": ("i = Cast<to = 6>(x) \n y = Cast<to = 1>(i)", None, ["Cast", "Cast"]),
    "slice that cuts": (
        """a = Constant<value = int64[1] {1}>()
        b = Constant<value = int64[1] {9}>()
        y = Slice(x, a, b, a)""",
        None,
        ["Slice"],
    ),
    "slice of an open axis up to a number": (
        """a = Constant<value = int64[1] {0}>()
        b = Constant<value = int64[1] {2}>()
        y = Slice(x, a, b, a)""",
        None,
        ["Slice"],
    ),
    "slice that turns around": (
        """a = Constant<value = int64[1] {-1}>()
        b = Constant<value = int64[1] {-99}>()
        c = Constant<value = int64[1] {3}>()
        y = Slice(x, a, b, c, a)""",
        None,
        ["Slice"],
    ),
    "output that is an input": ("y = Identity(x)", None, ["Identity"]),
}


@pytest.mark.parametrize("case", SOMETHING)
def test_what_does_something_stays(case):
    body, outputs, expected = SOMETHING[case]
    made = prepared(model(body, outputs=outputs or "float[a,b,c,d] y"), exact=True)
    assert kinds(made) == expected


COPIES = {
    "pad": """
        none = Constant<value = int64[8] {0, 0, 0, 0, 0, 0, 0, 0}>() \n y = Pad(x, none)""",
    "tile": "ones = Constant<value = int64[4] {1, 1, 1, 1}>() \n y = Tile(x, ones)",
    "dropout and sum of one": "d = Dropout(x) \n y = Sum(d)",
}


@pytest.mark.parametrize("case", COPIES)
def test_what_does_nothing_between_the_ends_of_the_model_is_a_copy(case):
    assert kinds(prepared(model(COPIES[case]), exact=True)) == ["Identity"]


def test_nodes_that_do_the_same_are_one():
    made = prepared(
        model("a = Relu(x) \n b = Relu(x) \n c = Exp(a) \n d = Exp(b) \n y = Add(c, d)"),
        exact=True,
    )
    assert kinds(made) == ["Relu", "Exp", "Add"]


def test_nodes_that_draw_numbers_are_not_one():
    made = prepare(
        model("a = RandomUniformLike(x) \n b = RandomUniformLike(x) \n y = Sub(a, b)")
    ).proto
    assert kinds(made).count("RandomUniformLike") == 2


def test_equal_constants_are_one():
    made = prepared(
        model(
            """
            a = Constant<value = float[3,1,1] {1, 2, 3}>()
            b = Constant<value = float[3,1,1] {1, 2, 3}>()
            c = Max(x, a) \n d = Min(x, b) \n y = Sub(c, d)
            """
        ),
        exact=True,
    )
    assert len(made.graph.initializer) == 1


def test_transposes_in_a_row_are_one():
    made = prepared(
        model(
            """
            a = Transpose<perm = [0, 2, 3, 1]>(x)
            y = Transpose<perm = [0, 1, 3, 2]>(a)
            """
        ),
        exact=True,
    )
    assert [attributes(node) for node in made.graph.node] == [{"perm": [0, 2, 1, 3]}]


def test_reshapes_in_a_row_are_one():
    made = prepared(
        model(
            """
            a = Constant<value = int64[3] {0, 24, 8}>()
            b = Constant<value = int64[2] {1, 3}>()
            f = Reshape(x, a) \n u = Unsqueeze(f, b) \n y = Flatten<axis = 1>(u)
            """,
            outputs="float[a,b] y",
        ),
        exact=True,
    )
    assert kinds(made) == ["Reshape"]
    assert constant(made, made.graph.node[0].input[1]) == [-1, 192]


def test_concats_along_one_axis_are_one():
    made = prepared(
        model("a = Relu(x) \n b = Concat<axis = -3>(x, a) \n y = Concat<axis = 1>(a, b)"),
        exact=True,
    )
    assert kinds(made) == ["Relu", "Concat"]
    assert list(made.graph.node[1].input) == ["a", "x", "a"]


def test_sum_of_two_is_an_add():
    assert kinds(prepared(model("a = Relu(x) \n y = Sum(a, x)"), exact=True)) == ["Relu", "Add"]


def test_softmax_flattened_and_brought_back_is_one_softmax():
    made = prepared(
        model(
            """
            t = Constant<value = int64[4] {0, 192, 1, 1}>()
            g = Reshape(x, t)
            s = Shape(g) \n f = Flatten<axis = 1>(g) \n m = Softmax<axis = -1>(f) \n y = Reshape(m, s)
            """
        )
    )
    assert kinds(made) == ["Reshape", "Softmax"]
    assert attributes(made.graph.node[1]) == {"axis": 1}


def test_softmax_over_several_axes_stays_flattened():
    made = prepared(
        model("s = Shape(x) \n f = Flatten<axis = 1>(x) \n m = Softmax(f) \n y = Reshape(m, s)")
    )
    assert kinds(made) == ["Flatten", "Softmax", "Reshape"]


def test_branch_of_a_constant_condition_moves_into_the_graph():
    made = prepared(
        model(
            """
            yes = Constant<value = bool {1}>()
            a = Relu(x)
            y = If(yes) <
                then_branch = t () => (float[a,b,c,d] o) { a2 = Neg(a) \n o = Abs(a2) },
                else_branch = e () => (float[a,b,c,d] o) { a2 = Exp(a) \n o = Identity(a2) }
            >
            """.replace("\\n", "\n")
        ),
        exact=True,
    )
    assert kinds(made) == ["Relu", "Neg", "Abs"]


def test_branches_of_the_same_names_do_not_mix():
    branch = """
        If(yes) <
            then_branch = t () => (float[a,b,c,d] o) { i = Neg(FROM) \n o = Exp(i) },
            else_branch = e () => (float[a,b,c,d] o) { o = Identity(FROM) }
        >"""
    body = "yes = Constant<value = bool {1}>() \n r = Relu(x)"
    body += "\n p =" + branch.replace("FROM", "r") + "\n y =" + branch.replace("FROM", "p")
    made = prepared(model(body), exact=True)
    assert kinds(made) == ["Relu", "Neg", "Exp", "Neg", "Exp"]


def test_branch_of_an_open_condition_stays_and_what_it_reads_too():
    proto = model(
        """
        a = Relu(x)
        i = Identity(a)
        y = If(c) <
            then_branch = t () => (float[a,b,c,d] o) { o = Neg(i) },
            else_branch = e () => (float[a,b,c,d] o) { o = Exp(i) }
        >
        """,
        "float[N,3,8,8] x, bool c",
    )
    made = prepared(proto, exact=True)
    assert kinds(made) == ["Relu", "Identity", "If"]


def test_loop_bodies_are_left_alone():
    proto = model(
        """
        n = Constant<value = int64 {2}>()
        r = Relu(x)
        y = Loop(n, , r) <body = b (int64 i, bool c, float[a,b,c,d] v) => (bool o, float[a,b,c,d] w)
            { o = Identity(c) \n w = Add(v, r) }>
        """,
    )
    made = prepared(proto, exact=True)
    assert kinds(made) == ["Relu", "Loop"]
    (body,) = [a.g for a in made.graph.node[1].attribute if a.name == "body"]
    assert [node.op_type for node in body.node] == ["Identity", "Add"]


def test_every_node_has_a_name_of_its_own():
    proto = model("[n] a = Relu(x) \n [n] b = Neg(a) \n c = Exp(b) \n [c] y = Abs(c)")
    names = [node.name for node in prepare(proto).proto.graph.node]
    assert names[0] == "n"
    assert names[3] == "c"
    assert len(set(names)) == 4


def test_tensors_that_survive_keep_their_names():
    made = prepared(
        model("a = Relu(x) \n b = Identity(a) \n c = Exp(b) \n y = Identity(c)"), exact=True
    )
    assert [list(node.output) for node in made.graph.node] == [["a"], ["y"]]


def test_outputs_that_are_one_tensor_stay_two():
    proto = model(
        "a = Relu(x) \n y = Identity(a) \n z = Identity(a)",
        outputs="float[a,b,c,d] y, float[a,b,c,d] z",
    )
    made = prepared(proto, exact=True)
    assert [value.name for value in made.graph.output] == ["y", "z"]


def test_outputs_that_are_constant_are_still_made_by_a_node():
    proto = model(
        "a = Constant<value = float[2] {1, 2}>() \n z = Neg(a) \n y = Relu(x)",
        outputs="float[a,b,c,d] y, float[2] z",
    )
    made = prepared(proto, exact=True)
    assert sorted(name for node in made.graph.node for name in node.output) == ["y", "z"]


def test_functions_of_the_model_and_custom_operators_stay():
    proto = model("a = com.acme.Magic(x) \n y = Identity(a)", more=', "com.acme": 1')
    made = prepare(proto)
    assert made.notes == ()
    assert kinds(made.proto) == ["Magic"]
    assert made.proto.graph.node[0].domain == "com.acme"


def test_without_simplifying_nodes_stay_and_are_named():
    proto = model("a = Identity(x) \n b = Relu(a) \n y = Identity(b)")
    made = prepare(proto, simplify=False).proto
    assert kinds(made) == ["Identity", "Relu", "Identity"]
    assert all(node.name for node in made.graph.node)
    arrays = inputs_of(proto)
    assert (run(proto, arrays)[0] == run(made, arrays)[0]).all()


def test_shapes_inside_are_told_with_the_names_of_the_inputs():
    made = prepared(model("a = Relu(x) \n b = Flatten<axis = 1>(a) \n y = Exp(b)", outputs=TWO))
    types = {value.name: value.type.tensor_type for value in made.graph.value_info}
    sizes = [dim.dim_param or dim.dim_value for dim in types["b"].shape.dim]
    assert sizes == ["N", 192]
    assert types["b"].elem_type == onnx.TensorProto.FLOAT


TWO = "float[a,b] y"
