"""The audio front end of TensorFlow Lite Micro: log-mel with noise taken off, in integers.

Keyword models for microcontrollers are trained on it, and answer to nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features.checks import Misfit, Option, flag, number, whole
from edgeops.runtime.features.fixed_fft import rfft
from edgeops.runtime.features.form import BadValue, Form, Run, StepType, Trace
from edgeops.runtime.features.mel import mel_filters

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = np.ndarray[Any, Any]

_WEIGHT_BITS = 12
_SMOOTHING_BITS = 10
_SHARE_BITS = 14
# Shares of 2^14: how fast the noise of even and odd channels is learned, and what always remains.
_EVEN, _ODD, _LEAST = 409, 983, 819
_STRENGTH, _OFFSET, _GAIN_BITS = 0.95, 80.0, 21
_SNR_BITS, _OUT_BITS = 12, 6
_MOST_GAIN = 0x7FFF
_MOST_ESTIMATE = (1 << 32) - 1
_FFTS = (64, 128, 256, 512, 1024, 2048, 4096)
_MOST_FRAMES = 1 << 15


def micro_frontend(form: Form, options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return ``64 ln(signal)`` of each channel of each frame as whole numbers, int32."""
    length, step, fft = options["length"], options["step"], options["fft"]
    if fft not in _FFTS or fft < length:
        raise Misfit(f"given an fft that is a power of 2 of at least the length {length}")
    if not options["low"] < options["high"] <= form.rate / 2.0:
        raise Misfit(f"given low < high <= {form.rate / 2.0:g}, half of the rate")
    filters = _filters(form.rate, fft, options["bins"], options["low"], options["high"])
    correction = fft.bit_length() - 1 - _WEIGHT_BITS // 2

    def run(value: Any, _trace: Trace) -> Any:
        if len(value) < length:
            raise BadValue(
                f"the sound has only {len(value)} samples",
                f"a frame has {length}",
                "give a longer sound, or add length before micro_frontend",
            )
        if 1 + (len(value) - length) // step > _MOST_FRAMES:
            raise BadValue("the sound would become too many frames", f"{_MOST_FRAMES} at most")
        signal = _signal(value, length, step, fft, filters)
        signal, noise = _without_noise(signal)
        if options["pcan"]:
            signal = _even_loudness(signal, noise, correction)
        return _logarithm(signal << correction).astype(np.int32)

    count = form.shape[0]
    if count is not None and count < length:
        raise Misfit(f"given at least {length} samples, not {count}")
    count = None if count is None else 1 + (count - length) // step
    return run, replace(form, state="array", shape=(count, options["bins"]), dtype="int32")


def _filters(rate: int, fft: int, bins: int, low: float, high: float) -> Array:
    found = mel_filters(rate, fft, bins, low, high, scale="htk", norm="none", triangles="mel")
    made: Array = np.floor(found * (1 << _WEIGHT_BITS) + 0.5)
    return made


def _signal(value: Array, length: int, step: int, fft: int, filters: Array) -> Array:
    """Return the root of the energy of each channel, times 64 and divided by ``fft``."""
    whole_samples = np.clip(np.rint(value * np.float32(1 << 15)), -(1 << 15), (1 << 15) - 1)
    frames = np.lib.stride_tricks.sliding_window_view(whole_samples.astype(np.int64), length)[
        ::step
    ]
    places = (np.arange(length) + 0.5) * (2.0 * np.pi / length)
    window = np.floor((0.5 - 0.5 * np.cos(places)) * (1 << 12) + 0.5).astype(np.int64)
    frames = (frames * window) >> 12
    # Each frame is made as loud as 16 bits allow, and its result as much quieter.
    loudest = np.abs(frames).max(axis=1)
    shift = 15 - np.frexp(loudest.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(shift, 0)[:, None]
    padded = np.pad(frames << shift, ((0, 0), (0, fft - length)))
    real, imaginary = rfft(padded)
    # Sums of whole numbers below 2^53: exact, in whatever order they are added.
    energy = (real * real + imaginary * imaginary).astype(np.float64) @ filters
    found: Array = np.rint(np.sqrt(energy)).astype(np.int64) >> shift
    return found


def _without_noise(signal: Array) -> tuple[Array, Array]:
    """Return the signal less a slow mean of each channel, and that mean."""
    share = np.where(np.arange(signal.shape[1]) % 2, _ODD, _EVEN).astype(np.int64)
    scaled = signal << _SMOOTHING_BITS
    noise = np.empty_like(signal)
    last = np.zeros(signal.shape[1], np.int64)
    for row, loud in enumerate(scaled):
        last = (loud * share + last * ((1 << _SHARE_BITS) - share)) >> _SHARE_BITS
        noise[row] = last
    rest = (scaled - np.minimum(noise, scaled)) >> _SMOOTHING_BITS
    return np.maximum(rest, (signal * _LEAST) >> _SHARE_BITS), noise


def _even_loudness(signal: Array, noise: Array, correction: int) -> Array:
    """Return the signal times a gain that falls with the noise (PCAN), shrunk where it is small."""
    gain = _gain(np.minimum(noise, _MOST_ESTIMATE), _SMOOTHING_BITS - correction)
    ratio = (signal * gain) >> (_GAIN_BITS - correction - _SNR_BITS)
    small = np.minimum(ratio, 2 << _SNR_BITS)
    shrunk = (small * small) >> (2 + 2 * _SNR_BITS - _OUT_BITS)
    large = (ratio >> (_SNR_BITS - _OUT_BITS)) - (1 << _OUT_BITS)
    return np.where(ratio < 2 << _SNR_BITS, shrunk, large)


def _gain(noise: Array, bits: int) -> Array:
    """Return ``2^21 (noise / 2^bits + 80)^-0.95`` by parabolas between powers of 2."""
    first, slope, bend = _parabolas(bits)
    size = np.frexp(noise.astype(np.float64))[1]
    up, down = np.maximum(11 - size, 0), np.maximum(size - 11, 0)
    part = ((noise << up) >> down) & 0x3FF
    found = ((bend[size] * part >> 5) + (slope[size] << 5)) * part
    return np.where(noise <= 2, first[size], ((found + (1 << 14)) >> 15) + first[size])  # noqa: PLR2004


@lru_cache(maxsize=8)
def _parabolas(bits: int) -> tuple[Array, Array, Array]:
    """Return value, slope and bend of the gain by the number of binary digits of the noise."""
    made = np.zeros((3, 33), np.int64)
    made[0, 0] = _gain_of(0, bits)
    for size in range(1, 33):
        start = 1 << (size - 1)
        low, middle, high = (
            _gain_of(place, bits) for place in (start, start + (start >> 1), 2 * start)
        )
        slope = 4 * (middle - low) - (high - low)
        made[:, size] = low, slope, high - low - slope
    return made[0], made[1], made[2]


def _gain_of(noise: int, bits: int) -> int:
    gain = (1 << _GAIN_BITS) * (noise / (1 << bits) + _OFFSET) ** -_STRENGTH
    return int(min(gain + 0.5, _MOST_GAIN))


def _logarithm(value: Array) -> Array:
    """Return ``64 ln(value)`` by a table of 128 places, 0 for what is at most 1."""
    table = _log_table()
    bits = np.maximum(np.frexp(value.astype(np.float64))[1].astype(np.int64) - 1, 0)
    part = value - (np.int64(1) << bits)
    part = (part << np.maximum(16 - bits, 0)) >> np.maximum(bits - 16, 0)
    place = np.clip(part >> 9, 0, 127)
    between = ((table[place + 1] - table[place]) * (part - 512 * place)) >> 16
    in_twos = (bits << 16) + part + table[place] + between
    natural = (45426 * in_twos + (1 << 15)) >> 16
    found = ((natural << 6) + (1 << 15)) >> 16
    return np.where(value > 1, np.minimum(found, 0xFFFF), 0)


@lru_cache(maxsize=1)
def _log_table() -> Array:
    places = np.arange(129) / 128.0
    return np.rint((np.log2(1.0 + places) - places) * 65536.0).astype(np.int64)


_SAMPLES = whole(1, 1 << 12)

STEP = StepType(
    {
        "length": Option(_SAMPLES, 480),
        "step": Option(_SAMPLES, 320),
        "fft": Option(whole(64, 4096), 512),
        "bins": Option(whole(1, 256), 40),
        "low": Option(number(least=0.0), 125.0),
        "high": Option(number(above=0.0), 7500.0),
        "pcan": Option(flag, default=True),
    },
    micro_frontend,
)
