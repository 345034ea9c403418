"""`simulate`: the one entry. Turns what a user gives into numbers, checks them, and solves."""

from __future__ import annotations

import dataclasses
import functools
import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped
from vht_kernels import LoweringError

from vht.errors import TooLargeError
from vht.model import Organ, Twins
from vht.solve.auto import decided
from vht.solve.device import PLATFORMS, Device, Place, check_device, place
from vht.solve.given import Given, Plan, Results, Used
from vht.solve.meshes import where_twins_lie
from vht.solve.methods import Auto, Diffrax, Method, Tsit5
from vht.solve.padding import padded, shortened
from vht.solve.plan import solve, solve_cohort
from vht.solve.regroup import Regrouping, lockstep
from vht.solve.request import Columns, Request, check_names
from vht.solve.room import check_room, result_bytes
from vht.solve.schedule import Schedule
from vht.solve.sensitivity import Direction
from vht.solve.slices import array_bytes, even, fitting, in_slices, on_host, out_of_memory, shared_out
from vht.solve.system import System
from vht.solve.trajectory import Numbers, Trajectory

Backend = Literal["auto", "lanes", "xla"]
# twins in one kernel call when somebody watches the progress
SLICE = 4096
# twins in one kernel call at most: Ctrl-C is heard between two of them
MOST = 65_536
# and so many that the tables of their own schedules take no more memory than this; XLA keeps some copies
TABLE_BYTES = 2**29
# nor their results more than this, which there are several times until they are where they belong
RESULT_BYTES = 2**30
# the same on a GPU, where a call must hold several times as many twins as run at once, and there be several, so that copies
# overlap with computing; its memory decides besides. Chosen from the number of threads of an H100, not measured
GPU_SLICE = 2**16
GPU_MOST = 2**18


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
    device: Device = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Trajectory:
    """Solve a model for a cohort of twins.

    Works under `jax.jit` and `jax.vmap`, and has first derivatives, forward and reverse, with respect to parameters,
    initial values, start, times of saves and everything in the schedule. Sensitivities are then part of the error test. Where
    the rates jump, as ``jnp.where`` between unlike numbers makes them, derivatives know how the jump moves. They do not with
    steps of a fixed size or diffrax (`Diffrax`, the ``xla`` backend), nor of jumps within the branches of `jax.lax.cond` and
    within loops: declare an event there.

    Args:
        model: one twin's equations; its parameters hold for every twin that has no column of its own.
        times: when to save, nondecreasing and not before `start`: ``[saves]`` for all, or ``[twins, saves]``, short rows
            filled up with +inf. In the model's unit of time, on each twin's own clock.
        twins: parameters that differ, by name; ``[twins]`` or a scalar each. `Twins` without columns are as many as their
            names.
        initial: initial values by state, ``[twins]`` or a scalar each; the model's own for the others.
        start: time of the initial state, ``[twins]`` or a scalar.
        schedule: doses and measured inputs. A save at the very time of an event gives the value before it.
        observe: states and outputs to save; by default all. At the first save at which one of them is not finite the twin
            ends; with `simulate_with_jacobian` also where a derivative of one is not, which `jax.grad` gives as it is.
        method: how to solve.
        backend: "lanes" for this package's kernels, "xla" for diffrax, "auto" for lanes unless the model uses
            something that they cannot compile, which a warning then says. Only lanes looks for kinks and jumps of the rates
            inside its steps: where there are some, the error of "xla" can be a hundred tolerances.
        device: "cpu" for this machine's processor, "gpu" for NVIDIA GPUs, all that JAX sees or its `jax_default_device`;
            "auto" for them if the backend can use them, else the processor. Inside a transformation a solve runs where the
            code around it does; where the twins' arrays are spread over devices, each solves its own.
        slice_size: solve so many twins at a time; Ctrl-C is heard between two slices. Not under a transformation. By
            default cohorts of more than 65,536 twins, or whose own schedules take more than 512 MiB or results more than
            1 GiB, are solved in slices; on GPUs those of more than 262,144, or than fit into their memory, where copies and
            computing overlap.
        progress: called with the twins done and their total after each slice.

    Returns:
        Values and status per twin. A failed twin holds NaN from its failure on.

    Raises:
        ModelError: no model; an unknown parameter, state, input or observable; an input that needs a signal and has none.
        TypeError: something else than a schedule, a method, a list of names or columns by name.
        ValueError: what is not numbers; shapes that do not fit; times out of order (inside a transformation such a twin
            ends as ``non_finite``); a negative or infinite duration; a signal without values; a backend that does not run
            the method; another device than the transformation's.
        DeviceError: a GPU is asked for and there is none that can be used, or this process was forked from one that had
            computed; says what is missing.
        TooLargeError: results for which there is not enough memory.
    """
    request = Request.of(model, times, twins, initial, start, schedule, observe, method)
    request.check()
    request = decide(request, backend, device)
    results, used = run(_solve_values, request, backend, device, slice_size, progress, by_length=True)
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
    device: Device = "auto",
    gaps: bool = False,
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
        device: see `simulate`.
        gaps: leave an entry of the values or of the Jacobian that is not finite as it is, such as the logarithm of a
            concentration before the first dose, rather than end the twin there.
        slice_size: see `simulate`.
        progress: see `simulate`.

    Returns:
        The trajectory, and by observed name the Jacobian ``[twins, saves, free]``; NaN where there is no value.

    Raises:
        ModelError: as `simulate`, and for an unknown free quantity.
        TypeError: as `simulate`.
        ValueError: as `simulate`.
        DeviceError: as `simulate`.
        TooLargeError: as `simulate`.
    """
    request = Request.of(model, times, twins, initial, start, schedule, observe, method)
    request = dataclasses.replace(request, plan=dataclasses.replace(request.plan, gaps="all" if gaps else "none"))
    request.check()
    check_names("free", free)
    directions = tuple(request.direction(name) for name in free)
    if not directions:
        raise ValueError("`free` must name at least one parameter or initial value, but got none.")
    request = decide(request, backend, device)
    compute = functools.partial(_solve_columns, directions)
    (results, jacobian), used = run(
        compute, request, backend, device, slice_size, progress, by_length=True, columns=len(directions)
    )
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
    device: Device = "auto",
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
        device: see `simulate`.

    Raises:
        ModelError: as `simulate`.
        TypeError: as `simulate`.
        ValueError: as `simulate`.
        DeviceError: as `simulate`.
    """
    request = Request.of(model, times, twins, initial, start, schedule, None, method)
    request.check()
    return decide(request, "auto", device).method


def decide(request: Request, backend: Backend, device: Device) -> Request:
    """The request with a method that can run in place of `Auto`."""
    # before anything asks JAX, which may have no device at all
    check_device(device)
    return decided(request, lambda pilot: run(_solve_values, pilot, backend, device, None, None, by_length=True)[0])


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
    device: Device,
    slice_size: int | None,
    progress: Callable[[int, int], object] | None,
    *,
    by_length: bool = False,
    columns: int = 0,
) -> tuple[Any, Used]:
    """Compute all at once or slice after slice.

    Args:
        compute: of a cohort, arrays ``[twins, ...]``.
        request: what.
        backend: see `simulate`.
        device: see `simulate`.
        slice_size: see `simulate`.
        progress: see `simulate`.
        by_length: fill tables up where that spares compiling, and cut the results, tables over saves ``[twins, saves, ...]``.
        columns: of the Jacobian that is computed with every such table.

    Returns:
        What was computed, on the host unless a transformation holds it; and what ran.
    """
    plan = request.plan
    if backend not in ("auto", "lanes", "xla", "vmap"):
        raise ValueError(f'`backend` must be "auto", "lanes" or "xla", but got {backend!r}.')
    if isinstance(plan.method, Diffrax):
        if backend not in ("auto", "xla"):
            raise ValueError(f"A method of diffrax runs on the `xla` backend, but got `backend` {backend!r}.")
        backend = "xla"
    # before anything asks JAX, which may have no device at all
    check_device(device)
    if request.traced and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError(
            "Inside jit, vmap or a derivative `simulate` needs float64: put `with jax.enable_x64(True):` around the "
            'transformed call, or set `jax.config.update("jax_enable_x64", True)`.'
        )
    slice_size = None if slice_size is None else _twins_at_a_time(slice_size)
    if request.traced and (slice_size is not None or progress is not None):
        raise ValueError("`slice_size` and `progress` cannot be used inside jit, vmap or a derivative.")
    told = None if progress is None else _as_now(progress)
    cohort = _Cohort(compute, request, slice_size, told, by_length, columns)
    # times need float64 whatever the user's setting
    with jax.enable_x64(True):
        results, used = _on_backend(cohort.solve, plan, backend, device, request.traced)
    return results, used


def _as_now(function: Callable[[int, int], object]) -> Callable[[int, int], object]:
    """A function of the caller's, under the caller's own setting of JAX's precision."""
    precise = jax.config.jax_enable_x64  # type: ignore[attr-defined]

    def called(done: int, total: int) -> object:
        with jax.enable_x64(precise):
            return function(done, total)

    return called


def _twins_at_a_time(slice_size: Any) -> int:
    try:
        size = operator.index(slice_size)
    except TypeError:
        raise TypeError(f"`slice_size` must be a whole number of twins, but got {slice_size!r:.100}.") from None
    if size < 1:
        raise ValueError(f"`slice_size` must be at least 1, but got {size}.")
    return size


@dataclasses.dataclass(frozen=True)
class _Cohort:
    """Everybody who is to be solved; see `run`."""

    compute: Compute
    request: Request
    slice_size: int | None
    progress: Callable[[int, int], object] | None
    by_length: bool
    columns: int

    def solve(self, plan: Plan, where: Place) -> Any:
        """All at once where that is one kernel call, else slice after slice."""
        if self.by_length and not self.request.traced:
            saves = self.request.given.times.shape[-1]
            check_room(plan.twins, saves, len(plan.observed), self.columns, plan.dtype.itemsize)
        try:
            return self._solved(plan, where)
        except jax.errors.JaxRuntimeError as error:
            if where.platform != "cpu" or self.request.traced or not out_of_memory(error):
                raise
            raise TooLargeError(
                f"There is not enough memory to solve {plan.twins:,} twins as it was tried: give a smaller `slice_size`, save "
                f"at fewer times, or `observe` fewer variables ({error})."
            ) from error

    def _solved(self, plan: Plan, where: Place) -> Any:
        given, total = self.request.given, plan.twins
        # the `xla` backend looks at every entry of a schedule, whether anything happens there or not
        fill = self.by_length and plan.backend != "xla"

        def rows(index: np.ndarray) -> Given:
            some = given.rows(index)
            return padded(some) if fill else some

        def cut(results: Any) -> Any:
            return shortened(results, given.times.shape[-1]) if self.by_length else results

        def part(twins: int, numbers: Given) -> Any:
            return self.compute(dataclasses.replace(plan, twins=twins), numbers)

        def whole() -> Any:
            numbers = padded(given) if fill else given
            if self.request.traced:
                return cut(where_twins_lie(functools.partial(self.compute, plan), numbers))
            return cut(on_host(self.compute(plan, numbers)))

        overlapping = where.platform == "gpu" and not self.request.traced
        if self.request.traced or total == 0:
            return whole()
        if overlapping:
            size = self.slice_size or self._size_on(where, part, rows(np.zeros(1, np.int64)))
        else:
            size = self._size_on_processor()
            if size >= total and self.progress is None:
                return whole()
        grouped = Regrouping(given, lockstep(where.platform, plan.dtype)) if plan.backend == "lanes" else None
        orders = {} if grouped is None else {"order": grouped.order, "learn": grouped.learn}
        return in_slices(
            part,
            rows,
            total,
            size,
            devices=where.devices if overlapping else (),
            collect=lambda results: cut(on_host(results)),
            progress=self.progress,
            **orders,
        )

    def _size_on_processor(self) -> int:
        given, plan = self.request.given, self.request.plan
        saves, variables = given.times.shape[-1], len(plan.observed)
        own = result_bytes(saves, variables, self.columns, plan.dtype.itemsize)
        total = plan.twins
        most = max(1, min(MOST, TABLE_BYTES // max(1, _table_bytes(given)), RESULT_BYTES // max(1, own)))
        if self.slice_size is not None:
            return self.slice_size
        size = total if self.progress is None else min(SLICE, most)
        return even(total, most) if size > most else size

    def _size_on(self, where: Place, part: Callable[[int, Given], Any], one: Given) -> int:
        total = self.request.plan.twins
        size = shared_out(total, GPU_MOST if self.progress is None else GPU_SLICE, len(where.devices))
        leaves, tree = jax.tree.flatten(one)
        mine = [leaf.ndim > rank for leaf, rank in zip(leaves, jax.tree.leaves(one.ranks()), strict=True)]
        shapes = [(size, *leaf.shape[1:]) if its else leaf.shape for leaf, its in zip(leaves, mine, strict=True)]
        inputs = [jax.ShapeDtypeStruct(shape, leaf.dtype) for shape, leaf in zip(shapes, leaves, strict=True)]
        # what is traced of a slice here need not be traced again when it is solved
        results = jax.eval_shape(functools.partial(part, size), jax.tree.unflatten(tree, inputs))
        own = array_bytes([leaf for leaf, its in zip(leaves, mine, strict=True) if its]) + array_bytes(results) // size
        shared = array_bytes([leaf for leaf, its in zip(leaves, mine, strict=True) if not its])
        return fitting(total, size, where.devices, own, shared)


def _table_bytes(given: Given) -> int:
    """What one twin's own schedule takes."""
    own = [leaf for leaf in jax.tree.leaves(given.schedule) if np.ndim(leaf) > 1]
    return sum(8 * np.shape(leaf)[-1] for leaf in own)


# Models that lanes refused, with what it said: the next call goes to XLA at once
_REFUSED: dict[tuple[System, str], str] = {}


def _on_backend(
    solve: Callable[[Plan, Place], Any], plan: Plan, backend: str, device: Device, traced: bool
) -> tuple[Any, Used]:
    system = plan.system
    own_loop = [name for name, _ in system.events]
    own_loop += [state for state, algebraic in zip(system.states, system.algebraic, strict=True) if algebraic]

    def on(kind: str, plan: Plan, where: Place) -> tuple[Any, Used]:
        with where.entered():
            return solve(dataclasses.replace(plan, backend=kind), where), Used(kind, where.platform)

    if backend == "xla" and own_loop:
        raise ValueError(
            f"`{type(system.model).__name__}` has events of the state or algebraic variables (`{own_loop[0]}`), which the "
            '`xla` backend does not know: use `backend="lanes"`.'
        )
    if backend == "xla" or isinstance(plan.method, Diffrax):
        return on("xla", plan, place(device, "xla", traced))
    assert not isinstance(plan.method, Auto), "`Auto` is decided before anything is solved"
    # our own loop takes the settings as numbers: other settings need no other program
    own, where = dataclasses.replace(plan, method=plan.method.program()), place(device, "lanes", traced)
    if backend != "auto":
        return on(backend, own, where)
    refused = _REFUSED.get((plan.system, where.platform))
    if traced and where.platform not in PLATFORMS:
        refused = (
            f"inside a transformation lanes cannot leave the platform `{where.platform}`, for which it has no kernels"
        )
    if refused is None:
        try:
            return on("lanes", own, where)
        except LoweringError as error:
            if own_loop:
                raise
            refused = _REFUSED[plan.system, where.platform] = str(error)
    name = type(plan.system.model).__name__
    if own_loop:
        raise ValueError(
            f"`{name}` has events of the state or algebraic variables (`{own_loop[0]}`), for which there is only the `lanes` "
            f"backend, but {refused}."
        )
    warnings.warn(f"`{name}` runs on the slower `xla` backend: {refused}", stacklevel=4)
    return on("xla", plan, place(device, "xla", traced))
