"""The solve of one twin, written once on scalars: steps, error test, events, saves, status.

Everything in here is a scalar of one twin or a table of one twin, so that a backend can put one twin into each lane.
Nothing depends on the number of saves or events, on tolerances or on data: one kernel serves them all. How states and
sensitivities are held and moved is the method's (`propagate.Propagator`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int
from vht_kernels import length, read

from vht.solve import controller
from vht.solve.breaks import RESOLUTION, Side, can_break, changed, first_change
from vht.solve.clock import larger, least_step, smaller
from vht.solve.crossings import STORM, STORM_STEPS, Jumps, Truths, crossed, levels_after, locate, some
from vht.solve.propagate import MODERATE, Point, Propagator, Span, Step, Tables, Written, all_finite, choose
from vht.solve.sensitivity import Augmented, Line
from vht.solve.status import Status
from vht.solve.switches import all_equal
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs, Solved, Twin

# a step that would leave less than this share of itself before a stop goes to the stop at once
REACH = 1e-3

# a state that moves by so many units in its last place hardly does, in so many of the least steps: it may not move at all in
# one of them
STILL_ULPS, STILL_STEPS = 4.0, 1e4
# the squared error of a step in which algebraic variables jump: the next one is a fraction of it
TORN = 64.0

OK = np.int32(Status.OK)


@dataclasses.dataclass(frozen=True)
class Loop:
    """The solve's program: what is fixed when a kernel is made.

    Attributes:
        augmented: the model with its directions and what is observed.
        propagator: makes the method's part of a twin's solve.
        fixed: steps of equal size without error test.
    """

    augmented: Augmented
    propagator: Callable[[Augmented, Twin], Propagator]
    fixed: bool = False

    def __call__(self, twin: Twin) -> Solved:
        """Solve one twin."""
        return _Solve(self, twin).run()


class _Saved(NamedTuple):
    index: Int[Array, ""]
    next: Scalar
    tables: Tables
    culprit: Int[Array, ""]  # number of what is observed and was not finite at the next save; -1 if nothing was yet


class _Carry(NamedTuple):
    t: Scalar
    h: Scalar
    log_error: controller.Log
    point: Point
    memo: Any
    switches: Switches
    fresh: Bool[Array, ""]  # a smooth stretch begins here
    jumped: Bool[Array, ""]  # ... with a jump, not only a kink, before it
    inputs: Inputs
    event: Int[Array, ""]
    event_time: Scalar
    levels: Values  # of the events of the state, from which crossings count
    back: Truths  # which of them have just turned back at zero
    fired: Truths  # events of the state that happen now
    located: Bool[Array, ""]  # ... where their values cross zero, not because of a jump
    counts: tuple[Int[Array, ""], ...]  # how often each has happened
    crossing: Scalar  # time of the last event of the state
    storm: Int[Array, ""]  # events of the state that followed the one before at once
    saved: _Saved
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]


class _Solve:
    """The functions of one solve over what they share."""

    def __init__(self, loop: Loop, twin: Twin) -> None:
        self.loop, self.twin = loop, twin
        self.system = loop.augmented.system
        self.method = loop.propagator(loop.augmented, twin)
        self.dtype = twin.rtol.dtype
        self.directions = [direction for _, direction in self.system.events]

    def cast(self, value: Scalar) -> Scalar:
        return lax.convert_element_type(value, self.dtype)

    def switches(self, t: Scalar, point: Point, inputs: Inputs) -> Switches:
        """What tells the smooth pieces of the rates apart; nothing where no error is tested."""
        if self.loop.fixed:
            return ()
        states = self.method.states(point)
        return self.system.switches(self.cast(t), self.twin.parameters, states, inputs.at(t))

    # ------------------------------------------------------------------------------------------------ saves, events

    def save_time(self, index: Int[Array, ""]) -> Scalar:
        return jnp.where(index < self.twin.saves, read(self.twin.times, index), jnp.inf)

    def saved(self, saved: _Saved, written: Written) -> _Saved:
        """After a save; one that is not finite stays the next one."""
        after = jnp.where(written.culprit < 0, saved.index + np.int32(1), saved.index)
        return _Saved(after, self.save_time(after), written.tables, written.culprit)

    def event_time(self, index: Int[Array, ""]) -> Scalar:
        events = self.twin.events
        if events is None:
            return jnp.full((), jnp.inf, np.float64)
        return jnp.where(index < length(events.time), read(events.time, index), jnp.inf)

    def first_inputs(self) -> Inputs:
        events, start = self.twin.events, self.twin.start
        if events is None:
            return Inputs(Line({}, {}), start)
        return Inputs(Line(dict(events.start_values), dict(events.start_slopes)), start)

    def apply_event(self, c: _Carry, caused: Bool[Array, ""]) -> _Carry:
        """Pass the next event of the schedule; `caused`: one of the same time has made an event of the state happen."""
        point, inputs = self.method.scheduled(c.event, c.event_time, c.point, c.inputs, caused)
        event = c.event + np.int32(1)
        return c._replace(
            point=point,
            inputs=inputs,
            event=event,
            event_time=self.event_time(event),
            fresh=jnp.array(True),
            jumped=c.jumped | self.jumps(c, point, inputs),
        )

    def jumps(self, c: _Carry, point: Point, inputs: Inputs) -> Bool[Array, ""]:
        """Whether the next event moves a state at all, or an input by more than the relative tolerance."""
        found = jnp.array(False)
        for old, new in zip(self.method.states(c.point), self.method.states(point), strict=True):
            found = found | (old != new)
        before = c.inputs.at(c.event_time)
        for port, new in inputs.line.values.items():
            found = found | (abs(new - before[port]) > self.twin.rtol * abs(new))
        return found

    def pass_events(self, c: _Carry) -> _Carry:
        """Pass all events of this time: those of the state that were found, those of the schedule, and what these bring."""

        def due(c: _Carry) -> Bool[Array, ""]:
            return c.event_time <= c.t

        if not self.system.events:
            no = jnp.array(False)
            return c if self.twin.events is None else lax.while_loop(due, lambda c: self.apply_event(c, no), c)

        def scheduled(c: _Carry) -> _Carry:
            origin = c.levels

            def one(carry: tuple[_Carry, Truths]) -> tuple[_Carry, Truths]:
                c, fired = carry
                c = self.apply_event(c, some(fired))
                levels = self.levels(c.t, self.method.states(c.point), c.inputs)
                return c._replace(levels=levels), crossed(self.directions, origin, levels)

            none = tuple(jnp.array(False) for _ in origin)
            c, fired = lax.while_loop(lambda carry: due(carry[0]), one, (c, none))
            return c._replace(fired=fired, located=jnp.array(False))

        def turn(c: _Carry) -> _Carry:
            if self.twin.events is None:
                return self.happen(c)
            return lax.cond(some(c.fired), self.happen, scheduled, c)

        # what storms ends after the step
        return lax.while_loop(lambda c: (some(c.fired) | due(c)) & (c.storm < np.int32(STORM)), turn, c)

    def happen(self, c: _Carry) -> _Carry:
        """The events of the state that were found."""
        before = self.levels(c.t, self.method.states(c.point), c.inputs)
        point, speeds = self.method.happened(Jumps(self.loop.augmented, c.fired, c.located), c.t, c.point, c.inputs)
        after = self.levels(c.t, self.method.states(point), c.inputs)
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

    def levels(self, t: Scalar, x: Values, inputs: Inputs) -> Values:
        """The values of the events of the state."""
        return self.system.crossings(self.cast(t), self.twin.parameters, x, inputs.at(t)) if self.directions else ()

    # ------------------------------------------------------------------------------------- jumps of the rates

    def breaks(self, t: Scalar, inputs: Inputs, x: Values) -> bool:
        """Whether sensitivities must be looked after where the rates jump: where there are any, and an error test."""
        if self.loop.fixed or not self.loop.augmented.seeds:
            return False
        return can_break(self.system, self.cast(t), self.twin.parameters, x, inputs.at(t))

    def change(self, c: _Carry, span: Span, step: Step, end: Scalar, leaps: Bool[Array, ""]) -> tuple[Scalar, Scalar]:
        """Fractions of a step just before and just after the first change of what the rates decide, up to `end`."""

        def decided(at: Scalar) -> Switches:
            t, x = c.t + at * span.taken, self.method.inside(step, c.point, self.cast(at))
            return self.decided(t, x, c.inputs)

        was = self.decided(c.t, self.method.states(c.point), c.inputs)
        resolution = jnp.maximum(4.0 * np.finfo(np.float64).eps * abs(span.end) / span.taken, RESOLUTION)
        if any(self.system.algebraic):
            resolution = jnp.where(leaps, 1.0, resolution)
        return first_change(decided, was, end, resolution)

    def leaps(self, c: _Carry, span: Span, step: Step) -> Bool[Array, ""]:
        """Whether a step is so short that it may cross a jump of algebraic variables: the least, or nothing else moves."""
        floor = least_step(span.begin, self.twin.end)
        still, eps = span.taken <= STILL_STEPS * floor, float(jnp.finfo(self.dtype).eps)
        for old, new, algebraic in zip(self.method.states(c.point), step.end, self.system.algebraic, strict=True):
            if not algebraic:
                still = still & (abs(new - old) <= STILL_ULPS * eps * abs(old))
        return still | (span.taken <= 2.0 * floor)

    def tangent(self, c: _Carry, span: Span) -> Values:
        """Where a step along the tangent ends; algebraic variables stay as they were."""
        x, h = self.method.states(c.point), self.cast(span.taken)
        f = self.system.rates(self.cast(c.t), self.twin.parameters, x, c.inputs.at(c.t))
        rows = zip(x, f, self.system.algebraic, strict=True)
        return tuple(old if algebraic else old + h * rate for old, rate, algebraic in rows)

    def decided(self, t: Scalar, x: Values, inputs: Inputs) -> Switches:
        """What the rates decide at a place."""
        return self.system.breaks(self.cast(t), self.twin.parameters, x, inputs.at(t))[0]

    def broken(
        self, c: _Carry, span: Span, step: Step, low: Scalar, reached: Scalar, point: Point
    ) -> tuple[Point, Any]:
        """Everything behind what the rates decide anew between a fraction of a step and its end, and whether anything is."""
        before, x = self.method.inside(step, c.point, self.cast(low)), self.method.states(point)
        was = self.decided(c.t, self.method.states(c.point), c.inputs)
        flipped = changed(was, self.decided(reached, x, c.inputs))
        t = c.t + low * span.taken
        side = Side(self.cast(t), before, c.inputs.at(t))
        return self.method.broken(side, flipped, reached, point, c.inputs), some(flipped)

    # ------------------------------------------------------------------------------------------------------- steps

    def next_time(self, t: Scalar, h: Scalar, stop: Scalar) -> Scalar:
        """The end of a step of about `h` that does not pass the stop."""
        left = stop - t
        if self.loop.fixed:
            return jnp.where(h * (1.0 + 1e-9) >= left, stop, t + h)
        # two equal steps rather than a long and a very short one
        return jnp.where(h * (1.0 + REACH) >= left, stop, t + jnp.where(h + h > left, 0.5 * left, h))

    def verdict(
        self, c: _Carry, span: Span, stop: Scalar, h: Scalar, step: Step, leaps: Bool[Array, ""]
    ) -> tuple[Any, ...]:
        """Whether a step is accepted, the next one's size, the controller's memory, and what ends the twin."""
        if self.loop.fixed:
            accepted = step.square < jnp.inf
            return accepted, h, c.log_error, jnp.where(accepted, OK, np.int32(Status.NON_FINITE))
        square, order = step.square, self.method.order
        floor = least_step(c.t, stop)
        least = located = jnp.array(False)
        if step.seen[0]:
            across = ~all_equal(step.seen)
            # the estimate holds for smooth rates
            square = jnp.where(across, square * self.method.underestimate**2, square)
            # nearer than the clock ticks no kink can be found: the least step that crosses it is as good as it gets; but
            # not twice on end (which leaves a logarithm of 0), or a twin that only chatters would spend all its steps
            least = span.taken <= 1.5 * floor
            located = across & (square < jnp.inf) & (c.log_error < 0.0)
            if any(self.system.algebraic):
                least = leaps
                located = located | (across & (c.t == self.twin.start))
        finite = (square < jnp.inf) & step.regular
        accepted = step.regular & ((square <= 1.0) | (located & least))
        factor, log_error = controller.propose(square, finite, accepted, c.log_error, order)
        h_next = smaller(span.taken * factor, self.twin.longest)
        # a step cut short to land says nothing against the size that was meant; one that the clock's last bit shortened does
        cut = span.taken < h * (1.0 - 1e-9)
        h_next = jnp.where(accepted & cut, larger(h_next, h), h_next)
        failed = jnp.where(finite, np.int32(Status.STEP_TOO_SMALL), np.int32(Status.NON_FINITE))
        failed = jnp.where(step.regular, failed, np.int32(Status.SINGULAR))
        failure = jnp.where(accepted | (h_next >= floor) | (located & ~least), OK, failed)
        return accepted, larger(h_next, floor), log_error, failure

    def locate(
        self, c: _Carry, span: Span, step: Step, accepted: Bool[Array, ""], after: Values
    ) -> tuple[Scalar, Truths]:
        """The fraction of a step after which an event of the state has happened, and which ones have."""

        def inside(theta: Scalar) -> Values:
            x = self.method.inside(step, c.point, self.cast(theta))
            return self.levels(span.begin + theta * span.taken, x, c.inputs)

        ulp = 4.0 * np.finfo(np.float64).eps * jnp.maximum(abs(span.begin), abs(span.end)) / span.taken
        resolution = jnp.maximum(ulp, 2.0 * float(jnp.finfo(self.dtype).eps))
        return locate(inside, self.directions, c.levels, after, accepted, resolution)

    def stride(self, c: _Carry, memo: Any, stop: Scalar) -> tuple[_Carry, Any]:
        """Steps of equal size with nothing to look at between them: all but the last to the next save or stop.

        A twin that explodes on the way is found out at the end of it.
        """
        h, goal = self.twin.step, smaller(c.saved.next, stop)
        # what is left for the last step must not round to nothing
        least = 2.0 * np.finfo(np.float64).eps * abs(goal)
        ahead = jnp.ceil(((goal - c.t) * (1.0 - 1e-9) - least) / h) - 1.0
        budget = lax.convert_element_type(self.twin.max_steps - c.steps - np.int32(1), np.float64)
        count = lax.convert_element_type(larger(smaller(ahead, budget), jnp.zeros_like(h)), np.int32)

        def one(carry: tuple[Int[Array, ""], Point, Any]) -> tuple[Int[Array, ""], Point, Any]:
            done, point, memo = carry
            begin = c.t + h * done.astype(np.float64)
            step = self.method.attempt(Span(begin, begin + h, h), point, memo, c.inputs, ())
            return done + np.int32(1), self.method.accept(jnp.array(True), step, point), step.memo

        _, point, memo = lax.while_loop(lambda carry: carry[0] < count, one, (jnp.zeros((), np.int32), c.point, memo))
        return c._replace(t=c.t + h * count.astype(np.float64), point=point, steps=c.steps + count), memo

    def step(self, c: _Carry) -> _Carry:
        twin, method = self.twin, self.method
        c = self.pass_events(c)
        stop = smaller(c.event_time, twin.end)
        memo, switches = lax.cond(
            c.fresh,
            lambda: (method.begin(c.t, c.point, c.inputs), self.switches(c.t, c.point, c.inputs)),
            lambda: (c.memo, c.switches),
        )
        if self.loop.fixed and not self.system.events:
            c, memo = self.stride(c, memo, stop)
        # a kink, such as each sample of a linear signal, says nothing against the size of the steps before it
        h = c.h
        if not self.loop.fixed:
            h = lax.cond(c.jumped, lambda: method.first_step(c.t, c.point, memo, c.inputs, stop, c.h), lambda: c.h)
        end = self.next_time(c.t, h, stop)
        span = Span(c.t, end, end - c.t)
        step = method.attempt(span, c.point, memo, c.inputs, switches)
        jumpy = self.breaks(c.t, c.inputs, step.end)
        # where the rates jump, algebraic variables do
        unsettled = any(self.system.algebraic) and bool(switches)
        if jumpy or unsettled:
            # a jump between the last stage and the end belongs to this step
            step.seen.append(
                self.system.switches(self.cast(span.end), twin.parameters, step.end, c.inputs.at(span.end))
            )
        ahead = self.levels(span.end, step.end, c.inputs)
        # an event without a value could be missed
        sound = _numbers(ahead) & self.moderate(step.end)
        step = dataclasses.replace(step, square=jnp.where(sound, step.square, jnp.inf))
        torn = leaps = jnp.array(False)
        if unsettled:
            differ = ~all_equal(step.seen)
            leaps = differ & self.leaps(c, span, step)
            look = differ & ~leaps & (step.square <= 1.0)
            torn = lax.cond(look, lambda: method.torn(span, step, c.point, c.inputs), lambda: torn)
            step = dataclasses.replace(step, square=jnp.where(torn, TORN, step.square))
        accepted, h_next, log_error, failure = self.verdict(c, span, stop, h, step, leaps)
        if unsettled:
            failure = jnp.where(torn, OK, failure)
        # an event may have left the algebraic variables without values
        settled = method.culprit(c.point) < 0
        failure = jnp.where(settled, failure, np.int32(Status.NO_INITIAL_VALUE))
        # in a storm the states are not those after the events
        calm = c.storm < np.int32(STORM)
        failure = jnp.where(calm, failure, np.int32(Status.EVENT_STORM))
        accepted = accepted & settled & calm
        reached = jnp.where(accepted, end, c.t)
        theta, levels, fired = jnp.ones_like(c.t), c.levels, c.fired
        if self.system.events:
            levels = tuple(jnp.where(accepted, new, old) for new, old in zip(ahead, levels, strict=True))
            theta, fired = self.locate(c, span, step, accepted & ~leaps if unsettled else accepted, ahead)
            reached = jnp.where(theta < 1.0, c.t + theta * span.taken, reached)
        low, sooner, across = jnp.zeros_like(theta), jnp.array(False), jnp.array(False)
        if jumpy or unsettled:
            across = accepted & ~all_equal(step.seen)
        if jumpy:
            # a step ends where the rates jump, or bend in a way that could be one
            none = (low, theta)
            low, at = lax.cond(across, lambda: self.change(c, span, step, theta, leaps), lambda: none)
            sooner = at < theta
            theta = at
            reached = jnp.where(sooner, c.t + at * span.taken, reached)
            fired = tuple(found & ~sooner for found in fired)
        here = some(fired)

        def share(saved: _Saved) -> Scalar:
            found = jnp.minimum(self.cast((saved.next - c.t) / span.taken), 1.0)
            # at the very time of a jump the values before it: in between algebraic variables are on neither side
            return jnp.where(leaps, 0.0, found) if unsettled else found

        def due(saved: _Saved) -> Bool[Array, ""]:
            reaches = (saved.next <= reached) & (saved.culprit < 0)
            if not self.loop.fixed:
                return reaches
            # without an error test there may be no numbers between two ends
            inside = functools.partial(method.inside, step, c.point)
            return lax.cond(reaches, lambda: all_finite(inside(share(saved))), lambda: jnp.array(False))

        def save(saved: _Saved) -> _Saved:
            index, theta = saved.index, share(saved)
            return self.saved(
                saved, method.save_inside(saved.tables, index, saved.next, step, c.point, theta, c.inputs)
            )

        saved = lax.while_loop(due, save, c.saved)
        # what could not be saved
        failure = jnp.where(saved.next <= reached, np.int32(Status.NON_FINITE), failure)

        def land() -> Point:
            return method.land(step, c.point, self.cast(theta))

        def go_on() -> Point:
            # a leap moves the states as `tangent` says, and sensitivities not at all
            return method.accept(accepted & ~leaps if unsettled else accepted, step, c.point)

        point = lax.cond(here | sooner, land, go_on) if fired or jumpy else go_on()
        broke = jnp.array(False)
        if unsettled:

            def settle(point: Point) -> Point:
                # what a leap's stages found beyond the jump is of no use
                x = choose(leaps, self.tangent(c, span), method.states(point))
                # a jump sees to the sensitivities by itself
                return method.settled(reached, x, point, c.inputs, along=not jumpy)

            point = lax.cond(across, settle, lambda point: point, point)
        if jumpy:
            broken = functools.partial(self.broken, c, span, step, low, reached)
            point, broke = lax.cond(across, broken, lambda point: (point, jnp.array(False)), point)
            if self.system.events:
                there = self.levels(reached, self.method.states(point), c.inputs)
                levels = tuple(jnp.where(sooner, new, old) for new, old in zip(there, levels, strict=True))
        located = here
        if unsettled and self.system.events:
            # algebraic variables that jump make events happen at once
            there = self.levels(reached, self.method.states(point), c.inputs)
            leaps = leaps & accepted
            levels = tuple(jnp.where(leaps, new, old) for new, old in zip(there, levels, strict=True))
            happened = crossed(self.directions, c.levels, there)
            fired = tuple(jnp.where(leaps, new, old) for new, old in zip(happened, fired, strict=True))
            located = here & ~leaps
        steps = c.steps + np.int32(1)
        spent = (steps >= twin.max_steps) & (saved.index < twin.saves)
        return c._replace(
            t=reached,
            h=h_next,
            log_error=log_error,
            point=point,
            memo=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), step.memo, memo),
            switches=tuple(jnp.where(accepted, new, old) for new, old in zip(step.seen[-1], switches, strict=True)),
            fresh=broke | sooner | (across if unsettled else jnp.array(False)),
            jumped=jnp.array(False),
            levels=levels,
            fired=fired,
            located=located,
            saved=saved,
            steps=steps,
            rejected=c.rejected + lax.convert_element_type(~accepted, np.int32),
            status=jnp.where((failure == OK) & spent, np.int32(Status.MAX_STEPS), failure),
        )

    def moderate(self, x: Values) -> Bool[Array, ""]:
        """Whether what is computed between states as large as these is finite."""
        return sum(map(abs, x), jnp.zeros((), self.dtype)) < MODERATE * float(jnp.finfo(self.dtype).max)

    def possible(self, point: Point, levels: Values) -> Int[Array, ""]:
        """The status of a twin that has just started."""
        sound = self.method.finite(point) & self.moderate(self.method.states(point)) & _numbers(levels)
        status = jnp.where(sound, OK, np.int32(Status.NON_FINITE))
        return jnp.where(self.method.culprit(point) < 0, status, np.int32(Status.NO_INITIAL_VALUE))

    def run(self) -> Solved:
        twin, method = self.twin, self.method
        inputs = self.first_inputs()
        point = method.initial(inputs)
        zero = jnp.zeros((), np.int32)
        levels = self.levels(twin.start, method.states(point), inputs)
        status = self.possible(point, levels)
        # what is impossible from the start on is not saved at the start either
        saved = lax.while_loop(
            lambda saved: (saved.next <= twin.start) & (status == OK) & (saved.culprit < 0),
            lambda saved: self.saved(saved, method.save(saved.tables, saved.index, twin.start, point, inputs)),
            _Saved(zero, self.save_time(zero), method.tables(), jnp.full((), -1, np.int32)),
        )
        status = jnp.where(saved.culprit < 0, status, np.int32(Status.NON_FINITE))
        first_event = zero if twin.events is None else twin.events.first
        c = _Carry(
            t=twin.start,
            h=twin.step,
            log_error=controller.no_error(),
            point=point,
            memo=method.empty_memo(point),
            # their types alone: what a backend cannot compile is found in the rates, where it has its line
            switches=tuple(
                jnp.zeros(v.shape, v.dtype) for v in jax.eval_shape(lambda: self.switches(twin.start, point, inputs))
            ),
            fresh=jnp.array(True),
            jumped=jnp.array(True),
            inputs=inputs,
            event=first_event,
            event_time=self.event_time(first_event),
            levels=levels,
            back=(jnp.array(False),) * len(levels),
            fired=(jnp.array(False),) * len(levels),
            located=jnp.array(False),
            counts=(zero,) * len(levels),
            crossing=jnp.full((), -jnp.inf, np.float64),
            storm=zero,
            saved=saved,
            steps=zero,
            rejected=zero,
            status=status,
        )
        c = lax.while_loop(lambda c: (c.status == OK) & (c.saved.index < twin.saves), self.step, c)
        solved = method.solved(c.saved.tables)
        # states first, then what is observed
        observed = c.saved.culprit + np.int32(self.loop.augmented.size)
        culprit = jnp.where(c.saved.culprit < 0, method.culprit(c.point), observed)
        return Solved(*solved, c.status, c.steps, c.rejected, culprit, c.counts)


def _numbers(values: Values) -> Bool[Array, ""]:
    """Whether none is NaN."""
    found = jnp.array(True)
    for value in values:
        found = found & (value == value)
    return found
