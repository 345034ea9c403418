"""Calls of lanes functions: subnormal numbers, constants, large programs, types, what is kept between calls, and errors."""

from __future__ import annotations

import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from vht_kernels import LoweringError, batching, cpu, full_like, lanes, read

# ------------------------------------------------------------------------------------------- subnormal numbers


def _tiny(dtype):
    """Pairs of numbers around the smallest normal one and below, of both signs."""
    info = np.finfo(dtype)
    size = info.smallest_normal * np.array([1e-5, 0.3, 0.999, 1.0, 1.1, 2.0, 5.0, 1e5], dtype)
    size = np.concatenate([info.smallest_subnormal * np.array([1, 3, 100], dtype), size]).astype(dtype)
    both = np.concatenate([size, -size])
    return [v.ravel() for v in np.meshgrid(both, both)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("copies", [1, 200])  # in the calling thread alone, and in XLA's helpers too
def test_subnormal_numbers_are_numbers(dtype, copies):
    y, x = (np.tile(v, copies) for v in _tiny(dtype))

    def fn(y, x):
        half = dtype(0.5)
        return jnp.arctan2(y, x), lax.rem(y, x), jnp.nextafter(y, x), y * half, y / x, y < x, jnp.sqrt(jnp.abs(x))

    expected = np.arctan2(y, x), np.fmod(y, x), np.nextafter(y, x), y * dtype(0.5), y / x, y < x, np.sqrt(np.abs(x))
    outside = lanes(fn)(y, x)
    inside = jax.jit(lanes(fn))(y, x)
    np.testing.assert_allclose(outside[0], expected[0], rtol=4 * np.finfo(dtype).eps)
    for found, again, exact in zip(outside[1:], inside[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(found, exact)
        np.testing.assert_array_equal(again, found)


def test_the_calling_threads_own_arithmetic_stays_as_it_was():
    """Whether XLA takes subnormal numbers for zero is XLA's business, after a kernel as before."""
    x = np.array([1e-310, 3e-320, 1.0])
    kernel = lanes(lambda x: -x)
    plain = jax.jit(lambda x: lax.optimization_barrier(-x) * 0.5)(x)
    np.testing.assert_array_equal(jax.jit(lambda x: lax.optimization_barrier(kernel(x)) * 0.5)(x), plain)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_reciprocals_over_the_whole_range(rng, dtype):
    """Units in the last place as `lanes` promises them, the quotient found in whole-number arithmetic."""
    info = np.finfo(dtype)
    ends = [info.maxexp - 1, info.maxexp - 2, info.maxexp - 3, 0, info.minexp, info.minexp - 1]
    y = np.concatenate([np.ldexp(rng.uniform(1.01, 1.99, 60), e) for e in ends]).astype(dtype)
    quotient = np.ldexp(rng.uniform(1.0, 2.0, y.size), rng.integers(-4, 0, y.size)).astype(dtype)
    x = quotient * y

    def fn(x, y):
        return lax.fori_loop(0, 1, lambda i, c: c / y, x)

    found = np.asarray(lanes(fn, reciprocals=True)(x, y))
    error = []
    for a, b, q in zip(x, y, found, strict=True):
        exact = fractions.Fraction(float(a)) / fractions.Fraction(float(b))
        error.append(
            float(abs(fractions.Fraction(float(q)) - exact) / fractions.Fraction(float(np.spacing(dtype(exact)))))
        )
    error = np.array(error).reshape(len(ends), -1).max(1)
    assert error[:2].max() <= 4.5 and error[2:].max() <= 1.5, error
    none = np.ldexp(dtype(1), info.minexp - 2).astype(dtype)
    assert lanes(fn, reciprocals=True)(np.array([none]), np.array([none]))[0] == np.inf


# ------------------------------------------------------------------------------------------- constants, large programs


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_unsigned_constants_with_the_top_bit_set(dtype):
    info = np.iinfo(dtype)
    top, most = dtype(info.max // 2 + 1), dtype(info.max)
    x = np.array([0, 1, 77, info.max // 2, info.max // 2 + 1, info.max], dtype)

    def fn(x):
        return x & top, jnp.maximum(x, top), x + most, x < top, lax.div(most, x | dtype(1)), jnp.where(x > 1, most, top)

    for found, expected in zip(lanes(fn)(x), jax.vmap(fn)(x), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_shared_value_used_in_a_branch_and_before_it():
    """Code moved out of a loop must not lean on what was spread over the lanes in the branch around it."""

    def fn(x, n):
        shared = lax.fori_loop(0, 3, lambda i, v: v * n, 1.0)

        def yes(x):
            return lax.fori_loop(0, 4, lambda i, c: c + x * shared, x + shared)

        return lax.cond(x > 1.5, yes, lambda x: x, x)

    x = np.linspace(1.0, 2.0, 5)
    found = lanes(fn, in_axes=(0, None))(x, 2.0)
    np.testing.assert_allclose(found, jax.vmap(fn, in_axes=(0, None))(x, 2.0), rtol=1e-14)


def _grown(rng, values, depth):
    """A program of random sums, products, loops and branches over lane and shared values: what it adds to `values`."""
    steps = []
    for _ in range(rng.integers(2, 9)):
        kind = rng.choice(["mix", "mix", "mix", "loop", "branch", "turns"]) if depth else "mix"
        inner = _grown(rng, values, depth - 1) if kind in ("loop", "branch") else None
        steps.append((kind, int(rng.integers(1000)), int(rng.integers(1000)), inner))
    return steps


def _run(steps, values):
    values = list(values)
    for kind, i, j, inner in steps:
        x, y = values[i % len(values)], values[j % len(values)]
        match kind:
            case "mix":
                values.append(0.5 * x * y if (i + j) % 2 else 0.5 * (x - y))
            case "turns":  # of shared values this stays shared, whose place is where the loop ends
                values.append(lax.fori_loop(0, 2, lambda _, v: 0.5 * (v + y), x))
            case "loop":
                around = tuple(values)
                values.append(lax.fori_loop(0, 2, lambda _, v: 0.5 * _run(inner, (*around, v))[-1], x))
            case "branch":
                around = tuple(values)
                yes, no = (lambda v: _run(inner, v)[-1]), (lambda v: v[i % len(v)])
                values.append(lax.cond(around[j % 2] > 0.0, yes, no, around))
    return values


@pytest.mark.parametrize("seed", [0, 22])
def test_large_programs_of_shared_and_lane_values(seed):
    rng = np.random.default_rng(seed)
    steps = [step for _ in range(8) for step in _grown(rng, 4, 2)]

    def fn(x, y, a, b):
        return _run(steps, (x, y, a, b))[4:]

    args = (*rng.uniform(-1, 1, (2, 11)), *map(np.float64, rng.uniform(-1, 1, 2)))
    found = lanes(fn, in_axes=(0, 0, None, None))(*args)
    expected = jax.jit(jax.vmap(fn, in_axes=(0, 0, None, None)))(*args)
    for p, q in zip(found, expected, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_zeros_and_nan_in_extremes(dtype):
    """XLA takes 0 for greater than -0, whether the other one is a constant or not."""
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    constants = [dtype(c) for c in (0.0, -0.0, 1.0, -1.0)]

    def fn(x, y):
        pairs = jnp.maximum(x, y), jnp.minimum(x, y), lax.clamp(y, x, dtype(0.0)), lax.clamp(dtype(0.0), x, y)
        left = [extreme(c, x) for c in constants for extreme in (jnp.maximum, jnp.minimum)]
        return pairs, left, [extreme(x, c) for c in constants for extreme in (jnp.maximum, jnp.minimum)]

    found, expected = jax.tree.leaves(lanes(fn)(x, y)), jax.tree.leaves(jax.jit(jax.vmap(fn))(x, y))
    for p, q in zip(found, expected, strict=True):
        np.testing.assert_array_equal(p, q)
        numbers = ~np.isnan(p)
        np.testing.assert_array_equal(np.signbit(p)[numbers], np.signbit(q)[numbers])


# ------------------------------------------------------------------------------------------- types


def _types(results):
    return [(r.dtype, r.weak_type, r.shape) for r in jax.tree.leaves(results)]


WEAK = {
    "a number shared": (lambda x, s: x * s, (0, None), lambda: (np.ones(3, np.float32), 2.0)),
    "a whole number shared": (lambda x, s: x + s, (0, None), lambda: (np.ones(3, np.int16), 2)),
    "a weak array": (lambda x, w: x * w, 0, lambda: (np.ones(3, np.float32), jnp.full(3, 2.0))),
    "a weak result": (lambda x, w: (w * 2.0, x + x), 0, lambda: (np.ones(3), jnp.full(3, 2.0))),
    "a NumPy number shared": (lambda x, s: x * s, (0, None), lambda: (np.ones(3), np.float64(2.0))),
    "a result used again": (lambda x, w: jnp.where(x > 0, w, 1.0), (0, None), lambda: (np.ones(3, np.float32), 2.0)),
    "a loop": (
        lambda x, w: lax.fori_loop(0, 3, lambda i, c: c * w, x),
        (0, None),
        lambda: (np.ones(3, np.float32), 2.0),
    ),
}


@pytest.mark.parametrize("name", WEAK)
def test_weak_types_are_those_of_vmap(name):
    fn, axes, arguments = WEAK[name]
    args = arguments()
    mapped, kernel = jax.vmap(fn, in_axes=axes), lanes(fn, in_axes=axes)
    assert _types(kernel(*args)) == _types(mapped(*args))
    assert _types(jax.jit(kernel)(*args)) == _types(jax.jit(mapped)(*args))
    rows = [jnp.stack([jnp.asarray(a)] * 2) for a in args]
    assert _types(jax.vmap(kernel)(*rows)) == _types(jax.vmap(mapped)(*rows))


def test_a_weak_and_a_strong_argument_are_two_programs():
    kernel = lanes(lambda x, s: x * s, in_axes=(0, None))
    x = np.ones(3, np.float32)
    with jax.numpy_dtype_promotion("standard"):
        assert kernel(x, 2.0).dtype == np.float32
        assert kernel(x, np.float64(2.0)).dtype == np.float64
        assert kernel(x, 2.0).dtype == np.float32


@pytest.mark.skipif(not hasattr(jax.config, "jax_explicit_x64_dtypes"), reason="this JAX has no such setting")
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_what_a_requested_float64_means_may_change_between_calls():
    kernel, before = lanes(lambda x: x.astype(jnp.float64)), jax.config.jax_explicit_x64_dtypes
    x = np.ones(3, np.float32)
    try:
        for setting, dtype in (("warn", np.float32), ("allow", np.float64), ("warn", np.float32)):
            jax.config.update("jax_explicit_x64_dtypes", setting)
            with jax.enable_x64(False):
                assert kernel(x).dtype == dtype
    finally:
        jax.config.update("jax_explicit_x64_dtypes", before)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64, jnp.complex128, jnp.int4])
def test_types_that_no_kernel_holds_are_named(dtype):
    x = jnp.ones(3, dtype)
    with pytest.raises(LoweringError, match=rf"holds float64, float32, .* argument 1\['b'\] is {x.dtype}"):
        lanes(lambda a, b: a)(np.ones(3), {"b": x})
    with pytest.raises(LoweringError, match=rf"argument `k\[0\]` is {x.dtype}"):
        lanes(lambda a, *, k: a)(np.ones(3), k=[x])
    one = jnp.ones((), dtype)
    with pytest.raises(LoweringError, match=f"captures {x.dtype}"):
        lanes(lambda a: jnp.where(one == one, a, 0.0))(np.ones(3))
    with pytest.raises(LoweringError, match=rf"this gives {x.dtype} .*test_lane_calls\.py"):
        lanes(lambda a: a.astype(dtype))(np.ones(3))


# ------------------------------------------------------------------------------------------- what is kept between calls


@jax.tree_util.register_pytree_node_class
class Labelled:
    def __init__(self, value, label):
        self.value, self.label = value, label

    def tree_flatten(self):
        return (self.value,), self.label

    @classmethod
    def tree_unflatten(cls, label, children):
        return cls(children[0], label)


@pytest.mark.parametrize(
    "labels",
    [
        (1, True, 1.0),
        (0, False, 0.0, -0.0),
        (("a", 1), ("a", True)),
        (frozenset([1]), frozenset([True])),
        (np.float32(1), np.float64(1)),
        (complex(0.0, 0.0), complex(0.0, -0.0)),
    ],
)
def test_equal_static_parts_of_other_types_are_other_programs(labels):
    seen = []

    def fn(labelled):
        seen.append(repr(labelled.label))
        return labelled.value * 2.0

    kernel = lanes(fn)
    for label in labels * 2:
        kernel(Labelled(np.ones(3), label))
    assert seen == [repr(label) for label in labels]  # each traced once, as what it is


def test_static_parts_without_a_hash():
    kernel = lanes(lambda labelled: labelled.value * labelled.label["factor"])
    for factor in (2.0, 3.0):
        np.testing.assert_array_equal(kernel(Labelled(np.ones(3), {"factor": factor})), 3 * [factor])


def test_the_precision_jax_is_set_to_is_part_of_a_program():
    kernel, mapped = (transform(lambda i: i.astype(float)) for transform in (lanes, jax.vmap))
    i = np.arange(4, dtype=np.int32)
    for x64 in (True, False, True):
        with jax.enable_x64(x64):
            assert kernel(i).dtype == mapped(i).dtype == (np.float64 if x64 else np.float32)


def test_captured_values_are_converted_once():
    traced = []
    scale, table = jnp.asarray(2.0), jnp.arange(3.0)

    def fn(x):
        traced.append(x)
        return x * scale + read(table, np.int32(2))

    kernel = lanes(fn)
    for _ in range(3):
        np.testing.assert_array_equal(kernel(np.ones(3)), [4.0, 4.0, 4.0])
    assert len(traced) == 1


def test_values_captured_from_a_trace_around_it_are_not_kept():
    """Of two traces each has its own captured value, though both call the same kernel with equal arguments."""
    held = []
    kernel = lanes(lambda x: x * held[-1])

    @jax.jit
    def outer(x, scale, other):
        held[:] = [scale]
        return kernel(x) + other

    np.testing.assert_array_equal(outer(np.ones(3), 2.0, 0.0), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(outer(np.ones(3), 5.0, np.float32(0.0).astype(float)), [5.0, 5.0, 5.0])
    np.testing.assert_array_equal(outer(jnp.ones(3), 7.0, jnp.zeros(3)), [7.0, 7.0, 7.0])


def test_no_more_programs_are_kept_than_said(monkeypatch):
    monkeypatch.setattr(batching, "_PROGRAMS_KEPT", 2)
    traced = []

    def fn(labelled):
        traced.append(labelled.label)
        return labelled.value

    kernel = lanes(fn)
    for label in (1, 2, 3, 3, 2, 1):
        kernel(Labelled(np.ones(3), label))
    assert traced == [1, 2, 3, 1]


# ------------------------------------------------------------------------------------------- shapes and arguments


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("count", [0, 5])
def test_nothing_is_a_number_of_lanes_and_of_rows(rows, count):
    def fn(x, t, s):
        return x * read(t, np.int32(1)) + s, full_like(t, s)

    args = np.ones((rows, count)), np.ones((4, rows)), np.ones(rows)
    for axes in ((0, 1, 0), (0, None, 0), (0, None, None)):
        given = [a if axis is not None else np.ones(a.shape[:-1]) for a, axis in zip(args, axes, strict=True)]
        found = jax.vmap(lanes(fn, in_axes=(0, None, None)), in_axes=axes)(*given)
        expected = jax.vmap(jax.vmap(fn, in_axes=(0, None, None)), in_axes=axes)(*given)
        assert _types(found) == _types(expected)
        for p, q in zip(found, expected, strict=True):
            np.testing.assert_array_equal(p, q)
    across = jax.vmap(lanes(lambda x: x + 1.0), in_axes=1)(args[0])
    np.testing.assert_array_equal(across, args[0].T + 1.0)


def test_keyword_arguments_are_each_lanes_own():
    def fn(x, table, *, y, t):
        return x * y + read(table, np.int32(0)) * read(t, np.int32(1))

    x, table = np.arange(3.0), np.arange(2.0) + 1.0
    named = {"y": x + 2.0, "t": np.ones((3, 2))}
    found = lanes(fn, in_axes=(0, None))(x, table, **named)
    np.testing.assert_array_equal(found, jax.vmap(fn, in_axes=(0, None))(x, table, **named))


@pytest.mark.parametrize("width", [0, -1, 2.5, True, "8", 1025])
def test_a_width_is_a_number_of_lanes(width):
    with pytest.raises(ValueError, match="`width` must be a whole number from 1 to 1024, or None, but got"):
        lanes(lambda x: x, width=width)


@pytest.mark.parametrize("axes", [1, -1, True, "a", 0.0, (0, 1), ({"p": 2},)])
def test_axes_are_0_or_none_from_the_start(axes):
    with pytest.raises(ValueError, match=r"`in_axes` must hold 0 or None .* first axis"):
        lanes(lambda x: x, in_axes=axes)


def test_axes_that_do_not_fit_the_arguments():
    with pytest.raises(ValueError, match=r"one entry for each positional argument, but got \(0, None\) for 1 of them"):
        lanes(lambda x: x, in_axes=(0, None))(np.ones(3))
    with pytest.raises(ValueError, match=r"`in_axes` must be 0 or None .* but got \(\{'p': 0\},\)"):
        lanes(lambda x: x, in_axes=({"p": 0},))(np.ones(3))


def test_reports_check_their_arguments_and_trace_once():
    traced = []

    def fn(x, y):
        traced.append(x)
        return x + y

    kernel = lanes(fn)
    with pytest.raises(ValueError, match="agree on the number of lanes, but got 3, 4"):
        kernel.report(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="argument 0 is a scalar without a lane axis"):
        kernel.report(1.0, np.ones(4))
    kernel(np.ones(3), np.ones(3))
    assert kernel.report(np.ones(3), y=np.ones(3)).equations == 1
    assert kernel.report(np.ones(3), np.ones(3)).width == cpu.host().width(np.dtype(np.float64))
    assert len(traced) == 2  # by position and by name


# ------------------------------------------------------------------------------------------- JAX's aids for debugging


def test_without_jit():
    kernel = lanes(lambda x: lax.while_loop(lambda c: c < 3.0, lambda c: c * 1.5 + 1.0, x))
    x = np.linspace(0.0, 1.0, 5)
    with jax.disable_jit():
        found = kernel(x)
    np.testing.assert_array_equal(found, kernel(x))


@pytest.mark.parametrize("around", [lambda f: f, jax.jit])
def test_what_is_not_finite_is_found(around):
    def logs(x):
        return jnp.log(x), x

    kernel = around(lanes(logs))
    with jax.debug_nans(True), jax.debug_infs(True):
        np.testing.assert_allclose(kernel(np.array([2.0, 3.0]))[0], np.log([2.0, 3.0]), rtol=1e-15)
        with pytest.raises(FloatingPointError, match=r"\(nan\) encountered in the kernel of `logs`"):
            kernel(np.array([2.0, -1.0]))
        with pytest.raises(FloatingPointError, match=r"\(inf\) encountered in the kernel of `logs`"):
            kernel(np.array([2.0, 0.0]))


# ------------------------------------------------------------------------------------------- derivatives


def test_a_derivative_that_nobody_asks_for(rng):
    kernel = lanes(lambda x, n: (jnp.sin(x), n + 1))
    x, n = rng.uniform(size=(2, 4)), np.arange(4, dtype=np.int32)

    def behind(x):
        value, count = kernel(x, n)
        return (x * lax.stop_gradient(value) * count.astype(float)).sum()

    for row in x:
        np.testing.assert_allclose(jax.grad(behind)(row), np.sin(row) * (n + 1), rtol=1e-15)
        np.testing.assert_allclose(jax.jit(jax.grad(behind))(row), np.sin(row) * (n + 1), rtol=1e-15)
    np.testing.assert_allclose(jax.vmap(jax.grad(behind))(x), np.sin(x) * (n + 1), rtol=1e-15)
    ahead = jax.jvp(lambda x: x * kernel(lax.stop_gradient(x), n)[0], (x[0],), (np.ones(4),))[1]
    np.testing.assert_allclose(ahead, np.sin(x[0]), rtol=1e-15)


@pytest.mark.parametrize("ask", [jax.grad, jax.jacfwd, jax.jacrev, jax.hessian, lambda f: jax.jit(jax.grad(f))])
def test_a_derivative_that_is_not_there(ask):
    kernel = lanes(jnp.sin)
    with pytest.raises(TypeError, match=r"kernel of `sin` has no derivative of its own.*custom_jvp.*stop_gradient"):
        ask(lambda x: (x * kernel(x)).sum())(np.ones(3))
