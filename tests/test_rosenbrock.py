"""Steinebach's method: coefficients, order, stability, dense output."""

import jax.numpy as jnp
import numpy as np
import pytest
from rooted_trees import rooted_trees

from vht.solve.rosenbrock import ARGUMENTS, DENSE, GAMMA, NODES, ORDER, STAGES, TIME, classical, dense
from vht.solve.sums import combine

# sums of numbers up to 150, as the coefficients are
ROUNDING = 5e-13


def _scalars(*numbers):
    return [jnp.asarray(number) for number in numbers]


def _weight(tree):
    """The stages' elementary weights, the number of nodes and the density of a tree.

    Hairer, Wanner, Solving Ordinary Differential Equations II, IV.7, theorem 7.4: along the edges above a node with one
    edge stands beta = alpha + gamma (with gamma's diagonal, so that the conditions keep their right-hand sides), above a
    node with more edges alpha.
    """
    alpha, gamma, _, _ = classical()
    matrix = alpha + gamma if len(tree) == 1 else alpha
    stages, nodes, density = np.ones(STAGES), 1, 1
    for subtree in tree:
        weights, more, factor = _weight(subtree)
        stages, nodes, density = stages * (matrix @ weights), nodes + more, density * factor
    return stages, nodes, density * nodes


def test_nodes_and_weights_of_time_are_the_rows_sums():
    # what makes the step of a system that depends on time that of the system with time as one more state (HW II, IV.7)
    alpha, gamma, _, _ = classical()
    np.testing.assert_allclose(alpha.sum(axis=1), NODES, rtol=0.0, atol=ROUNDING)
    np.testing.assert_allclose(gamma.sum(axis=1), TIME, rtol=0.0, atol=ROUNDING)
    np.testing.assert_allclose(np.diag(gamma), GAMMA, rtol=1e-14)


@pytest.mark.parametrize("order", range(1, ORDER + 1))
def test_order_conditions_of_every_tree(order):
    _, gamma, b, e = classical()
    theta = np.array([0.05, 0.3, 0.5, 0.77, 1.0])
    inside = np.array([np.asarray(row) @ gamma for row in DENSE])
    found = [
        [dense(jnp.asarray(t), jnp.asarray(0.0), *_scalars(b[i]), _scalars(*inside[:, i])) for i in range(STAGES)]
        for t in theta
    ]
    assert len(rooted_trees(order)) == [1, 1, 2, 4, 9][order - 1]
    for tree in rooted_trees(order):
        stages, nodes, density = _weight(tree)
        assert nodes == order
        assert b @ stages == pytest.approx(1 / density, abs=ROUNDING)
        if order < ORDER:
            assert e @ stages == pytest.approx(0.0, abs=ROUNDING)
            np.testing.assert_allclose(np.array(found) @ stages, theta**order / density, rtol=0.0, atol=ROUNDING)


def test_the_embedded_solution_is_of_order_four_alone():
    e = classical()[3]
    assert max(abs(e @ _weight(tree)[0]) for tree in rooted_trees(ORDER)) > 1e-4


def _stability(z):
    alpha, gamma, b, e = classical()
    solved = np.linalg.solve(np.eye(STAGES) - z * (alpha + gamma), np.ones(STAGES))
    return 1.0 + z * (b @ solved), 1.0 + z * ((b - e) @ solved)


def test_a_stable_step_and_its_estimate_die_out_at_infinity():
    alpha, gamma, b, _ = classical()
    # the last stage's argument is the solution's: what an algebraic equation asks for holds at the end of a step
    np.testing.assert_allclose((alpha + gamma)[-1], b, rtol=0.0, atol=ROUNDING)
    assert alpha[-1].sum() == pytest.approx(1.0, abs=ROUNDING)
    for where in (-1e9, -1e6 + 1e6j, 1e9j):
        np.testing.assert_allclose(_stability(where), 0.0, atol=1e-3)
    # no larger than 1 on the imaginary axis, and no pole to the left of it: nowhere there larger than 1
    assert max(abs(_stability(1j * y)[0]) for y in np.geomspace(1e-2, 1e6, 400)) <= 1.0 + 1e-12
    assert GAMMA > 0.0
    assert _stability(-0.1)[0] == pytest.approx(np.exp(-0.1), abs=1e-9)


def test_dense_output_meets_both_ends():
    begin, end, others = jnp.asarray(0.3), jnp.asarray(-1.7), _scalars(5.0, 7.0, -9.0)
    np.testing.assert_array_equal(dense(jnp.asarray(0.0), begin, end, others), begin)
    np.testing.assert_array_equal(dense(jnp.asarray(1.0), begin, end, others), end)


def test_sums_of_stages():
    stages = [jnp.asarray(2.0), jnp.asarray(3.0), jnp.asarray(5.0), jnp.asarray(7.0)]
    assert combine((0.5, 1.0), stages) == 4.0
    assert combine((0.5, 1.0), stages, jnp.asarray(1.0)) == 5.0
    # the last three arguments are each the one before and its stage
    assert ARGUMENTS[6] == (*ARGUMENTS[5], 1.0) and ARGUMENTS[7] == (*ARGUMENTS[6], 1.0)
