"""What a device is: processor, memory, engines, clocks; what cannot be known says why."""

from __future__ import annotations

import os
import platform
import shutil
from typing import TYPE_CHECKING, Any

from edgeops.core import registry
from edgeops.runtime.engines.packages import broken
from edgeops.runtime.probe import energy
from edgeops.runtime.probe.machine import Machine, Unreadable, machine, number, processors, text
from edgeops.runtime.probe.noise import frequencies, temperature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.core.contracts import Engine, Tell

_MB = 1_000_000


def about(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Return the facts. ``engines`` of the request names those to look for, else all.

    ``skip`` are engines that ended an earlier try, with the reason.
    """
    here = machine(request)
    facts: dict[str, Callable[[], Any]] = {
        "memory_mb": _memory_mb,
        "processor": lambda: _processor(here),
        "numpy": _numpy,
        "governor": lambda: text(here.sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "frequency_mhz": lambda: _frequency(here),
        "temperature_c": lambda: temperature(here),
        "battery": lambda: _battery(here),
        "disk_free_mb": lambda: shutil.disk_usage(".").free // _MB,
    }
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "energy": energy.about(here),
    }
    absent = {}
    for name, fact in facts.items():
        try:
            found[name] = fact()
        except Unreadable as error:
            found[name], absent[name] = None, str(error)
    tell({"part": dict(found)})
    found["engines"] = _engines(request, tell)
    return {**found, "absent": absent}


def _engines(request: Mapping[str, Any], tell: Tell) -> dict[str, dict[str, str]]:
    skipped: Mapping[str, str] = request.get("skip") or {}
    found: dict[str, dict[str, str]] = {}
    for name in request.get("engines") or registry.names("engines"):
        # Told first: importing it may end this process, and then it is known which one did.
        tell({"part": {"engine": name}})
        if name in skipped:
            fix = f"install a build of {name} that is made for {platform.machine()}"
            found[name] = {"missing": skipped[name], "fix": fix}
        else:
            found[name] = _engine(name)
    tell({"part": {"engine": ""}})
    return found


def _engine(name: str) -> dict[str, str]:
    from edgeops.errors import EdgeopsError

    try:
        engine: Engine = registry.get("engines", name)
        missing = engine.available()
        if missing is not None:
            return {"missing": missing.why or missing.what, "fix": missing.fix}
        return {"version": engine.version()}
    except EdgeopsError as error:
        return {"missing": error.why or error.what, "fix": error.fix}
    except Exception as error:  # noqa: BLE001 - a library may fail in any way while it is imported
        failed = broken(name, error)
        return {"missing": failed.why, "fix": failed.fix}


def _processor(here: Machine) -> str:
    named: dict[str, str] = {}
    for line in text(here.proc / "cpuinfo").splitlines():
        key, _, value = line.partition(":")
        named.setdefault(key.strip(), value.strip())
    for key in ("model name", "Hardware", "Model"):
        if named.get(key):
            return named[key]
    for name in ("firmware/devicetree/base/model", "devices/soc0/machine"):
        if (here.sys / name).exists():
            return text(here.sys / name).rstrip("\0")
    if named.get("CPU part"):
        return f"implementer {named.get('CPU implementer', '?')} part {named['CPU part']}"
    raise Unreadable(f"{here.proc}/cpuinfo does not name it")


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MB
    except (OSError, ValueError) as error:
        raise Unreadable("the system does not say how much it has") from error


def _numpy() -> str:
    try:
        import numpy as np
    except ImportError as error:
        raise Unreadable(f"{error}; install it with: python3 -m pip install numpy") from error
    return str(np.__version__)


def _frequency(here: Machine) -> float:
    try:
        return max(frequencies(here, processors()))
    except Unreadable:
        for line in text(here.proc / "cpuinfo").splitlines():
            if line.startswith("cpu MHz"):
                return float(line.partition(":")[2])
        raise


def _battery(here: Machine) -> dict[str, Any]:
    for path in here.found("class/power_supply/*/type"):
        if text(path) == "Battery":
            folder = path.parent
            status = text(folder / "status").lower() if (folder / "status").exists() else ""
            return {"percent": number(folder / "capacity"), "status": status}
    raise Unreadable("there is no battery")
