"""This package's kernels, called where `vht.simulate` calls them: under `jit`, on numbers that lie on the device already."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import vht_kernels
from jaxtyping import Array, Float, Int
from vht_kernels import nvidia

from benchmarks.gpu.device import Limits
from benchmarks.gpu.problems import Columns, Problem, Settings
from benchmarks.gpu.timing import FEWEST

MAX_STEPS = 1_000_000


class Raw(NamedTuple):
    """What a solve leaves on the device: a column a number, as kernels write them.

    Attributes:
        values: at the end, by state; NaN where it failed.
        status: 0 where it went well.
        steps: tried.
        gradient: of the sum of the states at the end, by direction.
    """

    values: tuple[Float[Array, " trajectories"], ...]
    status: Int[Array, " trajectories"]
    steps: Int[Array, " trajectories"]
    gradient: tuple[Float[Array, " trajectories"], ...]


class Solved(NamedTuple):
    """The same on the host.

    Attributes:
        values: at the end.
        status: 0 where it went well.
        steps: tried.
        gradient: empty last axis without directions.
    """

    values: Float[np.ndarray, "trajectories states"]
    status: Int[np.ndarray, " trajectories"]
    steps: Int[np.ndarray, " trajectories"]
    gradient: Float[np.ndarray, "trajectories directions"]


def solver(
    problem: Problem, settings: Settings, precision: str, count: int, free: tuple[str, ...] = ()
) -> tuple[Callable[[Any], Raw], Callable[[Columns], Any]]:
    """The solve as a function under `jit`, and what makes its argument from columns (on the host).

    Args:
        problem: to solve.
        settings: of the steps.
        precision: of the states.
        count: of trajectories.
        free: parameters, or ``initial.STATE``, by which the sum of the states at the end is differentiated.
    """
    from vht.solve.given import Given, Plan
    from vht.solve.methods import RK4, Rodas5P, Tsit5
    from vht.solve.plan import solve, solve_cohort
    from vht.solve.sensitivity import Direction
    from vht.solve.system import system_of

    system = system_of(problem.model)
    method: Any
    if problem.stiff:
        method = Rodas5P(dtype=precision)  # type: ignore[arg-type]
    elif settings.mode == "rk4":
        method = RK4(1.0, dtype=precision)  # type: ignore[arg-type]
    else:
        method = Tsit5(step=settings.step, dtype=precision)  # type: ignore[arg-type]
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
    def call(given: Any) -> Raw:
        gradient: tuple[Any, ...] = ()
        if directions:
            results, jacobian = solve(plan, given, directions)
            gradient = tuple(sum(columns[name][:, 0] for name in problem.states) for columns in jacobian.columns)
        else:
            results = solve_cohort(plan, given)
        return Raw(
            tuple(results.values[name][:, 0] for name in problem.states), results.status, results.steps, gradient
        )

    return call, given


class Compiled(NamedTuple):
    """A solve, compiled for as many trajectories as given.

    Attributes:
        run: of what `given` makes.
        given: as of `solver`.
        seconds: that compiling took.
        programs: the kernels in it.
    """

    run: Callable[[Any], Raw]
    given: Callable[[Columns], Any]
    seconds: float
    programs: list[Any]


def compiled(
    problem: Problem, settings: Settings, precision: str, columns: Columns, free: tuple[str, ...] = ()
) -> Compiled:
    """Compile ahead of any call; arguments as of `solve`."""
    call, given = solver(problem, settings, precision, len(next(iter(columns.values()))), free)
    sample = given(columns)
    begin = time.perf_counter()
    run = call.lower(sample).compile()  # type: ignore[attr-defined]
    return Compiled(run, given, time.perf_counter() - begin, vht_kernels.programs(call, sample))


def block(count: int, limits: Limits | None) -> int:
    """Threads a block, of a kernel of so many lanes."""
    few = nvidia.BLOCK * limits.multiprocessors if limits is not None else 0
    return nvidia.SMALL_BLOCK if count <= few else nvidia.BLOCK


def queued(run: Callable[[Any], Raw], given: Any, repeats: int, most: float, alone: float) -> tuple[float, int]:
    """Seconds a call among others, each begun before the last has ended; and how many there were.

    Args:
        run: the solver.
        given: for it.
        repeats: how many calls, but at least `FEWEST`,
        most: and no more than take so many seconds,
        alone: where one by itself takes so many.
    """
    calls = max(FEWEST, min(repeats, int(most / alone)))
    given = jax.block_until_ready(jax.device_put(given))
    result = jax.block_until_ready(run(given))
    begin = time.perf_counter()
    for _ in range(calls):
        result = run(given)
    jax.block_until_ready(result)
    return (time.perf_counter() - begin) / calls, calls


@functools.lru_cache(maxsize=64)
def _solver(
    problem: Problem, settings: Settings, precision: str, count: int, free: tuple[str, ...]
) -> tuple[Callable[[Any], Raw], Callable[[Columns], Any]]:
    return solver(problem, settings, precision, count, free)


def solve(problem: Problem, settings: Settings, precision: str, columns: Columns, free: tuple[str, ...] = ()) -> Solved:
    """Solve from host to host on JAX's default device."""
    return in_rows(solve_raw(problem, settings, precision, columns, free))


def solve_raw(
    problem: Problem, settings: Settings, precision: str, columns: Columns, free: tuple[str, ...] = ()
) -> Any:
    """The same, left as `fetched` gives it."""
    call, given = _solver(problem, settings, precision, len(next(iter(columns.values()))), free)
    return fetched(call(given(columns)))


def fetched(raw: Raw) -> Any:
    """Bring results to the host, all copies under way before the first is waited for; as NumPy's arrays."""
    for leaf in jax.tree.leaves(raw):
        leaf.copy_to_host_async()
    return jax.tree.map(np.asarray, raw)


def in_rows(found: Any) -> Solved:
    """What `fetched` gives, put together to a row a trajectory."""
    values, status, steps, gradient = found
    empty = np.empty((len(status), 0), values[0].dtype)
    return Solved(np.stack(values, axis=1), status, steps, np.stack(gradient, axis=1) if gradient else empty)
