"""An organ model: parameters, states, ports, and the equations between them."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from vht.errors import ModelError
from vht.model.variables import Scalar, Variable, Vars, check_known, declared

# what jax raises where Python or NumPy asks for the value of a number that has none yet
_VALUELESS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
_NOT_THE_USERS = (pathlib.Path(__file__).parent, *(pathlib.Path(str(m.__file__)).parent for m in (jax, eqx, np)))


class _Nothing(Vars):
    pass


class Organ(eqx.Module):
    """Base of organ models, written once for one twin, in JAX on named scalars.

    A model declares its parameters as fields with `param`, its states in a class `State` with `state`, its input and output
    ports in classes `In` and `Out` with `port`, and defines

    - ``rates(self, t, x, u)``: time derivatives of all states, as a `State`; none is left out, even if it is zero;
    - ``outputs(self, t, x, u)``: all outputs, as an `Out` (if it has any);
    - ``initial(self)``: the initial `State`, where it depends on parameters (otherwise the states' defaults);
    - ``conserved(self, x)``: what the rates keep constant while nothing enters (such as a volume of blood), as a
      `Conserved` declared with `quantity`; a steady or periodic state then is the one with the initial state's amounts;
    - ``crossings(self, t, x, u)``: values that pass through zero where something happens, as an `Events` declared with
      `event`; and ``after(self, event, t, x, u)``: the whole `State` after the event of that name (by default the same), for
      instance ``dataclasses.replace(x, pump=1.0)``. A state with the rate 0 may hold a mode, or note when an event was:
      ``dataclasses.replace(x, since=t)``.

    A state declared with `algebraic` has an equation in place of its rate. A model without states turns inputs into outputs:
    it can be part of a `Body`.

    Class attributes: `time` is the unit of `t`; `citation` the key of the model's paper in the references.
    Units are checked when a model is first used; see `vht.model.check_units`.

    A model is copied with other numbers without its `__init__` and `__post_init__`. So a check of parameters' values goes into
    `__check_init__`, which also looks at a copy whose numbers are known.

    The functions are compiled, so no `if` depends on their values: `jnp.where` chooses, and functions are those of `jax.numpy`.
    Where it makes the rates jump, steps end there, and derivatives know how the jump moves (`vht.simulate` says with what
    exceptions). What jumps is a state's matter: an event.

    Raises:
        ModelError: when a model is built that is not well formed, or with something that is not one number.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = ""
    State: ClassVar[type[Any]] = _Nothing
    In: ClassVar[type[Any]] = _Nothing
    Out: ClassVar[type[Any]] = _Nothing
    Conserved: ClassVar[type[Any]] = _Nothing
    Events: ClassVar[type[Any]] = _Nothing

    def __check_init__(self) -> None:
        for name in variables(type(self)).parameters:
            shape = np.shape(getattr(self, name))
            if shape != ():
                raise ModelError(
                    f"A parameter is one number, but got an array of shape {shape} for `{name}` of "
                    f"{type(self).__name__}; what differs between twins goes into `Twins`."
                )

    def rates(self, t: Scalar, x: Any, u: Any) -> Any:
        """Time derivatives of all states."""
        raise NotImplementedError(f"{type(self).__name__} defines no `rates`.")

    def outputs(self, t: Scalar, x: Any, u: Any) -> Any:
        """All outputs."""
        return self.Out()

    def conserved(self, x: Any) -> Any:
        """All conserved quantities."""
        return self.Conserved()

    def crossings(self, t: Scalar, x: Any, u: Any) -> Any:
        """The values whose crossings of zero are events."""
        return self.Events()

    def after(self, event: str, t: Scalar, x: Any, u: Any) -> Any:
        """The state after an event."""
        return x


class Variables:
    """Everything a model class declares, by kind."""

    def __init__(self, model: type[Organ]) -> None:
        name = model.__name__
        self.parameters: Mapping[str, Variable] = declared(model, "parameter", name)
        _check_members(model, self.parameters)
        self.states: Mapping[str, Variable] = declared(model.State, "state", f"{name}.State")
        self.inputs: Mapping[str, Variable] = declared(model.In, "input", f"{name}.In")
        self.outputs: Mapping[str, Variable] = declared(model.Out, "output", f"{name}.Out")
        # they live in a namespace of their own: an output may have the same name, and usually does
        self.conserved: Mapping[str, Variable] = declared(model.Conserved, "conserved quantity", f"{name}.Conserved")
        self.events: Mapping[str, Variable] = declared(model.Events, "event", f"{name}.Events")
        if self.states and model.rates is Organ.rates:
            raise ModelError(f"{name} must define `rates(self, t, x, u)`.")
        if not (self.states or self.outputs):
            raise ModelError(f"{name} must declare at least one state in a class `State(Vars)`.")
        for group, method, arguments, what, owner in (
            (self.outputs, "outputs", "self, t, x, u", "outputs", "Out"),
            (self.conserved, "conserved", "self, x", "conserved quantities", "Conserved"),
            (self.events, "crossings", "self, t, x, u", "events", "Events"),
        ):
            defined = getattr(model, method) is not getattr(Organ, method)
            if group and not defined:
                raise ModelError(f"{name} declares {what}, so it must define `{method}({arguments})`.")
            # a class with an empty group of its own says that it has none, and may inherit the method
            if defined and getattr(model, owner) is _Nothing:
                raise ModelError(f"{name} defines `{method}`, so it must declare {what} in a class `{owner}(Vars)`.")
        if model.after is not Organ.after and model.Events is _Nothing:
            raise ModelError(f"{name} defines `after`, so it must declare events in a class `Events(Vars)`.")
        seen: dict[str, str] = {}
        for group in (self.parameters, self.states, self.inputs, self.outputs):
            for variable in group.values():
                if variable.name in seen and {seen[variable.name], variable.kind} != {"input", "output"}:
                    raise ModelError(
                        f"`{variable.name}` of {name} is declared twice, as {seen[variable.name]} and as {variable.kind}."
                    )
                seen[variable.name] = variable.kind
                if variable.lag is not None:
                    check_known(f"parameter for `lag` of input `{variable.name}`", variable.lag, self.parameters, name)


def _check_members(model: type[Organ], own: Mapping[str, Variable]) -> None:
    """Refuse parameters with names that mean something else, groups that are no `Vars`, and methods that are none.

    Raises:
        ModelError: names the member, and what it must be.
    """
    name = model.__name__
    groups = ("State", "In", "Out", "Conserved", "Events")
    methods = ("rates", "outputs", "conserved", "crossings", "after", "initial")
    taken = sorted({"time", "citation", *groups, *methods} & own.keys())
    if taken:
        raise ModelError(f"`{taken[0]}` of {name} has another meaning in every model: give the parameter another name.")
    for group in groups:
        found = getattr(model, group)
        if not (isinstance(found, type) and issubclass(found, Vars)):
            raise ModelError(f"`{group}` of {name} must be a class `{group}(Vars)`, but got {found!r:.100}.")
    for method in methods:
        if not callable(getattr(model, method, model.rates)):
            raise ModelError(f"`{method}` of {name} must be a method, but got {getattr(model, method)!r:.100}.")


@functools.cache
def variables(model: type[Organ]) -> Variables:
    """Everything a model class declares.

    Raises:
        ModelError: if the class is not well formed; says which variable, what was found and what was expected.
    """
    if not (isinstance(model, type) and issubclass(model, Organ)):
        raise ModelError(f"A model is a class derived from `Organ`, but got {model!r}.")
    return Variables(model)


def _of(model: Organ | type[Organ]) -> Variables:
    return variables(model if isinstance(model, type) else type(model))


def parameters(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's parameters by name, in the order they are declared."""
    return dict(_of(model).parameters)


def states(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's states by name, in the order they are declared."""
    return dict(_of(model).states)


def inputs(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's input ports by name, in the order they are declared."""
    return dict(_of(model).inputs)


def outputs(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's output ports by name, in the order they are declared."""
    return dict(_of(model).outputs)


def conserved(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's conserved quantities by name, in the order they are declared."""
    return dict(_of(model).conserved)


def events(model: Organ | type[Organ]) -> dict[str, Variable]:
    """A model's events by name, in the order they are declared."""
    return dict(_of(model).events)


def initial_state(model: Organ) -> Any:
    """A model's initial state: what its `initial` says, else its states' defaults.

    Returns:
        An instance of ``model.State``.
    """
    own = getattr(model, "initial", None)
    return model.State() if own is None else own()


@contextlib.contextmanager
def tracing(model: type[Organ], method: str) -> Iterator[None]:
    """Evaluate one of a model's functions in here on numbers that have no value yet.

    Args:
        model: named in the error.
        method: the function's name.

    Raises:
        ModelError: Python or NumPy asked for a value, as `if` and `math.exp` do; says where, and what to write instead.
    """
    try:
        yield
    except _VALUELESS as error:
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        own = [f"{f}:{n}" for f, n in frames if not any(pathlib.Path(f).is_relative_to(p) for p in _NOT_THE_USERS)]
        raise ModelError(
            f"`{method}` of `{model.__name__}` asks for the value of a number, which has none while the equations are "
            f"compiled ({own[-1] if own else 'source unknown'}). Write `jnp.where(condition, a, b)` instead of `if` "
            "(`jnp.minimum` instead of `min`), and functions of `jax.numpy` instead of those of `math` and NumPy."
        ) from error


def with_parameters(model: Organ, values: Mapping[str, Scalar]) -> Organ:
    """The same model with other parameters.

    Args:
        model: stays as it is.
        values: by parameter name, in the parameters' units.

    Raises:
        ModelError: for a name the model does not have; suggests the nearest.
    """
    known = _of(model).parameters
    for name in values:
        check_known("parameter", name, known, type(model).__name__)
    wanted = {name: values[name] if name in values else getattr(model, name) for name in known}
    found = with_values(type(model), wanted)
    if not any(isinstance(value, Tracer) for value in wanted.values()):
        for cls in type(model).__mro__:
            if cls is not Organ and "__check_init__" in vars(cls):  # its own is done
                vars(cls)["__check_init__"](found)
    return found


def with_values(cls: type[Organ], values: Mapping[str, Any]) -> Organ:
    """A model of a class with these parameters, whatever its own `__init__` would make of them, and unchecked by it.

    Args:
        cls: whose it is.
        values: of all its parameters.

    Raises:
        ModelError: what is not one number.
    """
    found = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(found, name, value)
    Organ.__check_init__(found)
    return found
