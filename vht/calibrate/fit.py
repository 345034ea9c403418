"""One slice of a cohort, fitted: starts as lanes, the search, the best start of each twin, and its uncertainty.

Everything model-specific is one function that predicts the measurements; what comes in and what goes out are plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.layout import Layout
from vht.calibrate.levenberg import Evaluation, Minimum, Outcome, Search, minimise
from vht.calibrate.likelihood import Errors, Likelihood, likelihood
from vht.calibrate.noise import FLOOR, Combined, Noise, Variance, count_unknown, is_estimated
from vht.calibrate.priors import informs, penalty
from vht.calibrate.status import WITH_ESTIMATE, CalibrationStatus
from vht.calibrate.transforms import Transform
from vht.calibrate.uncertainty import uncertainty

TIE = 1e-6
"""Starts whose objectives differ by less than this reached the same optimum, or equally good ones."""

EDGE = 1e-8
"""An additive part of the variance that is so small beside the mean one is where the search for it ends."""


class Predicted(NamedTuple):
    """What the model says would be measured.

    Attributes:
        value: in the rows of the layout.
        jacobian: derivatives with respect to the free parameters on the natural scale.
        ok: whether the model could be solved.
    """

    value: Float[np.ndarray, "lanes rows"]
    jacobian: Float[np.ndarray, "lanes rows parameters"]
    ok: Bool[np.ndarray, " lanes"]


Predict = Callable[[Float[np.ndarray, "lanes parameters"], Int[np.ndarray, " lanes"]], Predicted]
"""``(natural parameters, which twin) -> Predicted``."""


@dataclass(frozen=True)
class Task:
    """A calibration without its model.

    Attributes:
        predict: the model.
        layout: the measurements.
        noises: of each observable.
        transforms: of each free parameter.
        priors: of each free parameter, or None.
        scales: what each twin multiplies the priors' values by.
        starts: natural scale.
    """

    predict: Predict
    layout: Layout
    noises: Sequence[Noise]
    transforms: Sequence[Transform]
    priors: Sequence[Any]
    scales: Float[np.ndarray, "twins parameters"]
    starts: Float[np.ndarray, "twins starts parameters"]


@dataclass
class Fitted:
    """What is known about each twin of a slice after fitting; NaN where a twin has no estimate.

    Attributes:
        status: a `CalibrationStatus` for each twin.
        place: estimates on the search scale.
        covariance: on the search scale; zero for parameters held at a bound.
        degrees: degrees of freedom of each estimate's t interval.
        held: which parameters ended at a bound.
        weakest: the least determined direction on the search scale.
        objective: negative log-likelihood plus penalties.
        noise: estimated or known standard deviations (additive, proportional) of each observable.
        rmse: root mean square residual of each observable.
        predicted: the fitted values in the rows of the layout.
        iterations: of all starts together.
        start_status: how each start ended.
        start_objective: where each start ended.
        start_place: the place on the search scale where each start ended.
    """

    status: Int[np.ndarray, " twins"]
    place: Float[np.ndarray, "twins parameters"]
    covariance: Float[np.ndarray, "twins parameters parameters"]
    degrees: Float[np.ndarray, "twins parameters"]
    held: Bool[np.ndarray, "twins parameters"]
    weakest: Float[np.ndarray, "twins parameters"]
    objective: Float[np.ndarray, " twins"]
    noise: Float[np.ndarray, "twins observables 2"]
    rmse: Float[np.ndarray, "twins observables"]
    predicted: Float[np.ndarray, "twins rows"]
    iterations: Int[np.ndarray, " twins"]
    start_status: Int[np.ndarray, "twins starts"]
    start_objective: Float[np.ndarray, "twins starts"]
    start_place: Float[np.ndarray, "twins starts parameters"]

    @staticmethod
    def joined(parts: Sequence[Fitted]) -> Fitted:
        """Slices one after another."""
        return Fitted(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Fitted)})


def fit(task: Task, search: Search, *, singular: float = 1e-10, report: Callable[[int], None] | None = None) -> Fitted:
    """Fit every twin of a slice.

    Args:
        task: what to fit.
        search: settings of the search.
        singular: smallest eigenvalue of the unit-diagonal information that counts as determined.
        report: called with the number of starts done.

    Returns:
        The fits.
    """
    layout, twins = task.layout, task.layout.twins
    starts, free = task.starts.shape[1:]
    count = layout.count()
    own = (layout.used_of() & ~np.isnan(layout.sd)).sum(axis=2).T
    estimated = np.array([is_estimated(noise) for noise in task.noises], bool)
    count_estimated = np.where(estimated, count - own, 0)
    status = _countable(task, count, count_estimated)

    # a start that is no number is a failed start, not an error
    place = np.stack([t.forward(task.starts[:, :, k]) for k, t in enumerate(task.transforms)], axis=2)
    box = [t.box(task.starts[:, :, k]) for k, t in enumerate(task.transforms)]
    lower, upper = (np.stack([b[side] for b in box], axis=2) for side in (0, 1))
    sound = np.isfinite(place).all(axis=2)
    lane_twin, lane_start = np.nonzero(sound & (status == CalibrationStatus.OK)[:, None])

    scale = layout.scale()
    evaluate = objective(task, scale, lane_twin)
    relative = np.array([t.relative for t in task.transforms], bool)
    skipped = twins * starts - lane_twin.size
    minimum = minimise(
        evaluate,
        place[lane_twin, lane_start],
        lower[lane_twin, lane_start],
        upper[lane_twin, lane_start],
        relative,
        search,
        None if report is None else lambda done: report(done + skipped),
    )

    # every start is judged by itself first; one that could not be evaluated is judged at a harmless place
    kept = minimum.extras
    judged = uncertainty(
        task.noises,
        layout,
        scale,
        lane_twin,
        kept["predicted"],
        kept["jacobian"],
        _parts(kept),
        kept["prior"],
        minimum.held,
        relative,
        singular,
    )
    lane_status = _lane_status(minimum, judged.singular)
    few = (count_estimated[lane_twin] > 0) & (count_estimated[lane_twin] <= free)
    floored = few & _at_floor(kept["noise"], scale[lane_twin], estimated)
    no_error = judged.exhausted | floored.any(axis=1) | _edge_decides(task, lane_twin, kept)
    lane_status[(lane_status == CalibrationStatus.OK) & no_error] = CalibrationStatus.ZERO_SD

    table = _Table(lane_twin, lane_start, (twins, starts))
    start_status = table.spread(lane_status, CalibrationStatus.SOLVE_FAILED)
    start_status = np.where((status == CalibrationStatus.OK)[:, None], start_status, status[:, None])
    # the objective at a harmless place says nothing about the twin
    somewhere = np.isfinite(minimum.objective) & (minimum.outcome != Outcome.START_FAILED)
    start_objective = table.spread(np.where(somewhere, minimum.objective, np.inf), np.inf)
    start_place = table.spread(minimum.place, np.nan)
    best = _best_start(start_status, start_objective)
    everyone = np.arange(twins)
    status = start_status[everyone, best]
    good = np.isin(status, WITH_ESTIMATE)

    def chosen(values: np.ndarray) -> np.ndarray:
        kept = table.spread(values, np.nan)[everyone, best]
        return np.where(good.reshape((twins,) + (1,) * (kept.ndim - 1)), kept, np.nan)

    fitted = np.where(layout.used, chosen(kept["predicted"]), np.nan)
    square = np.where(layout.used_of() & good[:, None], (layout.value - fitted) ** 2, 0.0).sum(axis=2).T
    rmse = np.sqrt(np.where(good[:, None] & (count > 0), square / np.maximum(count, 1), np.nan))
    no_estimate = ~np.isin(start_status, WITH_ESTIMATE)
    return Fitted(
        status=status,
        place=chosen(minimum.place),
        covariance=chosen(judged.covariance),
        degrees=chosen(judged.degrees),
        held=table.spread(minimum.held, False)[everyone, best],
        weakest=table.spread(judged.weakest, np.nan)[everyone, best],
        objective=chosen(minimum.objective),
        noise=np.sqrt(chosen(judged.noise)),
        rmse=rmse,
        predicted=fitted,
        iterations=table.spread(minimum.iterations, 0).sum(axis=1),
        start_status=start_status,
        start_objective=np.where(no_estimate, np.nan, start_objective),
        start_place=np.where(no_estimate[:, :, None], np.nan, start_place),
    )


class _Table(NamedTuple):
    """Lanes back into a table of twins and starts."""

    twin: np.ndarray
    start: np.ndarray
    shape: tuple[int, int]

    def spread(self, values: np.ndarray, fill: float) -> np.ndarray:
        out = np.full(self.shape + values.shape[1:], fill, values.dtype)
        out[self.twin, self.start] = values
        return out


def _countable(task: Task, count: np.ndarray, count_estimated: np.ndarray) -> np.ndarray:
    """Which twins have measurements enough: as many as free parameters and unknown errors, priors counted in.

    An observable with an unknown error of its own needs one measurement more than that error has parts: the curve can
    pass through fewer, and the error would be estimated as zero.
    """
    status = np.full(count.shape[0], CalibrationStatus.OK, int)
    unknown = np.array([count_unknown(noise) for noise in task.noises], int)
    needed = len(task.transforms) + np.where(count_estimated > 0, unknown, 0).sum(axis=1)
    told = count.sum(axis=1) + sum(informs(prior) for prior in task.priors)
    few = (told < needed) | ((count_estimated > 0) & (count_estimated <= unknown)).any(axis=1)
    status[few] = CalibrationStatus.TOO_FEW_MEASUREMENTS
    status[count.sum(axis=1) == 0] = CalibrationStatus.NO_MEASUREMENTS
    return status


def objective(task: Task, scale: np.ndarray, lane_twin: np.ndarray) -> Callable[[np.ndarray, np.ndarray], Evaluation]:
    """The objective on the search scale: likelihood and penalties, with their derivatives."""

    def likelihood_at(
        value: np.ndarray, jacobian: np.ndarray, ok: np.ndarray, twin: np.ndarray
    ) -> tuple[Likelihood, np.ndarray, np.ndarray]:
        """The likelihood and where it was evaluated: a curve of zeros for lanes without one."""
        value, jacobian = np.where(ok[:, None], value, 0.0), np.where(ok[:, None, None], jacobian, 0.0)
        return likelihood(task.noises, task.layout, scale, twin, value, jacobian), value, jacobian

    def evaluate(place: np.ndarray, lane: np.ndarray) -> Evaluation:
        twin = lane_twin[lane]
        natural = np.stack([t.inverse(place[:, k]) for k, t in enumerate(task.transforms)], axis=1)
        stretch = np.stack([t.derivative(place[:, k]) for k, t in enumerate(task.transforms)], axis=1)
        predicted = task.predict(natural, twin)
        with np.errstate(all="ignore"):
            used = task.layout.used[twin]
            value = np.where(used, predicted.value, 0.0)
            jacobian = np.where(used[:, :, None], predicted.jacobian * stretch[:, None, :], 0.0)
            ok = predicted.ok & np.isfinite(value).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2))
            told, value, jacobian = likelihood_at(value, jacobian, ok, twin)
            finite = np.isfinite(told.objective) & np.isfinite(told.gradient).all(axis=1)
            finite &= np.isfinite(told.information).all(axis=(1, 2))
            lost = ok & ~finite & ~told.errors.zero_sd
            if lost.any():
                # a curve can be finite and its square not
                ok &= ~lost
                told, value, jacobian = likelihood_at(value, jacobian, ok, twin)
            penalties = [penalty(prior, natural[:, k], task.scales[twin, k]) for k, prior in enumerate(task.priors)]
            cost, slope, bend = (np.stack([p[i] for p in penalties], axis=1) for i in range(3))
            prior = (bend * stretch**2)[:, :, None] * np.eye(natural.shape[1])
            return Evaluation(
                objective=told.objective + cost.sum(axis=1),
                gradient=told.gradient + slope * stretch,
                hessian=told.information + prior,
                ok=ok & ~told.errors.zero_sd,
                extras=_kept(value, jacobian, prior, told.errors) | {"zero_sd": ok & told.errors.zero_sd},
            )

    return evaluate


def _kept(predicted: np.ndarray, jacobian: np.ndarray, prior: np.ndarray, found: Errors) -> dict[str, np.ndarray]:
    """What the judgement of a place needs, as arrays that the search can carry along."""
    return {
        "predicted": predicted,
        "jacobian": jacobian,
        "prior": prior,
        "noise": np.stack([np.stack([p.additive, p.proportional], axis=1) for p in found.parts], axis=1),
        "unknown": np.stack([np.stack([p.additive_free, p.proportional_free], axis=1) for p in found.parts], axis=1),
    }


def _parts(kept: dict[str, np.ndarray]) -> list[Variance]:
    noise, unknown = kept["noise"], kept["unknown"]
    return [Variance(noise[:, o, 0], noise[:, o, 1], unknown[:, o, 0], unknown[:, o, 1]) for o in range(noise.shape[1])]


def _lane_status(minimum: Minimum, singular: np.ndarray) -> np.ndarray:
    status = np.full(minimum.outcome.shape, CalibrationStatus.OK, int)
    converged = minimum.outcome == Outcome.CONVERGED
    status[converged & minimum.held.any(axis=1)] = CalibrationStatus.AT_BOUND
    status[minimum.outcome == Outcome.STALLED] = CalibrationStatus.NO_PROGRESS
    status[minimum.outcome == Outcome.ITERATIONS] = CalibrationStatus.MAX_ITERATIONS
    status[singular] = CalibrationStatus.SINGULAR
    failed = minimum.outcome == Outcome.START_FAILED
    status[failed] = np.where(
        minimum.extras["zero_sd"][failed], CalibrationStatus.ZERO_SD, CalibrationStatus.SOLVE_FAILED
    )
    return status


def _at_floor(noise: np.ndarray, scale: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """Observables whose estimated error has stopped at its lower limit."""
    additive, proportional = noise[:, :, 0], noise[:, :, 1]
    return estimated & (additive <= 1.01 * (FLOOR * scale) ** 2) & (proportional <= 1.01 * FLOOR**2)


def _edge_decides(task: Task, lane_twin: np.ndarray, kept: dict[str, np.ndarray]) -> np.ndarray:
    """Lanes with a measurement of which nothing but where the search for the noise ends keeps the likelihood finite.

    Where the curve is zero and zero was measured, the likelihood of additive and proportional errors together grows without
    end as the additive part shrinks.
    """
    layout, found = task.layout, np.zeros(lane_twin.size, bool)
    mine = layout.used[lane_twin] & np.isnan(layout.sd[lane_twin])
    for o, noise in enumerate(task.noises):
        if not (isinstance(noise, Combined) and noise.sd is None):
            continue
        rows = mine & (layout.observable[lane_twin] == o)
        additive, proportional = kept["noise"][:, o].T
        signal = proportional[:, None] * kept["predicted"] ** 2
        least = np.where(rows, signal, np.inf).min(axis=1, initial=np.inf)
        mean = np.where(rows, signal, 0.0).sum(axis=1) / np.maximum(rows.sum(axis=1), 1)
        found |= rows.any(axis=1) & (additive < EDGE * mean) & (least < additive)
    return found


def _best_start(status: np.ndarray, objective: np.ndarray) -> np.ndarray:
    """The start to report: the best one with an estimate, the earliest among equals.

    A start without an estimate is reported instead if it found a clearly better place: then that start's status is the
    truth about this twin.
    """
    usable = np.isin(status, WITH_ESTIMATE)
    best_usable = np.where(usable, objective, np.inf).min(axis=1, keepdims=True)
    best_other = np.where(usable, np.inf, objective).min(axis=1, keepdims=True)
    tie = TIE * (1.0 + np.abs(np.where(np.isfinite(best_usable), best_usable, 0.0)))
    first_usable = (usable & (objective <= best_usable + tie)).argmax(axis=1)
    first_other = (~usable & (objective <= best_other)).argmax(axis=1)
    prefer_other = ~usable.any(axis=1) | (best_other < best_usable - 1e-3)[:, 0]
    return np.where(prefer_other, first_other, first_usable)
