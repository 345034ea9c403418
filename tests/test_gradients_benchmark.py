"""The gradients benchmark: everybody solves the same equations, its references agree, and a quick run meets its targets."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import gradients_circulation, gradients_cohorts
from benchmarks.__main__ import main
from benchmarks.gradients_models import HiresAtRest, MealGlucose, PumpGlucose
from benchmarks.gradients_questions import differences
from benchmarks.peers import gradients_cvodes
from benchmarks.peers.build import Unavailable
from vht.model import check_units
from vht.solve import Tsit5


@pytest.fixture(scope="module", autouse=True)
def _needs_a_compiler():
    try:
        gradients_cvodes.made_with()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("model", [MealGlucose, PumpGlucose, HiresAtRest])
def test_units(model):
    check_units(model())


@pytest.mark.parametrize("cohort", ["oral", "meal", "pump", "steady"])
def test_cvode_solves_the_same_model(cohort):
    question = getattr(gradients_cohorts, cohort)(2, 0)
    method = Tsit5(rtol=1e-9, atol=1e-9 * question.floor)
    mine, status = question.answer({name: jnp.asarray(column) for name, column in question.at.items()}, method)
    theirs = question.point(question.at)
    assert not np.asarray(status).any() and theirs.shape == mine.shape
    assert np.max(np.abs(mine - theirs) / np.max(np.abs(theirs), axis=1, keepdims=True)) < 1e-7


@pytest.mark.parametrize(
    "question",
    [
        lambda: gradients_cohorts.oral(2, 0),
        lambda: gradients_cohorts.meal(2, 0),
        lambda: gradients_circulation.periodic(1, 0, 1),
    ],
    ids=["oral", "meal", "circulation"],
)
def test_references_agree(question):
    question = question()
    jacobian, apart = differences(question)
    truth = question.forward()
    for found in (jacobian - truth.jacobian, apart):
        assert np.max(np.abs(found) / truth.size[:, None]) < 5e-6


def test_a_quick_run_meets_its_targets(tmp_path, capsys):
    main(["gradients", "--quick", "--out", str(tmp_path), "--set", "twins=4"])
    (file,) = tmp_path.iterdir()
    found = json.loads(file.read_text())["benchmarks"]["gradients"]
    assert len(found["targets"]) == 9 and all(target["met"] for target in found["targets"])
    assert {row["ok"] for row in found["tables"]["errors"]} == {4}
    assert "infusion duration" in capsys.readouterr().out
