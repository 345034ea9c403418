"""Elementary functions against mpmath, over the whole range; special values against ISO C99; bits of scalar and vector code.

Functions are compiled into a loop over an array and called in this thread. How far each may be from the exact value stands
in the table of ``kernels/README.md``; ``python tests/test_elementary.py`` measures that table.
"""

from __future__ import annotations

import ctypes
import functools
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import llvmlite.binding as llvm
import mpmath as mp
import numpy as np
import pytest
from llvmlite import ir
from vht_kernels import cpu, elementary, lanes

README = pathlib.Path(__file__).parent.parent / "kernels" / "README.md"
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
    if mp.isinf(exact) and mp.isinf(found):
        return 0.0 if exact == found else INFINITY
    # infinity is what follows the largest number
    exact, found = (mp.sign(v) * top if mp.isinf(v) else v for v in (exact, found))
    unit = mp.ldexp(1, max(mp.frexp(exact)[1] - digits if exact else smallest, smallest))
    return float(abs(found - exact) / unit)


def limit(name, dtype):
    """What the README says of a function, in units in the last place."""
    row = re.search(rf"^\| `{name}` \| ([\d.]+) \| ([\d.]+) \|", README.read_text(), flags=re.M)
    return float(row.group(1 if dtype == np.float64 else 2))


def errors(name, dtype, *args):
    """How far off a function is at each of some arguments, in units in the last place."""
    exact = EXACT[name]
    found = apply(name, dtype, *args)
    return np.array([ulps(f, exact(*map(mp.mpf, map(float, xs))), dtype) for f, *xs in zip(found, *args, strict=True)])


def assert_close(name, dtype, *args):
    error = errors(name, dtype, *args)
    worst = int(error.argmax())
    assert error[worst] <= limit(name, dtype), f"{name}{tuple(a[worst] for a in args)}: {error[worst]} ulp"


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


def digamma(x):
    # mpmath loses itself far away
    return mp.log(x) - 1 / (2 * x) if x > mp.mpf(2) ** 100 else mp.digamma(x)


def inverse_erf(x):
    return mp.sign(x) * mp.inf if abs(x) == 1 else mp.erfinv(x)


TURNS = [k * math.pi / 2 for k in (*range(1, 12), 1000, 12345)]
CLOSEST_TO_QUARTER_TURN = 6381956970095103.0 * 2.0**797
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
    "sin": (odd(mp.sin), whole_line, (-100, 100), (*TURNS, 2.0**28, 2.0**14)),
    "cos": (mp.cos, whole_line, (-100, 100), (*TURNS, 2.0**28, 2.0**14)),
    "tan": (odd(mp.tan), whole_line, (-100, 100), (*TURNS, 2.0**28, 2.0**14)),
    "sinpi": (odd(mp.sinpi, mp.pi), whole_line, (-40, 40), (1, 0.5, 0.25, 7, 2.0**52, 2.0**23)),
    "cospi": (mp.cospi, whole_line, (-40, 40), (1, 0.5, 0.25, 7, 2.0**52, 2.0**23)),
    "asin": (odd(mp.asin), (-1, 1), (-1, 1), (0.5, 1, -0.5, -1)),
    "acos": (mp.acos, (-1, 1), (-1, 1), (0.5, 1, -0.5, -1)),
    "atan": (odd(mp.atan), whole_line, (-4, 4), (0.41421356, 2.41421356, 1)),
    "erf": (lambda x: odd(bounded(mp.erf, 40), 2 / mp.sqrt(mp.pi))(x), whole_line, (-7, 7), (0.5, 0.85, 1, 5.9)),
    "erfc": (bounded(mp.erfc, 40), whole_line, (-7, 28), (0.5, -0.85, 26.5, 27.2, 9.2, -1, -6)),
    "erf_inv": (
        lambda x: odd(inverse_erf, mp.sqrt(mp.pi) / 2)(x),
        (-1, 1),
        (-1, 1),
        (0.5, 0.9, 0.999, 0.999999, 1, -1),
    ),
    "lgamma": (log_gamma, whole_line, (-30, 60), (0.5, 0.7, 1, 1.5, 2, 2.5, 8, -0.5, -3, 1e-10)),
    "digamma": (digamma, (0, INFINITY), (0, 60), (1, 1.4616321449683622, 1.5, 2.5, 3.5, 7.5, 8, 1e-10)),
}
WHOLE = ("floor", "ceil", "sign")


def numbers_for(name, dtype, n):
    """Arguments for a function of one number: over the whole range, where it matters most, next to hard points."""
    _, (low, high), range_, hard = FUNCTIONS[name]
    random = np.random.default_rng(sum(map(ord, name)))
    x = [log_uniform(random, dtype, n), random.uniform(*range_, n).astype(dtype), clustered(random, dtype, hard, n)]
    if name in ("sin", "cos", "tan"):
        x.append(quarter_turns(random, dtype, n))
    if name == "lgamma":
        x.append(next_to_zeros_of_log_gamma(dtype))
    x = np.concatenate(x)
    if low == 0 or low == 1:
        x = np.abs(x)
    x = x[np.isfinite(x) & (x >= low) & (x <= high) & ((x != 0) | (name not in ("log", "rsqrt", "digamma")))]
    return x[np.abs(x) != 1] if name in ("log1p", "atanh") else x


def quarter_turns(random, dtype, n):
    """Angles next to multiples of a quarter turn, for doubles also the closest (Muller, Elementary Functions, table 11.1)."""
    k = random.integers(1, 2**40, n)
    k[: n // 2] >>= 26
    x = np.array([float(mp.mpf(int(i)) * mp.pi / 2) for i in k], dtype)
    if dtype == np.float64:
        x[0] = CLOSEST_TO_QUARTER_TURN
    return np.concatenate([x, -x])


@functools.cache
def next_to_zeros_of_log_gamma(dtype):
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
    return np.concatenate(x)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_accurate_as_the_readme_says(name, dtype):
    n = 120 if name == "erf_inv" else 240
    x = numbers_for(name, dtype, n)
    assert len(x) > n
    assert_close(name, dtype, x)


@dtypes
def test_digamma_of_negative_numbers_is_as_accurate_as_its_two_parts(dtype):
    random = np.random.default_rng(6)
    x = -np.abs(np.concatenate([log_uniform(random, dtype, 240), random.uniform(0, 60, 240).astype(dtype)]))
    x = x[x != np.floor(x)]
    for at, value in zip(x, apply("digamma", dtype, x), strict=True):
        exact = mp.mpf(float(at))
        parts = mp.digamma(1 - exact), -mp.pi * mp.cospi(exact) / mp.sinpi(exact)
        if abs(sum(parts)) < float(np.finfo(dtype).max):
            assert abs(mp.mpf(float(value)) - sum(parts)) <= 2 * float(np.finfo(dtype).eps) * max(map(abs, parts)), at


def test_cosine_of_the_double_closest_to_a_quarter_turn():
    found = apply("cos", np.float64, np.array([CLOSEST_TO_QUARTER_TURN]))
    assert found[0] == pytest.approx(-4.68716592425462761112e-19, rel=1e-15, abs=0)


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
    "sinpi": (0.0, -0.0, NAN, NAN, NAN),
    "cospi": (1.0, 1.0, NAN, NAN, NAN),
    "asin": (0.0, -0.0, NAN, NAN, NAN),
    "acos": (math.pi / 2, math.pi / 2, NAN, NAN, NAN),
    "atan": (0.0, -0.0, math.pi / 2, -math.pi / 2, NAN),
    "erf": (0.0, -0.0, 1.0, -1.0, NAN),
    "erfc": (1.0, 1.0, 0.0, 2.0, NAN),
    "erf_inv": (0.0, -0.0, NAN, NAN, NAN),
    "lgamma": (INFINITY, INFINITY, INFINITY, INFINITY, NAN),
    "digamma": (NAN, NAN, INFINITY, NAN, NAN),
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
    "digamma": {-1.0: NAN, -20.0: NAN, -3e38: NAN},
    "tanh": {100.0: 1.0, -100.0: -1.0},
    "logistic": {100.0: 1.0, -800.0: 0.0},
    "sinh": {1000.0: INFINITY, -1000.0: -INFINITY},
    "cosh": {1000.0: INFINITY, -1000.0: INFINITY},
    "sinpi": {1.0: 0.0, -1.0: -0.0, 0.5: 1.0, -0.5: -1.0, 1.5: -1.0, 2.0**60: 0.0},
    "cospi": {0.5: 0.0, 1.5: 0.0, 1.0: -1.0, -1.0: -1.0, 2.0**60: 1.0},
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
@pytest.mark.parametrize("name", WHOLE)
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


EXACT = {name: exact for name, (exact, *_) in FUNCTIONS.items()} | {"pow": power, "atan2": mp.atan2}


def pairs_for(name, dtype, n):
    """Arguments for a function of two numbers."""
    return powers(dtype, n) if name == "pow" else directions(dtype, n)


def powers(dtype, n):
    random = np.random.default_rng(2)
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
    return x[keep], y[keep]


def directions(dtype, n):
    random = np.random.default_rng(3)
    y = np.concatenate([log_uniform(random, dtype, n), log_uniform(random, dtype, n)])
    x = np.concatenate([log_uniform(random, dtype, n), (y[n:] * random.uniform(-4, 4, n)).astype(dtype)])
    tiny = (random.integers(1, 40, (2, n)) * float(np.finfo(dtype).smallest_subnormal)).astype(dtype)
    y, x = np.concatenate([y, tiny[0]]), np.concatenate([x, tiny[1]])
    keep = np.isfinite(x) & (x != 0) & (y != 0)
    return y[keep], x[keep]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_pairs_as_accurate_as_the_readme_says(name, dtype):
    assert_close(name, dtype, *pairs_for(name, dtype, 400))


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
    assert_close("pow", dtype, x[finite], y[finite])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
def test_arc_tangent_of_two_follows_c99(dtype):
    y, x = grid(dtype)
    found, expected = apply("atan2", dtype, y, x), np.arctan2(y, x)
    special = ~(np.isfinite(y) & np.isfinite(x)) | (x == 0) | (y == 0)
    np.testing.assert_allclose(found[special], expected[special], rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(found)]))
    keep = ~special
    assert_close("atan2", dtype, y[keep], x[keep])


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
    "sinpi": lambda x: jnp.sin(jnp.pi * x),
    "cospi": lambda x: jnp.cos(x * jnp.pi),
    "cbrt": jnp.cbrt,
    "erfc": jax.scipy.special.erfc,
    "lgamma": jax.scipy.special.gammaln,
    "digamma": jax.scipy.special.digamma,
}


@dtypes
def test_kernels_use_them(dtype):
    x = np.concatenate([np.linspace(0.1, 5, 13), [1e5, 1e20, -103.3, -744.9]]).astype(dtype)
    found = lanes(lambda x: {name: function(x) for name, function in THROUGH_JAX.items()})(x)
    for name in THROUGH_JAX:
        assert_same(np.asarray(found[name]), apply(name, dtype, x))


@dtypes
def test_no_maths_library_and_graphics_processors_too(dtype):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(cpu="sm_70", opt=2)
    known = {"fma", "fabs", "sqrt", "copysign", "floor", "ceil", "trunc", "roundeven"}
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
    assert set(elementary.FUNCTIONS) == {*FUNCTIONS, *WHOLE, "pow", "atan2", "rem", "nextafter"}
    with pytest.raises(KeyError):
        module_of("gamma", np.float64, 0, 1)


def measure(n):
    """Print the README's table from `n` times 3 numbers a function and more next to hard points."""
    mp.mp.prec = 300
    print("| function | float64 | float32 |\n|---|---|---|")
    for name in sorted(EXACT):
        worst = []
        for dtype in DTYPES:
            args = pairs_for(name, dtype, n) if name in ("pow", "atan2") else (numbers_for(name, dtype, n),)
            worst.append(math.ceil(errors(name, dtype, *args).max() * 10) / 10)
        print(f"| `{name}` | {worst[0]} | {worst[1]} |", flush=True)


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        measure(20_000)
