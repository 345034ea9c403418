"""Heart, vessels, their reflex, lungs, gas exchange and control of breathing: a person over minutes."""

from __future__ import annotations

from vht.model import Body
from vht.organs.baroreflex import Baroreflex
from vht.organs.cardiopulmonary_reflex import CardiopulmonaryReflex
from vht.organs.exercise import DynamicExercise
from vht.organs.gas_exchange import GasExchange
from vht.organs.lungs import Lungs
from vht.organs.pulsatile_circulation import PulsatileCirculation
from vht.organs.ventilation_control import VentilationControl

_REFLEX = ("T", "E_lv", "E_rv", "R_sp", "V_usv", "V_uev")

CardioRespiratory = type(
    Body(
        {
            "heart": PulsatileCirculation(),
            "reflex": Baroreflex(),
            # mean pleural pressure over a quiet breath
            "cardiopulmonary": CardiopulmonaryReflex(P_it_rest=-4.396),
            "lungs": Lungs(),
            "gas": GasExchange.breathing(),
            "control": VentilationControl(),
            "exercise": DynamicExercise(),
        },
        wires={
            "reflex.p": "heart.p_cs",
            **{f"heart.{port}": f"reflex.{port}" for port in _REFLEX},
            "exercise.R_ep": "reflex.R_ep",
            "heart.R_ep": "exercise.R_ep",
            "cardiopulmonary.CVP": "heart.p_ra",
            "cardiopulmonary.P_it": "lungs.P_pl",
            "reflex.sympathetic": ["cardiopulmonary.sympathetic", "exercise.sympathetic"],
            "reflex.vagal": "exercise.vagal",
            "gas.metabolism": "exercise.metabolism",
            "heart.P_it": "lungs.P_pl",
            "lungs.breathing_rate": "control.breathing_rate",
            "lungs.amplitude": "control.amplitude",
            "gas.air_flow": "lungs.air_flow",
            "gas.blood_flow": "heart.Q_pp",
            "control.PaO2": "gas.PaO2",
            "control.PaCO2": "gas.PaCO2",
        },
        name="CardioRespiratory",
        meaning="Heart, vessels and reflex, lungs, gas exchange and control of breathing, over minutes.",
    )
)
