"""Derivatives where the rates jump (``jnp.where``, roundings, remainders), by closed forms and by differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.model import Organ, Scalar, Vars, algebraic, event, param, port, state
from vht.solve import Rodas5P, Tsit5, simulate, simulate_with_jacobian

METHODS = [Tsit5(rtol=1e-9, atol=1e-11), Rodas5P(rtol=1e-9, atol=1e-11)]
methods = pytest.mark.parametrize("method", METHODS, ids=["Tsit5", "Rodas5P"])


class Feed(Organ):
    """Fed until a time, lost in proportion, spilt above a level."""

    time = "h"
    rate: Scalar = param(1.0, "mg/h", "feeding")
    until: Scalar = param(2.0, "h", "when feeding ends")
    cut: Scalar = param(1.0, "mg", "where spilling begins")
    spill: Scalar = param(0.5, "1/h", "spilling")
    k: Scalar = param(0.1, "1/h", "loss")

    class State(Vars):
        A: Scalar = state(0.0, "mg", "amount")

    def rates(self, t, x, u):
        fed = jnp.where(t < self.until, self.rate, 0.0 * self.rate)
        spilt = jnp.where(x.A - self.cut > 0.0, self.spill * x.A, 0.0 * self.spill * x.A)
        return self.State(A=fed - self.k * x.A - spilt)


class Pulses(Organ):
    """Fed in the first part of each period, and by a clock that counts whole days."""

    time = "h"
    rate: Scalar = param(1.0, "mg/h", "feeding")
    period: Scalar = param(3.0, "h", "from one pulse to the next")
    width: Scalar = param(1.0, "h", "how long a pulse lasts")
    k: Scalar = param(0.2, "1/h", "loss")
    unit: Scalar = param(1.0, "mg/h", "feeding a period that has passed")

    class State(Vars):
        A: Scalar = state(0.0, "mg", "amount")
        B: Scalar = state(0.0, "mg", "amount fed by the count of periods")

    def rates(self, t, x, u):
        fed = jnp.where(t % self.period < self.width, self.rate, 0.0 * self.rate)
        return self.State(A=fed - self.k * x.A, B=self.unit * jnp.floor(t / self.period))


class Heater(Organ):
    """Warms towards an input, faster above a level than below; one bend without a jump."""

    time = "h"
    slow: Scalar = param(0.3, "1/h", "below")
    fast: Scalar = param(0.9, "1/h", "above")
    level: Scalar = param(0.4, "1", "between them")

    class In(Vars):
        T: Scalar = port("1", "outside")

    class State(Vars):
        x: Scalar = state(0.0, "1", "inside, with a jump")
        y: Scalar = state(0.0, "1", "inside, with a bend")

    def rates(self, t, x, u):
        above = x.y > self.level
        return self.State(
            x=jnp.where(x.x > self.level, self.fast, self.slow) * (u.T - x.x),
            y=self.slow * u.T - jnp.where(above, self.fast * (x.y - self.level), 0.0 * self.fast * x.y),
        )


def slopes(model, times, free, method, **more):
    """The Jacobian of the first twin by state, after a look at its status."""
    found, jacobian = simulate_with_jacobian(model, times, free=free, method=method, **more)
    assert found.ok.all(), found.failures()
    return {name: np.asarray(table)[0] for name, table in jacobian.items()}


def differences(model, times, free, at, h=1e-5, **more):
    """Central differences at a tight tolerance, by state; `at` gives where."""
    method = Tsit5(rtol=1e-12, atol=1e-14)

    def solved(name, value):
        if name.startswith("initial."):
            return simulate(model, times, initial={name.removeprefix("initial."): value}, method=method, **more)
        return simulate(model, times, twins={name: value}, method=method, **more)

    found = [(solved(n, at[n] + h).values, solved(n, at[n] - h).values) for n in free]
    return {s: np.stack([(up[s][0] - down[s][0]) / (2 * h) for up, down in found], axis=-1) for s in found[0][0]}


@methods
def test_by_when_feeding_ends(method):
    """A(T) = rate / k (exp(-k (T - until)) - exp(-k T)) below the level."""
    model, times = Feed(cut=9.0), np.array([1.0, 2.0, 3.0, 7.0])
    found = slopes(model, times, ["until", "rate", "k"], method)["A"]
    gone, k, until = times - 2.0, 0.1, 2.0
    by_until = np.where(times > until, np.exp(-k * gone), 0.0)
    np.testing.assert_allclose(found[[0, 2, 3], 0], by_until[[0, 2, 3]], rtol=1e-7, atol=1e-9)
    last = np.minimum(times, until)
    by_rate = (np.exp(-k * (times - last)) - np.exp(-k * times)) / k
    np.testing.assert_allclose(found[:, 1], by_rate, rtol=1e-7)


@methods
def test_across_a_level_and_an_end(method):
    free, at = ["until", "cut", "rate", "spill", "k", "initial.A"], [2.0, 1.0, 1.0, 0.5, 0.1, 0.0]
    times = np.array([0.5, 3.0, 6.0])  # spilt from 1.05 h to some time after feeding has ended
    found = slopes(Feed(), times, free, method)["A"]
    expected = differences(Feed(), times, free, dict(zip(free, at, strict=True)))["A"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected[1]).min() > 0.02, "each of them matters"


@methods
def test_pulses_and_whole_periods(method):
    """Pulse n adds rate / k (exp(-k (T - n period - width)) - exp(-k (T - n period))), and floor(t / period) a step each."""
    T, k, period, width = 11.5, 0.2, 3.0, 1.0
    found = slopes(Pulses(), np.array([T]), ["width", "period", "unit"], method)
    n = np.arange(4)
    ends, begins = T - n * period - width, T - n * period
    by_width = np.exp(-k * ends).sum()
    by_period = (n * (np.exp(-k * ends) - np.exp(-k * begins))).sum()
    np.testing.assert_allclose(found["A"][0, :2], [by_width, by_period], rtol=1e-6)
    # B(T) = unit sum over n > 0 of (T - n period)
    np.testing.assert_allclose(found["B"][0, 1:], [-n.sum(), (T - n[1:] * period).sum()], rtol=1e-6)


@methods
def test_where_branches_meet_nothing_is_added(method):
    free, at, times = ["slow", "fast", "level"], [0.3, 0.9, 0.4], np.array([1.0, 4.0])
    schedule = vht.Schedule(signals={"T": vht.Signal(time=[0.0, 2.0, 5.0], value=[1.0, 1.4, 0.6])})
    found = slopes(Heater(), times, free, method, schedule=schedule)
    expected = differences(Heater(), times, free, dict(zip(free, at, strict=True)), schedule=schedule)
    for name in ("x", "y"):
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, atol=1e-6)


def test_each_twin_has_its_own(method=METHODS[0]):
    """Twins beside each other jump at times of their own, or never; the same alone, bit for bit."""
    until = np.array([0.5, 2.0, 2.0, 9.0, 2.5])
    cut = np.array([5.0, 1.0, 0.3, 0.2, 9.0])
    free = ["until", "cut", "k"]
    both = simulate_with_jacobian(
        Feed(), np.array([3.0]), free=free, twins={"until": until, "cut": cut}, method=method
    )[1]["A"]
    for i in range(5):
        alone = slopes(Feed(until=until[i], cut=cut[i]), np.array([3.0]), free, method)["A"]
        at = {"until": until[i], "cut": cut[i], "k": 0.1}
        np.testing.assert_array_equal(both[i], alone)
        np.testing.assert_allclose(
            alone, differences(Feed(until=until[i], cut=cut[i]), np.array([3.0]), free, at)["A"], rtol=1e-5, atol=1e-6
        )


def test_by_grad_and_where_a_dose_and_a_save_fall_on_it():
    """The end of feeding is a save as well."""

    def amount(until):
        return simulate(Feed(cut=9.0), np.array([2.0, 4.0]), twins={"until": until}, method=METHODS[0]).values["A"][
            0, 1
        ]

    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.grad(amount)(2.0), np.exp(-0.2), rtol=1e-7)


def test_single_precision():
    found = slopes(Feed(cut=9.0), np.array([7.0]), ["until"], Tsit5(rtol=1e-5, atol=1e-6, dtype="float32"))["A"]
    np.testing.assert_allclose(found[0, 0], np.exp(-0.5), rtol=1e-3)


class Window(Organ):
    """Fed within a short time; of two branches one has no value where it is not taken."""

    time = "h"
    T: Scalar = param(2.0, "h", "when feeding begins")
    d: Scalar = param(1e-3, "h", "how long it lasts")
    rate: Scalar = param(1.0, "mg/h", "feeding")
    k: Scalar = param(1.0, "1/h", "loss")
    root: Scalar = param(1.0, "mg/h^2.5", "feeding that ceases at T")

    class State(Vars):
        A: Scalar = state(0.0, "mg", "fed in the window")
        B: Scalar = state(0.0, "mg", "fed until it begins")

    def rates(self, t, x, u):
        within = (t > self.T) & (t < self.T + self.d)
        return self.State(
            A=jnp.where(within, self.rate, 0.0 * self.rate) - self.k * x.A,
            B=self.root * jnp.where(t < self.T, (self.T - t) ** 1.5, 0.0 * self.d**1.5),
        )


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_both_ends_of_a_window_count_even_where_steps_pass_over_it(rtol):
    method = Tsit5(rtol=rtol, atol=rtol, max_step=0.01)
    found = slopes(Window(), np.array([1.0, 2.5, 3.0]), ["T", "d", "rate"], method)["A"]
    after = np.exp(-np.array([0.5, 1.0]))
    np.testing.assert_allclose(found[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(found[1:, 0], 1e-3 * after, rtol=2e-3)
    np.testing.assert_allclose(found[1:, 1], after, rtol=2e-3)


@methods
def test_the_branch_that_is_not_taken_need_not_have_a_value(method):
    """B(t) = 2 / 5 (T^2.5 - (T - t)^2.5), then as it is at T."""
    found = slopes(Window(), np.array([1.0, 3.0]), ["T", "root"], method)["B"]
    np.testing.assert_allclose(found[:, 0], [2.0**1.5 - 1.0, 2.0**1.5], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], [(2.0**2.5 - 1.0) / 2.5, 2.0**2.5 / 2.5], rtol=1e-6)


def test_saves_between_a_small_jump_and_the_end_of_its_step():
    """A jump too small to matter to the state moves far with its parameter."""

    class Drift(Organ):
        a: Scalar = param(1.0, "1/s", "where it begins to drift")
        per: Scalar = param(1e-3, "1/s^2", "how fast that is reached")
        speed: Scalar = param(0.05, "1/s", "of the drift")

        class State(Vars):
            x: Scalar = state(1000.0, "1", "what drifts")

        def rates(self, t, x, u):
            return self.State(x=jnp.where(self.per * t > self.a, self.speed, 0.0 * self.speed))

    times = np.array([999.0, 1000.3, 1000.6, 1001.2, 1003.0])
    found = slopes(Drift(), times, ["a"], Tsit5(rtol=1e-4, atol=1e-4))["x"]
    np.testing.assert_allclose(found[:, 0], [0.0, -50.0, -50.0, -50.0, -50.0], rtol=1e-6)


def test_what_has_no_derivative_elsewhere_does_no_harm():
    class Apart(Organ):
        k: Scalar = param(1.0, "1/s", "loss")
        least: Scalar = param(0.5, "1", "below which it is lost as fast as there")

        class State(Vars):
            x: Scalar = state(1.0, "1", "what bends")
            z: Scalar = state(0.0, "1", "stays zero, where its root has no derivative")

        def rates(self, t, x, u):
            more = jnp.where(jnp.sqrt(x.z) > 1.0, self.k, 0.0 * self.k)
            return self.State(x=-self.k * jnp.maximum(x.x, self.least) + more, z=0.0 * self.k)

    found = slopes(Apart(), np.array([1.0]), ["k"], METHODS[0])["x"]
    # from log(2) on it falls by k / 2 a second
    np.testing.assert_allclose(found[0, 0], -0.5, rtol=1e-6)


class Tank(Organ):
    """Filled until a time; its pressure follows from volume and inflow, so that it jumps, and opens a valve that leaks."""

    time = "h"
    rate: Scalar = param(1.0, "L/h", "inflow")
    until: Scalar = param(2.0, "h", "when it ends")
    R: Scalar = param(0.5, "kPa*h/L", "resistance of the inlet")
    C: Scalar = param(2.0, "L/kPa", "compliance")
    bend: Scalar = param(0.05, "1/kPa^2", "stiffening")
    opening: Scalar = param(0.8, "kPa", "pressure that opens the valve")
    leak: Scalar = param(0.1, "L/h", "what it lets through")
    k: Scalar = param(0.2, "1/h", "loss")

    class State(Vars):
        V: Scalar = state(0.0, "L", "volume")
        P: Scalar = algebraic(0.0, "kPa", "pressure")

    def rates(self, t, x, u):
        # decided before what makes the pressure jump
        lost = jnp.where(x.P - self.opening > 0.0, self.leak, 0.0 * self.leak)
        inflow = jnp.where(t < self.until, self.rate, 0.0 * self.rate)
        return self.State(V=inflow - lost - self.k * x.V, P=x.P + self.bend * x.P**3 - x.V / self.C - self.R * inflow)


def _tanks(count):
    """Tanks that open at some time, whose inflow is more than what they leak then, and that shut when it ends."""
    spread = np.random.default_rng(3)
    free = ["rate", "until", "R", "C", "bend", "opening", "leak", "k"]
    return {name: getattr(Tank(), name) * np.exp(0.3 * spread.standard_normal(count)) for name in free}


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
def test_an_algebraic_variable_that_jumps_with_the_rates(rtol):
    """By SciPy from jump to jump, with the pressure by the formula for cubic equations."""
    tanks, times = _tanks(16), np.array([0.3, 1.0, 1.9, 2.5, 6.0])
    found = simulate(Tank(), times, twins=tanks, method=Rodas5P(rtol=rtol, atol=rtol / 10.0))
    assert found.ok.all(), found.failures()
    for i in range(16):
        tank = Tank(**{name: column[i] for name, column in tanks.items()})
        volume, pressure = _by_pieces(tank, times)
        np.testing.assert_allclose(found.values["V"][i], volume, rtol=20.0 * rtol)
        np.testing.assert_allclose(found.values["P"][i], pressure, rtol=20.0 * rtol)


def _by_pieces(tank, times):
    def pressure(V, inflow):
        # bend P^3 + P = c
        c = V / tank.C + tank.R * inflow
        return 2.0 / np.sqrt(3.0 * tank.bend) * np.sinh(np.arcsinh(1.5 * c * np.sqrt(3.0 * tank.bend)) / 3.0)

    volumes, pressures, t, V = np.empty_like(times), np.empty_like(times), 0.0, 0.0
    # shut, open, open after the inflow has ended, shut again
    for inflow, is_open, end in (
        (tank.rate, False, tank.until),
        (tank.rate, True, tank.until),
        (0.0, True, times[-1]),
        (0.0, False, times[-1]),
    ):
        above = pressure(V, inflow) - tank.opening
        if t == end or (above < -1e-9 if is_open else above > 1e-9):
            continue

        def slope(_, y):
            return inflow - is_open * tank.leak - tank.k * y

        def level(_, y):
            return pressure(y[0], inflow) - tank.opening

        level.terminal, level.direction = True, -1.0 if is_open else 1.0
        piece = solve_ivp(slope, (t, end), [V], "DOP853", events=level, rtol=1e-12, atol=1e-12, dense_output=True)
        here = (times >= t) & (times <= piece.t[-1])
        volumes[here] = piece.sol(times)[0][here]
        pressures[here] = pressure(volumes[here], inflow)
        t, V = piece.t[-1], piece.y[0, -1]
    return volumes, pressures


def test_derivatives_of_an_algebraic_variable_that_jumps_with_the_rates():
    tanks, times = _tanks(16), np.array([0.3, 1.0, 1.9, 2.5, 6.0])
    _, found = simulate_with_jacobian(Tank(), times, free=list(tanks), twins=tanks, method=METHODS[1])
    tight = Rodas5P(rtol=1e-11, atol=1e-13)
    for i, name in enumerate(tanks):
        step = 1e-4 * tanks[name]
        up, down = (
            simulate(Tank(), times, twins={**tanks, name: tanks[name] + h}, method=tight) for h in (step, -step)
        )
        assert up.ok.all() and down.ok.all()
        for state_name, slope in found.items():
            expected = (up.values[state_name] - down.values[state_name]) / (2.0 * step[:, None])
            np.testing.assert_allclose(slope[..., i], expected, rtol=1e-4, atol=1e-5)
        assert np.abs(found["V"][..., i]).max() > 0.05, "each of them matters"


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
def test_a_save_at_the_very_time_of_a_jump_gives_the_values_before_it(rtol):
    until = np.linspace(1.5, 2.5, 32)
    times = until[:, None] + np.array([-1e-6, 0.0, 1e-6])
    settings = {"twins": {"until": until}, "method": Rodas5P(rtol=rtol, atol=rtol / 10.0)}
    plain = simulate(Tank(), times, **settings)
    found, jacobian = simulate_with_jacobian(Tank(), times, free=["R"], **settings)
    for table in (plain.values["P"], found.values["P"], jacobian["P"][..., 0]):
        before, at, behind = np.asarray(table).T
        np.testing.assert_allclose(at, before, rtol=1e-5)
        assert (np.abs(behind - before) > 0.2).all()


class Pipe(Organ):
    """A pressure that is linear in its equation, so that no error test sees it jump; an event half way down."""

    time = "h"
    begin: Scalar = param(-1.0, "h", "when the inflow begins")
    until: Scalar = param(2.0, "h", "when it ends")
    R: Scalar = param(0.5, "kPa*h/L", "resistance")
    C: Scalar = param(2.0, "L/kPa", "compliance")
    k: Scalar = param(0.2, "1/h", "loss by volume")
    rate: Scalar = param(1.0, "L/h", "inflow that makes the pressure jump")

    class State(Vars):
        V: Scalar = state(1.0, "L", "volume")
        W: Scalar = state(0.0, "kPa*h", "pressure over time")
        since: Scalar = state(0.0, "h", "when it fell")
        P: Scalar = algebraic(0.5, "kPa", "pressure")

    class Events(Vars):
        fell: Scalar = event("kPa", "half of the jump", direction="falling")
        below: Scalar = event("kPa", "which it never gets to", direction="both")

    def rates(self, t, x, u):
        inflow = jnp.where((t > self.begin) & (t < self.until), self.rate, 0.0 * self.rate)
        return self.State(
            V=1.0 * self.rate - self.k * x.V,
            W=x.P,
            since=0.0 * x.since / self.until,
            P=x.P - x.V / self.C - self.R * inflow,
        )

    def crossings(self, t, x, u):
        still, more = x.V / self.C, self.R * self.rate
        return self.Events(fell=x.P - still - 0.5 * more, below=x.P - still + 0.1 * more)

    def after(self, e, t, x, u):
        return self.State(V=x.V, W=x.W, since=t, P=x.P)


@pytest.mark.parametrize("rtol", [1e-4, 1e-8])
@pytest.mark.parametrize("begin", [-1.0, 0.0])
def test_saves_and_events_where_an_algebraic_variable_jumps(begin, rtol):
    """V = 1 / k + (1 - 1 / k) exp(-k t); the event is at the jump, once; W takes the jump's time."""
    until, k = np.linspace(0.63, 5.37, 32), np.linspace(0.1, 0.5, 32)
    times = np.linspace(0.0, 6.0, 61)
    twins = {"until": until, "k": k}
    method = Rodas5P(rtol=rtol, atol=rtol / 10.0)
    found, jacobian = simulate_with_jacobian(Pipe(begin=begin), times, free=["until", "R"], twins=twins, method=method)
    plain = simulate(Pipe(begin=begin), times, twins=twins, method=method)
    volume = (1.0 / k + (1.0 - 1.0 / k) * np.exp(-k * times[:, None])).T
    flows = (times < until[:, None]) & (times > begin)
    for solved in (plain, found):
        assert solved.ok.all(), solved.failures()
        np.testing.assert_allclose(solved.values["P"], volume / 2.0 + 0.5 * flows, rtol=20.0 * rtol)
        np.testing.assert_allclose(solved.values["since"][:, -1], until, rtol=1e-12)
        np.testing.assert_array_equal(solved.events["fell"], 1)
        np.testing.assert_array_equal(solved.events["below"], 0)
    np.testing.assert_allclose(jacobian["since"][:, -1, 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(jacobian["W"][:, -1], np.stack([np.full(32, 0.5), until], axis=-1), rtol=1e-6)
    np.testing.assert_allclose(jacobian["P"][..., 1], 1.0 * flows, atol=1e-6)


def test_a_state_too_slow_to_move_in_the_least_step_crosses_a_jump():
    """V = 1000 + rate t passes its level, at which P falls from 2 to 1."""

    class Slow(Organ):
        rate: Scalar = param(0.01, "1/s", "how fast it rises")
        level: Scalar = param(1000.02, "1", "where it jumps")

        class State(Vars):
            V: Scalar = state(1000.0, "1", "slow")
            P: Scalar = algebraic(2.0, "1", "jumps")

        def rates(self, t, x, u):
            more = jnp.where(x.V - self.level > 0.0, 0.0 * self.rate, 1.0 + 0.0 * self.rate)
            return self.State(V=self.rate, P=x.P + 0.1 * x.P**3 - 1.1 - 1.7 * more)

    level = np.linspace(1000.005, 1000.035, 16)
    times = np.linspace(0.0, 4.0, 21)
    found = simulate(Slow(), times, twins={"level": level}, method=METHODS[1])
    assert found.ok.all(), found.failures()
    passed = times > 100.0 * (level[:, None] - 1000.0)
    np.testing.assert_allclose(found.values["P"], np.where(passed, 1.0, 2.0), rtol=1e-7)
    assert found.steps.max() < 400


class Pump(Organ):
    """Pulses that make a pressure jump, which opens a valve; and a count of whole periods."""

    period: Scalar = param(3.0, "s", "from one pulse to the next")
    width: Scalar = param(1.0, "s", "how long a pulse lasts")
    pulse: Scalar = param(1.0, "1", "pressure of it")
    opening: Scalar = param(0.6, "1", "pressure that opens the valve")
    k: Scalar = param(0.2, "1/s", "how fast volume follows pressure")

    class State(Vars):
        V: Scalar = state(1.0, "1", "volume")
        P: Scalar = algebraic(0.0, "1", "pressure")
        B: Scalar = state(0.0, "s", "pressure over time by the count of periods")

    def rates(self, t, x, u):
        pushed = jnp.where(t % self.period < self.width, self.pulse, 0.0 * self.pulse)
        lost = jnp.where(x.P - self.opening > 0.0, 0.1 * self.pulse, 0.0 * self.pulse)
        return self.State(
            V=self.k * (x.P - x.V - lost),
            P=x.P + 0.3 * x.P**3 - 0.5 * x.V - pushed,
            B=jnp.floor(t / self.period) * x.P,
        )


def test_jumps_by_remainders_and_whole_periods_flip_what_hangs_on_the_pressure():
    draw, n, times = np.random.default_rng(5), 12, np.array([1.0, 9.7, 11.4])
    ranges = {"period": (1.7, 2.5), "width": (0.4, 1.2), "pulse": (0.5, 2.0), "opening": (0.3, 0.9)}
    twins = {name: draw.uniform(low, high, n) for name, (low, high) in ranges.items()}
    found, jacobian = simulate_with_jacobian(Pump(), times, free=list(twins), twins=twins, method=METHODS[1])
    assert found.ok.all(), found.failures()
    tight = Rodas5P(rtol=1e-11, atol=1e-13)
    for i, name in enumerate(twins):
        up, down = (
            simulate(Pump(), times, twins={**twins, name: twins[name] + h}, method=tight) for h in (1e-5, -1e-5)
        )
        assert up.ok.all() and down.ok.all()
        for state_name, slope in jacobian.items():
            expected = (up.values[state_name] - down.values[state_name]) / 2e-5
            np.testing.assert_allclose(slope[..., i], expected, rtol=1e-4, atol=1e-5)
