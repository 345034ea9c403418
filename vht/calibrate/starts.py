"""Where searches start: the given start first, then further ones spread over what is plausible.

The further starts are one Latin hypercube, the same for every twin and seeded, then mapped through each parameter's own
distribution. A twin's starts therefore depend on nothing but the seed and the twin itself: not on who else is in the cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vht.calibrate.priors import quantile, share_below
from vht.calibrate.transforms import Identity, Log, Transform

LEAST_SHARE = 1e-6
"""A prior of which less than this lies between the bounds says nothing about where."""


def latin_hypercube(points: int, dimensions: int, seed: int) -> Float[np.ndarray, "points dimensions"]:
    """Points in the open unit cube, one in each of `points` equal slices of every dimension."""
    random = np.random.default_rng(seed)
    slices = np.stack([random.permutation(points) for _ in range(dimensions)], axis=1)
    return (slices + random.uniform(0.02, 0.98, slices.shape)) / max(points, 1)


def design(
    given: Float[np.ndarray, "twins parameters"],
    transforms: Sequence[Transform],
    priors: Sequence[Any],
    scales: Float[np.ndarray, "twins parameters"],
    *,
    starts: int,
    seed: int,
    spread: float,
) -> Float[np.ndarray, "twins starts parameters"]:
    """The start values of every search, on the natural scale.

    Args:
        given: first start of each twin.
        transforms: of each parameter.
        priors: that each parameter is drawn from, or None.
        scales: what each twin multiplies the prior's values by.
        starts: how many starts.
        seed: of the Latin hypercube.
        spread: standard deviation of the jitter for parameters without prior and without finite bounds: on the log scale
            where the transform is log, as a share of the given start (of 1 if that is 0) where it is the identity.

    Returns:
        The starts. Further ones are drawn from the part of the prior that lies between the bounds, else evenly between finite
        bounds (evenly on the log scale where the transform is log), else as jitter around the given start.
    """
    from scipy import special

    twins, free = given.shape
    out = np.repeat(given[:, None, :], starts, axis=1)
    if starts == 1:
        return out
    cube = latin_hypercube(starts - 1, free, seed)
    for k, (transform, prior) in enumerate(zip(transforms, priors, strict=True)):
        u = np.broadcast_to(cube[:, k], (twins, starts - 1))
        lower, upper = transform.lower, transform.upper
        bounded = np.isfinite(lower) and np.isfinite(upper)
        normal = special.ndtri(u) * spread
        if isinstance(transform, Log):
            drawn = np.exp(np.log(lower) + u * np.log(upper / lower)) if bounded and lower > 0 else None
            drawn = given[:, k, None] * np.exp(normal) if drawn is None else drawn
        elif bounded:
            drawn = lower + u * (upper - lower)
        else:
            assert isinstance(transform, Identity)
            size = np.where(given[:, k] == 0, 1.0, np.abs(given[:, k]))
            drawn = given[:, k, None] + size[:, None] * normal
        if prior is not None:
            scale = scales[:, k, None]
            below, above = share_below(prior, lower / scale), share_below(prior, upper / scale)
            inside = np.maximum(above - below, 0.0)
            drawn = np.where((inside > LEAST_SHARE) | (not bounded), scale * quantile(prior, below + u * inside), drawn)
        out[:, 1:, k] = transform.inverse(transform.forward(drawn))
    return out
