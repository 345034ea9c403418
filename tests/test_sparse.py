"""Sparse Jacobians against JAX's own, sparse elimination against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from vht.solve.elimination import Elimination, StructurallySingular
from vht.solve.sparse import jacobian

# ------------------------------------------------------------------------------------------------------------ Jacobians


@jax.custom_jvp
def ramp(x, k):
    """Its derivative is a rule of its own, and not what its equations have."""
    return jnp.where(x > 0.0, k * x, 0.0)


ramp.defjvp(lambda p, dots: (ramp(*p), 0.25 * dots[0] * p[1] + dots[1]))


def looped(x, y):
    return lax.fori_loop(0, 3, lambda i, v: v * x + y, x)


def waited(x, y):
    return lax.while_loop(lambda c: c[1] < 9.0, lambda c: (c[0] * x, c[1] + abs(y) + 1.0), (y, x))


FUNCTIONS = {
    "nothing moves": lambda x, y: (1.0 + 0.0 * 2.0, y - y),
    "the arguments themselves": lambda x, y: (y, x),
    "the same twice": lambda x, y: (x * x * y + x, (x + y) * (x + y)),
    "powers": lambda x, y: (x**3 + x**-2, jnp.abs(x) ** y),
    "two arguments": lambda x, y: (jnp.arctan2(x, y) / y, jnp.maximum(x, 2.0 * y) - x / y),
    "ties": lambda x, y: (jnp.maximum(x, x + 0.0 * y), jnp.minimum(y, y)),
    "clamps": lambda x, y: (jnp.clip(x, y, 5.0), lax.clamp(0.0, x, y)),
    "roundings": lambda x, y: (x - jnp.floor(x) + jnp.sign(y), jnp.mod(x, y) + lax.stop_gradient(x) * y),
    "where": lambda x, y: (jnp.where(x > y, x * y, y), jnp.where(y > 0.0, y * y, 1.0)),
    "where the other is no number": lambda x, y: (jnp.where(x < 100.0, x, jnp.sqrt(x - 100.0)), x / y),
    "three cases": lambda x, y: (lax.select_n((x > 0.0).astype(jnp.int32) * 2, x, y, x * y), y),
    "cond": lambda x, y: lax.cond(x > 0.0, lambda: (x * y, y), lambda: (y * y, x)),
    "switch": lambda x, y: (lax.switch(x.astype(jnp.int32), [lambda: x, lambda: y, lambda: x * y]), y),
    "a loop": lambda x, y: (looped(x, y), y),
    "a loop by condition": waited,
    "a scan": lambda x, y: (lax.scan(lambda c, _: (c * x, None), y, None, length=3)[0], x),
    "a rule of its own": lambda x, y: (ramp(x, y) * y, ramp(y, jnp.asarray(2.0))),
    "a rule of its own for what stays": lambda x, y: (ramp(jnp.asarray(1.0), jnp.asarray(3.0)) * y, x),
    "calls": lambda x, y: (jax.jit(lambda a: jax.checkpoint(jnp.sin)(a) * y)(x), jax.nn.softplus(x) + jax.nn.relu(y)),
    "arrays inside": lambda x, y: (jnp.polyval(jnp.array([1.0, 2.0, 3.0]), x), jnp.stack([x, y]) @ jnp.array([1.0, x])),
    "less precise inside": lambda x, y: (x.astype(jnp.float32).astype(jnp.float64) * y, y),
}


def _both(function, where):
    """Values and Jacobian, ours and JAX's, and where ours has entries; compiled at once, as that takes less time."""
    rows, keys = [], []

    def stacked(z):
        return jnp.stack([jnp.asarray(v) for v in function(*z)])

    @jax.jit
    def run(z):
        values, entries = jacobian(lambda *z: tuple(map(jnp.asarray, function(*z))), list(z))
        rows.append(len(values))
        keys.extend(entries)
        return (values, list(entries.values())), (stacked(z), jax.jacfwd(stacked)(z))

    found = []
    for point in where:
        (values, slopes), (expected, jacobian_expected) = run(jnp.asarray(point))
        dense = np.zeros((rows[0], len(point)))
        for key, slope in zip(keys, slopes, strict=True):
            dense[key] = slope
        found.append((values, dense, expected, jacobian_expected))
    return found, keys


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_are_those_of_jax(name):
    found, _ = _both(FUNCTIONS[name], [(1.3, 0.7), (-0.4, 2.2)])
    for values, slopes, expected, slopes_expected in found:
        np.testing.assert_allclose(values, expected, rtol=1e-14)
        np.testing.assert_allclose(slopes, slopes_expected, rtol=1e-14, atol=1e-15)


def test_what_is_zero_by_structure_is_not_there():
    def function(x, y, z):
        return (
            x * z + 3.0,
            jnp.exp(lax.cond(y > 0.0, lambda: y, lambda: 2.0 * y)),
            x - x.astype(jnp.int32) * 1.0,
            z * 0 + 1,
        )

    with jax.numpy_dtype_promotion("standard"):
        _, entries = jacobian(function, [jnp.asarray(v) for v in (1.5, 0.2, 3.0)])
    assert sorted(entries) == [(0, 0), (0, 2), (1, 1), (2, 0), (3, 2)]


def test_float32_stays_float32():
    args = [jnp.asarray(v, np.float32) for v in (1.5, 0.2)]
    values, entries = jacobian(lambda x, y: (x * y + x, lax.cond(x > y, lambda: x, lambda: y)), args)
    assert {v.dtype for v in (*values, *entries.values())} == {np.dtype(np.float32)}


def test_under_transformations():
    @jax.jit
    @jax.vmap
    def slopes(x, y):
        return jacobian(lambda x, y: (x * jnp.sin(y), y), [x, y])[1]

    x, y = jnp.array([1.0, 2.0]), jnp.array([0.3, 0.4])
    found = slopes(x, y)
    np.testing.assert_allclose(found[0, 0], jnp.sin(y))
    np.testing.assert_allclose(found[0, 1], x * jnp.cos(y))


_LEAVES = st.sampled_from(["x", "y", "z"]) | st.floats(-2.0, 2.0).map(lambda v: round(v, 2))
_ONE = {"sin": jnp.sin, "neg": lambda a: -a, "tanh": jnp.tanh, "soft": jax.nn.softplus, "abs": jnp.abs}
_TWO = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (2.5 + jnp.sin(b)),
    "max": jnp.maximum,
    "where": lambda a, b: jnp.where(a > b, a, b * b),
    "cond": lambda a, b: lax.cond(a > b, lambda a, b: a * b, lambda a, b: b, a, b),
}
_EXPRESSIONS = st.recursive(
    _LEAVES,
    lambda inner: st.tuples(st.sampled_from(list(_ONE)), inner) | st.tuples(st.sampled_from(list(_TWO)), inner, inner),
    max_leaves=6,
)


def _evaluate(expression, names):
    if isinstance(expression, str):
        return names[expression]
    if isinstance(expression, float):
        return jnp.asarray(expression)
    name, *operands = expression
    return {**_ONE, **_TWO}[name](*(_evaluate(e, names) for e in operands))


def _names(expression):
    if isinstance(expression, str):
        return {expression}
    return set().union(*map(_names, expression[1:])) if isinstance(expression, tuple) else set()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.tuples(_EXPRESSIONS, _EXPRESSIONS), st.tuples(*[st.floats(-2.0, 2.0)] * 3))
def test_jacobians_of_random_functions(expressions, where):
    def function(*xyz):
        return tuple(_evaluate(e, dict(zip("xyz", xyz, strict=True))) for e in expressions)

    [(values, slopes, expected, slopes_expected)], keys = _both(function, [where])
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slopes, slopes_expected, rtol=1e-12, atol=1e-12)
    for i, expression in enumerate(expressions):
        assert {"xyz"[j] for r, j in keys if r == i} <= _names(expression)


# ---------------------------------------------------------------------------------------------------------- elimination


def _solved(matrix, right):
    """The solution by our elimination of the entries that are not 0, and whether all pivots were sound."""
    entries = {(i, j): jnp.asarray(v) for (i, j), v in np.ndenumerate(matrix) if v != 0.0}
    factors = Elimination(frozenset(entries), len(matrix)).factor(entries)
    return np.array(factors.solve([jnp.asarray(v) for v in right])), bool(factors.regular)


@pytest.mark.parametrize("size", [2, 5, 9])
@pytest.mark.parametrize("diagonal", ["full", "holes", "empty"])
def test_random_patterns(size, diagonal):
    rng = np.random.default_rng(size)
    for _ in range(6):
        matrix = np.where(rng.uniform(size=(size, size)) < 0.3, rng.normal(size=(size, size)), 0.0)
        # a cycle of large entries makes the matrix regular whatever else stands in it
        shift = {"full": 0, "holes": rng.integers(0, 2), "empty": 1}[diagonal]
        rows = rng.permutation(size) if diagonal == "holes" else np.arange(size)
        matrix[rows, np.roll(np.arange(size), shift)] += 3.0 * rng.choice([-1.0, 1.0], size)
        if diagonal == "empty":
            np.fill_diagonal(matrix, 0.0)
        right = rng.normal(size=size)
        found, regular = _solved(matrix, right)
        assert regular
        # without a choice of pivots by size the digits that growth takes are lost
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)


def test_fill_is_that_of_a_good_order():
    # an arrow whose head comes first: eliminated in the order given it fills up, from the other end not at all
    n = 12
    pattern = {(0, j) for j in range(n)} | {(i, 0) for i in range(n)} | {(i, i) for i in range(n)}
    entries = {key: jnp.asarray(4.0 * n if key[0] == key[1] else 1.0) for key in pattern}
    factors = Elimination(frozenset(pattern), n).factor(entries)
    assert len(factors.lower) == n - 1
    assert sum(len(across) for *_, across in factors.upper) == n - 1


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [
        ({(0, 0), (1, 0), (2, 2)}, {1}),
        ({(0, 0), (1, 0), (1, 1), (0, 1), (2, 1), (2, 0)}, {2}),
        ({(0, 0), (0, 1), (0, 2), (1, 1)}, {0, 2}),
        (set(), {0, 1, 2}),
    ],
)
def test_patterns_without_pivots_are_refused_by_column(pattern, columns):
    with pytest.raises(StructurallySingular, match="have no pivot") as caught:
        _ = Elimination(frozenset(pattern), 3).pivots
    # which of several columns that want one row goes without is open
    assert set(caught.value.columns) <= columns and caught.value.columns


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 2.0], [2.0, 4.0]],
        [[1.0, 3.0], [0.1, 0.3]],
        [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]],
    ],
)
def test_pivots_lost_to_cancellation_are_told(matrix):
    assert not _solved(np.array(matrix), np.ones(len(matrix)))[1]


@pytest.mark.parametrize("where", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_called_singular_and_solves_to_none(where, what):
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    matrix[where] = what
    found, regular = _solved(matrix, np.ones(2))
    assert regular and not np.isfinite(found).all()


def test_a_pivot_that_is_zero_by_its_number_alone_is_told():
    entries = {(0, 0): jnp.asarray(0.0), (0, 1): jnp.asarray(1.0), (1, 0): jnp.asarray(1.0), (1, 1): jnp.asarray(0.0)}
    assert not Elimination(frozenset(entries), 2).factor(entries).regular


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_small_but_sound_pivots_pass(scale):
    found, regular = _solved(scale * np.array([[1e-12, 1.0], [1.0, 1e-12]]), np.array([scale, 2.0 * scale]))
    assert regular
    np.testing.assert_allclose(found, [2.0, 1.0], rtol=1e-3)
