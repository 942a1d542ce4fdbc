"""Compare two variants in interleaved pairs, both loaded anew in every trial.

Longer trials do not help, for what is left is how each load came to lie in memory; the order of
loading is swapped from trial to trial.
"""

from __future__ import annotations

from itertools import islice
from operator import truediv
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeops.core.contracts import Samples
from edgeops.runtime import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeops.core.contracts import Session, Tell

    Load = Callable[[Path, int], Session]

_MOST_FEEDS = 64
_WARM_UP_SHARE = 0.25
_LEAST_PAIRS = 5


def measure_pairs(request: Mapping[str, Any], load: Load, tell: Tell) -> dict[str, Any]:
    """Return the answer to a request ``pair``, but for ``format`` and ``engine_version``.

    ``load(folder, threads)`` returns a session of a variant whose engine was imported before.
    ``tell`` is given each trial when it is over. Raises what loading and running raise.
    """
    folders = [Path(request["variant"]), Path(request["against"])]
    threads, trials = int(request["threads"]), int(request["trials"])
    seconds = float(request["seconds"]) / trials
    found = []
    tell({"say": "step", "what": "measuring in pairs", "total": trials})
    for trial in range(trials):
        sessions: list[Any] = [None, None]
        for index in (0, 1) if trial % 2 == 0 else (1, 0):
            sessions[index] = load(folders[index], threads)
        feeds = _feeds(request["few"], sessions[0])
        with measure.undisturbed():
            for session in sessions:
                measure.warm_up(session.run, feeds, seconds * _WARM_UP_SHARE)
            ones, others = measure.time_pairs(
                sessions[0].run, sessions[1].run, feeds, seconds, least=_LEAST_PAIRS
            )
        ratios = list(map(truediv, ones, others))
        found.append(
            {
                "ratio": median(ratios),
                "pairs": len(ratios),
                "p50_ms": median(ones) / 1e6,
                "against_p50_ms": median(others) / 1e6,
            }
        )
        tell({"say": "advance", "parts": 1})
    return {"trials": found}


def _feeds(about: Mapping[str, Any], session: Session) -> list[dict[str, Any]]:
    """Return what single calls take, from the samples that a request names."""
    import numpy as np

    from edgeops.runtime.batch import feeds

    with np.load(Path(about["file"]), allow_pickle=False) as file:
        arrays = {name: file[f"a{index}"] for index, name in enumerate(about["names"])}
    samples = Samples(arrays, None, int(about["count"]), str(about["file"]), "")
    return [feed for feed, _ in islice(feeds(samples, session.inputs, 1), _MOST_FEEDS)]
