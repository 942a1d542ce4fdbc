from __future__ import annotations

import numpy as np
import pytest

from tests.unit._litert import one_node, refusal
from tests.unit._litert_kernels import check_node, noise, operators

BIASES = [(5,), (3, 5), (3, 1), (), (1, 5), (1,)]


@pytest.mark.parametrize("constants", [(), ("w",), ("w", "c")])
@pytest.mark.parametrize("bias", BIASES)
def test_gemm_adds_any_bias(bias, constants):
    inputs = {"a": noise(3, 4), "w": noise(4, 5), "c": np.asarray(noise(*bias))}
    check_node("Gemm", inputs, constants=constants, alpha=0.5, beta=2.0)


@pytest.mark.parametrize(("a", "w"), [((3, 4), (4, 5)), ((4, 3), (5, 4))])
@pytest.mark.parametrize("constants", [(), ("w",)])
def test_gemm_transposes(a, w, constants):
    turned = int(a != (3, 4))
    check_node(
        "Gemm",
        {"a": noise(*a), "w": noise(*w)},
        constants=constants,
        transA=turned,
        transB=turned,
    )


def test_gemm_keeps_an_open_batch_and_is_one_operator():
    inputs = {"a": noise(3, 4), "w": noise(4, 5), "c": noise(5)}
    content = check_node("Gemm", inputs, constants=["w", "c"], open_axes={"a": {0: "N"}})
    assert operators(content) == ["FULLY_CONNECTED"]


@pytest.mark.parametrize(
    ("a", "w"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((2, 1, 2, 3, 4), (2, 1, 4, 5)),
        ((2, 1, 2, 2, 3, 4), (2, 1, 2, 2, 4, 5)),
        ((2, 1, 2, 2, 3, 4), (4, 5)),
    ],
)
@pytest.mark.parametrize("constants", [(), ("w",), ("a",)])
def test_matmul_broadcasts_as_numpy(a, w, constants):
    check_node("MatMul", {"a": noise(*a), "w": noise(*w)}, constants=constants)


@pytest.mark.parametrize("axes", [{0: "N"}, {0: "N", 1: "M"}])
def test_matmul_keeps_open_axes(axes):
    inputs = {"a": noise(2, 3, 4), "w": noise(4, 5)}
    check_node("MatMul", inputs, constants=["w"], open_axes={"a": axes})
    check_node("MatMul", {"a": noise(2, 3, 4), "w": noise(2, 4, 5)}, open_axes={"a": axes})


def test_matmul_is_refused_over_more_axes_than_litert_takes():
    inputs = {"a": noise(2, 1, 2, 2, 3, 4), "w": noise(1, 4, 5)}
    error = refusal(one_node("MatMul", inputs))
    assert (error.code, error.where) == ("rank-unsupported", "the_MatMul")


def test_matmul_of_integers_is_refused():
    inputs = {"a": np.ones((2, 3), "int32"), "w": np.ones((3, 2), "int32")}
    assert refusal(one_node("MatMul", inputs)).code == "dtype-unsupported"


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("bqhd,bkhd->bhqk", [(2, 3, 4, 5), (2, 6, 4, 5)]),
        ("bij->bji", [(2, 3, 4)]),
        ("ij->", [(2, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("bi,bi->b", [(2, 3), (2, 3)]),
        ("...ij,...jk->...ik", [(2, 2, 3, 4), (2, 2, 4, 5)]),
        ("...ij,jk->...ik", [(2, 2, 3, 4), (4, 5)]),
        ("abc,cde->abde", [(2, 3, 4), (4, 5, 6)]),
        ("ijk,jk->i", [(2, 3, 4), (3, 4)]),
        ("b...,b->b...", [(2, 3), (2,)]),
        (" i j , j k ->i k", [(2, 3), (3, 4)]),
    ],
)
def test_einsum_that_is_a_product_answers_as_onnx_runtime(equation, shapes):
    inputs = {f"x{index}": noise(*shape) for index, shape in enumerate(shapes)}
    check_node("Einsum", inputs, equation=equation)


def test_einsum_keeps_an_open_batch():
    inputs = {"a": noise(2, 3, 4, 5), "w": noise(2, 6, 4, 5)}
    opened = {"a": {0: "N"}, "w": {0: "N"}}
    check_node("Einsum", inputs, equation="bqhd,bkhd->bhqk", open_axes=opened)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ii->i", [(3, 3)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("...ij,...jk->...ik", [(1, 3, 4), (2, 4, 5)]),
    ],
)
def test_einsum_that_is_no_single_product_is_refused(equation, shapes):
    inputs = {f"x{index}": noise(*shape) for index, shape in enumerate(shapes)}
    error = refusal(one_node("Einsum", inputs, equation=equation))
    assert (error.code, error.where) == ("attribute-unsupported", "the_Einsum")
