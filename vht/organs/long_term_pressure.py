"""Circulation of long-term blood pressure models: from blood volume to arterial pressure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, algebraic, param, port, state

_KARAASLAN = "karaaslan2005"
_LEETE = "leete2019"


class LongTermPressure(Organ):
    r"""Guyton's circulation without beats, as in Karaaslan et al. 2005 and Leete and Layton 2019: blood volume to pressure.

    Blood volume fills the vessels to the mean filling pressure :math:`P_{mf} = (E_{mf} V_b - P_{mf0}) \epsilon`; the
    difference to right atrial pressure returns blood to the heart, which pumps what it gets:

    .. math::
        \Phi_{co} = \frac{P_{mf} - P_{ra}}{R_{vr}}, \quad R_{vr} = \frac{8 R_{bv} + R_a}{31}, \quad
        MAP = \Phi_{co} (R_a + R_{bv}), \quad R_a = \epsilon K_{bar} / vas

    `vas`, vascularity, falls as cardiac output rises, over months (whole-body autoregulation). The autonomic multiplier
    :math:`\epsilon` is the sum of chemoreceptors' and baroreceptors' answers to arterial pressure, of which the latter adapts
    over days: :math:`a_{baro}' = \tfrac34 (a_{auto}' - k (a_{baro} - 1))`, here :math:`a_{baro} = \tfrac34 a_{auto} + s`.

    Given arterial pressure, all else is explicit; so `P_ma` is algebraic, the equation that of venous return, with one root,
    since the difference of its sides rises with pressure.

    With `Kidney` it forms the papers' closed model of long-term blood pressure. Its only difference between the sexes is in
    `FEMALE`, and its state at rest in `FEMALE_REST`.
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = "leete2019"

    E_mf: Scalar = param(7.436, "mmHg/L", "stiffness of the vessels", bounds=(2.0, 20.0), source=_KARAASLAN)
    P_mf0: Scalar = param(30.18, "mmHg", "stiffness times unstressed volume", bounds=(10.0, 60.0), source=_KARAASLAN)
    R_bv: Scalar = param(
        3.4, "mmHg*min/L", "resistance from arterioles to veins", bounds=(1.0, 10.0), source=_KARAASLAN
    )
    K_bar: Scalar = param(
        16.6,
        "mmHg*min/L",
        "basic arterial resistance",
        bounds=(5.0, 50.0),
        prior=LogNormal(16.6, 0.03),
        source=_KARAASLAN,
    )
    P_ra_scale: Scalar = param(
        0.2787, "mmHg", "right atrial pressure: factor of the exponential", bounds=(0.05, 1.0), source=_KARAASLAN
    )
    P_ra_slope: Scalar = param(
        0.2281, "min/L", "right atrial pressure: rise with cardiac output", bounds=(0.05, 0.6), source=_KARAASLAN
    )
    P_ra0: Scalar = param(0.8268, "mmHg", "right atrial pressure: what is taken off", bounds=(0.0, 3.0), source=_LEETE)
    k_vas: Scalar = param(
        0.00011312, "1/min", "formation of vessels where no blood flows", bounds=(1e-6, 0.01), source=_KARAASLAN
    )
    co_vas: Scalar = param(
        0.4799, "min/L", "fall of the formation of vessels with cardiac output", bounds=(0.1, 2.0), source=_KARAASLAN
    )
    K_vd: Scalar = param(0.00001, "1/min", "rate at which vessels vanish", bounds=(1e-7, 1e-3), source=_KARAASLAN)
    a_slope: Scalar = param(
        0.011, "1/mmHg", "fall of autonomic drive with arterial pressure", bounds=(0.002, 0.05), source=_KARAASLAN
    )
    k_baro: Scalar = param(
        0.0000667, "1/min", "rate at which baroreceptors adapt", bounds=(1e-6, 0.01), source=_KARAASLAN
    )

    class State(Vars):
        vas: Scalar = state(1.132104091377673, "1", "vascularity")
        baro: Scalar = state(0.2786888352449178, "1", "adapting part of the baroreflex")
        P_ma: Scalar = algebraic(103.54671800596664, "mmHg", "mean arterial pressure")

    class In(Vars):
        blood_volume: Scalar = port("L", "blood volume", default=0.325 * 14.832551932316797)

    class Out(Vars):
        MAP: Scalar = port("mmHg", "mean arterial pressure")
        cardiac_output: Scalar = port("L/min", "cardiac output")
        right_atrial_pressure: Scalar = port("mmHg", "right atrial pressure")
        mean_filling_pressure: Scalar = port("mmHg", "mean filling pressure")
        peripheral_resistance: Scalar = port("mmHg*min/L", "total peripheral resistance")
        venous_return_resistance: Scalar = port("mmHg*min/L", "resistance to venous return")
        autonomic: Scalar = port("1", "autonomic multiplier")

    def _drive(self, x: State) -> Scalar:
        return 3.0042 * jnp.exp(-self.a_slope * x.P_ma)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        # a_chemo + a_baro = a_auto / 4 + (3 a_auto / 4 + s)
        epsilon = self._drive(x) + x.baro
        R_a = self.K_bar / x.vas * epsilon
        R_tp = R_a + self.R_bv
        Phi_co = x.P_ma / R_tp
        return self.Out(
            MAP=x.P_ma,
            cardiac_output=Phi_co,
            right_atrial_pressure=self.P_ra_scale * jnp.exp(self.P_ra_slope * Phi_co) - self.P_ra0,
            mean_filling_pressure=(self.E_mf * u.blood_volume - self.P_mf0) * epsilon,
            peripheral_resistance=R_tp,
            venous_return_resistance=(8.0 * self.R_bv + R_a) / 31.0,
            autonomic=epsilon,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        a_baro = 0.75 * self._drive(x) + x.baro
        formed = self.k_vas * jnp.exp(-self.co_vas * y.cardiac_output)
        return self.State(
            vas=formed - self.K_vd * x.vas,
            baro=-0.75 * self.k_baro * (a_baro - 1.0),
            P_ma=y.cardiac_output * y.venous_return_resistance - (y.mean_filling_pressure - y.right_atrial_pressure),
        )


FEMALE: Mapping[str, float] = MappingProxyType({"P_ra0": 0.8245})
"""What differs in women (Leete and Layton 2019)."""

FEMALE_REST: Mapping[str, float] = MappingProxyType(
    {"vas": 1.1450347967050887, "baro": 0.26862840944354877, "P_ma": 102.28753215497032}
)
"""State at rest, joined with a `Kidney` with its values of `FEMALE`."""
