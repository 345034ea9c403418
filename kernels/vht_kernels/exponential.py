"""exp, log and what is made of them: logistic, hyperbolic functions and their inverses, in double and single precision.

Method: ``exp(x) = 2^n exp(r)`` with ``|r| <= ln 2 / 2`` and a polynomial; ``log(x) = n ln 2 + 2 atanh(s)`` with
``s = f / (2 + f)``, ``f = m - 1`` and ``m`` in [sqrt(1/2), sqrt(2)), arranged as in Sun's fdlibm (e_log.c, s_log1p.c), whose
splitting of ln 2 is used too. Polynomials: own minimax fits (Remez exchange in 60 digits).
"""

from __future__ import annotations

from vht_kernels.lane_maths import Lane, Maths

INFINITY = float("inf")
NAN = float("nan")

LOG2_E = 1.4426950408889634
LN2 = {64: (0.6931471805599453, 2.3190468138462996e-17), 32: (0.6931471824645996, -1.904654323148236e-09)}
# the leading part ends in so many zeros that its product with an exponent is exact
LN2_EXACT = {64: (6.93147180369123816490e-01, 1.90821492927058770002e-10), 32: (6.9313812256e-01, 9.0580006145e-06)}
SQRT_HALF_BITS = {64: 0x3FE6A09E667F3BCD, 32: 0x3F3504F3}
MANTISSA = {64: (52, 1023), 32: (23, 127)}
EXP_RANGE = {64: (-746.0, 711.0), 32: (-104.0, 90.0)}

# (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2: enough for exp (2^-56, 2^-27), and for expm1
EXP = {
    64: (
        *(0.5000000000000001, 0.16666666666666674, 0.04166666666662398, 0.008333333333322089, 0.0013888888917285628),
        *(0.00019841269886906862, 2.4801521184343555e-05, 2.755724202278177e-06, 2.76201413408404e-07),
        2.511015606358306e-08,
    ),
    32: (0.5, 0.16666576266288757, 0.04166637361049652, 0.008363207802176476, 0.0013941157376393676),
}
EXPM1 = {
    64: (
        *(0.5, 0.1666666666666667, 0.041666666666666685, 0.008333333333326112, 0.0013888888888874352),
        *(0.00019841269874904636, 2.480158734744942e-05, 2.755725529422524e-06, 2.755725280625021e-07),
        *(2.5105260922590062e-08, 2.0921625276615325e-09),
    ),
    32: (
        *(0.5, 0.1666666716337204, 0.041666463017463684, 0.00833328627049923, 0.0013933691661804914),
        0.00019907673413399607,
    ),
}
# (2 atanh(s) - 2 s) / s^3 in s^2
LOG = {
    64: (
        *(0.666666666666667, 0.3999999999989789, 0.2857142862665141, 0.22222211031749325, 0.18182896207631685),
        *(0.15331497764506818, 0.1461909699201228),
    ),
    32: (0.6666666865348816, 0.4000012278556824, 0.2855069935321808, 0.23333418369293213),
}
# (2 atanh(s) - 2 s - 2 s^3 / 3) / s^5 in s^2, to 2^-70
LOG_TAIL = (
    *(0.4, 0.2857142857142938, 0.2222222222164818, 0.181818183370346, 0.1538459479629481),
    *(0.13334813317048047, 0.11706014884419476, 0.11725409493632094),
)
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


# ---------------------------------------------------------------------------------------------------- exponentials


def _split_exponent(m: Maths, x: Lane) -> tuple[Lane, Lane, Lane]:
    """n as float and integer, and r = x - n ln 2."""
    n, whole = m.round(x, LOG2_E)
    high, low = LN2[m.bits]
    return n, whole, m.fma(n, -low, m.fma(n, -high, x))


def scale(m: Maths, p: Lane, n: Lane) -> Lane:
    """p 2^n for p near 1, in two steps, so that the result may be subnormal or overflow."""
    shift = 2 * m.bits * m.bits  # makes the number positive; a logical shift exists on every processor
    half = (n + shift).logical_shift(1) - shift // 2
    return p * m.power_of_two(half) * m.power_of_two(n - half)


def _exp_parts(m: Maths, x: Lane) -> tuple[Lane, Lane]:
    """p in [0.7, 1.42] and n with exp(x) = p 2^n."""
    low, high = EXP_RANGE[m.bits]
    _, n, r = _split_exponent(m, m.clamp(x, low, high))
    return m.fma(m.estrin(r, EXP[m.bits]), r * r, r) + 1.0, n


def exp(m: Maths, x: Lane) -> Lane:
    return scale(m, *_exp_parts(m, x))


def exp_parts_of_sum(m: Maths, high: Lane, low: Lane) -> tuple[Lane, Lane]:
    """p and n with exp(high + low) = p 2^n, where low is at most some rounding errors of high; ignored if high is huge."""
    smallest, largest = EXP_RANGE[m.bits]
    clamped = m.clamp(high, smallest, largest)
    _, n, r = _split_exponent(m, clamped)
    r = r + m.select(clamped.equals(high), low, 0.0)
    return m.fma(m.estrin(r, EXPM1[m.bits]), r * r, r) + 1.0, n


def exp2(m: Maths, x: Lane) -> Lane:
    low, high = (-1100.0, 1100.0) if m.bits == 64 else (-160.0, 160.0)
    x = m.clamp(x, low, high)
    n, whole = m.round(x)
    f = x - n
    high, low = LN2[m.bits]
    r = f * high
    error = m.fma(f, low, m.fma(f, high, -r))
    p = m.fma(m.estrin(r, EXPM1[m.bits]), r * r, error) + r
    return scale(m, p + 1.0, whole)


def expm1(m: Maths, x: Lane) -> Lane:
    # below, the result is -1; above, infinite
    low, high = (-40.0, 709.9) if m.bits == 64 else (-20.0, 88.9)
    _, n, r = _split_exponent(m, m.clamp(x, low, high))
    p = m.fma(m.estrin(r, EXPM1[m.bits]), r * r, r)
    # 2^n (1 + p) - 1 by halves, as 2^n may be too large by one
    half = m.power_of_two(n - 1)
    result = m.fma(p, half, half - 0.5) * 2.0
    return m.select(abs(x) < (2.0**-54 if m.bits == 64 else 2.0**-25), x, result)


# ---------------------------------------------------------------------------------------------------- logarithms


def _mantissa(m: Maths, bits: Lane) -> tuple[Lane, Lane]:
    """k (whole) and the number in [sqrt(1/2), sqrt(2)), of a positive normal number's bits = number 2^k."""
    width, bias = MANTISSA[m.bits]
    half = SQRT_HALF_BITS[m.bits]
    moved = bits + ((bias << width) - half)
    k = moved.logical_shift(width) - bias
    return k, m.from_bits((moved & ((1 << width) - 1)) + half)


def normal_parts(m: Maths, x: Lane) -> tuple[Lane, Lane]:
    """The same for any positive x, subnormal numbers too."""
    subnormal = x < (2.0**-1022 if m.bits == 64 else 2.0**-126)
    up = 54 if m.bits == 64 else 25
    k, number = _mantissa(m, m.to_bits(m.select(subnormal, x * 2.0**up, x)))
    return m.select(subnormal, k - up, k), number


def _log_of_parts(m: Maths, k: Lane, f: Lane, correction: Lane | None = None) -> Lane:
    """k ln 2 + log(1 + f) + correction, for |f| below about 0.42."""
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    rest = z * m.estrin(z, LOG[m.bits])
    n = m.integer_to_float(k)
    high, low = LN2_EXACT[m.bits]
    small = n * low if correction is None else m.fma(n, low, correction)
    return m.fma(n, high, f - (half - m.fma(s, half + rest, small)))


def log(m: Maths, x: Lane) -> Lane:
    k, number = normal_parts(m, x)
    result = _log_of_parts(m, k, number - 1.0)
    result = m.select(x < INFINITY, result, x)
    result = m.select(x < 0.0, NAN, result)
    return m.select(x.equals(0.0), -INFINITY, result)


def log1p(m: Maths, x: Lane) -> Lane:
    u = x + 1.0
    k, number = _mantissa(m, m.to_bits(u))
    f = number - 1.0
    # what rounding 1 + x took away, relative to it
    correction = m.select(k > 0, 1.0 - (u - x), x - (u - 1.0)) / u
    near = (x > -0.2929) & (x < 0.4142)
    k = m.select(near, 0, k)
    f = m.select(near, x, f)
    correction = m.select(near, 0.0, correction)
    result = _log_of_parts(m, k, f, correction)
    result = m.select(x < INFINITY, result, x)
    result = m.select(x < -1.0, NAN, result)
    result = m.select(x.equals(-1.0), -INFINITY, result)
    return m.select(abs(x) < (2.0**-54 if m.bits == 64 else 2.0**-25), x, result)


def precise_log(m: Maths, x: Lane) -> tuple[Lane, Lane]:
    """log of a positive finite double as a sum of two, within 2^-65 of itself."""
    k, number = normal_parts(m, x)
    f = number - 1.0
    # s = f / (2 + f), z = s^2
    below, below_error = m.fast_two_sum(m.number(2.0), f)
    s = f / below
    s_low = (m.fma(-s, below, f) - s * below_error) / below
    z, z_low = m.two_product(s, s)
    z_low = m.fma(s * 2.0, s_low, z_low)
    # s^3 (2 / 3 + z tail)
    tail, tail_low = m.fast_two_sum(m.number(TWO_THIRDS[0]), z * m.estrin(z, LOG_TAIL))
    tail_low = tail_low + TWO_THIRDS[1]
    t, t_low = m.two_product(z, tail)
    t_low = m.fma(z, tail_low, m.fma(z_low, tail, t_low))
    w, w_low = m.two_product(s, t)
    w_low = m.fma(s, t_low, m.fma(s_low, t, w_low))
    # k ln 2 + 2 s + w
    n = m.integer_to_float(k)
    high, low = LN2_EXACT[64]
    total, error = m.two_sum(n * high, s * 2.0)
    total, more = m.two_sum(total, w)
    rest = m.fma(n, low, m.fma(s_low, 2.0, w_low)) + (error + more)
    return m.fast_two_sum(total, rest)


def power(m: Maths, x: Lane, y: Lane) -> Lane:
    """x^y with the special cases of C (ISO C99, F.9.4.4)."""
    if m.bits == 32:
        wide = m.widened()
        return m.narrow(_power_of_single(wide, m.widen(x), m.widen(y)))
    size = abs(x)
    high, low = precise_log(m, size)
    high = m.select(size < INFINITY, high, size)
    high = m.select(size.equals(0.0), -INFINITY, high)
    product = y * high
    p, n = exp_parts_of_sum(m, product, m.fma(y, high, -product) + y * low)
    result = scale(m, p, n)
    return _power_sign(m, x, y, result)


def _power_of_single(m: Maths, x: Lane, y: Lane) -> Lane:
    return _power_sign(m, x, y, exp(m, y * log(m, abs(x))))


def _power_sign(m: Maths, x: Lane, y: Lane, result: Lane) -> Lane:
    """x^y from |x|^y."""
    whole = m.intrinsic("trunc", y).equals(y)
    half = y * 0.5
    odd = whole & ~m.intrinsic("trunc", half).equals(half)
    one = x.equals(1.0) | (x.equals(-1.0) & ~y.is_nan()) | y.equals(0.0)
    result = m.select(one, 1.0, result)
    result = m.select((x < 0.0) & (x > -INFINITY) & ~whole, NAN, result)
    return m.select(odd, m.copysign(result, x), result)


# ---------------------------------------------------------------------------------------------------- hyperbolic and logistic


def logistic(m: Maths, x: Lane) -> Lane:
    e = exp(m, -abs(x))
    return m.select(x < 0.0, e, 1.0) / (e + 1.0)


def tanh(m: Maths, x: Lane) -> Lane:
    t = expm1(m, m.clamp(abs(x), 0.0, 22.0) * 2.0)
    return m.copysign(t / (t + 2.0), x)


def sinh(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    bound = 22.0 if m.bits == 64 else 10.0
    t = expm1(m, m.clamp(size, 0.0, bound))
    p, n = _exp_parts(m, size)
    return m.copysign(m.select(size < bound, (t + t / (t + 1.0)) * 0.5, scale(m, p, n - 1)), x)


def cosh(m: Maths, x: Lane) -> Lane:
    p, n = _exp_parts(m, abs(x))
    half = scale(m, p, n - 1)
    return half + 0.25 / half


# from here on the inverse hyperbolic sine and cosine are log(2 x)
LARGE = {64: 2.0**60, 32: 2.0**30}


def asinh(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    large = size > LARGE[m.bits]
    square = size * size
    result = log1p(m, m.select(large, size, size + square / (m.sqrt(square + 1.0) + 1.0)))
    return m.copysign(m.select(large, result + LN2[64][0], result), x)


def acosh(m: Maths, x: Lane) -> Lane:
    large = x > LARGE[m.bits]
    t = x - 1.0
    result = log1p(m, m.select(large, x, t + m.sqrt(m.fma(t, t, t * 2.0))))
    result = m.select(large, result + LN2[64][0], result)
    return m.select(x < 1.0, NAN, result)


def atanh(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    twice = size * 2.0
    ratio = twice / (1.0 - size)
    small = size < 0.5
    return m.copysign(log1p(m, m.select(small, m.fma(ratio, size, twice), ratio)) * 0.5, x)
