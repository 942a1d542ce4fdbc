"""The work of the verbs ``promote``, ``withdraw`` and ``renew``: no stage, but it joins rooms as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.stages.publish import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True)
class PromoteRequest:
    """What ``edgeops promote`` was asked for; ``source`` is the channel that the release is on."""

    root: Path
    to: str
    channel: str | None = None
    source: str | None = None
    into: str | None = None
    version: str | None = None
    key: str = KEYS
    share: float | None = None
    cohort: Sequence[str] = ()
    minimum_runtime: str = ""
    expires: str = ""
    rollback: bool = False


def promote_verb(request: PromoteRequest, *, now: datetime | None = None) -> dict[str, Any]:
    """Change the terms of an offer, or copy a release from one channel into another.

    Raises UsageProblem ``promote-usage``, and what reading keys and moving an offer raise.
    """
    from edgeops.errors import UsageProblem
    from edgeops.publish.channels import parse_terms
    from edgeops.publish.keys import load_keys
    from edgeops.publish.moves import promote
    from edgeops.publish.stores import open_repository

    said = request.share, request.cohort, request.minimum_runtime, request.expires
    copied = request.source is not None and request.into is not None and request.channel is None
    changed = request.channel is not None and request.source is None and request.into is None
    if not copied and not (changed and (request.share is not None or any(said[1:]))):
        raise UsageProblem(
            "promote-usage",
            "say what is to be promoted, and to whom",
            why="either an offer of a channel gets new terms, or a release goes from one "
            "channel into another",
            fix="edgeops promote --to REPO --channel beta --share 0.5\n"
            "edgeops promote --to REPO --from beta --into stable",
        )
    result = promote(
        open_repository(request.to, request.root),
        load_keys(request.root / request.key),
        str(request.into or request.channel),
        parse_terms(*said),
        source=request.source,
        version=request.version,
        rollback=request.rollback,
        now=now,
    )
    return {**result, "repository": request.to}


def withdraw_verb(
    root: Path,
    version: str,
    to: str,
    reason: str,
    *,
    project: str | None = None,
    key: str = KEYS,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Withdraw a release; raises what reading keys and :func:`moves.withdraw` raise."""
    from edgeops.publish.keys import load_keys
    from edgeops.publish.moves import withdraw
    from edgeops.publish.stores import open_repository

    store = open_repository(to, root)
    keys = load_keys(root / key)
    return {**withdraw(store, keys, version, reason, project=project, now=now), "repository": to}


def renew_verb(
    root: Path, to: str, *, key: str = KEYS, now: datetime | None = None
) -> dict[str, Any]:
    """Sign again what is due, with the keys that are there: that of the timestamp is enough.

    Raises what reading keys and the repository raises, and InputError ``repository-empty``.
    """
    from edgeops.publish.keys import ONLINE, load_keys, present
    from edgeops.publish.repository import renew
    from edgeops.publish.stores import open_repository

    store = open_repository(to, root)
    roles = tuple(role for role in ONLINE if role == "timestamp" or present(root / key, role))
    keys = load_keys(root / key, roles=roles)
    return {**renew(store, keys, now=now), "repository": to}
