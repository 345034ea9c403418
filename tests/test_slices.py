"""Cohorts slice by slice: in order, overlapping on devices, within their memory, and on after it was too small."""

import importlib
import itertools
import os
import subprocess
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import Decay, Oral

from vht.solve import Doses, Schedule, simulate, slices
from vht.solve.device import Place

MODULE: Any = importlib.import_module("vht.solve.simulate")
CPU = jax.local_devices()[0]
TIMES = np.linspace(0.0, 6.0, 13)


class Pending:
    """A result on its way, as a device's array is."""

    def __init__(self, numbers, log):
        self.numbers, self.log = numbers, log
        self.shape, self.copied = numbers.shape, False

    def copy_to_host_async(self):
        self.copied = True


def watched(size, total, devices, capacity=None, **settings):
    """Squares of numbers, slice by slice; with what was started and collected, in order."""
    log, numbers = [], np.arange(total, dtype=np.float64)

    def compute(twins, given):
        assert isinstance(given, jax.Array) == bool(devices)
        log.append(("start", twins, jax.config.jax_default_device))
        if capacity is not None and twins > capacity:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes.")
        return Pending(np.asarray(given) ** 2, log)

    def collect(result):
        assert result.copied == bool(devices)
        log.append(("collect", len(result.numbers)))
        return result.numbers

    found = slices.in_slices(
        compute, lambda rows: numbers[rows], total, size, devices=devices, collect=collect, **settings
    )
    np.testing.assert_array_equal(found, numbers**2)
    return log


def in_flight(log):
    steps = [1 if entry[0] == "start" else -1 for entry in log]
    return list(itertools.accumulate(steps))


@pytest.mark.parametrize(("devices", "most"), [(0, 1), (1, 2), (3, 6)])
@pytest.mark.parametrize(("size", "total"), [(4, 30), (5, 30), (30, 30), (100, 7), (1, 9)])
def test_slices_overlap_as_far_as_devices_hold_them(devices, most, size, total):
    told = []
    log = watched(size, total, [CPU] * devices, progress=lambda *done: told.append(done))
    count = -(-total // min(size, total))
    # the next is started before the last is waited for, and no more are under way than devices hold
    assert max(in_flight(log)) == min(most, count)
    assert in_flight(log)[-1] == 0
    assert [entry[0] for entry in log].count("start") == count
    # one shape for all, one program
    assert {entry[1] for entry in log} == {min(size, total)}
    assert told == [(min(total, (i + 1) * min(size, total)), total) for i in range(count)]


@pytest.mark.parametrize("devices", [(), (CPU, CPU)])
def test_a_slice_in_another_order_goes_back_to_its_rows(devices):
    numbers, heard = np.arange(23.0), []

    def order(rows):
        # as far as slices have told
        return rows[::-1] if heard else rows

    def compute(twins, given):
        return {"square": given**2, "twice": jnp.stack([given, given], axis=-1)}

    found = slices.in_slices(
        compute,
        lambda rows: numbers[rows],
        23,
        3,
        devices=devices,
        order=order,
        learn=lambda rows, results: heard.append((rows, results["square"])),
    )
    np.testing.assert_array_equal(found["square"], numbers**2)
    np.testing.assert_array_equal(found["twice"], np.stack([numbers, numbers], axis=-1))
    for rows, squares in heard:
        np.testing.assert_array_equal(squares, numbers[rows] ** 2)
    # those that were started before anything was known are in the caller's order
    known = [bool(rows[0] < rows[1]) for rows, _ in heard[:7]]
    assert known == [i < max(1, 2 * len(devices)) for i in range(7)]


def test_nothing_goes_on_after_an_interrupt():
    started = []

    def compute(twins, given):
        started.append(twins)
        return jnp.asarray(given)

    def interrupt(done, total):
        raise KeyboardInterrupt

    numbers = np.arange(40.0)
    with pytest.raises(KeyboardInterrupt):
        slices.in_slices(compute, lambda rows: numbers[rows], 40, 4, devices=[CPU], progress=interrupt)
    assert started == [4, 4]


@pytest.mark.parametrize("devices", [1, 3])
def test_too_little_memory_halves_the_slices_and_is_told_once(devices):
    told = []
    with pytest.warns(UserWarning, match=r"too small for 20 twins at a time: goes on with 10, or fewer") as warned:
        log = watched(20, 43, [CPU] * devices, capacity=6, progress=lambda *done: told.append(done))
    assert len(warned) == 1
    assert [entry[1] for entry in log if entry[0] == "start"][:4] == [20, 10, 5, 5]
    assert told == [(min(43, 5 * i), 43) for i in range(1, 10)]


def test_memory_that_runs_out_on_the_way_loses_nothing():
    # a device says so only when its results are waited for
    numbers, waited = np.arange(30.0), []

    def collect(result):
        waited.append(result.shape[0])
        if len(waited) == 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return np.asarray(result)

    progress = []
    with pytest.warns(UserWarning, match="too small for 8 twins"):
        found = slices.in_slices(
            lambda twins, given: given * 2.0,
            lambda rows: numbers[rows],
            30,
            8,
            devices=[CPU],
            collect=collect,
            progress=lambda done, total: progress.append(done),
        )
    np.testing.assert_array_equal(found, 2.0 * numbers)
    assert waited == [8, 8, 8, 4, 4, 4, 4]
    assert progress == [8, 16, 20, 24, 28, 30]


@pytest.mark.parametrize(
    ("devices", "capacity", "words", "calls"),
    [
        ((), 3, "RESOURCE_EXHAUSTED", 1),
        ((CPU,), 0, "RESOURCE_EXHAUSTED", 4),
        ((CPU,), None, "INTERNAL: a fault", 1),
        ((CPU,), None, "RESOURCE_EXHAUSTED: lanes: the GPU does not start the kernel of `f`: out of memory", 1),
    ],
)
def test_what_smaller_slices_do_not_help_is_raised(devices, capacity, words, calls):
    sizes = []

    def compute(twins, given):
        sizes.append(twins)
        if capacity is None or twins > capacity:
            raise jax.errors.JaxRuntimeError(words)
        return jnp.asarray(given)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(jax.errors.JaxRuntimeError, match=words):
            slices.in_slices(compute, lambda rows: np.arange(8.0)[rows], 8, 8, devices=devices)
    assert len(sizes) == calls


@pytest.mark.parametrize(
    ("total", "most", "devices", "size"),
    [
        # whole, as long as one device holds it and is not filled
        (1000, 2**18, 1, 1000),
        (1000, 2**18, 8, 1000),
        # four devices' worth
        (4 * slices.FULL, 2**18, 4, slices.FULL),
        (2**20, 2**18, 4, 2**18),
        (2**20, 2**18, 3, 2**18),
        # of about one size
        (10**6, 2**18, 1, 250_000),
        (2**18 + 1, 2**18, 1, 2**17 + 1),
    ],
)
def test_how_a_cohort_is_shared_out(total, most, devices, size):
    assert slices.shared_out(total, most, devices) == size


class Small:
    """A device by what it says of its memory."""

    def __init__(self, stats):
        self.stats = stats

    def memory_stats(self):
        return self.stats


def test_free_memory():
    assert slices.free_bytes(Small({"bytes_limit": 1000, "bytes_in_use": 400})) == 480
    assert slices.free_bytes(Small({"bytes_limit": 1000})) == 800
    assert slices.free_bytes(Small(None)) is None
    assert slices.free_bytes(CPU) is None


def test_slices_fit_the_smallest_device():
    large, small = Small({"bytes_limit": 10**9}), Small({"bytes_limit": 10**6, "bytes_in_use": 10**5})
    assert slices.fitting(10**6, 1000, [large], 100, 0) == 1000
    size = slices.fitting(10**6, 100_000, [large, small], 100, 5000)
    assert slices.IN_FLIGHT * slices.COPIES * (100 * size + 5000) <= 0.8 * 9e5 < 4.1 * (100 * size + 5000)
    assert slices.fitting(10**6, 1000, [Small({"bytes_limit": 10})], 100, 5000) == 1
    assert slices.fitting(10, 7, [CPU], 100, 0) == 7


# -------------------------------------------------------------------------------------------------------- whole solves


def cohort(twins):
    """Doses of each twin's own, and parameters that differ."""
    rng = np.random.default_rng(3)
    when = np.sort(rng.uniform(0.0, 5.0, (twins, 3)), axis=1)
    schedule = Schedule({"dose": Doses(when, rng.uniform(10.0, 90.0, (twins, 3)))})
    return {"twins": {"ka": rng.uniform(0.5, 3.0, twins)}, "schedule": schedule}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Solves overlap, though the device is the processor; what each slice took."""
    took: list[tuple[int, int, int]] = []
    monkeypatch.setattr(MODULE, "place", lambda *_: Place("gpu", (CPU,)))
    for name in ("_solve_values", "_solve_columns"):

        def measured(*args, solve=getattr(MODULE, name)):
            results = solve(*args)
            if not isinstance(jax.tree.leaves(results)[0], jax.core.Tracer):
                took.append((args[-2].twins, slices.array_bytes(args[-1]), slices.array_bytes(results)))
            return results

        monkeypatch.setattr(MODULE, name, measured)
    return took


def test_slices_take_the_memory_that_was_reckoned_with(as_on_a_gpu, monkeypatch):
    given = cohort(50)
    whole = simulate(Oral(), TIMES, **given)
    assert [entry[0] for entry in as_on_a_gpu] == [50]
    assert (whole.settings.backend, whole.settings.device) == ("lanes", "gpu")
    as_on_a_gpu.clear()
    free = 50_000
    monkeypatch.setattr(slices, "free_bytes", lambda device: free)
    sliced = simulate(Oral(), TIMES, **given)
    # what is in flight fits, with the copies that XLA may make; slices of one size, so up to a third less than would fit
    needed = [slices.IN_FLIGHT * slices.COPIES * (inputs + results) for _, inputs, results in as_on_a_gpu]
    assert 0.66 * free < max(needed) <= free
    assert len(as_on_a_gpu) > 2
    assert len({entry[0] for entry in as_on_a_gpu}) == 1
    jax.tree.map(np.testing.assert_array_equal, dict(sliced.values), dict(whole.values))


def test_a_user_says_how_large_slices_are(as_on_a_gpu):
    told = []
    simulate(Oral(), TIMES, **cohort(50), slice_size=20, progress=lambda *done: told.append(done))
    assert [entry[0] for entry in as_on_a_gpu] == [20, 20, 20]
    assert told == [(20, 50), (40, 50), (50, 50)]


def test_tracing_for_the_size_is_not_done_twice(as_on_a_gpu):
    traced = []

    class Counted(Decay):
        def rates(self, t, x, u):
            traced.append(1)
            return self.State(x=-self.k * x.x)

    simulate(Counted(), TIMES, twins={"k": np.linspace(0.1, 1.0, 7)})
    once = len(traced)
    traced.clear()
    simulate(Counted(), TIMES, twins={"k": np.linspace(0.1, 1.0, 7)}, slice_size=7)
    assert len(traced) == 0 < once


@pytest.mark.parametrize("precise", [False, True])
def test_who_watches_computes_in_the_caller_s_precision(precise):
    told = []
    with jax.enable_x64(precise):
        simulate(Decay(), TIMES, progress=lambda done, total: told.append(jnp.arange(3.0).dtype))
    assert told == [np.dtype(np.float64 if precise else np.float32)]


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import importlib
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import test_slices as t
from systems import Decay, Oral
from vht.solve import simulate, simulate_with_jacobian, steady_state, periodic_state
from vht.solve.device import Place
from vht.organs import organ

MODULE = importlib.import_module("vht.solve.simulate")
devices = tuple(jax.local_devices())
assert len(devices) == 4
given = t.cohort(41)
glucose = dict(inputs={{"insulin": np.linspace(8.0, 14.0, 41)}})
drip = dict(schedule=t.Schedule({{"dose": t.Doses(np.array([1.0]), np.linspace(10.0, 50.0, 41)[:, None])}}))

def all_of_them(**settings):
    solved = simulate(Oral(), t.TIMES, **given, **settings)
    columns = simulate_with_jacobian(Oral(), t.TIMES, free=["ka", "initial.central"], **given, **settings)
    steady = steady_state(organ("minimal_glucose")(), **glucose, **settings)
    again = periodic_state(Oral(), 12.0, **drip, **settings)
    assert steady.ok.all() and again.ok.all()
    return [dict(solved.values), solved.steps, dict(columns[0].values), dict(columns[1]), dict(steady.values), steady.growth,
            dict(again.values)]

def diffrax():
    return dict(simulate(Oral(), t.TIMES, **given, backend="xla", slice_size=21).values)

whole = all_of_them()
# XLA rounds otherwise in a program of another shape: here the same slices, one after another
alone = diffrax()
used = []
in_slices = MODULE.in_slices
def watched(compute, *args, **settings):
    def noted(twins, numbers):
        results = compute(twins, numbers)
        leaves = jax.tree.leaves(numbers) + jax.tree.leaves(results)
        (device,) = set().union(*(leaf.devices() for leaf in leaves))
        used.append(device)
        return results
    return in_slices(noted, *args, **settings)
MODULE.in_slices = watched
MODULE.place = lambda *_: Place("gpu", devices)
jax.tree.map(np.testing.assert_array_equal, all_of_them(slice_size=21), whole)
assert used == list(devices[:2]) * 4, used
used.clear()
with jax.set_mesh(jax.make_mesh((4,), ("d",))):
    jax.tree.map(np.testing.assert_array_equal, all_of_them(slice_size=21), whole)
assert used == list(devices[:2]) * 4, used
used.clear()
jax.tree.map(np.testing.assert_array_equal, diffrax(), alone)
assert used == list(devices[:2]), used
used.clear()
# another place than JAX's own, as the processor is beside GPUs, of which a mesh is set
solved = MODULE._solve_values
def placed(plan, given):
    results = solved(plan, given)
    used.extend(set().union(*(leaf.devices() for leaf in jax.tree.leaves(results))))
    return results
MODULE._solve_values, MODULE.place = placed, lambda *_: Place("cpu", devices[2:])
with jax.set_mesh(jax.sharding.Mesh(np.array(devices[:2]), ("d",))):
    jax.tree.map(np.testing.assert_array_equal, dict(simulate(Oral(), t.TIMES, **given).values), whole[0])
assert used == [devices[2]], used
used.clear()
MODULE._solve_values = solved
MODULE.place = lambda *_: Place("gpu", devices)
many = simulate(Oral(), t.TIMES, **given, slice_size=7)
jax.tree.map(np.testing.assert_array_equal, dict(many.values), whole[0])
assert used == [*devices, *devices[:2]], used
print("equal")
"""


def test_slices_on_several_devices_give_the_same_to_the_last_bit():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    script = SCRIPT.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr
