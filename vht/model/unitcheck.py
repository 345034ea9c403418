"""Units of a model's equations: its jaxprs walked with units in place of numbers, once per class.

A literal has no unit; zero and the infinities fit any. So a constant that hides a unit shows up as a mismatch, and becomes
a parameter. Sums, comparisons and choices want equal units, not only equal dimensions: mL/s and mL/min do not add.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex
from vht_kernels.errors import source_line
from vht_kernels.uniform import inner_jaxprs, nested_jaxpr, scan_counts

from vht.errors import ModelError, UnitError
from vht.model.body import Parts
from vht.model.constant import unit_of_constant
from vht.model.gating import GATE
from vht.model.organ import Organ, initial_state, tracing, variables, with_values
from vht.model.units import parse, registry, same, say
from vht.model.variables import Variable, left_out

if TYPE_CHECKING:
    import pint


class _Any:
    """The unit of 0 and of infinity: whatever is wanted."""

    def __repr__(self) -> str:
        return "any unit"


ANY = _Any()
_HERE = pathlib.Path(__file__).parent


class _Mismatch(Exception):
    """Units that do not fit, and the source line, filled in from the outermost call if the operation itself has none."""

    def __init__(self, what: str, eqn: Any) -> None:
        super().__init__(what)
        self.place = source_line(eqn, _HERE)

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.place or 'source unknown'})"


def check_units(model: Organ | type[Organ]) -> None:
    """Check that a model's equations are consistent in their units.

    Args:
        model: or its class; every class is checked once.

    Raises:
        UnitError: names the method, the operation, both units and the source line; or the state or output whose equation
            yields another unit than declared; or an unknown unit.
        ModelError: if the class is not well formed; a rate, or a state after an event, is left out or is no single number;
            or a method asks for values that are not known when it is compiled, as `if` does.
    """
    cls = model if isinstance(model, type) else type(model)
    problem = _problem(cls)
    if problem is not None:
        raise UnitError(problem)


@functools.cache
def _problem(cls: type[Organ]) -> str | None:
    try:
        _check(cls)
    except UnitError as error:
        return str(error)
    return None


def _check(cls: type[Organ]) -> None:
    known = variables(cls)
    made = getattr(cls, "parts", None)
    if isinstance(made, Parts):
        # wires were checked when they were made
        for organ in made.organs.values():
            check_units(organ)
        return
    units: dict[str, dict[str, Any]] = {}
    for kind in ("parameters", "states", "inputs", "outputs", "conserved", "events"):
        group = getattr(known, kind)
        units[kind] = {name: _declared(cls, v.name, v.unit) for name, v in group.items()}
    time = _declared(cls, "time", cls.time)
    for v in known.inputs.values():
        if v.lag is not None and not same(units["parameters"][v.lag], time):
            raise UnitError(
                f"{cls.__name__}: `{v.lag}` delays `{v.name}`, so its unit must be that of time, {time}, "
                f"but is {units['parameters'][v.lag]}."
            )
    number = jax.ShapeDtypeStruct((), jnp.result_type(float))

    def like(group: Mapping[str, Any]) -> dict[str, Any]:
        return dict.fromkeys(group, number)

    def body(p: Mapping[str, Any]) -> Organ:
        return with_values(cls, p)

    def rates(t: Any, p: Any, x: Any, u: Any) -> dict[str, Any]:
        return _results(cls, "rates", body(p).rates(t, cls.State(**x), cls.In(**u)), known.states)

    def outputs(t: Any, p: Any, x: Any, u: Any) -> dict[str, Any]:
        return _results(cls, "outputs", body(p).outputs(t, cls.State(**x), cls.In(**u)), known.outputs)

    def initial(p: Any) -> dict[str, Any]:
        return _results(cls, "initial", initial_state(body(p)), known.states)

    def conserved(p: Any, x: Any) -> dict[str, Any]:
        return _results(cls, "conserved", body(p).conserved(cls.State(**x)), known.conserved)

    def crossings(t: Any, p: Any, x: Any, u: Any) -> dict[str, Any]:
        return _results(cls, "crossings", body(p).crossings(t, cls.State(**x), cls.In(**u)), known.events)

    def after(event: str) -> Callable[..., dict[str, Any]]:
        def after(t: Any, p: Any, x: Any, u: Any) -> dict[str, Any]:
            return _results(cls, "after", body(p).after(event, t, cls.State(**x), cls.In(**u)), known.states)

        return after

    given = (time, units["parameters"], units["states"], units["inputs"])
    shapes = (number, like(known.parameters), like(known.states), like(known.inputs))
    # in place of an algebraic variable's rate stands an equation, whose unit is its own affair
    per_time = {name: unit / time for name, unit in units["states"].items() if not known.states[name].algebraic}
    if known.states:
        _method(cls, "rates", rates, shapes, given, per_time, "rate of state")
    if known.outputs:
        _method(cls, "outputs", outputs, shapes, given, units["outputs"], "output")
    if known.conserved:
        _method(cls, "conserved", conserved, shapes[1:3], given[1:3], units["conserved"], "conserved quantity")
    if known.events:
        _method(cls, "crossings", crossings, shapes, given, units["events"], "event")
    for name in known.events:
        _method(cls, f"after {name}", after(name), shapes, given, units["states"], "state after the event")
    if hasattr(cls, "initial"):
        _method(cls, "initial", initial, shapes[1:2], given[1:2], units["states"], "initial value of state")


def _declared(cls: type[Organ], name: str, unit: str) -> pint.Unit:
    try:
        return parse(unit)
    except UnitError as error:
        raise UnitError(f"{cls.__name__}, `{name}`: {error}") from None


def _results(cls: type[Organ], method: str, found: Any, wanted: Mapping[str, Variable]) -> dict[str, Any]:
    missing = [name for name in wanted if not hasattr(found, name)]
    if missing:
        expected = {"outputs": "Out", "conserved": "Conserved", "crossings": "Events"}.get(method, "State")
        raise UnitError(f"{cls.__name__}.{method} must return a `{expected}`, but got {type(found).__name__}.")
    if method in ("rates", "after"):
        _check_complete(cls, method, left_out(found), wanted)
    values = {name: jnp.asarray(getattr(found, name)) for name in wanted}
    for name, value in values.items():
        if value.shape != ():
            raise ModelError(
                f"`{method}` of `{cls.__name__}` gives an array of shape {value.shape} for `{name}`, which must be one number."
            )
    return values


def _check_complete(cls: type[Organ], method: str, missing: frozenset[str], states: Mapping[str, Variable]) -> None:
    """Refuse what is left out: its default is an initial value, neither a rate nor what the state was before an event."""
    for name in (name for name in states if name in missing):
        if method == "after":
            what, write = "value", f"`{name}=x.{name}` if it stays, or the number itself if it is reset"
        elif states[name].algebraic:
            what, write = "equation", f"`{name}=g`, where `0 = g` determines it"
        else:
            what, write = "rate", f"`{name}=0.0` if it does not change"
        raise ModelError(f"`{method}` of `{cls.__name__}` gives no {what} of `{name}`: write {write}.")


def _method(
    cls: type[Organ],
    method: str,
    function: Callable[..., dict[str, Any]],
    shapes: Sequence[Any],
    given: Sequence[Any],
    wanted: Mapping[str, pint.Unit],
    what: str,
) -> None:
    with tracing(cls, method):
        closed, out = jax.make_jaxpr(function, return_shape=True)(*shapes)
    inputs = jax.tree.leaves(tuple(given))
    try:
        results = _walk(closed, inputs)
    except _Mismatch as error:
        raise UnitError(f"{cls.__name__}.{method}: {error}") from None
    # jax sorts dictionary keys; `out` has the same order as the flat results
    for name, unit in zip(jax.tree.leaves({k: k for k in out}), results, strict=True):
        if unit is not ANY and name in wanted and not same(unit, wanted[name]):
            raise UnitError(
                f"{cls.__name__}.{method}: the {what} `{name}` must be in {say(wanted[name])}, but is in {say(unit)}."
            )


# -------------------------------------------------------------------------------------------------------- the walk


def _walk(closed: jex.ClosedJaxpr, inputs: Sequence[Any]) -> list[Any]:
    none = registry().Unit("dimensionless")

    def unit_of_number(value: Any) -> Any:
        return ANY if _fits_all(value) else none

    jaxpr = closed.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, map(unit_of_number, closed.consts), strict=True))
    env.update(zip(jaxpr.invars, inputs, strict=True))

    def unit_of(atom: Any) -> Any:
        return unit_of_number(atom.val) if isinstance(atom, jex.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        outs = _equation(eqn, [unit_of(a) for a in eqn.invars])
        env.update(zip(eqn.outvars, outs, strict=True))
    return [unit_of(a) for a in jaxpr.outvars]


def _fits_all(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind in "fiu" and bool(np.all((array == 0) | np.isinf(array.astype(float))))


def _equation(eqn: Any, units: list[Any]) -> list[Any]:
    name = eqn.primitive.name
    none = registry().Unit("dimensionless")
    if name in _KEEP:
        return units[: len(eqn.outvars)]
    if name in _ALIKE:
        return [_alike(eqn, units)]
    if name in _COMPARE:
        _alike(eqn, units)
        return [none]
    if name in _NUMBERS:
        for unit in units:
            if unit is not ANY and not same(unit, none):
                raise _Mismatch(f"`{name}` of {unit}, which must be a pure number", eqn)
        return [none] * len(eqn.outvars)
    match name:
        case "mul":
            return [ANY if ANY in units else units[0] * units[1]]
        case "div":
            over = none if units[1] is ANY else units[1]
            return [ANY if units[0] is ANY else units[0] / over]
        case "square":
            return [_power(units[0], 2)]
        case "polynomial":
            return [_polynomial(eqn, units)]
        case "integer_pow":
            return [_power(units[0], eqn.params["y"])]
        case "sqrt" | "rsqrt" | "cbrt":
            return [_power(units[0], {"sqrt": 0.5, "rsqrt": -0.5, "cbrt": 1 / 3}[name])]
        case "pow":
            return [_pow(eqn, units)]
        case "select_n":
            return [_alike(eqn, units[1:])]
        case "clamp":
            return [_alike(eqn, units)]
        case "atan2":
            _alike(eqn, units)
            return [none]
        case "sign" | "is_finite" | "population_count" | "clz":
            return [none]
        case "cond":
            branches = [_walk(b, units[1:]) for b in eqn.params["branches"]]
            return [_alike(eqn, list(outs)) for outs in zip(*branches, strict=True)]
        case "while":
            p = eqn.params
            asked, held = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
            carry, _ = _turns(eqn, p["body_jaxpr"], units[asked:held], units[held:])
            _walk(p["cond_jaxpr"], [*units[:asked], *carry])
            return carry
        case "scan":
            constants, carried = scan_counts(eqn)
            cut = constants + carried
            carry, stacked = _turns(eqn, eqn.params["jaxpr"], units[:constants], units[constants:cut], units[cut:])
            return [*carry, *stacked]
    call = eqn.params.get("name", "") if name in ("jit", "pjit") else ""
    if call == GATE:
        return [_gate(eqn, units)]
    unit_of_call = unit_of_constant(call)
    if unit_of_call is not None:
        try:
            return [parse(unit_of_call)]
        except UnitError as error:
            raise _Mismatch(f"`constant`: {error}", eqn) from None
    inner = nested_jaxpr(eqn)
    if inner is not None:
        try:
            return _walk(inner, units)
        except _Mismatch as error:
            error.place = error.place or source_line(eqn, _HERE)
            raise
    if not _pure(units):
        raise _Mismatch(
            f"`{name}` has no rule for units: divide what goes in by a `constant` of its unit, and multiply what comes out",
            eqn,
        )
    for part in inner_jaxprs(eqn):
        _check_pure(eqn, part)
    return [none] * len(eqn.outvars)


def _pure(units: Sequence[Any]) -> bool:
    none = registry().Unit("dimensionless")
    return all(unit is ANY or same(unit, none) for unit in units)


def _check_pure(eqn: Any, part: jex.Jaxpr) -> None:
    """A function that an equation without a rule calls, as `custom_linear_solve` does, makes pure numbers of pure numbers.

    A `constant` inside of it may have a unit, which then nothing that goes in tells.
    """
    none = registry().Unit("dimensionless")
    try:
        results = _walk(jex.ClosedJaxpr(part, [1.0] * len(part.constvars)), [none] * len(part.invars))
    except _Mismatch as error:
        error.place = error.place or source_line(eqn, _HERE)
        raise
    for unit in results:
        if not _pure([unit]):
            raise _Mismatch(
                f"`{eqn.primitive.name}` of a function whose result is in {say(unit)}, not a pure number", eqn
            )


def _gate(eqn: Any, units: list[Any]) -> Any:
    x, steady, tau = units
    if x is not ANY and steady is not ANY and not same(x, steady):
        raise _Mismatch(f"`gate` of a state in {say(x)} and a steady state in {say(steady)}, which must be equal", eqn)
    if tau is ANY or tau.dimensionality != parse("s").dimensionality:
        raise _Mismatch(f"`gate` with a time constant in {tau if tau is ANY else say(tau)}, which must be a time", eqn)
    unit = steady if x is ANY else x
    return ANY if unit is ANY else unit / tau


def _turns(
    eqn: Any, body: jex.ClosedJaxpr, held: list[Any], start: list[Any], entries: Sequence[Any] = ()
) -> tuple[list[Any], list[Any]]:
    """The units of what a loop carries, and of what its turns leave behind: `entries` of a scan and its stacked results."""
    carry = start
    while True:
        outs = _walk(body, [*held, *carry, *entries])
        before, after, left = carry, outs[: len(carry)], outs[len(carry) :]
        carry = [_alike(eqn, [a, b]) for a, b in zip(before, after, strict=True)]
        # what starts as 0 gets its unit in a turn, from another carry perhaps that got its own in the turn before; then
        # units stay, and so do those of what is left behind
        if all((a is ANY) == (b is ANY) for a, b in zip(before, carry, strict=True)):
            return carry, left


def _alike(eqn: Any, units: list[Any]) -> Any:
    known = [unit for unit in units if unit is not ANY]
    for unit in known[1:]:
        if not same(known[0], unit):
            raise _Mismatch(f"`{eqn.primitive.name}` of {say(known[0])} and {say(unit)}", eqn)
    return known[0] if known else ANY


def _polynomial(eqn: Any, units: list[Any]) -> Any:
    x, *coefficients = units
    constant, *others = coefficients
    return _alike(eqn, [constant, *(ANY if ANY in (c, x) else c * x**k for k, c in enumerate(others, 1))])


def _power(unit: Any, exponent: float) -> Any:
    return ANY if unit is ANY else unit**exponent


def _pow(eqn: Any, units: list[Any]) -> Any:
    none = registry().Unit("dimensionless")
    base, exponent = units
    if exponent is not ANY and not same(exponent, none):
        raise _Mismatch(f"`pow` with an exponent in {exponent}, which must be a pure number", eqn)
    if base is ANY or same(base, none):
        return base
    if isinstance(eqn.invars[1], jex.Literal):
        return base ** float(eqn.invars[1].val)
    raise _Mismatch(f"`pow` of {base} with an exponent that is not a number in the source", eqn)


_KEEP = frozenset(
    (
        *("neg", "abs", "floor", "ceil", "round", "copy", "copy_p", "convert_element_type", "stop_gradient", "real"),
        *("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "reduce_precision", "device_put", "nextafter"),
        "optimization_barrier",
    )
)
_ALIKE = frozenset(("add", "sub", "max", "min", "rem", "add_any"))
_COMPARE = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
_NUMBERS = frozenset(
    (
        *(
            "exp",
            "exp2",
            "expm1",
            "log",
            "log1p",
            "log2",
            "logistic",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
        ),
        *(
            "one_minus_square",
            "tanh",
            "asinh",
            "acosh",
            "atanh",
            "erf",
            "erfc",
            "erf_inv",
            "lgamma",
            "digamma",
            "and",
            "or",
            "not",
            "xor",
        ),
        *("shift_left", "shift_right_logical", "shift_right_arithmetic"),
    )
)
