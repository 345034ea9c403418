"""Events of the state at the edges: at zero, at saves, doses and ends, in storms and without a value; and what is refused."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hybrid_systems import Ball

from vht.errors import ModelError, UnitError
from vht.model import Organ, Scalar, Vars, check_units, event, events, param, port, state
from vht.solve import (
    Diffrax,
    Doses,
    Rodas5P,
    Schedule,
    Tsit5,
    simulate,
    simulate_with_jacobian,
)
from vht.solve.crossings import locate
from vht.solve.device import Place

METHODS = [Tsit5(rtol=1e-10, atol=1e-12), Rodas5P(rtol=1e-10, atol=1e-12)]
both_methods = pytest.mark.parametrize("method", METHODS, ids=["tsit5", "rodas5p"])


class Wave(Organ):
    """An angle that turns, and its sine with an offset."""

    w: Scalar = param(1.0, "1/s", "angular frequency")
    offset: Scalar = param(0.0, "1", "of the sine")

    class State(Vars):
        a: Scalar = state(0.0, "1", "angle")
        up: Scalar = state(0.0, "s", "last time of up")

    class Events(Vars):
        up: Scalar = event("1", "sine", direction="rising")
        down: Scalar = event("1", "sine", direction="falling")
        any: Scalar = event("1", "sine", direction="both")
        late: Scalar = event("s", "time over a time of the schedule")

    def rates(self, t, x, u):
        return self.State(a=self.w, up=0.0)

    def crossings(self, t, x, u):
        sine = jnp.sin(x.a) - self.offset
        return self.Events(up=sine, down=sine, any=sine, late=t - t)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, up=t) if event == "up" else x


@both_methods
def test_directions_and_values_that_start_at_zero(method):
    # the angle is linear in time: steps span many turns but for `max_step`
    method = dataclasses.replace(method, max_step=1.5)
    offsets = np.array([0.0, 0.0, 0.5, 2.0])
    found = simulate(
        Wave(),
        np.array([0.0, 9.0]),
        twins={"offset": offsets},
        initial={"a": np.array([0.0, 1.0, 0.0, 0.0])},
        method=method,
    )
    # from 0 to 9 (the second: from 1 to 10) the sine is 0 at 3.14, 6.28 (9.42); a first one at 0 leaves it at once
    assert found.events["up"].tolist() == [2, 1, 2, 0]
    assert found.events["down"].tolist() == [1, 2, 2, 0]
    assert found.events["any"].tolist() == [3, 3, 4, 0]
    assert found.events["late"].tolist() == [0, 0, 0, 0]
    expected = [2.0 * np.pi, 2.0 * np.pi - 1.0, 2.0 * np.pi + np.arcsin(0.5), 0.0]
    np.testing.assert_allclose(found.values["up"][:, 1], expected, atol=1e-9)


@both_methods
def test_a_value_that_crosses_and_returns_within_a_step(method):
    # solved exactly by either method, whose steps grow until one spans all: top of the flight a little over 0
    class Throw(Ball):
        class Events(Vars):
            up: Scalar = event("m", "height", direction="rising")
            down: Scalar = event("m", "height", direction="falling")

        def crossings(self, t, x, u):
            return self.Events(up=x.h, down=x.h)

        def after(self, event, t, x, u):
            return x

    found = simulate(Throw(g=1.0), np.array([60.0]), initial={"h": -190.0, "v": 20.0}, method=method)
    # v^2 / (2 g) = 200: above 0 from 20 - sqrt(20) to 20 + sqrt(20)
    assert found.events["up"] == 1 and found.events["down"] == 1
    assert found.steps[0] < 60


class Clock(Organ):
    """Doses, and events at known times: what comes first?"""

    T: Scalar = param(2.0, "s", "time of the events")

    class State(Vars):
        x: Scalar = state(1.0, "mg", "doses and what events make of them")
        n: Scalar = state(0.0, "1", "events so far")

    class In(Vars):
        dose: Scalar = port("mg/s", "doses", kind="flow")

    class Events(Vars):
        double: Scalar = event("s", "time over T", direction="rising")
        same: Scalar = event("s", "time over T", direction="rising")

    def rates(self, t, x, u):
        return self.State(x=u.dose, n=0.0)

    def crossings(self, t, x, u):
        return self.Events(double=t - self.T, same=t - self.T)

    def after(self, event, t, x, u):
        return self.State(x=2.0 * x.x, n=x.n + 1.0) if event == "double" else self.State(x=x.x, n=x.n + 10.0)


@both_methods
def test_events_at_the_times_of_saves_doses_start_and_end(method):
    when = np.array([2.0, 3.0, 0.0, 5.0, 6.0])
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    found, jacobian = simulate_with_jacobian(
        Clock(),
        times,
        free=["T"],
        twins={"T": when},
        schedule=Schedule(doses={"dose": Doses(np.array([3.0]), np.array([5.0]))}),
        method=method,
    )
    assert found.ok.all()
    # a save at the time of an event gives the value before it; a dose at that time comes first, as the event is not yet over
    assert found.values["n"].tolist() == [
        [0.0, 0.0, 0.0, 11.0, 11.0, 11.0],
        [0.0, 0.0, 0.0, 0.0, 11.0, 11.0],
        [0.0, 11.0, 11.0, 11.0, 11.0, 11.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    np.testing.assert_allclose(found.values["x"][:, -1], [7.0, 12.0, 7.0, 6.0, 6.0], rtol=1e-12)
    np.testing.assert_array_equal(jacobian["x"], 0.0)


class Chatter(Organ):
    """Is pushed back whenever it passes its threshold."""

    a: Scalar = param(1.0, "m/s", "speed")

    class State(Vars):
        x: Scalar = state(-1.0, "m", "place")
        back: Scalar = state(0.0, "1", "goes back")

    class Events(Vars):
        over: Scalar = event("m", "place", direction="rising")
        under: Scalar = event("m", "place", direction="falling")

    def rates(self, t, x, u):
        return self.State(x=self.a * (1.0 - 2.0 * x.back), back=0.0)

    def crossings(self, t, x, u):
        return self.Events(over=x.x, under=x.x)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, back=1.0 if event == "over" else 0.0)


@both_methods
def test_chatter_is_a_storm_and_leaves_other_twins_alone(method):
    found = simulate(Chatter(), np.array([0.5, 2.0]), twins={"a": np.array([1.0, 0.1])}, method=method)
    assert [(f.index, f.status) for f in found.failures()] == [(0, "event_storm")]
    np.testing.assert_allclose(found.values["x"], [[-0.5, np.nan], [-0.95, -0.8]], rtol=1e-9)


@both_methods
def test_a_first_step_is_one_that_the_clock_can_tell(method):
    # the rates would double a state of 2.5e-17 in as little time, which added to 1 s is nothing
    found = simulate(Chatter(), np.array([1.5, 2.0]), start=1.0, initial={"x": 2.5e-17}, method=method)
    np.testing.assert_allclose(found.values["x"], [[0.5, 1.0]], rtol=1e-12)


class Bent(Organ):
    """Goes half as fast behind its threshold."""

    a: Scalar = param(1e3, "m/s", "speed before it")

    class State(Vars):
        x: Scalar = state(-2.5e-17, "m", "place")

    def rates(self, t, x, u):
        return self.State(x=jnp.where(x.x < 0.0, self.a, 0.5 * self.a))


@both_methods
@pytest.mark.parametrize("place", [-1e-22, -2.5e-17, -1e-13])
def test_a_twin_may_start_just_before_a_jump_of_its_rates(method, place):
    # at this time the clock ticks every 1e-10 s
    found = simulate(Bent(), np.array([1e6 + 1.0]), start=1e6, initial={"x": place}, method=method)
    assert found.ok.all()
    np.testing.assert_allclose(found.values["x"], [[500.0]], rtol=1e-6)


def test_events_that_are_no_numbers_end_the_twin():
    class Root(Ball):
        def crossings(self, t, x, u):
            return self.Events(floor=jnp.sqrt(x.h * x.h * x.h) / jnp.sqrt(x.h))

    found = simulate(Root(), np.array([0.3, 0.6]), method=METHODS[0])
    assert [f.status for f in found.failures()] == ["non_finite"]
    assert np.isfinite(found.values["h"]).tolist() == [[True, False]]
    found = simulate(Root(), np.array([0.3]), initial={"h": -1.0}, method=METHODS[0])
    assert [f.status for f in found.failures()] == ["non_finite"]


def test_the_first_crossing_is_located_in_few_turns():
    turns = 0

    def counted(_):
        nonlocal turns
        turns += 1

    def values(theta):
        jax.debug.callback(counted, theta)
        return (theta**9 - 0.5**9, jnp.expm1(40.0 * (theta - 0.9)), jnp.full_like(theta, 3.0))

    found = locate(
        values,
        ("rising", "both", "rising"),
        values(jnp.array(0.0)),
        values(jnp.array(1.0)),
        jnp.array(True),
        jnp.array(1e-15),
    )
    theta, fired = jax.block_until_ready(found)
    jax.effects_barrier()
    assert 0.5 < theta < 0.5 + 2e-15 and [bool(here) for here in fired] == [True, False, False]
    assert turns < 20


# ---------------------------------------------------------------------------------------------------------- what is said


def test_declarations():
    assert [(v.name, v.unit, v.direction, v.kind) for v in events(Ball).values()] == [
        ("floor", "m", "falling", "event")
    ]

    class Silent(Organ):
        class State(Vars):
            x: Scalar = state(0.0, "m", "place")

        class Events(Vars):
            over: Scalar = event("m", "place")

        def rates(self, t, x, u):
            return self.State(x=0.0)

    with pytest.raises(ModelError, match=r"Silent declares events, so it must define `crossings\(self, t, x, u\)`"):
        Silent()

    class Otherwise(Silent):
        class Events(Vars):
            over: Scalar = state(0.0, "m", "place")

    with pytest.raises(
        ModelError, match=r"declared with `event\(unit, meaning\)`, but `over` of Otherwise.Events uses"
    ):
        Otherwise()

    class Undeclared(Organ):
        class State(Vars):
            x: Scalar = state(0.0, "m", "place")

        def rates(self, t, x, u):
            return self.State(x=0.0)

        def crossings(self, t, x, u):
            return x

    with pytest.raises(
        ModelError, match="Undeclared defines `crossings`, so it must declare events in a class `Events"
    ):
        Undeclared()


def test_a_direction_is_one_of_three(unchecked_annotations):
    class Upwards(Ball):
        class Events(Vars):
            floor: Scalar = event("m", "place", direction="upwards")  # type: ignore[arg-type]

    with pytest.raises(ModelError, match='`direction` must be "both", "rising" or "falling", but got \'upwards\''):
        Upwards()


def test_units_of_events():
    class Crossings(Ball):
        def crossings(self, t, x, u):
            return self.Events(floor=x.h - x.v)

    with pytest.raises(UnitError, match=r"Crossings.crossings: `sub` of m and m/s \(.*test_event_edges.py:\d+"):
        check_units(Crossings)

    class Declared(Ball):
        def crossings(self, t, x, u):
            return self.Events(floor=x.v)

    with pytest.raises(UnitError, match=r"Declared.crossings: the event `floor` must be in m, but is in m/s"):
        check_units(Declared)

    class After(Ball):
        def after(self, event, t, x, u):
            return self.State(h=x.h, v=-self.e * x.h)

    with pytest.raises(
        UnitError, match=r"After.after floor: the state after the event `v` must be in m/s, but is in m"
    ):
        check_units(After)


@both_methods
@pytest.mark.parametrize("other", [0.9, 1.0, 1.1])
def test_an_event_that_a_dose_brings_about_moves_with_that_dose(other, method):
    """Another drug, given into something else at the same time, does not hold the event where it is."""

    class Two(Organ):
        lag: Scalar = param(0.0, "s", "lag of the drug that counts")
        grow: Scalar = param(1.0, "mg/s", "effect a time")
        enough: Scalar = param(1.0, "mg", "amount that has an effect")

        class In(Vars):
            a: Scalar = port("mg/s", "the drug that counts", kind="flow", lag="lag")
            b: Scalar = port("mg/s", "the other one", kind="flow")

        class State(Vars):
            A: Scalar = state(0.0, "mg", "amount")
            B: Scalar = state(0.0, "mg", "amount of the other")
            E: Scalar = state(0.0, "mg", "effect")
            on: Scalar = state(0.0, "1", "1 once the drug has come")

        class Events(Vars):
            come: Scalar = event("mg", "amount over a threshold", direction="rising")

        def rates(self, t, x, u):
            return self.State(A=u.a, B=u.b, E=x.on * self.grow, on=0.0)

        def crossings(self, t, x, u):
            return self.Events(come=x.A - self.enough)

        def after(self, event, t, x, u):
            return dataclasses.replace(x, on=1.0)

    doses = {"a": Doses([1.0], [5.0]), "b": Doses([other], [5.0])}
    found, slopes = simulate_with_jacobian(
        Two(), np.array([4.0]), free=["lag"], schedule=Schedule(doses=doses), method=method
    )
    np.testing.assert_allclose(found.values["E"], [[3.0]], rtol=1e-9)
    np.testing.assert_allclose(slopes["E"][0, 0], [-1.0], rtol=1e-9)


def test_other_backends_refuse_events(monkeypatch):
    with pytest.raises(ValueError, match="`Ball` has events of the state or algebraic variables"):
        simulate(Ball(), np.array([1.0]), backend="xla")
    with pytest.raises(ModelError, match="`Ball` has events of the state"):
        simulate(Ball(), np.array([1.0]), method=Diffrax())
    # as on a machine where JAX computes on something that there are no kernels for
    elsewhere = Place("tpu", tuple(jax.local_devices()))
    monkeypatch.setattr(sys.modules["vht.solve.device"], "home", lambda: elsewhere)
    with pytest.raises(
        ValueError, match=r"`Ball` has events of the state or algebraic variables.*inside a transformation"
    ):
        jax.jit(lambda g: simulate(Ball(), np.array([1.0]), twins={"g": g}).values["h"])(jnp.array(9.0))
