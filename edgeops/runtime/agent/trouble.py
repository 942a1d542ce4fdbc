"""What may go wrong around an update, as the errors that a person can act on."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeops.errors import MissingError, RefusedError, TrustError
from edgeops.runtime.agent.blobs import BROKEN, MARGIN, disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edgeops.core.manifest import Manifest
    from edgeops.errors import EdgeopsError

FULL = (errno.ENOSPC, errno.EDQUOT)
# What is wrong with the files of a release themselves.
_UNTRUSTED = frozenset({"bundle-malformed", "bundle-path-outside", "wheel-unsafe"})


def candidate_refused(manifest: Manifest, why: str, *, again: bool = False) -> RefusedError:
    """Return the error for a release that did not pass its warm-up, for now or for good."""
    return RefusedError(
        "candidate-slow" if again else "candidate-refused",
        f"{manifest.name} {manifest.version} was not taken: it did not pass its warm-up",
        where=manifest.descriptor.digest,
        why=why,
        fix="nothing: the next update tries it again"
        if again
        else "mend on this device what it names and update with --retry, which alone tries it again, or "
        "publish a release that works here",
    )


def device_lacks(manifest: Manifest, code: str, why: str, fix: str) -> MissingError:
    """Return the error for a release that cannot be loaded for want of something on the device."""
    return MissingError(
        code,
        f"{manifest.name} {manifest.version} was not taken: this device lacks what it is loaded with",
        where=manifest.descriptor.digest,
        why=why,
        fix=f"{fix}; the next update tries the release again",
    )


def refused_before(version: str, digest: str, entry: Mapping[str, str]) -> EdgeopsError:
    """Return the error for a release that is offered and was refused before: its exit code is as then."""
    code = entry.get("code", "")
    what = f"{version} is offered and not taken: this device refused it before"
    why = f"at {entry['at']}: {entry['why']}" + (f" [{code}]" if code else "")
    again = "update with --retry, which alone tries it again, or publish a release that works here"
    if code in _UNTRUSTED:
        fix = f"do not use it: ask the publisher; {again}"
        return TrustError(code, what, where=digest, why=why, fix=fix)
    fix = f"mend on this device what it names and {again}"
    return RefusedError("release-refused", what, where=digest, why=why, fix=fix)


@contextmanager
def disk(home: Path, left: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turn a disk that takes no more, or is broken, into the error that says so.

    ``left`` says how many bytes are still to be written when it comes to that.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(home, str(error), left() + MARGIN) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise MissingError(
                "not-writable",
                f"the agent may not read and write in {home}",
                where=str(error.filename or home),
                why=error.strerror or str(error),
                fix="mount the disk for writing: a system makes one that fails read-only"
                if error.errno == errno.EROFS
                else "run the agent as the owner of its home; what is installed goes on serving",
            ) from error
        if error.errno in BROKEN:
            raise MissingError(
                "disk-broken",
                "the disk of this device cannot read or write",
                where=str(error.filename or home),
                why=error.strerror or str(error),
                fix="look at the system's log (dmesg) and replace the disk or card if it says so",
            ) from error
        raise
