"""features.yaml and rules.yaml of a project: read, checked, and named by their digest.

The digest is that of the compiled document, which is what a bundle holds as ``features.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.errors import Finding, InputError, from_findings

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.runtime.features import Features
    from edgeops.runtime.rules import Rules


@dataclass(frozen=True)
class Document:
    """A document as it is sent to devices: ``data`` is canonical JSON, ``digest`` names it."""

    source: str
    data: bytes
    digest: str
    value: Any

    def about(self) -> dict[str, str]:
        """Return what evidence says of the document."""
        return {"source": self.source, "digest": self.digest}


def read_document(name: str, root: Path) -> Document:
    """Read a YAML document; InputError ``document-missing``, or what YAML has of faults."""
    from edgeops.project.positions import parse

    try:
        text = (root / name).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "document-missing",
            f"{name} cannot be read",
            where=name,
            why=getattr(error, "strerror", None) or str(error),
            fix="name a file of the project, or leave the key out of edgeops.yaml",
        ) from error
    found = parse(text, name)
    if found.findings:
        raise from_findings(found.findings)
    data = canonical_json(found.value)
    return Document(name, data, digest(sha256_bytes(data)), found.value)


def features_of(document: Document) -> Features:
    """Return the features; InputError ``features-malformed``."""
    from edgeops.runtime.features import parse

    features: Features = parse(document.value, document.source)
    return features


def rules_of(document: Document) -> Rules:
    """Return the rules; InputError ``rules-malformed``."""
    from edgeops.runtime.rules import parse

    return parse(document.value, document.source)


def raw_samples(samples: Samples, features: Features) -> Samples:
    """Return raw samples with the arrays that features take; InputError ``data-input-missing``.

    What a folder of files holds goes to the only input of its kind. The columns of a table may
    stand in the data each under its own name.
    """
    arrays = dict(samples.arrays)
    absent = [each for each in features.inputs if each.name not in arrays]
    if len(absent) == 1 and absent[0].kind in arrays:
        arrays[absent[0].name] = arrays.pop(absent[0].kind)
        absent = []
    columns = {name for each in absent for name in _columns(each) if name in arrays}
    missing = [each for each in absent if not columns & _columns(each)]
    if missing:
        raise from_findings([_missing(samples, each.name, each.kind) for each in missing])
    wanted = columns | {each.name for each in features.inputs}
    kept = {name: array for name, array in arrays.items() if name in wanted}
    return replace(samples, arrays=kept)


def made_samples(samples: Samples, features: Features) -> Samples:
    """Return raw samples as what a model takes; InputError ``feature-input`` names the sample."""
    from edgeops.runtime.predictor_samples import made_samples as made

    return replace(samples, arrays=made(features, raw_samples(samples, features)))


def _columns(about: Any) -> set[str]:
    return {column.name for column in getattr(about.program, "columns", ())}


def _missing(samples: Samples, name: str, kind: str) -> Finding:
    there = ", ".join(samples.arrays) or "no arrays"
    return Finding(
        "data-input-missing",
        f"{samples.source} has nothing for the raw input {name!r}",
        where=samples.source,
        why=f"it holds {there}; with features, data are what they take",
        fix=f"save an array called {name!r} ({kind}), or leave features out of data",
    )
