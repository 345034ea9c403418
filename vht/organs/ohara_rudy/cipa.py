"""The drugs that the CiPA initiative's model was trained with, and qNet, the metric that tells their risks apart.

Protocol (Dutta et al. 2017, Li et al. 2019): a cell that beats every 2000 ms starts from its periodic state without a drug
(`CONTROL`) and beats on with one, at one to four times the largest free concentration in therapy, for 1000 beats. qNet is the
integral of `INet` over a beat, and a drug's *torsade metric score* its mean over the four concentrations. A large one is safe::

    cells = exposed(["dofetilide", "verapamil"])  # four twins each
    beat = np.arange(1000)
    stimulus = vht.Doses(CYCLE * beat, np.full(1000, STIMULUS * DURATION), np.full(1000, DURATION))
    found = vht.simulate(
        OHaraRudyCiPA(),
        CYCLE * beat[-1] + NODES,
        twins=cells,
        initial=CONTROL,
        schedule=vht.Schedule(doses={"stimulus": stimulus}),
        observe=["INet"],
        method=vht.Rodas5P(rtol=1e-5, max_steps=1_000_000),
    )
    score = qnet(found.values["INet"]).reshape(2, 4).mean(axis=1)
    [risk(one) for one in score]  # ["high", "low"]
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float

from vht.errors import ModelError, nearest
from vht.model import Twins
from vht.organs.ohara_rudy.cell import OHaraRudyCiPA

Risk = Literal["low", "intermediate", "high"]
_RISKS: Mapping[str, Risk] = MappingProxyType({"low": "low", "intermediate": "intermediate", "high": "high"})

CYCLE = 2000.0
"""Time from one stimulus to the next, ms."""
STIMULUS, DURATION = -80.0, 0.5
"""The stimulus, uA/uF, and how long it takes, ms."""
MULTIPLES = (1.0, 2.0, 3.0, 4.0)
"""Of the largest free concentration in therapy, over which the torsade metric score is the mean (Li et al. 2019)."""
THRESHOLDS: Mapping[Risk, float] = MappingProxyType({"high": 0.0579, "intermediate": 0.0689})
"""Torsade metric scores below which a drug's risk is high, or else intermediate, uC/uF: Li et al. 2019, for measurements by
manual patch clamp, as those of these drugs are (0.0581 and 0.0671 for automated ones)."""

CONTROL: Mapping[str, float] = MappingProxyType(
    {
        "v": -88.0145,
        "nai": 6.46961,
        "nass": 6.46967,
        "ki": 145.501,
        "kss": 145.501,
        "cai": 7.45321e-5,
        "cass": 7.30454e-5,
        "cansr": 1.37897,
        "cajsr": 1.37944,
        "m": 0.00733485,
        "hf": 0.698542,
        "hs": 0.698542,
        "j": 0.698542,
        "hsp": 0.455526,
        "jp": 0.698541,
        "mL": 0.000187813,
        "hL": 0.513396,
        "hLp": 0.307923,
        "a": 0.00100025,
        "iF": 0.999555,
        "iS": 0.871715,
        "ap": 0.000509652,
        "iFp": 0.999555,
        "iSp": 0.905466,
        "d": 2.33382e-9,
        "ff": 1.0,
        "fs": 0.971897,
        "fcaf": 1.0,
        "fcas": 1.0,
        "jca": 1.0,
        "nca": 0.0015391,
        "ffp": 1.0,
        "fcafp": 1.0,
        "xs1": 0.130941,
        "xs2": 0.000192517,
        "xk1": 0.996756,
        "Jrelnp": 1.46507e-7,
        "Jrelp": 1.83132e-7,
        "CaMKt": 0.00325232,
    }
)
"""The periodic state without a drug at the beginning of a beat, from the authors' program (FDA/CiPA, version 1.0,
AP_simulation/models/newordherg_states_CL2000.txt); hERG channels are as in the model's own initial state."""


@dataclasses.dataclass(frozen=True)
class Drug:
    """A drug.

    Attributes:
        name: in lower case.
        risk: of torsade de pointes, as the CiPA initiative's experts judged it.
        cmax: largest free concentration in therapy, nmol/L.
        parameters: of `OHaraRudyCiPA`, by name; what it does not block is not named.
    """

    name: str
    risk: Risk
    cmax: float
    parameters: Mapping[str, float]


def drugs() -> dict[str, Drug]:
    """The twelve drugs by name."""
    text = importlib.resources.files("vht.organs.ohara_rudy").joinpath("cipa_drugs.csv").read_text(encoding="utf-8")
    found = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        name, judged = row.pop("drug"), row.pop("risk")
        numbers = {re.sub(r" \[.*\]", "", header): float(cell) for header, cell in row.items() if cell}
        cmax = numbers.pop("cmax")
        found[name] = Drug(name, _RISKS[judged], cmax, MappingProxyType(numbers))
    return found


def exposed(names: Sequence[str] | None = None, multiples: Sequence[float] = MULTIPLES) -> Twins:
    """Cells with a drug each: every drug at every concentration, one drug after the other.

    Args:
        names: of the drugs; by default all.
        multiples: of each drug's largest free concentration in therapy.

    Raises:
        ModelError: an unknown drug; suggests the nearest.
    """
    known = drugs()
    names = tuple(known) if names is None else names
    for name in names:
        if name not in known:
            raise ModelError(f"There is no drug `{name}`.{nearest(name, known)}")
    rows = [(known[name], times) for name in names for times in multiples]
    # what a drug has no number of stays the cell's own
    own = OHaraRudyCiPA()
    columns = {"D": [drug.cmax * times for drug, times in rows]} | {
        parameter: [drug.parameters.get(parameter, getattr(own, parameter)) for drug, _ in rows]
        for parameter in dict.fromkeys(key for name in names for key in known[name].parameters)
    }
    return Twins(OHaraRudyCiPA, columns, names=[f"{drug.name}, {times:g} Cmax" for drug, times in rows])


def risk(score: float) -> Risk:
    """A drug's class by its torsade metric score, uC/uF."""
    if score < THRESHOLDS["high"]:
        return "high"
    return "intermediate" if score < THRESHOLDS["intermediate"] else "low"


def _quadrature() -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Gauss-Legendre's rule on pieces as short as the upstroke and then as repolarisation: right to 1e-6 uC/uF."""
    edges = np.concatenate([[0.0], np.arange(0.5, 10.0, 0.25), np.arange(10.0, CYCLE + 1.0, 10.0)])
    points, shares = np.polynomial.legendre.leggauss(5)
    half, middle = np.diff(edges)[:, None] / 2.0, ((edges[1:] + edges[:-1]) / 2.0)[:, None]
    return (middle + half * points).ravel(), (half * shares).ravel()


NODES, WEIGHTS = _quadrature()
"""Times in a beat at which `INet` is wanted, ms, and by how much each counts in the integral, ms."""


def qnet(INet: Float[np.ndarray, "*cells nodes"]) -> Float[np.ndarray, "*cells"]:
    """Integral of `INet` over a beat, uC/uF (Dutta et al. 2017, who write C/F).

    Args:
        INet: at `NODES`, uA/uF.
    """
    # uA ms = nC
    return np.asarray(np.asarray(INet) @ WEIGHTS / 1000.0)
