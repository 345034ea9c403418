"""A C++ program of its own (`simd.cpp`): fixed steps, SIMD over twins, OpenMP over all cores."""

from __future__ import annotations

import ctypes
import functools
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.ctypeslib import ndpointer

from benchmarks.cohort import PARAMETERS, STATES, Cohort
from benchmarks.peers.build import Library, shared_library

FLAGS = (
    *("-std=gnu++17", "-O3", "-march=native", "-ffp-contract=fast"),
    *("-fno-math-errno", "-fno-trapping-math", "-fopenmp"),
)

Method = Literal["rk4", "tsit5"]
_ORDER: dict[str, int] = {"rk4": 4, "tsit5": 5}


class Solved(NamedTuple):
    """What the program gives.

    Attributes:
        values: in the precision asked for.
        ok: twins whose values are all finite.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]


@functools.cache
def _library() -> Library:
    code, made_with = shared_library("simd.cpp", ("g++",), FLAGS)
    reals = ndpointer(np.float64, flags="C")
    code.simd_rates.argtypes = [ctypes.c_double, reals, reals, reals]
    code.simd_rates.restype = None
    code.simd_solve.restype = None
    code.simd_solve.argtypes = [
        *(ctypes.c_int, ctypes.c_int, ctypes.c_long, reals, reals, ctypes.c_long),
        *(ctypes.c_double, ctypes.c_double, ctypes.c_long, ctypes.c_void_p),
    ]
    return Library(code, made_with)


def made_with() -> str:
    """Compiler and flags.

    Raises:
        Unavailable: no compiler.
    """
    return _library().made_with


def rates(t: float, state: Float[np.ndarray, " states"], parameters: Float[np.ndarray, " parameters"]) -> np.ndarray:
    """The right-hand side at a point."""
    out = np.empty(len(STATES))
    _library().code.simd_rates(t, np.ascontiguousarray(state), np.ascontiguousarray(parameters), out)
    return out


def solve(cohort: Cohort, *, method: Method, steps: int, dtype: Literal["float64", "float32"] = "float64") -> Solved:
    """Solve a cohort.

    Args:
        cohort: the twins; their saves must be equally spaced.
        method: classical Runge-Kutta of order 4, or Tsitouras' of order 5.
        steps: from one save to the next.
        dtype: what states are computed in.

    Raises:
        Unavailable: no compiler.
    """
    gaps = np.diff(cohort.times)
    if not np.allclose(gaps, gaps[0], rtol=1e-9):
        raise ValueError("The saves of fixed steps must be equally spaced.")
    twins, saves = len(cohort), len(cohort.times)
    assert cohort.parameters.shape == (twins, len(PARAMETERS)) and cohort.initial.shape == (twins, len(STATES))
    values = np.empty((twins, saves, len(STATES)), np.dtype(dtype))
    _library().code.simd_solve(
        *(_ORDER[method], values.itemsize, twins),
        *(np.ascontiguousarray(cohort.parameters), np.ascontiguousarray(cohort.initial), saves),
        *(float(cohort.times[0]), float(gaps[0]), steps, values.ctypes.data),
    )
    return Solved(values, np.asarray(np.isfinite(values).all(axis=(1, 2))))
