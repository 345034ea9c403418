"""Calls inside lanes: what is one, what is none, and what they capture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree
from jax import lax
from jax.extend import core as jex
from vht_kernels import LoweringError, full_like, lanes, read, write
from vht_kernels.fingerprint import fingerprint
from vht_kernels.lower import Argument

ZERO, ONE, TWO = np.int32(0), np.int32(1), np.int32(2)
LANES = 11


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("reduce", lambda x, table: lax.reduce(table, 1.0, lambda a, b: a * b + 1.0, (0,))),
        ("reduce", lambda x, table: lax.reduce(x, 1.0, lambda a, b: a * b + 1.0, ())),
        ("custom_linear_solve", lambda x, table: lax.custom_linear_solve(lambda y: 2.0 * y, x, lambda f, b: b / 2.0)),
    ],
)
def test_a_primitive_with_a_jaxpr_is_not_a_call(name, fn, rng):
    with pytest.raises(LoweringError, match=rf"`{name}`.*test_lane_nested\.py:\d+"):
        lanes(fn)(rng.normal(size=LANES), rng.normal(size=(LANES, 3)))


def test_calls_of_every_kind(rng):
    twice = jax.custom_vjp(lambda x, t: 2.0 * x + read(t, ONE))
    twice.defvjp(lambda x, t: (twice(x, t), None), lambda _, g: (2.0 * g, None))
    thrice = jax.custom_jvp(lambda x, t: 3.0 * x + read(t, TWO))
    thrice.defjvp(lambda p, t: (thrice(*p), 3.0 * t[0]))

    def fn(x, t):
        calls = jax.jit(lambda x, t: x + read(t, ZERO)), jax.checkpoint(lambda x, t: jnp.sin(x) * read(t, ONE))
        return [f(x, t) for f in (twice, thrice, *calls)]

    agree(fn, rng.normal(size=LANES), rng.normal(size=(LANES, 3)))


def test_tables_captured_by_a_call(rng):
    """JAX keeps what a jitted function captures inside its jaxpr."""
    held, scale = jnp.array([1.5, jnp.nan, -jnp.inf, -0.0]), jnp.float64(2.5)
    whole, none = jnp.array([1, -(2**31)], np.int32), jnp.zeros(0)

    @jax.jit
    def captured(x, i):
        entries = read(held, i) * scale, read(whole, i), read(none, i) + x
        return entries, lax.cond(x > 0.0, jax.jit(lambda: held), lambda: full_like(held, x)), held

    def fn(x, i):
        loop = lax.fori_loop(0, 3, lambda k, t: write(jax.jit(lambda: full_like(held, x))(), k, read(t, k)), held)
        return captured(x, i), loop

    agree(fn, rng.normal(size=LANES), np.arange(LANES, dtype=np.int32) - 3)


def test_captured_numbers_are_told_apart():
    """The same numbers captured the other way round are another program."""
    a, b = jnp.float64(2.0), jnp.float64(3.0)
    outer = jax.make_jaxpr(jax.jit(lambda x: x / a - b))(0.0).jaxpr
    (call,) = outer.eqns
    inner = call.params["jaxpr"]
    assert len(inner.consts) == 2
    turned = jex.ClosedJaxpr(inner.jaxpr.replace(constvars=inner.jaxpr.constvars[::-1]), inner.consts)
    other = outer.replace(eqns=[call.replace(params={**call.params, "jaxpr": turned})])
    argument = [Argument(np.dtype(np.float64), False, False)]
    assert fingerprint(outer, argument, "") != fingerprint(other, argument, "")
