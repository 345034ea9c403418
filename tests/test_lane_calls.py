"""Calls of lanes functions: subnormal numbers, constants, large programs, types, what is kept between calls, and errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from vht_kernels import lanes

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


@pytest.mark.parametrize("seed", [0, 1, 2, 22])
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
