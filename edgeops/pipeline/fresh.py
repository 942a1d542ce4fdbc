"""Whether there is anything to do, told in milliseconds: no DVC, no YAML, standard library only.

After a whole run that ended well, ``remember`` writes down every file that DVC compared, with size,
times, inode and digest, and what the run came to. ``check`` answers from that only when nothing at
all is unclear; in every other case it returns None, and DVC is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from edgeops import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = 1
STATE = ".dvc/tmp/edgeops/state.json"
CONTROL = ("edgeops.yaml", "dvc.yaml", "dvc.lock", ".dvcignore")
# Two writes in one tick of the clock that stamps files leave the same time.
_TICK_NS = 20_000_000
_COARSE_TICK_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000


def check(root: Path) -> dict[str, Any] | None:
    """Return the result of ``edgeops run`` when nothing has changed since the last one, else None.

    Raises GateFailed or GateInconclusive when that run's figures did not pass.
    """
    try:
        state = json.loads((root / STATE).read_bytes())
        if not _same(root, state):
            return None
        result: dict[str, Any] = state["result"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if result.get("verdict") not in (None, "pass"):
        from edgeops.pipeline.verdict import enforce

        enforce(result)
    return result


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``edgeops run`` prints when there is nothing to do."""
    word = f"; verdict: {result['verdict']}" if result.get("verdict") else ""
    yield f"up to date: {len(result['stages'])} stages, nothing to do{word}"


def environment() -> str:
    """Return a digest that changes when a package is added, removed or replaced."""
    names = [sys.version, sys.prefix, __version__]
    for folder in sys.path:
        if os.path.isdir(folder):  # noqa: PTH112 - no pathlib in the way of an answer in 0.1 s
            found = os.listdir(folder)  # noqa: PTH208
            names += sorted(one for one in found if one.endswith((".dist-info", ".egg-info")))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def control(root: Path) -> dict[str, str]:
    """Return the digests of the small files that say what the pipeline is."""
    return {name: _md5(os.path.join(root, name)) for name in CONTROL}  # noqa: PTH118 - faster


def stamp(path: str) -> list[int]:
    """Return what tells a file apart without reading it: size, both times, inode."""
    about = os.stat(path)  # noqa: PTH116 - a thousand of them in a few milliseconds
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def files_below(folder: str) -> list[str]:
    """Return the files below a folder as sorted relative paths with ``/``."""
    found: list[str] = []
    todo = [("", folder)]
    while todo:
        prefix, place = todo.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir():
                    todo.append((f"{prefix}{entry.name}/", entry.path))
                else:
                    found.append(prefix + entry.name)
    return sorted(found)


def _same(root: Path, state: Mapping[str, Any]) -> bool:
    if state["format"] != FORMAT or state["environment"] != environment():
        return False
    if state["control"] != control(root):
        return False
    base, written = os.fspath(root), state["written_ns"]
    for folder, files in state["folders"].items():
        if files_below(f"{base}/{folder}") != files:
            return False
    return all(
        _unchanged(f"{base}/{path}", known, digest, written)
        for path, (known, digest) in state["files"].items()
    )


def _unchanged(path: str, known: list[int], digest: str, written_ns: int) -> bool:
    now = stamp(path)
    if now[0] != known[0]:
        return False
    tick = _TICK_NS if now[1] % _SECOND_NS else _COARSE_TICK_NS
    if now == known and now[1] + tick < written_ns:
        return True
    return _md5(path) == digest


def _md5(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return hashlib.file_digest(file, _new_md5).hexdigest()
    except FileNotFoundError:
        return ""


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
