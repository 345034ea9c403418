"""Where a drug goes in the whole body: tissues joined by the flow of blood."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_SOURCE = "jones2013"
_PROGRAM = "jones2013, as in the published program of the model (mrgsolve, pbpk.cpp)"


def _volume(value: float, tissue: str) -> Any:
    return param(value, "L/kg", f"volume of {tissue} per body weight", bounds=(value / 3, value * 3), source=_PROGRAM)


def _flow(value: float, meaning: str) -> Any:
    meaning = f"flow {meaning} over cardiac output, where all shares add up to 1"
    return param(value, "1", meaning, bounds=(value / 3, value * 3), source=_PROGRAM)


def _partition(value: float, tissue: str) -> Any:
    meaning = f"concentration in {tissue} per concentration in plasma"
    return param(value, "1", meaning, bounds=(0.01, 200.0), prior=LogNormal(value, 0.3), source=_PROGRAM)


class PBPK16(Organ):
    r"""Whole-body physiologically based pharmacokinetics in 16 compartments (Jones and Rowland-Yeo 2013).

    Every tissue is well stirred and its exchange limited by flow; blood goes from the lungs through arteries and tissues to
    veins, from gut and spleen through the liver. With :math:`C_T = A_T / V_T` and the blood leaving a tissue at
    :math:`C_T B / K_T` (blood to plasma ratio :math:`B`, tissue to plasma :math:`K_T`):

    .. math::
        A_T' = Q_T (C_{art} - C_T B / K_T), \qquad
        A_{gut}' = \ldots + k_a D, \qquad
        A_{kidney}' = \ldots - CL_R\,f_u C_{kidney},

        A_{liver}' = Q_{ha} C_{art} + \frac{Q_{gut} C_{gut} B}{K_{gut}} + \frac{Q_{spleen} C_{spleen} B}{K_{spleen}}
        - \frac{Q_h C_{liver} B}{K_{liver}} - CL_{int} f_u C_{liver} .

    As in the paper, enzymes see :math:`f_u` times the liver's whole concentration, and the kidneys likewise. Intrinsic
    clearance is scaled up from microsomes: ``CLint / fu_mic * MPPGL * liver volume`` at 1 kg/L. Of cardiac output every tissue
    has its share of the sum of all shares, which are the paper's and add up to 1; where one is given another value, the others
    yield in proportion, so that blood is conserved and flows are positive whatever the shares. The liver has what comes from
    gut, spleen and its artery, whose share is what the first two leave of the paper's for the liver. `cardiac_output` may be
    wired from a circulation (at 0 nothing moves), `inhibition` from another drug.

    Defaults are the reference man of 70 kg and the paper's example drug. Bounds and priors are this library's.

    Verified against SciPy on the equations written again (1e-8), the steady state under infusion in closed form, and mass
    balance to 1e-10.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = _SOURCE

    BW: Scalar = param(70.0, "kg", "body weight", bounds=(2.0, 250.0), prior=LogNormal(70.0, 0.15), source=_PROGRAM)
    CO: Scalar = param(
        6.4998, "L/min", "cardiac output", bounds=(0.2, 25.0), prior=LogNormal(6.4998, 0.15), source=_PROGRAM
    )
    V_adipose: Scalar = _volume(0.213, "adipose tissue")
    V_bone: Scalar = _volume(0.085629, "bone")
    V_brain: Scalar = _volume(0.02, "brain")
    V_gut: Scalar = _volume(0.0171, "gut")
    V_heart: Scalar = _volume(0.0047, "heart")
    V_kidney: Scalar = _volume(0.0044, "kidneys")
    V_liver: Scalar = _volume(0.021, "liver")
    V_lung: Scalar = _volume(0.0076, "lungs")
    V_muscle: Scalar = _volume(0.4, "muscle")
    V_skin: Scalar = _volume(0.0371, "skin")
    V_spleen: Scalar = _volume(0.0026, "spleen")
    V_testes: Scalar = _volume(0.01, "testes")
    V_venous: Scalar = _volume(0.0514, "venous blood")
    V_arterial: Scalar = _volume(0.0257, "arterial blood")
    V_rest: Scalar = _volume(0.099771, "the rest of the body")

    Q_adipose: Scalar = _flow(0.05, "through adipose tissue")
    Q_bone: Scalar = _flow(0.05, "through bone")
    Q_brain: Scalar = _flow(0.12, "through the brain")
    Q_gut: Scalar = _flow(0.146462, "through the gut")
    Q_heart: Scalar = _flow(0.04, "through the heart")
    Q_kidney: Scalar = _flow(0.19, "through the kidneys")
    Q_hepatic_artery: Scalar = _flow(0.051692, "through the hepatic artery")
    Q_muscle: Scalar = _flow(0.17, "through muscle")
    Q_skin: Scalar = _flow(0.05, "through skin")
    Q_spleen: Scalar = _flow(0.017231, "through the spleen")
    Q_testes: Scalar = _flow(0.01076, "through the testes")
    Q_rest: Scalar = _flow(0.103855, "through the rest of the body")

    K_adipose: Scalar = _partition(0.191, "adipose tissue")
    K_bone: Scalar = _partition(0.374, "bone")
    K_brain: Scalar = _partition(0.606, "the brain")
    K_gut: Scalar = _partition(0.578, "the gut")
    K_heart: Scalar = _partition(0.583, "the heart")
    K_kidney: Scalar = _partition(0.597, "the kidneys")
    K_liver: Scalar = _partition(0.570, "the liver")
    K_lung: Scalar = _partition(0.620, "the lungs")
    K_muscle: Scalar = _partition(0.622, "muscle")
    K_skin: Scalar = _partition(0.600, "skin")
    K_spleen: Scalar = _partition(0.591, "the spleen")
    K_testes: Scalar = _partition(0.600, "the testes")
    K_rest: Scalar = _partition(0.600, "the rest of the body")

    fu: Scalar = param(0.681, "1", "unbound share in plasma", bounds=(0.001, 1.0), source=_PROGRAM)
    molar_mass: Scalar = param(
        300.0, "g/mol", "molar mass", bounds=(10.0, 2e5), source="not in the paper: a round number, to be given"
    )
    BP: Scalar = param(
        0.98, "1", "concentration in blood per concentration in plasma", bounds=(0.3, 5.0), source=_PROGRAM
    )
    fu_mic: Scalar = param(1.0, "1", "unbound share in microsomes", bounds=(0.01, 1.0), source=_PROGRAM)
    CLint: Scalar = param(
        8.0,
        "uL/min/mg",
        "intrinsic clearance per microsomal protein",
        bounds=(0.0, 5000.0),
        prior=LogNormal(8.0, 0.5),
        source=_PROGRAM,
    )
    MPPGL: Scalar = param(45.0, "mg/g", "microsomal protein per liver", bounds=(10.0, 100.0), source=_PROGRAM)
    CL_renal: Scalar = param(
        0.0, "L/h", "renal clearance of what is unbound in the kidneys", bounds=(0.0, 100.0), source=_PROGRAM
    )
    ka: Scalar = param(2.18, "1/h", "absorption rate", bounds=(0.05, 20.0), prior=LogNormal(2.18, 0.4), source=_PROGRAM)
    tlag: Scalar = param(0.0, "h", "lag time before absorption", bounds=(0.0, 6.0), source="no lag unless one is given")
    F: Scalar = param(1.0, "1", "share of an oral dose that is absorbed", bounds=(0.0, 1.0), source=_PROGRAM)

    class State(Vars):
        dose: Scalar = state(0.0, "mg", "drug still to be absorbed")
        adipose: Scalar = state(0.0, "mg", "drug in adipose tissue")
        bone: Scalar = state(0.0, "mg", "drug in bone")
        brain: Scalar = state(0.0, "mg", "drug in the brain")
        gut: Scalar = state(0.0, "mg", "drug in the wall of the gut")
        heart: Scalar = state(0.0, "mg", "drug in the heart")
        kidney: Scalar = state(0.0, "mg", "drug in the kidneys")
        liver: Scalar = state(0.0, "mg", "drug in the liver")
        lung: Scalar = state(0.0, "mg", "drug in the lungs")
        muscle: Scalar = state(0.0, "mg", "drug in muscle")
        skin: Scalar = state(0.0, "mg", "drug in skin")
        spleen: Scalar = state(0.0, "mg", "drug in the spleen")
        testes: Scalar = state(0.0, "mg", "drug in the testes")
        venous: Scalar = state(0.0, "mg", "drug in venous blood")
        arterial: Scalar = state(0.0, "mg", "drug in arterial blood")
        rest: Scalar = state(0.0, "mg", "drug in the rest of the body")

    class In(Vars):
        iv: Scalar = port("mg/h", "drug given into a vein", kind="flow")
        oral: Scalar = port("mg/h", "drug taken by mouth", kind="flow", lag="tlag")
        cardiac_output: Scalar = port(
            "L/min", "cardiac output; at -1, where nothing drives it, that is CO", default=-1.0
        )
        inhibition: Scalar = port("1", "share of the liver's metabolism that is switched off", default=0.0)

    class Out(Vars):
        concentration: Scalar = port("mg/L", "concentration in venous plasma")
        unbound: Scalar = port("nmol/L", "unbound concentration in venous plasma")
        C_blood: Scalar = port("mg/L", "concentration in venous blood")
        C_arterial: Scalar = port("mg/L", "concentration in arterial blood")
        C_brain: Scalar = port("mg/L", "concentration in the brain")
        C_heart: Scalar = port("mg/L", "concentration in the heart")
        C_kidney: Scalar = port("mg/L", "concentration in the kidneys")
        C_liver: Scalar = port("mg/L", "concentration in the liver")
        C_muscle: Scalar = port("mg/L", "concentration in muscle")
        C_adipose: Scalar = port("mg/L", "concentration in adipose tissue")
        amount: Scalar = port("mg", "drug in the body, with what is still to be absorbed")
        metabolism: Scalar = port("mg/h", "drug metabolised", kind="flow")
        excretion: Scalar = port("mg/h", "drug excreted into urine", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        absorbed = self.ka * x.dose
        # what leaves a tissue, as the blood that carries it away, by its share
        adipose = self.Q_adipose * self._leaving(x.adipose, self.V_adipose, self.K_adipose)
        bone = self.Q_bone * self._leaving(x.bone, self.V_bone, self.K_bone)
        brain = self.Q_brain * self._leaving(x.brain, self.V_brain, self.K_brain)
        gut = self.Q_gut * self._leaving(x.gut, self.V_gut, self.K_gut)
        heart = self.Q_heart * self._leaving(x.heart, self.V_heart, self.K_heart)
        kidney = self.Q_kidney * self._leaving(x.kidney, self.V_kidney, self.K_kidney)
        Q_liver = self.Q_hepatic_artery + self.Q_gut + self.Q_spleen
        liver = Q_liver * self._leaving(x.liver, self.V_liver, self.K_liver)
        lung = self._leaving(x.lung, self.V_lung, self.K_lung)
        muscle = self.Q_muscle * self._leaving(x.muscle, self.V_muscle, self.K_muscle)
        skin = self.Q_skin * self._leaving(x.skin, self.V_skin, self.K_skin)
        spleen = self.Q_spleen * self._leaving(x.spleen, self.V_spleen, self.K_spleen)
        testes = self.Q_testes * self._leaving(x.testes, self.V_testes, self.K_testes)
        rest = self.Q_rest * self._leaving(x.rest, self.V_rest, self.K_rest)
        returning = adipose + bone + brain + heart + kidney + liver + muscle + skin + testes + rest
        shares = (self.Q_adipose + self.Q_bone + self.Q_brain + self.Q_heart + self.Q_kidney) + (
            Q_liver + self.Q_muscle + self.Q_skin + self.Q_testes + self.Q_rest
        )
        # blood does not go backwards, but a circulation's flow may by a little, which is none
        driven = jnp.maximum(u.cardiac_output, 0.0)
        CO = jnp.where(u.cardiac_output > constant(-1.0, "L/min"), driven, self.CO) * constant(60.0, "min/h")
        flow = CO / shares
        return self.State(
            dose=self.F * u.oral - absorbed,
            adipose=flow * (self.Q_adipose * y.C_arterial - adipose),
            bone=flow * (self.Q_bone * y.C_arterial - bone),
            brain=flow * (self.Q_brain * y.C_arterial - brain),
            gut=flow * (self.Q_gut * y.C_arterial - gut) + absorbed,
            heart=flow * (self.Q_heart * y.C_arterial - heart),
            kidney=flow * (self.Q_kidney * y.C_arterial - kidney) - y.excretion,
            liver=flow * (self.Q_hepatic_artery * y.C_arterial + gut + spleen - liver) - y.metabolism,
            lung=CO * (y.C_blood - lung),
            muscle=flow * (self.Q_muscle * y.C_arterial - muscle),
            skin=flow * (self.Q_skin * y.C_arterial - skin),
            spleen=flow * (self.Q_spleen * y.C_arterial - spleen),
            testes=flow * (self.Q_testes * y.C_arterial - testes),
            venous=flow * returning - CO * y.C_blood + u.iv,
            arterial=CO * (lung - y.C_arterial),
            rest=flow * (self.Q_rest * y.C_arterial - rest),
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        C_kidney = self._concentration(x.kidney, self.V_kidney)
        C_liver = self._concentration(x.liver, self.V_liver)
        C_blood = self._concentration(x.venous, self.V_venous)
        # per liver of 1 kg/L, and in the model's unit of time
        liver = self.MPPGL * self.BW * self.V_liver * constant(1000.0, "g/L")
        CL_liver = self.CLint / self.fu_mic * liver * constant(60.0, "min/h") * constant(1e-6, "L/uL")
        return self.Out(
            concentration=C_blood / self.BP,
            unbound=self.fu * C_blood / self.BP / self.molar_mass * constant(1e6, "nmol*g/mol/mg"),
            C_blood=C_blood,
            C_arterial=self._concentration(x.arterial, self.V_arterial),
            C_brain=self._concentration(x.brain, self.V_brain),
            C_heart=self._concentration(x.heart, self.V_heart),
            C_kidney=C_kidney,
            C_liver=C_liver,
            C_muscle=self._concentration(x.muscle, self.V_muscle),
            C_adipose=self._concentration(x.adipose, self.V_adipose),
            amount=(x.dose + x.adipose + x.bone + x.brain + x.gut + x.heart + x.kidney + x.liver)
            + (x.lung + x.muscle + x.skin + x.spleen + x.testes + x.venous + x.arterial + x.rest),
            metabolism=(1.0 - u.inhibition) * CL_liver * self.fu * C_liver,
            excretion=self.CL_renal * self.fu * C_kidney,
        )

    def _concentration(self, amount: Scalar, volume: Scalar) -> Scalar:
        return amount / (volume * self.BW)

    def _leaving(self, amount: Scalar, volume: Scalar, partition: Scalar) -> Scalar:
        """Concentration in the blood that leaves a tissue."""
        return self._concentration(amount, volume) / partition * self.BP
