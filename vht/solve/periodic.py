"""Periodic states: what repeats itself after one period, by Newton's method on the kernel's own Jacobian."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from vht.model import Organ, Twins
from vht.solve.fixed_point import (
    FixedPoint,
    FixedPointStatus,
    amount_slopes,
    amounts_of,
    bordered,
    checked_tolerance,
    eigenvalues_within,
    fixed_point,
    initial_of,
    observed_at,
    parameters_of,
    scaled,
    smallest_share,
    solve_each,
    spread,
)
from vht.solve.methods import Method, Tsit5
from vht.solve.plan import Given, Plan, solve, solve_cohort
from vht.solve.request import Columns, Request, known
from vht.solve.schedule import Doses, Events, Schedule, event_list
from vht.solve.sensitivity import Direction
from vht.solve.simulate import Backend, _run
from vht.solve.status import Status

# The Jacobian need not be as right as the periods: it decides how fast the search is, not where it ends
JACOBIAN_RTOL = 1e-6
# below this the smallest singular value is not told from the Jacobian's own error
SINGULAR = 1e-5
# a step that leaves more than this share of the residual asks for a new Jacobian
SLOW = 0.2
# periods paced when Newton's steps fail even when shortened
RETREAT = 10
SHORTEST = 0.05
# of each paced period: shows how large the states become
LOOKS = 16
# shares of the period at which the rates are compared with those one period later
_PHASES = (0.13579, 0.48201, 0.86413)

PACE, LINEARISE, TRY, DONE = range(4)


def periodic_state(
    model: Organ,
    period: Shaped[ArrayLike, ...] | str,
    *,
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    start: Shaped[ArrayLike, ...] = 0.0,
    schedule: Schedule | None = None,
    observe: Sequence[str] | None = None,
    method: Method = Tsit5(rtol=1e-9, atol=1e-9),
    tolerance: float | None = None,
    warm_up: int = 2,
    max_periods: int = 300,
    backend: Backend = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> FixedPoint:
    """The state at `start` that comes back after one period, for each twin.

    A few periods are simulated as they are (*pacing*), then one with sensitivities to the initial state, which gives the
    Jacobian of the map from one period to the next. Newton's steps follow, each verified by simulating a period; between
    Jacobians they are updated by Broyden's rule. A step that does not reduce the residual is shortened, then given up for
    more pacing, which is the slow way that physiology itself takes. A twin that fails stops no other.

    Works under `jax.jit` and `jax.vmap`, and has first derivatives, forward and reverse, with respect to parameters, the
    period, start and schedule, and the initial state as far as it sets conserved quantities. They follow from the implicit
    function theorem and one period simulated with sensitivities: nothing is differentiated through the search.

    Args:
        model: see `simulate`.
        period: a number, ``[twins]``, or the name of the parameter that holds it.
        twins: see `simulate`.
        initial: where the search begins; its conserved quantities (see `Organ`) are those of the periodic state.
        start: time at which a period begins, ``[twins]`` or a scalar.
        schedule: of one period, repeated for ever. Doses are given at or after `start` and before `start` plus the period;
            what a lag or an infusion carries beyond its end goes on in the next, for up to one period. Signals cover the
            period from its beginning to its end; a dose at the start is given after the state that is found.
        observe: states and outputs at the start; by default all.
        method: of the simulations. Its tolerance bounds how right the periodic state can be.
        tolerance: of the residual: the change of a state over one period, as a share of the largest magnitude that this
            state had in the last paced period, the largest of all states. Ten times the method's `rtol` by default.
        warm_up: periods to pace before the first Jacobian, at least 1.
        max_periods: periods after which a twin ends as ``no_convergence``.
        backend: see `simulate`.
        slice_size: see `simulate`.
        progress: see `simulate`.

    Returns:
        The states and outputs at `start`, with a status for each twin. `growth` is that of the last Jacobian.

    Raises:
        ModelError: as `simulate`; a period that names no parameter.
        TypeError: as `simulate`.
        ValueError: as `simulate`; a period that is not positive; a dose outside of the period.
    """
    tolerance = checked_tolerance(tolerance, method)
    for name, number in (("warm_up", warm_up), ("max_periods", max_periods)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, but got {number}.")
    request, observed = _request(model, period, twins, initial, start, schedule, observe, method)
    controls = _Controls(
        tolerance=np.float64(tolerance),  # type: ignore[arg-type]
        warm_up=np.int32(warm_up),  # type: ignore[arg-type]
        max_periods=np.int32(min(max_periods, np.iinfo(np.int32).max)),  # type: ignore[arg-type]
    )
    compute = functools.partial(_compute, observed, controls)
    found, used = _run(compute, request, backend, slice_size, progress)
    return fixed_point(request, observed, "periodic", tolerance, found, used)


def _request(
    model: Any,
    period: Any,
    twins: Any,
    initial: Any,
    start: Any,
    schedule: Any,
    observe: Any,
    method: Any,
) -> tuple[Request, tuple[str, ...]]:
    """Names and numbers, checked; the end of the period stands in the place of the times of saves."""
    named = isinstance(period, str)
    if not named and np.ndim(period) > 1:
        raise ValueError(f"`period` must have the shape [twins] or a scalar, but got {list(np.shape(period))}.")
    column = (
        np.zeros(1) if named else jnp.asarray(period)[..., None] if _traced(period) else np.asarray(period)[..., None]
    )
    request = Request.of(model, column, twins, initial, start, schedule, observe, method)
    given, observed = request.given, request.plan.observed
    # the saves are checked below; everything else as always
    dataclasses.replace(request, given=given._replace(times=np.array([np.inf]))).check()  # type: ignore[arg-type]
    if named:
        known("parameter for `period`", period, request.plan.system.parameters, model)
        column = given.parameters[period][..., None]
    else:
        column = given.times
        if not _traced(column) and not (np.isfinite(column) & (column > 0.0)).all():
            wrong = column[~(np.isfinite(column) & (column > 0.0))][0]
            raise ValueError(f"`period` must be a positive number, but got {wrong:g}.")
    begin = given.start[..., None]
    end = functools.reduce(operator.add, _aligned(begin, column))
    if not _traced((begin, end)):
        for name, doses in given.schedule.doses.items():
            time: Any = doses.time
            if not _traced(time):
                outside = (time < begin) | ((time >= end) & (time < np.inf))
                if outside.any():
                    raise ValueError(
                        f"Doses of a period must be given at or after its `start` and before its end, but got "
                        f"{np.broadcast_to(time, outside.shape)[outside][0]:g} in `{name}`."
                    )
    plan = dataclasses.replace(request.plan, observed=request.plan.system.states)
    return dataclasses.replace(request, plan=plan, given=given._replace(times=end)), observed


def _traced(numbers: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(numbers))


class _Controls(NamedTuple):
    tolerance: Float[Array, ""]
    warm_up: Int[Array, ""]
    max_periods: Int[Array, ""]


class _Found(NamedTuple):
    """What the search ends with, twin by twin.

    Attributes:
        x: the periodic state.
        scale: size of each state.
        residual: see `periodic_state`.
        growth: see `FixedPoint`.
        status: `FixedPointStatus` codes.
        periods: simulated.
        jacobians: of those, with sensitivities.
        steps: of the integration.
    """

    x: Float[Array, "twins states"]
    scale: Float[Array, "twins states"]
    residual: Float[Array, " twins"]
    growth: Float[Array, " twins"]
    status: Int[Array, " twins"]
    periods: Int[Array, " twins"]
    jacobians: Int[Array, " twins"]
    steps: Int[Array, " twins"]


@functools.partial(jax.jit, static_argnums=(0, 2))
def _compute(observed: tuple[str, ...], controls: _Controls, plan: Plan, given: Given) -> dict[str, Any]:
    given = jax.tree.map(jnp.asarray, given)
    x = initial_of(plan, given)
    target = amounts_of(plan.system, parameters_of(plan, given), x)
    begin, end = _aligned(given.start[..., None], given.times)
    # what is no period ends as a status, not as a state that repeats itself at once
    end = jnp.where(end > begin, end, jnp.nan)
    given = given._replace(initial={}, times=end, schedule=_repeated(plan, given, begin, end))
    found = _search(plan, given, lax.stop_gradient(x), target, controls)
    values = observed_at(plan, given, found.x, observed, _events(plan, given))
    return {
        "values": {name: jnp.where(found.status == 0, value, jnp.nan) for name, value in values.items()},
        "residual": found.residual,
        "growth": found.growth,
        "status": found.status,
        "iterations": found.periods,
        "jacobians": found.jacobians,
        "steps": found.steps,
    }


def _aligned(*tables: Any) -> list[Any]:
    """Tables that all have a row for each twin (or one row), if any of them has."""
    rank = max(table.ndim for table in tables)
    return [table.reshape((1,) * (rank - table.ndim) + table.shape) for table in tables]


def _lags(plan: Plan, given: Given) -> dict[str, Array]:
    return {port: given.parameters[name] for port, name in plan.lags if port in given.schedule.doses}


def _repeated(plan: Plan, given: Given, begin: Array, end: Array) -> Schedule:
    """The schedule with the doses of the period before, where those may reach into this one."""
    lags = _lags(plan, given)
    doses: dict[str, Doses] = {}
    for port, table in given.schedule.doses.items():
        lasting = jnp.zeros_like(table.time) if table.duration is None else table.duration
        lag = lags.get(port, jnp.zeros(()))[..., None]
        time, amount, duration, lag, first, last = _aligned(table.time, table.amount, lasting, lag, begin, end)
        missing, length = jnp.isposinf(time), last - first
        # nobody can refuse these inside a transformation: let the twin fail
        inside = (time >= first) & (time < last) & (time + lag + jnp.maximum(duration, 0.0) <= last + length)
        time = jnp.where(missing | inside, time, jnp.nan)
        if port not in lags and table.duration is None:
            doses[port] = Doses(time, amount)
            continue
        doses[port] = Doses(
            jnp.concatenate([time - length, time], axis=-1),
            jnp.concatenate([amount, amount], axis=-1),
            None if table.duration is None else jnp.concatenate([duration, duration], axis=-1),
        )
    return Schedule(doses, dict(given.schedule.signals))


def _events(plan: Plan, given: Given) -> Events | None:
    """Every twin's events."""
    schedule = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.twins, leaf.shape[-1])), given.schedule)
    lags = {port: spread(plan, lag) for port, lag in _lags(plan, given).items()}
    return jax.vmap(event_list)(schedule, lags, spread(plan, given.start))


# -------------------------------------------------------------------------------------------------------------- search


class _Period(NamedTuple):
    """One period of each twin.

    Attributes:
        end: the states at its end.
        size: the largest magnitude of each state on the way.
        jacobian: of the end with respect to the beginning; empty if not asked for.
        status: `Status` codes.
        steps: tried.
    """

    end: Float[Array, "twins states"]
    size: Float[Array, "twins states"]
    jacobian: Float[Array, "twins states _"]
    status: Int[Array, " twins"]
    steps: Int[Array, " twins"]


def _simulated(plan: Plan, given: Given, x: Array, chosen: Bool[Array, " twins"], jacobian: bool) -> _Period:
    """One period of the twins chosen, which are put next to each other so that no vector register waits for the others."""
    order = jnp.argsort(~chosen, stable=True)
    back = jnp.argsort(order)
    names = plan.system.states
    saves = 1 if jacobian else LOOKS
    begin, end = spread(plan, given.start)[:, None], spread(plan, given.times[..., 0])[:, None]
    times = jnp.concatenate([begin + jnp.arange(1, saves)[None, :] / saves * (end - begin), end], axis=-1)
    times = jnp.where(chosen[:, None], times, jnp.inf)
    placed = given._replace(times=times, initial={name: x[:, i] for i, name in enumerate(names)})
    placed = jax.tree.map(lambda leaf, rank: leaf[order] if leaf.ndim > rank else leaf, placed, placed.ranks())
    directions = tuple(Direction("initial", name) for name in names) if jacobian else ()
    if jacobian:
        loose = jnp.maximum(placed.rtol, JACOBIAN_RTOL)
        share = jnp.where(placed.rtol > 0.0, loose / jnp.where(placed.rtol > 0.0, placed.rtol, 1.0), 1.0)
        placed = placed._replace(rtol=loose, atol=placed.atol * share)
    results, columns = solve(plan, placed, directions)
    tables = jnp.stack([results.values[name] for name in names], axis=-1).astype(np.float64)[back]
    found = [jnp.stack([column[name][:, -1] for name in names], axis=-1) for column in columns.columns]
    empty = jnp.zeros((plan.twins, len(names), 0))
    return _Period(
        end=tables[:, -1],
        size=jnp.max(jnp.abs(tables), axis=1),
        jacobian=jnp.stack(found, axis=-1).astype(np.float64)[back] if found else empty,
        status=results.status[back],
        steps=jnp.where(chosen, results.steps[back], 0),
    )


class _Carry(NamedTuple):
    """The search, twin by twin.

    Attributes:
        task: what to do next: `PACE`, `LINEARISE` at the point, `TRY` a step, or `DONE`.
        x: the point, the best so far.
        residual: change over the period that begins there, and by how much the conserved quantities are off, scaled.
        norm: largest magnitude of that; infinite while it is not known.
        scale: size of each state.
        step: scaled, to try.
        share: of the step.
        inverse: of the bordered matrix, the rows that give a step.
        fresh: whether the inverse was made at this point.
        doubtful: whether a Jacobian was singular before.
        pace: periods still to pace.
        jacobian: the last one.
        status, periods, jacobians, steps: as in `_Found`.
    """

    task: Int[Array, " twins"]
    x: Float[Array, "twins states"]
    residual: Float[Array, "twins rows"]
    norm: Float[Array, " twins"]
    scale: Float[Array, "twins states"]
    step: Float[Array, "twins states"]
    share: Float[Array, " twins"]
    inverse: Float[Array, "twins states rows"]
    fresh: Bool[Array, " twins"]
    doubtful: Bool[Array, " twins"]
    pace: Int[Array, " twins"]
    jacobian: Float[Array, "twins states states"]
    status: Int[Array, " twins"]
    periods: Int[Array, " twins"]
    jacobians: Int[Array, " twins"]
    steps: Int[Array, " twins"]


class _Search:
    """Newton's method with pacing, all twins at once; each has a task of its own."""

    def __init__(self, plan: Plan, given: Given, target: Array, controls: _Controls) -> None:
        self.plan, self.given, self.target, self.controls = plan, given, target, controls
        self.p = parameters_of(plan, given)

    def begin(self, x: Float[Array, "twins states"]) -> _Carry:
        twins, n = x.shape
        m = self.target.shape[1]
        count = jnp.zeros((twins,), np.int32)
        periodic = self._periodic(x)
        return _Carry(
            task=jnp.where(periodic, PACE, DONE).astype(np.int32),
            x=x,
            residual=jnp.zeros((twins, n + m)),
            norm=jnp.full((twins,), jnp.inf),
            scale=jnp.ones((twins, n)),
            step=jnp.zeros((twins, n)),
            share=jnp.ones((twins,)),
            inverse=jnp.zeros((twins, n, n + m)),
            fresh=jnp.zeros((twins,), bool),
            doubtful=jnp.zeros((twins,), bool),
            pace=jnp.full((twins,), self.controls.warm_up),
            jacobian=jnp.full((twins, n, n), jnp.nan),
            status=jnp.where(periodic, FixedPointStatus.OK, FixedPointStatus.NOT_PERIODIC).astype(np.int32),
            periods=count,
            jacobians=count,
            steps=count,
        )

    def _periodic(self, x: Array) -> Bool[Array, " twins"]:
        """Whether the rates at a few times are those one period later, without what is scheduled."""
        start, end = spread(self.plan, self.given.start), spread(self.plan, self.given.times[..., 0])
        states = tuple(x[:, i] for i in range(x.shape[1]))
        rates = jax.vmap(self.plan.system.rates)
        now, then = [], []
        for phase in _PHASES:
            time = start + phase * (end - start)
            now.append(jnp.stack(rates(time, self.p, states, {})))
            then.append(jnp.stack(rates(time + (end - start), self.p, states, {})))
        before, after = jnp.stack(now), jnp.stack(then)
        size = jnp.max(jnp.maximum(jnp.abs(before), jnp.abs(after)), axis=0)
        gap = jnp.max(jnp.abs(after - before), axis=0)
        # not "within", so that a twin without numbers goes on and gets the status of its simulation
        return ~jnp.any(gap > 1e-6 * size, axis=0)

    def advance(self, c: _Carry) -> _Carry:
        """One period of every twin that is not done."""
        trying, pacing, linearising = c.task == TRY, c.task == PACE, c.task == LINEARISE
        point = jnp.where(trying[:, None], c.x + c.share[:, None] * c.step * c.scale, c.x)
        simple = self._some(point, trying | pacing, False)
        linear = self._some(point, linearising, True)
        end = jnp.where(linearising[:, None], linear.end, simple.end)
        status = jnp.where(linearising, linear.status, simple.status)
        finite = (status == Status.OK) & jnp.isfinite(end).all(axis=1)
        size = jnp.maximum(jnp.abs(point), simple.size)
        scale = jnp.where((pacing & finite)[:, None], jnp.where(size > 0.0, size, 1.0), c.scale)
        residual = self._residual(point, end, scale)
        norm = jnp.where(finite, jnp.max(jnp.abs(residual), axis=1), jnp.inf)
        running = c.task != DONE
        # a count of its own for each twin, sensitivities or not
        c = c._replace(
            scale=scale,
            periods=c.periods + running.astype(np.int32),
            jacobians=c.jacobians + linearising.astype(np.int32),
            steps=c.steps + simple.steps + linear.steps,
        )
        after = _pick(
            c.task,
            {
                PACE: self._paced(c, end, residual, norm, status, finite),
                LINEARISE: self._linearised(c, end, linear.jacobian, residual, norm, finite),
                TRY: self._tried(c, point, end, residual, norm),
            },
            c,
        )
        spent = (after.task != DONE) & (after.periods >= self.controls.max_periods)
        return after._replace(
            task=jnp.where(spent, DONE, after.task).astype(np.int32),
            status=jnp.where(spent, FixedPointStatus.NO_CONVERGENCE, after.status).astype(np.int32),
        )

    def _some(self, x: Array, chosen: Bool[Array, " twins"], jacobian: bool) -> _Period:
        twins, n = x.shape

        def nobody() -> _Period:
            count = jnp.zeros((twins,), np.int32)
            slopes = jnp.zeros((twins, n, n if jacobian else 0))
            return _Period(jnp.zeros((twins, n)), jnp.zeros((twins, n)), slopes, count, count)

        return lax.cond(jnp.any(chosen), lambda: _simulated(self.plan, self.given, x, chosen, jacobian), nobody)

    def _residual(self, x: Array, end: Array, scale: Array) -> Float[Array, "twins rows"]:
        slopes = amount_slopes(self.plan.system, self.p, x) * scale[:, None, :]
        length = jnp.sqrt(jnp.sum(slopes * slopes, axis=-1))
        off = amounts_of(self.plan.system, self.p, x) - self.target
        return jnp.concatenate([(end - x) / scale, off / jnp.where(length > 0.0, length, 1.0)], axis=1)

    # ------------------------------------------------------------------------------------------- what follows a period

    def _paced(self, c: _Carry, end: Array, residual: Array, norm: Array, status: Array, finite: Array) -> _Carry:
        converged = norm <= self.controls.tolerance
        # a state that repeats itself may still be one of many: one Jacobian tells
        enough = converged & (c.jacobians > 0)
        pace = c.pace - 1
        task = jnp.where(~finite | enough, DONE, jnp.where(converged | (pace <= 0), LINEARISE, PACE))
        failed = jnp.where(status == Status.OK, Status.NON_FINITE, status)
        return c._replace(
            task=task.astype(np.int32),
            x=jnp.where((finite & ~converged)[:, None], end, c.x),
            residual=residual,
            norm=jnp.where(converged, norm, jnp.inf),
            pace=pace,
            status=jnp.where(finite, c.status, failed).astype(np.int32),
        )

    def _linearised(
        self, c: _Carry, end: Array, jacobian: Array, residual: Array, norm: Array, finite: Array
    ) -> _Carry:
        n = c.x.shape[1]
        finite &= jnp.isfinite(jacobian).all(axis=(1, 2))
        jacobian = jnp.where(finite[:, None, None], jacobian, 0.0)
        slopes = amount_slopes(self.plan.system, self.p, c.x)
        matrix, rows, _ = scaled(jacobian - jnp.eye(n)[None], slopes, c.scale)
        singular = finite & ~(smallest_share(matrix, rows) > SINGULAR)
        whole = bordered(matrix, rows)
        safe = (finite & ~singular)[:, None, None]
        inverse = jnp.linalg.inv(jnp.where(safe, whole, jnp.eye(whole.shape[1])[None]))[:, :n]
        converged = c.norm <= self.controls.tolerance
        # far away a Jacobian may be singular by chance
        hopeless = singular & (c.doubtful | converged)
        good = finite & ~singular
        task = jnp.where(hopeless | (converged & good), DONE, jnp.where(good, TRY, PACE))
        return c._replace(
            task=task.astype(np.int32),
            x=jnp.where((finite & singular & ~hopeless)[:, None], end, c.x),
            residual=jnp.where(converged[:, None], c.residual, residual),
            norm=jnp.where(converged, c.norm, norm),
            step=-_times(inverse, residual),
            share=jnp.ones_like(c.share),
            inverse=inverse,
            fresh=jnp.ones_like(c.fresh),
            doubtful=c.doubtful | singular,
            pace=jnp.full_like(c.pace, RETREAT),
            jacobian=jnp.where(finite[:, None, None], jacobian, c.jacobian),
            status=jnp.where(hopeless, FixedPointStatus.SINGULAR, c.status).astype(np.int32),
        )

    def _tried(self, c: _Carry, point: Array, end: Array, residual: Array, norm: Array) -> _Carry:
        converged = norm <= self.controls.tolerance
        good = converged | (norm <= (1.0 - 0.25 * c.share) * c.norm)
        slow = norm > SLOW * c.norm
        # Broyden's first update of the inverse; not from a residual that is hardly more than the loose Jacobian's error
        moved = c.share[:, None] * c.step
        change = residual - c.residual
        forward = _times(c.inverse, change)
        backward = jnp.einsum("ti,tij->tj", moved, c.inverse)
        weight = jnp.sum(moved * forward, axis=1)
        sound = (jnp.abs(weight) > 1e-3 * jnp.sum(moved * moved, axis=1)) & ~(c.fresh & (c.norm < 1e3 * JACOBIAN_RTOL))
        update = (moved - forward)[:, :, None] * backward[:, None, :] / jnp.where(sound, weight, 1.0)[:, None, None]
        inverse = c.inverse + jnp.where((good & sound)[:, None, None], update, 0.0)

        shorter = ~good & c.fresh & (c.share > SHORTEST)
        given_up = ~good & c.fresh & ~shorter
        again = (good & slow & ~c.fresh) | (~good & ~c.fresh)
        task = jnp.where(converged, DONE, jnp.where(again, LINEARISE, jnp.where(given_up, PACE, TRY)))
        # where the search gives up, the end of the last good period is known
        paced = c.x + c.residual[:, : c.x.shape[1]] * c.scale
        x = jnp.where(good[:, None], point, jnp.where(given_up[:, None], paced, c.x))
        residual = jnp.where(good[:, None], residual, c.residual)
        return c._replace(
            task=task.astype(np.int32),
            x=x,
            residual=residual,
            norm=jnp.where(good, norm, c.norm),
            step=jnp.where(good[:, None], -_times(inverse, residual), c.step),
            share=jnp.where(good, 1.0, 0.25 * c.share),
            inverse=inverse,
            fresh=c.fresh & ~good,
            pace=jnp.full_like(c.pace, RETREAT - 1),
        )

    def end(self, c: _Carry) -> _Found:
        ok = c.status == FixedPointStatus.OK
        matrix, rows, _ = scaled(c.jacobian, amount_slopes(self.plan.system, self.p, c.x), c.scale)
        length = spread(self.plan, self.given.times[..., 0]) - spread(self.plan, self.given.start)
        largest = jnp.max(jnp.abs(eigenvalues_within(matrix, rows)), axis=1, initial=0.0)
        return _Found(
            x=jnp.where(ok[:, None], c.x, jnp.nan),
            scale=c.scale,
            residual=jnp.where(ok, c.norm, jnp.nan),
            growth=jnp.where(ok, jnp.log(largest) / length, jnp.nan),
            status=c.status,
            periods=c.periods,
            jacobians=c.jacobians,
            steps=c.steps,
        )


def _times(matrix: Array, vector: Array) -> Array:
    return jnp.einsum("tij,tj->ti", matrix, vector)


def _pick(task: Array, after: dict[int, _Carry], otherwise: _Carry) -> _Carry:
    """Each twin's carry by its task."""

    def entry(*leaves: Array) -> Array:
        *options, result = leaves
        for code, option in zip(after, options, strict=True):
            mask = (task == code).reshape(-1, *[1] * (result.ndim - 1))
            result = jnp.where(mask, option, result)
        return result

    return jax.tree.map(entry, *after.values(), otherwise)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _search(plan: Plan, given: Given, x: Array, target: Array, controls: _Controls) -> _Found:
    search = _Search(plan, given, target, controls)
    return search.end(lax.while_loop(lambda c: jnp.any(c.task != DONE), search.advance, search.begin(x)))


def _search_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[_Found, _Found]:
    """The implicit function theorem: one period from the state that was found, along what moves and along each state."""
    given, _, target, _ = primals
    dots, _, target_dot, _ = tangents
    found = _search(plan, *primals)
    leaves, structure = jax.tree.flatten(given)
    slopes = jax.tree.leaves(dots, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    moving = [i for i, slope in enumerate(slopes) if not isinstance(slope, SymbolicZero)]
    x, names = found.x, plan.system.states
    n = len(names)

    def period(moved: list[Array], x: Array) -> tuple[Array, Array]:
        now = jax.tree.unflatten(
            structure, [dict(zip(moving, moved, strict=True)).get(i, v) for i, v in enumerate(leaves)]
        )
        now = now._replace(initial={name: x[:, i] for i, name in enumerate(names)})
        end = solve_cohort(plan, now).values
        stacked = jnp.stack([end[name][:, -1] for name in names], axis=-1).astype(np.float64)
        return stacked, amounts_of(plan.system, parameters_of(plan, now), x)

    moved = [leaves[i] for i in moving]
    _, along = jax.linearize(period, moved, x)
    still = [jnp.zeros_like(leaf) for leaf in moved]
    basis = jnp.broadcast_to(jnp.eye(n)[:, None, :], (n, plan.twins, n))
    ends, amounts = jax.vmap(lambda dot: along(still, dot))(basis)
    ok = found.status == FixedPointStatus.OK
    jacobian, borders = jnp.moveaxis(ends, 0, -1) - jnp.eye(n)[None], jnp.moveaxis(amounts, 0, -1)
    matrix, rows, length = scaled(jacobian, borders, found.scale)
    whole = bordered(matrix, rows)
    whole = jnp.where(ok[:, None, None], whole, jnp.eye(whole.shape[1])[None])
    end_dot, amount_dot = along([slopes[i] for i in moving], jnp.zeros_like(x))
    if not isinstance(target_dot, SymbolicZero):
        amount_dot = amount_dot - target_dot
    right = jnp.concatenate([end_dot / found.scale, amount_dot / length], axis=1)
    dot = -solve_each(whole, jnp.where(ok[:, None], right, 0.0))[:, :n] * found.scale

    def unmoved(leaf: Array) -> Any:
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros_like(leaf)
        return np.zeros(leaf.shape, jax.dtypes.float0)

    return found, jax.tree.map(unmoved, found)._replace(x=dot)


_search.defjvp(_search_jvp, symbolic_zeros=True)
