"""One model and one method against hostile twins, in a process of its own: what it prints outlives it if it dies.

``python -m benchmarks.hostile_child JOB`` with a `Job` as JSON; prints a line of JSON when something begins and when it ends.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from benchmarks.hostile_draws import Draws, draw, mended, without_schedule
from benchmarks.hostile_models import Subject, subjects
from vht.errors import ModelError
from vht.model import parameters, states
from vht.solve import (
    Auto,
    FixedPoint,
    FixedPointStatus,
    Method,
    Rodas5P,
    RushLarsen,
    Status,
    Trajectory,
    Tsit5,
    periodic_state,
    simulate,
    simulate_with_jacobian,
    steady_state,
)

# relative tolerances, a slice each in turn; the third is beyond what float64 can do
RTOLS = (1e-6, 1e-3, 1e-15, 1e-9)
STEPS = (0.01, 1e-9, 0.3)
MOST_PERIODS, MOST_ITERATIONS, ROUNDS = 20, 30, 5
EXAMPLES = 5
# parameters and states beyond this may overflow in outputs that are finite without them
EXTREME = 1e100


@dataclass(frozen=True)
class Job:
    """What a process does.

    Attributes:
        model: by name.
        method: as told in the table.
        what: "values", "jacobian", "steady" or "periodic", each on slices of its own.
        slices: of each.
        twins: in a slice.
        max_steps: budget of a twin.
        seed: of everything.
        first: number of the first slice, to do one of them again.
    """

    model: str
    method: str
    what: tuple[str, ...]
    slices: int
    twins: int
    max_steps: int
    seed: int
    first: int = 0


def method_of(name: str, k: int, max_steps: int, span: float) -> Method:
    """The method of a slice: other settings in each, of one program."""
    rtol = RTOLS[k % len(RTOLS)]
    tolerances: dict[str, Any] = {"rtol": rtol, "atol": 1e-3 * rtol, "max_steps": max_steps}
    if k % 5 == 3:
        tolerances |= {"first_step": 1e300, "max_step": 0.1 * span}
    if k % 7 == 5:
        tolerances |= {"first_step": 1e-300}
    fixed = {"step": STEPS[k % len(STEPS)] * span, "max_steps": max_steps}
    match name:
        case "Tsit5":
            return Tsit5(**tolerances)
        case "Tsit5, float32":
            return Tsit5(**tolerances, dtype="float32")
        case "Tsit5, fixed steps":
            return Tsit5(**fixed)
        case "Rodas5P":
            return Rodas5P(**tolerances)
        case "Rodas5P, float32":
            return Rodas5P(**tolerances, dtype="float32")
        case "RushLarsen":
            return RushLarsen(**tolerances)
        case "RushLarsen, fixed steps":
            return RushLarsen(**fixed)
        case "Auto":
            return Auto(rtol=rtol, atol=1e-3 * rtol, max_steps=max_steps)
    raise ValueError(f"There is no method {name!r}.")


# ------------------------------------------------------------------------------------------------------------ checks


def _equal(a: Any, b: Any) -> np.ndarray:
    """Per twin, whether everything is the same to the last bit; NaN is NaN."""
    found = True
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        same = (x == y) & (np.signbit(x) == np.signbit(y)) | ((x != x) & (y != y))
        found = found & same.reshape((len(x), -1)).all(axis=1)
    return np.asarray(found)


def check_trajectory(
    found: Trajectory, slopes: dict[str, Any], draws: Draws, names: list[str], budget: int
) -> dict[str, np.ndarray]:
    """What must not be, and which twins it is true of.

    Args:
        found: values and statuses.
        slopes: the Jacobian by name, or nothing.
        draws: the twins; saves at infinity are none.
        names: of the states; the other values are outputs.
        budget: of steps.
    """
    status, steps, ok = np.asarray(found.status), np.asarray(found.steps), np.asarray(found.ok)
    saves = np.isfinite(draws.times)
    table = np.stack([found.values[name] for name in names], axis=-1)
    number = ~np.isnan(table)
    come_back = (number[:, 1:] & ~number[:, :-1]).any(axis=(1, 2))
    torn = (number.any(axis=2) != number.all(axis=2)).any(axis=1)
    last = number[np.arange(len(ok)), np.maximum(saves.sum(axis=1) - 1, 0)].all(axis=-1) & saves.any(axis=1)
    wrong = {
        "no status": ~np.isin(status, [int(s) for s in Status]),
        "more steps than the budget": (steps > budget) | (steps < 0) | (found.rejected > steps),
        "ok, but a state is not finite": ok & (~np.isfinite(table) & saves[..., None]).any(axis=(1, 2)),
        "values after the last save": (number & ~saves[..., None]).any(axis=(1, 2)),
        "failed, but numbers come back": ~ok & come_back,
        "failed, but the last state is a number": ~ok & last,
        "failed, with some states NaN and others numbers": ~ok & torn,
        "failed, with an infinite state": ~ok & np.isinf(table).any(axis=(1, 2)),
    }
    others = [np.asarray(value) for name, value in found.values.items() if name not in names]
    if others:
        outputs = np.stack(others, axis=-1)
        bad = np.logical_not(np.isfinite(outputs)) & saves[..., None]
        # where all saves are at the start nothing is solved, and an output may be a finite state times an infinite parameter,
        # or the cube of a state that steps without error test have let grow: that is what the model says of them
        usual = np.max(np.abs(list(draws.parameters.values())), axis=0) < EXTREME
        usual &= np.max(np.abs(table), axis=(1, 2), where=number, initial=0.0) < EXTREME
        wrong["ok, but an output is not finite"] = ok & (steps > 0) & usual & bad.any(axis=(1, 2))
        wrong["failed, but outputs where there are no states"] = ~ok & (
            ~np.isnan(outputs) & ~np.asarray(number.all(axis=2))[..., None]
        ).any(axis=(1, 2))
    if slopes:
        own = np.stack([slopes[name] for name in names], axis=2)
        wrong["ok, but a derivative of a state is not finite"] = ok & (~np.isfinite(own) & saves[:, :, None, None]).any(
            axis=(1, 2, 3)
        )
        wrong["derivatives where there are no states"] = (~np.isnan(own) & ~number[..., None]).any(axis=(1, 2, 3))
    for count in found.events.values():
        wrong["events counted below zero"] = wrong.get("events counted below zero", np.zeros_like(ok)) | (count < 0)
    return wrong


def check_fixed_point(found: FixedPoint, budget: int, most: int) -> dict[str, Any]:
    """The same for a steady or periodic state.

    Args:
        found: values and statuses.
        budget: of steps, all simulations together.
        most: iterations.
    """
    status, ok = np.asarray(found.status), np.asarray(found.ok)
    kinds = {label.name: label.kind for label in found.labels}
    table = np.stack([v for name, v in found.values.items() if kinds[name] == "state"], axis=-1)
    return {
        "no status": ~np.isin(status, [int(s) for s in FixedPointStatus]),
        "more steps than the budget": (found.steps > budget) | (found.steps < 0),
        "more iterations than the budget": (found.iterations > most) | (found.iterations < 0),
        "ok, but a state is not finite": ok & ~np.isfinite(table).all(axis=-1),
        "failed, but a value is a number": ~ok & ~np.isnan(table).all(axis=-1),
    }


# ------------------------------------------------------------------------------------------------------------- solves


def trajectory(subject: Subject, draws: Draws, method: Method, jacobian: bool) -> tuple[Trajectory, dict[str, Any]]:
    """The solve of a slice; of a Jacobian's twins most states begin where the model says."""
    names = list(states(subject.model))
    settings: dict[str, Any] = {
        "twins": draws.parameters,
        "start": draws.start,
        "schedule": draws.schedule,
        "method": method,
        "backend": "lanes",
    }
    if not jacobian:
        return simulate(subject.model(), draws.times, initial=draws.initial, **settings), {}
    free = [*list(parameters(subject.model))[:2], f"initial.{names[0]}"]
    initial = {names[0]: draws.initial[names[0]]}
    return simulate_with_jacobian(subject.model(), draws.times, free=free, initial=initial, **settings)


def _solve(job: Job, what: str, k: int, subject: Subject, draws: Draws) -> tuple[Any, dict[str, np.ndarray]]:
    """Everything that is compared, and what is wrong with it."""
    method = method_of(job.method, k, job.max_steps, subject.span)
    names = list(states(subject.model))
    if what in ("values", "jacobian"):
        found, slopes = trajectory(subject, draws, method, what == "jacobian")
        wrong = check_trajectory(found, slopes, draws, names, job.max_steps)
        return (found, slopes), wrong
    settings: dict[str, Any] = {"twins": draws.parameters, "initial": draws.initial, "method": method}
    if what == "steady":
        found = steady_state(
            subject.model(), inputs=without_schedule(draws), max_iterations=MOST_ITERATIONS, **settings
        )
        # Newton's iterations begin again after each integration
        return found, check_fixed_point(found, ROUNDS * job.max_steps, (ROUNDS + 1) * MOST_ITERATIONS)
    found = periodic_state(
        subject.model(), _period(subject, draws), schedule=_signals(draws), max_periods=MOST_PERIODS, **settings
    )
    return found, check_fixed_point(found, MOST_PERIODS * job.max_steps, MOST_PERIODS)


def _period(subject: Subject, draws: Draws) -> Any:
    if isinstance(subject.period, str):
        return subject.period
    # as odd as the parameters, which a period that is none must not be
    share = np.abs(draws.parameters[min(draws.parameters)])
    return subject.period * np.where((share > 0.0) & np.isfinite(share), np.clip(share, 1e-300, 1e300), 1.0)


def _signals(draws: Draws) -> Any:
    return dataclasses.replace(draws.schedule, doses={})


def run(job: Job) -> None:
    """Solve and check, slice after slice."""
    subject = subjects()[job.model]
    for what in job.what:
        for k in range(job.first, job.first + job.slices):
            _tell(begins=what, slice=k)
            draws = draw(subject, job.twins, [job.seed, k, sum(map(ord, job.model + job.method + what))])
            begin = time.perf_counter()
            try:
                found, wrong = _solve(job, what, k, subject, draws)
            except ModelError as error:
                if what not in ("steady", "periodic"):
                    raise
                _tell(ends=what, slice=k, refused=str(error))
                break
            first = time.perf_counter() - begin
            if k == job.first:
                # what was compiled does not count
                begin = time.perf_counter()
                found, _ = _solve(job, what, k, subject, draws)
            seconds = time.perf_counter() - begin
            if job.method != "Auto":  # chooses by some of the twins
                healthy, same_size = np.flatnonzero(draws.healthy), what in ("steady", "periodic")
                # XLA's linear algebra, in fixed points, rounds by the number of twins: there others take their places
                others = mended(draws) if same_size else draws.rows(healthy)
                alone, _ = _solve(job, what, k, subject, others)
                differs = np.zeros(len(draws), bool)
                differs[healthy] = ~_equal(
                    _rows(_plain(found), healthy), _rows(_plain(alone), healthy if same_size else slice(None))
                )
                wrong["healthy, but other numbers than without the others"] = differs
            result = found[0] if isinstance(found, tuple) else found
            labels = FixedPointStatus if isinstance(result, FixedPoint) else Status
            known = {int(s): s.label for s in labels}
            status = np.asarray(result.status)
            _tell(
                ends=what,
                slice=k,
                draws=len(draws),
                seconds=seconds,
                first_seconds=first,
                most_steps=int(np.max(result.steps)),
                status=Counter(known.get(int(s), "none") for s in status),
                healthy_ok=int(np.asarray(result.ok)[draws.healthy].sum()),
                healthy=int(draws.healthy.sum()),
                wrong={name: int(rows.sum()) for name, rows in wrong.items()},
                examples={name: np.flatnonzero(rows)[:EXAMPLES].tolist() for name, rows in wrong.items() if rows.any()},
            )


def _plain(found: Any) -> Any:
    """All that is per twin."""

    def of(result: Trajectory | FixedPoint) -> Any:
        names = ("steps", "rejected", "culprit", "events") if isinstance(result, Trajectory) else ("residual",)
        return result.values, result.status, [getattr(result, name) for name in names]

    return (of(found[0]), found[1]) if isinstance(found, tuple) else of(found)


def _rows(tables: Any, which: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[which], tables)


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    given = json.loads(sys.argv[1])
    run(Job(**given | {"what": tuple(given["what"])}))
