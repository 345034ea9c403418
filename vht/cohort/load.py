"""A study file: from TOML to a `Study`, with names and units held against the model and every problem noted."""

from __future__ import annotations

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vht.cohort.rules import Rules
from vht.cohort.schema import Found, FreeTable, NoiseTable, PriorTable, Quantity, StudyFile, read_form
from vht.cohort.study import NO_SIMULATION, InvalidStudy, Simulation, Study
from vht.cohort.tables import INITIAL, TableFiles
from vht.errors import ModelError, StudyError, UnitError, nearest

if TYPE_CHECKING:
    from vht.calibrate import Free, Observable
    from vht.model import Prior, Variable

Verb = Literal["calibrate", "simulate"]
# more are a slip of the pen, and would not fit into memory
MOST_POINTS = 10_000_000
MOST_TWINS = 100_000_000


def load_study(path: str | pathlib.Path, verb: Verb | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: of the TOML file; tables are found relative to it.
        verb: what the study is wanted for: then what that needs must be there.

    Raises:
        StudyError: no such file, broken TOML, or (`InvalidStudy`) anything wrong in it: all of it, each with its key.
    """
    path = pathlib.Path(path)
    try:
        raw = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise StudyError(f"There is no study file {path}.") from None
    except IsADirectoryError:
        raise StudyError(f"{path} is a folder; give the study's TOML file.") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path} is not UTF-8 text; give a study in TOML.") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path} is no valid TOML: {error}.") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}.") from None
    form, found = read_form(raw)
    if form is None:
        raise InvalidStudy(str(path), found)
    study = _Reader(path, form, raw, found, verb).read()
    if study is None:
        order = {key: i for i, key in enumerate(raw)}
        found.sort(key=lambda problem: order.get(problem[0].split(".")[0], len(order)))
        raise InvalidStudy(str(path), found)
    return study


class _Reader:
    """From the form to the study: names and units against the model, noting every problem."""

    def __init__(
        self, path: pathlib.Path, form: StudyFile, raw: Mapping[str, Any], found: Found, verb: Verb | None
    ) -> None:
        self.path, self.form, self.raw, self.found, self.verb = path, form, raw, found, verb

    def note(self, key: str, message: str) -> None:
        self.found.append((key, message))

    def read(self) -> Study | None:
        from vht.calibrate import LevenbergMarquardt
        from vht.library import model
        from vht.model import Uniform, with_parameters

        form = self.form
        try:
            cls = model(form.model)
        except ModelError as error:
            self.note("model", f"{error} `vht models` lists them all.")
            return None
        self.cls = cls
        self._known()
        fixed = self._numbers("parameters", form.parameters, self.parameters)
        initial = self._numbers("initial", form.initial, self.states)
        free = {name: self._free(name, table) for name, table in form.free.items() if self._is_free(name)}
        observables, since = self._observables()
        for name in form.inputs:
            self._name(f"inputs.{name}", "input", name, self.inputs)
        given = bool(self.raw.get("covariates"))
        rules = Rules(self.note, self._number).read(form, self.parameters, self._name, given=given)
        for name in form.covariates:
            if name in free and isinstance(getattr(free[name], "prior", None), Uniform):
                self.note(
                    f"free.{name}.prior",
                    f"A uniform prior does not follow `covariates.{name}`: give `bounds`, which hold for everyone, or a"
                    " log-normal prior of the reference person.",
                )
        files, simulation, solver = self._files(), self._simulation(), self._solver()
        if self.verb == "calibrate":
            if not self.raw.get("free"):
                self.note(
                    "free", f"There is no free parameter: add, say, a section `[free.{next(iter(self.parameters))}]`."
                )
            if not self.raw.get("observables"):
                self.note("observables", "Nothing is observed: add a section `[observables.NAME]`.")
            if files.measurements is None and "measurements" not in (self.raw.get("tables") or {}):
                self.note("tables.measurements", "There is nothing to calibrate to: give a table of measurements.")
        if self.verb == "simulate" and "simulate" not in self.raw:
            self.note(*NO_SIMULATION)
        if self.found:
            return None
        return Study(
            path=self.path,
            title=form.title or self.path.stem,
            name=form.model,
            model=with_parameters(cls(), fixed),
            free={name: table for name, table in free.items() if table is not None},
            observables=observables,
            since=since,
            interpolation={name: table.interpolation for name, table in form.inputs.items()},
            initial=initial,
            rules=rules,
            files=files,
            solver=solver,
            backend=form.solver.backend,
            device=form.solver.device,
            estimator=LevenbergMarquardt(**form.calibrate.model_dump(exclude_none=True)),
            simulation=simulation,
        )

    def _known(self) -> None:
        from vht.model import inputs, outputs, parameters, states

        self.parameters, self.states = parameters(self.cls), states(self.cls)
        self.inputs, self.outputs = inputs(self.cls), outputs(self.cls)

    def _name(self, key: str, kind: str, name: str, known: Mapping[str, Any]) -> bool:
        if name in known:
            return True
        self.note(key, f"The model `{self.form.model}` has no {kind} `{name}`.{nearest(name, known)}")
        return False

    def _number(self, key: str, found: Quantity, unit: str, *, difference: bool = False) -> float:
        """A number in the model's unit; NaN and a problem if its unit does not fit."""
        from vht.model.units import conversion, scaled

        if not found.unit and unit != "1":
            self.note(key, f'The number needs its unit, such as "{found.number:g} {unit}".')
            return np.nan
        try:
            scale, offset = conversion(found.unit or "1", unit)
        except UnitError as error:
            self.note(key, str(error))
            return np.nan
        return float(scaled(found.number, scale)) + (0.0 if difference else offset)

    def _numbers(self, section: str, given: Mapping[str, Quantity], known: Mapping[str, Variable]) -> dict[str, float]:
        kind = "parameter" if section == "parameters" else "state"
        out = {}
        for name, number in given.items():
            if self._name(f"{section}.{name}", kind, name, known):
                out[name] = self._number(f"{section}.{name}", number, known[name].unit)
                free = name if section == "parameters" else INITIAL + name
                if free in self.form.free:
                    self.note(
                        f"{section}.{name}", f"This is free as well, under `free.{free}`: say it there, as `start`."
                    )
        return out

    def _is_free(self, name: str) -> bool:
        known = [*self.parameters, *(INITIAL + state for state in self.states)]
        return self._name(f"free.{name}", "parameter", name, dict.fromkeys(known))

    def _free(self, name: str, table: FreeTable) -> Free | None:
        from vht.calibrate import Free

        key = f"free.{name}"
        variable = self.states[name.removeprefix(INITIAL)] if name.startswith(INITIAL) else self.parameters[name]
        bounds = start = None
        if table.bounds is not None:
            low, high = (self._number(f"{key}.bounds", bound, variable.unit) for bound in table.bounds)
            bounds = (low, high)
            if low >= high and table.bounds[0].unit != table.bounds[1].unit:
                self.note(
                    f"{key}.bounds", f"`bounds` must be increasing, but got ({table.bounds[0]}, {table.bounds[1]})."
                )
            if table.transform == "log" and low < 0:
                self.note(
                    f"{key}.bounds",
                    f'The transform "log" needs bounds that are not negative, but got {table.bounds[0]}.',
                )
        elif table.transform == "logit" and (table.prior is None or table.prior.kind != "uniform"):
            self.note(f"{key}.transform", 'The transform "logit" needs finite `bounds`: give them, or use "log".')
        if table.start is not None:
            start = self._number(f"{key}.start", table.start, variable.unit)
            if bounds is not None and not bounds[0] < start < bounds[1] and not np.isnan([start, *bounds]).any():
                self.note(f"{key}.start", f"The start must lie between the bounds, but is {table.start}.")
            elif bounds is None and table.transform == "log" and start <= 0:
                self.note(f"{key}.start", f'The transform "log" needs a positive start, but got {table.start}.')
        prior = None if table.prior is None else self._prior(f"{key}.prior", table.prior, variable)
        return Free(transform=table.transform, bounds=bounds, start=start, prior=prior)

    def _prior(self, key: str, table: PriorTable, variable: Variable) -> Prior | Literal["model"] | None:
        from vht.model import LogNormal, Normal, Uniform

        if table.kind == "model":
            if variable.prior is None:
                self.note(
                    key, f'The model has no prior for `{variable.name}`: give one, such as {{ kind = "normal", ... }}.'
                )
                return None
            return "model"
        cls, needs = {
            "normal": (Normal, ("mean", "sd")),
            "lognormal": (LogNormal, ("median", "sd")),
            "uniform": (Uniform, ("lower", "upper")),
        }[table.kind]
        numbers: dict[str, float] = {}
        for name in ("mean", "median", "sd", "lower", "upper"):
            found = getattr(table, name)
            if name in needs and found is None:
                self.note(f"{key}.{name}", f"A {table.kind} prior needs `{name}`.")
            elif name not in needs and found is not None:
                self.note(f"{key}.{name}", f"A {table.kind} prior has no `{name}`; it has {' and '.join(needs)}.")
            elif found is not None:
                unit = "1" if table.kind == "lognormal" and name == "sd" else variable.unit
                numbers[name] = self._number(f"{key}.{name}", found, unit, difference=name == "sd")
        if len(numbers) < len(needs) or np.isnan(list(numbers.values())).any():
            return None
        try:
            return cls(**numbers)
        except ModelError as error:
            self.note(key, str(error))
            return None

    def _observables(self) -> tuple[dict[str, Observable], dict[str, float]]:
        from vht.calibrate import Observable

        out, since = {}, {}
        known = {**self.outputs, **self.states}
        for name, table in self.form.observables.items():
            key, output = f"observables.{name}", name if table.output is None else table.output
            if not self._name(key if table.output is None else f"{key}.output", "output or state", output, known):
                continue
            out[name] = Observable(output, self._noise(f"{key}.noise", table.noise, known[output].unit))
            if table.since is not None:
                since[name] = self._number(f"{key}.since", table.since, self.cls.time)
        return out, since

    def _noise(self, key: str, table: NoiseTable, unit: str) -> Any:
        from vht.calibrate import Additive, Combined, Proportional

        cls = {"additive": Additive, "proportional": Proportional, "combined": Combined}[table.kind]
        known = {f.name for f in dataclasses.fields(cls)}
        for name in ("sd", "fraction"):
            if getattr(table, name) is not None and name not in known:
                self.note(
                    f"{key}.{name}", f"A {table.kind} error has no `{name}`; it has {' and '.join(sorted(known))}."
                )
        numbers: dict[str, float] = {}
        if table.sd is not None and "sd" in known:
            numbers["sd"] = self._number(f"{key}.sd", table.sd, unit, difference=True)
            if numbers["sd"] <= 0:
                self.note(f"{key}.sd", f"The value must be positive, but is {table.sd}.")
        if table.fraction is not None and "fraction" in known:
            numbers["fraction"] = table.fraction
        return cls() if any(not number > 0 for number in numbers.values()) else cls(**numbers)

    def _files(self) -> TableFiles:
        folder = self.path.parent
        files = {name: folder / file for name, file in self.form.tables.model_dump(exclude_none=True).items()}
        wanted = None if self.form.simulate is None else self.form.simulate.twins
        if self.verb == "simulate":
            files.pop("measurements", None)
            if isinstance(wanted, str):
                if files.get("covariates", folder / wanted) != folder / wanted:
                    self.note(
                        "simulate.twins", "The twins are listed here and in `tables.covariates` as well: keep one."
                    )
                files["covariates"] = folder / wanted
        for name, file in files.items():
            key = "simulate.twins" if name == "covariates" and isinstance(wanted, str) else f"tables.{name}"
            try:
                if not file.is_file():
                    self.note(key, f"There is no file {file}.")
            except OSError as error:  # its folder, or its name
                self.note(key, f"{file} cannot be read: {error.strerror or error}.")
        return TableFiles(**files)

    def _simulation(self) -> Simulation | None:
        table = self.form.simulate
        if table is None:
            return None
        times = np.zeros(1)
        if (table.times is None) == (table.until is None):
            if "simulate" in self.raw and not {"times", "until"} & {key for key, _ in self._dropped("simulate")}:
                self.note("simulate", 'Give either `until = "10 s"` and `points`, or `times = ["0 s", "1 s"]`.')
        elif table.until is not None:
            until = self._number("simulate.until", table.until, self.cls.time)
            if until <= 0:
                self.note("simulate.until", f"The end must lie after the start at 0, but is {table.until}.")
            points = 201 if table.points is None else table.points
            if points > MOST_POINTS:
                self.note("simulate.points", f"There must be at most {MOST_POINTS:,} points, but got {points:,}.")
            else:
                times = np.linspace(0.0, until, points)
        elif table.times is not None:
            if table.points is not None:
                self.note("simulate.points", "The times are given one by one in `times`: leave `points` out.")
            times = np.array(
                [self._number(f"simulate.times[{i}]", t, self.cls.time) for i, t in enumerate(table.times)]
            )
            if (times < 0).any():
                self.note("simulate.times", f"Times must not be negative, but one is {times.min():g} {self.cls.time}.")
            times = np.unique(times)
        sample = None
        if isinstance(table.twins, int) and not isinstance(table.twins, bool):
            sample = table.twins
            if sample < 1:
                self.note("simulate.twins", f"There must be at least one twin, but got {sample}.")
            if sample > MOST_TWINS:
                self.note("simulate.twins", f"There must be at most {MOST_TWINS:,} twins, but got {sample:,}.")
            for listed in ("covariates", "people"):
                if getattr(self.form.tables, listed) is not None and self.verb == "simulate":
                    self.note(
                        "simulate.twins", f"The twins are drawn here and listed in `tables.{listed}` as well: keep one."
                    )
        elif table.twins is not None and not isinstance(table.twins, str):
            self.note("simulate.twins", 'Give a number of twins to draw, or a table of twins such as "twins.csv".')
        for name in table.vary or ():
            known = self._name("simulate.vary", "parameter", name, self.parameters)
            if known and self.parameters[name].prior is None and table.spread is None:
                self.note("simulate.vary", f"`{name}` has no prior to draw from: give `spread`, or leave it out.")
        for name in table.observe or ():
            self._name("simulate.observe", "output or state", name, {**self.outputs, **self.states})
        vary, observe = (None if names is None else tuple(names) for names in (table.vary, table.observe))
        if vary is None and table.spread is None and sample is not None:
            # what the study says of a parameter is known, and is not drawn
            has_prior = [name for name, known in self.parameters.items() if known.prior is not None]
            vary = tuple(name for name in has_prior if name not in self.form.parameters)
        return Simulation(times, sample, table.seed, vary, table.spread, observe)

    def _solver(self) -> dict[str, Any]:
        table = self.form.solver
        settings = table.model_dump(exclude_none=True, exclude={"backend", "device", "max_step"})
        if table.max_step is not None:
            longest = settings["max_step"] = self._number("solver.max_step", table.max_step, self.cls.time)
            if longest <= 0:
                self.note("solver.max_step", f"The longest step must be positive, but is {table.max_step}.")
        if table.rtol == 0 and table.atol == 0:
            self.note("solver.rtol", "`rtol` and `atol` cannot both be zero.")
        return settings

    def _dropped(self, section: str) -> list[tuple[str, str]]:
        """Keys of a section that were malformed, without the section's name."""
        return [(key.split(".")[1].split("[")[0], m) for key, m in self.found if key.startswith(f"{section}.")]
