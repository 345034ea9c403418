"""Numbers as a user gives them: converted, and refused where a conversion would lose what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np

# of NumPy's kinds: complex numbers, lengths of time, dates, texts
_REFUSED = "cmMSUT"
_UNITS = (
    " Numbers are taken to be in the model's units: convert them before, as in "
    '`times / np.timedelta64(1, "h")` or `quantity.to("h").magnitude`.'
)


def real_numbers(name: str, value: Any) -> np.ndarray:
    """A value in float64; what a mask hides is NaN.

    Args:
        name: of the value, as messages say it.
        value: numbers, or a list or an array of them.

    Raises:
        ValueError: it is not real numbers, or has units or dates, which a conversion would drop.
    """
    hint = ""
    try:
        # of the type: an array with names has attributes of any name
        if hasattr(type(value), "units") or hasattr(type(value), "unit"):
            hint = _UNITS
            raise TypeError("plain numbers are needed")
        found = np.asanyarray(value)
        one_by_one = (np.asarray(each).dtype.kind for each in found.flat) if found.dtype.kind == "O" else ()
        wrong = {found.dtype.kind, *one_by_one}.intersection(_REFUSED)
        if wrong or value is None:
            hint = _UNITS if wrong & {"m", "M"} else ""
            raise TypeError("real numbers are needed")
        if isinstance(value, np.ma.MaskedArray):
            value = np.ma.filled(value.astype(np.float64), np.nan)
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        shown = " ".join(repr(value).split())
        raise ValueError(f"`{name}` must be numbers, in rows of one length, but got {shown:.100}.{hint}") from error
