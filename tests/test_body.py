"""Organs joined into a body: closed forms, the same equations in one organ, and every mistake a user can make."""

from __future__ import annotations

import itertools
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht import Body, converted
from vht.errors import ModelError
from vht.model import (
    LogNormal,
    Organ,
    Scalar,
    Vars,
    algebraic,
    check_units,
    conserved,
    constant,
    event,
    events,
    gate,
    inputs,
    outputs,
    param,
    parameters,
    port,
    quantity,
    state,
    states,
)
from vht.model.body import parts
from vht.solve import simulate_with_jacobian

TIGHT = vht.Tsit5(rtol=1e-10, atol=1e-10)
STIFF = vht.Rodas5P(rtol=1e-10, atol=1e-10)


class Heart(Organ):
    """A pump that fills and empties."""

    E: Scalar = param(0.5, "mmHg/mL", "elastance", bounds=(0.1, 2.0), prior=LogNormal(0.5, 0.2))
    Zc: Scalar = param(0.05, "mmHg*s/mL", "resistance of the outlet", bounds=(0.01, 0.2))

    class State(Vars):
        V: Scalar = state(120.0, "mL", "volume")

    class In(Vars):
        P: Scalar = port("mmHg", "pressure behind the outlet", default=0.0)
        filling: Scalar = port("mL/s", "inflow", kind="flow")

    class Out(Vars):
        Q: Scalar = port("mL/s", "outflow", kind="flow")
        pressure: Scalar = port("mmHg", "pressure inside")

    class Conserved(Vars):
        blood: Scalar = quantity("mL", "volume of blood")

    def outputs(self, t, x, u):
        pressure = self.E * x.V
        return self.Out(Q=(pressure - u.P) / self.Zc, pressure=pressure)

    def rates(self, t, x, u):
        return self.State(V=u.filling - self.outputs(t, x, u).Q)

    def conserved(self, x):
        return self.Conserved(blood=x.V)


class Artery(Organ):
    """A compliance with an outlet."""

    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance", bounds=(0.3, 3.0), prior=LogNormal(1.0, 0.3))
    C: Scalar = param(1.5, "mL/mmHg", "compliance", bounds=(0.3, 4.0))

    class State(Vars):
        Pc: Scalar = state(80.0, "mmHg", "pressure")

    class In(Vars):
        Q: Scalar = port("mL/s", "inflow", kind="flow")

    class Out(Vars):
        P: Scalar = port("mmHg", "pressure at the inlet")
        Q_out: Scalar = port("mL/s", "outflow", kind="flow")
        Q_slow: Scalar = port("mL/min", "outflow", kind="flow")

    class Conserved(Vars):
        blood: Scalar = quantity("mL", "volume of blood")

    def outputs(self, t, x, u):
        return self.Out(P=x.Pc, Q_out=x.Pc / self.R, Q_slow=x.Pc / self.R * constant(60.0, "s/min"))

    def rates(self, t, x, u):
        return self.State(Pc=(u.Q - x.Pc / self.R) / self.C)

    def conserved(self, x):
        return self.Conserved(blood=self.C * x.Pc)


class Line(Organ):
    """An artery whose pressure at the inlet depends on the inflow at the same instant."""

    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance")
    C: Scalar = param(1.5, "mL/mmHg", "compliance")
    Zc: Scalar = param(0.1, "mmHg*s/mL", "characteristic resistance")

    class State(Vars):
        Pc: Scalar = state(80.0, "mmHg", "pressure")

    class In(Vars):
        Q: Scalar = port("mL/s", "inflow", kind="flow")

    class Out(Vars):
        P: Scalar = port("mmHg", "pressure at the inlet")

    def outputs(self, t, x, u):
        return self.Out(P=x.Pc + self.Zc * u.Q)

    def rates(self, t, x, u):
        return self.State(Pc=(u.Q - x.Pc / self.R) / self.C)


class Closed(Organ):
    """The closed loop of heart and artery, written in one piece."""

    class State(Vars):
        V: Scalar = state(120.0, "mL", "volume")
        Pc: Scalar = state(80.0, "mmHg", "pressure")

    E: Scalar = param(0.5, "mmHg/mL", "elastance")
    Zc: Scalar = param(0.05, "mmHg*s/mL", "resistance of the outlet")
    R: Scalar = param(1.0, "mmHg*s/mL", "peripheral resistance")
    C: Scalar = param(1.5, "mL/mmHg", "compliance")

    def rates(self, t, x, u):
        Q, back = (self.E * x.V - x.Pc) / self.Zc, x.Pc / self.R
        return self.State(V=back - Q, Pc=(Q - back) / self.C)


LOOP = {"artery.Q": "heart.Q", "heart.P": "artery.P", "heart.filling": "artery.Q_out"}


@pytest.fixture(scope="module")
def loop():
    return Body(
        {"heart": Heart(), "artery": Artery(R=1.2)},
        wires=LOOP,
        conserved={"blood": ["heart.blood", "artery.blood"]},
    )


TIMES = np.linspace(0.0, 3.0, 7)


def test_a_body_is_a_model(loop):
    assert list(parameters(loop)) == ["heart.E", "heart.Zc", "artery.R", "artery.C"]
    assert list(states(loop)) == ["heart.V", "artery.Pc"]
    assert list(inputs(loop)) == ["heart.filling", "artery.Q"]  # flows stay open, what is wired otherwise does not
    assert list(outputs(loop)) == ["heart.Q", "heart.pressure", "artery.P", "artery.Q_out", "artery.Q_slow"]
    assert list(conserved(loop)) == ["blood"]
    assert parameters(loop)["artery.R"].default == 1.2
    assert parameters(loop)["artery.R"].bounds == (0.3, 3.0)
    assert getattr(loop, "artery.R") == 1.2
    check_units(loop)
    assert repr(loop) == "Body(heart: Heart, artery: Artery)"
    again = Body(
        {"heart": Heart(), "artery": Artery(R=1.2)}, wires=LOOP, conserved={"blood": ["heart.blood", "artery.blood"]}
    )
    assert type(again) is type(loop)  # equal bodies are compiled once


def test_the_same_as_in_one_piece(loop):
    whole = vht.simulate(Closed(R=1.2), TIMES, method=TIGHT)
    found = vht.simulate(loop, TIMES, method=TIGHT)
    np.testing.assert_allclose(found.values["heart.V"], whole.values["V"], rtol=1e-12)
    np.testing.assert_allclose(found.values["artery.Pc"], whole.values["Pc"], rtol=1e-12)
    blood = np.asarray(found.values["heart.V"] + 1.5 * found.values["artery.Pc"])
    np.testing.assert_allclose(blood, blood[0, 0], rtol=1e-12)


def test_slopes_and_twins_by_dotted_names(loop):
    twins = vht.Twins.sample(loop, 3, seed=1)
    assert set(twins.columns) == {"heart.E", "artery.R"}
    found, slopes = simulate_with_jacobian(loop, TIMES, free=["artery.R", "initial.heart.V"], twins=twins, method=TIGHT)
    assert found.ok.all()

    def one(values):
        columns = {"E": twins.columns["heart.E"][:1], "R": values[None, 0]}
        started = {"V": values[None, 1]}
        return vht.simulate(Closed(), TIMES, twins=columns, initial=started, method=TIGHT).values["Pc"][0]

    expected = jax.jacfwd(one)(jnp.array([twins.columns["artery.R"][0], 120.0]))
    np.testing.assert_allclose(slopes["artery.Pc"][0], expected, rtol=1e-7, atol=1e-9)


def test_several_flows_add_up_with_what_is_scheduled(loop):
    two = Body(
        {"left": Heart(), "right": Heart(E=0.3), "artery": Artery()},
        wires={"artery.Q": ["left.Q", "right.Q"], "left.P": "artery.P", "right.P": "artery.P"},
    )
    infusion = vht.Schedule(
        doses={"artery.Q": vht.Doses([0.5], [30.0], [1.0]), "left.filling": vht.Doses([1.0], [20.0])}
    )
    found = vht.simulate(two, TIMES, schedule=infusion, method=TIGHT)

    def rates(t, y):
        left, right = (0.5 * y[0] - y[2]) / 0.05, (0.3 * y[1] - y[2]) / 0.05
        more = 30.0 if 0.5 <= t < 1.5 else 0.0
        return [-left, -right, (left + right + more - y[2]) / 1.5]

    y, expected = np.array([120.0, 120.0, 80.0]), [np.array([120.0, 120.0, 80.0])]
    for a, b in itertools.pairwise(TIMES):
        y = solve_ivp(rates, (a, b), y, rtol=1e-11, atol=1e-11).y[:, -1]
        expected.append(y.copy())
        if b == 1.0:
            y[0] += 20.0
    # the save at the time of the dose is before or after it: leave that one out
    keep = TIMES != 1.0
    np.testing.assert_allclose(np.asarray(found.values["artery.Pc"])[0, keep], np.array(expected)[keep, 2], rtol=1e-6)


def test_units_of_flows_are_converted_when_asked():
    fitting = {"heart.filling": converted("artery.Q_slow")}
    body = Body({"heart": Heart(), "artery": Artery()}, wires=fitting)
    found = vht.simulate(body, TIMES, method=TIGHT)
    back = 80.0 * np.exp(-TIMES / 1.5)  # mL/s

    def rates(t, y):
        return [80.0 * np.exp(-t / 1.5) - 0.5 * y[0] / 0.05]

    expected = solve_ivp(rates, (0, 3), [120.0], rtol=1e-11, atol=1e-12, t_eval=TIMES).y[0]
    np.testing.assert_allclose(found.values["heart.V"][0], expected, rtol=1e-7)
    np.testing.assert_allclose(np.asarray(found.values["artery.Q_slow"][0]) / 60.0, back, rtol=1e-8)


# ------------------------------------------------------------------------------------------------ algebraic loops


def test_a_loop_is_named_and_solved_where_declared():
    organs = {"heart": Heart(), "line": Line()}
    wires = {"line.Q": "heart.Q", "heart.P": "line.P"}
    with pytest.raises(
        ModelError, match=r"Algebraic loop: (heart\.Q -> line\.P -> heart\.Q|line\.P -> heart\.Q -> line\.P)\."
    ):
        Body(organs, wires)
    body = Body(organs, wires, algebraic={"heart.P": 80.0})
    assert [v.algebraic for v in states(body).values()] == [False, False, True]
    assert list(inputs(body)) == ["heart.filling", "line.Q"]
    found = vht.simulate(body, TIMES, method=STIFF)

    def rates(t, y):
        Q = (0.5 * y[0] - y[1]) / (0.05 + 0.1)
        return [-Q, (Q - y[1]) / 1.5]

    expected = solve_ivp(rates, (0, 3), [120.0, 80.0], rtol=1e-11, atol=1e-11, t_eval=TIMES).y
    np.testing.assert_allclose(found.values["line.Pc"][0], expected[1], rtol=1e-8)
    with pytest.raises(ModelError, match=r"`heart\.P`, which an implicit method must solve for"):
        vht.simulate(body, TIMES)


def test_outputs_that_need_no_input_break_no_loop():
    """The order is found output by output: here each organ gives something that the other needs first."""

    def per_second(x):
        return x / constant(1.0, "s")

    class Pair(Organ):
        class State(Vars):
            x: Scalar = state(1.0, "1", "a state")

        class In(Vars):
            u: Scalar = port("1", "an input")

        class Out(Vars):
            own: Scalar = port("1", "of the state alone")
            mixed: Scalar = port("1", "of the input too")

        def outputs(self, t, x, u):
            # what mixes would not be finite if the input were not known
            return self.Out(own=2.0 * x.x, mixed=x.x / u.u)

        def rates(self, t, x, u):
            return self.State(x=per_second(u.u - x.x))

    class Second(Organ):
        class State(Vars):
            y: Scalar = state(3.0, "1", "a state")

        class In(Vars):
            u: Scalar = port("1", "an input")

        class Out(Vars):
            both: Scalar = port("1", "of state and input")

        def outputs(self, t, x, u):
            return self.Out(both=x.y + u.u)

        def rates(self, t, x, u):
            return self.State(y=per_second(-x.y))

    body = Body({"a": Pair(), "b": Second(), "c": Second()}, wires={"b.u": "a.own", "a.u": "b.both", "c.u": "a.mixed"})
    stages = [(stage.organ, stage.outputs) for stage in parts(body).stages]
    assert stages == [("a", ("own",)), ("b", ("both",)), ("a", ("mixed",))]
    found = body.outputs(0.0, body.State(), body.In())
    assert float(getattr(found, "c.both")) == pytest.approx(3.0 + 1.0 / 5.0)


# ------------------------------------------------------------------------------------- time, nesting, events, effects


class Drug(Organ):
    """One compartment, in hours."""

    time: ClassVar[str] = "h"
    k: Scalar = param(0.5, "1/h", "elimination", bounds=(0.01, 5.0), prior=LogNormal(0.5, 0.2))
    lag: Scalar = param(0.5, "h", "lag", bounds=(0.0, 2.0), prior=LogNormal(0.5, 0.1))

    class State(Vars):
        A: Scalar = state(0.0, "mg", "amount")

    class In(Vars):
        dose: Scalar = port("mg/h", "dose", kind="flow", lag="lag")

    class Out(Vars):
        amount: Scalar = port("mg", "amount")

    class Events(Vars):
        low: Scalar = event("mg", "the amount falls below 20 mg", direction="falling")

    level: Scalar = param(20.0, "mg", "where a dose is taken")

    def outputs(self, t, x, u):
        return self.Out(amount=x.A)

    def rates(self, t, x, u):
        return self.State(A=u.dose - self.k * x.A)

    def crossings(self, t, x, u):
        return self.Events(low=x.A - self.level)

    def after(self, event, t, x, u):
        return self.State(A=x.A + 4.0 * self.level)


class Effect(Organ):
    """An effect without states."""

    E50: Scalar = param(50.0, "mg", "amount of half the effect")

    class In(Vars):
        amount: Scalar = port("mg", "amount of drug")

    class Out(Vars):
        share: Scalar = port("1", "share of the greatest effect")

    def outputs(self, t, x, u):
        return self.Out(share=u.amount / (u.amount + self.E50))


class Pressure(Organ):
    """Something that a drug lowers, in minutes."""

    time: ClassVar[str] = "min"
    tau: Scalar = param(30.0, "min", "time constant")
    top: Scalar = param(100.0, "mmHg", "without a drug")

    class State(Vars):
        P: Scalar = state(100.0, "mmHg", "pressure")

    class In(Vars):
        share: Scalar = port("1", "by which it is lowered")

    def rates(self, t, x, u):
        return self.State(P=(self.top * (1.0 - u.share) - x.P) / self.tau)


TREATED = {"effect.amount": "drug.amount", "pressure.share": "effect.share"}


def test_clocks_doses_and_lags_in_the_body_s_time():
    organs = {"drug": Drug(level=1e-9), "effect": Effect(), "pressure": Pressure()}
    with pytest.raises(
        ModelError, match=r'different units of time \(drug: h, effect: s, pressure: min\).*`time="min"`'
    ):
        Body(organs, TREATED)
    body = Body(organs, TREATED, time="min")
    assert inputs(body)["drug.dose"].unit == "mg/min"
    assert parameters(body)["drug.lag"].unit == "min"
    assert parameters(body)["drug.lag"].default == getattr(body, "drug.lag") == pytest.approx(30.0)
    assert parameters(body)["drug.lag"].prior.median == pytest.approx(30.0)
    assert parameters(body)["drug.k"].unit == "1/h"
    doses = vht.Schedule(doses={"drug.dose": vht.Doses([10.0], [100.0])})
    minutes = np.linspace(0.0, 240.0, 13)
    found, slopes = simulate_with_jacobian(body, minutes, free=["drug.lag", "drug.k"], schedule=doses, method=TIGHT)
    since = np.maximum(minutes - 40.0, 0.0) / 60.0
    amount = np.where(minutes > 40.0, 100.0 * np.exp(-0.5 * since), 0.0)
    after = minutes != 40.0
    np.testing.assert_allclose(np.asarray(found.values["drug.A"])[0, after], amount[after], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(
        np.asarray(slopes["drug.A"])[0, after],
        np.stack([0.5 / 60 * amount, -since * amount], 1)[after],
        rtol=1e-6,
        atol=1e-7,
    )

    def rates(t, y):
        A = 100.0 * np.exp(-0.5 * (t - 40.0) / 60.0)
        return [(100.0 * (1.0 - A / (A + 50.0)) - y[0]) / 30.0]

    lowered = solve_ivp(rates, (40.0, 240.0), [100.0], rtol=1e-11, atol=1e-11, t_eval=minutes[minutes >= 40.0]).y[0]
    np.testing.assert_allclose(np.asarray(found.values["pressure.P"])[0, minutes >= 40.0], lowered, rtol=1e-8)


def test_events_of_organs_are_those_of_the_body():
    body = Body({"drug": Drug(), "effect": Effect(), "pressure": Pressure()}, TREATED, time="min")
    assert list(events(body)) == ["drug.low"]
    assert events(body)["drug.low"].direction == "falling"
    start = {"drug.A": [50.0]}
    found = vht.simulate(body, np.array([0.0, 100.0, 110.0, 130.0]), initial=start, method=TIGHT)
    crossing = np.log(50.0 / 20.0) / 0.5 * 60.0  # min: 109.96
    expected = [50.0, 50.0 * np.exp(-50 / 60), *(100.0 * np.exp(-0.5 * (np.array([110.0, 130.0]) - crossing) / 60.0))]
    np.testing.assert_allclose(found.values["drug.A"][0], expected, rtol=1e-8)
    assert found.events["drug.low"].tolist() == [1]


def test_a_body_in_a_body(loop):
    double = Body({"mother": loop, "child": Artery()}, wires={"child.Q": "mother.artery.Q_out"})
    assert "mother.heart.E" in parameters(double)
    assert parameters(double)["mother.artery.R"].default == 1.2
    assert "mother.blood" in conserved(double)
    assert "mother.artery.Q" in inputs(double)
    # the child's states are in the error test too, so that the steps are others
    method = vht.Tsit5(rtol=1e-12, atol=1e-12)
    found = vht.simulate(double, TIMES, twins={"mother.artery.C": [1.0, 1.5]}, method=method)
    whole = vht.simulate(Closed(R=1.2), TIMES, twins={"C": [1.0, 1.5]}, method=method)
    np.testing.assert_allclose(found.values["mother.heart.V"], whole.values["V"], rtol=1e-10)
    check_units(double)


def test_a_steady_state_keeps_what_is_conserved(loop):
    found = vht.steady_state(loop, tolerance=1e-10)
    assert found.ok.all()
    blood = float(found.values["heart.V"][0]) + 1.5 * float(found.values["artery.Pc"][0])
    assert blood == pytest.approx(240.0, rel=1e-8)


def test_a_transformation_of_a_body_s_numbers(loop):
    def pressure(R):
        body = Body({"heart": Heart(), "artery": Artery(R=R)}, wires=LOOP)
        return vht.simulate(body, TIMES, method=TIGHT).values["artery.Pc"][0, -1]

    slope = jax.grad(pressure)(1.2)
    step = 1e-5
    assert slope == pytest.approx((pressure(1.2 + step) - pressure(1.2 - step)) / (2 * step), rel=1e-5)


# ------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.usefixtures("unchecked_annotations")
@pytest.mark.parametrize(
    ("organs", "wires", "message"),
    [
        ({}, {}, "at least one organ"),
        ({"my heart": Heart()}, {}, "An organ's name is a word such as `heart`, but got 'my heart'"),
        ({"heart": Heart}, {}, r"`heart` must be a model, but got its class: write `Heart\(\)`"),
        ({"heart": 3.0}, {}, r"`heart` must be a model \(an instance of an `Organ`\), but got 3.0"),
        ({"a": Artery()}, {"a.q": "a.P"}, r"no input `a\.q` in this body.* Did you mean `a\.Q`\?"),
        ({"a": Artery()}, {"a.Q": "a.Qout"}, r"no output `a\.Qout` in this body.* Did you mean `a\.Q_out`\?"),
        ({"a": Artery()}, {"a.P": "a.Q"}, r"`a\.P` stands where an input should and is an output"),
        ({"a": Artery()}, {"a.Q": "a.P"}, r"`a\.Q` is in mL/s, but its source `a\.P` in mmHg: they measure different"),
        ({"a": Artery()}, {"a.Q": "a.Q_slow"}, r'mL/min.*wire `"a\.Q": converted\("a\.Q_slow"\)`'),
        ({"a": Artery()}, {"a.Q": []}, r"`a\.Q` is wired to nothing"),
        (
            {"h": Heart(), "a": Artery(), "b": Artery()},
            {"h.P": ["a.P", "b.P"]},
            r'only in a port of kind "flow", but `h\.P` is a signal and has 2: `a\.P`, `b\.P`',
        ),
    ],
)
def test_what_is_wrong_is_named(organs, wires, message):
    with pytest.raises(ModelError, match=message):
        Body(organs, wires)


def test_more_mistakes(loop):
    organs = {"heart": Heart(), "artery": Artery()}
    with pytest.raises(ModelError, match=r"no wired input `heart\.p`. Did you mean `heart\.P`\?"):
        Body(organs, LOOP, algebraic={"heart.p": 80.0})
    with pytest.raises(ModelError, match=r"no conserved quantity `heart\.blod`. Did you mean `heart\.blood`\?"):
        Body(organs, LOOP, conserved={"blood": ["heart.blod"]})
    with pytest.raises(ModelError, match=r"no parameter `artery\.r`. Did you mean `artery\.R`\?"):
        vht.Twins(loop, {"artery.r": [1.0]})
    with pytest.raises(ModelError, match="`Heart` is one organ, not a body"):
        parts(Heart())
    with pytest.raises(ModelError, match=r"`Effect` has no states.*join it with other models"):
        vht.simulate(Effect(), TIMES)
    unwired = Body({"drug": Drug(), "pressure": Pressure()}, time="h")
    with pytest.raises(ModelError, match=re.escape("Input `pressure.share` of `Body` is a signal and needs values")):
        vht.simulate(unwired, TIMES)


def test_an_open_input_has_another_default():
    body = Body({"drug": Drug(), "pressure": Pressure()}, time="h", defaults={"pressure.share": 0.5})
    found = vht.simulate(body, TIMES, method=TIGHT)
    np.testing.assert_allclose(found.values["pressure.P"][0], 50.0 + 50.0 * np.exp(-2.0 * TIMES), rtol=1e-8)
    with pytest.raises(ModelError, match=r"no open input `pressure\.shar`. Did you mean `pressure\.share`\?"):
        Body({"drug": Drug(), "pressure": Pressure()}, time="h", defaults={"pressure.shar": 0.5})


def test_gates_stay_gates():
    class Gated(Organ):
        tau: Scalar = param(2.0, "s", "time constant")

        class State(Vars):
            m: Scalar = state(0.0, "1", "gate")
            y: Scalar = state(0.0, "1", "what it drives")

        class In(Vars):
            steady: Scalar = port("1", "where it goes", default=1.0)

        def rates(self, t, x, u):
            return self.State(m=gate(x.m, u.steady, self.tau), y=(x.m - x.y) / self.tau)

    body = Body({"cell": Gated()})
    found = vht.simulate(body, TIMES, method=vht.RushLarsen(rtol=1e-8, atol=1e-8))
    np.testing.assert_allclose(found.values["cell.m"][0], 1.0 - np.exp(-TIMES / 2.0), rtol=1e-6, atol=1e-9)


def test_algebraic_variables_of_organs():
    class Root(Organ):
        class State(Vars):
            y: Scalar = state(1.0, "1", "a state")
            z: Scalar = algebraic(1.0, "1", "its square root")

        tau: Scalar = param(1.0, "s", "time constant")

        def rates(self, t, x, u):
            return self.State(y=-x.y / self.tau, z=x.z * x.z - x.y)

    body = Body({"root": Root()}, time="min")
    found = vht.simulate(body, TIMES / 60.0, method=STIFF)
    np.testing.assert_allclose(found.values["root.z"][0], np.exp(-TIMES / 2.0), rtol=1e-8)
