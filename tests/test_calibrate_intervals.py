"""Profile-likelihood intervals: against exact t intervals, against SciPy, and by how often they hold the truth."""

import numpy as np
import pytest
from closed_forms import Line, Oral, closed_form, line, measured_problem, oral
from scipy import optimize, special

from vht.calibrate import Additive, Free, Proportional, likelihood_roots, profile_intervals
from vht.calibrate.estimators import calibrate_with
from vht.calibrate.uncertainty import student_quantile
from vht.errors import ModelError
from vht.model import LogNormal

FREE = {"ka": Free(), "CL": Free(), "V": Free()}


def fitted(free, curve, truth, times, noise, sd, model=Oral, **more):
    times = np.broadcast_to(times, (len(truth), len(times)))
    problem = measured_problem(model, free, curve, truth, times, noise, sd, **more)
    predict = closed_form(problem, curve)
    return problem, predict, calibrate_with(predict, problem)


@pytest.fixture(scope="module")
def sparse():
    """Few and noisy measurements: the likelihood is far from a parabola."""
    random = np.random.default_rng(0)
    truth = np.exp(np.log([1.5, 2.8, 32.0]) + random.normal(size=(3000, 3)) * [0.2, 0.2, 0.1])
    return truth, *fitted(FREE, oral, truth, [0.5, 1.5, 4.0, 10.0, 24.0], Additive(1.0), lambda f: 1.0)


@pytest.mark.parametrize("noise", [Additive(), Additive(0.3)])
def test_a_straight_line_has_its_t_intervals(noise):
    free = {"slope": Free(transform="identity"), "offset": Free(transform="identity")}

    def curve(slope, offset, t):
        return line(slope, offset, 0.0, t)

    truth = np.random.default_rng(0).normal(size=(20, 2))
    problem, predict, found = fitted(free, curve, truth, np.arange(1.0, 7.0), noise, lambda f: 0.3, model=Line)
    for level in (0.5, 0.99):
        ends = np.stack(profile_intervals(problem, found, level=level, predict=predict))
        expected = np.stack(found.interval(level))
        assert (np.abs(ends - expected) < 2e-3 * found.standard_error).all()
    roots = likelihood_roots(problem, found, found.estimate - 1.7 * found.standard_error, predict=predict)
    np.testing.assert_allclose(roots, -1.7, rtol=1e-4)


@pytest.mark.parametrize("noise", [Additive(0.7), Proportional(0.2)], ids=["additive", "proportional"])
def test_scipy_finds_the_same_ends(noise):
    prior = LogNormal(30.0, 0.3)
    free = {"ka": Free(), "CL": Free(), "V": Free(prior=prior)}
    truth, times = np.array([[1.5, 2.8, 32.0], [0.8, 3.5, 25.0]]), np.array([0.5, 1.5, 4.0, 10.0, 24.0])
    sd = (lambda f: 0.7) if isinstance(noise, Additive) else (lambda f: 0.2 * f)
    problem, predict, found = fitted(free, oral, truth, times, noise, sd)
    lower, upper = profile_intervals(problem, found, level=0.9, predict=predict)
    reach = special.ndtri(0.95)
    for i in range(2):

        def cost(log_parameters, i=i):
            ka, CL, V = np.exp(log_parameters)
            curve = oral(ka, CL, V, times)
            error = np.broadcast_to(sd(curve), times.shape)
            told = np.log(error) + 0.5 * ((problem.layout.value[i] - curve) / error) ** 2
            return told.sum() + 0.5 * (np.log(V / prior.median) / prior.sd) ** 2

        best = np.log(found.estimate[i])
        lowest = cost(best)
        assert lowest == pytest.approx(optimize.minimize(cost, np.log(truth[i]), tol=1e-10).fun, abs=1e-6)
        for k in range(3):
            for end in (lower[i, k], upper[i, k]):

                def rest(others, k=k, end=end, cost=cost):
                    return cost(np.insert(others, k, np.log(end)))

                rise = optimize.minimize(rest, np.delete(best, k), tol=1e-10).fun - lowest
                assert np.sqrt(2.0 * rise) == pytest.approx(reach, abs=5e-3)


def test_they_hold_the_truth_where_t_intervals_do_not(sparse):
    truth, problem, predict, found = sparse
    assert found.ok.mean() > 0.98
    roots = likelihood_roots(problem, found, truth, predict=predict)
    for level in (0.5, 0.9, 0.99):
        error = np.sqrt(level * (1 - level) / len(truth))
        inside = (np.abs(roots[found.ok]) <= student_quantile(level, np.array(np.inf))).mean(axis=0)
        assert (np.abs(inside - level) < 4.0 * error).all(), (level, (inside - level) / error)
    lower, upper = (side[found.ok] for side in found.interval(0.9))
    inside = ((lower <= truth[found.ok]) & (truth[found.ok] <= upper)).mean(axis=0)
    assert (np.abs(inside - 0.9) > 6.0 * np.sqrt(0.9 * 0.1 / len(truth))).any()


def test_ends_are_where_the_roots_say(sparse):
    _, problem, predict, found = sparse
    ends = profile_intervals(problem, found, level=0.9, parameters=["V"], predict=predict)
    for side, sign in zip(ends, (-1.0, 1.0), strict=True):
        assert side.shape == (len(found), 1)
        assert (sign * (side - found.estimate[:, 2:]))[found.ok].min() > 0.0  # so that none is NaN either
        roots = likelihood_roots(problem, found, side, parameters=["V"], predict=predict)[found.ok, 0]
        shut = np.isfinite(roots)  # some intervals are open: no volume is too large, or too small, for the measurements
        assert shut.mean() > 0.95 and (np.abs(roots[shut] - sign * special.ndtri(0.95)) < 5e-3).mean() > 0.995


def test_an_interval_stops_at_a_limit():
    # an intercept near its lower limit 0: the likelihood does not fall far enough before it
    free = {"slope": Free(transform="identity"), "offset": Free(transform="identity", bounds=(0.0, 10.0))}

    def curve(slope, offset, t):
        return line(slope, offset, 0.0, t)

    problem, predict, found = fitted(
        free, curve, np.array([[1.0, 0.3]]), np.arange(1.0, 7.0), Additive(0.3), lambda f: 0.0, model=Line
    )
    lower, upper = profile_intervals(problem, found, level=0.95, predict=predict)
    assert lower[0, 1] == 0.0 and found.estimate[0, 1] - special.ndtri(0.975) * found.standard_error[0, 1] < 0.0
    np.testing.assert_allclose(upper[0, 1], found.interval(0.95)[1][0, 1], rtol=1e-3)


def test_through_the_solver_and_without_estimates():
    truth = np.array([[1.5, 2.8, 32.0], [np.nan, 2.8, 32.0]])
    times = np.broadcast_to([0.5, 1.5, 4.0, 10.0, 24.0], (2, 5))
    problem = measured_problem(Oral, FREE, oral, np.nan_to_num(truth, nan=1.0), times, Additive(0.3), lambda f: 0.3)
    problem.measurements.value[5:] = 1e200  # no curve comes near
    found = calibrate_with(closed_form(problem, oral), problem)
    seen = []
    ends = profile_intervals(problem, found, level=0.9, progress=lambda done, total: seen.append((done, total)))
    exact = profile_intervals(problem, found, level=0.9, predict=closed_form(problem, oral))
    np.testing.assert_allclose(ends, exact, rtol=1e-4)
    assert np.isfinite(ends)[:, 0].all() and (np.isnan(ends)[:, 1].all() == (not found.ok[1]))
    assert seen[-1][0] == seen[-1][1]


def test_what_cannot_be():
    problem, predict, found = fitted(
        FREE, oral, np.array([[1.5, 2.8, 32.0]]), [0.5, 1.5, 4.0, 10.0, 24.0], Additive(0.3), lambda f: 0.3
    )
    with pytest.raises(ValueError, match="between 0 and 1, but got 95"):
        profile_intervals(problem, found, level=95)
    with pytest.raises(ModelError, match=r"`Cl` is no free parameter. Did you mean `CL`\?"):
        profile_intervals(problem, found, parameters=["Cl"])
    assert np.isnan(likelihood_roots(problem, found, np.array([[-1.0, 2.8, 0.0]]), predict=predict)[0, [0, 2]]).all()
