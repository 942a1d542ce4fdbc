"""Moves a home from one state to the next, and mends what a kill left half done."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeops.core import lifecycle
from edgeops.runtime.agent import blobs, files, slots
from edgeops.runtime.agent.trouble import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeops.runtime.agent.home import Home, State


def move(home: Home, state: State, event: str, **changes: Any) -> State:
    """Write the state that follows an event; the table says which that is."""
    return home.write(replace(state, state=lifecycle.after(state.state, event), **changes))


def recover(home: Home, state: State) -> State:
    """Bring a home to rest after a kill, and return its state; nothing is written when it is well.

    Only who knows that no other agent is in the middle of something may call it.
    """
    names = {
        "current": state.current.name if state.current else "",
        "previous": state.previous.name if state.previous else "",
        "candidate": state.candidate.name if state.candidate else "",
    }
    facts = lifecycle.Facts(**names, link=home.linked(home.current))
    goal, actions = lifecycle.recover(state.state, facts)
    for action in actions:
        if action == lifecycle.FINISH_SWITCH:
            state = finish_switch(home, state)
        elif action == lifecycle.FINISH_ROLLBACK:
            state = finish_rollback(home, state)
        elif action == lifecycle.POINT_CURRENT:
            state = _point(home, state)
        else:
            state = replace(state, candidate=None)
    if actions or state.problem or goal != state.state:
        state = home.write(replace(state, state=goal))
    return state


def at_rest(home: Home) -> State:
    """Bring a home to rest after a kill, also on a disk that is full of what the kill left."""
    with brief(home):
        try:
            return recover(home, home.read())
        except OSError as error:
            if error.errno not in FULL:
                raise
            _remove_unneeded(home, home.read())
            _remove_begun(home)
            return recover(home, home.read())


def finish_switch(home: Home, state: State) -> State:
    """Let both links say what the state announces, then say that it is so."""
    candidate = state.candidate
    if candidate is None:
        return state
    home.point(home.previous, state.current)
    home.point(home.current, candidate)
    slots.link_program(home, candidate)
    refused = {name: entry for name, entry in state.refused.items() if name != candidate.digest}
    return replace(
        state,
        refused=refused,
        state=lifecycle.PROBATION,
        current=candidate,
        previous=state.current,
        candidate=None,
        warm_ups=0,
    )


def finish_rollback(home: Home, state: State) -> State:
    """Let ``current`` be what was ``previous``, then say that it is so."""
    back = state.previous
    if back is None or not home.slot(back).is_dir():
        return replace(state, state=lifecycle.IDLE, candidate=None)
    home.point(home.current, back)
    home.point(home.previous, None)
    slots.link_program(home, back)
    return replace(
        state, state=lifecycle.IDLE, current=back, previous=None, candidate=None, probation=None
    )


def _point(home: Home, state: State) -> State:
    """Let the links say what the state says; a state that names no slot is corrected by them."""
    current, previous = (
        slot if slot is not None and home.slot(slot).is_dir() else home.shown(link)
        for slot, link in ((state.current, home.current), (state.previous, home.previous))
    )
    home.point(home.current, current)
    home.point(home.previous, previous)
    return replace(state, current=current, previous=previous)


def untidy(home: Home, state: State) -> bool:
    """Return whether an earlier update, a rollback or a kill left something to remove."""
    kept = {slot.name for slot in (state.current, state.previous, state.candidate) if slot}
    folders = (home.path, home.trust)
    return (
        any(path.name not in kept for path in home.slots.iterdir())
        or any(home.partial.iterdir())
        or any(path.name.startswith(".new-") for folder in folders for path in folder.iterdir())
    )


def clean(home: Home, state: State) -> None:
    """Remove what no slot needs, and what a kill left of files being written."""
    _remove_unneeded(home, state)
    with brief(home):  # the server writes the state too, and what it is writing was left by no kill
        _remove_begun(home)


def _remove_unneeded(home: Home, state: State) -> None:
    kept = (state.current, state.previous, state.candidate)
    slots.remove_others(home, kept)
    home_blobs(home, slots.needed(home, kept))


def _remove_begun(home: Home) -> None:
    for folder in (home.path, home.trust, home.trust / "root_history", home.trust / "channels"):
        for path in sorted(folder.glob(".new-*")):
            files.remove_tree(path)


def make_way(home: Home, state: State) -> None:
    """Give back what a candidate took of a disk that is full, as far as the device needs it.

    A slot that was being laid out goes in any case. What was fetched stays where the state can be
    written all the same: it would have to be fetched again each time that it is tried.
    """
    for path in sorted(home.slots.glob(".new-*")):
        files.remove_tree(path)
    if blobs.free_bytes(home.path) >= blobs.MARGIN:
        return
    # A switch that was begun may be served already.
    candidate = None if state.state in lifecycle.UNDER_WAY else state.candidate
    kept = (state.current, state.previous, candidate)
    slots.remove_others(home, kept)
    home_blobs(home, slots.needed(home, kept))


def home_blobs(home: Home, keep: set[str]) -> None:
    """Remove the blobs that are not to be kept."""
    blobs.Blobs(home).collect(keep)


@contextmanager
def brief(home: Home) -> Iterator[None]:
    """Hold what keeps two programs from changing the state at one time; it is never held for long."""
    import fcntl
    import os

    handle = files.open_lock(home.path / "state.lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
