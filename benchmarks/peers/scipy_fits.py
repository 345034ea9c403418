"""SciPy's `least_squares`, one twin at a time, on several ways of solving the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks.cohort import STATES, Cohort
from benchmarks.peers import cvode, scipy_solvers

# of the judge and of the searches for the best objective
EXACT = 1e-10
_TOLERANCE = 1e-6


class Predicted(NamedTuple):
    """A solution and, from solvers that give it, its derivatives."""

    values: Float[np.ndarray, "saves states"]
    jacobian: Float[np.ndarray, "saves states free"] | None


@dataclass(frozen=True)
class Solver:
    """A way of solving the model within a fit.

    Attributes:
        solve: ``(one twin, free parameters) -> Predicted``.
        difference: relative step of the forward differences, for a solver without derivatives: well above what its
            tolerance leaves as noise.
        tolerance: at which the search stops, of objective, parameters and gradient.
    """

    solve: Callable[[Cohort, tuple[str, ...]], Predicted]
    difference: float = 1e-3
    tolerance: float = 1e-8


def _lsoda(twin: Cohort, free: tuple[str, ...]) -> Predicted:
    del free
    return Predicted(scipy_solvers.lsoda(twin, rtol=_TOLERANCE, atol=_TOLERANCE).values[0], None)


def _cvode(twin: Cohort, free: tuple[str, ...]) -> Predicted:
    del free
    return Predicted(cvode.solve(twin, rtol=_TOLERANCE, atol=_TOLERANCE).values[0], None)


def _cvodes(twin: Cohort, free: tuple[str, ...]) -> Predicted:
    found = cvode.solve(twin, rtol=_TOLERANCE, atol=_TOLERANCE, free=free)
    return Predicted(found.values[0], found.jacobian[0])


def _exact(twin: Cohort, free: tuple[str, ...]) -> Predicted:
    found = cvode.solve(twin, rtol=EXACT, atol=EXACT, free=free)
    return Predicted(found.values[0], found.jacobian[0])


lsoda = Solver(_lsoda)
cvode_differences = Solver(_cvode)
cvode_sensitivities = Solver(_cvodes)
exact = Solver(_exact, tolerance=1e-12)


class Fit(NamedTuple):
    """How a fit ended.

    Attributes:
        estimate: of the free parameters.
        objective: half the sum of squared residuals.
        ok: whether SciPy calls it a success.
        solves: of the model; one with derivatives counts once.
    """

    estimate: Float[np.ndarray, " free"]
    objective: float
    ok: bool
    solves: int


def fit(
    twin: Cohort,
    free: tuple[str, ...],
    observables: tuple[str, ...],
    values: Float[np.ndarray, " measurements"],
    sd: Float[np.ndarray, " measurements"],
    start: Float[np.ndarray, " free"],
    solver: Solver,
) -> Fit:
    """Fit one twin, on the logarithms of its parameters.

    Args:
        twin: a cohort of one.
        free: parameters.
        observables: states measured at every save but the first, one after another.
        values: what was measured.
        sd: its standard deviations.
        start: where to start.
        solver: how to solve the model.
    """
    from scipy.optimize import least_squares

    columns = [STATES.index(name) for name in observables]
    solves = 0
    last: tuple[np.ndarray, Predicted] | None = None

    def predict(place: np.ndarray) -> Predicted:
        nonlocal solves, last
        if last is None or not np.array_equal(last[0], place):
            solves += 1
            natural = np.exp(place)
            changed = twin.with_columns({name: natural[[k]] for k, name in enumerate(free)})
            last = place.copy(), solver.solve(changed, free)
        return last[1]

    def residual(place: np.ndarray) -> np.ndarray:
        found = predict(place).values[1:, columns].T.ravel()
        # a twin that cannot be solved there fits badly
        return np.where(np.isfinite(found), (found - values) / sd, 1e6)

    def slopes(place: np.ndarray) -> np.ndarray:
        jacobian = predict(place).jacobian
        assert jacobian is not None
        rows = jacobian[1:, columns].transpose(1, 0, 2).reshape(len(values), len(free))
        return rows * np.exp(place) / sd[:, None]

    has_slopes = solver in (cvode_sensitivities, exact)
    how: Any = slopes if has_slopes else "2-point"
    found = least_squares(
        residual,
        np.log(start),
        jac=how,
        diff_step=None if has_slopes else solver.difference,
        x_scale="jac",
        ftol=solver.tolerance,
        xtol=solver.tolerance,
        gtol=solver.tolerance,
        max_nfev=200,
    )
    return Fit(np.exp(found.x), float(found.cost), bool(found.success), solves)
