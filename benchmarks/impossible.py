"""A cohort in which one twin in a hundred cannot live: what becomes of it, of the others, and of the time."""

from __future__ import annotations

import statistics
import time
from collections import Counter

import numpy as np

from benchmarks.cases import Impossible
from benchmarks.cohort import Cohort, circulation_cohort
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import vht_lanes

# what is done to the impossible ones, in turns
HARM: tuple[tuple[str, str, float], ...] = (
    ("negative compliance", "C_AR_SYS", -1.2),
    ("NaN", "EA_LV", float("nan")),
    ("1e30", "EA_LV", 1e30),
    ("1e30", "R_AR_SYS", 1e30),
    ("negative compliance", "C_VEN_PUL", -16.0),
    ("infinity", "EB_RV", float("inf")),
    ("zero period", "T_HB", 0.0),
    ("negative elastance", "EB_LV", -1e3),
)


def run(case: Impossible, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    from vht.solve import Status

    cohort = circulation_cohort(case.twins, np.linspace(0.0, case.seconds, case.saves), seed=case.seed)
    harmed = np.sort(np.random.default_rng(case.seed).choice(case.twins, round(case.share * case.twins), replace=False))
    outcome = Outcome(f"{case.twins:,} circulation twins, {len(harmed)} of them impossible, {case.seconds:g} s")
    with_them = _harm(cohort, harmed)
    healthy = np.setdiff1d(np.arange(case.twins), harmed)
    without = with_them.take(healthy)

    def solve(some: Cohort) -> vht_lanes.Solved:
        return vht_lanes.solve(some, rtol=case.tolerance, atol=case.tolerance)

    say("compiling ...")
    mixed, pure = solve(with_them), solve(without)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    runs = [("with", with_them), ("without", without)]
    for repeat in range(case.repeats):
        say(f"repeat {repeat + 1} of {case.repeats} ...")
        # in turns, and not always the same one first, so that what else the machine does hits both alike
        for name, some in runs if repeat % 2 else runs[::-1]:
            begin = time.perf_counter()
            solve(some)
            seconds[name].append(time.perf_counter() - begin)
    ratio = statistics.median(a / b for a, b in zip(seconds["with"], seconds["without"], strict=True))

    rows = []
    for k, (what, parameter, value) in enumerate(HARM):
        those = harmed[k :: len(HARM)]
        ends = Counter(Status(int(s)).label for s in mixed.status[those])
        told = ", ".join(f"{n} {label}" for label, n in ends.most_common())
        steps = int(mixed.steps[those].max()) if those.size else 0
        rows.append({"what": f"{what}: {parameter} = {value:g}", "twins": len(those), "status": told, "steps": steps})
    rows.append(
        {
            "what": "possible",
            "twins": len(healthy),
            "status": ", ".join(f"{n} {Status(int(s)).label}" for s, n in Counter(mixed.status[healthy]).most_common()),
            "steps": int(mixed.steps[healthy].max()),
        }
    )
    columns = (
        Column("twins", "what"),
        Column("number", "twins", "d"),
        Column("status", "status"),
        Column("steps", "steps", ",d"),
    )
    outcome.tables.append(Table("impossible", columns, rows))
    outcome.tables.append(
        Table(
            "impossible, seconds",
            (Column("run", "run"), Column("twins", "twins", ",d"), Column("median seconds", "seconds", ".3g")),
            [
                {"run": name, "twins": len(some), "seconds": statistics.median(seconds[name]), "all": seconds[name]}
                for name, some in runs
            ],
        )
    )
    unequal = int((mixed.values[healthy].view(np.int64) != pure.values.view(np.int64)).any(axis=(1, 2)).sum())
    hollow = (mixed.ok[harmed] & ~np.isfinite(mixed.values[harmed]).all(axis=(1, 2))).sum()
    outcome.targets += [
        Target("impossible twins that ended as ok with a value that is not finite", 0.0, float(hollow)),
        Target("possible twins that did not end as ok", 0.0, float((~mixed.ok[healthy]).sum())),
        Target("possible twins not bit-equal to a run without the others", 0.0, float(unequal)),
        Target("time with them over time without them", 1.10, ratio, unit="x"),
    ]
    outcome.notes.append(
        f"The time ratio is the median over {case.repeats} pairs of runs; the run with them also has {len(harmed)} twins more."
    )
    solvable = int(mixed.ok[harmed].sum())
    outcome.notes.append(
        f"{solvable} impossible twins ended as ok: a body with such a number cannot live, but its equations have a solution, "
        "which is finite and held to the tolerance."
    )
    return outcome


def _harm(cohort: Cohort, harmed: np.ndarray) -> Cohort:
    columns = {}
    for k, (_, parameter, value) in enumerate(HARM):
        column = columns.get(parameter, cohort.column(parameter)).copy()
        column[harmed[k :: len(HARM)]] = value
        columns[parameter] = column
    return cohort.with_columns(columns)
