"""A device for tests of security: a home, real updates, and what it serves to the last byte."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent.fetch import Limits
from edgeops.runtime.agent.update import Options, update
from tests.security._world import CHANNEL, TARGET, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.security._world import World

# A repository in a folder is not better a moment later.
QUICK = Limits(idle_s=2.0, grace_s=1.0, rate=1e6, tries=1, backoff_s=0.0)
NOTHING = {"version": None}


class Accepting:
    """Takes any candidate without loading it: what is looked at here comes before and after."""

    accepted, why, probation_s = True, "", 0.0

    def __init__(self, *_: Any) -> None:
        """Load nothing."""

    def commit(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


@dataclass
class Device:
    """A device that knows a root and reads the repository that is laid before it."""

    folder: Path
    root: bytes
    limits: Limits = QUICK
    warm: bool = False
    channel: str = CHANNEL
    target: str = TARGET
    said: str = ""

    @property
    def home(self) -> Path:
        """The agent's home."""
        return self.folder / "home"

    def update(self, files: Mapping[str, bytes] | None = None, **options: Any) -> str:
        """Take an update from a repository; return the outcome, or the code of the refusal."""
        repo = self.folder / "repo"
        if files is not None:
            write(files, repo)
        anchor = self.folder / "root.json"
        if not anchor.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            anchor.write_bytes(self.root)
        common = Options(
            home=self.home,
            repo=options.pop("repo", str(repo)),
            root=anchor,
            channel=self.channel,
            target=self.target,
            device_id="device-1",
            limits=self.limits,
        )
        now = options.pop("now", None)
        activate = None if self.warm else Accepting
        try:
            result = update(replace(common, **options), activate=activate, now=now)
        except EdgeopsError as error:
            self.said = f"{error.what}: {error.why}"
            return error.code
        return str(result["outcome"])

    def serving(self) -> str | None:
        """Return the version that is served, None for nothing."""
        return tree(self.home / "current").get("version")

    def copy_to(self, folder: Path) -> Device:
        """Return the same device in another folder, in place of what was there."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if self.home.exists():
            shutil.copytree(self.home, folder / "home", symlinks=True)
        return replace(self, folder=folder)


def tree(current: Path) -> dict[str, Any]:
    """Return the version in a slot and the digest of every file in it."""
    try:
        slot = current.resolve(strict=True)  # once: the agent may switch the link at any moment
    except FileNotFoundError:
        return dict(NOTHING)
    bundle = json.loads((slot / "bundle.json").read_bytes())
    found: dict[str, Any] = {"version": bundle["annotations"]["org.opencontainers.image.version"]}
    for path in sorted(slot.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(slot))] = "a symbolic link"
        elif path.is_file():
            found[str(path.relative_to(slot))] = sha256(path.read_bytes()).hexdigest()
    return found


def devices(world: World, folder: Path) -> dict[str, Device]:
    """Return devices that have nothing, the first and the second release."""
    found = {"nothing": Device(folder / "nothing", world.root)}
    (folder / "nothing").mkdir(parents=True)
    for number, name in enumerate(("first", "second")):
        device = Device(folder / name, world.root)
        for state in world.states[: number + 1]:
            outcome = device.update(state)
            if outcome != "updated":
                raise AssertionError(outcome)
        found[name] = device
    return found
