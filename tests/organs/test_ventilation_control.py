"""Control of breathing against SciPy, against the same loop with pure delays, and against published responses."""

import itertools

import jax
import numpy as np
import pytest
from albanese_equations import FLOW, MCO2, MO2, VOLUME, spencer
from scipy.integrate import solve_ivp

import vht
from vht.model.body import Body
from vht.organs.gas_exchange import GasExchange
from vht.organs.lungs import Lungs
from vht.organs.ventilation_control import VentilationControl
from vht.solve import Schedule, Signal

STIFF = vht.Rodas5P(rtol=1e-7, atol=1e-9)
BLOOD = {"control.PaO2": "gas.PaO2", "control.PaCO2": "gas.PaCO2"}
# breaths averaged, for hours
AVERAGED = Body(
    {"gas": GasExchange(), "control": VentilationControl()},
    wires=BLOOD | {"gas.alveolar_ventilation": "control.alveolar_ventilation"},
)
# breath by breath
BREATHING = Body(
    {"gas": GasExchange.breathing(), "control": VentilationControl(), "lungs": Lungs()},
    wires=BLOOD
    | {
        "lungs.breathing_rate": "control.breathing_rate",
        "lungs.amplitude": "control.amplitude",
        "gas.air_flow": "lungs.air_flow",
    },
)
BOOK = "West, Respiratory Physiology, 9th ed., 2012"


def spencer_back(C_O2, C_CO2):
    """Partial pressures, mmHg: the quadratic equation the two curves reduce to."""
    d1 = 14.99 * (C_O2 / (0.2016 - C_O2)) ** 0.3836
    d2 = 194.4 * (C_CO2 / (86.11 * 22.4e-3 - C_CO2)) ** 1.819
    a, c = 0.03255 + 0.05591 * 0.008275 * d2, d1 * (1 + 0.03198 * d2)
    b = 1 + 0.008275 * d2 - 0.03255 * d1 - 0.03198 * 0.05591 * d1 * d2
    PO2 = (-b + np.sqrt(b * b + 4 * a * c)) / (2 * a)
    return PO2, d2 * (1 + 0.05591 * PO2) / (1 + 0.03255 * PO2)


def firing(C_O2, C_CO2, slope):
    """Ursino and Magosso 2002: what the peripheral chemoreceptors tend to; `slope` is the lagged rate of change, 1/s."""
    X = 600.0 * (1.0 - C_O2 / 0.2016) + 10.18
    phi = max(C_CO2 - 0.36, 0.0) * 200.0 * (1.0 - np.exp(-X / 200.0))
    return 20.0 * (1.0 - np.exp(-phi / 20.0)) + 45.0 * (1.0 - np.exp(-slope / 45.0))


def effectors(y, u_c, u_p):
    """A79 to A84: rates of the four changes, of amplitude (central, peripheral) and of breathing rate."""
    drive = np.array([0.85 * u_c, 1.31 * u_p, 0.9 * u_c, 0.8735 * u_p])
    return (drive - y) / np.array([105.0, 83.0, 400.0, 147.78])


def ventilation(y):
    """Minute ventilation and alveolar ventilation, L/min."""
    rate, amplitude = 12.0 + y[2] + y[3], 5.0 + y[0] + y[1]
    VT = 0.1083 * amplitude
    return rate * VT, rate * (0.928 * VT - 0.151 * np.tanh(0.928 * VT / 0.302))


def test_agrees_with_scipy(verified):
    """Carbon dioxide rises and oxygen falls within a minute."""
    knots, CO2, O2 = np.array([0.0, 60.0, 90.0, 600.0]), np.array([40.0, 40.0, 46.0, 46.0]), [97.0, 97.0, 55.0, 55.0]

    def rates(t, y):
        PaCO2, PaO2 = np.interp(t, knots, CO2), np.interp(t, knots, O2)
        C_O2, C_CO2 = spencer(PaO2, PaCO2)
        c, z, f, p, d = y[:3], y[3], y[4], y[5:8], y[8:]
        lagged = 600.0 * (C_CO2 - z) / 3.5
        return np.concatenate(
            [
                3.0 / 8.0 * (np.array([PaCO2, c[0], c[1]]) - c),
                [(C_CO2 - z) / 3.5, (firing(C_O2, C_CO2, lagged) - f) / 3.5],
                3.0 / 7.0 * (np.array([max(f, 0.0), p[0], p[1]]) - p),
                effectors(d, c[2] - 40.0, p[2] - 2.9),
            ]
        )

    C_O2, C_CO2 = spencer(97.0, 40.0)
    f = firing(C_O2, C_CO2, 0.0)
    y = np.concatenate([np.full(3, 40.0), [C_CO2, f], np.full(3, f), [0.0, 1.31 * (f - 2.9), 0.0, 0.8735 * (f - 2.9)]])
    times, expected = np.linspace(0.0, 600.0, 61), [y]
    for begin, end in itertools.pairwise(times):
        y = solve_ivp(rates, (begin, end), y, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
        expected.append(y)
    schedule = Schedule(
        signals={"PaCO2": Signal(time=knots, value=CO2), "PaO2": Signal(time=knots, value=np.array(O2))}
    )
    found = vht.simulate(VentilationControl(), times, schedule=schedule, method=vht.Tsit5(rtol=1e-9, atol=1e-11))
    d = np.array(expected)[:, 8:].T
    worst = np.abs(np.asarray(found.values["breathing_rate"])[0] / (12.0 + d[2] + d[3]) - 1.0).max()
    worst = max(worst, np.abs(np.asarray(found.values["amplitude"])[0] / (5.0 + d[0] + d[1]) - 1.0).max())
    verified("ventilation_control", "rate and amplitude after a step of both gases, largest relative difference",
             "SciPy LSODA on the equations written again", reached=worst, within=1e-5)  # fmt: skip
    assert d[3].max() > 3.0 and d[0].max() > 3.0


def test_stays_within_limits_for_any_gases():
    control = VentilationControl()
    rates = jax.jit(lambda x, u: (control.rates(0.0, x, u), control.outputs(0.0, x, u)))
    for PaO2, PaCO2, change in [(0.0, 0.0, -300.0), (700.0, 5.0, -50.0), (20.0, 200.0, 500.0)]:
        x = control.initial()
        x = type(x)(**{name: getattr(x, name) + change for name in vars(x)})
        dx, y = rates(x, control.In(PaO2=PaO2, PaCO2=PaCO2))
        assert np.isfinite(np.array(jax.tree.leaves((dx, y)))).all()
        assert 4.0 <= float(y.breathing_rate) <= 60.0 and 0.0 <= float(y.amplitude) <= 45.0
        assert 0.0 <= float(y.alveolar_ventilation) <= float(y.minute_ventilation)


# ------------------------------------------------------------------------------------------- the closed loop

CASES = ["rest", "CO2 3 %", "CO2 5 %", "CO2 6 %", "O2 10 %", "exercise", "O2 10 % and CO2"]
STEP, END = 1800.0, 3600.0


def stepped(first, then):
    time = np.array([0.0, STEP, STEP + 0.01, 1e6])
    return Signal(time=time, value=np.stack([[a, a, b, b] for a, b in zip(first, then, strict=True)]))


@pytest.fixture(scope="module")
def loop():
    """Half an hour at rest, then another of what each twin breathes or does; by case and output."""
    n = len(CASES)
    exercise = 6.0 * MO2.sum() * 3.0 / 60.0
    signals = {
        "gas.FiCO2": stepped([4.21e-4] * n, [4.21e-4, 0.03, 0.05, 0.06, 4.21e-4, 4.21e-4, 0.0345]),
        "gas.FiO2": stepped([0.210379] * n, [0.210379] * 4 + [0.10, 0.210379, 0.10]),
        "gas.metabolism": stepped([1.0] * n, [1.0] * 5 + [4.0, 1.0]),
        "gas.blood_flow": stepped([5200.0 / 60.0] * n, [5200.0 / 60.0] * 5 + [5200.0 / 60.0 + exercise, 5200.0 / 60.0]),
    }
    times = np.linspace(0.0, END, 361)
    found = vht.simulate(AVERAGED, times, schedule=Schedule(signals=signals), method=STIFF)
    assert bool(found.ok.all())
    values = {name: np.asarray(v) for name, v in found.values.items()}
    return times, {case: {name: v[i] for name, v in values.items()} for i, case in enumerate(CASES)}


def test_rest(loop, verified):
    y = {name: v[-1] for name, v in loop[1]["rest"].items()}
    normal = f"normal adults: {BOOK}"
    verified("ventilation_control", "arterial carbon dioxide of the closed loop at rest", normal,
             reached=y["gas.PaCO2"], within=(37.0, 43.0), unit="mmHg")  # fmt: skip
    verified("ventilation_control", "minute ventilation of the closed loop at rest", normal,
             reached=y["control.minute_ventilation"], within=(5.0, 8.0), unit="L/min")  # fmt: skip
    assert 12.0 <= y["control.breathing_rate"] <= 15.0 and 0.45 < y["control.tidal_volume"] < 0.6
    assert 80.0 < y["gas.PaO2"] < 100.0 and 0.95 < y["gas.SaO2"] < 0.99


@pytest.mark.parametrize(("case", "mean", "sd"), [("CO2 3 %", 14.9, 0.8), ("CO2 6 %", 26.5, 4.3)])
def test_hypercapnia(loop, verified, case, mean, sd):
    """Rise over rest within twice the standard deviation among people; they breathe 8.8 (1.1) L/min at rest."""
    VE = loop[1][case]["control.minute_ventilation"]
    before = VE[loop[0] <= STEP][-1]
    spread = 2.0 * np.hypot(sd, 1.1)
    verified("ventilation_control", f"rise of minute ventilation while breathing {case}",
             "Int. J. Sports Exerc. Med. 1:014 (2015), Table 4: mean of 8 people, twice the standard deviation",
             reached=VE[-1] - before, within=(round(mean - 8.8 - spread, 2), round(mean - 8.8 + spread, 2)), unit="L/min",
             )  # fmt: skip
    # alveolar and arterial carbon dioxide rise too, and most of the change comes within some minutes
    assert loop[1][case]["gas.PaCO2"][-1] > 41.5
    assert VE[loop[0] <= STEP + 600.0][-1] - before > 0.6 * (VE[-1] - before)


def test_hypoxia(loop):
    """Breathing 10 % oxygen: more air, less carbon dioxide; with carbon dioxide kept where it was, much more."""
    alone, kept = loop[1]["O2 10 %"], loop[1]["O2 10 % and CO2"]
    at = np.searchsorted(loop[0], STEP + 600.0)
    before = alone["control.minute_ventilation"][np.searchsorted(loop[0], STEP)]
    assert alone["gas.PaCO2"][at] < 37.0 and 25.0 < alone["gas.PaO2"][at] < 50.0
    assert before + 0.8 < alone["control.minute_ventilation"][at] < before + 6.0
    assert kept["gas.PaCO2"][at] == pytest.approx(40.0, abs=2.5)
    rise = kept["control.minute_ventilation"][at] - before
    assert rise > 4.0 * (alone["control.minute_ventilation"][at] - before)


def test_isocapnic_hypoxia_is_linear_in_saturation(verified):
    """Ventilation falls linearly as saturation rises, at constant carbon dioxide (Rebuck and Woodley 1975)."""
    control, rest = VentilationControl(), VentilationControl().initial()
    S, VE = [], []
    for PaO2 in np.linspace(40.0, 90.0, 26):
        C_O2, C_CO2 = spencer(PaO2, 40.0)
        u = control.In(PaO2=PaO2, PaCO2=40.0)
        f = firing(C_O2, C_CO2, 0.0)
        x = type(rest)(**vars(rest) | {"A_p": 1.31 * (f - 2.9), "RR_p": 0.8735 * (f - 2.9), "z": C_CO2})
        S.append(100.0 * C_O2 / 0.2016)
        VE.append(float(control.outputs(0.0, x, u).minute_ventilation))
    correlation = np.corrcoef(S, VE)[0, 1]
    verified("ventilation_control", "steady ventilation against saturation at constant carbon dioxide: 1 + correlation",
             "Rebuck and Woodley 1975: a linear relation", reached=1.0 + correlation, within=0.02)  # fmt: skip
    assert 0.2 < -np.polyfit(S, VE, 1)[0] < 2.0


def test_exercise(loop, verified):
    """Four metabolic equivalents: three times the air and more, by the carbon dioxide muscle makes."""
    y = {name: v[-1] for name, v in loop[1]["exercise"].items()}
    verified("ventilation_control", "ventilation for each litre of carbon dioxide at four metabolic equivalents",
             "Sun et al. 2002, AJRCCM 166:1443: healthy people in exercise below the threshold",
             reached=1000.0 * y["control.minute_ventilation"] / y["gas.VCO2"], within=(21.0, 34.0))  # fmt: skip
    assert y["control.minute_ventilation"] > 2.5 * loop[1]["rest"]["control.minute_ventilation"][-1]
    assert y["gas.PaCO2"] < 46.0 and y["gas.SaO2"] > 0.94


def test_lags_do_what_pure_delays_do(loop, verified):
    """The paper's loop with its pure delays (18, 10, 8 and 7 s), 5 % carbon dioxide from half an hour on."""
    h, Q, sh = 0.1, 5200.0 / 60.0, 0.017
    beds, k = Q * FLOW / FLOW.sum(), 760.0 * 310.15 / 273.15
    n, lead = int(END / h), int(STEP / h)
    to_tissue, to_lung, central, peripheral = (round(d / h) for d in (18.0, 10.0, 8.0, 7.0))
    # the state: pressures in alveoli; contents of tissues and of veins, oxygen first; z, f; changes of amplitude and rate
    y = {name: v[0] for name, v in loop[1]["rest"].items()}
    tissue = np.array([[y[f"gas.{gas}_{i}"] for i in "hbmse"] for gas in ("O2", "CO2")])
    start = np.concatenate([[y["gas.PAO2"], y["gas.PACO2"]], tissue.ravel(), [y["gas.CvO2"], y["gas.CvCO2"]]])
    d = [y[f"control.{name}"] for name in ("A_c", "A_p", "RR_c", "RR_p")]
    s = np.concatenate([start, [y["gas.CaCO2"], y["control.f"]], d])
    arterial, mixed = np.empty((n + 2, 2)), np.empty((n + 2, 2))
    seen, fired, VE = np.empty(n + 2), np.empty(n + 2), np.empty(n + 1)

    def rates(i, s):
        PA, C, ven = s[:2], s[2:12].reshape(2, 5), s[12:14]
        capillary = np.array(spencer(*PA))
        arterial[i] = (1 - sh) * capillary + sh * ven
        mixed[i] = C @ beds / Q
        seen[i], fired[i] = spencer_back(*arterial[i])[1], max(s[15], 0.0)
        VA = ventilation(s[16:])[1] * 1000.0 / 60.0
        inspired = 713.0 * np.array([0.210379, 0.05 if i > lead else 4.21e-4])
        uptake = Q * (1 - sh) * (capillary - ven)
        dC = (beds * (arterial[max(i - to_tissue, 0)][:, None] - C) + np.stack([-MO2, MCO2]) / 60.0) / VOLUME
        C_O2, C_CO2 = arterial[i]
        lagged = 600.0 * (C_CO2 - s[14]) / 3.5
        return np.concatenate(
            [
                (VA * (inspired - PA) - k * uptake) / 2263.0,
                dC.ravel(),
                Q / (3000.0 - 10.0 * Q) * (mixed[max(i - to_lung, 0)] - ven),
                [(C_CO2 - s[14]) / 3.5, (firing(C_O2, C_CO2, lagged) - s[15]) / 3.5],
                effectors(s[16:], seen[max(i - central, 0)] - 40.0, fired[max(i - peripheral, 0)] - 2.9),
            ]
        )

    for i in range(n + 1):
        VE[i] = ventilation(s[16:])[0]
        if i < n:
            first = rates(i, s)
            s = s + 0.5 * h * (first + rates(i + 1, s + h * first))
    found = loop[1]["CO2 5 %"]["control.minute_ventilation"]
    expected = VE[:: int(10.0 / h)]
    rise = expected[-1] - expected[lead * h <= 10.0 * np.arange(expected.size)][0]
    verified(
        "ventilation_control",
        "minute ventilation after a step to 5 % carbon dioxide, largest difference as a share of its rise",
        "the equations of Albanese et al. 2016 with pure delays, by Heun's method",
        reached=np.abs(found - expected).max() / rise,
        within=0.05,
    )
    assert rise > 8.0


def test_breath_by_breath_and_averaged_agree(loop):
    """Three minutes with muscles, lungs and single breaths, all wired to each other."""
    times = np.linspace(0.0, 180.0, 1801)
    found = vht.simulate(BREATHING, times, method=vht.Tsit5(rtol=1e-5, atol=1e-7, max_steps=10**6))
    assert bool(found.ok.all())
    last = times > 120.0
    y = {name: np.asarray(v)[0, last] for name, v in found.values.items()}
    averaged = {name: np.interp(150.0, loop[0], v) for name, v in loop[1]["rest"].items()}
    assert y["gas.PaCO2"].mean() == pytest.approx(averaged["gas.PaCO2"], abs=0.5)
    assert y["gas.PaO2"].mean() == pytest.approx(averaged["gas.PaO2"], abs=1.5)
    assert y["control.minute_ventilation"].mean() == pytest.approx(averaged["control.minute_ventilation"], rel=0.03)
    # with each breath gases swing by a few mmHg, and the pleura is pulled on
    assert 2.0 < np.ptp(y["gas.PACO2"]) < 6.0
    assert -6.5 < y["lungs.P_pl"].min() < y["lungs.P_pl"].max() < -3.5
    # tidal volume and dead space that the averaged loop reckons with are those of the lungs
    assert np.ptp(y["lungs.V_lung"]) == pytest.approx(y["control.tidal_volume"].mean(), rel=0.01)
    # a capnogram: fresh air at the end of inspiration, nearly alveolar at the end of expiration
    assert y["gas.PDCO2"].min() < 3.0 and y["gas.PDCO2"].max() > 0.85 * y["gas.PACO2"].max()


def test_drawn_twins_control_their_breathing():
    twins = vht.Twins.sample(AVERAGED, 64, seed=4)
    found = vht.simulate(AVERAGED, np.array([0.0, 7200.0]), twins=twins, method=vht.Rodas5P(rtol=1e-6, atol=1e-8))
    assert bool(found.ok.all())
    PaCO2, VE = (np.asarray(found.values[name])[:, -1] for name in ("gas.PaCO2", "control.minute_ventilation"))
    assert PaCO2.min() > 32.0 and PaCO2.max() < 50.0 and VE.min() > 3.0 and VE.max() < 16.0
