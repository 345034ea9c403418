"""Published normal ranges of a resting adult, and which of a body's outputs they hold for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from vht.errors import ModelError, nearest


@dataclasses.dataclass(frozen=True)
class Range:
    """Where a quantity usually lies.

    Attributes:
        low: its lower end.
        high: its upper end.
        unit: of both.
        source: who says so.
    """

    low: float
    high: float
    unit: str
    source: str


# sources that several quantities share
_HALL = "Hall and Hall, Guyton and Hall Textbook of Medical Physiology, 14th ed. 2021"
_KLAESTRUP = "Klaestrup et al., Clin Chem Lab Med 49:1495, 2011: adults of 20 to 76 years"
_KLABUNDE = "Klabunde, Cardiovascular Physiology Concepts, 2nd ed. 2011"
_KRATZ = "Kratz et al., Laboratory reference values, N Engl J Med 351:1548, 2004"
_WEST = "West and Luks, West's Respiratory Physiology, 11th ed. 2021"

NORMAL: Mapping[str, Range] = MappingProxyType(
    {
        "mean arterial pressure": Range(70.0, 107.0, "mmHg", f"{_KLABUNDE}; up to the 140/90 mmHg of ESC/ESH 2018"),
        "heart rate": Range(50.0, 100.0, "1/min", "Spodick et al., Am J Cardiol 69:1245, 1992, and usual limit of tachycardia"),
        "cardiac output": Range(4.0, 8.0, "L/min", _KLABUNDE),
        "central venous pressure": Range(0.0, 8.0, "mmHg", _KLABUNDE),
        "mean pulmonary arterial pressure": Range(7.4, 20.6, "mmHg", "Kovacs et al., Eur Respir J 34:888, 2009 (2 SD)"),
        "left atrial pressure": Range(4.0, 13.0, "mmHg", _KLABUNDE),
        "blood volume": Range(4.0, 6.5, "L", _HALL),
        "arterial oxygen pressure": Range(70.0, 113.0, "mmHg", _KLAESTRUP),
        "arterial carbon dioxide pressure": Range(32.0, 45.0, "mmHg", _KLAESTRUP),
        "arterial oxygen saturation": Range(0.94, 1.0, "1", _WEST),
        "breathing rate": Range(10.0, 20.0, "1/min", _WEST),
        "minute ventilation": Range(5.0, 9.0, "L/min", _WEST),
        "oxygen consumption": Range(180.0, 320.0, "mL/min", _WEST),
        "glomerular filtration": Range(0.09, 0.15, "L/min", _HALL),
        "renal blood flow": Range(0.8, 1.4, "L/min", _HALL),
        "plasma sodium": Range(135.0, 145.0, "mmol/L", _KRATZ),
        "extracellular fluid": Range(11.0, 18.0, "L", _HALL),
        "fasting glucose": Range(70.0, 130.0, "mg/dL", "not low; goal before meals up to 130: ADA, Diabetes Care 47 S1, 2024"),
        "resting potential": Range(-95.0, -80.0, "mV", "Nerbonne and Kass, Physiol Rev 85:1205, 2005"),
        "action potential duration": Range(200.0, 400.0, "ms", "O'Hara et al., PLoS Comput Biol 7:e1002061, 2011"),
        "peak of calcium": Range(2e-4, 2e-3, "mmol/L", "Coppini et al., Circulation 127:575, 2013, and O'Hara et al. 2011"),
    }
)  # fmt: skip
"""By quantity."""


MEASURED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # of a cell that is not stimulated
        "cardiac_safety": {"cell.potential": "resting potential"},
        "metabolic": {"glucose.glucose": "fasting glucose"},
        "cardio_respiratory": {
            "heart.MAP": "mean arterial pressure",
            "heart.HR": "heart rate",
            "heart.CO": "cardiac output",
            "heart.CVP": "central venous pressure",
            "heart.p_pa": "mean pulmonary arterial pressure",
            "gas.PaO2": "arterial oxygen pressure",
            "gas.PaCO2": "arterial carbon dioxide pressure",
            "gas.SaO2": "arterial oxygen saturation",
            "gas.VO2": "oxygen consumption",
            "control.breathing_rate": "breathing rate",
            "control.minute_ventilation": "minute ventilation",
        },
        "cardio_renal": {
            "circulation.MAP": "mean arterial pressure",
            "circulation.CO": "cardiac output",
            "circulation.p_RA": "central venous pressure",
            "circulation.mPAP": "mean pulmonary arterial pressure",
            "circulation.p_LA": "left atrial pressure",
            "circulation.blood_volume": "blood volume",
            "kidney.GFR": "glomerular filtration",
            "kidney.renal_blood_flow": "renal blood flow",
            "kidney.plasma_sodium": "plasma sodium",
            "kidney.extracellular_volume": "extracellular fluid",
        },
        "blood_pressure": {
            "pressure.MAP": "mean arterial pressure",
            "pressure.cardiac_output": "cardiac output",
            "kidney.blood_volume": "blood volume",
            "kidney.GFR": "glomerular filtration",
            "kidney.renal_blood_flow": "renal blood flow",
            "kidney.plasma_sodium": "plasma sodium",
            "kidney.extracellular_volume": "extracellular fluid",
        },
    }
)
"""By body, which of its outputs, averaged over time at rest, is which quantity."""


def normal(body: str, values: Mapping[str, Float[np.ndarray, " twins"]]) -> dict[str, Bool[np.ndarray, " twins"]]:
    """Whether each twin of a body lies within published normal ranges.

    Args:
        body: its name in the library.
        values: by output, averaged over time at rest; NaN for a twin that failed, which lies outside.

    Returns:
        By output that has a range, which twins lie inside.

    Raises:
        ModelError: no ranges are known for the body.
    """
    if body not in MEASURED:
        raise ModelError(f"No normal ranges are known for `{body}`.{nearest(body, MEASURED)}")
    found = {}
    for output, quantity in MEASURED[body].items():
        if output in values:
            expected = NORMAL[quantity]
            value = np.asarray(values[output])
            found[output] = (value >= expected.low) & (value <= expected.high)
    return found
