"""Fetch what a variant is compared with: the last published one, or that of a git revision.

Lives beside the stage, for only stages may join publish, package, report and validate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeops.core.project import converted, final_variant
from edgeops.errors import InputError, TransportError, TrustError
from edgeops.validate.relative import PREVIOUS, Earlier, revision_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Store
    from edgeops.core.events import Events
    from edgeops.core.project import Project, Target

_FETCH_S = 600.0
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


@dataclass(frozen=True)
class Place:
    """The project and target whose earlier variant is wanted, and a folder that may be written."""

    root: Path
    project: Project
    target: Target
    scratch: Path
    events: Events


def earlier(against: str, place: Place) -> Earlier:
    """Return the variant to compare with: ``previous``, or a git revision, ``rev=REV``.

    What is not there is told by the value. Raises TrustError when what is published was tampered
    with, and what a broken project raises.
    """
    if against == PREVIOUS:
        return published(place)
    return at_revision(revision_of(against), place)


def published(place: Place) -> Earlier:
    """Return the target's variant in what the project's channel offers now.

    The repository is trusted through root.json in the keys folder of the stage that publishes.
    """
    from edgeops.publish.stores import open_store
    from edgeops.stages.publish_mirror import is_registry

    spec = place.project.stage_using("publish")
    if spec is None:
        return Earlier("the published variant", absent="the project has no stage that publishes")
    options = spec.options
    label = f"what {options.to} offers on {options.channel}"
    if is_registry(options.to):
        return Earlier(label, absent="a registry has no signed channel to compare with")
    anchor = place.root / options.key / "root.json"
    try:
        store = open_store(options.to, place.root)
        if not store.exists("metadata/timestamp.json"):
            return Earlier(label, moot="nothing was published yet")
        if not anchor.is_file():
            return Earlier(label, absent=f"it cannot be verified without {options.key}/root.json")
        place.events.step(f"fetching {label}")
        return _from_repository(store, anchor.read_bytes(), options.to, options.channel, place)
    except (TransportError, TrustError) as error:
        if isinstance(error, TrustError) and error.code != "metadata-expired":
            raise
        return Earlier(label, absent=f"{error.what}: {error.why}")


def _from_repository(store: Store, root: bytes, to: str, channel: str, place: Place) -> Earlier:
    from edgeops.core.evidence import parse_evidence
    from edgeops.core.manifest import parse_manifest
    from edgeops.package.unpack import write_files
    from edgeops.runtime.agent.look import fetch_blob, offered

    try:
        offer = offered(store, root, channel, place.scratch / "trust", where=to)
    except InputError as error:
        if error.code != "channel-unknown":
            raise
        return Earlier(f"channel {channel}", moot=f"nothing was published on {channel} yet")
    name = place.target.name
    label = f"the published {offer.project} {offer.version} ({offer.manifest.digest[:19]})"
    data = b"".join(fetch_blob(store, offer.manifest))
    manifest = parse_manifest(data, offer.manifest.digest)
    if name not in manifest.targets:
        return Earlier(label, moot=f"the published {offer.version} has no target {name}")
    folder = place.scratch / "published"
    variant = manifest.of(kind="variant", target=name)
    if any(layer.seal for layer in variant):
        return Earlier(label, absent=f"its variant of {name} is sealed: only devices open it")
    write_files(folder, data, variant, partial(fetch_blob, store))
    evidence = None
    for layer in manifest.of(kind="evidence", target=name):
        # One of a format that this edgeops does not read leaves the variant to compare with.
        with suppress(InputError):
            evidence = parse_evidence(b"".join(fetch_blob(store, layer.blob)), layer.path)
    return Earlier(label, folder / "variants" / name, evidence)


def at_revision(revision: str, place: Place) -> Earlier:
    """Return the target's variant at a git revision, from DVC's cache, with its evidence."""
    from edgeops.report.revision import read_revision

    name = place.target.name
    place.events.step(f"fetching the variant of {revision}")
    try:
        found = read_revision(place.root, revision, [name])
    except InputError as error:
        return Earlier(revision, absent=f"{error.what}: {error.why}")
    label = f"{revision} ({found.commit[:8]})"
    evidence = found.evidence.get(name)
    outs = {
        str(out.get("path"))
        for stage in found.lock.values()
        if isinstance(stage, dict)
        for out in stage.get("outs") or ()
    }
    for path in dict.fromkeys((final_variant(place.project, name), converted(name))):
        if path in outs:
            folder, why = _dvc_get(path, found.commit, place)
            return Earlier(label, folder, evidence, why)
    absent = found.missing.get(name) or f"its dvc.lock names no variant of {name}"
    return Earlier(label, None, evidence, absent)


def _dvc_get(path: str, commit: str, place: Place) -> tuple[Path | None, str]:
    """Return the folder at ``path`` of a commit out of DVC's cache, or why it cannot be had."""
    import git

    out = place.scratch / f"revision-{commit[:12]}"
    with git.Repo(place.root, search_parent_directories=True) as repository:
        above = str(repository.working_dir)
    within = (place.root.resolve().relative_to(above) / path).as_posix()
    command = [sys.executable, "-P", "-m", "dvc", "get", "--quiet", above, within]
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    try:
        done = subprocess.run(
            [*command, "--rev", commit, "--out", str(out)],
            cwd=place.scratch,
            env={**kept, "DVC_NO_ANALYTICS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_FETCH_S,
        )
    except subprocess.TimeoutExpired:
        return None, f"DVC did not give it within {_FETCH_S:g} s"
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        return None, f"DVC does not have it any more: {said[-1] if said else 'it said nothing'}"
    return out, ""


def revision_problem(root: Path, revision: str) -> str:
    """Return why git has no such revision here, "" when it has."""
    import git

    try:
        with git.Repo(root, search_parent_directories=True) as repository:
            repository.commit(revision)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return "the project is not in git"
    except (git.BadName, git.BadObject, git.GitCommandError, ValueError, IndexError) as error:
        return str(error) or type(error).__name__
    return ""
