"""The benchmarks by name: their cases at full size, behind the records, and at small ones, to see that all works."""

from __future__ import annotations

from typing import Literal

from benchmarks.cases import (
    Bodies,
    Calibration,
    Cipa,
    Circulation,
    FirstResult,
    Gradients,
    Hostile,
    Impossible,
    Instructions,
    Jacobian,
    LongInputs,
    Periodic,
    Regroup,
    Stiff,
)

Case = (
    Circulation
    | Jacobian
    | Calibration
    | Impossible
    | FirstResult
    | Stiff
    | LongInputs
    | Periodic
    | Gradients
    | Hostile
    | Cipa
    | Bodies
    | Regroup
    | Instructions
)
Name = Literal[
    "circulation",
    "jacobian",
    "calibration",
    "impossible",
    "first-result",
    "stiff",
    "long-inputs",
    "periodic",
    "gradients",
    "hostile",
    "cipa",
    "bodies",
    "regroup",
    "instructions",
]

FULL: dict[Name, Case] = {
    "circulation": Circulation(),
    "jacobian": Jacobian(),
    "calibration": Calibration(),
    "impossible": Impossible(),
    "first-result": FirstResult(),
    "stiff": Stiff(),
    "long-inputs": LongInputs(),
    "periodic": Periodic(),
    "gradients": Gradients(),
    "hostile": Hostile(),
    "cipa": Cipa(),
    "bodies": Bodies(),
    "regroup": Regroup(),
    "instructions": Instructions(),
}
QUICK: dict[Name, Case] = {
    "circulation": Circulation(
        twins=512,
        seconds=2.0,
        saves=21,
        repeats=3,
        slow_repeats=1,
        reference=16,
        cvode=64,
        lsoda=8,
        diffrax=128,
        batch=128,
        small_batch=64,
    ),
    "jacobian": Jacobian(twins=16, seconds=2.0, saves=21, differences=2),
    "calibration": Calibration(twins=128, lsoda=1, cvode=8, rivals=4),
    "impossible": Impossible(twins=512, seconds=2.0, saves=21, repeats=5),
    "first-result": FirstResult(repeats=1, models=("left_heart",)),
    "stiff": Stiff(
        problems=("HIRES",),
        tolerances=(1e-3, 1e-5),
        copies=32,
        cvode_copies=2,
        diffrax_copies=16,
        ensembles=("HIRES",),
        twins=64,
        pilot=16,
        repeats=1,
        cvode=16,
        diffrax=16,
        batch=16,
        small_batch=16,
        compiled=("HIRES",),
        free=(0, 1),
    ),
    "long-inputs": LongInputs(week_twins=32, line_twins=16, line=5000, repeats=1, diffrax=4),
    "periodic": Periodic(twins=64, gradient_twins=4, rtols=(1e-6,), repeats=1),
    "gradients": Gradients(
        twins=8, cohorts=("oral drug", "insulin pump"), methods=("Tsit5",), rtols=(1e-5,), differences=2
    ),
    "hostile": Hostile(
        draws=1000, fixed_points=0, slice=128, models=("hysteresis", "junction"), methods=("Tsit5", "Rodas5P")
    ),
    "cipa": Cipa(beats=20, counts=(10,)),
    "bodies": Bodies(
        twins=16,
        bodies=("blood_pressure",),
        models=("blood_pressure", "minimal_glucose"),
        share=0.1,
        lanes=32,
        repeats=1,
        diffrax=4,
        ida=1,
        reference=4,
    ),
    "regroup": Regroup(
        twins=256,
        models=(),
        problems=(),
        looser=(10.0,),
        sample=64,
        pilots=1,
        slices=2,
        repeats=1,
        fitted=16,
        fits=1,
    ),
    "instructions": Instructions(problems=("lorenz",), precisions=("float32",)),
}
