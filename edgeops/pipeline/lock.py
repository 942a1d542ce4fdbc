"""dvc.lock against the project: which steps DVC would run, told without DVC.

md5 is not our choice: it is what DVC names files by (dvc.lock, schema 2.0). A folder's name is the
md5 of the JSON list of its files with ``.dir`` behind it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edgeops.core.files import disk_errors
from edgeops.core.project import FILE as PROJECT
from edgeops.pipeline.plan import dependencies
from edgeops.project.positions import reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeops.pipeline.plan import Step

FILE = "dvc.lock"
_COPY = ".dvc/tmp/edgeops/dvc.lock"


@contextmanager
def kept(root: Path) -> Iterator[None]:
    """Bring dvc.lock back as it was when the block fails and leaves one that cannot be read.

    DVC writes it in place, so that a full disk cuts it. The copy is made before, for bringing it
    back must take no space; one that a killed run left behind is used first. Raises MissingError
    ``disk-full``.
    """
    lock, copy = root / FILE, root / _COPY
    if copy.is_file() and not _readable(lock):
        copy.replace(lock)
    there = lock.is_file()
    if there:
        with disk_errors(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(lock, copy)
    try:
        yield
    except BaseException:
        if not _readable(lock):
            # Another run may have taken the copy away: the lock is then that one's matter.
            with suppress(FileNotFoundError):
                copy.replace(lock) if there else lock.unlink()
        raise
    finally:
        copy.unlink(missing_ok=True)


def _readable(lock: Path) -> bool:
    """Return whether a lock file is there that can be read, or none at all."""
    from ruamel.yaml.error import YAMLError

    try:
        return isinstance(reader().load(lock.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except (UnicodeDecodeError, YAMLError):
        return False


def read_lock(root: Path) -> dict[str, Any]:
    """Return the stages of dvc.lock by address; none when there is no readable one."""
    from ruamel.yaml.error import YAMLError

    try:
        document = reader().load((root / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, YAMLError):
        return {}
    stages = document.get("stages") if isinstance(document, dict) else None
    return stages if isinstance(stages, dict) else {}


def md5_file(path: Path) -> str:
    """Return the md5 of a file as DVC writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_folder(files: Mapping[str, str]) -> str:
    """Return DVC's name of a folder from ``{relative path: md5}``."""
    entries = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    text = json.dumps(entries, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def md5_of(path: Path) -> str | None:
    """Return the name of a file or folder as DVC writes it, None when there is none."""
    if path.is_file():
        return md5_file(path)
    if not path.is_dir():
        return None
    return md5_folder(
        {
            file.relative_to(path).as_posix(): md5_file(file)
            for file in path.rglob("*")
            if file.is_file()
        }
    )


def outdated(
    root: Path, steps: Sequence[Step], lock: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return for each step, by address, why it would run; an empty list where it would not.

    ``values`` is edgeops.yaml as plain data. A step also runs when one that it reads from does.
    """
    digests: dict[str, str | None] = {}

    def digest(path: str) -> str | None:
        if path not in digests:
            digests[path] = md5_of(root / path)
        return digests[path]

    needs = dependencies(steps)
    found: dict[str, list[str]] = {}
    for step in steps:
        entry = lock.get(step.address)
        if not isinstance(entry, dict):
            found[step.address] = ["it never ran"]
            continue
        reasons = [f"{one.address} runs" for one in needs[step] if found.get(one.address)]
        reasons += _command(step, entry) + _params(step, entry, values)
        reasons += [f"{gone} is no longer stated" for gone in no_longer_stated(step, entry)]
        reasons += _files(step.plan.deps, entry.get("deps"), digest, "changed")
        reasons += _files(step.writes, entry.get("outs"), digest, "is not what it made")
        found[step.address] = reasons
    return found


def no_longer_stated(step: Step, entry: Mapping[str, Any]) -> list[str]:
    """Return dependencies and keys that a step had when it ran and has no more.

    DVC compares only what dvc.yaml lists now, so it does not see that something is gone: a key
    taken out of edgeops.yaml would leave the result that was made with it.
    """
    deps = [item.get("path") for item in entry.get("deps") or []]
    keys = (entry.get("params") or {}).get(PROJECT) or {}
    return [str(dep) for dep in deps if dep not in step.plan.deps] + [
        str(key) for key in keys if key not in step.plan.params
    ]


def command_of(step: Step) -> str | list[str]:
    """Return the command of a step as dvc.lock has it."""
    if step.plan.command is None:
        return f"edgeops stage {step.stage}" + (f" --target {step.target}" if step.target else "")
    command = step.plan.command.strip("\n")
    return [command] if "\n" in command else command


def _command(step: Step, entry: Mapping[str, Any]) -> list[str]:
    return [] if entry.get("cmd") == command_of(step) else ["its command changed"]


def _params(step: Step, entry: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    known = (entry.get("params") or {}).get(PROJECT) or {}
    return [
        f"{key} changed"
        for key in step.plan.params
        if key not in known or known[key] != _value(values, key)
    ]


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _files(paths: Sequence[str], entries: Any, digest: Any, word: str) -> list[str]:
    known = {entry.get("path"): entry.get("md5") for entry in entries or []}
    return [
        f"{path} {word if digest(path) else 'is missing'}"
        for path in paths
        if path not in known or known[path] != digest(path)
    ]
