# ruff: noqa: INP001, T201 - a script of the Makefile, part of no package, that prints what it found
"""Changes a repository in thousands of ways and says what a device makes of each.

    python scripts/mutate_repository.py --count 10000 --jobs 2 --keep failed/

A mutant is accepted when the device ends up serving anything that was never published on its channel,
or older than what it had. It is stuck when it does not take the next good release. Both are faults,
and exit code 1. Keys are made anew for each run: the same number makes the same change to other bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.security._mutants import mutant
from tests.security._trial import Bench, Outcome
from tests.security._world import World, make_world, write

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder that no disk slows down
_SHOWN = 10
_worlds: list[World] = []


def main() -> int:
    """Try the mutants and print what came of them, by kind and by code."""
    options = _options()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        world = make_world(Path(folder))
        numbers = range(options.first, options.first + options.count)
        parts = [numbers[start :: options.jobs] for start in range(options.jobs)]
        work = [(Path(folder) / f"bench-{job}", part) for job, part in enumerate(parts)]
        _worlds.append(world)  # private keys cannot be sent to a process, a fork has them
        with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
            found = [outcome for part in pool.starmap(_try, work) for outcome in part]
        _print(found, time.monotonic() - begun)
        faults = [outcome for outcome in found if outcome.fault]
        for outcome in faults if options.keep else ():
            write(mutant(world, outcome.number).files, options.keep / str(outcome.number))
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--keep", type=Path, help="where to leave repositories that were faults")
    return parser.parse_args()


def _try(folder: Path, numbers: range) -> list[Outcome]:
    bench = Bench(_worlds[0], folder)
    return [bench.try_one(number) for number in numbers]


def _print(found: list[Outcome], seconds: float) -> None:
    faults = [outcome for outcome in found if outcome.fault]
    print(f"{len(found)} mutants, {len(faults)} faults, {seconds:.0f} s")
    slowest = max(found, key=lambda outcome: outcome.seconds)
    print(f"slowest: {slowest.seconds:.2f} s ({slowest.kind}: {slowest.what})")
    for title, counts in (
        ("by kind", Counter(outcome.kind for outcome in found)),
        ("by what the update said", Counter(outcome.code for outcome in found)),
        ("by what is served afterwards", Counter(outcome.served for outcome in found)),
        ("by start", Counter(outcome.start for outcome in found)),
    ):
        print(f"\n{title}")
        for name, count in counts.most_common():
            print(f"  {count:6}  {name}")
    for outcome in faults[:_SHOWN]:
        print(f"\nFAULT {outcome}")


if __name__ == "__main__":
    sys.exit(main())
