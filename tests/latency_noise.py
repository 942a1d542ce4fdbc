"""Trials of two variants as machines of several kinds would time them; no real time passes.

A trial is made of what ``edgeops.runtime.pairs`` measures: for either order of loading, the median
of each turn of both variants. ``slowdown`` multiplies the times of the first variant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeops.core import sequential
from edgeops.runtime.pairs import Half

TURNS = 30
TRIAL_S = 0.85
LIMIT_S = 60.0
RECORDED = Path(__file__).parent / "data" / "latency_pairs.npz"


@dataclass(frozen=True)
class Trial:
    """One trial: the ratio of the first variant's time to the other's, and the share lost."""

    ratio: float
    lost: float | None


class Machine:
    """A quiet machine: each load lies differently in memory, calls spread a little.

    The model that is loaded first is slower by ``slot`` as long as the process lives.
    """

    lost: float | None = 0.001

    def __init__(self, random, slowdown=1.0):
        self.random, self.slowdown = random, slowdown
        self.slot = random.normal(0, 0.01)
        self.speed = 1.0
        self.begin()

    def begin(self):
        """Set what only some machines have."""

    def load(self):
        """Return the factor that one loading brings."""
        return math.exp(self.random.normal(0, 0.01))

    def clock(self):
        """Return what both variants' times of each turn are multiplied by."""
        return np.ones((TURNS, 1))

    def calls(self):
        """Return the factors of each turn of both variants, in the order of their calls."""
        return np.exp(self.random.normal(0, 0.03, (TURNS, 2)))

    def half(self, first):
        """Return the times after one loading, ``first`` being loaded first."""
        order = [self.load() * math.exp(self.slot), self.load()]
        times = 2e6 * self.clock() * self.calls() * order
        found = {first: times[:, 0], 1 - first: times[:, 1]}
        return Half((found[0] * self.slowdown).tolist(), found[1].tolist())

    def trial(self):
        """Return one trial; a coin says who is loaded first."""
        first = int(self.random.integers(2))
        logs = [self.half(order).log_ratio for order in (first, 1 - first)]
        return Trial(math.exp(sum(logs) / 2), self.lost)


class HeavyTails(Machine):
    """One call in ten takes up to many times as long, and so do some loads."""

    def load(self):
        return math.exp(0.007 * self.random.standard_t(2))

    def calls(self):
        spikes = self.random.random((TURNS, 2)) < 0.1
        return super().calls() * (1 + spikes * self.random.pareto(1.5, (TURNS, 2)))


class Bimodal(Machine):
    """Half of all loads happen to lie so that every call takes 4 % longer."""

    def load(self):
        return super().load() * (1.04 if self.random.random() < 0.5 else 1.0)


class Drift(Machine):
    """The clock wanders, by 70 % within a comparison, and within a turn as well."""

    def clock(self):
        steps = self.random.normal(0.0005, 0.004, 2 * TURNS)
        path = self.speed * np.exp(np.cumsum(steps))
        self.speed = float(np.clip(path[-1], 0.7, 1.7))
        return path.reshape(TURNS, 2)


class Bursts(Machine):
    """A neighbour on another core takes cache and memory from both, for seconds at a time."""

    def begin(self):
        self.left = 0

    def clock(self):
        factors = np.ones((TURNS, 2))
        for turn in range(TURNS):
            if self.left == 0 and self.random.random() < 0.02:
                self.left = int(self.random.integers(20, 120))
            if self.left:
                self.left -= 1
                factors[turn] = 1 + self.random.uniform(0.3, 0.8, 2)
        return factors


class SameCore(Machine):
    """A busy neighbour on the same core: most calls are interrupted for milliseconds."""

    lost = 0.5

    def calls(self):
        hit = self.random.random((TURNS, 2)) < 0.6
        return super().calls() + hit * self.random.uniform(0.5, 2.5, (TURNS, 2))


class SameCoreUnseen(SameCore):
    """The same on a system that does not tell how long threads waited."""

    lost = None


class Passing(SameCore):
    """A neighbour on the same core that is there for a third of the trials."""

    def begin(self):
        self.here = False

    def calls(self):
        return super().calls() if self.here else Machine.calls(self)

    def trial(self):
        self.here = self.random.random() < 1 / 3
        self.lost = 0.5 if self.here else 0.001
        return super().trial()


class Recorded:
    """Trials of one model against itself, recorded on a real machine.

    They are replayed in the order in which they were made, from a random one on; a coin says which
    of the two loads is called the first variant.
    """

    def __init__(self, random, slowdown=1.0):
        self.random, self.slowdown = random, slowdown
        self.trials = recorded()
        self.next = int(random.integers(len(self.trials)))

    def trial(self):
        halves, lost = self.trials[self.next]
        self.next = (self.next + 1) % len(self.trials)
        turned = bool(self.random.integers(2))
        logs = []
        for ones, others in halves:
            one, other = (others, ones) if turned else (ones, others)
            logs.append(Half((one * self.slowdown).tolist(), other.tolist()).log_ratio)
        return Trial(math.exp(sum(logs) / 2), lost)


MACHINES = {
    "quiet": Machine,
    "heavy tails": HeavyTails,
    "bimodal loads": Bimodal,
    "drift": Drift,
    "bursts on another core": Bursts,
    "same core": SameCore,
    "same core, not told": SameCoreUnseen,
    "same core, now and then": Passing,
    "recorded": Recorded,
}


@dataclass(frozen=True)
class Outcome:
    """How one comparison ended, and after how many seconds."""

    verdict: str
    seconds: float
    interval: tuple[float, float] | None


def compare(machine, *, margin=sequential.MARGIN, limit_s=LIMIT_S, trial_s=TRIAL_S):
    """Return how a comparison on a machine ends, judged after each trial as on a device."""
    ratios, lost = [], []
    found = sequential.judge([])
    while not found.decided and (len(ratios) + 1) * trial_s <= limit_s:
        trial = machine.trial()
        ratios.append(trial.ratio)
        lost.append(trial.lost)
        counted = sum(wait is None or wait <= sequential.MOST_LOST for wait in lost)
        if counted in sequential.TAILS:
            found = sequential.judge(ratios, lost, margin=margin)
    found = found if found.decided else sequential.judge(ratios, lost, margin=margin)
    return Outcome(found.verdict, len(ratios) * trial_s, found.interval)


def rates(kind, slowdown, runs, seed):
    """Return the outcomes of ``runs`` comparisons on fresh machines of a kind."""
    return [
        compare(MACHINES[kind](np.random.default_rng([seed, run]), slowdown)) for run in range(runs)
    ]


_kept: list = []


def recorded():
    """Return the recorded trials: ``([(ones, others), (ones, others)], lost)``, times in us."""
    if not _kept:
        with np.load(RECORDED) as file:
            turns = np.split(file["turns_us"].astype(float), np.cumsum(file["lengths"])[:-1])
            lost = file["lost"].tolist()
        for index, share in enumerate(lost):
            parts = turns[4 * index : 4 * index + 4]
            _kept.append(([(parts[0], parts[1]), (parts[2], parts[3])], share))
    return _kept
