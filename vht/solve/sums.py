"""Sums of products, of which the trace of a solve has thousands.

They go to `jax.lax` itself: each of jax.numpy's operators is a jitted function of its own, and half the time that tracing
a solve takes went there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax import lax
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def combine(weights: Sequence[float | Scalar], terms: Sequence[Scalar], start: Scalar | None = None) -> Scalar:
    """A weighted sum, after `start` if there is one; weights beyond the terms are left out."""
    total = start
    for weight, term in zip(weights, terms, strict=False):
        weighted = term if isinstance(weight, float) and weight == 1.0 else product(weight, term)
        total = weighted if total is None else lax.add(total, weighted)
    assert total is not None
    return total


def combined(weights: Sequence[float] | Sequence[Scalar], stages: Sequence[Sequence[Scalar]]) -> tuple[Scalar, ...]:
    """Weighted sums of stages, one a state."""
    return tuple(combine(weights, column) for column in zip(*stages, strict=True))


def product(weight: float | Scalar, term: Scalar) -> Scalar:
    """A number or a scalar of the same dtype, times a scalar."""
    return lax.mul(np.asarray(weight, term.dtype) if isinstance(weight, float) else weight, term)
