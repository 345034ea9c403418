"""Tsitouras' method: coefficients, order, dense output."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from rooted_trees import rooted_trees

from vht.solve.steppers import ERROR, NODES, WEIGHTS, tsit5_dense, tsit5_step


def _matrix():
    a = np.zeros((7, 7))
    for i, row in enumerate(WEIGHTS):
        a[i + 1, : len(row)] = row
    return a


def test_coefficients_are_those_diffrax_uses():
    tableau = diffrax.Tsit5().tableau
    np.testing.assert_allclose(NODES[1:], tableau.c, rtol=1e-15)
    for mine, theirs in zip(WEIGHTS, tableau.a_lower, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)
    np.testing.assert_allclose(ERROR, tableau.b_error, rtol=1e-13)


def test_order_conditions_up_to_five():
    # Hairer, Norsett, Wanner I, table II.2.1
    a, b, c = _matrix(), np.array([*WEIGHTS[-1], 0.0]), np.array(NODES)
    np.testing.assert_allclose(a.sum(axis=1), c, atol=1e-14)
    conditions = {
        1.0: b.sum(),
        1 / 2: b @ c,
        1 / 3: b @ c**2,
        1 / 6: b @ a @ c,
        1 / 4: b @ c**3,
        1 / 8: (b * c) @ a @ c,
        1 / 12: b @ a @ c**2,
        1 / 24: b @ a @ a @ c,
        1 / 5: b @ c**4,
        1 / 10: (b * c**2) @ a @ c,
        1 / 20: b @ (a @ c) ** 2,
        1 / 15: (b * c) @ a @ c**2,
        1 / 30: (b * c) @ a @ a @ c,
        1 / 60: b @ a @ a @ c**2,
        1 / 120: b @ a @ a @ a @ c,
    }
    for expected, found in conditions.items():
        assert found == pytest.approx(expected, abs=2e-14)
    assert b @ a @ c**3 == pytest.approx(1 / 20, abs=2e-14)
    embedded = b - np.array(ERROR)
    for k in range(4):
        assert embedded @ c**k == pytest.approx(1 / (k + 1), abs=2e-14)
    assert abs(embedded @ c**4 - 1 / 5) > 1e-4


def _weight(tree):
    """The elementary weights of the stages, the tree's number of nodes and its density (Hairer, Norsett, Wanner I, II.2)."""
    stages, nodes, density = np.ones(7), 1, 1
    for subtree in tree:
        weights, more, factor = _weight(subtree)
        stages, nodes, density = stages * (_matrix() @ weights), nodes + more, density * factor
    return stages, nodes, density * nodes


def test_order_conditions_of_every_tree():
    b, theta = np.array([*WEIGHTS[-1], 0.0]), np.array([0.05, 0.3, 0.5, 0.77, 1.0])
    ones = [tuple(jnp.asarray(float(i == j)) for j in range(7)) for i in range(7)]
    nothing = (jnp.asarray(0.0),) * 7
    dense = np.array([tsit5_dense(jnp.asarray(t), jnp.asarray(1.0), nothing, ones) for t in theta])
    assert [len(rooted_trees(order)) for order in range(1, 6)] == [1, 1, 2, 4, 9]
    for order in range(1, 6):
        for tree in rooted_trees(order):
            stages, nodes, density = _weight(tree)
            assert nodes == order
            assert b @ stages == pytest.approx(1 / density, abs=2e-14)
            if order < 5:
                assert np.array(ERROR) @ stages == pytest.approx(0.0, abs=2e-14)
                np.testing.assert_allclose(dense @ stages, theta**order / density, rtol=0.0, atol=2e-14)


def _rates(x):
    # logistic growth, and a decay that it drives: nonlinear and coupled, with a closed form
    return x[0] * (1.0 - x[0]), x[0] * x[0] - x[1]


def _exact(h):
    # with x0(0) = 1/4: x0 = e^h / (3 + e^h); x1 integrates e^r x0(r)^2 against e^-h
    e = np.exp(h)
    integral = (e - 1.0) - 6.0 * np.log((3.0 + e) / 4.0) - 9.0 / (3.0 + e) + 9.0 / 4.0
    return np.array([e / (3.0 + e), (2.0 + integral) / e])


def _flow(h, theta):
    x = (jnp.asarray(0.25), jnp.asarray(2.0))
    end, error, stages = tsit5_step(lambda _, y: _rates(y), jnp.asarray(h), x, _rates(x))
    inside = tsit5_dense(jnp.asarray(theta), jnp.asarray(h), x, stages)
    return np.array(end), np.array(error), np.array(inside), x, stages


def test_local_errors_have_their_orders():
    sizes = np.array([0.4, 0.2])
    ends, inside, estimates = [], [], []
    for h in sizes:
        end, error, middle, _, _ = _flow(h, 0.4)
        ends.append(np.abs(end - _exact(h)).max())
        inside.append(np.abs(middle - _exact(0.4 * h)).max())
        estimates.append(np.abs(error).max())

    def order(errors):
        return np.log2(errors[0] / errors[1])

    assert order(ends) > 5.7
    assert order(inside) > 4.7
    assert order(estimates) > 4.7


def test_dense_output_meets_both_ends():
    for theta, expected in ((0.0, 3), (1.0, 0)):
        found = _flow(0.3, theta)
        inside = found[2]
        np.testing.assert_allclose(inside, np.array(found[expected], dtype=float), rtol=4e-15)


def test_last_stage_is_the_first_of_the_next_step():
    end, _, _, _, stages = _flow(0.3, 0.5)
    np.testing.assert_array_equal(np.array(stages[-1]), np.array(_rates(end)))
