"""What this machine, this installation and this project have, and what is missing."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import edgeops
from edgeops.core import registry
from edgeops.errors import EdgeopsError, Finding, MissingError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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
    "ssh": (
        "devices over ssh need it where asyncssh is not installed or does not understand the config",
        "install the ssh client with the package manager of your system (Debian: openssh-client)",
    ),
    "adb": (
        "devices over adb need it",
        "install adb with the package manager of your system, or Android's platform-tools",
    ),
}
_LIBRARIES = {
    "asyncssh": (
        "devices over ssh are reached by the ssh program instead",
        "pip install 'edgeops[ssh]'",
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
        "tools": [*_tools(), *_libraries()],
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

    With ``probe`` each device is reached once, several at the same time. A target then has
    ``probe``, what its device says of itself, or ``unreachable``, why it says nothing, with code,
    what, where, why and fix; what the device lacks is in ``missing`` too.

    Raises InputError as ``load_project`` does.
    """
    from edgeops.project.load import load_project

    project = load_project(root)
    rows = [_target(target) for target in project.targets.values()]
    if probe:
        _ask(row for row in rows if row.pop("reachable"))
    for row in rows:
        row.pop("reachable", None)
    return {"project": project.name, "version": project.version, "targets": rows}


def _ask(rows: Iterable[dict[str, Any]]) -> None:
    """Add to each row what its device says, or why it says nothing."""
    from edgeops.validate.devices.reachable import ask_all

    by_device: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_device.setdefault(row["device"], []).append(row)
    for device, said in ask_all(by_device):
        for row in by_device[device]:
            if isinstance(said, EdgeopsError):
                row["unreachable"] = said.to_json()["error"]
                row["missing"].append(f"{said.what}: {said.why}; {said.fix}")
            else:
                row["probe"] = said
                row["missing"] += _lacks(said, row)


def _lacks(about: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Return what a device lacks for a target, each with the line that installs it there."""
    if row.get("binary"):
        # The engine's own tool measures there, and is sent when it does.
        return []
    engine = about.get("engines", {}).get(row["engine"], {})
    lacks = []
    if "numpy" in about and not about["numpy"]:
        lacks.append(f"numpy on the device; {about.get('absent', {}).get('numpy', '')}")
    # An engine that is missing on this very machine is said already.
    if "missing" in engine and (row["device"] != "local" or not row["missing"]):
        lacks.append(f"{row['engine']} on the device: {engine['missing']}; {engine['fix']}")
    return lacks


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


def _libraries() -> Iterator[dict[str, Any]]:
    """Yield the packages that are tools too: what they serve for has another way."""
    for name, (without, fix) in _LIBRARIES.items():
        spec = find_spec(name)
        yield {
            "name": name,
            "path": (spec.origin or "") if spec else "",
            "without": "" if spec else without,
            "fix": "" if spec else fix,
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


def _target(target: Target) -> dict[str, Any]:
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
        **({"binary": target.binary} if target.binary else {}),
        "missing": [],
    }
    if engine is None:
        row["missing"].append(f"no engine is called {target.engine!r}")
    elif unusable:
        row["missing"].append(f"{unusable.what}; {unusable.fix}")
    if device is None or device.broken:
        row["missing"].append(device.broken if device else f"no device is called {kind!r}")
    row["reachable"] = device is not None and not device.broken
    return row


def _named(kind: str, name: str) -> registry.Plugin | None:
    return next((plugin for plugin in registry.registered(kind) if plugin.name == name), None)
