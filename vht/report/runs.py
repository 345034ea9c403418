"""Whole runs, as the command line and the demo do them: compute, draw, write, and what there is to show."""

from __future__ import annotations

import math
import pathlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vht.cohort.store import write_calibration, write_simulation
from vht.report import plots, tables
from vht.report.console import Console
from vht.report.curve_times import curve_times

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vht.calibrate import Calibration
    from vht.cohort.study import Study
    from vht.model import Twins, Variable
    from vht.solve import Trajectory

DRAWN = 60
"""Most twins of which figures are drawn without being asked for."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a run gave.

    Attributes:
        document: for programs.
        success: whether at least one twin has a result.
        result: calibration or trajectory.
        tables: for people.
        files: figures, relative to the run's folder.
    """

    document: dict[str, Any]
    success: bool
    result: Any
    tables: list[RenderableType]
    files: list[str] = field(default_factory=list)


def run_calibration(study: Study, folder: pathlib.Path, console: Console, *, figures: bool | None = None) -> Run:
    """Calibrate a study and write the result into a folder.

    Args:
        study: to calibrate.
        folder: where to write; see `vht.cohort.new_result`.
        console: whom to tell.
        figures: draw the fits; by default if there are not too many twins.

    Raises:
        VhtError: the study's tables or its problem are not well formed.
    """
    from vht.calibrate import CalibrationStatus, band

    with console.running():
        with console.stage("Reading tables"):
            problem = study.problem
            _warn_of_bounds(study, study.tabled, console)
        with console.stage("Fitting") as move:
            calibration = study.calibrate(progress=move)
        with console.stage("Drawing curves"):
            times = curve_times(study, calibration)
            curves = band(problem, calibration, times, backend=study.backend, device=study.device)
        files = []
        if figures or (figures is None and len(calibration) <= DRAWN):
            with console.stage("Drawing figures") as move:
                drawn = plots.draw_calibration(folder / "figures", study, calibration, curves, move)
                files = [str(file.relative_to(folder)) for file in drawn]
        with console.stage("Writing"):
            write_calibration(folder, study, calibration, curves)
    shown = _tables(tables.calibration_table(study.title, calibration), calibration)
    success = any(CalibrationStatus(code).has_estimate for code in calibration.status.tolist())
    return Run(_calibration_document(study, calibration), success, calibration, shown, files)


def run_simulation(study: Study, folder: pathlib.Path, console: Console, *, figures: bool | None = None) -> Run:
    """Simulate a study and write the result into a folder.

    Args:
        study: to simulate.
        folder: where to write; see `vht.cohort.new_result`.
        console: whom to tell.
        figures: draw an overview; by default, yes.

    Raises:
        VhtError: the study's tables are not well formed.
    """
    with console.running():
        with console.stage("Reading tables"):
            _warn_of_bounds(study, study.twins, console)
        began = time.perf_counter()
        with console.stage("Simulating") as move:
            trajectory = study.simulate(progress=move)
        seconds = time.perf_counter() - began
        files = []
        if figures is not False:
            with console.stage("Drawing figures"):
                drawn = plots.draw_simulation(folder / "figures", study, trajectory)
                files = [str(file.relative_to(folder)) for file in drawn]
        with console.stage("Writing"):
            write_simulation(folder, study, trajectory, seconds)
    shown = _tables(tables.simulation_table(study.title, trajectory, seconds), trajectory)
    return Run(_simulation_document(study, trajectory, seconds), bool(trajectory.ok.any()), trajectory, shown, files)


def _tables(main: RenderableType, result: Calibration | Trajectory) -> list[RenderableType]:
    failures = tables.failure_table(result.failures())
    return [main] if failures is None else [main, failures]


def _warn_of_bounds(study: Study, twins: Twins, console: Console) -> None:
    """A number that no body has is no error, since its twin harms no other; but it may well be a slip."""
    from vht.model import Twins, parameters

    known = parameters(study.model)
    fixed = Twins(
        study.model, {name: [float(getattr(study.model, name))] for name in known if name not in twins.columns}
    )
    for name in fixed.outside_bounds():
        console.warn(f"`{name}` is {fixed.columns[name][0]:g}, outside its bounds {_bounds(known[name])}.")
    for name, which in twins.outside_bounds().items():
        some = ", ".join(twins.names[i] for i in which[:5]) + (", ..." if len(which) > 5 else "")
        who = f"{len(which)} twins have" if len(which) > 1 else "1 twin has"
        console.warn(f"{who} `{name}` outside its bounds {_bounds(known[name])}: {some}.")


def _bounds(variable: Variable) -> str:
    low, high = variable.bounds or (-math.inf, math.inf)
    return f"({low:g}, {high:g}) {variable.unit}"


def _calibration_document(study: Study, calibration: Calibration) -> dict[str, Any]:
    from vht.calibrate import CalibrationStatus

    lower, upper = calibration.interval(0.95)
    twins = []
    for i, name in enumerate(calibration.twins):
        status = CalibrationStatus(int(calibration.status[i]))
        parameters = {
            parameter: {
                "estimate": calibration.estimate[i, k],
                "standard_error": calibration.standard_error[i, k],
                "lower95": lower[i, k],
                "upper95": upper[i, k],
                "unit": calibration.units[k],
            }
            for k, parameter in enumerate(calibration.parameters)
        }
        residuals = {
            observable: {
                "rmse": calibration.rmse[i, o],
                "sd": calibration.sd[i, o],
                "fraction": calibration.fraction[i, o],
                "unit": calibration.observable_units[o],
            }
            for o, observable in enumerate(calibration.observables)
        }
        twins.append(
            {
                "twin": name,
                "status": status.label,
                "message": calibration.message(i),
                "parameters": parameters,
                "residuals": residuals,
                "objective": calibration.objective[i],
            }
        )
    ok = int(calibration.ok.sum())
    return {"study": study.title, "model": study.name, "seconds": calibration.seconds, "ok": ok, "twins": twins}


def _simulation_document(study: Study, trajectory: Trajectory, seconds: float) -> dict[str, Any]:
    return {
        "study": study.title,
        "model": study.name,
        "seconds": seconds,
        "method": type(trajectory.settings.method).__name__,
        "chosen": trajectory.settings.note,
        "backend": trajectory.settings.backend,
        "device": trajectory.settings.device,
        "twins": len(trajectory.status),
        "ok": int(trajectory.ok.sum()),
        "failures": [{"twin": f.name, "status": f.status, "message": f.message} for f in trajectory.failures()],
    }
