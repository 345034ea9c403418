"""LLVM IR to PTX, without this package's own way there, and kernels that apply an expression to arrays."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

I32, I64, PTR = ir.IntType(32), ir.IntType(64), ir.PointerType()


@functools.cache
def machine():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(cpu="sm_90", features="+ptx78", opt=3)


def ptx_of(text, optimised=False):
    """What LLVM makes of a module's text."""
    # the layout first: what an access is aligned to is settled when it is read
    layout = f'target datalayout = "{machine().target_data}"'
    text = re.sub(r'^target datalayout = ""$', layout, str(text), flags=re.M)
    module = llvm.parse_assembly(text)
    module.triple = machine().triple
    module.data_layout = str(machine().target_data)
    module.verify()
    if optimised:
        builder = llvm.create_pass_builder(machine(), llvm.create_pipeline_tuning_options(speed_level=2))
        builder.getModulePassManager().run(module, builder)
    return machine().emit_assembly(module)


def kernel_of(module, name, count, element, result, emit):
    """A kernel ``(n, pointers to inputs..., pointer to the result)``, which applies `emit(builder, inputs)` per thread."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] + [PTR] * (count + 1)), name)
    function.calling_convention = "ptx_kernel"
    builder = ir.IRBuilder(function.append_basic_block())
    registers = []
    for register in ("tid", "ntid", "ctaid"):
        full = f"llvm.nvvm.read.ptx.sreg.{register}.x"
        read = module.globals.get(full) or ir.Function(module, ir.FunctionType(I32, []), full)
        registers.append(builder.call(read, []))
    tid, ntid, ctaid = registers
    i = builder.zext(builder.add(builder.mul(ctaid, ntid), tid), I64)
    n, *inputs, out = function.args
    with builder.if_then(builder.icmp_unsigned("<", i, n)):
        values = [builder.load(builder.gep(p, [i], source_etype=element), typ=element) for p in inputs]
        builder.store(emit(builder, values), builder.gep(out, [i], source_etype=result))
    builder.ret_void()


def frozen(a):
    """An array that may only be read."""
    a = np.ascontiguousarray(a).copy()
    a.flags.writeable = False
    return a


def apply(module, name, out, *args):
    """Run such a kernel, in blocks of which the last one is not full."""
    threads = 32
    module.run(name, -(-len(out) // threads), threads, [len(out), *map(frozen, args), out])
    return out


def assert_same_bits(found, expected):
    """All bits, but for those of NaNs, of which the two machines have different ones."""
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), ~numbers)
    kind = f"u{found.dtype.itemsize}"
    np.testing.assert_array_equal(found[numbers].view(kind), expected[numbers].view(kind))


def assert_assembles(text):
    """That ptxas takes it, where that is installed: the text is PTX, and its operands have lawful types."""
    if assembler := shutil.which("ptxas"):
        command = [assembler, "-arch=sm_90", "-", "-o", "/dev/null"]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
