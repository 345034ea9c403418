"""Heart and vessels: a closed loop of four chambers, four valves, arteries and veins of both circulations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, state

_SOURCE = "regazzoni2022"
_PI = 3.141592653589793


def _elastance(value: float, meaning: str) -> Any:
    return param(value, "mmHg/mL", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=_SOURCE)


def _rest_volume(value: float, meaning: str) -> Any:
    return param(value, "mL", meaning, bounds=(0.0, 60.0), source=_SOURCE)


def _resistance(value: float, meaning: str) -> Any:
    return param(
        value, "mmHg*s/mL", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=_SOURCE
    )


def _compliance(value: float, meaning: str) -> Any:
    return param(value, "mL/mmHg", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.2), source=_SOURCE)


def _inertance(value: float, meaning: str) -> Any:
    return param(value, "mmHg*s^2/mL", meaning, bounds=(value / 10, value * 10), source=_SOURCE)


def _share(value: float, meaning: str) -> Any:
    return param(value, "1", meaning, bounds=(0.0, 1.0), source=_SOURCE)


class Circulation(Organ):
    r"""Closed-loop circulation with four contracting chambers (Regazzoni et al. 2022, section 2.3; 12 states).

    A chamber is a time-varying elastance (their equation for :math:`p = E(t)(V - V_0)`, after Blanco and Feijóo 2010),

    .. math::
        E(t) = E_B + E_A \varphi(t), \qquad
        \varphi = \begin{cases} \tfrac12 (1 - \cos(\pi\,\theta/T_C)) & \theta < T_C \\
        \tfrac12 (1 + \cos(\pi (\theta - T_C)/T_R)) & T_C \le \theta < T_C + T_R \\ 0 & \text{else} \end{cases}

    with :math:`\theta` the share of the heart period gone by since the chamber's onset of contraction. A valve is a diode,
    :math:`Q = (p_1 - p_2)/R` with :math:`R = R_{min}` forwards and :math:`R_{max}` backwards. Arteries and veins of both
    circulations are a resistance and an inertance behind a compliance:

    .. math::
        C\,p' = Q_{in} - Q, \qquad L\,Q' = -R\,Q + p - p_{next}.

    Atria contract together, and ventricles do: both sides have the same onset and durations in the paper's table.
    Valves are sharp, not smoothed: flow is continuous, so that sensitivities to every parameter exist.

    Stroke volume and ejection fraction belong to a beat, not to an instant; `beat_summary` takes them, with cardiac output
    and arterial pressures, from saved outputs.

    Verified against an independent SciPy implementation (states within 1e-6 of their range over 5 s, at tolerance 1e-9),
    and by conservation of blood volume to 1e-10.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    T_HB: Scalar = param(
        60.0 / 72.0, "s", "heart period", bounds=(0.3, 2.0), prior=LogNormal(60.0 / 72.0, 0.15), source=_SOURCE
    )
    tC_A: Scalar = _share(0.80, "onset of atrial contraction, share of the period")
    TC_A: Scalar = _share(0.17, "duration of atrial contraction, share of the period")
    TR_A: Scalar = _share(0.17, "duration of atrial relaxation, share of the period")
    tC_V: Scalar = _share(0.0, "onset of ventricular contraction, share of the period")
    TC_V: Scalar = _share(0.34, "duration of ventricular contraction, share of the period")
    TR_V: Scalar = _share(0.17, "duration of ventricular relaxation, share of the period")

    EA_LA: Scalar = _elastance(0.07, "active elastance of the left atrium")
    EB_LA: Scalar = _elastance(0.09, "passive elastance of the left atrium")
    V0_LA: Scalar = _rest_volume(4.0, "rest volume of the left atrium")
    EA_LV: Scalar = _elastance(2.75, "active elastance of the left ventricle")
    EB_LV: Scalar = _elastance(0.08, "passive elastance of the left ventricle")
    V0_LV: Scalar = _rest_volume(5.0, "rest volume of the left ventricle")
    EA_RA: Scalar = _elastance(0.06, "active elastance of the right atrium")
    EB_RA: Scalar = _elastance(0.07, "passive elastance of the right atrium")
    V0_RA: Scalar = _rest_volume(4.0, "rest volume of the right atrium")
    EA_RV: Scalar = _elastance(0.55, "active elastance of the right ventricle")
    EB_RV: Scalar = _elastance(0.05, "passive elastance of the right ventricle")
    V0_RV: Scalar = _rest_volume(10.0, "rest volume of the right ventricle")

    Rmin: Scalar = param(0.0075, "mmHg*s/mL", "resistance of an open valve", bounds=(0.001, 0.1), source=_SOURCE)
    Rmax: Scalar = param(75006.2, "mmHg*s/mL", "resistance of a closed valve", bounds=(10.0, 1e6), source=_SOURCE)

    R_AR_SYS: Scalar = _resistance(0.8, "resistance of the systemic arteries")
    C_AR_SYS: Scalar = _compliance(1.2, "compliance of the systemic arteries")
    L_AR_SYS: Scalar = _inertance(5e-3, "inertance of the systemic arteries")
    R_VEN_SYS: Scalar = _resistance(0.26, "resistance of the systemic veins")
    C_VEN_SYS: Scalar = _compliance(60.0, "compliance of the systemic veins")
    L_VEN_SYS: Scalar = _inertance(5e-4, "inertance of the systemic veins")
    R_AR_PUL: Scalar = _resistance(0.1625, "resistance of the pulmonary arteries")
    C_AR_PUL: Scalar = _compliance(10.0, "compliance of the pulmonary arteries")
    L_AR_PUL: Scalar = _inertance(5e-4, "inertance of the pulmonary arteries")
    R_VEN_PUL: Scalar = _resistance(0.1625, "resistance of the pulmonary veins")
    C_VEN_PUL: Scalar = _compliance(16.0, "compliance of the pulmonary veins")
    L_VEN_PUL: Scalar = _inertance(5e-4, "inertance of the pulmonary veins")

    class State(Vars):
        V_LA: Scalar = state(65.0, "mL", "volume of the left atrium")
        V_LV: Scalar = state(120.0, "mL", "volume of the left ventricle")
        V_RA: Scalar = state(65.0, "mL", "volume of the right atrium")
        V_RV: Scalar = state(145.0, "mL", "volume of the right ventricle")
        p_AR_SYS: Scalar = state(80.0, "mmHg", "pressure in the systemic arteries")
        p_VEN_SYS: Scalar = state(30.0, "mmHg", "pressure in the systemic veins")
        p_AR_PUL: Scalar = state(35.0, "mmHg", "pressure in the pulmonary arteries")
        p_VEN_PUL: Scalar = state(24.0, "mmHg", "pressure in the pulmonary veins")
        Q_AR_SYS: Scalar = state(0.0, "mL/s", "flow out of the systemic arteries")
        Q_VEN_SYS: Scalar = state(0.0, "mL/s", "flow out of the systemic veins")
        Q_AR_PUL: Scalar = state(0.0, "mL/s", "flow out of the pulmonary arteries")
        Q_VEN_PUL: Scalar = state(0.0, "mL/s", "flow out of the pulmonary veins")

    class Out(Vars):
        p_LA: Scalar = port("mmHg", "pressure in the left atrium")
        p_LV: Scalar = port("mmHg", "pressure in the left ventricle")
        p_RA: Scalar = port("mmHg", "pressure in the right atrium")
        p_RV: Scalar = port("mmHg", "pressure in the right ventricle")
        Q_MV: Scalar = port("mL/s", "flow through the mitral valve", kind="flow")
        Q_AV: Scalar = port("mL/s", "flow through the aortic valve", kind="flow")
        Q_TV: Scalar = port("mL/s", "flow through the tricuspid valve", kind="flow")
        Q_PV: Scalar = port("mL/s", "flow through the pulmonary valve", kind="flow")
        V_blood: Scalar = port("mL", "stressed blood volume, conserved")

    def _activation(self, t: Scalar, onset: Scalar, contraction: Scalar, relaxation: Scalar) -> Scalar:
        beats = t / self.T_HB - onset
        theta = beats - jnp.floor(beats)
        # half turns of one cosine: up while contracting, down while relaxing, then at rest at a whole turn
        relaxing = 1.0 + (theta - contraction) / relaxation
        turns = jnp.where(theta < contraction, theta / contraction, jnp.minimum(relaxing, 2.0))
        return 0.5 - 0.5 * jnp.cos(_PI * turns)

    def _valve(self, before: Scalar, behind: Scalar) -> Scalar:
        return (before - behind) / jnp.where(before > behind, self.Rmin, self.Rmax)

    def outputs(self, t: Scalar, x: State, u: Any) -> Out:
        atria = self._activation(t, self.tC_A, self.TC_A, self.TR_A)
        ventricles = self._activation(t, self.tC_V, self.TC_V, self.TR_V)
        p_LA = (self.EB_LA + self.EA_LA * atria) * (x.V_LA - self.V0_LA)
        p_LV = (self.EB_LV + self.EA_LV * ventricles) * (x.V_LV - self.V0_LV)
        p_RA = (self.EB_RA + self.EA_RA * atria) * (x.V_RA - self.V0_RA)
        p_RV = (self.EB_RV + self.EA_RV * ventricles) * (x.V_RV - self.V0_RV)
        vessels = (
            self.C_AR_SYS * x.p_AR_SYS
            + self.C_VEN_SYS * x.p_VEN_SYS
            + self.C_AR_PUL * x.p_AR_PUL
            + self.C_VEN_PUL * x.p_VEN_PUL
        )
        return self.Out(
            p_LA=p_LA,
            p_LV=p_LV,
            p_RA=p_RA,
            p_RV=p_RV,
            Q_MV=self._valve(p_LA, p_LV),
            Q_AV=self._valve(p_LV, x.p_AR_SYS),
            Q_TV=self._valve(p_RA, p_RV),
            Q_PV=self._valve(p_RV, x.p_AR_PUL),
            V_blood=x.V_LA + x.V_LV + x.V_RA + x.V_RV + vessels,
        )

    def rates(self, t: Scalar, x: State, u: Any) -> State:
        y = self.outputs(t, x, u)
        return self.State(
            V_LA=x.Q_VEN_PUL - y.Q_MV,
            V_LV=y.Q_MV - y.Q_AV,
            V_RA=x.Q_VEN_SYS - y.Q_TV,
            V_RV=y.Q_TV - y.Q_PV,
            p_AR_SYS=(y.Q_AV - x.Q_AR_SYS) / self.C_AR_SYS,
            p_VEN_SYS=(x.Q_AR_SYS - x.Q_VEN_SYS) / self.C_VEN_SYS,
            p_AR_PUL=(y.Q_PV - x.Q_AR_PUL) / self.C_AR_PUL,
            p_VEN_PUL=(x.Q_AR_PUL - x.Q_VEN_PUL) / self.C_VEN_PUL,
            Q_AR_SYS=(x.p_AR_SYS - x.p_VEN_SYS - self.R_AR_SYS * x.Q_AR_SYS) / self.L_AR_SYS,
            Q_VEN_SYS=(x.p_VEN_SYS - y.p_RA - self.R_VEN_SYS * x.Q_VEN_SYS) / self.L_VEN_SYS,
            Q_AR_PUL=(x.p_AR_PUL - x.p_VEN_PUL - self.R_AR_PUL * x.Q_AR_PUL) / self.L_AR_PUL,
            Q_VEN_PUL=(x.p_VEN_PUL - y.p_LA - self.R_VEN_PUL * x.Q_VEN_PUL) / self.L_VEN_PUL,
        )


class Beat(NamedTuple):
    """What the last heart beat of each twin looked like. Every field has shape ``[twins]``.

    Attributes:
        end_diastolic_volume: largest volume of the left ventricle, mL.
        end_systolic_volume: smallest volume of the left ventricle, mL.
        stroke_volume: their difference, mL.
        ejection_fraction: stroke volume over end-diastolic volume.
        cardiac_output: stroke volume over the heart period, L/min.
        systolic_pressure: largest systemic arterial pressure, mmHg.
        diastolic_pressure: smallest systemic arterial pressure, mmHg.
        mean_arterial_pressure: time average of the systemic arterial pressure, mmHg.
    """

    end_diastolic_volume: Float[Array, " twins"]
    end_systolic_volume: Float[Array, " twins"]
    stroke_volume: Float[Array, " twins"]
    ejection_fraction: Float[Array, " twins"]
    cardiac_output: Float[Array, " twins"]
    systolic_pressure: Float[Array, " twins"]
    diastolic_pressure: Float[Array, " twins"]
    mean_arterial_pressure: Float[Array, " twins"]


def beat_summary(
    times: Float[np.ndarray, " saves"],
    values: Mapping[str, Float[ArrayLike, "twins saves"]],
    period: Float[ArrayLike, " twins"] | float,
) -> Beat:
    """Stroke volume, ejection fraction and pressures of each twin's last beat, from saved values.

    Args:
        times: of the saves, s. They must cover the last beat, finely enough to show its extremes (say every 10 ms).
        values: by name; `V_LV` and `p_AR_SYS` are used.
        period: heart period of each twin, or of all, s.

    Raises:
        ValueError: if the saves do not cover one period of every twin.
    """
    times = np.asarray(times)
    volume, pressure = jnp.asarray(values["V_LV"]), jnp.asarray(values["p_AR_SYS"])
    period = jnp.broadcast_to(jnp.asarray(period, dtype=volume.dtype), volume.shape[:1])
    longest = float(jnp.nanmax(period)) if period.size else 0.0
    if times.size < 2 or times[-1] - times[0] < longest * (1.0 - 1e-9):
        raise ValueError(f"The saves must cover a heart period of {longest:.3g} s.")
    last = jnp.asarray(times)[None, :] >= (times[-1] - period)[:, None] - 1e-9
    largest = jnp.max(jnp.where(last, volume, -jnp.inf), axis=1)
    smallest = jnp.min(jnp.where(last, volume, jnp.inf), axis=1)
    stroke = largest - smallest
    step = jnp.where(last[:, :-1], jnp.asarray(np.diff(times))[None, :], 0.0)
    area = jnp.sum(0.5 * (pressure[:, 1:] + pressure[:, :-1]) * step, axis=1)
    return Beat(
        end_diastolic_volume=largest,
        end_systolic_volume=smallest,
        stroke_volume=stroke,
        ejection_fraction=stroke / largest,
        cardiac_output=stroke / period * (60.0 / 1000.0),
        systolic_pressure=jnp.max(jnp.where(last, pressure, -jnp.inf), axis=1),
        diastolic_pressure=jnp.min(jnp.where(last, pressure, jnp.inf), axis=1),
        mean_arterial_pressure=area / jnp.sum(step, axis=1),
    )
