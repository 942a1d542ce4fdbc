"""A server follows HOME/current by itself, also when that goes wrong for a while."""

from __future__ import annotations

import time

from edgeops.runtime.serving import serving as module
from edgeops.runtime.serving.options import Options
from edgeops.runtime.serving.serving import Serving
from tests.unit._bundles import make_bundle
from tests.unit.test_predictor import _unpacked as unpacked
from tests.unit.test_serving_models import Clock


def ticked(serving, until):
    """Let the clock of the house tick until something is so, and return whether it came to be."""
    end = time.monotonic() + 20
    while not until() and time.monotonic() < end:
        serving.tick()
        time.sleep(0.01)
    return until()


def test_server_without_a_model_follows_the_link(tmp_path):
    """As one that was started while the first update was switching."""
    folder = unpacked(tmp_path / "slots" / "first", make_bundle(tmp_path))
    serving = Serving(tmp_path, Options())
    serving.tick()
    (tmp_path / "current").symlink_to(folder)
    assert ticked(serving, lambda: serving.line.current is not None)
    assert serving.line.current.slot == folder.resolve()
    serving.close()


def test_what_was_not_loaded_is_tried_again_ever_later(tmp_path, monkeypatch):
    folder = unpacked(tmp_path / "slots" / "first", make_bundle(tmp_path))
    (tmp_path / "current").symlink_to(folder)
    loads, real, clock = [], module.load, Clock()

    def load(slot, options):
        loads.append(clock.now)
        if len(loads) <= 3:
            raise MemoryError
        return real(slot, options)

    monkeypatch.setattr(module, "load", load)
    serving = Serving(tmp_path, Options(), clock=clock)
    for wait in (10, 20, 40):
        assert ticked(serving, lambda: serving._failed[2] == wait)  # noqa: B023 - called at once
        assert "MemoryError" in serving.trouble
        clock.now += wait - 1
        for _ in range(5):
            serving.tick()
        clock.now += 1
    assert ticked(serving, lambda: serving.line.current is not None)
    assert (loads, serving.trouble) == ([0, 10, 30, 70], "")
    serving.close()
