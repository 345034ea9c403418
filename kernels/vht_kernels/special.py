"""erf, erfc, the inverse of erf, log |gamma| and its derivative. Single precision is computed in double and rounded.

Polynomials: own minimax fits (Remez exchange in 50 digits) of ``erf(x) / x``; of ``(1 + 2 x) exp(x^2) erfc(x)`` in
``(x - 4) / (x + 4)`` (the mapping of Shepherd and Laframboise, Math. Comp. 36, 1981); of ``erf_inv(x) / x`` in
``w = -log(1 - x^2)`` or its root (as Giles, GPU Computing Gems, 2011, does); of ``lgamma(x) / (x - 1)`` and
``lgamma(x) / (x - 2)`` around 1 and 2; of ``digamma(x)`` over the distance from its zero; and of what Stirling's formula and
its derivative leave. For negative arguments log |gamma| is taken in twice the precision by reflection, because it has zeros
there; digamma has too, but next to them is as accurate as the two numbers that cancel there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import factorial

from vht_kernels import double_double, exponential, trigonometric
from vht_kernels.double_double import DoubleDouble
from vht_kernels.lane_maths import Lane, Maths

INFINITY = float("inf")
NAN = float("nan")

ERF_NEAR = 0.85
# erf(x) / x - 1 in x^2 up to 0.85^2
ERF = (
    *(0.1283791670955126, -0.3761263890318375, 0.11283791670954689, -0.026866170645017968, 0.005223977623923829),
    *(-0.0008548326903289258, 0.00012055326946190298, -1.4925450402768704e-05, 1.6457680787749433e-06),
    *(-1.630053112349382e-07, 1.4189735913283955e-08, -8.837455629257834e-10),
)
# (1 + 2 x) exp(x^2) erfc(x) in (x - 4) / (x + 4), for x from 0 to 29
ERFC = (
    *(1.2329951186255526, -0.13962111684056253, 0.01537965210262005, 0.06809705425469338, -0.10103906603632547),
    *(0.09373283499832115, -0.06633036581165055, 0.03716751553806461, -0.016197734065598633, 0.0050319699708281035),
    *(-0.000757773226303819, -0.00019925663804906893, 0.00015062136971675364, -2.4399506018041143e-05),
    *(-1.12210868258231e-05, 5.710710586204445e-06, 2.9201836013246317e-07, -8.275332681812953e-07),
    *(7.658360136890375e-08, 1.1287509505451976e-07, -1.8838752775352967e-08, -1.624019380575137e-08),
    *(1.6731521842988247e-09, 1.966299824858015e-09, 2.4825078080012545e-10),
)
# erf_inv(x) / x: in w - 3.125 up to w = 6.25, in sqrt(w) - 3.25 up to 4, in sqrt(w) - 5 beyond
ERF_INV = (
    (
        *(1.6536545626831027, 0.24015818242558823, -0.006033670871428129, -0.0007407025341535675),
        *(0.00018673420802609283, -1.3882523396820027e-05, -1.3654691879538409e-06, 4.2347882033768756e-07),
        *(-2.9070379294026884e-08, -4.1126628354365095e-09, 1.0512163681386312e-09, -5.414203337689219e-11),
        *(-1.2976207931884149e-11, 2.630259369433988e-12, -8.135256934078294e-14, -3.9973118885429565e-14),
        *(6.624295764033234e-15, -4.47662068522964e-17, -1.3320867842168767e-16, 1.5895920293203212e-17),
        *(1.3596374093775794e-18, -3.631084358212085e-19, -9.403149251417979e-21, 3.474423686590025e-21),
        1.4320980738722127e-22,
    ),
    (
        *(3.0838856104922208, 1.0052589676941655, 0.00537091455355509, -0.0037512085082238313, 0.002491442097953423),
        *(-0.0016882755354771797, 0.0009532893416633854, -0.0003550378133816358, 2.403151186052007e-05),
        *(6.828711427925647e-05, -4.732067379069913e-05, 1.2465042323414479e-05, 2.932549953866764e-06),
        *(-3.985744521574953e-06, 1.481670673183342e-06, -2.7554459585036138e-08, -2.4561051727694844e-07),
        *(1.3153091582176992e-07, -2.0818906039837968e-08, -1.5284553905854297e-08, 7.645665534432477e-09),
        *(0.0, 0.0, 0.0, 0.0),
    ),
    (
        *(4.849906401408584, 1.0103004648645448, -0.00013871931837976243, -0.00021503011979916265),
        *(7.599527808476956e-05, -1.968177119667923e-05, 4.526052672526096e-06, -9.930254884538714e-07),
        *(2.290519050637398e-07, -6.757275997942345e-08, 2.9021944347069572e-08, -1.521363238397529e-08),
        *(7.814116019682007e-09, -3.5341444396792933e-09, 1.3261661115601952e-09, -3.8081460406616457e-10),
        *(6.094449422238282e-11, 1.4765214540006524e-11, -1.631731875532243e-11, 5.871361708542184e-12),
        *(-8.212016063789519e-13, 0.0, 0.0, 0.0, 0.0),
    ),
)
# lgamma(x) / (x - 1) in x - 1.125 from 0.7 to 1.5, and lgamma(x) / (x - 2) in x - 2 from 1.5 to 2.5
LGAMMA_ONE = (
    *(-0.48018547300831665, 0.7335424776996944, -0.31580604164541953, 0.1886641756490762, -0.12817371733664923),
    *(0.09302766778206448, -0.07022575735877971, 0.05439836588383361, -0.042912778350122256, 0.03431576266872567),
    *(-0.0277335229225057, 0.022605637956280074, -0.018554135073317025, 0.015326716065054887, -0.012752506750018006),
    *(0.010570382252279424, -0.008589814494323451, 0.007702544033868276, -0.007799116420306801, 0.004115720652207915),
    *(0.0003036326666811546, 0.006902227932364348, -0.010609387422476581),
)
LGAMMA_TWO = (
    *(0.42278433509846713, 0.32246703342411326, -0.06735230105319831, 0.020580808427780557, -0.007385551028649642),
    *(0.0028905103310244806, -0.0011927539127609484, 0.000509669515655286, -0.00022315473511797944),
    *(9.94576703383028e-05, -4.492653162352781e-05, 2.050561488662494e-05, -9.437233782038504e-06),
    *(4.3846014098414415e-06, -2.0497644221421306e-06, 9.202860396331855e-07, -4.2002486208250417e-07),
    *(2.785233066378946e-07, -1.433082716642945e-07, 0.0, 0.0, 0.0, 0.0),
)
# what is left of lgamma(x), times x, in 1 / x^2, from 8 on
STIRLING = (
    *(0.08333333333333333, -0.0027777777777741003, 0.0007936507898357514, -0.0005952366071721685),
    *(0.0008414728740585344, -0.0018905412361531668, 0.00506927389966217),
)
# digamma(x) / (x - DIGAMMA_ZERO) in x - 1.75 from 1 to 2.5
DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)
DIGAMMA = (
    *(0.8581832171262995, -0.3262546278681058, 0.15712011335203538, -0.08228558635576322, 0.04479965445348678),
    *(-0.02489004848993409, 0.013985786156919323, -0.007910468750107487, 0.004491814241729342),
    *(-0.0025566869224080526, 0.0014573683952243842, -0.0008314931364254675, 0.0004747283711739744),
    *(-0.0002711169442580185, 0.0001545894558979306, -8.827300437160079e-05, 5.140772898282486e-05),
    *(-2.9482534934396624e-05, 1.447017870930344e-05, -8.076893371198843e-06, 8.526964605486504e-06),
    *(-5.086400558321128e-06, -1.2470679176502895e-06, 8.509058071115984e-07, 2.0816486117498075e-06),
    -1.2288506427472373e-06,
)
# what is left of log(x) - digamma(x) - 1 / (2 x), times x^2, in 1 / x^2, from 8 on
DIGAMMA_FAR = (
    *(0.08333333333333288, -0.008333333331222582, 0.00396825237034621, -0.004166222559864713, 0.00751944623254128),
    -0.01772030411383999,
)
HALF_LOG_2PI = (0.9189385332046728, -3.8782941580672414e-17)
LOG_PI = (1.1447298858494002, 1.0265951162707826e-17)
PI = (3.141592653589793, 1.2246467991473532e-16)
BERNOULLI = (
    *(Fraction(1, 6), Fraction(-1, 30), Fraction(1, 42), Fraction(-1, 30), Fraction(5, 66), Fraction(-691, 2730)),
    *(Fraction(7, 6), Fraction(-3617, 510), Fraction(43867, 798), Fraction(-174611, 330), Fraction(854513, 138)),
    *(Fraction(-236364091, 2730), Fraction(8553103, 6), Fraction(-23749461029, 870), Fraction(8615841276005, 14322)),
)
# zeros of lgamma (as sums of two doubles) that come so close to doubles that 104 bits are too few, with the first
# coefficients of the Taylor series about them
LGAMMA_ZEROS = (
    (-2.4570247382208006, -3.7075610815513266e-17, 1.5156034480216574, 4.8583209516339965, 1.41129114307798),
    (-2.7476826467274127, 9.055340329338315e-17, -1.9143501856115988, 9.575189475709667, -20.095134916842603),
    (-3.14358088834998, -2.1818179852331714e-16, 7.781884658131351, 25.831338372387957, 112.268986297176),
    (-3.955294284858598, -1.999428391746348e-17, -20.725060845803707, 251.7146825868894, -3730.6047156806126),
    (-4.039361839740537, 2.1143995503980602e-16, 26.790480886140593, 324.25532293784715, 5465.691820777134),
    (-4.991544640560048, 1.5174411760571722e-16, -116.53578161624363, 6995.235954894064, -551419.9978512884),
    (-5.0082181683225935, -4.3926353491015815e-17, 123.3621845633534, 7404.762432228682, 600556.168452811),
    (-5.998607480080875, -3.311862478893795e-16, -716.2454304275473, 257851.58963956262, -123445282.15783688),
    (-6.001385294453155, 6.415847287933042e-17, 723.7366299252801, 260548.41030309396, 125386984.94090366),
    (-6.999801507890638, 1.0550130037400023e-17, -5035.967373768125, 12690641.16604718, -42623489764.75812),
    (-7.000198333407325, 2.504354173632409e-16, 5044.029941110829, 12710958.833951395, 42725890801.879196),
    (-7.999975197095821, -5.261737128572354e-17, -40315.71854218779, 812764889.3354839, -21845960238437.15),
)


def _widening(function: Callable[[Maths, Lane], Lane]) -> Callable[[Maths, Lane], Lane]:
    def either(m: Maths, x: Lane) -> Lane:
        if m.bits == 64:
            return function(m, x)
        return m.narrow(function(m.widened(), m.widen(x)))

    either.__name__ = function.__name__
    either.__doc__ = function.__doc__
    return either


# ---------------------------------------------------------------------------------------------------- error functions


def _erfc_of_size(m: Maths, size: Lane) -> Lane:
    """erfc(x) for x >= 0."""
    x = m.clamp(size, 0.0, 28.0)
    t = (x - 4.0) / (x + 4.0)
    factor = m.horner(t, ERFC) / m.fma(x, 2.0, 1.0)
    square, error = m.two_product(x, x)
    p, n = exponential.exp_parts_of_sum(m, -square, -error)
    return exponential.scale(m, p * factor, n)


def _erf_near_zero(m: Maths, x: Lane) -> Lane:
    return m.fma(x, m.estrin(x * x, ERF), x)


@_widening
def erfc(m: Maths, x: Lane) -> Lane:
    far = _erfc_of_size(m, abs(x))
    far = m.select(x < 0.0, 2.0 - far, far)
    return m.select((x > -ERF_NEAR) & (x < 0.5), 1.0 - _erf_near_zero(m, x), far)


@_widening
def erf(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    return m.select(size < ERF_NEAR, _erf_near_zero(m, x), m.copysign(1.0 - _erfc_of_size(m, size), x))


def _chosen(m: Maths, conditions: Sequence[Lane], sets: Sequence[Sequence[float]]) -> list[Lane]:
    """Coefficients, lane by lane: those of the first condition that holds, or else of the last set."""
    result = []
    for numbers in zip(*sets, strict=True):
        value: Lane | float = numbers[-1]
        for condition, number in zip(reversed(conditions), reversed(numbers[:-1]), strict=True):
            value = m.select(condition, number, value)
        assert isinstance(value, Lane)
        result.append(value)
    return result


@_widening
def erf_inv(m: Maths, x: Lane) -> Lane:
    size = abs(x)
    w = -exponential.log(m, (1.0 - size) * (size + 1.0))
    root = m.sqrt(w)
    near, middle = w < 6.25, root < 4.0
    t = m.select(near, w - 3.125, m.select(middle, root - 3.25, root - 5.0))
    result = x * m.horner(t, _chosen(m, [near, middle], ERF_INV))
    return m.select(size.equals(1.0), m.copysign(INFINITY, x), result)


# ---------------------------------------------------------------------------------------------------- log |gamma|


@_widening
def lgamma(m: Maths, x: Lane) -> Lane:
    result = _lgamma_positive(m, abs(x))  # for tiny numbers the sign makes no difference
    whole = m.intrinsic("floor", x).equals(x)
    reflect = (x < -(2.0**-60)) & ~whole
    (result,) = m.where_any(reflect, lambda: [_lgamma_negative(m, m.select(reflect, x, -0.5))], [result])
    return m.select(whole & (x <= 0.0), INFINITY, result)


def _lgamma_positive(m: Maths, x: Lane) -> Lane:
    """For x > 0."""
    tiny, small, large = x < 0.5, x < 0.7, x >= 8.0
    about_one = tiny | (~small & (x < 1.5))
    # v of [0.7, 2.5) with gamma(x) = gamma(v) product or gamma(v) / x
    steps = m.intrinsic("floor", m.clamp(x, 1.5, 8.0) - 1.5)
    product = m.number(1.0)
    for step in range(1, 7):
        product = m.select(steps >= float(step), product * (x - float(step)), product)
    f = m.select(tiny, x, m.select(x < 1.5, x - 1.0, (x - steps) - 2.0))
    t = m.select(tiny, x - 0.125, m.select(about_one, x - 1.125, f))
    core = f * m.horner(t, _chosen(m, [about_one], [LGAMMA_ONE, LGAMMA_TWO]))
    logarithm = exponential.log(m, m.select(small | large, x, product))
    z = 1.0 / x
    rest = m.fma(m.estrin(z * z, STIRLING), z, HALF_LOG_2PI[0] - 0.5)
    stirling = m.fma(x - 0.5, logarithm - 1.0, rest)
    return m.select(large, stirling, core + m.select(small, -logarithm, logarithm))


def _lgamma_negative(m: Maths, x: Lane) -> Lane:
    """For negative numbers that are not whole: log(pi / sin(pi |x|)) - lgamma(1 + |x|) in twice the precision."""
    size = -x
    nearest, _ = m.round(size)
    angle = DoubleDouble(abs(size - nearest), m.number(0.0)) * PI
    sine = angle * double_double.polynomial(
        angle * angle, [Fraction((-1) ** k, factorial(2 * k + 1)) for k in range(19)], 11
    )
    result = -double_double.log(sine) - _lgamma_from_one(m, DoubleDouble(*m.two_sum(size, m.number(1.0)))) + LOG_PI
    value = result.high
    for high, low, *slopes in LGAMMA_ZEROS:
        distance = (x - high) - low
        value = m.select(abs(distance * slopes[0]) < 2.0**-25, distance * m.horner(distance, slopes), value)
    return value


def _lgamma_from_one(m: Maths, x: DoubleDouble) -> DoubleDouble:
    """For x >= 1: shifted up to 24 and Stirling's series."""

    def up(high: Lane, low: Lane, product: Lane, product_low: Lane) -> list[Lane]:
        x = DoubleDouble(high, low)
        product_next = DoubleDouble(product, product_low) * x
        x = x + (1.0, 0.0)
        return [x.high, x.low, product_next.high, product_next.low]

    one, zero = m.number(1.0), m.number(0.0)
    high, low, product, product_low = m.loop([x.high, x.low, one, zero], lambda h, *_: h < 24.0, up)
    x = DoubleDouble(high, low)
    z = DoubleDouble(one, zero) / x
    series = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1)]
    rest = z * double_double.polynomial(z * z, series, 8)
    main = (x + (-0.5, 0.0)) * double_double.log(x) - x
    return main + HALF_LOG_2PI + rest - double_double.log(DoubleDouble(product, product_low))


# ---------------------------------------------------------------------------------------------------- digamma


@_widening
def digamma(m: Maths, x: Lane) -> Lane:
    reflect = x < 0.0
    result = _digamma_positive(m, m.select(reflect, 1.0 - x, x))

    def reflected() -> list[Lane]:
        cotangent = trigonometric.cospi(m, x) / trigonometric.sinpi(m, x)
        return [m.select(reflect, m.fma(cotangent, -PI[0], result), result)]

    (result,) = m.where_any(reflect, reflected, [result])
    return m.select(m.intrinsic("floor", x).equals(x) & (x <= 0.0), NAN, result)


def _digamma_positive(m: Maths, x: Lane) -> Lane:
    """For x > 0."""
    small, large = x < 1.0, x >= 8.0
    # v of [1, 2.5) with digamma(v) + numerator / denominator
    steps = m.intrinsic("floor", m.clamp(x, 1.5, 8.0) - 1.5)
    numerator, denominator = m.number(0.0), m.number(1.0)
    for step in range(1, 7):
        taken, factor = steps >= float(step), x - float(step)
        numerator = m.select(taken, m.fma(numerator, factor, denominator), numerator)
        denominator = m.select(taken, denominator * factor, denominator)
    numerator, denominator = m.select(small, -1.0, numerator), m.select(small, x, denominator)
    v = m.select(small, x + 1.0, x - steps)
    core = ((v - DIGAMMA_ZERO[0]) - DIGAMMA_ZERO[1]) * m.horner(v - 1.75, DIGAMMA)
    z = 1.0 / x
    far = exponential.log(m, x) - m.fma(z, 0.5, z * z * m.estrin(z * z, DIGAMMA_FAR))
    return m.select(large, far, core + numerator / denominator)
