"""What JAX's types tell of a mesh of devices: over which of its axes a value differs, along which an array is divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec, get_abstract_mesh

# newer versions of JAX tell it in a class of its own
_Varying: Any = getattr(jax.sharding, "ManualAxisType", None)


def varying(aval: Any) -> frozenset[Any]:
    """The axes of the mesh over which a value inside of `jax.shard_map` differs from device to device."""
    return aval.vma if _Varying is None else aval.manual_axis_type.varying


def joined(values: Sequence[Any]) -> Sequence[Any]:
    """The values, each marked as differing over all axes over which any of them does, as JAX's own operations do.

    Through the mark the derivative by a value that is the same on all devices becomes the sum over them.
    """
    if get_abstract_mesh().empty:
        return values
    known = [varying(jax.typeof(x)) for x in values]
    axes = frozenset().union(*known)
    return [_marked(x, axes - own) if axes - own else x for x, own in zip(values, known, strict=True)]


def _marked(x: Any, axes: frozenset[Any]) -> Any:
    names = tuple(sorted(axes, key=str))
    of: Any = lax  # the older versions have `pvary`, the newer ones `pcast`
    return of.pcast(x, names, to="varying") if hasattr(lax, "pcast") else of.pvary(x, names)


def dividing(avals: Sequence[Any], axes: Sequence[int | None]) -> Any:
    """What of a mesh divides an axis that some of the arrays have; None if nothing does, or their types do not tell."""
    found = [aval.sharding.spec[axis] for aval, axis in zip(avals, axes, strict=True) if axis is not None]
    return next((names for names in found if names is not None), None)


def sharding(avals: Sequence[Any], divided: Sequence[Any]) -> NamedSharding | None:
    """Of an array on the mesh of others, its axes divided by what is named; None where there is no mesh."""
    mesh = next((aval.sharding.mesh for aval in avals if not aval.sharding.mesh.empty), get_abstract_mesh())
    return None if mesh.empty else NamedSharding(mesh, PartitionSpec(*divided))


def computed_from(avals: Sequence[Any], divided: Sequence[Any] = ()) -> dict[str, Any]:
    """What the type of a result says of the mesh, for `jax.core.ShapedArray`."""
    place = sharding(avals, divided)
    if place is None:
        return {}
    axes = frozenset().union(*map(varying, avals))
    return {"sharding": place, **({"vma": axes} if _Varying is None else {"manual_axis_type": _Varying(varying=axes)})}
