"""From a cohort's data to kernel calls: directions shared out among kernels, results gathered.

The derivative of a solve is a rule: it looks at which inputs move, asks the kernel for values and those columns of the
Jacobian at once, and contracts them with the tangents in plain JAX, which can be transposed, batched and compiled.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from vht.solve.columns import axis_of, kernel_columns, over_twins
from vht.solve.explicit import Explicit
from vht.solve.exponential import Exponential
from vht.solve.given import Given, Plan, Results
from vht.solve.loop import Loop
from vht.solve.methods import RK4, Auto, Diffrax, Rodas5P, RushLarsen
from vht.solve.sensitivity import Augmented, Direction, Kind, seed_of
from vht.solve.status import Status
from vht.solve.steppers import CLASSICAL, TSIT5
from vht.solve.stiff import Stiff
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
# traced solves; each takes some megabytes
KERNELS_KEPT = 64


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
    if len(solved) > 1:
        # one kernel's twin may get further than another's
        found = {direction: _where_there_are(values, columns) for direction, columns in found.items()}
    happened = {name: count for (name, _), count in zip(plan.system.events, first.events, strict=True)}
    results = Results(values, first.status, first.steps, first.rejected, first.culprit, happened)
    rates_by_name = dict(zip(plan.observed, first.time_rates, strict=True)) if time_rates else {}
    return results, Jacobian(tuple(found[d] for d in directions), rates_by_name)


def _both(one: Solved, other: Solved) -> Solved:
    """What two kernels reached with their own directions: a twin that failed in either has failed."""
    values = tuple(jnp.where(jnp.isnan(b), b, a) for a, b in zip(one.values, other.values, strict=True))
    kept = (one.status != Status.OK) | (other.status == Status.OK)
    # what is counted is that of the kernel whose status it is
    counts = ("status", "steps", "rejected", "culprit", "events")
    ends = {
        name: jax.tree.map(lambda a, b: jnp.where(kept, a, b), getattr(one, name), getattr(other, name))
        for name in counts
    }
    rates = tuple(
        jnp.where(jnp.isnan(value), jnp.nan, rate) for value, rate in zip(values, one.time_rates, strict=False)
    )
    return one._replace(values=values, time_rates=rates, **ends)


def _where_there_are(values: dict[str, Array], columns: dict[str, Array]) -> dict[str, Array]:
    """Derivatives, NaN where there is no value."""
    return {name: jnp.where(jnp.isnan(values[name]), jnp.nan, column) for name, column in columns.items()}


def _with_initial(plan: Plan, given: Given, directions: Sequence[Direction]) -> Given:
    """Write out the model's own initial values of the states whose initial value a direction moves."""
    missing = {d.name for d in directions if d.kind == "initial"} - set(given.initial)
    if not missing:
        return given
    axes = tuple(jax.tree.map(lambda leaf: axis_of(leaf, 0), columns) for columns in (given.parameters, given.initial))
    values, _ = over_twins(plan.system.initial, axes, given.parameters, given.initial)
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
    augmented = Augmented(plan.system, seeds, plan.observed, plan.gaps)
    if plan.twins == 0:
        return _nobody(plan, given, len(seeds), time_rates)
    twin, axes = kernel_columns(plan, given, group, seeds)
    if isinstance(plan.method, Diffrax) or plan.backend == "xla":
        from vht.solve.xla import solve_twin

        return jax.vmap(functools.partial(solve_twin, augmented, plan.method, time_rates), in_axes=(axes,))(twin)
    if isinstance(plan.method, Rodas5P):
        loop = Loop(augmented, _with(Stiff, time_rates=time_rates))
        solved = batch(loop, plan.backend, axes)(twin)
        return solved._replace(tangents=_by_direction(solved.tangents, len(group)))
    assert not isinstance(plan.method, Auto), "`Auto` is decided before anything is solved"
    fixed = plan.method.step is not None
    if isinstance(plan.method, RushLarsen):
        propagator = _with(Exponential, fixed=fixed, time_rates=time_rates)
    else:
        scheme = CLASSICAL if isinstance(plan.method, RK4) else TSIT5
        propagator = _with(Explicit, scheme=scheme, fixed=fixed, time_rates=time_rates)
    loop = Loop(augmented, propagator, fixed)
    return batch(loop, plan.backend, axes)(twin)


def _by_direction(tables: Sequence[Array], count: int) -> tuple[tuple[Array, ...], ...]:
    """Tables of all directions one after another, ``[twins, directions * saves]``, as tables by direction."""
    parts = [table.reshape((table.shape[0], count, -1)) for table in tables]
    return tuple(tuple(part[:, k] for part in parts) for k in range(count))


# the same object for the same settings, so that loops with them are equal
_with = functools.cache(functools.partial)


def batch(loop: Loop, backend: str, axes: Twin) -> Callable[[Twin], Solved]:
    """The solve of one twin as the solve of a cohort."""
    if backend == "vmap":
        return jax.vmap(loop, in_axes=(axes,))
    return _kernel(loop, jax.tree.structure(axes))


@functools.lru_cache(maxsize=KERNELS_KEPT)
def _kernel(loop: Loop, axes: Any) -> Callable[[Twin], Solved]:
    """Kept, since JAX asks anew for every number of twins, and to trace a solve takes three quarters of the time then."""
    from vht_kernels import lanes

    def vht_solve(twin: Twin) -> Solved:
        return loop(twin)

    return lanes(vht_solve, in_axes=(jax.tree.unflatten(axes, [0] * axes.num_leaves),), reciprocals=True)


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
        return out, jax.tree.map(unmoved, out)
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
    # values are those without a derivative; one that is not finite comes out as it is, as everywhere in JAX: to end the twin
    # there would make a gradient of zero of it
    plan = dataclasses.replace(plan, gaps="derivatives")
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
    still = jax.tree.map(unmoved, results)
    return results, still._replace(values=changes)


def unmoved(leaf: Array) -> Any:
    """The tangent of what no derivative changes."""
    return SymbolicZero(jax.typeof(leaf).to_tangent_aval())


solve_cohort.defjvp(_solve_jvp, symbolic_zeros=True)
