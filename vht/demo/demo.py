"""The demo's three studies, run one after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from vht.cohort.load import load_study
from vht.cohort.store import check_output, new_result
from vht.cohort.study import Study
from vht.drafts import draft
from vht.errors import StudyError
from vht.report.console import Console, escaped
from vht.report.runs import run_calibration, run_simulation

if TYPE_CHECKING:
    from vht.solve import Device

STUDIES = ("theophylline", "fsigt", "circulation")
_HOME = pathlib.Path(__file__).parent / "studies"


def copy_studies(folder: pathlib.Path) -> tuple[str, ...]:
    """Copy the demo's study files and tables, to look at and to edit.

    Args:
        folder: where to; made. What is there already is left alone.

    Returns:
        Names of the studies: folders in `folder`.

    Raises:
        StudyError: one of them is there already, or the folder cannot be written.
    """
    try:
        for name in (*STUDIES, "SOURCES.md"):
            if (folder / name).exists():
                raise StudyError(f"{folder / name} is there already: choose another folder.")
        # all take their places when the last one is copied
        with contextlib.ExitStack() as stack:
            for name in STUDIES:
                new = stack.enter_context(draft(folder.resolve() / name))
                new.mkdir(parents=True)
                for file in (_HOME / name).iterdir():
                    shutil.copyfile(file, new / file.name)
            new = stack.enter_context(draft(folder.resolve() / "SOURCES.md"))
            shutil.copyfile(_HOME / "SOURCES.md", new)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return STUDIES


def run_demo(
    out: pathlib.Path | None, console: Console, *, overwrite: bool = False, device: Device = "auto"
) -> dict[str, Any]:
    """Run everything.

    Args:
        out: folder for the results; by default ``vht-demo``, numbered if it is there already.
        console: whom to tell.
        overwrite: replace an earlier result in `out`.
        device: where to solve.

    Returns:
        What was found, for programs.

    Raises:
        StudyError: the folder cannot be written.
        DeviceError: a GPU is asked for and there is none that can be used.
    """
    began = time.perf_counter()
    out = out or _default_folder(overwrite)
    check_output(out, overwrite=overwrite)
    document: dict[str, Any] = {"out": str(out)}
    with new_result(out, overwrite=overwrite) as folder:
        for name in STUDIES:
            study = dataclasses.replace(load_study(_HOME / name / "study.toml"), device=device)
            run = (run_calibration if study.free else run_simulation)(study, folder / name, console)
            document[name] = run.document
            for table in run.tables:
                console.show(table)
            if not study.free:
                document[name] |= _speed(study, console)
        copy_studies(folder / "studies")
    document["seconds"] = time.perf_counter() - began
    for name in STUDIES:
        console.show(f"[bold]{escaped(str(out / name))}[/]  figures, estimates or trajectories, settings.json")
    copied = escaped(str(out / "studies"))
    console.show(f"[bold]{copied}[/]  the study files: edit one, then `vht calibrate STUDY.toml --out DIR`")
    console.show(f"{document['seconds']:.1f} s in all")
    return document


def _speed(study: Study, console: Console) -> dict[str, Any]:
    """Simulate once more, now that the model is compiled, and say how fast that is."""
    began = time.perf_counter()
    with console.running(), console.stage("Simulating again, compiled") as move:
        trajectory = study.simulate(progress=move)
    seconds = time.perf_counter() - began
    twins, span = len(trajectory.status), study.simulation.times[-1] if study.simulation is not None else 0.0
    rate = twins / seconds
    console.show(
        f"[bold]{rate:,.0f} twins/s[/]: {twins:,} twins, {span:g} {type(study.model).time} each, in {seconds:.2f} s"
        f" once compiled (backend {trajectory.settings.backend}, device {trajectory.settings.device})\n"
    )
    return {"twins_per_second": rate, "seconds_compiled": seconds}


def _default_folder(overwrite: bool) -> pathlib.Path:
    """``vht-demo``, or the first of ``vht-demo-2``, ``vht-demo-3``, ... that is free if nothing may be overwritten."""
    path, number = pathlib.Path("vht-demo"), 1
    while os.path.exists(path) and not overwrite:  # false where we may not look, which is told later
        number += 1
        path = pathlib.Path(f"vht-demo-{number}")
    return path
