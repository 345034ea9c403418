"""svZeroDSolver's closed-loop heart: against what that program computed, and against its scheme written down again."""

import json
import pathlib

import numpy as np
import pytest

import vht
from vht.model import parameters, states
from vht.organs.closed_loop_heart import ClosedLoopHeart
from vht.solve import Schedule, Signal, simulate_with_jacobian

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data" / "svzerod"
PERIOD = 1.0169
# of the cases: all other states are 0
START = dict.fromkeys(states(ClosedLoopHeart), 0.0) | {
    "V_RA": 38.43,
    "V_RV": 96.07,
    "V_LA": 38.43,
    "V_LV": 96.07,
    "P_pul": 8.0,
}
# time (s), pressure (mmHg) and flow (mL/s) at the inlet of the aorta over the first beat: every 303rd row of
# tests/cases/results/result_closedLoopHeart_singleVessel.json of github.com/SimVascular/svZeroDSolver at commit ae38e9a8,
# where the case takes 10,000 steps a beat
FINE = np.array(
    [
        (0.0308151515, 23.165918, 60.215537),
        (0.061630303, 44.771865, 144.12907),
        (0.0924454545, 58.350313, 176.59934),
        (0.1232606061, 62.709621, 134.82836),
        (0.1540757576, 66.130953, 80.484634),
        (0.1848909091, 69.336767, 55.327568),
        (0.2157060606, 71.913478, 53.243611),
        (0.2465212121, 73.519348, 57.371389),
        (0.2773363636, 73.972238, 56.747759),
        (0.3081515152, 72.76231, 49.679918),
        (0.3389666667, 70.372263, 36.760763),
        (0.3697818182, 68.578087, 29.502343),
        (0.4005969697, 66.977332, 29.090975),
        (0.4314121212, 65.32641, 30.513817),
        (0.4622272727, 63.624795, 30.715885),
        (0.4930424242, 61.949992, 29.695366),
        (0.5238575758, 60.341859, 28.456418),
        (0.5546727273, 58.794304, 27.534419),
        (0.5854878788, 57.289632, 26.870076),
        (0.6163030303, 55.819801, 26.245398),
        (0.6471181818, 54.386038, 25.563293),
        (0.6779333333, 52.99124, 24.844774),
        (0.7087484848, 51.636155, 24.134813),
        (0.7395636364, 50.319409, 23.457073),
        (0.7703787879, 49.041778, 22.680546),
        (0.8011939394, 47.814872, 21.609696),
        (0.8320090909, 46.653883, 20.343518),
        (0.8628242424, 45.560517, 19.227042),
        (0.8936393939, 44.517993, 18.527875),
        (0.9244545455, 43.503092, 18.189317),
        (0.955269697, 42.503876, 17.912015),
        (0.9860848485, 41.521846, 17.582414),
        (1.0169, 40.555786, 17.364911),
    ]
)
# the same of result_closedLoopHeart_singleVessel_decomposed.json at commit c7b0ca09: 1,000 steps a beat, other blocks, valves
# that are resistances of 0.005 to 0.035 or of 1,000 mmHg s/mL, and no pressure in the lungs at first
DECOMPOSED = np.array(
    [
        (0.0305375375, 22.96216, 59.12069),
        (0.0926305305, 58.394839, 176.70584),
        (0.1537056056, 66.082643, 80.975007),
        (0.2157985986, 71.91179, 53.213973),
        (0.2768736737, 73.961305, 56.787311),
        (0.3389666667, 70.35947, 36.750234),
        (0.4010596597, 66.938063, 29.094846),
        (0.4621347347, 63.611306, 30.693111),
        (0.5242277277, 60.301038, 28.42207),
        (0.5853028028, 57.27314, 26.85907),
        (0.6473957958, 54.344452, 25.539739),
        (0.7084708709, 51.616547, 24.122085),
        (0.7705638639, 49.000117, 22.656389),
        (0.8316389389, 46.630929, 20.345875),
        (0.8937319319, 44.475966, 18.5176),
        (0.954807007, 42.477966, 17.906419),
        (1.0169, 40.513872, 17.352738),
    ]
)


def run(times, start=START):
    found = vht.simulate(ClosedLoopHeart(), times, initial=start, method=vht.Tsit5(rtol=1e-8, atol=1e-8))
    assert bool(found.ok.all())
    return {name: np.asarray(value)[0] for name, value in found.values.items()}


def largest(found, expected):
    return np.abs(found - expected).max() / np.ptp(expected)


def test_the_first_beat_agrees_with_short_steps_of_svzerod(verified):
    found = run(np.r_[0.0, FINE[:, 0]])
    for name, i, what in (("P_ao", 1, "aortic pressure"), ("Q_ao", 2, "aortic flow")):
        verified(
            "closed_loop_heart",
            f"{what} at 33 times of the first beat, largest difference, share of the range",
            "svZeroDSolver, closedLoopHeart_singleVessel with 10,000 steps a beat",
            reached=largest(found[name][1:], FINE[:, i]),
            within=0.01,
        )


def test_the_first_beat_agrees_with_the_decomposed_case(verified):
    found = run(np.r_[0.0, DECOMPOSED[:, 0]], START | {"P_pul": 0.0})
    verified(
        "closed_loop_heart",
        "aortic pressure and flow over the first beat of the decomposed case, largest difference, share of the range",
        "svZeroDSolver, closedLoopHeart_singleVessel_decomposed with 1,000 steps a beat",
        reached=max(largest(found[name][1:], DECOMPOSED[:, i]) for name, i in (("P_ao", 1), ("Q_ao", 2))),
        within=0.01,
    )


# ------------------------------------------------------------- svZeroDSolver's scheme and equations, once more

NAMES = (
    *("P_RA", "Q_in", "P_ao", "Q_ao", "V_RA", "Q_RA", "P_RV", "V_RV", "Q_RV", "P_pul"),
    *("P_LA", "V_LA", "Q_LA", "P_LV", "V_LV", "Q_LV", "P_out", "Q_out", "P_c"),
)
AT = {name: i for i, name in enumerate(NAMES)}
# before, flow, behind, inertance, resistance
VALVES = (
    ("P_RA", "Q_RA", "P_RV", "Lra_v", "Rra_v"),
    ("P_RV", "Q_RV", "P_pul", "Lrv_a", "Rrv_a"),
    ("P_LA", "Q_LA", "P_LV", "Lla_v", "Rla_v"),
    ("P_LV", "Q_LV", "P_ao", "Llv_a", "Rlv_ao"),
)
HARMONICS = np.array(
    [
        (0.283748803, 0),
        (0.031830626, -0.374299825),
        (-0.209472400, -0.018127770),
        (0.020520047, 0.073971113),
        (0.008316883, -0.047249597),
        (-0.041677660, 0.003212163),
        (0.000867323, 0.019441411),
        (-0.001675379, -0.005565534),
        (-0.011252277, 0.003401432),
        (-0.000414677, 0.008376795),
        (0.000253749, -0.000071880),
        (-0.002584966, 0.001566861),
        (0.000584752, 0.003143555),
        (0.000028502, -0.000024787),
        (0.000022961, -0.000007476),
        (0.000018735, -0.000001281),
        (0.000015573, 0.000001781),
        (0.000013133, 0.000003494),
        (0.000011199, 0.000004507),
        (0.000009634, 0.000005117),
        (0.000008343, 0.000005481),
        (0.000007265, 0.000005687),
        (0.000006354, 0.000005789),
        (0.000005575, 0.000005821),
        (0.000004903, 0.000005805),
    ]
)


class Svzerod:
    """The case as svZeroDSolver states it, E y' + F y + c = 0, and the generalised-alpha method with which it solves it."""

    def __init__(self, case):
        heart = case["closed_loop_blocks"][0]
        self.p = heart["parameters"] | case["boundary_conditions"][0]["bc_values"]
        self.p |= case["vessels"][0]["zero_d_element_values"]
        self.T = heart["cardiac_cycle_period"]
        self.start = np.zeros(len(NAMES))
        for name, value in case["initial_condition"].items():
            self.start[AT[name.split(":")[0]]] = value

    def matrices(self, t, y):
        p, T = self.p, self.T
        E, F = np.zeros((2, len(NAMES), len(NAMES)))
        c, slope, open_ = np.zeros(len(NAMES)), np.zeros_like(F), np.ones(len(NAMES))
        for before, Q, behind, _, _ in VALVES:
            if y[AT[before]] <= y[AT[behind]] and y[AT[Q]] <= 0.0:
                open_[AT[Q]] = 0.0
        rows = iter(range(len(NAMES)))

        def row(c_=0.0, slope_=None, **terms):
            i = next(rows)
            c[i] = c_
            for name, factor in terms.items():
                if name.startswith("d_"):
                    E[i, AT[name[2:]]] = factor
                else:
                    F[i, AT[name]] = factor
            for name, factor in (slope_ or {}).items():
                slope[i, AT[name]] = factor

        time, Tsa, wave = t % T, T * p["Tsa"], T / p["tpwave"]
        active = 0.0
        if time <= wave:
            active = 0.5 * (1.0 - np.cos(2.0 * np.pi * (time - wave + Tsa) / Tsa))
        elif time >= T - Tsa + wave:
            active = 0.5 * (1.0 - np.cos(2.0 * np.pi * (time - wave - (T - Tsa)) / Tsa))
        angles = 2.0 * np.pi * np.arange(25) * time / T
        e = np.sum(HARMONICS[:, 0] * np.cos(angles) - HARMONICS[:, 1] * np.sin(angles))
        for side in ("ra", "la"):
            V = f"V_{side.upper()}"
            grown = np.exp((y[AT[V]] - p[f"Vaso_{side}"]) * p[f"Kxv_{side}"])
            linear, scale = active * p[f"Emax_{side}"], p[f"Kxp_{side}"] * (active - 1.0)
            row(
                linear * p[f"Vaso_{side}"] + scale * (grown - 1.0),
                {V: scale * p[f"Kxv_{side}"] * grown},
                **{f"P_{side.upper()}": 1.0, V: -linear},
            )
        for side in ("rv", "lv"):
            E_V = e * p[f"E{side}_s"]
            row(E_V * p[f"V{side}_u"], **{f"P_{side.upper()}": 1.0, f"V_{side.upper()}": -E_V})
        for before, Q, behind, L, R in VALVES:
            row(**{f"d_{Q}": p[L], before: -1.0, behind: 1.0, Q: p[R] * open_[AT[Q]]})
        for V, into, out in (("V_RA", "Q_in", "Q_RA"), ("V_RV", "Q_RA", "Q_RV"), ("V_LA", "Q_RV", "Q_LA")):
            row(**{f"d_{V}": 1.0, into: -open_[AT[into]], out: open_[AT[out]]})
        row(d_V_LV=1.0, Q_LA=-open_[AT["Q_LA"]], Q_LV=open_[AT["Q_LV"]])
        row(d_P_pul=p["Cp"], P_pul=1.0 / p["Rpd"], P_LA=-1.0 / p["Rpd"], Q_RV=-open_[AT["Q_RV"]])
        row(d_P_ao=p["Cpa"], Q_ao=1.0, Q_LV=-open_[AT["Q_LV"]])
        row(d_Q_out=-p["L"], P_ao=1.0, Q_ao=-p["R_poiseuille"], P_out=-1.0)
        row(Q_ao=1.0, Q_out=-1.0)
        row(d_P_c=p["C"], Q_out=-1.0, Q_in=1.0)
        row(P_out=1.0, P_c=-1.0, Q_out=-p["Rp"])
        row(P_RA=-1.0, P_c=1.0, Q_in=-p["Rd"])
        return E, F, c, slope, open_

    def run(self, beats, steps, rho=0.5):
        h = self.T / steps
        a_m, a_f = 0.5 * (3.0 - rho) / (1.0 + rho), 1.0 / (1.0 + rho)
        gamma = 0.5 + a_m - a_f
        y, dy = self.start.copy(), np.zeros(len(NAMES))
        kept = [y]
        for i in range(beats * steps):
            new, dnew = y.copy(), dy * (1.0 - 1.0 / gamma)
            for _ in range(30):
                dym, ym = dy + (dnew - dy) * a_m, y + (new - y) * a_f
                E, F, c, slope, open_ = self.matrices((i + a_f) * h, ym)
                residual = -(c + E @ dym + F @ ym)
                if np.abs(residual).max() < 1e-8:
                    break
                change = np.linalg.solve(a_m * E + a_f * gamma * h * (F + slope), residual)
                new[open_ < 0.5] = 0.0
                dnew, new = dnew + change, new + gamma * h * change
            else:
                raise AssertionError("the scheme's iteration did not converge")
            y, dy = new, dnew
            kept.append(y)
        return {name: np.array(kept)[:, i] for name, i in AT.items()}


@pytest.fixture(scope="module")
def case():
    path = DATA / "closedLoopHeart_singleVessel.json"
    if not path.exists():
        pytest.skip("the case is not here")
    return json.loads(path.read_text())


def test_parameters_are_those_of_the_case(case):
    given = case["closed_loop_blocks"][0]["parameters"] | case["boundary_conditions"][0]["bc_values"]
    vessel = case["vessels"][0]["zero_d_element_values"]
    given |= {
        "Rao": vessel["R_poiseuille"],
        "Lao": vessel["L"],
        "T_HB": case["closed_loop_blocks"][0]["cardiac_cycle_period"],
    }
    for name, variable in parameters(ClosedLoopHeart).items():
        assert variable.default == given[name], name


def test_the_result_of_99_steps_a_beat_is_what_its_steps_make_of_the_same_equations(case, verified):
    """The given result is reproduced by the scheme with the same steps, and not by exact solution of the equations."""
    result = json.loads((DATA / "result_closedLoopHeart_singleVessel.json").read_text())
    given = {name: np.array(list(column.values())) for name, column in result.items() if name != "name"}
    scheme = Svzerod(case)
    coarse = {name: values[-100:] for name, values in scheme.run(10, 99).items()}
    same = max(largest(coarse[name], given[column]) for name, column in (("P_ao", "pressure_in"), ("Q_ao", "flow_in")))
    verified(
        "closed_loop_heart",
        "svZeroDSolver's scheme written down again, 99 steps a beat, against its result: largest difference of aortic "
        "pressure and flow, share of the range",
        "svZeroDSolver, closedLoopHeart_singleVessel, tenth beat",
        reached=same,
        within=1e-8,
    )
    fine, found = scheme.run(1, 1000), run(np.linspace(0.0, PERIOD, 1001))
    off = [np.abs(fine[name] - found[name]).max() / np.ptp(found[name]) for name in ("P_ao", "Q_ao", "V_LV", "V_RV")]
    verified(
        "closed_loop_heart",
        "aortic pressure and flow and volumes of the ventricles over the first beat, largest difference, share of the range",
        "that scheme with 1,000 steps a beat",
        reached=max(off),
        within=0.01,
    )
    exact = run(np.r_[0.0, 9 * PERIOD + given["time"]])["P_ao"][1:]
    verified(
        "closed_loop_heart",
        "aortic pressure in the tenth beat, root mean square difference, share of the range: steps of 10 ms are too long",
        "svZeroDSolver, closedLoopHeart_singleVessel with 99 steps a beat",
        reached=np.sqrt(np.mean((exact - given["pressure_in"]) ** 2)) / np.ptp(given["pressure_in"]),
        within=(0.15, 0.2),
    )


# ------------------------------------------------------------------------------------------- the organ itself


def test_blood_is_conserved_and_valves_let_nothing_back():
    found = run(np.linspace(0.0, 5 * PERIOD, 2001))
    assert np.abs(found["V_blood"] / 269.0 - 1.0).max() < 1e-10
    for name in ("Q_TV", "Q_PV", "Q_MV", "Q_AV"):
        assert found[name].min() == 0.0 and found[name].max() > 100.0, name


def test_what_flows_in_is_blood():
    times = np.array([0.0, 2.0, 4.0])
    bled = Schedule(signals={"inflow": Signal(time=[0.0, 2.0, 2.0, 4.0], value=[-10.0, -10.0, 0.0, 0.0])})
    found = vht.simulate(ClosedLoopHeart(), times, schedule=bled)
    volume = np.asarray(found.values["V_blood"])[0]
    np.testing.assert_allclose(volume - volume[0], [0.0, -20.0, -20.0], rtol=1e-9)


def test_the_default_twin_beats_periodically_as_described():
    model = ClosedLoopHeart()
    times = PERIOD * np.arange(501) / 500
    found = vht.simulate(model, times, method=vht.Tsit5(rtol=1e-8, atol=1e-8))
    for name in ("V_RA", "V_RV", "V_LA", "V_LV", "P_pul", "P_ao", "P_c", "Q_ao", "Q_TV", "Q_PV", "Q_MV", "Q_AV"):
        values = np.asarray(found.values[name])[0]
        assert abs(values[-1] - values[0]) < 1e-5 * np.ptp(values), name
        assert np.ptp(values) > 0.0
    pressure, stroke = np.asarray(found.values["P_ao"])[0], np.ptp(np.asarray(found.values["V_LV"])[0])
    flow = stroke / PERIOD * 0.06
    described = str(ClosedLoopHeart.__doc__)
    assert f"{stroke:.0f} mL a beat, {flow:.1f} L/min at {pressure.max():.0f}/{pressure.min():.0f} mmHg" in described
    assert float(np.asarray(found.values["V_blood"])[0, 0]) == pytest.approx(269.0, abs=1e-3)


def test_derivatives_pass_through_the_valves():
    """Against differences of the solution."""
    times = np.linspace(0.0, 2 * PERIOD, 21)
    method = vht.Tsit5(rtol=1e-9, atol=1e-9)
    free = {"Elv_s": 3.125202, "Lla_v": 0.000351787, "Vlv_u": 5.606007}
    names = ["P_ao", "V_LV", "V_RA", "P_pul"]
    columns = {name: np.array([value]) for name, value in free.items()}
    _, slopes = simulate_with_jacobian(
        ClosedLoopHeart(), times, free=list(free), twins=columns, method=method, observe=names
    )
    for i, (name, value) in enumerate(free.items()):
        step = 1e-4 * value
        both = {other: np.array([v, v]) for other, v in free.items()} | {name: np.array([value - step, value + step])}
        found = vht.simulate(ClosedLoopHeart(), times, twins=both, method=method, observe=names)
        for output in names:
            low, high = np.asarray(found.values[output])
            expected = (high - low) / (2.0 * step)
            got = np.asarray(slopes[output])[0, :, i]
            assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max(), (name, output)


def test_a_valve_that_begins_without_flow_opens_or_closes_as_pressures_demand():
    times = np.array([0.0, 1e-4, 5e-3])
    full = run(times, START | {"V_RV": 110.0, "P_pul": 8.0, "P_ao": 50.0, "P_c": 50.0})
    assert full["P_RV"][0] > 8.0 and full["P_LV"][0] < 50.0
    assert full["Q_PV"][2] > full["Q_PV"][1] > 0.0
    assert full["Q_AV"].tolist() == [0.0, 0.0, 0.0]


def test_twins_from_the_priors_end_ok():
    twins = vht.Twins.sample(ClosedLoopHeart, 64, seed=2)
    found = vht.simulate(ClosedLoopHeart(), np.linspace(0.0, 10.0, 41), twins=twins, observe=["V_blood", "P_ao"])
    assert bool(found.ok.all())
    # every valve opens about once a beat, or a few times more where flow swings
    beats = 10.0 / twins.columns["T_HB"]
    for name in ("tricuspid", "pulmonary", "mitral", "aortic"):
        opened = np.asarray(found.events[f"{name}_opens"])
        assert np.all(opened > beats - 2.0) and np.all(opened < 5.0 * beats), name
    volume = np.asarray(found.values["V_blood"])
    assert np.abs(volume / volume[:, :1] - 1.0).max() < 1e-10
    assert np.asarray(found.values["P_ao"]).min() > 0.0
