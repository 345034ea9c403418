"""How twins end that cannot be calibrated, and that they harm nobody."""

import numpy as np
import pytest
from closed_forms import Line, Oral, closed_form, line, measured_problem, oral

from vht.calibrate import (
    Additive,
    CalibrationStatus,
    Combined,
    Free,
    LevenbergMarquardt,
    Measurements,
    Observable,
    Problem,
    Proportional,
)
from vht.calibrate.estimators import calibrate_with
from vht.calibrate.fit import Predicted
from vht.model import Normal

FREE = {"ka": Free(), "CL": Free(), "V": Free()}
TIMES = np.array([0.5, 1.0, 2.0, 4.0, 7.0, 12.0, 24.0])


def cohort(twins=20, noise=None, seed=0, times=TIMES, free=FREE, **more):
    theta = np.exp(np.log([1.5, 2.8, 32.0]) + np.random.default_rng(seed).normal(size=(twins, 3)) * 0.2)
    at = np.broadcast_to(times, (twins, len(times)))
    problem = measured_problem(Oral, free, oral, theta, at, noise or Additive(), lambda f: 0.2, seed=seed, **more)
    return problem, closed_form(problem, oral)


def fit_line(free, times=(0.0, 1.0, 2.0, 3.0), noise=None, value=None):
    times = np.asarray(times)
    value = 1.0 + 2.0 * times + [0.1, -0.2, 0.05, 0.1, 0.0, -0.1][: times.size] if value is None else np.asarray(value)
    table = Measurements(np.zeros(times.size, int), times, ["y"] * times.size, value)
    problem = Problem(Line(), free, {"y": Observable("y", noise or Additive())}, table)
    known = {2: np.ones(1)} if "unused" not in free else {}
    return calibrate_with(closed_form(problem, line, constants=known), problem)


def assert_no_numbers(found, twin):
    for values in (found.estimate, found.standard_error, found.sd, found.rmse, found.objective, found.interval()[0]):
        assert np.isnan(values[twin]).all()


def test_a_parameter_without_effect_is_named():
    found = fit_line({"slope": Free(), "offset": Free(), "unused": Free()}, times=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    assert found.status[0] == CalibrationStatus.SINGULAR
    assert_no_numbers(found, 0)
    assert "`unused` alone" in found.message(0)
    assert found.failures()[0].status == "singular"


def test_parameters_that_cannot_be_told_apart_are_named():
    # only CL / V matters for the shape of the decline, and nothing fixes the dose's share
    theta = np.array([[1.5, 2.8, 32.0]])
    problem = measured_problem(Oral, FREE, oral, theta, TIMES[None], Additive(), lambda f: 0.1)

    def predict(natural, twin):
        ratio = natural[:, [1]] / natural[:, [2]]
        t = problem.layout.times[twin]
        f = np.exp(-ratio * t) + natural[:, [0]]
        down = -t * np.exp(-ratio * t)
        jacobian = np.stack([np.ones_like(f), down / natural[:, [2]], -down * ratio / natural[:, [2]]], axis=-1)
        return Predicted(f, jacobian, np.ones(twin.size, bool))

    found = calibrate_with(predict, problem)
    assert found.status[0] == CalibrationStatus.SINGULAR
    assert "`CL` and `V` against each other" in found.message(0)


def test_a_prior_determines_what_measurements_do_not():
    free = {"slope": Free(), "offset": Free(), "unused": Free(prior=Normal(3.0, 0.5))}
    found = fit_line(free, times=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    assert found.ok[0]
    assert found.estimate[0, 2] == pytest.approx(3.0, rel=1e-6)
    assert found.standard_error[0, 2] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("noise", "rows", "status"),
    [
        (Additive(), 2, CalibrationStatus.TOO_FEW_MEASUREMENTS),
        (Additive(), 3, CalibrationStatus.OK),
        (Additive(0.1), 1, CalibrationStatus.TOO_FEW_MEASUREMENTS),
        (Additive(0.1), 2, CalibrationStatus.OK),
        (Combined(), 3, CalibrationStatus.TOO_FEW_MEASUREMENTS),
    ],
)
def test_too_few_measurements(noise, rows, status):
    found = fit_line({"slope": Free(), "offset": Free()}, times=np.arange(float(rows)), noise=noise)
    assert found.status[0] == status
    if status != CalibrationStatus.OK:
        assert_no_numbers(found, 0)
        assert found.iterations[0] == 0


def test_twins_without_measurements():
    problem, _ = cohort(3)
    table = problem.measurements
    keep = np.asarray(table.twin) != 1
    columns = {name: np.asarray(getattr(table, name))[keep] for name in ("twin", "time", "observable", "value")}
    short = Problem(Oral(), FREE, problem.observables, Measurements(**columns, names=["a", "b", "c", "d"]))
    found = calibrate_with(closed_form(short, oral), short)
    labels = [CalibrationStatus(s).label for s in found.status]
    assert labels == ["ok", "no_measurements", "ok", "no_measurements"]
    assert [f.name for f in found.failures()] == ["b", "d"]
    assert_no_numbers(found, 1)


def test_nobody_and_nothing():
    table = Measurements([], [], [], [])
    for names in ([], ["a", "b"]):
        problem = Problem(Oral(), FREE, {"y": Observable("concentration")}, Measurements([], [], [], [], names=names))
        reports = []
        found = calibrate_with(closed_form(problem, oral), problem, progress=lambda *now: reports.append(now))
        assert found.estimate.shape == (len(names), 3)
        assert (found.status == CalibrationStatus.NO_MEASUREMENTS).all()
        assert found.to_table().num_rows == 3 * len(names)
        assert found.fitted.shape == (0,)
    assert len(table) == 0


def test_one_twin_is_the_same_alone():
    problem, predict = cohort(20)
    everyone = calibrate_with(predict, problem)
    theta = everyone.estimate
    alone, predict_alone = cohort(20)
    table = alone.measurements
    mine = np.asarray(table.twin) == 7
    single = Problem(
        Oral(),
        FREE,
        alone.observables,
        Measurements(np.zeros(mine.sum(), int), table.time[mine], ["y"] * mine.sum(), table.value[mine]),
    )
    found = calibrate_with(closed_form(single, oral), single)
    np.testing.assert_array_equal(found.estimate[0], theta[7])
    np.testing.assert_array_equal(found.standard_error[0], everyone.standard_error[7])


@pytest.mark.parametrize("bad", [np.nan, 1e30, -1.0, 0.0])
def test_impossible_starts_fail_alone(bad):
    problem, predict = cohort(20)
    clean = calibrate_with(predict, problem)
    start = np.ones(20)
    start[[3, 11]] = bad
    spoiled, predict = cohort(20, free=FREE | {"ka": Free(start=start)})
    found = calibrate_with(predict, spoiled)
    good = np.setdiff1d(np.arange(20), [3, 11])
    np.testing.assert_array_equal(found.estimate[good], clean.estimate[good])
    np.testing.assert_array_equal(found.covariance[good], clean.covariance[good])
    assert not found.ok[[3, 11]].any()
    assert_no_numbers(found, 3)


def test_unsolvable_twins_fail_alone():
    problem, predict = cohort(20)
    clean = calibrate_with(predict, problem)

    def broken(natural, twin):
        value, jacobian, ok = predict(natural, twin)
        lost = (twin == 4) | (twin == 5)
        value = np.where(lost[:, None], np.nan, value)
        jacobian = np.where((twin == 6)[:, None, None], np.inf, jacobian)
        return Predicted(value, jacobian, ok & (twin != 4))

    found = calibrate_with(broken, problem)
    assert (found.status[[4, 5, 6]] == CalibrationStatus.SOLVE_FAILED).all()
    good = np.setdiff1d(np.arange(20), [4, 5, 6])
    np.testing.assert_array_equal(found.estimate[good], clean.estimate[good])
    assert np.isnan(found.fitted.reshape(20, -1)[[4, 5, 6]]).all()
    assert "start values" in found.message(4)


def test_a_failed_solve_on_the_way_is_a_rejected_step():
    problem, predict = cohort(20)
    clean = calibrate_with(predict, problem)

    def fragile(natural, twin):
        # the first, longest steps land where nothing can be solved
        value, jacobian, ok = predict(natural, twin)
        near = np.abs(np.log(natural[:, 1] / clean.estimate[twin, 1])) < 0.35
        started = natural[:, 1] == 2.0
        return Predicted(np.where((near | started)[:, None], value, np.nan), jacobian, ok & (near | started))

    found = calibrate_with(fragile, problem)
    assert found.ok.all()
    np.testing.assert_allclose(found.estimate, clean.estimate, rtol=1e-6)


def test_starts_that_fail_are_replaced_by_others():
    problem, predict = cohort(5)
    clean = calibrate_with(predict, problem, method=LevenbergMarquardt(tolerance=1e-6))

    def picky(natural, twin):
        value, jacobian, ok = predict(natural, twin)
        return Predicted(value, jacobian, ok & (natural[:, 1] != 2.0))

    found = calibrate_with(picky, problem, method=LevenbergMarquardt(starts=4, tolerance=1e-6))
    assert (found.starts.status[:, 0] == CalibrationStatus.SOLVE_FAILED).all()
    assert found.ok.all()
    np.testing.assert_allclose(found.estimate, clean.estimate, rtol=1e-6)


def test_iterations_run_out():
    problem, predict = cohort(5)
    found = calibrate_with(predict, problem, method=LevenbergMarquardt(max_iterations=2))
    assert (found.status == CalibrationStatus.MAX_ITERATIONS).all()
    assert (found.iterations == 2).all()
    assert_no_numbers(found, 0)
    assert "max_iterations" in found.message(0)


def test_a_jump_in_the_objective_is_no_minimum():
    problem, predict = cohort(3)
    clean = calibrate_with(predict, problem)

    def jumping(natural, twin):
        # beyond a step short of the optimum the curve is somewhere else altogether
        value, jacobian, ok = predict(natural, twin)
        beyond = natural[:, 1] > 0.9 * clean.estimate[twin, 1]
        return Predicted(value + np.where(beyond, 50.0, 0.0)[:, None], jacobian, ok)

    found = calibrate_with(jumping, problem)
    assert np.isin(found.status, [CalibrationStatus.NO_PROGRESS, CalibrationStatus.MAX_ITERATIONS]).all()
    assert (found.status == CalibrationStatus.NO_PROGRESS).any()
    assert_no_numbers(found, 0)


def test_a_proportional_error_where_the_curve_is_zero():
    problem, predict = cohort(2, noise=Proportional(), times=np.concatenate([[0.0], TIMES]))
    found = calibrate_with(predict, problem)
    assert (found.status == CalibrationStatus.ZERO_SD).all()
    assert_no_numbers(found, 0)
    combined, predict = cohort(2, noise=Combined(fraction=0.1), times=np.concatenate([[0.0], TIMES]))
    assert calibrate_with(predict, combined).ok.all()


@pytest.mark.parametrize("noise", [Combined(), Combined(fraction=0.1)], ids=["both", "one"])
def test_a_zero_where_the_curve_is_zero_leaves_no_additive_error(noise):
    # before a dose: the likelihood has no maximum, however well everything else is measured
    truth, times = np.tile([1.5, 2.8, 32.0], (40, 1)), np.tile(np.concatenate([[0.0], TIMES]), (40, 1))
    asked = measured_problem(
        Oral, FREE, oral, truth, times, noise, lambda f: np.where(f > 0.0, np.hypot(0.4, 0.08 * f), 0.0)
    )
    found = calibrate_with(closed_form(asked, oral), asked)
    assert not found.ok.any() and (found.status == CalibrationStatus.ZERO_SD).mean() > 0.9
    assert "leave that measurement out" in found.message(0)
    without = measured_problem(Oral, FREE, oral, truth, times[:, 1:], noise, lambda f: np.hypot(0.4, 0.08 * f))
    assert calibrate_with(closed_form(without, oral), without).ok.mean() > 0.9


@pytest.mark.parametrize(
    ("rows", "status"),
    [(1, CalibrationStatus.TOO_FEW_MEASUREMENTS), (2, CalibrationStatus.ZERO_SD), (5, CalibrationStatus.OK)],
)
def test_a_curve_through_every_measurement_has_no_error(rows, status):
    # the second observable has an error of its own and few measurements: a line passes through two
    times = np.array([0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 2.5, 3.5, 4.5])[: 4 + rows]
    value = 1.0 + 2.0 * times + np.resize([0.1, -0.2, 0.15], times.size)
    table = Measurements(np.zeros(times.size, int), times, ["y"] * 4 + ["a"] * rows, value)
    observables = {"y": Observable("y", Additive(10.0)), "a": Observable("y")}
    problem = Problem(Line(), {"slope": Free(), "offset": Free()}, observables, table)
    found = calibrate_with(closed_form(problem, line, line, constants={2: np.ones(1)}), problem)
    assert found.status[0] == status
    if status != CalibrationStatus.OK:
        assert_no_numbers(found, 0)


def test_a_search_that_runs_off_ends():
    # a rise between the first two samples says only that absorption was fast
    theta = np.array([[1e7, 2.8, 32.0]])
    problem = measured_problem(Oral, FREE, oral, theta, TIMES[None], Additive(), lambda f: 0.1)
    found = calibrate_with(closed_form(problem, oral), problem)
    assert found.status[0] in (CalibrationStatus.SINGULAR, CalibrationStatus.AT_BOUND)
    assert "`ka`" in found.message(0)
    assert not np.isfinite(found.standard_error[0, 0])


def test_progress_and_interruption():
    problem, predict = cohort(50)
    reports = []
    calibrate_with(
        predict, problem, method=LevenbergMarquardt(starts=2, lanes=20), progress=lambda *now: reports.append(now)
    )
    done = [d for d, _ in reports]
    assert done == sorted(done)
    assert reports[-1] == (100, 100)
    assert {total for _, total in reports} == {100}

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate_with(predict, problem, progress=interrupt)


@pytest.mark.parametrize(
    "settings",
    [{"max_iterations": 0}, {"starts": 0}, {"lanes": 0}, {"spread": -1.0}, {"tolerance": 0.0}, {"damping": np.inf}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
        LevenbergMarquardt(**settings)


def test_every_status_says_what_to_do():
    for status in CalibrationStatus:
        assert status.label == status.name.lower()
        assert status.message.endswith(".")
    assert [s for s in CalibrationStatus if s.has_estimate] == [CalibrationStatus.OK, CalibrationStatus.AT_BOUND]


def exploding(starts, noise, k=0.05, bounds=(0.001, 10.0)):
    """Growth seen for 90 days, where a start that is too fast ends in a curve whose square is no number."""
    times, free = np.array([0.0, 10.0, 20.0, 30.0, 60.0, 90.0]), {"slope": Free(start=k, bounds=bounds)}
    free |= {"offset": Free(transform="log"), "unused": Free(start=0.5, transform="log")}

    def curve(k, size, scar, t):
        return scar + size * np.exp(k * t)

    value = curve(0.04, 1.0, 0.5, times) * np.exp(0.05 * np.random.default_rng(0).normal(size=(3, 6)))
    table = Measurements(np.repeat(np.arange(3), 6), np.tile(times, 3), ["y"] * 18, value.ravel())
    problem = Problem(Line(), free, {"y": Observable("y", noise)}, table)
    return calibrate_with(closed_form(problem, curve), problem, method=LevenbergMarquardt(starts=starts))


@pytest.mark.parametrize("noise", [Additive(0.1), Proportional(), Proportional(0.1), Combined(), Combined(sd=0.1)])
def test_a_curve_that_is_too_large_is_its_own_start_s_failure(noise):
    usual, found = exploding(1, noise), exploding(1, noise, k=np.array([0.05, 0.05, 4.5]))
    assert list(found.status) == [*usual.status[:2], CalibrationStatus.SOLVE_FAILED]
    np.testing.assert_allclose(found.estimate[:2], usual.estimate[:2], rtol=1e-6)
    many = exploding(6, noise)
    assert (many.starts.status == CalibrationStatus.SOLVE_FAILED).any()
    assert (many.status == usual.status).all()
    assert (many.objective <= usual.objective + 1e-3).all()


def test_more_starts_lose_no_twin():
    # half of a curve is scatter, but a tenth is said to be: the best fit is worse than no curve at all
    twins, times = 60, np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
    value = 1.5 * np.exp(-0.3 * times) * np.exp(0.5 * np.random.default_rng(0).normal(size=(twins, 6)))
    table = Measurements(np.repeat(np.arange(twins), 6), np.tile(times, twins), ["y"] * value.size, value.ravel())
    free = {"slope": Free(start=0.5, bounds=(0.01, 1e6), transform="log")}
    problem = Problem(Line(), free, {"y": Observable("y", Proportional(0.1))}, table)
    predict = closed_form(problem, lambda k, t: 1.5 * np.exp(-k * t))
    one, many = (calibrate_with(predict, problem, method=LevenbergMarquardt(starts=n)) for n in (1, 8))
    assert not np.isin(many.starts.status, (CalibrationStatus.OK, CalibrationStatus.AT_BOUND)).all()
    assert one.ok.sum() > 50 and (many.status == one.status).all()
    np.testing.assert_allclose(many.estimate[one.ok], one.estimate[one.ok], rtol=1e-4)


def test_a_curve_of_next_to_nothing_has_no_proportional_error():
    def curve(k, t):
        return np.exp(-k * (t + 1.0))

    times = np.array([0.0, 1.0, 2.0, 3.0])
    table = Measurements(np.zeros(4, int), times, ["y"] * 4, curve(0.5, times))
    free = {"slope": Free(start=180.0, bounds=(0.1, 1e3))}
    problem = Problem(Line(), free, {"y": Observable("y", Proportional(0.1))}, table)
    found = calibrate_with(closed_form(problem, curve), problem)
    assert found.status[0] == CalibrationStatus.ZERO_SD
