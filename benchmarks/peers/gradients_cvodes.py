"""SUNDIALS' CVODES on models with doses, with sensitivities to their times, and with thresholds (`gradients_cvodes.c`)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Inexact, Int
from numpy.ctypeslib import ndpointer

from benchmarks.peers.build import Library, shared_library, with_sundials

FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fcx-limited-range", "-fopenmp")
# the models' numbers in the C program
ORAL, MEAL, PUMP, HIRES, CIRCULATION = range(5)
# of the thresholds, in one twin
MOST_EVENTS = 64
# of the complex step, by which derivatives of a program are taken
TINY = 1e-40


@dataclass(frozen=True, eq=False)
class Program:
    """What happens to a cohort: stretches of constant input one after another, from time 0.

    Attributes:
        model: its number.
        parameters: in the C program's order.
        initial: states at time 0.
        lengths: of the stretches, in the model's unit of time.
        inputs: in each stretch.
        jumps: of the states before each stretch.
    """

    model: int
    parameters: Inexact[np.ndarray, "twins parameters"]
    initial: Inexact[np.ndarray, "twins states"]
    lengths: Inexact[np.ndarray, "twins stretches"]
    inputs: Inexact[np.ndarray, "twins stretches"]
    jumps: Inexact[np.ndarray, "twins stretches states"]

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """All numbers."""
        return self.parameters, self.initial, self.lengths, self.inputs, self.jumps


class Solved(NamedTuple):
    """What CVODES gives, at the end of each stretch.

    Attributes:
        values: NaN from a failure on.
        slopes: derivatives in each direction.
        events: times of the thresholds' crossings; NaN where there is none.
        count: of the crossings.
        ok: twins that reached the end.
    """

    values: Float[np.ndarray, "twins stretches states"]
    slopes: Float[np.ndarray, "twins stretches states directions"]
    events: Float[np.ndarray, "twins events"]
    count: Int[np.ndarray, " twins"]
    ok: Bool[np.ndarray, " twins"]


@functools.cache
def _library() -> Library:
    code, made_with = shared_library(
        "gradients_cvodes.c", ("cc", "gcc", "clang"), FLAGS, with_sundials("sundials_sunnonlinsolfixedpoint")
    )
    reals, integers = ndpointer(np.float64, flags="C"), ndpointer(np.int32, flags="C")
    code.gradients_version.restype = ctypes.c_char_p
    code.gradients_solve.restype = None
    code.gradients_solve.argtypes = [
        *(ctypes.c_int,) * 4,
        *(reals,) * 11,
        *(ctypes.c_double, ctypes.c_double, ctypes.c_long, ctypes.c_int),
        *(reals, reals, reals, integers, integers),
    ]
    return Library(code, f"SUNDIALS {code.gradients_version().decode()}, {made_with}")


def made_with() -> str:
    """Library, compiler and flags.

    Raises:
        Unavailable: no compiler or no SUNDIALS.
    """
    return _library().made_with


def solve(
    program: Program,
    *,
    rtol: float,
    atol: float,
    directions: Sequence[Program] = (),
    sizes: Float[np.ndarray, "twins directions"] | None = None,
    max_steps: int = 10_000_000,
) -> Solved:
    """Solve a cohort, with forward sensitivities (in the error test) along directions.

    Args:
        program: real.
        rtol: relative tolerance.
        atol: absolute tolerance.
        directions: the derivatives of all numbers of the program.
        sizes: of what each direction moves.
        max_steps: in each stretch.

    Raises:
        Unavailable: no compiler or no SUNDIALS.
        ValueError: tables of the wrong width.
    """
    code = _library().code
    (twins, stretches, states), count = program.jumps.shape, len(directions)
    wanted = (code.gradients_parameters(program.model), code.gradients_states(program.model))
    if wanted != (program.parameters.shape[1], states):
        raise ValueError(
            f"The C program has {wanted} parameters and states, but got {program.parameters.shape[1], states}."
        )
    values, slopes = np.empty((twins, stretches, states)), np.empty((twins, stretches, states, count))
    times, events, codes = np.empty((twins, MOST_EVENTS)), np.empty(twins, np.int32), np.empty(twins, np.int32)
    moved = [
        np.stack([direction.tables[i] for direction in directions], axis=1)
        if directions
        else np.empty((twins, 0, *table.shape[1:]))
        for i, table in enumerate(program.tables)
    ]
    sized = np.ones((twins, count)) if sizes is None else sizes
    code.gradients_solve(
        *(program.model, twins, stretches, count),
        *map(_plain, (*program.tables, *moved, sized)),
        *(rtol, atol, max_steps, MOST_EVENTS, values, slopes, times, events, codes),
    )
    return Solved(values, slopes, times, events, (codes == 0) & np.isfinite(values).all(axis=(1, 2)))


def _plain(table: Any) -> Float[np.ndarray, ...]:
    return np.ascontiguousarray(table, np.float64)
