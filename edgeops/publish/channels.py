"""What becomes of a channel when a release is offered, promoted or withdrawn; pure.

Offers stand newest first and a device takes the first that admits it. One offer for everyone is
kept below the one that all take now, so that devices have something to fall to when that is
withdrawn; what stands below it would never be reached and is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from edgeops.core.channel import MAX_OFFERS, Channel, parse_time, valid_wanted
from edgeops.core.versions import older, order
from edgeops.errors import InputError
from edgeops.publish.releases import channel_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgeops.core.channel import Offer, Wanted

_CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*(==|!=|>=|<=|>|<|=)\s*(\S.*?)\s*")
_LASTS = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNIT = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_KEPT_FOR_EVERYONE = 2


@dataclass(frozen=True)
class Terms:
    """Whom a release is offered to, as a person said it; what was not said is None.

    ``expires`` is a time, or how long the offer lasts from when it is first made.
    """

    share: float | None = None
    cohort: dict[str, Wanted] | None = None
    minimum_runtime: str | None = None
    expires: datetime | timedelta | None = None


def parse_terms(
    share: float | None, cohort: Sequence[str], minimum_runtime: str, expires: str
) -> Terms:
    """Return terms from options, "" and () for what was not said.

    Raises InputError ``share-invalid``, ``cohort-invalid``, ``runtime-invalid`` or
    ``expires-invalid``.
    """
    if share is not None and not 0 <= share <= 1:
        raise InputError(
            "share-invalid",
            f"{share:g} is no share of the devices",
            where="share",
            why="a share is a fraction from 0 to 1; 0.1 is a tenth",
            fix="say for example --share 0.1",
        )
    if minimum_runtime and order(minimum_runtime) is None:
        raise InputError(
            "runtime-invalid",
            f"{minimum_runtime!r} is no version of edgeops",
            where="minimum-runtime",
            why="a device compares it with its own version, as Semantic Versioning says",
            fix="say for example --minimum-runtime 0.3.0",
        )
    return Terms(
        share,
        parse_cohort(cohort) if cohort else None,
        minimum_runtime or None,
        _expires(expires) if expires else None,
    )


def parse_cohort(conditions: Iterable[str]) -> dict[str, Wanted]:
    """Return a cohort from conditions such as ``region=eu`` and ``memory_mb>=512``.

    ``=`` may be said several times, or with commas, for one attribute: any of the texts will do.
    ``any`` alone is the cohort of all devices. Raises InputError ``cohort-invalid``.
    """
    texts = list(conditions)
    if texts == ["any"]:
        return {}
    found: dict[str, Wanted] = {}
    for text in texts:
        match = _CONDITION.fullmatch(text)
        if not match:
            raise _cohort_invalid(text, "it is not ATTRIBUTE, a sign, and a value")
        name, sign, value = match.groups()
        before = found.get(name)
        wanted: Wanted = (
            tuple(part.strip() for part in value.split(",")) if sign == "=" else f"{sign} {value}"
        )
        if isinstance(before, tuple) and isinstance(wanted, tuple):
            wanted = tuple(dict.fromkeys((*before, *wanted)))
        elif before is not None:
            raise _cohort_invalid(text, f"{name} has another condition already")
        if not valid_wanted(wanted) or (isinstance(wanted, tuple) and "" in wanted):
            raise _cohort_invalid(text, "it asks for nothing")
        found[name] = wanted
    return found


def apply(offer: Offer, terms: Terms, now: datetime, *, raise_only: bool = False) -> Offer:
    """Return an offer on new terms; what they do not say stays as it is.

    With ``raise_only`` nothing is taken from devices that have it, and a time that was set stands
    against a duration: saying the same again changes nothing.
    """
    if raise_only and offer.unconditional:
        return offer
    changes: dict[str, object] = {}
    if terms.share is not None:
        changes["share"] = max(terms.share, offer.share) if raise_only else terms.share
    if terms.cohort is not None:
        changes["cohort"] = terms.cohort
    if terms.minimum_runtime is not None:
        changes["minimum_runtime"] = terms.minimum_runtime
    if isinstance(terms.expires, datetime):
        changes["expires"] = terms.expires
    elif terms.expires is not None and not (raise_only and offer.expires):
        changes["expires"] = now.replace(microsecond=0) + terms.expires
    return replace(offer, **changes)  # type: ignore[arg-type]


def find(channel: Channel | None, version: str) -> Offer | None:
    """Return the offer of a version, if the channel has one."""
    offers = channel.offers if channel else ()
    return next((offer for offer in offers if offer.version == version), None)


def place(channel: Channel, offer: Offer, now: datetime, *, rollback: bool = False) -> Channel:
    """Return the channel with an offer in its place: below newer ones, above older ones.

    Raises InputError ``channel-backwards`` when a newer offer is for everyone, so that no device
    would take this one; with ``rollback`` newer offers are dropped. ``channel-crowded`` when there
    are too many offers.
    """
    rest = [item for item in channel.offers if item.version != offer.version]
    newer = [item for item in rest if older(offer.version, item.version)]
    if rollback:
        rest = [item for item in rest if item not in newer]
        newer = []
    hiding = next((item for item in newer if item.unconditional), None)
    if hiding is not None:
        raise InputError(
            "channel-backwards",
            f"the channel {channel.channel!r} is at {hiding.version}, newer than {offer.version}",
            where=channel_path(channel.channel),
            why="moving a channel back takes devices to an older model",
            fix="if that is meant: edgeops publish BUNDLE --to REPO --channel "
            f"{channel.channel} --rollback",
        )
    at = rest.index(newer[-1]) + 1 if newer else 0
    offers = _needed([*rest[:at], offer, *rest[at:]], offer, now)
    if len(offers) > MAX_OFFERS:
        raise InputError(
            "channel-crowded",
            f"the channel {channel.channel!r} would have {len(offers)} offers",
            where=channel_path(channel.channel),
            why=f"devices read them all; a channel has {MAX_OFFERS} at most",
            fix="promote one of them to all devices (edgeops promote --share 1 --cohort any), "
            "or withdraw some",
        )
    return replace(channel, offers=offers)


def without(channel: Channel, version: str) -> Channel:
    """Return the channel without the offer of a version, whatever files it had."""
    return replace(channel, offers=tuple(o for o in channel.offers if o.version != version))


def check_project(channel: Channel, project: str) -> None:
    """Refuse a channel of another project; raises InputError ``channel-taken``."""
    if channel.project != project:
        raise InputError(
            "channel-taken",
            f"the channel {channel.channel!r} belongs to {channel.project}",
            where=channel_path(channel.channel),
            why="a channel names the releases of one project, or its devices would get another one",
            fix="publish to another channel or to another repository",
        )


def _needed(offers: Sequence[Offer], placed: Offer, now: datetime) -> tuple[Offer, ...]:
    """Return the offers that a device can come to, now or when those above are withdrawn."""
    kept: list[Offer] = []
    for offer in offers:
        if offer is placed or offer.expires is None or offer.expires > now:
            kept.append(offer)
        if sum(item.unconditional for item in kept) == _KEPT_FOR_EVERYONE:
            break
    if len(kept) > MAX_OFFERS:  # then what nobody takes now goes, but for what all fall back to
        top = next((at for at, item in enumerate(kept) if item.unconditional), len(kept))
        kept = kept[: top + 1] + [item for item in kept[top + 1 :] if item.unconditional]
    return tuple(kept)


def _expires(text: str) -> datetime | timedelta:
    match = _LASTS.fullmatch(text)
    if match:
        return int(match[1]) * _UNIT[match[2]]
    try:
        return parse_time(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise InputError(
            "expires-invalid",
            f"{text!r} is no time and no duration",
            where="expires",
            why="an offer ends at a time in UTC, or so long after it was first made",
            fix="say for example --expires 30d or --expires 2027-01-01T00:00:00Z",
        ) from error


def _cohort_invalid(text: str, why: str) -> InputError:
    return InputError(
        "cohort-invalid",
        f"{text!r} says nothing about a device",
        where="cohort",
        why=why,
        fix="say for example --cohort region=eu --cohort 'memory_mb>=512', or --cohort any",
    )
