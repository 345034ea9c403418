"""In which memory tables will lie, found before the equations are written.

A write stays in place, so most tables lie where they came from. A loop or a cond must know beforehand which do: it gives
memory of its own to a table that it brings from elsewhere, and the same rules here and there decide which those are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.extend import core as jex

from vht_kernels.uniform import nested_jaxpr, scan_counts
from vht_kernels.versions import Operand, Table


@dataclasses.dataclass(eq=False, frozen=True)
class Place:
    """Memory of a table; an input's is never written to."""

    writable: bool = True


Places = Sequence[Place | None]  # None for a scalar


def places_of(operands: Sequence[Operand]) -> list[Place | None]:
    """The places of what was written already."""
    known: dict[int, Place] = {}
    return [
        known.setdefault(id(o.base), Place(o.storage is not None)) if isinstance(o, Table) else None for o in operands
    ]


def _closed(closed: jex.ClosedJaxpr, inputs: Places) -> list[Place | None]:
    return _jaxpr(closed.jaxpr, [*(Place(False) if np.ndim(c) else None for c in closed.consts), *inputs])


def _jaxpr(jaxpr: jex.Jaxpr, inputs: Places) -> list[Place | None]:
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], inputs, strict=True))
    for eqn in jaxpr.eqns:
        if any(map(_is_table, eqn.outvars)):
            args = [None if isinstance(v, jex.Literal) else env.get(v) for v in eqn.invars]
            env.update(zip(eqn.outvars, _equation(eqn, args), strict=True))
    return [None if isinstance(v, jex.Literal) else env.get(v) for v in jaxpr.outvars]


def _equation(eqn: Any, args: Places) -> Places:
    match eqn.primitive.name:
        case "table_write":
            return [args[0]]
        case "table_full_like" | "table_scratch":
            return [Place()]
        case "while" | "scan":
            return carried(eqn, args)
        case "cond":
            return joined(eqn, args)
    inner = nested_jaxpr(eqn)
    assert inner is not None  # nothing else gives a table
    return _closed(inner, args)


def joined(eqn: Any, args: Places) -> list[Place | None]:
    """Where the results of a cond lie: where they lie in every branch, or in memory of their own."""
    branches = [_closed(b, args[1:]) for b in eqn.params["branches"]]
    return [
        None if not _is_table(variable) else found[0] if all(p is found[0] for p in found) else Place()
        for variable, *found in zip(eqn.outvars, *branches, strict=True)
    ]


def carried(eqn: Any, args: Places) -> list[Place | None]:
    """Where a loop's carried values lie, and so its results.

    A table gets memory of its own if after a turn it comes from elsewhere, or if the loop also sees its memory by another
    name, by which it must not change.
    """
    carry = carry_of(eqn)
    before, start, after = args[: carry.start], args[carry], args[carry.stop :]
    seen: set[Place | None] = {*before, *after}
    own: set[Place] = set()

    def aside() -> Place:
        own.add(place := Place())
        return place

    places: list[Place | None] = []
    for place in start:
        places.append(aside() if place is not None and place.writable and place in seen else place)
        seen.add(place)
    body = eqn.params["body_jaxpr" if eqn.primitive.name == "while" else "jaxpr"]
    fixed = before[eqn.params.get("cond_nconsts", 0) :]
    while True:
        turned = _closed(body, [*fixed, *places, *[None] * len(after)])
        moved = [old is not new and old not in own for old, new in zip(places, turned, strict=False)]
        if not any(moved):
            return places
        places = [aside() if goes else place for goes, place in zip(moved, places, strict=True)]


def carry_of(eqn: Any) -> slice:
    """Which operands of a while or scan are carried."""
    p = eqn.params
    if eqn.primitive.name == "while":
        return slice(p["cond_nconsts"] + p["body_nconsts"], len(eqn.invars))
    constants, carried = scan_counts(eqn)
    return slice(constants, constants + carried)


def _is_table(variable: Any) -> bool:
    return variable.aval.shape != ()
