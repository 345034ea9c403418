"""Elementary functions as LLVM IR: vectorised, accurate over the whole range, without a maths library.

`call` writes each function once per module and type and calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from vht_kernels import arithmetic, exponential, inverse_trigonometric, special, trigonometric
from vht_kernels.emitter import suffix
from vht_kernels.lane_maths import Lane, Maths

FUNCTIONS: dict[str, Callable[..., Lane]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": exponential.log,
    "log1p": exponential.log1p,
    "pow": exponential.power,
    "logistic": exponential.logistic,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "tanh": exponential.tanh,
    "asinh": exponential.asinh,
    "acosh": exponential.acosh,
    "atanh": exponential.atanh,
    "erf": special.erf,
    "erfc": special.erfc,
    "erf_inv": special.erf_inv,
    "lgamma": special.lgamma,
    "digamma": special.digamma,
    "sqrt": arithmetic.sqrt,
    "rsqrt": arithmetic.rsqrt,
    "cbrt": arithmetic.cbrt,
    "floor": arithmetic.floor,
    "ceil": arithmetic.ceil,
    "nextafter": arithmetic.nextafter,
    "sign": arithmetic.sign,
    "rem": arithmetic.rem,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "sinpi": trigonometric.sinpi,
    "cospi": trigonometric.cospi,
    "asin": inverse_trigonometric.asin,
    "acos": inverse_trigonometric.acos,
    "atan": inverse_trigonometric.atan,
    "atan2": inverse_trigonometric.atan2,
}


def call(builder: ir.IRBuilder, module: ir.Module, name: str, args: Sequence[ir.Value]) -> ir.Value:
    """Write a call of an elementary function.

    Args:
        builder: stands where the call goes.
        module: gets the function, as ``vht.<name>.<type>``, if it has it not yet.
        name: one of `FUNCTIONS`.
        args: ``double`` or ``float``, alone or in a vector; all of one type.

    Returns:
        The value, of the arguments' type.

    Raises:
        KeyError: for an unknown name.
    """
    ty = args[0].type
    full = f"vht.{name}.{suffix(ty)}"
    function = module.globals.get(full)
    if function is None:
        body = FUNCTIONS[name]
        function = ir.Function(module, ir.FunctionType(ty, [ty] * len(args)), full)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        maths = Maths(inside, ty)
        inside.ret(body(maths, *(Lane(maths, a) for a in function.args)).ir)
    return builder.call(function, args)
