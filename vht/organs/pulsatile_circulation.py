"""Heart and vessels that other organs steer: the pulsating heart and the two circulations of Ursino 1998."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Normal, Organ, Scalar, Vars, constant, param, port, quantity, state, states

_SOURCE = "ursino1998heart"
_VESSELS = "ursino1998heart, table of the vascular system"
_HEART = "ursino1998heart, table of the heart"
_TILT = "heldt2002, lower limbs in head-up tilt"
_PI = 3.141592653589793
_DEGREES = 180.0 / _PI
# beyond this exponent a ventricle's passive pressure, by then 1e8 times P0, goes on as a straight line: nothing overflows
_STEEPEST = 20.0


def _compliance(value: float, vessel: str) -> Any:
    prior = LogNormal(value, 0.15)
    return param(value, "mL/mmHg", f"compliance, {vessel}", bounds=(value / 5, value * 5), prior=prior, source=_VESSELS)


def _resistance(value: float, vessel: str) -> Any:
    prior = LogNormal(value, 0.15)
    return param(
        value, "mmHg*s/mL", f"resistance, {vessel}", bounds=(value / 5, value * 5), prior=prior, source=_VESSELS
    )


def _inertance(value: float, vessel: str) -> Any:
    meaning = f"inertance, {vessel}; 0 switches it off"
    return param(value, "mmHg*s^2/mL", meaning, bounds=(0.0, value * 20), source=_VESSELS)


def _unstressed(value: float, place: str, source: str = _VESSELS) -> Any:
    meaning = f"unstressed volume, {place}"
    return param(value, "mL", meaning, bounds=(value / 2 - 10.0, value * 2 + 10.0), source=source)


def _valve(value: float, valve: str) -> Any:
    return param(value, "mmHg*s/mL", f"resistance of the open {valve} valve", bounds=(5e-4, 0.1), source=_HEART)


def _passive_scale(value: float, ventricle: str) -> Any:
    meaning = f"P0 of the end-diastolic pressure P0 (exp(kE V) - 1), {ventricle}"
    return param(value, "mmHg", meaning, bounds=(0.3, 6.0), prior=LogNormal(value, 0.15), source=_HEART)


def _passive_slope(value: float, ventricle: str) -> Any:
    meaning = f"kE of the end-diastolic pressure P0 (exp(kE V) - 1), {ventricle}"
    return param(value, "1/mL", meaning, bounds=(0.004, 0.04), prior=LogNormal(value, 0.08), source=_HEART)


def _viscosity(value: float, ventricle: str) -> Any:
    meaning = f"share of the isovolumic pressure that a unit of outflow costs, {ventricle}"
    return param(value, "s/mL", meaning, bounds=(value / 10, value * 5), source=_HEART)


class PulsatileCirculation(Organ):
    r"""Pulsating heart and closed circulation after Ursino 1998, with ports through which reflexes and lungs act (18 states).

    Systemic arteries (compliance, resistance, inertance), splanchnic and extrasplanchnic beds (one peripheral compliance at
    a common pressure, then a vein each), right heart, pulmonary arteries (with inertance), periphery and veins, left heart.
    Every compartment holds a volume, :math:`p = (V - V_u)/C`, so that a change of an unstressed volume moves blood and makes
    none. An atrium is a compliance. A ventricle has the isovolumic pressure

    .. math::
        p_{max} = \varphi\,E_{max}(V - V_u) + (1 - \varphi)\,P_0\,(e^{k_E V} - 1), \qquad
        \varphi = \begin{cases}\sin^2(\pi\,T u/T_{sys}) & u \le T_{sys}/T\\ 0 & \text{else}\end{cases}, \qquad
        T_{sys} = T_{sys,0} - k_{sys}/T

    where :math:`u` is the fraction of :math:`\xi`, :math:`\xi' = 1/T`, so that the heart period may change at any time. It
    ejects through a viscous resistance :math:`k_R\,p_{max}`, whereby :math:`p = p_{max}\,(1 - k_R Q)`, and fills through a
    valve of constant resistance from its atrium; valves let nothing back.

    **Ports.** Inputs are heart period, end-systolic elastances, peripheral resistances and unstressed volumes of the
    systemic veins (basal values of the paper by default; `Baroreflex` drives them all), infusion or, negative, bleeding
    (into the splanchnic veins, where the paper's balance of volume puts it), intrathoracic pressure and the angle of a tilt
    table. Outputs are pressures, flows, and running means (first order, time constant `tau_mean`) for slower organs.

    **Beyond the paper.** *Intrathoracic pressure* surrounds heart and pulmonary vessels, relative to `P_it_ref`, at which
    the paper's values hold; the paper has no thoracic veins, and none are added, so veins do not collapse at the thorax.
    *Head-up tilt* after Heldt et al. 2002: transmural pressure rises by `P_leg` times the sine of the angle in a venous
    compliance `C_leg` that saturates at `V_leg`; the pooled volume works as an unstressed volume of the extrasplanchnic
    veins (which a hydrostatic column in a compliance is), reached with time constant `tau_pool`. It is counted from no
    pressure, which at 60 degrees is some 50 mL more than from the 5 mmHg of that vein. `p_cs` is the arterial pressure less the
    column up to the carotid sinus. Heldt's 7 mmHg in splanchnic veins are off by default (`P_abdomen` 0): there a
    cardiopulmonary reflex makes up for them, which Ursino's model has not. No fluid leaves for the tissue.
    *Hostile inputs*: the heart period is at least `T_min`, peripheral resistances are at least 0.01 mmHg s/mL, systole
    lasts between 5 and 100 % of the period, and the viscous resistance is at least that of 5 mmHg, without which an empty
    heart is stiff. Vessels are linear down to negative pressures, as in the paper: after great losses of blood pressures are
    too low.

    *Inertances* have states of their own, `Q_sa` and `Q_pa`. At `L_sa` or `L_pa` = 0 the flow follows pressures at once; the
    state then lags it by 10 ms, and nothing reads it.

    **Values** are the paper's as public reimplementations give them; the paper's text was not at hand. Each stands in two
    or more of them, and the equations agree with one that follows the paper's by their numbers. Where they differ, most decide:
    123 mL in the pulmonary periphery (one has 223), kR of the right ventricle 1.4e-3 (one has 1.4e-4), R_sp 3.307 (one has
    1.307). With these the loop closed by `Baroreflex` rests at the paper's basal elastances, resistances and unstressed
    volumes within 0.4 %. The default heart period is the one at which that loop rests. Bounds and priors are this library's;
    a prior describes no measured population.

    The default twin ejects 76 of 133 mL 71 times a minute, 5.4 L/min, at 131/88 mmHg (mean 100), with 5 mmHg in the right
    atrium, 8 in the left and 19 in the pulmonary artery (healthy people: 14, up to 20.6). Phase grows by 1 a beat, so
    `periodic_state` does not apply; half a minute of simulation settles what is changed, a minute and a half with reflex.

    Verified against the paper's equations in his variables (pressures; the splanchnic veins hold what blood is nowhere else),
    solved by SciPy while all inputs change: every pressure, flow and volume within 1e-8 of its range. Blood is what was there
    and what came in, to 1e-14. Paced with the reflex at work, output rises by a fifth from 50 to 70 beats a minute and by 2 %
    from 150 to 170 (the paper: it ceases to rise). Without a reflex 10 mmHg more around the heart take 59 % of its output,
    4 mmHg less add 15 %. Inertance 0 is the limit of little.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    C_sa: Scalar = _compliance(0.28, "systemic arteries")
    C_sp: Scalar = _compliance(2.05, "splanchnic periphery")
    C_ep: Scalar = _compliance(1.67, "extrasplanchnic periphery")
    C_sv: Scalar = _compliance(61.11, "splanchnic veins")
    C_ev: Scalar = _compliance(50.0, "extrasplanchnic veins")
    C_pa: Scalar = _compliance(0.76, "pulmonary arteries")
    C_pp: Scalar = _compliance(5.8, "pulmonary periphery")
    C_pv: Scalar = _compliance(25.37, "pulmonary veins")
    V_usa: Scalar = _unstressed(0.0, "systemic arteries")
    V_usp: Scalar = _unstressed(274.4, "splanchnic periphery")
    V_uep: Scalar = _unstressed(336.6, "extrasplanchnic periphery")
    V_upa: Scalar = _unstressed(0.0, "pulmonary arteries")
    V_upp: Scalar = _unstressed(123.0, "pulmonary periphery")
    V_upv: Scalar = _unstressed(120.0, "pulmonary veins")
    R_sa: Scalar = _resistance(0.06, "systemic arteries")
    R_sv: Scalar = _resistance(0.038, "splanchnic veins")
    R_ev: Scalar = _resistance(0.016, "extrasplanchnic veins")
    R_pa: Scalar = _resistance(0.023, "pulmonary arteries")
    R_pp: Scalar = _resistance(0.0894, "pulmonary periphery")
    R_pv: Scalar = _resistance(0.0056, "pulmonary veins")
    L_sa: Scalar = _inertance(0.22e-3, "systemic arteries")
    L_pa: Scalar = _inertance(0.18e-3, "pulmonary arteries")
    V_total: Scalar = param(
        5300.0,
        "mL",
        "blood at time 0; what the other compartments do not hold then is in the splanchnic veins",
        # with less, the splanchnic veins would begin with less than none
        bounds=(4000.0, 8000.0),
        prior=LogNormal(5300.0, 0.03),
        source=_VESSELS,
    )

    C_la: Scalar = _compliance(19.23, "left atrium")
    C_ra: Scalar = _compliance(31.25, "right atrium")
    V_ula: Scalar = _unstressed(25.0, "left atrium", _HEART)
    V_ura: Scalar = _unstressed(25.0, "right atrium", _HEART)
    V_ulv: Scalar = _unstressed(16.77, "left ventricle", _HEART)
    V_urv: Scalar = _unstressed(40.8, "right ventricle", _HEART)
    R_la: Scalar = _valve(2.5e-3, "mitral")
    R_ra: Scalar = _valve(2.5e-3, "tricuspid")
    P0_lv: Scalar = _passive_scale(1.5, "left ventricle")
    P0_rv: Scalar = _passive_scale(1.5, "right ventricle")
    kE_lv: Scalar = _passive_slope(0.014, "left ventricle")
    kE_rv: Scalar = _passive_slope(0.011, "right ventricle")
    kR_lv: Scalar = _viscosity(3.75e-4, "left ventricle")
    kR_rv: Scalar = _viscosity(1.4e-3, "right ventricle")
    T_sys0: Scalar = param(
        0.5,
        "s",
        "duration of systole at a very low heart rate",
        bounds=(0.3, 0.7),
        prior=Normal(0.5, 0.02),
        source=_HEART,
    )
    k_sys: Scalar = param(0.075, "s^2", "shortening of systole with the heart rate", bounds=(0.02, 0.15), source=_HEART)
    T_min: Scalar = param(
        0.3,
        "s",
        "shortest heart period; shorter ones are taken for it",
        bounds=(0.2, 0.5),
        source="guard of this library: 200 beats a minute, about the most a young adult reaches",
    )

    P_it_ref: Scalar = param(
        -4.0,
        "mmHg",
        "intrathoracic pressure at which the pressures of the paper hold",
        bounds=(-10.0, 5.0),
        source="heldt2002: -4 mmHg at the end of expiration; the paper leaves it out",
    )
    P_leg: Scalar = param(40.0, "mmHg", "hydrostatic pressure in leg veins, upright", bounds=(0.0, 100.0), source=_TILT)
    C_leg: Scalar = param(19.0, "mL/mmHg", "compliance of leg veins", bounds=(1.0, 60.0), source=_TILT)
    V_leg: Scalar = param(1000.0, "mL", "most that leg veins take up", bounds=(200.0, 3000.0), source=_TILT)
    P_abdomen: Scalar = param(
        0.0,
        "mmHg",
        "hydrostatic pressure in splanchnic veins, upright",
        bounds=(0.0, 15.0),
        source="heldt2002: 7 mmHg, with a cardiopulmonary reflex that makes up for it; without that reflex 0",
    )
    tau_pool: Scalar = param(
        10.0,
        "s",
        "time constant of venous pooling after a tilt",
        bounds=(1.0, 120.0),
        source="vanheusden2006: pooling over some tens of seconds; the value is this library's",
    )
    h_cs: Scalar = param(
        20.0,
        "cm",
        "height of the carotid sinus above the heart, upright",
        bounds=(0.0, 40.0),
        source="anatomical estimate of this library for an adult of 1.7 m",
    )
    tau_mean: Scalar = param(
        10.0, "s", "time constant of running means", bounds=(1.0, 600.0), source="choice of this library"
    )

    class State(Vars):
        V_sa: Scalar = state(24.9881, "mL", "blood in the systemic arteries")
        Q_sa: Scalar = state(5.9043, "mL/s", "flow out of the systemic arteries")
        V_p: Scalar = state(941.6683, "mL", "blood in the systemic periphery, splanchnic and extrasplanchnic")
        V_sv: Scalar = state(1487.9315, "mL", "blood in the splanchnic veins")
        V_ev: Scalar = state(1672.3748, "mL", "blood in the extrasplanchnic veins")
        V_ra: Scalar = state(183.664, "mL", "volume of the right atrium")
        V_rv: Scalar = state(133.4877, "mL", "volume of the right ventricle")
        V_pa: Scalar = state(10.1276, "mL", "blood in the pulmonary arteries")
        Q_pa: Scalar = state(6.449, "mL/s", "flow out of the pulmonary arteries")
        V_pp: Scalar = state(199.4418, "mL", "blood in the pulmonary periphery")
        V_pv: Scalar = state(331.6947, "mL", "blood in the pulmonary veins")
        V_la: Scalar = state(181.8071, "mL", "volume of the left atrium")
        V_lv: Scalar = state(132.8143, "mL", "volume of the left ventricle")
        xi: Scalar = state(0.0, "1", "beats since time 0; a ventricle begins to contract at whole numbers")
        upright: Scalar = state(0.0, "1", "sine of the tilt to which veins have filled")
        p_sa_mean: Scalar = state(100.0945, "mmHg", "running mean of the arterial pressure")
        p_ra_mean: Scalar = state(5.004, "mmHg", "running mean of the right atrial pressure")
        Q_mean: Scalar = state(87.4589, "mL/s", "running mean of the flow through the aortic valve")

    class In(Vars):
        T: Scalar = port("s", "heart period", default=0.846)
        E_lv: Scalar = port("mmHg/mL", "end-systolic elastance of the left ventricle", default=2.95)
        E_rv: Scalar = port("mmHg/mL", "end-systolic elastance of the right ventricle", default=1.75)
        R_sp: Scalar = port("mmHg*s/mL", "resistance of the splanchnic periphery", default=3.307)
        R_ep: Scalar = port("mmHg*s/mL", "resistance of the extrasplanchnic periphery", default=1.407)
        V_usv: Scalar = port("mL", "unstressed volume of the splanchnic veins", default=1121.0)
        V_uev: Scalar = port("mL", "unstressed volume of the extrasplanchnic veins", default=1375.0)
        infusion: Scalar = port("mL/s", "blood into the systemic veins; negative: bleeding", kind="flow")
        P_it: Scalar = port("mmHg", "intrathoracic pressure", default=-4.0)
        tilt: Scalar = port("deg", "angle of the body from lying, head up", default=0.0)

    class Out(Vars):
        p_sa: Scalar = port("mmHg", "systemic arterial pressure, at the heart")
        p_cs: Scalar = port("mmHg", "arterial pressure at the carotid sinus")
        p_sp: Scalar = port("mmHg", "pressure in the systemic periphery")
        p_sv: Scalar = port("mmHg", "pressure in the splanchnic veins")
        p_ev: Scalar = port("mmHg", "pressure in the extrasplanchnic veins")
        p_ra: Scalar = port("mmHg", "pressure in the right atrium: central venous pressure")
        p_rv: Scalar = port("mmHg", "pressure in the right ventricle")
        p_pa: Scalar = port("mmHg", "pulmonary arterial pressure")
        p_pp: Scalar = port("mmHg", "pressure in the pulmonary periphery")
        p_pv: Scalar = port("mmHg", "pressure in the pulmonary veins")
        p_la: Scalar = port("mmHg", "pressure in the left atrium")
        p_lv: Scalar = port("mmHg", "pressure in the left ventricle")
        Q_mv: Scalar = port("mL/s", "flow through the mitral valve", kind="flow")
        Q_av: Scalar = port("mL/s", "flow through the aortic valve: cardiac output at this instant", kind="flow")
        Q_tv: Scalar = port("mL/s", "flow through the tricuspid valve", kind="flow")
        Q_pul: Scalar = port("mL/s", "flow through the pulmonary valve", kind="flow")
        Q_sp: Scalar = port("mL/s", "flow through the splanchnic periphery", kind="flow")
        Q_ep: Scalar = port("mL/s", "flow through the extrasplanchnic periphery", kind="flow")
        Q_vr: Scalar = port("mL/s", "venous return to the right atrium", kind="flow")
        Q_pp: Scalar = port("mL/s", "flow through the pulmonary periphery", kind="flow")
        HR: Scalar = port("1/min", "heart rate")
        MAP: Scalar = port("mmHg", "mean arterial pressure, running")
        CVP: Scalar = port("mmHg", "mean central venous pressure, running")
        CO: Scalar = port("L/min", "cardiac output, running mean")
        V_blood: Scalar = port("mL", "all blood")

    class Conserved(Vars):
        V_blood: Scalar = quantity("mL", "all blood")

    def initial(self) -> State:
        rest = {name: constant(v.default or 0.0, v.unit) for name, v in states(PulsatileCirculation).items()}
        start = self.State(**rest)
        elsewhere = self.conserved(start).V_blood - start.V_sv
        return dataclasses.replace(start, V_sv=self.V_total - elsewhere)

    def conserved(self, x: State) -> Conserved:
        systemic = x.V_sa + x.V_p + x.V_sv + x.V_ev
        pulmonary = x.V_pa + x.V_pp + x.V_pv
        return self.Conserved(V_blood=systemic + pulmonary + x.V_ra + x.V_rv + x.V_la + x.V_lv)

    def _period(self, u: In) -> Scalar:
        return jnp.maximum(u.T, self.T_min)

    def _activation(self, x: State, u: In) -> Scalar:
        T = self._period(u)
        systole = jnp.clip((self.T_sys0 - self.k_sys / T) / T, 0.05, 1.0)
        # at its end the sine is 0, and stays so
        phase = jnp.minimum((x.xi - jnp.floor(x.xi)) / systole, 1.0)
        return jnp.sin(_PI * phase) ** 2

    @staticmethod
    def _passive(V: Scalar, P0: Scalar, kE: Scalar) -> Scalar:
        exponent = kE * V
        beyond = jnp.maximum(exponent - _STEEPEST, 0.0)
        return P0 * (jnp.exp(jnp.minimum(exponent, _STEEPEST)) * (1.0 + beyond) - 1.0)

    @staticmethod
    def _outflow(p_max: Scalar, outside: Scalar, artery: Scalar, kR: Scalar) -> Scalar:
        # p_max of an open valve is above the arterial pressure; the least resistance is for a circulation that is all but empty
        return jnp.maximum(p_max + outside - artery, 0.0) / (kR * jnp.maximum(p_max, constant(5.0, "mmHg")))

    def _flow(self, Q: Scalar, drop: Scalar, R: Scalar, L: Scalar) -> Scalar:
        return jnp.where(L > 0.0, Q, drop / R)

    def _acceleration(self, Q: Scalar, drop: Scalar, R: Scalar, L: Scalar) -> Scalar:
        inert = (drop - R * Q) / jnp.where(L > 0.0, L, constant(1.0, "mmHg*s^2/mL"))
        return jnp.where(L > 0.0, inert, (drop / R - Q) / constant(0.01, "s"))

    def _upright(self, u: In) -> Scalar:
        return jnp.sin(u.tilt / constant(_DEGREES, "deg"))

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        outside = u.P_it - self.P_it_ref
        column = self.P_leg * x.upright
        reach = self.V_leg * 2.0 / _PI
        legs = reach * jnp.arctan(self.C_leg * column / reach)
        abdomen = self.C_sv * self.P_abdomen * x.upright

        p_sa = (x.V_sa - self.V_usa) / self.C_sa
        p_sp = (x.V_p - self.V_usp - self.V_uep) / (self.C_sp + self.C_ep)
        p_sv = (x.V_sv - u.V_usv - abdomen) / self.C_sv
        p_ev = (x.V_ev - u.V_uev - legs) / self.C_ev
        p_ra = (x.V_ra - self.V_ura) / self.C_ra + outside
        p_pa = (x.V_pa - self.V_upa) / self.C_pa + outside
        p_pp = (x.V_pp - self.V_upp) / self.C_pp + outside
        p_pv = (x.V_pv - self.V_upv) / self.C_pv + outside
        p_la = (x.V_la - self.V_ula) / self.C_la + outside

        phi = self._activation(x, u)
        left = phi * u.E_lv * (x.V_lv - self.V_ulv) + (1.0 - phi) * self._passive(x.V_lv, self.P0_lv, self.kE_lv)
        right = phi * u.E_rv * (x.V_rv - self.V_urv) + (1.0 - phi) * self._passive(x.V_rv, self.P0_rv, self.kE_rv)
        Q_av = self._outflow(left, outside, p_sa, self.kR_lv)
        Q_pul = self._outflow(right, outside, p_pa, self.kR_rv)
        # a ventricle that ejects has the pressure of its artery
        p_lv = jnp.minimum(left + outside, p_sa)
        p_rv = jnp.minimum(right + outside, p_pa)

        least = constant(0.01, "mmHg*s/mL")
        return self.Out(
            p_sa=p_sa,
            p_cs=p_sa - constant(0.7797, "mmHg/cm") * self.h_cs * self._upright(u),
            p_sp=p_sp,
            p_sv=p_sv,
            p_ev=p_ev,
            p_ra=p_ra,
            p_rv=p_rv,
            p_pa=p_pa,
            p_pp=p_pp,
            p_pv=p_pv,
            p_la=p_la,
            p_lv=p_lv,
            Q_mv=jnp.maximum(p_la - p_lv, 0.0) / self.R_la,
            Q_av=Q_av,
            Q_tv=jnp.maximum(p_ra - p_rv, 0.0) / self.R_ra,
            Q_pul=Q_pul,
            Q_sp=(p_sp - p_sv) / jnp.maximum(u.R_sp, least),
            Q_ep=(p_sp - p_ev) / jnp.maximum(u.R_ep, least),
            Q_vr=(p_sv - p_ra) / self.R_sv + (p_ev - p_ra) / self.R_ev,
            Q_pp=(p_pp - p_pv) / self.R_pp,
            HR=constant(60.0, "s/min") / self._period(u),
            MAP=x.p_sa_mean,
            CVP=x.p_ra_mean,
            CO=constant(0.06, "L*s/(mL*min)") * x.Q_mean,
            V_blood=self.conserved(x).V_blood,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        Q_sa = self._flow(x.Q_sa, y.p_sa - y.p_sp, self.R_sa, self.L_sa)
        Q_pa = self._flow(x.Q_pa, y.p_pa - y.p_pp, self.R_pa, self.L_pa)
        Q_sv = (y.p_sv - y.p_ra) / self.R_sv
        Q_ev = (y.p_ev - y.p_ra) / self.R_ev
        Q_pv = (y.p_pv - y.p_la) / self.R_pv
        return self.State(
            V_sa=y.Q_av - Q_sa,
            Q_sa=self._acceleration(x.Q_sa, y.p_sa - y.p_sp, self.R_sa, self.L_sa),
            V_p=Q_sa - y.Q_sp - y.Q_ep,
            V_sv=y.Q_sp - Q_sv + u.infusion,
            V_ev=y.Q_ep - Q_ev,
            V_ra=Q_sv + Q_ev - y.Q_tv,
            V_rv=y.Q_tv - y.Q_pul,
            V_pa=y.Q_pul - Q_pa,
            Q_pa=self._acceleration(x.Q_pa, y.p_pa - y.p_pp, self.R_pa, self.L_pa),
            V_pp=Q_pa - y.Q_pp,
            V_pv=y.Q_pp - Q_pv,
            V_la=Q_pv - y.Q_mv,
            V_lv=y.Q_mv - y.Q_av,
            xi=1.0 / self._period(u),
            upright=(self._upright(u) - x.upright) / self.tau_pool,
            p_sa_mean=(y.p_sa - x.p_sa_mean) / self.tau_mean,
            p_ra_mean=(y.p_ra - x.p_ra_mean) / self.tau_mean,
            Q_mean=(y.Q_av - x.Q_mean) / self.tau_mean,
        )
