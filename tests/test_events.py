"""Events of the state against closed forms: where they lie, what they do, their derivatives, and what ends in a storm."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hybrid_systems import Ball, BallBothWays, BallOnFloor, Thermostat, ball, thermostat
from jax.core import Tracer
from scipy.integrate import solve_ivp

from vht.model import Organ, Scalar, Vars, algebraic, event, gate, param, port, state
from vht.solve import (
    Doses,
    Rodas5P,
    RushLarsen,
    Schedule,
    Signal,
    Tsit5,
    periodic_state,
    simulate,
    simulate_with_jacobian,
)

METHODS = [Tsit5(rtol=1e-10, atol=1e-12), Rodas5P(rtol=1e-10, atol=1e-12)]
both_methods = pytest.mark.parametrize("method", METHODS, ids=["tsit5", "rodas5p"])


@pytest.mark.parametrize("model", [Ball, BallOnFloor, BallBothWays])
@both_methods
def test_a_ball_bounces_with_all_derivatives(model, method):
    times = np.array([0.2, 0.6, 1.1, 1.9, 2.6])
    twins = {"g": np.array([9.81, 4.0]), "e": np.array([0.8, 0.95])}
    found, jacobian = simulate_with_jacobian(
        model(), times, free=["g", "e", "initial.h"], twins=twins, initial={"h": np.array([1.0, 0.6])}, method=method
    )
    assert found.ok.all()
    for i, given in enumerate([(9.81, 0.8, 1.0), (4.0, 0.95, 0.6)]):
        expected = np.array([ball(t, *given) for t in times])
        slopes = np.array([jax.jacfwd(lambda q, t=t: jnp.stack(ball(t, *q)[:2]))(jnp.array(given)) for t in times])
        np.testing.assert_allclose(found.values["h"][i], expected[:, 0], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.values["v"][i], expected[:, 1], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(jacobian["h"][i], slopes[:, 0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(jacobian["v"][i], slopes[:, 1], rtol=1e-8, atol=1e-8)
        assert found.events["floor"][i] == expected[-1, 2]


@pytest.mark.parametrize("model", [Ball, BallOnFloor, BallBothWays])
@both_methods
def test_bounces_without_end_are_a_storm_and_nothing_falls_through_the_floor(model, method):
    share = np.array([1.0, 0.9, 0.5, 0.1, 1e-3])
    found = simulate(model(), np.linspace(0.0, 10.0, 41), twins={"e": share}, method=method)
    assert found.ok.tolist() == [True] + [False] * 4
    assert [f.status for f in found.failures()] == ["event_storm"] * 4
    assert "hysteresis" in found.message(1)
    # it comes to rest at a known time
    rest = np.sqrt(2.0 / 9.81) * (1.0 + share[1:]) / (1.0 - share[1:])
    for row, end in zip(found.values["h"][1:], rest, strict=True):
        known = np.isfinite(row)
        assert np.nanmin(row) > -1e-9 and (known == (found.times <= end)).all()


def thermostat_reference(times, given):
    def both(q, t):
        return jnp.stack(thermostat(t, *q))

    values = np.array([both(jnp.array(given), t) for t in times])
    slopes = np.array([jax.jacfwd(functools.partial(both, t=t))(jnp.array(given)) for t in times])
    return values, slopes


GIVEN = (0.7, 1.3, 1.0, 2.0, 1.2)
FREE = ["a", "k", "low", "high", "initial.x"]


@both_methods
def test_a_controller_with_two_thresholds(method):
    times = np.array([0.5, 1.3, 2.4, 3.0, 4.5, 6.1])
    found, jacobian = simulate_with_jacobian(Thermostat(), times, free=FREE, method=method)
    values, slopes = thermostat_reference(times, GIVEN)
    assert found.ok.all()
    assert {name: count.tolist() for name, count in found.events.items()} == {"warm": [3], "cold": [2]}
    for j, name in enumerate(("x", "since")):
        np.testing.assert_allclose(found.values[name][0], values[:, j], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(jacobian[name][0], slopes[:, j], rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("unchecked_annotations")
def test_lanes_do_what_jax_does():
    backends: tuple[Any, ...] = ("lanes", "vmap")
    (lanes, mine), (vmapped, theirs) = (
        simulate_with_jacobian(
            Thermostat(), np.array([1.3, 2.4]), free=["high"], method=METHODS[0], observe=["x"], backend=backend
        )
        for backend in backends
    )
    assert lanes.steps.tolist() == vmapped.steps.tolist()
    np.testing.assert_allclose(lanes.values["x"], vmapped.values["x"], rtol=1e-11)
    np.testing.assert_allclose(mine["x"], theirs["x"], rtol=1e-10)


@pytest.mark.parametrize("method", [Tsit5, Rodas5P])
def test_events_are_located_to_the_tolerance(method):
    times = np.array([6.1])
    exact = thermostat_reference(times, GIVEN)[0][0, 1]
    for rtol in (1e-4, 1e-7, 1e-10):
        found = simulate(Thermostat(), times, method=method(rtol=rtol, atol=1e-3 * rtol), observe=["since"])
        # five switches, each moved by the errors before
        assert 0.0 < abs(found.values["since"][0, 0] - exact) < 20.0 * rtol


def test_float32_and_steps_of_fixed_size():
    times = np.array([1.3, 2.4, 4.5])
    values, _ = thermostat_reference(times, GIVEN)
    single = simulate(Thermostat(), times, method=Tsit5(rtol=1e-4, atol=1e-5, dtype="float32"))
    assert single.ok.all() and single.values["x"].dtype == np.float32
    np.testing.assert_allclose(single.values["x"][0], values[:, 0], rtol=1e-3)
    fixed, jacobian = simulate_with_jacobian(Thermostat(), times, free=FREE, method=Tsit5(step=0.02))
    np.testing.assert_allclose(fixed.values["x"][0], values[:, 0], rtol=1e-7)
    np.testing.assert_allclose(jacobian["x"][0], thermostat_reference(times, GIVEN)[1][:, 0], rtol=1e-5, atol=1e-5)


def test_transformations():
    times = np.array([2.4, 4.5])

    def loss(q, x0):
        found = simulate(Thermostat(), times, twins={"high": q}, initial={"x": x0}, method=METHODS[0], observe=["x"])
        return jnp.sum(found.values["x"] ** 2)

    def exact(q, x0):
        return sum(thermostat(t, 0.7, 1.3, 1.0, q, x0)[0] ** 2 for t in times)

    found = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.array(2.0), jnp.array(1.2))
    np.testing.assert_allclose(found, jax.grad(exact, argnums=(0, 1))(2.0, 1.2), rtol=1e-7)
    highs = jnp.array([1.9, 2.0, 2.1])
    found = jax.vmap(jax.grad(loss), in_axes=(0, None))(highs, jnp.array(1.2))
    np.testing.assert_allclose(found, [jax.grad(exact)(high, 1.2) for high in highs], rtol=1e-7)


# ------------------------------------------------------------------------------------------------- schedules, signals


class Rescue(Organ):
    """A drug decays; once its level is too low, an infusion starts."""

    k: Scalar = param(0.8, "1/h", "elimination")
    low: Scalar = param(0.9, "mg", "level that starts the infusion")
    r: Scalar = param(0.3, "mg/h", "infusion")
    time: ClassVar[str] = "h"

    class State(Vars):
        x: Scalar = state(0.0, "mg", "drug")
        on: Scalar = state(0.0, "1", "infusion runs")

    class In(Vars):
        dose: Scalar = port("mg/h", "doses", kind="flow")

    class Events(Vars):
        low: Scalar = event("mg", "level over the threshold", direction="falling")

    def rates(self, t, x, u):
        return self.State(x=u.dose + self.r * x.on - self.k * x.x, on=0.0)

    def crossings(self, t, x, u):
        return self.Events(low=x.x - self.low)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, on=1.0)


@both_methods
def test_an_event_whose_time_hangs_on_a_dose(method):
    times = np.array([0.5, 1.5, 3.5, 5.0])

    def solved(q):
        when, amount, k, low = q
        doses = Doses(when[None], amount[None])
        found = simulate(
            Rescue(), times, twins={"k": k, "low": low}, schedule=Schedule(doses={"dose": doses}), method=method
        )
        return found.values["x"][0]

    def exact(q):
        when, amount, k, low = q
        start = when + jnp.log(amount / low) / k
        rest = 0.3 / k
        after = rest + (low - rest) * jnp.exp(-k * (times - start))
        return jnp.where(times < when, 0.0, jnp.where(times < start, amount * jnp.exp(-k * (times - when)), after))

    q = tuple(map(jnp.array, (1.0, 2.5, 0.8, 0.9)))
    np.testing.assert_allclose(solved(q), exact(q), rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(jax.jacfwd(solved)(q), jax.jacfwd(exact)(q), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-8)


class Chain(Organ):
    """A level that rises turns on a pump, which by an event of its own starts a clock and notes the level."""

    a: Scalar = param(0.5, "L/s", "inflow")
    high: Scalar = param(2.0, "L", "level that starts the pump")
    q: Scalar = param(0.8, "L/s", "pump")

    class State(Vars):
        x: Scalar = state(1.0, "L", "level")
        pump: Scalar = state(0.0, "1", "pump runs")
        began: Scalar = state(0.0, "s", "when it started")
        noted: Scalar = state(0.0, "L", "level then")

    class In(Vars):
        drink: Scalar = port("L/s", "what is poured in", kind="flow")

    class Events(Vars):
        pumping: Scalar = event("1", "the pump runs", direction="rising")
        high: Scalar = event("L", "level over the threshold", direction="rising")

    def rates(self, t, x, u):
        return self.State(x=self.a + u.drink - self.q * x.pump, pump=0.0, began=0.0, noted=0.0)

    def crossings(self, t, x, u):
        return self.Events(pumping=x.pump - 0.5, high=x.x - self.high)

    def after(self, event, t, x, u):
        if event == "high":
            return dataclasses.replace(x, pump=1.0)
        return dataclasses.replace(x, began=t, noted=x.x)


@both_methods
@pytest.mark.parametrize("poured", [0.2, 1.7], ids=["crossed after the dose", "crossed by the dose"])
def test_jumps_across_a_threshold_are_events_too(method, poured):
    # by a dose, and by the reset of another event
    times = np.array([0.5, 0.8, 3.0])

    def solved(q):
        when, amount, a, high, begin = q
        schedule = Schedule(doses={"drink": Doses(when[None], amount[None])})
        twins = {"a": a, "high": high}
        found = simulate(Chain(), times, twins=twins, start=begin, schedule=schedule, method=method)
        assert isinstance(when, Tracer) or {k: v.tolist() for k, v in found.events.items()} == {
            "pumping": [1],
            "high": [1],
        }
        return jnp.stack([found.values[name][0] for name in ("x", "began", "noted")], axis=1)

    def exact(q):
        when, amount, a, high, begin = q
        start = when if poured > 1.0 else begin + (high - amount - 1.0) / a
        noted = 1.0 + a * (when - begin) + amount if poured > 1.0 else high
        x = 1.0 + a * (times - begin) + jnp.where(times > when, amount, 0.0) - 0.8 * jnp.maximum(times - start, 0.0)
        on = times > start
        return jnp.stack([x, jnp.where(on, start, 0.0), jnp.where(on, noted, 0.0)], axis=1)

    q = tuple(map(jnp.array, (0.7, poured, 0.5, 2.0, 0.1)))
    np.testing.assert_allclose(solved(q), exact(q), rtol=1e-9, atol=1e-10)
    for mine, theirs in zip(jax.jacfwd(solved)(q), jax.jacfwd(exact)(q), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8)


class Watch(Organ):
    """What happens while an input is above a threshold that moves with time."""

    c: Scalar = param(1.0, "mL", "threshold at time 0")
    drift: Scalar = param(0.2, "mL/s", "its rise")

    class State(Vars):
        above: Scalar = state(0.0, "1", "input is above")
        total: Scalar = state(0.0, "s", "for how long so far")

    class In(Vars):
        s: Scalar = port("mL", "signal")

    class Events(Vars):
        passed: Scalar = event("mL", "input over threshold")

    def rates(self, t, x, u):
        return self.State(above=0.0, total=x.above)

    def crossings(self, t, x, u):
        return self.Events(passed=u.s - self.c - self.drift * t)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, above=1.0 - x.above)


@both_methods
def test_an_event_that_hangs_on_an_input_and_on_time(method):
    # up along a slope, down at a jump: the signal's own knot
    def solved(q):
        knots, values, c, drift = q
        schedule = Schedule(signals={"s": Signal(knots, values)})
        found = simulate(
            Watch(),
            np.array([5.0]),
            twins={"c": c, "drift": drift},
            schedule=schedule,
            observe=["total"],
            method=method,
        )
        return found.values["total"][0, 0]

    def exact(q):
        (t0, t1, _, t3), (v0, v1, v2, v3), c, drift = q
        slope = (v1 - v0) / (t1 - t0)
        del v2, v3
        return t3 - (c - v0 + slope * t0) / (slope - drift)

    knots, values = jnp.array([0.5, 2.0, 3.0, 3.0]), jnp.array([0.0, 2.5, 3.5, -1.0])
    q = (knots, values, jnp.array(1.0), jnp.array(0.2))
    np.testing.assert_allclose(solved(q), exact(q), rtol=1e-10)
    # the two knots at one time: their order must not change, so they do not move apart
    mine, theirs = jax.jacfwd(solved)(q), jax.jacfwd(exact)(q)
    np.testing.assert_allclose(mine[0][:2], theirs[0][:2], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(mine[0][2:].sum(), theirs[0][2:].sum(), rtol=1e-8)
    for a, b in zip(mine[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


# -------------------------------------------------------------------------------------------------------- valves, DAE


class Ventricle(Organ):
    """Fills an artery through a valve, which opens and closes at events."""

    R: Scalar = param(0.05, "mmHg*s/mL", "resistance of the valve")
    C: Scalar = param(1.5, "mL/mmHg", "compliance of the artery")
    out: Scalar = param(1.0, "mmHg*s/mL", "resistance of the periphery")
    top: Scalar = param(120.0, "mmHg", "top pressure")
    w: Scalar = param(6.0, "1/s", "angular frequency")

    class State(Vars):
        P: Scalar = state(80.0, "mmHg", "pressure of the artery")
        open: Scalar = state(0.0, "1", "valve is open")

    class Events(Vars):
        opens: Scalar = event("mmHg", "pressure over the valve", direction="rising")
        closes: Scalar = event("mmHg", "pressure over the valve", direction="falling")

    def push(self, t, x):
        return self.top * jnp.sin(self.w * t) - x.P

    def rates(self, t, x, u):
        return self.State(P=(x.open * self.push(t, x) / self.R - x.P / self.out) / self.C, open=0.0)

    def crossings(self, t, x, u):
        return self.Events(opens=self.push(t, x), closes=self.push(t, x))

    def after(self, event, t, x, u):
        return dataclasses.replace(x, open=1.0 if event == "opens" else 0.0)


@both_methods
def test_a_valve_against_scipy(method):
    times = np.array([0.3, 1.0, 2.0, 3.0])

    def reference(R):
        def rates(t, P):
            return (np.maximum(120.0 * np.sin(6.0 * t) - P, 0.0) / R - P) / 1.5

        found = solve_ivp(rates, (0.0, 3.0), [80.0], "LSODA", times, rtol=1e-11, atol=1e-11, max_step=0.01)
        return found.y[0]

    found, jacobian = simulate_with_jacobian(Ventricle(), times, free=["R"], observe=["P"], method=method)
    assert {name: count.tolist() for name, count in found.events.items()} == {"opens": [3], "closes": [3]}
    np.testing.assert_allclose(found.values["P"][0], reference(0.05), rtol=1e-7)
    slope = (reference(0.0501) - reference(0.0499)) / 2e-4
    np.testing.assert_allclose(jacobian["P"][0, :, 0], slope, rtol=1e-4)


def test_a_period_with_events():
    period = 2.0 * np.pi / 6.0
    paced, jacobian = simulate_with_jacobian(
        Ventricle(), np.array([30.0 * period]), free=["R"], observe=["P"], method=METHODS[0]
    )
    assert paced.events["opens"] == 30

    def found(R):
        return periodic_state(Ventricle(), period, twins={"R": R}, method=METHODS[0]).values["P"][0]

    value, slope = jax.value_and_grad(found)(jnp.array(0.05))
    np.testing.assert_allclose(value, paced.values["P"][0, 0], rtol=1e-8)
    np.testing.assert_allclose(slope, jacobian["P"][0, 0, 0], rtol=1e-6)


class Channel(Organ):
    """A gate that opens, and closes from a threshold on."""

    tau: Scalar = param(0.5, "s", "time constant")
    top: Scalar = param(0.6, "1", "where it turns")

    class State(Vars):
        n: Scalar = state(0.0, "1", "gate")
        target: Scalar = state(1.0, "1", "where it tends")
        turned: Scalar = state(0.0, "s", "when it turned")

    class Events(Vars):
        turns: Scalar = event("1", "gate over the threshold", direction="rising")

    def rates(self, t, x, u):
        return self.State(n=gate(x.n, x.target, self.tau), target=0.0, turned=0.0)

    def crossings(self, t, x, u):
        return self.Events(turns=x.n - self.top)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, target=0.0, turned=t)


@pytest.mark.parametrize(
    "method", [RushLarsen(rtol=1e-9, atol=1e-12), RushLarsen(step=0.05)], ids=["adaptive", "fixed"]
)
def test_exponential_steps_are_exact_around_an_event(method):
    times = np.array([0.3, 1.0])

    def exact(q):
        tau, top = q
        turned = -tau * jnp.log1p(-top)
        n = jnp.where(times < turned, 1.0 - jnp.exp(-times / tau), top * jnp.exp(-(times - turned) / tau))
        return jnp.stack([n, jnp.where(times < turned, 0.0, turned)])

    q = jnp.array([0.5, 0.6])
    found, jacobian = simulate_with_jacobian(Channel(), times, free=["tau", "top"], method=method)
    expected, slopes = exact(q), jax.jacfwd(exact)(q)
    for j, name in enumerate(("n", "turned")):
        np.testing.assert_allclose(found.values[name][0], expected[j], rtol=1e-12)
        np.testing.assert_allclose(jacobian[name][0], slopes[j], rtol=1e-11, atol=1e-12)


class Tank(Organ):
    """Runs out until the flow, an algebraic variable, is low: then a valve closes, and the flow jumps to its new value."""

    k: Scalar = param(0.9, "1/s", "opening of the outlet")
    q: Scalar = param(0.4, "L/s", "flow at which it closes")
    leak: Scalar = param(0.1, "1/s", "what the closed valve lets through")

    class State(Vars):
        V: Scalar = state(2.0, "L", "volume")
        F: Scalar = algebraic(1.0, "L/s", "flow")
        open: Scalar = state(1.0, "1", "valve is open")
        closed: Scalar = state(0.0, "s", "when it closed")

    class Events(Vars):
        low: Scalar = event("L/s", "flow over the threshold", direction="falling")

    def rates(self, t, x, u):
        opening = jnp.where(x.open > 0.5, self.k, self.leak)
        return self.State(V=-x.F, F=x.F - opening * x.V, open=0.0, closed=0.0)

    def crossings(self, t, x, u):
        return self.Events(low=x.F - self.q)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, open=0.0, closed=t)


def test_algebraic_variables_after_an_event():
    times = np.array([0.5, 2.5])
    free = ["k", "q", "leak", "initial.V"]

    def exact(q):
        k, low, leak, V0 = q
        closed = jnp.log(k * V0 / low) / k
        left = low / k * jnp.exp(-leak * (times - closed))
        open_ = V0 * jnp.exp(-k * times)
        early = times < closed
        return jnp.stack(
            [jnp.where(early, open_, left), jnp.where(early, k * open_, leak * left), jnp.where(early, 0.0, closed)]
        )

    q = jnp.array([0.9, 0.4, 0.1, 2.0])
    expected, slopes = exact(q), jax.jacfwd(exact)(q)
    found, jacobian = simulate_with_jacobian(Tank(), times, free=free, method=METHODS[1])
    for j, name in enumerate(("V", "F", "closed")):
        np.testing.assert_allclose(found.values[name][0], expected[j], rtol=1e-9)
        np.testing.assert_allclose(jacobian[name][0], slopes[j], rtol=1e-7, atol=1e-9)


class Torn(Tank):
    """After the event there is no flow that satisfies its equation."""

    class Events(Vars):
        low: Scalar = event("L", "volume over a threshold", direction="falling")

    def rates(self, t, x, u):
        return self.State(V=-x.F, F=x.F * x.F + (0.5 - x.open) * self.q * self.q, open=0.0, closed=0.0)

    def crossings(self, t, x, u):
        return self.Events(low=x.V - self.q / self.k)


def test_no_values_of_algebraic_variables_after_an_event():
    found = simulate(Torn(), np.linspace(0.0, 20.0, 21), method=METHODS[1])
    (failure,) = found.failures()
    assert failure.status == "no_initial_value" and failure.message.startswith("`F`: ")
    # F is q / sqrt(2): so long until V is q / k
    end = (2.0 - 0.4 / 0.9) / (0.4 / np.sqrt(2.0))
    np.testing.assert_array_equal(np.isfinite(found.values["V"][0]), found.times < end)
