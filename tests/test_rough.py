"""Rough functions and the controller on them, against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vht_kernels import lanes

from vht.solve import controller, rough

NUMBERS = np.concatenate([np.logspace(-37, 37, 20011), np.exp2(np.linspace(-2.0, 2.0, 20011))])


def test_logarithm():
    x = NUMBERS.astype(np.float32)
    found = np.asarray(jax.vmap(rough.log2)(x))
    assert abs(found - np.log2(x.astype(np.float64))).max() < 0.008
    assert (np.diff(found[np.argsort(x)]) >= 0.0).all()
    powers = np.exp2(np.arange(-126, 128)).astype(np.float32)
    np.testing.assert_array_equal(jax.vmap(rough.log2)(powers), np.arange(-126, 128))


def test_power():
    x = np.linspace(-125.0, 125.0, 100_003).astype(np.float32)
    found = np.asarray(jax.vmap(rough.exp2)(x), np.float64)
    assert abs(found / np.exp2(x.astype(np.float64)) - 1.0).max() < 0.002


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reciprocal(dtype):
    x = NUMBERS.astype(dtype) if dtype == "float32" else np.concatenate([NUMBERS, np.logspace(-307, 307, 20011)])
    found = np.asarray(jax.vmap(rough.reciprocal)(x))
    assert found.dtype == dtype
    assert abs(found.astype(np.float64) * x - 1.0).max() < 0.003
    zero, infinite, nan = np.asarray(jax.vmap(rough.reciprocal)(np.array([0.0, np.inf, np.nan], dtype)))
    assert zero > 0.4 * np.finfo(dtype).max and np.isinf(infinite) and np.isnan(nan)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mean_square(dtype):
    rng = np.random.default_rng(1)
    errors, sizes = rng.normal(size=(2, 5, 1000)).astype(dtype)
    sizes = np.exp(4.0 * sizes)
    found = np.asarray(jax.vmap(lambda *row: rough.mean_square(row[:5], row[5:]))(*errors, *sizes))
    np.testing.assert_allclose(found, np.mean((errors / sizes).astype(np.float64) ** 2, axis=0), rtol=0.006)
    for bad in (np.inf, np.nan):
        for error, size in ((bad, 1.0), (1.0, bad), (0.0, bad)):
            one = jnp.ones((), dtype)
            found = rough.mean_square((one, jnp.asarray(error, dtype)), (one, jnp.asarray(size, dtype)))
            assert not np.isfinite(found)


def test_lanes_find_the_same():
    def all_of_them(x):
        y = x.astype(jnp.float32)
        return rough.log2(y), rough.exp2(rough.log2(y)), rough.reciprocal(x), rough.reciprocal(y)

    x = np.exp2(np.linspace(-100.0, 100.0, 4099))
    with jax.default_device(jax.devices("cpu")[0]):
        for mine, theirs in zip(lanes(all_of_them)(x), jax.jit(jax.vmap(all_of_them))(x), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize("gains", [controller.EXPLICIT, controller.STIFF])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_step_proposed_is_that_of_the_formula(order, gains, dtype):
    square = np.logspace(-12, 12, 1001).astype(dtype)
    before = np.linspace(-26.0, 0.0, 1001).astype(np.float32)
    yes = np.ones(1001, bool)
    found, kept = jax.vmap(lambda *args: controller.propose(*args, order, gains))(square, yes, square <= 1.0, before)
    # with the error e = sqrt(square): 0.9 e^(-now/k) e_before^(before/k), within the bounds; if accepted, 0.95 at least
    exact = 0.9 * square.astype(np.float64) ** (-0.5 * gains.now / order)
    exact *= np.exp2(before.astype(np.float64) * 0.5 * gains.before / order)
    np.testing.assert_allclose(found, np.clip(exact, np.where(square <= 1.0, 0.95, 0.2), 10.0), rtol=3e-3)
    wanted = np.where(square <= 1.0, np.clip(np.log2(square.astype(np.float64)), -26.0, 0.0), before)
    np.testing.assert_allclose(kept, wanted, atol=0.008)
    assert found.dtype == np.float64


def test_no_error_and_one_that_is_no_number():
    squares = jnp.asarray([0.0, 1e-300, 1e300, np.inf, np.nan])
    finite = squares < jnp.inf
    factors, kept = jax.vmap(lambda *args: controller.propose(*args, 5, controller.EXPLICIT))(
        squares, finite, squares <= 1.0, jnp.full(5, -3.0, np.float32)
    )
    np.testing.assert_allclose(factors, [10.0, 10.0, 0.2, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(kept, [-26.0, -26.0, -3.0, -3.0, -3.0])
