"""Lay a mutant before a device, then the next good release, and judge what came of it."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.security._device import NOTHING, Device, devices, tree
from tests.security._mutants import STARTS, STOLEN, Mutant, mutant
from tests.security._world import forge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.security._world import Files, World


_TIMESTAMP = "metadata/timestamp.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant: ``code`` is what the update said, ``fault`` is "" when all is well."""

    number: int
    kind: str
    what: str
    start: str
    code: str
    served: str
    fault: str
    seconds: float


class Bench:
    """Devices in three states, and what each may serve afterwards."""

    def __init__(self, world: World, folder: Path) -> None:
        # python-tuf says at length what it refuses; ten thousand refusals are too many lines.
        logging.getLogger("tuf").setLevel(logging.CRITICAL)
        self.world = world
        self.work = folder / "work"
        self.templates = devices(world, folder / "devices")
        self.trees = self._trees(folder / "clean")
        # The third release as it is signed after a thief raised versions by less than so much.
        more = dict.fromkeys(("targets", "snapshot", "timestamp"), _raised)
        self.later = forge(world.states[2], world.signers, more)

    def try_one(self, number: int, seed: int = 0) -> Outcome:
        """Return what a device makes of one mutant and of the good release after it."""
        begun = time.perf_counter()
        made = mutant(self.world, number, seed)
        device = self.templates[made.start].copy_to(self.work)
        code, crash = _update(device, made.files)
        served = tree(device.home / "current")
        fault = crash or self._wrong(made, served)
        if not fault and number % 3 == 0 and not self._ahead(made):
            fault = self._mends(device, 1, self.world.states[1])  # the same release, whole
        good = self.later if made.kind == STOLEN else self.world.states[2]
        fault = fault or self._mends(device, 2, good)
        shown = str(served["version"])
        seconds = time.perf_counter() - begun
        return Outcome(number, made.kind, made.what, made.start, code, shown, fault, seconds)

    def _trees(self, folder: Path) -> list[dict[str, Any]]:
        found = []
        for number, state in enumerate(self.world.states):
            device = Device(folder / str(number), self.world.root)
            device.update(state)
            found.append(tree(device.home / "current"))
        shutil.rmtree(folder)
        return found

    def _wrong(self, made: Mutant, served: dict[str, Any]) -> str:
        """Return what is wrong with what is served: it was never published, or it is older."""
        had = STARTS.index(made.start)
        allowed = self.trees[max(had - 1, 0) :]
        if made.start == "nothing":
            allowed = [dict(NOTHING), *allowed]
        return "" if served in allowed else f"accepted: serves {served}"

    def _ahead(self, made: Mutant) -> bool:
        """Return whether a mutant holds a timestamp that is as new as that of the third release."""
        return made.kind == STOLEN or made.files.get(_TIMESTAMP) == self.world.states[2][_TIMESTAMP]

    def _mends(self, device: Device, number: int, files: Files) -> str:
        """Return "" when a device takes a good release, else what it does instead."""
        code, crash = _update(device, files)
        served = tree(device.home / "current")
        if crash or served in self.trees[number:]:
            return crash
        return f"stuck: {code} for the good release, serves {served}"


def _raised(signed: Any) -> None:
    signed.version += 10_000


def _update(device: Device, files: Any) -> tuple[str, str]:
    try:
        return device.update(files), ""
    except Exception:  # noqa: BLE001 - whatever it is, it is a fault of the agent
        return "crash", f"crash: {traceback.format_exc()[-600:]}"
