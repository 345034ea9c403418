"""Gas exchange against SciPy on the paper's equations in fractions, closed forms, and normal blood gases."""

from typing import ClassVar

import jax
import numpy as np
import pytest
from albanese_equations import FLOW, MCO2, MO2, VOLUME, spencer
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

import vht
from vht.errors import ModelError
from vht.model import Organ, Scalar, Vars, inputs, parameters, port, state, states
from vht.model.body import Body
from vht.organs.dissociation import contents, pressures
from vht.organs.gas_exchange import GasExchange, GasExchangeByBreath
from vht.organs.lungs import Lungs
from vht.solve import Schedule, Signal

STIFF = vht.Rodas5P(rtol=1e-8, atol=1e-10)
BOOK = "West, Respiratory Physiology, 9th ed., 2012"
TISSUES = "hbmse"
K = 1.2103


def held(**values):
    ends = np.array([0.0, 1e6])
    return Schedule(signals={name: Signal(time=ends, value=np.full(2, value)) for name, value in values.items()})


# ------------------------------------------------------------------------------------------- curves of blood gases


def test_contents_and_pressures_are_each_others_inverse(verified):
    PO2, PCO2 = (a.ravel() for a in np.meshgrid(np.geomspace(0.1, 150.0, 40), np.geomspace(1.0, 120.0, 40)))
    CO2 = jax.vmap(contents)(PO2, PCO2)
    np.testing.assert_allclose(np.array(CO2), np.array(spencer(PO2, PCO2)), rtol=5e-6, atol=1e-9)
    back = np.array(jax.vmap(pressures)(*CO2))
    worst = np.abs(back / np.array([PO2, PCO2]) - 1.0).max()
    verified("gas_exchange", "pressures from contents from pressures, 0.1 to 150 and 1 to 120 mmHg", "what went in",
             reached=worst, within=1e-9)  # fmt: skip
    # and against the search for a root, which knows no closed form
    found = fsolve(lambda p: np.array(spencer(*p)) / [0.15, 0.52] - 1.0, [35.0, 44.0], xtol=1e-13)
    np.testing.assert_allclose(np.array(pressures(0.15, 0.52)), found, rtol=1e-5)


def test_the_curve_of_oxygen_is_that_of_people(verified):
    """Severinghaus 1979: simple, accurate equations for human blood O2 dissociation, at pH 7.4."""
    P = np.linspace(20.0, 110.0, 91)
    measured = 1.0 / (23400.0 / (P**3 + 150.0 * P) + 1.0)
    found = np.asarray(jax.vmap(lambda p: contents(p, 40.0)[0])(P)) / 0.2016
    verified("gas_exchange", "saturation from 20 to 110 mmHg of oxygen, largest difference", "Severinghaus 1979",
             reached=np.abs(found - measured).max(), within=0.03)  # fmt: skip


def test_slopes_are_finite_for_any_content():
    slopes, forward = (jax.jit(jax.vmap(jax.jacfwd(curve, argnums=(0, 1)))) for curve in (pressures, contents))
    O2, CO2 = np.meshgrid([-0.01, 0.0, 1e-300, 0.1, 0.2016, 0.3], [-0.01, 0.0, 1e-9, 0.5, 1.9, 2.5])
    for slope in jax.tree.leaves(slopes(O2.ravel(), CO2.ravel())):
        assert np.isfinite(slope).all()
    O2, CO2 = np.meshgrid([-1.0, 0.0, 40.0, 700.0], [-1.0, 0.0, 40.0, 200.0])
    for slope in jax.tree.leaves(forward(O2.ravel(), CO2.ravel())):
        assert np.isfinite(slope).all()


# ------------------------------------------------------------------------------------------- the equations once more


def fraction_rates(t, y, flow, FIO2, FICO2, Q):
    """Equations A42 to A66 for one gas after the other, with fractions of dry gas, a chain of three compartments for transport.

    `y`: volume of alveoli; then for each gas fractions in dead space and alveoli, contents in three compartments of
    arteries, five tissues and three of veins.
    """
    VD, VA, sh = 151.0, y[0], 0.017
    air = flow(t)
    gases = y[1:].reshape(2, 13)
    capillary = spencer(713.0 * gases[0, 1], 713.0 * gases[1, 1])
    beds = Q * FLOW / FLOW.sum()
    rates = [np.array([air])]
    for (FD, FA, *rest), FI, Cpp, M in zip(gases, (FIO2, FICO2), capillary, (-MO2, MCO2), strict=True):
        art, tissue, ven = np.array(rest[:3]), np.array(rest[3:8]), np.array(rest[8:])
        dFD = air * (FI - FD) / VD if air > 0 else air * (FD - FA) / VD
        dFA = ((air * (FD - FA) if air > 0 else 0.0) - K * Q * (1 - sh) * (Cpp - ven[2])) / VA
        Ca = (1 - sh) * Cpp + sh * ven[2]
        d_art = Q / 520.0 * (np.array([Ca, art[0], art[1]]) - art)
        d_tissue = (beds * (art[2] - tissue) + M / 60.0) / VOLUME
        d_ven = Q / 1000.0 * (np.array([beds @ tissue / Q, ven[0], ven[1]]) - ven)
        rates += [np.array([dFD, dFA]), d_art, d_tissue, d_ven]
    return np.concatenate(rates)


def test_breathing_agrees_with_the_equations_in_fractions(verified):
    """Two minutes of breaths, 5 % carbon dioxide in the air, from the state at rest."""
    knots = np.arange(0.0, 121.0, 1.25)
    values = np.where(np.arange(knots.size) % 4 == 1, 400.0, np.where(np.arange(knots.size) % 4 == 3, -400.0, 0.0))
    air = Signal(time=knots, value=values)
    schedule = Schedule(signals={"air_flow": air} | dict(held(FiCO2=0.05).signals))
    times = np.linspace(0.0, 120.0, 97)
    found = vht.simulate(GasExchangeByBreath(), times, schedule=schedule, method=STIFF)
    first = {name: float(np.asarray(found.values[name])[0, 0]) for name in states(GasExchange)}
    k = 760.0 * 310.15 / 273.15 / 713.0
    start = [first["V_A"]]
    for gas in ("O2", "CO2"):
        start += [first[f"n{gas}_D"] * k / 151.0, first[f"n{gas}_A"] * k / first["V_A"]]
        start += [first[f"{gas}_{where}"] for where in ("a1", "a2", "a3", *TISSUES, "v1", "v2", "v3")]
    y = np.array(start)
    ends = [y]
    for begin in knots[:-1]:
        solved = solve_ivp(
            fraction_rates, (begin, begin + 1.25), y, method="LSODA", rtol=1e-9, atol=1e-12,
            args=(lambda t: np.interp(t, knots, values), 0.210379, 0.05, 5200.0 / 60.0),
        )  # fmt: skip
        y = solved.y[:, -1]
        ends.append(y)
    expected = np.array(ends)
    worst = 0.0
    for i, gas in enumerate(("O2", "CO2")):
        pressure, content = 713.0 * expected[:, 2 + 13 * i], expected[:, 8 + 13 * i]
        worst = max(worst, np.abs(np.asarray(found.values[f"PA{gas}"])[0] / pressure - 1.0).max())
        worst = max(worst, np.abs(np.asarray(found.values[f"{gas}_s"])[0] / expected[:, 9 + 13 * i] - 1.0).max())
        worst = max(worst, np.abs(np.asarray(found.values[f"{gas}_m"])[0] / content - 1.0).max())
    # the paper's K has five digits
    verified("gas_exchange_by_breath", "pressures in alveoli and contents of tissues over two minutes, relative difference",
             "SciPy LSODA on the equations of Albanese et al. 2016 (A42 to A66) in fractions",
             reached=worst, within=1e-4)  # fmt: skip
    assert np.ptp(np.asarray(found.values["PACO2"])[0]) > 5.0


# ------------------------------------------------------------------------------------------- steady states


# four times the metabolism at the cardiac output that belongs to it: 6 L/min for each L/min of oxygen (Astrand et al. 1964)
EXERCISE_FLOW = (5200.0 + 6.0 * MO2.sum() * 3.0) / 60.0


DRAWN = 64


@pytest.fixture(scope="module")
def settled():
    """Twins at first and after thirty hours: six of `ventilated`, then drawn ones at rest; and who is who."""
    twins = vht.Twins.sample(GasExchange, DRAWN, seed=2)
    columns = {name: np.concatenate([np.full(6, parameters(GasExchange)[name].default), values])
               for name, values in twins.columns.items()}  # fmt: skip
    columns["Hb"][4] = 10.0
    given = {"alveolar_ventilation": [3.0, 4.5, 6.0, 8.0, 4.5, 18.0], "metabolism": [1.0] * 5 + [4.0]}
    given["blood_flow"] = [5200.0 / 60.0] * 5 + [EXERCISE_FLOW]
    values = {name: np.concatenate([first, np.full(DRAWN, first[1])]) for name, first in given.items()}
    ends = np.array([0.0, 30.0 * 3600.0])
    schedule = Schedule(
        signals={name: Signal(time=ends, value=np.stack([value, value], axis=1)) for name, value in values.items()}
    )
    found = vht.simulate(
        GasExchange(), ends, twins=columns, schedule=schedule, method=vht.Rodas5P(rtol=1e-7, atol=1e-9)
    )
    assert bool(found.ok.all())
    return {name: np.asarray(values) for name, values in found.values.items()}


@pytest.fixture(scope="module")
def ventilated(settled):
    """After thirty hours at alveolar ventilations of 3 to 8 L/min; of 4.5 with less hemoglobin; in exercise."""
    return np.array([3.0, 4.5, 6.0, 8.0]), {name: values[:6, -1] for name, values in settled.items()}


def test_alveolar_ventilation_equation(ventilated, verified):
    """PACO2 = PICO2 + 863 VCO2 / VA, and what oxygen makes of it."""
    VA, y = ventilated[0], {name: values[:4] for name, values in ventilated[1].items()}
    carbon = 713.0 * 0.000421 + 862.94 * MCO2.sum() / (VA * 1000.0)
    oxygen = 713.0 * 0.210379 - 862.94 * MO2.sum() / (VA * 1000.0)
    worst = max(np.abs(y["PACO2"] / carbon - 1.0).max(), np.abs(y["PAO2"] / oxygen - 1.0).max())
    verified("gas_exchange", "alveolar pressures at steady ventilations of 3 to 8 L/min, largest relative difference",
             "the alveolar ventilation equation, P = PI + 863 V/VA", reached=worst, within=1e-4)  # fmt: skip
    # Fick: what blood takes up is flow times difference of contents, and what tissues consume
    np.testing.assert_allclose(y["VO2"], 5200.0 * (y["CaO2"] - y["CvO2"]), rtol=1e-9)
    np.testing.assert_allclose(y["VO2"], MO2.sum(), rtol=1e-6)
    np.testing.assert_allclose(y["VCO2"], MCO2.sum(), rtol=1e-6)
    np.testing.assert_allclose(y["air_O2"], y["VO2"], rtol=1e-6)


def test_normal_blood_gases(ventilated, verified):
    """At rest, with an alveolar ventilation of 4.5 L/min."""
    y = {name: values[1] for name, values in ventilated[1].items()}
    ranges = "normal adults: Kratz et al. 2004, NEJM 351:1548, laboratory reference values"
    verified("gas_exchange", "arterial oxygen at rest", ranges, reached=y["PaO2"], within=(80.0, 100.0), unit="mmHg")
    verified(
        "gas_exchange", "arterial carbon dioxide at rest", ranges, reached=y["PaCO2"], within=(35.0, 45.0), unit="mmHg"
    )
    assert 0.95 < y["SaO2"] < 0.99
    # West, figure 5-1 and chapter 6: mixed venous 40 and 45 mmHg, 75 %
    assert y["PvO2"] == pytest.approx(40.0, abs=3.0)
    assert y["PvCO2"] == pytest.approx(45.0, abs=2.0)
    assert y["SvO2"] == pytest.approx(0.75, abs=0.03)
    # 1 L of oxygen delivered each minute, a quarter of it taken; five points lost to the shunt
    assert y["DO2"] == pytest.approx(1000.0, rel=0.1)
    assert 3.0 < y["PAO2"] - y["PaO2"] < 10.0


def test_anaemia_lowers_content_and_venous_oxygen_but_not_arterial_pressure(ventilated):
    y = ventilated[1]
    assert y["CaO2"][4] == pytest.approx(10.0 / 15.0 * y["CaO2"][1], rel=0.01)
    assert y["PaO2"][4] == pytest.approx(y["PaO2"][1], abs=4.0)
    assert y["SvO2"][4] < y["SvO2"][1] - 0.1


def test_the_initial_state_is_steady(settled):
    """For every twin, in closed form; after thirty hours nothing has moved."""
    drawn = {name: values[6:] for name, values in settled.items()}
    # a twin drawn with a heart that needs more than its blood brings is not at rest
    supplied = np.min([drawn[f"O2_{i}"][:, 0] for i in TISSUES], axis=0) > 0.06
    assert supplied.sum() > 50
    for name in ("PaO2", "PaCO2", "PvO2", "SvO2", "O2_h", "CO2_m", "VO2"):
        y = drawn[name][supplied]
        np.testing.assert_allclose(y[:, 1], y[:, 0], rtol=1e-4, err_msg=name)


def test_exercise_takes_oxygen_from_venous_blood(ventilated):
    y = {name: values[5] for name, values in ventilated[1].items()}
    assert y["VO2"] == pytest.approx(4.0 * MO2.sum(), rel=1e-4)
    assert y["VCO2"] == pytest.approx(4.0 * MCO2.sum(), rel=1e-4)
    assert 0.35 < y["SvO2"] < 0.6 and 35.0 < y["PaCO2"] < 45.0
    # other tissues keep the flow they had: muscle gets all that is more
    assert y["O2_s"] == pytest.approx(y["CaO2"] - MO2[3] / (5200.0 * FLOW[3] / FLOW.sum()), abs=2e-3)


# ------------------------------------------------------------------------------------------- conservation


class Ledger(Organ):
    """Adds up what comes in and goes out."""

    class State(Vars):
        O2: Scalar = state(0.0, "mL", "breathed in less consumed")
        CO2: Scalar = state(0.0, "mL", "produced less breathed out")

    class In(Vars):
        air_O2: Scalar = port("mL/min", "breathed in")
        air_CO2: Scalar = port("mL/min", "breathed out")
        consumed_O2: Scalar = port("mL/min", "consumed")
        produced_CO2: Scalar = port("mL/min", "produced")

    time: ClassVar[str] = "s"

    def rates(self, t, x, u):
        minute = vht.model.constant(60.0, "s/min")
        return self.State(O2=(u.air_O2 - u.consumed_O2) / minute, CO2=(u.produced_CO2 - u.air_CO2) / minute)


def test_gases_balance_with_breaths_and_metabolism(verified):
    books = ("air_O2", "air_CO2", "consumed_O2", "produced_CO2")
    body = Body(
        {"gas": GasExchangeByBreath(), "lungs": Lungs(), "ledger": Ledger()},
        wires={"gas.air_flow": "lungs.air_flow"} | {f"ledger.{name}": f"gas.{name}" for name in books},
    )
    times = np.linspace(0.0, 60.0, 61)
    schedule = held(**{"gas.metabolism": 3.0, "gas.FiO2": 0.15, "gas.FiCO2": 0.04, "gas.blood_flow": 120.0})
    found = vht.simulate(body, times, schedule=schedule, method=vht.Tsit5(rtol=1e-4, atol=1e-6))
    assert bool(found.ok.all())
    worst = 0.0
    for gas in ("O2", "CO2"):
        store, booked = (np.asarray(found.values[name])[0] for name in (f"gas.store_{gas}", f"ledger.{gas}"))
        assert np.ptp(booked) > 50.0
        worst = max(worst, np.abs((store - booked) / store[0] - 1.0).max())
    verified("gas_exchange_by_breath", "balance of oxygen and carbon dioxide over a minute of exercise, share of the store",
             "stores at first and what entered less what left", reached=worst, within=1e-10)  # fmt: skip


def closed(metabolism, **away):
    """A twin that does not breathe, from the state at rest but for some states."""
    found = vht.simulate(
        GasExchange(),
        np.linspace(0.0, 7200.0, 25),
        initial={"nO2_A": 269.0, "CO2_m": 0.5, "O2_v2": 0.14, "CO2_a1": 0.48, "O2_b": 0.13, "nCO2_D": 0.05} | away,
        schedule=held(alveolar_ventilation=0.0, metabolism=metabolism),
        method=vht.Tsit5(rtol=1e-4, atol=1e-6),
    )
    assert bool(found.ok.all())
    return {name: np.asarray(values)[0] for name, values in found.values.items()}


def test_a_closed_twin_keeps_its_gases():
    """Nothing breathed, nothing consumed: what was not in balance mixes, and none is lost."""
    found = closed(0.0, nO2_A=150.0, CO2_m=0.6, O2_v2=0.05, CO2_a1=0.3, O2_b=0.02, nCO2_D=9.0)
    for gas in ("O2", "CO2"):
        store = found[f"store_{gas}"]
        assert np.abs(store / store[0] - 1.0).max() < 1e-12
        assert np.ptp(found[f"{gas}_m"]) > 1e-4


def test_what_is_not_there_is_not_consumed():
    """Without breath a twin uses up its oxygen, and no content falls below zero."""
    found = closed(1.0)
    assert min(found[name].min() for name in states(GasExchange) if name.startswith("O2_")) > -1e-6
    assert found["consumed_O2"][-1] < 0.5 * MO2.sum()


# ------------------------------------------------------------------------------------------- what may go wrong


def test_an_input_that_would_not_act_is_refused():
    """Air breathed into alveoli that are ventilated steadily, and the other way round."""
    lungs = {"lungs": Lungs()}
    with pytest.raises(ModelError, match=r"no input `gas.air_flow`"):
        Body(lungs | {"gas": GasExchange()}, wires={"gas.air_flow": "lungs.air_flow"})
    with pytest.raises(ModelError, match="no input `alveolar_ventilation`"):
        vht.simulate(GasExchangeByBreath(), np.array([0.0, 1.0]), schedule=held(alveolar_ventilation=4.5))


def test_no_ventilation_and_no_metabolism_below_zero():
    gas = GasExchange()
    x, rest = gas.initial(), {name: variable.default for name, variable in inputs(GasExchange).items()}

    def rates(**values):
        return np.array(jax.tree.leaves(gas.rates(0.0, x, gas.In(**rest | values))))

    for name in ("alveolar_ventilation", "metabolism"):
        np.testing.assert_array_equal(rates(**{name: -2.0}), rates(**{name: 0.0}))


def test_nothing_begins_with_less_than_none():
    """Blood that cannot bring what tissues need: the least hemoglobin inside the bounds."""
    x = GasExchange(Hb=2.0).initial()
    assert min(jax.tree.leaves(x)) >= 0.0 and x.O2_e > 0.0
