"""Maths on LLVM values that reads like maths: operators, constants, choices and branches on one lane or a vector of them.

Every operation rounds once, to nearest; nothing is fused, reordered or assumed finite except where `fma` is written, so
the tricks that recover rounding errors (`two_sum`, `two_product`) hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from vht_kernels.emitter import suffix

Number = float | int


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Lane:
    """A number (or truth) per lane. Operators take another one or a Python number; comparisons are false for NaN."""

    maths: Maths
    ir: Any

    @property
    def is_float(self) -> bool:
        return isinstance(self.maths.element(self.ir.type), ir.DoubleType | ir.FloatType)

    def __add__(self, other: Lane | Number) -> Lane:
        return self.maths.binary("fadd" if self.is_float else "add", self, other)

    def __radd__(self, other: Number) -> Lane:
        return self.maths.like(other, self) + self

    def __sub__(self, other: Lane | Number) -> Lane:
        return self.maths.binary("fsub" if self.is_float else "sub", self, other)

    def __rsub__(self, other: Number) -> Lane:
        return self.maths.like(other, self) - self

    def __mul__(self, other: Lane | Number) -> Lane:
        return self.maths.binary("fmul" if self.is_float else "mul", self, other)

    def __rmul__(self, other: Number) -> Lane:
        return self.maths.like(other, self) * self

    def __truediv__(self, other: Lane | Number) -> Lane:
        return self.maths.binary("fdiv", self, other)

    def __rtruediv__(self, other: Number) -> Lane:
        return self.maths.like(other, self) / self

    def __neg__(self) -> Lane:
        builder = self.maths.builder
        return Lane(self.maths, builder.fneg(self.ir) if self.is_float else builder.neg(self.ir))

    def __abs__(self) -> Lane:
        return self.maths.intrinsic("fabs", self)

    # whole numbers and truths
    def __and__(self, other: Lane | int) -> Lane:
        return self.maths.binary("and_", self, other)

    def __or__(self, other: Lane | int) -> Lane:
        return self.maths.binary("or_", self, other)

    def __xor__(self, other: Lane | int) -> Lane:
        return self.maths.binary("xor", self, other)

    def __invert__(self) -> Lane:
        return self.maths.binary("xor", self, -1)

    def __lshift__(self, by: Lane | int) -> Lane:
        return self.maths.binary("shl", self, by)

    def __rshift__(self, by: Lane | int) -> Lane:
        """The arithmetic shift, which keeps the sign."""
        return self.maths.binary("ashr", self, by)

    def logical_shift(self, by: Lane | int) -> Lane:
        """Shift right, filling with zeros."""
        return self.maths.binary("lshr", self, by)

    # comparisons: of signed whole numbers, or of floats (false if one is NaN)
    def __lt__(self, other: Lane | Number) -> Lane:
        return self.maths.compare("<", self, other)

    def __le__(self, other: Lane | Number) -> Lane:
        return self.maths.compare("<=", self, other)

    def __gt__(self, other: Lane | Number) -> Lane:
        return self.maths.compare(">", self, other)

    def __ge__(self, other: Lane | Number) -> Lane:
        return self.maths.compare(">=", self, other)

    def equals(self, other: Lane | Number) -> Lane:
        return self.maths.compare("==", self, other)

    def is_nan(self) -> Lane:
        return Lane(self.maths, self.maths.builder.fcmp_unordered("uno", self.ir, self.ir))


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Maths:
    """Writes maths into a function, for floats of one type: ``double`` or ``float``, alone or in a vector."""

    builder: ir.IRBuilder
    float_type: ir.Type

    # types
    @staticmethod
    def element(ty: ir.Type) -> ir.Type:
        return ty.element if isinstance(ty, ir.VectorType) else ty

    @property
    def lanes(self) -> int:
        """How many numbers a value holds; 0 for a plain one."""
        return self.float_type.count if isinstance(self.float_type, ir.VectorType) else 0

    @property
    def bits(self) -> int:
        return 64 if isinstance(self.element(self.float_type), ir.DoubleType) else 32

    @property
    def int_type(self) -> ir.Type:
        return self.of_lanes(ir.IntType(self.bits))

    def of_lanes(self, ty: ir.Type) -> ir.Type:
        return ir.VectorType(ty, self.lanes) if self.lanes else ty

    # constants
    def constant(self, ty: ir.Type, number: Number) -> Lane:
        if isinstance(ty, ir.VectorType):
            return Lane(self, ir.Constant(ty, [number] * ty.count))
        return Lane(self, ir.Constant(ty, number))

    def number(self, number: float) -> Lane:
        return self.constant(self.float_type, float(number))

    def integer(self, number: int) -> Lane:
        return self.constant(self.int_type, number)

    def like(self, value: Lane | Number, other: Lane) -> Lane:
        if isinstance(value, Lane):
            return value
        return self.constant(other.ir.type, float(value) if other.is_float else value)

    # operations
    def binary(self, name: str, x: Lane, y: Lane | Number) -> Lane:
        return Lane(self, getattr(self.builder, name)(x.ir, self.like(y, x).ir))

    def compare(self, sign: str, x: Lane, y: Lane | Number) -> Lane:
        compare = self.builder.fcmp_ordered if x.is_float else self.builder.icmp_signed
        return Lane(self, compare(sign, x.ir, self.like(y, x).ir))

    def intrinsic(self, name: str, *args: Lane) -> Lane:
        ty = args[0].ir.type
        full = f"llvm.{name}.{suffix(ty)}"
        module = self.builder.module
        function = module.globals.get(full)
        if function is None:
            function = ir.Function(module, ir.FunctionType(ty, [a.ir.type for a in args]), full)
        return Lane(self, self.builder.call(function, [a.ir for a in args]))

    def fma(self, x: Lane | Number, y: Lane | Number, z: Lane | Number) -> Lane:
        """x y + z, rounded once."""
        like = next(v for v in (x, y, z) if isinstance(v, Lane))
        return self.intrinsic("fma", self.like(x, like), self.like(y, like), self.like(z, like))

    def sqrt(self, x: Lane) -> Lane:
        return self.intrinsic("sqrt", x)

    def copysign(self, size: Lane | Number, sign: Lane) -> Lane:
        return self.intrinsic("copysign", self.like(size, sign), sign)

    def select(self, condition: Lane, yes: Lane | Number, no: Lane | Number) -> Lane:
        """`yes` where the condition holds, else `no`; two Python numbers mean floats of the type at work."""
        like = next((v for v in (yes, no) if isinstance(v, Lane)), self.number(0.0))
        return Lane(self, self.builder.select(condition.ir, self.like(yes, like).ir, self.like(no, like).ir))

    def clamp(self, x: Lane, low: float, high: float) -> Lane:
        """x within [low, high]; NaN stays NaN."""
        x = self.select(x < low, low, x)
        return self.select(x > high, high, x)

    # bits
    def to_bits(self, x: Lane) -> Lane:
        return Lane(self, self.builder.bitcast(x.ir, self.int_type))

    def from_bits(self, x: Lane) -> Lane:
        return Lane(self, self.builder.bitcast(x.ir, self.float_type))

    def integer_to_float(self, x: Lane) -> Lane:
        """A whole number of magnitude up to 2^51 (2^22 in single precision) as a float, without a conversion instruction."""
        magic, magic_bits = self._magic
        return self.from_bits(x + magic_bits) - magic

    def round(self, x: Lane, scale: float = 1.0) -> tuple[Lane, Lane]:
        """The whole number nearest to x scale, as a float and as an integer, up to 2^51 (2^22 in single precision)."""
        magic, magic_bits = self._magic
        shifted = x + magic if scale == 1.0 else self.fma(x, scale, magic)
        return shifted - magic, self.to_bits(shifted) - magic_bits

    @property
    def _magic(self) -> tuple[float, int]:
        # 1.5 2^52: in its neighbourhood floats are the whole numbers, and their bits count along
        return (1.5 * 2.0**52, 0x4338000000000000) if self.bits == 64 else (1.5 * 2.0**23, 0x4B400000)

    def power_of_two(self, n: Lane) -> Lane:
        """2^n for n within the exponents of normal numbers."""
        return self.from_bits(n + (1023 if self.bits == 64 else 127) << (52 if self.bits == 64 else 23))

    # polynomials and error-free sums
    def horner(self, x: Lane, coefficients: Sequence[Lane | float]) -> Lane:
        """c[0] + c[1] x + c[2] x^2 + ..., one fused step each."""
        result = self.like(coefficients[-1], x)
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, c)
        return result

    def estrin(self, x: Lane, coefficients: Sequence[Lane | float]) -> Lane:
        """The same in a tree, whose branches the machine works on at once; a little less accurate."""
        terms = [self.like(c, x) for c in coefficients]
        power = x
        while len(terms) > 1:
            pairs = [self.fma(terms[i + 1], power, terms[i]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
            if len(terms) > 1:
                power = power * power
        return terms[0]

    def two_sum(self, a: Lane, b: Lane | Number) -> tuple[Lane, Lane]:
        """a + b and its rounding error."""
        b = self.like(b, a)
        total = a + b
        part = total - a
        return total, (a - (total - part)) + (b - part)

    def fast_two_sum(self, a: Lane, b: Lane) -> tuple[Lane, Lane]:
        """a + b and its rounding error, for |a| >= |b|."""
        total = a + b
        return total, b - (total - a)

    def two_product(self, a: Lane, b: Lane | Number) -> tuple[Lane, Lane]:
        """a b and its rounding error."""
        product = a * b
        return product, self.fma(a, b, -product)

    # branches
    def any(self, mask: Lane) -> Any:
        """Whether the condition holds in some lane: one plain i1."""
        if not self.lanes:
            return mask.ir
        bits = ir.IntType(self.lanes)
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(mask.ir, bits), ir.Constant(bits, 0))

    def where_any(self, mask: Lane, rare: Callable[[], Sequence[Lane]], usual: Sequence[Lane]) -> list[Lane]:
        """`rare()` in the lanes of the mask, `usual` in the others; the code of `rare` is jumped over if no lane needs it."""
        before = self.builder.block
        with self.builder.if_then(self.any(mask), likely=False):
            chosen = [self.select(mask, r, u) for r, u in zip(rare(), usual, strict=True)]
            inside = self.builder.block
        results = []
        for new, old in zip(chosen, usual, strict=True):
            phi = self.builder.phi(old.ir.type)
            phi.add_incoming(old.ir, before)
            phi.add_incoming(new.ir, inside)
            results.append(Lane(self, phi))
        return results

    def outlined(self, name: str, body: Callable[..., Lane], x: Lane, *rest: Any) -> Lane:
        """`body(maths, x, *rest)` as a function of its own, for what is seldom needed: its caller stays short."""
        module, full = self.builder.module, f"{name}.{suffix(self.float_type)}"
        function = module.globals.get(full)
        if function is None:
            function = ir.Function(module, ir.FunctionType(self.float_type, [self.float_type]), full)
            function.linkage = "internal"
            for attribute in ("noinline", "cold"):
                function.attributes.add(attribute)
            inside = Maths(ir.IRBuilder(function.append_basic_block("entry")), self.float_type)
            inside.builder.ret(body(inside, Lane(inside, function.args[0]), *rest).ir)
        return Lane(self, self.builder.call(function, [x.ir]))

    def loop(
        self, state: Sequence[Lane], going: Callable[..., Lane], step: Callable[..., Sequence[Lane]]
    ) -> list[Lane]:
        """Apply `step` until `going` holds in no lane; lanes that are done keep their values."""
        start = self.builder.block
        head = self.builder.append_basic_block("loop")
        body = self.builder.append_basic_block("step")
        done = self.builder.append_basic_block("done")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        phis = [self.builder.phi(s.ir.type) for s in state]
        now = [Lane(self, phi) for phi in phis]
        mask = going(*now)
        self.builder.cbranch(self.any(mask), body, done)
        self.builder.position_at_end(body)
        new = [self.select(mask, n, o) for n, o in zip(step(*now), now, strict=True)]
        end = self.builder.block
        self.builder.branch(head)
        for phi, first, next_ in zip(phis, state, new, strict=True):
            phi.add_incoming(first.ir, start)
            phi.add_incoming(next_.ir, end)
        self.builder.position_at_end(done)
        return now

    # precision
    def widened(self) -> Maths:
        """The same lanes in double precision."""
        return Maths(self.builder, self.of_lanes(ir.DoubleType()))

    def widen(self, x: Lane) -> Lane:
        wide = self.widened()
        return Lane(wide, self.builder.fpext(x.ir, wide.float_type))

    def narrow(self, x: Lane) -> Lane:
        """A double rounded to this precision."""
        return Lane(self, self.builder.fptrunc(x.ir, self.float_type))
