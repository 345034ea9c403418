"""The closed model of long-term blood pressure: published rest of men and women, and its course into it."""

import numpy as np
import pytest

import vht
from vht.bodies.blood_pressure import FEMALE, BloodPressure
from vht.bodies.normal import MEASURED, normal
from vht.model import check_units, outputs, parameters

# Leete and Layton 2019: normotensive man and woman
MAP, GFR = np.array([103.547, 102.288]), np.array([0.1324, 0.1300])


@pytest.fixture(scope="module")
def lived():
    """A man and a woman, both from the man's rest, for two months."""
    known = parameters(BloodPressure)
    columns = {name: np.array([known[name].default, value]) for name, value in FEMALE.items()}
    method = vht.Rodas5P(rtol=1e-6, atol=1e-8)
    times = np.array([0.0, 59.0, 60.0]) * 1440.0
    return vht.simulate(BloodPressure(), times, twins=columns, observe=[*MEASURED["blood_pressure"]], method=method)


def test_it_is_well_formed():
    check_units(BloodPressure)
    assert set(FEMALE) <= set(parameters(BloodPressure))
    assert set(MEASURED["blood_pressure"]) <= set(outputs(BloodPressure))


def test_rest_of_men_and_women(lived, verified):
    assert bool(np.asarray(lived.ok).all())
    pressure, filtration = (np.asarray(lived.values[name]) for name in ("pressure.MAP", "kidney.GFR"))
    source = "Leete and Layton 2019: 103.547 and 102.288 mmHg"
    error = np.abs(pressure[:, -1] / MAP - 1.0).max()
    verified("blood_pressure", "arterial pressure at rest, man and woman", source, reached=error, within=0.005)
    error = np.abs(filtration[:, -1] / GFR - 1.0).max()
    source = "Leete and Layton 2019: 0.1324 and 0.1300 L/min"
    verified("blood_pressure", "filtration at rest, man and woman", source, reached=error, within=0.005)
    # at rest indeed
    np.testing.assert_allclose(pressure[:, -1], pressure[:, -2], rtol=1e-4)


def test_rest_is_normal(lived):
    values = {name: np.asarray(lived.values[name])[:, -1] for name in MEASURED["blood_pressure"]}
    inside = normal("blood_pressure", values)
    assert {name for name, each in inside.items() if not each.all()} == set()
