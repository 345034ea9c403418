"""What a drug's concentration does: at once, after a delay, or through production and loss of what is measured."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from vht.model import LogNormal, Normal, Organ, Scalar, Vars, param, port, state

# share of the concentration of half effect below which the effect is proportional to the concentration
_LEAST = 1e-6
_ELEVELD = "eleveld2017: person of 35 years; spread from the authors' variances"
_DAYNEKA = "dayneka1993: value of the paper's simulations"
_NONE = "no action unless one is given"


def hill(concentration: Scalar, half: Scalar, exponent: Scalar) -> Scalar:
    r"""Hill's function :math:`c^n / (c_{50}^n + c^n)`: from 0 to 1, 1/2 where the concentration is `half` (Hill 1910).

    Below a millionth of `half` it is a straight line to 0, so that it and its derivatives, also by the exponent, are finite at
    and below 0, where powers are not; it overflows nowhere.

    Args:
        concentration: 0 or more; below, as solvers stray, the result is 0.
        half: concentration of half the effect, above 0.
        exponent: above 0.
    """
    ratio = concentration / half
    powers = jax.nn.sigmoid(exponent * jnp.log(jnp.maximum(ratio, _LEAST)))
    return powers * jnp.clip(ratio / _LEAST, 0.0, 1.0)


class EffectCompartment(Organ):
    r"""Sigmoid effect of a concentration that lags behind plasma (Sheiner et al. 1979).

    .. math::
        C_e' = k_{e0} (C - C_e), \qquad E = E_0 + E_{max} \frac{C_e^n}{EC_{50}^n + C_e^n}

    `inhibition` is the fraction alone, for wiring to what is inhibited: another drug's clearance, a channel, an enzyme. Effects
    have whatever unit `E0` is given in. Defaults and priors are the spectral edge frequency (Hz) of the electroencephalogram
    under remifentanil (Eleveld et al. 2017; there Emax is the frequency reached, here the change).

    Verified against the convolution of a drug's exponentials with that of the effect compartment, and Hill's limits.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = "sheiner1979"

    ke0: Scalar = param(
        65.4,
        "1/h",
        "rate at which the effect site follows plasma",
        bounds=(1e-3, 1e3),
        prior=LogNormal(65.4, 0.97),
        source=_ELEVELD,
    )
    E0: Scalar = param(
        19.9, "1", "effect without drug", bounds=(-1e4, 1e4), prior=LogNormal(19.9, 0.14), source=_ELEVELD
    )
    Emax: Scalar = param(
        -14.24, "1", "largest change of the effect", bounds=(-1e4, 1e4), prior=Normal(-14.24, 1.8), source=_ELEVELD
    )
    EC50: Scalar = param(
        0.0127,
        "mg/L",
        "concentration of half the largest change",
        bounds=(1e-6, 1e4),
        prior=LogNormal(0.0127, 0.63),
        source=_ELEVELD,
    )
    hill: Scalar = param(
        2.87, "1", "steepness (Hill exponent)", bounds=(0.2, 20.0), prior=LogNormal(2.87, 0.62), source=_ELEVELD
    )

    class State(Vars):
        Ce: Scalar = state(0.0, "mg/L", "concentration at the effect site")

    class In(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma", default=0.0)

    class Out(Vars):
        effect_site: Scalar = port("mg/L", "concentration at the effect site")
        effect: Scalar = port("1", "effect, in the unit of E0")
        inhibition: Scalar = port("1", "share of the largest effect, 0 to 1")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        return self.State(Ce=self.ke0 * (u.concentration - x.Ce))

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        share = hill(x.Ce, self.EC50, self.hill)
        return self.Out(effect_site=x.Ce, effect=self.E0 + self.Emax * share, inhibition=share)


class IndirectResponse(Organ):
    r"""A response with production and loss, of which a drug inhibits or stimulates either (Dayneka, Garg and Jusko 1993).

    .. math::
        R' = k_{in} \bigl(1 + (S_{in} - I_{in})\,H\bigr) - k_{out} \bigl(1 + (S_{out} - I_{out})\,H\bigr) R, \qquad
        H = \frac{C^n}{C_{50}^n + C^n}, \qquad R(0) = k_{in} / k_{out}

    The paper's models are `I_in` (I, inhibition of production), `I_out` (II, of loss), `S_in` (III, stimulation of
    production) and `S_out` (IV, of loss) alone, with exponent 1. All four are 0 unless given: then the response rests.

    Verified against the paper's limits: initial slopes, steady states, and the closed form under a steady concentration.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = "dayneka1993"

    kin: Scalar = param(
        9.0, "1/h", "production, in the response's unit", bounds=(1e-6, 1e6), prior=LogNormal(9.0, 0.3), source=_DAYNEKA
    )
    kout: Scalar = param(0.3, "1/h", "rate of loss", bounds=(1e-4, 100.0), prior=LogNormal(0.3, 0.3), source=_DAYNEKA)
    C50: Scalar = param(
        0.1,
        "mg/L",
        "concentration of half the largest action",
        bounds=(1e-6, 1e4),
        prior=LogNormal(0.1, 0.3),
        source=_DAYNEKA,
    )
    hill: Scalar = param(1.0, "1", "steepness (Hill exponent)", bounds=(0.2, 20.0), source=_DAYNEKA)
    I_in: Scalar = param(0.0, "1", "largest inhibition of production", bounds=(0.0, 1.0), source=_NONE)
    I_out: Scalar = param(0.0, "1", "largest inhibition of loss", bounds=(0.0, 1.0), source=_NONE)
    S_in: Scalar = param(0.0, "1", "largest stimulation of production", bounds=(0.0, 1e3), source=_NONE)
    S_out: Scalar = param(0.0, "1", "largest stimulation of loss", bounds=(0.0, 1e3), source=_NONE)

    class State(Vars):
        R: Scalar = state(30.0, "1", "response")

    class In(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma", default=0.0)

    class Out(Vars):
        response: Scalar = port("1", "response")
        relative: Scalar = port("1", "response as a share of what it is without drug")

    def initial(self) -> State:
        return self.State(R=self.kin / self.kout)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        H = hill(u.concentration, self.C50, self.hill)
        production = self.kin * (1.0 + (self.S_in - self.I_in) * H)
        loss = self.kout * (1.0 + (self.S_out - self.I_out) * H)
        return self.State(R=production - loss * x.R)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(response=x.R, relative=x.R * self.kout / self.kin)
