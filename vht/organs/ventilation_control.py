"""Control of breathing by chemoreceptors: how fast and how deep, from the gases of arterial blood."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state
from vht.organs.dissociation import O2_CAPACITY, contents

_SOURCE = "albanese2016"
_RECEPTOR = "ursino2002"
# a twin at rest: what its inputs are where nothing drives them, and what its initial state belongs to
_PAO2, _PACO2 = 97.0, 40.0


def _gain(value: float, unit: str, meaning: str, source: str = _SOURCE) -> Any:
    return param(value, unit, meaning, bounds=(0.0, value * 5), prior=LogNormal(value, 0.3), source=source)


def _time(value: float, meaning: str, source: str = _SOURCE) -> Any:
    return param(value, "s", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.15), source=source)


class VentilationControl(Organ):
    r"""Chemoreflex control of breathing rate and muscle pressure, after Albanese et al. 2016 (12 states).

    Central chemoreceptors answer arterial carbon dioxide, :math:`u_c = P_{aCO_2}(t - D_c) - P_{aCO_2,n}`; peripheral ones
    fire at a rate `f` that oxygen, carbon dioxide and its rate of change set (Ursino and Magosso 2002),
    :math:`u_p = f(t - D_p) - f_n`. Each moves rate and amplitude with a time constant of its own (equations A79 to A84):

    .. math::
        \tau\, \Delta' = -\Delta + G\,u, \qquad
        RR = RR_0 + \Delta_{RR,c} + \Delta_{RR,p}, \qquad A = A_0 + \Delta_{A,c} + \Delta_{A,p}

    with

    .. math::
        f_{stat} = K_{stat}\,(1 - e^{-\phi / K_{stat}}), \quad
        \phi = K_{CO_2} (C_{aCO_2} - C_t)^+ K_{O_2} (1 - e^{-X / K_{O_2}}), \quad X = X_1 (1 - S_{aO_2}) + X_0

    and, for changes, :math:`f_{dyn} = K_{dyn} (1 - e^{-\psi / K_{dyn}})` with
    :math:`\tau_h \psi' = -\psi + \tau_z C_{aCO_2}'`; the sum passes a lag and is never negative.

    Inputs are partial pressures, as a laboratory reports them; content and saturation follow from Spencer's curves, in
    closed form. `breathing_rate` and `amplitude` drive `Lungs`; where breaths are averaged, `alveolar_ventilation` drives
    `GasExchange`: of a tidal volume proportional to the amplitude, what passes a well-mixed dead space,
    :math:`V_A = RR\,(V_{T,A} - V_D \tanh(V_{T,A} / 2 V_D))`.

    **What differs from the paper.** Delays are chains of three lags; with those of `GasExchange` they move ventilation, after
    a step to 5 % carbon dioxide, by 1.4 % of its rise at most. Rate and amplitude are kept between limits, which the
    responses below do not reach. `f_n` is 2.9/s, not 3.7: it is `f` at rest, so that nothing drives a twin at rest. Where the
    paper's 3.7 comes from is not known: with its saturation (equation A56) `f` would be 3.5 if 1 mmol of gas is 22.4 mL, as
    here, and 3.0 if it is 22.7 mL. Gains of the amplitude are read as thousandths of the paper's 1,310 and 850 in cmH2O
    (Table 6), as other implementations do: as printed, no breath would be possible.

    The averaged tidal volume is that of `Lungs` at rest for each cmH2O. At 20, 30 and 40 breaths a minute those breathe 5, 13
    and 21 % less with the same amplitude, because their airways resist.

    In the closed loop with `GasExchange`, ventilation is 6.7 L/min at rest, 11.0, 19.5 and 29.0 L/min while breathing 3, 5
    and 6 % carbon dioxide, and grows by 1.2 L/min for 1 % of saturation
    lost at constant carbon dioxide and by 3.5 L/min for 1 mmHg of that at constant oxygen; people differ, but most respond
    to carbon dioxide less steeply (means of 1.3 to 3.0 in published groups).

    No signal of exercise itself is in the paper: in exercise ventilation rises by the carbon dioxide that muscle makes, so
    that its pressure must rise a little, where it hardly does in people.

    Verified against SciPy on the equations written again, against the same loop with pure delays, and against published
    ventilatory responses to hypercapnia and hypoxia (tests/organs/test_ventilation_control.py).
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    RR_0: Scalar = param(
        12.0, "1/min", "breathing rate without drive", bounds=(4.0, 40.0), prior=LogNormal(12.0, 0.1), source=_SOURCE
    )
    A_0: Scalar = param(
        5.0, "cmH2O", "amplitude without drive", bounds=(0.0, 30.0), prior=LogNormal(5.0, 0.1), source=_SOURCE
    )
    PaCO2_n: Scalar = param(
        40.0, "mmHg", "arterial carbon dioxide without central drive", bounds=(25.0, 60.0), source=_SOURCE
    )
    G_cA: Scalar = _gain(0.85, "cmH2O/mmHg", "amplitude per central drive")
    G_cf: Scalar = _gain(0.9, "1/(min*mmHg)", "breathing rate per central drive")
    tau_cA: Scalar = _time(105.0, "time constant of the amplitude, central")
    tau_cf: Scalar = _time(400.0, "time constant of the breathing rate, central")
    D_c: Scalar = _time(8.0, "delay to the central chemoreceptors")
    G_pA: Scalar = _gain(1.31, "cmH2O*s", "amplitude per peripheral drive")
    G_pf: Scalar = _gain(0.8735, "s/min", "breathing rate per peripheral drive")
    tau_pA: Scalar = _time(83.0, "time constant of the amplitude, peripheral")
    tau_pf: Scalar = _time(147.78, "time constant of the breathing rate, peripheral")
    D_p: Scalar = _time(7.0, "delay to and from the peripheral chemoreceptors")
    f_n: Scalar = param(
        2.9,
        "1/s",
        "firing of the peripheral chemoreceptors at rest",
        bounds=(0.0, 10.0),
        source="their firing at 97 and 40 mmHg; Albanese et al. 2016, Table 6, has 3.7",
    )
    X_0: Scalar = _gain(10.18, "1", "oxygen's effect on them at full saturation", _RECEPTOR)
    X_1: Scalar = _gain(600.0, "1", "oxygen's effect on them per loss of saturation", _RECEPTOR)
    K_O2: Scalar = _gain(200.0, "1", "largest effect of oxygen", _RECEPTOR)
    K_CO2: Scalar = _gain(1.0, "1/s", "firing per content of carbon dioxide and effect of oxygen", _RECEPTOR)
    C_t: Scalar = param(
        0.36, "1", "content of carbon dioxide below which they are silent", bounds=(0.2, 0.45), source=_RECEPTOR
    )
    K_stat: Scalar = param(
        20.0,
        "1/s",
        "largest firing at constant gases",
        bounds=(5.0, 60.0),
        prior=LogNormal(20.0, 0.2),
        source=_RECEPTOR,
    )
    K_dyn: Scalar = param(
        45.0, "1/s", "largest firing by rising carbon dioxide", bounds=(10.0, 200.0), source=_RECEPTOR
    )
    tau_h: Scalar = _time(3.5, "time constant of the response to changes", _RECEPTOR)
    Z_h: Scalar = _gain(600.0, "1", "firing per rate of change of content", _RECEPTOR)
    tau_l: Scalar = _time(3.5, "time constant of their firing", _RECEPTOR)
    RR_min: Scalar = param(
        4.0, "1/min", "slowest breathing", bounds=(0.0, 10.0), source="a limit that the paper does not need"
    )
    RR_max: Scalar = param(
        60.0, "1/min", "fastest breathing", bounds=(30.0, 80.0), source="a limit that the paper does not need"
    )
    A_max: Scalar = param(
        45.0,
        "cmH2O",
        "largest amplitude",
        bounds=(10.0, 100.0),
        source="a breath as large as a vital capacity of 4.8 L",
    )
    E: Scalar = param(
        0.1083, "L/cmH2O", "tidal volume per amplitude", bounds=(0.02, 0.3), source="that of `Lungs` at rest"
    )
    share: Scalar = param(
        0.928,
        "1",
        "share of the tidal volume that fills alveoli, not airways",
        bounds=(0.5, 1.0),
        source="that of `Lungs` at rest: compliance of the alveoli over that of alveoli, bronchi and trachea",
    )
    V_D: Scalar = param(
        0.151, "L", "dead space", bounds=(0.05, 0.5), prior=LogNormal(0.151, 0.15), source="that of `Lungs` at rest"
    )

    class State(Vars):
        c1: Scalar = state(_PACO2, "mmHg", "arterial carbon dioxide, delayed by a third of D_c")
        c2: Scalar = state(_PACO2, "mmHg", "arterial carbon dioxide, delayed by two thirds of D_c")
        c3: Scalar = state(_PACO2, "mmHg", "arterial carbon dioxide, delayed by D_c")
        z: Scalar = state(0.478, "1", "arterial content of carbon dioxide, lagging by tau_h")
        f: Scalar = state(2.9, "1/s", "firing of the peripheral chemoreceptors")
        p1: Scalar = state(2.9, "1/s", "their firing, delayed by a third of D_p")
        p2: Scalar = state(2.9, "1/s", "their firing, delayed by two thirds of D_p")
        p3: Scalar = state(2.9, "1/s", "their firing, delayed by D_p")
        A_c: Scalar = state(0.0, "cmH2O", "change of the amplitude, central")
        A_p: Scalar = state(0.0, "cmH2O", "change of the amplitude, peripheral")
        RR_c: Scalar = state(0.0, "1/min", "change of the breathing rate, central")
        RR_p: Scalar = state(0.0, "1/min", "change of the breathing rate, peripheral")

    class In(Vars):
        PaO2: Scalar = port("mmHg", "partial pressure of oxygen in arterial blood", default=_PAO2)
        PaCO2: Scalar = port("mmHg", "partial pressure of carbon dioxide in arterial blood", default=_PACO2)

    class Out(Vars):
        breathing_rate: Scalar = port("1/min", "breaths per minute")
        amplitude: Scalar = port("cmH2O", "largest pressure of the breathing muscles, inwards")
        f_peripheral: Scalar = port("1/s", "firing of the peripheral chemoreceptors")
        tidal_volume: Scalar = port("L", "volume of a breath (BTPS)")
        minute_ventilation: Scalar = port("L/min", "air breathed in a minute (BTPS)")
        alveolar_ventilation: Scalar = port("L/min", "ventilation of the alveoli, averaged over breaths (BTPS)")

    def _blood(self, u: In) -> tuple[Scalar, Scalar]:
        """Saturation with oxygen, and content of carbon dioxide."""
        C_O2, C_CO2 = contents(u.PaO2, u.PaCO2)
        return C_O2 / O2_CAPACITY, C_CO2

    def _firing(self, saturation: Scalar, content: Scalar, z: Scalar) -> Scalar:
        """What the peripheral chemoreceptors' firing goes to."""
        X = self.X_0 + self.X_1 * (1.0 - saturation)
        oxygen = self.K_O2 * (1.0 - jnp.exp(-X / self.K_O2))
        phi = self.K_CO2 * jnp.maximum(content - self.C_t, 0.0) * oxygen
        # z lags behind the content, so that what is between them is the lagged rate of change times tau_h
        psi = self.Z_h * (content - z) / self.tau_h
        dynamic = self.K_dyn * (1.0 - jnp.exp(-jnp.clip(psi / self.K_dyn, -20.0, 20.0)))
        return self.K_stat * (1.0 - jnp.exp(-phi / self.K_stat)) + dynamic

    def initial(self) -> State:
        """The steady state while nothing drives the inputs."""
        rest = self.In(PaO2=constant(_PAO2, "mmHg"), PaCO2=constant(_PACO2, "mmHg"))
        saturation, content = self._blood(rest)
        f = self._firing(saturation, content, content)
        u_c, u_p = rest.PaCO2 - self.PaCO2_n, f - self.f_n
        return self.State(
            c1=rest.PaCO2,
            c2=rest.PaCO2,
            c3=rest.PaCO2,
            z=content,
            f=f,
            p1=f,
            p2=f,
            p3=f,
            A_c=self.G_cA * u_c,
            A_p=self.G_pA * u_p,
            RR_c=self.G_cf * u_c,
            RR_p=self.G_pf * u_p,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        saturation, content = self._blood(u)
        lag_c, lag_p = self.D_c / 3.0, self.D_p / 3.0
        u_c = x.c3 - self.PaCO2_n
        u_p = x.p3 - self.f_n
        firing = jnp.maximum(x.f, 0.0)
        return self.State(
            c1=(u.PaCO2 - x.c1) / lag_c,
            c2=(x.c1 - x.c2) / lag_c,
            c3=(x.c2 - x.c3) / lag_c,
            z=(content - x.z) / self.tau_h,
            f=(self._firing(saturation, content, x.z) - x.f) / self.tau_l,
            p1=(firing - x.p1) / lag_p,
            p2=(x.p1 - x.p2) / lag_p,
            p3=(x.p2 - x.p3) / lag_p,
            A_c=(self.G_cA * u_c - x.A_c) / self.tau_cA,
            A_p=(self.G_pA * u_p - x.A_p) / self.tau_pA,
            RR_c=(self.G_cf * u_c - x.RR_c) / self.tau_cf,
            RR_p=(self.G_pf * u_p - x.RR_p) / self.tau_pf,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        rate = jnp.clip(self.RR_0 + x.RR_c + x.RR_p, self.RR_min, self.RR_max)
        amplitude = jnp.clip(self.A_0 + x.A_c + x.A_p, 0.0, self.A_max)
        tidal = self.E * amplitude
        alveolar = self.share * tidal
        return self.Out(
            breathing_rate=rate,
            amplitude=amplitude,
            f_peripheral=jnp.maximum(x.f, 0.0),
            tidal_volume=tidal,
            minute_ventilation=rate * tidal,
            alveolar_ventilation=rate * (alveolar - self.V_D * jnp.tanh(alveolar / (2.0 * self.V_D))),
        )
