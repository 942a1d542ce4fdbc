"""Run DVC on a leash: when the process that started it is gone, its whole group ends too.

``python -m edgeops.pipeline.leash FD ARGUMENT...`` is ``python -m dvc ARGUMENT...`` and a thread
that waits for the end of the pipe FD. Only the starting process holds the other end, so that even
SIGKILL there, which nobody can catch, leaves no stage running behind.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 5.0


def main() -> None:
    """Run DVC with the arguments after the first, which is the number of the pipe."""
    pipe, *arguments = sys.argv[1:]
    threading.Thread(target=_watch, args=(int(pipe),), daemon=True).start()
    sys.argv = ["dvc", *arguments]
    runpy.run_module("dvc", run_name="__main__", alter_sys=True)


def _watch(pipe: int) -> None:
    os.read(pipe, 1)
    # The stages get time to remove what they have half done; DVC itself waits for them.
    os.killpg(0, signal.SIGINT)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
