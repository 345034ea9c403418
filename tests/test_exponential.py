"""Rush-Larsen steps: their functions, exactness, orders, tolerance, derivatives, events, statuses, refusals."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import cell_equations as equations
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems import Decay, filter_schedule, filtered

from vht import Doses, RushLarsen, Schedule, Status, Tsit5, simulate
from vht.errors import ModelError
from vht.model import Organ, Scalar, Vars, boltzmann, event, gate, param, parameters, port, state
from vht.organs.noble import Noble1962
from vht.solve import simulate_with_jacobian
from vht.solve.exponential import gating_states, phi
from vht.solve.system import system_of

# ---------------------------------------------------------------------------------------------------------- functions


@pytest.mark.parametrize(
    "z", [0.0, -1e-300, 1e-12, -1e-5, -0.3, -0.99, -1.01, 1.01, 2.5, -2.5, -30.0, 30.0, -700.0, -1e5, -1e12]
)
def test_the_functions_and_their_derivatives(z):
    with mpmath.workdps(60):

        def exact(k, z):
            return mpmath.hyp1f1(1, k + 1, z) / mpmath.factorial(k)

        wanted, slopes = [], []
        for k, share in ((1, 0.5), (2, 0.5), (1, 1.0), (2, 1.0), (3, 1.0)):
            at = mpmath.mpf(z) * share
            wanted.append(float(exact(k, at)))
            # d/dz of 1F1(1, k + 1, z) is 1F1(2, k + 2, z) / (k + 1)
            slopes.append(float(share * mpmath.hyp1f1(2, k + 2, at) / (k + 1) / mpmath.factorial(k)))
    found, moved = jax.jvp(phi, (jnp.float64(z),), (jnp.float64(1.0),))
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    # a slope is a difference of the functions over z: near the change to series it loses some digits
    np.testing.assert_allclose(moved, slopes, rtol=3e-13)


def test_the_functions_in_single_precision():
    z = jnp.array([-1e4, -3.0, -0.9, -1e-4, 0.0, 2.0], np.float32)
    found = jax.vmap(phi)(z)
    assert all(v.dtype == np.float32 for v in found)
    exact = jax.vmap(phi)(z.astype(np.float64))
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6)


# ---------------------------------------------------------------------------------------------------------- exactness


class Relax(Organ):
    """Two gates and a state that grows beside them."""

    steady: Scalar = param(0.8, "1", "steady state")
    tau: Scalar = param(0.3, "ms", "time constant")
    slow: Scalar = param(7.0, "ms", "another one")
    time: ClassVar[str] = "ms"

    class State(Vars):
        m: Scalar = state(0.1, "1", "fast gate")
        n: Scalar = state(0.9, "1", "slow gate")
        c: Scalar = state(1.0, "ms", "grows with time")

    def rates(self, t: Scalar, x: State, u: object) -> State:
        return self.State(m=gate(x.m, self.steady, self.tau), n=gate(x.n, 0.0, self.slow), c=self.steady)


@pytest.mark.parametrize("method", [RushLarsen(step=2.0), RushLarsen(rtol=1e-5)], ids=["fixed", "adaptive"])
def test_constant_gates_are_exact_with_any_step(method):
    """Inside steps too, and with their derivatives; time constants may be far below the step, and infinite."""
    times = np.array([0.0, 0.1, 1.3, 2.0, 3.9, 10.0])
    tau = np.array([0.3, 1e-9, 1e300, np.inf, 40.0])
    found, jacobian = simulate_with_jacobian(
        Relax(), times, free=["steady", "tau", "initial.m"], twins={"tau": tau}, method=method, backend="lanes"
    )
    assert (found.status == Status.OK).all()
    decayed = np.exp(-times / tau[:, None])
    np.testing.assert_allclose(found.values["m"], 0.8 - 0.7 * decayed, rtol=1e-14)
    np.testing.assert_allclose(found.values["n"], np.tile(0.9 * np.exp(-times / 7.0), (5, 1)), rtol=1e-14)
    np.testing.assert_allclose(found.values["c"], np.tile(1.0 + 0.8 * times, (5, 1)), rtol=1e-14)
    by_tau = -0.7 * decayed * times / tau[:, None] / tau[:, None]
    np.testing.assert_allclose(jacobian["m"][..., 0], 1.0 - decayed, atol=1e-15)
    # by the logarithm of the time constant
    finite = np.isfinite(tau)
    found_by, wanted_by = (v[finite] * tau[finite, None] for v in (jacobian["m"][..., 1], by_tau))
    np.testing.assert_allclose(found_by, wanted_by, atol=1e-15)
    np.testing.assert_array_equal(jacobian["m"][~finite, :, 1], 0.0)
    np.testing.assert_allclose(jacobian["m"][..., 2], decayed, atol=1e-15)
    assert found.steps.max() <= 20  # a fast gate is no reason for small steps


class GateFilter(Organ):
    """`systems.Filter`, declared as a gate."""

    tau: Scalar = param(2.0, "min", "time constant")
    time: ClassVar[str] = "min"

    class State(Vars):
        x: Scalar = state(1.0, "mmHg", "filtered input")

    class In(Vars):
        u: Scalar = port("mmHg", "measured input")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=gate(x.x, u.u, self.tau))


@pytest.mark.parametrize("interpolation", ["linear", "hold"])
@pytest.mark.parametrize("step", [0.9, None])
def test_gates_behind_straight_inputs_are_exact(interpolation, step):
    schedule, times = filter_schedule(interpolation), np.array([0.2, 1.0, 3.3, 5.2, 7.0, 9.5])
    knots, values = schedule.signals["u"].time, schedule.signals["u"].value
    found = simulate(GateFilter(), times, schedule=schedule, method=RushLarsen(step=step), backend="lanes")
    wanted = [filtered(t, 2.0, knots, values, interpolation) for t in times]
    np.testing.assert_allclose(found.values["x"][0], wanted, rtol=1e-13)


# -------------------------------------------------------------------------------------------------------------- order


class Coupled(Organ):
    """A potential and a gate that follows it; the time constant varies with the potential."""

    tau: Scalar = param(1.0, "ms", "time constant")
    g: Scalar = param(3.0, "1/ms", "conductance over capacitance")
    time: ClassVar[str] = "ms"

    class State(Vars):
        V: Scalar = state(-0.5, "1", "potential")
        m: Scalar = state(0.3, "1", "gate")

    class In(Vars):
        push: Scalar = port("1/ms", "stimulus", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        pulled = self.g * (x.m * (1.2 - x.V) - 0.5 * (x.V + 1.0))
        return self.State(V=pulled + u.push, m=gate(x.m, boltzmann(x.V, 0.0, 0.25), self.tau * (1.0 + x.V * x.V)))


def coupled(times, tau=1.0, g=3.0, V=-0.5, m=0.3, start=0.0):
    """The same by SciPy."""

    def rates(t, y):
        steady = 1.0 / (1.0 + np.exp(-y[0] / 0.25))
        return [
            g * (y[1] * (1.2 - y[0]) - 0.5 * (y[0] + 1.0)),
            (steady - y[1]) / (tau * (1.0 + y[0] ** 2)),
        ]

    solved = solve_ivp(rates, (start, times[-1]), [V, m], "DOP853", times, rtol=1e-13, atol=1e-15)
    return solved.y


def errors(method_of, sizes, tau, times=(1.3, 2.0), m=0.3):
    wanted = coupled(times, tau, m=m)
    worst = []
    for size in sizes:
        method = method_of(size)
        found = simulate(Coupled(), np.array(times), twins={"tau": tau}, initial={"m": m}, method=method)
        assert (found.status == Status.OK).all()
        worst.append(max(np.abs(found.values[n][0] - w).max() for n, w in zip(("V", "m"), wanted, strict=True)))
    return np.array(worst)


@pytest.mark.parametrize("tau", [1.0, 0.05])
def test_fixed_steps_are_of_second_order(tau):
    """At the end of steps (2.0) and inside them (1.3)."""
    worst = errors(lambda h: RushLarsen(step=h), (0.02, 0.01, 0.005), tau)
    np.testing.assert_allclose(np.log2(worst[:-1] / worst[1:]), 2.0, atol=0.15)


@pytest.mark.parametrize("tau", [1.0, 0.05])
def test_adaptive_steps_are_of_third_order(tau):
    """With a tolerance that accepts every step, `max_step` is the step."""
    method = lambda h: RushLarsen(rtol=1e3, atol=1e3, first_step=h, max_step=h)  # noqa: E731
    worst = errors(method, (0.01, 0.005, 0.0025), tau, times=(2.0,))
    np.testing.assert_allclose(np.log2(worst[:-1] / worst[1:]), 3.0, atol=0.25)


@pytest.mark.parametrize("adaptive", [False, True])
def test_gates_far_below_the_step_do_not_cost_the_potential_its_order(adaptive):
    """Steps of 100 to 800 time constants: second order remains for a gate that follows the potential from the start."""

    def method(h):
        return RushLarsen(rtol=1e3, atol=1e3, first_step=h, max_step=h) if adaptive else RushLarsen(step=h)

    worst = errors(method, (0.08, 0.04, 0.02, 0.01), 1e-4, times=(2.0,), m=1.0 / (1.0 + np.exp(2.0)))
    assert (np.log2(worst[:-1] / worst[1:]) > 1.8).all()
    assert worst[0] < 1e-3


def test_the_error_got_is_the_tolerance_asked(rng):
    """The first excitable cell's own beat, with parameters spread by 10 %, against SciPy on equations written again."""
    times, names = np.array([20.0, 60.0, 150.0, 300.0]), ("g_Na", "g_K1", "g_K2", "Cm")
    cell = Noble1962()
    twins = {n: getattr(cell, n) * np.exp(0.1 * rng.standard_normal(5)) for n in names}
    wanted = np.stack([noble(times, **{n: v[i] for n, v in twins.items()}) for i in range(5)])
    medians, steps = [], []
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        method = RushLarsen(rtol=rtol, atol=1e-3 * rtol)
        found = simulate(cell, times, twins=twins, method=method, backend="lanes")
        assert (found.status == Status.OK).all()
        got = np.stack([found.values[n] for n in equations.NOBLE], 1)
        error = np.abs(got - wanted) / (np.abs(wanted) + 1e-3)
        medians.append(np.median(error.max((1, 2))) / rtol)
        steps.append(found.steps.mean())
    assert 0.1 < np.median(medians) < 10.0 and max(medians) < 30.0
    # the steps of a third-order estimate: ten times the tolerance, 10^(1/3) times the steps
    assert steps[-1] / steps[-2] == pytest.approx(10.0 ** (1.0 / 3.0), rel=0.05)


def noble(times, jolt=None, initial=None, **changed):
    """Noble 1962 by SciPy; `jolt` is a time and by how much the potential is raised then; ``[states, times]``."""
    cell = Noble1962()
    p = dataclasses.make_dataclass("P", parameters(cell))(*(changed.get(n, getattr(cell, n)) for n in parameters(cell)))
    begin = dict(zip(equations.NOBLE, (-81.4147357, 0.0438066719, 0.854216896, 0.593071543), strict=True))
    y, t, rows = np.array([*(begin | (initial or {})).values()]), 0.0, []
    for stop in (*(() if jolt is None else (jolt[0],)), times[-1]):
        here = [v for v in times if t < v < stop or v == stop == times[-1]]
        solved = solve_ivp(
            lambda t, y: equations.noble(y, p, 0.0),
            (t, stop),
            y,
            "DOP853",
            sorted({*here, stop}),
            rtol=1e-13,
            atol=1e-14,
        )
        rows += [solved.y[:, i] for i in range(len(here))]
        y, t = solved.y[:, -1], stop
        if jolt is not None and stop == jolt[0]:
            y = y + np.array([jolt[1], 0.0, 0.0, 0.0])
    return np.stack(rows, 1)


# --------------------------------------------------------------------------------------------------------- derivatives


def test_derivatives_are_those_of_central_differences():
    times = np.array([3.0, 8.0, 20.0, 60.0])
    cell, jolt = Noble1962(), (5.0, 30.0)
    schedule = Schedule(doses={"stimulus": Doses(np.array([jolt[0]]), np.array([-cell.Cm * jolt[1]]))})
    free = ["g_Na", "E_K", "Cm", "initial.V", "initial.n"]
    found, jacobian = simulate_with_jacobian(
        cell, times, free=free, schedule=schedule, method=RushLarsen(rtol=1e-6, atol=1e-9), backend="lanes"
    )

    def difference(name):
        head, _, state = name.partition(".")
        value = {"initial.V": -81.4147357, "initial.n": 0.593071543}.get(name)
        value = getattr(cell, head) if value is None else value
        far = 1e-5 * abs(value)

        def at(v):
            # the jolt is an amount over the capacitance
            lift = jolt[1] * cell.Cm / (v if name == "Cm" else cell.Cm)
            if state:
                return noble(times, (jolt[0], lift), {state: v})
            return noble(times, (jolt[0], lift), **{name: v})

        return (at(value + far) - at(value - far)) / (2.0 * far)

    assert (found.status == Status.OK).all()
    for k, name in enumerate(free):
        wanted = difference(name)
        for i, name_of_state in enumerate(equations.NOBLE):
            scale = np.abs(wanted[i]).max()
            np.testing.assert_allclose(
                jacobian[name_of_state][0, :, k],
                wanted[i],
                rtol=1e-4,
                atol=1e-5 * scale,
                err_msg=f"{name_of_state} {name}",
            )


def test_derivatives_by_time_and_amount_of_a_dose():
    times, cell = np.array([8.0, 20.0]), Noble1962()

    def solved(time, amount):
        schedule = Schedule(doses={"stimulus": Doses(time[None], amount[None])})
        method = RushLarsen(rtol=1e-6, atol=1e-9)
        return simulate(cell, times, schedule=schedule, observe=["V"], method=method).values["V"][0]

    at = (jnp.float64(5.0), jnp.float64(-360.0))
    by_time, by_amount = jax.jacfwd(solved, argnums=(0, 1))(*at)
    far = 1e-4
    difference = (noble(times, (5.0 + far, 30.0)) - noble(times, (5.0 - far, 30.0)))[0] / (2.0 * far)
    np.testing.assert_allclose(by_time, difference, rtol=1e-4)
    difference = (noble(times, (5.0, 30.0 + far)) - noble(times, (5.0, 30.0 - far)))[0] / (2.0 * far)
    np.testing.assert_allclose(by_amount, -difference / cell.Cm, rtol=1e-4)


def test_with_fixed_steps_derivatives_are_those_of_the_steps_themselves():
    """However coarse they are: what an optimiser sees is one function with its gradient."""
    times = np.array([0.7, 1.5])

    def V(g, tau):
        method = RushLarsen(step=0.5)
        found = simulate(Coupled(), times, twins={"g": g, "tau": tau}, method=method, backend="lanes")
        return found.values["V"][0]

    _, jacobian = simulate_with_jacobian(
        Coupled(), times, free=["g", "tau"], method=RushLarsen(step=0.5), backend="lanes"
    )
    far = 1e-6
    np.testing.assert_allclose(jacobian["V"][0, :, 0], (V(3.0 + far, 1.0) - V(3.0 - far, 1.0)) / (2 * far), rtol=1e-7)
    np.testing.assert_allclose(jacobian["V"][0, :, 1], (V(3.0, 1.0 + far) - V(3.0, 1.0 - far)) / (2 * far), rtol=1e-7)
    exact = (coupled(times, g=3.0 + far) - coupled(times, g=3.0 - far))[0] / (2 * far)
    assert np.abs(jacobian["V"][0, :, 0] - exact).max() > 1e-4  # the steps are coarse


# ------------------------------------------------------------------------------------------------- events, backends


class Kinked(Organ):
    """A gate whose steady state jumps in time, and a state that is its integral but for a kink."""

    at: Scalar = param(1.0, "ms", "time of the jump")
    tau: Scalar = param(0.5, "ms", "time constant")
    time: ClassVar[str] = "ms"

    class State(Vars):
        m: Scalar = state(0.0, "1", "gate")
        c: Scalar = state(0.0, "ms", "integral of what the gate is above 1/2")

    def rates(self, t: Scalar, x: State, u: object) -> State:
        return self.State(m=gate(x.m, jnp.where(t < self.at, 0.2, 1.2), self.tau), c=jnp.maximum(x.m - 0.5, 0.0))


def test_kinks_and_jumps_inside_steps_are_found(rng):
    at, end = rng.uniform(0.2, 2.0, 200), 4.0
    tau, before = 0.5, 0.2 * (1.0 - np.exp(-at / 0.5))
    passed = at + tau * np.log((1.2 - before) / 0.7)
    left = np.exp(-(end - passed) / tau)
    wanted = {"m": 1.2 - 0.7 * left, "c": 0.7 * (end - passed) - 0.7 * tau * (1.0 - left)}
    for rtol in (1e-4, 1e-6):
        method = RushLarsen(rtol=rtol, atol=rtol)
        found = simulate(Kinked(), np.array([end]), twins={"at": at}, method=method, backend="lanes")
        assert (found.status == Status.OK).all()
        error = np.max([np.abs(found.values[name][:, 0] - value) for name, value in wanted.items()], axis=0)
        # in one twin of some hundred the kink and what is smooth cancel in the estimate
        assert np.quantile(error, 0.95) < rtol and (error > 10.0 * rtol).mean() < 0.02


class Integrate(Organ):
    """A gate that is reset when it passes a level: leaky integrate-and-fire."""

    tau: Scalar = param(2.0, "ms", "time constant")
    level: Scalar = param(0.75, "1", "where it fires")
    time: ClassVar[str] = "ms"

    class State(Vars):
        x: Scalar = state(0.0, "1", "gate")
        count: Scalar = state(0.0, "1", "times fired")

    class Events(Vars):
        fire: Scalar = event("1", "passes the level", direction="rising")

    def rates(self, t: Scalar, x: State, u: object) -> State:
        return self.State(x=gate(x.x, 1.0, self.tau), count=0.0 * x.x / self.tau)

    def crossings(self, t: Scalar, x: State, u: object) -> Events:
        return self.Events(fire=x.x - self.level)

    def after(self, event: str, t: Scalar, x: State, u: object) -> State:
        return self.State(x=0.0 * x.x, count=x.count + 1.0)


@pytest.mark.parametrize("step", [0.7, None])
def test_events_of_the_state_with_their_derivatives(step):
    times = np.array([1.0, 4.0, 9.0])
    found, jacobian = simulate_with_jacobian(
        Integrate(), times, free=["tau", "level"], method=RushLarsen(step=step), backend="lanes"
    )

    def exact(tau, level):
        period = -tau * jnp.log(1.0 - level)
        return 1.0 - jnp.exp(-(jnp.asarray(times) - jnp.floor(jnp.asarray(times) / period) * period) / tau)

    np.testing.assert_allclose(found.values["x"][0], exact(2.0, 0.75), rtol=1e-9)
    np.testing.assert_array_equal(found.values["count"][0], [0.0, 1.0, 3.0])
    for k, wanted in enumerate(jax.jacfwd(exact, argnums=(0, 1))(2.0, 0.75)):
        np.testing.assert_allclose(jacobian["x"][0, :, k], wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("unchecked_annotations")
def test_lanes_and_the_same_loop_under_vmap_agree(rng):
    times, twins = np.linspace(0.0, 3.0, 7), {"tau": rng.uniform(0.01, 2.0, 9), "g": rng.uniform(1.0, 4.0, 9)}
    # rounding decides about adaptive steps here and there, so these agree to the tolerance only
    for method, rtol in ((RushLarsen(step=0.03), 1e-12), (RushLarsen(rtol=1e-7), 1e-6)):
        one, other = (simulate(Coupled(), times, twins=twins, method=method, backend=b) for b in ("lanes", "vmap"))
        assert (one.status == Status.OK).all() and (other.status == Status.OK).all()
        for name in ("V", "m"):
            np.testing.assert_allclose(one.values[name], other.values[name], rtol=rtol)


def test_single_precision_stays_single():
    found = simulate(Coupled(), np.array([1.3, 2.0]), method=RushLarsen(dtype="float32"), backend="lanes")
    assert found.values["V"].dtype == np.float32 and (found.status == Status.OK).all()
    np.testing.assert_allclose(found.values["V"][0], coupled((1.3, 2.0))[0], atol=2e-4)


# ------------------------------------------------------------------------------------------------- statuses, refusals


@pytest.mark.parametrize("method", [RushLarsen(step=0.1), RushLarsen(max_steps=10_000)], ids=["fixed", "adaptive"])
def test_impossible_time_constants_end_with_a_status(method):
    """One beside the other in a batch, with sensitivities; whoever is well is not held up."""
    tau = np.array([1.0, 0.0, np.nan, -1e-3, -0.0, 5e-324, -np.inf, 1.0])
    found, jacobian = simulate_with_jacobian(
        Coupled(), np.array([5.0, 500.0]), free=["tau"], twins={"tau": tau}, method=method, backend="lanes"
    )
    well = np.isin(np.arange(8), (0, 7))
    assert (found.status[well] == Status.OK).all()
    assert (found.status[~well] != Status.OK).all()
    assert np.isnan(found.values["V"][~well]).all() and np.isfinite(found.values["V"][well]).all()
    assert np.isfinite(jacobian["V"][well]).all()


def test_a_budget_of_steps_is_kept():
    found = simulate(Coupled(), np.array([2.0]), method=RushLarsen(rtol=1e-12, atol=1e-14, max_steps=100))
    assert found.status[0] == Status.MAX_STEPS and found.steps[0] == 100


def test_models_without_gates_are_refused_with_advice():
    with pytest.raises(ModelError, match=r"needs gates, but `Decay` has none: .*`vht.model.gate`.*Tsit5.*Rodas5P"):
        simulate(Decay(), np.array([1.0]), method=RushLarsen())
    assert gating_states(system_of(Noble1962())) == ("m", "h", "n")


def test_diffrax_has_no_counterpart():
    with pytest.raises(ValueError, match="`RushLarsen` runs on the `lanes` backend only: give `method=Rodas5P"):
        simulate(Coupled(), np.array([1.0]), method=RushLarsen(), backend="xla")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rtol": -1.0}, "`rtol` must be zero or a positive number, but got -1.0"),
        ({"step": 0.0}, "`step` must be a positive number, but got 0.0"),
        ({"step": 0.1, "max_step": 0.2}, "`max_step` belongs to adaptive steps"),
        ({"max_steps": 0}, "`max_steps` must be at least 1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        RushLarsen(**settings)


def test_fast_gates_bound_explicit_steps_and_not_these():
    times, fast = np.array([20.0]), {"tau": 1e-3}
    method = {"rtol": 1e-4, "atol": 1e-8}
    ours, explicit = (simulate(Coupled(), times, twins=fast, method=m(**method)) for m in (RushLarsen, Tsit5))
    np.testing.assert_allclose(ours.values["V"], explicit.values["V"], rtol=1e-3)
    assert ours.steps[0] < 0.1 * explicit.steps[0]
