"""The format of support tables: what is read, and what is refused with its place."""

from __future__ import annotations

import pytest

from edgeops.convert.support.tables import HERE, Condition, names, parse, read, table
from edgeops.errors import MissingError

HEAD = {"engine": "toy", "version": "1", "verified": "by hand"}


def test_all_tables_of_edgeops_keep_to_the_format_and_name_their_engine():
    stems = sorted(path.stem for path in HERE.glob("*.toml"))
    assert "onnxruntime" in stems
    for stem in stems:
        found = table(stem)
        assert found.engine == stem
        assert found.version
        assert found.verified
        assert found.operators


def test_an_engine_without_a_file_has_no_table():
    assert table("gameboy") is None
    assert "gameboy" not in names()


def test_operators_of_other_domains_are_keyed_with_their_domain():
    stated = {"com.microsoft:Gelu": {}, "Magic": {"domain": "com.acme"}, "Conv": {}}
    assert set(parse(HEAD | {"operators": stated}).operators) == {
        "com.microsoft:Gelu",
        "com.acme:Magic",
        "Conv",
    }


def test_rules_are_read_as_stated():
    rule = parse(
        HEAD
        | {
            "operators": {
                "Resize": {
                    "rank": {"0": [4]},
                    "constant": [2],
                    "allow": [{"opsets": [[11, 12], [13, 20]]}],
                    "forbid": [{"attributes": {"mode": ["cubic"]}, "why": "no such kernel"}],
                }
            }
        }
    ).operators["Resize"]
    assert rule.must == Condition(rank={"0": [4]}, constant=(2,))
    assert rule.allow == (Condition(opsets=((11, 12), (13, 20))),)
    assert rule.forbid == (Condition(attributes={"mode": ["cubic"]}, why="no such kernel"),)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operators": {"Conv": {"ranks": {"0": [4]}}}}, "operators.Conv has no key 'ranks'"),
        ({"operators": {"Conv": {"forbid": [{"axis": 1}]}}}, "operators.Conv.forbid has no key"),
        ({"operators": {"Conv": {"rank": {"0": 4}}}}, "operators.Conv.rank needs a list"),
        ({"operators": {"Conv": {"code": "odd"}}}, "operators.Conv.code may be one of"),
        ({"operators": {}, "limits": {"dynamic": "some"}}, "limits.dynamic is 'some'"),
        ({"operators": {}, "limits": {"size": 1}}, "limits has no key 'size'"),
        ({"operators": {}, "author": "me"}, "the table has no key 'author'"),
    ],
)
def test_what_does_not_keep_to_the_format_is_refused_by_place(changes, words):
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        parse(HEAD | changes)


@pytest.mark.parametrize("text", ['engine = "toy"\n', "engine =", "\x00"])
def test_file_that_is_no_table_is_missing_as_the_engine_would_be(tmp_path, text):
    (tmp_path / "toy.toml").write_text(text)
    with pytest.raises(MissingError) as caught:
        read(tmp_path / "toy.toml", "toy")
    assert caught.value.code == "support-table-bad"
    assert "toy" in caught.value.what
