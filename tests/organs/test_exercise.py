"""Dynamic exercise against its closed form, and in a body against what people do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vht
from vht.bodies.cardio_respiratory import CardioRespiratory
from vht.model import check_units, inputs
from vht.organs.exercise import DynamicExercise
from vht.organs.pulsatile_circulation import PulsatileCirculation

MODEL = "exercise"


def test_a_step_of_work(verified):
    """Consumption is an exponential; conductances of reflexes and muscles add up; central command is in proportion."""
    times = np.linspace(0.0, 120.0, 61)
    work, held = np.array([1.0, 2.0, 4.0, 0.5]), np.array([1.407, 1.407, 1.1, 2.0])
    signals = {name: vht.Signal(np.zeros((4, 1)), v[:, None]) for name, v in (("work", work), ("R_ep", held))}
    columns = {"tau": np.array([30.0, 30.0, 20.0, 30.0]), "g_muscle": np.array([0.3, 0.3, 0.5, 0.3])}
    columns |= {"k_sympathetic": np.array([1.2, 2.0, 1.2, 1.2]), "k_vagal": np.array([0.6, 0.6, 0.4, 0.6])}
    found = vht.simulate(
        DynamicExercise(),
        times,
        twins=columns,
        schedule=vht.Schedule(signals=signals),
        method=vht.Tsit5(rtol=1e-10, atol=1e-12),
    )
    m = work[:, None] + (1.0 - work[:, None]) * np.exp(-times / columns["tau"][:, None])
    above = np.maximum(m - 1.0, 0.0)
    of = {name: v[:, None] for name, v in columns.items()}
    expected = {
        "metabolism": m,
        "R_ep": 1.0 / (1.0 / held[:, None] + of["g_muscle"] * above),
        "sympathetic": of["k_sympathetic"] * above,
        "vagal": -of["k_vagal"] * above,
    }
    error = max(np.abs(np.asarray(found.values[name]) - v).max() for name, v in expected.items())
    what = "consumption, resistance and nerves after steps of work"
    verified(MODEL, what, "closed form", reached=error, within=1e-7)
    # at rest, and below it, nothing is asked of the circulation
    for twin in (0, 3):
        np.testing.assert_allclose(np.asarray(found.values["R_ep"])[twin], held[twin], rtol=1e-12)
        assert np.abs(np.asarray(found.values["sympathetic"])[twin]).max() == 0.0


def test_ports_fit_the_circulation():
    check_units(DynamicExercise)
    assert inputs(DynamicExercise)["R_ep"].default == inputs(PulsatileCirculation)["R_ep"].default


def test_hostile_inputs():
    """At any finite input outputs and their derivatives are finite, and the resistance positive, not above what is held."""
    rng = np.random.default_rng(3)
    model, n = DynamicExercise(g_muscle=1.5), 2000
    m, work, held = (jnp.asarray(rng.normal(size=n) * 10.0 ** rng.uniform(-2, 6, n)) for _ in range(3))
    held = held.at[:3].set(jnp.array([0.0, -1.0, 1e-300]))

    def everything(m, work, held):
        x, u = model.State(m=m), model.In(work=work, R_ep=held)
        return model.rates(0.0, x, u), model.outputs(0.0, x, u)

    ones = jnp.ones(n)
    values, slopes = jax.jvp(jax.vmap(everything), (m, work, held), (ones, ones, ones))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((values, slopes)))
    out = values[1]
    assert bool((out.R_ep > 0.0).all()) and bool((out.R_ep <= jnp.maximum(held, 0.01)).all())
    assert bool((out.sympathetic >= 0.0).all()) and bool((out.vagal <= 0.0).all())


def test_drawn_twins_all_end():
    twins = vht.Twins.sample(DynamicExercise, 64, seed=1)
    found = vht.simulate(DynamicExercise(), np.array([0.0, 60.0]), twins=twins)
    assert bool(np.asarray(found.ok).all())


@pytest.fixture(scope="module")
def people():
    """Means over the fifth minute at rest and at two and four metabolic equivalents."""
    work = np.array([[1.0], [2.0], [4.0]])
    observe = ("heart.HR", "heart.CO", "heart.MAP", "gas.consumed_O2")
    found = vht.simulate(
        CardioRespiratory(),
        np.concatenate([[0.0], np.arange(240.0, 300.0, 0.5)]),
        twins={"exercise.tau": np.full(3, 30.0)},
        schedule=vht.Schedule(signals={"exercise.work": vht.Signal(np.zeros((3, 1)), work)}),
        observe=observe,
        method=vht.Rodas5P(rtol=1e-3, atol=1e-5, max_steps=1_000_000),
    )
    assert bool(np.asarray(found.ok).all()), found.failures()
    return {name: np.asarray(found.values[name])[:, 1:].mean(axis=1) for name in observe}


def test_heart_rate(people, verified):
    """Wicks et al. 2011, 220 groups of people: metabolic equivalents are 6 HR/HR_rest - 5."""
    for i, m in ((1, 2.0), (2, 4.0)):
        ratio = people["heart.HR"][i] / people["heart.HR"][0]
        verified(
            MODEL,
            f"heart rate at {m:.0f} metabolic equivalents over rest, in `cardio_respiratory`",
            f"({m:.0f} + 5)/6 of Wicks et al. 2011",
            reached=abs(ratio - (m + 5.0) / 6.0),
            within=0.05,
        )


def test_cardiac_output(people, verified):
    """Blood for a further litre of oxygen consumed, once consumption is steady; uptake in the lungs still lags it."""
    oxygen = (people["gas.consumed_O2"] - people["gas.consumed_O2"][0]) / 1000.0
    np.testing.assert_allclose(oxygen[1:], people["gas.consumed_O2"][0] / 1000.0 * np.array([1.0, 3.0]), rtol=2e-3)
    slope = (people["heart.CO"][2] - people["heart.CO"][0]) / oxygen[2]
    verified(
        MODEL,
        "blood for a further litre of oxygen at 4 metabolic equivalents, in `cardio_respiratory`",
        "about 6 L in people (Åstrand et al. 1964)",
        reached=slope,
        within=(5.0, 7.0),
        unit="L/L",
    )
    assert 0.0 < people["heart.MAP"][2] - people["heart.MAP"][0] < 10.0
