"""Derivatives of what is observed with respect to five parameters, against a reference, at three tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cases import Jacobian
from benchmarks.cohort import STATES, Cohort, circulation_cohort
from benchmarks.measure import measure
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import cvode, vht_lanes
from benchmarks.peers.build import Unavailable
from benchmarks.reference import TOLERANCE

# step of the central differences: their own error is about its square, their noise about 1e-9 over it
_STEP = 1e-4

COLUMNS = (
    Column("rtol = atol", "tolerance", ".0e"),
    Column("parameter", "parameter"),
    Column("median error / rtol", "median", ".2g"),
    Column("99 % error / rtol", "most", ".2g"),
    Column("largest error / rtol", "largest", ".2g"),
    Column("ok", "ok", ",d"),
    Column("twins/s", "rate", ",.0f"),
)


def run(case: Jacobian, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(
        f"Jacobian of {', '.join(case.observed)} with respect to {len(case.free)} parameters, {case.twins} random twins, "
        f"{case.seconds:g} s, {case.saves} saves"
    )
    cohort = circulation_cohort(case.twins, np.linspace(0.0, case.seconds, case.saves), seed=case.seed)
    observed = [STATES.index(name) for name in case.observed]
    say("reference sensitivities ...")
    try:
        # Adams and BDF differ in all but the equations; the first is the faster one at this tolerance
        solved = cvode.solve(cohort, rtol=TOLERANCE, atol=TOLERANCE, formula="adams", free=case.free)
    except Unavailable as error:
        outcome.skipped["reference by CVODES"] = str(error)
        return outcome
    if not solved.ok.all():
        raise RuntimeError(f"There is no reference for {int((~solved.ok).sum())} of {case.twins} twins.")
    truth = solved.jacobian[:, :, observed]
    say("central differences ...")
    some = cohort.take(slice(case.differences))
    checked = _errors(_differences(some, case.free)[:, :, observed], truth[: case.differences])

    rows: list[dict[str, Any]] = []
    for tolerance in case.tolerances:
        say(f"lanes at {tolerance:g} ...")
        found = measure(lambda tol=tolerance: vht_lanes.solve(cohort, rtol=tol, atol=tol, free=case.free), 1)
        ok = found.result.ok
        errors = _errors(found.result.jacobian[ok][:, :, observed], truth[ok]) / tolerance
        for k, name in enumerate((*case.free, "all")):
            one = errors[..., k] if name != "all" else errors
            rows.append(
                {
                    "tolerance": tolerance,
                    "parameter": name,
                    "median": float(np.median(one)),
                    "most": float(np.quantile(one, 0.99)),
                    "largest": float(np.max(one)),
                    "ok": int(ok.sum()),
                    "rate": int(ok.sum()) / found.median,
                }
            )
        largest = float(np.max(errors)) if ok.all() else float("inf")
        outcome.targets.append(Target(f"largest error of the Jacobian over rtol, rtol {tolerance:g}", 10.0, largest))
    outcome.tables.append(Table("jacobian", COLUMNS, rows))
    outcome.notes += [
        "Errors: largest over the saves, as a share of the largest reference value over the saves, for each twin, observed "
        "state and parameter.",
        f"Reference: CVODES forward sensitivities at {TOLERANCE:g}, right-hand side by the complex step; central differences "
        f"of solutions at 1e-13 agree with it within {np.max(checked):.1e} (median {np.median(checked):.1e}) on "
        f"{case.differences} twins.",
    ]
    return outcome


def _errors(
    jacobian: Float[np.ndarray, "twins saves observed free"], truth: Float[np.ndarray, "twins saves observed free"]
) -> Float[np.ndarray, "twins observed free"]:
    return np.max(np.abs(jacobian - truth), axis=1) / np.max(np.abs(truth), axis=1)


def _differences(cohort: Cohort, free: tuple[str, ...]) -> Float[np.ndarray, "twins saves states free"]:
    columns = []
    for name in free:
        at = cohort.column(name)
        sides = [
            cvode.solve(cohort.with_columns({name: at * (1.0 + sign * _STEP)}), rtol=1e-13, atol=1e-13, formula="adams")
            for sign in (1.0, -1.0)
        ]
        columns.append((sides[0].values - sides[1].values) / (2.0 * _STEP * at[:, None, None]))
    return np.stack(columns, axis=-1)
