"""The processor of this machine: how wide its vectors are, and LLVM modules to machine code in memory."""

from __future__ import annotations

import dataclasses
import functools
import re
import threading
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

_LOCK = threading.Lock()
_ENGINES: list[Any] = []  # machine code lives as long as the process: XLA keeps pointers into it


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
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq") and features.get("avx512vl"):
        vector = 64
    elif features.get("avx2"):
        vector = 32
    else:
        vector = 16  # SSE2, NEON
    return Host(llvm.get_host_cpu_name(), features.flatten(), vector)


def _machine() -> llvm.TargetMachine:
    target = llvm.Target.from_triple(llvm.get_process_triple())
    here = host()
    return target.create_target_machine(
        cpu=here.name, features=here.features, opt=2, reloc="default", codemodel="jitdefault", jit=True
    )


def compile_object(*texts: str) -> bytes:
    """Machine code (an object file) of LLVM IR modules, linked and optimised for this processor."""
    with _LOCK:
        machine = _machine()
        modules = [llvm.parse_assembly(_prefer_wide_vectors(text)) for text in texts]
        module = modules[0]
        for other in modules[1:]:
            module.link_in(other)
        module.triple = llvm.get_process_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
        _optimise(module, machine)
        return machine.emit_object(module)


def _prefer_wide_vectors(text: str) -> str:
    # without this LLVM splits 64-byte vectors in two on processors for which it thinks half as wide is the better default
    bits = 8 * host().vector_bytes
    text = re.sub(r"^(define [^\n{]*\))", r"\1 #9999", text, flags=re.M)
    return (
        f'{text}\nattributes #9999 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}\n'
    )


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=2)
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
    with _LOCK:
        machine = _machine()
        part = llvm.ObjectFileRef.from_data(code)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(part)
        engine.finalize_object()
        address = engine.get_function_address(function)
        if not address:
            raise ValueError(f"no function {function} in the object file")
        _ENGINES.append((engine, part))
        return address
