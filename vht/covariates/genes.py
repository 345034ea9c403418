"""From a diplotype to an enzyme's activity, and from there to how fast a drug is cleared."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from vht.errors import DataError, ModelError, nearest

_ALLELE = re.compile(r"^(?P<allele>\*\d+)(?:x(?P<copies>[1-9]\d?))?$")


def _values(**alleles: str) -> Mapping[str, float]:
    known = {}
    for value, numbers in alleles.items():
        for number in numbers.split():
            known[f"*{number}"] = {"normal": 1.0, "half": 0.5, "quarter": 0.25, "none": 0.0}[value]
    return MappingProxyType(known)


# CPIC's tables of alleles. CYP2D6: Caudle et al., Clin. Transl. Sci. 13:116, 2020, with the values CPIC has had since March
# 2023, when *9 and *41 went from 0.5 to 0.25; CYP2C9: Theken et al., Clin. Pharmacol. Ther. 108:191, 2020. Alleles of
# uncertain or unknown function have none.
ACTIVITY: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "CYP2C9": _values(
            normal="1 9",
            half="2 4 5 8 11 12 14 16 23 26 28 29 30 31 37 38 44 46 50 55 61",
            none="3 6 13 15 24 25 33 35 39 42 43 45 52",
        ),
        "CYP2D6": _values(
            normal="1 2 27 33 34 35 39 45 46 48 53",
            half="14 17 29 49 50 54 55 59",
            quarter="9 10 32 41 52 91 109 119 132",
            none="3 4 5 6 7 8 11 12 13 15 18 19 20 21 31 36 38 40 42 44 47 51 56 57 60 62 68 69 81 92 96 99 100 101 114 "
            "120 124 129 143 144 156 161",
        ),
    }
)


def activity_score(gene: str, diplotype: str) -> float:
    """Sum of the activity values of two alleles: 2 for two normal ones.

    Args:
        gene: "CYP2D6" or "CYP2C9".
        diplotype: two star alleles, ``*1/*4``; several copies of one are ``*2x2``, different ones in a row ``*36+*10``.

    Raises:
        DataError: an unknown gene, something that is no diplotype, or an allele without an activity value.
    """
    return sum(ACTIVITY[gene][allele] * copies for allele, copies in _alleles(gene, diplotype))


def phenotype(gene: str, diplotype: str) -> str:
    """What metaboliser a diplotype makes: "poor", "intermediate", "normal" or "ultrarapid" (CPIC 2020).

    Args:
        gene: see `activity_score`.
        diplotype: see `activity_score`.

    Raises:
        DataError: see `activity_score`.
    """
    score = activity_score(gene, diplotype)
    if gene == "CYP2C9":
        return "poor" if score < 1.0 else "intermediate" if score < 2.0 else "normal"
    return "poor" if score == 0.0 else "intermediate" if score < 1.25 else "normal" if score <= 2.25 else "ultrarapid"


def _alleles(gene: str, diplotype: str) -> list[tuple[str, int]]:
    """The alleles and how many copies of each, in the order of their numbers."""
    if gene not in ACTIVITY:
        raise DataError(f"There are no activity values for the gene `{gene}`.{nearest(gene, ACTIVITY)}")
    sides = diplotype.split("/")
    found = [_ALLELE.match(part.strip().removeprefix(gene)) for side in sides for part in side.split("+")]
    if len(sides) != 2 or None in found:
        raise DataError(
            f"A diplotype is written `*1/*4`, copies of one allele `*2x2`, but got `{diplotype}` for {gene}."
        )
    pairs = [(match["allele"], int(match["copies"] or 1)) for match in found if match is not None]
    for allele, _ in pairs:
        if allele not in ACTIVITY[gene]:
            raise DataError(
                f"The allele `{allele}` of {gene} has no activity value: its function is unknown or uncertain, or the name is "
                "wrong."
            )
    return sorted(pairs, key=lambda pair: int(pair[0][1:]))


@dataclasses.dataclass(frozen=True)
class ByScore:
    """Clearance that rises in proportion to the activity score, beside a share that other enzymes and the kidneys carry.

    Attributes:
        gene: of the enzyme.
        fraction: share of the clearance that the enzyme carries in a person with a score of 2.
        sd: spread of the logarithm of clearance between people of one genotype; None leaves it to the model's own prior.

    Raises:
        ModelError: an unknown gene, a fraction outside 0 to 1, or a spread that is not positive.
    """

    gene: str
    fraction: float
    sd: float | None = None

    def __post_init__(self) -> None:
        if self.gene not in ACTIVITY:
            raise ModelError(f"There are no activity values for the gene `{self.gene}`.{nearest(self.gene, ACTIVITY)}")
        if not 0.0 <= self.fraction <= 1.0:
            raise ModelError(f"`fraction` must lie between 0 and 1, but got {self.fraction}.")
        if self.sd is not None:
            _positive("sd", self.sd)

    def relative(self, diplotype: str) -> float:
        """Clearance as a share of that of a person with a score of 2."""
        return 1.0 - self.fraction + self.fraction * activity_score(self.gene, diplotype) / 2.0

    def spread(self, diplotype: str) -> float | None:
        """Spread of the logarithm of clearance within the genotype, where it is known."""
        return self.sd


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Clearance by genotype as a population fit found it.

    Attributes:
        gene: of the enzyme.
        clearance: by diplotype (lower number first) or by phenotype, in any one unit.
        reference: key of the clearance to which others are compared.
        sd: spread of its logarithm, one number or one for each key.
        source: of the numbers.

    Raises:
        ModelError: a clearance or a spread that is not positive, or a missing one.
    """

    gene: str
    clearance: Mapping[str, float]
    reference: str
    sd: float | Mapping[str, float]
    source: str

    def __post_init__(self) -> None:
        if self.reference not in self.clearance:
            raise ModelError(f"`reference` must be one of {', '.join(self.clearance)}, but got `{self.reference}`.")
        for key, value in self.clearance.items():
            _positive(f"clearance[{key}]", value)
            _positive(f"sd[{key}]", self.sd[key] if isinstance(self.sd, Mapping) else self.sd)

    def relative(self, diplotype: str) -> float:
        """Clearance as a share of that of the reference.

        Raises:
            DataError: a genotype that the fit does not know.
        """
        return self.clearance[self._key(diplotype)] / self.clearance[self.reference]

    def spread(self, diplotype: str) -> float:
        """Spread of the logarithm of clearance within the genotype."""
        return self.sd[self._key(diplotype)] if isinstance(self.sd, Mapping) else self.sd

    def _key(self, diplotype: str) -> str:
        ordered = "/".join(allele if n == 1 else f"{allele}x{n}" for allele, n in _alleles(self.gene, diplotype))
        for key in (ordered, phenotype(self.gene, diplotype)):
            if key in self.clearance:
                return key
        raise DataError(
            f"This fit ({self.source}) says nothing of `{diplotype}` of {self.gene}; it knows {', '.join(self.clearance)}. "
            "`ByScore` covers every diplotype with a score."
        )


def _positive(name: str, value: float) -> None:
    if not (value > 0.0 and math.isfinite(value)):
        raise ModelError(f"`{name}` must be positive, but got {value}.")


# 0.314 L/h at 71 years in *1/*1, less by 31.5, 45.3, 72.2, 69.0 and 85.2 % in the others; between people 31 %. With each
# year of age it falls by 0.91 % of that at 71, alike in all: the model's own value is that of *1/*1 at the person's age.
S_WARFARIN = Fitted(
    gene="CYP2C9",
    clearance=MappingProxyType(
        {
            "*1/*1": 0.314,
            "*1/*2": 0.314 * (1 - 0.315),
            "*1/*3": 0.314 * (1 - 0.453),
            "*2/*2": 0.314 * (1 - 0.722),
            "*2/*3": 0.314 * (1 - 0.690),
            "*3/*3": 0.314 * (1 - 0.852),
        }
    ),
    reference="*1/*1",
    sd=0.31,
    source="Hamberg et al., Clin. Pharmacol. Ther. 81:529, 2007, Table 2",
)
"""Clearance of S-warfarin by diplotype of CYP2C9."""

# CL/F, L/h. Phenotypes were found by a mixture in the fit, not by genotyping: people on inhibitors count as poor ones. The
# intermediate clearance was fixed, and has no spread: that of normal metabolisers is taken.
RISPERIDONE = Fitted(
    gene="CYP2D6",
    clearance=MappingProxyType({"poor": 12.9, "intermediate": 36.0, "normal": 65.4}),
    reference="normal",
    sd=MappingProxyType({"poor": 0.959, "intermediate": 0.566, "normal": 0.566}),
    source="Feng et al., Br. J. Clin. Pharmacol. 66:629, 2008, Table 3",
)
"""Clearance of risperidone by phenotype of CYP2D6."""
