"""Stiff problems that everybody solves: five of the usual test problems, and a beat of a heart muscle cell.

Reference values of the test problems: F. Mazzia, C. Magherini, "Test Set for Initial Value Problem Solvers", release 2.4
(2008), by RADAU5 in quadruple precision at a tolerance of 1.1e-18. The beat has none: CVODE at 1e-12 takes their place.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from vht.model import Organ, initial_state, parameters, states

_TEST_SET = "Test Set for IVP Solvers 2.4"


@dataclass(frozen=True)
class Pulse:
    """An input that is `value` for a while and 0 otherwise."""

    port: str
    start: float
    duration: float
    value: float


@dataclass(frozen=True)
class Problem:
    """A problem and what is known of its solution.

    Attributes:
        name: as in the test set.
        home: module and class of its model.
        number: in the table of the C peer (peers/stiff_table.h).
        end: time at which solutions are compared, from 0.
        threshold: size of a state from which on its relative error counts: ``atol = rtol * threshold``.
        varied: parameters that differ between twins, in the order of the C peer; by default all.
        pulse: an input, or None.
        reference: states at the end, or None where nobody published them.
        source: of the reference.
    """

    name: str
    home: tuple[str, str]
    number: int
    end: float
    threshold: float
    varied: tuple[str, ...] = ()
    pulse: Pulse | None = None
    reference: tuple[float, ...] | None = None
    source: str = ""

    @property
    def model(self) -> Organ:
        """The model with its own parameters.

        Raises:
            ImportError: if there is none.
        """
        return _model(self.home)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the states, in order."""
        return tuple(states(self.model))

    @property
    def stops(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Ends of the stretches with constant input, and the input in each."""
        if self.pulse is None:
            return (self.end,), (0.0,)
        return (self.pulse.start, self.pulse.start + self.pulse.duration, self.end), (0.0, self.pulse.value, 0.0)


@functools.cache
def _model(home: tuple[str, str]) -> Organ:
    return getattr(importlib.import_module(home[0]), home[1])()


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Twins of a problem as plain numbers.

    Attributes:
        problem: theirs.
        names: of the parameters.
        parameters: in that order.
        initial: states at time 0, in the model's order.
    """

    problem: Problem
    names: tuple[str, ...]
    parameters: Float[np.ndarray, "twins parameters"]
    initial: Float[np.ndarray, "twins states"]

    def __len__(self) -> int:
        return len(self.parameters)

    def take(self, which: slice | Int[np.ndarray, " some"]) -> Ensemble:
        """Some of the twins."""
        return replace(self, parameters=self.parameters[which], initial=self.initial[which])


def ensemble(problem: Problem, twins: int, *, spread: float = 0.0, seed: int = 0) -> Ensemble:
    """Twins whose parameters are log-normal about the model's own, each on its own.

    Args:
        problem: to solve.
        twins: how many.
        spread: standard deviation of the logarithms; 0 gives equal twins.
        seed: equal seeds give equal twins.
    """
    model = problem.model
    names = problem.varied or tuple(parameters(model))
    own = np.array([float(getattr(model, name)) for name in names])
    drawn = np.random.default_rng([seed, problem.number]).standard_normal((twins, len(names)))
    begin = initial_state(model)
    initial = np.array([float(getattr(begin, name)) for name in problem.names])
    return Ensemble(problem, names, own * np.exp(spread * drawn), np.tile(initial, (twins, 1)))


def errors(
    values: Float[np.ndarray, "twins states"], reference: Float[np.ndarray, "twins states"], problem: Problem
) -> Float[np.ndarray, " twins"]:
    """Each twin's largest error at the end, relative to the state's size plus the problem's threshold.

    Divided by rtol this is the error in units of the tolerance asked, as ``rtol * (|y| + threshold) = rtol * |y| + atol``.
    """
    return np.max(np.abs(values - reference) / (np.abs(reference) + problem.threshold), axis=-1)


_MODELS = "benchmarks.stiff_models"

VDPOL = Problem(
    name="VDPOL",
    home=(_MODELS, "VanDerPol"),
    number=0,
    end=2000.0,
    threshold=1e-3,
    # the test set has time in units of mu, and so velocity in units of 1/mu
    reference=(0.1706167732170483e1, -0.8928097010247975e-3),
    source=_TEST_SET,
)
ROBER = Problem(
    name="ROBER",
    home=(_MODELS, "Robertson"),
    number=1,
    end=1e11,
    threshold=1e-8,
    reference=(0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
    source=_TEST_SET,
)
OREGO = Problem(
    name="OREGO",
    home=(_MODELS, "Oregonator"),
    number=2,
    end=360.0,
    threshold=1e-2,
    reference=(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
    source=_TEST_SET,
)
HIRES = Problem(
    name="HIRES",
    home=(_MODELS, "Hires"),
    number=3,
    end=321.8122,
    threshold=1e-4,
    reference=(
        *(0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2),
        *(0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2),
    ),
    source=_TEST_SET,
)
POLLU = Problem(
    name="POLLU",
    home=(_MODELS, "Pollu"),
    number=4,
    end=60.0,
    threshold=1e-6,
    reference=(
        *(0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8, 0.5523140207484359e-2),
        *(0.2018977262302196e-6, 0.1464541863493966e-6, 0.7784249118997964e-1, 0.3245075353396018),
        *(0.7494013383880406e-2, 0.1622293157301561e-7, 0.1135863833257075e-7, 0.2230505975721359e-2),
        *(0.2087162882798630e-3, 0.1396921016840158e-4, 0.8964884856898295e-2, 0.4352846369330103e-17),
        *(0.6899219696263405e-2, 0.1007803037365946e-3, 0.1772146513969984e-5, 0.5682943292316392e-4),
    ),
    source=_TEST_SET,
)
TEN_TUSSCHER = Problem(
    name="ten Tusscher 2006",
    home=("vht.organs.ten_tusscher", "TenTusscher2006"),
    number=5,
    end=400.0,
    threshold=1e-4,
    varied=(
        *("g_Na", "g_CaL", "g_to", "g_Kr", "g_Ks", "g_K1", "K_NaCa", "P_NaK", "g_pCa", "g_pK", "g_bna", "g_bca"),
        *("Vmax_up", "V_rel", "V_leak"),
    ),
    pulse=Pulse("stimulus", 10.0, 1.0, -52.0),
    source="CVODE at 1e-12",
)

# compiled only, as the largest: the C peer has no such number
OHARA_RUDY = Problem(
    name="O'Hara-Rudy CiPA",
    home=("vht.organs.ohara_rudy", "OHaraRudyCiPA"),
    number=6,
    end=400.0,
    threshold=1e-4,
    varied=("GNa", "GNaL", "Gto", "PCa", "GKr", "GKs", "GK1", "Gncx"),
    pulse=Pulse("stimulus", 10.0, 0.5, -80.0),
)

PROBLEMS: dict[str, Problem] = {p.name: p for p in (VDPOL, ROBER, OREGO, HIRES, POLLU, TEN_TUSSCHER)}
