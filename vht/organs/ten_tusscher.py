"""Human ventricular cell of ten Tusscher and Panfilov 2006."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, bernoulli, boltzmann, constant, gate, param, port, quantity, state

_SOURCE = "tentusscher2006"
# mV: a solver's trial step may leave the range of voltages that a membrane survives, and exponentials must stay finite
_FURTHEST = 250.0

# where the cells of the two other layers start, from their CellML encodings; states not named start as epicardial ones do
INITIAL_ENDO: Mapping[str, float] = MappingProxyType(
    {
        "V": -86.709,
        "Xr1": 0.00448,
        "Xr2": 0.476,
        "Xs": 0.0087,
        "m": 0.00155,
        "h": 0.7573,
        "j": 0.7225,
        "d": 3.164e-5,
        "f": 0.8009,
        "f2": 0.9778,
        "s": 0.3212,
        "r": 2.235e-8,
        "Ca_i": 0.00013,
        "Ca_SR": 3.715,
        "R_prime": 0.9068,
        "Na_i": 10.355,
        "K_i": 138.4,
    }
)
INITIAL_M: Mapping[str, float] = MappingProxyType(
    {
        "V": -85.423,
        "Xr1": 0.0165,
        "Xr2": 0.473,
        "Xs": 0.0174,
        "m": 0.00165,
        "h": 0.749,
        "j": 0.6788,
        "d": 3.288e-5,
        "f": 0.7026,
        "f2": 0.9526,
        "fCass": 0.9942,
        "r": 2.347e-8,
        "Ca_i": 0.000153,
        "Ca_SR": 4.272,
        "Ca_ss": 0.00042,
        "R_prime": 0.8978,
        "Na_i": 10.132,
        "K_i": 138.52,
    }
)


def _conductance(value: float, meaning: str, unit: str = "nS/pF") -> Any:
    prior = LogNormal(value, 0.2)
    return param(value, unit, meaning, bounds=(0.0, value * 5), prior=prior, source=_SOURCE)


def _kinetic(value: float, unit: str, meaning: str) -> Any:
    return param(value, unit, meaning, bounds=(value / 3, value * 3), source=_SOURCE)


def _shape(value: float, unit: str, meaning: str, bounds: tuple[float, float]) -> Any:
    """Of a gate whose kinetics differ between layers of the wall: bounds hold all of them, and no time constant reaches 0."""
    return param(value, unit, meaning, bounds=bounds, source=_SOURCE)


class Currents(NamedTuple):
    """Membrane currents, pA/pF; outward is positive."""

    i_Na: Scalar
    i_CaL: Scalar
    i_to: Scalar
    i_Kr: Scalar
    i_Ks: Scalar
    i_K1: Scalar
    i_NaCa: Scalar
    i_NaK: Scalar
    i_p_Ca: Scalar
    i_p_K: Scalar
    i_b_Na: Scalar
    i_b_Ca: Scalar


class TenTusscher2006(Organ):
    """Human ventricular myocyte with subspace calcium and a four-state ryanodine receptor (ten Tusscher and Panfilov 2006).

    19 states: potential, 12 gates, the receptor's recovered share `R_prime`, and the concentrations. The default is an
    epicardial cell; `endo` and `M` are those of the other layers, which start from `INITIAL_ENDO` and `INITIAL_M`::

        pacing = vht.Doses(time=1000.0 * np.arange(100), amount=[-52.0] * 100, duration=[1.0] * 100)  # pA/pF for 1 ms
        cell = TenTusscher2006.endo()
        vht.simulate(cell, times, initial=INITIAL_ENDO, schedule=vht.Schedule(doses={"stimulus": pacing}))

    Equations, constants and initial values are those of the CellML encoding. The authors' program has another time constant of
    `f2`, ``600 exp(-(V + 25)^2 / 170) + 31 / (1 + exp((25 - V) / 10)) + 16 / (1 + exp((V + 30) / 10))``; at one beat a
    second that changes the duration of the action potential by less than 1 ms. Potassium carries the stimulus. Kinetics at
    voltages beyond 250 mV from zero are those at 250 mV. Priors are a spread of 20 % around the paper's values and no
    measurement.

    All ions that pass the membrane, those of the stimulus too, are counted inside: the potential follows from the ions but
    for a constant (`charge`), and every periodic state belongs to the charge that the cell started with.

    Verified against CVODE on the equations written again (1e-5 mV, 3e-5 ms of APD90), and rate by rate at random states
    (tests/test_heart_cells.py).
    """

    time: ClassVar[str] = "ms"
    citation: ClassVar[str] = _SOURCE

    g_Na: Scalar = _conductance(14.838, "maximal conductance, fast sodium current")
    g_CaL: Scalar = _conductance(3.98e-5, "maximal permeability, L-type calcium current", "cm^3/(uF*s)")
    g_to: Scalar = _conductance(0.294, "maximal conductance, transient outward current")
    g_Kr: Scalar = _conductance(0.153, "maximal conductance, rapid delayed rectifier current")
    g_Ks: Scalar = _conductance(0.392, "maximal conductance, slow delayed rectifier current")
    g_K1: Scalar = _conductance(5.405, "maximal conductance, inward rectifier current")
    K_NaCa: Scalar = _conductance(1000.0, "maximal current of the sodium-calcium exchanger", "pA/pF")
    P_NaK: Scalar = _conductance(2.724, "maximal current of the sodium-potassium pump", "pA/pF")
    g_pCa: Scalar = _conductance(0.1238, "maximal current of the sarcolemmal calcium pump", "pA/pF")
    g_pK: Scalar = _conductance(0.0146, "maximal conductance, plateau potassium current")
    g_bna: Scalar = _conductance(0.00029, "conductance, background sodium current")
    g_bca: Scalar = _conductance(0.000592, "conductance, background calcium current")

    P_kna: Scalar = _kinetic(0.03, "1", "permeability of the slow delayed rectifier to sodium over that to potassium")
    gamma: Scalar = param(
        0.35, "1", "place of the exchanger's energy barrier in the field", bounds=(0.0, 1.0), source=_SOURCE
    )
    alpha: Scalar = _kinetic(2.5, "1", "factor of the exchanger's outward mode")
    K_sat: Scalar = _kinetic(0.1, "1", "saturation of the exchanger at negative voltages")
    Km_Ca: Scalar = _kinetic(1.38, "mmol/L", "half saturation of the exchanger by calcium")
    Km_Nai: Scalar = _kinetic(87.5, "mmol/L", "half saturation of the exchanger by sodium")
    K_mk: Scalar = _kinetic(1.0, "mmol/L", "half saturation of the sodium-potassium pump by potassium")
    K_mNa: Scalar = _kinetic(40.0, "mmol/L", "half saturation of the sodium-potassium pump by sodium")
    K_pCa: Scalar = _kinetic(0.0005, "mmol/L", "half saturation of the sarcolemmal calcium pump")

    s_half: Scalar = _shape(-20.0, "mV", "where half of the transient outward channels are inactivated", (-100.0, 0.0))
    tau_s_peak: Scalar = _shape(
        85.0, "ms", "voltage-dependent part of the time constant of that inactivation", (0.0, 1500.0)
    )
    tau_s_centre: Scalar = _shape(-45.0, "mV", "voltage at which it is slowest", (-100.0, 0.0))
    tau_s_width: Scalar = _shape(320.0, "mV^2", "twice the squared width of that peak", (10.0, 1500.0))
    tau_s_low: Scalar = _shape(5.0, "ms", "what the time constant gains below 20 mV", (0.0, 50.0))
    tau_s_min: Scalar = _shape(3.0, "ms", "smallest time constant of that inactivation", (0.5, 50.0))

    V_rel: Scalar = _conductance(0.102, "maximal rate of release from the sarcoplasmic reticulum", "1/ms")
    Vmax_up: Scalar = _conductance(0.006375, "maximal uptake into the sarcoplasmic reticulum", "mmol/L/ms")
    V_leak: Scalar = _conductance(0.00036, "rate of leakage from the sarcoplasmic reticulum", "1/ms")
    V_xfer: Scalar = _kinetic(0.0038, "1/ms", "rate of transfer from the subspace to the cytoplasm")
    K_up: Scalar = _kinetic(0.00025, "mmol/L", "half saturation of the uptake")
    k1_prime: Scalar = _kinetic(0.15, "L^2/mmol^2/ms", "rate at which the receptor opens")
    k2_prime: Scalar = _kinetic(0.045, "L/mmol/ms", "rate at which the receptor is inactivated")
    k3: Scalar = _kinetic(0.06, "1/ms", "rate at which the receptor closes")
    k4: Scalar = _kinetic(0.005, "1/ms", "rate at which the receptor recovers")
    EC: Scalar = _kinetic(1.5, "mmol/L", "calcium in the reticulum of half effect on the receptor")
    max_sr: Scalar = _kinetic(2.5, "1", "effect of an empty reticulum on the receptor")
    min_sr: Scalar = _kinetic(1.0, "1", "effect of a full reticulum on the receptor")
    Buf_c: Scalar = _kinetic(0.2, "mmol/L", "calcium buffer of the cytoplasm")
    K_buf_c: Scalar = _kinetic(0.001, "mmol/L", "half saturation of the cytoplasmic buffer")
    Buf_sr: Scalar = _kinetic(10.0, "mmol/L", "calcium buffer of the sarcoplasmic reticulum")
    K_buf_sr: Scalar = _kinetic(0.3, "mmol/L", "half saturation of the reticulum's buffer")
    Buf_ss: Scalar = _kinetic(0.4, "mmol/L", "calcium buffer of the subspace")
    K_buf_ss: Scalar = _kinetic(0.00025, "mmol/L", "half saturation of the subspace's buffer")

    Na_o: Scalar = _kinetic(140.0, "mmol/L", "extracellular sodium")
    K_o: Scalar = _kinetic(5.4, "mmol/L", "extracellular potassium")
    Ca_o: Scalar = _kinetic(2.0, "mmol/L", "extracellular calcium")
    Cm: Scalar = _kinetic(185.0, "pF", "capacitance of the cell")
    V_c: Scalar = _kinetic(16.404, "pL", "volume of the cytoplasm")
    V_sr: Scalar = _kinetic(1.094, "pL", "volume of the sarcoplasmic reticulum")
    V_ss: Scalar = _kinetic(0.05468, "pL", "volume of the subspace")
    T: Scalar = param(310.0, "K", "temperature", bounds=(295.0, 315.0), source=_SOURCE)

    class State(Vars):
        V: Scalar = state(-85.23, "mV", "transmembrane potential")
        K_i: Scalar = state(136.89, "mmol/L", "cytoplasmic potassium")
        Na_i: Scalar = state(8.604, "mmol/L", "cytoplasmic sodium")
        Ca_i: Scalar = state(0.000126, "mmol/L", "free cytoplasmic calcium")
        Ca_SR: Scalar = state(3.64, "mmol/L", "free calcium in the sarcoplasmic reticulum")
        Ca_ss: Scalar = state(0.00036, "mmol/L", "free calcium in the subspace")
        R_prime: Scalar = state(0.9073, "1", "share of ryanodine receptors that are not inactivated")
        Xr1: Scalar = state(0.00621, "1", "activation, rapid delayed rectifier current")
        Xr2: Scalar = state(0.4712, "1", "inactivation, rapid delayed rectifier current")
        Xs: Scalar = state(0.0095, "1", "activation, slow delayed rectifier current")
        m: Scalar = state(0.00172, "1", "activation, fast sodium current")
        h: Scalar = state(0.7444, "1", "fast inactivation, fast sodium current")
        j: Scalar = state(0.7045, "1", "slow inactivation, fast sodium current")
        d: Scalar = state(3.373e-5, "1", "activation, L-type calcium current")
        f: Scalar = state(0.7888, "1", "slow inactivation by voltage, L-type calcium current")
        f2: Scalar = state(0.9755, "1", "fast inactivation by voltage, L-type calcium current")
        fCass: Scalar = state(0.9953, "1", "inactivation by subspace calcium, L-type calcium current")
        s: Scalar = state(0.999998, "1", "inactivation, transient outward current")
        r: Scalar = state(2.42e-8, "1", "activation, transient outward current")

    class In(Vars):
        stimulus: Scalar = port("pA/pF", "stimulus current; negative depolarises", kind="flow")

    class Out(Vars):
        potential: Scalar = port("mV", "transmembrane potential")
        calcium: Scalar = port("mmol/L", "free cytoplasmic calcium")
        i_ion: Scalar = port("pA/pF", "total ionic current, without the stimulus")
        i_Na: Scalar = port("pA/pF", "fast sodium current")
        i_CaL: Scalar = port("pA/pF", "L-type calcium current")
        i_to: Scalar = port("pA/pF", "transient outward current")
        i_Kr: Scalar = port("pA/pF", "rapid delayed rectifier current")
        i_Ks: Scalar = port("pA/pF", "slow delayed rectifier current")
        i_K1: Scalar = port("pA/pF", "inward rectifier current")
        i_NaCa: Scalar = port("pA/pF", "current of the sodium-calcium exchanger")
        i_NaK: Scalar = port("pA/pF", "current of the sodium-potassium pump")

    class Conserved(Vars):
        charge: Scalar = quantity("mV", "potential less what the charge of all ions inside would be on the membrane")

    @classmethod
    def epi(cls) -> TenTusscher2006:
        """An epicardial cell, which is the default."""
        return cls()

    @classmethod
    def endo(cls) -> TenTusscher2006:
        """An endocardial cell: a small transient outward current that recovers slowly."""
        return cls(
            g_to=0.073,
            s_half=-28.0,
            tau_s_peak=1000.0,
            tau_s_centre=-67.0,
            tau_s_width=1000.0,
            tau_s_low=0.0,
            tau_s_min=8.0,
        )

    @classmethod
    def M(cls) -> TenTusscher2006:
        """A cell of the middle of the wall: a small slow delayed rectifier current, hence a long action potential."""
        return cls(g_Ks=0.098)

    def _currents(self, x: State, V: Scalar) -> Currents:
        mV, mM = constant(1.0, "mV"), constant(1.0, "mmol/L")
        R, F = constant(8314.472, "mJ/(mol*K)"), constant(96485.3415, "C/mol")
        RTF = R * self.T / F
        w = V / RTF
        E_Na, E_K = RTF * jnp.log(self.Na_o / x.Na_i), RTF * jnp.log(self.K_o / x.K_i)
        E_Ks = RTF * jnp.log((self.K_o + self.P_kna * self.Na_o) / (x.K_i + self.P_kna * x.Na_i))
        E_Ca = 0.5 * RTF * jnp.log(self.Ca_o / x.Ca_i)

        above = (V - E_K) / mV
        alpha_K1 = 0.1 * boltzmann(above, 200.0, -1.0 / 0.06)
        beta_K1 = 3.0 * jnp.exp(0.0002 * (above + 100.0)) + jnp.exp(0.1 * (above - 10.0))
        beta_K1 = beta_K1 * boltzmann(above, 0.0, 2.0)
        by_potassium = jnp.sqrt(self.K_o / (5.4 * mM))

        # x / (exp(x) - 1) of the paper's flux, whose voltage of zero driving force is shifted by 15 mV
        y = 2.0 * (V - 15.0 * mV) / RTF
        flux = 2.0 * F * (0.25 * x.Ca_ss * bernoulli(-y) - self.Ca_o * bernoulli(y))

        inward = jnp.exp(self.gamma * w) * x.Na_i**3 * self.Ca_o
        backward = jnp.exp((self.gamma - 1.0) * w)
        exchanged = inward - backward * self.Na_o**3 * x.Ca_i * self.alpha
        saturation = (self.Km_Nai**3 + self.Na_o**3) * (self.Km_Ca + self.Ca_o) * (1.0 + self.K_sat * backward)
        pumped = self.K_o / (self.K_o + self.K_mk) * x.Na_i / (x.Na_i + self.K_mNa)
        return Currents(
            i_Na=self.g_Na * x.m**3 * x.h * x.j * (x.V - E_Na),
            i_CaL=self.g_CaL * x.d * x.f * x.f2 * x.fCass * flux,
            i_to=self.g_to * x.r * x.s * (x.V - E_K),
            i_Kr=self.g_Kr * by_potassium * x.Xr1 * x.Xr2 * (x.V - E_K),
            i_Ks=self.g_Ks * x.Xs**2 * (x.V - E_Ks),
            i_K1=self.g_K1 * by_potassium * alpha_K1 / (alpha_K1 + beta_K1) * (x.V - E_K),
            i_NaCa=self.K_NaCa * exchanged / saturation,
            i_NaK=self.P_NaK * pumped / (1.0 + 0.1245 * jnp.exp(-0.1 * w) + 0.0353 * jnp.exp(-w)),
            i_p_Ca=self.g_pCa * x.Ca_i / (x.Ca_i + self.K_pCa),
            i_p_K=self.g_pK * (x.V - E_K) * boltzmann(V / mV, 25.0, 5.98),
            i_b_Na=self.g_bna * (x.V - E_Na),
            i_b_Ca=self.g_bca * (x.V - E_Ca),
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        V = _kinetic_potential(x.V)
        i = self._currents(x, V)
        shown = {name: value for name, value in i._asdict().items() if name in self.Out.__dataclass_fields__}
        return self.Out(potential=x.V, calcium=x.Ca_i, i_ion=sum(i[1:], i[0]), **shown)

    def conserved(self, x: State) -> Conserved:
        F = constant(96485.3415, "C/mol")
        calcium = self.V_c * _total(x.Ca_i, self.Buf_c, self.K_buf_c) + self.V_ss * _total(
            x.Ca_ss, self.Buf_ss, self.K_buf_ss
        )
        calcium = calcium + self.V_sr * _total(x.Ca_SR, self.Buf_sr, self.K_buf_sr)
        ions = self.V_c * (x.Na_i + x.K_i) + 2.0 * calcium
        return self.Conserved(charge=x.V - F / self.Cm * ions)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        V = _kinetic_potential(x.V)
        i = self._currents(x, V)
        F = constant(96485.3415, "C/mol")
        i_leak, i_xfer = self.V_leak * (x.Ca_SR - x.Ca_i), self.V_xfer * (x.Ca_ss - x.Ca_i)
        i_up = self.Vmax_up * x.Ca_i**2 / (x.Ca_i**2 + self.K_up**2)
        kcasr = self.max_sr - (self.max_sr - self.min_sr) * x.Ca_SR**2 / (x.Ca_SR**2 + self.EC**2)
        opening, inactivating = self.k1_prime / kcasr * x.Ca_ss**2, self.k2_prime * kcasr * x.Ca_ss
        open_share = opening * x.R_prime / (self.k3 + opening)
        i_rel = self.V_rel * open_share * (x.Ca_SR - x.Ca_ss)
        leaving, entering = (i_leak - i_up) * self.V_sr / self.V_c, (i.i_b_Ca + i.i_p_Ca - 2.0 * i.i_NaCa) * self.Cm
        potassium = i.i_K1 + i.i_to + i.i_Kr + i.i_Ks + i.i_p_K + u.stimulus - 2.0 * i.i_NaK
        sodium = i.i_Na + i.i_b_Na + 3.0 * i.i_NaK + 3.0 * i.i_NaCa
        return self.State(
            V=-(sum(i[1:], i[0]) + u.stimulus),
            K_i=-potassium * self.Cm / (self.V_c * F),
            Na_i=-sodium * self.Cm / (self.V_c * F),
            Ca_i=_free(x.Ca_i, self.Buf_c, self.K_buf_c) * (leaving + i_xfer - entering / (2.0 * self.V_c * F)),
            Ca_SR=_free(x.Ca_SR, self.Buf_sr, self.K_buf_sr) * (i_up - i_rel - i_leak),
            Ca_ss=_free(x.Ca_ss, self.Buf_ss, self.K_buf_ss)
            * (
                i_rel * self.V_sr / self.V_ss
                - i_xfer * self.V_c / self.V_ss
                - i.i_CaL * self.Cm / (2.0 * self.V_ss * F)
            ),
            R_prime=gate(x.R_prime, self.k4 / (self.k4 + inactivating), 1.0 / (self.k4 + inactivating)),
            **self._gates(x, V),
        )

    def _gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        mV, ms = constant(1.0, "mV"), constant(1.0, "ms")
        v = V / mV
        inhibition = 1.0 / (1.0 + (x.Ca_ss / constant(0.05, "mmol/L")) ** 2)

        # the sodium channel recovers by other rates below -40 mV than above; `low` keeps the former finite above
        below = v < -40.0
        low = jnp.where(below, v, -40.0)
        alpha_h = jnp.where(below, 0.057 * jnp.exp(-(low + 80.0) / 6.8), 0.0)
        beta_h = jnp.where(
            below,
            2.7 * jnp.exp(0.079 * low) + 310000.0 * jnp.exp(0.3485 * low),
            0.77 / 0.13 * boltzmann(v, -10.66, 11.1),
        )
        alpha_j = -25428.0 * jnp.exp(0.2444 * low) - 6.948e-6 * jnp.exp(-0.04391 * low)
        alpha_j = jnp.where(below, alpha_j * (low + 37.78) * boltzmann(low, -79.23, -1.0 / 0.311), 0.0)
        beta_j = jnp.where(
            below,
            0.02424 * jnp.exp(-0.01052 * low) * boltzmann(low, -40.14, 1.0 / 0.1378),
            0.6 * jnp.exp(0.057 * v) * boltzmann(v, -32.0, 10.0),
        )
        available = boltzmann(v, -71.55, -7.43) ** 2

        tau_m = boltzmann(v, -60.0, 5.0) * (0.1 * boltzmann(v, -35.0, -5.0) + 0.1 * boltzmann(v, 50.0, -200.0))
        tau_d = (1.4 * boltzmann(v, -35.0, 13.0) + 0.25) * 1.4 * boltzmann(v, -5.0, -5.0) + boltzmann(v, 50.0, 20.0)
        tau_f = (
            1102.5 * jnp.exp(-((v + 27.0) ** 2) / 225.0)
            + 200.0 * boltzmann(v, 13.0, 10.0)
            + 180.0 * boltzmann(v, -30.0, -10.0)
            + 20.0
        )
        tau_f2 = (
            562.0 * jnp.exp(-((v + 27.0) ** 2) / 240.0)
            + 31.0 * boltzmann(v, 25.0, 10.0)
            + 80.0 * boltzmann(v, -30.0, -10.0)
        )
        tau_xr1 = 450.0 * boltzmann(v, -45.0, 10.0) * 6.0 * boltzmann(v, -30.0, -11.5)
        tau_xr2 = 3.0 * boltzmann(v, -60.0, 20.0) * 1.12 * boltzmann(v, 60.0, -20.0)
        tau_xs = 1400.0 * jnp.sqrt(boltzmann(v, 5.0, 6.0)) * boltzmann(v, 35.0, -15.0) + 80.0
        slowest = V - self.tau_s_centre
        tau_s = (
            self.tau_s_peak * jnp.exp(-slowest * slowest / self.tau_s_width)
            + self.tau_s_low * boltzmann(v, 20.0, -5.0)
            + self.tau_s_min
        )
        return {
            "Xr1": gate(x.Xr1, boltzmann(v, -26.0, 7.0), tau_xr1 * ms),
            "Xr2": gate(x.Xr2, boltzmann(v, -88.0, -24.0), tau_xr2 * ms),
            "Xs": gate(x.Xs, boltzmann(v, -5.0, 14.0), tau_xs * ms),
            "m": gate(x.m, boltzmann(v, -56.86, 9.03) ** 2, tau_m * ms),
            "h": gate(x.h, available, ms / (alpha_h + beta_h)),
            "j": gate(x.j, available, ms / (alpha_j + beta_j)),
            "d": gate(x.d, boltzmann(v, -8.0, 7.5), tau_d * ms),
            "f": gate(x.f, boltzmann(v, -20.0, -7.0), tau_f * ms),
            "f2": gate(x.f2, 0.67 * boltzmann(v, -35.0, -7.0) + 0.33, tau_f2 * ms),
            "fCass": gate(x.fCass, 0.6 * inhibition + 0.4, (80.0 * inhibition + 2.0) * ms),
            "s": gate(x.s, boltzmann(V, self.s_half, -5.0 * mV), tau_s),
            "r": gate(x.r, boltzmann(v, 20.0, 6.0), (9.5 * jnp.exp(-((v + 40.0) ** 2) / 1800.0) + 0.8) * ms),
        }


def _kinetic_potential(V: Scalar) -> Scalar:
    """The potential that kinetics depend on."""
    furthest = constant(_FURTHEST, "mV")
    return jnp.clip(V, -furthest, furthest)


def _total(calcium: Scalar, buffer: Scalar, half: Scalar) -> Scalar:
    """Calcium that is free, and that which a fast buffer holds."""
    return calcium + buffer * calcium / (calcium + half)


def _free(calcium: Scalar, buffer: Scalar, half: Scalar) -> Scalar:
    """Share of a small change of total calcium that stays free beside a fast buffer."""
    return 1.0 / (1.0 + buffer * half / (calcium + half) ** 2)
