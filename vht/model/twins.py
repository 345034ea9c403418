"""A cohort: the parameters in which its twins differ, one column each."""

from __future__ import annotations

import operator
import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from vht.errors import DataError, ModelError, UnitError
from vht.model.arrow import columns_with_units, read_table
from vht.model.organ import Organ, parameters
from vht.model.priors import LogNormal, Normal, Uniform, overlap, recentred, standardized
from vht.model.real import real_numbers
from vht.model.variables import Variable, check_known

if TYPE_CHECKING:
    import pyarrow as pa

_EVERYTHING = (-np.inf, np.inf)


class Twins:
    """A cohort of twins of one model: the columns in which they differ. What has no column has the model's own value.

    Args:
        model: or its class; knows the parameters.
        columns: by parameter name, one number for each twin, in the parameter's unit. A number that makes no sense (NaN,
            a negative volume) is allowed: such a twin ends with a status, and harms no other.
        names: of the twins; by default their numbers.

    Raises:
        ModelError: an unknown parameter (suggests the nearest), what is no columns by name, a column that is not numbers or
            has a unit of its own, columns of different lengths, a name twice.
    """

    def __init__(
        self,
        model: Organ | type[Organ],
        columns: Mapping[str, Float[np.ndarray, " twins"] | Sequence[float]],
        names: Sequence[Any] | None = None,
    ) -> None:
        self.model = model if isinstance(model, type) else type(model)
        known = parameters(self.model)
        self.columns: dict[str, np.ndarray] = {}
        if not hasattr(columns, "items"):
            raise ModelError(f"`columns` must hold columns by name, but got {type(columns).__name__}.")
        for name, column in columns.items():
            check_known("parameter", name, known, self.model.__name__)
            try:
                values = real_numbers(f"parameters.{name}", column)
            except ValueError as error:
                raise ModelError(str(error)) from error
            if values.ndim != 1:
                raise ModelError(f"A column has one number for each twin, but got shape {values.shape} for `{name}`.")
            self.columns[name] = values
        lengths = {name: len(values) for name, values in self.columns.items()}
        if names is not None:
            lengths["names"] = len(names)
        if len(set(lengths.values())) > 1:
            raise ModelError(f"All columns must have the same length, but got {lengths}.")
        self.n = next(iter(lengths.values()), 0)
        self.names: tuple[str, ...] = tuple(map(str, range(self.n) if names is None else names))
        if len(set(self.names)) != self.n:
            twice = Counter(self.names).most_common(1)[0][0]
            raise ModelError(f"Each twin has its own name, but `{twice}` stands for several.")

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Twins({self.model.__name__}, {self.n} twins, columns {', '.join(self.columns) or 'none'})"

    def __getitem__(self, which: slice | Sequence[int] | np.ndarray) -> Twins:
        """Some of the twins: a slice, numbers, or a mask."""
        if isinstance(which, int | np.integer):
            which = [int(which)]
        picked = np.arange(self.n)[which]
        columns = {name: values[picked] for name, values in self.columns.items()}
        return Twins(self.model, columns, [self.names[i] for i in picked])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def outside_bounds(self) -> dict[str, Int[np.ndarray, " outside"]]:
        """By parameter, the numbers of the twins whose value is not within its bounds (or is NaN); only where there are any."""
        known = parameters(self.model)
        found = {}
        for name, values in self.columns.items():
            low, high = known[name].bounds or (-np.inf, np.inf)
            outside = np.flatnonzero(~((values >= low) & (values <= high)))
            if outside.size:
                found[name] = outside
        return found

    @classmethod
    def sample(
        cls,
        model: Organ | type[Organ],
        n: int,
        seed: int = 0,
        only: Sequence[str] | None = None,
        spread: float | None = None,
    ) -> Twins:
        """A virtual cohort, drawn from the parameters' priors, within their bounds.

        They are people made like the model that is given: where one of its values is not the default of its class, the prior
        moves along, by the same factor if it is log-normal, by the same difference if it is normal (a uniform one stays). A
        value outside its bounds, which say what is usual, is drawn around without them.

        Args:
            model: or its class, which stands for the defaults.
            n: how many twins.
            seed: equal seeds give equal cohorts.
            only: names of the parameters to draw; by default all that have a prior.
            spread: draw log-normally around the model's values with this standard deviation of the logarithm instead.

        Raises:
            ModelError: a parameter that is unknown, has no prior to draw from, or a value that a prior cannot move to (NaN,
                infinity); a number of twins, a seed or a spread that is negative or no such number.
        """
        n, seed = _whole("n", n), _whole("seed", seed)
        if spread is not None and not (isinstance(spread, Real) and 0.0 <= spread < np.inf):
            raise ModelError(f"`spread` must be zero or a positive number, but got {spread!r:.100}.")
        known = parameters(model)
        chosen = (
            [name for name, v in known.items() if v.prior is not None or spread is not None] if only is None else only
        )
        generator = np.random.default_rng(seed)
        columns = {}
        for name in chosen:
            check_known("parameter", name, known, (model if isinstance(model, type) else type(model)).__name__)
            centre = float(known[name].default or 0.0) if isinstance(model, type) else float(getattr(model, name))
            columns[name] = _draw(known[name], generator, n, centre, spread)
        return cls(model, columns, names=[str(i) for i in range(n)])

    # ---------------------------------------------------------------------------------------------------- tables

    def to_table(self) -> pa.Table:
        """The cohort as an Arrow table: column `twin`, then ``NAME [UNIT]`` for each parameter."""
        import pyarrow as pa

        known = parameters(self.model)
        units = {name: f"{name} [{known[name].unit}]" for name in self.columns}
        return pa.table({"twin": list(self.names)} | {units[name]: values for name, values in self.columns.items()})

    @classmethod
    def from_table(cls, model: Organ | type[Organ], table: pa.Table, file: str = "table") -> Twins:
        """A cohort from an Arrow table: column `twin` and columns named ``NAME [UNIT]``; units are converted.

        A column without a unit is taken to be in the model's own.

        Raises:
            DataError: no column `twin`, two columns of one parameter, or a cell that is no number.
            ModelError: an unknown parameter, or a twin twice.
            UnitError: a unit that does not fit the parameter's.
        """
        from vht.model.units import convert

        if "twin" not in table.column_names:
            raise DataError(f"{file}: a table of twins has a column `twin`, but got {', '.join(table.column_names)}.")
        known, columns = parameters(model), {}
        for header, name, unit in columns_with_units(table, file):
            check_known("parameter", name, known, (model if isinstance(model, type) else type(model)).__name__)
            try:
                values = table.column(header).cast("float64").to_numpy(zero_copy_only=False)
            except (ValueError, TypeError) as error:
                raise DataError(f"{file}, column `{header}`: every cell must be a number ({error}).") from error
            columns[name] = values if unit is None else convert(values, unit, known[name].unit)
        return cls(model, columns, names=[str(v) for v in table.column("twin").to_pylist()])

    def write(self, path: str | pathlib.Path) -> None:
        """Write the cohort as CSV or Parquet, by the file's suffix."""
        import pyarrow.csv
        import pyarrow.parquet

        if pathlib.Path(path).suffix == ".parquet":
            pyarrow.parquet.write_table(self.to_table(), path)
        else:
            pyarrow.csv.write_csv(self.to_table(), path)

    @classmethod
    def read(cls, model: Organ | type[Organ], path: str | pathlib.Path) -> Twins:
        """Read a cohort from CSV or Parquet; see `from_table`.

        Raises:
            DataError: no such file, or one that cannot be read; as `from_table`.
            ModelError: as `from_table`.
            UnitError: as `from_table`.
        """
        return cls.from_table(model, read_table(path, ("twin",), "twins"), str(path))


def _whole(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ModelError(f"`{name}` must be a whole number, but got {value!r:.100}.") from None
    if number < 0:
        raise ModelError(f"`{name}` must not be negative, but got {number}.")
    return number


def columns_of(twins: Twins | Mapping[str, Any], model: Organ | type[Organ]) -> Mapping[str, Any]:
    """The columns of a cohort in the units of a model, which may be another than the cohort's; columns by name stay.

    Args:
        twins: a cohort, perhaps of another model with parameters of the same names; or columns.
        model: says the units.

    Raises:
        UnitError: a parameter measures something else in the cohort's model.
    """
    cls = model if isinstance(model, type) else type(model)
    if not isinstance(twins, Twins):
        return twins
    if twins.model is cls:
        return twins.columns
    own, wanted = parameters(twins.model), parameters(cls)
    columns: dict[str, Any] = dict(twins.columns)
    for name in twins.columns:
        if name in wanted and own[name].unit != wanted[name].unit:
            from vht.model.units import convert

            try:
                columns[name] = convert(columns[name], own[name].unit, wanted[name].unit)
            except UnitError as error:
                raise UnitError(
                    f"`{name}` of twins of `{twins.model.__name__}` is no `{name}` of `{cls.__name__}`: {error}"
                ) from None
    return columns


def _draw(
    variable: Variable, generator: np.random.Generator, n: int, centre: float, spread: float | None
) -> Float[np.ndarray, " twins"]:
    bounds = variable.bounds or _EVERYTHING
    if not bounds[0] <= centre <= bounds[1]:
        bounds = _EVERYTHING
    if spread is not None:
        return _around(centre, spread, bounds, generator, n)
    if variable.prior is None or variable.default is None:
        raise ModelError(f"`{variable.name}` has no prior to draw from.")
    prior = recentred(variable.prior, variable.default, centre)
    if not overlap(prior, bounds):
        raise ModelError(f"`{variable.name}` has the prior {prior!r} around {centre}, none of it within {bounds}.")
    match prior:
        case Normal():
            drawn = prior.mean + prior.sd * _standard(standardized(prior, bounds), generator, n)
        case LogNormal():
            drawn = prior.median * np.exp(prior.sd * _standard(standardized(prior, bounds), generator, n))
        case Uniform():
            drawn = generator.uniform(max(bounds[0], prior.lower), min(bounds[1], prior.upper), n)
    return np.clip(drawn, *bounds)


def _around(
    centre: float, spread: float, bounds: tuple[float, float], generator: np.random.Generator, n: int
) -> Float[np.ndarray, " twins"]:
    """Log-normal draws, within bounds."""
    if centre == 0.0 or spread == 0.0:
        return np.full(n, centre)
    with np.errstate(divide="ignore"):
        low, high = np.sort(np.log(np.maximum(np.array(bounds) / centre, 0.0)) / spread)
    return np.clip(centre * np.exp(spread * _standard((low, high), generator, n)), *bounds)


def _standard(edges: tuple[float, float], generator: np.random.Generator, n: int) -> Float[np.ndarray, " twins"]:
    """Standard normal draws between two numbers.

    The inverse distribution function, between its values there: no draw lies outside, none piles up.
    """
    from scipy import special

    low, high = edges
    if low > 0.0:  # shares are known to many digits near 0, not near 1
        return -_standard((-high, -low), generator, n)
    return special.ndtri(generator.uniform(special.ndtr(low), special.ndtr(high), n))
