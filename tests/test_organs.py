"""Organ models against equations written down again, closed forms, and published numbers."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
import vht.organs
from vht.errors import ModelError
from vht.model import check_units, inputs, outputs, parameters, states, with_parameters
from vht.organs import catalogue, organ
from vht.organs.circulation import Circulation, beat_summary
from vht.organs.drugs import OralDrug1
from vht.organs.glucose import MinimalGlucose
from vht.solve import Doses, Schedule, Signal

MODELS = list(catalogue().values())


@pytest.mark.parametrize("model", MODELS)
def test_units_sources_and_meanings(model):
    check_units(model)
    bib = (Path(vht.organs.__file__).parent / "references.bib").read_text()
    keys = set(re.findall(r"@\w+\{(\w+),", bib))
    assert model.citation in keys
    for variable in parameters(model).values():
        assert variable.source and (variable.source in keys or " " in variable.source), variable.name
        assert variable.bounds is not None, variable.name
    assert not set(parameters(model)) & set(states(model))


def test_catalogue_suggests(unchecked_annotations):
    with pytest.raises(ModelError, match=r"no model `circulaton`. Did you mean `circulation`\?"):
        organ("circulaton")
    for wrong in (None, ["circulation"]):
        with pytest.raises(ModelError, match='A model\'s name must be a text, such as "oral_drug", but got'):
            organ(wrong)


# ------------------------------------------------------------------------------------------- circulation


def circulation_rates(t, y, p):
    """The equations of Regazzoni et al. 2022 once more, as they are printed there: one chamber and one valve at a time."""
    V_LA, V_LV, V_RA, V_RV, p_AR_SYS, p_VEN_SYS, p_AR_PUL, p_VEN_PUL, Q_AR_SYS, Q_VEN_SYS, Q_AR_PUL, Q_VEN_PUL = y
    T = p["T_HB"]

    def elastance(chamber, side):
        tC, TC, TR = (T * p[f"{name}_{side}"] for name in ("tC", "TC", "TR"))
        contracting, relaxing = (t - tC) % T, (t - tC - TC) % T
        phi = 0.0
        if contracting < TC:
            phi = 0.5 * (1.0 - np.cos(np.pi * contracting / TC))
        elif relaxing < TR:
            phi = 0.5 * (1.0 + np.cos(np.pi * relaxing / TR))
        return p[f"EB_{chamber}"] + p[f"EA_{chamber}"] * phi

    p_LA = elastance("LA", "A") * (V_LA - p["V0_LA"])
    p_LV = elastance("LV", "V") * (V_LV - p["V0_LV"])
    p_RA = elastance("RA", "A") * (V_RA - p["V0_RA"])
    p_RV = elastance("RV", "V") * (V_RV - p["V0_RV"])

    def valve(before, behind):
        return (before - behind) / (p["Rmin"] if before > behind else p["Rmax"])

    Q_MV, Q_AV, Q_TV, Q_PV = valve(p_LA, p_LV), valve(p_LV, p_AR_SYS), valve(p_RA, p_RV), valve(p_RV, p_AR_PUL)
    return [
        Q_VEN_PUL - Q_MV,
        Q_MV - Q_AV,
        Q_VEN_SYS - Q_TV,
        Q_TV - Q_PV,
        (Q_AV - Q_AR_SYS) / p["C_AR_SYS"],
        (Q_AR_SYS - Q_VEN_SYS) / p["C_VEN_SYS"],
        (Q_PV - Q_AR_PUL) / p["C_AR_PUL"],
        (Q_AR_PUL - Q_VEN_PUL) / p["C_VEN_PUL"],
        -(p["R_AR_SYS"] * Q_AR_SYS + p_VEN_SYS - p_AR_SYS) / p["L_AR_SYS"],
        -(p["R_VEN_SYS"] * Q_VEN_SYS + p_RA - p_VEN_SYS) / p["L_VEN_SYS"],
        -(p["R_AR_PUL"] * Q_AR_PUL + p_VEN_PUL - p_AR_PUL) / p["L_AR_PUL"],
        -(p["R_VEN_PUL"] * Q_VEN_PUL + p_LA - p_VEN_PUL) / p["L_VEN_PUL"],
    ]


def test_circulation_rates_agree_with_the_equations():
    rng = np.random.default_rng(3)
    names = list(states(Circulation))
    defaults = {name: v.default or 0.0 for name, v in parameters(Circulation).items()}
    start = np.array([v.default for v in states(Circulation).values()])
    for _ in range(50):
        p = {name: value * rng.uniform(0.8, 1.2) for name, value in defaults.items()}
        y = start * rng.uniform(0.3, 1.7, 12) + rng.normal(size=12) * 30.0
        t = rng.uniform(0.0, 5.0)
        model = with_parameters(Circulation(), p)
        found = model.rates(t, model.State(**dict(zip(names, y, strict=True))), model.In())
        found = np.array([float(getattr(found, name)) for name in names])
        expected = np.array(circulation_rates(t, y, p))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.fixture(scope="module")
def two_twins():
    """Two twins for five seconds, by vht and by SciPy."""
    columns = {"R_AR_SYS": np.array([0.8, 1.1]), "EA_LV": np.array([2.75, 2.0]), "T_HB": np.array([60 / 72, 0.9])}
    times = np.linspace(0.0, 5.0, 501)
    found = vht.simulate(Circulation(), times, twins=columns, method=vht.Tsit5(rtol=1e-9, atol=1e-9))
    start = [v.default for v in states(Circulation).values()]
    expected = []
    for i in range(2):
        p = {name: v.default for name, v in parameters(Circulation).items()} | {k: c[i] for k, c in columns.items()}
        solved = solve_ivp(
            circulation_rates,
            (0.0, 5.0),
            start,
            args=(p,),
            method="LSODA",
            rtol=1e-9,
            atol=1e-9,
            t_eval=times,
            max_step=0.02,
        )
        expected.append(solved.y)
    return found, np.array(expected), columns, times


def test_circulation_agrees_with_scipy(two_twins, verified):
    found, expected, _, _ = two_twins
    assert bool(found.ok.all())
    errors = []
    for i, name in enumerate(states(Circulation)):
        y = expected[:, i]
        errors.append(np.abs(np.asarray(found.values[name]) - y).max() / np.ptp(y))
    reference = "SciPy LSODA on the paper's equations written again"
    verified("circulation", "all states over 5 s", reference, reached=max(errors), within=1e-6, unit="of the range")


def test_blood_is_conserved(two_twins, verified):
    volume = np.asarray(two_twins[0].values["V_blood"])
    error = np.abs(volume / volume[:, :1] - 1.0).max()
    verified("circulation", "volume of blood over 5 s", "conservation", reached=error, within=1e-10)


def test_a_beat_is_physiological(two_twins):
    """The default twin at rest: textbook ranges (Klabunde, Cardiovascular Physiology Concepts, 2nd ed., 2011)."""
    found, _, columns, times = two_twins
    beat = beat_summary(times, found.values, columns["T_HB"])
    assert 60.0 < beat.stroke_volume[0] < 100.0
    assert 0.55 < beat.ejection_fraction[0] < 0.75
    assert 4.0 < beat.cardiac_output[0] < 8.0
    assert 100.0 < beat.systolic_pressure[0] < 140.0
    assert 60.0 < beat.diastolic_pressure[0] < 90.0
    assert 70.0 < beat.mean_arterial_pressure[0] < 105.0
    volume = np.asarray(found.values["V_LV"])[0, -84:]
    assert float(beat.stroke_volume[0]) == pytest.approx(np.ptp(volume), rel=1e-12)
    # forward flow through the aortic valve over the beat is the same volume
    flow = np.asarray(found.values["Q_AV"])[0]
    last = times >= times[-1] - columns["T_HB"][0] - 1e-9
    assert np.trapezoid(np.maximum(flow[last], 0.0), times[last]) == pytest.approx(
        float(beat.stroke_volume[0]), rel=0.02
    )


def test_beat_summary_wants_a_whole_beat():
    with pytest.raises(ValueError, match=r"cover a heart period of 0\.8 s"):
        beat_summary(np.linspace(0, 0.5, 6), {"V_LV": np.ones((1, 6)), "p_AR_SYS": np.ones((1, 6))}, 0.8)


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_a_failed_twin_has_no_beat(as_array):
    """Not even one that failed in the midst of its last beat, in a cohort so large that XLA's maximum loses NaN."""
    times = np.linspace(0.0, 10.0, 1001)
    volume = 100.0 + 40.0 * np.cos(2 * np.pi * times) * np.ones((80, 1))
    pressure = volume.copy()
    volume[3], volume[5, -20:], pressure[7, -20:], volume[9, :500] = np.nan, np.nan, np.nan, np.nan
    period = np.ones(80)
    period[11:13] = np.nan, 0.0
    found = beat_summary(times, {"V_LV": as_array(volume), "p_AR_SYS": as_array(pressure)}, period)
    for name, result in found._asdict().items():
        # a twin that was NaN before its last beat has one; one that failed in pressure alone is not trusted either
        assert np.flatnonzero(np.isnan(result)).tolist() == [3, 5, 7, 11, 12], name
        assert np.isfinite(np.asarray(result)[0]), name
    np.testing.assert_allclose(np.asarray(found.stroke_volume)[0], 80.0, rtol=1e-12)


def test_a_beat_keeps_the_precision_of_its_values():
    times = np.linspace(0.0, 1.0, 1001)
    values = 100.0 + 40.0 * np.cos(2 * np.pi * times)[None, :]
    with jax.enable_x64(False):
        found = beat_summary(times, {"V_LV": values, "p_AR_SYS": values}, 1.0)
    assert found.ejection_fraction.dtype == np.float64
    assert float(found.ejection_fraction[0]) == pytest.approx(80.0 / 140.0, rel=1e-14)
    assert float(found.mean_arterial_pressure[0]) == pytest.approx(100.0, rel=1e-14)


def test_a_beat_can_be_differentiated_by_its_period():
    times = np.linspace(0.0, 2.0, 201)
    values = 100.0 + 40.0 * np.cos(2 * np.pi * times)[None, :]

    def cardiac_output(period):
        return beat_summary(times, {"V_LV": values, "p_AR_SYS": values}, period).cardiac_output[0]

    # 80 mL a beat, so the output is 0.06 * 80 / period
    value, slope = jax.jit(jax.value_and_grad(cardiac_output))(1.25)
    assert float(value) == pytest.approx(0.06 * 80.0 / 1.25, rel=1e-12)
    assert float(slope) == pytest.approx(-0.06 * 80.0 / 1.25**2, rel=1e-12)
    assert np.isnan(jax.jit(cardiac_output)(2.5))


def test_the_default_twin_is_the_one_described():
    times = np.linspace(0.0, 30.0, 6001)
    found = vht.simulate(Circulation(), times)
    beat = beat_summary(times, found.values, 60 / 72)
    pulmonary = np.asarray(found.values["p_AR_PUL"])[0, -167:].mean()
    described = str(Circulation.__doc__)
    assert f"ejects {beat.stroke_volume[0]:.0f} mL a beat, {100 * beat.ejection_fraction[0]:.0f} %" in described
    assert f"{beat.cardiac_output[0]:.1f} L/min" in described
    assert f"{beat.systolic_pressure[0]:.0f}/{beat.diastolic_pressure[0]:.0f} mmHg" in described
    assert f"pulmonary arterial pressure of {pulmonary:.0f} mmHg" in described


def test_drawn_twins_settle_as_described():
    twins = vht.Twins.sample(Circulation, 200, seed=3)
    beats, saves = 60, 50
    times = twins.columns["T_HB"][:, None] * np.arange(beats * saves)[None, :] / saves
    volume = np.asarray(vht.simulate(Circulation(), times, twins=twins, observe=["V_LV"]).values["V_LV"])
    stroke = np.ptp(volume.reshape(200, beats, saves), axis=2)
    off = np.abs(stroke / stroke[:, -1:] - 1.0)
    assert np.quantile(off[:, 10], 0.9) == pytest.approx(0.06, abs=0.01)
    assert np.quantile(off[:, 30], 0.9) < 0.005


def test_chambers_contract_once_in_a_beat():
    """Onsets may come before time 0, and what contracts can relax before the next beat."""
    known = parameters(Circulation)
    bounds = {name: variable.bounds or (np.nan, np.nan) for name, variable in known.items()}
    for side in "AV":
        earliest, latest = bounds[f"tC_{side}"]
        assert earliest < (known[f"tC_{side}"].default or 0.0) < latest == pytest.approx(earliest + 1.0)
        assert bounds[f"TC_{side}"][0] > 0.0 and bounds[f"TR_{side}"][0] > 0.0
        assert bounds[f"TC_{side}"][1] + bounds[f"TR_{side}"][1] <= 1.0


# ------------------------------------------------------------------------------------------- drug and glucose


def test_oral_drug_agrees_with_the_closed_form(verified):
    ka, CL, V, lag, F, dose = 1.3, 2.5, 30.0, 0.4, 0.7, 320.0
    columns = {"ka": [ka], "CL": [CL], "V": [V], "tlag": [lag], "F": [F]}
    times = np.linspace(0.0, 24.0, 49)
    schedule = Schedule(doses={"dose": Doses(time=np.array([1.0]), amount=np.array([dose]))})
    found = vht.simulate(OralDrug1(), times, twins=columns, schedule=schedule, method=vht.Tsit5(rtol=1e-10, atol=1e-12))
    since, k = np.maximum(times - 1.0 - lag, 0.0), CL / V
    expected = F * dose * ka / (V * (ka - k)) * (np.exp(-k * since) - np.exp(-ka * since))
    np.testing.assert_allclose(found.values["concentration"][0], expected, rtol=1e-7, atol=1e-9)
    error = np.abs(np.asarray(found.values["concentration"][0]) - expected).max() / expected.max()
    reference = "difference of exponentials (Gabrielsson and Weiner)"
    verified(
        "oral_drug", "concentration after a dose with lag", reference, reached=error, within=1e-7, unit="of the peak"
    )
    # what is neither in the gut nor in the body has been cleared: CL times the area under the curve
    assert found.values["gut"][0, 0] == 0.0


def test_oral_drug_where_absorption_is_as_fast_as_elimination_and_slower():
    CL, V, dose = 2.8, 32.0, 320.0
    k = CL / V
    times = np.linspace(0.0, 48.0, 49)
    schedule = Schedule(doses={"dose": Doses(time=np.array([0.0]), amount=np.array([dose]))})
    columns = {"ka": np.array([k, 1.5, k]), "CL": np.full(3, CL), "V": np.array([V, V, V * k / 1.5])}
    found = vht.simulate(OralDrug1(), times, twins=columns, schedule=schedule, method=vht.Tsit5(rtol=1e-10, atol=1e-12))
    equal, fast, flipped = np.asarray(found.values["concentration"])
    np.testing.assert_allclose(equal, dose / V * k * times * np.exp(-k * times), rtol=1e-9, atol=1e-10)
    # flip-flop: rates exchanged, V scaled by their ratio, the same clearance: the same curve
    expected = dose * 1.5 / (V * (1.5 - k)) * (np.exp(-k * times) - np.exp(-1.5 * times))
    np.testing.assert_allclose(fast, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(flipped, expected, rtol=1e-9, atol=1e-10)


def test_bounds_of_the_volume_reach_from_newborns_to_drugs_bound_by_tissue():
    lower, upper = parameters(OralDrug1)["V"].bounds or (np.nan, np.nan)
    # phenobarbital in a newborn of 1 kg, 0.96 L/kg (Grasela and Donn 1985)
    assert lower < 0.96
    # chloroquine in an adult of 70 kg, 200 L/kg (Krishna and White 1996)
    assert upper > 14_000.0


def test_minimal_model_agrees_with_scipy():
    time, insulin = np.array([0.0, 2.0, 4.0, 8.0, 20.0, 60.0]), np.array([11.0, 26.0, 130.0, 51.0, 30.0, 15.0])
    p = {"S_G": 0.0189, "p2": 0.0214, "S_I": 8.07e-4, "G0": 261.2, "Gb": 92.0, "Ib": 11.0}

    def rates(t, y):
        glucose, action = y
        level = np.interp(t, time, insulin)
        return [
            -(p["S_G"] + action) * glucose + p["S_G"] * p["Gb"],
            -p["p2"] * action + p["p2"] * p["S_I"] * (level - p["Ib"]),
        ]

    times = np.array([0.0, 1.0, 3.0, 10.0, 45.0, 60.0])
    expected = solve_ivp(rates, (0, 60), [p["G0"], 0.0], t_eval=times, rtol=1e-10, atol=1e-12, max_step=0.5).y
    found = vht.simulate(
        MinimalGlucose(),
        times,
        twins={name: np.array([value]) for name, value in p.items()},
        schedule=Schedule(signals={"insulin": Signal(time=time, value=insulin)}),
        method=vht.Tsit5(rtol=1e-10, atol=1e-12),
    )
    np.testing.assert_allclose(found.values["glucose"][0], expected[0], rtol=1e-7)
    np.testing.assert_allclose(found.values["X"][0], expected[1], rtol=1e-6, atol=1e-10)
    assert list(inputs(MinimalGlucose)) == ["insulin"] and list(outputs(MinimalGlucose)) == ["glucose"]
