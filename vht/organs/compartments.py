"""Drugs in one, two or three compartments, given into a vein or by mouth, in terms of clearances and volumes."""

from __future__ import annotations

from typing import Any, ClassVar

from vht.model import LogNormal, Organ, Scalar, Vars, constant, param, port, state

_BOOK = "gabrielsson2016"
_KWAN = (
    "kwan1976: least squares fits to each of the six subjects, who were given 25 mg; their geometric mean and spread"
)
_ELEVELD = "eleveld2017: person of 35 years and 70 kg, abstract; spread from the authors' variances"


def _clearance(value: float, sd: float, meaning: str, source: str) -> Any:
    return param(value, "L/h", meaning, bounds=(0.001, 500.0), prior=LogNormal(value, sd), source=source)


def _volume(value: float, sd: float, meaning: str, source: str) -> Any:
    return param(value, "L", meaning, bounds=(0.1, 20000.0), prior=LogNormal(value, sd), source=source)


def _absorption(source: str) -> Any:
    return param(1.5, "1/h", "absorption rate", bounds=(0.05, 20.0), prior=LogNormal(1.5, 0.6), source=source)


def _lag() -> Any:
    return param(0.0, "h", "lag time before absorption", bounds=(0.0, 6.0), source="no lag unless one is given")


def _bioavailability() -> Any:
    return param(1.0, "1", "share of an oral dose that is absorbed", bounds=(0.0, 1.0), source="all of it unless said")


def _unbound_share(value: float, source: str) -> Any:
    return param(value, "1", "share in plasma that is not bound to protein", bounds=(1e-4, 1.0), source=source)


def _molar_mass(value: float, drug: str) -> Any:
    return param(value, "g/mol", "molar mass", bounds=(10.0, 2e5), source=f"of {drug}, by its formula")


def _nanomolar(concentration: Scalar, molar_mass: Scalar) -> Scalar:
    return concentration / molar_mass * constant(1e6, "nmol*g/mol/mg")


_AS_IN_ONE = "pinheiro2000: of theophylline, as in one compartment; the data behind the other defaults are intravenous"


class _In(Vars):
    iv: Scalar = port("mg/h", "drug given into a vein", kind="flow")
    oral: Scalar = port("mg/h", "drug taken by mouth", kind="flow", lag="tlag")
    inhibition: Scalar = port("1", "share of the clearance that is switched off", default=0.0)


class Drug1(Organ):
    r"""One compartment, intravenous and oral.

    .. math::
        A_g' = F\,\text{oral}(t - t_{lag}) - k_a A_g, \qquad
        A' = \text{iv} + k_a A_g - (1 - I)\,CL\,C, \qquad C = A / V

    with :math:`I` the inhibition, 0 unless wired (from another drug's `EffectCompartment`, say). What cells and enzymes see is
    `unbound`, in nmol/L. The model of `OralDrug1` with a second way in. Defaults and priors are of
    theophylline (Pinheiro and Bates 2000), for 70 kg.

    Verified against sums of exponentials (Gabrielsson and Weiner) after bolus, infusion and oral dose.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = _BOOK

    CL: Scalar = _clearance(2.8, 0.3, "clearance", "pinheiro2000")
    V: Scalar = _volume(32.0, 0.2, "volume of distribution", "pinheiro2000")
    ka: Scalar = _absorption("pinheiro2000")
    tlag: Scalar = _lag()
    F: Scalar = _bioavailability()
    fu: Scalar = _unbound_share(0.6, "theophylline is bound by 40 % (prescribing information)")
    molar_mass: Scalar = _molar_mass(180.16, "theophylline")

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "drug still to be absorbed")
        central: Scalar = state(0.0, "mg", "drug in the body")

    class In(_In):
        pass

    class Out(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma")
        unbound: Scalar = port("nmol/L", "unbound concentration in plasma")
        elimination: Scalar = port("mg/h", "drug leaving the body", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        absorbed = self.ka * x.gut
        return self.State(
            gut=self.F * u.oral - absorbed,
            central=u.iv + absorbed - self.outputs(t, x, u).elimination,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        C = x.central / self.V
        return self.Out(
            concentration=C,
            unbound=_nanomolar(self.fu * C, self.molar_mass),
            elimination=(1.0 - u.inhibition) * self.CL * C,
        )


class Drug2(Organ):
    r"""Two compartments, intravenous and oral: plasma with the organs that follow it at once, and slower tissue.

    .. math::
        A_g' = F\,\text{oral}(t - t_{lag}) - k_a A_g, \qquad
        A_1' = \text{iv} + k_a A_g - (1 - I)\,CL\,C_1 - Q_2 (C_1 - C_2), \qquad
        A_2' = Q_2 (C_1 - C_2), \qquad C_i = A_i / V_i

    Defaults and priors are of indometacin.

    Verified against sums of exponentials (Gabrielsson and Weiner) after bolus, infusion and oral dose; and against R's
    documented fit of `SSbiexp` to the first subject of Kwan et al. 1976, which calibrating this model finds again.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = _BOOK

    CL: Scalar = _clearance(8.2, 0.2, "clearance", _KWAN)
    V1: Scalar = _volume(7.1, 0.42, "volume of the central compartment", _KWAN)
    Q2: Scalar = _clearance(6.8, 0.33, "clearance between the compartments", _KWAN)
    V2: Scalar = _volume(12.0, 0.62, "volume of the peripheral compartment", _KWAN)
    ka: Scalar = _absorption(_AS_IN_ONE)
    tlag: Scalar = _lag()
    F: Scalar = _bioavailability()
    fu: Scalar = _unbound_share(0.01, "indometacin is bound by 99 % (prescribing information)")
    molar_mass: Scalar = _molar_mass(357.79, "indometacin")

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "drug still to be absorbed")
        central: Scalar = state(0.0, "mg", "drug in the central compartment")
        peripheral: Scalar = state(0.0, "mg", "drug in the peripheral compartment")

    class In(_In):
        pass

    class Out(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma")
        unbound: Scalar = port("nmol/L", "unbound concentration in plasma")
        C2: Scalar = port("mg/L", "concentration in the peripheral compartment")
        elimination: Scalar = port("mg/h", "drug leaving the body", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        absorbed = self.ka * x.gut
        to_2 = self.Q2 * (y.concentration - y.C2)
        return self.State(
            gut=self.F * u.oral - absorbed,
            central=u.iv + absorbed - y.elimination - to_2,
            peripheral=to_2,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        C = x.central / self.V1
        return self.Out(
            concentration=C,
            unbound=_nanomolar(self.fu * C, self.molar_mass),
            C2=x.peripheral / self.V2,
            elimination=(1.0 - u.inhibition) * self.CL * C,
        )


class Drug3(Organ):
    r"""Three compartments, intravenous and oral: plasma, and a shallow and a deep tissue.

    .. math::
        A_g' = F\,\text{oral}(t - t_{lag}) - k_a A_g, \qquad
        A_1' = \text{iv} + k_a A_g - (1 - I)\,CL\,C_1 - Q_2 (C_1 - C_2) - Q_3 (C_1 - C_3), \qquad
        A_i' = Q_i (C_1 - C_i), \qquad C_i = A_i / V_i

    Defaults and priors are of remifentanil in a person of 35 years and 70 kg (Eleveld et al. 2017), whose effect on the
    electroencephalogram is the default of `EffectCompartment`.

    Verified against sums of exponentials (Gabrielsson and Weiner) after bolus, infusion and oral dose.
    """

    time: ClassVar[str] = "h"
    citation: ClassVar[str] = _BOOK

    CL: Scalar = _clearance(154.8, 0.14, "clearance", _ELEVELD)
    V1: Scalar = _volume(5.81, 0.32, "volume of the central compartment", _ELEVELD)
    Q2: Scalar = _clearance(103.2, 0.23, "clearance between plasma and shallow tissue", _ELEVELD)
    V2: Scalar = _volume(8.82, 0.34, "volume of the shallow tissue", _ELEVELD)
    Q3: Scalar = _clearance(7.44, 0.53, "clearance between plasma and deep tissue", _ELEVELD)
    V3: Scalar = _volume(5.03, 0.9, "volume of the deep tissue", _ELEVELD)
    ka: Scalar = _absorption(_AS_IN_ONE)
    tlag: Scalar = _lag()
    F: Scalar = _bioavailability()
    fu: Scalar = _unbound_share(0.3, "remifentanil is bound by 70 % (prescribing information)")
    molar_mass: Scalar = _molar_mass(376.45, "remifentanil")

    class State(Vars):
        gut: Scalar = state(0.0, "mg", "drug still to be absorbed")
        central: Scalar = state(0.0, "mg", "drug in the central compartment")
        shallow: Scalar = state(0.0, "mg", "drug in the shallow tissue")
        deep: Scalar = state(0.0, "mg", "drug in the deep tissue")

    class In(_In):
        pass

    class Out(Vars):
        concentration: Scalar = port("mg/L", "concentration in plasma")
        unbound: Scalar = port("nmol/L", "unbound concentration in plasma")
        C2: Scalar = port("mg/L", "concentration in the shallow tissue")
        C3: Scalar = port("mg/L", "concentration in the deep tissue")
        elimination: Scalar = port("mg/h", "drug leaving the body", kind="flow")

    def rates(self, t: Scalar, x: State, u: In) -> State:
        y = self.outputs(t, x, u)
        absorbed = self.ka * x.gut
        to_2 = self.Q2 * (y.concentration - y.C2)
        to_3 = self.Q3 * (y.concentration - y.C3)
        return self.State(
            gut=self.F * u.oral - absorbed,
            central=u.iv + absorbed - y.elimination - to_2 - to_3,
            shallow=to_2,
            deep=to_3,
        )

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        C = x.central / self.V1
        return self.Out(
            concentration=C,
            unbound=_nanomolar(self.fu * C, self.molar_mass),
            C2=x.shallow / self.V2,
            C3=x.deep / self.V3,
            elimination=(1.0 - u.inhibition) * self.CL * C,
        )
