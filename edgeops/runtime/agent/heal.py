"""What was installed and is damaged: thrown away, so that the next update fetches it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeops.core import lifecycle
from edgeops.core.manifest import FILE as BUNDLE
from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import files, log, slots
from edgeops.runtime.agent.blobs import Blobs
from edgeops.runtime.agent.changes import brief, finish_rollback, move, recover
from edgeops.runtime.agent.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.runtime.agent.home import Slot, State


def heal(path: Path) -> bool:
    """Look at every byte of what is installed; return whether something was damaged.

    A damaged release is given up without being refused: the previous one is served when it is
    whole, and the next update takes the release again. Call it when a release cannot be loaded.
    """
    home = Home(path)
    state = home.read()
    bad = {slot: slots.damaged(home.slot(slot)) for slot in (state.current, state.previous) if slot}
    back = state.previous
    if back and state.current and bad[state.current] and not (home.slot(back) / BUNDLE).exists():
        bad[back] = []  # nobody can tell, and it is all there is: whoever loads it will see
    if not any(bad.values()):
        return False
    for slot, names in bad.items():
        for name in names:
            whole = slot.digest.partition(":")[2] if name == BUNDLE else name
            files.unlink(Blobs(home).path(whole))
    with brief(home):
        there = home.read()
        if there.current == state.current:
            _give_up(home, there, bad)
    log.write(home.path, "damaged", files=sorted({name for each in bad.values() for name in each}))
    return True


def looks_whole(home: Home, state: State) -> bool:
    """Return whether the files of the current slot are there with their sizes: a look, no proof."""
    if state.current is None:
        return False
    folder = home.slot(state.current)
    try:
        layers = slots.read_manifest(folder).layers
        return all(
            (folder / layer.path).stat().st_size == layer.blob.size
            for layer in slots.wanted_here(folder, layers)
        )
    except (OSError, EdgeopsError):
        return False


def _give_up(home: Home, state: State, bad: dict[Slot, list[str]]) -> None:
    if state.state not in lifecycle.UNDER_WAY:
        state = recover(home, state)
    if state.previous is not None and bad.get(state.previous):
        state = home.write(replace(state, previous=None))
        home.point(home.previous, None)
    if state.current is None or not bad.get(state.current):
        return
    if state.previous is not None:
        state = move(home, state, "rollback", candidate=None)
        home.write(finish_rollback(home, state))
        return
    state = home.write(replace(state, current=None))
    home.point(home.current, None)
