"""SciPy: LSODA on plain Python equations, and DOP853 as a reference where nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, floor, pi
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.cohort import PARAMETERS, STATES, Cohort

Rates = Callable[[float, Float[np.ndarray, " states"]], list[float]]


class Solved(NamedTuple):
    """What SciPy gives.

    Attributes:
        values: NaN where it failed.
        ok: twins that reached the last time.
    """

    values: Float[np.ndarray, "twins saves states"]
    ok: Bool[np.ndarray, " twins"]


def equations(parameters: Float[np.ndarray, " parameters"]) -> Rates:
    """The circulation of Regazzoni et al. (2022) on Python floats, which for a dozen states is faster than NumPy."""
    p = dict(zip(PARAMETERS, map(float, parameters), strict=True))
    period, r_open, r_closed = p["T_HB"], p["Rmin"], p["Rmax"]
    chambers = [(p[f"EA_{c}"], p[f"EB_{c}"], p[f"V0_{c}"]) for c in ("LA", "LV", "RA", "RV")]
    (ea_la, eb_la, v0_la), (ea_lv, eb_lv, v0_lv), (ea_ra, eb_ra, v0_ra), (ea_rv, eb_rv, v0_rv) = chambers
    vessels = [(p[f"R_{v}"], p[f"C_{v}"], p[f"L_{v}"]) for v in ("AR_SYS", "VEN_SYS", "AR_PUL", "VEN_PUL")]
    (r_as, c_as, l_as), (r_vs, c_vs, l_vs), (r_ap, c_ap, l_ap), (r_vp, c_vp, l_vp) = vessels
    atrial = p["tC_A"] * period, p["TC_A"] * period, p["TR_A"] * period
    ventricular = p["tC_V"] * period, p["TC_V"] * period, p["TR_V"] * period

    def active(t: float, timing: tuple[float, float, float]) -> float:
        onset, rise, fall = timing
        since = t - onset
        since -= period * floor(since / period)
        if since < rise:
            return 0.5 * (1.0 - cos(pi * since / rise))
        since -= rise
        return 0.5 * (1.0 + cos(pi * since / fall)) if since < fall else 0.0

    def valve(drop: float) -> float:
        return drop / r_open if drop > 0.0 else drop / r_closed

    def rates(t: float, x: Float[np.ndarray, " states"]) -> list[float]:
        v_la, v_lv, v_ra, v_rv, p_as, p_vs, p_ap, p_vp, q_as, q_vs, q_ap, q_vp = x.tolist()
        atria, ventricles = active(t, atrial), active(t, ventricular)
        p_la = (eb_la + ea_la * atria) * (v_la - v0_la)
        p_lv = (eb_lv + ea_lv * ventricles) * (v_lv - v0_lv)
        p_ra = (eb_ra + ea_ra * atria) * (v_ra - v0_ra)
        p_rv = (eb_rv + ea_rv * ventricles) * (v_rv - v0_rv)
        mitral, aortic, tricuspid, pulmonary = (
            valve(p_la - p_lv),
            valve(p_lv - p_as),
            valve(p_ra - p_rv),
            valve(p_rv - p_ap),
        )
        return [
            q_vp - mitral,
            mitral - aortic,
            q_vs - tricuspid,
            tricuspid - pulmonary,
            (aortic - q_as) / c_as,
            (q_as - q_vs) / c_vs,
            (pulmonary - q_ap) / c_ap,
            (q_ap - q_vp) / c_vp,
            (p_as - p_vs - r_as * q_as) / l_as,
            (p_vs - p_ra - r_vs * q_vs) / l_vs,
            (p_ap - p_vp - r_ap * q_ap) / l_ap,
            (p_vp - p_la - r_vp * q_vp) / l_vp,
        ]

    return rates


def lsoda(cohort: Cohort, *, rtol: float, atol: float) -> Solved:
    """Solve with LSODA, one twin after another (`odeint`, whose loop is compiled and faster than `solve_ivp`'s)."""
    from scipy.integrate import odeint

    values = np.full((len(cohort), len(cohort.times), len(STATES)), np.nan)
    ok = np.zeros(len(cohort), bool)
    for i, (parameters, initial) in enumerate(zip(cohort.parameters, cohort.initial, strict=True)):
        found, told = odeint(
            *(equations(parameters), initial, cohort.times),
            tfirst=True,
            rtol=rtol,
            atol=atol,
            mxstep=1_000_000,
            full_output=True,
        )
        ok[i] = told["message"] == "Integration successful." and np.isfinite(found).all()
        values[i] = found
    return Solved(values, ok)


def dop853(cohort: Cohort, *, rtol: float = 1e-12, atol: float = 1e-12) -> Solved:
    """Solve with the explicit method of order 8, stopping where a chamber's activation changes its formula."""
    from scipy.integrate import solve_ivp

    values = np.full((len(cohort), len(cohort.times), len(STATES)), np.nan)
    ok = np.zeros(len(cohort), bool)
    for i, (parameters, initial) in enumerate(zip(cohort.parameters, cohort.initial, strict=True)):
        rates, times = equations(parameters), cohort.times
        stops = [*_kinks(parameters, times[0], times[-1]), times[-1]]
        begin, state, done = times[0], initial, True
        values[i, times <= begin] = initial
        for stop in stops:
            inside = (times > begin) & (times <= stop)
            wanted = np.union1d(times[inside], stop)
            found = solve_ivp(rates, (begin, stop), state, method="DOP853", t_eval=wanted, rtol=rtol, atol=atol)
            if not found.success:
                done = False
                break
            values[i, inside] = found.y[:, np.isin(wanted, times[inside])].T
            begin, state = stop, found.y[:, -1]
        ok[i] = done and np.isfinite(values[i]).all()
    return Solved(values, ok)


def _kinks(parameters: Float[np.ndarray, " parameters"], start: float, end: float) -> list[float]:
    p = dict(zip(PARAMETERS, map(float, parameters), strict=True))
    found = set()
    for side in ("A", "V"):
        onset = p[f"tC_{side}"]
        for share in (onset, onset + p[f"TC_{side}"], onset + p[f"TC_{side}"] + p[f"TR_{side}"]):
            for beat in range(floor(start / p["T_HB"]) - 2, floor(end / p["T_HB"]) + 2):
                found.add((share + beat) * p["T_HB"])
    return sorted(t for t in found if start + 1e-9 < t < end - 1e-9)
