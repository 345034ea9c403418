"""Events of the state at the same time, or nearer to each other and to doses than the clock can tell: each moves by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hybrid_systems import Ball, ball

from vht.model import Body, Organ, Scalar, Vars, event, param, port, state
from vht.solve import Doses, Rodas5P, Schedule, Tsit5, simulate, simulate_with_jacobian

METHODS = [Tsit5(rtol=1e-10, atol=1e-12), Rodas5P(rtol=1e-10, atol=1e-12)]
both_methods = pytest.mark.parametrize("method", METHODS, ids=["tsit5", "rodas5p"])

TIMES = np.array([0.2, 0.7, 1.1, 1.6])
TWO = Body({"left": Ball(), "right": Ball()})


def derivative(names):
    """Of the heights of two equal balls, by what moves the right one."""

    def heights(values):
        return jnp.stack([ball(t, values[0], values[1], values[2])[0] for t in TIMES])

    place = jnp.array([9.81, 0.8, 1.0])
    with jax.enable_x64(True):
        return np.asarray(jax.jacfwd(heights)(place))[:, [("g", "e", "h").index(name) for name in names]]


@both_methods
def test_one_organ_twice_has_derivatives_of_its_own(method):
    free = ["left.g", "right.g", "right.e", "initial.left.h", "initial.right.h"]
    found, slopes = simulate_with_jacobian(TWO, TIMES, free=free, method=method)
    assert found.ok.all()
    right = derivative(["g", "e", "h"])
    none = np.zeros(TIMES.size)
    expected = {
        "left.h": [right[:, 0], none, none, right[:, 2], none],
        "right.h": [none, right[:, 0], right[:, 1], none, right[:, 2]],
    }
    for name, columns in expected.items():
        np.testing.assert_allclose(slopes[name][0], np.stack(columns, axis=1), rtol=1e-6, atol=1e-7)


@both_methods
def test_nearly_equal_organs_are_told_apart_or_taken_together(method):
    # the second bounce a few units in the last place of time before or after the first
    near = np.concatenate([np.arange(-40.0, 41.0) * 2.0**-52, [1e-13, -1e-13, 1e-12, 1e-9]])
    start = {"left.h": np.ones(near.size), "right.h": 1.0 + near}
    found, slopes = simulate_with_jacobian(TWO, TIMES, free=["initial.right.h"], initial=start, method=method)
    assert found.ok.all(), found.failures()[:3]
    assert (found.events["left.floor"] == found.events["right.floor"]).all()
    right = derivative(["h"])
    np.testing.assert_allclose(slopes["right.h"][..., 0], np.tile(right[:, 0], (near.size, 1)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slopes["left.h"], 0.0, atol=1e-9)


class Counter(Organ):
    """A level that rises by itself, more slowly from a threshold on, and counts how often that is; and an amount beside it."""

    k: Scalar = param(1.0, "1/s", "rise of the level")

    class State(Vars):
        level: Scalar = state(0.0, "1", "level")
        share: Scalar = state(1.0, "1", "of the rise that is left")
        count: Scalar = state(0.0, "1", "how often the threshold was passed")
        amount: Scalar = state(0.0, "1", "amount")

    class In(Vars):
        given: Scalar = port("1/s", "what is given", kind="flow")

    class Events(Vars):
        passed: Scalar = event("1", "level over the threshold", direction="rising")

    def rates(self, t, x, u):
        none = 0.0 * self.k
        return self.State(level=self.k * x.share, share=none, count=none, amount=u.given)

    def crossings(self, t, x, u):
        return self.Events(passed=x.level - 1.0)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, share=0.25 * x.share, count=x.count + 1.0)


@pytest.mark.parametrize("method", [Tsit5(rtol=1e-9, atol=1e-9), *METHODS], ids=["looser", "tsit5", "rodas5p"])
def test_a_dose_right_after_an_event_does_not_make_it_happen_twice(method):
    after = 1.0 + np.arange(-40, 41) * 2.0**-52
    schedule = Schedule(doses={"given": Doses(time=after[:, None], amount=np.full((after.size, 1), 3.0))})
    found, slopes = simulate_with_jacobian(
        Counter(), np.array([0.5, 1.5, 2.0]), free=["initial.level"], schedule=schedule, method=method
    )
    assert (
        found.ok.all() and (found.values["count"][:, -1] == 1.0).all() and (found.values["amount"][:, -1] == 3.0).all()
    )
    np.testing.assert_allclose(found.values["level"][:, -1], 1.25, rtol=1e-12)
    np.testing.assert_allclose(slopes["level"][:, 1:, 0], 0.25, rtol=1e-9)


class Relay(Organ):
    """Two levels rise at their own speeds; the first to pass 1 lets the other one jump over 1."""

    fast: Scalar = param(1.0, "1/s", "rise of a")
    slow: Scalar = param(0.5, "1/s", "rise of b")

    class State(Vars):
        a: Scalar = state(0.0, "1", "a")
        b: Scalar = state(0.0, "1", "b")
        seen: Scalar = state(0.0, "s", "when b passed")

    class Events(Vars):
        first: Scalar = event("1", "a over 1", direction="rising")
        second: Scalar = event("1", "b over 1", direction="rising")

    def rates(self, t, x, u):
        return self.State(a=self.fast, b=self.slow, seen=0.0)

    def crossings(self, t, x, u):
        return self.Events(first=x.a - 1.0, second=x.b - 1.0)

    def after(self, event, t, x, u):
        return dataclasses.replace(x, b=x.b + 0.9) if event == "first" else dataclasses.replace(x, seen=t)


@both_methods
def test_what_another_event_brings_about_moves_with_that_event(method):
    # b passes at 1 / fast, by a's event; where both would pass at the same time it is theirs in turn
    found, slopes = simulate_with_jacobian(Relay(), np.array([2.0]), free=["fast", "slow"], method=method)
    np.testing.assert_allclose(found.values["seen"], 1.0, rtol=1e-9)
    np.testing.assert_allclose(slopes["seen"][0, 0], [-1.0, 0.0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slopes["b"][0, 0], [0.0, 2.0], rtol=1e-9, atol=1e-12)


def test_gradients_of_a_cohort_with_ties_are_those_without():
    def height(h):
        found = simulate(TWO, jnp.array([1.1]), initial={"left.h": 1.0, "right.h": h}, method=METHODS[0])
        return found.values["right.h"].sum()

    with jax.enable_x64(True):
        tied, free = jax.grad(height)(1.0), jax.grad(height)(1.0 + 1e-7)
    assert tied == pytest.approx(float(free), rel=1e-5) and tied == pytest.approx(derivative(["h"])[2, 0], rel=1e-6)
