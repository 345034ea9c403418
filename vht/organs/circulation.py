"""Heart and vessels: a closed loop of four chambers, four valves, arteries and veins of both circulations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from vht.model import LogNormal, Organ, Scalar, Vars, param, port, quantity, state
from vht.organs.regazzoni import (
    PROGRAM,
    SOURCE,
    compliance,
    duration,
    elastance,
    inertance,
    onset,
    resistance,
    unstressed,
)

_PI = 3.141592653589793
_ROUNDING = 1e-6

Numbers = Array | np.ndarray


class Circulation(Organ):
    r"""Closed-loop circulation with four contracting chambers, after Regazzoni et al. 2022 (12 states).

    A chamber is a time-varying elastance (as in Blanco and Feijóo 2010), :math:`p = E(t)\,(V - V_0)` with

    .. math::
        E(t) = E_B + E_A \varphi(t), \qquad
        \varphi = \begin{cases} \tfrac12 (1 - \cos(\pi\,\theta/T_C)) & \theta < T_C \\
        \tfrac12 (1 + \cos(\pi (\theta - T_C)/T_R)) & T_C \le \theta < T_C + T_R \\ 0 & \text{else} \end{cases}

    where :math:`\theta` is the share of the heart period gone by since the chamber's onset of contraction. A valve is a
    diode, :math:`Q = (p_1 - p_2)/R` with :math:`R = R_{min}` forwards and :math:`R_{max}` backwards. Arteries and veins of
    both circulations are a compliance and, behind it, a resistance and an inertance:

    .. math::
        C\,p' = Q_{in} - Q, \qquad L\,Q' = -R\,Q + p - p_{next}.

    Inertances are optional in the limit: as they fall, flows become :math:`Q = (p - p_{next}) / R`, and volumes and pressures
    differ from that limit by an amount proportional to L: 3 % of their range at the defaults, 0.3 % with a tenth of all
    inertances (the lower bounds). Less than a tenth gains nothing and costs steps: L/R, 2 ms in the systemic veins at the
    defaults, is the shortest time constant. L = 0 is a division by zero. Beat averages do not depend on L (4e-5).

    Valves are sharp, not smoothed: flow is continuous, so that sensitivities to every parameter exist.

    Values: resistances, compliances, inertances and elastances are the paper's. Its left ventricle is three-dimensional,
    so that one's elastance, and the times at which chambers contract, are the defaults of the authors' own program; there
    both atria contract together, and both ventricles. The initial state is that program's too. Bounds and priors are this
    library's: a prior spreads a virtual cohort around the default and describes no measured population.

    The default twin ejects 75 mL a beat, 61 % of its left ventricle and 5.4 L/min, at 126/78 mmHg. The paper's pulmonary
    resistances are not those of a healthy person: together 0.325 mmHg s/mL (5.4 Wood units; healthy below 2) and a mean
    pulmonary arterial pressure of 38 mmHg (healthy below 20).

    Reading the states: pressures are relative to the atmosphere. `p_VEN_SYS` and `p_VEN_PUL` stand before the resistance of
    the veins, nearer to the small vessels than to the heart; central venous pressure is `p_RA`. A vessel holds compliance
    times pressure, so the initial state and the compliances set the volume of blood, and a twin with other compliances
    starts with another volume. A twin drawn from the priors takes some thirty beats to settle: after ten, the stroke volume
    of one in ten is still 6 % off.

    Stroke volume and ejection fraction belong to a beat, not to an instant; `beat_summary` takes them, with cardiac output
    and arterial pressures, from saved states.

    Verified against an independent SciPy implementation (states within 1e-6 of their range over 5 s, at tolerance 1e-9),
    and by conservation of blood volume to 1e-10.
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = SOURCE

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
    Rmax: Scalar = param(75006.2, "mmHg*s/mL", "resistance of a closed valve", bounds=(10.0, 1e6), source=SOURCE)

    R_AR_SYS: Scalar = resistance(0.8, "resistance of the systemic arteries")
    C_AR_SYS: Scalar = compliance(1.2, "compliance of the systemic arteries")
    L_AR_SYS: Scalar = inertance(5e-3, "inertance of the systemic arteries")
    R_VEN_SYS: Scalar = resistance(0.26, "resistance of the systemic veins")
    C_VEN_SYS: Scalar = compliance(60.0, "compliance of the systemic veins")
    L_VEN_SYS: Scalar = inertance(5e-4, "inertance of the systemic veins")
    R_AR_PUL: Scalar = resistance(0.1625, "resistance of the pulmonary arteries")
    C_AR_PUL: Scalar = compliance(10.0, "compliance of the pulmonary arteries")
    L_AR_PUL: Scalar = inertance(5e-4, "inertance of the pulmonary arteries")
    R_VEN_PUL: Scalar = resistance(0.1625, "resistance of the pulmonary veins")
    C_VEN_PUL: Scalar = compliance(16.0, "compliance of the pulmonary veins")
    L_VEN_PUL: Scalar = inertance(5e-4, "inertance of the pulmonary veins")

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
        V_blood: Scalar = port("mL", "blood in the chambers and stressed volume of the vessels; conserved")

    class Conserved(Vars):
        V_blood: Scalar = quantity("mL", "blood in the chambers and stressed volume of the vessels")

    def conserved(self, x: State) -> Conserved:
        vessels = (
            self.C_AR_SYS * x.p_AR_SYS
            + self.C_VEN_SYS * x.p_VEN_SYS
            + self.C_AR_PUL * x.p_AR_PUL
            + self.C_VEN_PUL * x.p_VEN_PUL
        )
        return self.Conserved(V_blood=x.V_LA + x.V_LV + x.V_RA + x.V_RV + vessels)

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
        return self.Out(
            p_LA=p_LA,
            p_LV=p_LV,
            p_RA=p_RA,
            p_RV=p_RV,
            Q_MV=self._valve(p_LA, p_LV),
            Q_AV=self._valve(p_LV, x.p_AR_SYS),
            Q_TV=self._valve(p_RA, p_RV),
            Q_PV=self._valve(p_RV, x.p_AR_PUL),
            V_blood=self.conserved(x).V_blood,
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
    """What the last heart beat of each twin looked like. Every field has shape ``[twins]``, NaN for a twin that failed.

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

    end_diastolic_volume: Float[Numbers, " twins"]
    end_systolic_volume: Float[Numbers, " twins"]
    stroke_volume: Float[Numbers, " twins"]
    ejection_fraction: Float[Numbers, " twins"]
    cardiac_output: Float[Numbers, " twins"]
    systolic_pressure: Float[Numbers, " twins"]
    diastolic_pressure: Float[Numbers, " twins"]
    mean_arterial_pressure: Float[Numbers, " twins"]


def beat_summary(
    times: Float[np.ndarray, " saves"],
    values: Mapping[str, Float[ArrayLike, "twins saves"]],
    period: Float[ArrayLike, " twins"] | Float[ArrayLike, ""],
) -> Beat:
    """Stroke volume, ejection fraction and pressures of each twin's last beat, from saved values.

    Computed by NumPy in the values' own precision; by JAX, with derivatives, if any of them is a JAX array.

    Args:
        times: of the saves, s. They must cover the last beat, finely enough to show its extremes (say every 10 ms).
        values: by name; `V_LV` and `p_AR_SYS` are used.
        period: heart period of each twin, or of all, s.

    Raises:
        ValueError: if the saves do not cover one period of every twin; under a transformation of the period, the twin's
            results are NaN instead.
    """
    xp: Any = jnp if any(isinstance(a, jax.Array) for a in (values["V_LV"], values["p_AR_SYS"], period)) else np
    volume, pressure = xp.asarray(values["V_LV"]), xp.asarray(values["p_AR_SYS"])
    beat = xp.broadcast_to(xp.asarray(period, dtype=volume.dtype), volume.shape[:1])
    times = np.asarray(times)
    end, span = (float(times[-1]), float(times[-1] - times[0])) if times.size > 1 else (0.0, 0.0)
    # the share is for rounding: a save that should lie at the beginning of the beat may lie just before it
    short = beat * (1.0 - _ROUNDING) > span
    if not isinstance(short, Tracer) and bool(short.any()):
        raise ValueError(f"The saves must cover a heart period of {float(np.nanmax(np.asarray(beat))):.3g} s.")
    last = xp.asarray(times, dtype=volume.dtype)[None, :] >= (end - beat * (1.0 + _ROUNDING))[:, None]
    # one by one, because XLA's maximum along an axis may lose a NaN, and a failed twin must not end as a number
    unknown = short | ~(beat > 0.0) | (last & xp.isnan(volume + pressure)).any(axis=1)

    def known(result: Any) -> Any:
        return xp.where(unknown, np.nan, result)

    def largest(x: Any) -> Any:
        return known(xp.max(xp.where(last, x, -np.inf), axis=1))

    def smallest(x: Any) -> Any:
        return known(xp.min(xp.where(last, x, np.inf), axis=1))

    step = xp.where(last[:, :-1], xp.asarray(np.diff(times), dtype=volume.dtype)[None, :], 0.0)
    area = xp.sum(0.5 * (pressure[:, 1:] + pressure[:, :-1]) * step, axis=1)
    filled, emptied = largest(volume), smallest(volume)
    stroke = filled - emptied
    return Beat(
        end_diastolic_volume=filled,
        end_systolic_volume=emptied,
        stroke_volume=stroke,
        ejection_fraction=stroke / filled,
        cardiac_output=stroke / known(beat) * (60.0 / 1000.0),
        systolic_pressure=largest(pressure),
        diastolic_pressure=smallest(pressure),
        mean_arterial_pressure=area / known(xp.sum(step, axis=1)),
    )
