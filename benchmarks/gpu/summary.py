"""What a run says in the end: targets, and ratios last."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from benchmarks.gpu import calibration, check, ensembles, gradient
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.cases import CPU, CUBIE, CUDA, CUDA_TRANSFER, DIFFRAX, GRADSOLVE, LANES, PUBLISHED, TRANSFER
from benchmarks.outcome import Column, Table, Target

# relative, of lanes in float64 on the GPU against the CPU
AGREEMENT = 1e-10
# float32 on the GPU may be so much further from the reference than on the CPU
ROUNDING = 4.0
FIXED_MS, ADAPTIVE_MS, FEWEST = 25.0, 12.0, 100_000
_KEY = ("problem", "mode", "precision", "trajectories")

ENSEMBLES = (
    Column("problem", "problem"),
    Column("steps", "mode"),
    Column("precision", "precision"),
    Column("trajectories", "trajectories", ",d"),
    Column("solver", "solver"),
    Column("solved", "solved", ",d"),
    Column("ok", "ok", ",d"),
    Column("ms", "milliseconds", ",.4g"),
    Column("x", "repeats", "d"),
    Column("queued ms", "queued_milliseconds", ",.4g"),
    Column("per s", "rate", ",.3g"),
    Column("rtol", "rtol", ".0e"),
    Column("steps a trajectory", "steps", ",.0f"),
    Column("median error", "error_median", ".1e"),
    Column("largest error", "error_max", ".1e"),
    Column("off the CPU", "off_cpu_max", ".1e"),
    Column("compile s", "compile_seconds", ".1f"),
    Column("first call s", "first_seconds", ".2f"),
    Column("registers", "registers", "d"),
    Column("local B", "local_bytes", "d"),
    Column("MiB", "memory_mib", ",.0f"),
)
GRADIENTS = (
    Column("trajectories", "trajectories", ",d"),
    Column("goal", "goal", ".0e"),
    Column("solver", "solver"),
    Column("rtol", "rtol", ".0e"),
    Column("ms", "milliseconds", ",.4g"),
    Column("x", "repeats", "d"),
    Column("queued ms", "queued_milliseconds", ",.4g"),
    Column("over lanes", "ratio", ",.3g"),
    Column("steps a trajectory", "steps", ",.0f"),
    Column("median error", "error_median", ".1e"),
    Column("largest error", "error_max", ".1e"),
    Column("off the CPU", "off_cpu_max", ".1e"),
    Column("references differ", "disagreement", ".1e"),
    Column("compile s", "compile_seconds", ".1f"),
    Column("first call s", "first_seconds", ".2f"),
    Column("recording s", "recording_seconds", ".3g"),
)
CALIBRATIONS = (
    Column("twins", "twins", ",d"),
    Column("free", "free", "d"),
    Column("measurements each", "measurements", "d"),
    Column("ok", "ok", ",d"),
    Column("seconds", "seconds", ",.3g"),
    Column("twins/s", "rate", ",.0f"),
    Column("iterations", "iterations", ".1f"),
    Column("host MiB", "memory_mib", ",.0f"),
    Column("device MiB", "device_memory_mib", ",.0f"),
    Column("median error of estimates", "error", ".1%"),
)
CHECKS = (
    Column("check", "check"),
    Column("numbers", "numbers", ",d"),
    Column("other than on the CPU", "different", ",d"),
    Column("by at most", "off", ".1e"),
    Column("seconds", "seconds", ".2f"),
    Column("said", "said"),
)
LIMITS = (
    Column("problem", "problem"),
    Column("steps", "mode"),
    Column("precision", "precision"),
    Column("trajectories", "trajectories", ",d"),
    Column("operations a step", "operations", ",d"),
    Column("GFLOP/s", "gflops", ",.0f"),
    Column("of the GPU's", "flops_share", ".1%"),
    Column("GB/s", "gigabytes", ",.1f"),
    Column("of the GPU's", "bytes_share", ".2%"),
)
RATIOS = (
    Column("problem", "problem"),
    Column("steps", "mode"),
    Column("precision", "precision"),
    Column("trajectories", "trajectories", ",d"),
    Column("lanes ms", "lanes", ",.4g"),
    Column("with transfer", "transfer", ",.4g"),
    Column("CUDA by hand", "cuda", ".3g"),
    Column("its transfer", "cuda_transfer", ".3g"),
    Column("diffrax vmap", "diffrax", ",.3g"),
    Column("of", "diffrax_solved", ",d"),
    Column("CuBIE, transfer", "cubie", ",.3g"),
    Column("2 CPU cores", "cpu", ",.3g"),
    Column("without transfer", "cpu_device", ",.3g"),
    Column("V100: best published ms", "published", ",.4g"),
)


def tables(bench: Bench) -> list[Table]:
    """All tables, ratios last."""
    rows = bench.rows
    found = [
        Table("small kernels on the device and on the CPU", CHECKS, rows.get(check.TABLE, [])),
        Table("ensembles", ENSEMBLES, rows.get(ensembles.TABLE, [])),
        Table("gradients of Lorenz ensembles, float64", GRADIENTS, rows.get(gradient.TABLE, [])),
        Table("calibration of circulation twins", CALIBRATIONS, rows.get(calibration.TABLE, [])),
        Table("lanes beside the GPU's limits", LIMITS, list(_limits(bench))),
        Table(
            "lanes beside others: times of theirs over those of lanes, each over its trajectories",
            RATIOS,
            ratios(bench),
        ),
    ]
    return [table for table in found if table.rows]


def _limits(bench: Bench) -> Iterable[Row]:
    for row in bench.rows.get(ensembles.TABLE, []):
        if "flops" in row:
            each = sum(row["operations_a_step"].values())
            told = {"operations": each, "gflops": row["flops"] / 1e9, "gigabytes": row["bytes_per_s"] / 1e9}
            yield row | told


def ratios(bench: Bench) -> list[Row]:
    """A row a case: how many times longer the others take for a trajectory.

    Those from NumPy to NumPy, as CPU lanes are too, beside lanes with transfer.
    """
    cases: dict[Any, dict[str, Row]] = {}
    for row in bench.rows.get(ensembles.TABLE, []):
        cases.setdefault(tuple(row[name] for name in _KEY), {})[row["solver"]] = row
    found = []
    for key, solvers in cases.items():

        def over(name: str, own: str = LANES, kept: str = "rate", solvers: dict[str, Row] = solvers) -> float | None:
            if name not in solvers or own not in solvers or not solvers[name]["rate"]:
                return None
            # of as many trajectories as the other had, where it had fewer than all (two cores are full with far fewer)
            fewer = name == DIFFRAX and solvers[name]["solved"] < solvers[name]["trajectories"]
            rate = solvers[name].get("lanes_rate") if fewer else solvers[own].get(kept)
            return None if rate is None else rate / solvers[name]["rate"]

        row: Row = dict(zip(_KEY, key, strict=True))
        row["lanes"] = solvers[LANES]["milliseconds"] if LANES in solvers else None
        row["transfer"] = solvers[TRANSFER]["milliseconds"] if TRANSFER in solvers else None
        row["diffrax_solved"] = solvers[DIFFRAX]["solved"] if DIFFRAX in solvers else None
        row |= {"cuda": over(CUDA, kept="queued_rate"), "diffrax": over(DIFFRAX)}
        row |= {"cpu": over(CPU, TRANSFER), "cpu_device": over(CPU)}
        row |= {"cuda_transfer": over(CUDA_TRANSFER, TRANSFER), "cubie": over(CUBIE, TRANSFER)}
        if row["problem"] == "lorenz" and row["precision"] == "float32":
            told = [times.get(row["trajectories"]) for times in PUBLISHED[row["mode"]].values()]
            row["published"] = min((t for t in told if t is not None), default=None)
        found.append(row)
    return found


def targets(bench: Bench) -> list[Target]:
    """What is wanted, as far as there are rows."""
    found: list[Target] = []

    def want(what: str, wanted: float, measured: float | None, at_least: bool = False, unit: str = "") -> None:
        found.append(Target(what, wanted, measured, at_least, unit))

    if checks := [row["different"] for row in bench.rows.get(check.TABLE, []) if "different" in row]:
        want("small kernels: numbers that are not the CPU's to the last bit", 0.0, float(sum(checks)))
    rows = bench.rows.get(ensembles.TABLE, [])
    own = [row for row in rows if row["solver"] in (LANES, TRANSFER)]
    exact = [row["off_cpu_max"] for row in own if row["precision"] == "float64" and "off_cpu_max" in row]
    if exact:
        want("float64: largest difference of lanes from the CPU's, over all cases", AGREEMENT, max(exact))
    rough = [_rounding(row, rows) for row in own if row["precision"] == "float32" and "error_median" in row]
    if rough := [value for value in rough if value is not None]:
        want("float32: median error of lanes over that of the CPU's, worst case", ROUNDING, max(rough), unit="x")
    for row in own:
        if (row["problem"], row["precision"], row["trajectories"]) == ("lorenz", "float32", 2**23) and row[
            "solver"
        ] == LANES:
            wanted = ADAPTIVE_MS if row["mode"] == "adaptive" else FIXED_MS
            # what fails early is no faster for it
            needed = row["milliseconds"] if row["ok"] == row["solved"] else math.inf
            want(f"Lorenz, 8,388,608, float32, {row['mode']} (on an H200)", wanted, needed, unit="ms")
    for row in ratios(bench):
        name = f"{row['problem']}, {row['mode']}, {row['precision']}, {row['trajectories']:,}"
        demanded = row["problem"] in ("circulation", "pollu", "ten_tusscher")
        if demanded:
            fewer = row["diffrax_solved"] not in (None, row["trajectories"])
            of = f", {row['diffrax_solved']:,} of them" if fewer else ""
            want(f"{name}{of}: over diffrax vmap", 20.0, row["diffrax"], at_least=True, unit="x")
        by_hand = 1.0 / row["cuda"] if row["cuda"] else None
        if demanded or (row["problem"] == "lorenz" and by_hand):
            want(f"{name}: lanes' time over that of CUDA by hand", 1.5, by_hand, unit="x")
        if demanded and row["trajectories"] >= FEWEST:
            want(f"{name}: over lanes on two CPU cores", 30.0, row["cpu"], at_least=True, unit="x")
    slopes = bench.rows.get(gradient.TABLE, [])
    if exact := [row["off_cpu_max"] for row in slopes if "off_cpu_max" in row]:
        want("gradients: largest difference of lanes from the CPU's", AGREEMENT, max(exact))
    for row in slopes:
        what = f"gradient, {row['trajectories']:,} trajectories, error {row['goal']:g}"
        if row["solver"] == CUDA:
            by_hand = 1.0 / row["ratio"] if row.get("ratio") else None
            want(f"{what}: lanes' time over that of CUDA by hand", 1.5, by_hand, unit="x")
        if row["solver"] == DIFFRAX:
            want(f"{what}: over diffrax's checkpointed adjoint", 20.0, row.get("ratio"), at_least=True, unit="x")
    for row in bench.rows.get(calibration.TABLE, []):
        what = f"calibration of {row['twins']:,} twins: share that ended well"
        want(what, row["enough"], row["ok"] / row["twins"], at_least=True)
    return found


def _rounding(row: Row, rows: list[Row]) -> float | None:
    """A float32 error over that on the CPU."""
    same = [r for r in rows if r["solver"] == CPU and all(r[name] == row[name] for name in _KEY)]
    if not same or not same[0]["error_median"]:
        return None
    return row["error_median"] / same[0]["error_median"]


def published() -> list[str]:
    """What was published of Lorenz ensembles of 8,388,608 on a V100."""
    return [
        f"V100, published (the least of many calls; MPGOS: one), 8,388,608 Lorenz trajectories, float32, {mode}: "
        + ", ".join(f"{name} {times[2**23]:,.4g} ms" for name, times in solvers.items())
        for mode, solvers in PUBLISHED.items()
    ]


NOTES = (
    "Times: medians of x calls with fresh inputs, after one that is not counted (x 1: the first call alone, compiled before, "
    "where more would take too long); on the device from inputs that lie there until the results do, with transfer from NumPy "
    "to NumPy. Queued: a call among others, each begun before the last has ended. CUDA by hand: events of the device, of calls "
    "one after another, which is set beside the queued calls of lanes; transfer from pinned memory. Two CPU cores: from NumPy "
    "to NumPy, beside lanes with transfer.",
    "Errors: at the end, largest over the states of |error| / (|state| + threshold), threshold = atol / rtol; against the CPU "
    "lanes in float64 at a tight tolerance. Off the CPU: the same against the CPU lanes at equal settings and precision.",
    "Operations: +, -, *, /, roots, extrema and elementary functions of one step, one each, times the steps the solver "
    "tells: a lower bound. The GPU's limits count a fused multiplication and addition as two, at its highest clock.",
    "Bytes: inputs and outputs of a solve, once each. MiB: the most that JAX had in use on the device so far in this run.",
    f"{GRADSOLVE}: the gradient by replay of steps recorded before; the recording, which compiles, is a column of its own. "
    f"Errors of {GRADSOLVE} and {DIFFRAX} are against the gradient of {DIFFRAX} at 1e-12, those of the others against "
    f"that of lanes. The gradient by {DIFFRAX} is the faster one of its states as a vector and as scalars.",
)
