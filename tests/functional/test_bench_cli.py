"""``edgeops bench`` from the command line: figures, comparison, and what is refused."""

from __future__ import annotations

import json

import pytest

from edgeops.cli import main
from edgeops.errors import TransportError
from tests.helpers import write_tiny_data, write_tiny_model

CODES = {"not slower": 0, "faster": 0, "slower": 11, "inconclusive": 12}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "model.onnx")
    write_tiny_data(tmp_path / "data.npz", tmp_path / "model.onnx")
    assert main(["convert", "model.onnx", "--to", "onnxruntime", "-o", "variant"]) == 0
    return tmp_path


def bench(capsys, *arguments):
    capsys.readouterr()
    code = main(["bench", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_model_file_is_converted_and_measured_on_noise_and_nothing_is_left(project, capsys):
    before = sorted(path.name for path in project.iterdir())
    code, result = bench(capsys, "model.onnx", "--max-seconds", "2")
    assert code == 0
    latency = result["latency_ms"]
    low, high = latency["p50_ci"]
    assert low <= latency["p50"] <= high
    assert latency["p50"] <= latency["p90"] <= latency["p99"]
    assert latency["mean"] > 0
    assert latency["samples"] > 100
    assert result["load_ms"] > 0
    assert 10 < result["peak_rss_mb"] < 2000
    assert result["cpu_ms"] > 0
    assert result["noise"]["level"] in {"quiet", "busy", "throttled"}
    assert result["data"]["source"] == "seeded noise"
    assert any("seeded noise" in note for note in result["notes"])
    assert result["energy_mj"] is not None or result["figures"]["energy_mj"]["absent"]
    assert set(result["memory_mb"]) >= {"load", "run"}
    assert (result["ratio"], result["ratio_ci"], result["against"]) == (None, None, None)
    assert sorted(path.name for path in project.iterdir()) == before


def test_a_variant_is_measured_on_data(project, capsys):
    code, result = bench(capsys, "variant", "--data", "data.npz", "--max-seconds", "1")
    assert code == 0
    assert result["data"]["source"] == "data.npz"
    assert not any("noise" in note for note in result["notes"])
    assert result["variant"] == "variant"


def test_what_takes_too_long_says_which_option_gives_more_time(project, capsys, monkeypatch):
    def late(self, *_words, **_options):
        raise TransportError("probe-timeout", f"longer than {self._timeout_s:g} s")

    monkeypatch.setattr("edgeops.validate.measured.Bench.measure", late)
    for options, seconds in ((), 260), (("--preset", "mlperf"), 3660):
        code, result = bench(capsys, "variant", *options)
        assert code == 30
        assert result["error"]["what"] == f"longer than {seconds} s"
        assert "--max-seconds" in result["error"]["fix"]


@pytest.mark.slow
def test_the_exit_code_is_that_of_the_verdict_and_the_result_is_whole_either_way(project, capsys):
    write_tiny_model(project / "large.onnx", hidden=40_000)
    code, result = bench(capsys, "large.onnx", "--against", "variant", "--max-seconds", "20")
    # Ten times the work is slower, or a neighbour does not let it be said.
    assert result["verdict"] in {"slower", "inconclusive"}
    assert code == CODES[result["verdict"]]
    assert result["error"]["code"] == f"bench-{result['verdict']}"
    against = result["against"]
    assert against["variant"] == "variant"
    assert against["trials"]
    assert against["counted"] + against["disturbed"] == len(against["trials"])
    assert result["ratio"] is None or result["ratio"] > 2
    assert result["ratio_ci"] == against["ratio_ci"]
    assert result["latency_ms"]["p50"] > 0


@pytest.mark.slow
def test_text_shows_figures_noise_and_verdict(project, capsys):
    capsys.readouterr()
    code = main(["bench", "variant", "--against", "variant", "--max-seconds", "3"])
    out = capsys.readouterr().out
    assert code in {0, 12}
    assert out.startswith("variant: onnxruntime ")
    assert "  latency_p50_ms" in out
    assert "the machine was " in out
    assert "against variant (onnxruntime)" in out


REFUSED = {
    "no-file": (["gone.onnx"], 3),
    "no-other": (["variant", "--against", "gone"], 3),
    "other-inputs": (["variant", "--against", "wide"], 3),
    "no-variant": (["."], 3),
    "no-model": (["data.npz"], 3),
    "no-data": (["variant", "--data", "gone.npz"], 3),
    "device-unknown": (["variant", "--device", "toaster"], 4),
    "preset-unknown": (["variant", "--preset", "fast"], 2),
    "preset-too-long": (["variant", "--preset", "mlperf", "--max-seconds", "20"], 2),
    "preset-and-sustained": (["variant", "--preset", "mlperf", "--sustained", "1"], 2),
    "affinity": (["variant", "--affinity", "0-"], 2),
    "other-engine": (["variant", "--to", "litert"], 2),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case, project, capsys, golden):
    arguments, expected = REFUSED[case]
    if "wide" in arguments:
        text = (project / "variant" / "variant.json").read_text()
        (project / "wide").mkdir()
        (project / "wide" / "variant.json").write_text(text.replace('"x"', '"image"'))
        (project / "wide" / "model.onnx").write_bytes(
            (project / "variant" / "model.onnx").read_bytes()
        )
    capsys.readouterr()
    assert main(["bench", *arguments]) == expected
    err = capsys.readouterr().err
    golden(f"errors/bench-{case}.txt", err[err.index("error:") :])
