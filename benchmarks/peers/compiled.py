"""Peers in C++: compiled on the spot, called through ctypes; absent with a word where there is no compiler or library."""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np
from jaxtyping import Float, Int

from vht.model import parameters, states
from vht.organs.circulation import Circulation

HERE = pathlib.Path(__file__).parent
FLAGS = ("-O3", "-march=native", "-fopenmp", "-ffp-contract=fast", "-fPIC", "-shared")
# Order in which circulation.hpp numbers them; the model declares them in the same order (asserted below)
PARAMETERS = tuple(parameters(Circulation))
STATES = tuple(states(Circulation))


class Unavailable(Exception):
    """This peer cannot run here; the message says what is missing."""


def compiler() -> str:
    """The C++ compiler: ``$CXX``, g++ or clang++.

    Raises:
        Unavailable: if there is none.
    """
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise Unavailable("no C++ compiler")


@functools.cache
def _library(source: str, *libraries: str) -> ctypes.CDLL:
    _check_order()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vht-benchmark-"))
    target = folder / f"{source}.so"
    command = [compiler(), *FLAGS, str(HERE / source), "-o", str(target), *libraries]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line), done.stderr[:200])
        raise Unavailable(f"{source} does not compile: {first}")
    return ctypes.CDLL(str(target))


def _check_order() -> None:
    """circulation.hpp numbers parameters and states as the model declares them."""
    text = (HERE / "circulation.hpp").read_text()
    for enum, names in (("Parameter", PARAMETERS), ("State", STATES)):
        body = text.split(f"enum {enum} {{")[1].split("N_")[0]
        found = tuple(name.strip() for name in body.replace("\n", " ").split(",") if name.strip())
        assert found == names, f"circulation.hpp and the model disagree on the order of {enum}s"


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def fixed_steps(
    columns: Float[np.ndarray, "twins parameters"],
    start: Float[np.ndarray, " states"],
    saves: int,
    per_save: int,
    step: float,
    method: str,
    dtype: str,
) -> Float[np.ndarray, "twins saves states"]:
    """All twins by steps of equal size, hand-vectorised C++ on all cores.

    Args:
        columns: every parameter of every twin, in the order of `PARAMETERS`.
        start: initial states, in the order of `STATES`.
        saves: how many, the first at time 0.
        per_save: steps from one save to the next.
        step: s.
        method: "rk4" or "tsit5".
        dtype: "float64" or "float32"; of the arithmetic, results are float64.

    Raises:
        Unavailable: without a compiler.
    """
    library = _library("simd.cpp")
    columns, start = np.ascontiguousarray(columns, np.float64), np.ascontiguousarray(start, np.float64)
    out = np.empty((len(columns), saves, len(STATES)))
    solve = library.solve_f64 if dtype == "float64" else library.solve_f32
    solve(
        ctypes.c_int(len(columns)), _pointer(columns), _pointer(start), ctypes.c_int(saves), ctypes.c_int(per_save),
        ctypes.c_double(step), ctypes.c_int({"rk4": 4, "tsit5": 5}[method]), _pointer(out),
    )  # fmt: skip
    return out


_SUNDIALS = ("-lsundials_cvodes", "-lsundials_nvecserial", "-lsundials_sunlinsoldense", "-lsundials_sunmatrixdense")
_SUNDIALS += ("-lsundials_sunnonlinsolfixedpoint",)


def cvode(
    columns: Float[np.ndarray, "twins parameters"],
    start: Float[np.ndarray, " states"],
    times: Float[np.ndarray, " saves"],
    rtol: float,
    atol: float,
    stiff: bool,
) -> tuple[Float[np.ndarray, "twins saves states"], Int[np.ndarray, " twins"]]:
    """All twins by CVODE with a compiled right-hand side, one after another on each core.

    Args:
        columns: as in `fixed_steps`.
        start: as in `fixed_steps`.
        times: of the saves; the first is the start.
        rtol: relative tolerance.
        atol: absolute tolerance.
        stiff: BDF with a dense Newton iteration, else Adams with functional iteration.

    Returns:
        The states, and for each twin whether it failed.

    Raises:
        Unavailable: without a compiler or SUNDIALS.
    """
    library = _library("cvode.cpp", *_SUNDIALS)
    columns, start = np.ascontiguousarray(columns, np.float64), np.ascontiguousarray(start, np.float64)
    times = np.ascontiguousarray(times, np.float64)
    out, failed = np.empty((len(columns), len(times), len(STATES))), np.empty(len(columns), np.int32)
    library.cvode_values(
        ctypes.c_int(len(columns)), _pointer(columns), _pointer(start), ctypes.c_int(len(times)), _pointer(times),
        ctypes.c_double(rtol), ctypes.c_double(atol), ctypes.c_int(stiff), _pointer(out), _pointer(failed),
    )  # fmt: skip
    return out, failed


def cvode_jacobian(
    columns: Float[np.ndarray, "twins parameters"],
    free: tuple[str, ...],
    start: Float[np.ndarray, " states"],
    times: Float[np.ndarray, " saves"],
    rtol: float,
    atol: float,
) -> tuple[Float[np.ndarray, "twins saves states"], Float[np.ndarray, "twins saves states free"]]:
    """States and their derivatives with respect to five parameters: dual numbers through the same equations, Adams.

    Raises:
        Unavailable: without a compiler or SUNDIALS, or if a twin fails.
    """
    library = _library("cvode.cpp", *_SUNDIALS)
    columns, start = np.ascontiguousarray(columns, np.float64), np.ascontiguousarray(start, np.float64)
    times = np.ascontiguousarray(times, np.float64)
    which = np.array([PARAMETERS.index(name) for name in free], np.int32)
    out = np.empty((len(columns), len(times), 1 + len(free), len(STATES)))
    failed = np.empty(len(columns), np.int32)
    library.cvode_sensitivities(
        ctypes.c_int(len(columns)), _pointer(columns), _pointer(which), _pointer(start), ctypes.c_int(len(times)),
        _pointer(times), ctypes.c_double(rtol), ctypes.c_double(atol), ctypes.c_int(0), _pointer(out), _pointer(failed),
    )  # fmt: skip
    if failed.any():
        raise Unavailable(f"CVODE failed on {int(failed.sum())} twins")
    return out[:, :, 0], np.moveaxis(out[:, :, 1:], 2, -1)
