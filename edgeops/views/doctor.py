"""What ``edgeops doctor`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GB = 1e9


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a ``doctor`` result: what is fine in one line, what is missing in full."""
    yield f"edgeops    {result['edgeops']}"
    yield f"python     {result['python']}  {result['executable']}"
    yield f"system     {result['system']}"
    versions = {package["name"]: package["version"] for package in result["packages"]}
    yield f"packages   all {len(versions)} are installed (dvc {versions.get('dvc', '?')})"
    for tool in result["tools"]:
        yield from _row("tool", tool["name"], tool["path"], tool["without"], tool["fix"])
    for engine in result["engines"]:
        yield from _row(
            "engine", engine["name"], engine["version"], engine["missing"], engine["fix"]
        )
    for converter in _worth_saying(result):
        yield from _row(
            "converter",
            converter["name"],
            f"for {converter['engine']}",
            converter["missing"],
            converter["fix"],
        )
    for device in result["devices"]:
        yield from _row("device", device["name"], device["about"], device["missing"], "")
    disk = result["disk"]
    low = "; that is little for models and their cache" if disk["low"] else ""
    yield f"disk       {disk['free_bytes'] / _GB:.1f} GB free of {disk['total_bytes'] / _GB:.1f}{low}"


def _worth_saying(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the converters of which their engine's line does not say all."""
    fixes = {engine["name"]: engine["fix"] for engine in result["engines"]}
    for converter in result["converters"]:
        same = converter["name"] in fixes and converter["fix"] in {"", fixes[converter["name"]]}
        if not same:
            yield converter


def _row(kind: str, name: str, has: str, missing: str, fix: str) -> Iterator[str]:
    if not missing:
        yield f"{kind:<9}  {name:<11}  {has}".rstrip()
        return
    yield f"{kind:<9}  {name:<11}  missing: {missing}"
    if fix:
        yield f"           fix: {fix}"
