"""Whether the tolerance asked is the error got, and what it costs, on each stiff problem with its own parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cases import Stiff
from benchmarks.machine import cores
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import stiff_cvode, stiff_diffrax, stiff_lanes
from benchmarks.stiff_problems import PROBLEMS, Ensemble, Problem, ensemble, errors

LANES, CVODE, DIFFRAX = "vht lanes, Rodas5P", "CVODE in C", "diffrax vmap, Kvaerno5"
# of CVODE, where nobody published a solution, and for ensembles
REFERENCE = 1e-12

Solve = Callable[[Ensemble, float], Any]

COLUMNS = (
    Column("problem", "problem"),
    Column("solver", "solver"),
    Column("rtol", "rtol", ".0e"),
    Column("atol", "atol", ".0e"),
    Column("error / tolerance", "units", ".2g"),
    Column("relative error", "relative", ".1e"),
    Column("steps", "steps", ",.0f"),
    Column("us a twin", "micros", ",.3g"),
    Column("ok", "ok"),
)


def truth(problem: Problem) -> Float[np.ndarray, " states"]:
    """The states at the end with the model's own parameters: published ones, or CVODE's.

    Raises:
        Unavailable: neither.
        RuntimeError: CVODE failed.
    """
    if problem.reference is not None:
        return np.array(problem.reference)
    solved = stiff_cvode.solve(ensemble(problem, 1), rtol=REFERENCE)
    if not solved.ok.all():
        raise RuntimeError(f"There is no reference for {problem.name}.")
    return solved.values[0]


def work_precision(case: Stiff, outcome: Outcome, say: Say) -> None:
    """Fill in the table and the target.

    Raises:
        Unavailable: no compiler.
        RuntimeError: there is no reference.
    """
    budget = case.diffrax_steps
    solvers: dict[str, tuple[int, Solve]] = {
        LANES: (case.copies, lambda twins, rtol: stiff_lanes.solve(twins, rtol=rtol)),
        CVODE: (case.cvode_copies, lambda twins, rtol: stiff_cvode.solve(twins, rtol=rtol)),
        DIFFRAX: (case.diffrax_copies, lambda twins, rtol: stiff_diffrax.solve(twins, rtol=rtol, max_steps=budget)),
    }
    rows: list[dict[str, Any]] = []
    for name in case.problems:
        problem = PROBLEMS[name]
        reference = truth(problem)
        for solver, (copies, solve) in solvers.items():
            rows += _solver(problem, solver, ensemble(problem, copies), solve, reference, case.tolerances, say)
    outcome.tables.append(Table("stiff, work and precision", COLUMNS, rows))
    checked = {name: sorted(row["units"] for row in rows if row["solver"] == name) for name in solvers}
    outcome.targets.append(
        Target(
            "factor between lanes' error and the tolerance asked, median over problems and tolerances",
            10.0,
            _factor(checked[LANES]),
            unit="x",
        )
    )
    told = ", ".join(f"{name} {_factor(units):.2g}" for name, units in checked.items() if units)
    thresholds = ", ".join(f"{name} {PROBLEMS[name].threshold:g}" for name in case.problems)
    outcome.notes += [
        "Errors: at the end point, largest over the states; over the tolerance is |error| / (atol + rtol |y|). "
        f"atol = rtol x threshold, the same for all solvers: {thresholds}.",
        "References: the Test Set's published values; for the ten Tusscher beat CVODE at "
        f"{REFERENCE:g}. Median factor between error and tolerance: {told}.",
        f"Time a twin, of equal twins: {case.copies} in lanes on {cores()} cores, {case.cvode_copies} of CVODE on one core, "
        f"{case.diffrax_copies} of diffrax.",
    ]


def _factor(units: list[float]) -> float | None:
    """How far errors are from the tolerance, up or down; a failure is infinitely far."""
    if not units:
        return None
    return float(np.median([max(u, 1.0 / u) if 0.0 < u < np.inf else np.inf for u in units]))


def _solver(
    problem: Problem,
    solver: str,
    twins: Ensemble,
    solve: Solve,
    reference: Float[np.ndarray, " states"],
    tolerances: tuple[float, ...],
    say: Say,
) -> list[dict[str, Any]]:
    say(f"{problem.name}: {solver}, compiling ...")
    solve(twins, tolerances[0])
    rows = []
    for rtol in tolerances:
        say(f"{problem.name}: {solver} at {rtol:g} ...")
        begin = time.perf_counter()
        found = solve(twins, rtol)
        seconds = time.perf_counter() - begin
        ok = bool(found.ok.all())
        error = float(errors(found.values[:1], reference[None], problem)[0]) if ok else float("inf")
        relative = float(np.max(np.abs(found.values[0] - reference) / np.abs(reference))) if ok else float("inf")
        rows.append(
            {
                "problem": problem.name,
                "solver": solver,
                "rtol": rtol,
                "atol": rtol * problem.threshold,
                "units": error / rtol,
                "relative": relative,
                "steps": float(np.median(found.steps)),
                "micros": 1e6 * seconds / len(twins),
                "ok": "yes" if ok else "no",
            }
        )
    return rows
