"""A heart cell under dofetilide: levels against closed forms and the label, action potentials longer as QT is in people."""

from __future__ import annotations

import numpy as np
import pytest

import vht
from vht.bodies.cardiac_safety import CardiacSafety
from vht.bodies.normal import MEASURED, NORMAL, normal
from vht.bodies.treatments import Dofetilide
from vht.model import check_units, inputs, parameters, states, with_parameters
from vht.organs.ohara_rudy import OHaraRudyCiPA
from vht.organs.ohara_rudy.cipa import CONTROL, DURATION, STIMULUS, drugs

BODY = CardiacSafety()
CYCLE = 1000.0
START = {f"cell.{name}": value for name, value in CONTROL.items()}
METHOD = vht.Rodas5P(rtol=1e-4, max_steps=10_000_000)
LABEL = "prescribing information of dofetilide (Tikosyn)"
# each twin's share of the concentration at its highest
SHARES = np.array([0.0, 1.0])
BEATS = 500
OBSERVE = [
    "cell.potential",
    "cell.calcium",
    "cell.Obound",
    "drug.gut",
    "drug.central",
    "drug.concentration",
    "drug.unbound",
]


def level(t, dose):
    """ug/L of one dose (mg) at hour 0, after t hours."""
    k, ka = 14.6 / 210.0, 1.5
    return 1000.0 * 0.96 * dose / 210.0 * ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))


def beats(n):
    return vht.Doses(CYCLE * np.arange(n), np.full(n, STIMULUS * DURATION), np.full(n, DURATION))


def apd90(times, v):
    """From the steepest rise until 90 % of the amplitude are lost."""
    threshold = v[0] + 0.1 * (v.max() - v[0])
    last = int(np.flatnonzero((v[:-1] > threshold) & (v[1:] <= threshold))[-1])
    crossing = times[last] + (v[last] - threshold) / (v[last] - v[last + 1]) * (times[last + 1] - times[last])
    return crossing - times[int(np.argmax(np.diff(v)))]


@pytest.fixture(scope="module")
def taken():
    """0.5 mg twice a day for five days: hours of the last interval, concentration (ug/L), free (nmol/L), amounts (mg)."""
    hours = 96.0 + np.linspace(0.0, 12.0, 241)
    doses = vht.Doses(np.arange(10) * 12.0, np.full(10, 0.5))
    found = vht.simulate(
        Dofetilide(), hours, schedule=vht.Schedule(doses={"oral": doses}), method=vht.Tsit5(rtol=1e-9, atol=1e-12)
    )
    return hours, {name: np.asarray(column)[0] for name, column in found.values.items()}


def live(times, n, columns, *, dose=0.0, **amounts):
    """Twins of the body through `n` beats; one structure, so that one program is compiled for all calls."""
    found = vht.simulate(
        BODY,
        times,
        twins=columns,
        initial=START | {f"drug.{name}": amount for name, amount in amounts.items()},
        schedule=vht.Schedule(doses={"cell.stimulus": beats(n), "drug.oral": vht.Doses([0.0], [dose])}),
        observe=OBSERVE,
        method=METHOD,
    )
    assert bool(found.ok.all())
    return {name: np.asarray(column) for name, column in found.values.items()}


def alike(n):
    """Columns of `n` default twins, of all parameters in which drawn ones differ."""
    return {name: np.full(n, v.default or 0.0) for name, v in parameters(BODY).items() if v.prior is not None}


@pytest.fixture(scope="module")
def beaten(taken):
    """The last of many beats, without drug and where the concentration is highest."""
    _, values = taken
    peak = values["concentration"].argmax()
    times = CYCLE * (BEATS - 1) + np.arange(-5.0, 600.0, 1.0)
    return times, live(times, BEATS, alike(2), **{name: SHARES * values[name][peak] for name in ("gut", "central")})


def test_a_dose_stays_in_mg_and_the_units_fit():
    check_units(BODY)
    assert inputs(BODY)["drug.oral"].unit == "mg/ms"
    for name, value in drugs()["dofetilide"].parameters.items():
        assert parameters(BODY)[f"cell.{name}"].default == value


def test_levels_are_the_closed_form_and_the_label_s(taken, verified):
    hours, values = taken
    expected = sum(level(hours - 12.0 * i, 0.5) for i in range(9))
    np.testing.assert_allclose(1000.0 * values["concentration"], expected, rtol=1e-6)
    np.testing.assert_allclose(values["unbound"], 0.35 * values["concentration"] / 441.6 * 1e6, rtol=1e-12)
    verified(
        "cardiac_safety",
        "time of the highest concentration of dofetilide",
        LABEL,
        reached=hours[values["concentration"].argmax()] - 96.0,
        within=(1.5, 3.0),
        unit="h",
    )
    verified(
        "cardiac_safety",
        "highest free concentration of dofetilide, 0.5 mg twice a day",
        "2 nmol/L, that of the CiPA initiative (Li et al. 2017), within a half",
        reached=values["unbound"].max(),
        within=(1.0, 3.0),
        unit="nmol/L",
    )


def test_a_dose_within_the_body_is_absorbed_and_conserved():
    """0.5 mg while the cell beats: after a second the drug is where its closed form says, and nothing is lost."""
    times = np.array([0.0, 300.0, 1000.0])
    found = live(times, 1, alike(1), dose=0.5, gut=np.zeros(1), central=np.zeros(1))
    gut, central = found["drug.gut"][0, 1:], found["drug.central"][0, 1:]
    hours = times[1:] / 3.6e6
    np.testing.assert_allclose(gut, 0.48 * np.exp(-1.5 * hours), rtol=1e-9)
    np.testing.assert_allclose(central, level(hours, 0.5) * 0.21, rtol=1e-4)
    # what is eliminated is the clearance of what is there, which has risen linearly
    gone = 14.6 / 210.0 * central * hours / 2.0
    np.testing.assert_allclose(gut + central + gone, 0.48, rtol=1e-12)
    assert 0.0 < found["cell.Obound"][0, -1] < 1e-6


def test_action_potentials_are_longer_as_qt_is(beaten, verified):
    times, values = beaten
    without, under = (apd90(times, v) for v in values["cell.potential"])
    concentration = 1000.0 * values["drug.concentration"][1, 0]
    verified(
        "cardiac_safety",
        "action potential lengthened per concentration at its highest, 0.5 mg twice a day, one beat a second",
        "Allen et al. 2000: QTc of healthy people, 9.9 to 14.2 ms L/ug",
        reached=(under - without) / concentration,
        within=(9.9, 14.2),
        unit="ms*L/ug",
    )
    # what binds to hERG changes the upstroke and the resting potential little
    v = values["cell.potential"]
    assert abs(v[1].max() - v[0].max()) < 2.0 and abs(v[1, 0] - v[0, 0]) < 0.2


def test_without_drug_all_is_normal(beaten):
    times, values = beaten
    resting, calcium = values["cell.potential"][0, :1], values["cell.calcium"][0]
    assert normal("cardiac_safety", {"cell.potential": resting})["cell.potential"].all()
    assert set(MEASURED["cardiac_safety"]) == {"cell.potential"}
    for quantity, value in (
        ("action potential duration", apd90(times, values["cell.potential"][0])),
        ("peak of calcium", calcium.max()),
    ):
        assert NORMAL[quantity].low < value < NORMAL[quantity].high
    assert values["drug.unbound"][0].max() == 0.0


def test_another_drug_by_parameters():
    """Verapamil as the docstring says: the cell's rates are those of a cell with verapamil alone."""
    names = {*drugs()["dofetilide"].parameters, *drugs()["verapamil"].parameters}
    cell = parameters(OHaraRudyCiPA)
    values = {name: drugs()["verapamil"].parameters.get(name, cell[name].default or 0.0) for name in names}
    assert names > set(drugs()["verapamil"].parameters)
    other = with_parameters(
        BODY,
        {f"cell.{name}": value for name, value in values.items()}
        | {"drug.CL": 50.0, "drug.V": 350.0, "drug.F": 0.25, "drug.fu": 0.1, "drug.molar_mass": 454.6},
    )
    alone = OHaraRudyCiPA(**drugs()["verapamil"].parameters)
    # mid-plateau, 324 nmol/L
    state = {**CONTROL, "v": 10.0, "cai": 3e-4, "d": 0.9, "O": 0.3, "IC1": 0.69}
    inside = {"drug.gut": 0.0, "drug.central": 324.0 / (0.1 / 350.0 / 454.6 * 1e6)}
    flows = dict.fromkeys(inputs(BODY), 0.0)
    found = other.rates(0.0, other.State(**inside, **{f"cell.{k}": v for k, v in state.items()}), other.In(**flows))
    expected = alone.rates(0.0, alone.State(**state), alone.In(stimulus=0.0, drug=324.0))
    for name in states(OHaraRudyCiPA):
        value = float(getattr(found, f"cell.{name}"))
        assert value == pytest.approx(float(getattr(expected, name)), rel=1e-9, abs=1e-14), name
    assert float(getattr(found, "cell.Obound")) > 0.0


def test_drawn_twins_end_well():
    twins = vht.Twins.sample(BODY, 64, seed=2)
    assert {"drug.CL", "cell.GKr"} < set(twins.columns)
    values = live(np.linspace(0.0, 1990.0, 200), 2, twins, gut=np.zeros(64), central=np.full(64, 0.75))
    v = values["cell.potential"]
    assert (v.max(axis=1) > 10.0).all() and (v[:, -1] < -75.0).all()
    assert values["drug.unbound"].std() > 0.2
