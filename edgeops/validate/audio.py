"""Metrics of sound: the scale-invariant signal-to-distortion ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import InputError
from edgeops.validate import scores

if TYPE_CHECKING:
    from collections.abc import Mapping

# What double precision cannot tell from perfect, or from nothing: the ratio is kept within it.
_TINY = 2.0**-52


class SiSdr:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019), the mean of samples.

    ``10 log10(|a s|^2 / |a s - e|^2)`` with the estimate ``e``, the labels ``s`` and
    ``a = <e, s> / |s|^2``. The mean of a signal is not taken off. Within +-156.5 dB (2^-52).
    """

    name = "si_sdr"
    api = 1
    rule = 1
    higher_is_better = True
    needs = "signals"

    def score(self, outputs: Mapping[str, Any], labels: Any) -> float:
        """Return the ratio in dB; nan when an estimate is not finite."""
        return float(self.combine(self.terms(outputs, labels).mean(axis=0)))

    def terms(self, outputs: Mapping[str, Any], labels: Any) -> Any:
        """Return ``[samples, 1]``: each sample's ratio, the mean of its channels.

        Outputs and labels are ``[samples, time]`` or ``[samples, channels..., time]`` of one
        shape, axes of size 1 aside. Raises InputError ``labels-missing``, ``labels-misfit``, or
        ``metric-undefined`` for a reference that is silent.
        """
        import numpy as np

        right = np.asarray(labels) if labels is not None else np.zeros(0)
        name, array = scores.regression_output(outputs, right)
        right = scores.checked_labels(labels, len(array))
        given, wanted = _signals(array), _signals(right)
        if given is None or wanted is None or given.shape != wanted.shape:
            raise InputError(
                "labels-misfit",
                f"the labels are no signals of the length of the output {name}",
                where="labels",
                why=f"{name} is {array.dtype}{list(array.shape)}, "
                f"labels are {right.dtype}{list(right.shape)}",
                fix="save labels of the shape of the output: [samples, time] or "
                "[samples, channels, time]",
            )
        return _ratios(given, _heard(wanted)).mean(axis=1, keepdims=True)

    def combine(self, means: Any) -> Any:
        """Return the ratio from the mean of the terms, ``[..., 1] -> [...]``."""
        return means[..., 0]


def _signals(array: Any) -> Any:
    """Return ``[samples, channels, time]`` in double precision, or None for anything else."""
    if array.dtype.kind not in "fiu" or array.ndim < 2 or not array.size:  # noqa: PLR2004 - samples and time
        return None
    # A trailing axis of one channel ([samples, time, 1]) is no time axis.
    kept = [size for size in array.shape[1:] if size != 1]
    shape = (len(array), -1, kept[-1]) if kept else (len(array), 1, 1)
    return array.reshape(shape).astype(float)


def _heard(wanted: Any) -> Any:
    import numpy as np

    silent = np.flatnonzero(~((wanted**2).sum(axis=2) > 0).all(axis=1))
    if silent.size:
        raise InputError(
            "metric-undefined",
            f"si_sdr means nothing where the reference is silent: sample {silent[0]}",
            where="labels",
            why=f"{silent.size} of {len(wanted)} references are all zero or no numbers",
            fix="leave these samples out of the evaluation data, or use rmse",
        )
    return wanted


def _ratios(given: Any, wanted: Any) -> Any:
    """Return the ratio in dB of each sample and channel, ``[samples, channels]``."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite becomes nan below
        scale = (given * wanted).sum(axis=2, keepdims=True)
        scale /= (wanted**2).sum(axis=2, keepdims=True)
        target = ((scale * wanted) ** 2).sum(axis=2)
        noise = ((scale * wanted - given) ** 2).sum(axis=2)
        whole = target + noise
    # An estimate of nothing at all has neither target nor noise: it counts as the worst.
    share = np.divide(target, whole, out=np.zeros_like(whole), where=whole > 0)
    rest = np.divide(noise, whole, out=np.ones_like(whole), where=whole > 0)
    ratio = 10 * np.log10(np.maximum(share, _TINY) / np.maximum(rest, _TINY))
    return np.where(np.isfinite(whole), ratio, np.nan)
