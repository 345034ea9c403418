"""The processor of this machine: how wide its vectors are, and LLVM modules to machine code in memory."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import threading
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from vht_kernels.fusion import fused

# These look whether a loop of a multiple of eight turns computes a checksum, in time that grows exponentially with its length:
# a loop over the states of a solver took hours. Other versions may not know the option, and would end the process.
_CHECKSUM_VERSIONS = (21, 22)
# A pass that only GPUs get, "straight line strength reduction", compares every sum with every earlier one: nine tenths of the
# time for a heart cell, and not a letter of its PTX is another. Tried with this version of LLVM only.
_PAIRWISE_VERSIONS = (22,)
LOCK = threading.Lock()
# Lines of LLVM IR from which on elementary functions are called rather than written out at each call. A model of a heart cell
# with 48 states then compiles in a third of the time, and runs 2 % slower; one with 19 states and half the lines 7 %.
LARGE = 20_000
_NUMBERS = itertools.count()  # a name is spent even if nothing could be loaded under it
_LOADED: list[Any] = []  # machine code lives as long as the process: XLA keeps pointers into it


@dataclasses.dataclass(frozen=True)
class Host:
    """The processor kernels are compiled for."""

    name: str
    features: str
    vector_bytes: int

    @property
    def key(self) -> str:
        """What a compiled kernel depends on besides its program."""
        return f"{self.name} {self.features} {self.vector_bytes} llvm {llvm.llvm_version_info} llvmlite {llvmlite.__version__}"

    def width(self, dtype: np.dtype) -> int:
        """Lanes of this dtype in one vector register."""
        return max(2, self.vector_bytes // dtype.itemsize)


@functools.cache
def host() -> Host:
    """The machine this process runs on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if llvm.llvm_version_info[0] in _CHECKSUM_VERSIONS:
        llvm.set_option("", "-disable-loop-idiom-hashrecognize")
    if llvm.llvm_version_info[0] in _PAIRWISE_VERSIONS:
        # before the first compilation: LLVM asks once which passes are left out
        llvm.set_option("", "-opt-disable=slsr")
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq") and features.get("avx512vl"):
        vector = 64
    elif features.get("avx2"):
        vector = 32
    else:
        vector = 16  # SSE2, NEON
    return Host(llvm.get_host_cpu_name(), features.flatten(), vector)


def family() -> str:
    """The processor's family, as LLVM calls it: ``x86_64``, ``aarch64``, ``arm64``."""
    return llvm.get_process_triple().split("-")[0]


def _machine() -> llvm.TargetMachine:
    here = host()  # which makes this machine known to LLVM
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=here.name, features=here.features, opt=2, reloc="pic", codemodel="small", jit=True
    )


def compile_object(*texts: str) -> bytes:
    """Machine code (an object file) of LLVM IR modules, linked and optimised for this processor."""
    with LOCK:
        machine = _machine()
        modules = [llvm.parse_assembly(_with_attributes(fused(text))) for text in texts]
        module = modules[0]
        for other in modules[1:]:
            module.link_in(other)
        module.triple = llvm.get_process_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
        optimise(module, machine, sum(text.count("\n") for text in texts) > LARGE)
        return machine.emit_object(module)


def _with_attributes(text: str) -> str:
    bits = 8 * host().vector_bytes
    attributes = {
        # without these LLVM splits 64-byte vectors in two on processors for which it thinks half as wide is better
        "prefer-vector-width": bits,
        "min-legal-vector-width": bits,
        # without it LLVM finds out too late that vectors on the stack want a stack aligned for them: the kernel of the
        # circulation was a fifth slower, since every other one of them lay across two cache lines
        "frame-pointer": "all",
    }
    text = re.sub(r"^(define [^\n{]*\))", r"\1 #9999", text, flags=re.M)
    listed = " ".join(f'"{name}"="{value}"' for name, value in attributes.items())
    return f"{text}\nattributes #9999 = {{ nounwind {listed} }}\n"


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, large: bool) -> None:
    """Run LLVM's optimiser over a module; in a large one, functions stay calls. The caller holds `LOCK`."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    if large:
        options.inlining_threshold = 0
    # the code is vectorised and unrolled as it should be already
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    manager = builder.getModulePassManager()
    manager.run(module, builder)


def load_object(code: bytes, function: str) -> int:
    """Put machine code into memory, for the life of the process, and return the address of a function in it.

    Raises:
        ValueError: if the object file holds no such function.
    """
    with LOCK:
        # JITLink puts code and its constants side by side, as the small code model wants it, and checks that they are
        name = f"kernel{next(_NUMBERS)}"
        library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(function)
        try:
            found = library.link(_linker(), name)
        except RuntimeError as error:
            raise ValueError(f"no function {function} in the object file: {error}") from error
        _LOADED.append(found)
        return found[function]


@functools.cache
def _linker() -> llvm.LLJIT:
    return llvm.create_lljit_compiler(_machine(), use_jit_link=True, suppress_errors=True)
