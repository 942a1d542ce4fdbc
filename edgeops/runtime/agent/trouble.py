"""What may go wrong around an update, as the errors that a person can act on."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeops.errors import MissingError, RefusedError, TrustError
from edgeops.runtime.agent.blobs import BROKEN, MARGIN, disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeops.core.manifest import Manifest
    from edgeops.errors import EdgeopsError
    from edgeops.runtime.agent.activation import Step

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


def no_fault_of(manifest: Manifest, step: Step, damaged: Sequence[str]) -> EdgeopsError | None:
    """Return the error for a candidate whose device is at fault, None where the release itself is.

    ``damaged`` are files in its slot that were whole when they came.
    """
    name, where = f"{manifest.name} {manifest.version}", manifest.descriptor.digest
    if damaged:
        return TrustError(
            "digest-mismatch",
            f"{name} was not taken: files of it were damaged on this device",
            where=where,
            why=f"the sha256 of {', '.join(damaged)} differs from what was fetched ({step.why})",
            fix="nothing: the next update fetches them again; if it stays so, look at the disk (dmesg)",
        )
    if step.fix:
        return MissingError(
            step.code,
            f"{name} was not taken: this device lacks what it is loaded with",
            where=where,
            why=step.why,
            fix=f"{step.fix}; the next update tries the release again",
        )
    return None


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
