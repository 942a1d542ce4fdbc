"""Evidence: every measured figure with how it was measured, and the verdicts that rest on it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json, write_atomic
from edgeops.core.gates import Figure, Verdict, VerdictWord, overall
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "edgeops.evidence/1"
_JUDGED = ("gates", "verdict")
_Made = TypeVar("_Made", bound="Figure | Verdict | Evidence")
# What a reader holds fields to, by their annotation.
_KINDS = {"str": str, "int": int, "bool": bool, "VerdictWord": str}


@dataclass(frozen=True)
class Evidence:
    """What was measured of one variant on one device, and what the gates said.

    ``model`` and ``variant`` are digests (``sha256:...``), ``variant`` that of variant.json's
    ``Variant.digest``; ``data`` is ``{role: {source, digest, samples}}``; ``date`` is UTC, ISO 8601.
    ``kept`` is what the figures follow from, so that they can be computed and judged again.
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
    kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The digest of all that was measured, without what gates said of it."""
        measured = {name: value for name, value in self.to_json().items() if name not in _JUDGED}
        return digest(sha256_bytes(canonical_json(measured)))

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
            "kept": dict(self.kept),
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
            why="no such file: nothing was validated yet, or it lies elsewhere",
            fix="check the path, or measure: edgeops run validate",
        ) from error
    except OSError as error:
        raise _malformed(str(path), error) from error


def parse_evidence(data: bytes, where: str) -> Evidence:
    """Return the evidence in ``data``; the verdicts are taken as they stand.

    Raises InputError ``evidence-malformed``.
    """
    try:
        document = json.loads(
            data, parse_constant=_no_number, parse_float=_finite, parse_int=_whole
        )
        if document["format"] != FORMAT:
            message = f"format is {document['format']!r}, this edgeops reads {FORMAT!r}"
            raise ValueError(message)
        document.pop("verdict")
        document["figures"] = {
            name: _typed(Figure(**_numbers(item))) for name, item in document["figures"].items()
        }
        document["gates"] = tuple(_typed(Verdict(**_numbers(item))) for item in document["gates"])
        document["notes"] = tuple(map(str, document["notes"]))
        return _typed(Evidence(**document))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _malformed(where, error) from error


def _malformed(where: str, error: Exception) -> InputError:
    return InputError(
        "evidence-malformed",
        f"{where} cannot be read as evidence",
        where=where,
        why=f"{type(error).__name__}: {error}",
        fix="validate again: edgeops run validate --force",
    )


def _numbers(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a figure's or gate's fields with value and interval checked to be numbers."""
    value, interval = item["value"], item["interval"]
    pair = None if interval is None else tuple(interval)
    held = [*([] if value is None else [value]), *(pair or ())]
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in held):
        message = f"{held} are not all numbers"
        raise TypeError(message)
    if pair is not None and len(pair) != 2:  # noqa: PLR2004 - from where to where
        message = f"{interval} is no interval"
        raise ValueError(message)
    return {**item, "interval": pair}


def _typed(made: _Made) -> _Made:
    """Return a value whose fields are of their kind; raises TypeError."""
    for item in fields(made):
        value, kind = getattr(made, item.name), str(item.type)
        expected = dict if kind.startswith("Mapping") else _KINDS.get(kind, object)
        if not isinstance(value, expected):
            message = f"{item.name} is {type(value).__name__}, not {expected.__name__}"
            raise TypeError(message)
    if isinstance(made, Verdict) and made.verdict not in get_args(VerdictWord):
        message = f"{made.verdict!r} is no verdict"
        raise TypeError(message)
    if isinstance(made, Evidence) and not all(isinstance(x, dict) for x in made.data.values()):
        message = "data does not say of each role what it is"
        raise TypeError(message)
    return made


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _no_number(text: str) -> float:
    message = f"{text} is no number that was measured"
    raise ValueError(message)
