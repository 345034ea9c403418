"""lanes(fn) against jax.vmap(fn): primitives, control flow, tables, types, errors."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree
from jax import lax
from vht_kernels import LoweringError, full_like, lanes, length, read, write

LANES = 21  # two whole groups and a part of one, at any width up to 8


# ------------------------------------------------------------------------------------------- primitives one by one


def _spread():
    rng = np.random.default_rng(7)
    return np.concatenate(
        [rng.normal(size=20), 10.0 ** rng.uniform(-300, 300, 20), [0.0, -0.0, np.inf, -np.inf, np.nan]]
    )


SPREAD = _spread()


@pytest.mark.parametrize(
    "fn",
    [
        jnp.abs,
        jnp.sign,
        jnp.floor,
        jnp.ceil,
        jnp.round,
        lax.round,
        jnp.isfinite,
        jnp.isnan,
        jnp.negative,
        jnp.signbit,
        lambda x: x == x,
        lambda x: x != x,
        lambda x: jnp.maximum(x, 0.0),
        lambda x: jnp.minimum(2.0, x),
        lambda x: jnp.where(x > 1.0, 1.0, x),
        lambda x: lax.integer_pow(x, -3),
        lambda x: lax.reduce_precision(x, 8, 23),
        lambda x: x.astype(jnp.float32),
        lambda x: x.astype(bool),
        lambda x: lax.bitcast_convert_type(x, jnp.int64 if x.dtype == jnp.float64 else jnp.int32),
        lambda x: lax.stop_gradient(x) + lax.copy_p.bind(x),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_with_specials(fn, dtype):
    with np.errstate(over="ignore"):
        x = SPREAD.astype(dtype)
    agree(fn, x, rtol=1e-15 if dtype == np.float64 else 1e-6, atol=0)


@pytest.mark.parametrize(
    "other", [jnp.maximum, jnp.minimum, lambda x, y: jnp.where(x > y, x, jnp.where(x < y, y, 3.0))]
)
def test_pairs_with_nan(other):
    x, y = (a.ravel() for a in np.meshgrid(SPREAD[-12:], SPREAD[-12:]))
    agree(other, x, y, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers(dtype):
    info = np.iinfo(dtype)
    edge = np.array([info.min, info.min + 1, 0, 1, 2, 3, 7, 63, info.max - 1, info.max], dtype)
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))

    def fn(x, y):
        shifts = lax.shift_left(x, y), lax.shift_right_logical(x, y), lax.shift_right_arithmetic(x, y)
        bits = x & y, x | y, x ^ y, ~x, lax.population_count(x), lax.clz(x)
        sums = x + y, x - y, x * y, lax.div(x, y), lax.rem(x, y), -x, jnp.abs(x), jnp.sign(x), lax.integer_pow(x, 3)
        order = x < y, x <= y, x == y, x != y, x > y, x >= y, jnp.maximum(x, y), jnp.minimum(x, y)
        casts = x.astype(jnp.float64), x.astype(jnp.int32), x.astype(jnp.uint16), x.astype(bool)
        return shifts, bits, sums, order, casts

    agree(fn, x, y, rtol=0, atol=0)


def test_booleans():
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])

    def fn(x, y):
        return x & y, x | y, x ^ y, ~x, x == y, x < y, jnp.where(x, 1.0, 2.0), x.astype(jnp.int32), jnp.maximum(x, y)

    agree(fn, x, y)


def test_float_to_integer_saturates():
    x = np.array([0.0, -0.9, 1.9, 1e9, -1e9, 3e9, -3e9, 1e300, -np.inf, np.inf, np.nan])
    found = lanes(lambda x: (x.astype(jnp.int32), x.astype(jnp.uint8)))(x)
    np.testing.assert_array_equal(
        found[0], [0, 0, 1, 10**9, -(10**9), 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 2**31 - 1, 0]
    )
    np.testing.assert_array_equal(found[1], [0, 0, 1, 255, 0, 255, 0, 255, 0, 255, 0])


def test_float32_and_float64_side_by_side():
    def fn(x, t):
        t = t + 1e-9
        return x * jnp.float32(2) + t.astype(jnp.float32), t

    agree(fn, np.linspace(0, 1, 50, dtype=np.float32), np.linspace(0, 1, 50), rtol=1e-6)


# ------------------------------------------------------------------------------------------- control flow


def collatz(n):
    return lax.while_loop(
        lambda c: c[0] != 1, lambda c: (jnp.where(c[0] % 2 == 0, c[0] // 2, 3 * c[0] + 1), c[1] + 1), (n, np.int32(0))
    )[1]


def test_while_with_unequal_turns():
    agree(collatz, np.arange(1, 200, dtype=np.int64))


def test_a_finished_lane_keeps_its_value():
    """The body of a finished lane goes on computing (1/0 here); nothing of it may show."""
    x = np.array([1.0, 5.0, 3.0, 0.0, 2.0])
    agree(lambda x: lax.while_loop(lambda c: c > 0.0, lambda c: c - 1.0 + 0.0 / c, x), x, rtol=0, atol=0)


def test_nested_loops_and_branches_under_masks(rng):
    def fn(x, n):
        def outer(i, x):
            inner = lax.while_loop(lambda c: c[0] < i, lambda c: (c[0] + 1, c[1] * 0.9 + 0.1), (np.int32(0), x))[1]
            return lax.cond(
                inner > 0.5, lambda v: lax.fori_loop(0, 3, lambda j, a: a * 0.5, v), lambda v: v + 0.3, inner
            )

        return lax.fori_loop(0, n, outer, x)

    agree(fn, rng.uniform(size=33), rng.integers(0, 9, 33).astype(np.int32))


def test_loops_with_uniform_and_lane_values_mixed(rng):
    """A shared number that becomes a lane's own inside a loop, and one that stays shared."""

    def fn(x, shared):
        def body(c):
            i, a, b, s = c
            return i + 1, b, a + x, s * 1.5

        return lax.while_loop(lambda c: c[3] < 100.0, body, (np.int32(0), shared, 0.0, shared))

    agree(fn, rng.uniform(size=9), np.float64(2.0), in_axes=(0, None))


def test_scan_and_switch(rng):
    def fn(x, k):
        total, _ = lax.scan(lambda c, _: (c * 0.5 + x, None), x, None, length=7)
        back, _ = lax.scan(lambda c, _: (c + total, None), x, None, length=3, reverse=True)
        return lax.switch(
            k, [lambda v: v, lambda v: jnp.exp(-v) * 3.0, lambda v: lax.fori_loop(0, 4, lambda i, a: a + v, v)], back
        )

    agree(fn, rng.uniform(size=25), rng.integers(-2, 5, 25).astype(np.int32))


def test_the_gradient_of_the_logarithm_of_a_factorial(rng):
    agree(jax.grad(lambda n: jax.scipy.special.gammaln(n + 1.0)), rng.uniform(-0.9, 30.0, size=LANES))


def test_the_gradient_of_branches_that_remember_unlike_things(rng):
    def fn(x, y):
        return lax.cond(x > 0.0, lambda x, y: jnp.sin(x) * y + jnp.exp(x * y), lambda x, y: x + y, x, y)

    agree(jax.grad(fn, argnums=(0, 1)), *rng.normal(size=(2, LANES)))


def test_a_shared_condition_takes_one_branch(rng):
    def fn(x, flag, k):
        a = lax.cond(flag, lambda v: jnp.sin(v) * jnp.exp(v), lambda v: lax.fori_loop(0, 3, lambda i, q: q + v, v), x)
        b = lax.switch(k, [lambda: jnp.exp(1.5) * 2.0, lambda: jnp.exp(2.5) * 2.0 + jnp.log(3.0) * jnp.sin(1.0)])
        return a, b

    for flag in (False, True):
        agree(fn, rng.uniform(size=9), np.bool_(flag), np.int32(flag), in_axes=(0, None, None))


# ------------------------------------------------------------------------------------------- tables


def interpolate(times, values, t):
    """Linear interpolation, found by walking along the table."""
    i = lax.while_loop(lambda i: (i < length(times) - 2) & (read(times, i + 1) < t), lambda i: i + 1, np.int32(0))
    a, b = read(times, i), read(times, i + 1)
    return read(values, i) + (t - a) / (b - a) * (read(values, i + 1) - read(values, i))


@pytest.mark.parametrize("shared", [False, True])
def test_reading_tables(rng, shared):
    times = np.sort(rng.uniform(size=(LANES, 12)), axis=1)
    values = rng.normal(size=(LANES, 12))
    t = rng.uniform(size=LANES)
    if shared:
        agree(interpolate, times[0], values, t, in_axes=(None, 0, 0))
    else:
        agree(interpolate, times, values, t)


def running(table, n, x):
    """Writes a table, reads it back, and goes past both ends."""
    out = full_like(table, -1.0)

    def body(c):
        i, out = c
        return i + 1, write(out, i, read(table, i) * x + read(out, i - 1))

    i, out = lax.while_loop(lambda c: c[0] < n, body, (np.int32(0), out))
    out = write(out, np.int32(-3), 99.0)
    out = lax.cond(x > 0.0, lambda o: write(o, np.int32(0), 5.0), lambda o: o, out)
    return out, read(out, np.int32(2)), length(out)


def test_writing_tables(rng):
    table, n = rng.normal(size=(LANES, 6)), rng.integers(0, 9, LANES).astype(np.int32)
    agree(running, table, n, rng.normal(size=LANES))
    agree(running, table[0], n, rng.normal(size=LANES), in_axes=(None, 0, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int8, np.bool_])
def test_tables_of_other_types(rng, dtype):
    table = (rng.uniform(size=(LANES, 5)) * 3).astype(dtype)

    def fn(table, x):
        out = full_like(table, x > 0.0, dtype=bool)
        other = full_like(table, read(table, np.int32(1)))
        return write(out, np.int32(2), x < 0.5), write(other, np.int32(4), read(table, np.int32(0)))

    agree(fn, table, rng.normal(size=LANES))


def test_scratch_tables_and_returned_inputs(rng):
    """A table that is not returned, one returned twice, an input returned as it came."""

    def fn(table, x):
        scratch = write(full_like(table, x), np.int32(1), 2.0)
        kept = write(full_like(table, 0.0), np.int32(0), read(scratch, np.int32(1)) + read(scratch, np.int32(0)))
        return kept, kept, table, x

    agree(fn, rng.normal(size=(LANES, 4)), rng.normal(size=LANES))


def test_empty_tables():
    def fn(table, x):
        return full_like(table, x), read(table, np.int32(0)) + x, length(table)

    agree(fn, np.zeros((5, 0)), np.arange(5.0))
    agree(fn, np.zeros(0), np.arange(5.0), in_axes=(None, 0))


def test_table_lengths_share_a_kernel():
    fn = lanes(lambda table: read(table, np.int32(1)) * 2.0)
    assert fn(np.ones((3, 4))).shape == fn(np.ones((3, 9))).shape
    first, second = fn.report(np.ones((3, 4))), fn.report(np.ones((3, 9)))
    assert first.compile_seconds == second.compile_seconds  # one and the same


# ------------------------------------------------------------------------------------------- as part of a JAX program


def test_under_jit_vmap_and_captured_values(rng):
    x = rng.uniform(size=(4, 11))

    def outer(rows, scale, table):
        return jax.vmap(lambda row: lanes(lambda v: jnp.exp(v) * scale + read(table, np.int32(1)))(row))(rows)

    table = np.arange(3.0)
    np.testing.assert_allclose(jax.jit(outer)(x, 2.0, table), np.exp(x) * 2.0 + 1.0, rtol=1e-14)


def test_vmap_over_shared_and_lane_arguments(rng):
    def fn(a, b, t):
        return a * b + read(t, np.int32(1)), b

    batched = lanes(fn, in_axes=(0, None, None))
    plain = jax.vmap(fn, in_axes=(0, None, None))
    a, b, t = rng.normal(size=(3, 5)), rng.normal(size=3), rng.normal(size=(3, 4))
    for axes in ((0, 0, 0), (0, None, None), (None, 0, None), (None, None, 0)):
        args = [v if x == 0 else v[0] for v, x in zip((a, b, t), axes, strict=True)]
        found = jax.vmap(batched, in_axes=axes)(*args)
        expected = jax.vmap(plain, in_axes=axes)(*args)
        for p, q in zip(found, expected, strict=True):
            np.testing.assert_allclose(p, q, rtol=1e-14, atol=1e-15)  # a product and a sum are fused here


def test_derivative_by_the_callers_rule(rng):
    kernel = lanes(lambda x: jnp.sin(x) * x)

    @jax.custom_jvp
    def f(x):
        return kernel(x)

    f.defjvp(lambda p, t: (kernel(p[0]), lanes(lambda x: jnp.cos(x) * x + jnp.sin(x))(p[0]) * t[0]))
    x = rng.uniform(size=5)
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(x), np.cos(x) * x + np.sin(x), rtol=1e-14)
    with pytest.raises(TypeError, match="no derivative of its own"):
        jax.jvp(kernel, (x,), (x,))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_any_number_of_lanes(count):
    x = np.linspace(0.0, 1.0, count)
    np.testing.assert_allclose(lanes(lambda x: x * 2.0 + 1.0)(x), x * 2.0 + 1.0, rtol=1e-15)


@pytest.mark.parametrize("width", [1, 2, 3, 16])
def test_any_width(width):
    fn = lanes(collatz, width=width)
    x = np.arange(1, 40, dtype=np.int32)
    np.testing.assert_array_equal(fn(x), jax.vmap(collatz)(x))


def test_results_do_not_depend_on_the_neighbours(rng):
    x = rng.uniform(size=64)
    y = x.copy()
    y[::5] = np.nan
    fn = lanes(lambda x: lax.while_loop(lambda v: v < 10.0, lambda v: v * 1.3 + jnp.sin(v), x))
    same = np.arange(64) % 5 != 0
    assert np.array_equal(np.asarray(fn(x))[same], np.asarray(fn(y))[same])


def test_calls_from_several_threads():
    fn = lanes(collatz)
    x = np.arange(1, 5000, dtype=np.int32)
    expected, wrong = np.asarray(jax.vmap(collatz)(x)), []

    def call():
        wrong.append(not np.array_equal(fn(x), expected))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 6


# ------------------------------------------------------------------------------------------- what it refuses


def test_unknown_primitive_names_itself_and_the_line():
    with pytest.raises(LoweringError, match=r"`igamma`.*test_lanes\.py:\d+"):
        lanes(lambda x: jax.scipy.special.gammainc(x, 2.0))(np.ones(3))


def test_arrays_are_refused():
    with pytest.raises(LoweringError, match="arrays are tables"):
        lanes(lambda x: jnp.stack([x, x]).sum())(np.ones(3))


def test_a_table_used_after_writing_is_refused():
    def fn(table):
        out = full_like(table, 0.0)
        changed = write(out, np.int32(0), 1.0)
        return read(out, np.int32(0)) + read(changed, np.int32(0))

    with pytest.raises(LoweringError, match="used again afterwards"):
        lanes(fn)(np.ones((3, 2)))


def test_an_input_table_is_not_written():
    with pytest.raises(LoweringError, match="full_like"):
        lanes(lambda t: write(t, np.int32(0), 1.0))(np.ones((3, 2)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((np.ones(3), np.ones(4)), "agree on the number of lanes, but got 3, 4"),
        ((np.ones(3), 1.0), "without a lane axis"),
        ((np.ones(3), np.ones((3, 2, 2))), "one axis"),
    ],
)
def test_wrong_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        lanes(lambda x, y: x)(*args)


def test_wrong_axes():
    with pytest.raises(ValueError, match="0 or None"):
        lanes(lambda x: x, in_axes=1)(np.ones(3))
    with pytest.raises(ValueError, match="got none"):
        lanes(lambda x: x, in_axes=None)(1.0)


# ------------------------------------------------------------------------------------------- what the caller may grant


def test_reciprocals_cost_at_most_a_rounding(rng):
    def fn(x, a, b):
        def body(c):
            i, s, q = c
            divisor = jnp.where(s > 0.5, a, b)
            return i + 1, jnp.abs(s) / divisor + x / a, (s + x) / b

        return lax.while_loop(lambda c: c[0] < 1, body, (np.int32(0), x, x))[1:]

    x, a, b = rng.normal(size=(3, 200))
    exact = [(abs(np.longdouble(x)) / np.where(x > 0.5, a, b) + np.longdouble(x) / a), (np.longdouble(x) * 2 / b)]
    for found, value in zip(lanes(fn, reciprocals=True)(x, a, b), exact, strict=True):
        scale = np.abs(x / a) + np.abs(x / np.where(x > 0.5, a, b)) + np.abs(np.asarray(value, float))
        assert np.max(np.abs(np.asarray(found) - value) / scale) < 3 * np.finfo(float).eps
    zero = np.zeros(3)
    special = lanes(fn, reciprocals=True)(np.array([0.0, 1.0, np.inf]), zero, zero)
    for p, q in zip(special, jax.vmap(fn)(np.array([0.0, 1.0, np.inf]), zero, zero), strict=True):
        np.testing.assert_array_equal(p, q)
