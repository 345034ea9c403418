"""What a calibration is asked: whose rows are whose, and what is refused."""

import numpy as np
import pytest
from closed_forms import Oral, closed_form, oral

from vht.calibrate import (
    Additive,
    Free,
    LevenbergMarquardt,
    Measurements,
    Observable,
    Problem,
    band,
    calibrate,
    profile_intervals,
)
from vht.calibrate.estimators import calibrate_with
from vht.errors import DataError, ModelError
from vht.model import LogNormal, Twins, Uniform
from vht.solve import Doses, Schedule, Signal

NAMES, TIMES = ("A", "B", "C"), np.array([0.5, 1.0, 2.0, 4.0, 7.0, 12.0])
VALUE = np.stack([oral(ka, 2.8, 32.0, TIMES) for ka in (0.5, 1.0, 2.0)])


def measured(twins, names=None):
    """Each twin's own curve, without error."""
    where = [NAMES.index(name) for name in (names or twins)]
    whose = np.repeat(np.arange(len(where)) if names else twins, TIMES.size).tolist()
    columns = np.tile(TIMES, len(where)), ["y"] * len(whose), VALUE[where].ravel()
    return Measurements(whose, *columns, names=names)


def problem(measurements, free=None, **more):
    return Problem(
        Oral(), free or {"ka": Free()}, {"y": Observable("concentration", Additive(0.1))}, measurements, **more
    )


@pytest.mark.parametrize("rows", [2, 4])
def test_a_row_for_each_twin_or_one_for_all(rows):
    table, many = measured(NAMES), np.full((rows, 1), 320.0)
    wrong = [
        ({"twins": {"V": np.full(rows, 32.0)}}, "twins.V"),
        ({"initial": {"central": np.zeros(rows)}}, "initial.central"),
        ({"schedule": Schedule(doses={"dose": Doses([0.0], many)})}, "schedule.doses.dose.amount"),
        ({"schedule": Schedule(signals={"dose": Signal(0.0 * many, [1.0])})}, "schedule.signals.dose.time"),
    ]
    for more, name in wrong:
        with pytest.raises(ModelError, match=rf"`{name}` must have a row for each of 3 twins \(A, B, C\)"):
            problem(table, **more)
    right = np.full((3, 1), 320.0)
    problem(
        table,
        twins={"V": 32.0},
        initial={"central": np.zeros(3)},
        schedule=Schedule(doses={"dose": Doses([0.0], right)}),
    )


def test_measurements_by_number_are_of_those_whom_they_name():
    table, twins = measured(None, names=["C", "A", "B"]), Twins(Oral(), {}, names=NAMES)
    asked = problem(table, twins=twins)
    found = calibrate_with(closed_form(asked, oral, constants={1: np.full(3, 2.8), 2: np.full(3, 32.0)}), asked)
    assert found.twins == NAMES
    np.testing.assert_allclose(found.estimate[:, 0], [0.5, 1.0, 2.0], rtol=1e-4)
    with pytest.raises(DataError, match="measurements of `C`, who is not among the twins"):
        problem(table, twins=Twins(Oral(), {}, names=["A", "B"]))
    with pytest.raises(DataError, match=r"`twin` must lie in \[0, 2\), but is 2"):
        problem(Measurements([0, 2], [1.0, 1.0], ["y", "y"], [1.0, 1.0], names=["A", "B"]))


def test_names_of_measurements_are_those_of_twins_that_have_none():
    table = measured(None, names=["C", "A"])
    assert problem(table, twins=Twins(Oral(), {"V": [30.0, 32.0]})).twin_names == ("C", "A")
    # a row of doses for one who was not measured
    rows = Schedule(doses={"dose": Doses([0.0], np.full((3, 1), 320.0))})
    assert problem(Measurements([0, 1], [1.0, 1.0], ["y", "y"], [1.0, 1.0]), schedule=rows).twin_names == (
        "0",
        "1",
        "2",
    )


def test_a_prior_is_a_distribution_or_the_model_s(unchecked_annotations):
    table, known = measured(NAMES), LogNormal(1.0, 0.3)
    for prior in ("lognormal", (5.0, 0.05), LogNormal):
        with pytest.raises(ModelError, match="`prior` must be a distribution"):
            problem(table, free={"ka": Free(prior=prior)})
    with pytest.raises(ModelError, match="The model has no prior of `ka`"):
        problem(table, free={"ka": Free(prior="model")})
    assert problem(table, free={"ka": Free(prior=known), "CL": Free()}).priors == (known, None)
    assert problem(table, free={"ka": Free(prior=Uniform(0.1, 9.0))}).transforms[0].upper == 9.0


def test_something_else_is_told_by_name(unchecked_annotations):
    asked = problem(measured(NAMES))
    for wrong, told in ((["ka"], "`free` must map names"), ({"ka": Free(bounds=(1.0, 2.0, 3.0))}, "must be a pair")):
        with pytest.raises(ModelError, match=told):
            problem(measured(NAMES), free=wrong)
    for wrong in ({"seed": -1}, {"starts": 1.5}, {"lanes": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be a whole number from"):
            LevenbergMarquardt(**wrong)
    with pytest.raises(ValueError, match="`tolerance` must be a positive number"):
        LevenbergMarquardt(tolerance="small")
    with pytest.raises(TypeError, match="`problem` must be a `Problem`"):
        calibrate("x")
    with pytest.raises(TypeError, match="`method` must be a `LevenbergMarquardt"):
        calibrate(asked, method="lm")


def test_intervals_are_of_the_calibration_of_their_problem(unchecked_annotations):
    known = {1: np.full(3, 2.8), 2: np.full(3, 32.0)}
    asked, other = problem(measured(NAMES)), problem(measured(NAMES), free={"ka": Free(), "CL": Free()})
    found = calibrate_with(closed_form(asked, oral, constants=known), asked)
    with pytest.raises(TypeError, match="take a `Problem` and its `Calibration`"):
        profile_intervals(found, asked)
    with pytest.raises(ModelError, match="of another problem"):
        profile_intervals(other, found)
    with pytest.raises(ModelError, match="of another problem"):
        band(other, found, TIMES)


def test_bands_are_of_twins_by_name_or_index(unchecked_annotations):
    asked = problem(measured(NAMES))
    found = calibrate_with(closed_form(asked, oral, constants={1: np.full(3, 2.8), 2: np.full(3, 32.0)}), asked)
    by_name, by_index = (band(asked, found, TIMES, twins=twins) for twins in (["C", "A"], [2, 0]))
    assert by_name.twins == by_index.twins == ("C", "A")
    np.testing.assert_array_equal(by_name.value["y"], by_index.value["y"])
    for twins, message in ((["B", "Q"], "no twin `Q`"), ([3], "from 0 to 2"), ([True, False, True], "from 0 to 2")):
        with pytest.raises(ModelError, match=message):
            band(asked, found, TIMES, twins=twins)
    with pytest.raises(ValueError, match="a row of times"):
        band(asked, found, np.float64(1.0))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"twin": [1.0, 2.0]}, "indices or names, but holds .*1.0.* in rows 0, 1"),
        ({"twin": ["A", None]}, "holds None in row 1"),
        ({"value": np.ma.array([1.0, 2.0], mask=[False, True])}, "`value` must be finite, but is nan in row 1"),
    ],
    ids=["fractions", "nobody", "masked"],
)
def test_columns_that_are_none(column, message, unchecked_annotations):
    columns = {"twin": ["A", "B"], "time": [1.0, 1.0], "observable": ["y", "y"], "value": [1.0, 2.0]}
    with pytest.raises(DataError, match=message):
        Measurements(**columns | column)


def test_numbers_that_are_names_are_told():
    columns = {"time": np.ones(2), "observable": ["y", "y"], "value": np.ones(2)}
    with pytest.raises(DataError, match="none of twin 0: where they are names, give them as text"):
        problem(Measurements([1, 2], **columns))
    assert problem(Measurements(["1", "2"], **columns)).twin_names == ("1", "2")
    assert problem(Measurements([1, 2], **columns, names=["a", "b", "c"])).twin_names == ("a", "b", "c")
