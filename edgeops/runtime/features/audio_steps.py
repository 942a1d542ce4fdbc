"""Steps on sounds: length, pad, preemphasis, frames, spectrum, mel and mfcc."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features import array
from edgeops.runtime.features.checks import Misfit, Option, choice, flag, number, optional, whole
from edgeops.runtime.features.form import BadValue, Form, Run, StepType, Trace
from edgeops.runtime.features.mel import cosines, mel_filters
from edgeops.runtime.features.micro_frontend import STEP as MICRO_FRONTEND

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_SAMPLES = 1 << 24
_MOST_FRAME = 1 << 16
_MOST_FRAMED = 1 << 26
_MOST_BINS = 1024
_MATRIX = 2


def length(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Cut or fill with zeros to a number of samples; ``keep`` says which end stays."""
    wanted, start = options["samples"], options["keep"] == "start"

    def run(value: Any, _trace: Trace) -> Any:
        if len(value) >= wanted:
            return value[:wanted] if start else value[len(value) - wanted :]
        missing = wanted - len(value)
        return np.pad(value, (0, missing) if start else (missing, 0))

    return run, replace(form, shape=(wanted,))


def pad(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Put zeros before and after the samples."""
    around = (options["before"], options["after"])
    size = None if form.shape[0] is None else form.shape[0] + sum(around)
    return lambda value, _trace: np.pad(value, around), replace(form, shape=(size,))


def preemphasis(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``y[0] = x[0]``, ``y[n] = x[n] - coefficient * x[n - 1]``."""
    coefficient = np.float32(options["coefficient"])

    def run(value: Any, _trace: Trace) -> Any:
        found = value.copy()
        found[1:] -= coefficient * value[:-1]
        return found

    return run, form


def frames(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Cut the samples into overlapping frames and weigh each by a window."""
    size, step, fill = options["length"], options["step"], options["pad"]
    weights = window(size, options["window"], periodic=options["periodic"])

    def run(value: Any, _trace: Trace) -> Any:
        before, after = _around(len(value), size, step, fill)
        if fill == "reflect" and max(before, after) >= len(value):
            raise BadValue(
                f"the sound has only {len(value)} samples",
                f"{before} of them must be mirrored at each end",
                "give a longer sound, or add length before frames",
            )
        mode: Any = "reflect" if fill == "reflect" else "constant"
        padded = np.pad(value, (before, after), mode=mode) if before or after else value
        if len(padded) < size:
            raise BadValue(
                f"the sound has only {len(value)} samples",
                f"a frame has {size}",
                "give a longer sound, or add length before frames",
            )
        count = 1 + (len(padded) - size) // step
        if count * size > _MOST_FRAMED:
            raise BadValue(
                f"the sound would become {count} frames of {size}", "that is too much", "cut it"
            )
        found = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]
        return found * weights if weights is not None else np.ascontiguousarray(found)

    count = None
    if form.shape[0] is not None:
        whole_length = form.shape[0] + sum(_around(form.shape[0], size, step, fill))
        if whole_length < size:
            raise Misfit(f"given at least {size} samples, not {form.shape[0]}")
        count = 1 + (whole_length - size) // step
    return run, replace(form, state="frames", shape=(count, size))


def _around(count: int, size: int, step: int, fill: str) -> tuple[int, int]:
    """Return how many samples are put before and after the sound."""
    if fill == "end":
        over = max(0, count - size)
        return 0, size + -(-over // step) * step - count
    if fill == "none":
        return 0, 0
    return size // 2, size // 2


def window(size: int, kind: str, *, periodic: bool) -> np.ndarray[Any, Any] | None:
    """Return the weights of a frame as float32, None for all 1."""
    if kind == "none":
        return None
    span = size if periodic else max(1, size - 1)
    first = 0.5 if kind == "hann" else 0.54
    found = first - (1.0 - first) * np.cos(2.0 * np.pi * np.arange(size) / span)
    return found.astype(np.float32)


def spectrum(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """``|rfft(frame)| ^ power`` of each frame, filled with zeros at its end up to ``fft``."""
    fft, squared = options["fft"] or form.shape[1] or 0, options["power"] == _MATRIX
    if fft < (form.shape[1] or 0):
        raise Misfit(f"of at least the {form.shape[1]} samples of a frame")

    def run(value: Any, _trace: Trace) -> Any:
        found = np.fft.rfft(value.astype(np.float64), fft, axis=-1)
        power = found.real * found.real + found.imag * found.imag
        return (power if squared else np.sqrt(power)).astype(np.float32)

    return run, replace(form, state="spectrum", shape=(form.shape[0], fft // 2 + 1), fft=fft)


def mel(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Add up the spectrum under triangles that are even in mel."""
    low, high = options["low"], options["high"] or form.rate / 2.0
    if not low < high <= form.rate / 2.0:
        raise Misfit(f"given low < high <= {form.rate / 2.0:g}, half of the rate")
    filters = mel_filters(
        form.rate,
        form.fft,
        options["bins"],
        low,
        high,
        scale=options["scale"],
        norm=options["norm"],
        triangles=options["triangles"],
    )
    return _times(filters), replace(form, state="mel", shape=(form.shape[0], options["bins"]))


def mfcc(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Take the DCT-II of each frame and keep its first coefficients."""
    bins, count = form.shape[1] or 0, options["coefficients"]
    if count > bins:
        raise Misfit(f"of at most the {bins} bins")
    matrix = cosines(bins, count, options["norm"])
    return _times(matrix), replace(form, state="array", shape=(form.shape[0], count))


def _times(matrix: np.ndarray[Any, Any]) -> Run:
    """Return a product in float64, rounded once: sums in float32 differ from machine to machine."""
    return lambda value, _trace: (value.astype(np.float64) @ matrix).astype(np.float32)


_SAMPLES = whole(0, _MOST_SAMPLES)

STEPS: dict[str, dict[str, StepType]] = {
    "samples": {
        "length": StepType(
            {
                "samples": Option(whole(1, _MOST_SAMPLES)),
                "keep": Option(choice("start", "end"), "start"),
            },
            length,
            short="samples",
        ),
        "pad": StepType({"before": Option(_SAMPLES, 0), "after": Option(_SAMPLES, 0)}, pad),
        "preemphasis": StepType(
            {"coefficient": Option(number(), 0.97)}, preemphasis, short="coefficient"
        ),
        "frames": StepType(
            {
                "length": Option(whole(1, _MOST_FRAME)),
                "step": Option(whole(1, _MOST_FRAME)),
                "window": Option(choice("hann", "hamming", "none"), "hann"),
                "periodic": Option(flag, default=True),
                "pad": Option(choice("none", "end", "centre", "reflect"), "none"),
            },
            frames,
        ),
        "micro_frontend": MICRO_FRONTEND,
        **array.STEPS,
    },
    "frames": {
        "spectrum": StepType(
            {
                "fft": Option(optional(whole(2, _MOST_FRAME)), None),
                "power": Option(whole(1, 2), 2),
            },
            spectrum,
        ),
        **array.STEPS,
    },
    "spectrum": {
        "mel": StepType(
            {
                "bins": Option(whole(1, _MOST_BINS)),
                "low": Option(number(least=0.0), 0.0),
                "high": Option(optional(number(above=0.0)), None),
                "scale": Option(choice("htk", "slaney"), "htk"),
                "norm": Option(choice("none", "slaney"), "none"),
                "triangles": Option(choice("hz", "mel"), "hz"),
            },
            mel,
        ),
        **array.STEPS,
    },
    "mel": {
        "mfcc": StepType(
            {
                "coefficients": Option(whole(1, _MOST_BINS)),
                "norm": Option(choice("ortho", "flat"), "ortho"),
            },
            mfcc,
            short="coefficients",
        ),
        **array.STEPS,
    },
}
