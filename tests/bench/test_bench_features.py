"""Time of the features of one sample, a kind a test; nothing is judged."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from edgeops.runtime.features import FORMAT, parse

pytestmark = pytest.mark.bench

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (480, 640, 3), dtype=np.uint8)
LARGE = RNG.integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
SOUND = (RNG.normal(size=16000) * 3000).astype(np.int16)
FACES = [
    {"resize": {"width": 320, "height": 240}},
    {"normalize": {"mean": 127, "std": 128}},
    {"layout": "NCHW"},
]
BOXED = [{"letterbox": {"width": 320, "height": 320}}, *FACES[1:]]
FRAMES = [
    {"length": 16000},
    {"frames": {"length": 640, "step": 320}},
    {"spectrum": {"fft": 1024, "power": 1}},
    {"mel": {"bins": 40, "low": 20, "high": 4000}},
    {"log": {"offset": 1e-6}},
]
COLUMNS = [
    {
        "name": f"n{at}",
        "steps": [{"fill": 0}, {"clip": {"least": -3}}, {"standard": {"mean": 1, "std": 2}}],
    }
    for at in range(8)
] + [{"name": "plan", "type": "text", "steps": [{"hash": 64}, "one_hot"]}]
ROW = {**{f"n{at}": float(at) for at in range(8)}, "plan": "premium"}
WORDS = ["lower", "split", {"hash": 5000}, {"length": 64}]


def jpeg(array):
    data = io.BytesIO()
    Image.fromarray(np.kron(array[::8, ::8], np.ones((8, 8, 1), np.uint8))).save(data, "JPEG")
    return data.getvalue()


CASES = {
    "image 640x480 array to 320x240, NCHW": ("image", PHOTO, {"steps": FACES}),
    "image 640x480 array, normalize and NCHW alone": ("image", PHOTO, {"steps": FACES[1:]}),
    "image 640x480 array, letterbox 320x320": ("image", PHOTO, {"steps": BOXED}),
    "image 640x480 jpeg to 320x240, NCHW": ("image", jpeg(PHOTO), {"steps": FACES}),
    "image 640x480 jpeg, decode alone": ("image", jpeg(PHOTO), {}),
    "image 4000x3000 array to 320x240, NCHW": ("image", LARGE, {"steps": FACES}),
    "audio 1 s, samples alone": ("audio", SOUND, {"rate": 16000}),
    "audio 1 s, log-mel 49x40": ("audio", SOUND, {"rate": 16000, "steps": FRAMES}),
    "audio 1 s, mfcc 49x10": ("audio", SOUND, {"rate": 16000, "steps": [*FRAMES, {"mfcc": 10}]}),
    "audio 1 s, micro_frontend": ("audio", SOUND, {"rate": 16000, "steps": ["micro_frontend"]}),
    "audio 1 s, 44.1 to 16 kHz": (
        "audio",
        (44100, np.resize(SOUND, 44100)),
        {"rate": 16000, "resample": True},
    ),
    "columns, 8 numbers and a hash of 64": ("columns", ROW, {"columns": COLUMNS}),
    "text, 50 words hashed to 64": ("text", "The quick brown fox jumps " * 10, {"steps": WORDS}),
    "bytes, ends of 100 kB": (
        "bytes",
        RNG.bytes(100_000),
        {"steps": [{"ends": {"first": 1024, "last": 1024, "pad": 256, "strip": True}}]},
    ),
    "tensor of 42": ("tensor", np.zeros(42, np.float32), {"shape": [42]}),
}


@pytest.mark.parametrize("name", CASES)
def test_features_of_one_sample(name, capsys):
    kind, value, options = CASES[name]
    features = parse({"format": FORMAT, "inputs": {"x": {"kind": kind, **options}}})
    inputs = {"x": value}
    features(inputs)
    times = []
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter_ns()
        features(inputs)
        times.append(time.perf_counter_ns() - start)
    with capsys.disabled():
        print(  # noqa: T201 - printing is what it is for
            f"\n{name}: {np.median(times) / 1000:.0f} us a call, best {min(times) / 1000:.0f} us "
            f"({len(times)} calls)"
        )
