"""Which tables still hold what the program means by them.

To the program a table never changes: a write gives a new one. In a kernel both lie in the same memory, so the old table is
gone once it is written to. Here every table has a version, a write begins another, and a table whose version is gone can be
passed around but not looked at. Programs that go on with the new table alone, as nearly all do, cost nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from vht_kernels.emitter import Value
from vht_kernels.errors import LoweringError, source_line, unsupported


@dataclasses.dataclass(eq=False, slots=True, frozen=True)
class Table:
    """A rank-1 array in memory: entry `i` of a lane lies at ``base + (offset(lane) + i * stride)`` entries."""

    base: ir.Value
    dtype: np.dtype
    length: Value  # i64, uniform
    offset: Value | None  # i64 per lane, None when all lanes share the table
    storage: int | None = None  # number of the writable storage, None for an input
    version: int = 0
    stride: Value | None = None  # i64, uniform; None: entries lie one after another
    scratch: bool = False  # lies where only the group can see it

    def lies_in(self, other: Table) -> bool:
        """Whether both are the same memory."""
        return self.base is other.base


Operand = Value | Table
Held = dict[int, frozenset[int]]  # by storage: the versions that are equal to what is in it


@dataclasses.dataclass(frozen=True)
class Turn:
    """What was known when a loop began."""

    held: Held
    uses: int


class Versions:
    """What every storage holds at the place in the program that is being written."""

    def __init__(self) -> None:
        self._held: Held = {}
        self._uses: list[tuple[Table, Any]] = []  # in the order in which they are written
        self._ended_by: dict[int, Any] = {}  # the write after which a version is gone
        self._numbers = itertools.count()

    def made(self, table: Table) -> Table:
        """The table in a storage that was filled as a whole."""
        return self._begin(table)

    def used(self, table: Table, eqn: Any) -> None:
        """An equation (None: the end of the function) looks into a table.

        Raises:
            LoweringError: if the table was written to meanwhile.
        """
        if table.storage is None:
            return
        if table.version not in self._held[table.storage]:
            raise self._gone(table, eqn, "")
        self._uses.append((table, eqn))

    def written(self, table: Table, eqn: Any) -> Table:
        """The table after a write to it."""
        self.used(table, eqn)
        assert table.storage is not None
        self._ended_by.update(dict.fromkeys(self._held[table.storage], eqn))
        return self._begin(table)

    def _begin(self, table: Table) -> Table:
        assert table.storage is not None
        version = next(self._numbers)
        self._held[table.storage] = frozenset((version,))
        return dataclasses.replace(table, version=version)

    def _gone(self, table: Table, eqn: Any, when: str) -> LoweringError:
        where = source_line(eqn) if eqn is not None else "returned"
        return unsupported(
            self._ended_by.get(table.version, eqn),
            f"the table as it was before this write is used again afterwards{when}: {where or 'source unknown'}",
        )

    # ------------------------------------------------------------------------------------------------ loops

    def begin_loop(self, carry: Sequence[Table], eqn: Any) -> tuple[Turn, list[Table]]:
        """Call before a loop; returns the carried tables as the loop's condition and body see them."""
        held, renamed = dict(self._held), []
        for table in carry:
            self.used(table, eqn)
            if table.storage is not None:
                version = next(self._numbers)
                self._held[table.storage] |= {version}
                table = dataclasses.replace(table, version=version)
            renamed.append(table)
        return Turn(held, len(self._uses)), renamed

    def end_loop(self, turn: Turn, carry: Sequence[Table], after: Sequence[Table], eqn: Any) -> None:
        """Call after the body was written.

        Args:
            turn: from `begin_loop`.
            carry: from `begin_loop`; the loop's results, once it is over.
            after: the carried tables at the end of the body.
            eqn: the loop.

        Raises:
            LoweringError: if a turn writes what the next one looks at as it was before the loop.
        """
        for table in after:
            self.used(table, eqn)
        for storage, before in turn.held.items():
            if before <= self._held[storage]:
                continue  # no turn writes to it
            for table, user in self._uses[turn.uses :]:
                if table.storage == storage and table.version in before:
                    raise self._gone(table, user, " in the loop's next turn")
            self._held[storage] = frozenset(t.version for t in carry if t.storage == storage)

    # ------------------------------------------------------------------------------------------------ branches

    def here(self) -> Held:
        """What every storage holds now."""
        return dict(self._held)

    def back_to(self, held: Held) -> None:
        """Go on from an earlier place: the next branch starts where the last one did."""
        self._held = dict(held)

    def join(self, before: Held, ends: Sequence[Held]) -> None:
        """Call after the last branch, with what held before the first one and at the end of each."""
        for storage, versions in before.items():
            if all(versions <= end[storage] for end in ends):
                self._held[storage] = versions
            else:
                self._held[storage] = frozenset((next(self._numbers),))

    def now(self, table: Table) -> Table:
        """The table that lies in a table's memory now."""
        if table.storage is None:
            return table
        return dataclasses.replace(table, version=min(self._held[table.storage]))
