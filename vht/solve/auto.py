"""Explicit or stiff: decided by solving a few twins with both.

What a step costs is counted in operations of its program, so that the choice does not hang on how busy the machine is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core as jex
from vht_kernels.uniform import inner_jaxprs

from vht.solve import rosenbrock, steppers
from vht.solve.elimination import Elimination
from vht.solve.given import Results
from vht.solve.methods import Auto
from vht.solve.request import Request
from vht.solve.sparse import jacobian
from vht.solve.status import Status
from vht.solve.system import System, Values

PILOT = 8
# the explicit method's pilot is given up once it has cost so many times what the stiff one's did
PATIENCE = 2.0
LEAST_STEPS = 20
# operations of about one multiplication's time in a kernel; a division takes some, a function many
_DIVISION, _FUNCTION = 4.0, 15.0
_FUNCTIONS = frozenset(
    (
        *(
            "exp",
            "exp2",
            "expm1",
            "log",
            "log1p",
            "log2",
            "logistic",
            "pow",
            "cbrt",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
        ),
        *("atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma"),
        *("digamma", "rem"),
    )
)

Pilot = Callable[[Request], Results]


def decided(request: Request, pilot: Pilot) -> Request:
    """The request with a method in place of `Auto`, and a note that says why.

    Args:
        request: of any method.
        pilot: solves a request.

    Raises:
        ValueError: times, start or schedule are not known yet, inside a transformation.
    """
    method = request.method
    if not isinstance(method, Auto):
        return request
    stiff, explicit = method.stiff, method.explicit
    if any(request.plan.system.algebraic):
        return request.with_method(stiff, "the model has algebraic variables")
    if request.plan.twins == 0:
        return request.with_method(explicit, "there are no twins to try it on")
    few = _few(request)
    cost = step_costs(request.plan.system)
    ratio = cost[1] / cost[0]
    first = _outside(lambda: pilot(few.with_method(stiff)))
    if (np.asarray(first.culprit) >= len(request.plan.system.states)).any():
        # what is observed ended a twin, which says nothing of the steps that its states take
        few = dataclasses.replace(few, plan=dataclasses.replace(few.plan, observed=request.plan.system.states))
        first = _outside(lambda: pilot(few.with_method(stiff)))
    needed = _steps(first)
    enough = np.median(needed[np.isfinite(needed)]) if np.isfinite(needed).any() else np.inf
    budget = int(min(method.max_steps, LEAST_STEPS + PATIENCE * ratio * enough))
    second = _outside(lambda: pilot(few.with_method(dataclasses.replace(explicit, max_steps=max(1, budget)))))
    against = _steps(second)
    fewer = float(np.median(against)) <= ratio * float(np.median(needed))
    why = (
        f"{len(needed)} pilot twin{'s' if len(needed) > 1 else ''}: {_told(needed, method.max_steps)} with Rodas5P, "
        f"{_told(against, budget)} with Tsit5, of which one costs {1.0 / ratio:.2g} times as much"
    )
    return request.with_method(explicit if fewer else stiff, why)


def _outside(function: Callable[[], Results]) -> Results:
    """Call a function outside of every transformation, so that what it computes has values.

    A trace is its thread's own. (Under `jax.ensure_compile_time_eval` Equinox's checks fail, and so does every diffrax solve.)
    """
    if not isinstance(jnp.zeros(()), Tracer):
        return function()
    precise, place = jax.config.jax_enable_x64, jax.config.jax_default_device  # type: ignore[attr-defined]

    def call() -> Results:
        with jax.enable_x64(precise), jax.default_device(place):
            return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def _told(steps: np.ndarray, budget: int) -> str:
    median = float(np.median(steps))
    return f"{median:g} steps" if np.isfinite(median) else f"no end in {budget} steps"


def _few(request: Request) -> Request:
    """A few of the twins; what a transformation holds is replaced by the model's own."""
    given = request.given
    late = [leaf for leaf in jax.tree.leaves((given.times, given.start, given.schedule)) if isinstance(leaf, Tracer)]
    if late:
        raise ValueError(
            "Inside a transformation `Auto` needs to know times, start and schedule to try its methods: give "
            "`method=Tsit5(...)` or `method=Rodas5P(...)`, or choose beforehand with `choose_method`."
        )
    own = request.own_parameters
    parameters = {name: own[name] if isinstance(v, Tracer) else v for name, v in given.parameters.items()}
    if any(isinstance(v, Tracer) for v in parameters.values()):
        raise ValueError("Inside a transformation `Auto` needs a model whose own parameters are numbers.")
    initial = {name: v for name, v in given.initial.items() if not isinstance(v, Tracer)}
    given = given._replace(parameters=parameters, initial=initial)
    rows = np.unique(np.linspace(0, request.plan.twins - 1, PILOT).astype(np.int64))
    few = given.rows(rows)
    return dataclasses.replace(request, given=few, plan=dataclasses.replace(request.plan, twins=len(rows)))


def _steps(results: Results) -> np.ndarray:
    """Steps of each twin; infinite where it did not reach the end."""
    status, steps = np.asarray(results.status), np.asarray(results.steps, np.float64)
    return np.where(status == Status.OK, steps, np.inf)


def step_costs(system: System) -> tuple[float, float]:
    """What a step of `Tsit5` and one of `Rodas5P` cost, in operations."""
    n = len(system.states)
    number = jax.ShapeDtypeStruct((), np.float64)
    p, x, u = dict.fromkeys(system.parameters, number), (number,) * n, dict.fromkeys(system.inputs, number)

    def once(x: Values, p: Any, u: Any, t: Any) -> Sequence[Any]:
        _, slopes = jacobian(lambda *x: system.rates(t, p, x, u), x)
        matrix = {(j, j): jnp.ones_like(t) for j in range(n)} | {key: -slope for key, slope in slopes.items()}
        factors = Elimination(frozenset(matrix), n).factor(matrix)
        return [*slopes.values(), *(part[2] for part in (*factors.lower, *factors.upper))], factors

    def solved(x: Values, p: Any, u: Any, t: Any) -> Sequence[Any]:
        parts, factors = once(x, p, u, t)
        return [*parts, *factors.solve(x)]

    rates = _operations(jax.make_jaxpr(system.rates)(number, p, x, u).jaxpr)
    factored = _operations(jax.make_jaxpr(lambda *args: once(*args)[0])(x, p, u, number).jaxpr)
    solve = _operations(jax.make_jaxpr(solved)(x, p, u, number).jaxpr) - factored
    sums = 2.0 * n * sum(len(row) for row in (*steppers.WEIGHTS, steppers.ERROR))
    explicit = len(steppers.WEIGHTS) * rates + sums
    sums = 2.0 * n * sum(len(row) for row in (*rosenbrock.ARGUMENTS[:6], *rosenbrock.COUPLING, *rosenbrock.DENSE))
    return explicit, factored + (rosenbrock.STAGES - 1) * rates + rosenbrock.STAGES * solve + sums


def _operations(jaxpr: jex.Jaxpr) -> float:
    total = 0.0
    for eqn in jaxpr.eqns:
        inner = inner_jaxprs(eqn)
        name = eqn.primitive.name
        total += sum(map(_operations, inner)) if inner else _FUNCTION if name in _FUNCTIONS else 1.0
        total += _DIVISION if name in ("div", "sqrt", "rsqrt") else 0.0
    return total
