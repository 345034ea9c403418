"""Estimates and standard errors against SciPy, on closed forms."""

import dataclasses

import numpy as np
import pytest
from closed_forms import Oral, Wave, closed_form, measured_problem, oral, oral_amount, wave
from scipy import optimize

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
from vht.calibrate.starts import design
from vht.model import LogNormal, Normal, Scalar, Uniform, param

FREE = {"ka": Free(), "CL": Free(), "V": Free()}
START = np.log([1.0, 2.0, 30.0])

# as near as closed forms allow: what is compared is the same minimum
EXACT = LevenbergMarquardt(tolerance=1e-6)


def truths(twins, seed=5):
    return np.exp(np.log([1.5, 2.8, 32.0]) + np.random.default_rng(seed).normal(size=(twins, 3)) * [0.4, 0.25, 0.15])


def sampled(twins, rows, seed=6):
    """Sampling times that differ from twin to twin."""
    random = np.random.default_rng(seed)
    return np.sort(np.geomspace(0.3, 24.0, rows) * np.exp(0.1 * random.normal(size=(twins, rows))), axis=1)


def ragged_problem(noise, sd, own_sd=False):
    """Six twins with 8 to 13 measurements each, in no order."""
    random = np.random.default_rng(0)
    theta, columns = truths(6), {"twin": [], "time": [], "value": [], "sd": []}
    for i in range(6):
        t = sampled(6, 8 + i)[i]
        f = oral(*theta[i], t)
        errors = random.uniform(0.1, 0.6, t.size) if own_sd else sd(f) * np.ones_like(f)
        columns["twin"].append(np.full(t.size, i))
        columns["time"].append(t)
        columns["value"].append(f + errors * random.normal(size=t.size))
        columns["sd"].append(errors)
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = random.permutation(table["twin"].size)
    table = {name: column[order] for name, column in table.items()}
    if not own_sd:
        del table["sd"]
    measurements = Measurements(**table, observable=["y"] * order.size)
    return Problem(Oral(), FREE, {"y": Observable("concentration", noise)}, measurements)


def rows_of(problem, twin):
    table = problem.measurements
    mine = np.asarray(table.twin) == twin
    return np.asarray(table.time)[mine], np.asarray(table.value)[mine], np.asarray(table.sd)[mine]


def exact_gradient(function):
    """Gradient of an analytic function by the complex step."""

    def gradient(x):
        return np.array([function(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(x.size)])

    return gradient


def minimised(objective, starts):
    """The best of several BFGS searches with exact gradients."""
    found = [
        optimize.minimize(
            lambda x: objective(x).real, start, jac=exact_gradient(objective), method="BFGS", options={"gtol": 1e-9}
        )
        for start in starts
    ]
    return min(found, key=lambda one: one.fun)


def negative_log_likelihood(y, f, variance):
    return 0.5 * np.sum(np.log(2 * np.pi * variance) + (y - f) ** 2 / variance)


def test_least_squares_agrees_with_scipy():
    problem = ragged_problem(Additive(), lambda f: 0.3)
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    for i in range(6):
        t, y, _ = rows_of(problem, i)
        scipy = optimize.least_squares(
            lambda x, t=t, y=y: oral(*np.exp(x), t) - y, START, jac="cs", xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
        np.testing.assert_allclose(found.estimate[i], np.exp(scipy.x), rtol=1e-6)
        variance = 2 * scipy.cost / (t.size - 3)
        covariance = np.linalg.inv(scipy.jac.T @ scipy.jac) * variance
        np.testing.assert_allclose(found.search_covariance[i], covariance, rtol=1e-4, atol=1e-10)
        assert found.sd[i, 0] == pytest.approx(np.sqrt(variance), rel=1e-8)
        assert found.rmse[i, 0] == pytest.approx(np.sqrt(2 * scipy.cost / t.size), rel=1e-8)
        assert found.degrees[i] == pytest.approx(t.size - 3, rel=1e-6)
        _, covariance = optimize.curve_fit(lambda t, *p: oral(*p, t), t, y, p0=np.exp(scipy.x), xtol=1e-12, ftol=1e-12)
        np.testing.assert_allclose(found.standard_error[i], np.sqrt(np.diag(covariance)), rtol=1e-4)


def test_known_errors_agree_with_curve_fit():
    problem = ragged_problem(Additive(), None, own_sd=True)
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    assert np.isnan(found.sd).all()
    for i in range(6):
        t, y, sd = rows_of(problem, i)
        estimate, covariance = optimize.curve_fit(
            lambda t, *p: oral(*p, t), t, y, p0=[1, 2, 30], sigma=sd, absolute_sigma=True, xtol=1e-14, ftol=1e-14
        )
        np.testing.assert_allclose(found.estimate[i], estimate, rtol=1e-6)
        np.testing.assert_allclose(found.standard_error[i], np.sqrt(np.diag(covariance)), rtol=1e-4)
        assert np.isinf(found.degrees[i]).all()


@pytest.mark.parametrize("noise", [Proportional(), Proportional(0.1), Combined(0.3), Combined(fraction=0.1)], ids=str)
def test_other_noise_agrees_with_the_exact_likelihood(noise):
    problem = ragged_problem(noise, lambda f: np.sqrt(0.2**2 + (0.1 * f) ** 2))
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    fixed = [getattr(noise, "sd", 0.0), getattr(noise, "fraction", 0.0)]
    for i in range(6):
        t, y, _ = rows_of(problem, i)

        def objective(x, t=t, y=y):
            f = oral(*np.exp(x[:3]), t)
            extra = iter(np.exp(2 * x[3:]))
            additive, proportional = (next(extra) if v is None else v**2 for v in fixed)
            return negative_log_likelihood(y, f, additive + proportional * f**2)

        unknown = [np.log(0.2)] * fixed.count(None)
        scipy = minimised(objective, [np.concatenate([start, unknown]) for start in (START, found.search_estimate[i])])
        assert found.objective[i] == pytest.approx(scipy.fun, abs=1e-8)
        np.testing.assert_allclose(found.search_estimate[i], scipy.x[:3], atol=2e-6)


def test_combined_noise_agrees_with_the_exact_likelihood():
    theta = truths(4)
    times = np.broadcast_to(np.geomspace(0.2, 30.0, 40), (4, 40))
    problem = measured_problem(
        Oral, FREE, oral, theta, times, Combined(), lambda f: np.sqrt(0.4**2 + (0.1 * f) ** 2), seed=2
    )
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    for i in range(4):
        t, y, _ = rows_of(problem, i)

        def objective(x, t=t, y=y):
            f = oral(*np.exp(x[:3]), t)
            return negative_log_likelihood(y, f, np.exp(2 * x[3]) + np.exp(2 * x[4]) * f**2)

        scipy = minimised(objective, [np.concatenate([np.log(theta[i]), np.log([0.2, 0.1])])])
        assert found.objective[i] == pytest.approx(scipy.fun, abs=1e-8)
        np.testing.assert_allclose(found.search_estimate[i], scipy.x[:3], atol=2e-6)
        # estimated anew for the parameters spent, so a little larger than most likely
        assert 1.0 < found.sd[i, 0] / np.exp(scipy.x[3]) < 1.3


def two_observables(noises):
    random = np.random.default_rng(3)
    theta, t = truths(5), np.geomspace(0.3, 24.0, 12)
    f = oral(*theta.T[:, :, None], t)
    amount = theta[:, 2, None] * f
    y = np.stack([f + 0.3 * random.normal(size=f.shape), amount * (1 + 0.1 * random.normal(size=f.shape))])
    table = Measurements(
        twin=np.tile(np.repeat(np.arange(5), 12), 2),
        time=np.tile(t, 10),
        observable=np.repeat(["y", "a"], 60),
        value=y.ravel(),
    )
    observables = {"y": Observable("concentration", noises[0]), "a": Observable("amount", noises[1])}
    return theta, t, y, Problem(Oral(), FREE, observables, table)


def test_two_observables_agree_with_the_exact_likelihood():
    theta, t, y, problem = two_observables([Additive(), Proportional()])
    found = calibrate_with(closed_form(problem, oral, oral_amount), problem, method=EXACT)
    assert found.ok.all()
    for i in range(5):

        def objective(x, i=i):
            f, a = oral(*np.exp(x[:3]), t), oral_amount(*np.exp(x[:3]), t)
            return negative_log_likelihood(y[0, i], f, np.exp(2 * x[3])) + negative_log_likelihood(
                y[1, i], a, np.exp(2 * x[4]) * a**2
            )

        scipy = minimised(objective, [np.concatenate([np.log(theta[i]), np.log([0.3, 0.1])])])
        assert found.objective[i] == pytest.approx(scipy.fun, abs=1e-8)
        np.testing.assert_allclose(found.search_estimate[i], scipy.x[:3], atol=2e-6)
        assert 1.0 < found.sd[i, 0] / np.exp(scipy.x[3]) < 1.3
        assert 1.0 < found.fraction[i, 1] / np.exp(scipy.x[4]) < 1.3
        assert found.fraction[i, 0] == 0
        # each observable keeps most of its 12 measurements for its error, and together they know more than one
        assert (found.degrees[i] > 9).all()
        assert (found.degrees[i] < 24).all()


PRIORS = {
    "ka": Free(prior=LogNormal(1.2, 0.3)),
    "CL": Free(prior=Normal(2.5, 0.2)),
    "V": Free(prior=LogNormal(30.0, 0.1)),
}


def penalties(theta):
    return 0.5 * (
        (np.log(theta[0] / 1.2) / 0.3) ** 2 + ((theta[1] - 2.5) / 0.2) ** 2 + (np.log(theta[2] / 30.0) / 0.1) ** 2
    )


def test_priors_agree_with_the_exact_posterior_mode():
    theta = truths(4)
    problem = measured_problem(Oral, PRIORS, oral, theta, sampled(4, 5), Additive(0.5), lambda f: 0.5)
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    for i in range(4):
        t, y, _ = rows_of(problem, i)

        def objective(x, t=t, y=y):
            f = oral(*np.exp(x), t)
            return negative_log_likelihood(y, f, 0.25) + penalties(np.exp(x))

        scipy = minimised(objective, [START])
        assert found.objective[i] == pytest.approx(scipy.fun, abs=1e-8)
        np.testing.assert_allclose(found.search_estimate[i], scipy.x, atol=2e-6)


def test_priors_alone_carry_a_twin_with_one_measurement():
    problem = measured_problem(Oral, PRIORS, oral, truths(1), np.array([[2.0]]), Additive(0.5), lambda f: 0.5)
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.ok.all()
    # next to nothing is learnt, so the standard errors stay near the priors' own
    assert found.standard_error[0, 1] == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("priors", [False, True])
def test_estimates_do_not_depend_on_the_transform(priors):
    theta = truths(3)
    found = []
    for transform, bounds in (("log", None), ("identity", None), ("logit", (0.01, 90.0))):
        free = {
            name: dataclasses.replace(f, transform=transform, bounds=bounds)
            for name, f in (PRIORS if priors else FREE).items()
        }
        problem = measured_problem(Oral, free, oral, theta, sampled(3, 9), Additive(), lambda f: 0.3)
        found.append(calibrate_with(closed_form(problem, oral), problem, method=EXACT))
        assert found[-1].ok.all()
    for other in found[1:]:
        np.testing.assert_allclose(other.estimate, found[0].estimate, rtol=1e-6)
        np.testing.assert_allclose(other.objective, found[0].objective, rtol=1e-10)
        if not priors:  # a normal prior's curvature on the log scale keeps a term that the standard error leaves out
            np.testing.assert_allclose(other.standard_error, found[0].standard_error, rtol=1e-4)


@pytest.mark.parametrize("transform", ["log", "identity"])
def test_a_bound_agrees_with_bounded_least_squares(transform):
    theta = truths(4)
    free = FREE | {"CL": Free(transform=transform, bounds=(0.5, 2.2), start=1.0)}
    problem = measured_problem(Oral, free, oral, theta, sampled(4, 11), Additive(), lambda f: 0.3)
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    held = 0
    for i in range(4):
        t, y, _ = rows_of(problem, i)
        scipy = optimize.least_squares(
            lambda x, t=t, y=y: oral(*x, t) - y,
            [1, 1, 30],
            bounds=([0, 0.5, 0], [np.inf, 2.2, np.inf]),
            x_scale=[1, 1, 30],
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        np.testing.assert_allclose(found.estimate[i], scipy.x, rtol=1e-5)
        if found.at_bound[i].any():
            held += 1
            assert found.status[i] == CalibrationStatus.AT_BOUND
            assert found.at_bound[i].tolist() == [False, True, False]
            assert found.estimate[i, 1] == pytest.approx(2.2, rel=1e-12)
            assert np.isfinite(found.standard_error[i]).tolist() == [True, False, True]
            assert np.isnan(found.interval(0.95)[0][i]).tolist() == [False, True, False]
            # the others are as certain as if the parameter at its bound were known
            fixed = optimize.curve_fit(lambda t, ka, V: oral(ka, 2.2, V, t), t, y, p0=[1, 30], xtol=1e-12, ftol=1e-12)[
                1
            ]
            np.testing.assert_allclose(found.standard_error[i, [0, 2]], np.sqrt(np.diag(fixed)), rtol=1e-4)
            assert "`CL`" in found.message(i)
        else:
            assert found.status[i] == CalibrationStatus.OK
    assert 0 < held < 4


def test_uniform_priors_bound():
    free = FREE | {"CL": Free(prior=Uniform(0.5, 2.2), start=1.0)}
    problem = measured_problem(
        Oral, free, oral, np.array([[1.5, 3.0, 32.0]]), sampled(1, 11), Additive(), lambda f: 0.1
    )
    found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
    assert found.status[0] == CalibrationStatus.AT_BOUND
    assert found.estimate[0, 1] == pytest.approx(2.2, rel=1e-6)


def test_perfect_measurements_give_the_truth():
    theta = truths(20)
    for noise in (Additive(), Proportional(), Combined(), Additive(0.1)):
        problem = measured_problem(Oral, FREE, oral, theta, sampled(20, 12), noise, lambda f: 0.0)
        found = calibrate_with(closed_form(problem, oral), problem, method=EXACT)
        assert found.ok.all()
        np.testing.assert_allclose(found.estimate, theta, rtol=1e-7)


def test_far_starts_get_there():
    theta = truths(50)
    free = {"ka": Free(start=30.0), "CL": Free(start=0.05), "V": Free(start=900.0)}
    problem = measured_problem(Oral, free, oral, theta, sampled(50, 15), Additive(), lambda f: 0.1)
    found = calibrate_with(closed_form(problem, oral), problem, method=LevenbergMarquardt(starts=5))
    near = measured_problem(Oral, FREE, oral, theta, sampled(50, 15), Additive(), lambda f: 0.1)
    best = calibrate_with(closed_form(near, oral), near, method=EXACT)
    np.testing.assert_allclose(found.objective, best.objective, atol=1e-8)


def waves(twins=8):
    random = np.random.default_rng(0)
    theta = np.stack([random.uniform(2.0, 9.0, twins), random.uniform(1.0, 3.0, twins)], axis=1)
    times = np.broadcast_to(np.linspace(0.0, 4.0, 40), (twins, 40))
    free = {"frequency": Free(bounds=(0.1, 12.0), start=1.0), "height": Free(start=1.0)}
    return theta, measured_problem(Wave, free, wave, theta, times, Additive(), lambda f: 0.1)


def test_several_starts_escape_local_optima():
    theta, problem = waves()
    predict = closed_form(problem, wave)
    single = calibrate_with(predict, problem)
    several = calibrate_with(predict, problem, method=LevenbergMarquardt(starts=24))
    lost = ~(np.abs(single.estimate[:, 0] - theta[:, 0]) < 0.2)
    assert lost.sum() >= 4  # one start from far off goes to a local optimum
    np.testing.assert_allclose(several.estimate, theta, rtol=0.1)
    assert several.ok.all()
    assert (several.starts_agreeing >= 1).all()
    assert several.starts.objective.shape == (8, 24)
    finite = np.nan_to_num(several.starts.objective, nan=np.inf)
    np.testing.assert_allclose(several.objective, finite.min(axis=1), atol=1e-5)


def test_starts_are_seeded_and_independent_of_the_cohort():
    _, problem = waves()
    predict = closed_form(problem, wave)
    method = LevenbergMarquardt(starts=4, seed=7)
    first, again = (calibrate_with(predict, problem, method=method) for _ in range(2))
    np.testing.assert_array_equal(first.starts.objective, again.starts.objective)
    other = calibrate_with(predict, problem, method=dataclasses.replace(method, seed=8))
    assert not np.array_equal(first.starts.objective, other.starts.objective)
    sliced = calibrate_with(predict, problem, method=dataclasses.replace(method, lanes=8))
    np.testing.assert_array_equal(first.starts.objective, sliced.starts.objective)
    np.testing.assert_array_equal(first.estimate, sliced.estimate)


def test_flip_flop_is_reported_as_a_rival():
    # absorption slower than elimination and the reverse draw the same curve
    free = {"ka": Free(start=1.0), "CL": Free(start=3.0, prior=None), "V": Free(start=30.0)}
    problem = measured_problem(
        Oral, free, oral, np.array([[1.5, 3.2, 20.0]]), sampled(1, 20), Additive(), lambda f: 0.05
    )
    found = calibrate_with(closed_form(problem, oral), problem, method=LevenbergMarquardt(starts=20, spread=1.5))
    assert found.ok.all()
    assert found.has_rival.all()
    # the rivals have the same clearance and exchanged rates
    ends = found.starts.estimate[0][np.abs(found.starts.objective[0] - found.objective[0]) < 1e-5]
    rates = np.sort(np.stack([ends[:, 0], ends[:, 1] / ends[:, 2]]), axis=0)
    assert np.ptp(ends[:, 1]) < 1e-4
    assert np.ptp(rates, axis=1).max() < 1e-4
    assert np.ptp(ends[:, 0]) > 1.0
    # the earliest start decides
    assert found.estimate[0, 0] == pytest.approx(found.starts.estimate[0, 0, 0])


class Expected(Oral):
    """Absorption as usual in the model's own eyes."""

    ka: Scalar = param(1.0, "1/h", "absorption rate", bounds=(0.0, 20.0), prior=LogNormal(1.0, 0.1))


@pytest.mark.parametrize(
    ("free", "low", "high"),
    [
        (Free(transform="log"), 0.7, 1.43),  # the model's prior
        (Free(transform="log", prior=LogNormal(5.0, 0.1)), 3.5, 7.15),
        (Free(transform="log", start=8.0), 5.6, 11.5),
        (Free(transform="log", start=8.0, bounds=(7.0, 9.0)), 7.0, 9.0),
        (Free(transform="identity", start=3.0, bounds=(2.0, 20.0)), 2.0, 20.0),
        (Free(bounds=(2.0, 20.0), start=3.0), 2.0, 20.0),
        (Free(bounds=(1.05, 20.0), start=2.0, prior="model"), 1.05, 1.43),
        (
            Free(transform="log", prior=LogNormal(1.0, 0.1), bounds=(4.0, 20.0), start=5.0),
            4.0,
            20.0,
        ),  # nothing is left of it
    ],
    ids=["model", "own", "start", "start in bounds", "bounds", "logit", "cut", "apart"],
)
def test_further_starts_are_where_the_user_says(free, low, high):
    problem = Problem(
        Expected(),
        {"ka": free},
        {"y": Observable("concentration")},
        Measurements([0, 0], [1.0, 2.0], ["y", "y"], [5.0, 6.0]),
    )
    places = design(
        problem.starts, problem.transforms, problem.drawn_from, problem.scales, starts=65, seed=0, spread=0.1
    )[0, 1:, 0]
    assert low <= places.min() and places.max() <= high
    # spread over all of it, and not heaped up at an edge
    on_scale = np.log(places)
    assert np.ptp(on_scale) > 0.4 * np.log(high / low) and np.unique(np.round(places, 9)).size == 64
