"""Cohorts that, by JAX's types, lie on several devices inside of a transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec, auto_axes, use_abstract_mesh


def where_twins_lie(compute: Callable[[Any], Any], numbers: Any, twins: int) -> Any:
    """Compute, and say of the results that they lie where the twins do, if types tell where that is.

    In between XLA decides what lies where: operations on arrays whose types differ in it are refused, and a solve has many
    that are no caller's.

    Args:
        compute: of the numbers; the first axis of its results is that of the twins.
        numbers: arrays ``[twins, ...]``, and others.
        twins: how many.
    """
    for leaf in jax.tree.leaves(numbers):
        place = jax.typeof(leaf).sharding
        if leaf.shape[:1] != (twins,) or place.spec[0] is None:
            continue
        kinds = zip(place.mesh.axis_names, place.mesh.axis_types, strict=True)
        told = tuple(name for name, kind in kinds if kind == AxisType.Explicit)
        with use_abstract_mesh(place.mesh):
            return auto_axes(compute, axes=told, out_sharding=PartitionSpec(place.spec[0]))(numbers)
    return compute(numbers)
