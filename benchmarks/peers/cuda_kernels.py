"""CUDA C++ written by hand (`cuda/`): one thread a trajectory, one launch a solve; the yardstick of generated kernels.

Compiled by nvcc for the device at hand. ``architecture="cpu"`` compiles the same kernels with g++, a loop in place of threads:
slow, for checks where there is no GPU.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from benchmarks.peers.build import Unavailable
from benchmarks.peers.cuda.elimination import factors

Precision = Literal["float64", "float32"]
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
Mode = Literal["fixed", "rk4", "adaptive"]

FOLDER = pathlib.Path(__file__).parent / "cuda"
UNITS = ("main", "lorenz", "lorenz96", "circulation", "pollu", "ten_tusscher")
# files of equations whose Jacobian's pattern an elimination is written out for
ELIMINATED = ("pollu", "ten_tusscher")
LORENZ96_SIZES = (4, 8, 16, 32, 64, 128)
CPU = "cpu"
# of cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_CAPABILITY = (75, 76)
_GPP_FLAGS = (
    "-std=c++17",
    "-O2",
    "-march=native",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-Wno-unused-variable",
)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a kernel solves, from time 0 on.

    Attributes:
        columns: what differs between trajectories, in order.
        outputs: what it gives, in order: the states at the end, then derivatives.
        end: time of the end.
        fixed: kinds of fixed steps that there are too.
        max_steps: as many are tried at most.
    """

    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    end: float
    fixed: tuple[Mode, ...] = ()
    max_steps: int = 1_000_000


def _problems() -> dict[str, Problem]:
    from benchmarks.cohort import PARAMETERS, STATES
    from benchmarks.stiff_problems import TEN_TUSSCHER

    xyz = ("x", "y", "z")
    pollu = tuple(f"y{i}" for i in range(1, 21)), tuple(f"k{i}" for i in range(1, 26))
    cell = (
        *("V", "K_i", "Na_i", "Ca_i", "Ca_SR", "Ca_ss", "R_prime", "Xr1", "Xr2", "Xs"),
        *("m", "h", "j", "d", "f", "f2", "fCass", "s", "r"),
    )
    slopes = tuple(f"d(x+y+z)/d{name}" for name in ("rho", "x0", "y0", "z0"))
    sizes = {
        f"lorenz96_{n}": Problem(("F",), tuple(f"x{i}" for i in range(n)), 2.0, fixed=("fixed",))
        for n in LORENZ96_SIZES
    }
    return {
        "lorenz": Problem(("rho",), xyz, 1.0, fixed=("fixed", "rk4")),
        "lorenz_gradient": Problem(("rho",), (*xyz, *slopes), 1.0, fixed=("fixed",)),
        **sizes,
        "circulation": Problem(PARAMETERS, STATES, 10.0, fixed=("fixed",)),
        "pollu": Problem(pollu[1], pollu[0], 60.0),
        "ten_tusscher": Problem(TEN_TUSSCHER.varied, cell, 400.0),
    }


PROBLEMS: dict[str, Problem] = _problems()
"""By name:

- ``lorenz``: sigma 10, beta 8/3, start (1, 0, 0). ``lorenz_gradient``: with forward sensitivities to rho and the three initial
  values, in the error test; gives the gradient of the sum of the states at the end.
- ``lorenz96_4`` ... ``lorenz96_128``: forcing F; every state starts as F, the first one as F + 0.01.
- ``circulation``: the one of `benchmarks.cohort`, from its own initial state.
- ``pollu`` and ``ten_tusscher``: those of `benchmarks.stiff_problems`, by Rodas5P; all others by Tsit5.
"""


class CudaRun(NamedTuple):
    """What the program gives.

    Attributes:
        values: at the end, a row an output, in the precision asked for; NaN where it failed.
        status: 0 well, 1 too many steps, 2 step too small, 3 not finite.
        steps: tried, accepted or not.
        rejected: those of them that were not accepted.
        kernel_seconds: of every launch but the first, between two events of the device.
        transfer_seconds: the same with copies of the columns in, and of the values, status and steps out, from and to pinned
            memory; empty if not asked for.
        registers: a thread.
        local_bytes: of local memory a thread.
        block: threads a block.
        occupancy: threads that a multiprocessor can hold at once, as a share of its most.
        device: name.
        made_with: compiler and flags.
        compile_seconds: 0 where it was compiled before.
    """

    values: Float[np.ndarray, "outputs trajectories"]
    status: Int[np.ndarray, " trajectories"]
    steps: Int[np.ndarray, " trajectories"]
    rejected: Int[np.ndarray, " trajectories"]
    kernel_seconds: tuple[float, ...]
    transfer_seconds: tuple[float, ...]
    registers: int
    local_bytes: int
    block: int
    occupancy: float
    device: str
    made_with: str
    compile_seconds: float


class Usage(NamedTuple):
    """What ptxas says of a kernel: registers a thread, bytes of stack, of spill stores and of spill loads."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


class Built(NamedTuple):
    """A program: where it is, what it was made with, how long that took now, and what ptxas said (none for the CPU)."""

    path: pathlib.Path
    made_with: str
    seconds: float
    usage: dict[str, Usage]


def missing(architecture: str = "native") -> str | None:
    """What keeps `run` from running here, or None.

    Args:
        architecture: as of `run`.
    """
    if architecture == CPU:
        return None if shutil.which("g++") else "no compiler (g++) on this machine"
    if _nvcc() is None:
        return "no compiler (nvcc) on this machine"
    return None if _device() else "no NVIDIA GPU, or no driver for it, on this machine"


def available(architecture: str = "native") -> bool:
    """Whether `run` can run here; `missing` says what it lacks."""
    return missing(architecture) is None


def run(
    problem: str,
    precision: Precision,
    columns: Float[np.ndarray, "columns trajectories"],
    mode: Mode = "adaptive",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    repeats: int = 10,
    architecture: str = "native",
    transfer: bool = False,
    *,
    first_step: float | None = None,
    steps: int = 1000,
    end: float | None = None,
    max_steps: int | None = None,
    block: int = 128,
    fast_math: bool = False,
    timeout: float = 600.0,
) -> CudaRun:
    """Compile the program if it is not yet, solve an ensemble and time it.

    Args:
        problem: a name of `PROBLEMS`.
        precision: what states are computed in.
        columns: the numbers of each trajectory, in the order of the problem's `columns`.
        mode: steps of equal size, those of the classical Runge-Kutta method, or under an error test.
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step.
        repeats: launches that are timed, after one that is not.
        architecture: of nvcc, as "sm_90"; "native" is that of the device at hand; "cpu" compiles for the processor.
        transfer: also time with the copies.
        first_step: the first step where steps are adaptive; estimated if it is None or 0.
        steps: how many where they are fixed.
        end: time of the end, if not the problem's.
        max_steps: budget, if not the problem's.
        block: threads a block.
        fast_math: compile with ``-use_fast_math``: single precision's divisions, roots, exponentials are approximate.
        timeout: seconds the program may take.

    Raises:
        Unavailable: no compiler or no device, or the source did not compile.
        ValueError: no such problem, wrong columns, or fixed steps where there are none.
        RuntimeError: the program failed; says what it said.
    """
    what = PROBLEMS.get(problem)
    if what is None:
        raise ValueError(f"`problem` must be one of {', '.join(PROBLEMS)}, but got {problem!r}.")
    if columns.ndim != 2 or len(columns) != len(what.columns):
        raise ValueError(
            f"`columns` of {problem} must have shape [{len(what.columns)}, trajectories], but got {columns.shape}."
        )
    if mode != "adaptive" and mode not in what.fixed:
        there = " and ".join(("adaptive", *what.fixed))
        raise ValueError(f"{problem} has no steps of the kind {mode!r}: only {there}.")
    lacking = missing(architecture)
    if lacking is not None:
        raise Unavailable(lacking)
    built = build(architecture, fast_math)
    trajectories, dtype = columns.shape[1], np.dtype(precision)
    with tempfile.TemporaryDirectory(prefix="vht-cuda-") as folder:
        given, found = pathlib.Path(folder, "columns"), pathlib.Path(folder, "values")
        np.ascontiguousarray(columns, np.float64).tofile(given)
        reals = {
            "rtol": rtol,
            "atol": atol,
            "end": what.end if end is None else end,
            "first_step": first_step or 0.0,
        }
        counts = {
            "steps": steps,
            "max_steps": what.max_steps if max_steps is None else max_steps,
            "repeats": repeats,
            "transfer": transfer,
            "block": block,
        }
        settings = {name: repr(float(value)) for name, value in reals.items()}
        settings |= {name: str(int(value)) for name, value in counts.items()}
        command = [str(built.path), problem, precision, mode, str(trajectories), str(given), str(found)]
        command += [f"{name}={value}" for name, value in settings.items()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"{problem} by hand ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        size = len(what.outputs) * trajectories
        values = np.fromfile(found, dtype, size).reshape(len(what.outputs), trajectories)
        counted = np.fromfile(found, np.int32, offset=size * dtype.itemsize).reshape(3, trajectories)
    values[:, counted[0] != 0] = np.nan
    return CudaRun(
        values=values,
        status=counted[0],
        steps=counted[1],
        rejected=counted[2],
        kernel_seconds=tuple(1e-3 * t for t in said["kernel_ms"]),
        transfer_seconds=tuple(1e-3 * t for t in said["transfer_ms"]),
        registers=said["registers"],
        local_bytes=said["local_bytes"],
        block=said["block"],
        occupancy=said["occupancy"],
        device=said["device"],
        made_with=built.made_with,
        compile_seconds=built.seconds,
    )


@functools.cache
def build(architecture: str = "native", fast_math: bool = False) -> Built:
    """Compile the program, its files side by side; kept beside this package's kernels until a source changes.

    Args:
        architecture: as of `run`.
        fast_math: as of `run`.

    Raises:
        Unavailable: no compiler, or it did not succeed; holds the first lines of what it said.
    """
    import time

    if architecture == "native":
        architecture = _device() or architecture
    compiler, flags = _command(architecture, fast_math)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.strip()
    made_with = f"{next(filter(None, reversed(version.splitlines())), compiler)}, {' '.join(flags)}"
    sources = _sources()
    key = hashlib.sha256(repr((version, flags, platform.node() if architecture == CPU else "", sources)).encode())
    folder = _cache() / f"cuda-peer-{architecture}-{key.hexdigest()[:24]}"
    if (folder / "peer").exists():
        return Built(folder / "peer", made_with, 0.0, _usage((folder / "said").read_text()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cuda-peer-", dir=folder.parent) as work:
        _write(sources, work)

        def unit(name: str) -> str:
            return _call([compiler, *flags, "-c", f"{name}.cu", "-o", f"{name}.o"], work)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            said = "".join(pool.map(unit, UNITS))
        objects = [f"{name}.o" for name in UNITS]
        linking = [flag for flag in flags if flag not in ("-x", "c++", "cu")]
        _call([compiler, *linking, *objects, "-o", "peer"], work)
        pathlib.Path(work, "said").write_text(said)
        # whoever comes second finds the first one's
        if not folder.exists():
            try:
                shutil.copytree(work, pathlib.Path(f"{work}-done"))
                os.rename(f"{work}-done", folder)
            except OSError:
                shutil.rmtree(f"{work}-done", ignore_errors=True)
                if not (folder / "peer").exists():
                    raise
    return Built(folder / "peer", made_with, time.perf_counter() - began, _usage(said))


def assembled(
    architecture: str,
    units: tuple[str, ...] = UNITS[1:],
    keep: pathlib.Path | None = None,
) -> dict[str, Usage]:
    """Compile files for an architecture, without a device: what ptxas says of each kernel.

    Args:
        architecture: as "sm_90".
        units: files to compile.
        keep: folder that the assembled files, ``UNIT.cubin``, are left in.

    Raises:
        Unavailable: no nvcc, or it did not succeed.
    """
    compiler, flags = _command(architecture, fast_math=False)
    with tempfile.TemporaryDirectory(prefix="cuda-peer-") as work:
        _write(_sources(), work)

        def unit(name: str) -> str:
            return _call([compiler, *flags, "-cubin", f"{name}.cu", "-o", f"{name}.cubin"], work)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            said = "".join(pool.map(unit, units))
        if keep is not None:
            for name in units:
                shutil.copy(pathlib.Path(work, f"{name}.cubin"), keep / f"{name}.cubin")
    return _usage(said)


def _sources() -> dict[str, str]:
    """By file name."""
    files = (FOLDER.parent / "names.h", *sorted(FOLDER.iterdir()))
    sources = {path.name: path.read_text() for path in files if path.suffix in (".cu", ".cuh", ".h")}
    return sources | {f"{name}_factors.cuh": factors(sources[f"{name}.cuh"], name) for name in ELIMINATED}


def _write(sources: dict[str, str], folder: str) -> None:
    for name, text in sources.items():
        pathlib.Path(folder, name).write_text(text)


def _nvcc() -> str | None:
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def _command(architecture: str, fast_math: bool) -> tuple[str, list[str]]:
    if architecture == CPU:
        compiler = shutil.which("g++")
        if compiler is None:
            raise Unavailable("no compiler (g++) on this machine")
        return compiler, [*_GPP_FLAGS, "-x", "c++"]
    compiler = _nvcc()
    if compiler is None:
        raise Unavailable("no compiler (nvcc) on this machine")
    # ptxas says a kernel's registers
    flags = ["-std=c++17", "-O3", f"-arch={architecture}", "-Xptxas", "-v"]
    return compiler, [*flags, *(["-use_fast_math"] if fast_math else [])]


@functools.cache
def _device() -> str | None:
    """The first GPU's architecture, as "sm_90"; None without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, version = ctypes.c_int(), (ctypes.c_int * 2)()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for i, attribute in enumerate(_CAPABILITY):
        if driver.cuDeviceGetAttribute(ctypes.byref(version, 4 * i), attribute, device):
            return None
    return f"sm_{version[0]}{version[1]}"


def _cache() -> pathlib.Path:
    chosen = os.environ.get("VHT_CACHE_DIR")
    return pathlib.Path(chosen) if chosen else pathlib.Path.home() / ".cache" / "vht"


def _call(command: list[str], folder: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        found = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise Unavailable(f"{command[0]} did not succeed: {' '.join(found[:3]).strip()}")
    return done.stderr + done.stdout


_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


def _usage(said: str) -> dict[str, Usage]:
    """By kernel, as its mangled name without what is common to all."""
    found: dict[str, Usage] = {}
    for part in said.split("ptxas info    : Compiling entry function")[1:]:
        name = _ENTRY.search(f"Compiling entry function{part}")
        stack, registers = _STACK.search(part), _REGISTERS.search(part)
        if name and stack and registers:
            found[readable(name[1])] = Usage(int(registers[1]), *map(int, stack.groups()))
    return found


_MANGLED = re.compile(r"^_Z\d+(fixed|rk4|adaptive)IN?(?:\d+)?(\w+?)I([df])(?:Li(\d+))?E")


def readable(mangled: str) -> str:
    """A kernel's problem, mode and precision; the mangled name itself if it is not one of these."""
    found = _MANGLED.match(mangled)
    if not found:
        return mangled
    mode, name, number, size = found.groups()
    return f"{name}{f' {size}' if size else ''} {mode} {'float64' if number == 'd' else 'float32'}"
