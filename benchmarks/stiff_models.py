"""Five of the usual stiff test problems, as models.

F. Mazzia, C. Magherini, "Test Set for Initial Value Problem Solvers", release 2.4 (2008); E. Hairer, G. Wanner, "Solving
Ordinary Differential Equations II" (1996), IV.10. The equations have no units there, and none here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vht.model import Organ, Scalar, Vars, param, state


class VanDerPol(Organ):
    """VDPOL: a relaxation oscillator."""

    time: ClassVar[str] = "1"
    mu: Scalar = param(1e3, "1", "stiffness")

    class State(Vars):
        y1: Scalar = state(2.0, "1", "position")
        y2: Scalar = state(0.0, "1", "velocity")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(y1=x.y2, y2=self.mu * (1.0 - x.y1 * x.y1) * x.y2 - x.y1)


class Robertson(Organ):
    """ROBER: three reactions, one of them autocatalytic, over eleven orders of magnitude of time."""

    time: ClassVar[str] = "1"
    k1: Scalar = param(0.04, "1", "slow reaction")
    k2: Scalar = param(1e4, "1", "fast reaction")
    k3: Scalar = param(3e7, "1", "very fast reaction")

    class State(Vars):
        y1: Scalar = state(1.0, "1", "first substance")
        y2: Scalar = state(0.0, "1", "second substance")
        y3: Scalar = state(0.0, "1", "third substance")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        decay, back, pair = self.k1 * x.y1, self.k2 * x.y2 * x.y3, self.k3 * x.y2 * x.y2
        return self.State(y1=back - decay, y2=decay - back - pair, y3=pair)


class Oregonator(Organ):
    """OREGO: the Belousov-Zhabotinskii reaction, over a little more than one period."""

    time: ClassVar[str] = "1"
    s: Scalar = param(77.27, "1", "ratio of the fast rates")
    q: Scalar = param(8.375e-6, "1", "autocatalysis' limit")
    w: Scalar = param(0.161, "1", "slow rate")

    class State(Vars):
        y1: Scalar = state(1.0, "1", "bromous acid")
        y2: Scalar = state(2.0, "1", "bromide")
        y3: Scalar = state(3.0, "1", "cerium")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        return self.State(
            y1=self.s * (x.y2 + x.y1 * (1.0 - self.q * x.y1 - x.y2)),
            y2=(x.y3 - (1.0 + x.y1) * x.y2) / self.s,
            y3=self.w * (x.y1 - x.y3),
        )


class Hires(Organ):
    """HIRES: light and the growth of plants, through phytochrome (E. Schaefer, J. Math. Biol. 2 (1975) 41)."""

    time: ClassVar[str] = "1"
    k1: Scalar = param(1.71, "1", "red to far-red absorbing form")
    k2: Scalar = param(0.43, "1", "and back")
    k3: Scalar = param(8.32, "1", "binding of the far-red absorbing form")
    k4: Scalar = param(0.69, "1", "of the bound form to the second receptor")
    k5: Scalar = param(0.035, "1", "from the second receptor")
    k6: Scalar = param(8.32, "1", "release of the red absorbing form")
    k_plus: Scalar = param(280.0, "1", "binding of the enzyme")
    k_minus: Scalar = param(0.69, "1", "its release")
    k_star: Scalar = param(0.69, "1", "its release with the product")
    oks: Scalar = param(0.0007, "1", "synthesis")

    class State(Vars):
        y1: Scalar = state(1.0, "1", "red absorbing form")
        y2: Scalar = state(0.0, "1", "far-red absorbing form")
        y3: Scalar = state(0.0, "1", "red absorbing form, first receptor")
        y4: Scalar = state(0.0, "1", "far-red absorbing form, first receptor")
        y5: Scalar = state(0.0, "1", "red absorbing form, second receptor")
        y6: Scalar = state(0.0, "1", "far-red absorbing form, second receptor")
        y7: Scalar = state(0.0, "1", "the same with the enzyme")
        y8: Scalar = state(0.0057, "1", "free enzyme")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        bound = self.k_plus * x.y6 * x.y8
        enzyme = (self.k2 + self.k_minus + self.k_star) * x.y7 - bound
        return self.State(
            y1=-self.k1 * x.y1 + self.k2 * x.y2 + self.k6 * x.y3 + self.oks,
            y2=self.k1 * x.y1 - (self.k2 + self.k3) * x.y2,
            y3=-(self.k6 + self.k1) * x.y3 + self.k2 * x.y4 + self.k5 * x.y5,
            y4=self.k3 * x.y2 + self.k1 * x.y3 - (self.k4 + self.k2) * x.y4,
            y5=-(self.k5 + self.k1) * x.y5 + self.k2 * (x.y6 + x.y7),
            y6=-bound + self.k4 * x.y4 + self.k1 * x.y5 - self.k2 * x.y6 + self.k_minus * x.y7,
            y7=-enzyme,
            y8=enzyme,
        )


class Pollu(Organ):
    """POLLU: the chemistry of polluted air (J. G. Verwer, SIAM J. Sci. Comput. 15 (1994) 1243)."""

    time: ClassVar[str] = "1"
    k1: Scalar = param(0.35, "1", "NO2 -> NO + O3P")
    k2: Scalar = param(26.6, "1", "NO + O3 -> NO2")
    k3: Scalar = param(1.23e4, "1", "HO2 + NO -> NO2 + OH")
    k4: Scalar = param(8.6e-4, "1", "HCHO -> 2 HO2 + CO")
    k5: Scalar = param(8.2e-4, "1", "HCHO -> CO")
    k6: Scalar = param(1.5e4, "1", "HCHO + OH -> HO2 + CO")
    k7: Scalar = param(1.3e-4, "1", "ALD -> MEO2 + HO2 + CO")
    k8: Scalar = param(2.4e4, "1", "ALD + OH -> C2O3")
    k9: Scalar = param(1.65e4, "1", "C2O3 + NO -> NO2 + MEO2 + CO2")
    k10: Scalar = param(9e3, "1", "C2O3 + NO2 -> PAN")
    k11: Scalar = param(0.022, "1", "PAN -> C2O3 + NO2")
    k12: Scalar = param(1.2e4, "1", "MEO2 + NO -> CH3O + NO2")
    k13: Scalar = param(1.88, "1", "CH3O -> HCHO + HO2")
    k14: Scalar = param(1.63e4, "1", "NO2 + OH -> HNO3")
    k15: Scalar = param(4.8e6, "1", "O3P -> O3")
    k16: Scalar = param(3.5e-4, "1", "O3 -> O1D")
    k17: Scalar = param(0.0175, "1", "O3 -> O3P")
    k18: Scalar = param(1e8, "1", "O1D -> 2 OH")
    k19: Scalar = param(4.44e11, "1", "O1D -> O3P")
    k20: Scalar = param(1240.0, "1", "SO2 + OH -> SO4 + HO2")
    k21: Scalar = param(2.1, "1", "NO3 -> NO")
    k22: Scalar = param(5.78, "1", "NO3 -> NO2 + O3P")
    k23: Scalar = param(0.0474, "1", "NO2 + O3 -> NO3")
    k24: Scalar = param(1780.0, "1", "NO3 + NO2 -> N2O5")
    k25: Scalar = param(3.12, "1", "N2O5 -> NO3 + NO2")

    class State(Vars):
        y1: Scalar = state(0.0, "1", "NO2")
        y2: Scalar = state(0.2, "1", "NO")
        y3: Scalar = state(0.0, "1", "O3P")
        y4: Scalar = state(0.04, "1", "O3")
        y5: Scalar = state(0.0, "1", "HO2")
        y6: Scalar = state(0.0, "1", "OH")
        y7: Scalar = state(0.1, "1", "HCHO")
        y8: Scalar = state(0.3, "1", "CO")
        y9: Scalar = state(0.01, "1", "ALD")
        y10: Scalar = state(0.0, "1", "MEO2")
        y11: Scalar = state(0.0, "1", "C2O3")
        y12: Scalar = state(0.0, "1", "CO2")
        y13: Scalar = state(0.0, "1", "PAN")
        y14: Scalar = state(0.0, "1", "CH3O")
        y15: Scalar = state(0.0, "1", "HNO3")
        y16: Scalar = state(0.0, "1", "O1D")
        y17: Scalar = state(0.007, "1", "SO2")
        y18: Scalar = state(0.0, "1", "SO4")
        y19: Scalar = state(0.0, "1", "NO3")
        y20: Scalar = state(0.0, "1", "N2O5")

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        r1 = self.k1 * x.y1
        r2 = self.k2 * x.y2 * x.y4
        r3 = self.k3 * x.y5 * x.y2
        r4 = self.k4 * x.y7
        r5 = self.k5 * x.y7
        r6 = self.k6 * x.y7 * x.y6
        r7 = self.k7 * x.y9
        r8 = self.k8 * x.y9 * x.y6
        r9 = self.k9 * x.y11 * x.y2
        r10 = self.k10 * x.y11 * x.y1
        r11 = self.k11 * x.y13
        r12 = self.k12 * x.y10 * x.y2
        r13 = self.k13 * x.y14
        r14 = self.k14 * x.y1 * x.y6
        r15 = self.k15 * x.y3
        r16 = self.k16 * x.y4
        r17 = self.k17 * x.y4
        r18 = self.k18 * x.y16
        r19 = self.k19 * x.y16
        r20 = self.k20 * x.y17 * x.y6
        r21 = self.k21 * x.y19
        r22 = self.k22 * x.y19
        r23 = self.k23 * x.y1 * x.y4
        r24 = self.k24 * x.y19 * x.y1
        r25 = self.k25 * x.y20
        return self.State(
            y1=r2 + r3 + r9 + r11 + r12 + r22 + r25 - r1 - r10 - r14 - r23 - r24,
            y2=r1 + r21 - r2 - r3 - r9 - r12,
            y3=r1 + r17 + r19 + r22 - r15,
            y4=r15 - r2 - r16 - r17 - r23,
            y5=2.0 * r4 + r6 + r7 + r13 + r20 - r3,
            y6=r3 + 2.0 * r18 - r6 - r8 - r14 - r20,
            y7=r13 - r4 - r5 - r6,
            y8=r4 + r5 + r6 + r7,
            y9=-r7 - r8,
            y10=r7 + r9 - r12,
            y11=r8 + r11 - r9 - r10,
            y12=r9,
            y13=r10 - r11,
            y14=r12 - r13,
            y15=r14,
            y16=r16 - r18 - r19,
            y17=-r20,
            y18=r20,
            y19=r23 + r25 - r21 - r22 - r24,
            y20=r24 - r25,
        )
