"""Units: one registry, loaded when first needed, with the units of physiology and pharmacology that pint lacks."""

from __future__ import annotations

import functools
import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.errors import UnitError

if TYPE_CHECKING:
    import pint

# What pint does not know, or takes for something else (its `U` is an amount of enzyme).
_DEFINITIONS = (
    "hormone_unit = [hormone_activity] = U = IU = international_unit",
    "equivalent = mole = Eq",
    "liter = decimeter ** 3 = L = l = litre",
    "beat = []",
    "bpm = beat / minute",
    "unitless = []",
)

# units of two registries do not go together: threads that ask for the first one at once must get the same
_LOCK = threading.Lock()

# every whole number up to it is a float
_WHOLE = 2.0**53


def registry() -> pint.UnitRegistry:
    """The registry all units of vht belong to."""
    with _LOCK:
        return _registry()


@functools.cache
def _registry() -> pint.UnitRegistry:
    import logging

    import pint

    log = logging.getLogger("pint.util")
    before = log.level
    log.setLevel(logging.ERROR)  # pint warns when `U` is defined anew, which is what we want
    try:
        units: Any = _read_definitions(pint)
        for definition in _DEFINITIONS:
            units.define(definition)
    finally:
        log.setLevel(before)
    units.formatter.default_format = "~C"
    return units


def _read_definitions(pint: Any) -> Any:
    """A registry from pint's own definitions; once read, they are kept beside the kernels, which saves 0.2 s a process."""
    from vht_kernels import cache

    try:
        return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=cache.directory() / "units")
    except Exception:  # no folder, no space, a damaged file: pint raises whatever it meets
        return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@functools.cache
def parse(text: str) -> pint.Unit:
    """The unit a text such as "mmHg*s/mL" stands for.

    Raises:
        UnitError: if there is no such unit.
    """
    import pint

    cleaned = text.strip()
    if cleaned in ("", "1", "-"):
        return registry().Unit("dimensionless")
    try:
        return registry().parse_units(cleaned.replace("µ", "u").replace("μ", "u").replace("·", "*"))
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError, AssertionError) as error:
        raise UnitError(f"Unit `{text}` is unknown.{_hint(cleaned)}") from error
    except Exception as error:  # pint lets its tokenizer's own errors through
        raise UnitError(f"Unit `{text}` cannot be read.") from error


def _hint(text: str) -> str:
    from vht.errors import nearest

    common = (
        "mL",
        "L",
        "mg",
        "ug",
        "kg",
        "mmHg",
        "cmH2O",
        "mmol",
        "mol",
        "min",
        "s",
        "h",
        "day",
        "mg/dL",
        "mmol/L",
        "mg/L",
    )
    common += ("uU/mL", "mL/min", "L/min", "mmHg*s/mL", "mL/mmHg", "1/min", "bpm")
    hint = nearest(text, common)
    return hint if "Did you mean" in hint else ""


def convert(values: Any, found: str, wanted: str) -> np.ndarray:
    """Numbers in another unit, temperatures included.

    Args:
        values: in the unit `found`.
        found: their unit.
        wanted: the unit to express them in.

    Raises:
        UnitError: an unknown unit, or one of another dimension; names both.
    """
    scale, offset = conversion(found, wanted)
    return np.asarray(scaled(values, scale) + offset)


def scaled(values: Any, scale: float) -> np.ndarray:
    """Numbers times the scale of a conversion, each taken for the decimal that it prints as and rounded once.

    So that what is equal stays equal: 0.3 d, 7.2 h and 432 min are one time, which products with 24 and 1/60 are not.

    Args:
        values: in any shape.
        scale: as `conversion` gives it.
    """
    values = np.asarray(values, np.float64)
    ratio = Fraction(scale).limit_denominator(10**12)
    found = np.asarray(values * scale)
    if abs(float(ratio) - scale) > 4.0 * np.finfo(float).eps * abs(scale):
        return found
    left = np.isfinite(values)
    for power in 10.0 ** np.arange(16):
        # whole numbers that a float holds: their quotient is rounded once
        if not left.any() or power * ratio.denominator > _WHOLE:
            break
        with np.errstate(over="ignore"):
            whole = np.rint(values * power)
            fits = left & (whole / power == values) & (np.abs(whole) * ratio.numerator <= _WHOLE)
            found = np.where(fits, whole * ratio.numerator / (power * ratio.denominator), found)
        left &= ~fits
    return found


@functools.cache
def conversion(found: str, wanted: str) -> tuple[float, float]:
    """Scale and offset that take a number from one unit to another: ``wanted = found * scale + offset``.

    Raises:
        UnitError: an unknown unit, one of another dimension, or a temperature and a difference of temperatures; names both.
    """
    import pint

    old, new = parse(found), parse(wanted)
    if old.dimensionality != new.dimensionality:
        raise UnitError(
            f"`{found}` ({quantity(old)}) cannot be converted to `{wanted}` ({quantity(new)}): they measure different things."
        )
    units = registry()
    if found == wanted:
        return 1.0, 0.0
    try:
        zero = float(units.Quantity(0.0, old).to(new).magnitude)
        one = float(units.Quantity(1.0, old).to(new).magnitude)
    except pint.errors.PintError:
        raise UnitError(
            f"`{found}` cannot be converted to `{wanted}`: one has a zero of its own, the other is a difference."
        ) from None
    return one - zero, zero


def say(unit: pint.Unit) -> str:
    """A unit in an error message."""
    return f"{unit}" or "1 (a pure number)"


def quantity(unit: pint.Unit) -> str:
    """What a unit measures, in words where there is one: ``pressure``, ``mass``, else its dimensions."""
    for name, example in _QUANTITIES.items():
        if parse(example).dimensionality == unit.dimensionality:
            return name
    return str(unit.dimensionality).replace("[", "").replace("]", "")


_QUANTITIES = {
    "a pure number": "1",
    "mass": "kg",
    "time": "s",
    "volume": "L",
    "length": "m",
    "area": "m^2",
    "pressure": "mmHg",
    "volume per time": "L/s",
    "mass per volume": "mg/L",
    "mass per time": "mg/h",
    "amount": "mol",
    "amount per volume": "mol/L",
    "rate": "1/s",
    "temperature": "kelvin",
    "voltage": "mV",
    "current": "A",
    "resistance to flow": "mmHg*s/mL",
    "compliance": "mL/mmHg",
    "hormone activity": "U",
    "hormone activity per volume": "U/L",
}


def same(a: pint.Unit, b: pint.Unit) -> bool:
    """Whether two units are equal: not only in dimension, but in size, and in where they begin (degC is not kelvin)."""
    if a == b:
        return True
    (x, p, begin), (y, q, other) = _root(a), _root(b)
    return p == q and abs(x - y) <= 1e-9 * abs(x) and begin == other


@functools.lru_cache(maxsize=4096)
def _root(unit: pint.Unit) -> tuple[float, Any, float]:
    """Size, dimension, and where it begins, in root units."""
    from pint.util import to_units_container

    factor: Any
    factor, base = registry().get_root_units(unit)
    # only a temperature that stands alone has a zero of its own: in degC/s it is a difference
    alone = list(to_units_container(unit).values()) == [1]
    begin = float(registry().Quantity(0.0, unit).to_root_units().magnitude) if alone else 0.0
    return float(factor), base.dimensionality, begin
