"""The engines' own benchmark tools: which there are, what they are told, what they answer.

A phone has no Python, but each engine has a program that loads a model and times it. What such a
tool does not say is None, with its reason; nothing is made up for it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from edgeops.core import registry
from edgeops.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeops.core.variant import Variant

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
# Files of the working folder on the device that a tool may read and write.
INPUT = "in{}"
RESULT = "result"
# Where the tools are, by the names that their projects give them; a prefix tells the platform.
_TOOLS = {
    "*benchmark_model*": "litert:BenchmarkModel",
    "*MNNV2Basic*": "mnn:MnnBasic",
    "*ModuleBasic*": "mnn:ModuleBasic",
    "*benchncnn*": "ncnn:BenchNcnn",
    "*onnxruntime_perf_test*": "onnxruntime:PerfTest",
    "*benchmark.out*": "mnn:MnnBenchmark",
}
NAMES = (
    "benchmark_model, MNNV2Basic.out, ModuleBasic.out, benchmark.out (MNN), benchncnn, "
    "onnxruntime_perf_test"
)


@dataclass(frozen=True)
class Timed:
    """What a tool said of the calls it timed; None is what it did not say, ``absent`` why.

    ``latency_ns`` are the calls one by one, where it tells them.
    """

    calls: int | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    load_ms: float | None = None
    first_call_ms: float | None = None
    peak_bytes: int | None = None
    latency_ns: tuple[int, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A run of a tool: paths are relative to the working folder on the device.

    ``shapes`` are the shapes of the model's inputs for one call, by the source's names. ``loops``
    is for tools that count calls and not seconds.
    """

    binary: str
    model: str
    variant: Variant
    shapes: Mapping[str, tuple[int, ...]]
    threads: int = 1
    seconds: float = 1.0
    least: int = 10
    loops: int = 10


@dataclass(frozen=True)
class Command:
    """A program and its words; ``before`` and ``after`` are commands of ``sh`` around it."""

    argv: tuple[str, ...]
    before: str = ":"
    after: str = ":"


class Tool(Protocol):
    """One kind of benchmark tool, for one variant.

    ``loops`` says that it is told how many calls to make. ``no_outputs`` is "" where outputs for
    given inputs can be had, else the reason why not. ``pad`` is what may follow the contents of an
    input file, b"" for nothing.
    """

    name: str
    engine: str
    loops: bool
    no_outputs: str
    pad: bytes

    def __init__(self, variant: Variant, model: Path) -> None:
        """Look at the variant whose model file lies here."""

    def timing(self, plan: Plan) -> Command:
        """Return the command that times the model."""

    def parse(self, text: str) -> Timed:
        """Return what the tool's output says; raises ValueError when it tells no time."""

    def encode(self, feed: Mapping[str, Any]) -> list[bytes]:
        """Return the contents of the files ``in0``, ``in1``, ... for the arrays of one call."""

    def answering(self, plan: Plan) -> Command:
        """Return the command that reads those files and writes ``result``."""

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the outputs of one call from ``result``; raises ValueError for another length."""


class TimesOnly:
    """The parts of a tool that gives no outputs."""

    no_outputs = ""
    pad = b""

    def encode(self, feed: Mapping[str, Any]) -> list[bytes]:
        """Refuse: outputs are asked only of tools whose ``no_outputs`` is empty."""
        raise self._refusal(feed)

    def answering(self, plan: Plan) -> Command:
        """Refuse, as ``encode``."""
        raise self._refusal(plan)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Refuse, as ``encode``."""
        raise self._refusal(data)

    def _refusal(self, given: object) -> RuntimeError:
        return RuntimeError(f"{self.no_outputs}, and was asked for some of {type(given).__name__}")


def tool_for(binary: Path, variant: Variant, model: Path) -> Tool:
    """Return the tool that a file is by its name.

    Raises InputError ``binary-unknown`` for a name that no engine gives its tool, and
    ``binary-engine`` when the tool runs another engine's files than the variant's.
    """
    tool: Tool = _kind(binary, variant.engine)(variant, model)
    return tool


def refuse_binary(device: str, binary: Path, engine: str) -> None:
    """Refuse a tool that the device does not take, that is not here, or of another engine.

    Raises as ``with_binary`` and ``tool_for``, MissingError ``plugin-unknown``.
    """
    with_binary(registry.get("devices", device.partition(":")[0]), binary)
    _kind(binary, engine)


def _kind(binary: Path, engine: str) -> Any:
    """Return the class of the tool that a file is, for an engine's models."""
    for pattern, place in _TOOLS.items():
        if not fnmatchcase(binary.name, pattern):
            continue
        module, _, name = place.partition(":")
        kind = getattr(import_module(f"edgeops.validate.devices.phone.{module}"), name)
        if kind.engine == engine:
            return kind
        raise InputError(
            "binary-engine",
            f"{kind.name} does not run {engine} models",
            where=str(binary),
            why=f"it is the benchmark tool of {kind.engine}",
            fix=f"name the tool of {engine} as `binary`, or set `engine: {kind.engine}`",
        )
    raise InputError(
        "binary-unknown",
        f"{binary.name} is no benchmark tool that edgeops knows",
        where=str(binary),
        why=f"it goes by the file's name; known are {NAMES}",
        fix="keep the name that the engine's project gives it",
    )


def with_binary(plugin: Any, binary: Path) -> Any:
    """Return a kind of device that measures with a benchmark tool.

    Raises InputError ``binary-not-taken`` when that kind has no use for one, and what it raises.
    """
    take = getattr(plugin, "with_binary", None)
    if take is None:
        raise InputError(
            "binary-not-taken",
            f"the device {plugin.name} takes no benchmark tool",
            where="binary",
            why="it is measured by edgeops's own program, and `binary` is for phones over adb",
            fix="leave `binary` away, or set `device: adb`",
        )
    return take(binary)


def positive(found: str | None, factor: float = 1.0) -> float | None:
    """Return a number that a tool printed, times a factor; None for none, zero and no number.

    A time of zero is one below what the tool can tell.
    """
    value = float(found) * factor if found else 0.0
    return value if math.isfinite(value) and value > 0 else None


def last(pattern: str, text: str) -> re.Match[str] | None:
    """Return the last place where a pattern stands in a text."""
    found = None
    for found in re.finditer(pattern, text):  # noqa: B007 - the last one is wanted
        pass
    return found


def told(fields: Mapping[str, Any], absent: Mapping[str, str], otherwise: str) -> Timed:
    """Return what was said with the reason for everything that was not.

    Raises ValueError when neither mean nor median nor single calls are there.
    """
    if all(fields.get(name) is None for name in ("mean_ms", "p50_ms")):
        raise ValueError("no time of a call is told")
    names = [name for name in Timed.__dataclass_fields__ if name not in {"absent", "latency_ns"}]
    reasons = {name: absent.get(name, otherwise) for name in names if fields.get(name) is None}
    if not fields.get("latency_ns"):
        reasons["latency_ns"] = absent.get("latency_ns", otherwise)
    return Timed(**fields, absent=reasons)


def one_size(shape: Sequence[int | str], size: int) -> tuple[int, ...]:
    """Return a shape whose open axes are filled so that it holds ``size`` values.

    The first open axis is the batch, 1, unless it is the only one that can take the rest. Raises
    ValueError when that does not come out.
    """
    fixed = math.prod(axis for axis in shape if isinstance(axis, int))
    gaps = [index for index, axis in enumerate(shape) if not isinstance(axis, int)]
    sizes = [axis if isinstance(axis, int) else 1 for axis in shape]
    if gaps:
        rest, odd = divmod(size, fixed) if fixed else (0, 0)
        if odd or not rest or len(gaps) > 2:  # noqa: PLR2004 - the batch and one more
            raise ValueError(f"{size} values do not fill the shape {list(shape)}")
        sizes[gaps[-1]] = rest
    if math.prod(sizes) != size:
        raise ValueError(f"{size} values do not fill the shape {list(shape)}")
    return tuple(sizes)
