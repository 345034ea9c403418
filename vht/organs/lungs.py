"""Mechanics of breathing: airways, alveoli, chest wall and the muscles that move them."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_SOURCE = "albanese2016"


def _compliance(value: float, meaning: str) -> Any:
    bounds, prior = (value / 5, value * 3), LogNormal(value, 0.2)
    return param(value, "L/cmH2O", f"compliance of the {meaning}", bounds=bounds, prior=prior, source=_SOURCE)


def _resistance(value: float, meaning: str) -> Any:
    bounds, prior = (value / 3, value * 20), LogNormal(value, 0.2)
    return param(value, "cmH2O*s/L", f"resistance from {meaning}", bounds=bounds, prior=prior, source=_SOURCE)


def _unstressed(value: float, meaning: str) -> Any:
    return param(value, "L", f"volume of the {meaning} at zero pressure", bounds=(0.0, value * 3), source=_SOURCE)


class Lungs(Organ):
    r"""Airways, alveoli and chest wall, after Albanese et al. 2016 (5 states).

    Larynx, trachea, bronchi and alveoli are compliances joined by resistances; all but the larynx lie in the chest, whose
    wall is a compliance that the breathing muscles pull at (equations A30 to A41):

    .. math::
        V_l' = \dot V - \dot V_{lt}, \quad V_t' = \dot V_{lt} - \dot V_{tb}, \quad
        V_b' = \dot V_{tb} - \dot V_A, \quad V_A' = \dot V_A, \quad
        C_{cw} (P_{pl} - P_{mus})' = \dot V_{lt}

    The paper's states are pressures; here they are the volumes those pressures belong to, and the last equation is
    integrated: :math:`P_{pl} = P_{mus} + P_{pl,EE} + (V_t + V_b + V_A - V_{EE})/C_{cw}`, with the volume
    :math:`V_{EE}` at which all airways are at atmospheric pressure and the pleura at :math:`P_{pl,EE}`. So no rate of the
    muscles' pressure is needed, and what flows is what volumes change by.

    The muscles' pressure over one breath is the paper's (equation 4): a parabola while breathing in, an exponential decay
    while breathing out. Rate and amplitude are inputs and may change at any time: a state, `phase`, counts breaths.
    A ventilator is the input `P_mouth`, with `amplitude` 0 if the muscles rest. Parameters are those of the paper's
    Table 3; priors spread a virtual cohort around them and describe no measured population. The lungs are linear, so
    nothing here limits a breath to the vital capacity.

    The airways' time constants are 0.3 to 0.8 ms: `vht.Rodas5P` or `vht.Auto` takes far fewer steps than `vht.Tsit5`.
    The default twin breathes 12 times a minute and 0.54 L, of which 0.50 L reach the alveoli, and pulls its pleural pressure
    from -5.0 to -7.8 cmH2O.

    Verified against SciPy on the paper's equations in pressures (within 1e-6 of the range of each signal), and against the
    static volumes of breaths held and of a ventilator, in closed form (tests/organs/test_lungs.py).
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    C_l: Scalar = _compliance(0.00127, "larynx")
    C_tr: Scalar = _compliance(0.00238, "trachea")
    C_b: Scalar = _compliance(0.0131, "bronchi")
    C_A: Scalar = _compliance(0.2, "alveoli")
    C_cw: Scalar = _compliance(0.2445, "chest wall")
    R_ml: Scalar = _resistance(1.021, "mouth to larynx")
    R_lt: Scalar = _resistance(0.3369, "larynx to trachea")
    R_tb: Scalar = _resistance(0.3063, "trachea to bronchi")
    R_bA: Scalar = _resistance(0.0817, "bronchi to alveoli")
    Vu_l: Scalar = _unstressed(0.0344, "larynx")
    Vu_tr: Scalar = _unstressed(0.00663, "trachea")
    Vu_b: Scalar = _unstressed(0.0187, "bronchi")
    Vu_A: Scalar = _unstressed(1.263, "alveoli")
    P_plEE: Scalar = param(
        -5.0, "cmH2O", "pleural pressure at the end of a quiet expiration", bounds=(-15.0, 0.0), source=_SOURCE
    )
    IEratio: Scalar = param(
        0.6, "1", "duration of inspiration over that of expiration", bounds=(0.2, 2.0), source=_SOURCE
    )
    decay: Scalar = param(
        5.0,
        "1",
        "time constants of the muscles' relaxation in one expiration",
        bounds=(1.0, 20.0),
        source="Albanese et al. 2016, Table 3: the time constant is a fifth of the expiration",
    )

    class State(Vars):
        phase: Scalar = state(0.0, "1", "breaths begun so far, and the share of the present one")
        V_l: Scalar = state(0.0344, "L", "volume of the larynx")
        V_tr: Scalar = state(0.01853, "L", "volume of the trachea")
        V_b: Scalar = state(0.0842, "L", "volume of the bronchi")
        V_A: Scalar = state(2.263, "L", "volume of the alveoli")

    class In(Vars):
        breathing_rate: Scalar = port("1/min", "breaths per minute", default=12.0)
        amplitude: Scalar = port("cmH2O", "largest pressure of the breathing muscles, inwards", default=5.0)
        P_mouth: Scalar = port("cmH2O", "pressure at the mouth, above that of the atmosphere", default=0.0)

    class Out(Vars):
        P_pl: Scalar = port("mmHg", "pleural (intrathoracic) pressure")
        air_flow: Scalar = port("mL/s", "flow of air into the alveoli (BTPS); negative while breathing out")
        mouth_flow: Scalar = port("mL/s", "flow of air into the mouth (BTPS); negative while breathing out")
        V_lung: Scalar = port("L", "air in lungs and airways")
        V_D: Scalar = port("L", "air in the airways: dead space")
        P_A: Scalar = port("cmH2O", "pressure in the alveoli")
        P_mus: Scalar = port("cmH2O", "pressure of the breathing muscles; negative inwards")

    def initial(self) -> State:
        return self.State(
            phase=0.0,
            V_l=self.Vu_l,
            V_tr=self.Vu_tr - self.C_tr * self.P_plEE,
            V_b=self.Vu_b - self.C_b * self.P_plEE,
            V_A=self.Vu_A - self.C_A * self.P_plEE,
        )

    def _pull(self, phase: Scalar) -> Scalar:
        """The muscles' pressure as a share of its largest, by the share of the breath that has gone by."""
        share = phase - jnp.floor(phase)
        inspiration = self.IEratio / (1.0 + self.IEratio)
        expiration = 1.0 - inspiration
        rising = share * (1.0 - share) / (inspiration * expiration)
        since = jnp.maximum(share - inspiration, 0.0) / expiration
        rest = jnp.exp(-self.decay)
        falling = (jnp.exp(-self.decay * since) - rest) / (1.0 - rest)
        return jnp.where(share < inspiration, rising, falling)

    def _pressures(self, x: State, u: In) -> tuple[Scalar, Scalar, Scalar, Scalar, Scalar, Scalar]:
        """Of muscles, pleura, larynx, trachea, bronchi and alveoli, cmH2O."""
        P_mus = -u.amplitude * self._pull(x.phase)
        rest = self.initial()
        more = x.V_tr + x.V_b + x.V_A - (rest.V_tr + rest.V_b + rest.V_A)
        P_pl = P_mus + self.P_plEE + more / self.C_cw
        return (
            P_mus,
            P_pl,
            (x.V_l - self.Vu_l) / self.C_l,
            (x.V_tr - self.Vu_tr) / self.C_tr + P_pl,
            (x.V_b - self.Vu_b) / self.C_b + P_pl,
            (x.V_A - self.Vu_A) / self.C_A + P_pl,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        _, _, P_l, P_tr, P_b, P_A = self._pressures(x, u)
        mouth, upper = (u.P_mouth - P_l) / self.R_ml, (P_l - P_tr) / self.R_lt
        lower, alveolar = (P_tr - P_b) / self.R_tb, (P_b - P_A) / self.R_bA
        return self.State(
            phase=u.breathing_rate / constant(60.0, "s/min"),
            V_l=mouth - upper,
            V_tr=upper - lower,
            V_b=lower - alveolar,
            V_A=alveolar,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        P_mus, P_pl, P_l, _, P_b, P_A = self._pressures(x, u)
        mL = constant(1000.0, "mL/L")
        return self.Out(
            # 1 cmH2O is 98.0665 Pa, 1 mmHg is 133.322 Pa
            P_pl=P_pl * constant(98.0665 / 133.322387415, "mmHg/cmH2O"),
            air_flow=(P_b - P_A) / self.R_bA * mL,
            mouth_flow=(u.P_mouth - P_l) / self.R_ml * mL,
            V_lung=x.V_l + x.V_tr + x.V_b + x.V_A,
            V_D=x.V_l + x.V_tr + x.V_b,
            P_A=P_A,
            P_mus=P_mus,
        )
