"""Glucose and insulin in type 1 diabetes, after Hovorka et al. 2004."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_PAPER = "hovorka2004"
_SUBJECTS = "Hovorka et al. 2004; the prior has the geometric mean and spread of the six men of Hovorka et al. 2002"
_ASSUMED = "Hovorka et al. 2004; the prior's spread is assumed, about as virtual populations of this model have it"


class Rest(NamedTuple):
    """What holds while only basal insulin enters."""

    glucose: Scalar
    """Plasma glucose, mmol/L."""
    insulin: Scalar
    """Plasma insulin, mU/L."""
    infusion: Scalar
    """Insulin under the skin, U/min."""


class Hovorka2004(Organ):
    r"""Glucose, insulin, and their absorption from gut and skin in type 1 diabetes (Hovorka et al. 2004; 10 states).

    Glucose is in plasma and what mixes with it at once (:math:`Q_1`), and in the rest of the body (:math:`Q_2`); insulin acts
    from remote spaces on transport (:math:`x_1`), disposal (:math:`x_2`) and endogenous production (:math:`x_3`):

    .. math::
        Q_1' &= -F_{01}^c - x_1 Q_1 + k_{12} Q_2 - F_R + U_G + EGP_0 (1 - x_3), \qquad G = Q_1 / V_G \\
        Q_2' &= x_1 Q_1 - (k_{12} + x_2) Q_2, \qquad x_i' = k_{a,i} (S_i I - x_i) \\
        I' &= \frac{S_2}{t_{max,I} V_I} - k_e I, \qquad S_1' = u - \frac{S_1}{t_{max,I}}, \quad
        S_2' = \frac{S_1 - S_2}{t_{max,I}}

    Insulin-independent uptake :math:`F_{01}^c` is :math:`F_{01}`, in proportion to glucose below 4.5 mmol/L; the kidneys
    excrete :math:`F_R = 0.003 (G - 9) V_G` above 9 mmol/L. A meal of D appears in plasma as
    :math:`U_G = D A_G\, t\, e^{-t/t_{max,G}} / t_{max,G}^2`, which is what two compartments `D1` and `D2` with the time
    constant :math:`t_{max,G}` give, so that meals may follow one another.

    Each twin's pump delivers the basal rate that holds `G_b`, found in closed form (`rest`), times the input `basal_factor`;
    the input `insulin` comes on top of it. The initial state is that rest. A twin whose liver makes less than is lost without
    any insulin needs none: its basal rate is 0, and it rests below `G_b`. For a given pump rate drive `basal_factor` with 0
    and give the whole of it as `insulin`.

    Beyond the paper: endogenous production does not become negative. By the paper's equation it does, from 19 mU/L of insulin
    on, and 6 U with a meal of 60 g then take glucose down to 14 instead of 25 mg/dL; `EGP_least` far below 0 is the paper's
    equation. Also glucose and insulin into the vein; and factors through which a drug or exercise acts on insulin
    sensitivity (all three) and on endogenous production. Body weight is 75 kg unless given; the paper's values are per kg.
    The six subjects from whom insulin sensitivities, F_01, EGP_0, k_12 and k_a,i come were healthy men. Priors take their
    geometric mean and spread, one parameter at a time, so a cohort's typical twin is less sensitive to insulin than the
    default, which has their arithmetic means; of the other parameters the spread is assumed.

    Verified against SciPy on the equations written again, with the meal in the paper's closed form, and against the
    steady-state equations solved by bisection (tests/organs/test_hovorka.py). A meal of 60 g without a bolus raises glucose
    by 11.4 mmol/L within two and a half hours, 3.4 mg/dL a gram.
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = _PAPER

    BW: Scalar = param(
        75.0,
        "kg",
        "body weight",
        bounds=(10.0, 200.0),
        prior=LogNormal(75.0, 0.15),
        source="each patient's own; the default is that of LoopInsighT1's model of this paper",
    )
    G_b: Scalar = param(
        100.0 / 18.016,
        "mmol/L",
        "plasma glucose that the basal insulin holds",
        bounds=(3.0, 20.0),
        prior=LogNormal(6.0, 0.15),
        source="what the pump is set to; the default, 100 mg/dL, is that of LoopInsighT1's model of this paper",
    )
    V_G: Scalar = param(
        0.16, "L/kg", "distribution volume of glucose", bounds=(0.08, 0.3), prior=LogNormal(0.16, 0.2), source=_ASSUMED
    )
    k12: Scalar = param(
        0.066,
        "1/min",
        "return of glucose to plasma",
        bounds=(0.01, 0.3),
        prior=LogNormal(0.0596, 0.46),
        source=_SUBJECTS,
    )
    F01: Scalar = param(
        0.0097,
        "mmol/(kg*min)",
        "uptake of glucose without insulin",
        bounds=(0.004, 0.016),
        prior=LogNormal(0.00948, 0.23),
        source=_SUBJECTS,
    )
    EGP0: Scalar = param(
        0.0161,
        "mmol/(kg*min)",
        "endogenous production of glucose without insulin",
        bounds=(0.008, 0.035),
        prior=LogNormal(0.0157, 0.26),
        source=_SUBJECTS,
    )
    EGP_least: Scalar = param(
        0.0,
        "1",
        "lowest endogenous production, over EGP0",
        bounds=(-100.0, 0.0),
        source="a liver does not produce less than nothing; the paper sets no limit",
    )
    S_IT: Scalar = param(
        51.2e-4,
        "L/(mU*min)",
        "insulin sensitivity of transport",
        bounds=(5e-4, 300e-4),
        prior=LogNormal(41.8e-4, 0.73),
        source=_SUBJECTS,
    )
    S_ID: Scalar = param(
        8.2e-4,
        "L/(mU*min)",
        "insulin sensitivity of disposal",
        bounds=(0.5e-4, 60e-4),
        prior=LogNormal(5.09e-4, 1.17),
        source=_SUBJECTS,
    )
    S_IE: Scalar = param(
        520e-4,
        "L/mU",
        "insulin sensitivity of endogenous production",
        bounds=(50e-4, 2500e-4),
        prior=LogNormal(413e-4, 0.87),
        source=_SUBJECTS,
    )
    ka1: Scalar = param(
        0.006,
        "1/min",
        "rate of insulin action on transport",
        bounds=(5e-4, 0.1),
        prior=LogNormal(0.00337, 1.12),
        source=_SUBJECTS,
    )
    ka2: Scalar = param(
        0.06,
        "1/min",
        "rate of insulin action on disposal",
        bounds=(0.005, 0.4),
        prior=LogNormal(0.0555, 0.7),
        source=_SUBJECTS,
    )
    ka3: Scalar = param(
        0.03,
        "1/min",
        "rate of insulin action on production",
        bounds=(0.003, 0.2),
        prior=LogNormal(0.0237, 0.77),
        source=_SUBJECTS,
    )
    V_I: Scalar = param(
        0.12, "L/kg", "distribution volume of insulin", bounds=(0.04, 0.3), prior=LogNormal(0.12, 0.1), source=_ASSUMED
    )
    ke: Scalar = param(
        0.138,
        "1/min",
        "elimination of insulin from plasma",
        bounds=(0.03, 0.5),
        prior=LogNormal(0.138, 0.25),
        source=_ASSUMED,
    )
    tmax_I: Scalar = param(
        55.0,
        "min",
        "time of fastest absorption of insulin",
        bounds=(15.0, 150.0),
        prior=LogNormal(55.0, 0.25),
        source=_ASSUMED,
    )
    tmax_G: Scalar = param(
        40.0,
        "min",
        "time of fastest absorption of a meal",
        bounds=(10.0, 150.0),
        prior=LogNormal(40.0, 0.25),
        source=_ASSUMED,
    )
    A_G: Scalar = param(0.8, "1", "share of carbohydrate that appears in plasma", bounds=(0.3, 1.0), source=_PAPER)
    R_thr: Scalar = param(9.0, "mmol/L", "glucose above which kidneys excrete it", bounds=(6.0, 15.0), source=_PAPER)
    R_cl: Scalar = param(0.003, "1/min", "renal clearance above that, per volume", bounds=(5e-4, 0.02), source=_PAPER)
    G_low: Scalar = param(
        4.5, "mmol/L", "glucose below which insulin-independent uptake falls", bounds=(2.0, 6.0), source=_PAPER
    )

    class State(Vars):
        Q1: Scalar = state(66.6, "mmol", "glucose in plasma and what exchanges with it at once")
        Q2: Scalar = state(40.0, "mmol", "glucose elsewhere")
        x1: Scalar = state(0.04, "1/min", "insulin action on transport")
        x2: Scalar = state(0.006, "1/min", "insulin action on disposal")
        x3: Scalar = state(0.3, "1", "insulin action on endogenous production")
        I: Scalar = state(6.0, "mU/L", "plasma insulin")
        S1: Scalar = state(400.0, "mU", "insulin under the skin, first compartment")
        S2: Scalar = state(400.0, "mU", "insulin under the skin, second compartment")
        D1: Scalar = state(0.0, "mmol", "glucose of meals, first compartment")
        D2: Scalar = state(0.0, "mmol", "glucose of meals, second compartment")

    class In(Vars):
        meal: Scalar = port("g/min", "carbohydrate eaten", kind="flow")
        insulin: Scalar = port("U/min", "insulin under the skin beyond the basal rate", kind="flow")
        insulin_iv: Scalar = port("U/min", "insulin into a vein", kind="flow")
        glucose_iv: Scalar = port("g/min", "glucose into a vein", kind="flow")
        basal_factor: Scalar = port("1", "basal rate over the one that holds G_b", default=1.0)
        sensitivity_factor: Scalar = port("1", "insulin sensitivity over the twin's own", default=1.0)
        production_factor: Scalar = port("1", "endogenous production over what it would be", default=1.0)

    class Out(Vars):
        glucose: Scalar = port("mg/dL", "plasma glucose")
        glucose_mmol: Scalar = port("mmol/L", "plasma glucose")
        plasma_insulin: Scalar = port("uU/mL", "plasma insulin")
        plasma_insulin_pmol: Scalar = port("pmol/L", "plasma insulin")
        appearance: Scalar = port("mg/min", "glucose that appears from meals")
        production: Scalar = port("mg/min", "endogenous production of glucose")
        uptake: Scalar = port("mg/min", "glucose that tissues use")
        excretion: Scalar = port("mg/min", "glucose lost with urine")
        gut: Scalar = port("g", "carbohydrate still to be absorbed")
        basal_insulin: Scalar = port("U/min", "basal insulin, as infused")

    def _independent_uptake(self, G: Scalar) -> Scalar:
        return self.F01 * self.BW * jnp.minimum(G / self.G_low, 1.0)

    def _excretion(self, G: Scalar) -> Scalar:
        return self.R_cl * self.V_G * self.BW * jnp.maximum(G - self.R_thr, 0.0)

    def _production(self, x: State, u: In) -> Scalar:
        return u.production_factor * self.EGP0 * self.BW * jnp.maximum(1.0 - x.x3, self.EGP_least)

    def rest(self) -> Rest:
        r"""The steady state at the basal rate, in closed form.

        At rest :math:`Q_2 = x_1 Q_1 / (k_{12} + x_2)`, so plasma insulin solves a quadratic equation. Without insulin glucose
        rests where production equals uptake and excretion; no insulin can hold it higher.
        """
        EGP0, F01 = self.EGP0 * self.BW, self.F01 * self.BW
        without = jnp.where(
            EGP0 < F01, self.G_low * EGP0 / F01, self.R_thr + (EGP0 - F01) / (self.R_cl * self.V_G * self.BW)
        )
        G = jnp.minimum(self.G_b, without)
        Q1 = G * self.V_G * self.BW
        surplus = jnp.maximum(EGP0 - self._independent_uptake(G) - self._excretion(G), 0.0)
        a = self.S_ID * (self.S_IT * Q1 + EGP0 * self.S_IE)
        b = EGP0 * self.S_IE * self.k12 - self.S_ID * surplus
        c = self.k12 * surplus
        insulin = 2.0 * c / (b + jnp.sqrt(b * b + 4.0 * a * c))
        return Rest(G, insulin, self.ke * self.V_I * self.BW * insulin / constant(1000.0, "mU/U"))

    def initial(self) -> State:
        rest = self.rest()
        I, Q1 = rest.insulin, rest.glucose * self.V_G * self.BW
        x1, x2 = self.S_IT * I, self.S_ID * I
        depot = rest.infusion * constant(1000.0, "mU/U") * self.tmax_I
        return self.State(
            Q1=Q1,
            Q2=x1 * Q1 / (self.k12 + x2),
            x1=x1,
            x2=x2,
            x3=self.S_IE * I,
            I=I,
            S1=depot,
            S2=depot,
            D1=0.0,
            D2=0.0,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        mmol, mU = constant(1000.0 / 180.16, "mmol/g"), constant(1000.0, "mU/U")
        G = x.Q1 / (self.V_G * self.BW)
        I = u.sensitivity_factor * x.I
        infusion = mU * (u.basal_factor * self.rest().infusion + u.insulin)
        absorbed = x.S2 / self.tmax_I + mU * u.insulin_iv
        U_G = x.D2 / self.tmax_G + mmol * u.glucose_iv
        exchange = x.x1 * x.Q1 - self.k12 * x.Q2
        return self.State(
            Q1=-self._independent_uptake(G) - self._excretion(G) - exchange + U_G + self._production(x, u),
            Q2=exchange - x.x2 * x.Q2,
            x1=self.ka1 * (self.S_IT * I - x.x1),
            x2=self.ka2 * (self.S_ID * I - x.x2),
            x3=self.ka3 * (self.S_IE * I - x.x3),
            I=absorbed / (self.V_I * self.BW) - self.ke * x.I,
            S1=infusion - x.S1 / self.tmax_I,
            S2=(x.S1 - x.S2) / self.tmax_I,
            D1=self.A_G * mmol * u.meal - x.D1 / self.tmax_G,
            D2=(x.D1 - x.D2) / self.tmax_G,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        mg = constant(180.16, "mg/mmol")
        G = x.Q1 / (self.V_G * self.BW)
        return self.Out(
            glucose=G * mg * constant(0.1, "L/dL"),
            glucose_mmol=G,
            plasma_insulin=x.I * constant(1.0, "uU*L/(mL*mU)"),
            plasma_insulin_pmol=x.I * constant(6.0, "pmol/mU"),
            appearance=mg * x.D2 / self.tmax_G,
            production=mg * self._production(x, u),
            uptake=mg * (self._independent_uptake(G) + x.x2 * x.Q2),
            excretion=mg * self._excretion(G),
            gut=mg * constant(0.001, "g/mg") * (x.D1 + x.D2) / self.A_G,
            basal_insulin=u.basal_factor * self.rest().infusion,
        )
