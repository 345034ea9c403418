"""Circulation and kidneys: blood pressure over days to months."""

from __future__ import annotations

from typing import ClassVar

from vht.bodies.treatments import (
    AceInhibition,
    Furosemide,
    FurosemideEffect,
    FurosemideMaculaDensa,
    Ibuprofen,
    IbuprofenEffect,
    Lisinopril,
)
from vht.model import Body
from vht.organs.circulatory_control import CirculatoryControl
from vht.organs.kidney import Kidney
from vht.organs.mean_circulation import MeanCirculation, Rest


class RestingCirculation(MeanCirculation):
    """`MeanCirculation` that begins at the rest of the default twin below."""

    rest: ClassVar[Rest] = Rest(103.546718006, 14.4366965197, 11.2866965154, 170.013331474, 140.278847962)


# At rest the circulation has the pressure that the kidney keeps: resistance and unstressed volume are solved for that, at
# 5.4 L/min. The pulmonary resistances are a healthy person's, 1.2 Wood units (the paper's together are 5.4).
_CIRCULATION = RestingCirculation(R_AR_SYS=0.83661441, V0_VEN_SYS=2545.41241, R_AR_PUL=0.035, R_VEN_PUL=0.035)

CardioRenal = type(
    Body(
        {
            "circulation": _CIRCULATION,
            "kidney": Kidney(),
            "control": CirculatoryControl(CO_rest=5.4, V_rest=5.0, p_RA_rest=4.851420683452557),
            "ace_inhibitor": Lisinopril(),
            "ace_effect": AceInhibition(),
            "diuretic": Furosemide(),
            "diuretic_effect": FurosemideEffect(),
            "macula_densa_effect": FurosemideMaculaDensa(),
            "nsaid": Ibuprofen(),
            "nsaid_effect": IbuprofenEffect(),
        },
        wires={
            "control.MAP": "circulation.MAP",
            "control.CO": "circulation.CO",
            "control.p_RA": "circulation.p_RA",
            "control.blood_volume": "circulation.blood_volume",
            "control.kidney_volume": "kidney.blood_volume",
            "control.plasma_sodium": "kidney.plasma_sodium",
            "circulation.resistance_factor": "control.resistance_factor",
            "circulation.unstressed_change": "control.unstressed_change",
            "circulation.inflow": "control.inflow",
            "kidney.MAP": "circulation.MAP",
            "kidney.right_atrial_pressure": "control.right_atrial_pressure",
            "kidney.autonomic": "control.autonomic",
            "kidney.water_in": "control.water",
            "kidney.sodium_in": "control.sodium",
            "ace_effect.concentration": "ace_inhibitor.concentration",
            "kidney.ace_inhibition": "ace_effect.inhibition",
            "diuretic_effect.concentration": "diuretic.concentration",
            "kidney.furosemide": "diuretic_effect.effect",
            "macula_densa_effect.concentration": "diuretic.concentration",
            "kidney.furosemide_macula_densa": "macula_densa_effect.effect",
            "nsaid_effect.concentration": "nsaid.concentration",
            "kidney.nsaid": "nsaid_effect.effect",
        },
        time="min",
        name="CardioRenal",
        meaning="Circulation averaged over the beat, kidneys with their hormones and what joins them, over days to months.",
    )
)
