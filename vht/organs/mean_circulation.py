"""Heart and vessels averaged over the heart beat: the closed loop of `circulation` for hours to months."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, quantity, state
from vht.model.constant import constant
from vht.organs.regazzoni import PROGRAM, SOURCE, compliance, duration, elastance, onset, resistance, unstressed

_PULSATILE = "what the pulsatile model (regazzoni2022) does at its defaults, where valves open and close by themselves"
_PI = 3.141592653589793
# instants at which the pressure of an atrium is taken, in either part of the beat
_INSTANTS = 4


class _Contraction(NamedTuple):
    """How far the atria are contracted: at the end of diastole, and by instants, shares of the period."""

    at_end: Scalar
    closed: list[tuple[Scalar, Scalar]]  # while the ventricles are closed to them
    open: list[tuple[Scalar, Scalar]]


class _Side(NamedTuple):
    """One side of the heart over a beat. Volumes are above those at zero pressure."""

    stroke: Scalar  # stroke volume
    filled: Scalar  # end-diastolic volume of the ventricle
    p_es: Scalar  # end-systolic pressure
    p_ed: Scalar  # pressure in the artery at the end of diastole
    inflow: Scalar  # into the atrium, averaged over the beat
    p_atrium: Scalar  # averaged over the beat


class Rest(NamedTuple):
    """Where a circulation begins: pressures in mmHg, blood in either side of the heart in mL."""

    p_AR_SYS: float
    p_AR_PUL: float
    p_VEN_PUL: float
    V_LH: float
    V_RH: float


class MeanCirculation(Organ):
    r"""Closed-loop circulation averaged over the heart beat: `Circulation` (Regazzoni et al. 2022) without pulse (6 states).

    Averaged over a beat, a vessel is a compliance and a resistance between mean pressures, exactly; inertances average out.
    What remains is how much a side of the heart pumps, and at which atrial pressure, given the blood :math:`V_H` in it and
    the pressure in its artery, both averaged over the beat. Five steps give it, all linear and solved by hand. Volumes of
    chambers are above those at zero pressure, T is the heart period, times are shares of it from the ventricles' onset:

    1. The ventricle ends its ejection at the largest elastance, :math:`p_{es} = (E_A + E_B)\,V_{es}`. The arterial
       pressure is :math:`p_{es}` while the ventricle ejects, for :math:`t_s`, and then falls towards that of the veins with
       :math:`\tau = RC` (Sunagawa et al. 1983, 1985), so that with the mean pressures p

       .. math:: p_{es} = p_{veins} + (p_{artery} - p_{veins}) \frac{T}{t_s + \tau (1 - e^{-(T - t_s)/\tau})}.

    2. At the end of diastole atrium and ventricle share their blood X as their elastances then have it, less the pressure
       that drives the mean flow through the valve; with what the time for filling leaves undone (as in Kappel and Peer 1993):

       .. math:: V_{ed} = V_{es} + (1 - e^{-t_f/\tau_f}) \Bigl(\frac{e_a X - R_{min}\,SV/T}{e_a + E_B} - V_{es}\Bigr),
                 \qquad \tau_f = \frac{R_{min}}{e_a + E_B}.

    3. :math:`SV = V_{ed} - V_{es}`, never below 0.
    4. The blood at the end of diastole is its mean over the beat and what has been ejected on average, at a third of
       ejection: :math:`X = V_H + SV (\tfrac12 - t_{ej})`.
    5. The pressure in the atrium is averaged over instants of the beat, the atrium alone while the ventricle is closed to
       it, both sharing their blood afterwards. It is linear in the flow into the atrium, which thus is known too.

    Parameters have the names, units and defaults of `Circulation`. New are the two instants of valves, `IVC` and `IVR`, that
    a beat would find by itself, the unstressed volume of the veins `V0_VEN_SYS` (a pulsatile model need not know it), and
    `V_blood`, all the blood at time 0. Systole takes the same share of every period, as there. Pressures are relative to the
    atmosphere; no vessel collapses, so that less blood than fills the unstressed volumes has a negative one. The default
    initial state is at rest.

    Time is in minutes, as in models of the kidney; periods and resistances stay in seconds. Pressures settle within seconds,
    so that `Rodas5P`, not an explicit method, is for days.

    Inputs act as if absent unless driven: `inflow` (kidney, infusion, bleeding), factors of systemic resistance,
    contractility (what contraction adds to the elastance of both ventricles) and heart rate, and a change of the veins'
    unstressed volume.

    Verified against beat averages of `Circulation` with the same blood: mean pressures and flow within 1 % at the defaults,
    median within 1 % in 64 twins with a spread of 20 % in every resistance, compliance, elastance and in the period, and
    within 3 % (flow, arterial pressure) and 8 % (right atrial pressure) from heart rate 45 to 144, contractility 30 to
    200 %, systemic resistance 40 to 200 %. `p_ES` lies 3 % below systolic pressure, `p_DIA` 2 % below diastolic. Where it
    does not hold: atria that have relaxed before the ventricles contract (with `tC_A` 0.6 flow is 8 % too low, atrial
    pressures 20 % too high), since the valve is taken to be open until then; and narrow valves (with `Rmin` 0.1 flow is
    5 % too high).
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = SOURCE
    # of the default twin
    rest: ClassVar[Rest] = Rest(102.465830, 37.642164, 22.901699, 170.273987, 195.075082)

    T_HB: Scalar = param(
        60.0 / 72.0,
        "s",
        "heart period, from beat to beat",
        bounds=(0.3, 2.0),
        prior=LogNormal(60.0 / 72.0, 0.15),
        source=PROGRAM,
    )
    tC_A: Scalar = onset(0.80, "onset of atrial contraction, share of the period")
    TC_A: Scalar = duration(0.17, "duration of atrial contraction, share of the period")
    TR_A: Scalar = duration(0.17, "duration of atrial relaxation, share of the period")
    tC_V: Scalar = onset(0.0, "onset of ventricular contraction, share of the period")
    TC_V: Scalar = duration(0.34, "duration of ventricular contraction, share of the period")
    TR_V: Scalar = duration(0.17, "duration of ventricular relaxation, share of the period")
    IVC: Scalar = param(0.35, "1", "isovolumic share of ventricular contraction", bounds=(0.05, 0.9), source=_PULSATILE)
    IVR: Scalar = param(0.86, "1", "isovolumic share of ventricular relaxation", bounds=(0.3, 1.0), source=_PULSATILE)

    EA_LA: Scalar = elastance(0.07, "elastance that contraction adds at its peak, left atrium")
    EB_LA: Scalar = elastance(0.09, "elastance at rest, left atrium")
    V0_LA: Scalar = unstressed(4.0, "left atrium")
    EA_LV: Scalar = elastance(2.75, "elastance that contraction adds at its peak, left ventricle", PROGRAM)
    EB_LV: Scalar = elastance(0.08, "elastance at rest, left ventricle", PROGRAM)
    V0_LV: Scalar = unstressed(5.0, "left ventricle", PROGRAM)
    EA_RA: Scalar = elastance(0.06, "elastance that contraction adds at its peak, right atrium")
    EB_RA: Scalar = elastance(0.07, "elastance at rest, right atrium")
    V0_RA: Scalar = unstressed(4.0, "right atrium")
    EA_RV: Scalar = elastance(0.55, "elastance that contraction adds at its peak, right ventricle")
    EB_RV: Scalar = elastance(0.05, "elastance at rest, right ventricle")
    V0_RV: Scalar = unstressed(10.0, "right ventricle")

    Rmin: Scalar = param(0.0075, "mmHg*s/mL", "resistance of an open valve", bounds=(0.001, 0.1), source=SOURCE)

    R_AR_SYS: Scalar = resistance(0.8, "resistance of the systemic arteries")
    C_AR_SYS: Scalar = compliance(1.2, "compliance of the systemic arteries")
    R_VEN_SYS: Scalar = resistance(0.26, "resistance of the systemic veins")
    C_VEN_SYS: Scalar = compliance(60.0, "compliance of the systemic veins")
    R_AR_PUL: Scalar = resistance(0.1625, "resistance of the pulmonary arteries")
    C_AR_PUL: Scalar = compliance(10.0, "compliance of the pulmonary arteries")
    R_VEN_PUL: Scalar = resistance(0.1625, "resistance of the pulmonary veins")
    C_VEN_PUL: Scalar = compliance(16.0, "compliance of the pulmonary veins")

    V0_VEN_SYS: Scalar = param(
        1975.0,
        "mL",
        "unstressed volume of the systemic veins, and of all other vessels",
        bounds=(0.0, 6000.0),
        source="what is left of 5 L of blood (near icrp89) beside the blood of the pulsatile model (regazzoni2022)",
    )
    V_blood: Scalar = param(
        5000.0,
        "mL",
        "all the blood at time 0",
        bounds=(1500.0, 10000.0),
        prior=LogNormal(5000.0, 0.05),
        source="icrp89: 5.3 L in the reference man, 3.9 L in the reference woman",
    )

    class State(Vars):
        V_AR_SYS: Scalar = state(122.958996, "mL", "blood in the systemic arteries")
        V_VEN_SYS: Scalar = state(3768.843113, "mL", "blood in the systemic veins, with their unstressed volume")
        V_AR_PUL: Scalar = state(376.421641, "mL", "blood in the pulmonary arteries")
        V_VEN_PUL: Scalar = state(366.427181, "mL", "blood in the pulmonary veins")
        V_LH: Scalar = state(170.273987, "mL", "blood in the left atrium and ventricle")
        V_RH: Scalar = state(195.075082, "mL", "blood in the right atrium and ventricle")

    class In(Vars):
        inflow: Scalar = port("mL/min", "blood that enters the veins; negative: leaves", kind="flow")
        resistance_factor: Scalar = port("1", "factor of the systemic arteries' resistance", default=1.0)
        contractility_factor: Scalar = port("1", "factor of what contraction adds to the ventricles", default=1.0)
        heart_rate_factor: Scalar = port("1", "factor of the heart rate", default=1.0)
        unstressed_change: Scalar = port("mL", "what the veins' unstressed volume has grown by", default=0.0)

    class Out(Vars):
        MAP: Scalar = port("mmHg", "mean systemic arterial pressure")
        p_ES: Scalar = port("mmHg", "end-systolic pressure in the systemic arteries")
        p_DIA: Scalar = port("mmHg", "diastolic pressure in the systemic arteries")
        p_VEN_SYS: Scalar = port("mmHg", "mean pressure in the systemic veins, near the small vessels")
        p_RA: Scalar = port("mmHg", "mean right atrial pressure, which is central venous pressure")
        mPAP: Scalar = port("mmHg", "mean pulmonary arterial pressure")
        p_VEN_PUL: Scalar = port("mmHg", "mean pressure in the pulmonary veins, near the small vessels")
        p_LA: Scalar = port("mmHg", "mean left atrial pressure, which is wedge pressure")
        CO: Scalar = port("L/min", "cardiac output, of the left ventricle", kind="flow")
        Q_AV: Scalar = port("mL/min", "cardiac output, of the left ventricle", kind="flow")
        Q_PV: Scalar = port("mL/min", "cardiac output, of the right ventricle", kind="flow")
        venous_return: Scalar = port("mL/min", "flow into the right atrium", kind="flow")
        HR: Scalar = port("1/min", "heart rate")
        SV: Scalar = port("mL", "stroke volume of the left ventricle")
        EDV: Scalar = port("mL", "end-diastolic volume of the left ventricle")
        EF: Scalar = port("1", "ejection fraction of the left ventricle")
        TPR: Scalar = port(
            "mmHg*min/L", "total peripheral resistance, (MAP - p_RA) / CO; that of the vessels without flow"
        )
        blood_volume: Scalar = port("L", "all the blood")

    class Conserved(Vars):
        blood: Scalar = quantity("mL", "all the blood")

    def conserved(self, x: State) -> Conserved:
        return self.Conserved(blood=x.V_AR_SYS + x.V_VEN_SYS + x.V_AR_PUL + x.V_VEN_PUL + x.V_LH + x.V_RH)

    def initial(self) -> State:
        """Pressures at rest of the default twin; the veins hold what is left of the blood."""
        rest = self.rest
        left, right = constant(rest.V_LH, "mL"), constant(rest.V_RH, "mL")
        arteries = constant(rest.p_AR_SYS, "mmHg") * self.C_AR_SYS
        lung_arteries = constant(rest.p_AR_PUL, "mmHg") * self.C_AR_PUL
        lung_veins = constant(rest.p_VEN_PUL, "mmHg") * self.C_VEN_PUL
        return self.State(
            V_AR_SYS=arteries,
            V_VEN_SYS=self.V_blood - arteries - lung_arteries - lung_veins - left - right,
            V_AR_PUL=lung_arteries,
            V_VEN_PUL=lung_veins,
            V_LH=left,
            V_RH=right,
        )

    def _contraction(self) -> _Contraction:
        fills = self.TC_V + self.IVR * self.TR_V
        middles = [(i + 0.5) / _INSTANTS for i in range(_INSTANTS)]
        return _Contraction(
            at_end=self._atria(0.0 * fills),
            closed=[(fills * m, self._atria(fills * m)) for m in middles],
            open=[(fills + (1.0 - fills) * m, self._atria(fills + (1.0 - fills) * m)) for m in middles],
        )

    def _atria(self, share: Scalar) -> Scalar:
        """How far the atria are contracted, from 0 to 1, at a share of the period from the ventricles' onset on."""
        beats = share + self.tC_V - self.tC_A
        theta = beats - jnp.floor(beats)
        relaxing = 1.0 + (theta - self.TC_A) / self.TR_A
        turns = jnp.where(theta < self.TC_A, theta / self.TC_A, jnp.minimum(relaxing, 2.0))
        return 0.5 - 0.5 * jnp.cos(_PI * turns)

    def _side(
        self,
        T: Scalar,
        contraction: _Contraction,
        blood: Scalar,
        atrium: tuple[Scalar, Scalar],
        ventricle: tuple[Scalar, Scalar],
        artery: tuple[Scalar, Scalar, Scalar, Scalar],
        veins: tuple[Scalar, Scalar],
    ) -> _Side:
        """One side of the heart over a beat.

        Args:
            T: heart period.
            contraction: of the atria.
            blood: in atrium and ventricle, above what they hold at zero pressure, averaged over the beat.
            atrium: elastance at rest, and what contraction adds.
            ventricle: the same.
            artery: mean pressure in it and in the veins behind it, its resistance and its compliance.
            veins: mean pressure in those before the atrium, and their resistance.
        """
        (Ea, dEa), (Ev, dEv), (p_artery, p_behind, R, C), (p_veins, R_veins) = atrium, ventricle, artery, veins
        opens, closes = self.IVC * self.TC_V, self.TC_V
        fills = self.TC_V + self.IVR * self.TR_V

        tau, systole = R * C, (closes - opens) * T
        diastole = jnp.exp(-(T - systole) / tau)
        p_es = p_behind + (p_artery - p_behind) * T / (systole + tau * (1.0 - diastole))
        emptied = p_es / (Ev + dEv)

        at_end = Ea + dEa * contraction.at_end
        tau_f = self.Rmin / (at_end + Ev)
        done = 1.0 - jnp.exp(-(1.0 - fills) * T / tau_f)
        share = at_end / (at_end + Ev)
        ejected = opens + (closes - opens) / 3.0
        # V_ed and X written out in SV, and SV = V_ed - V_es solved for it
        stroke = done * (share * blood - emptied) / (1.0 + done * (share * (ejected - 0.5) + tau_f / T))
        stroke = jnp.maximum(stroke, 0.0)
        together = blood + stroke * (0.5 - ejected)
        # where nothing is ejected, what there is fills the ventricle
        filled = jnp.minimum(emptied + stroke, share * together)

        # pressure in the atrium = base + slope * inflow
        base, slope = 0.0 * p_artery, 0.0 * R
        for instant, active in contraction.closed:
            e = Ea + dEa * active
            weight = fills / _INSTANTS
            base = base + weight * e * (together - filled)
            slope = slope + weight * e * T * instant
        for instant, active in contraction.open:
            e = Ea + dEa * active
            to_ventricle = e / (e + Ev)
            weight = (1.0 - fills) / _INSTANTS
            # the flow through the open valve, SV over the time for filling, times this instant's weight: that time cancels
            drop = self.Rmin * stroke / (T * _INSTANTS)
            base = base + to_ventricle * (weight * Ev * (together - stroke) + drop)
            slope = slope + weight * to_ventricle * Ev * T * instant
        inflow = (p_veins - base) / (R_veins + slope)
        return _Side(
            stroke=stroke,
            filled=filled,
            p_es=p_es,
            p_ed=p_behind + (p_es - p_behind) * diastole,
            inflow=inflow,
            p_atrium=base + slope * inflow,
        )

    def _beat(self, x: State, u: In) -> tuple[Scalar, tuple[Scalar, Scalar, Scalar, Scalar], _Side, _Side]:
        T = self.T_HB / u.heart_rate_factor
        p_ar_sys = x.V_AR_SYS / self.C_AR_SYS
        p_ven_sys = (x.V_VEN_SYS - self.V0_VEN_SYS - u.unstressed_change) / self.C_VEN_SYS
        p_ar_pul = x.V_AR_PUL / self.C_AR_PUL
        p_ven_pul = x.V_VEN_PUL / self.C_VEN_PUL
        contraction = self._contraction()
        left = self._side(
            T,
            contraction,
            x.V_LH - self.V0_LA - self.V0_LV,
            (self.EB_LA, self.EA_LA),
            (self.EB_LV, self.EA_LV * u.contractility_factor),
            (p_ar_sys, p_ven_sys, self.R_AR_SYS * u.resistance_factor, self.C_AR_SYS),
            (p_ven_pul, self.R_VEN_PUL),
        )
        right = self._side(
            T,
            contraction,
            x.V_RH - self.V0_RA - self.V0_RV,
            (self.EB_RA, self.EA_RA),
            (self.EB_RV, self.EA_RV * u.contractility_factor),
            (p_ar_pul, p_ven_pul, self.R_AR_PUL, self.C_AR_PUL),
            (p_ven_sys, self.R_VEN_SYS),
        )
        return T, (p_ar_sys, p_ven_sys, p_ar_pul, p_ven_pul), left, right

    def rates(self, t: Scalar, x: State, u: In) -> State:
        T, (p_ar_sys, p_ven_sys, p_ar_pul, p_ven_pul), left, right = self._beat(x, u)
        minute = constant(60.0, "s/min")
        through_body = minute * (p_ar_sys - p_ven_sys) / (self.R_AR_SYS * u.resistance_factor)
        through_lungs = minute * (p_ar_pul - p_ven_pul) / self.R_AR_PUL
        Q_AV, Q_PV = minute * left.stroke / T, minute * right.stroke / T
        into_left, into_right = minute * left.inflow, minute * right.inflow
        return self.State(
            V_AR_SYS=Q_AV - through_body,
            V_VEN_SYS=through_body - into_right + u.inflow,
            V_AR_PUL=Q_PV - through_lungs,
            V_VEN_PUL=through_lungs - into_left,
            V_LH=into_left - Q_AV,
            V_RH=into_right - Q_PV,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        T, (p_ar_sys, p_ven_sys, p_ar_pul, p_ven_pul), left, right = self._beat(x, u)
        minute, litre = constant(60.0, "s/min"), constant(1000.0, "mL/L")
        Q_AV = minute * left.stroke / T
        least = constant(1.0, "mL/min")
        flows = least < Q_AV
        measured = (p_ar_sys - right.p_atrium) / jnp.where(flows, Q_AV, least)
        both = (self.R_AR_SYS * u.resistance_factor + self.R_VEN_SYS) / minute
        EDV = self.V0_LV + left.filled
        return self.Out(
            MAP=p_ar_sys,
            p_ES=left.p_es,
            p_DIA=left.p_ed,
            p_VEN_SYS=p_ven_sys,
            p_RA=right.p_atrium,
            mPAP=p_ar_pul,
            p_VEN_PUL=p_ven_pul,
            p_LA=left.p_atrium,
            CO=Q_AV / litre,
            Q_AV=Q_AV,
            Q_PV=minute * right.stroke / T,
            venous_return=minute * right.inflow,
            HR=minute / T,
            SV=left.stroke,
            EDV=EDV,
            EF=left.stroke / EDV,
            TPR=jnp.where(flows, measured, both) * litre,
            blood_volume=self.conserved(x).blood / litre,
        )
