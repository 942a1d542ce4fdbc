"""What a git revision of the project says: its dvc.lock and the evidence of then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.evidence import Evidence, parse_evidence
from edgeops.core.project import evidence_file
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Revision:
    """A revision by the name it was asked for; ``missing`` says why a target has no evidence."""

    name: str
    commit: str
    evidence: Mapping[str, Evidence]
    missing: Mapping[str, str]
    lock: Mapping[str, Any]


def read_revision(root: Path, name: str, targets: Iterable[str]) -> Revision:
    """Return what revision ``name`` of the project in ``root`` holds of these targets.

    Evidence lies in DVC's cache; what is not there is fetched from the default remote. Raises
    InputError ``against-no-git`` or ``against-unknown``.
    """
    import git

    try:
        with git.Repo(root, search_parent_directories=True) as repository:
            commit = repository.commit(name)
            folder = root.resolve().relative_to(repository.working_dir)
            lock = _lock_at(commit, (folder / LOCK).as_posix())
            revision = commit.hexsha
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise InputError(
            "against-no-git",
            f"there is no revision {name!r} to compare with: the project is not in git",
            where=str(root),
            why="--against reads what an earlier commit measured",
            fix="leave --against out, or keep the project in git: git init && git commit",
        ) from error
    except (git.BadName, git.BadObject, git.GitCommandError, ValueError, IndexError) as error:
        raise InputError(
            "against-unknown",
            f"git knows no revision {name!r}",
            where="--against",
            why=str(error) or type(error).__name__,
            fix="name a branch, tag or commit that is here; git fetch --unshallow gets older ones",
        ) from error
    evidence, missing = _evidence_at(root, revision, list(targets)) if lock else ({}, {})
    reason = "it has no dvc.lock: nothing was measured then"
    missing = missing if lock else dict.fromkeys(targets, reason)
    return Revision(name, revision, evidence, missing, lock)


def read_lock(data: bytes) -> dict[str, Any]:
    """Return the stages of a dvc.lock by their address; none when it cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(data)
    except YAMLError:
        return {}
    stages = document.get("stages") if isinstance(document, dict) else None
    return dict(stages) if isinstance(stages, dict) else {}


def _lock_at(commit: Any, path: str) -> dict[str, Any]:
    try:
        blob = commit.tree / path
    except KeyError:
        return {}
    return read_lock(blob.data_stream.read())


def _evidence_at(
    root: Path, revision: str, targets: list[str]
) -> tuple[dict[str, Evidence], dict[str, str]]:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    found, missing = {}, {}
    try:
        files = DVCFileSystem(str(root), rev=revision)
    except (DvcException, OSError) as error:
        return {}, dict.fromkeys(targets, f"DVC cannot read it: {error}")
    for target in targets:
        path = evidence_file(target)
        try:
            found[target] = parse_evidence(files.read_bytes(path), f"{path} at {revision[:8]}")
        except FileNotFoundError:
            missing[target] = "it was not measured then, or its evidence was never pushed"
        except InputError as error:
            missing[target] = f"{error.what}: {error.why}"
        except (DvcException, OSError) as error:
            missing[target] = f"its evidence cannot be fetched: {error}"
    return found, missing
