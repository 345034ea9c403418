"""Tables in lanes against jax.vmap: old versions, choices among tables, every index, lengths and numbers of lanes."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree
from jax import lax
from vht_kernels import LoweringError, full_like, lanes, length, read, write

ZERO, ONE, TWO = np.int32(0), np.int32(1), np.int32(2)
LANES = 11
PROGRAMS = {}


def program(fn):
    PROGRAMS[fn.__name__] = fn
    return fn


def turns(table, x, body, start):
    """A while loop whose lanes take 0 to 4 turns."""
    return lax.while_loop(lambda c: c[0] < read(table, ZERO), lambda c: (c[0] + 1.0, *body(*c)), (0.0, *start))[1:]


def inputs(rng):
    table = rng.normal(size=(LANES, 4))
    table[:, 0] = np.arange(LANES) % 5
    return table, rng.normal(size=LANES)


# ------------------------------------------------------------------------------------------- the table before a write

REFUSED = {}


def refused(fn):
    REFUSED[fn.__name__] = fn
    return fn


@refused
def read_after_a_write_in_a_call(table, x):
    t = full_like(table, x)
    after = jax.jit(lambda t: write(t, ONE, 5.0))(t)
    return read(t, ONE) + read(after, ONE)


@refused
def read_after_identity(table, x):
    t = full_like(table, x)
    same = jax.jit(lambda t: t)(t)
    return write(t, ONE, 5.0), read(same, ONE)


@refused
def read_after_a_write_in_a_branch_whose_result_is_dropped(table, x):
    t = full_like(table, x)
    y = lax.cond(x > 0.0, lambda t: read(write(t, ONE, 5.0), TWO), lambda t: jnp.sin(read(t, ONE)), t)
    return y, read(t, ONE)


@refused
def read_after_a_branch_wrote(table, x):
    t = full_like(table, x)
    after = lax.cond(x > 0.0, lambda t: write(t, ONE, 5.0), lambda t: t, t)
    return read(after, ONE), read(t, ONE)


@refused
def read_after_a_loop_wrote(table, x):
    t = full_like(table, x)
    (after,) = turns(table, x, lambda i, t: (write(t, ONE, i),), (t,))
    return read(after, ONE), read(t, ONE)


@refused
def write_in_each_turn_to_a_table_from_outside(table, x):
    t = full_like(table, x)
    return turns(table, x, lambda i, s: (s + read(t, ONE) + read(write(t, ONE, i), TWO),), (0.0,))


@refused
def old_table_returned(table, x):
    t = full_like(table, x)
    return write(t, ONE, 5.0), t


@refused
def old_table_carried(table, x):
    t = full_like(table, x)
    return turns(table, x, lambda i, t, s: (t, s + read(write(t, ONE, i), ONE)), (t, 0.0))


@refused
def written_twice_from_one(table, x):
    t = full_like(table, x)
    return write(t, ZERO, 1.0), write(t, ONE, 2.0)


@refused
def read_after_scan_wrote(table, x):
    t = full_like(table, x)
    after, _ = lax.scan(lambda t, v: (write(t, ONE, v), None), t, table)
    return read(after, ONE), read(t, ONE)


@refused
def written_in_the_condition(table, x):
    t = full_like(table, x)

    def more(c):
        return (c[0] < read(table, ZERO)) & (read(write(c[1], ONE, c[0]), ONE) < 3.0)

    return lax.while_loop(more, lambda c: (c[0] + 1.0, c[1]), (0.0, t))


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_was_written_to_is_gone(name, rng):
    """Never the wrong number: the error names the write."""
    with pytest.raises(LoweringError, match=r"`table_write`.*used again afterwards.*test_lane_tables\.py:\d+"):
        lanes(REFUSED[name])(*inputs(rng))


@program
def carried_twice(table, x):
    t = full_like(table, x)
    return turns(table, x, lambda i, a, b: (write(a, ONE, i + read(b, ONE)), b), (t, t))


@program
def carried_twice_after_one_write(table, x):
    def body(i, a, b):
        after = write(a, ONE, i + read(b, ONE))
        return after, after

    t = full_like(table, x)
    return turns(table, x, body, (t, t))


@program
def carried_and_seen_from_outside(table, x):
    t = full_like(table, x)
    return turns(table, x, lambda i, a: (write(a, ONE, i + read(t, ONE) + read(a, ONE)),), (t,))


@program
def scan_over_the_carried_table(table, x):
    t = write(full_like(table, x), TWO, 3.0)
    return lax.scan(lambda a, v: (write(a, TWO, v + read(a, TWO)), None), t, t)[0]


@program
def tables_that_change_places(table, x):
    a, b = full_like(table, x), full_like(table, 2.0)
    return turns(table, x, lambda i, a, b: (write(b, ONE, i), a), (a, b))


@program
def tables_in_a_ring(table, x):
    a, b, c = full_like(table, x), full_like(table, 2.0), full_like(table, 3.0)
    return turns(table, x, lambda i, a, b, c: (b, c, write(a, ONE, i)), (a, b, c))


@program
def a_new_table_each_turn(table, x):
    return turns(table, x, lambda i, t: (write(full_like(t, i), ONE, read(t, ONE) + 1.0),), (full_like(table, x),))


@program
def carrying_an_input(table, x):
    return turns(table, x, lambda i, t: (write(full_like(t, i), ONE, read(t, ONE) + 1.0),), (table,))


@program
def written_in_calls_branches_and_loops(table, x):
    @jax.jit
    def put(t, i, v):
        return write(t, i, v)

    def body(i, t):
        t = put(t, ONE, i)
        t = lax.switch(
            (i + 10.0 * x).astype(np.int32),
            [lambda t: t, lambda t: put(put(t, TWO, read(t, ONE)), ZERO, x), lambda t: write(t, TWO, i)],
            t,
        )
        return (lax.fori_loop(0, 3, lambda k, t: put(t, k, read(t, k + 1) + 0.5), t),)

    return turns(table, x, body, (put(full_like(table, x), ZERO, 7.0),))


@program
def write_in_one_branch_and_read_in_the_other(table, x):
    t = full_like(table, x)
    return lax.cond(x > 0.0, lambda t: read(write(t, ONE, 5.0), ONE), lambda t: jnp.sin(read(t, ONE)), t)


# ------------------------------------------------------------------------------------------- choices


@program
def choose_an_input(table, x):
    other = full_like(table, 2.0)
    chosen = lax.cond(x > 0.0, lambda: table, lambda: other)
    return read(chosen, ONE), chosen


@program
def choose_by_switch(table, x):
    tables = table, full_like(table, 2.0), full_like(table, 3.0)
    chosen = lax.switch((x * 2.0).astype(np.int32) + 1, [lambda *t: t[0], lambda *t: t[1], lambda *t: t[2]], *tables)
    return read(chosen, ONE) + x, [read(t, ONE) for t in tables]


@program
def choose_and_write(table, x):
    a, b = full_like(table, x), full_like(table, 2.0)
    chosen = lax.cond(x > 0.0, lambda a, b: (a, b), lambda a, b: (b, a), a, b)
    return write(chosen[0], ONE, 9.0), chosen[1], a, b


@program
def choose_among_new_tables(table, x):
    return lax.cond(x > 0.0, lambda: write(full_like(table, 1.0), ONE, x), lambda: full_like(table, 2.0))


@program
def choose_in_a_loop(table, x):
    def body(i, t):
        return (lax.cond(i < 1.0 + x, lambda t: write(t, ONE, i), lambda t: full_like(t, i), t),)

    return turns(table, x, body, (full_like(table, x),))


@program
def choose_after_a_loop_over_itself(table, x):
    """Inside the branch the table gets memory of its own, which the other branch knows nothing of."""

    def turn(t):
        return lax.scan(lambda a, v: (write(a, TWO, v + read(a, TWO)), None), t, t)[0]

    return lax.cond(x > 0.0, turn, lambda t: t, full_like(table, x))


@program
def choose_between_a_table_and_itself_in_a_loop(table, x):
    def body(i, a, b):
        a = lax.cond(i < 1.0 + x, lambda a, b: write(a, ONE, i), lambda a, b: b, a, b)
        return a, lax.cond(x > 0.0, lambda a, b: a, lambda a, b: b, a, b)

    t = full_like(table, x)
    return turns(table, x, body, (t, t))


@pytest.mark.parametrize("name", PROGRAMS)
def test_tables_keep_their_values(name, rng):
    agree(PROGRAMS[name], *inputs(rng))


@pytest.mark.parametrize("flag", [False, True])
def test_choosing_shared_tables_by_a_shared_flag(flag, rng):
    """All goes the same way in all lanes, but what is chosen belongs to each."""

    def fn(x, a, b, flag):
        chosen = lax.cond(flag, lambda: a, lambda: b)
        s = lax.fori_loop(0, 3, lambda i, s: s + read(chosen, i), 0.0)
        return s + x, s

    agree(
        fn, rng.normal(size=LANES), np.arange(3.0), np.arange(3.0, 6.0), np.bool_(flag), in_axes=(0, None, None, None)
    )


# ------------------------------------------------------------------------------------------- the same in all lanes


def _made_in_a_cond(x, table, k):
    s = lax.cond(k > 1, lambda: read(write(full_like(table, 1.0), ONE, 2.0), k), lambda: jnp.sin(read(table, k)))
    return s * x, s


def _made_in_a_loop(x, table, k):
    def body(c):
        t = write(full_like(table, c[1]), ONE, 2.0)
        return c[0] + 1, c[1] + read(t, c[0])

    s = lax.while_loop(lambda c: c[0] < k, body, (ZERO, 1.0))[1]
    return s * x, s


def _made_in_a_cond_in_a_loop(x, table, k):
    def body(i, s):
        return lax.cond(i < k, lambda: s + read(full_like(table, s + 1.0), i), lambda: jnp.exp(s))

    s = lax.fori_loop(0, 4, body, 0.25)
    return s * x, s


def _made_in_a_condition(x, table, k):
    def more(i):
        return read(full_like(table, i, dtype=np.int32), i) * i < k

    n = lax.while_loop(more, lambda i: i + 1, ZERO)
    return n.astype(np.float64) + x, n


def _made_in_a_loop_in_a_call(x, table, k):
    @jax.jit
    def inner(k):
        return lax.scan(lambda s, v: (s + read(write(full_like(table, s), ONE, v), ONE), None), 0.0, table)[0]

    s = lax.fori_loop(0, k, lambda i, s: s + inner(k), 0.5)
    return s * x, s


@pytest.mark.parametrize(
    "fn",
    [_made_in_a_cond, _made_in_a_loop, _made_in_a_cond_in_a_loop, _made_in_a_condition, _made_in_a_loop_in_a_call],
)
@pytest.mark.parametrize("k", [0, 2, 3])
def test_tables_made_where_all_lanes_go_the_same_way(fn, k, rng):
    agree(fn, rng.normal(size=LANES), np.arange(3.0), np.int32(k), in_axes=(0, None, None))


# ------------------------------------------------------------------------------------------- indices and lengths

NUMBERS = [0, 1, 2, 3, -1, *(s * 2**p + d for p in (7, 8, 15, 16, 31, 32, 63, 64) for s in (1, -1) for d in (-1, 0, 1))]
DTYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", DTYPES)
def test_indices_of_every_type(dtype):
    """Against plain Python whole numbers, which have no range."""
    index = np.array([n for n in NUMBERS if np.iinfo(dtype).min <= n <= np.iinfo(dtype).max], dtype)
    table = np.array([10.0, 11.0, 12.0])

    def fn(i):
        return read(table, i), write(full_like(table, 0.0), i, 1.0)

    clamped = [table[min(max(int(i), 0), 2)] for i in index]
    written = [[float(int(i) == k) for k in range(3)] for i in index]
    for batched in (lanes(fn), jax.vmap(fn), jax.jit(jax.vmap(fn))):
        entries, tables = batched(index)
        np.testing.assert_array_equal(entries, clamped)
        np.testing.assert_array_equal(tables, written)


@pytest.mark.parametrize("shared", [False, True])
def test_tables_of_length_zero(shared):
    """A write to them changes nothing, alone, in a loop, and with a derivative."""

    def fn(table, x):
        t = write(full_like(table, x), ZERO, x)
        t = lax.fori_loop(0, 3, lambda i, t: write(t, i, x), t)
        return t, read(t, ONE) + x, length(t)

    table, x = np.zeros(0) if shared else np.zeros((LANES, 0)), np.arange(float(LANES))
    axes = (None if shared else 0, 0)
    agree(fn, table, x, in_axes=axes)
    batched = jax.vmap(lambda t, x: fn(t, x)[:2], in_axes=axes)
    (empty, y), (_, dy) = jax.jvp(lambda x: batched(table, x), (x,), (np.ones(LANES),))
    assert empty.shape == (LANES, 0)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dy, np.ones(LANES))


def test_derivatives_through_writes(rng):
    """One of the two tangents is zero: no array may come of it."""

    def fn(x, table):
        a = write(full_like(table, 0.0), ONE, x * x)
        b = write(full_like(table, x), ONE, 2.0)
        return a, b, read(a, ONE) * read(b, ZERO)

    agree(lambda x, table: jax.jvp(lambda x: fn(x, table), (x,), (1.5,)), *inputs(rng)[::-1])


# ------------------------------------------------------------------------------------------- memory


def test_scratch_tables_with_every_number_of_lanes(rng):
    def fn(table, x):
        scratch = lax.fori_loop(0, length(table), lambda i, t: write(t, i, read(table, i) * x), full_like(table, 0.0))
        kept = lax.fori_loop(0, length(table), lambda i, t: write(t, i, read(scratch, i - 1)), full_like(table, 1.0))
        return kept, kept, lax.fori_loop(0, 3, lambda i, s: s + read(scratch, i), 0.0)

    for count in (1, 2, 7, 8, 9, 15, 16, 17, 100, 1001):
        agree(fn, rng.normal(size=(count, 3)), rng.normal(size=count))
    for width in (1, 2, 16):
        table, x = rng.normal(size=(33, 3)), rng.normal(size=33)
        for found, expected in zip(lanes(fn, width=width)(table, x), jax.vmap(fn)(table, x), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-14)


def _alone(code):
    """Run a program in a process of its own, which may fall."""
    start = """
        import resource
        import jax
        import numpy as np
        from vht_kernels import full_like, lanes, read, write

        jax.config.update("jax_enable_x64", True)
    """
    text = textwrap.dedent(start) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("count", [1, 9])
def test_lanes_past_the_last_one_read_nothing_of_their_own(count):
    """Tables so long that what lies behind the last lane's is not the program's memory."""
    _alone(f"""
        def fn(x, t):
            out = write(full_like(t, x, dtype=np.float64), np.int32(1), 3.0)
            return out, read(out, np.int32(1)) + x

        out, y = lanes(fn, in_axes=(0, None))(np.arange({count}.0), np.zeros(2**22, np.int8))
        assert np.array_equal(y, np.arange({count}.0) + 3.0)
    """)


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory")
def test_no_memory_for_a_scratch_table_is_an_error():
    out = _alone("""
        def through_a_table(x, t):
            return read(write(full_like(t, x, dtype=np.float64), np.int32(1), x), np.int32(1))

        fn = lanes(through_a_table, in_axes=(0, None))
        x, small, large = np.arange(9.0), np.zeros(4, np.int8), np.zeros(2**25, np.int8)
        assert np.array_equal(fn(x, small), x)
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 2**29
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            fn(x, large).block_until_ready()
        except Exception as error:
            print(error)
        assert np.array_equal(fn(x, small), x)
    """)
    assert "RESOURCE_EXHAUSTED: lanes: out of memory" in out


def test_scratch_tables_take_the_memory_of_one_group():
    """Not of all lanes: their number must not matter."""
    _alone("""
        fn = lanes(lambda x, t: read(write(full_like(t, x), np.int32(1), x), np.int32(1)), in_axes=(0, None))
        x, table = np.arange(2.0**16), np.zeros(2**10)
        fn(x[:9], table)
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 2**28  # for all lanes it would be 2**29
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        assert np.array_equal(fn(x, table), x)
    """)
