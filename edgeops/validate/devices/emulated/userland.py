"""What the arm64 userland of ``emulated:arm64`` consists of, where it lies, whether it is there.

It is an environment like those of converters (core.environment): a folder named after the digest
of what goes in, which counts once its marker is in it. ``edgeops env create`` makes it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import sha256_bytes
from edgeops.core.environment import Made, SelfMade, look, missing
from edgeops.core.files import canonical_json
from edgeops.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RECIPE = Path(__file__).with_name("arm64.toml")
NUMPY = "numpy"


@dataclass(frozen=True)
class Userland(SelfMade):
    """The files of a small Debian for arm64, with Python, numpy and the engines installed here."""

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """What goes in, as the file ``lock`` says it."""
        return tomllib.loads(self.lock.read_text())

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of numpy and of each engine that is installed here, by distribution."""
        names = [NUMPY, *(about["distribution"] for about in self.recipe["engines"].values())]
        found = {name: _installed(name) for name in names}
        return {name: version for name, version in found.items() if version}

    @cached_property
    def digest(self) -> str:
        """The sha256 of the recipe and of the versions of the engines, in hex."""
        about = {"recipe": sha256_bytes(self.lock.read_bytes()), "versions": dict(self.versions)}
        return sha256_bytes(canonical_json(about))

    @property
    def root(self) -> Path:
        """The folder that is ``/`` of the userland."""
        return self.folder / "root"

    @property
    def home(self) -> Path:
        """The folder that is the home there: all that devices are given lies in it."""
        return self.folder / "home"

    @property
    def executable(self) -> Path:
        """The userland's Python, which only qemu can run."""
        return self.root / "usr" / "bin" / "python3"

    def make(self, tell: Callable[[str], None]) -> Made:
        """Fetch the packages, unpack them, try them out; see ``emulated_make``."""
        from edgeops.validate.devices.emulated.make import make

        return make(self, tell)

    def lacks(self, engine: str) -> str:
        """Return why an engine cannot be used in the userland that is there, "" when it can."""
        absent: Mapping[str, str] = look(self).marker.get("absent", {})
        if engine not in self.recipe["engines"]:
            return "it is not one of those that are put into the userland"
        return absent.get(engine, "")


ARM64 = Userland(
    name="emulated-arm64",
    python="",
    lock=RECIPE,
    worker=Path(),
    why="the device emulated:arm64: a small Debian for arm64 with the engines, run by qemu",
    megabytes=420,
)


def require(userland: Userland) -> None:
    """Raise MissingError when a userland cannot be used.

    The codes are ``emulated-missing`` and those of ``core.environment.missing``.
    """
    finding = missing(userland)
    if finding is None:
        return
    if finding.code == "environment-missing":
        raise MissingError(
            "emulated-missing",
            "the arm64 userland that emulated:arm64 runs in is not there yet",
            where=str(userland.folder.parent),
            why=look(userland).why or "it is made only when asked for",
            fix=f"edgeops env create {userland.name}",
        )
    raise MissingError(
        finding.code, finding.what, where=finding.where, why=finding.why, fix=finding.fix
    )


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
