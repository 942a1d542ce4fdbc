"""``benchncnn``: times a network whose weights are all zero, which ncnn's speed does not show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeops.validate.devices.phone.tools import (
    NUMBER,
    Command,
    Plan,
    Timed,
    TimesOnly,
    positive,
    told,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edgeops.core.variant import Variant

_TIMES = re.compile(rf"min\s*=\s*{NUMBER}\s+max\s*=\s*{NUMBER}\s+avg\s*=\s*{NUMBER}")
_LOOPS = re.compile(r"loop_count\s*=\s*(\d+)")
_SAYS = "benchncnn tells the least, the largest and the mean time only"
# Its own warm-up of 8 calls comes first; without cooling down it would wait 10 s.
_CPU_ALL, _NO_GPU, _NO_WAIT = 0, -1, 0


class BenchNcnn(TimesOnly):
    """ncnn's tool: loops, threads, no GPU, and the network as ``param=``."""

    name = "benchncnn"
    engine = "ncnn"
    loops = True
    no_outputs = "benchncnn times a network without its weights and gives no outputs"

    def __init__(self, variant: Variant, model: Path) -> None:
        self._variant = variant
        self._model = model

    def timing(self, plan: Plan) -> Command:
        """Return the command; each shape is what ncnn calls w,h,c: the axes backwards."""
        stated = self._variant.extra.get("inputs", {})
        shapes = []
        for name, shape in plan.shapes.items():
            batch = stated.get(name, {}).get("batch")
            axes = [size for axis, size in enumerate(shape) if axis != batch]
            shapes.append(f"[{','.join(map(str, reversed(axes)))}]")
        words = [
            f"./{plan.binary}",
            *map(str, (plan.loops, plan.threads, _CPU_ALL, _NO_GPU, _NO_WAIT)),
            f"param={plan.model}",
            f"shape={','.join(shapes)}",
        ]
        return Command(tuple(words))

    def parse(self, text: str) -> Timed:
        """Return the times of the only network."""
        rows = _TIMES.findall(text)
        if len(rows) != 1:
            raise ValueError(f"it tells the times of {len(rows)} networks, not of one")
        loops = _LOOPS.search(text)
        least, most, mean = (positive(value) for value in rows[0])
        if mean is None:
            raise ValueError("the mean time is below the 0.01 ms that benchncnn tells")
        fields = {
            "calls": int(loops[1]) if loops and int(loops[1]) else None,
            "mean_ms": mean,
            "min_ms": least,
            "max_ms": most,
        }
        return told(fields, {}, _SAYS)
