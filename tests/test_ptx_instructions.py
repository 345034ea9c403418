"""PTX instructions, run in C, against NumPy, Python's whole numbers and the PTX manual."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import test_elementary
from llvmlite import ir
from ptx_from_llvm import apply, assert_assembles, assert_same_bits, kernel_of, ptx_of
from ptx_in_c import COMPILER, Module
from test_elementary import DTYPES, dtypes

pytestmark = pytest.mark.skipif(COMPILER is None, reason="PTX is run through a C compiler, and `cc` is not installed")
BOOL = ir.IntType(1)


def type_of(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return ir.DoubleType() if dtype.itemsize == 8 else ir.FloatType()
    return ir.IntType(8 * dtype.itemsize)


def short(ty):
    return {"double": "f64", "float": "f32"}.get(str(ty), str(ty))


def intrinsic(name, *settings, result=None):
    """An intrinsic of LLVM as a function `(builder, *values)`; settings are further operands of one bit."""

    def emit(builder, *args):
        ty = result or args[0].type
        full = f"llvm.{name}.{short(ty)}" + (f".{short(args[0].type)}" if result else "")
        args = [*args, *(ir.Constant(BOOL, s) for s in settings)]
        f = builder.module.globals.get(full)
        f = f or ir.Function(builder.module, ir.FunctionType(ty, [a.type for a in args]), full)
        return builder.call(f, args)

    return emit


def instruction(name, *before):
    return lambda b, *args: getattr(b, name)(*before, *args)


def assert_computed(cases):
    """Run `{name: (emit(builder, *values), arrays, expected array)}` as PTX, in one module, and compare."""
    module = ir.Module()
    for number, (emit, args, expected) in enumerate(cases.values()):

        def body(builder, values, emit=emit):
            result = emit(builder, *values)
            return builder.zext(result, ir.IntType(8)) if result.type == BOOL else result

        kernel_of(module, f"kernel{number}", len(args), type_of(args[0].dtype), type_of(expected.dtype), body)
    compiled = Module(ptx_of(module))
    for number, (name, (_, args, expected)) in enumerate(cases.items()):
        found = apply(compiled, f"kernel{number}", np.full(len(args[0]), 77).astype(expected.dtype), *args)
        if expected.dtype.kind == "f":
            assert_same_bits(found, expected)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=name)


# ---------------------------------------------------------------------------------------------------- whole numbers

WHOLE = [np.dtype(f"{k}{n}") for k in "iu" for n in (1, 2, 4, 8)]
whole = pytest.mark.parametrize("dtype", WHOLE, ids=str)


def whole_numbers(dtype, n=400):
    random, info = np.random.default_rng(6), np.iinfo(dtype)
    x, y = (random.integers(info.min, info.max, n, dtype, endpoint=True) for _ in range(2))
    x[::7] >>= 8 * dtype.itemsize // 2
    y[::5] >>= 8 * dtype.itemsize - 4
    edges = np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max], dtype)
    p, q = np.meshgrid(edges, edges)
    return np.concatenate([x, p.ravel()]), np.concatenate([y, q.ravel()])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@whole
def test_whole_numbers_as_numpy_and_python_have_them(dtype):
    x, y = whole_numbers(dtype)
    y[::3] = x[::3]
    unsigned, width = dtype.kind == "u", 8 * dtype.itemsize
    kind = np.dtype(f"u{dtype.itemsize}")
    by = (y.view(kind) % width).astype(dtype)
    safe = np.where((y == 0) | (y.astype(object) == -1), dtype.type(3), y)
    s, k = ("u", "unsigned") if unsigned else ("s", "signed")
    bits, shifts = [int(v) for v in x.view(kind)], by.tolist()

    def of_bits(numbers):
        return np.array([v % 2**width for v in numbers], kind).view(dtype)

    def upper(b, p, q):
        wide = ir.IntType(2 * width)
        p, q = ((b.zext if unsigned else b.sext)(v, wide) for v in (p, q))
        return b.trunc(b.lshr(b.mul(p, q), ir.Constant(wide, width)), ir.IntType(width))

    quotients = [
        abs(p) // abs(q) * (-1 if (p < 0) != (q < 0) else 1) for p, q in zip(x.tolist(), safe.tolist(), strict=True)
    ]
    rotated = [v << n | v >> (width - n) for v, n in zip(bits, shifts, strict=True)]
    compare = {"==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}
    cases = {
        "add": (instruction("add"), (x, y), x + y),
        "sub": (instruction("sub"), (x, y), x - y),
        "mul": (instruction("mul"), (x, y), x * y),
        "upper half": (upper, (x, y), of_bits(p * q >> width for p, q in zip(x.tolist(), y.tolist(), strict=True))),
        "and": (instruction("and_"), (x, y), x & y),
        "or": (instruction("or_"), (x, y), x | y),
        "xor": (instruction("xor"), (x, y), x ^ y),
        "not": (instruction("not_"), (x,), ~x),
        "neg": (instruction("neg"), (x,), -x),
        "shift left": (instruction("shl"), (x, by), x << by),
        "shift right": (instruction("lshr" if unsigned else "ashr"), (x, by), x >> by),
        "div": (instruction(f"{s}div"), (x, safe), np.array(quotients, dtype)),
        "rem": (instruction(f"{s}rem"), (x, safe), np.fmod(x, safe)),
        "min": (intrinsic(f"{s}min"), (x, y), np.minimum(x, y)),
        "max": (intrinsic(f"{s}max"), (x, y), np.maximum(x, y)),
        "ones": (intrinsic("ctpop"), (x,), of_bits(v.bit_count() for v in bits)),
        "leading zeros": (intrinsic("ctlz", 0), (x,), of_bits(width - v.bit_length() for v in bits)),
        "reversed": (intrinsic("bitreverse"), (x,), of_bits(int(f"{v:0{width}b}"[::-1], 2) for v in bits)),
        "rotated": (lambda b, p, q: intrinsic("fshl")(b, p, p, q), (x, by), of_bits(rotated)),
        **{sign: (instruction(f"icmp_{k}", sign), (x, y), e.astype("u1")) for sign, e in compare.items()},
    }
    if width > 8:
        cases["bytes swapped"] = (intrinsic("bswap"), (x,), x.byteswap())
    if not unsigned:
        cases["abs"] = (intrinsic("abs", 0), (x,), np.abs(x))
    assert_computed(cases)


# ---------------------------------------------------------------------------------------------------- conversions


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@whole
def test_conversions_of_whole_numbers(dtype):
    x, _ = whole_numbers(dtype)
    unsigned, info = dtype.kind == "u", np.iinfo(dtype)
    cases = {}
    for to in WHOLE:
        how = "trunc" if to.itemsize < dtype.itemsize else "zext" if unsigned else "sext"
        if to.itemsize != dtype.itemsize:
            cases[f"to {to}"] = (lambda b, p, h=how, t=type_of(to): getattr(b, h)(p, t), (x,), x.astype(to))
    edges = [np.nan, np.inf, -np.inf, 0.0, -0.0, -0.5, 0.5, -1.5, 2.5, float(info.max), float(info.min), 1e300, -1e300]
    inside = np.random.default_rng(9).uniform(-1.2, 1.2, 300) * info.max
    for of in DTYPES:
        y = np.concatenate([np.array(edges), inside]).astype(of)
        # a NaN becomes 0, what lies outside the nearest there is (LLVM's saturating conversions)
        whole = [0 if np.isnan(v) else info.max if v >= info.max else info.min if v <= info.min else int(v) for v in y]
        convert = intrinsic(f"fpto{'u' if unsigned else 's'}i.sat", result=type_of(dtype))
        cases[f"of {of.__name__}"] = (convert, (y,), np.array(whole, dtype))
        how = "uitofp" if unsigned else "sitofp"
        cases[f"to {of.__name__}"] = (lambda b, p, h=how, t=type_of(of): getattr(b, h)(p, t), (x,), x.astype(of))
    assert_computed(cases)


# ---------------------------------------------------------------------------------------------------- floats


def compared(sign, x, y):
    return {"==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[sign]


@dtypes
def test_comparisons_of_floats_ordered_and_not(dtype):
    x, y = test_elementary.grid(dtype)
    nan = np.isnan(x) | np.isnan(y)
    cases = {
        "number": (instruction("fcmp_ordered", "ord"), (x, y), (~nan).astype("u1")),
        "nan": (instruction("fcmp_unordered", "uno"), (x, y), nan.astype("u1")),
    }
    for sign in ("==", "!=", "<", "<=", ">", ">="):
        holds = compared(sign, x, y)
        cases[f"ordered {sign}"] = (instruction("fcmp_ordered", sign), (x, y), (holds & ~nan).astype("u1"))
        cases[f"unordered {sign}"] = (instruction("fcmp_unordered", sign), (x, y), (holds | nan).astype("u1"))
    assert_computed(cases)


@dtypes
def test_least_and_greatest_of_floats(dtype):
    x, y = test_elementary.grid(dtype)
    # minNum loses NaN, minimum keeps it; both tell -0 from 0 (IEEE 754-2019, section 9.6)
    zeros, nan = (x == 0) & (y == 0), np.isnan(x) | np.isnan(y)
    least = np.where(zeros, np.where(np.signbit(x), x, y), np.fmin(x, y))
    greatest = np.where(zeros, np.where(np.signbit(x), y, x), np.fmax(x, y))
    assert_computed(
        {
            "minnum": (intrinsic("minnum"), (x, y), least),
            "maxnum": (intrinsic("maxnum"), (x, y), greatest),
            "minimum": (intrinsic("minimum"), (x, y), np.where(nan, dtype(np.nan), least)),
            "maximum": (intrinsic("maximum"), (x, y), np.where(nan, dtype(np.nan), greatest)),
        }
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@dtypes
def test_each_operation_rounds_once(dtype):
    random = np.random.default_rng(8)
    x, y = (np.concatenate([v, test_elementary.log_uniform(random, dtype, 600)]) for v in test_elementary.grid(dtype))
    near = random.uniform(0.5, 1, (2, 300)).astype(dtype)
    with mp.workprec(200):  # the error of a product, which only fma finds
        error = [mp.mpf(float(p)) * mp.mpf(float(q)) - mp.mpf(float(p * q)) for p, q in near.T]
    other = {np.float64: np.float32, np.float32: np.float64}[dtype]
    convert = "fpext" if dtype == np.float32 else "fptrunc"
    assert np.count_nonzero(error) > 200
    assert_computed(
        {
            "fadd": (instruction("fadd"), (x, y), x + y),
            "fsub": (instruction("fsub"), (x, y), x - y),
            "fmul": (instruction("fmul"), (x, y), x * y),
            "fdiv": (instruction("fdiv"), (x, y), x / y),
            "rcp": (lambda b, p: b.fdiv(ir.Constant(p.type, 1.0), p), (x,), 1 / x),
            "fneg": (instruction("fneg"), (x,), -x),
            "fabs": (intrinsic("fabs"), (x,), np.abs(x)),
            "copysign": (intrinsic("copysign"), (x, y), np.copysign(x, y)),
            "sqrt": (intrinsic("sqrt"), (x,), np.sqrt(x)),
            "rint": (intrinsic("rint"), (x,), np.rint(x)),
            "trunc": (intrinsic("trunc"), (x,), np.trunc(x)),
            "floor": (intrinsic("floor"), (x,), np.floor(x)),
            "ceil": (intrinsic("ceil"), (x,), np.ceil(x)),
            "fma": (
                lambda b, p, q: intrinsic("fma")(b, p, q, b.fneg(b.fmul(p, q))),
                tuple(near),
                np.array(error, dtype),
            ),
            "convert": (lambda b, p: getattr(b, convert)(p, type_of(other)), (x,), x.astype(other)),
        }
    )


# ---------------------------------------------------------------------------------------------------- as the manual says

F32, F64 = (lambda x: int(np.float32(x).view(np.uint32))), (lambda x: int(np.float64(x).view(np.uint64)))
MINUS_1 = 2**32 - 1
# Instructions that LLVM writes seldom, at operands that tell right from wrong: opcode, bits of the result, operands with
# their bits, result. From the manual: shifts clamp; fields beyond the register read as zeros or the sign; a NaN turns into
# 0 only between types of at most 32 bits; saturated conversions stay in range, and in [0, 1] for floats
BY_HAND = [
    ("shl.b32", 32, [(32, 1), (32, 40)], 0),
    ("shl.b64", 64, [(64, 3), (32, 63)], 1 << 63),
    ("shr.u32", 32, [(32, MINUS_1), (32, 32)], 0),
    ("shr.s32", 32, [(32, 1 << 31), (32, 99)], MINUS_1),
    ("shr.b16", 16, [(16, 0x8000), (32, 15)], 1),
    ("bfe.u32", 32, [(32, 0xABCD1234), (32, 8), (32, 8)], 0x12),
    ("bfe.s32", 32, [(32, 0xABCD8234), (32, 8), (32, 8)], 0xFFFFFF82),
    ("bfe.s32", 32, [(32, 0x80000000), (32, 28), (32, 8)], 0xFFFFFFF8),
    ("bfe.u32", 32, [(32, 0x80000000), (32, 28), (32, 8)], 8),
    ("bfe.s32", 32, [(32, MINUS_1), (32, 3), (32, 0)], 0),
    ("bfe.s64", 64, [(64, 0x8 << 32), (32, 32), (32, 4)], 2**64 - 8),
    ("bfi.b32", 32, [(32, 0xFF), (32, 0), (32, 4), (32, 4)], 0xF0),
    ("bfi.b64", 64, [(64, 0), (64, 2**64 - 1), (32, 60), (32, 9)], 2**60 - 1),
    ("prmt.b32", 32, [(32, 0x33221100), (32, 0x77665544), (32, 0x0123)], 0x00112233),
    ("prmt.b32", 32, [(32, 0x80221100), (32, 0x77665544), (32, 0xBF47)], 0xFF004477),
    ("lop3.b32", 32, [(32, 0xF0), (32, 0xCC), (32, 0xAA), (None, "0x96")], 0xF0 ^ 0xCC ^ 0xAA),
    ("lop3.b32", 32, [(32, 0xF0), (32, 0xCC), (32, 0xAA), (None, "0xE8")], 0xE8),
    ("shf.l.wrap.b32", 32, [(32, 0x80000000), (32, 1), (32, 33)], 3),
    ("shf.l.clamp.b32", 32, [(32, 0x80000000), (32, 1), (32, 33)], 0x80000000),
    ("shf.r.wrap.b32", 32, [(32, 2), (32, 1), (32, 33)], 0x80000001),
    ("shf.r.clamp.b32", 32, [(32, 2), (32, 1), (32, 99)], 1),
    ("mad.lo.s32", 32, [(32, MINUS_1), (32, 3), (32, 5)], 2),
    ("mad.wide.s32", 64, [(32, MINUS_1), (32, 3), (64, 5)], 2),
    ("mad.wide.u32", 64, [(32, MINUS_1), (32, 2), (64, 5)], 2**33 + 3),
    ("mul.wide.s16", 32, [(16, 0xFFFF), (16, 5)], 2**32 - 5),
    ("mul.hi.s32", 32, [(32, MINUS_1), (32, MINUS_1)], 0),
    ("mul.hi.u64", 64, [(64, 2**64 - 1), (64, 2**64 - 1)], 2**64 - 2),
    ("neg.s16", 16, [(16, 0x8000)], 0x8000),
    ("brev.b32", 32, [(32, 1)], 1 << 31),
    ("cvt.u32.u8", 32, [(16, 0x1FF)], 0xFF),
    ("cvt.s32.s8", 32, [(16, 0x180)], 0xFFFFFF80),
    ("cvt.s16.s8", 16, [(32, 0x80)], 0xFF80),
    ("cvt.s64.s32", 64, [(32, 1 << 31)], 2**64 - 2**31),
    ("cvt.u16.u64", 16, [(64, 0x123456)], 0x3456),
    ("cvt.sat.u8.s32", 16, [(32, 300)], 255),
    ("cvt.sat.u8.s32", 16, [(32, MINUS_1)], 0),
    ("cvt.sat.s8.s32", 16, [(32, 2**32 - 200)], 0xFF80),
    ("cvt.rni.s32.f32", 32, [(32, F32(2.5))], 2),
    ("cvt.rzi.s32.f32", 32, [(32, F32(-2.5))], 2**32 - 2),
    ("cvt.rmi.s32.f32", 32, [(32, F32(-2.5))], 2**32 - 3),
    ("cvt.rpi.s32.f32", 32, [(32, F32(-2.5))], 2**32 - 2),
    ("cvt.rzi.s32.f32", 32, [(32, F32(np.nan))], 0),
    ("cvt.rzi.s64.f32", 64, [(32, F32(np.nan))], 1 << 63),
    ("cvt.rzi.s32.f64", 32, [(64, F64(np.nan))], 1 << 31),
    ("cvt.rzi.u64.f64", 64, [(64, F64(np.nan))], 1 << 63),
    ("cvt.rzi.s32.f32", 32, [(32, F32(3e9))], 2**31 - 1),
    ("cvt.rzi.u32.f32", 32, [(32, F32(-3))], 0),
    ("cvt.rzi.u64.f64", 64, [(64, F64(1.5 * 2**63))], 3 << 62),
    ("cvt.rzi.s64.f64", 64, [(64, F64(-np.inf))], 1 << 63),
    ("cvt.rni.f64.f64", 64, [(64, F64(-0.5))], F64(-0.0)),
    ("cvt.rn.f32.s64", 32, [(64, 2**24 + 1)], F32(2**24)),
    ("cvt.rn.f64.u64", 64, [(64, 2**64 - 1)], F64(2.0**64)),
    ("cvt.rn.f32.f64", 32, [(64, F64(1 + 2.0**-24 + 2.0**-40))], F32(1 + 2.0**-23)),
    ("cvt.sat.f32.f32", 32, [(32, F32(-3))], F32(0)),
    ("cvt.sat.f32.f32", 32, [(32, F32(np.nan))], F32(0)),
    ("cvt.sat.f32.f32", 32, [(32, F32(7))], F32(1)),
    ("max.f32", 32, [(32, F32(-0.0)), (32, F32(0.0))], F32(0.0)),
    ("min.f64", 64, [(64, F64(np.nan)), (64, F64(3))], F64(3)),
    ("copysign.f64", 64, [(64, F64(-0.0)), (64, F64(3))], F64(-3)),
]


def by_hand(opcode, result, operands):
    """A kernel that stores what one instruction makes of its operands, which are loaded from memory."""
    wide = {16: "%rs", 32: "%r", 64: "%rd"}
    lines, names = [], []
    for i, (width, number) in enumerate(operands):
        names.append(number if width is None else f"{wide[width]}{i + 1}")
        if width is not None:
            lines.append(f"ld.global.b{width} {names[-1]}, [%rd9+{8 * i}];")
    out = f"{wide[result]}8"
    return f"""
.version 7.8
.target sm_90
.address_size 64
.visible .entry one(.param .u64 .ptr .align 8 one_param_0, .param .u64 one_param_1) .maxntid 128, 1, 1
{{
    .reg .b16 %rs<9>;
    .reg .b32 %r<9>;
    .reg .b64 %rd<12>;
    ld.param.b64 %rd10, [one_param_0];
    cvta.to.global.u64 %rd9, %rd10;
    ld.param.u64 %rd11, [one_param_1];
    {" ".join(lines)}
    {opcode} {", ".join([out, *names])};
    st.b{result} [%rd11], {out};
    ret;
}}
"""


def test_instructions_as_the_manual_says():
    texts = {f"{o} {x}": by_hand(o, r, x) for o, r, x, _ in BY_HAND}
    # one module of all of them: each kernel, with its parameters, under a name of its own
    bodies = [t.split(".address_size 64")[1].replace("one", f"one{i}") for i, t in enumerate(texts.values())]
    text = next(iter(texts.values())).split(".address_size 64")[0] + ".address_size 64" + "".join(bodies)
    assert_assembles(text)
    module = Module(text)
    assert len(module.kernels) == len(BY_HAND)
    for i, (opcode, result, operands, expected) in enumerate(BY_HAND):
        numbers = np.array([x if w else 0 for w, x in operands], np.uint64)
        found = np.zeros(8, np.uint8)
        module.run(f"one{i}", 1, 1, [numbers, found])
        assert int.from_bytes(found.tobytes()[: result // 8], "little") == expected, f"{opcode} {operands}"
        assert not found[result // 8 :].any()
