"""The Gaussian likelihood of every twin's measurements, its gradient and its Fisher information, noise profiled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.calibrate.layout import Layout
from vht.calibrate.noise import Noise, Variance, profile


@dataclass(frozen=True)
class Errors:
    """The variance of each measurement in a batch.

    Attributes:
        variance: positive; 1 where padded.
        slope: its derivative with respect to the predicted value.
        parts: the noise model's parts, by observable.
        rows: which rows take their variance from each observable's noise model.
        zero_sd: some measurement of the lane has a standard deviation of zero.
    """

    variance: Float[np.ndarray, "lanes rows"]
    slope: Float[np.ndarray, "lanes rows"]
    parts: tuple[Variance, ...]
    rows: tuple[Bool[np.ndarray, "lanes rows"], ...]
    zero_sd: Bool[np.ndarray, " lanes"]

    def of(self, lanes: np.ndarray) -> Errors:
        """Those of some lanes."""
        parts = tuple(Variance(*(values[lanes] for values in part)) for part in self.parts)
        rows = tuple(rows[lanes] for rows in self.rows)
        return Errors(self.variance[lanes], self.slope[lanes], parts, rows, self.zero_sd[lanes])


def errors(
    layout: Layout,
    twin: Int[np.ndarray, " lanes"],
    predicted: Float[np.ndarray, "lanes rows"],
    parts: Sequence[Variance],
) -> Errors:
    """The variance of each measurement, given each observable's.

    Args:
        layout: the measurements of all twins.
        twin: which twin each lane belongs to.
        predicted: predicted values, 0 where padded.
        parts: of each observable.
    """
    used, own_sd = layout.used[twin], layout.sd[twin]
    own = used & ~np.isnan(own_sd)
    variance = np.where(own, own_sd**2, 1.0)
    slope = np.zeros_like(predicted)
    lowest = np.ones(twin.size)
    members = []
    for o, part in enumerate(parts):
        rows = used & ~own & (layout.observable[twin] == o)
        here = part.additive[:, None] + part.proportional[:, None] * predicted**2
        variance = np.where(rows, here, variance)
        slope = np.where(rows, 2.0 * part.proportional[:, None] * predicted, slope)
        # beside the others of its observable: a variance of next to nothing makes the likelihood infinite
        top = np.where(rows, here, 0.0).max(axis=1, initial=0.0)
        least = np.where(rows, here, top[:, None]).min(axis=1, initial=np.inf)
        share = np.where(top > 0, least / np.where(top > 0, top, 1.0), 0.0)
        share = np.where(np.isfinite(top), share, np.nan)  # of a curve that is too large nothing is said
        lowest = np.minimum(lowest, np.where(rows.any(axis=1), share, 1.0))
        members.append(rows)
    zero_sd = lowest <= 1e-18
    variance = np.where(variance > 0, variance, 1.0)
    return Errors(variance, slope, tuple(parts), tuple(members), zero_sd)


class Likelihood(NamedTuple):
    """The negative log-likelihood of each lane at one place.

    Attributes:
        objective: with all its constants, and smallest over the unknown noise.
        gradient: its derivative with respect to the search scale.
        information: Fisher information about the parameters, the noise being unknown.
        errors: the measurements' variances.
    """

    objective: Float[np.ndarray, " lanes"]
    gradient: Float[np.ndarray, "lanes parameters"]
    information: Float[np.ndarray, "lanes parameters parameters"]
    errors: Errors


def likelihood(
    noises: Sequence[Noise],
    layout: Layout,
    scale: Float[np.ndarray, "twins observables"],
    twin: Int[np.ndarray, " lanes"],
    predicted: Float[np.ndarray, "lanes rows"],
    jacobian: Float[np.ndarray, "lanes rows parameters"],
) -> Likelihood:
    """Evaluate the likelihood of a batch.

    Args:
        noises: the noise model of each observable.
        layout: the measurements of all twins.
        scale: `layout.scale()`.
        twin: which twin each lane belongs to.
        predicted: predicted values in the layout's rows, 0 where padded.
        jacobian: their derivatives with respect to the search scale, 0 where padded.

    Returns:
        The likelihood; non-finite where the predictions are.
    """
    used = layout.used[twin]
    residual = np.where(used, layout.value[twin] - predicted, 0.0)
    own = ~np.isnan(layout.sd[twin])
    parts = [
        profile(noise, residual**2, predicted, used & ~own & (layout.observable[twin] == o), scale[twin, o])
        for o, noise in enumerate(noises)
    ]
    found = errors(layout, twin, predicted, parts)
    ratio = residual**2 / found.variance
    objective = 0.5 * np.where(used, np.log(2.0 * np.pi * found.variance) + ratio, 0.0).sum(axis=1)
    pull = np.where(used, -residual / found.variance + 0.5 * found.slope / found.variance * (1.0 - ratio), 0.0)
    gradient = np.matmul(pull[:, None, :], jacobian)[:, 0, :]
    return Likelihood(objective, gradient, information(predicted, jacobian, used, found), found)


def information(
    predicted: Float[np.ndarray, "lanes rows"],
    jacobian: Float[np.ndarray, "lanes rows parameters"],
    used: Bool[np.ndarray, "lanes rows"],
    found: Errors,
) -> Float[np.ndarray, "lanes parameters parameters"]:
    """Fisher information about the parameters: from the mean, from the variance, less what unknown noise costs.

    Args:
        predicted: predicted values, 0 where padded.
        jacobian: their derivatives, 0 where padded.
        used: which rows are measurements.
        found: their variances.
    """
    weight = np.where(used, 1.0 / found.variance + 0.5 * (found.slope / found.variance) ** 2, 0.0)
    total = weighted(jacobian, weight)
    for part, rows in zip(found.parts, found.rows, strict=True):
        free = part.additive_free | part.proportional_free
        if not (free & (part.proportional > 0)).any():
            continue  # the variance does not depend on the parameters: noise and curve are learnt independently
        mixed = np.where(rows, found.slope / (2.0 * found.variance**2), 0.0)
        curve = np.where(rows, 1.0 / (2.0 * found.variance**2), 0.0)
        total = total - _profiled_out(jacobian, predicted, mixed, curve, part.additive_free, part.proportional_free)
    return total


def weighted(
    jacobian: Float[np.ndarray, "lanes rows parameters"], weight: Float[np.ndarray, "lanes rows"]
) -> Float[np.ndarray, "lanes parameters parameters"]:
    """``J' diag(weight) J`` of each lane."""
    return np.matmul(np.swapaxes(jacobian, 1, 2), weight[:, :, None] * jacobian)


def _profiled_out(
    jac: np.ndarray,
    f: np.ndarray,
    mixed: np.ndarray,
    curve: np.ndarray,
    additive_free: np.ndarray,
    proportional_free: np.ndarray,
) -> np.ndarray:
    """What is lost to not knowing A and B: ``I_pn inv(I_nn) I_np`` with p the parameters and n the free noise parts."""
    signal = f**2
    top = signal.max(axis=1, initial=0.0)
    signal = signal / np.where(top > 0, top, 1.0)[:, None]  # B in units that make both parts comparable
    a = np.matmul(mixed[:, None, :], jac)[:, 0, :]
    b = np.matmul((mixed * signal)[:, None, :], jac)[:, 0, :]
    aa, ab, bb = curve.sum(axis=1), (curve * signal).sum(axis=1), (curve * signal**2).sum(axis=1)

    def outer(x: np.ndarray, y: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return factor[:, None, None] * x[:, :, None] * y[:, None, :]

    def inverse(x: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        good = allowed & (x > 0)
        return np.where(good, 1.0 / np.where(good, x, 1.0), 0.0)

    determinant = aa * bb - ab**2
    both = additive_free & proportional_free & (determinant > 1e-12 * aa * bb)
    only_a = outer(a, a, inverse(aa, additive_free & ~both))
    only_b = outer(b, b, inverse(bb, proportional_free & ~both & ~additive_free))
    over = inverse(determinant, both)
    joint = outer(a, a, over * bb) + outer(b, b, over * aa) - outer(a, b, over * ab) - outer(b, a, over * ab)
    return only_a + only_b + joint
