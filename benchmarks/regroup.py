"""Does it pay to put twins side by side that take about as many steps? Counted in steps, and by the clock of this processor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from benchmarks.cases import Regroup
from benchmarks.outcome import Column, Outcome, Say, Table
from benchmarks.regroup_cohorts import Cohort, cohorts
from benchmarks.regroup_fits import FITS, fits
from vht.solve import regroup
from vht.solve.regroup import expectation, fitted, longest_first, numbers, turns

# lanes in lockstep: of a vector of float64 with AVX-512, and of a warp
VECTOR, WARP = 8, 32

STEPS = (
    Column("cohort", "cohort"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("steps", "mean", ",.0f"),
    Column("most", "most", ",d"),
    Column("sd / mean", "spread", ".2f"),
    Column("of 8, as they come", "vector", ".3f"),
    Column("sorted", "vector_sorted", ".3f"),
    Column("of 32, as they come", "warp", ".3f"),
    Column("sorted", "warp_sorted", ".3f"),
)
PREDICTORS = (
    Column("cohort", "cohort"),
    Column("sorted by", "predictor"),
    Column("rank correlation", "correlation", ".2f"),
    Column("cost, solves", "cost", ".2f"),
    Column("gain of 8", "vector", ".3f"),
    Column("cost counted", "vector_net", ".3f"),
    Column("gain of 32", "warp", ".3f"),
    Column("cost counted", "warp_net", ".3f"),
)
CLOCK = (
    Column("cohort", "cohort"),
    Column("order", "order"),
    Column("seconds", "seconds", ".4f"),
    Column("gain", "gain", ".3f"),
    Column("processor seconds", "busy", ".4f"),
    Column("gain", "gain_busy", ".3f"),
)
Order = Int[np.ndarray, " twins"]


class Predictor(NamedTuple):
    """What tells steps beforehand.

    Attributes:
        name: of it.
        expected: steps, or what grows with them.
        cost: as a share of the solve.
        known: twins from which it was learnt, by which it is not judged.
    """

    name: str
    expected: Float[np.ndarray, " twins"]
    cost: float
    known: Order = np.arange(0)


def run(case: Regroup, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(f"Twins regrouped by their steps: lanes in lockstep, {case.twins:,} twins a cohort")
    steps, predictors, clock = [], [], []
    for cohort in cohorts(case):
        say(f"{cohort.name}: steps ...")
        found = cohort.solve()
        taken = np.asarray(found.steps)
        steps.append(_steps(cohort, taken, int(np.asarray(found.ok).sum())))
        predictors += _predictors(cohort, taken, case, say)
        clock += _clock(cohort, taken, case, say)
    outcome.tables += [
        Table("regroup, steps", STEPS, steps),
        Table("regroup, predictors", PREDICTORS, predictors),
        Table("regroup, this processor's clock", CLOCK, clock),
        Table("regroup, calibration", FITS, fits(case, (VECTOR, WARP), say)),
    ]
    outcome.notes += [
        f"Share of the turns of {VECTOR} or {WARP} lanes in lockstep in which a lane is at work: mean steps over the mean of "
        "each group's most. A gain is what that share grows by; with the cost counted, cost and turns are added.",
        "Those of 32 are figures of step counts, not of a GPU's clock.",
        f"Regression: of the logarithm of the steps, each of a twin's own numbers with its square, from {case.sample} solved "
        "twins, whose solve is its cost; in slices those are twins of the first slice, and cost nothing.",
        f"Clock: medians of {case.repeats} runs in turns, sorting, moving the twins and moving the results back included; "
        "processor seconds are those of both cores, which what else the machine does disturbs less.",
        f"Slices of {case.slices} a cohort: the first one comes as it is, and tells the order of the others, if it promises "
        "vht.solve.regroup.LEAST_GAIN; the gain is over slices in the caller's order.",
        "Calibration: each round is ordered by the steps that the same twins took in the round before; gains of 8 and 32 are "
        "of all rounds together.",
    ]
    return outcome


def _steps(cohort: Cohort, taken: Order, ok: int) -> dict[str, Any]:
    best = longest_first(taken)
    return {
        "cohort": cohort.name,
        "twins": len(taken),
        "ok": ok,
        "mean": float(taken.mean()),
        "most": int(taken.max()),
        "spread": float(taken.std() / taken.mean()),
        "vector": efficiency(taken, VECTOR),
        "vector_sorted": efficiency(taken[best], VECTOR),
        "warp": efficiency(taken, WARP),
        "warp_sorted": efficiency(taken[best], WARP),
    }


def efficiency(taken: Order, lanes: int) -> float:
    """The share of the turns of lanes in lockstep in which a lane is at work."""
    return float(taken.sum(dtype=np.float64) / (lanes * turns(taken, lanes)))


def _predictors(cohort: Cohort, taken: Order, case: Regroup, say: Say) -> list[dict[str, Any]]:
    rows = []
    for predictor in _found(cohort, taken, case, say):
        steps, expected = (np.delete(table, predictor.known) for table in (taken, predictor.expected))
        order = longest_first(expected)
        row: dict[str, Any] = {
            "cohort": cohort.name,
            "predictor": predictor.name,
            "cost": predictor.cost,
            "correlation": _rank_correlation(expected, steps),
        }
        for name, lanes in (("vector", VECTOR), ("warp", WARP)):
            gain = turns(steps, lanes) / turns(steps[order], lanes)
            row |= {name: gain, f"{name}_net": gain / (1.0 + gain * predictor.cost)}
        rows.append(row)
    return rows


def _found(cohort: Cohort, taken: Order, case: Regroup, say: Say) -> list[Predictor]:
    """All predictors of a cohort's steps."""
    found = []
    whole = _busy(cohort.solve, case.pilots)
    for factor in case.looser:
        say(f"{cohort.name}: pilot ...")
        pilot = cohort.looser(factor)
        counted = np.asarray(pilot.solve().steps, float)
        share = _busy(pilot.solve, case.pilots) / whole
        found.append(Predictor(f"a pilot at {factor:g} x tolerance", counted, share))
    say(f"{cohort.name}: regression ...")
    some = _sample(len(cohort), min(case.sample, len(cohort) // 4))
    few = cohort.take(some)
    few.solve()
    share = _busy(few.solve, case.pilots) / whole
    expected = _regression(cohort, some, taken[some])
    found.append(Predictor("regression on its numbers", expected, share, some))
    # the same learnt on twins that are solved anyhow
    found.append(Predictor("... on a slice solved before", expected, 0.0, some))
    found += [Predictor(name, count, 0.0) for name, count in cohort.counts().items()]
    say(f"{cohort.name}: parameters moved ...")
    for name, together in (("each", False), ("all alike", True)):
        before = np.asarray(cohort.moved(case.moved, case.seed, together).solve().steps, float)
        found.append(Predictor(f"steps with parameters {case.moved:.0%} off, {name}", before, 0.0))
    return found


def _sample(count: int, most: int) -> Int[np.ndarray, " some"]:
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def _regression(cohort: Cohort, some: Order, taken: Order) -> Float[np.ndarray, " twins"]:
    found = fitted(numbers(cohort.given, some), taken)
    return found.of(numbers(cohort.given, np.arange(len(cohort))))


def _rank_correlation(expected: np.ndarray, taken: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(expected, taken).statistic) if np.ptp(expected) > 0 and np.ptp(taken) > 0 else 0.0


def _busy(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of all cores together; of something that is compiled."""
    return statistics.median(_timed(call)[1] for _ in range(repeats))


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of all cores together."""
    begin, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begin, time.process_time() - busy


# --------------------------------------------------------------------------------------------------------------- clock


def _clock(cohort: Cohort, taken: Order, case: Regroup, say: Say) -> list[dict[str, Any]]:
    some = _sample(len(cohort), min(case.sample, len(cohort) // 4))
    few = cohort.take(some)
    before = np.asarray(cohort.moved(case.moved, case.seed, False).solve().steps)

    def sampled() -> Any:
        return _in_order(cohort, longest_first(_regression(cohort, some, np.asarray(few.solve().steps))))

    ways: dict[str, tuple[str, Callable[[], Any]]] = {
        "as they come": ("as they come", lambda: cohort.solve()),
        "sorted by their own steps (the bound)": (
            "as they come",
            lambda: _in_order(cohort, longest_first(taken)),
        ),
        "regression, from a sample": ("as they come", sampled),
        "steps of a solve before, parameters moved": (
            "as they come",
            lambda: _in_order(cohort, longest_first(before)),
        ),
        "in slices, as they come": ("as they come", lambda: _in_slices(cohort, case.slices, False)),
        "in slices, regrouped": ("in slices, as they come", lambda: _in_slices(cohort, case.slices, True)),
    }
    truth = cohort.solve()
    for name, (_, call) in ways.items():
        say(f"{cohort.name}: {name} ...")
        _equal(call(), truth, f"{cohort.name}, {name}")
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for repeat in range(case.repeats):
        say(f"{cohort.name}: repeat {repeat + 1} of {case.repeats} ...")
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            runs[name].append(_timed(ways[name][1]))
    rows = []
    for name, (beside, _) in ways.items():
        ratios = np.array([np.divide(b, a) for a, b in zip(runs[name], runs[beside], strict=True)])
        rows.append(
            {
                "cohort": cohort.name,
                "order": name,
                "seconds": statistics.median(s for s, _ in runs[name]),
                "busy": statistics.median(s for _, s in runs[name]),
                "gain": float(np.median(ratios[:, 0])),
                "gain_busy": float(np.median(ratios[:, 1])),
                "all": runs[name],
            }
        )
    return rows


def _in_order(cohort: Cohort, order: Order) -> Any:
    """Solve the twins in an order, and give results in their own."""
    found = cohort.take(order).solve()
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[back], _results(found))


def _in_slices(cohort: Cohort, slices: int, regrouped: bool) -> Any:
    """In slices, each put in order by what the ones before told, or as they come."""
    size = -(-len(cohort) // slices)
    regroup.expectation = expectation if regrouped else lambda *_: None
    try:
        return cohort.solve(size)
    finally:
        regroup.expectation = expectation


def _results(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found.values, found.steps, found.status)


def _equal(one: Any, other: Any, what: str) -> None:
    pairs = zip(jax.tree.leaves(_results(one)), jax.tree.leaves(_results(other)), strict=True)
    if not all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs):
        raise RuntimeError(f"Results depend on the order of the twins: {what}.")
