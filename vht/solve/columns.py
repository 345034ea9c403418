"""From a cohort's data to a kernel's arguments: events merged, directions laid out, each leaf per twin or shared."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from vht.solve.directions import Directions
from vht.solve.given import Given, Plan
from vht.solve.largest import largest
from vht.solve.schedule import Events, Schedule, merge, start_of, unless_late
from vht.solve.sensitivity import Direction, EventTangents, Seed, event_tangents
from vht.solve.twin import Twin


def axis_of(leaf: Array, rank: int) -> int | None:
    return 0 if jnp.ndim(leaf) > rank else None


def _schedule_axes(schedule: Schedule) -> Any:
    return jax.tree.map(lambda leaf: axis_of(leaf, 1), schedule)


def over_twins(function: Callable[..., Any], axes: tuple[Any, ...], *args: Any) -> tuple[Any, bool]:
    """Apply a function of one twin's rows; a result is per twin if any argument is."""
    batched = any(axis == 0 for axis in jax.tree.leaves(axes))
    return (jax.vmap(function, in_axes=axes) if batched else function)(*args), batched


def kernel_columns(
    plan: Plan, given: Given, directions: Sequence[Direction | None], seeds: tuple[Seed, ...]
) -> tuple[Twin, Twin]:
    """The kernel's arguments and their axes. A direction that is None only fills up a kernel."""
    dtype = plan.dtype
    schedule = given.schedule
    lags = {port: given.parameters[name] for port, name in plan.lags if port in schedule.doses}
    lag_axes = {port: axis_of(lag, 0) for port, lag in lags.items()}
    axes = (_schedule_axes(schedule), lag_axes, axis_of(given.start, 0))
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
    begin, _ = over_twins(unless_late, (axis_of(start, 0), axis_of(times, 1)), start, times)
    end = largest(jnp.where(missing, -jnp.inf, times), axis=-1, initial=-np.inf)
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
    scalar = functools.partial(jax.tree.map, lambda leaf: axis_of(leaf, 0))
    axes_of: dict[str, Any] = dict(  # noqa: C408
        parameters=scalar(twin.parameters),
        initial=scalar(twin.initial),
        start=axis_of(begin, 0),
        times=axis_of(times, 1),
        saves=axis_of(saves, 0),
        end=axis_of(end, 0),
        events=event_axes,
        moved=jax.tree.map(lambda _: 0 if any(axis == 0 for axis in jax.tree.leaves(axes)) else None, twin.moved),
        sizes=axis_of(twin.sizes, 1) if plan.one_by_one and sizes else scalar(twin.sizes),
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
    merged, per_twin = over_twins(functools.partial(merge, ordered=plan.ordered), axes[:2], schedule, lags)
    if merged is None:
        return None, None
    merged_axes = jax.tree.map(lambda _: 0 if per_twin else None, merged)
    (first, values, slopes), started = over_twins(start_of, (merged_axes, axes[2]), merged, start)

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
            return over_twins(of_twin, (*axes, (axes[0], axes[1])), schedule, lags, start, dots)[0]

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
