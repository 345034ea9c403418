"""The kernels that solves of the library's models call, traced without running anything."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
from vht_kernels import programs
from vht_kernels.program import Program

from benchmarks.bodies_models import trial
from vht.model import Organ
from vht.solve import Rodas5P, RushLarsen, Tsit5
from vht.solve.exponential import gating_states
from vht.solve.padding import padded
from vht.solve.plan import solve
from vht.solve.request import Request
from vht.solve.system import system_of

METHODS = {"Tsit5": Tsit5, "Rodas5P": Rodas5P, "RushLarsen": RushLarsen}
TWINS = 2


def methods(model: Organ) -> list[str]:
    """The names of the methods that can solve a model."""
    system = system_of(model)
    if any(system.algebraic):
        return ["Rodas5P"]
    return list(METHODS) if gating_states(system) else ["Tsit5", "Rodas5P"]


def program(name: str, model: Organ, method: str, dtype: str = "float64", directions: int = 0) -> Program:
    """The kernel of a solve in which every twin has its own parameters and all have one schedule.

    Large models share their directions out among kernels, which differ in the parameters that they move: it is the first.

    Args:
        name: of the model in the catalogue, by which what drives it is found.
        model: what is solved; all its states and outputs are saved.
        method: its name.
        dtype: "float64" or "float32".
        directions: sensitivities to so many of the model's parameters, the first ones.
    """
    task = trial(name, model)
    times = np.linspace(0.0, task.span, 11)
    columns = {key: np.full(TWINS, getattr(model, key)) for key in system_of(model).parameters}
    request = Request.of(model, times, columns, None, 0.0, task.schedule(model), None, METHODS[method](dtype=dtype))
    request.check()
    plan = dataclasses.replace(request.plan, method=request.plan.method.program(), backend="lanes")
    moved = tuple(request.direction(key) for key in list(columns)[:directions])
    with jax.enable_x64(True):
        found = programs(functools.partial(solve, plan, directions=moved), padded(request.given))
    return found[0]
