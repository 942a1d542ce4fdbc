"""What this machine, this installation and this project have, and what is missing."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import edgeops
from edgeops.core import registry
from edgeops.errors import Finding, MissingError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeops.core.project import Target

_DISTRIBUTION = "edgeops"
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_LOW_DISK_BYTES = 1_000_000_000
# What works without it is said, because neither is needed by the main job.
_TOOLS = {
    "git": (
        "revisions in reports, dvc exp and dvc diff need it",
        "install git with the package manager of your system",
    ),
}


def doctor(root: Path) -> dict[str, Any]:
    """Return what this machine has and what is missing, each with the line that installs it.

    Raises MissingError ``machine-incomplete`` with the same figures when something that the core
    needs is missing.
    """
    packages = list(_packages())
    disk = shutil.disk_usage(root if root.is_dir() else root.parent)
    result = {
        "edgeops": edgeops.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "tools": list(_tools()),
        "engines": [_engine(plugin) for plugin in registry.registered("engines")],
        "converters": [_converter(plugin) for plugin in registry.registered("converters")],
        "devices": [_device(plugin) for plugin in registry.registered("devices")],
        "disk": {
            "path": str(root),
            "free_bytes": disk.free,
            "total_bytes": disk.total,
            "low": disk.free < _LOW_DISK_BYTES,
        },
    }
    absent = [_finding(package) for package in packages if not package["version"]]
    if absent:
        raise MissingError(
            "machine-incomplete",
            f"edgeops needs {', '.join(finding.where for finding in absent)}, not installed here",
            where=sys.prefix,
            fix=f"{sys.executable} -m pip install edgeops=={edgeops.__version__}",
            findings=absent,
            result={**result, "ok": False},
        )
    return {**result, "ok": True}


def plugins(kind: str | None = None) -> dict[str, Any]:
    """Return all registered plugins, or those of one kind; broken ones say why."""
    kinds = [name for name in registry.REQUIRED if kind in (None, name)]
    if not kinds:
        known = ", ".join(registry.REQUIRED)
        raise UsageProblem(
            "plugin-kind-unknown",
            f"there are no plugins of a kind called {kind!r}",
            why=f"kinds: {known}",
            fix="edgeops plugins lists all kinds",
        )
    return {
        "plugins": [
            {
                "kind": plugin.kind,
                "name": plugin.name,
                "distribution": plugin.distribution,
                "target": plugin.target,
                "about": "" if plugin.broken else _about(plugin),
                "broken": plugin.broken,
            }
            for name in kinds
            for plugin in registry.registered(name)
        ]
    }


def targets(root: Path, *, probe: bool = False) -> dict[str, Any]:
    """Return the project's targets, whether engine and device are there, and what the device is.

    Raises InputError as ``load_project`` does. ``probe`` asks each device for its figures.
    """
    from edgeops.project.load import load_project

    project = load_project(root)
    return {
        "project": project.name,
        "version": project.version,
        "targets": [_target(target, probe=probe) for target in project.targets.values()],
    }


def _packages() -> Iterator[dict[str, Any]]:
    for requirement in metadata.requires(_DISTRIBUTION) or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        try:
            version = metadata.version(match[1])
        except metadata.PackageNotFoundError:
            version = ""
        yield {
            "name": match[1],
            "version": version,
            "fix": "" if version else f"{sys.executable} -m pip install '{requirement}'",
        }


def _tools() -> Iterator[dict[str, Any]]:
    for name, (without, fix) in _TOOLS.items():
        path = shutil.which(name)
        yield {
            "name": name,
            "path": path or "",
            "without": "" if path else without,
            "fix": "" if path else fix,
        }


def _finding(package: Mapping[str, Any]) -> Finding:
    return Finding(
        "machine-incomplete",
        f"the package {package['name']} is not installed",
        where=package["name"],
        fix=package["fix"],
    )


def _engine(plugin: registry.Plugin) -> dict[str, Any]:
    missing = _unusable(plugin)
    return {
        "name": plugin.name,
        "version": "" if missing else plugin.value.version(),
        "missing": missing.what if missing else "",
        "fix": missing.fix if missing else "",
    }


def _converter(plugin: registry.Plugin) -> dict[str, Any]:
    """Return a converter, with whose files it writes and what keeps them from being run here."""
    missing = _unusable(plugin)
    return {
        "name": plugin.name,
        "engine": getattr(plugin.value, "engine", "") or plugin.name,
        "sources": list(getattr(plugin.value, "sources", ("onnx",))),
        "unproven": str(getattr(plugin.value, "unproven", "") or ""),
        "missing": missing.what if missing else "",
        "fix": missing.fix if missing else "",
    }


def _device(plugin: registry.Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "missing": plugin.broken,
        "about": "" if plugin.broken else _first_line(plugin.value),
    }


def _unusable(plugin: registry.Plugin) -> Finding | None:
    if plugin.broken:
        return Finding("plugin-broken", plugin.broken, fix=f"upgrade {plugin.distribution}")
    missing: Finding | None = plugin.value.available()
    return missing


def _about(plugin: registry.Plugin) -> str:
    if plugin.kind == "stages":
        return str(plugin.value.info.summary)
    if plugin.kind == "converters":
        return f"{_first_line(plugin.value)} ({', '.join(plugin.value.precisions)})"
    return _first_line(plugin.value)


def _first_line(value: object) -> str:
    text = (type(value).__doc__ or "").strip()
    return text.split("\n")[0].rstrip(".")


def _target(target: Target, *, probe: bool) -> dict[str, Any]:
    engine = _named("engines", target.engine)
    kind = target.device.partition(":")[0]
    device = _named("devices", kind)
    unusable = _unusable(engine) if engine else None
    row: dict[str, Any] = {
        "name": target.name,
        "engine": target.engine,
        "device": target.device,
        "precision": target.precision,
        "threads": target.threads,
        "missing": [],
    }
    if engine is None:
        row["missing"].append(f"no engine is called {target.engine!r}")
    elif unusable:
        row["missing"].append(f"{unusable.what}; {unusable.fix}")
    if device is None or device.broken:
        row["missing"].append(device.broken if device else f"no device is called {kind!r}")
    elif probe:
        row["probe"] = device.value.probe()
    return row


def _named(kind: str, name: str) -> registry.Plugin | None:
    return next((plugin for plugin in registry.registered(kind) if plugin.name == name), None)
