"""sin, cos and tan for every argument, in double and single precision, and of half turns.

The argument is reduced to ``|r| <= pi / 4`` plus a low part: by Cody and Waite's method with pi / 2 in three parts (the
first step is exact thanks to the fused operation), and for large arguments by Payne and Hanek's, with whole numbers and as
many bits of 2 / pi as doubles need. Half turns need none of that: what is left of an angle after whole turns is exact.
Polynomials: own minimax fits (Remez exchange in 60 digits).
"""

from __future__ import annotations

import itertools

from llvmlite import ir

from vht_kernels.lane_maths import Lane, Maths

TWO_OVER_PI = 0.6366197723675814
# pi / 2 as a sum of three floats
HALF_PI = {
    64: (
        float.fromhex("0x1.921fb54442d18p+0"),
        float.fromhex("0x1.1a62633145c07p-54"),
        float.fromhex("-0x1.f1976b7ed8fbcp-110"),
    ),
    32: (
        float.fromhex("0x1.921fb6p+0"),
        float.fromhex("-0x1.777a5cp-25"),
        float.fromhex("-0x1.ee59dap-50"),
    ),
}
LARGE = {64: 2.0**28, 32: 2.0**14}
TINY = {64: 2.0**-27, 32: 2.0**-13}

# (sin r - r) / r^3 and (cos r - 1 + r^2 / 2) / r^4 in r^2
SIN = {
    64: (
        *(-0.16666666666666666, 0.00833333333333094, -0.00019841269836742975, 2.7557316094305633e-06),
        *(-2.505113010131827e-08, 1.5918002246800965e-10),
    ),
    32: (-0.1666666716337204, 0.008333331905305386, -0.00019840085587929934, 2.7249695904174587e-06),
}
COS = {
    64: (
        *(0.041666666666666664, -0.001388888888888739, 2.480158729875576e-05, -2.7557317266493483e-07),
        *(2.087614516327659e-09, -1.1382552019013782e-11),
    ),
    32: (0.0416666679084301, -0.00138888880610466, 2.4800598112051375e-05, -2.7300757210468873e-07),
}
# sin(pi s) = 2 s + s w P(w) with w = 1 / 4 - s^2, for |s| <= 1 / 2: exact at 0 and at a quarter turn
SIN_PI = {
    64: (
        *(4.0, 2.130395598910653, 0.5215823956417248, 0.07335823651596189, 0.006699055684443133),
        *(0.00042931525211041576, 2.036528789157596e-05, 7.684523136621368e-07),
    ),
    32: (4.0, 2.1303954124450684, 0.5215885043144226, 0.07329270243644714, 0.006983871106058359),
}

# 2 / pi = 0.A2F9836E... in whole words of 32 bits, after one word of zeros
TWO_OVER_PI_WORDS = (
    0x00000000,
    *(0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561),
    *(0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484),
    *(0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F),
    *(0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B),
    *(0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046),
)


def _bits_of_two_over_pi(m: Maths, word: Lane, count: int) -> list[Lane]:
    """`count` words, from a position of each lane's own on."""
    module, builder = m.builder.module, m.builder
    name = "vht.two_over_pi"
    array = ir.ArrayType(ir.IntType(32), len(TWO_OVER_PI_WORDS))
    table = module.globals.get(name)
    if table is None:
        table = ir.GlobalVariable(module, array, name)
        table.linkage = "internal"
        table.global_constant = True
        table.initializer = ir.Constant(array, [w - (w >> 31 << 32) for w in TWO_OVER_PI_WORDS])
    zero, short = ir.Constant(ir.IntType(64), 0), ir.IntType(32)

    def load(index: ir.Value) -> ir.Value:
        place = builder.gep(table, [zero, index], inbounds=True, source_etype=array)
        return builder.zext(builder.load(place, typ=short), ir.IntType(64))

    results = []
    for i in range(count):
        place = (word + i).ir
        if not m.lanes:
            results.append(Lane(m, load(place)))
            continue
        gathered: ir.Value = ir.Constant(m.int_type, ir.Undefined)
        for lane in range(m.lanes):
            number = ir.Constant(short, lane)
            gathered = builder.insert_element(gathered, load(builder.extract_element(place, number)), number)
        results.append(Lane(m, gathered))
    return results


def _reduce_large(m: Maths, x: Lane) -> tuple[Lane, Lane, Lane]:
    """Payne and Hanek: as `_reduce`, for doubles of at least 2^24 in magnitude.

    With |x| = M 2^e and M whole, bits of 2 / pi of weight 2^(2-e) and above give multiples of 4 in M 2^e (2 / pi) and are
    left out. M times the next 192 bits, modulo 2^192, is then the quotient modulo 4 in units of 2^-190, within 2^-137.
    """
    word = 0xFFFFFFFF
    bits = m.to_bits(abs(x))
    fraction = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = bits.logical_shift(52) - 1075 - 2 + 32  # of the bit of weight 2^(1-e), behind the word of zeros
    offset = start & 31
    words = _bits_of_two_over_pi(m, start.logical_shift(5), 7)
    limbs = [(((a << 32) | b) << offset).logical_shift(32) for a, b in itertools.pairwise(words)]
    low, high = fraction & word, fraction.logical_shift(32)
    product, carry, below = [], m.integer(0), m.integer(0)
    for limb in reversed(limbs):
        t = low * limb + carry
        u = (t & word) + high * below
        product.append(u & word)
        carry = t.logical_shift(32) + u.logical_shift(32)
        below = limb
    top = product[-1]
    quotient = (top + (1 << 29)).logical_shift(30)
    parts = [top - (quotient << 30), *product[-2:0:-1]]
    turn_high, turn_low = m.number(0.0), m.number(0.0)
    for i, part in enumerate(parts):
        turn_high, error = m.two_sum(turn_high, m.integer_to_float(part) * 2.0 ** (-30 - 32 * i))
        turn_low = turn_low + error
    turn_high, turn_low = m.fast_two_sum(turn_high, turn_low)
    one, two, _ = HALF_PI[64]
    r, error = m.two_product(turn_high, one)
    r, error = m.fast_two_sum(r, error + m.fma(turn_high, two, turn_low * one))
    negative = x < 0.0
    r = m.select(abs(x) < float("inf"), r, float("nan"))
    return m.select(negative, -r, r), m.select(negative, -error, error), m.select(negative, -quotient, quotient)


def _reduce(m: Maths, x: Lane) -> tuple[Lane, Lane, Lane]:
    """r, its low part and a whole number q: x = r + low + q pi / 2, with |r| <= pi / 4 (and a little), q modulo 4."""
    n, q = m.round(x, TWO_OVER_PI)
    one, two, three = HALF_PI[m.bits]
    first = m.fma(-n, one, x)  # exact
    part, part_error = m.two_product(n, two)
    r, error = m.two_sum(first, -part)
    r, error = m.fast_two_sum(r, m.fma(-n, three, error - part_error))
    large = abs(x) > LARGE[m.bits]

    def rare() -> tuple[Lane, Lane, Lane]:
        safe = m.select(large, x, LARGE[m.bits])
        if m.bits == 64:
            return _reduce_large(m, safe)
        wide = m.widened()
        high, low, quotient = _reduce(wide, m.widen(safe))
        narrow = m.narrow(high)
        rest = m.narrow((high - m.widen(narrow)) + low)
        return narrow, rest, Lane(m, m.builder.trunc(quotient.ir, m.int_type))

    r, error, q = m.where_any(large, rare, (r, error, q))
    return r, error, q


def _sin_kernel(m: Maths, r: Lane, low: Lane) -> Lane:
    z = r * r
    return r + m.fma(r * z, m.estrin(z, SIN[m.bits]), m.fma(z * -0.5, low, low))


def _cos_kernel(m: Maths, r: Lane, low: Lane) -> Lane:
    z = r * r
    half = z * 0.5
    rough = 1.0 - half
    return rough + (((1.0 - rough) - half) + m.fma(z * z, m.estrin(z, COS[m.bits]), -(r * low)))


def sin(m: Maths, x: Lane) -> Lane:
    return m.select(abs(x) < TINY[m.bits], x, _sine(m, x, 0))


def cos(m: Maths, x: Lane) -> Lane:
    return _sine(m, x, 1)


def _sine(m: Maths, x: Lane, quarters: int) -> Lane:
    """sin(x + quarters pi / 2).

    As `_reduce`, but the rest is held to a unit in its last place, which sine and cosine can afford and a quotient cannot.
    """
    n, q = m.round(x, TWO_OVER_PI)
    one, two, three = HALF_PI[m.bits]
    r = m.fma(-n, three, m.fma(-n, two, m.fma(-n, one, x)))  # the innermost is exact
    value = _sine_of(m, r, q + quarters)
    large = abs(x) > LARGE[m.bits]
    (value,) = m.where_any(large, lambda: [m.outlined(f"vht.sine{quarters}", _sine_of_any, x, quarters)], [value])
    return value


def _sine_of_any(m: Maths, x: Lane, quarters: int) -> Lane:
    high, low, q = _reduce(m, x)
    return _sine_of(m, high + low, q + quarters)


def _sine_of(m: Maths, r: Lane, q: Lane) -> Lane:
    z = r * r
    sine = m.fma(r * z, m.estrin(z, SIN[m.bits]), r)
    cosine = m.fma(z * z, m.estrin(z, COS[m.bits]), m.fma(z, -0.5, 1.0))
    value = m.select((q & 1) > 0, cosine, sine)
    return m.from_bits(m.to_bits(value) ^ ((q & 2) << (m.bits - 2)))


def sinpi(m: Maths, x: Lane) -> Lane:
    """sin(pi x). Odd, so that -0 gives -0."""
    size = abs(x)
    turn = _turn(m, size)
    part = abs(turn)
    rest = 1.0 - part
    value = _sine_of_half_turns(m, m.select(rest < part, rest, part))
    signs = m.to_bits(x) ^ m.to_bits(size) ^ m.to_bits(turn) ^ m.to_bits(part)
    return m.from_bits(m.to_bits(value) ^ signs)


def cospi(m: Maths, x: Lane) -> Lane:
    """cos(pi x)."""
    return _sine_of_half_turns(m, 0.5 - abs(_turn(m, x)))


def _turn(m: Maths, x: Lane) -> Lane:
    """x less whole turns, exactly: in [-1, 1]."""
    return m.fma(m.intrinsic("roundeven", x * 0.5), -2.0, x)


def _sine_of_half_turns(m: Maths, s: Lane) -> Lane:
    """sin(pi s) for |s| <= 1 / 2."""
    w = m.fma(-s, s, 0.25)
    return m.fma(s, w * m.estrin(w, SIN_PI[m.bits]), s + s)


def tan(m: Maths, x: Lane) -> Lane:
    r, low, q = _reduce(m, x)
    sine, cosine = _sin_kernel(m, r, low), _cos_kernel(m, r, low)
    odd = (q & 1) > 0
    result = m.select(odd, -cosine, sine) / m.select(odd, sine, cosine)
    return m.select(abs(x) < TINY[m.bits], x, result)
