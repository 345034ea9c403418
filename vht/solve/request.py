"""What a user asked `simulate` for, as names and numbers: converted, then checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, Shaped

from vht.errors import ModelError, nearest
from vht.model import Organ, Twins, check_units, inputs, outputs, states
from vht.solve.methods import Method, Tsit5
from vht.solve.plan import Given, Plan, Results
from vht.solve.schedule import Schedule
from vht.solve.sensitivity import Direction
from vht.solve.system import System, system_of
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
        names: of the twins, if they have any.
    """

    model: Organ
    plan: Plan
    given: Given
    method: Method
    names: tuple[str, ...] | None

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
            ModelError: unknown names.
            ValueError: shapes that do not fit.
        """
        check_units(model)
        system = system_of(model)
        columns: Columns = {} if twins is None else twins.columns if isinstance(twins, Twins) else twins
        names = twins.names if isinstance(twins, Twins) else None
        schedule = Schedule() if schedule is None else schedule
        initial = {} if initial is None else initial
        for name in columns:
            known("parameter", name, system.parameters, model)
        for name in initial:
            known("state", name, system.states, model)
        for name in (*schedule.doses, *schedule.signals):
            known("input", name, system.inputs, model)
        observable = (*system.states, *system.outputs)
        observed = observable if observe is None else tuple(dict.fromkeys(observe))
        for name in observed:
            known("state or output", name, observable, model)
        if not observed:
            raise ValueError("`observe` must name at least one state or output, but got none.")

        own = {name: functools.reduce(getattr, name.split("."), model) for name in system.parameters}
        step = (method.first_step if method.step is None else method.step) if isinstance(method, Tsit5) else None
        given = Given(
            parameters=_numbers({**own, **columns}),
            initial=_numbers(dict(initial)),
            start=_numbers(start),
            times=_numbers(times),
            schedule=_numbers(_plain(schedule)),
            step=np.float64(0.0 if step is None else step),  # type: ignore[arg-type]
            rtol=np.float64(method.rtol),  # type: ignore[arg-type]
            atol=np.float64(method.atol),  # type: ignore[arg-type]
            max_steps=np.int32(min(method.max_steps, np.iinfo(np.int32).max)),  # type: ignore[arg-type]
        )
        lags = {name: v.lag for name, v in inputs(model).items() if v.lag is not None and name in schedule.doses}
        count = _count_twins(given)
        if names is not None and len(names) != count:
            raise ValueError(f"There are {len(names)} names of twins, but the columns hold {count}.")
        plan = Plan(system, observed, tuple(lags.items()), count, method, "auto")
        return cls(model, plan, given, method, None if names is None else tuple(map(str, names)))

    @property
    def traced(self) -> bool:
        """Whether a transformation of JAX is at work on any number."""
        return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self.given))

    def check(self) -> None:
        """Check what a solve needs, as far as the numbers are known yet.

        Raises:
            ModelError: an input that needs a signal has none.
            ValueError: times out of order or not numbers.
        """
        schedule = self.given.schedule
        for name, variable in inputs(self.model).items():
            if variable.port == "signal" and name not in (*schedule.doses, *schedule.signals):
                raise ModelError(
                    f"Input `{name}` of `{type(self.model).__name__}` is a signal and needs values: give "
                    f'`schedule=Schedule(signals={{"{name}": Signal(...)}})`.'
                )
        times, start = self.given.times, self.given.start
        if _concrete(times):
            if np.isnan(times).any() or np.isneginf(times).any():
                raise ValueError("`times` must be numbers (or +inf to fill up a row), but got NaN or -inf.")
            with np.errstate(invalid="ignore"):
                backwards = np.diff(times, axis=-1) < 0.0
            if backwards.any():
                at = np.argwhere(backwards)[0]
                pair = times[(*at[:-1], slice(at[-1], at[-1] + 2))]
                row = f" of twin {at[0]}" if times.ndim == 2 else ""
                raise ValueError(f"`times` must not decrease, but got {pair[0]:g} before {pair[1]:g}{row}.")
            if _concrete(start) and times.shape[-1] and (times[..., 0] < start).any():
                early = times[..., 0].min()
                raise ValueError(f"`times` must not lie before `start` ({np.max(start):g}), but got {early:g}.")
        if _concrete(start) and not np.isfinite(start).all():
            raise ValueError("`start` must be a finite number, but got NaN or infinity.")
        for kind in ("doses", "signals"):
            for name, table in getattr(schedule, kind).items():
                if _concrete(table.time) and np.isnan(table.time).any():
                    raise ValueError(
                        f"Times of {kind} must be numbers (or +inf to fill up a row), but got NaN in `{name}`."
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

    def trajectory(self, results: Results, backend: str) -> Trajectory:
        """The results with what is known about them."""
        variables = {**states(self.model), **outputs(self.model)}
        labels = tuple(
            Label(name, str(v.unit), v.meaning, v.kind, v.source)
            for name, v in variables.items()
            if name in results.values
        )
        settings = Settings(type(self.model).__name__, getattr(self.model, "time", "s"), self.method, backend)
        return Trajectory(
            times=self.given.times,
            values=dict(results.values),
            status=results.status,
            steps=results.steps,
            rejected=results.rejected,
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


def _concrete(leaf: Any) -> bool:
    return not isinstance(leaf, Tracer)


def _numbers(tree: Any) -> Any:
    """Every leaf in float64, unless a transformation holds it; lists count as leaves."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64) if _concrete(leaf) else leaf,
        tree,
        is_leaf=lambda node: isinstance(node, list | tuple) and not hasattr(node, "_fields"),
    )


def _plain(schedule: Schedule) -> Schedule:
    """The schedule with plain dictionaries, in order of their names."""
    return Schedule(dict(sorted(schedule.doses.items())), dict(sorted(schedule.signals.items())))


def _count_twins(given: Given) -> int:
    """The number of twins: the common length of all leading axes, 1 if there is none.

    Raises:
        ValueError: a leaf has too few or too many axes, or lengths differ.
    """
    found: dict[int, str] = {}
    for (path, leaf), rank in zip(
        jax.tree_util.tree_flatten_with_path(given)[0], jax.tree.leaves(given.ranks()), strict=True
    ):
        name = ".".join(str(getattr(k, "name", getattr(k, "key", k))) for k in path)
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
    return next(iter(found), 1)
