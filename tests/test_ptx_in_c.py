"""All elementary functions as PTX: the same bits as on this processor. What the runner of PTX must notice."""

from __future__ import annotations

import functools

import mpmath as mp
import numpy as np
import pytest
import test_elementary
from llvmlite import ir
from ptx_from_llvm import apply, assert_assembles, assert_same_bits, frozen, kernel_of, ptx_of
from ptx_in_c import COMPILER, Fault, Module
from ptx_text import UnknownPTX
from test_elementary import DTYPES, dtypes
from vht_kernels import elementary

pytestmark = pytest.mark.skipif(COMPILER is None, reason="PTX is run through a C compiler, and `cc` is not installed")
OF_TWO = ("pow", "atan2", "rem", "nextafter")


# ---------------------------------------------------------------------------------------------------- elementary functions


@functools.cache
def functions(dtype, optimised):
    """All elementary functions, in one module: a kernel each."""
    module = ir.Module()
    element = ir.DoubleType() if dtype == np.float64 else ir.FloatType()
    for name in elementary.FUNCTIONS:

        def emit(builder, args, name=name):
            return elementary.call(builder, module, name, args)

        kernel_of(module, f"run_{name}", 1 + (name in OF_TWO), element, element, emit)
    return Module(ptx_of(module, optimised))


def points(name, dtype):
    """The arguments at which test_elementary.py compares with exact values, and those of its tables of special values."""
    if name in OF_TWO:
        random = np.random.default_rng(4)
        a, b = (test_elementary.log_uniform(random, dtype, 300) for _ in range(2))
        near = (a * random.uniform(-1, 1, 300)).astype(dtype)
        x, y = test_elementary.grid(dtype)
        pairs = [(a, b), (a, near), (x, y)]
        if name in ("pow", "atan2"):
            with mp.workprec(300):
                pairs.append(test_elementary.pairs_for(name, dtype, 400))
        return [np.concatenate(v) for v in zip(*pairs, strict=True)]
    random = np.random.default_rng(5)
    x = [test_elementary.log_uniform(random, dtype, 240), random.uniform(-9, 9, 240).astype(dtype)]
    special = [*test_elementary.ARGUMENTS, *test_elementary.EXACTLY.get(name, {})]
    x.append(np.array(special, dtype))
    if name in test_elementary.FUNCTIONS:
        with mp.workprec(300):
            x.append(test_elementary.numbers_for(name, dtype, 240))
    return [np.concatenate(x)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("optimised", [False, True], ids=["called", "inlined"])
@dtypes
@pytest.mark.parametrize("name", elementary.FUNCTIONS)
def test_elementary_functions_have_the_bits_of_this_processor(name, dtype, optimised):
    args = points(name, dtype)
    assert len(args[0]) > 480
    found = apply(functions(dtype, optimised), f"run_{name}", np.full_like(args[0], -77), *args)
    assert_same_bits(found, test_elementary.apply(name, dtype, *args))


@pytest.mark.parametrize("optimised", [False, True], ids=["called", "inlined"])
def test_elementary_functions_round_as_written(optimised):
    for dtype in DTYPES:
        module = functions(dtype, optimised)
        assert module.contractible() == []
        assert not [o for o in module.opcodes() if "approx" in o or "ftz" in o or "full" in o]
        assert module.opcodes()["fma.rn.f64"] > 100


# ---------------------------------------------------------------------------------------------------- more than instructions

HEAD = ".version 7.8\n.target sm_90\n.address_size 64\n"
FORMS = """
target datalayout = ""
@table = internal constant [5 x double] [double 1.5, double 2.5, double 3.5, double 4.5, double 5.5]
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()

define internal i64 @scaled(i64 %a, i32 %b, i8 %c) noinline {
  %long = zext i32 %b to i64
  %product = mul i64 %a, %long
  %byte = sext i8 %c to i64
  %sum = add i64 %product, %byte
  ret i64 %sum
}

define internal {double, i32} @both(double %x) noinline {
  %first = insertvalue {double, i32} undef, double %x, 0
  %second = insertvalue {double, i32} %first, i32 -7, 1
  ret {double, i32} %second
}

define ptx_kernel void @kernel(i64 %n, ptr %in, ptr %out) {
  %local = alloca [4 x i64]
  %lane = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %from = getelementptr i64, ptr %in, i32 %lane
  %to = getelementptr i64, ptr %out, i32 %lane
  %x = load i64, ptr %from
  switch i64 %x, label %default [ i64 0, label %zero
    i64 1, label %one
    i64 2, label %two
    i64 3, label %three
    i64 4, label %four ]
zero:
  %scaled = call i64 @scaled(i64 %n, i32 %lane, i8 -3)
  br label %end
one:
  %there = getelementptr i64, ptr %local, i64 %n
  store i64 12345, ptr %there
  %again = getelementptr [4 x i64], ptr %local, i64 0, i64 2
  %kept = load i64, ptr %again
  br label %end
two:
  %entry = getelementptr double, ptr @table, i64 %n
  %read = load double, ptr %entry
  %bits = bitcast double %read to i64
  br label %end
three:
  %pair = call {double, i32} @both(double 2.0)
  %half = extractvalue {double, i32} %pair, 1
  %wide = sext i32 %half to i64
  br label %end
four:
  %vector = load <2 x i64>, ptr %in, align 16
  %last = extractelement <2 x i64> %vector, i32 1
  br label %end
default:
  br label %end
end:
  %result = phi i64 [ %scaled, %zero ], [ %kept, %one ], [ %bits, %two ], [ %wide, %three ], [ %last, %four ], [ 77, %default ]
  store i64 %result, ptr %to
  ret void
}
"""


def test_calls_switches_local_and_constant_tables_and_vectors():
    module = Module(ptx_of(FORMS))
    assert {"brx.idx", "call.uni", "st.local.b64", "ld.global.nc.b64", "ld.global.v2.b64"} <= set(module.opcodes())
    x = np.array([0, 1, 2, 3, 4, 9, 0, -1])
    found = np.zeros_like(x)
    module.run("kernel", 1, len(x), [2, frozen(x), found])
    assert found.tolist() == [2 * 0 - 3, 12345, int(np.float64(3.5).view(np.int64)), -7, 1, 77, 2 * 6 - 3, 77]


def hand_written(body, parameters=2, limit=128):
    """A kernel of that many pointers, which lie in %rd1, %rd2, ..., with registers to spare."""
    loads = "".join(f"ld.param.u64 %rd{i + 1}, [k_{i}];\n" for i in range(parameters))
    listed = ", ".join(f".param .u64 k_{i}" for i in range(parameters))
    registers = ".reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<19>;"
    return f"{HEAD}.visible .entry k({listed}) .maxntid {limit}, 1, 1\n{{ {registers}\n{loads}{body}\nret;\n}}\n"


def run(body, *arrays, threads=1, fuel=1000):
    text = hand_written(body, len(arrays))
    assert_assembles(text)
    Module(text).run("k", 1, threads, arrays, fuel)


@pytest.mark.parametrize(
    ("body", "threads", "words"),
    [
        (
            "ld.global.b64 %rd9, [%rd1+32];",
            1,
            "outside every buffer.*`ld.global.b64 %rd9, ..rd1.32..`.*32 from the start",
        ),
        ("ld.global.b64 %rd9, [%rd1+28];", 1, "not a multiple"),
        ("ld.global.v2.b64 {%rd9, %rd10}, [%rd1+8];", 1, "not a multiple"),
        ("ld.b64 %rd9, [%rd1+-8];", 1, "outside"),
        ("mov.b64 %rd9, 0; ld.b32 %r1, [%rd9];", 1, "outside"),
        ("st.global.b8 [%rd2+32], 1;", 1, "outside"),
        ("st.b8 [%rd1], 1;", 1, "only be read"),
        ("ld.local.b64 %rd9, [%rd1];", 1, "outside every buffer of that state space"),
        (".local .align 8 .b8 d[16]; mov.b64 %rd9, d; ld.b64 %rd10, [%rd9];", 1, "outside"),
        (".local .align 8 .b8 d[16]; mov.b64 %rd9, d; ld.local.b64 %rd10, [%rd9+16];", 1, "outside"),
        ("st.global.b32 [%rd2], 5;", 2, "another thread"),
        (
            "mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 0; @%p1 st.b32 [%rd2], 5; @!%p1 ld.b32 %r2, [%rd2];",
            2,
            "another",
        ),
        (
            "mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 st.b32 [%rd2], 5; @!%p1 ld.b32 %r2, [%rd2];",
            2,
            "another",
        ),
        ("ld.global.nc.b32 %r1, [%rd2]; st.global.b32 [%rd2], %r1;", 1, "non-coherent"),
        ("st.global.b32 [%rd2], 1; ld.global.nc.b32 %r1, [%rd2];", 1, "non-coherent"),
        ("mov.u32 %r1, 0; mov.u32 %r2, 5; div.u32 %r3, %r2, %r1;", 1, "divides"),
        ("again: bra again;", 1, "fuel"),
        ("trap;", 1, "trap"),
        (".shared .b8 s[4];", 1, None),
    ],
)
def test_what_a_thread_must_not_do(body, threads, words):
    arrays = frozen(np.arange(4.0)), np.zeros(4)
    error = UnknownPTX if words is None else Fault
    with pytest.raises(error, match=words):
        run(body, *arrays, threads=threads)


def test_faults_name_the_thread_and_keep_what_was_written_before():
    out = np.zeros(6)
    body = """mov.u32 %r1, %tid.x; mul.wide.u32 %rd9, %r1, 8; add.u64 %rd9, %rd9, %rd1;
        st.global.f64 [%rd9], 0d3FF0000000000000;"""
    with pytest.raises(Fault, match=r"Thread 6 of block 0 .* 8 bytes at 48 from the start of argument 0"):
        run(body, out, threads=8)
    assert out.tolist() == [1.0] * 6


def test_registers_and_local_memory_begin_as_garbage():
    out = np.zeros(2, np.uint64)
    body = """.local .align 8 .b8 d[8]; st.global.b64 [%rd1], %rd9; mov.b64 %rd10, d;
        ld.local.b64 %rd11, [%rd10]; st.b64 [%rd1+8], %rd11;"""
    run(body, out)
    assert out.tolist() == [0xCBCBCBCBCBCBCBCB] * 2


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("ex2.approx.f32 %r1, %r2;", "ex2.approx.f32"),
        ("add.ftz.f32 %r1, %r2, %r3;", "add.ftz.f32"),
        ("div.full.f32 %r1, %r2, %r3;", "div.full.f32"),
        ("add.rz.f64 %rd9, %rd1, %rd2;", "add.rz.f64"),
        ("atom.global.add.u32 %r1, [%rd1], 1;", "atom.global"),
        ("bar.sync 0;", "bar.sync"),
        ("ld.shared.b32 %r1, [%rd1];", "ld.shared"),
        ("cvt.rn.f16.f32 %rs1, %r2;", "cvt.rn.f16"),
        ("setp.eq.f16 %p1, %rs1, %rs2;", "setp.eq.f16"),
        ("mov.u32 %r1, %laneid;", "%laneid"),
    ],
)
def test_unknown_instructions_are_named(body, word):
    with pytest.raises(UnknownPTX, match=word):
        Module(hand_written(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("add.s64 %rd9, %rd1, %r1;", "32 bits where 64 are meant"),
        ("mov.b32 %r1, 0d3FF0000000000000;", "another width"),
        ("mov.b32 %r1, 4294967296;", "does not fit"),
        ("mov.b64 %rd9, %rd99;", "no register"),
        ("call.uni pow, ();", "no function `pow`"),
        ("cvt.s32.f64 %r1, %rd9;", "rounding"),
        ("ld.param.b64 %rd9, [k_0+8];", "outside the parameter"),
    ],
)
def test_what_is_no_ptx_is_refused(body, words):
    with pytest.raises(UnknownPTX, match=words):
        Module(hand_written(body))


def test_arithmetic_that_may_be_contracted_is_listed():
    text = """
    define ptx_kernel void @kernel(ptr %in, ptr %out) {
      %x = load double, ptr %in
      %y = FMUL double %x, 3.0
      store double %y, ptr %out
      ret void
    }"""
    (one,) = Module(ptx_of(text.replace("FMUL", "fmul contract"))).contractible()
    assert one.startswith("kernel, ") and "mul.f64" in one
    assert Module(ptx_of(text.replace("FMUL", "fmul"))).contractible() == []


def test_arguments_must_fit_the_kernel():
    module = Module(hand_written(""))
    with pytest.raises(ValueError, match="takes 2 arguments, but got 1"):
        module.run("k", 1, 1, [0])
    with pytest.raises(ValueError, match="at most 128 threads a block, but got 256"):
        module.run("k", 1, 256, [0, 0])
    with pytest.raises(ValueError, match="contiguous"):
        module.run("k", 1, 1, [np.zeros((4, 4)).T[:2], 0])
