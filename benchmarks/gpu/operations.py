"""How many operations a step takes, counted in the program that is compiled.

Counted are additions, subtractions, multiplications, divisions, roots, extrema and elementary functions of floating numbers,
one each (an integer power as its multiplications); not comparisons, choices, signs and conversions. Of a branch only the
cheaper side counts, of loops inside a step nothing: saves, schedules and first steps happen seldom; nor what is the same in all
steps, which kernels compute before them. So the count is a lower bound of what is done, and does not grow with how it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
from jax.extend import core as jex

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
    """Operations of one turn of the largest loop of a program (of `vht_kernels.programs`), by type.

    Where a loop inside of it does most of what it does, as one that takes many steps of equal size a turn, of that one.
    """
    return max(map(_of_a_turn, _loops(program.closed.jaxpr)), key=lambda found: found.total(), default=Counter())


def _of_a_turn(loop: Any) -> Counter[str]:
    from jax.interpreters import partial_eval

    body, given = loop.params["body_jaxpr"].jaxpr, loop.params["body_nconsts"]
    kept = {one for one, after in zip(body.invars[given:], body.outvars, strict=True) if one is after}
    # what nobody reads, as an estimate of the error where steps are fixed, is not computed
    read = partial_eval.dce_jaxpr(body, [True] * len(body.outvars), instantiate=True)[0]
    found = count(read, {*body.invars[:given], *kept})
    within = max(map(_of_a_turn, _loops(read)), key=lambda inner: inner.total(), default=Counter())
    return within if 2 * within.total() > found.total() else found


def _loops(jaxpr: Any) -> Iterator[Any]:
    """Loops that are in no other."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "while":
            yield eqn
        else:
            for inner in _inner(eqn):
                yield from _loops(inner)


def count(jaxpr: Any, same: Collection[Any] = ()) -> Counter[str]:
    """Operations of a jaxpr, by type of number.

    Args:
        jaxpr: to count in.
        same: those of its inputs that are the same in every turn of a loop around it: what follows from them alone is computed
            once, before the loop.
    """
    found: Counter[str] = Counter()
    known = set(same)

    def is_known(value: Any) -> bool:
        return isinstance(value, jex.Literal) or value in known

    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "while":
            continue
        if eqn.invars and all(map(is_known, eqn.invars)):
            known.update(eqn.outvars)
            continue
        if name == "cond":
            branches = [_called(branch.jaxpr, eqn.invars[1:], is_known) for branch in eqn.params["branches"]]
            found += min(branches, key=lambda one: one.total())
            continue
        if name == "scan":
            inside = _called(eqn.params["jaxpr"].jaxpr, eqn.invars[: eqn.params["num_consts"]], is_known)
            found += Counter({kind: number * eqn.params["length"] for kind, number in inside.items()})
            continue
        inner = list(_inner(eqn))
        for part in inner:
            found += _called(part, eqn.invars, is_known)
        kind = eqn.outvars[0].aval.dtype if eqn.outvars else None
        if inner or kind is None or not np.issubdtype(kind, np.floating):
            continue
        if name in _ONE:
            found[str(kind)] += int(np.prod(eqn.outvars[0].aval.shape))
        elif name == "integer_power" or name == "integer_pow":
            power = abs(int(eqn.params["y"]))
            found[str(kind)] += max(power.bit_length() + power.bit_count() - 2, 0) + (eqn.params["y"] < 0)
    return found


def _called(jaxpr: Any, given: Sequence[Any], is_known: Callable[[Any], bool]) -> Counter[str]:
    """Of what an equation calls with these first inputs."""
    return count(jaxpr, {mine for mine, theirs in zip(jaxpr.invars, given, strict=False) if is_known(theirs)})


def _inner(eqn: Any) -> Iterator[Any]:
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "jaxpr") and hasattr(part.jaxpr, "eqns"):
                yield part.jaxpr
            elif hasattr(part, "eqns"):
                yield part
