"""A twin ends where something that its user observes is not finite, and only there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vht
from vht.calibrate import CalibrationStatus, Free, Measurements, Observable, Problem, band, calibrate
from vht.model import Organ, Scalar, Vars, gate, param, port, state
from vht.solve import Rodas5P, RushLarsen, Status, Tsit5, choose_method, simulate, simulate_with_jacobian

SETTINGS: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}
METHODS = [
    pytest.param(Tsit5(**SETTINGS), "lanes", id="Tsit5"),
    pytest.param(Tsit5(step=0.01), "lanes", id="Tsit5 fixed"),
    pytest.param(Rodas5P(**SETTINGS), "lanes", id="Rodas5P"),
    pytest.param(RushLarsen(**SETTINGS), "lanes", id="RushLarsen"),
    pytest.param(RushLarsen(step=0.01), "lanes", id="RushLarsen fixed"),
    pytest.param(Tsit5(**SETTINGS), "xla", id="Tsit5 xla"),
]


class Falling(Organ):
    """x = x0 - k t, and what is no number, or has no slope, once x is below zero."""

    k: Scalar = param(1.0, "1/s", "how fast it falls")
    c: Scalar = param(1.0, "1", "scale")
    tau: Scalar = param(1.0, "s", "of the gate")
    end: Scalar = param(1e3, "1", "when a slope ends")

    class State(Vars):
        x: Scalar = state(1.0, "1", "what falls")
        gate: Scalar = state(0.0, "1", "without which there is no RushLarsen")

    class In(Vars):
        taken: Scalar = port("1/s", "what is taken", kind="flow")

    class Out(Vars):
        double: Scalar = port("1", "a number wherever x is")
        log: Scalar = port("1", "NaN below zero")
        inverse: Scalar = port("1", "infinite from zero on")
        root: Scalar = port("1", "zero below zero, without a slope")
        own: Scalar = port("1", "without a slope by `end` once x is below it")

    def rates(self, t, x, u):
        return self.State(x=u.taken - self.k, gate=gate(x.gate, 0.5, self.tau))

    def outputs(self, t, x, u):
        root = jnp.sqrt(jnp.maximum(x.x, 0.0))
        own = self.c * x.x + jnp.sqrt(jnp.maximum(x.x - self.end, 0.0)) * 0.0
        inverse = self.c / jnp.maximum(x.x, 0.0)
        return self.Out(double=2.0 * self.c * x.x, log=self.c * jnp.log(x.x), inverse=inverse, root=root, own=own)


K = np.array([0.1, 1.0, 0.5, 3.0, 0.2, 0.1, 0.3, 0.1, 0.1, 0.6])
TIMES = np.array([0.0, 0.5, 1.5, 2.5])
X = 1.0 - K[:, None] * TIMES
# an event between the saves, so that the solve begins anew
NOTHING = vht.Schedule(doses={"taken": vht.Doses(time=[1.0], amount=[0.0])})
NAMES = {"log": np.log, "inverse": np.reciprocal}


@pytest.mark.parametrize(("method", "backend"), METHODS)
@pytest.mark.parametrize("name", list(NAMES))
def test_a_value_that_is_not_finite_ends_the_twin_at_that_save(method, backend, name):
    found = simulate(
        Falling(), TIMES, twins={"k": K}, observe=["double", name], method=method, backend=backend, schedule=NOTHING
    )
    good = X > 0.0
    np.testing.assert_array_equal(found.status, np.where(good.all(1), Status.OK, Status.NON_FINITE))
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = NAMES[name](X)
    np.testing.assert_allclose(found.values[name], np.where(good, exact, np.nan), rtol=1e-6)
    # what has a number there has none in a twin that has failed
    np.testing.assert_allclose(found.values["double"], np.where(good, 2.0 * X, np.nan), rtol=1e-6, atol=1e-12)
    for twin in np.flatnonzero(~good.all(1)):
        assert found.message(int(twin)).startswith(f"`{name}`: It, or one of its derivatives, became NaN or infinite")
    assert [failure.index for failure in found.failures()] == np.flatnonzero(~good.all(1)).tolist()


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_what_is_not_observed_does_not_count(method, backend):
    found = simulate(Falling(), TIMES, twins={"k": K}, observe=["x", "root"], method=method, backend=backend)
    np.testing.assert_array_equal(found.status, Status.OK)
    np.testing.assert_array_equal(found.culprit, -1)
    np.testing.assert_allclose(found.values["root"], np.sqrt(np.maximum(X, 0.0)), rtol=1e-6)


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_what_is_not_finite_at_the_start_is_not_saved(method, backend):
    start = np.array([0.0, 1.0, -1.0])
    # before the first save it does not count either
    times = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]])
    found = simulate(
        Falling(),
        times,
        twins={"k": np.array([-1.0, -1.0, -1.0])},
        initial={"x": start},
        observe=["inverse"],
        method=method,
        backend=backend,
    )
    np.testing.assert_array_equal(found.status, [Status.NON_FINITE, Status.OK, Status.OK])
    np.testing.assert_allclose(found.values["inverse"], [[np.nan, np.nan], [1.0, 0.5], [1.0, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_a_zero_exactly_at_a_save(method, backend):
    # a dose takes all there is: x = 1, then exactly 0
    taken = vht.Schedule(doses={"taken": vht.Doses(time=[[1.0], [1.0]], amount=[[-1.0], [-0.5]])})
    found = simulate(
        Falling(k=0.0),
        TIMES,
        observe=["inverse"],
        method=method,
        backend=backend,
        schedule=taken,
        twins={"c": [1.0, 1.0]},
    )
    np.testing.assert_array_equal(found.status, [Status.NON_FINITE, Status.OK])
    np.testing.assert_array_equal(found.values["inverse"], [[1.0, 1.0, np.nan, np.nan], [1.0, 1.0, 2.0, 2.0]])


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_a_derivative_that_is_not_finite_ends_the_twin_too(method, backend):
    found, slopes = simulate_with_jacobian(
        Falling(), TIMES, free=["k", "c"], twins={"k": K}, observe=["double", "root"], method=method, backend=backend
    )
    good = X > 0.0
    np.testing.assert_array_equal(found.status, np.where(good.all(1), Status.OK, Status.NON_FINITE))
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(good, -0.5 * TIMES / np.sqrt(X), np.nan)
    np.testing.assert_allclose(slopes["root"][..., 0], exact, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(slopes["root"][..., 1], np.where(good, 0.0, np.nan))
    np.testing.assert_allclose(slopes["double"][..., 1], np.where(good, 2.0 * X, np.nan), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.values["root"], np.where(good, np.sqrt(np.maximum(X, 0.0)), np.nan), rtol=1e-6)
    assert found.message(1).startswith("`root`: ")


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_a_derivative_in_one_direction_is_enough(method, backend):
    # the last one's, after the others' of this save
    free = ["c", "end"]
    found, slopes = simulate_with_jacobian(
        Falling(), TIMES, free=free, twins={"end": [-9.0, 0.2]}, observe=["own"], method=method, backend=backend
    )
    x = 1.0 - TIMES
    good = np.stack([x > -9.0, x > 0.2])
    np.testing.assert_array_equal(found.status, [Status.OK, Status.NON_FINITE])
    np.testing.assert_allclose(slopes["own"][..., free.index("c")], np.where(good, x, np.nan), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(slopes["own"][..., free.index("end")], np.where(good, 0.0, np.nan))
    np.testing.assert_allclose(found.values["own"], np.where(good, x, np.nan), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_gaps_are_left_as_they_are_where_they_are_allowed(method, backend):
    # x is 0 at the first save alone
    found, slopes = simulate_with_jacobian(
        Falling(),
        TIMES,
        free=["c", "k"],
        initial={"x": 0.0},
        twins={"k": [-1.0, -2.0]},
        observe=["double", "log", "root"],
        method=method,
        backend=backend,
        gaps=True,
    )
    speed = np.array([[1.0], [2.0]])
    x = speed * TIMES
    np.testing.assert_array_equal(found.status, Status.OK)
    np.testing.assert_array_equal(found.culprit, -1)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.values["log"], np.log(x), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.values["double"], 2.0 * x, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(slopes["double"][..., 0], 2.0 * x, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(slopes["double"][..., 1], np.broadcast_to(-2.0 * TIMES, x.shape), rtol=1e-6, atol=1e-12)
    later = np.asarray(slopes["root"])[:, 1:, 1]
    np.testing.assert_allclose(later, -0.5 * TIMES[1:] / np.sqrt(x[:, 1:]), rtol=1e-6)
    assert not np.isfinite(np.asarray(slopes["root"])[:, 0, 1]).any()


class Decay(Organ):
    """Stiff, with what is infinite at the start."""

    k: Scalar = param(1e4, "1/s", "how fast x follows y")
    slow: Scalar = param(1.0, "1/s", "how fast y decays")

    class State(Vars):
        x: Scalar = state(0.0, "1", "what follows")
        y: Scalar = state(1.0, "1", "what decays")

    class Out(Vars):
        log: Scalar = port("1", "minus infinity at the start")

    def rates(self, t, x, u):
        return self.State(x=self.k * (x.y - x.x), y=-self.slow * x.y)

    def outputs(self, t, x, u):
        return self.Out(log=jnp.log(x.x))


def test_what_is_observed_does_not_choose_the_method():
    assert isinstance(choose_method(Decay(), TIMES), Rodas5P)


class Absorbed(Organ):
    """What is absorbed from the gut, of which there is nothing in the blood at the start."""

    ka: Scalar = param(1.0, "1/s", "absorption", bounds=(0.0, 10.0))
    ke: Scalar = param(0.2, "1/s", "elimination", bounds=(0.0, 10.0))
    tau: Scalar = param(1.0, "s", "of the gate")

    class State(Vars):
        gut: Scalar = state(10.0, "1", "in the gut")
        blood: Scalar = state(0.0, "1", "in the blood")
        gate: Scalar = state(0.0, "1", "without which there is no RushLarsen")

    class Out(Vars):
        log: Scalar = port("1", "minus infinity at the start")
        root: Scalar = port("1", "zero at the start, without a slope")

    def rates(self, t, x, u):
        blood = self.ka * x.gut - self.ke * x.blood
        return self.State(gut=-self.ka * x.gut, blood=blood, gate=gate(x.gate, 0.5, self.tau))

    def outputs(self, t, x, u):
        return self.Out(log=jnp.log(x.blood), root=jnp.sqrt(x.blood))


@pytest.mark.parametrize(("output", "scale"), [("log", np.log), ("root", np.sqrt)])
def test_a_calibration_needs_what_is_measured_where_it_is_measured(output, scale):
    ka, ke, at, early = 1.5, 0.3, np.array([0.5, 1.0, 2.0, 4.0, 8.0]), np.array([0.0, 1.0])
    blood = 10.0 * ka / (ka - ke) * (np.exp(-ke * at) - np.exp(-ka * at))
    # at time 0 only the gut is measured
    table = Measurements(
        twin=[0] * 7,
        time=np.concatenate([at, early]),
        observable=["blood"] * 5 + ["gut"] * 2,
        value=np.concatenate([scale(blood), 10.0 * np.exp(-ka * early)]),
        sd=[0.1] * 7,
    )
    observables = {"blood": Observable(output), "gut": Observable("gut")}
    problem = Problem(Absorbed(), {"ka": Free(), "ke": Free()}, observables, table)
    fitted = calibrate(problem)
    np.testing.assert_array_equal(fitted.status, CalibrationStatus.OK)
    np.testing.assert_allclose(fitted.estimate, [[ka, ke]], rtol=1e-4)
    # nor does the first time take the curve with it
    curve = band(problem, fitted, np.concatenate([[0.0], at])).value["blood"][0]
    np.testing.assert_allclose(curve[1:], scale(blood), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_a_gradient_is_that_of_the_twins_that_have_values(method, backend):
    def total(k):
        values = simulate(Falling(), TIMES, twins={"k": k}, observe=["log"], method=method, backend=backend).values[
            "log"
        ]
        return jnp.nansum(values)

    good = X > 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(good, -TIMES / X, 0.0).sum(1)
    np.testing.assert_allclose(jax.grad(total)(K), exact, rtol=1e-6)


@pytest.mark.parametrize(("method", "backend"), METHODS)
def test_a_gradient_that_is_not_finite_is_not_zero(method, backend):
    def total(ka, times):
        found = simulate(Absorbed(), times, twins={"ka": ka}, observe=["root"], method=method, backend=backend)
        return found.values["root"].sum()

    ka, times = 1.5, np.array([0.0, 1.0, 2.0])
    value, slope = jax.value_and_grad(total)(ka, times)
    # a derivative does not change what it is the derivative of
    np.testing.assert_allclose(value, total(ka, times), rtol=1e-6)
    assert np.isnan(slope)
    # without the start, at which the root has no slope
    assert np.isfinite(jax.grad(total)(ka, times[1:]))


def test_a_twin_beside_one_that_ends_is_the_same_to_the_last_bit():
    alone = simulate(Falling(), TIMES, twins={"k": K[K < 0.4]}, observe=["log"])
    beside = simulate(Falling(), TIMES, twins={"k": K}, observe=["log"])
    np.testing.assert_array_equal(alone.values["log"], np.asarray(beside.values["log"])[K < 0.4])


def test_the_message_names_the_output_among_others():
    found = simulate(Falling(), TIMES, twins={"k": K[:2]}, observe=["inverse", "double", "x"])
    assert found.message(0) == Status.OK.message
    assert found.message(1).startswith("`inverse`: ")
    assert found.failures()[0].status == "non_finite"
