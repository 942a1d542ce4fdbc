"""Short ways to make features in tests."""

from __future__ import annotations

import struct

import pytest

from edgeops.errors import InputError
from edgeops.runtime.features import FORMAT, parse


def features(kind, *steps, outputs=None, **options):
    """Return features of one input x with these steps."""
    document = {"format": FORMAT, "inputs": {"x": {"kind": kind, "steps": [*steps], **options}}}
    if outputs is not None:
        document["outputs"] = outputs
    return parse(document)


def made(kind, value, *steps, **options):
    """Return what one value becomes, without the axis of samples."""
    return features(kind, *steps, **options)({"x": value})["x"][0]


def malformed(document):
    """Return the findings on a document that is refused."""
    with pytest.raises(InputError) as caught:
        parse(document, "features.yaml")
    assert caught.value.code == "features-malformed"
    return caught.value.findings


def misfit(kind, *steps, **options):
    """Return place and words of the first finding on an input."""
    document = {"format": FORMAT, "inputs": {"x": {"kind": kind, "steps": [*steps], **options}}}
    first = malformed(document)[0]
    return f"{first.where.partition(': ')[2]} | {first.what} | {first.why} | {first.fix}"


def refused(kind, value, *steps, **options):
    """Return the words of the error that a value gets."""
    with pytest.raises(InputError) as caught:
        made(kind, value, *steps, **options)
    assert caught.value.code == "feature-input"
    assert caught.value.where.startswith("x")
    assert caught.value.fix
    return f"{caught.value.what} | {caught.value.why}"


def wav(data, *, bits=16, rate=16000, channels=1, kind=1, extra=b"", announced=None):
    """Return a WAV file of these bytes of samples."""
    block = channels * bits // 8
    about = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    if kind == 0xFFFE:
        about += struct.pack("<HHIH14s", 22, bits, 0, 1, b"\0" * 14)
    size = len(data) if announced is None else announced
    body = b"fmt " + struct.pack("<I", len(about)) + about + extra
    body += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", (4 + len(body)) & 0xFFFFFFFF) + b"WAVE" + body
