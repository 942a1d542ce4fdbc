"""Engines that would report to their makers are told not to, before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers import write_tiny_model

RUN = """
import sys
from pathlib import Path
from edgeops.runtime.engines.onnxruntime import OnnxRuntimeSession
import numpy as np
session = OnnxRuntimeSession(Path(sys.argv[1]))
session.run({"x": np.zeros((1, 4), "float32")})
print(sorted(path.name for path in Path.home().rglob("*")))
"""


def test_onnx_runtime_keeps_no_identity_and_nothing_to_send(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx")
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k[:4] not in {"XDG_", "ORT_"}}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(model)],
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_whoever_wants_to_report_may(tmp_path):
    ask = "import edgeops, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, seen in ((None, "1"), ("0", "0")):
        kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        given_env = {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env={**kept, **given_env},
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stdout.strip() == seen
