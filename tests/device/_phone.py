"""A device as an Android phone has it: toybox and mksh where they are here, and no Python."""

from __future__ import annotations

import shutil
import stat
import subprocess

NEEDED = [
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "echo",
    "env",
    "find",
    "grep",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "tail",
    "taskset",
    "touch",
    "tr",
    "true",
    "uname",
    "wc",
]


def commands(folder, *, android=True):
    """Lay a folder of commands without Python; returns it and the shell."""
    folder.mkdir()
    toybox, mksh = shutil.which("toybox"), shutil.which("mksh")
    if android and toybox and mksh:
        listed = subprocess.run([toybox], capture_output=True, check=True, text=True).stdout
        for name in listed.split():
            (folder / name).symlink_to(toybox)
        # Debian's toybox is built without dd, Android's has it.
        if not (folder / "dd").exists():
            (folder / "dd").symlink_to(shutil.which("dd"))
        (folder / "sh").symlink_to(mksh)
        return folder, (mksh,)
    for name in NEEDED:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    shell = shutil.which("sh")
    (folder / "sh").symlink_to(shell)
    return folder, (shell,)


def script(path, text):
    """Write a program of sh."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def getprop(folder, **properties):
    """Add Android's getprop, which knows these properties (``_`` for ``.``)."""
    cases = "".join(
        f"{name.replace('_', '.')}) echo '{value}';; " for name, value in properties.items()
    )
    script(folder / "getprop", f"case $1 in {cases} esac")
