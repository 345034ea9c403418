"""Loops inside lanes that carry many values: what a lane carries stays as it was when the lane left."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree
from jax import lax
from vht_kernels import full_like, lanes, read, write
from vht_kernels.loops import MANY

LANES = 37
# carried besides the counter; with as many as the first, lanes choose between old and new values in each turn
FEW, PLENTY = MANY - 2, MANY + 3


def turned(values):
    return tuple(1.1 * jnp.sin(v) + k for k, v in enumerate(values))


@pytest.fixture
def x(rng):
    return rng.normal(size=LANES)


@pytest.fixture
def turns(rng):
    """None at all, as many in a whole vector, and all kinds side by side."""
    counts = rng.integers(0, 9, LANES).astype(np.int32)
    counts[16:24] = 5
    counts[24:32] = 0
    return counts


@pytest.mark.parametrize("carried", [FEW, PLENTY])
def test_lanes_leave_one_by_one(carried, x, turns):
    def fn(x, turns):
        start = (np.int32(0), *(x + k for k in range(carried)))
        return lax.while_loop(lambda c: c[0] < turns, lambda c: (c[0] + 1, *turned(c[1:])), start)

    agree(fn, x, turns)
    agree(fn, x, np.zeros_like(turns))


@pytest.mark.parametrize("carried", [FEW, PLENTY])
def test_what_a_lane_goes_on_with_after_it_has_left_does_not_matter(carried, turns):
    """Divided by zero, out of the table, and for ever if it were asked."""

    def fn(x, turns):
        def inside(c):
            left = turns - c[0]
            nested = lax.while_loop(lambda n: n[0] != left, lambda n: (n[0] + 1, n[1] + x), (np.int32(0), 0.0))
            return c[0] + 1, *(1.0 / left.astype(np.float64) + nested[1] + v for v in c[1:])

        return lax.while_loop(lambda c: c[0] < turns, inside, (np.int32(0), *(x + k for k in range(carried))))

    x = np.linspace(-1.0, 1.0, LANES)
    agree(fn, x, turns)
    assert all(np.isfinite(part).all() for part in lanes(fn)(x, turns))


@pytest.mark.parametrize("carried", [FEW, PLENTY])
def test_nor_to_loops_and_branches_of_the_condition(carried, turns):
    """Those of a lane whose values double until they are infinite would never end, or 2^32 turns later."""

    def fn(x, turns):
        def halvings(c):
            return lax.while_loop(lambda s: s[0] > 1.0, lambda s: (0.5 * s[0], s[1] + 1), (c[1], np.int32(0)))[1]

        def wanted(c):
            left = lax.while_loop(lambda n: n != turns - c[0], lambda n: n + 1, np.int32(0))
            return (left > 0) & lax.cond(c[0] > 3, lambda: jnp.cos(1e9 * c[1]) < 2.0, lambda: halvings(c) < 2000)

        start = (np.int32(0), *(x * (k + 1.0) for k in range(carried)))
        return lax.while_loop(wanted, lambda c: (c[0] + 1, *(2.0 * v for v in c[1:])), start)

    # one lane stays until values of the others are infinite
    turns = np.where(np.arange(LANES) == 3, np.int32(1100), turns)
    x = np.where(np.arange(LANES) == 3, 1e-200, np.linspace(1.0, 2.0, LANES))
    agree(fn, x, turns)


@pytest.mark.parametrize("carried", [FEW, PLENTY])
def test_inside_a_branch_and_another_loop(carried, x, turns):
    def fn(x, turns):
        def inner(values, count):
            start = (np.int32(0), *values)
            return lax.while_loop(lambda c: c[0] < count, lambda c: (c[0] + 1, *turned(c[1:])), start)[1:]

        def outer(c):
            values = lax.cond(c[1] > 0.0, lambda v: inner(v, turns - c[0]), lambda v: inner(v, c[0] - 2), c[1:])
            return c[0] + 1, *values

        start = (np.int32(0), *(x + k for k in range(carried)))
        return lax.while_loop(lambda c: c[0] < turns // 2, outer, start)

    agree(fn, x, turns)


@pytest.mark.parametrize("carried", [FEW, PLENTY])
def test_with_tables_with_what_all_lanes_share_and_with_what_does_not_change(carried, x, turns, rng):
    table = rng.normal(size=(LANES, 5))

    def fn(x, turns, table):
        def step(c):
            count, shared, own, values, held = c
            own = write(own, count, values[0] + shared)
            return count + 1, shared + 0.5, own, turned(values), held

        start = np.int32(0), 0.25, full_like(table, x), tuple(x + k for k in range(carried)), read(table, np.int32(1))
        return lax.while_loop(lambda c: c[0] < turns, step, start)

    agree(fn, x, turns, table)


def test_neighbours_do_not_matter(x, turns):
    def fn(x, turns):
        start = (np.int32(0), *(x + k for k in range(PLENTY)))
        return lax.while_loop(lambda c: c[0] < turns, lambda c: (c[0] + 1, *turned(c[1:])), start)

    kernel = lanes(fn)
    together = np.stack(kernel(x, turns))
    for i in range(0, LANES, 5):
        np.testing.assert_array_equal(np.stack(kernel(x[i : i + 1], turns[i : i + 1]))[:, 0], together[:, i])
