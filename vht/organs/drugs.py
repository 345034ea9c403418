"""Drugs: how an amount swallowed becomes a concentration in blood."""

from __future__ import annotations

from typing import ClassVar

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, state


class OralDrug1(Organ):
    r"""One compartment with first-order absorption, lag time and bioavailability, in terms of clearance.

    .. math::
        A_g' = F\,\text{dose}(t - t_{lag}) - k_a A_g, \qquad
        A_c' = k_a A_g - \frac{CL}{V} A_c, \qquad C = A_c / V

    For one dose D at time 0 the solution is
    :math:`C(t) = \frac{F D k_a}{V (k_a - k)} (e^{-k \tau} - e^{-k_a \tau})` with :math:`k = CL/V` and
    :math:`\tau = t - t_{lag}`, the outside reference of this model (Gabrielsson and Weiner); where :math:`k_a = k` it is
    :math:`\frac{F D k \tau}{V} e^{-k \tau}`, and nothing happens to the equations above.

    Concentrations after doses by mouth tell `CL`/`F` and `V`/`F`, never `F`. They cannot tell absorption from elimination
    either (flip-flop): `ka` and `CL`/`V` exchanged, and `V` multiplied by their ratio, give the same curve with the same
    `CL`. The defaults take absorption to be the faster.

    Defaults and priors are rounded from the population fit of theophylline in Pinheiro and Bates (2000), for 70 kg.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = "gabrielsson2016"

    ka: Scalar = param(
        1.5, "1/h", "absorption rate", bounds=(0.05, 20.0), prior=LogNormal(1.5, 0.6), source="pinheiro2000"
    )
    CL: Scalar = param(2.8, "L/h", "clearance", bounds=(0.001, 500.0), prior=LogNormal(2.8, 0.3), source="pinheiro2000")
    V: Scalar = param(
        32.0, "L", "volume of distribution", bounds=(0.1, 20000.0), prior=LogNormal(32.0, 0.2), source="pinheiro2000"
    )
    tlag: Scalar = param(0.0, "h", "lag time before absorption", bounds=(0.0, 6.0), source="no lag unless one is given")
    F: Scalar = param(1.0, "1", "bioavailability", bounds=(0.0, 1.0), source="where it is 1, CL and V are CL/F and V/F")

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "drug still to be absorbed")
        central: Scalar = state(0.0, "mg", "drug in the body")

    class In(Vars):
        dose: Scalar = port("mg/h", "drug taken by mouth", kind="flow", lag="tlag")

    class Out(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma (or whatever V refers to)")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        absorbed = self.ka * x.gut
        return self.State(gut=self.F * u.dose - absorbed, central=absorbed - self.CL / self.V * x.central)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        return self.Out(concentration=x.central / self.V)
