"""diffrax under `jax.vmap` on the stiff problems: Kvaerno5 with its usual controller, on this package's equations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from benchmarks.stiff_problems import Ensemble, Problem
from vht.model import with_parameters


class Solved(NamedTuple):
    """What diffrax gives.

    Attributes:
        values: states at the end.
        ok: twins that reached the end.
        steps: tried.
    """

    values: Float[np.ndarray, "twins states"]
    ok: Bool[np.ndarray, " twins"]
    steps: Int[np.ndarray, " twins"]


@functools.lru_cache(maxsize=32)
def _solver(problem: Problem, names: tuple[str, ...], max_steps: int) -> Callable[..., Any]:
    """A compiled function of tolerance, parameters ``[twins, parameters]`` and initial states ``[twins, states]``."""
    import diffrax

    model, pulse = problem.model, problem.pulse

    def rates(t: Any, y: Any, model: Any) -> Any:
        u = None
        if pulse is not None:
            on = (t >= pulse.start) & (t < pulse.start + pulse.duration)
            u = model.In(**{pulse.port: jnp.where(on, pulse.value, 0.0)})
        found = model.rates(t, model.State(**{name: y[i] for i, name in enumerate(problem.names)}), u)
        return jnp.stack([jnp.asarray(getattr(found, name)) for name in problem.names])

    def one(rtol: Any, parameters: Any, initial: Any) -> Any:
        own = with_parameters(model, {name: parameters[i] for i, name in enumerate(names)})
        controller: Any = diffrax.PIDController(rtol=rtol, atol=rtol * problem.threshold)
        if pulse is not None:
            edges = jnp.array([pulse.start, pulse.start + pulse.duration])
            controller = diffrax.ClipStepSizeController(controller, jump_ts=edges)
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(rates), diffrax.Kvaerno5(), 0.0, problem.end, None, initial, own),
            saveat=diffrax.SaveAt(t1=True),
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return solution.ys[0], solution.result == diffrax.RESULTS.successful, solution.stats["num_steps"]

    return jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))


def solve(twins: Ensemble, *, rtol: float, batch: int = 256, threads: int = 1, max_steps: int = 1_000_000) -> Solved:
    """Solve an ensemble, so many twins in one call; the first call with a batch compiles.

    Args:
        twins: to solve.
        rtol: relative tolerance; the absolute one is it times the problem's threshold.
        batch: twins in one call.
        threads: calls at the same time.
        max_steps: budget.
    """
    run = _solver(twins.problem, twins.names, max_steps)
    total = len(twins)
    batch = min(batch, total)

    def part(first: int) -> tuple[np.ndarray, ...]:
        some = np.arange(first, min(first + batch, total))
        # an incomplete batch is filled up, since another shape would be compiled anew
        padded = np.resize(some, batch)
        with jax.numpy_dtype_promotion("standard"):
            found = run(rtol, twins.parameters[padded], twins.initial[padded])
        return tuple(np.asarray(leaf)[: len(some)] for leaf in found)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, range(0, total, batch)))
    values, ok, steps = (np.concatenate(leaves) for leaves in zip(*parts, strict=True))
    return Solved(values, ok & np.isfinite(values).all(axis=1), steps)
