"""The clock of a solve, always float64: the least step on it, and comparisons of times that are short on a GPU."""

from __future__ import annotations

import jax.numpy as jnp

from vht.solve.system import Scalar

# Steps below this many units in the last place of time are refused; near time zero, where those shrink without end, those of
# this share of the next stop
FLOOR_ULPS, FLOOR_SHARE = 16.0, 1e-12


def least_step(t: Scalar, stop: Scalar) -> Scalar:
    """The least step that is tried at a time on the way to a stop."""
    return FLOOR_ULPS * jnp.finfo(t.dtype).eps * larger(abs(t), FLOOR_SHARE * abs(stop))


def larger(a: Scalar, b: Scalar) -> Scalar:
    """The larger of two times, the first where that is NaN: the maximum that regards both is four times as long on a GPU."""
    return jnp.where(a < b, b, a)


def smaller(a: Scalar, b: Scalar) -> Scalar:
    """The smaller of two times, neither of them NaN."""
    return jnp.where(a > b, b, a)
