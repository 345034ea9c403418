"""Periodic and steady states where rounding, failed twins and declarations that say too much could go wrong unseen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Oral

from vht.model import Organ, Scalar, Vars, param, quantity, state
from vht.solve import Auto, Doses, FixedPointStatus, Schedule, Tsit5, periodic_state, steady_state

TIGHT = Tsit5(rtol=1e-10, atol=1e-12)
# time and lag of a dose, and the period: their sum is the period's end, but for rounding, which in these says that the dose
# arrives in neither of two periods, or in both
NEITHER = [(0.5, 0.3, 0.8), (0.7, 0.3, 1.0), (5.7, 0.2, 5.9)]
BOTH = [(0.2, 0.7, 0.9), (0.4, 1.4, 1.8), (0.8, 2.3, 3.1)]


@pytest.mark.parametrize(("time", "lag", "period"), NEITHER + BOTH)
def test_a_bolus_that_arrives_as_the_period_ends_counts_once(time, lag, period):
    earlier, later = time - period + lag >= 0.0, time + lag >= period
    assert (earlier, later) == ((False, True) if (time, lag, period) in NEITHER else (True, False))

    schedule = Schedule(doses={"dose": Doses([time], [100.0])})
    found = periodic_state(Oral(lag=lag), period, schedule=schedule, method=TIGHT)
    assert found.status[0] == 0
    # just before the dose, or just after it where the clock lets it arrive before the end
    left = np.exp(-1.5 * period)
    expected = 80.0 * left / (1.0 - left) + (0.0 if later else 80.0)
    assert found.values["gut"][0] == pytest.approx(expected, rel=1e-7)


def test_the_same_for_infusions_and_their_derivatives():
    def central(lag, duration):
        schedule = Schedule(doses={"dose": Doses(jnp.array([0.5]), jnp.array([100.0]), duration[None])})
        found = periodic_state(Oral(lag=lag), 0.8, schedule=schedule, method=TIGHT)
        return found.values["central"][0]

    duration = jnp.asarray(0.2)
    at = jax.value_and_grad(central, argnums=(0, 1))(0.3, duration)
    near = jax.value_and_grad(central, argnums=(0, 1))(0.3 + 1e-9, duration)
    np.testing.assert_allclose(jax.tree.leaves(at), jax.tree.leaves(near), rtol=1e-6)


def test_a_dose_that_arrives_before_the_period_fails_the_twin():
    schedule = Schedule(doses={"dose": Doses([0.1], [100.0])})
    found = periodic_state(Oral(), 8.0, twins={"lag": [-0.3, 0.3]}, schedule=schedule)
    np.testing.assert_array_equal(found.status, [FixedPointStatus.NON_FINITE, FixedPointStatus.OK])


def test_a_twin_whose_own_period_is_none_fails_alone():
    schedule = Schedule(doses={"drip": Doses([0.1], [100.0])})
    found = periodic_state(Oral(), "ka", twins={"ka": [1.0, -1.0]}, schedule=schedule)
    np.testing.assert_array_equal(found.status, [FixedPointStatus.OK, FixedPointStatus.NON_FINITE])


class Basins(Organ):
    """Two basins that exchange water."""

    k: Scalar = param(0.7, "1/h", "share that flows on")
    share: Scalar = param(2.0, "1", "ratio at rest")
    size: Scalar = param(1.5, "L", "water at the start, in parts of three")
    time = "h"

    class State(Vars):
        a: Scalar = state(3.0, "L", "water in the first")
        b: Scalar = state(1.5, "L", "water in the second")

    class Conserved(Vars):
        water: Scalar = quantity("L", "water in both")

    def conserved(self, x):
        return self.Conserved(water=x.a + x.b)

    def initial(self):
        return self.State(a=2.0 * self.size, b=self.size * self.share / self.share)

    def rates(self, t, x, u):
        flow = self.k * (x.a - self.share * x.b)
        return self.State(a=-flow, b=flow)


@pytest.mark.parametrize("kind", ["steady", "periodic"])
def test_a_twin_without_an_initial_state_does_not_spoil_the_gradient_of_the_others(kind):
    def total(size):
        model, twins = Basins(size=size), {"share": jnp.array([2.0, jnp.nan, 1.0])}
        found = steady_state(model, twins=twins) if kind == "steady" else periodic_state(model, 1.0, twins=twins)
        return jnp.where(found.status == 0, found.values["a"], 0.0).sum()

    # a = share / (1 + share) of 3 size
    assert jax.grad(total)(1.5) == pytest.approx(3.0 * (2.0 / 3.0 + 1.0 / 2.0), rel=1e-7)


class Weighed(Basins):
    """What is conserved depends on a parameter itself."""

    weight: Scalar = param(2.0, "1", "of water in the first")

    def conserved(self, x):
        return self.Conserved(water=self.weight * x.a + x.b)

    def rates(self, t, x, u):
        flow = self.k * (x.a - self.share * x.b)
        return self.State(a=-flow, b=self.weight * flow)


@pytest.mark.parametrize("kind", ["steady", "periodic"])
def test_derivatives_where_what_is_conserved_depends_on_a_parameter(kind):
    def level(weight, share, size):
        model = Weighed(weight=weight, share=share, size=size)
        found = steady_state(model) if kind == "steady" else periodic_state(model, 1.0, method=TIGHT)
        return found.values["a"][0]

    def exact(weight, share, size):
        return share * (2.0 * weight + 1.0) * size / (weight * share + 1.0)

    at = (2.0, 2.1, 1.5)
    found, expected = (jax.value_and_grad(function, argnums=(0, 1, 2))(*at) for function in (level, exact))
    np.testing.assert_allclose(jax.tree.leaves(found), jax.tree.leaves(expected), rtol=1e-7)


class Blunt(Organ):
    """Relaxes to `a` by equations whose derivatives are NaN, though they are not."""

    a: Scalar = param(2.0, "m", "where it goes")
    k: Scalar = param(3.0, "1/s", "how fast")

    class State(Vars):
        x: Scalar = state(0.5, "m", "what goes there")

    def rates(self, t, x, u):
        return self.State(x=self.k * (self.a - x.x + jnp.sqrt(0.0 * x.x * x.x)))


def test_pacing_finds_what_has_no_sensitivities():
    found = periodic_state(Blunt(), 1.0, method=TIGHT, tolerance=1e-8)
    assert found.status[0] == 0 and np.isnan(found.growth[0]) and found.iterations[0] < 20
    # as far as the last paced period came: an earlier Jacobian has no say
    assert abs(found.values["x"][0] - 2.0) <= 2.0 * found.residual[0] / (np.exp(3.0) - 1.0) * np.exp(3.0) + 1e-9
    # no derivative either, rather than one that is 0

    def level(a):
        return periodic_state(Blunt(a=a), 1.0, method=TIGHT).values["x"][0]

    assert np.isnan(jax.grad(level)(2.0)) and np.isnan(jax.jacfwd(level)(2.0))


class Twice(Organ):
    """The same, with a conserved quantity that follows from another."""

    k: Scalar = param(0.7, "1/h", "share that flows on")
    time = "h"

    class State(Vars):
        a: Scalar = state(3.0, "L", "water in the first")
        b: Scalar = state(1.0, "L", "water in the second")

    class Conserved(Vars):
        water: Scalar = quantity("L", "water in both")
        double: Scalar = quantity("L", "twice that")

    def conserved(self, x):
        return self.Conserved(water=x.a + x.b, double=2.0 * (x.a + x.b))

    def rates(self, t, x, u):
        flow = self.k * (x.a - 2.0 * x.b)
        return self.State(a=-flow, b=flow)


@pytest.mark.parametrize("find", [steady_state, lambda model: periodic_state(model, 1.0)], ids=["steady", "periodic"])
def test_quantities_that_follow_from_one_another_are_told(find):
    found = find(Twice())
    assert found.status[0] == FixedPointStatus.SINGULAR and np.isnan(found.values["a"][0])
    assert "quantities that follow from one another" in found.message(0)


def test_the_initial_state_is_whole_or_none():
    found = steady_state(Oral(), inputs={"drip": 1.0}, observe=["central", "uptake"])
    with pytest.raises(ValueError, match="`initial` needs all states, but `gut` was not observed"):
        _ = found.initial
    assert list(steady_state(Oral(), inputs={"drip": 1.0}).initial) == ["gut", "central"]


def test_the_settings_say_which_method_was_chosen_and_why():
    schedule = Schedule(doses={"drip": Doses([0.1], [100.0])})
    found = periodic_state(Oral(), 8.0, schedule=schedule, method=Auto(rtol=1e-8))
    assert isinstance(found.settings.method, Tsit5) and "pilot twin" in found.settings.note
    assert found.to_xarray().attrs["chosen"] == found.settings.note
