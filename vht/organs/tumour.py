"""Growth of a tumour and its inhibition by a drug."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_SOURCE = "simeoni2004"
_TABLE = "simeoni2004: paclitaxel, experiment 1, as in the public copies of its table 2"
# below any tumour; a power of a smaller number, or of one that a trial step made negative, would have no derivative
_NOTHING = 1e-12


class SimeoniTumour(Organ):
    r"""Tumour growth inhibition after Simeoni et al. 2004 (4 states).

    .. math::
        x_1' &= \frac{\lambda_0 x_1}{\left(1 + (\lambda_0 w/\lambda_1)^\psi\right)^{1/\psi}} - k_2\,c(t)\,x_1, \qquad
        x_2' = k_2\,c(t)\,x_1 - k_1 x_2, \\
        x_3' &= k_1 (x_2 - x_3), \qquad x_4' = k_1 (x_3 - x_4), \qquad w = x_1 + x_2 + x_3 + x_4

    Proliferating cells grow exponentially while the tumour is small and linearly beyond :math:`\lambda_1/\lambda_0`; the drug
    damages them in proportion to its concentration in plasma; damaged cells die through three stages of mean :math:`1/k_1`.
    The concentration is an input: wire a drug's to it, or give it as a signal.

    What follows from the equations in closed form: a constant concentration above :math:`C_T = \lambda_0/k_2` eradicates the
    tumour, and below it the tumour comes to rest at :math:`w = \frac{\lambda_1}{\lambda_0}
    \left((C_T/c)^\psi - 1\right)^{1/\psi}`; while growth is exponential, an exposure of area AUC delays it by
    :math:`\text{AUC}/C_T` (time efficacy index; Magni et al. 2006).

    Values are the paper's for paclitaxel and a human carcinoma grown in mice; in patients tumours grow far more slowly, and
    `lambda0` and `lambda1` want other values. The paper's kinetics of paclitaxel in mice, where a course was three times
    30 mg/kg: two compartments, 0.81 L/kg, k10 0.868, k12 0.006 and k21 0.0838 1/h. Bounds and priors are this library's.

    The fraction of :math:`\lambda_0` is evaluated divided by the larger of 1 and :math:`\lambda_0 w/\lambda_1`, so that the
    twentieth power of no large number is taken.

    Verified against SciPy's solution of the same equations with the paper's kinetics and schedule, against the quadrature
    of growth without drug, and against the closed forms above.
    """

    time: ClassVar[str] = "d"
    citation: ClassVar[str] = _SOURCE

    lambda0: Scalar = param(
        0.273, "1/d", "rate of exponential growth", bounds=(1e-4, 2.0), prior=LogNormal(0.273, 0.2), source=_TABLE
    )
    lambda1: Scalar = param(
        0.814, "g/d", "rate of linear growth", bounds=(1e-4, 50.0), prior=LogNormal(0.814, 0.3), source=_TABLE
    )
    k1: Scalar = param(
        0.968,
        "1/d",
        "rate at which damaged cells go on dying",
        bounds=(0.01, 10.0),
        prior=LogNormal(0.968, 0.3),
        source=_TABLE,
    )
    k2: Scalar = param(
        0.629,
        "L/(mg*d)",
        "potency of the drug: rate of damage per concentration",
        bounds=(0.0, 1e3),
        prior=LogNormal(0.629, 0.3),
        source=_TABLE,
    )
    w0: Scalar = param(
        0.055, "g", "weight at time 0", bounds=(1e-6, 1000.0), prior=LogNormal(0.055, 0.3), source=_TABLE
    )
    psi: Scalar = param(
        20.0, "1", "sharpness of the change from exponential to linear growth", bounds=(1.0, 50.0), source=_SOURCE
    )
    density: Scalar = param(
        1.0,
        "g/mL",
        "density of the tumour",
        bounds=(0.8, 1.3),
        source="simeoni2004: weights from diameters at 1 mg/mm3",
    )

    class State(Vars):
        x1: Scalar = state(0.055, "g", "proliferating cells")
        x2: Scalar = state(0.0, "g", "damaged cells, first stage")
        x3: Scalar = state(0.0, "g", "damaged cells, second stage")
        x4: Scalar = state(0.0, "g", "damaged cells, third stage")

    class In(Vars):
        concentration: Scalar = port("mg/L", "concentration of the drug in plasma", default=0.0)

    class Out(Vars):
        weight: Scalar = port("g", "weight of the tumour")
        volume: Scalar = port("mL", "volume of the tumour")
        diameter: Scalar = port("cm", "diameter of a sphere of that volume")
        damaged: Scalar = port("1", "share of the tumour that is dying")
        growth: Scalar = port("g/d", "growth of the proliferating cells")
        killing: Scalar = port("g/d", "proliferating cells that the drug damages")
        death: Scalar = port("g/d", "cells that die")
        exposure: Scalar = port("1", "concentration over the threshold beyond which the tumour vanishes, lambda0/k2")

    def initial(self) -> State:
        return self.State(x1=self.w0, x2=0.0, x3=0.0, x4=0.0)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        gram, millilitre, cm = constant(1.0, "g"), constant(1.0, "mL"), constant(1.0, "cm")
        weight = x.x1 + x.x2 + x.x3 + x.x4
        volume = weight / self.density
        size = jnp.maximum(self.lambda0 * weight / self.lambda1, _NOTHING)
        larger = jnp.maximum(size, 1.0)
        slowing = larger * ((1.0 / larger) ** self.psi + (size / larger) ** self.psi) ** (1.0 / self.psi)
        sphere = jnp.maximum(volume / millilitre, _NOTHING) * (6.0 / jnp.pi)
        return self.Out(
            weight=weight,
            volume=volume,
            diameter=sphere ** (1.0 / 3.0) * cm,
            damaged=(x.x2 + x.x3 + x.x4) / jnp.maximum(weight, _NOTHING * gram),
            growth=self.lambda0 * x.x1 / slowing,
            killing=self.k2 * u.concentration * x.x1,
            death=self.k1 * x.x4,
            exposure=self.k2 * u.concentration / self.lambda0,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        return self.State(
            x1=y.growth - y.killing,
            x2=y.killing - self.k1 * x.x2,
            x3=self.k1 * (x.x2 - x.x3),
            x4=self.k1 * (x.x3 - x.x4),
        )
