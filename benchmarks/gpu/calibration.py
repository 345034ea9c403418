"""A cohort of circulation twins with known truth, fitted in one call: time, memory, and whether the truth is found."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gpu.bench import Bench, OutOfTime, Row
from benchmarks.gpu.cases import Calibration
from benchmarks.gpu.ensembles import memory_peak
from benchmarks.measure import peak_memory
from benchmarks.peers.build import Unavailable

TABLE = "calibration"
# twins in one call that makes measurements
_SLICE = 65_536
# seconds between two words on how far it is
_TELL = 60.0


def run(case: Calibration, bench: Bench) -> None:
    """Measure a case.

    Args:
        case: what.
        bench: where rows go.
    """
    bench.attempt(TABLE, f"calibration of {case.twins:,} twins", lambda: _measure(case, bench), TABLE, case.twins, 1)


def _measure(case: Calibration, bench: Bench) -> Row:
    try:
        import pint  # noqa: F401
    except ImportError:
        raise Unavailable("pint, which checks a model's units, is not installed") from None
    from vht.calibrate import Additive, Free, Measurements, Observable, Problem, calibrate
    from vht.model import Twins
    from vht.organs.circulation import Circulation
    from vht.solve import Tsit5, simulate

    model, noise = Circulation(), dict(case.noise)
    method = Tsit5(rtol=case.tolerance, atol=case.tolerance)
    points = np.linspace(case.seconds / case.points, case.seconds, case.points)
    truth = Twins.sample(model, case.twins, seed=case.seed, only=case.free).columns
    begin = time.perf_counter()
    exact = simulate(
        *(model, points),
        twins=truth,
        observe=tuple(noise),
        method=method,
        slice_size=min(_SLICE, case.twins),
        **_device(simulate, bench),
    )
    random = np.random.default_rng([case.seed, 1])
    values = [
        np.asarray(exact.values[name]) + sd * random.standard_normal((case.twins, case.points))
        for name, sd in noise.items()
    ]
    measured = Measurements(
        twin=np.repeat(np.arange(case.twins), case.points * len(noise)),
        time=np.tile(points, case.twins * len(noise)),
        observable=np.tile(np.repeat(list(noise), case.points), case.twins),
        value=np.concatenate(values, axis=1).ravel(),
    )
    problem = Problem(
        model=model,
        free={name: Free(transform="log") for name in case.free},
        observables={name: Observable(name, Additive(sd=sd)) for name, sd in noise.items()},
        measurements=measured,
        method=method,
    )
    making = time.perf_counter() - begin

    told = begin = time.perf_counter()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.perf_counter() - told > _TELL:
            told = time.perf_counter()
            bench.say(f"  {done:,} of {total:,} twins")
        if bench.left <= 0.0:
            raise OutOfTime(f"cut after {done:,} of {total:,} twins and {time.perf_counter() - begin:.0f} s")

    fitted, memory = peak_memory(lambda: calibrate(problem, progress=progress, **_device(calibrate, bench)))
    seconds = time.perf_counter() - begin
    ok = np.asarray(fitted.ok)
    estimate = np.asarray(fitted.estimate)[ok]
    exact_values = np.stack([truth[name] for name in case.free], axis=1)[ok]
    off = np.abs(estimate / exact_values - 1.0)
    return {
        "twins": case.twins,
        "free": len(case.free),
        "measurements": case.points * len(noise),
        "ok": int(ok.sum()),
        "seconds": seconds,
        "rate": float(ok.sum() / seconds),
        "iterations": float(np.mean(np.asarray(fitted.iterations))),
        "memory_mib": memory,
        "device_memory_mib": memory_peak(),
        "error_median": {name: float(np.median(off[:, i])) for i, name in enumerate(case.free)},
        "error": float(np.median(off)),
        "making_seconds": making,
        "enough": case.enough,
    }


def _device(function: Callable[..., Any], bench: Bench) -> dict[str, Any]:
    """What asks a function for the device."""
    known = inspect.signature(function).parameters
    return {"device": "gpu" if bench.on_gpu else "cpu"} if "device" in known else {}
