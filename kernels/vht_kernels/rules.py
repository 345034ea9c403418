"""One rule a primitive: how elementwise JAX becomes LLVM instructions, and which parameters of the equation matter.

A rule gets LLVM values of the same shape (one number for all lanes, or one each) and writes instructions without branches.
Rounding: only `add`, `sub` and `mul` carry a flag, ``contract``: a product and a sum may be fused, which drops one
rounding and assumes nothing about NaN, infinity or the sign of zero (`fusion` decides which ones are). `sin` and `cos` of a
product with pi drop that product's rounding and that of pi, and need not look whether the angle is large. If the caller grants
it, `div` multiplies with the reciprocal of a divisor that does not change within the loop: within 1.5 units in the last place
instead of 0.5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from vht_kernels import elementary
from vht_kernels.emitter import Emitter, Value, scalar_type, suffix
from vht_kernels.errors import unsupported

CONTRACT = ("contract",)


@dataclasses.dataclass(frozen=True)
class Rule:
    """How to lower one elementwise primitive."""

    lower: Callable[[Emitter, Any, Sequence[Value]], Value]
    params: tuple[str, ...] = ()  # names of the equation's parameters that change the result


RULES: dict[str, Rule] = {}


def _rule(*names: str, params: tuple[str, ...] = ()) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def register(lower: Callable[..., Value]) -> Callable[..., Value]:
        for name in names:
            RULES[name] = Rule(lower, params)
        return lower

    return register


def constant(like: ir.Value, number: Any) -> ir.Constant:
    """A number as a constant of the type of another value."""
    if isinstance(like.type, ir.VectorType):
        return ir.Constant(like.type, [number] * like.type.count)
    return ir.Constant(like.type, number)


def call_intrinsic(builder: ir.IRBuilder, name: str, *args: ir.Value, result: ir.Type | None = None) -> ir.Value:
    """Call ``llvm.<name>``, overloaded on the type of the first argument (and of the result, if that differs)."""
    out = args[0].type if result is None else result
    types = [out] if result is None else [out, args[0].type]
    full = ".".join(["llvm", name, *(suffix(t) for t in types)])
    module = builder.module
    function = module.globals.get(full)
    if function is None:
        function = ir.Function(module, ir.FunctionType(out, [a.type for a in args]), full)
    return builder.call(function, args)


def is_float(value: Value) -> bool:
    return value.dtype.kind == "f"


def call_elementary(e: Emitter, name: str, args: Sequence[Value]) -> Value:
    """A function of `elementary`, of values of one dtype."""
    return e.op(name, args, args[0].dtype, lambda b, *xs: elementary.call(b, e.module, name, xs))


# ---------------------------------------------------------------------------------------------------- arithmetic


def _arithmetic(name: str, on_float: str, on_int: str) -> None:
    def lower(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
        x, y = args
        if is_float(x):
            if name == "mul" and (kept := _times_one(x, y)) is not None:
                return kept
            # a sum or product does not depend on the order of its operands: one key for both
            a, b = (y, x) if name in ("add", "mul") and y.serial < x.serial else (x, y)
            result = e.op(name, [a, b], x.dtype, lambda bld, p, q: getattr(bld, on_float)(p, q, flags=CONTRACT))
            for factor, rest in ((a, b), (b, a)) if name == "mul" else ():
                if _is_number(factor):
                    e.multiples[result.serial] = (factor.ir.constant, rest)
            return result
        if x.dtype == np.bool_:
            on_bool = {"add": "or_", "mul": "and_"}.get(name)
            if on_bool is None:
                raise unsupported(eqn, "it has no meaning for booleans")
            return e.op(name, args, x.dtype, lambda bld, p, q: getattr(bld, on_bool)(p, q))
        return e.op(name, args, x.dtype, lambda bld, p, q: getattr(bld, on_int)(p, q))

    RULES[name] = Rule(lower)


for _name, _float, _int in (("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul")):
    _arithmetic(_name, _float, _int)
RULES["add_any"] = RULES["add"]


def _times_one(x: Value, y: Value) -> Value | None:
    for one, other in ((x, y), (y, x)):
        if _is_number(one) and one.ir.constant == 1.0:
            return other
    return None


def _is_number(value: Value) -> bool:
    return isinstance(value.ir, ir.Constant) and not isinstance(value.ir.type, ir.VectorType)


@_rule("div")
def _div(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x, y = args
    if is_float(x):
        reciprocal = _reciprocal(e, y) if e.reciprocals else None
        if reciprocal is not None:
            return RULES["mul"].lower(e, eqn, [x, reciprocal])
        return e.op("div", args, x.dtype, lambda b, p, q: b.fdiv(p, q))
    return e.op("div", args, x.dtype, lambda b, p, q: _whole_division(b, p, q, x.dtype, remainder=False))


def _reciprocal(e: Emitter, y: Value) -> Value | None:
    """1 / y computed before the loop, if y (or both values it is chosen from) is known by then."""
    if e.is_invariant(y):
        return e.op("div", [e.constant(1, y.dtype), y], y.dtype, lambda b, p, q: b.fdiv(p, q))
    condition, yes, no = e.choices.get(y.serial, (None, None, None))
    if condition is None or yes is None or no is None or not (e.is_invariant(yes) and e.is_invariant(no)):
        return None
    both = [_reciprocal(e, yes), _reciprocal(e, no)]
    return None if both[0] is None or both[1] is None else select(e, condition, both[0], both[1])


@_rule("rem")
def _rem(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x = args[0]
    if is_float(x):
        return call_elementary(e, "rem", args)
    return e.op("rem", args, x.dtype, lambda b, p, q: _whole_division(b, p, q, x.dtype, remainder=True))


def _whole_division(b: ir.IRBuilder, x: ir.Value, y: ir.Value, dtype: np.dtype, remainder: bool) -> ir.Value:
    """XLA's whole-number division: x / 0 is -1 (all bits set), x % 0 is x, and the one overflow wraps; never a trap."""
    zero, one, ones = constant(y, 0), constant(y, 1), constant(y, -1)
    by_zero = b.icmp_unsigned("==", y, zero)
    if dtype.kind == "u":
        safe = b.select(by_zero, one, y)
        result = (b.urem if remainder else b.udiv)(x, safe)
        return b.select(by_zero, x if remainder else ones, result)
    lowest = constant(x, -(2 ** (8 * dtype.itemsize - 1)))
    overflow = b.and_(b.icmp_signed("==", x, lowest), b.icmp_signed("==", y, ones))
    safe = b.select(b.or_(by_zero, overflow), one, y)
    result = (b.srem if remainder else b.sdiv)(x, safe)
    result = b.select(overflow, zero if remainder else lowest, result)
    return b.select(by_zero, x if remainder else ones, result)


@_rule("neg")
def _neg(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    if is_float(args[0]):
        return e.op("neg", args, args[0].dtype, lambda b, x: b.fneg(x))
    return e.op("neg", args, args[0].dtype, lambda b, x: b.neg(x))


@_rule("abs")
def _abs(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x = args[0]
    if is_float(x):
        return e.op("abs", args, x.dtype, lambda b, p: call_intrinsic(b, "fabs", p))
    if x.dtype.kind == "u":
        return x
    return e.op("abs", args, x.dtype, lambda b, p: b.select(b.icmp_signed("<", p, constant(p, 0)), b.neg(p), p))


@_rule("sign")
def _sign(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x = args[0]
    if is_float(x):
        return call_elementary(e, "sign", args)

    def whole(b: ir.IRBuilder, p: ir.Value) -> ir.Value:
        zero, one = constant(p, 0), constant(p, 1)
        positive = b.select(b.icmp_unsigned("!=", p, zero), one, zero)
        return positive if x.dtype.kind == "u" else b.select(b.icmp_signed("<", p, zero), constant(p, -1), positive)

    return e.op("sign", args, x.dtype, whole)


def _extremum(name: str, ordered: str) -> None:
    def lower(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
        x, y = args
        if not is_float(x):
            compare = "icmp_unsigned" if x.dtype.kind in "ub" else "icmp_signed"
            return e.op(name, args, x.dtype, lambda b, p, q: b.select(getattr(b, compare)(ordered, p, q), p, q))
        if _is_number(x):
            x, y = y, x
        if _is_number(y) and y.ir.constant == y.ir.constant:
            # against a number one unordered comparison is enough: a NaN in x compares true and is kept, and 0 counts as
            # greater than -0
            yields = y.ir.constant == 0 and (math.copysign(1.0, y.ir.constant) < 0) == (name == "max")
            sign = f"{ordered}=" if yields else ordered
            return e.op(name, [x, y], x.dtype, lambda b, p, q: b.select(b.fcmp_unordered(sign, p, q), p, q))
        if not e.width and x.dtype == np.float64:
            return e.op(name, [x, y], x.dtype, on_gpu)
        return e.op(name, [x, y], x.dtype, lambda b, p, q: call_intrinsic(b, f"{name}imum", p, q))

    def on_gpu(b: ir.IRBuilder, p: ir.Value, q: ir.Value) -> ir.Value:
        # of two numbers the GPU's own is right, also for zeros; LLVM does not know, and its `maximum` is twice as long
        found = call_intrinsic(b, f"{name}num", p, q)
        return b.select(b.fcmp_unordered("uno", p, q), constant(p, float("nan")), found)

    RULES[name] = Rule(lower)


_extremum("max", ">")
_extremum("min", "<")


@_rule("clamp")
def _clamp(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    low, x, high = args
    return RULES["min"].lower(e, eqn, [RULES["max"].lower(e, eqn, [x, low]), high])


@_rule("integer_pow", params=("y",))
def _integer_pow(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x, exponent = args[0], eqn.params["y"]
    times = RULES["mul"].lower
    if exponent == 0:
        return e.constant(1, x.dtype)
    result, square, left = None, x, abs(exponent)
    while left:
        if left & 1:
            result = square if result is None else times(e, eqn, [result, square])
        left >>= 1
        if left:
            square = times(e, eqn, [square, square])
    assert result is not None
    return result if exponent > 0 else RULES["div"].lower(e, eqn, [e.constant(1, x.dtype), result])


@_rule("square")
def _square(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    return RULES["mul"].lower(e, eqn, [args[0], args[0]])


@_rule("one_minus_square")
def _one_minus_square(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    one = e.constant(1, args[0].dtype)
    factors = [RULES[name].lower(e, eqn, [one, args[0]]) for name in ("add", "sub")]
    return RULES["mul"].lower(e, eqn, factors)


@_rule("polynomial")
def _polynomial(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x, *coefficients = args
    result = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        result = RULES["add"].lower(e, eqn, [RULES["mul"].lower(e, eqn, [result, x]), c])
    return result


@_rule("log2")
def _log2(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    logarithm = RULES["log"].lower(e, eqn, args)
    return RULES["div"].lower(e, eqn, [logarithm, e.constant(math.log(2.0), args[0].dtype)])


@_rule("pow")
def _pow(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x, y = args
    if y.dtype != x.dtype:
        y = convert(e, y, x.dtype)
    return call_elementary(e, "pow", [x, y])


# ---------------------------------------------------------------------------------------------------- functions


def _function(name: str) -> None:
    RULES[name] = Rule(lambda e, eqn, args: call_elementary(e, name, args))


for _name in (
    *("exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt", "cbrt", "logistic"),
    *("tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "lgamma", "digamma", "floor", "ceil", "nextafter"),
):
    _function(_name)


def _of_an_angle(name: str) -> None:
    def lower(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
        half_turns = _in_half_turns(e, eqn, args[0])
        return call_elementary(e, name, args) if half_turns is None else call_elementary(e, f"{name}pi", [half_turns])

    RULES[name] = Rule(lower)


def _in_half_turns(e: Emitter, eqn: Any, x: Value) -> Value | None:
    """x / pi, if x is a product with pi (or with a power of two and pi): as if neither were rounded."""
    factor, rest = e.multiples.get(x.serial, (0.0, x))
    scale = factor / float(x.dtype.type(math.pi))
    mantissa, exponent = math.frexp(scale)
    # far from 1, scale or factor may have been rounded
    if abs(mantissa) != 0.5 or abs(exponent) > 60:
        return None
    return RULES["mul"].lower(e, eqn, [rest, e.constant(scale, x.dtype)])


_of_an_angle("sin")
_of_an_angle("cos")


@_rule("round", params=("rounding_method",))
def _round(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    to_even = int(eqn.params["rounding_method"]) == 1
    name = "roundeven" if to_even else "round"
    return e.op(name, args, args[0].dtype, lambda b, x: call_intrinsic(b, name, x))


@_rule("is_finite")
def _is_finite(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    def finite(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        # the negated comparison is false for NaN too
        return b.fcmp_ordered("<", call_intrinsic(b, "fabs", x), constant(x, float("inf")))

    return e.op("is_finite", args, np.dtype(np.bool_), finite)


# ---------------------------------------------------------------------------------------------------- choices


def _comparison(name: str, sign: str) -> None:
    def lower(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
        x = args[0]

        def compare(b: ir.IRBuilder, p: ir.Value, q: ir.Value) -> ir.Value:
            if is_float(x):
                return b.fcmp_unordered(sign, p, q) if name == "ne" else b.fcmp_ordered(sign, p, q)
            return (b.icmp_unsigned if x.dtype.kind in "ub" else b.icmp_signed)(sign, p, q)

        return e.op(name, args, np.dtype(np.bool_), compare)

    RULES[name] = Rule(lower)


for _name, _sign_ in (("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
    _comparison(_name, _sign_)


@_rule("select_n")
def _select_n(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    which, *cases = args
    if which.dtype == np.bool_:
        return select(e, which, cases[1], cases[0])
    result = cases[-1]
    for number in range(len(cases) - 2, -1, -1):
        below = RULES["le"].lower(e, eqn, [which, e.constant(number, which.dtype)])
        result = select(e, below, cases[number], result)
    return result


def select(e: Emitter, condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the condition holds, else `no`."""
    if yes is no:
        return yes
    if isinstance(condition.ir, ir.Constant) and condition.uniform:
        return yes if condition.ir.constant else no
    chosen = e.op("select", [condition, yes, no], yes.dtype, lambda b, c, p, q: b.select(c, p, q))
    e.choices[chosen.serial] = (condition, yes, no)
    return chosen


# ---------------------------------------------------------------------------------------------------- bits


for _name, _method in (("and", "and_"), ("or", "or_"), ("xor", "xor")):

    def _bitwise(e: Emitter, eqn: Any, args: Sequence[Value], name: str = _name, method: str = _method) -> Value:
        return e.op(name, args, args[0].dtype, lambda b, p, q: getattr(b, method)(p, q))

    RULES[_name] = Rule(_bitwise)


@_rule("not")
def _not(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    ones = True if args[0].dtype == np.bool_ else -1
    return e.op("not", args, args[0].dtype, lambda b, x: b.xor(x, constant(x, ones)))


def _shift(name: str, method: str) -> None:
    def lower(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
        dtype = args[0].dtype
        bits = 8 * dtype.itemsize

        def shift(b: ir.IRBuilder, x: ir.Value, by: ir.Value) -> ir.Value:
            # shifting by the width or more is undefined in LLVM and pushes everything out in XLA
            inside = b.icmp_unsigned("<", by, constant(by, bits))
            if method == "ashr":
                return b.ashr(x, b.select(inside, by, constant(by, bits - 1)))
            # masked: LLVM 22 takes a plain choice for NVIDIA's shift, which looks at 32 bits only (llvm-project#201165)
            shifted = getattr(b, method)(x, b.and_(by, constant(by, bits - 1)))
            return b.select(inside, shifted, constant(x, 0))

        return e.op(name, args, dtype, shift)

    RULES[name] = Rule(lower)


for _name, _method in (("shift_left", "shl"), ("shift_right_logical", "lshr"), ("shift_right_arithmetic", "ashr")):
    _shift(_name, _method)


@_rule("population_count")
def _population_count(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    return e.op("population_count", args, args[0].dtype, lambda b, x: call_intrinsic(b, "ctpop", x))


@_rule("clz")
def _clz(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    def count(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return call_intrinsic(b, "ctlz", x, ir.Constant(ir.IntType(1), False))

    return e.op("clz", args, args[0].dtype, count)


# ---------------------------------------------------------------------------------------------------- conversions


@_rule("convert_element_type", params=("new_dtype",))
def _convert(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    return convert(e, args[0], np.dtype(eqn.params["new_dtype"]))


def convert(e: Emitter, x: Value, dtype: np.dtype) -> Value:
    """The value as another dtype. Out of range, a float becomes the nearest whole number there is, NaN becomes 0."""
    old = x.dtype
    if old == dtype:
        return x
    if (
        isinstance(x.ir, ir.Constant)
        and x.uniform
        and (dtype.kind != "f" or old.kind == "f")
        and dtype.kind == old.kind
    ):
        return e.constant(x.ir.constant, dtype)
    if dtype == np.bool_:
        zero = e.constant(0, old)
        if old.kind == "f":
            return e.op("ne", [x, zero], dtype, lambda b, p, q: b.fcmp_unordered("!=", p, q))
        return e.op("ne", [x, zero], dtype, lambda b, p, q: b.icmp_unsigned("!=", p, q))

    def change(b: ir.IRBuilder, p: ir.Value) -> ir.Value:
        to = scalar_type(dtype)
        ty = ir.VectorType(to, p.type.count) if isinstance(p.type, ir.VectorType) else to
        if old.kind == "f" and dtype.kind == "f":
            return b.fpext(p, ty) if dtype.itemsize > old.itemsize else b.fptrunc(p, ty)
        if old.kind == "f":
            return call_intrinsic(b, "fptoui.sat" if dtype.kind == "u" else "fptosi.sat", p, result=ty)
        if dtype.kind == "f":
            return b.uitofp(p, ty) if old.kind in "ub" else b.sitofp(p, ty)
        if old == np.bool_ or dtype.itemsize > old.itemsize:
            return b.zext(p, ty) if old.kind in "ub" else b.sext(p, ty)
        return b.trunc(p, ty) if dtype.itemsize < old.itemsize else p

    return e.op("convert", [x], dtype, change)


@_rule("bitcast_convert_type", params=("new_dtype",))
def _bitcast(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    dtype = np.dtype(eqn.params["new_dtype"])
    if dtype.itemsize != args[0].dtype.itemsize:
        raise unsupported(eqn, "the two types differ in size, which would make it an array")

    def cast(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        to = scalar_type(dtype)
        return b.bitcast(x, ir.VectorType(to, x.type.count) if isinstance(x.type, ir.VectorType) else to)

    if (args[0].dtype.kind in "iu") and dtype.kind in "iu":
        return e.op("reinterpret", args, dtype, lambda b, x: x)
    return e.op("bitcast", args, dtype, cast)


@_rule("reduce_precision", params=("exponent_bits", "mantissa_bits"))
def _reduce_precision(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    x = args[0]
    wanted = (eqn.params["exponent_bits"], eqn.params["mantissa_bits"])
    if wanted == (11, 52) or (wanted == (8, 23) and x.dtype == np.float32):
        return x
    if wanted == (8, 23):
        return convert(e, convert(e, x, np.dtype(np.float32)), x.dtype)
    raise unsupported(eqn, f"only the precision of float32 and float64 is known, but got bits {wanted}")


@_rule("empty", "empty2", params=("dtype",))
def _empty(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    # where a branch that is not taken has nothing to hand to the derivative of `lax.cond`; zero, as XLA makes it
    return e.constant(0, np.dtype(eqn.params["dtype"]))


# ---------------------------------------------------------------------------------------------------- shapes


def _same(e: Emitter, eqn: Any, args: Sequence[Value]) -> Value:
    return args[0]


# on scalars these change nothing
for _name in (
    *("copy", "copy_p", "stop_gradient", "device_put", "optimization_barrier", "pvary", "reshard"),
    *("broadcast_in_dim", "reshape", "squeeze", "expand_dims"),
):
    RULES[_name] = Rule(_same)
