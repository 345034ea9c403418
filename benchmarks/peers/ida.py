"""SUNDIALS' IDA through scikit-sundae, twin after twin, for models with algebraic variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from benchmarks.bodies_models import Drive
from benchmarks.peers.build import Unavailable
from vht.model import Organ, inputs, states, with_parameters


class Solved(NamedTuple):
    """What IDA gives.

    Attributes:
        values: states, in the model's order; NaN where it failed.
        ok: twins that reached the last time.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]


def solve(
    model: Organ,
    times: Float[np.ndarray, " saves"],
    parameters: Mapping[str, Float[np.ndarray, " twins"]],
    initial: Float[np.ndarray, "twins states"],
    *,
    drives: tuple[Drive, ...],
    rtol: float,
    atol: float,
) -> Solved:
    """Solve a cohort in one process.

    Args:
        model: its other parameters, and its equations, called from Python.
        times: of the saves.
        parameters: of the twins.
        initial: states at the first time; the algebraic ones are where the search for consistent ones begins.
        drives: what enters.
        rtol: relative tolerance.
        atol: absolute tolerance.

    Raises:
        Unavailable: no scikit-sundae.
    """
    try:
        from sksundae.ida import IDA
    except ImportError as error:
        raise Unavailable("no scikit-sundae on this machine") from error

    names = tuple(states(model))
    algebraic = [i for i, variable in enumerate(states(model).values()) if variable.algebraic]
    differential = np.setdiff1d(np.arange(len(names)), algebraic)
    rest = {name: variable.default or 0.0 for name, variable in inputs(model).items()}

    @jax.jit
    def rates(t: Any, y: Any, p: Any, u: Any) -> Any:
        own = with_parameters(model, p)
        found = own.rates(t, model.State(**{name: y[i] for i, name in enumerate(names)}), model.In(**u))
        return tuple(getattr(found, name) for name in names)

    edges = sorted({drive.until for drive in drives if times[0] < drive.until < times[-1]} | {float(times[-1])})
    values = np.full((len(initial), len(times), len(names)), np.nan)
    for i, begin in enumerate(initial):
        p = {name: column[i] for name, column in parameters.items()}
        values[i, 0], y, t = begin, begin, float(times[0])
        for edge in edges:
            u = dict(rest)
            for drive in drives:
                for time, value in drive.steps(model):
                    u[drive.port] = value if time <= t else u[drive.port]

            call = _residual(rates, differential, p, u)
            inside = (times > t) & (times <= edge)
            stops = np.unique(np.concatenate([[t], times[inside], [edge]]))
            ida = IDA(call, rtol=rtol, atol=atol, algebraic_idx=algebraic, calc_initcond="yp0", max_num_steps=1_000_000)
            found = ida.solve(stops, y, np.zeros_like(y))
            if not found.success:
                break
            values[i, inside] = found.y[np.searchsorted(stops, times[inside])]
            y, t = found.y[-1], edge
    return Solved(values, np.asarray(np.isfinite(values).all(axis=(1, 2))))


def _residual(rates: Callable[..., Any], differential: np.ndarray, p: Any, u: Any) -> Callable[..., None]:
    def residual(t: float, y: np.ndarray, yp: np.ndarray, out: np.ndarray) -> None:
        with jax.numpy_dtype_promotion("standard"):
            out[:] = rates(t, y, p, u)
        out[differential] -= yp[differential]

    return residual
