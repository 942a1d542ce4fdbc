"""What of a ``.tflite`` file an engine other than LiteRT cannot take."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.model.tflite import TfliteModel

_TABLE = Path(__file__).with_name("tflite_operators.toml")
_INTEGERS = frozenset(["int4", "int8", "uint8", "int16"])


def findings(path: Path, engine: str) -> list[Finding]:
    """Return the operators that the engine's front end lacks, and quantized tensors.

    Raises what ``model.tflite.read_tflite`` raises for a damaged file.
    """
    from edgeops.model.tflite import read_tflite

    model = read_tflite(path)
    return [*_operators(model, engine), *_quantized(model, engine)]


@cache
def operators(engine: str) -> frozenset[str]:
    """Return the operators of ``.tflite`` files that an engine's front end reads."""
    return frozenset(tomllib.loads(_TABLE.read_text(encoding="utf-8"))[engine].split())


def _operators(model: TfliteModel, engine: str) -> Iterator[Finding]:
    told = set()
    for graph in model.subgraphs:
        for place, operator in enumerate(graph.operators):
            if operator.name in told or (
                operator.name in operators(engine) and not operator.custom
            ):
                continue
            told.add(operator.name)
            node = graph.tensors[operator.outputs[0]].name if operator.outputs else f"{place}"
            yield Finding(
                "operator-unsupported",
                f"{engine} has no operator {operator.name} of TensorFlow Lite (node {node!r})",
                where=node,
                why="it is not in the list of its TFLite front end",
                fix="convert the ONNX model that this file was made from, or use litert",
                details={"node": node, "op": operator.name, "alternatives": ["litert"]},
            )


def _quantized(model: TfliteModel, engine: str) -> Iterator[Finding]:
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.scales and tensor.dtype in _INTEGERS:
                yield Finding(
                    "dtype-unsupported",
                    f"{engine} does not compute quantized TensorFlow Lite models as LiteRT does",
                    where=tensor.name,
                    why=f"{tensor.name!r} is quantized {tensor.dtype}; {engine} rounds elsewhere, "
                    "so that answers differ",
                    fix=f"convert the float model, then: edgeops quantize MODEL --to {engine}; "
                    "or use litert, which runs the file as it is",
                    details={"node": tensor.name, "op": "", "alternatives": ["litert"]},
                )
                return
