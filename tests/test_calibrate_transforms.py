"""Transforms: there and back, derivatives, and what happens at the edges."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vht.calibrate.transforms import EDGE, Identity, Log, Logit

CASES = [Identity(), Identity(-3.0, 5.0), Log(), Log(0.1, 20.0), Logit(0.2, 7.0), Logit(-4.0, 1e6), Logit(-1e-3, 1e-3)]


@pytest.mark.parametrize("transform", CASES, ids=str)
@given(share=st.floats(1e-6, 1 - 1e-6))
def test_there_and_back(transform, share):
    lower = max(transform.lower, 1e-8 if isinstance(transform, Log) else -1e3)
    upper = min(transform.upper, 1e3) if math.isinf(transform.upper) else transform.upper
    natural = np.array([lower + share * (upper - lower)])
    assert transform.contains(natural).all()
    back = transform.inverse(transform.forward(natural))
    np.testing.assert_allclose(back, natural, rtol=1e-13, atol=1e-13 * (upper - lower))


@pytest.mark.parametrize("transform", CASES, ids=str)
def test_derivative_against_mpmath(transform):
    exact = {
        Identity: lambda x: x,
        Log: mpmath.exp,
        Logit: lambda x: transform.lower + (mpmath.mpf(transform.upper) - transform.lower) / (1 + mpmath.exp(-x)),
    }[type(transform)]
    for x in (-15.0, -2.0, 0.0, 0.3, 4.0, 18.0):
        with mpmath.workdps(40):
            expected = float(mpmath.diff(exact, x))
        assert transform.derivative(np.array([x]))[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("transform", [Log(), Log(0.1, 20.0), Logit(0.2, 7.0)], ids=str)
@pytest.mark.parametrize("natural", [-1e30, -1.0, 0.0, 0.2, 7.0, 20.0, 1e30, 1e308])
def test_edges_are_finite(transform, natural):
    search = transform.forward(np.array([natural]))
    assert np.isfinite(search).all()
    back = transform.inverse(search)
    assert transform.lower <= back[0] <= transform.upper
    assert np.isfinite(transform.derivative(search)).all()


@pytest.mark.parametrize("transform", CASES, ids=str)
def test_far_places_stay_in_the_domain(transform):
    back = transform.inverse(np.array([-1e6, -800.0, 800.0, 1e6]))
    assert (back >= transform.lower).all()
    assert (back <= transform.upper).all()
    assert np.isfinite(back).all()


def test_nan_stays_nan():
    for transform in CASES:
        assert np.isnan(transform.forward(np.array([np.nan]))).all()


def test_boxes():
    start = np.array([2.0, 4.0])
    assert Identity(-1.0, 9.0).box(start)[0].tolist() == [-1.0, -1.0]
    lower, upper = Log().box(start)
    np.testing.assert_allclose(np.exp(lower), start * EDGE)
    np.testing.assert_allclose(np.exp(upper), start / EDGE)
    lower, upper = Log(1.0, 8.0).box(start)
    np.testing.assert_allclose(np.exp([lower[0], upper[0]]), [1.0, 8.0])
    lower, upper = Logit(0.0, 10.0).box(start)
    np.testing.assert_allclose(Logit(0.0, 10.0).inverse(np.array([lower[0], upper[0]])), [10 * EDGE, 10.0], rtol=1e-8)


def test_edges_are_outside_open_domains():
    assert Log().contains(np.array([0.0, 1e-300, -1.0])).tolist() == [False, True, False]
    assert Logit(0.0, 1.0).contains(np.array([0.0, 0.5, 1.0])).tolist() == [False, True, False]
    assert Identity(0.0, 1.0).contains(np.array([0.0, 1.0, 1.5])).tolist() == [True, True, False]
