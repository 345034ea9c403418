"""The equations of a body: those of its organs, each given what the wires bring."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core as jex
from jax.interpreters import partial_eval

from vht.model.organ import Organ, initial_state, variables, with_parameters
from vht.model.variables import Scalar, Variable
from vht.model.wiring import Source, Stage


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a body is made of.

    Attributes:
        organs: by name, with the parameters that are the body's defaults.
        sources: of every wired input, by its name in the body.
        stages: in which order outputs become known.
        cut: wired inputs that are algebraic variables, with the guess of each.
        clocks: by organ, its units of time in one of the body's.
        open_scale: by input of kind "flow" that is given per time, the organ's value for each unit of the body's.
        lag_scale: by parameter that delays doses, the organ's value for each unit of the body's.
        conserved: by quantity, the organs' quantities of which it is the sum.
    """

    organs: Mapping[str, Organ]
    sources: Mapping[str, tuple[Source, ...]]
    stages: tuple[Stage, ...]
    cut: Mapping[str, float]
    clocks: Mapping[str, float]
    open_scale: Mapping[str, float]
    lag_scale: Mapping[str, float]
    conserved: Mapping[str, tuple[tuple[str, str], ...]]


class _Joined(NamedTuple):
    """The organs of one twin's body at one instant."""

    parts: Parts
    organs: dict[str, Organ]
    clock: dict[str, Scalar]
    states: dict[str, Any]
    inputs: dict[str, Any]
    cut: dict[str, Any]


def _organs(body: Any) -> dict[str, Organ]:
    made = body.parts
    found = {}
    for name, organ in made.organs.items():
        keys = {p: f"{name}.{p}" for p in variables(type(organ)).parameters}
        scale = made.lag_scale
        values = {p: getattr(body, k) * scale[k] if k in scale else getattr(body, k) for p, k in keys.items()}
        found[name] = with_parameters(organ, values)
    return found


def _states(made: Parts, x: Any) -> dict[str, Any]:
    return {
        name: organ.State(**{s: getattr(x, f"{name}.{s}") for s in variables(type(organ)).states})
        for name, organ in made.organs.items()
    }


def _join(body: Any, t: Scalar, x: Any, u: Any) -> _Joined:
    """All inputs of all organs: what is scheduled, and what comes by wire."""
    made: Parts = body.parts
    organs, states = _organs(body), _states(made, x)
    clock = {name: t if made.clocks[name] == 1.0 else t * made.clocks[name] for name in organs}
    known: dict[str, Scalar] = {}

    def arriving(sink: str) -> Scalar | None:
        """What wires bring, None while it is not known."""
        if not all(source.name in known for source in made.sources[sink]):
            return None
        terms = [known[s.name] if s.scale == 1.0 else s.scale * known[s.name] for s in made.sources[sink]]
        return functools.reduce(lambda a, b: a + b, terms)

    def given(sink: str, variable: Variable) -> Scalar:
        value = getattr(u, sink, None)
        scheduled = value if value is None or sink not in made.open_scale else made.open_scale[sink] * value
        if sink in made.cut:
            return getattr(x, sink)
        if sink in made.sources:
            wired = arriving(sink)
            if wired is not None:
                return wired if scheduled is None else scheduled + wired
        return (variable.default or 0.0) if scheduled is None else scheduled

    def inputs(organ: str) -> Any:
        model = organs[organ]
        return model.In(**{p: given(f"{organ}.{p}", v) for p, v in variables(type(model)).inputs.items()})

    for stage in made.stages:
        model = organs[stage.organ]
        values = _needed(model, stage.outputs, clock[stage.organ], states[stage.organ], inputs(stage.organ))
        known.update({f"{stage.organ}.{o}": value for o, value in zip(stage.outputs, values, strict=True)})
    cut = {sink: arriving(sink) for sink in made.cut}
    return _Joined(made, organs, clock, states, {name: inputs(name) for name in organs}, cut)


def _needed(organ: Organ, names: Sequence[str], t: Scalar, x: Any, u: Any) -> Sequence[Scalar]:
    """Some outputs, without the equations of others: those may depend on what is not known yet."""

    def found(organ: Organ, t: Scalar, x: Any, u: Any) -> list[Any]:
        results = organ.outputs(t, x, u)
        return [getattr(results, name) for name in names]

    closed = jax.make_jaxpr(found)(organ, t, x, u)
    jaxpr, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(names))
    given = [leaf for leaf, is_used in zip(jax.tree.leaves((organ, t, x, u)), used, strict=True) if is_used]
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, closed.consts))(*given)


def rates(self: Any, t: Scalar, x: Any, u: Any) -> Any:
    joined = _join(self, t, x, u)
    found: dict[str, Scalar] = {}
    for name, organ in joined.organs.items():
        own = variables(type(organ)).states
        if not own:
            continue
        rates = organ.rates(joined.clock[name], joined.states[name], joined.inputs[name])
        clock = joined.parts.clocks[name]
        for state, variable in own.items():
            rate = getattr(rates, state)
            # a gate's rate stays as it is where it can, so that it is known as a gate's
            found[f"{name}.{state}"] = rate if variable.algebraic or clock == 1.0 else clock * rate
    for sink, value in joined.cut.items():
        found[sink] = value - getattr(x, sink)
    return self.State(**found)


def outputs(self: Any, t: Scalar, x: Any, u: Any) -> Any:
    joined = _join(self, t, x, u)
    found: dict[str, Scalar] = {}
    for name, organ in joined.organs.items():
        results = organ.outputs(joined.clock[name], joined.states[name], joined.inputs[name])
        found |= {f"{name}.{o}": getattr(results, o) for o in variables(type(organ)).outputs}
    return self.Out(**found)


def initial(self: Any) -> Any:
    found: dict[str, Scalar] = dict(self.parts.cut)
    for name, organ in _organs(self).items():
        own = initial_state(organ)
        found |= {f"{name}.{s}": getattr(own, s) for s in variables(type(organ)).states}
    return self.State(**found)


def amounts(self: Any, x: Any) -> Any:
    made: Parts = self.parts
    organs, states = _organs(self), _states(made, x)
    amounts = {name: organ.conserved(states[name]) for name, organ in organs.items()}
    sums = {
        name: functools.reduce(lambda a, b: a + b, [getattr(amounts[organ], own) for organ, own in group])
        for name, group in made.conserved.items()
    }
    return self.Conserved(**sums)


def crossings(self: Any, t: Scalar, x: Any, u: Any) -> Any:
    joined = _join(self, t, x, u)
    found: dict[str, Scalar] = {}
    for name, organ in joined.organs.items():
        levels = organ.crossings(joined.clock[name], joined.states[name], joined.inputs[name])
        found |= {f"{name}.{e}": getattr(levels, e) for e in variables(type(organ)).events}
    return self.Events(**found)


def after(self: Any, event: str, t: Scalar, x: Any, u: Any) -> Any:
    joined = _join(self, t, x, u)
    name, own = event.split(".", 1)
    organ = joined.organs[name]
    after = organ.after(own, joined.clock[name], joined.states[name], joined.inputs[name])
    changed = {f"{name}.{s}": getattr(after, s) for s in variables(type(organ)).states}
    return self.State(**{s: changed.get(s, getattr(x, s)) for s in variables(type(self)).states})
