"""Derivatives where several decisions of the rates flip at the same instant, each with a time of its own; by closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vht
from vht.model import Organ, Scalar, Vars, constant, param, state
from vht.solve import Rodas5P, Tsit5, simulate, simulate_with_jacobian
from vht.solve.switches import breaks, held

METHODS = [Tsit5(rtol=1e-9, atol=1e-11), Rodas5P(rtol=1e-9, atol=1e-11)]
methods = pytest.mark.parametrize("method", METHODS, ids=["Tsit5", "Rodas5P"])


def slopes(model, times, free, method=METHODS[0]):
    """The Jacobian of the only twin by state, after a look at its status."""
    found, jacobian = simulate_with_jacobian(model, np.array(times), free=free, method=method)
    assert found.ok.all(), found.failures()
    return {name: np.asarray(table)[0] for name, table in jacobian.items()}


class Infusion(Organ):
    """An amount infused until a time and lost in proportion."""

    until: Scalar = param(1.0, "s", "when the infusion ends")
    rate: Scalar = param(1.0, "1/s", "infusion")
    k: Scalar = param(0.5, "1/s", "loss")

    class State(Vars):
        x: Scalar = state(0.0, "1", "amount")

    def rates(self, t, x, u):
        return self.State(x=jnp.where(t < self.until, self.rate, 0.0 * self.rate) - self.k * x.x)


@methods
def test_one_organ_twice_in_a_body(method):
    """Beside twins in which the two end one after the other, in either order."""
    body, times, end = vht.Body({"a": Infusion(), "b": Infusion()}), np.array([0.5, 1.5, 2.0]), [1.0, 1.25, 1.0, 0.75]
    found, jacobian = simulate_with_jacobian(
        body, times, free=["a.until", "b.until"], twins={"b.until": np.array(end)}, method=method
    )
    assert found.ok.all(), found.failures()
    nothing = np.zeros(3)
    for i, until in enumerate(end):
        by_a, by_b = (np.where(times > T, np.exp(-0.5 * (times - T)), nothing) for T in (1.0, until))
        expected = {"a.x": np.stack([by_a, nothing], axis=1), "b.x": np.stack([nothing, by_b], axis=1)}
        for name, slope in expected.items():
            np.testing.assert_allclose(jacobian[name][i], slope, rtol=1e-8, atol=1e-12)


def test_by_grad():
    body = vht.Body({"a": Infusion(), "b": Infusion()})

    def amount(until):
        return simulate(body, jnp.array([2.0]), twins={"b.until": until}, method=METHODS[0]).values["b.x"][0, 0]

    np.testing.assert_allclose(jax.grad(amount)(1.0), np.exp(-0.5), rtol=1e-8)


class Pair(Organ):
    """Two states that fill, slower above a level; a and b reach theirs at the same time where both start alike."""

    k: Scalar = param(1.0, "1/s", "filling")

    class State(Vars):
        a: Scalar = state(0.0, "1", "one")
        b: Scalar = state(0.0, "1", "other")

    def rates(self, t, x, u):
        slow = 0.25 * self.k
        return self.State(a=jnp.where(x.a < 1.0, self.k, slow), b=jnp.where(x.b < 1.0, self.k, slow))


@methods
def test_two_states_that_reach_their_levels_together(method):
    found = slopes(Pair(), [0.5, 1.5, 2.0], ["initial.a", "initial.b", "k"], method)
    by_k = [0.5, 0.375, 0.5]
    np.testing.assert_allclose(found["a"].T, [[1.0, 0.25, 0.25], [0.0] * 3, by_k], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found["b"].T, [[0.0] * 3, [1.0, 0.25, 0.25], by_k], rtol=1e-8, atol=1e-10)


@methods
def test_of_three_decisions_the_first_and_the_last(method):
    class Three(Infusion):
        second: Scalar = param(1.5, "s", "when the second one ends")
        third: Scalar = param(1.0, "s", "when the third one ends")

        def rates(self, t, x, u):
            ends = zip((1.0, 2.0, 4.0), (self.until, self.second, self.third), strict=True)
            return self.State(
                x=sum(jnp.where(t < end, n * self.rate, 0.0 * self.rate) for n, end in ends) - self.k * x.x
            )

    found = slopes(Three(), [1.25, 2.0], ["until", "second", "third"], method)["x"]
    early, late = np.exp(-0.125), np.exp(-0.5)
    expected = [[early, 0.0, 4.0 * early], [late, 2.0 * np.exp(-0.25), 4.0 * late]]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@methods
def test_a_comparison_written_twice_is_as_one(method):
    class Once(Infusion):
        def rates(self, t, x, u):
            early = t < self.until * (1.0 + x.x / 4.0)
            return self.State(
                x=jnp.where(early, self.rate, 0.0 * self.rate) - jnp.where(early, self.k, self.k / 2.0) * x.x
            )

    class Twice(Once):
        def rates(self, t, x, u):
            fed = jnp.where(t < self.until * (1.0 + x.x / 4.0), self.rate, 0.0 * self.rate)
            return self.State(x=fed - jnp.where(t / self.until < 1.0 + x.x / 4.0, self.k, self.k / 2.0) * x.x)

    free = ["until", "rate", "k", "initial.x"]
    found, expected = (slopes(model, [1.0, 2.0], free, method)["x"] for model in (Twice(), Once()))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.abs(expected[1]).min() > 0.05, "each of them matters"


@methods
def test_a_rounding_beside_a_comparison(method):
    """By a count of periods it is fed from 1 s on, the moment at which the infusion ends."""

    class Counted(Infusion):
        period: Scalar = param(1.0, "s", "what is counted")

        def rates(self, t, x, u):
            more = 3.0 * self.rate * jnp.floor(t / self.period)
            return self.State(x=more + jnp.where(t < self.until, self.rate, 0.0 * self.rate) - self.k * x.x)

    found = slopes(Counted(), [0.5, 1.5], ["until", "period"], method)["x"]
    np.testing.assert_allclose(found, np.outer([0.0, np.exp(-0.25)], [1.0, -3.0]), rtol=1e-8, atol=1e-12)


class Pulses(Infusion):
    """The second pulse, for 1 s every 3 s, begins when the infusion ends."""

    until: Scalar = param(3.0, "s", "when the infusion ends")
    period: Scalar = param(3.0, "s", "from one pulse to the next")
    width: Scalar = param(1.0, "s", "how long a pulse lasts")

    def parts(self, t):
        pulse = jnp.where(t % self.period < self.width, 2.0 * self.rate, 0.0 * self.rate)
        return pulse, jnp.where(t < self.until, self.rate, 0.0 * self.rate)

    def rates(self, t, x, u):
        pulse, infused = self.parts(t)
        return self.State(x=pulse + infused - self.k * x.x)


class Reversed(Pulses):
    """The infusion is decided first."""

    def parts(self, t):
        infused = jnp.where(t < self.until, self.rate, 0.0 * self.rate)
        return jnp.where(t % self.period < self.width, 2.0 * self.rate, 0.0 * self.rate), infused


@methods
@pytest.mark.parametrize("model", [Pulses(), Reversed()], ids=["pulses first", "infusion first"])
def test_what_flips_because_something_else_did_has_no_time_of_its_own(model, method):
    """The remainder is less than the width because it starts anew: this happens once a period, whatever the width."""
    found = slopes(model, [2.0, 3.5], ["until", "period", "width"], method)["x"]
    by_width = 2.0 * np.exp(-0.5 * np.array([1.0, 2.5]))
    np.testing.assert_allclose(found[:, 2], by_width, rtol=1e-8)
    np.testing.assert_allclose(found[:, :2], np.outer([0.0, np.exp(-0.25)], [1.0, -2.0]), rtol=1e-8, atol=1e-12)


def test_a_branch_without_a_value_beyond_the_jump():
    """Held as before, the root has none: with it goes the infusion's part of that state, not that of the other one."""

    class Ceases(Organ):
        until: Scalar = param(1.0, "s", "when the infusion ends")
        last: Scalar = param(1.0, "s", "when the other one has ceased")
        rate: Scalar = param(1.0, "1/s", "infusion")

        class State(Vars):
            x: Scalar = state(0.0, "1", "amount by the first")
            y: Scalar = state(0.0, "1", "amount by the other")

        def rates(self, t, x, u):
            infused = jnp.where(t < self.until, self.rate, 0.0 * self.rate)
            left = (self.last - t) / constant(1.0, "s")
            return self.State(x=infused, y=self.rate * jnp.where(t < self.last, left**1.5, 0.0 * left))

    found = slopes(Ceases(), [2.0], ["until", "last"])
    np.testing.assert_allclose(found["x"], [[1.0, 0.0]], atol=1e-8)
    np.testing.assert_allclose(found["y"], [[0.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("function", "here", "there", "expected"),
    [
        (lambda p, x: jnp.where(x > p, x, 2.0 * x), 2.0, 0.5, 4.0),
        (lambda p, x: x - jnp.floor(x), 2.25, 1.5, 1.25),
        (lambda p, x: x - jnp.ceil(x), 2.25, 3.5, -1.75),
        (lambda p, x: x - jnp.round(x), 2.25, 3.0, -0.75),
        (lambda p, x: x * jnp.sign(x - p), 2.0, 0.5, -2.0),
        (lambda p, x: jnp.mod(x, p), 2.25, 1.5, 1.25),
        (lambda p, x: jax.lax.rem(x, 2.0 * p), 4.5, 3.5, 2.5),
        (lambda p, x: x - x.astype(jnp.int32).astype(x.dtype), 2.25, 1.5, 1.25),
        (lambda p, x: jax.jit(lambda x: jnp.where(x < p, 0.0 * x, x))(x), 2.0, 0.5, 0.0),
        # this one follows: once the other is kept
        (lambda p, x: jnp.where(jnp.where(x > p, 5.0, 1.0) * x > 3.0, x, 2.0 * x), 2.0, 0.5, 4.0),
    ],
)
def test_every_kind_of_decision_kept(function, here, there, expected):
    p, x = jnp.asarray(1.0), jnp.asarray(here)

    def values(p, x):
        return (function(p, x),)

    was, now = (breaks(values, p, jnp.asarray(at))[0] for at in (there, here))
    assert any(old != new for old, new in zip(was, now, strict=True))
    first = [old != new for old, new in zip(was, now, strict=True)].index(True)
    keep = [jnp.array(i == first) for i in range(len(was))]
    assert held(values, p, x, was, keep)[0] == (expected,)
    none = [jnp.array(False)] * len(was)
    assert held(values, p, x, was, none) == (values(p, x), now)
