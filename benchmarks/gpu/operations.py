"""How many operations a step takes, counted in the program that is compiled.

Counted are additions, subtractions, multiplications, divisions, roots, extrema and elementary functions of floating numbers,
one each (an integer power as its multiplications); not comparisons, choices, signs and conversions. Of a branch only the
cheaper side counts, of loops inside a step nothing: saves, schedules and first steps happen seldom. So the count is a lower
bound of what is done, and does not grow with how it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

_ONE = frozenset(
    (
        *(
            "add",
            "add_any",
            "sub",
            "mul",
            "div",
            "sqrt",
            "rsqrt",
            "cbrt",
            "square",
            "max",
            "min",
            "clamp",
            "rem",
            "pow",
        ),
        *("exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "nextafter"),
        *("erf", "erfc", "erf_inv", "lgamma", "digamma"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    )
)


def of_a_step(program: Any) -> Counter[str]:
    """Operations of one turn of the largest loop of a program (of `vht_kernels.programs`), by type."""
    from jax.interpreters import partial_eval

    bodies = [eqn.params["body_jaxpr"].jaxpr for eqn in _loops(program.closed.jaxpr)]
    # what nobody reads, as an estimate of the error where steps are fixed, is not computed
    read = [partial_eval.dce_jaxpr(body, [True] * len(body.outvars))[0] for body in bodies]
    return max((count(body) for body in read), key=lambda found: found.total(), default=Counter())


def _loops(jaxpr: Any) -> Iterator[Any]:
    """Loops that are in no other."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "while":
            yield eqn
        else:
            for inner in _inner(eqn):
                yield from _loops(inner)


def count(jaxpr: Any) -> Counter[str]:
    """Operations of a jaxpr, by type of number."""
    found: Counter[str] = Counter()
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "while":
            continue
        if name == "cond":
            found += min((count(branch.jaxpr) for branch in eqn.params["branches"]), key=lambda one: one.total())
            continue
        if name == "scan":
            inside = count(eqn.params["jaxpr"].jaxpr)
            found += Counter({kind: number * eqn.params["length"] for kind, number in inside.items()})
            continue
        inner = list(_inner(eqn))
        for part in inner:
            found += count(part)
        kind = eqn.outvars[0].aval.dtype if eqn.outvars else None
        if inner or kind is None or not np.issubdtype(kind, np.floating):
            continue
        if name in _ONE:
            found[str(kind)] += int(np.prod(eqn.outvars[0].aval.shape))
        elif name == "integer_power" or name == "integer_pow":
            power = abs(int(eqn.params["y"]))
            found[str(kind)] += max(power.bit_length() + power.bit_count() - 2, 0) + (eqn.params["y"] < 0)
    return found


def _inner(eqn: Any) -> Iterator[Any]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "jaxpr") and hasattr(part.jaxpr, "eqns"):
                yield part.jaxpr
            elif hasattr(part, "eqns"):
                yield part
