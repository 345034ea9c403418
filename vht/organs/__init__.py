"""The library of organ models. `catalogue` lists them by the name a study file uses."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from vht.errors import ModelError, nearest
from vht.model import Organ

# by name, module and class
HOME = {
    "baroreflex": ("vht.organs.baroreflex", "Baroreflex"),
    "bone": ("vht.organs.bone", "LemaireBone"),
    "brain": ("vht.organs.brain", "UrsinoBrain"),
    "cardiopulmonary_reflex": ("vht.organs.cardiopulmonary_reflex", "CardiopulmonaryReflex"),
    "circulation": ("vht.organs.circulation", "Circulation"),
    "circulatory_control": ("vht.organs.circulatory_control", "CirculatoryControl"),
    "closed_loop_heart": ("vht.organs.closed_loop_heart", "ClosedLoopHeart"),
    "drug_1": ("vht.organs.compartments", "Drug1"),
    "drug_2": ("vht.organs.compartments", "Drug2"),
    "drug_3": ("vht.organs.compartments", "Drug3"),
    "effect_compartment": ("vht.organs.drug_effects", "EffectCompartment"),
    "exercise": ("vht.organs.exercise", "DynamicExercise"),
    "gas_exchange": ("vht.organs.gas_exchange", "GasExchange"),
    "gas_exchange_by_breath": ("vht.organs.gas_exchange", "GasExchangeByBreath"),
    "hovorka": ("vht.organs.hovorka", "Hovorka2004"),
    "indirect_response": ("vht.organs.drug_effects", "IndirectResponse"),
    "kidney": ("vht.organs.kidney", "Kidney"),
    "long_term_pressure": ("vht.organs.long_term_pressure", "LongTermPressure"),
    "lungs": ("vht.organs.lungs", "Lungs"),
    "mean_circulation": ("vht.organs.mean_circulation", "MeanCirculation"),
    "minimal_glucose": ("vht.organs.glucose", "MinimalGlucose"),
    "noble": ("vht.organs.noble", "Noble1962"),
    "ohara_rudy": ("vht.organs.ohara_rudy", "OHaraRudyCiPA"),
    "oral_drug": ("vht.organs.drugs", "OralDrug1"),
    "pbpk": ("vht.organs.pbpk", "PBPK16"),
    "pulsatile_circulation": ("vht.organs.pulsatile_circulation", "PulsatileCirculation"),
    "ten_tusscher": ("vht.organs.ten_tusscher", "TenTusscher2006"),
    "tumour": ("vht.organs.tumour", "SimeoniTumour"),
    "uva_padova": ("vht.organs.uva_padova", "UVAPadova2008"),
    "ventilation_control": ("vht.organs.ventilation_control", "VentilationControl"),
}


def catalogue() -> dict[str, type[Organ]]:
    """All organ models by name."""
    return {name: organ(name) for name in HOME}


def organ(name: str) -> type[Organ]:
    """The organ model of a name.

    Raises:
        ModelError: if there is none; suggests the nearest.
    """
    return find(name, HOME)


def find(name: str, homes: Mapping[str, tuple[str, str]]) -> type[Organ]:
    """A model by its name among some, loaded when asked for.

    Args:
        name: of the model.
        homes: by name, module and class.

    Raises:
        ModelError: if there is none; suggests the nearest.
    """
    if not isinstance(name, str):
        raise ModelError(f'A model\'s name must be a text, such as "oral_drug", but got {name!r:.100}.')
    if name not in homes:
        raise ModelError(f"There is no model `{name}`.{nearest(name, homes)}")
    module, cls = homes[name]
    return getattr(importlib.import_module(module), cls)
