"""``onnxruntime_perf_test``: every call's time in a file, and its percentiles on the screen."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from edgeops.validate.devices.phone.tools import (
    NUMBER,
    RESULT,
    Command,
    Plan,
    Timed,
    TimesOnly,
    last,
    positive,
    told,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.variant import Variant

_MEAN = rf"Average (?:inference )?time cost(?: total)?:\s*{NUMBER}\s*ms"
_CALLS = r"(?:Total inference requests|Total iterations|Runs):\s*(\d+)"
_LOAD = rf"Session creation time cost:\s*{NUMBER}\s*s"
_FIRST = rf"First inference time cost:\s*{NUMBER}\s*ms"
_PEAK = r"Peak working set size:\s*(\d+)"
_ROW = re.compile(rf"^[^,\n]*,{NUMBER},\d+,-?\d+,\d+$", re.MULTILINE)
_SAME = 0.02  # how near the mean of the rows is to the mean that is told: six digits of each
_MOST_ROWS = 200_000
_SAYS = "onnxruntime_perf_test did not say it"


class PerfTest(TimesOnly):
    """ONNX Runtime's tool; it times random inputs of the shapes given, and keeps no outputs."""

    name = "onnxruntime_perf_test"
    engine = "onnxruntime"
    loops = False
    no_outputs = "onnxruntime_perf_test does not write the outputs it computes"

    def __init__(self, variant: Variant, model: Path) -> None:
        self._variant = variant
        self._model = model

    def timing(self, plan: Plan) -> Command:
        """Return the command: whole seconds, one call at a time, on the CPU.

        Names of open axes are set to the size that they have in one call.
        """
        words = [f"./{plan.binary}", "-I", "-m", "duration", "-t", str(math.ceil(plan.seconds))]
        words += ["-x", str(plan.threads), "-y", "1", "-c", "1", "-e", "cpu", "-s"]
        for tensor in self._variant.inputs:
            shape = plan.shapes[tensor.name]
            for axis, size in zip(tensor.shape, shape, strict=True):
                if isinstance(axis, str):
                    words += ["-f", f"{axis}:{size}"]
        words += [plan.model, RESULT]
        return Command(tuple(words), before=f"rm -f {RESULT}", after=f"cat {RESULT}")

    def parse(self, text: str) -> Timed:
        """Return the times: of single calls where the rows agree with the mean that is told."""
        mean = _number(_MEAN, text)
        calls = last(_CALLS, text)
        rows = _rows(text, mean)
        first = last(_FIRST, text)
        peak = last(_PEAK, text)
        fields: dict[str, Any] = {
            "calls": int(calls[1]) if calls else len(rows) or None,
            "mean_ms": mean,
            "load_ms": _number(_LOAD, text, 1e3),
            "first_call_ms": positive(first[1]) if first else None,
            "peak_bytes": int(peak[1]) or None if peak else None,
            "latency_ns": rows,
        }
        for name, word in (
            ("p50_ms", "P50"),
            ("p90_ms", "P90"),
            ("p99_ms", "P99"),
            ("min_ms", "Min"),
            ("max_ms", "Max"),
        ):
            fields[name] = _number(rf"{word} Latency(?::| is)\s*{NUMBER}\s*s", text, 1e3)
        absent = {"latency_ns": "the file of single calls is not there or not of this run"}
        if first and fields["first_call_ms"] is None:
            absent["first_call_ms"] = "it took less than the whole millisecond that is told"
        return told(fields, absent, _SAYS)


def _number(pattern: str, text: str, factor: float = 1.0) -> float | None:
    found = last(pattern, text)
    return positive(found[1], factor) if found else None


def _rows(text: str, mean_ms: float | None) -> tuple[int, ...]:
    """Return the single calls in ns; () unless they are seconds whose mean is the one told."""
    found = [positive(value, 1e9) for value in _ROW.findall(text)[:_MOST_ROWS]]
    rows = tuple(round(value) for value in found if value is not None)
    if mean_ms is None or not rows or len(rows) != len(found):
        return ()
    mean = sum(rows) / len(rows) / 1e6
    return rows if abs(mean - mean_ms) <= _SAME * mean_ms and min(rows) > 0 else ()
