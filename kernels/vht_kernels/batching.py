"""`lanes`: a function of scalars, run for many lanes at once by one native kernel."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.ffi
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend import core as jex
from jax.interpreters import ad, batching, mlir

from vht_kernels import cache, cpu
from vht_kernels.errors import LoweringError
from vht_kernels.fingerprint import fingerprint
from vht_kernels.handler import handler_ir
from vht_kernels.lower import Argument, check, lower
from vht_kernels.uniform import inner_jaxprs

_PROGRAMS_KEPT = 256
_SHARED = object()

lanes_p = jex.Primitive("lanes")
lanes_p.multiple_results = True

_KERNELS: dict[str, Kernel] = {}
_NUMBERS = itertools.count()
_LOCK = threading.RLock()


@dataclasses.dataclass(eq=False)
class Kernel:
    """A compiled program, registered with XLA under `target`."""

    key: str
    target: str
    seconds: float  # to compile, or to load
    from_disk: bool


@dataclasses.dataclass(eq=False)
class Program:
    """A function of one lane, traced for given types; compiled when XLA first needs it."""

    closed: jex.ClosedJaxpr  # without constants: they are inputs
    arguments: tuple[Argument, ...]
    width: int
    reciprocals: bool
    name: str

    @functools.cached_property
    def kernel(self) -> Kernel:
        return _compile(self)


@dataclasses.dataclass(frozen=True)
class Report:
    """How a call of a `lanes` function was compiled."""

    equations: int
    width: int
    compile_seconds: float
    from_disk: bool


def lanes(
    fn: Callable[..., Any], *, in_axes: Any = 0, width: int | None = None, reciprocals: bool = False
) -> Callable[..., Any]:
    """Run a function of scalars for many lanes at once, as one native kernel.

    ``lanes(fn)`` behaves as ``jax.vmap(fn)``: same arguments, same results, usable inside `jax.jit` and `jax.vmap`. But `fn`
    is compiled as a whole, one lane in each slot of the processor's vector registers, over all cores.

    Args:
        fn: of pytrees whose leaves are scalars, or tables (rank-1 arrays, used only through `read`, `length`, `full_like`
            and `write`). It may use elementwise JAX, `lax.while_loop`, `cond`, `fori_loop` and `scan`, nested `jit` and
            `custom_jvp`.
        in_axes: 0 or None for each argument, or a pytree prefix of them, as in `jax.vmap`; None is shared by all lanes.
        width: lanes a step; by default as many as fit one vector register of this processor.
        reciprocals: let a loop divide by what it does not change through the reciprocal, taken once before the loop:
            several times faster than a division, and within 1.5 units in the last place of the quotient instead of 0.5.

    Returns:
        A function of the same arguments with a leading axis ``[lanes]``; its results have that axis too.
        It has no derivative of its own: wrap it in `jax.custom_jvp` and give the rule.

    Raises:
        LoweringError: on the first call, when `fn` does something that lanes cannot; names it and the source line.
        ValueError: if no argument has a lane axis, or their lengths differ.
    """
    programs: collections.OrderedDict[Any, tuple[Program, Any]] = collections.OrderedDict()

    @functools.wraps(fn)
    def batched(*args: Any) -> Any:
        flat, tree = jax.tree.flatten(args)
        flat = [jnp.asarray(x) for x in flat]
        shared = _shared(in_axes, args, tree)
        _check_axes(flat, shared)
        key = (
            tree,
            tuple(shared),
            tuple((x.shape[_lane_axes(s) :], x.dtype.name) for x, s in zip(flat, shared, strict=True)),
        )
        found = programs.get(key)
        consts: Sequence[Any] = ()
        if found is None:
            program, out_tree, consts = _trace(fn, tree, flat, shared, width, reciprocals)
            if not consts:  # captured values may belong to an outer trace: such a program is used once
                programs[key] = (program, out_tree)
                if len(programs) > _PROGRAMS_KEPT:
                    programs.popitem(last=False)
        else:
            program, out_tree = found
        results = lanes_p.bind(*consts, *flat, program=program)
        return jax.tree.unflatten(out_tree, results)

    def report(*args: Any) -> Report:
        """How the kernel for these arguments was compiled (compiles it if need be)."""
        flat, tree = jax.tree.flatten(args)
        flat = [jnp.asarray(x) for x in flat]
        program, _, _ = _trace(fn, tree, flat, _shared(in_axes, args, tree), width, reciprocals)
        kernel = program.kernel
        return Report(_count(program.closed.jaxpr), program.width, kernel.seconds, kernel.from_disk)

    batched.report = report  # type: ignore[attr-defined]
    return batched


def _lane_axes(shared: bool) -> int:
    return 0 if shared else 1


def _shared(in_axes: Any, args: tuple[Any, ...], tree: Any) -> list[bool]:
    prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    # None would be an empty subtree: give it a name of its own before broadcasting
    marked = jax.tree.map(lambda axis: _SHARED if axis is None else axis, prefix, is_leaf=lambda axis: axis is None)
    leaves = jax.tree.leaves(jax.tree.broadcast(marked, args))
    if len(leaves) != tree.num_leaves or any(axis != 0 and axis is not _SHARED for axis in leaves):
        raise ValueError(f"`in_axes` must hold 0 or None for each argument, but got {in_axes}.")
    return [axis is _SHARED for axis in leaves]


def _check_axes(flat: Sequence[jax.Array], shared: Sequence[bool]) -> None:
    counts = set()
    for x, same in zip(flat, shared, strict=True):
        rank = x.ndim - _lane_axes(same)
        if rank < 0:
            raise ValueError(
                "An argument of lanes is a scalar without a lane axis; give it `in_axes` None to share it."
            )
        if rank > 1:
            raise ValueError(f"A leaf is a scalar or a table (one axis) for each lane, but got shape {x.shape}.")
        if not same:
            counts.add(x.shape[0])
    if len(counts) != 1:
        found = ", ".join(map(str, sorted(counts))) or "none"
        raise ValueError(f"The arguments must agree on the number of lanes, but got {found}.")


def _trace(
    fn: Callable[..., Any],
    tree: Any,
    flat: Sequence[jax.Array],
    shared: Sequence[bool],
    width: int | None,
    reciprocals: bool,
) -> tuple[Program, Any, Sequence[Any]]:
    shapes = [
        jax.ShapeDtypeStruct(x.shape[_lane_axes(s) :], x.dtype, weak_type=False)
        for x, s in zip(flat, shared, strict=True)
    ]
    out_tree: Any = None

    def of_leaves(*leaves: Any) -> list[Any]:
        nonlocal out_tree
        results, out_tree = jax.tree.flatten(fn(*jax.tree.unflatten(tree, leaves)))
        return [jnp.asarray(r) for r in results]

    closed = jax.make_jaxpr(of_leaves)(*shapes)
    consts = closed.consts
    jaxpr = closed.jaxpr
    if consts:
        jaxpr = jaxpr.replace(
            constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars], debug_info=jaxpr.debug_info.with_unknown_names()
        )
    for x in consts:
        if jnp.ndim(x) > 1:
            raise LoweringError(f"the function captures an array of shape {jnp.shape(x)}; pass it as a table instead")
    arguments = [Argument(np.dtype(c.dtype), jnp.ndim(c) == 1, True) for c in consts]
    arguments += [Argument(np.dtype(x.dtype), len(x.shape) == 1, same) for x, same in zip(shapes, shared, strict=True)]
    check(jaxpr)
    if not jaxpr.outvars:
        raise ValueError("A function for lanes must return something.")
    name = getattr(fn, "__name__", "kernel")
    program = Program(jex.ClosedJaxpr(jaxpr, ()), tuple(arguments), width or _width(jaxpr), reciprocals, name)
    return program, out_tree, consts


def _width(jaxpr: jex.Jaxpr) -> int:
    """One vector register of the float type that does most of the work."""
    counts: collections.Counter[np.dtype] = collections.Counter()
    _count_types(jaxpr, counts, set())
    floats = [d for d in counts if d.kind == "f"]
    common = max(floats, key=lambda d: (counts[d], d.itemsize)) if floats else np.dtype(np.float64)
    return cpu.host().width(common)


def _count_types(jaxpr: jex.Jaxpr, counts: collections.Counter[np.dtype], seen: set[int]) -> None:
    if id(jaxpr) in seen:
        return
    seen.add(id(jaxpr))
    for eqn in jaxpr.eqns:
        avals: list[Any] = [v.aval for v in eqn.outvars]
        counts.update(np.dtype(aval.dtype) for aval in avals)
        for inner in inner_jaxprs(eqn):
            _count_types(inner, counts, seen)


def _count(jaxpr: jex.Jaxpr) -> int:
    """Equations of a program with all calls written out."""
    return sum(sum(_count(inner) for inner in inner_jaxprs(eqn)) or 1 for eqn in jaxpr.eqns)


# -------------------------------------------------------------------------------------------------------- compiling


def _compile(program: Program) -> Kernel:
    begin = time.perf_counter()
    settings = f"{cpu.host().key} width {program.width} reciprocals {program.reciprocals}"
    key = fingerprint(program.closed.jaxpr, program.arguments, settings)
    with _LOCK:
        found = _KERNELS.get(key)
        if found is not None:
            return found
        symbol = f"lanes_{key[:16]}"
        code, address, from_disk = cache.load(key), 0, False
        if code is not None:
            address, from_disk = cpu.load_object(code, f"{symbol}.handler"), True
        if not address:
            module = lower(program.closed, program.arguments, program.width, symbol, program.reciprocals)
            tables = [a.table for a in program.arguments]
            handler = handler_ir(symbol, program.width, tables, len(program.closed.jaxpr.outvars), cpu.family())
            code = cpu.compile_object(str(module), handler)
            cache.store(key, code)
            address = cpu.load_object(code, f"{symbol}.handler")
        target = f"{symbol}_{next(_NUMBERS)}"
        jax.ffi.register_ffi_target(target, _capsule(address), platform="cpu", api_version=1)
        kernel = Kernel(key, target, time.perf_counter() - begin, from_disk)
        _KERNELS[key] = kernel
        return kernel


def _capsule(address: int) -> Any:
    import ctypes

    return jax.ffi.pycapsule(ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(address))


# -------------------------------------------------------------------------------------------------------- the primitive


def _lane_count(avals: Sequence[Any], program: Program) -> int:
    return next(a.shape[0] for a, kind in zip(avals, program.arguments, strict=True) if not kind.shared)


def _abstract(*avals: Any, program: Program) -> list[Any]:
    count = _lane_count(avals, program)
    return [ShapedArray((count, *v.aval.shape), v.aval.dtype) for v in program.closed.jaxpr.outvars]


def _batch(args: Sequence[Any], axes: Sequence[int | None], *, program: Program) -> tuple[list[Any], list[int]]:
    """A further mapped axis joins the lane axis: every lane of every element is a lane."""
    size = next(x.shape[a] for x, a in zip(args, axes, strict=True) if a is not None)
    unmapped = [
        x if a is None else jax.lax.index_in_dim(x, 0, a, keepdims=False) for x, a in zip(args, axes, strict=True)
    ]
    count = _lane_count(unmapped, program)
    arguments, joined = [], []
    for x, axis, kind in zip(args, axes, program.arguments, strict=True):
        if axis is None and kind.shared:
            arguments.append(kind)
            joined.append(x)
            continue
        x = jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        if kind.shared:
            x = jnp.broadcast_to(jnp.expand_dims(x, 1), (size, count, *x.shape[1:]))
        arguments.append(dataclasses.replace(kind, shared=False))
        joined.append(x.reshape((size * count, *x.shape[2:])))
    program = _with_arguments(program, tuple(arguments))
    results = lanes_p.bind(*joined, program=program)
    return [r.reshape((size, count, *r.shape[1:])) for r in results], [0] * len(results)


@functools.lru_cache(maxsize=_PROGRAMS_KEPT)
def _with_arguments(program: Program, arguments: tuple[Argument, ...]) -> Program:
    return dataclasses.replace(program, arguments=arguments)


def _lower_for_cpu(ctx: Any, *operands: Any, program: Program) -> Any:
    rule = jax.ffi.ffi_lowering(program.kernel.target)
    return rule(ctx, *operands)


def _no_derivative(primals: Any, tangents: Any, *, program: Program) -> Any:
    raise TypeError(
        f"The kernel of `{program.name}` has no derivative of its own; wrap the function in `jax.custom_jvp` and give a rule."
    )


def _run(*args: Any, program: Program) -> list[Any]:
    return _jitted(program)(*args)


@functools.lru_cache(maxsize=_PROGRAMS_KEPT)
def _jitted(program: Program) -> Callable[..., Any]:
    return jax.jit(lambda *args: lanes_p.bind(*args, program=program))


lanes_p.def_impl(_run)
lanes_p.def_abstract_eval(_abstract)
batching.primitive_batchers[lanes_p] = _batch
mlir.register_lowering(lanes_p, _lower_for_cpu, platform="cpu")
ad.primitive_jvps[lanes_p] = _no_derivative
