"""Gradients of Lorenz ensembles: forward sensitivities in the kernel against reverse mode, at equal errors of the gradient.

The objective is the sum of all states at the end of all trajectories; its gradient by each trajectory's rho and three initial
values has four numbers a trajectory. float64 throughout. Each solver takes the loosest tolerance of a ladder at which the
median error on a pilot falls to the goal, against its own gradient at the reference's tolerance.
"""

from __future__ import annotations

import abc
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from benchmarks.gpu import lanes, peer_diffrax, peer_packages
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.cases import CPU, CUDA, DIFFRAX, GRADSOLVE, LANES, Gradient
from benchmarks.gpu.problems import Columns, Problem, Settings, problem, rolled
from benchmarks.gpu.timing import timed
from benchmarks.peers.build import Unavailable

TABLE = "gradients"
FREE = ("rho", "initial.x", "initial.y", "initial.z")
START = (1.0, 0.0, 0.0)
# of diffrax's budget above the most steps of the pilot
MARGIN, SPARE = 1.1, 16
# times the goal: looser tolerances are not tried
LOOSEST = 10.0
PILOT_STEPS = 4096

Slopes = Float[np.ndarray, "trajectories 4"]


@dataclass(frozen=True)
class Tuned:
    """A solver's tolerance for a goal.

    Attributes:
        rtol: the loosest that reaches it; the absolute tolerance is the same number.
        median: error there, over the pilot.
        largest: the same.
        most_steps: of a trajectory, where the solver tells.
    """

    rtol: float
    median: float
    largest: float
    most_steps: int = 0


def run(case: Gradient, bench: Bench) -> None:
    """Measure a case.

    Args:
        case: what.
        bench: where rows go.
    """
    lorenz = problem("lorenz")
    pilot, columns = lorenz.draw(min(case.pilot, case.trajectories)), lorenz.draw(case.trajectories)
    solvers = (_Lanes(case, bench), _Cuda(case, bench), _Diffrax(case, bench), _Gradsolve(case, bench))
    references: dict[str, Slopes] = {}

    def reference(solver: _Solver) -> Slopes:
        if solver.like not in references:
            owner = next(one for one in solvers if one.name == solver.like)
            references[solver.like] = owner.slopes(pilot, case.truth)[0]
        return references[solver.like]

    for goal in case.goals:
        rows: dict[str, Row] = {}
        for solver in solvers:
            label = f"gradient, {case.trajectories:,} trajectories, error {goal:g}: {solver.name}"

            def measure(solver: _Solver = solver, goal: float = goal) -> Row:
                tuned = _tune(solver, pilot, reference(solver), goal, case)
                seconds, all_seconds, more = solver.measure(columns, tuned)
                return {
                    "solver": solver.name,
                    "trajectories": case.trajectories,
                    "goal": goal,
                    "rtol": tuned.rtol,
                    "error_median": tuned.median,
                    "error_max": tuned.largest,
                    "disagreement": _disagreement(references),
                    "milliseconds": 1e3 * seconds,
                    "seconds": seconds,
                    "all_seconds": list(all_seconds),
                    "repeats": len(all_seconds),
                    "rate": case.trajectories / seconds,
                } | more

            found = bench.attempt(TABLE, label, measure, (TABLE, solver.name, goal), case.trajectories)
            if found is not None:
                rows[solver.name] = found
        for row in rows.values():
            row["ratio"] = _ratio(row, rows.get(LANES))
        bench.keep()


def _ratio(row: Row, own: Row | None) -> float | None:
    """A solver's time over that of lanes; None unless both have solved all, as far as they tell.

    What is timed by events of the device is set beside calls one after another.
    """
    if own is None or any(one.get("ok", one["trajectories"]) < one["trajectories"] for one in (row, own)):
        return None
    return row["seconds"] / own["queued_seconds" if row["solver"] == CUDA else "seconds"]


def _tune(solver: _Solver, pilot: Columns, truth: Slopes, goal: float, case: Gradient) -> Tuned:
    for rtol in case.ladder:
        if rtol > LOOSEST * goal:
            continue
        slopes, steps = solver.slopes(pilot, rtol)
        off = _errors(slopes, truth)
        if np.median(off) <= goal:
            return Tuned(rtol, float(np.median(off)), float(np.max(off)), steps)
    raise Unavailable(f"no tolerance down to {case.ladder[-1]:g} gives a median error of {goal:g}")


def _errors(slopes: Slopes, truth: Slopes) -> Float[np.ndarray, " trajectories"]:
    """Largest error of a trajectory's gradient over its largest number; infinite where there is none."""
    with np.errstate(invalid="ignore"):
        off = np.max(np.abs(slopes - truth), axis=1) / np.max(np.abs(truth), axis=1)
    return np.where(np.isnan(off), np.inf, off)


def _disagreement(references: dict[str, Slopes]) -> float | None:
    """Largest error of diffrax's reference against that of lanes."""
    if not {LANES, DIFFRAX} <= set(references):
        return None
    return float(np.max(_errors(references[DIFFRAX], references[LANES])))


class _Solver(abc.ABC):
    """What all of them do.

    Attributes:
        name: of the solver.
        like: whose reference it is held to.
    """

    name: str
    like: str

    def __init__(self, case: Gradient, bench: Bench) -> None:
        self.case, self.bench = case, bench
        self.problem = problem("lorenz")

    @abc.abstractmethod
    def slopes(self, columns: Columns, rtol: float) -> tuple[Slopes, int]:
        """The gradient, and the most steps of a trajectory (0 if it does not tell)."""

    @abc.abstractmethod
    def measure(self, columns: Columns, tuned: Tuned) -> tuple[float, tuple[float, ...], Row]:
        """Median of the seconds, all of them, and what else there is to say."""

    def timed(
        self, make: Callable[[int], Any], call: Callable[[Any], Any], compiled: bool = True
    ) -> tuple[float, tuple[float, ...], float]:
        most = self.bench.within(self.case.most)
        found = timed(make, call, self.case.repeats, most, compiled=compiled)
        return found.median, found.seconds, found.first


class _Lanes(_Solver):
    name = like = LANES

    def slopes(self, columns: Columns, rtol: float) -> tuple[Slopes, int]:
        solved = lanes.solve(self.problem, Settings(rtol), "float64", columns, FREE)
        return solved.gradient, int(np.max(solved.steps))

    def measure(self, columns: Columns, tuned: Tuned) -> tuple[float, tuple[float, ...], Row]:
        made = lanes.compiled(self.problem, Settings(tuned.rtol), "float64", columns, FREE)

        def make(k: int) -> Any:
            return jax.block_until_ready(jax.device_put(made.given(rolled(columns, k))))

        median, all_seconds, first = self.timed(make, lambda g: jax.block_until_ready(made.run(g)))
        most = self.bench.within(self.case.most)
        each, calls = lanes.queued(made.run, made.given(columns), self.case.repeats, most, median)
        result = lanes.in_rows(lanes.fetched(made.run(make(0))))
        which = np.unique(
            np.linspace(0, self.case.trajectories - 1, min(self.case.pilot, self.case.trajectories)).astype(int)
        )
        some = {name: column[which] for name, column in columns.items()}
        cpu = self.bench.worker.ask("lorenz", Settings(tuned.rtol), "float64", some, FREE, repeats=3)
        off = _errors(result.gradient[which], cpu.gradient)
        return (
            median,
            all_seconds,
            {
                "compile_seconds": made.seconds,
                "first_seconds": first,
                "queued_seconds": each,
                "queued_milliseconds": 1e3 * each,
                "queued_calls": calls,
                "ok": int(np.sum(result.status == 0)),
                "steps": float(np.mean(result.steps)),
                "off_cpu_max": float(np.max(off)),
                "cpu": f"{CPU}: {np.median(cpu.seconds):.3g} s for {len(which):,}",
            },
        )


class _Cuda(_Solver):
    name, like = CUDA, LANES

    def _run(self, columns: Columns, rtol: float, repeats: int) -> Any:
        from benchmarks.peers import cuda_kernels

        architecture = "native" if self.bench.on_gpu else cuda_kernels.CPU
        table = columns["rho"][None]
        return cuda_kernels.run(
            *("lorenz_gradient", "float64", table, "adaptive", rtol, rtol, repeats, architecture),
            block=lanes.block(table.shape[1], self.bench.limits),
            timeout=max(self.bench.left, 30.0),
        )

    def slopes(self, columns: Columns, rtol: float) -> tuple[Slopes, int]:
        found = self._run(columns, rtol, 1)
        return found.values[3:].T, int(np.max(found.steps))

    def measure(self, columns: Columns, tuned: Tuned) -> tuple[float, tuple[float, ...], Row]:
        found = self._run(columns, tuned.rtol, self.case.repeats)
        return (
            float(np.median(found.kernel_seconds)),
            found.kernel_seconds,
            {
                "ok": int(np.sum(found.status == 0)),
                "steps": float(np.mean(found.steps)),
                "registers": found.registers,
                "compile_seconds": found.compile_seconds,
            },
        )


class _Diffrax(_Solver):
    name = like = DIFFRAX

    def slopes(self, columns: Columns, rtol: float) -> tuple[Slopes, int]:
        (by_columns, by_initial), (ok, steps) = _pilot()(columns, _initial(columns), rtol)
        slopes = np.where(np.asarray(ok)[:, None], _joined(by_columns, by_initial), np.nan)
        return slopes, int(np.max(np.asarray(steps)))

    def measure(self, columns: Columns, tuned: Tuned) -> tuple[float, tuple[float, ...], Row]:
        """Of two ways to write the equations, the one that turns out faster."""
        forms = {"a vector": self.problem, "scalars": replace(self.problem, vector=None)}
        found = [self._measured(form, given, columns, tuned) for form, given in forms.items()]
        return min(found, key=lambda one: one[0])

    def _measured(
        self, form: str, given: Problem, columns: Columns, tuned: Tuned
    ) -> tuple[float, tuple[float, ...], Row]:
        budget = int(MARGIN * tuned.most_steps) + SPARE
        call = peer_diffrax.gradient(given, "float64", budget)
        begin = time.perf_counter()
        compiled = call.lower(columns, _initial(columns), tuned.rtol).compile()  # type: ignore[attr-defined]
        seconds = time.perf_counter() - begin

        def make(k: int) -> Any:
            fresh = rolled(columns, k)
            return jax.block_until_ready(jax.device_put((fresh, _initial(fresh), tuned.rtol)))

        median, all_seconds, first = self.timed(make, lambda g: jax.block_until_ready(compiled(*g)))
        _, (ok, steps) = compiled(*make(0))
        return (
            median,
            all_seconds,
            {
                "compile_seconds": seconds,
                "first_seconds": first,
                "ok": int(np.sum(np.asarray(ok))),
                "steps": float(np.mean(np.asarray(steps))),
                "budget": budget,
                "states_as": form,
            },
        )


class _Gradsolve(_Solver):
    name, like = GRADSOLVE, DIFFRAX

    def _record(self, columns: Columns, rtol: float) -> tuple[Any, Any, str]:
        record = peer_packages.gradsolve(self.problem, Settings(rtol), "cuda" if self.bench.on_gpu else "cpu")
        return record(columns, _initial(columns))

    def slopes(self, columns: Columns, rtol: float) -> tuple[Slopes, int]:
        gradient, given, _ = self._record(columns, rtol)
        return _joined(*gradient(*given)), 0

    def measure(self, columns: Columns, tuned: Tuned) -> tuple[float, tuple[float, ...], Row]:
        begin = time.perf_counter()
        gradient, given, route = self._record(columns, tuned.rtol)
        recording = time.perf_counter() - begin
        # the steps belong to these trajectories: the same numbers in new places of memory
        median, all_seconds, first = self.timed(
            lambda _: jax.block_until_ready(jax.device_put(jax.tree.map(np.copy, given))),
            lambda g: jax.block_until_ready(gradient(*g)),
            compiled=False,
        )
        return (
            median,
            all_seconds,
            {
                "recording_seconds": recording,
                "first_seconds": first,
                "version": peer_packages.version("gradsolve"),
                "route": route,
            },
        )


@functools.cache
def _pilot() -> Callable[[Columns, Any, Any], tuple[Any, Any]]:
    return peer_diffrax.gradient(problem("lorenz"), "float64", PILOT_STEPS)


def _initial(columns: Columns) -> Float[np.ndarray, "trajectories 3"]:
    return np.tile(START, (len(columns["rho"]), 1))


def _joined(by_columns: Any, by_initial: Any) -> Slopes:
    return np.concatenate([np.asarray(by_columns["rho"])[:, None], np.asarray(by_initial)], axis=1)
