"""What a swap costs the requests that come meanwhile, how long going back takes, what serving costs.

Requests come at their own pace (open loop) from a process of their own, as many as take 0.6 of a core in
all, so that with two cores there is one to spare; a response time counts from when a request was due. Swaps are
taken in groups, and the median over groups is told of how p99 compares with that of stretches as long in
which nothing is swapped. Figures of a machine that has other work say little: what two such stretches
differ by is printed beside.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.runtime import Predictor
from edgeops.runtime.serving.activate import activate
from tests import serving
from tests.serving import Running, slot, switch

pytestmark = pytest.mark.bench

ROUNDS, GROUP = 40, 10
CORES, SETTLE_S = 0.6, 0.05
CALLS = 4000
OK = 200


def network(folder, seed, width=256, layers=6):
    """Write a network of some hundred microseconds: x [N, 160] -> y [N, 10]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)
    sizes = [160, *[width] * layers, 10]
    nodes, weights, name = [], [], "x"
    for place, (rows, columns) in enumerate(pairwise(sizes)):
        w = random.normal(size=(rows, columns), scale=rows**-0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"w{place}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{place}"], [f"m{place}"]))
        nodes.append(helper.make_node("Relu", [f"m{place}"], [f"r{place}"]))
        name = f"r{place}"
    nodes.append(helper.make_node("Identity", [name], ["y"]))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 160])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    model = helper.make_model(
        helper.make_graph(nodes, "network", [given], [out], weights),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    made = Variant(
        "onnxruntime",
        "1",
        "fp32",
        "model.onnx",
        (TensorInfo("x", ("N", 160), "float32"),),
        (TensorInfo("y", ("N", 10), "float32"),),
        "sha256:0",
        files=entries(folder),
    )
    write_variant(folder, made)
    return folder


def capacity(server, body):
    """Return the seconds that a request takes when one follows another."""
    host, _, port = server.url().rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    kind = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        connection.request("POST", "/v1/predict", body, kind)
        connection.getresponse().read()
        times.append(time.perf_counter() - begun)
    connection.close()
    return statistics.median(times[300:])


def npy(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def swaps(home, folders, count):
    """Swap some times where nobody asks; an even number, so that all is as before."""
    return [swap(home, folders, number) for number in range(1, count + 1)]


def swap(home, folders, number):
    """Bring the next model into service; return when it began and ended."""
    begun = time.monotonic()
    verdict = activate(home, folders[number % len(folders)])
    assert verdict.accepted, verdict
    switch(home, folders[number % len(folders)], folders[(number - 1) % len(folders)])
    verdict.commit()
    return begun, time.monotonic()


def percentile(values, share):
    return float(np.percentile(np.array(values) * 1e3, share)) if len(values) else float("nan")


class Load:
    """Requests from a process of their own, ``rate`` a second for ``seconds``."""

    def __init__(self, url, body, rate, seconds) -> None:
        command = [sys.executable, "-m", "tests.bench._open_loop", url, body, rate, seconds]
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE)

    def ended(self):
        """Return what it found and the processor time that it took, once it has ended."""
        told = json.loads(self.process.communicate()[0])
        return told["found"], told["processor_s"]


def sustained(server, body):
    """Return how many requests a second take ``CORES`` of processor in all, who asks included."""
    rate, seconds = 0.25 / capacity(server, body.read_bytes()), 3.0
    before = tree_s(server.process.pid)
    _, asked_s = Load(server.url(), body, rate, seconds).ended()
    return rate * CORES / ((tree_s(server.process.pid) - before + asked_s) / seconds)


def during(found, windows):
    return [took for due, took, _ in found if any(b <= due <= e for b, e in windows)]


def ratio(found, one, other):
    """Return the median over groups of swaps of how their p99 compare; a group has enough requests."""
    groups = [slice(begin, begin + GROUP) for begin in range(0, len(one), GROUP)]
    return statistics.median(
        percentile(during(found, one[group]), 99) / percentile(during(found, other[group]), 99)
        for group in groups
    )


@pytest.mark.parametrize("isolate", [False, True], ids=["here", "child"])
def test_swap_under_load(tmp_path, capsys, isolate):
    home = tmp_path / "home"
    folders = [network(home / "slots" / f"{n:016x}", n) for n in range(2)]
    switch(home, folders[0])
    body = tmp_path / "body.npy"
    body.write_bytes(npy(np.random.default_rng(0).normal(size=(1, 160)).astype(np.float32)))
    options = {"probation_s": 0, "probation_requests": 1, "warm_tolerance": 1.0, "isolate": isolate}
    with Running(home, "--port", "0", **options) as server:
        rate = sustained(server, body)
        lasts = max(percentile([e - b for b, e in swaps(home, folders, 2)], 50) / 1e3, 0.1)
        # Two stretches as long as a swap before each: steady, and steady again to compare with.
        load = Load(server.url(), body, rate, ROUNDS * (5 * lasts + 0.4) + 2)
        time.sleep(1.0)
        before, begun = tree_s(server.process.pid), time.monotonic()
        steady, again, swapped = [], [], []
        for number in range(1, ROUNDS + 1):
            time.sleep(0.1)
            for stretch in (steady, again) if number % 2 else (again, steady):
                stretch.append((time.monotonic(), time.monotonic() + lasts))
                time.sleep(lasts)
            begin, end = swap(home, folders, number)
            swapped.append((begin, end + SETTLE_S))
            time.sleep(SETTLE_S)
        took = tree_s(server.process.pid) - before
        took /= time.monotonic() - begun
        found, _ = load.ended()
    assert not Counter(why for *_, why in found if why)
    assert found[-1][0] > swapped[-1][1]
    with capsys.disabled():
        sys.stdout.write(
            f"\nswap ({'child' if isolate else 'here'}): {len(swapped)} swaps of "
            f"{percentile([e - b for b, e in swapped], 50) - SETTLE_S * 1e3:.0f} ms, "
            f"{len(found)} requests at {rate:.0f}/s ({CORES} cores in all without swaps, the server "
            f"{took:.2f} with them), none failed; "
            f"p50 {percentile(during(found, steady), 50):.2f} -> "
            f"{percentile(during(found, swapped), 50):.2f} ms, "
            f"p99 {percentile(during(found, steady), 99):.2f} -> "
            f"{percentile(during(found, swapped), 99):.2f} ms; "
            f"median ratio {ratio(found, swapped, steady):.2f}, "
            f"of steady to steady {ratio(found, again, steady):.2f}"
        )


def test_going_back_takes_little(tmp_path, monkeypatch, capsys):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    cue = home / "cue"
    old = slot(home, "old", 1.0)
    switch(home, old)
    quick = {"cooldown_s": 0, "warm_tolerance": 1000, "openings": 1}
    told, linked = [], []
    for number in range(5):
        with Running(home, **quick) as server:
            bad = slot(home, f"bad {number}", 2.0, cue=str(cue), run="shape")
            verdict = activate(home, bad)
            switch(home, bad, old)
            verdict.commit()
            cue.touch()
            begun = time.perf_counter()
            assert server.predict() == (200, 1.0)
            told.append(time.perf_counter() - begun)
            while (home / "current").resolve() != old:
                time.sleep(0.001)
            linked.append(time.perf_counter() - begun)
            cue.unlink()
    assert max(linked) < 1.0
    with capsys.disabled():
        sys.stdout.write(
            f"\nrollback: the old one answered the very request, after {max(told) * 1e3:.1f} ms at "
            f"most; the agent's links and state after {max(linked) * 1e3:.0f} ms at most"
        )


def tree_s(pid):
    """Return the processor time of a process, its children, and those that have ended."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(path.parent.name) == pid:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            total += sum(map(int, fields[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def processor_s(pid):
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_serving_costs_a_request(tmp_path, capsys):
    """Processor time is told beside the clock's, for the clock counts the neighbours too."""
    home = tmp_path / "home"
    folder = network(home / "slots" / f"{0:016x}", 0)
    switch(home, folder)
    given = {"x": np.random.default_rng(0).normal(size=(1, 160)).astype(np.float32)}
    predictor, times, cpu = Predictor(folder), [], time.process_time()
    for _ in range(CALLS):
        begun = time.perf_counter()
        predictor.predict(given)
        times.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / CALLS * 1e6
    rows = [
        f"\nserving: Predictor {statistics.median(times) * 1e6:.0f} us, {cpu:.0f} us of processor"
    ]
    for isolate in (False, True):
        with Running(home, "--port", "0", isolate=isolate) as server:
            before = processor_s(server.process.pid)
            took = capacity(server, npy(given["x"])) * 1e6
            cpu = (processor_s(server.process.pid) - before) / CALLS * 1e6
        where = "child" if isolate else "here"
        rows.append(f"  {where}: {took:.0f} us over HTTP, {cpu:.0f} us of the server's processor")
    with capsys.disabled():
        sys.stdout.write("\n".join(rows))
