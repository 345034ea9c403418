"""What the measurements say about the estimates: covariance, degrees of freedom, and what they leave open.

Maximum likelihood finds an unknown error too small, because the curve was fitted to the same measurements. The error is
therefore estimated anew by restricted maximum likelihood (Patterson and Thompson 1971) at the fitted curve; with a single
additive error that is the textbook's residual sum of squares over n - p. Intervals use Student's t, with degrees of freedom
from how well the error is known (Giesbrecht and Burns 1985, after Satterthwaite 1946); with a single error those are n - p.
Where several unknown errors weigh the measurements against each other, the covariance pays for that weighing too (Kenward and
Roger 1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.layout import Layout
from vht.calibrate.likelihood import Errors, errors, information, weighted
from vht.calibrate.noise import Combined, Noise, Proportional, Variance, is_estimated, profile

OPEN = 1e3
"""A standard error of this many units of a relative search scale (log, logit) means: nothing is known."""

ROUNDS = 1000
"""Of restricted maximum likelihood at most: each leaves about the share p/n of what is missing, where n is hardly above p."""

LEFT = 1e-3
"""Fewer degrees of freedom than this are none."""


class Uncertainty(NamedTuple):
    """The uncertainty of each lane's estimates on the search scale.

    Attributes:
        covariance: zero rows and columns for parameters held at a bound.
        degrees: degrees of freedom of Student's t, infinite where every standard deviation is known.
        noise: the two parts of each observable's variance, `Errors.parts` corrected; NaN where no measurement uses them.
        singular: the measurements do not determine every parameter.
        weakest: the least determined direction, in units in which each parameter alone is equally well determined.
        exhausted: the curve passes through every measurement of an observable whose error was to be estimated.
    """

    covariance: Float[np.ndarray, "lanes parameters parameters"]
    degrees: Float[np.ndarray, "lanes parameters"]
    noise: Float[np.ndarray, "lanes observables 2"]
    singular: Bool[np.ndarray, " lanes"]
    weakest: Float[np.ndarray, "lanes parameters"]
    exhausted: Bool[np.ndarray, " lanes"]


# what a start found may be a curve whose square is no number
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def uncertainty(
    noises: Sequence[Noise],
    layout: Layout,
    scale: Float[np.ndarray, "twins observables"],
    twin: Int[np.ndarray, " lanes"],
    predicted: Float[np.ndarray, "lanes rows"],
    jacobian: Float[np.ndarray, "lanes rows parameters"],
    parts: Sequence[Variance],
    prior: Float[np.ndarray, "lanes parameters parameters"],
    held: Bool[np.ndarray, "lanes parameters"],
    relative: Bool[np.ndarray, " parameters"],
    threshold: float,
) -> Uncertainty:
    """The uncertainty of estimates.

    Args:
        noises: the noise model of each observable.
        layout: the measurements of all twins.
        scale: `layout.scale()`.
        twin: which twin each lane belongs to.
        predicted: the fitted values in the layout's rows, 0 where padded.
        jacobian: their derivatives with respect to the search scale, 0 where padded.
        parts: the most likely variance of each observable.
        prior: curvature of the priors' penalties.
        held: parameters held at a bound: taken as known.
        relative: which parameters have a relative search scale.
        threshold: smallest eigenvalue, with the diagonal scaled to one, that still counts as determined.
    """
    used = layout.used[twin]
    square = np.where(used, (layout.value[twin] - predicted) ** 2, 0.0)
    jacobian = np.where(held[:, None, :], 0.0, jacobian)
    free = ~(held[:, :, None] | held[:, None, :])
    rest = np.where(free, prior, 0.0) + np.where(held[:, :, None], np.eye(held.shape[1]), 0.0)

    found = errors(layout, twin, predicted, parts)
    inverse = Inverse.of(information(predicted, jacobian, used, found) + rest)
    weakest, singular = inverse.vectors[:, :, 0], inverse.values[:, 0] < threshold
    exhausted = np.zeros(twin.size, bool)
    if any(is_estimated(noise) for noise in noises):
        parts = [Variance(*map(np.copy, part)) for part in parts]
        moving = np.flatnonzero(~singular)
        here, matrix = found.of(moving), inverse.matrix[moving]
        for _ in range(ROUNDS):
            if not moving.size:
                break
            leverage = _leverage(jacobian[moving], np.where(free[moving], matrix, 0.0))
            after, exhausted[moving] = _restricted(
                noises, layout, scale, twin[moving], predicted[moving], square[moving], leverage, here
            )
            for part, new in zip(parts, after.parts, strict=True):
                for values, changed in zip(part, new, strict=True):
                    values[moving] = changed
            change = (np.abs(after.variance - here.variance) > 1e-7 * here.variance).any(axis=1)
            going = change & ~exhausted[moving]
            moving, here = moving[going], after.of(going)
            told = information(predicted[moving], jacobian[moving], used[moving], here)
            matrix = Inverse.of(told + rest[moving]).matrix
        found = errors(layout, twin, predicted, parts)
        inverse = Inverse.of(information(predicted, jacobian, used, found) + rest)

    covariance, degrees = _for_unknown_noise(jacobian, predicted, np.where(free, inverse.matrix, 0.0), found)
    lost = relative & (np.sqrt(np.maximum(np.einsum("bkk->bk", covariance), 0.0)) > OPEN)
    weakest = np.where((lost.any(axis=1) & ~singular)[:, None], lost.astype(float), weakest)
    singular |= lost.any(axis=1)
    noise = np.stack([np.stack([part.additive, part.proportional], axis=1) for part in found.parts], axis=1)
    present = np.stack([rows.any(axis=1) for rows in found.rows], axis=1)
    return Uncertainty(
        covariance=covariance,
        degrees=degrees,
        noise=np.where(present[:, :, None], noise, np.nan),
        singular=singular,
        weakest=weakest,
        exhausted=exhausted & ~singular,
    )


def _leverage(jacobian: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Variance of each fitted value."""
    return np.maximum((np.matmul(jacobian, covariance) * jacobian).sum(axis=2), 0.0)


def _restricted(
    noises: Sequence[Noise],
    layout: Layout,
    scale: np.ndarray,
    twin: np.ndarray,
    predicted: np.ndarray,
    square: np.ndarray,
    leverage: np.ndarray,
    found: Errors,
) -> tuple[Errors, np.ndarray]:
    """One round towards the restricted maximum likelihood: squares are expected to be variance less leverage."""
    parts = []
    exhausted = np.zeros(twin.size, bool)
    for o, (noise, part, rows) in enumerate(zip(noises, found.parts, found.rows, strict=True)):
        if not is_estimated(noise):
            parts.append(part)
        elif isinstance(noise, Combined):
            parts.append(profile(noise, square + leverage, predicted, rows, scale[twin, o]))
        else:
            count = rows.sum(axis=1)
            left = count - np.where(rows, leverage / found.variance, 0.0).sum(axis=1)
            exhausted |= (count > 0) & (left < LEFT)
            plain = profile(noise, square, predicted, rows, scale[twin, o])
            factor = np.where(count > 0, count / np.maximum(left, LEFT), 1.0)
            if isinstance(noise, Proportional):
                parts.append(plain._replace(proportional=plain.proportional * factor))
            else:
                parts.append(plain._replace(additive=plain.additive * factor))
    return errors(layout, twin, predicted, parts), exhausted


def _for_unknown_noise(
    jacobian: np.ndarray, predicted: np.ndarray, covariance: np.ndarray, found: Errors
) -> tuple[np.ndarray, np.ndarray]:
    """The covariance, enlarged for unknown weights, and the degrees of freedom to which each variance in it is known."""
    shares = []  # of each unknown part of the noise in each measurement's variance
    for part, rows in zip(found.parts, found.rows, strict=True):
        for size, unknown, weight in (
            (part.additive, part.additive_free, np.ones_like(predicted)),
            (part.proportional, part.proportional_free, predicted**2),
        ):
            if unknown.any():
                shares.append(np.where(rows & unknown[:, None], size[:, None] * weight / found.variance, 0.0))
    lanes, free = covariance.shape[:2]
    if not shares:
        return covariance, np.full((lanes, free), np.inf)

    blocks = [weighted(jacobian, share / found.variance) for share in shares]
    spread = [np.matmul(covariance, block) for block in blocks]
    number = len(shares)
    known = np.zeros((lanes, number, number))  # information about the logarithms of the unknown parts
    crossed = {}
    for i in range(number):
        for j in range(i, number):
            common = shares[i] * shares[j]
            crossed[i, j] = crossed[j, i] = weighted(jacobian, common / found.variance)
            mixed = (covariance * crossed[i, j]).sum(axis=(1, 2))
            both = (spread[i] * np.swapaxes(spread[j], 1, 2)).sum(axis=(1, 2))
            known[:, i, j] = known[:, j, i] = 0.5 * (common.sum(axis=1) - 2.0 * mixed + both)
    # a part without any measurement, or at its limit, takes no share in anything
    empty = np.einsum("bcc->bc", known) <= 1e-12
    blocked = empty[:, :, None] | empty[:, None, :]
    inverse = np.where(blocked, 0.0, Inverse.of(np.where(blocked, np.eye(number), known)).matrix)
    effect = np.stack([np.einsum("bkl,blk->bk", s, covariance) for s in spread], axis=2)
    doubt = np.einsum("bkc,bcd,bkd->bk", effect, inverse, effect)
    variance = np.einsum("bkk->bk", covariance)
    some = doubt > 1e-12 * variance**2
    degrees = np.where(some, 2.0 * variance**2 / np.where(some, doubt, 1.0), np.inf)
    excess = np.zeros_like(covariance)
    for (i, j), block in crossed.items():
        excess += inverse[:, i, j, None, None] * (block - np.matmul(blocks[i], spread[j]))
    excess = np.matmul(np.matmul(covariance, excess + np.swapaxes(excess, 1, 2)), covariance)
    # with hardly any degrees of freedom left the correction means nothing, and a variance never shrinks by it
    sound = (degrees > 1.0).all(axis=1) & (np.einsum("bkk->bk", excess) >= 0.0).all(axis=1)
    return covariance + np.where(sound[:, None, None], excess, 0.0), degrees


class Inverse(NamedTuple):
    """Inverse of symmetric matrices by way of their unit-diagonal form, whose eigenvalues ascend."""

    matrix: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @staticmethod
    def of(matrix: np.ndarray) -> Inverse:
        # what is no number would be an error for all; so it says that nothing is determined
        matrix = np.where(np.isfinite(matrix).all(axis=(1, 2), keepdims=True), matrix, 0.0)
        diagonal = np.einsum("bkk->bk", matrix)
        # what is not determined at all keeps a scale, so that its inverse is huge and not infinite
        largest = diagonal.max(axis=1, initial=0.0, keepdims=True)
        scale = np.sqrt(np.where(largest > 0, np.maximum(diagonal, 1e-40 * largest), 1.0))
        values, vectors = np.linalg.eigh(matrix / scale[:, :, None] / scale[:, None, :])
        inverse = np.matmul(vectors / np.maximum(values, 1e-20)[:, None, :], np.swapaxes(vectors, 1, 2))
        return Inverse(inverse / scale[:, :, None] / scale[:, None, :], values, vectors)


def student_quantile(level: float, degrees: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Half width, in standard errors, of the central interval of Student's t that holds `level` of it.

    Args:
        level: in (0, 1).
        degrees: degrees of freedom, may be infinite.
    """
    from scipy import special

    tail = 0.5 * (1.0 + level)
    finite = np.isfinite(degrees)
    return np.where(finite, special.stdtrit(np.where(finite, degrees, 1.0), tail), special.ndtri(tail))
