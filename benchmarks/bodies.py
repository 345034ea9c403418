"""Bodies at rest against published normal ranges, and how fast bodies and organs are in lanes and on diffrax."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.bodies_models import REST, Rest
from benchmarks.bodies_speed import speeds
from benchmarks.cases import Bodies
from benchmarks.outcome import Column, Outcome, Say, Table, Target

REST_COLUMNS = (
    Column("body", "body"),
    Column("output", "output"),
    Column("unit", "unit"),
    Column("normal from", "low", ".4g"),
    Column("to", "high", ".4g"),
    Column("5 %", "p5", ".4g"),
    Column("median", "median", ".4g"),
    Column("95 %", "p95", ".4g"),
    Column("within", "within", ".1%"),
    Column("below", "below", ",d"),
    Column("above", "above", ",d"),
    Column("still moving", "moving", ".1e"),
    Column("follows most", "follows"),
)
COHORT_COLUMNS = (
    Column("body", "body"),
    Column("simulated", "simulated"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("all within", "within", ",d"),
    Column("outside in any", "outside_count", ",d"),
    Column("steps", "steps", ",.0f"),
    Column("most steps", "steps_most", ",d"),
    Column("seconds", "seconds", ".3g"),
    Column("twins/s", "rate", ",.0f"),
    Column("compile s", "compile_seconds", ".1f"),
)


def run(case: Bodies, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    from vht.bodies.normal import MEASURED

    outcome = Outcome(
        f"Bodies: {case.twins:,} twins of each, drawn from the priors, at rest; speed of bodies and organs"
    )
    ranges: list[dict[str, Any]] = []
    cohorts: list[dict[str, Any]] = []
    for name in case.bodies or MEASURED:
        if name not in REST:
            outcome.skipped[f"{name} at rest"] = "nobody has said how it comes to rest"
            continue
        found, cohort = _rest(name, REST[name], case, say)
        ranges += found
        cohorts.append(cohort)
        outcome.targets.append(
            Target(f"{name}: share of twins that reach rest", 1.0, cohort["ok"] / cohort["twins"], at_least=True)
        )
    outcome.tables += [
        Table("bodies at rest", COHORT_COLUMNS, cohorts),
        Table("bodies at rest, against published ranges", REST_COLUMNS, ranges),
    ]
    outcome.notes += [
        "At rest: outputs averaged over the last window of each twin's time; the record names every twin that is outside or "
        "failed, with its values. Still moving: 95 % of twins changed by less than this share of the value since the window "
        "before.",
        "Follows most: the parameter with the largest rank correlation with the output over the cohort.",
    ]
    speeds(case, outcome, say)
    return outcome


def _rest(name: str, rest: Rest, case: Bodies, say: Say) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from vht import Twins
    from vht.bodies.normal import MEASURED, NORMAL, normal
    from vht.library import model as shipped
    from vht.solve import Rodas5P, simulate

    body = shipped(name)()
    twins = Twins.sample(body, case.twins, seed=case.seed)
    span, window = rest.span * case.share, rest.window * case.share
    each = max(2, round(window / rest.every) + 1)
    # two windows, one after the other
    times = np.concatenate([np.linspace(span - (k + 1) * window, span - k * window, each) for k in (1, 0)])
    outputs = tuple(MEASURED[name])

    def solve(times: Float[np.ndarray, " saves"]) -> Any:
        method = Rodas5P(rtol=rest.rtol, atol=rest.atol, max_steps=10_000_000)
        return simulate(body, times, twins=twins, observe=outputs, method=method)

    say(f"{name}: compiling ...")
    begin = time.perf_counter()
    solve(times * 1e-9)
    compiled = time.perf_counter() - begin
    say(f"{name}: {span:g} {body.time} of {len(twins):,} twins ...")
    begin = time.perf_counter()
    solved = solve(times)
    seconds = time.perf_counter() - begin
    say(f"{name}: ranges ...")
    before, last = (
        {k: np.asarray(v)[:, part].mean(axis=1) for k, v in solved.values.items()} for part in _halves(each)
    )
    inside, ok = normal(name, last), np.asarray(solved.ok)
    rows = []
    for output, quantity in MEASURED[name].items():
        expected, value = NORMAL[quantity], last[output]
        good = value[ok]
        p5, median, p95 = np.quantile(good, (0.05, 0.5, 0.95)) if good.size else (np.nan,) * 3
        moved = np.abs(good - before[output][ok]) / np.maximum(np.abs(good), 1e-12)
        follows, strength = _follows(good, {k: v[ok] for k, v in twins.columns.items()})
        rows.append(
            {
                "body": name,
                "output": output,
                "quantity": quantity,
                "unit": expected.unit,
                "low": expected.low,
                "high": expected.high,
                "source": expected.source,
                "p5": float(p5),
                "median": float(median),
                "p95": float(p95),
                "within": float(inside[output].mean()),
                "below": int((good < expected.low).sum()),
                "above": int((good > expected.high).sum()),
                "moving": float(np.quantile(moved, 0.95)) if good.size else None,
                "follows": f"{follows} ({strength:+.2f})" if follows else "",
            }
        )
    within = np.all(list(inside.values()), axis=0)
    outside = {
        twins.names[i]: ", ".join(f"{k} {last[k][i]:.4g}" for k, good in inside.items() if not good[i])
        for i in np.flatnonzero(ok & ~within)
    }
    failed = {
        failure.name: {
            "status": failure.status,
            "message": failure.message,
            "parameters": {k: float(v[failure.index]) for k, v in twins.columns.items()},
        }
        for failure in solved.failures()
    }
    return rows, {
        "body": name,
        "simulated": f"{span:g} {body.time}, the last {window:g} averaged",
        "rtol": rest.rtol,
        "atol": rest.atol,
        "twins": len(twins),
        "ok": int(ok.sum()),
        "within": int(within.sum()),
        "outside_count": len(outside),
        "steps": float(np.median(solved.steps)),
        "steps_most": int(np.max(solved.steps)),
        "seconds": seconds,
        "rate": float(ok.sum() / seconds),
        "compile_seconds": compiled,
        "outside": outside,
        "failed": failed,
    }


def _halves(each: int) -> tuple[slice, slice]:
    return slice(0, each), slice(each, None)


def _follows(values: Float[np.ndarray, " twins"], columns: dict[str, Float[np.ndarray, " twins"]]) -> tuple[str, float]:
    """The parameter whose rank goes most with the output's, and Spearman's correlation."""
    best, most = "", 0.0
    if len(values) < 3:
        return best, most
    ranks = _ranks(values)
    for name, column in columns.items():
        if np.ptp(column) > 0.0 and np.ptp(values) > 0.0:
            found = float(np.corrcoef(ranks, _ranks(column))[0, 1])
            if abs(found) > abs(most):
                best, most = name, found
    return best, most


def _ranks(values: Float[np.ndarray, " twins"]) -> Float[np.ndarray, " twins"]:
    return np.argsort(np.argsort(values)).astype(np.float64)
