"""Files out of a bundle: into a new folder that replaces the old one when all is there."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from edgeops.core.files import folder_atomic
from edgeops.core.manifest import FILE, INDEX, KINDS, Manifest
from edgeops.core.targets import parse_targets
from edgeops.errors import InputError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgeops.core.manifest import Descriptor, Layer

    Pieces = Callable[[Descriptor], Iterator[bytes]]


def uses_of(manifest: Manifest, target: str | None, pieces: Pieces) -> tuple[str, ...]:
    """Return the other targets whose variants the rules of a target ask, as targets.json says."""
    layer = manifest.find(INDEX)
    if layer is None or target is None:
        return ()
    needs = parse_targets(b"".join(pieces(layer.blob)), manifest.name).get(target)
    return needs.uses if needs else ()


def choose(
    manifest: Manifest, target: str | None, only: str | None, uses: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """Return the files to take out: with a target, its variant and all that is of no target; pure.

    ``uses`` are other targets whose variants come along.
    Raises InputError ``target-unknown``, UsageProblem ``kind-unknown``.
    """
    if only is not None and only not in KINDS:
        raise UsageProblem(
            "kind-unknown",
            f"no file of a bundle is of the kind {only!r}",
            why=f"the kinds are {', '.join(KINDS)}",
            fix="say one of them with --only, or leave it out for all",
        )
    if target is not None and target not in manifest.targets:
        near = difflib.get_close_matches(target, manifest.targets, n=1)
        raise InputError(
            "target-unknown",
            f"the bundle has no target {target!r}"
            + (f"; did you mean {near[0]!r}?" if near else ""),
            where=f"{manifest.name} {manifest.version}",
            why=f"its targets are {', '.join(manifest.targets) or 'none'}",
            fix="say one of them with --target, or leave it out for all",
        )
    return tuple(
        layer
        for layer in manifest.layers
        if only in (None, layer.kind)
        and (
            target is None
            or layer.target in (None, target)
            or (layer.kind == "variant" and layer.target in uses)
        )
    )


def check_place(out: Path) -> None:
    """Raise InputError ``unpack-would-replace`` unless ``out`` is new, empty or was unpacked."""
    if out.is_dir() and (not any(out.iterdir()) or (out / FILE).is_file()):
        return
    if out.exists():
        raise InputError(
            "unpack-would-replace",
            f"{out} holds something else than an unpacked bundle",
            where=str(out),
            why="unpacking replaces the whole folder, and what is in it would be lost",
            fix="name a new folder with -o",
        )


def write_files(
    out: Path,
    manifest_bytes: bytes,
    layers: Sequence[Layer],
    pieces: Pieces,
    prepare: Callable[[Path], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Write files and bundle.json into ``out``, whole or not at all; ``pieces`` checks digests.

    ``prepare`` puts what else belongs there into the new folder before it is moved in.
    """
    check_place(out)
    with folder_atomic(out) as folder:
        for layer in layers:
            path = folder / layer.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for piece in pieces(layer.blob):
                    file.write(piece)
        (folder / FILE).write_bytes(manifest_bytes)
        prepare(folder)
    return [
        {"path": item.path, "kind": item.kind, "bytes": item.blob.size, "sha256": item.blob.hex}
        for item in layers
    ]
