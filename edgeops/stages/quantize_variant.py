"""From a float variant and data to a quantized variant within the budget: what stage and verb share."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgeops.errors import Finding, InputError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.core.project import Data
    from edgeops.core.variant import Variant
    from edgeops.quantize.schemes import Scheme
    from edgeops.quantize.search import Recipe, Workshop
    from edgeops.stages.quantize_engine import FloatSource

MAX_DROP = 0.01
SAMPLES = 512
_UNJUDGED = "accuracy was not judged: no evaluation data with a metric was given"


@dataclass(frozen=True)
class QuantizeOptions:
    """How much accuracy may be lost, and how the model is made smaller."""

    max_drop: float = field(
        default=MAX_DROP,
        metadata={"help": "The most that validate's metric may lose against the float variant."},
    )
    scheme: Literal["auto", "static", "dynamic", "fp16"] = field(
        default="auto", metadata={"help": "auto: static for int8 targets, fp16 for fp16 ones."}
    )
    calibration: Literal["auto", "minmax", "entropy", "percentile"] = field(
        default="auto", metadata={"help": "How ranges follow from the calibration data."}
    )
    per_channel: bool = field(
        default=True, metadata={"help": "One scale for each output channel of the weights."}
    )
    keep_float: tuple[str, ...] = field(
        default=(), metadata={"help": "Nodes that stay in float, by name."}
    )
    samples: int = field(
        default=SAMPLES,
        metadata={"help": "At most so many calibration samples, evenly spread; 0 takes all."},
    )


def quantize_variant(
    source: Path,
    out: Path,
    *,
    root: Path,
    precision: str,
    options: QuantizeOptions,
    data: Data,
    metric: str,
    output: str,
    events: Events,
    model: FloatSource | None = None,
) -> dict[str, Any]:
    """Write the quantized form of the float variant in ``source`` into the folder ``out``.

    ``model`` is what the variant was made from, which engines that do not run ONNX need.

    Raises InputError ``calibration-missing``, ``calibration-empty``, ``calibration-nan``,
    ``node-unknown`` and what does not fit in the data; RefusedError ``already-quantized``,
    ``nothing-to-quantize``, ``quantizer-failed``, ``format-not-quantizable``, ``accuracy-budget``.
    """
    from edgeops.core.variant import read_variant
    from edgeops.quantize.search import search
    from edgeops.stages.quantize_judge import FloatJudge
    from edgeops.validate.metrics import resolve

    start = time.perf_counter()
    before = read_variant(source)
    recipe = _recipe(options, precision)
    given, judged = _samples(data, root, before, recipe, metric, options.samples)
    shown = judged or given
    scale = resolve(metric, root) if judged else None
    judge = FloatJudge(
        source,
        shown,
        given or shown,
        scale,
        output=output,
        max_drop=options.max_drop,
        events=events,
    )
    workshop = _workshop(source, before, recipe, given, model, data, root, events)
    after, climb, made = search(workshop, judge, out, events)
    return {
        "variant": str(out),
        "engine": after.engine,
        "precision": after.precision,
        "metric": judge.metric_json(climb.accepted),
        "metric_absent": "" if scale else _UNJUDGED,
        "agreement": climb.accepted.agreement if climb.accepted else None,
        "loss": climb.accepted.loss if climb.accepted else None,
        "budget": judge.budget,
        "tried": [outcome.to_json() for outcome in climb.tried],
        "bytes_before": before.bytes,
        "bytes_after": after.bytes,
        "kept_float": list(made.kept_float),
        "parity": asdict(after.parity) if after.parity else None,
        "digest": after.digest,
        "notes": _notes(before, after, judged=scale is not None),
        "seconds": round(time.perf_counter() - start, 3),
    }


def _samples(
    data: Data, root: Path, variant: Variant, recipe: Recipe, metric: str, most: int
) -> Any:
    """Return the calibration and the evaluation samples, None for one of them where it is unstated.

    Raises InputError ``calibration-missing`` when there is nothing to measure or compare on.
    """
    from edgeops.project.datasets import samples_for
    from edgeops.stages.quantize_judge import spread

    judged, features = None, data.features or ""
    if metric and data.evaluation:
        judged = samples_for(data.evaluation, root, variant.inputs, labels=True, features=features)
    if data.calibration:
        given = samples_for(
            data.calibration,
            root,
            variant.inputs,
            features=features,
            take=lambda whole: spread(whole, most),
        )
        return given, judged
    if recipe.scheme == "static" or judged is None:
        missing = no_calibration()
        raise InputError(missing.code, missing.what, why=missing.why, fix=missing.fix)
    return None, judged


def _recipe(options: QuantizeOptions, precision: str) -> Recipe:
    from edgeops.quantize.search import Recipe

    return Recipe(
        precision,
        scheme_of(options.scheme, precision),
        options.calibration,
        options.per_channel,
        tuple(options.keep_float),
    )


def scheme_of(scheme: str, precision: str) -> Scheme:
    """Return the scheme of a precision; one that makes another precision counts as auto.

    One option serves all targets: ``scheme: dynamic`` is about the int8 ones among them.
    """
    if precision == "fp16":
        return "fp16"
    return "dynamic" if scheme == "dynamic" else "static"


def _workshop(
    source: Path,
    before: Variant,
    recipe: Recipe,
    given: Samples | None,
    model: FloatSource | None,
    data: Data,
    root: Path,
    events: Events,
) -> Workshop:
    """Return what makes the tries for the engine of the float variant."""
    import tempfile
    from pathlib import Path

    from edgeops.quantize.search import Unchanged, Workshop
    from edgeops.stages.quantize_engine import OWN, delivery, float_model

    if before.engine == OWN or model is None:
        return Workshop(_float_model(source, before), before, recipe, given, events)
    with tempfile.TemporaryDirectory(prefix="edgeops-quantize-") as room:
        proto = float_model(model, Path(room), events)
    shown = (data.calibration or data.evaluation, data.features or "")
    deliver = delivery(before.engine, recipe.precision, model, shown, root, events)
    kind = Unchanged if recipe.precision == "fp16" else Workshop
    return kind(proto, before, recipe, given, events, deliver)


def _float_model(source: Path, variant: Variant) -> Any:
    from edgeops.model.load import load_model

    if not variant.model_file.endswith(".onnx"):
        raise RefusedError(
            "format-not-quantizable",
            f"{variant.model_file} cannot be quantized",
            where=str(source / variant.model_file),
            why="quantizing changes the graph, and this file format is for running only",
            fix="give the ONNX file that it was made from: edgeops quantize MODEL.onnx --to "
            f"{variant.engine}",
        )
    return load_model(source / variant.model_file).proto


def _notes(before: Variant, after: Variant, *, judged: bool) -> list[str]:
    notes = []
    if not judged:
        notes.append(_UNJUDGED)
    if after.bytes >= before.bytes:
        notes.append(
            f"the variant is larger than its float source ({after.bytes} and {before.bytes} bytes): "
            "scales and quantize nodes weigh more than the weights of so small a model"
        )
    return notes


def no_calibration() -> Finding:
    """Return what is wrong when a scheme has no data to measure ranges on."""
    return Finding(
        "calibration-missing",
        "there is no calibration data",
        where="data.calibration",
        why="the ranges of activations are measured on samples, and the result is compared on them",
        fix="give --calibration FILE.npz (data: {calibration: FILE.npz} in edgeops.yaml) with some "
        "tens of samples like those the device will see",
    )
