"""What each target of a bundle needs of a device: ``targets.json``, and whether a device has it.

A device reads this one small file before it fetches anything, and takes nothing that would not run.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json
from edgeops.core.manifest import malformed, valid_name
from edgeops.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMAT = "edgeops.targets/1"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SAME = {
    "arm64": "aarch64",
    "arm64e": "aarch64",
    "arm64_v8a": "aarch64",
    "armv8": "aarch64",
    "armv8l": "aarch64",
    "amd64": "x86_64",
    "x64": "x86_64",
    "i386": "i686",
    "i486": "i686",
    "i586": "i686",
    "x86": "i686",
    "arm": "armv7l",
    "armv7": "armv7l",
}


@dataclass(frozen=True)
class TargetNeeds:
    """One entry of targets.json.

    ``architectures`` None means any; ``memory_mb`` is the measured peak in MB, None where nobody
    measured it; ``bytes`` and ``digest`` are the variant's; ``uses`` are the other targets whose
    variants the rules ask.
    """

    engine: str
    engine_version: str
    precision: str
    bytes: int
    digest: str
    architectures: tuple[str, ...] | None = None
    opset: int | None = None
    memory_mb: float | None = None
    uses: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the entry as it stands in targets.json."""
        listed = None if self.architectures is None else list(self.architectures)
        return {**asdict(self), "architectures": listed, "uses": list(self.uses)}


def encode_targets(targets: Mapping[str, TargetNeeds]) -> bytes:
    """Return the bytes of targets.json, which are the same for the same entries."""
    entries = {name: needs.to_json() for name, needs in targets.items()}
    return canonical_json({"format": FORMAT, "targets": entries})


def parse_targets(data: bytes, where: str) -> dict[str, TargetNeeds]:
    """Return what each target needs; raises TrustError ``bundle-malformed``."""
    try:
        document = json.loads(data)
        targets = {name: _needs(name, item) for name, item in document["targets"].items()}
        if document["format"] != FORMAT or encode_targets(targets) != data:
            message = f"it is not written as {FORMAT} is"
            raise ValueError(message)
        for needs in targets.values():
            if not set(needs.uses) <= set(targets):
                message = f"it uses {needs.uses}, and not all are targets"
                raise ValueError(message)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise malformed(where, f"targets.json: {type(error).__name__}: {error}") from error
    return targets


def architecture(machine: str) -> str:
    """Return one name for a processor's architecture: ``arm64`` and ``aarch64`` are ``aarch64``."""
    name = machine.strip().lower().replace("-", "_")
    return _SAME.get(name, name)


def fits(needs: TargetNeeds, device: Mapping[str, Any]) -> Finding | None:
    """Return why a device cannot run a target, None when nothing speaks against it; pure.

    ``device`` has ``arch``, ``memory_mb``, ``engine``, ``engine_version`` and ``opset``, each where
    it is known: what a device does not know of itself is no reason to refuse, but for the engine.
    """
    for wrong in (_architecture, _memory, _engine, _opset):
        found = wrong(needs, device)
        if found is not None:
            return found
    return None


def new_enough(version: str, wanted: str) -> bool:
    """Return whether an engine of ``version`` runs what ``wanted`` made: same major, not older."""
    have, want = _numbers(version), _numbers(wanted)
    if not have or not want:
        return version == wanted
    return have[0] == want[0] and have >= want


def _architecture(needs: TargetNeeds, device: Mapping[str, Any]) -> Finding | None:
    has = device.get("arch")
    if needs.architectures is None or not has:
        return None
    wanted = [architecture(name) for name in needs.architectures]
    if architecture(str(has)) in wanted:
        return None
    return Finding(
        "device-architecture",
        "the device's processor is another than the release is made for",
        str(has),
        f"it is {architecture(str(has))}, the release runs on {', '.join(wanted)}",
        "give this device another target or channel",
    )


def _memory(needs: TargetNeeds, device: Mapping[str, Any]) -> Finding | None:
    has = device.get("memory_mb")
    if needs.memory_mb is None or not isinstance(has, (int, float)) or has >= needs.memory_mb:
        return None
    return Finding(
        "device-memory",
        "the device has too little memory for the release",
        f"{has:.0f} MB",
        f"{needs.memory_mb:.0f} MB were used at the peak when the release was measured",
        "give this device a target with a smaller model",
    )


def _engine(needs: TargetNeeds, device: Mapping[str, Any]) -> Finding | None:
    has, version = device.get("engine"), str(device.get("engine_version") or "")
    made = f"{needs.engine} {needs.engine_version}"
    if has != needs.engine or not version:
        return Finding(
            "device-engine",
            f"the device has no {needs.engine}",
            str(has or ""),
            f"the release was made with {made}",
            f"install {needs.engine} on the device, or pack it into the release: "
            "pack: {runtime: [...]}",
        )
    if new_enough(version, needs.engine_version):
        return None
    return Finding(
        "device-engine-version",
        f"the device's {needs.engine} is not of the version that the release needs",
        f"{has} {version}",
        f"the release was made with {made}: the same major version, not older, is needed",
        "bring the engine on the device to that version, or pack it into the release",
    )


def _opset(needs: TargetNeeds, device: Mapping[str, Any]) -> Finding | None:
    has = device.get("opset")
    if needs.opset is None or not isinstance(has, int) or has >= needs.opset:
        return None
    return Finding(
        "device-opset",
        "the device's engine is too old for the operators of the model",
        f"opset {has}",
        f"the model uses opset {needs.opset}",
        "bring the engine on the device up to date, or convert for an older opset",
    )


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version.strip())
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _needs(name: str, item: Mapping[str, Any]) -> TargetNeeds:
    listed = item["architectures"]
    needs = TargetNeeds(
        **{
            **item,
            "architectures": None if listed is None else _texts(listed),
            "uses": _texts(item["uses"]),
        }
    )
    texts: tuple[Any, ...] = (needs.engine, needs.engine_version, needs.precision)
    memory = needs.memory_mb
    fine = (
        valid_name(name)
        and all(isinstance(text, str) and text.isprintable() for text in texts)
        and bool(_DIGEST.fullmatch(needs.digest))
        and type(needs.bytes) is int
        and needs.bytes >= 0
        and (needs.opset is None or type(needs.opset) is int)
        and (memory is None or (type(memory) in (int, float) and memory >= 0))
    )
    if not fine:
        message = f"the entry of {name!r} is not of this format"
        raise ValueError(message)
    return needs


def _texts(value: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        message = f"{value!r} is no list of names"
        raise TypeError(message)
    return tuple(value)
