"""asin, acos, atan and atan2, in double and single precision.

`asin` and `acos` halve the angle where they are steep: ``asin(x) = pi / 2 - 2 asin(sqrt((1 - x) / 2))``; the arc tangent
turns by 45 or 90 degrees to stay within ``tan(pi / 8)``. Polynomials: own minimax fits (Remez exchange in 60 digits).
"""

from __future__ import annotations

from vht_kernels.lane_maths import Lane, Maths

INFINITY = float("inf")
NAN = float("nan")
# pi / 4 as a sum of two floats
QUARTER_PI = {64: (0.7853981633974483, 3.061616997868383e-17), 32: (0.7853981852531433, -2.1855694143368964e-08)}

# (asin x - x) / x^3 in x^2 up to 1 / 4, and (atan x - x) / x^3 in x^2 up to tan(pi / 8)^2
ASIN = {
    64: (
        *(0.16666666666666669, 0.0749999999999824, 0.04464285714672368, 0.03038194411093584, 0.022372174009940897),
        *(0.01735236835353757, 0.0139715653498972, 0.011475824104230998, 0.010344095979136598, 0.00536831824123279),
        *(0.017637868537795, -0.015213578379457228, 0.028999325052467),
    ),
    32: (
        *(0.1666666567325592, 0.07500103116035461, 0.04459662735462189, 0.03113190457224846, 0.017005812376737595),
        0.033921096473932266,
    ),
}
ATAN = {
    64: (
        *(-0.3333333333333333, 0.19999999999995738, -0.14285714284707435, 0.11111111018239753, -0.09090904688741135),
        *(0.07692185547377323, -0.06664542012659275, 0.058583942590479, -0.05086639648789856, 0.039263601143182565),
        -0.019213320542915704,
    ),
    32: (-0.3333333134651184, 0.19999557733535767, -0.1426445096731186, 0.10748238861560822, -0.06464766710996628),
}


def _half_angle(m: Maths, size: Lane) -> tuple[Lane, Lane, Lane]:
    """Whether |x| > 1 / 2, and then s = sqrt((1 - |x|) / 2), else |x|, and asin(s) - s."""
    steep = size > 0.5
    square = m.select(steep, (1.0 - size) * 0.5, size * size)
    s = m.select(steep, m.sqrt(square), size)
    return steep, s, s * square * m.estrin(square, ASIN[m.bits])


def asin(m: Maths, x: Lane) -> Lane:
    steep, s, more = _half_angle(m, abs(x))
    high, low = QUARTER_PI[m.bits]
    turned = (high * 2.0 - s * 2.0) + (low * 2.0 - more * 2.0)
    return m.copysign(m.select(steep, turned, s + more), x)


def acos(m: Maths, x: Lane) -> Lane:
    steep, s, more = _half_angle(m, abs(x))
    high, low = QUARTER_PI[m.bits]
    twice, twice_more = s * 2.0, more * 2.0
    near_one = twice + twice_more
    near_minus_one = (high * 4.0 - twice) + (low * 4.0 - twice_more)
    middle = high * 2.0 - (m.copysign(s, x) - (low * 2.0 - m.copysign(more, x)))
    return m.select(steep, m.select(x < 0.0, near_minus_one, near_one), middle)


def _angle(m: Maths, y: Lane, x: Lane) -> Lane:
    """atan(y / x) for y, x >= 0, not both zero or infinite, of which none is near the largest number if the other is."""
    beyond = y > x * 2.414213562373095
    middle = y > x * 0.41421356237309503
    numerator = m.select(beyond, -x, m.select(middle, y - x, y))
    denominator = m.select(beyond, y, m.select(middle, y + x, x))
    u = numerator / denominator
    z = u * u
    high, low = QUARTER_PI[m.bits]
    turn_high = m.select(beyond, high * 2.0, m.select(middle, high, 0.0))
    turn_low = m.select(beyond, low * 2.0, m.select(middle, low, 0.0))
    return turn_high + (u + m.fma(u * z, m.estrin(z, ATAN[m.bits]), turn_low))


def atan(m: Maths, x: Lane) -> Lane:
    return m.copysign(_angle(m, abs(x), m.number(1.0)), x)


def atan2(m: Maths, y: Lane, x: Lane) -> Lane:
    """The angle of (x, y), with the special cases of C (ISO C99, F.9.1.4)."""
    height, width = abs(y), abs(x)
    # 0 / 0 stands for a direction along the axis of x, infinity / infinity for one of 45 degrees
    none = height.equals(0.0) & width.equals(0.0)
    both = height.equals(INFINITY) & width.equals(INFINITY)
    height, width = m.select(both, 1.0, height), m.select(none | both, 1.0, width)
    # keep the sum of the two finite, and subnormal numbers out of the comparisons
    large = (height > 2.0**100) | (width > 2.0**100)
    small = (height < 2.0**-60) & (width < 2.0**-60)
    scale = m.select(large, 0.0625, m.select(small, 2.0**96, 1.0))
    height, width = height * scale, width * scale
    angle = _angle(m, height, width)
    high, low = QUARTER_PI[m.bits]
    behind = m.to_bits(x) < 0
    angle = m.select(behind, high * 4.0 - (angle - low * 4.0), angle)
    return m.copysign(angle, y)
