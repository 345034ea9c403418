"""Circulation averaged over the beat: against the pulsatile one, and against its equations solved by SciPy."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import fsolve

import vht
from vht.model import inputs, parameters, states, with_parameters
from vht.organs.circulation import Circulation
from vht.organs.mean_circulation import MeanCirculation
from vht.solve import Doses, Schedule, Signal

DEFAULTS = {name: v.default or 0.0 for name, v in parameters(MeanCirculation).items()}
PULSATILE = {name: v.default or 0.0 for name, v in parameters(Circulation).items()}
# 0: the default twin, 1 to 64: drawn; then what diseases, drugs and reflexes do
CONDITIONS = {
    "fast": {"T_HB": 60 / 144},
    "slow": {"T_HB": 60 / 45},
    "weak": {"EA_LV": 2.75 * 0.3, "EA_RV": 0.55 * 0.3},
    "inotrope": {"EA_LV": 5.5, "EA_RV": 1.1},
    "dilated": {"R_AR_SYS": 0.32},
    "constricted": {"R_AR_SYS": 1.6},
    "stiff arteries": {"C_AR_SYS": 0.6},
    "stiff ventricle": {"EB_LV": 0.2},
    "bled": {},
    "overloaded": {},
}
EXTRA_BLOOD = {"bled": -1000.0, "overloaded": 1000.0}
# what the pulsatile model calls it: in the beat-averaged model
SAME = {
    "p_AR_SYS": "MAP",
    "Q_AR_SYS": "CO",
    "p_AR_PUL": "mPAP",
    "p_VEN_SYS": "p_VEN_SYS",
    "p_RA": "p_RA",
    "p_VEN_PUL": "p_VEN_PUL",
    "p_LA": "p_LA",
}


@pytest.fixture(scope="module")
def errors():
    """By output, each twin's relative error of the beat-averaged model against the last of 80 beats of the pulsatile one."""
    rng = np.random.default_rng(5)
    columns = {}
    for name, default in PULSATILE.items():
        if name[:2] in ("R_", "C_", "EA", "EB") or name == "T_HB":
            drawn = default * np.exp(0.2 * rng.normal(size=64))
            columns[name] = np.array([default, *drawn, *(c.get(name, default) for c in CONDITIONS.values())])
    extra = np.array([0.0] * 65 + [EXTRA_BLOOD.get(condition, 0.0) for condition in CONDITIONS])
    beats, saves = 80, 200
    times = columns["T_HB"][:, None] * np.r_[0.0, beats - 1 + np.arange(saves + 1) / saves]
    beating = vht.simulate(
        Circulation(),
        times,
        twins=columns,
        initial={"p_VEN_SYS": 30.0 + extra / columns["C_VEN_SYS"]},
        method=vht.Tsit5(rtol=1e-6, atol=1e-6),
        observe=[*SAME, "V_blood"],
    )
    assert bool(beating.ok.all())
    blood = np.asarray(beating.values["V_blood"])[:, 0] + DEFAULTS["V0_VEN_SYS"]
    resting = vht.steady_state(MeanCirculation(), twins=columns | {"V_blood": blood})
    assert bool(resting.ok.all())
    np.testing.assert_allclose(resting.values["blood_volume"], blood / 1000.0, rtol=1e-9)
    found = {}
    for pulsatile, averaged in SAME.items():
        mean = np.asarray(beating.values[pulsatile])[:, 1:-1].mean(axis=1) * (0.06 if averaged == "CO" else 1.0)
        found[averaged] = np.asarray(resting.values[averaged]) / mean - 1.0
    return found


def test_the_default_twin_agrees_with_the_pulsatile_one(errors, verified):
    at_rest = {name: abs(error[0]) for name, error in errors.items()}
    verified(
        "mean_circulation",
        "mean arterial and pulmonary arterial pressure and cardiac output at the defaults, largest relative error",
        "beat averages of the pulsatile model (Regazzoni et al. 2022)",
        reached=max(at_rest[name] for name in ("MAP", "CO", "mPAP")),
        within=0.05,
    )
    verified(
        "mean_circulation",
        "mean venous and atrial pressures at the defaults, largest relative error",
        "beat averages of the pulsatile model (Regazzoni et al. 2022)",
        reached=max(at_rest[name] for name in ("p_VEN_SYS", "p_RA", "p_VEN_PUL", "p_LA")),
        within=0.05,
    )


def test_drawn_twins_agree_with_pulsatile_ones(errors, verified):
    """64 twins, a spread of 20 % in every resistance, compliance, elastance and in the period; the same blood in both."""
    drawn = {name: np.abs(error[1:65]) for name, error in errors.items()}
    verified(
        "mean_circulation",
        "mean pressures and cardiac output of 64 twins with a spread of 20 %, largest median relative error",
        "beat averages of the pulsatile model (Regazzoni et al. 2022)",
        reached=max(np.median(error) for error in drawn.values()),
        within=0.1,
    )
    verified(
        "mean_circulation",
        "mean pressures and cardiac output of 64 twins with a spread of 20 %, largest relative error of any",
        "beat averages of the pulsatile model (Regazzoni et al. 2022)",
        reached=max(error.max() for error in drawn.values()),
        within=0.1,
    )


def test_diseases_and_drugs_agree_with_the_pulsatile_model(errors, verified):
    """Heart rates of 45 and 144, contractility of 30 and 200 %, resistance of 40 and 200 %, 1 L of blood less or more."""
    ill = {name: np.abs(error[65:]) for name, error in errors.items()}
    verified(
        "mean_circulation",
        "mean arterial pressure and cardiac output under ten diseases and treatments, largest relative error",
        "beat averages of the pulsatile model (Regazzoni et al. 2022)",
        reached=max(ill[name].max() for name in ("MAP", "CO")),
        within=0.05,
    )
    assert max(error.max() for error in ill.values()) < 0.08


def test_parameters_are_those_of_the_pulsatile_model():
    mine, theirs = parameters(MeanCirculation), parameters(Circulation)
    assert set(mine) - set(theirs) == {"IVC", "IVR", "V0_VEN_SYS", "V_blood"}
    assert set(theirs) - set(mine) == {"Rmax", "L_AR_SYS", "L_VEN_SYS", "L_AR_PUL", "L_VEN_PUL"}
    for name in set(mine) & set(theirs):
        assert dataclasses.asdict(mine[name]) == dataclasses.asdict(theirs[name]), name


def test_a_transient_agrees_with_the_pulsatile_model():
    """Both begin with the same blood in every part, 300 mL of it moved from the veins to the lungs."""
    period, beats, saves = DEFAULTS["T_HB"], 25, 50
    start = {name: v.default or 0.0 for name, v in states(Circulation).items()}
    start |= {"p_VEN_SYS": start["p_VEN_SYS"] - 5.0, "p_VEN_PUL": start["p_VEN_PUL"] + 300.0 / 16.0}
    times = period * np.arange(beats * saves + 1) / saves
    beating = vht.simulate(
        Circulation(),
        times,
        initial={"p_VEN_SYS": start["p_VEN_SYS"], "p_VEN_PUL": start["p_VEN_PUL"]},
        observe=["p_AR_SYS", "p_AR_PUL", "p_VEN_PUL"],
    )
    averaged = vht.simulate(
        MeanCirculation(),
        period * (np.arange(beats) + 0.5) / 60.0,
        initial={
            "V_AR_SYS": 1.2 * start["p_AR_SYS"],
            "V_VEN_SYS": 60.0 * start["p_VEN_SYS"] + DEFAULTS["V0_VEN_SYS"],
            "V_AR_PUL": 10.0 * start["p_AR_PUL"],
            "V_VEN_PUL": 16.0 * start["p_VEN_PUL"],
            "V_LH": start["V_LA"] + start["V_LV"],
            "V_RH": start["V_RA"] + start["V_RV"],
        },
    )
    for pulsatile, name in (("p_AR_SYS", "MAP"), ("p_AR_PUL", "mPAP"), ("p_VEN_PUL", "p_VEN_PUL")):
        mean = np.asarray(beating.values[pulsatile])[0, :-1].reshape(beats, saves).mean(axis=1)
        found = np.asarray(averaged.values[name])[0]
        # it goes up by a quarter and comes back
        assert np.ptp(mean) > 0.1 * mean.mean(), name
        assert np.abs(found / mean - 1.0)[2:].max() < 0.05, name
        assert np.abs(found / mean - 1.0)[15:].max() < 0.02, name


def test_a_side_of_the_heart_agrees_with_its_equations():
    """The five equations of the docstring, one after another, by SciPy; the average over the beat by its quadrature."""
    rng = np.random.default_rng(2)
    p = DEFAULTS
    for _ in range(20):
        T, blood, p_artery, p_behind, p_veins = rng.uniform((0.5, 150, 50, 15, 10), (1.2, 250, 100, 40, 30))
        Ea, dEa, Ev, dEv, R, C, R_veins = np.array([0.09, 0.07, 0.08, 2.75, 0.8, 1.2, 0.16]) * rng.uniform(0.6, 1.6, 7)

        def contraction(share):
            theta = (share - p["tC_A"]) % 1.0
            if theta < p["TC_A"]:
                return 0.5 * (1.0 - np.cos(np.pi * theta / p["TC_A"]))
            if theta < p["TC_A"] + p["TR_A"]:
                return 0.5 * (1.0 + np.cos(np.pi * (theta - p["TC_A"]) / p["TR_A"]))
            return 0.0

        opens, closes, fills = p["IVC"] * p["TC_V"], p["TC_V"], p["TC_V"] + p["IVR"] * p["TR_V"]
        t_s, tau = (closes - opens) * T, R * C
        p_es = p_behind + (p_artery - p_behind) * T / (t_s + tau * (1.0 - np.exp(-(T - t_s) / tau)))
        V_es, e = p_es / (Ev + dEv), Ea + dEa * contraction(0.0)
        undone = np.exp(-(1.0 - fills) * T / (p["Rmin"] / (e + Ev)))

        def equations(unknown):
            SV, V_ed, X = unknown
            shared = (e * X - p["Rmin"] * SV / T) / (e + Ev)
            return [
                V_ed - V_es - (1.0 - undone) * (shared - V_es),
                SV - (V_ed - V_es),
                X - blood - SV * (0.5 - opens - (closes - opens) / 3.0),
            ]

        SV, V_ed, X = fsolve(equations, [60.0, 100.0, blood])

        def pressure(share, inflow):
            e = Ea + dEa * contraction(share)
            if share < fills:
                return e * (X - V_ed + inflow * T * share)
            through = SV / ((1.0 - fills) * T)
            return e * (Ev * (X - SV + inflow * T * share) + p["Rmin"] * through) / (e + Ev)

        def balance(inflow):
            mean = quad(lambda s: pressure(s, inflow[0]), 0.0, fills, limit=200)[0]
            mean += quad(lambda s: pressure(s, inflow[0]), fills, 1.0, limit=200)[0]
            return [(p_veins - mean) / R_veins - inflow[0]]

        inflow = fsolve(balance, [50.0])[0]
        model = MeanCirculation()
        found = model._side(
            T, model._contraction(), blood, (Ea, dEa), (Ev, dEv), (p_artery, p_behind, R, C), (p_veins, R_veins)
        )
        assert SV > 5.0
        np.testing.assert_allclose(
            np.array([found.stroke, found.filled, found.p_es], dtype=float), [SV, V_ed, p_es], rtol=1e-9
        )
        # four instants of either part of the beat stand for the average
        assert float(found.p_atrium) == pytest.approx(p_veins - R_veins * inflow, rel=0.01)
        assert float(found.inflow) == pytest.approx(inflow, rel=0.01)


def test_the_default_twin_is_at_rest():
    model = MeanCirculation()
    u = model.In(**{name: v.default or 0.0 for name, v in inputs(model).items()})
    rates = model.rates(0.0, model.initial(), u)
    y = model.outputs(0.0, model.initial(), u)
    flow = float(y.Q_AV)
    # flow through the body is what total peripheral resistance says
    assert float(y.TPR) == pytest.approx((0.8 + 0.26) * 1000.0 / 60.0, rel=1e-5)
    assert max(abs(float(getattr(rates, name))) for name in states(MeanCirculation)) < 1e-6 * flow
    for name, variable in states(MeanCirculation).items():
        assert float(getattr(model.initial(), name)) == pytest.approx(variable.default, abs=0.01)


def test_inputs_do_what_parameters_do():
    """A factor is the parameter times it, and growing unstressed volume the parameter plus it."""
    model = MeanCirculation()
    changed = {
        "R_AR_SYS": 0.8 * 1.3,
        "EA_LV": 2.75 * 0.7,
        "EA_RV": 0.55 * 0.7,
        "T_HB": 60 / 72 / 1.4,
        "V0_VEN_SYS": 2275.0,
    }
    other = with_parameters(model, changed)
    driven = model.In(
        0.0, resistance_factor=1.3, contractility_factor=0.7, heart_rate_factor=1.4, unstressed_change=300.0
    )
    absent = model.In(**{name: v.default or 0.0 for name, v in inputs(model).items()})
    x = dataclasses.replace(model.initial(), V_AR_SYS=140.0)
    for one, two in (
        (model.rates(0.0, x, driven), other.rates(0.0, x, absent)),
        (model.outputs(0.0, x, driven), other.outputs(0.0, x, absent)),
    ):
        for name, value in vars(one).items():
            assert float(value) == pytest.approx(float(getattr(two, name)), rel=1e-12, abs=1e-9), name
    more = dataclasses.asdict(model.rates(0.0, x, dataclasses.replace(absent, inflow=12.0)))
    less = dataclasses.asdict(model.rates(0.0, x, absent))
    gained = {name: float(more[name] - less[name]) for name in more}
    assert gained == pytest.approx({name: 12.0 if name == "V_VEN_SYS" else 0.0 for name in more}, abs=1e-9)


def test_blood_is_conserved_and_follows_what_flows_in():
    """A month: half a litre is lost in 10 minutes, and 20 mL/h come back."""
    times = np.array([0.0, 5.0, 10.0, 60.0, 1440.0, 1510.0, 43200.0])
    lost = Doses(time=np.array([0.0]), amount=np.array([-500.0]), duration=np.array([10.0]))
    refill = Signal(time=[0.0, 10.0, 10.0, 1510.0, 1510.0, 43200.0], value=[0.0, 0.0, 1 / 3, 1 / 3, 0.0, 0.0])
    schedule = Schedule(doses={"inflow": lost}, signals={"inflow": refill})
    found = vht.simulate(MeanCirculation(), times, schedule=schedule, method=vht.Rodas5P(rtol=1e-8, atol=1e-8))
    assert bool(found.ok.all())
    volume = np.asarray(found.values["blood_volume"])[0]
    expected = 5.0 - np.array([0.0, 0.25, 0.5, 0.5 - 50 / 3e3, 0.5 - 1430 / 3e3, 0.0, 0.0])
    np.testing.assert_allclose(volume, expected, rtol=1e-10)
    pressure = np.asarray(found.values["MAP"])[0]
    assert pressure[2] < 0.9 * pressure[0]
    assert pressure[-1] == pytest.approx(pressure[0], rel=1e-6)


def test_twins_from_the_priors_settle():
    twins = vht.Twins.sample(MeanCirculation, 64, seed=1)
    found = vht.simulate(MeanCirculation(), np.array([0.0, 10.0, 1440.0]), twins=twins, method=vht.Rodas5P())
    assert bool(found.ok.all())
    volume = np.asarray(found.values["blood_volume"])
    np.testing.assert_allclose(volume, volume[:, :1] * np.ones(3), rtol=1e-10)
    np.testing.assert_allclose(found.values["MAP"][:, 1], found.values["MAP"][:, 2], rtol=1e-4)
    np.testing.assert_allclose(found.values["Q_AV"][:, 2], found.values["Q_PV"][:, 2], rtol=1e-4)


def test_an_empty_heart_pumps_nothing():
    """Blood that only fills the unstressed volume: no flow, no pressure, nothing that is not a number."""
    found = vht.simulate(
        MeanCirculation(),
        np.array([0.0, 5.0, 60.0]),
        twins={"V_blood": np.array([1975.0 + 23.0])},
        method=vht.Rodas5P(),
    )
    assert bool(found.ok.all())
    assert abs(float(found.values["CO"][0, -1])) < 0.01 and abs(float(found.values["MAP"][0, -1])) < 0.1
    assert all(np.isfinite(value).all() for value in found.values.values())


def test_bounds_leave_numbers():
    """Every parameter at one of its bounds, by chance; of durations, those that leave no time for filling at all too."""
    rng = np.random.default_rng(0)
    columns = {
        name: np.where(rng.random(128) < 0.5, *v.bounds) for name, v in parameters(MeanCirculation).items() if v.bounds
    }
    for name, longest in (("TC_V", 0.5), ("TR_V", 0.5), ("IVR", 1.0)):
        columns[name][:16] = longest
    found = vht.simulate(MeanCirculation(), np.array([0.0, 0.1, 60.0]), twins=columns, method=vht.Rodas5P())
    assert bool(found.ok.all())
    assert all(np.isfinite(value).all() for value in found.values.values())
    assert np.all(np.asarray(found.values["CO"])[:16] == 0.0) and np.asarray(found.values["CO"])[16:].max() > 5.0


def test_resistance_without_flow_is_that_of_the_vessels():
    """Less blood than fills the unstressed volume: nothing is pumped, so that pressures and flow do not tell it."""
    found = vht.steady_state(MeanCirculation(), twins={"V_blood": np.array([1500.0, 5000.0])})
    flow = np.asarray(found.values["CO"])
    assert abs(flow[0]) < 1e-12 and flow[1] > 5.0
    np.testing.assert_allclose(found.values["TPR"], (0.8 + 0.26) * 1000.0 / 60.0, rtol=1e-6)


def test_without_inertances_the_pulsatile_model_is_the_one_with_algebraic_flows(verified):
    """Regazzoni's equations with L = 0, by SciPy; the difference falls as L does."""
    p = PULSATILE

    def rates(t, y):
        V_LA, V_LV, V_RA, V_RV, p_as, p_vs, p_ap, p_vp = y

        def phi(side):
            theta = (t / p["T_HB"] - p[f"tC_{side}"]) % 1.0
            up, down = p[f"TC_{side}"], p[f"TR_{side}"]
            if theta < up:
                return 0.5 * (1.0 - np.cos(np.pi * theta / up))
            return 0.5 * (1.0 + np.cos(np.pi * (theta - up) / down)) if theta < up + down else 0.0

        atria, ventricles = phi("A"), phi("V")

        def chamber(name, active, V):
            return (p[f"EB_{name}"] + p[f"EA_{name}"] * active) * (V - p[f"V0_{name}"])

        def valve(before, behind):
            return (before - behind) / (p["Rmin"] if before > behind else p["Rmax"])

        LA, LV = chamber("LA", atria, V_LA), chamber("LV", ventricles, V_LV)
        RA, RV = chamber("RA", atria, V_RA), chamber("RV", ventricles, V_RV)
        mitral, aortic, tricuspid, pulmonary = valve(LA, LV), valve(LV, p_as), valve(RA, RV), valve(RV, p_ap)
        body, back = (p_as - p_vs) / p["R_AR_SYS"], (p_vs - RA) / p["R_VEN_SYS"]
        lungs, home = (p_ap - p_vp) / p["R_AR_PUL"], (p_vp - LA) / p["R_VEN_PUL"]
        return [
            home - mitral,
            mitral - aortic,
            back - tricuspid,
            tricuspid - pulmonary,
            (aortic - body) / p["C_AR_SYS"],
            (body - back) / p["C_VEN_SYS"],
            (pulmonary - lungs) / p["C_AR_PUL"],
            (lungs - home) / p["C_VEN_PUL"],
        ]

    names = list(states(Circulation))[:8]
    times = np.linspace(0.0, 5.0, 501)
    start = [states(Circulation)[name].default for name in names]
    limit = solve_ivp(rates, (0, 5), start, method="LSODA", rtol=1e-9, atol=1e-9, t_eval=times, max_step=0.02).y
    scales = np.array([1.0, 0.1, 0.01])
    columns = {name: default * scales for name, default in p.items() if name.startswith("L_")}
    found = vht.simulate(Circulation(), times, twins=columns, method=vht.Rodas5P(rtol=1e-7, atol=1e-7))
    assert bool(found.ok.all())
    # after the first second: flows begin at 0, and where there is inertance they take a moment
    off = np.max(
        [
            np.abs(np.asarray(found.values[name]) - limit[i])[:, 100:].max(axis=1) / np.ptp(limit[i])
            for i, name in enumerate(names)
        ],
        axis=0,
    )
    assert off[1] == pytest.approx(off[0] / 10, rel=0.05) and off[2] == pytest.approx(off[0] / 100, rel=0.05)
    verified(
        "circulation",
        "without inertances: volumes and pressures with a tenth of them, largest difference from none, share of the range",
        "SciPy on the equations of Regazzoni et al. 2022 with L = 0",
        reached=off[1],
        within=0.005,
    )
