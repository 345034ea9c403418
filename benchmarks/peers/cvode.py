"""SUNDIALS' CVODES with right-hand side, Jacobian and sensitivities in C (`cvode.c`), on all cores."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.ctypeslib import ndpointer

from benchmarks.cohort import PARAMETERS, STATES, Cohort, indices
from benchmarks.peers.build import Library, shared_library, with_sundials

FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fcx-limited-range", "-fopenmp")

Formula = Literal["adams", "bdf"]


class Solved(NamedTuple):
    """What CVODES gives.

    Attributes:
        values: NaN from a failure on.
        ok: twins that reached the last time.
        jacobian: derivatives with respect to the free parameters; empty last axis if none.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]
    jacobian: Float[np.ndarray, "twins saves states free"]


@functools.cache
def _library() -> Library:
    code, made_with = shared_library(
        "cvode.c", ("cc", "gcc", "clang"), FLAGS, with_sundials("sundials_sunnonlinsolfixedpoint")
    )
    reals, integers = ndpointer(np.float64, flags="C"), ndpointer(np.int32, flags="C")
    code.cvode_rates.argtypes = [ctypes.c_double, reals, reals, reals]
    code.cvode_rates.restype = None
    code.cvode_version.restype = ctypes.c_char_p
    code.cvode_solve.restype = None
    code.cvode_solve.argtypes = [
        *(ctypes.c_int, reals, reals, ctypes.c_int, reals, ctypes.c_double, ctypes.c_double),
        *(ctypes.c_int, ctypes.c_long, ctypes.c_int, integers, reals, reals, integers),
    ]
    return Library(code, f"SUNDIALS {code.cvode_version().decode()}, {made_with}")


def made_with() -> str:
    """Library, compiler and flags.

    Raises:
        Unavailable: no compiler or no SUNDIALS.
    """
    return _library().made_with


def rates(t: float, state: Float[np.ndarray, " states"], parameters: Float[np.ndarray, " parameters"]) -> np.ndarray:
    """The right-hand side at a point."""
    out = np.empty(len(STATES))
    _library().code.cvode_rates(t, np.ascontiguousarray(state), np.ascontiguousarray(parameters), out)
    return out


def solve(
    cohort: Cohort,
    *,
    rtol: float,
    atol: float,
    formula: Formula = "bdf",
    free: Sequence[str] = (),
    max_steps: int = 10_000_000,
) -> Solved:
    """Solve a cohort, with forward sensitivities (in the error test) if parameters are free.

    Args:
        cohort: the twins.
        rtol: relative tolerance.
        atol: absolute tolerance.
        formula: Adams with fixed-point iteration, or BDF with Newton and the analytic Jacobian.
        free: parameters to differentiate with respect to.
        max_steps: from one save to the next.

    Raises:
        Unavailable: no compiler or no SUNDIALS.
    """
    twins, saves, n = len(cohort), len(cohort.times), len(free)
    assert cohort.parameters.shape == (twins, len(PARAMETERS)) and cohort.initial.shape == (twins, len(STATES))
    values = np.empty((twins, saves, len(STATES)))
    slopes = np.empty((twins, saves, len(STATES), n))
    codes = np.empty(twins, np.int32)
    _library().code.cvode_solve(
        *(twins, np.ascontiguousarray(cohort.parameters), np.ascontiguousarray(cohort.initial)),
        *(saves, np.ascontiguousarray(cohort.times), rtol, atol, int(formula == "bdf"), max_steps),
        *(n, np.array(indices(free), np.int32), values, slopes, codes),
    )
    return Solved(values, (codes == 0) & np.isfinite(values).all(axis=(1, 2)), slopes)
