"""How much oxygen and carbon dioxide blood holds: the curves of Spencer et al. 1979, forwards and backwards in closed form.

Content `C` and partial pressures `P` of either gas obey

    C / (C_sat - C) = X^(1/h),  X_O2  = P_O2  (1 + beta1 P_CO2) / (K1 (1 + alpha1 P_CO2)),
                                X_CO2 = P_CO2 (1 + beta2 P_O2)  / (K2 (1 + alpha2 P_O2)),

which is the effect of carbon dioxide on oxygen (Bohr) and of oxygen on carbon dioxide (Haldane). Contents are mL of gas
(STPD) in one mL of blood. Two powers have no finite slope where their argument is 0; each is shifted by so little that
nothing but that slope changes (contents by some parts in 10^6 at 1 mmHg, and less at more), and its inverse likewise.
"""

from __future__ import annotations

import jax.numpy as jnp

from vht.model import Scalar, constant

# Spencer et al. 1979 as used by Albanese et al. 2016 (Table 4); K in mmHg, alpha and beta in 1/mmHg
_H1, _K1, _ALPHA1, _BETA1 = 0.3836, 14.99, 0.03198, 0.008275
_H2, _K2, _ALPHA2, _BETA2 = 1.819, 194.4, 0.05591, 0.03255
# 86.11 mmol/L of carbon dioxide, at 22.4 L/mol (Albanese et al. 2016, Table 4)
CO2_CAPACITY = 86.11 * 22.4e-3
# 9 mmol/L of oxygen, likewise
O2_CAPACITY = 9.0 * 22.4e-3

# of C / (C_sat - C) for oxygen, of X for carbon dioxide
_SHIFT1, _SHIFT2 = 1e-20, 1e-13
# the nearest a content comes to its capacity, as a share of it
_NEAREST = 1e-9


def contents(P_O2: Scalar, P_CO2: Scalar, capacity: Scalar = O2_CAPACITY) -> tuple[Scalar, Scalar]:
    """Contents of oxygen and carbon dioxide.

    Args:
        P_O2: partial pressure of oxygen, mmHg.
        P_CO2: partial pressure of carbon dioxide, mmHg.
        capacity: content of blood full of oxygen.
    """
    mmHg = constant(1.0, "mmHg")
    o, c = jnp.maximum(P_O2 / mmHg, 0.0), jnp.maximum(P_CO2 / mmHg, 0.0)
    x1 = o * (1.0 + _BETA1 * c) / (_K1 * (1.0 + _ALPHA1 * c))
    x2 = c * (1.0 + _BETA2 * o) / (_K2 * (1.0 + _ALPHA2 * o))
    g1 = (x1 + _SHIFT1**_H1) ** (1.0 / _H1) - _SHIFT1
    g2 = (x2 + _SHIFT2) ** (1.0 / _H2) - _SHIFT2 ** (1.0 / _H2)
    return capacity * g1 / (1.0 + g1), CO2_CAPACITY * g2 / (1.0 + g2)


def pressures(C_O2: Scalar, C_CO2: Scalar, capacity: Scalar = O2_CAPACITY) -> tuple[Scalar, Scalar]:
    """Partial pressures (mmHg) of oxygen and carbon dioxide in blood of these contents; the inverse of `contents`.

    With both X known, the two equations for the pressures reduce to one quadratic equation for that of oxygen.

    Args:
        C_O2: content of oxygen; below 0 it is taken for 0, and beyond the capacity for just below it.
        C_CO2: content of carbon dioxide; likewise.
        capacity: content of blood full of oxygen.
    """
    mmHg = constant(1.0, "mmHg")
    d1 = _K1 * ((_filled(C_O2, capacity) + _SHIFT1) ** _H1 - _SHIFT1**_H1)
    d2 = _K2 * ((_filled(C_CO2, CO2_CAPACITY) + _SHIFT2 ** (1.0 / _H2)) ** _H2 - _SHIFT2)
    a = _BETA2 + _ALPHA2 * _BETA1 * d2
    b = 1.0 + _BETA1 * d2 - _BETA2 * d1 - _ALPHA1 * _ALPHA2 * d1 * d2
    c = d1 * (1.0 + _ALPHA1 * d2)
    # the root that is not negative of a P^2 + b P - c = 0, without the difference of two large numbers
    root = jnp.sqrt(b * b + 4.0 * a * c)
    steep = b > 0.0
    o = jnp.where(steep, 2.0 * c / (jnp.where(steep, b, 1.0) + root), (root - b) / (2.0 * a))
    return o * mmHg, d2 * (1.0 + _ALPHA2 * o) / (1.0 + _BETA2 * o) * mmHg


def _filled(content: Scalar, capacity: Scalar) -> Scalar:
    """What is taken up over what is still free: C / (C_sat - C)."""
    share = jnp.maximum(content / capacity, 0.0)
    return share / jnp.maximum(1.0 - share, _NEAREST)
