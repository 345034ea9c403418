"""Glucose and insulin, meals, and a drug by mouth."""

from __future__ import annotations

from vht.bodies.treatments import Metformin, MetforminEffect
from vht.model import Body
from vht.organs.hovorka import Hovorka2004

_MEANING = """Glucose and insulin in diabetes that needs insulin, with meals, insulin and metformin, over hours to weeks.

Carbohydrate goes into `glucose.meal` (g), a bolus into `glucose.insulin` (U), metformin into `drug.oral` (mg). Basal insulin
is what holds the twin's `glucose.G_b` without drug; under metformin it stays the same.

Metformin acts on endogenous production alone. In a patient with fasting glucose of 15.5 mmol/L it does what Hundal et al.
found in type 2 diabetes. Nearer to normal it lowers glucose too much: from 10 and 5.6 to 3.9 and 3.5 mmol/L, for the glucose
model's uptake without insulin does not fall with glucose above 4.5 mmol/L, nor does production rise as glucose falls. There
lower `glucose.basal_factor`, as physicians do.
"""

Metabolic = type(
    Body(
        {"drug": Metformin(), "effect": MetforminEffect(), "glucose": Hovorka2004()},
        wires={
            "effect.concentration": "drug.concentration",
            "glucose.production_factor": "effect.effect",
        },
        time="min",
        name="Metabolic",
        meaning=_MEANING,
    )
)
