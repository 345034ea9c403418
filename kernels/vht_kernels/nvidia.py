"""NVIDIA GPUs: LLVM modules to PTX, the text that the driver turns into machine code for the card that it finds.

No CUDA toolkit is needed for that: LLVM writes PTX by itself. Where a toolkit is at hand, its assembler says how many
registers a kernel takes.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
import shutil
import subprocess
import tempfile

import llvmlite
import llvmlite.binding as llvm

from vht_kernels import cpu
from vht_kernels.errors import LoweringError
from vht_kernels.fusion import fused

TRIPLE = "nvptx64-nvidia-cuda"
# architectures that kernels are written for, with the oldest version of PTX that knows each: older drivers understand it.
# From "PTX ISA", table "PTX release history". A newer card runs what is written for an older one.
VERSIONS = {(8, 0): 70, (9, 0): 78, (10, 0): 86}
# Parameters of eight bytes: as many as every version of PTX lets a kernel have, as many as a later one does, and which one
# ("PTX ISA", kernel function parameters: 4352 and 32,764 bytes). CUDA 12.1 brought it.
PARAMETERS, MOST_PARAMETERS, WIDE_VERSION = 544, 4095, 81
# Threads a block: few, so that a block whose lanes are done makes room for the next; 32 of 64 fill a multiprocessor
BLOCK = 64
# Cards with few lanes to run: one warp a block spreads them over more multiprocessors
SMALL_BLOCK = 32


def architecture(capability: tuple[int, int]) -> str:
    """The newest architecture kernels are written for that a card of a compute capability runs, such as ``sm_90``.

    Raises:
        ValueError: if the card is older than all.
    """
    known = [found for found in VERSIONS if found <= capability]
    if not known:
        oldest, here = (".".join(map(str, numbers)) for numbers in (min(VERSIONS), capability))
        raise ValueError(f"Kernels for NVIDIA GPUs need compute capability {oldest} or more, but this one has {here}.")
    major, minor = max(known)
    return f"sm_{major}{minor}"


def _capability(name: str) -> tuple[int, int]:
    found = re.fullmatch(r"sm_(\d+)(\d)", name)
    capability = (int(found.group(1)), int(found.group(2))) if found else None
    if capability not in VERSIONS:
        known = ", ".join(f"sm_{major}{minor}" for major, minor in VERSIONS)
        raise ValueError(f"`architecture` must be one of {known}, but got {name!r}.")
    return capability


def key(name: str) -> str:
    """What PTX depends on besides its program."""
    version = VERSIONS[_capability(name)]
    return f"{name} ptx {version} block {BLOCK} llvm {llvm.llvm_version_info} llvmlite {llvmlite.__version__}"


def compile_ptx(text: str, name: str, parameters: int) -> str:
    """PTX of a module in LLVM IR.

    Args:
        text: of the module `lower` wrote for width 0.
        name: of the architecture.
        parameters: how many the kernel has.

    Raises:
        ValueError: for an architecture that is not known.
        LoweringError: for more parameters than a kernel can have.
    """
    if parameters > MOST_PARAMETERS:
        raise LoweringError(
            f"a kernel on an NVIDIA GPU takes at most {MOST_PARAMETERS} inputs, lengths and outputs, but this one has "
            f"{parameters}: put several numbers of a lane into one table"
        )
    machine = _machine(name, parameters > PARAMETERS)
    # before it is read: loads and stores that say nothing of their alignment get it from there
    layout = f'target datalayout = "{machine.target_data}"\ntarget triple = "{TRIPLE}"\n'
    text = re.sub(r"^target (datalayout|triple) = .*\n", "", text, flags=re.M)
    with cpu.LOCK:
        module = llvm.parse_assembly(layout + _with_attributes(fused(text)))
        module.verify()
        cpu.optimise(module, machine, text.count("\n") > cpu.LARGE)
        return machine.emit_assembly(module)


@functools.cache
def _machine(name: str, wide: bool) -> llvm.TargetMachine:
    version = max(VERSIONS[_capability(name)], WIDE_VERSION if wide else 0)
    with cpu.LOCK:
        cpu.host()  # settings of LLVM that hold for every target
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(TRIPLE)
        return target.create_target_machine(cpu=name, features=f"+ptx{version}", opt=3)


def _with_attributes(text: str) -> str:
    (kernel,) = re.findall(r'^define ptx_kernel void (@"[^"]*")', text, flags=re.M)
    text = re.sub(r"^(define [^\n{]*\))", r"\1 #9999", text, flags=re.M)
    # how many threads a block has at most, as a note beside the function, which every version of LLVM reads; and that one block
    # at a time is enough: else the assembler keeps registers for more blocks just where one has far too few. With two
    # sensitivities under Rodas5P it took 168 of 255, or 32, and the model of a drug went through memory three times as often
    bound = f'!nvvm.annotations = !{{!9999}}\n!9999 = !{{ptr {kernel}, !"maxntidx", i32 {BLOCK}, !"minctasm", i32 1}}\n'
    return f"{text}\nattributes #9999 = {{ nounwind }}\n{bound}"


# ---------------------------------------------------------------------------------------------------- the assembler


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a kernel takes of a multiprocessor, as NVIDIA's assembler counts it.

    Attributes:
        registers: of 32 bits, a thread; at most 255.
        spill_stores: bytes a thread writes because registers did not suffice.
        spill_loads: bytes it reads again.
        stack: bytes of local memory a thread, spills and scratch tables.
    """

    registers: int
    spill_stores: int
    spill_loads: int
    stack: int


def assembler() -> str | None:
    """Where ``ptxas`` is on this machine, None if it is not."""
    return shutil.which("ptxas")


def assemble(ptx: str, name: str, keep: pathlib.Path | None = None) -> Usage:
    """Machine code of a kernel, to see what it takes.

    Args:
        ptx: from `compile_ptx`.
        name: of the architecture.
        keep: file that the machine code is left in.

    Raises:
        FileNotFoundError: there is no ``ptxas`` on this machine.
        ValueError: it refuses the text; with what it said.
    """
    program = assembler()
    if program is None:
        raise FileNotFoundError("`ptxas` is not on the PATH; it comes with NVIDIA's CUDA toolkit.")
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "kernel.ptx")
        source.write_text(ptx)
        command = [program, f"-arch={name}", "-v", str(source), "-o", str(keep or source.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"ptxas refuses the kernel: {(done.stderr or done.stdout).strip()}")
    return _usage(done.stderr + done.stdout)


def _usage(log: str) -> Usage:
    """From the assembler's report, of the entry function."""
    entry = log[log.index("Compiling entry function") :]

    def number(pattern: str) -> int:
        found = re.search(pattern, entry)
        return int(found.group(1)) if found else 0

    registers = number(r"Used (\d+) registers")
    stack = number(r"(\d+) bytes stack frame")
    return Usage(registers, number(r"(\d+) bytes spill stores"), number(r"(\d+) bytes spill loads"), stack)
