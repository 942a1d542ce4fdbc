"""Slots: a bundle's files under their own names, made of hard links, complete or not there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgeops.core.manifest import FILE as BUNDLE
from edgeops.core.manifest import Layer, Manifest, parse_manifest
from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import files, log
from edgeops.runtime.agent.blobs import Blobs, proven
from edgeops.runtime.agent.home import slot_name, slot_target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from edgeops.core.manifest import Descriptor
    from edgeops.runtime.agent.home import Home, Slot

SITE = "site"
PROGRAM = "runtime/edgeops-agent.pyz"
_SHARED = ("index", "labels", "baseline", "runtime")
_COMPILED = ("features", "rules")


def wanted(manifest: Manifest, target: str, uses: Collection[str] = ()) -> tuple[Layer, ...]:
    """Return the files that a device with a target fetches; pure.

    Those are what tells about the bundle, its labels, compiled features and rules, the variants of
    the target and of those that its rules ask, its baseline, and what the target runs with.
    """
    targets = {target, *uses}
    return tuple(layer for layer in manifest.layers if _wanted(layer, target, targets))


def _wanted(layer: Layer, target: str, targets: Collection[str]) -> bool:
    if layer.kind == "variant":
        return layer.target in targets
    if layer.target not in (None, target):
        return False
    if layer.kind in _COMPILED:
        return layer.path.endswith(".json")
    return layer.kind in _SHARED


def stage(home: Home, slot: Slot, manifest: Descriptor, layers: Sequence[Layer]) -> Path:
    """Lay out a slot beside its place and move it in; every blob is in storage and was checked.

    One that is there and whole stays, for it may be the one to go back to. Raises TrustError
    ``wheel-unsafe``, MissingError ``disk-full`` before a wheel is unpacked that has no room.
    """
    blobs, place = Blobs(home), home.slot(slot)
    if all((place / layer.path).is_file() for layer in layers) and not damaged(place):
        return place
    files.remove_tree(place)
    new = place.with_name(f".new-{place.name}")
    files.remove_tree(new)
    files.mkdir(new)
    files.link(blobs.path(manifest.hex), new / BUNDLE)
    folders = {new}
    for layer in layers:
        path = new / layer.path
        files.mkdir(path.parent)
        folders.update(parent for parent in path.parents if new in parent.parents)
        files.link(blobs.path(layer.blob.hex), path)
    wheels = [new / each.path for each in layers if _is_wheel(each)]
    if wheels:
        folders.update(_unpacked(wheels, new / SITE, blobs))
    for folder in sorted(folders):
        files.sync_folder(folder)
    files.replace(new, place)
    return place


def _is_wheel(layer: Layer) -> bool:
    return layer.kind == "runtime" and layer.path.endswith(".whl")


def _unpacked(wheels: Sequence[Path], site: Path, blobs: Blobs) -> set[Path]:
    """Unpack wheels below ``site``, and return the folders that were made."""
    from edgeops.runtime.agent.wheels import unpack_wheel, unpacked_bytes

    blobs.room(sum(map(unpacked_bytes, wheels)), 0, None)
    for wheel in wheels:
        unpack_wheel(wheel, site)
    return {site, *(each for each in site.rglob("*") if each.is_dir())}


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a slot; raises OSError or TrustError ``bundle-malformed``."""
    return parse_manifest((folder / BUNDLE).read_bytes(), str(folder / BUNDLE))


def damaged(folder: Path) -> list[str]:
    """Return the hex names of the blobs in a slot whose bytes are not those that were signed.

    A slot whose bundle.json is damaged is wholly so: ``["bundle.json"]``.
    """
    try:
        manifest = read_manifest(folder)
    except (OSError, EdgeopsError):
        return [BUNDLE]
    if slot_name(manifest.descriptor.digest, slot_target(folder.name)) != folder.name:
        return [BUNDLE]
    return [
        layer.blob.hex
        for layer in wanted_here(folder, manifest.layers)
        if not _is(folder / layer.path, layer.blob.hex)
    ]


def wanted_here(folder: Path, layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers that a slot has, or has a part of: whole variants, and what else is there.

    The variant of the target that its name tells is one of them, whether there is any of it or not.
    """
    variants = {path.name for path in folder.glob("variants/*")} | {slot_target(folder.name)}
    return [
        layer
        for layer in layers
        if os.path.lexists(folder / layer.path)
        or (layer.kind == "variant" and str(layer.target) in variants)
    ]


def _is(path: Path, hexadecimal: str) -> bool:
    return path.is_file() and not path.is_symlink() and proven(path, hexadecimal)


def needed(home: Home, slots: Iterable[Slot | None]) -> set[str]:
    """Return the hex names of the blobs that slots are made of."""
    keep: set[str] = set()
    for slot in slots:
        if slot is None:
            continue
        keep.add(slot.digest.partition(":")[2])
        try:
            keep.update(layer.blob.hex for layer in read_manifest(home.slot(slot)).layers)
        except (OSError, EdgeopsError):
            continue
    return keep


def remove_others(home: Home, slots: Iterable[Slot | None]) -> None:
    """Remove every folder below ``slots`` but these, and what a kill left of others.

    One that cannot be removed, as when it is another user's, is logged and keeps none of the others:
    neither is it a reason to fail, nor may it have the disk filled up.
    """
    keep = {slot.name for slot in slots if slot is not None}
    for path in sorted(home.slots.iterdir()):
        if path.name not in keep:
            try:
                files.remove_tree(path)
            except OSError as error:
                log.write(home.path, "not-removed", slot=path.name, why=str(error))


def link_program(home: Home, slot: Slot) -> None:
    """Let HOME/agent.pyz be the agent of a slot; one without leaves what there is."""
    program = home.slot(slot) / PROGRAM
    if not program.is_file():
        return
    if home.agent.is_file() and program.samefile(home.agent):
        return
    beside = home.agent.with_name(".new-agent.pyz")
    files.unlink(beside)
    files.link(program, beside)
    files.replace(beside, home.agent)
