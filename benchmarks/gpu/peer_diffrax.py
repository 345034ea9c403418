"""diffrax under `jax.vmap` on the same device: Tsit5, or Kvaerno5 where the problem is stiff, and its reverse-mode gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from benchmarks.gpu.problems import Columns, Problem, Settings
from vht.model import initial_state, with_parameters


class Solved(NamedTuple):
    """What diffrax gives.

    Attributes:
        values: at the end.
        ok: trajectories that reached it.
        steps: tried.
    """

    values: Float[Array, "trajectories states"]
    ok: Bool[Array, " trajectories"]
    steps: Int[Array, " trajectories"]


def _one(problem: Problem, settings: Settings, precision: str, max_steps: int | None) -> Callable[[Any, Any], Any]:
    """``(columns, initial vector or None) -> values, ok, steps`` of one trajectory."""
    import diffrax

    names, dtype, pulse = problem.states, np.dtype(precision), problem.pulse
    # a stiff solver's linear algebra wants a vector; on scalars, XLA gets along with the model as it is
    stacked = problem.vector is not None or problem.stiff

    def number(value: float) -> Any:
        return jnp.asarray(value, dtype)

    def scalars(y: Any) -> Any:
        return problem.model.State(**{name: y[i] for i, name in enumerate(names)})

    def rates(t: Any, y: Any, given: Any) -> Any:
        columns, model = given
        if problem.vector is not None:
            return problem.vector(y, columns)
        u = None
        if pulse is not None:
            on = (t >= pulse.start) & (t < pulse.start + pulse.duration)
            u = model.In(**{pulse.port: jnp.where(on, number(pulse.value), number(0.0))})
        found = model.rates(t, scalars(y) if stacked else y, u)
        values = [jnp.asarray(getattr(found, name), dtype) for name in names]
        return jnp.stack(values) if stacked else type(y)(**dict(zip(names, values, strict=True)))

    def one(columns: Any, initial: Any) -> Any:
        model = with_parameters(problem.model, dict(columns))
        begin = initial_state(model)
        values = [jnp.asarray(getattr(begin, name), dtype) for name in names]
        own = jnp.stack(values) if initial is None else initial
        y = own if stacked else scalars(own)
        controller: Any = diffrax.ConstantStepSize()
        if settings.step is None:
            controller = diffrax.PIDController(rtol=settings.rtol, atol=settings.rtol * problem.threshold)
            if pulse is not None:
                edges = jnp.array([pulse.start, pulse.start + pulse.duration], dtype)
                controller = diffrax.ClipStepSizeController(controller, jump_ts=edges)
        first = settings.first_step if settings.step is None else settings.step
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(rates), diffrax.Kvaerno5() if problem.stiff else diffrax.Tsit5()),
            *(number(0.0), number(problem.end), number(first) if first else None, y, (columns, model)),
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        end = solution.ys[0] if stacked else jnp.stack([getattr(solution.ys, name)[0] for name in names])
        return end, solution.result == diffrax.RESULTS.successful, solution.stats["num_steps"]

    return one


def solver(
    problem: Problem, settings: Settings, precision: str, max_steps: int = 100_000
) -> Callable[[Columns], Solved]:
    """The solve as a function of columns, under `jit`.

    Args:
        problem: to solve.
        settings: of the steps.
        precision: of everything, time too.
        max_steps: budget.
    """
    one = _one(problem, settings, precision, max_steps)

    def call(columns: Columns) -> Solved:
        with jax.numpy_dtype_promotion("standard"):
            return Solved(*jax.vmap(lambda mine: one(mine, None))(columns))

    return jax.jit(call)


def gradient(problem: Problem, precision: str, max_steps: int) -> Callable[[Columns, Any, Any], tuple[Any, Any]]:
    """``(columns, initial, rtol) ->`` derivatives of the sum of all states at the end, in reverse mode.

    diffrax's default is what is used: `RecursiveCheckpointAdjoint`, with as many checkpoints as it chooses for the budget.

    Args:
        problem: to solve; without rates on a vector, its states are scalars.
        precision: of everything.
        max_steps: budget; a larger one costs memory and time.
    """

    def total(columns: Columns, initial: Any, rtol: Any) -> Any:
        values, ok, steps = jax.vmap(_one(problem, Settings(rtol), precision, max_steps))(columns, initial)
        return jnp.sum(values), (ok, steps)

    def call(columns: Columns, initial: Any, rtol: Any) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return jax.grad(total, argnums=(0, 1), has_aux=True)(columns, initial, rtol)

    return jax.jit(call)
