"""Priors as penalties. Each prior's density is taken on the scale on which the prior is flat or normal.

`Normal` and `Uniform` on the natural scale, `LogNormal` on the logarithm: its penalty is ``(log(x / median) / sd)**2 / 2``,
smallest at the median, as is usual for random effects. So the estimate does not depend on the transform a parameter is
searched with, and a prior pulls towards its median, never towards a mode that a change of scale has moved.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vht.model import LogNormal, Normal, Prior, Uniform

Values = Float[np.ndarray, "..."]


def penalty(prior: Prior | None, natural: Values, scale: Values | float = 1.0) -> tuple[Values, Values, Values]:
    """Negative log-density without constants, its derivative, and a positive stand-in for its second derivative.

    Args:
        prior: the prior, or None.
        natural: values on the natural scale.
        scale: what the prior's values are multiplied by.

    Returns:
        Three arrays of the values' shape, with respect to the natural scale.
    """
    match prior:
        case Normal():
            sd = prior.sd * scale * np.ones_like(natural)
            z = (natural - prior.mean * scale) / sd
            return 0.5 * z**2, z / sd, sd**-2.0
        case LogNormal():
            safe = np.maximum(natural, np.finfo(float).tiny)
            z = np.log(safe / (prior.median * scale)) / prior.sd
            return 0.5 * z**2, z / (prior.sd * safe), (prior.sd * safe) ** -2.0
        case _:
            zero = np.zeros_like(natural)
            return zero, zero, zero


def informs(prior: Prior | None) -> bool:
    """Whether the prior counts as a measurement of its parameter (a uniform one does not)."""
    return isinstance(prior, Normal | LogNormal)


def quantile(prior: Prior, u: Values) -> Values:
    """The value below which a share `u` of the prior lies."""
    from scipy import special

    match prior:
        case Normal():
            return prior.mean + prior.sd * special.ndtri(u)
        case LogNormal():
            return prior.median * np.exp(prior.sd * special.ndtri(u))
        case Uniform():
            return prior.lower + u * (prior.upper - prior.lower)


def share_below(prior: Prior, value: Values) -> Values:
    """The share of the prior that lies below a value, which may be infinite."""
    from scipy import special

    match prior:
        case Normal():
            return special.ndtr((value - prior.mean) / prior.sd)
        case LogNormal():
            with np.errstate(divide="ignore"):
                return special.ndtr(np.log(np.maximum(value, 0.0) / prior.median) / prior.sd)
        case Uniform():
            return np.clip((value - prior.lower) / (prior.upper - prior.lower), 0.0, 1.0)
