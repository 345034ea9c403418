"""Which values of a jaxpr are the same in every lane, and which jaxpr stands inside an equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax.extend import core as jex

_MEMO: dict[tuple[Any, tuple[bool, ...]], tuple[Any, list[bool]]] = {}


def nested_jaxpr(eqn: Any) -> jex.ClosedJaxpr | None:
    """The jaxpr that a call-like equation (jit, custom_jvp, remat, ...) runs, None if it is no such equation."""
    if eqn.primitive.name in ("while", "scan", "cond"):
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = eqn.params.get(name)
        if isinstance(inner, jex.ClosedJaxpr):
            return inner
        if isinstance(inner, jex.Jaxpr):
            return jex.ClosedJaxpr(inner, ())
    return None


def inner_jaxprs(eqn: Any) -> list[jex.Jaxpr]:
    """All jaxprs among an equation's parameters: the bodies of calls, loops and branches."""
    found = []
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, jex.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, jex.Jaxpr):
                found.append(part)
    return found


def infer_uniform(jaxpr: jex.Jaxpr, inputs: Sequence[bool]) -> list[bool]:
    """Propagate "one number for all lanes" through a jaxpr: a result is uniform if everything it depends on is.

    Args:
        jaxpr: whose outputs are asked about.
        inputs: for each input variable whether it is uniform (for a table: whether it is shared).
    """
    key = (id(jaxpr), tuple(inputs))
    found = _MEMO.get(key)
    if found is not None and found[0] is jaxpr:
        return found[1]
    env: dict[Any, bool] = dict(zip(jaxpr.invars, inputs, strict=True))

    def known(atom: Any) -> bool:
        return True if isinstance(atom, jex.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        args = [known(a) for a in eqn.invars]
        inner = nested_jaxpr(eqn)
        if eqn.primitive.name in ("table_full_like", "table_write"):
            outs = [False]  # written tables belong to one lane
        elif eqn.primitive.name == "table_length":
            outs = [True]
        elif inner is not None:
            outs = infer_uniform(inner.jaxpr, [True] * len(inner.consts) + args)
        else:
            # loops and branches: all or nothing, which is right, and as fine as any use so far needs
            outs = [all(args)] * len(eqn.outvars)
        env.update(zip(eqn.outvars, outs, strict=True))
    result = [known(a) for a in jaxpr.outvars]
    _MEMO[key] = (jaxpr, result)
    return result
