"""Sparse Jacobians, by forward differentiation of a jaxpr when a program is traced.

Nothing here is an array: a matrix is its nonzero entries by row and column, each a scalar of one twin. What is structurally
zero costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex
from jaxtyping import Array, Float
from vht_kernels.errors import as_written
from vht_kernels.uniform import nested_jaxpr

Scalar = Float[Array, ""]
Entries = dict[tuple[int, int], Scalar]
_Tangents = dict[int, Any]  # by column


def jacobian(function: Callable[..., Sequence[Scalar]], arguments: Sequence[Scalar]) -> tuple[list[Scalar], Entries]:
    """Values and structurally nonzero derivatives of a function of scalars, by forward differentiation of its jaxpr.

    Args:
        function: of `arguments`, written on scalars.
        arguments: where; each is a column.

    Returns:
        The values, and the derivatives by row and column. Where two pieces of a function meet, the derivative is that of
        JAX's own rules.
    """
    closed = jax.make_jaxpr(lambda *xs: tuple(function(*xs)))(*arguments)
    # numbers that are known when the program is made stay NumPy's: what they multiply with is folded
    start = [{column: np.ones((), jnp.result_type(x))} for column, x in enumerate(arguments)]
    values, tangents = _walk(closed, list(arguments), start)
    slopes = {(row, c): jnp.asarray(s) for row, found in enumerate(tangents) for c, s in found.items()}
    return [jnp.asarray(v) for v in values], slopes


def multiplied(matrix: Entries, vector: Sequence[Scalar]) -> list[Scalar | None]:
    """A square matrix times a vector; None where a row is empty."""
    total: list[Scalar | None] = [None] * len(vector)
    for (i, j), value in sorted(matrix.items()):
        before, term = total[i], value * vector[j]
        total[i] = term if before is None else before + term
    return total


def _walk(
    closed: jex.ClosedJaxpr, values: Sequence[Any], tangents: Sequence[_Tangents]
) -> tuple[list[Any], list[_Tangents]]:
    jaxpr = closed.jaxpr
    env: dict[Any, tuple[Any, _Tangents]] = {v: (c, {}) for v, c in zip(jaxpr.constvars, closed.consts, strict=True)}
    env.update(zip(jaxpr.invars, zip(values, tangents, strict=True), strict=True))

    def known(atom: Any) -> tuple[Any, _Tangents]:
        if isinstance(atom, jex.Literal):
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype), {}
        return env[atom]

    for eqn in jaxpr.eqns:
        args, slopes = zip(*map(known, eqn.invars), strict=True) if eqn.invars else ((), ())
        inner = nested_jaxpr(eqn)
        # a function with a rule of its own is looked into where its derivative is not asked for
        if inner is not None and not (eqn.primitive.name.startswith("custom_") and any(slopes)):
            outs = list(zip(*_walk(inner, args, slopes), strict=True))
        else:
            with as_written(eqn):
                outs = _equation(eqn, args, slopes) if any(slopes) else [(o, {}) for o in _bind(eqn, args)]
        env.update(zip(eqn.outvars, outs, strict=True))
    found = [known(v) for v in jaxpr.outvars]
    return [value for value, _ in found], [slope for _, slope in found]


def _equation(eqn: Any, args: Sequence[Any], slopes: Sequence[_Tangents]) -> list[tuple[Any, _Tangents]]:
    name = eqn.primitive.name
    arrays = any(v.aval.shape for v in (*eqn.invars, *eqn.outvars))
    if eqn.primitive.multiple_results or len(args) > 3 or name.startswith("custom_") or arrays:
        return _by_column(eqn, args, slopes)
    value = eqn.primitive.bind(*args, **eqn.params)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return [(value, {})]
    match name:
        case "add" | "add_any" | "sub" | "neg" | "convert_element_type" | "copy":
            parts = []
            for i, slope in enumerate(slopes):
                turned = name == "neg" or (name == "sub" and i == 1)
                parts.append({c: -s.astype(value.dtype) if turned else s.astype(value.dtype) for c, s in slope.items()})
            return [(value, _sum(parts))]
        case "mul":
            parts = [
                {c: _product(other, s) for c, s in slope.items()}
                for other, slope in zip(args[::-1], slopes, strict=True)
            ]
            return [(value, _sum(parts))]
        case "select_n":
            return [(value, _select(args, slopes, value))]
    parts = []
    for i, slope in enumerate(slopes):
        if slope:
            partial = _partial(eqn, args, i)
            parts.append({c: _product(partial, s) for c, s in slope.items()})
    return [(value, _sum(parts))]


def _partial(eqn: Any, args: Sequence[Any], i: int) -> Any:
    """The derivative of a primitive with respect to one operand, by JAX's rule."""

    def of_one(x: Any) -> Any:
        return eqn.primitive.bind(*args[:i], x, *args[i + 1 :], **eqn.params)

    return jax.jvp(of_one, (args[i],), (jnp.ones_like(args[i]),))[1]


def _by_column(eqn: Any, args: Sequence[Any], slopes: Sequence[_Tangents]) -> list[tuple[Any, _Tangents]]:
    """Loops, branches, arrays and functions with a rule of their own: differentiated as a whole along each column."""
    moving = [i for i, slope in enumerate(slopes) if slope]

    def of_moving(*xs: Any) -> list[Any]:
        moved = dict(zip(moving, xs, strict=True))
        return _bind(eqn, [moved.get(i, x) for i, x in enumerate(args)])

    primals = [args[i] for i in moving]
    values, outs = None, {}
    for column in sorted({c for i in moving for c in slopes[i]}):
        dots = [_dense(slopes[i].get(column), args[i]) for i in moving]
        values, outs[column] = jax.jvp(of_moving, primals, dots)
    assert values is not None
    return [
        (v, {c: o[k] for c, o in outs.items()} if jnp.issubdtype(v.dtype, jnp.floating) else {})
        for k, v in enumerate(values)
    ]


def _bind(eqn: Any, args: Sequence[Any]) -> list[Any]:
    """Evaluate one equation."""
    settings = eqn.primitive.get_bind_params(eqn.params)
    # before jax 0.10 the functions a primitive calls came apart from the rest
    functions, settings = settings if isinstance(settings, tuple) else ((), settings)
    out = eqn.primitive.bind(*functions, *args, **settings)
    return list(out) if eqn.primitive.multiple_results else [out]


def _dense(slope: Any, like: Any) -> Any:
    return jnp.zeros_like(like) if slope is None else jnp.asarray(slope)


def _product(factor: Any, slope: Any) -> Any:
    if not _known(slope):
        return lax.mul(factor, slope)
    return factor if slope == 1.0 else factor * slope


def _sum(parts: Iterable[_Tangents]) -> _Tangents:
    total: _Tangents = {}
    for part in parts:
        for column, slope in part.items():
            before = total.get(column)
            if before is None:
                total[column] = slope
            else:
                total[column] = before + slope if _known(before) or _known(slope) else lax.add(before, slope)
    return total


def _known(number: Any) -> bool:
    return isinstance(number, np.generic | np.ndarray)


def _select(args: Sequence[Any], slopes: Sequence[_Tangents], value: Any) -> _Tangents:
    which, *cases = args
    columns = sorted({c for slope in slopes[1:] for c in slope})
    found = {}
    for column in columns:
        picked = [_dense(slope.get(column), case) for slope, case in zip(slopes[1:], cases, strict=True)]
        found[column] = lax.select_n(which, *picked)
    return found
