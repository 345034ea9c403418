"""Kinks of the rates: found in the model's equations, and stepped across with the accuracy that was asked for."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vht_kernels import lanes

from vht.model import Organ, Scalar, Vars, param, state
from vht.solve import Tsit5, simulate, simulate_with_jacobian
from vht.solve.switches import breaks, switches


@jax.custom_jvp
def ramp(x):
    return jnp.maximum(x, 0.0)


ramp.defjvp(lambda primals, tangents: (ramp(primals[0]), tangents[0] * (primals[0] > 0.0)))


def nested(x):
    return jax.jit(lambda x: jax.checkpoint(ramp)(x))(x)


def looped(x):
    return jax.lax.fori_loop(0, 3, lambda i, v: 0.5 * v + x, x)


@pytest.mark.parametrize(
    ("function", "here", "same", "other"),
    [
        (lambda p, x: jnp.where(x > p, x, 2.0 * x), 2.0, 7.0, 0.5),
        (lambda p, x: jnp.maximum(x, p) + 1.0, 2.0, 7.0, 0.5),
        (lambda p, x: jnp.minimum(x, p), 2.0, 7.0, 0.5),
        (lambda p, x: jnp.abs(x - p), 2.0, 7.0, 0.5),
        (lambda p, x: jnp.clip(x, 0.0, p), 0.2, 0.9, 3.0),
        (lambda p, x: jnp.clip(x, 0.0, p), 0.2, 0.9, -3.0),
        (lambda p, x: x - jnp.floor(x), 2.1, 2.9, 3.1),
        (lambda p, x: x - jnp.ceil(x), 2.1, 2.9, 3.1),
        (lambda p, x: jnp.sign(x - p), 2.1, 2.9, 0.1),
        (lambda p, x: jnp.mod(x, p), 2.1, 2.9, 3.1),
        (lambda p, x: jax.lax.rem(x, 1.1 * p), 2.3, 3.2, 3.4),
        (lambda p, x: x - x.astype(jnp.int32).astype(x.dtype), 2.1, 2.9, 3.1),
        (lambda p, x: jax.lax.cond(p > 0.0, lambda: jnp.maximum(x, 1.0), lambda: jnp.floor(x)), 2.1, 3.1, 0.5),
        (lambda p, x: jax.lax.cond(p < 0.0, lambda: jnp.maximum(x, 1.0), lambda: jnp.floor(x)), 2.1, 2.9, 3.1),
        (lambda p, x: jax.lax.cond(x > 9.0, lambda: x, lambda: nested(x - p)), 2.1, 8.9, 0.5),
        (lambda p, x: nested(x - p), 2.0, 7.0, 0.5),
        (lambda p, x: jnp.where(jnp.abs(jax.lax.complex(x, x)) > p, x, 2.0 * x), 2.0, 7.0, 0.5),
        (lambda p, x: looped(ramp(x - p)), 2.0, 7.0, 0.5),
    ],
)
def test_every_kind_of_switch(function, here, same, other):
    def at(x):
        return np.array([float(v) for v in switches(function, jnp.asarray(1.0), jnp.asarray(x))])

    assert len(at(here)) > 0
    np.testing.assert_array_equal(at(here), at(same))
    assert (at(here) != at(other)).any()


def test_smooth_functions_and_parameters_alone_switch_nothing():
    assert switches(lambda p, x: jnp.exp(-p * x) * jnp.sin(x) + looped(x), jnp.asarray(1.0), jnp.asarray(2.0)) == ()
    assert switches(lambda p, x: jnp.maximum(p, 0.5) * x, jnp.asarray(1.0), jnp.asarray(2.0)) == ()
    branches = (lambda p, x: jnp.maximum(p, 0.5) * x), (lambda p, x: p * x)
    assert switches(lambda p, x: jax.lax.cond(p > 0.0, *branches, p, x), jnp.asarray(1.0), jnp.asarray(2.0)) == ()

    # a conversion to a complex number rounds nothing
    def turned(p, x):
        return jnp.real(jnp.exp(x.astype(jnp.complex128) * 1j)) + jnp.abs(jax.lax.complex(x, p))

    assert switches(turned, jnp.asarray(1.0), jnp.asarray(2.0)) == ()
    assert breaks(turned, jnp.asarray(1.0), jnp.asarray(2.0)) == ((), ())
    # whole numbers do not move smoothly anyway
    assert switches(lambda p, n: jnp.maximum(n, 3), jnp.asarray(1.0), jnp.asarray(2)) == ()


def test_in_a_kernel():
    x = np.linspace(-2.0, 2.0, 41)
    found = lanes(lambda x: switches(lambda p, x: jnp.maximum(x, p), 0.3, x))(x)
    np.testing.assert_array_equal(found[0] != 0, x > 0.3)


def test_many_truths_in_few_numbers():
    x = jnp.linspace(0.5, 70.0, 140)
    found = jax.vmap(lambda x: switches(lambda p, x: sum(jnp.maximum(x, k) for k in range(70)), 0.0, x))(x)
    assert [value.dtype for value in found] == ["int64", "int64"]
    told = np.stack(found, axis=1)
    # each of the 70 kinks makes another number of it
    assert len(np.unique(told, axis=0)) == 70
    changes = (np.diff(told, axis=0) != 0).any(axis=1)
    np.testing.assert_array_equal(changes, np.diff(np.floor(np.nextafter(x, 0.0))) != 0)


class Overflow(Organ):
    """A tank fed at a constant rate, whose outlet lies at a height."""

    time: ClassVar[str] = "s"
    feed: Scalar = param(1.0, "mL/s", "feed")
    k: Scalar = param(40.0, "1/s", "conductance of the outlet")
    height: Scalar = param(1.0, "mL", "height of the outlet")

    class State(Vars):
        x: Scalar = state(0.0, "mL", "level")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(x=self.feed - self.k * jnp.maximum(x.x - self.height, 0.0))


def level(t, k, height):
    over = np.maximum(t - height, 0.0)
    return np.where(t < height, t, height + (1.0 - np.exp(-k * over)) / k)


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7, 1e-9])
def test_the_tolerance_holds_across_kinks(rtol):
    # one kink at t = height, elsewhere in the steps for every twin
    height = np.random.default_rng(0).uniform(0.7, 1.3, 500)
    times = np.linspace(0.0, 2.0, 41)
    found, slopes = simulate_with_jacobian(
        Overflow(),
        times,
        twins={"height": height},
        free=["height", "k"],
        method=Tsit5(rtol=rtol, atol=rtol),
    )
    truth = level(times, 40.0, height[:, None])
    assert_within(found.values["x"], truth, rtol)
    step = np.where(times < height[:, None], 0.0, 1.0 - np.exp(-40.0 * np.maximum(times - height[:, None], 0.0)))
    assert_within(slopes["x"][..., 0], step, rtol)
    # times the size of k: that is what the tolerance is held to
    h = 1e-6
    by_k = (level(times, 40.0 * (1 + h), height[:, None]) - level(times, 40.0 * (1 - h), height[:, None])) / (2 * h)
    assert_within(40.0 * slopes["x"][..., 1], by_k, rtol)


def assert_within(found, truth, rtol):
    errors = abs(found - truth)
    assert np.quantile(errors, 0.999) < 10.0 * rtol
    assert np.max(errors) < 20.0 * rtol


def test_smooth_models_pay_nothing():
    class Decay(Organ):
        time: ClassVar[str] = "s"
        k: Scalar = param(1.0, "1/s", "rate")

        class State(Vars):
            x: Scalar = state(1.0, "mL", "level")

        def rates(self, t: Scalar, x: Any, u: Any) -> Any:
            return self.State(x=-self.k * x.x)

    class Guarded(Decay):
        """The same, behind a kink that is never reached."""

        def rates(self, t: Scalar, x: Any, u: Any) -> Any:
            return self.State(x=-self.k * jnp.where(x.x > -1.0 * x.x, x.x, 0.0 * x.x))

    times = np.linspace(0.0, 5.0, 6)
    plain, guarded = simulate(Decay(), times), simulate(Guarded(), times)
    assert plain.steps[0] == guarded.steps[0]
    np.testing.assert_allclose(plain.values["x"], guarded.values["x"], rtol=1e-14)


class Gate(Organ):
    """A level that rises, and a steep one behind it that follows from a time on."""

    time: ClassVar[str] = "s"
    begin: Scalar = param(0.5, "s", "when the second begins to rise")
    onset: Scalar = param(0.0, "s", "how much later than that")
    slope: Scalar = param(1.0, "1/s", "how fast")
    steepness: Scalar = param(1e6, "1/s", "how fast the second follows")

    class State(Vars):
        x: Scalar = state(0.0, "1", "first")
        y: Scalar = state(0.0, "1", "second")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(
            x=self.slope, y=self.steepness * jnp.maximum(x.x - self.slope * (self.begin + self.onset), 0.0)
        )


def test_a_kink_is_found_as_nearly_as_the_clock_allows():
    # the sensitivity to the onset jumps in its rate by 1e6: no step of the clock is short enough for 1e-10 of nothing
    times = np.array([0.25, 0.500001, 0.51])
    found, slopes = simulate_with_jacobian(
        Gate(), times, twins={"slope": np.array([1.0, 3.0])}, free=["onset"], method=Tsit5(rtol=1e-8, atol=1e-10)
    )
    assert found.ok.all()
    over = np.maximum(times - 0.5, 0.0)
    slope = np.array([[1.0], [3.0]])
    np.testing.assert_allclose(found.values["y"], 0.5e6 * slope * over**2, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(slopes["y"][..., 0], -1e6 * slope * over, rtol=1e-6, atol=1e-6)
