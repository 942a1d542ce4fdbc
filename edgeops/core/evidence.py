"""Evidence: every measured figure with how it was measured, and the verdicts that rest on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeops.core.files import canonical_json, write_atomic
from edgeops.core.gates import Figure, Verdict, VerdictWord, overall
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "edgeops.evidence/1"


@dataclass(frozen=True)
class Evidence:
    """What was measured of one variant on one device, and what the gates said.

    ``model`` and ``variant`` are digests (``sha256:...``), ``variant`` that of variant.json's
    ``Variant.digest``; ``data`` is ``{role: {source, digest, samples}}``; ``date`` is UTC, ISO 8601.
    """

    target: str
    date: str
    engine: str
    engine_version: str
    precision: str
    threads: int
    device: Mapping[str, Any]
    model: str
    variant: str
    data: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Figure]
    gates: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    format: str = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> VerdictWord:
        """The verdict of all gates together; no gates pass."""
        return overall(self.gates)

    def to_json(self) -> dict[str, Any]:
        """Return evidence.json as a value."""
        return {
            "format": self.format,
            "target": self.target,
            "date": self.date,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "precision": self.precision,
            "threads": self.threads,
            "device": dict(self.device),
            "model": self.model,
            "variant": self.variant,
            "data": {role: dict(about) for role, about in self.data.items()},
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "gates": [gate.to_json() for gate in self.gates],
            "verdict": self.verdict,
            "notes": list(self.notes),
            "extra": dict(self.extra),
        }


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write evidence.json whole."""
    write_atomic(path, canonical_json(evidence.to_json()))


def read_evidence(path: Path) -> Evidence:
    """Read evidence.json; raises InputError ``evidence-missing`` or ``evidence-malformed``."""
    try:
        return parse_evidence(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise InputError(
            "evidence-missing",
            f"there is no evidence at {path}",
            where=str(path),
            why="nothing was validated yet",
            fix="run: edgeops run validate",
        ) from error


def parse_evidence(data: bytes, where: str) -> Evidence:
    """Return the evidence in ``data``; the verdicts are taken as they stand."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            message = f"format is {document['format']!r}, this edgeops reads {FORMAT!r}"
            raise ValueError(message)
        document.pop("verdict")
        document["figures"] = {
            name: Figure(**{**item, "interval": _pair(item["interval"])})
            for name, item in document["figures"].items()
        }
        document["gates"] = tuple(
            Verdict(**{**item, "interval": _pair(item["interval"])}) for item in document["gates"]
        )
        document["notes"] = tuple(document["notes"])
        return Evidence(**document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "evidence-malformed",
            f"{where} cannot be read as evidence",
            where=where,
            why=f"{type(error).__name__}: {error}",
            fix="validate again: edgeops run validate --force",
        ) from error


def _pair(value: list[float] | None) -> tuple[float, float] | None:
    return (value[0], value[1]) if value else None
