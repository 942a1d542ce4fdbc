# ruff: noqa: INP001 - a script of the Makefile, part of no package
"""Put an engine to random models: each ends proven or refused before, or the smallest is shown.

    python scripts/try_random.py ENGINE [--examples 200] [--seed 0]

Models are drawn by hypothesis (tests/random_graphs.py). Each runs in a process forked from this one
as the operator cases do (try_engine.py). When one is refused after check, answers otherwise than
ONNX Runtime, or ends its process, hypothesis looks for the smallest such model and it is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hypothesis import HealthCheck, Phase, given, seed, settings
from node_cases import Case
from try_engine import forked, warm

from tests.random_graphs import models

if TYPE_CHECKING:
    from collections.abc import Sequence


def case_of(model: Any) -> Case:
    """Return a random model as a case, with seeded inputs of ordinary size."""
    random = np.random.default_rng(len(model.graph.node))
    inputs = {
        value.name: random.normal(
            0, 1, [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ).astype("float32")
        for value in model.graph.input
    }
    return Case("random", "given", model, inputs, {})


def main(argv: Sequence[str] | None = None) -> int:
    """Draw models until the examples are used up or one ends wrongly."""
    import onnx

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("engine")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    warm(asked.engine)
    counts: Counter[str] = Counter()
    worst: list[str] = []

    @seed(asked.seed)
    @settings(
        max_examples=asked.examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(models())
    def run(model: Any) -> None:
        status, why = forked(case_of(model), asked.engine, check=True)
        counts[status] += 1
        if status not in {"proven", "refused"}:
            worst[:] = [f"{status}: {why}", onnx.printer.to_text(model)]
            raise AssertionError(why)

    try:
        run()
    except AssertionError:
        sys.stdout.write("\n".join(worst) + "\n")
        return 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    sys.stdout.write(f"{asked.engine}: {sum(counts.values())} random models: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
