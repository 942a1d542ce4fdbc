"""Take the network from this process and all that it starts, enforced by Linux (seccomp).

A filter on system calls: sockets other than local ones are refused with "network is down", and
whoever watches learns of each attempt, whichever language it was made from. Source:
Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/{seccomp,filter,audit}.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import sys
from pathlib import Path

_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS, linux/prctl.h
_SET_FILTER = 1
_NEW_LISTENER = 1 << 3
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOTIFY = 0x7FC00000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF, whole words
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_UNIX, _NETLINK = 1, 16  # address families that reach no other machine
_URING = 425  # io_uring_setup: its requests pass no filter
_X32 = 0x40000000  # calls of the x32 interface, by other numbers

# AUDIT_ARCH_*, and the numbers of seccomp and socket.
_MACHINES = {"x86_64": (0xC000003E, 317, 41), "aarch64": (0xC00000B7, 277, 198)}

_NOTIFICATION = struct.Struct("=QII iIQ6Q".replace(" ", ""))
_ANSWER = struct.Struct("=QqiI")
_RECEIVE = 3 << 30 | _NOTIFICATION.size << 16 | ord("!") << 8
_SEND = 3 << 30 | _ANSWER.size << 16 | ord("!") << 8 | 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_network() -> int | None:
    """Refuse sockets for this thread and all that it starts from now on.

    Returns a file handle to watch attempts with ``answer_attempt``, -1 where the kernel refuses
    without telling, None where nothing could be refused.
    """
    if sys.platform != "linux":
        return None
    about = _MACHINES.get(os.uname().machine)
    if about is None:
        return None
    architecture, seccomp, socket = about
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return None
    for verdict, flags in ((_NOTIFY, _NEW_LISTENER), (_ERRNO | errno.ENETDOWN, 0)):
        code = _filter(architecture, socket, verdict)
        program = _Program(len(code) // 8, code)
        handle = libc.syscall(seccomp, _SET_FILTER, flags, ctypes.byref(program))
        if handle >= 0:
            return int(handle) if flags else -1
    return None


def answer_attempt(listener: int) -> str:
    """Refuse one attempt that waits at ``listener``; return the name of the program, "" if gone."""
    waiting = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, waiting)
    except OSError:
        return ""  # it was ended while it waited
    number, process, *_ = _NOTIFICATION.unpack(waiting)
    try:
        name = Path(f"/proc/{process}/comm").read_text().strip()
        fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, -errno.ENETDOWN, 0))
    except OSError:
        return ""
    return name


def _filter(architecture: int, socket: int, verdict: int) -> bytes:
    """Return the filter as an array of struct sock_filter; jumps count from the next line."""
    foreign = _ERRNO | errno.ENOSYS
    x32 = _X32 if architecture == _MACHINES["x86_64"][0] else 0xFFFFFFFF
    lines = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 8, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 6, 0, x32),
        (_EQUAL, 5, 0, _URING),
        (_EQUAL, 0, 5, socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 3, 0, _UNIX),
        (_EQUAL, 2, 0, _NETLINK),
        (_RETURN, 0, 0, verdict),
        (_RETURN, 0, 0, foreign),
        (_RETURN, 0, 0, _ALLOW),
    )
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
