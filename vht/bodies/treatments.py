"""Drugs with published numbers: how each becomes a concentration in blood, and what that concentration does.

A drug is one of the library's compartments with its own defaults, priors and sources; so is its effect. They go into a body
like any organ::

    Body({..., "drug": Lisinopril(), "effect": AceInhibition()},
         wires={..., "effect.concentration": "drug.concentration", "kidney.ace_inhibition": "effect.inhibition"})

Without doses nothing happens: there is no drug, and an effect is what it is without one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vht.model import LogNormal, Scalar, param
from vht.organs.compartments import Drug1, Drug2
from vht.organs.drug_effects import EffectCompartment

_FORMULA = "by its formula"
_NO_LAG = "no lag unless one is given"
_PLAIN = "one molecule to a site: no steepness is published"


def _clearance(value: float, sd: float, source: str, meaning: str = "clearance") -> Any:
    return param(value, "L/h", meaning, bounds=(0.001, 500.0), prior=LogNormal(value, sd), source=source)


def _volume(value: float, sd: float, source: str, meaning: str = "volume of distribution") -> Any:
    return param(value, "L", meaning, bounds=(0.1, 20000.0), prior=LogNormal(value, sd), source=source)


def _absorption(value: float, sd: float, source: str) -> Any:
    return param(value, "1/h", "absorption rate", bounds=(0.01, 20.0), prior=LogNormal(value, sd), source=source)


def _lag(value: float, source: str = _NO_LAG) -> Any:
    return param(value, "h", "lag time before absorption", bounds=(0.0, 6.0), source=source)


def _share(value: float, meaning: str, source: str) -> Any:
    return param(value, "1", meaning, bounds=(1e-4, 1.0), source=source)


def _available(value: float, source: str) -> Any:
    return _share(value, "share of an oral dose that reaches blood", source)


def _unbound(value: float, source: str) -> Any:
    return _share(value, "share in plasma that is not bound to protein", source)


def _molar_mass(value: float) -> Any:
    return param(value, "g/mol", "molar mass", bounds=(10.0, 2e5), source=_FORMULA)


def _follows(value: float, source: str) -> Any:
    return param(value, "1/h", "rate at which the effect site follows plasma", bounds=(1e-3, 1e3), source=source)


def _without(value: float) -> Any:
    return param(value, "1", "effect without drug", bounds=(0.0, 1.0), source="what the wired input is without drug")


def _largest(value: float, source: str) -> Any:
    return param(value, "1", "largest change of the effect", bounds=(-2.0, 2.0), source=source)


def _half(value: float, sd: float, source: str) -> Any:
    meaning = "concentration of half the largest change"
    return param(value, "mg/L", meaning, bounds=(1e-6, 1e4), prior=LogNormal(value, sd), source=source)


def _steepness(value: float, source: str) -> Any:
    return param(value, "1", "steepness (Hill exponent)", bounds=(0.2, 20.0), source=source)


# ------------------------------------------------------------------------------------------------------ metformin

_GOSWAMI = "goswami2014"
_APPARENT = "goswami2014: what they give over bioavailability, times 0.55"


class Metformin(Drug2):
    """Metformin by mouth: two compartments, of which the deep one is slow (red cells), and absorption slower than elimination.

    500 mg reach 1.02 mg/L after 1.7 h (label: 1.03 +- 0.33 mg/L after 2.75 +- 0.81 h); 850 mg three times a day keep
    1.35 mg/L on average.
    """

    citation: ClassVar[str] = _GOSWAMI

    CL: Scalar = _clearance(43.1, 0.29, _APPARENT + "; spread of CL/F in Graham et al. 2011, 1140 +- 330 mL/min")
    V1: Scalar = _volume(42.2, 0.45, _APPARENT, "volume of the central compartment")
    Q2: Scalar = _clearance(9.96, 0.41, _APPARENT, "clearance between the compartments")
    V2: Scalar = _volume(227.0, 0.3, _APPARENT + "; no spread is given", "volume of the peripheral compartment")
    ka: Scalar = _absorption(0.312, 0.3, _GOSWAMI)
    tlag: Scalar = _lag(0.207, "goswami2014: mean time of transit, there a chain of compartments")
    F: Scalar = _available(0.55, "graham2011")
    fu: Scalar = _unbound(1.0, "graham2011")
    molar_mass: Scalar = _molar_mass(129.16)


class MetforminEffect(EffectCompartment):
    """Endogenous production of glucose under metformin, over that without: `effect` is a factor.

    Shape and delay are those of glucose after 500 mg (Chae et al. 2012; there a chain of three lags of half an hour). The
    largest change is chosen such that 850 mg three times a day lower production by 24 %, as in Hundal et al. 2000.
    """

    citation: ClassVar[str] = "chae2012"

    ke0: Scalar = _follows(1.0 / 1.5, "chae2012: three times 0.5 h")
    E0: Scalar = _without(1.0)
    Emax: Scalar = _largest(-0.67, "hundal2000: chosen for 24 % less production at 850 mg three times a day")
    EC50: Scalar = _half(3.68, 0.3, "chae2012; no spread is given")
    hill: Scalar = _steepness(0.55, "chae2012")


# ------------------------------------------------------------------------------------------------------ dofetilide

_TIKOSYN = "prescribing information of dofetilide (Tikosyn), clinical pharmacology"


class Dofetilide(Drug1):
    """Dofetilide by mouth. 0.5 mg twice a day reach 3.6 ug/L, of which 2.8 nmol/L are free (CiPA takes 2 nmol/L)."""

    citation: ClassVar[str] = "allen2000"

    CL: Scalar = _clearance(14.6, 0.25, f"{_TIKOSYN}: half-life of 10 h and volume; spread chosen")
    V: Scalar = _volume(210.0, 0.2, f"{_TIKOSYN}: 3 L/kg, at 70 kg; spread chosen")
    ka: Scalar = _absorption(
        1.5, 0.5, f"{_TIKOSYN}, and allen2000: highest after 2 to 3 h, which 1.5 1/h gives; spread chosen"
    )
    tlag: Scalar = _lag(0.0)
    F: Scalar = _available(0.96, f"{_TIKOSYN}: above 0.9")
    fu: Scalar = _unbound(0.35, f"{_TIKOSYN}: bound by 60 to 70 %")
    molar_mass: Scalar = _molar_mass(441.6)


# ------------------------------------------------------------------------------------------------------ blood pressure

_THOMSON = "thomson1989: hypertensive patients, at 70 kg, 65 years and 70 umol/L of creatinine"
_THOMSON_F = _THOMSON + ", times bioavailability"


class Lisinopril(Drug1):
    """Lisinopril by mouth, which is absorbed more slowly than the kidneys excrete it.

    20 mg reach 77 ug/L after 4 h. Once a day 20 mg keep between 14 and 86 ug/L.
    """

    citation: ClassVar[str] = "thomson1989"

    CL: Scalar = _clearance(4.39, 0.52, _THOMSON_F)
    V: Scalar = _volume(9.18, 1.27, _THOMSON_F)
    ka: Scalar = _absorption(0.104, 0.73, _THOMSON)
    tlag: Scalar = _lag(0.0)
    F: Scalar = _available(0.25, "prescribing information of lisinopril: 25 %, between 6 and 60 %")
    fu: Scalar = _unbound(1.0, "prescribing information of lisinopril: bound to nothing but the enzyme")
    molar_mass: Scalar = _molar_mass(405.49)


class AceInhibition(EffectCompartment):
    """Share of the converting enzyme that lisinopril blocks: `inhibition`, and `effect` alike.

    Its concentration of half the effect is chosen such that 20 mg a day block 0.76 on average, the normal dose of Leete et
    al. 2022. It lies below that of enalaprilat in patients, 20 to 33 ug/L (Donnelly et al. 1990, whose spread it has).
    """

    citation: ClassVar[str] = "leete2022"

    ke0: Scalar = _follows(6.0, "the enzyme is in plasma: a short time, chosen")
    E0: Scalar = _without(0.0)
    Emax: Scalar = _largest(1.0, "donnelly1990: of enalaprilat, 1.02")
    EC50: Scalar = _half(
        0.0118, 0.6, "leete2022: chosen for 0.76 at 20 mg a day; spread of enalaprilat's in donnelly1990"
    )
    hill: Scalar = _steepness(1.0, _PLAIN)


_LASIX = (
    "prescribing information of furosemide: half-life of 1 h, volume of 10.0 +- 2.1 L; spread of the clearance chosen"
)


class Furosemide(Drug1):
    """Furosemide by mouth, absorbed about as slowly as it is eliminated. 40 mg reach 1.05 mg/L after 1.3 h.

    More would take more than is absorbed of them in its volume; labels say 2 to 3 mg/L.
    """

    citation: ClassVar[str] = "kaojarern1982"

    CL: Scalar = _clearance(7.0, 0.3, _LASIX)
    V: Scalar = _volume(10.0, 0.2, _LASIX)
    ka: Scalar = _absorption(
        0.85, 0.5, "prescribing information of furosemide: highest after 1 to 2 h, which 0.85 1/h gives; spread chosen"
    )
    tlag: Scalar = _lag(0.0)
    F: Scalar = _available(0.65, "prescribing information of furosemide")
    fu: Scalar = _unbound(0.02, "prescribing information of furosemide: bound by 98 %")
    molar_mass: Scalar = _molar_mass(330.74)


_KAOJARERN = "kaojarern1982"
_EXCRETED = f"{_KAOJARERN}: half the effect where 69.8 ug/min are excreted, at the renal clearance, 65 % of 7 L/h"
_EFFICIENT = f"{_KAOJARERN}: most effect for the drug where 21.5 ug/min are excreted"
_PEAK = "leete2022: chosen for the normal dose at the peak of 40 mg by mouth"


class FurosemideEffect(EffectCompartment):
    """Share of reabsorption before the macula densa that furosemide blocks: 0.15 at the peak of 40 mg by mouth."""

    citation: ClassVar[str] = _KAOJARERN

    ke0: Scalar = _follows(12.0, "secreted with the blood's flow through the kidneys: a short time, chosen")
    E0: Scalar = _without(0.0)
    Emax: Scalar = _largest(0.28, _PEAK)
    EC50: Scalar = _half(0.92, 0.3, f"{_EXCRETED}; spread chosen")
    hill: Scalar = _steepness(1.23, _EFFICIENT)


class FurosemideMaculaDensa(EffectCompartment):
    """Share of the macula densa's sodium that is not sensed under furosemide: 0.4 at the peak of 40 mg by mouth."""

    citation: ClassVar[str] = _KAOJARERN

    ke0: Scalar = _follows(12.0, "as in the loop of Henle")
    E0: Scalar = _without(0.0)
    Emax: Scalar = _largest(0.747, _PEAK)
    EC50: Scalar = _half(0.92, 0.3, f"{_EXCRETED}; spread chosen")
    hill: Scalar = _steepness(1.23, _EFFICIENT)


_DAVIES = "davies1998: usual values of healthy people; spread chosen"


class Ibuprofen(Drug1):
    """Ibuprofen by mouth. 400 mg reach 26 mg/L after 1.3 h; the half-life is 2 h."""

    citation: ClassVar[str] = "davies1998"

    CL: Scalar = _clearance(3.5, 0.25, _DAVIES)
    V: Scalar = _volume(10.0, 0.2, _DAVIES)
    ka: Scalar = _absorption(1.5, 0.5, "davies1998: highest after 1 to 2 h, which 1.5 1/h gives; spread chosen")
    tlag: Scalar = _lag(0.0)
    F: Scalar = _available(1.0, "davies1998: absorbed completely")
    fu: Scalar = _unbound(0.01, "davies1998: bound by 99 %")
    molar_mass: Scalar = _molar_mass(206.28)


class IbuprofenEffect(EffectCompartment):
    """Doses of an anti-inflammatory drug as Leete et al. 2022 count them: 1 a normal one, 2 the largest effect.

    400 mg three times a day give 1 on average.
    """

    citation: ClassVar[str] = "leete2022"

    ke0: Scalar = _follows(6.0, "a short time, chosen")
    E0: Scalar = _without(0.0)
    Emax: Scalar = _largest(2.0, "leete2022: where tubuloglomerular feedback is away")
    EC50: Scalar = _half(11.8, 0.3, "leete2022: chosen for 1 at 400 mg three times a day; spread chosen")
    hill: Scalar = _steepness(1.0, _PLAIN)
