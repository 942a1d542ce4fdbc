"""Support tables: what an engine takes, as data that needs no engine to be read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
DYNAMIC = ("any", "batch", "none")
CODES = (
    "operator-unsupported",
    "attribute-unsupported",
    "rank-unsupported",
    "dtype-unsupported",
    "constant-needed",
    "dynamic-shape",
    "data-dependent-shape",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a node; see docs/plugins.md for each key."""

    rank: Mapping[str, list[int]] = field(default_factory=dict)
    dtypes: Mapping[str, list[str]] = field(default_factory=dict)
    constant: tuple[int, ...] = ()
    variable: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    present: tuple[int, ...] = ()
    static: bool = False
    dynamic: bool = False
    elements_min: Mapping[str, int] = field(default_factory=dict)
    elements_max: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[str, list[Any]] = field(default_factory=dict)
    attributes_min: Mapping[str, float] = field(default_factory=dict)
    attributes_max: Mapping[str, float] = field(default_factory=dict)
    outputs: int | None = None
    outputs_min: int | None = None
    opsets: tuple[tuple[int, int], ...] = ()
    why: str = ""
    fix: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An operator: what must hold, one of what is allowed, and none of what is forbidden."""

    must: Condition
    allow: tuple[Condition, ...] = ()
    forbid: tuple[Condition, ...] = ()
    data_dependent: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """What an engine takes; ``operators`` by name, ``domain:name`` outside of the standard one."""

    engine: str
    version: str
    verified: str
    operators: Mapping[str, Rule]
    dynamic: str = "any"
    dtypes: frozenset[str] | None = None
    rank: int | None = None
    empty: bool = True


def names() -> tuple[str, ...]:
    """Return the engines that have a table, edgeops's own first, then those of plugins."""
    own = tuple(sorted(path.stem for path in HERE.glob("*.toml")))
    return (*own, *sorted(set(_of_plugins()) - set(own)))


@cache
def table(engine: str) -> Table | None:
    """Return an engine's table, or None when it has none: its converter's ``check`` decides.

    Raises MissingError ``support-table-bad`` when it does not keep to the format.
    """
    path = HERE / f"{engine}.toml"
    if not path.is_file():
        path = _of_plugins().get(engine, path)
    return read(path, engine) if path.is_file() else None


def read(path: Path, engine: str) -> Table:
    """Read a table file; raises MissingError ``support-table-bad``."""
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MissingError(
            "support-table-bad",
            f"the table of what {engine} takes cannot be read",
            where=path.name,
            why=f"{type(error).__name__}: {error}",
            fix="upgrade or remove the package that brings it; edgeops plugins lists all",
        ) from error


def parse(document: Mapping[str, Any]) -> Table:
    """Return the table that a TOML document states; raises ValueError naming what is wrong."""
    _only(document, ("engine", "version", "verified", "limits", "operators"), "the table")
    limits = document.get("limits", {})
    _only(limits, ("dynamic", "dtypes", "rank", "empty"), "limits")
    dynamic = limits.get("dynamic", "any")
    if dynamic not in DYNAMIC:
        raise ValueError(f"limits.dynamic is {dynamic!r}, it may be one of {', '.join(DYNAMIC)}")
    operators = {}
    for key, stated in document["operators"].items():
        domain, _, name = key.rpartition(":")
        domain = stated.get("domain", domain)
        operators[f"{domain}:{name}" if domain else name] = _rule(key, stated)
    return Table(
        engine=document["engine"],
        version=document["version"],
        verified=document["verified"],
        operators=operators,
        dynamic=dynamic,
        dtypes=frozenset(limits["dtypes"]) if "dtypes" in limits else None,
        rank=limits.get("rank"),
        empty=limits.get("empty", True),
    )


def _rule(key: str, stated: Mapping[str, Any]) -> Rule:
    own = {k: v for k, v in stated.items() if k not in _OF_RULES}
    return Rule(
        must=_condition(key, own),
        allow=tuple(_condition(f"{key}.allow", part) for part in stated.get("allow", ())),
        forbid=tuple(_condition(f"{key}.forbid", part) for part in stated.get("forbid", ())),
        data_dependent=stated.get("data_dependent", False),
    )


_OF_RULES = ("domain", "data_dependent", "allow", "forbid")
_KEYS = tuple(part.name for part in fields(Condition))
_TUPLES = ("constant", "variable", "absent", "present")


def _condition(key: str, stated: Mapping[str, Any]) -> Condition:
    _only(stated, _KEYS, f"operators.{key}")
    if stated.get("code", CODES[0]) not in CODES:
        raise ValueError(f"operators.{key}.code may be one of {', '.join(CODES)}")
    for name in ("rank", "dtypes", "attributes"):
        if any(not isinstance(allowed, list) for allowed in stated.get(name, {}).values()):
            raise ValueError(f"operators.{key}.{name} needs a list of what is allowed")
    changed = {name: tuple(stated[name]) for name in _TUPLES if name in stated}
    if "opsets" in stated:
        changed["opsets"] = tuple((low, high) for low, high in stated["opsets"])
    return Condition(**{**stated, **changed})


def _only(stated: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in stated if key not in known]
    if unknown:
        raise ValueError(f"{where} has no key {unknown[0]!r}; keys are {', '.join(known)}")


@cache
def _of_plugins() -> dict[str, Path]:
    """Return the tables that converters of other packages bring, by engine."""
    found = {}
    foreign = set(registry.names("converters")) - set(registry.own("converters"))
    for plugin in registry.registered("converters") if foreign else ():
        path = getattr(plugin.value, "support", None)
        if path is not None:
            found[getattr(plugin.value, "engine", plugin.name)] = Path(path)
    return found
