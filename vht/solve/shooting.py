"""The search for periodic states: pacing, Newton's method with Broyden's updates, and the derivative of where it ends."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from vht.solve import blocks
from vht.solve.fixed_point import (
    FixedPointStatus,
    Simulated,
    amount_slopes,
    amounts_of,
    bordered,
    eigenvalues_within,
    parameters_of,
    scaled,
    simulated,
    smallest_share,
    solve_each,
    spread,
    stand_ins,
)
from vht.solve.given import Given, Plan
from vht.solve.largest import largest
from vht.solve.plan import solve_cohort, unmoved
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
# an estimated distance from the periodic state, as a share of the tolerance, that needs no verification
NEAR = 0.3
# of each paced period: shows how large the states become
LOOKS = 16
# shares of the period at which the rates are compared with those one period later
_PHASES = (0.13579, 0.48201, 0.86413)

PACE, LINEARISE, TRY, DONE = range(4)


class Controls(NamedTuple):
    """Settings of the search; see `periodic_state`."""

    tolerance: Float[Array, ""]
    warm_up: Int[Array, ""]
    max_periods: Int[Array, ""]


class Found(NamedTuple):
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


def _period(plan: Plan, given: Given, x: Array, chosen: Bool[Array, " twins"], jacobian: bool) -> _Period:
    """One period of the twins chosen."""
    begin, end = spread(plan, given.start)[:, None], spread(plan, given.times[..., 0])[:, None]
    if not jacobian:
        times = jnp.concatenate([begin + jnp.arange(1, LOOKS)[None, :] / LOOKS * (end - begin), end], axis=-1)
        return _period_of(simulated(plan, given, x, times, chosen))
    loose = jnp.maximum(given.rtol, JACOBIAN_RTOL)
    share = jnp.where(given.rtol > 0.0, loose / jnp.where(given.rtol > 0.0, given.rtol, 1.0), 1.0)
    return _period_of(simulated(plan, given._replace(rtol=loose, atol=given.atol * share), x, end, chosen, True))


def _period_of(found: Simulated) -> _Period:
    size = largest(jnp.abs(found.values), axis=1)
    return _Period(found.values[:, -1], size, found.jacobian, found.status, found.steps)


class _Carry(NamedTuple):
    """The search, twin by twin.

    `PACE` is followed by `LINEARISE`, and that by `TRY`, which goes on as long as it helps; where a task fails, by an earlier
    one. `DONE` is a twin whose state is found, or given up.

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
        sure: whether the residual at the point is within the tolerance.
        pace: periods still to pace.
        jacobian: the last one.
        status, periods, jacobians, steps: as in `Found`.
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
    sure: Bool[Array, " twins"]
    pace: Int[Array, " twins"]
    jacobian: Float[Array, "twins states states"]
    status: Int[Array, " twins"]
    periods: Int[Array, " twins"]
    jacobians: Int[Array, " twins"]
    steps: Int[Array, " twins"]


class _Search:
    """Newton's method with pacing, all twins at once; each has a task of its own."""

    def __init__(self, plan: Plan, given: Given, target: Array, controls: Controls) -> None:
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
            sure=jnp.zeros((twins,), bool),
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
        size = largest(jnp.maximum(jnp.abs(before), jnp.abs(after)), axis=0)
        gap = largest(jnp.abs(after - before), axis=0)
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
        norm = jnp.where(finite, largest(jnp.abs(residual), axis=1), jnp.inf)
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
        lost = spent & ~after.sure
        return after._replace(
            task=jnp.where(spent, DONE, after.task).astype(np.int32),
            status=jnp.where(lost, FixedPointStatus.NO_CONVERGENCE, after.status).astype(np.int32),
        )

    def _some(self, x: Array, chosen: Bool[Array, " twins"], jacobian: bool) -> _Period:
        twins, n = x.shape

        def nobody() -> _Period:
            count = jnp.zeros((twins,), np.int32)
            slopes = jnp.zeros((twins, n, n if jacobian else 0))
            return _Period(jnp.zeros((twins, n)), jnp.zeros((twins, n)), slopes, count, count)

        return lax.cond(jnp.any(chosen), lambda: _period(self.plan, self.given, x, chosen, jacobian), nobody)

    def _residual(self, x: Array, end: Array, scale: Array) -> Float[Array, "twins rows"]:
        slopes = amount_slopes(self.plan.system, self.p, x) * scale[:, None, :]
        length = jnp.sqrt(jnp.sum(slopes * slopes, axis=-1))
        off = amounts_of(self.plan.system, self.p, x) - self.target
        return jnp.concatenate([(end - x) / scale, off / jnp.where(length > 0.0, length, 1.0)], axis=1)

    # ------------------------------------------------------------------------------------------- what follows a period

    def _paced(self, c: _Carry, end: Array, residual: Array, norm: Array, status: Array, finite: Array) -> _Carry:
        converged = norm <= self.controls.tolerance
        pace = c.pace - 1
        # a state that repeats itself may still be one of many: a Jacobian there tells
        task = jnp.where(~finite, DONE, jnp.where(converged | (pace <= 0), LINEARISE, PACE))
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
        good = finite & ~singular
        safe = good[:, None, None]
        inverse = blocks.inverse(jnp.where(safe, whole, jnp.eye(whole.shape[1])[None]))[:, :n]
        inverse = jnp.where(safe, inverse, 0.0)
        converged = c.norm <= self.controls.tolerance
        # far away a Jacobian may be singular by chance
        hopeless = singular & (c.doubtful | converged)
        # where the sensitivities fail, pacing may still find the state
        task = jnp.where(hopeless | (converged & ~singular), DONE, jnp.where(good, TRY, PACE))
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
        good = jnp.where(c.sure, norm <= c.norm, converged | (norm <= (1.0 - 0.25 * c.share) * c.norm))
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

        # where states settle slowly a small residual may be far from the periodic state: one more step then, and no matter
        # what comes of it the search is over
        far = largest(jnp.abs(_times(inverse, residual)), axis=1) > NEAR * self.controls.tolerance
        done = c.sure | (converged & ~far)
        shorter = ~good & c.fresh & (c.share > SHORTEST)
        given_up = ~good & c.fresh & ~shorter
        again = (good & slow & ~c.fresh) | (~good & ~c.fresh)
        again &= ~converged
        task = jnp.where(done, DONE, jnp.where(again, LINEARISE, jnp.where(given_up, PACE, TRY)))
        # where the search gives up, the end of the last good period is known
        paced = c.x + c.residual[:, : c.x.shape[1]] * c.scale
        x = jnp.where(good[:, None], point, jnp.where((given_up & ~done)[:, None], paced, c.x))
        residual = jnp.where(good[:, None], residual, c.residual)
        # the search does not end with a step that was tried and led to a larger residual
        inverse = jnp.where((c.sure & ~good)[:, None, None], 0.0, inverse)
        return c._replace(
            task=task.astype(np.int32),
            x=x,
            residual=residual,
            norm=jnp.where(good, norm, c.norm),
            step=jnp.where(good[:, None], -_times(inverse, residual), c.step),
            share=jnp.where(good, 1.0, 0.25 * c.share),
            inverse=inverse,
            fresh=c.fresh & ~good,
            sure=c.sure | converged,
            pace=jnp.full_like(c.pace, RETREAT - 1),
        )

    def end(self, c: _Carry) -> Found:
        # the residual is known, and with it one more step, which costs no period
        x = c.x - _times(c.inverse, c.residual) * c.scale
        beyond = (c.status == FixedPointStatus.OK) & ~jnp.isfinite(x).all(axis=1)
        status = jnp.where(beyond, FixedPointStatus.NON_FINITE, c.status).astype(np.int32)
        ok = status == FixedPointStatus.OK
        matrix, rows, _ = scaled(c.jacobian, amount_slopes(self.plan.system, self.p, c.x), c.scale)
        length = spread(self.plan, self.given.times[..., 0]) - spread(self.plan, self.given.start)
        factor = largest(jnp.abs(eigenvalues_within(matrix, rows)), axis=1, initial=0.0)
        return Found(
            x=jnp.where(ok[:, None], x, jnp.nan),
            scale=c.scale,
            residual=jnp.where(ok, c.norm, jnp.nan),
            growth=jnp.where(ok, jnp.log(factor) / length, jnp.nan),
            status=status,
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
def search(
    plan: Plan, given: Given, x: Float[Array, "twins states"], target: Float[Array, "twins amounts"], controls: Controls
) -> Found:
    """Find periodic states.

    Args:
        plan: observes all states.
        given: of one period; its initial states are not used, its one save is the end of the period.
        x: where to begin; nothing depends on it to first order.
        target: amounts of the conserved quantities.
        controls: see `periodic_state`.
    """
    own = _Search(plan, given, target, controls)
    return own.end(lax.while_loop(lambda c: jnp.any(c.task != DONE), own.advance, own.begin(x)))


def _search_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[Found, Found]:
    """The implicit function theorem: one period from the state that was found, along what moves and along each state."""
    given, _, target, _ = primals
    dots, _, target_dot, _ = tangents
    found = search(plan, *primals)
    leaves, structure = jax.tree.flatten(given)
    slopes = jax.tree.leaves(dots, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    moving = [i for i, slope in enumerate(slopes) if not isinstance(slope, SymbolicZero)]
    x, names = found.x, plan.system.states
    n = len(names)
    ok = found.status == FixedPointStatus.OK
    place = stand_ins(ok)

    def period(moved: list[Array], x: Array) -> tuple[Array, Array]:
        now = jax.tree.unflatten(
            structure, [dict(zip(moving, moved, strict=True)).get(i, v) for i, v in enumerate(leaves)]
        )
        now = now._replace(initial={name: x[:, i] for i, name in enumerate(names)})
        end = solve_cohort(plan, now).values
        stacked = jnp.stack([end[name][:, -1] for name in names], axis=-1).astype(np.float64)
        p, whole = jax.tree.map(lambda column: column[place], (parameters_of(plan, now), x))
        return stacked, amounts_of(plan.system, p, whole)

    moved = [leaves[i] for i in moving]
    (end, _), along = jax.linearize(period, moved, x)
    still = [jnp.zeros_like(leaf) for leaf in moved]
    basis = jnp.broadcast_to(jnp.eye(n)[:, None, :], (n, plan.twins, n))
    ends, amounts = jax.vmap(lambda dot: along(still, dot))(basis)
    jacobian, borders = jnp.moveaxis(ends, 0, -1) - jnp.eye(n)[None], jnp.moveaxis(amounts, 0, -1)
    matrix, rows, length = scaled(jacobian, borders, found.scale)
    whole = bordered(matrix, rows)
    whole = jnp.where(ok[:, None, None], whole, jnp.eye(whole.shape[1])[None])
    end_dot, amount_dot = along([slopes[i] for i in moving], jnp.zeros_like(x))
    if not isinstance(target_dot, SymbolicZero):
        amount_dot = amount_dot - target_dot
    right = jnp.concatenate([end_dot / found.scale, amount_dot / length], axis=1)
    dot = -solve_each(whole, jnp.where(ok[:, None], right, 0.0))[:, :n] * found.scale
    # where the sensitivities failed there is a state without derivatives, not one with those of nothing; a factor, since a
    # constant has no say in reverse
    dot = dot * jnp.where((ok & ~jnp.isfinite(end).all(axis=1))[:, None], jnp.nan, 1.0)
    return found, jax.tree.map(unmoved, found)._replace(x=dot)


search.defjvp(_search_jvp, symbolic_zeros=True)
