"""What docs/predictor.md and docs/formats/rules.md show is run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from edgeops.errors import EdgeopsError
from edgeops.project.documents import read_document
from edgeops.runtime.rules import parse
from edgeops.runtime.rules.detection import read_detection
from edgeops.runtime.rules.document import Reader
from edgeops.runtime.rules.expressions import OWN_FUNCTIONS, STANDARD
from tests.predicting import DOUBLED, TOP, add_documents
from tests.unit._bundles import make_bundle
from tests.unit.test_predictor import _unpacked

DOCS = Path(__file__).parents[2] / "docs"
RULES = (DOCS / "formats/rules.md").read_text()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def _blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_predictor_run(tmp_path, monkeypatch):
    bundle = make_bundle(tmp_path)
    add_documents(_unpacked(tmp_path / "device", bundle), features=DOUBLED, rules=TOP)
    (tmp_path / "gateway").rename(tmp_path / "variant")
    monkeypatch.chdir(tmp_path)
    names = {"numpy": np}
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for number, block in enumerate(_blocks((DOCS / "predictor.md").read_text(), "python")):
        test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", "docs", 0)
        runner.run(test, clear_globs=False)
        names.update(test.globs)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 5


@pytest.mark.parametrize("block", _blocks(RULES, "yaml"))
def test_the_documents_that_are_shown_are_rules(block, tmp_path):
    (tmp_path / "rules.yaml").write_text(block)
    rules = parse(read_document("rules.yaml", tmp_path).value, "rules.yaml")
    assert rules.rules


def test_the_first_document_answers(tmp_path):
    (tmp_path / "rules.yaml").write_text(_blocks(RULES, "yaml")[0])
    rules = parse(read_document("rules.yaml", tmp_path).value)
    labels = ("cat", "dog", "bird")
    scores = np.array([[0.5, 0.375, 0.125]], np.float32)
    assert rules({}, {"probabilities": scores}, labels) == {
        "label": "unknown",
        "candidates": ["cat", "dog"],
    }
    scores = np.array([[0.75, 0.125, 0.125]], np.float32)
    expected = {"label": "cat", "score": 0.75, "model": 3}
    assert rules({}, {"probabilities": scores}, labels) == expected


def test_every_function_and_option_is_documented():
    for name in OWN_FUNCTIONS | STANDARD:
        assert f"`{name}" in RULES, name
    about = Reader({"form": "ssd", "boxes": "b", "scores": "s", "nothing": 1}, "", "s")
    with pytest.raises(EdgeopsError) as caught:
        read_detection(about, "s", "")
    for name in caught.value.fix.removeprefix("known here: ").split(", "):
        assert f"`{name}`" in RULES, name
