"""The predictor: what an application on a device calls.

Example::

    from edgeops.runtime import Predictor

    predictor = Predictor("/opt/model/current")
    answer = predictor.predict({"image": image})
    print(predictor.labels[answer["probabilities"][0].argmax()])

Rules:

* Every file is checked against its digest before the engine sees it.
* Names, order and layout of inputs and outputs are those of the source model.
* An array is cast only where no value can be lost (``numpy.can_cast(..., "safe")``: uint8 to
  float32, int32 to int64, float32 to float64). Plain Python numbers and lists have no dtype of
  their own and take that of the input, but a fraction is never cut to an integer. Nothing is
  reshaped.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeops.core.digest import sha256_file
from edgeops.core.manifest import FILE, parse_manifest
from edgeops.core.variant import FILE as VARIANT
from edgeops.core.variant import read_variant
from edgeops.errors import InputError, TrustError
from edgeops.runtime.session import load_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeops.core.manifest import Layer, Manifest
    from edgeops.core.variant import TensorInfo

_LABELS_LIMIT = 16 << 20


class Predictor:
    """A loaded model that answers :meth:`predict`.

    ``path`` is a variant folder, what ``edgeops unpack`` leaves, or the agent's ``HOME/current``;
    ``target`` is needed where an unpacked bundle holds several. Raises InputError
    ``nothing-to-load``, ``target-unknown`` or ``target-needed``, TrustError ``digest-mismatch`` or
    ``bundle-malformed``, and what :func:`edgeops.runtime.session.load_session` raises.

    ``inputs`` and ``outputs`` describe the tensors; ``labels`` are the lines of the bundle's
    labels, empty where it has none; ``digest`` is that of the bundle or, for a lone variant, of the
    variant; ``version`` is the bundle's, or None.
    """

    def __init__(self, path: str | Path, target: str | None = None, threads: int = 1) -> None:
        folder = Path(path).resolve()
        self.labels: tuple[str, ...] = ()
        self.target = target
        self.version: str | None = None
        if (folder / FILE).is_file():
            variant = self._from_bundle(folder, target)
        elif (folder / VARIANT).is_file():
            variant = folder
            self.digest = read_variant(folder, verify=False).digest
        else:
            raise InputError(
                "nothing-to-load",
                f"{path} holds neither a variant nor an unpacked bundle",
                where=str(path),
                why=f"it has no {VARIANT} and no {FILE}",
                fix="name the folder that edgeops convert or edgeops unpack -o wrote",
            )
        self._session = load_session(variant, threads)
        self.inputs: tuple[TensorInfo, ...] = self._session.inputs
        self.outputs: tuple[TensorInfo, ...] = self._session.outputs

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs by name for arrays by input name.

        Shapes and dtypes are those of ``inputs``: see :attr:`inputs`. Raises InputError
        ``input-missing``, ``input-name-unknown``, ``input-shape`` or ``input-dtype``, each before the
        engine is called.
        """
        self._check_names(inputs)
        arrays = {tensor.name: _fit(tensor, inputs[tensor.name]) for tensor in self.inputs}
        self._check_sizes(arrays)
        return self._session.run(arrays)

    def _from_bundle(self, folder: Path, target: str | None) -> Path:
        data = (folder / FILE).read_bytes()
        manifest = parse_manifest(data, str(folder / FILE))
        self.target = _choose(folder, manifest, target)
        layers = manifest.of(kind="variant", target=self.target)
        _verify(folder, layers)
        self.digest = manifest.descriptor.digest
        self.version = manifest.version
        for layer in manifest.of(kind="labels"):
            if (folder / layer.path).is_file():
                _verify(folder, (layer,))
                self.labels = _labels(folder / layer.path)
        return folder / "variants" / self.target

    def _check_names(self, inputs: Mapping[str, Any]) -> None:
        known = [tensor.name for tensor in self.inputs]
        for name in inputs:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                raise InputError(
                    "input-name-unknown",
                    f"the model has no input {name!r}"
                    + (f"; did you mean {near[0]!r}?" if near else ""),
                    where=str(name),
                    why=f"its inputs are {_described(self.inputs)}",
                    fix=f"name them: predict({{{known[0]!r}: array}})",
                )
        missing = [name for name in known if name not in inputs]
        if missing:
            raise InputError(
                "input-missing",
                f"the input {missing[0]!r} was not given",
                where=missing[0],
                why=f"the model's inputs are {_described(self.inputs)}",
                fix=f"give an array for {', '.join(map(repr, missing))}",
            )

    def _check_sizes(self, arrays: Mapping[str, Any]) -> None:
        """Refuse two sizes for one named axis, such as a batch of 4 beside a batch of 5."""
        sizes: dict[str, tuple[int, str]] = {}
        for tensor in self.inputs:
            for axis, size in zip(tensor.shape, arrays[tensor.name].shape):
                if not isinstance(axis, str) or axis == "?":
                    continue
                first, owner = sizes.setdefault(axis, (size, tensor.name))
                if first != size:
                    raise InputError(
                        "input-shape",
                        f"{owner!r} and {tensor.name!r} do not fit each other",
                        where=tensor.name,
                        why=f"the axis {axis!r} is {first} in the one and {size} in the other",
                        fix="give all inputs the same number of samples",
                    )


def _fit(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    array = _typed(tensor, value)
    fits = len(array.shape) == len(tensor.shape) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(tensor.shape, array.shape)
    )
    if fits:
        return array
    given = list(array.shape)
    single = len(given) + 1 == len(tensor.shape) and given == list(tensor.shape[1:])
    raise InputError(
        "input-shape",
        f"{tensor.name!r} has the shape {given}, the model takes {_shape(tensor)}",
        where=tensor.name,
        why="it is one sample without the first axis, which counts samples"
        if single
        else "each axis must have the model's size; a name stands for any size",
        fix="add the axis: array[numpy.newaxis]"
        if single
        else f"bring the array into the shape {_shape(tensor)}; nothing is reshaped for you",
    )


def _typed(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    if tensor.dtype == "str":
        return _texts(tensor, value)
    wanted = np.dtype(tensor.dtype)
    if hasattr(value, "dtype") or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype == wanted:
            return array
        if np.can_cast(array.dtype, wanted, "safe"):
            return array.astype(wanted)
        raise _dtype_error(tensor, str(array.dtype), f"array.astype({tensor.dtype!r})")
    try:
        plain = np.asarray(value)
        whole = plain.dtype.kind in "iu" and wanted.kind in "iu"
        if whole or np.can_cast(plain.dtype, wanted, "same_kind"):
            return np.asarray(value, dtype=wanted)
    except (ValueError, TypeError, OverflowError) as error:
        raise _dtype_error(tensor, f"no array: {error}", "numpy.array(...)") from error
    raise _dtype_error(tensor, f"{plain.dtype} values", f"numbers that {tensor.dtype} can hold")


def _texts(tensor: TensorInfo, value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype.kind == "U" or (
        array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
    ):
        return array.astype(object)
    raise _dtype_error(tensor, str(array.dtype), "strings")


def _dtype_error(tensor: TensorInfo, given: str, fix: str) -> InputError:
    return InputError(
        "input-dtype",
        f"{tensor.name!r} is {given}, the model takes {tensor.dtype}",
        where=tensor.name,
        why="a cast that could lose something is never made silently",
        fix=f"give {fix}",
    )


def _choose(folder: Path, manifest: Manifest, target: str | None) -> str:
    there = [name for name in manifest.targets if (folder / "variants" / name).is_dir()]
    if target is not None and target in there:
        return target
    if target is not None:
        raise InputError(
            "target-unknown",
            f"{folder.name} has no target {target!r}",
            where=str(folder),
            why=f"its targets are {', '.join(there) or 'none'}",
            fix="name one of them, or unpack the bundle with --target",
        )
    if len(there) == 1:
        return there[0]
    raise InputError(
        "target-needed",
        f"{folder.name} holds {len(there)} targets, and none was chosen",
        where=str(folder),
        why=f"its targets are {', '.join(there) or 'none'}",
        fix="choose one: Predictor(path, target=NAME), or unpack the bundle with --target",
    )


def _verify(folder: Path, layers: tuple[Layer, ...]) -> None:
    for layer in layers:
        file = folder / layer.path
        whole = file.is_file() and not file.is_symlink() and sha256_file(file) == layer.blob.hex
        if not whole:
            raise TrustError(
                "digest-mismatch",
                f"{layer.path} is not the file that {FILE} names",
                where=str(file),
                why="its sha256 differs or it is gone",
                fix="unpack the bundle again, or let the agent update again",
            )


def _labels(path: Path) -> tuple[str, ...]:
    text = path.read_bytes()[:_LABELS_LIMIT].decode("utf-8-sig", "replace")
    if path.suffix != ".json":
        return tuple(text.splitlines())
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _described(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(f"{item.name}: {item.dtype}{_shape(item)}" for item in tensors)


def _shape(tensor: TensorInfo) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
