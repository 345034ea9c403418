"""The solve of one twin, written once on scalars: steps, error test, events, saves, status.

Everything in here is a scalar of one twin or a table of one twin, so that a backend can put one twin into each lane.
Nothing depends on the number of saves or events, on tolerances or on data: one kernel serves them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from vht_kernels import full_like, length, read, write

from vht.solve.schedule import Events
from vht.solve.sensitivity import Augmented, EventTangents, Line
from vht.solve.status import Status
from vht.solve.steppers import ORDER, UNDERESTIMATE, tsit5_dense, tsit5_step
from vht.solve.system import Named, Scalar, Switches, Values

# Steps below this many units in the last place of time are refused
FLOOR_ULPS = 16.0
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
# Proportional and integral exponent of the controller. On the circulation this took 11 % fewer steps than the integral
# controller at a tolerance of 1e-4, with a quarter of the rejections and half the error, and as many at 1e-6.
NOW, BEFORE = 0.7 / ORDER, 0.4 / ORDER
# an error this small (its logarithm, squared norm) remembers nothing
LEAST_LOG = -18.0
# a step that ran into NaN or infinity says nothing about the right size: go far down
SHRINK_NON_FINITE = 0.1
# a step that would leave less than this share of itself before a stop goes to the stop at once
REACH = 1e-3


class Twin(NamedTuple):
    """What the solve of one twin is given. Numbers of the model are in its dtype, times in float64.

    Attributes:
        parameters: by name.
        initial: states whose initial value is given, by name.
        start: time of the initial state.
        times: of the saves, a table, nondecreasing from `start` on.
        saves: how many entries of `times` count, int32.
        end: the last of them.
        events: the schedule, None without one.
        moved: by direction, how it moves the events; None if it does not.
        sizes: by direction, the size of what is differentiated with respect to.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: budget of steps, int32.
        step: the fixed step, or a bound of the first step; 0 for none.
        longest: bound of every step; +inf for none.
    """

    parameters: Named
    initial: Named
    start: Scalar
    times: Float[Array, " saves"]
    saves: Int[Array, ""]
    end: Scalar
    events: Events | None
    moved: tuple[EventTangents | None, ...]
    sizes: tuple[Scalar, ...]
    rtol: Scalar
    atol: Scalar
    max_steps: Int[Array, ""]
    step: Scalar
    longest: Scalar


class Solved(NamedTuple):
    """What the solve of one twin gives.

    Attributes:
        values: by observed name, a table; NaN from a failure on.
        tangents: by direction, the same of the values' derivatives.
        time_rates: the same of the values' derivatives with respect to the time of the save; empty if not asked for.
        status: a `Status` code, int32.
        steps: tried, int32.
        rejected: those of them that were not accepted, int32.
    """

    values: tuple[Float[Array, " saves"], ...]
    tangents: tuple[tuple[Float[Array, " saves"], ...], ...]
    time_rates: tuple[Float[Array, " saves"], ...]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class Loop:
    """The solve's program: what is fixed when a kernel is made.

    Attributes:
        augmented: the model with its directions and what is observed.
        fixed: steps of equal size without error test.
        time_rates: also save the derivatives with respect to the times of the saves.
    """

    augmented: Augmented
    fixed: bool = False
    time_rates: bool = False

    def __call__(self, twin: Twin) -> Solved:
        """Solve one twin."""
        return _Solve(self, twin).run()


class _Inputs(NamedTuple):
    line: Line
    moved: tuple[Line, ...]
    since: Scalar


class _Saved(NamedTuple):
    index: Int[Array, ""]
    next: Scalar
    values: tuple[Array, ...]
    tangents: tuple[tuple[Array, ...], ...]
    time_rates: tuple[Array, ...]


class _Carry(NamedTuple):
    t: Scalar
    h: Scalar
    log_error: Scalar
    y: Values
    k1: Values
    switches: Switches
    fresh: Bool[Array, ""]
    inputs: _Inputs
    event: Int[Array, ""]
    event_time: Scalar
    saved: _Saved
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    status: Int[Array, ""]


class _Solve:
    """The functions of one solve over what they share."""

    def __init__(self, loop: Loop, twin: Twin) -> None:
        self.loop, self.twin, self.augmented = loop, twin, loop.augmented
        self.n = loop.augmented.size
        self.dtype = twin.rtol.dtype
        # the tolerance of a sensitivity is that of the states it would shift
        self.atols = (twin.atol, *(twin.atol / size for size in twin.sizes))

    # ------------------------------------------------------------------------------------------------ inputs, rates

    def inputs(self, inputs: _Inputs, t: Scalar) -> tuple[dict[str, Scalar], tuple[dict[str, Scalar], ...]]:
        elapsed = self.cast(t - inputs.since)
        return inputs.line.at(elapsed), tuple(line.at(elapsed) for line in inputs.moved)

    def flow(self, t: Scalar, y: Values, inputs: _Inputs) -> Values:
        return self.augmented.flow(self.cast(t), self.twin.parameters, y, *self.inputs(inputs, t))

    def switches(self, t: Scalar, y: Values, inputs: _Inputs) -> Switches:
        """What tells the smooth pieces of the rates apart; nothing where no error is tested."""
        if self.loop.fixed:
            return ()
        system, (u, _) = self.augmented.system, self.inputs(inputs, t)
        return system.switches(self.cast(t), self.twin.parameters, y[: self.n], u)

    def cast(self, value: Scalar) -> Scalar:
        return lax.convert_element_type(value, self.dtype)

    # ------------------------------------------------------------------------------------------------------- norms

    def scales(self, y: Values, other: Values | None = None) -> tuple[Scalar, ...]:
        """Tolerated error of each entry."""
        size = tuple(abs(v) for v in y)
        if other is not None:
            size = tuple(jnp.maximum(v, abs(w)) for v, w in zip(size, other, strict=True))
        return tuple(self.atols[i // self.n] + self.twin.rtol * v for i, v in enumerate(size))

    def norm2(self, errors: Values, scales: tuple[Scalar, ...]) -> Scalar:
        """The largest mean square among the states and each direction's sensitivities."""
        ratios = [e / s for e, s in zip(errors, scales, strict=True)]
        means = []
        for first in range(0, len(ratios), self.n):
            total = ratios[first] * ratios[first]
            for r in ratios[first + 1 : first + self.n]:
                total = total + r * r
            means.append(total)
        worst = means[0]
        for mean in means[1:]:
            worst = jnp.maximum(worst, mean)
        return worst * (1.0 / self.n)

    # ------------------------------------------------------------------------------------------------------- saves

    def save(self, saved: _Saved, t: Scalar, y: Values, inputs: _Inputs) -> _Saved:
        """Write what is observed at the time of the next save."""
        u, du = self.inputs(inputs, t)
        p, time = self.twin.parameters, self.cast(t)
        values, tangents = self.augmented.observe(time, p, y, u, du)
        i = saved.index
        rates = saved.time_rates
        if self.loop.time_rates:
            found = self.augmented.observed_rate(time, p, y, u, inputs.line.slopes)
            rates = tuple(write(table, i, v) for table, v in zip(rates, found, strict=True))
        return _Saved(
            index=i + np.int32(1),
            next=self.save_time(i + np.int32(1)),
            values=tuple(write(table, i, v) for table, v in zip(saved.values, values, strict=True)),
            tangents=tuple(
                tuple(write(table, i, v) for table, v in zip(tables, row, strict=True))
                for tables, row in zip(saved.tangents, tangents, strict=True)
            ),
            time_rates=rates,
        )

    def save_time(self, index: Int[Array, ""]) -> Scalar:
        return jnp.where(index < self.twin.saves, read(self.twin.times, index), jnp.inf)

    def no_saves(self) -> _Saved:
        def tables() -> tuple[Array, ...]:
            return tuple(full_like(self.twin.times, jnp.nan, self.dtype) for _ in self.augmented.observed)

        first = jnp.zeros((), np.int32)
        return _Saved(
            index=first,
            next=self.save_time(first),
            values=tables(),
            tangents=tuple(tables() for _ in self.augmented.seeds),
            time_rates=tables() if self.loop.time_rates else (),
        )

    # ------------------------------------------------------------------------------------------------------ events

    def event_time(self, index: Int[Array, ""]) -> Scalar:
        events = self.twin.events
        if events is None:
            return jnp.full((), jnp.inf, np.float64)
        return jnp.where(index < length(events.time), read(events.time, index), jnp.inf)

    def first_inputs(self) -> _Inputs:
        events, start = self.twin.events, self.twin.start
        if events is None:
            return _Inputs(Line({}, {}), tuple(Line({}, {}) for _ in self.twin.moved), start)
        moved = tuple(
            Line({}, {}) if dot is None else Line(dict(dot.start_values), dict(dot.start_slopes))
            for dot in self.twin.moved
        )
        return _Inputs(Line(dict(events.start_values), dict(events.start_slopes)), moved, start)

    def apply_event(self, c: _Carry) -> _Carry:
        """Pass the next event: the inputs' new lines, and the jump of states and sensitivities."""
        events = self.twin.events
        assert events is not None

        def entry(tables: Mapping[str, Array]) -> dict[str, Scalar]:
            return {port: read(table, c.event) for port, table in tables.items()}

        moved = tuple(
            Line({}, {}) if dot is None else Line(entry(dot.values), entry(dot.slopes)) for dot in self.twin.moved
        )
        inputs = _Inputs(Line(entry(events.values), entry(events.slopes)), moved, c.event_time)
        taus = tuple(
            None if dot is None or dot.time is None else self.cast(read(dot.time, c.event)) for dot in self.twin.moved
        )
        entering = tuple({} if dot is None else entry(dot.amounts) for dot in self.twin.moved)
        u, driven = self.inputs(c.inputs, c.event_time)
        before = Line(u, c.inputs.line.slopes)
        after, _ = self.inputs(inputs, c.event_time)
        time, amounts = self.cast(c.event_time), entry(events.amounts)
        y = self.augmented.jump(time, self.twin.parameters, c.y, before, after, amounts, taus, entering, driven)
        event = c.event + np.int32(1)
        return c._replace(y=y, inputs=inputs, event=event, event_time=self.event_time(event), fresh=jnp.array(True))

    # ------------------------------------------------------------------------------------------------------- steps

    def begin(self, t: Scalar, y: Values, inputs: _Inputs, stop: Scalar, h: Scalar) -> tuple[Scalar, Values]:
        """Rates, and a step to try, where a smooth stretch begins.

        The step is that of Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4; where the rates
        vanish, everything up to the stop.
        """
        k1 = self.flow(t, y, inputs)
        if self.loop.fixed:
            return h, k1
        scales = self.scales(y)
        span = self.cast(stop - t)
        d0, d1 = jnp.sqrt(self.norm2(y, scales)), jnp.sqrt(self.norm2(k1, scales))
        small = (d0 < 1e-5) | (d1 < 1e-5)
        first = jnp.where(small, 1e-6 * span, 0.01 * d0 / jnp.where(small, jnp.ones_like(d1), d1))
        first = jnp.minimum(first, span)
        ahead = tuple(v + first * r for v, r in zip(y, k1, strict=True))
        k = self.flow(t + lax.convert_element_type(first, np.float64), ahead, inputs)
        d2 = jnp.sqrt(self.norm2(tuple(b - a for a, b in zip(k1, k, strict=True)), scales)) / first
        steepest = jnp.maximum(d1, d2)
        guess = jnp.exp(jnp.log(steepest * 100.0) * (-1.0 / ORDER))
        guess = jnp.where(steepest <= 1e-15, span, jnp.where(small, guess, jnp.minimum(100.0 * first, guess)))
        # the trial was too long to be computed: start far below it; but NaN and infinite rates are for good
        guess = jnp.where(d2 < jnp.inf, guess, 1e-3 * first)
        guess = lax.convert_element_type(jnp.where(d1 < jnp.inf, guess, jnp.nan), np.float64)
        guess = jnp.where(guess > self.twin.longest, self.twin.longest, guess)
        return jnp.where(h > 0.0, jnp.minimum(h, guess), guess), k1

    def next_time(self, t: Scalar, h: Scalar, stop: Scalar) -> tuple[Scalar, Bool[Array, ""]]:
        """The end of a step of about `h` that does not pass the stop, and whether it is that stop."""
        left = stop - t
        if self.loop.fixed:
            landing = h * (1.0 + 1e-9) >= left
            return jnp.where(landing, stop, t + h), landing
        landing = h * (1.0 + REACH) >= left
        # two equal steps rather than a long and a very short one
        return jnp.where(landing, stop, t + jnp.where(h + h > left, 0.5 * left, h)), landing

    def step(self, c: _Carry) -> _Carry:
        twin = self.twin
        if twin.events is not None:
            c = lax.while_loop(lambda c: c.event_time <= c.t, self.apply_event, c)
        stop = jnp.minimum(c.event_time, twin.end)
        h, k1, switches = lax.cond(
            c.fresh,
            lambda: (*self.begin(c.t, c.y, c.inputs, stop, c.h), self.switches(c.t, c.y, c.inputs)),
            lambda: (c.h, c.k1, c.switches),
        )
        t, landing = self.next_time(c.t, h, stop)
        taken = t - c.t
        dt = self.cast(taken)

        seen = [switches]

        def rates(fraction: float, y: Values) -> Values:
            time = t if fraction == 1.0 else c.t + fraction * taken
            seen.append(self.switches(time, y, c.inputs))
            return self.flow(time, y, c.inputs)

        y, error, stages = tsit5_step(rates, dt, c.y, k1)

        if self.loop.fixed:
            finite = accepted = _all_finite(y)
            failure = jnp.where(accepted, np.int32(Status.OK), np.int32(Status.NON_FINITE))
            h_next, log_error = h, c.log_error
        else:
            square = self.norm2(error, self.scales(c.y, y))
            floor = FLOOR_ULPS * np.finfo(np.float64).eps * jnp.maximum(abs(c.t), abs(stop))
            least = located = jnp.array(False)
            if switches:
                across = ~_all_equal(seen)
                # the estimate holds for smooth rates
                square = jnp.where(across, square * UNDERESTIMATE**2, square)
                # nearer than the clock ticks no kink can be found: the least step that crosses it is as good as it gets; but
                # not twice on end (which leaves a logarithm of 0), or a twin that only chatters would spend all its steps
                least = taken <= 1.5 * floor
                located = across & (square < jnp.inf) & (c.log_error < 0.0)
            finite = square < jnp.inf
            accepted = (square <= 1.0) | (located & least)
            log_now = jnp.log(square)
            factor = SAFETY * jnp.exp(log_now * (-0.5 * NOW) + c.log_error * (0.5 * BEFORE))
            log_error = jnp.where(accepted, jnp.clip(log_now, LEAST_LOG, 0.0), c.log_error)
            factor = jnp.where(finite, jnp.clip(factor, SHRINK, GROW), SHRINK_NON_FINITE)
            h_next = jnp.minimum(taken * lax.convert_element_type(factor, np.float64), twin.longest)
            # a step cut short to land says nothing against the size that was meant
            h_next = jnp.where(accepted, jnp.maximum(h_next, jnp.where(taken < h, h, 0.0)), h_next)
            failed = jnp.where(finite, np.int32(Status.STEP_TOO_SMALL), np.int32(Status.NON_FINITE))
            failure = jnp.where(accepted | (h_next >= floor) | (located & ~least), np.int32(Status.OK), failed)
            h_next = jnp.maximum(h_next, floor)

        reached = jnp.where(accepted, t, c.t)

        def save(saved: _Saved) -> _Saved:
            theta = jnp.minimum(self.cast((saved.next - c.t) / taken), 1.0)
            return self.save(saved, saved.next, tsit5_dense(theta, dt, c.y, stages), c.inputs)

        saved = lax.while_loop(lambda saved: saved.next <= reached, save, c.saved)
        steps = c.steps + np.int32(1)
        spent = (steps >= twin.max_steps) & (saved.index < twin.saves)
        status = jnp.where((failure == np.int32(Status.OK)) & spent, np.int32(Status.MAX_STEPS), failure)
        return c._replace(
            t=reached,
            h=h_next,
            log_error=log_error,
            y=_choose(accepted, y, c.y),
            k1=_choose(accepted, stages[-1], k1),
            switches=tuple(jnp.where(accepted, new, old) for new, old in zip(seen[-1], switches, strict=True)),
            fresh=jnp.array(False),
            saved=saved,
            steps=steps,
            rejected=c.rejected + lax.convert_element_type(~accepted, np.int32),
            status=status,
        )

    def run(self) -> Solved:
        twin, augmented = self.twin, self.augmented
        inputs = self.first_inputs()
        u, _ = self.inputs(inputs, twin.start)
        y = augmented.initial(twin.parameters, twin.initial)
        y = augmented.start(self.cast(twin.start), twin.parameters, y, u)
        saved = lax.while_loop(
            lambda saved: saved.next <= twin.start,
            lambda saved: self.save(saved, twin.start, y, inputs),
            self.no_saves(),
        )
        zero = jnp.zeros((), np.int32)
        first_event = zero if twin.events is None else twin.events.first
        c = _Carry(
            t=twin.start,
            h=twin.step,
            log_error=jnp.zeros((), self.dtype),
            y=y,
            k1=tuple(jnp.zeros_like(v) for v in y),
            # their types alone: what a backend cannot compile is found in the rates, where it has its line
            switches=tuple(jnp.zeros(v.shape, v.dtype) for v in jax.eval_shape(self.switches, twin.start, y, inputs)),
            fresh=jnp.array(True),
            inputs=inputs,
            event=first_event,
            event_time=self.event_time(first_event),
            saved=saved,
            steps=zero,
            rejected=zero,
            status=jnp.where(_all_finite(y), np.int32(Status.OK), np.int32(Status.NON_FINITE)),
        )
        c = lax.while_loop(
            lambda c: (c.status == np.int32(Status.OK)) & (c.saved.index < twin.saves),
            self.step,
            c,
        )
        return Solved(c.saved.values, c.saved.tangents, c.saved.time_rates, c.status, c.steps, c.rejected)


def _choose(condition: Bool[Array, ""], yes: Values, no: Values) -> Values:
    return tuple(jnp.where(condition, a, b) for a, b in zip(yes, no, strict=True))


def _all_equal(rows: list[Switches]) -> Bool[Array, ""]:
    equal = jnp.array(True)
    for row in rows[1:]:
        for value, first in zip(row, rows[0], strict=True):
            equal = equal & (value == first)
    return equal


def _all_finite(values: Values) -> Bool[Array, ""]:
    finite = jnp.array(True)
    for v in values:
        finite = finite & (abs(v) < jnp.inf)
    return finite
