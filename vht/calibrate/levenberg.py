"""Levenberg-Marquardt for many small problems at once: each lane has its own damping, and leaves when it is done.

The objective is any smooth function with a positive semi-definite stand-in for its Hessian (Gauss-Newton, Fisher information).
Damping follows Nielsen (1999, "Damping parameter in Marquardt's method"), on the Hessian scaled to a unit diagonal, so that
the search does not depend on units. Hard limits are kept by projection: a parameter at a limit that the gradient presses
against is held there until the gradient turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Lanes = Float[np.ndarray, " lanes"]


class Evaluation(NamedTuple):
    """The objective at one place of each lane.

    Attributes:
        objective: its value.
        gradient: its gradient.
        hessian: a positive semi-definite stand-in for its Hessian.
        ok: whether the lane could be evaluated; the rest may hold anything where not.
        extras: further arrays by name, leading axis lanes, kept for each lane's current place.
    """

    objective: Float[np.ndarray, " lanes"]
    gradient: Float[np.ndarray, "lanes parameters"]
    hessian: Float[np.ndarray, "lanes parameters parameters"]
    ok: Bool[np.ndarray, " lanes"]
    extras: dict[str, np.ndarray]


Evaluate = Callable[[Float[np.ndarray, "some parameters"], Int[np.ndarray, " some"]], Evaluation]


class Outcome(IntEnum):
    """How a lane's search ended."""

    RUNNING = 0
    CONVERGED = 1
    STALLED = 2
    ITERATIONS = 3
    START_FAILED = 4


@dataclass
class Minimum:
    """Where each lane ended.

    Attributes:
        place: the parameters on the search scale.
        objective, gradient, hessian: the objective there.
        held: parameters that ended held at a limit.
        distance: how far the minimum still is, in standard errors, by the quadratic model.
        outcome: how the search ended.
        iterations: trial points evaluated.
        extras: the evaluation's further arrays at that place.
    """

    place: Float[np.ndarray, "lanes parameters"]
    objective: Lanes
    gradient: Float[np.ndarray, "lanes parameters"]
    hessian: Float[np.ndarray, "lanes parameters parameters"]
    held: Bool[np.ndarray, "lanes parameters"]
    distance: Lanes
    outcome: Int[np.ndarray, " lanes"]
    iterations: Int[np.ndarray, " lanes"]
    extras: dict[str, np.ndarray]


@dataclass(frozen=True)
class Search:
    """Settings of the search.

    Attributes:
        max_iterations: most trial points of a lane.
        tolerance: a lane is done when its minimum is nearer than this many standard errors.
        damping: damping of the first step, relative to a unit-diagonal Hessian.
        max_change: largest change of a parameter in one step where `relative`, in units of the search scale.
    """

    max_iterations: int
    tolerance: float
    damping: float
    max_change: float


STEP = 1e-10  # a Newton step this small, relative to the parameter, is rounding
NEAR = 1e-2  # within this many standard errors, a search that cannot go on has met the objective's own noise
POLISH = 1e-4  # below this predicted gain of log-likelihood the gradient decides, not differences of the objective
FLAT = 1e-10
RANK = 1e-13


class _Model(NamedTuple):
    """The quadratic model of each lane, in the eigenbasis of its unit-diagonal Hessian."""

    values: np.ndarray
    vectors: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    held: np.ndarray
    distance: np.ndarray
    newton: np.ndarray


def minimise(
    evaluate: Evaluate,
    start: Float[np.ndarray, "lanes parameters"],
    lower: Float[np.ndarray, "lanes parameters"],
    upper: Float[np.ndarray, "lanes parameters"],
    relative: Bool[np.ndarray, " parameters"],
    search: Search,
    report: Callable[[int], None] | None = None,
) -> Minimum:
    """Minimise every lane's objective.

    Args:
        evaluate: ``(places, lane numbers) -> Evaluation`` of some lanes.
        start: where each lane starts, within its limits.
        lower: lower limits, may be minus infinity.
        upper: upper limits.
        relative: which parameters' search scale has a unit of its own (log, logit).
        search: settings.
        report: called after every round with the number of lanes done.

    Returns:
        Where each lane ended; a lane whose start cannot be evaluated ends there.
    """
    lanes, free = start.shape
    place = np.clip(start, lower, upper)
    outcome = np.full(lanes, Outcome.RUNNING, int)
    iterations = np.zeros(lanes, int)
    damping = np.full(lanes, search.damping)
    growth = np.full(lanes, 2.0)
    rejected = np.zeros(lanes, int)
    flat = np.zeros(lanes, int)
    secant = np.zeros((lanes, free, free))

    everyone = np.arange(lanes)
    now = _checked(evaluate, place, everyone)
    outcome[~now.ok] = Outcome.START_FAILED
    objective, gradient, hessian = now.objective, _clean(now.gradient, now.ok), _clean(now.hessian, now.ok)
    extras = {name: array.copy() for name, array in now.extras.items()}
    model = _model(place, gradient, hessian, lower, upper)
    curvature = hessian.copy()

    def converged(at: _Model, where: np.ndarray) -> np.ndarray:
        unit = np.where(relative, 1.0, 0.0) + np.abs(where)
        return (at.distance <= search.tolerance) | (np.abs(at.newton) <= STEP * unit).all(axis=1)

    outcome[(outcome == Outcome.RUNNING) & converged(model, place)] = Outcome.CONVERGED
    if report:
        report(int((outcome != Outcome.RUNNING).sum()))

    while True:
        active = np.flatnonzero(outcome == Outcome.RUNNING)
        if active.size == 0:
            break
        here = _Model(*(part[active] for part in model))
        step = -_to_search(here, here.slope / (here.values + damping[active, None]))
        longest = np.where(relative, np.abs(step), 0.0).max(axis=1, initial=0.0)
        step *= np.minimum(1.0, search.max_change / np.maximum(longest, search.max_change))[:, None]
        trial = np.clip(place[active] + step, lower[active], upper[active])
        step = trial - place[active]
        bend = _times(curvature[active], step)
        predicted = -((gradient[active] + 0.5 * bend) * np.where(here.held, 0.0, step)).sum(axis=1)

        there = _checked(evaluate, trial, active)
        iterations[active] += 1
        new_gradient, new_hessian = _clean(there.gradient, there.ok), _clean(there.hessian, there.ok)
        change = new_gradient - gradient[active]
        missed = change - _times(hessian[active], step)
        missed_less = missed - _times(secant[active], step)
        better = np.linalg.norm(missed_less / here.scale, axis=1) < 0.5 * np.linalg.norm(missed / here.scale, axis=1)
        new_secant = _secant(secant[active], step, change, new_hessian)
        new_model, new_curvature = _best_model(
            trial, new_gradient, new_hessian, new_secant, better, lower[active], upper[active]
        )
        actual = np.where(there.ok, objective[active] - np.where(there.ok, there.objective, 0.0), -np.inf)
        ratio = actual / np.where(predicted > 0, predicted, 1.0)
        level = 1.0 + np.abs(objective[active])

        downhill = there.ok & (predicted > 0) & (ratio > 1e-4) & (actual > 0)
        # so close that the objective's differences drown in rounding or in the solver's error: let the gradient decide
        polishing = there.ok & (predicted < POLISH) & (actual > -POLISH - FLAT * level)
        polishing &= new_model.distance < here.distance
        accept = downhill | polishing

        ids, pick = active[accept], accept
        place[ids], objective[ids] = trial[pick], there.objective[pick]
        gradient[ids], hessian[ids] = new_gradient[pick], new_hessian[pick]
        secant[ids], curvature[ids] = new_secant[pick], new_curvature[pick]
        for name, array in there.extras.items():
            extras[name][ids] = array[pick]
        for old, new in zip(model, new_model, strict=True):
            old[ids] = new[pick]

        shrink = np.where(downhill, 1.0 - (2.0 * np.minimum(ratio, 1.0) - 1.0) ** 3, 0.1)
        damping[ids] = np.maximum(damping[ids] * np.clip(shrink[pick], 0.1, 2.0), 1e-14)
        growth[ids] = 2.0
        rejected[ids] = 0
        flat[ids] = np.where(actual[pick] <= FLAT * level[pick], flat[ids] + 1, 0)
        off = active[~accept]
        damping[off] *= np.where(there.ok[~accept], growth[off], np.maximum(growth[off], 8.0))
        growth[off] *= 2.0
        rejected[off] += 1

        done = accept & converged(new_model, trial)
        done |= accept & (flat[active] >= 12)
        tiny = (np.abs(step) <= 1e-15 * (np.where(relative, 1.0, 0.0) + np.abs(trial))).all(axis=1)
        stuck = ~accept & (tiny | (damping[active] > 1e12))
        near = model.distance[active] <= NEAR
        stuck |= ~accept & near & (predicted < POLISH) & (rejected[active] >= 3)
        outcome[active[done]] = Outcome.CONVERGED
        outcome[active[stuck]] = np.where(near[stuck], Outcome.CONVERGED, Outcome.STALLED)
        out_of_time = active[(iterations[active] >= search.max_iterations) & ~done & ~stuck]
        outcome[out_of_time] = Outcome.ITERATIONS
        if report:
            report(int((outcome != Outcome.RUNNING).sum()))

    return Minimum(
        place=place,
        objective=objective,
        gradient=gradient,
        hessian=hessian,
        held=model.held,
        distance=model.distance,
        outcome=outcome,
        iterations=iterations,
        extras=extras,
    )


def _checked(evaluate: Evaluate, place: np.ndarray, lane: np.ndarray) -> Evaluation:
    found = evaluate(place, lane)
    ok = found.ok & np.isfinite(found.objective)
    ok &= np.isfinite(found.gradient).all(axis=1) & np.isfinite(found.hessian).all(axis=(1, 2))
    return found._replace(ok=ok)


def _clean(array: np.ndarray, ok: np.ndarray) -> np.ndarray:
    return np.where(ok.reshape(ok.shape + (1,) * (array.ndim - 1)), array, 0.0)


def _model(
    place: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> _Model:
    held = ((place <= lower) & (gradient > 0)) | ((place >= upper) & (gradient < 0))
    gradient = np.where(held, 0.0, gradient)
    blocked = held[:, :, None] | held[:, None, :]
    unit = np.eye(place.shape[1])
    diagonal = np.where(held, 1.0, np.einsum("bkk->bk", hessian))
    # a parameter without any influence keeps a scale, so that it is left where it is
    largest = np.where(held, 0.0, diagonal).max(axis=1, initial=0.0, keepdims=True)
    scale = np.sqrt(np.maximum(diagonal, 1e-30 * largest) + np.finfo(float).tiny)
    scaled = np.where(blocked, unit, hessian / scale[:, :, None] / scale[:, None, :])
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(values, 0.0)
    slope = np.matmul((gradient / scale)[:, None, :], vectors)[:, 0, :]
    solid = values > RANK
    inverse = np.where(solid, 1.0 / np.where(solid, values, 1.0), 0.0)
    distance = np.sqrt((slope**2 * inverse).sum(axis=1))
    model = _Model(values, vectors, scale, slope, held, distance, np.zeros_like(place))
    return model._replace(newton=-_to_search(model, slope * inverse))


def _best_model(
    place: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
    secant: np.ndarray,
    trusted: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> tuple[_Model, np.ndarray]:
    """The quadratic model, with the learnt part of the Hessian where that is trusted and leaves it safely positive."""
    plain = _model(place, gradient, hessian, lower, upper)
    full = hessian + secant
    upright = np.einsum("bkk->bk", full) > 0.1 * np.einsum("bkk->bk", hessian)
    some = np.flatnonzero(trusted & upright.all(axis=1))
    if some.size == 0:
        return plain, hessian
    full = full[some]
    augmented = _model(place[some], gradient[some], full, lower[some], upper[some])
    safe = augmented.values.min(axis=1) > 1e-3 * plain.values[some].min(axis=1)
    curvature = hessian.copy()
    curvature[some[safe]] = full[safe]
    for old, new in zip(plain, augmented, strict=True):
        old[some[safe]] = new[safe]
    return plain, curvature


@np.errstate(over="ignore", invalid="ignore")
def _secant(secant: np.ndarray, step: np.ndarray, change: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Update of the learnt part of the Hessian, so that the whole explains the gradient's change over the step.

    It is forgotten where that is no number, as after a step from a curve that is huge.
    """
    wanted = change - _times(hessian, step)
    along = (change * step).sum(axis=1)
    held = (step * _times(secant, step)).sum(axis=1)
    size = np.where(
        held != 0, np.minimum(1.0, np.abs((step * wanted).sum(axis=1) / np.where(held != 0, held, 1.0))), 1.0
    )
    secant = size[:, None, None] * secant
    left = wanted - _times(secant, step)
    solid = along > 1e-12 * np.linalg.norm(change, axis=1) * np.linalg.norm(step, axis=1)
    y = change / np.where(solid, along, 1.0)[:, None]
    outer = left[:, :, None] * y[:, None, :]
    update = outer + np.swapaxes(outer, 1, 2)
    update -= (left * step).sum(axis=1)[:, None, None] * y[:, :, None] * y[:, None, :]
    learnt = secant + update
    solid &= np.isfinite(learnt).all(axis=(1, 2))
    return np.where(solid[:, None, None], learnt, 0.0)


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.matmul(matrix, vector[:, :, None])[:, :, 0]


def _to_search(model: _Model, coordinates: np.ndarray) -> np.ndarray:
    return _times(model.vectors, coordinates) / model.scale
