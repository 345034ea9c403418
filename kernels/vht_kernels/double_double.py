"""Numbers of twice the precision: sums of two doubles, with about 104 bits, for the few places that need them.

Methods: Dekker (1971), Knuth; with fused operations as in Joldes, Muller and Popescu, "Tight and rigorous error bounds for
basic building blocks of double-word arithmetic", ACM TOMS 44(2), 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

from vht_kernels.exponential import normal_parts, scale
from vht_kernels.lane_maths import Lane

LN2 = (0.6931471805599453, 2.3190468138462996e-17)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class DoubleDouble:
    """high + low, where low is less than a rounding error of high."""

    high: Lane
    low: Lane

    def _other(self, other: DoubleDouble | Lane | tuple[float, float]) -> DoubleDouble:
        if isinstance(other, DoubleDouble):
            return other
        maths = self.high.maths
        if isinstance(other, Lane):
            return DoubleDouble(other, maths.number(0.0))
        return DoubleDouble(maths.number(other[0]), maths.number(other[1]))

    def __add__(self, other: DoubleDouble | Lane | tuple[float, float]) -> DoubleDouble:
        maths, other = self.high.maths, self._other(other)
        total, error = maths.two_sum(self.high, other.high)
        low, low_error = maths.two_sum(self.low, other.low)
        total, error = maths.fast_two_sum(total, error + low)
        return DoubleDouble(*maths.fast_two_sum(total, error + low_error))

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __sub__(self, other: DoubleDouble) -> DoubleDouble:
        return self + -other

    def __mul__(self, other: DoubleDouble | Lane | tuple[float, float]) -> DoubleDouble:
        maths, other = self.high.maths, self._other(other)
        product, error = maths.two_product(self.high, other.high)
        error = error + maths.fma(self.high, other.low, self.low * other.high)
        return DoubleDouble(*maths.fast_two_sum(product, error))

    def __truediv__(self, other: DoubleDouble) -> DoubleDouble:
        maths = self.high.maths
        first = self.high / other.high
        rest = self - other * first
        second = rest.high / other.high
        rest = rest - other * second
        high, low = maths.fast_two_sum(first, second)
        return DoubleDouble(*maths.fast_two_sum(high, low + rest.high / other.high))


def exact(number: Fraction) -> tuple[float, float]:
    """A fraction as a sum of two doubles."""
    high = float(number)
    return high, float(number - Fraction(high))


def polynomial(x: DoubleDouble, coefficients: Sequence[Fraction], precise: int) -> DoubleDouble:
    """c[0] + c[1] x + ..., of which the terms from `precise` on are small enough for plain doubles."""
    maths = x.high.maths
    tail = maths.estrin(x.high, [float(c) for c in coefficients[precise:]])
    result = DoubleDouble(tail, maths.number(0.0))
    for c in reversed(coefficients[:precise]):
        result = result * x + exact(c)
    return result


def log(x: DoubleDouble) -> DoubleDouble:
    """log of a positive finite number."""
    maths = x.high.maths
    exponent, number = normal_parts(maths, x.high)
    f = DoubleDouble(*maths.two_sum(number - 1.0, scale(maths, x.low, -exponent)))
    s = f / (f + (2.0, 0.0))
    series = polynomial(s * s, [Fraction(2, 2 * k + 1) for k in range(23)], 12)
    n = DoubleDouble(maths.integer_to_float(exponent), maths.number(0.0))
    return n * LN2 + s * series
