"""Roots, signs, neighbours and remainders: exact, or rounded once or twice."""

from __future__ import annotations

from vht_kernels.exponential import normal_parts
from vht_kernels.lane_maths import Lane, Maths

NAN = float("nan")


def sqrt(m: Maths, x: Lane) -> Lane:
    return m.sqrt(x)


def rsqrt(m: Maths, x: Lane) -> Lane:
    return 1.0 / m.sqrt(x)


# x^(-1/3) for x in [sqrt(1/2), sqrt(2)], to 2^-17
INVERSE_CUBE_ROOT = (
    *(1.9991685913420267, -2.4858976483612816, 2.7921441634958377, -1.8980460660769758),
    *(0.7006873883799825, -0.10805257476881835),
)


def cbrt(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    exponent, number = normal_parts(m, size)
    third, third_whole = m.round(m.integer_to_float(exponent) * (1.0 / 3.0))
    left = exponent - third_whole * 3  # -1, 0 or 1
    factor = m.select(left > 0, 2.0, m.select(left < 0, 0.5, 1.0))
    factor_root = m.select(left > 0, 0.7937005259840998, m.select(left < 0, 1.2599210498948732, 1.0))
    inverse = m.estrin(number, INVERSE_CUBE_ROOT) * factor_root
    number = number * factor
    if m.bits == 64:
        inverse = inverse * m.fma(inverse * inverse * inverse, number * (-1.0 / 3.0), 4.0 / 3.0)  # Newton's step
    square = inverse * inverse
    root = number * square
    # one more, of the root itself, with its cube to twice the precision
    root_square, error = m.two_product(root, root)
    rest = m.fma(-root_square, root, number) - error * root
    root = m.fma(rest * square, 1.0 / 3.0, root)
    result = m.copysign(root * m.power_of_two(third_whole), x)
    return m.select((size > 0.0) & (size < float("inf")), result, x)


def floor(m: Maths, x: Lane) -> Lane:
    return m.intrinsic("floor", x)


def ceil(m: Maths, x: Lane) -> Lane:
    return m.intrinsic("ceil", x)


def sign(m: Maths, x: Lane) -> Lane:
    """-1, 1, or x itself if that is a zero or NaN."""
    return m.select(abs(x) > 0.0, m.copysign(1.0, x), x)


def nextafter(m: Maths, x: Lane, y: Lane) -> Lane:
    """The neighbour of x on the way to y; y itself if they are equal."""
    bits = m.to_bits(x)
    # away from zero the bits count up, on both sides
    away = (x < y) ^ (bits < 0)
    moved = m.from_bits(m.select(away, bits + 1, bits - 1))
    smallest = m.copysign(m.from_bits(m.integer(1)), y)
    result = m.select(x.equals(0.0), smallest, moved)
    result = m.select(x.equals(y), y, result)
    return m.select(x.is_nan() | y.is_nan(), x + y, result)


def rem(m: Maths, x: Lane, y: Lane) -> Lane:
    """x - y trunc(x / y), exactly, with the sign of x: C's fmod.

    Division step by step: each takes off a multiple of y 2^j with a quotient of less than 2^52 (2^23), so that the rest is
    representable and one fused operation finds it exactly.
    """
    width = 52 if m.bits == 64 else 23
    size, step = abs(x), abs(y)
    bad = ~(size < float("inf")) | ~(step > 0.0)  # NaN too
    divisor = m.select(bad, 1.0, step)
    start = m.select(bad, 0.0, size)

    def exponent(v: Lane) -> Lane:
        subnormal = v < (2.0**-1022 if m.bits == 64 else 2.0**-126)
        biased = m.to_bits(m.select(subnormal, v * 2.0**width, v)).logical_shift(width)
        return m.select(subnormal, biased - width, biased)

    def reduce(rest: Lane) -> list[Lane]:
        shift = exponent(rest) - exponent(divisor) - (width - 1)
        shift = m.select(shift > 0, shift, 0)
        half = shift.logical_shift(1)
        multiple = divisor * m.power_of_two(half) * m.power_of_two(shift - half)
        quotient = m.intrinsic("trunc", rest / multiple)
        rest = m.fma(-quotient, multiple, rest)
        # the quotient may have been rounded up to the next whole number
        return [m.select(rest < 0.0, rest + multiple, rest)]

    (rest,) = m.loop([start], lambda r: r >= divisor, reduce)
    return m.select(bad | y.is_nan(), NAN, m.copysign(rest, x))
