"""Mechanics of breathing against SciPy on the paper's equations in pressures, closed forms, and values at rest."""

import itertools

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.model import parameters
from vht.organs.lungs import Lungs
from vht.solve import Schedule, Signal

# Albanese et al. 2016, Table 3, in mL, cmH2O and s
TABLE = {"Cl": 1.27, "Ct": 2.38, "Cb": 13.1, "CA": 200.0, "Ccw": 244.5}
TABLE |= {"Rml": 1.021e-3, "Rlt": 0.3369e-3, "Rtb": 0.3063e-3, "RbA": 0.0817e-3}
CMH2O = 98.0665 / 133.322387415
STIFF = vht.Rodas5P(rtol=1e-8, atol=1e-10)


def muscles(t, rate, amplitude, ratio=0.6):
    """Equation 4: the muscles' pressure and its rate."""
    T = 60.0 / rate
    Te = T / (1.0 + ratio)
    Ti, tau, lowest = T - Te, Te / 5.0, -amplitude
    s = t % T
    if s <= Ti:
        return -lowest / (Ti * Te) * s**2 + lowest * T / (Ti * Te) * s, -2 * lowest / (Ti * Te) * s + lowest * T / (
            Ti * Te
        )
    scale = lowest / (1.0 - np.exp(-Te / tau))
    return scale * (np.exp(-(s - Ti) / tau) - np.exp(-Te / tau)), -scale / tau * np.exp(-(s - Ti) / tau)


def pressure_rates(t, y, rate, amplitude):
    """Equations A30 to A34: pressures of larynx, trachea, bronchi, alveoli and pleura."""
    p, (Pl, Pt, Pb, PA, _) = TABLE, y
    flow = (Pl - Pt) / p["Rlt"]
    dPpl = flow / p["Ccw"] + muscles(t, rate, amplitude)[1]
    return [
        ((0.0 - Pl) / p["Rml"] - flow) / p["Cl"],
        (flow - (Pt - Pb) / p["Rtb"]) / p["Ct"] + dPpl,
        ((Pt - Pb) / p["Rtb"] - (Pb - PA) / p["RbA"]) / p["Cb"] + dPpl,
        (Pb - PA) / p["RbA"] / p["CA"] + dPpl,
        dPpl,
    ]


def held(**values):
    ends = np.array([0.0, 1e6])
    return Schedule(signals={name: Signal(time=ends, value=np.full(2, value)) for name, value in values.items()})


@pytest.fixture(scope="module")
def rest():
    times = np.linspace(0.0, 20.0, 2001)
    found = vht.simulate(Lungs(), times, method=STIFF)
    assert bool(found.ok.all())
    return times, {name: np.asarray(values)[0] for name, values in found.values.items()}


def test_breathing_agrees_with_the_equations_in_pressures(rest, verified):
    times, found = rest
    y, now = [np.array([0.0, 0.0, 0.0, 0.0, -5.0])[:, None]], np.array([0.0, 0.0, 0.0, 0.0, -5.0])
    # each piece of the muscles' pressure by itself, so that no step crosses its corners
    edges = np.sort(np.concatenate([5.0 * np.arange(5), 5.0 * np.arange(4) + 1.875]))
    for begin, end in itertools.pairwise(edges):

        def inside_the_piece(t, y, begin=begin, end=end):
            return pressure_rates(np.clip(t, begin + 1e-9, end - 1e-9), y, 12.0, 5.0)

        piece = solve_ivp(inside_the_piece, (begin, end), now, method="LSODA", rtol=1e-9, atol=1e-10, dense_output=True)
        now = piece.y[:, -1]
        y.append(piece.sol(times[(times > begin + 1e-9) & (times <= end + 1e-9)]))
    _, _, Pb, PA, Ppl = np.concatenate(y, axis=1)
    worst = np.abs(found["P_pl"] / CMH2O - Ppl).max() / np.ptp(Ppl)
    flow = (Pb - PA) / TABLE["RbA"]
    worst = max(worst, np.abs(found["air_flow"] - flow).max() / np.ptp(flow))
    worst = max(worst, np.abs(found["P_A"] - PA).max() / np.ptp(PA))
    verified(
        "lungs",
        "pleural and alveolar pressure and flow of air over four breaths, largest difference as a share of the range",
        "SciPy LSODA on the equations of Albanese et al. 2016 (A30 to A34) in pressures",
        reached=worst,
        within=1e-5,
    )


def test_values_at_rest(rest, verified):
    times, found = rest
    last = times >= 15.0 - 1e-9
    volume, pleura = found["V_lung"][last], found["P_pl"][last] / CMH2O
    verified("lungs", "functional residual capacity", "Albanese et al. 2016, Table 3: 2.4 L",
             reached=abs(volume.min() / 2.4 - 1.0), within=0.01)  # fmt: skip
    book = "West, Respiratory Physiology, 9th ed., 2012"
    verified("lungs", "tidal volume at rest", f"{book}, figure 2-1: about 500 mL",
             reached=np.ptp(volume), within=(0.4, 0.6), unit="L")  # fmt: skip
    verified("lungs", "lowest pleural pressure in quiet breathing", f"{book}, figure 7-13: from -5 to -8 cmH2O",
             reached=pleura.min(), within=(-8.5, -7.0), unit="cmH2O")  # fmt: skip
    assert pleura.max() == pytest.approx(-5.0, abs=0.1)
    # dead space of 150 mL; the mouth breathes what the lungs change by
    assert found["V_D"][last].mean() == pytest.approx(0.150, rel=0.05)
    breathed = np.concatenate([[0.0], np.cumsum(0.005 * (found["mouth_flow"][1:] + found["mouth_flow"][:-1]))]) / 1000.0
    np.testing.assert_allclose(found["V_lung"] - found["V_lung"][0], breathed, atol=2e-3)


def test_a_breath_held_and_a_ventilator_reach_the_static_volumes():
    """At rest pressures balance: all the chest's compliances in parallel, in series with its wall."""
    p = {name: v.default or 0.0 for name, v in parameters(Lungs).items()}
    chest = 1.0 / (1.0 / (p["C_tr"] + p["C_b"] + p["C_A"]) + 1.0 / p["C_cw"])
    times = np.array([0.0, 10.0])
    blown = vht.simulate(Lungs(), times, schedule=held(amplitude=0.0, P_mouth=10.0), method=STIFF)
    volume = np.asarray(blown.values["V_lung"])[0]
    assert volume[1] - volume[0] == pytest.approx(10.0 * (chest + p["C_l"]), rel=1e-8)
    assert float(blown.values["P_A"][0, 1]) == pytest.approx(10.0, rel=1e-8)
    # so slow a breath that the deepest point is as good as static
    times = np.linspace(0.0, 600.0, 1601)
    slow = vht.simulate(Lungs(), times, schedule=held(breathing_rate=0.1, amplitude=8.0), method=STIFF)
    assert np.ptp(np.asarray(slow.values["V_lung"])[0]) == pytest.approx(8.0 * chest, rel=2e-3)


def test_the_pull_of_the_muscles_is_periodic_and_has_no_jump():
    lungs = Lungs()
    phase = np.linspace(0.0, 3.0, 3001)
    pull = np.asarray(jax.vmap(lungs._pull)(phase))
    expected = [muscles(5.0 * s, 12.0, -1.0)[0] for s in phase]
    np.testing.assert_allclose(pull, expected, atol=1e-9)
    assert pull.max() == pytest.approx(1.0) and pull.min() > -1e-12 and np.abs(np.diff(pull)).max() < 0.01


def test_faster_breathing_goes_on_where_the_breath_is():
    """A change of rate in mid-breath changes no pressure at once: the phase is a state."""
    rate = Signal(time=np.array([0.0, 7.0, 7.0001, 20.0]), value=np.array([12.0, 12.0, 30.0, 30.0]))
    times = np.linspace(6.9, 7.1, 201)
    found = vht.simulate(Lungs(), times, start=0.0, schedule=Schedule(signals={"breathing_rate": rate}), method=STIFF)
    assert np.abs(np.diff(np.asarray(found.values["P_pl"])[0])).max() < 0.02


def test_faster_breaths_are_smaller():
    """What `VentilationControl` says of its averaged tidal volume, which knows no resistance of the airways."""
    rate, ends = np.array([12.0, 20.0, 30.0, 40.0]), np.array([0.0, 1e6])
    rates = Schedule(signals={"breathing_rate": Signal(time=ends, value=np.stack([rate, rate], axis=1))})
    found = vht.simulate(Lungs(), np.linspace(15.0, 30.0, 1501), start=0.0, schedule=rates, method=STIFF)
    tidal = np.ptp(np.asarray(found.values["V_lung"]), axis=1)
    np.testing.assert_allclose(tidal / 5.0, [0.1083, 0.1025, 0.0941, 0.0852], rtol=2e-3)


def test_drawn_twins_breathe():
    twins = vht.Twins.sample(Lungs, 64, seed=5)
    found = vht.simulate(Lungs(), np.linspace(0.0, 15.0, 151), twins=twins, method=vht.Rodas5P(rtol=1e-6, atol=1e-8))
    assert bool(found.ok.all())
    tidal = np.ptp(np.asarray(found.values["V_lung"])[:, 100:], axis=1)
    assert tidal.min() > 0.2 and tidal.max() < 1.2
