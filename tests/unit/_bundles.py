"""Variants, evidence and bundles made by hand, with nothing converted or measured."""

from __future__ import annotations

import zipfile
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
    """Write evidence of an accuracy of ``value`` with a gate at 0.95; no two took the same memory."""
    figure = Figure(value, None, "", "counted", 64)
    figures = {"accuracy": figure, "peak_rss_mb": Figure(40 + value, None, "MB", "VmHWM", 1)}
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


FEATURES = "format: edgeops.features/1\ninputs:\n  x: {kind: tensor, dtype: float32, shape: [4]}\n"
RULES = """\
format: edgeops.rules/1
models: {other: camera}
rules:
  - answer: {found: true}
"""


def make_wheel(
    folder: Path,
    name: str = "onnxruntime",
    version: str = "1.20.0",
    platform: str = "manylinux_2_28_aarch64",
    *,
    files: dict[str, bytes] | None = None,
    requires: tuple[str, ...] = (),
    said: str = "",
) -> Path:
    """Write a wheel with the same bytes each time; ``said`` is another platform inside of it."""
    path = folder / f"{name}-{version}-cp311-cp311-{platform}.whl"
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += "".join(f"Requires-Dist: {text}\n" for text in requires)
    content = {
        f"{name}/__init__.py": b"",
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: cp311-cp311-{said or platform}\n".encode(),
        **(files or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in content.items():
            archive.writestr(zipfile.ZipInfo(inner), data)
    return path


def full_contents(folder: Path, **changes) -> Contents:
    """Write two variants and all that can go with them; the agent's program only when asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, target in enumerate(("gateway", "camera")):
        variant = make_variant(folder / target, seed=seed)
        make_evidence(folder / f"{target}.json", variant, target=target)
    texts = {"features.yaml": FEATURES, "rules.yaml": RULES, "labels.txt": "cat\ndog\nbird\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return Contents(
        **{
            "name": "tiny",
            "version": "1.0.0",
            "folders": {target: folder / target for target in ("gateway", "camera")},
            "evidence": {target: folder / f"{target}.json" for target in ("gateway", "camera")},
            "include": {name: folder / name for name in texts},
            "wheels": {"gateway": [make_wheel(folder / "wheels")]},
            "sdk": ("python", "cpp", "kotlin"),
            **changes,
        }
    )


def pack_full(folder: Path, **changes) -> Path:
    """Pack :func:`full_contents` below ``folder`` and return the bundle."""
    contents = full_contents(folder, **changes)
    return pack_files(contents, folder / "full.edgeops", sign=None, events=Silence()).path
