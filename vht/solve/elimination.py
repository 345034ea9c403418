"""Gaussian elimination for one sparsity pattern, written out when a program is traced.

The pivots are chosen by the pattern: each column has a row of its own (its diagonal, where that entry can be nonzero), and
the order is Markowitz's (H. M. Markowitz, The elimination form of the inverse and its application to linear programming,
Management Science 3 (1957) 255-269): at each turn the pivot with the least product of other entries in its row and column,
which bounds the fill. There is no pivoting by size, so every pivot is checked.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from vht.solve.sparse import Entries, Scalar

# a pivot that lost all but this many units in the last place of its entry to cancellation is none
LOST_ULPS = 16.0


class StructurallySingular(ValueError):
    """No choice of pivots exists, whatever the entries' values; `columns` are those left without a row."""

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__(f"columns {list(columns)} have no pivot")
        self.columns = tuple(columns)


@dataclasses.dataclass(frozen=True)
class Elimination:
    """The order of elimination of a pattern.

    Attributes:
        pattern: of the matrix, (row, column).
        size: number of rows.
    """

    pattern: frozenset[tuple[int, int]]
    size: int

    @functools.cached_property
    def pivots(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each pivot, in order.

        Raises:
            StructurallySingular: there is no full set of pivots.
        """
        owner = _matching(self.pattern, self.size)
        rows: dict[int, set[int]] = {i: set() for i in range(self.size)}
        columns: dict[int, set[int]] = {j: set() for j in range(self.size)}
        for i, j in self.pattern:
            rows[i].add(j)
            columns[j].add(i)
        order = []
        left = {owner[j]: j for j in range(self.size)}
        while left:
            i = min(left, key=lambda i: ((len(rows[i]) - 1) * (len(columns[left[i]]) - 1), i))
            j = left.pop(i)
            order.append((i, j))
            across = rows.pop(i)
            down = columns.pop(j)
            for c in across - {j}:
                columns[c].discard(i)
            for r in down - {i}:
                rows[r].discard(j)
                rows[r] |= across - {j}
                for c in across - {j}:
                    columns[c].add(r)
        return tuple(order)

    def factor(self, matrix: Mapping[tuple[int, int], Scalar]) -> Factors:
        """Factor a matrix of this pattern."""
        entries: Entries = dict(matrix)
        lower: list[tuple[int, int, Scalar]] = []
        upper: list[tuple[int, int, Scalar, list[tuple[int, Scalar]]]] = []
        remaining = set(range(self.size))
        regular = jnp.array(True)
        for i, j in self.pivots:
            remaining.discard(i)
            pivot = entries.pop((i, j))
            original = matrix.get((i, j))
            eps = float(jnp.finfo(pivot.dtype).eps)
            least = jnp.zeros_like(pivot) if original is None else LOST_ULPS * eps * abs(original)
            # a matrix that is not of numbers is not singular, but no numbers shall come of it either: 1 / inf is one
            finite = abs(pivot) < jnp.inf
            regular = regular & ~(finite & (abs(pivot) <= least))
            inverse = jnp.where(finite, 1.0 / pivot, jnp.nan)
            across = [(c, entries.pop((r, c))) for r, c in sorted(entries) if r == i]
            for r in sorted(remaining):
                if (r, j) not in entries:
                    continue
                factor = entries.pop((r, j)) * inverse
                lower.append((r, i, factor))
                for c, value in across:
                    change = factor * value
                    entries[r, c] = entries[r, c] - change if (r, c) in entries else -change
            upper.append((i, j, inverse, across))
        return Factors(tuple(lower), tuple(upper), regular)


@dataclasses.dataclass(frozen=True)
class Factors:
    """A factored matrix.

    Attributes:
        lower: in order, ``(row, pivot row, factor)`` of each subtraction.
        upper: in order, pivot row and column, the pivot's inverse, and the rest of the row.
        regular: whether every pivot was sound; a matrix with NaN or infinity in it may pass, and solves to NaN.
    """

    lower: tuple[tuple[int, int, Scalar], ...]
    upper: tuple[tuple[int, int, Scalar, list[tuple[int, Scalar]]], ...]
    regular: Bool[Array, ""]

    def solve(self, right: Sequence[Scalar]) -> list[Scalar]:
        """The solution for a right-hand side, one scalar a row."""
        b = list(right)
        for row, pivot_row, factor in self.lower:
            b[row] = lax.sub(b[row], lax.mul(factor, b[pivot_row]))
        x: dict[int, Scalar] = {}
        for i, j, inverse, across in reversed(self.upper):
            total = b[i]
            for c, value in across:
                total = lax.sub(total, lax.mul(value, x[c]))
            x[j] = lax.mul(total, inverse)
        return [x[j] for j in range(len(b))]


def _matching(pattern: Collection[tuple[int, int]], size: int) -> dict[int, int]:
    """A row for each column, its own where it can be."""
    owner = {j: j for j in range(size) if (j, j) in pattern}
    rows_of = {j: sorted(i for i, c in pattern if c == j) for j in range(size)}

    def place(j: int, seen: set[int]) -> bool:
        for i in rows_of[j]:
            if i in seen:
                continue
            seen.add(i)
            holder = next((c for c, r in owner.items() if r == i), None)
            if holder is None or place(holder, seen):
                owner[j] = i
                return True
        return False

    failed = [j for j in range(size) if j not in owner and not place(j, set())]
    if failed:
        raise StructurallySingular(failed)
    return owner
