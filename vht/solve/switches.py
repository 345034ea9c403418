"""Where a model's rates have kinks and jumps: the comparisons, roundings and absolute values in its equations.

An explicit step is as accurate as its order only while the rates are smooth. Across a kink its error estimate, made for
smooth rates, can be far too small. Finding the kinks needs nothing from the modeller: they are in the jaxpr.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex
from vht_kernels.errors import as_written

from vht.model.gating import SMOOTH

_COMPARISONS = ("gt", "lt", "ge", "le", "eq", "ne")
_ROUNDINGS = ("floor", "ceil", "round", "sign")
Known = tuple[Any, bool]  # a value, and whether it moves
# sees an equation's name, its arguments and its first result; what it returns, unless nothing, stands in place of that
Note = Callable[[str, Sequence[Any], Any], Any]


def switches(function: Callable[..., Any], fixed: Any, moving: Any) -> tuple[jax.Array, ...]:
    """What decides which smooth piece of a function its arguments lie on.

    Args:
        function: of `fixed` and `moving`, on scalars.
        fixed: arguments that stay during a step: what depends on them alone is left out.
        moving: the others.

    Returns:
        Scalars, truths put together in whole numbers. As long as all of them keep their values, the function is smooth
        along a path of its arguments. Branches of `cond` and `switch` are looked into, loops are not.
    """
    found: list[jax.Array] = []
    _walk_over(function, fixed, moving, functools.partial(_note, found), found)
    return _together(found, moving)


def breaks(
    function: Callable[..., Any], fixed: Any, moving: Any
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Where a function can jump: its comparisons and roundings; arguments as of `switches`.

    Maxima, minima and absolute values bend but do not jump, what equals something does so for no time, and the insides of
    branches and loops are not looked into.

    Returns:
        What each decides, and the value each hangs on: its derivatives at the jump tell when it jumps.
    """
    outcomes: list[jax.Array] = []
    levels: list[jax.Array] = []

    def note(name: str, values: Sequence[Any], out: Any) -> None:
        outcome = _decided(name, values, out)
        if outcome is not None:
            outcomes.append(outcome)
            levels.append(_level(name, values))

    _walk_over(function, fixed, moving, note, None)
    return tuple(outcomes), tuple(levels)


def held(
    function: Callable[..., Any], fixed: Any, moving: Any, was: Sequence[jax.Array], keep: Sequence[jax.Array]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """A function on the smooth piece of another place, as far as some of its decisions go; arguments as of `breaks`.

    Args:
        function: see `switches`.
        fixed: likewise.
        moving: likewise.
        was: what `breaks` found decided at the other place.
        keep: by decision, whether it is taken from there; the others follow from the arguments and from those kept.

    Returns:
        Its values, and what each decision would be if it were not kept itself.
    """
    outcomes: list[jax.Array] = []

    def note(name: str, values: Sequence[Any], out: Any) -> Any:
        outcome = _decided(name, values, out)
        if outcome is None:
            return None
        old, kept = was[len(outcomes)], keep[len(outcomes)]
        outcomes.append(outcome)
        # of a remainder it is decided how often the divisor fits
        return lax.select(kept, lax.sub(values[0], lax.mul(old, values[1])) if name == "rem" else old, out)

    found = _walk_over(function, fixed, moving, note, None)
    return tuple(value for value, _ in found), tuple(outcomes)


def _decided(name: str, values: Sequence[Any], out: Any) -> Any:
    """What an equation decides where a function can jump; nothing if it does not."""
    if not jnp.issubdtype(jnp.result_type(values[0]), jnp.floating):
        return None
    if name in ("gt", "lt", "ge", "le") or name in _ROUNDINGS or _rounds(name, out):
        return out
    return _times(values, out) if name == "rem" else None


def _level(name: str, values: Sequence[Any]) -> jax.Array:
    """The value that such a decision hangs on."""
    if name in ("gt", "lt", "ge", "le"):
        return lax.sub(*values)
    if name == "rem":
        return _beyond(lax.div(*values), 0.0)
    # it jumps where it passes a whole number, `round` half way between two
    return values[0] if name == "sign" else _beyond(values[0], 0.5 if name == "round" else 0.0)


def _walk_over(
    function: Callable[..., Any], fixed: Any, moving: Any, note: Note, inside: list[Any] | None
) -> list[Known]:
    closed = jax.make_jaxpr(function)(fixed, moving)
    moves = [False] * len(jax.tree.leaves(fixed)) + [True] * len(jax.tree.leaves(moving))
    return _walk(closed, jax.tree.leaves((fixed, moving)), moves, note, inside)


def _together(found: Sequence[jax.Array], moving: Any) -> tuple[jax.Array, ...]:
    """Truths as bits of whole numbers: a few to compare and to keep rather than many.

    The whole numbers are as long as the floats at work: then a vector of truths, which the processor gets as one of such
    numbers from comparing floats, need not be made narrower first.
    """
    truths = [value for value in found if value.dtype == np.bool_]
    if not truths:
        return tuple(found)
    whole = np.dtype(f"int{8 * jnp.result_type(jax.tree.leaves(moving)[0]).itemsize}")
    size = 8 * whole.itemsize - 2
    codes = []
    # all bits but the lowest and the sign: with these LLVM takes a choice for a conversion of the truth
    for group in (truths[i : i + size] for i in range(0, len(truths), size)):
        bits = [lax.select(truth, whole.type(2 << k), whole.type(0)) for k, truth in enumerate(group)]
        codes.append(functools.reduce(lax.bitwise_or, bits))
    return (*codes, *(value for value in found if value.dtype != np.bool_))


def all_equal(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    """Whether what `switches` found at several places is all that of the first one; NaN equals nothing."""
    kind = np.dtype(f"int{8 * rows[0][0].dtype.itemsize}")
    different = jnp.zeros((), kind)
    for row in rows[1:]:
        for value, first in zip(row, rows[0], strict=True):
            if value.dtype == kind:
                different = different | (value ^ first)
            else:
                different = different | jnp.where(value == first, kind.type(0), kind.type(2))
    return different == 0


def _walk(
    closed: jex.ClosedJaxpr, args: Sequence[Any], moves: Sequence[bool], note: Note, inside: list[Any] | None
) -> list[Known]:
    """Evaluate a jaxpr, note its equations with an argument that moves; returns its values and which of them move.

    What switches within branches goes to `inside`; without that list they are not looked into.
    """
    jaxpr = closed.jaxpr
    env: dict[Any, Known] = dict(zip(jaxpr.constvars, ((c, False) for c in closed.consts), strict=True))
    env.update(zip(jaxpr.invars, zip(args, moves, strict=True), strict=True))

    def known(atom: Any) -> Known:
        return (atom.val, False) if isinstance(atom, jex.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        values, moving = zip(*map(known, eqn.invars), strict=True) if eqn.invars else ((), ())
        inner = next((eqn.params[n] for n in ("jaxpr", "call_jaxpr") if n in eqn.params), None)
        if isinstance(inner, jex.Jaxpr) and not isinstance(inner, jex.ClosedJaxpr):  # one class from jax 0.12 on
            inner = jex.ClosedJaxpr(inner, ())
        if inner is not None and str(eqn.params.get("name", "")).startswith(SMOOTH):
            # made of pieces that join smoothly
            outs = [(o, any(moving)) for o in _bound(eqn, values)]
        elif inner is not None and eqn.primitive.name != "scan":
            outs = _walk(inner, values, moving, note, inside)
        elif eqn.primitive.name == "cond" and any(moving) and inside is not None:
            outs = _choose(eqn.params["branches"], values, moving, inside)
        else:
            outs = [(o, any(moving)) for o in _bound(eqn, values)]
            if any(moving) and outs:
                instead = note(eqn.primitive.name, values, outs[0][0])
                if instead is not None:
                    outs[0] = (instead, True)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [known(v) for v in jaxpr.outvars]


def _bound(eqn: Any, values: Sequence[Any]) -> list[Any]:
    with as_written(eqn):
        out = eqn.primitive.bind(*values, **eqn.params)
    return list(out) if eqn.primitive.multiple_results else [out]


def _choose(
    branches: Sequence[jex.ClosedJaxpr], values: Sequence[Any], moving: Sequence[bool], found: list[Any]
) -> list[Known]:
    """The branch taken, and what switches inside it; what would switch in the others is 0."""

    def walk(branch: jex.ClosedJaxpr, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        inside: list[Any] = []
        outs = _walk(branch, args, moving[1:], functools.partial(_note, inside), inside)
        return [value for value, _ in outs], inside

    index, *args = values
    shapes = [jax.eval_shape(lambda *args, b=branch: walk(b, args), *args)[1] for branch in branches]

    def filled(number: int) -> Callable[..., tuple[list[Any], list[Any]]]:
        def take(*args: Any) -> tuple[list[Any], list[Any]]:
            outs, inside = walk(branches[number], args)
            rows = [[jnp.zeros(s.shape, s.dtype) for s in shape] for shape in shapes]
            rows[number] = inside
            return outs, [value for row in rows for value in row]

        return take

    outs, inside = lax.switch(index, [filled(i) for i in range(len(branches))], *args)
    found.extend(inside)
    return [(value, True) for value in outs]


def _rounds(name: str, out: Any) -> bool:
    """Whether a conversion of a float is one to whole numbers; a complex number holds the float as it was."""
    return name == "convert_element_type" and not jnp.issubdtype(out.dtype, jnp.inexact)


def _beyond(value: jax.Array, offset: float) -> jax.Array:
    """How far a value is from the nearest whole number, or from that and an offset; its derivative is the value's own."""
    away = value - value.dtype.type(offset)
    return away - lax.round(away)


def _times(values: Sequence[Any], remainder: Any) -> jax.Array:
    """How often the divisor fits: a whole number, found without the rounding of the remainder."""
    return lax.round(lax.div(lax.sub(values[0], remainder), values[1]))


def _note(found: list[Any], name: str, values: Sequence[Any], out: Any) -> None:
    if not jnp.issubdtype(jnp.result_type(values[0]), jnp.floating):
        return
    if name in _COMPARISONS or name in _ROUNDINGS:
        found.append(out)
    elif name in ("max", "min"):
        found.append(lax.gt(*values))
    elif name == "abs":
        found.append(lax.lt(values[0], jnp.zeros_like(values[0])))
    elif name == "rem":
        found.append(_times(values, out))
    elif _rounds(name, out):
        found.append(out)
    elif name == "clamp":
        low, value, high = values
        found.extend((lax.lt(value, low), lax.gt(value, high)))
