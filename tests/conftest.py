"""Fixtures for all tests: an isolated home, the corpus, goldens, tiny models."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import write_tiny_model

# No example is held to a time, wherever the tests run: a machine that is busy may take long over any.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: tests
# that interrupt would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture(autouse=True)
def isolation(tmp_path_factory, monkeypatch):
    """Give every test a home, git identity and cache of its own, and no terminal width."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.org")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    for name in (
        "GITHUB_STEP_SUMMARY",
        "GITHUB_ACTIONS",
        "EDGEOPS_EVENTS",
        "EDGEOPS_KEY_PASSPHRASE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def corpus():
    """Return the folder of real models and labelled data, or skip the test saying so."""
    named = os.environ.get("EDGEOPS_CORPUS")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "corpus"
    if not (folder / "index.json").is_file():
        pytest.skip("the corpus of real models is not here: set EDGEOPS_CORPUS to its folder")
    return folder


@pytest.fixture
def tiny_model():
    """Return the function that writes a small ONNX classifier."""
    return write_tiny_model


@pytest.fixture
def golden(request, tmp_path):
    """Return a function that holds a text against tests/golden/NAME, rewriting it when told to.

    The test's folder becomes <dir>, so that the text is the same everywhere.
    """

    def check(name: str, text: str) -> None:
        text = text.replace(str(tmp_path), "<dir>")
        text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"no golden file {path.name}: write it with --update-golden"
        assert text == path.read_text()

    return check
