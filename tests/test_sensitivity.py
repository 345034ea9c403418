"""Sensitivities and derivatives of `simulate`, against derivatives of closed forms."""

import importlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import (
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

from vht.errors import ModelError
from vht.solve import Doses, Schedule, Signal, Status, Tsit5, simulate, simulate_with_jacobian

TIGHT = Tsit5(rtol=1e-9, atol=1e-11)
BACKENDS = ["lanes", "xla"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_and_initial_values(backend):
    times = np.linspace(0.0, 3.0, 7)
    w = np.array([1.0, 2.5, 4.0])
    trajectory, jacobian = simulate_with_jacobian(
        Oscillator(), times, free=["w", "initial.v", "initial.x"], twins={"w": w}, method=TIGHT, backend=backend
    )
    exact = jax.vmap(jax.jacfwd(lambda p: oscillator(jnp.asarray(times), *p)))(
        jnp.stack([w, 1 + 0 * w, 0 * w], axis=-1)
    )
    np.testing.assert_array_equal(trajectory.status, 0)
    np.testing.assert_allclose(jacobian["x"], exact[..., [0, 2, 1]], atol=2e-7)
    # the energy keeps to its initial value, whatever the frequency
    np.testing.assert_allclose(jacobian["energy"][..., 0], 0.0, atol=2e-7)
    np.testing.assert_allclose(jacobian["energy"][..., 2], 2.0, atol=2e-7)


def _with_schedule(backend):
    times = jnp.array([0.25, 0.9, 1.7, 3.5, 4.6, 7.0, 9.0])
    p = {"ka": 1.5, "ke": 0.2, "F": 0.8, "lag": 0.3, "base": 2.0}

    def solved(given):
        p, schedule, start, times = given
        found = simulate(Oral(**p), times, schedule=schedule, start=start, method=TIGHT, backend=backend)
        return found.values["central"][0]

    def exact(given):
        p, schedule, start, times = given
        return oral_central(times, p, schedule, start)

    p = {name: jnp.asarray(value) for name, value in p.items()}
    return solved, exact, (p, oral_schedule(), jnp.asarray(0.1), times)


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_at_once_forward(backend):
    # parameters (one of them a lag, one in the initial state), dose times, amounts, durations, start, times of saves
    solved, exact, given = _with_schedule(backend)
    found, expected = jax.jacfwd(solved)(given), jax.jacfwd(exact)(given)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=2e-7)


def test_reverse_is_the_transpose_of_forward():
    solved, exact, given = _with_schedule("lanes")
    weight = jnp.arange(1.0, 8.0)
    found = jax.jit(jax.grad(lambda g: jnp.sum(weight * solved(g))))(given)
    expected = jax.grad(lambda g: jnp.sum(weight * exact(g)))(given)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("interpolation", ["linear", "hold"])
def test_measured_inputs(backend, interpolation):
    times = jnp.array([0.2, 1.0, 3.0, 4.9, 6.0, 9.0])
    schedule = filter_schedule(interpolation)

    def solved(given):
        tau, schedule = given
        found = simulate(Filter(tau=tau), times, schedule=schedule, method=TIGHT, backend=backend)
        return found.values["x"][0], found.values["gap"][0]

    def exact(given):
        tau, schedule = given
        signal = schedule.signals["u"]
        return filtered(times, tau, signal.time, signal.value, interpolation)

    given = (jnp.asarray(2.0), schedule)
    found, gap = jax.jacfwd(solved)(given)
    expected = jax.jacfwd(exact)(given)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-7)
    # an output that sees the input: its own derivative is the input's, less the state's
    values = np.asarray(gap[1].signals["u"].value) + np.asarray(found[1].signals["u"].value)
    knots, shape = np.asarray(schedule.signals["u"].time), np.zeros((6, 5))
    for row, t in enumerate(np.asarray(times)):
        i = int(np.searchsorted(knots, t, side="right")) - 1
        share = (t - knots[i]) / (knots[i + 1] - knots[i]) if interpolation == "linear" and 0 <= i < 4 else 0.0
        shape[row, max(i, 0)] += 1.0 - share
        if share > 0.0:
            shape[row, i + 1] += share
    np.testing.assert_allclose(values, shape, atol=1e-7)


def test_time_of_a_save_at_a_changing_input():
    # d gap / d t = u' - x', with an input on a slope
    times = jnp.array([1.0, 3.0])
    schedule = filter_schedule("linear")

    def gap(times):
        return simulate(Filter(), times, schedule=schedule, method=TIGHT).values["gap"][0]

    value, slope = gap(times), jax.jacfwd(gap)(times)
    np.testing.assert_allclose(jnp.diag(slope), np.array([4.0 / 1.5, -1.0]) - value / 2.0, rtol=1e-7)
    np.testing.assert_array_equal(slope - jnp.diag(jnp.diag(slope)), 0.0)


def test_start_and_times_of_a_driven_system():
    def solved(p):
        a, w, start, t = p
        return simulate(Tide(a=a, w=w), t[None], start=start, method=TIGHT).values["x"][0, 0]

    p = jnp.array([0.7, 1.3, 0.4, 2.9])
    found = jax.grad(solved)(p)
    np.testing.assert_allclose(found, jax.grad(lambda p: tide(p[3], p[0], p[1], p[2]))(p), rtol=1e-7)


def test_jit_vmap_and_shared_columns():
    times = jnp.linspace(0.0, 2.0, 4)

    @jax.jit
    @jax.vmap
    def slope(k):
        # a vmap of cohorts: three twins each, of which two share a rate
        twins = {"k": jnp.stack([k, k, 2.0 * k])}
        return jax.grad(lambda x0: simulate(Decay(), times, twins=twins, initial={"x": x0}).values["x"].sum())(1.5)

    k = jnp.array([0.3, 0.9])
    expected = [sum(float(decay(times, c * ki, 1.0).sum()) for c in (1, 1, 2)) for ki in k]
    np.testing.assert_allclose(slope(k), expected, rtol=1e-5)


def test_two_values_at_one_time_are_a_jump_with_derivatives():
    # the values before, at and after the jump last longer or shorter by what their ends move
    schedule = Schedule(signals={"u": Signal(jnp.array([0.0, 1.0, 1.0]), jnp.array([2.0, 3.0, 7.0]), "hold")})

    def solved(times):
        moved = eqx.tree_at(lambda s: s.signals["u"].time, schedule, times)
        return simulate(Filter(tau=0.5), jnp.array([1.8]), schedule=moved, method=TIGHT).values["x"][0, 0]

    fading = np.exp(-0.8 / 0.5) / 0.5
    found = jax.grad(solved)(jnp.array([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(found[1:], [(2.0 - 3.0) * fading, (3.0 - 7.0) * fading], rtol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bolus_whose_effect_hangs_on_another_input(backend):
    knots, times = jnp.array([0.0, 4.0]), jnp.array([0.5, 2.0, 3.0])

    def solved(given):
        when, amount, levels = given
        schedule = Schedule(
            doses={"dose": Doses(when[None], amount[None], jnp.zeros(1))}, signals={"gate": Signal(knots, levels)}
        )
        return simulate(Gated(), times, schedule=schedule, method=TIGHT, backend=backend).values["x"][0]

    def exact(given):
        when, amount, levels = given
        gate = levels[0] + (levels[1] - levels[0]) * when / 4.0
        return jnp.where(times > when, gate * amount * jnp.exp(-0.5 * (times - when)), 0.0)

    given = (jnp.asarray(1.0), jnp.asarray(6.0), jnp.array([0.3, 0.9]))
    np.testing.assert_allclose(solved(given), exact(given), rtol=1e-8)
    for mine, theirs in zip(
        jax.tree.leaves(jax.jacfwd(solved)(given)), jax.tree.leaves(jax.jacfwd(exact)(given)), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-9)


def test_a_jacobian_takes_one_solve():
    def solved(p):
        return simulate(Oscillator(w=p[0]), jnp.array([1.0]), initial={"x": p[1]}, backend="lanes").values["x"]

    p = jnp.array([2.0, 1.0])
    for function in (solved, jax.jacfwd(solved), jax.jacrev(solved)):
        assert str(jax.make_jaxpr(function)(p)).count("= lanes[") == 1


def test_many_doses_share_kernels():
    n = 11
    times = jnp.array([3.0, 12.0])

    def solved(amount):
        schedule = Schedule(doses={"drip": Doses(jnp.arange(float(n)), amount)})
        return simulate(Oral(base=0.0), times, schedule=schedule, method=TIGHT).values["central"][0]

    found = jax.jacfwd(solved)(jnp.ones(n))
    late = jnp.arange(float(n))[None, :]
    expected = jnp.where(times[:, None] > late, jnp.exp(-0.2 * (times[:, None] - late)), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_too_many_directions_are_refused():
    def solved(amount):
        schedule = Schedule(doses={"drip": Doses(jnp.arange(600.0), amount)})
        return simulate(Oral(), jnp.array([1.0]), schedule=schedule).values["central"].sum()

    with pytest.raises(ValueError, match="at most 512 columns of a Jacobian, but 600 were asked for"):
        jax.grad(solved)(jnp.ones(600))


def test_second_derivatives_are_refused():
    def solved(k):
        return simulate(Decay(k=k), jnp.array([1.0])).values["x"].sum()

    with pytest.raises(NotImplementedError, match="A solve has first derivatives only"):
        jax.hessian(solved)(0.5)


def test_a_failed_twin_does_not_spoil_the_gradient_of_the_others():
    times = jnp.array([1.0, 2.0])

    def loss(x0):
        found = simulate(Decay(), times, twins={"k": jnp.array([0.5, jnp.nan, 1.0])}, initial={"x": x0})
        return jnp.where(jnp.isfinite(found.values["x"]), found.values["x"], 0.0).sum()

    expected = sum(float(decay(times, k, 1.0).sum()) for k in (0.5, 1.0))
    assert jax.grad(loss)(3.0) == pytest.approx(expected, rel=1e-5)


def test_a_twin_whose_sensitivities_fail_in_one_of_several_kernels_has_failed(monkeypatch):
    # one direction a kernel; the second takes more steps than the first, and than there are
    monkeypatch.setattr(importlib.import_module("vht.solve.plan"), "KERNEL_DIRECTIONS", 1)
    arguments: Any = {
        "model": Oral(),
        "times": np.array([0.0, 5.0, 10.0]),
        "schedule": oral_schedule(),
        "observe": ["central"],
    }
    steps = [simulate_with_jacobian(**arguments, free=[name])[0].steps[0] for name in ("base", "ka")]
    assert steps[0] < steps[1]
    method = Tsit5(max_steps=int(steps[1]) - 1)
    trajectory, jacobian = simulate_with_jacobian(**arguments, free=["base", "ka"], method=method)
    assert trajectory.status[0] == Status.MAX_STEPS
    known = np.isfinite(trajectory.values["central"])
    np.testing.assert_array_equal(known, [[True, True, False]])
    np.testing.assert_array_equal(known, np.isfinite(jacobian["central"]).all(axis=-1))


def test_sensitivities_are_in_the_error_test():
    # The states of this relaxation oscillation are easy between its jumps; their derivatives are not. With the states
    # alone in the error test the derivative is two orders of magnitude further off.
    mu, t, rtol = 8.0, 6.0, 1e-4

    def rates(_, z):
        x, y, sx, sy = z
        return [y, mu * (1 - x * x) * y - x, sy, (1 - x * x) * y + mu * (1 - x * x) * sy - (2 * mu * x * y + 1) * sx]

    reference = solve_ivp(rates, (0.0, t), [2.0, 0.0, 0.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    trajectory, jacobian = simulate_with_jacobian(
        VanDerPol(), np.array([t]), free=["mu"], twins={"mu": mu}, method=Tsit5(rtol=rtol, atol=rtol)
    )
    plain = simulate(VanDerPol(), np.array([t]), twins={"mu": mu}, method=Tsit5(rtol=rtol, atol=rtol))
    assert trajectory.steps[0] > plain.steps[0]
    error = abs(jacobian["x"][0, 0, 0] - reference[2]) / abs(reference[2])
    assert error < 10 * rtol


def test_unknown_free_quantities_are_refused():
    with pytest.raises(ModelError, match=r"`Decay` has no parameter `kk`\. Did you mean `k`"):
        simulate_with_jacobian(Decay(), np.array([1.0]), free=["kk"])
    with pytest.raises(ModelError, match="`Decay` has no state `y`"):
        simulate_with_jacobian(Decay(), np.array([1.0]), free=["initial.y"])
    with pytest.raises(ValueError, match="at least one parameter or initial value, but got none"):
        simulate_with_jacobian(Decay(), np.array([1.0]), free=[])


def test_float64_is_needed_under_transformations():
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs float64"):
        jax.grad(lambda k: simulate(Decay(k=k), jnp.array([1.0])).values["x"].sum())(0.5)


def test_schedules_are_pytrees():
    schedule = oral_schedule()
    moved = eqx.tree_at(lambda s: s.doses["dose"].time, schedule, jnp.zeros(3))
    assert jax.tree.structure(moved) == jax.tree.structure(schedule)
