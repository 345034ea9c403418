"""Functions made of `lanes` kernels, with each kernel's PTX run on the processor in the kernel's place."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex
from ptx_in_c import Module
from vht_kernels import nvidia
from vht_kernels.program import Program, _workspace
from vht_kernels.uniform import inner_jaxprs, nested_jaxpr


def through_ptx(fn, *args, threads=nvidia.SMALL_BLOCK, architecture="sm_90"):
    """``fn(*args)``, equation by equation under JAX, but for kernels, which run as PTX in blocks of some threads."""
    closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    leaves = [np.asarray(a) for a in jax.tree.leaves(args)]
    results = _evaluate(closed.jaxpr, closed.consts, leaves, threads, architecture)
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _evaluate(jaxpr: Any, consts: Any, args: Any, threads: int, architecture: str) -> list[Any]:
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def value(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        values = [value(a) for a in eqn.invars]
        inner = nested_jaxpr(eqn)
        if eqn.primitive.name == "lanes":
            results = run_program(eqn.params["program"], [np.asarray(v) for v in values], threads, architecture)
        elif inner is not None:
            results = _evaluate(inner.jaxpr, inner.consts, values, threads, architecture)
        else:
            assert not any(_holds_kernels(j) for j in inner_jaxprs(eqn)), f"a kernel inside `{eqn.primitive}`"
            results = _one(jaxpr, eqn, env)
        env.update(zip(eqn.outvars, results, strict=True))
    return [value(a) for a in jaxpr.outvars]


def _one(jaxpr: Any, eqn: Any, env: dict[Any, Any]) -> list[Any]:
    """An equation's results, by JAX."""
    variables = list(dict.fromkeys(a for a in eqn.invars if not hasattr(a, "val")))
    unnamed = jaxpr.debug_info.with_unknown_names()
    alone = jaxpr.replace(constvars=[], invars=variables, outvars=eqn.outvars, eqns=[eqn], debug_info=unnamed)
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, ()))(*(env[v] for v in variables))


def _holds_kernels(jaxpr: Any) -> bool:
    return any(e.primitive.name == "lanes" or any(map(_holds_kernels, inner_jaxprs(e))) for e in jaxpr.eqns)


@functools.cache
def module_of(text: str) -> Module:
    return Module(text)


def run_program(
    program: Program, inputs: list[np.ndarray], threads: int, architecture: str = "sm_90"
) -> list[np.ndarray]:
    """The kernel's results, from buffers as XLA hands them to it on a GPU.

    Args:
        program: whose PTX is run.
        inputs: by its arguments; ``[lanes]``, ``[lanes, entries]``, or without the lane axis where it is shared.
        threads: a block.
        architecture: the PTX is for.
    """
    text = program.ptx(architecture)
    module = module_of(text)
    (kernel,) = module.kernels
    lanes = next(len(x) for x, a in zip(inputs, program.arguments, strict=True) if not a.shared)
    outs = []
    for v in program.closed.jaxpr.outvars:
        aval: Any = v.aval
        # garbage at first: what no thread writes is seen
        garbage = np.full(lanes * int(np.prod(aval.shape)) * aval.dtype.itemsize, 0xCB, np.uint8)
        outs.append(garbage.view(aval.dtype).reshape(*aval.shape, lanes))
    size = program.workspace_bytes(_workspace(text), [x.shape for x in inputs])
    lengths = [x.shape[-1] for x, a in zip(inputs, program.arguments, strict=True) if a.table]
    buffers = [np.array(x.T if x.ndim == 2 else x, order="C") for x in inputs]  # a table's lanes lie side by side
    for x in buffers:
        x.flags.writeable = False
    workspace = np.full(-(-size // 8), 0xCBCBCBCBCBCBCBCB, np.uint64)
    if lanes:
        module.run(kernel, -(-lanes // threads), threads, [lanes, *lengths, *buffers, *outs, workspace])
    for out in outs:
        if out.dtype == np.bool_:
            assert set(np.unique(out.view(np.uint8))) <= {0, 1}
    return [out.T if out.ndim == 2 else out for out in outs]
