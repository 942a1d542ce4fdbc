"""A hundred swaps while requests come at their own pace: none is lost, each has one model's answer."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest

from edgeops.runtime.serving.activate import activate
from tests import serving
from tests.serving import Running, X, slot, switch

SWAPS = 100
CLIENTS, RATE = 4, 40.0  # requests a second of each client
BODY = json.dumps({"inputs": {"x": X}})


class Client(threading.Thread):
    """Sends a request at each of its times, however long the ones before took."""

    def __init__(self, url, start, stop) -> None:
        super().__init__()
        self.url, self.begin, self.stop = url, start, stop
        self.found, self.failed = [], []

    def run(self):
        host, _, port = self.url.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        number = 0
        while not self.stop.is_set():
            at = self.begin + number / RATE
            number += 1
            time.sleep(max(0.0, at - time.monotonic()))
            try:
                connection.request("POST", "/v1/predict", BODY)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except Exception as error:  # noqa: BLE001 - whatever it is, the request was lost
                self.failed.append(repr(error))
                return
            if response.status != 200:
                self.failed.append(answer)
                continue
            numbers = {value for row in answer["outputs"]["y"] for value in row}
            self.found.append(
                (answer["digest"], tuple(numbers), response.headers["X-Edgeops-Digest"])
            )
        connection.close()


@pytest.mark.slow
def test_hundred_swaps_under_load_lose_nothing(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    folders = [slot(home, f"model {number}", float(number)) for number in range(3)]
    switch(home, folders[0])
    options = {"probation_s": 0, "probation_requests": 3, "warm_tolerance": 1000}
    with Running(home, "--port", "0", **options) as server:
        digests = [server.status()["current"]["digest"]]
        stop, begin = threading.Event(), time.monotonic()
        clients = [Client(server.url(), begin, stop) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for number in range(1, SWAPS + 1):
            new, old = folders[number % 3], folders[(number - 1) % 3]
            verdict = activate(home, new)
            assert verdict.accepted, verdict
            switch(home, new, old)
            verdict.commit()
            if number < 3:
                digests.append(verdict.figures["digest"])
        stop.set()
        for client in clients:
            client.join()
        status = server.status()
    assert [client.failed for client in clients] == [[]] * CLIENTS
    answers = {digest: float(number) for number, digest in enumerate(digests)}
    found = [each for client in clients for each in client.found]
    assert all(numbers == (answers[digest],) for digest, numbers, _ in found)
    assert all(digest == header for digest, _, header in found)
    assert {digest for digest, _, _ in found} == set(digests)
    assert status["current"]["digest"] == digests[SWAPS % 3]
    assert (status["refused"], status["trouble"]) == ({}, "")
