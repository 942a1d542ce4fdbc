"""What a swap costs the requests that come meanwhile, how long going back takes, what serving costs.

Requests come at their own pace (open loop), at about half of what one core answers; a response time
counts from when a request was due. Figures of a machine that has other work say little: the ratio of p99
between steady stretches, where nothing is swapped, is printed beside.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import threading
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

CLIENTS = 4
STEADY_S, ROUNDS = 4.0, 12
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


class Client(threading.Thread):
    """Sends a request at each of its times; remembers (when due, seconds, why it was refused)."""

    def __init__(self, url, body, begin, every, stop) -> None:
        super().__init__()
        self.url, self.body, self.begin, self.every, self.stop = url, body, begin, every, stop
        self.found = []

    def run(self):
        host, _, port = self.url.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        kind = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
        number = 0
        while not self.stop.is_set():
            due = self.begin + number * self.every
            number += 1
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("POST", "/v1/predict", self.body, kind)
            response = connection.getresponse()
            data = response.read()
            why = "" if response.status == OK else json.loads(data)["error"]["code"]
            self.found.append((due, time.perf_counter() - due, why))
        connection.close()


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


def swap(home, folders, number):
    """Bring the next model into service; return when it began and ended."""
    begun = time.perf_counter()
    verdict = activate(home, folders[number % len(folders)])
    assert verdict.accepted, verdict
    switch(home, folders[number % len(folders)], folders[(number - 1) % len(folders)])
    verdict.commit()
    return begun, time.perf_counter()


def percentile(values, share):
    return float(np.percentile(np.array(values) * 1e3, share)) if len(values) else float("nan")


@pytest.mark.parametrize("isolate", [False, True], ids=["here", "child"])
def test_swap_under_load(tmp_path, capsys, isolate):
    home = tmp_path / "home"
    folders = [network(home / "slots" / f"{n:016x}", n) for n in range(2)]
    switch(home, folders[0])
    body = npy(np.random.default_rng(0).normal(size=(1, 160)).astype(np.float32))
    options = {"probation_s": 0, "probation_requests": 1, "warm_tolerance": 1.0, "isolate": isolate}
    with Running(home, "--port", "0", **options) as server:
        alone = capacity(server, body)
        every = CLIENTS * alone * 2
        stop, begin = threading.Event(), time.perf_counter()
        clients = [
            Client(server.url(), body, begin + place * every / CLIENTS, every, stop)
            for place in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        # Steady stretches and swaps take turns, so that both meet the same neighbours.
        swaps = []
        for number in range(1, ROUNDS + 1):
            time.sleep(STEADY_S / ROUNDS)
            swaps.append(swap(home, folders, number))
        time.sleep(STEADY_S / ROUNDS)
        stop.set()
        for client in clients:
            client.join()
    found = [each for client in clients for each in client.found]
    during = [took for due, took, _ in found if any(b <= due <= e + 0.05 for b, e in swaps)]
    halves: list[list[float]] = [[], []]
    for due, took, _ in found:
        if not any(begun <= due <= ended + 0.05 for begun, ended in swaps):
            halves[sum(due > ended for _, ended in swaps) % 2].append(took)
    steady = halves[0] + halves[1]
    failed = Counter(why for *_, why in found if why)
    assert not failed
    with capsys.disabled():
        lasted = statistics.median(end - begun for begun, end in swaps) * 1e3
        sys.stdout.write(
            f"\nswap ({'child' if isolate else 'here'}): {len(swaps)} swaps of {lasted:.0f} ms, "
            f"{len(found)} requests at {1 / alone / 2:.0f}/s, none failed; "
            f"p50 {percentile(steady, 50):.2f} -> {percentile(during, 50):.2f} ms, "
            f"p99 {percentile(steady, 99):.2f} -> {percentile(during, 99):.2f} ms: "
            f"ratio {percentile(during, 99) / percentile(steady, 99):.2f}, between every other steady "
            f"stretch {percentile(halves[1], 99) / percentile(halves[0], 99):.2f}"
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
