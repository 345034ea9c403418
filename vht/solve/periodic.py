"""Periodic states: what repeats itself after one period, by Newton's method on the kernel's own Jacobian."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Shaped

from vht.model import Organ, Twins
from vht.model.real import real_numbers
from vht.solve.device import Device
from vht.solve.fixed_point import (
    FixedPoint,
    FixedPointStatus,
    checked_tolerance,
    fixed_point,
    initial_of,
    observed_at,
    parameters_of,
    spread,
)
from vht.solve.given import Given, Plan
from vht.solve.methods import Method, Tsit5
from vht.solve.request import Columns, Request, known
from vht.solve.schedule import Doses, Events, Schedule, event_list
from vht.solve.shooting import Controls, search
from vht.solve.simulate import Backend, decide, run

# The error of one period is multiplied by how slowly the model settles, some ten times in the circulation: with this share
# of the tolerances the periodic state is as right as they say. In float32 there is no room for it.
SHARE = 0.1


def periodic_state(
    model: Organ,
    period: Shaped[ArrayLike, ...] | str,
    *,
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    start: Shaped[ArrayLike, ...] = 0.0,
    schedule: Schedule | None = None,
    observe: Sequence[str] | None = None,
    method: Method = Tsit5(rtol=1e-8, atol=1e-8),
    tolerance: float | None = None,
    warm_up: int = 2,
    max_periods: int = 300,
    backend: Backend = "auto",
    device: Device = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> FixedPoint:
    """The state at `start` that comes back after one period, for each twin.

    A few periods are simulated as they are (*pacing*), then one with sensitivities to the initial state, which gives the
    Jacobian of the map from one period to the next. Newton's steps follow, each verified by simulating a period; between
    Jacobians they are updated by Broyden's rule. A step that does not reduce the residual is shortened, then given up for
    more pacing, which is the slow way that physiology itself takes. A state whose residual is within the tolerance is
    verified by one step more where it may still be far away, and gets a last one that needs no simulation. A twin that
    fails stops no other.

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
            what a lag or an infusion carries beyond its end goes on in the next, for up to one period; a negative lag by which
            a dose would arrive before `start` ends the twin as ``non_finite``. Signals cover the period from its beginning to
            its end; a dose at the start is given after the state that is found.
        observe: states and outputs at the start; by default all.
        method: of the simulations, which take a tenth of its `rtol` and `atol` (in float32 all of them), since what a period
            adds to the error is multiplied when it repeats.
        tolerance: of the residual: the change of a state over one period, as a share of the largest magnitude that this
            state had in the last paced period, the largest of all states. By default the method's `rtol`; far below it there is
            nothing but the error of the simulation.
        warm_up: periods to pace before the first Jacobian, at least 1.
        max_periods: periods after which a twin ends as ``no_convergence``.
        backend: see `simulate`.
        device: see `simulate`.
        slice_size: see `simulate`.
        progress: see `simulate`.

    Returns:
        The states and outputs at `start`, with a status for each twin. `growth` is that of the last Jacobian.

    Raises:
        ModelError: as `simulate`; a period that names no parameter.
        TypeError: as `simulate`.
        ValueError: as `simulate`; a period that is not positive; a dose outside of the period.
        DeviceError: as `simulate`.
    """
    tolerance = checked_tolerance(tolerance, method)
    for name, number in (("warm_up", warm_up), ("max_periods", max_periods)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, but got {number}.")
    request, observed = _request(model, period, twins, initial, start, schedule, observe, method)
    request = decide(request, backend, device)
    controls = Controls(
        tolerance=np.float64(tolerance),  # type: ignore[arg-type]
        warm_up=np.int32(warm_up),  # type: ignore[arg-type]
        max_periods=np.int32(min(max_periods, np.iinfo(np.int32).max)),  # type: ignore[arg-type]
    )
    compute = functools.partial(_compute, observed, controls)
    found, used = run(compute, request, backend, device, slice_size, progress)
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
    numbers = jnp.asarray if _traced(period) else functools.partial(real_numbers, "period")
    column = np.zeros(1) if named else numbers(period)[..., None]
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
                # of a twin whose period is none there is no inside
                outside = (end > begin) & ((time < begin) | ((time >= end) & (time < np.inf)))
                if outside.any():
                    raise ValueError(
                        f"Doses of a period must be given at or after its `start` and before its end, but got "
                        f"{np.broadcast_to(time, outside.shape)[outside][0]:g} in `{name}`."
                    )
    plan = dataclasses.replace(request.plan, observed=request.plan.system.states)
    return dataclasses.replace(request, plan=plan, given=given._replace(times=end)), observed


def _traced(numbers: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(numbers))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _compute(observed: tuple[str, ...], controls: Controls, plan: Plan, given: Given) -> dict[str, Any]:
    given = jax.tree.map(jnp.asarray, given)
    x, target = initial_of(plan, given)
    begin, end = _aligned(given.start[..., None], given.times)
    # what is no period ends as a status, not as a state that repeats itself at once
    end = jnp.where(end > begin, end, jnp.nan)
    share = SHARE if plan.dtype == np.float64 else 1.0
    given = given._replace(rtol=share * given.rtol, atol=share * given.atol)
    given = given._replace(initial={}, times=end, schedule=_repeated(plan, given, begin, end))
    found = search(plan, given, x, target, controls)
    events = _events(plan, given)
    time, u = spread(plan, given.start), {} if events is None else events.start_values
    ok = found.status == FixedPointStatus.OK
    return {
        "values": observed_at(plan.system, observed, time, parameters_of(plan, given), found.x, u, ok),
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
        arrival = time + lag
        # nobody can refuse these inside a transformation: let the twin fail
        inside = (time >= first) & (time < last) & (arrival >= first)
        inside &= arrival + jnp.maximum(duration, 0.0) <= last + length
        time = jnp.where(missing | inside, time, jnp.nan)
        if port not in lags and table.duration is None:
            doses[port] = Doses(time, amount)
            continue
        # a bolus counts in one period, that in which it arrives; where that is the very end of one, rounding must not say
        # that it is in both or in neither
        before = time - length
        late, here = arrival >= last, before + lag >= first
        tick = 8.0 * jnp.finfo(time.dtype).eps * (jnp.abs(time) + jnp.abs(lag) + jnp.abs(last) + jnp.abs(first))
        before = before + lax.stop_gradient(jnp.where(late == here, 0.0, jnp.where(late, tick, -tick)))
        doses[port] = Doses(
            jnp.concatenate([before, time], axis=-1),
            jnp.concatenate([amount, amount], axis=-1),
            None if table.duration is None else jnp.concatenate([duration, duration], axis=-1),
        )
    return Schedule(doses, dict(given.schedule.signals))


def _events(plan: Plan, given: Given) -> Events | None:
    """Every twin's events."""
    schedule = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.twins, leaf.shape[-1])), given.schedule)
    lags = {port: spread(plan, lag) for port, lag in _lags(plan, given).items()}
    return jax.vmap(event_list)(schedule, lags, spread(plan, given.start))
