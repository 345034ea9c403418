"""Noise models and the likelihood: against SciPy's optimisers, finite differences and simulated scores."""

import numpy as np
import pytest
from scipy import optimize, stats

from vht.calibrate import Additive, Combined, Proportional
from vht.calibrate.layout import lay_out
from vht.calibrate.likelihood import likelihood
from vht.calibrate.noise import count_unknown, is_estimated, profile
from vht.calibrate.uncertainty import uncertainty
from vht.errors import ModelError

NOISES = [
    Additive(),
    Additive(0.3),
    Proportional(),
    Proportional(0.2),
    Combined(),
    Combined(0.3),
    Combined(fraction=0.2),
    Combined(0.3, 0.2),
]


def negative_log_density(residual, f, additive, proportional):
    return -stats.norm.logpdf(residual, scale=np.sqrt(additive + proportional * f**2)).sum()


def scipy_variance(noise, residual, f):
    """The most likely A and B by SciPy, from several starts and on both axes."""
    fixed = [getattr(noise, "sd", 0.0), getattr(noise, "fraction", 0.0)]
    unknown = [i for i, value in enumerate(fixed) if value is None]

    def parts(logs):
        out = [0.0 if value is None else value**2 for value in fixed]
        for i, log in zip(unknown, logs, strict=True):
            out[i] = np.exp(2 * log)
        return out

    best = np.inf
    for start in (-4.0, -2.0, -1.0, 0.0):
        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}
        found = optimize.minimize(
            lambda logs: negative_log_density(residual, f, *parts(logs)),
            np.full(len(unknown), start),
            method="Nelder-Mead",
            options=options,
        )
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("noise", [n for n in NOISES if is_estimated(n)], ids=str)
def test_profile_is_the_most_likely_variance(noise):
    random = np.random.default_rng(1)
    lanes, rows = 6, 15
    f = random.uniform(0.05, 4.0, (lanes, rows))
    sd = np.sqrt(np.array([0.3, 0.3, 0.01, 0.5, 0.001, 0.3])[:, None] ** 2 + (0.2 * f) ** 2)
    residual = sd * random.normal(size=f.shape)
    used = np.ones(f.shape, bool)
    used[3, 9:] = False
    found = profile(noise, residual**2, f, used, np.ones(lanes))
    for i in range(lanes):
        keep = used[i]
        expected = scipy_variance(noise, residual[i, keep], f[i, keep])
        ours = negative_log_density(residual[i, keep], f[i, keep], found.additive[i], found.proportional[i])
        assert ours <= expected + 1e-9


def test_profile_of_nothing_and_of_a_perfect_fit():
    f = np.ones((2, 4))
    used = np.array([[False] * 4, [True] * 4])
    for noise in NOISES:
        found = profile(noise, np.zeros((2, 4)), f, used, np.ones(2))
        assert np.isfinite(found.additive).all()
        assert np.isfinite(found.proportional).all()
        assert (found.additive + found.proportional > 0)[1]
        if is_estimated(noise):
            # a perfect fit stops at the lower limit, as something known
            assert not (found.additive_free | found.proportional_free)[1]


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_impossible_noise_is_refused(value):
    for make in (Additive, Proportional, Combined, lambda v: Combined(1.0, v)):
        with pytest.raises(ModelError, match="must be positive and finite"):
            make(value)


def test_unknown_parts_are_counted():
    assert [count_unknown(n) for n in NOISES] == [1, 0, 1, 0, 2, 1, 1, 0]


def curve(theta, t):
    return theta[0] * np.exp(-theta[1] * t) + theta[2]


def setting(seed=0, own_sd=False, observables=1):
    random = np.random.default_rng(seed)
    theta = np.array([4.0, 0.9, 0.2])
    t = np.linspace(0.1, 6, 40)
    f = curve(theta, t)
    y = f * (1 + 0.15 * random.normal(size=t.size)) + 0.1 * random.normal(size=t.size)
    which = np.arange(t.size) % observables
    sd = np.full(t.size, np.nan)
    if own_sd:
        sd[::3] = 0.2
    layout = lay_out(np.zeros(t.size, int), t, which, y, sd, twins=1, observables=observables)
    return theta, layout


def evaluate(noises, layout, theta):
    t = layout.times[:, layout.save[0]]
    jacobian = np.stack(
        [
            curve([v + (1e-30j if i == k else 0) for i, v in enumerate(theta)], t).imag / 1e-30
            if k != 2
            else np.ones(t.shape)
            for k in range(3)
        ],
        axis=-1,
    )
    return likelihood(noises, layout, layout.scale(), np.zeros(1, int), curve(theta, t), jacobian)


@pytest.mark.parametrize("own_sd", [False, True])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_gradient_is_the_derivative_of_the_profiled_objective(noise, own_sd):
    theta, layout = setting(own_sd=own_sd)
    theta = theta * [1.05, 0.9, 1.1]
    found = evaluate([noise], layout, theta)
    step = 1e-5
    for k in range(3):
        ends = []
        for sign in (-1, 1):
            moved = theta.copy()
            moved[k] += sign * step
            ends.append(evaluate([noise], layout, moved).objective[0])
        expected = (ends[1] - ends[0]) / (2 * step)
        assert found.gradient[0, k] == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_objective_is_the_exact_negative_log_likelihood(noise):
    theta, layout = setting()
    found = evaluate([noise], layout, theta)
    f = curve(theta, layout.times[0])
    part = found.errors.parts[0]
    expected = negative_log_density(layout.value[0] - f, f, part.additive[0], part.proportional[0])
    assert found.objective[0] == pytest.approx(expected, rel=1e-13)


def full_information(part, f, jacobian):
    """Fisher information about parameters and free variance parts, from its definition for normal measurements."""
    variance = part.additive[0] + part.proportional[0] * f**2
    mean = jacobian
    spread = (2 * part.proportional[0] * f)[:, None] * jacobian
    extra = [np.ones_like(f)] * int(part.additive_free[0]) + [f**2] * int(part.proportional_free[0])
    mean = np.concatenate([mean, np.zeros((f.size, len(extra)))], axis=1)
    spread = np.concatenate([spread, *[e[:, None] for e in extra]], axis=1)
    return mean.T @ (mean / variance[:, None]) + spread.T @ (spread / (2 * variance**2)[:, None])


@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_information_is_what_remains_of_the_full_information(noise):
    theta, layout = setting(seed=2)
    found = evaluate([noise], layout, theta)
    part = found.errors.parts[0]
    # with this seed no part is at its limit
    assert int(part.additive_free[0]) + int(part.proportional_free[0]) == count_unknown(noise)
    t = layout.times[0]
    jacobian = np.stack([np.exp(-theta[1] * t), -theta[0] * t * np.exp(-theta[1] * t), np.ones_like(t)], axis=1)
    full = full_information(part, curve(theta, t), jacobian)
    expected = np.linalg.inv(np.linalg.inv(full)[:3, :3])
    np.testing.assert_allclose(found.information[0], expected, rtol=1e-9)


def test_several_observables_add_up():
    theta, layout = setting(observables=2)
    both = evaluate([Additive(), Proportional()], layout, theta)
    single = []
    for o, noise in enumerate([Additive(), Proportional()]):
        keep = layout.observable[0] == o
        n = keep.sum()
        part = lay_out(
            np.zeros(n, int),
            layout.times[0][keep],
            np.zeros(n, int),
            layout.value[0][keep],
            np.full(n, np.nan),
            twins=1,
            observables=1,
        )
        single.append(evaluate([noise], part, theta))
    assert both.objective[0] == pytest.approx(sum(s.objective[0] for s in single), rel=1e-12)
    np.testing.assert_allclose(both.gradient[0], sum(s.gradient[0] for s in single), rtol=1e-10)
    np.testing.assert_allclose(both.information[0], sum(s.information[0] for s in single), rtol=1e-10)


def test_a_zero_standard_deviation_is_noticed():
    layout = lay_out(
        np.zeros(3, int), np.arange(3.0), np.zeros(3, int), np.ones(3), np.full(3, np.nan), twins=1, observables=1
    )
    f, jacobian = np.array([[0.0, 1.0, 2.0]]), np.ones((1, 3, 1))
    for noise, expected in (
        (Proportional(), True),
        (Proportional(0.1), True),
        (Additive(), False),
        (Combined(0.1), False),
    ):
        assert likelihood([noise], layout, layout.scale(), np.zeros(1, int), f, jacobian).errors.zero_sd[0] == expected


def test_layout_of_ragged_tables():
    twin = np.array([2, 0, 0, 2, 2, 0])
    time = np.array([5.0, 1.0, 0.5, 3.0, 3.0, 1.0])
    observable = np.array([0, 1, 0, 1, 0, 0])
    layout = lay_out(twin, time, observable, np.arange(6.0), np.full(6, np.nan), twins=3, observables=2)
    assert layout.used.sum(axis=1).tolist() == [3, 0, 3]
    assert layout.times.tolist() == [[0.5, 1.0], [0.0, 0.0], [3.0, 5.0]]
    for i in range(3):
        for j in range(3):
            if layout.used[i, j]:
                row = layout.row[i, j]
                assert twin[row] == i
                assert layout.times[i, layout.save[i, j]] == time[row]
                assert layout.observable[i, j] == observable[row]
                assert layout.value[i, j] == row
    assert layout.count().tolist() == [[2, 1], [0, 0], [2, 1]]
    empty = lay_out(np.zeros(0, int), *[np.zeros(0)] * 1, np.zeros(0, int), *[np.zeros(0)] * 2, twins=2, observables=1)
    assert empty.used.sum() == 0
    assert empty.times.shape == (2, 1)


@pytest.mark.parametrize(("rows", "parameters"), [(8, 3), (12, 11), (20, 18)])
def test_restricted_likelihood_of_an_error_that_is_additive_in_fact(rows, parameters):
    # a known proportional part of next to nothing: the textbook's residual sum of squares over n - p
    t = np.linspace(-1.0, 1.0, rows)
    jacobian = np.linalg.qr(np.polynomial.legendre.legvander(t, parameters - 1))[0]
    value = 1.0 + np.random.default_rng(rows).normal(size=rows)
    fitted = jacobian @ (jacobian.T @ value)
    square, used = ((value - fitted) ** 2)[None], np.ones((1, rows), bool)
    codes, noise = np.zeros(rows, int), Combined(fraction=1e-9)
    layout = lay_out(codes, t, codes, value, np.full(rows, np.nan), twins=1, observables=1)
    part = profile(noise, square, fitted[None], used, layout.scale()[:, 0])
    found = uncertainty(
        [noise],
        layout,
        layout.scale(),
        np.zeros(1, int),
        fitted[None],
        jacobian[None],
        [part],
        np.zeros((1, parameters, parameters)),
        np.zeros((1, parameters), bool),
        np.zeros(parameters, bool),
        1e-10,
    )
    assert found.noise[0, 0, 0] == pytest.approx(square.sum() / (rows - parameters), rel=1e-5)
    np.testing.assert_allclose(found.degrees[0], rows - parameters, rtol=1e-5)
