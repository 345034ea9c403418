"""Starts and priors of a reference person, scaled by what is known of each twin."""

import dataclasses

import numpy as np
import pytest
from closed_forms import Oral, closed_form, oral
from scipy import optimize, stats

from vht.calibrate import Additive, Free, LevenbergMarquardt, Measurements, Observable, Problem
from vht.calibrate.estimators import calibrate_with
from vht.calibrate.starts import design
from vht.errors import ModelError
from vht.model import LogNormal, Normal, Uniform

TIMES, FACTORS, SD = np.array([1.0, 6.0]), np.array([1.0, 0.27, 1.6]), 0.4
CLEARANCE = 2.8 * FACTORS * np.array([1.2, 0.8, 1.1])
VALUE = np.stack([oral(1.5, CL, 32.0, TIMES) for CL in CLEARANCE])


def problem(free):
    whose, columns = np.repeat(np.arange(3), 2), (np.tile(TIMES, 3), ["y"] * 6, VALUE.ravel())
    observables = {"y": Observable("concentration", Additive(SD))}
    return Problem(Oral(), {"CL": free}, observables, Measurements(whose, *columns))


@pytest.mark.parametrize(
    ("prior", "density"),
    [
        (LogNormal(2.8, 0.2), lambda CL, scale: stats.norm(np.log(2.8 * scale), 0.2).logpdf(np.log(CL))),
        (Normal(2.8, 0.5), lambda CL, scale: stats.norm(2.8 * scale, 0.5 * scale).logpdf(CL)),
    ],
)
def test_each_twin_has_the_prior_of_its_size(prior, density):
    asked = problem(Free(transform="log", start=2.5, prior=prior, scale=FACTORS))
    np.testing.assert_allclose(asked.starts[:, 0], 2.5 * FACTORS)
    method = LevenbergMarquardt(tolerance=1e-8)
    found = calibrate_with(closed_form(asked, lambda CL, t: oral(1.5, CL, 32.0, t)), asked, method=method)
    assert found.ok.all()
    for CL, scale, value in zip(found.estimate[:, 0], FACTORS, VALUE, strict=True):

        def objective(CL, scale=scale, value=value):
            return 0.5 * (((oral(1.5, CL, 32.0, TIMES) - value) / SD) ** 2).sum() - density(CL, scale)

        best = optimize.minimize_scalar(objective, (0.9 * CL, CL, 1.1 * CL), options={"xtol": 1e-10})
        assert pytest.approx(float(best.x), rel=1e-6) == CL
    # the prior matters: without its scale the smallest twin's estimate is another one
    plain = problem(dataclasses.replace(asked.free["CL"], scale=1.0))
    other = calibrate_with(closed_form(plain, lambda CL, t: oral(1.5, CL, 32.0, t)), plain)
    assert other.estimate[1, 0] > 1.05 * found.estimate[1, 0]


def test_further_starts_are_scaled_as_the_prior():
    asked = problem(Free(transform="log", prior=LogNormal(2.8, 0.2), scale=FACTORS))
    drawn = design(asked.starts, asked.transforms, asked.drawn_from, asked.scales, starts=9, seed=0, spread=0.1)
    np.testing.assert_allclose(drawn[:, :, 0], FACTORS[:, None] * drawn[:1, :, 0])
    # between bounds that are everyone's: of the smallest twin's prior nothing is left there, which is no other's affair
    asked = problem(Free(bounds=(2.0, 8.0), start=3.0, prior=LogNormal(2.8, 0.2), scale=FACTORS))
    drawn = design(asked.starts, asked.transforms, asked.drawn_from, asked.scales, starts=9, seed=0, spread=0.1)
    assert (drawn[:, 1:] > 2.0).all() and (drawn[:, 1:] < 8.0).all() and drawn[0, 1:].max() < 2.8 * np.exp(0.2 * 3)
    assert np.ptp(drawn[1, 1:]) > 4.0
    fit = calibrate_with(
        closed_form(asked, lambda CL, t: oral(1.5, CL, 32.0, t)), asked, method=LevenbergMarquardt(starts=4)
    )
    assert fit.ok[0] and fit.ok[2]


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (Free(scale=[1.0, 2.0]), "`scale` of `CL` must be one number or one for each of 3 twins"),
        (Free(scale=[1.0, 0.0, 2.0]), "`scale` of `CL` must be positive"),
        (Free(scale=np.nan), "`scale` of `CL` must be positive"),
        (Free(prior=Uniform(1.0, 4.0), scale=2.0), "A uniform prior has no scale"),
    ],
)
def test_scales_that_are_none(free, message):
    with pytest.raises(ModelError, match=message):
        problem(free)
