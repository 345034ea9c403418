"""The GPU benchmark: its path from cases to record, on the CPU; its limits, counts and errors against known numbers."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import types
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vht_kernels
from scipy.integrate import solve_ivp
from vht_kernels import driver

from benchmarks.__main__ import main
from benchmarks.gpu import (
    cases,
    check,
    device,
    ensembles,
    gradient,
    lanes,
    operations,
    peer_diffrax,
    peer_packages,
    summary,
    worker,
)
from benchmarks.gpu.bench import Bench, OutOfTime
from benchmarks.gpu.problems import Settings, errors, problem, rolled
from benchmarks.gpu.timing import timed
from benchmarks.peers import cuda_kernels
from benchmarks.peers.build import Unavailable
from vht.model import check_units, with_parameters

LORENZ_FREE = ("rho", "initial.x", "initial.y", "initial.z")


def _scipy(rates, start, end):
    return solve_ivp(rates, (0.0, end), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]


def _lorenz(rho):
    return lambda t, y: [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]


def _lorenz96(forcing):
    return lambda t, y: (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + forcing


def test_units():
    for name in ("lorenz", "lorenz96_8"):
        check_units(problem(name).model)


def test_lanes_and_diffrax_solve_what_scipy_solves():
    columns = problem("lorenz").draw(4)
    truth = np.stack([_scipy(_lorenz(rho), [1.0, 0.0, 0.0], 1.0) for rho in columns["rho"]])
    for settings in (Settings(1e-10, first_step=1e-3), Settings(step=1e-3)):
        own = lanes.solve(problem("lorenz"), settings, "float64", columns)
        theirs = peer_diffrax.solver(problem("lorenz"), settings, "float64")(columns)
        assert not own.status.any() and np.asarray(theirs.ok).all()
        assert (np.asarray(own.steps) == 1000).all() == (settings.mode == "fixed")
        assert errors(own.values, truth, 1.0).max() < 1e-9
        assert errors(np.asarray(theirs.values), truth, 1.0).max() < 1e-9
    wide = problem("lorenz96_8")
    columns = wide.draw(3)
    starts = [np.full(8, forcing) + 0.01 * (np.arange(8) == 0) for forcing in columns["F"]]
    truth = np.stack([_scipy(_lorenz96(f), y, wide.end) for f, y in zip(columns["F"], starts, strict=True)])
    own = lanes.solve(wide, Settings(1e-11), "float64", columns)
    assert errors(own.values, truth, 1.0).max() < 1e-7


def test_gradients_agree_with_differences():
    columns = problem("lorenz").draw(3)
    start = np.tile([1.0, 0.0, 0.0], (3, 1))
    step, truth = 1e-5, np.empty((3, 4))
    for i, rho in enumerate(columns["rho"]):
        for k in range(4):
            ends = []
            for sign in (1.0, -1.0):
                moved = start[i] + sign * step * (np.arange(1, 4) == k)
                ends.append(_scipy(_lorenz(rho + sign * step * (k == 0)), moved, 1.0).sum())
            truth[i, k] = (ends[0] - ends[1]) / (2.0 * step)
    own = lanes.solve(problem("lorenz"), Settings(1e-10), "float64", columns, LORENZ_FREE)
    theirs = []
    for form in (problem("lorenz"), dataclasses.replace(problem("lorenz"), vector=None)):
        (by_columns, by_initial), _ = peer_diffrax.gradient(form, "float64", 500)(columns, start, 1e-10)
        theirs.append(np.concatenate([np.asarray(by_columns["rho"])[:, None], np.asarray(by_initial)], axis=1))
    for found in (own.gradient, *theirs):
        np.testing.assert_allclose(found, truth, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("numbers", "float32", "float64", "bandwidth"),
    [
        # NVIDIA's data sheets: V100 SXM2 (15.7, 7.8 TFLOP/s, 900 GB/s), A100 SXM 40 GB (19.5, 9.7, 1,555), H100 SXM (67, 34,
        # 3,350); clocks and buses from the same
        (("V100", (7, 0), 80, 1.53e9, 877e6, 4096, 0), 15.7e12, 7.8e12, 900e9),
        (("A100", (8, 0), 108, 1.41e9, 1215e6, 5120, 2), 19.5e12, 9.7e12, 1555e9),
        (("H100", (9, 0), 132, 1.98e9, 2619e6, 5120, 2), 67e12, 34e12, 3350e9),
    ],
)
def test_limits_are_those_of_the_data_sheets(monkeypatch, numbers, float32, float64, bandwidth):
    name, capability, multiprocessors, clock, memory_clock, bus, ratio = numbers
    told = {75: capability[0], 76: capability[1], 16: multiprocessors, 13: clock / 1e3, 36: memory_clock / 1e3}
    told |= {37: bus, 38: 50 << 20, 87: ratio}

    def attribute(out, which, handle):
        out._obj.value = int(told[which])
        return 0

    library = types.SimpleNamespace(cuDeviceGet=lambda handle, ordinal: 0, cuDeviceGetAttribute=attribute)
    here = driver.Device(0, name, capability, multiprocessors, 40 << 30)
    monkeypatch.setattr(driver, "library", lambda: library)
    monkeypatch.setattr(driver, "devices", lambda: (here,))
    found = device.limits()
    assert found.float32 == pytest.approx(float32, rel=0.02)
    assert found.float64 == pytest.approx(float64, rel=0.02)
    assert found.bandwidth == pytest.approx(bandwidth, rel=0.02)
    assert found.architecture == f"sm_{capability[0]}{capability[1]}" and device.describe(found)["name"] == name


def test_operations_are_counted_as_by_hand():
    def step(x, y):
        z = jax.lax.cond(x > 0.0, lambda: x * y + 1.0, lambda: jnp.exp(x) * x / y + y)  # 2 or 4
        return jnp.where(z > y, z - y, jnp.sqrt(y)) ** 3, y.astype(jnp.float32) * np.float32(2.0)  # 2 + 2, and 1

    found = operations.count(jax.make_jaxpr(step)(1.0, 2.0).jaxpr)
    assert found == {"float64": 6, "float32": 1}
    # fixed steps of three states, by their tableaus: a product and a sum a weight and state (a weight times the step is the
    # same in all steps), and evaluations of eight operations
    tsit5 = 2 * 3 * (1 + 2 + 3 + 4 + 5 + 6) + 6 * 8
    classical = 2 * 3 * 3 + 6 * 3 + 4 * 8  # where three stages are evaluated; the weighted sum of four, on the state
    for settings, exact in ((Settings(step=1e-3), tsit5), (Settings(step=1e-3, classical=True), classical)):
        call, given = lanes.solver(problem("lorenz"), settings, "float32", 2)
        (program,) = vht_kernels.programs(call, given(problem("lorenz").draw(2)))
        assert operations.of_a_step(program) == {"float32": exact}


def test_what_is_the_same_in_all_turns_is_not_counted():
    def lane(x, y):
        def turn(carry):
            k, z, kept = carry
            return k + 1, z * (x * y + kept) + 1.0, kept  # of four the two that change

        return jax.lax.while_loop(lambda carry: carry[0] < 5, turn, (0, x, y))[1]

    assert operations.of_a_step(types.SimpleNamespace(closed=jax.make_jaxpr(lane)(1.0, 2.0))) == {"float64": 2}


def test_calls_are_timed_with_fresh_arguments():
    made = []

    def make(k):
        made.append(k)
        return k

    found = timed(make, lambda k: k, repeats=5, most=60.0)
    assert made == [0, 1, 2, 3, 4, 5] and found.result == found.last == 5 and len(found.seconds) == 5
    assert len(timed(make, lambda k: k, repeats=5, most=1e-3).seconds) in (3, 4, 5)
    # three of them would take too long
    once = timed(make, lambda k: time.sleep(0.02), repeats=5, most=0.0, compiled=True)
    assert once.seconds == (once.first,) and once.first >= 0.02 and once.last == 0
    assert len(timed(make, lambda k: time.sleep(0.02), repeats=5, most=0.0).seconds) == 3
    assert len(timed(make, lambda k: k, repeats=5, most=60.0, worth=lambda k: k > 0).seconds) == 1
    assert rolled({"a": np.arange(3.0)}, 1)["a"].tolist() == [2.0, 0.0, 1.0]


def test_what_fails_is_kept_and_stops_nothing():
    written = []
    bench = Bench(None, float("inf"), lambda bench: written.append(len(bench.failed)), lambda text: None)

    def fail(error):
        raise error

    assert bench.attempt("t", "a", lambda: fail(MemoryError("no room"))) is None
    assert bench.attempt("t", "b", lambda: fail(Unavailable("not here"))) is None
    assert bench.attempt("t", "c", lambda: fail(OutOfTime("spent"))) is None
    assert bench.attempt("t", "d", lambda: {"seconds": 1.0}, "kind", 10) == {"seconds": 1.0}
    assert bench.failed == {"a": "MemoryError: no room"} and bench.unavailable == {"b": "not here"}
    assert bench.not_run == {"c": "spent"} and bench.rows == {"t": [{"seconds": 1.0}]} and written == [1, 1, 1, 1]
    late = Bench(None, bench.deadline, lambda bench: None, lambda text: None, told={"kind": (10, 1.0)})
    late.deadline = 0.0
    assert late.attempt("t", "e", dict) is None and "spent" in late.not_run["e"]


def test_what_is_optional_does_not_cost_the_row():
    bench = Bench(None, float("inf"), lambda bench: None, lambda text: None)
    assert bench.optional("a", lambda: {"registers": 7}) == {"registers": 7}
    assert bench.optional("b", lambda: {"registers": [][0]}) == {}
    assert bench.failed == {"b": "IndexError: list index out of range"}


def test_the_two_cores_are_not_threads_of_one(tmp_path):
    for number, siblings in enumerate(("0,4", "1,5", "2,6", "3,7") * 2):
        folder = tmp_path / f"cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert worker.apart(range(8), 2, tmp_path) == {0, 1}
    assert worker.apart([0, 4, 1, 5], 2, tmp_path) == {0, 1}
    assert worker.apart([0, 4], 2, tmp_path) == {0, 4}
    assert worker.apart([3], 2, tmp_path) == {3}
    assert worker.apart([0, 1, 2], 2, tmp_path / "none") == {0, 1}


def test_a_process_of_the_cpu_lanes_that_died_is_replaced():
    lorenz, here = problem("lorenz"), worker.Worker()
    try:
        first = here.ask("lorenz", Settings(1e-6), "float64", lorenz.draw(3), repeats=2)
        assert len(first.seconds) == 2 and not first.status.any()
        here._process.kill()
        here._process.wait()
        with pytest.raises(RuntimeError, match="process of the CPU lanes died"):
            here.ask("lorenz", Settings(1e-6), "float64", lorenz.draw(3))
        again = here.ask("lorenz", Settings(1e-6), "float64", lorenz.draw(3))
        np.testing.assert_array_equal(again.values, first.values)
    finally:
        here.close()


def test_a_larger_case_that_would_outlast_the_time_is_not_begun():
    bench = Bench(None, time.monotonic() + 30.0, lambda bench: None, lambda text: None, told={"kind": (10, 1.0)})
    assert bench.attempt("t", "more", dict, "kind", 100) is None
    assert bench.not_run["more"].startswith("would take 40 s")
    assert bench.attempt("t", "as many", lambda: {"seconds": 1.0}, "kind", 10) is not None


def test_ratios_and_targets_follow_from_the_rows():
    bench = Bench(None, 0.0, lambda bench: None, lambda text: None)

    def row(solver, rate, **more):
        key = {"problem": "circulation", "mode": "adaptive", "precision": "float64", "trajectories": 131072}
        return (
            key
            | {
                "solver": solver,
                "solved": 131072,
                "rate": rate,
                "milliseconds": 131072e3 / rate,
                "seconds": 131072 / rate,
            }
            | more
        )

    bench.rows["ensembles"] = [
        row(cases.CPU, 2e4, error_median=1e-5),
        row(cases.LANES, 1e6, off_cpu_max=2e-10, error_median=1e-5, queued_rate=1.12e6),
        row(cases.CUDA, 1.4e6),
        row(cases.DIFFRAX, 4e4),
        row(cases.TRANSFER, 8e5),
    ]
    bench.rows["ensembles"].append(row(cases.DIFFRAX, 4e4, lanes_rate=6e5) | {"problem": "pollu", "solved": 16384})
    bench.rows["ensembles"].append(row(cases.LANES, 1e6) | {"problem": "pollu"})
    ratio, fewer = summary.ratios(bench)
    assert fewer["diffrax"] == pytest.approx(15.0), "of as many trajectories as diffrax had"
    assert any("131,072, 16,384 of them: over diffrax vmap" in target.what for target in summary.targets(bench))
    del bench.rows["ensembles"][5]["lanes_rate"]
    assert summary.ratios(bench)[1]["diffrax"] is None
    bench.rows["ensembles"] = bench.rows["ensembles"][:5]
    assert ratio["diffrax"] == pytest.approx(25.0)
    assert ratio["cpu"] == pytest.approx(40.0) and ratio["cpu_device"] == pytest.approx(50.0), "with transfer, without"
    assert ratio["cuda"] == pytest.approx(1.12 / 1.4), "of calls one after another, as by hand"
    assert ratio["transfer"] == pytest.approx(131072e3 / 8e5)
    met = {target.what: target.met for target in summary.targets(bench)}
    assert [met[name] for name in sorted(met)] == [True, True, True, False], met


def test_what_fails_is_not_fast():
    bench = Bench(None, 0.0, lambda bench: None, lambda text: None)
    row = {"problem": "lorenz", "mode": "adaptive", "precision": "float32", "trajectories": 2**23, "milliseconds": 1.0}
    for ok, met in ((2**23, True), (2**23 - 1, False)):
        bench.rows["ensembles"] = [row | {"solver": cases.LANES, "solved": 2**23, "ok": ok, "rate": 1e9}]
        assert [target.met for target in summary.targets(bench) if "Lorenz" in target.what] == [met]
    own = {"solver": cases.LANES, "trajectories": 8, "ok": 8, "seconds": 1.0, "queued_seconds": 0.8}
    theirs = {"solver": cases.DIFFRAX, "trajectories": 8, "ok": 8, "seconds": 30.0}
    assert gradient._ratio(theirs, own) == 30.0 and gradient._ratio(theirs, own | {"ok": 7}) is None
    assert gradient._ratio(theirs | {"ok": 7}, own) is None and gradient._ratio(theirs, None) is None
    by_hand = own | {"solver": cases.CUDA, "seconds": 0.6}
    assert gradient._ratio(by_hand, own) == pytest.approx(0.75), "of calls one after another, as by hand"


def test_without_a_gpu_it_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(driver, "missing", lambda: "the NVIDIA driver is not installed")
    assert main(["gpu"]) == 2
    assert "needs an NVIDIA GPU, but the NVIDIA driver is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "given"), [(None, None), ("", ""), ("cuda", "cuda,cpu"), ("cuda,cpu", "cuda,cpu")])
def test_jax_is_given_the_cpu_beside_the_gpu(asked, given, monkeypatch, capsys):
    monkeypatch.setattr(driver, "missing", lambda: "no driver")
    monkeypatch.setenv("JAX_PLATFORMS", asked or "")
    if asked is None:
        monkeypatch.delenv("JAX_PLATFORMS")
    assert main(["gpu"]) == 2 and os.environ.get("JAX_PLATFORMS") == given


def test_unknown_parts_are_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["gpu", "lorentz"])
    assert refused.value.code == 2 and "there is no part lorentz" in capsys.readouterr().err


def test_the_cpu_is_given_only_what_suits_it(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["gpu", "lorenz", "--cpu"])
    assert refused.value.code == 2 and "lorenz needs a GPU: with --cpu there is calibration" in capsys.readouterr().err
    assert main(["gpu", "--cpu", "--list"]) == 0
    assert capsys.readouterr().out.startswith("calibration: 2 cases")


def test_the_last_case_alone_can_be_asked_for(capsys):
    assert main(["gpu", "--last", "--list", "calibration"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("calibration: 1 case\n") and "twins=1000000" in told


def test_all_sizes_that_are_wanted_are_among_the_cases():
    everything = [case for part in cases.FULL.values() for case in part]
    ensembles = [case for case in everything if isinstance(case, cases.Ensemble)]
    sizes = {(c.precision, c.settings.mode, c.trajectories) for c in ensembles if c.problem == "lorenz"}
    for precision in cases.PRECISIONS:
        for mode in ("fixed", "rk4", "adaptive"):
            assert {(precision, mode, 2**k) for k in (10, 23, 24)} <= sizes
        names = {c.problem for c in ensembles if c.precision == precision}
        assert names >= {"lorenz", "circulation", "pollu", "ten_tusscher"} | {f"lorenz96_{2**k}" for k in range(2, 8)}
    for case in ensembles:
        assert case.repeats >= 10 and problem(case.problem).name in cuda_kernels.PROBLEMS
        assert set(problem(case.problem).states) <= set(cuda_kernels.PROBLEMS[case.problem].outputs)
        assert set(problem(case.problem).draw(2)) <= set(cuda_kernels.PROBLEMS[case.problem].columns)
    assert any(isinstance(case, cases.Calibration) and case.twins == 1_000_000 for case in everything)


def test_the_targets_have_a_case_each():
    found = cases.FULL["targets"]
    named = {(c.problem, c.settings.mode, c.precision, c.trajectories) for c in found if isinstance(c, cases.Ensemble)}
    assert {("lorenz", mode, "float32", 2**23) for mode in ("fixed", "rk4", "adaptive")} <= named
    for precision in cases.PRECISIONS:
        assert {("circulation", "adaptive", precision, 2**17), ("pollu", "adaptive", precision, 2**17)} <= named
    assert [type(c) for c in found].count(cases.Gradient) == 1 and isinstance(found[0], cases.Check)
    assert "targets" not in cases.PARTS
    # what takes longest comes last, so that a run that is cut has the others
    last = [isinstance(c, cases.Ensemble) and c.solvers == (cases.DIFFRAX,) for c in found]
    assert last == sorted(last) and any(last)
    # and of those the ones of which nothing is wanted
    unwanted = [c.problem == "lorenz" for c, is_last in zip(found, last, strict=True) if is_last]
    assert unwanted == sorted(unwanted) and any(unwanted)


def test_small_kernels_are_compared(tmp_path, capsys):
    assert main(["gpu", "check", "--dry-run", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    rows = json.loads(path.read_text())["benchmarks"]["gpu"]["tables"]["small kernels on the device and on the CPU"]
    assert len(rows) > 8 and all(row.get("different", 0) == 0 for row in rows)
    assert (
        sum(row.get("numbers", 0) for row in rows) > 300 * 30 and "a kernel that cannot be" in capsys.readouterr().out
    )


def test_numbers_that_differ_are_counted(monkeypatch):
    calls = []

    def other_each_time(function, in_axes):
        calls.append(function)
        return lambda x: (np.array([1.0, np.nan, 0.0, len(calls)]), np.array([len(calls) > 1]))

    monkeypatch.setattr(check, "lanes", other_each_time)
    monkeypatch.setattr(jax, "jit", lambda f: f)
    row = check._compared(None, 0, (1.0,))
    assert (row["numbers"], row["different"], row["off"]) == (5, 2, pytest.approx(0.5))


def test_a_dry_run_checks_measures_and_records(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(cases.DRY, "lorenz", tuple(c for c in cases.DRY["lorenz"] if c.precision == "float64"))
    assert main(["gpu", "lorenz", "--dry-run", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    found = record["benchmarks"]["gpu"]
    assert not found["failed"] and not found["not_run"] and record["quick"]
    rows = found["tables"]["ensembles"]
    for mode, operations_a_step in (("fixed", 170), ("rk4", 60), ("adaptive", 200)):
        mine = {row["solver"]: row for row in rows if row["mode"] == mode}
        wanted = {cases.CPU, cases.LANES, cases.TRANSFER} | (set() if mode == "rk4" else {cases.DIFFRAX})
        wanted |= {cases.CUDA, cases.CUDA_TRANSFER} if cuda_kernels.available(cuda_kernels.CPU) else set()
        assert set(mine) == wanted
        for row in mine.values():
            assert row["ok"] == row["solved"] and row["seconds"] > 0.0
            assert row["error_max"] < 1e-7, row
        # same program, another process
        assert mine[cases.LANES]["off_cpu_max"] <= 1e-12 and mine[cases.CPU]["cores"] <= 2
        assert mine[cases.LANES]["operations_a_step"]["float64"] > operations_a_step
    assert found["targets"][0]["met"] and found["targets"][0]["wanted"] == 1e-10
    assert said.rstrip().splitlines()[-1].startswith("Record: ")
    assert "lanes beside others" in said.split("lanes beside the GPU's limits")[-1]


@pytest.mark.parametrize("name", ["lorenz", "lorenz96_4", "pollu"])
def test_equations_as_text_are_the_model_s(name, rng, unchecked_annotations):
    what = problem(name)
    parameters = {key: float(column[0]) for key, column in what.draw(2).items()}
    state = dict(zip(what.states, rng.uniform(0.1, 1.0, len(what.states)), strict=True))
    exact = with_parameters(what.model, parameters).rates(0.0, what.model.State(**state), None)
    for line in peer_packages.equations(what):
        left, right = line.split(" = ")
        assert eval(right, {}, parameters | state) == pytest.approx(float(getattr(exact, left[1:])), rel=1e-12)


def test_equations_that_are_more_than_arithmetic_are_refused(unchecked_annotations):
    with pytest.raises(Unavailable, match="more than sums"):
        peer_packages.equations(problem("circulation"))


def test_what_the_gpu_could_do_and_what_a_kernel_takes(monkeypatch):
    h100 = device.of(
        name="H100",
        capability=(9, 0),
        multiprocessors=132,
        clock=1.98e9,
        memory_clock=2.619e9,
        bus=5120,
        l2=50 << 20,
        memory=80 << 30,
        ratio=2,
    )
    bench = Bench(h100, float("inf"), lambda bench: None, lambda text: None)
    run = ensembles.Run(cases.DRY["lorenz"][0], bench)
    row = run.against_limits(Counter(float32=200, float64=5), steps=1e9, moved=10**9, seconds=0.01)
    assert row["flops"] == pytest.approx(205e11) and row["bytes_per_s"] == pytest.approx(1e11)
    assert row["flops_share"] == pytest.approx(200e11 / 67e12, rel=0.01)
    assert row["bytes_share"] == pytest.approx(1e11 / 3350e9, rel=0.01)
    kernel = types.SimpleNamespace(handle=7, ordinal=1, architecture="sm_90", seconds=0.1, from_disk=False)
    monkeypatch.setattr(driver, "kernel_usage", lambda handle, ordinal: (handle + 100 * ordinal, 16))
    told = run.usage([types.SimpleNamespace(device_kernel=kernel)])
    assert told["registers"] == 107 and told["local_bytes"] == 16 and told["architecture"] == "sm_90"
    # few lanes in small blocks, as they are started
    assert told["block"] == 32 and [lanes.block(n, h100) for n in (132 * 64, 132 * 64 + 1)] == [32, 64]
    assert lanes.block(1, None) == 64 and ensembles.Run(cases.DRY["lorenz"][0], bench).most == 0.2
    bench.deadline = time.monotonic() - 1.0
    assert run.most == 0.0


# refuses what a bare machine with a GPU need not have, then solves
_BARE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydantic", "pint", "typer", "zarr", "rich", "matplotlib", "xarray", "pandas"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import jax
jax.config.update("jax_enable_x64", True)
from benchmarks.__main__ import main
from benchmarks.gpu import calibration, device, ensembles, gradient, lanes, summary, worker
from benchmarks.gpu.problems import Settings, problem
for name in ("lorenz", "circulation", "pollu", "ten_tusscher"):
    problem(name).draw(3)
assert not lanes.solve(problem("lorenz"), Settings(1e-6), "float64", problem("lorenz").draw(3)).status.any()
"""


def test_only_the_solver_is_imported():
    root = pathlib.Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", _BARE], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_lanes_are_timed_with_as_few_trajectories_as_another_solver_had():
    case = next(c for c in cases.DRY["lorenz"] if c.settings.mode == "adaptive" and c.precision == "float64")
    bench = Bench(None, float("inf"), lambda bench: None, lambda text: None)
    try:
        ensembles.run(dataclasses.replace(case, solvers=(cases.DIFFRAX,), peer_trajectories=16), bench)
    finally:
        bench.worker.close()
    assert not bench.failed
    rows = {row["solver"]: row for row in bench.rows["ensembles"]}
    assert rows[cases.DIFFRAX]["solved"] == 16 and rows[cases.DIFFRAX]["trajectories"] == 64
    assert rows[cases.DIFFRAX]["lanes_rate"] > 0.0 and rows[cases.DIFFRAX]["error_max"] < 1e-7
