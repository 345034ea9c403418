"""Tumour growth inhibition against SciPy, quadrature and closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm

import vht
from vht.organs.tumour import SimeoniTumour
from vht.solve import Schedule, Signal

# Simeoni et al. 2004: paclitaxel, experiment 1, and its kinetics in mice (rates per hour there, per day here)
LAMBDA0, LAMBDA1, K1, K2, W0 = 0.273, 0.814, 0.968, 0.629, 0.055
VOLUME, K10, K12, K21 = 0.81, 24 * 0.868, 24 * 0.006, 24 * 0.0838
DOSE, GIVEN = 30.0, (8.0, 12.0, 16.0)
PRECISE = vht.Tsit5(rtol=1e-10, atol=1e-13, max_steps=200_000)


def paclitaxel(t):
    """Plasma concentration, mg/L, after the doses in mg/kg given so far: two compartments by their matrix exponential."""
    matrix = np.array([[-(K10 + K12), K21], [K12, -K21]])
    return sum((expm(matrix * (t - at)) @ [DOSE / VOLUME, 0.0])[0] for at in GIVEN if t >= at)


def simeoni(t, y, concentration):
    """The paper's equations once more, as printed."""
    x1, x2, x3, x4 = y
    w = x1 + x2 + x3 + x4
    c = concentration(t)
    return [
        LAMBDA0 * x1 / (1 + (LAMBDA0 / LAMBDA1 * w) ** 20) ** (1 / 20) - K2 * c * x1,
        K2 * c * x1 - K1 * x2,
        K1 * (x2 - x3),
        K1 * (x3 - x4),
    ]


def constant_for_all(values):
    """A schedule of concentrations that stay, one for each twin."""
    values = np.asarray(values)[:, None]
    return Schedule(signals={"concentration": Signal(time=np.zeros_like(values), value=values)})


def test_growth_without_drug_agrees_with_quadrature(verified):
    """dt = (1 + u^psi)^(1/psi) / (lambda0 u) du, with u the weight over lambda1/lambda0."""
    times = np.linspace(0.0, 40.0, 21)
    found = np.asarray(vht.simulate(SimeoniTumour(), times, method=PRECISE).values["weight"])[0]
    start = W0 * LAMBDA0 / LAMBDA1
    taken = [
        quad(lambda u: (1 + u**20) ** (1 / 20) / u, start, w * LAMBDA0 / LAMBDA1, epsabs=1e-12, points=[1.0])[0]
        / LAMBDA0
        for w in found[1:]
    ]
    verified(
        "tumour",
        "growth without drug, 40 days",
        "quadrature of the growth law",
        reached=np.abs(np.array(taken) - times[1:]).max(),
        within=1e-7,
        unit="d",
    )


def test_growth_is_exponential_then_linear(verified):
    times = np.array([0.0, 4.0, 8.0, 30.0, 31.0, 32.0])
    w = np.asarray(vht.simulate(SimeoniTumour(), times, method=PRECISE).values["weight"])[0]
    np.testing.assert_allclose(w[:3], W0 * np.exp(LAMBDA0 * times[:3]), rtol=1e-5)
    slope = np.diff(w[3:])
    verified(
        "tumour",
        "linear growth of a large tumour",
        "Simeoni et al. 2004: lambda1",
        reached=np.abs(slope / LAMBDA1 - 1.0).max(),
        within=1e-6,
    )


@pytest.fixture(scope="module")
def treated():
    """The paper's schedule of paclitaxel, by vht with a finely sampled concentration and by SciPy with the exact one."""
    grid = np.unique(
        np.concatenate([[0.0], *(at + np.concatenate([[0.0], np.geomspace(1e-4, 4.0, 1200)]) for at in GIVEN)])
    )
    grid = np.unique(np.concatenate([grid, np.linspace(20.0, 45.0, 101), np.array(GIVEN) - 1e-9]))
    level = np.array([paclitaxel(t) for t in grid])
    times = np.linspace(0.0, 45.0, 91)
    schedule = Schedule(signals={"concentration": Signal(time=grid, value=level)})
    found = vht.simulate(SimeoniTumour(), times, schedule=schedule, method=PRECISE)
    pieces, y = [], np.array([W0, 0.0, 0.0, 0.0])
    for begin, end in zip((0.0, *GIVEN), (*GIVEN, 45.0), strict=True):
        inside = times[(times >= begin) & (times < end) | (times == end) & (end == 45.0)]
        s = solve_ivp(
            simeoni, (begin, end), y, args=(paclitaxel,), t_eval=np.union1d(inside, [end]), method="LSODA",
            rtol=1e-9, atol=1e-12,
        )  # fmt: skip
        pieces.append(s.y[:, np.isin(s.t, inside)])
        y = s.y[:, -1]
    return found, np.concatenate(pieces, axis=1), times


def test_paclitaxel_agrees_with_scipy(treated, verified):
    found, expected, _ = treated
    assert bool(found.ok.all())
    errors = [
        np.abs(np.asarray(found.values[name])[0] - expected[i]).max() / np.ptp(expected[i])
        for i, name in enumerate(("x1", "x2", "x3", "x4"))
    ]
    # what is left is the concentration, straight lines between 3,700 points here and exact there
    verified(
        "tumour",
        "weight under paclitaxel, 30 mg/kg on days 8, 12 and 16",
        "SciPy on the equations and kinetics of Simeoni et al. 2004, over the range of each state",
        reached=max(errors),
        within=1e-4,
    )


def test_paclitaxel_delays_growth(treated):
    """By 13 days, as the untreated control, reaching 1 g, is ahead of the treated tumour."""
    found, _, times = treated
    control = np.asarray(vht.simulate(SimeoniTumour(), times, method=PRECISE).values["weight"])[0]
    weight = np.asarray(found.values["weight"])[0]
    untreated = np.interp(1.0, control, times)
    delayed = times[np.flatnonzero((weight > 1.0) & (times > 17.0))[0]] - untreated
    # three doses of D each expose to D / (V k10), and each day of growth is worth lambda0 / k2 of exposure
    exposure = 3 * DOSE / VOLUME / K10
    assert delayed == pytest.approx(K2 * exposure / LAMBDA0, abs=1.0)


def test_an_exposure_delays_exponential_growth_by_its_area_over_the_threshold(verified):
    """Time efficacy index of Magni et al. 2006: k2 AUC / lambda0, where all is over long before growth is linear."""
    small = {"w0": np.array([1e-5])}
    level = Signal(time=np.array([0.0, 1.0, 1.0 + 1e-9]), value=np.array([2.0, 2.0, 0.0]))
    times = np.array([0.0, 25.0])
    treated = vht.simulate(
        SimeoniTumour(), times, twins=small, schedule=Schedule(signals={"concentration": level}), method=PRECISE
    )
    late = np.asarray(treated.values["weight"])[0, -1]
    delay = times[-1] - np.log(late / 1e-5) / LAMBDA0
    verified(
        "tumour",
        "delay by an exposure of 2 mg d/L",
        "closed form k2 AUC/lambda0 (time efficacy index, Magni et al. 2006)",
        reached=abs(delay - K2 * 2.0 / LAMBDA0),
        within=1e-4,
        unit="d",
    )


def test_the_threshold_of_eradication(verified):
    """Below lambda0/k2 a tumour under a constant concentration rests where the closed form says; above it, it vanishes."""
    threshold = LAMBDA0 / K2
    found = vht.simulate(
        SimeoniTumour(),
        np.array([0.0, 100.0, 400.0, 1500.0]),
        twins={"w0": np.full(3, 3.0)},
        schedule=constant_for_all(np.array([0.5, 0.9, 1.1]) * threshold),
        method=PRECISE,
    )
    weight = np.asarray(found.values["weight"])
    rest = LAMBDA1 / LAMBDA0 * (np.array([1 / 0.5, 1 / 0.9]) ** 20 - 1) ** (1 / 20)
    verified(
        "tumour",
        "weight at which a tumour rests below the threshold concentration",
        "closed form, at half and 0.9 of lambda0/k2",
        reached=np.abs(weight[:2, -1] / rest - 1.0).max(),
        within=1e-7,
    )
    # above the threshold cells vanish at k2 c - lambda0
    np.testing.assert_allclose(np.log(weight[2, 2] / weight[2, 1]), -(1.1 - 1.0) * LAMBDA0 * 300.0, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(found.values["exposure"])[:, 0], [0.5, 0.9, 1.1], rtol=1e-12)


def test_clinical_outputs():
    found = vht.simulate(SimeoniTumour(), np.array([0.0, 1.0]), twins={"w0": np.array([4.0 * np.pi / 3.0])})
    # a sphere of 1 cm radius and the density of water
    assert float(found.values["diameter"][0, 0]) == pytest.approx(2.0, rel=1e-12)
    assert float(found.values["volume"][0, 0]) == pytest.approx(4.0 * np.pi / 3.0, rel=1e-12)
    assert float(found.values["damaged"][0, 0]) == 0.0


def test_a_huge_tumour_does_not_overflow():
    """The twentieth power of 1e17 is infinite; the growth of a large tumour is lambda1 all the same."""
    model = SimeoniTumour()

    def growth(weight):
        return model.outputs(0.0, model.State(x1=weight, x2=0.0, x3=0.0, x4=0.0), model.In(0.0)).growth

    value, slope = jax.value_and_grad(growth)(jnp.asarray(1e17))
    assert float(value) == pytest.approx(LAMBDA1, rel=1e-12)
    assert float(slope) == pytest.approx(0.0, abs=1e-12)


def test_drawn_twins_end_ok():
    twins = vht.Twins.sample(SimeoniTumour, 64, seed=1)
    found = vht.simulate(
        SimeoniTumour(), np.linspace(0.0, 60.0, 7), twins=twins, schedule=constant_for_all(np.linspace(0.0, 2.0, 64))
    )
    assert bool(found.ok.all())
