"""Whether what is packed around the models fits them: found here, and not by a device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeops.errors import from_findings
from edgeops.package.layout import kind_of
from edgeops.project.documents import document_of, features_of, located, rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeops.core.variant import Variant
    from edgeops.project.documents import Document


def check_fits(include: Mapping[str, Path], variants: Mapping[str, Variant]) -> None:
    """Refuse features and rules among the files to include that a target's predictor would refuse.

    A target that only rules ask takes what these give it. Raises InputError ``features-model`` or
    ``rules-malformed``.
    """
    from edgeops.runtime.features import misfits
    from edgeops.runtime.predictor_files import labels_in
    from edgeops.runtime.rules.trial import check_models

    paths = {kind_of(name): (name, path) for name, path in include.items()}
    rules = _document(paths, "rules")
    models = rules_of(rules).models if rules else {}
    asked = {model.target for model in models.values()}
    own = {name: each for name, each in variants.items() if name not in asked} or variants
    if features := _document(paths, "features"):
        found = [
            replace(finding, what=f"{finding.what} of the target {name!r}")
            for name, variant in own.items()
            for finding in misfits(features_of(features), variant.inputs, features.source)
        ]
        if found:
            raise from_findings(found)
    if rules:
        labels = labels_in(paths["labels"][1]) if "labels" in paths else ()
        others = {name: variants[model.target].outputs for name, model in models.items()}
        for variant in own.values():
            with located(rules):
                check_models(rules_of(rules), variant.outputs, others, labels)


def _document(paths: Mapping[str, tuple[str, Path]], kind: str) -> Document | None:
    if kind not in paths:
        return None
    name, path = paths[kind]
    return document_of(path.read_bytes(), name)
