"""What to take of an offered bundle: which target, whether it fits, which bytes; pure but for reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeops.core.manifest import parse_descriptor
from edgeops.core.targets import TargetNeeds, fits
from edgeops.errors import Finding, InputError, RefusedError, from_findings
from edgeops.runtime.engines.packages import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edgeops.core.manifest import Layer, Manifest

INDEX = "targets.json"
# Which of a device's attributes each finding was about: without it, the next check is made.
_ABOUT = {
    "device-architecture": "arch",
    "device-memory": "memory_mb",
    "device-opset": "opset",
}


@dataclass(frozen=True)
class Delta:
    """A delta that makes a missing blob out of one in storage."""

    base: str
    to: str
    digest: str
    size: int


def choose_target(
    manifest: Manifest,
    needs: Mapping[str, TargetNeeds],
    asked: str,
    kept: str,
    device: Callable[[str], Mapping[str, Any]],
) -> str:
    """Return the target to take: the one asked for, the one there was, or the best that fits.

    Of those that fit it is the smallest, then the first by name. Raises InputError
    ``target-unknown`` or ``target-needed``, RefusedError ``device-unfit`` when none fits.
    """
    known = manifest.targets
    if asked or (kept and kept in known):
        name = asked or kept
        if name in known:
            return name
        raise InputError(
            "target-unknown",
            f"the release has no target {name!r}",
            where=f"{manifest.name} {manifest.version}",
            why=f"its targets are {', '.join(known) or 'none'}",
            fix="name one of them with --target",
        )
    if len(known) == 1:
        return known[0]
    named = [name for name in known if name in needs]
    if not named:
        raise InputError(
            "target-needed",
            f"the release has {len(known)} targets, and none was chosen",
            where=f"{manifest.name} {manifest.version}",
            why=f"its targets are {', '.join(known) or 'none'}",
            fix="name one of them with --target",
        )
    wrong = {name: misfits(manifest, needs, name, device) for name in named}
    fitting = [name for name in named if not wrong[name]]
    if fitting:
        return min(fitting, key=lambda name: (needs[name].bytes, name))
    raise unfit(manifest, [each for name in named for each in wrong[name]])


def misfits(
    manifest: Manifest,
    needs: Mapping[str, TargetNeeds],
    target: str,
    device: Callable[[str], Mapping[str, Any]],
) -> list[Finding]:
    """Return every reason why a device cannot run a target, and what its rules ask of others."""
    found = []
    for name in (target, *(needs[target].uses if target in needs else ())):
        need = needs.get(name)
        if need is None:
            continue
        facts = dict(device(need.engine))
        brought = wheel_version(manifest, target, need.engine)
        if brought:
            facts.update(engine=need.engine, engine_version=brought)
        while True:
            finding = fits(need, facts)
            if finding is None:
                break
            found.append(finding)
            if finding.code not in _ABOUT:
                break
            facts.pop(_ABOUT[finding.code])
    return found


def unfit(manifest: Manifest, findings: Sequence[Finding]) -> Exception:
    """Return the error for a release that this device cannot take, with every reason."""
    head = Finding(
        "device-unfit",
        f"this device cannot run {manifest.name} {manifest.version}",
        f"{manifest.name} {manifest.version}",
        "; ".join(f"{each.what} ({each.where}: {each.why})" for each in findings),
        findings[0].fix if findings else "",
    )
    return from_findings([head, *findings], RefusedError)


def wheel_version(manifest: Manifest, target: str, engine: str) -> str:
    """Return the version of an engine that the release brings as a wheel, "" for none."""
    names = {_normal(name) for name in PACKAGES.get(engine, ())}
    for layer in manifest.of(kind="runtime", target=target):
        parts = layer.path.rpartition("/")[2].split("-")
        if layer.path.endswith(".whl") and len(parts) >= 5 and _normal(parts[0]) in names:  # noqa: PLR2004
            return parts[1]
    return ""


def deltas_to_use(
    listed: Sequence[Mapping[str, Any]],
    missing: Sequence[Layer],
    stored: Callable[[str], bool],
    methods: Collection[str],
) -> dict[str, Delta]:
    """Return the smallest usable delta by the digest of the blob that it makes.

    Usable is one whose base is in storage, whose method this agent knows and which is smaller than
    the blob. Entries that are nonsense are passed over: deltas only save bytes.
    """
    sizes = {layer.blob.digest: layer.blob.size for layer in missing}
    best: dict[str, Delta] = {}
    for item in listed:
        try:
            packed, base = (
                parse_descriptor({"mediaType": "", "digest": item[name], "size": item["size"]})
                for name in ("digest", "from")
            )
            delta = Delta(base.digest, str(item["to"]), packed.digest, packed.size)
            method = item["method"]
        except (LookupError, TypeError, ValueError):
            continue
        if delta.to not in sizes or method not in methods:
            continue
        if not 0 < delta.size < sizes[delta.to] or not stored(delta.base):
            continue
        if delta.to not in best or delta.size < best[delta.to].size:
            best[delta.to] = delta
    return best


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
