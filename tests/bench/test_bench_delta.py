"""Sizes, speed and memory of deltas beside those that other tools make; nothing is judged.

Speed is that of the processor's time, which holds also where other work goes on beside; the figure
is the best of some runs. The peers are zstd with the old file as dictionary, applied in one piece,
and bsdiff4 where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time

import pytest

from edgeops.package.deltas import make
from edgeops.runtime.delta import apply
from tests.unit import _deltas
from tests.unit.test_delta_apply import MEASURE

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

ROUNDS = 7
CASES = [
    ("int8", False, 0.01),
    ("int8", True, 0.2),
    ("fp32", False, 0.01),
    ("fp32", False, 0.0001),
    ("fp32", True, 0.2),
    ("fp16", False, 0.01),
]


def best(work):
    """Return the least processor time of some runs, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def say(text):
    sys.stdout.write(text + "\n")


def zstd_patch(old, new):
    """Return what ``zstd --patch-from`` makes of two contents, and what applies it."""
    import zstandard

    known = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=26, enable_ldm=True, source_size=len(new)
    )
    packer = zstandard.ZstdCompressor(dict_data=known, compression_params=parameters)
    patch = packer.compress(new)
    unpacker = zstandard.ZstdDecompressor(dict_data=known, max_window_size=1 << 27)
    return patch, lambda: unpacker.decompress(patch)


@pytest.mark.parametrize(("kind", "head_only", "noise"), CASES)
def test_delta_beside_other_tools(tmp_path, capsys, kind, head_only, noise):
    old = _deltas.weights()
    new = _deltas.tuned(old, noise, head_only=head_only)
    before, after = _deltas.files(
        tmp_path, *(_deltas.network(arrays, kind) for arrays in (old, new))
    )
    start = time.process_time()
    delta = make(before, after, name="model.onnx", most=1.0, methods=("tensor",))
    making = time.process_time() - start
    size = after.stat().st_size
    expect = delta.header.after
    seconds = best(lambda: apply(before, delta.data, tmp_path / "out", expect=expect, size=size))
    (tmp_path / "delta").write_bytes(delta.data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "tensor"], cwd=tmp_path, capture_output=True, check=True
    )
    memory = json.loads(done.stdout)
    with capsys.disabled():
        say(
            f"\n{kind} {'head' if head_only else 'all'} {noise:g} sigma: "
            f"{100 * delta.share:.2f} % of {size / 1e6:.1f} MB; made at {size / 1e6 / making:.0f} MB/s,"
            f" applied at {size / 1e6 / seconds:.0f} MB/s, traced {memory['traced'] / 1e6:.1f} MB,"
            f" resident {memory['resident'] / 1e6:.1f} MB"
        )
        others(before.read_bytes(), after.read_bytes(), delta, seconds)
    assert delta.share < 1


def others(old, new, delta, seconds):
    """Say how large and quick the deltas of other tools are, as ratios to ours."""
    patch, unpack = zstd_patch(old, new)
    say(
        f"  zstd patch: {len(patch) / len(delta.data):.2f} x the size, {best(unpack) / seconds:.2f} x the time"
    )
    if importlib.util.find_spec("bsdiff4"):
        import bsdiff4

        patch = bsdiff4.diff(old, new)
        took = best(lambda: bsdiff4.patch(old, patch))
        say(
            f"  bsdiff4: {len(patch) / len(delta.data):.2f} x the size, {took / seconds:.2f} x the time"
        )
