"""Now against then, as values: what changed in the figures, and which stages were made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.evidence import Evidence
    from edgeops.core.gates import Figure


def figure_changes(now: Evidence, then: Evidence | None) -> dict[str, dict[str, Any]]:
    """Return each figure as JSON with ``before``, ``change`` and ``shown``.

    ``change`` is the difference now - before. ``shown`` is False when the noise of both does not
    let it be told from nothing: their intervals overlap.
    """
    changes = {}
    for name, figure in now.figures.items():
        before = then.figures.get(name) if then else None
        entry = {**figure.to_json(), "before": None, "change": None, "shown": None}
        if before is not None and before.value is not None:
            entry["before"] = before.value
            if figure.value is not None:
                entry["change"] = figure.value - before.value
                entry["shown"] = _apart(figure, before)
        changes[name] = entry
    return changes


def _apart(now: Figure, before: Figure) -> bool:
    if not now.noisy or now.interval is None or before.interval is None:
        return now.value != before.value
    return now.interval[0] > before.interval[1] or now.interval[1] < before.interval[0]


def comparable(now: Evidence, then: Evidence) -> str:
    """Return why times of now and then cannot be compared, or "" when they can."""
    parts = ("name", "machine", "processor")
    differs = [part for part in parts if now.device.get(part) != then.device.get(part)]
    if differs:
        return "measured on another device: " + ", ".join(
            f"{part} was {then.device.get(part) or 'unknown'}" for part in differs
        )
    if (now.engine, now.engine_version) != (then.engine, then.engine_version):
        return f"measured with another engine: {then.engine} {then.engine_version}"
    if now.threads != then.threads:
        return f"measured with {then.threads} thread(s)"
    return ""


def rebuilt(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages whose entry in dvc.lock differs, with what differs.

    ``now`` and ``then`` are the stages of a dvc.lock by address (``convert@gateway``). Each result
    has ``stage``, ``target`` (None for stages of the whole project), ``status`` (new, gone, rebuilt)
    and ``reasons``; a stage that ran again with the same result has no changed ``outs``.
    """
    found = []
    for address in [*now, *(name for name in then if name not in now)]:
        if now.get(address) == then.get(address):
            continue
        stage, _, target = address.partition("@")
        status = "new" if address not in then else "gone" if address not in now else "rebuilt"
        entry = {"stage": stage, "target": target or None, "status": status}
        reasons = _reasons(now[address], then[address]) if status == "rebuilt" else []
        outs = _paths(now.get(address), "outs") != _paths(then.get(address), "outs")
        found.append({**entry, "reasons": reasons, "outs_changed": outs})
    return found


def _reasons(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    reasons = ["its command"] if now.get("cmd") != then.get("cmd") else []
    after, before = _paths(now, "deps"), _paths(then, "deps")
    reasons += [path for path in sorted({*after, *before}) if after.get(path) != before.get(path)]
    new, old = now.get("params") or {}, then.get("params") or {}
    for file in sorted({*new, *old}):
        keys, past = new.get(file) or {}, old.get(file) or {}
        reasons += [key for key in sorted({*keys, *past}) if keys.get(key) != past.get(key)]
    return reasons


def _paths(entry: Mapping[str, Any] | None, kind: str) -> dict[str, str]:
    """Return ``{path: md5}`` of the deps or outs of an entry."""
    return {item["path"]: item.get("md5", "") for item in (entry or {}).get(kind) or ()}
