"""Slots by their names: which target one is of, and what belongs to it."""

from __future__ import annotations

import pytest

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.manifest import Descriptor, Layer
from edgeops.runtime.agent import slots
from edgeops.runtime.agent.home import Slot, slot_target

HEX = sha256_bytes(b"a bundle")
BUNDLE = digest(HEX)


@pytest.mark.parametrize("target", ["", "gateway", "arm64.v8-a_1+2", "a-b"])
def test_target_is_read_from_the_name_that_it_was_put_into(target):
    assert slot_target(Slot("1.0.0", BUNDLE, target).name) == target


@pytest.mark.parametrize(
    "name", ["", "gateway", f".new-{HEX[:16]}-gateway", f"{HEX[:16]}gateway", f"{HEX[:17]}-gateway"]
)
def test_name_that_is_no_slots_has_no_target(name):
    assert slot_target(name) == ""


def test_slot_that_is_still_written_belongs_to_no_target(tmp_path):
    layer = Layer(Descriptor("", BUNDLE, 8), "variants/x/model.bin", "variant", "x")
    for name, wanted in ((f"{HEX[:16]}-x", [layer]), (f"{HEX[:16]}_x", [])):
        (tmp_path / name).mkdir()
        assert slots.wanted_here(tmp_path / name, [layer]) == wanted
