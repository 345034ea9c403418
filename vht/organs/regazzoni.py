"""How parameters of the circulation of Regazzoni et al. 2022 are declared: bounds and priors about the paper's values."""

from __future__ import annotations

from typing import Any

from vht.model import LogNormal, param

SOURCE = "regazzoni2022"
# of the left ventricle, which the paper computes in three dimensions, and of times, on which copies of its table differ
PROGRAM = "default of the authors' own program of this circuit"


def elastance(value: float, meaning: str, source: str = SOURCE) -> Any:
    """Of a chamber."""
    return param(value, "mmHg/mL", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=source)


def unstressed(value: float, chamber: str, source: str = SOURCE) -> Any:
    """Of a chamber."""
    return param(value, "mL", f"volume of the {chamber} at zero pressure", bounds=(0.0, 60.0), source=source)


def resistance(value: float, meaning: str) -> Any:
    """Of a vessel."""
    return param(value, "mmHg*s/mL", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=SOURCE)


def compliance(value: float, meaning: str) -> Any:
    """Of a vessel."""
    return param(value, "mL/mmHg", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=SOURCE)


def inertance(value: float, meaning: str) -> Any:
    """Of a vessel."""
    return param(value, "mmHg*s^2/mL", meaning, bounds=(value / 10, value * 10), source=SOURCE)


def onset(value: float, meaning: str) -> Any:
    """Of a chamber's contraction."""
    # one whole turn, with the default in its middle
    return param(value, "1", meaning, bounds=(value - 0.5, value + 0.5), source=PROGRAM)


def duration(value: float, meaning: str) -> Any:
    """Of a contraction or relaxation."""
    # contraction and relaxation fit into one beat; a duration of zero would be a jump of the elastance
    return param(value, "1", meaning, bounds=(0.02, 0.5), source=PROGRAM)
