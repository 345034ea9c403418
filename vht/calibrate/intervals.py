"""Intervals from the likelihood's profile: right also where the likelihood is no parabola.

A t interval takes the objective for a parabola. Where the curve bends in a parameter, such an interval misses the truth more
often than it says. A profile interval ends where the objective, minimised over all other parameters, has risen by as much as
the level allows; it does not depend on the scale a parameter is searched on (Bates and Watts, Nonlinear Regression Analysis
and Its Applications, 1988, section 6.1). Unknown errors are estimated anew at every value, as in the calibration.

How much the objective may rise is what Student's t says it is for a linear model: with a single additive error of n
measurements, nu = n - p degrees of freedom and a t quantile of t, twice the rise is n log(1 + t**2 / nu). In general n / nu is
the share r by which the reported variance exceeds that of the most likely errors, and nu the degrees of freedom that the
calibration reports: r nu log(1 + t**2 / nu), which is t**2 where all errors are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.estimators import BLOCK, Progress
from vht.calibrate.fit import Predict, Task, objective
from vht.calibrate.levenberg import Minimum, Outcome, Search, minimise
from vht.calibrate.problem import Problem
from vht.calibrate.result import Calibration
from vht.calibrate.solver import predictor
from vht.calibrate.uncertainty import Inverse, student_quantile
from vht.errors import ModelError, nearest
from vht.solve import Backend, Device

SEARCH = Search(max_iterations=50, tolerance=1e-2, damping=1e-3, max_change=2.0)
NEAR = 2e-3
"""An end is found when the root there is this near the wanted one: then its level is right to four digits."""
LEAP = 1.0
"""The search goes no farther at once on a relative search scale, or it would pass over a barrier to another optimum."""
FAR = 20.0
"""This many units of a relative search scale (log, logit) away, or standard errors of another, an interval is open."""
ROUNDS = 40
WIDE = 100.0
"""A root that is to be as large is never looked for: hardly any degree of freedom is left, and the interval is open."""
STEP, SUNK = 1e-3, 0.05
"""Where the root grows by `SUNK` within this share of a standard error (or of `LEAP`), what lies beyond was not a minimum."""
SLICE = 4096


def likelihood_roots(
    problem: Problem,
    calibration: Calibration,
    values: Float[np.ndarray, "twins chosen"],
    *,
    parameters: Sequence[str] | None = None,
    backend: Backend = "auto",
    device: Device = "auto",
    predict: Predict | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "twins chosen"]:
    """How far values of the parameters are from the estimates, as the likelihood sees it.

    The signed root of the likelihood ratio, negative below the estimate: where all errors are known ``sqrt(2 (objective at the
    value - objective at the estimate))``, the objective minimised over all other parameters; where some are not, what makes it
    the t statistic for a linear model. A value lies in the profile interval of a level if its root is within Student's t
    quantile of that level.

    Args:
        problem: the problem that was calibrated.
        calibration: its result.
        values: one for each twin and parameter, natural scale.
        parameters: names of the free parameters that the columns hold; all by default.
        backend: of the solver.
        device: of the solver.
        predict: predicts the measurements instead of the solver, as in a calibration from a closed form.
        progress: called as ``progress(done, total)`` in twins.

    Returns:
        The roots; NaN where there is no estimate, where the parameter is held at a bound, where the value is outside its
        transform's domain, or where the model cannot be solved.

    Raises:
        ValueError: `values` has another shape.
        TypeError: `problem` or `calibration` is something else.
        ModelError: an unknown parameter, or a calibration of another problem.
        DeviceError: a GPU is asked for and there is none that can be used.
    """
    chosen = _indices(problem, calibration, parameters)
    roots = np.full((len(calibration), chosen.size), np.nan)
    values = np.asarray(values, np.float64)
    if values.shape != roots.shape:
        raise ValueError(
            f"`values` must have a row for each of {len(calibration)} twins and a column for each of {chosen.size} parameters, "
            f"but has the shape {list(values.shape)}."
        )
    for some, profiles in _slices(
        problem, calibration, chosen, predict or predictor(problem, backend, device), progress
    ):
        wanted = values[some]
        places = np.full(wanted.shape, np.nan)
        for column, k in enumerate(chosen):
            inside = problem.transforms[k].contains(wanted[:, column])
            places[inside, column] = problem.transforms[k].forward(wanted[inside, column])
        place = places[profiles.twin, profiles.column]
        sound = np.flatnonzero(np.isfinite(place))
        found = profiles.at(place[sound], profiles.path(place)[sound], sound)
        roots[some[profiles.twin[sound]], profiles.column[sound]] = found.root * np.sign(
            place[sound] - profiles.centre[sound]
        )
    return roots


def profile_intervals(
    problem: Problem,
    calibration: Calibration,
    *,
    level: float = 0.95,
    parameters: Sequence[str] | None = None,
    backend: Backend = "auto",
    device: Device = "auto",
    predict: Predict | None = None,
    progress: Progress | None = None,
) -> tuple[Float[np.ndarray, "twins chosen"], Float[np.ndarray, "twins chosen"]]:
    """Profile-likelihood intervals of the estimates.

    Every end of every interval is a lane of its own. This takes some ten to thirty times as long as the calibration did;
    `Calibration.interval` is free, and as good where the likelihood is nearly a parabola on the transformed scale.

    Args:
        problem: the problem that was calibrated.
        calibration: its result.
        level: share of twins whose interval should hold the true value, in (0, 1).
        parameters: names of free parameters; all by default.
        backend: of the solver.
        device: of the solver.
        predict: predicts the measurements instead of the solver, as in a calibration from a closed form.
        progress: called as ``progress(done, total)`` in twins.

    Returns:
        Lower and upper ends on the natural scale. NaN where there is no estimate, where the parameter is held at a bound,
        or where no end was found; the transform's limit where the likelihood does not fall far enough before it.

    Raises:
        ValueError: `level` is not between 0 and 1.
        TypeError: `problem` or `calibration` is something else.
        ModelError: an unknown parameter, or a calibration of another problem.
        DeviceError: a GPU is asked for and there is none that can be used.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie between 0 and 1, but got {level}.")
    chosen = _indices(problem, calibration, parameters)
    reach = student_quantile(level, calibration.degrees)
    ends = np.full((2, len(calibration), chosen.size), np.nan)
    for some, profiles in _slices(
        problem, calibration, chosen, predict or predictor(problem, backend, device), progress
    ):
        for row, side in enumerate((-1.0, 1.0)):
            place = _ends(profiles, side, reach[some][profiles.twin, profiles.which])
            for column, k in enumerate(chosen):
                here = profiles.which == k
                ends[row, some[profiles.twin[here]], column] = problem.transforms[k].inverse(place[here])
    return ends[0], ends[1]


def _indices(
    problem: Problem, calibration: Calibration, parameters: Sequence[str] | None
) -> Int[np.ndarray, " chosen"]:
    if not isinstance(problem, Problem) or not isinstance(calibration, Calibration):
        got = f"{type(problem).__name__} and {type(calibration).__name__}"
        raise TypeError(f"Intervals take a `Problem` and its `Calibration`, but got {got}.")
    calibration.check_of(problem)
    names = calibration.parameters if parameters is None else tuple(parameters)
    for name in names:
        if name not in calibration.parameters:
            raise ModelError(f"`{name}` is no free parameter.{nearest(name, calibration.parameters)}")
    return np.array([calibration.parameters.index(name) for name in names], int)


class _Found(NamedTuple):
    """The profile at one value of each lane's parameter.

    Attributes:
        root: unsigned; NaN where the model could not be solved.
        place: where the others ended.
        slope: of half the root's square along the profile.
        drag: how the others follow the parameter.
    """

    root: Float[np.ndarray, " lanes"]
    place: Float[np.ndarray, "lanes parameters"]
    slope: Float[np.ndarray, " lanes"]
    drag: Float[np.ndarray, "lanes parameters"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Profiles:
    """The profiles of a slice of twins, a lane for each twin and chosen parameter.

    Attributes:
        evaluate: the objective.
        estimate: of each lane's twin, on the search scale.
        covariance: likewise.
        lowest: the objective's minimum of each lane's twin.
        degrees: degrees of freedom of each lane's parameter.
        excess: its reported variance over that of the most likely errors.
        lower, upper: limits of the search scale.
        relative: which parameters have a relative scale.
        twin: of each lane, in the slice.
        which: its parameter.
        column: that parameter's place among the chosen.
    """

    evaluate: Any
    estimate: Float[np.ndarray, "lanes parameters"]
    covariance: Float[np.ndarray, "lanes parameters parameters"]
    lowest: Float[np.ndarray, " lanes"]
    degrees: Float[np.ndarray, " lanes"]
    excess: Float[np.ndarray, " lanes"]
    lower: Float[np.ndarray, "lanes parameters"]
    upper: Float[np.ndarray, "lanes parameters"]
    relative: Bool[np.ndarray, " parameters"]
    twin: Int[np.ndarray, " lanes"]
    which: Int[np.ndarray, " lanes"]
    column: Int[np.ndarray, " lanes"]

    @property
    def lanes(self) -> Int[np.ndarray, " lanes"]:
        return np.arange(self.twin.size)

    @property
    def centre(self) -> Float[np.ndarray, " lanes"]:
        """The parameter's estimate."""
        return self.estimate[self.lanes, self.which]

    @property
    def spread(self) -> Float[np.ndarray, " lanes"]:
        """Its standard error."""
        return np.sqrt(self.covariance[self.lanes, self.which, self.which])

    def limit(self, side: float) -> Float[np.ndarray, " lanes"]:
        """Its limit on one side."""
        return (self.upper if side > 0 else self.lower)[self.lanes, self.which]

    def path(self, value: Float[np.ndarray, " lanes"]) -> Float[np.ndarray, "lanes parameters"]:
        """Where the others should be when the parameter has a value, by the covariance."""
        along = self.covariance[self.lanes, :, self.which] / np.maximum(self.spread**2, np.finfo(float).tiny)[:, None]
        return self.estimate + (value - self.centre)[:, None] * along

    def at(
        self,
        value: Float[np.ndarray, " some"],
        start: Float[np.ndarray, "some parameters"],
        some: Int[np.ndarray, " some"],
    ) -> _Found:
        """The profile of some lanes at a value each, searched from a place each."""
        k, rows = self.which[some], np.arange(some.size)
        lower, upper = self.lower[some].copy(), self.upper[some].copy()
        lower[rows, k] = upper[rows, k] = value
        minimum = minimise(
            lambda place, lane: self.evaluate(place, self.twin[some[lane]]), start, lower, upper, self.relative, SEARCH
        )
        solved = np.isin(minimum.outcome, (Outcome.CONVERGED, Outcome.STALLED))
        rise = np.where(solved, np.maximum(minimum.objective - self.lowest[some], 0.0), 0.0)
        # half the root's square by the rise, and its derivative
        share, known = rise / self.excess[some], np.isinf(self.degrees[some])
        degrees = np.where(known, 1.0, self.degrees[some])
        growth = 2.0 * share / degrees
        with np.errstate(over="ignore"):
            half = np.where(known, share, 0.5 * degrees * np.expm1(growth))
            steep = np.where(known, 1.0, np.exp(growth)) / self.excess[some]
            slope = minimum.gradient[rows, k] * steep
        return _Found(np.where(solved, np.sqrt(2.0 * half), np.nan), minimum.place, slope, _drag(minimum, k))


def _drag(minimum: Minimum, k: np.ndarray) -> np.ndarray:
    rows = np.arange(k.size)
    apart = minimum.held.copy()
    apart[rows, k] = True
    others = np.where(apart[:, :, None] | apart[:, None, :], np.eye(apart.shape[1]), minimum.hessian)
    column = np.where(apart, 0.0, minimum.hessian[rows, :, k])
    drag = -np.matmul(Inverse.of(others).matrix, column[:, :, None])[:, :, 0]
    drag[rows, k] = 1.0
    return drag


def _slices(
    problem: Problem, calibration: Calibration, chosen: np.ndarray, predict: Predict, progress: Progress | None
) -> Iterator[tuple[Int[np.ndarray, " some"], _Profiles]]:
    """Twins with estimates, some at a time, with their profiles."""
    layout, transforms = problem.layout, problem.transforms
    good = np.flatnonzero(np.isfinite(calibration.search_estimate).all(axis=1))
    # the Jacobian is the largest array, as in a calibration; here each twin has a lane for each chosen parameter
    size = max(min(SLICE, BLOCK // (layout.value.shape[1] * len(transforms) * max(chosen.size, 1))), 1)
    for first in range(0, good.size, size):
        some = good[first : first + size]
        task = Task(
            predict=lambda natural, lane, some=some: predict(natural, some[lane]),
            layout=layout.take(some),
            noises=[observable.noise for observable in problem.observables.values()],
            transforms=transforms,
            priors=problem.priors,
            scales=problem.scales[some],
            starts=calibration.estimate[some][:, None],
        )
        evaluate = objective(task, task.layout.scale(), np.arange(some.size))
        box = [t.box(calibration.estimate[some, k]) for k, t in enumerate(transforms)]
        lower, upper = (np.stack([b[side] for b in box], axis=1) for side in (0, 1))
        held = calibration.at_bound[some]
        twin, column = np.nonzero(~held[:, chosen])
        there = evaluate(calibration.search_estimate[some], np.arange(some.size))
        covariance = calibration.search_covariance[some]
        yield (
            some,
            _Profiles(
                evaluate=evaluate,
                estimate=calibration.search_estimate[some][twin],
                covariance=covariance[twin],
                lowest=there.objective[twin],
                degrees=calibration.degrees[some][twin, chosen[column]],
                excess=_excess(covariance, there.hessian, held)[twin, chosen[column]],
                lower=lower[twin],
                upper=upper[twin],
                relative=np.array([t.relative for t in transforms], bool),
                twin=twin,
                which=chosen[column],
                column=column,
            ),
        )
        if progress is not None:
            progress(int(first + some.size), int(good.size))


def _excess(covariance: np.ndarray, hessian: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Each parameter's reported variance over that of the most likely errors, which curve the objective."""
    apart = held[:, :, None] | held[:, None, :]
    likely = Inverse.of(np.where(apart, np.eye(held.shape[1]), hessian)).matrix
    share = np.einsum("bkk->bk", covariance) / np.einsum("bkk->bk", likely)
    return np.where(~held & np.isfinite(share) & (share > 0.0), share, 1.0)


def _ends(profiles: _Profiles, side: float, reach: Float[np.ndarray, " lanes"]) -> Float[np.ndarray, " lanes"]:
    """Where each lane's root has grown to `reach` on one side, on the search scale; NaN where that is not found.

    Newton steps on the root, which is nearly a straight line, kept between the farthest value that is too near and the
    nearest that is too far (or where the model cannot be solved). Where the root leaps between these two, the others had found
    another minimum on the far side, and the search goes on from the near one.
    """
    centre, limit, spread = profiles.centre, profiles.limit(side), profiles.spread
    errors = np.sqrt(np.einsum("bkk->bk", profiles.covariance))
    inside, outside = centre.copy(), np.full(limit.shape, side * np.inf)
    reached = np.zeros(limit.shape)  # the root inside
    solved = np.zeros(limit.shape, bool)  # whether there is one outside
    anchor = profiles.estimate.copy()  # where the others were at the farthest value inside
    relative = profiles.relative[profiles.which]
    unit = np.where(relative, np.minimum(spread, LEAP), spread)
    value = centre + side * np.where(relative, np.minimum(reach * spread, LEAP), reach * spread)
    value = side * np.minimum(side * value, side * limit)
    place = profiles.path(value)
    far = np.where(relative, FAR, FAR * spread)
    result = np.where(reach > WIDE, limit, np.nan)
    active = np.flatnonzero(~(reach > WIDE))
    for _ in range(ROUNDS):
        found = profiles.at(value[active], place[active], active)
        now, root, wanted = value[active], found.root, reach[active]
        near = np.abs(root - wanted) <= NEAR
        short = root < wanted
        opened = short & ~near & ((side * now >= side * limit[active]) | (side * (now - centre[active]) > far[active]))
        result[active[near]] = now[near]
        result[active[opened]] = limit[active[opened]]
        inside[active[short]], anchor[active[short]] = now[short], found.place[short]
        reached[active[short]] = root[short]
        outside[active[~short]], solved[active[~short]] = now[~short], np.isfinite(root[~short])

        apart = np.abs(outside[active] - inside[active])
        leapt = solved[active] & (apart <= STEP * unit[active]) & (reached[active] < wanted - SUNK)
        outside[active[leapt]] = side * np.inf
        least, most = inside[active], outside[active]
        uphill = side * found.slope > 0
        newton = now + side * (wanted - root) * root / np.where(uphill, np.abs(found.slope), 1.0)
        leap = np.maximum(3.0 * spread[active], np.abs(now - centre[active]))
        leap = np.where(relative[active], np.minimum(leap, LEAP), leap)
        newton = side * np.minimum(side * newton, side * now + leap)
        between = uphill & ~leapt & (side * newton > side * least) & (side * newton < side * most)
        halfway = np.where(np.isfinite(most), 0.5 * (least + most), least + side * leap)
        value[active] = following = side * np.minimum(side * np.where(between, newton, halfway), side * limit[active])
        # where the profile is straight, the others follow it; where it is not, they start from where they were last
        follow = (following - now)[:, None] * found.drag
        straight = short & ~leapt & (np.abs(follow) <= 2.0 * errors[active]).all(axis=1)
        place[active] = np.where(straight[:, None], found.place + follow, anchor[active])
        lost = np.abs(most - least) <= 1e-9 * unit[active]
        active = active[~(near | opened | lost)]
        if active.size == 0:
            break
    return result
