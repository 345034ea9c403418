"""The arguments of a call: which of them are shared by all lanes, what is wrong with them, and when two calls are alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vht_kernels.errors import LoweringError

HELD = "lanes holds float64, float32, integers of 8 to 64 bits and bool"
_HELD = frozenset(
    map(
        np.dtype,
        (
            *(np.float64, np.float32, np.bool_),
            *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
        ),
    )
)
_SHARED = object()
_MOST_LANES_A_STEP = 1024


def is_held(dtype: Any) -> bool:
    """Whether a kernel can compute with a type."""
    return dtype in _HELD


def jax_settings() -> tuple[Any, ...]:
    """What of JAX's configuration a traced program depends on."""
    config: Any = jax.config
    explicit = getattr(config, "jax_explicit_x64_dtypes", None)  # newer versions of JAX have it
    return config.jax_enable_x64, config.jax_numpy_dtype_promotion, explicit


def arrays(leaves: Sequence[Any]) -> list[jax.Array]:
    """The leaves as JAX arrays; Python's own numbers stay weakly typed."""
    return [x if isinstance(x, jax.Array) else jnp.asarray(x) for x in leaves]


# ---------------------------------------------------------------------------------------------------- settings


def check_width(width: int | None) -> None:
    """Raises `ValueError` unless the width is None or a number of lanes."""
    is_number = isinstance(width, int) and not isinstance(width, bool)
    if width is not None and not (is_number and 1 <= width <= _MOST_LANES_A_STEP):
        raise ValueError(f"`width` must be a whole number from 1 to {_MOST_LANES_A_STEP}, or None, but got {width!r}.")


def check_in_axes(in_axes: Any) -> None:
    """Raises `ValueError` unless every axis is 0 or None."""
    for axis in jax.tree.leaves(in_axes, is_leaf=lambda axis: axis is None):
        if axis is not None and (type(axis) is not int or axis != 0):
            raise ValueError(
                f"`in_axes` must hold 0 or None for each argument, but got {in_axes!r}: "
                "the lanes lie along the first axis; `jnp.moveaxis` brings another one there."
            )


def shared_leaves(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[bool]:
    """For each leaf of ``(args, kwargs)`` whether all lanes share it; keyword arguments are each lane's own, as in `vmap`.

    Raises:
        ValueError: if `in_axes` has another structure than the arguments.
    """
    prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    if isinstance(prefix, tuple) and len(prefix) != len(args):
        raise ValueError(
            f"`in_axes` must hold one entry for each positional argument, but got {in_axes!r} for {len(args)} of them."
        )
    # None would be an empty subtree: give it a name of its own before broadcasting
    marked = jax.tree.map(lambda axis: _SHARED if axis is None else axis, prefix, is_leaf=lambda axis: axis is None)
    try:
        axes = jax.tree.leaves(jax.tree.broadcast(marked, args))
    except ValueError as error:
        raise ValueError(
            f"`in_axes` must be 0 or None for each argument, or be built as it is, but got {in_axes!r}. {error}"
        ) from error
    return [axis is _SHARED for axis in axes] + [False] * len(jax.tree.leaves(kwargs))


# ---------------------------------------------------------------------------------------------------- one call


def check_arrays(flat: Sequence[jax.Array], shared: Sequence[bool], args: tuple[Any, ...], kwargs: dict) -> None:
    """Check shapes and types.

    Raises:
        ValueError: if an array is no column of scalars or tables, or the columns differ in length.
        LoweringError: if a kernel cannot hold a type.
    """
    counts = set()
    for number, (x, same) in enumerate(zip(flat, shared, strict=True)):
        rank = x.ndim - lane_axes(same)
        if rank < 0:
            raise ValueError(
                f"{_name(args, kwargs, number)} is a scalar without a lane axis; give it `in_axes` None to share it."
            )
        if rank > 1:
            raise ValueError(
                f"A leaf is a scalar or a table (one axis) for each lane, but {_name(args, kwargs, number)} "
                f"has shape {x.shape}{' and is shared by all lanes' if same else ''}."
            )
        if x.dtype not in _HELD:
            raise LoweringError(
                f"{HELD}, but {_name(args, kwargs, number)} is {x.dtype}; convert it before the call, "
                "for instance with `x.astype(jnp.float32)`."
            )
        if not same:
            counts.add(x.shape[0])
    if len(counts) != 1:
        found = ", ".join(map(str, sorted(counts))) or "none"
        raise ValueError(f"The arguments must agree on the number of lanes, but got {found}.")


def lane_axes(shared: bool) -> int:
    """How many axes of an argument count lanes."""
    return 0 if shared else 1


def _name(args: tuple[Any, ...], kwargs: dict[str, Any], number: int) -> str:
    positional, _ = jax.tree_util.tree_flatten_with_path(args)
    named, _ = jax.tree_util.tree_flatten_with_path(kwargs)
    if number >= len(positional):
        (key, *rest), _ = named[number - len(positional)]
        return f"argument `{key.key}{jax.tree_util.keystr(tuple(rest))}`"
    (place, *rest), _ = positional[number]
    return f"argument {place.idx}{jax.tree_util.keystr(tuple(rest))}"


# ---------------------------------------------------------------------------------------------------- equal calls


def static_kinds(tree: Any) -> tuple[Any, ...]:
    """What a pytree's equality overlooks in its static parts: 1, True and 1.0 are equal, 0.0 and -0.0 too."""
    kinds: list[Any] = []
    _gather(tree, kinds)
    return tuple(kinds)


def _gather(tree: Any, kinds: list[Any]) -> None:
    data = tree.node_data()
    if data is not None:
        if data[1] is not None:
            kinds.append(_kind(data[1]))
        for child in tree.children():
            _gather(child, kinds)


def _kind(value: Any) -> Any:
    kind = type(value)
    if isinstance(value, tuple | list):
        return kind, *map(_kind, value)
    if isinstance(value, frozenset):
        return kind, frozenset(map(_kind, value))
    if isinstance(value, dict):
        return kind, *((_kind(key), _kind(entry)) for key, entry in value.items())
    if isinstance(value, float | np.floating):
        return kind, math.copysign(1.0, value)
    if isinstance(value, complex | np.complexfloating):
        return kind, repr(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return kind, *(_kind(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return kind
