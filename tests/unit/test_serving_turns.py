"""Threads that answer come soon, threads that load give way."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading

import pytest

from edgeops.runtime.serving import turns

GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def attributes():
    """Return what Linux says of the calling thread: nice and the turn it asked for, in ns."""
    room = ctypes.create_string_buffer(48)
    got = ctypes.CDLL(None).syscall(GETATTR[platform.machine()], 0, room, len(room), 0)
    assert got == 0
    _, policy, _, nice, _, turn, _, _ = struct.unpack("=IIQiIQQQ", room.raw)
    return policy, nice, turn


@linux
@pytest.mark.skipif(platform.machine() not in GETATTR, reason="the call's number is not known here")
def test_thread_that_answers_asks_for_short_turns_and_keeps_its_nice():
    def asked():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 3)
        before = attributes()
        turns.soon()
        return before, attributes()

    before, after = in_thread(asked)
    assert after[:2] == before[:2] == (os.SCHED_OTHER, 3)
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release >= (6, 12):
        assert after[2] == 100_000
    assert attributes()[2] != 100_000  # nobody else is meant


@linux
def test_policy_that_somebody_chose_is_left_alone():
    def asked():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        turns.soon()
        return os.sched_getscheduler(0)

    assert in_thread(asked) == os.SCHED_BATCH


def test_machine_whose_call_is_not_known_goes_on(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert turns.soon() is None


@linux
def test_what_loads_gives_way_and_who_asked_does_not():
    def nice():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = in_thread(nice)
    assert turns.lowly(nice) == max(before, 10)
    assert in_thread(nice) == before


def test_what_loading_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        turns.lowly(lambda: 1 / 0)
