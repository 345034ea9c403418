"""A model as the solver sees it: functions of named scalars, and their derivatives in one direction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from vht.errors import ModelError
from vht.model import Organ, events, initial_state, inputs, outputs, parameters, states, with_parameters
from vht.model.body import structure
from vht.model.organ import with_values
from vht.solve.elimination import Elimination
from vht.solve.sparse import jacobian
from vht.solve.switches import breaks, held, switches

Scalar = Float[Array, ""]
Values = tuple[Scalar, ...]
Switches = tuple[Shaped[Array, ""], ...]
Truths = tuple[Bool[Array, ""], ...]
Named = Mapping[str, Scalar]


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """The functions of one model. Two systems are equal if they have the same structure, whatever the parameters.

    Attributes:
        model: gives the structure; its parameters' values are not used.
        parameters: their names.
        states: their names, in the order of every tuple of states.
        inputs: their names, and the value of each where nothing drives it.
        outputs: their names.
        algebraic: by state, whether an equation stands in place of its rate.
        events: name and direction of each event of the state.
    """

    model: Organ
    parameters: tuple[str, ...]
    states: tuple[str, ...]
    inputs: Mapping[str, float]
    outputs: tuple[str, ...]
    algebraic: tuple[bool, ...] = ()
    events: tuple[tuple[str, str], ...] = ()

    @functools.cached_property
    def _key(self) -> Any:
        leaves, structure = jax.tree.flatten(self.model)
        return structure, tuple(leaves), self.parameters, self.states

    def __eq__(self, other: object) -> bool:
        return isinstance(other, System) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def _body(self, p: Named) -> Organ:
        return with_parameters(self.model, dict(p))

    def _arguments(self, x: Values, u: Named) -> tuple[Any, Any]:
        driven = {name: u.get(name, default) for name, default in self.inputs.items()}
        return self.model.State(**dict(zip(self.states, x, strict=True))), self.model.In(**driven)

    @functools.cached_property
    def rates(self) -> Callable[[Scalar, Named, Values, Named], Values]:
        """``(t, parameters, states, inputs) -> rates``; inputs that are left out have their default."""

        @jax.jit
        def rates(t: Scalar, p: Named, x: Values, u: Named) -> Values:
            result = self._body(p).rates(t, *self._arguments(x, u))
            return tuple(_like(getattr(result, name), old) for name, old in zip(self.states, x, strict=True))

        return rates

    @functools.cached_property
    def switches(self) -> Callable[[Scalar, Named, Values, Named], Switches]:
        """``(t, parameters, states, inputs) -> values`` that all stay equal while the rates stay on a smooth piece."""

        @jax.jit
        def found(t: Scalar, p: Named, x: Values, u: Named) -> Switches:
            return switches(lambda fixed, moving: self.rates(moving[0], fixed, *moving[1:]), p, (t, x, u))

        return found

    @functools.cached_property
    def breaks(self) -> Callable[[Scalar, Named, Values, Named], tuple[Switches, Values]]:
        """``(t, parameters, states, inputs) -> `` what decides where the rates can jump, and the values that this hangs on."""

        @jax.jit
        def found(t: Scalar, p: Named, x: Values, u: Named) -> tuple[Switches, Values]:
            return breaks(lambda fixed, moving: self.rates(moving[0], fixed, *moving[1:]), p, (t, x, u))

        return found

    @functools.cached_property
    def held(self) -> Callable[[Scalar, Named, Values, Named, Switches, Truths], tuple[Values, Switches]]:
        """``(t, parameters, states, inputs, outcomes, keep) -> `` rates where some of the decisions `breaks` finds are kept.

        These have the outcomes given, the others follow; with what each would decide of itself.
        """

        @jax.jit
        def found(t: Scalar, p: Named, x: Values, u: Named, was: Switches, keep: Truths) -> tuple[Values, Switches]:
            return held(lambda fixed, moving: self.rates(moving[0], fixed, *moving[1:]), p, (t, x, u), was, keep)

        return found

    def observer(self, names: tuple[str, ...]) -> Callable[[Scalar, Named, Values, Named], Values]:
        """``(t, parameters, states, inputs) -> values`` of the states and outputs named."""

        @jax.jit
        def observe(t: Scalar, p: Named, x: Values, u: Named) -> Values:
            found = dict(zip(self.states, x, strict=True))
            if not set(names) <= set(found):
                result = self._body(p).outputs(t, *self._arguments(x, u))
                found |= {name: _like(getattr(result, name), x[0]) for name in self.outputs}
            return tuple(found[name] for name in names)

        return observe

    @functools.cached_property
    def initial(self) -> Callable[[Named, Named], Values]:
        """``(parameters, given) -> states`` at the start: the model's own, but for those given."""

        @jax.jit
        def initial(p: Named, given: Named) -> Values:
            own = initial_state(self._body(p))
            like = next(iter(p.values())) if p else next(iter(given.values()), jnp.zeros(()))
            return tuple(given[name] if name in given else _like(getattr(own, name), like) for name in self.states)

        return initial

    @functools.cached_property
    def jump(self) -> Callable[[Scalar, Named, Values, Named, Named], Values]:
        """``(t, parameters, states, inputs, amounts) -> states`` after amounts entered through inputs at once."""

        @jax.jit
        def jump(t: Scalar, p: Named, x: Values, u: Named, amounts: Named) -> Values:
            at = {name: u.get(name, jnp.zeros_like(amount)) for name, amount in amounts.items()}
            if any(self.algebraic):
                return self._entered(t, p, x, u, at, amounts)
            _, change = jax.jvp(lambda dosed: self.rates(t, p, x, {**u, **dosed}), (at,), (dict(amounts),))
            return tuple(old + more for old, more in zip(x, change, strict=True))

        return jump

    def _entered(self, t: Scalar, p: Named, x: Values, u: Named, at: Named, amounts: Named) -> Values:
        """States after amounts entered, also by way of the algebraic variables, which follow the inputs."""
        rows = [j for j, algebraic in enumerate(self.algebraic) if algebraic]
        names = list(amounts)

        def rates(*moving: Scalar) -> Values:
            full = list(x)
            for j, value in zip(rows, moving, strict=False):
                full[j] = value
            return self.rates(t, p, tuple(full), {**u, **dict(zip(names, moving[len(rows) :], strict=True))})

        _, slopes = jacobian(rates, [*(x[j] for j in rows), *(at[name] for name in names)])
        change = [jnp.zeros_like(value) for value in x]
        for (i, c), slope in sorted(slopes.items()):
            if c >= len(rows):
                change[i] = change[i] + slope * amounts[names[c - len(rows)]]
        if any(i in rows and c >= len(rows) for i, c in slopes):
            own = {(rows.index(i), c): slope for (i, c), slope in slopes.items() if i in rows and c < len(rows)}
            follow = Elimination(frozenset(own), len(rows)).factor(own).solve([-change[j] for j in rows])
            for (i, c), slope in sorted(slopes.items()):
                if c < len(rows):
                    change[i] = change[i] + slope * follow[c]
        moved = zip(x, change, self.algebraic, strict=True)
        return tuple(old if algebraic else old + more for old, more, algebraic in moved)

    @functools.cached_property
    def crossings(self) -> Callable[[Scalar, Named, Values, Named], Values]:
        """``(t, parameters, states, inputs) -> values`` that cross zero where an event of the state happens."""

        @jax.jit
        def crossings(t: Scalar, p: Named, x: Values, u: Named) -> Values:
            found = self._body(p).crossings(t, *self._arguments(x, u))
            return tuple(_like(getattr(found, name), x[0]) for name, _ in self.events)

        return crossings

    @functools.cached_property
    def after(self) -> tuple[Callable[[Scalar, Named, Values, Named], Values], ...]:
        """By event, ``(t, parameters, states, inputs) -> states`` after it."""

        def of(name: str) -> Callable[[Scalar, Named, Values, Named], Values]:
            @jax.jit
            def after(t: Scalar, p: Named, x: Values, u: Named) -> Values:
                result = self._body(p).after(name, t, *self._arguments(x, u))
                return tuple(_like(getattr(result, state), old) for state, old in zip(self.states, x, strict=True))

            return after

        return tuple(of(name) for name, _ in self.events)


def _like(value: Any, like: Scalar) -> Scalar:
    return jnp.asarray(value, dtype=jnp.result_type(like))


@functools.lru_cache(maxsize=256)
def compares(system: System, port: str) -> bool:
    """Whether the rates compare an input with something, or take its size or its whole part."""
    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    p, u = dict.fromkeys(system.parameters, number), dict.fromkeys(system.inputs, number)
    x = (number,) * len(system.states)

    def found(t: Scalar, p: Named, x: Values, u: Named) -> Switches:
        def rates(fixed: tuple[Scalar, Named, Values, Named], moving: Scalar) -> Values:
            t, p, x, u = fixed
            return system.rates(t, p, x, {**u, port: moving})

        return switches(rates, (t, p, x, {name: value for name, value in u.items() if name != port}), u[port])

    return bool(jax.eval_shape(found, number, p, x, u))


def system_of(model: Organ) -> System:
    """The functions of a model; its parameters' values are forgotten.

    Raises:
        ModelError: it has no states.
    """
    names, known = tuple(parameters(model)), states(model)
    if all(variable.algebraic for variable in known.values()):
        states_ = "only algebraic states" if known else "no states"
        raise ModelError(
            f"`{type(model).__name__}` has {states_}, so there is nothing to solve: join it with other models in a `Body`."
        )
    return System(
        model=with_values(structure(type(model)), dict.fromkeys(names, 0.0)),
        parameters=names,
        states=tuple(known),
        inputs={name: variable.default or 0.0 for name, variable in inputs(model).items()},
        outputs=tuple(outputs(model)),
        algebraic=tuple(variable.algebraic for variable in known.values()),
        events=tuple((name, str(variable.direction)) for name, variable in events(model).items()),
    )
