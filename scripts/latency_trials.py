# ruff: noqa: INP001, T201 - a script, part of no package; it prints
"""Show how often comparisons of latency err, and write the tables of docs/latency.md.

    python scripts/latency_trials.py [--runs 500] [--only KIND,...] [--write]
    python scripts/latency_trials.py --boundary [--runs 2000000]
    python scripts/latency_trials.py --record VARIANT [--trials 150]
    python scripts/latency_trials.py --measure [--runs 5] [--processor 1] [--real-time] [--write]

The first compares a model with itself (A/A) and with one that is 3 % slower (A/B), ``--runs`` times
each, on simulated machines of several kinds and on trials recorded here; no time is measured.
``--boundary`` finds the numbers of ``edgeops.core.sequential.TAILS``. ``--record`` times a variant
against itself and keeps the trials in tests/data. ``--measure`` compares real models, one of which
has 3 % more work, with nobody else and with a busy process on the same processor; on a machine that
others use, ``--real-time`` keeps them off the processor of the first kind.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _tables import put, table  # noqa: E402 - tests is found below the project's root

from edgeops.core import sequential  # noqa: E402 - as above
from tests.latency_noise import LIMIT_S, MACHINES, RECORDED, rates  # noqa: E402 - as above

PAGE = ROOT / "docs" / "latency.md"
SLOWER = 1.03
ERROR = 0.005
LAYERS = 33


def simulate(kinds: list[str], runs: int) -> str:
    """Return the table of what comparisons on simulated and recorded machines end in."""
    rows = []
    for kind in kinds:
        for name, slowdown in (("A/A", 1.0), ("A/B", SLOWER)):
            begun = time.monotonic()
            found = rates(kind, slowdown, runs, seed=1)
            counts = Counter(outcome.verdict for outcome in found)
            seconds = [outcome.seconds for outcome in found]
            shown = [f"{kind}, {name}"]
            shown += [
                _share(counts[word], runs)
                for word in (
                    sequential.SLOWER,
                    sequential.NOT_SLOWER,
                    sequential.FASTER,
                    sequential.INCONCLUSIVE,
                )
            ]
            shown += [f"{np.median(seconds):.0f} s", f"{np.percentile(seconds, 95):.0f} s"]
            print(*shown, f"({time.monotonic() - begun:.1f} s)", sep="  ", flush=True)
            rows.append(shown)
    head = ["machine, models", "slower", "not slower", "faster", "inconclusive", "median", "95th"]
    return table(head, rows)


def _share(count: int, runs: int) -> str:
    low, high = wilson(count, runs)
    return f"{count / runs:.1%} ({low:.1%}-{high:.1%})"


def wilson(count: int, runs: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, count / runs
    center = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    half /= 1 + z * z / runs
    return max(0.0, center - half), min(1.0, center + half)


def boundary(runs: int) -> None:
    """Print how much of the signed-rank distribution each look may cut off.

    Equal variants are coins for the signs and any order of the sizes; each look's number is the
    largest that keeps the share of runs that were ever cut off within what may be spent by then.
    """
    looks = list(sequential.TAILS)
    random = np.random.default_rng(1)
    below = np.concatenate([_rank_sums(random, looks, 20_000) for _ in range(runs // 20_000)])
    first, last = looks[0], looks[-1]
    alive = np.ones(len(below), bool)
    for index, look in enumerate(looks):
        spent = 2.0**-first
        spent += (ERROR - spent) * math.log(look / first) / math.log(last / first)
        sums = np.bincount(below[alive, index]).cumsum()
        tail = int(np.searchsorted(sums, spent * len(below) - (~alive).sum(), side="right")) - 1
        tail = 0 if look == first else tail
        alive &= below[:, index] > tail
        print(f"    {look}: {tail},  # spent {1 - alive.mean():.5f}", flush=True)


def _rank_sums(random: Any, looks: list[int], count: int) -> Any:
    """Return for each run and look the sum of the ranks of the trials below zero."""
    sizes = random.random((count, looks[-1]), dtype=np.float32)
    below = random.random((count, looks[-1]), dtype=np.float32) < 1 / 2
    sums, found = np.zeros(count, np.int32), []
    for trial in range(looks[-1]):
        lesser = sizes[:, :trial] < sizes[:, trial : trial + 1]
        sums += np.where(below[:, trial], lesser.sum(1) + 1, 0)
        sums += (~lesser & below[:, :trial]).sum(1)
        if trial + 1 in looks:
            found.append(sums.copy())
    return np.stack(found, axis=1)


class Pair:
    """Two variants on this machine, ready to be compared in a process of this script."""

    def __init__(self, variant: Path, against: Path, scratch: Path) -> None:
        from edgeops.core.contracts import Samples
        from edgeops.core.variant import read_variant
        from edgeops.runtime.probe.arrays import write_samples
        from edgeops.runtime.probe.engines import import_engine

        random = np.random.default_rng(0)
        arrays = {
            tensor.name: random.standard_normal(
                [4, *(size if isinstance(size, int) else 1 for size in tensor.shape[1:])]
            ).astype(tensor.dtype)
            for tensor in read_variant(variant).inputs
        }
        few = write_samples(scratch / "few.npz", Samples(arrays, None, 4, "noise", ""))
        few["file"] = str(scratch / "few.npz")
        self.request = {"variant": str(variant), "against": str(against), "threads": 1, "few": few}
        self.engine = import_engine(variant)[0]

    def load(self, folder: Path, threads: int) -> Any:
        """Return a session of either variant."""
        return self.engine.load(folder, threads)


def record(variant: Path, trials: int) -> None:
    """Time a variant against itself and keep the turns of each trial."""
    from edgeops.runtime import pairs

    kept: list[Any] = []

    class Keeping(pairs._Comparison):  # noqa: SLF001 - what is kept is what it measures
        def _half(self, order: tuple[int, int], waiting: Any) -> pairs.Half:
            half = super()._half(order, waiting)
            kept.append(half)
            return half

    with tempfile.TemporaryDirectory() as scratch:
        pair = Pair(variant, variant, Path(scratch))
        comparison = Keeping({**pair.request, "seconds": 3600, "trials": trials}, pair.load)
        for number in range(trials):
            trial = comparison.trial()
            print(number, f"{trial['ratio']:.4f}", trial["lost"], flush=True)
    turns = [np.asarray(t, np.float32) / 1000 for half in kept for t in (half.ones, half.others)]
    RECORDED.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        RECORDED,
        turns_us=np.concatenate(turns).astype(np.float32),
        lengths=np.array([len(part) for part in turns], np.int16),
        lost=np.array([trial["lost"] for trial in comparison.trials], np.float32),
    )
    print(f"{RECORDED}: {RECORDED.stat().st_size:,} bytes")


def chain(path: Path, layers: int) -> None:
    """Write a model of equal convolutions, one after the other."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shape = [1, 16, 32, 32]
    weights = [
        numpy_helper.from_array(
            random.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32), f"w{index}"
        )
        for index in range(layers)
    ]
    nodes = [
        helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1, 1, 1, 1])
        for i in range(layers)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{layers}", TensorProto.FLOAT, shape)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def measure(runs: int, processor: int, *, real_time: bool) -> str:
    """Return the table of real comparisons, quiet and with a busy process on the same processor."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for layers in (LAYERS, LAYERS + 1):
            chain(scratch / f"{layers}.onnx", layers)
            command = ["convert", str(scratch / f"{layers}.onnx"), "--to", "onnxruntime"]
            command += ["-o", str(scratch / str(layers))]
            subprocess.run(
                [sys.executable, "-m", "edgeops", *command], check=True, capture_output=True
            )
        for busy in (False, True):
            for kind, layers in (("A/A", LAYERS), ("A/B", LAYERS + 1)):
                pair = (scratch / str(layers), scratch / str(LAYERS))
                first = ["chrt", "-f", "1"] if real_time and not busy else []
                # A busy one always takes all the time that it may.
                times = max(1, runs // 4) if busy else runs
                found = [_compared(*pair, processor, first, busy=busy) for _ in range(times)]
                rows.append(_row(f"{'busy' if busy else 'quiet'}, {kind}", found))
                print(*rows[-1], sep="  ", flush=True)
    return table(["processor, models", "verdicts", "ratios", "widest interval", "seconds"], rows)


def _compared(
    variant: Path, against: Path, processor: int, first: list[str], *, busy: bool
) -> dict[str, Any]:
    """Return one comparison by ``edgeops bench``, as a user would make it.

    Its lock is its own, so that measurements of others are not waited for.
    """
    import json

    spinner = None
    if busy:
        code = f"import os\nos.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
        spinner = subprocess.Popen([sys.executable, "-c", code])
    try:
        command = ["bench", str(variant), "--against", str(against), "--json"]
        done = subprocess.run(
            [*first, sys.executable, "-m", "edgeops", *command, "--affinity", str(processor)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(variant.parent)},
        )
    finally:
        if spinner is not None:
            spinner.kill()
            spinner.wait()
    answer: dict[str, Any] = json.loads(done.stdout)
    if "against" not in answer:
        raise SystemExit(done.stdout)
    return dict(answer["against"])


def _row(name: str, found: list[dict[str, Any]]) -> list[str]:
    counts = Counter(each["verdict"] for each in found)
    ratios = [each["ratio"] for each in found if each["ratio"]]
    widths = [each["ratio_ci"][1] - each["ratio_ci"][0] for each in found if each["ratio_ci"]]
    seconds = [each["seconds"] for each in found]
    return [
        name,
        ", ".join(f"{count} {word}" for word, count in counts.most_common()),
        f"{min(ratios):.3f}-{max(ratios):.3f}" if ratios else "-",
        f"{max(widths):.3f}" if widths else "-",
        f"{min(seconds):.0f}-{max(seconds):.0f}",
    ]


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--boundary", action="store_true")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--processor", type=int, default=1)
    parser.add_argument("--real-time", action="store_true")
    asked = parser.parse_args()
    if asked.boundary:
        boundary(asked.runs or 2_000_000)
    elif asked.record:
        record(asked.record.absolute(), asked.trials)
    elif asked.measure:
        shown = measure(asked.runs or 5, asked.processor, real_time=asked.real_time)
        if asked.write:
            put(PAGE, "measured", shown)
    else:
        kinds = asked.only.split(",") if asked.only else list(MACHINES)
        shown = simulate(kinds, asked.runs or 500)
        print(f"\nat most {LIMIT_S:g} s each\n{shown}")
        if asked.write:
            put(PAGE, "simulated", shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
