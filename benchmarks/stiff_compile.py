"""The time to compile stiff kernels, for larger and larger models and more and more sensitivities."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.cases import Stiff
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers import stiff_lanes
from benchmarks.stiff_problems import OHARA_RUDY, PROBLEMS, Problem, ensemble

COLUMNS = (
    Column("model", "model"),
    Column("states", "states", "d"),
    Column("sensitivities", "free", "d"),
    Column("kernels", "kernels", "d"),
    Column("equations", "equations", ",d"),
    Column("LLVM s", "kernel_seconds", ".2f"),
    Column("first call s", "seconds", ".2f"),
    Column("s per 1,000 equations", "per_thousand", ".3f"),
)
# twins in the call, and what of the problem's time is simulated: all but nothing
_TWINS, _SHARE = 16, 1e-6


def compile_times(case: Stiff, outcome: Outcome, say: Say) -> None:
    """Fill in the table and the targets."""
    rows: list[dict[str, Any]] = []
    for name in case.compiled:
        problem = (PROBLEMS | {OHARA_RUDY.name: OHARA_RUDY})[name]
        for free in case.free:
            say(f"compiling {name} with {free} sensitivities ...")
            try:
                rows.append(_compile(problem, free))
            except ImportError as error:
                outcome.skipped[f"compiling {name}"] = str(error)
                break
    outcome.tables.append(Table("stiff, time to compile", COLUMNS, rows))
    for free, limit in ((0, 20.0), (8, 60.0)):
        seconds = [row["seconds"] for row in rows if row["model"] == OHARA_RUDY.name and row["free"] == free]
        what = "plain" if free == 0 else f"with {free} sensitivities"
        outcome.targets.append(Target(f"first call, 48 states {what}", limit, max(seconds, default=None), unit="s"))
    outcome.targets.append(
        Target("power of the number of equations with which the first call grows", 1.0, _growth(rows))
    )
    outcome.notes.append(
        "Time to compile: the first call with an empty cache of kernels, less the second: tracing by JAX, lowering, LLVM. "
        "The power is the slope of its logarithm over that of the equations, by least squares."
    )


def _growth(rows: list[dict[str, Any]]) -> float | None:
    equations = np.array([row["equations"] for row in rows], np.float64)
    if len(np.unique(equations)) < 3:
        return None
    return float(np.polyfit(np.log(equations), np.log([row["seconds"] for row in rows]), 1)[0])


def _compile(problem: Problem, free: int) -> dict[str, Any]:
    from vht.solve import simulate, simulate_with_jacobian

    twins = ensemble(problem, _TWINS)
    settings: dict[str, Any] = {
        "twins": {name: twins.parameters[:, i] for i, name in enumerate(twins.names)},
        "schedule": stiff_lanes.schedule(problem),
        "observe": problem.names,
        "method": stiff_lanes.method(problem, 1e-4),
        "backend": "lanes",
    }

    def call() -> float:
        begin = time.perf_counter()
        times = np.array([_SHARE * problem.end])
        if free:
            simulate_with_jacobian(problem.model, times, free=twins.names[:free], **settings)
        else:
            simulate(problem.model, times, **settings)
        return time.perf_counter() - begin

    with _empty_cache(), _recorded() as kernels:
        first = call()
        second = call()
    seconds = first - second
    equations = sum(count for count, _ in kernels)
    return {
        "model": problem.name,
        "states": len(problem.names),
        "free": free,
        "kernels": len(kernels),
        "equations": equations,
        "kernel_seconds": sum(spent for _, spent in kernels),
        "seconds": seconds,
        "per_thousand": 1e3 * seconds / equations,
    }


@contextlib.contextmanager
def _empty_cache() -> Iterator[None]:
    name = "VHT_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(prefix="vht-cold-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


@contextlib.contextmanager
def _recorded() -> Iterator[list[tuple[int, float]]]:
    """Equations and seconds of the kernels that are compiled meanwhile, whichever part of the package asks for them."""
    from vht_kernels import program as compiling

    found: list[tuple[int, float]] = []
    compile_ = compiling.compile_program

    def recording(program: Any) -> Any:
        kernel = compile_(program)
        found.append((program.equations, kernel.seconds))
        return kernel

    compiling.compile_program = recording
    try:
        yield found
    finally:
        compiling.compile_program = compile_
