"""diffrax under `jax.vmap`: Tsit5 with its usual step controller, on this package's equations in plain JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from benchmarks.cohort import PARAMETERS, STATES, Cohort

Precision = Literal["float64", "float32"]


class Solved(NamedTuple):
    """What diffrax gives.

    Attributes:
        values: infinite where it failed.
        ok: twins that reached the last time.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]


def solver(
    times: Float[np.ndarray, " saves"],
    *,
    rtol: float,
    atol: float,
    dtype: Precision = "float64",
) -> Callable[[Any, Any], Any]:
    """A compiled function of a batch: parameters ``[twins, 33]`` and initial states ``[twins, 12]``.

    The states are a pytree of scalars; one array of 12 states is not faster.

    Args:
        times: of the saves.
        rtol: relative tolerance.
        atol: absolute tolerance.
        dtype: of everything, time included.
    """
    import diffrax

    from vht.organs.circulation import Circulation

    saves = np.asarray(times, dtype)

    def one(parameters: Any, initial: Any) -> Any:
        model = Circulation(**{name: parameters[i] for i, name in enumerate(PARAMETERS)})
        begin = Circulation.State(**{name: initial[i] for i, name in enumerate(STATES)})
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, model: model.rates(t, x, None)),
            diffrax.Tsit5(),
            saves[0],
            saves[-1],
            None,
            begin,
            model,
            saveat=diffrax.SaveAt(ts=jnp.asarray(saves)),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=100_000,
            throw=False,
        )
        assert solution.ys is not None
        return tuple(getattr(solution.ys, name) for name in STATES), solution.result == diffrax.RESULTS.successful

    return jax.jit(jax.vmap(one))


@functools.lru_cache(maxsize=32)
def _solver(times: bytes, saves: int, rtol: float, atol: float, dtype: Precision) -> Callable[[Any, Any], Any]:
    del saves
    return solver(np.frombuffer(times), rtol=rtol, atol=atol, dtype=dtype)


def solve(
    cohort: Cohort, *, rtol: float, atol: float, batch: int = 1024, threads: int = 1, dtype: Precision = "float64"
) -> Solved:
    """Solve a cohort, so many twins in one call; the first call compiles.

    Args:
        cohort: the twins.
        rtol: relative tolerance.
        atol: absolute tolerance.
        batch: twins in one call.
        threads: calls at the same time.
        dtype: of everything.
    """
    times = np.ascontiguousarray(cohort.times, np.float64)
    run = _solver(times.tobytes(), len(times), rtol, atol, dtype)
    batch = min(batch, len(cohort))

    def part(first: int) -> tuple[np.ndarray, np.ndarray]:
        some = np.arange(first, min(first + batch, len(cohort)))
        # an incomplete batch is filled up, since another shape would be compiled anew
        padded = np.resize(some, batch)
        values, good = run(cohort.parameters[padded].astype(dtype), cohort.initial[padded].astype(dtype))
        return np.stack([np.asarray(v)[: len(some)] for v in values], axis=-1), np.asarray(good)[: len(some)]

    firsts = range(0, len(cohort), batch)
    if threads == 1:
        parts = [part(first) for first in firsts]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(part, firsts))
    values = np.concatenate([values for values, _ in parts])
    ok = np.concatenate([good for _, good in parts])
    return Solved(values, ok & np.isfinite(values).all(axis=(1, 2)))
