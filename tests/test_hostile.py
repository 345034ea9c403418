"""Twins far outside of all bounds: a status for each, no number after a failure, no harm to others; hangs are seen."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.cases import Hostile
from benchmarks.hostile import _start, jobs, run
from benchmarks.hostile_child import Job, check_trajectory, method_of, trajectory
from benchmarks.hostile_draws import draw, mended
from benchmarks.hostile_models import BlowUp, BouncingBall, Chatter, Junction, subjects
from benchmarks.sizes import QUICK
from vht.model import states
from vht.solve import Rodas5P, Status, Tsit5, simulate, simulate_with_jacobian

MODELS = ["oral_drug", "bouncing ball", "hysteresis", "junction", "blow-up", "division", "gated"]


@pytest.mark.parametrize("name", MODELS)
def test_every_twin_ends_with_a_status_and_harms_no_other(name):
    subject = subjects()[name]
    names, method = list(states(subject.model)), "Rodas5P" if name == "junction" else "Tsit5"
    for k in range(3):
        draws = draw(subject, 128, [1, k])
        settings = method_of(method, k, 500, subject.span)
        found, _ = trajectory(subject, draws, settings, False)
        wrong = check_trajectory(found, {}, draws, names, 500)
        assert not {what: np.flatnonzero(rows) for what, rows in wrong.items() if rows.any()}
        assert len(np.unique(found.status)) > 1  # hostile enough
        healthy, _ = trajectory(subject, mended(draws), settings, False)
        for value in names:
            np.testing.assert_array_equal(found.values[value][draws.healthy], healthy.values[value][draws.healthy])


def test_draws_are_hostile_and_repeat_themselves():
    subject = subjects()["oral_drug"]
    draws, again = draw(subject, 4096, [3]), draw(subject, 4096, [3])
    np.testing.assert_array_equal(draws.parameters["CL"], again.parameters["CL"])
    column = draws.parameters["CL"]
    assert np.isnan(column).any() and (column == 0.0).any() and (column < 0.0).any() and np.isinf(column).any()
    assert np.nanmax(np.abs(column[np.isfinite(column)])) >= 1e300
    low, high = 0.001, 500.0
    assert ((column[draws.healthy] >= low) & (column[draws.healthy] <= high)).all()
    assert np.isfinite(draws.times[draws.healthy]).all() and draws.healthy.sum() == 512
    dose = draws.schedule.doses["dose"]
    assert any(len(set(row)) < len(row) for row in dose.time) and (dose.duration == 5e-324).any()


# what is impossible from the start on: a state that is no number, and an equation without a solution


@pytest.mark.parametrize("method", [Tsit5(), Rodas5P()])
def test_an_impossible_start_is_not_saved(method):
    height = np.array([1.0, np.nan, np.inf, 2.0])
    times = np.array([0.0, 0.0, 0.1])
    found, slopes = simulate_with_jacobian(
        BouncingBall(), times, initial={"h": height}, free=["g", "initial.h"], method=method
    )
    assert [Status(int(s)).label for s in found.status] == ["ok", "non_finite", "non_finite", "ok"]
    for name in ("h", "v"):
        assert np.isnan(found.values[name][1:3]).all() and np.isfinite(found.values[name][[0, 3]]).all()
        assert np.isnan(slopes[name][1:3]).all() and np.isfinite(slopes[name][[0, 3]]).all()
    np.testing.assert_array_equal(found.values["h"][[0, 3], :2], [[1.0, 1.0], [2.0, 2.0]])


def test_a_guess_without_a_solution_is_no_value():
    # with a = b = 0 nothing determines the pressure
    twins = {"a": np.array([1.0, 0.0]), "b": np.array([1.0, 0.0])}
    found = simulate(Junction(), np.array([0.0]), twins=twins, method=Rodas5P())
    assert [Status(int(s)).label for s in found.status] == ["ok", "no_initial_value"]
    z = found.values["z"][0, 0]
    np.testing.assert_allclose(z**3 + z, 2.0, rtol=1e-8)
    assert all(np.isnan(found.values[name][1, 0]) for name in ("x", "z", "q"))


@pytest.mark.parametrize("method", [Tsit5(step=0.9), Tsit5(), Rodas5P()])
def test_nothing_is_saved_after_a_storm_began(method):
    times = np.linspace(0.0, 10.0, 101)
    found = simulate(BouncingBall(), times, twins={"e": np.array([0.2, 0.5, 0.8])}, method=method)
    assert [failure.status for failure in found.failures()] == ["event_storm"] * 3
    # the ball comes to rest at a known time, and never falls through the floor
    share = np.array([0.2, 0.5, 0.8])
    rest = np.sqrt(2.0 / 9.81) * (1.0 + share) / (1.0 - share)
    early = 0.85 if method == Tsit5(step=0.9) else 0.99  # within a long step the last bounces cannot be told apart
    for row, end in zip(found.values["h"], rest, strict=True):
        assert np.isnan(row[times > end]).all() and np.isfinite(row[times < early * end]).all()
        assert np.nanmin(row) > -1e-9


def test_no_infinite_value_between_the_ends_of_steps():
    # x' = x^n: steps of fixed size run into the largest numbers, and interpolation beyond them
    twins = {"r": np.linspace(0.5, 40.0, 300)}
    found = simulate(BlowUp(n=3.0), np.linspace(0.0, 3.0, 61), twins=twins, method=Tsit5(step=0.3))
    assert 0 < found.ok.sum() < 300
    assert (np.isfinite(found.values["x"]) == np.isfinite(found.values["y"])).all()
    assert not np.isinf(found.values["x"]).any() and np.isfinite(found.values["x"][found.ok]).all()
    # the largest numbers leave no room to compute
    found = simulate(BlowUp(r=0.0, n=1.0), np.array([0.0, 1.0]), initial={"x": np.array([1e303, 1e305])})
    assert [Status(int(code)).label for code in found.status] == ["ok", "non_finite"]


def test_float32_with_jumps_of_the_rates_in_stiff_steps():
    found = simulate(Chatter(), np.array([0.0, 0.2]), method=Rodas5P(rtol=1e-4, atol=1e-5, dtype="float32"))
    # before any threshold: x' = a - x, y' = a + y sin(t)
    assert found.ok.all() and found.values["x"].dtype == np.float32
    np.testing.assert_allclose(found.values["x"][0, 1], 2.0 - 1.8 * np.exp(-0.2), rtol=1e-3)


# ----------------------------------------------------------------------------------------------------------- the checks


def test_what_is_wrong_is_found():
    subject = subjects()["bouncing ball"]
    draws = draw(subject, 8, [0]).rows(np.full(4, 7))  # healthy ones
    found, _ = trajectory(subject, draws, Tsit5(), False)
    assert found.ok.all()

    def wrong(**changes):
        spoilt = {"values": {n: v.copy() for n, v in found.values.items()}, "status": found.status.copy()}
        for name, (row, saves, value) in changes.items():
            if name == "status":
                spoilt["status"][row] = value
            else:
                spoilt["values"][name][row, saves] = value
        tampered = dataclasses.replace(found, **spoilt)
        rows = check_trajectory(tampered, {}, draws, ["h", "v"], int(found.steps.max()))
        return {what: np.flatnonzero(r).tolist() for what, r in rows.items() if r.any()}

    assert not wrong()
    assert wrong(h=(1, 3, np.inf)) == {"ok, but a state is not finite": [1]}
    assert wrong(status=(2, 0, 99))["no status"] == [2]
    assert wrong(status=(2, 0, 1)) == {"failed, but the last state is a number": [2]}
    assert wrong(status=(0, 0, 3), h=(0, 5, np.nan))["failed, but numbers come back"] == [0]
    assert wrong(status=(0, 0, 3), h=(0, slice(5, None), np.nan)) == {
        "failed, with some states NaN and others numbers": [0],
    }
    late = check_trajectory(found, {}, draws, ["h", "v"], int(found.steps.max()) - 1)
    assert late["more steps than the budget"].any()


def test_a_process_that_hangs_or_dies_is_named():
    job = Job("bouncing ball", "Tsit5", ("values",), 1, 8, 100, 0)
    assert _start(job, 0.05).fault == "hung in loading, slice -1: "
    fault = _start(dataclasses.replace(job, method="Euler"), 60.0).fault
    assert fault == "exit code 1 in values, slice 0: ValueError: There is no method 'Euler'."


def test_a_child_tells_what_it_did():
    job = Job("bouncing ball", "Tsit5", ("values",), 2, 16, 100, 0)
    command = [sys.executable, "-m", "benchmarks.hostile_child", json.dumps(dataclasses.asdict(job))]
    told = [json.loads(line) for line in subprocess.run(command, capture_output=True, check=True).stdout.splitlines()]
    assert [("begins" in line, line["slice"]) for line in told] == [(True, 0), (False, 0), (True, 1), (False, 1)]
    assert all(sum(line["status"].values()) == 16 and line["most_steps"] <= 100 for line in told[1::2])


def test_every_model_and_method_has_its_draws():
    every = jobs(Hostile())
    assert {job.model for job in every} == set(subjects())
    simulated = [job for job in every if "values" in job.what]
    assert sum(job.slices * job.twins * len(job.what) for job in simulated) >= 100_000
    assert {"Tsit5", "Rodas5P"} <= {job.method for job in simulated if job.model == "ohara_rudy"}
    assert {job.method.split(",")[0] for job in simulated if job.model == "junction"} == {"Rodas5P"}
    quick = QUICK["hostile"]
    assert isinstance(quick, Hostile)
    outcome = run(dataclasses.replace(quick, models=("junction",), draws=256), lambda text: None)
    assert all(target.met for target in outcome.targets)


def test_twins_that_get_further_in_one_kernel_than_in_another_have_no_derivatives_without_values(monkeypatch):
    from vht.solve import plan

    # a kernel for each direction; only the second one's sensitivities need small steps
    monkeypatch.setattr(plan, "KERNEL_DIRECTIONS", 1)
    budget, times = 60, np.linspace(0.0, 3.0, 31)
    twins = {"r": np.linspace(0.1, 3.0, 40)}
    settings = {"twins": twins, "method": Tsit5(rtol=1e-9, atol=1e-11, max_steps=budget)}
    found, slopes = simulate_with_jacobian(BlowUp(), times, free=["k", "r", "n"], **settings)
    alone = [simulate_with_jacobian(BlowUp(), times, free=[name], **settings)[0] for name in ("k", "r", "n")]
    lengths = np.array([np.isfinite(one.values["x"]).sum(axis=1) for one in alone])
    assert (lengths.min(axis=0) < lengths.max(axis=0)).any()  # else this shows nothing
    known = np.isfinite(found.values["x"])
    assert (known.sum(axis=1) == lengths.min(axis=0)).all()
    for name in ("x", "y"):
        assert (np.isfinite(slopes[name]) == known[..., None]).all()
    # a twin's steps are those of the kernel in which it failed
    status = np.array([one.status for one in alone])
    assert (found.ok == (status == Status.OK).all(axis=0)).all()
    spent = found.status == Status.MAX_STEPS
    assert spent.any() and (found.steps[spent] == budget).all()
