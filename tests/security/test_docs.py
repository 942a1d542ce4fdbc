"""What docs/security.md and docs/operations.md say is there: tests, codes, the fields of the policy."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import edgeops
from edgeops.runtime.agent.policy import Policy

CHECKOUT = Path(__file__).resolve().parents[2]
SECURITY = (CHECKOUT / "docs" / "security.md").read_text()
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text()
# Words with a dash in code that are no codes of errors.
_OTHERS = {"edgeops-agent", "edgeops-serve", "systemd-analyze"}


def _codes():
    folder = Path(edgeops.__file__).parent / "explain"
    return {code for path in folder.glob("*.toml") for code in tomllib.loads(path.read_text())}


def test_the_tests_that_are_named_are_there():
    names = set(re.findall(r"`((?:tests/\S+?/)?test_\w+\.py)`", SECURITY))
    assert len(names) > 8
    missing = [
        name
        for name in names
        if not (CHECKOUT / name).is_file() and not list(CHECKOUT.glob(f"tests/*/{name}"))
    ]
    assert missing == []
    functions = set(re.findall(r"`(test_\w+)`", SECURITY))
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in functions if f"def {name}(" not in texts] == []


def test_the_codes_that_are_named_are_there():
    for text in (SECURITY, OPERATIONS.split("## On the device")[1].split("\n## ")[0]):
        named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text)) - _OTHERS
        events = {"not-now", "policy-kept"}
        assert named - _codes() - events == set()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", SECURITY):
        assert (CHECKOUT / "docs" / target).exists(), target


def test_the_policy_is_described_whole_with_its_defaults():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", OPERATIONS, re.MULTILINE))
    for field in fields(Policy):
        said = rows[field.name].strip("`")
        default = {(): "[]", None: "null"}.get(field.default, field.default)
        assert said == (default if isinstance(default, str) else f"{default:g}"), field.name
