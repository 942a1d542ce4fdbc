"""Every code that can be raised is explained, every explanation can be raised."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import edgeops
from edgeops import errors

PACKAGE = Path(edgeops.__file__).parent
KINDS = {
    name: kind.exit_code
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.EdgeopsError)
}


def _raised():
    """Yield (code, exit code or None for findings, place) of every literal in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name not in {*KINDS, "Finding"} or not isinstance(first, ast.Constant):
                continue
            yield first.value, KINDS.get(name), f"{path.name}:{node.lineno}"


def _explained():
    entries = {}
    for path in sorted((PACKAGE / "explain").glob("*.toml")):
        for code, entry in tomllib.loads(path.read_text()).items():
            assert code not in entries, f"{code} is explained twice"
            entries[code] = entry
    return entries


def test_every_code_is_explained_with_the_exit_code_it_has():
    entries = _explained()
    for code, exit_code, place in _raised():
        assert code in entries, f"{place} raises {code}, which no explain/*.toml explains"
        if exit_code is not None:
            assert entries[code]["exit"] == exit_code, f"{place} {code}"


def test_every_explanation_can_be_raised():
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    unused = [code for code in _explained() if f'"{code}"' not in text]
    assert unused == []


def test_explanations_say_why_and_what_to_do():
    for code, entry in _explained().items():
        assert set(entry) == {"exit", "title", "text", "fix"}, code
        assert all(str(value).strip() for value in entry.values()), code
