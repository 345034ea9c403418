"""Covariates in a study: from its section to rules, and from a table of people to twins."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.errors import DataError, ModelError, nearest

if TYPE_CHECKING:
    from vht.cohort.schema import AllometryTable, GenotypeTable, Quantity, StudyFile
    from vht.covariates import ByScore, Fitted, Rule
    from vht.model import Organ, Twins

_SIZE = {"weight": "kg", "lean_body_weight": "kg", "body_surface_area": "m^2", "blood_volume": "L"}


class Rules:
    """Reads the section ``[covariates]``.

    Args:
        note: notes a problem, by key.
        number: a number in a unit, by key, noting a unit that does not fit.
    """

    def __init__(self, note: Callable[[str, str], None], number: Callable[[str, Quantity, str], float]) -> None:
        self.note, self.number = note, number

    def read(
        self, form: StudyFile, parameters: Mapping[str, Any], known: Callable[[str, str, str, Mapping[str, Any]], bool]
    ) -> tuple[Rule, ...]:
        """All rules of a study.

        Args:
            form: the study file.
            parameters: of the model.
            known: notes an unknown name: key, kind, name, all names.
        """
        from vht.covariates import Genotype, Maturation, RenalFunction

        rules: list[Rule] = []
        for name, table in form.covariates.items():
            key = f"covariates.{name}"
            if not known(key, "parameter", name, parameters):
                continue
            if table.allometry is not None:
                rules.append(self._allometry(f"{key}.allometry", name, table.allometry))
            if table.maturation is not None:
                given = {"hill": table.maturation.hill}
                if table.maturation.half is not None:
                    given["half"] = self.number(f"{key}.maturation.half", table.maturation.half, "week")
                rules.append(Maturation(name, **{k: v for k, v in given.items() if v is not None}))
            if table.renal is not None:
                reference = 100.0
                if table.renal.reference is not None:
                    reference = self._positive(f"{key}.renal.reference", table.renal.reference, "mL/min")
                rules.append(RenalFunction(name, table.renal.fraction, reference, table.renal.formula))
            if table.genotype is not None:
                effect = self._effect(f"{key}.genotype", table.genotype)
                if effect is not None:
                    rules.append(Genotype(name, effect))
        if form.covariates and form.tables.people is None:
            self.note(
                "tables.people", 'Covariates set parameters, but nobody has any: give a table, `people = "people.csv"`.'
            )
        if form.tables.people is not None and not form.covariates:
            self.note(
                "covariates", "There is a table of people, but nothing follows from it: add, say, `[covariates.CL]`."
            )
        return tuple(rules)

    def _allometry(self, key: str, name: str, table: AllometryTable) -> Rule:
        from vht.covariates import Allometry

        reference = None
        if table.reference is not None:
            reference = self._positive(f"{key}.reference", table.reference, _SIZE[table.size])
        return Allometry(name, table.exponent, reference, table.size)

    def _effect(self, key: str, table: GenotypeTable) -> ByScore | Fitted | None:
        from vht.covariates import RISPERIDONE, S_WARFARIN, ByScore

        if table.fit is not None and table.gene is None and table.fraction is None:
            return {"s_warfarin": S_WARFARIN, "risperidone": RISPERIDONE}[table.fit]
        if table.fit is None and table.gene is not None and table.fraction is not None:
            return ByScore(table.gene, table.fraction)
        self.note(key, 'Give either a fit, such as "s_warfarin", or `{ gene = "CYP2D6", fraction = 0.8 }`.')
        return None

    def _positive(self, key: str, found: Quantity, unit: str) -> float:
        number = self.number(key, found, unit)
        if number <= 0.0:
            self.note(key, f"The value must be positive, but is {found}.")
        return number if number > 0.0 else 1.0


def people_twins(model: Organ, twins: Twins, path: pathlib.Path, rules: Sequence[Rule]) -> Twins:
    """Twins with the parameters that follow from a table of people.

    Args:
        model: its parameters are those of the reference person, for whom no table says otherwise.
        twins: of the other tables; nobody if there are none.
        path: of the table.
        rules: to apply.

    Raises:
        DataError: anything wrong with the table; people who are not these twins.
    """
    from vht.covariates import People, scale
    from vht.model import Twins

    people = People.read(path)
    if len(twins):
        for one, others, where in ((twins, people, "in this table"), (people, twins, "in the other tables")):
            for name in one:
                if name not in others.names:
                    raise DataError(f"{path}: the twin `{name}` has no row {where}.{nearest(name, others.names)}")
        people = people[[people.names.index(name) for name in twins]]
    columns = dict(twins.columns)
    for rule in rules:
        columns.setdefault(rule.parameter, np.full(len(people), float(getattr(model, rule.parameter))))
    try:
        return scale(Twins(model, columns, people.names), people, rules)
    except (DataError, ModelError) as error:
        raise DataError(f"{path}: {error}") from None
