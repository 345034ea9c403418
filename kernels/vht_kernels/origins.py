"""In the memory of which input a table lies that a jaxpr returns, found before the jaxpr is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend import core as jex

from vht_kernels.uniform import nested_jaxpr


def origins(closed: jex.ClosedJaxpr) -> list[int | None]:
    """For each output the input (constants not counted) whose memory it is; None for scalars and for other memory."""
    return [None if i is None or i < len(closed.consts) else i - len(closed.consts) for i in _origins(closed.jaxpr)]


def _origins(jaxpr: jex.Jaxpr) -> list[int | None]:
    env: dict[Any, int] = {v: i for i, v in enumerate(jaxpr.invars) if _is_table(v)}
    for eqn in jaxpr.eqns:
        if not any(map(_is_table, eqn.outvars)):
            continue
        for variable, source in zip(eqn.outvars, _sources(eqn), strict=True):
            found = None if source is None else env.get(eqn.invars[source])
            if found is not None:
                env[variable] = found
    return [None if isinstance(v, jex.Literal) else env.get(v) for v in jaxpr.outvars]


def _sources(eqn: Any) -> Sequence[int | None]:
    """For each result of an equation which of its operands it is, written or as it was."""
    p = eqn.params
    match eqn.primitive.name:
        case "table_write":
            return [0]
        case "while":  # a carried table keeps its memory, or is given one of its own
            first = p["cond_nconsts"] + p["body_nconsts"]
            return [first + i if i == source else None for i, source in enumerate(carried(eqn))]
        case "scan":
            first = p["num_consts"]
            return [first + i if i == source else None for i, source in enumerate(carried(eqn))]
        case "cond":
            first, *others = (origins(branch) for branch in p["branches"])
            same = [all(other[i] == source for other in others) for i, source in enumerate(first)]
            return [1 + i if i is not None and alike else None for i, alike in zip(first, same, strict=True)]
    inner = nested_jaxpr(eqn)
    return [None] * len(eqn.outvars) if inner is None else origins(inner)


def carried(eqn: Any) -> list[int | None]:
    """For each carried table of a loop the carried table whose memory it lies in after a turn."""
    p = eqn.params
    loop = eqn.primitive.name == "while"
    body, first = (p["body_jaxpr"], p["body_nconsts"]) if loop else (p["jaxpr"], p["num_consts"])
    return [None if i is None or i < first else i - first for i in origins(body)]


def _is_table(variable: Any) -> bool:
    return not isinstance(variable, jex.Literal) and variable.aval.shape != ()
