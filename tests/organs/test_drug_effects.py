"""Hill's function where powers fail; effect compartment and indirect responses against closed forms and limits."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import vht
from vht.model import Body, inputs, parameters
from vht.organs import organ
from vht.organs.compartments import Drug1
from vht.organs.drug_effects import EffectCompartment, IndirectResponse, hill
from vht.solve import simulate_with_jacobian

TIGHT = vht.Tsit5(rtol=1e-10, atol=1e-13)


def decaying(C0, k, until, points=4001):
    """A concentration that decays exponentially, as a signal, and when."""
    times = np.linspace(0.0, until, points)
    return vht.Signal(time=times, value=C0 * np.exp(-k * times))


# ----------------------------------------------------------------------------------------------------- Hill


@pytest.mark.parametrize("n", [0.3, 1.0, 2.87, 12.0])
def test_hill_is_the_quotient_of_powers(n):
    c = np.logspace(-4.0, 5.0, 40)
    # in the form that does not overflow
    np.testing.assert_allclose([hill(x, 3.0, n) for x in c], 1.0 / (1.0 + (3.0 / c) ** n), rtol=1e-12)


@pytest.mark.parametrize("n", [0.2, 0.7, 1.0, 2.0, 20.0])
@pytest.mark.parametrize("c", [0.0, -1e-9, 1e-300, 1e-9, 1e300])
def test_hill_is_finite_everywhere(n, c):
    value, slopes = jax.value_and_grad(hill, argnums=(0, 1, 2))(c, 0.5, n)
    assert 0.0 <= float(value) <= 1.0 and np.isfinite(slopes).all()
    if c <= 0.0:
        assert float(value) == 0.0 and float(slopes[2]) == 0.0


def test_hill_in_single_precision():
    c, half = np.float32(0.0), np.float32(0.5)
    for n in (0.2, 1.0, 20.0):
        slopes = jax.grad(hill, argnums=(0, 1, 2))(c, half, np.float32(n))
        assert np.isfinite(slopes).all()


def test_derivatives_of_hill():
    c, half, n, h = 0.8, 0.5, 1.7, 1e-6
    slopes = jax.grad(hill, argnums=(0, 1, 2))(c, half, n)
    for i, slope in enumerate(slopes):
        up, down = [c, half, n], [c, half, n]
        up[i], down[i] = up[i] + h, down[i] - h
        assert float(slope) == pytest.approx((float(hill(*up)) - float(hill(*down))) / (2 * h), rel=1e-7)


def test_no_drug_has_derivatives_by_every_parameter():
    """A twin without drug: powers of 0, and their derivative by the exponent, inside a solve."""
    for model in (EffectCompartment(), IndirectResponse(I_in=0.5)):
        free = list(parameters(model))
        found, slopes = simulate_with_jacobian(model, np.linspace(0.0, 4.0, 3), free=free)
        assert bool(found.ok.all())
        assert all(np.isfinite(np.asarray(value)).all() for value in slopes.values())


# ---------------------------------------------------------------------------------------- effect compartment


def test_effect_site_is_a_convolution(verified):
    C0, k, ke0 = 0.05, 0.8, 2.3
    times = np.linspace(0.0, 8.0, 41)
    found = vht.simulate(
        EffectCompartment(),
        times,
        twins={"ke0": [ke0]},
        schedule=vht.Schedule(signals={"concentration": decaying(C0, k, 8.0)}),
        method=vht.Tsit5(rtol=1e-10, atol=1e-13, max_steps=20_000),
    )
    wanted = C0 * ke0 / (ke0 - k) * (np.exp(-k * times) - np.exp(-ke0 * times))
    # the signal is linear between its 4,001 values
    error = np.abs(np.asarray(found.values["effect_site"])[0] - wanted).max() / wanted.max()
    verified(
        "effect_compartment",
        "concentration at the effect site under an exponential one",
        "convolution in closed form (Sheiner et al. 1979)",
        reached=error,
        within=1e-6,
        unit="of the peak",
    )
    share = wanted**2.87 / (0.0127**2.87 + wanted**2.87)
    np.testing.assert_allclose(found.values["inhibition"][0], share, atol=1e-5)
    np.testing.assert_allclose(found.values["effect"][0], 19.9 - 14.24 * share, atol=2e-4)


def test_effect_in_the_steady_state():
    """Half of the change at EC50, all of it far above: remifentanil's spectral edge of 19.9 and 5.66 Hz."""
    concentration = np.array([0.0, 0.0127, 1e3])
    found = vht.steady_state(EffectCompartment(), inputs={"concentration": concentration})
    np.testing.assert_allclose(found.values["effect"], [19.9, (19.9 + 5.66) / 2, 5.66], rtol=1e-9)
    np.testing.assert_allclose(found.values["inhibition"], [0.0, 0.5, 1.0], atol=1e-9)


# ----------------------------------------------------------------------------------------- indirect response

MODELS = {"I": ("I_in", 0.8), "II": ("I_out", 0.8), "III": ("S_in", 4.0), "IV": ("S_out", 4.0)}


def factors(action, share):
    """Of production and of loss, as tabulated by Dayneka, Garg and Jusko."""
    name, largest = action
    change = (1.0 - largest * share) if name.startswith("I") else (1.0 + largest * share)
    return (change, 1.0) if name.endswith("in") else (1.0, change)


ACTIONS = {name: [largest * (name == other) for other, largest in MODELS.values()] for name, largest in MODELS.values()}
KIN, KOUT, C50 = 9.0, 0.3, 0.1


def test_steady_concentration_in_closed_form(verified):
    """From baseline to the new steady state with the rate of loss that the drug makes."""
    C, times = 0.25, np.linspace(0.0, 24.0, 49)
    schedule = vht.Schedule(signals={"concentration": vht.Signal(time=[0.0, 24.0], value=[C, C])})
    found = vht.simulate(IndirectResponse(), times, twins=ACTIONS, schedule=schedule, method=TIGHT)
    steady = vht.steady_state(IndirectResponse(), inputs={"concentration": C}, twins=ACTIONS)
    error = 0.0
    for i, action in enumerate(MODELS.values()):
        production, loss = factors(action, C / (C50 + C))
        end = KIN * production / (KOUT * loss)
        wanted = end + (KIN / KOUT - end) * np.exp(-KOUT * loss * times)
        error = max(error, np.abs(np.asarray(found.values["response"])[i] / wanted - 1.0).max())
        assert float(steady.values["relative"][i]) == pytest.approx(production / loss, rel=1e-9)
    verified(
        "indirect_response",
        "responses of models I to IV under a steady concentration",
        "closed form of the equations of Dayneka et al. 1993",
        reached=error,
        within=1e-8,
    )


def test_a_bolus_as_scipy_says(verified):
    """100 mg into 90 L, as in the paper's simulations."""
    k, C0, times = 0.3, 100.0 / 90.0, np.linspace(0.0, 40.0, 41)
    found = vht.simulate(
        IndirectResponse(),
        times,
        twins=ACTIONS,
        schedule=vht.Schedule(signals={"concentration": decaying(C0, k, 40.0)}),
        method=vht.Tsit5(rtol=1e-9, atol=1e-9, max_steps=20_000),
    )
    error = 0.0
    for i, (number, action) in enumerate(MODELS.items()):

        def rates(t, y, action=action):
            production, loss = factors(action, C0 * np.exp(-k * t) / (C50 + C0 * np.exp(-k * t)))
            return [KIN * production - KOUT * loss * y[0]]

        wanted = solve_ivp(rates, (0.0, 40.0), [KIN / KOUT], "DOP853", t_eval=times, rtol=1e-11, atol=1e-11).y[0]
        values = np.asarray(found.values["response"])[i]
        error = max(error, np.abs(values / wanted - 1.0).max())
        # the paper: response falls in I and IV, rises in II and III, and returns
        assert (values[1:20] < KIN / KOUT).all() if number in ("I", "IV") else (values[1:20] > KIN / KOUT).all()
        assert abs(values[-1] / (KIN / KOUT) - 1.0) < 0.05
    verified(
        "indirect_response",
        "responses of models I to IV after a bolus of 100 mg",
        "SciPy DOP853 on the equations of Dayneka et al. 1993",
        reached=error,
        within=1e-5,
    )


@pytest.mark.parametrize("number", MODELS)
def test_initial_slope(number):
    """After an overwhelming dose, the production less the loss that are left."""
    name, largest = MODELS[number]
    model = IndirectResponse(**{name: largest})
    production, loss = factors(MODELS[number], 1.0)
    slope = model.rates(0.0, model.initial(), model.In(concentration=1e9)).R
    assert float(slope) == pytest.approx(KIN * (production - loss), rel=1e-6)


# ------------------------------------------------------------------------------------------------- in a body


def test_one_drug_slows_another(verified):
    """An inhibitor, the site where it acts, and the drug whose clearance it inhibits, as SciPy has them."""
    site = EffectCompartment(ke0=1.5, EC50=0.4, hill=1.3)
    body = Body(
        {"inhibitor": Drug1(CL=5.0, V=20.0), "site": site, "victim": Drug1(CL=8.0, V=30.0)},
        wires={"site.concentration": "inhibitor.concentration", "victim.inhibition": "site.inhibition"},
    )

    def rates(t, y):
        inhibitor, at_site, victim = y
        share = max(at_site, 0.0) ** 1.3 / (0.4**1.3 + max(at_site, 0.0) ** 1.3)
        return [-5.0 / 20.0 * inhibitor, 1.5 * (inhibitor / 20.0 - at_site), -(1.0 - share) * 8.0 / 30.0 * victim]

    times = np.linspace(0.0, 24.0, 25)
    wanted = (
        solve_ivp(rates, (0.0, 24.0), [60.0, 0.0, 100.0], "DOP853", t_eval=times, rtol=1e-11, atol=1e-12).y[2] / 30.0
    )
    doses = {
        name: vht.Doses(time=np.array([0.0]), amount=np.array([mg]))
        for name, mg in (("inhibitor.iv", 60.0), ("victim.iv", 100.0))
    }
    found = vht.simulate(body, times, schedule=vht.Schedule(doses=doses), method=TIGHT)
    level = np.asarray(found.values["victim.concentration"])[0, 1:]
    verified(
        "effect_compartment",
        "concentration of a drug whose clearance another inhibits",
        "SciPy DOP853 on the three equations",
        reached=np.abs(level / wanted[1:] - 1.0).max(),
        within=1e-7,
    )
    # far above what is left without an inhibitor
    assert level[-1] > 2.0 * 100.0 / 30.0 * np.exp(-8.0 / 30.0 * 24.0)


def test_a_drug_reaches_the_heart_cell():
    """Ports that fit: what is unbound, in nmol/L."""
    body = Body({"drug": Drug1(), "cell": organ("ohara_rudy")()}, wires={"cell.drug": "drug.unbound"}, time="ms")
    assert "cell.drug" not in inputs(body) and "drug.iv" in inputs(body)


def test_drawn_twins():
    times = np.linspace(0.0, 24.0, 9)
    signal = vht.Schedule(signals={"concentration": decaying(0.5, 0.2, 24.0, 25)})
    for model in (EffectCompartment(), IndirectResponse(S_out=2.0)):
        found = vht.simulate(model, times, twins=vht.Twins.sample(model, 64, seed=2), schedule=signal)
        assert bool(found.ok.all())


def test_a_twin_without_a_half_effect_harms_no_other():
    twins = {"C50": np.array([0.1, 0.0, 0.2]), "I_in": np.ones(3)}
    alone = vht.simulate(IndirectResponse(), np.linspace(0.0, 8.0, 5), twins={"C50": [0.2], "I_in": [1.0]})
    found = vht.simulate(IndirectResponse(), np.linspace(0.0, 8.0, 5), twins=twins)
    assert [str(status) for status in found.ok] == ["True", "False", "True"]
    np.testing.assert_array_equal(found.values["response"][2], alone.values["response"][0])
