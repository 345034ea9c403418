"""Twins put side by side by their steps: what is expected of them, and that nobody's result hangs on it."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks.__main__ import main
from vht.calibrate import Additive, Free, Measurements, Observable, Problem, calibrate, solver
from vht.library import catalogue
from vht.model import Organ, Scalar, Twins, Vars, param, state
from vht.solve import Doses, Rodas5P, RushLarsen, Schedule, Signal, Tsit5, simulate, simulate_with_jacobian
from vht.solve.given import Results
from vht.solve.regroup import Regrouping, expectation, fitted, lockstep, longest_first, numbers, turns
from vht.solve.request import Request

LANES = 8
METHOD = Tsit5(rtol=1e-8, atol=1e-10)


class Oscillator(Organ):
    """x = cos(omega t): at a tolerance its steps are in proportion to omega."""

    omega: Scalar = param(1.0, "1/s", "angular frequency")

    class State(Vars):
        x: Scalar = state(1.0, "m", "place")
        v: Scalar = state(0.0, "m/s", "speed")

    def rates(self, t, x, u):
        return self.State(x=x.v, v=-(self.omega**2) * x.x)


def given_of(model, times, columns, schedule=None):
    return Request.of(model, times, columns, None, 0.0, schedule, None, METHOD).given


def results(steps):
    """What a slice gives, as far as it is looked at."""
    return Results({}, steps * 0, steps, steps * 0, steps * 0, {})


def same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@pytest.fixture
def oscillators(rng):
    """Columns, times and steps of 512 twins."""
    columns = {"omega": rng.uniform(0.5, 5.0, 512)}
    times = np.array([0.0, 1.0, 10.0])
    return columns, times, np.asarray(simulate(Oscillator(), times, twins=columns, method=METHOD).steps)


def test_turns_are_those_of_each_group_s_longest(rng):
    for count in (0, 1, 7, 8, 61):
        steps = rng.integers(1, 1000, count).astype(np.int32)
        groups = [steps[i : i + LANES] for i in range(0, count, LANES)]
        assert turns(steps, LANES) == sum(int(max(group)) for group in groups)


def test_turns_do_not_overflow():
    assert turns(np.full(64, 2**31 - 1, np.int32), 1) == 64 * (2**31 - 1)


def test_no_order_has_fewer_turns_than_the_longest_first(rng):
    steps = rng.integers(1, 1000, 64).astype(np.int32)
    order = longest_first(steps)
    assert sorted(order) == list(range(64))
    best = turns(steps[order], LANES)
    assert all(best <= turns(rng.permutation(steps), LANES) for _ in range(100))
    # what is not known yet leaves the caller's order
    assert (longest_first(np.zeros(64, np.int32)) == np.arange(64)).all()


def test_a_slice_tells_the_steps_of_the_next(oscillators):
    columns, times, steps = oscillators
    given = given_of(Oscillator(), times, columns)
    first, then = np.arange(256), np.arange(256, 512)
    found = expectation(given, first, steps[first], LANES)
    assert found is not None
    order = found.order(given, then)
    assert sorted(order) == list(then)
    bound = turns(steps[then][longest_first(steps[then])], LANES)
    assert turns(steps[order], LANES) <= 1.02 * bound < turns(steps[then], LANES) / 1.3


def test_own_schedules_and_times_tell_too(rng):
    count = 512
    kept = np.arange(5) < rng.integers(0, 6, count)[:, None]
    time = np.where(kept, np.sort(rng.uniform(0.0, 20.0, kept.shape), axis=1), np.inf)
    doses = Doses(time=time, amount=np.where(kept, 100.0, 0.0))
    times = np.linspace(0.0, 1.0, 4) * rng.uniform(5.0, 50.0, count)[:, None]
    schedule = Schedule(doses={"dose": doses})
    model, columns = catalogue()["oral_drug"](), {"ka": rng.uniform(0.5, 2.0, count)}
    steps = np.asarray(simulate(model, times, twins=columns, schedule=schedule, method=METHOD).steps)
    given = given_of(model, times, columns, schedule)
    half = np.arange(256)
    found = expectation(given, half, steps[half], LANES)
    assert found is not None
    order = found.order(given, half + 256)
    assert turns(steps[order], LANES) < turns(steps[half + 256], LANES) / 1.2


def test_an_expectation_s_order_is_that_of_its_parabola(rng):
    numbers = [rng.standard_normal(400), rng.uniform(0.0, 1.0, 400)]
    log_steps = 5.0 + 0.3 * numbers[0] - 0.1 * numbers[0] ** 2 + 2.0 * (numbers[1] - 0.5) ** 2
    found = fitted(numbers, np.exp(log_steps).astype(np.int32))
    assert np.corrcoef(found.of(numbers), log_steps)[0, 1] > 0.99


def test_nothing_is_put_in_order_where_it_does_not_pay(oscillators, rng):
    columns, times, steps = oscillators
    given = given_of(Oscillator(), times, columns)
    rows = np.arange(512)
    assert expectation(given, rows, steps, LANES) is not None
    assert expectation(given, rows[:32], steps[:32], LANES) is None, "too few twins"
    assert expectation(given, rows, np.full(512, 100, np.int32), LANES) is None, "equal steps"
    assert expectation(given, rows, rng.integers(50, 500, 512).astype(np.int32), LANES) is None, "steps nobody foresees"
    alike = given_of(Oscillator(), times, None)._replace(start=np.zeros(()))
    assert expectation(alike, rows, steps, LANES) is None, "nothing tells the twins apart"
    by_frequency = given_of(Oscillator(), times, {"omega": np.sort(columns["omega"])})
    assert expectation(by_frequency, rows, np.sort(steps), LANES) is None, "in order already"
    # what was put in order is judged by the order in which the caller has it
    order = longest_first(steps)
    assert expectation(given, order, steps[order], LANES) is not None


def test_impossible_numbers_disturb_no_order(oscillators):
    columns, times, steps = oscillators
    omega = columns["omega"].copy()
    omega[[3, 77, 300, 411]] = np.nan, np.inf, -1e30, 1e300
    given = given_of(Oscillator(), times, {"omega": omega})
    first, then = np.arange(256), np.arange(256, 512)
    found = expectation(given, first, steps[first], LANES)
    assert found is not None
    order = found.order(given, then)
    assert sorted(order) == list(then)
    assert turns(steps[order], LANES) < turns(steps[then], LANES) / 1.2


def test_long_measured_inputs_are_not_looked_through(rng):
    count, samples = 8, 1000
    time = np.tile(np.linspace(0.0, 100.0, samples), (count, 1))
    insulin = Signal(time=time, value=rng.uniform(0.0, 10.0, time.shape))
    given = given_of(
        catalogue()["minimal_glucose"](),
        np.array([100.0]),
        {"S_G": rng.uniform(0.01, 0.03, count)},
        Schedule(signals={"insulin": insulin}),
    )
    found = numbers(given, np.arange(3))
    assert {column.shape for column in found} == {(3,)} and len(found) == 1


def test_a_regrouping_hears_of_results_alone(oscillators):
    columns, times, steps = oscillators
    regrouping = Regrouping(given_of(Oscillator(), times, columns), LANES)
    rows = np.arange(256)
    assert regrouping.order(rows) is rows
    for other in ((np.zeros(3), np.zeros(3)), {"steps": steps}, np.zeros(3), ()):
        regrouping.learn(rows, other)
        assert regrouping.order(rows) is rows
    regrouping.learn(rows, (results(steps[:256]), {"x": np.zeros(3)}))
    assert not np.array_equal(regrouping.order(rows), rows)
    # a slice in which it would not pay ends it
    regrouping.learn(rows, results(np.full(256, 100, np.int32)))
    assert regrouping.order(rows) is rows


def test_lanes_in_lockstep():
    assert lockstep("gpu", np.dtype(np.float64)) == 32
    here = lockstep("cpu", np.dtype(np.float64))
    assert here >= 2 and lockstep("cpu", np.dtype(np.float32)) in (here, 2 * here)


def test_slices_in_any_order_give_the_bits_of_one_call(oscillators):
    columns, times, _ = oscillators
    whole = simulate(Oscillator(), times, twins=columns, method=METHOD)
    regrouping = Regrouping(given_of(Oscillator(), times, columns), LANES)
    found, moved = np.empty((512, 3)), 0
    for begin in range(0, 512, 128):
        rows = np.arange(begin, begin + 128)
        order = regrouping.order(rows)
        moved += int((order != rows).any())
        part = simulate(Oscillator(), times, twins={"omega": columns["omega"][order]}, method=METHOD)
        found[order] = part.values["x"]
        regrouping.learn(order, results(np.asarray(part.steps)))
    assert moved == 3
    assert same_bits(found, np.asarray(whole.values["x"]))
    assert np.abs(found - np.cos(columns["omega"][:, None] * times)).max() < 1e-5
    sliced = simulate(Oscillator(), times, twins=columns, method=METHOD, slice_size=128)
    assert same_bits((sliced.values, sliced.steps, sliced.status), (whole.values, whole.steps, whole.status))


@pytest.mark.parametrize(
    ("name", "until", "method", "impossible"),
    [
        ("circulation", 0.5, Tsit5(rtol=1e-5, atol=1e-5), "C_AR_SYS"),
        ("pbpk", 6.0, Rodas5P(rtol=1e-5, atol=1e-8), "BW"),
        ("noble", 20.0, RushLarsen(rtol=1e-4, atol=1e-6), "g_Na"),
    ],
    ids=["tsit5", "rodas5p", "rush_larsen"],
)
def test_no_twin_s_result_depends_on_its_neighbours(name, until, method, impossible, rng):
    model = catalogue()[name]()
    drawn = Twins.sample(model, 21, seed=3).columns or {impossible: rng.uniform(0.8, 1.2, 21)}
    columns = {column: np.asarray(values).copy() for column, values in drawn.items()}
    impossible = impossible if impossible in columns else next(iter(columns))
    columns[impossible][5] = np.nan
    times, free = np.linspace(0.0, until, 4), [impossible]

    def solve(order):
        twins = {column: values[order] for column, values in columns.items()}
        found, slopes = simulate_with_jacobian(model, times, free=free, twins=twins, method=method)
        return found.values, slopes, found.status, found.steps, found.rejected

    as_they_come = solve(np.arange(21))
    assert (np.asarray(as_they_come[2]) != 0).sum() == 1
    order = rng.permutation(21)
    shuffled = solve(order)
    assert same_bits(shuffled, jax.tree.map(lambda leaf: np.asarray(leaf)[order], as_they_come))


@pytest.fixture
def problem(rng):
    """Oscillators whose starting places are measured, at times of their own and with a known frequency of their own."""
    count, points = 24, 6
    omega, size = rng.uniform(0.5, 5.0, count), rng.uniform(0.5, 2.0, count)
    times = np.sort(rng.uniform(0.1, 10.0, (count, points)), axis=1)
    value = size[:, None] * np.cos(omega[:, None] * times) + 0.01 * rng.standard_normal(times.shape)
    return size, Problem(
        model=Oscillator(),
        free={"initial.x": Free(start=1.0, transform="identity"), "initial.v": Free(start=0.1, transform="identity")},
        observables={"place": Observable("x", Additive(sd=0.01))},
        measurements=Measurements(
            np.repeat(np.arange(count), points), times.ravel(), ["place"] * times.size, value.ravel()
        ),
        twins={"omega": omega},
        method=METHOD,
    )


def test_a_calibration_s_rounds_are_put_in_order_and_change_no_bit(problem, monkeypatch):
    size, problem = problem
    asked, curves = [], solver.curves

    def heard(problem, natural, twin, *rest):
        found = curves(problem, natural, twin, *rest)
        asked.append((twin, found[3]))
        return found

    monkeypatch.setattr(solver, "curves", heard)
    regrouped = calibrate(problem)
    monkeypatch.setattr(solver, "longest_first", lambda last: np.arange(len(last)))
    plain = calibrate(problem)
    for field in dataclasses.fields(plain):
        if field.name not in ("seconds", "method", "transforms", "starts"):
            assert same_bits(getattr(regrouped, field.name), getattr(plain, field.name)), field.name
    assert (np.abs(regrouped.estimate[:, 0] - size) < 5.0 * regrouped.standard_error[:, 0]).all()
    # nothing is known of the first round's twins; the second one's are in the order of the first one's steps
    (first, steps), (second, _) = asked[:2]
    assert (first == np.arange(24)).all() and len(second) == 24
    assert (np.diff(steps[second]) <= 0).all() and (np.diff(steps[second]) < 0).any()


def test_the_benchmark_s_figures_fit_each_other(tmp_path):
    main(["regroup", "--quick", "--out", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    tables = json.loads(file.read_text())["benchmarks"]["regroup"]["tables"]
    cohorts = {row["cohort"]: row for row in tables["regroup, steps"]}
    assert {"hovorka, own meals", "Lorenz, rho 0-21 in order", "Lorenz, rho 0-21 shuffled"} <= set(cohorts)
    for row in cohorts.values():
        assert row["ok"] == row["twins"] == 256
        assert 0.0 < row["warp"] <= row["vector"] <= row["vector_sorted"] <= 1.0 and row["warp"] <= row["warp_sorted"]
    one, other = (cohorts[f"Lorenz, rho 0-21 {order}"] for order in ("in order", "shuffled"))
    assert one["mean"] == other["mean"] and one["vector_sorted"] == other["vector_sorted"]
    for row in tables["regroup, predictors"]:
        # nothing is better than the order of the steps themselves, but for groups that are not full
        cohort = cohorts[row["cohort"]]
        assert row["vector"] <= 1.05 * cohort["vector_sorted"] / cohort["vector"], row["predictor"]
        assert row["vector_net"] <= row["vector"] and row["cost"] >= 0.0
    assert len(tables["regroup, this processor's clock"]) == 6 * len(cohorts)
    assert [row["twins"] for row in tables["regroup, calibration"]] == [16, 16]


def test_simulate_puts_its_slices_in_order_and_changes_no_bit(oscillators, monkeypatch):
    columns, times, _ = oscillators
    columns = {"omega": columns["omega"][:500]}  # the last slice is not full
    asked, order = [], Regrouping.order

    def heard(self, rows):
        asked.append((rows, order(self, rows)))
        return asked[-1][1]

    monkeypatch.setattr(Regrouping, "order", heard)

    def solve(**slices):
        found, slopes = simulate_with_jacobian(
            Oscillator(), times, free=["omega"], twins=columns, method=METHOD, device="cpu", **slices
        )
        return found.values, slopes, found.status, found.steps, found.rejected

    whole = solve()
    assert not asked
    assert same_bits(solve(slice_size=128), whole)
    assert [bool((rows != put).any()) for rows, put in asked] == [False, True, True, True]
