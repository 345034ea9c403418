"""An ensemble on all solvers: each one's time, with its errors against a reference and the lanes' against those of the CPU."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from benchmarks.gpu import lanes, operations, peer_diffrax, peer_packages
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.cases import CPU, CUBIE, CUDA, CUDA_TRANSFER, DIFFRAX, LANES, TRANSFER, Ensemble
from benchmarks.gpu.problems import Columns, errors, of_all, problem, rolled
from benchmarks.gpu.timing import Timed, timed
from benchmarks.gpu.worker import Answer
from benchmarks.peers.build import Unavailable

TABLE = "ensembles"


class Truth(NamedTuple):
    """What the CPU lanes say of some trajectories.

    Attributes:
        which: of the ensemble.
        exact: in float64 at a tight tolerance.
        same: at the case's own settings and precision.
    """

    which: Int[np.ndarray, " some"]
    exact: Float[np.ndarray, "some states"]
    same: Answer


def run(case: Ensemble, bench: Bench) -> None:
    """Measure a case.

    Args:
        case: what.
        bench: where rows go.
    """
    Run(case, bench).run()


class Run:
    """A case on all solvers.

    Args:
        case: what.
        bench: where rows go.
    """

    def __init__(self, case: Ensemble, bench: Bench) -> None:
        self.case, self.bench, self.problem = case, bench, problem(case.problem)
        mode, count = case.settings.mode, case.trajectories
        self.label = f"{case.problem}, {mode}, {case.precision}, {count:,} trajectories"
        self.key = {"problem": case.problem, "mode": mode, "precision": case.precision, "trajectories": count}
        self.columns = _drawn(case.problem, count)

    def run(self) -> None:
        """Measure it."""
        case, bench = self.case, self.bench
        same = replace(case, solvers=(), repeats=0, most=0.0)

        def on_cpu() -> Row:
            bench.truths[same] = self.truth()
            return self.cpu(bench.truths[same])

        size = case.trajectories
        cpu_kind = (CPU, *self.kind)
        if same not in bench.truths:
            bench.attempt(TABLE, f"{self.label}: {CPU}", on_cpu, cpu_kind, case.cpu_trajectories)
        truth = bench.truths.get(same)
        measures: dict[str, Callable[[Truth | None], Row]] = {
            LANES: self.lanes,
            TRANSFER: self.transfer,
            CUDA: self.cuda,
            DIFFRAX: self.diffrax,
            CUBIE: self.cubie,
        }
        for name in case.solvers:
            measure = functools.partial(measures[name], truth)
            # the program by hand makes all its repeats, with and without transfer
            calls = 2 * case.repeats if name == CUDA else 4
            at = case.peer_trajectories or size if name == DIFFRAX else size
            bench.attempt(TABLE, f"{self.label}: {name}", measure, (name, *self.kind), at, calls)

    @property
    def kind(self) -> tuple[str, str, str]:
        """What cases share whose time grows with their size alone."""
        return self.case.problem, self.case.precision, self.case.settings.mode

    @property
    def most(self) -> float:
        """Seconds of all repeats, which must not outlast the run."""
        return self.bench.within(self.case.most)

    # ------------------------------------------------------------------------------------------------- on the CPU

    def truth(self) -> Truth:
        """Two answers of the CPU lanes for trajectories that lie evenly over the ensemble."""
        case, count = self.case, self.case.trajectories
        which = np.unique(np.linspace(0, count - 1, min(case.check, count)).round().astype(int))
        some = {name: column[which] for name, column in self.columns.items()}
        tight = case.settings.but(rtol=case.truth, step=None, first_step=0.0)
        exact = self.bench.worker.ask(case.problem, tight, "float64", some)
        same = self.bench.worker.ask(case.problem, case.settings, case.precision, some)
        return Truth(which, np.where(exact.status[:, None] == 0, exact.values, np.nan), same)

    def cpu(self, truth: Truth) -> Row:
        case = self.case
        count = min(case.cpu_trajectories, case.trajectories)
        which = np.linspace(0, case.trajectories - 1, count).round().astype(int)
        some = {name: column[which] for name, column in self.columns.items()}
        answer = self.bench.worker.ask(case.problem, case.settings, case.precision, some, (), case.repeats)
        off = errors(truth.same.values, truth.exact, self.problem.threshold)
        ok, median = int(np.sum(answer.status == 0)), float(np.median(answer.seconds))
        return self.row(CPU, count, ok, median, answer.seconds) | {
            **_spread("error", off),
            "steps": float(np.mean(answer.steps)),
            "cores": answer.cores,
        }

    # ------------------------------------------------------------------------------------------------------ lanes

    def lanes(self, truth: Truth | None) -> Row:
        """On inputs that lie on the device, until the results do."""
        made = self.compiled
        found = self.on_device(made.run, lambda k: made.given(rolled(self.columns, k)))
        result = lanes.in_rows(lanes.fetched(found.result))
        row = self.measured(LANES, found, result, truth)
        steps = float(np.sum(result.steps, dtype=np.float64))
        moved = _bytes(made.given(self.columns)) + _bytes(found.result)
        row |= {"compile_seconds": made.seconds, "memory_mib": memory_peak()}

        def beside_limits() -> Row:
            each = sum((operations.of_a_step(program) for program in made.programs), Counter())
            return {"operations_a_step": dict(each)} | self.against_limits(each, steps, moved, found.median)

        label = f"{self.label}: {LANES}"
        row |= self.bench.optional(f"{label}, queued", lambda: self.queued(made, found.median, row["ok"]))
        row |= self.bench.optional(f"{label}, operations", beside_limits)
        return row | self.bench.optional(f"{label}, registers", lambda: self.usage(made.programs))

    def queued(self, made: lanes.Compiled, seconds: float, ok: int) -> Row:
        """A call among others, each begun before the last has ended, as the program by hand makes its own."""
        each, calls = lanes.queued(made.run, made.given(self.columns), self.case.repeats, self.most, seconds)
        return {"queued_milliseconds": 1e3 * each, "queued_rate": ok / each, "queued_calls": calls}

    def transfer(self, truth: Truth | None) -> Row:
        """From NumPy to NumPy."""
        made = self.compiled

        def make(k: int) -> Any:
            return made.given(rolled(self.columns, k))

        def call(given: Any) -> Any:
            return lanes.fetched(made.run(jax.device_put(given)))

        found = timed(make, call, self.case.repeats, self.most, compiled=True)
        return self.measured(TRANSFER, found, lanes.in_rows(found.result), truth)

    @functools.cached_property
    def compiled(self) -> lanes.Compiled:
        """Of the whole ensemble."""
        return lanes.compiled(self.problem, self.case.settings, self.case.precision, self.columns)

    def on_device(
        self, run: Callable[[Any], Any], make: Callable[[int], Any], worth: Callable[[Any], bool] = lambda _: True
    ) -> Timed[Any]:
        """Calls of what was compiled ahead, on arguments that lie on the device, until the results do."""
        return timed(
            lambda k: jax.block_until_ready(jax.device_put(make(k))),
            lambda given: jax.block_until_ready(run(given)),
            self.case.repeats,
            self.most,
            worth,
            compiled=True,
        )

    def measured(self, name: str, found: Timed[Any], result: lanes.Solved, truth: Truth | None) -> Row:
        """A row of lanes: also how far they are from those on the CPU, at the same settings."""
        status = result.status
        row = self.row(name, len(status), int(np.sum(status == 0)), found.median, found.seconds)
        row |= {"first_seconds": found.first, "steps": float(np.mean(result.steps))}
        if truth is None:
            return row
        rows = _unrolled(truth.which, found.last, len(status))
        values = result.values[rows]
        same, threshold = truth.same, self.problem.threshold
        row |= _spread("error", errors(values, truth.exact, threshold))
        row |= _spread("off_cpu", errors(values, same.values.astype(np.float64), threshold))
        by_state = np.abs(values.astype(np.float64) - same.values) / (np.abs(same.values) + threshold)
        return row | {
            "off_cpu_by_state": dict(zip(self.problem.states, np.nanmax(by_state, axis=0).tolist(), strict=True)),
            "off_cpu_beyond": int(np.sum(~(np.max(by_state, axis=1) <= 1e-10))),
            "off_cpu_status": int(np.sum(status[rows] != same.status)),
            "off_cpu_steps": int(np.sum(result.steps[rows] != same.steps)),
            "checked": len(rows),
        }

    def against_limits(self, each: Counter[str], steps: float, moved: int, seconds: float) -> Row:
        """Operations and bytes a second, and as shares of what the GPU can do."""
        row: Row = {"flops": each.total() * steps / seconds, "bytes_per_s": moved / seconds, "bytes_moved": moved}
        limits = self.bench.limits
        if limits is not None and limits.float32:
            # each type has units of its own
            busy = max(each["float32"] / limits.float32, each["float64"] / limits.float64)
            row["flops_share"] = busy * steps / seconds
        if limits is not None and limits.bandwidth:
            row["bytes_share"] = moved / seconds / limits.bandwidth
        return row

    def usage(self, programs: list[Any]) -> Row:
        """Registers and local memory of a thread, as the driver tells them, and how the kernel came to be."""
        if not self.bench.on_gpu or len(programs) != 1:
            return {}
        from vht_kernels import driver

        kernel = programs[0].device_kernel
        registers, local = driver.kernel_usage(kernel.handle, kernel.ordinal)
        told = {
            "registers": registers,
            "local_bytes": local,
            "block": lanes.block(self.case.trajectories, self.bench.limits),
            "architecture": kernel.architecture,
        }
        return told | {"kernel_seconds": kernel.seconds, "from_disk": kernel.from_disk}

    # ------------------------------------------------------------------------------------------------------ peers

    def cuda(self, truth: Truth | None) -> Row:
        from benchmarks.peers import cuda_kernels

        case, what = self.case, cuda_kernels.PROBLEMS[self.case.problem]
        architecture = "native" if self.bench.on_gpu else cuda_kernels.CPU
        count = case.trajectories
        settings = case.settings
        found = cuda_kernels.run(
            case.problem,
            case.precision,  # type: ignore[arg-type]
            of_all(self.problem, self.columns, what.columns),
            settings.mode,
            settings.rtol,
            settings.rtol * self.problem.threshold,
            case.repeats,
            architecture,
            True,
            first_step=settings.first_step,
            steps=1000 if settings.step is None else round(self.problem.end / settings.step),
            end=self.problem.end,
            block=lanes.block(count, self.bench.limits),
            timeout=max(self.bench.left, 30.0),
        )
        order = [what.outputs.index(name) for name in self.problem.states]
        ok = int(np.sum(found.status == 0))
        shared = {
            "steps": float(np.mean(found.steps)),
            "registers": found.registers,
            "local_bytes": found.local_bytes,
            "block": found.block,
            "occupancy": found.occupancy,
            "compile_seconds": found.compile_seconds,
            "made_with": found.made_with,
        }
        if truth is not None:
            off = errors(found.values[order].T[truth.which], truth.exact, self.problem.threshold)
            shared |= _spread("error", off)
        if found.transfer_seconds:
            median = float(np.median(found.transfer_seconds))
            row = self.row(CUDA_TRANSFER, count, ok, median, found.transfer_seconds) | shared
            self.bench.rows.setdefault(TABLE, []).append(row)
        return self.row(CUDA, count, ok, float(np.median(found.kernel_seconds)), found.kernel_seconds) | shared

    def diffrax(self, truth: Truth | None) -> Row:
        case = self.case
        settings = case.settings if case.peer_rtol is None else case.settings.but(rtol=case.peer_rtol)
        count = min(case.peer_trajectories or case.trajectories, case.trajectories)
        # evenly over the ensemble, the checked ones first where they are fewer
        which = np.linspace(0, case.trajectories - 1, count).round().astype(int)
        own = {name: column[which].astype(case.precision) for name, column in self.columns.items()}
        begin = time.perf_counter()
        compiled = peer_diffrax.solver(self.problem, settings, case.precision, case.peer_max_steps).lower(own).compile()  # type: ignore[attr-defined]
        seconds = time.perf_counter() - begin

        found = self.on_device(compiled, lambda k: rolled(own, k), _some_ok)
        good = np.asarray(found.result.ok)
        row = self.row(DIFFRAX, count, int(np.sum(good)), found.median, found.seconds)
        row |= {
            "steps": float(np.mean(np.asarray(found.result.steps))),
            "compile_seconds": seconds,
            "rtol": settings.rtol,
        }
        if count < case.trajectories:
            row |= self.bench.optional(f"{self.label}: {LANES}, {count:,} of them", lambda: self.as_many(own))
        if truth is not None:
            # those of the checked ones that it solved
            _, mine, theirs = np.intersect1d(which, truth.which, return_indices=True)
            rows = _unrolled(mine, found.last, count)
            values = np.where(good[:, None], np.asarray(found.result.values), np.nan)
            off = errors(values[rows], truth.exact[theirs], self.problem.threshold)
            row |= _spread("error", off) | {"checked": len(rows)}
        return row

    def as_many(self, columns: Columns) -> Row:
        """The rate of lanes with as few trajectories as another solver was given."""
        made = lanes.compiled(self.problem, self.case.settings, self.case.precision, columns)
        found = self.on_device(made.run, lambda k: made.given(rolled(columns, k)))
        return {"lanes_rate": int(np.sum(np.asarray(found.result.status) == 0)) / found.median}

    def cubie(self, truth: Truth | None) -> Row:
        if not self.bench.on_gpu:
            raise Unavailable("needs a GPU")
        case = self.case
        prepare, call, in_rows = peer_packages.cubie(self.problem, case.settings, case.precision)
        found = timed(lambda k: prepare(rolled(self.columns, k)), call, case.repeats, self.most)
        result = in_rows(found.result)
        row = self.row(CUBIE, case.trajectories, int(np.sum(result.ok)), found.median, found.seconds)
        row |= {"first_seconds": found.first, "version": peer_packages.version("cubie")}
        if truth is not None:
            rows = _unrolled(truth.which, found.last, case.trajectories)
            row |= _spread("error", errors(result.values[rows], truth.exact, self.problem.threshold))
        return row

    def row(self, name: str, count: int, ok: int, seconds: float, all_seconds: tuple[float, ...]) -> Row:
        """What all rows have; rates count trajectories that ended well."""
        return self.key | {
            "solver": name,
            "solved": count,
            "ok": ok,
            "milliseconds": 1e3 * seconds,
            "seconds": seconds,
            "all_seconds": list(all_seconds),
            "repeats": len(all_seconds),
            "rate": ok / seconds,
            "rtol": self.case.settings.rtol,
        }


@functools.lru_cache(maxsize=1)
def _drawn(name: str, count: int) -> Columns:
    return problem(name).draw(count)


def _some_ok(result: peer_diffrax.Solved) -> bool:
    """A budget that all of them spend in vain is spent once."""
    return bool(np.any(np.asarray(result.ok)))


def _unrolled(which: Int[np.ndarray, " some"], by: int, count: int) -> Int[np.ndarray, " some"]:
    """Where trajectories lie among those that were rolled."""
    return (which + by) % count


def _spread(name: str, values: Float[np.ndarray, " some"]) -> Row:
    """Median and largest; a trajectory without a number counts as infinitely wrong."""
    found = np.where(np.isnan(values), np.inf, values)
    return {f"{name}_median": float(np.median(found)), f"{name}_max": float(np.max(found, initial=0.0))}


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def memory_peak() -> float | None:
    """Most memory of the device that was in use at any time so far, MiB; None where JAX does not tell."""
    told = jax.local_devices()[0].memory_stats() or {}
    peak = told.get("peak_bytes_in_use")
    return None if peak is None else peak / 2**20
