"""A body: organ models joined through their ports. It is itself a model, so all that works with one works with the other."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.core import Tracer

from vht.errors import ModelError
from vht.model import joined
from vht.model.joined import Parts
from vht.model.organ import Organ, Variables, variables, with_values
from vht.model.priors import LogNormal, Normal, Prior, Uniform, recentred
from vht.model.variables import Scalar, Variable, Vars, check_known, declare
from vht.model.wiring import Converted, Source, Sources, converted, join, stages

__all__ = ["Body", "Converted", "Parts", "converted", "parts", "structure"]


def Body(
    organs: Mapping[str, Organ],
    wires: Mapping[str, Sources] | None = None,
    *,
    name: str = "Body",
    meaning: str = "",
    citation: str = "",
    time: str | None = None,
    algebraic: Mapping[str, float] | None = None,
    conserved: Mapping[str, Sequence[str]] | None = None,
    defaults: Mapping[str, float] | None = None,
) -> Organ:
    """Join organ models through their ports: ``Body({"heart": Heart(), "artery": Artery()}, wires={"artery.Q": "heart.Q"})``.

    The result is a model. Its variables are the organs', addressed as ``heart.E_max``; its inputs are those that no wire
    drives, and all of kind "flow" (what is scheduled adds to the wires); its outputs are all outputs. An organ may be a body.

    In a body whose unit of time is not an organ's, the organ's rates are converted. So are the flows into it per its unit of
    time (mg/h, mg/kg/h) and the lags of its doses, which are the body's inputs and parameters: they are in the body's unit of
    time there, and a dose stays in mg. All else keeps its unit: signals per time, and flows per another time than the organ's
    (mL/min into an organ in hours). A dose is always in the flow's unit times the model's unit of time.

    Args:
        organs: by name. Their parameters' values are the body's. Where one is not the organ's own default, its prior moves
            along: by the same factor if it is log-normal, by the same difference if it is normal. Where many bodies differ
            in numbers only, `vht.Twins` or `vht.model.with_parameters` spare a class for each.
        wires: by input, the output that drives it, or several that add up in a port of kind "flow". Units must be equal;
            `converted` joins those that differ. What is wired has no value of its own any more.
        name: of the model, in errors and tables.
        meaning: a line or more; the model's description.
        citation: key of its paper in the references.
        time: unit of time; by default that of the organs, which must be one then.
        algebraic: wired inputs that are solved for, because their outputs depend on them at the same instant, with a guess
            of each; see `vht.model.algebraic`. Solved by `vht.Rodas5P`.
        conserved: by name, organs' conserved quantities (such as ``["heart.blood", "kidney.water"]``) whose sum is conserved.
            A quantity of an organ with no wired flow is conserved in the body as it is.
        defaults: other values for open inputs of kind "signal" where nothing drives them.

    Raises:
        ModelError: unknown ports (suggests the nearest), units that differ, several sources for a signal, an algebraic loop
            (names the outputs on it), organs with different units of time.
    """
    given = {"organs": organs, "wires": wires, "algebraic": algebraic, "conserved": conserved, "defaults": defaults}
    for argument, value in given.items():
        if not isinstance(value, Mapping | None):
            raise ModelError(f"`{argument}` must be a dictionary by name, but got {value!r:.100}.")
    organs = dict(organs)
    _check_organs(organs)
    sources = join(organs, wires or {})
    guesses = _floats("algebraic", algebraic or {})
    for key in guesses:
        check_known("wired input", key, sources, name)
    units = {organ: type(model).time for organ, model in organs.items()}
    if time is None and len(set(units.values())) > 1:
        said = ", ".join(f"{organ}: {unit}" for organ, unit in units.items())
        raise ModelError(f'The organs have different units of time ({said}): say which the body has, as `time="min"`.')
    plan = _Plan(
        name=name,
        meaning=meaning or f"Body of {', '.join(organs)}",
        citation=citation,
        time=next(iter(units.values())) if time is None else time,
        organs=tuple((key, _Structure(type(model), _numbers(model))) for key, model in organs.items()),
        sources=tuple(sources.items()),
        cut=tuple(guesses.items()),
        conserved=tuple(
            (key, (group,) if isinstance(group, str) else tuple(group)) for key, group in (conserved or {}).items()
        ),
        defaults=tuple(_floats("defaults", defaults or {}).items()),
    )
    cls = _class(plan)
    # numbers of a transformation are not part of the class: they enter here
    made = parts(cls)
    values = {
        f"{key}.{p}": getattr(model, p) for key, model in organs.items() for p in variables(type(model)).parameters
    }
    scale = made.lag_scale
    return cls(**{key: value * (1.0 / scale[key]) if key in scale else value for key, value in values.items()})


def parts(model: Organ | type[Organ]) -> Parts:
    """What a body is made of.

    Raises:
        ModelError: it is no body.
    """
    found = getattr(model, "parts", None)
    if not isinstance(found, Parts):
        raise ModelError(f"`{getattr(model, '__name__', type(model).__name__)}` is one organ, not a body.")
    return found


def check_open(model: Organ | type[Organ], name: str) -> None:
    """Refuse the name of an input that a wire drives, which is nobody else's to give.

    Raises:
        ModelError: it is one; says what drives it.
    """
    cls = model if isinstance(model, type) else type(model)
    if name in variables(cls).inputs:
        return
    body, inner = getattr(cls, "parts", None), name
    while isinstance(body, Parts):
        if inner in body.sources:
            said = ", ".join(f"`{name.removesuffix(inner)}{source.name}`" for source in body.sources[inner])
            raise ModelError(
                f"Input `{name}` of `{cls.__name__}` is driven by a wire from {said}: it takes nothing else."
            )
        organ, _, inner = inner.partition(".")
        body = getattr(body.organs.get(organ), "parts", None)


def structure(model: type[Organ]) -> type[Organ]:
    """The one class of all bodies that differ from a body in numbers only; that of an organ is its own.

    Its equations are theirs, so what is compiled for it serves all of them. Defaults and priors are the organs' own.
    """
    plan = vars(model).get("_plan")
    if plan is None:
        return model
    organs = tuple((name, _Structure(structure(organ.model), ())) for name, organ in plan.organs)
    return _class(plan._replace(organs=organs))


class _Structure(NamedTuple):
    """An organ's class and its parameters, as far as they are plain numbers."""

    model: type[Organ]
    numbers: tuple[tuple[str, float], ...]

    def organ(self) -> Organ:
        defaults = {name: v.default or 0.0 for name, v in variables(self.model).parameters.items()}
        return with_values(self.model, defaults | dict(self.numbers))


class _Plan(NamedTuple):
    """All that a body's class depends on; equal plans share one, and so what was compiled for it."""

    name: str
    meaning: str
    citation: str
    time: str
    organs: tuple[tuple[str, _Structure], ...]
    sources: tuple[tuple[str, tuple[Source, ...]], ...]
    cut: tuple[tuple[str, float], ...]
    conserved: tuple[tuple[str, tuple[str, ...]], ...]
    defaults: tuple[tuple[str, float], ...]


def _check_organs(organs: Mapping[Any, Any]) -> None:
    if not organs:
        raise ModelError('A body has at least one organ: `Body({"heart": Heart()})`.')
    for name, model in organs.items():
        if not (isinstance(name, str) and name.isidentifier()):
            raise ModelError(f"An organ's name is a word such as `heart`, but got {name!r}.")
        if isinstance(model, type) and issubclass(model, Organ):
            raise ModelError(f"`{name}` must be a model, but got its class: write `{model.__name__}()`.")
        if not isinstance(model, Organ):
            raise ModelError(f"`{name}` must be a model (an instance of an `Organ`), but got {model!r:.100}.")
        variables(type(model))


def _floats(argument: str, given: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in given.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            raise ModelError(f"`{argument}` holds numbers, but got {value!r:.100} for `{name}`.") from None
    return found


def _numbers(model: Organ) -> tuple[tuple[str, float], ...]:
    known = variables(type(model)).parameters
    plain = {name: getattr(model, name) for name in known}
    values = _floats(type(model).__name__, {name: v for name, v in plain.items() if not isinstance(v, Tracer)})
    # what lies outside its bounds or is no number is one twin's, and no default
    return tuple((name, v) for name, v in values.items() if math.isfinite(v) and _within(v, known[name].bounds))


def _within(value: float, bounds: tuple[float, float] | None) -> bool:
    return bounds is None or bounds[0] <= value <= bounds[1]


# ------------------------------------------------------------------------------------------------------- its class


class _BodyType(type(Organ)):
    """Classes of bodies: made when needed, so that one is pickled as what it is made from."""


def _pickled(cls: Any) -> Any:
    plan = vars(cls).get("_plan")
    return cls.__qualname__ if plan is None else (_class, (plan,))


copyreg.pickle(_BodyType, _pickled)


@functools.lru_cache(maxsize=256)
def _class(plan: _Plan) -> type[Organ]:
    organs = {name: structure.organ() for name, structure in plan.organs}
    sources, cut = dict(plan.sources), dict(plan.cut)
    known = {name: variables(type(organ)) for name, organ in organs.items()}
    clocks = {name: _scale(plan.time, type(organ).time) for name, organ in organs.items()}

    open_scale, ports = {}, {}
    for name, input_ in _prefixed(known, "inputs"):
        organ, wired = name.split(".")[0], name in sources
        if wired and input_.port != "flow":
            continue
        unit = own = input_.unit
        if input_.port == "flow":
            unit = _per_time(own, type(organs[organ]).time, plan.time)
        if unit != own:
            open_scale[name] = _scale(unit, own)
        lag = None if input_.lag is None else f"{organ}.{input_.lag}"
        ports[name] = dataclasses.replace(input_, name=name, unit=unit, lag=lag)
    for name, default in plan.defaults:
        check_known("open input", name, {key: p for key, p in ports.items() if p.port == "signal"}, plan.name)
        ports[name] = dataclasses.replace(ports[name], default=default)
    lag_scale = {
        p.lag: clocks[name.split(".")[0]] for name, p in ports.items() if p.lag and clocks[name.split(".")[0]] != 1.0
    }

    fields = {}
    for name, variable in _prefixed(known, "parameters"):
        organ, own = name.split(".", 1)
        value = float(getattr(organs[organ], own))
        prior, before = variable.prior, variable.default
        if prior is not None and before is not None:
            prior = recentred(prior, before, value)
        variable = dataclasses.replace(variable, default=value, prior=prior)
        fields[name] = _rescaled(variable, 1.0 / lag_scale[name], plan.time) if name in lag_scale else variable
    states = dict(_prefixed(known, "states"))
    for sink, guess in cut.items():
        organ, port = sink.split(".", 1)
        unit = known[organ].inputs[port].unit
        if port in known[organ].outputs:
            raise ModelError(
                f"`{sink}` cannot be solved for, since it is an output's name too: take another input on the loop."
            )
        ports.pop(sink, None)
        states[sink] = Variable(sink, "state", unit, f"{sink}, solved for", guess, algebraic=True)
    quantities, sums = _conserved(plan, known, sources)

    made = Parts(
        organs=organs,
        sources=sources,
        stages=stages(organs, sources, cut),
        cut=cut,
        clocks=clocks,
        open_scale=open_scale,
        lag_scale=lag_scale,
        conserved=sums,
    )
    namespace: dict[str, Any] = {
        "__doc__": plan.meaning,
        "time": plan.time,
        "citation": plan.citation,
        "parts": made,
        "_plan": plan,
        "State": _group(f"{plan.name}.State", states),
        "In": _group(f"{plan.name}.In", ports),
        "Out": _group(f"{plan.name}.Out", dict(_prefixed(known, "outputs"))),
        "Conserved": _group(f"{plan.name}.Conserved", quantities),
        "Events": _group(f"{plan.name}.Events", dict(_prefixed(known, "events"))),
        "rates": joined.rates,
        "outputs": joined.outputs,
        "initial": joined.initial,
        "conserved": joined.amounts,
        "after": joined.after,
        "__repr__": _repr,
    }
    if any(of.events for of in known.values()):
        namespace["crossings"] = joined.crossings
    return _group(plan.name, fields, Organ, namespace)


def _prefixed(known: Mapping[str, Variables], kind: str) -> Iterable[tuple[str, Variable]]:
    for organ, of in known.items():
        for name, variable in getattr(of, kind).items():
            yield f"{organ}.{name}", dataclasses.replace(variable, name=f"{organ}.{name}")


def _group(name: str, known: Mapping[str, Variable], base: type = Vars, more: Mapping[str, Any] | None = None) -> Any:
    """A class whose fields are the variables; their names have dots, so it takes them by keyword."""

    def __init__(self: Any, **values: Any) -> None:
        for key in values:
            check_known("variable", key, known, name)
        for key, variable in known.items():
            if key not in values and variable.default is None:
                raise TypeError(f"{name} needs a value for `{key}`.")
            setattr(self, key, values.get(key, variable.default))

    namespace = {
        "__module__": __name__,
        "__qualname__": name,
        "__annotations__": dict.fromkeys(known, Scalar),
        "__init__": __init__,
        **{key: declare(variable) for key, variable in known.items()},
        **(more or {}),
    }
    kind: Any = _BodyType if base is Organ else type(base)
    return kind(name.split(".")[-1], (base,), namespace)


def _scale(found: str, wanted: str) -> float:
    if found == wanted:
        return 1.0
    # units need pint, which takes a third of a second to load
    from vht.model.units import conversion

    return conversion(found, wanted)[0]


@functools.cache
def _per_time(unit: str, own: str, wanted: str) -> str:
    """A flow's unit in a body with another unit of time: mg/h becomes mg/min, so that a dose stays in mg."""
    if own == wanted:
        return unit
    if unit.endswith(f"/{own}"):
        return f"{unit.removesuffix(f'/{own}')}/{wanted}"
    from pint.util import to_units_container

    from vht.model.units import parse

    # however the time is written, and wherever it stands: mg*h^-1, mg/hour/kg
    clock = parse(own)
    powers = to_units_container(parse(unit))
    if [powers.get(name, 0) for name in to_units_container(clock)] != [-1]:
        return unit
    return f"{parse(unit) * clock / parse(wanted)}"


def _rescaled(variable: Variable, scale: float, unit: str) -> Variable:
    bounds = None if variable.bounds is None else (variable.bounds[0] * scale, variable.bounds[1] * scale)
    default = None if variable.default is None else variable.default * scale
    prior = _scaled_prior(variable.prior, scale)
    return dataclasses.replace(variable, unit=unit, default=default, bounds=bounds, prior=prior)


def _scaled_prior(prior: Prior | None, scale: float) -> Prior | None:
    match prior:
        case Normal():
            return Normal(prior.mean * scale, prior.sd * scale)
        case LogNormal():
            return LogNormal(prior.median * scale, prior.sd)
        case Uniform():
            return Uniform(prior.lower * scale, prior.upper * scale)
    return None


def _conserved(
    plan: _Plan, known: Mapping[str, Variables], sources: Mapping[str, Any]
) -> tuple[dict[str, Variable], dict[str, tuple[tuple[str, str], ...]]]:
    every = dict(_prefixed(known, "conserved"))
    flows = {name.split(".")[0] for name, v in _prefixed(known, "inputs") if v.port == "flow" and name in sources}
    quantities = {name: v for name, v in every.items() if name.split(".")[0] not in flows}
    sums: dict[str, Any] = {name: (tuple(name.split(".", 1)),) for name in quantities}
    for name, group in plan.conserved:
        for each in group:
            check_known("conserved quantity", each, every, plan.name)
        if not group or len({every[each].unit for each in group}) > 1:
            said = ", ".join(f"`{each}` in {every[each].unit}" for each in group) or "none"
            raise ModelError(f"`{name}` is a sum of conserved quantities in one unit, but got {said}.")
        if all(each.split(".", 1)[0] not in flows for each in group):
            said = ", ".join(f"`{each}`" for each in group)
            raise ModelError(
                f"Nothing flows between the organs of {said}: each is conserved already, so leave `{name}` out."
            )
        meaning = f"sum of {', '.join(group)}"
        quantities[name] = Variable(name, "conserved quantity", every[group[0]].unit, meaning)
        sums[name] = tuple(tuple(each.split(".", 1)) for each in group)
    return quantities, sums


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{n}: {type(o).__name__}' for n, o in self.parts.organs.items())})"
