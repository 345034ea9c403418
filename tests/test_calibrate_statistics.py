"""Intervals hold the truth as often as they say: thousands of twins with known parameters, measured with noise."""

import numpy as np
import pytest
from closed_forms import Oral, closed_form, measured_problem, oral, oral_amount
from scipy import special, stats

from vht.calibrate import Additive, Combined, Free, Measurements, Observable, Problem, Proportional
from vht.calibrate.estimators import calibrate_with
from vht.calibrate.uncertainty import student_quantile
from vht.model import LogNormal

FREE = {"ka": Free(), "CL": Free(), "V": Free()}
TWINS = 4000
LEVELS = (0.5, 0.9, 0.99)


def truths(seed, twins=TWINS):
    return np.exp(np.log([1.5, 2.8, 32.0]) + np.random.default_rng(seed).normal(size=(twins, 3)) * [0.3, 0.25, 0.15])


def assert_covers(found, theta, share_ok=0.99, sigmas=4.0):
    """Each parameter's intervals hold the truth within Monte Carlo error of every level."""
    assert found.ok.mean() >= share_ok
    truth, count = theta[found.ok], found.ok.sum()
    for level in LEVELS:
        lower, upper = (side[found.ok] for side in found.interval(level))
        assert (lower < found.estimate[found.ok]).all()
        inside = ((lower <= truth) & (truth <= upper)).mean(axis=0)
        error = np.sqrt(level * (1 - level) / count)
        assert (np.abs(inside - level) < sigmas * error).all(), (level, inside, (inside - level) / error)


@pytest.mark.parametrize(
    ("noise", "sd", "rows"),
    [
        (Additive(), lambda f: 0.3, 11),
        (Additive(), lambda f: 0.6, 40),
        (Additive(0.3), lambda f: 0.3, 11),
        (Proportional(), lambda f: 0.1 * f, 12),
        (Proportional(0.1), lambda f: 0.1 * f, 12),
        (Combined(), lambda f: np.sqrt(0.3**2 + (0.1 * f) ** 2), 40),
        (Combined(fraction=0.1), lambda f: np.sqrt(0.3**2 + (0.1 * f) ** 2), 40),
    ],
    ids=[
        "additive",
        "additive-long",
        "additive-known",
        "proportional",
        "proportional-known",
        "combined",
        "combined-fraction",
    ],
)
def test_coverage(noise, sd, rows):
    theta = truths(0)
    times = np.broadcast_to(np.geomspace(0.25, 24.0, rows), (TWINS, rows))
    problem = measured_problem(Oral, FREE, oral, theta, times, noise, sd, seed=1)
    assert_covers(calibrate_with(closed_form(problem, oral), problem), theta)


def test_coverage_with_hardly_any_degrees_of_freedom():
    # five measurements, three parameters, an unknown error: two degrees of freedom
    theta = truths(2)
    times = np.broadcast_to([0.5, 1.5, 4.0, 10.0, 24.0], (TWINS, 5))
    problem = measured_problem(Oral, FREE, oral, theta, times, Additive(), lambda f: 0.1, seed=3)
    found = calibrate_with(closed_form(problem, oral), problem)
    np.testing.assert_allclose(found.degrees[found.ok], 2.0, rtol=1e-6)
    assert_covers(found, theta)


def test_coverage_with_two_observables_of_unknown_error():
    theta, t = truths(4), np.geomspace(0.25, 24.0, 8)
    random = np.random.default_rng(5)
    f = oral(*theta.T[:, :, None], t)
    values = np.stack(
        [f + 0.5 * random.normal(size=f.shape), theta[:, 2, None] * f + 8.0 * random.normal(size=f.shape)]
    )
    table = Measurements(
        twin=np.tile(np.repeat(np.arange(TWINS), t.size), 2),
        time=np.tile(t, 2 * TWINS),
        observable=np.repeat(["y", "a"], TWINS * t.size),
        value=values.ravel(),
    )
    observables = {"y": Observable("concentration"), "a": Observable("amount")}
    problem = Problem(Oral(), FREE, observables, table)
    assert_covers(calibrate_with(closed_form(problem, oral, oral_amount), problem), theta)


def test_coverage_over_a_population_with_its_own_prior():
    # truths drawn from the prior: posterior intervals cover on average over the population
    theta = truths(6)
    free = {
        "ka": Free(prior=LogNormal(1.5, 0.3)),
        "CL": Free(prior=LogNormal(2.8, 0.25)),
        "V": Free(prior=LogNormal(32.0, 0.15)),
    }
    times = np.broadcast_to([0.5, 1.5, 6.0, 14.0], (TWINS, 4))
    problem = measured_problem(Oral, free, oral, theta, times, Additive(0.4), lambda f: 0.4, seed=7)
    assert_covers(calibrate_with(closed_form(problem, oral), problem), theta)


def test_standard_errors_are_the_scatter_of_the_estimates():
    theta = np.broadcast_to([1.5, 2.8, 32.0], (TWINS, 3))
    times = np.broadcast_to(np.geomspace(0.25, 24.0, 15), (TWINS, 15))
    problem = measured_problem(Oral, FREE, oral, theta, times, Additive(), lambda f: 0.2, seed=8)
    found = calibrate_with(closed_form(problem, oral), problem)
    assert found.ok.all()
    scatter = found.estimate.std(axis=0)
    np.testing.assert_allclose(np.sqrt((found.standard_error**2).mean(axis=0)), scatter, rtol=0.05)
    np.testing.assert_allclose((found.sd[:, 0] ** 2).mean(), 0.2**2, rtol=0.02)
    # residual variances follow chi-squared with n - p degrees of freedom
    share = stats.chi2.cdf(12 * found.sd[:, 0] ** 2 / 0.2**2, 12)
    assert stats.kstest(share, "uniform").pvalue > 1e-4


def test_student_quantile():
    for degrees in (1.0, 2.5, 30.0, np.inf):
        for level in LEVELS:
            expected = stats.t.ppf(0.5 + level / 2, degrees) if np.isfinite(degrees) else special.ndtri(0.5 + level / 2)
            assert student_quantile(level, np.array([degrees]))[0] == pytest.approx(expected, rel=1e-10)
