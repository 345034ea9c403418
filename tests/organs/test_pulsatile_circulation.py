"""The pulsating circulation against Ursino's equations as he wrote them (pressures as states), normal values, and limits."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from ursino_equations import P, paper_rates

import vht
from vht.model import check_units, inputs, parameters, states
from vht.organs.pulsatile_circulation import PulsatileCirculation

MODEL = "pulsatile_circulation"
TIGHT = vht.Tsit5(rtol=1e-9, atol=1e-9, max_steps=10_000_000)

# corners of a life of four seconds in which every input changes
CORNERS = np.array([0.0, 0.5, 1.5, 2.5, 4.0])
LIFE = {
    "T": [0.846, 0.846, 0.6, 0.7, 1.0],
    "E_lv": [2.95, 2.95, 3.4, 2.2, 2.6],
    "E_rv": [1.75, 1.75, 2.0, 1.3, 1.5],
    "R_sp": [3.307, 3.307, 4.0, 2.5, 3.0],
    "R_ep": [1.407, 1.407, 1.9, 1.0, 1.2],
    "V_usv": [1121.0, 1121.0, 1000.0, 1000.0, 1200.0],
    "V_uev": [1375.0, 1375.0, 1300.0, 1350.0, 1400.0],
    "infusion": [0.0, -40.0, -20.0, 30.0, 30.0],
    "P_it": [-4.0, -4.0, -8.0, 6.0, -4.0],
}


@pytest.fixture(scope="module")
def life():
    """Two twins by vht, and by SciPy in the paper's variables; the second has other parameters."""
    other = {"C_sa": 0.4, "kE_lv": 0.016, "R_pp": 0.12, "L_sa": 4e-4, "V_total": 5400.0, "T_sys0": 0.46}
    columns = {name: np.array([parameters(PulsatileCirculation)[name].default, v]) for name, v in other.items()}
    times = np.linspace(0.0, 4.0, 401)
    signals = {name: vht.Signal(time=CORNERS, value=np.array(v)) for name, v in LIFE.items()}
    found = vht.simulate(
        PulsatileCirculation(), times, twins=columns, schedule=vht.Schedule(signals=signals), method=TIGHT
    )
    assert bool(found.ok.all())

    def u(t):
        now = {name: np.interp(t, CORNERS, v) for name, v in LIFE.items()}
        piece = min(np.searchsorted(CORNERS, t, side="right"), 4)
        slope = (LIFE["V_uev"][piece] - LIFE["V_uev"][piece - 1]) / (CORNERS[piece] - CORNERS[piece - 1])
        names = ("T", "E_lv", "E_rv", "R_sp", "R_ep", "V_usv", "V_uev")
        return (*(now[name] for name in names), slope, now["infusion"], now["P_it"] + 4.0)

    expected = []
    theirs = dict(zip(other, ("Csa", "kElv", "Rpp", "Lsa", "Vt", "Tsys0"), strict=True))
    for i in range(2):
        p = P | {theirs[name]: column[i] for name, column in columns.items()}
        x = {name: float(np.asarray(found.values[name])[i, 0]) for name in states(PulsatileCirculation)}
        y = np.array(
            [
                x["V_sa"] / p["Csa"],
                x["Q_sa"],
                (x["V_p"] - p["Vusp"] - p["Vuep"]) / (p["Csp"] + p["Cep"]),
                (x["V_ev"] - LIFE["V_uev"][0]) / p["Cev"],
                (x["V_ra"] - p["Vura"]) / p["Cra"],
                x["V_rv"],
                x["V_pa"] / p["Cpa"],
                x["Q_pa"],
                (x["V_pp"] - p["Vupp"]) / p["Cpp"],
                (x["V_pv"] - p["Vupv"]) / p["Cpv"],
                (x["V_la"] - p["Vula"]) / p["Cla"],
                x["V_lv"],
                0.0,
                p["Vt"],
            ]
        )
        rows = [y]
        for start, end in itertools.pairwise(CORNERS):
            t = times[(times >= start) & (times <= end)]
            s = solve_ivp(
                lambda t, y, p=p: paper_rates(t, y, u, p)[0],
                (start, end),
                rows[-1],
                method="LSODA",
                t_eval=t,
                rtol=1e-10,
                atol=1e-10,
                max_step=5e-3,
            )
            rows += list(s.y.T[1:])
        Psv = [paper_rates(t, y, u, p)[1] for t, y in zip(times, rows, strict=True)]
        expected.append((np.array(rows).T, np.array(Psv)))
    return found, expected, columns, times


def test_it_agrees_with_the_paper_s_equations(life, verified):
    """Pressures, flows and volumes of both; the splanchnic venous pressure is what the paper's balance of blood leaves."""
    found, expected, _, times = life
    thorax = np.interp(times, CORNERS, LIFE["P_it"]) + 4.0
    ours = ("p_sa", "Q_sa", "p_sp", "p_ev", "p_ra", "V_rv", "p_pa", "Q_pa", "p_pp", "p_pv", "p_la", "V_lv", "xi")
    inside = {"p_ra", "p_pa", "p_pp", "p_pv", "p_la"}
    worst = 0.0
    for i, (y, Psv) in enumerate(expected):
        for name, row in zip((*ours, "V_blood", "p_sv"), (*y, Psv), strict=True):
            values = np.asarray(found.values[name])[i] - (thorax if name in inside else 0.0)
            worst = max(worst, np.abs(values - row).max() / np.ptp(row))
    verified(
        MODEL,
        "all pressures, flows and volumes while every input changes, share of their range",
        "Ursino 1998's equations with pressures as states, by SciPy's LSODA",
        reached=worst,
        within=1e-6,
    )


def test_blood_is_what_was_there_and_what_came_in(life, verified):
    found, _, columns, times = life
    entered = np.concatenate(
        [
            [0.0],
            np.cumsum(np.diff(times) * (lambda q: (q[1:] + q[:-1]) / 2)(np.interp(times, CORNERS, LIFE["infusion"]))),
        ]
    )
    volume = np.asarray(found.values["V_blood"])
    error = np.abs(volume - columns["V_total"][:, None] - entered).max() / 5300.0
    verified(MODEL, "volume of blood", "total at time 0 and integral of the infusion", reached=error, within=1e-10)


@pytest.fixture(scope="module")
def rest():
    """Twins side by side, at their rest: pressures in the thorax, tilt, no inertance."""
    cases = {"rest": {}, "valsalva": {"P_it": 6.0}, "inspired": {"P_it": -8.0}, "tilt": {"tilt": 60.0}}
    cases |= {"no inertance": {"L_sa": 0.0, "L_pa": 0.0}, "little inertance": {"L_sa": 2e-6, "L_pa": 2e-6}}
    known, wanted = parameters(PulsatileCirculation), inputs(PulsatileCirculation)
    columns = {
        name: np.array([case.get(name, known[name].default) for case in cases.values()]) for name in ("L_sa", "L_pa")
    }
    signals = {}
    for name in ("P_it", "tilt"):
        value = np.array([[case.get(name, wanted[name].default)] for case in cases.values()])
        signals[name] = vht.Signal(time=np.zeros_like(value), value=value)
    times = np.concatenate([[0.0], np.linspace(90.0, 100.0, 5001)])
    found = vht.simulate(
        PulsatileCirculation(),
        times,
        twins=columns,
        schedule=vht.Schedule(signals=signals),
        method=vht.Tsit5(rtol=1e-6, atol=1e-6, max_steps=10_000_000),
    )
    assert bool(found.ok.all())
    values = {}
    whole = times >= 100.0 - 11 * 0.846
    for i, case in enumerate(cases):
        values[case] = {name: np.asarray(v)[i][whole] for name, v in found.values.items()}
    return values


def test_rest_is_normal(rest, verified):
    values, normal = rest["rest"], "normal haemodynamic parameters of adults (Edwards Lifesciences)"
    lungs = "healthy people at rest, mean and two standard deviations (Kovacs et al. 2009)"
    for what, unit, reached, within, source in (
        ("mean arterial pressure at rest", "mmHg", values["p_sa"].mean(), (70.0, 105.0), normal),
        ("cardiac output at rest", "L/min", values["Q_av"].mean() * 0.06, (4.0, 8.0), normal),
        ("mean right atrial pressure at rest", "mmHg", values["p_ra"].mean(), (2.0, 6.0), normal),
        ("stroke volume at rest", "mL", np.ptp(values["V_lv"]), (60.0, 100.0), normal),
        ("mean pulmonary arterial pressure at rest", "mmHg", values["p_pa"].mean(), (7.4, 20.6), lungs),
    ):
        verified(MODEL, what, source, reached=reached, within=within, unit=unit)


def test_the_default_is_at_rest():
    times = np.linspace(0.0, 5.0 * 0.846, 6)
    found = vht.simulate(PulsatileCirculation(), times, method=TIGHT)
    for name in states(PulsatileCirculation):
        values = np.asarray(found.values[name])[0]
        assert name == "xi" or np.ptp(values) < 2e-4 * max(1.0, abs(values[0])), name


def test_no_compartment_begins_with_less_than_no_blood():
    """Within the bounds of the blood volume."""
    for total in parameters(PulsatileCirculation)["V_total"].bounds or ():
        start = vars(PulsatileCirculation(V_total=total).initial())
        assert all(v >= 0.0 for name, v in start.items() if name.startswith("V_")), total


def test_inertance_can_be_switched_off(rest):
    """Zero is the limit of little, and means hardly change."""
    without, little, paper = (rest[case] for case in ("no inertance", "little inertance", "rest"))
    for name in ("p_sa", "p_pa", "V_lv", "V_rv", "p_ra"):
        assert np.abs(without[name] - little[name]).max() < 0.01 * np.ptp(paper[name]), name
    assert abs(without["p_sa"].mean() - paper["p_sa"].mean()) < 0.5
    assert np.abs(without["p_sa"] - paper["p_sa"]).max() > 1.0


def test_pressure_in_the_thorax_keeps_blood_out_of_it(rest):
    """What raises the pressure around the heart lowers venous return and output (Guyton); inspiration raises them."""
    output = {case: rest[case]["Q_av"].mean() for case in ("inspired", "rest", "valsalva")}
    assert output["inspired"] > output["rest"] > output["valsalva"]
    assert output["valsalva"] < 0.8 * output["rest"]
    # the heart is emptier, yet its pressure against the atmosphere is higher
    assert rest["valsalva"]["V_rv"].max() < rest["rest"]["V_rv"].max()
    assert rest["valsalva"]["p_ra"].mean() > rest["rest"]["p_ra"].mean() + 1.0


def test_tilt_pools_blood_and_lowers_the_carotid(rest):
    """Heldt et al. 2002: volume of leg veins at a hydrostatic pressure; column of 20 cm of blood (1,060 kg/m3)."""
    tilted, lying = rest["tilt"], rest["rest"]
    sine = np.sin(np.pi / 3.0)
    pooled = 2.0 * 1000.0 / np.pi * np.arctan(np.pi * 19.0 / (2.0 * 1000.0) * 40.0 * sine)
    p_ev = (tilted["V_ev"] - 1375.0 - pooled) / 50.0
    np.testing.assert_allclose(p_ev, tilted["p_ev"], atol=0.01)
    column = 1060.0 * 9.80665 * 0.2 * sine / 133.322
    np.testing.assert_allclose(tilted["p_sa"] - tilted["p_cs"], column, rtol=2e-4)
    np.testing.assert_allclose(lying["p_sa"], lying["p_cs"], rtol=1e-12)
    # without a reflex
    assert tilted["p_sa"].mean() < lying["p_sa"].mean() - 8.0
    assert tilted["Q_av"].mean() < 0.9 * lying["Q_av"].mean()


def test_running_means_are_means(rest):
    values = rest["rest"]
    assert values["MAP"].mean() == pytest.approx(values["p_sa"].mean(), abs=0.1)
    assert values["CVP"].mean() == pytest.approx(values["p_ra"].mean(), abs=0.01)
    assert values["CO"].mean() == pytest.approx(0.06 * values["Q_av"].mean(), rel=2e-3)
    assert values["HR"][0] == pytest.approx(60.0 / 0.846, rel=1e-12)


def test_hostile_inputs_stay_finite():
    """Rates, outputs and their derivatives are finite, and the heart goes on beating, at any finite input."""
    rng = np.random.default_rng(5)
    model, n = PulsatileCirculation(), 2000
    x0 = {name: v.default for name, v in states(PulsatileCirculation).items()}
    u0 = {name: v.default for name, v in inputs(PulsatileCirculation).items()}
    x = {name: jnp.asarray((v or 0.0) + rng.normal(size=n) * 10.0 ** rng.uniform(-2, 6, n)) for name, v in x0.items()}
    u = {name: jnp.asarray((v or 0.0) + rng.normal(size=n) * 10.0 ** rng.uniform(-2, 6, n)) for name, v in u0.items()}
    u["T"] = u["T"].at[:4].set(jnp.array([0.0, -1.0, 1e-300, 1e300]))
    u["R_sp"] = u["R_sp"].at[:2].set(jnp.array([0.0, -1.0]))

    def everything(x, u):
        state, given = model.State(**x), model.In(**u)
        return model.rates(0.0, state, given), model.outputs(0.0, state, given)

    # derivatives in a direction that moves every state and input
    values, slopes = jax.jvp(jax.vmap(everything), (x, u), jax.tree.map(jnp.ones_like, (x, u)))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((values, slopes)))
    assert bool((values[0].xi >= 0.0).all()) and bool((values[0].xi <= 1.0 / 0.3 + 1e-12).all())


def test_drawn_twins_all_end():
    check_units(PulsatileCirculation)
    twins = vht.Twins.sample(PulsatileCirculation, 64, seed=1)
    found = vht.simulate(PulsatileCirculation(), np.array([0.0, 30.0]), twins=twins)
    assert bool(found.ok.all())
