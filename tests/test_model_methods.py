"""What a model's methods return: whole, of numbers, and without a look at values that are not known yet."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vht
from vht.errors import ModelError
from vht.model import (
    Body,
    Organ,
    Scalar,
    Vars,
    algebraic,
    check_units,
    event,
    initial_state,
    param,
    port,
    state,
)


class Oral(Organ):
    """A drug is absorbed, does not leave, and is vomited at times."""

    time: ClassVar[str] = "h"
    ka: Scalar = param(1.0, "1/h", "rate of absorption")

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "drug in the gut")
        central: Scalar = state(0.0, "mg", "drug in the blood")

    class In(Vars):
        u: Scalar = port("mg/h", "doses", kind="flow")

    class Out(Vars):
        seen: Scalar = port("mg", "drug in the blood, again")

    class Events(Vars):
        full: Scalar = event("mg", "the gut is full")

    def rates(self, t, x, u):
        return self.State(gut=u.u - self.ka * x.gut, central=self.ka * x.gut)

    def outputs(self, t, x, u):
        return self.Out(seen=x.central)

    def crossings(self, t, x, u):
        return self.Events(full=x.gut)


def oral(**methods):
    return type("Oral", (Oral,), methods | {"__module__": __name__})


def forgets(s, t, x, u):
    return s.State(gut=u.u - s.ka * x.gut)


def test_no_rate_is_left_out():
    check_units(Oral)
    with pytest.raises(ModelError, match=r"`rates` of `Oral` gives no rate of `central`: write `central=0.0` if it"):
        check_units(oral(rates=forgets))
    # what is passed through is still left out; what is given is not, though it is the default
    through = oral(rates=lambda s, t, x, u: jax.tree.map(lambda rate: rate, dataclasses.replace(s.State(), gut=u.u)))
    with pytest.raises(ModelError, match="no rate of `central`"):
        check_units(through)
    check_units(oral(rates=lambda s, t, x, u: s.State(gut=0.0, central=0.0)))
    check_units(oral(rates=lambda s, t, x, u: dataclasses.replace(forgets(s, t, x, u), central=0.0)))


def test_no_rate_is_left_out_with_defaults_of_every_kind():
    class State(Vars):
        gut: Scalar = state(5, "mg", "drug in the gut")
        central: Scalar = state(5, "mg", "drug in the blood")

    class Solved(Vars):
        gut: Scalar = state(5.0, "mg", "drug in the gut")
        central: Scalar = algebraic(5.0, "mg", "drug in the blood")

    with pytest.raises(ModelError, match="`rates` of `Oral` gives no rate of `central`"):
        check_units(oral(State=State, rates=forgets))
    with pytest.raises(
        ModelError, match="gives no equation of `central`: write `central=g`, where `0 = g` determines it"
    ):
        check_units(oral(State=Solved, rates=forgets))


def test_no_rate_is_left_out_in_a_body_or_a_solve():
    organ = oral(rates=forgets)()
    with pytest.raises(ModelError, match="`rates` of `Oral` gives no rate of `central`"):
        check_units(Body({"one": Oral(), "other": Body({"inner": organ})}))
    with pytest.raises(ModelError, match="`rates` of `Oral` gives no rate of `central`"):
        vht.simulate(organ, np.linspace(0.0, 1.0, 3))


def test_no_state_is_left_out_after_an_event():
    with pytest.raises(
        ModelError, match=r"`after` of `Oral` gives no value of `central`: write `central=x.central` if"
    ):
        check_units(oral(after=lambda s, event, t, x, u: s.State(gut=x.gut * 0.5)))
    check_units(oral(after=lambda s, event, t, x, u: s.State(gut=x.gut * 0.5, central=0.0)))
    check_units(oral(after=lambda s, event, t, x, u: dataclasses.replace(x, gut=0.0)))


def test_initial_values_may_be_left_out():
    model = oral(initial=lambda s: s.State(gut=0.0))
    check_units(model)
    assert initial_state(model()).central == 0.0


@pytest.mark.parametrize(
    ("rate", "cause"),
    [
        (lambda s, t, x, u: u.u if x.gut > 0 else 0.0, jax.errors.TracerBoolConversionError),
        (lambda s, t, x, u: min(u.u, 0.0), jax.errors.TracerBoolConversionError),
        (lambda s, t, x, u: math.exp(s.ka * t) * u.u, jax.errors.ConcretizationTypeError),
        (lambda s, t, x, u: np.exp(s.ka * t) * u.u, jax.errors.TracerArrayConversionError),
        (lambda s, t, x, u: jnp.ones(2)[x.gut > 0] * u.u, jax.errors.NonConcreteBooleanIndexError),
    ],
)
def test_values_are_not_known_in_a_method(rate, cause):
    said = r"asks for the value of a number.*\(.*test_model_methods.py:\d+\).*`jnp.where\(.*functions of `jax.numpy`"
    with pytest.raises(ModelError, match=f"`rates` of `Oral` {said}") as raised:
        check_units(oral(rates=lambda *a: Oral.State(gut=rate(*a), central=0.0)))
    assert isinstance(raised.value.__cause__, cause)


def test_values_are_not_known_in_other_methods():
    def seen(s, t, x, u):
        return s.Out(seen=x.central if x.central > 0 else x.gut)

    with pytest.raises(ModelError, match="`outputs` of `Oral` asks for the value"):
        check_units(oral(outputs=seen))
    with pytest.raises(ModelError, match="`after full` of `Oral` asks for the value"):
        check_units(oral(after=lambda s, event, t, x, u: x if x.gut > 0 else s.State(x.gut, 0.0)))

    class Reader(Oral):
        class In(Vars):
            u: Scalar = port("mg/h", "doses", kind="flow")
            read: Scalar = port("mg", "drug elsewhere")

    with pytest.raises(ModelError, match=r"`outputs` of `Oral` asks for the value .*test_model_methods.py:\d+"):
        Body({"one": oral(outputs=seen)(), "other": Reader()}, wires={"other.read": "one.seen"})


def test_arrays_are_refused_in_what_a_method_returns():
    with pytest.raises(ModelError, match=r"`rates` of `Oral` gives an array of shape \(3,\) for `gut`"):
        check_units(oral(rates=lambda s, t, x, u: s.State(gut=jnp.zeros(3), central=0.0)))
    with pytest.raises(ModelError, match=r"`outputs` of `Oral` gives an array of shape \(1,\) for `seen`"):
        check_units(oral(outputs=lambda s, t, x, u: s.Out(seen=x.gut[None])))
