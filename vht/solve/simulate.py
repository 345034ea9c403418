"""`simulate`: the one entry. Turns what a user gives into numbers, checks them, and solves."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped
from vht_kernels import LoweringError

from vht.model import Organ, Twins
from vht.solve.auto import decided
from vht.solve.given import Given, Plan, Results
from vht.solve.methods import Auto, Diffrax, Method, Tsit5
from vht.solve.padding import by_length
from vht.solve.plan import solve, solve_cohort
from vht.solve.request import Columns, Request
from vht.solve.schedule import Schedule
from vht.solve.sensitivity import Direction
from vht.solve.system import System
from vht.solve.trajectory import Numbers, Trajectory

Backend = Literal["auto", "lanes", "xla"]
# twins in one kernel call when somebody watches the progress
SLICE = 4096
# twins in one kernel call at most: Ctrl-C is heard between two of them
MOST = 65_536
# and so many that the tables of their own schedules take no more memory than this; XLA keeps some copies
TABLE_BYTES = 2**29
# where lanes has kernels
PLATFORMS = ("cpu",)


def simulate(
    model: Organ,
    times: Shaped[ArrayLike, "... saves"],
    *,
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    start: Shaped[ArrayLike, ...] = 0.0,
    schedule: Schedule | None = None,
    observe: Sequence[str] | None = None,
    method: Method = Tsit5(),
    backend: Backend = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Trajectory:
    """Solve a model for a cohort of twins.

    Works under `jax.jit` and `jax.vmap`, and has first derivatives, forward and reverse, with respect to parameters,
    initial values, start, times of saves and everything in the schedule. Sensitivities are then part of the error test.

    Args:
        model: one twin's equations; its parameters hold for every twin that has no column of its own.
        times: when to save, nondecreasing and not before `start`: ``[saves]`` for all, or ``[twins, saves]``, short rows
            filled up with +inf. In the model's unit of time, on each twin's own clock.
        twins: parameters that differ, by name; ``[twins]`` or a scalar each.
        initial: initial values by state, ``[twins]`` or a scalar each; the model's own for the others.
        start: time of the initial state, ``[twins]`` or a scalar.
        schedule: doses and measured inputs. A save at the very time of an event gives the value before it.
        observe: states and outputs to save; by default all.
        method: how to solve.
        backend: "lanes" for this package's kernels, "xla" for diffrax, "auto" for lanes unless the model uses
            something that they cannot compile, which a warning then says. Only lanes looks for kinks and jumps of the rates
            inside its steps: where there are some, the error of "xla" can be a hundred tolerances.
        slice_size: solve so many twins at a time; Ctrl-C is heard between two slices. Not under a transformation. By
            default cohorts of more than 65,536 twins, or whose own schedules take more than 512 MiB, are solved in slices.
        progress: called with the twins done and their total after each slice.

    Returns:
        Values and status per twin. A failed twin holds NaN from its failure on.

    Raises:
        ModelError: no model; an unknown parameter, state, input or observable; an input that needs a signal and has none.
        TypeError: something else than a schedule, a method, a list of names or columns by name.
        ValueError: what is not numbers; shapes that do not fit; times out of order (inside a transformation such a twin
            ends as ``non_finite``); a negative duration; a backend that does not run the method.
    """
    request = Request.of(model, times, twins, initial, start, schedule, observe, method)
    request.check()
    request = decide(request, backend)
    results, used = run(by_length(_solve_values), request, backend, slice_size, progress)
    return request.trajectory(results, used)


def simulate_with_jacobian(
    model: Organ,
    times: Shaped[ArrayLike, "... saves"],
    *,
    free: Sequence[str],
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    start: Shaped[ArrayLike, ...] = 0.0,
    schedule: Schedule | None = None,
    observe: Sequence[str] | None = None,
    method: Method = Tsit5(),
    backend: Backend = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Trajectory, dict[str, Float[Numbers, "twins saves free"]]]:
    """As `simulate`, and each value's derivatives with respect to each twin's own free quantities.

    Args:
        model: see `simulate`, as for the other arguments.
        times: see `simulate`.
        free: names of parameters, or ``initial.STATE``; at least one.
        twins: see `simulate`.
        initial: see `simulate`.
        start: see `simulate`.
        schedule: see `simulate`.
        observe: see `simulate`.
        method: see `simulate`.
        backend: see `simulate`.
        slice_size: see `simulate`.
        progress: see `simulate`.

    Returns:
        The trajectory, and by observed name the Jacobian ``[twins, saves, free]``; NaN where there is no value.

    Raises:
        ModelError: as `simulate`, and for an unknown free quantity.
        TypeError: as `simulate`.
        ValueError: as `simulate`.
    """
    request = Request.of(model, times, twins, initial, start, schedule, observe, method)
    request.check()
    if isinstance(free, str):
        raise TypeError(f'`free` must be a list of names, but got a text: write `free=["{free}"]`.')
    directions = tuple(request.direction(name) for name in free)
    if not directions:
        raise ValueError("`free` must name at least one parameter or initial value, but got none.")
    request = decide(request, backend)
    compute = by_length(functools.partial(_solve_columns, directions))
    (results, jacobian), used = run(compute, request, backend, slice_size, progress)
    return request.trajectory(results, used), jacobian


def choose_method(
    model: Organ,
    times: Shaped[ArrayLike, "... saves"],
    *,
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    start: Shaped[ArrayLike, ...] = 0.0,
    schedule: Schedule | None = None,
    method: Auto = Auto(),
) -> Method:
    """What `Auto` chooses for a model: `Tsit5` or `Rodas5P`, with its settings.

    Args:
        model: see `simulate`, as for the other arguments.
        times: see `simulate`.
        twins: see `simulate`.
        initial: see `simulate`.
        start: see `simulate`.
        schedule: see `simulate`.
        method: the settings.

    Raises:
        ModelError: as `simulate`.
        TypeError: as `simulate`.
        ValueError: as `simulate`.
    """
    request = Request.of(model, times, twins, initial, start, schedule, None, method)
    request.check()
    return decide(request, "auto").method


def decide(request: Request, backend: Backend) -> Request:
    """The request with a method that can run in place of `Auto`."""
    return decided(request, lambda pilot: run(by_length(_solve_values), pilot, backend, None, None)[0])


@functools.partial(jax.jit, static_argnums=0)
def _solve_values(plan: Plan, given: Given) -> Results:
    return solve_cohort(plan, given)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _solve_columns(
    directions: tuple[Direction, ...], plan: Plan, given: Given
) -> tuple[Results, dict[str, Float[Array, "twins saves free"]]]:
    results, jacobian = solve(plan, given, directions)
    stacked = {name: jnp.stack([column[name] for column in jacobian.columns], axis=-1) for name in results.values}
    return results, stacked


Compute = Callable[[Plan, Given], Any]


def run(
    compute: Compute,
    request: Request,
    backend: str,
    slice_size: int | None,
    progress: Callable[[int, int], object] | None,
) -> tuple[Any, str]:
    """Compute all at once or part after part; with the name of the backend that ran."""
    plan = request.plan
    if backend not in ("auto", "lanes", "xla", "vmap"):
        raise ValueError(f'`backend` must be "auto", "lanes" or "xla", but got {backend!r}.')
    if isinstance(plan.method, Diffrax):
        if backend not in ("auto", "xla"):
            raise ValueError(f"A method of diffrax runs on the `xla` backend, but got `backend` {backend!r}.")
        backend = "xla"
    if request.traced and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(
            "Inside jit, vmap or a derivative `simulate` needs float64: put `with jax.enable_x64(True):` around the "
            'transformed call, or set `jax.config.update("jax_enable_x64", True)`.'
        )
    total, most = plan.twins, min(MOST, max(1, TABLE_BYTES // max(1, _table_bytes(request.given))))
    size = total if progress is None else min(SLICE, most)
    if slice_size is not None:
        if slice_size < 1:
            raise ValueError(f"`slice_size` must be at least 1, but got {slice_size}.")
        size = slice_size
    elif size > most:
        # slices of about one size, so that little is computed to fill up the last one
        size = -(-total // -(-total // most))
    # times need float64 whatever the user's setting
    with jax.enable_x64(True):
        if request.traced and (slice_size is not None or progress is not None):
            raise ValueError("`slice_size` and `progress` cannot be used inside jit, vmap or a derivative.")
        if request.traced or total == 0 or (size >= total and progress is None):
            results, used = _on_backend(compute, plan, request.given, backend, request.traced)
        else:
            results, used = _in_slices(compute, request, backend, size, progress)
    if not request.traced:
        # NumPy arrays keep their float64 where jax arrays of a user who has not enabled it would lose theirs
        results = jax.tree.map(np.asarray, results)
    return results, used


def _table_bytes(given: Given) -> int:
    """What one twin's own schedule takes."""
    own = [leaf for leaf in jax.tree.leaves(given.schedule) if np.ndim(leaf) > 1]
    return sum(8 * np.shape(leaf)[-1] for leaf in own)


# Models that lanes refused, with what it said: the next call goes to XLA at once
_REFUSED: dict[System, str] = {}


def _on_backend(compute: Compute, plan: Plan, given: Given, backend: str, traced: bool) -> tuple[Any, str]:
    system = plan.system
    own_loop = [name for name, _ in system.events]
    own_loop += [state for state, algebraic in zip(system.states, system.algebraic, strict=True) if algebraic]
    if backend == "xla" and own_loop:
        raise ValueError(
            f"`{type(system.model).__name__}` has events of the state or algebraic variables (`{own_loop[0]}`), which the "
            '`xla` backend does not know: use `backend="lanes"`.'
        )
    if backend == "xla" or isinstance(plan.method, Diffrax):
        return compute(dataclasses.replace(plan, backend="xla"), given), "xla"
    assert not isinstance(plan.method, Auto), "`Auto` is decided before anything is solved"
    # our own loop takes the settings as numbers: other settings need no other program
    own = dataclasses.replace(plan, backend="lanes", method=plan.method.program())
    if backend != "auto":
        with _home(traced):
            return compute(dataclasses.replace(own, backend=backend), given), backend
    refused = _REFUSED.get(plan.system)
    if traced and _platform() not in PLATFORMS:
        refused = (
            f"inside a transformation lanes cannot leave the platform `{_platform()}`, for which it has no kernels"
        )
    if refused is None:
        try:
            with _home(traced):
                return compute(own, given), "lanes"
        except LoweringError as error:
            if own_loop:
                raise
            refused = _REFUSED[plan.system] = str(error)
    name = type(plan.system.model).__name__
    if own_loop:
        raise ValueError(
            f"`{name}` has events of the state or algebraic variables (`{own_loop[0]}`), for which there is only the `lanes` "
            f"backend, but {refused}."
        )
    warnings.warn(f"`{name}` runs on the slower `xla` backend: {refused}", stacklevel=4)
    return compute(dataclasses.replace(plan, backend="xla"), given), "xla"


def _platform() -> str:
    """What JAX would compute on here."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else getattr(device, "platform", device)


def _home(traced: bool) -> contextlib.AbstractContextManager[Any]:
    """Where lanes has kernels, if JAX would go elsewhere."""
    if traced or _platform() in PLATFORMS:
        return contextlib.nullcontext()
    return jax.default_device(jax.local_devices(backend=PLATFORMS[0])[0])


def _in_slices(
    compute: Compute, request: Request, backend: str, size: int, progress: Callable[[int, int], object] | None
) -> tuple[Any, str]:
    """Compute part after part; all have the shape of the first, so that one kernel and one program serve them."""
    total = request.plan.twins
    size = min(size, total)
    plan = dataclasses.replace(request.plan, twins=size)
    results, used = None, ""
    for begin in range(0, total, size):
        # the last part is filled up with copies of the last twin
        rows = np.minimum(np.arange(begin, begin + size), total - 1)
        part, used = _on_backend(compute, plan, request.given.rows(rows), backend, False)
        part = jax.tree.map(np.asarray, part)
        if results is None:
            results = jax.tree.map(lambda leaf: np.empty((total, *leaf.shape[1:]), leaf.dtype), part)
        keep = min(size, total - begin)
        for table, rows_found in zip(jax.tree.leaves(results), jax.tree.leaves(part), strict=True):
            table[begin : begin + keep] = rows_found[:keep]
        if progress is not None:
            progress(begin + keep, total)
    return results, used
