"""The demo, run once as a user runs it, and held against SciPy on the same data."""

import errno
import itertools
import json
import shutil

import numpy as np
import pyarrow.csv
import pytest
import xarray
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares
from typer.testing import CliRunner

from vht.cli import app


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of the demo's results and the document it prints."""
    out = tmp_path_factory.mktemp("demo") / "first"
    done = CliRunner().invoke(app, ["demo", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def columns(path):
    table = pyarrow.csv.read_csv(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def test_theophylline_agrees_with_least_squares_on_the_closed_form(demo):
    out, document = demo
    home = out / "studies" / "theophylline"
    measured, doses = columns(home / "measurements.csv"), columns(home / "schedule.csv")

    def concentration(log_parameters, time, dose):
        ka, cl, v = np.exp(log_parameters)
        k = cl / v
        return dose * ka / (v * (ka - k)) * (np.exp(-k * time) - np.exp(-ka * time))

    assert len(document["theophylline"]["twins"]) == 12
    for twin in document["theophylline"]["twins"]:
        rows = measured["twin"] == int(twin["twin"])
        time, value = measured["time [h]"][rows], measured["value"][rows]
        dose = doses["amount"][doses["twin"] == int(twin["twin"])][0]
        fit = least_squares(
            lambda p, time=time, value=value, dose=dose: concentration(p, time, dose) - value,
            np.log([1.5, 2.8, 32.0]),
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        found = twin["parameters"]
        np.testing.assert_allclose([found[n]["estimate"] for n in ("ka", "CL", "V")], np.exp(fit.x), rtol=1e-4)
        # the standard errors of non-linear regression, by the delta method
        variance = 2 * fit.cost / (len(value) - 3)
        expected = np.exp(fit.x) * np.sqrt(variance * np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
        np.testing.assert_allclose([found[n]["standard_error"] for n in ("ka", "CL", "V")], expected, rtol=1e-3)
        assert twin["residuals"]["concentration"]["rmse"] == pytest.approx(np.sqrt(2 * fit.cost / len(value)), rel=1e-6)


def test_fsigt_agrees_with_least_squares_and_with_the_literature(verified, demo):
    out, document = demo
    home = out / "studies" / "fsigt"
    glucose, insulin = columns(home / "measurements.csv"), columns(home / "signals.csv")
    used = glucose["time [min]"] >= 8
    time, value = glucose["time [min]"][used], glucose["value"][used]

    # from break to break of the insulin line: a step across one leaves noise in which least squares stops early
    breaks = np.union1d(insulin["time [min]"], time)

    def residual(log_parameters):
        s_g, p2, s_i, g0 = np.exp(log_parameters)

        def rates(t, x):
            i = np.interp(t, insulin["time [min]"], insulin["value"])
            return [-(s_g + x[1]) * x[0] + s_g * 92.0, -p2 * x[1] + p2 * s_i * (i - 11.0)]

        x, at_breaks = [g0, 0.0], []
        for a, b in itertools.pairwise(breaks):
            at_breaks.append(x[0])
            x = solve_ivp(rates, (a, b), x, method="DOP853", rtol=1e-10, atol=1e-10).y[:, -1]
        return np.array([*at_breaks, x[0]])[np.isin(breaks, time)] - value

    fit = least_squares(residual, np.log([0.02, 0.02, 7e-4, 280.0]), x_scale="jac", xtol=1e-10, diff_step=1e-5)
    (twin,) = document["fsigt"]["twins"]
    found = [twin["parameters"][name]["estimate"] for name in ("S_G", "p2", "S_I", "G0")]
    np.testing.assert_allclose(found, [0.01888, 0.02142, 8.071e-4, 261.2], rtol=1e-3)
    verified(
        "minimal_glucose",
        "S_G, p2, S_I and G0 fitted to an intravenous glucose tolerance test, largest relative difference",
        "SciPy's least squares, data of Pacini and Bergman 1986: 0.01888, 0.02142 1/min, 8.071e-4 mL/(uU min), 261.2 mg/dL",
        reached=np.abs(np.array(found) / np.exp(fit.x) - 1.0).max(),
        within=1e-3,
    )
    assert twin["residuals"]["glucose"]["rmse"] == pytest.approx(3.62, abs=0.005)


def test_the_virtual_cohort(demo):
    out, document = demo
    found = document["circulation"]
    assert found["twins"] == found["ok"] == 4096 and found["twins_per_second"] > 0
    with xarray.open_zarr(out / "circulation" / "trajectories.zarr") as trajectories:
        assert trajectories["p_LV"].shape == (4096, 401)
        assert trajectories["time"].values[[0, -1]].tolist() == [0.0, 10.0]


def test_every_fit_is_drawn(demo):
    out, _ = demo
    assert {p.name for p in (out / "theophylline" / "figures").iterdir()} == {
        "overview.png",
        *(f"{twin}.png" for twin in range(1, 13)),
    }
    assert {p.name for p in (out / "fsigt" / "figures").iterdir()} == {"subject.png"}
    assert (out / "circulation" / "figures" / "overview.png").stat().st_size > 10_000


def test_it_takes_the_paths_of_a_study_of_ones_own(demo, tmp_path):
    out, document = demo
    study = out / "studies" / "fsigt" / "study.toml"
    done = CliRunner().invoke(
        app, ["calibrate", str(study), "--out", str(tmp_path / "again"), "--json", "--no-figures"]
    )
    assert json.loads(done.stdout)["twins"] == document["fsigt"]["twins"]


def test_studies_to_edit(tmp_path):
    done = CliRunner().invoke(app, ["demo", "--studies", str(tmp_path / "mine")])
    assert done.exit_code == 0 and "vht calibrate" in done.stdout
    assert (tmp_path / "mine" / "theophylline" / "study.toml").exists() and (tmp_path / "mine" / "SOURCES.md").exists()
    again = CliRunner().invoke(app, ["demo", "--studies", str(tmp_path / "mine")])
    assert again.exit_code == 2 and "is there already" in again.stderr


def test_studies_on_a_full_disk(tmp_path, monkeypatch):
    copies, copy = [], shutil.copyfile

    def fills(source, target):
        copies.append(copy(source, target))
        if len(copies) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fills)
    command = ["demo", "--studies", str(tmp_path / "new" / "mine")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and "cannot be written: No space left on device." in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(app, command).exit_code == 0
    names = {"SOURCES.md", "circulation", "fsigt", "theophylline"}
    assert {p.name for p in (tmp_path / "new" / "mine").iterdir()} == names


def test_studies_in_a_folder_that_is_shut(shut):
    done = CliRunner().invoke(app, ["demo", "--studies", str(shut / "mine")])
    assert done.exit_code == 2 and "cannot be written: Permission denied." in " ".join(done.stderr.split())


def test_in_a_folder_that_is_shut(shut, monkeypatch):
    shut.chmod(0o700)
    monkeypatch.chdir(shut)
    shut.chmod(0)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 2 and "vht-demo cannot be written: Permission denied." in done.stderr


def test_studies_in_a_folder_with_brackets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo", "--studies", "x[/b]y:heart:"])
    assert done.exit_code == 0 and "Copied to x[/b]y:heart:. Try" in done.stdout


def test_the_default_folder_is_numbered(tmp_path, monkeypatch):
    from vht.demo.demo import _default_folder

    monkeypatch.chdir(tmp_path)
    assert str(_default_folder(False)) == "vht-demo"
    (tmp_path / "vht-demo").mkdir()
    (tmp_path / "vht-demo-2").mkdir()
    assert str(_default_folder(False)) == "vht-demo-3"
    assert str(_default_folder(True)) == "vht-demo"


def test_an_earlier_demo_is_kept(demo):
    out, _ = demo
    done = CliRunner().invoke(app, ["demo", "--out", str(out)])
    assert done.exit_code == 2 and "--overwrite" in done.stderr
