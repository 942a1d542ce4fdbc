"""Whose turn it is on a processor: threads that answer come soon, those that load give way (Linux).

Both are asks, and whatever the system refuses is left as it is.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_NICE = 10
# The least that Linux takes; since 6.12 a thread that asks for short turns need not wait for the end
# of another's, which may be 3 ms. Before, the figure is not looked at.
_TURN_NS = 100_000
# sched_setattr(2) by machine, and its struct sched_attr as first published: size, policy, flags,
# nice, priority, runtime, deadline, period.
_CALLS = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "armv7l": 380, "armv6l": 380, "i686": 351}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def soon() -> None:
    """Ask for the calling thread to come soon when it wakes, since what it does is short."""
    number = _CALLS.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None:
        return
    import ctypes

    with suppress(OSError, AttributeError):
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            return  # whoever runs the server chose for it, as systemd's CPUSchedulingPolicy does
        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, _TURN_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, asked, 0)


def lowly(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, done in a thread that gives way to all others.

    A thread of its own, for a user's process may lower a thread and never raise it again.
    """
    found: list[Any] = []
    raised: list[BaseException] = []

    def done() -> None:
        if sys.platform.startswith("linux"):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=done, name="edgeops-load", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]
