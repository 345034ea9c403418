"""Small kernels on the device and on the processor, before anything is timed: seconds that say where it fails, if it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from vht_kernels import full_like, lanes, length, read, scratch, write

from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.cases import Check

TABLE = "checks"


def run(case: Check, bench: Bench) -> None:
    """Compare all of them.

    Args:
        case: what.
        bench: where rows go.
    """
    for name, (function, axes, arguments) in _programs(case.lanes).items():

        def measure(name: str = name, function: Any = function, axes: Any = axes, arguments: Any = arguments) -> Row:
            return {"check": name} | _compared(function, axes, arguments)

        bench.attempt(TABLE, f"check: {name}", measure)
    bench.attempt(TABLE, "check: a kernel that cannot be", lambda: _refused(bench))


Program = tuple[Callable[..., Any], Any, tuple[Any, ...]]


def _programs(count: int) -> dict[str, Program]:
    """By name: a function of a lane, its axes, and its arguments."""
    random = np.random.default_rng(5)
    found: dict[str, Program] = {
        f"one sum, {n:,} lanes": (lambda x: x * 2.0 + 1.0, 0, (random.normal(size=n),)) for n in (1, 33, 257, count)
    }
    for dtype in (np.float64, np.float32):
        x, y = (random.normal(size=count).astype(dtype) for _ in range(2))
        found[f"functions, {np.dtype(dtype)}"] = (_functions, 0, (x, y))
        special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype)
        x, y = (a.ravel() for a in np.meshgrid(special, special))
        found[f"zeros and NaN, {np.dtype(dtype)}"] = (_extremes, 0, (x, y))
    own, shared = random.normal(size=(count, 4)), random.normal(size=5)
    found["tables"] = (tables, (0, 0, None), (random.normal(size=count), own, shared))
    turns = random.integers(0, 40, count).astype(np.int32)
    found["loops of unequal length"] = (_loops, 0, (random.normal(size=count), turns))
    return found


def _functions(x: Any, y: Any) -> Any:
    within, positive = jnp.tanh(x), abs(x) + x.dtype.type(0.1)
    plain = [jnp.exp, jnp.expm1, jnp.sin, jnp.cos, jnp.tan, jnp.sinh, jnp.cosh, jnp.arctan, jnp.arcsinh, jnp.cbrt]
    inside = [jnp.arcsin, jnp.arccos, jnp.arctanh, lax.erf_inv]
    above = [jnp.log, jnp.log1p, jnp.sqrt, lax.rsqrt, lax.lgamma, lax.digamma]
    found = [f(x) for f in (*plain, jax.nn.sigmoid, lax.erf, lax.erfc)]
    found += [f(within) for f in inside] + [f(positive) for f in above] + [jnp.arccosh(positive + x.dtype.type(1.0))]
    return [*found, jnp.power(positive, y), jnp.arctan2(x, y), lax.rem(x, y), jnp.cos(np.pi * x), x / y, jnp.floor(x)]


def _extremes(x: Any, y: Any) -> Any:
    return [
        jnp.maximum(x, y),
        jnp.minimum(x, y),
        lax.nextafter(x, y),
        jnp.sign(x),
        x == y,
        x < y,
        jnp.where(x > y, x, y),
    ]


def tables(x: Any, own: Any, shared: Any) -> Any:
    """Of each lane: scalars, tables of its own and shared ones, a table that is no result, scratch."""
    kept = write(full_like(own, 0.0), 1, x * read(shared, 2))
    aside = write(full_like(own, 2.0, repeat=2), length(own), x)
    work = write(scratch(3, 0.0, np.float64), 1, x)
    return jnp.sin(x) + read(work, 1), kept, read(aside, length(own)) + read(aside, 0), x > 1.0


def _loops(x: Any, turns: Any) -> Any:
    def turn(carry: tuple[Any, Any]) -> tuple[Any, Any]:
        done, y = carry
        return done + np.int32(1), jnp.where(y > 0.0, 0.5 * y - 1.0, y * y + x)

    return lax.while_loop(lambda carry: carry[0] < turns, turn, (jnp.zeros((), np.int32), x))[1]


def _compared(function: Any, axes: Any, arguments: tuple[Any, ...]) -> Row:
    """Of the two results, how many numbers differ, if only by the sign of a zero, and by how much at most."""
    begin = time.perf_counter()
    found, exact = [], []
    for results, device in ((found, None), (exact, jax.devices("cpu")[0])):
        with jax.default_device(device):
            results += map(np.asarray, jax.tree.leaves(jax.jit(lanes(function, in_axes=axes))(*arguments)))
    different, off, count = 0, 0.0, 0
    for a, b in zip(found, exact, strict=True):
        same = (a == b) & (np.signbit(a) == np.signbit(b)) if a.dtype.kind == "f" else a == b
        same |= (a != a) & (b != b)
        count, different = count + same.size, different + int(np.sum(~same))
        if a.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                apart = np.where(same, 0.0, np.abs(a.astype(np.float64) - b) / np.maximum(np.abs(b), 1e-300))
            off = max(off, float(np.max(np.where(np.isnan(apart), np.inf, apart), initial=0.0)))
    return {"numbers": count, "different": different, "off": off, "seconds": time.perf_counter() - begin}


def _refused(bench: Bench) -> Row:
    """What the driver says of a text that is none."""
    if not bench.on_gpu:
        return {"check": "a kernel that cannot be", "said": "needs a GPU"}
    from vht_kernels import driver

    try:
        driver.load_kernel(".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k() { nonsense; }", "k")
    except driver.DriverError as error:
        return {"check": "a kernel that cannot be", "said": str(error)}
    raise RuntimeError("The driver has taken it.")
