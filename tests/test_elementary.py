"""Elementary functions against mpmath, over the whole range; special values against ISO C99; bits of scalar and vector code.

Functions are compiled into a loop over an array and called in this thread, where subnormal numbers are kept (XLA's own
threads take them for zero).
"""

from __future__ import annotations

import ctypes
import functools
import math
import re

import jax
import jax.numpy as jnp
import llvmlite.binding as llvm
import mpmath as mp
import numpy as np
import pytest
from llvmlite import ir
from vht_kernels import cpu, elementary, lanes

LIMIT = 4.0  # units in the last place
INFINITY, NAN = float("inf"), float("nan")
DTYPES = [np.float64, np.float32]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["f64", "f32"])


@pytest.fixture(autouse=True)
def precision():
    with mp.workprec(300):
        yield


# ---------------------------------------------------------------------------------------------------- compile and compare


def module_of(name, dtype, width, count):
    """A module with ``loop(pointers..., n)``, which applies a function to n numbers, `width` at a time (0: plain ones)."""
    module = ir.Module()
    element = ir.DoubleType() if dtype == np.float64 else ir.FloatType()
    ty = ir.VectorType(element, width) if width else element
    long = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.PointerType()] * (count + 1) + [long]), "loop")
    builder = ir.IRBuilder(function.append_basic_block())
    *pointers, n = function.args
    head, body, done = (builder.append_basic_block() for _ in range(3))
    entry = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(long)
    i.add_incoming(ir.Constant(long, 0), entry)
    builder.cbranch(builder.icmp_signed("<", i, n), body, done)
    builder.position_at_end(body)
    size = np.dtype(dtype).itemsize
    places = [builder.gep(p, [i], source_etype=element) for p in pointers]
    args = [builder.load(p, typ=ty, align=size) for p in places[:-1]]
    result = elementary.call(builder, module, name, args)
    builder.store(result, places[-1], align=size)
    i.add_incoming(builder.add(i, ir.Constant(long, max(width, 1))), builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    builder.ret_void()
    return module


@functools.cache
def compiled(name, dtype, width, count):
    text = str(module_of(name, dtype, width, count))
    address = cpu.load_object(cpu.compile_object(text), "loop")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (count + 1), ctypes.c_int64)(address)


def apply(name, dtype, *args):
    """The function of arrays, checked to have the same bits by scalar and by vector code."""
    cpu.host()
    results = []
    for width in (cpu.host().width(np.dtype(dtype)), 0):
        function = compiled(name, dtype, width, len(args))
        padding = -len(args[0]) % max(width, 1)
        padded = [np.concatenate([a, np.ones(padding, dtype)]) for a in args]
        assert all(a.dtype == dtype for a in padded)
        out = np.empty_like(padded[0])
        function(*[a.ctypes.data for a in padded], out.ctypes.data, len(out))
        results.append(out[: len(args[0])])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(np.signbit(results[0][results[0] == 0]), np.signbit(results[1][results[0] == 0]))
    return results[0]


def ulps(found, exact, dtype):
    """|found - exact| in units in the last place of the exact number, or inf if one is NaN or infinite wrongly."""
    info = np.finfo(dtype)
    largest, smallest = int(math.log2(float(info.smallest_normal))), int(math.log2(float(info.smallest_subnormal)))
    digits = info.nmant + 1
    top = mp.mpf(2) ** (2 - largest)
    found = mp.mpf(float(found))
    if mp.isnan(exact) or mp.isnan(found):
        return 0.0 if mp.isnan(exact) and mp.isnan(found) else INFINITY
    if abs(exact) >= top * (1 - mp.mpf(2) ** -(digits + 1)):  # rounds to infinity
        exact = mp.sign(exact) * INFINITY
    if mp.isinf(exact) or mp.isinf(found):
        near = abs(mp.mpf(float(info.max)))
        within = min(abs(exact), abs(found)) >= near * (1 - LIMIT * mp.mpf(2) ** -digits)
        return 0.0 if exact == found else LIMIT if within and mp.sign(exact) == mp.sign(found) else INFINITY
    unit = mp.ldexp(1, max(mp.frexp(exact)[1] - digits if exact else smallest, smallest))
    return float(abs(found - exact) / unit)


def assert_close(name, dtype, exact, *args, limit=LIMIT):
    found = apply(name, dtype, *args)
    errors = np.array(
        [ulps(f, exact(*map(mp.mpf, map(float, xs))), dtype) for f, *xs in zip(found, *args, strict=True)]
    )
    worst = int(errors.argmax())
    assert errors[worst] <= limit, f"{name}{tuple(a[worst] for a in args)} = {found[worst]!r}: {errors[worst]} ulp"


def log_uniform(random, dtype, n):
    """Numbers of both signs over the whole range, subnormal ones too."""
    kind, width = (np.int64, 52) if dtype == np.float64 else (np.int32, 23)
    exponents = random.integers(0, 2 ** (np.dtype(dtype).itemsize * 8 - 1 - width) - 1, n).astype(kind)
    exponents[:: n // 12] = 0
    mantissas = random.integers(0, 2**width, n).astype(kind)
    mantissas[:: n // 24] >>= kind(width - 5)
    return ((exponents << kind(width)) | mantissas).view(dtype) * random.choice(np.array([-1, 1], dtype), n)


def clustered(random, dtype, centres, n):
    """Numbers ever closer to some centres."""
    centre = random.choice(np.asarray(centres, float), n)
    relative = random.uniform(-1, 1, n) * 2.0 ** -random.integers(1, np.finfo(dtype).nmant + 3, n)
    return (centre * (1 + relative)).astype(dtype)


# ---------------------------------------------------------------------------------------------------- functions of one number


def bounded(function, bound):
    """Spare mpmath arguments beyond a bound: there the function is what it is at the bound and infinity."""
    return lambda x: function(mp.sign(x) * min(abs(x), bound))


def odd(function, slope=1):
    """mpmath loses digits next to zero."""
    return lambda x: x * slope if abs(x) < mp.mpf(2) ** -200 else function(x)


def log_gamma(x):
    if x <= 0 and mp.isint(x):
        return mp.inf
    if abs(x) > mp.mpf(2) ** 80:
        return (x - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2
    return mp.re(mp.loggamma(x))


def inverse_erf(x):
    return mp.sign(x) * mp.inf if abs(x) == 1 else mp.erfinv(x)


quarter_turns = [k * math.pi / 2 for k in (*range(1, 12), 1000, 12345)]
whole_line = (-INFINITY, INFINITY)
# exact function; domain (inside which it is tested); where numbers matter most; hard points
FUNCTIONS = {
    "exp": (bounded(mp.exp, 2000), whole_line, (-750, 712), (-745.13, -708.4, 709.78, 88.72, -87.3, 0.3466)),
    "exp2": (bounded(lambda x: mp.power(2, x), 2000), whole_line, (-1080, 1026), (1024, -1022, -1074, 128, 0.5)),
    "expm1": (odd(bounded(mp.expm1, 2000)), whole_line, (-50, 712), (709.78, 88.72, -37, 0.3466, -0.3466, 1.04)),
    "log": (mp.log, (0, INFINITY), (0, 10), (1, 0.70710678, 1.41421356)),
    "log1p": (odd(mp.log1p), (-1, INFINITY), (-1, 10), (1, -1, 0.41421356, -0.29289321, 1e-16)),
    "logistic": (
        bounded(lambda x: 1 / (1 + mp.exp(-x)), 2000),
        whole_line,
        (-750, 50),
        (-745, -708.4, -88, 37, 0.3466),
    ),
    "sinh": (odd(bounded(mp.sinh, 2000)), whole_line, (-712, 712), (22, 10, 710.4758, 89.4, 0.3466)),
    "cosh": (bounded(mp.cosh, 2000), whole_line, (-712, 712), (710.4758, 89.4, 0.3466)),
    "tanh": (odd(bounded(mp.tanh, 2000)), whole_line, (-25, 25), (22, 0.55, 0.17)),
    "asinh": (odd(mp.asinh), whole_line, (-3, 3), (0.4, 1, 2.0**60, 2.0**30)),
    "acosh": (mp.acosh, (1, INFINITY), (1, 4), (1, 1.05, 2.0**60, 2.0**30)),
    "atanh": (odd(mp.atanh), (-1, 1), (-1, 1), (0.5, 1, -1)),
    "sqrt": (mp.sqrt, (0, INFINITY), (0, 4), (1, 4)),
    "rsqrt": (lambda x: 1 / mp.sqrt(x), (0, INFINITY), (0, 4), (1, 4)),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), whole_line, (-8, 8), (1, 2, 4, 8)),
    "sin": (odd(mp.sin), whole_line, (-100, 100), (*quarter_turns, 2.0**28, 2.0**14)),
    "cos": (mp.cos, whole_line, (-100, 100), (*quarter_turns, 2.0**28, 2.0**14)),
    "tan": (odd(mp.tan), whole_line, (-100, 100), (*quarter_turns, 2.0**28, 2.0**14)),
    "asin": (odd(mp.asin), (-1, 1), (-1, 1), (0.5, 1, -0.5, -1)),
    "acos": (mp.acos, (-1, 1), (-1, 1), (0.5, 1, -0.5, -1)),
    "atan": (odd(mp.atan), whole_line, (-4, 4), (0.41421356, 2.41421356, 1)),
    "erf": (odd(bounded(mp.erf, 40), 2 / mp.sqrt(mp.pi)), whole_line, (-7, 7), (0.5, 0.85, 1, 5.9)),
    "erfc": (bounded(mp.erfc, 40), whole_line, (-7, 28), (0.5, -0.85, 26.5, 27.2, 9.2, -1, -6)),
    "erf_inv": (odd(inverse_erf, mp.sqrt(mp.pi) / 2), (-1, 1), (-1, 1), (0.5, 0.9, 0.999, 0.999999, 1, -1)),
    "lgamma": (log_gamma, whole_line, (-30, 60), (0.5, 0.7, 1, 1.5, 2, 2.5, 8, -0.5, -3, 1e-10)),
}
EXACT = ("floor", "ceil", "sign")


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_four_units_of_the_last_place(name, dtype):
    exact, (low, high), range_, hard = FUNCTIONS[name]
    if name in ("erf", "erf_inv"):
        slope = 2 / mp.sqrt(mp.pi) if name == "erf" else mp.sqrt(mp.pi) / 2
        exact = odd(bounded(mp.erf, 40) if name == "erf" else inverse_erf, slope)
    random = np.random.default_rng(sum(map(ord, name)))
    n = 120 if name == "erf_inv" else 240
    x = np.concatenate(
        [log_uniform(random, dtype, n), random.uniform(*range_, n).astype(dtype), clustered(random, dtype, hard, n)]
    )
    if low == 0 or low == 1:
        x = np.abs(x)
    x = x[np.isfinite(x) & (x >= low) & (x <= high) & ((x != 0) | (name not in ("log", "rsqrt")))]
    if name in ("log1p", "atanh"):
        x = x[np.abs(x) != 1]
    assert len(x) > n
    assert_close(name, dtype, exact, x)


@dtypes
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_next_to_multiples_of_a_quarter_turn(name, dtype):
    # for doubles, among them the one closest to such a multiple (Muller, Elementary Functions, 3rd ed., table 11.1)
    k = np.random.default_rng(5).integers(1, 2**40, 300)
    k[:150] >>= 26
    x = np.array([float(mp.mpf(int(i)) * mp.pi / 2) for i in k], dtype)
    x = np.concatenate([x, -x])
    if dtype == np.float64:
        x[0] = 6381956970095103.0 * 2.0**797
        assert apply("cos", dtype, x[:1])[0] == pytest.approx(-4.68716592425462761112e-19, rel=1e-15, abs=0)
    assert_close(name, dtype, getattr(mp, name), x)


@dtypes
def test_log_gamma_next_to_its_zeros(dtype):
    zeros = [1, 2]
    for n in range(2, 12):
        fraction = mp.mpf(1) / math.factorial(n)
        brackets = (
            [(-2.5, -2.4), (-2.8, -2.7)]
            if n == 2
            else [
                (-n - fraction * 1.4, -n - fraction / 2),
                (-(n + 1) + fraction / (n + 1) / 2, -(n + 1) + fraction / (n + 1) * 1.6),
            ]
        )
        zeros += [
            mp.findroot(lambda x: mp.log(abs(mp.gamma(x))), b, solver="anderson", tol=1e-60, maxsteps=200)
            for b in brackets
        ]
    centre = np.array([dtype(float(z)) for z in zeros])
    x = [centre, np.nextafter(centre, dtype(0)), np.nextafter(centre, dtype(-99))]
    for power in range(2, np.finfo(dtype).nmant, 3):
        x += [centre * dtype(1 + 2.0**-power), centre * dtype(1 - 2.0**-power)]
    assert_close("lgamma", dtype, log_gamma, np.concatenate(x))


# what ISO C99 (annex F.9) and IEEE 754 say, in the order of these arguments
ARGUMENTS = (0.0, -0.0, INFINITY, -INFINITY, NAN)
SPECIAL = {
    "exp": (1.0, 1.0, INFINITY, 0.0, NAN),
    "exp2": (1.0, 1.0, INFINITY, 0.0, NAN),
    "expm1": (0.0, -0.0, INFINITY, -1.0, NAN),
    "log": (-INFINITY, -INFINITY, INFINITY, NAN, NAN),
    "log1p": (0.0, -0.0, INFINITY, NAN, NAN),
    "logistic": (0.5, 0.5, 1.0, 0.0, NAN),
    "sinh": (0.0, -0.0, INFINITY, -INFINITY, NAN),
    "cosh": (1.0, 1.0, INFINITY, INFINITY, NAN),
    "tanh": (0.0, -0.0, 1.0, -1.0, NAN),
    "asinh": (0.0, -0.0, INFINITY, -INFINITY, NAN),
    "acosh": (NAN, NAN, INFINITY, NAN, NAN),
    "atanh": (0.0, -0.0, NAN, NAN, NAN),
    "sqrt": (0.0, -0.0, INFINITY, NAN, NAN),
    "rsqrt": (INFINITY, -INFINITY, 0.0, NAN, NAN),
    "cbrt": (0.0, -0.0, INFINITY, -INFINITY, NAN),
    "sin": (0.0, -0.0, NAN, NAN, NAN),
    "cos": (1.0, 1.0, NAN, NAN, NAN),
    "tan": (0.0, -0.0, NAN, NAN, NAN),
    "asin": (0.0, -0.0, NAN, NAN, NAN),
    "acos": (math.pi / 2, math.pi / 2, NAN, NAN, NAN),
    "atan": (0.0, -0.0, math.pi / 2, -math.pi / 2, NAN),
    "erf": (0.0, -0.0, 1.0, -1.0, NAN),
    "erfc": (1.0, 1.0, 0.0, 2.0, NAN),
    "erf_inv": (0.0, -0.0, NAN, NAN, NAN),
    "lgamma": (INFINITY, INFINITY, INFINITY, INFINITY, NAN),
    "floor": (0.0, -0.0, INFINITY, -INFINITY, NAN),
    "ceil": (0.0, -0.0, INFINITY, -INFINITY, NAN),
    "sign": (0.0, -0.0, 1.0, -1.0, NAN),
}
# and at other arguments
EXACTLY = {
    "exp": {710.0: INFINITY, -746.0: 0.0},
    "exp2": {1024.0: INFINITY, -1076.0: 0.0, 3.0: 8.0, -1.0: 0.5},
    "expm1": {710.0: INFINITY, -100.0: -1.0},
    "log": {1.0: 0.0, -1.0: NAN, -5e-324: NAN},
    "log1p": {-1.0: -INFINITY, -1.5: NAN, -3e38: NAN},
    "acosh": {1.0: 0.0, 0.5: NAN, -1.0: NAN, -3e38: NAN},
    "atanh": {1.0: INFINITY, -1.0: -INFINITY, 1.5: NAN, -1.5: NAN},
    "asin": {1.5: NAN, -1.5: NAN, 3e38: NAN},
    "acos": {1.0: 0.0, 1.5: NAN, -1.5: NAN},
    "sqrt": {-1.0: NAN, 4.0: 2.0},
    "rsqrt": {-1.0: NAN, 4.0: 0.5},
    "cbrt": {8.0: 2.0, -27.0: -3.0, 1.0: 1.0},
    "erf_inv": {1.0: INFINITY, -1.0: -INFINITY, 1.5: NAN, -3e38: NAN},
    "lgamma": {1.0: 0.0, 2.0: 0.0, -1.0: INFINITY, -20.0: INFINITY, -3e38: INFINITY},
    "tanh": {100.0: 1.0, -100.0: -1.0},
    "logistic": {100.0: 1.0, -800.0: 0.0},
    "sinh": {1000.0: INFINITY, -1000.0: -INFINITY},
    "cosh": {1000.0: INFINITY, -1000.0: INFINITY},
    "erf": {10.0: 1.0, -10.0: -1.0},
    "erfc": {40.0: 0.0, -10.0: 2.0},
    "sign": {3.5: 1.0, -3.5: -1.0, 1e-30: 1.0},
}


def assert_same(found, expected):
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


@dtypes
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    cases = [*zip(ARGUMENTS, SPECIAL[name], strict=True), *EXACTLY.get(name, {}).items()]
    if dtype == np.float32:
        cases = [(x, y) for x, y in cases if x == 0 or abs(x) > 1e-40 or x != x]
    x, expected = (np.array(v, dtype) for v in zip(*cases, strict=True))
    assert_same(apply(name, dtype, x), expected)


@dtypes
@pytest.mark.parametrize("name", EXACT)
def test_exact_functions(name, dtype):
    random = np.random.default_rng(1)
    x = np.concatenate([log_uniform(random, dtype, 200), random.uniform(-9, 9, 200).astype(dtype)])
    assert_same(apply(name, dtype, x), getattr(np, name)(x))


# ---------------------------------------------------------------------------------------------------- of two numbers


def grid(dtype):
    info = np.finfo(dtype)
    one = [0.0, 0.5, 1.0, 2.0, 3.0, 1 + info.eps, 1 - info.eps / 2, INFINITY, info.max, info.smallest_normal]
    one += [info.smallest_subnormal, 1e10, 2.0**info.nmant + 1, 2.0 ** (info.nmant + 1) + 2, 2.5]
    points = np.array([NAN, *one, *[-v for v in one]], dtype)
    return [v.ravel() for v in np.meshgrid(points, points)]


def power(x, y):
    if y == 0 or x == 1:
        return mp.mpf(1)
    if x < 0:
        return mp.nan if not mp.isint(y) else power(-x, y) * (-1 if int(y) % 2 else 1)
    exponent = y * mp.log(x)
    return mp.exp(mp.sign(exponent) * min(abs(exponent), 2000))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
def test_power_within_four_units_of_the_last_place(dtype):
    random = np.random.default_rng(2)
    n = 500
    x = [np.abs(log_uniform(random, dtype, n)), random.uniform(0, 3, n).astype(dtype)]
    x = np.concatenate([*x, clustered(random, dtype, [1.0], n)])
    x = x[(x > 0) & (x != 1)]
    reach = 1075 if dtype == np.float64 else 150
    y = np.array(
        [float(e / mp.log(float(v), 2)) for v, e in zip(x, random.uniform(-reach, reach, len(x)), strict=True)]
    )
    y = y.astype(dtype)
    y[::5] = random.choice(np.array([-3, -1, 2, 3, 5, 0.5, 1.5, 1 / 3], dtype), len(y[::5]))
    x[::5] *= random.choice(np.array([-1, 1], dtype), len(x[::5]))
    keep = np.isfinite(y)
    assert_close("pow", dtype, power, x[keep], y[keep])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
def test_power_follows_c99(dtype):
    x, y = grid(dtype)
    found, expected = apply("pow", dtype, x, y), np.power(x, y)
    simple = (
        np.isnan(expected) | np.isin(np.abs(expected), np.array([0, INFINITY], dtype)) | (np.abs(x) == 1) | (y == 0)
    )
    assert simple.sum() > 600
    assert_same(found[simple], expected[simple])
    finite = ~simple & np.isfinite(x) & np.isfinite(y) & (x != 0)
    assert_close("pow", dtype, power, x[finite], y[finite])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
def test_arc_tangent_of_two(dtype):
    random = np.random.default_rng(3)
    y = np.concatenate([log_uniform(random, dtype, 300), log_uniform(random, dtype, 300)])
    x = np.concatenate([log_uniform(random, dtype, 300), (y[300:] * random.uniform(-4, 4, 300)).astype(dtype)])
    keep = np.isfinite(x) & (x != 0) & (y != 0)
    assert_close("atan2", dtype, mp.atan2, y[keep], x[keep])
    y, x = grid(dtype)
    found, expected = apply("atan2", dtype, y, x), np.arctan2(y, x)
    special = ~(np.isfinite(y) & np.isfinite(x)) | (x == 0) | (y == 0)
    np.testing.assert_allclose(found[special], expected[special], rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(found)]))
    keep = ~special
    assert_close("atan2", dtype, mp.atan2, y[keep], x[keep])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
@pytest.mark.parametrize(("name", "expected"), [("rem", np.fmod), ("nextafter", np.nextafter)])
def test_exact_functions_of_two(name, expected, dtype):
    random = np.random.default_rng(4)
    a, b = log_uniform(random, dtype, 1000), log_uniform(random, dtype, 1000)
    near = (a * random.uniform(-1, 1, 1000)).astype(dtype)
    multiples = (near * np.round(random.uniform(1, 1e5, 1000))).astype(dtype)
    p, q = grid(dtype)
    x, y = np.concatenate([a, a, multiples, p]), np.concatenate([b, near, near, q])
    assert_same(apply(name, dtype, x, y), expected(x, y))


# ------------------------------------------------------------------------------------------ in kernels, on other machines

THROUGH_JAX = {
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "tan": jnp.tan,
    "cbrt": jnp.cbrt,
    "erfc": jax.scipy.special.erfc,
    "lgamma": jax.scipy.special.gammaln,
}


@dtypes
def test_kernels_use_them(dtype):
    x = np.concatenate([np.linspace(0.1, 5, 13), [1e5, 1e20]]).astype(dtype)
    found = lanes(lambda x: {name: function(x) for name, function in THROUGH_JAX.items()})(x)
    for name in THROUGH_JAX:
        expected = apply(name, dtype, x)
        normal = (np.abs(expected) >= np.finfo(dtype).smallest_normal) | (expected == 0)
        assert_same(np.asarray(found[name])[normal], expected[normal])


@dtypes
def test_no_maths_library_and_graphics_processors_too(dtype):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(cpu="sm_70", opt=2)
    known = {"fma", "fabs", "sqrt", "copysign", "floor", "ceil", "trunc"}
    for name in elementary.FUNCTIONS:
        count = 2 if name in ("pow", "atan2", "rem", "nextafter") else 1
        module = llvm.parse_assembly(str(module_of(name, dtype, 0, count)))
        declared = {f.name for f in module.functions if f.is_declaration}
        assert {n.split(".")[1] for n in declared} <= known
        assert all(n.startswith("llvm.") for n in declared)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
        code = machine.emit_assembly(module)
        assert re.search(rf"vht[._$]+{name}[._$]+f", code)
        assert ".extern" not in code


def test_all_names_are_tested_and_unknown_ones_refused():
    assert set(elementary.FUNCTIONS) == {*FUNCTIONS, *EXACT, "pow", "atan2", "rem", "nextafter"}
    with pytest.raises(KeyError):
        module_of("gamma", np.float64, 0, 1)
