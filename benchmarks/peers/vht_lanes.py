"""This package, through its public functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.cohort import STATES, Cohort

Precision = Literal["float64", "float32"]


class Solved(NamedTuple):
    """What this package gives.

    Attributes:
        values: NaN from a failure on.
        ok: twins that reached the last time.
        jacobian: derivatives with respect to the free parameters; empty last axis if none.
        status: of each twin.
        steps: tried, of each twin.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]
    jacobian: Float[np.ndarray, "twins saves states free"]
    status: Int[np.ndarray, " twins"]
    steps: Int[np.ndarray, " twins"]


def solve(
    cohort: Cohort,
    *,
    rtol: float,
    atol: float,
    dtype: Precision = "float64",
    fixed: tuple[Literal["tsit5", "rk4"], float] | None = None,
    free: Sequence[str] = (),
    backend: Literal["lanes", "xla"] = "lanes",
    max_steps: int = 100_000,
) -> Solved:
    """Solve a cohort.

    Args:
        cohort: the twins; they must differ in their parameters only.
        rtol: relative tolerance.
        atol: absolute tolerance.
        dtype: what states are computed in.
        fixed: a method and the size of its steps, instead of steps under an error test.
        free: parameters to differentiate with respect to.
        backend: own kernels, or diffrax behind the same interface.
        max_steps: budget.
    """
    from vht.organs.circulation import Circulation
    from vht.solve import RK4, Tsit5, simulate, simulate_with_jacobian

    method: Any = Tsit5(rtol=rtol, atol=atol, dtype=dtype, max_steps=max_steps)
    if fixed is not None:
        kind = {"tsit5": Tsit5, "rk4": RK4}[fixed[0]]
        method = kind(step=fixed[1], dtype=dtype, max_steps=max_steps)
    settings: dict[str, Any] = {
        "twins": {name: cohort.column(name) for name in cohort.varied},
        "initial": {name: float(cohort.initial[0, i]) for i, name in enumerate(STATES)},
        "start": float(cohort.times[0]),
        "observe": STATES,
        "method": method,
        "backend": backend,
    }
    if free:
        trajectory, slopes = simulate_with_jacobian(Circulation(), cohort.times, free=free, **settings)
        jacobian = np.stack([np.asarray(slopes[name]) for name in STATES], axis=2)
    else:
        trajectory = simulate(Circulation(), cohort.times, **settings)
        jacobian = np.empty((len(cohort), len(cohort.times), len(STATES), 0))
    values = np.stack([np.asarray(trajectory.values[name]) for name in STATES], axis=-1)
    status, steps = np.asarray(trajectory.status), np.asarray(trajectory.steps)
    return Solved(values, np.asarray(trajectory.ok), jacobian, status, steps)
