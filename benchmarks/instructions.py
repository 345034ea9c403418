"""How many machine instructions a step takes on an NVIDIA GPU: of lanes, and of the kernels by hand; needs no GPU.

Counted in what ``nvdisasm`` shows of the assembled kernels, along the way that a step takes when nothing rare happens: the
shortest one around the kernel's largest loop, which passes by what is rare (slow divisions, first steps, saves), and by
whatever else has a jump over it: a lower bound. Where a kernel by hand has loops inside a step, as stiff ones have, the count
means nothing.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from typing import Any, NamedTuple

from benchmarks.cases import Instructions
from benchmarks.outcome import Column, Outcome, Say, Table, Target
from benchmarks.peers.build import Unavailable

COLUMNS = (
    Column("problem", "problem"),
    Column("steps", "mode"),
    Column("precision", "precision"),
    Column("lanes", "lanes", ",d"),
    Column("by hand", "by_hand", ",d"),
    Column("lanes over it", "ratio", ".2f"),
    Column("registers", "registers", "d"),
    Column("spilled bytes", "spilled", ",d"),
)
# more than this over kernels by hand is too much
MOST = 1.5

_LABEL = re.compile(r"^(\.L_x_\d+):")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")
# what is not followed by the instruction below it
_ALWAYS = re.compile(r"(BRA `|EXIT|RET)")
_JUMP = re.compile(r"^(@!?U?P\d+ )?BRA\b.*?(\.L_x_\d+)")


class Code(NamedTuple):
    """A kernel's instructions, and at which of them each label stands."""

    lines: tuple[str, ...]
    labels: dict[str, int]


def kernels(text: str) -> dict[str, Code]:
    """What ``nvdisasm -c`` shows, by kernel."""
    found = {}
    for part in re.split(r"^//-+ \.text\.", text, flags=re.M)[1:]:
        lines: list[str] = []
        labels: dict[str, int] = {}
        for line in part.splitlines():
            if label := _LABEL.match(line):
                labels[label[1]] = len(lines)
            elif instruction := _INSTRUCTION.match(line):
                lines.append(instruction[1])
        found[part.split(None, 1)[0]] = Code(tuple(lines), labels)
    return found


def _jump(code: Code, place: int) -> int | None:
    found = _JUMP.match(code.lines[place])
    return None if found is None else code.labels.get(found[2])


def loops(code: Code) -> list[tuple[int, int]]:
    """First and last instruction of each loop."""
    return [(to, place) for place in range(len(code.lines)) if (to := _jump(code, place)) is not None and to < place]


def once_around(code: Code, loop: tuple[int, int]) -> Counter[str]:
    """Operations on the shortest way around a loop, by name."""
    first, last = loop
    # from the end backwards: how far it is from each instruction, and which one comes next
    far: dict[int, int] = {last: 1}
    after: dict[int, int] = {}
    for place in range(last - 1, first - 1, -1):
        line, to = code.lines[place], _jump(code, place)
        ways = [] if _ALWAYS.match(line) else [place + 1]
        ways += [to] if to is not None and to > place else []
        ways = [way for way in ways if way in far]
        if ways:
            after[place] = min(ways, key=far.__getitem__)
            far[place] = far[after[place]] + 1
    if first not in far:
        return Counter()
    place, found = first, [code.lines[first]]
    while place != last:
        place = after[place]
        found.append(code.lines[place])
    return Counter(re.sub(r"^@!?U?P\d+ ", "", line).split(" ")[0].split(".")[0] for line in found)


def of_a_step(code: Code, inner: bool = False) -> Counter[str]:
    """Operations of one step.

    Args:
        code: of the kernel.
        inner: steps are taken by a loop inside the largest one, as strides of fixed ones are.
    """
    # what is rare may lie behind the kernel and jump back into it: no way leads around such a loop
    found = [l for l in sorted(loops(code), key=lambda l: l[0] - l[1]) if once_around(code, l)]
    if not found:
        return Counter()
    first, last = found[0]
    # saves, whose loop has memory writes, are no steps
    inside = [l for l in found[1:] if first <= l[0] and l[1] <= last and not _writes(code, l)] if inner else []
    return once_around(code, inside[0] if inside else found[0])


def _writes(code: Code, loop: tuple[int, int]) -> bool:
    return any(re.match(r"(@!?U?P\d+ )?ST", line) for line in code.lines[loop[0] : loop[1] + 1])


def disassembled(cubin: pathlib.Path) -> dict[str, Code]:
    """The kernels of an assembled file.

    Raises:
        Unavailable: no ``nvdisasm``.
    """
    program = shutil.which("nvdisasm") or shutil.which("/usr/local/cuda/bin/nvdisasm")
    if program is None:
        raise Unavailable("no nvdisasm on this machine, which comes with the CUDA toolkit")
    done = subprocess.run([program, "-c", str(cubin)], capture_output=True, text=True, check=True)
    return kernels(done.stdout)


def run(case: Instructions, say: Say) -> Outcome:
    """Run it.

    Args:
        case: what.
        say: told what is going on.
    """
    from benchmarks.gpu.problems import Settings

    kinds = (Settings(1e-8, step=1e-3), Settings(1e-8, step=1e-3, classical=True), Settings(1e-8))
    outcome = Outcome(f"Machine instructions of a step, {case.architecture}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        for problem in case.problems:
            try:
                by_hand = _by_hand(problem, case.architecture, pathlib.Path(folder))
            except Unavailable as error:
                outcome.skipped[f"{problem} by hand"] = str(error)
                by_hand = {}
            for settings in kinds if problem == "lorenz" else kinds[2:]:
                for precision in case.precisions:
                    label = f"{problem}, {settings.mode}, {precision}"
                    say(f"{label} ...")
                    try:
                        row = _lanes(problem, settings, precision, case.architecture, pathlib.Path(folder))
                    except Unavailable as error:
                        outcome.skipped[label] = str(error)
                        continue
                    other = by_hand.get((settings.mode, precision))
                    row |= {"problem": problem, "mode": settings.mode, "precision": precision}
                    row |= {"by_hand": other, "ratio": None if other is None else row["lanes"] / other}
                    rows.append(row)
    outcome.tables.append(Table("instructions of a step", COLUMNS, rows))
    outcome.targets += [
        Target(
            f"{r['problem']}, {r['mode']}, {r['precision']}: lanes over the kernel by hand", MOST, r["ratio"], unit="x"
        )
        for r in rows
    ]
    outcome.notes.append("Instructions on the way of a step on which nothing rare happens; not times.")
    return outcome


def _lanes(problem: str, settings: Any, precision: str, architecture: str, folder: pathlib.Path) -> dict[str, Any]:
    import jax
    import vht_kernels
    from vht_kernels import nvidia

    from benchmarks.gpu import lanes
    from benchmarks.gpu.problems import problem as named

    if nvidia.assembler() is None:
        raise Unavailable("no ptxas on this machine, which comes with the CUDA toolkit")
    with jax.enable_x64(True):
        call, given = lanes.solver(named(problem), settings, precision, 64)
        (program,) = vht_kernels.programs(call, given(named(problem).draw(64)))
    cubin = folder / "lanes.cubin"
    usage = nvidia.assemble(program.ptx(architecture), architecture, cubin)
    (code,) = disassembled(cubin).values()
    found = of_a_step(code, inner=settings.step is not None)
    if not found:
        raise Unavailable("no loop was found in the assembled kernel")
    spilled = usage.spill_stores + usage.spill_loads
    return {"lanes": found.total(), "operations": dict(found), "registers": usage.registers, "spilled": spilled}


def _by_hand(problem: str, architecture: str, folder: pathlib.Path) -> dict[tuple[str, str], int]:
    """By mode and precision."""
    from benchmarks.peers import cuda_kernels

    cuda_kernels.assembled(architecture, (problem,), keep=folder)
    title = "".join(part.capitalize() for part in problem.split("_"))
    found = {}
    for name, code in disassembled(folder / f"{problem}.cubin").items():
        match cuda_kernels.readable(name).split(" "):
            case [kind, mode, precision] if kind == title and (count := of_a_step(code).total()):
                found[mode, precision] = count
    return found
