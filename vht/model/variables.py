"""How a model's variables are declared: parameters, states and ports, each with its unit and its meaning."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
from jaxtyping import Array, Float

from vht.errors import ModelError, nearest
from vht.model.priors import Prior, overlap

# A number of one twin. It is a float when written down and an array without axes inside a solve.
Scalar = Float[Array, ""] | float

Kind = Literal["parameter", "state", "input", "output", "conserved quantity", "event"]
Role = Literal["param", "state", "port", "quantity", "event"]
PortKind = Literal["signal", "flow"]
Direction = Literal["both", "rising", "falling"]

_KEY = "vht"
# by kind, the function that declares it and how it is called
_ROLES: Mapping[Kind, tuple[Role, str]] = {
    "parameter": ("param", "param(default, unit, meaning)"),
    "state": ("state", "state(default, unit, meaning)"),
    "input": ("port", "port(unit, meaning)"),
    "output": ("port", "port(unit, meaning)"),
    "conserved quantity": ("quantity", "quantity(unit, meaning)"),
    "event": ("event", "event(unit, meaning)"),
}


@dataclasses.dataclass(frozen=True)
class Variable:
    """What a model says of one of its variables.

    Attributes:
        name: as written in the model.
        kind: parameter, state, input, output, conserved quantity or event.
        unit: as written in the model.
        meaning: in one line.
        default: of a parameter or state; of an input, its value where nothing drives it; None if there is none.
        bounds: plausible range of a parameter, or None.
        prior: distribution of a parameter over a population, or None.
        source: key of its source in `organs/references.bib`, or a sentence that says where the number comes from.
        port: "flow" if several sources add up in it, else "signal"; None if it is no port.
        lag: parameter that delays what is scheduled into an input, or None.
        algebraic: a state that is determined by an equation without its rate.
        direction: of an event, which crossings of zero count.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    default: float | None = None
    bounds: tuple[float, float] | None = None
    prior: Prior | None = None
    source: str | None = None
    port: PortKind | None = None
    lag: str | None = None
    algebraic: bool = False
    direction: Direction | None = None


@dataclasses.dataclass(frozen=True)
class _Declaration:
    role: Role
    unit: str
    meaning: str
    default: float | None = None
    bounds: tuple[float, float] | None = None
    prior: Prior | None = None
    source: str | None = None
    port: PortKind | None = None
    lag: str | None = None
    algebraic: bool = False
    direction: Direction | None = None


def param(
    default: float,
    unit: str,
    meaning: str,
    *,
    bounds: tuple[float, float] | None = None,
    prior: Prior | None = None,
    source: str | None = None,
) -> Any:
    """Declare a parameter: ``R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance")``.

    Args:
        default: its value where nothing else is said, in `unit`.
        unit: such as "mmHg*s/mL"; "1" if it has none.
        meaning: in one line.
        bounds: plausible range, in `unit`.
        prior: distribution over a population, in `unit`.
        source: key of its source in the references, or a sentence that says where the number comes from.
    """
    return _field(_Declaration("param", unit, meaning, default, bounds, prior, source), default)


def state(default: float, unit: str, meaning: str) -> Any:
    """Declare a state, in a model's class `State`: ``Pc: Scalar = state(80.0, "mmHg", "pressure")``.

    Args:
        default: its initial value where nothing else is said.
        unit: such as "mmHg"; "1" if it has none.
        meaning: in one line.
    """
    return _field(_Declaration("state", unit, meaning, default), _alone(default))


def algebraic(guess: float, unit: str, meaning: str) -> Any:
    """Declare an algebraic variable, in a model's class `State`: ``P: Scalar = algebraic(80.0, "mmHg", "pressure")``.

    It has no rate of its own. In its place `rates` returns the left side of an equation ``0 = g(t, x, u)``, in any unit. The
    equations must determine the algebraic variables once states and inputs are known (index 1). Solved by `vht.Rodas5P`.

    Args:
        guess: where the search for its first value begins.
        unit: such as "mmHg"; "1" if it has none.
        meaning: in one line.
    """
    return _field(_Declaration("state", unit, meaning, guess, algebraic=True), _alone(guess))


def event(unit: str, meaning: str, *, direction: Direction = "both") -> Any:
    """Declare an event of the state, in a model's class `Events`: ``low: Scalar = event("mg/dL", "glucose is low")``.

    It happens where the value that `crossings` gives for it passes through zero: smoothly, or by a jump (a dose, a step of an
    input, another event's reset; not its own). A value that begins at zero passes it when it leaves it; one that a reset leaves
    at rest at zero has passed it already, and goes on the same way without another event (a ball that does not bounce falls on:
    hold it by its rates). Events at one time happen in the order in which they are declared. The rates must have values a
    little beyond the event too.

    Args:
        unit: of that value; "1" if it has none.
        meaning: in one line.
        direction: which crossings count: "rising", "falling" or "both".
    """
    return _field(_Declaration("event", unit, meaning, direction=direction), dataclasses.MISSING)


def port(
    unit: str, meaning: str, *, kind: PortKind = "signal", lag: str | None = None, default: float | None = None
) -> Any:
    """Declare an input or output, in a model's class `In` or `Out`: ``Q: Scalar = port("mL/s", "inflow")``.

    Args:
        unit: such as "mL/s"; "1" if it has none.
        meaning: in one line.
        kind: "flow" if several sources may add up in it.
        lag: name of the parameter by which doses into this input arrive later.
        default: of an input of kind "signal", its value where nothing drives it: no wire, no schedule. Without one it must be
            driven.
    """
    return _field(_Declaration("port", unit, meaning, default, port=kind, lag=lag), dataclasses.MISSING)


def quantity(unit: str, meaning: str) -> Any:
    """Declare a conserved quantity, in a model's class `Conserved`: ``blood: Scalar = quantity("mL", "volume of blood")``.

    Args:
        unit: such as "mL"; "1" if it has none.
        meaning: in one line.
    """
    return _field(_Declaration("quantity", unit, meaning), dataclasses.MISSING)


def declare(variable: Variable) -> Any:
    """Declare a variable like another, in whatever class."""
    role = _ROLES[variable.kind][0]
    shared = {f.name: getattr(variable, f.name) for f in dataclasses.fields(_Declaration) if f.name != "role"}
    return _field(_Declaration(role, **shared), dataclasses.MISSING if variable.default is None else variable.default)


def _field(declaration: _Declaration, default: Any) -> Any:
    return eqx.field(default=default, metadata={_KEY: declaration})


def _alone(default: Any) -> Any:
    """The same number as an object of its own, so that a value left out is not taken for an equal one that is given."""
    return default * 1.0 if _is_number(default) else default


class Vars(eqx.Module):
    """A group of named scalars: the states, inputs, outputs, conserved quantities or events of a model."""


def left_out(found: Any) -> frozenset[str]:
    """The states that a `State` was not given when it was made, so that they have their defaults."""
    fields = dataclasses.fields(found) if dataclasses.is_dataclass(found) else ()
    return frozenset(field.name for field in fields if getattr(found, field.name) is field.default)


def declared(group: type, kind: Kind, owner: str) -> Mapping[str, Variable]:
    """The variables a class declares, in order.

    Args:
        group: an organ model (its parameters) or one of its `Vars`.
        kind: what they are.
        owner: how to name the class in errors.

    Raises:
        ModelError: a field without `param`, `state`, `port` or `quantity`, one whose numbers make no sense, or one that a
            class below overrides with something else.
    """
    role, function = _ROLES[kind]
    found: dict[str, Variable] = {}
    for field in dataclasses.fields(group):
        declaration = field.metadata.get(_KEY)
        where = f"`{field.name}` of {owner}"
        if not isinstance(declaration, _Declaration):
            raise ModelError(f"A {kind} is declared with `{function}`, but {where} is not.")
        if declaration.role != role:
            raise ModelError(f"A {kind} is declared with `{function}`, but {where} uses `{declaration.role}`.")
        # the class that declares a field holds its default under its name
        missing = dataclasses.MISSING
        held = next((vars(c)[field.name] for c in group.__mro__ if field.name in vars(c)), missing)
        if held is not field.default:
            other = ", or give the value by `with_parameters`" if role == "param" else ""
            raise ModelError(
                f"{where} is overridden by {held!r:.100}, which changes no twin: declare it anew, "
                f"`{field.name}: Scalar = {function}`{other}."
            )
        _check(declaration, where)
        if kind == "output" and declaration.default is not None:
            raise ModelError(f"Only an input has a default, but {where} has {declaration.default!r}.")
        found[field.name] = Variable(
            name=field.name,
            kind=kind,
            **{f.name: getattr(declaration, f.name) for f in dataclasses.fields(declaration) if f.name != "role"},
        )
    annotations = inspect.get_annotations(group)
    plain = [name for name, kind_ in annotations.items() if name not in found and "ClassVar" not in str(kind_)]
    if plain:
        raise ModelError(f"A {kind} is declared with `{function}`, but `{plain[0]}` of {owner} is not.")
    return found


def _check(d: _Declaration, where: str) -> None:
    if not isinstance(d.unit, str) or not d.unit.strip():
        raise ModelError(f'A unit is a text such as "mL/s" ("1" for none), but got {d.unit!r} for {where}.')
    if not isinstance(d.meaning, str) or not d.meaning.strip():
        raise ModelError(f"A meaning is a line of text, but got {d.meaning!r} for {where}.")
    if (d.role in ("param", "state") or d.default is not None) and not _is_number(d.default):
        raise ModelError(f"A default is a number, but got {d.default!r} for {where}.")
    if d.role == "port" and d.port not in ("signal", "flow"):
        raise ModelError(f'`kind` must be "signal" or "flow", but got {d.port!r} for {where}.')
    if d.port == "flow" and d.default:
        raise ModelError(f'A port of kind "flow" is 0 where nothing drives it, but got {d.default} for {where}.')
    if d.role == "event" and d.direction not in ("both", "rising", "falling"):
        raise ModelError(f'`direction` must be "both", "rising" or "falling", but got {d.direction!r} for {where}.')
    if d.bounds is not None:
        if len(d.bounds) != 2 or not all(map(_is_number, d.bounds)) or not d.bounds[0] < d.bounds[1]:
            raise ModelError(f"`bounds` must be increasing, but got {d.bounds} for {where}.")
        if d.default is not None and not d.bounds[0] <= d.default <= d.bounds[1]:
            raise ModelError(f"The default must lie inside `bounds` {d.bounds}, but got {d.default} for {where}.")
    if d.prior is not None and not isinstance(d.prior, Prior):
        raise ModelError(f"`prior` must be Normal, LogNormal or Uniform, but got {d.prior!r} for {where}.")
    if d.prior is not None and d.bounds is not None and not overlap(d.prior, d.bounds):
        raise ModelError(f"`prior` must have a share within `bounds` {d.bounds}, but got {d.prior!r} for {where}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def check_known(kind: str, name: str, known: Mapping[str, Any], owner: str) -> None:
    """Raise a `ModelError` with the nearest name unless a name is known."""
    if name not in known:
        raise ModelError(f"{owner} has no {kind} `{name}`.{nearest(name, known)}")
