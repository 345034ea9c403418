"""All models that ship with the package, organs and bodies: by name, with their papers, and what they were verified against."""

from __future__ import annotations

from vht.library.references import bibtex, cited
from vht.library.verified import Verification, verification
from vht.model import Organ
from vht.organs import HOME as ORGANS
from vht.organs import find

__all__ = ["Verification", "bibtex", "catalogue", "cited", "model", "verification"]

_BODIES = {
    "blood_pressure": ("vht.bodies.blood_pressure", "BloodPressure"),
    "cardiac_safety": ("vht.bodies.cardiac_safety", "CardiacSafety"),
    "cardio_renal": ("vht.bodies.cardio_renal", "CardioRenal"),
    "cardio_respiratory": ("vht.bodies.cardio_respiratory", "CardioRespiratory"),
    "metabolic": ("vht.bodies.metabolic", "Metabolic"),
}


def _homes() -> dict[str, tuple[str, str]]:
    return dict(sorted({**ORGANS, **_BODIES}.items()))


def catalogue() -> dict[str, type[Organ]]:
    """All models by the name that a study file uses."""
    return {name: model(name) for name in _homes()}


def model(name: str) -> type[Organ]:
    """The model of a name.

    Raises:
        ModelError: if there is none; suggests the nearest.
    """
    return find(name, _homes())
