"""Prior distributions of parameters over a population."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from vht.errors import ModelError


class Normal(eqx.Module):
    """Normal distribution.

    Attributes:
        mean: its mean, in the parameter's unit.
        sd: its standard deviation, same unit.

    Raises:
        ModelError: a mean that is not finite, a standard deviation that is not positive.
    """

    mean: float
    sd: float

    def __check_init__(self) -> None:
        _require(math.isfinite(self.mean), "mean", "finite", self.mean)
        _require(self.sd > 0 and math.isfinite(self.sd), "sd", "positive", self.sd)

    def log_density(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """Logarithm of the density at `x`, per unit of `x`."""
        return -0.5 * ((jnp.asarray(x) - self.mean) / self.sd) ** 2 - math.log(self.sd) - 0.5 * math.log(2 * math.pi)

    def quantile(self, p: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The value below which a share `p` lies."""
        return self.mean + self.sd * special.ndtri(jnp.asarray(p))

    def cdf(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The share that lies below `x`."""
        return special.ndtr((jnp.asarray(x) - self.mean) / self.sd)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, ...]:
        """Independent draws."""
        return self.quantile(_open_uniform(key, shape))


class LogNormal(eqx.Module):
    """Log-normal distribution: the logarithm is normal.

    Attributes:
        median: its median, in the parameter's unit.
        sd: standard deviation of the natural logarithm (about the coefficient of variation where it is small).

    Raises:
        ModelError: a median or a standard deviation that is not positive and finite.
    """

    median: float
    sd: float

    def __check_init__(self) -> None:
        _require(self.median > 0 and math.isfinite(self.median), "median", "positive", self.median)
        _require(self.sd > 0 and math.isfinite(self.sd), "sd", "positive", self.sd)

    def log_density(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """Logarithm of the density at `x`, per unit of `x`; -inf where ``x <= 0``."""
        x = jnp.asarray(x)
        safe = jnp.where(x > 0, x, 1.0)
        z = (jnp.log(safe) - math.log(self.median)) / self.sd
        density = -0.5 * z**2 - jnp.log(safe) - math.log(self.sd) - 0.5 * math.log(2 * math.pi)
        return jnp.where(x > 0, density, -jnp.inf)

    def quantile(self, p: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The value below which a share `p` lies."""
        return self.median * jnp.exp(self.sd * special.ndtri(jnp.asarray(p)))

    def cdf(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The share that lies below `x`."""
        x = jnp.asarray(x)
        return jnp.where(x > 0, special.ndtr(jnp.log(jnp.where(x > 0, x, 1.0) / self.median) / self.sd), 0.0)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, ...]:
        """Independent draws."""
        return self.quantile(_open_uniform(key, shape))


class Uniform(eqx.Module):
    """Uniform distribution.

    Attributes:
        lower: smallest value, in the parameter's unit.
        upper: largest value.

    Raises:
        ModelError: bounds that are not finite, or not increasing.
    """

    lower: float
    upper: float

    def __check_init__(self) -> None:
        finite = math.isfinite(self.lower) and math.isfinite(self.upper)
        _require(finite and self.lower < self.upper, "lower", f"below `upper` ({self.upper})", self.lower)

    def log_density(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """Logarithm of the density at `x`, per unit of `x`; -inf outside."""
        x = jnp.asarray(x)
        return jnp.where((x >= self.lower) & (x <= self.upper), -math.log(self.upper - self.lower), -jnp.inf)

    def quantile(self, p: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The value below which a share `p` lies."""
        return self.lower + (self.upper - self.lower) * jnp.asarray(p)

    def cdf(self, x: Float[ArrayLike, ...]) -> Float[Array, ...]:
        """The share that lies below `x`."""
        return jnp.clip((jnp.asarray(x) - self.lower) / (self.upper - self.lower), 0.0, 1.0)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, ...]:
        """Independent draws."""
        return self.quantile(_open_uniform(key, shape))


Prior = Normal | LogNormal | Uniform


def standardized(prior: Normal | LogNormal, bounds: tuple[float, float]) -> tuple[float, float]:
    """Bounds as numbers of standard deviations from the middle: of the value, or of its logarithm."""
    if isinstance(prior, Normal):
        low, high = ((bound - prior.mean) / prior.sd for bound in bounds)
    else:
        low, high = (
            math.log(bound / prior.median) / prior.sd if bound > 0.0 else -math.inf  # nothing lies below 0
            for bound in bounds
        )
    return low, high


def overlap(prior: Prior, bounds: tuple[float, float]) -> bool:
    """Whether a share of the distribution that is more than nothing (1e-300) lies within bounds."""
    if isinstance(prior, Uniform):
        return max(prior.lower, bounds[0]) < min(prior.upper, bounds[1])
    low, high = standardized(prior, bounds)
    return max(low, -high) < 37.0


def recentred(prior: Prior, default: float, value: float) -> Prior:
    """A prior around another value than the default: people differ from each other, not from who they are made like.

    Args:
        prior: moves by the same factor if it is log-normal (and the factor positive), by the same difference if it is normal;
            a uniform one stays.
        default: the value it was stated for.
        value: the value it is wanted for.

    Raises:
        ModelError: the value is not finite.
    """
    if value == default:
        return prior
    _require(math.isfinite(value), "value", "finite to draw around it", value)
    match prior:
        case Normal():
            return Normal(prior.mean + value - default, prior.sd)
        case LogNormal() if default and value / default > 0.0:
            return LogNormal(prior.median * value / default, prior.sd)
    return prior


def _open_uniform(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, ...]:
    # strictly between 0 and 1, so that no draw is infinite
    tiny = jnp.finfo(jnp.result_type(float)).eps
    return jax.random.uniform(key, shape, minval=tiny, maxval=1.0 - tiny)


def _require(holds: bool, name: str, expected: str, found: float) -> None:
    if not holds:
        raise ModelError(f"`{name}` must be {expected}, but got {found}.")
