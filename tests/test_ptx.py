"""Kernels for NVIDIA GPUs, their PTX run on the processor: `lanes` against `jax.vmap`, solves against its own kernels."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import ClassVar

import agreement
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_lane_programs
import test_lane_table_programs
import test_lane_tables
import test_lanes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from ptx_in_c import COMPILER, Module
from ptx_lanes import through_ptx
from systems import Decay, Filter, Oral, Oscillator, VanDerPol, filter_schedule, oral_schedule
from vht_kernels import full_like, lanes, length, programs, read, scratch, write

from vht.model import Organ, Scalar, Vars, gate, param, state
from vht.solve import Rodas5P, RushLarsen, Status, Tsit5, simulate

pytestmark = pytest.mark.skipif(COMPILER is None, reason="PTX is run through a C compiler, and `cc` is not installed")


def agree(fn, *args, in_axes=0, rtol=1e-12, atol=1e-12, threads=32):
    """PTX and XLA give the same values, dtypes and shapes."""
    run = functools.partial(through_ptx, threads=threads)
    agreement.agree(fn, *args, in_axes=in_axes, rtol=rtol, atol=atol, run=run)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(test_lane_programs.programs, st.integers(0, 2**32 - 1))
def test_generated_programs(program, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, 21))
    i, j = rng.integers(-20, 20, (2, 21)).astype(np.int32)

    def fn(x, y, i, j):
        f, n = test_lane_programs.run(program, (x, y), (i, j), (x, y))
        return f[-3:], n[-3:]

    agree(fn, x, y, i, j, rtol=1e-9, atol=1e-9, threads=8)


# 3 uses a table after it was written to, which lanes refuses
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12])
def test_random_programs_of_tables(seed):
    fn, args, axes, _ = test_lane_table_programs.program(seed)
    agree(fn, *args, in_axes=axes, rtol=1e-11, atol=1e-11, threads=8)


@pytest.mark.parametrize("name", test_lane_tables.PROGRAMS)
def test_tables_keep_their_values(name, rng):
    agree(test_lane_tables.PROGRAMS[name], *test_lane_tables.inputs(rng), threads=4)


# tests of lanes on the processor, with PTX in its place: name, arguments
BORROWED = [
    *((test_lanes.test_integers, {"dtype": f"{sign}int{n}"}) for sign in ("", "u") for n in (8, 16, 32, 64)),
    *((test_lanes.test_tables_of_other_types, {"dtype": d}) for d in (np.float32, np.int32, np.int8, np.bool_)),
    *((test_lanes.test_reading_tables, {"shared": shared}) for shared in (False, True)),
    *((test_lane_tables.test_tables_of_length_zero, {"shared": shared}) for shared in (False, True)),
    *((test_lane_tables.test_choosing_shared_tables_by_a_shared_flag, {"flag": flag}) for flag in (False, True)),
    (test_lane_tables.test_derivatives_through_writes, {}),
    (test_lanes.test_booleans, {}),
    (test_lanes.test_float32_and_float64_side_by_side, {}),
    (test_lanes.test_while_with_unequal_turns, {}),
    (test_lanes.test_nested_loops_and_branches_under_masks, {}),
    (test_lanes.test_loops_with_uniform_and_lane_values_mixed, {}),
    (test_lanes.test_scan_and_switch, {}),
    (test_lanes.test_a_shared_condition_takes_one_branch, {}),
    (test_lanes.test_writing_tables, {}),
    (test_lanes.test_scratch_tables_and_returned_inputs, {}),
    (test_lanes.test_empty_tables, {}),
]


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize(
    ("test", "settings"), BORROWED, ids=[f"{t.__name__[5:]}-{'-'.join(map(str, s.values()))}" for t, s in BORROWED]
)
def test_what_the_processors_kernels_pass(test, settings, rng, monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        agree(*args, **kwargs, threads=8)

    monkeypatch.setattr(sys.modules[test.__module__], "agree", counted)
    needed = {"rng": rng} if "rng" in inspect.signature(test).parameters else {}
    test(**settings, **needed)
    assert calls


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_with_specials(dtype):
    """All in one kernel: whole values, not only those near 1."""

    def fn(x, y):
        rounded = [jnp.floor(x), jnp.ceil(x), jnp.round(x), lax.round(x), jnp.sign(x), jnp.abs(x), -x]
        truths = [x == y, x != y, x < y, ~(x >= y), jnp.isnan(x), jnp.isfinite(x), jnp.signbit(x), x.astype(bool)]
        pairs = [jnp.maximum(x, y), jnp.minimum(x, y), jnp.where(x > y, x, y), jnp.copysign(x, y)]
        single = [x.astype(np.float32), lax.reduce_precision(x, 8, 23)]
        return rounded, truths, pairs, single

    with np.errstate(over="ignore"):
        points = test_lanes.SPREAD.astype(dtype)
    x, y = (a.ravel() for a in np.meshgrid(points, points[::3]))
    agree(fn, x, y, rtol=0, atol=0)


WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floats_become_whole_numbers(dtype):
    """The nearest there is, a NaN 0: as Python's whole numbers have it."""
    edges = [np.iinfo(d).max for d in WHOLE] + [np.iinfo(d).min for d in WHOLE]
    with np.errstate(over="ignore"):
        x = np.array([0.0, -0.0, -0.9, 1.9, 1e9, -1e9, 1e300, -1e300, np.inf, -np.inf, np.nan, *edges]).astype(dtype)
    found = through_ptx(lanes(lambda x: [x.astype(d) for d in WHOLE]), x)
    for d, y in zip(WHOLE, found, strict=True):
        low, high = np.iinfo(d).min, np.iinfo(d).max
        wanted = [0 if np.isnan(v) else high if v >= high else low if v <= low else int(v) for v in x]
        np.testing.assert_array_equal(y, np.array(wanted, d))


def test_scratch_tables_belong_to_a_thread(rng):
    """Read and written at indices of each lane's own, out of order and past the ends."""

    def fn(start, turns, x):
        own = scratch(5, 0.5)
        wide = scratch(3, np.int32(7))

        def turn(c):
            k, own, wide = c
            i = (start + 3 * k) % np.int32(7) - 1
            own = write(own, i, read(own, i + 1) * 0.5 + x)
            return k + 1, own, write(wide, i, read(wide, i) + k)

        _, own, wide = lax.while_loop(lambda c: c[0] < turns, turn, (np.int32(0), own, wide))
        return own, [read(wide, np.int32(i)) for i in range(3)]

    n = 37
    agree(fn, rng.integers(0, 7, n).astype(np.int32), rng.integers(0, 20, n).astype(np.int32), rng.normal(size=n))


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("threads", [32, 64])
def test_any_number_of_lanes_in_any_block(count, threads, rng):
    def fn(table, x):
        out = lax.fori_loop(0, length(table), lambda i, t: write(t, i, read(table, i) * x), full_like(table, 0.0))
        kept = full_like(table, x > 0.0, dtype=bool)
        return out, lax.fori_loop(0, 3, lambda i, s: s + read(out, i), 0.0), kept, x > 0.5

    agree(fn, rng.normal(size=(count, 3)), rng.normal(size=count), threads=threads)


def test_reciprocals_cost_at_most_a_rounding(rng):
    def fn(x, y):
        return lax.fori_loop(0, 5, lambda i, s: s / y + x, x)

    x, y = rng.normal(size=20), rng.uniform(1, 2, 20)
    found = through_ptx(lanes(fn, reciprocals=True), x, y)
    np.testing.assert_allclose(found, jax.vmap(fn)(x, y), rtol=2e-15)


# ---------------------------------------------------------------------------------------------------- whole solves


class GateFilter(Organ):
    """A gate that follows a potential, which follows the gate: for Rush and Larsen's method."""

    tau: Scalar = param(2.0, "ms", "time constant")
    time: ClassVar[str] = "ms"

    class State(Vars):
        v: Scalar = state(1.0, "mV", "potential")
        w: Scalar = state(0.3, "mV", "gate")

    def rates(self, t: Scalar, x: State, u) -> State:
        return self.State(v=-(x.v + x.w) / (3.0 * self.tau), w=gate(x.w, x.v, self.tau))


SOLVES = {
    "Tsit5": (Oscillator(), {"w": (1.0, 3.0)}, Tsit5(rtol=1e-7, atol=1e-9), None),
    "Tsit5, schedule": (Oral(), {"ka": (1.0, 2.0), "lag": (0.1, 0.6)}, Tsit5(rtol=1e-7, atol=1e-9), oral_schedule()),
    "Tsit5, signal": (Filter(), {"tau": (1.0, 3.0)}, Tsit5(rtol=1e-7, atol=1e-9), filter_schedule("linear")),
    "Tsit5, fixed": (Decay(), {"k": (0.2, 2.0)}, Tsit5(step=0.05), None),
    "Rodas5P": (VanDerPol(), {"mu": (1.0, 60.0)}, Rodas5P(rtol=1e-6, atol=1e-8), None),
    "Rodas5P, schedule": (Oral(), {"ka": (1.0, 2.0)}, Rodas5P(rtol=1e-6, atol=1e-8), oral_schedule()),
    "RushLarsen": (GateFilter(), {"tau": (1.0, 4.0)}, RushLarsen(rtol=1e-6, atol=1e-8), None),
    "RushLarsen, fixed": (GateFilter(), {"tau": (1.0, 4.0)}, RushLarsen(step=0.02), None),
}
TIMES = np.array([0.0, 0.3, 1.0, 2.5, 7.0])
TWINS = 11


@functools.cache
def solver(name):
    """A solve of a small cohort as a function of its columns, and the columns."""
    model, free, method, schedule = SOLVES[name]
    rng = np.random.default_rng(11)
    columns = {key: rng.uniform(*bounds, TWINS) for key, bounds in free.items()}

    def solve(columns):
        found = simulate(model, TIMES, twins=columns, method=method, schedule=schedule, backend="lanes", device="cpu")
        return found.values, found.status, found.steps

    return solve, columns


def assert_solved_alike(found, expected):
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        if jnp.issubdtype(mine.dtype, jnp.floating):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)
        else:
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", SOLVES)
def test_solves_as_on_the_processor(name):
    solve, columns = solver(name)
    values, status, steps = expected = jax.jit(solve)(columns)
    assert (status == Status.OK).all() and (steps > 5).all()
    assert_solved_alike(through_ptx(solve, columns), expected)


@pytest.mark.parametrize("name", ["Tsit5", "Tsit5, schedule", "Rodas5P", "RushLarsen"])
def test_solves_with_sensitivities_as_on_the_processor(name):
    solve, columns = solver(name)

    def with_slopes(columns):
        ones = jax.tree.map(jnp.ones_like, columns)
        (values, *_), (slopes, *_) = jax.jvp(solve, (columns,), (ones,))
        return values, slopes

    _, slopes = expected = jax.jit(with_slopes)(columns)
    assert any((jnp.abs(s) > 1e-3).all(axis=0).any() for s in slopes.values())
    assert_solved_alike(through_ptx(with_slopes, columns), expected)


@pytest.mark.parametrize("name", ["Tsit5", "Rodas5P", "RushLarsen"])
def test_the_assembler_is_left_nothing_to_contract(name):
    """A product and a sum without a rounding of their own may become one operation, or not, as ptxas likes."""
    solve, columns = solver(name)
    found = programs(solve, columns)
    assert found
    for program in found:
        module = Module(program.ptx("sm_90"))
        assert module.contractible() == []
        assert module.opcodes()["fma.rn.f64"] > 20
        assert not [o for o in module.opcodes() if "approx" in o or "ftz" in o]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_100"])
def test_other_architectures_give_the_same_bits(architecture):
    solve, columns = solver("Rodas5P")
    for first, second in zip(
        jax.tree.leaves(through_ptx(solve, columns)),
        jax.tree.leaves(through_ptx(solve, columns, architecture=architecture)),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)
