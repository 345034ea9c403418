"""Steady states: where the rates vanish, by pseudo-transient continuation and, where that fails, by letting time pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.interpreters import partial_eval
from jaxtyping import Array, Bool, Float, Int

from vht.errors import ModelError
from vht.model import Organ, Twins
from vht.model.real import real_numbers
from vht.solve import blocks
from vht.solve.device import Device
from vht.solve.fixed_point import (
    FixedPoint,
    FixedPointStatus,
    Parameters,
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
    simulated,
    smallest_share,
    solve_each,
    spread,
    stand_ins,
)
from vht.solve.given import Given, Plan
from vht.solve.largest import largest
from vht.solve.methods import Auto, Method, Tsit5
from vht.solve.plan import unmoved
from vht.solve.request import Columns, Request
from vht.solve.schedule import Schedule, Signal, listed
from vht.solve.simulate import Backend, run
from vht.solve.status import Status
from vht.solve.system import System

# times that the state is carried on by integration, each ten times as far as the one before, when Newton's method fails
ROUNDS = 5
# of the first of them, in the shortest time in which a state would change by its own size
HORIZON = 10.0
# the Jacobian is exact up to rounding: a singular value below this share is none
SINGULAR = 1e-13
# a change of what is conserved that rounding explains, as a share of the fastest rate
DRIFT = 1e-11


def steady_state(
    model: Organ,
    *,
    inputs: Columns | None = None,
    twins: Twins | Columns | None = None,
    initial: Columns | None = None,
    observe: Sequence[str] | None = None,
    method: Method = Tsit5(rtol=1e-9, atol=1e-9),
    tolerance: float = 1e-10,
    max_iterations: int = 100,
    stability: bool = True,
    backend: Backend = "auto",
    device: Device = "auto",
    slice_size: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> FixedPoint:
    """The state in which nothing changes while the inputs stay, for each twin.

    Newton's method on the rates, with the Jacobian by JAX, made safe by pseudo-transient continuation: an implicit Euler step
    whose length grows as the rates vanish (switched evolution relaxation; Kelley and Keyes, SIAM J. Numer. Anal. 35, 1998,
    equation 1.3), so that it sets out as time would and ends as Newton's method. Where it does not arrive, the state is
    carried on by integration, and tried again. Where there are several steady states, the one found need not be the one that
    time leads to; `growth` says whether it is stable.

    Works under `jax.jit` and `jax.vmap`, and has derivatives with respect to parameters and inputs, and the initial state as
    far as it sets conserved quantities, by the implicit function theorem: nothing is differentiated through the search.

    Args:
        model: see `simulate`. Its rates may not depend on time.
        inputs: constant values by input port, ``[twins]`` or a scalar each; a flow that is left out is 0.
        twins: see `simulate`.
        initial: where the search begins; its conserved quantities (see `Organ`) are those of the steady state.
        observe: states and outputs; by default all.
        method: of the integration, should it be needed.
        tolerance: of the residual: Newton's next step, as a share of each state's size (that of the state or of its initial
            value, the larger one), the largest of all states. So it is about the distance from the steady state.
        max_iterations: Newton's, after which a state is carried on by integration, and after the last of those a twin ends
            as ``no_convergence``.
        stability: work out `growth`; costs eigenvalues for each twin.
        backend: of the integration, see `simulate`.
        device: see `simulate`.
        slice_size: see `simulate`.
        progress: see `simulate`.

    Returns:
        States and outputs, with a status for each twin.

    Raises:
        ModelError: as `simulate`; rates that depend on time; events of the state.
        TypeError: as `simulate`.
        ValueError: as `simulate`.
        DeviceError: as `simulate`.
    """
    tolerance = checked_tolerance(tolerance, method)
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1, but got {max_iterations}.")
    if not (inputs is None or isinstance(inputs, Mapping)):
        raise TypeError(f"`inputs` must hold columns by name, but got {type(inputs).__name__}.")
    if isinstance(method, Auto):
        # where Newton's method needs help, states are carried on far beyond what is fast in them
        method = method.stiff
    signals = {name: Signal([0.0], _column(name, value), "hold") for name, value in (inputs or {}).items()}
    request = Request.of(model, np.array([np.inf]), twins, initial, 0.0, Schedule(signals=signals), observe, method)
    request.check(constant=True)
    if _depends_on_time(request.plan.system):
        raise ModelError(
            f"The rates of `{type(model).__name__}` depend on time, so that it has no steady state: `periodic_state` finds "
            "the state that repeats itself after a period."
        )
    if request.plan.system.events:
        raise ModelError(
            f"`{type(model).__name__}` has events of the state (`{request.plan.system.events[0][0]}`), which a search by the "
            "rates alone would overlook: simulate it until it is at rest, or find its `periodic_state`."
        )
    controls = _Controls(
        tolerance=np.float64(tolerance),  # type: ignore[arg-type]
        most=np.int32(min(max_iterations, np.iinfo(np.int32).max)),  # type: ignore[arg-type]
    )
    compute = functools.partial(_compute, stability, controls)
    found, used = run(compute, request, backend, device, slice_size, progress)
    return fixed_point(request, request.plan.observed, "steady", tolerance, found, used)


def _column(name: str, value: Any) -> Any:
    value = listed(value)
    return (value if isinstance(value, jax.Array) else real_numbers(f"inputs.{name}", value))[..., None]


@functools.cache
def _depends_on_time(system: System) -> bool:
    number = jax.ShapeDtypeStruct((), np.float64)
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(system.rates)(
            number,
            dict.fromkeys(system.parameters, number),
            (number,) * len(system.states),
            dict.fromkeys(system.inputs, number),
        )
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return used[0]


class _Controls(NamedTuple):
    tolerance: Float[Array, ""]
    most: Int[Array, ""]


class _Found(NamedTuple):
    """What the search ends with, twin by twin; see `FixedPoint`.

    Attributes:
        x: the steady state.
        scale: size of each state.
        residual: see `steady_state`.
        status: `FixedPointStatus` codes.
        iterations: Newton's.
        steps: of the integration.
    """

    x: Float[Array, "twins states"]
    scale: Float[Array, "twins states"]
    residual: Float[Array, " twins"]
    status: Int[Array, " twins"]
    iterations: Int[Array, " twins"]
    steps: Int[Array, " twins"]


@functools.partial(jax.jit, static_argnums=(0, 2))
def _compute(stability: bool, controls: _Controls, plan: Plan, given: Given) -> dict[str, Any]:
    given = jax.tree.map(jnp.asarray, given)
    p, system = parameters_of(plan, given), plan.system
    u = {port: spread(plan, jnp.asarray(signal.value)[..., 0]) for port, signal in given.schedule.signals.items()}
    x, target = initial_of(plan, given)
    bare = jax.tree.map(lax.stop_gradient, given._replace(initial={}))
    found = _search(plan, bare, p, u, x, target, controls)
    ok = found.status == FixedPointStatus.OK
    still = jax.tree.map(lax.stop_gradient, (p, found.x, u))
    return {
        "values": observed_at(system, plan.observed, jnp.zeros((plan.twins,)), p, found.x, u, ok),
        "residual": found.residual,
        "growth": jnp.where(ok, _growth(system, *still), jnp.nan) if stability else jnp.full((plan.twins,), jnp.nan),
        "status": found.status,
        "iterations": found.iterations,
        "jacobians": found.iterations,
        "steps": found.steps,
    }


def _rates(system: System, p: Parameters, x: Array, u: Parameters) -> Float[Array, "twins states"]:
    time = jnp.zeros(x.shape[:1])
    return jnp.stack(jax.vmap(system.rates)(time, dict(p), tuple(x[:, i] for i in range(x.shape[1])), dict(u)), axis=-1)


def _jacobian(system: System, p: Parameters, x: Array, u: Parameters) -> Float[Array, "twins states states"]:
    def of_twin(p: Any, x: Array, u: Any) -> Array:
        return jax.jacfwd(lambda x: jnp.stack(system.rates(jnp.zeros(()), p, tuple(x), u)))(x)

    return jax.vmap(of_twin)(dict(p), x, dict(u))


def _growth(system: System, p: Parameters, x: Array, u: Parameters) -> Float[Array, " twins"]:
    """The largest real part of the eigenvalues; algebraic variables follow the states."""
    matrix, slopes = _jacobian(system, p, x, u), amount_slopes(system, p, x)
    size = jnp.where(jnp.abs(x) > 0.0, jnp.abs(x), 1.0)
    matrix, slopes, _ = scaled(matrix, slopes, size)
    moving = np.flatnonzero(~_algebraic(system))
    bound = np.flatnonzero(_algebraic(system))
    if bound.size:
        below = matrix[:, bound]
        followed = blocks.solve(below[:, :, bound], below[:, :, moving])
        matrix = matrix[:, moving][:, :, moving] - matrix[:, moving][:, :, bound] @ followed
        slopes = slopes[:, :, moving] - slopes[:, :, bound] @ followed
    found = eigenvalues_within(matrix, slopes)
    return largest(jnp.real(found), axis=1, initial=-jnp.inf)


def _algebraic(system: System) -> np.ndarray:
    return np.asarray(system.algebraic, bool)


# -------------------------------------------------------------------------------------------------------------- search


class _Carry(NamedTuple):
    """Newton's iterations, twin by twin.

    Attributes:
        x: the point.
        last: the one before, to which a step that leads nowhere goes back.
        norm: of the rates there, scaled; infinite before the first.
        push: the inverse of the time step.
        found: whether the point is the steady state.
        residual: Newton's last step, scaled.
        iterations: so far.
        turn: of this run.
    """

    x: Float[Array, "twins states"]
    last: Float[Array, "twins states"]
    norm: Float[Array, " twins"]
    push: Float[Array, " twins"]
    found: Bool[Array, " twins"]
    residual: Float[Array, " twins"]
    iterations: Int[Array, " twins"]
    turn: Int[Array, ""]


class _Run(NamedTuple):
    """Newton's method from states carried on by integration.

    Attributes:
        c: of the last run.
        begin: where it began.
        failed: `Status` of an integration that failed, else ok.
        steps: of the integration.
        round: integrations so far.
    """

    c: _Carry
    begin: Float[Array, "twins states"]
    failed: Int[Array, " twins"]
    steps: Int[Array, " twins"]
    round: Int[Array, ""]


class _Search:
    def __init__(
        self, plan: Plan, given: Given, p: Parameters, u: Parameters, x: Array, target: Array, controls: _Controls
    ) -> None:
        self.plan, self.given, self.system = plan, given, plan.system
        self.p, self.u, self.start, self.target, self.controls = p, u, x, target, controls
        self.moving = ~_algebraic(self.system)

    def scale(self, x: Array) -> Float[Array, "twins states"]:
        size = jnp.maximum(jnp.abs(x), jnp.abs(self.start))
        return jnp.where((size > 0.0) & (size < jnp.inf), size, 1.0)

    def newton(self, c: _Carry) -> _Carry:
        """From the points of a carry, up to the budget of iterations."""
        c = c._replace(turn=jnp.zeros((), np.int32), norm=jnp.full_like(c.norm, jnp.inf))
        return lax.while_loop(lambda c: jnp.any(~c.found) & (c.turn < self.controls.most), self.iterate, c)

    def iterate(self, c: _Carry) -> _Carry:
        n = c.x.shape[1]
        scale = self.scale(c.x)
        f = _rates(self.system, self.p, c.x, self.u) / scale
        off = amounts_of(self.system, self.p, c.x) - self.target
        matrix, rows, length = scaled(
            _jacobian(self.system, self.p, c.x, self.u), amount_slopes(self.system, self.p, c.x), scale
        )
        norm = largest(jnp.abs(f), axis=1)
        fine = jnp.isfinite(norm) & jnp.isfinite(matrix).all(axis=(1, 2)) & jnp.isfinite(off).all(axis=1)
        # a first step that would change a state by its own size; then as the rates vanish
        first = largest(jnp.abs(jnp.where(self.moving[None, :], f, 0.0)), axis=1)
        ratio = norm / jnp.where(c.norm > 0.0, c.norm, 1.0)
        push = jnp.where(jnp.isinf(c.norm), first, c.push * jnp.clip(ratio, 1e-3, 10.0))
        right = -jnp.concatenate([f, off / length], axis=1)
        right = jnp.where(fine[:, None], right, 0.0)

        def step(push: Array) -> Array:
            whole = bordered(matrix - push[:, None, None] * jnp.diag(jnp.where(self.moving, 1.0, 0.0))[None], rows)
            return solve_each(jnp.where(fine[:, None, None], whole, jnp.eye(whole.shape[1])[None]), right)

        newton, careful = step(jnp.zeros_like(push)), step(push)
        residual = largest(jnp.abs(newton[:, :n]), axis=1)
        # rates that change what should be conserved cannot vanish: the border's own unknowns tell
        drift = largest(jnp.abs(jnp.einsum("tm,tmn->tn", newton[:, n:], rows)), axis=1, initial=0.0)
        steady = fine & (residual <= self.controls.tolerance) & (drift <= DRIFT * largest(jnp.abs(matrix), axis=(1, 2)))
        ahead = c.x + scale * jnp.where(steady[:, None], newton[:, :n], careful[:, :n])
        ahead = jnp.where(fine[:, None], ahead, c.last)
        going = ~c.found
        return _Carry(
            x=jnp.where(going[:, None], ahead, c.x),
            last=jnp.where((going & fine)[:, None], c.x, c.last),
            norm=jnp.where(going & fine, norm, c.norm),
            push=jnp.where(going, jnp.where(fine, push, 10.0 * c.push), c.push),
            found=c.found | steady,
            residual=jnp.where(going, residual, c.residual),
            iterations=c.iterations + going.astype(np.int32),
            turn=c.turn + 1,
        )

    def begin(self) -> _Run:
        twins = self.start.shape[0]
        count, numbers = jnp.zeros((twins,), np.int32), jnp.zeros((twins,))
        c = _Carry(
            self.start, self.start, numbers, numbers, jnp.zeros((twins,), bool), numbers, count, jnp.zeros((), np.int32)
        )
        return _Run(self.newton(c), self.start, count, count, jnp.zeros((), np.int32))

    def carry_on(self, run: _Run) -> _Run:
        """Integrate the twins that were not found, then try again."""
        chosen = self.left(run)
        f = _rates(self.system, self.p, self.start, self.u) / self.scale(self.start)
        fastest = largest(jnp.abs(jnp.where(self.moving[None, :], f, 0.0)), axis=1)
        length = HORIZON * 10.0 ** run.round.astype(np.float64) / jnp.where(fastest > 0.0, fastest, 1.0)
        gone = simulated(self.plan, self.given, run.begin, length[:, None], chosen)
        end = gone.values[:, -1]
        failed = chosen & ((gone.status != Status.OK) | ~jnp.isfinite(end).all(axis=1))
        reason = jnp.where(gone.status == Status.OK, Status.NON_FINITE, gone.status).astype(np.int32)
        begin = jnp.where((chosen & ~failed)[:, None], end, run.begin)
        # twins that are done keep what they have
        again = chosen & ~failed
        c = run.c._replace(
            x=jnp.where(again[:, None], begin, run.c.x),
            last=jnp.where(again[:, None], begin, run.c.last),
            found=~again,
        )
        after = self.newton(c)
        return _Run(
            c=after._replace(found=jnp.where(again, after.found, run.c.found)),
            begin=begin,
            failed=jnp.where(failed, reason, run.failed),
            steps=run.steps + gone.steps,
            round=run.round + 1,
        )

    def left(self, run: _Run) -> Bool[Array, " twins"]:
        return ~run.c.found & (run.failed == Status.OK)

    def end(self, run: _Run) -> _Found:
        x, scale = run.c.x, self.scale(run.c.x)
        matrix, rows, _ = scaled(
            _jacobian(self.system, self.p, x, self.u), amount_slopes(self.system, self.p, x), scale
        )
        fine = jnp.isfinite(matrix).all(axis=(1, 2)) & jnp.isfinite(rows).all(axis=(1, 2))
        size = jnp.max(jnp.abs(matrix), axis=2, keepdims=True)
        # a rate that has flattened off, far out: it is zero but for rounding, and no state is there
        before = jnp.abs(_jacobian(self.system, self.p, self.start, self.u)) * scale[:, None, :] / scale[:, :, None]
        flat = jnp.any(size[:, :, 0] < SINGULAR * jnp.max(before, axis=2), axis=1)
        matrix = jnp.where(fine[:, None, None], matrix / jnp.where(size > 0.0, size, 1.0), 0.0)
        share = smallest_share(matrix, jnp.where(fine[:, None, None], rows, 0.0))
        singular = fine & ((flat & run.c.found) | ~(share > SINGULAR))
        status = jnp.where(run.c.found, FixedPointStatus.OK, FixedPointStatus.NO_CONVERGENCE)
        status = jnp.where(run.failed != Status.OK, run.failed, status)
        status = jnp.where(singular & (run.failed == Status.OK), FixedPointStatus.SINGULAR, status).astype(np.int32)
        ok = status == FixedPointStatus.OK
        return _Found(
            x=jnp.where(ok[:, None], x, jnp.nan),
            scale=scale,
            residual=jnp.where(ok, run.c.residual, jnp.nan),
            status=status,
            iterations=run.c.iterations,
            steps=run.steps,
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _search(
    plan: Plan, given: Given, p: Parameters, u: Parameters, x: Array, target: Array, controls: _Controls
) -> _Found:
    search = _Search(dataclasses.replace(plan, observed=plan.system.states), given, p, u, x, target, controls)

    def unfinished(run: _Run) -> Array:
        return jnp.any(search.left(run)) & (run.round < ROUNDS)

    return search.end(lax.while_loop(unfinished, search.carry_on, search.begin()))


def _search_jvp(plan: Plan, primals: Any, tangents: Any) -> tuple[_Found, _Found]:
    """The implicit function theorem. All of it is plain JAX, so that it can be differentiated again."""
    _, p, u, _, target, _ = primals
    _, p_dots, u_dots, _, target_dot, _ = tangents
    found = _search(plan, *primals)
    system, ok = plan.system, found.status == FixedPointStatus.OK
    rows = stand_ins(ok)
    p, u, x, scale = jax.tree.map(lambda column: column[rows], (dict(p), dict(u), found.x, found.scale))
    x = jnp.where(ok.any(), x, 1.0)
    matrix, borders, length = scaled(_jacobian(system, p, x, u), amount_slopes(system, p, x), scale)
    moving_p = {name: dot for name, dot in p_dots.items() if not isinstance(dot, SymbolicZero)}
    moving_u = {name: dot for name, dot in u_dots.items() if not isinstance(dot, SymbolicZero)}

    def equations(own: Any, driven: Any) -> tuple[Array, Array]:
        return _rates(system, {**p, **own}, x, {**u, **driven}), amounts_of(system, {**p, **own}, x)

    at = ({name: p[name] for name in moving_p}, {name: u[name] for name in moving_u})
    _, (rate_dot, amount_dot) = jax.jvp(equations, at, (moving_p, moving_u))
    if not isinstance(target_dot, SymbolicZero):
        amount_dot = amount_dot - target_dot
    right = jnp.concatenate([rate_dot / scale, amount_dot / length], axis=1)
    whole = bordered(matrix, borders)
    whole = jnp.where(ok[:, None, None], whole, jnp.eye(whole.shape[1])[None])
    dot = -solve_each(whole, jnp.where(ok[:, None], right, 0.0))[:, : x.shape[1]] * scale
    return found, jax.tree.map(unmoved, found)._replace(x=dot)


_search.defjvp(_search_jvp, symbolic_zeros=True)
