"""A study, checked and in the model's units: what to fit or simulate, from which tables."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.cohort.rules import people_twins
from vht.cohort.schema import Found
from vht.cohort.tables import CohortData, TableFiles, read_cohort
from vht.errors import StudyError

if TYPE_CHECKING:
    from vht.calibrate import Calibration, Free, LevenbergMarquardt, Observable, Problem
    from vht.covariates import Rule
    from vht.model import Organ, Twins
    from vht.solve import Backend, Device, Method, Trajectory, Tsit5

Progress = Callable[[int, int], object]

NO_SIMULATION = ("simulate", 'There is nothing to simulate: add a section `[simulate]` with, say, `until = "10 s"`.')


class InvalidStudy(StudyError):
    """A study file with problems, all of them.

    Attributes:
        file: the study file.
        problems: dotted key and message of each.
    """

    def __init__(self, file: str, problems: Found) -> None:
        count = len(problems)
        lines = [f"{count} problem{'s' if count > 1 else ''} in {file}:", *(f"  `{key}`: {m}" for key, m in problems)]
        super().__init__("\n".join(lines))
        self.file = file
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Attributes:
        times: when to save, in the model's unit of time.
        sample: how many twins to draw; None to take those of the tables, or one.
        seed: of the draw.
        vary: parameters to draw; None for all, or where priors are drawn from, all that have one.
        spread: draw log-normally around the model's values with this standard deviation of the logarithm; None for priors.
        observe: states and outputs to save; None for all.
    """

    times: np.ndarray
    sample: int | None = None
    seed: int = 0
    vary: tuple[str, ...] | None = None
    spread: float | None = None
    observe: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """A study, checked; everything is in the model's units.

    Attributes:
        path: of the study file.
        title: for people.
        name: of the model.
        model: with the study's fixed parameters.
        free: what to estimate.
        observables: what was measured.
        since: time from which measurements of an observable count, where that is not the start.
        interpolation: of measured inputs.
        initial: fixed initial values.
        rules: by which covariates set parameters.
        files: the tables.
        solver: settings of the solver that the file gives.
        backend: of the solver.
        device: of the solver: "auto", "cpu" or "gpu".
        estimator: settings of the calibration.
        simulation: what to simulate, if the file says so.
    """

    path: pathlib.Path
    title: str
    name: str
    model: Organ
    free: Mapping[str, Free]
    observables: Mapping[str, Observable]
    since: Mapping[str, float]
    interpolation: Mapping[str, str]
    initial: Mapping[str, float]
    rules: tuple[Rule, ...]
    files: TableFiles
    solver: Mapping[str, Any]
    backend: Backend
    device: Device
    estimator: LevenbergMarquardt
    simulation: Simulation | None

    @cached_property
    def data(self) -> CohortData:
        """The tables, read when first needed.

        Raises:
            DataError: anything wrong with any of them.
        """
        from vht.model import outputs, states

        units = {name: v.unit for name, v in (states(self.model) | outputs(self.model)).items()}
        return read_cohort(
            type(self.model),
            self.files,
            observables={name: units[o.output] for name, o in self.observables.items()},
            since=self.since,
            interpolation=self.interpolation,
            rules=self.rules,
        )

    @cached_property
    def everything(self) -> CohortData:
        """The tables with all measurements, those before `since` too."""
        return self.data if not self.since else dataclasses.replace(self, since={}).data

    def method(self, default: Tsit5) -> Method:
        """The solver's settings: the file's, else the default's tolerances (a method of order 2 has its own)."""
        from vht.solve import Auto, Rodas5P, RushLarsen

        settings = dict(self.solver)
        name = settings.pop("method", "tsit5")
        if name == "tsit5":
            return dataclasses.replace(default, **settings)
        if name == "rush_larsen":
            return RushLarsen(**settings)
        kind = {"auto": Auto, "rodas5p": Rodas5P}[name]
        return kind(**{"rtol": default.rtol, "atol": default.atol, **settings})

    @cached_property
    def problem(self) -> Problem:
        """The calibration problem.

        Raises:
            DataError: anything wrong with the tables.
            ModelError: free parameters, observables and tables that do not fit together.
        """
        from vht.calibrate import Problem
        from vht.covariates.rules import factors
        from vht.solve import Tsit5

        data = self.data
        if data.measurements is None:
            raise InvalidStudy(
                str(self.path), [("tables.measurements", "There is nothing to calibrate to: give a table.")]
            )
        free = dict(self.free)
        if data.people is not None:
            # a start and a prior are the reference person's, as the model's values are
            for name, factor in factors(self.model, data.people, self.rules).items():
                if name in free:
                    free[name] = dataclasses.replace(free[name], scale=factor)
        return Problem(
            model=self.model,
            free=free,
            observables=self.observables,
            measurements=data.measurements,
            schedule=data.schedule,
            twins=self.tabled,
            initial={**self.initial, **data.initial} or None,
            method=self.method(Tsit5(rtol=1e-8, atol=1e-10)),
        )

    def calibrate(self, progress: Progress | None = None) -> Calibration:
        """Fit every twin.

        Args:
            progress: called as ``progress(done, total)``.

        Raises:
            DataError: anything wrong with the tables.
            ModelError: free parameters, observables and tables that do not fit together.
            DeviceError: a GPU is asked for and there is none that can be used.
        """
        from vht.calibrate import calibrate

        return calibrate(
            self.problem, method=self.estimator, backend=self.backend, device=self.device, progress=progress
        )

    @cached_property
    def tabled(self) -> Twins:
        """The twins of the tables, with what is known of each.

        Raises:
            DataError: anything wrong with the tables.
        """
        from vht.model import Twins

        twins, people = Twins(self.model, self.data.columns, names=self.data.twins), self.data.people
        return twins if people is None else people_twins(self.model, twins, people, self.rules)

    @cached_property
    def twins(self) -> Twins:
        """The twins to simulate: drawn, or those of the tables, or one.

        Raises:
            DataError: anything wrong with the tables.
            InvalidStudy: twins are drawn, and a table has rows of its own for each of other twins.
        """
        import jax

        from vht.model import Twins

        wanted = self.simulation
        if wanted is not None and wanted.sample is not None:
            if any(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(self.data.schedule)):
                message = (
                    "The twins are drawn here, but doses or signals in the tables are those of other twins: leave out"
                    " their column `twin`, or give the twins in a table."
                )
                raise InvalidStudy(str(self.path), [("simulate.twins", message)])
            return Twins.sample(self.model, wanted.sample, wanted.seed, wanted.vary, wanted.spread)
        return self.tabled if len(self.tabled) else Twins(self.model, {}, names=("1",))

    def simulate(self, progress: Progress | None = None) -> Trajectory:
        """Solve every twin.

        Args:
            progress: called as ``progress(done, total)`` in twins.

        Raises:
            DataError: anything wrong with the tables.
            StudyError: the file has no section `simulate`, or its twins do not fit the tables.
            DeviceError: a GPU is asked for and there is none that can be used.
        """
        from vht.solve import Tsit5, simulate

        if self.simulation is None:
            raise InvalidStudy(str(self.path), [NO_SIMULATION])
        data, twins = self.data, self.twins
        return simulate(
            self.model,
            self.simulation.times,
            twins=twins,
            initial={**self.initial, **data.initial} or None,
            schedule=data.schedule,
            observe=self.simulation.observe,
            method=self.method(Tsit5()),
            backend=self.backend,
            device=self.device,
            progress=progress,
        )

    def settings(self, method: Method) -> dict[str, Any]:
        """The resolved study as plain data, for the record kept beside the results.

        Args:
            method: how it was solved.
        """
        from vht.model import parameters

        def plain(value: Any) -> Any:
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                kind = {} if value.__class__.__name__ == "Free" else {"kind": type(value).__name__}
                return kind | {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            if isinstance(value, Mapping):
                return {str(k): plain(v) for k, v in value.items()}
            if isinstance(value, tuple | list):
                return [plain(v) for v in value]
            if isinstance(value, np.ndarray):
                return value.tolist()
            return str(value) if isinstance(value, pathlib.Path) else value

        known = parameters(self.model)
        return {
            "study": str(self.path),
            "title": self.title,
            "model": self.name,
            "time_unit": type(self.model).time,
            "parameters": {n: {"value": float(getattr(self.model, n)), "unit": v.unit} for n, v in known.items()},
            "initial": plain(self.initial),
            # what scales them follows from the covariates
            "free": {n: {k: v for k, v in plain(free).items() if k != "scale"} for n, free in self.free.items()},
            "observables": plain(self.observables),
            "since": plain(self.since),
            "interpolation": plain(self.interpolation),
            "covariates": plain(self.rules),
            "tables": {k: v for k, v in plain(self.files).items() if k != "kind" and v is not None},
            "solver": {**plain(method), "backend": self.backend, "device": self.device},
            "calibrate": plain(self.estimator),
            "simulate": plain(self.simulation),
        }
