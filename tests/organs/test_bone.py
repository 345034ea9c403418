"""Bone remodelling against the paper's steady state, SciPy, and the responses the paper reports."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import vht
from vht.model import states
from vht.organs.bone import LemaireBone
from vht.solve import Doses, Schedule

PRECISE = vht.Tsit5(rtol=1e-10, atol=1e-16, max_steps=200_000)
# Lemaire et al. 2004, figure 2: what enters from day 20 to day 80, in pM a day
ENTERS = {"I_P": 1e3, "I_L": 10.0, "I_O": 2e5, "I_R": 1e-4, "I_B": 1e-4, "I_C": 1e-4}
PRINTED = {"R": 7.734e-4, "B": 7.282e-4, "C": 9.127e-4}


def lemaire(y, I_P=0.0, I_O=0.0, I_L=0.0, I_R=0.0, I_B=0.0, I_C=0.0):
    """The paper's equations once more, with the concentrations of PTH, RANKL and its complexes spelt out."""
    R, B, C = y
    f0, Cs, K = 0.05, 5e-3, 10.0
    dissociation_RANK, dissociation_OPG, dissociation_PTH = 1.7e-2 / 5.8e-4, 10.0 / 1e-2, 3.0 / 0.02
    TGF = (C + f0 * Cs) / (C + Cs)
    PTH, PTH_half = (250.0 + I_P) / 86.0, I_P / 86.0 + dissociation_PTH
    occupied = PTH / PTH_half
    OPG = (2e5 * R / occupied + I_O) / 0.35
    # RANKL is shared between RANK, OPG and freedom; what cells present is its total
    free = (3e6 * occupied * B) / (1 + K / dissociation_RANK + OPG / dissociation_OPG) * (1 + I_L / 1e3)
    bound = free / dissociation_RANK
    matured = 0.05 * 0.7 * R / TGF
    return np.array([7e-4 * TGF - matured + I_R, matured - 0.189 * B + I_B, 2.1e-3 * bound - 0.7 * TGF * C + I_C])


def rest():
    """Steady state by one equation in C: R and B follow from it by hand."""

    def cells(C):
        TGF = (C + 2.5e-4) / (C + 5e-3)
        R = 7e-4 * TGF**2 / 0.035
        return np.array([R, 7e-4 * TGF / 0.189, C])

    C = brentq(lambda C: lemaire(cells(C))[2], 1e-4, 5e-3, xtol=1e-18, rtol=1e-14)
    return cells(C)


def test_steady_state(verified):
    found = np.array([variable.default for variable in list(states(LemaireBone).values())[:3]])
    printed = np.array(list(PRINTED.values()))
    verified(
        "bone",
        "steady state of the three kinds of cells",
        "Lemaire et al. 2004, printed to four digits",
        reached=np.abs(found / printed - 1.0).max(),
        within=2e-4,
    )
    verified(
        "bone",
        "steady state, by hand to one equation",
        "SciPy's root of the equations of Lemaire et al. 2004",
        reached=np.abs(found / rest() - 1.0).max(),
        within=1e-9,
    )


@pytest.fixture(scope="module")
def interventions():
    """One twin for each of the paper's interventions, for 140 days, by vht and by SciPy."""
    names = list(ENTERS)
    times = np.linspace(0.0, 140.0, 141)
    doses = {
        name: Doses(
            time=np.full((len(names), 1), 20.0),
            amount=np.where(np.arange(len(names))[:, None] == i, ENTERS[name] * 60.0, 0.0),
            duration=np.full((len(names), 1), 60.0),
        )
        for i, name in enumerate(names)
    }
    found = vht.simulate(
        LemaireBone(),
        times,
        twins={"turnover": np.full(len(names), 0.1 / 365.25)},
        schedule=Schedule(doses=doses),
        method=PRECISE,
    )
    expected = []
    for name in names:
        y, solved = rest(), []
        for begin, end, enters in ((0, 20, {}), (20, 80, {name: ENTERS[name]}), (80, 140, {})):
            s = solve_ivp(
                lambda t, y, enters=enters: lemaire(y, **enters),
                (begin, end),
                y,
                method="LSODA",
                t_eval=np.arange(begin, end + 1),
                rtol=1e-10,
                atol=1e-16,
            )
            solved.append(s.y[:, :-1])
            y = s.y[:, -1]
        expected.append(np.concatenate([*solved, y[:, None]], axis=1))
    return found, np.array(expected), times


def test_interventions_agree_with_scipy(interventions, verified):
    found, expected, _ = interventions
    assert bool(found.ok.all())
    errors = [
        np.abs(np.asarray(found.values[name]) - expected[:, i]).max() / expected[:, i].max()
        for i, name in enumerate("RBC")
    ]
    verified(
        "bone",
        "cells over 140 days under PTH, RANKL, OPG and added cells, days 20 to 80",
        "SciPy on the equations of Lemaire et al. 2004, over the largest value",
        reached=max(errors),
        within=1e-7,
    )


def test_responses_are_those_of_the_paper(interventions):
    """Abstract and figure 2: PTH given continuously and RANKL are catabolic, OPG is not; cells stay coupled."""
    found, _, times = interventions
    ratio = {name: np.asarray(found.values[name]) / PRINTED[name] for name in "RBC"}
    day = int(np.flatnonzero(times == 80.0)[0])
    mass = np.asarray(found.values["mass"])
    order = list(ENTERS)
    for name in ("I_P", "I_L"):
        i = order.index(name)
        # both kinds of cells rise (coupling), osteoclasts more (catabolic), and bone is lost
        assert ratio["C"][i, day] > ratio["B"][i, day] > 1.0
        assert mass[i, day] < 1.0
    i = order.index("I_O")
    assert ratio["C"][i, day] < ratio["B"][i, day] < 1.0
    assert mass[i, day] > 1.0
    # osteoclasts call osteoblasts, and osteoblasts raise osteoclasts
    assert ratio["B"][order.index("I_C"), day] > 1.1
    assert ratio["C"][order.index("I_B"), day] > 1.1
    # all cells are on their way back by day 140
    for name in "RBC":
        assert (np.abs(ratio[name][:, -1] - 1.0) < np.abs(ratio[name][:, day] - 1.0) + 0.02).all(), name


def test_opg_reverses_rankl(verified):
    """Figure of RANKL (1e4 pM/d) reversed by OPG (9e4 pM/d): its curated SBML encoding has these two infusions."""
    entered = {"I_L": np.full(2, 1e4), "I_O": np.array([0.0, 9e4])}
    doses = {
        name: Doses(time=np.full((2, 1), 0.0), amount=value[:, None] * 2000.0, duration=np.full((2, 1), 2000.0))
        for name, value in entered.items()
    }
    late = vht.simulate(
        LemaireBone(), np.array([0.0, 1999.0]), twins={"turnover": np.full(2, 1e-5)}, schedule=Schedule(doses=doses)
    )
    clasts = np.asarray(late.values["C"])[:, -1] / PRINTED["C"]
    assert clasts[0] > 2.5
    verified(
        "bone",
        "osteoclasts over normal, RANKL reversed by OPG",
        "Lemaire et al. 2004: OPG reverses the catabolic action of RANKL",
        reached=clasts[1],
        within=(0.85, 1.15),
    )


def test_rest_stays_at_rest_and_a_tenth_is_renewed_in_a_year():
    found = vht.simulate(LemaireBone(), np.array([0.0, 365.25]), method=PRECISE)
    for name in "RBC":
        values = np.asarray(found.values[name])[0]
        assert values[1] == pytest.approx(values[0], rel=1e-8)
    assert float(found.values["mass"][0, 1]) == pytest.approx(1.0, abs=1e-9)
    assert float(found.values["resorption"][0, 0]) * 365.25 == pytest.approx(0.1, rel=1e-9)


def test_bone_mass_is_what_was_formed_less_what_was_resorbed(interventions):
    found, _, times = interventions
    gained = np.asarray(found.values["formation"]) - np.asarray(found.values["resorption"])
    mass = np.asarray(found.values["mass"])
    # the trapezoidal rule on days errs by 1e-2 of the change where cells jump
    expected = 1.0 + np.trapezoid(gained, times, axis=1)
    np.testing.assert_allclose(mass[:, -1] - 1.0, expected - 1.0, rtol=0.02, atol=1e-6)


def test_drawn_twins_end_ok():
    twins = vht.Twins.sample(LemaireBone, 64, seed=1)
    found = vht.simulate(LemaireBone(), np.linspace(0.0, 365.0, 5), twins=twins)
    assert bool(found.ok.all())
    for name in "RBC":
        assert (np.asarray(found.values[name]) > 0.0).all()
