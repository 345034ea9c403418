"""Machine instructions of a step: what is counted in a disassembly."""

from __future__ import annotations

import shutil

import pytest
from vht_kernels import nvidia

from benchmarks.instructions import kernels, loops, of_a_step, once_around, run
from benchmarks.peers import cuda_kernels
from benchmarks.sizes import QUICK

# a kernel that sets out, then steps: a slow path in between, a loop of saves and one of strides, each behind a label of its own
TEXT = """
\t.headerflags\t@"EF_CUDA_SM90"
//--------------------- .text.lanes_1 --------------------------
.text.lanes_1:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_4:
        /*0010*/                   FADD R2, R2, R3 ;
        /*0020*/              @!P1 BRA `(.L_x_1) ;
        /*0030*/                   CALL.REL.NOINC `($slow) ;
.L_x_1:
        /*0040*/                   FFMA.FTZ R4, R2, R2, R4 ;
.L_x_2:
        /*0050*/                   FMUL R5, R5, R5 ;
        /*0060*/                   IADD3 R6, R6, 0x1, RZ ;
        /*0070*/               @P2 BRA `(.L_x_2) ;
        /*0080*/               @P3 BRA `(.L_x_3) ;
.L_x_5:
        /*0090*/                   STG.E desc[UR4][R8.64], R5 ;
        /*00a0*/                   FMUL R5, R5, R5 ;
        /*00b0*/                   FMUL R5, R5, R5 ;
        /*00c0*/                   FMUL R5, R5, R5 ;
        /*00d0*/              @!P4 BRA P5, `(.L_x_5) ;
.L_x_3:
        /*00e0*/              @!P6 BRA `(.L_x_4) ;
        /*00f0*/                   EXIT ;
.L_x_6:
        /*0100*/                   BRA `(.L_x_6);
//--------------------- .text.other --------------------------
.text.other:
        /*0000*/                   EXIT ;
"""


def test_a_step_goes_past_what_is_rare():
    found = kernels(TEXT)
    assert set(found) == {"lanes_1", "other"} and found["other"].lines == ("EXIT",)
    code = found["lanes_1"]
    assert len(code.lines) == 17 and code.labels[".L_x_4"] == 1
    assert sorted(loops(code)) == [(1, 14), (5, 7), (9, 13)]
    # neither the call nor the saves
    assert once_around(code, (1, 14)) == {"FADD": 1, "BRA": 4, "FFMA": 1, "FMUL": 1, "IADD3": 1}
    assert of_a_step(code).total() == 8
    # of the loops inside, the one that writes nothing
    assert of_a_step(code, inner=True) == {"FMUL": 1, "IADD3": 1, "BRA": 1}
    assert of_a_step(found["other"]).total() == 0


def test_names_of_kernels_by_hand():
    assert cuda_kernels.readable("_Z8adaptiveI6LorenzIfEEv9ArgumentsIT_E") == "Lorenz adaptive float32"
    assert cuda_kernels.readable("_Z3rk4I6LorenzIdEEv9ArgumentsIT_E") == "Lorenz rk4 float64"
    assert cuda_kernels.readable("something_else") == "something_else"


def test_a_quick_run_counts_or_says_what_is_missing():
    found = run(QUICK["instructions"], lambda text: None)
    (table,) = found.tables
    tools = nvidia.assembler() and (shutil.which("nvdisasm") or shutil.which("/usr/local/cuda/bin/nvdisasm"))
    if not tools:
        assert not table.rows and any("no nvdisasm" in why or "no ptxas" in why for why in found.skipped.values())
        return
    counts = {row["mode"]: row["lanes"] for row in table.rows}
    # a step of Tsit5 on Lorenz' equations has at least 99 operations, one of the classical method 45
    assert 99 <= counts["fixed"] <= 120 and 45 <= counts["rk4"] <= 60 and 150 <= counts["adaptive"] <= 320
    if all(target.measured is not None for target in found.targets):
        assert all(target.met for target in found.targets)


@pytest.mark.parametrize("name", ["lorenz", "circulation"])
def test_cases_have_kernels_by_hand(name):
    assert name in cuda_kernels.PROBLEMS and name in cuda_kernels.UNITS
