"""What a user asked `simulate` for, as names and numbers: converted, then checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import ArrayLike, Shaped

from vht.errors import ModelError, nearest
from vht.model import Organ, Twins, check_units, inputs, outputs, states
from vht.model.body import check_open
from vht.model.real import real_numbers
from vht.model.twins import columns_of
from vht.solve.exponential import gating_states
from vht.solve.given import Given, Plan, Results, Used
from vht.solve.methods import RK4, Auto, Diffrax, Method, Rodas5P, RushLarsen, Tsit5
from vht.solve.schedule import Doses, Schedule, Signal, listed
from vht.solve.sensitivity import Direction
from vht.solve.system import System, compares, system_of
from vht.solve.trajectory import Label, Settings, Trajectory

Columns = Mapping[str, Shaped[ArrayLike, "..."] | Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Request:
    """One call.

    Attributes:
        model: the user's.
        plan: names and settings.
        given: numbers.
        method: the user's settings, numbers included.
        note: why this method, if it was not the user who chose it.
        names: of the twins, if they have any.
    """

    model: Organ
    plan: Plan
    given: Given
    method: Method
    names: tuple[str, ...] | None
    note: str = ""

    @classmethod
    def of(
        cls,
        model: Organ,
        times: Shaped[ArrayLike, "... saves"],
        twins: Twins | Columns | None,
        initial: Columns | None,
        start: Shaped[ArrayLike, ...],
        schedule: Schedule | None,
        observe: Sequence[str] | None,
        method: Method,
    ) -> Request:
        """Convert; what can be checked by name is checked here.

        Raises:
            ModelError: unknown names; something that is no model.
            TypeError: something that is no schedule, method, list of names, or columns by name.
            ValueError: shapes that do not fit; what is not numbers.
        """
        _check_kinds(model, twins, initial, schedule, observe, method)
        check_units(model)
        system = system_of(model)
        _check_method(system, method)
        columns: Columns = {} if twins is None else columns_of(twins, model)
        names = twins.names if isinstance(twins, Twins) else None
        schedule = Schedule() if schedule is None else schedule
        initial = {} if initial is None else initial
        for name in columns:
            known("parameter", name, system.parameters, model)
        for name in initial:
            known("state", name, system.states, model)
        for name in (*schedule.doses, *schedule.signals):
            check_open(model, name)
            known("input", name, system.inputs, model)
        for name in schedule.doses:
            if system.inputs[name]:
                raise ModelError(
                    f"Doses add up in an input that is 0 without them, but `{name}` of `{type(model).__name__}` then is "
                    f"{system.inputs[name]:g}: give it a `Signal`."
                )
        observable = (*system.states, *system.outputs)
        observed = observable if observe is None else tuple(dict.fromkeys(observe))
        for name in observed:
            known("state or output", name, observable, model)
        if not observed:
            raise ValueError("`observe` must name at least one state or output, but got none.")

        own = _own_parameters(model, system)
        fixed = method.step if isinstance(method, Tsit5 | RK4 | RushLarsen) else None
        bounded = not isinstance(method, Diffrax | RK4)
        step = method.first_step if bounded and fixed is None else fixed
        longest = method.max_step if bounded else None
        given = Given(
            parameters={name: _numbers(f"parameters.{name}", value) for name, value in {**own, **columns}.items()},
            initial={name: _numbers(f"initial.{name}", value) for name, value in initial.items()},
            start=_numbers("start", start),
            times=_numbers("times", times),
            schedule=_tables(schedule),
            step=np.float64(0.0 if step is None else step),  # type: ignore[arg-type]
            longest=np.float64(np.inf if longest is None else longest),  # type: ignore[arg-type]
            rtol=np.float64(method.rtol),  # type: ignore[arg-type]
            atol=np.float64(method.atol),  # type: ignore[arg-type]
            max_steps=np.int32(min(method.max_steps, np.iinfo(np.int32).max)),  # type: ignore[arg-type]
        )
        lags = {name: v.lag for name, v in inputs(model).items() if v.lag is not None and name in schedule.doses}
        count = _count_twins(given)
        if count is None:
            count = len(names) if names else 1
            if count > 1:
                # XLA would work long on a batch in which all is shared
                spread = np.broadcast_to if _concrete(given.start) else jnp.broadcast_to
                given = given._replace(start=spread(given.start, (count,)))  # type: ignore[arg-type]
        if names is not None and len(names) != count:
            raise ValueError(f"There are {len(names)} names of twins, but the columns hold {count}.")
        # what `check` refuses where it is known
        doses = {
            name: _spread_out(table) if not _concrete(table.duration) and compares(system, name) else table
            for name, table in given.schedule.doses.items()
        }
        tables, ordered = _in_order(Schedule(doses, given.schedule.signals))
        given = given._replace(schedule=tables)
        plan = Plan(system, observed, tuple(lags.items()), count, method, "auto", ordered)
        return cls(model, plan, given, method, None if names is None else tuple(map(str, names)))

    @property
    def own_parameters(self) -> dict[str, Any]:
        """The parameters of the user's model, for twins that have no column of their own."""
        return _own_parameters(self.model, self.plan.system)

    def with_method(self, method: Method, note: str = "") -> Request:
        """The same with another method of this package's own."""
        plan = dataclasses.replace(self.plan, method=method)
        given = self.given._replace(max_steps=np.int32(min(method.max_steps, np.iinfo(np.int32).max)))  # type: ignore[arg-type]
        return dataclasses.replace(self, plan=plan, given=given, method=method, note=note)

    @functools.cached_property
    def traced(self) -> bool:
        """Whether a transformation of JAX is at work: on any number, or on everything computed here (`jax.jit`)."""
        return any(isinstance(leaf, Tracer) for leaf in (*jax.tree.leaves(self.given), lax.neg(np.float32(0.0))))

    def check(self, *, constant: bool = False) -> None:
        """Check what a solve needs, as far as the numbers are known yet.

        Args:
            constant: inputs are given as constant values, `inputs`, rather than in a schedule.

        Raises:
            ModelError: an input that needs a signal has none, or one that is compared is given a dose at once.
            ValueError: times out of order or not numbers; lengths of infusions that are none; a signal without values.
        """
        schedule = self.given.schedule
        for name, variable in inputs(self.model).items():
            driven = name in schedule.doses or name in schedule.signals
            if variable.port == "signal" and variable.default is None and not driven:
                given = f'inputs={{"{name}": ...}}'
                advice = given if constant else f'schedule=Schedule(signals={{"{name}": Signal(...)}})'
                raise ModelError(
                    f"Input `{name}` of `{type(self.model).__name__}` is a signal and needs values: give `{advice}`."
                )
        _check_times(self.given.times, self.given.start)
        for name, doses in schedule.doses.items():
            _check_doses(name, doses)
            if _at_once(doses) and compares(self.plan.system, name):
                raise ModelError(
                    f"`rates` of `{type(self.model).__name__}` compares its input `{name}` with something (`jnp.maximum`, "
                    "`jnp.where`, ...). A dose at once moves the states by the slope of the rates in that input, which a "
                    "comparison hides, and would not arrive as given: give the doses a `duration`, or compare it no more."
                )
        for name, signal in schedule.signals.items():
            if np.shape(signal.time)[-1] == 0:
                raise ValueError(f"A signal must hold at least one value, but got none in `{name}`.")
            if _concrete(signal.time) and not (np.asarray(signal.time, np.float64) > -np.inf).all():
                raise ValueError(
                    f"Times of signals must be numbers (or +inf to fill up a row), but got NaN or -inf in `{name}`."
                )

    def direction(self, name: str) -> Direction:
        """The direction that a free quantity's name means: a parameter's, or ``initial.STATE``.

        Raises:
            ModelError: there is none of that name.
        """
        system: System = self.plan.system
        head, dot, state = name.partition(".")
        if head == "initial" and dot and name not in system.parameters:
            known("state", state, system.states, self.model)
            return Direction("initial", state)
        known("parameter", name, system.parameters, self.model)
        return Direction("parameter", name)

    def trajectory(self, results: Results, used: Used) -> Trajectory:
        """The results with what is known about them."""
        variables = {**states(self.model), **outputs(self.model)}
        labels = tuple(Label.of(variable) for name, variable in variables.items() if name in results.values)
        name, of = type(self.model).__name__, self.plan.system.states
        settings = Settings(
            name, self.model.time, self.method, used.backend, of, self.note, used.device, self.plan.observed
        )
        return Trajectory(
            times=self.given.times,
            values=dict(results.values),
            status=results.status,
            steps=results.steps,
            rejected=results.rejected,
            culprit=results.culprit,
            events=dict(results.events),
            settings=settings,
            labels=labels,
            names=self.names,
        )


def known(kind: str, name: str, names: Iterable[str], model: Organ) -> None:
    """Refuse an unknown name, with the nearest one.

    Raises:
        ModelError: the name is not among the names.
    """
    names = tuple(names)
    if name not in names:
        raise ModelError(f"`{type(model).__name__}` has no {kind} `{name}`.{nearest(name, names)}")


def check_names(argument: str, names: Any) -> None:
    """Refuse what is no list of names.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(names, str):
        raise TypeError(f'`{argument}` must be a list of names, but got a text: write `{argument}=["{names}"]`.')
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`{argument}` must be a list of names, but got {names!r:.100}.")


def _own_parameters(model: Organ, system: System) -> dict[str, Any]:
    return {name: getattr(model, name) for name in system.parameters}


def _concrete(leaf: Any) -> bool:
    return not isinstance(leaf, Tracer)


def _check_kinds(model: Any, twins: Any, initial: Any, schedule: Any, observe: Any, method: Any) -> None:
    """Refuse what is of another kind than asked for, before it fails somewhere inside."""
    if isinstance(model, type):
        raise ModelError(f"`model` must be a model, but got its class: write `{model.__name__}()`.")
    if not isinstance(model, Organ):
        raise ModelError(f"`model` must be a model (an instance of an `Organ`), but got {model!r:.100}.")
    for name, columns in (("twins", twins), ("initial", initial)):
        if not (columns is None or isinstance(columns, Twins | Mapping)):
            raise TypeError(f"`{name}` must hold columns by name, but got {type(columns).__name__}.")
    if not (schedule is None or isinstance(schedule, Schedule)):
        raise TypeError(f"`schedule` must be a `Schedule`, but got {type(schedule).__name__}.")
    if schedule is not None:
        for kind, tables, wanted in (("doses", schedule.doses, Doses), ("signals", schedule.signals, Signal)):
            if not isinstance(tables, Mapping):
                raise TypeError(
                    f"`{kind}` of a schedule must map inputs to `{wanted.__name__}(...)`, but got {type(tables).__name__}."
                )
            for name, table in tables.items():
                if not isinstance(table, wanted):
                    raise TypeError(
                        f"`{name}` among {kind} must be a `{wanted.__name__}`, but got {type(table).__name__}."
                    )
    if observe is not None:
        check_names("observe", observe)
    if not isinstance(method, Method):
        raise TypeError(
            "`method` must be a `Tsit5(...)`, `Rodas5P(...)`, `RushLarsen(...)`, `RK4(...)`, `Auto(...)` or "
            f"`Diffrax(...)`, but got {method!r:.100}."
        )


def _check_method(system: System, method: Method) -> None:
    """Refuse a method that cannot solve a model of this kind."""
    name = type(system.model).__name__
    algebraic = [state for state, is_one in zip(system.states, system.algebraic, strict=True) if is_one]
    if algebraic and not isinstance(method, Rodas5P | Auto):
        raise ModelError(
            f"`{name}` has the algebraic variable `{algebraic[0]}`, which an implicit method must solve for: give "
            f"`method=Rodas5P(...)` instead of `{type(method).__name__}`."
        )
    if system.events and isinstance(method, Diffrax):
        raise ModelError(
            f"`{name}` has events of the state (`{system.events[0][0]}`), which only this package's own loop looks for: give "
            "`method=Tsit5(...)` or `Rodas5P(...)`."
        )
    if isinstance(method, RushLarsen) and not gating_states(system):
        raise ModelError(
            f"`RushLarsen` needs gates, but `{name}` has none: write the rates of its gating states with "
            "`vht.model.gate`, or give `method=Tsit5(...)`, or `Rodas5P(...)` if it is stiff."
        )


def _check_times(times: Any, start: Any) -> None:
    if _concrete(start) and not np.isfinite(start).all():
        raise ValueError("`start` must be a finite number, but got NaN or infinity.")
    if not _concrete(times):
        return
    if times.shape[-1] == 0:
        raise ValueError("`times` must hold at least one time, but got none.")
    if np.isnan(times).any() or np.isneginf(times).any():
        raise ValueError("`times` must be numbers (or +inf to fill up a row), but got NaN or -inf.")
    backwards = times[..., 1:] < times[..., :-1]
    if backwards.any():
        at = np.argwhere(backwards)[0]
        pair = times[(*at[:-1], slice(at[-1], at[-1] + 2))]
        row = f" of twin {at[0]}" if times.ndim == 2 else ""
        raise ValueError(f"`times` must not decrease, but got {pair[0]:.10g} before {pair[1]:.10g}{row}.")
    early = _concrete(start) and np.atleast_1d(times[..., 0] < start)
    if np.any(early):
        i = int(np.flatnonzero(early)[0])
        first, begin = (np.broadcast_to(v, np.shape(early))[i] for v in (times[..., 0], start))
        row = f" of twin {i}" if times.ndim == 2 or np.ndim(start) else ""
        raise ValueError(f"`times` must not lie before `start` ({begin:.10g}), but got {first:.10g}{row}.")


def _check_doses(name: str, doses: Doses) -> None:
    fill: Any = False
    if _concrete(doses.time):
        time = np.asarray(doses.time, np.float64)
        if np.isnan(time).any() or (time == -np.inf).any():
            raise ValueError(
                f"Times of doses must be numbers (or +inf to fill up a row), but got NaN or -inf in `{name}`."
            )
        fill = time == np.inf
    if doses.duration is not None and _concrete(doses.duration):
        duration = np.asarray(doses.duration, np.float64)
        wrong = np.logical_not(((duration >= 0.0) & (duration < np.inf)) | fill)
        if wrong.any():
            found = np.broadcast_to(duration, wrong.shape)[wrong][0]
            raise ValueError(f"`duration` of doses must be zero or a positive number, but got {found:g} in `{name}`.")


def _at_once(doses: Doses) -> bool:
    """Whether some dose is a bolus, or can be one as far as is known yet. For durations that are not, see `_spread_out`."""
    if not _concrete(doses.duration):
        return False
    found: Any = True if doses.duration is None else np.asarray(doses.duration) == 0.0
    if _concrete(doses.time):
        found = found & (np.asarray(doses.time) < np.inf)
    if _concrete(doses.amount):
        found = found & (np.asarray(doses.amount) != 0.0)
    return bool(np.any(found))


def _spread_out(doses: Doses) -> Doses:
    """Doses of which those at once are no numbers, so that their twins end as `non_finite`."""
    at_once = (doses.duration == 0.0) & (doses.time < np.inf) & (doses.amount != 0.0)  # type: ignore[operator]
    return Doses(doses.time, jnp.where(at_once, jnp.nan, doses.amount), doses.duration)


def _numbers(name: str, value: Any) -> Any:
    """`real_numbers`, unless a transformation holds them.

    Raises:
        ValueError: it is not numbers.
    """
    value = listed(value)
    return real_numbers(name, value) if _concrete(value) else value


def _tables(schedule: Schedule) -> Schedule:
    """The schedule's numbers in plain dictionaries, in order of their names."""

    def numbers(path: Any, leaf: Any) -> Any:
        return _numbers(f"schedule.{_dotted(path)}", leaf)

    plain = Schedule(dict(sorted(schedule.doses.items())), dict(sorted(schedule.signals.items())))
    return jax.tree_util.tree_map_with_path(numbers, plain)


def _dotted(path: Any) -> str:
    """The name of a leaf: ``doses.oral.time``."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _in_order(schedule: Schedule) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule with its signals in order of time where that is known already, and the ports of those."""
    signals, ordered = dict(schedule.signals), []
    for port, signal in schedule.signals.items():
        time, value = signal.time, signal.value
        if not _concrete(time):
            continue
        time = np.asarray(time)
        if not (time[..., 1:] >= time[..., :-1]).all():
            if not _concrete(value):
                continue
            time, value = np.broadcast_arrays(time, value)
            order = np.argsort(time, axis=-1, kind="stable")
            time, value = np.take_along_axis(time, order, -1), np.take_along_axis(value, order, -1)
            signals[port] = Signal(time, value, signal.interpolation)
        ordered.append(port)
    return Schedule(schedule.doses, signals), tuple(ordered)


def _count_twins(given: Given) -> int | None:
    """The number of twins: the common length of all leading axes, None if there is none.

    Raises:
        ValueError: a leaf has too few or too many axes, or lengths differ.
    """
    found: dict[int, str] = {}
    for (path, leaf), rank in zip(
        jax.tree_util.tree_flatten_with_path(given)[0], jax.tree.leaves(given.ranks()), strict=True
    ):
        name = _dotted(path)
        if np.ndim(leaf) not in (rank, rank + 1):
            shapes = "[twins] or a scalar" if rank == 0 else "[n] or [twins, n]"
            raise ValueError(f"`{name}` must have the shape {shapes}, but got {list(np.shape(leaf))}.")
        if np.ndim(leaf) > rank:
            found.setdefault(np.shape(leaf)[0], name)
    if len(found) > 1:
        told = ", ".join(f"{n} in `{name}`" for n, name in found.items())
        raise ValueError(f"Columns must agree on the number of twins, but got {told}.")
    for kind in ("doses", "signals"):
        for port, table in getattr(given.schedule, kind).items():
            lengths = {np.shape(leaf)[-1] for leaf in jax.tree.leaves(table)}
            if len(lengths) > 1:
                raise ValueError(f"The tables of {kind} `{port}` must be of one length, but got {sorted(lengths)}.")
    return next(iter(found), None)
