"""From a jaxpr of scalars and tables to the LLVM function that runs it.

For a processor it is ``i32 NAME(ptr buffers, ptr lengths, i64 lanes, i64 first, i64 last)``: buffers of all inputs, then all
outputs; the length of every input's table; how many lanes there are; which groups of `width` lanes to run. It returns 0, or
`OUT_OF_MEMORY`.

For a GPU it is the kernel ``void NAME(i64 lanes, i64 length..., ptr input..., ptr output..., ptr workspace)`` of one thread
a lane: one length for every input that is a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core as jex
from llvmlite import ir

from vht_kernels import control
from vht_kernels.emitter import I32, I64, PTR, Emitter, Value
from vht_kernels.errors import LoweringError, unsupported
from vht_kernels.loops import INDEX
from vht_kernels.memory import Extent, Memory
from vht_kernels.order import ordered
from vht_kernels.rules import RULES, convert
from vht_kernels.uniform import Uniform, inner_jaxprs, nested_jaxpr
from vht_kernels.versions import Operand, Table


@dataclasses.dataclass(frozen=True)
class Argument:
    """One input of the kernel: a scalar or a table, its own for each lane or shared by all."""

    dtype: np.dtype
    table: bool
    shared: bool


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A kernel in LLVM IR.

    Attributes:
        module: holds it.
        workspace: tables that a GPU's kernel wants memory for (`workspace_bytes`).
    """

    module: ir.Module
    workspace: tuple[Extent, ...]


def lower(
    closed: jex.ClosedJaxpr, arguments: Sequence[Argument], width: int, name: str, reciprocals: bool = False
) -> Lowered:
    """Write a kernel.

    Args:
        closed: the function of one lane, without constants.
        arguments: one for each of its inputs.
        width: lanes a step; 0 writes a GPU's kernel.
        name: of the function.
        reciprocals: divide by what a loop does not change through its reciprocal.

    Raises:
        LoweringError: if the jaxpr holds something that lanes cannot do.
    """
    if closed.consts:
        raise LoweringError("constants must be inputs")  # a mistake of the caller, never of a user
    module = ir.Module(name=name)
    e = Emitter(module, width, reciprocals)
    entry = (_entry_of_groups if width else _entry_of_thread)(e, name, arguments, len(closed.jaxpr.outvars))
    frame = e.builder

    header, before, body, done = e.block("groups"), e.block("storages"), e.block("group"), e.block("done")
    e.enter(header, loop=bool(width), mask=None)
    group = e.builder.phi(I64) if width else entry.first
    more = e.builder.icmp_signed("<", group, entry.last)
    start = e.builder.mul(group, ir.Constant(I64, width)) if width else group
    memory = Memory(e, Value(entry.lanes, INDEX, True, 0), Value(start, INDEX, True, e.level))
    memory.nothing = entry.workspace
    e.enter(body, loop=False, mask=memory.alive)
    inputs = [_input(memory, i, a, entry) for i, a in enumerate(arguments)]
    results = _Walk(e, memory).jaxpr(closed.jaxpr, inputs)
    for variable, result, out in zip(closed.jaxpr.outvars, results, entry.outs, strict=True):
        if isinstance(result, Value):
            memory.store(convert(e, result, np.dtype(variable.aval.dtype)), out)
        else:
            memory.versions.used(result, None)
    storages = ir.IRBuilder(before)
    allocated = memory.place(results, entry.outs, storages, entry.workspace)
    storages.branch(body)

    if width:
        group.add_incoming(entry.first, frame.block)
        group.add_incoming(e.builder.add(group, ir.Constant(I64, 1)), e.builder.block)
    e.builder.branch(header if width else done)
    e.leave()
    e.builder.cbranch(more, before, done)
    e.leave()
    frame.branch(header)
    frame.position_at_end(done)
    if allocated is not None:
        memory.free(allocated)
    if width:
        frame.ret(ir.Constant(I32, 0))
    else:
        frame.ret_void()
    e.leave()
    return Lowered(module, memory.workspace)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What the function is given.

    Attributes:
        bases: where each input lies.
        sizes: the length of each input that is a table.
        outs: where each output lies.
        lanes: how many there are.
        first: the first group of lanes to run (a GPU: the thread's only lane).
        last: the group (the lane) to stop before.
        workspace: of a GPU.
    """

    bases: list[ir.Value]
    sizes: list[ir.Value | None]
    outs: list[ir.Value]
    lanes: ir.Value
    first: ir.Value
    last: ir.Value
    workspace: ir.Value | None = None


def _entry_of_groups(e: Emitter, name: str, arguments: Sequence[Argument], results: int) -> _Entry:
    function = ir.Function(e.module, ir.FunctionType(I32, [PTR, PTR, I64, I64, I64]), name)
    buffers, lengths, lanes, first, last = function.args
    frame = e.enter(function.append_basic_block("entry"), loop=False, mask=None).builder

    def entry(array: ir.Value, index: int, ty: ir.Type) -> ir.Value:
        return frame.load(frame.gep(array, [ir.Constant(I64, index)], source_etype=ty), typ=ty)

    bases = [entry(buffers, i, PTR) for i in range(len(arguments))]
    outs = [entry(buffers, len(arguments) + i, PTR) for i in range(results)]
    sizes = [entry(lengths, i, I64) if a.table else None for i, a in enumerate(arguments)]
    return _Entry(bases, sizes, outs, lanes, first, last)


def _entry_of_thread(e: Emitter, name: str, arguments: Sequence[Argument], results: int) -> _Entry:
    tables = sum(a.table for a in arguments)
    pointers = [PTR] * (len(arguments) + results + 1)
    function = ir.Function(e.module, ir.FunctionType(ir.VoidType(), [I64] * (1 + tables) + pointers), name)
    function.calling_convention = "ptx_kernel"
    lanes, *rest = function.args
    lengths, rest = iter(rest[:tables]), rest[tables:]
    for argument in rest:
        argument.add_attribute("noalias")  # XLA hands over buffers of their own
    frame = e.enter(function.append_basic_block("entry"), loop=False, mask=None).builder

    def special(register: str) -> ir.Value:
        number = frame.call(e.intrinsic(f"llvm.nvvm.read.ptx.sreg.{register}", I32, []), [])
        return frame.zext(number, I64)

    thread = frame.add(frame.mul(special("ctaid.x"), special("ntid.x")), special("tid.x"))
    sizes = [next(lengths) if a.table else None for a in arguments]
    bases, outs = rest[: len(arguments)], rest[len(arguments) : -1]
    return _Entry(bases, sizes, outs, lanes, thread, lanes, rest[-1])


def _input(memory: Memory, number: int, a: Argument, entry: _Entry) -> Operand:
    base, size = entry.bases[number], entry.sizes[number]
    if size is not None:
        return memory.input_table(number, base, a.dtype, Value(size, INDEX, True, 0), a.shared)
    return memory.load_shared(base, a.dtype) if a.shared else memory.load(base, a.dtype)


# ---------------------------------------------------------------------------------------------------- the walk


class _Walk:
    """Equation by equation, calls written out."""

    def __init__(self, e: Emitter, memory: Memory) -> None:
        self.e, self.memory, self.uniform = e, memory, Uniform()

    def jaxpr(self, jaxpr: jex.Jaxpr, inputs: Sequence[Operand]) -> list[Operand]:
        """Write a jaxpr's equations."""
        env: dict[Any, Operand] = dict(zip([*jaxpr.constvars, *jaxpr.invars], inputs, strict=True))

        def value_of(atom: Any) -> Operand:
            if isinstance(atom, jex.Literal):
                aval: Any = atom.aval
                return self.e.constant(atom.val, np.dtype(aval.dtype))
            return env[atom]

        def invariant(variable: Any) -> bool:
            value = env[variable]
            return isinstance(value, Value) and self.e.is_invariant(value)

        for eqn in jaxpr.eqns if self.e.width else ordered(jaxpr, invariant):
            results = self._equation(eqn, [value_of(a) for a in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return [value_of(a) for a in jaxpr.outvars]

    def closed(self, closed: jex.ClosedJaxpr, inputs: Sequence[Operand]) -> list[Operand]:
        """Write a jaxpr that brings its constants."""
        return self.jaxpr(closed.jaxpr, [*(self._constant(np.asarray(c)) for c in closed.consts), *inputs])

    def _constant(self, value: np.ndarray) -> Operand:
        if value.ndim > 1:
            raise LoweringError(f"the function captures an array of shape {value.shape}; pass it as a table instead")
        return self.memory.constant_table(value) if value.ndim else self.e.constant(value, value.dtype)

    def _equation(self, eqn: Any, args: list[Operand]) -> Sequence[Operand]:
        structured = _STRUCTURED.get(eqn.primitive.name)
        if structured is not None:
            return structured(self, eqn, args)
        inner = nested_jaxpr(eqn)
        if inner is not None:
            return self.closed(inner, args)
        if len(eqn.outvars) > 1:
            return args  # optimization_barrier and device_put of several values
        rule = RULES[eqn.primitive.name]  # `check` has seen to it
        try:
            return [rule.lower(self.e, eqn, [a for a in args if isinstance(a, Value)])]
        except (TypeError, KeyError) as error:
            raise unsupported(eqn, str(error)) from error


def _read(walk: _Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    table, index = args
    assert isinstance(table, Table) and isinstance(index, Value)
    walk.memory.versions.used(table, eqn)
    return [walk.memory.read(table, index)]


def _length(walk: _Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    (table,) = args
    assert isinstance(table, Table)
    return [convert(walk.e, table.length, np.dtype(np.int32))]


def _full_like(walk: _Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    like, value = args
    assert isinstance(like, Table) and isinstance(value, Value)
    size = walk.memory.multiple(like.length, eqn.params["repeat"])
    return [walk.memory.fill(walk.memory.make(size, value.dtype), value)]


def _scratch(walk: _Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    (value,) = args
    assert isinstance(value, Value)
    size = walk.e.constant(eqn.params["size"], INDEX)
    return [walk.memory.fill(walk.memory.make(size, value.dtype, scratch=True), value)]


def _write(walk: _Walk, eqn: Any, args: list[Operand]) -> list[Operand]:
    table, index, value = args
    assert isinstance(table, Table) and isinstance(index, Value) and isinstance(value, Value)
    if table.storage is None:
        raise unsupported(eqn, "an input is not written to; make a table with `full_like`")
    after = walk.memory.versions.written(table, eqn)
    walk.memory.write(table, index, value)
    return [after]


_STRUCTURED: dict[str, Callable[[Any, Any, list[Operand]], list[Operand]]] = {
    "while": control.lower_while,
    "scan": control.lower_scan,
    "cond": control.lower_cond,
    "table_read": _read,
    "table_length": _length,
    "table_full_like": _full_like,
    "table_scratch": _scratch,
    "table_write": _write,
}


# ---------------------------------------------------------------------------------------------------- what is known

_ARRAY_MESSAGE = (
    "inside lanes every value is a scalar; arrays are tables, used through read, write, length and full_like (jnp.select and "
    "jnp.piecewise make arrays, jnp.where does not; jax.jacfwd, jax.jacrev and the reverse mode of a loop do, jax.jvp does not)"
)


def check(jaxpr: jex.Jaxpr) -> None:
    """Look for what lanes has no rule for, before anything is compiled.

    Raises:
        LoweringError: names the primitive and the line of the user's program.
    """
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _STRUCTURED or nested_jaxpr(eqn) is not None:
            for part in inner_jaxprs(eqn):
                check(part)
            continue
        avals: list[Any] = [v.aval for v in (*eqn.invars, *eqn.outvars)]
        arrays = any(aval.shape != () for aval in avals)
        if arrays or eqn.primitive.name not in RULES:
            raise unsupported(eqn, _ARRAY_MESSAGE if arrays else "there is no rule for this primitive")
