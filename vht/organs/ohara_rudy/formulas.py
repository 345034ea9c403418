"""Formulas that recur in the equations of `OHaraRudyCiPA`."""

from __future__ import annotations

import jax.numpy as jnp

from vht.model import Scalar, constant

# mV: a solver's trial step may leave the range of voltages that a membrane survives, and exponentials must stay finite
_FURTHEST = 250.0
# nmol/L, squared: below its root a power of the concentration becomes a line, whose slope at 0 is finite
_FEWEST = 1e-14


def kinetic_potential(v: Scalar) -> Scalar:
    """The potential that kinetics depend on."""
    furthest = constant(_FURTHEST, "mV")
    return jnp.clip(v, -furthest, furthest)


def slower(v: Scalar, first: tuple[float, float, float], second: tuple[float, float, float]) -> Scalar:
    """``1 / (a exp((v - b) / c) + ...)`` of two such terms."""
    (a, b, c), (d, e, f) = first, second
    return 1.0 / (a * jnp.exp((v - b) / c) + d * jnp.exp((v - e) / f))


def power(D: Scalar, n: Scalar) -> Scalar:
    """The n-th power of a concentration in nmol/L, but with a finite slope at 0."""
    number = D / constant(1.0, "nmol/L")
    return number * (number * number + _FEWEST) ** (0.5 * (n - 1.0))


def left(whole: Scalar, D: Scalar, half: Scalar, n: Scalar) -> Scalar:
    """What a drug leaves of a conductance or permeability (Hill equation)."""
    return whole / (1.0 + power(D, n) / (half / constant(1.0, "nmol/L")) ** n)


def held(calcium: Scalar, buffer: Scalar, half: Scalar) -> Scalar:
    """Calcium that a fast buffer holds."""
    return buffer * calcium / (calcium + half)


def bound(calcium: Scalar, buffer: Scalar, half: Scalar) -> Scalar:
    """Its derivative with respect to free calcium."""
    return buffer * half / (calcium + half) ** 2


def shares(*weights: Scalar) -> list[Scalar]:
    """Each weight's share of their sum."""
    total = sum(weights[1:], weights[0])
    return [weight / total for weight in weights]
