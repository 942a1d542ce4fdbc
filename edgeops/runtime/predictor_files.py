"""What a predictor reads of an unpacked bundle, each file checked against the manifest first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_file
from edgeops.core.manifest import FILE, INDEX
from edgeops.core.targets import parse_targets
from edgeops.errors import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeops.core.manifest import Layer, Manifest

_LABELS_LIMIT = 16 << 20
_DOCUMENT_LIMIT = 16 << 20


def read_labels(folder: Path, opened: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return the lines of the bundle's labels, empty where none were unpacked.

    ``opened`` is the folder where sealed files are open; it is ``folder`` without any.
    """
    found: tuple[str, ...] = ()
    for layer in manifest.of(kind="labels"):
        if (folder / layer.path).is_file():
            verify(folder, (layer,))
            found = labels_in(opened / layer.path)
    return found


def read_document(folder: Path, opened: Path, manifest: Manifest, kind: str) -> Any:
    """Return the compiled document of a kind (features, rules), None where the bundle has none.

    Raises TrustError ``digest-mismatch`` for one that was changed, or was not unpacked.
    """
    for layer in manifest.of(kind=kind):
        if layer.path.endswith(".json"):
            verify(folder, (layer,))
            text = (opened / layer.path).read_bytes()[:_DOCUMENT_LIMIT]
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text.decode("utf-8", "replace")  # its parser says that it is no document
    return None


def choose(folder: Path, manifest: Manifest, target: str | None) -> str:
    """Return the target to load: the one named, or the only one that is not there for another's rules.

    Raises InputError ``target-unknown`` or ``target-needed``.
    """
    there = [name for name in manifest.targets if (folder / "variants" / name).is_dir()]
    if target is not None and target in there:
        return target
    if target is not None:
        raise InputError(
            "target-unknown",
            f"{folder.name} has no target {target!r}",
            where=str(folder),
            why=f"its targets are {', '.join(there) or 'none'}",
            fix="name one of them, or unpack the bundle with --target",
        )
    own = there if len(there) == 1 else _not_asked(folder, manifest, there)
    if len(own) == 1:
        return own[0]
    raise InputError(
        "target-needed",
        f"{folder.name} holds {len(there)} targets, and none was chosen",
        where=str(folder),
        why=f"its targets are {', '.join(there) or 'none'}",
        fix="choose one: Predictor(path, target=NAME), or unpack the bundle with --target",
    )


def _not_asked(folder: Path, manifest: Manifest, there: Sequence[str]) -> list[str]:
    """Return the targets that no other one's rules ask, as targets.json says."""
    layer = manifest.find(INDEX)
    if layer is None or not (folder / INDEX).is_file():
        return list(there)
    verify(folder, (layer,))
    needs = parse_targets((folder / INDEX).read_bytes(), str(folder))
    asked = {other for name in there if name in needs for other in needs[name].uses}
    return [name for name in there if name not in asked]


def verify(folder: Path, layers: tuple[Layer, ...]) -> None:
    """Raise TrustError ``digest-mismatch`` for a file that is not what the manifest names."""
    for layer in layers:
        file = folder / layer.path
        whole = file.is_file() and not file.is_symlink() and sha256_file(file) == layer.blob.hex
        if not whole:
            raise TrustError(
                "digest-mismatch",
                f"{layer.path} is not the file that {FILE} names",
                where=str(file),
                why="its sha256 differs or it is gone",
                fix="unpack the bundle again, or let the agent update again",
            )


def labels_in(path: Path) -> tuple[str, ...]:
    """Return the labels in a file: its lines, or the list that a .json holds."""
    return labels_of(path.name, path.read_bytes())


def labels_of(name: str, data: bytes) -> tuple[str, ...]:
    """Return the labels in the bytes of a file of this name."""
    text = data[:_LABELS_LIMIT].decode("utf-8-sig", "replace")
    if not name.endswith(".json"):
        return tuple(text.splitlines())
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else ()
