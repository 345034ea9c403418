"""Arrow tables of one row a twin, from CSV or Parquet, with units in their headers: what `Twins` and `People` are read from."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vht.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_HEADER = re.compile(r"^\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*$")


def read_table(path: str | pathlib.Path, texts: Sequence[str], what: str) -> pa.Table:
    """Read a table from CSV or Parquet, by the file's suffix.

    Args:
        path: of the file.
        texts: columns of a CSV file that are read as text, whatever they look like.
        what: it is a table of, for messages.

    Raises:
        DataError: no such file, a folder, or a file that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if pathlib.Path(path).is_dir():
            raise DataError(f"{path} is a folder; give a table of {what}.")
        if pathlib.Path(path).suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        types = dict.fromkeys(texts, pa.string())
        return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {error}") from error


def columns_with_units(table: pa.Table, file: str) -> list[tuple[str, str, str | None]]:
    """Header, name and unit (None if the header has none) of every column ``NAME [UNIT]`` but `twin`.

    Raises:
        DataError: two columns of one name, so also two with one header.
    """
    found: dict[str, tuple[str, str, str | None]] = {}
    for header in table.column_names:
        parts = _HEADER.match(header)
        name, unit = (parts["name"], parts["unit"]) if parts is not None else (header, None)
        if name in found:
            raise DataError(f"{file}, column `{header}`: there is a column of `{name}` before: keep one of them.")
        found[name] = header, name, unit
    return [column for column in found.values() if column[0] != "twin"]
