"""The order in which a GPU's kernel is written: the same results, fewer values that wait."""

import jax
import jax.numpy as jnp
import numpy as np
import test_lane_programs
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend import core as jex
from vht_kernels import full_like, lanes, read, write
from vht_kernels.order import ordered

ENTRIES = 12


def norm(*stages):
    """As a solver's error test is traced: all errors, then all tolerances, then the mean square of their ratios."""
    errors = [0.5 * a - b for a, b in zip(stages[:ENTRIES], stages[ENTRIES:], strict=True)]
    tolerances = [1e-3 + abs(a) for a in stages[:ENTRIES]]
    ratios = [e / t for e, t in zip(errors, tolerances, strict=True)]
    return sum(r * r for r in ratios[1:]) + ratios[0] * ratios[0]


def most_waiting(eqns, results, invariant=()):
    """The largest number of variables that are computed and still to be used, inputs too."""
    last = {v: len(eqns) for v in results}
    for i in reversed(range(len(eqns))):
        for v in eqns[i].invars:
            if not isinstance(v, jex.Literal):
                last.setdefault(v, i)
    born = {v: i for i, eqn in enumerate(eqns) for v in eqn.outvars}
    return max(
        sum(born.get(v, -1) <= i < end for v, end in last.items() if v not in invariant) for i in range(len(eqns))
    )


def rearranged(closed, invariant=lambda v: False):
    jaxpr = closed.jaxpr
    return jex.ClosedJaxpr(jaxpr.replace(eqns=ordered(jaxpr, invariant)), closed.consts)


def test_few_values_wait():
    # the stages are wanted again, for values inside the step
    closed = jax.make_jaxpr(lambda *stages: (norm(*stages), stages))(*[1.0] * (2 * ENTRIES))
    alive = set(closed.jaxpr.invars)
    # as traced, all errors and tolerances are there before the first ratio
    assert most_waiting(closed.jaxpr.eqns, closed.jaxpr.outvars, alive) >= 2 * ENTRIES
    after = rearranged(closed).jaxpr
    # all errors, and what makes one of them a ratio and a part of the sum
    assert most_waiting(after.eqns, after.outvars, alive) <= ENTRIES + 3


def test_what_is_alive_anyway_does_not_count():
    def rates(x, a, b):
        scaled = [x * k for k in (a, b)]
        return scaled[0] + scaled[1] * x

    closed = jax.make_jaxpr(rates)(1.0, 2.0, 3.0)
    alive = set(closed.jaxpr.invars)
    again = ordered(closed.jaxpr, lambda v: v in alive)
    assert again == list(closed.jaxpr.eqns)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(test_lane_programs.programs, st.integers(0, 2**32 - 1))
def test_generated_programs_keep_their_results(program, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, 2)
    i, j = rng.integers(-20, 20, 2).astype(np.int32)

    def fn(x, y, i, j):
        return test_lane_programs.run(program, (x, y), (i, j), (x, y))

    closed = jax.make_jaxpr(fn)(x, y, i, j)
    again = rearranged(closed)
    assert sorted(map(id, again.jaxpr.eqns)) == sorted(map(id, closed.jaxpr.eqns))
    expected = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, x, y, i, j)
    found = jax.core.eval_jaxpr(again.jaxpr, again.consts, x, y, i, j)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_tables_and_loops_stay_where_they_are():
    seen = []

    def fn(x, table):
        made = write(full_like(table, x), 0, x * 2.0)
        total = jax.lax.fori_loop(np.int32(0), np.int32(3), lambda i, s: s + read(made, i), x)
        return total + read(table, 1) * x

    def traced(x, table):
        seen.append(jax.make_jaxpr(lambda: fn(x, table))().jaxpr)
        return fn(x, table)

    lanes(traced)(jnp.ones(3), jnp.ones((3, 4)))

    def fixed(eqns):
        return [
            eqn for eqn in eqns if eqn.primitive.name in ("while", "scan") or eqn.primitive.name.startswith("table")
        ]

    again = ordered(seen[0], lambda v: False)
    assert len(fixed(again)) >= 4 and list(map(id, fixed(again))) == list(map(id, fixed(seen[0].eqns)))
    assert sorted(map(id, again)) == sorted(map(id, seen[0].eqns))
