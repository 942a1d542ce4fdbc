"""The plugin registry: every kind through entry points, checked when loaded.

A plugin that cannot be imported or lacks a part of its contract is listed as broken with the
reason and refused when used; it never stops another from working.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgeops.errors import MissingError

# What each kind must have, by attribute name; `api` is checked for all.
REQUIRED: dict[str, tuple[str, ...]] = {
    "stages": ("info", "Options", "plan", "preflight", "run"),
    "converters": ("name", "api", "precisions", "available", "check", "convert"),
    "engines": ("name", "api", "available", "version", "load"),
    "devices": ("name", "api", "reach", "probe", "push", "pull", "run"),
    "metrics": ("name", "api", "higher_is_better", "score"),
    "datasets": ("name", "api", "read"),
    "stores": ("name", "api", "at", "put", "get", "exists", "list"),
}
API = 1
OWN = "edgeops"


@dataclass(frozen=True)
class Plugin:
    """A registered plugin: ``value`` is the object, or None and ``broken`` says why."""

    kind: str
    name: str
    distribution: str
    target: str
    value: Any = None
    broken: str = ""


@cache
def registered(kind: str) -> tuple[Plugin, ...]:
    """Return all plugins of a kind, edgeops's own first, then by name; broken ones included."""
    taken: dict[str, str] = {}
    plugins = []
    for entry in _found(kind):
        plugin = _load(kind, entry)
        if entry.name in taken:
            reason = f"the name {entry.name!r} is taken by {taken[entry.name]}"
            plugin = Plugin(kind, entry.name, plugin.distribution, entry.value, None, reason)
        else:
            taken[entry.name] = plugin.distribution
        plugins.append(plugin)
    return tuple(plugins)


def names(kind: str) -> tuple[str, ...]:
    """Return the names of a kind without importing any plugin."""
    return tuple(dict.fromkeys(entry.name for entry in _found(kind)))


def get(kind: str, name: str) -> Any:
    """Return one plugin's object, importing only that one.

    Raises MissingError ``plugin-unknown`` or ``plugin-broken``.
    """
    candidates = [entry for entry in _found(kind) if entry.name == name]
    if not candidates:
        near = difflib.get_close_matches(name, names(kind), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(names(kind)) or "none"
        raise MissingError(
            "plugin-unknown",
            f"no {kind.removesuffix('s')} is called {name!r}{hint}",
            where=f"edgeops.{kind}",
            why=f"registered: {known}",
            fix=f"use one of these, or install the package that registers {name!r}",
        )
    plugin = _load(kind, candidates[0])
    if plugin.broken:
        raise MissingError(
            "plugin-broken",
            f"the {kind.removesuffix('s')} plugin {name!r} of {plugin.distribution} is broken",
            where=plugin.target,
            why=plugin.broken,
            fix=f"upgrade or remove the package {plugin.distribution}; edgeops plugins lists all",
        )
    return plugin.value


def own(kind: str) -> tuple[str, ...]:
    """Return the names that edgeops itself registers, without importing any plugin."""
    return tuple(entry.name for entry in _found(kind) if _distribution(entry) == OWN)


@cache
def _found(kind: str) -> tuple[EntryPoint, ...]:
    found, group = _entries(), f"edgeops.{kind}"
    # Before Python 3.10 it is a dict, and a package that is found twice is in it twice.
    chosen = found.select(group=group) if hasattr(found, "select") else found.get(group, ())
    return tuple(sorted(dict.fromkeys(chosen), key=_order))


@cache
def _entries() -> Any:
    # One walk over all installed packages for all kinds: it takes tens of milliseconds.
    return entry_points()


def _distribution(entry: EntryPoint) -> str:
    try:
        return _name(entry.dist)
    except AttributeError:
        # Before Python 3.10 an entry does not know whose it is; its module's package does.
        return entry.value.partition(":")[0].partition(".")[0]


@cache
def _name(dist: Any) -> str:
    # Asking for the name parses the package's whole description; a package has many entries.
    return str(dist.name) if dist else ""


@cache
def _load(kind: str, entry: EntryPoint) -> Plugin:
    distribution = _distribution(entry) or "unknown"
    common = (kind, entry.name, distribution, entry.value)
    try:
        value = entry.load()
        if isinstance(value, type):
            value = value()
    except Exception as error:  # noqa: BLE001 - a third party's import may fail in any way
        return Plugin(*common, broken=f"{type(error).__name__}: {error}")
    return Plugin(*common, value=value, broken=_contract_problem(kind, entry.name, value))


def _contract_problem(kind: str, name: str, value: Any) -> str:
    missing = [attribute for attribute in REQUIRED[kind] if not hasattr(value, attribute)]
    if missing:
        return f"it lacks {', '.join(missing)}"
    about = value.info if kind == "stages" else value
    if about.api != API:
        return f"it is written for api {about.api}, this edgeops speaks api {API}"
    if about.name != name:
        return f"it is registered as {name!r} but calls itself {about.name!r}"
    return ""


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    distribution = _distribution(entry)
    return (distribution != OWN, entry.name, distribution)
