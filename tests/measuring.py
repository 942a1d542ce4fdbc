"""What tests measure: the variant of a tiny model, a request for it, evidence of figures."""

from __future__ import annotations

import numpy as np

from edgeops.core.contracts import Samples
from edgeops.core.evidence import Evidence
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.runtime.probe import FORMAT, write_samples
from tests.helpers import write_tiny_model


def variant(folder, seed=0):
    """Write the variant of a tiny model by hand."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / "model.onnx", seed=seed)
    made = Variant(
        engine="onnxruntime",
        engine_version="1",
        precision="fp32",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", 4), "float32"),),
        outputs=(TensorInfo("probabilities", ("N", 3), "float32"),),
        source="sha256:0",
        files=entries(folder),
    )
    write_variant(folder, made)
    return folder


def pushed(reached, folder):
    """Push a variant and samples, and return the request that measures it."""
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)}
    about = write_samples(folder / "few.npz", Samples(arrays, None, 40, "", ""))
    reached.push(folder / "few.npz", "few.npz")
    if not (folder / "v").exists():
        variant(folder / "v")
    reached.push(folder / "v", "v")
    return {
        "format": FORMAT,
        "do": "measure",
        "variant": "v",
        "threads": 1,
        "few": about,
        "seconds": 0.1,
        "least": 10,
    }


def evidence(figures, **more):
    """Return evidence of a variant with these figures; ``more`` are other fields of it."""
    stated = {
        "target": "gateway",
        "date": "2026-01-01T00:00:00+00:00",
        "engine": "onnxruntime",
        "engine_version": "1.20.0",
        "precision": "int8",
        "threads": 1,
        "device": {"name": "local"},
        "model": "sha256:1",
        "variant": "sha256:2",
        "data": {},
    }
    return Evidence(**{**stated, "figures": figures, **more})
