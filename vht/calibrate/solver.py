"""The model's predictions by way of the solver: curves and Jacobians of some twins at their own times."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.fit import Predict, Predicted
from vht.calibrate.problem import INITIAL, Problem
from vht.solve import Backend, Device, simulate_with_jacobian
from vht.solve.device import place
from vht.solve.regroup import longest_first

CHUNK = 4096
SIZES = (8, 64, 512, CHUNK)
"""A batch is solved in chunks filled up to one of these sizes: so few programs serve cohorts of every size, whoever is left."""
GPU_SIZES = (*SIZES, 2**15, 2**16, 2**18)
"""On a GPU, which a few thousand twins leave idle."""


def curves(
    problem: Problem,
    natural: Float[np.ndarray, "lanes parameters"],
    twin: Int[np.ndarray, " lanes"],
    times: Float[np.ndarray, "lanes saves"],
    backend: Backend,
    device: Device = "auto",
) -> tuple[
    Float[np.ndarray, "observables lanes saves"],
    Float[np.ndarray, "observables lanes saves parameters"],
    Bool[np.ndarray, " lanes"],
    Int[np.ndarray, " lanes"],
]:
    """Every observable's curve and its derivatives with respect to the free parameters.

    Args:
        problem: model, schedule and columns.
        natural: values of the free parameters.
        twin: which twin each lane is.
        times: nondecreasing in each row.
        backend: of the solver.
        device: of the solver.

    Returns:
        Values, Jacobian, which lanes were solved, and the steps that they took.
    """
    shape = (len(problem.observables), twin.size, times.shape[1])
    values, slopes = np.empty(shape), np.empty((*shape, len(problem.names)))
    ok, steps = np.empty(twin.size, bool), np.empty(twin.size, np.int32)
    sizes = GPU_SIZES if place(device, backend).platform == "gpu" else SIZES
    for first in range(0, twin.size, sizes[-1]):
        some = slice(first, first + sizes[-1])
        fill = next(size for size in sizes if size >= twin[some].size)
        found = _chunk(problem, natural[some], twin[some], times[some], fill, backend, device)
        values[:, some], slopes[:, some], ok[some], steps[some] = found
    return values, slopes, ok, steps


def _chunk(
    problem: Problem,
    natural: np.ndarray,
    twin: np.ndarray,
    times: np.ndarray,
    size: int,
    backend: Backend,
    device: Device,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count = twin.size
    # idle lanes fill the chunk up: copies of the first whose only time is the start, so that they take no step
    fill = np.zeros(size, np.int64)
    fill[:count] = np.arange(count)
    natural, twin = natural[fill], twin[fill]
    times = np.where((np.arange(fill.size) < count)[:, None], times[fill], problem.start)

    columns: dict[str, Any] = {name: _rows(column, twin) for name, column in problem.columns.items()}
    initial: dict[str, Any] = {name: _rows(value, twin) for name, value in (problem.initial or {}).items()}
    for k, name in enumerate(problem.names):
        if name.startswith(INITIAL):
            initial[name.removeprefix(INITIAL)] = natural[:, k]
        else:
            columns[name] = natural[:, k]
    observed = [observable.output for observable in problem.observables.values()]
    trajectory, jacobian = simulate_with_jacobian(
        problem.model,
        times,
        free=problem.names,
        twins=columns,
        initial=initial,
        start=problem.start,
        # a schedule's arrays have one axis more when they differ from twin to twin
        schedule=jax.tree.map(lambda leaf: np.asarray(leaf)[twin] if np.ndim(leaf) == 2 else leaf, problem.schedule),
        observe=list(dict.fromkeys(observed)),
        method=problem.solver,
        backend=backend,
        device=device,
        # every observable is there at every time, also where only another one is measured
        gaps=True,
    )
    values = np.stack([np.asarray(trajectory.values[name])[:count] for name in observed])
    slopes = np.stack([np.asarray(jacobian[name])[:count] for name in observed])
    return values, slopes, np.asarray(trajectory.ok)[:count], np.asarray(trajectory.steps)[:count]


def _rows(values: Any, twin: Int[np.ndarray, " lanes"]) -> Any:
    values = np.asarray(values, np.float64)
    return values[twin] if values.ndim else values


def predictor(problem: Problem, backend: Backend, device: Device = "auto") -> Predict:
    """The function that predicts the problem's measurements.

    Between two calls it keeps how many steps each twin took, so that twins that will take about as many run side by side.

    Args:
        problem: what to predict.
        backend: of the solver.
        device: of the solver.
    """
    layout = problem.layout
    last = np.zeros(layout.twins, np.int32)

    def predict(natural: np.ndarray, twin: np.ndarray) -> Predicted:
        order = longest_first(last[twin])
        there = twin[order]
        values, slopes, ok, steps = curves(problem, natural[order], there, layout.times[there], backend, device)
        last[there] = steps
        lane = np.empty_like(order)
        lane[order] = np.arange(order.size)
        where = layout.observable[twin], lane[:, None], layout.save[twin]
        return Predicted(values[where], slopes[where], ok[lane])

    return predict
