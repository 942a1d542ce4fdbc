"""What native code prints is kept off standard output, and at hand afterwards."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

from edgeops.runtime.engines.quiet import hushed


def test_what_the_c_library_prints_is_collected(capfd):
    with hushed() as said:
        ctypes.CDLL(None).puts(b"from C")
        os.write(1, b"from a system call\n")
    assert sorted(said.text.splitlines()) == ["from C", "from a system call"]
    assert capfd.readouterr().out == ""
    ctypes.CDLL(None).puts(b"afterwards")
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "afterwards\n"


def test_last_lines_are_joined():
    with hushed() as said:
        os.write(1, b"one\n\ntwo\nthree\n four \n")
    assert said.last(2) == "three; four"


def test_blocks_may_lie_in_each_other(capfd):
    with hushed() as outer:
        os.write(1, b"a\n")
        with hushed() as inner:
            os.write(1, b"b\n")
        os.write(1, b"c\n")
    assert (outer.text, inner.text) == ("a\nc\n", "b\n")
    assert capfd.readouterr().out == ""


def test_closed_standard_output_is_left_alone():
    code = (
        "import os, sys; os.close(1)\n"
        "from edgeops.runtime.engines.quiet import hushed\n"
        "with hushed() as said: sys.stderr.write('worked')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stderr == b"worked"
