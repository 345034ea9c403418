"""The solve of one twin, written once on scalars: steps, error test, events, saves, status.

Everything in here is a scalar of one twin or a table of one twin, so that a backend can put one twin into each lane.
Nothing depends on the number of saves or events, on tolerances or on data: one kernel serves them all. How states and
sensitivities are held and moved is the method's (`propagate.Propagator`), what happens at one moment is in `moments`, what
steps across jumps of the rates ask for in `discontinuities`.
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
from vht_kernels import read

from vht.solve import controller
from vht.solve.breaks import can_break
from vht.solve.clock import larger, least_step, smaller
from vht.solve.crossings import STORM, Truths, crossed, some
from vht.solve.discontinuities import TORN, Discontinuities
from vht.solve.moments import Moments
from vht.solve.progress import Progress, Saved
from vht.solve.propagate import MODERATE, Point, Propagator, Span, Tried, Written, all_finite
from vht.solve.sensitivity import Augmented
from vht.solve.status import Status
from vht.solve.switches import all_equal
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs, Solved, Twin

# a step that would leave less than this share of itself before a stop goes to the stop at once
REACH = 1e-3

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


class _Trial(NamedTuple):
    """A step that was tried, and what it is judged by."""

    tried: Tried
    stop: Scalar  # time that it must not pass
    meant: Scalar  # its size before it was cut short to land
    memo: Any  # at its beginning ...
    switches: Switches  # ... as well
    levels: Values  # of the events of the state, at its end
    leaps: Bool[Array, ""]  # it is so short that algebraic variables may jump within it ...
    torn: Bool[Array, ""]  # ... or they do though it is too long for that

    def across(self) -> Bool[Array, ""]:
        """Whether the rates may bend or jump within it; asked for anew rather than kept, which takes a GPU fewer registers."""
        return ~all_equal(self.tried.step.seen)


class _Verdict(NamedTuple):
    accepted: Bool[Array, ""]
    h: Scalar  # size of the next step
    log_error: controller.Log
    failure: Int[Array, ""]  # what ends the twin, a `Status` code


class _Reach(NamedTuple):
    """How far a step counts."""

    t: Scalar  # time of its end, or of its beginning where it was not accepted
    theta: Scalar  # the fraction up to which it counts
    low: Scalar  # that before the rates jump, if they do
    smooth: Bool[Array, ""]  # it was accepted, and does not leap
    broken: Bool[Array, ""]  # it ends where the rates jump
    across: Bool[Array, ""]  # it was accepted across what may be a jump
    levels: Values  # of the events of the state, from which crossings count
    fired: Truths  # those that happen at its end ...
    happens: Bool[Array, ""]  # ... if any does


class _Solve:
    """The functions of one solve over what they share."""

    def __init__(self, loop: Loop, twin: Twin) -> None:
        self.loop, self.twin = loop, twin
        self.system = loop.augmented.system
        self.method = loop.propagator(loop.augmented, twin)
        self.moments = Moments(loop.augmented, twin, self.method)
        self.dtype = twin.rtol.dtype
        self.inputs = self.moments.first_inputs()
        self.point = self.method.initial(self.inputs)
        self.breaks = self.discontinuities()

    def switches(self, t: Scalar, point: Point, inputs: Inputs) -> Switches:
        """What tells the smooth pieces of the rates apart; nothing where no error is tested."""
        if self.loop.fixed:
            return ()
        states = self.method.states(point)
        return self.system.switches(self.twin.cast(t), self.twin.parameters, states, inputs.at(t))

    def discontinuities(self) -> Discontinuities:
        """What jumps of the rates ask for: nothing where no error is tested, or where the equations have none."""
        sensitive = algebraic = False
        if not self.loop.fixed:
            x, u = self.method.states(self.point), self.inputs.at(self.twin.start)
            at = self.twin.cast(self.twin.start), self.twin.parameters, x, u
            sensitive = bool(self.loop.augmented.seeds) and can_break(self.system, *at)
            algebraic = any(self.system.algebraic) and bool(jax.eval_shape(self.system.switches, *at))
        return Discontinuities(self.loop.augmented, self.twin, self.method, sensitive, algebraic)

    # -------------------------------------------------------------------------------------------------------- saves

    def save_time(self, index: Int[Array, ""]) -> Scalar:
        return jnp.where(index < self.twin.saves, read(self.twin.times, index), jnp.inf)

    def saved(self, saved: Saved, written: Written) -> Saved:
        """After a save; one that is not finite stays the next one."""
        after = jnp.where(written.culprit < 0, saved.index + np.int32(1), saved.index)
        return Saved(after, self.save_time(after), written.tables, written.culprit)

    def save_up_to(self, c: Progress, trial: _Trial, reached: Scalar) -> Saved:
        """Save what lies within a step up to a time."""
        span, point, inputs, step = trial.tried

        def share(saved: Saved) -> Scalar:
            found = jnp.minimum(self.twin.cast((saved.next - span.begin) / span.taken), 1.0)
            # at the very time of a jump the values before it: in between algebraic variables are on neither side
            return jnp.where(trial.leaps, 0.0, found)

        def due(saved: Saved) -> Bool[Array, ""]:
            reaches = (saved.next <= reached) & (saved.culprit < 0)
            if not self.loop.fixed:
                return reaches
            # without an error test there may be no numbers between two ends
            inside = functools.partial(self.method.inside, step, point)
            return lax.cond(reaches, lambda: all_finite(inside(share(saved))), lambda: jnp.array(False))

        def save(saved: Saved) -> Saved:
            index, theta = saved.index, share(saved)
            return self.saved(
                saved, self.method.save_inside(saved.tables, index, saved.next, step, point, theta, inputs)
            )

        return lax.while_loop(due, save, c.saved)

    # ------------------------------------------------------------------------------------------------------- steps

    def next_time(self, t: Scalar, h: Scalar, stop: Scalar) -> Scalar:
        """The end of a step of about `h` that does not pass the stop."""
        left = stop - t
        if self.loop.fixed:
            return jnp.where(h * (1.0 + 1e-9) >= left, stop, t + h)
        # two equal steps rather than a long and a very short one
        return jnp.where(h * (1.0 + REACH) >= left, stop, t + jnp.where(h + h > left, 0.5 * left, h))

    def attempt(self, c: Progress) -> tuple[Progress, _Trial]:
        """Try a step; without error test, after those to which nothing can happen."""
        twin, method = self.twin, self.method
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
            h = lax.cond(c.jumped, lambda: self.first_step(c, memo, stop), lambda: c.h)
        end = self.next_time(c.t, h, stop)
        span = Span(c.t, end, end - c.t)
        step = method.attempt(span, c.point, memo, c.inputs, switches)
        if self.breaks.watched:
            # a jump between the last stage and the end belongs to this step
            step.seen.append(
                self.system.switches(self.twin.cast(span.end), twin.parameters, step.end, c.inputs.at(span.end))
            )
        levels = self.moments.levels_ahead(c, span.end, step.end)
        # an event without a value could be missed
        sound = _numbers(levels) & self.moderate(step.end)
        step = dataclasses.replace(step, square=jnp.where(sound, step.square, jnp.inf))
        leaps = torn = jnp.array(False)
        if self.breaks.algebraic:
            tried = Tried(span, c.point, c.inputs, step)
            across = ~all_equal(step.seen)
            leaps = across & self.breaks.leaps(tried)
            torn = self.breaks.torn(tried, across & ~leaps & (step.square <= 1.0))
            step = dataclasses.replace(step, square=jnp.where(torn, TORN, step.square))
        tried = Tried(span, c.point, c.inputs, step)
        return c, _Trial(tried, stop, h, memo, switches, levels, leaps, torn)

    def first_step(self, c: Progress, memo: Any, stop: Scalar) -> Scalar:
        """A step to try where nothing is known of its error; one that the clock can tell from none. NaN stays NaN."""
        return larger(self.method.first_step(c.t, c.point, memo, c.inputs, stop, c.h), least_step(c.t, stop))

    def stride(self, c: Progress, memo: Any, stop: Scalar) -> tuple[Progress, Any]:
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

    def verdict(self, c: Progress, trial: _Trial) -> _Verdict:
        """Whether a step is accepted, and what follows."""
        step = trial.tried.step
        if self.loop.fixed:
            accepted = step.square < jnp.inf
            found = _Verdict(accepted, trial.meant, c.log_error, jnp.where(accepted, OK, np.int32(Status.NON_FINITE)))
        else:
            found = self.error_test(c, trial)
        failure = found.failure
        # an event may have left the algebraic variables without values
        settled = self.method.culprit(c.point) < 0
        failure = jnp.where(settled, failure, np.int32(Status.NO_INITIAL_VALUE))
        # in a storm the states are not those after the events
        calm = c.storm < np.int32(STORM)
        failure = jnp.where(calm, failure, np.int32(Status.EVENT_STORM))
        return found._replace(accepted=found.accepted & settled & calm, failure=failure)

    def error_test(self, c: Progress, trial: _Trial) -> _Verdict:
        span, step = trial.tried.span, trial.tried.step
        square, floor = step.square, least_step(c.t, trial.stop)
        short = located = jnp.array(False)
        if step.seen[0]:
            across = trial.across()
            # the estimate holds for smooth rates
            square = jnp.where(across, square * self.method.underestimate**2, square)
            # nearer than the clock ticks no kink can be found: the least step that crosses it is as good as it gets; but
            # not twice on end (which leaves a logarithm of 0, as there is at the start), or a twin that only chatters would
            # spend all its steps
            short = span.taken <= 1.5 * floor
            located = across & (square < jnp.inf) & ((c.log_error < 0.0) | (c.t == self.twin.start))
            if any(self.system.algebraic):
                short = trial.leaps
        finite = (square < jnp.inf) & step.regular
        accepted = step.regular & ((square <= 1.0) | (located & short))
        factor, log_error = controller.propose(
            square, finite, accepted, c.log_error, self.method.order, self.method.gains
        )
        h = smaller(span.taken * factor, self.twin.longest)
        # a step cut short to land says nothing against the size that was meant; one that the clock's last bit shortened does
        cut = span.taken < trial.meant * (1.0 - 1e-9)
        h = jnp.where(accepted & cut, larger(h, trial.meant), h)
        failed = jnp.where(finite, np.int32(Status.STEP_TOO_SMALL), np.int32(Status.NON_FINITE))
        failed = jnp.where(step.regular, failed, np.int32(Status.SINGULAR))
        failure = jnp.where(accepted | (h >= floor) | (located & ~short), OK, failed)
        if self.breaks.algebraic:
            failure = jnp.where(trial.torn, OK, failure)
        return _Verdict(accepted, larger(h, floor), log_error, failure)

    def reach(self, c: Progress, trial: _Trial, accepted: Bool[Array, ""]) -> _Reach:
        """How far a step counts: to its end, to an event of the state, or to where the rates jump."""
        span = trial.tried.span
        t = jnp.where(accepted, span.end, c.t)
        smooth = accepted & ~trial.leaps if self.breaks.algebraic else accepted
        theta, levels, fired = jnp.ones_like(c.t), c.levels, c.fired
        if self.system.events:
            levels = tuple(jnp.where(accepted, new, old) for new, old in zip(trial.levels, levels, strict=True))
            theta, fired = self.moments.locate(c, trial.tried, smooth, trial.levels)
            t = jnp.where(theta < 1.0, c.t + theta * span.taken, t)
        low, broken, across = jnp.zeros_like(theta), jnp.array(False), jnp.array(False)
        if self.breaks.watched:
            across = accepted & trial.across()
        if self.breaks.sensitive:
            # a step ends where the rates jump, or bend in a way that could be one
            none, whole = (low, theta), theta
            low, theta = lax.cond(
                across, lambda: self.breaks.first_change(trial.tried, whole, trial.leaps), lambda: none
            )
            broken = theta < whole
            t = jnp.where(broken, c.t + theta * span.taken, t)
            fired = tuple(found & ~broken for found in fired)
        return _Reach(t, theta, low, smooth, broken, across, levels, fired, some(fired))

    def arrive(self, c: Progress, trial: _Trial, reach: _Reach) -> tuple[Point, Bool[Array, ""]]:
        """States and sensitivities where a step ends, and whether the rates jump there."""
        step = trial.tried.step

        def land() -> Point:
            return self.method.land(step, c.point, self.twin.cast(reach.theta))

        def go_on() -> Point:
            # a leap moves the states along the tangent, and sensitivities not at all
            return self.method.accept(reach.smooth, step, c.point)

        # an event at its very end is found by the end, which interpolation does not give to the last bit
        point = lax.cond(reach.theta < 1.0, land, go_on) if reach.fired or self.breaks.sensitive else go_on()
        broke = jnp.array(False)
        if self.breaks.algebraic:
            settled = functools.partial(self.breaks.settled, trial.tried, trial.leaps, reach.t)
            point = lax.cond(reach.across, settled, lambda point: point, point)
        if self.breaks.sensitive:
            behind = functools.partial(self.breaks.behind, trial.tried, reach.low, reach.t)
            point, broke = lax.cond(reach.across, behind, lambda point: (point, jnp.array(False)), point)
        return point, broke

    def step(self, c: Progress) -> Progress:
        """What happens at this moment, then a step."""
        c, trial = self.attempt(self.moments.passed(c))
        accepted, h, log_error, failure = self.verdict(c, trial)
        reach = self.reach(c, trial, accepted)
        saved = self.save_up_to(c, trial, reach.t)
        # what could not be saved
        failure = jnp.where(saved.next <= reach.t, np.int32(Status.NON_FINITE), failure)
        point, broke = self.arrive(c, trial, reach)
        step = trial.tried.step
        levels, fired, located = reach.levels, reach.fired, reach.happens
        if self.system.events and self.breaks.watched:
            there = self.moments.levels(reach.t, self.method.states(point), c.inputs)
            leaps = trial.leaps & accepted
            levels = tuple(jnp.where(reach.broken | leaps, new, old) for new, old in zip(there, levels, strict=True))
            if self.breaks.algebraic:
                # algebraic variables that jump make events happen at once
                happened = crossed(self.moments.directions, c.levels, there)
                fired = tuple(jnp.where(leaps, new, old) for new, old in zip(happened, fired, strict=True))
                located = located & ~leaps
        steps = c.steps + np.int32(1)
        spent = (steps >= self.twin.max_steps) & (saved.index < self.twin.saves)
        return c._replace(
            t=reach.t,
            h=h,
            log_error=log_error,
            point=point,
            memo=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), step.memo, trial.memo),
            switches=tuple(
                jnp.where(accepted, new, old) for new, old in zip(step.seen[-1], trial.switches, strict=True)
            ),
            fresh=broke | reach.broken | (reach.across if self.breaks.algebraic else jnp.array(False)),
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
        inputs, point = self.inputs, self.point
        zero = jnp.zeros((), np.int32)
        levels = self.moments.levels(twin.start, method.states(point), inputs)
        status = self.possible(point, levels)
        # what is impossible from the start on is not saved at the start either
        saved = lax.while_loop(
            lambda saved: (saved.next <= twin.start) & (status == OK) & (saved.culprit < 0),
            lambda saved: self.saved(saved, method.save(saved.tables, saved.index, twin.start, point, inputs)),
            Saved(zero, self.save_time(zero), method.tables(), jnp.full((), -1, np.int32)),
        )
        status = jnp.where(saved.culprit < 0, status, np.int32(Status.NON_FINITE))
        first_event = zero if twin.events is None else twin.events.first
        c = Progress(
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
            event_time=self.moments.time(first_event),
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
