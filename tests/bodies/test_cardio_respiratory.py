"""Heart, vessels, reflexes, lungs, gas exchange, control of breathing: at rest; what bleeding, tilt, work and gas do.

One cohort, each twin with an experiment of its own, ten minutes long.
"""

import numpy as np
import pytest

import vht
from vht.bodies.cardio_respiratory import CardioRespiratory
from vht.bodies.normal import MEASURED, NORMAL, normal
from vht.model import check_units, conserved, inputs, outputs

EXPERIMENTS = (
    "rest",
    "bleeding",
    "tilt",
    "exercise",
    "carbon dioxide",
    "ventilated by 3 % less oxygen",
    "positive pressure at the mouth",
)
BEGIN, END = 120.0, 600.0


@pytest.fixture(scope="module")
def lived():
    """By experiment and output, mean over the last minute, and the trajectory."""
    n = len(EXPERIMENTS)

    def step(rest, experiment, value):
        after = np.full(n, rest)
        after[EXPERIMENTS.index(experiment)] = value
        return vht.Signal(np.tile([0.0, BEGIN, BEGIN + 1.0], (n, 1)), np.stack([np.full(n, rest)] * 2 + [after], 1))

    blood = np.where(np.arange(n) == EXPERIMENTS.index("bleeding"), -1000.0, 0.0)[:, None]
    schedule = vht.Schedule(
        signals={
            "heart.tilt": step(0.0, "tilt", 60.0),
            "exercise.work": step(1.0, "exercise", 4.0),
            "gas.FiCO2": step(0.000421, "carbon dioxide", 0.05),
            "lungs.P_mouth": step(0.0, "positive pressure at the mouth", 10.0),
            "gas.FiO2": step(0.210379, "ventilated by 3 % less oxygen", 0.18),
        },
        doses={"heart.infusion": vht.Doses(np.full((n, 1), BEGIN), blood, np.full((n, 1), 180.0))},
    )
    times = np.concatenate([[0.0], np.arange(END - 60.0, END, 0.5)])
    observe = [
        *MEASURED["cardio_respiratory"],
        "heart.V_blood",
        "heart.p_sa",
        "gas.consumed_O2",
        "cardiopulmonary.sympathetic",
    ]
    found = vht.simulate(
        CardioRespiratory(),
        times,
        twins=vht.Twins(CardioRespiratory, {"exercise.tau": np.full(n, 30.0)}, names=EXPERIMENTS),
        schedule=schedule,
        observe=observe,
        method=vht.Rodas5P(rtol=1e-3, atol=1e-5, max_steps=1_000_000),
    )
    assert bool(np.asarray(found.ok).all()), found.failures()
    means = {name: np.asarray(found.values[name])[:, 1:].mean(axis=1) for name in observe}
    return {e: {name: values[i] for name, values in means.items()} for i, e in enumerate(EXPERIMENTS)}, found


def test_it_is_well_formed():
    check_units(CardioRespiratory)
    assert "heart.V_blood" in conserved(CardioRespiratory)  # no wire brings blood
    assert set(MEASURED["cardio_respiratory"]) <= set(outputs(CardioRespiratory))
    assert {"heart.infusion", "heart.tilt", "exercise.work", "gas.FiO2"} <= set(inputs(CardioRespiratory))
    assert not {"heart.T", "heart.P_it", "gas.air_flow", "control.PaO2"} & set(inputs(CardioRespiratory))
    for output, quantity in MEASURED["cardio_respiratory"].items():
        assert outputs(CardioRespiratory)[output].unit == NORMAL[quantity].unit


def test_rest_is_normal(lived, verified):
    rest = lived[0]["rest"]
    inside = normal("cardio_respiratory", {name: np.array([value]) for name, value in rest.items()})
    assert set(inside) == set(MEASURED["cardio_respiratory"])
    assert {name for name, each in inside.items() if not each.all()} == set()
    share = sum(each.all() for each in inside.values())
    verified(
        "cardio_respiratory",
        "quantities at rest outside their normal ranges, of 11",
        "published normal ranges (vht.bodies.normal)",
        reached=len(inside) - share,
        within=0,
    )


def test_blood_is_what_is_left(lived, verified):
    volume = np.asarray(lived[1].values["heart.V_blood"])
    lost = np.where(np.array(EXPERIMENTS) == "bleeding", 1000.0, 0.0)
    error = np.abs(volume[:, -1] - (volume[:, 0] - lost)) / volume[:, 0]
    verified("cardio_respiratory", "blood kept in ten minutes", "conservation", reached=error.max(), within=1e-10)


def test_losing_a_litre(lived, verified):
    """Cooke et al. 2004: some 40 mmHg of suction to the lower body is like losing a litre; stroke volume falls by 30 to 50 %,

    heart rate rises, arterial pressure is nearly kept until there is no reserve.
    """
    rest, bled = lived[0]["rest"], lived[0]["bleeding"]
    stroke = (bled["heart.CO"] / bled["heart.HR"]) / (rest["heart.CO"] / rest["heart.HR"])
    cooke = "Cooke et al. 2004, J Appl Physiol 96:1249"
    verified(
        "cardio_respiratory", "stroke volume after losing 1 L, over rest", cooke, reached=stroke, within=(0.5, 0.7)
    )
    rise = bled["heart.HR"] - rest["heart.HR"]
    verified(
        "cardio_respiratory",
        "rise of heart rate after losing 1 L",
        cooke,
        reached=rise,
        within=(8.0, 40.0),
        unit="1/min",
    )
    assert -20.0 < bled["heart.MAP"] - rest["heart.MAP"] < -5.0
    assert bled["heart.CVP"] < rest["heart.CVP"] - 1.0


def test_tilted_head_up(lived, verified):
    """Hainsworth and Al-Shamma 1988, 60 degrees: heart rate +14.7 ± 7.6 a minute, pressure kept, cardiac output less."""
    rest, tilted = lived[0]["rest"], lived[0]["tilt"]
    source = "Hainsworth and Al-Shamma 1988: 14.7 ± 7.6"
    rise = tilted["heart.HR"] - rest["heart.HR"]
    verified(
        "cardio_respiratory", "rise of heart rate at 60 degrees", source, reached=rise, within=(7.1, 22.3), unit="1/min"
    )
    assert abs(tilted["heart.MAP"] - rest["heart.MAP"]) < 10.0
    assert tilted["heart.CO"] < rest["heart.CO"] - 0.3


def test_exercise(lived, verified):
    """Four metabolic equivalents: Wicks et al. 2011 for heart rate; Åstrand et al. 1964 for cardiac output."""
    rest, working = lived[0]["rest"], lived[0]["exercise"]
    ratio = working["heart.HR"] / rest["heart.HR"]
    verified(
        "cardio_respiratory",
        "heart rate at 4 metabolic equivalents, over rest",
        "(4 + 5)/6 of Wicks et al. 2011",
        reached=abs(ratio - 1.5),
        within=0.1,
    )
    oxygen = (working["gas.consumed_O2"] - rest["gas.consumed_O2"]) / 1000.0
    slope = (working["heart.CO"] - rest["heart.CO"]) / oxygen
    verified(
        "cardio_respiratory",
        "blood for a litre of oxygen in exercise",
        "Åstrand et al. 1964",
        reached=slope,
        within=(4.0, 7.5),
        unit="L/L",
    )
    assert working["control.minute_ventilation"] > 2.0 * rest["control.minute_ventilation"]
    assert 0.0 < working["heart.MAP"] - rest["heart.MAP"] < 20.0


def test_breathing_carbon_dioxide_and_less_oxygen(lived):
    rest, carbon = lived[0]["rest"], lived[0]["carbon dioxide"]
    assert carbon["control.minute_ventilation"] > 2.0 * rest["control.minute_ventilation"]
    assert 3.0 < carbon["gas.PaCO2"] - rest["gas.PaCO2"] < 12.0
    less = lived[0]["ventilated by 3 % less oxygen"]
    assert less["control.minute_ventilation"] > rest["control.minute_ventilation"]
    assert 15.0 < rest["gas.PaO2"] - less["gas.PaO2"] < 40.0


def test_positive_pressure(lived):
    """10 cmH2O: the heart fills less although central venous pressure rises, and reflexes keep arterial pressure."""
    rest, pressed = lived[0]["rest"], lived[0]["positive pressure at the mouth"]
    assert pressed["heart.CVP"] > rest["heart.CVP"] + 1.0 and pressed["heart.CO"] < rest["heart.CO"] - 0.3
    assert pressed["cardiopulmonary.sympathetic"] > rest["cardiopulmonary.sympathetic"] + 0.4
    assert abs(pressed["heart.MAP"] - rest["heart.MAP"]) < 5.0


def test_breathing_moves_blood(lived):
    """Arterial pressure swings with breath, as in people by a few mmHg."""
    pressure = np.asarray(lived[1].values["heart.MAP"])[EXPERIMENTS.index("rest"), 1:]
    assert 0.1 < np.ptp(pressure) < 10.0
