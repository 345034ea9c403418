"""`lanes`: a function of scalars, run for many lanes at once by one native kernel."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.ffi
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray, Tracer
from jax.extend import core as jex
from jax.interpreters import ad, batching, mlir

from vht_kernels import cpu, driver, forks, meshes, nvidia
from vht_kernels.arguments import (
    HELD,
    arrays,
    check_arrays,
    check_in_axes,
    check_width,
    is_held,
    jax_settings,
    lane_axes,
    shared_leaves,
    static_kinds,
)
from vht_kernels.errors import LoweringError, unsupported
from vht_kernels.garbage import paused
from vht_kernels.lower import Argument, check
from vht_kernels.program import Program
from vht_kernels.uniform import inner_jaxprs

_PROGRAMS_KEPT = 256

lanes_p = jex.Primitive("lanes")
lanes_p.multiple_results = True
derivative_p = jex.Primitive("lanes_derivative")  # stands where the derivative of a kernel would, and refuses to be run
derivative_p.multiple_results = True

_LOCK = threading.RLock()


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """What tracing a function for arguments of some types gives."""

    program: Program
    out_tree: Any
    captured: tuple[
        jax.Array, ...
    ]  # values the function holds from outside: inputs of the program, before the arguments


@dataclasses.dataclass(frozen=True)
class Report:
    """How a call of a `lanes` function was compiled.

    Attributes:
        equations: of the program, with all calls written out.
        width: lanes a step of the processor's kernel; on a GPU 1.
        compile_seconds: to compile, or to load from disk; on a GPU without the driver's own compilation.
        from_disk: an earlier process compiled it.
        architecture: of the GPU, such as ``sm_90``; None for the processor.
        block: threads a block on the GPU, in cohorts large enough to fill it.
        registers: of 32 bits, a thread of the GPU.
        local_bytes: of memory a thread of the GPU uses beside registers: what spilled, and scratch tables.
    """

    equations: int
    width: int
    compile_seconds: float
    from_disk: bool
    architecture: str | None = None
    block: int | None = None
    registers: int | None = None
    local_bytes: int | None = None


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
        in_axes: 0 or None for each positional argument, or a pytree prefix of them, as in `jax.vmap`; None is shared by all
            lanes. Keyword arguments are each lane's own.
        width: lanes a step, from 1 to 1024; by default as many as fit one vector register of this processor.
        reciprocals: let a loop divide by what it does not change through the reciprocal, taken once before the loop:
            several times faster than a division, and within 1.5 units in the last place of the quotient instead of 0.5.
            At the ends of the range it is less exact: within 4.5 units for divisors beyond 2^1022 (float32: 2^126), whose
            reciprocal is subnormal; divisors up to 2^-1024 (2^-128), whose reciprocal is infinite, count as 0, as in XLA.

    Returns:
        A function of the same arguments with a leading axis ``[lanes]``; its results have that axis too.
        It has no derivative of its own: wrap it in `jax.custom_jvp` and give the rule.

    Raises:
        LoweringError: on the first call, when `fn` does something that lanes cannot; names it and the source line.
        RuntimeError: on a call in a process that was forked from one in which JAX had computed, and would hang.
        ValueError: for a wrong `width` or `in_axes`; on a call, if no argument has a lane axis, or their lengths differ.
    """
    check_width(width)
    check_in_axes(in_axes)
    made = _Lanes(fn, in_axes, width, reciprocals)

    @functools.wraps(fn)
    def batched(*args: Any, **kwargs: Any) -> Any:
        return made.run(args, kwargs)

    batched.report = made.report  # type: ignore[attr-defined]
    batched.ptx = made.ptx  # type: ignore[attr-defined]
    return batched


class _Lanes:
    """What `lanes` makes of a function, with what was traced of it; in another process nothing was yet."""

    def __init__(self, fn: Callable[..., Any], in_axes: Any, width: int | None, reciprocals: bool) -> None:
        self.given = fn, in_axes, width, reciprocals
        self.memo: dict[Any, Traced] = {}

    def __reduce__(self) -> Any:
        return _Lanes, self.given

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Traced, list[jax.Array]]:
        lost = forks.lost_threads()
        if lost is not None:
            raise RuntimeError(f"A kernel cannot be run: {lost}.")
        fn, in_axes, width, reciprocals = self.given
        flat, tree = jax.tree.flatten((args, kwargs))
        flat = arrays(flat)
        shared = shared_leaves(in_axes, args, kwargs) if in_axes != 0 else [False] * len(flat)
        check_arrays(flat, shared, args, kwargs)
        key = (
            *(tree, static_kinds(tree), jax_settings()),
            *((x.shape[lane_axes(s) :], x.dtype, x.weak_type) for x, s in zip(flat, shared, strict=True)),
        )
        try:
            found = self.memo.get(key)
        except TypeError:  # a static part that cannot be hashed
            return _trace(fn, tree, flat, shared, width, reciprocals), flat
        if found is None:
            found = _trace(fn, tree, flat, shared, width, reciprocals)
            # what belongs to a trace around this call is gone after it, and the program with it
            if not any(isinstance(c, Tracer) for c in found.captured):
                with _LOCK:
                    self.memo[key] = found
                    if len(self.memo) > _PROGRAMS_KEPT:
                        del self.memo[next(iter(self.memo))]
        return found, flat

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        traced, flat = self.prepare(args, kwargs)
        results = lanes_p.bind(*meshes.joined((*traced.captured, *flat)), program=traced.program)
        return jax.tree.unflatten(traced.out_tree, results)

    def report(self, /, *args: Any, **kwargs: Any) -> Report:
        """How the kernel for these arguments was compiled (compiles it if need be), for where JAX would run it."""
        program = self.prepare(args, kwargs)[0].program
        if _default_platform() in ("gpu", "cuda"):
            found = program.device_kernel
            registers, local = driver.kernel_usage(found.handle, found.ordinal)
            return Report(
                *(program.equations, 1, found.seconds, found.from_disk),
                *(found.architecture, nvidia.BLOCK, registers, local),
            )
        kernel = program.kernel
        return Report(program.equations, program.width, kernel.seconds, kernel.from_disk)

    def ptx(self, /, *args: Any, architecture: str = "sm_90", **kwargs: Any) -> str:
        """The kernel for these arguments and an architecture of NVIDIA's, as PTX; no GPU is needed."""
        return self.prepare(args, kwargs)[0].program.ptx(architecture)


@paused()
def _trace(
    fn: Callable[..., Any],
    tree: Any,
    flat: Sequence[jax.Array],
    shared: Sequence[bool],
    width: int | None,
    reciprocals: bool,
) -> Traced:
    shapes: list[Any] = [
        jax.ShapeDtypeStruct(x.shape[lane_axes(s) :], x.dtype, weak_type=x.weak_type)
        for x, s in zip(flat, shared, strict=True)
    ]
    out_tree: Any = None

    def of_leaves(*leaves: Any) -> list[Any]:
        nonlocal out_tree
        args, kwargs = jax.tree.unflatten(tree, leaves)
        results, out_tree = jax.tree.flatten(fn(*args, **kwargs))
        return [jnp.asarray(r) for r in results]

    with jax.disable_jit(False):  # a loop must stay a loop
        try:
            closed = jax.make_jaxpr(of_leaves)(*shapes)
        except TypeError:
            types = [jax.typeof(x) for x in flat]
            if not any(map(meshes.varying, types)):
                raise
            # what the function captures may differ between devices, and meet an argument in a branch or loop
            marked = [
                ShapedArray(x.shape, x.dtype, weak_type=x.weak_type, **meshes.computed_from([t]))
                for x, t in zip(shapes, types, strict=True)
            ]
            closed = jax.make_jaxpr(of_leaves)(*marked)
    captured = arrays(closed.consts)
    jaxpr = closed.jaxpr
    if captured:
        jaxpr = jaxpr.replace(
            constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars], debug_info=jaxpr.debug_info.with_unknown_names()
        )
    for x in captured:
        if x.ndim > 1:
            raise LoweringError(f"the function captures an array of shape {x.shape}; pass it as a table instead")
        if not is_held(x.dtype):
            raise LoweringError(f"{HELD}, but the function captures {x.dtype}")
    arguments = [Argument(np.dtype(x.dtype), x.ndim == 1, True) for x in captured]
    arguments += [Argument(np.dtype(x.dtype), len(x.shape) == 1, same) for x, same in zip(shapes, shared, strict=True)]
    check(jaxpr)
    _check_types(jaxpr, set())
    if not jaxpr.outvars:
        raise ValueError("A function for lanes must return something.")
    name = getattr(fn, "__name__", "kernel")
    program = Program(jex.ClosedJaxpr(jaxpr, ()), tuple(arguments), width or _width(jaxpr), reciprocals, name)
    return Traced(program, out_tree, tuple(captured))


def _check_types(jaxpr: jex.Jaxpr, seen: set[int]) -> None:
    if id(jaxpr) in seen:
        return
    seen.add(id(jaxpr))
    for eqn in jaxpr.eqns:
        for inner in inner_jaxprs(eqn):
            _check_types(inner, seen)
        avals: list[Any] = [v.aval for v in eqn.outvars]
        for aval in avals:
            if not is_held(aval.dtype):
                raise unsupported(eqn, f"{HELD}, but this gives {aval.dtype}")


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


# -------------------------------------------------------------------------------------------------------- the primitive


def _lane_count(avals: Sequence[Any], program: Program) -> int:
    return next(a.shape[0] for a, kind in zip(avals, program.arguments, strict=True) if not kind.shared)


def _abstract(*avals: Any, program: Program) -> list[Any]:
    count = _lane_count(avals, program)
    outs: list[Any] = [v.aval for v in program.closed.jaxpr.outvars]
    divided = meshes.dividing(avals, [None if kind.shared else 0 for kind in program.arguments])
    place = meshes.computed_from(avals, (divided,))
    return [ShapedArray((count, *out.shape), out.dtype, weak_type=out.weak_type, **place) for out in outs]


def _batch(args: Sequence[Any], axes: Sequence[int | None], *, program: Program) -> tuple[list[Any], list[int]]:
    """A further mapped axis joins the lane axis: every lane of every element is a lane."""
    size = next(x.shape[a] for x, a in zip(args, axes, strict=True) if a is not None)
    count = next(
        x.shape[1 if axis == 0 else 0]
        for x, axis, kind in zip(args, axes, program.arguments, strict=True)
        if not kind.shared
    )
    avals: list[Any] = [jax.typeof(x) for x in args]
    along = [None if kind.shared else 1 if a == 0 else 0 for a, kind in zip(axes, program.arguments, strict=True)]
    divided = meshes.dividing(avals, axes), meshes.dividing(avals, along)

    def reshaped(x: Any, shape: tuple[int, ...], by: tuple[Any, ...]) -> Any:
        # JAX asks how the result is divided where its types tell that the operand is
        return lax.reshape(x, shape, out_sharding=meshes.sharding(avals, by) if any(divided) else None)

    arguments, merged = [], []
    for x, axis, kind in zip(args, axes, program.arguments, strict=True):
        if axis is None and kind.shared:
            arguments.append(kind)
            merged.append(x)
            continue
        x = jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        if kind.shared:
            x = jnp.broadcast_to(jnp.expand_dims(x, 1), (size, count, *x.shape[1:]))
        arguments.append(dataclasses.replace(kind, shared=False))
        merged.append(reshaped(x, (size * count, *x.shape[2:]), ()))
    program = _with_arguments(program, tuple(arguments))
    results = lanes_p.bind(*meshes.joined(merged), program=program)
    return [reshaped(r, (size, count, *r.shape[1:]), divided) for r in results], [0] * len(results)


@functools.lru_cache(maxsize=_PROGRAMS_KEPT)
def _with_arguments(program: Program, arguments: tuple[Argument, ...]) -> Program:
    return dataclasses.replace(program, arguments=arguments)


def _lower(ctx: Any, *operands: Any, program: Program, call: Callable[..., Any]) -> Any:
    """Lower for one device, or for each device of a mesh, which then runs the kernel for its share of the lanes."""
    axes = [None if kind.shared else 0 for kind in program.arguments]
    names = meshes.sharing(ctx.avals_in, axes, _lane_count(ctx.avals_in, program))
    if not names:
        return call(ctx, *operands, program=program)
    each = meshes.on_each_device(lambda *args: lanes_p.bind(*args, program=program), ctx.avals_in, axes, names)
    return mlir.lower_fun(each, multiple_results=True)(ctx, *operands)


def _lower_for_cpu(ctx: Any, *operands: Any, program: Program) -> Any:
    rule = jax.ffi.ffi_lowering(program.kernel.target)
    return rule(ctx, *operands)


def _lower_for_gpu(ctx: Any, *operands: Any, program: Program) -> Any:
    kernel = program.device_kernel
    size = program.workspace_bytes(kernel.workspace, [aval.shape for aval in ctx.avals_in])
    outs = [*ctx.avals_out, ShapedArray((size,), np.dtype(np.uint8))]
    # minor to major: the lanes of a table lie side by side
    inputs = [(0, 1) if aval.ndim == 2 else tuple(reversed(range(aval.ndim))) for aval in ctx.avals_in]
    results = [(0, 1) if aval.ndim == 2 else (0,) for aval in outs]
    rule = jax.ffi.ffi_lowering(kernel.target, operand_layouts=inputs, result_layouts=results)
    return rule(ctx.replace(avals_out=outs), *operands)[:-1]


def _default_platform() -> str:
    """Where JAX computes what nothing else binds to a device."""
    device: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else getattr(device, "platform", device)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, program: Program) -> tuple[list[Any], list[Any]]:
    results = lanes_p.bind(*primals, program=program)
    floats = [r for r in results if jnp.issubdtype(r.dtype, jnp.floating)]
    used = [t for t in tangents if type(t) is not ad.Zero]
    # whether the derivative is wanted shows later: reverse mode never asks for it behind a `stop_gradient`
    shapes = tuple((r.shape, r.dtype, jax.typeof(r).sharding.spec) for r in floats)
    given = iter(derivative_p.bind(*used, name=program.name, shapes=shapes))
    outs = [
        next(given) if jnp.issubdtype(r.dtype, jnp.floating) else ad.Zero(jax.typeof(r).to_tangent_aval())
        for r in results
    ]
    return results, outs


def _no_derivative(*_: Any, name: str, **__: Any) -> Any:
    raise TypeError(
        f"The kernel of `{name}` has no derivative of its own; wrap the function in `jax.custom_jvp` and give a rule, "
        "or put `jax.lax.stop_gradient` around its arguments."
    )


def _batch_derivative(args: Sequence[Any], axes: Sequence[int | None], *, name: str, shapes: Any) -> Any:
    size = next(x.shape[a] for x, a in zip(args, axes, strict=True) if a is not None)
    added = meshes.dividing([jax.typeof(x) for x in args], axes)
    shapes = tuple(((size, *shape), dtype, (added, *divided)) for shape, dtype, divided in shapes)
    outs = derivative_p.bind(*meshes.joined(args), name=name, shapes=shapes)
    return outs, [0] * len(outs)


def _run(*args: Any, program: Program) -> list[Any]:
    config: Any = jax.config
    refused = [("nan", jnp.isnan)] * config.jax_debug_nans + [("inf", jnp.isinf)] * config.jax_debug_infs
    if not (refused or config.jax_disable_jit):
        return _jitted(program)(*args)
    # JAX would look for the culprit by running the kernel operation by operation, which cannot be
    with jax.disable_jit(False), jax.debug_nans(False), jax.debug_infs(False):
        results = _jitted(program)(*args)
        floats = [r for r in results if jnp.issubdtype(r.dtype, jnp.floating)]
        for name, is_refused in refused:
            if any(is_refused(r).any() for r in floats):
                raise FloatingPointError(f"Invalid value ({name}) encountered in the kernel of `{program.name}`.")
    return results


@functools.lru_cache(maxsize=_PROGRAMS_KEPT)
def _jitted(program: Program) -> Callable[..., Any]:
    return jax.jit(lambda *args: lanes_p.bind(*args, program=program))


lanes_p.def_impl(_run)
lanes_p.def_abstract_eval(_abstract)
batching.primitive_batchers[lanes_p] = _batch
mlir.register_lowering(lanes_p, functools.partial(_lower, call=_lower_for_cpu), platform="cpu")
mlir.register_lowering(lanes_p, functools.partial(_lower, call=_lower_for_gpu), platform="cuda")
ad.primitive_jvps[lanes_p] = _jvp
derivative_p.def_impl(_no_derivative)
derivative_p.def_abstract_eval(
    lambda *avals, name, shapes: [
        ShapedArray(shape, dtype, **meshes.computed_from(avals, divided)) for shape, dtype, divided in shapes
    ]
)
batching.primitive_batchers[derivative_p] = _batch_derivative
ad.primitive_transposes[derivative_p] = _no_derivative
mlir.register_lowering(derivative_p, _no_derivative)
