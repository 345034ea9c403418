"""Periodic states and their derivatives, against closed forms and against pacing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import expm
from systems import Decay, Filter, Oral, filtered

from vht.errors import ModelError, UnitError
from vht.model import (
    Organ,
    Scalar,
    Twins,
    Vars,
    check_units,
    param,
    parameters,
    port,
    quantity,
    state,
    states,
)
from vht.organs.circulation import Circulation
from vht.solve import (
    Doses,
    FixedPointStatus,
    Rodas5P,
    Schedule,
    Signal,
    Status,
    Tsit5,
    periodic_state,
    simulate,
    steady_state,
)

TIGHT = Tsit5(rtol=1e-10, atol=1e-12)
BACKENDS = ["lanes", "xla"]


def close(found, expected, rtol=1e-7, atol=1e-9):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


# ---------------------------------------------------------------------------------------------------- periodic dosing

DAY = 24.0


def oral_periodic(p, schedule, period):
    """`Oral` at the start of a period: what each dose leaves there, summed over all earlier periods (geometric series)."""
    matrix = jnp.array([[-p["ka"], 0.0], [p["ka"], -p["ke"]]])
    into = {"dose": jnp.array([p["F"], 0.0]), "drip": jnp.array([0.0, 1.0])}
    left = jnp.zeros(2)

    def after(t):
        return expm(matrix * t)

    for name, doses in schedule.doses.items():
        for i in range(len(doses.time)):
            begin = doses.time[i] + (p["lag"] if name == "dose" else 0.0)
            begin = begin - period * jnp.floor(begin / period)
            if doses.duration is None or doses.duration[i] == 0.0:
                left = left + after(period - begin) @ into[name] * doses.amount[i]
                continue
            end = begin + doses.duration[i]
            # the response to a constant rate is A^-1 (e^(A t) - 1) b; what runs on after the end is in the next period
            response = (
                after(period - begin) - after(period - end)
                if end < period
                else after(period - begin) - jnp.eye(2) + after(period) - after(2.0 * period - end)
            )
            left = left + jnp.linalg.solve(matrix, response @ into[name]) * doses.amount[i] / doses.duration[i]
    return jnp.linalg.solve(jnp.eye(2) - after(period), left)


def daily():
    """Boluses and infusions; one is late by a lag and one runs on beyond midnight."""
    return Schedule(
        doses={
            "dose": Doses(jnp.array([1.0, 8.0, 23.9]), jnp.array([100.0, 50.0, 30.0])),
            "drip": Doses(jnp.array([0.0, 6.0, 22.0]), jnp.array([10.0, 20.0, 35.0]), jnp.array([0.5, 1.5, 4.0])),
        }
    )


ORAL = {"ka": 1.5, "ke": 0.05, "F": 0.8, "lag": 0.3}


def dosed(given):
    p, schedule, period = given
    found = periodic_state(Oral(**p), period, schedule=schedule, method=TIGHT)
    return jnp.stack([found.values["gut"][0], found.values["central"][0]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_daily_doses(backend):
    found = periodic_state(Oral(**ORAL), DAY, schedule=daily(), method=TIGHT, backend=backend)
    assert found.status[0] == 0 and found.residual[0] <= 1e-10
    exact = oral_periodic(ORAL, daily(), DAY)
    np.testing.assert_allclose([found.values["gut"][0], found.values["central"][0]], exact, rtol=1e-8, atol=1e-9)
    assert found.values["uptake"][0] == pytest.approx(1.5 * found.values["gut"][0])
    # the map is linear: one Jacobian and one step
    assert found.jacobians[0] == 1 and found.iterations[0] <= 5
    assert found.growth[0] == pytest.approx(-0.05, rel=1e-4)


def test_derivatives_of_daily_doses():
    # parameters (one of them a lag), times, amounts, durations and the period itself
    given = ({name: jnp.asarray(value) for name, value in ORAL.items()}, daily(), jnp.asarray(DAY))
    found = jax.jacfwd(dosed)(given)
    expected = jax.jacfwd(lambda g: oral_periodic(*g))(given)
    close(found, expected)


def test_reverse_under_jit_is_the_transpose():
    given = ({name: jnp.asarray(value) for name, value in ORAL.items()}, daily(), jnp.asarray(DAY))
    weight = jnp.array([2.0, 3.0])
    found = jax.jit(jax.grad(lambda g: weight @ dosed(g)))(given)
    close(found, jax.grad(lambda g: weight @ oral_periodic(*g))(given))


def test_a_cohort_under_vmap_and_in_slices():
    ke, amount = jnp.array([0.05, 0.1, 0.4]), jnp.array([1.0, 2.0])

    def level(amount):
        schedule = Schedule(doses={"drip": Doses(jnp.zeros(1), amount[None])})
        return periodic_state(Oral(), 12.0, twins={"ke": ke}, schedule=schedule, method=TIGHT).values["central"]

    fading = np.exp(-12.0 * ke)
    exact = fading / (1.0 - fading)
    np.testing.assert_allclose(jax.vmap(level)(amount), amount[:, None] * exact[None, :], rtol=1e-8, atol=2e-9)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(level))(amount), np.tile(exact, (2, 1)), rtol=1e-7)
    done = []
    schedule = Schedule(doses={"drip": Doses([0.0], [1.0])})
    found = periodic_state(
        Oral(),
        12.0,
        twins=Twins(Oral, {"ke": np.asarray(ke)}, names=["Ada", "Bo", "Cy"]),
        schedule=schedule,
        method=TIGHT,
        slice_size=2,
        progress=lambda *count: done.append(count),
    )
    np.testing.assert_allclose(found.values["central"], exact, rtol=1e-8, atol=2e-9)
    assert done == [(2, 3), (3, 3)] and found.name(2) == "Cy"


# ------------------------------------------------------------------------------------------------------ periodic inputs


def breath(values):
    return Schedule(signals={"u": Signal(jnp.array([0.0, 0.7, 1.5, 3.0]), jnp.append(values, values[0]))})


def test_a_measured_input_that_repeats():
    # u(t) piecewise linear over 3 min: x* = g / (1 - exp(-3 / tau)), with g what a period adds to zero
    def solved(given):
        tau, values = given
        found = periodic_state(Filter(), 3.0, twins={"tau": tau}, schedule=breath(values), method=TIGHT)
        return found.values["x"][0], found.values["gap"][0]

    def exact(given):
        tau, values = given
        signal = breath(values).signals["u"]
        x = filtered(3.0, tau, signal.time, signal.value, "linear", x0=0.0) / (1.0 - jnp.exp(-3.0 / tau))
        return x, values[0] - x

    given = (jnp.asarray(2.0), jnp.array([2.0, 6.0, 3.0]))
    close(solved(given), exact(given), rtol=1e-8)
    close(jax.jacfwd(solved)(given), jax.jacfwd(exact)(given))


class Swing(Organ):
    """``x'' + 2 d x' + w^2 x = a cos(W t)``: a damped oscillator, driven by the clock."""

    w: Scalar = param(2.0, "1/s", "angular frequency")
    d: Scalar = param(0.3, "1/s", "damping")
    a: Scalar = param(1.0, "m/s^2", "amplitude of what drives it")
    T: Scalar = param(2.5, "s", "period of what drives it")
    turn: Scalar = param(2.0 * np.pi, "1", "radians in a turn")

    class State(Vars):
        x: Scalar = state(1.0, "m", "position")
        v: Scalar = state(0.0, "m/s", "velocity")

    def rates(self, t, x, u):
        force = self.a * jnp.cos(self.turn * t / self.T)
        return self.State(x=x.v, v=force - 2.0 * self.d * x.v - self.w * self.w * x.x)


def swing(w, d, a, T, t=0.0):
    W = 2.0 * jnp.pi / T
    near, lag = w * w - W * W, 2.0 * d * W
    x = a / (near**2 + lag**2) * jnp.array([near, lag])  # in and out of phase with the force
    c, s = jnp.cos(W * t), jnp.sin(W * t)
    return jnp.stack([x[0] * c + x[1] * s, W * (x[1] * c - x[0] * s)])


def test_a_driven_oscillator_whose_period_is_a_parameter():
    # the period by name moves with the parameter: so must the derivative
    def solved(p):
        twins = dict(zip("wdaT", p[:4], strict=True))
        found = periodic_state(Swing(), "T", twins=twins, start=p[4], method=TIGHT)
        return jnp.stack([found.values["x"][0], found.values["v"][0]])

    p = jnp.array([2.0, 0.3, 1.3, 2.5, 0.4])
    close(solved(p), swing(*p), rtol=1e-8)
    close(jax.jacfwd(solved)(p), jax.jacfwd(lambda p: swing(*p))(p))


def test_twins_of_different_periods_and_two_periods_in_one():
    T = np.array([1.5, 2.5, 4.0])
    found = periodic_state(Swing(), T, twins={"T": T}, method=TIGHT)
    twice = periodic_state(Swing(), 2.0 * T, twins={"T": T}, method=TIGHT)
    for name, exact in zip(("x", "v"), jax.vmap(lambda T: swing(2.0, 0.3, 1.0, T))(T).T, strict=True):
        np.testing.assert_allclose(found.values[name], exact, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(twice.values[name], exact, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.growth, -0.3, rtol=1e-4)


def test_a_wrong_period_is_told():
    found = periodic_state(Swing(), [2.5, 2.4, 5.0], method=TIGHT)
    assert [FixedPointStatus(s).label for s in found.status] == ["ok", "not_periodic", "ok"]
    assert "give the period of what drives" in found.message(1) and np.isnan(found.values["x"][1])


# ------------------------------------------------------------------------------------------------ conserved quantities


class Tidal(Organ):
    """Two basins that exchange water: its amount stays, how it is shared swings with the clock."""

    k: Scalar = param(0.7, "1/h", "share of the first that flows on")
    l: Scalar = param(0.4, "1/h", "share of the second that flows back")
    s: Scalar = param(0.5, "L/h", "amplitude of the tide")
    T: Scalar = param(6.0, "h", "period of the tide")
    turn: Scalar = param(2.0 * np.pi, "1", "radians in a turn")
    time = "h"

    class State(Vars):
        a: Scalar = state(3.0, "L", "water in the first")
        b: Scalar = state(1.0, "L", "water in the second")

    class Conserved(Vars):
        water: Scalar = quantity("L", "water in both")

    def conserved(self, x):
        return self.Conserved(water=x.a + x.b)

    def rates(self, t, x, u):
        flow = self.k * x.a - self.l * x.b - self.s * jnp.cos(self.turn * t / self.T)
        return self.State(a=-flow, b=flow)


class Leaky(Tidal):
    """The same, without saying what is conserved."""

    class Conserved(Vars):
        pass

    def conserved(self, x):
        return self.Conserved()


def tidal(k, l, s, T, a, b):
    W, total = 2.0 * jnp.pi / T, k + l
    first = l * (a + b) / total + s * total / (total**2 + W**2)
    return jnp.stack([first, a + b - first])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_initial_state_sets_what_is_conserved(backend):
    def solved(p):
        twins, initial = dict(zip("klsT", p[:4], strict=True)), dict(zip("ab", p[4:], strict=True))
        found = periodic_state(Tidal(), "T", twins=twins, initial=initial, method=TIGHT, backend=backend)
        return jnp.stack([found.values["a"][0], found.values["b"][0]])

    p = jnp.array([0.7, 0.4, 0.5, 6.0, 2.0, 3.0])
    close(solved(p), tidal(*p), rtol=1e-8)
    close(jax.jacfwd(solved)(p), jax.jacfwd(lambda p: tidal(*p))(p))
    close(jax.grad(lambda p: solved(p)[0])(p), jax.grad(lambda p: tidal(*p)[0])(p))


def test_what_is_conserved_unsaid_is_told():
    found = periodic_state(Leaky(), "T", twins={"k": [0.7, 0.2]}, method=TIGHT)
    np.testing.assert_array_equal(found.status, FixedPointStatus.SINGULAR)
    assert "declare it in the model's class `Conserved`" in found.failures()[0].message
    assert np.isnan(found.values["a"]).all()
    said = periodic_state(Tidal(), "T", twins={"k": [0.7, 0.2]}, method=TIGHT)
    np.testing.assert_array_equal(said.status, 0)
    np.testing.assert_allclose(said.growth, [-1.1, -0.6], rtol=1e-4)


class Fountain(Tidal):
    """A declared quantity that is not conserved: the first basin is filled from outside."""

    class In(Vars):
        rain: Scalar = port("L/h", "into the first", kind="flow")

    def rates(self, t, x, u):
        flow = self.k * x.a - self.l * x.b
        return self.State(a=u.rain - flow, b=flow)


def test_a_flow_into_what_is_conserved_has_no_steady_state():
    found = steady_state(Fountain(), inputs={"rain": [0.0, 0.01]})
    assert [FixedPointStatus(s).label for s in found.status] == ["ok", "no_convergence"]
    assert found.values["a"][0] == pytest.approx(4.0 * 0.4 / 1.1)


def test_an_inflow_into_what_is_conserved_has_no_periodic_state():
    schedule = Schedule(doses={"rain": Doses([1.0], [[0.0], [0.5]])})
    found = periodic_state(Fountain(), 6.0, schedule=schedule, method=TIGHT, max_periods=40)
    assert [FixedPointStatus(s).label for s in found.status] == ["ok", "no_convergence"]
    assert found.iterations[1] == 40


@pytest.mark.parametrize("seed", range(3))
def test_the_blood_of_the_circulation_is_conserved(seed):
    rng = np.random.default_rng(seed)
    body = Circulation(**{n: v.default * rng.uniform(0.5, 2.0) for n, v in parameters(Circulation).items()})
    names = list(states(Circulation))
    x = dict(zip(names, rng.uniform(-10.0, 150.0, len(names)), strict=True))
    rates = body.rates(jnp.asarray(rng.uniform(0.0, 3.0)), body.State(**x), body.In())
    amount, change = jax.jvp(
        lambda x: body.conserved(body.State(**x)).V_blood, (x,), ({n: getattr(rates, n) for n in names},)
    )
    largest = max(abs(float(getattr(rates, n))) for n in names)
    assert abs(change) < 1e-10 * largest and np.isfinite(amount)


# ------------------------------------------------------------------------------------------------------------- failures


class Unstable(Organ):
    """``x' = k x - a``: rests at ``a / k``, if only just."""

    k: Scalar = param(0.3, "1/h", "growth")
    a: Scalar = param(1.2, "mg/h", "loss")
    time = "h"

    class State(Vars):
        x: Scalar = state(1.0, "mg", "amount")

    def rates(self, t, x, u):
        return self.State(x=self.k * x.x - self.a)


def test_an_unstable_state_is_found_and_said_to_be_one():
    found = periodic_state(Unstable(), 2.0, method=TIGHT)
    assert found.values["x"][0] == pytest.approx(4.0, rel=1e-8)
    assert found.growth[0] == pytest.approx(0.3, rel=1e-4)


class Runaway(Organ):
    """``x' = a + b x^2``: has no state of rest for positive numbers, nor one that repeats."""

    a: Scalar = param(1.0, "m/s", "inflow")
    b: Scalar = param(1.0, "1/(s*m)", "growth")

    class State(Vars):
        x: Scalar = state(0.0, "m", "what runs away")

    def rates(self, t, x, u):
        return self.State(x=self.a + self.b * x.x * x.x)


def test_a_twin_without_a_periodic_state_ends_with_a_status_and_harms_no_other():
    # with a < 0 there is one, at -sqrt(-a / b)
    found = periodic_state(Runaway(), 1.0, twins={"a": [-4.0, 1.0, np.nan, -9.0]}, method=TIGHT)
    np.testing.assert_array_equal(found.ok, [True, False, False, True])
    np.testing.assert_allclose(found.values["x"], [-2.0, np.nan, np.nan, -3.0], rtol=1e-8)
    assert FixedPointStatus(found.status[2]).label == "non_finite"
    assert {f.index for f in found.failures()} == {1, 2}
    assert "The simulation that the search needs failed" in found.message(2)


def test_a_failed_twin_does_not_spoil_the_gradient_of_the_others():
    def total(b):
        twins = {"a": jnp.array([-4.0, 1.0, jnp.nan])}
        found = periodic_state(Runaway(b=b), 1.0, twins=twins, method=TIGHT)
        return jnp.where(found.status == 0, found.values["x"], 0.0).sum()

    # x* = -sqrt(-a / b)
    assert jax.grad(total)(1.0) == pytest.approx(1.0, rel=1e-7)


def test_budget_and_pacing():
    found = periodic_state(Swing(), "T", method=TIGHT, max_periods=3)
    assert found.status[0] == FixedPointStatus.NO_CONVERGENCE and found.iterations[0] == 3
    # a start on the periodic state takes one period to see, and one to tell that it is the only one
    x, v = swing(2.0, 0.3, 1.0, 2.5)
    found = periodic_state(Swing(), "T", initial={"x": x, "v": v}, method=TIGHT, tolerance=1e-6)
    assert (found.iterations[0], found.jacobians[0]) == (2, 1)
    np.testing.assert_array_equal(periodic_state(Decay(), 1.0, twins={"k": np.zeros(0)}).status, np.zeros(0))


def test_statuses_are_those_of_a_solve():
    for status in Status:
        assert FixedPointStatus[status.name] == status
    assert len({status.message for status in FixedPointStatus}) == len(FixedPointStatus)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"period": "P"}, ModelError, "`Oral` has no parameter for `period` `P`"),
        ({"period": -1.0}, ValueError, "`period` must be a positive number, but got -1"),
        ({"period": [[1.0]]}, ValueError, "`period` must have the shape"),
        ({"period": 12.0, "schedule": daily()}, ValueError, "before its end, but got 23.9 in `dose`"),
        ({"period": 24.0, "tolerance": 0.0}, ValueError, "`tolerance` must be a positive number"),
        ({"period": 24.0, "max_periods": 0}, ValueError, "`max_periods` must be at least 1"),
        ({"period": 24.0, "initial": {"gutt": 1.0}}, ModelError, "Did you mean `gut`"),
    ],
)
def test_mistakes_are_told(arguments, error, message):
    with pytest.raises(error, match=message):
        periodic_state(Oral(), **arguments)


def test_a_dose_outside_the_period_inside_a_transformation_fails_the_twin():
    @jax.jit
    def status(time):
        return periodic_state(Oral(), 24.0, schedule=Schedule(doses={"drip": Doses(time[None], jnp.ones(1))})).status[0]

    assert [int(status(jnp.asarray(t))) for t in (3.0, 24.0)] == [0, FixedPointStatus.NON_FINITE]


def test_second_derivatives_are_refused():
    with pytest.raises(NotImplementedError, match="A solve has first derivatives only"):
        jax.hessian(lambda k: periodic_state(Unstable(k=k), 1.0).values["x"][0])(0.3)


def test_labels():
    found = periodic_state(Oral(**ORAL), DAY, schedule=daily(), observe=["central"])
    table = found.to_xarray()
    assert table["central"].attrs["units"] == "mg" and table["growth"].attrs["units"] == "1/h"
    assert table["iterations"].attrs["long_name"] == "periods simulated" and table.attrs["kind"] == "periodic"


# ---------------------------------------------------------------------------------------------------------- circulation


def test_the_circulation_as_by_pacing_two_hundred_beats():
    model, method = Circulation(), Tsit5(rtol=1e-8, atol=1e-8)
    twins = Twins.sample(model, 4, seed=3)
    period = twins.columns["T_HB"]
    names = list(states(Circulation))
    found = periodic_state(model, "T_HB", twins=twins, method=method)
    np.testing.assert_array_equal(found.status, 0)
    long = Tsit5(rtol=1e-9, atol=1e-9, max_steps=1_000_000)
    paced: Any = simulate(model, 200.0 * period[:, None], twins=twins, observe=[*names, "p_LV"], method=long).values
    for name, value in paced.items():
        np.testing.assert_allclose(found.values[name], value[:, 0], rtol=1e-6, atol=1e-6)
    assert found.iterations.max() < 15 and (found.growth < 0.0).all()


def test_derivatives_of_the_circulation_by_central_differences():
    # a parameter that moves the period, one that moves the volume of blood, one that does neither, and an initial value
    model, method = Circulation(), Tsit5(rtol=1e-9, atol=1e-9)

    def solved(p):
        columns = {"T_HB": p[0], "C_VEN_SYS": p[1], "R_AR_SYS": p[2]}
        found = periodic_state(model, "T_HB", twins=columns, initial={"p_VEN_SYS": p[3]}, method=method)
        return jnp.stack([found.values[name][0] for name in ("V_LV", "p_AR_SYS", "p_VEN_PUL", "p_RA")])

    p, h = np.array([0.8, 60.0, 0.9, 30.0]), 1e-4
    slopes = jax.jacfwd(solved)(p)
    both = np.stack([solved(p * (1.0 + sign * h * row)) for row in np.eye(4) for sign in (1.0, -1.0)])
    differences = (both[0::2] - both[1::2]).T / (2.0 * h)
    np.testing.assert_allclose(slopes * p[None, :], differences, rtol=1e-5, atol=1e-4)


# ------------------------------------------------------------------------------------------------ methods, declarations


def test_the_stiff_method_finds_the_same():
    found = periodic_state(Swing(), "T", method=Rodas5P(rtol=1e-8, atol=1e-8))
    np.testing.assert_allclose([found.values["x"][0], found.values["v"][0]], swing(2.0, 0.3, 1.0, 2.5), atol=1e-8)


def test_outputs_of_a_failed_twin_do_not_spoil_the_gradient_of_the_others():
    def total(ka):
        twins = {"ke": jnp.array([0.1, jnp.nan])}
        schedule = Schedule(doses={"dose": Doses(jnp.zeros(1), jnp.full(1, 10.0))})
        found = periodic_state(Oral(ka=ka), 12.0, twins=twins, schedule=schedule, method=TIGHT)
        return jnp.where(found.status == 0, found.values["uptake"], 0.0).sum()

    def exact(ka):
        left = jnp.exp(-ka * (12.0 - 0.3)) / (1.0 - jnp.exp(-12.0 * ka))
        return ka * 0.8 * 10.0 * left

    assert jax.grad(total)(0.2) == pytest.approx(float(jax.grad(exact)(0.2)), rel=1e-6)


class Forgotten(Tidal):
    conserved = Organ.conserved


class WrongUnit(Tidal):
    class Conserved(Vars):
        water: Scalar = quantity("mL", "water in both")

    def conserved(self, x):
        return self.Conserved(water=x.a + x.b)


class NoQuantity(Tidal):
    class Conserved(Vars):
        water: Scalar = port("L", "water in both")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Forgotten, ModelError, r"must define `conserved\(self, x\)`"),
        (WrongUnit, UnitError, "the conserved quantity `water` must be in mL, but is in L"),
        (NoQuantity, ModelError, r"declared with `quantity\(unit, meaning\)`"),
    ],
)
def test_declarations_of_conserved_quantities_are_checked(model, error, message):
    with pytest.raises(error, match=message):
        check_units(model)


def test_events_of_the_state_are_not_overlooked():
    from hybrid_systems import Ball

    with pytest.raises(ModelError, match="has events of the state"):
        steady_state(Ball())
