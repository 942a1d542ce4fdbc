# ruff: noqa: INP001, T201 - a script of the Makefile, part of no package; it prints
"""Rank the engines on each model of the corpus, and write the tables of docs/engines.md.

    python scripts/rank_engines.py [--seconds 1.5] [--rounds 3] [--only MODEL,...] [--write]

Each engine gets the model through ``edgeops convert``, proven equal on the corpus's own data. Then
fresh processes of ``edgeops.runtime.probe`` measure it with one thread: the median of their median
latencies (each engine alone in its process, in rounds so that a slow phase of the machine hits all
engines alike), load time, and peak memory above that of a process with numpy alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from _tables import put, table  # noqa: E402 - tests is found below the project's root

from tests.corpus_models import ONNX, CorpusModel  # noqa: E402 - as above

ENGINES = {
    "onnxruntime": ("onnxruntime",),
    "litert": ("ai-edge-litert",),
    "mnn": ("MNN",),
    "ncnn": ("ncnn",),
    "openvino": ("openvino",),
}
MB = 1e6
_TIMEOUT_S = 900.0


def convert(model: CorpusModel, engine: str, corpus: Path, folder: Path) -> dict[str, object]:
    """Convert a model, its open axes fixed where it is refused else; returns what convert says."""
    data = model.data(corpus, folder / "data.npz")
    answer = _convert(model, engine, corpus, folder, data, {})
    return (
        _convert(model, engine, corpus, folder, data, model.shapes) if "error" in answer else answer
    )


def _convert(
    model: CorpusModel,
    engine: str,
    corpus: Path,
    folder: Path,
    data: Path,
    shapes: dict[str, tuple[int, ...]],
) -> dict[str, object]:
    argv = ["convert", str(corpus / model.file), "--to", engine, "-o", str(folder / engine)]
    for name, shape in shapes.items():
        argv += ["--input-shape", f"{name}={','.join(map(str, shape))}"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeops", *argv, "--data", str(data), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def probe(
    folder: Path, engine: str, samples: dict[str, object], seconds: float
) -> dict[str, object]:
    """Measure a variant in a process of its own."""
    from edgeops.validate.devices.local import LocalDevice

    request = {
        "do": "measure",
        "variant": engine,
        "threads": 1,
        "few": samples,
        "seconds": seconds,
        "least": 20,
    }
    return LocalDevice(folder).run(request, timeout_s=_TIMEOUT_S)


def measure(model: CorpusModel, corpus: Path, seconds: float, rounds: int) -> dict[str, object]:
    """Return the figures of all engines for one model, and why an engine has none."""
    from edgeops.core.contracts import Samples
    from edgeops.project.datasets import load_samples
    from edgeops.runtime.probe import write_samples

    rows: dict[str, list[dict[str, object]]] = {}
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for engine in ENGINES:
            answer = convert(model, engine, corpus, folder)
            if "error" in answer:
                refused[engine] = answer["error"]["code"]
            else:
                rows[engine] = []
        given = load_samples("data.npz", folder)
        one = Samples({k: a[:1] for k, a in given.arrays.items()}, None, 1, "", "")
        samples = write_samples(folder / "few.npz", one)
        for index in range(rounds):
            for engine in sorted(rows, reverse=bool(index % 2)):
                rows[engine].append(probe(folder, engine, samples, seconds))
    return {"rows": rows, "refused": refused}


def installed_mb(names: tuple[str, ...]) -> float:
    """Return the size of the files that distributions installed."""
    files = [file for name in names for file in distribution(name).files or ()]
    paths = {Path(str(file.locate())) for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file()) / MB


def figures(found: list[dict[str, object]]) -> dict[str, float]:
    """Return the median of each figure over processes."""
    p50 = [statistics.median(run["latency_ns"]) / 1e6 for run in found]
    return {
        "p50_ms": statistics.median(p50),
        "load_ms": statistics.median(run["load_ms"] for run in found),
        "first_ms": statistics.median(run["first_call_ms"] for run in found),
        "peak_mb": statistics.median(run["peak_rss_bytes"] for run in found) / MB,
    }


def ranking(results: dict[str, dict[str, object]]) -> str:
    """Return the tables: latency by model and engine, then load, first call and memory."""
    parts = []
    titles = {
        "p50_ms": "Hot latency, p50 in ms (the fastest in bold)",
        "load_ms": "Load time in ms",
        "peak_mb": "Peak memory of the process in MB",
    }
    for figure, title in titles.items():
        rows = []
        for model, result in results.items():
            values = {e: figures(runs)[figure] for e, runs in result["rows"].items()}
            best = min(values.values(), default=0.0)
            cells = []
            for engine in ENGINES:
                if engine not in values:
                    cells.append(result["refused"].get(engine, "-"))
                    continue
                text = f"{values[engine]:.3g}"
                cells.append(f"**{text}**" if values[engine] == best else text)
            rows.append([model, *cells])
        parts.append(f"{title}\n\n{table(['model', *ENGINES], rows)}")
    sizes = [["installed MB", *(f"{installed_mb(names):.0f}" for names in ENGINES.values())]]
    parts.append(f"Installed size of the engine's package\n\n{table(['', *ENGINES], sizes)}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure, print, and write the page when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=ROOT.parent / "shared/corpus")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/engines.md")
    options = parser.parse_args()
    os.environ.update(CI="true", DVC_NO_ANALYTICS="1")
    corpus = Path(os.environ.get("EDGEOPS_CORPUS", options.corpus))
    wanted = [m for m in ONNX if not options.only or m.name in options.only.split(",")]
    results = {}
    for model in wanted:
        results[model.name] = measure(model, corpus, options.seconds, options.rounds)
        print(
            model.name, {e: figures(r) for e, r in results[model.name]["rows"].items()}, flush=True
        )
        print("   ", results[model.name]["refused"], flush=True)
    text = ranking(results)
    print(text)
    if options.write:
        put(ROOT / "docs/engines.md", "ranking", text)


if __name__ == "__main__":
    main()
