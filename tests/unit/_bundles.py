"""Variants, evidence and bundles made by hand, with nothing converted or measured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edgeops.core.digest import digest, sha256_file
from edgeops.core.events import Silence
from edgeops.core.evidence import Evidence, write_evidence
from edgeops.core.gates import Figure, judge
from edgeops.core.variant import TensorInfo, Variant, entries, write_variant
from edgeops.package.pack import Contents, pack_files
from edgeops.package.signature import envelope
from edgeops.publish.keys import load_keys
from edgeops.stages.publish import PublishRequest, publish_bundle
from tests.helpers import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_variant(folder: Path, *, seed: int = 0) -> Variant:
    """Write a variant that ONNX Runtime can load: x float32 [N,4] -> probabilities [N,3]."""
    model = write_tiny_model(folder / "model.onnx", seed=seed)
    variant = Variant(
        engine="onnxruntime",
        engine_version="1.20.0",
        precision="fp32",
        model_file="model.onnx",
        inputs=(TensorInfo("x", ("N", 4), "float32"),),
        outputs=(TensorInfo("probabilities", ("N", 3), "float32"),),
        source=digest(sha256_file(model)),
        files=entries(folder),
    )
    write_variant(folder, variant)
    return variant


def make_evidence(
    path: Path, variant: Variant, *, target: str = "gateway", value: float = 0.97, **changes
) -> Evidence:
    """Write evidence of an accuracy of ``value`` with a gate at 0.95."""
    figure = Figure(value, None, "", "counted", 64)
    figures = {"accuracy": figure}
    evidence = Evidence(
        **{
            "target": target,
            "date": "2026-01-01T00:00:00Z",
            "engine": "onnxruntime",
            "engine_version": "1.20.0",
            "precision": "fp32",
            "threads": 1,
            "device": {"name": "a desk"},
            "model": variant.source,
            "variant": variant.digest,
            "data": {"evaluation": {"source": "data.npz", "digest": "sha256:0", "samples": 64}},
            "figures": figures,
            "gates": (judge("accuracy", ">= 0.95", figure),),
            **changes,
        }
    )
    write_evidence(path, evidence)
    return evidence


def make_bundle(
    folder: Path,
    *,
    version: str = "1.0.0",
    seed: int = 0,
    value: float = 0.97,
    key: Path | None = None,
    name: str = "tiny",
    measured: bool = True,
) -> Path:
    """Pack one target ``gateway`` with labels below ``folder`` and return the bundle."""
    variant = make_variant(folder / "gateway", seed=seed)
    make_evidence(folder / "evidence.json", variant, value=value)
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    contents = Contents(
        name,
        version,
        {"gateway": folder / "gateway"},
        {"gateway": folder / "evidence.json"} if measured else {},
        {"labels.txt": folder / "labels.txt"},
    )
    out = folder / f"{name}-{version}.edgeops"
    sign = None
    if key:
        keys = load_keys(key, roles=("targets",))

        def sign(subject):
            return envelope(subject, keys.release_keyid, keys.sign_release)

    return pack_files(contents, out, sign=sign, events=Silence()).path


def release(root: Path, bundle: Path, *, now: datetime | None = START, **changes):
    """Publish ``bundle`` to ``root``/repo on the channel stable with the keys in ``root``/keys."""
    request = PublishRequest(
        **{
            "root": root,
            "bundle": str(bundle),
            "to": "repo",
            "channel": "stable",
            "key": "keys",
            **changes,
        }
    )
    return publish_bundle(request, events=Silence(), now=now)
