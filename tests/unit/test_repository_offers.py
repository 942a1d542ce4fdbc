"""Whom a release is offered to, how that grows, and how a bad release goes away."""

from __future__ import annotations

import json
import shutil
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.core.channel import Channel, Offer, choose, parse_channel
from edgeops.core.manifest import Descriptor
from edgeops.errors import EdgeopsError, InputError
from edgeops.publish.channels import Terms, apply, parse_cohort, parse_terms, place, without
from edgeops.publish.keys import init_keys, load_keys, rotate_keys
from edgeops.publish.metadata import read_served
from edgeops.publish.releases import read_channel, read_release
from edgeops.publish.stores import FolderStore
from edgeops.stages.publish_moves import PromoteRequest, promote_verb, renew_verb, withdraw_verb
from tests.unit._bundles import make_bundle, release

NOW = datetime.now(UTC)
DATA = Path(__file__).resolve().parents[1] / "data"
TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def root(tmp_path):
    init_keys(tmp_path / "keys", now=NOW)
    return tmp_path


def _code(work, *arguments, **options):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments, **options)
    return caught.value.code, int(caught.value.exit_code)


def _publish(root, version, channel="stable", **options):
    bundle = make_bundle(root / version, version=version, seed=sum(map(ord, version)))
    return release(root, bundle, **{"now": NOW, "channel": channel, **options})


def _promote(root, **options):
    return promote_verb(PromoteRequest(root, "repo", key="keys", **options), now=NOW)


def _withdraw(root, version, reason="it is wrong", **options):
    return withdraw_verb(root, version, "repo", reason, key="keys", now=NOW, **options)


def _book(root, channel="stable"):
    store = FolderStore(root / "repo")
    return read_channel(store, read_served(store, load_keys(root / "keys")), channel)


def _versions(root, channel="stable"):
    return [(offer.version, offer.share) for offer in _book(root, channel).offers]


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Publishing to some of the devices.


def test_a_release_is_offered_to_a_share_above_the_one_for_everyone(root):
    _publish(root, "1.0.0")
    result = _publish(
        root,
        "1.1.0",
        share=0.1,
        cohort=("region=eu", "memory_mb>=512"),
        minimum_runtime="0.3",
        expires="30d",
    )
    assert _versions(root) == [("1.1.0", 0.1), ("1.0.0", 1.0)]
    [first, last] = _book(root).offers
    assert first.cohort == {"region": ("eu",), "memory_mb": ">= 512"}
    assert first.minimum_runtime == "0.3"
    assert first.expires == NOW.replace(microsecond=0) + timedelta(days=30)
    assert last.unconditional
    assert result["offer"] == first.to_json()
    document = json.loads(
        next((root / "repo/targets/releases/tiny").glob("*.1.1.0.json")).read_bytes()
    )
    assert document["requires"] == {"runtime": "0.3"}
    assert document["withdrawn"] is None


def test_publishing_again_takes_nothing_away(root):
    _publish(root, "1.0.0")
    _publish(root, "1.1.0", share=0.5, expires="30d")
    before = _files(root / "repo")
    again = _publish(root, "1.1.0", share=0.1, expires="30d", now=NOW + timedelta(hours=1))
    assert again["bytes_uploaded"] == 0
    assert _files(root / "repo") == before
    _publish(root, "1.1.0", share=0.7)
    assert _versions(root) == [("1.1.0", 0.7), ("1.0.0", 1.0)]


def test_one_release_for_everyone_is_kept_to_fall_back_to(root):
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        _publish(root, version)
    assert _versions(root) == [("1.3.0", 1.0), ("1.2.0", 1.0)]


def test_a_mended_release_goes_below_the_one_that_is_tried(root):
    _publish(root, "1.0.0")
    _publish(root, "2.0.0", share=0.1)
    _publish(root, "1.0.1")
    assert _versions(root) == [("2.0.0", 0.1), ("1.0.1", 1.0), ("1.0.0", 1.0)]
    assert _code(_publish, root, "1.0.0") == ("channel-backwards", 3)
    _publish(root, "1.0.0", rollback=True)
    assert _versions(root) == [("1.0.0", 1.0)]


# Promoting.


def test_promote_raises_the_share_and_is_idempotent(root):
    _publish(root, "1.0.0")
    _publish(root, "1.1.0", channel="stable", share=0.1)
    result = _promote(root, channel="stable", share=0.5)
    assert (result["version"], result["offer"]["share"], result["changed"]) == ("1.1.0", 0.5, True)
    before = _files(root / "repo")
    again = _promote(root, channel="stable", share=0.5)
    assert (again["changed"], again["bytes_uploaded"]) == (False, 0)
    assert _files(root / "repo") == before
    _promote(root, channel="stable", share=0)
    assert _versions(root) == [("1.1.0", 0.0), ("1.0.0", 1.0)]


def test_promote_gives_a_cohort_up(root):
    _publish(root, "1.0.0")
    _publish(root, "1.1.0", cohort=("region=eu",))
    _promote(root, channel="stable", cohort=("any",))
    assert _book(root).offers[0].unconditional


def test_promote_copies_a_release_into_another_channel(root):
    _publish(root, "1.0.0")
    _publish(root, "1.1.0", channel="beta")
    result = _promote(root, source="beta", into="stable", share=0.2)
    assert (result["channel"], result["from"], result["version"]) == ("stable", "beta", "1.1.0")
    assert _versions(root) == [("1.1.0", 0.2), ("1.0.0", 1.0)]
    assert _versions(root, "beta") == [("1.1.0", 1.0)]
    assert _promote(root, source="beta", into="stable", share=0.2)["changed"] is False
    assert result["notes"] == []
    made = _promote(root, source="beta", into="new")
    assert made["offer"]["share"] == 1.0
    assert made["notes"] == ["new is a new channel; there were: beta, stable"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("promote-usage", 2)),
        ({"channel": "stable"}, ("promote-usage", 2)),
        ({"source": "stable"}, ("promote-usage", 2)),
        ({"channel": "stable", "source": "a", "into": "b"}, ("promote-usage", 2)),
        ({"channel": "nope", "share": 0.1}, ("channel-unknown", 3)),
        ({"channel": "stable", "version": "9", "share": 0.1}, ("offer-unknown", 3)),
        ({"channel": "stable", "share": 1.5}, ("share-invalid", 3)),
        ({"channel": "stable", "cohort": ("eu",)}, ("cohort-invalid", 3)),
        ({"channel": "stable", "expires": "soon"}, ("expires-invalid", 3)),
        ({"channel": "stable", "minimum_runtime": "new"}, ("runtime-invalid", 3)),
        ({"source": "stable", "into": "../up"}, ("name-invalid", 3)),
    ],
)
def test_promote_refuses_what_makes_no_sense(root, options, expected):
    _publish(root, "1.0.0")
    before = _files(root / "repo")
    assert _code(_promote, root, **options) == expected
    assert _files(root / "repo") == before


def test_promote_needs_a_repository(root):
    assert _code(_promote, root, channel="stable", share=1) == ("repository-empty", 3)
    assert not (root / "repo").exists()


# Withdrawing.


def test_withdraw_takes_a_release_out_of_all_channels(root):
    _publish(root, "1.0.0")
    _publish(root, "1.1.0")
    _promote(root, source="stable", into="beta")
    result = _withdraw(root, "1.1.0", "wrong labels")
    assert result["withdrawn"] == "wrong labels"
    assert result["channels"] == [
        {"channel": "beta", "offers": None},
        {"channel": "stable", "offers": "1.0.0"},
    ]
    assert _versions(root) == [("1.0.0", 1.0)]
    assert _versions(root, "beta") == []
    store = FolderStore(root / "repo")
    served = read_served(store, load_keys(root / "keys"))
    assert read_release(store, served, result["release"])["withdrawn"] == "wrong labels"


def test_withdraw_takes_out_a_version_that_was_rebuilt_too(root):
    _publish(root, "1.0.0", channel="beta")
    other = make_bundle(root / "rebuilt", seed=9)
    release(root, other, now=NOW, rebuild=True)
    assert _book(root).offers[0].digest != _book(root, "beta").offers[0].digest
    _withdraw(root, "1.0.0")
    assert (_versions(root), _versions(root, "beta")) == ([], [])


def test_withdraw_is_idempotent_and_the_first_reason_stays(root):
    _publish(root, "1.0.0")
    _withdraw(root, "1.0.0", "first")
    before = _files(root / "repo")
    again = _withdraw(root, "1.0.0", "second")
    assert (again["withdrawn"], again["changed"]) == ("first", False)
    assert again["notes"] == ["it was withdrawn before, and that reason stays: first"]
    assert _files(root / "repo") == before


def test_a_withdrawn_release_comes_back_only_when_that_is_said(root):
    _publish(root, "1.0.0")
    _withdraw(root, "1.0.0", "wrong labels")
    with pytest.raises(InputError) as caught:
        _publish(root, "1.0.0")
    assert caught.value.code == "release-withdrawn"
    assert "wrong labels" in caught.value.why
    result = _publish(root, "1.0.0", reinstate=True)
    assert result["notes"] == ["it had been withdrawn: wrong labels"]
    assert _versions(root) == [("1.0.0", 1.0)]
    assert _publish(root, "1.0.0")["bytes_uploaded"] == 0


def test_withdraw_says_which_project_and_release_it_means(root):
    _publish(root, "1.0.0")
    assert _code(_withdraw, root, "2.0.0") == ("release-unknown", 3)
    assert _code(_withdraw, root, "1.0.0", " ") == ("reason-missing", 3)
    other = make_bundle(root / "other", name="other")
    release(root, other, channel="other", now=NOW)
    assert _code(_withdraw, root, "1.0.0") == ("project-unsaid", 3)
    result = _withdraw(root, "1.0.0", project="other")
    assert result["channels"] == [{"channel": "other", "offers": None}]
    assert _versions(root) == [("1.0.0", 1.0)]


# Renewing.


def _ci(root, *names):
    shutil.rmtree(root / "ci", ignore_errors=True)
    (root / "ci").mkdir()
    for name in ("root.json", "timestamp.pem", *names):
        shutil.copy(root / "keys" / name, root / "ci" / name)


def test_renew_needs_the_key_of_the_timestamp_alone(root):
    _publish(root, "1.0.0")
    _ci(root)
    before = _files(root / "repo")
    assert renew_verb(root, "repo", key="ci", now=NOW)["renewed"] == []
    assert _files(root / "repo") == before
    result = renew_verb(root, "repo", key="ci", now=NOW + timedelta(days=20))
    assert (result["renewed"], result["notes"]) == (["timestamp"], [])
    changed = {name for name, data in _files(root / "repo").items() if before.get(name) != data}
    assert changed == {"metadata/timestamp.json"}
    result = renew_verb(root, "repo", key="ci", now=NOW + timedelta(days=60))
    assert result["notes"] == [
        f"snapshot is good until {NOW + timedelta(days=90):%Y-%m-%d}, and its key is not here"
    ]


def test_renew_after_a_rotation(root):
    _publish(root, "1.0.0")
    later = NOW + timedelta(days=20)
    rotate_keys(root / "keys", "timestamp", now=NOW)
    before = _files(root / "repo")
    _ci(root)
    # The repository has the root before, of which this folder knows nothing.
    assert _code(renew_verb, root, "repo", key="ci", now=later) == ("roots-missing", 4)
    shutil.copytree(root / "keys" / "roots", root / "ci" / "roots")
    # A new root comes with new signatures of all roles.
    assert _code(renew_verb, root, "repo", key="ci", now=later) == ("keys-missing", 4)
    assert _files(root / "repo") == before
    renew_verb(root, "repo", key="keys", now=NOW)
    _ci(root)
    assert renew_verb(root, "repo", key="ci", now=later)["renewed"] == ["timestamp"]


def test_a_root_between_is_not_left_out(root):
    _publish(root, "1.0.0")
    for role in ("timestamp", "snapshot"):
        rotate_keys(root / "keys", role, now=NOW)
    (root / "keys" / "roots" / "2.root.json").unlink()
    before = _files(root / "repo")
    assert _code(renew_verb, root, "repo", key="keys", now=NOW) == ("roots-missing", 4)
    assert _files(root / "repo") == before


def test_renew_with_the_key_of_the_snapshot_renews_that_too(root):
    _publish(root, "1.0.0")
    _ci(root, "snapshot.pem")
    result = renew_verb(root, "repo", key="ci", now=NOW + timedelta(days=60))
    assert result["renewed"] == ["snapshot", "timestamp"]
    _publish(root, "1.1.0", now=NOW + timedelta(days=61))
    assert _versions(root)[0] == ("1.1.0", 1.0)


# The rules, by themselves.


def test_cohorts_are_read_as_people_write_them():
    assert parse_cohort(["region=eu", "region=us,asia", " memory_mb >= 512 ", "arch==arm64"]) == {
        "region": ("eu", "us", "asia"),
        "memory_mb": ">= 512",
        "arch": "== arm64",
    }
    assert parse_cohort(["any"]) == {}


@pytest.mark.parametrize(
    "text", ["", "eu", "=eu", "region=", "region=eu,", "a b=c", "any,", "x=>5y=", ">=5"]
)
def test_a_cohort_that_says_nothing_is_refused(text):
    if text == "x=>5y=":
        assert parse_cohort([text]) == {"x": (">5y=",)}
        return
    assert _code(parse_cohort, [text]) == ("cohort-invalid", 3)


def test_two_conditions_on_one_attribute_are_refused():
    assert _code(parse_cohort, ["a>=1", "a<=5"]) == ("cohort-invalid", 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(weeks=2)),
        ("2027-01-01", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T10:00:00Z", datetime(2027, 1, 1, 10, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_time_or_a_duration(text, expected):
    assert parse_terms(None, (), "", text).expires == expected


def _offer(number, **changes):
    bundle = Descriptor(TYPE, f"sha256:{number:064x}", 1)
    return Offer(f"{number}.0.0", bundle, f"releases/p/{number}.0.0.json", **changes)


def test_a_channel_takes_so_many_offers_and_no_more():
    book = Channel("c", "p")
    for number in range(1, 17):
        book = place(book, _offer(number, share=0.1), NOW)
    assert _code(place, book, _offer(17, share=0.1), NOW) == ("channel-crowded", 3)
    assert place(book, _offer(17), NOW).offers == (_offer(17),)


def test_offers_that_expired_are_dropped_when_another_is_made():
    book = place(Channel("c", "p"), _offer(1), NOW)
    book = place(book, _offer(2, expires=NOW + timedelta(days=1)), NOW)
    later = place(book, _offer(3, share=0.5), NOW + timedelta(days=2))
    assert [offer.version for offer in later.offers] == ["3.0.0", "1.0.0"]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "share", "withdraw"]),
        st.integers(1, 12),
        st.sampled_from([0.0, 0.3, 1.0]),
    ),
    max_size=14,
)


@given(_STEPS)
def test_no_device_is_taken_back_but_by_withdrawing(steps):
    """Whatever is published and promoted, a device's version only grows until one is withdrawn."""
    book = Channel("c", "p")
    seen = {}
    for word, number, share in steps:
        gone = 0
        try:
            if word == "publish":
                book = place(book, apply(_offer(number), Terms(share), NOW), NOW)
            elif word == "share" and book.offers:
                first = book.offers[0]
                book = place(book, apply(first, Terms(max(share, first.share)), NOW), NOW)
            elif word == "withdraw":
                gone = number
                book = without(book, f"{number}.0.0")
        except InputError:
            continue
        book = parse_channel(book.encode(), "here")
        for device in ("a", "b", "c"):
            found = choose(book, device, {}, "0.3.0", NOW)
            version = int(found.version.split(".")[0]) if found else 0
            known = seen.get(device, 0)
            if found and known != gone and word != "publish":
                assert version >= known or known not in _numbers(book)
            seen[device] = version


def _numbers(book):
    return {int(offer.version.split(".")[0]) for offer in book.offers}


# What edgeops 0.1 left.


@pytest.fixture
def old(tmp_path):
    """A repository of edgeops 0.1: 1.1.0 is on stable, 1.0.0 on beta; kept as it was written."""
    with tarfile.open(DATA / "repository-0.1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda root: _publish(root, "1.2.0", share=0.1),
        lambda root: _promote(root, source="stable", into="new"),
        lambda root: _withdraw(root, "1.0.0"),
    ],
)
def test_a_repository_of_edgeops_0_1_is_brought_over(old, change):
    change(old)
    store = FolderStore(old / "repo")
    served = read_served(store, load_keys(old / "keys"))
    assert set(served.releases) == {"releases-tiny"}
    assert all(path.startswith("channels/") for path in served.targets.signed.targets)
    assert {"1.0.0", "1.1.0"} <= set(served.versions("tiny"))
    for path, info in served.files().items():
        name = f"{info.hashes['sha256']}.{path.split('/')[1]}"
        parse_channel((old / "repo/targets/channels" / name).read_bytes(), path)
    assert ("1.1.0", 1.0) in _versions(old)


def test_renewing_it_with_all_keys_leaves_it_readable(old):
    result = renew_verb(old, "repo", key="keys", now=NOW + timedelta(days=100))
    assert "releases-tiny" in result["renewed"]
    assert ("1.1.0", 1.0) in _versions(old)
    _publish(old, "1.2.0", now=NOW + timedelta(days=101))
    assert _versions(old)[0] == ("1.2.0", 1.0)


# What edgeops.yaml says.


def test_the_stage_takes_the_terms_from_edgeops_yaml(tmp_path):
    from edgeops.project.load import load_project
    from edgeops.stages.publish import Publish

    (tmp_path / "edgeops.yaml").write_text(
        "project: tiny\nversion: 1.0.0\nmodel: model.onnx\n"
        "targets:\n  gateway: {engine: onnxruntime, device: local, precision: fp32}\n"
        "stages:\n  pack: {}\n  publish:\n    to: repo\n    share: 0.1\n"
        "    cohort: [region=eu, memory_mb>=512]\n    minimum_runtime: 0.3.0\n"
        "    expires: 30d\n    deltas: 2\n"
    )
    project = load_project(tmp_path)
    options = project.stage_using("publish").options
    assert (options.share, options.cohort) == (0.1, ("region=eu", "memory_mb>=512"))
    assert (options.minimum_runtime, options.expires, options.deltas) == ("0.3.0", "30d", 2)
    params = Publish().plan(project, None, options).params
    assert {"stages.publish.share", "stages.publish.cohort"} <= set(params)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"share": 2.0}, "share-invalid"),
        ({"cohort": ("eu",)}, "cohort-invalid"),
        ({"expires": "soon"}, "expires-invalid"),
        ({"to": "oci://127.0.0.1:1/a", "share": 0.5}, "mirror-terms"),
    ],
)
def test_terms_that_are_none_are_found_before_anything_runs(tmp_path, options, code):
    from edgeops.stages.publish import Publish, PublishOptions

    init_keys(tmp_path / "keys")
    found = _code(Publish().preflight, tmp_path, None, None, PublishOptions(key="keys", **options))
    assert found == (code, 3)
