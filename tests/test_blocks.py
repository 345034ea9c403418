"""Linear algebra in blocks: NumPy's numbers, whatever the number of matrices, derivatives, and no waiting for ever."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vht.solve import blocks
from vht.solve.largest import largest


@pytest.mark.parametrize("twins", [0, 44, 100])
@pytest.mark.parametrize("n", [1, 15, 60])
def test_numbers_are_numpy_s(rng, twins, n):
    a, right = (
        jnp.asarray(rng.normal(size=(twins, n, n)) + 3.0 * np.eye(n)),
        jnp.asarray(rng.normal(size=(twins, n, 2))),
    )
    near = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(jax.jit(blocks.solve)(a, right), np.linalg.solve(a, right), **near)
    np.testing.assert_allclose(blocks.inverse(a), np.linalg.inv(a), **near)
    wide = a[:, : max(1, n - 2)]
    np.testing.assert_allclose(blocks.singular_values(wide), np.linalg.svd(wide, compute_uv=False), **near)
    factor = np.asarray(blocks.right_factor(wide))
    assert factor.shape == (twins, n, n)
    # rows beyond the matrix's span what it takes to nothing
    np.testing.assert_allclose(np.einsum("tij,tkj->tik", wide, factor[:, wide.shape[1] :]), 0.0, atol=1e-11)
    found, expected = np.asarray(blocks.eigenvalues(a)), np.linalg.eigvals(a)
    for row, other in zip(found, expected, strict=True):
        assert max(np.abs(other - value).min() for value in row) < 1e-8
        assert max(np.abs(row - value).min() for value in other) < 1e-8


def test_a_matrix_does_not_feel_the_others(rng):
    a, right = rng.normal(size=(300, 12, 12)), jnp.asarray(rng.normal(size=(300, 12, 1)))
    spoilt = a.copy()
    spoilt[::3] = np.nan
    spoilt[1::3] *= 1e300
    kept = np.arange(300) % 3 == 2
    for function, args in ((blocks.solve, (right,)), (blocks.inverse, ()), (blocks.singular_values, ())):
        found, expected = (function(jnp.asarray(stack), *args) for stack in (spoilt, a))
        np.testing.assert_array_equal(found[kept], expected[kept])


def test_solutions_have_derivatives(rng):
    a, da = jnp.asarray(rng.normal(size=(100, 12, 12)) + 5.0 * np.eye(12)), jnp.asarray(rng.normal(size=(100, 12, 12)))
    right = jnp.asarray(rng.normal(size=(100, 12, 1)))
    x, dx = jax.jvp(lambda a: blocks.solve(a, right), (a,), (da,))
    np.testing.assert_allclose(dx, -np.linalg.solve(a, da @ np.asarray(x)), rtol=1e-9, atol=1e-10)
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(blocks.solve(a, right))))(a)
    np.testing.assert_allclose(np.sum(gradient * da), np.sum(dx), rtol=1e-9)


SCRIPT = """
import os
import jax
import numpy as np
from vht.solve import blocks

jax.config.update("jax_enable_x64", True)
several = 2 * (os.cpu_count() or 1)
a = np.random.default_rng(0).normal(size=(several, 256, 19, 19)) + 9.0 * np.eye(19)
right = np.ones((256, 19, 1))
solve = jax.jit(lambda a: [blocks.solve(one, right) for one in a])
for _ in range(20):
    found = jax.block_until_ready(solve(tuple(a)))
print(max(float(np.abs(one @ x - right).max()) for one, x in zip(a, found, strict=True)))
"""


def test_many_at_once_do_not_wait_for_each_other():
    """``jnp.linalg.solve`` in its place waits for ever."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert float(done.stdout) < 1e-9


@pytest.mark.parametrize("n", [1, 3, 17, 40])
def test_the_largest_does_not_overlook_nan(rng, n):
    a = rng.normal(size=(64, n, 2))
    a[5], a[6, 0, 1], a[7, n - 1, 0] = np.nan, np.nan, np.nan
    for axis in (0, 1, (1, 2)):
        np.testing.assert_array_equal(jax.jit(lambda a, axis=axis: largest(a, axis))(a), np.max(a, axis=axis))
    np.testing.assert_array_equal(largest(jnp.asarray(a), 1, keepdims=True), np.max(a, axis=1, keepdims=True))
    assert np.isnan(largest(jnp.asarray(a), None)) and largest(jnp.zeros((2, 0)), 1, initial=3.0).tolist() == [3.0, 3.0]
