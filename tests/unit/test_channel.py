"""Which offer of a channel a device takes: literals, and what must hold for all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.channel import (
    Channel,
    Offer,
    choose,
    in_share,
    matches,
    parse_channel,
    why_not,
)
from edgeops.core.manifest import Descriptor
from edgeops.errors import TrustError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TYPE = "application/vnd.oci.image.manifest.v1+json"


def offer(version="1.2.0", digit="a", **changes):
    bundle = Descriptor(TYPE, "sha256:" + digit * 64, 700)
    return Offer(version, bundle, f"releases/digits/{version}.json", **changes)


def channel(*offers):
    return Channel("stable", "digits", offers)


def taken(offers, *, device="d-1", attributes=None, runtime="0.3.0", now=NOW):
    found = choose(channel(*offers), device, attributes or {}, runtime, now)
    return found.version if found else None


def test_the_bytes_are_those_of_the_documentation():
    document = json.loads(
        channel(
            offer(
                share=0.1,
                cohort={"region": ("eu",), "memory_mb": ">= 512"},
                minimum_runtime="0.3.0",
                expires=datetime(2027, 1, 1, tzinfo=UTC),
                deltas=Descriptor(
                    "application/vnd.edgeops.deltas.v1+json", "sha256:" + "d" * 64, 9
                ),
            )
        ).encode()
    )
    assert document == {
        "format": "edgeops.channel/2",
        "channel": "stable",
        "project": "digits",
        "offers": [
            {
                "version": "1.2.0",
                "digest": "sha256:" + "a" * 64,
                "bundle": {"mediaType": TYPE, "digest": "sha256:" + "a" * 64, "size": 700},
                "release": "releases/digits/1.2.0.json",
                "share": 0.1,
                "cohort": {"region": ["eu"], "memory_mb": ">= 512"},
                "minimum_runtime": "0.3.0",
                "expires": "2027-01-01T00:00:00Z",
                "deltas": {
                    "mediaType": "application/vnd.edgeops.deltas.v1+json",
                    "digest": "sha256:" + "d" * 64,
                    "size": 9,
                },
            }
        ],
    }


def test_the_first_offer_that_admits_the_device_is_taken():
    everyone, first = offer("1.0.0", "b"), offer(cohort={"region": ("eu", "us")})
    assert taken([first, everyone], attributes={"region": "eu"}) == "1.2.0"
    assert taken([first, everyone], attributes={"region": "asia"}) == "1.0.0"
    assert taken([first, everyone]) == "1.0.0"
    assert taken([first]) is None
    assert taken([]) is None


def test_an_offer_that_expired_or_needs_more_is_passed_over():
    old = offer("1.0.0", "b")
    late = offer(expires=NOW)
    assert taken([late, old]) == "1.0.0"
    assert taken([late, old], now=NOW - timedelta(seconds=1)) == "1.2.0"
    new = offer(minimum_runtime="0.3.0")
    assert taken([new, old], runtime="0.3.0") == "1.2.0"
    assert taken([new, old], runtime="0.10.0") == "1.2.0"
    assert taken([new, old], runtime="0.3.0-rc.1") == "1.0.0"
    assert taken([new, old], runtime="unknown") == "1.0.0"


def test_it_says_why_each_offer_before_was_not_taken():
    offers = [
        offer("1.4.0", "e", share=0.0),
        offer("1.3.0", "d", cohort={"memory_mb": ">= 512"}),
        offer("1.2.0", "c", minimum_runtime="2.0.0"),
        offer("1.1.0", "b", cohort={"region": ("eu",)}),
        offer("1.0.0", "a"),
        offer("0.9.0", "f"),
    ]
    assert why_not(channel(*offers), "d", {"memory_mb": 256}, "0.3.0", NOW) == [
        "1.4.0: it is for 0.0000% of the devices, and this is none of them",
        "1.3.0: it is for devices whose memory_mb is >= 512, not 256",
        "1.2.0: it needs edgeops 2.0.0, this device has 0.3.0",
        "1.1.0: it is for devices whose region is eu, this one does not say",
    ]


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (("eu",), "eu", True),
        (("eu",), "EU", False),
        (("4",), 4, True),
        (("4",), 4.0, True),
        (("true",), True, True),
        (">= 512", 512, True),
        (">=512", 511.9, False),
        ("< 512", 511.9, True),
        ("== 4", 4.0, True),
        ("!= 4", 4, False),
        ("> x", 4, False),
        (">= 512", float("nan"), False),
        (">= inf", 4, False),
        ("== arm64", "arm64", True),
        ("!= arm64", "x86_64", True),
        (">= 1.20", "1.3.0", False),
        (">= 1.20", "1.22.1", True),
        (">= 512", "1024", True),
        (">= b", "c", False),
        ("about 5", 5, False),
    ],
)
def test_what_an_attribute_must_be(wanted, value, expected):
    assert matches(wanted, value) is expected


@pytest.mark.parametrize(("device", "drawn"), [("device-1", 0.050700), ("device-2", 0.675096)])
def test_the_share_is_drawn_from_digest_and_device_as_documented(device, drawn):
    digest = "sha256:" + "a" * 64
    assert in_share(digest, device, drawn + 1e-6)
    assert not in_share(digest, device, drawn - 1e-6)
    assert in_share(digest, device, 1.0)
    assert not in_share(digest, device, 0.0)


def test_a_share_gets_about_that_part_of_the_devices():
    digest = "sha256:" + "b" * 64
    got = sum(in_share(digest, f"device-{number}", 0.1) for number in range(20_000))
    assert 1_850 < got < 2_150


@given(st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_growing_share_keeps_its_devices(device, one, two):
    less, more = sorted((one, two))
    digest = "sha256:" + "c" * 64
    device = device.encode("utf-8", "replace").decode()
    assert not in_share(digest, device, less) or in_share(digest, device, more)


_WANTED = st.one_of(
    st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple),
    st.builds(
        "{} {}".format, st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]), st.integers(0, 9)
    ),
)
_OFFERS = st.lists(
    st.builds(
        offer,
        st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", fullmatch=True),
        st.sampled_from("abcdef"),
        share=st.floats(0, 1),
        cohort=st.dictionaries(st.text(max_size=5), _WANTED, max_size=2),
        minimum_runtime=st.sampled_from([None, "0.3.0", "9.0"]),
        expires=st.sampled_from([None, NOW, NOW + timedelta(days=1)]),
    ),
    max_size=4,
)


@given(_OFFERS)
def test_what_is_written_is_read_back(offers):
    before = channel(*offers)
    after = parse_channel(before.encode(), "here")
    assert after == before
    assert after.encode() == before.encode()


@given(_OFFERS, st.text(max_size=5), st.dictionaries(st.text(max_size=5), st.integers()))
def test_what_is_taken_is_the_first_without_a_reason(offers, device, attributes):
    device = device.encode("utf-8", "replace").decode()
    book = channel(*offers)
    found = choose(book, device, attributes, "0.3.0", NOW)
    reasons = why_not(book, device, attributes, "0.3.0", NOW)
    assert found == (offers[len(reasons)] if len(reasons) < len(offers) else None)


GOOD = json.loads(channel(offer(cohort={"region": ("eu",)})).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share", 1.1),
        ("share", -0.1),
        ("share", True),
        ("share", float("nan")),
        ("share", "1"),
        ("digest", "sha256:" + "b" * 64),
        ("bundle", {}),
        ("bundle", None),
        ("release", "releases/other/1.2.0.json"),
        ("version", "../up"),
        ("cohort", None),
        ("cohort", {"region": []}),
        ("cohort", {"region": "eu"}),
        ("cohort", {"region": [1]}),
        ("minimum_runtime", "new"),
        ("expires", "2027-13-01T00:00:00Z"),
        ("expires", "tomorrow"),
        ("expires", 5),
        ("deltas", {}),
    ],
)
def test_a_malformed_offer_is_refused(field, value):
    changed = {**GOOD, "offers": [{**GOOD["offers"][0], field: value}]}
    with pytest.raises(TrustError) as caught:
        parse_channel(json.dumps(changed).encode(), "here")
    assert caught.value.code == "channel-malformed"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"null",
        b"[" * 100_000,
        json.dumps({**GOOD, "format": "edgeops.channel/3"}).encode(),
        json.dumps({**GOOD, "channel": "a/b"}).encode(),
        json.dumps({**GOOD, "offers": {}}).encode(),
        json.dumps({**GOOD, "offers": GOOD["offers"] * 17}).encode(),
        json.dumps({**GOOD, "offers": [{"version": "1.0.0"}]}).encode(),
    ],
)
def test_what_is_no_channel_is_refused(data):
    with pytest.raises(TrustError) as caught:
        parse_channel(data, "here")
    assert caught.value.code == "channel-malformed"


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_anything_else_is_refused_with_its_own_error(data):
    with pytest.raises(TrustError, match="the channel cannot be read"):
        parse_channel(data, "here")


def test_an_offer_with_an_unknown_condition_is_taken_by_nobody():
    changed = {**GOOD, "offers": [{**GOOD["offers"][0], "cohort": {}, "moon": "full"}]}
    book = parse_channel(json.dumps(changed).encode(), "here")
    assert choose(book, "d", {}, "0.3.0", NOW) is None
    assert why_not(book, "d", {}, "0.3.0", NOW) == [
        "1.2.0: it has conditions that this edgeops does not know: moon"
    ]


def test_only_an_offer_without_conditions_is_for_everyone():
    assert offer().unconditional
    for change in (
        {"share": 0.5},
        {"cohort": {"a": ("b",)}},
        {"minimum_runtime": "1"},
        {"expires": NOW},
        {"unknown": ("x",)},
    ):
        assert not replace(offer(), **change).unconditional
