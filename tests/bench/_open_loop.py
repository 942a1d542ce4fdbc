"""A process that sends requests at their own times: ``python -m tests.bench._open_loop URL BODY ...``.

Prints JSON: ``found``, a list of [when due (``time.monotonic``), seconds until answered, why refused],
and ``processor_s``. Of its own, so that it shares no interpreter with what is measured.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

KIND = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
CLIENTS = 4
OK = 200


def client(url: str, body: bytes, times: tuple[float, float, float], found: list) -> None:
    """Send a request each ``every`` seconds from ``begin`` to ``end``."""
    begin, every, end = times
    host, _, port = url.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    due = begin
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/v1/predict", body, KIND)
        response = connection.getresponse()
        data = response.read()
        why = "" if response.status == OK else json.loads(data)["error"]["code"]
        found.append((due, time.monotonic() - due, why))
        due += every
    connection.close()


def main() -> None:
    """Run as many clients as there are, evenly apart, ``rate`` requests a second in all."""
    with suppress(PermissionError):  # what measures should wait for nobody
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    url, path, rate, seconds = sys.argv[1:5]
    body, begin, found = Path(path).read_bytes(), time.monotonic() + 0.1, []
    every = CLIENTS / float(rate)
    end = begin + float(seconds)
    threads = [
        threading.Thread(
            target=client, args=(url, body, (begin + place * every / CLIENTS, every, end), found)
        )
        for place in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"found": found, "processor_s": time.process_time()}, sys.stdout)


if __name__ == "__main__":
    main()
