"""What is to be calibrated: a model, its free parameters, its observables, and everyone's measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from vht.calibrate.layout import Layout, lay_out
from vht.calibrate.noise import Additive, Combined, Noise, Proportional
from vht.calibrate.transforms import Identity, Log, Logit, Transform
from vht.errors import DataError, ModelError, nearest
from vht.model import Organ, Prior, Twins, Uniform, Variable, initial_state, outputs, parameters, states
from vht.model.twins import columns_of
from vht.solve import Auto, Method, Schedule, Tsit5, choose_method

INITIAL = "initial."


@dataclass(frozen=True)
class Free:
    """A quantity to estimate.

    Attributes:
        transform: the scale of the search, and of the intervals. By default "logit" between finite `bounds`, "log" if
            the bounds (given here, else the model's) leave out negative values, else "identity".
        bounds: smallest and largest value allowed; None for all that the transform can reach (log: positive values). The
            model's own bounds describe what is usual and are no limits. A uniform prior bounds its parameter too.
        start: where the search starts, one number or one a twin; a twin whose start is outside its domain fails. By default
            the twin's own column, else the model's value.
        prior: prior distribution; "model" takes the model's. None fits by maximum likelihood.
        scale: what `start` (or the model's value, not a twin's own column) and `prior` are multiplied by, one positive
            number or one a twin: they are then a reference person's, and this is what a twin's weight, age or genes say
            (`vht.covariates`). Bounds stay as they are; a uniform prior, which is bounds, has no scale.
    """

    transform: Literal["identity", "log", "logit"] | None = None
    bounds: tuple[float, float] | None = None
    start: Any = None
    prior: Prior | Literal["model"] | None = None
    scale: Any = 1.0


@dataclass(frozen=True)
class Observable:
    """Something that is measured.

    Attributes:
        output: name of the model's output or state.
        noise: how measurements scatter around it; measurements with an `sd` of their own use that instead.
    """

    output: str
    noise: Noise = field(default_factory=Additive)


@dataclass(frozen=True, eq=False)
class Measurements:
    """A long table of measurements, a column an attribute, everything in the model's units.

    Attributes:
        twin: whose measurement: an index, or a name.
        time: when, in the model's unit of time. What is measured at the very time of a dose is taken to be measured before
            it.
        observable: which observable, by name.
        value: what was measured.
        sd: its standard deviation, NaN where the observable's noise model gives it; None if it always does.
        names: the twins' names, in the order of the indices. By default the problem's twins' names, else the names in
            `twin` in order of appearance, else numbers.

    Raises:
        DataError: columns of different length, a time or value that is not finite, an `sd` that is not positive, twins that
            are neither indices nor names.
    """

    twin: Int[np.ndarray, " m"] | Sequence[Any]
    time: Float[np.ndarray, " m"] | Sequence[float]
    observable: np.ndarray | Sequence[str]
    value: Float[np.ndarray, " m"] | Sequence[float]
    sd: Float[np.ndarray, " m"] | Sequence[float] | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("twin", _twins(self.twin))
        put("time", _numbers(self.time))
        put("observable", np.asarray(self.observable).astype(str))
        put("value", _numbers(self.value))
        put("sd", np.full(np.shape(self.value), np.nan) if self.sd is None else _numbers(self.sd))
        lengths = {name: np.shape(getattr(self, name)) for name in ("twin", "time", "observable", "value", "sd")}
        if len(set(lengths.values())) != 1 or len(np.shape(self.value)) != 1:
            raise DataError(f"The columns of `Measurements` must be as long as each other, but got {lengths}.")
        for name in ("time", "value"):
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if bad.size:
                raise DataError(f"`{name}` must be finite, but is {getattr(self, name)[bad[0]]} in {_rows(bad)}.")
        sd = np.asarray(self.sd)
        bad = np.flatnonzero(~(np.isnan(sd) | ((sd > 0) & (sd < np.inf))))
        if bad.size:
            raise DataError(f"`sd` must be positive, or NaN where unknown, but is {sd[bad[0]]} in {_rows(bad)}.")

    def __len__(self) -> int:
        return len(self.value)


def _numbers(column: Any) -> np.ndarray:
    """A column of numbers; NaN where it is masked."""
    return np.ma.filled(np.ma.asarray(column, np.float64), np.nan)


def _twins(column: Any) -> np.ndarray:
    """Indices or names."""
    twin = np.asarray(column)
    if twin.dtype.kind in "iu" or twin.size == 0:
        return twin.astype(np.int64)
    if twin.dtype.kind == "U":  # text throughout, as a long table has it: nothing to look at row by row
        return twin
    odd = np.flatnonzero(
        [not isinstance(one, str | int | np.integer) or isinstance(one, bool) for one in twin.tolist()]
    )
    if odd.size:
        got = twin[odd[0]]
        raise DataError(
            f"`twin` must hold indices or names, but holds {got!r} in {_rows(odd)}: make it a whole number or text."
        )
    return twin.astype(str)


def _rows(rows: np.ndarray) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"row {shown}" if rows.size == 1 else f"rows {shown}" + (" and others" if rows.size > 5 else "")


@dataclass(frozen=True, eq=False)
class Problem:
    """A calibration problem, checked when it is made.

    Attributes:
        model: the organ model; its values are used for whatever neither `twins` nor `free` gives.
        free: what to estimate: names of parameters, or ``"initial.STATE"`` for an initial value.
        observables: what is measured, by the names used in the measurements.
        measurements: everyone's measurements.
        schedule: doses and measured inputs.
        twins: what is known to differ from twin to twin. A column that is also free gives each twin's start.
        initial: initial values that are known, one number or one a twin each.
        method: how to solve; sensitivities obey its tolerances too.
        start: time at which the initial values hold.

    Raises:
        ModelError: a name that the model does not have (with the nearest one it has), bounds that are reversed, a start
            outside its bounds, a transform that does not fit its bounds, a prior that is none, a scale that is not positive,
            nothing free; a column, an initial value or a table of the schedule with more or fewer rows than there are twins.
        DataError: measurements of an unknown observable or twin, or before the start.
    """

    model: Organ
    free: Mapping[str, Free]
    observables: Mapping[str, Observable]
    measurements: Measurements
    schedule: Schedule | None = None
    twins: Twins | Mapping[str, Any] | None = None
    initial: Mapping[str, Any] | None = None
    method: Any = field(default_factory=lambda: Tsit5(rtol=1e-8, atol=1e-10))
    start: float = 0.0

    def __post_init__(self) -> None:
        for name, given, kind in (("free", self.free, "Free"), ("observables", self.observables, "Observable")):
            if not isinstance(given, Mapping):
                raise ModelError(f"`{name}` must map names to `{kind}(...)`, but got {type(given).__name__}.")
        if not self.free:
            raise ModelError("There must be at least one free parameter, but `free` is empty.")
        if not self.observables:
            raise ModelError("There must be at least one observable, but `observables` is empty.")
        declared, held = parameters(self.model), states(self.model)
        choices = [*declared, *(INITIAL + name for name in held)]
        for name, free in self.free.items():
            _known("free parameter", name, choices)
            if not isinstance(free, Free):
                raise ModelError(f"`free` must map to `Free(...)`, but got {free!r} for `{name}`.")
        for name, observable in self.observables.items():
            if not isinstance(observable, Observable):
                raise ModelError(f"`observables` must map to `Observable(...)`, but got {observable!r} for `{name}`.")
            _known(f"output of observable `{name}`", observable.output, [*outputs(self.model), *held])
            if not isinstance(observable.noise, Additive | Proportional | Combined):
                raise ModelError(
                    f"`noise` must be `Additive`, `Proportional` or `Combined`, but got {observable.noise!r} for `{name}`."
                )
        for name in self.columns:
            _known("column of `twins`", name, list(declared))
        for name in self.initial or {}:
            _known("state in `initial`", name, list(held))
            if INITIAL + name in self.free:
                raise ModelError(f"The initial value of `{name}` cannot be both given in `initial` and free.")
        self._check_rows()
        _ = self.layout, self.transforms, self.scales, self.starts

    def _check_rows(self) -> None:
        """Whatever differs from twin to twin must have a row for each."""
        twins = len(self.twin_names)
        for name, (values, shared) in self._tables.items():
            shape = np.shape(values)
            if len(shape) > shared + 1:
                raise ModelError(f"`{name}` must have an axis of twins or none, but has the shape {list(shape)}.")
            if len(shape) == shared + 1 and shape[0] != twins:
                everyone = ", ".join(self.twin_names[:5]) + (", ..." if twins > 5 else "")
                raise ModelError(
                    f"`{name}` must have a row for each of {twins} twins ({everyone}) or be the same for all, but has"
                    f" {shape[0]} rows: say whose they are with `twins=Twins(model, {{}}, names=[...])`."
                )

    @property
    def _tables(self) -> dict[str, tuple[Any, int]]:
        """Whatever may differ from twin to twin, by name, with its number of axes where it does not."""
        found: dict[str, tuple[Any, int]] = {f"twins.{name}": (column, 0) for name, column in self.columns.items()}
        found |= {f"initial.{name}": (value, 0) for name, value in (self.initial or {}).items()}
        for kind in ("doses", "signals"):
            for port, table in getattr(self.schedule, kind, {}).items():
                columns = {f.name: getattr(table, f.name) for f in fields(table)}
                found |= {f"schedule.{kind}.{port}.{name}": (column, 1) for name, column in columns.items()}
        return found

    @cached_property
    def solver(self) -> Method:
        """The method that solves: what `Auto` chooses at the starts, if that is the method given."""
        if not isinstance(self.method, Auto):
            return self.method
        columns, initial = dict(self.columns), dict(self.initial or {})
        for name, values in zip(self.names, self.starts.T, strict=True):
            place = initial if name.startswith(INITIAL) else columns
            place[name.removeprefix(INITIAL)] = values
        return choose_method(
            self.model,
            self.layout.times,
            twins=columns,
            initial=initial,
            start=self.start,
            schedule=self.schedule,
            method=self.method,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The free parameters."""
        return tuple(self.free)

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """What the model says about each free parameter (for an initial value, about its state)."""
        declared, held = parameters(self.model), states(self.model)
        return tuple(held[n.removeprefix(INITIAL)] if n.startswith(INITIAL) else declared[n] for n in self.free)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """What differs from twin to twin."""
        if self.twins is None:
            return {}
        columns = columns_of(self.twins, self.model)
        return {name: np.asarray(values, np.float64) for name, values in columns.items()}

    @cached_property
    def twin_names(self) -> tuple[str, ...]:
        """Everyone's name, in the order of the results."""
        measured = self.measurements
        given, own = (
            None if n is None else tuple(map(str, n)) for n in (getattr(self.twins, "names", None), measured.names)
        )
        # names that are but numbers give way to the measurements' own
        if given is not None and (own is None or given != tuple(map(str, range(len(own))))):
            return given
        if own is not None:
            return own
        if np.asarray(measured.twin).dtype.kind == "U":
            return tuple(dict.fromkeys(str(name) for name in measured.twin))
        lengths = {len(values) for values, shared in self._tables.values() if np.ndim(values) == shared + 1}
        if len(measured) and not lengths:
            count = int(np.max(measured.twin)) + 1
            missing = np.setdiff1d(np.arange(count), measured.twin)
            if missing.size:
                raise DataError(
                    f"`twin` holds indices from 0 up to {count - 1}, but none of twin {missing[0]}: where they are names, give "
                    "them as text; where twins without measurements are meant, say so by `names=[...]`."
                )
            lengths = {count}
        return tuple(str(i) for i in range(max(lengths, default=0)))

    @cached_property
    def priors(self) -> tuple[Prior | None, ...]:
        """Each free parameter's prior."""
        rows = zip(self.free.items(), self.variables, strict=True)
        return tuple(_prior(name, free, variable) for (name, free), variable in rows)

    @cached_property
    def drawn_from(self) -> tuple[Prior | None, ...]:
        """What further starts of each free parameter are drawn from; None: from between its bounds, or around its start."""
        found: list[Prior | None] = []
        for (name, free), variable, own, t in zip(
            self.free.items(), self.variables, self.priors, self.transforms, strict=True
        ):
            placed = math.isfinite(t.lower) and math.isfinite(t.upper) and free.bounds is not None
            told = placed or free.start is not None or name in self.columns
            found.append(own if own is not None or told else variable.prior)
        return tuple(found)

    @cached_property
    def transforms(self) -> tuple[Transform, ...]:
        """Each free parameter's transform."""
        rows = zip(self.free.items(), self.variables, self.priors, strict=True)
        return tuple(_transform(name, free, variable, prior) for (name, free), variable, prior in rows)

    @cached_property
    def scales(self) -> Float[np.ndarray, "twins parameters"]:
        """What each twin multiplies its start and its prior by."""
        out = np.empty((len(self.twin_names), len(self.free)))
        for k, ((name, free), prior) in enumerate(zip(self.free.items(), self.priors, strict=True)):
            scale = self._by_twin("scale", name, free.scale)
            if not ((scale > 0.0) & (scale < np.inf)).all():
                raise ModelError(f"`scale` of `{name}` must be positive and finite, but got {free.scale!r:.100}.")
            if isinstance(prior, Uniform) and (scale != 1.0).any():
                raise ModelError(
                    f"A uniform prior has no scale, but `{name}` has both: give a log-normal or normal one."
                )
            out[:, k] = scale
        return out

    def _by_twin(self, what: str, name: str, value: Any) -> Float[np.ndarray, "*twins"]:
        found, twins = np.asarray(value, np.float64), len(self.twin_names)
        if found.ndim > 1 or (found.ndim == 1 and found.size != twins):
            raise ModelError(
                f"`{what}` of `{name}` must be one number or one for each of {twins} twins, but got {found.shape}."
            )
        return found

    @cached_property
    def starts(self) -> Float[np.ndarray, "twins parameters"]:
        """Each twin's first start, natural scale; NaN where it has one outside the domain."""
        twins = len(self.twin_names)
        out = np.empty((twins, len(self.free)))
        initials: Any = None
        for k, ((name, free), transform) in enumerate(zip(self.free.items(), self.transforms, strict=True)):
            factor = np.asarray(free.scale, np.float64)
            if free.start is not None:
                value = free.start
            elif name in self.columns:
                value, factor = self.columns[name], 1.0
            elif name.startswith(INITIAL):
                initials = initial_state(self.model) if initials is None else initials
                value = getattr(initials, name.removeprefix(INITIAL))
            else:
                value = getattr(self.model, name)
            start = np.asarray(self._by_twin("start", name, value) * factor)
            inside = transform.contains(start)
            if start.ndim == 0 and not inside:
                raise ModelError(f"`start` must lie inside {_domain(transform)}, but got {start:g} for `{name}`.")
            # of many twins one without a start fails alone
            out[:, k] = np.where(inside, start, np.nan)
        return out

    @cached_property
    def layout(self) -> Layout:
        """The measurements laid out by twin."""
        table, known = self.measurements, {name: i for i, name in enumerate(self.twin_names)}
        twin = np.asarray(table.twin)
        if twin.dtype.kind == "U":
            names, code = np.unique(twin, return_inverse=True)
            for name in names:
                if name not in known:
                    raise _nobody(name, known)
            twin = np.array([known[name] for name in names], np.int64)[code]
        elif table.names is not None:
            twin = _by_name(twin, [str(name) for name in table.names], known)
        _check_range(twin, len(known))
        observed = np.asarray(table.observable)
        code = np.full(len(table), -1)
        for o, name in enumerate(self.observables):
            code[observed == name] = o
        if (code < 0).any():
            name = str(observed[code < 0][0])
            raise DataError(
                f"There are measurements of `{name}`, which is no observable.{nearest(name, self.observables)}"
            )
        early = np.flatnonzero(np.asarray(table.time) < self.start)
        if early.size:
            raise DataError(
                f"Measurements must not lie before the start at {self.start:g}, but time is"
                f" {table.time[early[0]]:g} in {_rows(early)}."
            )
        return lay_out(
            twin,
            np.asarray(table.time),
            code,
            np.asarray(table.value),
            np.asarray(table.sd),
            twins=len(known),
            observables=len(self.observables),
        )


def _check_range(twin: np.ndarray, count: int) -> None:
    bad = np.flatnonzero((twin < 0) | (twin >= count))
    if bad.size:
        raise DataError(f"`twin` must lie in [0, {count}), but is {twin[bad[0]]} in {_rows(bad)}.")


def _by_name(twin: np.ndarray, names: Sequence[str], known: Mapping[str, int]) -> np.ndarray:
    """Indices among the measurements' own names as indices among the twins."""
    _check_range(twin, len(names))
    places = np.array([known.get(name, -1) for name in names], np.int64)[twin]
    if (places < 0).any():
        raise _nobody(names[int(twin[places < 0][0])], known)
    return places


def _nobody(name: str, known: Mapping[str, int]) -> DataError:
    return DataError(f"There are measurements of `{name}`, who is not among the twins.{nearest(name, known)}")


def _known(what: str, name: str, choices: Sequence[str]) -> None:
    if name not in choices:
        raise ModelError(f"The {what} `{name}` is unknown.{nearest(name, choices)}")


def _domain(transform: Transform) -> str:
    return f"({transform.lower:g}, {transform.upper:g})"


def _prior(name: str, free: Free, variable: Variable) -> Prior | None:
    if isinstance(free.prior, str) and free.prior == "model":
        if variable.prior is None:
            raise ModelError(f'The model has no prior of `{name}`: give a distribution instead of "model".')
        return variable.prior
    if free.prior is not None and not isinstance(free.prior, Prior):
        raise ModelError(f'`prior` must be a distribution, "model" or None, but got {free.prior!r} for `{name}`.')
    return free.prior


def _transform(name: str, free: Free, variable: Variable, prior: Prior | None) -> Transform:
    if free.bounds is not None and np.shape(free.bounds) != (2,):
        raise ModelError(f"`bounds` must be a pair of numbers, but got {free.bounds!r} for `{name}`.")
    lower, upper = (-math.inf, math.inf) if free.bounds is None else (float(b) for b in free.bounds)
    if isinstance(prior, Uniform):
        lower, upper = max(lower, prior.lower), min(upper, prior.upper)
    if not lower < upper:
        raise ModelError(f"`bounds` must be increasing, but got ({lower:g}, {upper:g}) for `{name}`.")
    finite = math.isfinite(lower) and math.isfinite(upper)
    usual = variable.bounds if free.bounds is None and not finite else (lower, upper)
    kind = free.transform
    if kind is None:
        positive = usual is not None and usual[0] >= 0
        kind = "logit" if finite else "log" if positive else "identity"
    if kind == "logit":
        if not finite:
            raise ModelError(
                f'The transform "logit" needs finite `bounds`, but got ({lower:g}, {upper:g}) for `{name}`.'
            )
        return Logit(lower, upper)
    if kind == "log":
        if upper <= 0 or (free.bounds is not None and lower < 0):
            raise ModelError(
                f'The transform "log" needs `bounds` that are not negative, but got ({lower:g}, {upper:g}) for `{name}`.'
            )
        return Log(max(lower, 0.0), upper)
    if kind == "identity":
        return Identity(lower, upper)
    raise ModelError(f'`transform` must be "identity", "log" or "logit", but got {kind!r} for `{name}`.')
