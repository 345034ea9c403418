"""Writes out Gaussian elimination for the pattern of a hand-written Jacobian, as straight-line C++.

Pivots stand on the diagonal, in the order of H. M. Markowitz (Management Science 3 (1957) 255-269): the one with the least
product of other entries in its row and column comes first.
"""

from __future__ import annotations

import re

# as a Jacobian's code writes its entries: J(row, column) = ...
_ENTRY = re.compile(r"\bJ\((\w+), (\w+)\) \+?=")
_ENUM = re.compile(r"enum States? \{(.*?)\}", re.DOTALL)


def factors(source: str, name: str) -> str:
    """C++ of a matrix with the pattern of the entries that a source file writes.

    Args:
        source: text with statements ``J(row, column) = ...``; rows are numbers, or names in ``enum States {..., COUNT}``.
        name: of the problem; the type is named after it, as in ``template <class T> struct PolluFactors``.

    Raises:
        ValueError: no entries, or one outside of the states.
    """
    found = _ENUM.search(re.sub(r"//.*", "", source))
    if found is None:
        raise ValueError(f"The states of {name} must be listed in an `enum States`, but there is none.")
    names = [word.strip() for word in found[1].split(",")][:-1]
    numbers = {word: i for i, word in enumerate(names)}
    written = {(row, column) for row, column in _ENTRY.findall(source)}
    unknown = sorted({word for pair in written for word in pair} - set(numbers))
    if not written or unknown:
        raise ValueError(
            f"Entries of {name}'s Jacobian must be J(state, state) of {names}, but got {unknown or 'none'}."
        )
    size = len(names)
    pattern = {(numbers[row], numbers[column]) for row, column in written}
    zero = sorted({(i, i) for i in range(size)} - pattern)
    return _text("".join(part.capitalize() for part in name.split("_")), names, size, pattern, zero)


def _text(name: str, names: list[str], size: int, pattern: set[tuple[int, int]], zero: list[tuple[int, int]]) -> str:
    entries = {key: i for i, key in enumerate(sorted(pattern | set(zero)))}
    begin, order = len(entries), []
    left, filled = set(range(size)), set(entries)
    while left:

        def cost(i: int, left: set[int] = left, filled: set[tuple[int, int]] = filled) -> tuple[int, int]:
            across = sum((i, c) in filled for c in left) - 1
            return across * (sum((r, i) in filled for r in left) - 1), i

        pivot = min(left, key=cost)
        left.discard(pivot)
        order.append(pivot)
        across = [c for c in sorted(left) if (pivot, c) in filled]
        down = [r for r in sorted(left) if (r, pivot) in filled]
        for r in down:
            filled |= {(r, c) for c in across}
    for key in sorted(filled - set(entries)):
        entries[key] = len(entries)

    def at(i: int, j: int) -> str:
        return f"a[{entries[i, j]}]"

    factor, forward, backward, fresh = [], [], [], set(range(begin, len(entries)))
    for k, pivot in enumerate(order):
        later = order[k + 1 :]
        across = [c for c in later if (pivot, c) in entries]
        factor.append(f"{at(pivot, pivot)} = T(1) / {at(pivot, pivot)};")
        for r in later:
            if (r, pivot) not in entries:
                continue
            factor.append(f"{at(r, pivot)} *= {at(pivot, pivot)};")
            forward.append(f"b[{r}] -= {at(r, pivot)} * b[{pivot}];")
            for c in across:
                first = entries[r, c] in fresh
                fresh.discard(entries[r, c])
                factor.append(f"{at(r, c)} {'= -' if first else '-= '}{at(r, pivot)} * {at(pivot, c)};")
        total = "".join(f" - {at(pivot, c)} * b[{c}]" for c in across)
        backward.append(f"b[{pivot}] = (b[{pivot}]{total}) * {at(pivot, pivot)};")
    shifted = [f"{at(i, j)} = {'diagonal' if i == j else ''} - {at(i, j)};" for i, j in sorted(pattern)]
    shifted += [f"{at(i, j)} = diagonal;" for i, j in zero]
    labels = ", ".join(f"at_{names[i]}_{names[j]} = {entries[i, j]}" for i, j in sorted(pattern))
    return "\n".join(
        [
            f"// Written by elimination.py for {begin} entries, {len(entries) - begin} filled in.",
            "#pragma once",
            '#include "device.cuh"',
            f"template <class T> struct {name}Factors {{",
            f"  enum {{ {labels} }};",
            f"  T a[{len(entries)}];",
            "  // diagonal - J, factored in place",
            "  __device__ __forceinline__ void factor(T diagonal) {",
            *(f"    {line}" for line in (*shifted, *factor)),
            "  }",
            "  __device__ __forceinline__ void solve(T *b) const {",
            *(f"    {line}" for line in (*forward, *reversed(backward))),
            "  }",
            "};",
            "",
        ]
    )
