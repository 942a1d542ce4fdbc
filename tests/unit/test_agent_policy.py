"""When an agent updates and for how long a model serves: rules as literals, windows for all times."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import EdgeopsError
from edgeops.runtime.agent import clock, policy
from edgeops.runtime.agent.attributes import attributes
from edgeops.runtime.agent.home import State
from edgeops.runtime.agent.policy import DAY, HOUR, Policy, parse_policy, read_policy
from edgeops.runtime.agent.status import status
from edgeops.runtime.agent.windows import closes_in, is_open, opens_in, parse_window
from edgeops.runtime.serving.options import read_options

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1))  # noqa: DTZ001 - wall clocks


def _code(work, *arguments):
    with pytest.raises(EdgeopsError) as caught:
        work(*arguments)
    return caught.value.code, int(caught.value.exit_code)


# --- windows


def _local(text):
    return datetime.fromisoformat(text)  # 2026-03-02 is a Monday


@pytest.mark.parametrize(
    ("window", "at", "expected"),
    [
        ("02:00-05:00", "2026-03-02T01:59:59", False),
        ("02:00-05:00", "2026-03-02T02:00:00", True),
        ("02:00-05:00", "2026-03-02T04:59:59", True),
        ("02:00-05:00", "2026-03-02T05:00:00", False),
        ("22:00-06:00", "2026-03-02T23:30:00", True),
        ("22:00-06:00", "2026-03-03T05:59:00", True),
        ("22:00-06:00", "2026-03-03T06:00:00", False),
        ("Mon 22:00-06:00", "2026-03-03T05:00:00", True),  # Tuesday morning of Monday's window
        ("Mon 22:00-06:00", "2026-03-02T05:00:00", False),  # Monday morning was Sunday's
        ("Sun 22:00-06:00", "2026-03-02T05:00:00", True),  # over the end of the week
        ("Sat-Mon 10:00-11:00", "2026-03-01T10:30:00", True),
        ("Sat-Mon 10:00-11:00", "2026-03-03T10:30:00", False),
        ("Tue,Thu 10:00-11:00", "2026-03-05T10:30:00", True),
        ("00:00-00:00", "2026-03-02T17:00:00", True),
        ("00:00-24:00", "2026-03-02T17:00:00", True),
        ("18:00-24:00", "2026-03-02T23:59:59", True),
        ("18:00-24:00", "2026-03-03T00:00:00", False),
    ],
)
def test_window(window, at, expected):
    assert is_open([parse_window(window)], _local(at)) is expected


@pytest.mark.parametrize(
    ("window", "at", "seconds"),
    [
        ("02:00-05:00", "2026-03-02T01:00:00", 3600),
        ("02:00-05:00", "2026-03-02T03:00:00", 0),
        ("02:00-05:00", "2026-03-02T05:00:00", 21 * 3600),
        ("Mon 02:00-05:00", "2026-03-02T05:00:30", 7 * 86400 - 3 * 3600 - 30),
    ],
)
def test_next_opening(window, at, seconds):
    assert opens_in([parse_window(window)], _local(at)) == seconds


@pytest.mark.parametrize(
    ("found", "at", "seconds"),
    [
        (["02:00-05:00"], "2026-03-02T01:00:00", 0),
        (["02:00-05:00"], "2026-03-02T02:00:30", 3 * 3600 - 30),
        (["Sun 22:00-06:00"], "2026-03-02T05:00:00", 3600),
        (["02:00-05:00", "04:00-08:00"], "2026-03-02T04:00:00", 4 * 3600),
        (["00:00-24:00"], "2026-03-02T04:00:00", 20 * 3600),
    ],
)
def test_closing(found, at, seconds):
    assert closes_in(list(map(parse_window, found)), _local(at)) == seconds


def test_without_windows_it_is_always_time():
    assert is_open((), _local("2026-03-02T03:00:00"))
    assert opens_in((), _local("2026-03-02T03:00:00")) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02:00",
        "2:00-5:00",
        "02:60-05:00",
        "25:00-05:00",
        "24:30-05:00",
        "Mo 02:00-05:00",
        "Mon- 02:00-05:00,",
        "mon 02:00-05:00",
        "02:00-05:00 Mon",
        "Mon  02:00-05:00",
        "Mon-Tue-Wed 1",
    ],
)
def test_window_that_is_none(text):
    with pytest.raises(ValueError, match=r"window|clock|day"):
        parse_window(text)


days = st.sampled_from(["", "Mon ", "Sat-Sun ", "Fri-Mon ", "Tue,Thu-Fri "])
times = st.times().map(lambda time: time.strftime("%H:%M"))
windows = st.builds("{}{}-{}".format, days, times, times).map(parse_window)


@given(st.lists(windows, min_size=1, max_size=4), moments)
def test_a_window_that_will_open_is_open_then_and_not_before(found, local):
    wait = opens_in(found, local)
    assert 0 <= wait <= 7 * DAY
    assert is_open(found, local + timedelta(seconds=wait))
    if wait > 1:
        assert not is_open(found, local + timedelta(seconds=wait - 1))


# --- the policy file


def _policy(tmp_path, document):
    (tmp_path / "agent.json").write_text(
        document if isinstance(document, str) else json.dumps(document)
    )
    return read_policy(tmp_path)


def test_policy_of_a_home_without_one(tmp_path):
    assert read_policy(tmp_path) == Policy()
    assert _policy(tmp_path, {}) == Policy()


def test_policy_file(tmp_path):
    found = _policy(
        tmp_path,
        {
            "poll_s": 600,
            "jitter": 0,
            "retry_s": 5,
            "windows": ["Sat,Sun 22:00-06:00"],
            "hook": ["may-update", "--idle"],
            "hook_timeout_s": 2,
            "stale_after_s": 3600,
            "stop_after_s": 7200,
            "log_bytes": 10000,
        },
    )
    expected = Policy(
        600.0,
        0.0,
        5.0,
        (parse_window("Sat,Sun 22:00-06:00"),),
        ("may-update", "--idle"),
        2.0,
        3600.0,
        7200.0,
        10000,
    )
    assert found == expected


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"poll_s": NaN}',
        {"polls": 5},
        {"poll_s": 0},
        {"poll_s": "600"},
        {"poll_s": True},
        {"poll_s": 1e9},
        {"jitter": 1.5},
        {"poll_s": 10, "retry_s": 20},
        {"windows": "02:00-05:00"},
        {"windows": ["always"]},
        {"hook": "may-update"},
        {"hook": [""]},
        {"stale_after_s": 7200, "stop_after_s": 3600},
        {"log_bytes": 10},
    ],
    ids=repr,
)
def test_policy_that_cannot_be_followed(tmp_path, document):
    assert _code(_policy, tmp_path, document) == ("policy-malformed", 3)


@pytest.mark.parametrize(
    ("name", "read", "code"),
    [
        ("agent.json", read_policy, "policy-malformed"),
        ("attributes.json", attributes, "attributes-malformed"),
        ("serve.json", read_options, "serve-options"),
    ],
)
def test_file_of_the_owner_that_cannot_be_read(tmp_path, name, read, code):
    (tmp_path / name).mkdir()
    assert _code(read, tmp_path) == (code, 3)


def test_status_tells_of_a_policy_that_cannot_be_followed(tmp_path):
    (tmp_path / "state.json").write_bytes(State().encode())
    (tmp_path / "agent.json").mkdir()
    assert "policy of the agent cannot be followed" in status(tmp_path)["problem"]
    (tmp_path / "agent.json").rmdir()
    (tmp_path / "agent.json").write_text('{"poll_s": "often"}')
    told = status(tmp_path)
    assert told["problem"] == (
        "the policy of the agent cannot be followed: poll_s is a number, not 'often'"
    )
    assert told["state"] == "idle"


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from([field.name for field in fields(Policy)]) | st.text(max_size=6)


@given(st.dictionaries(names, documents, max_size=4) | documents)
def test_any_document_is_a_policy_or_refused(document):
    try:
        found = parse_policy(document)
    except (ValueError, TypeError):
        return
    assert found.retry_s <= found.poll_s
    assert 0.75 <= policy.next_wait(found, 3, 0.5) <= 31 * DAY


# --- waits


@pytest.mark.parametrize(
    ("failures", "random", "seconds"),
    [
        (0, 0.5, 3600),
        (0, 0.0, 2700),
        (0, 0.75, 4050),
        (1, 0.5, 60),
        (2, 0.5, 120),
        (6, 0.5, 1920),
        (7, 0.5, 3600),  # never longer than between polls
        (5000, 0.5, 3600),
    ],
)
def test_next_wait(failures, random, seconds):
    assert policy.next_wait(Policy(), failures, random) == seconds


def test_first_wait_spreads_devices():
    assert policy.first_wait(Policy(), 0.0) == 0
    assert policy.first_wait(Policy(), 0.5) == 450


def test_window_that_opens_is_no_signal_for_all_devices_at_once():
    assert policy.opened_wait(Policy(), 10_800, 0.5) == 450
    assert policy.opened_wait(Policy(), 600, 0.5) == 150  # nobody misses a short one
    assert policy.opened_wait(Policy(jitter=0.0), 10_800, 0.5) == 0


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.floats(1, 86400))
def test_waits_are_bounded(failures, random, poll):
    found = parse_policy({"poll_s": poll, "retry_s": 1})
    wait = policy.next_wait(found, failures, random)
    assert 0.75 <= wait <= 1.25 * poll


# --- clocks


@pytest.mark.parametrize(
    ("now", "seen", "wrong"),
    [
        (NOW, None, False),
        (NOW, NOW, False),
        (datetime(1970, 1, 1, 0, 3, tzinfo=UTC), None, True),  # no battery
        (NOW - timedelta(minutes=59), NOW, False),  # what NTP corrects
        (NOW - timedelta(minutes=61), NOW, True),
        (NOW + timedelta(days=9000), NOW, False),  # cannot be told from a long sleep
    ],
)
def test_clock(now, seen, wrong):
    assert bool(clock.behind(now, seen)) is wrong
    if wrong:
        assert _code(clock.check, now, seen) == ("clock-wrong", 20)
    else:
        clock.check(now, seen)


def test_a_clock_that_is_far_ahead_is_said():
    assert clock.expired_hint(NOW + timedelta(days=365), NOW) == ""
    assert clock.expired_hint(NOW, None) == ""
    hint = clock.expired_hint(datetime(2038, 1, 1, tzinfo=UTC), NOW)
    assert "2038-01-01T00:00:00Z" in hint
    assert "4323 days after" in hint


@given(st.lists(moments, min_size=1))
def test_what_was_seen_never_goes_back(times):
    kept = {}
    for time in times:
        kept = clock.saw(kept, time.replace(tzinfo=UTC))
    newest = max(times).replace(tzinfo=UTC, microsecond=0)
    assert clock.parse(kept["seen"]) == newest


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())))
def test_a_damaged_time_is_none(value):
    assert clock.parse(value) is None


# --- offline


@pytest.mark.parametrize(
    ("age", "state"),
    [(0, "fresh"), (6 * DAY, "fresh"), (8 * DAY, "stale"), (400 * DAY, "stale")],
)
def test_an_old_model_serves_for_ever_by_default(age, state):
    verified = NOW - timedelta(seconds=age)
    assert policy.freshness(Policy(), verified, NOW, verified).state == state


def test_serving_stops_where_the_policy_says_so():
    strict = Policy(stop_after_s=30 * DAY)
    states = [
        policy.freshness(strict, NOW - timedelta(days=days), NOW, None).state
        for days in (1, 29, 31)
    ]
    assert states == ["fresh", "stale", "stopped"]


def test_a_clock_that_is_behind_stops_nobody_and_is_said():
    verified = NOW - timedelta(days=3)
    found = policy.freshness(
        Policy(stop_after_s=7 * DAY), verified, datetime(1970, 1, 1, tzinfo=UTC), NOW
    )
    assert (found.state, found.age_s) == ("fresh", 3 * DAY)
    assert "1970" in found.why


def test_nothing_verified_yet():
    found = policy.freshness(Policy(stop_after_s=7 * DAY), None, NOW, None)
    assert (found.state, found.to_json()["age_s"]) == ("never", None)


def test_may_serve(tmp_path):
    policy.may_serve(tmp_path)
    old = clock.stamp(clock.utc_now() - timedelta(days=2))
    state = {"last_verified": old, "clock": {"seen": old}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    policy.may_serve(tmp_path)
    (tmp_path / "agent.json").write_text(json.dumps({"stale_after_s": HOUR, "stop_after_s": DAY}))
    assert _code(policy.may_serve, tmp_path) == ("serving-stopped", 4)
    (tmp_path / "state.json").write_text("damaged")
    policy.may_serve(tmp_path)


# --- attributes


def test_attributes_of_this_machine(tmp_path):
    found = attributes(tmp_path, "onnxruntime")
    assert found["os"] == "linux"
    assert found["cores"] >= 1
    assert found["memory_mb"] > 100
    assert found["engine_version"] == found["onnxruntime"]


def test_attributes_that_the_owner_states_win(tmp_path):
    (tmp_path / "attributes.json").write_text('{"region": "eu", "line": 4, "memory_mb": 64}')
    found = attributes(tmp_path)
    assert (found["region"], found["line"], found["memory_mb"]) == ("eu", 4.0, 64.0)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": null}', '{"a": true}', '{"a": ["x"]}', "[" * 99_999]
)
def test_attributes_that_are_none(tmp_path, text):
    (tmp_path / "attributes.json").write_text(text)
    assert _code(attributes, tmp_path) == ("attributes-malformed", 3)
