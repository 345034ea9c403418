"""One table file as it stands: columns of text or numbers, and where each row is found in the file."""

from __future__ import annotations

import csv
import io
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vht.errors import DataError, Problem, nearest

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 20
"""How many problems an error message lists before it only counts the rest."""

_HEADER = re.compile(r"^(?P<name>[^\[\]]*?)\s*(?:\[(?P<unit>[^\[\]]*)\])?$")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


@dataclass
class Problems:
    """What is wrong with some tables, gathered so that it can be told at once."""

    found: list[Problem] = field(default_factory=list)

    def add(self, file: str, row: int | None, column: str | None, message: str) -> None:
        """Note a problem; for the arguments see `vht.errors.Problem`."""
        self.found.append(Problem(file, row, column, message))

    def check(self) -> None:
        """Raise what was found.

        Raises:
            DataError: if anything was found.
        """
        if not self.found:
            return
        files = list(dict.fromkeys(p.file for p in self.found))
        self.found.sort(key=lambda p: (files.index(p.file), p.row or 0))
        count = len(self.found)
        lines = [f"{count:,} problem{'s' if count > 1 else ''} in {' and '.join(files)}:"]
        lines += [f"  {problem}" for problem in self.found[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  ... and {count - SHOWN:,} more")
        raise DataError("\n".join(lines), self.found)


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table as read.

    Attributes:
        file: how messages name it.
        columns: by name, without the unit in the header; text has no white space around it.
        headers: by name, the header as written.
        units: by name, the unit in the header, where there is one.
        rows: how many.
        problems: where problems are noted.
        text: the file, where it is a text; None for Parquet.
    """

    file: str
    columns: Mapping[str, pa.Array]
    headers: Mapping[str, str]
    units: Mapping[str, str]
    rows: int
    problems: Problems
    text: str | None

    @cached_property
    def lines(self) -> Int[np.ndarray, " rows"]:
        """The line on which each row begins (header: line 1); in Parquet, the row's number from 1."""
        if self.text is None:
            return np.arange(1, self.rows + 1)
        return np.array([line for line, cells in _records(self.text) if any(map(str.strip, cells))][1:], np.int64)

    def add(self, row: int | np.integer | None, column: str | None, message: str) -> None:
        """Note a problem.

        Args:
            row: index of the row, from 0; None if it is about the whole table.
            column: name of the column, or None.
            message: what was found and what was expected.
        """
        header = None if column is None else self.headers.get(column, column)
        self.problems.add(self.file, None if row is None else int(self.lines[row]), header, message)

    def words(self, name: str, *, needed: bool = True) -> tuple[list[str], Int[np.ndarray, " rows"]]:
        """A column of names: the different ones in order of appearance, and for each row which one it has.

        Empty cells are problems if the column is `needed`, and have the code of the empty name.
        """
        import pyarrow as pa

        pc, column = _compute(), self.columns[name]
        if not pa.types.is_string(column.type):
            if pa.types.is_floating(column.type):  # a number column of Parquet: twin 1.0 is twin 1
                whole = pc.equal(pc.round(column), column)
                if pc.all(whole, min_count=0).as_py():
                    column = column.cast(pa.int64(), safe=False)
            try:
                column = column.cast(pa.string())
            except pa.ArrowException:
                self.add(None, name, f"The column must hold names, but holds {column.type}.")
                return [""], np.zeros(self.rows, np.int64)
        coded = pc.fill_null(column, "").dictionary_encode()
        words, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if needed and "" in words:
            for row in np.flatnonzero(codes == words.index("")):
                self.add(row, name, "The cell is empty.")
        return words, codes

    def once(self, name: str, words: Sequence[str], codes: Int[np.ndarray, " rows"]) -> None:
        """Note rows of a column of names (see `words`) that have the name of an earlier row."""
        first = np.full(len(words), -1)
        for row in np.flatnonzero(np.bincount(codes, minlength=len(words))[codes] > 1):
            if first[codes[row]] < 0:
                first[codes[row]] = row
            elif words[codes[row]]:
                where, word = self.lines[first[codes[row]]], words[codes[row]]
                self.add(row, name, f"There is one row for each {name}, but `{word}` is in row {where} already.")

    def numbers(
        self, name: str, *, needed: bool = True
    ) -> tuple[Float[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
        """A column of numbers, NaN where a cell holds none (which is a problem), and which rows are good.

        Args:
            name: of the column.
            needed: whether an empty cell is a problem. If not, it is NaN and good.
        """
        import pyarrow as pa

        pc, column = _compute(), self.columns[name]
        empty = np.zeros(self.rows, bool)
        if pa.types.is_string(column.type):
            fits = pc.match_substring_regex(column, _NUMBER)
            empty = pc.equal(column, "").to_numpy(zero_copy_only=False)
            values = pc.if_else(fits, column, pa.scalar(None, pa.string())).cast(pa.float64())
            values = values.to_numpy(zero_copy_only=False)
        elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type):
            empty = column.is_null().to_numpy(zero_copy_only=False)
            values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        elif pa.types.is_null(column.type):
            empty, values = np.ones(self.rows, bool), np.full(self.rows, np.nan)
        else:
            self.add(None, name, f"The column must hold numbers, but holds {column.type}.")
            return np.full(self.rows, np.nan), np.zeros(self.rows, bool)
        good = np.isfinite(values)
        for row in np.flatnonzero(~good & (needed | ~empty)):
            self.add(row, name, "The cell is empty." if empty[row] else _no_number(column[int(row)].as_py()))
        return values, good if needed else good | empty

    def unknown(self, known: Sequence[str]) -> list[str]:
        """Columns that are not known, but for those that are to be passed over."""
        return [name for name in self.columns if name not in known and not name.startswith("_")]

    def expect(self, needed: Sequence[str], optional: Sequence[str]) -> bool:
        """Note missing and unknown columns.

        Args:
            needed: columns the table must have.
            optional: columns it may have.

        Returns:
            Whether all needed columns are there.
        """
        unknown = self.unknown([*needed, *optional])
        missing = [name for name in needed if name not in self.columns]
        for name in missing:
            close = nearest(name, unknown) if unknown else ""
            close = close.replace("Did you mean", "Is it") if "Did you mean" in close else ""
            self.add(None, name, f"The column is missing.{close} Found: {_listed(self.headers.values())}.")
        for name in unknown:
            self.add(
                None,
                name,
                f"The column is unknown.{nearest(name, [*needed, *optional])}"
                " (A column that vht should pass over has a name that begins with `_`.)",
            )
        return not missing


def read_sheet(path: pathlib.Path, file: str, problems: Problems) -> Sheet | None:
    """Read a CSV or Parquet file.

    Args:
        path: of the file; a name that ends with ``.parquet`` is read as Parquet.
        file: how messages name it.
        problems: where to note what is wrong.

    Returns:
        The table, or None if it cannot be read.
    """
    try:
        if not path.is_file():
            problems.add(file, None, None, f"There is no such {'file, but a folder' if path.is_dir() else 'file'}.")
            return None
        sheet = (_read_parquet if path.suffix == ".parquet" else _read_csv)(path, file, problems)
    except OSError as error:
        problems.add(file, None, None, f"The file cannot be read: {error.strerror or error}.")
        return None
    if sheet is not None and not sheet.rows:
        problems.add(file, None, None, "The table is empty: it has a header and no rows.")
        return None
    return sheet


def _read_parquet(path: pathlib.Path, file: str, problems: Problems) -> Sheet | None:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        # opened by Python, since pyarrow knows no path that is not UTF-8
        with path.open("rb") as opened, pyarrow.parquet.ParquetFile(opened) as parquet:
            table = parquet.read()
    except pa.ArrowException as error:
        problems.add(file, None, None, f"This is no Parquet file, or it is damaged ({error}).")
        return None
    columns = []
    for column in table.columns:
        column = column.combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        columns.append(
            _trimmed(column.cast(pa.string())) if pa.types.is_large_string(column.type) else _trimmed(column)
        )
    return _sheet(file, table.column_names, columns, table.num_rows, problems, None)


def _read_csv(path: pathlib.Path, file: str, problems: Problems) -> Sheet | None:
    import pyarrow as pa

    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        problems.add(file, row, None, "The text is not UTF-8: save the table as CSV with the encoding UTF-8.")
        return None
    if not text.strip():
        problems.add(file, None, None, "The file is empty.")
        return None
    header: list[str] = []
    for _, cells in _records(text):
        if any(map(str.strip, cells)):
            header = [cell.strip() for cell in cells]
            break
    if len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if mark in header[0]:
                problems.add(file, 1, None, f"The columns are separated by {name}, but must be separated by commas.")
                return None

    arrays = _parse_fast(data, text, len(header))
    if arrays is None:
        arrays = _parse_slowly(text, file, header, problems)
        if arrays is None:
            return None
    arrays = [_trimmed(array) for array in arrays]
    rows = len(arrays[0])
    blank = np.ones(rows, bool)
    for array in arrays:
        blank &= _compute().equal(array, "").to_numpy(zero_copy_only=False)
        if not blank.any():
            break
    if blank.any():  # a spreadsheet's empty rows
        keep = pa.array(~blank)
        arrays = [array.filter(keep) for array in arrays]
    return _sheet(file, header, arrays, len(arrays[0]), problems, text)


def _parse_fast(data: bytes, text: str, width: int) -> list[Any] | None:
    """All cells as text, by Arrow; None where a row has too many or too few cells."""
    import pyarrow as pa
    import pyarrow.csv as pc

    names = [str(i) for i in range(width)]
    try:
        table = pc.read_csv(
            pa.BufferReader(data),
            read_options=pc.ReadOptions(column_names=names),
            parse_options=pc.ParseOptions(newlines_in_values='"' in text),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowException:
        return None
    # the header is the first row that is not blank
    arrays = [column.combine_chunks() for column in table.columns]
    first = next((i for i in range(table.num_rows) if any(array[i].as_py().strip() for array in arrays)), 0)
    return [array.slice(first + 1) for array in arrays]


def _parse_slowly(text: str, file: str, header: list[str], problems: Problems) -> list[Any] | None:
    """As `_parse_fast`, noting rows of the wrong length."""
    import pyarrow as pa

    rows, fit, seen = [], True, False
    for line, cells in _records(text):
        if not any(map(str.strip, cells)):
            continue
        if not seen:
            seen = True
            continue
        if len(cells) != len(header):
            found = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
            problems.add(file, line, None, f"The row has {found}, but the header has {len(header)}.")
            fit = False
        rows.append(cells)
    if not fit:
        return None
    return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)] or [pa.array([], pa.string())] * len(
        header
    )


def _records(text: str) -> Iterable[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells."""
    reader, begins = csv.reader(io.StringIO(text, newline="")), 1
    for cells in reader:
        yield begins, cells
        begins = reader.line_num + 1


def _compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute  # its functions are made at run time, unknown to a type checker


def _trimmed(column: Any) -> Any:
    import pyarrow as pa

    return _compute().utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column


def _sheet(
    file: str, header: Sequence[str], arrays: Sequence[Any], rows: int, problems: Problems, text: str | None
) -> Sheet | None:
    columns, headers, units, fit = {}, {}, {}, True
    for written, array in zip(header, arrays, strict=True):
        parts = _HEADER.match(written)
        name = parts["name"].strip() if parts is not None else written
        if not name or name in columns:
            what = "has no name" if not name else "is there twice"
            problems.add(file, None if text is None else 1, written, f"A column {what}.")
            fit = False
            continue
        columns[name], headers[name] = array, written
        if parts is not None and parts["unit"] is not None:
            units[name] = parts["unit"].strip()
    return Sheet(file, columns, headers, units, rows, problems, text) if fit else None


def _no_number(cell: Any) -> str:
    if isinstance(cell, str) and re.fullmatch(r"[+-]?\d+,\d+", cell):
        return f"The cell must be a number, but is `{cell}`: decimals are written with a point."
    return f"The cell must be a finite number, but is `{cell}`."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
