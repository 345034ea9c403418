"""The carotid baroreflex, alone and joined to the heart, against Ursino's equations and findings, and against people."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from ursino_equations import EFFECTORS, Reflex, afferent, closed_loop, efferent

import vht
from vht.model import check_units, inputs, outputs, parameters, states
from vht.organs.baroreflex import Baroreflex
from vht.organs.pulsatile_circulation import PulsatileCirculation

MODEL = "baroreflex"
STEERED = ("T", "E_lv", "E_rv", "R_sp", "R_ep", "V_usv", "V_uev")
WIRES = {f"heart.{name}": f"reflex.{name}" for name in STEERED}
# Ursino 1998, tables of the heart and of the vascular system: basal values of what the reflex acts on
BASAL = {"E_lv": 2.95, "E_rv": 1.75, "R_sp": 3.307, "R_ep": 1.407, "V_usv": 1121.0, "V_uev": 1375.0}
FINE = vht.Tsit5(rtol=1e-6, atol=1e-6, max_steps=10_000_000)


def body(closed=True):
    """Heart and reflex; open, the carotid sinus has a pressure from outside."""
    wires = WIRES | ({"reflex.p": "heart.p_cs"} if closed else {})
    return vht.Body({"heart": PulsatileCirculation(), "reflex": Baroreflex()}, wires=wires)


def test_outputs_are_the_inputs_of_the_heart():
    check_units(Baroreflex)
    for name in STEERED:
        assert outputs(Baroreflex)[name].unit == inputs(PulsatileCirculation)[name].unit


# ------------------------------------------------------------------------------------------- the reflex alone


def test_it_agrees_with_the_equations(verified):
    """Pressure as a broken line, whose rate the paper's filter takes as it is; delays as chains."""
    corners = np.array([0.0, 2.0, 2.2, 6.0, 9.0, 15.0])
    pressure = np.array([92.0, 95.0, 130.0, 70.0, 110.0, 60.0])
    times = np.linspace(0.0, 15.0, 301)
    schedule = vht.Schedule(signals={"p": vht.Signal(time=corners, value=pressure)})
    found = vht.simulate(Baroreflex(), times, schedule=schedule, method=vht.Tsit5(rtol=1e-10, atol=1e-10))
    names = list(states(Baroreflex))
    x = np.array([np.asarray(found.values[name])[0] for name in names])
    gains = {f"d{name}": v for name, v in EFFECTORS.items()}

    def rates(t, y, slope):
        filtered, s, v, change = y[0], y[1:9], y[9:11], y[11:18]
        p = np.interp(t, corners, pressure)
        drive, vagal = efferent(afferent(filtered))
        dtheta = [
            (G * (s[3] if delay == 2.0 else s[7]) - now) / tau
            for (G, _, tau, delay), now in zip(gains.values(), change, strict=True)
        ]
        return np.concatenate(
            [
                [(p + 6.37 * slope - filtered) / 2.076],
                np.diff(np.concatenate([[drive], s])) * -np.repeat([4 / 2.0, 4 / 3.0], 4),
                np.diff(np.concatenate([[vagal], v])) * -2 / 0.2,
                dtheta,
                [(0.09 * v[1] - y[18]) / 1.5],
            ]
        )

    y = x[:, 0].copy()
    y[0] += 6.37 / 2.076 * (pressure[0] - y[0])
    rows = [y]
    for (start, a), (end, b) in itertools.pairwise(zip(corners, pressure, strict=True)):
        t = times[(times >= start - 1e-9) & (times <= end + 1e-9)]
        slope = (b - a) / (end - start)
        s = solve_ivp(rates, (start, end), rows[-1], args=(slope,), t_eval=t, rtol=1e-11, atol=1e-11)
        rows += list(s.y.T[1:])
    expected = np.array(rows).T
    ours = x.copy()
    ours[0] += 6.37 / 2.076 * (np.interp(times, corners, pressure) - ours[0])
    order = [0, *range(1, 11), *(names.index(name) for name in gains), names.index("dT_v")]
    error = np.abs(ours[order] - expected).max(axis=1) / np.ptp(expected, axis=1)
    verified(
        MODEL,
        "all states while pressure rises and falls, share of their range",
        "Ursino 1998's equations with the rate of pressure as he writes it, by SciPy",
        reached=error.max(),
        within=1e-6,
    )


def test_chains_stand_for_delays(verified):
    """A step of pressure: effectors with pure delays, as in the paper, and with chains of lags."""
    times = np.arange(0.0, 60.0, 0.01)
    p = np.where(times < 1.0, 92.0, 80.0)
    drive, vagal = efferent(afferent(92.0))
    reflex = Reflex(0.01, 92.0, 92.0, drive, vagal)
    paper = []
    for value in p:
        paper.append(reflex.values())
        reflex.step(value)
    schedule = vht.Schedule(signals={"p": vht.Signal(time=[0.0, 1.0], value=[92.0, 80.0], interpolation="hold")})
    alone = Baroreflex(f_es_rest=float(np.exp(drive)) - 1.0 + 2.66, f_ev_rest=vagal)
    # baroreceptors have followed 92 mmHg
    start = {name: np.array([float(v)]) for name, v in vars(alone.initial()).items()} | {"w": np.array([92.0])}
    found = vht.simulate(alone, times, initial=start, schedule=schedule, method=FINE)
    worst = {}
    for name in ("T", "R_sp", "V_usv"):
        expected = np.array([row[name] for row in paper])
        worst[name] = np.abs(np.asarray(found.values[name])[0] - expected).max() / np.ptp(expected)
        assert np.asarray(found.values[name])[0, -1] == pytest.approx(expected[-1], rel=2e-3)
    verified(
        MODEL,
        "heart period, resistance and unstressed volume after a step of pressure, share of their change",
        "Ursino 1998's equations with pure delays",
        reached=max(worst.values()),
        within=0.15,
    )


def test_no_pressure_is_too_much():
    rng = np.random.default_rng(2)
    n, model = 2000, Baroreflex()
    x = {
        name: jnp.asarray((v.default or 0.0) + rng.normal(size=n) * 10.0 ** rng.uniform(-2, 8, n))
        for name, v in states(Baroreflex).items()
    }
    u = {name: jnp.asarray(rng.normal(size=n) * 10.0 ** rng.uniform(-2, 12, n)) for name in inputs(Baroreflex)}

    def everything(x, u):
        state, given = model.State(**x), model.In(**u)
        return model.rates(0.0, state, given), model.outputs(0.0, state, given)

    values, slopes = jax.jvp(jax.vmap(everything), (x, u), jax.tree.map(jnp.ones_like, (x, u)))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((values, slopes)))
    out = values[1]
    assert bool((out.T >= 0.3).all() and (out.R_sp > 0.0).all() and (out.R_ep > 0.0).all())
    assert bool((out.f_cs >= 2.52 - 1e-9).all() and (out.f_cs <= 47.78 + 1e-9).all())


# ------------------------------------------------------------------------------------------- joined to the heart


def fixed(name, value, gain):
    """One effector without reflex."""
    return {f"reflex.{name}": value} | {f"reflex.{g}": 0.0 for g in gain}


PACED = (50, 70, 90, 110, 130, 150, 170)
BLEEDS = {
    "bleeds": {},
    "bleeds, off": {"reflex.gain": 0.0},
    "bleeds, veins fixed": {
        "reflex.V_usv0": 1120.84,
        "reflex.V_uev0": 1379.96,
        "reflex.G_V_usv": 0.0,
        "reflex.G_V_uev": 0.0,
    },
    "bleeds, resistances fixed": {
        "reflex.R_sp0": 3.3137,
        "reflex.R_ep0": 1.4082,
        "reflex.G_R_sp": 0.0,
        "reflex.G_R_ep": 0.0,
    },
    "bleeds, heart rate fixed": {"reflex.T_0": 0.8457, "reflex.G_T_s": 0.0, "reflex.G_T_v": 0.0},
    "bleeds, elastances fixed": {
        "reflex.E_lv0": 2.955,
        "reflex.E_rv0": 1.7462,
        "reflex.G_E_lv": 0.0,
        "reflex.G_E_rv": 0.0,
    },
}
CASES: dict[str, dict[str, float]] = {"rest": {}, **BLEEDS}
CASES |= {"tilt": {}, "tilt, abdomen": {"heart.P_abdomen": 7.0}, "tilt, off": {"reflex.gain": 0.0}}
CASES |= {f"paced {rate}": {"reflex.T_0": 60.0 / rate, "reflex.G_T_s": 0.0, "reflex.G_T_v": 0.0} for rate in PACED}
BLEEDING = (10.0, 15.0, -530.0 / 5.0)


@pytest.fixture(scope="module")
def cases():
    """Twins side by side for 130 s: at rest, after losing a tenth of their blood, tilted by 60 degrees, paced."""
    model = body()
    known = parameters(model)
    names = sorted({name for case in CASES.values() for name in case})
    columns = {name: np.array([case.get(name, known[name].default) for case in CASES.values()]) for name in names}
    start, end, rate = BLEEDING
    lost = np.array([[rate * (end - start) if case in BLEEDS else 0.0] for case in CASES])
    tilt = np.array([[0.0, 0.0, 60.0, 60.0] if case.startswith("tilt") else [0.0] * 4 for case in CASES])
    schedule = vht.Schedule(
        doses={"heart.infusion": vht.Doses(time=lost * 0.0 + start, amount=lost, duration=lost * 0.0 + end - start)},
        signals={"heart.tilt": vht.Signal(time=np.tile([0.0, 10.0, 13.0, 20.0], (len(CASES), 1)), value=tilt)},
    )
    times = np.linspace(0.0, 130.0, 6501)
    observe = [f"heart.{name}" for name in ("p_sa", "CO", "V_lv", "V_blood", "MAP")] + [
        f"reflex.{name}" for name in (*STEERED, "f_cs")
    ]
    found = vht.simulate(
        model,
        times,
        twins=columns,
        schedule=schedule,
        observe=observe,
        method=vht.Tsit5(rtol=1e-6, atol=1e-6, max_steps=10_000_000),
    )
    assert bool(found.ok.all())
    values = {case: {} for case in CASES}
    for name, v in found.values.items():
        for i, case in enumerate(CASES):
            values[case][name] = np.asarray(v)[i]
    return times, values


def late(cases, case, name):
    """Over the last 20 s."""
    times, values = cases
    return values[case][name][times >= 110.0]


def pressures(cases, case):
    """Systolic, mean and diastolic arterial pressure, late."""
    p = late(cases, case, "heart.p_sa")
    return p.max(), late(cases, case, "heart.MAP").mean(), p.min()


def test_the_loop_rests_where_the_paper_says(cases, verified):
    """The tables of heart and vessels give basal values of what the reflex moves; its own table leads there again."""
    off = {name: abs(late(cases, "rest", f"reflex.{name}").mean() / value - 1.0) for name, value in BASAL.items()}
    verified(
        MODEL,
        "elastances, resistances and unstressed volumes at which the closed loop rests",
        "Ursino 1998, basal values in the tables of the heart and of the vascular system",
        reached=max(off.values()),
        within=0.005,
    )
    verified(
        MODEL,
        "mean baroreceptor frequency at rest",
        "middle of their working range, Ursino 1998: 25 spikes/s",
        reached=late(cases, "rest", "reflex.f_cs").mean(),
        within=(23.0, 27.0),
        unit="1/s",
    )
    times, values = cases
    for name in STEERED:
        # from the first second on
        assert np.ptp(values["rest"][f"reflex.{name}"]) < 0.03 * values["rest"][f"reflex.{name}"][0], name


def test_blood_is_kept(cases):
    times, values = cases
    assert np.abs(values["tilt"]["heart.V_blood"] / 5300.0 - 1.0).max() < 1e-10
    assert values["bleeds"]["heart.V_blood"][-1] == pytest.approx(5300.0 - 530.0, rel=1e-10)


def test_a_haemorrhage_is_borne_by_veins_above_all(cases):
    """Ursino 1998, abstract: of all controls, that of the unstressed volume does most after acute haemorrhage."""
    before = pressures(cases, "rest")[1]
    fall = {case: before - pressures(cases, case)[1] for case in BLEEDS}
    assert 0.0 < fall["bleeds"] < 0.5 * fall["bleeds, off"]
    missing = {case: fall[case] - fall["bleeds"] for case in BLEEDS if "fixed" in case}
    assert min(missing.values()) > 0.0
    assert max(missing, key=lambda case: missing[case]) == "bleeds, veins fixed"
    assert late(cases, "bleeds", "reflex.T").mean() < late(cases, "rest", "reflex.T").mean() - 0.03


def test_without_gain_nothing_is_steered(cases):
    _, values = cases
    for name in STEERED:
        assert np.ptp(values["bleeds, off"][f"reflex.{name}"]) < 1e-9 * abs(values["bleeds, off"][f"reflex.{name}"][0])


def test_chains_and_delays_bear_the_same_haemorrhage(cases, verified):
    """The closed loop with the paper's pure delays, written again; beats, which drift apart, are smoothed out."""
    times, values = cases
    model = PulsatileCirculation()
    x = {name: v.default or 0.0 for name, v in states(PulsatileCirculation).items()}
    out = model.outputs(0.0, model.State(**x), model.In(**{k: v.default or 0.0 for k, v in inputs(model).items()}))
    names = ("p_sa", "p_sp", "p_ev", "p_ra", "p_pa", "p_pp", "p_pv", "p_la")
    p = {name: float(getattr(out, name)) for name in names}
    y = [p["p_sa"], x["Q_sa"], p["p_sp"], p["p_ev"], p["p_ra"], x["V_rv"], p["p_pa"], x["Q_pa"]]
    y += [p["p_pp"], p["p_pv"], p["p_la"], x["V_lv"], 0.0, 5300.0]
    start, end, rate = BLEEDING
    t, pressure, heart_rate = closed_loop(
        y, 60.0, lambda t: rate if start <= t < end else 0.0, 99.44, np.log1p(4.931 - 2.66), 4.665, 2e-3
    )

    # a Gaussian second, of which a beat leaves 1e-11
    def smooth(values, step):
        kernel = np.exp(-0.5 * (np.arange(-5.0, 5.0 + step / 2, step)) ** 2)
        return np.convolve(values, kernel / kernel.sum(), "valid")

    ours = {"p": values["bleeds"]["heart.p_sa"], "HR": 60.0 / values["bleeds"]["reflex.T"]}
    ours = {what: smooth(row[times <= 60.0], times[1]) for what, row in ours.items()}
    at = 5.0 + times[1] * np.arange(len(ours["p"]))
    for what, row, theirs, unit in (("p", "pressure", pressure, "mmHg"), ("HR", "heart rate", heart_rate, "1/min")):
        expected = smooth(theirs, t[1])
        difference = ours[what] - np.interp(at, 5.0 + t[1] * np.arange(len(expected)), expected)
        verified(
            MODEL,
            f"{row} for 45 s after loss of a tenth of the blood, without the beats, root mean square difference",
            "Ursino 1998's equations with pure delays, by Heun's method",
            reached=np.sqrt(np.mean(difference**2)),
            within=0.2,
            unit=unit,
        )


def test_tilt_is_answered_as_in_people(cases, verified):
    """Tilt by 60 degrees: mean response and two standard deviations of its reproduction (Hainsworth 1988)."""
    before, after = pressures(cases, "rest"), pressures(cases, "tilt")
    rate = {case: 60.0 / late(cases, case, "reflex.T").mean() for case in ("rest", "tilt")}
    output = {case: late(cases, case, "heart.CO").mean() for case in ("rest", "tilt", "tilt, abdomen")}
    source = "healthy people, mean and two standard deviations between repetitions (Hainsworth and Al-Shamma 1988)"
    for what, change, (mean, spread), unit in (
        ("heart rate", rate["tilt"] - rate["rest"], (14.7, 7.6), "1/min"),
        ("systolic pressure", after[0] - before[0], (1.0, 15.5), "mmHg"),
        ("diastolic pressure", after[2] - before[2], (13.6, 13.1), "mmHg"),
    ):
        verified(
            MODEL,
            f"change of {what}, tilted head up by 60 degrees",
            source,
            reached=change,
            within=(round(mean - spread, 1), round(mean + spread, 1)),
            unit=unit,
        )
    # in the right direction; people lose 1.4 L/min (see the docstring)
    assert -1.4 < output["tilt"] - output["rest"] < -0.2
    assert pressures(cases, "tilt, off")[1] < after[1] - 5.0


def test_pacing_raises_output_less_and_less(cases):
    """Ursino 1998, abstract: output rises at moderate rates and then fails to, because stroke volume falls."""
    output = np.array([late(cases, f"paced {rate}", "heart.CO").mean() for rate in PACED])
    stroke = np.array([np.ptp(late(cases, f"paced {rate}", "heart.V_lv")) for rate in PACED])
    assert (np.diff(stroke) < 0.0).all()
    rise = np.diff(output) / output[:-1]
    assert (np.diff(rise) < 0.0).all()
    assert rise[0] > 0.15 and rise[-1] < 0.03


def test_an_isolated_carotid_sinus_sets_the_pressure(verified):
    """Open loop: arterial pressure is a falling sigmoid of carotid pressure, less steep if that pulsates (Ursino 1998)."""
    levels = np.array([25.0, 60.0, 80.0, 90.0, 100.0, 120.0, 160.0, 200.0])
    n, end = len(levels), 120.0
    # triangles of 72 a minute, 20 mmHg up and down
    corners = np.arange(0.0, end + 1.0, 30.0 / 72.0)
    swing = np.where(np.arange(len(corners)) % 2 == 0, -20.0, 20.0)
    value = np.concatenate([np.tile(levels[:, None], corners.size), levels[:, None] + swing])
    schedule = vht.Schedule(signals={"reflex.p": vht.Signal(time=np.tile(corners, (2 * n, 1)), value=value)})
    times = np.linspace(100.0, end, 1001)
    found = vht.simulate(body(closed=False), np.concatenate([[0.0], times]), schedule=schedule, observe=["heart.p_sa"])
    assert bool(found.ok.all())
    pressure = np.asarray(found.values["heart.p_sa"])[:, 1:].mean(axis=1)
    still, pulsating = pressure[:n], pressure[n:]
    assert (np.diff(still) < 0.0).all() and (np.diff(pulsating) < 0.0).all()
    # saturation at both ends
    assert abs(still[1] - still[0]) < 0.1 * np.ptp(still) and abs(still[-1] - still[-2]) < 0.1 * np.ptp(still)
    gain = {"still": -np.diff(still) / np.diff(levels), "pulsating": -np.diff(pulsating) / np.diff(levels)}
    verified(
        MODEL,
        "largest gain of the open loop, pulsating carotid pressure over constant",
        "Ursino 1998, abstract: pulsating perfusion lowers the gain",
        reached=gain["pulsating"].max() / gain["still"].max(),
        within=(0.0, 0.9),
    )


def test_drawn_twins_all_end():
    for model in (Baroreflex(), body()):
        found = vht.simulate(model, np.array([0.0, 30.0]), twins=vht.Twins.sample(model, 64, seed=4))
        assert bool(found.ok.all())
