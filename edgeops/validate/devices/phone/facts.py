"""What a device without Python is: one script there, and what its lines mean, as ``about`` says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_PYTHON = (
    "the device has no Python; name the engine's benchmark tool as `binary` of the target instead"
)
_KILO = 1000
_MB = 1_000_000
_PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.product.cpu.abilist",
    "ro.soc.model",
    "ro.board.platform",
)
# Kinds of thermal zone that sit on the processor; others are the battery, the skin, the modem.
_ON_CHIP = re.compile(r"cpu|soc|tsens|big|little|mid|apc|cluster", re.IGNORECASE)
# Zones report thousandths of a degree, some old kernels whole degrees.
_MILLI_FROM = 1000
_HOTTEST = 150
_DISCHARGING = "discharging"
# Android's BatteryManager: what `dumpsys battery` calls status.
_STATES = {"1": "unknown", "2": "charging", "3": _DISCHARGING, "4": "not charging", "5": "full"}
SCRIPT = """
f() { if c=$(cat "$1" 2>/dev/null); then echo "=file $1"; echo "$c"; else echo "=unread $1"; fi; }
echo "=uname $(uname -m) $(uname -s) $(uname -r)"
if command -v getprop >/dev/null 2>&1; then
  for p in PROPERTIES; do echo "=prop $p $(getprop $p)"; done
fi
f /proc/cpuinfo
f /proc/meminfo
for d in /sys/devices/system/cpu/cpu[0-9]*; do
  echo "=cpu ${d##*/}"
  f $d/cpufreq/scaling_governor
  f $d/cpufreq/scaling_cur_freq
done
for d in /sys/class/thermal/thermal_zone*; do [ -d $d ] && f $d/type && f $d/temp; done
for d in /sys/class/power_supply/*; do
  [ "$(cat $d/type 2>/dev/null)" = Battery ] || continue
  echo "=battery $d"
  for n in status capacity current_now voltage_now; do f $d/$n; done
done
if command -v dumpsys >/dev/null 2>&1; then echo "=dumpsys"; dumpsys battery 2>/dev/null; fi
set -- $(df -Pk HOME 2>/dev/null | tail -n 1)
echo "=free ${4:-}"
""".replace("PROPERTIES", " ".join(_PROPERTIES))


class Facts:
    """The lines of ``SCRIPT``, cut into what they are of. Pure: nothing is read but the text."""

    def __init__(self, text: str) -> None:
        self.files: dict[str, str | None] = {}
        self.properties: dict[str, str] = {}
        self.uname: tuple[str, ...] = ()
        self.cpus = 0
        self.battery = ""
        self.free_kb = ""
        self.dumpsys: dict[str, str] = {}
        name: str | None = None
        for line in text.splitlines():
            verb, _, value = line.partition(" ")
            name = self._line(line, verb, value, name)

    def _line(self, line: str, verb: str, value: str, name: str | None) -> str | None:
        """Take a line; returns the file that the lines after it belong to."""
        if verb == "=file":
            self.files[value] = ""
            return value
        if not line.startswith("="):
            if name == "dumpsys":
                key, _, said = line.partition(":")
                self.dumpsys.setdefault(key.strip(), said.strip())
            elif name is not None:
                self.files[name] = f"{self.files[name] or ''}{line}\n"
            return name
        take = {
            "=unread": lambda: self.files.update({value: None}),
            "=prop": lambda: self._property(value),
            "=uname": lambda: setattr(self, "uname", tuple(value.split())),
            "=cpu": lambda: setattr(self, "cpus", self.cpus + 1),
            "=battery": lambda: setattr(self, "battery", self.battery or value),
            "=free": lambda: setattr(self, "free_kb", value),
        }.get(verb)
        if take is not None:
            take()
        return "dumpsys" if verb == "=dumpsys" else None

    def _property(self, value: str) -> None:
        key, _, said = value.partition(" ")
        self.properties[key] = said.strip()

    def read(self, path: str) -> str:
        """Return what a file says; raises LookupError with the reason."""
        if path not in self.files:
            raise LookupError(f"there is no {path}")
        found = self.files[path]
        if found is None:
            raise LookupError(f"{path} is not there, or the shell may not read it")
        return found.strip()

    def number(self, path: str) -> int:
        """Return the number that a file holds; raises LookupError with the reason."""
        found = self.read(path)
        if not re.fullmatch(r"-?\d+", found):
            raise LookupError(f"{path} holds no number")
        return int(found)


def about(text: str) -> dict[str, Any]:
    """Return what the device is, from the lines of ``SCRIPT``; what is not known is in ``absent``."""
    facts = Facts(text)
    wanted: dict[str, Callable[[], Any]] = {
        "processor": lambda: _processor(facts),
        "memory_mb": lambda: _memory_mb(facts),
        "governor": lambda: _governor(facts),
        "frequency_mhz": lambda: _frequency(facts),
        "temperature_c": lambda: temperature(facts),
        "battery": lambda: _battery(facts),
        "disk_free_mb": lambda: _disk_free(facts),
    }
    found: dict[str, Any] = {
        "machine": facts.uname[0] if facts.uname else "",
        "system": _system(facts),
        "model": _model(facts.properties),
        "abis": [
            abi for abi in facts.properties.get("ro.product.cpu.abilist", "").split(",") if abi
        ],
        "cores": facts.cpus,
        "python": None,
        "numpy": None,
        "engines": {},
        "energy": energy(facts),
    }
    absent = dict.fromkeys(("python", "numpy", "engines"), NO_PYTHON)
    for name, fact in wanted.items():
        try:
            found[name] = fact()
        except LookupError as error:
            found[name], absent[name] = None, str(error.args[0])
    return {**found, "absent": absent}


def temperature(facts: Facts) -> float:
    """Return the hottest zone of the processor in degrees Celsius; raises LookupError."""
    zones: dict[bool, list[float]] = {True: [], False: []}
    for path in facts.files:
        if not path.endswith("/temp"):
            continue
        kind = facts.files.get(f"{path.removesuffix('/temp')}/type") or ""
        try:
            value = float(facts.number(path))
        except LookupError:
            continue
        value = value / _KILO if abs(value) >= _MILLI_FROM else value
        if 0 < value < _HOTTEST:
            zones[bool(_ON_CHIP.search(kind))].append(value)
    if not zones[True] and not zones[False]:
        raise LookupError("there is no thermal zone that the shell may read")
    return max(zones[True] or zones[False])


def energy(facts: Facts) -> dict[str, str]:
    """Return ``{"source": ...}`` where the battery shows what is drawn from it, else the reason."""
    if not facts.battery:
        return {"absent": "there is no battery whose current the shell may read"}
    try:
        for name in ("current_now", "voltage_now"):
            facts.number(f"{facts.battery}/{name}")
        state = _state(facts)
    except LookupError as error:
        return {"absent": str(error.args[0])}
    if state != _DISCHARGING:
        return {"absent": f"the battery is {state}: what is drawn from it is not what is used"}
    source = "battery: current times voltage of the whole device"
    return {"source": source, "folder": facts.battery}


def _state(facts: Facts) -> str:
    if facts.battery and facts.files.get(f"{facts.battery}/status"):
        return facts.read(f"{facts.battery}/status").lower()
    if "status" in facts.dumpsys:
        return _STATES.get(facts.dumpsys["status"], "unknown")
    raise LookupError("nothing says whether the battery is charged")


def _battery(facts: Facts) -> dict[str, Any]:
    percent: Any = facts.files.get(f"{facts.battery}/capacity") or facts.dumpsys.get("level", "")
    percent = str(percent).strip()
    if not percent.isdecimal():
        raise LookupError("there is no battery that the shell may ask")
    return {"percent": int(percent), "status": _state(facts)}


def _system(facts: Facts) -> str:
    kernel = " ".join(facts.uname[1:3])
    release = facts.properties.get("ro.build.version.release")
    return f"Android {release} ({kernel})" if release else kernel


def _model(properties: Mapping[str, str]) -> str:
    maker = properties.get("ro.product.manufacturer", "")
    model = properties.get("ro.product.model", "")
    return model if model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()


def _processor(facts: Facts) -> str:
    for name in ("ro.soc.model", "ro.board.platform"):
        if facts.properties.get(name):
            return facts.properties[name]
    named: dict[str, str] = {}
    for line in facts.read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        named.setdefault(key.strip(), value.strip())
    for key in ("Hardware", "model name", "Processor", "Model"):
        if named.get(key):
            return named[key]
    if named.get("CPU part"):
        return f"implementer {named.get('CPU implementer', '?')} part {named['CPU part']}"
    raise LookupError("/proc/cpuinfo does not name it")


def _memory_mb(facts: Facts) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", facts.read("/proc/meminfo"), re.MULTILINE)
    if found is None:
        raise LookupError("/proc/meminfo does not say it")
    return int(found[1]) * 1024 // _MB


def _governor(facts: Facts) -> str:
    return facts.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _frequency(facts: Facts) -> float:
    paths = [path for path in facts.files if path.endswith("/scaling_cur_freq")]
    clocks = [facts.number(path) / _KILO for path in paths if facts.files[path]]
    if not clocks:
        raise LookupError("there is no clock that the shell may read")
    return max(clocks)


def _disk_free(facts: Facts) -> int:
    if not facts.free_kb.isdecimal():
        raise LookupError("df does not say it")
    return int(facts.free_kb) * 1024 // _MB
