"""The command line: what it prints, its exit codes, and that bad input leaves nothing behind."""

import io
import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import xarray
from matplotlib.text import Text
from rich.console import Console
from typer.testing import CliRunner

import vht
from vht.calibrate import band
from vht.cli import app
from vht.cohort.load import load_study
from vht.library import catalogue, model
from vht.model import parameters
from vht.report import plots, runs
from vht.report.curve_times import curve_times
from vht.report.tables import model_tables, models_table

MEASURED = "twin,time [h],observable,value,unit\n" + "".join(
    f"{twin},{t},c,{value},mg/L\n"
    for twin, values in {"a": (1.9, 2.6, 2.4, 1.9, 1.2), "b": (1.1, 1.9, 2.0, 1.8, 1.5)}.items()
    for t, value in zip((0.5, 1.5, 3, 6, 12), values, strict=True)
)
DOSES = "twin,time [h],input,amount,unit\na,0,dose,100,mg\nb,0,dose,100,mg\n"
STUDY = """
title = "Two"
model = "oral_drug"
[free.ka]
[free.CL]
[free.V]
[observables.c]
output = "concentration"
[tables]
measurements = "measurements.csv"
schedule = "schedule.csv"
"""
SIMULATION = """
model = "oral_drug"
[initial]
central = "10 mg"
[simulate]
until = "5 h"
points = 3
twins = 4
vary = ["CL"]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a study, which is where the program runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "measurements.csv").write_text(MEASURED)
    (tmp_path / "schedule.csv").write_text(DOSES)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "simulation.toml").write_text(SIMULATION)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def calibrate(*more):
    return run("calibrate", "study.toml", "--out", "out", "--no-figures", *more)


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def broken(home, file, old, new):
    """Replace in a file, and return what then lies in the folder."""
    text = (home / file).read_text()
    assert old in text
    (home / file).write_text(text.replace(old, new, 1))
    return listing(home)


class TestCalibrate:
    def test_results(self, home):
        done = run("calibrate", "study.toml", "--out", "out")
        assert done.exit_code == 0, done.output
        assert "Two" in done.stdout and "2 of 2 twins ok" in done.stdout and done.stderr == ""
        out = home / "out"
        table = pyarrow.csv.read_csv(out / "estimates.csv")
        names = ["twin", "parameter", "estimate", "standard_error", "lower95", "upper95", "unit", "status"]
        assert table.column_names == names and table.num_rows == 6
        stored = pyarrow.parquet.read_table(out / "estimates.parquet")
        assert stored.to_pydict() == table.to_pydict()
        assert set(table["status"].to_pylist()) == {"ok"}
        rows = {(r["twin"], r["parameter"]): r for r in table.to_pylist()}
        assert rows["a", "CL"]["unit"] == "L/h" and rows["a", "CL"]["lower95"] < rows["a", "CL"]["estimate"]
        with xarray.open_zarr(out / "curves.zarr") as curves:
            assert curves["c"].attrs["units"] == "mg/L" and curves["time"].attrs["units"] == "h"
            assert (curves["c_lower"] <= curves["c"]).all() and (curves["c"] <= curves["c_upper"]).all()
        fitted = pyarrow.csv.read_csv(out / "fitted.csv")
        assert fitted.num_rows == 10
        np.testing.assert_allclose(fitted["fitted"], fitted["measured"], rtol=0.2)
        settings = json.loads((out / "settings.json").read_text())
        assert settings["solver"]["rtol"] == 1e-8 and settings["versions"]["vht"] == vht.__version__
        assert "gabrielsson2016" in settings["citations"]
        assert sorted(p.name for p in (out / "figures").iterdir()) == ["a.png", "b.png", "overview.png"]
        assert all(p.read_bytes().startswith(b"\x89PNG") for p in (out / "figures").iterdir())

    def test_json_is_all_there_is_on_standard_output(self, home):
        done = calibrate("--json")
        document = json.loads(done.stdout)
        assert done.exit_code == 0 and document["ok"] == 2 and document["out"] == "out"
        twin = document["twins"][0]
        assert (twin["twin"], twin["status"]) == ("a", "ok")
        assert twin["parameters"]["V"]["unit"] == "L" and twin["residuals"]["c"]["rmse"] > 0
        table = pyarrow.csv.read_csv(home / "out" / "estimates.csv").to_pylist()
        assert twin["parameters"]["ka"]["estimate"] == table[0]["estimate"]

    def test_quiet(self, home):
        done = calibrate("--quiet")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
        assert (home / "out" / "estimates.csv").exists()

    def test_no_twin_succeeds(self, home):
        # one measurement does not determine three parameters
        (home / "measurements.csv").write_text("twin,time [h],observable,value,unit\na,1,c,2,mg/L\nb,1,c,2,mg/L\n")
        done = calibrate()
        assert done.exit_code == 3 and "No twin succeeded" in done.stderr
        assert "too_few_measurements" in done.stdout
        twins = pyarrow.csv.read_csv(home / "out" / "twins.csv")
        assert set(twins["status"].to_pylist()) == {"too_few_measurements"}
        document = json.loads(calibrate("--overwrite", "--json").stdout)
        assert document["twins"][0]["parameters"]["ka"]["estimate"] is None

    def test_some_twins_succeed(self, home):
        (home / "measurements.csv").write_text("\n".join(MEASURED.splitlines()[:7]) + "\n")
        done = calibrate()
        assert done.exit_code == 0 and "1 of 2 twins ok" in done.stdout and "too_few_measurements" in done.stdout


class TestSimulate:
    def test_results(self, home):
        done = run("simulate", "simulation.toml", "--out", "out")
        assert done.exit_code == 0 and "4 of 4 twins ok" in done.stdout
        with xarray.open_zarr(home / "out" / "trajectories.zarr") as found:
            assert found["concentration"].attrs["units"] == "mg/L" and found["concentration"].shape == (4, 3)
            central, twins = found["central"].values, pyarrow.csv.read_csv(home / "out" / "twins.csv")
        rate = np.asarray(twins["CL [L/h]"]) / 32.0
        np.testing.assert_allclose(central, 10.0 * np.exp(-rate[:, None] * [0.0, 2.5, 5.0]), rtol=1e-5)
        assert (home / "out" / "figures" / "overview.png").exists()

    def test_json(self, home):
        done = run("simulate", "simulation.toml", "--out", "out", "--no-figures", "--json")
        document = json.loads(done.stdout)
        assert (document["twins"], document["ok"], document["failures"]) == (4, 4, [])

    def test_impossible_twins(self, home):
        (home / "twins.csv").write_text("twin,V [L]\nx,0\ny,0\n")
        broken(home, "simulation.toml", 'twins = 4\nvary = ["CL"]', 'twins = "twins.csv"')
        done = run("simulate", "simulation.toml", "--out", "out")
        assert done.exit_code == 3 and "non_finite" in done.stdout

    def test_values_outside_bounds_are_told_and_used(self, home):
        twins = "twin,CL [L/h],V [L]\nAda,3,32\nBob,-3,32\n"
        (home / "twins.csv").write_text(twins)
        broken(home, "simulation.toml", 'twins = 4\nvary = ["CL"]', 'twins = "twins.csv"\n[parameters]\nka = "99 1/h"')
        done = run("simulate", "simulation.toml", "--out", "out", "--no-figures")
        assert done.exit_code == 0
        assert "`ka` is 99, outside its bounds (0.05, 20) 1/h." in done.stderr
        assert "1 twin has `CL` outside its bounds (0.001, 500) L/h: Bob." in done.stderr
        assert "`V`" not in done.stderr
        assert run("simulate", "simulation.toml", "--out", "quiet", "--quiet").stderr == ""


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, in order."""
    figures, make = [], plots._figure

    def figure(width, height):
        figures.append(make(width, height))
        return figures[-1]

    monkeypatch.setattr(plots, "_figure", figure)
    return figures


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


class TestFigures:
    def test_files_have_names_of_their_own(self):
        same = ["A_B", "a/b", "a_b", "a_b-2", "p.1", "é" * 300, "é" * 299 + "x", "..", ""]
        stems = plots._stems(same)
        assert stems == ["A_B", "a_b-4", "a_b-3", "a_b-2", "p.1", "é" * 125, "é" * 124 + "-2", "_", "_-2"]
        assert all(len(f"{stem}.png".encode()) <= 255 for stem in stems)
        assert plots._stems(["C", "c/1", "c_1"], 3) == ["C", "c-2", "c_1"]

    def test_each_twin_has_its_file(self, home, drawn):
        long = "patient " * 38
        for file in ("measurements.csv", "schedule.csv"):
            header, *rows = (home / file).read_text().splitlines()
            a = [row.removeprefix("a") for row in rows if row.startswith("a")]
            names = ["overview", "a/b", "a_b", "A_B", "from $5 to $6 a day", long]
            (home / file).write_text("\n".join([header, *(name + row for name in names for row in a)]) + "\n")
        broken(home, "study.toml", '"Two"', "'costs $5 and \\frac $6'")
        done = run("calibrate", "study.toml", "--out", "out", "--json")
        assert done.exit_code == 0, done.stderr
        files = json.loads(done.stdout)["figures"]
        names = ["overview", "twin-overview", "a_b-3", "a_b", "A_B-2", "from_5_to_6_a_day"]
        assert files[:-1] == [f"figures/{name}.png" for name in names] and files[-1].startswith("figures/patient_")
        assert len(files[-1]) == len("figures/") + 255
        assert sorted(files) == sorted(f"figures/{file.name}" for file in (home / "out" / "figures").iterdir())
        titles = [figure.get_suptitle() for figure in drawn]
        assert titles[0] == "costs $5 and \\frac $6" and titles[2] == "costs $5 and \\frac $6: a/b"
        assert "from $5 to $6 a day" in texts(drawn[0]) and max(map(len, texts(drawn[0]))) < 40
        assert not any(text.get_parse_math() for figure in drawn for text in figure.findobj(Text))

    def test_one_measurement_and_no_fit(self, home, drawn):
        (home / "measurements.csv").write_text("twin,time [h],observable,value,unit\na,1,c,2,mg/L\nb,1,c,0,mg/L\n")
        study = load_study(home / "study.toml", "calibrate")
        calibration = study.calibrate()
        curves = band(study.problem, calibration, curve_times(study, calibration))
        plots.draw_calibration(home / "figures", study, calibration, curves)  # and nothing warns
        (low, high), (zero, one) = (axes.get_ylim() for axes in drawn[0].axes)
        assert 1 < low < 1.9 and 2.1 < high < 3 and -0.1 < zero < 0 and 1 < one < 2

    def test_all_measurements_left_out(self, home, drawn):
        broken(home, "study.toml", '"concentration"', '"concentration"\nsince = "1000 h"')
        done = run("calibrate", "study.toml", "--out", "out")
        assert done.exit_code == 3 and "no_measurements" in done.stdout
        assert (home / "out" / "estimates.csv").exists()
        assert "measured, left out" in texts(drawn[0]) and drawn[0].axes[0].get_xlim()[1] > 12

    def test_above_an_empty_place_is_a_time_axis(self, home, drawn):
        assert run("simulate", "simulation.toml", "--out", "out").exit_code == 0
        shown = [axes for axes in drawn[0].axes if axes.get_visible()]
        assert [axes.get_xlabel() for axes in shown] == ["", "time [h]", "time [h]"]
        ticks = [any(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks()) for axes in shown]
        assert ticks == [False, True, True] and not any("quantities" in text for text in texts(drawn[0]))

    def test_quantities_that_are_not_drawn(self, home, drawn):
        (home / "many.toml").write_text('model = "circulation"\n[simulate]\nuntil = "0.1 s"\npoints = 2\n')
        assert run("simulate", "many.toml", "--out", "out").exit_code == 0
        said = [text for text in texts(drawn[0]) if "quantities" in text]
        assert len(drawn[0].axes) == 12 and len(said) == 1 and said[0].startswith("the first 12 of 21 quantities")

    def test_no_twin_succeeds(self, home, drawn):
        (home / "twins.csv").write_text("twin,V [L]\nx,0\ny,0\n")
        broken(home, "simulation.toml", 'twins = 4\nvary = ["CL"]', 'twins = "twins.csv"')
        assert run("simulate", "simulation.toml", "--out", "out").exit_code == 3
        shown = [axes for axes in drawn[0].axes if axes.get_visible()]
        assert texts(drawn[0]).count("no twin succeeded") == len(shown) == 3
        assert all(axes.get_xlim() == (0, 5) for axes in shown)


class TestBadInput:
    """Each: exit code 2, the place named on standard error, and the folder as it was."""

    @pytest.mark.parametrize(
        "file,old,new,words",
        [
            pytest.param(
                "study.toml", 'model = "oral_drug"', 'model = "oral_drug', ["no valid TOML", "line 3"], id="toml"
            ),
            pytest.param("study.toml", "oral_drug", "orla_drug", ["`model`", "`oral_drug`"], id="model"),
            pytest.param("study.toml", "schedule.csv", "nothing.csv", ["`tables.schedule`", "nothing.csv"], id="file"),
            pytest.param("measurements.csv", "1.9,mg/L", "1.9,mgg/L", ["row 2", "`unit`", "`mgg/L`"], id="unit"),
            pytest.param(
                "measurements.csv", "1.9,mg/L", "1.9,kPa", ["row 2", "(pressure)", "(mass per vol"], id="dimension"
            ),
            pytest.param("measurements.csv", "a,1.5,", "a,0.5,", ["row 3", "row 2", "same twin, time"], id="duplicate"),
            pytest.param("measurements.csv", "2.6", "high", ["row 3", "`value`", "`high`"], id="not a number"),
            pytest.param("measurements.csv", "2.6", "nan", ["row 3", "`value`", "`nan`"], id="nan"),
            pytest.param(
                "measurements.csv", "a,0.5", "a,-0.5", ["row 2", "`time [h]`", "negative"], id="negative time"
            ),
            pytest.param("measurements.csv", ",c,", ",C,", ["row 2", "`observable`", "`c`"], id="observable"),
            pytest.param(
                "measurements.csv", MEASURED.split("\n", 1)[1], "", ["measurements.csv", "empty"], id="empty table"
            ),
            pytest.param("schedule.csv", "b,0,dose,100,mg\n", "", ["schedule.csv", "`twin`", "`b`"], id="missing twin"),
            pytest.param(
                "study.toml", "[free.ka]\n[free.CL]\n[free.V]", "", ["`free`", "no free parameter"], id="nothing free"
            ),
            pytest.param(
                "study.toml",
                "[free.CL]",
                '[free.CL]\nbounds = ["3 L/h", "0.3 L/h"]',
                ["`free.CL.bounds`", "increasing", "(3 L/h, 0.3 L/h)"],
                id="bounds reversed",
            ),
        ],
    )
    def test_one(self, home, file, old, new, words):
        before = broken(home, file, old, new)
        done = calibrate()
        assert done.exit_code == 2 and done.stdout == ""
        message = " ".join(done.stderr.split())
        assert message.startswith("error:") and "Traceback" not in message
        assert all(word in message for word in words), message
        assert listing(home) == before

    def test_mass_given_for_a_pressure(self, home):
        (home / "measurements.csv").write_text("twin,time [s],observable,value,unit\n1,1,p,80,mmHg\n1,2,p,80,kg\n")
        (home / "study.toml").write_text(
            'model = "circulation"\n[free.R_AR_SYS]\n[observables.p]\noutput = "p_AR_SYS"\n'
            '[tables]\nmeasurements = "measurements.csv"\n'
        )
        done = calibrate()
        assert done.exit_code == 2 and not (home / "out").exists()
        assert "row 3, column `unit`: `kg` (mass) cannot be converted to `mmHg` (pressure)" in done.stderr

    @pytest.mark.parametrize("command", ["calibrate", "simulate"])
    def test_no_study_file(self, home, command):
        done = run(command, "nothing.toml", "--out", "out")
        assert done.exit_code == 2 and "no study file nothing.toml" in done.stderr and not (home / "out").exists()

    def test_everything_at_once(self, home):
        broken(home, "measurements.csv", "2.6", "high")
        broken(home, "measurements.csv", "b,12,", "b,-12,")
        broken(home, "schedule.csv", "b,0,dose,100,mg", "b,0,dose,100,mL")
        done = calibrate("--json")
        assert done.exit_code == 2
        places = [(p["file"], p["row"], p["column"]) for p in json.loads(done.stdout)["problems"]]
        assert places == [
            ("measurements.csv", 3, "value"),
            ("measurements.csv", 11, "time [h]"),
            ("schedule.csv", 3, "unit"),
        ]

    def test_study_problems_as_json(self, home):
        broken(home, "study.toml", "[free.CL]", "[free.CLX]")
        document = json.loads(calibrate("--json").stdout)
        assert [p["key"] for p in document["problems"]] == ["free.CLX"]

    def test_problems_between_study_and_model(self, home):
        # a measured input without values: only the solver would notice
        (home / "study.toml").write_text(
            'model = "minimal_glucose"\n[free.S_G]\n[observables.c]\noutput = "glucose"\n'
            '[tables]\nmeasurements = "measurements.csv"\n'
        )
        (home / "measurements.csv").write_text(MEASURED.replace("[h]", "[min]"))
        done = calibrate()
        assert done.exit_code == 2 and "`insulin`" in done.stderr and not (home / "out").exists()

    def test_unknown_option(self, home):
        assert calibrate("--fast").exit_code == 2

    def test_unknown_model_to_show(self):
        done = run("models", "oral_drg")
        assert done.exit_code == 2 and "`oral_drug`" in done.stderr


class TestOutput:
    def test_an_earlier_result_is_kept(self, home, monkeypatch):
        assert calibrate("--quiet").exit_code == 0
        before = (home / "out" / "settings.json").read_bytes()
        monkeypatch.setattr(runs, "run_calibration", pytest.fail)  # refused before anything is computed
        done = calibrate()
        assert done.exit_code == 2 and "--overwrite" in done.stderr
        assert (home / "out" / "settings.json").read_bytes() == before

    def test_unless_overwrite(self, home):
        assert calibrate("--quiet").exit_code == 0
        broken(home, "study.toml", '"Two"', '"Second"')
        assert calibrate("--overwrite").exit_code == 0
        assert json.loads((home / "out" / "settings.json").read_text())["title"] == "Second"
        assert {p.name for p in home.iterdir()} == {
            "measurements.csv",
            "schedule.csv",
            "study.toml",
            "simulation.toml",
            "out",
        }

    def test_bad_input_keeps_an_earlier_result(self, home):
        assert calibrate("--quiet").exit_code == 0
        before = broken(home, "measurements.csv", "2.6", "high")
        assert calibrate("--overwrite").exit_code == 2
        assert listing(home) == before

    @pytest.mark.parametrize(
        "error,code,word",
        [
            (RuntimeError("boom"), 1, "--debug"),
            (KeyboardInterrupt(), 130, "Interrupted"),
            (OSError(28, "No space"), 2, "Free"),
        ],
    )
    def test_failure_half_way(self, home, monkeypatch, error, code, word):
        before = listing(home)

        def fails(*_, **__):
            raise error

        monkeypatch.setattr("vht.cohort.store.write_settings", fails)  # the last file
        done = calibrate()
        assert done.exit_code == code and word in done.stderr and "Traceback" not in done.stderr
        assert listing(home) == before

    def test_debug_shows_where(self, home, monkeypatch):
        monkeypatch.setattr("vht.cohort.store.write_settings", lambda *_, **__: 1 / 0)
        done = calibrate("--debug")
        assert done.exit_code == 1 and "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


class TestModels:
    def test_list(self):
        done = run("models")
        assert done.exit_code == 0 and all(
            name in done.stdout for name in ("circulation", "minimal_glucose", "oral_drug")
        )

    def test_one(self):
        done = run("models", "oral_drug")
        assert done.exit_code == 0 and "absorption rate" in done.stdout and "1/h" in done.stdout

    @pytest.mark.parametrize("width", [60, 200])
    def test_nothing_is_lost_in_a_narrow_terminal(self, width):
        for name in ("metabolic", "cardio_renal"):
            shown = Console(width=width, file=io.StringIO())
            for table in model_tables(name, model(name), width):
                shown.print(table)
            text = shown.file.getvalue()
            assert "…" not in text and all(parameter in text for parameter in parameters(model(name)))
        shown = Console(width=width, file=io.StringIO())
        shown.print(models_table("All", catalogue(), width))
        text = " ".join(shown.file.getvalue().split())
        assert "…" not in text and all(name in text for name in catalogue())

    def test_a_picture_in_a_file_with_brackets(self, tmp_path):
        done = run("models", "metabolic", "--draw", str(tmp_path / "a[b].svg"))
        assert done.exit_code == 0 and "a[b].svg" in done.stdout.replace("\n", "") and (tmp_path / "a[b].svg").is_file()

    def test_json(self):
        found = json.loads(run("models", "--json").stdout)
        assert found["oral_drug"]["parameters"]["ka"]["unit"] == "1/h"
        assert found["oral_drug"]["inputs"]["dose"]["unit"] == "mg/h"
        assert list(json.loads(run("models", "circulation", "--json").stdout)) == ["circulation"]


class TestHelp:
    def test_version(self):
        assert run("--version").stdout.strip() == f"vht {vht.__version__}"

    @pytest.mark.parametrize("command", ["calibrate", "simulate", "models", "demo"])
    def test_help_shows_an_example(self, command):
        done = run(command, "--help")
        assert done.exit_code == 0 and "Example: vht" in done.stdout
