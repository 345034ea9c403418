"""Long measured inputs: a week of samples every five minutes, and minutes of an arterial line at 125 Hz, for many twins."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from benchmarks.cases import LongInputs
from benchmarks.measure import measure, peak_memory
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from vht.model import Organ, Scalar, Vars, initial_state, param, port, state, with_parameters
from vht.organs.glucose import MinimalGlucose
from vht.solve import Schedule, Signal, Tsit5, simulate

COLUMNS = (
    Column("input", "input"),
    Column("solver", "solver"),
    Column("twins", "twins", ",d"),
    Column("samples", "samples", ",d"),
    Column("samples MiB", "input_mib", ",.0f"),
    Column("later s", "seconds", ".3f"),
    Column("us / sample, twin", "each", ".3f"),
    Column("steps / sample", "steps", ".2f"),
    Column("first call s", "first", ".2f"),
    Column("memory MiB", "memory", ",.0f"),
    Column("programs", "programs", "d"),
    Column("new length s", "other", ".2f"),
    Column("programs", "other_programs", "d"),
    Column("error", "error", ".1e"),
)


class Damped(Organ):
    """``x' = (u - x) / tau``: a pressure behind a damped line."""

    tau: Scalar = param(0.3, "s", "time constant", bounds=(0.05, 2.0))
    time = "s"

    class State(Vars):
        x: Scalar = state(90.0, "mmHg", "pressure behind the line")

    class In(Vars):
        u: Scalar = port("mmHg", "measured pressure")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(x=(u.u - x.x) / self.tau)


def damped(time: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], tau: float) -> float:
    """State of `Damped` at the last sample: the closed form over each straight piece, one after another."""
    x = 90.0
    gaps = np.diff(time)
    slopes, decays = np.diff(value) / gaps, np.exp(-gaps / tau)
    for u, v, slope, decay in zip(value[:-1], value[1:], slopes, decays, strict=True):
        x = (x - u + slope * tau) * decay + v - slope * tau
    return float(x)


def minimal(time: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], S_I: float) -> float:
    """Glucose of `MinimalGlucose` at the last sample by SciPy, restarted at every sample."""
    from scipy.integrate import solve_ivp

    m = MinimalGlucose()
    x = np.array([float(m.G0), 0.0])
    for i, (begin, end) in enumerate(itertools.pairwise(time)):

        def rates(t: float, x: Any, i: int = i, begin: float = begin, end: float = end) -> list[float]:
            insulin = value[i] + (value[i + 1] - value[i]) * (t - begin) / (end - begin)
            effect = S_I * (insulin - m.Ib)
            return [m.S_G * m.Gb - (m.S_G + x[1]) * x[0], m.p2 * (effect - x[1])]

        x = solve_ivp(rates, (begin, end), x, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return float(x[0])


def arterial(
    twins: int, samples: int, seed: int
) -> tuple[Float[np.ndarray, "twins samples"], Float[np.ndarray, "twins samples"]]:
    """Times (s) and pressures (mmHg) at 125 Hz: ten harmonics of each twin's own pulse, and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 125.0
    values = np.empty((twins, samples))
    for row, rate in zip(values, np.linspace(0.9, 1.8, twins), strict=True):
        row[:] = 90.0 + rng.normal(scale=0.3, size=samples)
        for k in range(1, 11):
            row += 20.0 / k**1.5 * np.sin(2.0 * np.pi * rate * k * time + k)
    return np.tile(time, (twins, 1)), values


def insulin(
    twins: int, samples: int, seed: int
) -> tuple[Float[np.ndarray, "twins samples"], Float[np.ndarray, "twins samples"]]:
    """Times (min) and concentrations (uU/mL) every five minutes: three meals a day, and noise."""
    rng = np.random.default_rng(seed)
    time = 5.0 * np.arange(samples)
    day = 2.0 * np.pi * time / 1440.0
    shape = np.maximum(np.sin(3.0 * day), 0.0)
    values = 11.0 + rng.uniform(30.0, 70.0, (twins, 1)) * shape + rng.normal(size=(twins, samples))
    return np.tile(time, (twins, 1)), np.maximum(values, 1.0)


_PROGRAMS: list[float] = []


def _listen() -> None:
    def compiled(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            _PROGRAMS.append(duration_secs)

    if not _PROGRAMS:
        jax.monitoring.register_event_duration_secs_listener(compiled)


def run(case: LongInputs, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    _listen()
    outcome = Outcome(
        f"Long measured inputs: {case.week:,} samples every 5 min, {case.line:,} samples at 125 Hz; linear in between, "
        f"rtol = {case.tolerance:g}"
    )
    rows: list[dict[str, Any]] = []
    glucose, line = MinimalGlucose(), Damped()
    week = ("insulin, every 5 min", glucose, "insulin", "glucose", "S_I", insulin, minimal)
    pressure = ("arterial line, 125 Hz", line, "u", "x", "tau", arterial, damped)
    for what, twins, samples, shared in (
        (week, case.week_twins, case.week, False),
        (pressure, case.line_twins, case.line, True),
        (pressure, case.line_twins, case.line, False),
    ):
        rows.append(_lanes(case, say, what, twins, samples, shared))
    say("diffrax")
    rows.append(_diffrax(case, week, case.diffrax, case.week))
    outcome.tables.append(Table("all twins at once", COLUMNS, rows))
    ours = [row for row in rows if row["solver"] == "lanes"]
    outcome.targets += [
        Target(
            "programs compiled for another length of nearly that size", 0, max(row["other_programs"] for row in ours)
        ),
        Target("error over the tolerance", 10.0, max(row["error"] for row in ours) / case.tolerance),
    ]
    outcome.notes += [
        "samples MiB: times and values as the user holds them. memory: the most in the first call beyond that.",
        "programs: that XLA compiled in the call before the column. new length: a call with 1 % fewer samples.",
        "error: of one twin at the last sample, relative, against the closed form or SciPy's DOP853 restarted at every sample.",
    ]
    return outcome


def _lanes(case: LongInputs, say: Say, what: Any, twins: int, samples: int, shared: bool) -> dict[str, Any]:
    name, model, into, observed, free, make, truth = what
    say(f"{name}, {twins} twins{', one input for all' if shared else ''}")
    time_, value = make(1 if shared else twins, samples, case.seed)
    own = float(getattr(model, free)) * np.linspace(0.7, 1.3, twins)
    method = Tsit5(rtol=case.tolerance, atol=case.tolerance, max_steps=100 * samples)

    def solve(n: int) -> Any:
        signal = Signal(time_[0, :n], value[0, :n]) if shared else Signal(time_[:, :n], value[:, :n])
        return simulate(
            model,
            time_[0, n - 1 : n],
            twins={free: own},
            schedule=Schedule(signals={into: signal}),
            observe=[observed],
            method=method,
            backend="lanes",
        )

    before, begin = len(_PROGRAMS), time.perf_counter()
    _, memory = peak_memory(lambda: solve(samples))
    first, programs = time.perf_counter() - begin, len(_PROGRAMS) - before
    found = measure(lambda: solve(samples), case.repeats)
    before, begin = len(_PROGRAMS), time.perf_counter()
    solve(samples - samples // 100)
    other, other_programs = time.perf_counter() - begin, len(_PROGRAMS) - before
    result = found.result
    assert (result.status == 0).all()
    last = twins - 1
    expected = truth(time_[0], value[0 if shared else last], own[last])
    return {
        "input": name + (", shared" if shared else ""),
        "solver": "lanes",
        "twins": twins,
        "samples": samples,
        "input_mib": (time_.nbytes + value.nbytes) / 2**20,
        "first": first,
        "seconds": found.median,
        "each": found.median / (twins * samples) * 1e6,
        "steps": float(np.mean(result.steps)) / samples,
        "memory": memory,
        "programs": programs,
        "other": other,
        "other_programs": other_programs,
        "error": abs(float(result.values[observed][last, 0]) / expected - 1.0),
    }


def _diffrax(case: LongInputs, what: Any, twins: int, samples: int) -> dict[str, Any]:
    """diffrax's Tsit5 under `jax.vmap`, landing on every sample."""
    import diffrax

    name, model, into, observed, free, make, truth = what
    time_, value = make(twins, samples, case.seed)
    own = float(getattr(model, free)) * np.linspace(0.7, 1.3, twins)

    def one(time_: Any, value: Any, own: Any) -> tuple[Any, Any]:
        mine = with_parameters(model, {free: own})
        control = diffrax.LinearInterpolation(time_, value)

        def rates(t: Any, x: Any, args: Any) -> Any:
            return mine.rates(t, x, model.In(**{into: control.evaluate(t)}))

        controller = diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=case.tolerance, atol=case.tolerance), jump_ts=time_
        )
        begin = jax.tree.map(lambda v: jax.numpy.asarray(v, np.float64), initial_state(mine))
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(rates), diffrax.Tsit5(), time_[0], time_[-1], None, begin),
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=controller,
            max_steps=100 * samples,
            throw=False,
        )
        assert solution.ys is not None
        return getattr(mine.outputs(0.0, solution.ys, None), observed)[0], solution.stats["num_steps"]

    compiled: Callable[..., Any] = jax.jit(jax.vmap(one))

    def solve() -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return jax.tree.map(np.asarray, compiled(time_, value, own))

    found = measure(solve, 1)
    values, steps = found.result
    return {
        "input": name,
        "solver": "diffrax",
        "twins": twins,
        "samples": samples,
        "input_mib": (time_.nbytes + value.nbytes) / 2**20,
        "first": found.first,
        "seconds": found.median,
        "each": found.median / (twins * samples) * 1e6,
        "steps": float(np.mean(steps)) / samples,
        "memory": found.memory,
        "error": abs(float(values[-1]) / truth(time_[-1], value[-1], own[-1]) - 1.0),
    }
