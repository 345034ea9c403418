"""LLVM values and where to put them: one lane each, uniform or per lane, hoisted out of loops and never computed twice.

The emitter knows scopes (the group loop, loops, branches), not JAX. A scope's parent block stays open while the scope is
being written, so an instruction that depends only on what the parent knows is written there: loop-invariant code leaves
the loop, and the same operation on the same operands is written once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

I1 = ir.IntType(1)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
PTR = ir.PointerType()


def scalar_type(dtype: np.dtype) -> ir.Type:
    """The LLVM type of one value in a register (bool is i1)."""
    if dtype == np.bool_:
        return I1
    if dtype.kind in "iu":
        return ir.IntType(8 * dtype.itemsize)
    if dtype == np.float64:
        return ir.DoubleType()
    if dtype == np.float32:
        return ir.FloatType()
    raise TypeError(f"lanes holds float64, float32, integers and bool, but got {dtype}.")


def memory_type(dtype: np.dtype) -> ir.Type:
    """The LLVM type of one value in memory (bool takes a byte)."""
    return ir.IntType(8) if dtype == np.bool_ else scalar_type(dtype)


@dataclasses.dataclass(eq=False, slots=True)
class Value:
    """A scalar of the program: one register, holding one number for all lanes (`uniform`) or one each."""

    ir: ir.Value
    dtype: np.dtype
    uniform: bool
    level: int  # depth of the scope it was written in
    serial: int = dataclasses.field(default_factory=itertools.count().__next__)


@dataclasses.dataclass(eq=False, slots=True)
class Scope:
    """A stretch of code that is entered as a whole; `builder` stands at its current end."""

    builder: ir.IRBuilder
    loop: bool
    mask: ir.Value | None  # lanes that take part; None means all
    known: dict[Hashable, Value] = dataclasses.field(default_factory=dict)


class Emitter:
    """Writes one function, `width` lanes at a time (0: a thread of a GPU, which is one lane, of scalar types)."""

    def __init__(self, module: ir.Module, width: int, reciprocals: bool = False) -> None:
        self.module = module
        self.width = width
        self.reciprocals = reciprocals
        self.scopes: list[Scope] = []
        self.choices: dict[int, tuple[Value, Value, Value]] = {}  # what a select chose among, by its serial number
        self.multiples: dict[int, tuple[float, Value]] = {}  # of a product with a constant: that and the rest

    # types and constants
    def lanes_of(self, ty: ir.Type) -> ir.Type:
        return ir.VectorType(ty, self.width) if self.width else ty

    def constant(self, value: Any, dtype: np.dtype) -> Value:
        number: Any = (
            bool(value) if dtype == np.bool_ else _wrapped(int(value), dtype) if dtype.kind in "iu" else float(value)
        )
        if dtype == np.float32:
            with np.errstate(over="ignore"):
                number = float(np.float32(value))
        return Value(ir.Constant(scalar_type(dtype), number), dtype, True, 0)

    def spread(self, value: Value, depth: int | None = None) -> ir.Value:
        """The value as one number per lane, for use in the scope at a depth (by default in the innermost)."""
        if not value.uniform or not self.width:
            return value.ir
        if isinstance(value.ir, ir.Constant):
            return ir.Constant(self.lanes_of(value.ir.type), [value.ir.constant] * self.width)
        return self.op("splat", [value], value.dtype, self._splat, uniform_in=True, uniform_out=False, depth=depth).ir

    def _splat(self, builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
        vector = ir.VectorType(scalar.type, self.width)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.width), None)
        return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    # scopes
    @property
    def scope(self) -> Scope:
        return self.scopes[-1]

    @property
    def builder(self) -> ir.IRBuilder:
        return self.scopes[-1].builder

    @property
    def level(self) -> int:
        return len(self.scopes) - 1

    def block(self, name: str) -> ir.Block:
        return self.builder.append_basic_block(name)

    def enter(self, block: ir.Block, *, loop: bool, mask: ir.Value | None) -> Scope:
        scope = Scope(ir.IRBuilder(block), loop, mask)
        self.scopes.append(scope)
        return scope

    def leave(self) -> Scope:
        return self.scopes.pop()

    # operations
    def op(
        self,
        key: Hashable,
        operands: Sequence[Value],
        dtype: np.dtype,
        emit: Callable[..., ir.Value],
        *,
        uniform_in: bool | None = None,
        uniform_out: bool | None = None,
        depth: int | None = None,
    ) -> Value:
        """Write `emit(builder, *operands)` in the outermost place it may stand, or return what an equal call wrote.

        Args:
            key: names the operation with all its settings; equal key and equal operands mean equal results.
            operands: its values; if they are not all uniform, the uniform ones are spread over the lanes.
            dtype: of the result.
            emit: writes the instructions, without making blocks, free of side effects.
            uniform_in: leave operands as they are if True.
            uniform_out: whether the result is uniform, when it is not so exactly if all operands are.
            depth: of the scope that uses the result, by default the innermost: what only a deeper one knows is out of reach.
        """
        uniform = all(v.uniform for v in operands)
        level = max((v.level for v in operands), default=0)
        full_key = (key, dtype, *(_identity(v) for v in operands))
        for scope in self.scopes[level : (self.level if depth is None else depth) + 1][::-1]:
            found = scope.known.get(full_key)
            if found is not None:
                return found
        here = level if self._leaves_loop(level) else self.level
        registers = [v.ir if uniform or uniform_in else self.spread(v, here) for v in operands]
        result = Value(
            emit(self.scopes[here].builder, *registers), dtype, uniform if uniform_out is None else uniform_out, here
        )
        if isinstance(result.ir, ir.Constant):
            result.level = 0
        self.scopes[here].known[full_key] = result
        return result

    def _leaves_loop(self, level: int) -> bool:
        return any(scope.loop for scope in self.scopes[level + 1 :])

    def is_invariant(self, value: Value) -> bool:
        """Whether a value stays the same in every turn of the innermost loop."""
        return self._leaves_loop(value.level)

    # masks
    def any(self, mask: ir.Value) -> ir.Value:
        bits = ir.IntType(self.width)
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(mask, bits), ir.Constant(bits, 0))

    def masked(self, condition: ir.Value) -> ir.Value:
        """The lanes of the current scope for which a per-lane condition holds."""
        mask = self.scope.mask
        return condition if mask is None else self.builder.and_(mask, condition)

    def all_lanes(self) -> ir.Value:
        return ir.Constant(self.lanes_of(I1), [True] * self.width if self.width else True)

    def intrinsic(self, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
        """Declare (once) a function of the module, LLVM intrinsics among them."""
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(result, arguments), name)
        return found


def _wrapped(number: int, dtype: np.dtype) -> int:
    bits = 8 * dtype.itemsize
    number %= 1 << bits
    return number - (1 << bits) if dtype.kind == "i" and number >> (bits - 1) else number


def _identity(value: Value) -> Hashable:
    # Equal constants are one value, however often they were made; the bits tell 0.0 from -0.0 and one NaN from another
    if isinstance(value.ir, ir.Constant):
        return (value.dtype.str, np.array(value.ir.constant, value.dtype).tobytes())
    return value.serial


def suffix(ty: ir.Type) -> str:
    """How LLVM spells a type in an intrinsic's name: ``f64``, ``v8f32``, ``i32``."""
    if isinstance(ty, ir.VectorType):
        return f"v{ty.count}{suffix(ty.element)}"
    if isinstance(ty, ir.DoubleType):
        return "f64"
    if isinstance(ty, ir.FloatType):
        return "f32"
    return str(ty)
