"""Studies that know their people: rules by which parameters follow, and everything wrong in the table at once."""

import numpy as np
import pytest

from vht.cohort.load import load_study
from vht.cohort.study import InvalidStudy
from vht.covariates import (
    creatinine_clearance,
    maturation,
)
from vht.errors import DataError

STUDY = """
model = "drug_1"
[parameters]
CL = "3 L/h"
[free.V]
[observables.c]
output = "concentration"
[covariates.CL]
allometry = 0.75
genotype = { gene = "CYP2D6", fraction = 0.8 }
[covariates.V]
allometry = { exponent = 1.0, reference = "80 kg" }
[tables]
measurements = "measurements.csv"
schedule = "schedule.csv"
people = "people.csv"
[simulate]
until = "6 h"
points = 3
"""
MEASURED = "twin,time [h],observable,value,unit\nAda,1,c,5,mg/L\nAda,4,c,3,mg/L\nBen,1,c,5,mg/L\nBen,4,c,4,mg/L\n"
WHO = "twin,weight [kg],CYP2D6\nBen,35,*4/*4\nAda,70,*1/*1\n"


@pytest.fixture
def study(tmp_path):
    def load(text=STUDY, people=WHO, verb="calibrate"):
        (tmp_path / "measurements.csv").write_text(MEASURED)
        (tmp_path / "schedule.csv").write_text("time [h],input,amount,unit\n0,iv,100,mg\n")
        (tmp_path / "people.csv").write_text(people)
        (tmp_path / "study.toml").write_text(text)
        return load_study(tmp_path / "study.toml", verb)

    return load


def test_a_study_knows_its_people(study):
    read = study()
    problem = read.problem
    np.testing.assert_allclose(problem.columns["CL"], [3.0, 3.0 * 0.5**0.75 * 0.2])
    # what is free starts there
    np.testing.assert_allclose(problem.starts[:, 0], 32.0 * np.array([70.0, 35.0]) / 80.0)
    rules = read.settings(problem.method)["covariates"]
    assert [(rule["kind"], rule["parameter"]) for rule in rules] == [
        ("Allometry", "CL"),
        ("Genotype", "CL"),
        ("Allometry", "V"),
    ]
    assert rules[1]["effect"] == {"kind": "ByScore", "gene": "CYP2D6", "fraction": 0.8, "sd": None}
    # without measurements the table of people says who there is
    found = study(verb="simulate").simulate()
    assert study(verb="simulate").twins.names == ("Ben", "Ada") and bool(found.ok.all())
    left = np.asarray(found.values["central"])[:, -1]
    V = 32.0 * np.array([35.0, 70.0]) / 80.0
    CL = np.array([3.0 * 0.5**0.75 * 0.2, 3.0])
    np.testing.assert_allclose(left, 100.0 * np.exp(-CL / V * 6.0), rtol=1e-3)


def test_starts_and_priors_are_the_reference_person_s(study):
    text = STUDY.replace("[free.V]", '[free.V]\nstart = "20 L"\nprior = "model"')
    problem, factor = study(text).problem, np.array([70.0, 35.0]) / 80.0
    np.testing.assert_allclose(problem.starts[:, 0], 20.0 * factor)
    np.testing.assert_allclose(problem.scales[:, 0], factor)
    prior = '{ kind = "uniform", lower = "5 L", upper = "50 L" }'
    with pytest.raises(InvalidStudy, match=r"`free\.V\.prior`: A uniform prior does not follow `covariates\.V`"):
        study(STUDY.replace("[free.V]", f"[free.V]\nprior = {prior}"))


def test_every_rule_of_a_study(study):
    text = STUDY.replace('genotype = { gene = "CYP2D6", fraction = 0.8 }', 'genotype = "risperidone"\nmaturation = {}')
    text = text.replace(
        "[covariates.V]", '[covariates.ka]\nrenal = { fraction = 0.5, reference = "6 L/h" }\n[covariates.V]'
    )
    people = "twin,weight [kg],CYP2D6,age [year],sex,creatinine [mg/dL]\nAda,70,*1/*1,40,female,1\nBen,35,*4/*4,20,male,0.6\n"
    twins = study(text, people).tabled
    mature = maturation(40.0 + 52.18 * np.array([40.0, 20.0]))
    np.testing.assert_allclose(twins.columns["CL"], 3.0 * np.array([1.0, 0.5**0.75 * 12.9 / 65.4]) * mature)
    filtration = creatinine_clearance([40.0, 20.0], [70.0, 35.0], [1.0, 0.6], ["female", "male"])
    np.testing.assert_allclose(twins.columns["ka"], 1.5 * (0.5 + 0.5 * filtration / 100.0))


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("[covariates.CL]", "[covariates.Cl]", "covariates.Cl", "no parameter `Cl`"),
        ("allometry = 0.75", 'allometry = "big"', "covariates.CL.allometry", "section of keys"),
        ("allometry = 0.75", "alometry = 0.75", "covariates.CL.alometry", "Did you mean `allometry`"),
        ('"80 kg"', '"80 cm"', "covariates.V.allometry.reference", "cannot be converted"),
        ('"80 kg"', '"-80 kg"', "covariates.V.allometry.reference", "must be positive"),
        ("allometry = 0.75", 'maturation = { half = "-1 week" }', "covariates.CL.maturation.half", "must be positive"),
        ('allometry = { exponent = 1.0, reference = "80 kg" }', "", "covariates.V", "There is no rule here"),
        ("fraction = 0.8", "fraction = 1.8", "covariates.CL.genotype.fraction", "at most 1"),
        (", fraction = 0.8 }", " }", "covariates.CL.genotype", "either a fit"),
        ('"CYP2D6", ', '"CYP2D7", ', "covariates.CL.genotype.gene", '"CYP2D6"'),
        ('people = "people.csv"', "", "tables.people", "nobody has any"),
        ('"people.csv"', '"peple.csv"', "tables.people", "no file"),
    ],
)
def test_malformed_studies(study, old, new, key, message):
    assert old in STUDY
    with pytest.raises(InvalidStudy) as caught:
        study(STUDY.replace(old, new))
    problems = dict(caught.value.problems)
    assert key in problems and message in problems[key], problems


def test_people_without_rules_or_drawn_twins(study):
    with pytest.raises(InvalidStudy, match="nothing follows from it"):
        study(STUDY[: STUDY.index("[covariates.CL]")] + STUDY[STUDY.index("[tables]") :])
    with pytest.raises(InvalidStudy, match=r"listed in `tables\.people` as well"):
        study(STUDY + "twins = 5\n", verb="simulate")


def test_a_malformed_rule_is_one_problem(study):
    text = (
        STUDY[: STUDY.index("[covariates.CL]")]
        + "[covariates.CL]\nalometry = 0.75\n"
        + STUDY[STUDY.index("[tables]") :]
    )
    with pytest.raises(InvalidStudy) as caught:
        study(text)
    assert [key for key, _ in caught.value.problems] == ["covariates.CL.alometry"]


@pytest.mark.parametrize("section", ['[covariates."ace_inhibitor.CL"]', "[covariates.ace_inhibitor.CL]"])
def test_rules_for_parameters_of_bodies(tmp_path, section):
    (tmp_path / "people.csv").write_text("twin,weight [kg]\nAda,70\nBen,35\n")
    (tmp_path / "study.toml").write_text(
        f'model = "cardio_renal"\n{section}\nallometry = 0.75\n[tables]\npeople = "people.csv"\n'
    )
    read = load_study(tmp_path / "study.toml")
    own = float(getattr(read.model, "ace_inhibitor.CL"))
    np.testing.assert_allclose(read.tabled.columns["ace_inhibitor.CL"], own * np.array([1.0, 0.5**0.75]))


ALL = STUDY.replace("[covariates.V]", "[covariates.ka]\nrenal = { fraction = 0.5 }\n[covariates.V]")
HEAD = "twin,weight [kg],age [year],sex,creatinine [mg/dL],CYP2D6\n"
ADA, BEN = "Ada,70,40,female,1,*1/*1\n", "Ben,35,20,male,0.6,*4/*4\n"


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ("", [(None, None, "The file is empty")]),
        (HEAD, [(None, None, "The table is empty")]),
        ((HEAD + ADA + BEN).replace(",", ";"), [(1, None, "separated by semicolons")]),
        (HEAD + ADA, [(None, "twin", "The twin `Ben` of")]),
        (HEAD + ADA + BEN + ADA.replace("Ada", "Eve"), [(4, "twin", "The twin `Eve` has no row in")]),
        (HEAD + ADA + BEN + ADA, [(4, "twin", "`Ada` is in row 2 already")]),
        # all of it at once, each where it stands; the wrong ones keep no rule from finding others
        (
            HEAD.replace("[mg/dL]", "[mmHg]")
            + "Ada,70000,40,f,1,*4/*411\nBen,35,20,male,0.6,*4/*4\nEve,,7,female,1,*4/*411\n",
            [
                (None, "creatinine [mmHg]", "cannot be converted to `mg/dL`"),
                (2, "weight [kg]", "between 0.2 and 700 kg in everyone, but got 70000"),
                (2, "sex", 'must be "male" or "female", but got "f"'),
                (2, "CYP2D6", "For `CL`: The allele `*411` of CYP2D6 has no activity value"),
                (4, "weight [kg]", "The cell is empty"),
                (4, "twin", "The twin `Eve` has no row in"),
            ],
        ),
        (
            HEAD + ADA.replace("40", "0") + BEN.replace("20", "7"),
            [(2, None, "For `ka`: `age` must lie between 18 and 110 years"), (3, None, "but got 7")],
        ),
        (
            HEAD.replace("sex,", "sex,_site,").replace(",CYP2D6", "") + "Ada,70,40,,,1\nBen,35,20,male,x,y\n",
            [
                (None, "CYP2D6", "The column is missing: The genotype for `CL` needs `CYP2D6`"),
                (2, "sex", "The cell is empty"),
                (3, "creatinine [mg/dL]", "must be a finite number, but is `y`"),
            ],
        ),
        (
            HEAD.replace("[kg]", "") + ADA + BEN,
            [(None, "weight", "The header must say the unit, such as `weight [kg]`")],
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0][2][:20],
)
def test_everything_wrong_with_people_at_once(study, people, expected):
    with pytest.raises(DataError) as caught:
        _ = study(ALL, people).tabled
    found = [problem for problem in caught.value.problems if problem.file.endswith("people.csv")]
    assert len(found) == len(expected), found
    for row, column, message in expected:
        assert any((p.row, p.column) == (row, column) and message in p.message for p in found), (message, found)


def test_a_cell_may_be_empty_where_no_rule_needs_it(study):
    # an adult of whom the age is known and a child of whom it is counted from conception; no creatinine, which nobody asks for
    text = STUDY.replace('genotype = { gene = "CYP2D6", fraction = 0.8 }', "maturation = {}")
    head = "twin,weight [kg],age [year],postmenstrual_age [week],creatinine [mg/dL],sex\n"
    twins = study(text, head + "Ada,70,40,,,female\nBen,7,,60,,\n").tabled
    mature = np.concatenate([maturation(40.0 + 52.18 * np.array([40.0])), maturation(np.array([60.0]))])
    np.testing.assert_allclose(twins.columns["CL"], 3.0 * np.array([1.0, 0.1**0.75]) * mature)
    for people, row, column, message in (
        ("Ada,70,40,,,female\nBen,7,,,,\n", 3, "age [year]", "The cell is empty, but the rules for `CL` need it."),
        ("Ada,70,40,,,female\nBen,,,60,,\n", 3, "weight [kg]", "The cell is empty, but the rules for `CL` need it."),
    ):
        with pytest.raises(DataError) as caught:
            _ = study(text, head + people).tabled
        assert (row, column, message) in [(p.row, p.column, p.message) for p in caught.value.problems]
    without = head.replace("age [year],", "", 1)
    with pytest.raises(DataError, match="row 3: For `CL`: Maturation of `CL` needs `age`, but known are only"):
        _ = study(text, without + "Ada,70,90,,female\nBen,7,,,\n").tabled


def test_nobody_is_simulated_for_an_empty_table(study):
    """Not one twin with the model's own values."""
    with pytest.raises(DataError, match="it has a header and no rows"):
        _ = study(ALL, HEAD, verb="simulate").twins


def test_the_few_wrong_among_many(study):
    """Found by halves, with the row of each; what is alike is told once."""
    rows = [f"{i},70,{17 if i in (100, 900) else 16 if i == 500 else 40},male,1,*1/*1" for i in range(1000)]
    with pytest.raises(DataError) as caught:
        _ = study(ALL, HEAD + "\n".join(rows) + "\n", verb="simulate").tabled
    found = [(p.row, p.message[-28:]) for p in caught.value.problems]
    assert [row for row, _ in found] == [102, 502]
    assert found[0][1].endswith("(and in 1 more row)") and "more row" not in found[1][1]


def test_one_person(study):
    found = study(ALL, HEAD + ADA, verb="simulate").twins
    assert found.names == ("Ada",) and found.columns["CL"].tolist() == [3.0]
