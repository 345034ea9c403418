"""The cases: problems, sizes and settings; the full ones behind a record, and tiny ones that only show that all works.

Published times: Utkarsh et al., paper_artifacts/data/Tesla_V100 of utkarsh530/GPUODEBenchmarks, and for 8,388,608 fixed steps
of MPGOS (RK4), diffrax and torchdiffeq their paper, doi 10.1016/j.cma.2023.116591. Their adaptive tolerances are 1e-8, both;
their times are the least of many calls, MPGOS's of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.gpu.problems import Settings

PRECISIONS = ("float32", "float64")
LANES, TRANSFER, CUDA, CUDA_TRANSFER = "lanes", "lanes, with transfer", "CUDA by hand", "CUDA by hand, with transfer"
DIFFRAX, CUBIE, GRADSOLVE, CPU = "diffrax vmap", "CuBIE, with transfer", "gradsolve", "lanes on two CPU cores"
OWN = (LANES, TRANSFER, CUDA)
SOLVERS = (*OWN, DIFFRAX, CUBIE)

_SIZES = tuple(2**exponent for exponent in (11, 13, 15, 17, 19, 21, 23))


def _times(*milliseconds: float) -> dict[int, float]:
    return dict(zip(_SIZES[-len(milliseconds) :], milliseconds, strict=True))


# milliseconds on a V100, float32, by steps, solver and number of trajectories
PUBLISHED: dict[str, dict[str, dict[int, float]]] = {
    "fixed": {
        "DiffEqGPU.jl": _times(0.225962, 0.238633, 0.785327, 3.443626, 9.74068, 36.68774, 145.316839),
        "diffrax": _times(10038.0),
        "torchdiffeq": _times(14353.0),
    },
    "rk4": {"MPGOS": _times(94.0)},
    "adaptive": {
        "MPGOS": _times(1.921, 1.908, 1.942, 2.256, 3.575, 11.046, 48.808),
        "DiffEqGPU.jl": _times(0.349348, 0.368268, 0.61695, 1.582687, 4.655955, 17.840218, 69.451464),
        "diffrax": _times(15.887932, 15.419425, 19.164706, 47.798497, 190.329704, 680.246523, 2610.883393),
    },
}


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that several solvers solve.

    Attributes:
        problem: by its name.
        precision: of the states.
        trajectories: how many.
        settings: of this package's steps and of those by hand.
        solvers: which; the CPU lanes are always asked.
        peer_rtol: of diffrax's Kvaerno5: where it reaches the error of this package's steps.
        peer_max_steps: of diffrax: a call lasts until the last trajectory is done.
        peer_trajectories: of diffrax, where it cannot have them all; rates are compared then.
        cpu_trajectories: whose time on two cores is taken; rates are compared.
        check: trajectories whose numbers are compared with those of the CPU lanes.
        truth: relative tolerance of the reference, in float64 on the CPU lanes.
        repeats: of which the median counts.
        most: seconds for all of them, after which three are enough.
    """

    problem: str
    precision: str
    trajectories: int
    settings: Settings
    solvers: tuple[str, ...] = SOLVERS
    peer_rtol: float | None = None
    peer_trajectories: int | None = None
    peer_max_steps: int = 10_000
    cpu_trajectories: int = 2**15
    check: int = 2048
    truth: float = 1e-11
    repeats: int = 11
    most: float = 20.0


@dataclass(frozen=True)
class Gradient:
    """The gradient of the sum of the states at the end of Lorenz trajectories by rho and the three initial values.

    Attributes:
        trajectories: how many.
        goals: median relative errors of the gradient at which solvers are compared.
        ladder: relative tolerances, loosest first; each solver takes the first that reaches the goal.
        pilot: trajectories on which it is chosen.
        truth: relative tolerance of each solver's own reference.
        repeats: of which the median counts.
        most: seconds for all of them, after which three are enough.
    """

    trajectories: int
    goals: tuple[float, ...] = (1e-4, 1e-6, 1e-8)
    ladder: tuple[float, ...] = tuple(m * 10.0**-e for e in range(2, 12) for m in (1.0, 0.3))
    pilot: int = 512
    truth: float = 1e-12
    repeats: int = 11
    most: float = 20.0


@dataclass(frozen=True)
class Calibration:
    """Circulation twins with known truth, fitted in one call.

    Attributes:
        twins: how many.
        seconds: observed, s.
        points: times of measurement, of each observable.
        free: parameters to fit.
        noise: standard deviation of each observable's measurements.
        tolerance: of the solver, relative and absolute.
        seed: of twins and noise.
        enough: share of the twins that must end well.
    """

    twins: int
    seconds: float = 4.0
    points: int = 20
    free: tuple[str, ...] = ("R_AR_SYS", "C_AR_SYS", "EA_LV", "EB_LV", "R_VEN_PUL")
    noise: tuple[tuple[str, float], ...] = (("p_AR_SYS", 2.0), ("V_LV", 3.0))
    tolerance: float = 1e-6
    seed: int = 2
    enough: float = 0.99


@dataclass(frozen=True)
class Check:
    """Small kernels on the device and on the processor.

    Attributes:
        lanes: of the larger ones.
    """

    lanes: int = 10_000


Case = Ensemble | Gradient | Calibration | Check


def _lorenz(*exponents: int) -> Iterator[Ensemble]:
    # MPGOS' fixed steps are those of the classical method, which no other solver here has
    kinds = (Settings(1e-8, step=1e-3), Settings(1e-8, step=1e-3, classical=True), Settings(1e-8, first_step=1e-3))
    for exponent in exponents:
        for precision in PRECISIONS:
            for settings in kinds:
                solvers = OWN if settings.classical or exponent in (11, 13, 15, 19, 21, 24) else SOLVERS
                yield Ensemble("lorenz", precision, 2**exponent, settings, solvers, truth=1e-12, most=10.0)


def _lorenz96() -> Iterator[Ensemble]:
    for size in (4, 32, 128, 8, 16, 64):
        for precision in PRECISIONS:
            settings = Settings(1e-6)
            yield Ensemble(f"lorenz96_{size}", precision, 2**17, settings, check=1024, cpu_trajectories=2**13)


# Tolerances of the stiff problems: where each solver's median error falls to 1e-4, as the record of
# `python -m benchmarks stiff` of 2026-11-24 has them for the same trajectories
FULL: dict[str, tuple[Case, ...]] = {
    "check": (Check(),),
    "circulation": tuple(
        Ensemble(
            "circulation", precision, 2**17, Settings(1e-4), cpu_trajectories=2**12, truth=1e-10, check=1024, most=40.0
        )
        for precision in PRECISIONS[::-1]
    ),
    "lorenz": tuple(_lorenz(23, 17)),
    "gradient": (Gradient(2**17), Gradient(2**20, (1e-6,)), Gradient(2**13, (1e-6,))),
    "pollu": tuple(
        Ensemble(
            *("pollu", precision, 2**17, Settings(1e-1), SOLVERS, 3e-3, None, 1000), truth=1e-9, check=1024, most=20.0
        )
        for precision in PRECISIONS[::-1]
    ),
    "ten_tusscher": tuple(
        Ensemble(
            *("ten_tusscher", precision, 2**17, Settings(3e-4), SOLVERS, 3e-3, 2**14, 3000, 2**12, 512),
            truth=1e-9,
            most=60.0,
        )
        for precision in PRECISIONS[::-1]
    ),
    "lorenz96": tuple(_lorenz96()),
    "lorenz-sizes": tuple(_lorenz(20, 24, 10, 21, 19, 15, 13, 11)),
    "calibration": (Calibration(100_000), Calibration(1_000_000)),
}

_TINY = {"cpu_trajectories": 32, "check": 32, "repeats": 3, "most": 0.2}


def _dry() -> dict[str, tuple[Case, ...]]:
    """All parts at tiny sizes; the widest Lorenz-96 and the cell, which compile for long, are left out."""
    found: dict[str, tuple[Case, ...]] = {}
    for part, cases in FULL.items():
        small: list[Case] = []
        for case in cases:
            if isinstance(case, Ensemble):
                tiny = replace(case, trajectories=64, peer_trajectories=None, **_TINY)  # type: ignore[arg-type]
                if case.problem not in ("lorenz96_32", "lorenz96_64", "lorenz96_128") and tiny not in small:
                    small.append(tiny)
            elif isinstance(case, Gradient):
                small.append(replace(case, trajectories=64, goals=(1e-4,), pilot=16, repeats=3, most=0.5))
            elif isinstance(case, Calibration):
                small.append(replace(case, twins=64))
            else:
                small.append(replace(case, lanes=300))
        # one of a kind shows as much as ten
        found[part] = tuple(dict.fromkeys(_by_all(c) if isinstance(c, Ensemble) else c for c in small))
    return found


def _by_all(case: Ensemble) -> Ensemble:
    return replace(case, solvers=OWN if case.settings.classical else SOLVERS)


def _targets() -> Iterator[Case]:
    """One case of all for which a number is wanted of the device, in a few minutes; diffrax, which takes most, last."""
    yield from FULL["check"]
    wanted = [case for part in ("circulation", "lorenz", "pollu") for case in FULL[part] if isinstance(case, Ensemble)]
    wanted = [c for c in wanted if c.problem != "lorenz" or (c.trajectories, c.precision) == (2**23, "float32")]
    for case in wanted:
        yield replace(case, solvers=OWN, most=5.0)
    yield Gradient(2**17, (1e-6,), most=5.0)
    # nothing is wanted of diffrax on Lorenz
    for case in sorted(wanted, key=lambda case: case.problem == "lorenz"):
        if not case.settings.classical:
            yield replace(case, solvers=(DIFFRAX,), most=10.0)


PARTS = tuple(FULL)
FULL["targets"] = tuple(_targets())
DRY = _dry()
# which of them the cores of a CPU can be given at full size
ON_CPU = ("calibration",)
