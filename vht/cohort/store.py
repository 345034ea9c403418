"""Results out: estimates as CSV and Parquet, trajectories as Zarr, and the settings that made them.

A result is a folder. It is written under another name and takes its place when it is complete, so that at any moment its
place holds a whole result or what was there before; `vht.drafts` says where that cannot be had.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import pathlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.drafts import KeptError, draft, is_filled
from vht.errors import StudyError
from vht.library import bibtex

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray

    from vht.calibrate import Band, Calibration
    from vht.cohort.study import Study
    from vht.solve import Method, Trajectory

MARKER = ".vht-result"
"""The file that says that a folder is a result of ours, and which of its files are."""


def check_output(path: str | pathlib.Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that a result may not be written to, before anything is computed.

    Args:
        path: of the folder.
        overwrite: whether an earlier result may be replaced.

    Raises:
        StudyError: a file is there, an earlier result (without `overwrite`), anything that is not ours, or no permission.
    """
    path = pathlib.Path(path)
    try:
        if path.is_dir():
            _check_content(path, path, overwrite)
        elif path.exists() or path.is_symlink():
            raise StudyError(f"{path} is a file: choose a folder for the results.")
        place = path.resolve()
        above = place if is_filled(place) else next(folder for folder in place.parents if folder.exists())
        if not above.is_dir():
            raise StudyError(f"{path} cannot be made: {above} is a file.")
        if not os.access(above, os.W_OK | os.X_OK):
            raise StudyError(f"{path} cannot be written: no permission in {above}.")
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror or error}.") from error


def _check_content(folder: pathlib.Path, path: pathlib.Path, overwrite: bool, but: str | None = None) -> None:
    """Refuse what a folder holds.

    Args:
        folder: to look into.
        path: how messages name it.
        overwrite: whether it may be an earlier result.
        but: name of what is not looked at.
    """
    if MARKER not in (names := set(os.listdir(folder)) - {but}):
        if names:
            raise StudyError(
                f"{path} is not empty and no result of vht (it holds `{min(names)}`): choose another folder."
            )
        return
    if not overwrite:
        raise StudyError(f"{path} holds an earlier result: choose another folder, or replace it with `--overwrite`.")
    content = _content(folder, but)
    foreign = content - {MARKER} - _written(folder, content)
    if foreign:
        raise StudyError(f"{path} holds `{min(foreign)}`, which vht did not write: move it, or choose another folder.")


def _content(path: pathlib.Path, but: str | None = None) -> set[str]:
    """All files and folders in a folder and below, but for one and what is in it."""

    def fails(error: OSError) -> None:
        raise error

    found = set()
    for folder, folders, files in os.walk(path, onerror=fails):
        here = pathlib.Path(folder)
        folders[:] = [name for name in folders if here != path or name != but]
        found.update((here / name).relative_to(path).as_posix() for name in (*folders, *files))
    return found


def _written(path: pathlib.Path, content: set[str]) -> set[str]:
    """What of a result's content its marker says is ours."""
    try:
        marker = json.loads((path / MARKER).read_text("utf-8"))
        files = set(marker["files"])
        # vht once listed files and folders at the top only
        return files if marker.get("deep") else {name for name in content if name.split("/")[0] in files}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextlib.contextmanager
def new_result(path: str | pathlib.Path, *, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """A folder to write a result into; it takes its place when the block ends well, and is gone when it does not.

    Args:
        path: where the result goes; folders above it are made.
        overwrite: whether an earlier result may be replaced, which happens when the new one is complete.

    Yields:
        The folder to write to.

    Raises:
        StudyError: see `check_output`; or the disk is full, or does not let us write. What `check_output` checks is checked
            once more in the end, since others may write there meanwhile; a result that is refused then is kept under another
            name, and the message says where.
    """
    check_output(path, overwrite=overwrite)
    path = pathlib.Path(path)

    def check(there: pathlib.Path) -> None:
        _check_content(there, path, overwrite, but=folder.name)

    try:
        with draft(path.resolve(), check=check, keep=True) as folder:
            folder.mkdir(parents=True)
            yield folder
            marker = {"deep": True, "files": sorted(_content(folder))}
            (folder / MARKER).write_text(json.dumps(marker) + "\n", "utf-8")
    except KeptError as error:
        cause = error.__cause__
        why = str(cause) if isinstance(cause, StudyError) else f"{path} cannot be written: {_reason(cause)}."
        raise StudyError(f"{why} The new result is in {error.place}.") from cause
    except OSError as error:
        full = " Free some space, or choose another folder." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise StudyError(f"{path} cannot be written: {_reason(error)}.{full} Nothing was left there.") from error


def _reason(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error)


# ----------------------------------------------------------------------------------------------------------- contents


def write_calibration(folder: pathlib.Path, study: Study, calibration: Calibration, curves: Band | None = None) -> None:
    """Write what a calibration found.

    Args:
        folder: where to; see `new_result`.
        study: what was calibrated.
        calibration: its result.
        curves: fitted curves with their bands, if wanted.
    """
    write_table(folder / "estimates", calibration.to_table())
    write_table(folder / "twins", fit_table(calibration))
    write_table(folder / "fitted", fitted_table(study, calibration))
    if curves is not None:
        write_dataset(folder / "curves.zarr", curve_dataset(study, calibration, curves))
    write_settings(folder, study, study.problem.solver, seconds=calibration.seconds)


def write_simulation(folder: pathlib.Path, study: Study, trajectory: Trajectory, seconds: float) -> None:
    """Write trajectories.

    Args:
        folder: where to; see `new_result`.
        study: what was simulated.
        trajectory: its result.
        seconds: it took.
    """
    import pyarrow as pa

    from vht.solve import Status

    table = study.twins.to_table()
    labels = [Status(int(code)).label for code in np.asarray(trajectory.status)]
    write_table(folder / "twins", table.append_column("status", pa.array(labels, pa.string())))
    write_dataset(folder / "trajectories.zarr", trajectory.to_xarray())
    ran = {"ran_on": trajectory.settings.backend, "ran_on_device": trajectory.settings.device}
    write_settings(folder, study, trajectory.settings.method, **ran, seconds=seconds)


def fit_table(calibration: Calibration) -> pa.Table:
    """How each twin's fit ended: a row for each twin and observable, with the residual error."""
    import pyarrow as pa

    from vht.calibrate import CalibrationStatus

    twins, observables = calibration.rmse.shape
    across = np.repeat(np.arange(twins), observables)

    def repeated(per_twin: Sequence[Any]) -> list[Any]:
        return [per_twin[i] for i in across]

    def numbers(values: np.ndarray) -> pa.Array:
        return pa.array(np.ravel(values), pa.float64(), from_pandas=True)

    return pa.table(
        {
            "twin": repeated(calibration.twins),
            "observable": list(calibration.observables) * twins,
            "rmse": numbers(calibration.rmse),
            "sd": numbers(calibration.sd),
            "fraction": numbers(calibration.fraction),
            "unit": list(calibration.observable_units) * twins,
            "objective": numbers(calibration.objective[across]),
            "iterations": pa.array(calibration.iterations[across].tolist(), pa.int64()),
            "status": repeated([CalibrationStatus(int(code)).label for code in calibration.status]),
            "message": repeated([calibration.message(i) for i in range(twins)]),
        }
    )


def fitted_table(study: Study, calibration: Calibration) -> pa.Table:
    """Each measurement beside the fitted curve."""
    import pyarrow as pa

    measured = study.problem.measurements
    units = dict(zip(calibration.observables, calibration.observable_units, strict=True))
    names = np.asarray(calibration.twins)
    observable = np.asarray(measured.observable)
    return pa.table(
        {
            "twin": names[np.asarray(measured.twin)].tolist(),
            f"time [{type(study.model).time}]": np.asarray(measured.time),
            "observable": observable.tolist(),
            "measured": np.asarray(measured.value),
            "fitted": pa.array(calibration.fitted, pa.float64(), from_pandas=True),
            "unit": [units[name] for name in observable],
        }
    )


def curve_dataset(study: Study, calibration: Calibration, curves: Band) -> xarray.Dataset:
    """Fitted curves with their bands as a labelled dataset, at times of each twin's own (see `vht.report.curve_times`)."""
    import xarray

    from vht.calibrate import CalibrationStatus
    from vht.model import outputs, states
    from vht.solve.status import flag_attributes

    variables = states(study.model) | outputs(study.model)
    data: dict[str, Any] = {}
    percent = f"{100 * curves.level:g} %"
    for name, unit in zip(calibration.observables, calibration.observable_units, strict=True):
        variable = variables[study.observables[name].output]
        source = {"source": variable.source} if variable.source else {}
        parts = {
            name: (curves.value, variable.meaning),
            f"{name}_lower": (curves.lower, f"{variable.meaning}, lower end of the {percent} band of the curve"),
            f"{name}_upper": (curves.upper, f"{variable.meaning}, upper end of the {percent} band of the curve"),
            f"{name}_measured_lower": (
                curves.measured_lower,
                f"{variable.meaning}, {percent} of new measurements above",
            ),
            f"{name}_measured_upper": (
                curves.measured_upper,
                f"{variable.meaning}, {percent} of new measurements below",
            ),
        }
        for key, (values, meaning) in parts.items():
            data[key] = (("twin", "save"), values[name], {"units": unit, "long_name": meaning, **source})
    ended = {"long_name": "how the calibration ended", **flag_attributes(CalibrationStatus)}
    data["status"] = ("twin", calibration.status, ended)
    clock = {
        "units": type(study.model).time,
        "long_name": "time since the twin's origin",
        "comment": "Each twin's own times, ascending, up to its last measurement: those of its measurements, of doses and"
        " measured inputs (the value before, then the value just after), and others in between. Of very many not all are"
        " here. A row that has fewer repeats its last.",
    }
    coordinates = {"twin": ("twin", np.asarray(curves.twins, str)), "time": (("twin", "save"), curves.times, clock)}
    return xarray.Dataset(data, coordinates, {"model": study.name, "title": study.title, "level": curves.level})


# -------------------------------------------------------------------------------------------------------------- files


def write_table(stem: pathlib.Path, table: pa.Table) -> None:
    """Write a table as Parquet and as CSV; a number that there is not is an empty cell.

    Args:
        stem: of the two files' names.
        table: to write.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    # opened by Python, since pyarrow knows no path that is not UTF-8
    with stem.with_name(stem.name + ".parquet").open("wb") as file:
        pyarrow.parquet.write_table(table, file)
    with stem.with_name(stem.name + ".csv").open("wb") as file:
        try:
            plain = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
            pyarrow.csv.write_csv(table, file, plain)
        except pa.ArrowInvalid:  # a text with a comma, a quote or a line break
            file.seek(0)
            file.truncate()
            pyarrow.csv.write_csv(table, file)


def write_dataset(path: pathlib.Path, dataset: xarray.Dataset) -> None:
    """Write a dataset as Zarr (version 2 of the format, which every reader knows)."""
    # format 3 has no standard for text yet
    dataset = (
        dataset.assign_coords(twin=dataset["twin"].astype(object)) if dataset["twin"].dtype.kind == "U" else dataset
    )
    dataset.to_zarr(path, mode="w-", zarr_format=2, consolidated=True)


def write_settings(folder: pathlib.Path, study: Study, method: Method, **more: Any) -> None:
    """Write `settings.json`: the resolved study, versions, and what to cite."""
    settings = {**study.settings(method), **more, "versions": versions(), "citations": bibtex(study.model)}
    settings["written"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = json.dumps(_finite(settings), indent=2, ensure_ascii=False, allow_nan=False)
    # what of a path is no UTF-8 becomes an escape, which JSON reads back as it was
    (folder / "settings.json").write_text(text + "\n", "utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    if isinstance(value, np.integer):
        return int(value)
    return value


def versions() -> dict[str, str]:
    """Versions of what computes."""
    import importlib.metadata

    found = {"python": sys.version.split()[0], "machine": f"{platform.system()} {platform.machine()}"}
    for name in ("vht", "jax", "jaxlib", "numpy", "diffrax", "llvmlite"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
