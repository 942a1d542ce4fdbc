"""Features, session, rules: what happens to one call, on a device and when it is validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError, from_findings
from edgeops.runtime.predictor_arrays import fitted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Session
    from edgeops.core.variant import TensorInfo
    from edgeops.runtime.features import Features
    from edgeops.runtime.rules import Rules


class Chain:
    """A session with the features before it and the rules after it, where there are any.

    ``models`` are the sessions that rules ask, by the name that rules give them; :meth:`predict`
    may be called from several threads. Raises InputError ``features-model`` for features that do
    not make what the model takes, and ``rules-malformed`` for rules on what no model answers or no
    feature is called.
    """

    def __init__(
        self,
        session: Session,
        features: Features | None = None,
        rules: Rules | None = None,
        labels: Sequence[str] = (),
        models: Mapping[str, Session] | None = None,
    ) -> None:
        self.session, self.features, self.rules = session, features, rules
        self.labels = tuple(labels)
        self.models = dict(models or {})
        self.inputs: tuple[Any, ...] = session.inputs if features is None else features.inputs
        if features is not None:
            check_features(features, session.inputs, "features.json")
        if rules is not None:
            from edgeops.runtime.rules.trial import check_models, check_taken

            if features is not None:
                check_taken(rules, features)
            known = {name: model.outputs for name, model in self.models.items()}
            check_models(rules, session.outputs, known, self.labels)
        # Features make one sample; arrays of a caller may hold several.
        self._axes = tuple(t for t in session.inputs if t.shape) if features is None else ()

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one call.

        Raises InputError for inputs that do not fit, RefusedError ``rules-failed``.
        """
        if self.features is None:
            made: Any = fitted(self.session.inputs, inputs)
        else:
            made = self.features(inputs)
        outputs = self.session.run(made)
        return outputs if self.rules is None else self._answer(inputs, made, outputs)

    def answer(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the rules say of outputs that are there already, for the same inputs."""
        made: Any = inputs if self.features is None else self.features(inputs)
        return self._answer(inputs, made, outputs)

    def _answer(
        self, inputs: Mapping[str, Any], made: Any, outputs: Mapping[str, Any]
    ) -> dict[str, Any]:
        rules = self.rules
        if rules is None:
            return dict(outputs)
        for tensor in self._axes:
            if len(made[tensor.name]) != 1:
                raise _one_a_call(tensor.name, len(made[tensor.name]))
        meta = {name: found[0] for name, found in getattr(made, "meta", {}).items()}
        extra = getattr(made, "extra", None)
        features = {**extra, **made} if extra else made

        def ask(name: str) -> Mapping[str, Any]:
            session = self.models[name]
            names = rules.models[name].inputs
            arrays = {t.name: features[names.get(t.name, t.name)] for t in session.inputs}
            return session.run(arrays)

        return rules(features, outputs, self.labels, inputs=inputs, meta=meta, models=ask)


def check_features(features: Features, inputs: Sequence[TensorInfo], where: str) -> None:
    """Raise InputError ``features-model`` unless the features make what a model takes."""
    from edgeops.runtime.features import misfits

    findings = misfits(features, inputs, where)
    if findings:
        raise from_findings(findings)


def _one_a_call(name: str, count: int) -> InputError:
    return InputError(
        "rules-batch",
        f"rules answer one sample a call, and {name!r} holds {count}",
        where=name,
        why="the first axis counts samples",
        fix="call predict once for each sample",
    )
