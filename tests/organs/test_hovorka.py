"""Hovorka's model against its equations written again, closed forms of absorption, and what meals are known to do."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import vht
from vht.model import check_units, parameters, states
from vht.organs.hovorka import Hovorka2004

TIGHT = vht.Tsit5(rtol=1e-10, atol=1e-10)
MG = 18.016
# Hovorka et al. 2004, Tables 1 and 2
P = {"k12": 0.066, "ka": (0.006, 0.06, 0.03), "S": (51.2e-4, 8.2e-4, 520e-4), "EGP0": 0.0161, "F01": 0.0097}
P |= {"VG": 0.16, "VI": 0.12, "ke": 0.138, "tI": 55.0, "tG": 40.0, "AG": 0.8, "BW": 75.0}


def balance(infusion, G, p=P):
    """What production exceeds loss of glucose by, at rest with an infusion (mU/min) and a concentration (mmol/L)."""
    VG, I = p["VG"] * p["BW"], infusion / (p["ke"] * p["VI"] * p["BW"])
    x1, x2, x3 = (s * I for s in p["S"])
    uptake = p["F01"] * p["BW"] * (G / 4.5 if G < 4.5 else 1.0)
    urine = 0.003 * (G - 9.0) * VG if G >= 9.0 else 0.0
    return p["EGP0"] * p["BW"] * (1.0 - x3) - uptake - urine - x2 * x1 * G * VG / (p["k12"] + x2)


def rest(infusion, G, p=P):
    """Q1, Q2, I, x1, x2, x3."""
    I = infusion / (p["ke"] * p["VI"] * p["BW"])
    x = [s * I for s in p["S"]]
    Q1 = G * p["VG"] * p["BW"]
    return np.array([Q1, x[0] * Q1 / (p["k12"] + x[1]), I, *x])


def absorbed(t, doses, tau):
    """Of doses at once into the first of two compartments, what leaves the second: D s exp(-s/tau) / tau^2."""
    since = [(amount, t - time) for time, amount in doses if t >= time]
    return sum(amount * s * np.exp(-s / tau) / tau**2 for amount, s in since)


def solve(times, G, meals, boluses, least, p=P):
    """The paper's equations, with a lowest production; meals in g, boluses in U, both at once."""
    basal = brentq(balance, 0.0, 60.0, args=(G, p), xtol=1e-15, rtol=1e-14)
    VG, VI = p["VG"] * p["BW"], p["VI"] * p["BW"]

    def rates(t, y):
        Q1, Q2, I, x1, x2, x3 = y
        g = Q1 / VG
        F01c = p["F01"] * p["BW"] * min(g / 4.5, 1.0)
        FR = max(0.003 * (g - 9.0) * VG, 0.0)
        UG = p["AG"] * absorbed(t, meals, p["tG"]) / 180.16 * 1000.0
        UI = basal + 1000.0 * absorbed(t, boluses, p["tI"])
        return [
            -(F01c / (VG * g) + x1) * Q1 + p["k12"] * Q2 - FR + UG + p["EGP0"] * p["BW"] * max(1.0 - x3, least),
            x1 * Q1 - (p["k12"] + x2) * Q2,
            UI / VI - p["ke"] * I,
            *(k * (s * I - x) for k, s, x in zip(p["ka"], p["S"], (x1, x2, x3), strict=True)),
        ]

    found = solve_ivp(rates, (times[0], times[-1]), rest(basal, G, p), t_eval=times, rtol=1e-11, atol=1e-11, max_step=2)
    return found.y


def given(meals=(), boluses=()):
    def doses(pairs):
        return vht.Doses(time=[time for time, _ in pairs], amount=[amount for _, amount in pairs])

    ports = {"meal": meals, "insulin": boluses}
    return vht.Schedule(doses={name: doses(pairs) for name, pairs in ports.items() if pairs})


def test_units():
    check_units(Hovorka2004)
    assert len(states(Hovorka2004)) == 10


@pytest.mark.parametrize("G", [3.5, 5.0, 8.0, 12.0])
def test_basal_insulin_agrees_with_bisection(verified, G):
    found = Hovorka2004(G_b=G).rest()
    expected = brentq(balance, 0.0, 60.0, args=(G,), xtol=1e-15, rtol=1e-14)
    error = abs(float(found.infusion) * 1000.0 / expected - 1.0)
    assert float(found.glucose) == G
    assert error < 1e-12
    if G == 5.0:
        reference = "steady state of the paper's equations by bisection (SciPy)"
        verified("hovorka", "basal insulin that holds 5 mmol/L, relative error", reference, reached=error, within=1e-12)


@pytest.mark.parametrize("least", [0.0, -100.0])
def test_two_meals_agree_with_scipy(verified, least):
    times = np.linspace(0.0, 600.0, 201)
    meals, boluses = [(30.0, 60.0), (300.0, 90.0)], [(20.0, 6.0), (420.0, 2.0)]
    expected = solve(times, 100.0 / MG, meals, boluses, least)
    found = vht.simulate(Hovorka2004(EGP_least=least), times, schedule=given(meals, boluses), method=TIGHT)
    worst = 0.0
    for name, y in zip(("Q1", "Q2", "I", "x1", "x2", "x3"), expected, strict=True):
        worst = max(worst, float(np.abs(np.asarray(found.values[name])[0] - y).max() / np.ptp(y)))
    # the run saturates, spills, and reaches where the paper's production would be negative
    assert expected[5].max() > 1.0 and found.values["excretion"].max() > 0.0
    assert found.values["glucose_mmol"].min() < 4.5
    reference = "SciPy on the paper's equations, meals and boluses in closed form, share of each state's range"
    what = "states over 10 h with two meals and two boluses" + (", production of either sign" if least else "")
    verified("hovorka", what, reference, reached=worst, within=1e-7)
    basal = 100.0 / MG * P["VG"] * P["BW"] / expected[0, 0]
    assert basal == pytest.approx(1.0, rel=1e-12)


@pytest.fixture(scope="module")
def meal():
    """60 g without a bolus, on a grid of Gauss's points (8 in each of 120 pieces)."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(0.0, 1200.0, 121)
    times = (edges[:-1, None] + 5.0 * (nodes + 1.0)).ravel()
    found = vht.simulate(
        Hovorka2004(),
        np.concatenate([[0.0], times]),
        schedule=given([(0.0, 60.0)]),
        method=vht.Tsit5(rtol=1e-12, atol=1e-12),
    )
    values = {name: np.asarray(column)[0, 1:] for name, column in found.values.items()}
    return times, np.tile(5.0 * weights, 120), values


def test_what_was_eaten_appears_or_is_still_in_the_gut(verified, meal):
    times, weights, values = meal
    assert values["appearance"][-1] < 1e-3
    # up to the end of each piece, where gut is taken from its closed form
    worst = 0.0
    for piece in (5, 20, 60, 120):
        end = 10.0 * piece
        appeared = np.sum((weights * values["appearance"])[: 8 * piece])
        remaining = 60_000.0 * (1.0 + end / 40.0) * np.exp(-end / 40.0)
        worst = max(worst, abs(appeared / 0.8 + remaining - 60_000.0) / 60_000.0)
    expected = 60.0 * (1.0 + times / 40.0) * np.exp(-times / 40.0)
    np.testing.assert_allclose(values["gut"], expected, rtol=1e-9, atol=1e-10)
    reference = "dose = appeared / A_G + still in the gut, by Gauss's quadrature"
    verified("hovorka", "glucose of a meal, share that is lost", reference, reached=worst, within=1e-10)


def test_what_production_below_zero_would_do():
    times = np.linspace(0.0, 600.0, 301)
    lowest = {least: solve(times, 100.0 / MG, [(30.0, 60.0)], [(30.0, 6.0)], least)[0].min() for least in (0.0, -100.0)}
    low, paper = (Q1 / 12.0 * MG for Q1 in lowest.values())
    assert f"down to {paper:.0f} instead of {low:.0f} mg/dL" in " ".join(str(Hovorka2004.__doc__).split())


def test_a_meal_of_60_g(verified, meal):
    times, _, values = meal
    rise = values["glucose"].max() - 100.0
    verified(
        "hovorka",
        "rise of glucose per gram of a meal of 60 g without a bolus",
        "rule of thumb for adults of 70 to 80 kg with type 1 diabetes, 3 to 5 mg/dL (Walsh and Roberts, Pumping Insulin)",
        reached=rise / 60.0,
        within=(3.0, 5.0),
        unit="mg/(dL*g)",
    )
    # fastest at t_max,G (paper, Table 1)
    assert times[values["appearance"].argmax()] == pytest.approx(40.0, abs=1.0)
    described = str(Hovorka2004.__doc__)
    assert f"by {rise / MG:.1f} mmol/L within two and a half hours, {rise / 60.0:.1f} mg/dL a gram" in described
    assert 120.0 < times[values["glucose"].argmax()] < 150.0


def test_insulin_is_fastest_after_55_min():
    """A bolus into a body without basal insulin: plasma insulin is the closed form of three compartments."""
    times = np.linspace(0.0, 400.0, 201)
    none = vht.Signal(time=[0.0], value=[0.0])
    schedule = vht.Schedule(doses={"insulin": vht.Doses(time=[0.0], amount=[5.0])}, signals={"basal_factor": none})
    start = {"I": 0.0, "S1": 0.0, "S2": 0.0}
    found = vht.simulate(Hovorka2004(), times, schedule=schedule, initial=start, method=TIGHT)
    ke, a = 0.138, 1.0 / 55.0
    d = ke - a
    expected = (
        5000.0 * a**2 / 9.0 * (times * np.exp(-a * times) / d - (np.exp(-a * times) - np.exp(-ke * times)) / d**2)
    )
    np.testing.assert_allclose(found.values["plasma_insulin"][0], expected, atol=1e-7)
    assert not np.any(np.asarray(found.values["basal_insulin"]))


def test_default_twin_is_at_rest():
    times = np.linspace(0.0, 1440.0, 13)
    found = vht.simulate(Hovorka2004(), times, method=TIGHT)
    for name in states(Hovorka2004):
        values = np.asarray(found.values[name])[0]
        assert np.abs(values - values[0]).max() <= 1e-8 * max(abs(values[0]), 1.0), name
    assert found.values["glucose"][0, 0] == pytest.approx(100.0, rel=1e-12)


def test_what_a_drug_can_act_on():
    """Each factor moves glucose as it should; a balance of fluxes holds where glucose no longer changes."""
    changed = {"sensitivity_factor": 1.2, "production_factor": 0.9, "basal_factor": 1.1}
    factors = [{}, *({name: value} for name, value in changed.items()), {"basal_factor": 0.0}]
    signals = {name: vht.Signal(time=[0.0], value=np.array([[f.get(name, 1.0)] for f in factors])) for name in changed}
    found = vht.simulate(
        Hovorka2004(), np.array([0.0, 10080.0]), twins={"BW": [75.0] * 5}, schedule=vht.Schedule(signals=signals)
    )
    last = {name: np.asarray(column)[:, -1] for name, column in found.values.items()}
    np.testing.assert_allclose(last["production"], last["uptake"] + last["excretion"], rtol=1e-4)
    rest, sensitive, metformin, more, none = last["glucose_mmol"]
    assert sensitive < rest - 0.3 and metformin < rest - 0.3 and more < rest - 0.2
    # without any insulin: production less uptake is what kidneys excrete, 0.003 (G - 9) V_G
    assert none == pytest.approx(9.0 + (0.0161 - 0.0097) / (0.003 * 0.16), rel=1e-4)


def test_into_a_vein():
    """Both by their mass, at once: 18.016 g of glucose are 100 mmol, and 1 U is 1000 mU in 9 L."""
    times = np.array([0.0, 1e-6])
    doses = {name: vht.Doses(time=[0.0], amount=[amount]) for name, amount in (("glucose_iv", MG), ("insulin_iv", 1.0))}
    found = vht.simulate(Hovorka2004(), times, schedule=vht.Schedule(doses=doses))
    assert np.diff(found.values["Q1"][0])[0] == pytest.approx(100.0, rel=1e-5)
    assert np.diff(found.values["I"][0])[0] == pytest.approx(1000.0 / 9.0, rel=1e-5)


def test_drawn_twins_are_at_rest_and_survive_a_meal():
    twins = vht.Twins.sample(Hovorka2004, 64, seed=5)
    times = np.linspace(0.0, 720.0, 25)
    meals = given([(60.0, 60.0)], [(60.0, 4.0)])
    found = vht.simulate(Hovorka2004(), times, twins=twins, schedule=meals)
    assert bool(found.ok.all())
    glucose = np.asarray(found.values["glucose_mmol"])
    np.testing.assert_allclose(glucose[:, 2], glucose[:, 0], rtol=1e-5)
    assert glucose.min() > 0.0
    some = np.asarray(found.values["basal_insulin"])[:, 0] > 1e-9
    assert some.sum() > 50
    np.testing.assert_allclose(glucose[some, 0], twins.columns["G_b"][some], rtol=1e-12)


# Hovorka et al. 2002: the six men one after another
SIX = {
    "k12": [0.0343, 0.0871, 0.0863, 0.0968, 0.0390, 0.0458],
    "ka1": [0.0031, 0.0157, 0.0029, 0.0088, 0.0007, 0.0017],
    "ka2": [0.0752, 0.0231, 0.0495, 0.0302, 0.1631, 0.0689],
    "ka3": [0.0472, 0.0143, 0.0691, 0.0118, 0.0114, 0.0285],
    "S_IT": [29.4e-4, 18.7e-4, 81.2e-4, 86.1e-4, 72.4e-4, 19.1e-4],
    "S_ID": [0.9e-4, 6.1e-4, 20.1e-4, 4.7e-4, 15.3e-4, 2.2e-4],
    "S_IE": [401e-4, 379e-4, 578e-4, 720e-4, 961e-4, 82e-4],
    "F01": [0.0121, 0.0075, 0.0103, 0.0119, 0.0071, 0.0092],
    "EGP0": [0.0148, 0.0143, 0.0156, 0.0213, 0.0200, 0.0105],
}


@pytest.mark.parametrize("name", SIX)
def test_priors_are_those_of_the_six_subjects(name):
    logs = np.log(SIX[name])
    known = parameters(Hovorka2004)[name]
    assert known.prior.median == pytest.approx(np.exp(logs.mean()), rel=0.005)
    assert known.prior.sd == pytest.approx(logs.std(ddof=1), abs=0.005)
    # all six are possible
    assert known.bounds[0] <= min(SIX[name]) and max(SIX[name]) <= known.bounds[1]
    # the default is their mean: the paper's, in which k12, ka1 and ka2 differ by a little
    assert known.default == pytest.approx(np.mean(SIX[name]), rel=0.13 if name.startswith("k") else 0.003)


def test_a_liver_that_makes_too_little_needs_no_insulin():
    found = Hovorka2004(EGP0=0.009, F01=0.010).rest()
    assert float(found.infusion) == pytest.approx(0.0, abs=1e-12)
    assert float(found.glucose) == pytest.approx(4.5 * 0.9, rel=1e-12)
    # more than kidneys excrete at G_b
    found = Hovorka2004(EGP0=0.0100, F01=0.0097, G_b=15.0).rest()
    assert float(found.glucose) == pytest.approx(9.0 + 0.0003 / (0.003 * 0.16), rel=1e-12)


def test_derivatives_are_finite_at_kinks():
    """Of the rates by states and parameters: where uptake saturates, kidneys excrete, production ends, and below zero."""
    names, own = list(states(Hovorka2004)), {name: v.default or 0.0 for name, v in parameters(Hovorka2004).items()}
    start = {name: np.full(4, v.default or 0.0) for name, v in states(Hovorka2004).items()}
    start |= {"Q1": 12.0 * np.array([4.5, 9.0, 0.0, -1.0]), "x3": np.array([1.0, 1.0, 0.0, 2.0])}

    def rates(x, p):
        found = Hovorka2004(**p).rates(0.0, Hovorka2004.State(**x), Hovorka2004.In(0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0))
        return {name: getattr(found, name) for name in names}

    values = {name: jax.numpy.asarray(v) for name, v in start.items()}
    slopes = jax.vmap(jax.jacfwd(rates, argnums=(0, 1)), in_axes=(0, None))(values, own)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
