"""Write down what a whole run left, so that ``fresh`` can tell whether anything has changed.

Nothing is written down when anything about the project is not plainly told by dvc.lock: a stage by
hand that always runs, has a working directory of its own or reads from another place.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json, write_atomic
from edgeops.pipeline import dvcfile, fresh
from edgeops.pipeline.lock import md5_file, md5_folder, read_lock
from edgeops.project.positions import reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeops.pipeline.plan import Step

_PLAIN_KEYS = frozenset(
    ("cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta", "matrix", "foreach", "do")
)


class _Unclear(Exception):
    """Something that only DVC can tell."""


def forget(root: Path) -> None:
    """Remove what was written down: a run that is killed leaves nothing to trust."""
    (root / fresh.STATE).unlink(missing_ok=True)


def remember(root: Path, steps: Sequence[Step], result: Mapping[str, Any], began_ns: int) -> bool:
    """Write down the files of every stage and the result; return whether all was clear.

    ``began_ns`` is when the run began: a file older than that is what DVC compared, so its digest
    is taken from dvc.lock and not computed again.
    """
    if not (root / ".dvc").is_dir():
        return False  # the DVC repository lies above: its state is not ours to keep
    control = fresh.control(root)
    try:
        stages = _stages(root, steps)
        folders, files = _files(root, stages, began_ns)
    except (_Unclear, OSError):
        return False
    idle = [
        {**row, "status": "cached", "seconds": 0.0, "work_seconds": 0.0} for row in result["stages"]
    ]
    document = {
        "format": fresh.FORMAT,
        "environment": fresh.environment(),
        "control": control,
        "folders": folders,
        "files": files,
        "result": {**result, "stages": idle, "up_to_date": True, "notes": []},
        "written_ns": time.time_ns(),
    }
    write_atomic(root / fresh.STATE, canonical_json(document))
    return True


def _stages(root: Path, steps: Sequence[Step]) -> dict[str, Any]:
    """Return the entries of dvc.lock, when they are all the stages of dvc.yaml and plain ones."""
    document = reader().load((root / dvcfile.FILE).read_text(encoding="utf-8"))
    if "vars" in document:
        raise _Unclear
    names = set(document["stages"])
    for stage in document["stages"].values():
        inner = {**stage, **stage.get("do", {})}
        if not set(inner) <= _PLAIN_KEYS:
            raise _Unclear
    lock = read_lock(root)
    if {step.address for step in steps} - set(lock):
        raise _Unclear
    found = {key: entry for key, entry in lock.items() if key.partition("@")[0] in names}
    if names - {key.partition("@")[0] for key in found}:
        raise _Unclear
    return found


def _files(
    root: Path, stages: Mapping[str, Any], began_ns: int
) -> tuple[dict[str, list[str]], dict[str, tuple[list[int], str]]]:
    folders: dict[str, list[str]] = {}
    files: dict[str, tuple[list[int], str]] = {}
    known = dict(_locked(stages))
    for path, digest in known.items():
        place = root / path
        if place.is_dir():
            folders[path] = fresh.files_below(str(place))
            digests = {}
            for name in folders[path]:
                stamp, digests[name] = _stamped(place / name)
                files[f"{path}/{name}"] = (stamp, digests[name])
            if digest and md5_folder(digests) != digest:
                raise _Unclear
            continue
        stamp = fresh.stamp(str(place))
        if digest and max(stamp[1], stamp[2]) < began_ns:
            files[path] = (stamp, digest)
            continue
        files[path] = _stamped(place)
        if digest and files[path][1] != digest:
            raise _Unclear
    for path in known:
        tracked = f"{path}.dvc"
        if (root / tracked).is_file():
            files[tracked] = _stamped(root / tracked)
    return folders, files


def _stamped(path: Path) -> tuple[list[int], str]:
    stamp = fresh.stamp(str(path))
    return stamp, md5_file(path)


def _locked(stages: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and md5 of everything in dvc.lock; "" for files that only hold parameters."""
    for entry in stages.values():
        for item in (*entry.get("deps", ()), *entry.get("outs", ())):
            path, digest = str(item["path"]), item.get("md5")
            if not digest or Path(path).is_absolute() or "://" in path:
                raise _Unclear
            yield path, digest
        for path in entry.get("params", {}):
            yield str(path), ""
