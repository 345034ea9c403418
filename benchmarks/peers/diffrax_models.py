"""diffrax under `jax.vmap` on any model of the library: Tsit5 or Kvaerno5 with its usual step controller."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.bodies_models import Drive
from vht.model import Organ, initial_state, inputs, states, with_parameters


class Solved(NamedTuple):
    """What diffrax gives.

    Attributes:
        values: states, in the model's order; infinite where it failed.
        ok: twins that reached the last time.
        steps: tried.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]
    steps: Int[np.ndarray, " twins"]


def solver(
    model: Organ,
    times: Float[np.ndarray, " saves"],
    *,
    drives: tuple[Drive, ...],
    stiff: bool,
    rtol: float,
    atol: float,
    max_steps: int = 1_000_000,
) -> Callable[[Mapping[str, np.ndarray]], Solved]:
    """A function of a cohort's parameters by name, compiled at its first call.

    Args:
        model: its other parameters, and its equations.
        times: of the saves.
        drives: what enters.
        stiff: Kvaerno5 instead of Tsit5.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: budget.
    """
    import diffrax

    names, saves = tuple(states(model)), jnp.asarray(times)
    rest = {name: variable.default or 0.0 for name, variable in inputs(model).items()}
    edges = sorted({drive.until for drive in drives if drive.until < math.inf})

    def entering(t: Any) -> Any:
        u: dict[str, Any] = {name: jnp.asarray(value) for name, value in rest.items()}
        for drive in drives:
            for time, value in drive.steps(model):
                u[drive.port] = jnp.where(t >= time, value, u[drive.port])
        return model.In(**u)

    def rates(t: Any, y: Any, own: Organ) -> Any:
        found = own.rates(t, model.State(**{name: y[i] for i, name in enumerate(names)}), entering(t))
        return jnp.stack([jnp.asarray(getattr(found, name), y.dtype) for name in names])

    def one(parameters: dict[str, Any]) -> Any:
        own = with_parameters(model, parameters)
        begin = initial_state(own)
        controller: Any = diffrax.PIDController(rtol=rtol, atol=atol)
        if edges:
            controller = diffrax.ClipStepSizeController(controller, jump_ts=jnp.asarray(edges))
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(rates), diffrax.Kvaerno5() if stiff else diffrax.Tsit5()),
            *(saves[0], saves[-1], None, jnp.stack([jnp.asarray(getattr(begin, n), saves.dtype) for n in names]), own),
            saveat=diffrax.SaveAt(ts=saves),
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return solution.ys, solution.result == diffrax.RESULTS.successful, solution.stats["num_steps"]

    run = jax.jit(jax.vmap(one))

    def solve(parameters: Mapping[str, np.ndarray]) -> Solved:
        with jax.numpy_dtype_promotion("standard"):
            values, ok, steps = (np.asarray(leaf) for leaf in run(dict(parameters)))
        return Solved(values, ok & np.isfinite(values).all(axis=(1, 2)), steps)

    return solve
