"""The contracts of plugins other than stages: engine, converter, device, metric, dataset, store.

Arrays are numpy's; nothing here imports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeops.core.variant import TensorInfo, Variant
    from edgeops.errors import Finding

    Arrays = Mapping[str, Any]
    Tell = Callable[[Mapping[str, Any]], None]

API = 1


class Session(Protocol):
    """A loaded model: names, order and layout are those of the source model."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Answer one call: arrays by input name in, arrays by output name out."""


class Engine(Protocol):
    """Entry-point group ``edgeops.engines``: a module or object that loads variants."""

    name: str
    api: int

    def available(self) -> Finding | None:
        """Return None when the engine can be used here, else what is missing and how to get it."""

    def version(self) -> str:
        """Return the version of the engine's own library."""

    def load(self, variant: Path, threads: int = 1) -> Session:
        """Load the variant in a folder."""


@dataclass(frozen=True)
class ConvertOptions:
    """How a model is to be converted.

    ``input_shapes`` fixes shapes by input name; ``form`` picks the engine's file format where it
    has several, "" the first; ``samples`` are arrays by input name, first axis = samples, for
    converters that need typical values.
    """

    precision: str = "fp32"
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    simplify: bool = True
    form: str = ""
    samples: Mapping[str, Any] | None = None


class Converter(Protocol):
    """Entry-point group ``edgeops.converters``: a model to the files of one engine.

    Optional attributes, absent ones counting as their default:

    ``engine``    the engine whose files it writes; its own name. Several converters of one engine
                  are routes to it (``--via NAME``), the one named like the engine is the default.
    ``sources``   kinds of model file that it takes, ``("onnx",)``. For a kind other than
                  ``onnx`` it is a ``FileConverter``.
    ``forms``     the engine's file formats (``--form``), the first being the default; ``()``.
    ``unproven``  "" or the reason why nothing can run its variants here. They have no parity then,
                  and validate and pack refuse them unless told to accept that.

    ``convert`` runs in a process of its own, with limits on time, memory, network and where it
    may write: below ``out`` and in the working directory, which is an empty scratch folder and
    the temporary folder too.
    """

    name: str
    api: int
    precisions: tuple[str, ...]

    def available(self) -> Finding | None:
        """Return None when the converter can be used here, else what is missing."""

    def check(self, model: Any, options: ConvertOptions) -> Sequence[Finding]:
        """Return what of an onnx.ModelProto the engine cannot take; writes nothing."""

    def convert(self, model: Any, out: Path, options: ConvertOptions) -> Variant:
        """Write the engine's files into the folder ``out`` and return the variant, unproven."""


class FileConverter(Converter, Protocol):
    """A converter that takes model files which are not ONNX as they are.

    ``kind`` is one of its ``sources`` as ``edgeops.model.source.open_source`` tells it: ``tflite``
    or ``pt2``. The variant's inputs and outputs are those of ``open_source(path)``: names, order,
    dtypes and layout of the file (the tensor names of a ``.tflite``).
    """

    sources: tuple[str, ...]

    def check_file(self, path: Path, kind: str, options: ConvertOptions) -> Sequence[Finding]:
        """Return what of the file the engine cannot take; writes nothing. May be left out."""

    def convert_file(self, path: Path, kind: str, out: Path, options: ConvertOptions) -> Variant:
        """Write the engine's files into the folder ``out`` and return the variant, unproven."""

    def reference(self, path: Path, kind: str) -> Session:
        """Return the source itself, ready to run, for the proof.

        Only for kinds that nothing but its own tools can run (``pt2``); ONNX runs on ONNX
        Runtime, ``.tflite`` on LiteRT's reference kernels. May be left out.
        """


class Device(Protocol):
    """Entry-point group ``edgeops.devices``: a way to reach where a target runs.

    Optional attributes: ``emulated``, True where times mean nothing, so that no gate judges them;
    ``answers(address, engine)``, which raises why nothing can be measured there, in a few seconds
    and leaving nothing behind, and is asked before time is spent; on a reached device
    ``sent_bytes``, what was sent to it.
    Optional method ``with_binary(path)``: the same kind of device, measured by an engine's own
    benchmark tool in place of our program.
    """

    name: str
    api: int

    def reach(self, address: str) -> AbstractContextManager[Device]:
        """Yield the device at what follows ``NAME:`` in edgeops.yaml, with an empty work folder.

        Paths on the device are relative to that folder, which is gone afterwards.
        """

    def probe(self) -> dict[str, Any]:
        """Return what the reached device is: what the measuring program answers to ``about``."""

    def push(self, source: Path, destination: str) -> None:
        """Copy a file or folder onto the device."""

    def pull(self, source: str, destination: Path) -> None:
        """Copy a file or folder from the device."""

    def run(
        self, request: Mapping[str, Any], *, timeout_s: float, tell: Tell | None = None
    ) -> dict[str, Any]:
        """Run ``edgeops.runtime.probe`` there on a request, in a process of its own.

        ``tell`` is given what the program says of its progress, as it says it.
        """


class Metric(Protocol):
    """Entry-point group ``edgeops.metrics``: a figure of merit over a labelled data set."""

    name: str
    api: int
    higher_is_better: bool

    def score(self, outputs: Arrays, labels: Any) -> float:
        """Return the metric; ``outputs`` by output name, first axis = samples, as ``labels``."""


@dataclass(frozen=True)
class Samples:
    """A data set in memory: arrays by input name, first axis = samples; ``labels`` likewise.

    An array of rank 0 stands for all samples. ``digest`` names the bytes it was read from.
    ``slices`` are arrays by key with one value a sample, which say what part it belongs to.
    """

    arrays: Mapping[str, Any]
    labels: Any | None
    count: int
    source: str
    digest: str
    slices: Mapping[str, Any] = field(default_factory=dict)

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """Yield ``{input name: array}`` of at most ``size`` samples each, in order."""
        for start in range(0, self.count, size):
            yield {
                name: array if array.ndim == 0 else array[start : start + size]
                for name, array in self.arrays.items()
            }


class Dataset(Protocol):
    """Entry-point group ``edgeops.datasets``: reads one kind of file; its name is the suffix."""

    name: str
    api: int

    def read(self, path: Path) -> Samples:
        """Read a data set, raising InputError when it is no such file."""


class Store(Protocol):
    """Entry-point group ``edgeops.stores``: where a repository's static files lie."""

    name: str
    api: int

    def at(self, location: str, base: Path) -> Store:
        """Return the store for a location: ``NAME://...``, or a folder relative to ``base``."""

    def put(self, path: str, data: bytes | Iterator[bytes]) -> None:
        """Write a file whole, from bytes or from pieces; when the pieces raise, nothing changes."""

    def get(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a range of a file."""

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""

    def list(self, prefix: str) -> list[str]:
        """Return the paths below a prefix, sorted."""
