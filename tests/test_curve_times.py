"""Fitted curves: the times at which they are drawn and stored, and how they look."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from typer.testing import CliRunner

from vht.calibrate import Measurements
from vht.cli import app
from vht.library import model
from vht.report import curve_times as module
from vht.report import plots
from vht.report.curve_times import curve_times
from vht.solve import Doses, Schedule, Signal

CL, V = 10.0, 20.0


def times_of(measured, schedule=None, lag=None, columns=None):
    """The times of twins measured at times of their own, of a drug with a lag when it is taken by mouth."""
    names = tuple(map(str, range(len(measured))))
    at = np.concatenate([np.asarray(times, float) for times in measured])
    twin = np.repeat(np.arange(len(measured)), [len(times) for times in measured])
    backwards = np.arange(at.size)[::-1]  # the rows of a table stand in any order
    table = Measurements(twin[backwards], at[backwards], ["c"] * at.size, np.ones(at.size))
    problem = SimpleNamespace(start=0.0, schedule=schedule, columns=columns or {})
    everything = SimpleNamespace(measurements=table, twins=names)
    free = () if lag is None else ("tlag",)
    estimate = np.reshape([] if lag is None else lag, (len(names), len(free)))
    study = SimpleNamespace(model=model("oral_drug"), problem=problem, everything=everything)
    calibration = SimpleNamespace(twins=names, parameters=free, estimate=estimate)
    found = curve_times(study, calibration)  # type: ignore[arg-type]
    assert (np.diff(found, axis=1) >= 0).all()
    return found


def concentration(t, doses):
    """After boluses of 100 mg; at the very time of one, before it."""
    return sum(np.where(t > d, 100 / V * np.exp(-CL / V * np.maximum(t - d, 0.0)), 0.0) for d in doses)


class TestTimes:
    def test_every_dose_and_measurement_is_met(self):
        doses = np.arange(0.0, 720.0, 24.0)
        measured = np.concatenate([[0.25, 1, 2, 4, 8], 696 + np.array([0.25, 0.5, 1, 2, 4, 8])])
        (times,) = times_of([measured], Schedule({"dose": Doses(doses, np.full(30, 100.0))}))
        assert np.isin(measured, times).all() and np.isin(doses, times).all()
        curve, fine = concentration(times, doses), np.linspace(0.0, 704.0, 100_001)
        np.testing.assert_allclose(np.interp(doses + 1e-5, times, curve), concentration(doses + 1e-5, doses), rtol=1e-4)
        error = np.interp(fine, times, curve) - concentration(fine, doses)
        assert abs(error).max() < 0.02 * 100 / V

    def test_after_one_dose_of_a_long_time(self):
        (times,) = times_of([[1000.0]], Schedule({"dose": Doses([0.0], [100.0])}))
        fine = np.linspace(0.01, 1000.0, 100_001)
        error = np.interp(fine, times, concentration(times, [0.0])) - concentration(fine, [0.0])
        assert abs(error).max() < 0.01 * 100 / V

    def test_each_twin_as_long_as_it_was_measured(self):
        short, long, only_start = times_of([[0.25, 4], [100, 1000], [0]])
        assert (short[0], short[-1]) == (0, 4) and long[-1] == 1000
        assert only_start[-1] == 1000  # as long as the cohort
        assert times_of([[0.0]])[0, -1] == 1

    @pytest.mark.parametrize("settings", [{"lag": [0.5, np.nan]}, {"columns": {"tlag": np.array([0.5, 0.25])}}])
    def test_doses_arrive_and_end_by_the_lag_of_each(self, settings):
        given = Doses([[1.0, 5.0], [1.0, np.inf]], np.ones((2, 2)), [[0.0, 2.0], [4.0, 0.0]])
        found = times_of([[10], [10]], Schedule({"dose": given}), **settings)

        def met(row):
            at = np.flatnonzero(np.diff(row) < 2e-8)  # then and just after
            return row[at][np.diff(row)[at] > 0]

        assert met(found[0]).tolist() == [1.5, 5.5, 7.5]
        assert met(found[1]).tolist() == ([1.25, 5.25] if "columns" in settings else [])

    def test_values_of_measured_inputs(self):
        hold = Signal([[0.0, 1.5, 3.25], [0.0, 1.75, np.inf]], np.ones((2, 3)), "hold")
        for row, knot in zip(times_of([[4], [4]], Schedule({}, {"dose": hold})), (1.5, 1.75), strict=True):
            place = int(np.searchsorted(row, knot))
            assert row[place] == knot and 0 < row[place + 1] - knot < 1e-8

    def test_very_many_of_all(self):
        knots, doses = np.sort(np.random.default_rng(0).uniform(0, 24, (2, 100_000))), np.linspace(0, 24, 5000)
        many = Schedule({"dose": Doses(doses, doses)}, {"dose": Signal(knots, np.zeros(knots.shape))})
        found = times_of([np.linspace(0, 24, 4000)] * 2, many)
        assert found.shape == (2, module.MOST) and np.diff(found).max() < 24 / 100
        assert min(np.isin(doses, row).sum() for row in found) > 200
        assert min(np.isin(knots[i], row).sum() for i, row in enumerate(found)) > 30

    def test_fewer_each_of_a_large_cohort(self):
        assert times_of([[24.0]] * 800).shape == (800, module.ALL // 800)
        assert times_of([[24.0]] * 2000).shape == (2000, module.FEWEST)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A result's folder and its figures: overview pages of two observables, then twins followed for 4 h, 1000 h and once."""
    home, figures, make = tmp_path_factory.mktemp("study"), [], plots._figure
    rows = [("short", t, "c", 5 * np.exp(-0.5 * t), "mg/L") for t in (0.25, 0.5, 1, 2, 4)]
    rows += [("long", t, "c", 5 * np.exp(-0.002 * t), "mg/L") for t in (100, 300, 600, 1000)]
    rows += [("short", 3, "a", 22.3, "mg"), ("long", 4, "a", 99.2, "mg"), ("once", 1, "c", 5, "mg/L")]
    table = "".join(f"{twin},{t},{name},{value:.6g},{unit},0.1\n" for twin, t, name, value, unit in rows)
    (home / "measured.csv").write_text("twin,time [h],observable,value,unit,sd\n" + table)
    (home / "given.csv").write_text("time [h],input,amount [mg]\n0,iv,100\n")
    (home / "study.toml").write_text(
        'model = "drug_1"\n[free.CL]\nstart = "1 L/h"\n[free.V]\n[observables.c]\noutput = "concentration"\n'
        'since = "0.4 h"\n[observables.a]\noutput = "central"\n'
        f'[tables]\nmeasurements = "{home}/measured.csv"\nschedule = "{home}/given.csv"\n'
    )

    def figure(width, height):
        figures.append(make(width, height))
        return figures[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_figure", figure)
        done = CliRunner().invoke(app, ["calibrate", str(home / "study.toml"), "--out", str(home / "out")])
    assert done.exit_code == 0, done.output
    return home / "out", figures


class TestDrawn:
    def test_the_curve_passes_through_its_points(self, drawn):
        for axes in drawn[1][0].axes[:2]:
            (curve,) = (line for line in axes.lines if line.get_label() == "fitted curve")
            (points,) = (line for line in axes.lines if line.get_label() == "measured")
            t, value = points.get_data()
            np.testing.assert_allclose(np.interp(t, *curve.get_data()), value, rtol=0.02)

    def test_no_gap_where_measurements_begin_to_count(self, drawn):
        curve, early = (line for line in drawn[1][0].axes[0].lines if line.get_marker() == "None")
        assert early.get_xdata()[-1] == curve.get_xdata()[0] and early.get_xdata()[-2] < 0.4 <= curve.get_xdata()[0]

    def test_each_twin_has_an_axis_as_long_as_itself(self, drawn):
        for axes, last in zip(drawn[1][0].axes, (4, 1000, 1), strict=False):
            assert axes.get_xlim() == pytest.approx((-0.02 * last, 1.02 * last))
            assert any(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks())

    def test_no_ticks_where_nothing_is_drawn(self, drawn):
        assert [bool(len(axes.get_yticks())) for axes in drawn[1][1].axes[:3]] == [True, True, False]

    def test_the_legend_covers_nothing(self, drawn):
        for figure in drawn[1][2:]:
            figure.draw_without_rendering()
            legend = figure.axes[0].get_legend().get_window_extent()
            assert not any(legend.overlaps(axes.get_window_extent()) for axes in figure.axes)

    def test_stored_curves_say_what_their_times_are(self, drawn):
        with xarray.open_zarr(drawn[0] / "curves.zarr") as curves:
            assert curves["time"].dims == ("twin", "save") and "own times" in curves["time"].attrs["comment"]
            assert curves["time"].values.max(axis=1).tolist() == [4, 1000, 1]
            short = curves.sel(twin="short")
            at = np.searchsorted(short["time"].values, [0.5, 1, 2])
            np.testing.assert_allclose(short["c"].values[at], 5 * np.exp(-0.5 * np.array([0.5, 1, 2])), rtol=0.02)
