"""A whole data set through the predictor's chain, sample by sample, as an application calls it."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeops.core.events import Silence
from edgeops.errors import EdgeopsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeops.core.contracts import Samples
    from edgeops.core.events import Events
    from edgeops.runtime.features import Features, RawInput
    from edgeops.runtime.predictor_chain import Chain

_ENCODED = ("image", "audio")
_BOX = 4


def values(features: Features | None, samples: Samples, index: int) -> dict[str, Any]:
    """Return what ``predict`` takes for one sample.

    With features a value by the name of each raw input: an array, text, or the bytes of a file,
    which stand in the data as uint8 with one axis. Columns come as one array, or each by its name.
    """
    if features is None:
        return {
            name: array if array.ndim == 0 else array[index : index + 1]
            for name, array in samples.arrays.items()
        }
    return {each.name: _value(each, samples.arrays, index) for each in features.inputs}


def run_samples(
    chain: Chain, samples: Samples, *, events: Events | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the answers to all samples by name, first axis = samples, and what a call took.

    Without rules these are the model's outputs. With rules a number or text is one value a sample;
    boxes of detections are rows of x1, y1, x2, y2, score, class; what is neither is left out. The
    times are medians in ms, by part. Raises what ``predict`` raises, naming the sample.
    """
    tell = events or Silence()
    rows: list[dict[str, Any]] = []
    taken: dict[str, list[int]] = {"predict_ms": []}
    for index in range(samples.count):
        given = values(chain.features, samples, index)
        try:
            begun = time.perf_counter_ns()
            rows.append(chain.predict(given))
            taken["predict_ms"].append(time.perf_counter_ns() - begun)
        except EdgeopsError as error:
            error.where = f"sample {index}" + (f", {error.where}" if error.where else "")
            raise
        tell.advance()
    if chain.features is not None:
        taken["features_ms"] = _features_alone(chain.features, samples)
    times = {name: median(found) / 1e6 for name, found in taken.items() if found}
    if chain.rules is None:
        names = [tensor.name for tensor in chain.session.outputs]
        return {name: stacked([row[name] for row in rows]) for name in names}, times
    return table(rows), times


def made_samples(features: Features, samples: Samples) -> dict[str, Any]:
    """Return the arrays by model input that features make of raw samples, first axis = samples."""
    found: list[dict[str, Any]] = []
    for index in range(samples.count):
        try:
            found.append(features(values(features, samples, index)))
        except EdgeopsError as error:
            error.where = f"{samples.source}, sample {index}, {error.where}"
            raise
    return {
        tensor.name: stacked([one[tensor.name] for one in found]) for tensor in features.outputs
    }


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return answers of rules as arrays by name; a name that some answers lack is empty there."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: _column([row.get(name) for row in rows]) for name in names}
    return {name: column for name, column in found.items() if column is not None}


def stacked(parts: Sequence[Any]) -> Any:
    """Return one row a sample, as an array of objects where their shapes differ."""
    import numpy as np

    if not parts:
        return np.zeros(0, np.float32)
    if len({part.shape[1:] for part in parts}) == 1 and all(_single(part) for part in parts):
        return np.concatenate(parts)
    return _ragged([part[0] if _single(part) else part for part in parts])


def _single(part: Any) -> bool:
    return bool(part.ndim) and len(part) == 1


def _ragged(parts: Sequence[Any]) -> Any:
    import numpy as np

    ragged = np.empty(len(parts), dtype=object)
    for row, part in enumerate(parts):
        ragged[row] = part
    return ragged


def _value(about: RawInput, arrays: Mapping[str, Any], index: int) -> Any:
    from edgeops.runtime.features.program import Columns

    if about.name not in arrays and isinstance(about.program, Columns):
        names = [column.name for column in about.program.columns if column.name in arrays]
        return {name: _item(arrays[name], index) for name in names}
    value = _item(arrays[about.name], index)
    encoded = getattr(value, "ndim", 0) == 1 and str(value.dtype) == "uint8"
    return value.tobytes() if encoded and about.kind in _ENCODED else value


def _item(array: Any, index: int) -> Any:
    value = array[()] if array.ndim == 0 else array[index]
    return value.item() if getattr(value, "ndim", 1) == 0 else value


def _features_alone(features: Features, samples: Samples, most: int = 64) -> list[int]:
    """Return how many ns the features of some samples take by themselves."""
    taken = []
    for index in range(min(samples.count, most)):
        given = values(features, samples, index)
        begun = time.perf_counter_ns()
        features(given)
        taken.append(time.perf_counter_ns() - begun)
    return taken


def _column(found: Sequence[Any]) -> Any:
    """Return one name of all answers as an array, None where no metric could read it."""
    import numpy as np

    there = [value for value in found if value is not None]
    if all(isinstance(value, str) for value in there) and there:
        return np.array(["" if value is None else value for value in found])
    if all(isinstance(value, (bool, int)) for value in there) and len(there) == len(found):
        return np.array(found, np.int64)
    if all(isinstance(value, (bool, int, float)) for value in there) and there:
        return np.array([np.nan if value is None else value for value in found], np.float64)
    if all(hasattr(value, "shape") for value in there) and len(there) == len(found):
        return stacked([value[None] for value in found])
    lists = [[] if value is None else value for value in found]
    if all(isinstance(value, list) for value in lists):
        return _lists(lists)
    return None


def _lists(lists: Sequence[list[Any]]) -> Any:
    """Return lists of numbers of one length as rows, and lists of boxes as tables."""
    import numpy as np

    items = [item for one in lists for item in one]
    if all(isinstance(item, dict) and len(item.get("box", ())) == _BOX for item in items):
        boxes = [
            np.array([[*item["box"], item["score"], item["index"]] for item in one]).reshape(-1, 6)
            for one in lists
        ]
        return _ragged(boxes)
    numbers = all(isinstance(item, (int, float)) for item in items)
    same = len({len(one) for one in lists}) == 1
    return np.array(lists, np.float64) if numbers and same else None
