"""Whole-body pharmacokinetics against the equations written again, a closed form, and the drug that was given."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.model import Scalar, Vars, parameters, quantity, state, states, with_parameters
from vht.organs.pbpk import PBPK16

TISSUES = [
    "adipose",
    "bone",
    "brain",
    "gut",
    "heart",
    "kidney",
    "liver",
    "lung",
    "muscle",
    "skin",
    "spleen",
    "testes",
    "rest",
]
# the reference man and the example drug of Jones and Rowland-Yeo 2013, in the order of TISSUES
FRACTION = [0.213, 0.085629, 0.02, 0.0171, 0.0047, 0.0044, 0.021, 0.0076, 0.4, 0.0371, 0.0026, 0.01, 0.099771]
FLOW = [0.05, 0.05, 0.12, 0.146462, 0.04, 0.19, 0.215385, 1.0, 0.17, 0.05, 0.017231, 0.01076, 0.103855]
PARTITION = [0.191, 0.374, 0.606, 0.578, 0.583, 0.597, 0.570, 0.620, 0.622, 0.600, 0.591, 0.600, 0.600]


@pytest.fixture(scope="module")
def equations():
    """The paper's equations once more as one matrix: rates of [dose, tissues, venous, arterial] are M @ amounts."""

    def build(BW=70.0, CO=108.33, BP=0.98, fu=0.681, CLint=8.0, CLrenal=0.0, Ka=2.18):
        volume = dict(zip(TISSUES, BW * np.array(FRACTION), strict=True)) | {"ven": BW * 0.0514, "art": BW * 0.0257}
        flow = dict(zip(TISSUES, CO / 1000 * 3600 * np.array(FLOW), strict=True))
        K = dict(zip(TISSUES, PARTITION, strict=True))
        names = ["dose", *TISSUES, "ven", "art"]
        at = {name: i for i, name in enumerate(names)}
        M = np.zeros((16, 16))

        def move(source, target, clearance):
            """Of what is in the source's volume, at its concentration."""
            if target is not None:
                M[at[target], at[source]] += clearance
            M[at[source], at[source]] -= clearance

        M[at["dose"], at["dose"]], M[at["gut"], at["dose"]] = -Ka, Ka
        for tissue in TISSUES:
            out = BP / (K[tissue] * volume[tissue])
            if tissue == "lung":
                move("ven", "lung", flow["lung"] / volume["ven"])
                move("lung", "art", flow["lung"] * out)
            else:
                arterial = flow[tissue] - (flow["gut"] + flow["spleen"] if tissue == "liver" else 0.0)
                move("art", tissue, arterial / volume["art"])
                move(tissue, "liver" if tissue in ("gut", "spleen") else "ven", flow[tissue] * out)
        CLmet = CLint * 45.0 * volume["liver"] * 60 / 1000
        move("liver", None, CLmet * fu / volume["liver"])
        move("kidney", None, CLrenal * fu / volume["kidney"])
        return names, M, volume, CLmet, flow

    return build


def test_defaults_are_the_published_ones():
    known = {name: variable.default for name, variable in parameters(PBPK16).items()}
    for tissue, fraction, flow, partition in zip(TISSUES, FRACTION, FLOW, PARTITION, strict=True):
        assert known[f"V_{tissue}"] == fraction and known[f"K_{tissue}"] == partition
        if tissue not in ("lung", "liver"):
            assert known[f"Q_{tissue}"] == flow
    assert known["Q_hepatic_artery"] + known["Q_gut"] + known["Q_spleen"] == pytest.approx(0.215385, rel=1e-12)
    # the shares of flow that return to the veins make up all of it
    assert sum(FLOW) - FLOW[TISSUES.index("lung")] - FLOW[3] - FLOW[10] == pytest.approx(1.0, abs=1e-12)
    assert known["CO"] == pytest.approx(108.33 * 60 / 1000, rel=1e-12)
    assert sum(FRACTION) + 0.0514 + 0.0257 == pytest.approx(1.0, abs=1e-12)
    assert len(states(PBPK16)) == 16


def test_scipy_agrees(equations, verified):
    changes = {"BW": 62.0, "CO": 98.0, "BP": 1.2, "fu": 0.4, "CLint": 30.0, "CLrenal": 4.0, "Ka": 1.1}
    twins = {"BW": 62.0, "CO": 98.0 * 0.06, "BP": 1.2, "fu": 0.4, "CLint": 30.0, "CL_renal": 4.0, "ka": 1.1}
    names, M, volume, _, _ = equations(**changes)
    times = np.linspace(0.0, 24.0, 49)
    dose, bolus = 100.0, 20.0
    start = np.zeros(16)
    start[names.index("dose")], start[names.index("ven")] = dose, bolus
    wanted = solve_ivp(lambda t, y: M @ y, (0, 24), start, method="Radau", t_eval=times, rtol=1e-12, atol=1e-14).y
    given = {"oral": dose, "iv": bolus}
    schedule = vht.Schedule(doses={p: vht.Doses(time=np.zeros(1), amount=np.array([a])) for p, a in given.items()})
    found = vht.simulate(
        PBPK16(),
        times,
        twins={name: [value] for name, value in twins.items()},
        schedule=schedule,
        method=vht.Tsit5(rtol=1e-11, atol=1e-13),
    )
    worst = 0.0
    for name, y in zip(names, wanted, strict=True):
        own = np.asarray(found.values[{"ven": "venous", "art": "arterial"}.get(name, name)])[0]
        worst = max(worst, np.abs(own[1:] - y[1:]).max() / y.max())
    verified(
        "pbpk",
        "amounts in all 16 compartments after an oral dose and a bolus",
        "SciPy Radau on the paper's equations written again",
        reached=worst,
        within=1e-8,
        unit="of each peak",
    )
    plasma = wanted[names.index("ven")] / volume["ven"] / 1.2
    np.testing.assert_allclose(found.values["concentration"][0][1:], plasma[1:], rtol=1e-6)


@pytest.fixture(scope="module")
def infused():
    """10 mg/h for ever, at the model's own cardiac output, at the same one wired, and at less."""
    return vht.steady_state(PBPK16(), inputs={"iv": 10.0, "cardiac_output": np.array([-1.0, 6.4998, 3.0])})


def test_steady_state_in_closed_form(equations, infused, verified):
    """Under infusion the liver takes what is given; tissues that take nothing hold K C / BP."""
    _, _, _, CLmet, flow = equations()
    rate, fu, BP = 10.0, 0.681, 0.98
    liver = rate / (CLmet * fu)
    blood = liver * (BP / 0.570 + CLmet * fu / flow["liver"])
    wanted = {"C_liver": liver, "C_blood": blood, "C_arterial": blood, "C_brain": 0.606 * blood / BP}
    wanted |= {"concentration": blood / BP, "metabolism": rate}
    error = max(abs(float(infused.values[name][0]) / value - 1.0) for name, value in wanted.items())
    verified(
        "pbpk",
        "steady state under infusion",
        "closed form: well-stirred liver between flow-limited tissues",
        reached=error,
        within=1e-9,
    )


class Metered(PBPK16):
    """The model with what has left the body kept, so that its mass is conserved."""

    class State(PBPK16.State):
        gone: Scalar = state(0.0, "mg", "drug metabolised and excreted")

    class Conserved(Vars):
        drug: Scalar = quantity("mg", "drug in the body and gone from it")

    def rates(self, t, x, u):
        y = self.outputs(t, x, u)
        return dataclasses.replace(super().rates(t, x, u), gone=y.metabolism + y.excretion)

    def conserved(self, x):
        body = self.outputs(0.0, x, self.In(iv=0.0, oral=0.0, cardiac_output=-1.0, inhibition=0.0)).amount
        return self.Conserved(drug=body + x.gone)


def test_drug_is_conserved(verified):
    twins = vht.Twins.sample(Metered, 16, seed=5)
    twins.columns["CL_renal"] = np.linspace(0.0, 20.0, 16)
    times = np.linspace(0.0, 72.0, 13)
    dose = vht.Doses(time=np.array([0.0]), amount=np.array([70.0]))
    found = vht.simulate(Metered(), times, twins=twins, schedule=vht.Schedule(doses={"iv": dose, "oral": dose}))
    assert bool(found.ok.all())
    total = np.asarray(found.values["amount"]) + np.asarray(found.values["gone"])
    assert (np.asarray(found.values["gone"])[:, -1] > 20.0).all()
    verified(
        "pbpk",
        "drug in the body and gone from it, over 72 h, 16 twins",
        "the dose given (default tolerances)",
        reached=np.abs(total[:, 1:] / 140.0 - 1.0).max(),
        within=1e-10,
    )


def test_rates_add_up_to_what_enters_and_leaves(rng):
    """Whatever the flows and partition coefficients."""
    names = list(states(PBPK16))
    for _ in range(20):
        known = {name: v.default * rng.uniform(0.7, 1.3) for name, v in parameters(PBPK16).items()}
        model = with_parameters(PBPK16(), known | {"CL_renal": 5.0})
        x = model.State(**dict(zip(names, rng.uniform(0.0, 10.0, 16), strict=True)))
        u = model.In(iv=3.0, oral=2.0, cardiac_output=rng.choice([-1.0, 0.0, 4.0]), inhibition=0.3)
        found, y = model.rates(0.0, x, u), model.outputs(0.0, x, u)
        total = sum(float(getattr(found, name)) for name in names)
        assert total == pytest.approx(3.0 + 2.0 * model.F - float(y.metabolism + y.excretion), abs=1e-10)


def test_inputs_of_other_organs(infused):
    """Less cardiac output, less drug through the liver; metabolism switched off, none."""
    own, same, less = np.asarray(infused.values["concentration"])
    assert own == pytest.approx(same, rel=1e-9) and less > own
    x = PBPK16.State(liver=5.0)
    u = PBPK16.In(iv=0.0, oral=0.0, cardiac_output=-1.0, inhibition=1.0)
    assert float(PBPK16().outputs(0.0, x, u).metabolism) == 0.0


def test_drawn_twins():
    dose = vht.Doses(time=np.array([0.0]), amount=np.array([100.0]))
    found = vht.simulate(
        PBPK16(),
        np.linspace(0.0, 24.0, 9),
        twins=vht.Twins.sample(PBPK16, 64, seed=4),
        schedule=vht.Schedule(doses={"oral": dose}),
    )
    assert bool(found.ok.all())


def test_any_shares_of_flow_are_possible(rng):
    """Across their bounds, tissues keep positive amounts that add up to the dose: no flow is negative."""
    twins = {n: rng.uniform(*v.bounds, 64) for n, v in parameters(PBPK16).items() if n.startswith("Q_")} | {
        "CLint": np.zeros(64)
    }
    dose = vht.Doses(time=np.array([0.0]), amount=np.array([100.0]))
    times = np.array([0.0, 1.0, 240.0])
    found = vht.simulate(PBPK16(), times, twins=twins, schedule=vht.Schedule(doses={"oral": dose}))
    assert bool(found.ok.all())
    np.testing.assert_allclose(found.values["amount"][:, 1:], 100.0, rtol=1e-9)
    assert min(np.asarray(found.values[name]).min() for name in states(PBPK16)) > -1e-6
    # at rest all blood is alike
    np.testing.assert_allclose(found.values["C_arterial"][:, 2], found.values["C_blood"][:, 2], rtol=1e-4)


def test_an_arrested_heart_moves_no_drug():
    rates = PBPK16().rates
    x = PBPK16.State(venous=10.0, liver=5.0)
    for output in (0.0, -0.2):
        found = rates(0.0, x, PBPK16.In(iv=0.0, oral=0.0, cardiac_output=output, inhibition=1.0))
        assert all(float(getattr(found, name)) == 0.0 for name in states(PBPK16))
    own = rates(0.0, x, PBPK16.In(iv=0.0, oral=0.0, cardiac_output=-1.0, inhibition=1.0))
    assert float(own.lung) == pytest.approx(10.0 / (70.0 * 0.0514) * 6.4998 * 60.0, rel=1e-12)
