"""Measured inputs of many samples: no program per length, no change by the fill, no sorting of what is in order."""

import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Filter, Oral

from vht.solve import Doses, Schedule, Signal, Tsit5, simulate, simulate_with_jacobian
from vht.solve.columns import kernel_columns
from vht.solve.padding import padded, padded_length
from vht.solve.request import Request
from vht.solve.schedule import event_list

TIGHT = Tsit5(rtol=1e-9, atol=1e-11, max_steps=1_000_000)


def filtered_by_recursion(times, tau, knots, values, x0=1.0):
    """State of `Filter` at knots after a linear input, each from the one before: `systems.filtered` in a loop of NumPy."""
    x = x0 * np.exp(-knots[0] / tau) + values[0] * (1.0 - np.exp(-knots[0] / tau))
    states = np.empty_like(knots)
    for i, (t, u) in enumerate(zip(knots, values, strict=True)):
        if i:
            gap = t - knots[i - 1]
            slope, decay = (u - values[i - 1]) / gap, np.exp(-gap / tau)
            x = (x - values[i - 1] + slope * tau) * decay + u - slope * tau
        states[i] = x
    return states[np.searchsorted(knots, times)]


def arterial(rng, samples, twins):
    """A pressure with noise at 125 Hz: times in min for `Filter`, each twin's own."""
    time = np.broadcast_to((1.0 + np.arange(samples)) * 0.008, (twins, samples))
    rate = np.linspace(6.0, 9.0, twins)[:, None]
    return time, 90.0 + 20.0 * np.sin(rate * time) + rng.normal(size=(twins, samples))


class Compilations(logging.Handler):
    """The names of what XLA compiled."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.names = []

    def emit(self, record):
        message = record.getMessage()
        if message.startswith("Compiling "):
            self.names.append(message.split()[1])


@pytest.fixture
def compilations():
    handler, logger = Compilations(), logging.getLogger("jax._src.interpreters.pxla")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    with jax.log_compiles(True):
        yield handler.names
    logger.removeHandler(handler)
    logger.propagate = propagate


# ---------------------------------------------------------------------------------------------------------- closed form


def test_five_thousand_samples_follow_the_recursion(rng):
    time, value = arterial(rng, 5000, 3)
    saves, taus = time[0, [0, 7, 1234, 4999]], np.array([0.5, 2.0, 9.0])
    found = simulate(
        Filter(), saves, twins={"tau": taus}, schedule=Schedule(signals={"u": Signal(time, value)}), method=TIGHT
    )
    np.testing.assert_array_equal(found.status, 0)
    for x, tau, knots, values in zip(found.values["x"], taus, time, value, strict=True):
        np.testing.assert_allclose(x, filtered_by_recursion(saves, tau, knots, values), rtol=1e-8)
    # a kink asks for no smaller step: none is rejected, and each lands on the next sample
    assert found.steps.max() <= 5000 + 100 and found.rejected.max() < 100


def test_a_hundred_thousand_samples(rng):
    time, value = arterial(rng, 100_000, 2)
    found = simulate(
        Filter(),
        time[0, [-1]],
        schedule=Schedule(signals={"u": Signal(time, value)}),
        method=Tsit5(rtol=1e-6, atol=1e-6, max_steps=200_000),
    )
    expected = [filtered_by_recursion(time[0, [-1]], 2.0, *row)[0] for row in zip(time, value, strict=True)]
    np.testing.assert_array_equal(found.status, 0)
    np.testing.assert_allclose(found.values["x"][:, 0], expected, rtol=1e-6)


def test_gradients_through_a_long_signal(rng):
    time, value = arterial(rng, 2000, 1)
    schedule = Schedule(signals={"u": Signal(time[0], value[0])})
    saves = time[0, [500, 1999]]
    _, jacobian = simulate_with_jacobian(Filter(), saves, free=["tau"], schedule=schedule, method=TIGHT)
    up, down = (filtered_by_recursion(saves, 2.0 * (1.0 + e), time[0], value[0]) for e in (1e-5, -1e-5))
    np.testing.assert_allclose(jacobian["x"][0, :, 0], (up - down) / 4e-5, rtol=1e-6)


def test_gradients_of_samples_keep_their_shape():
    time, value = np.arange(1.0, 6.0), np.array([2.0, 6.0, 3.0, 9.0, 4.0])

    def last(value):
        signal = Signal(time, value)
        return simulate(Filter(), np.array([4.0]), schedule=Schedule(signals={"u": signal}), method=TIGHT).values["x"][
            0, 0
        ]

    found = jax.grad(last)(jnp.asarray(value))
    # the state is linear in the samples: differences are exact
    expected = [
        filtered_by_recursion([4.0], 2.0, time, value + row)[0] - filtered_by_recursion([4.0], 2.0, time, value)[0]
        for row in np.eye(5)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


# --------------------------------------------------------------------------------------------------------------- lengths


def test_lengths_grow_by_a_quarter_at_most():
    lengths = np.array([padded_length(n) for n in range(700)])
    assert lengths[0] == 0 and (lengths >= np.arange(700)).all() and (np.diff(lengths) >= 0).all()
    assert (lengths[32:] <= 1.34 * np.arange(32, 700)).all()
    assert np.unique([padded_length(n) for n in range(0, 1_000_000, 997)]).size <= 60


def test_another_length_compiles_nothing(rng, compilations):
    def run(samples, saves):
        time, value = arterial(rng, samples, 3)
        doses = Doses(np.linspace(0.1, 0.2, samples // 300), np.ones(samples // 300))
        schedule = Schedule({"u": doses}, {"u": Signal(time, value)})
        return simulate(Filter(), np.linspace(0.0, 1.0, saves), schedule=schedule).values["x"]

    run(1200, 20)
    assert any("_solve_values" in name for name in compilations)
    compilations.clear()
    for samples, saves in ((1300, 20), (1450, 22), (1201, 24)):
        assert run(samples, saves).shape == (3, saves)
    assert compilations == []
    run(1500, 20)
    assert any("_solve_values" in name for name in compilations)


@pytest.mark.parametrize("interpolation", ["linear", "hold"])
def test_fill_changes_nothing(rng, monkeypatch, interpolation):
    time, value = arterial(rng, 61, 3)
    time = np.array(time)
    time[1, 40:] = np.inf
    schedule = Schedule({"u": Doses([0.1, 0.2], [1.0, 2.0], [0.0, 0.05])}, {"u": Signal(time, value, interpolation)})
    arguments = {"twins": {"tau": np.array([0.5, 2.0, 9.0])}, "schedule": schedule, "free": ["tau"]}
    saves = np.linspace(0.0, 2.0, 13)
    filled, filled_jacobian = simulate_with_jacobian(Filter(), saves, **arguments)
    monkeypatch.setattr("vht.solve.padding.padded_length", lambda length: length)
    plain, plain_jacobian = simulate_with_jacobian(Filter(), saves, **arguments)
    np.testing.assert_array_equal(filled.status, 0)
    for name in plain.values:
        np.testing.assert_array_equal(filled.values[name], plain.values[name])
        np.testing.assert_array_equal(filled_jacobian[name], plain_jacobian[name])
    np.testing.assert_array_equal(filled.steps, plain.steps)
    # the last sample is held after it
    np.testing.assert_allclose((plain.values["gap"] + plain.values["x"])[1, -1], value[1, 39], rtol=1e-12)


def test_numbers_of_a_transformation_are_left_alone():
    schedule = Schedule(signals={"u": Signal(np.arange(5.0), np.ones(5))})
    request = Request.of(Filter(), np.arange(3.0), None, None, 0.0, schedule, None, TIGHT)
    assert padded(request.given).schedule.signals["u"].value.shape == (8,)

    def shape(value):
        moved = request.given._replace(schedule=Schedule(signals={"u": Signal(np.arange(5.0), value)}))
        assert padded(moved) is moved
        return value

    jax.eval_shape(shape, np.ones(5))


# --------------------------------------------------------------------------------------------------------------- merging


def merged_by_sorting(schedule, lags):
    """Times of all events, sorted: what `event_list` finds by merging."""
    times = [np.asarray(signal.time) for signal in schedule.signals.values()]
    for port, doses in schedule.doses.items():
        arrivals = np.asarray(doses.time) + lags.get(port, 0.0)
        times.append(arrivals)
        if doses.duration is not None:
            times.append(np.where(doses.duration > 0.0, arrivals + doses.duration, np.inf))
    return np.sort(np.concatenate(times))


@pytest.mark.parametrize("ordered", [(), ("a", "b")])
def test_long_signals_and_doses_merge_in_order_of_time(rng, ordered):
    # times on a grid, so that many coincide
    a, b = (np.sort(rng.integers(0, 40, n) / 4.0) for n in (100, 70))
    doses = Doses(rng.integers(0, 40, 45) / 4.0, rng.uniform(1.0, 2.0, 45), rng.integers(0, 3, 45) / 4.0)
    values = {"a": rng.normal(size=100), "b": rng.normal(size=70)}
    schedule = Schedule(
        {"b": doses, "c": doses}, {"a": Signal(a, values["a"], "hold"), "b": Signal(b, values["b"], "linear")}
    )
    lags = {"c": jnp.asarray(0.25)}
    start = jnp.asarray(3.1)
    events = jax.jit(lambda schedule: event_list(schedule, lags, start, ordered))(schedule)
    np.testing.assert_array_equal(events.time, merged_by_sorting(schedule, lags))
    assert int(events.first) == np.sum(np.asarray(events.time) < 3.1)
    # between events the inputs are those of the plain formulas
    for t in (0.1, 3.1, 5.55, 9.9):
        i = int(np.sum(np.asarray(events.time) <= t)) - 1
        held = values["a"][max(int(np.sum(a <= t)) - 1, 0)]
        np.testing.assert_allclose(events.values["a"][i], held)
        lasting = doses.duration > 0.0
        rate = np.where(lasting, doses.amount / np.where(lasting, doses.duration, 1.0), 0.0)
        for port, lag in (("b", 0.0), ("c", 0.25)):
            running = rate[(doses.time + lag <= t) & (t < doses.time + lag + doses.duration)].sum()
            # at one time the last value counts, and np.interp takes the last one of equal knots from the right
            signal = np.interp(t, b, values["b"]) if port == "b" else 0.0
            slope = events.slopes["b"][i] if port == "b" else 0.0
            np.testing.assert_allclose(
                events.values[port][i] + slope * (t - events.time[i]), running + signal, atol=1e-12
            )
            if t == 3.1:
                np.testing.assert_allclose(events.start_values[port], running + signal, atol=1e-12)
    np.testing.assert_allclose(sum(events.amounts["b"]), doses.amount[doses.duration == 0.0].sum())


def test_samples_in_any_order(rng):
    time, value = arterial(rng, 40, 2)
    shuffle = rng.permutation(40)
    saves = np.linspace(0.0, 0.3, 4)
    sorted_, shuffled = (
        simulate(Filter(), saves, schedule=Schedule(signals={"u": Signal(time[:, order], value[:, order])}))
        for order in (np.arange(40), shuffle)
    )
    np.testing.assert_array_equal(shuffled.values["x"], sorted_.values["x"])
    # inside a transformation nobody knows the order beforehand
    traced = jax.jit(
        lambda time, value: simulate(Filter(), saves, schedule=Schedule(signals={"u": Signal(time, value)})).values["x"]
    )(jnp.asarray(time[:, shuffle]), jnp.asarray(value[:, shuffle]))
    np.testing.assert_array_equal(traced, sorted_.values["x"])


def test_a_shared_signal_stays_shared_when_starts_differ(rng):
    time, value = arterial(rng, 300, 1)
    schedule = Schedule(signals={"u": Signal(time[0], value[0])})
    starts = np.array([0.0, 0.5, 1.0])
    request = Request.of(Filter(), np.array([2.0]), None, None, starts, schedule, None, TIGHT)
    given = jax.tree.map(jnp.asarray, request.given)
    twin, axes = kernel_columns(request.plan, given, (), ())
    assert twin.events.time.shape == (300,) and twin.events.values["u"].shape == (300,)
    assert axes.events.time is None and axes.events.first == 0
    together = simulate(Filter(), np.array([2.0]), start=starts, schedule=schedule, method=TIGHT).values["x"]
    alone = [simulate(Filter(), np.array([2.0]), start=s, schedule=schedule, method=TIGHT).values["x"] for s in starts]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_large_schedules_are_solved_in_slices(rng, monkeypatch):
    time, value = arterial(rng, 50, 7)
    schedule = Schedule(signals={"u": Signal(time, value)})
    whole = simulate(Filter(), np.array([0.4]), schedule=schedule)
    sizes = []
    # not by import, which finds the function of that name
    module = sys.modules["vht.solve.simulate"]
    solve_values = module._solve_values

    def counted(plan, given):
        sizes.append(plan.twins)
        return solve_values(plan, given)

    monkeypatch.setattr(module, "_solve_values", counted)
    monkeypatch.setattr(module, "TABLE_BYTES", 3 * 2 * 50 * 8)
    sliced = simulate(Filter(), np.array([0.4]), schedule=schedule)
    assert sizes == [3, 3, 3]
    np.testing.assert_array_equal(sliced.values["x"], whole.values["x"])


def test_a_dose_among_samples_is_a_jump(rng):
    """After it the step is estimated anew; the samples before and after it ask for nothing."""
    time = np.linspace(0.0, 4.0, 401)
    drip = Signal(time, 5.0 + np.sin(time))
    schedule = Schedule({"dose": Doses(np.array([2.0]), np.array([100.0]))}, {"drip": drip})
    found = simulate(Oral(ka=400.0), np.array([4.0]), schedule=schedule, method=Tsit5(rtol=1e-8, atol=1e-8))
    alone = simulate(
        Oral(ka=400.0), np.array([4.0]), schedule=Schedule({}, {"drip": drip}), method=Tsit5(rtol=1e-8, atol=1e-8)
    )
    p = {"ka": 400.0, "ke": 0.2, "F": 0.8}
    late = 4.0 - 2.3
    given = 100.0 * p["F"] * p["ka"] / (p["ka"] - p["ke"]) * (np.exp(-p["ke"] * late) - np.exp(-p["ka"] * late))
    np.testing.assert_allclose(found.values["central"] - alone.values["central"], given, rtol=1e-6)
