"""The carotid baroreflex of Ursino 1998: from arterial pressure to heart, resistances and veins."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vht.model import LogNormal, Normal, Organ, Scalar, Vars, constant, param, port, state

_SOURCE = "ursino1998heart"
_TABLE = "ursino1998heart, table of the carotid baroreflex"
_REST = "time average of the default heart and reflex at rest, joined; this library"


def _gain(value: float, unit: str, effect: str) -> Any:
    low, high = sorted((0.0, value * 4))
    prior = Normal(value, abs(value) * 0.15)
    return param(value, unit, f"gain of {effect}", bounds=(low, high), prior=prior, source=_TABLE)


def _basal(value: float, unit: str, effect: str) -> Any:
    meaning = f"{effect} without sympathetic drive"
    prior = LogNormal(value, 0.05)
    return param(value, unit, meaning, bounds=(value / 3, value * 3), prior=prior, source=_TABLE)


def _tau(value: float, effect: str) -> Any:
    return param(value, "s", f"time constant of {effect}", bounds=(value / 5, value * 5), source=_TABLE)


def _delay(value: float, effect: str) -> Any:
    return param(value, "s", f"mean delay of {effect}", bounds=(value / 4, value * 4), source=_TABLE)


def _frequency(value: float, meaning: str, source: str = _TABLE) -> Any:
    return param(value, "1/s", meaning, bounds=(value / 5, value * 5), source=source)


class Baroreflex(Organ):
    r"""Carotid baroreflex after Ursino 1998: what arterial pressure does to heart, resistance vessels and veins (19 states).

    Baroreceptors answer to pressure and to its rate, and saturate; sympathetic activity falls, vagal activity rises with
    theirs:

    .. math::
        \tau_p\,\tilde p' = p + \tau_z\,p' - \tilde p, \qquad
        f_{cs} = f_{min} + \frac{f_{max} - f_{min}}{1 + e^{(p_n - \tilde p)/k_a}}, \qquad
        f_{es} = f_{es,\infty} + (f_{es,0} - f_{es,\infty})\,e^{-k_{es} f_{cs}}, \qquad
        f_{ev} = f_{ev,0} + \frac{f_{ev,\infty} - f_{ev,0}}{1 + e^{(f_{cs,0} - f_{cs})/k_{ev}}}

    An effector :math:`\theta` (end-systolic elastances, peripheral resistances, venous unstressed volumes, heart period) is
    :math:`\theta_0 + \Delta\theta` with :math:`\tau\,\Delta\theta' = G\,\ln(1 + f_{es}(t - D) - f_{es,min}) - \Delta\theta`,
    the logarithm being 0 below :math:`f_{es,min}`; the vagus adds :math:`\Delta T` with a drive :math:`G_{T,v} f_{ev}(t - D)`.
    The derivative of pressure is not needed: :math:`\tilde p = w + (\tau_z/\tau_p)(p - w)` with :math:`\tau_p w' = p - w`.

    **Delays.** A pure delay becomes a chain of equal first-order lags with the same mean: four for the 2 s of elastances,
    resistances and heart period, four more up to the 5 s of unstressed volumes, two for the 0.2 s of the vagus. They delay
    the logarithm rather than the frequency, which for a pure delay is the same, and so leave means right. What it costs: after
    a step of pressure, heart period and resistances are for an instant up to 12 % of their change away from those with pure
    delays, unstressed volumes 6 %; in the closed loop that loses a tenth of its blood, pressure differs by 0.04 mmHg and heart
    rate by 0.05 a minute (root mean square over 45 s, beats smoothed out). A chain damps what is faster: at 0.1 Hz the
    sympathetic path passes 83 % of what a pure delay passes.

    **Off, and beyond.** `gain` scales how far both activities leave their resting means: 1 is the paper, 0 holds every
    effector at rest (denervated), for comparison. `sympathetic` and `vagal` add what other reflexes and centres contribute
    to both activities, in spikes/s, as central command does in Magosso and Ursino 2002 (their other reflexes act on
    sympathetic activity within its exponential). Outputs are the inputs of `PulsatileCirculation`, in equal units; the input
    is its `p_cs`. Whatever the inputs, the heart period stays above `T_min` and resistances positive.

    Values are the paper's as public reimplementations give them (two or more for each, which agree); the paper's text was not
    at hand. Bounds and priors are this library's; a prior describes no measured population. The initial state is that of rest,
    joined to the heart; alone, at its default pressure without pulse, the reflex settles in a minute (0.85 to 0.87 s).

    Verified against the equations as the paper writes them, with the rate of pressure, by SciPy (states within 1e-8 of their
    range). Joined to `PulsatileCirculation` it rests at 71 beats a minute and at the basal elastances, resistances and
    unstressed volumes of the paper's other tables, within 0.4 %. With a constant pressure in the carotid sinus arterial
    pressure is a falling sigmoid of it, from 186 to 47 mmHg, with a gain of up to 3.3; pulsation of 40 mmHg lowers that to 1.2
    (the paper: lowers it). After the loss of a tenth of the blood mean arterial pressure falls by 10 mmHg and without reflex
    by 23; of single effectors veins are missed most, then resistances, heart rate, elastances (the paper: veins most).

    Tilted head up by 60 degrees: heart rate +9.6 a minute, systolic pressure -5.6, diastolic +1.4 mmHg, all within two standard
    deviations of a repetition around people's mean (Hainsworth and Al-Shamma 1988: +14.7, +1.0, +13.6), mean pressure -0.8
    mmHg; cardiac output falls by 0.6 L/min, in people by 1.4 (0.7 to 2.1), which is too little. With Heldt's 7 mmHg in
    splanchnic veins (`P_abdomen`) it falls by 1.3 L/min and heart rate rises by 15, but mean pressure falls by 11 mmHg: the
    paper has no cardiopulmonary reflex (`CardiopulmonaryReflex` drives `sympathetic`).
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    gain: Scalar = param(
        1.0,
        "1",
        "share of the reflex that is at work: 1 all of it, 0 none",
        bounds=(0.0, 3.0),
        source="1 is ursino1998heart; this library's, for comparison",
    )
    p_n: Scalar = param(
        92.0,
        "mmHg",
        "pressure in the middle of the baroreceptors' range",
        bounds=(50.0, 160.0),
        prior=Normal(92.0, 5.0),
        source=_TABLE,
    )
    k_a: Scalar = param(
        11.758,
        "mmHg",
        "width of the baroreceptors' range",
        bounds=(3.0, 50.0),
        prior=LogNormal(11.758, 0.15),
        source=_TABLE,
    )
    f_min: Scalar = _frequency(2.52, "least frequency of the baroreceptors")
    f_max: Scalar = _frequency(47.78, "largest frequency of the baroreceptors")
    tau_z: Scalar = _tau(6.37, "the baroreceptors' answer to the rate of pressure")
    tau_p: Scalar = _tau(2.076, "the baroreceptors' lag")
    f_es_inf: Scalar = _frequency(2.10, "sympathetic frequency that is left when baroreceptors fire without end")
    f_es_0: Scalar = _frequency(16.11, "sympathetic frequency when baroreceptors are silent")
    f_es_min: Scalar = _frequency(2.66, "sympathetic frequency below which effectors do not answer")
    k_es: Scalar = param(
        0.0675,
        "s",
        "how fast sympathetic activity falls with baroreceptor activity",
        bounds=(0.01, 0.3),
        source=_TABLE,
    )
    f_ev_0: Scalar = _frequency(3.2, "least vagal frequency")
    f_ev_inf: Scalar = _frequency(6.3, "largest vagal frequency")
    f_cs_0: Scalar = _frequency(25.0, "baroreceptor frequency in the middle of the vagal range")
    k_ev: Scalar = _frequency(7.06, "width of the vagal range, in baroreceptor frequency")
    f_es_rest: Scalar = _frequency(4.931, "sympathetic frequency at rest", _REST)
    f_ev_rest: Scalar = _frequency(4.665, "vagal frequency at rest", _REST)

    E_lv0: Scalar = _basal(2.392, "mmHg/mL", "end-systolic elastance of the left ventricle")
    E_rv0: Scalar = _basal(1.412, "mmHg/mL", "end-systolic elastance of the right ventricle")
    R_sp0: Scalar = _basal(2.49, "mmHg*s/mL", "resistance of the splanchnic periphery")
    R_ep0: Scalar = _basal(0.78, "mmHg*s/mL", "resistance of the extrasplanchnic periphery")
    V_usv0: Scalar = param(
        1435.4,
        "mL",
        "unstressed volume of the splanchnic veins without sympathetic drive",
        bounds=(500.0, 3000.0),
        prior=LogNormal(1435.4, 0.03),
        source=_TABLE,
    )
    V_uev0: Scalar = param(
        1537.0,
        "mL",
        "unstressed volume of the extrasplanchnic veins without sympathetic drive",
        bounds=(500.0, 3000.0),
        prior=LogNormal(1537.0, 0.03),
        source=_TABLE,
    )
    T_0: Scalar = _basal(0.58, "s", "heart period of the denervated heart; heart period")
    G_E_lv: Scalar = _gain(0.475, "mmHg/mL", "the elastance of the left ventricle")
    G_E_rv: Scalar = _gain(0.282, "mmHg/mL", "the elastance of the right ventricle")
    G_R_sp: Scalar = _gain(0.695, "mmHg*s/mL", "the resistance of the splanchnic periphery")
    G_R_ep: Scalar = _gain(0.53, "mmHg*s/mL", "the resistance of the extrasplanchnic periphery")
    G_V_usv: Scalar = _gain(-265.4, "mL", "the unstressed volume of the splanchnic veins")
    G_V_uev: Scalar = _gain(-132.5, "mL", "the unstressed volume of the extrasplanchnic veins")
    G_T_s: Scalar = _gain(-0.13, "s", "the heart period, sympathetic")
    G_T_v: Scalar = _gain(0.09, "s^2", "the heart period, vagal")
    tau_E: Scalar = _tau(8.0, "both elastances")
    tau_R: Scalar = _tau(6.0, "both resistances")
    tau_V: Scalar = _tau(20.0, "both unstressed volumes")
    tau_T_s: Scalar = _tau(2.0, "the heart period, sympathetic")
    tau_T_v: Scalar = _tau(1.5, "the heart period, vagal")
    D_s: Scalar = _delay(2.0, "sympathetic effects on heart and resistances")
    D_V: Scalar = param(
        5.0,
        "s",
        "mean delay of effects on unstressed volumes; at least 0.1 s above D_s",
        bounds=(2.5, 20.0),
        source=_TABLE,
    )
    D_v: Scalar = _delay(0.2, "the vagal effect")
    T_min: Scalar = param(
        0.3,
        "s",
        "shortest heart period",
        bounds=(0.2, 0.5),
        source="guard of this library: 200 beats a minute, about the most a young adult reaches",
    )

    class State(Vars):
        w: Scalar = state(99.44, "mmHg", "arterial pressure, lagged")
        s1: Scalar = state(0.0, "1", "sympathetic drive, delayed by 1/4 of D_s")
        s2: Scalar = state(0.0, "1", "sympathetic drive, delayed by 2/4 of D_s")
        s3: Scalar = state(0.0, "1", "sympathetic drive, delayed by 3/4 of D_s")
        s4: Scalar = state(0.0, "1", "sympathetic drive, delayed by D_s")
        s5: Scalar = state(0.0, "1", "sympathetic drive, delayed by 1/4 of the way from D_s to D_V")
        s6: Scalar = state(0.0, "1", "sympathetic drive, delayed by 2/4 of the way from D_s to D_V")
        s7: Scalar = state(0.0, "1", "sympathetic drive, delayed by 3/4 of the way from D_s to D_V")
        s8: Scalar = state(0.0, "1", "sympathetic drive, delayed by D_V")
        v1: Scalar = state(0.0, "1/s", "vagal frequency, delayed by half of D_v")
        v2: Scalar = state(0.0, "1/s", "vagal frequency, delayed by D_v")
        dE_lv: Scalar = state(0.0, "mmHg/mL", "sympathetic part of the elastance of the left ventricle")
        dE_rv: Scalar = state(0.0, "mmHg/mL", "sympathetic part of the elastance of the right ventricle")
        dR_sp: Scalar = state(0.0, "mmHg*s/mL", "sympathetic part of the splanchnic resistance")
        dR_ep: Scalar = state(0.0, "mmHg*s/mL", "sympathetic part of the extrasplanchnic resistance")
        dV_usv: Scalar = state(0.0, "mL", "sympathetic part of the splanchnic unstressed volume")
        dV_uev: Scalar = state(0.0, "mL", "sympathetic part of the extrasplanchnic unstressed volume")
        dT_s: Scalar = state(0.0, "s", "sympathetic part of the heart period")
        dT_v: Scalar = state(0.0, "s", "vagal part of the heart period")

    class In(Vars):
        p: Scalar = port("mmHg", "arterial pressure at the carotid sinus", default=92.0)
        sympathetic: Scalar = port("1/s", "sympathetic activity from elsewhere, spikes/s", kind="flow")
        vagal: Scalar = port("1/s", "vagal activity from elsewhere, spikes/s", kind="flow")

    class Out(Vars):
        T: Scalar = port("s", "heart period")
        E_lv: Scalar = port("mmHg/mL", "end-systolic elastance of the left ventricle")
        E_rv: Scalar = port("mmHg/mL", "end-systolic elastance of the right ventricle")
        R_sp: Scalar = port("mmHg*s/mL", "resistance of the splanchnic periphery")
        R_ep: Scalar = port("mmHg*s/mL", "resistance of the extrasplanchnic periphery")
        V_usv: Scalar = port("mL", "unstressed volume of the splanchnic veins")
        V_uev: Scalar = port("mL", "unstressed volume of the extrasplanchnic veins")
        f_cs: Scalar = port("1/s", "frequency of the baroreceptors, spikes/s")
        f_es: Scalar = port("1/s", "sympathetic frequency, spikes/s")
        f_ev: Scalar = port("1/s", "vagal frequency, spikes/s")

    def initial(self) -> State:
        s = self._drive(self.f_es_rest)
        return self.State(
            w=constant(99.44, "mmHg"),
            s1=s,
            s2=s,
            s3=s,
            s4=s,
            s5=s,
            s6=s,
            s7=s,
            s8=s,
            v1=self.f_ev_rest,
            v2=self.f_ev_rest,
            dE_lv=self.G_E_lv * s,
            dE_rv=self.G_E_rv * s,
            dR_sp=self.G_R_sp * s,
            dR_ep=self.G_R_ep * s,
            dV_usv=self.G_V_usv * s,
            dV_uev=self.G_V_uev * s,
            dT_s=self.G_T_s * s,
            dT_v=self.G_T_v * self.f_ev_rest,
        )

    def _drive(self, f_es: Scalar) -> Scalar:
        return jnp.log1p(jnp.maximum(f_es - self.f_es_min, 0.0) / constant(1.0, "1/s"))

    def _afferent(self, x: State, u: In) -> Scalar:
        p = x.w + self.tau_z / self.tau_p * (u.p - x.w)
        return self.f_min + (self.f_max - self.f_min) * jax.nn.sigmoid((p - self.p_n) / self.k_a)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        f_cs = self._afferent(x, u)
        f_es = self.f_es_inf + (self.f_es_0 - self.f_es_inf) * jnp.exp(-self.k_es * f_cs)
        f_ev = self.f_ev_0 + (self.f_ev_inf - self.f_ev_0) * jax.nn.sigmoid((f_cs - self.f_cs_0) / self.k_ev)
        least = constant(0.01, "mmHg*s/mL")
        return self.Out(
            T=jnp.maximum(self.T_0 + x.dT_s + x.dT_v, self.T_min),
            E_lv=self.E_lv0 + x.dE_lv,
            E_rv=self.E_rv0 + x.dE_rv,
            R_sp=jnp.maximum(self.R_sp0 + x.dR_sp, least),
            R_ep=jnp.maximum(self.R_ep0 + x.dR_ep, least),
            V_usv=self.V_usv0 + x.dV_usv,
            V_uev=self.V_uev0 + x.dV_uev,
            f_cs=f_cs,
            f_es=jnp.maximum(self.f_es_rest + self.gain * (f_es - self.f_es_rest) + u.sympathetic, 0.0),
            f_ev=jnp.maximum(self.f_ev_rest + self.gain * (f_ev - self.f_ev_rest) + u.vagal, 0.0),
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        lag_s = self.D_s / 4.0
        lag_V = jnp.maximum(self.D_V - self.D_s, constant(0.1, "s")) / 4.0
        lag_v = self.D_v / 2.0
        return self.State(
            w=(u.p - x.w) / self.tau_p,
            s1=(self._drive(y.f_es) - x.s1) / lag_s,
            s2=(x.s1 - x.s2) / lag_s,
            s3=(x.s2 - x.s3) / lag_s,
            s4=(x.s3 - x.s4) / lag_s,
            s5=(x.s4 - x.s5) / lag_V,
            s6=(x.s5 - x.s6) / lag_V,
            s7=(x.s6 - x.s7) / lag_V,
            s8=(x.s7 - x.s8) / lag_V,
            v1=(y.f_ev - x.v1) / lag_v,
            v2=(x.v1 - x.v2) / lag_v,
            dE_lv=(self.G_E_lv * x.s4 - x.dE_lv) / self.tau_E,
            dE_rv=(self.G_E_rv * x.s4 - x.dE_rv) / self.tau_E,
            dR_sp=(self.G_R_sp * x.s4 - x.dR_sp) / self.tau_R,
            dR_ep=(self.G_R_ep * x.s4 - x.dR_ep) / self.tau_R,
            dV_usv=(self.G_V_usv * x.s8 - x.dV_usv) / self.tau_V,
            dV_uev=(self.G_V_uev * x.s8 - x.dV_uev) / self.tau_V,
            dT_s=(self.G_T_s * x.s4 - x.dT_s) / self.tau_T_s,
            dT_v=(self.G_T_v * x.v2 - x.dT_v) / self.tau_T_v,
        )
