"""What ``edgeops targets`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GB = 1000


def view(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line a target, what its device is, and what is missing for it."""
    rows = result["targets"]
    widths = {
        key: max(len(str(row[key])) for row in rows) if rows else 0
        for key in ("name", "engine", "device", "precision")
    }
    for row in rows:
        threads = f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}"
        columns = [f"{row[key]:<{width}}" for key, width in widths.items()]
        yield "  ".join([*columns, threads])
        if "probe" in row:
            yield from _device(row["probe"])
        if "unreachable" in row:
            yield f"  unreachable: {row['unreachable']['what']}"
            yield f"    why: {row['unreachable']['why']}"
            yield f"    fix: {row['unreachable']['fix']}"
        for missing in row["missing"]:
            if missing not in _unreachable(row):
                yield f"  missing: {missing}"


def _unreachable(row: Mapping[str, Any]) -> list[str]:
    """Return the entry of ``missing`` that says why the device is not reached: it is shown whole."""
    said = row.get("unreachable")
    return [f"{said['what']}: {said['why']}; {said['fix']}"] if said else []


def _device(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a device is: its hardware, its programs, its state, and what nobody can tell."""
    yield f"  {', '.join(_hardware(about))}"
    yield f"  {', '.join(_programs(about))}"
    engines = about.get("engines", {})
    there = [
        f"{name} {engine['version']}" for name, engine in engines.items() if "version" in engine
    ]
    yield f"  engines: {', '.join(there) or 'none'}"
    if state := list(_state(about)):
        yield f"  {', '.join(state)}"
    absent = about.get("absent", {})
    if absent:
        yield f"  not known: {', '.join(f'{name} ({why})' for name, why in absent.items())}"


def _hardware(about: Mapping[str, Any]) -> Iterator[str]:
    for key in ("machine", "processor"):
        if about.get(key):
            yield str(about[key])
    if about.get("cores"):
        yield f"{about['cores']} core{'s' if about['cores'] != 1 else ''}"
    if about.get("memory_mb"):
        yield f"{about['memory_mb'] / _GB:.1f} GB of memory"


def _programs(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("system"):
        yield str(about["system"])
    for key in ("python", "numpy"):
        if about.get(key):
            yield f"{key} {about[key]}"


def _state(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("governor"):
        yield f"governor {about['governor']}"
    if about.get("frequency_mhz"):
        yield f"{about['frequency_mhz']:.0f} MHz"
    if about.get("temperature_c") is not None:
        yield f"{about['temperature_c']:.0f} °C"
    if battery := about.get("battery"):
        yield f"battery {battery.get('percent'):.0f} % {battery.get('status', '')}".rstrip()
    energy = about.get("energy", {})
    if energy.get("source"):
        yield f"energy from {energy['source']}"
    elif energy.get("absent"):
        yield f"energy unknown: {energy['absent']}"
    if about.get("disk_free_mb") is not None:
        yield f"{about['disk_free_mb'] / _GB:.1f} GB of disk free"
    if about.get("emulated"):
        yield "emulated: its times mean nothing"
