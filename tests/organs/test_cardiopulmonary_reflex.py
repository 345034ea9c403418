"""The cardiopulmonary reflex against its closed form."""

import numpy as np
import pytest

import vht
from vht.organs.cardiopulmonary_reflex import CardiopulmonaryReflex


def test_a_step_of_venous_pressure(verified):
    times = np.linspace(0.0, 20.0, 41)
    level = np.array([4.77, 3.77, 0.0, 12.0])
    schedule = vht.Schedule(signals={"CVP": vht.Signal(np.zeros((4, 1)), level[:, None], "hold")})
    twins = {"gain": np.full(4, 0.8)}
    method = vht.Tsit5(rtol=1e-10, atol=1e-12)
    found = vht.simulate(CardiopulmonaryReflex(), times, twins=twins, schedule=schedule, method=method)
    p = level[:, None] + (4.77 - level[:, None]) * np.exp(-times / 3.0)
    expected = 3.0 * np.tanh(0.8 * (4.77 - p) / 3.0)
    error = np.abs(np.asarray(found.values["sympathetic"]) - expected).max()
    what = "activity after steps of venous pressure"
    verified("cardiopulmonary_reflex", what, "closed form", reached=error, within=1e-7, unit="1/s")
    # no deviation, no effect; less filling, more activity; never beyond its limit
    assert np.asarray(found.values["sympathetic"])[0] == pytest.approx(0.0, abs=1e-12)
    final = np.asarray(found.values["sympathetic"])[:, -1]
    assert final[2] > final[1] > 0.0 > final[3]
    assert np.abs(final).max() < 3.0


def test_it_senses_what_stretches_the_atrium():
    """A ventilator raises central venous pressure, and intrathoracic pressure more: filling falls, activity rises."""
    level = np.array([-4.0, -0.5, -6.0])
    schedule = vht.Schedule(
        signals={
            "CVP": vht.Signal(np.zeros((3, 1)), np.array([[4.77], [7.07], [2.77]]), "hold"),
            "P_it": vht.Signal(np.zeros((3, 1)), level[:, None], "hold"),
        }
    )
    found = vht.simulate(CardiopulmonaryReflex(), np.array([0.0, 100.0]), schedule=schedule)
    final = np.asarray(found.values["sympathetic"])[:, -1]
    # 1.2 mmHg less; in the last both fall alike
    np.testing.assert_allclose(final, [0.0, 3.0 * np.tanh(0.8 * 1.2 / 3.0), 0.0], atol=1e-9)


def test_twins_of_the_priors_end_well():
    found = vht.simulate(
        CardiopulmonaryReflex(), np.array([0.0, 100.0]), twins=vht.Twins.sample(CardiopulmonaryReflex(), 64)
    )
    assert bool(np.asarray(found.ok).all())
