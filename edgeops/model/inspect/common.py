"""What the readers of all formats share: the shape of the result, names, sums."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgeops.core.digest import digest, sha256_file, tree_digest
from edgeops.model.flatbuffer import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# Element types that learned numbers have; larger integers are shapes, indices, biases of int8 layers.
LEARNED = {
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("int8", "uint8", "int4", "uint4", "int2"),
}


_MOST = 2**62


def document(
    name: str,
    files: Sequence[Path],
    inputs: Iterable[Mapping[str, Any]],
    outputs: Iterable[Mapping[str, Any]],
    operators: Iterable[str],
) -> dict[str, Any]:
    """Return what every format has; ``files`` are the model's own, the first names it."""
    one = len(files) == 1
    return {
        "format": name,
        "digest": digest(sha256_file(files[0]))
        if one
        else tree_digest({file.name: sha256_file(file) for file in files}),
        "bytes": sum(file.stat().st_size for file in files),
        "inputs": list(inputs),
        "outputs": list(outputs),
        "ops": dict(Counter(operators)),
        "parameters": None,
        "macs": None,
        "macs_reason": "",
        "opset": None,
    }


def tensor(name: str, shape: Sequence[int | str] | None, dtype: str) -> dict[str, Any]:
    """Return an input or output; negative sizes are open, None is a shape that nobody knows."""
    if shape is None:
        return {"name": name, "shape": ["..."], "dtype": dtype}
    sizes = ["?" if isinstance(size, int) and size < 0 else size for size in shape]
    return {"name": name, "shape": sizes, "dtype": dtype}


def parameters(weights: Mapping[str, int]) -> int:
    """Return the learned numbers among weights counted by element type."""
    return sum(count for dtype, count in weights.items() if dtype in LEARNED)


def one_sample(shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return a shape with an open first axis as one sample, None when other axes are open too."""
    if any(size < 0 for size in shape[1:]):
        return None
    return tuple(1 if index == 0 and size < 0 else size for index, size in enumerate(shape))


def product(sizes: Iterable[int]) -> int:
    """Return the product of sizes; raises DamagedError when no memory could hold so many."""
    result = math.prod(sizes)
    if abs(result) > _MOST:
        message = "a tensor has more elements than any memory"
        raise DamagedError(message)
    return result
