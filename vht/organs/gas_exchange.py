"""Oxygen and carbon dioxide: from air to alveoli, blood, tissues and back."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, quantity, state
from vht.organs.dissociation import contents, pressures

_SOURCE = "albanese2016"
_QUOTIENT = "Albanese et al. 2016: production over consumption; spread chosen"
# a twin at rest: what its inputs are where nothing drives them, and what its initial state belongs to
_AIR_O2, _AIR_CO2 = 0.210379, 0.000421
_ATMOSPHERE, _CARDIAC_OUTPUT, _VENTILATION = 760.0, 5200.0 / 60.0, 4.5
# a volume of gas at body temperature and its pressure holds so much at standard temperature and pressure: V P / _GAS_LAW
_GAS_LAW = 760.0 * 310.15 / 273.15


def _volume(value: float, meaning: str, source: str = _SOURCE) -> Any:
    return param(value, "mL", meaning, bounds=(value / 5, value * 5), prior=LogNormal(value, 0.15), source=source)


def _consumption(value: float, tissue: str) -> Any:
    meaning = f"oxygen consumed by the {tissue} at rest (STPD)"
    return param(value, "mL/min", meaning, bounds=(0.0, value * 10), prior=LogNormal(value, 0.15), source=_SOURCE)


def _quotient(produced: float, consumed: float, tissue: str) -> Any:
    value, meaning = produced / consumed, f"respiratory quotient of the {tissue}: CO2 produced over O2 consumed"
    return param(value, "1", meaning, bounds=(0.6, 1.2), prior=LogNormal(value, 0.05), source=_QUOTIENT)


def _flow(value: float, tissue: str) -> Any:
    source = "Albanese et al. 2016, Table 1: conductance of the bed over that of all five"
    return param(value, "1", f"blood flow through the {tissue} at rest, in parts", bounds=(0.0, 1.0), source=source)


def _oxygen(value: float, where: str) -> Any:
    return state(value, "1", f"oxygen in blood of the {where}, mL (STPD) in one mL")


def _carbon_dioxide(value: float, where: str) -> Any:
    return state(value, "1", f"carbon dioxide in blood of the {where}, mL (STPD) in one mL")


class _Surroundings(Vars):
    """Inputs that do not depend on how the alveoli are ventilated."""

    blood_flow: Scalar = port("mL/s", "blood flow through the lungs: cardiac output", default=_CARDIAC_OUTPUT)
    metabolism: Scalar = port("1", "the body's consumption over that at rest", default=1.0)
    FiO2: Scalar = port("1", "share of oxygen in dry inspired air", default=_AIR_O2)
    FiCO2: Scalar = port("1", "share of carbon dioxide in dry inspired air", default=_AIR_CO2)
    P_atm: Scalar = port("mmHg", "barometric pressure", default=_ATMOSPHERE)


class GasExchange(Organ):
    r"""Gas exchange in lungs and tissues, and transport by blood, after Albanese et al. 2016 (27 states).

    Air flows through the dead space into the alveoli and back, both well mixed (equations A42 to A45); end-capillary blood
    is in equilibrium with the alveoli (A46 to A53, the dissociation curves of Spencer et al. 1979); a shunt passes by them
    (A54 to A56). Five tissues, each in equilibrium with the blood that leaves it, consume oxygen and produce carbon dioxide
    (A57 to A66):

    .. math::
        V_i\, C_{i,O_2}' = Q_i (C_{a,O_2} - C_{i,O_2}) - M_{i,O_2}, \qquad
        V_i\, C_{i,CO_2}' = Q_i (C_{a,CO_2} - C_{i,CO_2}) + M_{i,CO_2}

    **Two ways to ventilate.** Here the alveoli are ventilated steadily, by the input `alveolar_ventilation`
    (breath-averaged; hours cost little): fresh air passes the dead space into the alveoli and leaves from there.
    ``GasExchange.breathing()``, a `GasExchangeByBreath`, takes single breaths instead: its input is `air_flow`, from
    `Lungs.air_flow`. Nothing else differs.

    **States** are amounts of gas in dead space and alveoli (mL at STPD) and contents of blood and tissues, so that what
    is stored is a sum of states, which every solver keeps to rounding; the closed forms of Spencer's curves are needed
    only forwards for the exchange, and backwards for outputs. The alveoli's volume is constant, or follows from `air_flow`.

    **What differs from the paper.** Its pure delays between lungs and tissues (18 s) and tissues and lungs (10 s) are here
    chains of three mixing compartments, so that transport quickens as flow rises: the first of the volume that a cardiac
    output of 5.2 L/min makes of its delay, the second of all veins, which in the paper are a compartment a tissue. The
    capillaries' own store of gas is left out (some 100 mL of blood beside 2.3 L of alveoli), and so is that of the blood in
    the tissues (0.8 L beside 36 L of tissue; but of the "other tissues", two thirds of their own volume). The dead space has
    a constant volume. Saturation is content over capacity, without the paper's correction by dissolved oxygen (A56), which
    with Spencer's curve makes saturation fall as oxygen rises: at rest it is 1 % lower, if 1 mmol of gas is 22.4 mL as here
    (STPD), and the same to 0.2 % if it is 22.7 mL (at 1 bar), as other implementations have it. Capacity follows hemoglobin.
    Consumption vanishes smoothly as a tissue runs out of oxygen; above 0.05 mL/mL it is the paper's within 1 in 10,000.

    **Exercise** is the input `metabolism`, the body's consumption over that at rest (metabolic equivalents); what exceeds 1
    is muscle's, whose vessels open as it grows. Cardiac output is an input and has to rise too.

    **Limits.** Spencer's curve has no oxygen dissolved beyond saturation: with its shunt, a twin on pure oxygen has an
    arterial pressure near 210 mmHg where people have some 600. Blood flow follows no tissue's need but muscle's: with
    8 g/dL of hemoglobin the heart consumes 4 % less oxygen than it needs. Tissues hold oxygen as blood does, so muscle
    (31 L) holds several litres, more than people do, and venous oxygen takes half an hour to settle, as in the paper.

    The initial state is the steady state at rest, in closed form, for all parameters that leave each tissue the oxygen it
    consumes; where a tissue or vein would have less than none, it begins without.

    Verified against SciPy on the equations written again in fractions, over two minutes of breaths (1e-5, the digits of the
    paper's constant K), against the alveolar ventilation equation (2e-5, likewise), with both gases balanced to 1e-12, and
    against normal blood gases (tests/organs/test_gas_exchange.py).
    """

    time: ClassVar[str] = "s"
    citation: ClassVar[str] = _SOURCE

    V_D: Scalar = _volume(151.0, "dead space", "Albanese et al. 2016: volume of the airways of its lungs at rest")
    V_A0: Scalar = _volume(
        2263.0, "volume of the alveoli at first", "Albanese et al. 2016: alveoli at the end of a quiet expiration"
    )
    P_ws: Scalar = param(47.0, "mmHg", "pressure of water vapour in the airways", bounds=(20.0, 70.0), source=_SOURCE)
    shunt: Scalar = param(
        0.017, "1", "share of blood flow that passes by the alveoli", bounds=(0.0, 0.9), source=_SOURCE
    )
    Hb: Scalar = param(15.0, "g/dL", "hemoglobin", bounds=(2.0, 25.0), prior=LogNormal(15.0, 0.08), source=_SOURCE)
    binding: Scalar = param(
        1.344,
        "mL/g",
        "oxygen that one gram of hemoglobin holds",
        bounds=(1.2, 1.45),
        source="Albanese et al. 2016, Table 4: 9 mmol/L (201.6 mL/L) at 15 g/dL",
    )
    V_art: Scalar = _volume(
        1560.0, "blood from lungs to tissues", "Albanese et al. 2016, Table 5: a delay of 18 s, here at 5.2 L/min"
    )
    V_ven: Scalar = _volume(
        3000.0,
        "blood from tissues to lungs",
        "Albanese et al. 2016: 5.3 L of blood, less that to the tissues and in them",
    )
    VT_h: Scalar = _volume(284.0, "heart")
    VT_b: Scalar = _volume(1300.0, "brain")
    VT_m: Scalar = _volume(31200.0, "skeletal muscle")
    VT_s: Scalar = _volume(2673.0, "splanchnic organs")
    VT_e: Scalar = _volume(262.0, "other tissues")
    MO2_h: Scalar = _consumption(24.0, "heart")
    MO2_b: Scalar = _consumption(47.502, "brain")
    MO2_m: Scalar = _consumption(51.6, "skeletal muscle")
    MO2_s: Scalar = _consumption(108.419, "splanchnic organs")
    MO2_e: Scalar = _consumption(14.683, "other tissues")
    RQ_h: Scalar = _quotient(20.16, 24.0, "heart")
    RQ_b: Scalar = _quotient(39.961, 47.502, "brain")
    RQ_m: Scalar = _quotient(43.344, 51.6, "skeletal muscle")
    RQ_s: Scalar = _quotient(91.072, 108.419, "splanchnic organs")
    RQ_e: Scalar = _quotient(12.337, 14.683, "other tissues")
    q_h: Scalar = _flow(0.0501, "heart")
    q_b: Scalar = _flow(0.1503, "brain")
    q_m: Scalar = _flow(0.2204, "skeletal muscle")
    q_s: Scalar = _flow(0.2986, "splanchnic organs")
    q_e: Scalar = _flow(0.2806, "other tissues")
    opening: Scalar = param(
        1.29,
        "1",
        "by how much muscle's vessels open for one metabolic equivalent more",
        bounds=(0.0, 5.0),
        source="Åstrand et al. 1964: 6 L/min of cardiac output for 1 L/min of oxygen; all of it through muscle",
    )
    C_out: Scalar = param(
        0.005,
        "1",
        "oxygen content below which tissues run out of it",
        bounds=(1e-4, 0.02),
        source="numerical: no tissue may consume oxygen it does not have",
    )

    class State(Vars):
        V_A: Scalar = state(2263.0, "mL", "volume of the alveoli (BTPS)")
        nO2_D: Scalar = state(26.2, "mL", "oxygen in the dead space (STPD)")
        nCO2_D: Scalar = state(0.05, "mL", "carbon dioxide in the dead space (STPD)")
        nO2_A: Scalar = state(269.0, "mL", "oxygen in the alveoli (STPD)")
        nCO2_A: Scalar = state(105.0, "mL", "carbon dioxide in the alveoli (STPD)")
        CO2_a1: Scalar = _carbon_dioxide(0.48, "pulmonary veins and left heart")
        CO2_a2: Scalar = _carbon_dioxide(0.48, "large arteries")
        CO2_a3: Scalar = _carbon_dioxide(0.48, "small arteries")
        O2_a1: Scalar = _oxygen(0.19, "pulmonary veins and left heart")
        O2_a2: Scalar = _oxygen(0.19, "large arteries")
        O2_a3: Scalar = _oxygen(0.19, "small arteries")
        O2_h: Scalar = _oxygen(0.1, "heart")
        O2_b: Scalar = _oxygen(0.13, "brain")
        O2_m: Scalar = _oxygen(0.15, "skeletal muscle")
        O2_s: Scalar = _oxygen(0.12, "splanchnic organs")
        O2_e: Scalar = _oxygen(0.18, "other tissues")
        CO2_h: Scalar = _carbon_dioxide(0.56, "heart")
        CO2_b: Scalar = _carbon_dioxide(0.53, "brain")
        CO2_m: Scalar = _carbon_dioxide(0.52, "skeletal muscle")
        CO2_s: Scalar = _carbon_dioxide(0.54, "splanchnic organs")
        CO2_e: Scalar = _carbon_dioxide(0.49, "other tissues")
        O2_v1: Scalar = _oxygen(0.15, "small veins")
        O2_v2: Scalar = _oxygen(0.15, "large veins")
        O2_v3: Scalar = _oxygen(0.15, "right heart and pulmonary arteries")
        CO2_v1: Scalar = _carbon_dioxide(0.52, "small veins")
        CO2_v2: Scalar = _carbon_dioxide(0.52, "large veins")
        CO2_v3: Scalar = _carbon_dioxide(0.52, "right heart and pulmonary arteries")

    class In(_Surroundings):
        alveolar_ventilation: Scalar = port("L/min", "steady ventilation of the alveoli (BTPS)", default=_VENTILATION)

    class Out(Vars):
        PaO2: Scalar = port("mmHg", "partial pressure of oxygen in arterial blood")
        PaCO2: Scalar = port("mmHg", "partial pressure of carbon dioxide in arterial blood")
        SaO2: Scalar = port("1", "arterial saturation of hemoglobin with oxygen")
        PvO2: Scalar = port("mmHg", "partial pressure of oxygen in mixed venous blood")
        PvCO2: Scalar = port("mmHg", "partial pressure of carbon dioxide in mixed venous blood")
        SvO2: Scalar = port("1", "mixed venous saturation of hemoglobin with oxygen")
        PAO2: Scalar = port("mmHg", "partial pressure of oxygen in the alveoli; end-tidal as they are emptied")
        PACO2: Scalar = port("mmHg", "partial pressure of carbon dioxide in the alveoli; end-tidal as they are emptied")
        PDCO2: Scalar = port(
            "mmHg", "partial pressure of carbon dioxide in the dead space: a capnogram, breath by breath"
        )
        CaO2: Scalar = port("1", "arterial content of oxygen, mL (STPD) in one mL")
        CaCO2: Scalar = port("1", "arterial content of carbon dioxide, mL (STPD) in one mL")
        CvO2: Scalar = port("1", "mixed venous content of oxygen, mL (STPD) in one mL")
        CvCO2: Scalar = port("1", "mixed venous content of carbon dioxide, mL (STPD) in one mL")
        VO2: Scalar = port("mL/min", "uptake of oxygen by blood in the lungs (STPD)")
        VCO2: Scalar = port("mL/min", "release of carbon dioxide by blood in the lungs (STPD)")
        DO2: Scalar = port("mL/min", "oxygen that arterial blood delivers (STPD)")
        air_O2: Scalar = port("mL/min", "oxygen that comes in by the mouth, less what leaves (STPD)")
        air_CO2: Scalar = port("mL/min", "carbon dioxide that leaves by the mouth, less what comes in (STPD)")
        consumed_O2: Scalar = port("mL/min", "oxygen that tissues consume (STPD)")
        produced_CO2: Scalar = port("mL/min", "carbon dioxide that tissues produce (STPD)")
        store_O2: Scalar = port("mL", "oxygen in air, blood and tissues (STPD)")
        store_CO2: Scalar = port("mL", "carbon dioxide in air, blood and tissues (STPD)")

    class Conserved(Vars):
        V_A: Scalar = quantity("mL", "volume of the alveoli (BTPS)")

    def conserved(self, x: State) -> Conserved:
        return self.Conserved(V_A=x.V_A)

    @classmethod
    def breathing(cls) -> GasExchangeByBreath:
        """Ventilated by single breaths, from the input `air_flow`."""
        return GasExchangeByBreath()

    def initial(self) -> State:
        """The steady state while nothing drives the inputs."""
        minute = constant(60.0, "s/min")
        rest = _Surroundings(
            blood_flow=constant(_CARDIAC_OUTPUT, "mL/s"),
            metabolism=1.0,
            FiO2=_AIR_O2,
            FiCO2=_AIR_CO2,
            P_atm=constant(_ATMOSPHERE, "mmHg"),
        )
        ventilation = constant(_VENTILATION * 1000.0, "mL/min")
        k = constant(_GAS_LAW, "mmHg")
        MO2 = self.MO2_h + self.MO2_b + self.MO2_m + self.MO2_s + self.MO2_e
        MCO2 = (
            self.RQ_h * self.MO2_h
            + self.RQ_b * self.MO2_b
            + self.RQ_m * self.MO2_m
            + self.RQ_s * self.MO2_s
            + self.RQ_e * self.MO2_e
        )
        PIO2, PICO2 = self._inspired(rest)
        PAO2 = PIO2 - k * MO2 / ventilation
        PACO2 = PICO2 + k * MCO2 / ventilation
        cO2, cCO2 = contents(PAO2, PACO2, self._capacity())
        dO2, dCO2 = MO2 / (rest.blood_flow * minute), MCO2 / (rest.blood_flow * minute)
        passing = self.shunt / (1.0 - self.shunt)
        aO2, aCO2 = cO2 - passing * dO2, cCO2 + passing * dCO2
        flows = self._flows(rest)

        def behind(content: Scalar, change: Scalar, flow: Scalar) -> Scalar:
            return jnp.maximum(content + change / (flow * minute), 0.0)

        Qh, Qb, Qm, Qs, Qe = flows
        vO2, vCO2 = jnp.maximum(aO2 - dO2, 0.0), aCO2 + dCO2
        return self.State(
            V_A=self.V_A0,
            nO2_D=self.V_D * PIO2 / k,
            nCO2_D=self.V_D * PICO2 / k,
            nO2_A=self.V_A0 * PAO2 / k,
            nCO2_A=self.V_A0 * PACO2 / k,
            O2_a1=aO2,
            O2_a2=aO2,
            O2_a3=aO2,
            CO2_a1=aCO2,
            CO2_a2=aCO2,
            CO2_a3=aCO2,
            O2_h=behind(aO2, -self.MO2_h, Qh),
            O2_b=behind(aO2, -self.MO2_b, Qb),
            O2_m=behind(aO2, -self.MO2_m, Qm),
            O2_s=behind(aO2, -self.MO2_s, Qs),
            O2_e=behind(aO2, -self.MO2_e, Qe),
            CO2_h=behind(aCO2, self.RQ_h * self.MO2_h, Qh),
            CO2_b=behind(aCO2, self.RQ_b * self.MO2_b, Qb),
            CO2_m=behind(aCO2, self.RQ_m * self.MO2_m, Qm),
            CO2_s=behind(aCO2, self.RQ_s * self.MO2_s, Qs),
            CO2_e=behind(aCO2, self.RQ_e * self.MO2_e, Qe),
            O2_v1=vO2,
            O2_v2=vO2,
            O2_v3=vO2,
            CO2_v1=vCO2,
            CO2_v2=vCO2,
            CO2_v3=vCO2,
        )

    def _capacity(self) -> Scalar:
        """Oxygen content of blood that is full of it."""
        return self.Hb * self.binding / constant(100.0, "mL/dL")

    def _inspired(self, u: _Surroundings) -> tuple[Scalar, Scalar]:
        """Partial pressures of oxygen and carbon dioxide in inspired air, warm and moist, mmHg."""
        dry = u.P_atm - self.P_ws
        return u.FiO2 * dry, u.FiCO2 * dry

    def _flows(self, u: _Surroundings) -> tuple[Scalar, Scalar, Scalar, Scalar, Scalar]:
        """Blood flow through heart, brain, muscle, splanchnic organs and the others, mL/s; none flows backwards."""
        muscle = self.q_m * (1.0 + self.opening * jnp.maximum(u.metabolism - 1.0, 0.0))
        part = jnp.maximum(u.blood_flow, 0.0) / (self.q_h + self.q_b + muscle + self.q_s + self.q_e)
        return part * self.q_h, part * self.q_b, part * muscle, part * self.q_s, part * self.q_e

    def _air(self, u: Any) -> tuple[Scalar, Scalar, Scalar]:
        """Flow of air into the alveoli, steadily through them, and by breaths out of them, mL/s (BTPS)."""
        steady = jnp.maximum(u.alveolar_ventilation, 0.0) * constant(1000.0 / 60.0, "mL*min/(L*s)")
        return steady, steady, constant(0.0, "mL/s")

    def _alveolar(self, x: State) -> tuple[Scalar, Scalar]:
        """Partial pressures of oxygen and carbon dioxide in the alveoli, mmHg."""
        k = constant(_GAS_LAW, "mmHg")
        return k * x.nO2_A / x.V_A, k * x.nCO2_A / x.V_A

    def _lungs(self, x: State, u: _Surroundings) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """Uptake of oxygen and release of carbon dioxide, mL/s, and contents of the blood that leaves the lungs."""
        PAO2, PACO2 = self._alveolar(x)
        cO2, cCO2 = contents(PAO2, PACO2, self._capacity())
        exchanging = (1.0 - self.shunt) * jnp.maximum(u.blood_flow, 0.0)
        aO2 = cO2 + self.shunt * (x.O2_v3 - cO2)
        aCO2 = cCO2 + self.shunt * (x.CO2_v3 - cCO2)
        return exchanging * (cO2 - x.O2_v3), exchanging * (x.CO2_v3 - cCO2), aO2, aCO2

    def _metabolism(self, x: State, u: _Surroundings) -> tuple[tuple[Scalar, ...], tuple[Scalar, ...]]:
        """Consumption of oxygen and production of carbon dioxide in the five tissues, mL/s."""
        rest, more = jnp.clip(u.metabolism, 0.0, 1.0), jnp.maximum(u.metabolism - 1.0, 0.0)
        O2 = (self.MO2_h, self.MO2_b, self.MO2_m, self.MO2_s, self.MO2_e)
        CO2 = (
            self.RQ_h * self.MO2_h,
            self.RQ_b * self.MO2_b,
            self.RQ_m * self.MO2_m,
            self.RQ_s * self.MO2_s,
            self.RQ_e * self.MO2_e,
        )
        extra = (0.0, 0.0, more, 0.0, 0.0)
        there = tuple(
            (1.0 - jnp.exp(-jnp.maximum(c, 0.0) / self.C_out)) / constant(60.0, "s/min")
            for c in (x.O2_h, x.O2_b, x.O2_m, x.O2_s, x.O2_e)
        )

        def rates(at_rest: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
            h, b, m, s, e = at_rest
            whole = h + b + m + s + e
            return tuple(a * (rest * M + f * whole) for a, M, f in zip(there, at_rest, extra, strict=True))

        return rates(O2), rates(CO2)

    def rates(self, t: Scalar, x: State, u: _Surroundings) -> State:
        k = constant(_GAS_LAW, "mmHg")
        entering, steady, leaving = self._air(u)
        PIO2, PICO2 = self._inspired(u)
        PDO2, PDCO2 = k * x.nO2_D / self.V_D, k * x.nCO2_D / self.V_D
        PAO2, PACO2 = self._alveolar(x)
        uptake, release, aO2, aCO2 = self._lungs(x, u)
        Q = jnp.maximum(u.blood_flow, 0.0)
        Qh, Qb, Qm, Qs, Qe = self._flows(u)
        (Oh, Ob, Om, Os, Oe), (Ch, Cb, Cm, Cs, Ce) = self._metabolism(x, u)
        art, ven = Q / (self.V_art / 3.0), Q / (self.V_ven / 3.0)
        # blood from all tissues together, mL of gas in a second
        returned_O2 = Qh * x.O2_h + Qb * x.O2_b + Qm * x.O2_m + Qs * x.O2_s + Qe * x.O2_e
        returned_CO2 = Qh * x.CO2_h + Qb * x.CO2_b + Qm * x.CO2_m + Qs * x.CO2_s + Qe * x.CO2_e
        return self.State(
            V_A=entering - steady - leaving,
            nO2_D=(entering * (PIO2 - PDO2) + leaving * (PAO2 - PDO2)) / k,
            nCO2_D=(entering * (PICO2 - PDCO2) + leaving * (PACO2 - PDCO2)) / k,
            nO2_A=(entering * PDO2 - (steady + leaving) * PAO2) / k - uptake,
            nCO2_A=(entering * PDCO2 - (steady + leaving) * PACO2) / k + release,
            O2_a1=art * (aO2 - x.O2_a1),
            O2_a2=art * (x.O2_a1 - x.O2_a2),
            O2_a3=art * (x.O2_a2 - x.O2_a3),
            CO2_a1=art * (aCO2 - x.CO2_a1),
            CO2_a2=art * (x.CO2_a1 - x.CO2_a2),
            CO2_a3=art * (x.CO2_a2 - x.CO2_a3),
            O2_h=(Qh * (x.O2_a3 - x.O2_h) - Oh) / self.VT_h,
            O2_b=(Qb * (x.O2_a3 - x.O2_b) - Ob) / self.VT_b,
            O2_m=(Qm * (x.O2_a3 - x.O2_m) - Om) / self.VT_m,
            O2_s=(Qs * (x.O2_a3 - x.O2_s) - Os) / self.VT_s,
            O2_e=(Qe * (x.O2_a3 - x.O2_e) - Oe) / self.VT_e,
            CO2_h=(Qh * (x.CO2_a3 - x.CO2_h) + Ch) / self.VT_h,
            CO2_b=(Qb * (x.CO2_a3 - x.CO2_b) + Cb) / self.VT_b,
            CO2_m=(Qm * (x.CO2_a3 - x.CO2_m) + Cm) / self.VT_m,
            CO2_s=(Qs * (x.CO2_a3 - x.CO2_s) + Cs) / self.VT_s,
            CO2_e=(Qe * (x.CO2_a3 - x.CO2_e) + Ce) / self.VT_e,
            O2_v1=(returned_O2 - Q * x.O2_v1) / (self.V_ven / 3.0),
            O2_v2=ven * (x.O2_v1 - x.O2_v2),
            O2_v3=ven * (x.O2_v2 - x.O2_v3),
            CO2_v1=(returned_CO2 - Q * x.CO2_v1) / (self.V_ven / 3.0),
            CO2_v2=ven * (x.CO2_v1 - x.CO2_v2),
            CO2_v3=ven * (x.CO2_v2 - x.CO2_v3),
        )

    def outputs(self, t: Scalar, x: State, u: _Surroundings) -> Out:
        k, minute = constant(_GAS_LAW, "mmHg"), constant(60.0, "s/min")
        capacity = self._capacity()
        entering, steady, leaving = self._air(u)
        PIO2, PICO2 = self._inspired(u)
        PDO2, PDCO2 = k * x.nO2_D / self.V_D, k * x.nCO2_D / self.V_D
        PAO2, PACO2 = self._alveolar(x)
        uptake, release, aO2, aCO2 = self._lungs(x, u)
        PaO2, PaCO2 = pressures(aO2, aCO2, capacity)
        PvO2, PvCO2 = pressures(x.O2_v3, x.CO2_v3, capacity)
        consumed, produced = self._metabolism(x, u)
        return self.Out(
            PaO2=PaO2,
            PaCO2=PaCO2,
            SaO2=aO2 / capacity,
            PvO2=PvO2,
            PvCO2=PvCO2,
            SvO2=x.O2_v3 / capacity,
            PAO2=PAO2,
            PACO2=PACO2,
            PDCO2=PDCO2,
            CaO2=aO2,
            CaCO2=aCO2,
            CvO2=x.O2_v3,
            CvCO2=x.CO2_v3,
            VO2=uptake * minute,
            VCO2=release * minute,
            DO2=jnp.maximum(u.blood_flow, 0.0) * aO2 * minute,
            air_O2=(entering * PIO2 - steady * PAO2 - leaving * PDO2) / k * minute,
            air_CO2=(steady * PACO2 + leaving * PDCO2 - entering * PICO2) / k * minute,
            consumed_O2=_sum(consumed) * minute,
            produced_CO2=_sum(produced) * minute,
            store_O2=x.nO2_D
            + x.nO2_A
            + self.V_art / 3.0 * (x.O2_a1 + x.O2_a2 + x.O2_a3)
            + (self.VT_h * x.O2_h + self.VT_b * x.O2_b + self.VT_m * x.O2_m + self.VT_s * x.O2_s + self.VT_e * x.O2_e)
            + self.V_ven / 3.0 * (x.O2_v1 + x.O2_v2 + x.O2_v3),
            store_CO2=x.nCO2_D
            + x.nCO2_A
            + self.V_art / 3.0 * (x.CO2_a1 + x.CO2_a2 + x.CO2_a3)
            + (self.VT_h * x.CO2_h + self.VT_b * x.CO2_b + self.VT_m * x.CO2_m)
            + (self.VT_s * x.CO2_s + self.VT_e * x.CO2_e)
            + self.V_ven / 3.0 * (x.CO2_v1 + x.CO2_v2 + x.CO2_v3),
        )


class GasExchangeByBreath(GasExchange):
    """Gas exchange ventilated by single breaths: `GasExchange` with the input `air_flow`, from `Lungs.air_flow`.

    Without air flow the alveoli are not ventilated. The alveoli's volume is `V_A0` plus all air that flowed in, and must stay
    above 0. Where the lungs are not the default ones, `V_A0` and `V_D` are theirs: volumes of alveoli and airways at rest.

    Verified as `GasExchange` is, of which the comparison with the equations in fractions and the balance of both gases are
    by breaths.
    """

    class In(_Surroundings):
        air_flow: Scalar = port(
            "mL/s", "flow of air into the alveoli (BTPS); negative while breathing out", default=0.0
        )

    def _air(self, u: Any) -> tuple[Scalar, Scalar, Scalar]:
        return jnp.maximum(u.air_flow, 0.0), constant(0.0, "mL/s"), jnp.maximum(-u.air_flow, 0.0)


def _sum(parts: tuple[Scalar, ...]) -> Scalar:
    h, b, m, s, e = parts
    return h + b + m + s + e
