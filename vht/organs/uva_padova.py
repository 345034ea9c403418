"""Glucose and insulin in type 1 diabetes: the simulator of the Universities of Virginia and Padova, S2008."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Twins, Vars, constant, event, param, port, state

_SIMULATOR = "virtual patient adult#001 of simglucose (Xie 2018), from the S2008 simulator (Kovatchev et al. 2009)"
_FIXED = "the same for all thirty virtual patients of simglucose (Xie 2018)"
_OWN = "this library's: how a meal is told from the next one"
_PATIENTS = pathlib.Path(__file__).parent / "uva_padova_patients.csv"


def _adult(value: float, unit: str, meaning: str, bounds: tuple[float, float], median: float, spread: float) -> Any:
    """Of adult#001; the prior's median and spread are the geometric mean and spread of the ten virtual adults."""
    return param(value, unit, meaning, bounds=bounds, prior=LogNormal(median, spread), source=_SIMULATOR)


class Rest(NamedTuple):
    """What holds at basal insulin and glucose, and what follows from it."""

    Gp: Scalar
    Gt: Scalar
    Ip: Scalar
    Il: Scalar
    Isc1: Scalar
    Isc2: Scalar
    Vm0: Scalar
    """Insulin-dependent uptake at its fastest, at basal insulin, mg/(kg min)."""
    kp1: Scalar
    """Endogenous production without glucose and insulin, mg/(kg min)."""
    infusion: Scalar
    """Basal insulin, U/min."""


class UVAPadova2008(Organ):
    r"""Meal, glucose and insulin of a person with type 1 diabetes (Dalla Man et al. 2007; Kovatchev et al. 2009).

    The 13 states of the simulator S2008 and two that tell meals apart. Carbohydrate is ground in the stomach
    (:math:`Q_{sto1}`), leaves it (:math:`Q_{sto2}`) at a rate that depends on how full it is, and is absorbed from the gut:

    .. math::
        Q_{sto1}' = -k_{max} Q_{sto1} + m, \quad Q_{sto2}' = k_{max} Q_{sto1} - k_{gut} Q_{sto2}, \quad
        Q_{gut}' = k_{gut} Q_{sto2} - k_{abs} Q_{gut}

    .. math::
        k_{gut} = k_{min} + \frac{k_{max} - k_{min}}{2} \left\{ \tanh\left[\frac{5 (q - b)}{2 (1 - b)}\right]
        - \tanh\left[\frac{5 (q - d)}{2 d}\right] + 2 \right\}, \quad q = \frac{Q_{sto1} + Q_{sto2}}{D}

    D is what was in the stomach when the meal began and all that was eaten since. So D is what the stomach holds and what it
    has `emptied` since then, and all that has to happen when a meal begins is that `emptied` starts again from zero: an
    event of the state, for meals at once and for meals that take time. A meal begins when what has been eaten lately
    (`recent`, forgotten with the time constant `pause`) rises above a `bite`; eating within about half an hour after a meal
    belongs to it. Models with events have no search for steady states; the default initial state is one, in closed form, and
    others (another basal rate, another sensitivity) are reached by a run of a week.

    Glucose is in plasma (:math:`G_p`) and tissue (:math:`G_t`), insulin in plasma (:math:`I_p`) and liver (:math:`I_l`):

    .. math::
        G_p' &= EGP + R_a - U_{ii} - E - k_1 G_p + k_2 G_t, \qquad R_a = f\,k_{abs} Q_{gut} / BW \\
        G_t' &= -\frac{(V_{m0} + V_{mx} X)\,G_t}{K_{m0} + G_t} + k_1 G_p - k_2 G_t, \qquad
        EGP = k_{p1} - k_{p2} G_p - k_{p3} I_d, \quad E = k_{e1} \max(G_p - k_{e2}, 0) \\
        I_p' &= -(m_2 + m_4) I_p + m_1 I_l + k_{a1} I_{sc1} + k_{a2} I_{sc2}, \qquad
        I_l' = -(m_1 + m_3) I_l + m_2 I_p \\
        X' &= p_{2U} (I - I_b - X), \quad I_1' = k_i (I - I_1), \quad I_d' = k_i (I_1 - I_d), \qquad I = I_p / V_I \\
        I_{sc1}' &= u - (k_d + k_{a1}) I_{sc1}, \quad I_{sc2}' = k_d I_{sc1} - k_{a2} I_{sc2}, \quad
        G_s' = k_{sc} (G_p - G_s)

    Parameters are those from which the others follow at rest, at basal glucose, insulin and production (`rest`), so that
    every twin is at rest at time 0 with its own basal rate. In corners of the bounds, far from what priors draw, no such rest
    exists and :math:`G_t` begins below zero or moves: where kidneys would excrete more than is produced, or tissue use more
    than :math:`k_1 G_p`. The pump delivers the basal rate times `basal_factor`; the input `insulin` comes on top. For a given
    pump rate drive `basal_factor` with 0 and give the whole of it as `insulin`.

    Defaults are the virtual patient adult#001; `adults` are five. Priors take the spread of ten adults, one parameter at a
    time: the simulator's joint distribution is not published. Differs from the paper where that would be impossible: uptake
    by tissue does not become negative (without insulin :math:`V_{m0} + V_{mx} X` does, in most virtual patients), nor does
    endogenous production (as in simglucose), and below 10 mg/dL insulin-independent uptake falls with glucose, so that glucose
    stays positive. `sensitivity_factor` acts on all insulin, basal included: :math:`s (X + I_b) - I_b` and :math:`s I_d`
    stand for :math:`X` and :math:`I_d`. Glucose and insulin into the vein, and `production_factor`, are additions too.

    Verified against the traces of adult#001-#005 that simglucose ships. In them D is too small by a mistake of units (a meal
    in g added to mg; mended in simglucose in 2022), so that the stomach empties at k_max almost to the end: with k_min = k_max
    they are reproduced to 0.12 mg/dL or better (root mean square over a day with five meals). The emptying itself is
    verified against simglucose's equations in SciPy, which give the traces to 1e-4 mg/dL with the mistake: without it,
    0.31 mg/dL or better where D grows by the minute as in simglucose, and states within 1e-7 of their range where meals are
    eaten at once. Figures of real meals do not belong to the defaults: 60 g without a bolus raise glucose by 1.5 mg/dL a gram
    (1.5 to 2.5 in the five adults), where a rule of thumb has 3 to 5.
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = "dallaman2007"

    BW: Scalar = _adult(102.32, "kg", "body weight", (15.0, 200.0), 84.6, 0.20)
    Gb: Scalar = _adult(138.56, "mg/dL", "plasma glucose at rest", (70.0, 250.0), 142.6, 0.05)
    Ib: Scalar = _adult(100.25, "pmol/L", "plasma insulin at rest", (30.0, 300.0), 107.2, 0.16)
    EGPb: Scalar = _adult(2.2758, "mg/(kg*min)", "endogenous production at rest", (1.5, 6.0), 2.49, 0.13)

    kmax: Scalar = _adult(
        0.046122, "1/min", "fastest emptying of the stomach, and grinding", (0.008, 0.15), 0.0371, 0.32
    )
    kmin: Scalar = _adult(0.0037927, "1/min", "slowest emptying of the stomach", (0.001, 0.15), 0.00649, 0.54)
    kabs: Scalar = _adult(0.08906, "1/min", "absorption from the gut", (0.01, 2.0), 0.134, 1.05)
    b: Scalar = _adult(
        0.70391, "1", "share of the meal in the stomach where emptying has slowed by half", (0.4, 0.99), 0.777, 0.15
    )
    d: Scalar = _adult(
        0.21057, "1", "share of the meal in the stomach where emptying is fast again by half", (0.03, 0.6), 0.168, 0.38
    )
    f: Scalar = param(0.9, "1", "share of absorbed glucose that appears in plasma", bounds=(0.3, 1.0), source=_FIXED)

    Vg: Scalar = _adult(1.9152, "dL/kg", "distribution volume of glucose", (1.0, 3.0), 1.843, 0.08)
    k1: Scalar = _adult(0.058138, "1/min", "glucose from plasma to tissue", (0.02, 0.2), 0.0601, 0.30)
    k2: Scalar = _adult(0.087114, "1/min", "glucose from tissue to plasma", (0.03, 0.5), 0.12, 0.41)
    Fsnc: Scalar = param(1.0, "mg/(kg*min)", "uptake of glucose without insulin", bounds=(0.3, 1.4), source=_FIXED)
    Vmx: Scalar = _adult(
        0.031319, "mg*L/(kg*min*pmol)", "insulin sensitivity of uptake by tissue", (0.005, 0.3), 0.0458, 0.60
    )
    Km0: Scalar = _adult(
        253.52, "mg/kg", "glucose in tissue at which uptake is half its fastest", (100.0, 500.0), 235.7, 0.10
    )
    p2u: Scalar = _adult(0.027802, "1/min", "rate of insulin action on uptake", (0.005, 0.2), 0.0322, 0.34)
    kp2: Scalar = _adult(
        0.00469, "1/min", "effectiveness of glucose on endogenous production", (0.0005, 0.04), 0.00388, 0.40
    )
    kp3: Scalar = _adult(
        0.01208, "mg*L/(kg*min*pmol)", "insulin sensitivity of endogenous production", (0.002, 0.05), 0.00843, 0.49
    )
    ki: Scalar = _adult(
        0.0046374, "1/min", "rate of insulin action on endogenous production", (0.001, 0.1), 0.00747, 0.54
    )
    ke1: Scalar = param(0.0005, "1/min", "renal clearance of glucose above ke2", bounds=(1e-5, 0.01), source=_FIXED)
    ke2: Scalar = param(
        339.0, "mg/kg", "plasma glucose above which kidneys excrete it", bounds=(200.0, 600.0), source=_FIXED
    )

    Vi: Scalar = _adult(0.054906, "L/kg", "distribution volume of insulin", (0.02, 0.15), 0.0509, 0.26)
    m1: Scalar = _adult(0.15446, "1/min", "insulin from liver to plasma", (0.05, 0.8), 0.189, 0.34)
    CL: Scalar = _adult(1.2642, "L/min", "clearance of insulin", (0.2, 2.5), 1.156, 0.09)
    HEb: Scalar = param(0.6, "1", "share of insulin that the liver extracts", bounds=(0.3, 0.85), source=_FIXED)
    kd: Scalar = _adult(0.0152, "1/min", "insulin under the skin becoming monomeric", (0.005, 0.05), 0.0158, 0.12)
    ka1: Scalar = _adult(0.0019, "1/min", "absorption of nonmonomeric insulin", (0.0005, 0.02), 0.00328, 0.26)
    ka2: Scalar = _adult(0.0078, "1/min", "absorption of monomeric insulin", (0.002, 0.08), 0.0153, 0.31)
    ksc: Scalar = _adult(0.0766, "1/min", "exchange of glucose between plasma and skin", (0.01, 0.5), 0.0921, 0.28)

    bite: Scalar = param(
        0.1, "g", "carbohydrate eaten lately from which on it is a meal", bounds=(0.001, 5.0), source=_OWN
    )
    pause: Scalar = param(5.0, "min", "time constant with which eating is forgotten", bounds=(1.0, 60.0), source=_OWN)

    class State(Vars):
        Qsto1: Scalar = state(0.0, "mg", "glucose in the stomach, solid")
        Qsto2: Scalar = state(0.0, "mg", "glucose in the stomach, ground")
        Qgut: Scalar = state(0.0, "mg", "glucose in the gut")
        Gp: Scalar = state(265.37, "mg/kg", "glucose in plasma and tissue that exchanges at once")
        Gt: Scalar = state(162.457, "mg/kg", "glucose in slow tissue")
        Ip: Scalar = state(5.5043, "pmol/kg", "insulin in plasma")
        X: Scalar = state(0.0, "pmol/L", "insulin action on uptake, beyond that at rest")
        I1: Scalar = state(100.25, "pmol/L", "insulin on its way to act on endogenous production")
        Id: Scalar = state(100.25, "pmol/L", "insulin that acts on endogenous production")
        Il: Scalar = state(3.2076, "pmol/kg", "insulin in the liver")
        Isc1: Scalar = state(72.434, "pmol/kg", "nonmonomeric insulin under the skin")
        Isc2: Scalar = state(141.154, "pmol/kg", "monomeric insulin under the skin")
        Gs: Scalar = state(265.37, "mg/kg", "glucose under the skin, as in plasma")
        emptied: Scalar = state(0.0, "mg", "glucose that has left the stomach since the meal began")
        recent: Scalar = state(0.0, "g", "carbohydrate eaten lately")

    class In(Vars):
        meal: Scalar = port("g/min", "carbohydrate eaten", kind="flow")
        insulin: Scalar = port("U/min", "insulin under the skin beyond the basal rate", kind="flow")
        insulin_iv: Scalar = port("U/min", "insulin into a vein", kind="flow")
        glucose_iv: Scalar = port("g/min", "glucose into a vein", kind="flow")
        basal_factor: Scalar = port("1", "basal rate over the one that holds Gb", default=1.0)
        sensitivity_factor: Scalar = port("1", "insulin sensitivity over the twin's own", default=1.0)
        production_factor: Scalar = port("1", "endogenous production over what it would be", default=1.0)

    class Out(Vars):
        glucose: Scalar = port("mg/dL", "plasma glucose")
        glucose_mmol: Scalar = port("mmol/L", "plasma glucose")
        sensor_glucose: Scalar = port("mg/dL", "glucose under the skin, as a sensor without error reads it")
        plasma_insulin: Scalar = port("uU/mL", "plasma insulin")
        plasma_insulin_pmol: Scalar = port("pmol/L", "plasma insulin")
        appearance: Scalar = port("mg/min", "glucose that appears from meals")
        production: Scalar = port("mg/min", "endogenous production of glucose")
        uptake: Scalar = port("mg/min", "glucose that tissues use")
        excretion: Scalar = port("mg/min", "glucose lost with urine")
        gut: Scalar = port("g", "carbohydrate in stomach and gut")
        meal_size: Scalar = port("g", "carbohydrate of the present or last meal, with what was in the stomach")
        basal_insulin: Scalar = port("U/min", "basal insulin, as infused")

    class Events(Vars):
        meal_begins: Scalar = event("g", "carbohydrate eaten lately rises above a bite", direction="rising")

    @classmethod
    def adults(cls) -> Twins:
        """The virtual patients adult#001 to adult#005 of simglucose (Xie 2018).

        Clearance of adult#004 is what the listed m2 and m4 say, 5 % below the one listed.
        """
        return Twins.read(cls, _PATIENTS)

    def _excretion(self, Gp: Scalar) -> Scalar:
        return self.ke1 * jnp.maximum(Gp - self.ke2, 0.0)

    def _clearances(self) -> tuple[Scalar, Scalar, Scalar]:
        """m2, m3 and m4 (Dalla Man et al. 2007, with a liver that always extracts the same share)."""
        k = self.CL / (self.Vi * self.BW)
        return 0.6 * k / self.HEb, self.m1 * self.HEb / (1.0 - self.HEb), 0.4 * k

    def rest(self) -> Rest:
        """The steady state at the basal rate, in closed form."""
        m2, m3, m4 = self._clearances()
        Gp, Ip = self.Gb * self.Vg, self.Ib * self.Vi
        disposed = self.EGPb - self.Fsnc - self._excretion(Gp)
        Gt = (self.k1 * Gp - disposed) / self.k2
        Il = m2 * Ip / (self.m1 + m3)
        rate = (m2 + m4) * Ip - self.m1 * Il
        Isc1 = rate / (self.kd + self.ka1)
        return Rest(
            Gp=Gp,
            Gt=Gt,
            Ip=Ip,
            Il=Il,
            Isc1=Isc1,
            Isc2=self.kd * Isc1 / self.ka2,
            Vm0=disposed * (self.Km0 + Gt) / Gt,
            kp1=self.EGPb + self.kp2 * Gp + self.kp3 * self.Ib,
            infusion=rate * self.BW / constant(6000.0, "pmol/U"),
        )

    def initial(self) -> State:
        rest = self.rest()
        return self.State(
            Qsto1=0.0,
            Qsto2=0.0,
            Qgut=0.0,
            Gp=rest.Gp,
            Gt=rest.Gt,
            Ip=rest.Ip,
            X=0.0,
            I1=self.Ib,
            Id=self.Ib,
            Il=rest.Il,
            Isc1=rest.Isc1,
            Isc2=rest.Isc2,
            Gs=rest.Gp,
            emptied=0.0,
            recent=0.0,
        )

    def _emptying(self, x: State) -> Scalar:
        """Rate at which the stomach empties, mg/min."""
        held = x.Qsto1 + x.Qsto2
        q = held / jnp.maximum(held + x.emptied, constant(1.0, "mg"))
        slows, speeds = jnp.tanh(2.5 * (q - self.b) / (1.0 - self.b)), jnp.tanh(2.5 * (q - self.d) / self.d)
        return (self.kmin + (self.kmax - self.kmin) / 2.0 * (slows - speeds + 2.0)) * x.Qsto2

    def _fluxes(self, x: State, u: In) -> tuple[Scalar, Scalar, Scalar]:
        """Endogenous production, and uptake without and with insulin, mg/(kg min)."""
        rest, s = self.rest(), u.sensitivity_factor
        production = u.production_factor * jnp.maximum(rest.kp1 - self.kp2 * x.Gp - self.kp3 * s * x.Id, 0.0)
        independent = self.Fsnc * jnp.minimum(x.Gp / (constant(10.0, "mg/dL") * self.Vg), 1.0)
        fastest = jnp.maximum(rest.Vm0 + self.Vmx * (s * (x.X + self.Ib) - self.Ib), 0.0)
        return production, independent, fastest * x.Gt / (self.Km0 + jnp.maximum(x.Gt, 0.0))

    def rates(self, t: Scalar, x: State, u: In) -> State:
        mg, pmol = constant(1000.0, "mg/g"), constant(6000.0, "pmol/U")
        m2, m3, m4 = self._clearances()
        emptying = self._emptying(x)
        absorbed = self.kabs * x.Qgut
        production, independent, dependent = self._fluxes(x, u)
        exchange = self.k1 * x.Gp - self.k2 * x.Gt
        entering = (self.f * absorbed + mg * u.glucose_iv) / self.BW
        infusion = pmol * (u.basal_factor * self.rest().infusion + u.insulin) / self.BW
        I = x.Ip / self.Vi
        return self.State(
            Qsto1=mg * u.meal - self.kmax * x.Qsto1,
            Qsto2=self.kmax * x.Qsto1 - emptying,
            Qgut=emptying - absorbed,
            Gp=production + entering - independent - self._excretion(x.Gp) - exchange,
            Gt=exchange - dependent,
            Ip=self.m1 * x.Il
            - (m2 + m4) * x.Ip
            + self.ka1 * x.Isc1
            + self.ka2 * x.Isc2
            + pmol * u.insulin_iv / self.BW,
            X=self.p2u * (I - self.Ib - x.X),
            I1=self.ki * (I - x.I1),
            Id=self.ki * (x.I1 - x.Id),
            Il=m2 * x.Ip - (self.m1 + m3) * x.Il,
            Isc1=infusion - (self.kd + self.ka1) * x.Isc1,
            Isc2=self.kd * x.Isc1 - self.ka2 * x.Isc2,
            Gs=self.ksc * (x.Gp - x.Gs),
            emptied=emptying,
            recent=u.meal - x.recent / self.pause,
        )

    def crossings(self, t: Scalar, x: State, u: In) -> Events:
        return self.Events(meal_begins=x.recent - self.bite)

    def after(self, event: str, t: Scalar, x: State, u: In) -> State:
        return dataclasses.replace(x, emptied=0.0)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        glucose, I = x.Gp / self.Vg, x.Ip / self.Vi
        production, independent, dependent = self._fluxes(x, u)
        g = constant(0.001, "g/mg")
        held = x.Qsto1 + x.Qsto2
        return self.Out(
            glucose=glucose,
            glucose_mmol=glucose * constant(10.0 / 180.16, "mmol*dL/(mg*L)"),
            sensor_glucose=x.Gs / self.Vg,
            plasma_insulin=I * constant(1.0 / 6.0, "uU*L/(mL*pmol)"),
            plasma_insulin_pmol=I,
            appearance=self.f * self.kabs * x.Qgut,
            production=production * self.BW,
            uptake=(independent + dependent) * self.BW,
            excretion=self._excretion(x.Gp) * self.BW,
            gut=g * (held + x.Qgut),
            meal_size=g * (held + x.emptied),
            basal_insulin=u.basal_factor * self.rest().infusion,
        )
