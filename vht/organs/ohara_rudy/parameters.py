"""The constants of the human ventricular cell of O'Hara and Rudy, of its hERG channel, and of a drug that blocks it."""

from __future__ import annotations

from typing import Any

from vht.model import LogNormal, Organ, Scalar, param

_SOURCE = "dutta2017"
_ORIGINAL = "ohara2011"
_HERG = "li2017"
_BLOCK = "chang2017"
# nmol/L: no drug reaches it
_NONE = 1e15


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


def _half(current: str) -> Any:
    meaning = f"drug: concentration that blocks half of the {current} current; by default none does"
    return param(_NONE, "nmol/L", meaning, bounds=(1e-3, 1e16), source=_BLOCK)


def _hill(current: str) -> Any:
    return param(1.0, "1", f"drug: Hill coefficient of that block, {current} current", bounds=(0.1, 5.0), source=_BLOCK)


class OHaraRudyParameters(Organ):
    """What the equations of `OHaraRudyCiPA` are fed with."""

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

    D: Scalar = param(0.0, "nmol/L", "free concentration of the drug, as it stays", bounds=(0.0, 1e9), source=_HERG)
    Kmax: Scalar = param(0.0, "1", "drug: largest ratio of binding to unbinding", bounds=(0.0, 1e9), source=_HERG)
    # without a drug any rate will do but 0, with which what was bound would stay for ever; and any voltage at which, in a cell
    # at rest, what was trapped would leave within a day
    Ku: Scalar = param(0.001, "1/ms", "drug: rate of unbinding", bounds=(0.0, 10.0), source=_HERG)
    n: Scalar = param(1.0, "1", "drug: Hill coefficient", bounds=(0.3, 3.0), source=_HERG)
    halfmax: Scalar = param(
        1.0, "1", "drug: n-th power of the concentration of half binding in nmol/L", bounds=(1e-9, 1e15), source=_HERG
    )
    Kt: Scalar = param(3.5e-5, "1/ms", "drug: rate of leaving and entering the trap", bounds=(0.0, 0.01), source=_HERG)
    Vhalf: Scalar = param(
        -80.0, "mV", "drug: voltage at which half of it is trapped", bounds=(-250.0, 100.0), source=_HERG
    )
    INa_IC50: Scalar = _half("fast sodium")
    INa_h: Scalar = _hill("fast sodium")
    INaL_IC50: Scalar = _half("late sodium")
    INaL_h: Scalar = _hill("late sodium")
    Ito_IC50: Scalar = _half("transient outward")
    Ito_h: Scalar = _hill("transient outward")
    ICaL_IC50: Scalar = _half("L-type calcium")
    ICaL_h: Scalar = _hill("L-type calcium")
    IKs_IC50: Scalar = _half("slow delayed rectifier")
    IKs_h: Scalar = _hill("slow delayed rectifier")
    IK1_IC50: Scalar = _half("inward rectifier")
    IK1_h: Scalar = _hill("inward rectifier")
