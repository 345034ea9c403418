"""Covariates in a study: from its section to rules, and from a table of people to twins."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.cohort.sheet import Problems, Sheet, read_sheet
from vht.errors import DataError, ModelError, UnitError

if TYPE_CHECKING:
    from vht.cohort.schema import AllometryTable, GenotypeTable, Quantity, StudyFile
    from vht.covariates import ByScore, Fitted, People, Rule
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
        self,
        form: StudyFile,
        parameters: Mapping[str, Any],
        known: Callable[[str, str, str, Mapping[str, Any]], bool],
        *,
        given: bool,
    ) -> tuple[Rule, ...]:
        """All rules of a study.

        Args:
            form: the study file.
            parameters: of the model.
            known: notes an unknown name: key, kind, name, all names.
            given: whether the file has anything in that section, well formed or not.
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
                own = {"hill": table.maturation.hill}
                if table.maturation.half is not None:
                    own["half"] = self._positive(f"{key}.maturation.half", table.maturation.half, "week")
                rules.append(Maturation(name, **{k: v for k, v in own.items() if v is not None}))
            if table.renal is not None:
                reference = 100.0
                if table.renal.reference is not None:
                    reference = self._positive(f"{key}.renal.reference", table.renal.reference, "mL/min")
                rules.append(RenalFunction(name, table.renal.fraction, reference, table.renal.formula))
            if table.genotype is not None:
                effect = self._effect(f"{key}.genotype", table.genotype)
                if effect is not None:
                    rules.append(Genotype(name, effect))
            if all(rule is None for _, rule in table):
                self.note(key, "There is no rule here: add, say, `allometry = 0.75`.")
        if form.covariates and form.tables.people is None:
            self.note(
                "tables.people", 'Covariates set parameters, but nobody has any: give a table, `people = "people.csv"`.'
            )
        if form.tables.people is not None and not given:
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


def read_people(
    path: pathlib.Path, rules: Sequence[Rule], problems: Problems
) -> tuple[Sheet, list[str], Int[np.ndarray, " rows"], People | None] | None:
    """Read a table of people, and hold it against the rules that are to be applied.

    Args:
        path: of the file.
        rules: what is needed of each person.
        problems: where to note what is wrong.

    Returns:
        The table, the different names, which of them each row has, and the people, if nothing is wrong with them; None if
        the table cannot be read.
    """
    from vht.covariates import ACTIVITY, People
    from vht.covariates.people import UNITS, impossible

    count, sheet = len(problems.found), read_sheet(path, str(path), problems)
    if sheet is None or not sheet.expect(["twin"], [*UNITS, "sex", *ACTIVITY]):
        return None
    twins, twin = sheet.words("twin")
    sheet.once("twin", twins, twin)
    columns: dict[str, np.ndarray] = {}
    good: dict[str, np.ndarray] = {}
    for name in sheet.columns:
        if name in UNITS:
            columns[name], good[name] = _numbers(sheet, name)
        elif name == "sex" or name in ACTIVITY:
            words, codes = sheet.words(name, needed=False)
            columns[name] = np.array(words)[codes]
            good[name] = np.ones(sheet.rows, bool)
        else:
            continue
        for row, message in impossible(name, columns[name]):
            if good[name][row]:
                sheet.add(row, name, message)
                good[name][row] = False
    needed: dict[tuple[int, str], Rule] = {}
    for rule in rules:
        for cell in _try(rule, sheet, columns, good):
            needed.setdefault(cell, rule)
    for (row, name), rule in needed.items():
        sheet.add(row, name, f"The cell is empty, but the rules for `{rule.parameter}` need it.")
    people = People(columns, [twins[code] for code in twin]) if len(problems.found) == count else None
    return sheet, twins, twin, people


def _numbers(sheet: Sheet, name: str) -> tuple[Float[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """A covariate in its own unit, NaN where its cell is empty, and in which rows nothing is wrong with it."""
    from vht.covariates.people import UNITS, converted

    values, good = sheet.numbers(name, needed=False)
    try:
        if name in sheet.units:
            return converted(name, values, sheet.units[name]), good
        sheet.add(None, name, f"The header must say the unit, such as `{name} [{UNITS[name]}]`.")
    except UnitError as error:
        sheet.add(None, name, str(error))
    return values, np.zeros(sheet.rows, bool)


def _try(
    rule: Rule, sheet: Sheet, columns: Mapping[str, np.ndarray], good: Mapping[str, np.ndarray]
) -> list[tuple[int, str]]:
    """Note what a rule needs and does not find, and to whom it cannot be applied.

    Args:
        rule: to try.
        sheet: the table.
        columns: its covariates.
        good: with which of their cells nothing is wrong; what is wrong with the others has been noted. One may be empty.

    Returns:
        The empty cells that it needs.
    """
    from vht.covariates import Genotype, People
    from vht.covariates.people import NotKnown, unknown

    try:
        rule.factor(People({name: values[:0] for name, values in columns.items()}, []))
    except NotKnown as error:
        sheet.add(None, error.covariate, f"The column is missing: {error}")
        return []
    failed: list[tuple[int, str]] = []
    empty: list[tuple[int, str]] = []
    # people of whom as much is known are taken together
    usable = np.stack([good[name] & ~unknown(values) for name, values in columns.items()])
    kinds, kind = np.unique(usable, axis=1, return_inverse=True)
    for number, has in enumerate(kinds.T):
        rows = np.flatnonzero(kind.ravel() == number)
        known = {name: values[rows] for (name, values), there in zip(columns.items(), has, strict=True) if there}
        try:
            failed += _failures(rule, People(known, rows.tolist()), rows)
        except NotKnown as error:
            if error.covariate not in columns:
                failed += [(int(row), str(error)) for row in rows]
                continue
            empty += [(int(row), error.covariate) for row in rows[good[error.covariate][rows]]]
    told: dict[str, list[int]] = {}
    for row, message in sorted(failed):
        told.setdefault(message, []).append(row)
    for message, (first, *more) in told.items():
        others = f" (and in {len(more):,} more row{'s' if len(more) > 1 else ''})" if more else ""
        column = rule.effect.gene if isinstance(rule, Genotype) else None
        sheet.add(first, column, f"For `{rule.parameter}`: {message}{others}")
    return empty


def _failures(rule: Rule, people: People, rows: Int[np.ndarray, " people"]) -> list[tuple[int, str]]:
    """To whom a rule cannot be applied, and why: found by halves, since there are few of them among many."""
    from vht.covariates.people import NotKnown

    try:
        rule.factor(people)
        return []
    except NotKnown:
        raise
    except (DataError, ModelError) as error:
        if len(people) == 1:
            return [(int(rows[0]), str(error))]
    half = len(people) // 2
    return _failures(rule, people[:half], rows[:half]) + _failures(rule, people[half:], rows[half:])


def people_twins(model: Organ, twins: Twins, people: People, rules: Sequence[Rule]) -> Twins:
    """Twins with the parameters that follow from what is known of people.

    Args:
        model: its parameters are those of the reference person, for whom no table says otherwise.
        twins: of the other tables.
        people: these twins, in their order.
        rules: to apply.
    """
    from vht.covariates import scale
    from vht.model import Twins

    columns = dict(twins.columns)
    for rule in rules:
        columns.setdefault(rule.parameter, np.full(len(people), float(getattr(model, rule.parameter))))
    return scale(Twins(model, columns, people.names), people, rules)
