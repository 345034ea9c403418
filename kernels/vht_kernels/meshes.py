"""What JAX's types tell of a mesh of devices: over which of its axes a value differs, along which an array is divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, get_abstract_mesh

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


def sharing(avals: Sequence[Any], axes: Sequence[int | None], size: int) -> tuple[str, ...]:
    """The axes of a mesh whose devices may share out an axis that some of the arrays have.

    They are those that divide it by its type, and those over which XLA divides as it likes (it cannot divide a kernel), as
    long as every device gets as much as the others.

    Args:
        avals: types of the arrays.
        axes: of each, the axis in common; None if it has none.
        size: of that axis.
    """
    place = sharding(avals, ())
    if place is None:
        return ()
    told = dividing(avals, axes) or ()
    told = (told,) if isinstance(told, str) else tuple(told)
    types = zip(place.mesh.axis_names, place.mesh.axis_types, strict=True)
    free = tuple(name for name, kind in types if kind == AxisType.Auto)
    every = math.prod(place.mesh.shape[name] for name in (*told, *free))
    return (*told, *free) if every > 1 and size % every == 0 else told


def on_each_device(
    fn: Callable[..., Any], avals: Sequence[Any], axes: Sequence[int | None], names: tuple[str, ...]
) -> Callable[..., Any]:
    """A function whose arguments have an axis in common, run by each device of a mesh for its share of that axis.

    Args:
        fn: its results have the axis as their first.
        avals: types of its arguments.
        axes: of each argument, the axis in common; None if it has none.
        names: of the axes of the mesh that divide it.
    """
    place = sharding(avals, ())
    assert place is not None
    mesh, kinds = place.mesh, dict(zip(place.mesh.axis_names, place.mesh.axis_types, strict=True))

    def along(axis: int | None, names: tuple[str, ...]) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, names)

    specs = tuple(along(axis, names) for axis in axes)
    divided = jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=along(0, names), axis_names=frozenset(names))
    told = tuple(name for name in names if kinds[name] == AxisType.Explicit)
    if not told:
        return divided
    # where types tell how arrays are divided, JAX moves none unless it is asked to
    places = [NamedSharding(mesh, along(axis, told)) for axis in axes]
    return lambda *args: divided(*map(jax.sharding.reshard, args, places))
