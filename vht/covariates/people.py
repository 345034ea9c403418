"""What is known of people before anything is fitted: a table of covariates, each in one unit."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from vht.covariates.formulas import SEXES
from vht.covariates.genes import ACTIVITY
from vht.errors import DataError, UnitError, nearest
from vht.model.arrow import columns_with_units, read_table

if TYPE_CHECKING:
    import pyarrow as pa

UNITS = {"weight": "kg", "height": "cm", "age": "year", "creatinine": "mg/dL", "postmenstrual_age": "week"}
LIMITS = {
    "weight": (0.2, 700.0),
    "height": (15.0, 280.0),
    "age": (0.0, 130.0),
    "creatinine": (0.01, 100.0),
    "postmenstrual_age": (20.0, 6800.0),
}
"""What is a mistake, such as a wrong unit, outside them: wider than anyone who was ever measured."""
_GRAM_PER_MOLE = 113.12  # of creatinine


class NotKnown(DataError):
    """A covariate that a rule needs is not known of these people.

    Attributes:
        covariate: its name.
    """

    def __init__(self, covariate: str, message: str) -> None:
        super().__init__(message)
        self.covariate = covariate


class People:
    """Covariates of a cohort: weight (kg), height (cm), age (years), sex, serum creatinine (mg/dL), postmenstrual age
    (weeks), and diplotypes of CYP2D6 and CYP2C9.

    Args:
        columns: by covariate, one value a person; sex is "male" or "female", a diplotype is ``*1/*4``.
        names: of the people, as of their twins; by default their numbers.

    Raises:
        DataError: an unknown covariate (suggests the nearest), columns of different lengths, a sex that is neither, a number
            that is none or that nobody has, two people of one name. NaN, or an empty text, is allowed until a rule needs it.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | np.ndarray], names: Sequence[Any] | None = None) -> None:
        self.columns: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            if name in UNITS:
                try:
                    self.columns[name] = np.asarray(column, np.float64)
                except (ValueError, TypeError) as error:
                    raise DataError(f"`{name}` must be numbers in {UNITS[name]}: {error}.") from None
            elif name == "sex" or name in ACTIVITY:
                # nothing is None, or NaN as pandas has it
                words = ["" if cell is None or cell != cell else str(cell) for cell in column]
                self.columns[name] = np.array(words, str)
            else:
                raise DataError(f"There is no covariate `{name}`.{nearest(name, [*UNITS, 'sex', *ACTIVITY])}")
        lengths = {name: np.shape(values) for name, values in self.columns.items()}
        if names is not None:
            lengths["names"] = (len(names),)
        if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
            raise DataError(f"Each covariate has one value a person, but got the shapes {lengths}.")
        n = next(iter(lengths.values()), (0,))[0]
        self.names: tuple[str, ...] = tuple(map(str, range(n) if names is None else names))
        if len(set(self.names)) < n:
            twice = Counter(self.names).most_common(1)[0][0]
            raise DataError(f"Each person has one row, but `{twice}` has several.")
        for name, values in self.columns.items():
            for row, message in impossible(name, values):
                raise DataError(f"`{self.names[row]}`: {message}")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        return f"People({len(self)}, {', '.join(self.columns) or 'nothing known'})"

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> People:
        """Some of the people: a number, a slice, numbers, or a mask."""
        picked = np.atleast_1d(np.arange(len(self))[which])
        return People({name: values[picked] for name, values in self.columns.items()}, [self.names[i] for i in picked])

    def known(self, name: str, wanted_by: str) -> np.ndarray:
        """A covariate.

        Args:
            name: of the covariate.
            wanted_by: what needs it, for the message.

        Raises:
            NotKnown: it is not known, of some person or of all.
        """
        if name not in self.columns:
            known = ", ".join(f"`{column}`" for column in self.columns)
            raise NotKnown(name, f"{wanted_by} needs `{name}`, but known are {f'only {known}' if known else 'none'}.")
        values = self.columns[name]
        missing = np.flatnonzero(unknown(values))
        if missing.size:
            raise NotKnown(name, f"{wanted_by} needs `{name}`, which is not known of `{self.names[missing[0]]}`.")
        return values

    @classmethod
    def from_table(cls, table: pa.Table, file: str = "table") -> People:
        """Covariates from an Arrow table: a column `twin`, and columns ``weight [kg]``; units are converted.

        Creatinine may be in mol per volume too. A cell may be empty.

        Raises:
            DataError: no column `twin`, an unknown covariate or one that is there twice, a number without a unit or with one
                that does not fit; as `People`.
        """
        if "twin" not in table.column_names:
            raise DataError(f"{file}: covariates have a column `twin`, but got {', '.join(table.column_names)}.")
        columns: dict[str, Any] = {}
        for header, name, unit in columns_with_units(table, file):
            cells = table.column(header).to_pylist()
            if name in UNITS:
                if not unit:
                    raise DataError(
                        f"{file}, column `{header}`: the header must say the unit, such as `{name} [{UNITS[name]}]`."
                    )
                if any(not isinstance(cell, int | float | None) for cell in cells):
                    raise DataError(f"{file}, column `{header}`: every cell must be a number.")
                try:
                    cells = converted(name, np.array(cells, np.float64), unit)
                except UnitError as error:
                    raise DataError(f"{file}, column `{header}`: {error}") from None
            columns[name] = cells
        try:
            return cls(columns, table.column("twin").to_pylist())
        except DataError as error:
            raise DataError(f"{file}: {error}") from None

    @classmethod
    def read(cls, path: str | pathlib.Path) -> People:
        """Read covariates from CSV or Parquet; see `from_table`.

        Raises:
            DataError: no such file, or one that cannot be read; as `from_table`.
        """
        return cls.from_table(read_table(path, ("twin", "sex", *ACTIVITY), "people"), str(path))


def converted(name: str, values: Float[np.ndarray, " people"], unit: str) -> Float[np.ndarray, " people"]:
    """Numbers of a covariate in its own unit; creatinine may be in mol per volume too.

    Raises:
        UnitError: a unit that does not fit.
    """
    from vht.model.units import convert

    try:
        return convert(values, "year" if unit in ("y", "years") else unit, UNITS[name])
    except UnitError:
        if name == "creatinine":
            try:
                return convert(values, unit, "mmol/L") * _GRAM_PER_MOLE / 10.0
            except UnitError:
                pass
        raise


def unknown(values: np.ndarray) -> Bool[np.ndarray, " people"]:
    """Of whom a covariate is not known."""
    return np.isnan(values) if values.dtype.kind == "f" else values == ""


def impossible(name: str, values: np.ndarray) -> list[tuple[int, str]]:
    """Which values of a covariate nobody has: number of the person, and what is wrong."""
    if name == "sex":
        return [
            (int(row), f'`sex` must be "male" or "female", but got "{values[row]}".')
            for row in np.flatnonzero(~np.isin(values, (*SEXES, "")))
        ]
    if name not in LIMITS:
        return []
    low, high = LIMITS[name]
    return [
        (int(row), f"`{name}` lies between {low:g} and {high:g} {UNITS[name]} in everyone, but got {values[row]:g}.")
        for row in np.flatnonzero((values < low) | (values > high))
    ]


def sizes(people: People, size: str, wanted_by: str) -> Float[np.ndarray, " people"]:
    """A measure of the body's size: "weight", "lean_body_weight", "body_surface_area" or "blood_volume".

    Raises:
        DataError: an unknown measure, or what it needs is not known.
    """
    from vht.covariates import formulas

    needs = {
        "weight": (),
        "lean_body_weight": ("weight", "height", "sex"),
        "body_surface_area": ("weight", "height"),
        "blood_volume": ("weight", "height", "sex"),
    }
    if size not in needs:
        raise DataError(f"There is no measure of size `{size}`.{nearest(size, needs)}")
    if size == "weight":
        return people.known("weight", wanted_by)
    return getattr(formulas, size)(*(people.known(name, wanted_by) for name in needs[size]))
