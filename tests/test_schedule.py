"""Merging doses and signals into one list of events, and how a twin's states answer to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import (
    Filter,
    Oral,
    filter_schedule,
    filtered,
    oral_central,
    oral_schedule,
)

from vht.errors import ModelError
from vht.model import Organ, Scalar, Vars, port, state
from vht.solve import Doses, Schedule, Signal, Status, Tsit5, simulate, steady_state
from vht.solve.schedule import event_list

TIGHT = Tsit5(rtol=1e-9, atol=1e-11)
BACKENDS = ["lanes", "xla"]


def _events(schedule, lags=None, start=0.0):
    return event_list(schedule, lags or {}, jnp.asarray(start))


# ------------------------------------------------------------------------------------------------------------ the list


def test_events_are_in_order_of_time_and_late_ones_last():
    schedule = Schedule(
        doses={"a": Doses(jnp.array([3.0, 1.0, jnp.inf]), jnp.array([30.0, 10.0, 99.0]))},
        signals={"b": Signal(jnp.array([0.0, 2.0]), jnp.array([5.0, 6.0]), "hold")},
    )
    events = _events(schedule)
    np.testing.assert_array_equal(events.time, [0.0, 1.0, 2.0, 3.0, np.inf])
    np.testing.assert_array_equal(events.amounts["a"][:4], [0.0, 10.0, 0.0, 30.0])
    np.testing.assert_array_equal(events.values["b"][:4], [5.0, 5.0, 6.0, 6.0])
    assert events.first == 0


def test_nothing_scheduled_is_no_list():
    assert _events(Schedule()) is None


def test_infusions_add_up_and_end_at_exactly_zero():
    times, amounts, lengths = jnp.array([0.0, 0.1, 0.2]), jnp.array([0.1, 0.7, 0.3]), jnp.array([1.0, 0.7, 1e-3])
    events = _events(Schedule(doses={"a": Doses(times, amounts, lengths)}))
    # the last runs from 0.2 to 0.201, which in float64 is not quite 1e-3 long
    running = [0.1, 1.1, 1.1 + 0.3 / ((0.2 + 1e-3) - 0.2), 1.1, 0.1, 0.0]
    # rounding is that of the largest sum
    np.testing.assert_allclose(events.values["a"], running, rtol=0.0, atol=301.1 * 4e-16)
    assert events.values["a"][-1] == 0.0
    np.testing.assert_array_equal(events.amounts["a"], 0.0)


def test_lags_delay_the_doses_of_their_port_alone():
    doses = Doses(jnp.array([1.0]), jnp.array([2.0]))
    events = _events(Schedule(doses={"a": doses, "b": doses}), {"a": jnp.asarray(0.5)})
    np.testing.assert_array_equal(events.time, [1.0, 1.5])
    np.testing.assert_array_equal(events.amounts["a"], [0.0, 2.0])


def test_what_lies_before_the_start_is_in_force_there():
    schedule = Schedule(
        doses={"a": Doses(jnp.array([0.0, 1.0]), jnp.array([8.0, 5.0]), jnp.array([4.0, 0.0]))},
        signals={"b": Signal(jnp.array([1.0, 3.0]), jnp.array([1.0, 5.0]))},
    )
    events = _events(schedule, start=2.0)
    assert events.first == 3
    assert events.start_values["a"] == 2.0
    assert events.start_values["b"] == 3.0
    assert events.start_slopes["b"] == 2.0


def test_an_impossible_lag_cannot_hide():
    events = _events(Schedule(doses={"a": Doses(jnp.array([1.0]), jnp.array([2.0]))}), {"a": jnp.asarray(jnp.nan)})
    assert np.isnan(events.time).all()


def test_signals_are_sorted_and_held_at_both_ends():
    schedule = Schedule(signals={"b": Signal(jnp.array([4.0, 1.0]), jnp.array([7.0, 3.0]))})
    events = _events(schedule)
    assert events.start_values["b"] == 3.0
    np.testing.assert_array_equal(events.time, [1.0, 4.0])
    np.testing.assert_array_equal(events.values["b"], [3.0, 7.0])
    np.testing.assert_allclose(events.slopes["b"], [4.0 / 3.0, 0.0])


def test_a_signal_without_values_has_none():
    events = _events(Schedule(signals={"b": Signal(jnp.array([jnp.inf, jnp.inf]), jnp.array([0.0, 0.0]))}))
    assert np.isnan(events.start_values["b"])


def test_an_unknown_interpolation_is_refused(unchecked_annotations):
    with pytest.raises(ValueError, match='"linear" or "hold", but got \'cubic\''):
        Signal(jnp.zeros(1), jnp.zeros(1), "cubic")


# ------------------------------------------------------------------------------------------------------------ the solve


@pytest.mark.parametrize("backend", BACKENDS)
def test_doses_and_infusions_follow_the_closed_form(backend):
    times = np.array([0.0, 0.4, 0.8, 1.0, 2.0, 3.3, 4.0, 5.5, 7.4, 7.6, 12.0])
    schedule = oral_schedule()
    p = {"ka": 1.5, "ke": 0.2, "F": 0.8, "lag": 0.3, "base": 2.0}
    found = simulate(Oral(), times, schedule=schedule, method=TIGHT, backend=backend)
    expected = oral_central(jnp.asarray(times), p, schedule)
    np.testing.assert_array_equal(found.status, 0)
    np.testing.assert_allclose(found.values["central"][0], expected, rtol=2e-8, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("interpolation", ["linear", "hold"])
def test_measured_inputs_follow_the_closed_form(backend, interpolation):
    times = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 5.6, 8.0, 20.0])
    schedule = filter_schedule(interpolation)
    signal = schedule.signals["u"]
    found = simulate(Filter(), times, schedule=schedule, method=TIGHT, backend=backend)
    expected = filtered(jnp.asarray(times), 2.0, signal.time, signal.value, interpolation)
    np.testing.assert_allclose(found.values["x"][0], expected, rtol=1e-8)
    # outputs see the input as well: at a jump its value before
    held = {"linear": [2.0, 3.0, 5.0], "hold": [2.0, 6.0, 6.0]}[interpolation]
    at = [2, 5, 6]
    if interpolation == "linear":
        held = [2.0, 5.0, 3.0]
    np.testing.assert_allclose((found.values["gap"] + found.values["x"])[0, at], held, rtol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_save_at_an_event_gives_the_value_before_it(backend):
    schedule = Schedule(doses={"drip": Doses(np.array([0.0, 1.0, 1.0]), np.array([10.0, 5.0, 7.0]))})
    model = Oral(ke=0.5, base=0.0)
    times = np.array([0.0, 0.0, 1.0, 1.0, 1.0 + 1e-9])
    central = simulate(model, times, schedule=schedule, method=TIGHT, backend=backend).values["central"][0]
    left = 10.0 * np.exp(-0.5)
    np.testing.assert_allclose(central, [0.0, 0.0, left, left, left + 12.0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_solve_cut_in_two_is_the_same_solve(backend):
    # cut while an infusion runs, at the time of a bolus
    schedule = Schedule(
        doses={"dose": Doses(np.array([0.0, 2.0, 3.7]), np.array([50.0, 80.0, 40.0]), np.array([0.0, 5.0, 0.0]))}
    )
    whole = simulate(Oral(), np.array([4.0, 9.0]), schedule=schedule, method=TIGHT, backend=backend)
    before = {name: whole.values[name][:, 0] for name in ("gut", "central")}
    rest = simulate(
        Oral(), np.array([9.0]), schedule=schedule, start=4.0, initial=before, method=TIGHT, backend=backend
    )
    for name in before:
        np.testing.assert_allclose(rest.values[name][:, 0], whole.values[name][:, 1], rtol=1e-8)


def test_schedules_of_each_twin_are_its_own():
    schedule = Schedule(
        doses={"drip": Doses(np.array([[0.0, 5.0], [1.0, np.inf]]), np.array([[10.0, 20.0], [30.0, 0.0]]))}
    )
    times = np.array([2.0, 8.0])
    both = simulate(Oral(), times, schedule=schedule, method=TIGHT).values["central"]
    for i in range(2):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], schedule)
        alone = simulate(Oral(), times, schedule=own, method=TIGHT).values["central"]
        np.testing.assert_array_equal(both[i : i + 1], alone)


def test_an_amount_and_a_signal_into_one_port_add_up():
    doses = Doses(np.array([1.0]), np.array([4.0]), np.array([2.0]))
    signal = Signal(np.array([0.0]), np.array([3.0]), "hold")
    both = simulate(
        Filter(tau=1.0),
        np.array([2.0]),
        schedule=Schedule({"u": doses}, {"u": signal}),
        initial={"x": 3.0},
        method=TIGHT,
    )
    np.testing.assert_allclose(both.values["x"], 3.0 + 2.0 * (1.0 - np.exp(-1.0)), rtol=1e-8)


def test_another_schedule_needs_no_other_kernel():
    from vht_kernels.program import KERNELS

    def run(n):
        schedule = Schedule(doses={"drip": Doses(np.arange(n, dtype=float), np.full(n, 3.0))})
        return simulate(Oral(), np.linspace(0.0, 5.0, n + 2), schedule=schedule)

    run(2)
    kernels = len(KERNELS)
    run(7)
    run(3)
    assert len(KERNELS) == kernels


def test_a_signal_input_without_signal_is_refused():
    with pytest.raises(ModelError, match="Input `u` of `Filter` is a signal and needs values: give `schedule="):
        simulate(Filter(), np.array([1.0]))
    with pytest.raises(ModelError, match=r'is a signal and needs values: give `inputs=\{"u": \.\.\.\}`'):
        steady_state(Filter())
    with pytest.raises(ValueError, match="A signal must hold at least one value, but got none in `u`"):
        simulate(Filter(), np.array([1.0]), schedule=Schedule(signals={"u": Signal([], [])}))


def test_a_bolus_into_an_input_that_is_compared_is_refused():
    """Half of it would arrive, or nothing; as an infusion, however short, all of it does."""

    class Guarded(Organ):
        class In(Vars):
            d: Scalar = port("mg/s", "doses", kind="flow")

        class State(Vars):
            A: Scalar = state(0.0, "mg", "amount")

        def rates(self, t, x, u):
            return self.State(A=jnp.maximum(u.d, 0.0 * u.d))

    def given(duration, time=1.0, amount=10.0):
        doses = Doses(jnp.array([time, 2.0]), jnp.array([amount, 5.0]), duration)
        return simulate(Guarded(), np.array([3.0]), schedule=Schedule(doses={"d": doses}))

    for duration in (None, [0.5, 0.0]):
        with pytest.raises(
            ModelError, match=r"`rates` of `Guarded` compares its input `d`.*give the doses a `duration`"
        ):
            given(duration)
        for traced in ({"time": 1.0}, {"amount": 10.0}):
            with pytest.raises(ModelError, match="compares its input `d`"):
                jax.jit(lambda duration=duration, **traced: given(duration, **traced).values["A"])(**traced)
            with pytest.raises(ModelError, match="compares its input `d`"):
                jax.grad(lambda traced, duration=duration: given(duration, **traced).values["A"].sum())(traced)
    np.testing.assert_allclose(given([1e-3, 0.5]).values["A"], [[15.0]], rtol=1e-9)

    # where the duration itself is not known before, the twin fails
    @jax.jit
    def of(duration):
        found = given(duration)
        return found.values["A"], found.status

    with jax.enable_x64(True):
        np.testing.assert_allclose(of(jnp.array([1e-3, 0.5]))[0], [[15.0]], rtol=1e-9)
        value, status = of(jnp.array([0.5, 0.0]))
    assert np.isnan(value).all() and status == Status.NON_FINITE


def test_names_and_shapes_of_schedules_are_checked(unchecked_annotations):
    with pytest.raises(ModelError, match=r"`Oral` has no input `doze`\. Did you mean `dose`"):
        simulate(Oral(), np.array([1.0]), schedule=Schedule(doses={"doze": Doses(np.zeros(1), np.zeros(1))}))
    with pytest.raises(ValueError, match=r"tables of doses `dose` must be of one length, but got \[1, 2\]"):
        simulate(Oral(), np.array([1.0]), schedule=Schedule(doses={"dose": Doses(np.zeros(2), np.zeros(1))}))
    with pytest.raises(ValueError, match="got NaN or -inf in `dose`"):
        simulate(Oral(), np.array([1.0]), schedule=Schedule(doses={"dose": Doses(np.array([np.nan]), np.zeros(1))}))
    with pytest.raises(ValueError, match="got NaN or -inf in `dose`"):
        simulate(Oral(), np.array([1.0]), schedule=Schedule(signals={"dose": Signal([-np.inf, 0.0], [0.0, 1.0])}))
    with pytest.raises(TypeError, match=r"`doses` of a schedule must map inputs to `Doses\(\.\.\.\)`, but got Doses"):
        simulate(Oral(), np.array([1.0]), schedule=Schedule(doses=Doses(np.zeros(1), np.zeros(1))))
