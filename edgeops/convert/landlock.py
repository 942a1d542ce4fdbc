"""Let this process write only below given folders, enforced by Linux (Landlock).

Source: Documentation/userspace-api/landlock.rst and include/uapi/linux/landlock.h. Reading stays
free: models, libraries and data may lie anywhere.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The three system calls have the same numbers on every architecture.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS, linux/prctl.h

# LANDLOCK_ACCESS_FS_*: the ways to change something, by the ABI that brought them.
_WRITE_FILE = 1 << 1
_CHANGES = {
    1: _WRITE_FILE | sum(1 << bit for bit in range(4, 13)),  # remove and make, of every kind
    2: 1 << 13,  # REFER: move or link into another folder
    3: 1 << 14,  # TRUNCATE
}
_OF_FILES = _WRITE_FILE | 1 << 14
_TCP = 0b11  # LANDLOCK_ACCESS_NET_BIND_TCP, _CONNECT_TCP: ABI 4
_SCOPES = 0b11  # abstract sockets and signals of processes outside: ABI 6
_ABI_TCP, _ABI_SCOPES = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("filesystem", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock's interface in this kernel, 0 where there is none.

    ``EDGEOPS_NO_LANDLOCK`` in the environment counts as none: some sandboxes answer, but break.
    """
    if sys.platform != "linux" or os.environ.get("EDGEOPS_NO_LANDLOCK"):
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(
        0, int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))
    )


def confine_writes(places: Sequence[str]) -> int:
    """Allow writing below ``places`` only, for this thread and all that it starts from now on.

    Places that are not there are left out. Returns the version of Landlock's interface that was
    used, 0 where the kernel has none: nothing is confined then.
    """
    abi = version()
    if not abi:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    changes = sum(rights for since, rights in _CHANGES.items() if since <= abi)
    asked = _Ruleset(
        changes,
        _TCP if abi >= _ABI_TCP else 0,
        _SCOPES if abi >= _ABI_SCOPES else 0,
    )
    known = 8 * (1 + (abi >= _ABI_TCP) + (abi >= _ABI_SCOPES))
    ruleset = _checked(
        libc.syscall(_CREATE, ctypes.byref(asked), ctypes.c_size_t(known), ctypes.c_uint32(0))
    )
    try:
        for place in places:
            _allow(libc, ruleset, place, changes)
        _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    return abi


def _allow(libc: ctypes.CDLL, ruleset: int, place: str, changes: int) -> None:
    try:
        folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = changes if os.path.isdir(place) else changes & _OF_FILES  # noqa: PTH112 - one path
        rule = _PathBeneath(rights, folder)
        _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(folder)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
