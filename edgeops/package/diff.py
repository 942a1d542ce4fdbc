"""Two variants or two bundles side by side: every difference as one change.

A change is ``{where, what, before, after}``; ``before`` or ``after`` is None where there was or is
nothing. Compared are the values, so this part is pure; reading them is the rest of the module.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from edgeops.core.variant import FILE, read_variant
from edgeops.errors import InputError
from edgeops.package.bundle import is_bundle, open_bundle
from edgeops.package.chain import read_evidence, read_variants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeops.core.evidence import Evidence
    from edgeops.core.manifest import Layer
    from edgeops.core.variant import Variant
    from edgeops.package.bundle import Bundle

_NONE: dict[str, Any] = {}


def diff(root: Path, before: str, after: str) -> dict[str, Any]:
    """Compare two variant folders, two bundles, or the metrics of two git revisions.

    Raises InputError ``diff-mixed`` when the two are of different kinds, ``revision-unknown`` when
    DVC cannot read the metrics of a revision, and what reading them raises.
    """
    kinds = _kind(root / before), _kind(root / after)
    if kinds[0] != kinds[1]:
        words = {"revision": "no file or folder, so a git revision"}
        said = [words.get(kind, f"a {kind}") for kind in kinds]
        raise InputError(
            "diff-mixed",
            f"{before} is {said[0]}, {after} is {said[1]}",
            where=before,
            why="only things of one kind can be compared",
            fix="name two variant folders, two bundles or two git revisions",
        )
    result = {"kind": kinds[0], "a": before, "b": after}
    if kinds[0] == "revision":
        return {**result, "changes": _revisions(root, before, after)}
    if kinds[0] == "variant":
        first, second = dict(_variant_in(root / before)), dict(_variant_in(root / after))
        return {**result, "changes": compare(first, second)}
    with open_bundle(root / before) as old:
        first, layers = _describe(old), old.manifest.layers
    with open_bundle(root / after) as new:
        changes = compare(first, _describe(new))
        return {**result, "changes": changes, "layers": compare_layers(layers, new.manifest.layers)}


def compare(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the changes between two ``{where: {what: value}}``, sorted; pure."""
    changes = []
    for where in sorted({*before, *after}):
        old, new = before.get(where, _NONE), after.get(where, _NONE)
        changes += [
            {"where": where, "what": what, "before": old.get(what), "after": new.get(what)}
            for what in sorted({*old, *new})
            if old.get(what) != new.get(what)
        ]
    return changes


def compare_layers(before: Sequence[Layer], after: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return every file of two bundles and whether a device would fetch it anew, by path; pure.

    ``change`` is unchanged, changed, added or removed. A file sealed again is changed: its
    plaintext may be the same (``content`` is), its bytes are not.
    """
    old, new = ({item.path: item for item in side} for side in (before, after))
    return [_layer(path, old.get(path), new.get(path)) for path in sorted({*old, *new})]


def _layer(path: str, before: Layer | None, after: Layer | None) -> dict[str, Any]:
    change = "added" if before is None else "removed" if after is None else "changed"
    if before is not None and after is not None and before == after:
        change = "unchanged"
    there = after or before
    return {
        "path": path,
        "kind": there.kind if there else "",
        "target": there.target if there else None,
        "change": change,
        "before": _file(before),
        "after": _file(after),
    }


def _file(layer: Layer | None) -> dict[str, Any] | None:
    if layer is None:
        return None
    about = {"bytes": layer.blob.size, "digest": layer.blob.digest}
    return about if layer.seal is None else {**about, "content": layer.content.digest}


def _kind(path: Path) -> str:
    if path.is_dir():
        return "variant"
    return "bundle" if is_bundle(path) or path.exists() else "revision"


def _variant_in(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    inner = sorted(path.glob(f"variants/*/{FILE}"))
    if inner and not (path / FILE).is_file():
        raise InputError(
            "variant-missing",
            f"{path} is not a variant: it has no {FILE}",
            where=str(path),
            why="it is an unpacked bundle",
            fix=f"name a variant in it, such as {inner[0].parent}, or compare the bundles",
        )
    return _variant("", read_variant(path))


def _describe(bundle: Bundle) -> dict[str, dict[str, Any]]:
    described = {
        "bundle": {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "digest": bundle.digest,
            "signed": bundle.signature_descriptor is not None,
        }
    }
    for layer in bundle.manifest.layers:
        if layer.kind != "variant":
            described[layer.path] = {"bytes": layer.content.size, "sha256": layer.content.hex}
    for target, variant in read_variants(bundle).items():
        described.update(_variant(f"{target}/", variant))
    for target, evidence in read_evidence(bundle).items():
        described.update(_evidence(f"{target}/", evidence))
    return described


def _variant(prefix: str, variant: Variant) -> Iterator[tuple[str, dict[str, Any]]]:
    about = {
        "engine": f"{variant.engine} {variant.engine_version}",
        "precision": variant.precision,
        "source": variant.source,
        "digest": variant.digest,
        "bytes": variant.bytes,
    }
    for side, tensors in (("input", variant.inputs), ("output", variant.outputs)):
        for tensor in tensors:
            about[f"{side} {tensor.name}"] = f"{tensor.dtype}{list(tensor.shape)}"
    yield f"{prefix}{FILE}", about
    for entry in variant.files:
        yield f"{prefix}{entry.path}", {"bytes": entry.bytes, "sha256": entry.sha256}


def _evidence(prefix: str, evidence: Evidence) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"{prefix}figures", {name: figure.value for name, figure in evidence.figures.items()}
    yield f"{prefix}gates", {gate.name: f"{gate.bound}: {gate.verdict}" for gate in evidence.gates}


def _revisions(root: Path, before: str, after: str) -> list[dict[str, Any]]:
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", "metrics", "diff", "--json", "--", before, after],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if answer.returncode:
            raise ValueError(_told(answer.stderr) or f"dvc ended with {answer.returncode}")
        files: dict[str, dict[str, dict[str, Any]]] = json.loads(answer.stdout or "{}")
        if not files and not _committed(root):  # DVC takes any name there, and finds nothing
            raise ValueError("the repository has no commit yet")
    except ValueError as error:
        raise InputError(
            "revision-unknown",
            f"{before} and {after} are no variants, no bundles and no revisions to compare",
            where=str(root),
            why=str(error),
            fix="check the spelling; for revisions stand in the project (edgeops -C DIR diff A B)",
        ) from error
    return [
        {"where": path, "what": name, "before": item.get("old"), "after": item.get("new")}
        for path, figures in sorted(files.items())
        for name, item in sorted(figures.items())
        if item.get("old") != item.get("new")
    ]


def _told(stderr: str) -> str:
    """Return what DVC says in its last line, in our words where they are clearer."""
    last = (stderr.strip().splitlines() or [""])[-1].removeprefix("ERROR: ")
    return "the folder is in no git repository" if "Only supported for Git" in last else last


def _committed(root: Path) -> bool:
    command = ["git", "rev-parse", "--quiet", "--verify", "HEAD"]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
