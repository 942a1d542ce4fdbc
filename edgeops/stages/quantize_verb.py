"""``edgeops quantize``: a model file or a variant in, a quantized variant out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.project import Data
from edgeops.core.variant import refuse_foreign_folder
from edgeops.errors import RefusedError, UsageProblem, from_findings
from edgeops.stages.quantize_engine import FloatSource, makes, no_engine
from edgeops.stages.quantize_variant import (
    QuantizeOptions,
    no_calibration,
    quantize_variant,
    scheme_of,
)
from edgeops.validate.metrics import resolve

if TYPE_CHECKING:
    from edgeops.core.events import Events


@dataclass(frozen=True)
class Request:
    """What ``edgeops quantize`` was asked; paths and data sets are relative to ``root``."""

    root: Path
    model: Path
    engine: str
    calibration: str | None
    evaluation: str | None
    metric: str | None
    output: str
    precision: str
    out: Path | None
    options: QuantizeOptions
    features: str = ""


def quantize_verb(request: Request, *, events: Events) -> dict[str, Any]:
    """Quantize a model file or a variant's folder; returns what was tried and chosen.

    Raises UsageProblem ``metric-missing`` or ``metric-without-data``, RefusedError
    ``engine-no-int8``, what ``convert_model`` raises for a model file, and what
    ``quantize_variant`` raises. The folder ``out`` is left as it was then.
    """
    from edgeops.convert.make import Recipe, convert_model

    _check_usage(request)
    root, model = request.root, request.root / request.model
    named = request.out or Path(f"{model.stem}-{request.engine}-{request.precision}")
    out = root / named
    refuse_foreign_folder(out, "quantize")
    with tempfile.TemporaryDirectory(prefix="edgeops-quantize-") as scratch:
        source = model
        if not model.is_dir():
            source = Path(scratch) / "float"
            convert_model(
                model,
                request.engine,
                source,
                data=request.calibration or request.evaluation,
                features=request.features,
                root=root,
                events=events,
            )
        return quantize_variant(
            source,
            out,
            root=root,
            precision=request.precision,
            options=request.options,
            data=Data(request.calibration, request.evaluation, request.features or None),
            metric=request.metric or "",
            output=request.output,
            events=events,
            model=None if model.is_dir() else FloatSource(model.absolute(), Recipe()),
        )


def _check_usage(request: Request) -> None:
    if request.metric and not request.evaluation:
        raise UsageProblem(
            "metric-without-data",
            "a metric needs labelled data",
            where="--metric",
            why=f"{request.metric} is measured on evaluation data",
            fix="add --evaluation DATA",
        )
    if request.evaluation and not request.metric:
        raise UsageProblem(
            "metric-missing",
            "evaluation data needs a metric",
            where="--evaluation",
            why="how good the answers are can be measured in several ways",
            fix="add --metric accuracy, or another one of: edgeops plugins",
        )
    if not makes(request.engine, request.precision):
        refused = no_engine(request.engine, request.precision)
        raise RefusedError(
            refused.code, refused.what, where=refused.where, why=refused.why, fix=refused.fix
        )
    if request.metric:
        resolve(request.metric, request.root)
    static = scheme_of(request.options.scheme, request.precision) == "static"
    if not request.calibration and (static or not request.evaluation):
        raise from_findings([replace(no_calibration(), where="--calibration")])
