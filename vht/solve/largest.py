"""Maxima that do not overlook NaN."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def largest(values: Float[Array, ...], axis: int | tuple[int, ...] | None, **options: Any) -> Float[Array, ...]:
    """The maximum along an axis, NaN where there is any.

    ``jnp.max`` means to do the same, but on the CPU XLA takes the maximum of several at a time, and overlooks NaN where rows
    are long enough for that (seen with jaxlib 0.10.2 and 17 numbers in float64).

    Args:
        values: numbers.
        axis: see `jnp.max`.
        **options: see `jnp.max`.
    """
    missing = jnp.isnan(values).any(axis=axis, keepdims=options.get("keepdims", False))
    return jnp.where(missing, jnp.nan, jnp.max(values, axis=axis, **options))
