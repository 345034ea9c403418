"""Blood flow of the brain and the pressure in the skull."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_SOURCE = "ursino1998"
_TABLE = "ursino1998: basal values, as in the public BRAINCIRC and BCMD transcriptions of the model"
_LN10 = 2.302585092994046
# a power of a smaller distance has no derivative with respect to its exponent
_TINY = 1e-12
# a solver's trial radius may lie far beyond what a wall survives; the exponential of its stress must stay finite
_FURTHEST = 30.0


def _value(value: float, unit: str, meaning: str, spread: float | None = None, within: float = 5.0) -> Any:
    prior = None if spread is None else LogNormal(value, spread)
    return param(value, unit, meaning, bounds=(value / within, value * within), prior=prior, source=_TABLE)


class _Vessels(NamedTuple):
    """What the states determine at once: pressures in mmHg, flows of the whole brain in mL/s."""

    Q_a: Scalar
    Q_12: Scalar
    Q: Scalar
    Q_v: Scalar
    Q_vs: Scalar
    q_f: Scalar
    q_o: Scalar


class UrsinoBrain(Organ):
    r"""Autoregulation, CO2 reactivity and intracranial pressure after Ursino and Lodi 1998 (9 states).

    Blood passes large (1) and small (2) pial arteries of both hemispheres, capillaries, cerebral veins and the venous
    sinus. The skull holds a constant volume:

    .. math::
        P_{ic}' = k_E P_{ic} \left(V_1' + V_2' + V_v' + q_f - q_o + I_i\right), \qquad
        q_f = G_f (P_c - P_{ic})^+, \qquad q_o = G_o (P_{ic} - P_{vs})^+

    A segment of pial arteries has a radius, :math:`V_j = K_{V,j} r_j^2`, :math:`G_j = K_{G,j} r_j^4`, and a wall in balance:

    .. math::
        P_j r_j - P_{ic} (r_j + h_j) = T_{e,j} + T_{m,j} + T_{v,j}, \qquad
        T_{e} = \left(\sigma_{e0} (e^{K_\sigma (r - r_0)/r_0} - 1) - \sigma_{coll}\right) h, \\
        T_{m} = T_{0} (1 + M)\, e^{-\left|\frac{r - r_m}{r_t - r_m}\right|^{n_m}}, \qquad
        T_{v} = \frac{\eta}{r_0} r' h, \qquad M_j = \tanh \frac{x_{aut,j} + x_{CO2,j}}{2 k_M}

    of elastic, muscular and viscous tension. The muscle of large arteries answers to perfusion pressure, of small ones to
    flow, both to carbon dioxide, whose effect fades where flow falls:

    .. math::
        \tau_{a1} x_{aut,1}' &= -x_{aut,1} + G_{a1} (P_a - P_v - P_{an} + P_{vn}), \qquad
        \tau_{a2} x_{aut,2}' = -x_{aut,2} + G_{a2} (q - q_n)/q_n, \\
        \tau_{c} x_{CO2,j}' &= -x_{CO2,j} - G_{c,j} A \log_{10} (P_{CO2}/P_{CO2n}), \qquad
        A = \left(1 + e^{-k_{CO2} (q - q_n)/q_n - b_{CO2}}\right)^{-1}

    Veins empty at a pressure :math:`P_v - P_{ic} = P_{v1}`, :math:`C_v = 1/(k_{ven} (P_v - P_{ic} - P_{v1}))`, and collapse
    where they enter the sinus (Starling resistor): what leaves them is :math:`G_{vs} (P_v - \max(P_{ic}, P_{vs}))`. The
    middle cerebral artery is passive, :math:`r_{MCA} = r_n (1 + \ln(CPP/CPP_n)/K_{MCA})`, and carries a third of the flow; its
    velocity is what Doppler ultrasound measures.

    The viscous tension and the junctions between the segments make equations that are linear in the pressures; they are
    solved by hand. Values are the paper's, taken from public transcriptions of it. Here the sinus also holds veins open whose
    skull is at a lower pressure than it, as in the authors' later model (Ursino and Giannessi 2010, Ann Biomed Eng 38:955); the
    transcription of this one has :math:`P_v - P_{ic}` always; at rest there is no difference. The radius of the middle
    cerebral artery is no less than half of `r_MCAn`, which its law is at a perfusion pressure of 7 mmHg. Bounds and priors are
    this library's. The initial state is the steady state of the defaults.

    At rest flow is 12.54 mL/s (the paper's basal value is 12.5), pressure in the skull 9.4 mmHg, velocity 59 cm/s. From 60 to
    150 mmHg of arterial pressure flow goes from 87 to 117 %. Carbon dioxide at 60 mmHg raises it to 147 % (by Reivich's
    curve of measurements in monkeys to 142 %), but at 30 mmHg lowers it to no more than 91 % (77 %): with `b_CO2` as
    transcribed, reactivity has faded by half already where flow is 3 % below normal, which at an arterial pressure of 50 mmHg
    abolishes it, as in animals. For hyperventilation at normal pressure `b_CO2` = 6.5 is nearer to measurements: 75 %.
    The form of :math:`A` is the same in transcriptions of the authors' later model, which has 15 and 0.5 for `k_CO2` and
    `b_CO2`, and in BioGears, which cites this paper for it and takes 20 and 10 (here: 71 %, and at an arterial pressure of
    50 mmHg reactivity stays). That this paper has 0.65 is known from one transcription only.

    Verified against SciPy's solution of equations written down again with the wall's equilibrium as a linear system, the
    basal values, the static autoregulation of the authors' simpler model (Ursino and Lodi 1997), Reivich's curve, and the
    closed form of infusion (Davson). A rapid injection of 4 mL shows a pressure-volume index like that of normal adults.

    There are other steady states, of a brain without flow; a search for steady states may end in one of them.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    # cerebrospinal fluid and the skull
    k_E: Scalar = _value(0.11, "1/mL", "elastance of the skull's content: 2.3 over the pressure-volume index", 0.2)
    G_o: Scalar = _value(0.0019, "mL/(s*mmHg)", "conductance of outflow of cerebrospinal fluid", 0.25, within=20.0)
    G_f: Scalar = _value(0.00042, "mL/(s*mmHg)", "conductance of formation of cerebrospinal fluid", 0.15)
    # veins
    G_pv: Scalar = _value(1.136, "mL/(s*mmHg)", "conductance of the proximal veins", 0.1)
    G_vs: Scalar = _value(2.77, "mL/(s*mmHg)", "conductance of the terminal veins")
    G_ve: Scalar = _value(6.251, "mL/(s*mmHg)", "conductance of the extracranial veins")
    C_ve: Scalar = _value(2.34, "mL/mmHg", "compliance of the venous sinus and the extracranial veins")
    k_ven: Scalar = _value(0.31, "1/mL", "inverse of the volume over which cerebral veins grow stiff")
    P_v1: Scalar = param(-2.5, "mmHg", "transmural pressure of empty veins", bounds=(-10.0, -0.5), source=_TABLE)
    # large pial arteries
    K_G1: Scalar = _value(1.43e6, "mL/(s*mmHg*cm^4)", "conductance over radius^4, large, of one hemisphere", 0.1)
    K_V1: Scalar = _value(4640.0, "mL/cm^2", "volume over radius^2, large")
    r_01: Scalar = _value(0.015, "cm", "radius without stress, large", within=1.5)
    h_01: Scalar = _value(0.003, "cm", "thickness of the wall without stress, large", within=2.0)
    sigma_e01: Scalar = _value(0.1425, "mmHg", "factor of elastic stress, large")
    K_sigma1: Scalar = _value(10.0, "1", "exponent of elastic stress, large", within=1.5)
    sigma_coll1: Scalar = _value(62.79, "mmHg", "stress of collagen, large")
    T_01: Scalar = _value(2.16, "mmHg*cm", "muscular tension at the optimal radius, large", 0.05, within=2.0)
    r_m1: Scalar = _value(0.027, "cm", "radius optimal for muscle, large", within=1.2)
    r_t1: Scalar = _value(0.018, "cm", "radius at which its tension is 1/e, large", within=1.2)
    n_m1: Scalar = param(1.83, "1", "exponent of muscular tension, large", bounds=(1.1, 3.0), source=_TABLE)
    eta_1: Scalar = _value(232.0, "mmHg*s", "viscosity of the wall, large")
    # small pial arteries
    K_G2: Scalar = _value(1.02e8, "mL/(s*mmHg*cm^4)", "conductance over radius^4, small, of one hemisphere", 0.1)
    K_V2: Scalar = _value(1.543e5, "mL/cm^2", "volume over radius^2, small")
    r_02: Scalar = _value(0.0075, "cm", "radius without stress, small", within=1.5)
    h_02: Scalar = _value(0.0025, "cm", "thickness of the wall without stress, small", within=2.0)
    sigma_e02: Scalar = _value(11.19, "mmHg", "factor of elastic stress, small")
    K_sigma2: Scalar = _value(4.5, "1", "exponent of elastic stress, small", within=1.5)
    sigma_coll2: Scalar = _value(41.32, "mmHg", "stress of collagen, small")
    T_02: Scalar = _value(1.5, "mmHg*cm", "muscular tension at the optimal radius, small", 0.05, within=2.0)
    r_m2: Scalar = _value(0.0128, "cm", "radius optimal for muscle, small", within=1.15)
    r_t2: Scalar = _value(0.0174, "cm", "radius at which its tension is 1/e, small", within=1.15)
    n_m2: Scalar = param(1.75, "1", "exponent of muscular tension, small", bounds=(1.1, 3.0), source=_TABLE)
    eta_2: Scalar = _value(47.8, "mmHg*s", "viscosity of the wall, small")
    # regulation
    G_a1: Scalar = param(
        0.02,
        "1/mmHg",
        "gain of autoregulation by pressure, large",
        bounds=(0.0, 0.1),
        prior=LogNormal(0.02, 0.2),
        source=_TABLE,
    )
    G_a2: Scalar = param(
        5.2, "1", "gain of autoregulation by flow, small", bounds=(0.0, 20.0), prior=LogNormal(5.2, 0.2), source=_TABLE
    )
    G_c1: Scalar = param(
        1.3, "1", "gain of CO2 reactivity, large", bounds=(0.0, 10.0), prior=LogNormal(1.3, 0.2), source=_TABLE
    )
    G_c2: Scalar = param(
        15.5, "1", "gain of CO2 reactivity, small", bounds=(0.0, 60.0), prior=LogNormal(15.5, 0.2), source=_TABLE
    )
    tau_a1: Scalar = _value(10.0, "s", "time constant of autoregulation, large")
    tau_a2: Scalar = _value(20.0, "s", "time constant of autoregulation, small")
    tau_c: Scalar = _value(20.0, "s", "time constant of CO2 reactivity")
    k_CO2: Scalar = _value(20.0, "1", "steepness with which CO2 reactivity fades where flow falls")
    b_CO2: Scalar = param(
        0.65, "1", "how far flow may fall before that, times `k_CO2`", bounds=(0.0, 15.0), source=_TABLE
    )
    k_M: Scalar = _value(0.5, "1", "regulation at which activation of muscle is 0.46")
    # basal values
    q_n: Scalar = _value(12.5, "mL/s", "flow that regulation aims at", within=3.0)
    P_an: Scalar = _value(100.0, "mmHg", "arterial pressure at which large arteries rest", within=2.0)
    P_vn: Scalar = _value(13.937, "mmHg", "venous pressure at which large arteries rest", within=2.0)
    P_icn: Scalar = _value(9.427, "mmHg", "pressure in the skull at which the middle cerebral artery has its radius")
    P_CO2n: Scalar = _value(40.0, "mmHg", "carbon dioxide at which arteries rest", within=2.0)
    r_MCAn: Scalar = _value(0.15, "cm", "radius of the middle cerebral artery", 0.05, within=2.0)
    K_MCA: Scalar = _value(5.0, "1", "stiffness of the middle cerebral artery")

    class State(Vars):
        P_ic: Scalar = state(9.44526994287, "mmHg", "pressure in the skull")
        P_v: Scalar = state(13.970087359, "mmHg", "pressure in the cerebral veins")
        P_vs: Scalar = state(6.00612359953, "mmHg", "pressure in the venous sinus")
        r_1: Scalar = state(0.0235837314631, "cm", "radius of large pial arteries")
        r_2: Scalar = state(0.00716500818082, "cm", "radius of small pial arteries")
        x_a1: Scalar = state(-0.000661747179604, "1", "autoregulation of large arteries")
        x_a2: Scalar = state(0.0167559061978, "1", "autoregulation of small arteries")
        x_c1: Scalar = state(0.0, "1", "effect of carbon dioxide on large arteries")
        x_c2: Scalar = state(0.0, "1", "effect of carbon dioxide on small arteries")

    class In(Vars):
        P_a: Scalar = port("mmHg", "arterial pressure", default=100.0)
        P_cv: Scalar = port("mmHg", "central venous pressure", default=4.0)
        PaCO2: Scalar = port("mmHg", "carbon dioxide in arterial blood", default=40.0)
        injection: Scalar = port("mL/s", "fluid injected into the cerebrospinal space", kind="flow")

    class Out(Vars):
        CBF: Scalar = port("mL/s", "cerebral blood flow, through the capillaries")
        ICP: Scalar = port("mmHg", "intracranial pressure")
        CPP: Scalar = port("mmHg", "cerebral perfusion pressure: arterial less intracranial")
        CVR: Scalar = port("mmHg*s/mL", "cerebrovascular resistance: perfusion pressure over arterial inflow")
        V_MCA: Scalar = port("cm/s", "velocity of blood in a middle cerebral artery")
        V_art: Scalar = port("mL", "blood in the pial arteries and arterioles")
        inflow: Scalar = port("mL/s", "blood from the arteries", kind="flow")
        outflow: Scalar = port("mL/s", "blood and reabsorbed fluid to the central veins", kind="flow")
        formation: Scalar = port("mL/s", "cerebrospinal fluid formed")
        reabsorption: Scalar = port("mL/s", "cerebrospinal fluid reabsorbed")
        tone_1: Scalar = port("1", "activation of muscle of large arteries, -1 to 1")
        tone_2: Scalar = port("1", "activation of muscle of small arteries, -1 to 1")

    def _thickness(self, r: Scalar, r_0: Scalar, h_0: Scalar) -> Scalar:
        # the wall keeps its cross-section
        return jnp.sqrt(r * r + 2.0 * r_0 * h_0 + h_0 * h_0) - r

    def _elastic(self, r: Scalar, r_0: Scalar, sigma: Scalar, K: Scalar, collagen: Scalar, h: Scalar) -> Scalar:
        strain = jnp.minimum(K * (r - r_0) / r_0, _FURTHEST)
        return (sigma * (jnp.exp(strain) - 1.0) - collagen) * h

    def _muscular(self, r: Scalar, T_0: Scalar, M: Scalar, r_m: Scalar, r_t: Scalar, n: Scalar) -> Scalar:
        return T_0 * (1.0 + M) * jnp.exp(-(jnp.maximum(jnp.abs((r - r_m) / (r_t - r_m)), _TINY) ** n))

    def _tone(self, x: State) -> tuple[Scalar, Scalar]:
        return jnp.tanh(0.5 * (x.x_a1 + x.x_c1) / self.k_M), jnp.tanh(0.5 * (x.x_a2 + x.x_c2) / self.k_M)

    def _vessels(self, x: State, u: In) -> _Vessels:
        M_1, M_2 = self._tone(x)
        h_1, h_2 = self._thickness(x.r_1, self.r_01, self.h_01), self._thickness(x.r_2, self.r_02, self.h_02)
        elastic_1 = self._elastic(x.r_1, self.r_01, self.sigma_e01, self.K_sigma1, self.sigma_coll1, h_1)
        elastic_2 = self._elastic(x.r_2, self.r_02, self.sigma_e02, self.K_sigma2, self.sigma_coll2, h_2)
        tension_1 = elastic_1 + self._muscular(x.r_1, self.T_01, M_1, self.r_m1, self.r_t1, self.n_m1)
        tension_2 = elastic_2 + self._muscular(x.r_2, self.T_02, M_2, self.r_m2, self.r_t2, self.n_m2)
        static_1, static_2 = tension_1 + x.P_ic * (x.r_1 + h_1), tension_2 + x.P_ic * (x.r_2 + h_2)
        # half a segment's conductances of one hemisphere; V' = 2 K_V r r' is the net flow of both
        G_1, G_2 = self.K_G1 * x.r_1**4, self.K_G2 * x.r_2**4
        G_12 = G_1 * G_2 / (G_1 + G_2)
        viscous_1 = self.eta_1 * h_1 / (self.r_01 * self.K_V1 * x.r_1)
        viscous_2 = self.eta_2 * h_2 / (self.r_02 * self.K_V2 * x.r_2)

        def pressures(G_f: Scalar) -> tuple[Scalar, Scalar, Scalar]:
            # capillaries lead to the veins and into the cerebrospinal fluid
            beyond = self.G_pv + G_f
            P_beyond = (self.G_pv * x.P_v + G_f * x.P_ic) / beyond
            G_out = G_2 * beyond / (2.0 * G_2 + beyond)
            a_11, a_12 = x.r_1 + viscous_1 * (G_1 + G_12), viscous_1 * G_12
            a_21, a_22 = viscous_2 * G_12, x.r_2 + viscous_2 * (G_12 + G_out)
            b_1, b_2 = static_1 + viscous_1 * G_1 * u.P_a, static_2 + viscous_2 * G_out * P_beyond
            determinant = a_11 * a_22 - a_12 * a_21
            P_1, P_2 = (b_1 * a_22 + a_12 * b_2) / determinant, (a_11 * b_2 + a_21 * b_1) / determinant
            return P_1, P_2, (2.0 * G_2 * P_2 + beyond * P_beyond) / (2.0 * G_2 + beyond)

        # no fluid forms where capillaries are below the skull's pressure; forming it cannot turn that round
        P_c = pressures(0.0 * self.G_f)[2]
        P_1, P_2, P_c = pressures(jnp.where(P_c > x.P_ic, self.G_f, 0.0))
        return _Vessels(
            Q_a=2.0 * G_1 * (u.P_a - P_1),
            Q_12=2.0 * G_12 * (P_1 - P_2),
            Q=2.0 * G_2 * (P_2 - P_c),
            Q_v=self.G_pv * (P_c - x.P_v),
            Q_vs=self.G_vs * (x.P_v - jnp.maximum(x.P_ic, x.P_vs)),
            q_f=self.G_f * jnp.maximum(P_c - x.P_ic, 0.0),
            q_o=self.G_o * jnp.maximum(x.P_ic - x.P_vs, 0.0),
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        y, (M_1, M_2) = self._vessels(x, u), self._tone(x)
        CPP = u.P_a - x.P_ic
        stretch = jnp.log(jnp.maximum(CPP / (self.P_an - self.P_icn), _TINY)) / self.K_MCA
        # the law is one of a stretched artery; where perfusion ceases it would have none, and velocity would be without bound
        r_MCA = self.r_MCAn * jnp.maximum(1.0 + stretch, 0.5)
        cm3, mL = constant(1.0, "cm^3"), constant(1.0, "mL")
        return self.Out(
            CBF=y.Q,
            ICP=x.P_ic,
            CPP=CPP,
            CVR=CPP / y.Q_a,
            V_MCA=y.Q / 3.0 * (cm3 / mL) / (jnp.pi * r_MCA * r_MCA),
            V_art=self.K_V1 * x.r_1 * x.r_1 + self.K_V2 * x.r_2 * x.r_2,
            inflow=y.Q_a,
            outflow=self.G_ve * (x.P_vs - u.P_cv),
            formation=y.q_f,
            reabsorption=y.q_o,
            tone_1=M_1,
            tone_2=M_2,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self._vessels(x, u)
        surplus = (y.Q - self.q_n) / self.q_n
        A = 1.0 / (1.0 + jnp.exp(jnp.minimum(-self.k_CO2 * surplus - self.b_CO2, _FURTHEST)))
        CO2 = A * jnp.log(jnp.maximum(u.PaCO2 / self.P_CO2n, _TINY)) / _LN10
        P_ic = self.k_E * x.P_ic * (y.Q_a - y.Q + y.Q_v - y.Q_vs + y.q_f - y.q_o + u.injection)
        return self.State(
            P_ic=P_ic,
            P_v=P_ic + self.k_ven * (x.P_v - x.P_ic - self.P_v1) * (y.Q_v - y.Q_vs),
            P_vs=(y.Q_vs + y.q_o - self.G_ve * (x.P_vs - u.P_cv)) / self.C_ve,
            r_1=(y.Q_a - y.Q_12) / (2.0 * self.K_V1 * x.r_1),
            r_2=(y.Q_12 - y.Q) / (2.0 * self.K_V2 * x.r_2),
            x_a1=(self.G_a1 * (u.P_a - x.P_v - self.P_an + self.P_vn) - x.x_a1) / self.tau_a1,
            x_a2=(self.G_a2 * surplus - x.x_a2) / self.tau_a2,
            x_c1=(-self.G_c1 * CO2 - x.x_c1) / self.tau_c,
            x_c2=(-self.G_c2 * CO2 - x.x_c2) / self.tau_c,
        )
