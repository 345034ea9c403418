"""Cohorts whose arrays, by JAX's types, lie on several devices inside of a transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec, auto_axes, use_abstract_mesh

from vht.solve.given import Given


def where_twins_lie(compute: Callable[[Given], Any], given: Given) -> Any:
    """Compute, and say of the results that they lie where the twins do, if types tell where that is.

    In between XLA decides what lies where: operations on arrays whose types differ in it are refused, and a solve has many
    that are no caller's.

    Args:
        compute: of the numbers; the first axis of its results is that of the twins.
        given: the numbers.
    """
    leaves, ranks = jax.tree.leaves(given), jax.tree.leaves(given.ranks())
    places = [jax.typeof(leaf).sharding for leaf in leaves]
    mesh = next((place.mesh for place in places if any(place.spec)), None)
    if mesh is None:
        return compute(given)
    told = tuple(name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit)
    own = [place.spec[0] for leaf, rank, place in zip(leaves, ranks, places, strict=True) if leaf.ndim > rank]
    along = next((names for names in own if names is not None), None)
    with use_abstract_mesh(mesh):
        return auto_axes(compute, axes=told, out_sharding=PartitionSpec(along))(given)
