"""Shapes that a model computes while it runs become numbers, also with an open axis."""

from __future__ import annotations

from tests.unit._graphs import attributes, constant, kinds, model, prepared


def reshape_target(proto):
    (node,) = [node for node in proto.graph.node if node.op_type == "Reshape"]
    return constant(proto, node.input[1])


def test_computed_batch_of_a_reshape_becomes_minus_one():
    proto = prepared(
        model(
            """
            zero = Constant<value = int64 {0}>()
            axis = Constant<value = int64[1] {0}>()
            rest = Constant<value = int64[1] {192}>()
            s = Shape(x)
            n = Gather<axis = 0>(s, zero)
            n1 = Unsqueeze(n, axis)
            t = Concat<axis = 0>(n1, rest)
            y = Reshape(x, t)
            """,
            outputs="float[a,b] y",
        ),
        exact=True,
    )
    assert kinds(proto) == ["Reshape"]
    assert reshape_target(proto) == [-1, 192]


def test_shapes_cast_forth_and_back_are_followed():
    proto = prepared(
        model(
            """
            at = Constant<value = int64[1] {0}>()
            to = Constant<value = int64[1] {1}>()
            rest = Constant<value = int32[2] {12, 16}>()
            s = Shape(x)
            c = Cast<to = 6>(s)
            n = Slice(c, at, to, at)
            t = Concat<axis = 0>(n, rest)
            l = Cast<to = 7>(t)
            y = Reshape(x, l)
            """,
            outputs="float[a,b,c] y",
        ),
        exact=True,
    )
    assert kinds(proto) == ["Reshape"]
    assert reshape_target(proto) == [-1, 12, 16]


def test_several_open_axes_are_copied_where_they_stand():
    proto = prepared(
        model(
            """
            i = Constant<value = int64[2] {0, 1}>()
            two = Constant<value = int64[2] {2, 2}>()
            s = Shape(x)
            n = Gather<axis = 0>(s, i)
            t = Concat<axis = 0>(n, two)
            y = Reshape(x, t)
            """,
            "float[N,M,4] x",
        ),
        exact=True,
    )
    assert reshape_target(proto) == [0, 0, 2, 2]


def test_reshape_stays_computed_when_axes_are_not_told_apart():
    """Two axes called "None" need not be of the same size: nothing is concluded from the name."""
    proto = prepared(
        model(
            """
            i = Constant<value = int64[2] {1, 0}>()
            four = Constant<value = int64[1] {4}>()
            s = Shape(x)
            n = Gather<axis = 0>(s, i)
            t = Concat<axis = 0>(n, four)
            y = Reshape(x, t)
            """,
            "float[None,None,4] x",
            "float[a,b,c] y",
        ),
        exact=True,
    )
    assert kinds(proto)[-1] == "Reshape"
    assert "Shape" in kinds(proto)


def test_no_name_of_an_exporter_makes_two_axes_equal():
    proto = prepared(
        model(
            """
            i = Constant<value = int64[1] {0}>()
            j = Constant<value = int64[1] {1}>()
            s = Shape(x)
            n = Gather<axis = 0>(s, i)
            m = Gather<axis = 0>(s, j)
            t = Concat<axis = 0>(m, n)
            y = Expand(one, t)
            """,
            "float[None,None] x, float[1,1] one",
            "float[a,b] y",
        ),
        exact=True,
    )
    assert "Expand" in kinds(proto)


def test_where_and_equal_around_a_shape_are_decided():
    """What torch writes for expand(-1, ...): is the size -1, then the tensor's own."""
    proto = prepared(
        model(
            """
            four = Constant<value = int64[1] {4}>()
            target = Constant<value = int64[4] {-1, 3, 8, 8}>()
            minus = Constant<value = int64 {-1}>()
            one = ConstantOfShape<value = int64[1] {1}>(four)
            m = Mul(one, minus)
            is = Equal(target, m)
            t = Where(is, one, target)
            y = Expand(x, t)
            """
        ),
        exact=True,
    )
    assert kinds(proto) == ["Identity"]


def test_size_products_and_quotients_are_followed():
    proto = prepared(
        model(
            """
            zero = Constant<value = int64 {0}>()
            one = Constant<value = int64 {1}>()
            two = Constant<value = int64 {2}>()
            axis = Constant<value = int64[1] {0}>()
            last = Constant<value = int64[1] {2}>()
            s = Shape(x)
            n = Gather<axis = 0>(s, zero)
            m = Gather<axis = 0>(s, one)
            both = Mul(n, m)
            double = Mul(both, two)
            d1 = Unsqueeze(double, axis)
            t = Concat<axis = 0>(d1, last)
            r = Relu(x)
            y = Reshape(r, t)
            """,
            "float[N,M,4] x",
            "float[a,b] y",
        ),
        exact=True,
    )
    assert kinds(proto) == ["Relu", "Reshape"]
    assert reshape_target(proto) == [-1, 2]


def test_range_and_constant_of_shape_of_static_sizes_are_constants():
    proto = prepared(
        model(
            """
            zero = Constant<value = int64 {0}>()
            three = Constant<value = int64 {3}>()
            one = Constant<value = int64 {1}>()
            s = Shape(x)
            w = Gather<axis = 0>(s, three)
            r = Range(zero, w, one)
            f = Cast<to = 1>(r)
            y = Add(x, f)
            """
        ),
        exact=True,
    )
    assert kinds(proto) == ["Add"]


def test_reshapes_through_minus_one_keep_the_batch():
    """The batch that comes back through three reshapes is the input's: the last one is not needed."""
    proto = prepared(
        model(
            """
            a = Constant<value = int64[2] {-1, 192}>()
            b = Constant<value = int64[3] {-1, 24, 8}>()
            c = Constant<value = int64[4] {-1, 3, 8, 8}>()
            f = Reshape(x, a)
            r = Relu(f)
            g = Reshape(r, b)
            h = Reshape(g, c)
            y = Add(h, x)
            """
        ),
        exact=True,
    )
    assert kinds(proto) == ["Reshape", "Relu", "Reshape", "Add"]


def test_resize_to_computed_sizes_gets_scales():
    proto = prepared(
        model(
            """
            zero = Constant<value = int64[1] {0}>()
            two = Constant<value = int64[1] {2}>()
            four = Constant<value = int64[1] {4}>()
            s = Shape(x)
            keep = Slice(s, zero, two)
            hw = Slice(s, two, four)
            more = Mul(hw, two)
            sizes = Concat<axis = 0>(keep, more)
            y = Resize<mode = "linear">(x, , , sizes)
            """,
            "float[N,3,H,W] x",
        ),
        exact=True,
    )
    assert kinds(proto) == ["Resize"]
    assert constant(proto, proto.graph.node[0].input[2]) == [1, 1, 2, 2]


def test_expand_to_the_batch_gets_a_constant_shape():
    proto = prepared(
        model("s = Shape(x) \n y = Expand(x, s)", "float[N,4] x", "float[a,b] y"), exact=True
    )
    assert "Shape" not in kinds(proto)


def test_expand_before_an_operator_that_broadcasts_goes():
    proto = prepared(
        model(
            """
            axes = Constant<value = int64[1] {1}>()
            m = ReduceMean<axes = [1]>(x)
            s = Shape(x)
            wide = Expand(m, s)
            y = Sub(x, wide)
            """
        ),
        exact=True,
    )
    assert kinds(proto) == ["ReduceMean", "Sub"]


def test_reshape_of_nothing_is_left_alone():
    proto = prepared(
        model(
            """
            t = Constant<value = int64[2] {0, 6}>()
            y = Reshape<allowzero = 1>(x, t)
            """,
            "float[0,3,2] x",
            "float[a,b] y",
        ),
        exact=True,
    )
    assert attributes(proto.graph.node[0])["allowzero"] == 1
