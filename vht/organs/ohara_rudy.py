"""Human ventricular cell of O'Hara et al. 2011 as revised for the CiPA initiative (Dutta et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, bernoulli, boltzmann, constant, gate, param, port, state

_SOURCE = "dutta2017"
_ORIGINAL = "ohara2011"
_HERG = "li2017"
# mV: a solver's trial step may leave the range of voltages that a membrane survives, and exponentials must stay finite
_FURTHEST = 250.0


def _conductance(value: float, meaning: str, unit: str = "mS/uF", source: str = _SOURCE) -> Any:
    return param(value, unit, meaning, bounds=(0.0, value * 5), prior=LogNormal(value, 0.2), source=source)


def _kinetic(value: float, unit: str, meaning: str, source: str = _ORIGINAL) -> Any:
    low, high = sorted((value / 3, value * 3))
    return param(value, unit, meaning, bounds=(low, high), source=source)


def _factor(meaning: str) -> Any:
    return param(1.0, "1", meaning, bounds=(0.5, 2.0), source=_ORIGINAL)


def _rate(value: float, transition: str) -> Any:
    return _kinetic(value, "1/ms", f"hERG, {transition}: rate at 0 mV and 20 degrees", _HERG)


def _slope(value: float, transition: str) -> Any:
    return _kinetic(value, "1/mV", f"hERG, {transition}: how the rate's logarithm changes with voltage", _HERG)


def _q10(value: float, transition: str) -> Any:
    return param(value, "1", f"hERG, {transition}: factor of the rate for 10 degrees", bounds=(1.0, 20.0), source=_HERG)


def _current(meaning: str) -> Any:
    return port("uA/uF", meaning)


class Currents(NamedTuple):
    """Membrane currents, uA/uF; outward is positive."""

    INa: Scalar
    INaL: Scalar
    Ito: Scalar
    ICaL: Scalar
    ICaNa: Scalar
    ICaK: Scalar
    IKr: Scalar
    IKs: Scalar
    IK1: Scalar
    INaCa_i: Scalar
    INaCa_ss: Scalar
    INaK: Scalar
    INab: Scalar
    IKb: Scalar
    IpCa: Scalar
    ICab: Scalar


class OHaraRudyCiPA(Organ):
    """Human ventricular myocyte with calmodulin kinase and a hERG channel that binds drugs ("CiPA v1.0"; 48 states).

    O'Hara et al. 2011, with the rapid delayed rectifier replaced by the Markov model of Li et al. 2017 and conductances
    refitted by Dutta et al. 2017. The default is an endocardial cell; `epi` and `M` are those of the other layers, by the
    factors of O'Hara et al., and start from the same states. A drug at the concentration `D` binds to the open hERG channel
    (`Obound`, `IObound`) and may be trapped when it closes (`Cbound`); `Kmax`, `Ku`, `halfmax`, `n` and `Vhalf` describe it,
    and what it blocks beside is told by smaller conductances. The stimulus is -80 uA/uF for 0.5 ms, carried by potassium.

    Equations, constants and initial values are those of the CellML encoding, but for two: `Kt` is the value that the authors'
    program gives every drug (0 there and in the encoding without one, where it makes no difference), and currents through
    permeabilities, which are per area, are divided by `cm`, which both leave out, 1 uF/cm^2 as it is. Kinetics at voltages
    beyond 250 mV from zero are those at 250 mV. Priors are a spread of 20 % around the paper's values and no measurement.

    Verified against CVODE on the equations written again, and rate by rate at random states (tests/test_heart_cells.py).
    """

    time: ClassVar[str] = "ms"
    citation: ClassVar[str] = _SOURCE

    GNa: Scalar = _conductance(75.0, "maximal conductance, fast sodium current", source=_ORIGINAL)
    GNaL: Scalar = _conductance(0.019957499999999975, "maximal conductance, late sodium current")
    Gto: Scalar = _conductance(0.02, "maximal conductance, transient outward current", source=_ORIGINAL)
    PCa: Scalar = _conductance(0.0001007, "permeability to calcium, L-type calcium current", "cm/s")
    GKr: Scalar = _conductance(0.04658545454545456, "maximal conductance, rapid delayed rectifier current")
    GKs: Scalar = _conductance(0.006358000000000001, "maximal conductance, slow delayed rectifier current")
    GK1: Scalar = _conductance(0.3239783999999998, "maximal conductance, inward rectifier current")
    Gncx: Scalar = _conductance(0.0008, "maximal rate, sodium-calcium exchanger", "uA*s/uF", _ORIGINAL)
    Pnak: Scalar = _conductance(30.0, "maximal rate, sodium-potassium pump", "uA*s/uF", _ORIGINAL)
    GKb: Scalar = _conductance(0.003, "conductance, background potassium current", source=_ORIGINAL)
    PNab: Scalar = _conductance(3.75e-10, "permeability, background sodium current", "cm/s", _ORIGINAL)
    PCab: Scalar = _conductance(2.5e-8, "permeability, background calcium current", "cm/s", _ORIGINAL)
    GpCa: Scalar = _conductance(0.0005, "maximal current, sarcolemmal calcium pump", "uA/uF", _ORIGINAL)

    # what O'Hara et al. change in the kinetics of epicardial and M cells
    delta_epi: Scalar = param(
        0.0, "1", "share by which the transient outward current is faster at rest", bounds=(0.0, 0.99), source=_ORIGINAL
    )
    upScale: Scalar = _factor("factor of the uptake into the sarcoplasmic reticulum")
    relScale: Scalar = _factor("factor of the release from the sarcoplasmic reticulum")

    KmCaMK: Scalar = _kinetic(0.15, "1", "active kinase of half effect")
    aCaMK: Scalar = _kinetic(0.05, "1/ms", "rate at which the kinase traps calmodulin")
    bCaMK: Scalar = _kinetic(0.00068, "1/ms", "rate at which the kinase loses calmodulin")
    CaMKo: Scalar = _kinetic(0.05, "1", "share of kinase bound to calmodulin at saturating calcium")
    KmCaM: Scalar = _kinetic(0.0015, "mmol/L", "half saturation of calmodulin")
    Ahf: Scalar = param(0.99, "1", "share of fast inactivation, sodium current", bounds=(0.5, 1.0), source=_ORIGINAL)
    thL: Scalar = _kinetic(200.0, "ms", "time constant of inactivation, late sodium current")
    Kmn: Scalar = _kinetic(0.002, "mmol/L", "half saturation of calmodulin at the L-type channel")
    k2n: Scalar = _kinetic(1000.0, "1/ms", "rate at which that calmodulin binds calcium")
    PKNa: Scalar = _kinetic(0.01833, "1", "permeability of the slow delayed rectifier to sodium over that to potassium")
    txs1_max: Scalar = _kinetic(817.3, "ms", "longest time constant of activation, slow delayed rectifier")
    KmCap: Scalar = _kinetic(0.0005, "mmol/L", "half saturation, sarcolemmal calcium pump")

    kna1: Scalar = _kinetic(15.0, "mmol/L", "exchanger: dissociation of its first sodium")
    kna2: Scalar = _kinetic(5.0, "mmol/L", "exchanger: dissociation of its second sodium")
    kna3: Scalar = _kinetic(88.12, "mmol/L", "exchanger: dissociation of its third sodium")
    kasymm: Scalar = _kinetic(12.5, "1", "exchanger: asymmetry")
    wna: Scalar = _kinetic(6e4, "1/s", "exchanger: translocation of sodium")
    wca: Scalar = _kinetic(6e4, "1/s", "exchanger: translocation of calcium")
    wnaca: Scalar = _kinetic(5e3, "1/s", "exchanger: translocation of both")
    kcaon: Scalar = _kinetic(1.5e6, "L/mmol/s", "exchanger: binding of calcium")
    kcaoff: Scalar = _kinetic(5e3, "1/s", "exchanger: loss of calcium")
    qna: Scalar = _kinetic(0.5224, "1", "exchanger: charge moved by sodium")
    qca: Scalar = _kinetic(0.167, "1", "exchanger: charge moved by calcium")
    KmCaAct: Scalar = _kinetic(150e-6, "mmol/L", "exchanger: calcium of half activation")

    k1p: Scalar = _kinetic(949.5, "1/s", "pump: step 1 forward")
    k1m: Scalar = _kinetic(182.4, "L/mmol/s", "pump: step 1 backward")
    k2p: Scalar = _kinetic(687.2, "1/s", "pump: step 2 forward")
    k2m: Scalar = _kinetic(39.4, "1/s", "pump: step 2 backward")
    k3p: Scalar = _kinetic(1899.0, "1/s", "pump: step 3 forward")
    k3m: Scalar = _kinetic(79300.0, "L^2/mmol^2/s", "pump: step 3 backward")
    k4p: Scalar = _kinetic(639.0, "1/s", "pump: step 4 forward")
    k4m: Scalar = _kinetic(40.0, "1/s", "pump: step 4 backward")
    Knai0: Scalar = _kinetic(9.073, "mmol/L", "pump: dissociation of inner sodium at 0 mV")
    Knao0: Scalar = _kinetic(27.78, "mmol/L", "pump: dissociation of outer sodium at 0 mV")
    delta: Scalar = _kinetic(-0.155, "1", "pump: share of the field that inner sodium feels")
    Kki: Scalar = _kinetic(0.5, "mmol/L", "pump: dissociation of inner potassium")
    Kko: Scalar = _kinetic(0.3582, "mmol/L", "pump: dissociation of outer potassium")
    MgADP: Scalar = _kinetic(0.05, "mmol/L", "cytoplasmic MgADP")
    MgATP: Scalar = _kinetic(9.8, "mmol/L", "cytoplasmic MgATP")
    Kmgatp: Scalar = _kinetic(1.698e-7, "mmol/L", "pump: dissociation of MgATP")
    H: Scalar = _kinetic(1e-7, "mmol/L", "protons, as the paper counts them")
    eP: Scalar = _kinetic(4.2, "mmol/L", "total phosphate")
    Khp: Scalar = _kinetic(1.698e-7, "mmol/L", "dissociation of phosphate and protons")
    Knap: Scalar = _kinetic(224.0, "mmol/L", "dissociation of phosphate and sodium")
    Kxkur: Scalar = _kinetic(292.0, "mmol/L", "dissociation of phosphate and potassium")

    Jup_max: Scalar = _conductance(0.004375, "largest uptake by a pump without kinase", "mmol/L/ms", _ORIGINAL)
    Jleak_max: Scalar = _conductance(0.0039375, "leakage from a reticulum at 15 mmol/L", "mmol/L/ms", _ORIGINAL)
    bt: Scalar = _kinetic(4.75, "ms", "time constant of release")
    tau_diffNa: Scalar = _kinetic(2.0, "ms", "time constant of sodium's diffusion out of the subspace")
    tau_diffK: Scalar = _kinetic(2.0, "ms", "time constant of potassium's diffusion out of the subspace")
    tau_diff: Scalar = _kinetic(0.2, "ms", "time constant of calcium's diffusion out of the subspace")
    tau_tr: Scalar = _kinetic(100.0, "ms", "time constant of transfer within the sarcoplasmic reticulum")
    cmdnmax: Scalar = _kinetic(0.05, "mmol/L", "calmodulin of the cytoplasm")
    kmcmdn: Scalar = _kinetic(0.00238, "mmol/L", "half saturation of calmodulin")
    trpnmax: Scalar = _kinetic(0.07, "mmol/L", "troponin of the cytoplasm")
    kmtrpn: Scalar = _kinetic(0.0005, "mmol/L", "half saturation of troponin")
    BSRmax: Scalar = _kinetic(0.047, "mmol/L", "buffer on the reticulum's membrane")
    KmBSR: Scalar = _kinetic(0.00087, "mmol/L", "half saturation of that buffer")
    BSLmax: Scalar = _kinetic(1.124, "mmol/L", "buffer on the sarcolemma")
    KmBSL: Scalar = _kinetic(0.0087, "mmol/L", "half saturation of that buffer")
    csqnmax: Scalar = _kinetic(10.0, "mmol/L", "calsequestrin")
    kmcsqn: Scalar = _kinetic(0.8, "mmol/L", "half saturation of calsequestrin")

    nao: Scalar = _kinetic(140.0, "mmol/L", "extracellular sodium")
    cao: Scalar = _kinetic(1.8, "mmol/L", "extracellular calcium")
    ko: Scalar = _kinetic(5.4, "mmol/L", "extracellular potassium")
    T: Scalar = param(310.0, "K", "temperature", bounds=(295.0, 315.0), source=_ORIGINAL)
    L: Scalar = _kinetic(0.01, "cm", "length of the cell")
    rad: Scalar = _kinetic(0.0011, "cm", "radius of the cell")
    cm: Scalar = _kinetic(1.0, "uF/cm^2", "capacitance of the membrane")

    A1: Scalar = _rate(0.0264, "C1 to C2")
    B1: Scalar = _slope(4.631e-5, "C1 to C2")
    q1: Scalar = _q10(4.843, "C1 to C2")
    A2: Scalar = _rate(4.986e-6, "C2 to C1")
    B2: Scalar = _slope(-0.004226, "C2 to C1")
    q2: Scalar = _q10(4.23, "C2 to C1")
    A3: Scalar = _rate(0.001214, "IC2 to IO")
    B3: Scalar = _slope(0.008516, "IC2 to IO")
    q3: Scalar = _q10(4.962, "IC2 to IO")
    A4: Scalar = _rate(1.854e-5, "IO to IC2")
    B4: Scalar = _slope(-0.04641, "IO to IC2")
    q4: Scalar = _q10(3.769, "IO to IC2")
    A11: Scalar = _rate(0.0007868, "IC1 to IC2")
    B11: Scalar = _slope(1.535e-8, "IC1 to IC2")
    q11: Scalar = _q10(4.942, "IC1 to IC2")
    A21: Scalar = _rate(5.455e-6, "IC2 to IC1")
    B21: Scalar = _slope(-0.1688, "IC2 to IC1")
    q21: Scalar = _q10(4.156, "IC2 to IC1")
    A31: Scalar = _rate(0.005509, "C2 to O")
    B31: Scalar = _slope(7.771e-9, "C2 to O")
    q31: Scalar = _q10(4.22, "C2 to O")
    A41: Scalar = _rate(0.001416, "O to C2")
    B41: Scalar = _slope(-0.02877, "O to C2")
    q41: Scalar = _q10(1.459, "O to C2")
    A51: Scalar = _rate(0.4492, "C1 to IC1")
    B51: Scalar = _slope(0.008595, "C1 to IC1")
    q51: Scalar = _q10(5.0, "C1 to IC1")
    A52: Scalar = _rate(0.3181, "C2 to IC2")
    B52: Scalar = _slope(3.613e-8, "C2 to IC2")
    q52: Scalar = _q10(4.663, "C2 to IC2")
    A53: Scalar = _rate(0.149, "O to IO")
    B53: Scalar = _slope(0.004668, "O to IO")
    q53: Scalar = _q10(2.412, "O to IO")
    A61: Scalar = _rate(0.01241, "IC1 to C1")
    B61: Scalar = _slope(0.1725, "IC1 to C1")
    q61: Scalar = _q10(5.568, "IC1 to C1")
    A62: Scalar = _rate(0.3226, "IC2 to C2")
    B62: Scalar = _slope(-0.0006575, "IC2 to C2")
    q62: Scalar = _q10(5.0, "IC2 to C2")
    A63: Scalar = _rate(0.008978, "IO to O")
    B63: Scalar = _slope(-0.02215, "IO to O")
    q63: Scalar = _q10(5.682, "IO to O")
    Temp: Scalar = param(37.0, "degC", "hERG: temperature", bounds=(20.0, 42.0), source=_HERG)

    D: Scalar = param(0.0, "nmol/L", "free concentration of the drug", bounds=(0.0, 1e9), source=_HERG)
    Kmax: Scalar = param(0.0, "1", "drug: largest ratio of binding to unbinding", bounds=(0.0, 1e9), source=_HERG)
    Ku: Scalar = param(0.0, "1/ms", "drug: rate of unbinding", bounds=(0.0, 10.0), source=_HERG)
    n: Scalar = param(1.0, "1", "drug: Hill coefficient", bounds=(0.3, 3.0), source=_HERG)
    halfmax: Scalar = param(
        1.0, "1", "drug: n-th power of the concentration of half binding in nmol/L", bounds=(1e-9, 1e15), source=_HERG
    )
    Kt: Scalar = param(3.5e-5, "1/ms", "drug: rate of leaving and entering the trap", bounds=(0.0, 0.01), source=_HERG)
    Vhalf: Scalar = param(
        1.0, "mV", "drug: voltage at which half of it is trapped", bounds=(-250.0, 100.0), source=_HERG
    )

    class State(Vars):
        v: Scalar = state(-88.00190465, "mV", "transmembrane potential")
        CaMKt: Scalar = state(0.0125840447, "1", "share of kinase that has trapped calmodulin")
        nai: Scalar = state(7.268004498, "mmol/L", "cytoplasmic sodium")
        nass: Scalar = state(7.268089977, "mmol/L", "sodium in the subspace")
        ki: Scalar = state(144.6555918, "mmol/L", "cytoplasmic potassium")
        kss: Scalar = state(144.6555651, "mmol/L", "potassium in the subspace")
        cai: Scalar = state(8.6e-5, "mmol/L", "free cytoplasmic calcium")
        cass: Scalar = state(8.49e-5, "mmol/L", "free calcium in the subspace")
        cansr: Scalar = state(1.619574538, "mmol/L", "calcium in the network reticulum")
        cajsr: Scalar = state(1.571234014, "mmol/L", "free calcium in the junctional reticulum")
        m: Scalar = state(0.007344121102, "1", "activation, sodium current")
        hf: Scalar = state(0.6981071913, "1", "fast inactivation, sodium current")
        hs: Scalar = state(0.6980895801, "1", "slow inactivation, sodium current")
        j: Scalar = state(0.6979908432, "1", "recovery from inactivation, sodium current")
        hsp: Scalar = state(0.4549485525, "1", "slow inactivation, phosphorylated sodium channel")
        jp: Scalar = state(0.6979245865, "1", "recovery from inactivation, phosphorylated sodium channel")
        mL: Scalar = state(0.0001882617273, "1", "activation, late sodium current")
        hL: Scalar = state(0.5008548855, "1", "inactivation, late sodium current")
        hLp: Scalar = state(0.2693065357, "1", "inactivation, phosphorylated channel of the late sodium current")
        a: Scalar = state(0.001001097687, "1", "activation, transient outward current")
        iF: Scalar = state(0.9995541745, "1", "fast inactivation, transient outward current")
        iS: Scalar = state(0.5865061736, "1", "slow inactivation, transient outward current")
        ap: Scalar = state(0.0005100862934, "1", "activation, phosphorylated transient outward channel")
        iFp: Scalar = state(0.9995541823, "1", "fast inactivation, phosphorylated transient outward channel")
        iSp: Scalar = state(0.6393399482, "1", "slow inactivation, phosphorylated transient outward channel")
        d: Scalar = state(2.34e-9, "1", "activation, L-type calcium current")
        ff: Scalar = state(0.9999999909, "1", "fast inactivation by voltage, L-type calcium current")
        fs: Scalar = state(0.9102412777, "1", "slow inactivation by voltage, L-type calcium current")
        fcaf: Scalar = state(0.9999999909, "1", "fast inactivation by calcium, L-type calcium current")
        fcas: Scalar = state(0.9998046777, "1", "slow inactivation by calcium, L-type calcium current")
        jca: Scalar = state(0.9999738312, "1", "recovery from inactivation by calcium, L-type calcium current")
        nca: Scalar = state(0.002749414044, "1", "share of L-type channels inactivated by calcium")
        ffp: Scalar = state(0.9999999909, "1", "fast inactivation by voltage, phosphorylated L-type channel")
        fcafp: Scalar = state(0.9999999909, "1", "fast inactivation by calcium, phosphorylated L-type channel")
        C1: Scalar = state(1.80145e-8, "1", "hERG: first closed state")
        C2: Scalar = state(8.26619e-5, "1", "hERG: second closed state")
        O: Scalar = state(0.00015551, "1", "hERG: open")
        IC1: Scalar = state(0.999637, "1", "hERG: first closed state, inactivated")
        IC2: Scalar = state(6.83208e-5, "1", "hERG: second closed state, inactivated")
        IO: Scalar = state(5.67623e-5, "1", "hERG: open, inactivated")
        Obound: Scalar = state(0.0, "1", "hERG: open with drug")
        IObound: Scalar = state(0.0, "1", "hERG: open and inactivated with drug")
        Cbound: Scalar = state(0.0, "1", "hERG: closed with trapped drug")
        xs1: Scalar = state(0.2707758025, "1", "slow activation, slow delayed rectifier current")
        xs2: Scalar = state(0.0001928503426, "1", "fast activation, slow delayed rectifier current")
        xk1: Scalar = state(0.9967597594, "1", "inactivation, inward rectifier current")
        Jrelnp: Scalar = state(2.5e-7, "mmol/L/ms", "release from the junctional reticulum")
        Jrelp: Scalar = state(3.12e-7, "mmol/L/ms", "release by phosphorylated receptors")

    class In(Vars):
        stimulus: Scalar = port("uA/uF", "stimulus current; negative depolarises", kind="flow")

    class Out(Vars):
        potential: Scalar = port("mV", "transmembrane potential")
        calcium: Scalar = port("mmol/L", "free cytoplasmic calcium")
        I_ion: Scalar = _current("total ionic current, without the stimulus")
        INa: Scalar = _current("fast sodium current")
        INaL: Scalar = _current("late sodium current")
        Ito: Scalar = _current("transient outward current")
        ICaL: Scalar = _current("L-type calcium current")
        IKr: Scalar = _current("rapid delayed rectifier current")
        IKs: Scalar = _current("slow delayed rectifier current")
        IK1: Scalar = _current("inward rectifier current")
        INaK: Scalar = _current("current of the sodium-potassium pump")

    @classmethod
    def endo(cls) -> OHaraRudyCiPA:
        """An endocardial cell, which is the default."""
        return cls()

    @classmethod
    def epi(cls) -> OHaraRudyCiPA:
        """An epicardial cell."""
        factors = {"GNaL": 0.6, "Gto": 4.0, "PCa": 1.2, "GKr": 1.3, "GKs": 1.4, "GK1": 1.2, "Gncx": 1.1, "Pnak": 0.9}
        return cls(delta_epi=0.95, upScale=1.3, **_scaled(factors | {"GKb": 0.6, "cmdnmax": 1.3}))

    @classmethod
    def M(cls) -> OHaraRudyCiPA:
        """A cell of the middle of the wall."""
        factors = {"Gto": 4.0, "PCa": 2.5, "GKr": 0.8, "GK1": 1.3, "Gncx": 1.4, "Pnak": 0.7}
        return cls(relScale=1.7, **_scaled(factors))

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        V = _kinetic_potential(x.v)
        i = self._currents(x, V)
        shown = {name: value for name, value in i._asdict().items() if name in self.Out.__dataclass_fields__}
        return self.Out(potential=x.v, calcium=x.cai, I_ion=sum(i[1:], i[0]), **shown)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        V = _kinetic_potential(x.v)
        i = self._currents(x, V)
        F = constant(96485.0, "C/mol")
        vcell = constant(1000.0, "uL/cm^3") * 3.14 * self.rad * self.rad * self.L
        surface = 2.0 * (2.0 * 3.14 * self.rad * self.rad + 2.0 * 3.14 * self.rad * self.L)
        vmyo, vnsr, vjsr, vss = 0.68 * vcell, 0.0552 * vcell, 0.0048 * vcell, 0.02 * vcell
        to_myo, to_ss = self.cm * surface / (F * vmyo), self.cm * surface / (F * vss)

        phosphorylated = self._phosphorylated(x)
        JdiffNa, JdiffK = (x.nass - x.nai) / self.tau_diffNa, (x.kss - x.ki) / self.tau_diffK
        Jdiff, Jtr = (x.cass - x.cai) / self.tau_diff, (x.cansr - x.cajsr) / self.tau_tr
        Jrel = (1.0 - phosphorylated) * x.Jrelnp + phosphorylated * x.Jrelp
        half, eased = constant(0.00092, "mmol/L"), constant(0.00017, "mmol/L")
        Jupnp = self.upScale * self.Jup_max * x.cai / (x.cai + half)
        Jupp = 2.75 * self.upScale * self.Jup_max * x.cai / (x.cai + half - eased)
        Jleak = self.Jleak_max * x.cansr / constant(15.0, "mmol/L")
        Jup = (1.0 - phosphorylated) * Jupnp + phosphorylated * Jupp - Jleak

        # what binds a small change of calcium, for one that stays free
        in_myo = _bound(x.cai, self.cmdnmax, self.kmcmdn) + _bound(x.cai, self.trpnmax, self.kmtrpn)
        in_ss = _bound(x.cass, self.BSRmax, self.KmBSR) + _bound(x.cass, self.BSLmax, self.KmBSL)
        in_jsr = _bound(x.cajsr, self.csqnmax, self.kmcsqn)

        CaMKb = self._kinase_bound(x)
        sodium = i.INa + i.INaL + 3.0 * i.INaCa_i + 3.0 * i.INaK + i.INab
        potassium = i.Ito + i.IKr + i.IKs + i.IK1 + i.IKb + u.stimulus - 2.0 * i.INaK
        calcium = i.IpCa + i.ICab - 2.0 * i.INaCa_i
        return self.State(
            v=-(sum(i[1:], i[0]) + u.stimulus),
            CaMKt=self.aCaMK * CaMKb * (CaMKb + x.CaMKt) - self.bCaMK * x.CaMKt,
            nai=-sodium * to_myo + JdiffNa * vss / vmyo,
            nass=-(i.ICaNa + 3.0 * i.INaCa_ss) * to_ss - JdiffNa,
            ki=-potassium * to_myo + JdiffK * vss / vmyo,
            kss=-i.ICaK * to_ss - JdiffK,
            cai=(-calcium * to_myo / 2.0 - Jup * vnsr / vmyo + Jdiff * vss / vmyo) / (1.0 + in_myo),
            cass=(-(i.ICaL - 2.0 * i.INaCa_ss) * to_ss / 2.0 + Jrel * vjsr / vss - Jdiff) / (1.0 + in_ss),
            cansr=Jup - Jtr * vjsr / vnsr,
            cajsr=(Jtr - Jrel) / (1.0 + in_jsr),
            **self._sodium_gates(x, V),
            **self._outward_gates(x, V),
            **self._calcium_gates(x, V),
            **self._herg(x, V),
            **self._potassium_gates(x, V),
            **self._release(x, i.ICaL),
        )

    # ------------------------------------------------------------------------------------------------ currents

    def _kinase_bound(self, x: State) -> Scalar:
        return self.CaMKo * (1.0 - x.CaMKt) * x.cass / (x.cass + self.KmCaM)

    def _phosphorylated(self, x: State) -> Scalar:
        """Share of every channel and pump that the kinase has phosphorylated."""
        active = self._kinase_bound(x) + x.CaMKt
        return active / (active + self.KmCaMK)

    def _currents(self, x: State, V: Scalar) -> Currents:
        R, F = constant(8314.0, "mJ/(mol*K)"), constant(96485.0, "C/mol")
        RTF = R * self.T / F
        v = V / constant(1.0, "mV")
        w, p = V / RTF, self._phosphorylated(x)
        ENa, EK = RTF * jnp.log(self.nao / x.nai), RTF * jnp.log(self.ko / x.ki)
        EKs = RTF * jnp.log((self.ko + self.PKNa * self.nao) / (x.ki + self.PKNa * x.nai))
        ko = self.ko / constant(1.0, "mmol/L")

        h, hp = self.Ahf * x.hf + (1.0 - self.Ahf) * x.hs, self.Ahf * x.hf + (1.0 - self.Ahf) * x.hsp
        AiF = boltzmann(v, 213.6, -151.2)
        i, ip = AiF * x.iF + (1.0 - AiF) * x.iS, AiF * x.iFp + (1.0 - AiF) * x.iSp
        f, fp = 0.6 * x.ff + 0.4 * x.fs, 0.6 * x.ffp + 0.4 * x.fs
        Afcaf = 0.3 + 0.6 * boltzmann(v, 10.0, -10.0)
        fca, fcap = Afcaf * x.fcaf + (1.0 - Afcaf) * x.fcas, Afcaf * x.fcafp + (1.0 - Afcaf) * x.fcas
        open_L = (1.0 - p) * (f * (1.0 - x.nca) + x.jca * fca * x.nca)
        # permeability of a phosphorylated channel is 1.1 times as large
        open_L = x.d * (open_L + 1.1 * p * (fp * (1.0 - x.nca) + x.jca * fcap * x.nca))
        rk1 = boltzmann(v, 2.6 * ko - 105.8, -9.493)
        KsCa = 1.0 + 0.6 / (1.0 + (constant(3.8e-5, "mmol/L") / x.cai) ** 1.4)

        def flux(charge: float, inside: Scalar, outside: Scalar) -> Scalar:
            """Goldman-Hodgkin-Katz current of a permeability of 1."""
            y = charge * w
            return charge * F / self.cm * (inside * bernoulli(-y) - outside * bernoulli(y))

        return Currents(
            INa=self.GNa * (x.v - ENa) * x.m**3 * ((1.0 - p) * h * x.j + p * hp * x.jp),
            INaL=self.GNaL * (x.v - ENa) * x.mL * ((1.0 - p) * x.hL + p * x.hLp),
            Ito=self.Gto * (x.v - EK) * ((1.0 - p) * x.a * i + p * x.ap * ip),
            ICaL=self.PCa * flux(2.0, x.cass, 0.341 * self.cao) * open_L,
            ICaNa=0.00125 * self.PCa * flux(1.0, 0.75 * x.nass, 0.75 * self.nao) * open_L,
            ICaK=3.574e-4 * self.PCa * flux(1.0, 0.75 * x.kss, 0.75 * self.ko) * open_L,
            IKr=self.GKr * jnp.sqrt(ko / 5.4) * x.O * (x.v - EK),
            IKs=self.GKs * KsCa * x.xs1 * x.xs2 * (x.v - EKs),
            IK1=self.GK1 * jnp.sqrt(ko) * rk1 * x.xk1 * (x.v - EK),
            INaCa_i=0.8 * self._exchanger(w, x.nai, x.cai),
            INaCa_ss=0.2 * self._exchanger(w, x.nass, x.cass),
            INaK=self._pump(w, x),
            INab=self.PNab * flux(1.0, x.nai, self.nao),
            IKb=self.GKb * boltzmann(v, 14.48, 18.34) * (x.v - EK),
            IpCa=self.GpCa * x.cai / (self.KmCap + x.cai),
            ICab=self.PCab * flux(2.0, x.cai, 0.341 * self.cao),
        )

    def _exchanger(self, w: Scalar, na: Scalar, ca: Scalar) -> Scalar:
        """Current of the sodium-calcium exchangers that see these concentrations, as if all of them did."""
        hca, hna = jnp.exp(self.qca * w), jnp.exp(self.qna * w)
        h1 = 1.0 + na / self.kna3 * (1.0 + hna)
        h2 = na * hna / (self.kna3 * h1)
        h4 = 1.0 + na / self.kna1 * (1.0 + na / self.kna2)
        h5 = na * na / (h4 * self.kna1 * self.kna2)
        h7 = 1.0 + self.nao / self.kna3 * (1.0 + 1.0 / hna)
        h8 = self.nao / (self.kna3 * hna * h7)
        h10 = self.kasymm + 1.0 + self.nao / self.kna1 * (1.0 + self.nao / self.kna2)
        h11 = self.nao * self.nao / (h10 * self.kna1 * self.kna2)
        k1, k2, k5, k6 = self.cao * self.kcaon / h10, self.kcaoff, self.kcaoff, ca * self.kcaon / h4
        k3pp, k4pp = h8 * self.wnaca, h2 * self.wnaca
        k3, k4 = self.wca / h7 + k3pp, self.wca / (h1 * hca) + k4pp
        k7, k8 = h5 * h2 * self.wna, h8 * h11 * self.wna
        E1, E2, E3, E4 = _shares(
            k2 * k4 * (k7 + k6) + k5 * k7 * (k2 + k3),
            k1 * k7 * (k4 + k5) + k4 * k6 * (k1 + k8),
            k1 * k3 * (k7 + k6) + k8 * k6 * (k2 + k3),
            k2 * k8 * (k4 + k5) + k3 * k5 * (k1 + k8),
        )
        sodium = 3.0 * (E4 * k7 - E1 * k8) + E3 * k4pp - E2 * k3pp
        calcium = E2 * k2 - E1 * k1
        allosteric = ca * ca / (ca * ca + self.KmCaAct * self.KmCaAct)
        return self.Gncx * allosteric * (sodium + 2.0 * calcium)

    def _pump(self, w: Scalar, x: State) -> Scalar:
        """Current of the sodium-potassium pump."""
        inner = x.nai / (self.Knai0 * jnp.exp(self.delta * w / 3.0))
        outer = self.nao / (self.Knao0 * jnp.exp((1.0 - self.delta) * w / 3.0))
        ki, ko, atp = x.ki / self.Kki, self.ko / self.Kko, self.MgATP / self.Kmgatp
        within = (1.0 + inner) ** 3 + (1.0 + ki) ** 2 - 1.0
        without = (1.0 + outer) ** 3 + (1.0 + ko) ** 2 - 1.0
        P = self.eP / (1.0 + self.H / self.Khp + x.nai / self.Knap + x.ki / self.Kxkur)
        a1, b1 = self.k1p * inner**3 / within, self.k1m * self.MgADP
        a2, b2 = self.k2p, self.k2m * outer**3 / without
        a3, b3 = self.k3p * ko**2 / without, self.k3m * P * self.H / (1.0 + atp)
        a4, b4 = self.k4p * atp / (1.0 + atp), self.k4m * ki**2 / within
        E1, E2, E3, E4 = _shares(
            a4 * a1 * a2 + b2 * b4 * b3 + a2 * b4 * b3 + b3 * a1 * a2,
            b2 * b1 * b4 + a1 * a2 * a3 + a3 * b1 * b4 + a2 * a3 * b4,
            a2 * a3 * a4 + b3 * b2 * b1 + b2 * b1 * a4 + a3 * a4 * b1,
            b4 * b3 * b2 + a3 * a4 * a1 + b2 * a4 * a1 + b3 * b2 * a1,
        )
        return self.Pnak * (3.0 * (E1 * a3 - E2 * b3) + 2.0 * (E4 * b1 - E3 * a1))

    # --------------------------------------------------------------------------------------------------- gates

    def _sodium_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        tm = ms * _slower(v, (6.765, -11.64, 34.77), (8.552, -77.42, -5.955))
        ths = ms * _slower(v, (0.009794, -17.95, -28.05), (0.3343, -5.73, 56.66))
        tj = ms * (2.038 + _slower(v, (0.02136, -100.6, -8.281), (0.3052, -0.9941, 38.45)))
        hss, hssp = boltzmann(v, -82.9, -6.086), boltzmann(v, -89.1, -6.086)
        return {
            "m": gate(x.m, boltzmann(v, -39.57, 9.871), tm),
            "hf": gate(x.hf, hss, ms * _slower(v, (1.432e-5, -1.196, -6.285), (6.149, -0.5096, 20.27))),
            "hs": gate(x.hs, hss, ths),
            "j": gate(x.j, hss, tj),
            "hsp": gate(x.hsp, hssp, 3.0 * ths),
            "jp": gate(x.jp, hss, 1.46 * tj),
            "mL": gate(x.mL, boltzmann(v, -42.85, 5.264), tm),
            "hL": gate(x.hL, boltzmann(v, -87.61, -7.488), self.thL),
            "hLp": gate(x.hLp, boltzmann(v, -93.81, -7.488), 3.0 * self.thL),
        }

    def _outward_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        ta = ms * 1.0515 / (boltzmann(v, 18.4099, 29.3814) / 1.2089 + 3.5 * boltzmann(v, -100.0, -29.3814))
        iss = boltzmann(v, -43.94, -5.711)
        faster = ms * (1.0 - self.delta_epi * boltzmann(v, -70.0, -5.0))
        tiF = faster * (4.562 + _slower(v, (0.3933, -100.0, -100.0), (0.08004, -50.0, 16.59)))
        tiS = faster * (23.62 + _slower(v, (0.001416, -96.52, -59.05), (1.78e-8, -114.1, 8.079)))
        # 1 / (exp(develop) + exp(-(v - 12.23) / 0.2154)), whose second term is beyond all floats at rest
        develop = (v - 167.4) / 15.89
        develop = 1.354 + 1e-4 * jnp.exp(-develop) * boltzmann(develop + (v - 12.23) / 0.2154, 0.0, 1.0)
        kinase = develop * (1.0 - 0.5 * boltzmann(v, -70.0, -20.0))
        return {
            "a": gate(x.a, boltzmann(v, 14.34, 14.82), ta),
            "iF": gate(x.iF, iss, tiF),
            "iS": gate(x.iS, iss, tiS),
            "ap": gate(x.ap, boltzmann(v, 24.34, 14.82), ta),
            "iFp": gate(x.iFp, iss, kinase * tiF),
            "iSp": gate(x.iSp, iss, kinase * tiS),
        }

    def _calcium_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        fss = boltzmann(v, -19.58, -3.696)
        tff = ms * (7.0 + _slower(v, (0.0045, -20.0, -10.0), (0.0045, -20.0, 10.0)))
        tfcaf = ms * (7.0 + _slower(v, (0.04, 4.0, -7.0), (0.04, 4.0, 7.0)))
        # calmodulin binds at k2n and leaves at km2n
        km2n = x.jca / ms
        anca = 1.0 / (1.0 + km2n / self.k2n * (1.0 + self.Kmn / x.cass) ** 4)
        return {
            "d": gate(
                x.d,
                boltzmann(v, -3.94, 4.23),
                ms * (0.6 + _slower(v, (1.0, -6.0, -1.0 / 0.05), (1.0, -14.0, 1.0 / 0.09))),
            ),
            "ff": gate(x.ff, fss, tff),
            "fs": gate(x.fs, fss, ms * (1000.0 + _slower(v, (3.5e-5, -5.0, -4.0), (3.5e-5, -5.0, 6.0)))),
            "fcaf": gate(x.fcaf, fss, tfcaf),
            "fcas": gate(x.fcas, fss, ms * (100.0 + _slower(v, (0.00012, 0.0, -3.0), (0.00012, 0.0, 7.0)))),
            "jca": gate(x.jca, fss, constant(75.0, "ms")),
            "nca": gate(x.nca, anca, 1.0 / km2n),
            "ffp": gate(x.ffp, fss, 2.5 * tff),
            "fcafp": gate(x.fcafp, fss, 2.5 * tfcaf),
        }

    def _potassium_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        ko = self.ko / constant(1.0, "mmol/L")
        xs1ss = boltzmann(v, -11.6, 8.932)
        txs1 = self.txs1_max + ms * _slower(v, (2.326e-4, -48.28, 17.8), (0.001292, -210.0, -230.0))
        return {
            "xs1": gate(x.xs1, xs1ss, txs1),
            "xs2": gate(x.xs2, xs1ss, ms * _slower(v, (0.01, 50.0, 20.0), (0.0193, -66.54, -31.0))),
            "xk1": gate(
                x.xk1,
                boltzmann(v, -2.5538 * ko - 144.59, 1.5692 * ko + 3.8115),
                122.2 * ms * _slower(v, (1.0, -127.2, -20.36), (1.0, -236.8, 69.33)),
            ),
        }

    def _herg(self, x: State, V: Scalar) -> dict[str, Scalar]:
        """Rates of the channel's states, by the net flow along every edge between them."""
        warmth = (self.Temp - constant(20.0, "degC")) / constant(10.0, "degC")

        def k(A: Scalar, B: Scalar, q: Scalar) -> Scalar:
            return A * jnp.exp(B * V) * q**warmth

        k53, k63 = k(self.A53, self.B53, self.q53), k(self.A63, self.B63, self.q63)
        C1_C2 = k(self.A1, self.B1, self.q1) * x.C1 - k(self.A2, self.B2, self.q2) * x.C2
        C2_O = k(self.A31, self.B31, self.q31) * x.C2 - k(self.A41, self.B41, self.q41) * x.O
        IC1_IC2 = k(self.A11, self.B11, self.q11) * x.IC1 - k(self.A21, self.B21, self.q21) * x.IC2
        IC2_IO = k(self.A3, self.B3, self.q3) * x.IC2 - k(self.A4, self.B4, self.q4) * x.IO
        C1_IC1 = k(self.A51, self.B51, self.q51) * x.C1 - k(self.A61, self.B61, self.q61) * x.IC1
        C2_IC2 = k(self.A52, self.B52, self.q52) * x.C2 - k(self.A62, self.B62, self.q62) * x.IC2
        O_IO = k53 * x.O - k63 * x.IO

        level = (self.D / constant(1.0, "nmol/L")) ** self.n
        binding = self.Kmax * self.Ku * level / (level + self.halfmax)
        opening = self.Kt * boltzmann(V, self.Vhalf, constant(6.789, "mV"))
        O_Obound = binding * x.O - self.Ku * x.Obound
        IO_IObound = binding * x.IO - self.Ku * k53 / k63 * x.IObound
        Cbound_Obound, Cbound_IObound = (
            opening * x.Cbound - self.Kt * x.Obound,
            opening * x.Cbound - self.Kt * x.IObound,
        )
        return {
            "C1": -C1_C2 - C1_IC1,
            "C2": C1_C2 - C2_O - C2_IC2,
            "O": C2_O - O_IO - O_Obound,
            "IC1": C1_IC1 - IC1_IC2,
            "IC2": IC1_IC2 + C2_IC2 - IC2_IO,
            "IO": IC2_IO + O_IO - IO_IObound,
            "Obound": O_Obound + Cbound_Obound,
            "IObound": IO_IObound + Cbound_IObound,
            "Cbound": -Cbound_Obound - Cbound_IObound,
        }

    def _release(self, x: State, ICaL: Scalar) -> dict[str, Scalar]:
        load = (x.cajsr / constant(1.5, "mmol/L")) ** 8
        steady = -self.relScale * constant(0.5, "mmol*uF/(L*uA*ms^2)") * self.bt * ICaL * load / (load + 1.0)
        tau = self.bt * x.cajsr / (x.cajsr + constant(0.0123, "mmol/L"))
        least = constant(0.001, "ms")
        return {
            "Jrelnp": gate(x.Jrelnp, steady, jnp.maximum(tau, least)),
            "Jrelp": gate(x.Jrelp, 1.25 * steady, jnp.maximum(1.25 * tau, least)),
        }


def _scaled(factors: dict[str, float]) -> dict[str, float]:
    endo = OHaraRudyCiPA()
    return {name: factor * getattr(endo, name) for name, factor in factors.items()}


def _kinetic_potential(v: Scalar) -> Scalar:
    """The potential that kinetics depend on."""
    furthest = constant(_FURTHEST, "mV")
    return jnp.clip(v, -furthest, furthest)


def _slower(v: Scalar, first: tuple[float, float, float], second: tuple[float, float, float]) -> Scalar:
    """``1 / (a exp((v - b) / c) + ...)`` of two such terms."""
    (a, b, c), (d, e, f) = first, second
    return 1.0 / (a * jnp.exp((v - b) / c) + d * jnp.exp((v - e) / f))


def _bound(calcium: Scalar, buffer: Scalar, half: Scalar) -> Scalar:
    return buffer * half / (calcium + half) ** 2


def _shares(*weights: Scalar) -> list[Scalar]:
    """Each weight's share of their sum."""
    total = sum(weights[1:], weights[0])
    return [weight / total for weight in weights]
