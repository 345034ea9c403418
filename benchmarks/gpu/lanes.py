"""This package's kernels, called where `vht.simulate` calls them: under `jit`, on numbers that lie on the device already."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from benchmarks.gpu.problems import Columns, Problem, Settings

MAX_STEPS = 1_000_000


class Solved(NamedTuple):
    """What a solve gives.

    Attributes:
        values: at the end, NaN where it failed.
        status: 0 where it went well.
        steps: tried.
        gradient: of the sum of the states at the end by each direction; empty last axis without any.
    """

    values: Float[Array, "trajectories states"]
    status: Int[Array, " trajectories"]
    steps: Int[Array, " trajectories"]
    gradient: Float[Array, "trajectories directions"]


def solver(
    problem: Problem, settings: Settings, precision: str, count: int, free: tuple[str, ...] = ()
) -> tuple[Callable[[Any], Solved], Callable[[Columns], Any]]:
    """The solve as a function under `jit`, and what makes its argument from columns (on the host).

    Args:
        problem: to solve.
        settings: of the steps.
        precision: of the states.
        count: of trajectories.
        free: parameters, or ``initial.STATE``, by which the sum of the states at the end is differentiated.
    """
    from vht.solve.given import Given, Plan
    from vht.solve.methods import Rodas5P, Tsit5
    from vht.solve.plan import solve, solve_cohort
    from vht.solve.sensitivity import Direction
    from vht.solve.system import system_of

    system = system_of(problem.model)
    method = Rodas5P(dtype=precision) if problem.stiff else Tsit5(step=settings.step, dtype=precision)  # type: ignore[arg-type]
    plan = Plan(system, problem.states, (), count, method.program(), "lanes")
    directions = tuple(
        Direction("initial", name.removeprefix("initial."))
        if name.startswith("initial.")
        else Direction("parameter", name)
        for name in free
    )
    own: dict[str, Any] = {name: np.asarray(getattr(problem.model, name), precision) for name in system.parameters}

    def given(columns: Columns) -> Any:
        return Given(
            parameters={**own, **{name: column.astype(precision) for name, column in columns.items()}},  # type: ignore[arg-type]
            initial={},
            start=np.float64(0.0),  # type: ignore[arg-type]
            times=np.array([problem.end]),  # type: ignore[arg-type]
            schedule=problem.schedule,
            step=np.float64(settings.first_step if settings.step is None else settings.step),  # type: ignore[arg-type]
            longest=np.float64(np.inf),  # type: ignore[arg-type]
            rtol=np.float64(settings.rtol),  # type: ignore[arg-type]
            atol=np.float64(settings.rtol * problem.threshold),  # type: ignore[arg-type]
            max_steps=np.int32(MAX_STEPS),  # type: ignore[arg-type]
        )

    @jax.jit
    def call(given: Any) -> Solved:
        if directions:
            results, jacobian = solve(plan, given, directions)
            sums = [sum(columns[name][:, 0] for name in problem.states) for columns in jacobian.columns]
            gradient = jnp.stack(sums, axis=-1)  # type: ignore[arg-type]
        else:
            results = solve_cohort(plan, given)
            gradient = jnp.zeros((count, 0), precision)
        values = jnp.stack([results.values[name][:, 0] for name in problem.states], axis=-1)
        return Solved(values, results.status, results.steps, gradient)

    return call, given


@functools.lru_cache(maxsize=64)
def _solver(
    problem: Problem, settings: Settings, precision: str, count: int, free: tuple[str, ...]
) -> tuple[Callable[[Any], Solved], Callable[[Columns], Any]]:
    return solver(problem, settings, precision, count, free)


def solve(problem: Problem, settings: Settings, precision: str, columns: Columns, free: tuple[str, ...] = ()) -> Solved:
    """Solve from host to host on JAX's default device; arrays of NumPy."""
    call, given = _solver(problem, settings, precision, len(next(iter(columns.values()))), free)
    return Solved(*map(np.asarray, call(given(columns))))  # type: ignore[arg-type]
