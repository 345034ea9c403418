"""Cohorts: drawn around the model that is given, in the tails of distributions, and solved with another model than theirs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import vht
from vht.bodies.blood_pressure import FEMALE, BloodPressure
from vht.calibrate import Free, Measurements, Observable, Problem
from vht.errors import ModelError, UnitError
from vht.model import Body, LogNormal, Normal, Organ, Scalar, Twins, Uniform, Vars, param, state, with_parameters

TIMES = np.array([0.0, 1.0])


class Decay(Organ):
    k: Scalar = param(1.0, "1/s", "rate", bounds=(0.01, 100.0), prior=LogNormal(1.0, 0.3))
    shift: Scalar = param(1.0, "mg", "of the amount", bounds=(0.0, 9.0), prior=Normal(2.0, 0.1))
    share: Scalar = param(0.5, "1", "of the amount", prior=Uniform(0.0, 1.0))

    class State(Vars):
        x: Scalar = state(1.0, "mg", "amount")

    def rates(self, t, x, u):
        return self.State(x=-self.k * x.x)


class Hourly(Decay):
    k: Scalar = param(1.0, "1/h", "rate")


class Constant(Decay):
    k: Scalar = param(1.0, "mg/s", "rate")

    def rates(self, t, x, u):
        return self.State(x=-self.k)


# -------------------------------------------------------------------------------- around the model that is given


def test_a_cohort_of_a_model_is_that_of_a_body_of_it():
    model = Decay(k=5.0, shift=4.0, share=0.9)
    drawn = Twins.sample(model, 2000, seed=1).columns
    assert np.median(drawn["k"]) == pytest.approx(5.0, rel=0.02) and np.log(drawn["k"]).std() == pytest.approx(
        0.3, rel=0.1
    )
    assert np.median(drawn["shift"]) == pytest.approx(5.0, rel=0.01) and np.median(drawn["share"]) == pytest.approx(
        0.5, 0.1
    )
    # one way or the other, and once more within a body
    body = Body({"one": model})
    for other in (
        body,
        type(body),
        with_parameters(Body({"one": Decay()}), {f"one.{n}": getattr(model, n) for n in drawn}),
    ):
        found = Twins.sample(other, 2000, seed=1).columns
        for name in drawn:
            np.testing.assert_allclose(found[f"one.{name}"], drawn[name], rtol=1e-12)
    # the class stands for its defaults, and so does a model that has them
    plain = Twins.sample(Decay, 2000, seed=1).columns
    assert all(np.array_equal(plain[name], Twins.sample(Decay(), 2000, seed=1).columns[name]) for name in plain)
    assert np.median(plain["k"]) == pytest.approx(1.0, rel=0.02)


def test_a_woman_s_cohort_is_women():
    drawn = Twins.sample(with_parameters(BloodPressure(), FEMALE), 500, only=["kidney.c_ACE"]).columns["kidney.c_ACE"]
    assert np.median(drawn) == pytest.approx(FEMALE["kidney.c_ACE"], rel=0.02)


def test_what_is_outside_the_bounds_is_drawn_around_without_them():
    drawn = Twins.sample(Decay(k=200.0), 2000).columns["k"]
    assert np.unique(drawn).size == 2000 and np.median(drawn) == pytest.approx(200.0, rel=0.02)
    with pytest.raises(ModelError, match="`value` must be finite to draw around it, but got nan"):
        Twins.sample(Decay(k=np.nan), 3)


# ------------------------------------------------------------------------------------------------------ tails


@pytest.mark.parametrize(
    ("bounds", "prior"),
    [
        ((9.0, 10.0), Normal(0.0, 1.0)),
        ((30.0, 40.0), Normal(0.0, 1.0)),
        ((-np.inf, -30.0), Normal(0.0, 1.0)),
        ((1e3, np.inf), LogNormal(1.0, 0.3)),
    ],
)
def test_draws_in_a_tail_keep_the_bounds(bounds, prior, unchecked_annotations):
    low, high = bounds
    default = low if np.isfinite(low) else high
    declared = param(default, "1", "x", bounds=bounds, prior=prior)
    cls = type("Tail", (Decay,), {"__module__": __name__, "__annotations__": {"q": Scalar}, "q": declared})
    drawn = Twins.sample(cls, 1000, only=["q"]).columns["q"]
    assert low <= drawn.min() and drawn.max() <= high and np.unique(drawn).size == 1000
    normal = drawn if isinstance(prior, Normal) else np.log(drawn) / prior.sd
    first = abs(default if isinstance(prior, Normal) else np.log(default) / prior.sd)
    # a tail falls off as an exponential does, by its distance from the middle: by its share beyond the edge, exactly
    shares = np.exp(stats.norm.logsf(abs(normal)) - stats.norm.logsf(first))
    assert stats.kstest(shares, "uniform").pvalue > 0.01


# ---------------------------------------------------------------------------------- twins of another model


def test_twins_of_another_model_are_converted():
    twins = Twins(Hourly, {"k": [3600.0, 7200.0]})
    tight = vht.Tsit5(rtol=1e-10, atol=1e-12)
    found = vht.simulate(Decay(), TIMES, twins=twins, method=tight)
    np.testing.assert_allclose(found.values["x"][:, 1], np.exp([-1.0, -2.0]), rtol=1e-8)
    with pytest.raises(
        UnitError, match=r"`k` of twins of `Hourly` is no `k` of `Constant`: `1/h` .* cannot be converted"
    ):
        vht.simulate(Constant(), TIMES, twins=twins)
    with pytest.raises(ModelError, match=r"`Decay` has no parameter `one\.k`"):
        vht.simulate(Decay(), TIMES, twins=Twins(Body({"one": Decay()}), {"one.k": [1.0]}))


def test_a_problem_converts_twins_of_another_model():
    measured = Measurements([0, 1], [1.0, 1.0], ["x", "x"], [0.4, 0.1])
    twins = Twins(Hourly, {"k": [3600.0, 7200.0]})
    problem = Problem(Decay(), {"shift": Free()}, {"x": Observable("x")}, measured, twins=twins)
    np.testing.assert_allclose(problem.columns["k"], [1.0, 2.0], rtol=1e-12)
    own = Problem(Decay(), {"shift": Free()}, {"x": Observable("x")}, measured, twins=Twins(Decay, {"k": [3.0, 4.0]}))
    assert own.columns["k"].tolist() == [3.0, 4.0]
