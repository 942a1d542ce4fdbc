"""Metrics of regression: how far the values that a model answers are from the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.validate import scores

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rmse:
    """Root mean squared error (scikit-learn's ``root_mean_squared_error``).

    With several values a sample, the mean of the errors of each.
    """

    name = "rmse"
    api = 1
    rule = 1
    higher_is_better = False
    needs = "values"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the error in the unit of the labels; nan when a prediction is not finite."""
        return float(self.combine(self.terms(outputs, labels).mean(axis=0)))

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, values]``: the squared errors."""
        return _errors(outputs, labels) ** 2

    def combine(self, means: Any) -> Any:
        """Return the error from the mean squares, ``[..., values] -> [...]``."""
        import numpy as np

        return np.sqrt(means).mean(axis=-1)


class Mae:
    """Mean absolute error (scikit-learn's ``mean_absolute_error``), over samples and values."""

    name = "mae"
    api = 1
    rule = 1
    higher_is_better = False
    needs = "values"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the error in the unit of the labels; nan when a prediction is not finite."""
        return float(self.combine(self.terms(outputs, labels).mean(axis=0)))

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, 1]``: the mean absolute error of each sample's values."""
        return abs(_errors(outputs, labels)).mean(axis=1, keepdims=True)

    def combine(self, means: Any) -> Any:
        """Return the error from the means of the terms, ``[..., 1] -> [...]``."""
        return means[..., 0]


def _errors(outputs: Mapping[str, Any], labels: Any) -> Any:
    """Return prediction less label, ``[samples, values]``; InputError ``labels-misfit``."""
    import numpy as np

    right = np.asarray(labels) if labels is not None else np.zeros(0)
    name, array = scores.regression_output(outputs, right)
    right = scores.checked_labels(labels, len(array))
    kinds = {array.dtype.kind, right.dtype.kind}
    if array.size != right.size or not array.size or not kinds <= set("fiub"):
        raise InputError(
            "labels-misfit",
            f"the labels do not fit the output {name}",
            why=f"{name} has shape {list(array.shape)}, labels have {list(right.shape)}",
            fix="save labels with as many numbers a sample as the model predicts",
        )
    shape = (len(array), -1)
    return array.reshape(shape).astype(float) - right.reshape(shape).astype(float)
