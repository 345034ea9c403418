"""`Auto` picks the method that costs less, says which and why, and is a method like any other."""

import jax
import numpy as np
import pytest
from systems import Decay, Oral, VanDerPol, decay, oral_schedule

import vht
from vht.solve import Auto, Rodas5P, Tsit5, choose_method
from vht.solve.auto import step_costs
from vht.solve.system import system_of


def test_a_stiff_model_gets_the_stiff_method_and_another_the_explicit_one():
    stiff = vht.simulate(VanDerPol(mu=1e3), np.array([100.0]), method=Auto(rtol=1e-5))
    assert stiff.settings.method == Rodas5P(rtol=1e-5)
    assert "Rodas5P" in stiff.settings.note and "pilot twin" in stiff.settings.note
    assert stiff.to_xarray().attrs["chosen"] == stiff.settings.note
    easy = vht.simulate(VanDerPol(mu=1.0), np.array([10.0]), method=Auto(rtol=1e-5))
    assert easy.settings.method == Tsit5(rtol=1e-5)
    # what was chosen gives what it gives when it is asked for
    np.testing.assert_array_equal(
        easy.values["x"], vht.simulate(VanDerPol(mu=1.0), np.array([10.0]), method=Tsit5(rtol=1e-5)).values["x"]
    )


def test_the_cohort_decides_not_its_first_twin():
    mu = np.array([1.0, *[1e4] * 9])
    chosen = choose_method(VanDerPol(), np.array([50.0]), twins={"mu": mu}, method=Auto(rtol=1e-4))
    assert isinstance(chosen, Rodas5P)


def test_settings_are_kept():
    method = Auto(rtol=1e-4, atol=1e-7, max_steps=500, max_step=0.5, first_step=0.1, dtype="float32")
    chosen = choose_method(Oral(), np.array([8.0]), schedule=oral_schedule(), method=method)
    assert chosen == Tsit5(rtol=1e-4, atol=1e-7, max_steps=500, max_step=0.5, first_step=0.1, dtype="float32")


def test_nobody_to_try_it_on():
    found = vht.simulate(Decay(), np.array([1.0]), twins={"k": np.zeros(0)}, method=Auto())
    assert found.values["x"].shape == (0, 1)


def test_inside_transformations():
    def last(k):
        return vht.simulate(Decay(), np.array([2.0]), twins={"k": k}, method=Auto(rtol=1e-8)).values["x"][0, 0]

    k = np.array([0.7])
    np.testing.assert_allclose(jax.jit(last)(k), decay(2.0, 0.7), rtol=1e-7)
    np.testing.assert_allclose(jax.grad(lambda k: last(k))(k), [-2.0 * decay(2.0, 0.7)], rtol=1e-6)
    with pytest.raises(ValueError, match="needs to know times"):
        jax.jit(lambda t: vht.simulate(Decay(), t, method=Auto()).values["x"])(np.array([2.0]))


def test_costs_grow_with_the_model():
    small, large = step_costs(system_of(Decay())), step_costs(system_of(Oral()))
    assert small[0] < large[0] and small[1] < large[1]
    assert small[0] < small[1] and large[0] < large[1]


def test_fixed_points_take_it_too():
    from systems import Filter

    steady = vht.steady_state(Filter(), inputs={"u": 3.0}, method=Auto())
    np.testing.assert_allclose(steady.values["x"], [3.0], rtol=1e-6)


@pytest.mark.parametrize("inside", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_every_backend_takes_it(inside):
    # diffrax' checks need values, or a trace of their own
    def solved(k):
        return vht.simulate(
            Decay(), np.array([1.0, 2.0]), twins={"k": k}, method=Auto(rtol=1e-8), backend="xla"
        ).values["x"]

    with jax.enable_x64(True):
        found = inside(solved)(np.array([0.7, 0.9]))
    np.testing.assert_allclose(found, [[decay(t, k) for t in (1.0, 2.0)] for k in (0.7, 0.9)], rtol=1e-6)
