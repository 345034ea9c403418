"""Study files: what they mean, and everything that is wrong in them, told at once."""

import numpy as np
import pytest

from vht.calibrate import Additive, Combined, Proportional
from vht.cohort.load import load_study
from vht.cohort.study import InvalidStudy
from vht.errors import StudyError
from vht.model import LogNormal, Normal, Uniform
from vht.solve import Tsit5

MEASURED = "twin,time [h],observable,value,unit\n1,1,c,5,mg/L\n1,4,c,3,mg/L\n"
DOSES = "twin,time [h],input,amount,unit\n1,0,dose,100,mg\n"
STUDY = """
model = "oral_drug"
[free.CL]
[observables.c]
output = "concentration"
[tables]
measurements = "measurements.csv"
schedule = "schedule.csv"
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "measurements.csv").write_text(MEASURED)
    (tmp_path / "schedule.csv").write_text(DOSES)

    def run(text, verb="calibrate"):
        path = tmp_path / "study.toml"
        path.write_text(text, "utf-8")
        return load_study(path, verb)

    return run


@pytest.fixture
def problems(load):
    def run(text, verb="calibrate"):
        with pytest.raises(InvalidStudy) as caught:
            load(text, verb)
        assert str(caught.value).count("\n") == len(caught.value.problems)
        return dict(caught.value.problems)

    return run


class TestBodies:
    """Names in a body have dots: written with quotes, or as TOML writes tables in tables."""

    @pytest.mark.parametrize(
        "names",
        [
            """
            [parameters]
            gas.shunt = "0.1"
            lungs.C_A = "0.15 L/cmH2O"
            [initial]
            heart.V_lv = "100 mL"
            [free.gas.Hb]
            [free.initial.heart.V_ra]
            start = "90 mL"
            [observables.oxygen]
            output = "gas.PaO2"
            """,
            """
            [parameters]
            "gas.shunt" = "0.1"
            "lungs.C_A" = "0.15 L/cmH2O"
            [initial]
            "heart.V_lv" = "100 mL"
            [free."gas.Hb"]
            [free."initial.heart.V_ra"]
            start = "90 mL"
            [observables.oxygen]
            output = "gas.PaO2"
            """,
        ],
    )
    def test_both_ways(self, load, names, tmp_path):
        (tmp_path / "measurements.csv").write_text(MEASURED.replace(",c,", ",oxygen,").replace("mg/L", "mmHg"))
        text = f"""
        model = "cardio_respiratory"
        {names}
        [tables]
        measurements = "measurements.csv"
        """
        study = load(text)
        assert getattr(study.model, "gas.shunt") == 0.1 and getattr(study.model, "lungs.C_A") == 0.15
        assert study.initial == {"heart.V_lv": 100.0}
        assert set(study.free) == {"gas.Hb", "initial.heart.V_ra"}

    def test_a_name_that_is_unknown(self, problems):
        found = problems(
            'model = "cardio_respiratory"\n[parameters]\ngas.shnt = "0.1"\n[simulate]\ntwins = 2', "simulate"
        )
        assert "no parameter `gas.shnt`. Did you mean `gas.shunt`?" in found["parameters.gas.shnt"]

    def test_a_name_that_is_given_twice(self, problems):
        found = problems(
            'model = "metabolic"\n[parameters]\n"drug.F" = 0.5\ndrug.F = 0.7\n[simulate]\ntwins = 2', "simulate"
        )
        assert "given twice" in found["parameters.drug.F"]


class TestMeaning:
    def test_a_whole_study(self, load):
        study = load(
            """
            model = "oral_drug"
            title = "Everything"
            [parameters]
            F = 0.8
            tlag = "30 min"
            [initial]
            central = "0.5 g"
            [free.ka]
            transform = "logit"
            bounds = ["1 1/day", "2 1/h"]
            start = "1.5 1/h"
            [free.CL]
            prior = "model"
            [free.V]
            prior = { kind = "normal", mean = "30000 mL", sd = "2 L" }
            [free.initial.gut]
            transform = "identity"
            start = "1 g"
            [observables.c]
            output = "concentration"
            noise = { kind = "combined", sd = "100 ug/L", fraction = 0.1 }
            since = "30 min"
            [tables]
            measurements = "measurements.csv"
            schedule = "schedule.csv"
            [solver]
            rtol = 1e-6
            max_steps = 500
            max_step = "30 min"
            backend = "xla"
            [calibrate]
            starts = 3
            seed = 5
            max_iterations = 7
            """
        )
        assert (study.title, study.name, study.backend) == ("Everything", "oral_drug", "xla")
        assert (study.model.F, study.model.tlag) == (0.8, 0.5)
        assert study.initial == {"central": 500.0}
        assert list(study.free) == ["ka", "CL", "V", "initial.gut"]
        assert study.free["ka"].bounds == pytest.approx((1 / 24, 2.0)) and study.free["ka"].start == 1.5
        assert study.free["CL"].prior == "model"
        assert study.free["V"].prior == Normal(30.0, 2.0)
        assert study.free["initial.gut"].start == pytest.approx(1000.0)
        noise = study.observables["c"].noise
        assert isinstance(noise, Combined) and (noise.sd, noise.fraction) == pytest.approx((0.1, 0.1))
        assert study.since == {"c": 0.5}
        assert (study.estimator.starts, study.estimator.seed, study.estimator.max_iterations) == (3, 5, 7)
        assert study.problem.method == Tsit5(rtol=1e-6, atol=1e-10, max_steps=500, max_step=0.5)
        assert study.problem.twin_names == ("1",)
        np.testing.assert_array_equal(study.problem.schedule.doses["dose"].amount, [[100.0]])

    def test_defaults(self, load):
        study = load(STUDY)
        assert study.title == "study" and study.observables["c"].noise == Additive() and study.backend == "auto"
        assert study.problem.method == Tsit5(rtol=1e-8, atol=1e-10)

    @pytest.mark.parametrize(
        "text,prior",
        [
            ('{ kind = "lognormal", median = "2 L/h", sd = 0.3 }', LogNormal(2.0, 0.3)),
            ('{ kind = "uniform", lower = "0 L/h", upper = "10 L/h" }', Uniform(0.0, 10.0)),
        ],
    )
    def test_priors(self, load, text, prior):
        assert load(STUDY.replace("[free.CL]", f"[free.CL]\nprior = {text}")).free["CL"].prior == prior

    def test_noise_by_name(self, load):
        study = load(STUDY.replace("[tables]", 'noise = "proportional"\n[tables]'))
        assert study.observables["c"].noise == Proportional()

    def test_an_observable_is_its_own_output(self, load):
        study = load(STUDY.replace('[observables.c]\noutput = "concentration"', "[observables.concentration]"))
        assert study.observables["concentration"].output == "concentration"

    def test_simulation_grid(self, load):
        study = load('model = "circulation"\n[simulate]\nuntil = "500 ms"\npoints = 6\ntwins = 3\nseed = 2', "simulate")
        np.testing.assert_allclose(study.simulation.times, np.linspace(0, 0.5, 6))
        assert len(study.twins) == 3 and study.twins.names == ("0", "1", "2")

    def test_what_is_known_is_not_drawn(self, load):
        known = 'model = "oral_drug"\n[parameters]\nCL = "10 L/h"\n[simulate]\nuntil = "1 h"\ntwins = 50\n'
        drawn = load(known, "simulate").twins
        assert set(drawn.columns) == {"ka", "V"} and len(drawn) == 50
        around = load(known + 'spread = 0.1\nvary = ["CL"]', "simulate").twins
        assert np.median(around.columns["CL"]) == pytest.approx(10.0, rel=0.05)
        # by the model's prior, which is around what the study says
        asked = load(known + 'vary = ["CL"]', "simulate").twins
        assert np.median(asked.columns["CL"]) == pytest.approx(10.0, rel=0.15) and len(set(asked.columns["CL"])) == 50

    def test_drawn_twins_do_not_take_the_doses_of_others(self, load):
        text = 'model = "oral_drug"\n[tables]\nschedule = "schedule.csv"\n[simulate]\nuntil = "1 h"\ntwins = 2\n'
        study = load(text, "simulate")
        with pytest.raises(InvalidStudy, match="doses or signals in the tables are those of other twins"):
            study.simulate()
        (study.path.parent / "schedule.csv").write_text("time [h],input,amount,unit\n0,dose,100,mg\n")
        found = load(text, "simulate").simulate()
        assert found.ok.all() and (np.asarray(found.values["gut"])[:, -1] > 10.0).all()

    def test_twins_in_which_nothing_varies(self, load):
        study = load('model = "oral_drug"\n[simulate]\nuntil = "1 h"\npoints = 2\ntwins = 3\nvary = []', "simulate")
        assert study.simulate().values["concentration"].shape == (3, 2)

    def test_simulation_of_a_table_of_twins(self, load, tmp_path):
        (tmp_path / "twins.csv").write_text("twin,V [L]\na,10\nb,20\n")
        text = 'model = "oral_drug"\n[simulate]\ntimes = ["60 min", "0 h"]\ntwins = "twins.csv"\nobserve = ["central"]'
        study = load(text + '\n[initial]\ncentral = "5 mg"', "simulate")
        trajectory = study.simulate()
        assert trajectory.names == ("a", "b")
        np.testing.assert_array_equal(trajectory.times, [0.0, 1.0])
        expected = 5.0 * np.exp(-2.8 / np.array([10.0, 20.0]))
        np.testing.assert_allclose(trajectory.values["central"][:, 1], expected, rtol=1e-6)

    def test_twins_are_listed_once(self, load, tmp_path):
        for name in ("twins.csv", "others.csv"):
            (tmp_path / name).write_text("twin,V [L]\na,10\nb,20\n")
        text = 'model = "oral_drug"\n[simulate]\nuntil = "1 h"\ntwins = "twins.csv"\n[tables]\ncovariates = '
        assert load(text + '"twins.csv"', "simulate").simulate().names == ("a", "b")
        with pytest.raises(InvalidStudy, match=r"simulate\.twins.*listed here and in `tables\.covariates` as well"):
            load(text + '"others.csv"', "simulate")

    def test_settings_are_plain_and_resolved(self, load):
        import json

        study = load(STUDY)
        settings = json.loads(json.dumps(study.settings(study.problem.method)))
        assert settings["solver"]["rtol"] == 1e-8
        assert settings["parameters"]["V"] == {"value": 32.0, "unit": "L"}


class TestProblems:
    def test_everything_at_once(self, problems):
        found = problems(
            """
            model = "oral_drug"
            titel = "x"
            [parameters]
            F = 1.0
            V = "40 kg"
            CX = "1 L/h"
            [free.ka]
            transform = "logg"
            [free.CL]
            bounds = ["3 L/h", "0.3 L/h"]
            [free.V]
            start = 5
            [observables.c]
            output = "concentratoin"
            [tables]
            measurements = "nothing.csv"
            [solver]
            rtol = -1
            """
        )
        assert set(found) == {
            "titel",
            "parameters.V",
            "parameters.CX",
            "free.ka.transform",
            "free.CL.bounds",
            "free.V.start",
            "observables.c.output",
            "tables.measurements",
            "solver.rtol",
        }
        assert "`title`" in found["titel"]
        assert "Did you mean `concentration`?" in found["observables.c.output"]
        assert "(3 L/h, 0.3 L/h)" in found["free.CL.bounds"]

    @pytest.mark.parametrize(
        "old,new,key,words",
        [
            ('"oral_drug"', '"oral_drag"', "model", ["no model `oral_drag`", "`oral_drug`", "vht models"]),
            ('model = "oral_drug"', "", "model", ["missing"]),
            ('model = "oral_drug"', 'model = "oral_drug"\nsolver = 3', "solver", ["a section"]),
            ("[free.CL]", "", "free", ["no free parameter"]),
            ("[free.CL]", "[fre.CL]", "fre", ["`free`"]),
            ("[free.CL]", "[free.CLL]", "free.CLL", ["Did you mean `CL`?"]),
            ("[free.CL]", "[free.CL]\nbound = [1, 2]", "free.CL.bound", ["`bounds`"]),
            ("[free.CL]", "[free.CL]\nbounds = [1]", "free.CL.bounds", ["a lower and an upper bound"]),
            ("[free.CL]", '[free.CL]\nbounds = ["1 L/h", "3 mL/h"]', "free.CL.bounds", ["increasing"]),
            ("[free.CL]", '[free.CL]\nbounds = ["1 L/h", "3 mmHg"]', "free.CL.bounds", ["(pressure)"]),
            ("[free.CL]", "[free.CL]\nstart = 3", "free.CL.start", ["needs its unit", '"3 L/h"']),
            ("[free.CL]", '[free.CL]\nstart = "3 L/hx"', "free.CL.start", ["`L/hx` is unknown"]),
            ("[free.CL]", '[free.CL]\nstart = "fast"', "free.CL.start", ['"fast"']),
            ("[free.CL]", '[free.CL]\ntransform = "log"\nstart = "-3 L/h"', "free.CL.start", ["positive"]),
            ("[free.CL]", '[free.CL]\nbounds = ["1 L/h", "2 L/h"]\nstart = "3 L/h"', "free.CL.start", ["between"]),
            ("[free.CL]", '[free.CL]\ntransform = "logit"', "free.CL.transform", ["finite `bounds`"]),
            ("[free.CL]", '[free.tlag]\nprior = "model"', "free.tlag.prior", ["no prior"]),
            ("[free.CL]", '[free.CL]\nprior = { kind = "normal", mean = "1 L/h" }', "free.CL.prior.sd", ["needs `sd`"]),
            ("[free.CL]", '[free.CL]\nprior = { kind = "normal", mena = 1 }', "free.CL.prior.mena", ["`mean`"]),
            (
                "[free.CL]",
                '[free.CL]\nprior = { kind = "normal", mean = "1 L/h", sd = "-1 L/h" }',
                "free.CL.prior",
                ["positive"],
            ),
            ("[free.CL]", '[parameters]\nCL = "2 L/h"\n[free.CL]', "parameters.CL", ["`start`"]),
            ("[observables.c]", "[observable.c]", "observable", ["`observables`"]),
            ("[tables]", "noise = { kind = 'additive', fraction = 0.1 }\n[tables]", "observables.c.noise.fraction", []),
            (
                "[tables]",
                "noise = { kind = 'additive', sd = '1 mmHg' }\n[tables]",
                "observables.c.noise.sd",
                ["pressure"],
            ),
            (
                "[tables]",
                "noise = { kind = 'additive', sd = '-1 mg/L' }\n[tables]",
                "observables.c.noise.sd",
                ["positive"],
            ),
            ("[tables]", "[inputs.dos]\n[tables]", "inputs.dos", ["`dose`"]),
            ('measurements = "measurements.csv"', "", "tables.measurements", ["nothing to calibrate"]),
            ('"schedule.csv"', '"sch.csv"', "tables.schedule", ["no file"]),
            ("[tables]", "[calibrate]\nstarts = 0\n[tables]", "calibrate.starts", ["at least 1"]),
            ("[tables]", "[calibrate]\nstarts = 1.5\n[tables]", "calibrate.starts", ["whole number"]),
            ("[tables]", "[solver]\nbackend = 'cuda'\n[tables]", "solver.backend", ['"lanes"']),
            ("[tables]", "[solver]\nrtol = 'small'\n[tables]", "solver.rtol", ["a number"]),
            ("[tables]", "[solver]\nmax_step = '1 mmHg'\n[tables]", "solver.max_step", ["pressure"]),
            ("[tables]", "[solver]\nmax_step = '0 h'\n[tables]", "solver.max_step", ["positive"]),
        ],
    )
    def test_one(self, problems, old, new, key, words):
        assert old in STUDY
        found = problems(STUDY.replace(old, new))
        assert key in found, found
        assert all(word in found[key] for word in words), found[key]

    @pytest.mark.parametrize(
        "text,key,word",
        [
            ("", "simulate", "until"),
            ("[simulate]", "simulate", "until"),
            ('[simulate]\nuntil = "1 h"\ntimes = ["1 h"]', "simulate", "either"),
            ('[simulate]\nuntil = "-1 h"', "simulate.until", "after the start"),
            ('[simulate]\nuntil = "1 kg"', "simulate.until", "(mass)"),
            ('[simulate]\ntimes = ["-1 h"]', "simulate.times", "negative"),
            ('[simulate]\ntimes = ["1 h"]\npoints = 3', "simulate.points", "leave `points` out"),
            ('[simulate]\nuntil = "1 h"\ntwins = 0', "simulate.twins", "at least one"),
            ('[simulate]\nuntil = "1 h"\ntwins = 100000000000000', "simulate.twins", "at most 100,000,000 twins"),
            ('[simulate]\nuntil = "1 h"\npoints = 100000000000', "simulate.points", "at most 10,000,000 points"),
            ('[simulate]\nuntil = "1 h"\n[solver]\nrtol = 0\natol = 0', "solver.rtol", "both be zero"),
            ('[simulate]\nuntil = "1 h"\ntwins = 1.5', "simulate.twins", "number of twins"),
            ('[simulate]\nuntil = "1 h"\ntwins = "none.csv"', "simulate.twins", "no file"),
            ('[simulate]\nuntil = "1 h"\ntwins = 2\nvary = ["tlag"]', "simulate.vary", "no prior"),
            ('[simulate]\nuntil = "1 h"\nobserve = ["gutt"]', "simulate.observe", "`gut`"),
        ],
    )
    def test_simulation(self, problems, text, key, word):
        assert word in problems(f'model = "oral_drug"\n{text}', "simulate")[key]

    def test_broken_toml(self, load):
        with pytest.raises(StudyError, match=r"study\.toml is no valid TOML: .*line 2"):
            load('model = "oral_drug"\n[free.CL\n')

    def test_no_file(self, tmp_path):
        with pytest.raises(StudyError, match="no study file"):
            load_study(tmp_path / "nothing.toml")

    def test_a_folder(self, tmp_path):
        with pytest.raises(StudyError, match="folder"):
            load_study(tmp_path)

    def test_no_text(self, tmp_path):
        (tmp_path / "s.toml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(StudyError, match="UTF-8"):
            load_study(tmp_path / "s.toml")

    def test_a_table_with_too_long_a_name(self, problems):
        found = problems(STUDY.replace("schedule.csv", "s" * 300))
        assert "cannot be read: File name too long." in found["tables.schedule"]

    def test_a_table_in_a_folder_that_is_shut(self, shut):
        study = shut.parent / "study.toml"
        study.write_text(STUDY.replace("schedule.csv", "shut/schedule.csv"))
        (shut.parent / "measurements.csv").write_text(MEASURED)
        with pytest.raises(
            InvalidStudy, match=r"`tables\.schedule`.*schedule\.csv cannot be read: Permission denied\."
        ):
            load_study(study, "calibrate")
