"""Remodelling of bone: cells that form it, cells that resorb it, and the hormones between them."""

from __future__ import annotations

from typing import Any, ClassVar

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, state

_SOURCE = "lemaire2004"
_TABLE = "lemaire2004: table of parameters, as in its public CellML and SBML encodings"
_REST = "lemaire2004: steady state of its equations, to the digits of a double"
_TURNOVER = "manolagas2000: in an adult some 10 % of the skeleton is renewed every year"


def _rate(value: float, unit: str, meaning: str, spread: float | None = None) -> Any:
    prior = None if spread is None else LogNormal(value, spread)
    return param(value, unit, meaning, bounds=(value / 20, value * 20), prior=prior, source=_TABLE)


class LemaireBone(Organ):
    r"""Osteoblasts and osteoclasts in bone remodelling after Lemaire et al. 2004 (3 states, and bone mass).

    .. math::
        R' &= D_R \pi_C - \frac{D_B}{\pi_C} R + I_R, \qquad B' = \frac{D_B}{\pi_C} R - k_B B + I_B, \qquad
        C' = D_C \pi_L - D_A \pi_C C + I_C \\
        \pi_C &= \frac{C + f_0 C^s}{C + C^s}, \qquad D_B = f_0 d_B, \qquad
        \pi_P = \frac{S_P/k_P + I_P/k_P}{k_6/k_5 + I_P/k_P} \\
        \pi_L &= \frac{k_3}{k_4} \cdot \frac{K_L^P \pi_P B}
        {1 + \frac{k_3 K}{k_4} + \frac{k_1}{k_2 k_O}\left(\frac{K_O^P}{\pi_P} R + I_O\right)} \left(1 + \frac{I_L}{r_L}\right)

    Responding osteoblasts `R` make OPG, which catches RANKL; active osteoblasts `B` present RANKL, which makes osteoclasts
    `C`; these release TGF-beta (`pi_C`), which calls responding osteoblasts, holds back their maturing, and ends osteoclasts.
    PTH (`pi_P`) moves both towards resorption. Signalling molecules are always in balance with the cells, so what enters as
    PTH, OPG or RANKL is a rate of infusion over hours or more; a bolus of them has no effect. Cells may be added as boluses.

    Bone mass is not in the paper. Following Pivonka et al. 2008 it changes in proportion to the active cells, here scaled
    so that at the paper's steady state as much is formed as resorbed, 10 % of the bone a year. Twins whose cells rest
    elsewhere gain or lose bone all the time.

    Values are the paper's. Bounds and priors are this library's. The initial state is the steady state of the defaults.

    The paper prints it as 7.734e-4, 7.282e-4 and 9.127e-4 pM; the equations give 7.7344e-4, 7.2834e-4 and 9.1275e-4. Cells
    taken out for longer than the paper does can leave a negative number of osteoclasts: the equations do not forbid it.

    Verified against that steady state, against SciPy's solution of equations written down again for the paper's infusions
    and cell additions (days 20 to 80), and against the directions of response that the paper reports.
    """

    time: ClassVar[str] = "d"
    citation: ClassVar[str] = _SOURCE

    D_R: Scalar = _rate(7e-4, "pmol/(L*d)", "differentiation into responding osteoblasts, largest", 0.2)
    d_B: Scalar = _rate(0.7, "1/d", "differentiation of responding osteoblasts, largest")
    k_B: Scalar = _rate(0.189, "1/d", "elimination of active osteoblasts", 0.1)
    D_C: Scalar = _rate(2.1e-3, "pmol/(L*d)", "differentiation of osteoclasts where every RANK is bound", 0.2)
    D_A: Scalar = _rate(0.7, "1/d", "apoptosis of osteoclasts by TGF-beta, largest", 0.1)
    Cs: Scalar = _rate(5e-3, "pmol/L", "osteoclasts at which TGF-beta has half its effect")
    f0: Scalar = param(0.05, "1", "share of that effect without osteoclasts", bounds=(1e-3, 0.9), source=_TABLE)
    K: Scalar = _rate(10.0, "pmol/L", "RANK, which is constant")
    k1: Scalar = _rate(1e-2, "L/(pmol*d)", "binding of RANKL to OPG")
    k2: Scalar = _rate(10.0, "1/d", "release of RANKL from OPG")
    k3: Scalar = _rate(5.8e-4, "L/(pmol*d)", "binding of RANKL to RANK")
    k4: Scalar = _rate(1.7e-2, "1/d", "release of RANKL from RANK")
    k5: Scalar = _rate(0.02, "L/(pmol*d)", "binding of PTH to its receptor")
    k6: Scalar = _rate(3.0, "1/d", "release of PTH from its receptor")
    k_O: Scalar = _rate(0.35, "1/d", "elimination of OPG")
    k_P: Scalar = _rate(86.0, "1/d", "elimination of PTH")
    K_L: Scalar = _rate(3e6, "1", "RANKL that an active osteoblast presents, largest", 0.2)
    K_O: Scalar = _rate(2e5, "1/d", "OPG that a responding osteoblast makes, least", 0.2)
    r_L: Scalar = _rate(1e3, "pmol/(L*d)", "production and elimination of RANKL")
    S_P: Scalar = _rate(250.0, "pmol/(L*d)", "synthesis of PTH in the body", 0.2)
    turnover: Scalar = param(
        0.1 / 365.25, "1/d", "share of the bone that is renewed", bounds=(1e-5, 0.01), source=_TURNOVER
    )
    B_n: Scalar = _rate(7.2833959295e-4, "pmol/L", "active osteoblasts that make up for C_n")
    C_n: Scalar = _rate(9.1275283889e-4, "pmol/L", "osteoclasts that resorb what B_n forms")

    class State(Vars):
        R: Scalar = state(7.7343774436e-4, "pmol/L", "responding osteoblasts")
        B: Scalar = state(7.2833959295e-4, "pmol/L", "active osteoblasts")
        C: Scalar = state(9.1275283889e-4, "pmol/L", "active osteoclasts")
        mass: Scalar = state(1.0, "1", "bone mass over that at time 0")

    class In(Vars):
        I_P: Scalar = port("pmol/(L*d)", "PTH infused", kind="flow")
        I_O: Scalar = port("pmol/(L*d)", "OPG infused", kind="flow")
        I_L: Scalar = port("pmol/(L*d)", "RANKL infused", kind="flow")
        I_R: Scalar = port("pmol/(L*d)", "responding osteoblasts added", kind="flow")
        I_B: Scalar = port("pmol/(L*d)", "active osteoblasts added", kind="flow")
        I_C: Scalar = port("pmol/(L*d)", "active osteoclasts added", kind="flow")

    class Out(Vars):
        formation: Scalar = port("1/d", "share of the bone at time 0 that is formed")
        resorption: Scalar = port("1/d", "share of the bone at time 0 that is resorbed")
        PTH: Scalar = port("pmol/L", "PTH")
        OPG: Scalar = port("pmol/L", "OPG")
        pi_C: Scalar = port("1", "TGF-beta receptors bound")
        pi_P: Scalar = port("1", "PTH receptors bound")
        pi_L: Scalar = port("1", "RANK bound by RANKL")

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        PTH, infused, half = (self.S_P + u.I_P) / self.k_P, u.I_P / self.k_P, self.k6 / self.k5
        pi_P = PTH / (infused + half)
        OPG = (self.K_O / pi_P * x.R + u.I_O) / self.k_O
        free = self.K_L * pi_P * x.B / (1.0 + self.k3 * self.K / self.k4 + self.k1 / self.k2 * OPG)
        return self.Out(
            formation=self.turnover * x.B / self.B_n,
            resorption=self.turnover * x.C / self.C_n,
            PTH=PTH,
            OPG=OPG,
            pi_C=(x.C + self.f0 * self.Cs) / (x.C + self.Cs),
            pi_P=pi_P,
            pi_L=self.k3 / self.k4 * free * (1.0 + u.I_L / self.r_L),
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        maturing = self.f0 * self.d_B / y.pi_C * x.R
        return self.State(
            R=self.D_R * y.pi_C - maturing + u.I_R,
            B=maturing - self.k_B * x.B + u.I_B,
            C=self.D_C * y.pi_L - self.D_A * y.pi_C * x.C + u.I_C,
            mass=y.formation - y.resorption,
        )
