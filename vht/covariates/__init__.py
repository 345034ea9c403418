"""Covariates to parameters: size, age, sex, kidney function and genotype, by published formulas.

    people = People.read("people.csv")  # twin, weight [kg], height [cm], age [year], sex, creatinine [mg/dL], CYP2D6
    rules = [Allometry("CL", 0.75), Allometry("V", 1.0), Genotype("CL", ByScore("CYP2D6", fraction=0.8, sd=0.4))]
    twins = scale(Drug1(), people, rules)

`scale` gives each person's typical twin, or spreads of a drawn cohort around it; `priors` what a fit may assume of one person.
"""

from vht.covariates.formulas import (
    basal_metabolic_rate,
    blood_volume,
    body_surface_area,
    creatinine_clearance,
    egfr,
    highest_heart_rate,
    lean_body_weight,
    maturation,
)
from vht.covariates.genes import ACTIVITY, RISPERIDONE, S_WARFARIN, ByScore, Fitted, activity_score, phenotype
from vht.covariates.people import People
from vht.covariates.rules import Allometry, Genotype, Maturation, RenalFunction, Rule, priors, scale

__all__ = [
    "ACTIVITY",
    "RISPERIDONE",
    "S_WARFARIN",
    "Allometry",
    "ByScore",
    "Fitted",
    "Genotype",
    "Maturation",
    "People",
    "RenalFunction",
    "Rule",
    "activity_score",
    "basal_metabolic_rate",
    "blood_volume",
    "body_surface_area",
    "creatinine_clearance",
    "egfr",
    "highest_heart_rate",
    "lean_body_weight",
    "maturation",
    "phenotype",
    "priors",
    "scale",
]
