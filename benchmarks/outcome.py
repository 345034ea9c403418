"""What a benchmark hands back: tables for people, a record for machines, and targets beside what was measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[str], None]
"""Tells the user what is going on."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, the row's field, and how to write a number."""

    heading: str
    field: str
    form: str = ""


@dataclass(frozen=True)
class Table:
    """Rows (dicts) and which of their fields to show."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """A number that was wanted, and the number that was found.

    Attributes:
        what: in words.
        wanted: the limit.
        measured: None if it could not be measured here.
        at_least: whether the limit is a lower one.
        unit: written behind the numbers.
    """

    what: str
    wanted: float
    measured: float | None
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether; None if it could not be measured here."""
        if self.measured is None:
            return None
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


@dataclass
class Outcome:
    """A benchmark's results.

    Attributes:
        title: what was done, in a line.
        tables: in order.
        targets: in order.
        notes: what one must know to read the tables.
        skipped: what could not be run here, and why.
    """

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As plain values for JSON; every field of every row, shown or not."""
        return {
            "title": self.title,
            "tables": {table.title: list(table.rows) for table in self.tables},
            "targets": [dataclasses.asdict(t) | {"met": t.met} for t in self.targets],
            "notes": self.notes,
            "skipped": self.skipped,
        }


def shown(value: Any, form: str) -> str:
    """A cell's text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return format(value, form)
