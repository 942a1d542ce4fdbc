"""Sounds: bytes of a WAV file, a path or an array become samples at the rate of the document."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.runtime.features import array
from edgeops.runtime.features.audio_steps import STEPS
from edgeops.runtime.features.checks import Option, flag, number, optional, whole
from edgeops.runtime.features.form import BadValue, Form, Kind, Run, Trace
from edgeops.runtime.features.resample import resample
from edgeops.runtime.features.source import read_bytes
from edgeops.runtime.features.wav import MOST_CHANNELS, header, samples

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_RATE = 768_000
_PAIR = 2
_MONO, _CHANNELS = 1, 2


def start(options: Mapping[str, Any]) -> tuple[Run, Form]:
    """Return what reads a sound, and the form that it makes."""
    rate, channel, most = options["rate"], options["channel"], options["max_seconds"]

    def run(value: Any, _trace: Trace) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview, os.PathLike)):
            data = read_bytes(value)
            about = header(data)
            _check_length(about.frames, about.rate, most)
            given, found = about.rate, samples(data, about)
        else:
            given, found = _given(value, rate)
            _check_length(len(found), given, most)
        found = _one_channel(found, channel)
        if not np.isfinite(found).all():
            raise BadValue("the sound holds NaN or infinity", "samples are finite numbers")
        if given != rate and not options["resample"]:
            raise BadValue(
                f"the sound has {given} Hz",
                f"the model hears {rate} Hz",
                f"record at {rate} Hz, or set resample: true for the input",
            )
        return resample(found, given, rate)

    return run, Form("samples", (None,), "float32", rate=rate)


def _given(value: Any, rate: Any) -> tuple[int, np.ndarray[Any, Any]]:
    """Return rate and samples [frames, channels] of an array, or of a pair (rate, array)."""
    if isinstance(value, tuple) and len(value) == _PAIR:
        rate, value = value
        whole_rate = isinstance(rate, (int, np.integer)) and not isinstance(rate, bool)
        if not whole_rate or not 0 < rate <= _MOST_RATE:
            raise BadValue("the rate of the sound is no rate", f"it is 1 to {_MOST_RATE} Hz")
    if not isinstance(value, np.ndarray):
        raise BadValue(
            f"a sound cannot be {type(value).__name__}",
            "a sound is the bytes of a WAV file, a pathlib.Path, an array or (rate, array)",
            "text is never taken for a path: give pathlib.Path(text)",
        )
    if value.ndim not in {_MONO, _CHANNELS} or (value.ndim == _CHANNELS and not value.shape[1]):
        raise BadValue(
            f"the sound has the shape {list(value.shape)}",
            "a sound is [samples] or [samples, channels]",
        )
    if value.ndim == _CHANNELS and value.shape[1] > MOST_CHANNELS:
        raise BadValue(
            f"the sound has {value.shape[1]} channels",
            f"at most {MOST_CHANNELS} are taken, and the first axis counts the samples",
            "give array.T where channels come first",
        )
    if value.dtype == np.int16:
        found = value.astype(np.float32) / np.float32(1 << 15)
    elif value.dtype in {np.dtype(np.float32), np.dtype(np.float64)}:
        found = value.astype(np.float32)
    else:
        raise BadValue(
            f"the sound is {value.dtype}", "samples are int16, or floats from -1 to 1", ""
        )
    return int(rate), found if found.ndim == _CHANNELS else found[:, None]


def _check_length(frames: int, rate: int, most: float) -> None:
    if frames < 1:
        raise BadValue("the sound has no samples", "it is empty")
    if frames > most * rate:
        raise BadValue(
            f"the sound is {frames / rate:.1f} s long",
            f"more than {most:g} s are refused",
            "cut it, or raise max_seconds of the input",
        )


def _one_channel(found: np.ndarray[Any, Any], channel: int | None) -> np.ndarray[Any, Any]:
    if channel is None:
        if found.shape[1] == 1:
            return found[:, 0]
        mixed: np.ndarray[Any, Any] = found.mean(axis=1, dtype=np.float64).astype(np.float32)
        return mixed
    if channel >= found.shape[1]:
        raise BadValue(
            f"the sound has {found.shape[1]} channels", f"channel {channel} is asked for", ""
        )
    return found[:, channel]


KIND = Kind(
    options={
        "rate": Option(whole(1, _MOST_RATE)),
        "resample": Option(flag, default=False),
        "channel": Option(optional(whole(0, 63)), None),
        "max_seconds": Option(number(above=0.0, most=3600.0), 60.0),
    },
    start=start,
    steps={**STEPS, "array": array.STEPS},
    raw=lambda _options: (("samples",), "float32"),
)
