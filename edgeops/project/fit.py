"""Whether a data set fits the inputs of a model, and everything about it that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeops.errors import Finding
from edgeops.runtime.batch import bind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Samples
    from edgeops.core.variant import TensorInfo


def check_fit(samples: Samples, inputs: Sequence[TensorInfo], *, labels: bool) -> list[Finding]:
    """Return everything about ``samples`` that does not fit a model's inputs.

    ``labels`` says whether they are needed. Codes: ``data-input-missing``, ``data-shape``,
    ``data-dtype``, ``labels-missing``, ``labels-misfit``.
    """
    encoded = [name for name, array in samples.arrays.items() if _is_encoded(array)]
    if encoded:
        return [_encoded(samples, encoded[0])]
    bound = bind(samples, inputs).arrays
    unused = [name for name in samples.arrays if name not in {t.name for t in inputs}]
    findings = []
    for tensor in inputs:
        if tensor.name not in bound:
            findings.append(_missing(samples, tensor, unused))
        else:
            findings += _misfits(samples, tensor, bound[tensor.name])
    if labels and samples.labels is None:
        findings.append(
            Finding(
                "labels-missing",
                f"{samples.source} has no labels",
                where=samples.source,
                why=f"it holds {described(samples.arrays)}; a metric compares outputs with labels",
                fix="add an array (or column) called labels with one entry per sample",
            )
        )
    elif labels and getattr(samples.labels, "ndim", 1) == 0:
        findings.append(
            Finding(
                "labels-misfit",
                f"{samples.source} has a single value in labels",
                where=samples.source,
                why="a metric compares what is answered to each sample with its own label",
                fix="save labels with one entry per sample",
            )
        )
    return findings


def described(arrays: Mapping[str, Any]) -> str:
    """Return names, dtypes and shapes of arrays for a message, the first six of them."""
    described = [f"{key} {array.dtype} {list(array.shape)}" for key, array in arrays.items()]
    more = f" and {len(described) - 6} more" if len(described) > 6 else ""  # noqa: PLR2004 - a line's worth
    return (", ".join(described[:6]) or "no arrays") + more


def _is_encoded(array: Any) -> bool:
    """Return whether an array holds the bytes of files, as a folder's does."""
    if array.dtype.kind != "O" or array.ndim != 1 or not len(array):
        return False
    return str(getattr(array[0], "dtype", "")) == "uint8" and array[0].ndim == 1


def _encoded(samples: Samples, kind: str) -> Finding:
    return Finding(
        "data-input-missing",
        f"{samples.source} holds files, and the model takes arrays",
        where=samples.source,
        why=f"nothing says how its {kind} files become what the model takes",
        fix="write features: features.yaml under data, or --features features.yaml; "
        "see docs/formats/features.md",
    )


def _missing(samples: Samples, tensor: TensorInfo, unused: list[str]) -> Finding:
    rename = f"; rename {unused[0]!r} if that is it" if len(unused) == 1 else ""
    return Finding(
        "data-input-missing",
        f"{samples.source} has nothing for the input {tensor.name!r}",
        where=samples.source,
        why=f"it holds {described(samples.arrays)}",
        fix=f"save an array called {tensor.name!r}, {_wanted(tensor)}{rename}",
    )


def _misfits(samples: Samples, tensor: TensorInfo, array: Any) -> list[Finding]:
    findings = []
    what = f"the array {tensor.name!r} of {samples.source} does not fit the model"
    if not _shape_fits(tensor, array):
        why = f"expected {_wanted(tensor)}; found shape {list(array.shape)}"
        fix = "reshape it to what the model takes; the first axis counts the samples"
        findings.append(Finding("data-shape", what, samples.source, why, fix))
    if not _dtype_fits(tensor, array):
        why = f"expected {tensor.dtype}; found {array.dtype}"
        lossy = not _keeps_values(array, tensor.dtype)
        hint = " (some values change by that: look at them first)" if lossy else ""
        fix = f"save it as {tensor.name}.astype({tensor.dtype!r}){hint}"
        findings.append(Finding("data-dtype", what, samples.source, why, fix))
    return findings


def _shape_fits(tensor: TensorInfo, array: Any) -> bool:
    if array.ndim == 0:
        return all(isinstance(size, int) for size in tensor.shape[1:])
    if not tensor.shape or "..." in tensor.shape:
        return bool(tensor.shape)
    return len(tensor.shape) == array.ndim and all(
        isinstance(wanted, str) or wanted == found
        for wanted, found in zip(tensor.shape[1:], array.shape[1:], strict=True)
    )


def _dtype_fits(tensor: TensorInfo, array: Any) -> bool:
    return str(array.dtype) == tensor.dtype or (tensor.dtype == "str" and array.dtype.kind in "US")


def _keeps_values(array: Any, dtype: str) -> bool:
    if dtype == "str" or array.dtype.kind not in "fiub":
        return False
    if dtype.startswith("float") and array.dtype.kind == "f":
        return True
    return bool((array.astype(dtype) == array).all())


def _wanted(tensor: TensorInfo) -> str:
    sizes = ["samples", *(str(size) for size in tensor.shape[1:])] if tensor.shape else []
    return f"{tensor.dtype} [{', '.join(sizes)}]"
