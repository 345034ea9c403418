"""Random twins far outside of all bounds, on every model and method: each must end with a status, and harm no other.

Each model and method has a process of its own with a limit of time, so that one that dies or hangs is seen, and named with
what it was doing.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import Hostile
from benchmarks.hostile_child import Job
from benchmarks.hostile_models import Subject, subjects
from benchmarks.outcome import Column, Outcome, Say, Table, Target

COLUMNS = (
    Column("model", "model"),
    Column("method", "method"),
    Column("what", "what"),
    Column("draws", "draws", ",d"),
    Column("ends", "ends"),
    Column("most steps", "most_steps", ",d"),
    Column("slowest slice, ms a draw", "slowest", ".3f"),
    Column("first call s", "first_seconds", ".1f"),
    Column("wrong", "wrong"),
)
# what is only worth its compilation for a model of so few states
SMALL = 4
# from how many states on fixed points are searched with the stiff method
LARGE = 15
# from how many states on only values are compared: derivatives of so many take minutes to compile
HUGE = 50
SOLVES, FIXED_POINTS = ("values", "jacobian"), ("steady", "periodic")


@dataclass
class _Ended:
    """How a process ended, and what it told before."""

    job: Job
    code: int | None
    lines: list[dict[str, Any]]
    errors: str
    tables: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fault(self) -> str | None:
        """What happened to a process that did not end as it should, and while it did what; None if it did."""
        if self.code == 0:
            return None
        doing = next((line for line in reversed(self.lines) if "begins" in line), {"begins": "loading", "slice": -1})
        how = "hung" if self.code is None else f"exit code {self.code}"
        if self.code is not None and self.code < 0:
            how = signal.Signals(-self.code).name
        last = self.errors.strip().splitlines()[-1:] or [""]
        return f"{how} in {doing['begins']}, slice {doing['slice']}: {last[0]:.200}"


def jobs(case: Hostile) -> list[Job]:
    """What to do, the longest to compile first."""
    known = subjects()
    names = case.models or tuple(known)
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for name in names:
        for method in _methods(known[name]):
            if case.methods and method not in case.methods:
                continue
            values = _plain(method) or len(_states(known[name])) >= HUGE
            found.append((name, method, ("values",) if values else SOLVES))
    sides = sum(len(what) for _, _, what in found)
    slices = max(1, round(case.draws / (case.slice * max(1, sides))))
    # at least as many as asked for
    slices += slices * case.slice * sides < case.draws
    made = [Job(*job, slices, case.slice, case.max_steps, case.seed) for job in found]
    for name in names:
        method = _fixed_point_method(known[name])
        huge = len(_states(known[name])) >= HUGE
        if case.fixed_points and not huge and (not case.methods or method in case.methods):
            count = -(-case.fixed_points // case.slice)
            made.append(
                Job(name, method, FIXED_POINTS, count, min(case.slice, case.fixed_points), case.max_steps, case.seed)
            )
    return sorted(made, key=lambda job: -len(_states(known[job.model])))


def _states(subject: Subject) -> dict[str, Any]:
    from vht.model import states

    return states(subject.model)


def _methods(subject: Subject) -> list[str]:
    """Those that can solve the model."""
    from vht.solve.exponential import gating_states
    from vht.solve.system import system_of

    system = system_of(subject.model())
    small = len(system.states) <= SMALL
    if any(system.algebraic):
        return ["Rodas5P", "Rodas5P, float32"]
    found = ["Tsit5", "Rodas5P"]
    gated = bool(gating_states(system))
    found += ["RushLarsen"] if gated else []
    if small:
        found += ["Tsit5, float32", "Rodas5P, float32", "Tsit5, fixed steps", "Auto"]
        found += ["RushLarsen, fixed steps"] if gated else []
    return found


def _plain(method: str) -> bool:
    """Whether a method's variant is tried without derivatives only."""
    return method == "Auto" or "," in method


def _fixed_point_method(subject: Subject) -> str:
    known = _states(subject)
    # Rodas5P takes the directions of a Jacobian one by one: many states do not take long to compile
    large = len(known) > LARGE
    return "Rodas5P" if large or any(v.algebraic for v in known.values()) else "Tsit5"


def _start(job: Job, limit: float) -> _Ended:
    """Run a process until it ends, or its time does."""
    with tempfile.TemporaryDirectory() as folder:
        told, errors = pathlib.Path(folder, "told"), pathlib.Path(folder, "errors")
        command = [sys.executable, "-m", "benchmarks.hostile_child", json.dumps(dataclasses.asdict(job))]
        root = pathlib.Path(__file__).parents[1]
        with told.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, cwd=root)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
                process.wait()
        lines = [json.loads(line) for line in told.read_text().splitlines() if line.endswith("}")]
        return _Ended(job, code, lines, errors.read_text())


def run(case: Hostile, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    todo = jobs(case)
    ended: list[_Ended] = []

    def one(job: Job) -> None:
        ended.append(_start(job, case.limit))
        say(f"{len(ended)} of {len(todo)} processes, the last one {job.model} with {job.method} ...")

    say(f"{len(todo)} processes ...")
    with ThreadPoolExecutor(case.workers) as pool:
        list(pool.map(one, todo))
    ended.sort(key=lambda e: todo.index(e.job))
    return _outcome(case, ended)


def _outcome(case: Hostile, ended: list[_Ended]) -> Outcome:
    rows, examples = [], []
    total: Counter[str] = Counter()
    for end in ended:
        for what in end.job.what:
            told = [line for line in end.lines if line.get("ends") == what]
            if not told:
                continue
            if "refused" in told[0]:
                rows.append(
                    {"model": end.job.model, "method": end.job.method, "what": what, "ends": "refused: no such"}
                )
                rows[-1]["why"] = told[0]["refused"]
                continue
            rows.append(_row(end.job, what, told))
            for line in told:
                total.update(line["wrong"])
                examples += [
                    f"{name}: {end.job.model}, {end.job.method}, {what}, slice {line['slice']}, twins {twins}"
                    for name, twins in line["examples"].items()
                ]
    faults = [f"{end.job.model}, {end.job.method}: {end.fault}" for end in ended if end.fault]
    solved = sum(row.get("draws", 0) for row in rows if row["what"] in SOLVES)
    searched = sum(row.get("draws", 0) for row in rows if row["what"] in FIXED_POINTS)
    slowest = max((row for row in rows if "slowest" in row), key=lambda row: row["slowest"], default=None)
    outcome = Outcome(
        f"{solved:,} hostile draws, each within {case.max_steps:,} steps, and {searched:,} searches for fixed points"
    )
    outcome.tables.append(Table("hostile", COLUMNS, rows))
    outcome.tables.append(
        Table(
            "hostile, all statuses",
            (
                Column("status", "status"),
                Column("simulations", "simulations", ",d"),
                Column("searches", "searches", ",d"),
            ),
            _statuses(ended),
        )
    )
    outcome.targets.append(Target("draws simulated", float(case.draws), float(solved), at_least=True))
    outcome.targets.append(Target("processes that died or hung", 0.0, float(len(faults))))
    outcome.targets += [Target(name, 0.0, float(count)) for name, count in sorted(total.items())]
    if slowest is not None:
        outcome.targets.append(Target("slowest slice, for each draw", case.most_ms, slowest["slowest"], unit="ms"))
        outcome.notes.append(
            f"The slowest slice: {slowest['model']} with {slowest['method']}, {slowest['what']}, "
            f"{slowest['slowest'] * case.slice:.0f} ms for {case.slice:,} draws."
        )
    outcome.notes += [f"died or hung: {fault}" for fault in faults] + [f"wrong: {example}" for example in examples[:20]]
    outcome.notes.append(
        "Each twin in eight is healthy, and compared to the last bit with a solve without the others (for fixed points: "
        "with healthy ones in their places). The tolerance of every fourth slice, 1e-15, cannot be had: all its twins end as "
        "they may. To see one slice again: python -m benchmarks.hostile_child with its job."
    )
    return outcome


def _row(job: Job, what: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    status = sum((Counter(line["status"]) for line in told), Counter())
    wrong = sum((Counter(line["wrong"]) for line in told), Counter())
    return {
        "model": job.model,
        "method": job.method,
        "what": what,
        "draws": sum(line["draws"] for line in told),
        "ends": ", ".join(f"{n:,} {label}" for label, n in status.most_common()),
        "status": dict(status),
        "most_steps": max(line["most_steps"] for line in told),
        "slowest": max(1e3 * line["seconds"] / line["draws"] for line in told),
        "first_seconds": told[0]["first_seconds"],
        "healthy": sum(line["healthy"] for line in told),
        "healthy_ok": sum(line["healthy_ok"] for line in told),
        "wrong": ", ".join(f"{n} {name}" for name, n in wrong.items() if n),
    }


def _statuses(ended: list[_Ended]) -> list[dict[str, Any]]:
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for end in ended:
        for line in end.lines:
            if "status" in line:
                counts[line["ends"] in SOLVES].update(line["status"])
    names = sorted({*counts[True], *counts[False]}, key=lambda name: -counts[True][name])
    return [{"status": name, "simulations": counts[True][name], "searches": counts[False][name]} for name in names]
