"""Tables: the one kind of array a lane may touch, read and written one entry at a time.

Inside a function given to `lanes` every value is a scalar except tables: rank-1 arrays that belong to one lane (or, with
``in_axes=None``, are shared by all). They are used only through the functions here. Each is an ordinary JAX primitive,
so the same function also runs under `jax.vmap`, `jax.jit` and `jax.jvp`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from vht_kernels.meshes import joined

if TYPE_CHECKING:  # for readers and checkers alone: the compiler runs without it
    from jaxtyping import Array, ArrayLike, Int, Shaped

    Scalar = Shaped[ArrayLike, ""]

read_p = Primitive("table_read")
length_p = Primitive("table_length")
full_like_p = Primitive("table_full_like")
write_p = Primitive("table_write")
scratch_p = Primitive("table_scratch")


def read(table: Shaped[ArrayLike, " n"], index: Int[ArrayLike, ""]) -> Shaped[Array, ""]:
    """The entry of a table at an index.

    Args:
        table: one lane's table, shape ``[n]``.
        index: which entry; an index below 0 reads the first entry, one past the end the last.

    Returns:
        The entry; 0 if the table is empty.

    Raises:
        TypeError: something else than a table, or than a whole number as index.
    """
    return read_p.bind(_as_table(table), _as_index(index))


def length(table: Shaped[ArrayLike, " n"]) -> Int[Array, ""]:
    """The number of entries of a table, int32. A kernel finds it when it runs: other lengths need no other kernel."""
    return length_p.bind(_as_table(table))


def full_like(
    table: Shaped[ArrayLike, " n"], fill: Scalar, dtype: Any = None, repeat: int = 1
) -> Shaped[Array, " _repeated"]:
    """A new table as long as another one, or some times as long, every entry equal to `fill`.

    Args:
        table: gives the length, shape ``[n]``.
        fill: the value of every entry.
        dtype: of the new table; by default that of `table`.
        repeat: how many times as long, at least 1: shape ``[repeat * n]``.

    Raises:
        TypeError: something else than a table.
        ValueError: `repeat` is less than 1.
    """
    table = _as_table(table)
    if repeat < 1:
        raise ValueError(f"`repeat` must be at least 1, but got {repeat}.")
    fill = jnp.asarray(fill, dtype=table.dtype if dtype is None else dtype)
    return full_like_p.bind(table, fill, repeat=int(repeat))


def scratch(size: int, fill: Scalar, dtype: Any = None) -> Shaped[Array, " size"]:
    """A table to work with: its size is part of the program, every entry equal to `fill`.

    In `lanes` the entries of all lanes lie side by side, so that an index that is the same in all lanes (a loop's counter)
    costs one vector load. It takes ``size`` vectors of memory for each thread, whatever the number of lanes.

    Args:
        size: number of entries, at least 1.
        fill: the value of every entry.
        dtype: of the table; by default that of `fill`.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1, but got {size}.")
    return scratch_p.bind(jnp.asarray(fill, dtype=dtype), size=int(size))


def write(table: Shaped[Array, " n"], index: Int[ArrayLike, ""], value: Scalar) -> Shaped[Array, " n"]:
    """A table with one entry replaced. In `lanes` the old table must not be used afterwards: that is a `LoweringError`.

    Args:
        table: made by `full_like` or `scratch`, shape ``[n]``.
        index: which entry; outside ``0 .. n-1`` nothing is written.
        value: the new entry, of the table's dtype.

    Raises:
        TypeError: something else than a table, or than a whole number as index.
    """
    table = _as_table(table)
    return write_p.bind(table, _as_index(index), jnp.asarray(value, dtype=table.dtype))


def _as_table(table: ArrayLike) -> Array:
    table = jnp.asarray(table)
    if table.ndim != 1:
        raise TypeError(f"A table has one axis, but got shape {table.shape}.")
    return table


def _as_index(index: ArrayLike) -> Array:
    index = jnp.asarray(index)
    if index.ndim != 0 or not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(f"A table's index is a whole-number scalar, but got {index.dtype}{list(index.shape)}.")
    low, high = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)
    # an index out of int32's range is outside every table and must stay so
    if np.iinfo(index.dtype).max > high:
        index = lax.clamp(
            np.array(max(low, np.iinfo(index.dtype).min), index.dtype), index, np.array(high, index.dtype)
        )
    return lax.convert_element_type(index, np.int32)


# What the primitives mean, in plain JAX; lanes has its own rules for them.
def _read(table: Array, index: Array) -> Array:
    n = table.shape[0]
    if n == 0:
        return jnp.zeros((), table.dtype)
    index = jnp.clip(index, np.int32(0), np.int32(n - 1))
    return lax.dynamic_index_in_dim(table, index, keepdims=False, allow_negative_indices=False)


def _length(table: Array) -> Array:
    return jnp.asarray(table.shape[0], dtype=np.int32)


def _full_like(table: Array, fill: Array, *, repeat: int) -> Array:
    return lax.broadcast(fill, (repeat * table.shape[0],))


def _scratch(fill: Array, *, size: int) -> Array:
    return lax.broadcast(fill, (size,))


def _write(table: Array, index: Array, value: Array) -> Array:
    if table.shape[0] == 0:
        return table
    return table.at[jnp.where(index < 0, np.int32(table.shape[0]), index)].set(value, mode="drop")


def _define(primitive: Primitive, meaning: Callable[..., Array]) -> None:
    def abstract(*avals: Any, **params: Any) -> Any:
        (out,) = jax.make_jaxpr(functools.partial(meaning, **params))(*avals).out_avals
        return out.strip_weak_type()

    def batch(args: Sequence[Array], axes: Sequence[int | None], **params: Any) -> tuple[Array, int]:
        return jax.vmap(functools.partial(meaning, **params), in_axes=tuple(axes))(*args), 0

    primitive.def_impl(meaning)
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(meaning, multiple_results=False))


for _primitive, _meaning in (
    (read_p, _read),
    (length_p, _length),
    (full_like_p, _full_like),
    (write_p, _write),
    (scratch_p, _scratch),
):
    _define(_primitive, _meaning)


def _zero(value: Array) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _read_jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[Array, Any]:
    table, index = primals
    value = read_p.bind(table, index)
    dot = tangents[0]
    return value, _zero(value) if type(dot) is ad.Zero else read_p.bind(dot, index)


def _length_jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[Array, Any]:
    value = length_p.bind(*primals)
    return value, _zero(value)


def _full_like_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, repeat: int) -> tuple[Array, Any]:
    table, fill = primals
    value = full_like_p.bind(table, fill, repeat=repeat)
    dot = tangents[1]
    return value, _zero(value) if type(dot) is ad.Zero else full_like_p.bind(table, dot, repeat=repeat)


def _scratch_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, size: int) -> tuple[Array, Any]:
    value = scratch_p.bind(*primals, size=size)
    (dot,) = tangents
    return value, _zero(value) if type(dot) is ad.Zero else scratch_p.bind(dot, size=size)


def _write_jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[Array, Any]:
    table, index, entry = primals
    value = write_p.bind(table, index, entry)
    if type(tangents[0]) is ad.Zero and type(tangents[2]) is ad.Zero:
        return value, _zero(value)
    zero = jnp.zeros_like(entry)
    table_dot, _, entry_dot = (None if type(t) is ad.Zero else t for t in tangents)
    if table_dot is None:
        table_dot = full_like_p.bind(table, joined((zero, table, index))[0], repeat=1)
    return value, write_p.bind(table_dot, index, zero if entry_dot is None else entry_dot)


ad.primitive_jvps[read_p] = _read_jvp
ad.primitive_jvps[length_p] = _length_jvp
ad.primitive_jvps[full_like_p] = _full_like_jvp
ad.primitive_jvps[write_p] = _write_jvp
ad.primitive_jvps[scratch_p] = _scratch_jvp

__all__ = ["full_like", "length", "read", "scratch", "write"]
