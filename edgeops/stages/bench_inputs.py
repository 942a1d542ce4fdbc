"""What ``bench`` is asked for: options that fit together, variants, and samples to run them on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeops.core.files import meant
from edgeops.core.variant import read_variant
from edgeops.errors import InputError, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.core.variant import TensorInfo, Variant

PRESETS = ("mlperf",)
MLPERF_S = 60.0
NOISE = "seeded noise"
_NOISE_SAMPLES = 8
_OWN_ENGINE = {".tflite": "litert"}


@dataclass(frozen=True)
class Request:
    """What ``edgeops bench`` was asked; paths and data are relative to ``root``.

    ``engine`` is what model files are converted for, "" their format's own; ``max_seconds`` None
    is 20, or 60 with ``against``; ``sustained`` in seconds.
    """

    root: Path
    model: Path
    against: Path | None = None
    device: str = "local"
    threads: int = 1
    affinity: str = ""
    data: str | None = None
    engine: str = ""
    max_seconds: float | None = None
    preset: str = ""
    sustained: float = 0.0


@dataclass(frozen=True)
class Subject:
    """A variant that is measured, under the name that was given."""

    name: str
    folder: Path
    variant: Variant


def check_usage(request: Request) -> None:
    """Raise InputError ``model-missing`` or UsageProblem ``bench-usage`` before time is spent."""
    for given in filter(None, (request.model, request.against)):
        # Both, before the first of them is converted.
        if not (request.root / given).exists():
            raise _gone(request.root / given, given)
    limit = request.max_seconds
    if request.preset and request.preset not in PRESETS:
        raise _usage(f"{request.preset!r} is no preset; there is {', '.join(PRESETS)}", "--preset")
    if request.preset and request.sustained:
        raise _usage("a preset and a sustained run are two ways to measure", "--preset")
    long_s = max(MLPERF_S if request.preset else 0.0, request.sustained)
    if limit is not None and long_s and limit < long_s:
        raise _usage(f"what is asked for takes {long_s:g} s, and {limit:g} s are allowed")


def _gone(path: Path, given: Path) -> InputError:
    return InputError(
        "model-missing",
        f"there is no model or variant {given}",
        where=str(path),
        why="no such file or folder",
        fix=meant(
            path, "check the path, or make a variant: edgeops convert MODEL --to onnxruntime -o DIR"
        ),
    )


def _usage(why: str, where: str = "--max-seconds") -> UsageProblem:
    return UsageProblem(
        "bench-usage",
        "bench cannot measure this as asked",
        where=where,
        why=why,
        fix="see: edgeops bench --help",
    )


def opened(request: Request, given: Path, scratch: Path, events: Events) -> Subject:
    """Return the variant in a folder, or the one that a model file becomes in ``scratch``."""
    path = request.root / given
    if path.is_dir():
        if request.engine and read_variant(path).engine != request.engine:
            why = f"{given} is a variant for {read_variant(path).engine}, whatever --to says"
            raise _usage(why, "--to")
        return Subject(str(given), path, read_variant(path))
    from edgeops.convert.make import convert_model

    engine = request.engine or _OWN_ENGINE.get(path.suffix, "onnxruntime")
    convert_model(path, engine, scratch, data=request.data, root=request.root, events=events)
    return Subject(str(given), scratch, read_variant(scratch))


def samples_of(request: Request, subject: Subject) -> Samples:
    """Return the first samples of the data that was named, else seeded noise."""
    from edgeops.project.datasets import samples_for
    from edgeops.validate.measured import few

    if request.data:
        return few(samples_for(request.data, request.root, subject.variant.inputs))
    return made_up(subject.variant, subject.folder)


def alike(subject: Subject, other: Subject) -> None:
    """Refuse two variants that do not take the same inputs: they could not be given the same."""
    both = [{t.name: t for t in each.variant.inputs} for each in (subject, other)]
    if both[0].keys() == both[1].keys() and all(
        _fits(tensor, both[1][name]) for name, tensor in both[0].items()
    ):
        return
    ours, theirs = (
        ", ".join(f"{t.name}: {t.dtype}[{', '.join(map(str, t.shape[1:]))}]" for t in one.values())
        for one in both
    )
    raise InputError(
        "bench-inputs-differ",
        f"{subject.name} and {other.name} do not take the same inputs",
        where=other.name,
        why=f"{subject.name} takes {ours}; {other.name} takes {theirs}",
        fix="compare variants of the same model, or measure each by itself",
    )


def _fits(one: TensorInfo, other: TensorInfo) -> bool:
    """Whether two inputs may take the same array; an open axis takes any size."""
    same = one.dtype == other.dtype and len(one.shape) == len(other.shape)
    sizes = zip(one.shape[1:], other.shape[1:], strict=False)
    return same and all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in sizes)


def made_up(variant: Variant, folder: Path) -> Samples:
    """Return seeded noise that a variant takes: N(0, 1), integers 0 and 1.

    Where axes other than the first are open, sizes are tried on the engine here; raises InputError
    ``bench-needs-data`` when that is not possible, or the model reads text.
    """
    import numpy as np

    from edgeops.core.contracts import Samples

    text = [tensor.name for tensor in variant.inputs if tensor.dtype == "str"]
    if text:
        raise _needs_data(f"{text[0]!r} is text, which cannot be made up")
    if any(isinstance(size, str) for tensor in variant.inputs for size in tensor.shape[1:]):
        return _tried(folder)
    random = np.random.default_rng(0)
    arrays = {}
    for tensor in variant.inputs:
        fixed = [int(size) for size in tensor.shape[1:]]
        shape = (_NOISE_SAMPLES, *fixed) if tensor.shape else ()
        whole = np.dtype(tensor.dtype).kind in "iub"
        values = random.integers(0, 2, shape) if whole else random.standard_normal(shape)
        arrays[tensor.name] = np.asarray(values).astype(tensor.dtype)
    return Samples(arrays, None, _NOISE_SAMPLES, NOISE, "")


def _tried(folder: Path) -> Samples:
    from edgeops.convert.samples import synthetic
    from edgeops.runtime.session import load_session

    try:
        return replace(synthetic(load_session(folder)), source=NOISE)
    except InputError as error:
        if error.code != "samples-needed":
            raise
        raise _needs_data(error.why) from error


def _needs_data(why: str) -> InputError:
    return InputError(
        "bench-needs-data",
        "the model does not run on made-up input",
        where="--data",
        why=why,
        fix="give it samples: --data samples.npz, one array for each input",
    )
