"""What of a project goes before and after the model when it is validated: features and rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeops.core.project import final_variant
from edgeops.core.variant import read_variant
from edgeops.errors import EdgeopsError, Finding, InputError
from edgeops.stages.validate import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.contracts import Samples, Session
    from edgeops.core.project import Project
    from edgeops.core.variant import TensorInfo, Variant
    from edgeops.project.documents import Document
    from edgeops.runtime.predictor_chain import Chain
    from edgeops.validate.measured import Predicting


@dataclass(frozen=True)
class Surroundings:
    """The documents around a model.

    ``models`` are variant folders by the name that rules give them, ``asked`` by target.
    """

    features: Document | None = None
    rules: Document | None = None
    labels: tuple[str, ...] = ()
    models: Mapping[str, Path] = field(default_factory=dict)
    asked: Mapping[str, Path] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether there is anything around the model."""
        return self.features is not None or self.rules is not None

    def predicting(self, raw: Samples) -> Predicting:
        """Return what a device is given to evaluate the predictor on raw samples."""
        from edgeops.validate.measured import Predicting

        return Predicting(
            raw,
            self.features.data if self.features else None,
            self.rules.data if self.rules else None,
            self.labels,
            self.models,
        )

    def chain(self, session: Session) -> Chain:
        """Return a session of this machine with features and rules around it."""
        from edgeops.project.documents import features_of, rules_of
        from edgeops.runtime.predictor_chain import Chain
        from edgeops.runtime.session import load_session

        return Chain(
            session,
            features_of(self.features) if self.features else None,
            rules_of(self.rules) if self.rules else None,
            self.labels,
            {name: load_session(folder) for name, folder in self.models.items()},
        )

    def check(self, variant: Variant) -> None:
        """Try the rules on what the models are going to answer; InputError ``rules-malformed``."""
        from edgeops.project.documents import located, rules_of
        from edgeops.runtime.rules.trial import check_models

        if self.rules is not None:
            others = {
                name: read_variant(folder, verify=False).outputs
                for name, folder in self.models.items()
            }
            with located(self.rules):
                check_models(rules_of(self.rules), variant.outputs, others, self.labels)

    def about(self) -> dict[str, Any]:
        """Return what evidence says of the documents, by kind."""
        documents = {"features": self.features, "rules": self.rules}
        about: dict[str, Any] = {
            kind: one.about() for kind, one in documents.items() if one is not None
        }
        if self.models:
            about["models"] = {
                target: read_variant(folder, verify=False).digest
                for target, folder in sorted(self.asked.items())
            }
        return about


def project_surroundings(
    project: Project, root: Path, rules: str, folders: Mapping[str, Path]
) -> Surroundings:
    """Return the documents that edgeops.yaml names; ``folders`` are the variants of all targets.

    Labels are those that pack includes. Raises InputError ``document-missing``,
    ``features-malformed``, ``rules-malformed`` or ``target-unknown``.
    """
    from edgeops.runtime.predictor_files import labels_in

    made = surroundings(root, project.data.features or "", rules, folders)
    spec = project.stage_using("pack")
    included = getattr(spec.options, "include", ()) if spec else ()
    for name in included:
        if name in LABELS and (root / name).is_file():
            return replace(made, labels=labels_in(root / name))
    return made


def document_problems(root: Path, project: Project, rules: str) -> list[Finding]:
    """Return what is wrong with the documents that edgeops.yaml names, before time is spent.

    Features are held against the model where it is there, whether or not there are data.
    """
    from edgeops.project.documents import features_for

    folders = {name: root / final_variant(project, name) for name in project.targets}
    try:
        around = surroundings(root, project.data.features or "", rules, folders)
        if around.features and (inputs := _inputs(root / project.model)):
            features_for(around.features.source, root, inputs)
    except EdgeopsError as error:
        own = Finding(error.code, error.what, error.where, error.why, error.fix)
        return list(error.findings) or [own]
    return []


def _inputs(model: Path) -> Sequence[TensorInfo]:
    """Return the inputs of a model; none where it cannot be read, which is told of the model."""
    from edgeops.model.load import load_model

    try:
        return load_model(model).inputs if model.is_file() else ()
    except EdgeopsError:
        return ()


def surroundings(
    root: Path, features: str, rules: str, folders: Mapping[str, Path]
) -> Surroundings:
    """Return the documents of these names, "" for none; ``folders`` are variants by target."""
    from edgeops.project.documents import features_of, read_document, rules_of

    before = read_document(features, root) if features else None
    after = read_document(rules, root) if rules else None
    if before is not None:
        features_of(before)
    models, asked = {}, {}
    for name, model in rules_of(after).models.items() if after else ():
        if model.target not in folders:
            raise InputError(
                "target-unknown",
                f"the rules ask the target {model.target!r}, and there is none",
                where=f"{rules}: models.{name}",
                why=f"the targets are {', '.join(folders) or 'not known to a lone variant'}",
                fix="name a target of edgeops.yaml",
            )
        models[name] = asked[model.target] = folders[model.target]
    return Surroundings(before, after, (), models, asked)
