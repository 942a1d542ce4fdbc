"""Samples and outputs as they go to the measuring program and come back: ``.npz``, no pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_samples(path: Path, samples: Samples) -> dict[str, Any]:
    """Save the arrays of ``samples`` for a request, and return how the request names them.

    Arrays are called ``a0``, ``a1``, ... in the order of ``names``. An array of objects that are
    arrays, one a sample, is saved sample by sample: ``a0.0``, ``a0.1``, ...; ``parts`` says which.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    parts = [_put(arrays, f"a{index}", a) for index, a in enumerate(samples.arrays.values())]
    np.savez(path, **arrays)
    about = {"file": path.name, "names": list(samples.arrays), "count": samples.count}
    return {**about, "parts": parts} if any(parts) else about


def read_samples(about: Mapping[str, Any]) -> Samples:
    """Return the samples that a request names."""
    import numpy as np

    names = about["names"]
    parts = about.get("parts") or [None] * len(names)
    with np.load(Path(about["file"]), allow_pickle=False) as file:
        arrays = {name: _get(file, f"a{i}", parts[i]) for i, name in enumerate(names)}
    return Samples(arrays, None, int(about["count"]), str(about["file"]), "")


def write_outputs(path: Path, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Save outputs by name, and return how they lie in the file.

    ``parts`` is None for one array, else how many arrays of different shapes there are.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    about = [
        {"name": name, "parts": _put(arrays, f"o{index}", array)}
        for index, (name, array) in enumerate(outputs.items())
    ]
    np.savez(path, **arrays)
    return {"names": about}


def read_outputs(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs that an evaluation saved, by name; ``about`` is the answer's ``outputs``.

    An output whose shape differs from sample to sample is an array of objects, one a sample.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as file:
        return {
            entry["name"]: _get(file, f"o{index}", entry["parts"])
            for index, entry in enumerate(about["names"])
        }


def _put(arrays: dict[str, Any], name: str, array: Any) -> int | None:
    if array.dtype.kind == "O" and array.size and not isinstance(array.flat[0], (str, bytes)):
        arrays.update({f"{name}.{row}": _plain(part) for row, part in enumerate(array)})
        return len(array)
    arrays[name] = _plain(array)
    return None


def _plain(array: Any) -> Any:
    # Text comes as an array of objects, which only a pickle could save.
    return array.astype(str) if array.dtype.kind == "O" else array


def _get(file: Any, name: str, parts: int | None) -> Any:
    import numpy as np

    if parts is None:
        return file[name]
    ragged = np.empty(parts, dtype=object)
    for row in range(parts):
        ragged[row] = file[f"{name}.{row}"]
    return ragged
