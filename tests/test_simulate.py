"""What `simulate` does with what it cannot use, with large cohorts, and on other machines."""

import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
from systems import Burst, Decay, Oral, Oscillator, decay, oscillator
from vht_kernels import LoweringError

from vht.errors import ModelError
from vht.model import Organ, Scalar, Twins, Vars, constant, param, port, state
from vht.solve import RK4, Doses, Rodas5P, Schedule, Status, Tsit5, simulate, simulate_with_jacobian, steady_state
from vht.solve.device import Place

BACKENDS = ["lanes", "xla"]
MODULE: Any = importlib.import_module("vht.solve.simulate")
DEVICE: Any = importlib.import_module("vht.solve.device")
TIMES = np.array([0.0, 1.0, 2.0])


def _doses(*tables: Any) -> Schedule:
    return Schedule(doses={"drip": Doses(*tables)})


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": Decay}, ModelError, r"`model` must be a model, but got its class: write `Decay\(\)`"),
        ({"model": "Decay"}, ModelError, "`model` must be a model .* but got 'Decay'"),
        ({"times": []}, ValueError, "`times` must hold at least one time, but got none"),
        ({"times": None}, ValueError, "`times` must be numbers, in rows of one length, but got None"),
        ({"times": [[0.0, 1.0], [0.0]]}, ValueError, r"`times` must be numbers, in rows of one length, but got \[\[0"),
        ({"times": [0.0, 3.0, 2.0]}, ValueError, "`times` must not decrease, but got 3 before 2"),
        ({"times": [[0.0, 3.0], [4.0, 5.0]], "start": [0.0, 4.5]}, ValueError, r"\(4.5\), but got 4 of twin 1"),
        ({"times": [0.5], "start": [0.0, 0.75]}, ValueError, r"\(0.75\), but got 0.5 of twin 1"),
        ({"twins": {"k": ["a", "b"]}}, ValueError, r"`parameters.k` must be numbers, .* but got \['a', 'b'\]"),
        (
            {"twins": {"k": np.array([1j])}},
            ValueError,
            r"`parameters.k` must be numbers, .* but got array\(\[0\.\+1\.j",
        ),
        ({"twins": [0.5]}, TypeError, "`twins` must hold columns by name, but got list"),
        ({"initial": {"x": None}}, ValueError, "`initial.x` must be numbers, .* but got None"),
        ({"schedule": {"drip": 1.0}}, TypeError, "`schedule` must be a `Schedule`, but got dict"),
        ({"observe": "x"}, TypeError, r'`observe` must be a list of names, but got a text: write `observe=\["x"\]`'),
        ({"observe": 5}, TypeError, "`observe` must be a list of names, but got 5"),
        ({"observe": [5]}, TypeError, r"`observe` must be a list of names, but got \[5\]"),
        ({"twins": {5: [1.0]}}, ModelError, "`Decay` has no parameter `5`"),
        ({"times": np.array([0, 18000], "timedelta64[s]")}, ValueError, "`times` must be numbers, .* model's units"),
        ({"times": np.array(["2020-01-01"], "datetime64[s]")}, ValueError, "`times` must be numbers, .* model's units"),
        ({"times": [np.timedelta64(1, "h")]}, ValueError, "`times` must be numbers, .* model's units"),
        (
            {"times": np.array([np.timedelta64(1, "h")], object)},
            ValueError,
            "`times` must be numbers, .* model's units",
        ),
        ({"times": ["0", "1"]}, ValueError, r"`times` must be numbers, .* but got \['0', '1'\]"),
        (
            {"twins": {"k": pint.Quantity([0.5], "1/min")}},
            ValueError,
            "`parameters.k` must be numbers, .* model's units",
        ),
        (
            {"schedule": Schedule({"drip": Doses(np.zeros(1, "m8[h]"), [1.0])}), "model": Oral()},
            ValueError,
            "drip.time`",
        ),
        ({"method": Tsit5}, TypeError, r"`method` must be a `Tsit5\(...\)`"),
        ({"slice_size": 2.5}, TypeError, "`slice_size` must be a whole number of twins, but got 2.5"),
        ({"slice_size": 0}, ValueError, "`slice_size` must be at least 1, but got 0"),
    ],
)
def test_a_message_says_what_is_wrong(arguments, error, message, unchecked_annotations):
    arguments = {"model": Decay(), "times": TIMES} | arguments
    with pytest.raises(error, match=message):
        simulate(arguments.pop("model"), arguments.pop("times"), **arguments)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (([1.0], [2.0], [-3.0]), "`duration` of doses must be zero or a positive number, but got -3 in `drip`"),
        (([1.0], [2.0], [np.nan]), "`duration` of doses must be zero or a positive number, but got nan in `drip`"),
        (([1.0], [2.0], [np.inf]), "`duration` of doses must be zero or a positive number, but got inf in `drip`"),
        (([-np.inf], [2.0], [1.0]), "but got NaN or -inf in `drip`"),
    ],
)
def test_impossible_doses_are_refused(tables, message):
    with pytest.raises(ValueError, match=message):
        simulate(Oral(), TIMES, schedule=_doses(*tables))


def test_tables_of_doses_are_numbers(unchecked_annotations):
    with pytest.raises(ValueError, match=r"A table holds numbers, in rows of one length .* \[\[1.0\], \[2.0, 3.0\]\]"):
        Doses([[1.0], [2.0, 3.0]], [1.0])
    wrong: Any = ([1.0], [2.0])
    with pytest.raises(TypeError, match="`drip` among doses must be a `Doses`, but got tuple"):
        simulate(Oral(), TIMES, schedule=Schedule(doses={"drip": wrong}))


def test_a_text_is_no_list_of_free_quantities(unchecked_annotations):
    with pytest.raises(TypeError, match=r'`free` must be a list of names, but got a text: write `free=\["k"\]`'):
        simulate_with_jacobian(Decay(), TIMES, free="k")
    with pytest.raises(TypeError, match=r"`free` must be a list of names, but got \[5\]"):
        simulate_with_jacobian(Decay(), TIMES, free=[5])


@pytest.mark.parametrize("backend", BACKENDS)
def test_twins_without_columns_are_as_many_as_their_names(backend):
    twins = Twins(Decay, {}, names=["Ada", "Bob"])
    found = simulate(Decay(), TIMES, twins=twins, backend=backend)
    assert found.names == ("Ada", "Bob") and found.status.tolist() == [Status.OK] * 2
    np.testing.assert_allclose(found.values["x"], decay(np.tile(TIMES, (2, 1)), Decay().k), rtol=1e-4)


def test_a_sample_without_priors_is_solved_in_every_way():
    twins = Twins.sample(Decay, 3)
    assert simulate(Decay(), TIMES, twins=twins, slice_size=2).values["x"].shape == (3, 3)
    found, jacobian = simulate_with_jacobian(Decay(), TIMES, free=["k"], twins=twins)
    assert found.names == ("0", "1", "2") and jacobian["x"].shape == (3, 3, 1)
    assert steady_state(Decay(), twins=twins).status.shape == (3,)
    with pytest.raises(ValueError, match="There are 3 names of twins, but the columns hold 2"):
        simulate(Decay(), TIMES, twins=twins, initial={"x": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rtol": "1e-4"}, "`rtol` must be zero or a positive number, but got '1e-4'"),
        ({"atol": None}, "`atol` must be zero or a positive number, but got None"),
        ({"rtol": np.ones(2)}, r"`rtol` must be zero or a positive number, but got array\(\[1., 1.\]\)"),
        ({"step": "a"}, "`step` must be a positive number, but got 'a'"),
        ({"max_steps": "a"}, "`max_steps` must be a whole number, but got 'a'"),
        ({"max_steps": 2.5}, "`max_steps` must be a whole number, but got 2.5"),
    ],
)
def test_settings_of_a_method_are_numbers(settings, message, unchecked_annotations):
    with pytest.raises(ValueError, match=message):
        Tsit5(**settings)


def test_numbers_of_numpy_are_settings(unchecked_annotations):
    method = Tsit5(rtol=np.float32(1e-4), atol=np.float64(1e-6), max_steps=np.int64(100))
    assert simulate(Decay(), TIMES, method=method).status.tolist() == [Status.OK]


def test_what_fills_up_a_row_may_hold_anything():
    filled = _doses([1.0, np.inf, np.inf], [2.0, np.nan, 1.0], [0.5, np.nan, np.inf])
    plain = _doses([1.0], [2.0], [0.5])
    found, expected = (simulate(Oral(), TIMES, schedule=schedule).values["central"] for schedule in (filled, plain))
    np.testing.assert_array_equal(found, expected)


# ------------------------------------------------------------------------------------------------------ who fails alone


@pytest.mark.parametrize("backend", BACKENDS)
def test_times_out_of_order_inside_a_transformation_fail_alone(backend):
    times = jnp.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [0.0, 2.0, 3.0]])

    @jax.jit
    def solved(times):
        found = simulate(Decay(), times, start=0.5, backend=backend)
        return found.values["x"], found.status

    values, status = solved(times)
    np.testing.assert_array_equal(status, [Status.OK, Status.NON_FINITE, Status.NON_FINITE])
    np.testing.assert_allclose(values[0], decay(times[0], 0.5, start=0.5), rtol=1e-5)
    assert np.isnan(values[1:]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_length_that_is_not_a_number_inside_a_transformation_fails_alone(backend):
    @jax.jit
    def solved(duration):
        schedule = _doses(jnp.array([1.0]), jnp.array([2.0]), duration)
        return simulate(Oral(), TIMES, schedule=schedule, backend=backend).status

    found = solved(jnp.array([[0.5], [jnp.nan], [jnp.inf]]))
    np.testing.assert_array_equal(found, [Status.OK, Status.NON_FINITE, Status.NON_FINITE])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_impossible_initial_state_is_told_without_a_step(backend):
    found = simulate(Decay(), np.array([0.0]), initial={"x": [np.nan, 1.0, np.inf]}, backend=backend)
    np.testing.assert_array_equal(found.status, [Status.NON_FINITE, Status.OK, Status.NON_FINITE])


def test_what_a_mask_hides_is_no_number():
    rates = np.ma.masked_array([0.5, 1.0], [False, True])
    found = simulate(Decay(), TIMES, twins={"k": rates})
    np.testing.assert_array_equal(found.status, [Status.OK, Status.NON_FINITE])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failed_twin_shows_no_number_for_a_time_it_did_not_reach(backend):
    times = np.linspace(0.0, 20.0, 11)
    found = simulate(Oscillator(), times, backend=backend, method=Tsit5(max_steps=200))
    assert found.status[0] == Status.MAX_STEPS
    reached = np.isfinite(found.values["x"][0])
    assert 1 < reached.sum() < 11
    np.testing.assert_allclose(found.values["x"][0][reached], oscillator(times[reached], 2.0), atol=1e-3)


def test_both_backends_say_that_a_solution_ends():
    # with steps of the least size forced upon it, diffrax would spend the budget
    for backend in ("lanes", "xla"):
        found = simulate(Burst(), np.array([0.5, 2.0]), backend=backend, method=Tsit5(max_steps=5000))
        assert found.status[0] == Status.STEP_TOO_SMALL, backend
        np.testing.assert_allclose(found.values["x"], [[2.0, np.nan]], rtol=1e-5)


# ------------------------------------------------------------------------------------------------- doses and their clock


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("duration", [1e-3, 1e-5, 1e-9])
def test_infusions_far_from_time_zero_give_their_whole_amount(backend, duration):
    # the clock ticks in steps of 1.2e-7 there
    start = 1e9
    schedule = _doses([start + 1.0, start + 1.5], [7.0, 5.0], [duration, 1.0])
    model = Oral(ke=0.0, base=0.0)
    found = simulate(model, start + np.array([2.0, 3.0]), start=start, schedule=schedule, backend=backend)
    np.testing.assert_allclose(found.values["central"], [[9.5, 12.0]], rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_doses_one_tick_of_the_clock_apart(backend):
    when = 3.0 + np.finfo(float).eps * 2.0 * np.arange(5)
    schedule = _doses(when, np.arange(1.0, 6.0), np.array([0.0, 0.0, 2.5, 0.0, 0.0]))
    found = simulate(Oral(ke=0.0, base=0.0), np.array([3.0, 4.0, 6.0]), schedule=schedule, backend=backend)
    assert len(set(when)) == 5
    np.testing.assert_array_equal(found.status, Status.OK)
    np.testing.assert_allclose(found.values["central"], [[0.0, 13.2, 15.0]], rtol=1e-9)


def test_sensitivities_to_times_do_not_hang_on_the_clock():
    def steps(start):
        def solved(when):
            found = simulate(Oral(), start + jnp.array([150.0]), start=start, schedule=_doses(when, jnp.array([9.0])))
            return found.values["central"], found.steps

        when = jnp.array([start + 2.0])
        return int(jax.jvp(solved, (when,), (jnp.ones(1),))[0][1][0])

    assert steps(2.0**20) == steps(0.0)


class Pulse(Organ):
    """A rate that is not 0 for a short while, far from the start."""

    height: Scalar = param(2.0, "mg/s", "rate during the pulse")
    when: Scalar = param(70.0, "s", "middle of the pulse")
    width: Scalar = param(1.0, "s", "half its length")
    time = "s"

    class State(Vars):
        x: Scalar = state(0.0, "mg", "what came in")

    def rates(self, t, x, u):
        return self.State(x=jnp.where(jnp.abs(t - self.when) < self.width, self.height, 0.0 * self.height))


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_step_is_longer_than_the_longest(backend):
    when = np.linspace(60.0, 80.0, 50)
    method = Tsit5(rtol=1e-6, atol=1e-6, max_step=1.9)
    found = simulate(Pulse(), np.array([100.0]), twins={"when": when}, method=method, backend=backend)
    # whether the pulse is seen is the question here; diffrax's error test is no judge of jumps
    np.testing.assert_allclose(found.values["x"], 4.0, atol=1e-3)
    # the rates are 0 at the start: left to itself the first step reaches the end
    assert simulate(Pulse(), np.array([100.0]), backend=backend).values["x"][0, 0] == 0.0


def test_a_longest_step_is_a_number_and_not_for_fixed_steps():
    with pytest.raises(ValueError, match="`max_step` must be a positive number, but got 0"):
        Tsit5(max_step=0.0)
    with pytest.raises(ValueError, match="`max_step` belongs to adaptive steps, but got a fixed `step` as well"):
        Tsit5(step=0.1, max_step=1.0)


def test_numbers_of_a_transformation_may_stand_in_lists(unchecked_annotations):
    def solved(when: Any):
        found = simulate(Decay(), TIMES, twins={"k": [when, 2.0 * when]}, start=np.zeros(2)).values["x"]
        return found[1, 2] + simulate(Oral(ke=0.5), TIMES, schedule=_doses([when], [3.0])).values["central"][0, 2]

    expected = jax.grad(lambda k: decay(2.0, 2.0 * k) + 3.0 * jnp.exp(-0.5 * (2.0 - k)))(0.7)
    assert jax.grad(solved)(0.7) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_solve_that_a_transformation_does_not_touch_may_stand_inside_it(backend):
    @jax.jit
    @jax.vmap
    def scaled(weight):
        return weight * jnp.asarray(simulate(Decay(), TIMES, backend=backend).values["x"][0])

    np.testing.assert_allclose(scaled(jnp.array([2.0]))[0], 2.0 * decay(TIMES, 0.5), rtol=1e-5)


# -------------------------------------------------------------------------------------------------- cohorts and machines


def test_large_cohorts_are_solved_in_slices_of_one_size(monkeypatch):
    k = np.linspace(0.1, 2.0, 11)
    whole = simulate(Decay(), TIMES, twins={"k": k})
    monkeypatch.setattr(MODULE, "MOST", 4)
    sizes = []
    solve_values = MODULE._solve_values
    monkeypatch.setattr(
        MODULE, "_solve_values", lambda plan, given: (sizes.append(plan.twins), solve_values(plan, given))[1]
    )
    sliced = simulate(Decay(), TIMES, twins={"k": k})
    assert sizes == [4, 4, 4]
    np.testing.assert_array_equal(sliced.values["x"], whole.values["x"])
    np.testing.assert_array_equal(sliced.steps, whole.steps)
    sizes.clear()
    simulate(Decay(), TIMES, twins={"k": k[:9]})
    assert sizes == [3, 3, 3]


class Bessel(Organ):
    """What lanes cannot compile."""

    k: Scalar = param(0.5, "1/h", "rate of decay")
    time = "h"

    class State(Vars):
        x: Scalar = state(3.0, "mg", "what decays")

    def rates(self, t, x, u):
        one = jax.lax.bessel_i0e(0.0 * x.x / x.x)
        return self.State(x=-self.k * one * x.x)


@pytest.mark.parametrize("method", [Tsit5(), Rodas5P()])
def test_what_lanes_cannot_compile_is_told_with_its_line(method):
    for solve in (simulate, functools.partial(simulate_with_jacobian, free=["k"])):
        with pytest.raises(LoweringError, match=r"`bessel_.*test_simulate\.py:\d+ \(Bessel.rates\)"):
            solve(Bessel(), TIMES, method=method, backend="lanes")


def test_what_lanes_cannot_compile_runs_on_xla():
    with pytest.warns(UserWarning, match=r"`Bessel` runs on the slower `xla` backend: .*test_simulate\.py"):
        found = simulate(Bessel(), TIMES)
    np.testing.assert_allclose(found.values["x"][0], decay(TIMES, 0.5), rtol=1e-5)


class Forced(Bessel):
    """A decay under a force of complex numbers."""

    def rates(self, t, x, u):
        turned, mg = jnp.exp(1j * (self.k * t).astype(jnp.complex128)), constant(1.0, "mg")
        size = jnp.where(jnp.abs(turned * (x.x / mg).astype(jnp.complex128)) > 10.0, 2.0, 1.0) * jnp.abs(turned)
        return self.State(x=self.k * (jnp.real(turned) * mg - size * x.x))


@pytest.mark.parametrize("method", [Tsit5(rtol=1e-8, atol=1e-8), Rodas5P(rtol=1e-8, atol=1e-8)])
def test_complex_numbers_in_rates(method):
    with pytest.raises(LoweringError, match=r"lanes cannot compile .*test_simulate\.py:\d+ \(Forced.rates\)"):
        simulate(Forced(), TIMES, method=method, backend="lanes")
    with pytest.warns(
        UserWarning, match=r"`Forced` runs on the slower `xla` backend: lanes cannot compile .*Forced.rates"
    ):
        found = simulate(Forced(), TIMES, method=method)
    turn = 0.5 * TIMES
    np.testing.assert_allclose(
        found.values["x"][0], 2.5 * np.exp(-turn) + 0.5 * (np.cos(turn) + np.sin(turn)), atol=3e-6
    )
    same = simulate(Forced(), TIMES, method=method, backend="xla")
    np.testing.assert_array_equal(same.values["x"], found.values["x"])


class Turns(Bessel):
    """A decay at the mean rate of what a scan leaves behind, stacked: an array."""

    def rates(self, t, x, u):
        _, past = jax.lax.scan(lambda c, i: (0.5 * c, c), jnp.asarray(1.0, x.x.dtype), None, length=2)
        return self.State(x=-self.k * past.sum() * x.x / 1.5)


def test_stacked_results_of_a_scan():
    with pytest.raises(LoweringError, match=r"`reduce_sum`: .*arrays are tables.*test_simulate\.py:\d+"):
        simulate(Turns(), TIMES, backend="lanes")
    with pytest.warns(UserWarning, match="`Turns` runs on the slower `xla` backend: .*arrays are tables"):
        found = simulate(Turns(), TIMES)
    np.testing.assert_allclose(found.values["x"][0], decay(TIMES, 0.5), rtol=1e-5)


class Shared(Bessel):
    """A decay at a rate that solves linear equations of pure numbers: both shares are 1."""

    def rates(self, t, x, u):
        matrix, one = jnp.array([[2.0, 1.0], [1.0, 3.0]]), x.x / x.x
        shares = jnp.linalg.solve(matrix, jnp.array([3.0, 4.0]) * one)
        return self.State(x=-self.k * shares[0] * x.x)


def test_linear_equations():
    with pytest.raises(LoweringError, match=r"lanes cannot compile .*arrays are tables.*test_simulate\.py:\d+"):
        simulate(Shared(), TIMES, backend="lanes")
    with pytest.warns(UserWarning, match="`Shared` runs on the slower `xla` backend"):
        found = simulate(Shared(), TIMES)
    np.testing.assert_allclose(found.values["x"][0], decay(TIMES, 0.5), rtol=1e-5)


def test_lanes_stay_on_the_processor_where_jax_would_go_elsewhere(monkeypatch):
    # as on a machine with another accelerator: outside transformations the place is ours to choose, inside it is not
    elsewhere = Place("tpu", (object(),))
    monkeypatch.setattr(DEVICE, "home", lambda: elsewhere)
    placed = []
    chosen = jax.default_device
    monkeypatch.setattr(jax, "default_device", lambda device: (placed.append(device.platform), chosen(device))[1])
    found = simulate(Decay(), TIMES)
    assert (found.settings.backend, placed) == ("lanes", ["cpu"])
    with pytest.warns(UserWarning, match="lanes cannot leave the platform `tpu`"):
        values = jax.jit(lambda k: simulate(Decay(k=k), TIMES).values["x"])(0.5)
    np.testing.assert_allclose(values, found.values["x"], rtol=1e-5)


def test_columns_and_times_with_names_of_their_own(unchecked_annotations):
    pandas = pytest.importorskip("pandas")
    found = simulate(Decay(), [0.0, 1.0], twins=Twins(Decay(), pandas.DataFrame({"k": [0.5, 1.0]})))
    np.testing.assert_allclose(found.values["x"][:, 1], 3.0 * np.exp([-0.5, -1.0]), rtol=1e-5)
    # the times of a result say their unit, and are numbers in it
    again = simulate(Decay(), found.to_xarray()["time"], twins={"k": [0.5, 1.0]})
    np.testing.assert_array_equal(again.values["x"], found.values["x"])


def test_an_empty_table_of_twins_is_not_a_cohort_of_nobody():
    with pytest.raises(ValueError, match="There are 0 names of twins"):
        simulate(Decay(), np.array([0.0, 1.0]), twins=Twins(Decay(), {}))


class Tumour(Organ):
    """What it gives is named as what a dataset has beside it."""

    k: Scalar = param(0.5, "1/s", "decay")

    class State(Vars):
        growth: Scalar = state(1.0, "1", "size")

    class Out(Vars):
        status: Scalar = port("1", "three")
        steps: Scalar = port("1", "four")
        twin: Scalar = port("1", "five")
        time: Scalar = port("1", "six")
        time_: Scalar = port("1", "seven")

    def rates(self, t, x, u):
        return self.State(growth=-self.k * x.growth)

    def outputs(self, t, x, u):
        return self.Out(status=3.0, steps=4.0, twin=5.0, time=6.0, time_=7.0)


def test_names_of_a_model_s_own_are_kept_in_datasets():
    found = simulate(Tumour(), np.array([0.0, 1.0])).to_xarray()
    kept = {name: float(found[name][0, -1]) for name in ("status", "steps", "twin_", "time__", "time_")}
    assert kept == {"status": 3.0, "steps": 4.0, "twin_": 5.0, "time__": 6.0, "time_": 7.0}
    assert found["status_"].dims == ("twin",) and found["status_"] == 0 and found["steps_"] > 1
    assert found["time"].values.tolist() == [0.0, 1.0] and found["twin"].values.tolist() == [0]
    rest = steady_state(Tumour()).to_xarray()
    assert float(rest["growth"][0]) == pytest.approx(0.0, abs=1e-9) and float(rest["growth_"][0]) == pytest.approx(-0.5)
    assert float(rest["twin_"][0]) == 5.0 and int(rest["status_"][0]) == 0 and float(rest["status"][0]) == 3.0


@pytest.mark.parametrize("method", [Tsit5(), Rodas5P(), RK4(step=0.1)])
def test_another_number_of_twins_traces_no_equation_again(method):
    traced = []

    class Counted(Organ):
        """Decay that notes when it is evaluated."""

        k: Scalar = param(1.0, "1/s", "rate")

        class State(Vars):
            A: Scalar = state(1.0, "mg", "amount")

        def rates(self, t, x, u):
            traced.append(t)
            return self.State(A=-self.k * x.A)

    def level(twins):
        found = simulate(Counted(), TIMES, twins={"k": np.ones(twins)}, method=method)
        return found.values["A"][0, 1]

    first = [level(3), level(4)]
    before = len(traced)
    assert before > 0
    assert [level(5), level(6)] == first
    assert len(traced) == before
