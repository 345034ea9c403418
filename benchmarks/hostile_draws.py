"""Random twins: parameters, initial states, times and schedules, few of which any model was made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from benchmarks.hostile_models import Subject
from vht.model import Variable, inputs, parameters, states
from vht.solve import Doses, Schedule, Signal

SAVES, DOSES, SAMPLES = 12, 6, 5
# a healthy twin among so many
HEALTHY = 8
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, 5e-324, np.finfo(np.float64).max, np.nan, np.inf, -np.inf, 1e16]
)
TIMES = np.array([0.0, 1e-300, 1e-12, 1e15, 1e300])


@dataclass(frozen=True, eq=False)
class Draws:
    """Twins, a row each.

    Attributes:
        parameters: by name.
        initial: by state.
        start: of each.
        times: of saves, short rows filled up with +inf.
        schedule: tables of each.
        healthy: those of which nothing is out of the ordinary.
    """

    parameters: dict[str, Float[np.ndarray, " twins"]]
    initial: dict[str, Float[np.ndarray, " twins"]]
    start: Float[np.ndarray, " twins"]
    times: Float[np.ndarray, "twins saves"]
    schedule: Schedule
    healthy: Bool[np.ndarray, " twins"]

    def __len__(self) -> int:
        return len(self.healthy)

    def rows(self, which: np.ndarray) -> Draws:
        """Some of the twins."""
        tables = (self.parameters, self.initial, self.start, self.times, self.schedule, self.healthy)
        return Draws(*jax.tree.map(lambda leaf: leaf[which], tables))


def draw(subject: Subject, n: int, seed: list[int]) -> Draws:
    """So many twins of a model.

    Args:
        subject: the model.
        n: how many twins, every eighth of them healthy.
        seed: equal seeds give equal twins.
    """
    rng = np.random.default_rng(seed)
    healthy = np.arange(n) % HEALTHY == HEALTHY - 1
    # which part of a twin is hostile: parameters, initial state, times and schedule, or all of it
    part = np.where(healthy, -1, rng.choice(4, n, p=[0.5, 0.15, 0.15, 0.2]))
    everything = part == 3
    columns = _columns(rng, parameters(subject.model), healthy, (part == 0) | everything)
    initial = _columns(rng, states(subject.model), healthy, (part == 1) | everything)
    odd = (part == 2) | everything
    start, lasting, times = _times(rng, subject, odd)
    return Draws(columns, initial, start, times, _schedule(rng, subject, start, lasting, odd), healthy)


def _columns(
    rng: np.random.Generator, variables: dict[str, Variable], healthy: np.ndarray, hostile: np.ndarray
) -> dict[str, np.ndarray]:
    """A column for each variable: near its default, or what `_hostile` says in one, some or all of them."""
    n = len(healthy)
    names = list(variables)
    kind = rng.choice(3, n)
    one = rng.integers(len(names), size=n)
    found = {}
    for i, name in enumerate(names):
        variable = variables[name]
        default = 0.0 if variable.default is None else variable.default
        column = default * np.exp(np.where(healthy, 0.03, 0.5) * rng.standard_normal(n))
        if variable.bounds is not None:
            column = np.where(healthy, np.clip(column, *variable.bounds), column)
        picked = hostile & np.where(kind == 0, one == i, (kind == 2) | (rng.random(n) < 0.3))
        size = abs(default) or max(map(abs, variable.bounds or (1.0,))) or 1.0
        found[name] = np.where(picked, _hostile(rng, n, size, few=kind == 2), column)
    return found


def _hostile(rng: np.random.Generator, n: int, size: float, few: np.ndarray) -> np.ndarray:
    """Log-uniform over sixteen orders of magnitude, of both signs, and numbers that are hardly any (rarely, where `few`)."""
    value = size * 10.0 ** (rng.uniform(-8.0, 8.0, n) * rng.choice([0.25, 1.0], n))
    value *= np.where(rng.random(n) < 0.3, -1.0, 1.0)
    return np.where(rng.random(n) < np.where(few, 0.01, 0.4), rng.choice(SPECIAL, n), value)


def _times(rng: np.random.Generator, subject: Subject, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, time until the last save, and times of saves, some of them equal, some missing."""
    n = len(odd)
    start = np.where(odd & (rng.random(n) < 0.5), subject.span * rng.uniform(-10.0, 10.0, n), 0.0)
    largest = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        far = rng.choice([1e6, -1e9, 1e15, -1e300, 1e300, -largest, 1e-300], n) * subject.span
        start = np.where(odd & (rng.random(n) < 0.1), np.clip(far, -largest, largest), start)
    lasting = subject.span * np.where(odd, 10.0 ** rng.uniform(-4.0, 2.0, n), 1.0)
    lasting = np.where(odd & (rng.random(n) < 0.1), rng.choice(TIMES, n), lasting)
    share = np.linspace(0.0, 1.0, SAVES)
    own = np.sort(rng.random((n, SAVES)), axis=1)
    own[:, -1] = 1.0
    # a quarter of them with saves at equal times, a quarter with short rows
    kind = rng.choice(4, n)[:, None]
    own = np.where(kind == 0, np.round(4.0 * own) / 4.0, own)
    with np.errstate(over="ignore"):
        times = start[:, None] + lasting[:, None] * np.where(odd[:, None], own, share)
        short = odd[:, None] & (kind == 1) & (np.arange(SAVES) >= rng.integers(0, SAVES, n)[:, None])
    return start, lasting, np.where(short, np.inf, np.maximum(times, start[:, None]))


def _schedule(
    rng: np.random.Generator, subject: Subject, start: np.ndarray, lasting: np.ndarray, odd: np.ndarray
) -> Schedule:
    n = len(odd)
    doses: dict[str, Doses] = {}
    signals: dict[str, Signal] = {}

    def times(count: int, before: float, past: float) -> np.ndarray:
        share = rng.uniform(before, past, (n, count))
        # at equal times, and at those of saves
        share = np.where(odd[:, None] & (rng.random((n, 1)) < 0.5), np.round(4.0 * share) / 4.0, share)
        time = start[:, None] + lasting[:, None] * share
        rare = odd[:, None] & (rng.random((n, count)) < 0.1)
        time = np.where(rare, rng.choice([np.inf, 1e300, -1e300, 5e-324], (n, count)), time)
        return np.maximum(time, -np.finfo(np.float64).max)  # -inf is refused at once

    def amounts(count: int, like: float = subject.input) -> np.ndarray:
        plain = like * rng.uniform(0.5, 1.0, (n, count))
        wild = odd[:, None] & (rng.random((n, 1)) < 0.5)
        few = np.ones(n * count, bool)
        return np.where(wild, _hostile(rng, n * count, abs(like), few).reshape((n, count)), plain)

    with np.errstate(over="ignore", invalid="ignore"):
        for number, (name, variable) in enumerate(inputs(subject.model).items()):
            if variable.port == "flow":
                long = lasting[:, None] * rng.uniform(0.0, 0.3, (n, DOSES))
                # an infinite one is refused at once
                tiny = rng.choice([0.0, 5e-324, 1e-300, 1e-12, 1e300, 1e308], (n, DOSES))
                duration = np.where(odd[:, None] & (rng.random((n, DOSES)) < 0.5), tiny, long)
                doses[name] = Doses(times(DOSES, -0.2, 1.2), 0.1 * lasting[:, None] * amounts(DOSES), duration)
            else:
                time = np.sort(times(SAMPLES, -0.2, 1.2), axis=1)
                samples = amounts(SAMPLES, variable.default or subject.input)
                signals[name] = Signal(time, samples, ("linear", "hold")[number % 2])
    return Schedule(doses, signals)


def mended(draws: Draws) -> Draws:
    """Healthy twins in the place of all others."""
    healthy = np.flatnonzero(draws.healthy)
    return draws.rows(np.where(draws.healthy, np.arange(len(draws)), np.resize(healthy, len(draws))))


def without_schedule(draws: Draws) -> dict[str, Any]:
    """Constant inputs, for steady states: the first sample of each signal, the first amount of each dose."""
    schedule = draws.schedule
    return {
        **{name: np.asarray(signal.value)[:, 0] for name, signal in schedule.signals.items()},
        **{name: np.asarray(doses.amount)[:, 0] for name, doses in schedule.doses.items()},
    }
