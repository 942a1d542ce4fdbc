"""What edgeops.yaml may say, as pydantic models: the one source of checks and of the JSON Schema.

Everything is strict: an unknown key is an error, and a number is no text. Stage options are not
here; each plugin brings its own as a frozen dataclass, which ``options_model`` makes checkable.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import sys
import typing
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

NAME = r"^[a-z0-9][a-z0-9_-]*$"
VERSION = r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$"

Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class DataModel(_Strict):
    """Where the data sets are: a file in the project, or module:function."""

    calibration: Text | None = Field(
        None, description="Data that quantize calibrates on; needs no labels."
    )
    evaluation: Text | None = Field(
        None, description="Labelled data that every metric is measured on."
    )
    features: Text | None = Field(
        None,
        description="features.yaml, when the data are raw: what it makes of them is what the model "
        "takes, at every stage and on the device.",
    )


class TargetModel(_Strict):
    """Engine, device and precision under a name."""

    engine: Text = Field("onnxruntime", description="The inference runtime on the device.")
    device: Text = Field(
        "local", description="Where it runs: local, ssh:HOST, adb, emulated:arm64."
    )
    precision: Literal["fp32", "fp16", "int8"] = Field(
        "fp32", description="What the weights are stored as; int8 needs the quantize stage."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="How many threads the engine may use."
    )
    gates: dict[str, str] = Field(
        default_factory=dict,
        description="Bounds that add to, or replace, those of the validate stage for this target.",
    )
    affinity: list[Annotated[int, Field(ge=0, le=1023)]] = Field(
        default_factory=list,
        description="The device's processors to measure on, counted from 0; any, when not stated.",
    )
    binary: str = Field(
        "",
        description="The engine's own benchmark tool, built for a device over adb without Python: "
        "benchmark_model, MNNV2Basic.out, benchncnn or onnxruntime_perf_test.",
    )


class ProjectModel(_Strict):
    """A project of edgeops: from a trained model to what devices update from."""

    project: Name = Field(description="The project's name; bundles are named after it.")
    version: Annotated[str, Field(pattern=VERSION)] = Field(
        description="The version of the next bundle, such as 1.0.0."
    )
    model: Text = Field(description="The trained model: what a stage makes, or a file in place.")
    data: DataModel | None = Field(None, description="Where the data sets are.")
    targets: dict[Name, TargetModel | None] | None = Field(
        None, description="What the model is built for, by name."
    )
    stages: dict[Name, dict[str, Any] | None] | None = Field(
        None, description="The steps of the pipeline, in the order they are told."
    )


@cache
def options_model(options: Any) -> type[BaseModel]:
    """Return a strict model of a plugin's ``Options`` dataclass.

    Raises TypeError when it is no frozen dataclass, NameError when an annotation names a type
    that the plugin's module does not know while it runs.
    """
    params = getattr(options, "__dataclass_params__", None)
    if params is None or not params.frozen:
        message = "Options is no frozen dataclass"
        raise TypeError(message)
    hints = _hints(options)
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(options):
        about: dict[str, Any] = {"description": item.metadata.get("help")}
        if item.default is not dataclasses.MISSING:
            about["default"] = item.default
        elif item.default_factory is not dataclasses.MISSING:
            about["default_factory"] = item.default_factory
        fields[item.name] = (hints[item.name], Field(**about))
    return create_model(
        f"{options.__module__}.{options.__qualname__}",
        __config__=ConfigDict(extra="forbid", strict=True, protected_namespaces=()),
        __doc__=options.__doc__,
        **fields,
    )


def _hints(options: type[Any]) -> dict[str, Any]:
    """Resolve annotations, knowing what modules often import for type checkers only."""
    usual = {name: getattr(collections.abc, name) for name in collections.abc.__all__}
    usual |= {"Any": Any, "Literal": Literal, "Path": Path, "Annotated": Annotated}
    module = sys.modules.get(options.__module__)
    names = {**usual, **(vars(module) if module else {})}
    return typing.get_type_hints(options, globalns=names, include_extras=True)
