"""Algebraic variables: their first values, solves with them, and all derivatives, against closed forms and SciPy."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from systems import filter_schedule, filtered
from test_stiff import assert_all_close, with_jacobian

from benchmarks.stiff_problems import PROBLEMS
from vht.errors import ModelError
from vht.model import Organ, Scalar, Vars, algebraic, param, port, state
from vht.solve import Diffrax, Doses, Rodas5P, Schedule, Status, Tsit5, simulate, simulate_with_jacobian

TIGHT = Rodas5P(rtol=1e-9, atol=1e-11)


class Junction(Organ):
    """``x' = dose - q`` with ``0 = q - k z`` and ``0 = a z^3 + z - x``, neither in the place of what it gives."""

    time: ClassVar[str] = "h"
    k: Scalar = param(0.7, "1/h", "conductance")
    a: Scalar = param(1.0, "1", "stiffening")
    lag: Scalar = param(0.1, "h", "delay of doses")

    class State(Vars):
        x: Scalar = state(2.0, "1", "amount")
        z: Scalar = algebraic(0.3, "1", "pressure at the junction")
        q: Scalar = algebraic(0.0, "1/h", "flow through it")

    class In(Vars):
        dose: Scalar = port("1/h", "what is given", kind="flow", lag="lag")

    class Out(Vars):
        twice: Scalar = port("1/h", "twice the flow")

    def rates(self, t, x, u):
        return self.State(x=u.dose - x.q, z=x.q - self.k * x.z, q=self.a * x.z * x.z * x.z + x.z - x.x)

    def outputs(self, t, x, u):
        return self.Out(twice=2.0 * x.q)


def pressure(x, a):
    """The root of ``a z^3 + z - x``, by Newton's method from above."""

    def turn(_, z):
        return z - (a * z**3 + z - x) / (3.0 * a * z * z + 1.0)

    return jax.lax.fori_loop(0, 40, turn, jnp.maximum(x, 0.0))


def junction(t, given):
    """Amount and pressure of `Junction` after one dose, both with their derivatives.

    ``(3 a z^2 + 1) z' = -k z``, so that ``3/2 a z^2 + log z`` falls by ``k`` a unit of time.
    """
    k, a, lag, x0, when, amount, start = given

    def later(x, elapsed):
        z = pressure(x, a)
        level = 1.5 * a * z * z + jnp.log(z) - k * elapsed

        def turn(_, w):
            return w - (1.5 * a * jnp.exp(2.0 * w) + w - level) / (3.0 * a * jnp.exp(2.0 * w) + 1.0)

        z = jnp.exp(jax.lax.fori_loop(0, 40, turn, jnp.maximum(level, 0.0)))
        return a * z**3 + z

    given_at = when + lag
    before = later(x0, jnp.minimum(t, given_at) - start)
    x = jnp.where(t > given_at, later(before + amount, jnp.maximum(t - given_at, 0.0)), before)
    return x, pressure(x, a)


def test_a_junction_with_a_dose_and_all_its_derivatives():
    def solved(given):
        k, a, lag, x0, when, amount, start, times = given
        found = simulate(
            Junction(k=k, a=a, lag=lag),
            times,
            start=start,
            initial={"x": x0},
            schedule=Schedule(doses={"dose": Doses(when[None], amount[None])}),
            method=TIGHT,
            backend="lanes",
        )
        return jnp.stack([found.values[name][0] for name in ("x", "z", "twice")], axis=1)

    def exact(given):
        *numbers, times = given
        x, z = jax.vmap(lambda t: jnp.stack(junction(t, numbers)))(times).T
        return jnp.stack([x, z, 2.0 * numbers[0] * z], axis=1)

    given = tuple(jnp.asarray(v) for v in (0.7, 1.3, 0.1, 2.0, 0.8, 3.0, 0.2)), jnp.array([0.2, 0.5, 1.0, 2.5])
    given = (*given[0], given[1])
    found, jacobian = with_jacobian(solved, given)
    np.testing.assert_allclose(found, exact(given), rtol=1e-8)
    expected = jax.jit(jax.jacfwd(exact))(given)
    assert_all_close(jacobian, expected, rtol=2e-7, atol=1e-8)
    weight = jnp.arange(12.0).reshape(4, 3)
    gradient = jax.jit(jax.grad(lambda given: jnp.sum(weight * solved(given))))(given)
    assert_all_close(gradient, jax.tree.map(lambda j: jnp.tensordot(weight, j, 2), expected), rtol=1e-6, atol=1e-6)


def test_the_model_s_own_guess_does_not_matter():
    twins = {"a": np.array([0.1, 1.0, 5.0, 200.0])}
    x0 = np.array([2.0, -3.0, 40.0, 0.0])
    trajectory, jacobian = simulate_with_jacobian(
        Junction(), np.array([0.0]), twins=twins, initial={"x": x0, "z": 7.0}, free=["a", "initial.z"], method=TIGHT
    )
    assert trajectory.ok.all()
    roots = [
        brentq(lambda z, a=a, x=x: a * z**3 + z - x, -99.0, 99.0, xtol=1e-15)
        for a, x in zip(twins["a"], x0, strict=True)
    ]
    z = np.array(roots)
    np.testing.assert_allclose(trajectory.values["z"][:, 0], z, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        jacobian["z"][:, 0, 0], -(z**3) / (3.0 * twins["a"] * z * z + 1.0), rtol=1e-9, atol=1e-10
    )
    np.testing.assert_array_equal(jacobian["z"][:, 0, 1], 0.0)


def test_float32():
    x0 = np.random.default_rng(0).uniform(-50.0, 50.0, 300)
    found = simulate(
        Junction(), np.array([0.0, 1.0]), initial={"x": x0}, method=Rodas5P(rtol=1e-5, atol=1e-6, dtype="float32")
    )
    assert found.ok.all()
    z = np.asarray(found.values["z"], np.float64)
    np.testing.assert_allclose(z**3 + z, found.values["x"], rtol=2e-4, atol=2e-4)


class Balance(Organ):
    """``0 = z^3 + z + b x - a x``: where `a` is nearly `b`, what is left of large numbers."""

    a: Scalar = param(1.0, "1", "first share")
    b: Scalar = param(1.0, "1", "second share")
    r: Scalar = param(1.0, "1/s", "rate")
    time = "s"

    class State(Vars):
        x: Scalar = state(100.0, "1", "amount")
        z: Scalar = algebraic(1.0, "1", "balance")

    def rates(self, t, x, u):
        return self.State(x=-self.r * x.x, z=x.z * x.z * x.z / 100.0 + x.z + self.b * x.x - self.a * x.x)


def test_rounding_does_not_keep_a_first_value_from_being_found():
    rng = np.random.default_rng(0)
    x0, a = rng.uniform(-1000.0, 1000.0, 400), 1.0 + rng.normal(size=400) * 10.0 ** rng.uniform(-9.0, 0.0, 400)
    method = Rodas5P(rtol=1e-6, atol=1e-6, dtype="float32")
    found = simulate(Balance(), np.array([0.0]), twins={"a": a}, initial={"x": x0}, method=method)
    assert found.ok.all()
    z, (x, a, b) = np.float64(found.values["z"][:, 0]), np.float64(np.float32([x0, a, np.ones(400)]))
    # one unit in the last place of the terms
    np.testing.assert_array_less(abs(z**3 / 100.0 + z + b * x - a * x), 2.0**-23 * (1.0 + 2.0 * abs(a * x)))


class Behind(Organ):
    """``x' = z / tau``, ``0 = u - x - z``: what `Filter` lags behind a measured input."""

    time: ClassVar[str] = "min"
    tau: Scalar = param(2.0, "min", "time constant")

    class State(Vars):
        x: Scalar = state(1.0, "mmHg", "filtered input")
        z: Scalar = algebraic(0.0, "mmHg", "how far it is behind")

    class In(Vars):
        u: Scalar = port("mmHg", "measured input")

    def rates(self, t, x, u):
        return self.State(x=x.z / self.tau, z=u.u - x.x - x.z)


def test_an_algebraic_variable_that_sees_an_input():
    def solved(given):
        tau, schedule, times = given
        found = simulate(Behind(tau=tau), times, schedule=schedule, method=TIGHT, backend="lanes")
        return found.values["x"][0], found.values["z"][0]

    def exact(given):
        tau, schedule, times = given
        knots, values = schedule.signals["u"].time, schedule.signals["u"].value
        x = filtered(times, tau, knots, values, "linear")
        return x, jnp.interp(times, knots, values) - x

    given = (jnp.asarray(2.0), filter_schedule("linear"), jnp.array([0.1, 0.2, 1.0, 4.9, 6.0, 9.0]))
    found, jacobian = with_jacobian(solved, given)
    assert_all_close(found, exact(given), rtol=1e-8)
    assert_all_close(jacobian, jax.jacfwd(exact)(given), rtol=1e-7, atol=1e-7)


class Mixed(Organ):
    """``x' = 2 q + dose - k x`` with ``0 = q - F dose``: a dose arrives by way of an algebraic variable, and directly."""

    time: ClassVar[str] = "h"
    k: Scalar = param(0.5, "1/h", "elimination rate")
    F: Scalar = param(0.7, "1", "share")

    class State(Vars):
        q: Scalar = algebraic(0.0, "1/h", "what arrives")
        x: Scalar = state(0.0, "1", "amount")

    class In(Vars):
        dose: Scalar = port("1/h", "what is given", kind="flow")

    def rates(self, t, x, u):
        return self.State(q=x.q - self.F * u.dose, x=2.0 * x.q + u.dose - self.k * x.x)


def test_a_bolus_by_way_of_an_algebraic_variable():
    times = jnp.array([1.5, 3.0])

    def solved(given):
        k, F, when, amount = given
        schedule = Schedule(doses={"dose": Doses(when[None], amount[None])})
        return simulate(Mixed(k=k, F=F), times, schedule=schedule, method=TIGHT, backend="lanes").values["x"][0]

    def exact(given):
        k, F, when, amount = given
        return (1.0 + 2.0 * F) * amount * jnp.exp(-k * (times - when))

    given = tuple(jnp.asarray(v) for v in (0.5, 0.7, 1.0, 6.0))
    found, jacobian = with_jacobian(solved, given)
    np.testing.assert_allclose(found, exact(given), rtol=1e-8)
    assert_all_close(jacobian, jax.jit(jax.jacfwd(exact))(given), rtol=1e-7)


class Robertson(Organ):
    """Robertson's reactions with the conservation of mass in place of one of them."""

    time: ClassVar[str] = "s"
    k1: Scalar = param(0.04, "1/s", "slow reaction")
    k2: Scalar = param(3e7, "1/s", "fast reaction")
    k3: Scalar = param(1e4, "1/s", "reaction back")

    class State(Vars):
        a: Scalar = state(1.0, "1", "first species")
        b: Scalar = state(0.0, "1", "second species")
        c: Scalar = algebraic(0.0, "1", "third species")

    def rates(self, t, x, u):
        slow, fast, back = self.k1 * x.a, self.k2 * x.b * x.b, self.k3 * x.b * x.c
        return self.State(a=back - slow, b=slow - back - fast, c=x.a + x.b + x.c - 1.0)


def test_robertson_s_reactions_with_their_conservation():
    times = np.array([0.4, 400.0, 1e11])
    found, jacobian = simulate_with_jacobian(
        Robertson(), times, free=["k1", "k3"], method=Rodas5P(rtol=1e-7, atol=1e-17), backend="lanes"
    )
    published = PROBLEMS["ROBER"]
    assert found.ok.all() and published.end == times[-1] and found.steps[0] < 2000
    end = [found.values[name][0, -1] for name in "abc"]
    np.testing.assert_allclose(end, np.asarray(published.reference), rtol=1e-5)
    # the other way: three differential equations with those of the sensitivities, by SciPy

    def rates(_, y, k1=0.04, k2=3e7, k3=1e4):
        slow, fast, back = k1 * y[0], k2 * y[1] ** 2, k3 * y[1] * y[2]
        return np.array([back - slow, slow - back - fast, fast])

    def solved(k1, k3):
        settings = {"method": "Radau", "rtol": 1e-11, "atol": 1e-16, "t_eval": times[:2]}
        return solve_ivp(lambda t, y: rates(t, y, k1, 3e7, k3), (0.0, 400.0), [1.0, 0.0, 0.0], **settings).y

    np.testing.assert_allclose([found.values[name][0, :2] for name in "abc"], solved(0.04, 1e4), rtol=1e-6)
    for column, (k1, k3) in enumerate(((1e-4, 0.0), (0.0, 1e-4))):
        up, down = solved(0.04 * (1 + k1), 1e4 * (1 + k3)), solved(0.04 * (1 - k1), 1e4 * (1 - k3))
        size = (0.04, 1e4)[column]
        slopes = np.array([jacobian[name][0, :2, column] for name in "abc"])
        np.testing.assert_allclose(slopes * size, (up - down) / 2e-4, rtol=2e-5, atol=1e-12)
    np.testing.assert_allclose(sum(jacobian[name] for name in "abc"), 0.0, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------- who fails


class Circle(Organ):
    """``x' = speed + push``, ``0 = x^2 + z^2 - r^2``: no value where the radius is left."""

    r: Scalar = param(2.0, "1", "radius")
    speed: Scalar = param(1.0, "1/s", "to the right")
    time = "s"

    class State(Vars):
        x: Scalar = state(0.0, "1", "goes to the right")
        z: Scalar = algebraic(1.0, "1", "height")

    class In(Vars):
        push: Scalar = port("1/s", "how fast", kind="flow")

    def rates(self, t, x, u):
        return self.State(x=self.speed + u.push, z=x.x * x.x + x.z * x.z - self.r * self.r)


def test_twins_without_a_first_value_fail_alone_and_are_told():
    r, times = np.array([2.0, 3.0, 2.0]), np.array([0.0, 0.5])
    found, jacobian = simulate_with_jacobian(
        Circle(), times, twins={"r": r}, initial={"x": [0.0, 4.0, 1.0]}, free=["r"], method=Rodas5P(), backend="lanes"
    )
    np.testing.assert_array_equal(found.status, [Status.OK, Status.NO_INITIAL_VALUE, Status.OK])
    for i, x in ((0, times), (2, 1.0 + times)):
        z = np.sqrt(r[i] ** 2 - x**2)
        np.testing.assert_allclose(found.values["z"][i], z, rtol=1e-5)
        np.testing.assert_allclose(jacobian["z"][i, :, 0], r[i] / z, rtol=1e-5)
    assert np.isnan(found.values["z"][1, 1]) and np.isnan(jacobian["z"][1, 1, 0])


def test_a_dose_after_which_there_is_no_value():
    schedule = Schedule(doses={"push": Doses(np.array([[0.5], [0.5]]), np.array([[0.3], [9.0]]))})
    found = simulate(Circle(), np.array([0.4, 1.0]), schedule=schedule, method=Rodas5P(), backend="lanes")
    np.testing.assert_array_equal(found.status, [Status.OK, Status.NO_INITIAL_VALUE])
    np.testing.assert_allclose(found.values["z"][0], np.sqrt(4.0 - np.array([0.4, 1.3]) ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.values["z"][1], [np.sqrt(4.0 - 0.16), np.nan], rtol=1e-5)


def test_where_the_equations_lose_their_solution_a_twin_ends():
    # at x = r the height is 0 and does not determine anything any more; near it a height hangs on x ever more steeply
    found = simulate(Circle(), np.array([1.9, 3.0]), method=Rodas5P(rtol=1e-8, max_steps=2000), backend="lanes")
    assert found.status[0] in (Status.SINGULAR, Status.STEP_TOO_SMALL, Status.NON_FINITE)
    np.testing.assert_allclose(found.values["z"][0], [np.sqrt(4.0 - 1.9**2), np.nan], rtol=1e-5)


class Undetermined(Junction):
    """One equation twice, the other not at all."""

    def rates(self, t, x, u):
        return self.State(x=u.dose - x.q, z=x.q - x.x / self.lag, q=x.q + x.x / self.lag)


def test_equations_that_determine_nothing_are_refused_by_name():
    with pytest.raises(ModelError, match="`Undetermined` do not determine the algebraic variable `z`"):
        simulate(Undetermined(), np.array([1.0]), method=Rodas5P())


def test_other_methods_are_refused_by_name(unchecked_annotations):
    for method in (Tsit5(), Diffrax()):
        with pytest.raises(ModelError, match=r"algebraic variable `z`.*Rodas5P"):
            simulate(Junction(), np.array([1.0]), method=method)
    with pytest.raises(ValueError, match=r"`Junction` .* the `xla` backend does not know"):
        simulate(Junction(), np.array([1.0]), method=Rodas5P(), backend="xla")
