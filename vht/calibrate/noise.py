"""Noise models: the standard deviation of a measurement around the curve, known or to be estimated.

All are Gaussian with variance ``A + B f**2`` around the predicted value ``f``: additive (B = 0), proportional (A = 0) or both.
What is not known is profiled: for given residuals the most likely A and B are found at once, at no cost in solves, so the
optimiser only ever sees the model's own parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vht.errors import ModelError

FLOOR = 1e-6
"""Smallest estimated standard deviation, as a share of the measurements' root mean square (of the curve, where
proportional): below it a perfect fit would make the likelihood infinite."""


@dataclass(frozen=True)
class Additive:
    """A constant standard deviation.

    Attributes:
        sd: the standard deviation in the observable's unit, or None to estimate it for each twin.

    Raises:
        ModelError: a standard deviation that is not positive and finite.
    """

    sd: float | None = None

    def __post_init__(self) -> None:
        _check_positive("sd", self.sd)


@dataclass(frozen=True)
class Proportional:
    """A standard deviation that is a fraction of the predicted value.

    Attributes:
        fraction: the fraction (0.1 is ten per cent), or None to estimate it for each twin.

    Raises:
        ModelError: a fraction that is not positive and finite.
    """

    fraction: float | None = None

    def __post_init__(self) -> None:
        _check_positive("fraction", self.fraction)


@dataclass(frozen=True)
class Combined:
    """An additive and a proportional error: variance ``sd**2 + (fraction * f)**2``.

    Attributes:
        sd: the additive part in the observable's unit, or None to estimate it for each twin.
        fraction: the proportional part, or None to estimate it for each twin.

    Raises:
        ModelError: a part that is not positive and finite.
    """

    sd: float | None = None
    fraction: float | None = None

    def __post_init__(self) -> None:
        _check_positive("sd", self.sd)
        _check_positive("fraction", self.fraction)


Noise = Additive | Proportional | Combined


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not (np.isfinite(value) and value > 0):
        raise ModelError(
            f"`{name}` of a noise model must be positive and finite, or None to estimate it, but got {value}."
        )


class Variance(NamedTuple):
    """The two parts of one observable's variance ``A + B f**2``, for each lane.

    Attributes:
        additive: A, shape ``[lanes]``.
        proportional: B, shape ``[lanes]``.
        additive_free: whether A was estimated (False where known, absent, or stopped at its lower limit).
        proportional_free: the same for B.
    """

    additive: Float[np.ndarray, " lanes"]
    proportional: Float[np.ndarray, " lanes"]
    additive_free: Bool[np.ndarray, " lanes"]
    proportional_free: Bool[np.ndarray, " lanes"]


def is_estimated(noise: Noise) -> bool:
    """Whether some part of the noise model is to be estimated."""
    return count_unknown(noise) > 0


def count_unknown(noise: Noise) -> int:
    """How many parts of the noise model are to be estimated."""
    match noise:
        case Additive(sd):
            return int(sd is None)
        case Proportional(fraction):
            return int(fraction is None)
        case Combined(sd, fraction):
            return int(sd is None) + int(fraction is None)


def profile(
    noise: Noise,
    square: Float[np.ndarray, "lanes rows"],
    predicted: Float[np.ndarray, "lanes rows"],
    used: Bool[np.ndarray, "lanes rows"],
    scale: Float[np.ndarray, " lanes"],
) -> Variance:
    """The most likely variance of one observable given its residuals.

    Args:
        noise: the noise model.
        square: squares of measured minus predicted.
        predicted: the predicted values.
        used: which rows belong to this observable and have no standard deviation of their own.
        scale: root mean square of the measured values, for the lower limit of an additive part.

    Returns:
        The variance's two parts. A lane without rows has zeros.
    """
    lanes = square.shape[0]
    zero, no = np.zeros(lanes), np.zeros(lanes, bool)
    if isinstance(noise, Additive) and noise.sd is not None:
        return Variance(np.full(lanes, noise.sd**2), zero, no, no)
    if isinstance(noise, Proportional) and noise.fraction is not None:
        return Variance(zero, np.full(lanes, noise.fraction**2), no, no)
    if isinstance(noise, Combined) and noise.sd is not None and noise.fraction is not None:
        return Variance(np.full(lanes, noise.sd**2), np.full(lanes, noise.fraction**2), no, no)

    count = np.maximum(used.sum(axis=1), 1)
    square = np.where(used, square, 0.0)
    signal = np.where(used, predicted**2, 0.0)
    floor_additive = (FLOOR * scale) ** 2 + np.finfo(float).tiny
    if isinstance(noise, Additive):
        best = square.sum(axis=1) / count
        return Variance(np.maximum(best, floor_additive), zero, best > floor_additive, no)
    if isinstance(noise, Proportional):
        safe = np.where(used & (signal > 0), signal, 1.0)
        best = np.where(used & (signal > 0), square / safe, 0.0).sum(axis=1) / count
        return Variance(zero, np.maximum(best, FLOOR**2), no, best > FLOOR**2)
    if noise.sd is None and noise.fraction is None:
        return _both_unknown(square, signal, used, count, floor_additive)
    if noise.sd is None:
        assert noise.fraction is not None
        known, weight = noise.fraction**2 * signal, used.astype(float)
        best, inside = _one_unknown(square, known, weight, used)
        return Variance(best, np.full(lanes, noise.fraction**2), inside, no)
    best, inside = _one_unknown(square, np.full_like(square, noise.sd**2), signal, used)
    return Variance(np.full(lanes, noise.sd**2), best, no, inside)


def _both_unknown(
    square: np.ndarray, signal: np.ndarray, used: np.ndarray, count: np.ndarray, floor: np.ndarray
) -> Variance:
    """A and B as ``A + B f**2 = level * ((1 - u) + u f**2 / mean f**2)``: the level in closed form, u by search in [0, 1]."""
    mean = signal.sum(axis=1) / count
    relative = np.where(used, signal / np.where(mean > 0, mean, 1.0)[:, None], 1.0)

    def shape(u: np.ndarray) -> np.ndarray:
        return np.where(used, (1.0 - u)[:, None] + u[:, None] * relative, 1.0)

    def level(u: np.ndarray) -> np.ndarray:
        return np.maximum((square / shape(u)).sum(axis=1) / count, floor)

    def value(u: np.ndarray) -> np.ndarray:
        return 0.5 * (count * np.log(level(u)) + np.log(shape(u)).sum(axis=1))

    def slope(u: np.ndarray) -> np.ndarray:
        w = shape(u)
        change = np.where(used, relative - 1.0, 0.0)
        at = (square / w).sum(axis=1) / count
        fit = np.where(at > floor, (square * change / w**2).sum(axis=1) / np.maximum(at, floor), 0.0)
        return (change / w).sum(axis=1) - fit

    u = np.where(mean > 0, minimise_on_unit_interval(value, slope, count.shape[0]), 0.0)
    # where the curve nowhere comes near zero, the end of the search means that there is no additive part at all
    u = np.where((u >= _LAST) & (relative.min(axis=1) > 1e-6), 1.0, u)
    at = level(u)
    above = at > floor
    additive, proportional = at * (1.0 - u), at * u / np.where(mean > 0, mean, 1.0)
    return Variance(additive, proportional, above & (u < _LAST), above & (u > 0.0))


def _one_unknown(
    square: np.ndarray, known: np.ndarray, weight: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The most likely C of the variance ``known + C weight``, and whether it lies above its lower limit of zero."""
    total = weight.sum(axis=1)
    unit = square.sum(axis=1) / np.where(total > 0, total, 1.0)
    unit = np.where(unit > 0, unit, 1.0)

    def variance(t: np.ndarray) -> np.ndarray:
        ratio = unit * t / (1.0 - t)
        return np.where(used, known + ratio[:, None] * weight, 1.0)

    def value(t: np.ndarray) -> np.ndarray:
        v = np.maximum(variance(t), np.finfo(float).tiny)
        return 0.5 * (np.log(v) + square / v).sum(axis=1)

    def slope(t: np.ndarray) -> np.ndarray:
        v = np.maximum(variance(t), np.finfo(float).tiny)
        return (np.where(used, weight, 0.0) * (1.0 - square / v) / v).sum(axis=1)

    t = np.where(total > 0, minimise_on_unit_interval(value, slope, total.shape[0]), 0.0)
    return unit * t / (1.0 - t), t > 0.0


_LAST = 1.0 - 1e-9
_GRID = np.array(
    [0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5]
    + [0.65, 0.8, 0.9, 0.95, 0.99, 0.999, 1 - 1e-4, 1 - 1e-6, 1 - 1e-8, _LAST]
)


def minimise_on_unit_interval(
    value: Callable[[np.ndarray], np.ndarray], slope: Callable[[np.ndarray], np.ndarray], lanes: int
) -> Float[np.ndarray, " lanes"]:
    """The place in [0, 1) where each lane's function is smallest: a grid against local minima, then a root of the slope.

    Args:
        value: the function, ``[lanes] -> [lanes]``.
        slope: something with the sign of its derivative, and zero with it.
        lanes: how many lanes.

    Returns:
        The minimisers; exactly 0 where the function rises from there.
    """
    with np.errstate(all="ignore"):
        heights = np.stack([value(np.full(lanes, u)) for u in _GRID])
        heights = np.where(np.isnan(heights), np.inf, heights)
        best = heights.argmin(axis=0)
        left, right = _GRID[np.maximum(best - 1, 0)], _GRID[np.minimum(best + 1, len(_GRID) - 1)]
        low, high = slope(left), slope(right)
        at_zero, at_end = (best == 0) & (low >= 0), (best == len(_GRID) - 1) & (high <= 0)
        # Illinois' regula falsi: keeps the bracket, and converges faster than halving
        side = np.zeros(lanes, int)
        root = _GRID[best].copy()
        open_ = (low < 0) & (high > 0) & ~at_zero & ~at_end
        for _ in range(60):
            middle = np.where(open_, (left * high - right * low) / np.where(open_, high - low, 1.0), root)
            middle = np.where((middle > left) & (middle < right), middle, 0.5 * (left + right))
            middle = np.where(open_, middle, root)
            at = slope(middle)
            moved = np.abs(middle - root)
            root = middle
            down, up = open_ & (at < 0), open_ & (at > 0)
            left, low = np.where(down, middle, left), np.where(down, at, low)
            right, high = np.where(up, middle, right), np.where(up, at, high)
            high = np.where(down & (side < 0), high / 2, high)
            low = np.where(up & (side > 0), low / 2, low)
            side = np.where(down, -1, np.where(up, 1, side))
            open_ &= (at != 0) & (moved > 1e-15 + 1e-12 * np.minimum(root, 1 - root))
            if not open_.any():
                break
        return np.where(at_zero, 0.0, np.where(at_end, _LAST, root))
