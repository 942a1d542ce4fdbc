"""features.yaml and rules.yaml of a project: read, checked, and named by their digest.

The digest is that of the compiled document, which is what a bundle holds as ``features.json``.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_bytes
from edgeops.core.files import canonical_json
from edgeops.errors import Finding, InputError, from_findings
from edgeops.project.positions import parse as parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Samples
    from edgeops.core.variant import TensorInfo
    from edgeops.project.positions import Document as Positions
    from edgeops.runtime.features import Features
    from edgeops.runtime.rules import Rules

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Document:
    """A document as it is sent to devices: ``data`` is canonical JSON, ``digest`` names it."""

    source: str
    data: bytes
    digest: str
    value: Any
    positions: Positions

    def about(self) -> dict[str, str]:
        """Return what evidence says of the document."""
        return {"source": self.source, "digest": self.digest}


def read_document(name: str, root: Path) -> Document:
    """Read a document of a project; InputError ``document-missing``, or as :func:`document_of`."""
    try:
        data = (root / name).read_bytes()
    except OSError as error:
        raise InputError(
            "document-missing",
            f"{name} cannot be read",
            where=name,
            why=error.strerror or str(error),
            fix="name a file of the project, or leave the key out of edgeops.yaml",
        ) from error
    return document_of(data, name)


def document_of(data: bytes, name: str) -> Document:
    """Return the document in the bytes of a YAML file.

    Raises InputError ``document-unreadable``, or what YAML has of faults, with line and column.
    """
    try:
        found = parse_yaml(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise _unreadable(name, f"it is not UTF-8: {error}") from error
    if found.findings:
        raise from_findings(found.findings)
    if not isinstance(found.value, dict):
        raise _unreadable(name, "it is no mapping of keys to values")
    compiled = canonical_json(found.value)
    return Document(name, compiled, digest(sha256_bytes(compiled)), found.value, found)


def features_of(document: Document) -> Features:
    """Return the features; InputError ``features-malformed``, each finding with its line."""
    from edgeops.runtime.features import parse

    with located(document):
        features: Features = parse(document.value, document.source)
    return features


def features_for(name: str, root: Path, inputs: Sequence[TensorInfo]) -> Features:
    """Return the features in a document of a project, which make what a model takes.

    Raises what reading it raises, and InputError ``features-model``.
    """
    from edgeops.runtime.predictor_chain import check_features

    made = features_of(read_document(name, root))
    check_features(made, inputs, name)
    return made


def rules_of(document: Document) -> Rules:
    """Return the rules; InputError ``rules-malformed``, with its line."""
    from edgeops.runtime.rules import parse

    with located(document):
        return parse(document.value, document.source)


@contextmanager
def located(document: Document) -> Iterator[None]:
    """Say of faults in a document at which line and column they are: devices know its paths alone."""
    try:
        yield
    except InputError as error:
        error.findings = tuple(
            replace(finding, where=_where(document, finding)) for finding in error.findings
        )
        if error.findings:
            error.where = error.findings[0].where
        raise


def _where(document: Document, finding: Finding) -> str:
    path = finding.details.get("path", ())
    if isinstance(path, str):
        path = [int(number) if number else key for number, key in _STEP.findall(path)]
    return document.positions.where(tuple(path))


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

    arrays = made(features, raw_samples(samples, features))
    # Features make texts of any length, objects to numpy; a data set holds text as text.
    texts = {tensor.name for tensor in features.outputs if tensor.dtype == "str"}
    arrays |= {name: arrays[name].astype(str) for name in texts}
    return replace(samples, arrays=arrays)


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


def _unreadable(name: str, why: str) -> InputError:
    return InputError(
        "document-unreadable",
        f"{name} cannot be read",
        where=name,
        why=why,
        fix="write it as docs/formats/features.md and docs/formats/rules.md show",
    )
