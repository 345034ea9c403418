"""Numbers with a unit inside equations."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax

from vht.model.variables import Scalar

# how such a number is found in a jaxpr: a call of this name, followed by the unit in brackets
CONSTANT = "vht_constant"


def constant(value: float, unit: str) -> Scalar:
    """A number with a unit that an equation holds and no twin can vary: ``mV = constant(1.0, "mV")``.

    To the check of units a plain number is dimensionless; empirical formulas such as ``exp((v + 20) / 7)`` are written with
    ``v = x.V / mV``, and what they yield gets its unit by ``* ms``. What could differ between twins is a `param` instead.
    Call it inside `rates`, `outputs` or `initial`. At run time it is the plain number.

    Args:
        value: the number.
        unit: such as "mV".
    """
    return _named(unit)(value)


@functools.cache
def _named(unit: str) -> Callable[[float], Scalar]:
    def same(value: Scalar) -> Scalar:
        return value

    same.__name__ = same.__qualname__ = f"{CONSTANT}[{unit}]"
    return jax.jit(same)


def unit_of_constant(call: str) -> str | None:
    """The unit of a `constant`, by the name of its call in a jaxpr; None if it is another call."""
    if not (call.startswith(f"{CONSTANT}[") and call.endswith("]")):
        return None
    return call[len(CONSTANT) + 1 : -1]
