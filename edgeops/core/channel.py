"""A channel as a value: what it offers, and which offer a device takes. See docs/formats/repository.md.

Publishing writes it, devices decide by it. Everything here is pure: bytes, values and a clock come in.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Union

from edgeops.core.files import canonical_json
from edgeops.core.manifest import Descriptor, parse_descriptor, valid_name
from edgeops.core.versions import older, order
from edgeops.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "edgeops.channel/2"
DELTAS_TYPE = "application/vnd.edgeops.deltas.v1+json"
MAX_OFFERS = 16
TIME = "%Y-%m-%dT%H:%M:%SZ"
_COMPARISON = re.compile(r"(==|!=|>=|<=|>|<) *(\S.*)")
_TIMES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_HOLDS = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
}
_FIELDS = {
    "version",
    "digest",
    "bundle",
    "release",
    "share",
    "cohort",
    "minimum_runtime",
    "expires",
    "deltas",
}

# What an attribute must be: one of these texts, or what this comparison says.
Wanted = Union[tuple[str, ...], str]


@dataclass(frozen=True)
class Offer:
    """A release that a channel offers to a part of its devices.

    ``share`` is a fraction of the devices; ``cohort`` is what their attributes must be;
    ``expires`` is a time in UTC. ``unknown`` names fields that this edgeops does not know: they
    may be conditions, so no device takes such an offer.
    """

    version: str
    bundle: Descriptor
    release: str
    share: float = 1.0
    cohort: Mapping[str, Wanted] = field(default_factory=dict)
    minimum_runtime: str | None = None
    expires: datetime | None = None
    deltas: Descriptor | None = None
    unknown: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the bundle."""
        return self.bundle.digest

    @property
    def unconditional(self) -> bool:
        """Whether every device takes it, now and later."""
        return (
            self.share >= 1
            and not self.cohort
            and self.minimum_runtime is None
            and self.expires is None
            and not self.unknown
        )

    def to_json(self) -> dict[str, Any]:
        """Return the offer as it stands in the channel."""
        return {
            "version": self.version,
            "digest": self.digest,
            "bundle": self.bundle.to_json(),
            "release": self.release,
            "share": float(self.share),
            "cohort": {
                name: wanted if isinstance(wanted, str) else list(wanted)
                for name, wanted in self.cohort.items()
            },
            "minimum_runtime": self.minimum_runtime,
            "expires": self.expires.strftime(TIME) if self.expires else None,
            "deltas": self.deltas.to_json() if self.deltas else None,
        }


@dataclass(frozen=True)
class Channel:
    """What a project's channel offers, newest first."""

    channel: str
    project: str
    offers: tuple[Offer, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes of the channel, which are the same for the same channel."""
        return canonical_json(
            {
                "format": FORMAT,
                "channel": self.channel,
                "project": self.project,
                "offers": [offer.to_json() for offer in self.offers],
            }
        )


def parse_channel(data: bytes, where: str) -> Channel:
    """Return the channel in ``data``; raises TrustError ``channel-malformed``."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            message = f"format is {document['format']!r}, this edgeops reads {FORMAT!r}"
            raise ValueError(message)
        channel, project = document["channel"], document["project"]
        _require(valid_name(channel) and valid_name(project), "a name is none")
        _require(isinstance(document["offers"], list), "offers are a list")
        _require(len(document["offers"]) <= MAX_OFFERS, f"it has more than {MAX_OFFERS} offers")
        offers = tuple(_offer(item, project) for item in document["offers"])
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TrustError(
            "channel-malformed",
            "the channel cannot be read",
            where=where,
            why=f"{type(error).__name__}: {error}",
            fix="do not use it: ask the publisher to publish again, with an edgeops as new as yours",
        ) from error
    return Channel(channel, project, offers)


def choose(
    channel: Channel,
    device_id: str,
    attributes: Mapping[str, str | float],
    runtime: str,
    now: datetime,
) -> Offer | None:
    """Return the first offer that admits the device, or None: it keeps what it has then.

    ``runtime`` is the version of edgeops on the device, ``now`` its time with a zone.
    """
    for offer in channel.offers:
        if refusal(offer, device_id, attributes, runtime, now) is None:
            return offer
    return None


def why_not(
    channel: Channel,
    device_id: str,
    attributes: Mapping[str, str | float],
    runtime: str,
    now: datetime,
) -> list[str]:
    """Return a line for each offer before the one that :func:`choose` returns."""
    lines = []
    for offer in channel.offers:
        why = refusal(offer, device_id, attributes, runtime, now)
        if why is None:
            break
        lines.append(f"{offer.version}: {why}")
    return lines


def refusal(
    offer: Offer,
    device_id: str,
    attributes: Mapping[str, str | float],
    runtime: str,
    now: datetime,
) -> str | None:
    """Return why an offer does not admit a device, or None when it does."""
    if offer.unknown:
        return f"it has conditions that this edgeops does not know: {', '.join(offer.unknown)}"
    if offer.expires is not None and now >= offer.expires:
        return f"it expired on {offer.expires.strftime(TIME)}"
    least = offer.minimum_runtime
    if least is not None and (order(runtime) is None or older(runtime, least)):
        return f"it needs edgeops {least}, this device has {runtime}"
    outside = _outside(offer, attributes)
    if outside is not None:
        return outside
    if not in_share(offer.digest, device_id, offer.share):
        return f"it is for {offer.share:.4%} of the devices, and this is none of them"
    return None


def _outside(offer: Offer, attributes: Mapping[str, str | float]) -> str | None:
    for name, wanted in sorted(offer.cohort.items()):
        if name not in attributes:
            return f"it is for devices whose {name} is {_text(wanted)}, this one does not say"
        if not matches(wanted, attributes[name]):
            return f"it is for devices whose {name} is {_text(wanted)}, not {attributes[name]}"
    return None


def in_share(digest: str, device_id: str, share: float) -> bool:
    """Return whether a device belongs to the share of a release.

    A growing share keeps the devices it has; another release picks others.
    """
    drawn = hashlib.sha256(f"{digest}:{device_id}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < share * 2**64


def matches(wanted: Wanted, value: str | float) -> bool:
    """Return whether an attribute is one of the texts, or what the comparison says.

    A number is compared with a number. Text is equal or not; larger and smaller are asked of
    versions alone. What cannot be compared does not match.
    """
    if not isinstance(wanted, str):
        return _written(value) in wanted
    found = _COMPARISON.fullmatch(wanted)
    if not found:
        return False
    sign, right = found[1], found[2].strip()
    if isinstance(value, str):
        if sign in ("==", "!="):
            return bool(_HOLDS[sign](value, right))
        left_order, right_order = order(value), order(right)
        if left_order is None or right_order is None:
            return False
        return bool(_HOLDS[sign](left_order, right_order))
    number = _number(right)
    return number is not None and math.isfinite(value) and bool(_HOLDS[sign](value, number))


def valid_wanted(wanted: object) -> bool:
    """Return whether a cohort may ask this of an attribute."""
    if isinstance(wanted, str):
        return _COMPARISON.fullmatch(wanted) is not None
    return (
        isinstance(wanted, (list, tuple))
        and bool(wanted)
        and all(isinstance(text, str) for text in wanted)
    )


def parse_time(text: object) -> datetime:
    """Return a time written as 2027-01-01T00:00:00Z; raises ValueError."""
    _require(isinstance(text, str) and _TIMES.fullmatch(text) is not None, "a time is none")
    return datetime.strptime(str(text), TIME).replace(tzinfo=timezone.utc)


def _offer(item: Mapping[str, Any], project: str) -> Offer:
    missing = sorted(_FIELDS - set(item))
    _require(not missing, f"an offer lacks {', '.join(missing)}")
    bundle = parse_descriptor(item["bundle"])
    version, share, cohort, least = (
        item["version"],
        item["share"],
        item["cohort"],
        item["minimum_runtime"],
    )
    _require(valid_name(version), "a version is none")
    _require(item["digest"] == bundle.digest, "an offer names two bundles")
    _require(item["release"] == f"releases/{project}/{version}.json", "a release is of another")
    _require(type(share) in (int, float) and 0 <= share <= 1, "a share is no fraction")
    _require(isinstance(cohort, dict), "a cohort has attributes")
    _require(all(valid_wanted(wanted) for wanted in cohort.values()), "a cohort asks for nothing")
    _require(least is None or order(least) is not None, "a runtime is no version")
    deltas = item["deltas"]
    return Offer(
        version,
        bundle,
        item["release"],
        float(share),
        {
            name: wanted if isinstance(wanted, str) else tuple(wanted)
            for name, wanted in cohort.items()
        },
        least,
        None if item["expires"] is None else parse_time(item["expires"]),
        None if deltas is None else parse_descriptor(deltas),
        tuple(sorted(set(item) - _FIELDS)),
    )


def _require(truth: bool, message: str) -> None:
    if not truth:
        raise ValueError(message)


def _written(value: str | float) -> str:
    """Return a number as a person writes it: 512, not 512.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _text(wanted: Wanted) -> str:
    return wanted if isinstance(wanted, str) else " or ".join(wanted)
