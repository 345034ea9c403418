"""The CiPA initiative's training drugs: their risks by qNet against the published classes and the authors' program."""

from __future__ import annotations

import importlib.resources
import re

import numpy as np
import pytest

import vht
from benchmarks.cipa import reference
from vht.errors import ModelError
from vht.model import Twins, parameters
from vht.organs.ohara_rudy import OHaraRudyCiPA
from vht.organs.ohara_rudy.cipa import (
    CONTROL,
    CYCLE,
    DURATION,
    MULTIPLES,
    NODES,
    STIMULUS,
    WEIGHTS,
    drugs,
    exposed,
    qnet,
    risk,
)

# Li et al. 2017, Table 1
PUBLISHED = {
    "high": {"bepridil", "dofetilide", "quinidine", "sotalol"},
    "intermediate": {"chlorpromazine", "cisapride", "ondansetron", "terfenadine"},
    "low": {"diltiazem", "mexiletine", "ranolazine", "verapamil"},
}
# far from periodic, and enough to tell all classes apart; see `python -m benchmarks cipa` for the authors' 1000
BEATS = 200


@pytest.fixture(scope="module")
def cohort():
    """All drugs at 1 to 4 Cmax, and a cell without; qNet of beats 17 to 20 and of the last four ``[cells, 2, 4]``."""
    cells = exposed()
    columns = {name: np.append(column, column[-1]) for name, column in cells.columns.items()}
    columns["D"][-1] = 0.0
    beat = np.arange(BEATS)
    shown = np.array([16, 17, 18, 19, *beat[-4:]])
    found = vht.simulate(
        OHaraRudyCiPA(),
        (CYCLE * shown[:, None] + NODES).ravel(),
        twins=columns,
        initial=CONTROL,
        schedule=vht.Schedule(
            doses={"stimulus": vht.Doses(CYCLE * beat, np.full(BEATS, STIMULUS * DURATION), np.full(BEATS, DURATION))}
        ),
        observe=["INet"],
        method=vht.Rodas5P(rtol=1e-5, atol=1e-9, max_steps=1_000_000),
    )
    assert found.ok.all()
    current = np.asarray(found.values["INet"]).reshape(len(columns["D"]), 2, 4, len(NODES))
    return (*((name, times) for name in drugs() for times in MULTIPLES), ("none", 0.0)), qnet(current)


def test_qnet_agrees_with_the_authors_program(cohort, verified):
    names, found = cohort
    expected = reference(20)
    assert len(expected) == len(names)
    off = [abs(found[i, 0].mean() - expected[name]) for i, name in enumerate(names)]
    what = "qNet under 12 drugs at 1 to 4 Cmax, 20 beats"
    verified("ohara_rudy", what, "the CiPA authors' program, by CVODE", reached=max(off), within=1e-5, unit="uC/uF")


def test_qnet_without_a_drug(cohort, verified):
    """ApPredict, another group's program, asserts 0.06967 (test/TestCipaQNetCalculator.hpp)."""
    _, found = cohort
    off = abs(found[-1, -1].mean() - 0.06967)
    verified("ohara_rudy", "qNet without a drug", "ApPredict, 0.06967 uC/uF", reached=off, within=1e-5, unit="uC/uF")


def test_drugs_are_in_their_published_classes(cohort, verified):
    _, found = cohort
    scores = found[:-1, -1].mean(axis=-1).reshape(-1, len(MULTIPLES)).mean(axis=-1)
    classes = {
        name: {drug for drug, score in zip(drugs(), scores, strict=True) if risk(score) == name} for name in PUBLISHED
    }
    assert classes == PUBLISHED
    by_name = dict(zip(drugs(), scores, strict=True))
    high, middle, low = ([by_name[drug] for drug in PUBLISHED[name]] for name in ("high", "intermediate", "low"))
    assert max(high) < min(middle) and max(middle) < min(low)
    right = sum(len(classes[name] & PUBLISHED[name]) for name in PUBLISHED)
    what = "CiPA training drugs in their class of risk, by the torsade metric score"
    verified("ohara_rudy", what, "Li et al. 2019; Dutta et al. 2017", reached=right, within=(12, 12), unit="drugs")


def test_the_table_of_drugs():
    known = drugs()
    assert {name: {drug.name for drug in known.values() if drug.risk == name} for name in PUBLISHED} == PUBLISHED
    # Li et al. 2017, Table 1: free Cmax, nmol/L
    assert known["dofetilide"].cmax == 2.0 and known["mexiletine"].cmax == 4129.0
    for drug in known.values():
        assert {"Kmax", "Ku", "n", "halfmax", "Vhalf"} <= set(drug.parameters), drug.name
        blocks = {name.removesuffix("_IC50") for name in drug.parameters if name.endswith("_IC50")}
        assert {f"{current}_h" for current in blocks} == {name for name in drug.parameters if name.endswith("_h")}
    # the headers' units are the cell's
    text = importlib.resources.files("vht.organs.ohara_rudy").joinpath("cipa_drugs.csv").read_text()
    header = next(line for line in text.splitlines() if line.startswith("drug,"))
    for name, unit in re.findall(r"(\w+) \[(.*?)\]", header):
        assert unit == ("nmol/L" if name == "cmax" else parameters(OHaraRudyCiPA)[name].unit), name


def test_cells_with_a_drug():
    cells = exposed(["verapamil", "dofetilide"], [0.0, 10.0])
    assert cells.names == ("verapamil, 0 Cmax", "verapamil, 10 Cmax", "dofetilide, 0 Cmax", "dofetilide, 10 Cmax")
    assert cells.columns["D"].tolist() == [0.0, 810.0, 0.0, 20.0]
    # of what one drug does not block the other's number is not taken
    assert cells.columns["INaL_IC50"].tolist() == [7028.0] * 2 + [753100.0] * 2
    assert cells.columns["INa_IC50"].tolist() == [OHaraRudyCiPA().INa_IC50] * 2 + [380.5] * 2
    assert not exposed().outside_bounds()
    with pytest.raises(ModelError, match=r"no drug `sotolol`\. Did you mean `sotalol`\?"):
        exposed(["sotolol"])


def test_the_quadrature_is_right_to_what_it_says():
    """Peaks as narrow as the upstroke's and as repolarisation's, against their closed forms."""
    assert WEIGHTS.sum() == pytest.approx(CYCLE, rel=1e-13)

    def peak(centre, width):
        return np.exp(-0.5 * ((NODES - centre) / width) ** 2)

    for centre, width in ((2.0, 0.3), (300.0, 5.0), (305.0, 5.0)):
        assert qnet(peak(centre, width)) == pytest.approx(width * np.sqrt(2 * np.pi) / 1000.0, abs=1e-6)
    assert qnet(np.exp(-NODES / 50.0)) == pytest.approx(0.05 * (1.0 - np.exp(-CYCLE / 50.0)), rel=1e-10)


@pytest.mark.parametrize(
    ("score", "found"),
    [(-0.1, "high"), (0.0578, "high"), (0.0579, "intermediate"), (0.0688, "intermediate"), (0.0689, "low")],
)
def test_thresholds(score, found):
    assert risk(score) == found


def test_drawn_cells_beat():
    cells = Twins.sample(OHaraRudyCiPA, 64, seed=0)
    stimulus = vht.Doses(np.zeros(1), np.array([STIMULUS * DURATION]), np.array([DURATION]))
    found = vht.simulate(
        OHaraRudyCiPA(),
        np.append(NODES, CYCLE),
        twins=cells,
        schedule=vht.Schedule(doses={"stimulus": stimulus}),
        observe=["INet"],
        method=vht.Rodas5P(rtol=1e-6, atol=1e-9),
    )
    assert found.ok.all()
