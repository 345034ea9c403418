"""Kidney and a simple circulation: the closed model of long-term blood pressure of Karaaslan, Leete and Layton."""

from __future__ import annotations

from vht.model import Body
from vht.organs import kidney, long_term_pressure

BloodPressure = type(
    Body(
        {"kidney": kidney.Kidney(), "pressure": long_term_pressure.LongTermPressure()},
        wires={
            "kidney.MAP": "pressure.MAP",
            "kidney.right_atrial_pressure": "pressure.right_atrial_pressure",
            "kidney.autonomic": "pressure.autonomic",
            "pressure.blood_volume": "kidney.blood_volume",
        },
        name="BloodPressure",
        meaning="Kidney and long-term blood pressure, the closed model of Leete and Layton 2019.",
    )
)

FEMALE = {
    **{f"kidney.{name}": value for name, value in kidney.FEMALE.items()},
    **{f"pressure.{name}": value for name, value in long_term_pressure.FEMALE.items()},
}
"""Parameters of a woman, for ``with_parameters(BloodPressure(), FEMALE)``."""
