"""What vht raises. Every message says which name or cell, what was found, and what was expected."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence


class VhtError(Exception):
    """Base of all errors that are about what vht was given, not about vht."""


class ModelError(VhtError):
    """A model, or what is asked of it, is not well formed."""


class UnitError(ModelError):
    """Units do not fit."""


class StudyError(VhtError):
    """A study file is not well formed, or an output folder may not be written."""


class DeviceError(VhtError):
    """There is no device of the kind that was asked for, or it cannot be used; says what is missing."""


class TooLargeError(VhtError, MemoryError):
    """There is not enough memory for what is asked for; says how much it takes, and what to do."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing wrong with a table.

    Attributes:
        file: the table's file.
        row: its line, counted as a text editor does (the header is line 1); None if it is about the whole table.
        column: its column; None if it is about a whole row.
        message: what was found and what was expected.
    """

    file: str
    row: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        place = [self.file]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column `{self.column}`")
        return f"{', '.join(place)}: {self.message}"


class DataError(VhtError):
    """Tables do not hold what they should; `problems` lists everything that is wrong, not only the first thing."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


MANY = 1000


def nearest(name: object, known: Iterable[str]) -> str:
    """`` Did you mean `...`?`` for the closest known name, or the known names if they are few, or nothing."""
    choices, name = list(known), str(name)
    # among the names of a large cohort the search would take minutes
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6) if len(choices) <= MANY else []
    if not close:
        close = [c for c in choices if c.lower() == name.lower()][:1]
    if close:
        return f" Did you mean `{close[0]}`?"
    if 0 < len(choices) <= 12:
        return f" Known: {', '.join(f'`{c}`' for c in choices)}."
    return ""
