"""What joins a circulation to kidneys over days: autonomic drive, growth and loss of vessels, exchange of fluid with tissue."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_KARAASLAN = "karaaslan2005"
_REST = "rest of the circulation it is joined with, to be set; about that of the mean circulation at its defaults"


class CirculatoryControl(Organ):
    r"""Slow control of a circulation: autonomic drive, whole-body autoregulation, transcapillary exchange (3 states).

    Karaaslan et al. 2005 give a circulation of their own, in which these controls act. Here they act on any circulation that
    takes a factor of its resistance, a change of its veins' unstressed volume and an inflow, such as `MeanCirculation`:

    - The autonomic multiplier :math:`\epsilon = a_{chemo} + a_{baro}`, with
      :math:`a_{auto} = 3.0042\, e^{-a\,MAP}`, :math:`a_{chemo} = a_{auto}/4` and baroreceptors that adapt over days,
      :math:`a_{baro}' = \tfrac34 (a_{auto}' - k (a_{baro} - 1))`; the state `baro` is :math:`a_{baro} - \tfrac34 a_{auto}`.
    - Vascularity falls as flow rises, over months: :math:`v' = K_{vd} (e^{-c (CO - CO_0)} - v)`, the papers' equation
      over its value at rest, 1.
    - Arterial resistance is as :math:`\epsilon / v`. In the papers the mean filling pressure is
      :math:`(E V - P_0)\,\epsilon`. At the blood volume V at rest that is what a shift of
      :math:`V_r (\epsilon/\epsilon_0 - 1)` from the veins' unstressed volume does, with :math:`V_r = V - P_0/E`, the volume
      that fills the vessels. Here :math:`V_r` stays.
    - Plasma moves between blood and tissue until blood holds its share of the extracellular fluid, which the kidney counts
      (its `blood_volume`), at a rate :math:`1/\tau`: after bleeding, over one to two days (Moore 1965).

    Bleeding takes cells and plasma. The kidney is told of the water and the sodium in the plasma; the cells come back over
    weeks, by new ones. An infusion of isotonic saline fills blood first, and then its share of the extracellular fluid.

    Heart rate and contractility are left as they are: the papers' multiplier acts on vessels alone. So `CardioRenal`, which
    joins this with `MeanCirculation` and `Kidney`, answers to a sudden loss of blood more than people do: when 0.55 L are
    donated, pressure falls by 13 mmHg. At that pressure the kidney loses water (see `Kidney`), so that plasma sodium rises to
    155 mmol/L within a day, and pressure is 4 mmHg too high after two; after a week all is within 0.5 % of what it was.

    Verified: drive and vessels against SciPy on the papers' equations (3e-10), exchange in closed form (2e-11); in
    `CardioRenal` pressure at rest is that of `Kidney` with `LongTermPressure`, and what salt and angiotensin II change of it
    is the same within 2 %.
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = _KARAASLAN

    a_slope: Scalar = param(
        0.011, "1/mmHg", "fall of autonomic drive with arterial pressure", bounds=(0.002, 0.05), source=_KARAASLAN
    )
    k_baro: Scalar = param(
        0.0000667, "1/min", "rate at which baroreceptors adapt", bounds=(1e-6, 0.01), source=_KARAASLAN
    )
    co_vas: Scalar = param(
        0.4799, "min/L", "fall of the formation of vessels with cardiac output", bounds=(0.1, 2.0), source=_KARAASLAN
    )
    K_vd: Scalar = param(0.00001, "1/min", "rate at which vessels vanish", bounds=(1e-7, 1e-3), source=_KARAASLAN)
    V_recruited: Scalar = param(
        762.0,
        "mL",
        "volume that fills the vessels at rest, in proportion to which veins contract",
        bounds=(100.0, 3000.0),
        prior=LogNormal(762.0, 0.1),
        source="karaaslan2005: 4.82 L of blood less P_0/E = 30.18/7.436 L",
    )
    tau_plasma: Scalar = param(
        480.0,
        "min",
        "time constant of the exchange of plasma with tissue",
        bounds=(30.0, 2880.0),
        prior=LogNormal(480.0, 0.3),
        source="moore1965: refill after bleeding takes one to two days; with 8 h, 95 % of it takes one",
    )
    tau_cells: Scalar = param(
        28800.0,
        "min",
        "time constant in which lost red cells are made anew",
        bounds=(5000.0, 200000.0),
        source="pottgiesser2008: hemoglobin lost by donors was back after 36 (20 to 59) days; here 84 % of it is then",
    )
    Hct: Scalar = param(
        0.45,
        "1",
        "hematocrit of lost blood",
        bounds=(0.2, 0.65),
        prior=LogNormal(0.45, 0.07),
        source="usual of men; women some 0.40",
    )
    saline: Scalar = param(
        154.0, "mmol/L", "sodium of infused saline", bounds=(30.0, 600.0), source="isotonic saline: 9 g/L of NaCl"
    )
    MAP_rest: Scalar = param(
        103.54671800596664, "mmHg", "arterial pressure at rest", bounds=(60.0, 200.0), source="leete2019, man"
    )
    CO_rest: Scalar = param(5.4, "L/min", "cardiac output at rest", bounds=(2.0, 12.0), source=_REST)
    V_rest: Scalar = param(5.0, "L", "blood volume of the circulation at rest", bounds=(2.0, 10.0), source=_REST)
    V_kidney_rest: Scalar = param(
        4.820579378002959,
        "L",
        "blood volume at rest by the kidney's count",
        bounds=(2.0, 10.0),
        source="leete2019, man",
    )
    p_RA_rest: Scalar = param(6.0, "mmHg", "right atrial pressure at rest", bounds=(-5.0, 20.0), source=_REST)
    p_RA_kidney: Scalar = param(
        0.005499071468055281,
        "mmHg",
        "right atrial pressure at rest by the kidney's count",
        bounds=(-5.0, 10.0),
        source="leete2019, man: relative to the chest, not to the atmosphere",
    )

    class State(Vars):
        baro: Scalar = state(0.2786888352449178, "1", "adapting part of the baroreflex")
        vas: Scalar = state(1.0, "1", "vascularity, over that at rest")
        cells: Scalar = state(0.0, "L", "red cells lost and not yet made anew")

    class In(Vars):
        MAP: Scalar = port("mmHg", "mean arterial pressure", default=103.54671800596664)
        CO: Scalar = port("L/min", "cardiac output", default=5.4)
        p_RA: Scalar = port("mmHg", "right atrial pressure", default=6.0)
        blood_volume: Scalar = port("L", "blood in the circulation", default=5.0)
        kidney_volume: Scalar = port(
            "L", "blood volume that goes with the extracellular fluid", default=4.820579378002959
        )
        plasma_sodium: Scalar = port("mmol/L", "sodium in plasma", default=143.661)
        bleeding: Scalar = port("mL/min", "blood lost", kind="flow")
        infusion: Scalar = port("mL/min", "saline infused", kind="flow")

    class Out(Vars):
        autonomic: Scalar = port("1", "autonomic multiplier")
        resistance_factor: Scalar = port("1", "factor of arterial resistance")
        unstressed_change: Scalar = port("mL", "what the veins' unstressed volume has grown by")
        right_atrial_pressure: Scalar = port("mmHg", "right atrial pressure by the kidney's count")
        inflow: Scalar = port(
            "mL/min", "into the circulation: plasma from tissue, infusions, less bleeding", kind="flow"
        )
        water: Scalar = port("L/min", "into the extracellular fluid, beyond what is drunk", kind="flow")
        sodium: Scalar = port("mmol/min", "into the extracellular fluid, beyond what is eaten", kind="flow")

    def initial(self) -> State:
        # at rest at the pressure and output that it is told are those at rest
        return self.State(baro=1.0 - 0.75 * self._drive(self.MAP_rest), vas=1.0, cells=0.0)

    def _drive(self, MAP: Scalar) -> Scalar:
        return 3.0042 * jnp.exp(-self.a_slope * MAP)

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        mL = constant(1000.0, "mL/L")
        epsilon = self._drive(u.MAP) + x.baro
        relative = epsilon / (1.0 + 0.25 * self._drive(self.MAP_rest))
        share = u.kidney_volume - self.V_kidney_rest + self.V_rest - x.cells
        exchange = (share - u.blood_volume) / self.tau_plasma
        plasma = (1.0 - self.Hct) * u.bleeding / mL
        return self.Out(
            autonomic=epsilon,
            resistance_factor=relative / x.vas,
            unstressed_change=-self.V_recruited * (relative - 1.0),
            right_atrial_pressure=u.p_RA - self.p_RA_rest + self.p_RA_kidney,
            inflow=mL * exchange + u.infusion - u.bleeding,
            water=u.infusion / mL - plasma,
            sodium=self.saline * u.infusion / mL - u.plasma_sodium * plasma,
        )

    def rates(self, t: Scalar, x: State, u: In) -> State:
        mL = constant(1000.0, "mL/L")
        a_baro = 0.75 * self._drive(u.MAP) + x.baro
        return self.State(
            baro=-0.75 * self.k_baro * (a_baro - 1.0),
            vas=self.K_vd * (jnp.exp(-self.co_vas * (u.CO - self.CO_rest)) - x.vas),
            cells=self.Hct * u.bleeding / mL - x.cells / self.tau_cells,
        )
