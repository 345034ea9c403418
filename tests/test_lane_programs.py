"""lanes(fn) against jax.vmap(fn) on programs that nobody wrote, and on their derivatives."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from agreement import agree
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jax import lax

LANES = 21  # two whole groups and a part of one, at any width up to 8


# Every operation keeps numbers near 1, so that rounding (products and sums are fused here) stays rounding. Decisions are
# taken on inputs and whole numbers, which both sides hold exactly.
FLOAT_OPS = {
    "add": lambda x, y: (x + y) * 0.5,
    "sub": lambda x, y: (x - y) * 0.5,
    "mul": lambda x, y: x * y / (1.0 + jnp.abs(x * y)),
    "div": lambda x, y: x / (1.5 + jnp.abs(y)),
    "max": jnp.maximum,
    "min": jnp.minimum,
    "sin": lambda x, y: jnp.sin(3.0 * x + y),
    "cos": lambda x, y: jnp.cos(x - 2.0 * y),
    "exp": lambda x, y: jnp.exp(-jnp.abs(x)) * y,
    "log": lambda x, y: jnp.log(2.0 + jnp.abs(x)) - 0.5 * y,
    "sqrt": lambda x, y: jnp.sqrt(1.0 + x * x) - jnp.abs(y),
    "tanh": lambda x, y: jnp.tanh(x + y),
    "pow": lambda x, y: (1.1 + jnp.abs(x)) ** (0.5 * y),
    "atan2": lambda x, y: 0.3 * jnp.arctan2(x, 1.0 + jnp.abs(y)),
    "neg": lambda x, y: -x,
    "square": lambda x, y: 0.5 * x**2 - y / (2.0 + y**4),
    "clip": lambda x, y: jnp.clip(x, -0.9, 0.9) + 0.0 * y,
}
INT_OPS = {
    "add": lambda i, j: i + j,
    "sub": lambda i, j: i - j,
    "mul": lambda i, j: i * j,
    "div": lambda i, j: lax.div(i, j),
    "rem": lambda i, j: lax.rem(i, j),
    "max": jnp.maximum,
    "and": lambda i, j: i & j,
    "xor": lambda i, j: i ^ j,
    "shl": lambda i, j: lax.shift_left(i, j & np.int32(7)),
    "shr": lambda i, j: lax.shift_right_arithmetic(i, j & np.int32(7)),
    "abs": lambda i, j: jnp.abs(i),
    "not": lambda i, j: ~i,
}

index = st.integers(0, 1000)
straight = st.one_of(
    st.tuples(st.just("float"), st.sampled_from(sorted(FLOAT_OPS)), index, index),
    st.tuples(st.just("int"), st.sampled_from(sorted(INT_OPS)), index, index),
    st.tuples(st.just("select"), index, index, index),
    st.tuples(st.just("convert"), index),
    st.tuples(st.just("call"), index),
)
programs = st.recursive(
    st.lists(straight, min_size=1, max_size=6),
    lambda inner: st.lists(
        st.one_of(
            straight,
            st.tuples(st.just("while"), inner, index),
            st.tuples(st.just("fori"), inner, st.integers(0, 4)),
            st.tuples(st.just("cond"), inner, inner, index),
            st.tuples(st.just("switch"), inner, inner, inner, index),
        ),
        min_size=1,
        max_size=4,
    ),
    max_leaves=5,
)


@jax.custom_jvp
def bump(x):
    return jnp.sin(x) * 0.5


bump.defjvp(lambda p, t: (bump(*p), t[0]))


def run(program, floats, ints, inputs):
    """Interpret a program on stacks of values; what it returns has as many values as it got."""
    f, n = list(floats), list(ints)
    for step in program:
        match step:
            case ("float", name, i, j):
                f.append(FLOAT_OPS[name](f[i % len(f)], f[j % len(f)]))
            case ("int", name, i, j):
                n.append(INT_OPS[name](n[i % len(n)], n[j % len(n)]))
            case ("select", i, j, k):
                x = inputs[k % len(inputs)]
                f.append(jnp.where(x > 0.1, f[i % len(f)], f[j % len(f)]))
            case ("convert", i):
                f.append((n[i % len(n)] % 17).astype(jnp.float64) / 20.0)
            case ("call", i):
                f.append(jax.jit(bump)(f[i % len(f)]))
            case ("while", inner, i):
                turns = n[i % len(n)] % 6
                _, fs, ns = lax.while_loop(
                    lambda c: c[0] < turns,
                    lambda c: (c[0] + 1, *shrunk(inner, c[1], c[2], inputs)),
                    (jnp.int32(0), tuple(f), tuple(n)),
                )
                f, n = list(fs), list(ns)
            case ("fori", inner, turns):
                fs, ns = lax.fori_loop(
                    0,
                    turns,
                    lambda _, c: shrunk(inner, c[0], c[1], inputs),
                    (tuple(f), tuple(n)),
                )
                f, n = list(fs), list(ns)
            case ("cond", yes, no, k):
                branches = [functools.partial(shrunk, p, inputs=inputs) for p in (yes, no)]
                fs, ns = lax.cond(inputs[k % len(inputs)] > 0.0, *branches, tuple(f), tuple(n))
                f, n = list(fs), list(ns)
            case ("switch", a, b, c, i):
                branches = [functools.partial(shrunk, p, inputs=inputs) for p in (a, b, c)]
                fs, ns = lax.switch(n[i % len(n)] % 5, branches, tuple(f), tuple(n))
                f, n = list(fs), list(ns)
    return f, n


def kinds(program):
    """What steps a program has, at any depth."""
    inner = {kind for step in program for part in step if isinstance(part, list) for kind in kinds(part)}
    return inner | {step[0] for step in program}


def shrunk(program, floats, ints, inputs):
    f, n = run(program, floats, ints, inputs)
    return tuple(f[-len(floats) :]), tuple(n[-len(ints) :])


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs, st.integers(0, 2**32 - 1), st.sampled_from(["values", "forwards", "backwards"]))
def test_generated_programs(program, seed, ask):
    # the reverse mode of a loop is an error, or makes arrays
    assume(ask != "backwards" or not {"while", "fori"} & kinds(program))
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, LANES))
    i, j = rng.integers(-20, 20, (2, LANES)).astype(np.int32)

    def fn(x, y, i, j):
        f, n = run(program, (x, y), (i, j), (x, y))
        return f[-3:], n[-3:]

    def tangents(x, y, i, j):
        return jax.jvp(lambda x, y: fn(x, y, i, j)[0], (x, y), (y, x))

    def gradients(x, y, i, j):
        return jax.grad(lambda x, y: sum(fn(x, y, i, j)[0]), argnums=(0, 1))(x, y)

    asked = {"values": fn, "forwards": tangents, "backwards": gradients}[ask]
    agree(asked, x, y, i, j, rtol=1e-9, atol=1e-9)
