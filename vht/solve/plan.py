"""From a cohort's data to one kernel call: events merged, directions laid out, results gathered.

The derivative of a solve is a rule: it looks at which inputs move, asks the kernel for values and those columns of the
Jacobian at once, and contracts them with the tangents in plain JAX, which can be transposed, batched and compiled.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from vht.solve.directions import Directions
from vht.solve.explicit import Explicit
from vht.solve.exponential import Exponential
from vht.solve.loop import Loop
from vht.solve.methods import Auto, Diffrax, Method, Rodas5P, RushLarsen
from vht.solve.schedule import Events, Schedule, merge, start_of, unless_late
from vht.solve.sensitivity import Augmented, Direction, EventTangents, Kind, Seed, event_tangents, seed_of
from vht.solve.status import Status
from vht.solve.stiff import Stiff
from vht.solve.system import System
from vht.solve.twin import Solved, Twin

# Directions beyond this many states and sensitivities together go to another kernel: code grows with them
KERNEL_ENTRIES = 132
KERNEL_DIRECTIONS = 16
XLA_DIRECTIONS = 64
# where code does not grow with them: what they keep in memory does
ONE_BY_ONE_DIRECTIONS = 64
# entries of a schedule's table beyond this many share a kernel of so many at a time, whatever their number
SCHEDULE_DIRECTIONS = 4
MOST_DIRECTIONS = 512


class Given(NamedTuple):
    """The numbers of a solve. A leaf has the axes said below, with a leading axis ``[twins]`` or without one (shared).

    Attributes:
        parameters: by name, scalars; all of the model's.
        initial: by state, scalars; those that replace the model's own.
        start: scalar.
        times: of saves, one axis.
        schedule: tables, one axis.
        step: fixed step or bound of the first one, scalar, never per twin; 0 for none.
        longest: bound of every step, scalar, never per twin.
        rtol, atol: scalars, never per twin.
        max_steps: scalar, never per twin.
    """

    parameters: dict[str, Array]
    initial: dict[str, Array]
    start: Array
    times: Array
    schedule: Schedule
    step: Array
    longest: Array
    rtol: Array
    atol: Array
    max_steps: Array

    def ranks(self) -> Given:
        """The number of axes that each leaf has when all twins share it."""
        return Given(
            parameters=jax.tree.map(lambda _: 0, self.parameters),
            initial=jax.tree.map(lambda _: 0, self.initial),
            start=0,  # type: ignore[arg-type]
            times=1,  # type: ignore[arg-type]
            schedule=jax.tree.map(lambda _: 1, self.schedule),
            step=0,  # type: ignore[arg-type]
            longest=0,  # type: ignore[arg-type]
            rtol=0,  # type: ignore[arg-type]
            atol=0,  # type: ignore[arg-type]
            max_steps=0,  # type: ignore[arg-type]
        )

    def rows(self, index: np.ndarray) -> Given:
        """The same for some of the twins."""
        return jax.tree.map(lambda leaf, rank: leaf[index] if np.ndim(leaf) > rank else leaf, self, self.ranks())


class Results(NamedTuple):
    """What a solve gives for a cohort.

    Attributes:
        values: by observed name.
        status: `Status` codes.
        steps: tried.
        rejected: of those.
        culprit: number of the state, an algebraic variable, for which no value was found; -1 where there is none.
        events: by name, how often each event of the state happened.
    """

    values: dict[str, Float[Array, "twins saves"]]
    status: Int[Array, " twins"]
    steps: Int[Array, " twins"]
    rejected: Int[Array, " twins"]
    culprit: Int[Array, " twins"]
    events: dict[str, Int[Array, " twins"]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to solve and how, apart from numbers.

    Attributes:
        system: the model's functions.
        observed: names of what is saved.
        lags: port and lag parameter, of the dosed ports that have one.
        twins: how many.
        method: the settings; only those that change the program matter here.
        backend: "lanes", "xla" or "vmap" (this package's own loop under `jax.vmap`, for comparison).
        ordered: ports whose signals are known to be in order of time, for every twin.
    """

    system: System
    observed: tuple[str, ...]
    lags: tuple[tuple[str, str], ...]
    twins: int
    method: Method
    backend: str
    ordered: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """What states are computed in."""
        return np.dtype(self.method.dtype)

    @property
    def one_by_one(self) -> bool:
        """Whether a kernel takes its directions one after another, rather than each with code of its own."""
        return isinstance(self.method, Rodas5P) and self.backend != "xla"


# ------------------------------------------------------------------------------------------------------------- columns


def _axis(leaf: Array, rank: int) -> int | None:
    return 0 if jnp.ndim(leaf) > rank else None


def _schedule_axes(schedule: Schedule) -> Any:
    return jax.tree.map(lambda leaf: _axis(leaf, 1), schedule)


def _over_twins(function: Callable[..., Any], axes: tuple[Any, ...], *args: Any) -> tuple[Any, bool]:
    """Apply a function of one twin's rows; a result is per twin if any argument is."""
    batched = any(axis == 0 for axis in jax.tree.leaves(axes))
    return (jax.vmap(function, in_axes=axes) if batched else function)(*args), batched


def _columns(
    plan: Plan, given: Given, directions: Sequence[Direction | None], seeds: tuple[Seed, ...]
) -> tuple[Twin, Twin]:
    """The kernel's arguments and their axes. A direction that is None only fills up a kernel."""
    dtype = plan.dtype
    schedule = given.schedule
    lags = {port: given.parameters[name] for port, name in plan.lags if port in schedule.doses}
    lag_axes = {port: _axis(lag, 0) for port, lag in lags.items()}
    axes = (_schedule_axes(schedule), lag_axes, _axis(given.start, 0))
    clock = functools.partial(jax.tree.map, lambda leaf: leaf.astype(np.float64))
    schedule, lags = clock(schedule), clock(lags)
    start = given.start.astype(np.float64)

    events, event_axes = _events(plan, schedule, lags, start, axes)
    moved = _moved(plan, schedule, lags, start, axes, directions, seeds)

    number = functools.partial(jax.tree.map, lambda leaf: leaf.astype(dtype))
    finite = jnp.isfinite(given.times)
    saves = jnp.sum(finite, axis=-1, dtype=np.int32)
    # a NaN among the times is not a missing save: let the twin fail
    missing = jnp.isposinf(given.times)
    saves = jnp.where(jnp.any(~finite & ~missing, axis=-1), np.int32(given.times.shape[-1]), saves)
    times = given.times.astype(np.float64)
    # nor are times out of order, which nobody can refuse inside a transformation
    begin, _ = _over_twins(unless_late, (_axis(start, 0), _axis(times, 1)), start, times)
    end = jnp.max(jnp.where(missing, -jnp.inf, times), axis=-1, initial=-np.inf)
    sizes = [_size(given, direction, end - start) for direction in directions]
    twin = Twin(
        parameters=number(given.parameters),
        initial=number(given.initial),
        start=begin,
        times=times,
        saves=saves,
        end=end,
        events=None if events is None else _numbers(events, dtype, keep=("first", "time")),
        moved=jax.tree.map(
            lambda m: _numbers(m, dtype, keep=("time",)), moved, is_leaf=lambda m: isinstance(m, EventTangents)
        ),
        sizes=_table_of(number(sizes)) if plan.one_by_one and sizes else tuple(number(sizes)),
        rtol=given.rtol.astype(dtype),
        atol=given.atol.astype(dtype),
        max_steps=given.max_steps.astype(np.int32),
        step=given.step.astype(np.float64),
        longest=given.longest.astype(np.float64),
    )
    scalar = functools.partial(jax.tree.map, lambda leaf: _axis(leaf, 0))
    axes_of: dict[str, Any] = dict(  # noqa: C408
        parameters=scalar(twin.parameters),
        initial=scalar(twin.initial),
        start=_axis(begin, 0),
        times=_axis(times, 1),
        saves=_axis(saves, 0),
        end=_axis(end, 0),
        events=event_axes,
        moved=jax.tree.map(lambda _: 0 if any(axis == 0 for axis in jax.tree.leaves(axes)) else None, twin.moved),
        sizes=_axis(twin.sizes, 1) if plan.one_by_one and sizes else scalar(twin.sizes),
        rtol=None,
        atol=None,
        max_steps=None,
        step=None,
        longest=None,
    )
    layout = Twin(**axes_of)
    if layout.start is None:
        # a kernel needs one column at least, and every twin its own end
        twin = twin._replace(start=jnp.broadcast_to(twin.start, (plan.twins,)))
        layout = layout._replace(start=0)
    return twin, layout


def _events(
    plan: Plan, schedule: Schedule, lags: dict[str, Array], start: Array, axes: tuple[Any, ...]
) -> tuple[Events | None, Events | None]:
    """The merged schedule and its axes: one for all twins, however their starts differ, where nothing else does."""
    merged, per_twin = _over_twins(functools.partial(merge, ordered=plan.ordered), axes[:2], schedule, lags)
    if merged is None:
        return None, None
    merged_axes = jax.tree.map(lambda _: 0 if per_twin else None, merged)
    (first, values, slopes), started = _over_twins(start_of, (merged_axes, axes[2]), merged, start)

    def tables(merged: Any, first: Any, values: Any, slopes: Any) -> Events:
        return Events(first, merged.time, merged.amounts, merged.values, merged.slopes, values, slopes)

    own = jax.tree.map(lambda _: 0 if started else None, (first, values, slopes))
    return tables(merged, first, values, slopes), tables(merged_axes, *own)


def _moved(
    plan: Plan,
    schedule: Schedule,
    lags: dict[str, Array],
    start: Array,
    axes: tuple[Any, ...],
    directions: Sequence[Direction | None],
    seeds: tuple[Seed, ...],
) -> Any:
    """How each direction moves the events; those with one seed are worked out together.

    Returns:
        By direction, None where it moves none; or, where a kernel takes them one by one, one `EventTangents` whose tables
        hold all directions one after another, None if none moves any.
    """
    if plan.one_by_one:
        union = Directions(plan.system, seeds).union
        if not (union.times or union.amounts or union.values):
            return None
        seeds = (union,) * len(seeds)
    moved: list[EventTangents | None] = [None] * len(seeds)
    for seed in dict.fromkeys(seeds):
        if not (seed.times or seed.amounts or seed.values):
            continue
        where = [i for i, other in enumerate(seeds) if other == seed]
        units = [_unit(schedule, lags, plan.lags, directions[i]) for i in where]
        dots = jax.tree.map(lambda *leaves: jnp.stack(leaves), *units)

        def along(dots: Any, seed: Seed = seed) -> EventTangents:
            of_twin = functools.partial(event_tangents, seed, plan.ordered)
            return _over_twins(of_twin, (*axes, (axes[0], axes[1])), schedule, lags, start, dots)[0]

        tables = jax.vmap(along)(dots)
        if plan.one_by_one:
            # tables of one number a twin get an axis of directions, the others have theirs prolonged by it
            per_twin = any(axis == 0 for axis in jax.tree.leaves(axes))
            return jax.tree.map(functools.partial(_joined, per_twin), tables)
        for row, i in enumerate(where):
            moved[i] = jax.tree.map(lambda leaf, row=row: leaf[row], tables)
    return tuple(moved)


def _joined(per_twin: bool, leaf: Array) -> Array:
    """``[directions, twins, n]`` or ``[directions, n]`` (or without n) as a table a twin, direction after direction."""
    return jnp.moveaxis(leaf, 0, 1).reshape((leaf.shape[1], -1)) if per_twin else leaf.reshape((-1,))


def _table_of(columns: Sequence[Array]) -> Array:
    """Columns (scalars or one entry a twin) as one table a twin."""
    return jnp.stack(jnp.broadcast_arrays(*columns), axis=-1)


def _numbers(tables: Any, dtype: np.dtype, keep: tuple[str, ...]) -> Any:
    """Values in the dtype of the model; times stay in float64."""
    changed = {
        name: jax.tree.map(lambda leaf: leaf.astype(dtype), value)
        for name, value in tables._asdict().items()
        if name not in keep
    }
    return tables._replace(**changed)


def _size(given: Given, direction: Direction | None, span: Array) -> Array:
    """The size of what a direction moves, 1 where that is 0: scales the tolerance of its sensitivity.

    A time's is the length of the solve, since where its clock has its zero says nothing.
    """
    if direction is None:
        return jnp.ones(())
    match direction.kind:
        case "parameter":
            value = given.parameters[direction.name]
        case "initial":
            value = given.initial[direction.name]
        case "start":
            value = span
        case _:
            value = span if direction.field == "time" else _table(given.schedule, direction)[..., direction.index]
    size = jnp.abs(value)
    return jnp.where((size > 0.0) & (size < jnp.inf), size, 1.0)


def _table(schedule: Schedule, direction: Direction) -> Array:
    return getattr(getattr(schedule, direction.kind)[direction.name], direction.field)


def _unit(
    schedule: Schedule, lags: Mapping[str, Array], names: tuple[tuple[str, str], ...], direction: Direction | None
) -> tuple[Schedule, dict[str, Array]]:
    """How a direction moves schedule and lags: by 1 in one place."""
    still = jax.tree.map(jnp.zeros_like, schedule)
    lag_names = dict(names)
    moved = {
        port: jnp.full_like(lag, float(direction is not None and direction == Direction("parameter", lag_names[port])))
        for port, lag in lags.items()
    }
    if direction is None or direction.kind not in ("doses", "signals"):
        return still, moved

    def one(path: Any, leaf: Array) -> Array:
        keys = tuple(getattr(k, "name", getattr(k, "key", None)) for k in path)
        if keys != (direction.kind, direction.name, direction.field):
            return leaf
        return jnp.broadcast_to(jnp.arange(leaf.shape[-1]) == direction.index, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(one, still), moved


# --------------------------------------------------------------------------------------------------------------- solve


class Jacobian(NamedTuple):
    """Columns of the values' Jacobian.

    Attributes:
        columns: by direction, by observed name.
        time_rates: by observed name; empty if not asked for.
    """

    columns: tuple[dict[str, Float[Array, "twins saves"]], ...]
    time_rates: dict[str, Float[Array, "twins saves"]]


def solve(
    plan: Plan, given: Given, directions: tuple[Direction, ...] = (), time_rates: bool = False
) -> tuple[Results, Jacobian]:
    """Solve a cohort, with the columns of the Jacobian that are asked for."""
    if len(directions) > MOST_DIRECTIONS:
        raise ValueError(
            f"A solve gives at most {MOST_DIRECTIONS} columns of a Jacobian, but {len(directions)} were asked for: "
            "differentiate with respect to fewer entries of the schedule at a time."
        )
    given = _with_initial(plan, jax.tree.map(jnp.asarray, given), directions)
    solved: list[Solved] = []
    found: dict[Direction, dict[str, Array]] = {}
    for group in _groups(plan, given, directions):
        rates = time_rates and not solved
        solved.append(_run(plan, given, group, rates))
        for direction, tables in zip(group, solved[-1].tangents, strict=True):
            if direction is not None:
                found[direction] = dict(zip(plan.observed, tables, strict=True))
    first = functools.reduce(_both, solved)
    values = dict(zip(plan.observed, first.values, strict=True))
    happened = {name: count for (name, _), count in zip(plan.system.events, first.events, strict=True)}
    results = Results(values, first.status, first.steps, first.rejected, first.culprit, happened)
    rates_by_name = dict(zip(plan.observed, first.time_rates, strict=True)) if time_rates else {}
    return results, Jacobian(tuple(found[d] for d in directions), rates_by_name)


def _both(one: Solved, other: Solved) -> Solved:
    """What two kernels reached with their own directions: a twin that failed in either has failed."""
    values = tuple(jnp.where(jnp.isnan(b), b, a) for a, b in zip(one.values, other.values, strict=True))
    return one._replace(values=values, status=jnp.where(one.status == Status.OK, other.status, one.status))


def _with_initial(plan: Plan, given: Given, directions: Sequence[Direction]) -> Given:
    """Write out the model's own initial values of the states whose initial value a direction moves."""
    missing = {d.name for d in directions if d.kind == "initial"} - set(given.initial)
    if not missing:
        return given
    axes = tuple(jax.tree.map(lambda leaf: _axis(leaf, 0), columns) for columns in (given.parameters, given.initial))
    values, _ = _over_twins(plan.system.initial, axes, given.parameters, given.initial)
    own = {name: value for name, value in zip(plan.system.states, values, strict=True) if name in missing}
    return given._replace(initial={**given.initial, **own})


def _groups(plan: Plan, given: Given, directions: Sequence[Direction]) -> list[list[Direction | None]]:
    """Which directions go through one kernel together."""
    if plan.backend == "xla":
        # here a program costs more than its size
        return [list(directions[i : i + XLA_DIRECTIONS]) for i in range(0, len(directions), XLA_DIRECTIONS)] or [[]]
    most = min(max(1, KERNEL_ENTRIES // len(plan.system.states) - 1), KERNEL_DIRECTIONS)
    if plan.one_by_one:
        most = ONE_BY_ONE_DIRECTIONS
    alone: list[Direction | None] = []
    groups: list[list[Direction | None]] = []
    for _, entries in itertools.groupby(directions, key=lambda d: (d.kind, d.name, d.field) if d.field else d.kind):
        part = list(entries)
        size = min(most, SCHEDULE_DIRECTIONS)
        if not part[0].field or len(part) <= size:
            alone += part
            continue
        # the table of a schedule, whose length should not matter to the kernel
        for i in range(0, len(part), size):
            chunk = list(part[i : i + size])
            groups.append([*chunk, *[None] * (size - len(chunk))])
    groups = [alone[i : i + most] for i in range(0, len(alone), most)] + groups
    return groups or [[]]


def _run(plan: Plan, given: Given, group: Sequence[Direction | None], time_rates: bool) -> Solved:
    lags = dict(plan.lags)
    real = [d for d in group if d is not None]
    seeds = tuple(seed_of(real[0] if d is None else d, given.schedule, lags) for d in group)
    augmented = Augmented(plan.system, seeds, plan.observed)
    if plan.twins == 0:
        return _nobody(plan, given, len(seeds), time_rates)
    twin, axes = _columns(plan, given, group, seeds)
    if isinstance(plan.method, Diffrax) or plan.backend == "xla":
        from vht.solve.xla import solve_twin

        return jax.vmap(functools.partial(solve_twin, augmented, plan.method, time_rates), in_axes=(axes,))(twin)
    if isinstance(plan.method, Rodas5P):
        loop = Loop(augmented, functools.partial(Stiff, time_rates=time_rates))
        solved = batch(loop, plan.backend, axes)(twin)
        return solved._replace(tangents=_by_direction(solved.tangents, len(group)))
    assert not isinstance(plan.method, Auto), "`Auto` is decided before anything is solved"
    fixed = plan.method.step is not None
    propagator = Exponential if isinstance(plan.method, RushLarsen) else Explicit
    loop = Loop(augmented, functools.partial(propagator, fixed=fixed, time_rates=time_rates), fixed)
    return batch(loop, plan.backend, axes)(twin)


def _by_direction(tables: Sequence[Array], count: int) -> tuple[tuple[Array, ...], ...]:
    """Tables of all directions one after another, ``[twins, directions * saves]``, as tables by direction."""
    parts = [table.reshape((table.shape[0], count, -1)) for table in tables]
    return tuple(tuple(part[:, k] for part in parts) for k in range(count))


def batch(loop: Loop, backend: str, axes: Twin) -> Callable[[Twin], Solved]:
    """The solve of one twin as the solve of a cohort."""
    if backend == "vmap":
        return jax.vmap(loop, in_axes=(axes,))
    from vht_kernels import lanes

    def vht_solve(twin: Twin) -> Solved:
        return loop(twin)

    return lanes(vht_solve, in_axes=(axes,), reciprocals=True)


def _nobody(plan: Plan, given: Given, directions: int, time_rates: bool) -> Solved:
    def tables() -> tuple[Array, ...]:
        return tuple(jnp.zeros((0, given.times.shape[-1]), plan.dtype) for _ in plan.observed)

    count = jnp.zeros((0,), np.int32)
    tangents, rates = tuple(tables() for _ in range(directions)), tables() if time_rates else ()
    return Solved(tables(), tangents, rates, count, count, count, count, (count,) * len(plan.system.events))


# ---------------------------------------------------------------------------------------------------------- derivative


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _solve_once(
    plan: Plan, directions: tuple[Direction, ...], time_rates: bool, given: Given
) -> tuple[Results, Jacobian]:
    return solve(plan, given, directions, time_rates)


def _no_second_derivative(plan: Any, directions: Any, time_rates: Any, primals: Any, tangents: Any) -> Any:
    if all(
        isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
    ):
        out = solve(plan, primals[0], directions, time_rates)
        return out, jax.tree.map(_still, out)
    raise NotImplementedError(
        "A solve has first derivatives only: the derivative of its Jacobian is not available. "
        "For curvature use the Gauss-Newton approximation, or finite differences of the gradient."
    )


_solve_once.defjvp(_no_second_derivative, symbolic_zeros=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def solve_cohort(plan: Plan, given: Given) -> Results:
    """Solve a cohort; differentiable once with respect to every number but the solver's settings."""
    return solve(plan, given)[0]


def _solve_jvp(plan: Plan, primals: tuple[Given], tangents: tuple[Given]) -> tuple[Results, Results]:
    (given,), (dots,) = primals, tangents
    directions: list[Direction] = []
    weights: list[Array] = []

    def add(direction: Direction, dot: Any) -> None:
        directions.append(direction)
        weights.append(dot)

    groups: tuple[tuple[Kind, Any], ...] = (("parameter", dots.parameters), ("initial", dots.initial))
    for kind, group in groups:
        for name, dot in group.items():
            if not isinstance(dot, SymbolicZero):
                add(Direction(kind, name), dot)
    if not isinstance(dots.start, SymbolicZero):
        add(Direction("start"), dots.start)
    tables: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("doses", ("time", "amount", "duration")),
        ("signals", ("time", "value")),
    )
    for kind, fields in tables:
        for port, table in getattr(dots.schedule, kind).items():
            for field in fields:
                dot = getattr(table, field)
                if dot is None or isinstance(dot, SymbolicZero):
                    continue
                for i in range(dot.shape[-1]):
                    add(Direction(kind, port, field, i), dot[..., i])
    moving = not isinstance(dots.times, SymbolicZero)
    results, jacobian = _solve_once(plan, tuple(directions), moving, given)

    changes = {}
    for name, value in results.values.items():
        known = jnp.isfinite(value)

        def column(table: Array, known: Array = known) -> Array:
            # what has no value has no slope either: a failed twin must not spoil the gradient of the others
            return jnp.where(known, table, jnp.zeros_like(table))

        total = jnp.zeros_like(value)
        for columns, dot in zip(jacobian.columns, weights, strict=True):
            weight = dot.astype(value.dtype)
            total = total + column(columns[name]) * (weight[:, None] if weight.ndim else weight)
        if moving:
            dot = dots.times.astype(value.dtype)
            total = total + column(jacobian.time_rates[name]) * (dot if dot.ndim == 2 else dot[None, :])
        changes[name] = total
    still = jax.tree.map(_still, results)
    return results, still._replace(values=changes)


def _still(leaf: Array) -> Any:
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


solve_cohort.defjvp(_solve_jvp, symbolic_zeros=True)
