"""What the corpus tests of several engines do: convert by the command line, ask the result."""

from __future__ import annotations

import json

from edgeops.cli import main
from edgeops.project.datasets import load_samples
from edgeops.runtime.batch import run_batched
from edgeops.runtime.session import load_session


def convert(folder, model, engine, capsys, *options):
    """Convert a file; return the exit code and the JSON that was printed, nothing beside it."""
    argv = ["-C", str(folder), "convert", str(model), "--to", engine, "-o", "v", "--json"]
    code = main([*argv, *options])
    return code, json.loads(capsys.readouterr().out)


def top1(folder, score):
    """Return the share of data.npz for which the variant in ``v`` answers the label."""
    samples = load_samples("data.npz", folder)
    answer = run_batched(load_session(folder / "v"), samples)[score]
    ids = answer if answer.ndim == 1 else answer.argmax(axis=1)
    return float((ids == samples.labels).mean())
