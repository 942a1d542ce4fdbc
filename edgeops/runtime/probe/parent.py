"""End with the process that started this one."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, number: int) -> bool:
    """Have the kernel send signal ``number`` when the process ``parent`` is gone; False if it is.

    Linux only: elsewhere, and for ``parent`` 0, nothing is done.
    """
    if not sys.platform.startswith("linux") or not parent:
        return True
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent
