"""Calibrations whose rounds are put in order by the steps of the round before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cases import FREE, Regroup
from benchmarks.outcome import Column, Say
from vht.calibrate import Additive, Free, Measurements, Observable, Problem, calibrate, solver
from vht.model import Twins
from vht.organs.circulation import Circulation
from vht.solve import Tsit5, simulate
from vht.solve.regroup import longest_first, turns

FITS = (
    Column("calibration", "calibration"),
    Column("twins", "twins", ",d"),
    Column("steps", "mean", ",.0f"),
    Column("sd / mean", "spread", ".3f"),
    Column("of 8, as they come", "before_8", ".3f"),
    Column("of 32", "before_32", ".3f"),
    Column("gain of 8", "gain_8", ".3f"),
    Column("gain of 32", "gain_32", ".3f"),
    Column("seconds, as they come", "seconds_plain", ".2f"),
    Column("regrouped", "seconds", ".2f"),
    Column("gain", "gain", ".3f"),
    Column("gain, processor seconds", "gain_busy", ".3f"),
)
NOISE = {"p_AR_SYS": 2.0, "V_LV": 3.0}
_POINTS, _SECONDS = 20, 4.0


def fits(case: Regroup, lanes: Sequence[int], say: Say) -> list[dict[str, Any]]:
    """A row each for twins that differ in what is fitted alone, and for twins that differ in all else too, which is known.

    Raises:
        RuntimeError: an estimate depends on the order of the twins.
    """
    return [_row(own, case, lanes, say) for own in (False, True)]


def _row(own: bool, case: Regroup, lanes: Sequence[int], say: Say) -> dict[str, Any]:
    name = "circulation, 5 free" + (", all else known, each twin's own" if own else "")
    say(f"{name}: measurements ...")
    problem = _problem(case, own)
    curves = solver.curves
    rounds: list[tuple[np.ndarray, np.ndarray]] = []

    def heard(*args: Any) -> Any:
        found = curves(*args)
        rounds.append((args[2], found[3]))
        return found

    found: dict[str, Any] = {}
    runs: dict[str, list[tuple[float, float]]] = {"plain": [], "regrouped": []}
    ways = {"plain": lambda last: np.arange(len(last)), "regrouped": longest_first}
    solver.curves = heard
    try:
        for repeat in range(case.fits + 1):
            for way, order in ways.items():
                say(f"{name}: {way}, {repeat} of {case.fits} ...")
                rounds.clear()
                solver.longest_first = order
                begin, busy = time.perf_counter(), time.process_time()
                found[way] = calibrate(problem, backend="lanes", device="cpu")
                if repeat:  # the first ones compile
                    runs[way].append((time.perf_counter() - begin, time.process_time() - busy))
    finally:
        solver.curves, solver.longest_first = curves, longest_first
    for field in ("estimate", "covariance", "objective", "status"):
        one, other = (np.asarray(getattr(found[way], field)) for way in ways)
        if one.tobytes() != other.tobytes():
            raise RuntimeError(f"The {field} of a twin depends on the order of the twins: {name}.")
    # the rounds of the last fit, which was regrouped; the twins as they come are those in the order of their numbers
    steps = np.concatenate([steps for _, steps in rounds])
    row: dict[str, Any] = {
        "calibration": name,
        "twins": case.fitted,
        "rounds": len(rounds),
        "mean": float(steps.mean()),
        "spread": float(steps.std() / steps.mean()),
    }
    for n in lanes:
        before = sum(turns(steps[np.argsort(twin, kind="stable")], n) for twin, steps in rounds)
        row |= {f"before_{n}": float(steps.sum() / (n * before))}
        row |= {f"gain_{n}": before / sum(turns(steps, n) for _, steps in rounds)}
    ratios = np.array([np.divide(a, b) for a, b in zip(runs["plain"], runs["regrouped"], strict=True)])
    return row | {
        "seconds_plain": statistics.median(s for s, _ in runs["plain"]),
        "seconds": statistics.median(s for s, _ in runs["regrouped"]),
        "gain": float(np.median(ratios[:, 0])),
        "gain_busy": float(np.median(ratios[:, 1])),
        "all": runs,
    }


def _problem(case: Regroup, own: bool) -> Problem:
    columns = Twins.sample(Circulation(), case.fitted, seed=case.seed, only=None if own else FREE).columns
    times = np.linspace(_SECONDS / _POINTS, _SECONDS, _POINTS)
    truth = simulate(
        Circulation(), times, twins=columns, observe=tuple(NOISE), method=Tsit5(rtol=1e-8, atol=1e-8)
    ).values
    random = np.random.default_rng([case.seed, 1])
    value = np.stack(
        [truth[name] + sd * random.standard_normal(truth[name].shape) for name, sd in NOISE.items()], axis=1
    )
    count = len(NOISE) * _POINTS
    return Problem(
        model=Circulation(),
        free={name: Free(start=float(getattr(Circulation(), name)), transform="log") for name in FREE},
        observables={name: Observable(name, Additive(sd=sd)) for name, sd in NOISE.items()},
        measurements=Measurements(
            twin=np.repeat(np.arange(case.fitted), count),
            time=np.tile(times, case.fitted * len(NOISE)),
            observable=np.tile(np.repeat(list(NOISE), _POINTS), case.fitted),
            value=value.ravel(),
        ),
        twins={name: column for name, column in columns.items() if name not in FREE},
        method=Tsit5(rtol=case.fit_rtol, atol=case.fit_rtol),
    )
