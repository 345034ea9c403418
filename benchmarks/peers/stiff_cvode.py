"""SUNDIALS' CVODE on the stiff problems: equations and Jacobians in C (`stiff_cvode.c`), one twin after another on one core.

Without SUNDIALS' headers, scikit-sundae's CVODE on the same equations, called through Python and so far slower.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.ctypeslib import ndpointer

from benchmarks.peers.build import Library, Unavailable, shared_library, with_sundials
from benchmarks.stiff_problems import Ensemble, Problem

_COMPILERS, FLAGS = ("cc", "gcc", "clang"), ("-std=gnu11", "-O3", "-march=native")


class Solved(NamedTuple):
    """What CVODE gives.

    Attributes:
        values: states at the end; NaN where it failed.
        ok: twins that reached the end.
        steps: accepted; through Python evaluations of the rates, for want of them.
    """

    values: Float[np.ndarray, "twins states"]
    ok: Bool[np.ndarray, " twins"]
    steps: Int[np.ndarray, " twins"]


def _declare(code: ctypes.CDLL) -> None:
    reals = ndpointer(np.float64, flags="C")
    code.stiff_rates.argtypes = [ctypes.c_int, reals, reals, ctypes.c_double, reals]
    code.stiff_rates.restype = None
    code.stiff_jacobian.argtypes = [ctypes.c_int, reals, reals, reals]


@functools.cache
def _equations() -> Library:
    code, made_with = shared_library("stiff_rates.c", _COMPILERS, FLAGS, (("m",),))
    _declare(code)
    return Library(code, made_with)


@functools.cache
def _library() -> Library:
    code, made_with = shared_library("stiff_cvode.c", _COMPILERS, FLAGS, with_sundials())
    _declare(code)
    reals, integers = ndpointer(np.float64, flags="C"), ndpointer(np.int32, flags="C")
    code.stiff_version.restype = ctypes.c_char_p
    code.stiff_solve.argtypes = [
        *(ctypes.c_int, ctypes.c_int, reals, reals, ctypes.c_int, reals, reals),
        *(ctypes.c_double, ctypes.c_double, ctypes.c_long, reals, ndpointer(np.int64, flags="C"), integers),
    ]
    return Library(code, f"SUNDIALS {code.stiff_version().decode()}, {made_with}")


def compiled() -> bool:
    """Whether all of it is in C."""
    try:
        _library()
    except Unavailable:
        return False
    return True


def made_with() -> str:
    """Library, compiler and flags.

    Raises:
        Unavailable: no compiler.
    """
    if compiled():
        return _library().made_with
    import sksundae

    return f"scikit-sundae {sksundae.__version__}, equations in C called through Python, {_equations().made_with}"


def rates(
    problem: Problem, state: Float[np.ndarray, " states"], parameters: Float[np.ndarray, " parameters"], u: float = 0.0
) -> Float[np.ndarray, " states"]:
    """The right-hand side at a point.

    Raises:
        Unavailable: no compiler.
    """
    out = np.empty(len(state))
    _equations().code.stiff_rates(problem.number, np.ascontiguousarray(state), np.ascontiguousarray(parameters), u, out)
    return out


def jacobian(
    problem: Problem, state: Float[np.ndarray, " states"], parameters: Float[np.ndarray, " parameters"]
) -> Float[np.ndarray, "states states"] | None:
    """Derivatives of the rates (rows) with respect to the states (columns); None where there are none in C.

    Raises:
        Unavailable: no compiler.
    """
    out = np.empty((len(state), len(state)))
    call = _equations().code.stiff_jacobian
    missing = call(problem.number, np.ascontiguousarray(state), np.ascontiguousarray(parameters), out)
    return None if missing else out.T.copy()


def solve(twins: Ensemble, *, rtol: float, max_steps: int = 1_000_000) -> Solved:
    """Solve an ensemble on one core.

    Args:
        twins: to solve.
        rtol: relative tolerance; the absolute one is it times the problem's threshold.
        max_steps: in each stretch of constant input.

    Raises:
        Unavailable: no compiler, or neither SUNDIALS nor scikit-sundae.
    """
    if not compiled():
        return _through_python(twins, rtol, max_steps)
    code, problem = _library().code, twins.problem
    n, (count, width) = twins.initial.shape[1], twins.parameters.shape
    if (code.stiff_states(problem.number), code.stiff_parameters(problem.number)) != (n, width):
        raise ValueError(f"{problem.name} has {n} states and {width} parameters here, but others in C.")
    ends, inputs = (np.array(part) for part in problem.stops)
    values, steps, codes = np.full((count, n), np.nan), np.zeros(count, np.int64), np.full(count, -1, np.int32)
    failed = code.stiff_solve(
        *(problem.number, count, np.ascontiguousarray(twins.parameters), np.ascontiguousarray(twins.initial)),
        *(len(ends), ends, inputs, rtol, rtol * problem.threshold, max_steps, values, steps, codes),
    )
    if failed:
        raise RuntimeError(f"CVODE could not be set up for {problem.name}: code {failed}.")
    return Solved(values, (codes >= 0) & np.isfinite(values).all(axis=1), steps)


def _through_python(twins: Ensemble, rtol: float, max_steps: int) -> Solved:
    try:
        from sksundae.cvode import CVODE
    except ImportError as error:
        raise Unavailable("neither SUNDIALS' headers nor scikit-sundae on this machine") from error
    problem, (count, n) = twins.problem, twins.initial.shape
    values, steps = np.full((count, n), np.nan), np.zeros(count, np.int64)
    settings: dict[str, Any] = {"rtol": rtol, "atol": rtol * problem.threshold, "max_num_steps": max_steps}
    for i in range(count):
        state, t = twins.initial[i], 0.0
        for end, u in zip(*problem.stops, strict=True):
            call = _right_hand_side(problem, np.ascontiguousarray(twins.parameters[i]), u)
            found = CVODE(call, method="BDF", linsolver="dense", **settings).solve(np.array([t, end]), state)
            if not found.success:
                break
            state, t = found.y[-1], end
            steps[i] += found.nfev
        else:
            values[i] = state
    return Solved(values, np.asarray(np.isfinite(values).all(axis=1)), steps)


def _right_hand_side(problem: Problem, p: Float[np.ndarray, " parameters"], u: float) -> Callable[..., None]:
    equations, at = _equations().code.stiff_rates, problem.number

    def call(t: float, y: np.ndarray, yp: np.ndarray) -> None:
        equations(at, y, p, u, yp)

    return call
