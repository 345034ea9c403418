"""Which twins run side by side: those expected to take as many steps, so that none waits long for another.

Lanes run in lockstep, 8 or 16 in a vector of the CPU and 32 in a warp of a GPU, until the last of them has ended. A cohort that
is solved in slices tells by a slice how many steps a twin takes, given its numbers: the next one then has twins with about as
many side by side. That costs no solve. A calibration's rounds tell it of the very twins (`vht.calibrate.solver`). No twin's
result depends on its neighbours, not even in its last bit, and results go back to where the caller has the twin.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped
from vht_kernels import cpu

from vht.solve.given import Given, Results

# what the order must promise; see `expectation`
LEAST_GAIN = 1.08
# twins from which is learnt
SAMPLE = 512
# with fewer in a slice a regression says nothing
LEAST_TWINS = 64
WARP = 32
# the numbers that tell most, each by itself, are learnt from together: of more a sample of this size says too little
_TELLING = 16
# longer tables are measured inputs, which would take longer to look through than they can tell
_LONG = 256
_RIDGE = 1e-3
# a number this many standard deviations out says no more than one at that distance
_FAR = 4.0


class Regrouping:
    """Puts the twins of a cohort's slices in order, as far as earlier slices tell.

    Args:
        given: the numbers of the whole cohort.
        lanes: that run in lockstep.
    """

    def __init__(self, given: Given, lanes: int) -> None:
        self._given, self._lanes = given, lanes
        self._expected: Expectation | None = None
        self._pays = True

    def order(self, rows: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """The twins of the next slice in the order in which to solve them; the very array if that is the caller's order."""
        return rows if self._expected is None else self._expected.order(self._given, rows)

    def learn(self, rows: Int[np.ndarray, " some"], results: Any) -> None:
        """Hear how a slice went: the first one teaches, later ones only if they did not gain. Once refused, it is over.

        Args:
            rows: its twins, in the order in which they were solved.
            results: theirs, `Results` or a tuple that begins with them; others tell nothing.
        """
        if type(results) is tuple and results:
            results = results[0]
        if not (self._pays and isinstance(results, Results)):
            return
        steps = np.asarray(results.steps)
        if self._expected is not None:
            as_they_come = steps[np.argsort(rows, kind="stable")]
            if LEAST_GAIN * turns(steps, self._lanes) <= turns(as_they_come, self._lanes):
                return
        self._expected = expectation(self._given, rows, steps, self._lanes)
        self._pays = self._expected is not None


def lockstep(platform: str, dtype: np.dtype) -> int:
    """Lanes that run in lockstep: of a warp, or of a vector of the processor.

    Args:
        platform: "gpu", or another.
        dtype: of the states.
    """
    return WARP if platform == "gpu" else cpu.host().width(dtype)


def turns(steps: Int[np.ndarray, " twins"], lanes: int) -> int:
    """The turns of lanes in lockstep: of each group in a row as many as its longest twin takes steps.

    Args:
        steps: of the twins, in the order in which they are put into lanes.
        lanes: that run in lockstep.
    """
    return int(np.maximum.reduceat(steps, np.arange(0, len(steps), lanes)).sum(dtype=np.int64)) if len(steps) else 0


def longest_first(expected: Shaped[np.ndarray, " twins"]) -> Int[np.ndarray, " twins"]:
    """The order in which neighbours take about as many steps. Long ones come first, so that the last groups to end are short.

    Args:
        expected: steps.
    """
    return np.argsort(-expected, kind="stable")


@dataclasses.dataclass(frozen=True, eq=False)
class Expectation:
    """How a twin's steps depend on its numbers: a sum of parabolas, for their logarithm.

    Attributes:
        centre: of each number.
        scale: of each number.
        slope: of the first power.
        bend: of the second power.
    """

    centre: Float[np.ndarray, " numbers"]
    scale: Float[np.ndarray, " numbers"]
    slope: Float[np.ndarray, " numbers"]
    bend: Float[np.ndarray, " numbers"]

    def order(self, given: Given, rows: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """The twins of the next slice in the order in which to solve them.

        Args:
            given: the numbers of the whole cohort.
            rows: the twins.
        """
        return rows[longest_first(self.of(numbers(given, rows)))]

    def of(self, own: list[Float[np.ndarray, " some"]]) -> Float[np.ndarray, " some"]:
        """What grows with the steps that are expected."""
        total = np.zeros(len(own[0]))
        for k in np.flatnonzero((self.slope != 0.0) | (self.bend != 0.0)):
            z = _scaled(own[k], self.centre[k], self.scale[k])
            total += (self.slope[k] + self.bend[k] * z) * z
        return total


def expectation(
    given: Given, rows: Int[np.ndarray, " some"], steps: Int[np.ndarray, " some"], lanes: int
) -> Expectation | None:
    """What a slice tells about the next one; None if it would not pay.

    Half of a sample is learnt from, the other half tells the gain: how much fewer turns its groups take than in the caller's
    order. It must reach `LEAST_GAIN`, a figure of step counts. On the processor, with three of four slices in order, 2,200
    steps of a circulation twin or 600 of OREGO gave back nearly all that was promised, 8 and 9 % of its time; 130 steps of a
    model of glucose, around which there is as much to do as in them, 0 to 3 % of 13 to 19 % promised. So what promises less
    than the limit is left alone (``python -m benchmarks regroup``). No GPU's clock has been looked at.

    Args:
        given: the numbers of the whole cohort.
        rows: the twins of the slice, in the order in which they were solved.
        steps: that they took.
        lanes: that run in lockstep.
    """
    back = np.argsort(rows, kind="stable")
    rows, steps = rows[back], steps[back]
    if len(rows) < LEAST_TWINS or LEAST_GAIN * steps.sum(dtype=np.int64) > lanes * turns(steps, lanes):
        return None
    some = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)
    own, taken = numbers(given, rows[some]), steps[some]
    if not own:
        return None
    found = fitted([column[::2] for column in own], taken[::2])
    other = taken[1::2][longest_first(found.of([column[1::2] for column in own]))]
    gain = (turns(steps, lanes) / len(steps)) / (turns(other, lanes) / len(other))
    return fitted(own, taken) if gain >= LEAST_GAIN else None


def fitted(own: list[Float[np.ndarray, " some"]], steps: Int[np.ndarray, " some"]) -> Expectation:
    """What twins tell by least squares, a little held back where numbers say the same.

    Args:
        own: `numbers` of the twins.
        steps: that they took.
    """
    table = np.stack(own)
    known = np.where(np.isfinite(table), table, 0.0)
    low, centre, high = np.quantile(known, (0.1, 0.5, 0.9), axis=1)
    # of a normal distribution this is its standard deviation
    scale = (high - low) / 2.563
    z = _scaled(table, centre[:, None], scale[:, None])
    parts = np.concatenate([z, z * z])
    parts -= parts.mean(axis=1, keepdims=True)
    taken = np.log(steps + 1.0)
    taken -= taken.mean()
    alone = np.einsum("is,s->i", parts, taken) / len(steps)
    alone[np.concatenate([scale, scale]) == 0.0] = 0.0
    strength = np.abs(alone.reshape(2, -1)).max(axis=0)
    telling = np.sort(np.argsort(-strength, kind="stable")[:_TELLING])
    some = np.concatenate([telling, telling + len(own)])
    # no BLAS here: its threads wake up for products of this size, and wait for cores that a solve has just had
    matrix = np.einsum("is,js->ij", parts[some], parts[some]) / len(steps) + _RIDGE * np.eye(len(some))
    weights = np.zeros(2 * len(own))
    weights[some] = np.linalg.solve(matrix, alone[some])
    return Expectation(centre, scale, *np.split(weights, 2))


def _scaled(number: np.ndarray, centre: Any, scale: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        z = (number - centre) / np.where(scale > 0.0, scale, 1.0)
    return np.clip(np.where(np.isnan(z), 0.0, z), -_FAR, _FAR)


def numbers(given: Given, rows: Int[np.ndarray, " some"]) -> list[Float[np.ndarray, " some"]]:
    """What tells twins apart: their own scalars; of their own short tables the number of entries, their sum and the largest.

    Args:
        given: the numbers of the whole cohort.
        rows: the twins.
    """
    found = []
    for leaf, rank in zip(jax.tree.leaves(given), jax.tree.leaves(given.ranks()), strict=True):
        if np.ndim(leaf) <= rank or (rank == 1 and np.shape(leaf)[1] > _LONG):
            continue
        own = np.asarray(leaf)[rows].astype(np.float64)
        if rank == 0:
            found.append(own)
            continue
        known = np.where(np.isfinite(own), own, 0.0)
        found += [
            np.count_nonzero(known, axis=1).astype(np.float64),
            known.sum(axis=1),
            known.max(axis=1, initial=0.0),
        ]
    return found
