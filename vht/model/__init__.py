"""Declaring models: variables with units, organ models, cohorts of twins."""

from typing import TYPE_CHECKING, Any

from vht.model.body import Body, converted
from vht.model.constant import constant
from vht.model.gating import bernoulli, boltzmann, gate
from vht.model.organ import (
    Organ,
    conserved,
    events,
    initial_state,
    inputs,
    outputs,
    parameters,
    states,
    with_parameters,
)
from vht.model.priors import LogNormal, Normal, Prior, Uniform
from vht.model.twins import Twins
from vht.model.variables import Scalar, Variable, Vars, algebraic, event, param, port, quantity, state

if TYPE_CHECKING:
    from vht.model.unitcheck import check_units

__all__ = [
    "Body",
    "LogNormal",
    "Normal",
    "Organ",
    "Prior",
    "Scalar",
    "Twins",
    "Uniform",
    "Variable",
    "Vars",
    "algebraic",
    "bernoulli",
    "boltzmann",
    "check_units",
    "conserved",
    "constant",
    "converted",
    "event",
    "events",
    "gate",
    "initial_state",
    "inputs",
    "outputs",
    "param",
    "parameters",
    "port",
    "quantity",
    "state",
    "states",
    "with_parameters",
]


def __getattr__(name: str) -> Any:
    # units need pint, which takes a third of a second to load
    if name == "check_units":
        from vht.model.unitcheck import check_units

        return check_units
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
