"""What NVIDIA's assembler makes of each model's kernels: the record, and how much more than it is too much.

LLVM's PTX is the same for one program, and so are the registers that one version of ``ptxas`` takes for it: where the digest of
the PTX is the one on record, nothing needs assembling. ``pytest --record-registers tests/test_registers.py`` writes the record
anew. ``ptxas`` takes minutes for the largest kernels: they are assembled only with ``--assemble-all``; otherwise their lines
must not grow, and the record keeps what was said of the text with the digest ``assembled``.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import subprocess

import jax
import llvmlite
import llvmlite.binding as llvm
from ptx_text import Reader
from vht_kernels import nvidia
from vht_kernels.nvidia import Usage
from vht_kernels.program import Program

FOLDER = pathlib.Path(__file__).parent / "registers"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
GROWTH = 1.1
# registers are handed out to a warp by so many a thread: fewer than that more may cost nothing
REGISTERS_AT_ONCE = 8
# lines of PTX: above, the assembler takes too long for a test
LARGE = 5000
# bytes: what is saved around a single call of a function that is seldom needed, 16 registers, may come and go
SLACK = 64


@functools.cache
def versions() -> dict[str, str]:
    """Of what decides about the PTX; ``ptxas`` is that on this machine, or empty."""
    return {
        "jax": jax.__version__,
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "ptxas": _ptxas(),
    }


def _ptxas() -> str:
    program = nvidia.assembler()
    if program is None:
        return ""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    (version,) = re.findall(r"\bV(\d+\.\d+\.\d+)", said)
    return version


def common(ptx: str) -> str:
    """The text without comments, the name of the kernel, and what names the architecture."""
    text = re.sub(r"//[^\n]*", "", ptx)
    text = re.sub(r"^\.(version|target) .*\n", "", text, flags=re.M)
    return re.sub(r"\blanes_[0-9a-f]{16}", "lanes", text)


@dataclasses.dataclass(frozen=True)
class Written:
    """A kernel's PTX, in short.

    Attributes:
        digest: of `common`.
        lines: that are not empty.
    """

    digest: str
    lines: int

    @classmethod
    def of(cls, ptx: str) -> Written:
        text = common(ptx)
        return cls(hashlib.sha256(text.encode()).hexdigest()[:16], sum(bool(line.strip()) for line in text.split("\n")))


def flaws(ptx: str, program: Program, architecture: str) -> list[str]:
    """What is wrong with a kernel's text, which is taken apart for that."""
    found = []
    reader = Reader(ptx)
    kernels = [f for f in reader.functions if f.kernel]
    if len(kernels) != 1:
        return [f"{len(kernels)} kernels, not one"]
    tables = sum(a.table for a in program.arguments)
    # lanes, a length a table, then pointers: inputs, outputs and the workspace
    wanted = 1 + tables + len(program.arguments) + len(program.closed.jaxpr.outvars) + 1
    sizes = [p.size for p in kernels[0].parameters]
    if sizes != [8] * wanted:
        found.append(f"parameters of {sizes} bytes, not {wanted} of 8")
    if kernels[0].most_threads != nvidia.BLOCK:
        found.append(f"blocks of {kernels[0].most_threads} threads, not {nvidia.BLOCK}")
    targets = re.findall(r"^\.target\s+(\S+)", ptx, flags=re.M)
    if targets != [architecture]:
        found.append(f"the targets {targets}, not {architecture}")
    defined = {f.name for f in reader.functions if not f.kernel}
    statements = [re.sub(r"^@!?%\w+\s+", "", s.text) for f in reader.functions for s in f.body]
    for text in statements:
        call = re.match(r"call(?:\.uni)?\s+(?:\([^)]*\)\s*,\s*)?([\w$%]+)", text)
        if call is not None and call[1] not in defined:
            found.append(f"a call of `{call[1]}`, which is not there")
        opcode = text.split(" ", 1)[0]
        if re.search(r"\.(approx|ftz)\b", opcode):
            found.append(f"an inexact `{opcode}`")
        if re.fullmatch(r"(add|sub|mul|fma|div|sqrt)(\.sat)?\.f(32|64)", opcode):
            found.append(f"`{opcode}`, whose rounding the assembler chooses")
    return list(dict.fromkeys(found))


def growth(now: Usage, kept: Usage) -> list[str]:
    """What a kernel takes of a multiprocessor beyond what is on record and allowed on top."""
    found = []
    for field in dataclasses.fields(Usage):
        new, old = getattr(now, field.name), getattr(kept, field.name)
        rounded = -(-old // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
        least = rounded if field.name == "registers" else old + SLACK
        most = max(int(GROWTH * old), least)
        if new > most:
            found.append(f"{field.name} {new} where {old} are on record and {most} are allowed")
    return found


class Record:
    """One model's kernels on record.

    Args:
        model: name in the catalogue.
        folder: of the records.
    """

    def __init__(self, model: str, folder: pathlib.Path = FOLDER) -> None:
        self.path = folder / f"{model}.json"
        kept = json.loads(self.path.read_text()) if self.path.exists() else {"versions": {}, "kernels": {}}
        self.versions: dict[str, str] = kept["versions"]
        self.kernels: dict[str, dict] = kept["kernels"]

    def written(self, kind: str) -> Written | None:
        found = self.kernels.get(kind)
        return None if found is None else Written(found["digest"], found["lines"])

    def assembled(self, kind: str) -> str | None:
        """Digest of the text that `usages` are of."""
        found = self.kernels.get(kind, {})
        return found.get("assembled", found.get("digest")) if set(found) & set(ARCHITECTURES) else None

    def usages(self, kind: str) -> dict[str, Usage]:
        """By architecture."""
        found = self.kernels.get(kind, {})
        return {a: Usage(*found[a]) for a in ARCHITECTURES if a in found}

    def write(self, kernels: dict[str, tuple[Written, dict[str, Usage]]]) -> None:
        """Replace what is on record.

        Args:
            kernels: by kind; what the assembler said of an earlier text is kept for those of which it says nothing now.
        """
        entries = {}
        for kind, (written, usages) in kernels.items():
            entry = entries[kind] = dataclasses.asdict(written)
            kept = self.usages(kind)
            if not usages and kept and self.assembled(kind) != written.digest:
                entry["assembled"] = self.assembled(kind)
            entry |= {name: list(dataclasses.astuple(u)) for name, u in (usages or kept).items()}
        lines = ",\n  ".join(f"{json.dumps(kind)}: {json.dumps(entry)}" for kind, entry in entries.items())
        self.path.parent.mkdir(exist_ok=True)
        text = f'{{\n "versions": {json.dumps(versions())},\n "kernels": {{\n  {lines}\n }}\n}}\n'
        self.path.write_text(text)
