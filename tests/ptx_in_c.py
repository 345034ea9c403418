"""PTX run on the processor: translated to C instruction by instruction, every thread in turn.

So what LLVM's back end for NVIDIA writes is checked by meaning on a machine without such a device. `Module` reads the part
of PTX that this back end emits; what an instruction means stands in ``ptx_runtime.c``. An unknown instruction, modifier
or register width is refused by name, never skipped.

Checked on the way, since a device would be silent about some and fatal about others: every load and store lies inside a
buffer that was passed (read-only arrays are only read), is aligned, and in the state space its address belongs to; no
thread reads or overwrites what another wrote; nothing is read through the non-coherent cache (``ld.global.nc``) that the
kernel writes. Registers, local memory and workspaces begin as garbage.

Sources: NVIDIA, Parallel Thread Execution ISA, chapters "Syntax", "State Spaces, Types, and Variables", "Instruction Set".
"""

from __future__ import annotations

import ctypes
import functools
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence

import numpy as np
from ptx_text import Reader, Variable
from ptx_to_c import SPACES, Writer, c_name

RUNTIME = pathlib.Path(__file__).with_name("ptx_runtime.c")
COMPILER = shutil.which("cc")
# no contraction, no aliasing rules, wrapping integers: the C operations are the PTX ones, one by one
FLAGS = (
    "-std=gnu11",
    "-O1",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-w",
    "-Werror=implicit-function-declaration",
)
GAP = 1 << 16  # bytes of garbage between arrays, more than the tests' largest step off the end of one
CONTRACTIBLE = re.compile(r"(?:add|sub|mul|mad|fma)\.(?:ftz\.|sat\.)*(?:f32|f64) ")


class Fault(Exception):
    """Something a thread must not do."""


FAULTS = {
    1: "accesses memory outside every buffer of that state space",
    2: "writes to a buffer that may only be read",
    3: "accesses memory at an address that is not a multiple of the access' size",
    4: "depends on another thread: one of the two wrote what the other accesses",
    5: "reads through the non-coherent cache what the kernel writes",
    6: "divides whole numbers by zero, or the smallest one by -1",
    7: "meets `trap`",
    8: "jumps more often than it has fuel for",
    9: "needs more local memory than there is",
    10: "branches by an index outside the list of targets",
}


class Region(ctypes.Structure):
    _fields_ = (
        ("start", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("space", ctypes.c_uint32),
        ("writable", ctypes.c_uint32),
        ("cached", ctypes.c_void_p),
        ("written", ctypes.c_void_p),
        ("writer", ctypes.c_void_p),
        ("reader", ctypes.c_void_p),
    )


class Place(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("line", ctypes.c_int32),
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("block", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
    )


class Module:
    """A PTX module, translated to C and compiled.

    Args:
        ptx: its text.

    Raises:
        UnknownPTX: naming the line, for what is not understood, and for a call of what the module does not define.
    """

    def __init__(self, ptx: str) -> None:
        read = Reader(ptx)
        self.lines = ptx.splitlines()
        self.functions = {f.name: f for f in read.functions}
        self.variables = {v.name: v for v in read.variables}
        self.kernels = [f.name for f in read.functions if f.kernel]
        self.source = self._c()

    def opcodes(self) -> Counter[str]:
        """How often each instruction is written."""
        texts = (s.text for f in self.functions.values() for s in f.body)
        texts = (re.sub(r"^@!?%\w+ ", "", text) for text in texts)
        return Counter(text.split(" ")[0] for text in texts if re.match(r"[a-z]", text) and not text.endswith(":"))

    def contractible(self) -> list[str]:
        """Arithmetic without an explicit rounding, which ptxas may contract: ``function, line: instruction``."""
        found = ((f, s, re.sub(r"^@!?%\w+ ", "", s.text)) for f in self.functions.values() for s in f.body)
        return [f"{f.name}, {s.line}: {text}" for f, s, text in found if CONTRACTIBLE.match(text)]

    def run(
        self, kernel: str, blocks: int, threads: int, arguments: Sequence[int | np.ndarray], fuel: int = 10**9
    ) -> None:
        """Run every thread, one after another.

        Args:
            kernel: its name.
            blocks: in the grid.
            threads: in a block.
            arguments: whole numbers, and arrays whose memory is handed over: changed in place if writeable, else only
                read. An empty array is a null pointer.
            fuel: how many jumps a thread may take.

        Raises:
            ValueError: for arguments that do not fit the kernel, or more threads than it was compiled for.
            Fault: for what a thread must not do.
        """
        function = self.functions[kernel]
        if len(arguments) != len(function.parameters):
            raise ValueError(f"`{kernel}` takes {len(function.parameters)} arguments, but got {len(arguments)}.")
        if function.most_threads is not None and threads > function.most_threads:
            raise ValueError(f"`{kernel}` runs at most {function.most_threads} threads a block, but got {threads}.")
        if not all(a.flags.c_contiguous for a in arguments if isinstance(a, np.ndarray)):
            raise ValueError("`arguments` must be contiguous arrays.")
        library = compiled(self.source)
        arrays = {a.ctypes.data: a for a in arguments if isinstance(a, np.ndarray) and a.size}
        arena, places = _laid_out(list(arrays.values()))
        keep: list[np.ndarray] = []
        regions = [
            _region(p, a.nbytes, SPACES["global"], a.flags.writeable, keep)
            for p, a in zip(places, arrays.values(), strict=True)
        ]
        for v in self.variables.values():
            address = ctypes.addressof(ctypes.c_char.in_dll(library, c_name(v.name)))
            # what all threads of all launches share is never written
            regions.append(_region(address, len(v.data), SPACES[v.space], False, keep))
        where = dict(zip(arrays, places, strict=True))
        numbers = [
            (where[a.ctypes.data] if a.size else 0) if isinstance(a, np.ndarray) else int(a) % 2**64 for a in arguments
        ]
        fault = Place()
        library["run_" + c_name(kernel)](
            ctypes.c_uint32(blocks),
            ctypes.c_uint32(threads),
            (ctypes.c_uint64 * len(numbers))(*numbers),
            (Region * len(regions))(*regions),
            ctypes.c_uint32(len(regions)),
            ctypes.c_uint64(fuel),
            ctypes.byref(fault),
        )
        for a, start in zip(arrays.values(), places, strict=True):
            if a.flags.writeable:
                a.reshape(-1).view(np.uint8)[:] = arena[start - arena.ctypes.data :][: a.nbytes]
        if fault.kind:
            text = self.lines[fault.line - 1].strip() if fault.line else kernel
            raise Fault(
                f"Thread {fault.thread} of block {fault.block} {FAULTS[fault.kind]}: line {fault.line}, `{text}`, "
                f"{fault.size} bytes at {_named(fault.address, arguments, where)}."
            )

    def _c(self) -> str:
        writers = [Writer(f, self.variables, self.functions) for f in self.functions.values()]
        parts = ['#include "ptx_runtime.c"']
        parts += [_variable(v) for v in self.variables.values()]
        parts += [w.prototype() + ";" for w in writers]
        parts += [w.written() for w in writers]
        for name in self.kernels:
            parts.append(
                f"int run_{c_name(name)}(u32 blocks, u32 threads, const u64 *arguments, Region *regions, u32 count, "
                f"u64 fuel, Fault *result) {{ return run_all({c_name(name)}, blocks, threads, arguments, regions, count, "
                "fuel, result); }"
            )
        return "\n".join(parts)


def _variable(v: Variable) -> str:
    values = ", ".join(map(str, v.data))
    return f"__attribute__((aligned({v.alignment}))) u8 {c_name(v.name)}[{len(v.data)}] = {{{values}}};"


@functools.cache
def compiled(source: str) -> ctypes.CDLL:
    if COMPILER is None:
        raise RuntimeError("PTX is run here through a C compiler, but none was found: install one as `cc`.")
    with tempfile.TemporaryDirectory() as folder:
        code, library = pathlib.Path(folder, "ptx.c"), pathlib.Path(folder, "ptx.so")
        code.write_text(source)
        command = [COMPILER, *FLAGS, "-shared", "-fPIC", f"-I{RUNTIME.parent}", str(code), "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"The C compiler refused the translation: {done.stderr[:2000]}")
        return ctypes.CDLL(str(library))


def _laid_out(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Copies of arrays far apart in garbage, each aligned as XLA aligns buffers, and their addresses."""
    arena = np.full(sum(a.nbytes + GAP + 256 for a in arrays) + GAP + 256, 0xCB, np.uint8)
    at, places = GAP, []
    for a in arrays:
        at += -(arena.ctypes.data + at) % 256
        arena[at : at + a.nbytes] = a.reshape(-1).view(np.uint8)
        places.append(arena.ctypes.data + at)
        at += a.nbytes + GAP
    return arena, places


def _region(start: int, size: int, space: int, writable: bool, keep: list[np.ndarray]) -> Region:
    if not writable:
        return Region(start, size, space, 0)
    shadows = [np.zeros(size, t) for t in (np.uint8, np.uint8, np.uint32, np.uint32)]
    keep += shadows
    return Region(start, size, space, 1, *(s.ctypes.data for s in shadows))


def _named(address: int, arguments: Sequence[int | np.ndarray], where: dict[int, int]) -> str:
    """An address relative to the argument that lies nearest below it."""
    below = {
        i: address - where[a.ctypes.data]
        for i, a in enumerate(arguments)
        if isinstance(a, np.ndarray) and a.size and address >= where[a.ctypes.data] - GAP // 2
    }
    if not below:
        return hex(address)
    i = min(below, key=below.__getitem__)
    return f"{below[i]} from the start of argument {i}"
