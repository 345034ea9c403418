"""Published formulas of body size, kidney function, maturation and metabolism, each within bounds.

Numbers in, one or one a person; numbers out, of the same shape. A value outside the bounds is an error, not a guess: the
message says whose it is and what they are. Bounds of age are those of the authors' subjects, except that
kidney function goes on to 110 years; those of size and creatinine are wider than the subjects were: they keep out children,
wrong units and mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vht.errors import DataError, nearest

SEXES = ("male", "female")


def body_surface_area(weight: ArrayLike, height: ArrayLike, formula: str = "du_bois") -> Any:
    """Body surface area, m^2.

    Args:
        weight: kg, 0.5 to 400.
        height: cm, 25 to 250.
        formula: "du_bois" (Du Bois and Du Bois, Arch. Intern. Med. 17:863, 1916) or "mosteller" (N. Engl. J. Med. 317:1098,
            1987). For infants "mosteller" is the usual one.

    Raises:
        DataError: a value outside the range, or an unknown formula.
    """
    weight, height = _within("weight", weight, 0.5, 400.0, "kg"), _within("height", height, 25.0, 250.0, "cm")
    if formula == "du_bois":
        return 0.007184 * weight**0.425 * height**0.725
    if formula == "mosteller":
        return np.sqrt(weight * height / 3600.0)
    raise DataError(
        f"There is no formula `{formula}` of body surface area.{nearest(formula, ('du_bois', 'mosteller'))}"
    )


def lean_body_weight(weight: ArrayLike, height: ArrayLike, sex: str | Sequence[str] | np.ndarray) -> Any:
    """Lean body weight of adults, kg (Janmahasatian et al., Clin. Pharmacokinet. 44:1051, 2005).

    It is fat-free mass. The authors' subjects weighed 40.7 to 216.5 kg and had a body mass index of 17.1 to 69.9 kg/m^2.

    Args:
        weight: kg, 35 to 250.
        height: cm, 130 to 220.
        sex: "male" or "female".

    Raises:
        DataError: a value outside the range.
    """
    weight, height = _within("weight", weight, 35.0, 250.0, "kg"), _within("height", height, 130.0, 220.0, "cm")
    male, bmi = _male(sex), weight / (height / 100.0) ** 2
    return 9270.0 * weight / np.where(male, 6680.0 + 216.0 * bmi, 8780.0 + 244.0 * bmi)


def blood_volume(weight: ArrayLike, height: ArrayLike, sex: str | Sequence[str] | np.ndarray) -> Any:
    """Blood volume of adults, L (Nadler, Hidalgo and Bloch, Surgery 51:224, 1962).

    Args:
        weight: kg, 35 to 250.
        height: cm, 130 to 220.
        sex: "male" or "female".

    Raises:
        DataError: a value outside the range.
    """
    weight, height = _within("weight", weight, 35.0, 250.0, "kg"), _within("height", height, 130.0, 220.0, "cm")
    cube = (height / 100.0) ** 3
    return np.where(_male(sex), 0.3669 * cube + 0.03219 * weight + 0.6041, 0.3561 * cube + 0.03308 * weight + 0.1833)


def creatinine_clearance(
    age: ArrayLike, weight: ArrayLike, creatinine: ArrayLike, sex: str | Sequence[str] | np.ndarray
) -> Any:
    """Creatinine clearance of adults, mL/min (Cockcroft and Gault, Nephron 16:31, 1976).

    Args:
        age: years, 18 to 110. The authors' patients were 18 to 92; the formula reaches 0 at 140.
        weight: kg, 30 to 250.
        creatinine: in serum, mg/dL, 0.1 to 20; stable.
        sex: "male" or "female".

    Raises:
        DataError: a value outside the range.
    """
    age, weight = _within("age", age, 18.0, 110.0, "years"), _within("weight", weight, 30.0, 250.0, "kg")
    creatinine = _within("creatinine", creatinine, 0.1, 20.0, "mg/dL")
    return (140.0 - age) * weight / (72.0 * creatinine) * np.where(_male(sex), 1.0, 0.85)


def egfr(age: ArrayLike, creatinine: ArrayLike, sex: str | Sequence[str] | np.ndarray) -> Any:
    """Glomerular filtration rate of adults, mL/min per 1.73 m^2 (CKD-EPI 2021: Inker et al., N. Engl. J. Med. 385:1737).

    Args:
        age: years, 18 to 110.
        creatinine: in serum, by a standardised assay, mg/dL, 0.1 to 20; stable.
        sex: "male" or "female".

    Raises:
        DataError: a value outside the range.
    """
    age, creatinine = (
        _within("age", age, 18.0, 110.0, "years"),
        _within("creatinine", creatinine, 0.1, 20.0, "mg/dL"),
    )
    male = _male(sex)
    ratio = creatinine / np.where(male, 0.9, 0.7)
    low, high = np.minimum(ratio, 1.0) ** np.where(male, -0.302, -0.241), np.maximum(ratio, 1.0) ** -1.2
    return 142.0 * low * high * 0.9938**age * np.where(male, 1.0, 1.012)


def maturation(postmenstrual_age: ArrayLike, half: float = 47.7, hill: float = 3.4) -> Any:
    """Share of an adult's clearance that a child has reached, body size apart (Anderson and Holford 2009).

    The defaults are of glomerular filtration (Rhodin et al., Pediatr. Nephrol. 24:67, 2009). Anderson and Holford, Drug Metab.
    Pharmacokinet. 24:25, 2009, tell what other ways of elimination have.

    Args:
        postmenstrual_age: weeks, 22 to 6261 (120 years); for one born at term, the age and 40.
        half: age at which half is reached, weeks.
        hill: exponent.

    Raises:
        DataError: an age outside the range.
    """
    age = _within("postmenstrual_age", postmenstrual_age, 22.0, 120.0 * 52.18, "weeks")
    return 1.0 / (1.0 + (half / age) ** hill)


def basal_metabolic_rate(
    age: ArrayLike, weight: ArrayLike, height: ArrayLike, sex: str | Sequence[str] | np.ndarray
) -> Any:
    """Resting energy expenditure of adults, kcal a day (Mifflin et al., Am. J. Clin. Nutr. 51:241, 1990).

    Args:
        age: years, 19 to 78.
        weight: kg, 35 to 250.
        height: cm, 130 to 220.
        sex: "male" or "female".

    Raises:
        DataError: a value outside the range.
    """
    age, weight = _within("age", age, 19.0, 78.0, "years"), _within("weight", weight, 35.0, 250.0, "kg")
    height = _within("height", height, 130.0, 220.0, "cm")
    return 9.99 * weight + 6.25 * height - 4.92 * age + np.where(_male(sex), 5.0, -161.0)


def highest_heart_rate(age: ArrayLike) -> Any:
    """Highest heart rate of healthy adults, beats a minute (Tanaka, Monahan and Seals, J. Am. Coll. Cardiol. 37:153, 2001).

    Args:
        age: years, 18 to 81.

    Raises:
        DataError: an age outside the range.
    """
    return 208.0 - 0.7 * _within("age", age, 18.0, 81.0, "years")


def _within(name: str, values: ArrayLike, low: float, high: float, unit: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    outside = np.flatnonzero(~((array >= low) & (array <= high)))  # NaN is outside too
    if outside.size:
        whose = "" if array.size == 1 else f" (person {outside[0]} of {array.size}, counted from 0)"
        raise DataError(
            f"`{name}` must lie between {low:g} and {high:g} {unit} for this formula, but got "
            f"{array.flat[outside[0]]:g}{whose}: leave out this rule for such people, or give what it yields yourself."
        )
    return array


def _male(sex: str | Sequence[str] | np.ndarray) -> np.ndarray:
    array = np.asarray(sex).astype(str)
    for word in np.unique(array):
        if word not in SEXES:
            raise DataError(f'`sex` must be "male" or "female", but got "{word}".')
    return np.asarray(array == "male")
