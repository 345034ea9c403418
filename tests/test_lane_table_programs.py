"""Random programs of tables, loops, branches and calls: lanes gives what jax.vmap gives, or says what it cannot do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from vht_kernels import LoweringError, full_like, lanes, length, read, write

ONE = np.int32(1)


class State(NamedTuple):
    """What a program holds: numbers, whole numbers, tables of each."""

    floats: tuple[Any, ...]
    ints: tuple[Any, ...]
    tables: tuple[Any, ...]
    whole_tables: tuple[Any, ...]


class Step(NamedTuple):
    """One instruction; the numbers pick its operands and settings."""

    kind: str
    picks: list[int]
    rolls: list[float]
    blocks: list[list[Step]]


SIMPLE = (
    *("float", "float", "int", "int", "length", "new", "new", "new whole"),
    *("write",) * 5,
    *("read",) * 4,
    *("write whole",) * 3,
    *("read whole",) * 2,
)
NESTED = (*("while",) * 3, *("cond",) * 4, "scan", "scan", "fori", "call", "call")


def block(r: random.Random, depth: int, most: int = 5) -> list[Step]:
    return [step(r, depth) for _ in range(r.randint(1, most))]


def step(r: random.Random, depth: int) -> Step:
    kind = r.choice(SIMPLE + NESTED if depth else SIMPLE)
    count = {"cond": r.choice([2, 2, 3]), "while": 1 + (r.random() < 0.15)}.get(kind, kind in NESTED)
    blocks = [block(r, depth - 1) if r.random() < 0.9 else [] for _ in range(count)]
    return Step(kind, [r.randrange(1000) for _ in range(4)], [r.random() for _ in range(8)], blocks)


def put(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    place %= len(values)
    return (*values[:place], value, *values[place + 1 :])


def shuffled(s: State, roll: float, other: float) -> State:
    """Sometimes the tables change places, or one stands for all."""

    def change(tables: tuple[Any, ...], roll: float) -> tuple[Any, ...]:
        return tables[1:] + tables[:1] if roll < 0.12 else tables[:1] * len(tables) if roll < 0.2 else tables

    return s._replace(tables=change(s.tables, roll), whole_tables=change(s.whole_tables, other))


def run(steps: Sequence[Step], s: State) -> State:
    for one in steps:
        s = (simple if one.kind in SIMPLE else nested)(one, s)
    return s


def simple(step: Step, s: State) -> State:
    a, b, c, d = step.picks
    # now and then the table as it was before a write is kept beside the new one
    target = b if step.rolls[0] < 0.12 else a
    x, y = s.floats[a % len(s.floats)], s.floats[b % len(s.floats)]
    i, j = s.ints[c % len(s.ints)], s.ints[d % len(s.ints)]
    t, w = s.tables[a % len(s.tables)], s.whole_tables[a % len(s.whole_tables)]
    match step.kind:
        case "float":
            results = 0.5 * (x + y), jnp.maximum(x, y), x * y / (1.0 + abs(x * y)), jnp.sin(x) + 0.25 * y
            return s._replace(floats=put(s.floats, c, results[d % 4]))
        case "int":
            results = i + j, i - j, i ^ j, jnp.minimum(i, j), i * j % 7
            return s._replace(ints=put(s.ints, a, results[b % 5] % 11))
        case "length":
            return s._replace(ints=put(s.ints, b, length(t)))
        case "new":
            return s._replace(tables=put(s.tables, b, full_like(w if c % 2 else t, x, np.float64)))
        case "new whole":
            return s._replace(whole_tables=put(s.whole_tables, b, full_like(w if c % 2 else t, i, np.int32)))
        case "write":
            return s._replace(tables=put(s.tables, target, write(t, i, x)))
        case "write whole":
            return s._replace(whole_tables=put(s.whole_tables, target, write(w, i - 1, j)))
        case "read":
            return s._replace(floats=put(s.floats, b, read(t, i)))
    return s._replace(ints=put(s.ints, b, read(w, i)))


def nested(step: Step, s: State) -> State:
    a, b, c, d = step.picks
    i, j = s.ints[c % len(s.ints)], s.ints[d % len(s.ints)]
    body, rolls = step.blocks[0], step.rolls

    def turn(s: State) -> State:
        return shuffled(run(body, s), rolls[0], rolls[1])

    match step.kind:
        case "call":
            return jax.jit(turn)(s)
        case "fori":
            return lax.fori_loop(0, a % 4, lambda k, s: turn(s._replace(ints=put(s.ints, -1, k.astype(np.int32)))), s)
        case "scan":
            xs = s.tables[a % len(s.tables)]
            start = lambda s, x: turn(s._replace(floats=put(s.floats, -1, x)))  # noqa: E731
            return lax.scan(lambda s, x: (start(s, x), None), s, xs, reverse=rolls[2] < 0.3)[0]
        case "cond":
            # what is used comes in as an operand or from outside
            operands = () if rolls[2] < 0.5 else (s,)
            branches = [_branch(steps, s, rolls[n], rolls[n + 3]) for n, steps in enumerate(step.blocks)]
            if len(branches) == 2:
                return lax.cond(i % 2 == 0, *branches, *operands)
            return lax.switch(i % 4 - 1, branches, *operands)
    outside = s.tables[a % len(s.tables)]

    def more(carry: tuple[Any, State]) -> Any:
        number, s = carry
        # a condition may make and read tables too
        return (number < i % 4) & (run(step.blocks[1], s).ints[0] != 5 if len(step.blocks) > 1 else True)

    def counted(carry: tuple[Any, State]) -> tuple[Any, State]:
        number, s = carry
        s = turn(s)
        if rolls[4] < 0.2:
            s = s._replace(floats=put(s.floats, -1, 0.5 * s.floats[-1] + read(outside, j)))
        return number + 1, s

    return lax.while_loop(more, counted, (np.int32(0), s))[1]


def _branch(steps: list[Step], outer: State, roll: float, other: float) -> Callable[..., State]:
    return lambda *s: shuffled(run(steps, s[0] if s else outer), roll, other)


def program(seed: int) -> tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...], int | None]:
    """A function, its arguments, which of them are shared by all lanes, and how many lanes go at once."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    steps = [one for _ in range(r.randint(2, 4)) for one in block(r, r.choice([1, 2, 2, 3]), 3)]
    kept, count, entries = r.random() < 0.7, r.choice([5, 8, 11, 17]), r.choice([1, 3, 4])

    def fn(floats: Any, ints: Any, tables: Any, whole_tables: Any) -> Any:
        own = (full_like(t, floats[0]) for t in tables), (full_like(t, ints[0]) for t in whole_tables)
        s = run(steps, State(floats, ints, tuple(own[0]), tuple(own[1])))
        # a table that is not returned lies elsewhere
        return (
            s if kept else (s.floats, s.ints, [read(t, ONE) for t in s.tables], [read(t, ONE) for t in s.whole_tables])
        )

    def draw(number: int, shape: tuple[int, ...], whole: bool) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        axes = tuple(None if r.random() < 0.4 else 0 for _ in range(number))
        shapes = [shape if axis is None else (count, *shape) for axis in axes]
        values = (rng.integers(-2, 9, s).astype(np.int32) if whole else rng.normal(size=s) for s in shapes)
        return tuple(values), axes

    parts = [draw(3, (), False), draw(3, (), True), draw(r.randint(1, 3), (entries,), False)]
    parts.append(draw(r.randint(1, 2), (entries,), True))
    parts[0] = ((rng.normal(size=count), *parts[0][0][1:]), (0, *parts[0][1][1:]))  # something differs in each lane
    args, axes = zip(*parts, strict=True)
    return fn, args, axes, r.choice([None, None, 1, 2, 3, 16])


def agrees(seed: int) -> bool:
    """Whether the program runs in lanes, and then with vmap's results."""
    fn, args, axes, width = program(seed)
    try:
        found = lanes(fn, in_axes=axes, width=width)(*args)
    except LoweringError as error:
        assert "is used again afterwards" in str(error)  # the only thing these programs do that lanes cannot
        return False
    expected = jax.jit(jax.vmap(fn, in_axes=axes))(*args)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
    return True


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_random_programs(first):
    """And most of them run."""
    assert sum(agrees(seed) for seed in range(first, first + 10)) >= 5
