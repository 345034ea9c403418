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


def penalty(prior: Prior | None, natural: Values) -> tuple[Values, Values, Values]:
    """Negative log-density without constants, its derivative, and a positive stand-in for its second derivative.

    Args:
        prior: the prior, or None.
        natural: values on the natural scale.

    Returns:
        Three arrays of the values' shape, with respect to the natural scale.
    """
    match prior:
        case Normal():
            z = (natural - prior.mean) / prior.sd
            return 0.5 * z**2, z / prior.sd, np.full_like(natural, prior.sd**-2.0)
        case LogNormal():
            safe = np.maximum(natural, np.finfo(float).tiny)
            z = np.log(safe / prior.median) / prior.sd
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


def share_below(prior: Prior, value: float) -> float:
    """The share of the prior that lies below a value, which may be infinite."""
    from scipy import special

    match prior:
        case Normal():
            return float(special.ndtr((value - prior.mean) / prior.sd))
        case LogNormal():
            return float(special.ndtr(np.log(value / prior.median) / prior.sd)) if value > 0.0 else 0.0
        case Uniform():
            return float(np.clip((value - prior.lower) / (prior.upper - prior.lower), 0.0, 1.0))
