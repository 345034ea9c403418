"""The circulation cohort on this package, diffrax, SciPy, CVODE and a C++ program: how fast, and how right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.cases import Circulation
from benchmarks.cohort import Cohort, circulation_cohort, relative_errors
from benchmarks.machine import cores
from benchmarks.measure import measure
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import cvode, diffrax_vmap, scipy_solvers, simd, vht_lanes
from benchmarks.peers.build import Unavailable
from benchmarks.reference import Reference, reference

Precision = Literal["float64", "float32"]
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
METHODS: dict[simd.Method, str] = {"tsit5": "Tsit5", "rk4": "RK4"}
FORMULAS: dict[cvode.Formula, str] = {"bdf": "BDF, Newton, analytic Jacobian", "adams": "Adams, fixed point"}
# steps between two saves that are tried for the program with fixed steps
STEPS = (10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000)

COLUMNS = (
    Column("method", "method"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.0f"),
    Column("x diffrax", "ratio", ".3g"),
    Column("median error", "error_median", ".1e"),
    Column("largest error", "error_max", ".1e"),
    Column("compile s", "compile_seconds", ".2f"),
    Column("MiB", "memory", ",.0f"),
)


@dataclass
class Row:
    """A method's results; `rate` counts the twins that ended well."""

    method: str
    twins: int
    ok: int
    seconds: float
    all_seconds: list[float]
    rate: float
    error_median: float
    error_max: float
    compile_seconds: float
    memory: float | None
    note: str = ""
    ratio: float | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows share."""

    case: Circulation
    cohort: Cohort
    truth: Reference
    say: Say

    def row(
        self, method: str, twins: int, call: Callable[[Cohort], Any], repeats: int, share: float = 1.0, note: str = ""
    ) -> Row:
        """Measure a method on the first twins; `share` is the share of the machine that it used."""
        self.say(f"{method} ...")
        some = self.cohort.take(slice(twins))
        found = measure(lambda: call(some), repeats)
        errors = _errors(found.result.values, found.result.ok, self.truth)
        ok, seconds = int(found.result.ok.sum()), found.median
        return Row(
            method=method,
            twins=len(some),
            ok=ok,
            seconds=seconds,
            all_seconds=list(found.seconds),
            rate=ok / seconds / share,
            error_median=float(np.median(errors)) if errors.size else float("nan"),
            error_max=float(np.max(errors)) if errors.size else float("nan"),
            compile_seconds=found.compile_seconds,
            memory=found.memory,
            note=note,
        )


def _errors(values: np.ndarray, ok: Bool[np.ndarray, " twins"], truth: Reference) -> Float[np.ndarray, " some"]:
    count = min(len(values), len(truth.values))
    good = np.flatnonzero(ok[:count])
    return relative_errors(values[good], truth.values[good])


def run(case: Circulation, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    outcome = Outcome(
        f"{case.twins:,} circulation twins, {case.seconds:g} s, {case.saves} saves of 12 states, "
        f"rtol = atol = {case.tolerance:g}"
    )
    cohort = circulation_cohort(case.twins, np.linspace(0.0, case.seconds, case.saves), seed=case.seed)
    say("reference ...")
    truth = reference(cohort, case.reference)
    bench = Bench(case, cohort, truth, say)
    rows: dict[str, Row] = {}

    for dtype in PRECISIONS:
        rows[f"lanes {dtype}"] = bench.row(
            f"vht lanes, Tsit5, {dtype}",
            case.twins,
            lambda c, dtype=dtype: vht_lanes.solve(c, rtol=case.tolerance, atol=case.tolerance, dtype=dtype),
            case.repeats,
        )
    _diffrax(bench, rows, outcome)
    _compiled(bench, rows, outcome)
    say("SciPy LSODA ...")
    rows["lsoda"] = bench.row(
        "SciPy LSODA (one process x cores)",
        case.lsoda,
        lambda c: scipy_solvers.lsoda(c, rtol=case.tolerance, atol=case.tolerance),
        1,
        share=1.0 / cores(),
        note="one process was measured, and its rate multiplied by the number of cores",
    )

    base = rows["diffrax float64"].rate
    for row in rows.values():
        row.ratio = row.rate / base
    outcome.tables.append(Table("circulation", COLUMNS, [dataclasses.asdict(row) for row in rows.values()]))
    outcome.targets += _targets(rows)
    outcome.notes += [
        f"Errors: largest over saves and states as a share of the state's range, over {len(truth.values)} twins, against "
        f"{truth.made_by}"
        + ("." if truth.disagreement is None else f", which DOP853 confirms within {truth.disagreement:.1e}."),
        "Rates count only twins that ended well; seconds are medians without the compilation.",
        "SciPy runs in one process; its rate is multiplied by the number of cores.",
    ]
    return outcome


def _diffrax(bench: Bench, rows: dict[str, Row], outcome: Outcome) -> None:
    case = bench.case
    for dtype in PRECISIONS:
        rows[f"diffrax {dtype}"] = bench.row(
            f"diffrax vmap, Tsit5, {dtype}",
            case.diffrax,
            lambda c, dtype=dtype: diffrax_vmap.solve(
                c, rtol=case.tolerance, atol=case.tolerance, dtype=dtype, batch=case.batch
            ),
            case.slow_repeats,
        )
    for dtype in PRECISIONS:
        rows[f"diffrax threads {dtype}"] = bench.row(
            f"diffrax vmap, small batches on {cores()} threads, {dtype}",
            case.diffrax,
            lambda c, dtype=dtype: diffrax_vmap.solve(
                c, rtol=case.tolerance, atol=case.tolerance, dtype=dtype, batch=case.small_batch, threads=cores()
            ),
            case.slow_repeats,
        )
    outcome.notes.append(
        f"diffrax: {case.batch:,} twins a call; on threads {case.small_batch} twins a call, since XLA alone hardly uses a "
        "second core here."
    )


def _compiled(bench: Bench, rows: dict[str, Row], outcome: Outcome) -> None:
    case = bench.case
    try:
        for formula, name in FORMULAS.items():
            rows[f"cvode {formula}"] = bench.row(
                f"CVODE in C, {name}",
                case.cvode,
                lambda c, formula=formula: cvode.solve(c, rtol=case.tolerance, atol=case.tolerance, formula=formula),
                case.slow_repeats,
            )
        outcome.notes.append(f"CVODE: {cvode.made_with()}.")
    except Unavailable as error:
        outcome.skipped["CVODE"] = str(error)
    try:
        steps = {method: _enough_steps(bench, rows["lanes float64"], method) for method in METHODS}
        outcome.notes.append(f"C++: {simd.made_with()}.")
    except Unavailable as error:
        outcome.skipped["C++"] = str(error)
        return
    interval = case.seconds / (case.saves - 1)
    for dtype in PRECISIONS:
        for method, label in METHODS.items():
            rows[f"c++ {method} {dtype}"] = bench.row(
                f"C++ SIMD, {label}, step {interval / steps[method] * 1e3:.3g} ms, {dtype}",
                case.twins,
                lambda c, method=method, dtype=dtype: simd.solve(c, method=method, steps=steps[method], dtype=dtype),
                case.repeats,
            )
            step = interval / steps[method]
            rows[f"lanes {method} {dtype}"] = bench.row(
                f"vht lanes, {label}, step {step * 1e3:.3g} ms, {dtype}",
                case.twins,
                lambda c, fixed=(method, step), dtype=dtype: vht_lanes.solve(
                    c, rtol=case.tolerance, atol=case.tolerance, dtype=dtype, fixed=fixed
                ),
                case.repeats,
            )
    outcome.notes.append(
        "Fixed steps: the largest at which every twin stays finite and the C++ program in float64 is as right as lanes with "
        "error control."
    )


def _enough_steps(bench: Bench, goal: Row, method: simd.Method) -> int:
    """Fewest steps between two saves with which the program is as right as the row, and solves every twin."""
    for steps in STEPS:
        bench.say(f"C++ {method}: {steps} steps a save ...")
        found = simd.solve(bench.cohort, method=method, steps=steps)
        errors = _errors(found.values, found.ok, bench.truth)
        stable = found.ok.all() and simd.solve(bench.cohort, method=method, steps=steps, dtype="float32").ok.all()
        if stable and np.median(errors) <= goal.error_median and np.max(errors) <= goal.error_max:
            return steps
    return STEPS[-1]


def _targets(rows: dict[str, Row]) -> list[Target]:
    lanes, other = rows["lanes float64"], rows["diffrax float64"]

    def slower(method: simd.Method, dtype: Precision) -> float | None:
        if f"c++ {method} {dtype}" not in rows:
            return None
        return rows[f"lanes {method} {dtype}"].seconds / rows[f"c++ {method} {dtype}"].seconds

    compiled = rows.get("c++ tsit5 float64")
    return [
        Target("twins/s of lanes over diffrax vmap, float64", 50.0, lanes.rate / other.rate, at_least=True, unit="x"),
        *(
            Target(
                f"time of lanes over C++, same fixed steps of {label}, {dtype}", 2.0, slower(method, dtype), unit="x"
            )
            for method, label in METHODS.items()
            for dtype in PRECISIONS
        ),
        Target(
            "time of lanes with error control over C++ with fixed steps, float64",
            2.0,
            None if compiled is None else lanes.seconds / compiled.seconds,
            unit="x",
        ),
        Target("median error of lanes over diffrax's, float64", 1.0, lanes.error_median / other.error_median, unit="x"),
        Target("largest error of lanes over diffrax's, float64", 1.0, lanes.error_max / other.error_max, unit="x"),
        Target("share of twins that lanes solves, float64", 1.0, lanes.ok / lanes.twins, at_least=True),
    ]
