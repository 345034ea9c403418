"""Bodies at their edges: numbers of every kind, other units of time, loops across bodies in bodies, and what goes to disk."""

import copy
import pickle
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.errors import ModelError
from vht.model import (
    Body,
    LogNormal,
    Normal,
    Organ,
    Scalar,
    Vars,
    boltzmann,
    gate,
    inputs,
    param,
    parameters,
    port,
    quantity,
    state,
)
from vht.model.units import parse
from vht.solve.system import system_of

TIGHT = vht.Tsit5(rtol=1e-10, atol=1e-12)
TIMES = np.array([0.0, 0.5, 1.0, 3.0])


class Drug(Organ):
    """One compartment, in hours, infused through a signal."""

    time: ClassVar[str] = "h"
    k: Scalar = param(0.3, "1/h", "elimination", bounds=(0.01, 5.0), prior=LogNormal(0.3, 0.2))
    tlag: Scalar = param(0.5, "h", "lag", bounds=(0.0, 0.7), prior=Normal(0.5, 0.1))
    free: Scalar = param(1.0, "1", "a number without bounds", prior=LogNormal(1.0, 0.1))

    class State(Vars):
        m: Scalar = state(0.0, "mg", "amount")

    class In(Vars):
        dose: Scalar = port("mg/h", "doses", kind="flow", lag="tlag")
        rate: Scalar = port("mg/h", "infusion", default=2.0)

    class Conserved(Vars):
        m: Scalar = quantity("mg", "amount")

    def rates(self, t, x, u):
        return self.State(m=u.dose + u.rate - self.free * self.k * x.m)

    def conserved(self, x):
        return self.Conserved(m=x.m)


class Gain(Organ):
    """No states: an output from an input at the same instant."""

    g: Scalar = param(0.5, "1", "gain")

    class In(Vars):
        u: Scalar = port("1", "input", default=0.0)

    class Out(Vars):
        y: Scalar = port("1", "1 + g u")

    def outputs(self, t, x, u):
        return self.Out(y=1.0 + self.g * u.u)


class Lag(Organ):
    """An output that is the input and the state at once."""

    tau: Scalar = param(2.0, "s", "time constant")

    class State(Vars):
        x: Scalar = state(0.0, "1", "state")

    class In(Vars):
        u: Scalar = port("1", "input", default=0.0)

    class Out(Vars):
        y: Scalar = port("1", "u + x")

    def rates(self, t, x, u):
        return self.State(x=(u.u - x.x) / self.tau)

    def outputs(self, t, x, u):
        return self.Out(y=u.u + x.x)


class Cell(Organ):
    """A potential with one gate, in milliseconds."""

    time: ClassVar[str] = "ms"
    tau: Scalar = param(2.0, "ms", "time constant of the gate")
    slow: Scalar = param(5.0, "ms", "time constant of the potential")
    half: Scalar = param(-40.0, "mV", "where the gate is half open")
    slope: Scalar = param(10.0, "mV", "how steeply it opens")
    top: Scalar = param(140.0, "mV", "by how much the open gate raises the potential")
    rest: Scalar = param(-80.0, "mV", "resting potential")

    class State(Vars):
        V: Scalar = state(-70.0, "mV", "potential")
        m: Scalar = state(0.1, "1", "gate")

    def rates(self, t, x, u):
        opened = gate(x.m, boltzmann(x.V, self.half, self.slope), self.tau)
        return self.State(V=(self.rest + x.m * self.top - x.V) / self.slow, m=opened)


class Odd(Organ):
    """An input and an output of one name, and two scales of temperature."""

    fever: Scalar = param(39.0, "degC", "a temperature")

    class In(Vars):
        P: Scalar = port("1", "input", default=0.0)
        T: Scalar = port("kelvin", "temperature", default=310.0)

    class Out(Vars):
        P: Scalar = port("1", "output")
        celsius: Scalar = port("degC", "temperature")

    def outputs(self, t, x, u):
        return self.Out(P=1.0 + u.P, celsius=self.fever)


# ------------------------------------------------------------------------------------------------- units of time


def test_a_signal_per_time_keeps_its_unit_and_default():
    body = Body({"inner": Body({"drug": Drug()}, time="min")}, time="s")
    known = inputs(body)
    assert (known["inner.drug.rate"].unit, known["inner.drug.rate"].default) == ("mg/h", 2.0)
    assert known["inner.drug.dose"].unit == "mg/s"
    dose = vht.Doses([600.0], [100.0])
    found = vht.simulate(body, TIMES * 3600.0, schedule=vht.Schedule(doses={"inner.drug.dose": dose}), method=TIGHT)
    arrived = 1.0 / 6.0 + 0.5
    amount = 2.0 / 0.3 * (1.0 - np.exp(-0.3 * TIMES)) + np.where(
        arrived < TIMES, 100.0 * np.exp(-0.3 * (TIMES - arrived)), 0.0
    )
    np.testing.assert_allclose(found.values["inner.drug.m"][0], amount, rtol=1e-8)


@pytest.mark.parametrize(
    ("unit", "converted"),
    [
        ("mg/hour", "mg/min"),
        ("mg*h^-1", "mg/min"),
        ("mg/kg/h", "mg/kg/min"),
        ("mg/h/kg", "mg/kg/min"),
        ("mg/(h*kg)", "mg/kg/min"),
        ("uU/hr/mL", "uU/mL/min"),
        ("1/h", "1/min"),
        ("mL/min", "mL/min"),
        ("mL/h^2", "mL/h^2"),
        ("mg*h", "mg*h"),
    ],
)
def test_a_flow_per_time_however_it_is_written(unit, converted):
    class In(Vars):
        dose: Scalar = port(unit, "doses", kind="flow")

    cls = type("Dosed", (Drug,), {"In": In, "__module__": __name__, "rates": lambda s, t, x, u: s.State(m=u.dose)})
    found = inputs(Body({"drug": cls()}, time="min"))["drug.dose"].unit
    assert parse(found) == parse(converted)
    same = inputs(Body({"drug": cls()}, time="hour"))["drug.dose"].unit
    assert parse(same) == parse(unit)


def test_a_dose_stays_what_it_is_in_another_unit_of_time():
    class In(Vars):
        dose: Scalar = port("mg/hour/kg", "doses", kind="flow")

    class PerMass(Drug):
        weight: Scalar = param(70.0, "kg", "body weight")

    PerMass.In = In
    PerMass.rates = lambda self, t, x, u: self.State(m=self.weight * u.dose - self.k * x.m)
    doses = vht.Doses([0.0, 60.0], [1.0, 2.0], [0.0, 30.0])
    found = vht.simulate(
        Body({"drug": PerMass()}, time="min"),
        60.0 * TIMES,
        schedule=vht.Schedule(doses={"drug.dose": doses}),
        method=TIGHT,
    )
    alone = vht.Doses([0.0, 1.0], [1.0, 2.0], [0.0, 0.5])
    wanted = vht.simulate(PerMass(), TIMES, schedule=vht.Schedule(doses={"dose": alone}), method=TIGHT).values["m"]
    np.testing.assert_allclose(found.values["drug.m"], wanted, rtol=1e-8)
    assert wanted[0, 1] == pytest.approx(70.0 * np.exp(-0.15))


def test_gates_in_another_unit_of_time():
    body = Body({"cell": Body({"cell": Cell()}, time="s"), "lag": Lag()}, time="min")
    found = vht.simulate(body, np.array([0.0, 20.0 / 60e3]), method=vht.RushLarsen(rtol=1e-8, atol=1e-8))

    def rates(t, y):
        return [(-80.0 + 140.0 * y[1] - y[0]) / 5.0, (1.0 / (1.0 + np.exp(-(y[0] + 40.0) / 10.0)) - y[1]) / 2.0]

    wanted = solve_ivp(rates, (0.0, 20.0), [-70.0, 0.1], rtol=1e-11, atol=1e-11).y[:, -1]
    np.testing.assert_allclose([found.values[f"cell.cell.{x}"][0, 1] for x in "Vm"], wanted, rtol=1e-6)


# --------------------------------------------------------------------------------------------------------- loops


def test_the_input_that_is_proposed_lies_on_the_loop():
    organs = {"a": Gain(), "b": Gain(), "beside": Lag()}
    wires = {"beside.u": "a.y", "b.u": "a.y", "a.u": "b.y"}
    for cut in ({}, {"beside.u": 0.0}):
        with pytest.raises(ModelError, match=r'loop: a\.y -> b\.y -> a\.y\..*algebraic=\{"b\.u": GUESS\}'):
            Body(organs, wires, algebraic=cut)
    with pytest.raises(ModelError, match=r'loop: a\.y -> a\.y\..*"a\.u": GUESS'):
        Body({"a": Gain()}, {"a.u": "a.y"})
    three = {"b.u": "a.y", "c.u": "b.y", "a.u": "c.y"}
    with pytest.raises(ModelError, match=r"loop: a\.y -> b\.y -> c\.y -> a\.y\."):
        Body({"a": Gain(), "b": Gain(), "c": Gain()}, three)


def test_loops_through_bodies_in_bodies():
    inner = Body({"a": Gain(), "b": Lag()}, {"a.u": "b.y"})
    wires = {"c.u": "inner.a.y", "inner.b.u": "c.y"}
    organs = {"inner": inner, "c": Gain(g=0.4)}
    with pytest.raises(ModelError, match=r"loop: inner\.a\.y -> c\.y -> inner\.a\.y"):
        Body(organs, wires)
    # a loop of organs without states, solved inside a body that has none
    algebra = Body({"p": Gain(), "q": Gain(g=0.2)}, {"p.u": "q.y", "q.u": "p.y"}, algebraic={"p.u": 0.0})
    body = Body({**organs, "algebra": algebra}, wires, algebraic={"c.u": 0.0}, time="min")
    found = vht.simulate(body, TIMES / 60.0, method=vht.Rodas5P(rtol=1e-9, atol=1e-10))
    # u = 1 + 0.4 (1 + 0.5 (u + x)), so u = 1.75 + 0.25 x and x' = (1.75 - 0.75 x) / 2
    x = 1.75 / 0.75 * (1.0 - np.exp(-0.375 * TIMES))
    np.testing.assert_allclose(found.values["inner.b.x"][0], x, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(found.values["c.u"][0], 1.0 + 0.5 * (1.75 + 1.25 * x), rtol=1e-7)
    np.testing.assert_allclose(found.values["algebra.p.y"][0], 1.5 / 0.9, rtol=1e-9)
    with pytest.raises(ModelError, match="has only algebraic states, so there is nothing to solve"):
        vht.simulate(algebra, TIMES, method=vht.Rodas5P())


# ------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("kind", [int, np.float32, np.int64, np.asarray, jnp.asarray])
def test_numbers_of_every_kind_are_defaults(kind):
    body = Body({"drug": Drug(k=kind(2))})
    known = parameters(body)["drug.k"]
    assert known.default == 2.0 and known.prior.median == pytest.approx(2.0)
    assert type(body) is type(Body({"drug": Drug(k=2.0)}))


def test_what_makes_no_sense_is_one_twin_s():
    body = Body({"drug": Drug(k=np.nan, free=np.inf)})
    assert np.isnan(getattr(body, "drug.k")) and np.isinf(getattr(body, "drug.free"))
    assert parameters(body)["drug.k"] == parameters(Body({"drug": Drug()}))["drug.k"]
    assert not vht.simulate(body, TIMES).ok[0]
    # also where the unit changes, a value at its bound stays within
    limit = Body({"drug": Drug(tlag=0.7)}, time="min")
    assert not vht.Twins(limit, {"drug.tlag": [getattr(limit, "drug.tlag")]}).outside_bounds()


def test_bodies_that_differ_in_numbers_share_what_is_compiled():
    def body(k, rate=1.0):
        inner = Body({"drug": Drug(k=k)}, time="min", defaults={"drug.rate": rate})
        return Body({"inner": inner, "lag": Lag(tau=4.0 * k)}, time="s")

    one, other = body(0.5), body(0.25)
    assert system_of(one) == system_of(other) != system_of(body(0.5, rate=2.0))
    assert parameters(one)["lag.tau"].default == 2.0 and parameters(other)["lag.tau"].default == 1.0
    for k, model in ((0.5, one), (0.25, other)):
        found = vht.simulate(model, TIMES * 3600.0, method=TIGHT).values["inner.drug.m"][0]
        np.testing.assert_allclose(found, (1.0 - np.exp(-k * TIMES)) / k, rtol=1e-8)


def test_a_body_is_kept_and_copied():
    body = Body({"inner": Body({"drug": Drug(k=0.5)}, time="min"), "lag": Lag()}, time="s")
    again = pickle.loads(pickle.dumps(body))
    assert type(again) is type(body) and again == body
    assert copy.deepcopy(body) == body
    twins = pickle.loads(pickle.dumps(vht.Twins.sample(body, 3)))
    assert twins.model is type(body) and "inner.drug.k" in twins.columns


# ------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.usefixtures("unchecked_annotations")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"organs": {"a": Gain(g="x")}}, "`Gain` holds numbers, but got 'x' for `g`"),
        ({"organs": [Gain()]}, r"`organs` must be a dictionary by name, but got \["),
        ({"wires": [("a.u", "b.y")]}, "`wires` must be a dictionary"),
        ({"wires": {"a.u": None}}, r'A port is written as a text such as "heart.Q", but got None'),
        ({"wires": {"a.u": "b.y"}, "algebraic": ["a.u"]}, "`algebraic` must be a dictionary"),
        ({"wires": {"a.u": "b.y"}, "algebraic": {"a.u": "?"}}, r"`algebraic` holds numbers, but got '\?' for `a\.u`"),
        ({"defaults": {"a.u": None}}, r"`defaults` holds numbers, but got None for `a\.u`"),
        ({"conserved": {"all": ["c.m", "d.m"]}}, "each is conserved already, so leave `all` out"),
        (
            {"wires": {"e.P": "e.P"}, "algebraic": {"e.P": 0.0}},
            r"`e\.P` cannot be solved for, since it is an output's name",
        ),
        (
            {"wires": {"e.T": "e.celsius"}},
            r"`e\.T` is in kelvin, but its source `e\.celsius` in degC, which begins elsewhere",
        ),
    ],
)
def test_what_is_wrong_is_said(given, message):
    organs = {"a": Gain(), "b": Gain(), "c": Drug(), "d": Drug(), "e": Odd()}
    with pytest.raises(ModelError, match=message):
        Body(**{"organs": organs, "time": "h", **given})


def test_what_is_wired_is_not_scheduled():
    inner = Body({"a": Gain(), "b": Odd(), "c": Drug()}, {"b.P": "a.y"}, time="h")
    signal = vht.Signal([0.0], [1.0])
    for body, name, source in (
        (inner, "b.P", "a.y"),
        (Body({"q": inner}), "q.b.P", "q.a.y"),
    ):
        prefix = name.removesuffix("b.P")
        given = {f"{prefix}a.u": signal, name: signal}
        with pytest.raises(ModelError, match=f"Input `{name}` of `Body` is driven by a wire from `{source}`"):
            vht.simulate(body, TIMES, schedule=vht.Schedule(signals=given))
        with pytest.raises(ModelError, match=f"`Body` has no input `{prefix}b.p`. Did you mean"):
            vht.simulate(body, TIMES, schedule=vht.Schedule(signals={f"{prefix}b.p": signal}))
