"""Profile-likelihood intervals: against exact t intervals, against SciPy, and by how often they hold the truth."""

import numpy as np
import pytest
from closed_forms import Line, Oral, closed_form, line, measured_problem, oral
from scipy import optimize, special

from vht.calibrate import Additive, Combined, Free, Proportional, likelihood_roots, profile_intervals
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
    with pytest.raises(ValueError, match=r"a column for each of 1 parameters, but has the shape \[1, 3\]"):
        likelihood_roots(problem, found, found.estimate, parameters=["V"], predict=predict)
    assert np.isnan(likelihood_roots(problem, found, np.array([[-1.0, 2.8, 0.0]]), predict=predict)[0, [0, 2]]).all()


@pytest.fixture(scope="module")
def mixed():
    """Additive and proportional errors of unknown sizes, ten measurements a twin: one size is often estimated as zero."""
    truth = np.tile([1.5, 2.8, 32.0], (400, 1))
    times = np.array([0.25, 0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 24.0])
    return truth, *fitted(FREE, oral, truth, times, Combined(), lambda f: np.hypot(0.4, 0.08 * f), seed=11)


def test_they_hold_the_truth_where_errors_of_two_kinds_are_unknown(mixed):
    truth, problem, predict, found = mixed
    assert found.ok.all() and 0.2 < (found.sd[:, 0] < 1e-9).mean() < 0.5
    roots = likelihood_roots(problem, found, truth, predict=predict)
    lower, upper = profile_intervals(problem, found, predict=predict)
    inside = (lower <= truth) & (truth <= upper)
    assert (np.abs(inside.mean(axis=0) - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / len(truth))).all()
    # the ends are where the roots say, but for minima that only one of the two searches found
    assert (inside == (np.abs(roots) <= student_quantile(0.95, found.degrees))).mean() > 0.98


@pytest.mark.parametrize("noise", [Proportional(), Combined()], ids=["proportional", "combined"])
def test_roots_near_the_estimate_are_those_of_what_was_calibrated(noise):
    truth = np.tile([1.5, 2.8, 32.0], (100, 1))
    times = np.array([0.5, 1.5, 4.0, 7.0, 10.0, 15.0, 24.0])
    problem, predict, found = fitted(FREE, oral, truth, times, noise, lambda f: 0.3 * f)
    spread = np.sqrt(np.einsum("bkk->bk", found.search_covariance))
    for away in (-0.1, 0.1):
        place = np.exp(found.search_estimate + away * spread)
        roots = likelihood_roots(problem, found, place, predict=predict)[found.ok]
        assert np.median(roots) == pytest.approx(away, rel=0.05)
        assert (roots * np.sign(away) > 0.0).mean() > 0.99


# Theophylline, patient 9 (Boeckmann, Sheiner and Beal 1994): a dose of 3.1 mg/kg at 86.4 kg, h and mg/L
RAPID = np.array([0.0, 0.3, 0.63, 1.05, 2.02, 3.53, 5.02, 7.17, 8.8, 11.6, 24.43])
LEVEL = np.array([0.0, 7.37, 9.03, 7.14, 6.33, 5.66, 5.67, 4.24, 4.11, 3.16, 1.12])


@pytest.mark.parametrize("given", [{"bounds": (0.1, 10.0)}, {"transform": "log", "bounds": (0.01, 10.0)}], ids=str)
def test_an_end_is_before_a_barrier_and_not_behind_it(given):
    # absorption and elimination can change roles: another optimum, at a ka far below the estimate
    def curve(ka, CL, V, t):
        return oral(ka, CL, V, t, dose=3.1 * 86.4)

    free = {"ka": Free(start=5.0, **given), "CL": Free(transform="log"), "V": Free(transform="log")}
    problem, predict, found = fitted(
        free, lambda *a: LEVEL + 0.0 * curve(*a), np.array([[5.0, 2.8, 32.0]]), RAPID, Additive(), lambda f: 0.0
    )
    predict = closed_form(problem, curve)
    found = calibrate_with(predict, problem)
    assert found.ok.all()
    lower, upper = (side[0, 0] for side in profile_intervals(problem, found, parameters=["ka"], predict=predict))

    def squares(ka):
        starts = [found.estimate[0, 1:], [2.8, 2.0]]
        ends = [optimize.least_squares(lambda v: curve(ka, *np.exp(v), RAPID) - LEVEL, np.log(s)) for s in starts]
        return 2.0 * min(end.cost for end in ends)

    least, degrees = squares(found.estimate[0, 0]), len(LEVEL) - 3
    root = {ka: np.sqrt((squares(ka) / least - 1.0) * degrees) for ka in (lower, 1.0, 0.0866)}
    reach = special.stdtrit(degrees, 0.975)
    assert root[1.0] > 3.0 * reach and root[0.0866] < reach
    assert root[lower] == pytest.approx(reach, abs=1e-2) and lower == pytest.approx(4.92, abs=0.01)
    assert upper == pytest.approx(10.0)


def test_beside_a_bound_the_far_end_is_that_of_the_natural_scale():
    # by how often they hold a truth one standard error from its bound
    free = {"slope": Free(transform="identity"), "offset": Free(transform="logit", bounds=(0.0, 10.0))}

    def curve(slope, offset, t):
        return line(slope, offset, 0.0, t)

    truth = np.tile([1.0, 0.3], (600, 1))
    times = np.arange(1.0, 7.0)
    _, _, found = fitted(free, curve, truth, times, Additive(0.3), lambda f: 0.3, model=Line)
    lower, upper = (side[:, 1] for side in found.interval(0.95))
    ok, estimate, error = found.ok, found.estimate[:, 1], found.standard_error[:, 1]
    assert 0.05 < 1.0 - ok.mean() < 0.4  # the others are at the bound
    inside = ((lower <= 0.3) & (upper >= 0.3))[ok].mean()
    assert abs(inside - 0.95) < 4.0 * np.sqrt(0.95 * 0.05 / ok.sum())
    assert (upper[ok] <= np.minimum(estimate + 1.97 * error, 10.0)[ok] + 1e-9).all() and lower[ok].min() >= 0.0
