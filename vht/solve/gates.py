"""Which states of a model are gates, and what they relax to: found in the jaxpr of its rates, where `gate` is a call.

An exponential step needs the steady state and the time constant of every gate, and nothing else. So the equations that do
not lead to them are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex
from vht_kernels.errors import as_written
from vht_kernels.uniform import nested_jaxpr

from vht.model.gating import GATE

Gates = Mapping[int, tuple[jax.Array, jax.Array]]

# calls that only group equations; others (custom_jvp, checkpoint) mean something for derivatives and stay whole
_GROUPS = ("jit", "pjit", "closed_call", "core_call")


class _Slot:
    """A value that is known only when the equations are evaluated."""


class _Step(NamedTuple):
    """One equation; an operand that is no slot is a number in the source."""

    equation: Any
    operands: Sequence[Any]
    results: Sequence[_Slot]


class _Call(NamedTuple):
    """A call of `gate`, and by what number its result was multiplied."""

    operands: Sequence[Any]
    factor: float = 1.0


def gates_of(rates: Callable[..., Sequence[Any]], t: Any, p: Any, x: Any, u: Any) -> Callable[..., Gates]:
    """Find the gates among a system's states.

    A state is a gate if its rate is the result of `vht.model.gate` with that very state as first operand, or that times a
    positive number in the source (a body with another unit of time). Whether its steady state and time constant depend on it
    (then they are no longer those of a linear equation) is not looked at.

    Args:
        rates: ``(t, p, x, u) -> rates``, one for each state of the tuple `x`, as `System.rates`.
        t: time, or its shape and type, as for the other arguments.
        p: parameters, in whatever structure `rates` takes.
        x: states, a tuple.
        u: inputs, in whatever structure `rates` takes.

    Returns:
        ``(t, p, x, u) -> {number of the state: (steady state, time constant)}``, in order; empty if there are no gates. It
        takes arguments of the same structure and types, and evaluates only what leads to its results.
    """
    closed = jax.make_jaxpr(rates)(t, p, x, u)
    structure = jax.tree.structure((t, p, x, u))
    arguments = [_Slot() for _ in closed.jaxpr.invars]
    states = jax.tree.unflatten(structure, arguments)[2]
    steps: list[_Step] = []
    calls: dict[_Slot, _Call] = {}
    results = _inline(closed, arguments, steps, calls)
    wanted: dict[int, _Call] = {}
    for number, (state, rate) in enumerate(zip(states, results, strict=True)):
        if isinstance(rate, _Slot) and rate in calls and calls[rate].operands[0] is state:
            wanted[number] = calls[rate]
    needed = _leading_to(steps, [value for call in wanted.values() for value in call.operands[1:]])

    def evaluate(t: Any, p: Any, x: Any, u: Any) -> Gates:
        leaves, found = jax.tree.flatten((t, p, x, u))
        if found != structure:
            raise TypeError(f"The arguments must have the structure {structure}, but have {found}.")
        known: dict[_Slot, Any] = dict(zip(arguments, leaves, strict=True))

        def value(operand: Any) -> Any:
            return known[operand] if isinstance(operand, _Slot) else operand

        for equation, operands, outs in needed:
            primitive = equation.primitive
            settings = primitive.get_bind_params(equation.params)
            # before jax 0.10 the functions a primitive calls came apart from the rest
            functions, settings = settings if isinstance(settings, tuple) else ((), settings)
            with as_written(equation):
                out = primitive.bind(*functions, *map(value, operands), **settings)
            known.update(zip(outs, out if primitive.multiple_results else [out], strict=True))
        gates: dict[int, tuple[jax.Array, jax.Array]] = {}
        for number, ((_, steady, tau), factor) in wanted.items():
            slow = jnp.asarray(value(tau))
            gates[number] = (jnp.asarray(value(steady)), slow if factor == 1.0 else slow / factor)
        return gates

    return evaluate


def _inline(
    closed: jex.ClosedJaxpr, arguments: Sequence[Any], steps: list[_Step], calls: dict[_Slot, _Call]
) -> list[Any]:
    """Append a jaxpr's equations, those of nested calls in place of the calls; note calls of `gate`; returns its results."""
    jaxpr = closed.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(jaxpr.invars, arguments, strict=True))

    def known(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        operands = [known(a) for a in eqn.invars]
        name = eqn.primitive.name
        inner = nested_jaxpr(eqn) if name in _GROUPS else None
        if inner is not None and eqn.params.get("name") != GATE:
            outs: list[Any] = _inline(inner, operands, steps, calls)
        elif name == "copy" or (
            name == "convert_element_type" and eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype
        ):
            outs = operands  # the same number under another name
        else:
            outs = [_Slot() for _ in eqn.outvars]
            steps.append(_Step(eqn, operands, outs))
            if inner is not None:
                calls[outs[0]] = _Call(operands)
            elif name == "mul":
                _scaled(operands, outs[0], calls)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [known(a) for a in jaxpr.outvars]


def _scaled(operands: Sequence[Any], result: _Slot, calls: dict[_Slot, _Call]) -> None:
    """Note that a call's result times a positive number is that call's still."""
    for one, other in (operands, operands[::-1]):
        if isinstance(one, _Slot) and one in calls and not isinstance(other, _Slot) and other > 0.0:
            calls[result] = _Call(calls[one].operands, calls[one].factor * float(other))


def _leading_to(steps: Sequence[_Step], wanted: Sequence[Any]) -> list[_Step]:
    """The steps, in order, that some of the values wanted depend on."""
    alive = {value for value in wanted if isinstance(value, _Slot)}
    kept = []
    for step in reversed(steps):
        if not alive.isdisjoint(step.results):
            alive.update(operand for operand in step.operands if isinstance(operand, _Slot))
            kept.append(step)
    return kept[::-1]
