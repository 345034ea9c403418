"""One, two and three compartments against sums of exponentials, and a patient whose fit R documents."""

import csv
import pathlib

import numpy as np
import pytest

import vht
from vht.calibrate import Free, Measurements, Observable, Problem, calibrate
from vht.model import parameters
from vht.organs.compartments import Drug1, Drug2, Drug3
from vht.organs.drugs import OralDrug1

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data" / "indometacin.csv"
TIGHT = vht.Tsit5(rtol=1e-10, atol=1e-12)
DOSE, BEGINS, LASTS = 100.0, 1.0, 2.0
CASES = {
    "drug_1": (Drug1, {"CL": 3.1, "V": 27.0, "ka": 1.3, "tlag": 0.4, "F": 0.7}),
    "drug_2": (Drug2, {"CL": 8.0, "V1": 7.5, "Q2": 6.1, "V2": 13.0, "ka": 1.3, "tlag": 0.4, "F": 0.7}),
    "drug_3": (
        Drug3,
        {"CL": 9.0, "V1": 6.0, "Q2": 11.0, "V2": 9.0, "Q3": 1.2, "V3": 21.0, "ka": 1.3, "tlag": 0.4, "F": 0.7},
    ),
}


def exponentials(p):
    """Rates and coefficients of the concentration after a bolus of 1 (Gabrielsson and Weiner; Dubois et al. 2011)."""
    V1 = p.get("V1", p.get("V"))
    out = [p[f"Q{i}"] / V1 for i in (2, 3) if f"Q{i}" in p]
    back = np.array([p[f"Q{i}"] / p[f"V{i}"] for i in (2, 3) if f"Q{i}" in p])
    # the characteristic polynomial of a mammillary model, in lambda
    whole = np.poly1d([-1.0, p["CL"] / V1 + sum(out)]) * np.poly1d([1.0])
    polynomial = whole
    for k in back:
        polynomial = polynomial * np.poly1d([-1.0, k])
    for i, k in enumerate(back):
        rest = np.poly1d([out[i] * k])
        for j, other in enumerate(back):
            if j != i:
                rest = rest * np.poly1d([-1.0, other])
        polynomial = polynomial - rest
    rates = np.sort(polynomial.roots.real)
    weights = [
        np.prod(back - lam) / np.prod([other - lam for j, other in enumerate(rates) if j != i])
        for i, lam in enumerate(rates)
    ]
    return rates, np.array(weights) / V1


def expected(p, t):
    """Concentrations after a bolus, an infusion and an oral dose, each of `DOSE`."""
    rates, weights = exponentials(p)
    bolus = infusion = oral = 0.0
    for lam, a in zip(rates, weights, strict=True):
        bolus = bolus + DOSE * a * np.exp(-lam * t)
        since, after = np.maximum(t - BEGINS, 0.0), np.maximum(t - BEGINS - LASTS, 0.0)
        infusion = infusion + DOSE / LASTS * a / lam * (np.exp(-lam * after) - np.exp(-lam * since))
        since = np.maximum(t - p["tlag"], 0.0)
        gain = p["F"] * DOSE * p["ka"] * a / (p["ka"] - lam)
        oral = oral + gain * (np.exp(-lam * since) - np.exp(-p["ka"] * since))
    return np.array([bolus, infusion, oral])


@pytest.mark.parametrize("name", CASES)
def test_sums_of_exponentials(name, verified):
    model, p = CASES[name]
    times = np.linspace(0.05, 24.0, 120)
    schedule = vht.Schedule(
        doses={
            "iv": vht.Doses(
                time=np.array([[0.0], [BEGINS], [0.0]]),
                amount=np.array([[DOSE], [DOSE], [0.0]]),
                duration=np.array([[0.0], [LASTS], [0.0]]),
            ),
            "oral": vht.Doses(time=np.zeros((3, 1)), amount=np.array([[0.0], [0.0], [DOSE]])),
        }
    )
    twins = {key: np.full(3, value) for key, value in p.items()}
    found = vht.simulate(model(), np.append(0.0, times), twins=twins, schedule=schedule, method=TIGHT)
    assert bool(found.ok.all())
    wanted = expected(p, times)
    error = np.abs(np.asarray(found.values["concentration"])[:, 1:] - wanted).max(axis=1) / wanted.max(axis=1)
    for what, reached in zip(("after a bolus", "of an infusion", "after an oral dose"), error, strict=True):
        verified(
            name,
            f"concentration {what}",
            "sum of exponentials (Gabrielsson and Weiner)",
            reached=reached,
            within=1e-8,
            unit="of the peak",
        )


@pytest.mark.parametrize("name", CASES)
def test_what_leaves_is_what_was_given(name):
    """All of it, by steady state: clearance times concentration is the rate of infusion, also when half is inhibited."""
    model, p = CASES[name]
    twins = {key: np.full(2, value) for key, value in p.items()}
    found = vht.steady_state(model(), inputs={"iv": 12.0, "inhibition": np.array([0.0, 0.5])}, twins=twins)
    np.testing.assert_allclose(found.values["elimination"], 12.0, rtol=1e-9)
    np.testing.assert_allclose(found.values["concentration"], 12.0 / p["CL"] / np.array([1.0, 0.5]), rtol=1e-9)
    for other in ("C2", "C3"):
        if other in found.values:
            np.testing.assert_allclose(found.values[other], found.values["concentration"], rtol=1e-9)


def test_unbound_nanomoles():
    """1 mg/L of theophylline (180.16 g/mol), 60 % unbound, is 3.33 umol/L."""
    y = Drug1().outputs(0.0, Drug1.State(central=32.0), Drug1.In(iv=0.0, oral=0.0, inhibition=0.0))
    assert float(y.concentration) == 1.0 and float(y.unbound) == pytest.approx(0.6 * 1e6 / 180.16, rel=1e-12)


def test_drug_1_by_mouth_is_the_oral_drug():
    times, dose = np.linspace(0.0, 12.0, 25), vht.Doses(time=np.array([0.5]), amount=np.array([320.0]))
    columns = {"ka": [0.9], "CL": [2.2], "V": [30.0], "tlag": [0.3], "F": [0.8]}
    one = vht.simulate(Drug1(), times, twins=columns, schedule=vht.Schedule(doses={"oral": dose}), method=TIGHT)
    other = vht.simulate(OralDrug1(), times, twins=columns, schedule=vht.Schedule(doses={"dose": dose}), method=TIGHT)
    np.testing.assert_allclose(one.values["concentration"], other.values["concentration"], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_drawn_twins(name):
    model, _ = CASES[name]
    twins = vht.Twins.sample(model, 64, seed=1)
    assert set(twins.columns) == {key for key, v in parameters(model).items() if v.prior is not None}
    dose = vht.Doses(time=np.array([0.0]), amount=np.array([10.0]))
    found = vht.simulate(
        model(), np.linspace(0.0, 48.0, 9), twins=twins, schedule=vht.Schedule(doses={"iv": dose, "oral": dose})
    )
    assert bool(found.ok.all())
    assert (np.asarray(found.values["concentration"])[:, 1:] > -1e-4).all()


# ------------------------------------------------------------------------------------------------- patients


@pytest.fixture(scope="module")
def indometacin():
    """Six patients given 25 mg into a vein, fitted one by one (Kwan et al. 1976; R's dataset Indometh)."""
    if not DATA.exists():
        pytest.skip("the patients' data are not here")
    rows = list(csv.DictReader(DATA.read_text().splitlines()))
    problem = Problem(
        model=Drug2(),
        free={name: Free(start=parameters(Drug2)[name].default) for name in ("CL", "V1", "Q2", "V2")},
        observables={"plasma": Observable("concentration")},
        measurements=Measurements(
            twin=[row["subject"] for row in rows],
            time=[float(row["time_h"]) for row in rows],
            observable=["plasma"] * len(rows),
            value=[float(row["concentration_mg_per_L"]) for row in rows],
        ),
        schedule=vht.Schedule(doses={"iv": vht.Doses(time=np.array([0.0]), amount=np.array([25.0]))}),
        method=vht.Tsit5(rtol=1e-9, atol=1e-11),
    )
    return rows, calibrate(problem)


def test_first_patient_as_r_documents(indometacin, verified):
    """``example(SSbiexp)`` in R: A1 2.0293, lrc1 0.5794, A2 0.1916, lrc2 -1.7878."""
    _, fitted = indometacin
    p = dict(zip(("CL", "V1", "Q2", "V2"), np.asarray(fitted.estimate)[0], strict=True))
    (slow, fast), (A2, A1) = (v for v in exponentials(p))
    found = np.array([25.0 * A1, np.log(fast), 25.0 * A2, np.log(slow)])
    # the last digit of R's table is rounded
    error = np.abs(found - np.array([2.0293, 0.5794, 0.1916, -1.7878])).max()
    verified(
        "drug_2",
        "least squares fit to the first patient of Indometh (A1, lrc1, A2, lrc2)",
        "R's documented example of SSbiexp, printed to 4 decimals",
        reached=error,
        within=2e-4,
    )


def test_defaults_are_these_patients(indometacin):
    _, fitted = indometacin
    logs = np.log(np.asarray(fitted.estimate))
    for i, name in enumerate(("CL", "V1", "Q2", "V2")):
        known = parameters(Drug2)[name]
        assert known.default == pytest.approx(np.exp(logs[:, i].mean()), rel=0.03), name
        assert known.prior is not None
        assert known.prior.sd == pytest.approx(logs[:, i].std(ddof=1), rel=0.03), name
