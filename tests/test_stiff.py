"""Rodas5P in lanes: order, closed forms and their derivatives, other backends, stiffness, twins that fail."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import (
    Burst,
    Decay,
    Filter,
    Gated,
    Oral,
    Oscillator,
    Tide,
    VanDerPol,
    decay,
    filter_schedule,
    filtered,
    oral_central,
    oral_schedule,
    oscillator,
    tide,
)
from vht_kernels import LoweringError

from vht.model import Organ, Scalar, Vars, param, port, state
from vht.solve import Doses, Rodas5P, Schedule, Signal, Status, simulate, simulate_with_jacobian

TIGHT = Rodas5P(rtol=1e-9, atol=1e-11)


def with_jacobian(function, given):
    """Values and derivatives, from one solve."""

    def twice(given):
        values = function(given)
        return values, values

    jacobian, values = jax.jacfwd(twice, has_aux=True)(given)
    return values, jacobian


def assert_all_close(found, expected, **tolerances):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, **tolerances)


# ---------------------------------------------------------------------------------------------------------------- order


class Driven(Organ):
    """Everything a step's formula can meet: rates that depend on state, time, input and parameters, in products of them.

    ``x' = k u^2 (1 + sin(w t)) x^2``, and a second state that is pulled to ``x^2``, which it is at the start.
    """

    time: ClassVar[str] = "s"
    k: Scalar = param(0.3, "1/s", "growth")
    w: Scalar = param(1.7, "1/s", "angular frequency")
    pull: Scalar = param(3.0, "1/s", "how fast the second state follows")

    class State(Vars):
        x: Scalar = state(0.6, "1", "what grows")
        y: Scalar = state(0.36, "1", "its square")

    class In(Vars):
        u: Scalar = port("1", "drive")

    def rates(self, t, x, u):
        growth = self.k * u.u * u.u * (1.0 + jnp.sin(self.w * t)) * x.x * x.x
        return self.State(x=growth, y=2.0 * x.x * growth - self.pull * (x.y - x.x * x.x))


def driven(t, given):
    """States of `Driven`: its integral by Gauss's formula, exact to rounding for functions this smooth."""
    k, w, x0, start, knots, values = given
    nodes, weights = np.polynomial.legendre.leggauss(30)
    s = start + (t - start) * 0.5 * (1.0 + nodes)
    u = values[0] + (values[1] - values[0]) * (s - knots[0]) / (knots[1] - knots[0])
    x = x0 / (1.0 - x0 * k * 0.5 * (t - start) * jnp.sum(weights * u * u * (1.0 + jnp.sin(w * s))))
    return x, x * x


@functools.cache
def _driven_errors(pull):
    """Errors of values and derivatives at the end and inside steps, by number of steps."""
    times = jnp.array([1.11, 2.0])

    def solved(given, method):
        k, w, x0, start, knots, values = given
        found = simulate(
            Driven(k=k, w=w, pull=pull),
            times,
            start=start,
            initial={"x": x0, "y": x0 * x0},
            schedule=Schedule(signals={"u": Signal(knots, values)}),
            method=method,
            backend="lanes",
        )
        return jnp.stack([found.values["x"][0], found.values["y"][0]], axis=1)

    def exact(given):
        return jnp.stack([jnp.stack(driven(t, given)) for t in times])

    # the line has its knots outside the solve: nothing cuts a step
    given = (0.3, 1.7, 0.6, 0.0, jnp.array([-1.0, 3.0]), jnp.array([0.5, 1.6]))
    given = jax.tree.map(jnp.asarray, given)
    expected = exact(given), jax.jacfwd(exact)(given)
    errors = {}
    for steps in (16, 32):
        # a tolerance that everything meets
        method = Rodas5P(rtol=1e6, atol=1e6, max_step=2.0 / steps)
        found = with_jacobian(functools.partial(solved, method=method), given)
        errors[steps] = jax.tree.map(lambda a, b: np.abs(a - b), found, expected)
    return errors


@pytest.mark.parametrize(("pull", "least"), [(3.0, 4.6), (1e5, 3.6)])
def test_values_and_derivatives_are_of_the_method_s_order(pull, least):
    # what is stiff costs order, as in the method's paper; a wrong term of the formula would cost more
    coarse, fine = (jax.tree.leaves(e) for e in _driven_errors(pull).values())
    names = ["values", "k", "w", "x0", "start", "knots", "levels"]
    for name, a, b in zip(names, coarse, fine, strict=True):
        # every state and entry on its own, at the end and inside a step
        a, b = a.reshape(2, 2, -1), b.reshape(2, 2, -1)
        known = a > 1e-11
        assert known.any(), name
        orders = np.log2(a[known] / np.maximum(b[known], 1e-16))
        assert orders.min() > least, (name, orders)


# --------------------------------------------------------------------------------------------------------- closed forms


def _oral(method=TIGHT, backend="lanes"):
    """Oral doses with everything that can move: parameters (one of them a lag), schedule, start, times of saves."""
    times = jnp.array([0.25, 0.9, 1.7, 3.5, 4.6, 7.0, 9.0])
    p = {"ka": 1.5, "ke": 0.2, "F": 0.8, "lag": 0.3, "base": 2.0}

    def solved(given):
        p, schedule, start, times = given
        found = simulate(Oral(**p), times, schedule=schedule, start=start, method=method, backend=backend)
        return found.values["central"][0]

    def exact(given):
        p, schedule, start, times = given
        return oral_central(times, p, schedule, start)

    p = {name: jnp.asarray(value) for name, value in p.items()}
    return solved, exact, (p, oral_schedule(), jnp.asarray(0.1), times)


def test_everything_at_once_forward_and_reverse():
    solved, exact, given = _oral()
    found, jacobian = with_jacobian(solved, given)
    expected = jax.jacfwd(exact)(given)
    np.testing.assert_allclose(found, exact(given), rtol=2e-8, atol=1e-9)
    assert_all_close(jacobian, expected, rtol=1e-7, atol=2e-7)
    weight = jnp.arange(1.0, 8.0)
    gradient = jax.jit(jax.grad(lambda g: jnp.sum(weight * solved(g))))(given)
    assert_all_close(gradient, jax.tree.map(lambda j: jnp.tensordot(weight, j, 1), expected), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("interpolation", ["linear", "hold"])
def test_measured_inputs(interpolation):
    times = jnp.array([0.2, 1.0, 3.0, 4.9, 6.0, 9.0])
    schedule = filter_schedule(interpolation)

    def solved(given):
        tau, schedule, times = given
        found = simulate(Filter(tau=tau), times, schedule=schedule, method=TIGHT, backend="lanes")
        return found.values["x"][0], found.values["gap"][0]

    def exact(given):
        tau, schedule, times = given
        signal = schedule.signals["u"]
        knots, values = signal.time, signal.value
        x = filtered(times, tau, knots, values, interpolation)
        here = jnp.clip(jnp.searchsorted(knots, times, side="right") - 1, 0, 4)
        input_there = jnp.interp(times, knots, values) if interpolation == "linear" else values[here]
        return x, input_there - x

    given = (jnp.asarray(2.0), schedule, times)
    found, jacobian = with_jacobian(solved, given)
    assert_all_close(found, exact(given), rtol=1e-8)
    assert_all_close(jacobian, jax.jacfwd(exact)(given), rtol=1e-7, atol=1e-7)


def test_start_and_times_of_a_driven_system():
    def solved(p):
        a, w, start, t = p
        return simulate(Tide(a=a, w=w), t[None], start=start, method=TIGHT, backend="lanes").values["x"][0, 0]

    p = jnp.array([0.7, 1.3, 0.4, 2.9])
    np.testing.assert_allclose(jax.grad(solved)(p), jax.grad(lambda p: tide(p[3], p[0], p[1], p[2]))(p), rtol=1e-7)


def test_a_bolus_whose_effect_hangs_on_another_input():
    knots, times = jnp.array([0.0, 4.0]), jnp.array([0.5, 2.0, 3.0])

    def solved(given):
        when, amount, levels = given
        schedule = Schedule(
            doses={"dose": Doses(when[None], amount[None], jnp.zeros(1))}, signals={"gate": Signal(knots, levels)}
        )
        return simulate(Gated(), times, schedule=schedule, method=TIGHT, backend="lanes").values["x"][0]

    def exact(given):
        when, amount, levels = given
        gate = levels[0] + (levels[1] - levels[0]) * when / 4.0
        return jnp.where(times > when, gate * amount * jnp.exp(-0.5 * (times - when)), 0.0)

    given = (jnp.asarray(1.0), jnp.asarray(6.0), jnp.array([0.3, 0.9]))
    found, jacobian = with_jacobian(solved, given)
    np.testing.assert_allclose(found, exact(given), rtol=1e-8)
    assert_all_close(jacobian, jax.jacfwd(exact)(given), rtol=1e-7, atol=1e-9)


def test_two_values_at_one_time_are_a_jump_with_derivatives():
    schedule = Schedule(signals={"u": Signal(jnp.array([0.0, 1.0, 1.0]), jnp.array([2.0, 3.0, 7.0]), "hold")})

    def solved(times):
        moved = Schedule(signals={"u": Signal(times, schedule.signals["u"].value, "hold")})
        return simulate(Filter(tau=0.5), jnp.array([1.8]), schedule=moved, method=TIGHT, backend="lanes").values["x"][
            0, 0
        ]

    fading = np.exp(-0.8 / 0.5) / 0.5
    found = jax.grad(solved)(jnp.array([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(found[1:], [(2.0 - 3.0) * fading, (3.0 - 7.0) * fading], rtol=1e-7)


def test_jit_vmap_and_shared_columns():
    times = jnp.linspace(0.0, 2.0, 4)

    @jax.jit
    @jax.vmap
    def slope(k):
        # a vmap of cohorts: three twins each, of which two share a rate
        twins = {"k": jnp.stack([k, k, 2.0 * k])}

        def total(x0):
            return simulate(Decay(), times, twins=twins, initial={"x": x0}, method=Rodas5P()).values["x"].sum()

        return jax.grad(total)(1.5)

    k = jnp.array([0.3, 0.9])
    expected = [sum(float(decay(times, c * ki, 1.0).sum()) for c in (1, 1, 2)) for ki in k]
    np.testing.assert_allclose(slope(k), expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------------- many twins and backends


@functools.cache
def _cohort(backend, method=TIGHT):
    """More twins than fit side by side, each with a schedule of its own, and how they should end."""
    rng, n = np.random.default_rng(3), 21
    twins = {
        name: rng.uniform(*span, n) for name, span in {"ka": (0.8, 2.0), "ke": (0.1, 0.4), "lag": (0.1, 0.6)}.items()
    }
    when = np.sort(rng.uniform(0.0, 5.0, (n, 3)), axis=1)
    amount, duration = rng.uniform(10.0, 90.0, (n, 3)), rng.uniform(0.2, 2.0, (n, 3))
    # some have fewer doses, some get one at once
    when[::4, 2], amount[::4, 2] = np.inf, np.nan
    duration[1::4, 1] = 0.0
    times = np.array([0.0, 1.3, 4.0, 8.0])
    free = ["ka", "lag", "initial.central", "base"]
    trajectory, jacobian = simulate_with_jacobian(
        Oral(),
        times,
        twins=twins,
        free=free,
        initial={"central": 3.0},
        schedule=Schedule(doses={"dose": Doses(when, amount, duration)}),
        observe=["central"],
        method=method,
        backend=backend,
    )

    def exact(i, ka, lag, central):
        given = when[i] < np.inf
        doses = Doses(*(jnp.asarray(table[i, given]) for table in (when, amount, duration)))
        p = {"ka": ka, "ke": twins["ke"][i], "lag": lag, "F": 0.8, "base": central}
        return oral_central(jnp.asarray(times), p, Schedule(doses={"dose": doses}))

    values, slopes = [], []
    for i in range(n):
        at = (twins["ka"][i], twins["lag"][i], 3.0)
        values.append(exact(i, *at))
        slopes.append([*jax.jacfwd(functools.partial(exact, i), argnums=(0, 1, 2))(*at), np.zeros(len(times))])
    return trajectory, jacobian["central"], np.array(values), np.moveaxis(np.array(slopes), 1, 2)


@pytest.mark.parametrize("backend", ["lanes", "vmap"])
def test_twins_with_schedules_of_their_own(backend, unchecked_annotations):
    trajectory, jacobian, values, slopes = _cohort(backend)
    assert trajectory.ok.all()
    np.testing.assert_allclose(trajectory.values["central"], values, rtol=2e-8, atol=1e-9)
    np.testing.assert_allclose(jacobian, slopes, rtol=1e-7, atol=2e-7)


def test_lanes_do_what_vmap_does(unchecked_annotations):
    # loosely, so that the steps' sizes come of errors rather than of rounding
    lanes, other = (_cohort(backend, Rodas5P(1e-4, 1e-6)) for backend in ("lanes", "vmap"))
    assert np.abs(lanes[0].steps - other[0].steps).max() <= 2
    np.testing.assert_allclose(lanes[0].values["central"], other[0].values["central"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(lanes[1], other[1], rtol=1e-5, atol=1e-5)


def test_kvaerno_on_xla_agrees():
    k, times = np.array([0.5, 40.0]), np.array([0.3, 1.0])
    for backend in ("lanes", "xla"):
        found, jacobian = simulate_with_jacobian(
            Decay(), times, twins={"k": k}, free=["k", "initial.x"], method=Rodas5P(1e-7, 1e-9), backend=backend
        )
        assert found.settings.backend == backend
        exact = np.array([decay(times, rate) for rate in k])
        np.testing.assert_allclose(found.values["x"], exact, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(jacobian["x"][..., 0], -times * exact, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(jacobian["x"][..., 1], exact / 3.0, rtol=1e-5, atol=1e-7)


def test_many_doses_share_kernels():
    n = 11
    times = jnp.array([3.0, 12.0])

    def solved(amount):
        schedule = Schedule(doses={"drip": Doses(jnp.arange(float(n)), amount)})
        return simulate(Oral(base=0.0), times, schedule=schedule, method=TIGHT, backend="lanes").values["central"][0]

    found = jax.jacfwd(solved)(jnp.ones(n))
    late = jnp.arange(float(n))[None, :]
    expected = jnp.where(times[:, None] > late, jnp.exp(-0.2 * (times[:, None] - late)), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("start", [0.0, 2.0**20])
def test_float32_on_a_clock_in_float64(start):
    times = start + np.linspace(0.0, 3.0, 7)
    w = np.array([1.0, 2.5, 4.0])
    found, jacobian = simulate_with_jacobian(
        Oscillator(),
        times,
        start=start,
        free=["w", "initial.v"],
        twins={"w": w},
        method=Rodas5P(rtol=1e-5, atol=1e-5, dtype="float32"),
        backend="lanes",
    )
    exact = jax.vmap(jax.jacfwd(lambda p: oscillator(jnp.asarray(times - start), p[0], 1.0, p[1])))(
        jnp.stack([w, 0.0 * w], axis=-1)
    )
    assert found.ok.all() and found.values["x"].dtype == jacobian["x"].dtype == np.float32
    np.testing.assert_allclose(found.values["x"], np.cos(w[:, None] * (times - start)), atol=3e-4)
    np.testing.assert_allclose(jacobian["x"], exact, atol=1e-3)


def test_a_jacobian_takes_one_solve():
    def solved(p):
        found = simulate(Oscillator(w=p[0]), jnp.array([1.0]), initial={"x": p[1]}, method=Rodas5P(), backend="lanes")
        return found.values["x"]

    assert str(jax.make_jaxpr(jax.jacrev(solved))(jnp.array([2.0, 1.0]))).count("= lanes[") == 1


# ------------------------------------------------------------------------------------------------------------ stiffness


def test_a_stiff_oscillation_with_its_sensitivity():
    mu, t = 1000.0, 1500.0

    def rates(_, z):
        x, y, sx, sy = z
        return [y, mu * (1 - x * x) * y - x, sy, (1 - x * x) * y + mu * (1 - x * x) * sy - (2 * mu * x * y + 1) * sx]

    reference = solve_ivp(rates, (0.0, t), [2.0, 0.0, 0.0, 0.0], method="Radau", rtol=1e-10, atol=1e-13).y[:, -1]
    found, jacobian = simulate_with_jacobian(
        VanDerPol(), np.array([t]), free=["mu"], twins={"mu": mu}, method=Rodas5P(1e-8, 1e-10), backend="lanes"
    )
    assert found.ok.all() and found.steps[0] < 2500
    np.testing.assert_allclose(found.values["x"][0, 0], reference[0], rtol=1e-7)
    # in the jump before this time it is 1e5 times as large, and held to 1e-8 of that
    np.testing.assert_allclose(jacobian["x"][0, 0, 0], reference[2], rtol=2e-3)


class Overflow(Organ):
    """A tank fed at a constant rate, whose outlet lies at a height."""

    time: ClassVar[str] = "s"
    k: Scalar = param(1e4, "1/s", "conductance of the outlet")
    height: Scalar = param(1.0, "mL", "height of the outlet")

    class State(Vars):
        x: Scalar = state(0.0, "mL", "level")
        y: Scalar = state(0.0, "mL", "what came in")

    class In(Vars):
        feed: Scalar = port("mL/s", "feed", kind="flow")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(x=u.feed - self.k * jnp.maximum(x.x - self.height, 0.0), y=u.feed)


@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
def test_the_tolerance_holds_across_kinks(rtol):
    height = np.random.default_rng(0).uniform(0.7, 1.3, 200)
    times = np.linspace(0.0, 2.0, 21)
    feed = Schedule(signals={"feed": Signal(np.array([0.0]), np.array([1.0]), "hold")})
    found, slopes = simulate_with_jacobian(
        Overflow(),
        times,
        twins={"height": height},
        free=["height"],
        schedule=feed,
        method=Rodas5P(rtol=rtol, atol=rtol),
        backend="lanes",
    )
    over = np.maximum(times - height[:, None], 0.0)
    truth = np.where(over > 0.0, height[:, None] - np.expm1(-1e4 * over) / 1e4, times)
    assert found.ok.all()
    for errors in (found.values["x"] - truth, slopes["x"][..., 0] - np.where(over > 0.0, -np.expm1(-1e4 * over), 0.0)):
        assert np.abs(errors).max() < 20.0 * rtol


# ---------------------------------------------------------------------------------------------------------- who fails


def test_failed_twins_say_why_and_leave_the_others_alone():
    method = Rodas5P(max_steps=3000)
    a = np.array([0.2, 1.0, np.nan, 0.1, np.inf])
    found, jacobian = simulate_with_jacobian(
        Burst(), np.array([0.5, 2.0]), twins={"a": a}, free=["a"], method=method, backend="lanes"
    )
    expected = [Status.OK, Status.STEP_TOO_SMALL, Status.NON_FINITE, Status.OK, Status.NON_FINITE]
    np.testing.assert_array_equal(found.status, expected)
    np.testing.assert_allclose(found.values["x"][[0, 3]], 1.0 / (1.0 - a[[0, 3], None] * [0.5, 2.0]), rtol=1e-5)
    np.testing.assert_allclose(found.values["x"][1], [2.0, np.nan], rtol=1e-5)
    assert np.isnan(found.values["x"][[2, 4]]).all()
    np.testing.assert_array_equal(np.isnan(jacobian["x"][..., 0]), np.isnan(found.values["x"]))


def test_a_failed_twin_does_not_spoil_the_gradient_of_the_others():
    times = jnp.array([1.0, 2.0])

    def loss(x0):
        twins = {"k": jnp.array([0.5, jnp.nan, 1.0])}
        found = simulate(Decay(), times, twins=twins, initial={"x": x0}, method=Rodas5P())
        return jnp.where(jnp.isfinite(found.values["x"]), found.values["x"], 0.0).sum()

    expected = sum(float(decay(times, k, 1.0).sum()) for k in (0.5, 1.0))
    assert jax.grad(loss)(3.0) == pytest.approx(expected, rel=1e-5)


def test_a_budget_of_steps_is_kept():
    found = simulate(Oscillator(), np.linspace(0.0, 40.0, 9), method=Rodas5P(max_steps=50), backend="lanes")
    assert found.status[0] == Status.MAX_STEPS and found.steps[0] == 50
    reached = np.isfinite(found.values["x"][0])
    assert 1 <= reached.sum() < 9
    np.testing.assert_allclose(found.values["x"][0][reached], np.cos(2.0 * found.times[reached]), atol=1e-3)


class Tracked(Decay):
    """A constant rate among the others."""

    class State(Vars):
        x: Scalar = state(3.0, "mg", "what decays")
        age: Scalar = state(0.0, "h", "time gone by")

    def rates(self, t, x, u):
        # a function with a rule of its own, of a parameter alone
        return self.State(x=-jax.nn.relu(self.k) * x.x, age=1.0)


def test_constants_and_rules_of_their_own_for_parameters():
    found, jacobian = simulate_with_jacobian(Tracked(), np.array([2.0]), free=["k"], method=TIGHT, backend="lanes")
    np.testing.assert_allclose(found.values["age"], 2.0, rtol=1e-12)
    np.testing.assert_allclose(jacobian["x"][0, 0, 0], -2.0 * decay(2.0, 0.5), rtol=1e-7)


class Stacked(Organ):
    """An array in the rates, which lanes cannot hold."""

    k: Scalar = param(0.5, "1/s", "rate of decay")
    time = "s"

    class State(Vars):
        x: Scalar = state(1.0, "1", "what decays")

    def rates(self, t, x, u):
        return self.State(x=-self.k * jnp.stack([0.25 * x.x, 0.75 * x.x]).sum())


def test_what_lanes_cannot_compile_is_told_as_such():
    # so that `auto` can go on with the other backend
    with pytest.raises(LoweringError, match="lanes cannot compile `stack`"):
        simulate(Stacked(), np.array([1.0]), method=Rodas5P(), backend="lanes")
