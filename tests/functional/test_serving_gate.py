"""The warm-up gate with a real server and without one: what is refused leaves the old one serving."""

from __future__ import annotations

import numpy as np
import pytest

from edgeops.core.digest import digest, sha256_file
from edgeops.core.manifest import FILE, Descriptor, Layer, Manifest, baseline_path
from edgeops.core.variant import read_variant
from edgeops.runtime.baseline import Baseline, write_baseline
from edgeops.runtime.serving.activate import activate
from tests import serving
from tests.helpers import build_tree
from tests.serving import Running, slot, switch

# How long a good candidate may take on a machine that is busy; tests of bad ones say less.
PATIENT = {"warm_deadline_s": 30.0, "load_timeout_s": 60.0}


@pytest.fixture
def home(tmp_path, monkeypatch):
    serving.install(tmp_path / "engine", monkeypatch)
    home = tmp_path / "home"
    switch(home, slot(home, "old", 1.0, pause_s=0.002))
    return home


@pytest.fixture(params=["server", "alone"])
def judged(request, home):
    """Return a function that has a slot judged, by a server that answered before or by a child."""
    if request.param == "alone":
        yield lambda folder, **more: activate(home, folder, {**PATIENT, **more})
        return
    with Running(home, **PATIENT) as server:
        for _ in range(30):
            assert server.predict() == (200, 1.0)
        yield lambda folder, **more: activate(home, folder, more)
        assert server.predict() == (200, 1.0)
        assert server.status()["candidate"] is None


def bundled(home, answer, recorded):
    """Write a slot as the agent does, of a bundle whose baseline says another answer."""
    place, target = home / "slots" / f"{0:016x}-gateway", "gateway"
    folder = place / "variants" / target
    folder.parent.mkdir(parents=True)
    slot(home, "new", answer).rename(folder)
    baseline(place / baseline_path(target), read_variant(folder), recorded)
    kinds = {"variants": "variant", "baseline": "baseline"}
    layers = tuple(
        Layer(_described(place / path), path, kinds[path.partition("/")[0]], target)
        for path in sorted(
            each.relative_to(place).as_posix() for each in place.rglob("*") if each.is_file()
        )
    )
    manifest = Manifest("tiny", "1.0.0", Descriptor("", digest("0" * 64), 0), layers)
    (place / FILE).write_bytes(manifest.encode())
    return place


def _described(path):
    return Descriptor("", digest(sha256_file(path)), path.stat().st_size)


def baseline(path, about, answer, tolerance=1e-3):
    given = np.ones((3, 4), np.float32)
    outputs = {"y": np.full((3, 2), answer, np.float32)}
    names = ("engine", "engine_version", "precision")
    told = {name: getattr(about, name) for name in names}
    told |= {"variant": about.digest, "model": about.source, "data": {}}
    path.parent.mkdir(parents=True)
    write_baseline(path, Baseline(told, 3, {"x": given}, outputs, (0, 1, 2), {}, tolerance))


def test_slow_candidate_is_refused(home, judged):
    slow = slot(home, "new", 2.0, pause_s=0.05)
    verdict = judged(slow, warm_bound_ms=20, warm_deadline_s=1.0)
    assert (verdict.accepted, verdict.code) == (False, "warmup-too-slow")
    assert verdict.figures["mean_last_ms"] >= 50
    assert "had to be at or under" in verdict.why


@pytest.mark.parametrize(
    ("fault", "code"),
    [("nan", "warmup-insane"), ("shape", "warmup-insane"), ("raise", "warmup-failed")],
)
def test_candidate_that_answers_nonsense_is_refused(home, judged, fault, code):
    (home / "cue").touch()
    verdict = judged(slot(home, "new", 2.0, run=fault, cue=str(home / "cue")))
    assert (verdict.accepted, verdict.code) == (False, code)


@pytest.mark.parametrize(("recorded", "accepted"), [(2.0, True), (2.001, True), (2.1, False)])
def test_candidate_is_held_against_its_baseline(home, judged, recorded, accepted):
    verdict = judged(bundled(home, 2.0, recorded))
    assert verdict.accepted is accepted, verdict
    assert verdict.code == ("" if accepted else "warmup-insane")
    assert verdict.figures["baseline_samples"] == 3
    verdict.abort()


def test_candidate_whose_baseline_was_changed_is_refused(home, judged):
    folder = bundled(home, 2.0, 2.0)
    with (folder / baseline_path("gateway")).open("ab") as file:
        file.write(b"\0")
    verdict = judged(folder)
    assert (verdict.accepted, verdict.code) == (False, "warmup-failed")
    assert verdict.why.startswith("digest-mismatch: baseline/gateway.zip")


def test_candidate_that_crashes_or_hangs_harms_nothing(home):
    (home / "cue").touch()
    crashes = slot(home, "new", 2.0, run="abort", cue=str(home / "cue"))
    verdict = activate(home, crashes, PATIENT)
    assert (verdict.accepted, verdict.code) == (False, "warmup-failed")
    assert "ended with -6" in verdict.why
    hangs = slot(home, "other", 2.0, load="hang")
    verdict = activate(home, hangs, {**PATIENT, "load_timeout_s": 1})
    assert (verdict.accepted, verdict.code) == (False, "warmup-failed")
    assert "model-load-hung" in verdict.why


def test_isolated_server_survives_a_candidate_that_crashes(home):
    (home / "cue").touch()
    with Running(home, isolate=True, **PATIENT) as server:
        verdict = activate(home, slot(home, "new", 2.0, run="abort", cue=str(home / "cue")))
        assert (verdict.accepted, verdict.code) == (False, "warmup-failed")
        assert server.predict() == (200, 1.0)


def test_candidate_nobody_decides_about_is_dropped(home):
    with Running(home, **PATIENT | {"prepared_s": 0.2}) as server:
        new = slot(home, "new", 2.0)
        assert activate(home, new).accepted
        server.until(lambda status: status["candidate"] is None)
        status, answer = server.ask("/v1/commit", {})
        assert (status, answer["error"]["code"]) == (409, "serve-not-prepared")
        # The link leads there all the same: it is served without being asked again.
        switch(home, new)
        server.until(lambda _: server.predict() == (200, 2.0))


def test_recorded_requests_warm_the_next_one(home):
    with Running(home, record=3, record_every_s=0, **PATIENT) as server:
        folder = home / "recorded"
        for number in range(5):
            server.predict()
            # One at a time: a request is kept after it was answered, beside the next one else.
            names = [f"{each:010}.request" for each in range(number + 1)][-3:]
            server.until(lambda _: sorted(path.name for path in folder.glob("*")) == names)  # noqa: B023
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert activate(home, slot(home, "new", 2.0)).figures["requests"] == "recorded"


def test_nothing_is_recorded_unless_allowed(home):
    with Running(home, **PATIENT) as server:
        server.predict()
        assert activate(home, slot(home, "new", 2.0)).figures["requests"] == "synthetic"
    assert not (home / "recorded").exists()


OWN = """
import numpy as np

class Session:
    def __init__(self, about):
        self.inputs, self.outputs = about.inputs, about.outputs

    def run(self, arrays):
        return {"y": np.full((len(arrays["x"]), 2), 7, np.float32)}

class Engine:
    name, api = "own", 1

    def available(self):
        return None

    def version(self):
        return "1"

    def load(self, folder, threads=1):
        from edgeops.core.variant import read_variant
        return Session(read_variant(folder))
"""


def test_slot_that_brings_its_engine_runs_in_a_process_of_its_own(home):
    with Running(home, **PATIENT) as server:
        folder = slot(home, "new", 2.0, engine="own")
        build_tree(
            folder / "site",
            {
                "own_engine.py": OWN,
                "own_engine-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: own\nVersion: 1\n",
                "own_engine-1.dist-info/entry_points.txt": (
                    "[edgeops.engines]\nown = own_engine:Engine\n"
                ),
            },
        )
        verdict = activate(home, folder)
        assert verdict.accepted, verdict
        switch(home, folder)
        verdict.commit()
        assert server.predict() == (200, 7.0)
        assert server.status()["current"]["isolated"] is True
        assert server.status()["previous"]["isolated"] is False
