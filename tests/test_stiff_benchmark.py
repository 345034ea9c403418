"""The stiff benchmark's problems: everybody solves the same equations, and the published solutions are theirs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.__main__ import main
from benchmarks.peers import stiff_cvode, stiff_diffrax, stiff_lanes
from benchmarks.peers.build import Unavailable
from benchmarks.stiff_precision import CVODE, DIFFRAX, LANES
from benchmarks.stiff_problems import PROBLEMS, TEN_TUSSCHER, Problem, Pulse, ensemble, errors
from vht.model import check_units, with_parameters


@pytest.fixture(scope="module", autouse=True)
def _needs_a_compiler():
    try:
        stiff_cvode.made_with()
    except Unavailable as error:
        pytest.skip(str(error))


def _function(problem: Problem, names, u: float):
    def rates(y, p):
        model = with_parameters(problem.model, {name: p[i] for i, name in enumerate(names)})
        given = None if problem.pulse is None else model.In(**{problem.pulse.port: jnp.asarray(u)})
        found = model.rates(0.0, model.State(**{name: y[i] for i, name in enumerate(problem.names)}), given)
        return jnp.stack([jnp.asarray(getattr(found, name)) for name in problem.names])

    return rates


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_the_c_equations_are_the_model_s(problem):
    check_units(problem.model)
    random, twins = np.random.default_rng(7), ensemble(problem, 20, spread=0.3, seed=5)
    for i in range(20):
        u = -52.0 * (i % 2) if problem.pulse is not None else 0.0
        rates = _function(problem, twins.names, u)
        y = np.where(twins.initial[i] == 0.0, 0.1, twins.initial[i]) * np.exp(
            0.5 * random.standard_normal(len(problem.names))
        )
        if problem is TEN_TUSSCHER:
            y[0] = random.uniform(-95.0, 60.0)
        slopes = np.asarray(jax.jacfwd(rates)(y, twins.parameters[i]))
        # what rounding of the states can make of the rates
        size = np.abs(slopes) @ np.abs(y)
        off = np.abs(stiff_cvode.rates(problem, y, twins.parameters[i], u) - np.asarray(rates(y, twins.parameters[i])))
        assert np.all(off <= 1e-13 * size), problem.name
        found = stiff_cvode.jacobian(problem, y, twins.parameters[i])
        if found is not None:
            assert np.all(np.abs(found - slopes) <= 1e-13 * np.abs(slopes).max(axis=1, keepdims=True)), problem.name


@pytest.mark.parametrize("name", ["ROBER", "HIRES", "POLLU"])
def test_published_solutions_agree_with_radau_and_cvode(name):
    problem = PROBLEMS[name]
    twin = ensemble(problem, 1)
    published = np.asarray(problem.reference)[None]
    # BDF at 1e-12 is right to about a hundred times that
    assert errors(stiff_cvode.solve(twin, rtol=1e-12).values, published, problem)[0] < 3e-10
    found = solve_ivp(
        lambda t, y: stiff_cvode.rates(problem, y, twin.parameters[0]),
        (0.0, problem.end),
        twin.initial[0],
        method="Radau",
        rtol=1e-8,
        atol=1e-8 * problem.threshold,
        jac=lambda t, y: stiff_cvode.jacobian(problem, y, twin.parameters[0]),
    )
    assert errors(found.y[:, -1][None], published, problem)[0] < 1e-7


def test_a_beat_is_the_same_for_cvode_and_radau():
    beat = dataclasses.replace(TEN_TUSSCHER, end=30.0)
    twins = ensemble(beat, 2, spread=0.2, seed=1)
    truth = stiff_cvode.solve(twins, rtol=1e-11)
    assert truth.ok.all() and truth.values[:, 0].min() > 0.0, "the cells must have fired"
    state, t = twins.initial[0], 0.0
    for end, u in zip(*beat.stops, strict=True):

        def rates(t, y, u=u):
            return stiff_cvode.rates(beat, y, twins.parameters[0], u)

        state = solve_ivp(rates, (t, end), state, method="Radau", rtol=1e-7, atol=1e-11).y[:, -1]
        t = end
    assert errors(state[None], truth.values[:1], beat)[0] < 1e-5


def test_a_pulse_is_the_same_for_lanes_and_diffrax():
    # one compartment: an infusion of 1 mg/h for half an hour, one hour after the start; quick to compile, unlike the cell
    drug = Problem(
        "drug", ("vht.organs.drugs", "OralDrug1"), 99, 3.0, 1e-3, ("ka", "CL", "V"), Pulse("dose", 1.0, 0.5, 1.0)
    )
    twins = ensemble(drug, 3, spread=0.2)
    values = [peer.solve(twins, rtol=1e-8).values for peer in (stiff_lanes, stiff_diffrax)]
    ka = twins.parameters[:, 0]
    gut = (1.0 - np.exp(-0.5 * ka)) / ka * np.exp(-1.5 * ka)
    for found in values:
        assert np.all(np.abs(found[:, 0] - gut) < 1e-7)
        assert errors(found, values[0], drug).max() < 1e-6


def test_an_ensemble_is_spread_as_asked():
    twins = ensemble(PROBLEMS["POLLU"], 4000, spread=0.2, seed=3)
    logs = np.log(twins.parameters / ensemble(PROBLEMS["POLLU"], 1).parameters)
    assert np.all(np.abs(logs.std(axis=0) - 0.2) < 0.01) and np.all(np.abs(logs.mean(axis=0)) < 0.015)


def test_a_quick_run_measures_every_solver(tmp_path):
    main(["stiff", "--quick", "--out", str(tmp_path)])
    (file,) = tmp_path.iterdir()
    found = json.loads(file.read_text())["benchmarks"]["stiff"]
    assert not found["skipped"]
    precision, spread, compiled = found["tables"].values()
    assert {row["solver"] for row in precision} == {LANES, CVODE, DIFFRAX} and all(
        row["ok"] == "yes" for row in precision
    )
    # each solver gets at least within two powers of ten of what was asked
    assert max(row["units"] for row in precision) < 100.0
    assert len(spread) == 4 and all(row["error_median"] <= 1e-4 and row["ok"] == row["twins"] for row in spread)
    assert all(row["equations"] > 1000 and row["kernels"] >= 1 and row["seconds"] > 0.0 for row in compiled)


def test_scikit_sundae_stands_in_where_there_are_no_headers(monkeypatch):
    monkeypatch.setattr(stiff_cvode, "compiled", lambda: False)
    for problem in (PROBLEMS["HIRES"], TEN_TUSSCHER):
        twins = ensemble(problem, 2, spread=0.1)
        found = stiff_cvode.solve(twins, rtol=1e-7)
        monkeypatch.undo()
        truth = stiff_cvode.solve(twins, rtol=1e-10)
        monkeypatch.setattr(stiff_cvode, "compiled", lambda: False)
        assert found.ok.all() and errors(found.values, truth.values, problem).max() < 1e-4
    assert "scikit-sundae" in stiff_cvode.made_with()
