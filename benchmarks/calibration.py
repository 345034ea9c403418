"""Fitting circulation twins to noisy measurements whose truth is known: this package's batched fit, and SciPy's."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cases import Calibration
from benchmarks.cohort import STATES, Cohort, circulation_cohort, indices
from benchmarks.machine import cores
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import cvode, scipy_fits
from benchmarks.peers.build import Unavailable

# an objective (negative log-likelihood) that is larger by less than this share is not worse
SAME = 1e-6

SPEED = (
    Column("method", "method"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.3g"),
    Column("lanes over it", "ratio", ".3g"),
    Column("model solves a twin", "solves", ",.0f"),
)
COVERAGE = (
    Column("interval", "kind"),
    Column("parameter", "parameter"),
    Column("level", "level", ".0%"),
    Column("covered", "covered", ".2%"),
    Column("Monte Carlo error", "error", ".2%"),
    Column("z", "z", "+.1f"),
    Column("median relative error of the estimate", "off", ".1%"),
)


@dataclass(frozen=True, eq=False)
class Data:
    """Twins, what is measured of them, and the truth.

    Attributes:
        truth: the twins as they are.
        start: the same before anything is known of their free parameters.
        values: measurements, observable after observable.
        sd: standard deviation of each.
        free: names of the free parameters.
        observables: names of the measured states.
    """

    truth: Cohort
    start: Cohort
    values: Float[np.ndarray, "twins measurements"]
    sd: Float[np.ndarray, " measurements"]
    free: tuple[str, ...]
    observables: tuple[str, ...]


def make(case: Calibration) -> Data:
    """The cohort and its measurements, from CVODES where there is one, so that this package does not judge itself."""
    times = np.r_[0.0, np.linspace(case.seconds / case.points, case.seconds, case.points)]
    truth = circulation_cohort(case.twins, times, seed=case.seed, only=case.free)
    start = circulation_cohort(case.twins, times, seed=case.seed, only=())
    observables = tuple(case.noise)
    try:
        solved = cvode.solve(truth, rtol=1e-8, atol=1e-8, formula="bdf")
    except Unavailable:
        from benchmarks.peers import vht_lanes

        solved = vht_lanes.solve(truth, rtol=1e-8, atol=1e-8)
    exact = observed(solved.values, observables)
    sd = np.repeat(list(case.noise.values()), case.points)
    noise = np.random.default_rng([case.seed, 1]).standard_normal(exact.shape)
    return Data(truth, start, exact + sd * noise, sd, case.free, observables)


def observed(
    values: Float[np.ndarray, "twins saves states"], names: tuple[str, ...]
) -> Float[np.ndarray, "twins measurements"]:
    """What is measured, observable after observable, without the initial state."""
    return np.concatenate([values[:, 1:, STATES.index(name)] for name in names], axis=1)


def run(case: Calibration, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    count = case.points * len(case.noise)
    outcome = Outcome(
        f"{case.twins:,} circulation twins, {len(case.free)} free parameters ({', '.join(case.free)}), "
        f"{count} measurements each"
    )
    say("measurements ...")
    data = make(case)
    say("lanes, compiling ...")
    problem, fitted, seconds, warm = _fit(case, data, say)
    ok = np.asarray(fitted.ok)
    lanes_rate = int(ok.sum()) / seconds
    rows: list[dict[str, Any]] = [
        {
            "method": "vht lanes, batched Levenberg-Marquardt",
            "twins": case.twins,
            "ok": int(ok.sum()),
            "seconds": seconds,
            "rate": lanes_rate,
            "ratio": 1.0,
            "compile_seconds": max(warm - seconds, 0.0),
            "solves": float(np.mean(np.asarray(fitted.iterations))),
        }
    ]
    _scipy(case, data, rows, outcome, say)
    for row in rows:
        row["ratio"] = lanes_rate / row["rate"] if row["rate"] else None
    outcome.tables.append(Table("calibration, speed", SPEED, rows))
    say("profiles ...")
    coverage = _coverage(case, data, problem, fitted, ok)
    outcome.tables.append(Table("calibration, intervals", COVERAGE, coverage))
    worst = {kind: max(abs(row["z"]) for row in coverage if row["kind"] == kind) for kind in ("profile", "t")}
    lsoda = next(row for row in rows if "LSODA" in row["method"])
    outcome.targets += [
        Target(
            "twins/s of lanes over SciPy on LSODA (one process x cores)", 50.0, lsoda["ratio"], at_least=True, unit="x"
        ),
        Target("largest distance of a coverage from its level, in Monte Carlo errors, profile", 3.5, worst["profile"]),
        Target("share of twins with status ok", 0.99, float(ok.mean()), at_least=True),
    ]
    _objectives(case, data, fitted, ok, outcome, say)
    ends = Counter(fitted.message(int(i)) for i in np.flatnonzero(~ok))
    outcome.notes += [
        f"Measurements: {', '.join(f'{n} with sd {sd:g}' for n, sd in case.noise.items())}, {case.points} of each over "
        f"{case.seconds:g} s; noise known; every fit starts at the model's defaults.",
        f"t intervals, which take the likelihood for a parabola, are off by up to {worst['t']:.1f} Monte Carlo errors; EB_LV "
        "and R_VEN_PUL bend.",
        "SciPy: `least_squares` on logarithms of the parameters; LSODA in one process, times the number of cores; CVODES "
        "in C on threads over all cores.",
        *(f"{n} twins are not ok: {message}" for message, n in ends.most_common(3)),
    ]
    return outcome


def _fit(case: Calibration, data: Data, say: Say) -> tuple[Any, Any, float, float]:
    """The problem and its batched fit; its seconds when compiled, and those of the first call."""
    from vht.calibrate import Additive, Free, Measurements, Observable, Problem, calibrate
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5

    def fit(twins: int) -> tuple[Any, Any, float]:
        begin = time.perf_counter()
        points, observables = data.truth.times[1:], data.observables
        measurements = Measurements(
            twin=np.repeat(np.arange(twins), data.values.shape[1]),
            time=np.tile(points, twins * len(observables)),
            observable=np.tile(np.repeat(observables, len(points)), twins),
            value=data.values[:twins].ravel(),
        )
        problem = Problem(
            model=Circulation(),
            free={name: Free(transform="log") for name in data.free},
            observables={name: Observable(name, Additive(sd=case.noise[name])) for name in observables},
            measurements=measurements,
            method=Tsit5(rtol=case.tolerance, atol=case.tolerance),
        )
        fitted = calibrate(problem, backend="lanes")
        return problem, fitted, time.perf_counter() - begin

    *_, warm = fit(case.twins)
    say("lanes ...")
    return *fit(case.twins), warm


def _scipy(case: Calibration, data: Data, rows: list[dict[str, Any]], outcome: Outcome, say: Say) -> None:
    def add(name: str, twins: int, solver: scipy_fits.Solver, threads: int, share: float) -> None:
        say(f"{name} ...")
        begin = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            fits = list(pool.map(lambda i: _one(data, i, solver), range(twins)))
        seconds = time.perf_counter() - begin
        ok = sum(fit.ok for fit in fits)
        rows.append(
            {
                "method": name,
                "twins": twins,
                "ok": ok,
                "seconds": seconds,
                "rate": ok / seconds / share,
                "solves": float(np.mean([fit.solves for fit in fits])),
            }
        )

    twins = min(case.lsoda, case.twins)
    add("SciPy least_squares on LSODA (one process x cores)", twins, scipy_fits.lsoda, 1, 1.0 / cores())
    twins = min(case.cvode, case.twins)
    try:
        cvode.made_with()
    except Unavailable as error:
        outcome.skipped["SciPy least_squares on CVODES"] = str(error)
        return
    add("SciPy least_squares on CVODE in C, differences", twins, scipy_fits.cvode_differences, cores(), 1.0)
    add("SciPy least_squares on CVODES in C, sensitivities", twins, scipy_fits.cvode_sensitivities, cores(), 1.0)


def _one(
    data: Data, twin: int, solver: scipy_fits.Solver, start: Float[np.ndarray, " free"] | None = None
) -> scipy_fits.Fit:
    if start is None:
        start = data.start.parameters[twin, indices(data.free)]
    cohort = data.start.take([twin])
    return scipy_fits.fit(cohort, data.free, data.observables, data.values[twin], data.sd, start, solver)


def _coverage(case: Calibration, data: Data, problem: Any, fitted: Any, ok: np.ndarray) -> list[dict[str, Any]]:
    """How often each level's intervals hold the truth: t intervals, and those of the likelihood's profile."""
    from scipy import special

    from vht.calibrate import likelihood_roots

    truth = data.truth.parameters[:, indices(data.free)]
    # whether a profile interval holds the truth is told by the profile at the truth: one search instead of many
    roots = np.abs(likelihood_roots(problem, fitted, truth, backend="lanes"))[ok]
    truth = truth[ok]
    off = np.median(np.abs(np.asarray(fitted.estimate)[ok] / truth - 1.0), axis=0)
    rows = []
    for level in case.levels:
        lower, upper = (np.asarray(side)[ok] for side in fitted.interval(level))
        inside = {"profile": roots <= special.ndtri(0.5 + 0.5 * level), "t": (lower <= truth) & (truth <= upper)}
        error = float(np.sqrt(level * (1.0 - level) / max(len(truth), 1)))
        rows += [
            {
                "kind": kind,
                "parameter": name,
                "level": level,
                "covered": float(covered[:, k].mean()),
                "error": error,
                "z": (float(covered[:, k].mean()) - level) / error,
                "off": float(off[k]),
            }
            for kind, covered in inside.items()
            for k, name in enumerate(data.free)
        ]
    return rows


def _objectives(case: Calibration, data: Data, fitted: Any, ok: np.ndarray, outcome: Outcome, say: Say) -> None:
    """Count twins whose objective SciPy betters with its best of several starts, both judged by CVODES."""
    what = f"ok twins with a worse objective than SciPy's best of {case.starts} starts"
    try:
        cvode.made_with()
    except Unavailable:
        outcome.targets.append(Target(what, 0.0, None))
        return
    rivals = np.flatnonzero(ok[: case.rivals])
    random = np.random.default_rng([case.seed, 2])
    centre = data.start.parameters[0, indices(data.free)]
    scatter = np.exp(0.4 * random.standard_normal((len(rivals), case.starts, len(centre))))
    scatter[:, 0] = 1.0
    solver = scipy_fits.exact

    def best(r: int) -> float:
        return min(_one(data, int(rivals[r]), solver, centre * scatter[r, s]).objective for s in range(case.starts))

    say(f"SciPy's best of {case.starts} starts for {len(rivals)} twins ...")
    with ThreadPoolExecutor(cores()) as pool:
        theirs = np.array(list(pool.map(best, range(len(rivals)))))
    estimates = np.asarray(fitted.estimate)[rivals]
    ours_cohort = data.start.take(rivals).with_columns({n: estimates[:, k] for k, n in enumerate(data.free)})
    solved = cvode.solve(ours_cohort, rtol=scipy_fits.EXACT, atol=scipy_fits.EXACT)
    residual = (observed(solved.values, data.observables) - data.values[rivals]) / data.sd
    ours = 0.5 * np.sum(residual**2, axis=1)
    worse = ours > theirs + SAME * (1.0 + theirs)
    outcome.targets.append(Target(what, 0.0, float(worse.sum())))
    better, excess = ours < theirs - SAME * (1.0 + theirs), float(np.max(ours - theirs, initial=-np.inf))
    outcome.notes.append(
        f"Objectives of {len(rivals)} ok twins: half the sum of squares, all computed by CVODES at {scipy_fits.EXACT:g}; "
        f"worse than SciPy's best by more than {SAME:g} (relative): {int(worse.sum())}, better by that much: "
        f"{int(better.sum())}; largest excess {excess:.1e}."
    )
