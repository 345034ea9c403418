"""Methods that hold states and sensitivities side by side in one tuple of scalars; the explicit ones among them."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int
from vht_kernels import full_like, read, write

from vht.solve import controller, rough
from vht.solve.breaks import Break, Moved, Side
from vht.solve.crossings import Jumps, Truths
from vht.solve.propagate import Span, Step, Written, all_finite, choose, first_not_finite, scales
from vht.solve.sensitivity import Augmented, Line, own
from vht.solve.steppers import ORDER, TSIT5, Scheme
from vht.solve.system import Scalar, Switches, Values
from vht.solve.twin import Inputs, Twin


class Point(NamedTuple):
    y: Values  # states, then each direction's sensitivities
    moved: tuple[Line, ...]  # how each direction moves the inputs
    tau: Values  # how each direction moves the time of the last jump, where events of the state ask for it


class _Tables(NamedTuple):
    values: tuple[Array, ...]
    tangents: tuple[tuple[Array, ...], ...]
    time_rates: tuple[Array, ...]


class _Inner(NamedTuple):
    y: Values
    stages: tuple[Values, ...]
    h: Scalar


class SideBySide(abc.ABC):
    """One twin's states and sensitivities, each with code of its own; how they move over a step is left open.

    What a step leaves (`Step.inner`) must have the end of all of them as its `y`.

    Args:
        augmented: the model with its directions and what is observed.
        twin: its numbers.
        fixed: steps of equal size without error test.
        time_rates: also save the derivatives with respect to the times of the saves.
    """

    order: int
    gains = controller.EXPLICIT

    def __init__(self, augmented: Augmented, twin: Twin, fixed: bool = False, time_rates: bool = False) -> None:
        self.augmented, self.twin, self.fixed, self.time_rates = augmented, twin, fixed, time_rates
        self.n = augmented.size
        self.dtype = twin.rtol.dtype
        # the tolerance of a sensitivity is that of the states it would shift
        self.atols = (twin.atol, *(twin.atol / size for size in twin.sizes))

    # ------------------------------------------------------------------------------------------------------ points

    def initial(self, inputs: Inputs) -> Point:
        twin, augmented = self.twin, self.augmented
        y = augmented.initial(twin.parameters, twin.initial)
        y = augmented.start(self.twin.cast(twin.start), twin.parameters, y, inputs.at(twin.start))
        moved = tuple(
            Line({}, {}) if dot is None else Line(dict(dot.start_values), dict(dot.start_slopes)) for dot in twin.moved
        )
        tau = (jnp.zeros((), self.dtype),) * len(moved) if augmented.system.events else ()
        return Point(y, moved, tau)

    def states(self, point: Point) -> Values:
        return point.y[: self.n]

    def finite(self, point: Point) -> Bool[Array, ""]:
        return all_finite(point.y)

    def culprit(self, point: Point) -> Int[Array, ""]:
        return jnp.full((), -1, np.int32)

    def torn(self, span: Span, step: Step, point: Point, inputs: Inputs) -> Bool[Array, ""]:
        return jnp.array(False)

    def settled(self, t: Scalar, x: Values, point: Point, inputs: Inputs, along: bool) -> Point:
        return point

    def flow(self, t: Scalar, y: Values, moved: tuple[Line, ...], inputs: Inputs) -> Values:
        elapsed = self.twin.cast(t - inputs.since)
        du = tuple(line.at(elapsed) for line in moved)
        return self.augmented.flow(self.twin.cast(t), self.twin.parameters, y, inputs.line.at(elapsed), du)

    # ------------------------------------------------------------------------------------------------------- norms

    def scales(self, before: Values, after: Values | None = None) -> Values:
        """Tolerated error of each entry."""
        rows: list[Scalar] = []
        for i, atol in enumerate(self.atols):
            part = slice(i * self.n, (i + 1) * self.n)
            rows += scales(atol, self.twin.rtol, before[part], None if after is None else after[part])
        return tuple(rows)

    def norm2(self, errors: Values, tolerated: Values) -> Scalar:
        """The largest mean square among the states and each direction's sensitivities."""
        parts = [slice(first, first + self.n) for first in range(0, len(errors), self.n)]
        means = [rough.mean_square(errors[part], tolerated[part]) for part in parts]
        worst = means[0]
        for mean in means[1:]:
            worst = jnp.maximum(worst, mean)
        return worst

    # ------------------------------------------------------------------------------------------------------- steps

    def guess(self, t: Scalar, point: Point, rates: Values, inputs: Inputs, stop: Scalar, h: Scalar) -> Scalar:
        """A first step: that of Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4.

        Where the rates vanish, everything up to the stop.
        """
        y = point.y
        tolerated = self.scales(y)
        span = self.twin.cast(stop - t)

        def flow(t: Scalar, y: Values) -> Values:
            return self.flow(t, y, point.moved, inputs)

        guess = first_step(flow, lambda e: self.norm2(e, tolerated), t, y, rates, span, self.order)
        guess = jnp.where(guess > self.twin.longest, self.twin.longest, guess)
        return jnp.where(h > 0.0, jnp.minimum(h, guess), guess)

    def square(self, error: Values, before: Values, after: Values) -> Scalar:
        """What the loop's error test asks for; without a test 0, or infinity where the step led to no numbers."""
        if self.fixed:
            zero = jnp.zeros((), self.dtype)
            return jnp.where(all_finite(after), zero, jnp.full_like(zero, jnp.inf))
        return self.norm2(error, self.scales(before, after))

    @abc.abstractmethod
    def at(self, step: Step, point: Point, theta: Scalar) -> Values:
        """States and sensitivities at a fraction of a step."""

    def accept(self, accepted: Bool[Array, ""], step: Step, point: Point) -> Point:
        return point._replace(y=choose(accepted, step.inner.y, point.y))

    def land(self, step: Step, point: Point, theta: Scalar) -> Point:
        return point._replace(y=self.at(step, point, theta))

    # ------------------------------------------------------------------------------------------------------- saves

    def tables(self) -> _Tables:
        def empty() -> tuple[Array, ...]:
            return tuple(full_like(self.twin.times, jnp.nan, self.dtype) for _ in self.augmented.observed)

        rates = empty() if self.time_rates else ()
        return _Tables(empty(), tuple(empty() for _ in self.augmented.seeds), rates)

    def save(self, tables: _Tables, index: Int[Array, ""], t: Scalar, point: Point, inputs: Inputs) -> Written:
        elapsed = self.twin.cast(t - inputs.since)
        u, du = inputs.line.at(elapsed), tuple(line.at(elapsed) for line in point.moved)
        p, time = self.twin.parameters, self.twin.cast(t)
        values, tangents = self.augmented.observe(time, p, point.y, u, du)
        rates: tuple[Values, ...] = ()
        if self.time_rates:
            x = self.states(point)
            f = self.augmented.system.rates(time, p, x, u)
            rates = (self.augmented.observed_rate(time, p, x, u, inputs.line.slopes, f),)
        culprit = first_not_finite(values, *tangents, *rates, gaps=self.augmented.gaps)
        place = nowhere_unless(culprit < 0, index)
        after = _Tables(
            write_row(tables.values, place, values),
            tuple(write_row(row, place, found) for row, found in zip(tables.tangents, tangents, strict=True)),
            write_row(tables.time_rates, place, rates[0]) if rates else (),
        )
        return Written(after, culprit)

    def save_inside(
        self,
        tables: _Tables,
        index: Int[Array, ""],
        t: Scalar,
        step: Step,
        point: Point,
        theta: Scalar,
        inputs: Inputs,
    ) -> Written:
        return self.save(tables, index, t, self.land(step, point, theta), inputs)

    def solved(self, tables: _Tables) -> tuple[Any, Any, Any]:
        return tables.values, tables.tangents, tables.time_rates

    # ------------------------------------------------------------------------------------------------------ events

    def scheduled(
        self, event: Int[Array, ""], t: Scalar, point: Point, inputs: Inputs, caused: Bool[Array, ""]
    ) -> tuple[Point, Inputs]:
        events, moved = self.twin.events, self.twin.moved
        assert events is not None

        def entry(tables: Mapping[str, Array]) -> dict[str, Scalar]:
            return {port: read(table, event) for port, table in tables.items()}

        lines = tuple(Line({}, {}) if dot is None else Line(entry(dot.values), entry(dot.slopes)) for dot in moved)
        after = Inputs(Line(entry(events.values), entry(events.slopes)), t)
        taus = tuple(
            None if dot is None or dot.time is None else self.twin.cast(read(dot.time, event)) for dot in moved
        )
        entering = tuple({} if dot is None else entry(dot.amounts) for dot in moved)
        elapsed = self.twin.cast(t - inputs.since)
        y = self.augmented.jump(
            self.twin.cast(t),
            self.twin.parameters,
            point.y,
            Line(inputs.line.at(elapsed), inputs.line.slopes),
            after.at(t),
            entry(events.amounts),
            taus,
            entering,
            tuple(line.at(elapsed) for line in point.moved),
        )
        last = tuple(jnp.zeros_like(old) if dot is None else dot for old, dot in zip(point.tau, taus, strict=False))
        tau = tuple(jnp.where(caused, old, new) for old, new in zip(point.tau, last, strict=True))
        return Point(y, lines, tau), after

    def broken(self, before: Side, was: Switches, flipped: Truths, t: Scalar, point: Point, inputs: Inputs) -> Point:
        elapsed, system, p = self.twin.cast(t - inputs.since), self.augmented.system, self.twin.parameters
        x, along = self.augmented.split(point.y)
        after = Side(self.twin.cast(t), x, inputs.at(t))
        f_before, f_after = (system.rates(side.t, p, side.x, side.u) for side in (before, after))
        found = Break.of(system, p, before, after, inputs.line.slopes, was, flipped, f_before, f_after)
        rows = zip(self.augmented.seeds, along, point.moved, strict=True)
        behind = found.behind([Moved(s, own(seed, p), line.at(elapsed)) for seed, s, line in rows])
        return point._replace(y=tuple(itertools.chain(x, *behind)))

    def happened(self, jumps: Jumps, t: Scalar, point: Point, inputs: Inputs) -> tuple[Point, Values]:
        elapsed = self.twin.cast(t - inputs.since)
        u, slopes, time, p = inputs.line.at(elapsed), inputs.line.slopes, self.twin.cast(t), self.twin.parameters
        x, along = self.augmented.split(point.y)
        x_after, rates = jumps.after(time, p, x, u), self.augmented.system.rates
        before, after = rates(time, p, x, u), rates(time, p, x_after, u)
        speeds = jumps.speeds(time, p, x, u, slopes, before)
        rows, taus = list(x_after), []
        for seed, s, line, last in zip(self.augmented.seeds, along, point.moved, point.tau, strict=True):
            parameter, moved = own(seed, p), line.at(elapsed)
            taus.append(jumps.tau(time, p, x, u, speeds, s, parameter, moved, last))
            rows += jumps.tangent(time, p, x, u, slopes, before, after, taus[-1], s, parameter, moved)
        point = point._replace(y=tuple(rows), tau=tuple(taus))
        return point, jumps.speeds(time, p, x_after, u, slopes, after)


class Explicit(SideBySide):
    """One twin's states and sensitivities under an explicit Runge-Kutta method.

    Args:
        augmented: the model with its directions and what is observed.
        twin: its numbers.
        scheme: the method.
        fixed: steps of equal size without error test.
        time_rates: also save the derivatives with respect to the times of the saves.
    """

    def __init__(
        self,
        augmented: Augmented,
        twin: Twin,
        scheme: Scheme = TSIT5,
        fixed: bool = False,
        time_rates: bool = False,
    ) -> None:
        super().__init__(augmented, twin, fixed, time_rates)
        self.scheme, self.order, self.underestimate = scheme, scheme.order, scheme.underestimate

    def empty_memo(self, point: Point) -> Values:
        return tuple(jnp.zeros_like(v) for v in point.y)

    def begin(self, t: Scalar, point: Point, inputs: Inputs) -> Values:
        """The rates."""
        return self.flow(t, point.y, point.moved, inputs)

    def first_step(self, t: Scalar, point: Point, memo: Values, inputs: Inputs, stop: Scalar, h: Scalar) -> Scalar:
        return self.guess(t, point, memo, inputs, stop, h)

    def attempt(self, span: Span, point: Point, memo: Values, inputs: Inputs, switches: Switches) -> Step:
        seen = [switches]
        system, p = self.augmented.system, self.twin.parameters

        def rates(fraction: float, y: Values) -> Values:
            time = span.at(fraction)
            if not self.fixed:
                seen.append(system.switches(self.twin.cast(time), p, y[: self.n], inputs.at(time)))
            return self.flow(time, y, point.moved, inputs)

        h = self.twin.cast(span.taken)
        y, error, stages = self.scheme.step(rates, h, point.y, memo, constant=self.fixed)
        square = self.square(error, point.y, y)
        return Step(square, y[: self.n], stages[-1], seen, jnp.array(True), _Inner(y, stages, h))

    def at(self, step: Step, point: Point, theta: Scalar) -> Values:
        inner: _Inner = step.inner
        return self.scheme.dense(theta, inner.h, point.y, inner.stages)

    def inside(self, step: Step, point: Point, theta: Scalar) -> Values:
        inner: _Inner = step.inner
        return self.scheme.dense(theta, inner.h, point.y[: self.n], [stage[: self.n] for stage in inner.stages])


def write_row(tables: tuple[Array, ...], index: Int[Array, ""], values: Values) -> tuple[Array, ...]:
    """Write one entry into each of several tables."""
    return tuple(write(table, index, v) for table, v in zip(tables, values, strict=True))


def nowhere_unless(wanted: Bool[Array, ""], index: Int[Array, ""]) -> Int[Array, ""]:
    """An index at which to write, or one outside of every table, where nothing is written."""
    return jnp.where(wanted, index, np.int32(-1))


def first_step(flow: Any, norm2: Any, t: Scalar, y: Values, k1: Values, span: Scalar, order: int = ORDER) -> Scalar:
    """A step to try, in float64: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4.

    Args:
        flow: rates of a time and `y`.
        norm2: mean square over the tolerance.
        t: where.
        y: what moves.
        k1: its rates there.
        span: no step is longer; taken where the rates vanish.
        order: of the error's estimate, in the size of the step.
    """
    d0, d1 = jnp.sqrt(norm2(y)), jnp.sqrt(norm2(k1))
    small = (d0 < 1e-5) | (d1 < 1e-5)
    first = jnp.where(small, 1e-6 * span, 0.01 * d0 / jnp.where(small, jnp.ones_like(d1), d1))
    first = jnp.minimum(first, span)
    ahead = tuple(v + first * r for v, r in zip(y, k1, strict=True))
    k = flow(t + lax.convert_element_type(first, np.float64), ahead)
    d2 = jnp.sqrt(norm2(tuple(b - a for a, b in zip(k1, k, strict=True)))) / first
    steepest = jnp.maximum(d1, d2)
    guess = jnp.exp(jnp.log(steepest * 100.0) * (-1.0 / order))
    guess = jnp.where(steepest <= 1e-15, span, jnp.where(small, guess, jnp.minimum(100.0 * first, guess)))
    # the trial was too long to be computed: start far below it; but NaN and infinite rates are for good
    guess = jnp.where(d2 < jnp.inf, guess, 1e-3 * first)
    return lax.convert_element_type(jnp.where(d1 < jnp.inf, guess, jnp.nan), np.float64)
