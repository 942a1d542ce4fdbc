"""What becomes of converters that misbehave: contained, refused, their last words told."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from edgeops.convert import suspect
from edgeops.convert.contain import contained
from edgeops.convert.landlock import version
from edgeops.core.events import Silence
from edgeops.core.variant import read_variant
from edgeops.errors import MissingError, RefusedError
from tests.contract._badly_behaved import install
from tests.functional import _bad_models as bad

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own fences are Linux's")
confined = pytest.mark.skipif(not version(), reason="this kernel has no Landlock")


@pytest.fixture
def request_for(tmp_path, monkeypatch):
    """Return a function that makes the request to convert a linear model with a bad converter."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(install(plugins)), prepend=os.pathsep)
    work = tmp_path / "work"
    work.mkdir()
    model = bad.linear(work / "m.onnx", 2.0)
    out = work / "out"
    out.mkdir()

    def make(via, **changes):
        return {
            "task": "convert",
            "model": str(model),
            "kind": "onnx",
            "out": str(out),
            "engine": "onnxruntime",
            "via": via,
            "precision": "fp32",
            "input_shapes": {},
            "simplify": True,
            "form": "onnx",
            "opset": 17,
            "samples": None,
            "data": "",
        } | changes

    return make


def refused(request, kind=RefusedError, timeout_s=60):
    with pytest.raises(kind) as caught:
        contained(request, model_bytes=1000, timeout_s=timeout_s)
    return caught.value


@pytest.mark.parametrize(
    ("via", "code", "words"),
    [
        ("crashes", "convert-crashed", "heap is on fire"),
        ("segfaults", "convert-crashed", "it said nothing"),
        ("quits", "convert-crashed", "Converted Success!"),
        ("raises", "convert-crashed", "no such layer"),
        ("floods", "convert-crashed", "that was too much"),
        ("deafens", "convert-crashed", "it said nothing"),
        ("hungry", "convert-memory", "MemoryError"),
        ("empty", "convert-empty", "model.onnx is empty"),
        ("nothing", "convert-empty", "model.onnx is not there"),
        ("noise", "engine-load-failed", "everything went well"),
        ("speechless", "convert-garbage", "NoneType"),
        ("renames", "convert-garbage", "input_0"),
        ("links", "convert-garbage", "weights.bin is a link"),
    ],
)
def test_converter_that_fails_is_refused_with_its_last_words(via, code, words, request_for):
    error = refused(request_for(via))
    assert error.code == code
    assert words in error.why
    assert error.fix


def test_converter_that_dies_of_a_signal_is_refused_naming_it(request_for):
    assert "died of SIGABRT" in refused(request_for("crashes")).what
    assert "died of SIGSEGV" in refused(request_for("segfaults")).what
    assert "ended with status 0 without a result" in refused(request_for("quits")).what


def enough(request_for):
    """Return a time in which a converter gets to its work, however busy the machine is."""
    begun = time.monotonic()
    refused(request_for("crashes"))
    return 2 + 3 * (time.monotonic() - begun)


def test_converter_that_hangs_is_ended(request_for):
    error = refused(request_for("hangs"), timeout_s=enough(request_for))
    assert error.code == "convert-timeout"
    assert "thinking" in error.why


def gone(pid):
    """Return whether a process has ended; one that nobody reaped yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


@linux
@pytest.mark.parametrize(("via", "code"), [("leaves", None), ("drags", "convert-timeout")])
def test_processes_that_a_converter_leaves_behind_are_ended(via, code, request_for):
    request = request_for(via)
    if code:
        assert refused(request, timeout_s=2 + enough(request_for)).code == code
    else:
        answer = contained(request, model_bytes=1000, timeout_s=60)
        assert any("outlived it" in note for note in answer["notes"])
    pids = [int(path.read_text()) for path in Path(request["out"]).glob("pid_*")]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_converter_that_prints_does_not_disturb_the_answer(request_for):
    answer = contained(request_for("chatty"), model_bytes=1000)
    assert answer["variant"]["parity"]["passed"] is True


def test_converter_that_closes_its_output_is_no_trouble(request_for):
    answer = contained(request_for("closes"), model_bytes=1000)
    assert answer["variant"]["parity"]["passed"] is True


@linux
def test_converter_that_dies_leaves_no_core_dump(request_for):
    assert "core (0, 0)" in refused(request_for("dumps")).why


@confined
@pytest.mark.parametrize("via", ["strays", "sneaks", "overwrites", "wipes"])
def test_converter_that_writes_beside_its_folder_is_stopped_and_refused(via, request_for):
    request = request_for(via)
    folder = Path(request["model"]).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    error = refused(request)
    assert error.code == "convert-strayed"
    assert str(folder) in error.where
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@confined
def test_program_that_writes_beside_the_folder_is_stopped_too(request_for):
    request = request_for("shells")
    error = refused(request)
    assert error.code == "convert-crashed"
    assert "ermission denied" in error.why
    assert not (Path(request["model"]).parent / "converter.log").exists()


@pytest.mark.parametrize("via", ["strays", "shells", "wipes"])
def test_converter_that_writes_beside_its_folder_is_seen_without_help_of_the_kernel(
    via, request_for, monkeypatch
):
    monkeypatch.setenv("EDGEOPS_NO_LANDLOCK", "1")
    error = refused(request_for(via))
    assert error.code == "convert-strayed"
    assert error.where.endswith(("converter.log", "m.onnx"))


def test_weaker_confinement_is_noted(request_for, monkeypatch):
    monkeypatch.setenv("EDGEOPS_NO_LANDLOCK", "1")
    answer = contained(request_for(""), model_bytes=1000)
    assert any("cannot confine where" in note for note in answer["notes"])


def test_converter_may_write_into_its_home_and_scratch_folder(request_for):
    answer = contained(request_for("scratches"), model_bytes=1000)
    assert answer["variant"]["parity"]["passed"] is True
    assert not any("confine" in note for note in answer["notes"]) or not version()


@linux
def test_converter_that_needs_the_network_says_what_for(request_for):
    error = refused(request_for("phones"), MissingError)
    assert error.code == "convert-network"
    assert "models.example.org" in error.where
    assert "last words" in error.why


@linux
def test_converter_that_can_do_without_the_network_is_noted(request_for):
    answer = contained(request_for("asks"), model_bytes=1000)
    assert answer["variant"]["parity"]["passed"] is True
    (note,) = [note for note in answer["notes"] if "network" in note]
    assert "telemetry.example.org" in note


@linux
def test_converter_that_fails_for_another_reason_is_refused_all_the_same(request_for):
    error = refused(request_for("natively"))
    assert error.code == "convert-crashed"
    assert "no such layer" in error.why
    assert "bash" in error.why


@linux
def test_sockets_to_other_machines_are_refused_as_a_network_that_is_down(request_for):
    words = refused(request_for("datagrams")).why
    assert re.findall(r"^\d+$", words, re.MULTILINE) == ["100", "100"]


@pytest.mark.parametrize("via", ["liar", "tapless"])
def test_converter_that_lies_is_refused_naming_output_and_node(via, request_for):
    request = request_for(via)
    error = refused(request)
    assert error.code == "parity-failed"
    assert "'y'" in error.what
    assert error.result["parity"]["norm_ratio"] == pytest.approx(200)
    assert error.result["parity"]["cosine"] == pytest.approx(1)
    told = suspect.with_suspect(error, request, model_bytes=1000, events=Silence())
    assert told.where == "MatMul 'scale'"
    assert "first node that differs is MatMul 'scale'" in told.what
    assert "largest difference" in told.why
    assert told.result["differs"]["norm_ratio"] == pytest.approx(200)
    assert told.result["parity"] == error.result["parity"]
    assert "onnxruntime" not in told.result["alternatives"]


def test_search_that_finds_nothing_leaves_the_refusal_as_it_was(request_for):
    request = request_for("liar")
    error = refused(request)
    broken = {**request, "via": "crashes"}
    told = suspect.with_suspect(error, broken, model_bytes=1000, events=Silence())
    assert (told.code, told.what, told.where) == (error.code, error.what, error.where)


def test_converter_whose_results_cannot_be_run_makes_an_unproven_variant(request_for):
    request = request_for("unrunnable")
    answer = contained(request, model_bytes=1000)
    assert answer["variant"]["parity"] is None
    assert any("its runtime exists for that chip only" in note for note in answer["notes"])
    variant = read_variant(Path(request["out"]))
    assert variant.extra["unproven"] == "its runtime exists for that chip only"
