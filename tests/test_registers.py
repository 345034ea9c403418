"""PTX of every model that ships: written, sound, and no hungrier for registers than what is on record.

All kinds are written for sm_90, whose text is that of the other architectures but for two lines (a test here), large ones in
float32 only with ``--assemble-all``. What is in float64 is on record for three architectures, the rest for sm_90.
"""

from __future__ import annotations

import dataclasses

import pytest
from model_programs import methods, program
from registers import ARCHITECTURES, FOLDER, GROWTH, LARGE, Record, Written, common, flaws, growth, versions
from vht_kernels import nvidia
from vht_kernels.nvidia import Usage

from vht.library import catalogue

# what follows the method's name: dtype, sensitivities, and what the assembler is asked for
KINDS = {
    "": ("float64", 0, ARCHITECTURES),
    ", float32": ("float32", 0, ("sm_90",)),
    ", 2 sensitivities": ("float64", 2, ARCHITECTURES),
}
AGAIN = "if that must be so, run `pytest --record-registers tests/test_registers.py`, with `ptxas` on the PATH"


@pytest.mark.parametrize("name", list(catalogue()))
def test_kernels_of_the_model(name, request):
    model, record = catalogue()[name](), Record(name)
    anew, everything = map(request.config.getoption, ("--record-registers", "--assemble-all"))
    assert not anew or nvidia.assembler(), "`ptxas` is needed to record what it says, but is not on the PATH"
    faults, found = [], {}
    for method in methods(model):
        for suffix, (dtype, directions, architectures) in KINDS.items():
            kind = method + suffix
            kept = record.written(kind)
            if dtype == "float32" and not (anew or everything) and kept is not None and kept.lines > LARGE:
                # much time for a text that says what that of float64 says
                continue
            kernel = program(name, model, method, dtype, directions)
            ptx = kernel.ptx("sm_90")
            written, usages = Written.of(ptx), {}
            # the text on record was taken apart when it was put there
            if anew or kept is None or kept.digest != written.digest:
                faults += [f"{kind} has {flaw}" for flaw in flaws(ptx, kernel, "sm_90")]
            same = versions()["ptxas"] in ("", record.versions.get("ptxas"))
            before = record.usages(kind)
            known = before if same and written.digest == record.assembled(kind) else {}
            if nvidia.assembler() and (everything or written.lines <= LARGE):
                usages = {a: known.get(a) or nvidia.assemble(kernel.ptx(a), a) for a in architectures}
            found[kind] = (written, usages)
            if anew:
                continue
            if kept is None:
                faults.append(f"{kind} is not on record")
            elif written.lines > GROWTH * kept.lines:
                faults.append(f"{kind} has {written.lines} lines where {kept.lines} are on record")
            for architecture in usages.keys() & before.keys():
                grown = growth(usages[architecture], before[architecture])
                faults += [f"{kind}, {architecture}: {what}" for what in grown]
    if anew:
        record.write(found)
    else:
        every = {method + suffix for method in methods(model) for suffix in KINDS}
        faults += [f"{kind} is on record, but no kernel any more" for kind in record.kernels if kind not in every]
    assert not faults, f"`{name}`: " + "; ".join(faults) + f" ({AGAIN})"


def test_every_record_is_of_a_model():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(catalogue())


@pytest.mark.parametrize(("name", "method"), [("circulation", "Tsit5"), ("drug_2", "Rodas5P"), ("noble", "RushLarsen")])
def test_architectures_differ_in_two_lines(name, method):
    kernel = program(name, catalogue()[name](), method)
    texts = {a: kernel.ptx(a) for a in ARCHITECTURES}
    for architecture, text in texts.items():
        assert not flaws(text, kernel, architecture)
    assert len(set(texts.values())) == len(ARCHITECTURES)
    assert len({common(text) for text in texts.values()}) == 1


@pytest.fixture(scope="module")
def kernel():
    return program("drug_1", catalogue()["drug_1"](), "Tsit5")


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        ("\tdiv.rn.f64 ", "\tdiv.approx.ftz.f64 ", "inexact `div.approx.ftz.f64`"),
        ("\tadd.rn.f64 ", "\tadd.f64 ", "`add.f64`, whose rounding"),
        (".target sm_90", ".target sm_90a", "the targets"),
        (".maxntid 64", ".maxntid 128", "blocks of 128 threads"),
        (".visible .entry ", ".visible .func ", "0 kernels"),
        ("\tret;", "\tcall.uni exp, ();\n\tret;", "a call of `exp`"),
        ("_param_0,", "_param_0,\n\t.param .u32 more,", "parameters of"),
    ],
)
def test_flaws_are_found(kernel, old, new, flaw):
    ptx = kernel.ptx("sm_90")
    assert old in ptx
    assert flaws(ptx, kernel, "sm_90") == []
    found = flaws(ptx.replace(old, new, 1), kernel, "sm_90")
    assert len(found) == 1 and flaw in found[0], found


def test_growth_is_refused():
    kept = Usage(registers=100, spill_stores=1000, spill_loads=2000, stack=0)
    assert not growth(kept, kept)
    assert not growth(Usage(110, 1100, 2200, 64), kept)
    assert growth(Usage(111, 1000, 2000, 0), kept) == ["registers 111 where 100 are on record and 110 are allowed"]
    for field, most in (("spill_stores", 1100), ("spill_loads", 2200), ("stack", 64)):
        (said,) = growth(dataclasses.replace(kept, **{field: most + 1}), kept)
        assert field in said and str(most + 1) in said
    # few registers: a warp gets them by eight a thread
    assert not growth(dataclasses.replace(kept, registers=40), dataclasses.replace(kept, registers=33))
    assert growth(dataclasses.replace(kept, registers=41), dataclasses.replace(kept, registers=33))


def test_a_record_is_read_as_it_was_written(tmp_path):
    usage = {"sm_90": Usage(96, 0, 8, 16)}
    Record("drug", tmp_path).write({"Tsit5": (Written("0123", 17), usage)})
    kept = Record("drug", tmp_path)
    assert kept.versions == versions() and kept.written("Tsit5") == Written("0123", 17)
    assert kept.usages("Tsit5") == usage and kept.usages("Rodas5P") == {}
    assert kept.written("Rodas5P") is None and Record("other", tmp_path).kernels == {}
    # another text of which the assembler was not asked
    kept.write({"Tsit5": (Written("4567", 18), {}), "Rodas5P": (Written("89ab", 9), {})})
    later = Record("drug", tmp_path)
    assert later.written("Tsit5") == Written("4567", 18) and later.assembled("Tsit5") == "0123"
    assert later.usages("Tsit5") == usage and later.assembled("Rodas5P") is None


def test_the_name_of_a_kernel_and_comments_do_not_change_a_digest(kernel):
    ptx = kernel.ptx("sm_90")
    other = ptx.replace("lanes_", "lanes_").replace("// workspace", "// nothing")
    renamed = "".join("lanes_" + "0" * 16 + part[16:] if i else part for i, part in enumerate(other.split("lanes_")))
    assert renamed != ptx and Written.of(renamed) == Written.of(ptx)
    assert Written.of(ptx.replace("add.rn.f64", "sub.rn.f64", 1)) != Written.of(ptx)
