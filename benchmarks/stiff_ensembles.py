"""Ensembles of stiff problems whose parameters differ: twins a second of each solver, at equal errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from benchmarks.cases import Stiff
from benchmarks.machine import cores
from benchmarks.measure import measure
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import stiff_cvode, stiff_diffrax, stiff_lanes
from benchmarks.stiff_precision import CVODE, DIFFRAX, LANES, REFERENCE, Solve
from benchmarks.stiff_problems import PROBLEMS, Ensemble, ensemble, errors

# tolerances that are tried, the loosest first
LADDER = tuple(m * 10.0**-e for e in range(1, 10) for m in (1.0, 0.3))
# share of twins that must end well for a tolerance to count
ENOUGH = 0.99
# SciPy takes seconds for a twin: so many are enough to check a reference by
_CHECKED = 2

COLUMNS = (
    Column("problem", "problem"),
    Column("solver", "solver"),
    Column("rtol", "rtol", ".0e"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("median error", "error_median", ".1e"),
    Column("90 % error", "error_most", ".1e"),
    Column("steps", "steps", ",.0f"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.0f"),
    Column("twins/s/core", "core_rate", ",.0f"),
    Column("compile s", "compile_seconds", ".1f"),
    Column("lanes over it", "ratio", ".3g"),
)


class Runner(NamedTuple):
    """A solver as it is run here: twins, repeats, how much of the machine it takes, and whose tolerance it uses."""

    name: str
    solve: Solve
    twins: int
    repeats: int
    cores: int
    like: str


def _runners(case: Stiff) -> list[Runner]:
    budget = case.diffrax_steps

    def lanes(twins: Ensemble, rtol: float) -> Any:
        return stiff_lanes.solve(twins, rtol=rtol)

    def cvode(twins: Ensemble, rtol: float) -> Any:
        return stiff_cvode.solve(twins, rtol=rtol)

    def diffrax(twins: Ensemble, rtol: float) -> Any:
        return stiff_diffrax.solve(twins, rtol=rtol, batch=case.batch, max_steps=budget)

    def small(twins: Ensemble, rtol: float) -> Any:
        return stiff_diffrax.solve(twins, rtol=rtol, batch=case.small_batch, threads=cores(), max_steps=budget)

    return [
        Runner(LANES, lanes, case.twins, case.repeats, cores(), LANES),
        Runner(CVODE, cvode, case.cvode, 1, 1, CVODE),
        Runner(DIFFRAX, diffrax, case.diffrax, 1, cores(), DIFFRAX),
        Runner(f"{DIFFRAX}, small batches on threads", small, case.diffrax, 1, cores(), DIFFRAX),
    ]


def ensembles(case: Stiff, outcome: Outcome, say: Say) -> None:
    """Fill in the table and the targets.

    Raises:
        Unavailable: no compiler.
        RuntimeError: there is no reference.
    """
    rows: list[dict[str, Any]] = []
    disagreement = 0.0
    for name in case.ensembles:
        twins = ensemble(PROBLEMS[name], case.twins, spread=case.spread, seed=case.seed)
        say(f"{name}: reference ...")
        solved = stiff_cvode.solve(twins.take(slice(case.pilot)), rtol=REFERENCE)
        if not solved.ok.all():
            raise RuntimeError(f"There is no reference for {int((~solved.ok).sum())} of {case.pilot} twins of {name}.")
        reference = solved.values
        disagreement = max(disagreement, _disagreement(twins, reference))
        found: dict[str, dict[str, Any]] = {}
        tolerances: dict[str, float | None] = {}
        for runner in _runners(case):
            if runner.like not in tolerances:
                tolerances[runner.like] = _tolerance(runner, twins, reference, case, say)
            rtol = tolerances[runner.like]
            if rtol is None:
                outcome.skipped[f"{name}: {runner.name}"] = f"no tolerance gives a median error of {case.error:g}"
                continue
            found[runner.name] = _row(runner, twins, rtol, reference, say)
        lanes = found.get(LANES)
        for runner_name, row in found.items():
            rates = "core_rate" if runner_name == CVODE else "rate"
            row["ratio"] = lanes[rates] / row[rates] if lanes and row[rates] else None
        rows += found.values()
        best = [row["ratio"] for key, row in found.items() if key.startswith(DIFFRAX) and row["ratio"] is not None]
        outcome.targets += [
            Target(
                f"{name}: twins/s of lanes over diffrax vmap", 30.0, min(best, default=None), at_least=True, unit="x"
            ),
            Target(
                f"{name}: twins/s a core of lanes over a CVODE loop in C",
                10.0,
                found[CVODE]["ratio"] if CVODE in found and stiff_cvode.compiled() else None,
                at_least=True,
                unit="x",
            ),
        ]
    outcome.tables.append(Table("stiff, ensembles", COLUMNS, rows))
    outcome.notes += [
        f"Ensembles: every parameter (of the cell: 15 conductances and rates) log-normal about its own value with a standard "
        f"deviation of {case.spread:g} of the logarithm, each on its own.",
        f"Equal errors: each solver takes the loosest tolerance at which its median error over {case.pilot} twins is at "
        f"most {case.error:g} and {ENOUGH:.0%} of them end well; |error| / (|y| + threshold), "
        "largest over the states at the end.",
        f"Reference: CVODE at {REFERENCE:g}; SciPy's Radau at 1e-9 is within {disagreement:.1e} of it.",
        "Ratios to CVODE are a core's to a core's, those to diffrax the machine's. Rates count twins that ended well.",
    ]


def _disagreement(twins: Ensemble, reference: Float[np.ndarray, "twins states"]) -> float:
    """The largest error that SciPy's Radau finds in the first references."""
    problem = twins.problem
    found = []
    for i in range(_CHECKED):
        p, state, t = twins.parameters[i], twins.initial[i], 0.0
        for end, u in zip(*problem.stops, strict=True):

            def rates(t: float, y: np.ndarray, p: np.ndarray = p, u: float = u) -> np.ndarray:
                return stiff_cvode.rates(problem, y, p, u)

            def slopes(t: float, y: np.ndarray, p: np.ndarray = p) -> Any:
                return stiff_cvode.jacobian(problem, y, p)

            analytic = slopes(0.0, state) is not None
            settings: dict[str, Any] = {"method": "Radau", "rtol": 1e-9, "atol": 1e-9 * problem.threshold}
            solved = solve_ivp(rates, (t, end), state, jac=slopes if analytic else None, **settings)
            state, t = solved.y[:, -1], end
        found.append(state)
    return float(np.max(errors(reference[:_CHECKED], np.stack(found), problem)))


def _row(
    runner: Runner, twins: Ensemble, rtol: float, reference: Float[np.ndarray, "twins states"], say: Say
) -> dict[str, Any]:
    problem = twins.problem
    say(f"{problem.name}: {runner.name} at {rtol:g} ...")
    some = twins.take(slice(runner.twins))
    found = measure(lambda: runner.solve(some, rtol), runner.repeats)
    solved, seconds = found.result, found.median
    off = _errors(solved, reference, some)
    ok = int(solved.ok.sum())
    return {
        "problem": problem.name,
        "solver": runner.name,
        "rtol": rtol,
        "twins": len(some),
        "ok": ok,
        "error_median": float(np.median(off)),
        "error_most": float(np.quantile(off, 0.9)),
        "error_max": float(np.max(off)),
        "steps": float(np.median(solved.steps)),
        "seconds": seconds,
        "all_seconds": list(found.seconds),
        "rate": ok / seconds,
        "core_rate": ok / seconds / runner.cores,
        "compile_seconds": found.compile_seconds,
        "ratio": None,
    }


def _tolerance(
    runner: Runner, twins: Ensemble, reference: Float[np.ndarray, "twins states"], case: Stiff, say: Say
) -> float | None:
    """The loosest that gives the error wanted."""
    some = twins.take(slice(case.pilot))
    for rtol in LADDER:
        say(f"{twins.problem.name}: {runner.name}, {rtol:.0e} on {len(some)} twins ...")
        solved = runner.solve(some, rtol)
        if solved.ok.mean() >= ENOUGH and np.median(_errors(solved, reference, some)) <= case.error:
            return rtol
    return None


def _errors(solved: Any, reference: Float[np.ndarray, "twins states"], twins: Ensemble) -> Float[np.ndarray, " some"]:
    """Of the twins that ended well and have a reference."""
    count = min(len(reference), len(solved.values))
    good = np.flatnonzero(solved.ok[:count])
    return errors(solved.values[good], reference[good], twins.problem)
