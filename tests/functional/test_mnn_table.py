"""MNN's tables against the lists that its own converter prints."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from edgeops.convert.engines.tflite_check import operators
from edgeops.convert.support.tables import table
from edgeops.runtime.engines.quiet import hushed

pytest.importorskip("MNN", reason="the extra [mnn] is not installed")


def listed(framework):
    """Return the operators that the converter of the installed MNN says it reads."""
    with hushed() as said:
        import _tools

        _tools.mnnconvert(["mnnconvert", "-f", framework, "--OP"])
    return {line.strip() for line in said.text.splitlines()}


def test_table_holds_nothing_that_the_converter_does_not_list():
    if table("mnn").version != version("MNN"):
        pytest.skip("the table was verified against another version of MNN")
    assert set(table("mnn").operators) - listed("ONNX") == set()


def test_operators_of_tflite_are_those_that_the_converter_lists():
    quantized_or_foreign = {"QUANTIZE", "DEQUANTIZE", "CUSTOM"}
    assert operators("mnn") <= listed("TFLITE")
    words = {
        word for word in listed("TFLITE") if word.replace("_", "").isalnum() and word.isupper()
    }
    assert words - operators("mnn") == quantized_or_foreign
