"""Tables in: measurements, schedules, measured inputs and covariates of a cohort, checked and in the model's units.

Every table has one row for each number and a column `twin`. A column of numbers has its unit in the header, ``time [h]``,
or in a column of units (`unit` for value, amount and sd; `time_unit` for time and duration). Each number is converted once,
here. Whatever is wrong with any of the tables is told at once, with file, row and column.

| table | columns | optional |
|---|---|---|
| measurements | twin, time, observable, value, unit | sd; replicate, which tells rows of the same time apart |
| schedule (doses) | twin, time, input, amount, unit | duration |
| signals (measured inputs) | twin, time, input, value, unit; a linear one has two rows at the time of a jump | |
| covariates, one row a twin | twin, ``PARAMETER [unit]``, ``initial.STATE [unit]`` | |
| people, one row a twin | twin, what rules need (see `vht.covariates.People`) | |

A schedule or a table of signals without a column `twin` holds for every twin.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from vht.cohort.rules import read_people
from vht.cohort.sheet import Problems, Sheet, read_sheet
from vht.errors import UnitError, nearest

if TYPE_CHECKING:
    from vht.calibrate import Measurements
    from vht.covariates import People, Rule
    from vht.model import Organ
    from vht.solve import Schedule

INITIAL = "initial."
REPLICATE = "replicate"


@dataclass(frozen=True)
class TableFiles:
    """Where a cohort's tables are; None for those it does not have.

    Attributes:
        measurements: what was measured.
        schedule: doses.
        signals: measured inputs.
        covariates: what is known of each twin's parameters.
        people: what is known of each twin's weight, age, sex and the like.
    """

    measurements: pathlib.Path | None = None
    schedule: pathlib.Path | None = None
    signals: pathlib.Path | None = None
    covariates: pathlib.Path | None = None
    people: pathlib.Path | None = None


@dataclass(frozen=True, eq=False)
class CohortData:
    """A cohort's tables, in the model's units.

    Attributes:
        twins: names, in order of appearance.
        measurements: None if there is no such table.
        schedule: doses and measured inputs, one row of each array a twin; None if there are none.
        columns: parameters known for each twin, ``[twins]`` by name.
        initial: initial values known for each twin, ``[twins]`` by state.
        people: what is known of each twin's weight, age, sex and the like; None if there is no such table.
    """

    twins: tuple[str, ...]
    measurements: Measurements | None = None
    schedule: Schedule | None = None
    columns: Mapping[str, Float[np.ndarray, " twins"]] = field(default_factory=dict)
    initial: Mapping[str, Float[np.ndarray, " twins"]] = field(default_factory=dict)
    people: People | None = None


def read_cohort(
    model: type[Organ],
    files: TableFiles,
    *,
    observables: Mapping[str, str] | None = None,
    since: Mapping[str, float] | None = None,
    interpolation: Mapping[str, Any] | None = None,
    rules: Sequence[Rule] = (),
) -> CohortData:
    """Read and check a cohort's tables.

    Args:
        model: knows inputs, parameters and units.
        files: the tables.
        observables: unit of each observable.
        since: earlier measurements of an observable are checked and then left out; in the model's unit of time.
        interpolation: of a measured input, "linear" (default) or "hold".
        rules: that are to be applied to people.

    Raises:
        DataError: anything wrong with any table; `problems` lists all of it.
    """
    from vht.model import inputs

    problems = Problems()
    ports = {name: port.unit for name, port in inputs(model).items()}
    amounts = {name: _amount(unit, model.time) for name, unit in ports.items()}
    clock, seen = model.time, []
    measured = doses = signals = covariates = None
    if files.measurements is not None:
        measured = _read_long(files.measurements, "observable", "value", observables or {}, clock, "sd", problems)
        seen.append(measured)
    if files.schedule is not None:
        doses = _read_long(files.schedule, "input", "amount", amounts, clock, "duration", problems, shareable=True)
        seen.append(doses)
    if files.signals is not None:
        linear = [name for name in ports if (interpolation or {}).get(name, "linear") == "linear"]
        signals = _read_long(
            files.signals, "input", "value", ports, clock, None, problems, shareable=True, jumps=linear
        )
        seen.append(signals)
    if files.covariates is not None:
        covariates = _read_covariates(files.covariates, model, problems)
        seen.append(covariates)
    people = None
    if files.people is not None:
        found = read_people(files.people, rules, problems)
        if found is not None:
            people = found[3]
            seen.append(_Covariates(*found[:3], {}))
    read = [table for table in seen if table is not None and not (isinstance(table, _Long) and table.shared)]
    # without measurements, the table that says most about the twins decides who there is
    chief = measured if files.measurements is not None else covariates or (read[0] if read else None)
    if chief is not None:
        _compare_twins(chief, read)
    problems.check()
    twins = () if chief is None else tuple(chief.twins)
    at = {name: i for i, name in enumerate(twins)}
    from vht.solve import Doses, Schedule, Signal

    schedule = Schedule(
        doses={} if doses is None else {p: Doses(*arrays) for p, arrays in _padded(doses, at).items()},
        signals={}
        if signals is None
        else {
            p: Signal(time, value, (interpolation or {}).get(p, "linear"))
            for p, (time, value, _) in _padded(signals, at).items()
        },
    )
    columns, initial = {}, {}
    if covariates is not None:
        order = [covariates.twins.index(name) for name in twins]
        for name, values in covariates.columns.items():
            (initial if name.startswith(INITIAL) else columns)[name.removeprefix(INITIAL)] = values[order]
    return CohortData(
        twins,
        None if measured is None else _measurements(measured, twins, since or {}),
        schedule if schedule.doses or schedule.signals else None,
        columns,
        initial,
        None if people is None else people[[people.names.index(name) for name in twins]],
    )


@dataclass(frozen=True, eq=False)
class _Long:
    """A checked long table: codes and numbers by row."""

    sheet: Sheet
    shared: bool
    twins: list[str]
    twin: Int[np.ndarray, " rows"]
    names: list[str]
    name: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    value: Float[np.ndarray, " rows"]
    extra: Float[np.ndarray, " rows"] | None


@dataclass(frozen=True, eq=False)
class _Covariates:
    """A checked table with one row a twin; its columns are by twin."""

    sheet: Sheet
    twins: list[str]
    twin: Int[np.ndarray, " rows"]
    columns: dict[str, np.ndarray]


class _Units(NamedTuple):
    """Unit of each row: the different ones, each row's code, and the column that says so; no codes if the header does."""

    words: Sequence[str]
    codes: Int[np.ndarray, " rows"] | None
    column: str


def _read_long(
    path: pathlib.Path,
    kind: str,
    number: str,
    known: Mapping[str, str],
    clock: str,
    extra: str | None,
    problems: Problems,
    *,
    shareable: bool = False,
    jumps: Collection[str] = (),
) -> _Long | None:
    """Read a long table.

    Args:
        path: of the file.
        kind: the column that says what the numbers are, observable or input.
        number: the column of numbers, value or amount.
        known: unit of everything that the column `kind` may name.
        clock: the model's unit of time.
        extra: an optional column, sd or duration.
        problems: where to note what is wrong.
        shareable: whether the table may go without a column `twin`, and hold for everyone.
        jumps: names of which one time may have two rows, before a jump and after it.
    """
    sheet = read_sheet(path, str(path), problems)
    if sheet is None:
        return None
    optional = (
        ["unit", "time_unit"] + ([] if extra is None else [extra]) + ([REPLICATE] if kind == "observable" else [])
    )
    needed = ["time", kind, number]
    # with a column that is unknown, `twin` has been misspelt rather than left out
    shared = shareable and "twin" not in sheet.columns and not sheet.unknown([*needed, *optional])
    if not sheet.expect(needed if shared else ["twin", *needed], optional):
        return None
    twins, twin = ([""], np.zeros(sheet.rows, np.int64)) if shared else sheet.words("twin")
    names, name = sheet.words(kind)
    for code, word in enumerate(names):
        if word and word not in known:
            _tell_rows(sheet, name == code, kind, f"The {kind} `{word}` is unknown.{nearest(word, known)}")
    wanted = [known.get(word, "") for word in names]

    time, timed = sheet.numbers("time")
    found = _units_of(sheet, "time", "time_unit", "h")
    scale, _ = _conversions(sheet, found, [clock], np.zeros(sheet.rows, np.int64))
    time = _scaled(time, scale)
    for row in np.flatnonzero(timed & (time < 0)):
        sheet.add(row, "time", f"A time must not be negative, but is {time[row] / scale[row]:g}.")

    value, _ = sheet.numbers(number)
    found = _units_of(sheet, number, "unit", next(iter(known.values()), "mg/L"))
    scale, offset = _conversions(sheet, found, wanted, name)
    value = _scaled(value, scale) + offset

    more = None
    if extra is not None and extra in sheet.columns:
        more, _ = sheet.numbers(extra, needed=False)
        if extra in sheet.units:
            units = _Units([sheet.units[extra]], None, extra)
            aim = [clock] if extra == "duration" else wanted
            scale, _ = _conversions(sheet, units, aim, name if extra == "sd" else np.zeros(sheet.rows, np.int64))
        elif extra == "duration":
            units = _units_of(sheet, "time", "time_unit", "h", quiet=True)
            scale, _ = _conversions(sheet, units, [clock], np.zeros(sheet.rows, np.int64), quiet=True)
        low = (more <= 0) if extra == "sd" else (more < 0)
        rule = "positive" if extra == "sd" else "zero (a bolus) or positive"
        for row in np.flatnonzero(low):
            sheet.add(row, extra, f"A {extra} must be {rule}, but is {more[row]:g}.")
        more = _scaled(more, scale)
    keys = [twin, name, time]
    if REPLICATE in sheet.columns:
        keys.append(sheet.words(REPLICATE)[1])
    if extra == "duration" and more is not None:
        keys.append(np.nan_to_num(more))  # a bolus and an infusion may begin together
    twice = np.array([word in jumps for word in names])[name]
    _tell_duplicates(sheet, kind, keys, twice)
    return _Long(sheet, shared, twins, twin, names, name, time, value, more)


def _read_covariates(path: pathlib.Path, model: type[Organ], problems: Problems) -> _Covariates | None:
    from vht.model import parameters, states

    sheet = read_sheet(path, str(path), problems)
    if sheet is None:
        return None
    units = {name: p.unit for name, p in parameters(model).items()}
    units |= {INITIAL + name: s.unit for name, s in states(model).items()}
    if not sheet.expect(["twin"], list(units)):
        return None
    twins, twin = sheet.words("twin")
    sheet.once("twin", twins, twin)
    columns, one = {}, np.zeros(sheet.rows, np.int64)
    for name in sheet.columns:
        if name not in units:
            continue
        values, _ = sheet.numbers(name)
        unit = sheet.units.get(name)
        if unit is None and units[name] != "1":
            sheet.add(None, name, f"The header must say the unit, such as `{name} [{units[name]}]`.")
            continue
        scale, offset = _conversions(sheet, _Units([unit or "1"], None, name), [units[name]], one)
        columns[name] = _scaled(values, scale) + offset
    # by twin, not by row: the two differ where a name stands twice, which is a problem already
    rows = np.zeros(len(twins), np.int64)
    rows[twin] = np.arange(sheet.rows)
    return _Covariates(sheet, twins, twin, {name: values[rows] for name, values in columns.items()})


# ------------------------------------------------------------------------------------------------------------- units


def _units_of(sheet: Sheet, column: str, units: str, example: str, *, quiet: bool = False) -> _Units:
    """The units of a column of numbers: from its header, else from a column of units."""
    if column in sheet.units:
        if units in sheet.columns and not quiet:
            sheet.add(None, units, f"The unit is given twice: here and in the header `{sheet.headers[column]}`.")
        return _Units([sheet.units[column]], None, column)
    if units in sheet.columns:
        words, codes = sheet.words(units) if not quiet else _silent_words(sheet, units)
        return _Units(words, codes, units)
    if not quiet:
        sheet.add(None, column, f"There is no unit: name the column `{column} [{example}]`, or add a column `{units}`.")
    return _Units([""], None, column)


def _silent_words(sheet: Sheet, name: str) -> tuple[list[str], np.ndarray]:
    """The words of a column whose empty cells have been told already."""
    count = len(sheet.problems.found)
    words = sheet.words(name)
    del sheet.problems.found[count:]
    return words


def _conversions(
    sheet: Sheet, found: _Units, wanted: Sequence[str], which: Int[np.ndarray, " rows"], *, quiet: bool = False
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Scale and offset of each row's number; NaN, and a problem, where there is none.

    Args:
        sheet: the table.
        found: unit of each row.
        wanted: units to convert to; "" for what is unknown anyway.
        which: of `wanted`, for each row.
        quiet: note no problems.
    """
    from vht.model.units import conversion

    codes = np.zeros(sheet.rows, np.int64) if found.codes is None else found.codes
    pairs = codes * len(wanted) + which
    scale, offset = np.full(sheet.rows, np.nan), np.full(sheet.rows, np.nan)
    for pair in np.unique(pairs):
        unit, aim = found.words[pair // len(wanted)], wanted[pair % len(wanted)]
        rows = pairs == pair
        if not unit or not aim:
            continue
        try:
            scale[rows], offset[rows] = conversion(unit, aim)
        except UnitError as error:
            if quiet:
                continue
            if found.codes is None:
                sheet.add(None, found.column, str(error))
            else:
                _tell_rows(sheet, rows, found.column, str(error))
    return scale, offset


def _scaled(values: Float[np.ndarray, " rows"], scale: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Numbers times each row's scale, as `vht.model.units.scaled`."""
    from vht.model.units import scaled

    found = np.full(values.shape, np.nan)
    for one in np.unique(scale[np.isfinite(scale)]):
        rows = scale == one
        found[rows] = scaled(values[rows], one)
    return found


def _amount(port: str, clock: str) -> str:
    """The unit of an amount given into a port: mg for a port in mg/h."""
    from vht.model.units import parse, registry

    reduced = registry().Quantity(1.0, parse(f"({port})*({clock})")).to_reduced_units()
    return str(reduced.units) if abs(reduced.magnitude - 1.0) < 1e-12 else f"({port})*({clock})"


# ------------------------------------------------------------------------------------------------------------ checks


def _tell_rows(sheet: Sheet, rows: Bool[np.ndarray, " rows"], column: str, message: str) -> None:
    """Note a problem that many rows share, once, at the first."""
    at = np.flatnonzero(rows)
    more = f" (and in {at.size - 1:,} more row{'s' if at.size > 2 else ''})" if at.size > 1 else ""
    sheet.add(at[0], column, message + more)


def _tell_duplicates(
    sheet: Sheet, kind: str, keys: Sequence[Shaped[np.ndarray, " rows"]], twice: Bool[np.ndarray, " rows"]
) -> None:
    """Note rows that are alike in all keys, but for the second of those that may stand twice."""
    order = np.lexsort(keys[::-1])  # stable: rows that are alike stay in order
    a, b = order[:-1], order[1:]
    alike = np.logical_and.reduce([key[a] == key[b] for key in keys])
    second = alike & ~np.concatenate([[False], alike])[: alike.size]
    told = alike & ~(second & twice[b])
    if not told.any():
        return
    more = f", or number them in a column `{REPLICATE}` if each was measured" if kind == "observable" else ""
    # the first of each run of rows that are alike
    begins = np.concatenate([[True], ~alike])
    first = order[np.maximum.accumulate(np.where(begins, np.arange(order.size), 0))][1:]
    for row, earlier in sorted(zip(b[told], first[told], strict=True)):
        where = sheet.lines[earlier]
        sheet.add(row, None, f"The row has the same twin, time and {kind} as row {where}: keep one of them{more}.")


def _compare_twins(chief: _Long | _Covariates, tables: Sequence[_Long | _Covariates]) -> None:
    """Every table is about the same twins."""
    for table in tables:
        if table is chief:
            continue
        known, there = set(chief.twins), set(table.twins)
        for code, name in enumerate(table.twins):
            if name and name not in known:
                message = f"The twin `{name}` has no row in {chief.sheet.file}.{_hint(name, chief.twins)}"
                _tell_rows(table.sheet, table.twin == code, "twin", message)
        for name in chief.twins:
            if name and name not in there:
                zero = ""
                if isinstance(table, _Long) and "amount" in table.sheet.columns:
                    zero = " A twin that was given nothing has an amount of 0."
                table.sheet.add(None, "twin", f"The twin `{name}` of {chief.sheet.file} has no row here.{zero}")


def _hint(name: str, known: Sequence[str]) -> str:
    hint = nearest(name, known)
    return hint if "Did you mean" in hint and not name.isdigit() else ""


# ------------------------------------------------------------------------------------------------------------ results


def _measurements(table: _Long, twins: tuple[str, ...], since: Mapping[str, float]) -> Measurements:
    from vht.calibrate import Measurements

    begin = np.array([since.get(name, 0.0) for name in table.names])
    keep = table.time >= begin[table.name]
    return Measurements(
        twin=table.twin[keep],
        time=table.time[keep],
        observable=np.array(table.names)[table.name[keep]],
        value=table.value[keep],
        sd=None if table.extra is None else table.extra[keep],
        names=twins,
    )


class _Arrays(NamedTuple):
    time: Float[np.ndarray, "*twins rows"]
    value: Float[np.ndarray, "*twins rows"]
    extra: Float[np.ndarray, "*twins rows"] | None


def _padded(table: _Long, at: Mapping[str, int]) -> dict[str, _Arrays]:
    """By input: times, filled up with +inf, and numbers, filled up with 0, in the order of time, one row a twin."""
    out, count_twins = {}, 1 if table.shared else len(at)
    twin = table.twin if table.shared else np.array([at[name] for name in table.twins], np.int64)[table.twin]
    for code, name in enumerate(table.names):
        rows = np.flatnonzero(table.name == code)
        rows = rows[np.lexsort((table.time[rows], twin[rows]))]
        count = np.bincount(twin[rows], minlength=count_twins)
        place = np.arange(rows.size) - np.repeat(np.cumsum(count) - count, count)

        def array(numbers: np.ndarray, fill: float, rows=rows, place=place, width=int(count.max())) -> np.ndarray:
            filled = np.full((count_twins, width), fill)
            filled[twin[rows], place] = np.nan_to_num(numbers[rows], nan=0.0)  # an empty duration is a bolus
            return filled[0] if table.shared else filled

        extra = None if table.extra is None else array(table.extra, 0.0)
        out[name] = _Arrays(array(table.time, np.inf), array(table.value, 0.0), extra)
    return out
