"""Transforms: the scale on which a parameter is searched for, and on which its estimate is closest to normal.

A transform maps the natural scale (the model's own unit) to the search scale and back. All of it is float64 NumPy, and safe
at the edges: a value on or past an edge of the domain maps to the search scale's limit instead of to an infinity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "..."]

EDGE = 1e-9
"""How near the search comes to an open edge: a share of the range (logit), or of the start value (log)."""


@runtime_checkable
class Transform(Protocol):
    """A smooth increasing map from the natural to the search scale, with a lower and an upper limit on the natural one."""

    @property
    def lower(self) -> float: ...

    @property
    def upper(self) -> float: ...

    @property
    def relative(self) -> bool:
        """Whether one unit of the search scale means the same whatever the parameter's unit (log, logit)."""
        ...

    def forward(self, natural: Values) -> Values:
        """Natural to search scale; finite for every finite value."""
        ...

    def inverse(self, search: Values) -> Values:
        """Search to natural scale; never outside the domain."""
        ...

    def derivative(self, search: Values) -> Values:
        """d natural / d search."""
        ...

    def contains(self, natural: Values) -> np.ndarray:
        """Which values lie inside the domain, edges left out."""
        ...

    def box(self, start: Values) -> tuple[Values, Values]:
        """Lower and upper limit of the search scale, for searches from these natural start values."""
        ...


@dataclass(frozen=True)
class Identity:
    """Search on the natural scale, with hard limits.

    Attributes:
        lower: smallest value, or minus infinity.
        upper: largest value, or infinity.
    """

    lower: float = -math.inf
    upper: float = math.inf
    relative = False

    def forward(self, natural: Values) -> Values:
        return np.asarray(natural, float)

    def inverse(self, search: Values) -> Values:
        return np.clip(search, self.lower, self.upper)

    def derivative(self, search: Values) -> Values:
        return np.ones_like(search, dtype=float)

    def contains(self, natural: Values) -> np.ndarray:
        return np.asarray((natural >= self.lower) & (natural <= self.upper))

    def box(self, start: Values) -> tuple[Values, Values]:
        return np.full_like(start, self.lower), np.full_like(start, self.upper)


@dataclass(frozen=True)
class Log:
    """Search on the logarithm: for quantities that are positive; a step is a change in per cent.

    Attributes:
        lower: smallest value (a hard limit), 0 for none.
        upper: largest value (a hard limit), or infinity.
    """

    lower: float = 0.0
    upper: float = math.inf
    relative = True

    def forward(self, natural: Values) -> Values:
        return np.log(np.clip(natural, np.finfo(float).tiny, np.finfo(float).max))

    def inverse(self, search: Values) -> Values:
        return np.clip(np.exp(np.clip(search, -700.0, 700.0)), self.lower, self.upper)

    def derivative(self, search: Values) -> Values:
        return np.exp(np.clip(search, -700.0, 700.0))

    def contains(self, natural: Values) -> np.ndarray:
        return np.asarray((natural > 0) & (natural >= self.lower) & (natural <= self.upper))

    def box(self, start: Values) -> tuple[Values, Values]:
        # without given bounds a search that runs off to zero or infinity stops at a factor of 1e9
        centre, reach = self.forward(start), -math.log(EDGE)
        lower = np.full_like(centre, math.log(self.lower)) if self.lower > 0 else centre - reach
        upper = np.full_like(centre, math.log(self.upper)) if self.upper < math.inf else centre + reach
        return lower, upper


@dataclass(frozen=True)
class Logit:
    """Search on the logit of the place between two bounds, which the natural value therefore never leaves.

    Attributes:
        lower: lower bound, finite.
        upper: upper bound, finite, larger.
    """

    lower: float
    upper: float
    relative = True

    def forward(self, natural: Values) -> Values:
        span = self.upper - self.lower
        # both distances are taken from their own bound, so that neither is lost to rounding
        below = np.clip((natural - self.lower) / span, EDGE / 8, 1.0)
        above = np.clip((self.upper - natural) / span, EDGE / 8, 1.0)
        return np.log(below) - np.log(above)

    def inverse(self, search: Values) -> Values:
        span = self.upper - self.lower
        low, high = _logistic(search), _logistic(-np.asarray(search))
        inside = np.where(low < 0.5, self.lower + span * low, self.upper - span * high)
        return np.clip(inside, self.lower, self.upper)

    def derivative(self, search: Values) -> Values:
        return (self.upper - self.lower) * _logistic(search) * _logistic(-np.asarray(search))

    def contains(self, natural: Values) -> np.ndarray:
        return np.asarray((natural > self.lower) & (natural < self.upper))

    def box(self, start: Values) -> tuple[Values, Values]:
        limit = -math.log(EDGE)
        return np.full_like(start, -limit), np.full_like(start, limit)


def _logistic(x: Values) -> Values:
    small = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, small) / (1.0 + small)
