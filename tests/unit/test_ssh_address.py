"""Addresses after ``ssh:``: what is one, what is none, and that nothing else comes of any text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeops.errors import InputError
from edgeops.validate.devices.ssh.address import Address, parse

HOSTS = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)
USERS = st.from_regex(r"[a-z_][a-z0-9_-]{0,10}", fullmatch=True)
PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="%&"),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("camera", Address("camera")),
        ("pi@camera", Address("camera", "pi")),
        ("pi@10.0.0.7:2222", Address("10.0.0.7", "pi", 2222)),
        ("[::1]:22", Address("::1", "", 22)),
        ("[fe80::1%eth0]", Address("fe80::1%eth0")),
        ("fe80::1", Address("fe80::1")),
        ("a.b@c.d@camera", Address("camera", "a.b@c.d")),
        ("camera?python=/opt/v/bin/python3", Address("camera", python="/opt/v/bin/python3")),
        ("camera?home=~/x%20y&python=/p", Address("camera", python="/p", home="~/x y")),
    ],
)
def test_what_is_an_address(text, address):
    assert parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@camera",
        "pi@",
        "camera:",
        "camera:0",
        "camera:65536",
        "camera:ssh",
        "camera:\u0662\u0662",
        "-oProxyCommand=sh",
        "-o@camera",
        "pi@-camera",
        "ca mera",
        "camera;reboot",
        "camera\n",
        "[camera",
        "[]:22",
        "camera?",
        "camera?python",
        "camera?python=python3",
        "camera?python=/a&python=/b",
        "camera?shell=/bin/sh",
        "camera?home=/a\nb",
    ],
)
def test_what_is_none(text):
    with pytest.raises(InputError) as refused:
        parse(text)
    assert refused.value.code == "ssh-address"


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text):
    with suppress(InputError):
        found = parse(text)
        assert not found.host.startswith("-")
        assert not found.user.startswith("-")
        assert 0 <= found.port < 65536


@given(HOSTS, USERS, st.integers(1, 65535), PATHS)
def test_an_address_is_read_as_it_is_written(host, user, port, path):
    home = f"/{path}"
    found = parse(f"{user}@{host}:{port}?home={home}")
    assert found == Address(host, user, port, home=home)
    assert parse(found.text) == Address(host, user, port)
    assert found.login == f"ssh -p {port} {user}@{host}"
