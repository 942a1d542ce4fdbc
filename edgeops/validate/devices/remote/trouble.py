"""What can be wrong with a device, as the errors that a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import EdgeopsError, MissingError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.validate.devices.remote.shell import Done

_FULL = ("No space left on device", "Disk quota exceeded")
_UNWRITABLE = ("Permission denied", "Read-only file system", "Operation not permitted")
_LAST_LINES = 3


def full(
    where: str, home: str, why: str, *, result: Mapping[str, Any] | None = None
) -> MissingError:
    """Return the error for a disk of the device that is full."""
    return MissingError(
        "device-disk-full",
        f"no space left on the disk that holds {home}",
        where=where,
        why=why,
        fix="free some space there; rm -rf ~/.cache/edgeops/blobs removes what was sent before",
        result=result,
    )


def is_full(words: str) -> bool:
    """Return whether a command said that the disk is full."""
    return any(text in words for text in _FULL)


def lost(where: str, why: str) -> TransportError:
    """Return the error for a connection that ended while it was used."""
    return TransportError(
        "device-lost",
        "the connection to the device was lost",
        where=where,
        why=why,
        fix="see that the device is on and connected, then run it again: it goes on where it was",
    )


def nothing_sums(where: str) -> MissingError:
    """Return the error for a device on which nothing adds up digests."""
    return MissingError(
        "device-tools",
        "the device has no program that adds up sha256 digests",
        where=where,
        why="none of sha256sum, shasum and python3 is there",
        fix="install coreutils or busybox on the device",
    )


def failed(where: str, home: str, done: Done) -> EdgeopsError:
    """Return the error for a command of edgeops's own that failed on the device."""
    words = last_words(done.err)
    if is_full(words):
        return full(where, home, words)
    if any(text in words for text in _UNWRITABLE):
        return MissingError(
            "device-not-writable",
            f"{home} cannot be written on the device",
            where=where,
            why=words,
            fix="name another folder there: `?home=/path` after the device's address",
        )
    return MissingError(
        "device-shell",
        "a command failed on the device that works on any POSIX system",
        where=where,
        why=words or f"it ended with exit code {done.code} and without a word",
        fix="log in and look whether sh, mkdir, mv, wc and df are there and the account may use them",
    )


def last_words(err: bytes) -> str:
    """Return the last lines of what a command said on standard error, in one line."""
    lines = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-1:] if "Traceback" in "".join(lines) else lines[-_LAST_LINES:])
