"""Rules by which covariates set parameters, and their use on a cohort."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vht.covariates.formulas import creatinine_clearance, egfr, maturation
from vht.covariates.genes import ByScore, Fitted
from vht.covariates.people import People, sizes
from vht.errors import ModelError
from vht.model import LogNormal, Organ, Twins, parameters
from vht.model.variables import check_known

# whom allometry compares with: a man of 70 kg and 176 cm (Anderson and Holford 2009)
_REFERENCE = People({"weight": [70.0], "height": [176.0], "sex": ["male"]})


@runtime_checkable
class Rule(Protocol):
    """What multiplies a parameter, given the covariates.

    Attributes:
        parameter: its name.
    """

    @property
    def parameter(self) -> str: ...

    def factor(self, people: People) -> Float[np.ndarray, " people"]:
        """What the parameter is multiplied by, for each person."""
        ...


@dataclasses.dataclass(frozen=True)
class Allometry:
    """``(size / reference) ** exponent``: 0.75 for clearances and flows, 1 for volumes, -0.25 for rates (Anderson and
    Holford, Annu. Rev. Pharmacol. Toxicol. 48:303, 2008).

    Attributes:
        parameter: its name.
        exponent: see above.
        reference: the size for which the parameter's own value holds; by default that of a man of 70 kg and 176 cm.
        size: "weight" (kg), "lean_body_weight" (kg), "body_surface_area" (m^2) or "blood_volume" (L).

    Raises:
        ModelError: a reference that is not positive.
    """

    parameter: str
    exponent: float = 0.75
    reference: float | None = None
    size: str = "weight"

    def __post_init__(self) -> None:
        if self.reference is not None and not self.reference > 0.0:
            raise ModelError(f"`reference` must be positive, but got {self.reference} for `{self.parameter}`.")

    def factor(self, people: People) -> Float[np.ndarray, " people"]:
        """See `Rule`."""
        wanted_by = f"Allometry of `{self.parameter}`"
        reference = sizes(_REFERENCE, self.size, wanted_by)[0] if self.reference is None else self.reference
        size = sizes(people, self.size, wanted_by)
        wrong = np.flatnonzero(~(size > 0.0))
        if wrong.size:
            raise ModelError(
                f"{wanted_by} needs a positive {self.size}, but `{people.names[wrong[0]]}` has {size[wrong[0]]:g}."
            )
        return (size / reference) ** self.exponent


@dataclasses.dataclass(frozen=True)
class Maturation:
    """Clearance of children before it has matured, beside `Allometry`: see `maturation`.

    Attributes:
        parameter: its name.
        half: postmenstrual age at which half of an adult's is reached, weeks; the default is of glomerular filtration.
        hill: exponent.

    Raises:
        ModelError: an age or an exponent that is not positive.
    """

    parameter: str
    half: float = 47.7
    hill: float = 3.4

    def __post_init__(self) -> None:
        for name in ("half", "hill"):
            if not getattr(self, name) > 0.0:
                raise ModelError(f"`{name}` must be positive, but got {getattr(self, name)} for `{self.parameter}`.")

    def factor(self, people: People) -> Float[np.ndarray, " people"]:
        """See `Rule`. Without a postmenstrual age, people are taken to be born at 40 weeks."""
        weeks = people.columns.get("postmenstrual_age", np.full(len(people), np.nan)).copy()
        other = np.isnan(weeks)
        if other.any() or "postmenstrual_age" not in people.columns:
            age = people[other].known("age", f"Maturation of `{self.parameter}`")
            weeks[other] = 40.0 + age * 52.18
        return maturation(weeks, self.half, self.hill)


@dataclasses.dataclass(frozen=True)
class RenalFunction:
    """Clearance of which the kidneys carry a share, in proportion to their filtration.

    Cockcroft and Gault's number grows with weight. Beside `Allometry` of the same parameter take "ckd_epi", which is per body
    surface: else size counts twice.

    Attributes:
        parameter: its name.
        fraction: share that the kidneys carry at the reference.
        reference: filtration for which the parameter's own value holds, in the formula's unit.
        formula: "cockcroft_gault" (mL/min) or "ckd_epi" (mL/min per 1.73 m^2).

    Raises:
        ModelError: a share outside 0 to 1, a reference that is not positive, an unknown formula.
    """

    parameter: str
    fraction: float
    reference: float = 100.0
    formula: str = "cockcroft_gault"

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction <= 1.0:
            raise ModelError(f"`fraction` must lie between 0 and 1, but got {self.fraction} for `{self.parameter}`.")
        if not self.reference > 0.0:
            raise ModelError(f"`reference` must be positive, but got {self.reference} for `{self.parameter}`.")
        if self.formula not in ("cockcroft_gault", "ckd_epi"):
            raise ModelError(f'`formula` must be "cockcroft_gault" or "ckd_epi", but got "{self.formula}".')

    def factor(self, people: People) -> Float[np.ndarray, " people"]:
        """See `Rule`."""
        needed = (
            ("age", "weight", "creatinine", "sex")
            if self.formula == "cockcroft_gault"
            else ("age", "creatinine", "sex")
        )
        known = (people.known(name, f"Renal function for `{self.parameter}`") for name in needed)
        filtration = creatinine_clearance(*known) if self.formula == "cockcroft_gault" else egfr(*known)
        return 1.0 - self.fraction + self.fraction * filtration / self.reference


@dataclasses.dataclass(frozen=True)
class Genotype:
    """Clearance by the genotype of an enzyme.

    Attributes:
        parameter: its name.
        effect: how the genotype changes it: `ByScore`, or the fit of a drug such as `S_WARFARIN`.
    """

    parameter: str
    effect: ByScore | Fitted

    def factor(self, people: People) -> Float[np.ndarray, " people"]:
        """See `Rule`."""
        diplotypes = people.known(self.effect.gene, f"The genotype for `{self.parameter}`")
        known = {str(diplotype): self.effect.relative(str(diplotype)) for diplotype in np.unique(diplotypes)}
        return np.array([known[str(diplotype)] for diplotype in diplotypes])

    def prior(self, diplotype: str, typical: float) -> LogNormal:
        """Prior of the parameter in a person of a genotype.

        Args:
            diplotype: such as ``*1/*4``.
            typical: value in a person of the reference genotype, in the parameter's unit.

        Raises:
            DataError: an unknown allele, or a genotype of which the fit says nothing.
            ModelError: the effect says nothing of the spread.
        """
        spread = self.effect.spread(diplotype)
        if spread is None:
            raise ModelError(
                f"The spread of `{self.parameter}` within a genotype is not known: give `ByScore` an `sd`."
            )
        return LogNormal(typical * self.effect.relative(diplotype), spread)


def scale(base: Organ | type[Organ] | Twins, people: People, rules: Sequence[Rule]) -> Twins:
    """The twins of people: parameters multiplied by what the rules say; several rules for one parameter all count.

    Args:
        base: a model, whose parameters are those of the reference person; or twins, one for each person by name or, where they
            have but numbers, in the people's order. A parameter in which they do not differ then has the model class's default.
        people: their covariates.
        rules: see `Allometry`, `Maturation`, `RenalFunction`, `Genotype`.

    Raises:
        ModelError: a rule for a parameter that the model does not have; twins that are not these people.
        DataError: a covariate that a rule needs is not known, or outside the range of its formula.
    """
    model = base.model if isinstance(base, Twins) else base
    known, found = parameters(model), factors(model, people, rules)
    columns: dict[str, np.ndarray] = {}
    if isinstance(base, Twins):
        order = _order(base, people)
        columns = {name: values[order] for name, values in base.columns.items()}
    for name, factor in found.items():
        own = known[name].default if isinstance(base, type | Twins) else float(getattr(base, name))
        columns[name] = columns.get(name, np.full(len(people), own)) * factor
    return Twins(model, columns, people.names)


def priors(base: Organ | type[Organ], person: People, rules: Sequence[Rule]) -> dict[str, LogNormal]:
    """Priors of one person's parameters: the model's own value scaled, with the genotype's spread or else the model's.

    Args:
        base: a model, whose parameters are those of the reference person.
        person: covariates of one.
        rules: see `scale`.

    Raises:
        ModelError: several people; a parameter whose spread nobody says (no genotype, no log-normal prior in the model).
        DataError: see `scale`.
    """
    if len(person) != 1:
        raise ModelError(
            f"Priors are one person's, but got {len(person)} people: take one of them, such as `people[0]`."
        )
    known, found = parameters(base), {}
    for name, values in scale(base, person, rules).columns.items():
        genotypes = [rule.effect for rule in rules if isinstance(rule, Genotype) and rule.parameter == name]
        spreads = [effect.spread(str(person.columns[effect.gene][0])) for effect in genotypes]
        spreads = [spread for spread in spreads if spread is not None]
        prior = known[name].prior
        if not spreads and not isinstance(prior, LogNormal):
            raise ModelError(f"The spread of `{name}` is not known: the model has no log-normal prior for it.")
        spread = spreads[-1] if spreads else prior.sd if isinstance(prior, LogNormal) else 0.0
        found[name] = LogNormal(float(values[0]), float(spread))
    return found


def factors(
    model: Organ | type[Organ], people: People, rules: Sequence[Rule]
) -> dict[str, Float[np.ndarray, " people"]]:
    """What each person's parameters are multiplied by, for those that have rules; see `scale`."""
    known, owner = parameters(model), (model if isinstance(model, type) else type(model)).__name__
    found: dict[str, np.ndarray] = {}
    for rule in rules:
        check_known("parameter", rule.parameter, known, owner)
        found[rule.parameter] = found.get(rule.parameter, np.ones(len(people))) * rule.factor(people)
    return found


def _order(twins: Twins, people: People) -> Sequence[int]:
    if twins.names == people.names:
        return range(len(people))
    if set(twins.names) == set(people.names):
        return [twins.names.index(name) for name in people.names]
    if len(twins) == len(people) and twins.names == tuple(map(str, range(len(twins)))):
        return range(len(people))
    missing = next((name for name in people.names if name not in twins.names), None)
    raise ModelError(
        f"The twins must be these people, but there are {len(twins)} twins and {len(people)} people"
        + ("." if missing is None else f", and no twin `{missing}`.")
    )
