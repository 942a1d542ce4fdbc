"""WAV files: PCM of 8, 16, 24 and 32 bits and floats of 32 and 64 bits become float32 samples."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeops.runtime.features.form import BadValue

MOST_CHANNELS = 64

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HEADER = 12
_LEAST_FORMAT = 16
_SUBFORMAT = 24
_OPEN_END = 0xFFFFFFFF
# What programs announce that cannot go back: ffmpeg 0xFFFFFFFF, arecord 0x80000000, sox 0x7FFFF000
# down to whole blocks.
_ENDLESS = 0x7FFFE000
_MOST_RATE = 768_000
_KINDS = {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}
_FIX = "send a WAV file of PCM (8, 16, 24, 32 bits) or float (32, 64 bits)"


@dataclass(frozen=True)
class Wav:
    """Where the samples of a file are and how they are written; ``rate`` is in Hz."""

    rate: int
    channels: int
    kind: int
    bits: int
    start: int
    frames: int


def header(data: bytes) -> Wav:
    """Return what the chunks of a WAV file say; raises BadValue where they do not hold."""
    if len(data) < _HEADER or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadValue("the sound is no WAV file", "it does not begin with RIFF ... WAVE", _FIX)
    found: tuple[int, int, int, int, int] | None = None
    at = _HEADER
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        at += 8
        if name == b"fmt ":
            found = _format(data[at : at + size])
        elif name == b"data":
            if found is None:
                raise BadValue("the WAV file is broken", "its data come before their format", _FIX)
            there, block = len(data) - at, found[3]
            if _open_ended(size, struct.unpack_from("<I", data, 4)[0], at, there):
                size = there - there % block
            return _placed(found, at, size, len(data))
        at += size + size % 2
    raise BadValue("the WAV file is cut off", "it has no whole chunk of data", "send it whole")


def _format(chunk: bytes) -> tuple[int, int, int, int, int]:
    if len(chunk) < _LEAST_FORMAT:
        raise BadValue("the WAV file is broken", "its fmt chunk is too short", _FIX)
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= _SUBFORMAT + 2:
        kind = struct.unpack_from("<H", chunk, _SUBFORMAT)[0]
    if (kind, bits) not in _KINDS:
        raise BadValue(
            f"the WAV file is of kind {kind} with {bits} bits", "only PCM and floats are read", _FIX
        )
    if not 1 <= channels <= MOST_CHANNELS or block != channels * bits // 8:
        raise BadValue(
            "the WAV file is broken", f"{channels} channels in blocks of {block} bytes", _FIX
        )
    if not 1 <= rate <= _MOST_RATE:
        raise BadValue("the WAV file is broken", f"its rate is {rate} Hz", _FIX)
    return kind, channels, rate, block, bits


def _open_ended(size: int, whole: int, at: int, there: int) -> bool:
    """Return whether a size of data stands for what its writer could not go back to fill in.

    ``whole`` is the size in the head of the file, which tells a stream that says 0 from a recording
    that is empty and has other chunks after its data.
    """
    if size == 0:
        return whole == _OPEN_END or whole + 8 <= at
    return _ENDLESS <= size > there


def _placed(found: tuple[int, int, int, int, int], at: int, size: int, length: int) -> Wav:
    kind, channels, rate, block, bits = found
    there = length - at
    if size > there or size % block:
        raise BadValue(
            "the WAV file is cut off",
            f"{size} bytes of samples are announced, {there} are there, in blocks of {block}",
            "send it whole",
        )
    return Wav(rate, channels, kind, bits, at, size // block)


def samples(data: bytes, wav: Wav) -> np.ndarray[Any, Any]:
    """Return the samples [frames, channels] as float32, PCM from -1 to below 1."""
    count = wav.frames * wav.channels
    if wav.kind == _FLOAT:
        kind = "<f4" if wav.bits == 32 else "<f8"  # noqa: PLR2004
        found = np.frombuffer(data, kind, count, wav.start).astype(np.float32)
    elif wav.bits == 8:  # noqa: PLR2004
        found = np.frombuffer(data, np.uint8, count, wav.start).astype(np.float32)
        found = (found - np.float32(128)) / np.float32(128)
    elif wav.bits == 24:  # noqa: PLR2004
        parts = np.frombuffer(data, np.uint8, count * 3, wav.start).reshape(-1, 3)
        wide = np.zeros((count, 4), np.uint8)
        wide[:, 1:] = parts
        found = (wide.view("<i4")[:, 0] >> 8).astype(np.float32) / np.float32(1 << 23)
    else:
        kind = f"<i{wav.bits // 8}"
        found = np.frombuffer(data, kind, count, wav.start).astype(np.float32)
        found = found / np.float32(1 << (wav.bits - 1))
    return found.reshape(wav.frames, wav.channels)
