"""Human ventricular cell of O'Hara et al. 2011 as revised for the CiPA initiative (Dutta et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from vht.model import Scalar, Vars, bernoulli, boltzmann, constant, gate, port, quantity, state
from vht.organs.ohara_rudy.formulas import bound, held, kinetic_potential, left, power, shares, slower
from vht.organs.ohara_rudy.parameters import OHaraRudyParameters


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


class Volumes(NamedTuple):
    """Volumes of the compartments, uL, and the concentration of single charges that a current adds to two of them in a time."""

    myo: Scalar
    nsr: Scalar
    jsr: Scalar
    ss: Scalar
    to_myo: Scalar
    to_ss: Scalar


class OHaraRudyCiPA(OHaraRudyParameters):
    """Human ventricular myocyte with calmodulin kinase and a hERG channel that binds drugs ("CiPA v1.0"; 48 states).

    O'Hara et al. 2011, with the rapid delayed rectifier replaced by the Markov model of Li et al. 2017 and conductances
    refitted by Dutta et al. 2017. The default is an endocardial cell; `epi` and `M` are those of the other layers, by the
    factors of O'Hara et al., and start from the same states. The stimulus is -80 uA/uF for 0.5 ms, carried by potassium.

    A drug whose free concentration is the parameter `D`, or comes through the input `drug`, or both, binds to the open hERG
    channel (`Obound`, `IObound`) and may be trapped when it closes (`Cbound`); `Kmax`, `Ku`, `halfmax`, `n` and `Vhalf`
    describe it. Six other currents it blocks at once, by a Hill equation each (`INa_IC50`, `INa_h`, ...; Chang et al. 2017).
    `vht.organs.ohara_rudy.cipa` has these numbers for twelve drugs. `INet` is the sum of six currents whose integral over a
    beat, qNet, tells how far a drug is from causing torsade de pointes (Dutta et al. 2017).

    All ions that pass the membrane, those of the stimulus too, are counted inside: the potential follows from the ions but
    for a constant (`charge`), and every periodic state belongs to the charge that the cell started with. hERG channels are
    conserved as well (`hERG`).

    Equations, constants and initial values are those of the CellML encoding, but for two: `Kt` is the value that the authors'
    program gives every drug, and `Ku` is not 0 (as they are there and in the encoding without a drug, where it makes no
    difference), so that what was bound leaves; and currents through permeabilities, which are per area, are divided by `cm`,
    which both leave out, 1 uF/cm^2 as it is. Kinetics at voltages beyond 250 mV from zero are those at 250 mV. Below
    1e-7 nmol/L what a drug does is proportional to its concentration, whatever its Hill coefficient: else the derivative at 0
    would be infinite. Priors are a spread of 20 % around the paper's values and no measurement.

    Verified against CVODE on the equations written again (3e-6 mV, 1e-5 ms of APD90), rate by rate at random states
    (tests/test_heart_cells.py), and by qNet under twelve drugs against the authors' program (tests/organs/test_cipa.py).
    Solve it with `Rodas5P`. `steady_state` wants an initial state that has rested for some 10 s.
    """

    time: ClassVar[str] = "ms"
    citation: ClassVar[str] = "dutta2017"

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
        drug: Scalar = port("nmol/L", "free concentration of the drug, on top of the parameter `D`", default=0.0)

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
        INet: Scalar = _current("sum of INaL, Ito, ICaL, IKr, IKs and IK1, whose integral over a beat is qNet")

    class Conserved(Vars):
        charge: Scalar = quantity("mV", "potential less what the charge of all ions inside would be on the membrane")
        hERG: Scalar = quantity("1", "hERG channels, free, bound and trapped")

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
        V = kinetic_potential(x.v)
        i = self._currents(x, V, self.D + u.drug)
        shown = {name: value for name, value in i._asdict().items() if name in self.Out.__dataclass_fields__}
        net = i.INaL + i.Ito + i.ICaL + i.IKr + i.IKs + i.IK1
        return self.Out(potential=x.v, calcium=x.cai, I_ion=sum(i[1:], i[0]), INet=net, **shown)

    def rates(self, t: Scalar, x: State, u: In) -> State:
        V = kinetic_potential(x.v)
        D = self.D + u.drug
        i, volume = self._currents(x, V, D), self._volumes()
        to_myo, to_ss = volume.to_myo, volume.to_ss

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
        in_myo = bound(x.cai, self.cmdnmax, self.kmcmdn) + bound(x.cai, self.trpnmax, self.kmtrpn)
        in_ss = bound(x.cass, self.BSRmax, self.KmBSR) + bound(x.cass, self.BSLmax, self.KmBSL)
        in_jsr = bound(x.cajsr, self.csqnmax, self.kmcsqn)

        CaMKb = self._kinase_bound(x)
        sodium = i.INa + i.INaL + 3.0 * i.INaCa_i + 3.0 * i.INaK + i.INab
        potassium = i.Ito + i.IKr + i.IKs + i.IK1 + i.IKb + u.stimulus - 2.0 * i.INaK
        calcium = i.IpCa + i.ICab - 2.0 * i.INaCa_i
        return self.State(
            v=-(sum(i[1:], i[0]) + u.stimulus),
            CaMKt=self.aCaMK * CaMKb * (CaMKb + x.CaMKt) - self.bCaMK * x.CaMKt,
            nai=-sodium * to_myo + JdiffNa * volume.ss / volume.myo,
            nass=-(i.ICaNa + 3.0 * i.INaCa_ss) * to_ss - JdiffNa,
            ki=-potassium * to_myo + JdiffK * volume.ss / volume.myo,
            kss=-i.ICaK * to_ss - JdiffK,
            cai=(-calcium * to_myo / 2.0 - Jup * volume.nsr / volume.myo + Jdiff * volume.ss / volume.myo)
            / (1.0 + in_myo),
            cass=(-(i.ICaL - 2.0 * i.INaCa_ss) * to_ss / 2.0 + Jrel * volume.jsr / volume.ss - Jdiff) / (1.0 + in_ss),
            cansr=Jup - Jtr * volume.jsr / volume.nsr,
            cajsr=(Jtr - Jrel) / (1.0 + in_jsr),
            **self._sodium_gates(x, V),
            **self._outward_gates(x, V),
            **self._calcium_gates(x, V),
            **self._herg(x, V, D),
            **self._potassium_gates(x, V),
            **self._release(x, i.ICaL),
        )

    def conserved(self, x: State) -> Conserved:
        volume = self._volumes()
        myo = x.cai + held(x.cai, self.cmdnmax, self.kmcmdn) + held(x.cai, self.trpnmax, self.kmtrpn)
        ss = x.cass + held(x.cass, self.BSRmax, self.KmBSR) + held(x.cass, self.BSLmax, self.KmBSL)
        jsr = x.cajsr + held(x.cajsr, self.csqnmax, self.kmcsqn)
        # as concentrations in the cytoplasm
        stores = (x.cansr * volume.nsr + jsr * volume.jsr) / volume.myo
        ions = (x.nai + x.ki + 2.0 * (myo + stores)) / volume.to_myo + (x.nass + x.kss + 2.0 * ss) / volume.to_ss
        return self.Conserved(
            charge=x.v - ions, hERG=x.C1 + x.C2 + x.O + x.IC1 + x.IC2 + x.IO + x.Obound + x.IObound + x.Cbound
        )

    def _volumes(self) -> Volumes:
        F = constant(96485.0, "C/mol")
        cell = constant(1000.0, "uL/cm^3") * 3.14 * self.rad * self.rad * self.L
        surface = 2.0 * (2.0 * 3.14 * self.rad * self.rad + 2.0 * 3.14 * self.rad * self.L)
        myo, ss = 0.68 * cell, 0.02 * cell
        to_myo, to_ss = self.cm * surface / (F * myo), self.cm * surface / (F * ss)
        return Volumes(myo=myo, nsr=0.0552 * cell, jsr=0.0048 * cell, ss=ss, to_myo=to_myo, to_ss=to_ss)

    # ------------------------------------------------------------------------------------------------ currents

    def _kinase_bound(self, x: State) -> Scalar:
        return self.CaMKo * (1.0 - x.CaMKt) * x.cass / (x.cass + self.KmCaM)

    def _phosphorylated(self, x: State) -> Scalar:
        """Share of every channel and pump that the kinase has phosphorylated."""
        active = self._kinase_bound(x) + x.CaMKt
        return active / (active + self.KmCaMK)

    def _currents(self, x: State, V: Scalar, D: Scalar) -> Currents:
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
        PCa = left(self.PCa, D, self.ICaL_IC50, self.ICaL_h)
        KsCa = 1.0 + 0.6 / (1.0 + (constant(3.8e-5, "mmol/L") / x.cai) ** 1.4)

        def flux(charge: float, inside: Scalar, outside: Scalar) -> Scalar:
            """Goldman-Hodgkin-Katz current of a permeability of 1."""
            y = charge * w
            return charge * F / self.cm * (inside * bernoulli(-y) - outside * bernoulli(y))

        return Currents(
            INa=left(self.GNa, D, self.INa_IC50, self.INa_h)
            * (x.v - ENa)
            * x.m**3
            * ((1.0 - p) * h * x.j + p * hp * x.jp),
            INaL=left(self.GNaL, D, self.INaL_IC50, self.INaL_h) * (x.v - ENa) * x.mL * ((1.0 - p) * x.hL + p * x.hLp),
            Ito=left(self.Gto, D, self.Ito_IC50, self.Ito_h) * (x.v - EK) * ((1.0 - p) * x.a * i + p * x.ap * ip),
            ICaL=PCa * flux(2.0, x.cass, 0.341 * self.cao) * open_L,
            ICaNa=0.00125 * PCa * flux(1.0, 0.75 * x.nass, 0.75 * self.nao) * open_L,
            ICaK=3.574e-4 * PCa * flux(1.0, 0.75 * x.kss, 0.75 * self.ko) * open_L,
            IKr=self.GKr * jnp.sqrt(ko / 5.4) * x.O * (x.v - EK),
            IKs=left(self.GKs, D, self.IKs_IC50, self.IKs_h) * KsCa * x.xs1 * x.xs2 * (x.v - EKs),
            IK1=left(self.GK1, D, self.IK1_IC50, self.IK1_h) * jnp.sqrt(ko) * rk1 * x.xk1 * (x.v - EK),
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
        E1, E2, E3, E4 = shares(
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
        E1, E2, E3, E4 = shares(
            a4 * a1 * a2 + b2 * b4 * b3 + a2 * b4 * b3 + b3 * a1 * a2,
            b2 * b1 * b4 + a1 * a2 * a3 + a3 * b1 * b4 + a2 * a3 * b4,
            a2 * a3 * a4 + b3 * b2 * b1 + b2 * b1 * a4 + a3 * a4 * b1,
            b4 * b3 * b2 + a3 * a4 * a1 + b2 * a4 * a1 + b3 * b2 * a1,
        )
        return self.Pnak * (3.0 * (E1 * a3 - E2 * b3) + 2.0 * (E4 * b1 - E3 * a1))

    # --------------------------------------------------------------------------------------------------- gates

    def _sodium_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        tm = ms * slower(v, (6.765, -11.64, 34.77), (8.552, -77.42, -5.955))
        ths = ms * slower(v, (0.009794, -17.95, -28.05), (0.3343, -5.73, 56.66))
        tj = ms * (2.038 + slower(v, (0.02136, -100.6, -8.281), (0.3052, -0.9941, 38.45)))
        hss, hssp = boltzmann(v, -82.9, -6.086), boltzmann(v, -89.1, -6.086)
        return {
            "m": gate(x.m, boltzmann(v, -39.57, 9.871), tm),
            "hf": gate(x.hf, hss, ms * slower(v, (1.432e-5, -1.196, -6.285), (6.149, -0.5096, 20.27))),
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
        tiF = faster * (4.562 + slower(v, (0.3933, -100.0, -100.0), (0.08004, -50.0, 16.59)))
        tiS = faster * (23.62 + slower(v, (0.001416, -96.52, -59.05), (1.78e-8, -114.1, 8.079)))
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
        tff = ms * (7.0 + slower(v, (0.0045, -20.0, -10.0), (0.0045, -20.0, 10.0)))
        tfcaf = ms * (7.0 + slower(v, (0.04, 4.0, -7.0), (0.04, 4.0, 7.0)))
        # calmodulin binds at k2n and leaves at km2n
        km2n = x.jca / ms
        anca = 1.0 / (1.0 + km2n / self.k2n * (1.0 + self.Kmn / x.cass) ** 4)
        return {
            "d": gate(
                x.d,
                boltzmann(v, -3.94, 4.23),
                ms * (0.6 + slower(v, (1.0, -6.0, -1.0 / 0.05), (1.0, -14.0, 1.0 / 0.09))),
            ),
            "ff": gate(x.ff, fss, tff),
            "fs": gate(x.fs, fss, ms * (1000.0 + slower(v, (3.5e-5, -5.0, -4.0), (3.5e-5, -5.0, 6.0)))),
            "fcaf": gate(x.fcaf, fss, tfcaf),
            "fcas": gate(x.fcas, fss, ms * (100.0 + slower(v, (0.00012, 0.0, -3.0), (0.00012, 0.0, 7.0)))),
            "jca": gate(x.jca, fss, constant(75.0, "ms")),
            "nca": gate(x.nca, anca, 1.0 / km2n),
            "ffp": gate(x.ffp, fss, 2.5 * tff),
            "fcafp": gate(x.fcafp, fss, 2.5 * tfcaf),
        }

    def _potassium_gates(self, x: State, V: Scalar) -> dict[str, Scalar]:
        v, ms = V / constant(1.0, "mV"), constant(1.0, "ms")
        ko = self.ko / constant(1.0, "mmol/L")
        xs1ss = boltzmann(v, -11.6, 8.932)
        txs1 = self.txs1_max + ms * slower(v, (2.326e-4, -48.28, 17.8), (0.001292, -210.0, -230.0))
        return {
            "xs1": gate(x.xs1, xs1ss, txs1),
            "xs2": gate(x.xs2, xs1ss, ms * slower(v, (0.01, 50.0, 20.0), (0.0193, -66.54, -31.0))),
            "xk1": gate(
                x.xk1,
                boltzmann(v, -2.5538 * ko - 144.59, 1.5692 * ko + 3.8115),
                122.2 * ms * slower(v, (1.0, -127.2, -20.36), (1.0, -236.8, 69.33)),
            ),
        }

    def _herg(self, x: State, V: Scalar, D: Scalar) -> dict[str, Scalar]:
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

        level = power(D, self.n)
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
