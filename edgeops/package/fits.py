"""Whether what is packed around the models fits them: found here, and not by a device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeops.errors import from_findings
from edgeops.package.layout import kind_of
from edgeops.project.documents import document_of, features_of, located, rules_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from edgeops.core.variant import Variant
    from edgeops.project.documents import Document

# The kinds of files that have to fit the models.
FITTED = ("features", "rules", "labels")


def check_fits(include: Mapping[str, Path], variants: Mapping[str, Variant]) -> None:
    """Refuse what is to be included as :func:`check_documents_fit` does."""
    found = {name: path.read_bytes() for name, path in include.items() if kind_of(name) in FITTED}
    check_documents_fit(found, variants)


def check_documents_fit(
    files: Mapping[str, bytes], variants: Mapping[str, Variant], asked: Collection[str] = ()
) -> None:
    """Refuse features and rules among files that a target's predictor would refuse.

    A target that only rules ask takes what these give it; ``asked`` are such where the rules are
    not among the files. Raises InputError ``features-model`` or ``rules-malformed``.
    """
    from edgeops.runtime.features import misfits
    from edgeops.runtime.predictor_files import labels_of
    from edgeops.runtime.rules.trial import check_models, check_taken

    names = {kind_of(name): name for name in files}
    rules = _document(files, names.get("rules"))
    models = rules_of(rules).models if rules else {}
    asked = {*asked, *(model.target for model in models.values())}
    own = {name: each for name, each in variants.items() if name not in asked} or variants
    features = _document(files, names.get("features"))
    made = features_of(features) if features else None
    if features and made:
        found = [
            replace(finding, what=f"{finding.what} of the target {name!r}")
            for name, variant in own.items()
            for finding in misfits(made, variant.inputs, features.source)
        ]
        if found:
            raise from_findings(found)
    if rules:
        labels = labels_of(names["labels"], files[names["labels"]]) if "labels" in names else ()
        others = {name: variants[model.target].outputs for name, model in models.items()}
        with located(rules):
            if made:
                check_taken(rules_of(rules), made)
            for variant in own.values():
                check_models(rules_of(rules), variant.outputs, others, labels)


def _document(files: Mapping[str, bytes], name: str | None) -> Document | None:
    return None if name is None else document_of(files[name], name)
