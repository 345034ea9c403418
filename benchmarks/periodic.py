"""Periodic states of the circulation by Newton's method and by pacing, and their derivatives beside those of 200 beats."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.cases import Periodic
from benchmarks.measure import measure
from benchmarks.outcome import Column, Outcome, Say, Table, Target

# of the beat that verifies: shows how large the states become
_LOOKS = np.linspace(0.0, 1.0, 33)
_TIGHT = 1e-12

COLUMNS = (
    Column("method", "method"),
    Column("twins", "twins", ",d"),
    Column("ok", "ok", ",d"),
    Column("beats, mean", "beats_mean", ".1f"),
    Column("most", "beats_most", ",d"),
    Column("... with sensitivities", "jacobians_mean", ".2f"),
    Column("residual at 1e-12, median", "residual_median", ".1e"),
    Column("largest", "residual_most", ".1e"),
    Column("seconds", "seconds", ".2f"),
    Column("compile s", "compile_seconds", ".1f"),
)
GRADIENT_COLUMNS = (
    Column("rtol", "rtol", ".0e"),
    Column("parameter", "parameter"),
    Column("median error / rtol", "median", ".2g"),
    Column("99 % error / rtol", "most", ".2g"),
    Column("largest error / rtol", "largest", ".2g"),
    Column("ok", "ok", ",d"),
    Column("seconds", "seconds", ".2f"),
)


@dataclass(frozen=True, eq=False)
class Paced:
    """Beats simulated one after another until a state comes back.

    Attributes:
        x: the states at the beginning of the last beat.
        ok: which twins came back within the most beats.
        beats: simulated.
    """

    x: Float[np.ndarray, "twins states"]
    ok: Bool[np.ndarray, " twins"]
    beats: Int[np.ndarray, " twins"]


def run(case: Periodic, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    from vht.model import Twins, states
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5, periodic_state

    outcome = Outcome(
        f"Periodic state of {case.twins:,} random circulation twins to {case.tolerance:g}, and its derivatives with respect to "
        f"{len(case.free)} parameters"
    )
    model, names = Circulation(), tuple(states(Circulation))
    twins = Twins.sample(model, case.twins, seed=case.seed)
    method = Tsit5(rtol=case.rtol, atol=case.rtol)

    say("Newton ...")
    newton = measure(lambda: periodic_state(model, "T_HB", twins=twins, method=method), case.repeats)
    found = newton.result
    x = np.stack([found.values[name] for name in names], axis=-1)
    ok = np.asarray(found.ok)
    say("verifying ...")
    residuals = _residuals(x, twins, names)[ok]
    rows = [
        {
            "method": "Newton, periodic_state",
            "twins": case.twins,
            "ok": int(ok.sum()),
            "beats_mean": float(np.mean(found.iterations)),
            "beats_most": int(np.max(found.iterations)),
            "jacobians_mean": float(np.mean(found.jacobians)),
            "residual_median": float(np.median(residuals)),
            "residual_most": float(np.max(residuals)),
            "seconds": newton.median,
            "compile_seconds": newton.compile_seconds,
        }
    ]
    # the same tolerances as the periods that periodic_state simulates
    say("pacing ...")
    begin = time.perf_counter()
    paced = _pace(twins, names, case)
    seconds = time.perf_counter() - begin
    say("verifying ...")
    residuals = _residuals(paced.x, twins, names)[paced.ok]
    rows.append(
        {
            "method": "pacing, beat after beat",
            "twins": case.twins,
            "ok": int(paced.ok.sum()),
            "beats_mean": float(np.mean(paced.beats)),
            "beats_most": int(np.max(paced.beats)),
            "jacobians_mean": 0.0,
            "residual_median": float(np.median(residuals)),
            "residual_most": float(np.max(residuals)),
            "seconds": seconds,
            "compile_seconds": None,
        }
    )
    both = ok & paced.ok
    apart = np.max(np.abs(x - paced.x)[both] / np.max(np.abs(x), axis=0), axis=1)
    outcome.tables.append(Table("periodic states", COLUMNS, rows))

    gradients = _gradients(case, say)
    outcome.tables.append(Table("derivatives", GRADIENT_COLUMNS, gradients))
    outcome.targets += [
        Target("share of twins with a periodic state", 1.0, float(np.mean(ok)), at_least=True),
        Target("largest residual at 1e-12", case.tolerance, rows[0]["residual_most"]),
        Target(
            "beats of pacing over those of Newton, sensitivities' beats counted, mean",
            5.0,
            rows[1]["beats_mean"] / rows[0]["beats_mean"],
            at_least=True,
            unit="x",
        ),
        *(
            Target(f"largest error of a derivative over rtol, rtol {row['rtol']:g}", 10.0, row["largest"])
            for row in gradients
            if row["parameter"] == "all"
        ),
    ]
    outcome.notes += [
        f"Residual: one beat more, simulated at {_TIGHT:g}; the change of each state over it as a share of the largest "
        "magnitude that this state has in it, the largest of the 12 states.",
        f"Newton: `periodic_state` at rtol = atol = {case.rtol:g}. "
        "Pacing: beats by `simulate` from the model's initial state, at the tolerances with which `periodic_state` simulates, "
        f"until the change over a beat is within {case.tolerance:g} (same measure), at most {case.most_beats}; twins that are "
        f"done are not simulated any more. Its states and Newton's are {np.max(apart):.1e} apart at most (median "
        f"{np.median(apart):.1e}), as shares of each state's largest value among the twins.",
        f"Time of pacing over that of Newton: {seconds / newton.median:.1f}; a beat with sensitivities to 12 initial states "
        "takes as long as several without.",
        f"Derivatives: of all 12 states at the beginning of a beat, {case.gradient_twins} twins, against sensitivities of "
        f"{case.beats} paced beats at 1e-10. Errors as a share of the largest reference value over the last beat, for each "
        "twin, state and parameter.",
    ]
    return outcome


def _residuals(x: Float[np.ndarray, "twins states"], twins: Any, names: tuple[str, ...]) -> Float[np.ndarray, " twins"]:
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5, simulate

    times = _LOOKS[None, :] * twins.columns["T_HB"][:, None]
    initial = {name: x[:, i] for i, name in enumerate(names)}
    method = Tsit5(rtol=_TIGHT, atol=_TIGHT)
    solved = simulate(Circulation(), times, twins=twins, initial=initial, observe=names, method=method)
    values = np.stack([solved.values[name] for name in names], axis=-1)
    return np.max(np.abs(values[:, -1] - values[:, 0]) / np.max(np.abs(values), axis=1), axis=1)


def _pace(twins: Any, names: tuple[str, ...], case: Periodic) -> Paced:
    from vht.model import initial_state
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5, simulate
    from vht.solve.periodic import SHARE

    model, n, period = Circulation(), len(twins), twins.columns["T_HB"]
    method = Tsit5(rtol=SHARE * case.rtol, atol=SHARE * case.rtol)
    begin = initial_state(model)
    x = np.tile([float(getattr(begin, name)) for name in names], (n, 1))
    done, beats = np.zeros(n, bool), np.zeros(n, np.int64)
    for _ in range(case.most_beats):
        # twins that go on stand next to each other, so that those that are done take no time
        order = np.argsort(done, kind="stable")
        times = np.where(done[order, None], np.inf, _LOOKS[None, 2::2] * period[order, None])
        columns = {name: column[order] for name, column in twins.columns.items()}
        initial = {name: x[order, i] for i, name in enumerate(names)}
        solved = simulate(model, times, twins=columns, initial=initial, observe=names, method=method)
        values = np.empty((n, times.shape[1], len(names)))
        values[order] = np.stack([solved.values[name] for name in names], axis=-1)
        beats += ~done
        end = values[:, -1]
        size = np.maximum(np.abs(x), np.max(np.abs(values), axis=1))
        back = ~done & (np.max(np.abs(end - x) / size, axis=1) <= case.tolerance)
        x = np.where((done | back)[:, None], x, end)
        done |= back
        if done.all():
            break
    return Paced(x, done, beats)


def _gradients(case: Periodic, say: Say) -> list[dict[str, Any]]:
    import jax
    import jax.numpy as jnp

    from vht.model import Twins, states
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5, periodic_state, simulate_with_jacobian

    model, names = Circulation(), tuple(states(Circulation))
    twins = Twins.sample(model, case.gradient_twins, seed=case.seed)
    say(f"derivatives of {case.beats} paced beats ...")
    times = (case.beats - 1 + np.linspace(0.0, 1.0, 9))[None, :] * twins.columns["T_HB"][:, None]
    _, slopes = simulate_with_jacobian(
        model,
        times,
        free=case.free,
        twins=twins,
        observe=names,
        method=Tsit5(rtol=1e-10, atol=1e-10, max_steps=10_000_000),
    )
    reference = np.stack([slopes[name] for name in names], axis=2)
    size = np.max(np.abs(reference), axis=1)

    rows: list[dict[str, Any]] = []
    for rtol in case.rtols:
        say(f"derivatives of periodic states at {rtol:g} ...")
        method = Tsit5(rtol=rtol, atol=rtol)

        def values(shift: Any, method: Any = method) -> tuple[Any, Any]:
            moved = {name: shift[k] for k, name in enumerate(case.free)}
            columns = {name: jnp.asarray(column) + moved.get(name, 0.0) for name, column in twins.columns.items()}
            found = periodic_state(model, "T_HB", twins=columns, observe=names, method=method)
            return jnp.stack([found.values[name] for name in names], axis=1), found.status

        def jacobian(values: Any = values) -> tuple[np.ndarray, np.ndarray]:
            found, status = jax.jacfwd(values, has_aux=True)(jnp.zeros(len(case.free)))
            return np.asarray(found), np.asarray(status)

        found = measure(jacobian, 1)
        mine, status = found.result
        ok = status == 0
        errors = (np.abs(mine - reference[:, -1]) / size)[ok] / rtol
        for k, name in enumerate((*case.free, "all")):
            one = errors[..., k] if name != "all" else errors
            rows.append(
                {
                    "rtol": rtol,
                    "parameter": name,
                    "median": float(np.median(one)),
                    "most": float(np.quantile(one, 0.99)),
                    "largest": float(np.max(one)) if ok.all() else float("inf"),
                    "ok": int(ok.sum()),
                    "seconds": found.median,
                }
            )
    return rows
