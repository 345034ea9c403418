"""Steps of equal size: whole strides of them between saves, with schedules, failures and budgets; the classical method."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Decay, Oral, Oscillator, Tide, decay, oral_central, oral_schedule, oscillator, tide

import vht
from vht.solve import RK4, Status, Tsit5, simulate, simulate_with_jacobian
from vht.solve.steppers import rk4_dense, rk4_step

METHODS = pytest.mark.parametrize("method", [Tsit5, RK4])


def test_tsit5_takes_the_steps_that_diffrax_takes():
    times = np.array([0.0, 0.3, 0.65, 1.0])

    def rates(t, y, _):
        return jnp.array([-y[0] * y[1] + jnp.sin(3.0 * t), y[0] - 0.3 * y[1]])

    class Driven(vht.Organ):
        time = "1"

        class State(vht.model.Vars):
            a: vht.model.Scalar = vht.model.state(1.0, "1", "one")
            b: vht.model.Scalar = vht.model.state(2.0, "1", "other")

        def rates(self, t, x, u):
            return self.State(a=-x.a * x.b + jnp.sin(3.0 * t), b=x.a - 0.3 * x.b)

    theirs = diffrax.diffeqsolve(
        *(diffrax.ODETerm(rates), diffrax.Tsit5(), 0.0, 1.0, 0.05, jnp.array([1.0, 2.0])),
        saveat=diffrax.SaveAt(ts=times),
    ).ys
    mine = simulate(Driven(), times, method=Tsit5(step=0.05))
    np.testing.assert_allclose(np.stack([mine.values[n][0] for n in "ab"], 1), theirs, rtol=1e-12)
    assert int(mine.steps[0]) == 20


def test_the_classical_method_is_the_textbooks():
    w, h, steps = 2.0, 0.05, 40
    y = np.array([1.0, 0.0])
    f = lambda y: np.array([w * y[1], -w * y[0]])  # noqa: E731
    rows = [y]
    for _ in range(steps):
        a = f(y)
        b = f(y + h / 2 * a)
        c = f(y + h / 2 * b)
        d = f(y + h * c)
        y = y + h / 6 * (a + 2 * b + 2 * c + d)
        rows.append(y)
    for every in (1, 8, 40):
        times = h * np.arange(0, steps + 1, every)
        found = simulate(Oscillator(), times, twins={"w": np.array([w, 1.0])}, method=RK4(step=h))
        np.testing.assert_allclose(found.values["x"][0], np.array(rows)[::every, 0], rtol=0.0, atol=1e-13)
        np.testing.assert_allclose(found.values["v"][0], np.array(rows)[::every, 1], rtol=0.0, atol=1e-13)
        assert found.steps.tolist() == [steps, steps]


def test_the_classical_method_inside_a_step_is_of_order_three():
    rates = lambda _, y: (y[1], -y[0])  # noqa: E731
    x = (jnp.asarray(1.0), jnp.asarray(0.0))
    errors = []
    for h in (0.4, 0.2, 0.1):
        end, _, stages = rk4_step(rates, jnp.asarray(h), x, rates(0.0, x))
        inside = rk4_dense(jnp.asarray(0.3), jnp.asarray(h), x, stages)
        errors.append(max(abs(inside[0] - np.cos(0.3 * h)), abs(inside[1] + np.sin(0.3 * h))))
        for theta, states in ((0.0, x), (1.0, end)):
            np.testing.assert_allclose(
                rk4_dense(jnp.asarray(theta), jnp.asarray(h), x, stages), states, rtol=1e-14, atol=1e-15
            )
        np.testing.assert_array_equal(stages[-1], rates(1.0, end))
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 3.6).all()


@METHODS
def test_saves_between_steps_and_rates_that_know_the_time(method):
    twins = {"a": np.array([1.0, 2.0, 0.5]), "w": np.array([1.0, 3.0, 2.0])}
    times = np.array([[0.0, 0.013, 0.5, 1.9], [0.0, 1.0, 1.0, 2.0], [0.3, 0.7, 1.1, 1.3]])
    found = simulate(Tide(), times, twins=twins, method=method(step=0.01))
    exact = np.stack([tide(t, a, w) for t, a, w in zip(times, twins["a"], twins["w"], strict=True)])
    np.testing.assert_allclose(found.values["x"], exact, rtol=1e-7 if method is RK4 else 1e-10)
    assert found.steps.tolist() == [190, 200, 130]


@METHODS
def test_schedules_and_sensitivities(method):
    times, schedule, p = (
        np.linspace(0.0, 24.0, 9),
        oral_schedule(),
        {"ka": 1.5, "ke": 0.2, "F": 0.8, "lag": 0.3, "base": 2.0},
    )
    found, jacobian = simulate_with_jacobian(
        Oral(), times, free=["ka", "ke", "lag"], schedule=schedule, method=method(step=0.02)
    )

    def central(p):
        return jnp.stack([oral_central(t, p, schedule) for t in times])

    np.testing.assert_allclose(found.values["central"][0], central(p), rtol=1e-6)
    slopes = jax.jacfwd(central)(p)
    for i, name in enumerate(["ka", "ke", "lag"]):
        np.testing.assert_allclose(jacobian["central"][0, :, i], slopes[name], rtol=1e-5, atol=1e-6)


@METHODS
def test_the_budget_ends_a_twin_where_its_steps_end(method):
    times = np.array([0.0, 0.4, 0.8, 1.2])
    for budget, reached in ((4, 2), (7, 2), (8, 3), (11, 3), (12, 4)):
        found = simulate(Decay(), times, method=method(step=0.1, max_steps=budget))
        assert Status(int(found.status[0])) == (Status.OK if reached == 4 else Status.MAX_STEPS), budget
        assert int(found.steps[0]) == budget
        assert np.isfinite(found.values["x"][0]).sum() == reached
        np.testing.assert_allclose(found.values["x"][0, :reached], decay(times[:reached], 0.5), rtol=1e-5)


class BlowUp(vht.Organ):
    """``x' = k x^2``."""

    k: vht.model.Scalar = vht.model.param(1.0, "1/h", "growth")
    time = "h"

    class State(vht.model.Vars):
        x: vht.model.Scalar = vht.model.state(1.0, "1", "what explodes")

    def rates(self, t, x, u):
        return self.State(x=self.k * x.x * x.x)


@METHODS
def test_a_twin_that_explodes_within_a_stride_ends_there_alone(method):
    twins = {"k": np.array([1.0, 0.1, 0.3, 0.2])}
    times = np.array([0.0, 0.5, 4.0])
    found = simulate(BlowUp(), times, twins=twins, method=method(step=0.01))
    assert [Status(int(s)) for s in found.status] == [Status.NON_FINITE, Status.OK, Status.NON_FINITE, Status.OK]
    assert np.isfinite(found.values["x"]).tolist() == [[True, True, False], [True] * 3] * 2
    survivors = np.array([1, 3])
    exact = 1.0 / (1.0 - twins["k"][survivors, None] * times)
    np.testing.assert_allclose(found.values["x"][survivors], exact, rtol=1e-6)
    assert found.steps[survivors].tolist() == [400, 400]


@METHODS
@pytest.mark.parametrize(("start", "h", "every"), [(1.7e9, 1e-3, 7), (1e7, 1e-2, 7), (1e5, 1e-3, 1), (1e4, 1e-4, 1)])
def test_saves_on_the_grid_far_from_time_zero(method, start, h, every):
    # where the clock ticks coarsely the steps before a save may add up to all of the way
    times = start + np.arange(1, 400)[:, None] * h * every
    found = simulate(Decay(), times, start=start, twins={"k": np.full(399, 0.3)}, method=method(step=h))
    assert (found.status == Status.OK).all()
    ticks = np.spacing(times.max())
    np.testing.assert_allclose(found.values["x"], decay(times, 0.3, start=start), rtol=1e-9, atol=2.0 * ticks)


@METHODS
def test_float32(method):
    times = np.linspace(0.0, 3.0, 4)
    found = simulate(Oscillator(), times, method=method(step=0.02, dtype="float32"))
    assert found.values["x"].dtype == np.float32
    np.testing.assert_allclose(found.values["x"][0], oscillator(times, 2.0), atol=2e-5)


def test_the_classical_method_says_what_it_cannot(unchecked_annotations):
    times = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match="`step` must be a positive number, but got 0"):
        RK4(step=0.0)
    with pytest.raises(ValueError, match="`step` must be a positive number, but got None"):
        RK4(step=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`max_steps` must be at least 1"):
        RK4(step=0.1, max_steps=0)
    with pytest.raises(ValueError, match=r"`RK4` runs on the `lanes` backend only: give `method=Tsit5\(step=...\)`"):
        simulate(Decay(), times, method=RK4(step=0.1), backend="xla")
