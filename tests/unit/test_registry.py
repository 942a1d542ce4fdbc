"""Plugins are checked when loaded; a broken one is listed and never in the way."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from edgeops.core import registry
from edgeops.errors import MissingError

GOOD = """
class Good:
    name, api, higher_is_better = "good", 1, True
    def score(self, outputs, labels): return 1.0
class Mute:
    name, api, higher_is_better = "mute", 1, True
class Old:
    name, api, higher_is_better = "old", 0, True
    def score(self, outputs, labels): return 1.0
class Other:
    name, api, higher_is_better = "else", 1, True
    def score(self, outputs, labels): return 1.0
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "plugin_under_test.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = (
        *tuple(
            EntryPoint(name, f"plugin_under_test:{cls}", "edgeops.metrics")
            for name, cls in [
                ("good", "Good"),
                ("mute", "Mute"),
                ("old", "Old"),
                ("named", "Other"),
                ("gone", "Gone"),
            ]
        ),
        EntryPoint("good", "plugin_under_test:Other", "edgeops.metrics"),
    )
    monkeypatch.setattr(registry, "entry_points", lambda: EntryPoints(found))
    cached = (registry.registered, registry._entries, registry._found, registry._load)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_registered_lists_broken_plugins_with_the_reason(installed):
    reasons = [(plugin.name, plugin.broken) for plugin in registry.registered("metrics")]
    assert reasons == [
        ("gone", "AttributeError: module 'plugin_under_test' has no attribute 'Gone'"),
        ("good", ""),
        ("good", "the name 'good' is taken by unknown"),
        ("mute", "it lacks score"),
        ("named", "it is registered as 'named' but calls itself 'else'"),
        ("old", "it is written for api 0, this edgeops speaks api 1"),
    ]


def test_get_returns_a_good_plugin_beside_broken_ones(installed):
    assert registry.get("metrics", "good").score({}, []) == 1.0


def test_get_refuses_a_broken_plugin_with_the_reason(installed):
    with pytest.raises(MissingError) as caught:
        registry.get("metrics", "mute")
    assert caught.value.code == "plugin-broken"
    assert caught.value.why == "it lacks score"


def test_get_names_the_nearest_when_unknown(installed):
    with pytest.raises(MissingError) as caught:
        registry.get("metrics", "god")
    assert caught.value.code == "plugin-unknown"
    assert "did you mean 'good'" in caught.value.what
