"""What happens at one moment of a solve: events of the schedule, events of the state, and what each brings about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int
from vht_kernels import length, read

from vht.solve.clock import least_step
from vht.solve.crossings import (
    STORM,
    STORM_STEPS,
    TURN_STEPS,
    Jumps,
    Truths,
    crossed,
    first_and_rest,
    levels_after,
    locate,
    some,
)
from vht.solve.progress import Progress
from vht.solve.propagate import Point, Propagator, Tried
from vht.solve.sensitivity import Augmented, Line
from vht.solve.system import Scalar, Values
from vht.solve.twin import Inputs, Twin


class _Left(NamedTuple):
    fired: Truths  # what is still to happen
    located: Truths  # ... where its value crosses zero
    point: Point
    levels: Values
    speeds: Values


class Moments:
    """The events of one twin.

    Args:
        augmented: the model with its directions.
        twin: its numbers.
        method: what holds and moves its states.
    """

    def __init__(self, augmented: Augmented, twin: Twin, method: Propagator) -> None:
        self.augmented, self.twin, self.method = augmented, twin, method
        self.system = augmented.system
        self.directions: Sequence[str] = [direction for _, direction in self.system.events]

    def time(self, index: Int[Array, ""]) -> Scalar:
        """When an event of the schedule is; +inf after the last one."""
        events = self.twin.events
        if events is None:
            return jnp.full((), jnp.inf, np.float64)
        return jnp.where(index < length(events.time), read(events.time, index), jnp.inf)

    def first_inputs(self) -> Inputs:
        """Those before the first event of the schedule."""
        events, start = self.twin.events, self.twin.start
        if events is None:
            return Inputs(Line({}, {}), start)
        return Inputs(Line(dict(events.start_values), dict(events.start_slopes)), start)

    def levels(self, t: Scalar, x: Values, inputs: Inputs) -> Values:
        """The values of the events of the state."""
        return (
            self.system.crossings(self.twin.cast(t), self.twin.parameters, x, inputs.at(t)) if self.directions else ()
        )

    def _one_by_one(self, c: Progress, before: Values) -> tuple[Point, Values, Values]:
        """Several events of one moment in the order in which the model declares them: each has a time that moves by itself.

        Args:
            c: where they happen.
            before: the events' values there.

        Returns:
            The point behind them, the events' values there, and how fast these change.
        """

        def one(carry: _Left) -> _Left:
            first, rest = first_and_rest(carry.fired)
            located = some(tuple(here & own for here, own in zip(first, carry.located, strict=True)))
            point, speeds = self.method.happened(Jumps(self.augmented, first, located), c.t, carry.point, c.inputs)
            after = self.levels(c.t, self.method.states(point), c.inputs)
            # one whose value this one has moved happens when this one does
            stays = [abs(new - old) <= abs(old) for old, new in zip(carry.levels, after, strict=True)]
            return _Left(
                fired=rest,
                located=tuple(own & still for own, still in zip(carry.located, stays, strict=True)),
                point=point,
                levels=after,
                speeds=speeds,
            )

        still = tuple(jnp.zeros_like(v) for v in before)
        start = _Left(c.fired, (c.located,) * len(before), c.point, before, still)
        end = lax.while_loop(lambda carry: some(carry.fired), one, start)
        return end.point, end.levels, end.speeds

    def locate(self, c: Progress, tried: Tried, accepted: Bool[Array, ""], after: Values) -> tuple[Scalar, Truths]:
        """The fraction of a step after which an event of the state has happened, and which ones have.

        Args:
            c: its beginning.
            tried: the step.
            accepted: whether it counts.
            after: the events' values at its end.
        """
        span, step = tried.span, tried.step

        def inside(theta: Scalar) -> Values:
            x = self.method.inside(step, c.point, self.twin.cast(theta))
            return self.levels_ahead(c, span.begin + theta * span.taken, x)

        ulp = 4.0 * np.finfo(np.float64).eps * jnp.maximum(abs(span.begin), abs(span.end)) / span.taken
        resolution = jnp.maximum(ulp, 2.0 * float(jnp.finfo(self.twin.rtol.dtype).eps))
        return locate(inside, self.directions, c.levels, after, accepted, resolution)

    def levels_ahead(self, c: Progress, t: Scalar, x: Values) -> Values:
        """The events' values within the next step.

        A value that has just turned back at zero counts as back, also where the step is too short to show it.
        """
        found = self.levels(t, x, c.inputs)
        soon = t - c.crossing <= TURN_STEPS * least_step(t, self.twin.end)
        values = []
        for new, old, back in zip(found, c.levels, c.back, strict=True):
            still = back & soon & (new * old < 0.0) & (abs(new) <= abs(old))
            values.append(jnp.where(still, old, new))
        return tuple(values)

    def passed(self, c: Progress) -> Progress:
        """Pass all events of this time: those of the state that were found, those of the schedule, and what these bring."""

        def due(c: Progress) -> Bool[Array, ""]:
            return c.event_time <= c.t

        if not self.system.events:
            no = jnp.array(False)
            return c if self.twin.events is None else lax.while_loop(due, lambda c: self._scheduled(c, no), c)

        def scheduled(c: Progress) -> Progress:
            origin = c.levels

            def one(carry: tuple[Progress, Truths]) -> tuple[Progress, Truths]:
                c, fired = carry
                c = self._scheduled(c, some(fired))
                levels = self.levels(c.t, self.method.states(c.point), c.inputs)
                return c._replace(levels=levels), crossed(self.directions, origin, levels)

            none = tuple(jnp.array(False) for _ in origin)
            c, fired = lax.while_loop(lambda carry: due(carry[0]), one, (c, none))
            return c._replace(fired=fired, located=jnp.array(False))

        def turn(c: Progress) -> Progress:
            if self.twin.events is None:
                return self._happen(c)
            return lax.cond(some(c.fired), self._happen, scheduled, c)

        # what storms ends after the step
        return lax.while_loop(lambda c: (some(c.fired) | due(c)) & (c.storm < np.int32(STORM)), turn, c)

    def _scheduled(self, c: Progress, caused: Bool[Array, ""]) -> Progress:
        """Pass the next event of the schedule; `caused`: one of the same time has made an event of the state happen."""
        point, inputs = self.method.scheduled(c.event, c.event_time, c.point, c.inputs, caused)
        event = c.event + np.int32(1)
        return c._replace(
            point=point,
            inputs=inputs,
            event=event,
            event_time=self.time(event),
            fresh=jnp.array(True),
            jumped=c.jumped | self._jumps(c, point, inputs),
        )

    def _jumps(self, c: Progress, point: Point, inputs: Inputs) -> Bool[Array, ""]:
        """Whether the next event moves a state at all, or an input by more than the relative tolerance."""
        found = jnp.array(False)
        for old, new in zip(self.method.states(c.point), self.method.states(point), strict=True):
            found = found | (old != new)
        before = c.inputs.at(c.event_time)
        for port, new in inputs.line.values.items():
            found = found | (abs(new - before[port]) > self.twin.rtol * abs(new))
        return found

    def _happen(self, c: Progress) -> Progress:
        """The events of the state that were found."""
        before = self.levels(c.t, self.method.states(c.point), c.inputs)
        if len(before) == 1:
            point, speeds = self.method.happened(Jumps(self.augmented, c.fired, c.located), c.t, c.point, c.inputs)
            after = self.levels(c.t, self.method.states(point), c.inputs)
        else:
            point, after, speeds = self._one_by_one(c, before)
        levels, back = levels_after(c.fired, c.located, before, after, speeds)
        at_once = c.t - c.crossing <= STORM_STEPS * least_step(c.t, self.twin.end)
        # a value that turned back and is there again: no telling any more on which side of zero it is
        lost = some(tuple(here & turned for here, turned in zip(c.fired, c.back, strict=True)))
        storm = jnp.where(lost, np.int32(STORM), c.storm + np.int32(1))
        # an event's own reset does not make it happen again
        next_ones = zip(crossed(self.directions, before, after), c.fired, strict=True)
        return c._replace(
            point=point,
            levels=levels,
            back=back,
            fired=tuple(found & ~here for found, here in next_ones),
            located=jnp.array(False),
            counts=tuple(n + here.astype(np.int32) for n, here in zip(c.counts, c.fired, strict=True)),
            crossing=c.t,
            storm=jnp.where(at_once, storm, np.int32(0)),
            fresh=jnp.array(True),
            jumped=jnp.array(True),
        )
