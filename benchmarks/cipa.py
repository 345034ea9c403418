"""The twelve training drugs of the CiPA initiative told apart by qNet, beside published classes and the authors' program."""

from __future__ import annotations

import csv
import pathlib
import time
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.cases import Cipa
from benchmarks.outcome import Column, Outcome, Say, Table, Target

REFERENCE = pathlib.Path(__file__).parent / "cipa_reference.csv"
# beats to the mean over which qNet is taken: under quinidine a cell repeats itself only after two or four
LAST = 4
# of the authors
BEATS = 1000
# mV: above it the action potential has not ended when the next stimulus comes
REPOLARISED = -60.0
# steady state without a drug, uC/uF: ApPredict (Oxford), test/TestCipaQNetCalculator.hpp, which asserts it to 1e-5
APPREDICT = 0.06967

# Sotalol by automated measurements, whose qNet the authors publish: FDA/CiPA, branch Lab_Specific_Validation_Calibration_2020,
# chantest_AP_simulation/results/fixed/sotalol/metrics.rds; blocks from chantest_Hill_fitting/results/sotalol/IC50_optimal.csv,
# of which that program takes those of INa, INaL and ICaL
SOTALOL_BLOCKS = {"INa": (4.918e7, 0.6235), "INaL": (7.943e9, 1.98), "ICaL": (1.429e7, 0.9927)}
SOTALOL_MULTIPLES = (0.16, 0.32, 0.64, 0.96, 1.28, 2.56)
SOTALOL_QNET = (0.0674213, 0.0659757, 0.0636839, 0.0618053, 0.0601748, 0.0550571)

DRUGS = (
    Column("drug", "drug"),
    Column("published risk", "published"),
    Column("by its score", "found"),
    Column("score", "score", ".4f"),
    *(Column(f"qNet at {times} Cmax", f"qnet_{times}", ".4f") for times in (1, 2, 3, 4)),
    Column("authors, 1 Cmax", "authors_1", ".4f"),
    Column("authors, 4 Cmax", "authors_4", ".4f"),
    Column("outlasts a beat at", "lasting"),
)
SETTLING = (
    Column("beats", "beats", ",d"),
    Column("in their class", "right", "d"),
    Column("largest change of a score until the last", "apart", ".1e"),
)
SOTALOL = (
    Column("Cmax", "multiple", ".2f"),
    Column("qNet", "found", ".5f"),
    Column("published by the authors", "published", ".5f"),
    Column("apart", "apart", ".1e"),
)


def run(case: Cipa, say: Say) -> Outcome:
    """Run it.

    Args:
        case: sizes and settings.
        say: told what is going on.
    """
    from vht.model import Twins
    from vht.organs.ohara_rudy import OHaraRudyCiPA
    from vht.organs.ohara_rudy.cipa import MULTIPLES, drugs, exposed, risk

    known = drugs()
    counts = [count for count in case.counts if count < case.beats] + [case.beats]
    say(f"{case.beats} beats ...")
    cells = exposed()
    begin = time.perf_counter()
    solved = _beat(cells, case, counts)
    seconds = time.perf_counter() - begin
    # [drugs, multiples, counts], the mean of the last beats
    qnet = solved["qnet"].mean(axis=-1).reshape(len(known), len(MULTIPLES), len(counts))
    lasting = (solved["end"][:, -1].max(axis=-1) > REPOLARISED).reshape(len(known), len(MULTIPLES))
    scores = qnet.mean(axis=1)
    right = np.array(
        [[risk(score) == drug.risk for score in row] for drug, row in zip(known.values(), scores, strict=True)]
    )

    authors, rows = reference(case.beats), []
    for i, drug in enumerate(known.values()):
        row: dict[str, Any] = {"drug": drug.name, "published": drug.risk, "found": risk(scores[i, -1])}
        row["score"] = float(scores[i, -1])
        for k, times in enumerate(MULTIPLES):
            row[f"qnet_{times:g}"] = float(qnet[i, k, -1])
            row[f"authors_{times:g}"] = authors.get((drug.name, times))
        row["lasting"] = ", ".join(f"{times:g} Cmax" for times, so in zip(MULTIPLES, lasting[i], strict=True) if so)
        rows.append(row)
    apart = [
        abs(row[f"qnet_{times:g}"] - row[f"authors_{times:g}"])
        for row in rows
        for times in MULTIPLES
        if row[f"authors_{times:g}"] is not None
    ]

    say("sotalol, and no drug ...")
    blocks = {f"{name}_IC50": half for name, (half, _) in SOTALOL_BLOCKS.items()}
    blocks |= {f"{name}_h": hill for name, (_, hill) in SOTALOL_BLOCKS.items()}
    binding = {name: known["sotalol"].parameters[name] for name in ("Kmax", "Ku", "n", "halfmax", "Vhalf")}
    levels = [known["sotalol"].cmax * times for times in (*SOTALOL_MULTIPLES, 0.0)]
    columns = {name: np.full(len(levels), value) for name, value in (blocks | binding).items()}
    few = _beat(Twins(OHaraRudyCiPA, columns | {"D": np.array(levels)}), case, [case.beats])
    *sotalol, control = few["qnet"].mean(axis=(1, 2)).tolist()
    shares = [abs(mine / theirs - 1.0) for mine, theirs in zip(sotalol, SOTALOL_QNET, strict=True)]

    ranges = {
        name: [score for drug, score in zip(known.values(), scores[:, -1], strict=True) if drug.risk == name]
        for name in ("high", "intermediate", "low")
    }
    outcome = Outcome(f"qNet under 12 drugs at 1 to 4 Cmax, {len(cells)} cells of 48 states for {case.beats:,} beats")
    outcome.tables += [
        Table("drugs, qNet in uC/uF", DRUGS, rows),
        Table(
            "how many beats it takes",
            SETTLING,
            [
                {
                    "beats": count,
                    "right": int(right[:, k].sum()),
                    "apart": float(np.abs(scores[:, k] - scores[:, -1]).max()),
                }
                for k, count in enumerate(counts)
            ],
        ),
        Table(
            "sotalol by automated measurements",
            SOTALOL,
            [
                {"multiple": times, "found": float(mine), "published": theirs, "apart": share}
                for times, mine, theirs, share in zip(SOTALOL_MULTIPLES, sotalol, SOTALOL_QNET, shares, strict=True)
            ],
        ),
    ]
    outcome.targets += [
        Target("cells that reach the end", len(cells), int(solved["ok"].sum()), at_least=True),
        Target("drugs in their published class", len(known), int(right[:, -1].sum()), at_least=True),
        Target(
            "gap between high and intermediate risk",
            0.0,
            float(min(ranges["intermediate"]) - max(ranges["high"])),
            at_least=True,
            unit="uC/uF",
        ),
        Target(
            "gap between intermediate and low risk",
            0.0,
            float(min(ranges["low"]) - max(ranges["intermediate"])),
            at_least=True,
            unit="uC/uF",
        ),
        Target("largest difference from the authors' program", 1e-5, max(apart) if apart else None, unit="uC/uF"),
        Target(
            "largest relative difference from what they publish of sotalol",
            1e-4,
            max(shares) if case.beats >= BEATS else None,
        ),
        Target("without a drug, difference from ApPredict", 1e-5, abs(control - APPREDICT), unit="uC/uF"),
    ]
    outcome.notes += [
        "A beat every 2000 ms, from the periodic state without a drug (Dutta et al. 2017); qNet is the mean over the last "
        f"{LAST} beats, the score its mean over 1 to 4 Cmax. Below 0.0579 the risk counts as high, from 0.0689 on as low "
        "(Li et al. 2019, manual measurements).",
        "The authors' program, which is in C, was run by CVODE (cipa_reference.csv). The authors themselves publish figures of "
        "few drugs, by LSODA at a tolerance of 1e-6, absolute too.",
        "Some action potentials outlast a beat, so that only every second stimulus makes one; their qNet spreads over two "
        "beats.",
        f"{len(cells) * case.beats / seconds:,.0f} beats a second, compiling included.",
    ]
    return outcome


def _beat(cells: Any, case: Cipa, counts: list[int]) -> dict[str, Any]:
    """qNet of the last beats before each count of beats, and the potential at their ends ``[cells, counts, beats]``."""
    from vht.organs.ohara_rudy import OHaraRudyCiPA
    from vht.organs.ohara_rudy.cipa import CONTROL, CYCLE, DURATION, NODES, STIMULUS, qnet
    from vht.solve import Doses, Rodas5P, Schedule, simulate

    beats = np.arange(case.beats)
    shown = np.array([[count - LAST + k for k in range(LAST)] for count in counts])
    times = (CYCLE * shown[:, :, None] + np.append(NODES, CYCLE)).ravel()
    stimulus = Doses(CYCLE * beats, np.full(case.beats, STIMULUS * DURATION), np.full(case.beats, DURATION))
    found = simulate(
        OHaraRudyCiPA(),
        times,
        twins=cells,
        initial=CONTROL,
        schedule=Schedule(doses={"stimulus": stimulus}),
        observe=["INet", "v"],
        method=Rodas5P(rtol=case.rtol, atol=case.atol, max_steps=1000 * case.beats),
    )
    shape = (len(cells), len(counts), LAST, len(NODES) + 1)
    current: Float[np.ndarray, "cells counts beats nodes"] = np.asarray(found.values["INet"]).reshape(shape)
    potential = np.asarray(found.values["v"]).reshape(shape)
    return {"qnet": qnet(current[..., :-1]), "end": potential[..., -1], "ok": np.asarray(found.ok)}


def reference(beats: int) -> dict[tuple[str, float], float]:
    """qNet by the authors' program after so many beats, by drug and multiple of Cmax; uC/uF."""
    lines = [line for line in REFERENCE.read_text().splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if int(row["beats"]) == beats]
    return {(row["drug"], float(row["multiple"])): float(row["qNet [uC/uF]"]) for row in rows}
