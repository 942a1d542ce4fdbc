"""Random models on every engine: each ends proven or refused before anything is converted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.core import registry

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("onnxruntime", "litert", "mnn", "ncnn", "openvino")
EXAMPLES = 200


def run(script, engine, *options):
    """Return what a script of the project says of an engine; skip where the engine is missing."""
    for kind in ("engines", "converters"):
        missing = registry.get(kind, engine).available()
        if missing is not None:
            pytest.skip(f"{missing.what}: {missing.fix}")
    command = [sys.executable, str(ROOT / "scripts" / script), engine, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("engine", ENGINES)
def test_random_models_end_proven_or_refused_before(engine):
    done = run("try_random.py", engine, "--examples", str(EXAMPLES))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "proven" in done.stdout
