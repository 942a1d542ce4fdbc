from __future__ import annotations

import re
from pathlib import Path

import edgeops.convert.support
from edgeops.convert.litert.lower import lowerings
from edgeops.convert.support.tables import table

FILE = Path(edgeops.convert.support.__file__).parent / "litert.toml"


def test_every_operator_that_is_lowered_is_in_the_table_and_the_other_way_round():
    lowered = {f"{domain}:{name}" if domain else name for domain, name in lowerings()}
    assert set(table("litert").operators) == lowered


def test_table_is_sorted():
    names = re.findall(r"^\[operators\.([^\]]+)\]", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert names == sorted(names)
