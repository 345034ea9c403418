"""Autoregulation, CO2 reactivity and intracranial pressure against SciPy, a simpler model, measurements, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.model import inputs, parameters, states
from vht.organs.brain import UrsinoBrain
from vht.solve import Doses, Schedule, Signal

PRECISE = vht.Tsit5(rtol=1e-9, atol=1e-10, max_steps=200_000)
NAMES = list(states(UrsinoBrain))
# the two segments of pial arteries in Ursino and Lodi 1998
LARGE = {"r0": 0.015, "h0": 0.003, "e": 0.1425, "K": 10.0, "c": 62.79, "T0": 2.16, "rm": 0.027, "rt": 0.018, "n": 1.83}
SMALL = {"r0": 0.0075, "h0": 0.0025, "e": 11.19, "K": 4.5, "c": 41.32, "T0": 1.5, "rm": 0.0128, "rt": 0.0174, "n": 1.75}
LARGE |= {"eta": 232.0, "KV": 4640.0, "KG": 1.43e6}
SMALL |= {"eta": 47.8, "KV": 1.543e5, "KG": 1.02e8}


def wall(s, r, x, Pic):
    """Thickness, and what pressure times radius balances without viscosity: segment, radius, regulation, outer pressure."""
    h = -r + np.sqrt(r**2 + 2 * s["r0"] * s["h0"] + s["h0"] ** 2)
    M = (-1.0 + 1.0 * np.exp(x / 0.5)) / (1.0 + np.exp(x / 0.5))
    Te = (s["e"] * (np.exp(s["K"] * (r - s["r0"]) / s["r0"]) - 1.0) - s["c"]) * h
    Tm = s["T0"] * (1.0 + M) * np.exp(-(abs((r - s["rm"]) / (s["rt"] - s["rm"])) ** s["n"]))
    return h, Te + Tm + Pic * (r + h)


def ursino(t, y, Pa, Pcv, PaCO2, injected, b_CO2=0.65):
    """The equations once more: P1, P2, Pc and the viscous stresses are one linear system, solved numerically."""
    Pic, Pv, Pvs, r1, r2, xa1, xa2, xc1, xc2 = y
    G1, G2 = LARGE["KG"] * r1**4, SMALL["KG"] * r2**4
    G12 = 1.0 / (1.0 / G1 + 1.0 / G2)
    h1, held1 = wall(LARGE, r1, xa1 + xc1, Pic)
    h2, held2 = wall(SMALL, r2, xa2 + xc2, Pic)
    Gf, Gpv = 0.00042, 1.136

    def solved(Gf):
        # unknown: P1, P2, Pc, s1, s2 (viscous stress)
        A, b = np.zeros((5, 5)), np.zeros(5)
        A[0], b[0] = [r1, 0, 0, -h1, 0], held1
        A[1], b[1] = [0, r2, 0, 0, -h2], held2
        A[2], b[2] = [0, 2 * G2, -2 * G2 - Gpv - Gf, 0, 0], -Gpv * Pv - Gf * Pic
        # 2 (inflow - outflow) = 2 K_V r r0 s / eta
        A[3], b[3] = [G1 + G12, -G12, 0, LARGE["KV"] * r1 * LARGE["r0"] / LARGE["eta"], 0], G1 * Pa
        A[4], b[4] = [-G12, G12 + G2, -G2, 0, SMALL["KV"] * r2 * SMALL["r0"] / SMALL["eta"]], 0.0
        return np.linalg.solve(A, b)

    P1, P2, Pc, s1, s2 = solved(Gf)
    if Pc < Pic:
        P1, P2, Pc, s1, s2 = solved(0.0)
    q = 2 * G2 * (P2 - Pc)
    qf, qo = max(Gf * (Pc - Pic), 0.0), max(0.0019 * (Pic - Pvs), 0.0)
    leaving = 2.77 * (Pv - (Pic if Pic > Pvs else Pvs))
    dVv = Gpv * (Pc - Pv) - leaving
    dr1, dr2 = LARGE["r0"] * s1 / LARGE["eta"], SMALL["r0"] * s2 / SMALL["eta"]
    dVa = 2 * LARGE["KV"] * r1 * dr1 + 2 * SMALL["KV"] * r2 * dr2
    dPic = 0.11 * Pic * (dVa + dVv + qf - qo + injected)
    A_CO2 = 1.0 / (1.0 + np.exp(-20.0 * (q - 12.5) / 12.5 - b_CO2))
    return np.array([
        dPic,
        dPic + 0.31 * (Pv - Pic + 2.5) * dVv,
        (leaving + qo - 6.251 * (Pvs - Pcv)) / 2.34,
        dr1,
        dr2,
        (-xa1 + 0.02 * (Pa - Pv - 100.0 + 13.937)) / 10.0,
        (-xa2 + 5.2 * (q - 12.5) / 12.5) / 20.0,
        (-xc1 - 1.3 * A_CO2 * np.log10(PaCO2 / 40.0)) / 20.0,
        (-xc2 - 15.5 * A_CO2 * np.log10(PaCO2 / 40.0)) / 20.0,
    ])  # fmt: skip


def test_rates_agree_with_the_equations(rng):
    model = UrsinoBrain()
    start = np.array([states(UrsinoBrain)[name].default for name in NAMES])
    for i in range(40):
        y = start * rng.uniform(0.8, 1.25, 9) + np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]) * rng.normal(size=9) * 0.5
        Pa, Pcv, PaCO2, injected = rng.uniform(40, 180), rng.uniform(-2, 25), rng.uniform(15, 80), rng.normal() * 0.1
        if i % 4 == 0:
            # hardly perfused: capillaries below the pressure of the skull, and a sinus above it
            y[0], Pa = rng.uniform(60, 80), rng.uniform(20, 50)
            y[2] = rng.uniform(50, 90)
        found = model.rates(
            0.0, model.State(**dict(zip(NAMES, map(float, y), strict=True))), model.In(Pa, Pcv, PaCO2, injected)
        )
        expected = ursino(0.0, y, Pa, Pcv, PaCO2, injected)
        np.testing.assert_allclose([float(getattr(found, n)) for n in NAMES], expected, rtol=1e-8, atol=1e-11)


def test_blood_and_fluid_are_conserved(rng):
    """What enters the skull and the sinus and does not leave is held by the skull's elastance and the sinus's compliance."""
    model = UrsinoBrain()
    start = np.array([states(UrsinoBrain)[name].default for name in NAMES])
    spread = np.where(np.isin(NAMES, ["r_1", "r_2"]), 0.03, 0.2)
    for _ in range(20):
        y = start * (1.0 + spread * rng.uniform(-1.0, 1.0, 9))
        x = model.State(**dict(zip(NAMES, map(float, y), strict=True)))
        u = model.In(float(rng.uniform(40, 180)), float(rng.uniform(-2, 15)), 40.0, float(rng.normal()))
        rates, out = model.rates(0.0, x, u), model.outputs(0.0, x, u)
        held = float(rates.P_ic) / (model.k_E * float(x.P_ic)) + model.C_ve * float(rates.P_vs)
        entered = float(out.inflow + u.injection - out.outflow)
        assert abs(held - entered) < 1e-10 * (float(out.inflow) + abs(float(out.outflow)) + abs(float(u.injection)))


@pytest.fixture(scope="module")
def challenges():
    """A step of arterial pressure, of carbon dioxide and of central venous pressure, and an injection: vht and SciPy."""
    times = np.linspace(0.0, 300.0, 151)
    rest = {"P_a": 100.0, "P_cv": 4.0, "PaCO2": 40.0}
    changed = [{"P_a": 65.0}, {"PaCO2": 55.0}, {"P_cv": 16.0}, {}]
    assert {name: inputs(UrsinoBrain)[name].default for name in rest} == rest
    step = np.array([0.0, 50.0, 50.0])
    signals = {
        name: Signal(
            time=np.tile(step, (4, 1)), value=np.array([[v, v, c.get(name, v)] for c in changed]),
        )
        for name, v in rest.items()
    }  # fmt: skip
    injected = np.array([0.0, 0.0, 0.0, 5.0])
    doses = {"injection": Doses(time=np.full((4, 1), 50.0), amount=injected[:, None], duration=np.full((4, 1), 10.0))}
    found = vht.simulate(
        UrsinoBrain(),
        times,
        twins={"k_E": np.full(4, 0.11)},
        schedule=Schedule(signals=signals, doses=doses),
        method=PRECISE,
    )
    expected = []
    for change, amount in zip(changed, injected, strict=True):
        u = {**rest, **change}
        after = (u["P_a"], u["P_cv"], u["PaCO2"])
        pieces = [(0, 50, (100.0, 4.0, 40.0, 0.0)), (50, 60, (*after, amount / 10.0)), (60, 300, (*after, 0.0))]
        y, solved = np.array([states(UrsinoBrain)[name].default for name in NAMES]), []
        for begin, end, args in pieces:
            s = solve_ivp(
                ursino, (begin, end), y, args=args, method="LSODA", t_eval=np.arange(begin, end + 1, 2.0), rtol=1e-9,
                atol=1e-11,
            )  # fmt: skip
            solved.append(s.y[:, :-1])
            y = s.y[:, -1]
        expected.append(np.concatenate([*solved, y[:, None]], axis=1))
    return found, np.array(expected), times


def test_challenges_agree_with_scipy(challenges, verified):
    found, expected, _ = challenges
    assert bool(found.ok.all())
    errors = [
        np.abs(np.asarray(found.values[n]) - expected[:, i]).max() / np.ptp(expected[:, i]) for i, n in enumerate(NAMES)
    ]
    verified(
        "brain",
        "300 s of hypotension, hypercapnia, venous congestion and injection",
        "SciPy on the equations of Ursino and Lodi 1998, over the range of each state",
        reached=max(errors),
        within=1e-6,
    )


@pytest.fixture(scope="module")
def curves():
    """Where twins settle: over arterial pressure, over carbon dioxide (with two values of `b_CO2`), and infused."""
    pressure = np.array([50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0])
    CO2 = np.array([20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 70.0])
    P_a = np.concatenate([pressure, np.full(18, 100.0), np.full(2, 50.0), [100.0]])
    PaCO2 = np.concatenate([np.full(11, 40.0), CO2, CO2, [20.0, 60.0], [40.0]])
    b_CO2 = np.concatenate([np.full(11, 0.65), np.full(9, 0.65), np.full(9, 6.5), np.full(3, 0.65)])
    injection = np.concatenate([np.zeros(31), [1.5 / 60.0]])
    # followed in time, as there are other steady states (of a brain without flow) that a search may end in
    signals = {
        name: Signal(time=np.zeros((32, 1)), value=value[:, None]) for name, value in (("P_a", P_a), ("PaCO2", PaCO2))
    }
    settled = 10_000.0
    doses = {
        "injection": Doses(
            time=np.zeros((32, 1)), amount=injection[:, None] * 2.0 * settled, duration=np.full((32, 1), 2.0 * settled)
        )
    }
    found = vht.simulate(
        UrsinoBrain(),
        np.array([settled]),
        twins={"b_CO2": b_CO2},
        schedule=Schedule(signals=signals, doses=doses),
        method=PRECISE,
    )
    assert bool(found.ok.all())
    values = {name: np.asarray(value)[:, 0] for name, value in found.values.items()}
    return pressure, CO2, values


def test_rest(curves, verified):
    _, _, values = curves
    for name in NAMES:
        assert values[name][5] == pytest.approx(states(UrsinoBrain)[name].default, rel=1e-8, abs=1e-10), name
    for what, value, basal, within, unit in (
        ("flow at rest", values["CBF"][5], 12.5, 0.1, "mL/s"),
        ("intracranial pressure at rest", values["ICP"][5], 9.5, 0.1, "mmHg"),
    ):
        verified(
            "brain",
            what,
            "basal values of Ursino and Lodi 1997, 1998",
            reached=abs(value - basal),
            within=within,
            unit=unit,
        )
    # a third of the flow through a radius of 0.15 cm
    assert values["V_MCA"][5] == pytest.approx(12.5 / 3.0 / (np.pi * 0.15**2), rel=0.01)


def simpler(Pa):
    """Steady flow and intracranial pressure of Ursino and Lodi 1997 (two states; its table 1), followed in time."""

    def flow(Ca, Pic):
        Ra = 4.91e4 * 0.15**2 / (Ca * (Pa - Pic)) ** 2
        Pc = (Pa * 1.24 + Pic * Ra) / (1.24 + Ra)
        return (Pa - Pc) / Ra, Pc

    def rates(t, y):
        Pic, Ca = y
        q, Pc = flow(Ca, Pic)
        x = (q - 12.5) / 12.5
        delta = 0.75 if x < 0 else 0.075
        e = np.exp(1.5 * x / (delta / 4.0))
        sigma = ((0.15 + delta / 2) + (0.15 - delta / 2) * e) / (1 + e)
        dCa = (sigma - Ca) / 20.0
        dV = dCa * (Pa - Pic) + (Pc - Pic) / 2380.0 - (Pic - 6.0) / 526.3
        return [0.11 * Pic / (1 + Ca * 0.11 * Pic) * dV, dCa]

    Pic, Ca = solve_ivp(rates, (0.0, 6000.0), [9.5, 0.15], method="LSODA", rtol=1e-8, atol=1e-10).y[:, -1]
    return flow(Ca, Pic)[0], Pic


def test_static_autoregulation(curves, verified):
    pressure, _, values = curves
    flow = values["CBF"][:11] / values["CBF"][5]
    assert (np.diff(flow) > 0.0).all()
    plateau = flow[pressure >= 60.0]
    verified(
        "brain",
        "largest change of flow, arterial pressure 60 to 150 mmHg",
        "plateau of autoregulation (Lassen 1959)",
        reached=np.abs(plateau - 1.0).max(),
        within=0.2,
    )
    other = np.array([simpler(Pa)[0] for Pa in pressure])
    inner = (pressure >= 60.0) & (pressure <= 120.0)
    verified(
        "brain",
        "static autoregulation, 60 to 120 mmHg, share of flow at rest",
        "the authors' simpler model (Ursino and Lodi 1997)",
        reached=np.abs(flow - other / other[5])[inner].max(),
        within=0.04,
    )


def reivich(CO2):
    """Flow over that at 40 mmHg, as measured in rhesus monkeys by Reivich (Am J Physiol 206, 1964, 25-35)."""

    def flow(c):
        return 20.9 + 92.8 / (1.0 + 10570.0 * np.exp(-5.251 * np.log10(c)))

    return flow(CO2) / flow(40.0)


def test_reactivity_to_carbon_dioxide(curves, verified):
    _, CO2, values = curves
    rest = values["CBF"][5]
    transcribed, wider = values["CBF"][11:20] / rest, values["CBF"][20:29] / rest
    off = np.abs(transcribed - reivich(CO2))
    verified(
        "brain",
        "flow at carbon dioxide of 45 to 70 mmHg, share of flow at rest",
        "Reivich 1964, curve through measurements in monkeys",
        reached=off[CO2 > 40.0].max(),
        within=0.08,
    )
    verified(
        "brain",
        "flow at carbon dioxide of 25 to 35 mmHg, share of flow at rest",
        "Reivich 1964 (too weak a response: see `b_CO2`)",
        reached=off[(CO2 < 40.0) & (CO2 > 20.0)].max(),
        within=0.25,
    )
    verified(
        "brain",
        "flow at carbon dioxide of 25 to 35 mmHg with b_CO2 = 6.5, share of flow at rest",
        "Reivich 1964",
        reached=np.abs(wider - reivich(CO2))[(CO2 < 40.0) & (CO2 > 20.0)].max(),
        within=0.05,
    )
    # velocity and intracranial pressure go with flow
    assert (np.diff(values["V_MCA"][11:20]) > 0.0).all() and (np.diff(values["ICP"][11:20]) > 0.0).all()
    # hypotension of 50 mmHg abolishes reactivity (Harper and Glass 1965, in dogs)
    low, normal = np.ptp(values["CBF"][29:31]), values["CBF"][18] - values["CBF"][11]
    assert low < 0.1 * normal


def test_infusion_raises_the_pressure_by_the_resistance_to_outflow(curves, verified):
    """Davson's equation: P_ic = P_vs + (formation + infusion) / G_o, at 1.5 mL/min as in a clinical infusion test."""
    _, _, values = curves
    expected = values["P_vs"][31] + (values["formation"][31] + 0.025) / 0.0019
    verified(
        "brain",
        "intracranial pressure under an infusion of 1.5 mL/min",
        "closed form (Davson's equation)",
        reached=abs(values["ICP"][31] - expected),
        within=1e-6,
        unit="mmHg",
    )
    # 0.025 mL/s against 526 mmHg s/mL are 13 mmHg, less what the higher pressure takes from formation
    assert 11.0 < values["ICP"][31] - values["ICP"][5] < 13.2


def test_velocity_follows_its_law_and_stays_sensible_where_perfusion_ceases():
    model = UrsinoBrain()
    start = np.array([states(UrsinoBrain)[name].default for name in NAMES])
    rest = model.State(**dict(zip(NAMES, map(float, start), strict=True)))
    for P_a in (20.0, 60.0, 160.0):
        out = model.outputs(0.0, rest, model.In(P_a, 4.0, 40.0, 0.0))
        r = 0.15 * (1.0 + np.log((P_a - float(rest.P_ic)) / (100.0 - 9.427)) / 5.0)
        assert float(out.V_MCA) == pytest.approx(float(out.CBF) / 3.0 / (np.pi * r**2), rel=1e-12)
    # an arrest of the heart: blood trickles back at 1 mL/s
    stopped = Signal(time=np.array([0.0, 2.0]), value=np.array([100.0, 0.0]))
    found = vht.simulate(UrsinoBrain(), np.linspace(0.0, 120.0, 61), schedule=Schedule(signals={"P_a": stopped}))
    assert bool(found.ok.all())
    assert (np.abs(np.asarray(found.values["V_MCA"])) < 75.0).all()


def test_rapid_injection_shows_the_pressure_volume_index(verified):
    """PVI = dV / log10(P peak / P0): ln 10 / k_E = 20.9 mL, and more by the blood that is pressed out of the skull."""
    doses = {"injection": Doses(time=np.array([1.0]), amount=np.array([4.0]), duration=np.array([1.0]))}
    found = vht.simulate(UrsinoBrain(), np.linspace(0.0, 4.0, 401), schedule=Schedule(doses=doses), method=PRECISE)
    pressure = np.asarray(found.values["ICP"])[0]
    index = 4.0 / np.log10(pressure.max() / pressure[0])
    assert index > np.log(10.0) / 0.11
    verified(
        "brain",
        "pressure-volume index by a rapid injection of 4 mL",
        "normal adults, 25.9 with standard deviation 3.7 mL (Shapiro, Marmarou and Shulman 1980), two deviations",
        reached=index,
        within=(18.5, 33.3),
        unit="mL",
    )


def test_drawn_twins_end_ok():
    twins = vht.Twins.sample(UrsinoBrain, 64, seed=1)
    found = vht.simulate(UrsinoBrain(), np.linspace(0.0, 900.0, 4), twins=twins, observe=["CBF", "ICP"])
    assert bool(found.ok.all())
    flow, pressure = np.asarray(found.values["CBF"])[:, -1], np.asarray(found.values["ICP"])[:, -1]
    assert ((flow > 9.0) & (flow < 16.0)).all()
    assert ((pressure > 7.0) & (pressure < 16.0)).all()


def test_parameters_of_both_segments_are_those_of_the_equations():
    known = parameters(UrsinoBrain)
    for j, segment in ((1, LARGE), (2, SMALL)):
        names = {
            "r0": f"r_0{j}", "h0": f"h_0{j}", "e": f"sigma_e0{j}", "K": f"K_sigma{j}", "c": f"sigma_coll{j}",
            "T0": f"T_0{j}", "rm": f"r_m{j}", "rt": f"r_t{j}", "n": f"n_m{j}", "eta": f"eta_{j}", "KV": f"K_V{j}",
            "KG": f"K_G{j}",
        }  # fmt: skip
        assert {key: known[name].default for key, name in names.items()} == segment
