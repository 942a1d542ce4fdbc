"""Quantizing for engines that do not run ONNX: what is quantized is ONNX, what is judged is theirs.

A quantized ONNX graph holds its integers between QuantizeLinear and DequantizeLinear; a converter
with ``quantized = True`` makes its engine's integer model of it. Half precision is the converter's
own. Either way each try is converted, proven and judged on the engine itself.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeops.convert.make import Recipe
    from edgeops.core.events import Events
    from edgeops.core.variant import Variant

OWN = "onnxruntime"  # runs what quantize writes as it is


@dataclass(frozen=True)
class FloatSource:
    """The model file that a float variant was made from, and how; both are needed once more."""

    model: Path
    recipe: Recipe


def makes(engine: str, precision: str) -> bool:
    """Return whether variants of ``precision`` can be made for ``engine`` from a float one."""
    if engine == OWN:
        return True
    if engine not in registry.names("converters"):
        return False
    converter = registry.get("converters", engine)
    if precision == "fp16":
        return "fp16" in converter.precisions
    return bool(getattr(converter, "quantized", False))


def no_engine(engine: str, precision: str) -> Finding:
    """Return what is wrong with an engine that nothing is quantized for."""
    able = [name for name in registry.names("converters") if makes(name, precision)]
    return Finding(
        "engine-no-int8",
        f"edgeops makes no {precision} variants for {engine}",
        where=engine,
        why=f"{precision} variants are made for {', '.join(able)}",
        fix=f"choose --to {able[0]} (engine: {able[0]}), or precision fp32 for this engine",
    )


def float_model(source: FloatSource, room: Path, events: Events) -> Any:
    """Return the model as an onnx.ModelProto that is ready to be quantized."""
    from edgeops.convert.make import convert_model
    from edgeops.core.variant import read_variant
    from edgeops.model.load import load_model

    folder = room / "float"
    recipe = replace(source.recipe, precision="fp32", form="", via="")
    convert_model(source.model, OWN, folder, recipe, events=events)
    variant = read_variant(folder)
    return load_model(folder / variant.model_file).proto


def delivery(
    engine: str,
    precision: str,
    source: FloatSource,
    shown: tuple[str | None, str],
    root: Path,
    events: Events,
) -> Callable[[Any, Path], Variant]:
    """Return what writes a quantized model into a folder as ``engine``'s files, proven.

    ``shown`` is the data set of the proof, and the features where it is raw ("" where not).

    It raises RefusedError when the engine cannot take the model or answers otherwise than ONNX
    Runtime does with the same quantized model.
    """
    from edgeops.convert.make import convert_model
    from edgeops.core.variant import FILE, read_variant

    def deliver(model: Any, folder: Path) -> Variant:
        with tempfile.TemporaryDirectory(prefix="edgeops-quantize-") as name:
            file, made = Path(name) / "quantized.onnx", Path(name) / "made"
            recipe = replace(source.recipe, precision=precision)
            if precision == "int8":
                file.write_bytes(model.SerializeToString(deterministic=True))
                # Its integers are decided: simplifying could only move what stands between them.
                recipe = replace(recipe, precision="fp32", input_shapes={}, simplify=False)
            from_file = file if precision == "int8" else source.model
            data, features = shown
            convert_model(
                from_file,
                engine,
                made,
                recipe,
                data=data,
                features=features,
                root=root,
                events=events,
            )
            variant = read_variant(made)
            for path in made.iterdir():
                if path.name != FILE:
                    shutil.move(path, folder / path.name)
            return variant

    return deliver
