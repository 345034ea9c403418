"""The estimator: every twin of a problem fitted at once."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from jaxtyping import Float

from vht.calibrate.fit import Fitted, Predict, Task, fit
from vht.calibrate.levenberg import Search
from vht.calibrate.problem import Problem
from vht.calibrate.result import Calibration, Starts
from vht.calibrate.side_by_side import Here, side_by_side
from vht.calibrate.solver import CHUNK, predictor
from vht.calibrate.starts import design
from vht.model import outputs, states
from vht.solve import Backend, Device
from vht.solve.device import place

Progress = Callable[[int, int], object]

BLOCK = 2**23
SEARCHES_ON_GPU = 4
"""Slices searched side by side, so that a GPU need not wait for the processor: a guess. On the processor the solver takes all
cores, and a search a twentieth of its time."""


@dataclass(frozen=True)
class LevenbergMarquardt:
    """Maximum likelihood by damped Gauss-Newton and Fisher-scoring steps; with priors maximum a posteriori.

    Unknown errors have their most likely values meanwhile: with priors and hardly more measurements than parameters the
    estimates follow the measurements more than they should.

    Attributes:
        max_iterations: most trial points of one start.
        starts: searches per twin. The first begins at the given start, the others at seeded draws: from the prior that the
            parameter has in `free`, else from between finite `bounds`, else around the `start` given there, else from the
            model's prior, else around the model's value; never outside the bounds. The best one is reported.
        seed: of those draws; a twin's draws do not depend on the rest of the cohort.
        spread: standard deviation of the draws around a start: of the logarithm for "log", of the share for "identity".
        tolerance: a search is done when its minimum is nearer than this many standard errors.
        damping: of the first step, relative to the curvature.
        max_change: most that one step may change a "log" or "logit" parameter, on that scale.
        singular: smallest eigenvalue of the information matrix, scaled to a unit diagonal, that counts as determined.
        lanes: twins times starts worked on at a time, which bounds the memory; four times as many where a GPU solves.

    Raises:
        ValueError: a setting out of range.
    """

    max_iterations: int = 100
    starts: int = 1
    seed: int = 0
    spread: float = 0.5
    tolerance: float = 1e-4
    damping: float = 1e-3
    max_change: float = 2.0
    singular: float = 1e-10
    lanes: int = 65_536

    def __post_init__(self) -> None:
        for name, least in (("max_iterations", 1), ("starts", 1), ("lanes", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"`{name}` must be a whole number from {least} on, but got {value!r}.")
        for name in ("spread", "tolerance", "damping", "max_change", "singular"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not (0.0 < float(value) < math.inf):
                raise ValueError(f"`{name}` must be a positive number, but got {value!r}.")


def calibrate(
    problem: Problem,
    *,
    method: LevenbergMarquardt = LevenbergMarquardt(),
    backend: Backend = "auto",
    device: Device = "auto",
    progress: Progress | None = None,
) -> Calibration:
    """Fit every twin of a problem to its own measurements.

    Args:
        problem: model, free parameters, observables, measurements.
        method: the estimator's settings.
        backend: how to solve: "lanes", "xla" or "auto".
        device: where to solve: "cpu", "gpu" or "auto", as in `vht.simulate`. The search itself runs on the processor,
            beside a GPU in four threads.
        progress: called as ``progress(done, total)`` in searches (twins times starts) after every round.

    Returns:
        Estimates, uncertainty and status of each twin.

    Raises:
        TypeError: `problem` or `method` is something else.
        DeviceError: a GPU is asked for and there is none that can be used.
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"`problem` must be a `Problem`, but got {type(problem).__name__}.")
    if not isinstance(method, LevenbergMarquardt):
        raise TypeError(f"`method` must be a `LevenbergMarquardt(...)`, but got {method!r:.100}.")
    searches = SEARCHES_ON_GPU if place(device, backend).platform == "gpu" else 1
    return calibrate_with(
        predictor(problem, backend, device), problem, method=method, progress=progress, searches=searches
    )


def calibrate_with(
    predict: Predict,
    problem: Problem,
    *,
    method: LevenbergMarquardt = LevenbergMarquardt(),
    progress: Progress | None = None,
    searches: int = 1,
) -> Calibration:
    """Fit a problem whose predictions come from a function, such as a closed form, instead of from the solver.

    Args:
        predict: predicts the measurements, in the rows of `problem.layout`, and their derivatives.
        problem: measurements, names, transforms, priors, noise models and starts; its model only names and labels.
        method: the estimator's settings.
        progress: as in `calibrate`.
        searches: slices of the cohort at work at a time; `predict` and `progress` are called in the caller's thread alone.
    """
    began = time.perf_counter()
    layout = problem.layout
    twins, starts = layout.twins, method.starts
    noises = [observable.noise for observable in problem.observables.values()]
    search = Search(method.max_iterations, method.tolerance, method.damping, method.max_change)
    # the Jacobian is the largest array: a slice's fills no more than BLOCK numbers
    lanes = min(method.lanes, BLOCK // (layout.value.shape[1] * len(problem.free)))
    size = max((lanes - lanes % CHUNK if lanes > CHUNK else lanes) // starts, 1)
    done: dict[int, int] = {}

    def tell(first: int, ended: int) -> None:
        assert progress is not None
        done[first] = ended
        progress(sum(done.values()), twins * starts)

    def work(first: int, here: Here) -> Fitted:
        some = np.arange(first, min(first + size, twins))
        begin = design(
            problem.starts[some],
            problem.transforms,
            problem.drawn_from,
            problem.scales[some],
            starts=starts,
            seed=method.seed,
            spread=method.spread,
        )
        task = Task(
            predict=lambda natural, lane: here(predict, natural, some[lane]),
            layout=layout.take(some),
            noises=noises,
            transforms=problem.transforms,
            priors=problem.priors,
            scales=problem.scales[some],
            starts=begin,
        )
        report = None if progress is None else lambda ended: here(tell, first, ended)
        return fit(task, search, singular=method.singular, report=report)

    jobs = [functools.partial(work, first) for first in range(0, max(twins, 1), size)]
    fitted = Fitted.joined(side_by_side(jobs, searches))
    return _result(fitted, problem, method, time.perf_counter() - began)


def _result(fitted: Fitted, problem: Problem, method: LevenbergMarquardt, seconds: float) -> Calibration:
    layout, transforms = problem.layout, problem.transforms
    units = {name: variable.unit for name, variable in (states(problem.model) | outputs(problem.model)).items()}

    def natural(place: Float[np.ndarray, "*shape parameters"]) -> Float[np.ndarray, "*shape parameters"]:
        return np.stack([t.inverse(place[..., k]) for k, t in enumerate(transforms)], axis=-1)

    estimate = natural(fitted.place)
    stretch = np.stack([t.derivative(fitted.place[:, k]) for k, t in enumerate(transforms)], axis=1)
    unknown = fitted.held[:, :, None] | fitted.held[:, None, :]
    covariance = np.where(unknown, np.nan, fitted.covariance * stretch[:, :, None] * stretch[:, None, :])
    curve = np.full(int(layout.used.sum()), np.nan)
    curve[layout.row[layout.used]] = fitted.predicted[layout.used]
    return Calibration(
        twins=problem.twin_names,
        parameters=problem.names,
        units=tuple(variable.unit for variable in problem.variables),
        observables=tuple(problem.observables),
        observable_units=tuple(units[observable.output] for observable in problem.observables.values()),
        estimate=estimate,
        standard_error=np.sqrt(np.einsum("bkk->bk", covariance)),
        covariance=covariance,
        degrees=fitted.degrees,
        search_estimate=fitted.place,
        search_covariance=fitted.covariance,
        transforms=transforms,
        at_bound=fitted.held,
        sd=fitted.noise[:, :, 0],
        fraction=fitted.noise[:, :, 1],
        rmse=fitted.rmse,
        objective=fitted.objective,
        status=fitted.status,
        iterations=fitted.iterations,
        seconds=seconds,
        fitted=curve,
        starts=Starts(fitted.start_status, fitted.start_objective, natural(fitted.start_place)),
        weakest=fitted.weakest,
        method=method,
    )
