"""The agent's folder: where everything lies, the state file, the lock, and what a kill left.

See docs/formats/agent.md. The state is written before what it announces is done.
"""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeops.core import lifecycle
from edgeops.core.files import canonical_json, make_folder
from edgeops.core.manifest import FILE as BUNDLE
from edgeops.core.manifest import parse_manifest
from edgeops.errors import EdgeopsError, InputError, MissingError
from edgeops.runtime.agent import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = "edgeops.agent/1"
_SLOT = re.compile(r"([0-9a-f]{16})(?:-([A-Za-z0-9][A-Za-z0-9._+-]{0,127}))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PRIVATE = 0o700
# What a system says of a file that is whole and cannot be read by this process now.
_THERE = frozenset({errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Refusals older than the newest of these are forgotten: a state file does not grow for ever.
_MOST_REFUSED = 64


@dataclass(frozen=True)
class Slot:
    """A bundle in a slot: its version, its digest and the target that was chosen of it."""

    version: str
    digest: str
    target: str = ""

    @property
    def name(self) -> str:
        """The name of its folder below ``slots``."""
        return slot_name(self.digest, self.target)

    def to_json(self) -> dict[str, str]:
        """Return the slot as it stands in the state file."""
        return {
            "version": self.version,
            "digest": self.digest,
            "slot": self.name,
            "target": self.target,
        }


@dataclass(frozen=True)
class State:
    """What the state file holds.

    ``refused`` says why a digest is not taken again, ``warm_ups`` how often the candidate was
    begun to be warmed up, ``available`` what the channel offered last. ``problem`` is no part of
    the file: it is why the file could not be read.
    """

    state: str = lifecycle.IDLE
    current: Slot | None = None
    previous: Slot | None = None
    candidate: Slot | None = None
    warm_ups: int = 0
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    available: Mapping[str, str] | None = None
    device_id: str = ""
    target: str = ""
    probation: Mapping[str, str] | None = None
    last_checked: str | None = None
    last_verified: str | None = None
    expires: str | None = None
    clock: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    def encode(self) -> bytes:
        """Return the bytes of the state file."""
        document: dict[str, Any] = {"format": FORMAT}
        for name in _FIELDS:
            value = getattr(self, name)
            document[name] = value.to_json() if isinstance(value, Slot) else value
        return canonical_json(document)

    def refuse(self, digest: str, why: str, at: str, **more: str) -> State:
        """Return the state in which a digest is not taken again."""
        kept = {name: entry for name, entry in self.refused.items() if name != digest}
        newest = dict(sorted(kept.items(), key=lambda item: item[1]["at"])[-_MOST_REFUSED:])
        return replace(self, refused={**newest, digest: {"why": why, "at": at, **more}})


_FIELDS = tuple(name for name in State.__dataclass_fields__ if name != "problem")


def slot_name(digest: str, target: str) -> str:
    """Return the name of a slot: the first 16 hex characters of the digest, and the target."""
    return digest.partition(":")[2][:16] + (f"-{target}" if target else "")


def slot_target(name: str) -> str:
    """Return the target in the name of a slot, "" where it has none or the name is no slot's."""
    found = _SLOT.fullmatch(name)
    return (found[2] or "") if found else ""


def parse_state(data: bytes) -> State:
    """Return the state in a state file; raises ValueError for anything that is none."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            message = f"its format is {document['format']!r}, this agent reads {FORMAT!r}"
            raise ValueError(message)
        values = {name: document[name] for name in _FIELDS if name in document}
        for name in ("current", "previous", "candidate"):
            values[name] = _slot(values.get(name))
        state = State(**values)
        if state.state not in lifecycle.STATES:
            message = f"there is no state {state.state!r}"
            raise ValueError(message)
        _check(state)
        state.encode()  # what was read and cannot be written would end every update
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        message = f"{type(error).__name__}: {error}"
        raise ValueError(message) from error
    return state


class Home:
    """The agent's folder by path."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.state = self.path / "state.json"
        self.root = self.path / "root.json"
        self.trust = self.path / "trust"
        self.blobs = self.path / "blobs" / "sha256"
        self.partial = self.path / "partial"
        self.slots = self.path / "slots"
        self.current = self.path / "current"
        self.previous = self.path / "previous"
        self.agent = self.path / "agent.pyz"

    def prepare(self) -> None:
        """Make the folders that are not there; raises InputError ``folder-is-file``."""
        if not self.path.is_dir():
            make_folder(self.path)
            self.path.chmod(_PRIVATE)
        for folder in (self.trust, self.blobs, self.partial, self.slots):
            files.mkdir(folder)

    def slot(self, slot: Slot) -> Path:
        """Return the folder of a slot."""
        return self.slots / slot.name

    def read(self) -> State:
        """Return the state; where the file is damaged, what the symbolic links tell.

        Raises OSError where it is another user or another moment that could read it: what is
        refused, and which device this is, is not to be forgotten for that.
        """
        try:
            return parse_state(self.state.read_bytes())
        except FileNotFoundError:
            problem = "state.json is gone" if self.linked(self.current) else ""
        except (ValueError, OSError) as error:
            if getattr(error, "errno", None) in _THERE:
                raise
            problem = f"state.json is damaged: {error}"
        current, previous = (self.shown(link) for link in (self.current, self.previous))
        return State(current=current, previous=previous, problem=problem)

    def write(self, state: State) -> State:
        """Write the state and return it, as nothing is wrong with it any more."""
        files.write(self.state, state.encode())
        return replace(state, problem="")

    def linked(self, link: Path) -> str:
        """Return the name of the slot that a link points at, "" for none."""
        try:
            name = link.readlink().name
        except OSError:
            return ""
        return name if _SLOT.fullmatch(name) and (self.slots / name).is_dir() else ""

    def point(self, link: Path, slot: Slot | None) -> None:
        """Let ``current`` or ``previous`` point at a slot, or take it away."""
        if slot is None:
            if os.path.lexists(link):
                files.unlink(link)
                files.sync_folder(self.path)
        elif self.linked(link) != slot.name:
            files.symlink(f"slots/{slot.name}", link)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other agents out; the system lets go when the process ends.

        Raises MissingError ``agent-busy`` at once when another one is at work.
        """
        import fcntl

        handle = files.open_lock(self.path / "lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise MissingError(
                "agent-busy",
                "another agent is at work on this home",
                where=str(self.path),
                why="two at once would undo each other's work",
                fix="wait until it is done; what is installed goes on serving meanwhile",
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def shown(self, link: Path) -> Slot | None:
        """Return what a link points at, from the bundle.json in its slot."""
        name = self.linked(link)
        if not name:
            return None
        try:
            manifest = parse_manifest((self.slots / name / BUNDLE).read_bytes(), name)
        except (OSError, EdgeopsError):
            return None
        found = Slot(manifest.version, manifest.descriptor.digest, slot_target(name))
        return found if found.name == name else None


def existing(path: Path) -> Home:
    """Return a home that is there; raises InputError ``home-missing``."""
    home = Home(path)
    if home.state.exists() or os.path.lexists(home.current):
        return home
    raise InputError(
        "home-missing",
        f"{path} is no home of an agent",
        where=str(path),
        why="it has no state.json: nothing was ever installed there",
        fix="name the folder that edgeops-agent update --home wrote",
    )


def _check(state: State) -> None:
    """Raise ValueError or TypeError unless every field is of its kind: disks damage files."""
    told = [entry[name] for entry in state.refused.values() for name in ("why", "at")]
    told += [state.device_id, state.target]
    told += [text for text in (state.last_checked, state.last_verified, state.expires) if text]
    for terms in (state.available, state.probation):
        told += [] if terms is None else list(dict(terms).values())
    if not all(type(text) is str for text in told):
        message = "a text is none"
        raise ValueError(message)
    if type(state.warm_ups) is not int or type(state.clock) is not dict:
        message = "a field is of another kind"
        raise ValueError(message)


def _slot(value: Any) -> Slot | None:
    if value is None:
        return None
    version, digest, target = value["version"], value["digest"], value.get("target", "")
    if not all(isinstance(text, str) for text in (version, digest, target)):
        message = "a slot has a version, a digest and a target"
        raise ValueError(message)
    if not _DIGEST.fullmatch(digest):
        message = f"{digest!r} is no digest"
        raise ValueError(message)
    return Slot(version, digest, target)
