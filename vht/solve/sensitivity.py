"""Forward sensitivities: the states' derivatives along chosen directions, solved for together with the states.

A direction is one number that a result may depend on: a parameter, an initial value, the start, an entry of the schedule.
With S the derivative of the states along it, dS/dt is the derivative of the rates along (S, and what the direction itself
moves). At an event that jumps from x to g(x) while its time moves by tau, S becomes

    Dg (S + f_before tau) - f_after tau.

A direction's *seed* is the part that decides which code it needs; directions with equal seeds run the same kernel.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vht.solve.schedule import Events, Schedule, event_list
from vht.solve.system import Named, Scalar, System, Values

Kind = Literal["parameter", "initial", "start", "doses", "signals"]
Gaps = Literal["none", "derivatives", "all"]
"""What may be without a finite number at a save: nothing, or the twin ends there; derivatives alone; or values too."""


@dataclasses.dataclass(frozen=True)
class Direction:
    """One column of a Jacobian: what the results are differentiated with respect to.

    Attributes:
        kind: where the number lives.
        name: of the parameter, state or input port.
        field: of the schedule's table: "time", "amount", "duration" or "value".
        index: of the table's column.
    """

    kind: Kind
    name: str = ""
    field: str = ""
    index: int = 0


@dataclasses.dataclass(frozen=True)
class Seed:
    """What a direction moves.

    Attributes:
        parameter: a parameter's name.
        initial: a state's name, if its initial value moves.
        start: the start moves.
        times: event times move.
        amounts: ports whose amounts at events move.
        values: ports whose input moves between events.
        slopes: ports whose input's slope moves between events.
    """

    parameter: str | None = None
    initial: str | None = None
    start: bool = False
    times: bool = False
    amounts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    slopes: tuple[str, ...] = ()


class EventTangents(NamedTuple):
    """How a direction moves the list of events; what it leaves alone is absent.

    Attributes:
        time: of each event.
        amounts: by port, of each event.
        values: by port, of the input at each event while the event's time stays.
        slopes: by port, of the slope from each event on.
        start_values: by port, of the input at the start.
        start_slopes: by port, of the slope at the start.
    """

    time: Float[Array, " events"] | None = None
    amounts: Mapping[str, Float[Array, " events"]] = {}
    values: Mapping[str, Float[Array, " events"]] = {}
    slopes: Mapping[str, Float[Array, " events"]] = {}
    start_values: Mapping[str, Float[Array, ""]] = {}
    start_slopes: Mapping[str, Float[Array, ""]] = {}


def seed_of(direction: Direction, schedule: Schedule, lags: Mapping[str, str]) -> Seed:
    """What a direction moves.

    Args:
        direction: which number.
        schedule: its ports and the presence of durations decide what an amount moves.
        lags: by dosed port, the name of its lag parameter.
    """
    name, field = direction.name, direction.field
    match direction.kind:
        case "parameter":
            return Seed(parameter=name, times=any(lags.get(port) == name for port in schedule.doses))
        case "initial":
            return Seed(initial=name)
        case "start":
            return Seed(start=True)
        case "doses":
            infusions = (name,) if schedule.doses[name].duration is not None else ()
            if field == "time":
                return Seed(times=True)
            if field == "amount":
                return Seed(amounts=(name,), values=infusions)
            return Seed(times=True, values=infusions)
        case "signals":
            linear = (name,) if schedule.signals[name].interpolation == "linear" else ()
            if field == "value":
                return Seed(values=(name,), slopes=linear)
            return Seed(times=True, values=linear, slopes=linear)


def event_tangents(
    seed: Seed,
    ordered: Collection[str],
    schedule: Schedule,
    lags: Mapping[str, Scalar],
    start: Scalar,
    moved: tuple[Schedule, Mapping[str, Scalar]],
) -> EventTangents:
    """How one twin's events move along a direction.

    Args:
        seed: of the direction; says which tangents to keep.
        ordered: ports whose signals are known to be in order of time.
        schedule: one twin's.
        lags: by port.
        start: of the solve.
        moved: how the direction moves the schedule and the lags, of their structure and dtypes.
    """

    def build(schedule: Schedule, lags: Mapping[str, Scalar]) -> Events:
        events = event_list(schedule, lags, start, ordered)
        assert events is not None
        return events._replace(first=jnp.zeros(()))

    events, dots = jax.jvp(build, (schedule, lags), moved)

    def still(port: str) -> Array:
        # the value is attached to the event's time: what remains at a fixed time is without the slope's share
        if port not in events.slopes:
            return dots.values[port]
        share = jnp.where(jnp.isfinite(events.time), events.slopes[port] * dots.time, 0.0)
        return dots.values[port] - share

    return EventTangents(
        time=dots.time if seed.times else None,
        amounts={port: dots.amounts[port] for port in seed.amounts},
        values={port: still(port) for port in seed.values},
        slopes={port: dots.slopes[port] for port in seed.slopes},
        start_values={port: dots.start_values[port] for port in seed.values},
        start_slopes={port: dots.start_slopes[port] for port in seed.slopes},
    )


class Line(NamedTuple):
    """Inputs between two events: straight lines over time.

    Attributes:
        values: by port, at the event.
        slopes: by port, for those that change over time.
    """

    values: Named
    slopes: Named

    def at(self, elapsed: Scalar) -> dict[str, Scalar]:
        """The inputs a time after the event."""
        return {
            port: value + self.slopes[port] * elapsed if port in self.slopes else value
            for port, value in self.values.items()
        }


@dataclasses.dataclass(frozen=True)
class Augmented:
    """A system with sensitivities behind its states: every function takes and gives them all in one tuple.

    Attributes:
        system: the model's functions.
        seeds: of the directions, in their order.
        observed: names of the states and outputs that are saved.
        gaps: what may be without a finite number at a save, which else ends the twin.
    """

    system: System
    seeds: tuple[Seed, ...]
    observed: tuple[str, ...]
    gaps: Gaps = "none"

    @property
    def size(self) -> int:
        """Number of states of the model."""
        return len(self.system.states)

    def split(self, y: Values) -> tuple[Values, tuple[Values, ...]]:
        """States, and the sensitivities of each direction."""
        n = self.size
        return y[:n], tuple(y[n * k : n * (k + 1)] for k in range(1, len(self.seeds) + 1))

    def initial(self, p: Named, given: Named) -> Values:
        """Everything at the start, but for what a moving start adds (`start`)."""
        x = self.system.initial(p, given)
        y = list(x)
        for seed in self.seeds:
            if seed.parameter is not None:
                y += self._moved_initial(seed.parameter)(p, given)
            else:
                y += [
                    jnp.full_like(v, float(name == seed.initial)) for name, v in zip(self.system.states, x, strict=True)
                ]
        return tuple(y)

    def start(self, t: Scalar, p: Named, y: Values, u: Named) -> Values:
        """What the sensitivities to the start are at the start: the states there do not move with it."""
        if not any(seed.start for seed in self.seeds):
            return y
        x, along = self.split(y)
        f = self.system.rates(t, p, x, u)
        rows = list(x)
        for seed, s in zip(self.seeds, along, strict=True):
            rows += [si - fi for si, fi in zip(s, f, strict=True)] if seed.start else s
        return tuple(rows)

    def flow(self, t: Scalar, p: Named, y: Values, u: Named, du: tuple[Named, ...]) -> Values:
        """Rates of the states and of the sensitivities.

        Args:
            t: time, in the dtype of the states.
            p: parameters.
            y: states and sensitivities.
            u: inputs.
            du: by direction, how it moves inputs.
        """
        x, along = self.split(y)
        rows = list(self.system.rates(t, p, x, u))
        for seed, s, dot in zip(self.seeds, along, du, strict=True):
            rows += self.flow_tangent(t, p, x, u, s, own(seed, p), dot)
        return tuple(rows)

    def observe(
        self, t: Scalar, p: Named, y: Values, u: Named, du: tuple[Named, ...]
    ) -> tuple[Values, tuple[Values, ...]]:
        """The observed values, and their derivatives along each direction."""
        x, along = self.split(y)
        tangents = tuple(
            self.observed_tangent(t, p, x, u, s, own(seed, p), dot)
            for seed, s, dot in zip(self.seeds, along, du, strict=True)
        )
        return self.observer(t, p, x, u), tangents

    def observed_rate(self, t: Scalar, p: Named, x: Values, u: Named, slopes: Named, f: Values) -> Values:
        """The observed values' derivatives with respect to time, while the states move by `f`."""
        moving = {port: u[port] for port in slopes}
        _, dots = jax.jvp(
            lambda t, x, moving: self.observer(t, p, x, {**u, **moving}),
            (t, x, moving),
            (jnp.ones_like(t), f, dict(slopes)),
        )
        return dots

    def jump(
        self,
        t: Scalar,
        p: Named,
        y: Values,
        before: Line,
        after: Named,
        amounts: Named,
        tau: tuple[Scalar | None, ...],
        entering: tuple[Named, ...],
        driven: tuple[Named, ...],
    ) -> Values:
        """Everything after an event.

        Args:
            t: time of the event.
            p: parameters.
            y: states and sensitivities before it.
            before: inputs just before it, and their slopes there.
            after: inputs after it.
            amounts: by port, what enters at once.
            tau: by direction, how it moves the event's time.
            entering: by direction, how it moves the amounts.
            driven: by direction, how it moves the inputs before the event, at the event's own time.
        """
        x, along = self.split(y)
        u = before.values
        x_after = self.system.jump(t, p, x, u, amounts) if amounts else x
        rows = list(x_after)
        moving = any(dot is not None for dot in tau)
        f_before = self.system.rates(t, p, x, u) if moving else None
        f_after = self.system.rates(t, p, x_after, after) if moving else None
        for seed, s, dot, more, du in zip(self.seeds, along, tau, entering, driven, strict=True):
            if dot is not None and f_before is not None:
                s = tuple(si + fi * dot for si, fi in zip(s, f_before, strict=True))
                # what a dose does may hang on another input, which an event that moves meets at another height
                du = dict(du) | {port: du.get(port, 0.0) + slope * dot for port, slope in before.slopes.items()}
            if amounts:
                s = self.jump_tangent(t, p, x, u, amounts, s, own(seed, p), dot, more, du)
            if dot is not None and f_after is not None:
                s = tuple(si - fi * dot for si, fi in zip(s, f_after, strict=True))
            rows += s
        return tuple(rows)

    # Every derivative is wrapped in jit: traced once, however often it stands in the solve. Differentiating only what
    # moves keeps the rest's zeros symbolic, so that no code is made for them.
    @functools.cached_property
    def observer(self) -> Callable[..., Values]:
        """``(t, p, x, u) -> `` what is observed."""
        return self.system.observer(self.observed)

    @functools.cached_property
    def flow_tangent(self) -> Callable[..., Values]:
        """``(t, p, x, u, s, own, du) -> `` derivative of the rates, see `along`."""
        return along(self.system.rates)

    @functools.cached_property
    def observed_tangent(self) -> Callable[..., Values]:
        """``(t, p, x, u, s, own, du) -> `` derivative of what is observed, see `along`."""
        return along(self.observer)

    def _moved_initial(self, name: str) -> Callable[[Named, Named], Values]:
        def moved(p: Named, given: Named) -> Values:
            return jax.jvp(lambda v: self.system.initial({**p, name: v}, given), (p[name],), (jnp.ones_like(p[name]),))[
                1
            ]

        return moved

    @functools.cached_property
    def jump_tangent(self) -> Callable[..., Values]:
        """``(t, p, x, u, amounts, s, own, tau, more, du) -> `` derivative of the states after amounts entered.

        `tau` moves the time (None: it stays), `more` the amounts, the others as in `along`.
        """
        system = self.system

        @jax.jit
        def tangent(
            t: Scalar,
            p: Named,
            x: Values,
            u: Named,
            amounts: Named,
            s: Values,
            own: Named,
            tau: Scalar | None,
            more: Named,
            du: Named,
        ) -> Values:
            def g(x: Values, own: Named, clock: Named, entering: Named, driven: Named) -> Values:
                return system.jump(clock.get("t", t), {**p, **own}, x, {**u, **driven}, {**amounts, **entering})

            clock, clock_dot = ({}, {}) if tau is None else ({"t": t}, {"t": tau})
            primals = (x, primals_of(own, p), clock, primals_of(more, amounts), primals_of(du, u))
            return jax.jvp(g, primals, (s, dict(own), clock_dot, dict(more), dict(du)))[1]

        return tangent


def own(seed: Seed, p: Named) -> dict[str, Scalar]:
    """How a direction moves parameters: its own by 1."""
    return {} if seed.parameter is None else {seed.parameter: jnp.ones_like(p[seed.parameter])}


def along(function: Callable[..., Values]) -> Callable[..., Values]:
    """The derivative of ``function(t, p, x, u)``, itself a function ``(t, p, x, u, s, own, du)``.

    `s` moves the states, `own` the parameters it names, `du` the inputs it names.
    """

    @jax.jit
    def tangent(t: Scalar, p: Named, x: Values, u: Named, s: Values, own: Named, du: Named) -> Values:
        return jax.jvp(
            lambda x, own, driven: function(t, {**p, **own}, x, {**u, **driven}),
            (x, primals_of(own, p), primals_of(du, u)),
            (s, dict(own), dict(du)),
        )[1]

    return tangent


def primals_of(moved: Named, where: Named) -> dict[str, Scalar]:
    """The values of what a direction moves, beside the tangents in `moved`."""
    return {name: where[name] for name in moved}
